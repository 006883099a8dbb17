//! Durations of the latest minute, for quantiles: a rolling histogram of fixed size.
//!
//! Log-linear, as HdrHistogram: every power of two of microseconds is cut into sixteen equal buckets, so that a bucket is at
//! most 6.25 % wide and its middle at most 3.2 % off, from microseconds to an hour, without knowing before what will come.
//! Six slices of ten seconds; the oldest is taken off the total when its time is over. About 13 KiB.

use std::time::{Duration, Instant};

const STEPS: u64 = 16;
/// Up to 2^32 microseconds, an hour and twelve minutes; what is longer counts as that.
const BUCKETS: usize = 29 * STEPS as usize;
const LONGEST_MICROS: u64 = u32::MAX as u64;
const SLICES: usize = 6;
const SLICE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct Histogram {
    origin: Instant,
    /// The number of the newest slice.
    tick: u64,
    slices: Box<[[u32; BUCKETS]; SLICES]>,
    total: Box<[u32; BUCKETS]>,
    count: u64,
}

fn bucket(duration: Duration) -> usize {
    let micros = duration.as_micros().min(u128::from(LONGEST_MICROS)) as u64;
    if micros < STEPS {
        return micros as usize;
    }
    let octave = micros.ilog2() - STEPS.ilog2();
    (STEPS * u64::from(octave + 1) + (micros >> octave) % STEPS) as usize
}

/// The middle of a bucket.
fn middle(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return Duration::from_micros(bucket);
    }
    let octave = bucket / STEPS - 1;
    let low = (STEPS + bucket % STEPS) << octave;
    Duration::from_nanos(low * 1000 + (1000 << octave) / 2)
}

impl Histogram {
    /// `now` is any moment not after the first use.
    pub fn new(now: Instant) -> Histogram {
        Histogram {
            origin: now,
            tick: 0,
            slices: Box::new([[0; BUCKETS]; SLICES]),
            total: Box::new([0; BUCKETS]),
            count: 0,
        }
    }

    /// Forgets what is older than a minute. A clock reading from before the newest one counts as that.
    fn advance(&mut self, now: Instant) {
        let tick = now.saturating_duration_since(self.origin).as_secs() / SLICE.as_secs();
        let over = tick.saturating_sub(self.tick).min(SLICES as u64);
        for next in 1..=over {
            let oldest = &mut self.slices[(self.tick + next) as usize % SLICES];
            for (total, gone) in self.total.iter_mut().zip(oldest.iter_mut()) {
                *total -= *gone;
                self.count -= u64::from(*gone);
                *gone = 0;
            }
        }
        self.tick = self.tick.max(tick);
    }

    pub fn record(&mut self, now: Instant, duration: Duration) {
        self.advance(now);
        let bucket = bucket(duration);
        // All slices together must not overflow the total.
        if self.total[bucket] < u32::MAX {
            self.slices[self.tick as usize % SLICES][bucket] += 1;
            self.total[bucket] += 1;
            self.count += 1;
        }
    }

    /// How many the latest minute had: of the slice that is being filled and the five before it.
    pub fn count(&mut self, now: Instant) -> u64 {
        self.advance(now);
        self.count
    }

    /// The duration that a share `q` (0 to 1) of them did not exceed; `None` where there are none.
    pub fn quantile(&mut self, now: Instant, q: f64) -> Option<Duration> {
        self.advance(now);
        let rank = ((self.count as f64 * q.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        self.total.iter().enumerate().find_map(|(bucket, &count)| {
            seen += u64::from(count);
            (seen >= rank && count > 0).then(|| middle(bucket))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(found: Duration, truth: Duration) -> bool {
        let (found, truth) = (found.as_secs_f64(), truth.as_secs_f64());
        (found - truth).abs() <= 0.033 * truth + 1e-6
    }

    #[test]
    fn every_duration_is_near_the_middle_of_its_bucket() {
        for shift in 0..32 {
            for offset in [0, 1, 3, 7, 11] {
                let duration = Duration::from_micros((1u64 << shift) + ((1u64 << shift) * offset) / 13);
                if duration.as_micros() <= u128::from(LONGEST_MICROS) {
                    assert!(near(middle(bucket(duration)), duration), "{duration:?}");
                }
            }
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_minute_later_all_is_forgotten() {
        let start = Instant::now();
        let mut histogram = Histogram::new(start);
        for second in 0..120 {
            histogram.record(start + Duration::from_secs(second), Duration::from_millis(second));
        }
        let end = start + Duration::from_secs(119);
        assert_eq!(histogram.count(end), 60);
        assert!(near(histogram.quantile(end, 0.0).unwrap(), Duration::from_millis(60)));
        assert!(near(histogram.quantile(end, 1.0).unwrap(), Duration::from_millis(119)));
        let later = start + Duration::from_secs(3600);
        assert_eq!((histogram.count(later), histogram.quantile(later, 0.5)), (0, None));
        histogram.record(later, Duration::from_secs(1));
        assert_eq!(histogram.count(later), 1);
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_sorted_durations_within_five_percent(
            micros in prop::collection::vec(1..4_000_000_000u64, 1..200),
            q in 0.0..=1.0f64,
        ) {
            let now = Instant::now();
            let mut histogram = Histogram::new(now);
            for &micros in &micros {
                histogram.record(now, Duration::from_micros(micros));
            }
            let mut sorted = micros.clone();
            sorted.sort_unstable();
            let rank = ((sorted.len() as f64 * q).ceil() as usize).max(1);
            let found = histogram.quantile(now, q).unwrap();
            prop_assert!(near(found, Duration::from_micros(sorted[rank - 1])), "{:?} {}", found, sorted[rank - 1]);
        }

        #[test]
        fn the_count_is_that_of_the_slices_still_open(times in prop::collection::vec(0..30u64, 0..200)) {
            let start = Instant::now();
            let mut histogram = Histogram::new(start);
            let (mut at, mut model) = (0, Vec::new());
            for step in times {
                at += step;
                histogram.record(start + Duration::from_secs(at), Duration::from_millis(5));
                model.push(at / 10);
                let newest = at / 10;
                let expected = model.iter().filter(|&&tick| tick + SLICES as u64 > newest).count() as u64;
                prop_assert_eq!(histogram.count(start + Duration::from_secs(at)), expected);
            }
        }
    }
}
