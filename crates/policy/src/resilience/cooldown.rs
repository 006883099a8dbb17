//! A key that rests: until its quota is back, until a spend cap is lifted, or until somebody has replaced it.
//!
//! The deadline only ever moves forward. A gateway that kept the first, shorter one (LiteLLM did) goes back to a key that has
//! meanwhile been told to wait longer. Up to a tenth is added at random, so that what was refused together does not return
//! together. All of it is one word: [`Cooldown::ready`] is a load and a comparison.

use std::time::{Duration, Instant};

use crate::sync::{AtomicU64, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Too many requests or tokens.
    Quota,
    /// The money is spent.
    SpendCap,
    /// The provider refuses the key.
    Credential,
}

impl Reason {
    fn code(self) -> u64 {
        match self {
            Reason::Quota => 0,
            Reason::SpendCap => 1,
            Reason::Credential => 2,
        }
    }

    fn of(code: u64) -> Reason {
        match code {
            0 => Reason::Quota,
            1 => Reason::SpendCap,
            _ => Reason::Credential,
        }
    }

    /// For logs, metrics and explanations.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Quota => "quota",
            Reason::SpendCap => "spend_cap",
            Reason::Credential => "credential",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    Ready,
    /// Nothing needs to be done; it comes back by itself.
    Resting {
        until: Instant,
        reason: Reason,
    },
    /// Until the operator says so: [`Cooldown::clear`], or another key.
    Out {
        reason: Reason,
    },
}

#[derive(Debug)]
pub struct Cooldown {
    origin: Instant,
    /// Microseconds from `origin` to the deadline, times four, plus the reason. 0: it never had one. [`FOR_EVER`] and above:
    /// until the operator says so.
    word: AtomicU64,
}

const FOR_EVER: u64 = !3;
/// Longer than any reset that a provider has announced: the end of next month.
const LONGEST: Duration = Duration::from_secs(62 * 86_400);

impl Cooldown {
    /// `now` is any moment not after the first use.
    pub fn new(now: Instant) -> Cooldown {
        Cooldown { origin: now, word: AtomicU64::new(0) }
    }

    /// Rest for so long (62 days at most), plus up to a tenth. A deadline that is further away stays.
    pub fn rest(&self, reason: Reason, wait: Duration, now: Instant, rng: &mut fastrand::Rng) {
        let wait = wait.min(LONGEST).mul_f64(1.0 + 0.1 * rng.f64());
        let deadline = (self.since(now) + wait).as_micros() as u64;
        self.word
            .fetch_max(deadline.saturating_add(1).min((FOR_EVER >> 2) - 1) << 2 | reason.code(), Ordering::Relaxed);
    }

    /// Rest until the operator does something about it.
    pub fn out(&self, reason: Reason) {
        self.word.fetch_max(FOR_EVER | reason.code(), Ordering::Relaxed);
    }

    /// The operator says that all is well, or a request with this key went well all the same.
    pub fn clear(&self) {
        self.word.store(0, Ordering::Relaxed);
    }

    pub fn ready(&self, now: Instant) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        word == 0 || word < FOR_EVER && self.since(now).as_micros() as u64 >= word >> 2
    }

    pub fn state(&self, now: Instant) -> Availability {
        let word = self.word.load(Ordering::Relaxed);
        let reason = Reason::of(word & 3);
        let deadline = word >> 2;
        if word >= FOR_EVER {
            Availability::Out { reason }
        } else if word == 0 || self.since(now).as_micros() as u64 >= deadline {
            Availability::Ready
        } else {
            Availability::Resting { until: self.origin + Duration::from_micros(deadline), reason }
        }
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.origin)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_later_shorter_wait_does_not_shorten_a_longer_one() {
        let (now, mut rng) = (Instant::now(), fastrand::Rng::with_seed(1));
        let key = Cooldown::new(now);
        assert!(key.ready(now) && key.state(now) == Availability::Ready);
        key.rest(Reason::SpendCap, seconds(100), now, &mut rng);
        key.rest(Reason::Quota, seconds(1), now + seconds(50), &mut rng);
        assert!(!key.ready(now + seconds(99)));
        assert!(matches!(key.state(now), Availability::Resting { reason: Reason::SpendCap, .. }));
        assert!(key.ready(now + seconds(110)));
    }

    #[test]
    fn what_only_the_operator_can_mend_waits_for_the_operator() {
        let (now, mut rng) = (Instant::now(), fastrand::Rng::with_seed(1));
        let key = Cooldown::new(now);
        key.out(Reason::Credential);
        key.rest(Reason::Quota, Duration::MAX, now, &mut rng);
        assert_eq!(key.state(now + seconds(86_400 * 365)), Availability::Out { reason: Reason::Credential });
        assert!(!key.ready(now + seconds(86_400 * 365)));
        key.clear();
        assert!(key.ready(now));
    }

    #[test]
    fn the_jitter_is_a_tenth_and_only_ever_later() {
        let (now, mut rng) = (Instant::now(), fastrand::Rng::with_seed(7));
        let mut seen = Vec::new();
        for _ in 0..1000 {
            let key = Cooldown::new(now);
            key.rest(Reason::Quota, seconds(100), now, &mut rng);
            let Availability::Resting { until, .. } = key.state(now) else { panic!("not resting") };
            assert!(key.ready(until) && key.state(until) == Availability::Ready);
            seen.push((until - now).as_secs_f64());
        }
        assert!(seen.iter().all(|wait| (100.0..110.001).contains(wait)));
        assert!(seen.iter().any(|&wait| wait < 101.0) && seen.iter().any(|&wait| wait > 109.0));
    }

    proptest! {
        #[test]
        fn the_deadline_is_the_latest_of_all(waits in prop::collection::vec((0..1000u64, 0..400u64), 1..20), seed: u64) {
            let (origin, mut rng) = (Instant::now(), fastrand::Rng::with_seed(seed));
            let key = Cooldown::new(origin);
            let mut least = Duration::ZERO;
            for (at, wait) in waits {
                key.rest(Reason::Quota, seconds(wait), origin + seconds(at), &mut rng);
                least = least.max(seconds(at + wait));
                let before = origin + least.saturating_sub(Duration::from_micros(1));
                prop_assert!(least.is_zero() || !key.ready(before));
                prop_assert!(key.ready(origin + seconds(1400 + 41)));
            }
        }
    }
}
