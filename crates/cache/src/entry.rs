//! One answer, and what is known of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::key::{Hash, NotAHash, Question};
use crate::semantic::embedder::Vector;
use crate::semantic::index::{NO_SEGMENT, Worded};
use crate::semantic::verifier::Prepared;

/// What is stored. The cache looks at its size alone.
pub trait Answer: Send + Sync + 'static {
    /// Of memory, all that it owns included.
    fn bytes(&self) -> usize;
}

/// The name of a stored answer: the same on every node, and the same again when the same question is stored anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub(crate) Hash);

impl EntryId {
    /// Of the answer to exactly this question.
    pub fn of(exact: Hash) -> EntryId {
        EntryId(exact)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EntryId {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<EntryId, NotAHash> {
        text.parse().map(EntryId)
    }
}

/// What is known of an answer besides itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Who gave it, as answers are cleared by: one name is shared by all entries that have it.
    pub model: Arc<str>,
    /// When it was asked for: what was cleared since then does not come back with it.
    pub asked: Instant,
}

/// A question and the answer that it was given; enough to say later that this was wrong. Small, plain data: it may be kept with
/// the record of a request, and sent to other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    pub tenant: Hash,
    pub entry: EntryId,
    /// Of both questions, in the normal form of those that have one, whichever was asked first; the question itself, where
    /// there was one alone.
    pub questions: Hash,
}

impl Pair {
    pub(crate) fn new<A>(asked: &Question, entry: &Entry<A>) -> Pair {
        let (one, other) = (asked.identity(), entry.canonical.unwrap_or(entry.exact));
        let questions = Hash::both("pair", one.min(other), one.max(other));
        Pair { tenant: entry.tenant, entry: EntryId(entry.exact), questions }
    }

    /// A question and the answer to itself.
    pub(crate) fn same<A>(entry: &Entry<A>) -> Pair {
        Pair { tenant: entry.tenant, entry: EntryId(entry.exact), questions: entry.exact }
    }

    /// The answer was wrong for its own question: there is nothing to keep apart.
    pub fn is_same(&self) -> bool {
        self.questions == self.entry.0
    }
}

/// An answer in memory.
#[derive(Debug)]
pub(crate) struct Entry<A> {
    pub(crate) exact: Hash,
    pub(crate) tenant: Hash,
    pub(crate) partition: Hash,
    /// The name of the normal form of its question.
    pub(crate) canonical: Option<Hash>,
    /// Where the question may be found otherwise than as it was said.
    pub(crate) prepared: Option<Arc<Prepared>>,
    pub(crate) answer: Arc<A>,
    pub(crate) model: Arc<str>,
    pub(crate) stored: Instant,
    /// Of memory, with all that is kept to find it.
    pub(crate) bytes: u64,
    pub(crate) uses: Uses,
    /// Where it is in the ledger and in the index, for writers.
    pub(crate) slot: AtomicU32,
    pub(crate) segment: AtomicU32,
}

impl<A: Answer> Entry<A> {
    /// Of memory, for each besides its answer: itself, its slot, its name in a map that is half empty. Measured by
    /// `cargo bench --bench memory`, as the next one.
    const BASE_BYTES: usize = 400;
    /// And where it is found in other words, besides its direction: its row, its share of a partition of a few rows, a second name, and what the
    /// allocator adds to the small blocks of a prepared text.
    const ROW_BYTES: usize = 384;

    /// `direction`: by what its question can be found in other words.
    pub(crate) fn new(
        question: &Question,
        direction: Option<&Vector>,
        answer: Arc<A>,
        facts: Facts,
        stored: Instant,
    ) -> Entry<A> {
        let canonical = question.canonical();
        let prepared = question.text.as_ref().filter(|_| direction.is_some() || canonical.is_some());
        let prepared = prepared.map(|text| text.prepared().clone());
        let bytes = Entry::<A>::BASE_BYTES
            + answer.bytes()
            + prepared.as_ref().map_or(0, |prepared| prepared.bytes())
            + direction.map_or(0, |direction| Entry::<A>::ROW_BYTES + direction.len());
        Entry {
            exact: question.exact,
            tenant: question.tenant,
            partition: question.partition,
            canonical,
            prepared,
            answer,
            model: facts.model,
            stored,
            bytes: bytes as u64,
            uses: Uses::default(),
            slot: AtomicU32::new(u32::MAX),
            segment: AtomicU32::new(NO_SEGMENT),
        }
    }
}

impl<A> Entry<A> {
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored)
    }

    /// Young enough to be served.
    pub(crate) fn is_fresh(&self, ttl: Duration, now: Instant) -> bool {
        is_fresh(self.stored, ttl, now)
    }
}

/// What was stored then is young enough to be served.
pub(crate) fn is_fresh(stored: Instant, ttl: Duration, now: Instant) -> bool {
    now.saturating_duration_since(stored) < ttl
}

impl<A> Worded for Entry<A> {
    fn words(&self) -> Option<u64> {
        self.prepared.as_ref()?.bag()
    }
}

/// How often an answer was used lately, for the choice of what makes room.
#[derive(Debug, Default)]
pub(crate) struct Uses(AtomicU8);

impl Uses {
    const MOST: u8 = 3;

    /// Not written again once it has reached the most: what everybody asks for stays in every core's own cache.
    pub(crate) fn count(&self) {
        let uses = self.0.load(Ordering::Relaxed);
        if uses < Uses::MOST {
            self.0.store(uses + 1, Ordering::Relaxed);
        }
    }

    /// Whether it was used, and stays for that: in the main queue once for each use, and from the small one it moves on.
    pub(crate) fn forgive(&self, in_main: bool) -> bool {
        let uses = self.0.load(Ordering::Relaxed);
        self.0.store(if in_main { uses.saturating_sub(1) } else { 0 }, Ordering::Relaxed);
        uses > 0
    }
}
