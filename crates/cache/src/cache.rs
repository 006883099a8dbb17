//! The cache as others see it.

mod clearings;
mod search;
mod stats;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::entry::{Answer, Entry, EntryId, Facts, Pair};
use crate::key::{Hash, Question};
use crate::memory::{Memory, Outcome};
use crate::reported::Reported;
use crate::semantic::verifier::{Reason, Rule};
use clearings::Clearings;
use stats::Counters;
pub use stats::Stats;

/// Who decides that another question's answer serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The verifier, which must explain every difference.
    Strict,
    /// The cosine of the embeddings alone, as elsewhere: it serves wrong answers, too.
    Cosine,
    /// Nobody: only the same question is answered, and [`Looked::shadow`] says what the modes would have done.
    Shadow,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub mode: Mode,
    /// In 0..=1: how sure it must be that an answer serves. (In cosine mode the least cosine; below 0.5 nothing is found.)
    pub threshold: f32,
    /// An older answer is not served.
    pub ttl: Duration,
    /// Of memory: answers and all that is kept to find them.
    pub max_bytes: u64,
    pub max_entries: usize,
    /// In 0..=1: when the cache is full, who has more of its bytes than this makes room before anybody else.
    pub tenant_share: f32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            mode: Mode::Strict,
            threshold: 0.95,
            ttl: Duration::from_secs(3600),
            max_bytes: 256 * 1024 * 1024,
            max_entries: 1_000_000,
            tenant_share: 0.25,
        }
    }
}

/// By what an answer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// The same question.
    Exact,
    /// The same normal form.
    Canonical,
    /// The same question in other words.
    Semantic,
}

impl Tier {
    pub const ALL: [Tier; 3] = [Tier::Exact, Tier::Canonical, Tier::Semantic];

    pub fn name(self) -> &'static str {
        match self {
            Tier::Exact => "exact",
            Tier::Canonical => "canonical",
            Tier::Semantic => "semantic",
        }
    }
}

/// An answer that serves.
#[derive(Debug)]
pub struct Hit<A> {
    pub answer: Arc<A>,
    pub id: EntryId,
    pub model: Arc<str>,
    pub tier: Tier,
    /// In 0..=1: how sure it is that the answer serves; in cosine mode, the cosine.
    pub similarity: f32,
    pub age: Duration,
    /// For [`Cache::report_wrong`].
    pub pair: Pair,
}

/// The best candidate that does not serve.
#[derive(Debug)]
pub struct Near<A> {
    pub id: EntryId,
    /// To be compared with the real one.
    pub answer: Arc<A>,
    pub cosine: f32,
    pub held: Held,
}

/// Why a candidate does not serve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Held {
    /// It is a different question.
    Different(Rule),
    /// The same one as it seems, not surely enough; in cosine mode, the cosine.
    Unsure(f32),
    /// Somebody said that it was wrong.
    Reported,
}

/// What each mode would have served.
#[derive(Debug)]
pub struct Shadow<A> {
    pub strict: Option<Hit<A>>,
    pub cosine: Option<Hit<A>>,
}

#[derive(Debug)]
pub struct Looked<A> {
    pub hit: Option<Hit<A>>,
    /// On a miss.
    pub nearest: Option<Near<A>>,
    /// Why the text was not looked for in other words.
    pub narrowed: Option<Reason>,
    /// In shadow mode, where the same question was not asked before.
    pub shadow: Option<Shadow<A>>,
}

/// Which answers: those that fit all that is said. One that says nothing fits all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub id: Option<EntryId>,
    pub tenant: Option<Hash>,
    pub model: Option<Arc<str>>,
    pub older_than: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleared {
    pub entries: u64,
    pub bytes: u64,
}

/// Answers, and the questions they were given to. Shared by all threads.
#[derive(Debug)]
pub struct Cache<A> {
    settings: ArcSwap<Settings>,
    memory: Memory<A>,
    reported: Reported,
    clearings: Clearings,
    counters: Counters,
}

/// Entries that are looked at before other writers have their turn.
const PAGE: u32 = 128;

impl<A: Answer> Cache<A> {
    pub fn new(settings: Settings) -> Cache<A> {
        Cache {
            memory: Memory::new(&settings),
            settings: ArcSwap::from_pointee(settings),
            reported: Reported::default(),
            clearings: Clearings::default(),
            counters: Counters::default(),
        }
    }

    /// From now on. What no longer has room leaves as new answers come.
    pub fn configure(&self, settings: Settings) {
        self.memory.configure(&settings);
        self.settings.store(Arc::new(settings));
    }

    /// Takes no lock for longer than a moment. What is made of the question's text is kept in it for [`Cache::store`].
    pub fn look_up(&self, question: &Question, now: Instant) -> Looked<A> {
        let settings = self.settings.load();
        let looked = match self.same(question, &settings, now) {
            Some(hit) => Looked { hit: Some(hit), nearest: None, narrowed: None, shadow: None },
            None => self.search(question, &settings, now),
        };
        self.counters.looked(&question.exact, looked.hit.as_ref().map(|hit| hit.tier));
        looked
    }

    /// Whether a vector of the question's text would be of use: it may be found in other words, and neither itself nor its normal form was
    /// asked before. For those who have vectors from elsewhere ([`Text::set_vector`](crate::Text::set_vector)).
    pub fn needs_vector(&self, question: &Question, now: Instant) -> bool {
        let settings = self.settings.load();
        let is_there = |name: &Hash| self.memory.get(name).is_some_and(|entry| entry.is_fresh(settings.ttl, now));
        !is_there(&question.exact)
            && question.is_covered(settings.mode)
            && (settings.mode != Mode::Strict || !question.canonical().as_ref().is_some_and(is_there))
    }

    /// The same for a question that is not looked for, and whose answer is to be stored.
    pub fn stores_vector(&self, question: &Question) -> bool {
        question.is_covered(self.settings.load().mode)
    }

    /// The answer to exactly this question, if it has come since a look-up that found none. Costs next to nothing, and is counted
    /// only if there is one.
    pub fn look_again(&self, question: &Question, now: Instant) -> Option<Hit<A>> {
        let hit = self.same(question, &self.settings.load(), now)?;
        self.counters.looked(&question.exact, Some(Tier::Exact));
        Some(hit)
    }

    /// An answer to exactly this question is replaced. `None`: it is too large, it was cleared since it was asked for, or an answer
    /// that was stored meanwhile is younger.
    pub fn store(&self, question: &Question, answer: Arc<A>, facts: Facts, now: Instant) -> Option<EntryId> {
        self.load(question, answer, facts, Duration::ZERO, now)
    }

    /// The same for an answer of another node that is so old. One that is here and younger stays.
    pub fn load(
        &self,
        question: &Question,
        answer: Arc<A>,
        facts: Facts,
        age: Duration,
        now: Instant,
    ) -> Option<EntryId> {
        let settings = self.settings.load();
        let stored = now.checked_sub(age).filter(|_| age < settings.ttl)?;
        let direction = question.direction(settings.mode);
        let asked = facts.asked;
        let entry = Arc::new(Entry::new(question, direction, answer, facts, stored));
        if self.clearings.mean(&entry, asked) {
            return None;
        }
        let stored = self.memory.put(&entry, direction, &settings, now);
        self.counters.stored(&stored);
        // Whoever cleared meanwhile may have passed by before it was there.
        if self.clearings.mean(&entry, asked) {
            self.memory.remove(&entry);
            return None;
        }
        (stored.outcome == Outcome::Stored).then_some(EntryId(question.exact))
    }

    /// Removes what fits the filter, or counts it if `dry_run`. Looks at all entries: not for a thread that somebody waits for. An
    /// answer that is on its way while this runs is not stored after.
    pub fn clear(&self, filter: &Filter, now: Instant, dry_run: bool) -> Cleared {
        let mut cleared = Cleared::default();
        if !dry_run {
            self.clearings.note(filter, now);
        }
        let mut clear = |entry: &Arc<Entry<A>>| {
            if filter.fits(entry, now) && (dry_run || self.memory.remove(entry)) {
                cleared.entries += 1;
                cleared.bytes += entry.bytes;
            }
        };
        match filter.id {
            Some(id) => self.memory.get(&id.0).iter().for_each(clear),
            None => {
                let mut from = Some(0);
                while let Some(slot) = from {
                    let (entries, next) = self.memory.page(slot, PAGE);
                    entries.iter().for_each(&mut clear);
                    from = next;
                }
            }
        }
        if !dry_run {
            self.counters.cleared(cleared.entries);
        }
        cleared
    }

    /// Removes the answer, and never again serves the one question with the answer to the other, in whatever form either is
    /// asked. `true`: the answer was still there.
    pub fn report_wrong(&self, pair: &Pair) -> bool {
        if !pair.is_same() {
            self.reported.add(pair.tenant, pair.questions);
        }
        self.counters.reported_wrong();
        self.memory.get(&pair.entry.0).is_some_and(|entry| self.memory.remove(&entry))
    }

    /// The same for a pair that was reported elsewhere, of which no more is known ([`Pair::questions`]).
    pub fn block(&self, tenant: Hash, questions: Hash) {
        self.reported.add(tenant, questions);
    }

    /// Looks at so many entries and removes those that are too old; the next call goes on where this one ended. Storing does
    /// the same by and by: this is for a cache that nothing is stored in. Tells how many were removed.
    pub fn expire(&self, most: u32, now: Instant) -> u64 {
        let expired = self.memory.expire(most, &self.settings.load(), now);
        self.counters.expired(expired);
        expired
    }

    pub fn stats(&self) -> Stats {
        Stats {
            entries: self.memory.entries(),
            bytes: self.memory.bytes(),
            tenants: self.memory.tenants(),
            partitions: self.memory.index().partitions() as u64,
            blocked_pairs: self.reported.len() as u64,
            ..self.counters.stats()
        }
    }
}

impl Filter {
    fn fits<A>(&self, entry: &Entry<A>, now: Instant) -> bool {
        self.id.is_none_or(|id| id.0 == entry.exact)
            && self.tenant.is_none_or(|tenant| tenant == entry.tenant)
            && self.model.as_ref().is_none_or(|model| *model == entry.model)
            && self.older_than.is_none_or(|age| entry.age(now) > age)
    }
}
