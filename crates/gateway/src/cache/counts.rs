//! What the cache has done since the start, as metrics; `GET /v1/cache/stats` tells the same numbers.

use std::sync::atomic::AtomicU64;

use gateway_cache::{Stats, Tier};
use gateway_core::usage::NanoUsd;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::labels::By;
use super::note::{Answered, Note};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    /// `hit`, `coalesced`, `miss`, `refresh` or `bypass`.
    result: &'static str,
    /// `exact`, `canonical` or `semantic`; of hits.
    tier: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EvictionLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgreementLabels {
    /// `refusal`, `strict` or `cosine`.
    by: &'static str,
    /// `yes` or `no`.
    agreed: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EmbeddingLabels {
    /// `ok`, `timeout`, `failed`, `other` or `resting`.
    result: &'static str,
}

#[derive(Debug, Default)]
pub struct Counts {
    requests: Family<RequestLabels, Counter>,
    refusals: Family<RuleLabels, Counter>,
    pub feedback: Counter,
    saved_tokens: Counter,
    saved_usd: Counter<f64, AtomicU64>,
    not_shared: Counter,
    agreements: Family<AgreementLabels, Counter>,
    embeddings: Family<EmbeddingLabels, Counter>,
    embedding_tokens: Counter,
    embedding_usd: Counter<f64, AtomicU64>,
    evictions: Family<EvictionLabels, Counter>,
    entries: Gauge,
    bytes: Gauge,
}

impl Counts {
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "gateway_cache_requests",
            "Requests by what the cache did for them, and hits by how they were found",
            self.requests.clone(),
        );
        registry.register(
            "gateway_cache_refusals",
            "Misses with a near answer that was held to answer another question, by the rule that said so",
            self.refusals.clone(),
        );
        registry.register("gateway_cache_feedback", "Hits that their callers reported as wrong", self.feedback.clone());
        registry.register(
            "gateway_cache_saved_tokens",
            "Tokens that providers were not asked for",
            self.saved_tokens.clone(),
        );
        registry.register(
            "gateway_cache_saved_usd",
            "US dollars, by list price, that providers were not asked for",
            self.saved_usd.clone(),
        );
        registry.register(
            "gateway_cache_agreements",
            "Answers that were held back, or would have been served in another mode, compared with the real ones",
            self.agreements.clone(),
        );
        registry.register(
            "gateway_cache_embeddings",
            "Requests whose text a provider's embedding model was to embed, by what came of it",
            self.embeddings.clone(),
        );
        registry.register(
            "gateway_cache_embedding_tokens",
            "Tokens that were embedded by a provider",
            self.embedding_tokens.clone(),
        );
        registry.register(
            "gateway_cache_embedding_usd",
            "US dollars, by list price, that embeddings of a provider cost",
            self.embedding_usd.clone(),
        );
        registry.register(
            "gateway_cache_evictions",
            "Answers that went before anybody removed them, by why",
            self.evictions.clone(),
        );
        registry.register(
            "gateway_cache_not_shared",
            "Answers that other gateways do not see, since Redis did not take them",
            self.not_shared.clone(),
        );
        registry.register("gateway_cache_entries", "Answers in the cache", self.entries.clone());
        registry.register_with_unit(
            "gateway_cache_held",
            "Memory of the cache, answers and all that is kept to find them",
            Unit::Bytes,
            self.bytes.clone(),
        );
    }

    /// A request has ended.
    pub fn request(&self, note: &Note) {
        let tier = note.hit.map_or("none", |found| found.tier.name());
        self.requests.get_or_create(&RequestLabels { result: note.answered.name(), tier }).inc();
        if let Some(near) = &note.near {
            self.refusals.get_or_create(&RuleLabels { rule: near.rule() }).inc();
        }
        if let Some(embedded) = &note.embedding {
            self.embeddings.get_or_create(&EmbeddingLabels { result: embedded.how.name() }).inc();
            self.embedding_tokens.inc_by(embedded.tokens);
            if embedded.cost > NanoUsd(0) {
                self.embedding_usd.inc_by(embedded.cost.usd());
            }
        }
        self.saved_tokens.inc_by(note.saved_tokens);
        if note.saved > NanoUsd(0) {
            self.saved_usd.inc_by(note.saved.usd());
        }
    }

    /// An answer of the cache was compared with the real one.
    pub fn compared(&self, by: By, agreed: bool) {
        let labels = AgreementLabels { by: by.name(), agreed: if agreed { "yes" } else { "no" } };
        self.agreements.get_or_create(&labels).inc();
    }

    /// What is asked for, not counted.
    pub fn look_at(&self, stats: &Stats, not_shared: u64) {
        self.not_shared.inc_by(not_shared.saturating_sub(self.not_shared.get()));
        self.entries.set(i64::try_from(stats.entries).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(stats.bytes).unwrap_or(i64::MAX));
        for (reason, count) in evictions(stats) {
            let counter = self.evictions.get_or_create(&EvictionLabels { reason });
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    /// How many requests ended so.
    pub fn ended(&self, answered: Answered) -> u64 {
        let tiers = Tier::ALL.map(Tier::name).into_iter().chain(["none"]);
        tiers.map(|tier| self.of(answered, tier)).sum()
    }

    pub fn hits(&self, tier: Tier) -> u64 {
        self.of(Answered::Hit, tier.name())
    }

    fn of(&self, answered: Answered, tier: &'static str) -> u64 {
        let labels = RequestLabels { result: answered.name(), tier };
        self.requests.get(&labels).map_or(0, |counter| counter.get())
    }

    /// Tokens and US dollars.
    pub fn saved(&self) -> (u64, f64) {
        (self.saved_tokens.get(), self.saved_usd.get())
    }
}

/// Why answers went: there was no room, their tenant had more than its share, their time was over.
fn evictions(stats: &Stats) -> [(&'static str, u64); 3] {
    [("room", stats.evicted), ("share", stats.evicted_over_share), ("age", stats.expired)]
}
