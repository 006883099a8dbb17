//! The cache as others see it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::entry::{Answer, EntryId, Facts, Pair};
use crate::key::{Hash, Question};
use crate::semantic::verifier::{Reason, Rule};

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
    /// In 0..=1: how sure it must be that an answer serves.
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
    /// Why the text was looked for as it was said alone.
    pub exact_only: Option<Reason>,
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

/// Since the start, but for what is there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// There now.
    pub entries: u64,
    /// There now: answers and all that is kept to find them.
    pub bytes: u64,
    /// There now: pairs that were reported as wrong.
    pub blocked_pairs: u64,
    /// By tier, in the order of [`Tier::ALL`].
    pub hits: [u64; 3],
    pub misses: u64,
    pub stored: u64,
    /// Too large to be stored.
    pub refused: u64,
    /// Gone to make room.
    pub evicted: u64,
    /// Gone to make room, since their tenant had more than its share.
    pub evicted_over_share: u64,
    pub expired: u64,
    pub cleared: u64,
    pub reported_wrong: u64,
}

/// Answers, and the questions they were given to. Shared by all threads.
#[derive(Debug)]
pub struct Cache<A> {
    settings: Settings,
    entries: Mutex<HashMap<Hash, Entry<A>>>,
}

#[derive(Debug)]
struct Entry<A> {
    answer: Arc<A>,
    model: Arc<str>,
    tenant: Hash,
    stored: Instant,
}

impl<A: Answer> Cache<A> {
    pub fn new(settings: Settings) -> Cache<A> {
        Cache { settings, entries: Mutex::default() }
    }

    pub fn look_up(&self, question: &Question, now: Instant) -> Looked<A> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(&question.exact);
        let hit =
            entry.filter(|entry| now.saturating_duration_since(entry.stored) < self.settings.ttl).map(|entry| Hit {
                answer: entry.answer.clone(),
                id: EntryId::of(question.exact),
                model: entry.model.clone(),
                tier: Tier::Exact,
                similarity: 1.0,
                age: now.saturating_duration_since(entry.stored),
                pair: Pair { entry: EntryId::of(question.exact), questions: question.exact },
            });
        Looked { hit, nearest: None, exact_only: None, shadow: None }
    }

    /// An answer to exactly this question is replaced. `None`: the answer is too large.
    pub fn store(&self, question: &Question, answer: Arc<A>, facts: Facts, now: Instant) -> Option<EntryId> {
        self.load(question, answer, facts, Duration::ZERO, now)
    }

    /// The same for an answer of another node, which is so old. One that is here already and not older stays.
    pub fn load(
        &self,
        question: &Question,
        answer: Arc<A>,
        facts: Facts,
        age: Duration,
        now: Instant,
    ) -> Option<EntryId> {
        let stored = now.checked_sub(age)?;
        let entry = Entry { answer, model: facts.model, tenant: question.tenant, stored };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(question.exact, entry);
        Some(EntryId::of(question.exact))
    }

    /// Removes what fits the filter, or counts it if `dry_run`.
    pub fn clear(&self, filter: &Filter, now: Instant, dry_run: bool) -> Cleared {
        let mut cleared = Cleared::default();
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).retain(|exact, entry| {
            let fits = filter.id.is_none_or(|id| id == EntryId::of(*exact))
                && filter.tenant.is_none_or(|tenant| tenant == entry.tenant)
                && filter.model.as_ref().is_none_or(|model| *model == entry.model)
                && filter.older_than.is_none_or(|age| now.saturating_duration_since(entry.stored) > age);
            cleared.entries += u64::from(fits);
            cleared.bytes += if fits { entry.answer.bytes() as u64 } else { 0 };
            !fits || dry_run
        });
        cleared
    }

    /// Removes the answer, and never again serves the one question with the answer to the other. `true`: it was still there.
    pub fn report_wrong(&self, pair: &Pair) -> bool {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(&pair.entry.0).is_some()
    }

    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Hasher, Text};

    impl Answer for String {
        fn bytes(&self) -> usize {
            self.len()
        }
    }

    fn question(tenant: &str, text: &str) -> Question {
        let mut hasher = Hasher::new("1", Hash::of("key", tenant.as_bytes()));
        hasher.field("model", b"m");
        hasher.question(text.as_bytes(), Text::new(text))
    }

    #[test]
    fn the_same_question_of_the_same_tenant_is_answered_until_its_time_is_over() {
        let (now, cache) = (Instant::now(), Cache::new(Settings::default()));
        let facts = Facts { model: "m".into() };
        let id = cache.store(&question("a", "why?"), Arc::new("because".to_owned()), facts, now);
        let hit = cache.look_up(&question("a", "why?"), now + Duration::from_secs(3599)).hit.expect("a hit");
        assert_eq!((hit.answer.as_str(), hit.tier, Some(hit.id)), ("because", Tier::Exact, id));
        assert_eq!(hit.age, Duration::from_secs(3599));
        assert!(cache.look_up(&question("a", "why?"), now + Duration::from_secs(3600)).hit.is_none());
        assert!(cache.look_up(&question("b", "why?"), now).hit.is_none());
        assert!(cache.look_up(&question("a", "why not?"), now).hit.is_none());
    }
}
