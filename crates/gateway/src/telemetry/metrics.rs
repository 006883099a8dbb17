//! Prometheus metrics. Every label has a closed set of values: names from the configuration and the model table, enums of
//! this program, and `other`; nothing that a client sends becomes a label.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use foldhash::HashMap;
use gateway_core::error::FailureClass;
use gateway_policy::limits::Refused;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::admission::{GivenUp, Shed};
use crate::cache::{Answered, Counts};
use crate::gateway::Gateway;
use crate::keys::ring::Standing;
use crate::providers::quota;
use crate::settle::Record;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    dialect: &'static str,
    provider: Arc<str>,
    model: Arc<str>,
    status: u16,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetLabels {
    provider: Arc<str>,
    model: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    provider: Arc<str>,
    model: Arc<str>,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    provider: Arc<str>,
    /// `ok` or the class of the failure.
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CircuitLabels {
    provider: Arc<str>,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LossLabels {
    dialect: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShedLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RateLimitLabels {
    /// `key`, `team`, `user`, `address` or `crowd`.
    of: &'static str,
    /// `all`, `model` or `provider`.
    part: &'static str,
    /// `requests_per_minute`, `tokens_per_minute` or `concurrent`.
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderLabels {
    provider: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuotaLabels {
    provider: Arc<str>,
    /// What is limited.
    of: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    /// `applied`, `unchanged` or `refused`.
    result: &'static str,
}

const TOKEN_KINDS: [&str; 4] = ["input", "cache_read", "cache_write", "output"];

/// The metrics of one kind of request, found once per thread: to look each of them up for every request would cost more
/// than to count.
struct Handles {
    requests: Counter,
    duration: Histogram,
    first_content: Histogram,
    tokens: [Counter; 4],
    cost: Counter<f64, AtomicU64>,
}

thread_local! {
    static HANDLES: RefCell<HashMap<RequestLabels, Handles>> = RefCell::default();
    static ATTEMPTS: RefCell<HashMap<AttemptLabels, Counter>> = RefCell::default();
}

impl Handles {
    fn count(&self, record: &Record) {
        self.requests.inc();
        self.duration.observe(record.duration_ms / 1e3);
        if let Some(first_content) = record.first_content_ms {
            self.first_content.observe(first_content / 1e3);
        }
        if let Some(usage) = &record.usage {
            let fresh = usage.input.saturating_sub(usage.cache_read).saturating_sub(usage.cache_write);
            for (counter, count) in self.tokens.iter().zip([fresh, usage.cache_read, usage.cache_write, usage.output]) {
                counter.inc_by(count);
            }
        }
        if let Some(cost) = record.cost {
            self.cost.inc_by(cost.total().usd());
        }
    }
}

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    duration: Family<TargetLabels, Histogram, fn() -> Histogram>,
    first_content: Family<TargetLabels, Histogram, fn() -> Histogram>,
    overhead: Histogram,
    tokens: Family<TokenLabels, Counter>,
    cost: Family<TargetLabels, Counter<f64, AtomicU64>>,
    attempts: Family<AttemptLabels, Counter>,
    hedges: Family<AttemptLabels, Counter>,
    circuits: Family<CircuitLabels, Counter>,
    dropped_fields: Family<LossLabels, Counter>,
    log_lines_dropped: Counter,
    reloads: Family<ReloadLabels, Counter>,
    configuration_loaded: Gauge,
    shed: Family<ShedLabels, Counter>,
    stalled: Family<ShedLabels, Counter>,
    pub accept_pauses: Counter,
    queue: Gauge,
    memory: Gauge,
    provider_in_flight: Family<ProviderLabels, Gauge>,
    provider_queue: Family<ProviderLabels, Gauge>,
    provider_quota: Family<QuotaLabels, Gauge<f64, AtomicU64>>,
    ratelimit_refusals: Family<RateLimitLabels, Counter>,
    ratelimit_levels: Gauge,
    ratelimit_reservations: Gauge,
    ratelimit_degraded: Gauge,
    ratelimit_nodes: Gauge,
    ratelimit_unsettled: Counter,
    explanations_lost: Counter,
    redis_failures: Counter,
    redis_up: Gauge,
    database_up: Gauge,
    keys: Gauge,
    pub cache: Counts,
    pub in_flight: Gauge,
    pub connections: Gauge,
}

fn seconds() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0])
}

impl Metrics {
    pub fn new() -> Self {
        let seconds: fn() -> Histogram = seconds;
        let mut metrics = Metrics {
            registry: Registry::default(),
            requests: Family::default(),
            duration: Family::new_with_constructor(seconds),
            first_content: Family::new_with_constructor(seconds),
            overhead: Histogram::new([0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25]),
            tokens: Family::default(),
            cost: Family::default(),
            attempts: Family::default(),
            hedges: Family::default(),
            circuits: Family::default(),
            dropped_fields: Family::default(),
            log_lines_dropped: Counter::default(),
            reloads: Family::default(),
            configuration_loaded: Gauge::default(),
            shed: Family::default(),
            stalled: Family::default(),
            accept_pauses: Counter::default(),
            queue: Gauge::default(),
            memory: Gauge::default(),
            provider_in_flight: Family::default(),
            provider_queue: Family::default(),
            provider_quota: Family::default(),
            ratelimit_refusals: Family::default(),
            ratelimit_levels: Gauge::default(),
            ratelimit_reservations: Gauge::default(),
            ratelimit_degraded: Gauge::default(),
            ratelimit_nodes: Gauge::default(),
            ratelimit_unsettled: Counter::default(),
            explanations_lost: Counter::default(),
            redis_failures: Counter::default(),
            redis_up: Gauge::default(),
            database_up: Gauge::default(),
            keys: Gauge::default(),
            cache: Counts::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
        };
        // At zero from the start: a rate has something to begin at.
        for result in ["applied", "unchanged", "refused"] {
            drop(metrics.reloads.get_or_create(&ReloadLabels { result }));
        }
        for reason in Shed::ALL.map(Shed::name) {
            drop(metrics.shed.get_or_create(&ShedLabels { reason }));
        }
        for reason in GivenUp::ALL.map(GivenUp::name) {
            drop(metrics.stalled.get_or_create(&ShedLabels { reason }));
        }
        let registry = &mut metrics.registry;
        registry.register("gateway_requests", "Requests that have ended", metrics.requests.clone());
        registry.register_with_unit(
            "gateway_request_duration",
            "From the arrival of a request to the end of its answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register_with_unit(
            "gateway_time_to_first_content",
            "From the arrival of a streamed request to the first content of its answer",
            Unit::Seconds,
            metrics.first_content.clone(),
        );
        registry.register_with_unit(
            "gateway_overhead",
            "Time of a request that was not spent waiting for a provider",
            Unit::Seconds,
            metrics.overhead.clone(),
        );
        registry.register("gateway_tokens", "Tokens as providers report them", metrics.tokens.clone());
        registry.register("gateway_cost_usd", "Cost of answers by list price", metrics.cost.clone());
        registry.register(
            "gateway_upstream_attempts",
            "Requests sent to providers, by how they ended",
            metrics.attempts.clone(),
        );
        registry.register(
            "gateway_hedged_attempts",
            "Second attempts beside a slow one, and attempts that ended because the other was faster",
            metrics.hedges.clone(),
        );
        registry.register(
            "gateway_circuit_changes",
            "Circuits of a provider's targets that opened and that closed",
            metrics.circuits.clone(),
        );
        registry.register(
            "gateway_dropped_fields",
            "Fields of requests and answers that the other dialect cannot say",
            metrics.dropped_fields.clone(),
        );
        registry.register(
            "gateway_log_lines_dropped",
            "Log lines lost because the output was too slow",
            metrics.log_lines_dropped.clone(),
        );
        registry.register(
            "gateway_config_reloads",
            "Configurations read while running, by what became of them",
            metrics.reloads.clone(),
        );
        registry.register_with_unit(
            "gateway_config_loaded_timestamp",
            "When the configuration in use was loaded, in Unix time",
            Unit::Seconds,
            metrics.configuration_loaded.clone(),
        );
        registry.register(
            "gateway_shed_requests",
            "Requests refused because the gateway had as much to do as it can, by the limit that was met",
            metrics.shed.clone(),
        );
        registry.register(
            "gateway_stalled_clients",
            "Clients given up because they did not read, by what they were given up for",
            metrics.stalled.clone(),
        );
        registry.register(
            "gateway_accept_pauses",
            "Moments in which no connection could be accepted",
            metrics.accept_pauses.clone(),
        );
        registry.register("gateway_queued_requests", "Requests waiting to begin", metrics.queue.clone());
        registry.register_with_unit(
            "gateway_held_memory",
            "Memory charged to requests and answers",
            Unit::Bytes,
            metrics.memory.clone(),
        );
        registry.register(
            "gateway_provider_requests_in_flight",
            "Requests that a provider is answering",
            metrics.provider_in_flight.clone(),
        );
        registry.register(
            "gateway_provider_queued_requests",
            "Requests waiting for a place at a provider",
            metrics.provider_queue.clone(),
        );
        registry.register(
            "gateway_provider_quota_left",
            "The smallest share, from 0 to 1, that is left of a limit of the provider for any model and credential",
            metrics.provider_quota.clone(),
        );
        registry.register(
            "gateway_ratelimit_refusals",
            "Requests refused, and targets passed over, because their caller had used up what it may",
            metrics.ratelimit_refusals.clone(),
        );
        registry.register(
            "gateway_ratelimit_levels",
            "Limits of callers of which something is used",
            metrics.ratelimit_levels.clone(),
        );
        registry.register(
            "gateway_ratelimit_reservations",
            "Requests that have taken of their caller's limits and are not settled",
            metrics.ratelimit_reservations.clone(),
        );
        registry.register(
            "gateway_ratelimit_degraded",
            "1 while Redis cannot be asked and this gateway keeps to its share of all limits",
            metrics.ratelimit_degraded.clone(),
        );
        registry.register(
            "gateway_ratelimit_nodes",
            "Gateways that shared the limits when Redis was last asked; 0 without Redis",
            metrics.ratelimit_nodes.clone(),
        );
        registry.register(
            "gateway_ratelimit_unsettled",
            "Requests that ended and of which Redis was not told in time what they needed",
            metrics.ratelimit_unsettled.clone(),
        );
        registry.register(
            "gateway_explanations_lost",
            "Explanations too large to be kept, or not taken by Redis",
            metrics.explanations_lost.clone(),
        );
        registry.register(
            "gateway_redis_failures",
            "Answers of Redis that came too late or not at all, and connections that could not be had",
            metrics.redis_failures.clone(),
        );
        registry.register("gateway_redis_up", "1 while there is a connection to Redis", metrics.redis_up.clone());
        registry.register(
            "gateway_database_up",
            "1 while the keys of the database are known to be those in use",
            metrics.database_up.clone(),
        );
        registry.register("gateway_keys", "Keys of the database, revoked ones included", metrics.keys.clone());
        metrics.cache.register(registry);
        registry.register("gateway_requests_in_flight", "Requests being answered", metrics.in_flight.clone());
        registry.register("gateway_connections", "Open client connections", metrics.connections.clone());
        metrics
    }

    pub fn attempt(&self, provider: &Arc<str>, failure: Option<FailureClass>) {
        let labels = AttemptLabels { provider: provider.clone(), result: failure.map_or("ok", FailureClass::name) };
        ATTEMPTS.with_borrow_mut(|known| {
            if let Some(counter) = known.get(&labels) {
                counter.inc();
            } else {
                let counter = self.attempts.get_or_create_owned(&labels);
                counter.inc();
                known.insert(labels, counter);
            }
        });
    }

    /// `result`: `asked` when a second attempt begins, `lost` when an attempt ends because the other one was faster.
    pub fn hedge(&self, provider: &Arc<str>, result: &'static str) {
        self.hedges.get_or_create(&AttemptLabels { provider: provider.clone(), result }).inc();
    }

    /// `state`: `open` or `closed`, into which the circuit of a target has changed.
    pub fn circuit(&self, provider: &Arc<str>, state: &'static str) {
        self.circuits.get_or_create(&CircuitLabels { provider: provider.clone(), state }).inc();
    }

    /// `result`: `applied`, `unchanged` or `refused`.
    pub fn reload(&self, result: &'static str) {
        self.reloads.get_or_create(&ReloadLabels { result }).inc();
    }

    pub fn shed(&self, reason: &'static str) {
        self.shed.get_or_create(&ShedLabels { reason }).inc();
    }

    pub fn stalled(&self, why: GivenUp) {
        self.stalled.get_or_create(&ShedLabels { reason: why.name() }).inc();
    }

    pub fn limited(&self, refused: &Refused) {
        let labels = RateLimitLabels {
            of: refused.level.holder.kind(),
            part: refused.level.part.kind(),
            limit: refused.what.name(),
        };
        self.ratelimit_refusals.get_or_create(&labels).inc();
    }

    /// What is asked for, not counted.
    fn look_at(&self, gateway: &Gateway) {
        let admission = &gateway.process.admission;
        self.queue.set(admission.requests.waiting() as i64);
        self.memory.set(admission.memory.used() as i64);
        let limits = gateway.process.limiter.counts();
        self.ratelimit_levels.set(limits.levels as i64);
        if let Some(caching) = &gateway.cache {
            self.cache.look_at(&caching.answers.stats(), caching.answers.not_shared());
        }
        self.ratelimit_reservations.set(limits.reservations as i64);
        if let Some(shared) = gateway.process.limiter.shared() {
            self.ratelimit_degraded.set(shared.is_degraded().into());
            self.ratelimit_nodes.set(shared.nodes() as i64);
            self.ratelimit_unsettled.inc_by(shared.unsettled().saturating_sub(self.ratelimit_unsettled.get()));
        }
        // Without the providers of earlier configurations.
        self.provider_in_flight.clear();
        self.provider_queue.clear();
        self.provider_quota.clear();
        let now = Instant::now();
        for provider in gateway.catalog.providers() {
            let labels = ProviderLabels { provider: provider.name.clone() };
            self.provider_in_flight.get_or_create(&labels).set(provider.slots.in_use() as i64);
            self.provider_queue.get_or_create(&labels).set(provider.slots.waiting() as i64);
            // The smallest comes last.
            for quota in quota::known(provider, gateway.process.nodes(), now).iter().rev() {
                if let Some(share) = quota.share() {
                    let labels = QuotaLabels { provider: provider.name.clone(), of: quota.of };
                    self.provider_quota.get_or_create(&labels).set(share);
                }
            }
        }
    }

    pub fn configuration_loaded(&self, at: jiff::Timestamp) {
        self.configuration_loaded.set(at.as_second());
    }

    /// Counts a request that has ended. `model` is the label for its model.
    pub fn request(&self, record: &Record, model: Arc<str>) {
        let note = record.cache.as_deref();
        let from_cache = note.is_some_and(|note| matches!(note.answered, Answered::Hit | Answered::Coalesced));
        let provider = match &record.provider {
            // The time that it took says nothing of the provider that once gave the answer.
            Some(_) if from_cache => Arc::from("cache"),
            Some(provider) => provider.clone(),
            None => Arc::from("none"),
        };
        if let Some(note) = note {
            self.cache.request(note);
        }
        let labels = RequestLabels {
            route: record.route,
            dialect: record.dialect,
            provider,
            model,
            status: record.status,
            outcome: record.outcome.name(),
        };
        HANDLES.with_borrow_mut(|known| match known.get(&labels) {
            Some(handles) => handles.count(record),
            None => {
                let handles = self.handles(&labels);
                handles.count(record);
                known.insert(labels, handles);
            }
        });
        self.overhead.observe(record.overhead_ms / 1e3);
        if !record.dropped.is_empty() {
            self.dropped_fields
                .get_or_create(&LossLabels { dialect: record.dialect })
                .inc_by(record.dropped.len() as u64);
        }
    }

    fn handles(&self, labels: &RequestLabels) -> Handles {
        let target = TargetLabels { provider: labels.provider.clone(), model: labels.model.clone() };
        let tokens = TOKEN_KINDS.map(|kind| {
            let TargetLabels { provider, model } = target.clone();
            self.tokens.get_or_create_owned(&TokenLabels { provider, model, kind })
        });
        Handles {
            requests: self.requests.get_or_create_owned(labels),
            duration: self.duration.get_or_create_owned(&target),
            first_content: self.first_content.get_or_create_owned(&target),
            tokens,
            cost: self.cost.get_or_create_owned(&target),
        }
    }

    /// The text that Prometheus reads.
    pub fn render(&self, gateway: &Gateway) -> String {
        self.look_at(gateway);
        self.log_lines_dropped.inc_by(gateway.process.log.dropped().saturating_sub(self.log_lines_dropped.get()));
        let explanations = gateway.process.log.explanations();
        self.explanations_lost.inc_by(explanations.lost().saturating_sub(self.explanations_lost.get()));
        if let Some(redis) = explanations.redis() {
            self.redis_failures.inc_by(redis.failures().saturating_sub(self.redis_failures.get()));
            self.redis_up.set(redis.is_up().into());
        }
        let keys = &gateway.process.keys;
        self.database_up.set((keys.standing(Instant::now()) == Standing::Current).into());
        self.keys.set(i64::try_from(keys.count()).unwrap_or(i64::MAX));
        let mut text = String::with_capacity(16 * 1024);
        if prometheus_client::encoding::text::encode(&mut text, &self.registry).is_err() {
            let _ = write!(text, "# encoding failed");
        }
        text
    }
}
