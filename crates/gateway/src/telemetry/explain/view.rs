//! An explanation, as `GET /v1/requests/{id}` answers.

use gateway_core::usage::Usage;
use gateway_policy::routing::{Place, Planned, RoutePlan, Why};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::words;
use crate::cache::Note;
use crate::settle::{Outcome, Record};
use crate::steps::{Attempt, Step, Wait, millis};

/// `GET /v1/requests/{id}`: why the gateway did what it did for one request. Times are milliseconds since the request came.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Explanation {
    pub request_id: String,
    /// The whole story in sentences.
    pub summary: Vec<String>,
    /// What it waits for; `null` once it has ended.
    pub running: Option<WaitView>,
    /// When the request ended: RFC 3339, in UTC; `null` while it runs.
    pub ended: Option<String>,
    /// Whose request it was; nobody else is told of it.
    pub caller: String,
    /// The client's own id of the request.
    pub correlation_id: Option<String>,
    pub user: Option<String>,
    pub route: &'static str,
    pub dialect: &'static str,
    pub stream: bool,
    pub model_asked: Option<String>,
    /// `ok`, `client_error`, `upstream_error`, `truncated`, `client_gone`, `drained`, `shed`, `rate_limited` or
    /// `internal_error`; `null` while it runs.
    pub outcome: Option<&'static str>,
    /// `null` while it runs.
    pub status: Option<u16>,
    pub error: Option<String>,
    /// `null`: the request was refused before there was one.
    pub plan: Option<PlanView>,
    /// What was done, in order.
    pub steps: Vec<StepView>,
    /// Who answered, or was tried last.
    pub provider: Option<String>,
    pub model: Option<String>,
    /// The provider's own id of the request.
    pub upstream_request_id: Option<String>,
    pub finish_reason: Option<&'static str>,
    pub usage: Option<UsageView>,
    /// By list price; `null` where the price is not known.
    pub cost_usd: Option<f64>,
    /// `null`: there is no cache, or the request was refused before it was asked.
    pub cache: Option<CacheView>,
    /// Of a stream.
    pub first_content_ms: Option<f64>,
    pub duration_ms: f64,
    /// The gateway's own share of the time to the answer, or to its first content.
    pub overhead_ms: f64,
    /// Fields of the request or parts of the answer that the other dialect has no word for.
    pub dropped: Vec<String>,
    /// Fields that were said in other words.
    pub approximated: Vec<String>,
    /// Fields that the provider demands and the client did not send.
    pub added: Vec<String>,
}

/// What a request that has not ended waits for.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WaitView {
    /// `answer`, `first_content` (of a stream), `rest_of_the_stream`, `answer_of_another_request` or `next_attempt`.
    pub waits_for: &'static str,
    /// Who is asked.
    pub target: Option<String>,
    pub since_ms: f64,
}

/// Which targets were to be tried, in order, and which were not.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanView {
    pub strategy: &'static str,
    pub targets: Vec<TargetView>,
    /// To be tried once a target has said that the request is too long for it.
    pub on_context_overflow: Vec<TargetView>,
    /// To be tried once a target has refused the request for what it is about.
    pub on_content_filter: Vec<TargetView>,
    pub skipped: Vec<SkippedView>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct TargetView {
    /// `provider/model`
    pub target: String,
    /// The caller's part in the order: `pinned`, `preferred` or `rest`.
    pub place: &'static str,
    /// Why it stands where it does.
    pub why: String,
    /// List price of the estimated request, where the strategy went by it.
    pub estimated_usd: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct SkippedView {
    /// `provider/model`
    pub target: String,
    pub why: String,
}

/// One step.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum StepView {
    /// A request to a provider.
    Attempt {
        target: String,
        /// `null`: it failed before anything was sent.
        started_ms: Option<f64>,
        /// How long the attempt took until its first content; of a stream that began.
        to_first_content_ms: Option<f64>,
        took_ms: f64,
        /// `null`: it succeeded. Else the class of the failure, as in the log.
        failure: Option<&'static str>,
        /// Of the provider's error answer.
        status: Option<u16>,
        error: Option<String>,
        /// It failed after the provider had the request, which may charge for it all the same.
        maybe_billed: bool,
        /// What was decided after the failure.
        decision: Option<String>,
    },
    /// An attempt that was under way when the request ended.
    Abandoned { target: String, started_ms: f64, took_ms: f64 },
    /// A second attempt for a request whose first one was slow began.
    Hedged {
        target: String,
        /// How long the first one had been waited for.
        after_ms: f64,
    },
    /// An attempt that was ended because another one was faster.
    Lost { target: String, took_ms: f64 },
    /// A target that was passed over when its turn came.
    Skipped { target: String, why: String, until_ms: Option<f64> },
    /// A pause before the next attempt.
    Waited {
        ms: f64,
        /// `backoff`; `asked`, by the provider; or `quota`, for room in its limits.
        why: &'static str,
    },
    /// No further attempt was made after a failure.
    Stopped { why: String },
}

/// Tokens; `input` includes `cache_read` and `cache_write`, `output` includes `reasoning`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UsageView {
    pub input: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub output: u64,
    pub reasoning: u64,
}

/// What the cache did.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CacheView {
    /// As `x-gateway-cache`: `hit`, `coalesced`, `miss`, `refresh` or `bypass`.
    pub answered: &'static str,
    /// Why it was passed by.
    pub why: Option<&'static str>,
    /// The answer that was taken.
    pub hit: Option<HitView>,
    /// Of a miss: the nearest answer, which was not taken.
    pub nearest: Option<NearestView>,
    /// Of a miss: why the question was not looked for in other words; `null` if it was, or is no plain text.
    pub narrowed: Option<&'static str>,
    /// What came of asking the embedding model of a provider; `null`: none was asked.
    pub embedding: Option<EmbeddingView>,
    /// In shadow mode: what would have been answered.
    pub shadow: Option<ShadowView>,
    /// Tokens and US dollars that no provider was asked for.
    pub saved_tokens: u64,
    pub saved_usd: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct HitView {
    /// The name of the answer, as `cache_key`.
    pub entry: String,
    /// `exact`, `canonical` or `semantic`.
    #[serde(rename = "type")]
    pub tier: &'static str,
    pub similarity: f64,
    pub age_seconds: u64,
    /// The question with the one that it was taken for, by which it is known again if it is reported as wrong.
    pub pair: String,
}

/// What it cost to have the question embedded by a provider.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EmbeddingView {
    /// `ok`, `timeout`, `failed`, `other` (of another size or model than before) or `resting` (it has failed lately, and was not asked).
    pub result: &'static str,
    pub took_ms: f64,
    pub tokens: u64,
    pub usd: f64,
}

/// The names of answers; `null` where there would have been none.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShadowView {
    pub strict: Option<String>,
    pub cosine: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct NearestView {
    /// The name of the answer.
    pub entry: String,
    /// Of the embeddings of both questions.
    pub cosine: f64,
    /// By what it was held to answer another question.
    pub rule: &'static str,
}

impl From<&Note> for CacheView {
    fn from(note: &Note) -> Self {
        CacheView {
            answered: note.answered.name(),
            why: note.why,
            hit: note.hit.map(|found| HitView {
                entry: found.pair.entry.to_string(),
                tier: found.tier.name(),
                similarity: found.thousandths() as f64 / 1e3,
                age_seconds: found.age.as_secs(),
                pair: format!("{}.{}", found.pair.tenant, found.pair.questions),
            }),
            nearest: note.near.map(|near| NearestView {
                entry: near.entry.to_string(),
                cosine: (f64::from(near.cosine) * 1e3).round() / 1e3,
                rule: near.rule(),
            }),
            narrowed: note.narrowed,
            embedding: note.embedding.map(|embedded| EmbeddingView {
                result: embedded.how.name(),
                took_ms: (embedded.took.as_secs_f64() * 1e6).round() / 1e3,
                tokens: embedded.tokens,
                usd: embedded.cost.usd(),
            }),
            shadow: note.shadow.map(|entries| {
                let [strict, cosine] = entries.map(|entry| entry.map(|entry| entry.to_string()));
                ShadowView { strict, cosine }
            }),
            saved_tokens: note.saved_tokens,
            saved_usd: note.saved.usd(),
        }
    }
}

impl From<Usage> for UsageView {
    fn from(Usage { input, cache_read, cache_write, output, reasoning }: Usage) -> Self {
        UsageView { input, cache_read, cache_write, output, reasoning }
    }
}

impl Explanation {
    pub fn of(ended: Timestamp, record: &Record) -> Explanation {
        Explanation {
            ended: Some(crate::telemetry::log::stamp(ended)),
            outcome: Some(record.outcome.name()),
            status: Some(record.status),
            ..Explanation::so_far(record, Some(record.outcome))
        }
    }

    /// Of a request that has not ended.
    pub fn of_running(record: &Record, wait: WaitView) -> Explanation {
        Explanation { running: Some(wait), ..Explanation::so_far(record, None) }
    }

    fn so_far(record: &Record, outcome: Option<Outcome>) -> Explanation {
        Explanation {
            request_id: record.request_id.to_string(),
            summary: words::summary(record, outcome),
            running: None,
            ended: None,
            caller: record.caller.to_string(),
            correlation_id: record.correlation_id.clone(),
            user: record.user.clone(),
            route: record.route,
            dialect: record.dialect,
            stream: record.stream,
            model_asked: record.model_asked.as_deref().map(str::to_owned),
            outcome: None,
            status: None,
            error: words::error(record).map(str::to_owned),
            plan: record.plan.as_deref().map(plan),
            steps: record.steps.iter().enumerate().map(|(index, one)| step(record, one, index)).collect(),
            provider: record.provider.as_deref().map(str::to_owned),
            model: record.model.as_deref().map(str::to_owned),
            upstream_request_id: record.upstream_request_id.clone(),
            finish_reason: record.finish_reason,
            usage: record.usage.map(UsageView::from),
            cost_usd: record.cost.map(|cost| cost.total().usd()),
            cache: record.cache.as_deref().map(CacheView::from),
            first_content_ms: record.first_content_ms.map(rounded),
            duration_ms: rounded(record.duration_ms),
            overhead_ms: rounded(record.overhead_ms),
            dropped: record.dropped.iter().filter(|name| !record.approximated.contains(name)).cloned().collect(),
            approximated: record.approximated.clone(),
            added: record.added.clone(),
        }
    }
}

fn plan(plan: &RoutePlan) -> PlanView {
    let targets = |planned: &[Planned]| planned.iter().map(target).collect();
    let skipped =
        plan.skipped.iter().map(|skip| SkippedView { target: skip.target.to_string(), why: skip.reason.to_string() });
    PlanView {
        strategy: plan.strategy.name(),
        targets: targets(&plan.targets),
        on_context_overflow: targets(&plan.on_context_overflow),
        on_content_filter: targets(&plan.on_content_filter),
        skipped: skipped.collect(),
    }
}

fn target(planned: &Planned) -> TargetView {
    let (target, text) = (planned.target.to_string(), planned.to_string());
    let why = text.strip_prefix(&target).map_or(text.as_str(), |why| why.trim_start_matches(": ")).to_owned();
    let place = match planned.place {
        Place::Pinned => "pinned",
        Place::Preferred { .. } => "preferred",
        Place::Rest => "rest",
    };
    let estimated_usd = match planned.why {
        Why::ListPrice { estimated, .. } => Some(estimated.usd()),
        _ => None,
    };
    TargetView { target, place, why, estimated_usd }
}

fn step(record: &Record, step: &Step, index: usize) -> StepView {
    match step {
        Step::Attempt(attempt) => {
            let Attempt { target, begun, took, failed } = attempt;
            let took = millis(*took);
            let streams = record.stream && failed.is_none();
            let whole = match begun {
                Some(begun) if streams => rounded((record.duration_ms - millis(*begun)).max(took)),
                _ => took,
            };
            StepView::Attempt {
                target: target.to_string(),
                started_ms: begun.map(millis),
                to_first_content_ms: streams.then_some(took),
                took_ms: whole,
                failure: failed.as_ref().map(|failed| failed.class.name()),
                status: failed.as_ref().and_then(|failed| failed.status),
                error: failed.as_ref().and_then(words::told).map(str::to_owned),
                maybe_billed: attempt.maybe_billed(),
                decision: failed
                    .is_some()
                    .then(|| words::decision(attempt, &record.steps[index + 1..], Some(record.outcome))),
            }
        }
        Step::Abandoned { target, begun, took } => {
            StepView::Abandoned { target: target.to_string(), started_ms: millis(*begun), took_ms: millis(*took) }
        }
        Step::Hedged { target, after } => StepView::Hedged { target: target.to_string(), after_ms: millis(*after) },
        Step::Lost { target, took } => StepView::Lost { target: target.to_string(), took_ms: millis(*took) },
        Step::Skipped { target, why, until } => {
            StepView::Skipped { target: target.to_string(), why: why.to_string(), until_ms: until.map(millis) }
        }
        Step::Waited { length, why } => StepView::Waited {
            ms: millis(*length),
            why: match why {
                Wait::Backoff => "backoff",
                Wait::Asked => "asked",
                Wait::Quota => "quota",
            },
        },
        Step::Stopped(why) => StepView::Stopped { why: words::stopped(*why) },
    }
}

fn rounded(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}
