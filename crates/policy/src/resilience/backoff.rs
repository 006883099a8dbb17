//! How long to wait before the same target is asked again: full jitter, as AWS measured it to be best. Any moment between
//! nothing and a ceiling that grows with every attempt, so that what failed together does not come back together.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The ceiling after the first attempt.
    pub base: Duration,
    /// The highest ceiling.
    pub max: Duration,
    /// By which the ceiling grows.
    pub exponential_base: f64,
}

impl Backoff {
    /// `attempt` counts from 1: the one that has just failed.
    pub fn delay(&self, attempt: u32, rng: &mut fastrand::Rng) -> Duration {
        self.ceiling(attempt).mul_f64(rng.f64())
    }

    fn ceiling(&self, attempt: u32) -> Duration {
        let power = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.base.as_secs_f64() * self.exponential_base.powi(power);
        // Too large a power is infinite, and not a number with a base of zero.
        Duration::try_from_secs_f64(seconds)
            .map_or(if self.base.is_zero() { Duration::ZERO } else { self.max }, |ceiling| ceiling.min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: Backoff =
        Backoff { base: Duration::from_millis(500), max: Duration::from_secs(8), exponential_base: 2.0 };

    #[test]
    fn the_ceiling_doubles_until_it_is_reached() {
        let ceilings: Vec<u64> = (0..8).map(|attempt| USUAL.ceiling(attempt).as_millis() as u64).collect();
        assert_eq!(ceilings, [500, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
    }

    #[test]
    fn every_part_of_the_interval_is_used() {
        let mut rng = fastrand::Rng::with_seed(1);
        let delays: Vec<f64> = (0..10_000).map(|_| USUAL.delay(2, &mut rng).as_secs_f64()).collect();
        for decile in 0..10 {
            let share = delays.iter().filter(|&&delay| (delay * 10.0) as usize == decile).count();
            assert!((900..1100).contains(&share), "{decile}: {share}");
        }
    }

    proptest! {
        #[test]
        fn never_longer_than_the_maximum_and_never_a_panic(
            base in 0..1_000_000u64,
            max in 0..1_000_000u64,
            exponential_base in prop::num::f64::ANY,
            attempt in any::<u32>(),
            seed in any::<u64>(),
        ) {
            let (base, max) = (Duration::from_millis(base), Duration::from_millis(max));
            let delay = Backoff { base, max, exponential_base }.delay(attempt, &mut fastrand::Rng::with_seed(seed));
            prop_assert!(delay <= max);
        }
    }
}
