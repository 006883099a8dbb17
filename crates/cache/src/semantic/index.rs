//! Where a text is looked for in other words: for each partition its own rows, searched by direction and by words.
//!
//! A row is 298 bytes: the vector (256), its signs as 256 bits (32), a part of the hash of its words (2) and its entry (8). A search
//! reads the signs of all rows, which tell roughly how far apart two directions are, and computes the cosine of the best
//! [`RERANKED`] alone; so up to that many rows it is exact. Rows of the same words are found in the same pass.
//!
//! Rows lie in segments, each behind a lock of its own: a reader holds one for about a microsecond, while it reads the signs, and
//! a writer for as long as it changes one row. So neither waits for more than some microseconds, however long the search is.
//! Removing a row moves the last one of its segment into its place; a search that meets such a move may miss that row.

#[cfg(test)]
mod tests;

use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::directions::{WORDS, cosine, distances, signs};
use super::embedder::Vector;
use crate::key::Hash;
use crate::memory::Names;

/// Rows. A segment that grows moves half of them, which is what a reader waits for at most.
const SEGMENT: usize = 512;
/// Rows whose cosine is computed, of those whose signs are nearest.
const RERANKED: usize = 64;
/// The nearest that a search tells.
const NEAREST: usize = 8;
/// Of the same words that a search tells besides: the nearest of so many.
const SAME_WORDS: usize = 8;
const SAME_WORDS_SEEN: usize = 64;
/// Nothing farther away is told: what shares so little is another question.
const COSINE_LEAST: f32 = 0.5;
/// Of an entry that is in no segment.
pub(crate) const NO_SEGMENT: u32 = u32::MAX;

/// What a row knows of its entry's words, to be asked of the few rows that have the same part of their hash.
pub(crate) trait Worded {
    fn words(&self) -> Option<u64>;
}

#[derive(Debug)]
pub(crate) struct Index<T> {
    partitions: Names<Partition<T>>,
}

#[derive(Debug)]
pub(crate) struct Candidate<T> {
    pub(crate) entry: Arc<T>,
    pub(crate) cosine: f32,
}

#[derive(Debug)]
struct Partition<T> {
    /// Replaced as a whole when it grows, so that a reader who goes through it keeps nobody waiting.
    segments: RwLock<Segments<T>>,
    /// All segments before this one are full.
    roomy: AtomicU32,
    rows: AtomicU32,
}

type Segments<T> = Arc<[Arc<RwLock<Rows<T>>>]>;

#[derive(Debug)]
struct Rows<T> {
    /// The first words of all signs, the second, the third and the fourth.
    signs: [Vec<u64>; WORDS],
    words: Vec<u16>,
    vectors: Vec<Vector>,
    entries: Vec<Arc<T>>,
}

impl<T: Worded> Index<T> {
    pub(crate) fn new() -> Index<T> {
        Index { partitions: Names::new() }
    }

    pub(crate) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    #[cfg(test)]
    pub(crate) fn rows(&self) -> usize {
        let rows = |partition: &Partition<T>| partition.segments().iter().map(|rows| read(rows).len()).sum::<usize>();
        self.partitions.all().iter().map(|partition| rows(partition)).sum()
    }

    /// Writers take turns. Tells the segment, by which the row is removed.
    pub(crate) fn insert(&self, partition: Hash, vector: &Vector, entry: Arc<T>) -> u32 {
        if let Some(there) = self.partitions.get(&partition) {
            return there.insert(vector, entry);
        }
        let new = Arc::new(Partition::new());
        let segment = new.insert(vector, entry);
        self.partitions.put(partition, new);
        segment
    }

    /// Writers take turns.
    pub(crate) fn remove(&self, partition: &Hash, segment: u32, entry: &Arc<T>) {
        let Some(there) = self.partitions.get(partition) else { return };
        there.remove(segment, entry);
        if there.rows.load(Ordering::Relaxed) == 0 {
            self.partitions.remove(partition, &there);
        }
    }

    /// Those of the same words, and then the others; of both, the nearest first.
    pub(crate) fn search(&self, partition: &Hash, vector: &Vector, words: Option<u64>) -> Vec<Candidate<T>> {
        self.partitions.get(partition).map(|there| there.search(vector, words)).unwrap_or_default()
    }
}

impl<T: Worded> Partition<T> {
    fn new() -> Partition<T> {
        Partition { segments: RwLock::new(Arc::new([])), roomy: AtomicU32::new(0), rows: AtomicU32::new(0) }
    }

    fn segments(&self) -> Segments<T> {
        read(&self.segments).clone()
    }

    fn insert(&self, vector: &Vector, entry: Arc<T>) -> u32 {
        let segments = self.segments();
        let first = self.roomy.load(Ordering::Relaxed) as usize;
        let place = match (first..segments.len()).find(|place| read(&segments[*place]).len() < SEGMENT) {
            Some(place) => {
                write(&segments[place]).push(vector, entry);
                place
            }
            None => {
                let mut rows = Rows::new();
                rows.push(vector, entry);
                let grown = segments.iter().cloned().chain([Arc::new(RwLock::new(rows))]).collect();
                *write(&self.segments) = grown;
                segments.len()
            }
        };
        self.roomy.store(place as u32, Ordering::Relaxed);
        self.rows.fetch_add(1, Ordering::Relaxed);
        place as u32
    }

    fn remove(&self, place: u32, entry: &Arc<T>) {
        let segments = self.segments();
        let Some(segment) = segments.get(place as usize) else { return };
        if write(segment).remove(entry) {
            self.roomy.fetch_min(place, Ordering::Relaxed);
            self.rows.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn search(&self, vector: &Vector, words: Option<u64>) -> Vec<Candidate<T>> {
        let (segments, signs) = (self.segments(), signs(vector));
        let (mut near, mut found) = (Near::default(), Vec::new());
        let mut room = [0; SEGMENT];
        for (segment, rows) in segments.iter().enumerate() {
            let rows = read(rows);
            let apart = &mut room[..rows.len()];
            distances(&signs, rows.signs.each_ref().map(Vec::as_slice), apart);
            near.take(segment as u32, apart);
            if let Some(words) = words {
                rows.same_words(words, vector, &mut found);
            }
        }
        found.sort_unstable_by(|a, b| b.cosine.total_cmp(&a.cosine));
        found.truncate(SAME_WORDS);
        let nearest = near.nearest(&segments, vector);
        found.extend(nearest.into_iter().filter(|near| words.is_none() || near.entry.words() != words));
        found
    }
}

impl<T: Worded> Rows<T> {
    fn new() -> Rows<T> {
        Rows { signs: [const { Vec::new() }; WORDS], words: Vec::new(), vectors: Vec::new(), entries: Vec::new() }
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn push(&mut self, vector: &Vector, entry: Arc<T>) {
        if self.entries.len() == self.entries.capacity() {
            // Most partitions have one row or a few: a Vec of its own would make room for four.
            self.reserve_exact(self.entries.len().max(1));
        }
        for (words, word) in self.signs.iter_mut().zip(signs(vector)) {
            words.push(word);
        }
        self.words.push(words_part(entry.words()));
        self.vectors.push(*vector);
        self.entries.push(entry);
    }

    fn remove(&mut self, entry: &Arc<T>) -> bool {
        let Some(row) = self.entries.iter().position(|there| Arc::ptr_eq(there, entry)) else { return false };
        self.signs.iter_mut().for_each(|words| _ = words.swap_remove(row));
        self.words.swap_remove(row);
        self.vectors.swap_remove(row);
        self.entries.swap_remove(row);
        if self.entries.len() < self.entries.capacity() / 4 {
            self.shrink_to(self.entries.capacity() / 2);
        }
        true
    }

    fn reserve_exact(&mut self, rows: usize) {
        self.signs.iter_mut().for_each(|words| words.reserve_exact(rows));
        self.words.reserve_exact(rows);
        self.vectors.reserve_exact(rows);
        self.entries.reserve_exact(rows);
    }

    fn shrink_to(&mut self, rows: usize) {
        self.signs.iter_mut().for_each(|words| words.shrink_to(rows));
        self.words.shrink_to(rows);
        self.vectors.shrink_to(rows);
        self.entries.shrink_to(rows);
    }

    fn same_words(&self, words: u64, vector: &Vector, found: &mut Vec<Candidate<T>>) {
        let part = words_part(Some(words));
        // Without a branch for each row; most segments have none.
        if !self.words.iter().fold(false, |any, there| any | (*there == part)) {
            return;
        }
        for (row, _) in self.words.iter().enumerate().filter(|(_, there)| **there == part) {
            if found.len() < SAME_WORDS_SEEN && self.entries[row].words() == Some(words) {
                let cosine = cosine(vector, &self.vectors[row]);
                found.push(Candidate { entry: self.entries[row].clone(), cosine });
            }
        }
    }
}

/// The rows whose signs are nearest, so far: the farthest of them on top.
#[derive(Debug, Default)]
struct Near {
    rows: BinaryHeap<(u16, u32, u16)>,
}

impl Near {
    fn take(&mut self, segment: u32, distances: &[u16]) {
        const AT_ONCE: usize = 32;
        for (chunk, distances) in distances.chunks(AT_ONCE).enumerate() {
            let least = distances.iter().fold(u16::MAX, |least, distance| least.min(*distance));
            if least >= self.bound() {
                continue;
            }
            for (row, distance) in distances.iter().enumerate() {
                if *distance < self.bound() {
                    if self.rows.len() == RERANKED {
                        self.rows.pop();
                    }
                    self.rows.push((*distance, segment, (chunk * AT_ONCE + row) as u16));
                }
            }
        }
    }

    fn bound(&self) -> u16 {
        if self.rows.len() < RERANKED {
            u16::MAX
        } else {
            self.rows.peek().map_or(u16::MAX, |(distance, ..)| *distance)
        }
    }

    /// By their cosine. Where a row was removed meanwhile, the one that has come into its place is as good as any.
    fn nearest<T>(self, segments: &[Arc<RwLock<Rows<T>>>], vector: &Vector) -> Vec<Candidate<T>> {
        let mut nearest: Vec<Candidate<T>> = Vec::with_capacity(NEAREST + 1);
        for (_, segment, row) in self.rows.into_sorted_vec() {
            let rows = read(&segments[segment as usize]);
            let Some(there) = rows.vectors.get(usize::from(row)) else { continue };
            let cosine = cosine(vector, there);
            let place = nearest.partition_point(|other| other.cosine >= cosine);
            if cosine >= COSINE_LEAST && place < NEAREST {
                nearest.insert(place, Candidate { entry: rows.entries[usize::from(row)].clone(), cosine });
                nearest.truncate(NEAREST);
            }
        }
        nearest
    }
}

/// 0: it has none.
fn words_part(words: Option<u64>) -> u16 {
    words.map_or(0, |words| (words >> 48).max(1) as u16)
}

fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
