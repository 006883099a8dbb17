//! Asks a provider whether it is there, where the operator wishes it and traffic has not told lately.
//!
//! A probe asks for the list of models, which costs nothing. Its verdict is about reachability alone: any answer that is not
//! a failure of the server is one, a refused key or a missing path too. It opens no circuit and turns no request away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_core::limits::PROBE_TIME;
use http::{HeaderMap, Request, header};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::gateway::{Current, Gateway};
use crate::providers::catalog::Provider;
use crate::providers::client::Payload;
use crate::telemetry::log::{Level, stamp};

/// Between two looks at whose turn it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The latest probe of a provider.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Verdict {
    pub is_reachable: bool,
    /// Milliseconds to the head of the answer; `null` without one.
    pub latency_ms: Option<f64>,
    /// Why it is not reachable.
    pub error: Option<String>,
    /// RFC 3339.
    pub checked_at: String,
    #[serde(skip)]
    at: Option<Instant>,
}

impl Verdict {
    /// Whether it says that the provider is not there, and nothing has been heard of it since.
    pub fn is_out(&self, last_heard: Option<Instant>) -> bool {
        !self.is_reachable && last_heard.is_none_or(|heard| self.at.is_none_or(|at| heard < at))
    }
}

/// What probes have shown of one provider.
#[derive(Debug, Default)]
pub struct Probed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    verdict: Option<Verdict>,
    /// `None` before the first look.
    next: Option<Instant>,
}

impl Probed {
    pub fn verdict(&self) -> Option<Verdict> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).verdict.clone()
    }

    /// Whether it is time for a probe, with `share` of a tenth of the interval as jitter. Tells it once.
    fn is_due(&self, interval: Duration, last_heard: Option<Instant>, now: Instant, share: f64) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let again = interval.mul_f64(0.95 + share * 0.1);
        let due = *state.next.get_or_insert(now + again.mul_f64(share)) <= now;
        // Traffic tells more than a probe.
        let is_quiet = last_heard.is_none_or(|heard| now.saturating_duration_since(heard) >= interval);
        if due {
            state.next = Some(now + again);
        }
        due && is_quiet
    }

    /// Returns what it said before.
    fn tell(&self, verdict: Verdict) -> Option<Verdict> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).verdict.replace(verdict)
    }
}

/// Probes the providers of the configuration in use, one after the other, for ever.
pub async fn run(current: &Current) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let gateway = current.get();
        for provider in gateway.catalog.providers() {
            let Some(interval) = provider.config.probe_every else { continue };
            let now = Instant::now();
            let last_heard = provider.health.report(now).last_heard;
            if provider.probed.is_due(interval, last_heard, now, fastrand::f64()) {
                probe(&gateway, provider).await;
            }
        }
    }
}

async fn probe(gateway: &Arc<Gateway>, provider: &Provider) {
    let request = || {
        let mut request = Request::new(Payload::default());
        *request.uri_mut() = provider.models_uri.clone();
        *request.headers_mut() = provider.headers(&HeaderMap::new(), 0);
        for of_a_body in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
            request.headers_mut().remove(of_a_body);
        }
        request
    };
    let began = Instant::now();
    let sent = tokio::time::timeout(PROBE_TIME, gateway.client.send(&provider.origin, request)).await;
    let at = Instant::now();
    // What it lists is of no interest: dropped, it is not even read.
    let error = match &sent {
        Err(_) => Some(format!("no answer within {} s", PROBE_TIME.as_secs())),
        Ok(Err(error)) => Some(error.to_string()),
        Ok(Ok(response)) if response.status().is_server_error() => Some(format!("status {}", response.status())),
        Ok(Ok(_)) => None,
    };
    let answered = matches!(sent, Ok(Ok(_)));
    let verdict = Verdict {
        is_reachable: error.is_none(),
        latency_ms: answered.then(|| ((at - began).as_secs_f64() * 1e6).round() / 1e3),
        error: error.clone(),
        checked_at: stamp(Timestamp::now()),
        at: Some(at),
    };
    let was_reachable = provider.probed.tell(verdict).is_none_or(|before| before.is_reachable);
    let name = ("provider", (*provider.name).into());
    match error {
        Some(error) if was_reachable => {
            gateway.process.log.event(Level::Warn, "a provider is not reachable", [name, ("error", error.into())]);
        }
        None if !was_reachable => gateway.process.log.event(Level::Info, "a provider is reachable again", [name]),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_due_once_an_interval_and_not_while_there_is_traffic() {
        let (probed, began, interval) = (Probed::default(), Instant::now(), Duration::from_secs(10));
        let at = |seconds| began + Duration::from_secs(seconds);
        let due = |heard: Option<u64>, now| probed.is_due(interval, heard.map(at), at(now), 0.5);
        assert!(!due(None, 0), "not all at the start");
        assert!(due(None, 6) && !due(None, 7), "once");
        assert!(due(None, 17));
        assert!(!due(Some(20), 28) && !due(Some(20), 31), "it was heard of");
        assert!(due(Some(20), 40));
    }

    #[test]
    fn what_was_heard_since_outweighs_a_probe() {
        let now = Instant::now();
        let out =
            Verdict { is_reachable: false, latency_ms: None, error: None, checked_at: String::new(), at: Some(now) };
        assert!(out.is_out(None) && out.is_out(now.checked_sub(Duration::from_secs(1))));
        assert!(!out.is_out(Some(now + Duration::from_secs(1))));
        assert!(!Verdict { is_reachable: true, ..out }.is_out(None));
    }
}
