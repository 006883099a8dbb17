//! Successes and failures of the latest 30 seconds, in ten buckets of three, without a lock.

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

pub(super) const BUCKETS: u32 = 10;
const BUCKET: Duration = Duration::from_secs(3);

/// Time is handed in as what has passed since one moment that all callers agree on.
#[derive(Debug)]
pub(super) struct Window {
    buckets: [AtomicU64; BUCKETS as usize],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) ok: u32,
    pub(super) failed: u32,
}

impl Counts {
    pub(super) fn total(self) -> u32 {
        self.ok + self.failed
    }
}

/// A bucket is one word, so that a count can never land in a bucket that another thread has just begun anew: the number of
/// its three seconds (32 bits last for 400 years), successes (16 bits), failures (16 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    tick: u32,
    ok: u16,
    failed: u16,
}

impl Bucket {
    fn unpack(word: u64) -> Bucket {
        Bucket { tick: (word >> 32) as u32, ok: (word >> 16) as u16, failed: word as u16 }
    }

    fn pack(self) -> u64 {
        u64::from(self.tick) << 32 | u64::from(self.ok) << 16 | u64::from(self.failed)
    }

    fn add(mut self, ok: bool) -> Bucket {
        if self.ok == u16::MAX || self.failed == u16::MAX {
            // What matters is the ratio, and halving keeps it.
            (self.ok, self.failed) = (self.ok / 2, self.failed / 2);
        }
        if ok {
            self.ok += 1
        } else {
            self.failed += 1
        }
        self
    }
}

fn tick(since: Duration) -> u32 {
    (since.as_secs() / BUCKET.as_secs()) as u32
}

impl Window {
    pub(super) fn new() -> Window {
        Window { buckets: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    pub(super) fn add(&self, since: Duration, ok: bool) {
        let tick = tick(since);
        let bucket = &self.buckets[(tick % BUCKETS) as usize];
        let mut word = bucket.load(Ordering::Relaxed);
        loop {
            let old = Bucket::unpack(word);
            let new = match old.tick.cmp(&tick) {
                std::cmp::Ordering::Equal => old.add(ok),
                std::cmp::Ordering::Less => Bucket { tick, ok: 0, failed: 0 }.add(ok),
                // A caller whose clock reading is half a minute old: what it saw is out of the window.
                std::cmp::Ordering::Greater => return,
            };
            match bucket.compare_exchange_weak(word, new.pack(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => word = changed,
            }
        }
    }

    /// Of the latest `buckets`, the one that is being filled included.
    pub(super) fn counts(&self, since: Duration, buckets: u32) -> Counts {
        let now = tick(since);
        let oldest = now.saturating_sub(buckets - 1);
        let mut counts = Counts::default();
        for bucket in &self.buckets {
            let bucket = Bucket::unpack(bucket.load(Ordering::Relaxed));
            if (oldest..=now).contains(&bucket.tick) {
                counts.ok += u32::from(bucket.ok);
                counts.failed += u32::from(bucket.failed);
            }
        }
        counts
    }

    pub(super) fn clear(&self) {
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_older_than_thirty_seconds_is_forgotten() {
        let window = Window::new();
        window.add(at(0), true);
        window.add(at(2), false);
        window.add(at(29), false);
        assert_eq!(window.counts(at(29), BUCKETS), Counts { ok: 1, failed: 2 });
        assert_eq!(window.counts(at(30), BUCKETS), Counts { ok: 0, failed: 1 });
        assert_eq!(window.counts(at(57), BUCKETS), Counts { ok: 0, failed: 0 });
        window.add(at(300), true);
        assert_eq!(window.counts(at(300), BUCKETS), Counts { ok: 1, failed: 0 });
    }

    #[test]
    fn a_report_from_long_ago_does_not_touch_what_came_after() {
        let window = Window::new();
        window.add(at(60), true);
        window.add(at(30), false);
        assert_eq!(window.counts(at(60), BUCKETS), Counts { ok: 1, failed: 0 });
    }

    #[test]
    fn a_full_bucket_keeps_its_ratio() {
        let window = Window::new();
        for n in 0..200_000 {
            window.add(at(1), n % 4 != 0);
        }
        let counts = window.counts(at(1), BUCKETS);
        let ratio = f64::from(counts.ok) / f64::from(counts.total());
        assert!((ratio - 0.75).abs() < 0.001, "{ratio}");
    }
}
