//! Percentiles of samples within a run, and median with range over rounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Latencies of one run in microseconds. Exact: every sample is kept, which the bounds of a run keep affordable.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) samples: usize,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
}

impl Percentiles {
    pub(crate) fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        let at = |quantile| percentile(&samples, quantile).as_nanos() as f64 / 1e3;
        Self { samples: samples.len(), p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999), max_us: at(1.0) }
    }
}

/// The smallest sample that at least `quantile` of all samples do not exceed (nearest rank). Zero without samples.
fn percentile(sorted: &[Duration], quantile: f64) -> Duration {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

/// The same figure from several rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// `None` without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let (&low, &high) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { median, low, high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_micros).collect()
    }

    #[test]
    fn percentiles_are_nearest_ranks_whatever_the_order() {
        let found = Percentiles::of(micros((1..=1000).rev()));
        assert_eq!(found, Percentiles { samples: 1000, p50_us: 500.0, p99_us: 990.0, p999_us: 999.0, max_us: 1000.0 });
    }

    #[test]
    fn one_slow_sample_in_fifty_shows_at_p99_and_not_at_p50() {
        let found = Percentiles::of(micros((0..49).map(|_| 10).chain([5000])));
        assert_eq!((found.p50_us, found.p99_us), (10.0, 5000.0));
    }

    #[test]
    fn few_samples_have_percentiles_too() {
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
        let one = Percentiles::of(micros([7]));
        assert_eq!((one.p50_us, one.p999_us, one.max_us), (7.0, 7.0, 7.0));
    }

    #[test]
    fn rounds_give_median_and_range() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, low: 1.0, high: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]), Some(Spread { median: 2.5, low: 1.0, high: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }
}
