//! What the cache has done, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Tier;
use crate::key::Hash;
use crate::memory::{Outcome, Stored};

/// Since the start, but for what is said to be there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// There now.
    pub entries: u64,
    /// There now, of memory: answers and all that is kept to find them.
    pub bytes: u64,
    /// There now: those who have answers here.
    pub tenants: u64,
    /// There now: parts in which questions are looked for in other words.
    pub partitions: u64,
    /// There now: pairs that were reported as wrong.
    pub blocked_pairs: u64,
    /// By tier, in the order of [`Tier::ALL`].
    pub hits: [u64; 3],
    pub misses: u64,
    pub stored: u64,
    /// Too large to be stored, or without room among too many others.
    pub refused: u64,
    /// Gone for a newer answer to the same question.
    pub replaced: u64,
    /// Gone to make room.
    pub evicted: u64,
    /// Gone to make room for another tenant, since their own had more than its share.
    pub evicted_over_share: u64,
    pub expired: u64,
    pub cleared: u64,
    pub reported_wrong: u64,
}

/// Look-ups are counted in so many places, by question, lest all cores write to the same one.
const STRIPES: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Counters {
    looked: [Stripe; STRIPES],
    stored: AtomicU64,
    refused: AtomicU64,
    replaced: AtomicU64,
    evicted: AtomicU64,
    evicted_over_share: AtomicU64,
    expired: AtomicU64,
    cleared: AtomicU64,
    reported_wrong: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe {
    /// By tier, and misses.
    results: [AtomicU64; 4],
}

impl Counters {
    pub(super) fn looked(&self, question: &Hash, tier: Option<Tier>) {
        let [.., last] = question.as_bytes();
        let result = tier.map_or(Tier::ALL.len(), |tier| tier as usize);
        self.looked[usize::from(*last) % STRIPES].results[result].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stored(&self, stored: &Stored) {
        let counts = [
            (&self.stored, u64::from(stored.outcome == Outcome::Stored)),
            (&self.refused, u64::from(matches!(stored.outcome, Outcome::TooLarge | Outcome::NoRoom))),
            (&self.replaced, stored.replaced),
            (&self.evicted, stored.evicted),
            (&self.evicted_over_share, stored.over_share),
            (&self.expired, stored.expired),
        ];
        for (counter, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn expired(&self, entries: u64) {
        self.expired.fetch_add(entries, Ordering::Relaxed);
    }

    pub(super) fn cleared(&self, entries: u64) {
        self.cleared.fetch_add(entries, Ordering::Relaxed);
    }

    pub(super) fn reported_wrong(&self) {
        self.reported_wrong.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        let looked = |result: usize| self.looked.iter().map(|stripe| get(&stripe.results[result])).sum();
        Stats {
            hits: [looked(0), looked(1), looked(2)],
            misses: looked(3),
            stored: get(&self.stored),
            refused: get(&self.refused),
            replaced: get(&self.replaced),
            evicted: get(&self.evicted),
            evicted_over_share: get(&self.evicted_over_share),
            expired: get(&self.expired),
            cleared: get(&self.cleared),
            reported_wrong: get(&self.reported_wrong),
            ..Stats::default()
        }
    }
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
