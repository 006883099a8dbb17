//! What is in memory, and when it leaves.
//!
//! Readers look into [`Names`] and into the index, whose locks are held for a moment by whoever changes one entry. They never take
//! the lock of the [`Ledger`](ledger::Ledger), behind which writers take turns: a writer needs some microseconds, and there are
//! few of them, since each has waited for a provider before.

mod lanes;
mod ledger;
mod names;
#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ledger::Ledger;
pub(crate) use names::Names;

use crate::cache::Settings;
use crate::entry::{Answer, Entry};
use crate::key::Hash;
use crate::semantic::embedder::Vector;
use crate::semantic::index::{Index, NO_SEGMENT};

/// Entries that leave at a time, before other writers have their turn.
const LEAVING_AT_ONCE: usize = 32;
/// Turns of a writer that needs room; meanwhile others may have taken what it made. Room for the largest answer among the
/// smallest needs fewer.
const TURNS: usize = 100_000;
/// Entries that a writer looks at, whether they are too old. With four, all have been seen when a quarter was replaced.
const LOOKED_AT_FOR_AGE: u32 = 4;
/// An answer that needs a larger part of the room than this is not stored.
const ANSWER_PART: u64 = 8;

#[derive(Debug)]
pub(crate) struct Memory<A> {
    names: Names<Entry<A>>,
    index: Index<Entry<A>>,
    ledger: Mutex<Ledger<A>>,
}

/// What became of an entry that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Outcome {
    Stored,
    TooLarge,
    /// There is a younger answer to the same question.
    #[default]
    NotNeeded,
    /// There is none for anything, or others took what was made, again and again.
    NoRoom,
}

/// And of others for its sake.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) outcome: Outcome,
    pub(crate) replaced: u64,
    pub(crate) evicted: u64,
    /// Those of another tenant, which had more than its share.
    pub(crate) over_share: u64,
    pub(crate) expired: u64,
}

impl<A: Answer> Memory<A> {
    pub(crate) fn new(settings: &Settings) -> Memory<A> {
        Memory { names: Names::new(), index: Index::new(), ledger: Mutex::new(Ledger::new(settings)) }
    }

    pub(crate) fn configure(&self, settings: &Settings) {
        self.lock().configure(settings);
    }

    /// By its exact or its canonical name.
    pub(crate) fn get(&self, name: &Hash) -> Option<Arc<Entry<A>>> {
        self.names.get(name)
    }

    pub(crate) fn index(&self) -> &Index<Entry<A>> {
        &self.index
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes()
    }

    pub(crate) fn entries(&self) -> u64 {
        self.lock().entries()
    }

    pub(crate) fn tenants(&self) -> u64 {
        self.lock().tenants()
    }

    pub(crate) fn put(
        &self,
        entry: &Arc<Entry<A>>,
        vector: Option<&Vector>,
        settings: &Settings,
        now: Instant,
    ) -> Stored {
        let mut stored = Stored::default();
        if entry.bytes > settings.max_bytes / ANSWER_PART {
            return Stored { outcome: Outcome::TooLarge, ..stored };
        }
        for _ in 0..TURNS {
            // What leaves is dropped when the lock is free again.
            let mut gone = Vec::new();
            let mut ledger = self.lock();
            if let Some(before) = self.names.get(&entry.exact) {
                if before.stored > entry.stored && before.is_fresh(settings.ttl, now) {
                    return stored;
                }
                stored.replaced += u64::from(self.take_out(&mut ledger, &before));
                gone.push(before);
            }
            for old in ledger.aged(LOOKED_AT_FOR_AGE, settings.ttl, now) {
                stored.expired += u64::from(self.take_out(&mut ledger, &old));
                gone.push(old);
            }
            while !ledger.has_room(entry.bytes) && gone.len() < LEAVING_AT_ONCE {
                let Some(victim) = ledger.victim() else { return Stored { outcome: Outcome::NoRoom, ..stored } };
                self.take_out(&mut ledger, &victim.entry);
                match victim.over_share && victim.entry.tenant != entry.tenant {
                    true => stored.over_share += 1,
                    false => stored.evicted += 1,
                }
                gone.push(victim.entry);
            }
            if ledger.has_room(entry.bytes) {
                self.put_in(&mut ledger, entry, vector);
                stored.outcome = Outcome::Stored;
                return stored;
            }
            drop(ledger);
        }
        Stored { outcome: Outcome::NoRoom, ..stored }
    }

    /// `false`: it had left already.
    pub(crate) fn remove(&self, entry: &Arc<Entry<A>>) -> bool {
        self.take_out(&mut self.lock(), entry)
    }

    /// Removes what is too old among the next so many.
    pub(crate) fn expire(&self, most: u32, settings: &Settings, now: Instant) -> u64 {
        let aged = self.lock().aged(most, settings.ttl, now);
        aged.iter().filter(|entry| self.remove(entry)).count() as u64
    }

    /// So many slots from this one on, and where to go on; `None`: that was all. What is stored meanwhile may be missed.
    pub(crate) fn page(&self, from: u32, most: u32) -> (Vec<Arc<Entry<A>>>, Option<u32>) {
        self.lock().page(from, most)
    }

    fn put_in(&self, ledger: &mut Ledger<A>, entry: &Arc<Entry<A>>, vector: Option<&Vector>) {
        ledger.add(entry.clone());
        if let Some(vector) = vector {
            let segment = self.index.insert(entry.partition, vector, entry.clone());
            entry.segment.store(segment, Ordering::Relaxed);
        }
        if let Some(canonical) = entry.canonical {
            self.names.put(canonical, entry.clone());
        }
        self.names.put(entry.exact, entry.clone());
    }

    fn take_out(&self, ledger: &mut Ledger<A>, entry: &Arc<Entry<A>>) -> bool {
        if !ledger.remove(entry) {
            return false;
        }
        self.names.remove(&entry.exact, entry);
        if let Some(canonical) = entry.canonical {
            self.names.remove(&canonical, entry);
        }
        match entry.segment.load(Ordering::Relaxed) {
            NO_SEGMENT => {}
            segment => self.index.remove(&entry.partition, segment, entry),
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Ledger<A>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl<A: Answer> Memory<A> {
    /// That names, index and ledger agree, and the ledger with itself.
    fn check(&self) {
        let ledger = self.lock();
        let entries = ledger.check();
        let mut rows = 0;
        for entry in &entries {
            assert!(self.names.get(&entry.exact).is_some_and(|there| Arc::ptr_eq(&there, entry)));
            rows += usize::from(entry.segment.load(Ordering::Relaxed) != NO_SEGMENT);
        }
        assert_eq!(self.names.len(), entries.len());
        assert_eq!(self.index.rows(), rows);
    }
}
