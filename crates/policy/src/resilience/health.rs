//! How a provider has been doing, from the traffic it got: nothing is asked of anybody.
//!
//! It is judged by the latest ten seconds if they had ten attempts, else by the latest minute if that had ten. Fewer than 80 %
//! successes in them, with at least five failures, or five failures in a row, and the provider is not healthy. The ten seconds
//! show a brownout under traffic, and its end, within ten seconds; the minute serves providers with little of it.
//!
//! Five failures and not the three that suffice for 80 % of ten: at one random error in a hundred and ten attempts a window, a
//! third failure within ten attempts happens about three times a day at one attempt a second, a fifth once in
//! some years.

use std::time::{Duration, Instant};

use gateway_core::error::FailureClass;

use super::Verdict;
use super::histogram::Histogram;
use crate::sync::{Mutex, lock};

const SECONDS: usize = 60;
/// Of the latest seconds, those that are enough if they had [`ENOUGH`] attempts.
const SHORT_SECONDS: u64 = 10;
const ENOUGH: u32 = 10;
const HEALTHY_PERCENT: u64 = 80;
/// Failures, in a row or in the window, without which nobody is ill.
const FAILURES: u32 = 5;

/// Shared by all workers; one short lock for each attempt.
#[derive(Debug)]
pub struct Health {
    origin: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seconds: [Second; SECONDS],
    /// From sending a request to the first content of its answer.
    first_content: Histogram,
    run: u32,
    error_count: u64,
    last_latency: Option<Duration>,
    last_error: Option<FailureClass>,
    last_heard: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    number: u64,
    ok: u32,
    failed: u32,
}

/// The health of a provider at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    pub is_healthy: bool,
    /// Of the attempts that it is judged by; 1 where there were none.
    pub success_rate: f64,
    /// From sending a request to the first content of its answer: the latest, and of the latest minute.
    pub latency: Option<Duration>,
    pub p50: Option<Duration>,
    pub p95: Option<Duration>,
    pub p99: Option<Duration>,
    /// Since the start.
    pub error_count: u64,
    pub last_error: Option<FailureClass>,
    /// When it last answered, well or not.
    pub last_heard: Option<Instant>,
}

impl Health {
    /// `now` is any moment not after the first use.
    pub fn new(now: Instant) -> Health {
        let state = State {
            seconds: [Second::default(); SECONDS],
            first_content: Histogram::new(now),
            run: 0,
            error_count: 0,
            last_latency: None,
            last_error: None,
            last_heard: None,
        };
        Health { origin: now, state: Mutex::new(state) }
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_secs()
    }

    pub fn succeeded(&self, first_content: Duration, now: Instant) {
        let second = self.second(now);
        let mut state = lock(&self.state);
        state.count(second, true);
        state.first_content.record(now, first_content);
        state.run = 0;
        state.last_latency = Some(first_content);
        state.last_heard = Some(now);
    }

    /// A fault of the request, the key or the money says nothing about the provider's health, except to people: it is the
    /// last error all the same, unless the client is to blame.
    pub fn failed(&self, class: FailureClass, now: Instant) {
        if class == FailureClass::ClientFault {
            return;
        }
        let second = self.second(now);
        let mut state = lock(&self.state);
        state.error_count += 1;
        state.last_error = Some(class);
        state.last_heard = Some(now);
        if Verdict::of(class) == Verdict::HardFailure {
            state.count(second, false);
            state.run = state.run.saturating_add(1);
        }
    }

    pub fn report(&self, now: Instant) -> Report {
        let second = self.second(now);
        let mut state = lock(&self.state);
        let short = state.counts(second, SHORT_SECONDS);
        let (ok, failed) = if short.0 + short.1 >= ENOUGH { short } else { state.counts(second, SECONDS as u64) };
        let total = ok + failed;
        let few = total >= ENOUGH && failed >= FAILURES && u64::from(ok) * 100 < u64::from(total) * HEALTHY_PERCENT;
        Report {
            is_healthy: !few && state.run < FAILURES,
            success_rate: if total == 0 { 1.0 } else { f64::from(ok) / f64::from(total) },
            latency: state.last_latency,
            p50: state.first_content.quantile(now, 0.50),
            p95: state.first_content.quantile(now, 0.95),
            p99: state.first_content.quantile(now, 0.99),
            error_count: state.error_count,
            last_error: state.last_error,
            last_heard: state.last_heard,
        }
    }

    /// A quantile of the times to the first content, and of how many.
    pub fn first_content(&self, now: Instant, q: f64) -> (Option<Duration>, u64) {
        let mut state = lock(&self.state);
        (state.first_content.quantile(now, q), state.first_content.count(now))
    }
}

impl State {
    fn count(&mut self, number: u64, ok: bool) {
        let second = &mut self.seconds[number as usize % SECONDS];
        if second.number < number {
            *second = Second { number, ok: 0, failed: 0 };
        }
        if second.number == number {
            if ok { second.ok += 1 } else { second.failed += 1 }
        }
    }

    /// Successes and failures of the latest seconds, the one under way included.
    fn counts(&self, now: u64, seconds: u64) -> (u32, u32) {
        let oldest = now.saturating_sub(seconds - 1);
        let within = self.seconds.iter().filter(|second| (oldest..=now).contains(&second.number));
        within.fold((0, 0), |(ok, failed), second| (ok + second.ok, failed + second.failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, request: u64, per_second: u64) -> Instant {
        start + Duration::from_millis(request * 1000 / per_second)
    }

    #[test]
    fn a_brownout_shows_within_ten_seconds_and_so_does_its_end() {
        let (start, rps) = (Instant::now(), 10);
        let mut rng = fastrand::Rng::with_seed(3);
        let health = Health::new(start);
        for request in 0..180 * rps {
            let now = at(start, request, rps);
            let second = request / rps;
            if (60..120).contains(&second) && rng.bool() {
                health.failed(FailureClass::ProviderFault, now);
            } else {
                health.succeeded(Duration::from_millis(200), now);
            }
            let report = health.report(now);
            match second {
                0..60 | 130.. => assert!(report.is_healthy && report.success_rate == 1.0, "{second}: {report:?}"),
                70..120 => assert!(!report.is_healthy && report.success_rate < 0.7, "{second}: {report:?}"),
                _ => {}
            }
        }
    }

    #[test]
    fn no_false_alarm_in_a_day_with_one_percent_of_random_errors() {
        let (start, rps) = (Instant::now(), 10);
        let mut rng = fastrand::Rng::with_seed(4);
        let health = Health::new(start);
        for request in 0..86_400 * rps {
            let now = at(start, request, rps);
            if rng.f64() < 0.01 {
                health.failed(FailureClass::ProviderFault, now);
                assert!(health.report(now).is_healthy, "{request}");
            } else {
                health.succeeded(Duration::from_millis(200), now);
            }
        }
    }

    #[test]
    fn five_failures_in_a_row_are_an_illness_whatever_came_before() {
        let now = Instant::now();
        let health = Health::new(now);
        assert!(health.report(now).is_healthy && health.report(now).success_rate == 1.0);
        for _ in 0..600 {
            health.succeeded(Duration::from_millis(1), now);
        }
        for class in [FailureClass::ClientFault, FailureClass::Quota, FailureClass::Credential] {
            for _ in 0..100 {
                health.failed(class, now);
            }
        }
        let report = health.report(now);
        assert!(report.is_healthy && report.success_rate == 1.0);
        assert_eq!((report.error_count, report.last_error), (200, Some(FailureClass::Credential)));
        for _ in 0..5 {
            health.failed(FailureClass::Overload, now);
        }
        assert!(!health.report(now).is_healthy);
        health.succeeded(Duration::from_millis(1), now);
        assert!(health.report(now).is_healthy);
    }

    #[test]
    fn three_failures_of_ten_may_be_chance_and_five_are_not() {
        let now = Instant::now();
        let health = Health::new(now);
        for request in 0..10 {
            match request % 3 {
                1 => health.failed(FailureClass::Timeout, now),
                _ => health.succeeded(Duration::from_millis(1), now),
            }
        }
        let report = health.report(now);
        assert!(report.is_healthy && report.success_rate == 0.7, "{report:?}");
        for _ in 0..2 {
            health.failed(FailureClass::Timeout, now);
        }
        assert!(!health.report(now).is_healthy);
    }

    #[test]
    fn little_traffic_is_judged_by_a_minute() {
        let start = Instant::now();
        let health = Health::new(start);
        for request in 0..12 {
            let now = at(start, request * 4, 1);
            match request % 2 {
                0 => health.succeeded(Duration::from_millis(100 + request), now),
                _ => health.failed(FailureClass::Timeout, now),
            }
        }
        let now = start + Duration::from_secs(44);
        let report = health.report(now);
        assert!(!report.is_healthy);
        assert_eq!((report.success_rate, report.latency), (0.5, Some(Duration::from_millis(110))));
        assert!(report.p50.unwrap() > Duration::from_millis(95) && report.p99.unwrap() < Duration::from_millis(115));
        assert!(health.report(now + Duration::from_secs(61)).is_healthy);
    }
}
