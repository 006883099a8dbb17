//! Where a text is looked for in other words: for each partition its own rows, searched by direction and by words.
//!
//! A row of the built-in model is 298 bytes: the vector (256), its signs as 256 bits (32), a part of the hash of its words (2) and its entry (8). A search
//! reads the signs of all rows, which tell roughly how far apart two directions are, and computes the cosine of the best
//! [`RERANKED`] alone; so up to that many rows it is exact. Rows of the same words are found in the same pass.
//!
//! Rows lie in segments, each behind a lock of its own: a reader holds one for about a microsecond, while it reads the signs, and
//! a writer for as long as it changes one row. So neither waits for more than some microseconds, however long the search is.
//! Removing a row moves the last one of its segment into its place; a search that meets such a move may miss that row.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::directions::{WORDS, cosine, distances, has, signs};
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
    /// Of its vectors. One of another size is of another model, and has no place here.
    dimensions: usize,
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
    dimensions: usize,
    /// One after the other.
    vectors: Vec<i8>,
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

    /// Writers take turns. Tells the segment, by which the row is removed; [`NO_SEGMENT`]: it has no place here.
    pub(crate) fn insert(&self, partition: Hash, vector: &Vector, entry: Arc<T>) -> u32 {
        if let Some(there) = self.partitions.get(&partition) {
            return there.insert(vector, entry);
        }
        let new = Arc::new(Partition::new(vector.len()));
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
    fn new(dimensions: usize) -> Partition<T> {
        Partition { segments: RwLock::new(Arc::new([])), dimensions, roomy: AtomicU32::new(0), rows: AtomicU32::new(0) }
    }

    fn segments(&self) -> Segments<T> {
        read(&self.segments).clone()
    }

    fn insert(&self, vector: &Vector, entry: Arc<T>) -> u32 {
        if vector.len() != self.dimensions {
            return NO_SEGMENT;
        }
        let segments = self.segments();
        let first = self.roomy.load(Ordering::Relaxed) as usize;
        let place = match (first..segments.len()).find(|place| read(&segments[*place]).len() < SEGMENT) {
            Some(place) => {
                write(&segments[place]).push(vector, entry);
                place
            }
            None => {
                let mut rows = Rows::new(self.dimensions);
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
        if vector.len() != self.dimensions {
            return Vec::new();
        }
        let (segments, signs) = (self.segments(), signs(vector));
        let (mut near, mut found) = (Near::new(), Vec::new());
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
        let mut nearest = near.nearest(&segments, vector);
        nearest.retain(|near| !found.iter().any(|there: &Candidate<T>| Arc::ptr_eq(&there.entry, &near.entry)));
        found.append(&mut nearest);
        found
    }
}

impl<T> Rows<T> {
    fn vector(&self, row: usize) -> Option<&Vector> {
        self.vectors.get(row * self.dimensions..(row + 1) * self.dimensions)
    }
}

impl<T: Worded> Rows<T> {
    fn new(dimensions: usize) -> Rows<T> {
        let signs = [const { Vec::new() }; WORDS];
        Rows { signs, words: Vec::new(), dimensions, vectors: Vec::new(), entries: Vec::new() }
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
        self.vectors.extend_from_slice(vector);
        self.entries.push(entry);
    }

    fn remove(&mut self, entry: &Arc<T>) -> bool {
        let Some(row) = self.entries.iter().position(|there| Arc::ptr_eq(there, entry)) else { return false };
        self.signs.iter_mut().for_each(|words| _ = words.swap_remove(row));
        self.words.swap_remove(row);
        let last = self.vectors.len() - self.dimensions;
        self.vectors.copy_within(last.., row * self.dimensions);
        self.vectors.truncate(last);
        self.entries.swap_remove(row);
        if self.entries.len() < self.entries.capacity() / 4 {
            self.shrink_to(self.entries.capacity() / 2);
        }
        true
    }

    fn reserve_exact(&mut self, rows: usize) {
        self.signs.iter_mut().for_each(|words| words.reserve_exact(rows));
        self.words.reserve_exact(rows);
        self.vectors.reserve_exact(rows * self.dimensions);
        self.entries.reserve_exact(rows);
    }

    fn shrink_to(&mut self, rows: usize) {
        self.signs.iter_mut().for_each(|words| words.shrink_to(rows));
        self.words.shrink_to(rows);
        self.vectors.shrink_to(rows * self.dimensions);
        self.entries.shrink_to(rows);
    }

    fn same_words(&self, words: u64, vector: &Vector, found: &mut Vec<Candidate<T>>) {
        let part = words_part(Some(words));
        if !has(&self.words, part) {
            return;
        }
        for (row, _) in self.words.iter().enumerate().filter(|(_, there)| **there == part) {
            if found.len() < SAME_WORDS_SEEN
                && self.entries[row].words() == Some(words)
                && let Some(there) = self.vector(row)
            {
                let cosine = cosine(vector, there);
                found.push(Candidate { entry: self.entries[row].clone(), cosine });
            }
        }
    }
}

/// The rows whose signs are nearest, so far, and some that were until others came.
#[derive(Debug)]
struct Near {
    rows: Vec<(i16, u32, u16)>,
    /// What is not nearer than this is none of them.
    bound: i16,
}

impl Near {
    /// With room for what a whole segment adds, it is put in order once a segment at most.
    const ROOM: usize = 4 * RERANKED + SEGMENT;

    fn new() -> Near {
        Near { rows: Vec::with_capacity(Near::ROOM), bound: i16::MAX }
    }

    fn take(&mut self, segment: u32, distances: &[i16]) {
        const AT_ONCE: usize = 16;
        for (chunk, distances) in distances.chunks(AT_ONCE).enumerate() {
            // Most rows are too far away, and here nothing is decided for each.
            if distances.iter().fold(i16::MAX, |least, distance| least.min(*distance)) >= self.bound {
                continue;
            }
            for (row, distance) in distances.iter().enumerate().filter(|(_, distance)| **distance < self.bound) {
                self.rows.push((*distance, segment, (chunk * AT_ONCE + row) as u16));
            }
        }
        if self.rows.len() > 4 * RERANKED {
            self.forget_the_farthest();
        }
    }

    fn forget_the_farthest(&mut self) {
        let (_, farthest, _) = self.rows.select_nth_unstable(RERANKED - 1);
        self.bound = farthest.0;
        self.rows.truncate(RERANKED);
    }

    /// By their cosine.
    fn nearest<T>(mut self, segments: &[Arc<RwLock<Rows<T>>>], vector: &Vector) -> Vec<Candidate<T>> {
        if self.rows.len() > RERANKED {
            self.forget_the_farthest();
        }
        // Rows of one segment are read together: a lock for each keeps the processor from reading ahead.
        self.rows.sort_unstable_by_key(|(_, segment, row)| (*segment, *row));
        let mut reranked = Vec::with_capacity(RERANKED);
        for places in self.rows.chunk_by(|(_, one, _), (_, other, _)| one == other) {
            let rows = read(&segments[places[0].1 as usize]);
            for (_, segment, row) in places {
                let cosine = rows.vector(usize::from(*row)).map(|there| cosine(vector, there));
                reranked.extend(cosine.map(|cosine| (cosine, *segment, *row)));
            }
        }
        reranked.retain(|(cosine, ..)| *cosine >= COSINE_LEAST);
        reranked.sort_unstable_by(|(one, ..), (other, ..)| other.total_cmp(one));
        reranked.truncate(NEAREST);
        // Another entry may have come into the place of one that left: the cosine is always that of the entry.
        let candidate = |(_, segment, row): (f32, u32, u16)| {
            let rows = read(&segments[segment as usize]);
            let (entry, there) = (rows.entries.get(usize::from(row))?, rows.vector(usize::from(row))?);
            Some(Candidate { entry: entry.clone(), cosine: cosine(vector, there) })
        };
        reranked.into_iter().filter_map(candidate).collect()
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
