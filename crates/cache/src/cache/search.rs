//! From a question to an answer: the same question, the same normal form, the same question in other words.

use std::sync::Arc;
use std::time::Instant;

use super::{Cache, Held, Hit, Looked, Mode, Near, Settings, Shadow, Tier};
use crate::entry::{Answer, Entry, EntryId, Pair};
use crate::key::{Question, Text};
use crate::semantic::index::Candidate;
use crate::semantic::verifier::{Coverage, Prepared, Reason, Rule, Verdict, verify};

/// What one mode has found.
struct Found<A> {
    hit: Option<Hit<A>>,
    nearest: Option<Near<A>>,
    narrowed: Option<Reason>,
}

impl<A> Found<A> {
    const NOTHING: Found<A> = Found { hit: None, nearest: None, narrowed: None };
}

impl<A: Answer> Cache<A> {
    /// The first tier. It must not prepare the text, which costs more than all else that happens here.
    pub(super) fn same(&self, question: &Question, settings: &Settings, now: Instant) -> Option<Hit<A>> {
        let entry = self.memory.get(&question.exact).filter(|entry| entry.is_fresh(settings.ttl, now))?;
        Some(served(&entry, Tier::Exact, 1.0, Pair::same(&entry), now))
    }

    /// The other tiers.
    pub(super) fn search(&self, question: &Question, settings: &Settings, now: Instant) -> Looked<A> {
        let Some(text) = &question.text else {
            return Looked { hit: None, nearest: None, narrowed: None, shadow: None };
        };
        let Found { hit, nearest, narrowed } = match settings.mode {
            Mode::Strict | Mode::Shadow => self.strict(question, text, settings, now),
            Mode::Cosine => self.cosine(question, text, settings, now),
        };
        if settings.mode != Mode::Shadow {
            return Looked { hit, nearest, narrowed, shadow: None };
        }
        let shadow = Shadow { strict: hit, cosine: self.cosine(question, text, settings, now).hit };
        Looked { hit: None, nearest, narrowed, shadow: Some(shadow) }
    }

    fn strict(&self, question: &Question, text: &Text, settings: &Settings, now: Instant) -> Found<A> {
        let asked = text.prepared();
        let coverage = asked.coverage();
        let nothing = Found { narrowed: asked.reason(), ..Found::NOTHING };
        if matches!(coverage, Coverage::Exact(_)) {
            return nothing;
        }
        let canonical = question.canonical().and_then(|name| self.memory.get(&name));
        if let Some(entry) = canonical.filter(|entry| entry.is_fresh(settings.ttl, now))
            && let Ok((score, pair)) = self.judge(question, asked, &entry, settings)
        {
            return Found { hit: Some(served(&entry, Tier::Canonical, score, pair, now)), ..Found::NOTHING };
        }
        let Some(vector) = text.vector().filter(|_| coverage == Coverage::Semantic) else { return nothing };
        let mut nearest = None;
        for candidate in self.memory.index().search(&question.partition, vector, asked.bag()) {
            if !candidate.entry.is_fresh(settings.ttl, now) {
                continue;
            }
            match self.judge(question, asked, &candidate.entry, settings) {
                Ok((score, pair)) => {
                    let hit = served(&candidate.entry, Tier::Semantic, score, pair, now);
                    return Found { hit: Some(hit), ..Found::NOTHING };
                }
                Err(held) => nearest = nearer(nearest, near(&candidate, held)),
            }
        }
        Found { nearest, ..Found::NOTHING }
    }

    /// Whether the answer serves in the verifier's eyes, and how surely. What is not said to serve does not.
    fn judge(
        &self,
        question: &Question,
        asked: &Prepared,
        entry: &Entry<A>,
        settings: &Settings,
    ) -> Result<(f32, Pair), Held> {
        let unexplained = Held::Different(Rule::Unexplained);
        let stored = entry.prepared.as_ref().ok_or(unexplained)?;
        match verify(asked, stored) {
            Verdict::Different(rule) => Err(Held::Different(rule)),
            Verdict::Serves { score } if score >= settings.threshold => self.not_reported(question, entry, score),
            Verdict::Serves { score } => Err(Held::Unsure(score)),
        }
    }

    fn cosine(&self, question: &Question, text: &Text, settings: &Settings, now: Instant) -> Found<A> {
        let Some(vector) = text.vector() else { return Found::NOTHING };
        let mut nearest = None;
        for candidate in self.memory.index().search(&question.partition, vector, None) {
            if !candidate.entry.is_fresh(settings.ttl, now) {
                continue;
            }
            let judged = match candidate.cosine >= settings.threshold {
                true => self.not_reported(question, &candidate.entry, candidate.cosine),
                false => Err(Held::Unsure(candidate.cosine)),
            };
            match judged {
                Ok((cosine, pair)) => {
                    let hit = served(&candidate.entry, Tier::Semantic, cosine, pair, now);
                    return Found { hit: Some(hit), ..Found::NOTHING };
                }
                Err(held) => nearest = nearer(nearest, near(&candidate, held)),
            }
        }
        Found { nearest, ..Found::NOTHING }
    }

    fn not_reported(&self, question: &Question, entry: &Entry<A>, similarity: f32) -> Result<(f32, Pair), Held> {
        let pair = Pair::new(question, entry);
        if self.reported.has(&pair) { Err(Held::Reported) } else { Ok((similarity, pair)) }
    }
}

fn served<A>(entry: &Arc<Entry<A>>, tier: Tier, similarity: f32, pair: Pair, now: Instant) -> Hit<A> {
    entry.uses.count();
    Hit {
        answer: entry.answer.clone(),
        id: EntryId(entry.exact),
        model: entry.model.clone(),
        tier,
        similarity,
        age: entry.age(now),
        pair,
    }
}

fn near<A>(candidate: &Candidate<Entry<A>>, held: Held) -> Near<A> {
    Near { id: EntryId(candidate.entry.exact), answer: candidate.entry.answer.clone(), cosine: candidate.cosine, held }
}

/// What almost served says more than what is nearest.
fn nearer<A>(one: Option<Near<A>>, other: Near<A>) -> Option<Near<A>> {
    let rank = |near: &Near<A>| (!matches!(near.held, Held::Different(_)), near.cosine);
    match one {
        Some(one) if rank(&one) >= rank(&other) => Some(one),
        _ => Some(other),
    }
}
