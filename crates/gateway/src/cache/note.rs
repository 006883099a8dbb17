//! What the cache did for a request: for its headers, its log line and its explanation.

use std::time::Duration;

use gateway_cache::semantic::verifier::Reason;
use gateway_cache::{EntryId, Held, Hit, Looked, Near, Pair, Tier};
use gateway_core::usage::NanoUsd;

use super::embedding::Embedded;
use super::kept::Kept;

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answered {
    /// From the cache.
    Hit,
    /// From a request that asked the same at the same time.
    Coalesced,
    /// From a provider, since there was none.
    Miss,
    /// From a provider, as the client wished; kept for those who come.
    Refresh,
    /// From a provider, past the cache.
    Bypass,
}

impl Answered {
    /// The value of `x-gateway-cache`.
    pub fn name(self) -> &'static str {
        match self {
            Answered::Hit => "hit",
            Answered::Coalesced => "coalesced",
            Answered::Miss => "miss",
            Answered::Refresh => "refresh",
            Answered::Bypass => "bypass",
        }
    }
}

/// For one request.
#[derive(Debug, Clone)]
pub struct Note {
    pub answered: Answered,
    /// Of a hit.
    pub hit: Option<Found>,
    /// Of a miss: the answer that was nearest.
    pub near: Option<Nearest>,
    /// Of a miss: why the text was not looked for in other words.
    pub narrowed: Option<&'static str>,
    /// In shadow mode: which answers strict and cosine mode would have given.
    pub shadow: Option<[Option<EntryId>; 2]>,
    /// Why the cache was passed by: completes "The cache was passed by: ".
    pub why: Option<&'static str>,
    /// What came of asking a provider's embedding model.
    pub embedding: Option<Embedded>,
    /// What the provider was not asked for.
    pub saved_tokens: u64,
    pub saved: NanoUsd,
}

/// The answer that was taken.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub tier: Tier,
    pub similarity: f32,
    pub age: Duration,
    pub pair: Pair,
}

/// The best answer that was not taken.
#[derive(Debug, Clone, Copy)]
pub struct Nearest {
    pub entry: EntryId,
    pub cosine: f32,
    pub held: Held,
}

impl Found {
    /// The similarity as a whole number.
    pub fn thousandths(&self) -> u64 {
        (f64::from(self.similarity) * 1e3).round() as u64
    }
}

impl Nearest {
    /// By what it was held to answer another question; a word of a closed set.
    pub fn rule(&self) -> &'static str {
        match self.held {
            Held::Different(rule) => rule.name(),
            Held::Unsure(_) => "unsure",
            Held::Reported => "reported",
        }
    }
}

impl From<&Near<Kept>> for Nearest {
    fn from(near: &Near<Kept>) -> Nearest {
        Nearest { entry: near.id, cosine: near.cosine, held: near.held }
    }
}

impl From<&Hit<Kept>> for Found {
    fn from(hit: &Hit<Kept>) -> Found {
        Found { tier: hit.tier, similarity: hit.similarity, age: hit.age, pair: hit.pair }
    }
}

impl Note {
    pub fn of(answered: Answered) -> Note {
        Note {
            answered,
            hit: None,
            near: None,
            narrowed: None,
            shadow: None,
            why: None,
            embedding: None,
            saved_tokens: 0,
            saved: NanoUsd(0),
        }
    }

    pub fn miss(looked: &Looked<Kept>) -> Note {
        let entry = |hit: &Option<Hit<Kept>>| hit.as_ref().map(|hit| hit.id);
        Note {
            near: looked.nearest.as_ref().map(Nearest::from),
            narrowed: looked.narrowed.map(Reason::name),
            shadow: looked.shadow.as_ref().map(|shadow| [entry(&shadow.strict), entry(&shadow.cosine)]),
            ..Note::of(Answered::Miss)
        }
    }

    pub fn bypass(why: &'static str) -> Note {
        Note { why: Some(why), ..Note::of(Answered::Bypass) }
    }

    pub fn saving(answered: Answered, kept: &Kept) -> Note {
        let saved_tokens = kept.usage.map_or(0, |usage| usage.total());
        Note { saved_tokens, saved: kept.cost.unwrap_or_default().total(), ..Note::of(answered) }
    }
}
