//! What traffic has shown of a provider. Passive: nothing is asked of anybody.

use std::sync::Mutex;

use gateway_core::error::FailureClass;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// Requests that the percentiles and the success rate look back on.
const WINDOW: usize = 512;

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
    /// Share of the latest 512 requests that the provider answered; 1 before the first.
    pub success_rate: f64,
    /// Failures since the start.
    pub error_count: u64,
    /// The class of the latest failure.
    pub last_error: Option<String>,
    /// When the provider was last heard of, RFC 3339.
    pub last_check: Option<String>,
    /// `closed`, `open` or `half_open`.
    pub circuit: &'static str,
}

#[derive(Debug, Default)]
pub struct Observed {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The latest outcomes in a ring: milliseconds of a success, `None` for a failure.
    outcomes: Vec<Option<f32>>,
    next: usize,
    error_count: u64,
    last_latency: Option<f64>,
    last_error: Option<&'static str>,
    last_check: Option<Timestamp>,
}

impl Observed {
    pub fn success(&self, latency_ms: f64) {
        self.note(Some(latency_ms), None);
    }

    /// A fault of the client's says nothing about the provider's health.
    pub fn failure(&self, class: FailureClass) {
        if class != FailureClass::ClientFault {
            self.note(None, Some(class.name()));
        }
    }

    fn note(&self, latency_ms: Option<f64>, error: Option<&'static str>) {
        // Nothing panics while it holds this lock.
        let Ok(mut state) = self.state.lock() else { return };
        let outcome = latency_ms.map(|ms| ms as f32);
        if state.outcomes.len() < WINDOW {
            state.outcomes.push(outcome);
        } else {
            let next = state.next;
            state.outcomes[next] = outcome;
        }
        state.next = (state.next + 1) % WINDOW;
        state.last_latency = latency_ms.or(state.last_latency);
        state.last_error = error.or(state.last_error);
        state.error_count += u64::from(error.is_some());
        state.last_check = Some(Timestamp::now());
    }

    pub fn health(&self) -> Health {
        let Ok(state) = self.state.lock() else { return Health::unknown() };
        let mut latencies: Vec<f32> = state.outcomes.iter().flatten().copied().collect();
        latencies.sort_by(f32::total_cmp);
        let percentile = |percent: usize| {
            let index = (latencies.len() * percent).div_ceil(100).saturating_sub(1);
            latencies.get(index).map(|&ms| (f64::from(ms) * 1e3).round() / 1e3)
        };
        let seen = state.outcomes.len();
        let success_rate = if seen == 0 { 1.0 } else { latencies.len() as f64 / seen as f64 };
        // A provider that has failed five times in a row, or more than half of at least ten times, is not well.
        let latest = (1..=seen.min(5)).map(|back| state.outcomes[(state.next + WINDOW - back) % WINDOW % seen.max(1)]);
        let all_failed = seen >= 5 && latest.flatten().next().is_none();
        Health {
            is_healthy: !all_failed && (seen < 10 || success_rate >= 0.5),
            latency_ms: state.last_latency.map(|ms| (ms * 1e3).round() / 1e3),
            latency_p50_ms: percentile(50),
            latency_p95_ms: percentile(95),
            latency_p99_ms: percentile(99),
            success_rate,
            error_count: state.error_count,
            last_error: state.last_error.map(str::to_owned),
            last_check: state.last_check.map(crate::telemetry::log::stamp),
            circuit: "closed",
        }
    }
}

impl Health {
    fn unknown() -> Health {
        Observed::default().health()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_latest_requests() {
        let observed = Observed::default();
        for ms in 1..=100 {
            observed.success(f64::from(ms));
        }
        let health = observed.health();
        assert_eq!(
            (health.latency_p50_ms, health.latency_p95_ms, health.latency_p99_ms),
            (Some(50.0), Some(95.0), Some(99.0))
        );
        assert_eq!((health.is_healthy, health.success_rate, health.latency_ms), (true, 1.0, Some(100.0)));
    }

    #[test]
    fn five_failures_in_a_row_are_an_illness_and_client_faults_are_none() {
        let observed = Observed::default();
        for _ in 0..600 {
            observed.success(1.0);
        }
        for _ in 0..100 {
            observed.failure(FailureClass::ClientFault);
        }
        assert!(observed.health().is_healthy);
        for _ in 0..5 {
            observed.failure(FailureClass::ProviderFault);
        }
        let health = observed.health();
        assert!(!health.is_healthy);
        assert_eq!((health.error_count, health.last_error.as_deref()), (5, Some("provider_fault")));
        observed.success(1.0);
        assert!(observed.health().is_healthy);
    }
}
