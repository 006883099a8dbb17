//! The end of a request: told once, whatever way it ended.
//!
//! [`Settle`] goes with the request from its first decision to the last byte of its answer. It knows what was tried, and when
//! it is dropped, at the end of the body, after an error, or because the client has gone, it writes the one log line and
//! counts. Nothing else in the program does either.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_core::chat::FinishReason;
use gateway_core::dialect::Dialect;
use gateway_core::error::{ErrorKind, FailureClass, GatewayError};
use gateway_core::limits::SHOWN_AFTER;
use gateway_core::target::Target;
use gateway_core::usage::{Cost, NanoUsd, Usage};
use gateway_policy::pricing::Price;
use gateway_policy::resilience::Circuit;
use gateway_policy::routing::RoutePlan;

use crate::api::Arrival;
use crate::attempt::{Failure, Notes};
use crate::cache::{Answered, Embedded, Keep, Note, Served, Worth};
use crate::call::{Call, Caller};
use crate::gateway::{Gateway, Process};
use crate::limits::Hold;
use crate::providers::permit::Permit;
use crate::request_id::RequestId;
use crate::steps::{self, Attempt, Failed, Step, Stop, Wait};
use crate::telemetry::explain::{Shown, Waiting};
use crate::telemetry::log::{Level, printable};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// The request was at fault.
    ClientError,
    /// No provider gave an answer.
    UpstreamError,
    /// The answer broke off after its first content.
    Truncated,
    /// The client did not wait for the end.
    ClientGone,
    /// The gateway was shutting down.
    Drained,
    /// The gateway had as much to do as it can.
    Shed,
    /// Its caller had used up what it may.
    RateLimited,
    InternalError,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::ClientError => "client_error",
            Outcome::UpstreamError => "upstream_error",
            Outcome::Truncated => "truncated",
            Outcome::ClientGone => "client_gone",
            Outcome::Drained => "drained",
            Outcome::Shed => "shed",
            Outcome::RateLimited => "rate_limited",
            Outcome::InternalError => "internal_error",
        }
    }
}

/// What is known of a request: the fields of its log line, and what only its explanation tells.
#[derive(Debug, Clone)]
pub struct Record {
    pub request_id: RequestId,
    pub correlation_id: Option<String>,
    pub route: &'static str,
    pub dialect: &'static str,
    pub stream: bool,
    pub model_asked: Option<Arc<str>>,
    pub user: Option<String>,
    pub provider: Option<Arc<str>>,
    pub model: Option<Arc<str>>,
    pub status: u16,
    pub outcome: Outcome,
    pub attempts: u32,
    pub steps: Vec<Step>,
    /// `None`: the request was refused before there was one.
    pub plan: Option<Arc<RoutePlan>>,
    pub caller: Caller,
    pub upstream_request_id: Option<String>,
    pub finish_reason: Option<&'static str>,
    pub usage: Option<Usage>,
    /// Tokens and cost are the gateway's estimate: the provider told none, or not to the end.
    pub usage_estimated: bool,
    pub cost: Option<Cost>,
    /// `None`: there is no cache.
    pub cache: Option<Box<Note>>,
    pub first_content_ms: Option<f64>,
    pub duration_ms: f64,
    pub overhead_ms: f64,
    pub dropped: Vec<String>,
    /// Those of `dropped` that were said in other words.
    pub approximated: Vec<String>,
    pub added: Vec<String>,
    pub error: Option<String>,
}

impl Record {
    pub fn new(arrival: &Arrival, route: &'static str, dialect: Dialect) -> Record {
        Record {
            request_id: arrival.request_id,
            correlation_id: arrival.correlation_id.clone(),
            route,
            dialect: dialect.name(),
            stream: false,
            model_asked: None,
            user: None,
            provider: None,
            model: None,
            status: 0,
            outcome: Outcome::Ok,
            attempts: 0,
            steps: Vec::new(),
            plan: None,
            caller: arrival.caller.clone(),
            upstream_request_id: None,
            finish_reason: None,
            usage: None,
            usage_estimated: false,
            cost: None,
            cache: None,
            first_content_ms: None,
            duration_ms: 0.0,
            overhead_ms: 0.0,
            dropped: Vec::new(),
            approximated: Vec::new(),
            added: Vec::new(),
            error: None,
        }
    }

    pub fn level(&self) -> Level {
        match self.outcome {
            Outcome::Ok | Outcome::ClientError | Outcome::ClientGone | Outcome::RateLimited => Level::Info,
            Outcome::UpstreamError | Outcome::Truncated | Outcome::Drained | Outcome::Shed => Level::Warn,
            Outcome::InternalError => Level::Error,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:.0} ms", self.status, self.route, self.duration_ms)?;
        if let (Some(provider), Some(model)) = (&self.provider, &self.model) {
            write!(f, " {provider}/{}", printable(model))?;
        }
        if let Some(usage) = &self.usage {
            write!(f, " in={} out={}", usage.input, usage.output)?;
        }
        if let Some(cost) = self.cost {
            write!(f, " ${:.6}", cost.total().usd())?;
        }
        if self.outcome != Outcome::Ok {
            write!(f, " {}", self.outcome.name())?;
        }
        for attempt in steps::attempts(&self.steps) {
            if let Some(failed) = &attempt.failed {
                write!(f, " [{}: {}]", attempt.target, failed.class.name())?;
            }
        }
        if let Some(error) = &self.error {
            write!(f, " {}", printable(error))?;
        }
        write!(f, " {}", self.request_id)
    }
}

fn finish_name(finish: &FinishReason) -> &'static str {
    match finish {
        FinishReason::Stop { .. } => "stop",
        FinishReason::Length => "length",
        FinishReason::ContextWindow => "context_window",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Pause => "pause",
        FinishReason::Other(_) => "other",
    }
}

/// The account of one request.
#[derive(Debug)]
pub struct Settle {
    gateway: Arc<Gateway>,
    started: Instant,
    /// `None` once it has been told.
    record: Option<Box<Record>>,
    price: Option<Price>,
    /// What it has taken of its caller's limits.
    hold: Option<Hold>,
    /// What is to become of the answer.
    keep: Option<Box<Keep>>,
    /// Of a whole answer: whom it may serve later.
    worth: Worth,
    /// Time spent waiting for providers, and between attempts.
    upstream: Duration,
    /// Since when the request has been waiting.
    waiting: Option<Instant>,
    /// It waits for the answer to another request.
    follows: bool,
    /// Of the attempt that succeeded: it must be told how the answer ended.
    permit: Option<Box<Permit>>,
    /// The attempt under way, and when it began.
    under_way: Option<(Target, Duration)>,
    /// Set when the first content of a stream is there: what follows is the provider's time.
    overhead: Option<Duration>,
    /// Somebody who asks is told what is known so far.
    shown: bool,
}

impl Settle {
    /// In a box: it goes from hand to hand.
    pub fn open(gateway: Arc<Gateway>, started: Instant, record: Record) -> Box<Self> {
        gateway.process.metrics.in_flight.inc();
        Box::new(Settle {
            gateway,
            started,
            record: Some(Box::new(record)),
            price: None,
            hold: None,
            keep: None,
            worth: Worth::Nothing,
            upstream: Duration::ZERO,
            waiting: None,
            follows: false,
            permit: None,
            under_way: None,
            overhead: None,
            shown: false,
        })
    }

    fn with(&mut self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }

    fn step(&mut self, step: Step) {
        self.with(|record| {
            if record.steps.is_empty() {
                // One is the rule.
                record.steps.reserve_exact(1);
            }
            record.steps.push(step);
        });
        if self.shown {
            self.show();
        }
    }

    /// From now on, the request can be asked for while it runs.
    pub fn show(&mut self) {
        let Some(record) = &self.record else { return };
        self.shown = true;
        let now = Instant::now();
        let waiting = match (&self.under_way, record.first_content_ms) {
            (Some((target, _)), _) => Waiting::Answer(target.clone()),
            (None, Some(_)) => Waiting::Rest,
            (None, None) if self.follows => Waiting::Another,
            (None, None) => Waiting::Attempt,
        };
        let since = match record.first_content_ms {
            Some(ms) => Duration::from_secs_f64(ms / 1e3),
            None => self.waiting.unwrap_or(now).saturating_duration_since(self.started),
        };
        let mut record = Record::clone(record);
        record.overhead_ms = millis(self.overhead_at(now));
        let shown = Shown { record, started: self.started, waiting, since };
        self.gateway.process.log.explanations().running().show(Box::new(shown));
    }

    /// When the request will have taken so long that it is shown; `None`: it is.
    pub fn shown_at(&self) -> Option<Instant> {
        (!self.shown).then(|| self.started + SHOWN_AFTER)
    }

    /// Shows the request if it has taken long. Returns when that will be, if it is not shown.
    pub fn show_in_time(&mut self, now: Instant) -> Option<Instant> {
        if self.shown_at().is_some_and(|due| due <= now) {
            self.show();
        }
        self.shown_at()
    }

    pub fn record(&self) -> Option<&Record> {
        self.record.as_deref()
    }

    pub fn asked(&mut self, call: &Call) {
        self.with(|record| {
            record.stream = call.stream;
            record.model_asked = call.envelope.model.clone().map(|model| match model.len() {
                ..=200 => model,
                _ => Arc::from(shortened(&model, 200)),
            });
            record.user = call.user.clone();
        });
    }

    /// The targets that are to be tried, and why the others are not.
    pub fn planned(&mut self, plan: Arc<RoutePlan>) {
        self.with(|record| record.plan = Some(plan));
    }

    /// From now on what the request has taken of its caller's limits is settled with it.
    pub fn holds(&mut self, hold: Hold) {
        self.hold = Some(hold);
    }

    /// What the cache did for the request.
    pub fn cached(&mut self, note: Note) {
        self.with(|record| {
            let embedding = record.cache.take().and_then(|before| before.embedding);
            record.cache = Some(Box::new(Note { embedding, ..note }));
        });
    }

    /// The cache has asked a provider's embedding model; what it has found is noted after.
    pub fn embedded(&mut self, embedded: Embedded) {
        self.upstream += embedded.took;
        let note = Note { embedding: Some(embedded), ..Note::of(Answered::Miss) };
        self.with(|record| record.cache = Some(Box::new(note)));
    }

    /// The answer of the cache is not given, nor is another asked for.
    pub fn not_cached(&mut self) {
        self.with(|record| record.cache = None);
    }

    /// From now on the request waits for the answer to another one, and for no provider of its own.
    pub fn follows(&mut self) {
        (self.follows, self.waiting) = (true, Some(Instant::now()));
    }

    pub fn landed(&mut self) {
        self.follows = false;
        self.upstream_done();
    }

    /// From now on the answer is to be kept.
    pub fn keeps(&mut self, keep: Keep) {
        self.keep = Some(Box::new(keep));
    }

    pub fn keep(&self) -> Option<&Keep> {
        self.keep.as_deref()
    }

    pub fn take_keep(&mut self) -> Option<Box<Keep>> {
        self.keep.take()
    }

    pub fn process(&self) -> &Arc<Process> {
        &self.gateway.process
    }

    pub fn worth(&self) -> Worth {
        self.worth
    }

    /// Those who wait for this answer are told that there is none.
    pub fn failed_for_all(&mut self, failure: &Failure) {
        if let Some(lead) = self.keep.take().and_then(|keep| keep.lead) {
            lead.failed(failure);
        }
    }

    /// The answer of another request: nobody was asked for it.
    pub fn served(&mut self, served: &Served) {
        let kept = &served.kept;
        self.with(|record| {
            record.provider = Some(kept.provider.clone());
            record.model = Some(kept.model.clone());
            record.finish_reason = Some(kept.finish);
            record.cost = Some(Cost::default());
            record.dropped = kept.dropped.to_vec();
            for name in &served.losses {
                if !record.dropped.contains(name) {
                    record.dropped.push(name.clone());
                }
            }
            record.added = kept.added.to_vec();
        });
    }

    /// The tokens that the request was thought to need.
    pub fn reserved(&self) -> u64 {
        self.hold.as_ref().map_or(0, Hold::reserved)
    }

    pub fn attempt_begins(&mut self, permit: &mut Permit) {
        if let Some(hold) = &mut self.hold {
            hold.provider_asked();
        }
        let now = permit.begins();
        let target = permit.target();
        self.waiting = Some(now);
        self.under_way = Some((target.clone(), now - self.started));
        self.with(|record| {
            record.attempts += 1;
            record.provider = Some(target.provider.clone());
            record.model = Some(target.model.clone());
        });
        if self.shown || self.record.as_ref().is_some_and(|record| record.attempts > 1) {
            self.show();
        }
    }

    /// The provider has had its say: what follows is our own time again.
    pub fn upstream_done(&mut self) {
        self.upstream_done_at(Instant::now());
    }

    fn upstream_done_at(&mut self, now: Instant) {
        if let Some(since) = self.waiting.take() {
            self.upstream += now.saturating_duration_since(since);
        }
    }

    /// A pause before the next attempt.
    pub async fn pause(&mut self, length: Duration, why: Wait) {
        self.step(Step::Waited { length, why });
        self.waiting = Some(Instant::now());
        self.show();
        tokio::time::sleep(length).await;
        self.upstream_done();
    }

    /// A second attempt beside one that is slow.
    pub fn hedge_begins(&mut self, permit: &mut Permit) {
        let since = permit.begins().saturating_duration_since(self.started);
        let after = self.under_way.as_ref().map_or(since, |(_, begun)| since.saturating_sub(*begun));
        let target = permit.target().clone();
        self.gateway.process.metrics.hedge(&target.provider, "asked");
        self.with(|record| record.attempts += 1);
        self.step(Step::Hedged { target, after });
        self.show();
    }

    /// Another attempt was faster. That says nothing of this one.
    pub fn attempt_lost(&mut self, mut permit: Box<Permit>) {
        permit.lost();
        let target = permit.target().clone();
        self.gateway.process.metrics.hedge(&target.provider, "lost");
        self.step(Step::Lost { target, took: permit.begun().elapsed() });
    }

    /// The answer has its first content. From now on its permit is ours: how the answer ends is what it must be told.
    pub fn attempt_succeeded(&mut self, mut permit: Box<Permit>, notes: Notes) {
        let said = notes.said.unwrap_or_else(Instant::now);
        self.upstream_done_at(said);
        self.gateway.process.metrics.attempt(&permit.target().provider, None);
        permit.told(notes.quota);
        let whole = notes.said.map(|_| notes.usage.map_or(0, |usage| usage.output));
        let changed = permit.answered(whole, said);
        let provider = permit.provider(&self.gateway);
        provider.health.succeeded(said.saturating_duration_since(permit.begun()), said);
        self.circuit(permit.target(), &provider.credentials()[permit.credential()].name, changed);
        self.attempt_ended(&permit, said, None);
        self.price = notes.price;
        self.worth = Worth::of(notes.finish.as_ref(), notes.contents);
        let target = permit.target().clone();
        self.with(|record| {
            // A hedge may have been faster than the attempt that was made before it.
            record.provider = Some(target.provider);
            record.model = Some(target.model);
            record.upstream_request_id = notes.upstream_request_id;
            record.dropped = notes.dropped;
            record.dropped.extend_from_slice(&notes.approximated);
            record.approximated = notes.approximated;
            record.added = notes.added;
            record.finish_reason = notes.finish.as_ref().map(finish_name);
        });
        if let Some(usage) = notes.usage {
            self.with(|record| record.usage_estimated = notes.usage_estimated);
            self.usage(usage);
        }
        self.permit = Some(permit);
    }

    /// `now`: when it failed. Of two attempts at a time, one may still have been waited for.
    pub fn attempt_failed(&mut self, mut permit: Box<Permit>, notes: Notes, failure: &Failure, now: Instant) {
        let class = failure.class();
        if !notes.quota.is_empty() {
            permit.told(notes.quota);
        }
        if let Some(hold) = &mut self.hold {
            hold.provider_failed();
        }
        self.upstream_done_at(now);
        self.gateway.process.metrics.attempt(&permit.target().provider, Some(class));
        let failed = Failed { class, status: failure.status(), error: failure.text() };
        self.attempt_ended(&permit, now, Some(failed));
        self.with(|record| record.upstream_request_id = notes.upstream_request_id);
        self.give_back(permit, class, failure.wait(), now);
    }

    fn attempt_ended(&mut self, permit: &Permit, now: Instant, failed: Option<Failed>) {
        let target = permit.target().clone();
        self.under_way = None;
        let begun = permit.is_sent().then(|| permit.begun().saturating_duration_since(self.started));
        let took = begun.map_or(Duration::ZERO, |_| now.saturating_duration_since(permit.begun()));
        self.step(Step::Attempt(Attempt { target, begun, took, failed }));
    }

    /// Lets everything learn from a failure.
    fn give_back(&self, permit: Box<Permit>, class: FailureClass, wait: Option<Duration>, now: Instant) {
        let provider = permit.provider(&self.gateway);
        provider.health.failed(class, now);
        let (target, credential) = (permit.target().clone(), &provider.credentials()[permit.credential()].name);
        let changed = permit.failed(class, wait, now);
        self.circuit(&target, credential, changed);
        if class == FailureClass::Credential {
            self.gateway.process.log.event(
                Level::Error,
                "a provider refuses the gateway's credential, which is not used for a while",
                [("provider", (*target.provider).into()), ("credential", credential.as_str().into())],
            );
        }
    }

    /// Somebody has to know when a circuit opens or closes.
    fn circuit(&self, target: &Target, credential: &str, changed: Option<Circuit>) {
        let Some(circuit) = changed else { return };
        let process = &self.gateway.process;
        process.metrics.circuit(&target.provider, circuit.name());
        let (level, text) = match circuit {
            Circuit::Closed => (Level::Info, "a circuit closed: the target answers again"),
            Circuit::Open { .. } | Circuit::HalfOpen => (Level::Warn, "a circuit opened: the target failed too often"),
        };
        process.log.event(
            level,
            text,
            [("target", printable(&target.to_string()).to_string().into()), ("credential", credential.into())],
        );
    }

    /// A target of the plan is passed over. `why` completes "was not tried: "; it may be tried again after `wait`.
    pub fn skipped(&mut self, target: &Target, why: impl Into<Cow<'static, str>>, wait: Option<Duration>) {
        let until = wait.map(|wait| self.started.elapsed() + wait);
        self.step(Step::Skipped { target: target.clone(), why: why.into(), until });
    }

    /// No further attempt is made after a failure.
    pub fn stopped(&mut self, why: Stop) {
        self.step(Step::Stopped(why));
    }

    pub fn first_content(&mut self) {
        self.upstream_done();
        self.overhead = Some(self.overhead());
        let elapsed = millis(self.started.elapsed());
        self.with(|record| record.first_content_ms = Some(elapsed));
        if self.shown {
            self.show();
        }
    }

    pub fn usage(&mut self, usage: Usage) {
        let cost = self.price.as_ref().map(|price| price.cost(&usage));
        self.with(|record| {
            record.usage = Some(usage);
            record.cost = cost;
        });
    }

    /// The same where the gateway had to count itself.
    pub fn estimated_usage(&mut self, usage: Usage) {
        self.usage(usage);
        self.with(|record| record.usage_estimated = true);
    }

    /// No provider was asked: the gateway counted the tokens of a prompt for this target.
    pub fn estimated_tokens(&mut self, target: &Target) {
        self.with(|record| {
            record.provider = Some(target.provider.clone());
            record.model = Some(target.model.clone());
            record.added = vec!["input_tokens".to_owned()];
        });
    }

    pub fn finish_reason(&mut self, finish: &FinishReason) {
        self.with(|record| record.finish_reason = Some(finish_name(finish)));
    }

    /// The time to the answer, or to its first content, that was the gateway's own.
    pub fn overhead(&self) -> Duration {
        self.overhead_at(Instant::now())
    }

    fn overhead_at(&self, now: Instant) -> Duration {
        let waiting = self.waiting.map(|since| now - since).unwrap_or_default();
        self.overhead.unwrap_or_else(|| (now - self.started).saturating_sub(self.upstream + waiting))
    }

    /// The end of a request that no target was asked for.
    pub fn refused(mut self, status: u16, error: GatewayError) {
        let why = error.internal.unwrap_or(error.message);
        let outcome = match status {
            _ if error.kind == ErrorKind::Overloaded => Outcome::Shed,
            _ if error.kind == ErrorKind::RateLimitExceeded => Outcome::RateLimited,
            500 => Outcome::InternalError,
            501.. => Outcome::UpstreamError,
            _ => Outcome::ClientError,
        };
        self.end(status, outcome, Some(why));
    }

    /// What the end of an answer says of its provider. A client that left and a gateway that closes say nothing.
    fn answer_ended(&mut self, outcome: Outcome, now: Instant) {
        let Some(permit) = self.permit.take() else { return };
        match outcome {
            Outcome::Ok => {
                let usage = self.record.as_ref().and_then(|record| record.usage);
                let told = self.record.as_ref().is_some_and(|record| !record.usage_estimated);
                permit.succeeded(usage, told, now);
            }
            Outcome::Truncated => self.give_back(permit, FailureClass::BadAnswer, None, now),
            Outcome::ClientError
            | Outcome::UpstreamError
            | Outcome::ClientGone
            | Outcome::Drained
            | Outcome::Shed
            | Outcome::RateLimited
            | Outcome::InternalError => {}
        }
    }

    /// Puts the tokens that the request had, where that is known, in the place of those that it was thought to need.
    fn settle_limits(&mut self, now: Instant) {
        let usage = self.record.as_ref().and_then(|record| record.usage);
        let spent = usage.map(|usage| usage.input.saturating_add(usage.output));
        if let (Some(spent), Some(permit)) = (spent, &mut self.permit) {
            permit.settle_limits(spent, now);
        }
        if let Some(mut hold) = self.hold.take()
            && let Some(spent) = spent
        {
            hold.settle(spent, now);
        }
    }

    /// Told when the last byte of the answer has been handed out, or when the request has failed.
    pub fn end(&mut self, status: u16, outcome: Outcome, error: Option<String>) {
        let now = Instant::now();
        let overhead_ms = millis(self.overhead_at(now));
        if let Some((target, begun)) = self.under_way.take() {
            self.step(Step::Abandoned { target, begun, took: (now - self.started).saturating_sub(begun) });
        }
        self.settle_limits(now);
        self.answer_ended(outcome, now);
        // Who waits for an answer that did not come is not to wait for what is left to do here.
        self.keep = None;
        let Some(mut record) = self.record.take() else { return };
        record.status = status;
        record.outcome = outcome;
        record.error = error;
        record.duration_ms = millis(now - self.started);
        record.overhead_ms = overhead_ms;
        let gateway = &self.gateway;
        gateway.process.metrics.in_flight.dec();
        if outcome == Outcome::Ok {
            gateway.process.extra.settled(record.cost.map_or(NanoUsd(0), |cost| cost.total()), now);
        }
        gateway.process.metrics.request(&record, gateway.catalog.model_label(&record));
        let id = self.shown.then_some(record.request_id);
        gateway.process.log.request(record);
        // Not before: whoever does not find it here waits until it is there.
        if let Some(id) = id {
            gateway.process.log.explanations().running().ended(&id);
        }
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.end(
                500,
                Outcome::InternalError,
                Some("a bug: the thread panicked, and standard error says where".to_owned()),
            );
        } else {
            // 499: the client closed the request. No answer carries it; nginx made it the usual word for this in logs.
            self.end(499, Outcome::ClientGone, None);
        }
    }
}

/// The first `most` characters.
pub fn shortened(text: &str, most: usize) -> String {
    let end = if text.len() <= most { None } else { text.char_indices().nth(most) };
    text[..end.map_or(text.len(), |(at, _)| at)].to_owned()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
