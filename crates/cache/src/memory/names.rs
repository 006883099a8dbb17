//! Names and what they stand for, spread over many small maps.
//!
//! Readers share a lock for one look into one map. A map is small, so that even growing it (a writer moves what is in it) keeps
//! a reader waiting for some microseconds at most: a thousand maps hold a million names.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;

use crate::key::Hash;

const SHARDS: usize = 1024;

type Shard<T> = HashMap<Hash, Arc<T>, RandomState>;

#[derive(Debug)]
pub(crate) struct Names<T> {
    shards: Box<[RwLock<Shard<T>>]>,
}

impl<T> Names<T> {
    pub(crate) fn new() -> Names<T> {
        // One state for all: the maps are one table in parts, and where something is in it is nobody's to foresee.
        let state = RandomState::default();
        Names { shards: (0..SHARDS).map(|_| RwLock::new(HashMap::with_hasher(state.clone()))).collect() }
    }

    pub(crate) fn get(&self, name: &Hash) -> Option<Arc<T>> {
        self.shard(name).read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// In the place of what the name stood for.
    pub(crate) fn put(&self, name: Hash, thing: Arc<T>) {
        // What was there is dropped when the lock is free again.
        let _before = self.write(&name).insert(name, thing);
    }

    /// If it still stands for this very thing.
    pub(crate) fn remove(&self, name: &Hash, thing: &Arc<T>) {
        let mut shard = self.write(name);
        if shard.get(name).is_some_and(|there| Arc::ptr_eq(there, thing)) {
            shard.remove(name);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.shards.iter().flat_map(|shard| read(shard).values().cloned().collect::<Vec<_>>()).collect()
    }

    fn shard(&self, name: &Hash) -> &RwLock<Shard<T>> {
        let [first, second, ..] = name.as_bytes();
        &self.shards[usize::from(u16::from_le_bytes([*first, *second])) % SHARDS]
    }

    fn write(&self, name: &Hash) -> RwLockWriteGuard<'_, Shard<T>> {
        self.shard(name).write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}
