//! What is known of a provider's limits, for people and metrics.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use gateway_core::limits::QUOTAS_SHOWN;
use gateway_policy::resilience::Room;
use schemars::JsonSchema;
use serde::Serialize;

use crate::providers::catalog::Provider;
use crate::providers::meter::{Metered, Remaining};

/// What is left of one limit of a provider: of one that its answers tell, for a model and a credential; or of one that is
/// declared, for all models.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Quota {
    /// `null`: all of them.
    pub model: Option<String>,
    /// Name of the credential; `null`: all of them.
    pub credential: Option<String>,
    /// `requests`, `tokens`, `input_tokens` or `output_tokens`.
    pub of: &'static str,
    /// Less what is on its way.
    pub remaining: u64,
    /// `null`: the provider does not say.
    pub limit: Option<u64>,
    /// Until all of it is back.
    pub reset_seconds: f64,
}

impl Quota {
    /// From 0 to 1; `None`: the limit is not known.
    pub fn share(&self) -> Option<f64> {
        self.limit.map(|limit| (self.remaining as f64 / limit.max(1) as f64).min(1.0))
    }
}

/// Those of which the smallest share is left; no more than [`QUOTAS_SHOWN`].
pub fn tightest(provider: &Provider, nodes: u64, now: Instant) -> Vec<Quota> {
    let mut quotas = known(provider, nodes, now);
    quotas.truncate(QUOTAS_SHOWN);
    quotas
}

/// All of them, beginning with the one of which the smallest share is left.
pub fn known(provider: &Provider, nodes: u64, now: Instant) -> Vec<Quota> {
    let mut quotas = Vec::new();
    let declared = |credential: Option<&str>, metered: &Metered| {
        let remaining = metered.remaining(nodes, now).into_iter();
        remaining
            .map(|Remaining { of, left, limit, full_in }| Quota {
                model: None,
                credential: credential.map(str::to_owned),
                of,
                remaining: left,
                limit: Some(limit),
                reset_seconds: seconds(full_in),
            })
            .collect::<Vec<_>>()
    };
    quotas.extend(provider.quota.iter().flat_map(|quota| declared(None, quota)));
    for credential in provider.credentials() {
        quotas.extend(credential.quota.iter().flat_map(|quota| declared(Some(&credential.name), quota)));
    }
    for (model, state) in provider.states() {
        for (lane, credential) in state.lanes.iter().zip(provider.credentials()) {
            quotas.extend(lane.headroom.rooms(now).into_iter().map(|Room { what, left, limit, full_at }| Quota {
                model: Some(model.to_string()),
                credential: Some(credential.name.clone()),
                of: what.name(),
                remaining: left,
                limit,
                reset_seconds: seconds(full_at.saturating_duration_since(now)),
            }));
        }
    }
    let share = |quota: &Quota| quota.share().unwrap_or(1.0);
    quotas.sort_by(|one, other| {
        let by_name = || (&one.model, &one.credential, one.of).cmp(&(&other.model, &other.credential, other.of));
        share(one).partial_cmp(&share(other)).unwrap_or(Ordering::Equal).then_with(by_name)
    });
    quotas
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}
