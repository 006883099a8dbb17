//! The right to ask one target with one of its provider's credentials, and the duty to tell how it went.
//!
//! Whoever asks a provider holds a [`Permit`]: the breaker has let it through, and breaker, cooldowns, retry tokens and health
//! learn from it exactly once how the attempt ended, also when it is dropped in the middle.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway_core::error::FailureClass;
use gateway_core::limits::TOKENS_PER_REQUEST_MOST;
use gateway_core::target::Target;
use gateway_core::usage::Usage;
use gateway_policy::limits::Resource;
use gateway_policy::resilience::breaker::LAST_RESORT_EVERY;
use gateway_policy::resilience::{
    Availability, Breaker, BreakerSettings, Circuit, Cooldown, Headroom, Pass, Reason, RetryTokens, Sent,
    UpstreamQuota, Verdict, hint,
};
use gateway_policy::routing::signals::{FAILURE_PENALTY, Outstanding, SizeClass};
use gateway_policy::tokens::Estimate;

use crate::admission::Slot;
use crate::call::Call;
use crate::gateway::Gateway;
use crate::limits::Hold;
use crate::providers::catalog::Provider;
use crate::providers::meter::Taken;
use crate::providers::state::TargetState;

/// How long a credential rests that its provider has refused; twice as long each time, up to [`LONGEST_REFUSED`]. Somebody may
/// have mended it, and a refusal may have been a slip of the provider's.
const REFUSED: Duration = Duration::from_secs(30);
const LONGEST_REFUSED: Duration = Duration::from_secs(15 * 60);
/// How long a model rests with a credential whose quota is spent, where the provider does not say it.
const QUOTA: Duration = Duration::from_secs(5);
/// How long a credential rests whose money is spent, where the provider does not say it.
const SPEND_CAP: Duration = Duration::from_secs(300);
/// A longer wait that a provider asks for is tried again after this one.
const LONGEST_WAIT: Duration = hint::LONGEST_REST;

/// What has been told to rest, and by how many refusals in a row.
///
/// Who rests is passed over while there is somebody else. When there is nobody else it is asked all the same: a refusal costs
/// nothing, the provider's own words are the truest, and what refused a long prompt may take a short one. Only after as many
/// refusals in a row as open a circuit is one request a second enough.
#[derive(Debug)]
pub struct Rest {
    pub cooldown: Cooldown,
    refusals: AtomicU32,
    /// For what is asked of it although it should not be.
    last_resort: LastResort,
}

/// Whom to ask where nobody is open to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insist {
    /// Nobody.
    Not,
    /// Who rests, unless it has refused too often; who may be down, and who would probably refuse.
    OnResting,
    /// Anybody, once a second, whatever the number of its credentials.
    OnAll,
}

/// Lets one attempt a second through where there should be none.
#[derive(Debug, Default)]
pub struct LastResort(Mutex<Option<Instant>>);

impl LastResort {
    fn is_due(&self, now: Instant) -> bool {
        // Nothing panics while it holds this lock.
        self.0.lock().is_ok_and(|latest| latest.is_none_or(|latest| now >= latest + LAST_RESORT_EVERY))
    }

    /// False if it is not due, or somebody was faster.
    fn take(&self, now: Instant) -> bool {
        let Ok(mut latest) = self.0.lock() else { return false };
        let due = latest.is_none_or(|latest| now >= latest + LAST_RESORT_EVERY);
        if due {
            *latest = Some(now);
        }
        due
    }
}

impl Rest {
    fn new(now: Instant) -> Self {
        Rest { cooldown: Cooldown::new(now), refusals: AtomicU32::new(0), last_resort: LastResort::default() }
    }

    /// True: it is asked although it should not be.
    fn admit(&self, insist: Insist, settings: BreakerSettings, now: Instant) -> Result<bool, Closed> {
        let closed = match self.cooldown.state(now) {
            Availability::Ready => return Ok(false),
            Availability::Resting { until, reason } => Closed { by: ClosedBy::Resting(reason), until: Some(until) },
            Availability::Out { reason } => Closed { by: ClosedBy::Resting(reason), until: None },
        };
        if insist != Insist::Not && self.refusals.load(Ordering::Relaxed) < settings.failure_threshold {
            return Ok(false);
        }
        if insist == Insist::OnAll && self.last_resort.take(now) { Ok(true) } else { Err(closed) }
    }

    /// `wait` is made of the number of refusals before this one.
    fn refused(&self, reason: Reason, wait: impl Fn(u32) -> Duration, now: Instant) {
        let before = self.refusals.fetch_add(1, Ordering::Relaxed);
        self.cooldown.rest(reason, wait(before), now, &mut fastrand::Rng::new());
    }

    fn went_well(&self) {
        if self.refusals.load(Ordering::Relaxed) != 0 {
            self.refusals.store(0, Ordering::Relaxed);
        }
    }
}

/// How one credential fares, whatever the model.
#[derive(Debug)]
pub struct CredentialState {
    pub rest: Rest,
    tokens: RetryTokens,
}

impl CredentialState {
    pub fn new(now: Instant) -> Self {
        CredentialState { rest: Rest::new(now), tokens: RetryTokens::default() }
    }
}

/// How one model fares with one credential.
#[derive(Debug)]
pub struct Lane {
    pub breaker: Arc<Breaker>,
    /// Providers count requests and tokens for each model: whom one has refused,
    pub quota: Rest,
    /// and whom it would refuse.
    pub headroom: Arc<Headroom>,
    /// An answer or a hard failure has come on it.
    heard: AtomicBool,
}

impl Lane {
    pub fn new(settings: BreakerSettings, now: Instant) -> Self {
        let breaker = Arc::new(Breaker::new(settings, now));
        Lane { breaker, quota: Rest::new(now), headroom: Arc::default(), heard: AtomicBool::new(false) }
    }

    /// Whether traffic has shown anything of it.
    pub fn is_known(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    fn hear(&self) {
        // The usual case writes nothing.
        if !self.is_known() {
            self.heard.store(true, Ordering::Relaxed);
        }
    }

    /// Room in what is left of its limits. `None`: nothing is counted.
    fn room(&self, call: &Call, size: Estimate, insist: Insist, now: Instant) -> Result<Option<Sent>, Closed> {
        if call.counts_tokens {
            // Providers count these apart.
            return Ok(None);
        }
        match insist {
            Insist::Not => self.headroom.ask(size, now).map(Some),
            Insist::OnResting | Insist::OnAll => Ok(Some(self.headroom.insist(size, now))),
        }
        .map_err(|until| Closed { by: ClosedBy::Quota, until: Some(until) })
    }

    /// As [`Rest::admit`].
    fn admit(&self, insist: Insist, now: Instant) -> Result<(Pass, bool), Closed> {
        // Whoever insists has nobody else to ask.
        let entered = if insist == Insist::Not { self.breaker.enter_beside(now) } else { self.breaker.enter(now) };
        let refused = match entered {
            Ok(pass) => return Ok((pass, false)),
            Err(refused) => refused,
        };
        let last = if insist == Insist::OnAll { self.breaker.enter_last(now) } else { Err(refused) };
        last.map(|pass| (pass, true))
            .map_err(|refused| Closed { by: ClosedBy::Circuit(refused.circuit), until: Some(refused.retry_at) })
    }
}

/// Why a target cannot be asked now, and until when; `None`: until the operator does something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    pub by: ClosedBy,
    pub until: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// It failed too often; or, where its circuit is closed, may be about to.
    Circuit(Circuit),
    /// Its credentials rest.
    Resting(Reason),
    /// What is left of its limits would not hold the request.
    Quota,
    /// What is left of the quota that is declared for it would not.
    Declared,
    /// It has as many requests as it may have at a time.
    Full,
    /// The caller has used up what it may of its provider.
    Limited(Resource),
    /// Its provider is not configured.
    Unknown,
}

impl fmt::Display for ClosedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClosedBy::Circuit(Circuit::HalfOpen) => "its circuit is half-open, and the probe that decides is under way",
            ClosedBy::Circuit(Circuit::Closed) => {
                "it has just failed, and enough requests are on their way to it to know whether it is down"
            }
            ClosedBy::Circuit(Circuit::Open { .. }) => "its circuit is open after too many failures",
            ClosedBy::Resting(Reason::Quota) => "the provider asked to be left alone after a 429",
            ClosedBy::Resting(Reason::SpendCap) => "the money of its credential is spent",
            ClosedBy::Resting(Reason::Credential) => "the provider refused the gateway's credential",
            ClosedBy::Declared => "what is left of the quota that is configured for it does not hold this request",
            ClosedBy::Quota => "what is left of the provider's limits does not hold this request",
            ClosedBy::Limited(Resource::Requests) => "the caller has no requests left for its provider in this minute",
            ClosedBy::Limited(Resource::Tokens) => "the caller has too few tokens left for its provider in this minute",
            ClosedBy::Limited(Resource::Places) => {
                "the caller has as many requests at its provider as it may at a time"
            }
            ClosedBy::Full => "it has as many requests as it may have at a time",
            ClosedBy::Unknown => "its provider is not configured",
        })
    }
}

impl Closed {
    /// The one that opens first.
    fn sooner(self, other: Closed) -> Closed {
        match (self.until, other.until) {
            (Some(a), Some(b)) if b < a => other,
            (None, Some(_)) => other,
            _ => self,
        }
    }
}

/// See the module. In a box: it goes from hand to hand.
#[derive(Debug)]
pub struct Permit {
    target: Target,
    /// In the catalog.
    provider: usize,
    /// In the provider.
    credential: usize,
    own: Arc<CredentialState>,
    state: Arc<TargetState>,
    lane: Arc<Lane>,
    /// The tokens of the prompt, by the rule that knows no model.
    ruled: u64,
    /// Counted while the attempt runs.
    outstanding: Outstanding,
    pass: Option<Pass>,
    /// In the provider's limits, until it has told what is left of them.
    room: Option<Sent>,
    /// What the attempt has taken of the caller's limits for this provider, which few callers have.
    hold: Option<Box<Hold>>,
    /// Of the quotas that are declared, until the answer has ended.
    taken: Option<Taken>,
    sent: bool,
    begun: Instant,
    answered: Instant,
    /// The request's place at its provider, until its answer has ended.
    _slot: Slot,
}

const UNKNOWN: Closed = Closed { by: ClosedBy::Unknown, until: None };
const FULL: Closed = Closed { by: ClosedBy::Full, until: None };

impl Permit {
    /// Asks for the right to ask `target` now.
    pub fn ask(
        gateway: &Gateway,
        target: &Target,
        call: &Call,
        insist: Insist,
        now: Instant,
    ) -> Result<Box<Permit>, Closed> {
        let provider = gateway.catalog.provider(&target.provider).ok_or(UNKNOWN)?;
        let slot = provider.slots.try_acquire().ok_or(FULL)?;
        Permit::with_slot(gateway, target, call, slot, insist, now)
    }

    /// The same once a place at the provider has become free, which is waited for until `deadline`, and not for long.
    pub async fn ask_in_turn(
        gateway: &Gateway,
        target: &Target,
        call: &Call,
        deadline: Instant,
    ) -> Result<Box<Permit>, Closed> {
        let provider = gateway.catalog.provider(&target.provider).ok_or(UNKNOWN)?;
        let slot = provider.slots.acquire(deadline).await.map_err(|_| FULL)?;
        Permit::with_slot(gateway, target, call, slot, Insist::Not, Instant::now())
    }

    fn with_slot(
        gateway: &Gateway,
        target: &Target,
        call: &Call,
        slot: Slot,
        insist: Insist,
        now: Instant,
    ) -> Result<Box<Permit>, Closed> {
        let Some(index) = gateway.catalog.index(&target.provider) else { return Err(UNKNOWN) };
        let provider = &gateway.catalog.providers()[index];
        let state = provider.state(&target.model);
        let insist = if insist == Insist::OnAll && !state.last_resort.is_due(now) { Insist::OnResting } else { insist };
        let estimate = gateway.catalog.estimate_at(provider, &target.model, &state.signals, call);
        let mut out: Option<Closed> = None;
        let mut tried = Vec::new();
        while let Some(credential) = provider.draw(&tried) {
            let lane = &state.lanes[credential];
            let own = &provider.credentials()[credential].state;
            let settings = gateway.config.circuit_breaker;
            let admitted = own.rest.admit(insist, settings, now).and_then(|key| {
                let quota = lane.quota.admit(insist, settings, now)?;
                let room = lane.room(call, estimate, insist, now)?;
                let quotas = match call.counts_tokens {
                    true => [None, None],
                    false => [provider.quota.as_ref(), provider.credentials()[credential].quota.as_ref()],
                };
                let taken = Taken::from(quotas, estimate.input + estimate.output, gateway.process.nodes(), now)
                    .map_err(|until| Closed { by: ClosedBy::Declared, until: Some(until) })?;
                let (pass, circuit) = lane.admit(insist, now)?;
                Ok((pass, room, taken, key || quota || circuit))
            });
            match admitted {
                // Another request was faster.
                Ok((.., true)) if !state.last_resort.take(now) => return Err(out.unwrap_or(UNKNOWN)),
                Ok((pass, room, taken, _)) => {
                    return Ok(Box::new(Permit {
                        target: target.clone(),
                        provider: index,
                        credential,
                        own: own.clone(),
                        lane: lane.clone(),
                        state: state.clone(),
                        ruled: call.estimate().input,
                        outstanding: state.signals.begin(estimate.input + estimate.output),
                        pass: Some(pass),
                        room,
                        hold: None,
                        taken,
                        sent: false,
                        begun: now,
                        answered: now,
                        _slot: slot,
                    }));
                }
                Err(closed) => out = Some(out.map_or(closed, |sooner| sooner.sooner(closed))),
            }
            tried.push(credential);
        }
        Err(out.unwrap_or(UNKNOWN))
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub fn provider<'a>(&self, gateway: &'a Gateway) -> &'a Provider {
        &gateway.catalog.providers()[self.provider]
    }

    /// The credential's place in its provider.
    pub fn credential(&self) -> usize {
        self.credential
    }

    /// The request is about to be sent.
    pub fn begins(&mut self) -> Instant {
        self.sent = true;
        if let Some(room) = &mut self.room {
            room.begins();
        }
        if let Some(hold) = &mut self.hold {
            hold.provider_asked();
        }
        if let Some(taken) = &mut self.taken {
            taken.begins();
        }
        self.begun = Instant::now();
        self.begun
    }

    pub fn holds(&mut self, hold: Hold) {
        self.hold = Some(Box::new(hold));
    }

    /// The tokens that the answer really had.
    pub fn settle_limits(&mut self, spent: u64, now: Instant) {
        if let Some(hold) = &mut self.hold {
            hold.settle(spent, now);
        }
    }

    /// Its answer is not wanted any more, and not the caller's to pay.
    pub fn lost(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.provider_failed();
        }
    }

    pub fn is_sent(&self) -> bool {
        self.sent
    }

    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// What the answer says of the provider's limits.
    pub fn told(&mut self, quota: UpstreamQuota) {
        if let Some(room) = self.room.take() {
            room.told(quota);
        }
    }

    /// The first content is there. For a probe that is the verdict: others need not wait for the end of the answer. `whole`:
    /// all of the answer is there, with so many tokens.
    pub fn answered(&mut self, whole: Option<u64>, now: Instant) -> Option<Circuit> {
        let (signals, took) = (self.outstanding.signals(), now.saturating_duration_since(self.begun));
        let size = SizeClass::of(self.ruled);
        match whole {
            None => signals.first_token(size, took, now),
            // When its first token was made is not known: when it usually is, or else in the time that each one took.
            Some(tokens) => {
                let first = match signals.first_token_ms(size, now) {
                    Some(ms) => Duration::from_secs_f64(ms / 1e3),
                    None => {
                        let first = took / u32::try_from(tokens.max(1)).unwrap_or(u32::MAX);
                        signals.first_token(size, first, now);
                        first
                    }
                };
                signals.per_token(tokens, took.saturating_sub(first), now);
            }
        }
        self.answered = now;
        self.lane.hear();
        if !self.own.rest.cooldown.ready(now) {
            // It was asked all the same, and is well again.
            self.own.rest.cooldown.clear();
        }
        self.own.rest.went_well();
        self.lane.quota.went_well();
        self.own.tokens.succeeded();
        self.pass.as_mut().and_then(|pass| pass.began(now))
    }

    /// The answer is whole. `told`: its usage is the provider's own word.
    pub fn succeeded(mut self, usage: Option<Usage>, told: bool, now: Instant) -> Option<Circuit> {
        if let Some(usage) = usage {
            let signals = self.outstanding.signals();
            if told {
                signals.prompt(self.ruled, usage.input);
            }
            if let Some(taken) = self.taken.take() {
                taken.settle(usage.input.saturating_add(usage.output).min(TOKENS_PER_REQUEST_MOST), now);
            }
            signals.usage(usage.input, usage.cache_read, usage.output);
            if now > self.answered {
                signals.per_token(usage.output, now - self.answered, now);
            }
        }
        self.pass.take().and_then(|pass| pass.succeeded(now))
    }

    /// Learns from a failure what it says of the credential and of the target.
    pub fn failed(mut self, class: FailureClass, wait: Option<Duration>, now: Instant) -> Option<Circuit> {
        let mut rng = fastrand::Rng::new();
        self.lost();
        let wait = wait.map(|wait| wait.min(LONGEST_WAIT));
        if class == FailureClass::Transport {
            self.room.take().into_iter().for_each(Sent::never_arrived);
            self.taken.take().into_iter().for_each(Taken::never_arrived);
        }
        match class {
            FailureClass::Credential => {
                let wait = |before: u32| (REFUSED * (1 << before.min(8))).min(LONGEST_REFUSED);
                self.own.rest.refused(Reason::Credential, wait, now);
            }
            FailureClass::SpendCap => {
                self.own.rest.refused(Reason::SpendCap, |_| wait.unwrap_or(SPEND_CAP), now);
            }
            FailureClass::Quota => self.lane.quota.refused(Reason::Quota, |_| wait.unwrap_or(QUOTA), now),
            _ => {}
        }
        if Verdict::of(class) == Verdict::HardFailure {
            self.lane.hear();
        }
        if Verdict::of(class) == Verdict::HardFailure || class == FailureClass::Quota {
            let lost = now.saturating_duration_since(self.begun);
            self.outstanding.signals().failed(FAILURE_PENALTY.max(lost).max(wait.unwrap_or_default()), now);
        }
        self.own.tokens.failed(class);
        if class == FailureClass::Overload {
            // The model is overloaded, whoever asks.
            for lane in self.state.lanes.iter().filter(|lane| !Arc::ptr_eq(lane, &self.lane)) {
                if let Ok(pass) = lane.breaker.enter(now) {
                    lane.hear();
                    pass.failed(now, &mut rng);
                }
            }
        }
        self.pass.take().and_then(|pass| pass.failed_with(class, now, &mut rng))
    }

    /// May the same target be asked once more?
    pub fn may_repeat(&self) -> bool {
        self.own.tokens.allow()
    }
}
