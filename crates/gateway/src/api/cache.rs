//! The routes of the cache: what it did, what is to go, what was wrong.

use std::time::Duration;

use gateway_cache::{EntryId, Filter, Pair, Tier};
use gateway_core::error::{ErrorKind, GatewayError};
use gateway_core::limits::CACHE_FEEDBACK_BYTES;
use http::request::Parts;
use hyper::body::Incoming;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::egress::Reply;
use crate::api::explain::{self, Told};
use crate::api::{Arrival, ingress};
use crate::cache::Answered;
use crate::call::Caller;
use crate::gateway::Gateway;

/// `GET /v1/cache/stats`: what the cache has done since this gateway started, and what it holds.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct CacheStats {
    pub enabled: bool,
    /// Answers that are there now.
    pub size: u64,
    /// Of memory: answers and all that is kept to find them.
    pub bytes: u64,
    pub hits: u64,
    pub hits_by_type: HitsByType,
    /// Requests that had the answer of another one, which asked the same at the same time.
    pub coalesced: u64,
    /// Requests that looked for an answer and found none.
    pub misses: u64,
    /// Requests that did not look for one.
    pub bypassed: u64,
    /// Hits of all that looked for an answer.
    pub hit_rate: f64,
    /// Answers that went to make room.
    pub evictions: u64,
    /// Answers whose time was over.
    pub expired: u64,
    /// Tokens and US dollars, by list price, that no provider was asked for.
    pub tokens_saved: u64,
    pub usd_saved: f64,
    /// Hits that their callers reported as wrong.
    pub reported_wrong: u64,
}

/// Hits by how they were found.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct HitsByType {
    pub exact: u64,
    pub canonical: u64,
    pub semantic: u64,
}

pub fn stats(gateway: &Gateway) -> Reply {
    let counts = &gateway.process.metrics.cache;
    let [exact, canonical, semantic] = Tier::ALL.map(|tier| counts.hits(tier));
    let (hits, misses) = (exact + canonical + semantic, counts.ended(Answered::Miss));
    let (tokens_saved, usd_saved) = counts.saved();
    let there = gateway.cache.as_ref().map(|caching| caching.answers.stats()).unwrap_or_default();
    Reply::json(&CacheStats {
        enabled: gateway.cache.is_some(),
        size: there.entries,
        bytes: there.bytes,
        hits,
        hits_by_type: HitsByType { exact, canonical, semantic },
        coalesced: counts.ended(Answered::Coalesced),
        misses,
        bypassed: counts.ended(Answered::Bypass) + counts.ended(Answered::Refresh),
        hit_rate: if hits + misses == 0 { 0.0 } else { hits as f64 / (hits + misses) as f64 },
        evictions: there.evicted + there.evicted_over_share,
        expired: there.expired,
        tokens_saved,
        usd_saved,
        reported_wrong: counts.feedback.get(),
    })
}

/// `DELETE /v1/cache`
#[derive(Debug, Serialize, JsonSchema)]
pub struct CacheCleared {
    pub enabled: bool,
    /// Answers that went, or that would go.
    pub removed: u64,
    /// The memory that they had.
    pub bytes: u64,
    /// Nothing was removed: it was only counted.
    pub dry_run: bool,
}

const ID: &str = "id";
const MODEL: &str = "model";
const OLDER_THAN: &str = "older_than_seconds";
const DRY_RUN: &str = "dry_run";

/// Which answers are to go: name, meaning.
pub const PARAMETERS: [(&str, &str); 4] = [
    (ID, "The answer of this name: `cache_key` of a native answer."),
    (MODEL, "Answers of this model, by the name in `x-gateway-model`."),
    (OLDER_THAN, "Answers that were given longer ago than so many seconds."),
    (DRY_RUN, "`true`: count them, and remove none."),
];

/// Removes those of the caller, or of all callers for the operator.
pub async fn clear(gateway: &Gateway, query: &str, caller: &Caller) -> Result<Reply, GatewayError> {
    let [id, model, older_than, dry_run] = ingress::parameters(query, PARAMETERS.map(|(name, _)| name))?;
    let id = id.map(|id| entry(&id)).transpose()?;
    let older_than = older_than.map(|text| seconds(&text)).transpose()?;
    let dry_run = match dry_run.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(GatewayError::invalid(DRY_RUN, "dry_run must be true or false")),
    };
    let Some(caching) = &gateway.cache else {
        return Ok(Reply::json(&CacheCleared { enabled: false, removed: 0, bytes: 0, dry_run }));
    };
    let answers = &caching.answers;
    let tenant = (*caller != Caller::Admin).then(|| caching.tenant(caller));
    let filter = Filter { id, tenant, model: model.map(Into::into), older_than };
    let cleared = answers.clear(filter, dry_run).await;
    let cleared = cleared.ok_or_else(|| GatewayError::new(ErrorKind::Overloaded, "the gateway is shutting down"))?;
    Ok(Reply::json(&CacheCleared { enabled: true, removed: cleared.entries, bytes: cleared.bytes, dry_run }))
}

fn seconds(text: &str) -> Result<Duration, GatewayError> {
    let seconds = text.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0);
    let seconds = seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    seconds.ok_or_else(|| GatewayError::invalid(OLDER_THAN, "older_than_seconds must be a number, 0 or more"))
}

/// As it is written in `cache_key`, and in no other way.
fn entry(text: &str) -> Result<EntryId, GatewayError> {
    let id = text.parse::<EntryId>().ok().filter(|id| id.to_string() == text);
    id.ok_or_else(|| GatewayError::invalid(ID, "id must be the `cache_key` of an answer: 64 hexadecimal digits"))
}

/// `POST /v1/cache/feedback`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// Of the request whose answer was wrong, as in `x-request-id`.
    pub request_id: String,
}

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FeedbackTaken {
    pub request_id: String,
    /// The name of the answer.
    pub cache_key: String,
    /// It was still in the cache, and is no more. In any case it will not be given to that question again.
    pub removed: bool,
}

/// An answer that the caller of the request got from the cache was wrong.
pub async fn feedback(
    gateway: &Gateway,
    arrival: &Arrival,
    head: &Parts,
    body: Incoming,
) -> Result<Reply, GatewayError> {
    let process = &gateway.process;
    let admitted = process.admission.unbounded();
    let shed = |why| process.shed(why);
    let body = ingress::read_body(arrival.started, &head.headers, body, CACHE_FEEDBACK_BYTES, &admitted, shed).await?;
    let said: Feedback = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("the body must be {{\"request_id\": \"req_...\"}}: {error}");
        GatewayError::invalid("request_id", message)
    })?;
    let told = explain::find(gateway, &said.request_id, &arrival.caller).await?;
    let pair = pair(&told).ok_or_else(|| {
        GatewayError::new(ErrorKind::NotFound, "the answer to this request did not come from the cache")
    })?;
    let Some(caching) = &gateway.cache else {
        return Err(GatewayError::new(ErrorKind::NotFound, "there is no cache: cache.enabled is false"));
    };
    let removed = caching.answers.report_wrong(&pair);
    process.metrics.cache.feedback.inc();
    Ok(Reply::json(&FeedbackTaken { request_id: said.request_id, cache_key: pair.entry.to_string(), removed }))
}

/// The answer that was taken, and the questions that it was taken for.
fn pair(told: &Told) -> Option<Pair> {
    #[derive(Deserialize)]
    struct Explained {
        cache: Option<Cache>,
    }
    #[derive(Deserialize)]
    struct Cache {
        hit: Option<Hit>,
    }
    #[derive(Deserialize)]
    struct Hit {
        entry: String,
        pair: String,
    }
    let hit = match told {
        Told::Here(told) => {
            let hit = told.cache.as_ref()?.hit.as_ref()?;
            Hit { entry: hit.entry.clone(), pair: hit.pair.clone() }
        }
        Told::Elsewhere(json) => serde_json::from_str::<Explained>(json.get()).ok()?.cache?.hit?,
    };
    let (tenant, questions) = hit.pair.split_once('.')?;
    Some(Pair { tenant: tenant.parse().ok()?, entry: hit.entry.parse().ok()?, questions: questions.parse().ok()? })
}
