//! What traffic has shown of a provider, and a probe where there was none.

use std::time::{Duration, Instant};

use gateway_core::error::FailureClass;
use gateway_policy::resilience::{Circuit, Report};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::providers::probe::Verdict;
use crate::providers::quota::Quota;

/// The health of one provider, as `/v1/providers/{id}/health` tells it. Latencies are milliseconds from the sending of a
/// request to the first content of its answer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Health {
    pub is_healthy: bool,
    /// Of the latest success; `null` before the first.
    pub latency_ms: Option<f64>,
    pub latency_p50_ms: Option<f64>,
    pub latency_p95_ms: Option<f64>,
    pub latency_p99_ms: Option<f64>,
    /// Share of the attempts of the latest seconds that went well: of ten seconds under traffic, else of a minute. 1 without any.
    pub success_rate: f64,
    /// Failures since the start.
    pub error_count: u64,
    /// The class of the latest failure.
    pub last_error: Option<String>,
    /// When the provider was last heard of, RFC 3339.
    pub last_check: Option<String>,
    /// `closed`, `open` or `half_open`.
    pub circuit: &'static str,
    /// The latest probe; `null` where there was none.
    pub probe: Option<Verdict>,
    /// What is left of the provider's limits, as far as its answers tell; the sixteen of which least is left.
    pub quotas: Vec<Quota>,
}

impl Health {
    /// `circuit`: of all targets of the provider, see [`roll_up`].
    pub fn of(report: &Report, circuit: Circuit, probe: Option<Verdict>, quotas: Vec<Quota>, now: Instant) -> Health {
        let ms = |duration: Option<Duration>| duration.map(|duration| (duration.as_secs_f64() * 1e6).round() / 1e3);
        let heard =
            report.last_heard.and_then(|at| Timestamp::now().checked_sub(now.saturating_duration_since(at)).ok());
        let is_out = probe.as_ref().is_some_and(|probe| probe.is_out(report.last_heard));
        Health {
            is_healthy: report.is_healthy && !matches!(circuit, Circuit::Open { .. }) && !is_out,
            latency_ms: ms(report.latency),
            latency_p50_ms: ms(report.p50),
            latency_p95_ms: ms(report.p95),
            latency_p99_ms: ms(report.p99),
            success_rate: report.success_rate,
            error_count: report.error_count,
            last_error: report.last_error.map(|class: FailureClass| class.name().to_owned()),
            last_check: heard.map(crate::telemetry::log::stamp),
            circuit: circuit.name(),
            probe,
            quotas,
        }
    }
}

/// One word for many circuits: open if all are, closed if none is, else half-open.
pub fn roll_up(circuits: impl Iterator<Item = Circuit>) -> Circuit {
    let mut all: Option<Circuit> = None;
    for circuit in circuits {
        all = Some(match (all, circuit) {
            (None, circuit) => circuit,
            (Some(Circuit::Closed), Circuit::Closed) => Circuit::Closed,
            (Some(Circuit::Open { until: a }), Circuit::Open { until: b }) => Circuit::Open { until: a.min(b) },
            _ => Circuit::HalfOpen,
        });
    }
    all.unwrap_or(Circuit::Closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_out_only_if_all_of_its_circuits_are() {
        let open = Circuit::Open { until: Instant::now() };
        assert_eq!(roll_up([].into_iter()), Circuit::Closed);
        assert_eq!(roll_up([open, open].into_iter()), open);
        assert_eq!(roll_up([open, Circuit::Closed].into_iter()), Circuit::HalfOpen);
        assert_eq!(roll_up([Circuit::Closed, Circuit::Closed].into_iter()), Circuit::Closed);
    }
}
