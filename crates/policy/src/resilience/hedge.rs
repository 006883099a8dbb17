//! When to ask a second target though the first may still answer.
//!
//! After the time in which 95 of 100 answers have begun: then one request in twenty is sent twice, and it is the slow one ("The
//! Tail at Scale"; Finagle's backup requests). Without enough answers to know that time, never. Off unless the operator wants
//! it, and what it may cost in all is [`super::ExtraCost`]'s: [`super::Extra::Hedge`] must be granted as well.

use std::time::{Duration, Instant};

use super::Health;

/// From so many answers in the latest minute on, their 95th percentile is worth something: two were slower.
pub const SAMPLES: u64 = 40;
const QUANTILE: f64 = 0.95;

/// How long after the first attempt began a second one may; `None`: nobody knows, and none is made.
pub fn delay(health: &Health, now: Instant) -> Option<Duration> {
    let (delay, count) = health.first_content(now, QUANTILE);
    delay.filter(|_| count >= SAMPLES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_twenty_is_slower_and_without_enough_answers_there_is_none() {
        let now = Instant::now();
        let health = Health::new(now);
        for n in 1..=100 {
            assert_eq!(delay(&health, now).is_some(), n > SAMPLES, "{n}");
            health.succeeded(Duration::from_millis(10 * n), now);
        }
        let delay = delay(&health, now).unwrap();
        assert!((0.92..0.98).contains(&delay.as_secs_f64()), "{delay:?}");
        assert_eq!(super::delay(&health, now + Duration::from_secs(70)), None);
    }
}
