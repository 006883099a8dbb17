//! The right to ask one target with one of its provider's credentials, and the duty to tell how it went.
//!
//! Whoever asks a provider holds a [`Permit`]: the breaker has let it through, and breaker, cooldowns, retry tokens and health
//! learn from it exactly once how the attempt ended, also when it is dropped in the middle.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway_core::error::FailureClass;
use gateway_core::target::Target;
use gateway_core::usage::Usage;
use gateway_policy::resilience::breaker::LAST_RESORT_EVERY;
use gateway_policy::resilience::{
    Availability, Breaker, BreakerSettings, Circuit, Cooldown, Pass, Reason, RetryTokens, Verdict, hint,
};
use gateway_policy::routing::signals::{Outstanding, SizeClass};

use crate::call::Size;
use crate::gateway::Gateway;
use crate::providers::catalog::Provider;

/// How long a credential rests that its provider has refused; twice as long each time, up to [`LONGEST_REFUSED`]. Somebody may
/// have mended it, and a refusal may have been a slip of the provider's.
const REFUSED: Duration = Duration::from_secs(30);
const LONGEST_REFUSED: Duration = Duration::from_secs(15 * 60);
/// How long a model rests with a credential whose quota is spent, where the provider does not say it.
const QUOTA: Duration = Duration::from_secs(5);
/// How long a credential rests whose money is spent, where the provider does not say it.
const SPEND_CAP: Duration = Duration::from_secs(300);
/// What a failure adds for a while to the time that its target is expected to take: failing fast is no way to be preferred.
const PENALTY: Duration = Duration::from_secs(5);
/// A longer wait that a provider asks for is tried again after this one.
const LONGEST_WAIT: Duration = hint::LONGEST_REST;

/// How one credential fares, whatever the model.
#[derive(Debug)]
pub struct CredentialState {
    pub cooldown: Cooldown,
    tokens: RetryTokens,
    /// Times in a row that the provider refused it.
    refusals: AtomicU32,
    /// When it was last used although it rests.
    last_resort: Mutex<Option<Instant>>,
}

impl CredentialState {
    pub fn new(now: Instant) -> Self {
        CredentialState {
            cooldown: Cooldown::new(now),
            tokens: RetryTokens::default(),
            refusals: AtomicU32::new(0),
            last_resort: Mutex::new(None),
        }
    }

    /// A credential that rests is used once a second all the same if there is nothing else.
    fn admit(&self, last: bool, now: Instant) -> Result<(), Closed> {
        let closed = match rest(&self.cooldown, now) {
            Err(closed) if last => closed,
            result => return result,
        };
        // Nothing panics while it holds this lock.
        let Ok(mut latest) = self.last_resort.lock() else { return Err(closed) };
        if latest.is_some_and(|latest| now < latest + LAST_RESORT_EVERY) {
            return Err(closed);
        }
        *latest = Some(now);
        Ok(())
    }

    fn refused(&self, now: Instant, rng: &mut fastrand::Rng) {
        let times = self.refusals.fetch_add(1, Ordering::Relaxed);
        self.cooldown.rest(Reason::Credential, (REFUSED * (1 << times.min(8))).min(LONGEST_REFUSED), now, rng);
    }

    fn went_well(&self) {
        if self.refusals.load(Ordering::Relaxed) != 0 {
            self.refusals.store(0, Ordering::Relaxed);
            // It rested, and was used all the same.
            self.cooldown.clear();
        }
    }
}

/// How one model fares with one credential.
#[derive(Debug)]
pub struct Lane {
    pub breaker: Arc<Breaker>,
    /// Providers count requests and tokens for each model.
    pub quota: Cooldown,
}

impl Lane {
    pub fn new(settings: BreakerSettings, now: Instant) -> Self {
        Lane { breaker: Arc::new(Breaker::new(settings, now)), quota: Cooldown::new(now) }
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
    /// It failed too often.
    Circuit(Circuit),
    /// Its credentials rest.
    Resting(Reason),
    /// It has as many requests as it may have at a time.
    Full,
    /// Its provider is not configured.
    Unknown,
}

impl fmt::Display for ClosedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClosedBy::Circuit(Circuit::HalfOpen) => "its circuit is half-open, and the probe that decides is under way",
            ClosedBy::Circuit(_) => "its circuit is open after too many failures",
            ClosedBy::Resting(Reason::Quota) => "the provider asked to be left alone after a 429",
            ClosedBy::Resting(Reason::SpendCap) => "the money of its credential is spent",
            ClosedBy::Resting(Reason::Credential) => "the provider refused the gateway's credential",
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

/// See the module.
#[derive(Debug)]
pub struct Permit {
    target: Target,
    /// In the catalog.
    provider: usize,
    /// In the provider.
    credential: usize,
    own: Arc<CredentialState>,
    lane: Arc<Lane>,
    size: SizeClass,
    /// Counted while the attempt runs.
    outstanding: Outstanding,
    pass: Option<Pass>,
    begun: Instant,
    answered: Instant,
}

impl Permit {
    /// Asks for the right to ask `target` now, for a request of about this `size`. `last`: nobody else can be asked, so that what is closed lets an attempt
    /// through once a second.
    pub fn ask(gateway: &Gateway, target: &Target, size: Size, last: bool, now: Instant) -> Result<Permit, Closed> {
        let unknown = Closed { by: ClosedBy::Unknown, until: None };
        let Some(index) = gateway.catalog.index(&target.provider) else { return Err(unknown) };
        let provider = &gateway.catalog.providers()[index];
        let state = provider.state(&target.model);
        let mut out: Option<Closed> = None;
        let mut tried = Vec::new();
        while let Some(credential) = provider.draw(&tried) {
            let lane = &state.lanes[credential];
            let own = &provider.credentials()[credential].state;
            let pass = own.admit(last, now).and_then(|()| rest(&lane.quota, now)).and_then(|()| {
                let entered = if last { lane.breaker.enter_last(now) } else { lane.breaker.enter(now) };
                entered
                    .map_err(|refused| Closed { by: ClosedBy::Circuit(refused.circuit), until: Some(refused.retry_at) })
            });
            match pass {
                Ok(pass) => {
                    return Ok(Permit {
                        target: target.clone(),
                        provider: index,
                        credential,
                        own: own.clone(),
                        lane: lane.clone(),
                        size: SizeClass::of(size.input),
                        outstanding: state.signals.begin(size.input + size.output),
                        pass: Some(pass),
                        begun: now,
                        answered: now,
                    });
                }
                Err(closed) => out = Some(out.map_or(closed, |sooner| sooner.sooner(closed))),
            }
            tried.push(credential);
        }
        Err(out.unwrap_or(unknown))
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
        self.begun = Instant::now();
        self.begun
    }

    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// The first content is there. For a probe that is the verdict: others need not wait for the end of the answer. `whole`:
    /// all of the answer is there, with so many tokens.
    pub fn answered(&mut self, whole: Option<u64>, now: Instant) -> Option<Circuit> {
        let (signals, took) = (self.outstanding.signals(), now.saturating_duration_since(self.begun));
        match whole {
            None => signals.first_token(self.size, took, now),
            // When its tokens were made is not known: as if one had been like the other.
            Some(tokens) => {
                let first = took / u32::try_from(tokens.max(1)).unwrap_or(u32::MAX);
                signals.first_token(self.size, first, now);
                signals.per_token(tokens, took - first, now);
            }
        }
        self.answered = now;
        self.own.went_well();
        self.pass.as_mut().and_then(|pass| pass.began(now))
    }

    /// The answer is whole.
    pub fn succeeded(mut self, usage: Option<Usage>, now: Instant) -> Option<Circuit> {
        if let Some(usage) = usage {
            let signals = self.outstanding.signals();
            signals.usage(usage.input, usage.cache_read, usage.output);
            if now > self.answered {
                signals.per_token(usage.output, now - self.answered, now);
            }
        }
        self.own.tokens.succeeded();
        self.pass.take().and_then(|pass| pass.succeeded(now))
    }

    /// Learns from a failure what it says of the credential and of the target.
    pub fn failed(mut self, class: FailureClass, wait: Option<Duration>, now: Instant) -> Option<Circuit> {
        let mut rng = fastrand::Rng::new();
        let wait = wait.map(|wait| wait.min(LONGEST_WAIT));
        match class {
            FailureClass::Credential => self.own.refused(now, &mut rng),
            FailureClass::SpendCap => {
                self.own.cooldown.rest(Reason::SpendCap, wait.unwrap_or(SPEND_CAP), now, &mut rng);
            }
            FailureClass::Quota => self.lane.quota.rest(Reason::Quota, wait.unwrap_or(QUOTA), now, &mut rng),
            _ => {}
        }
        if Verdict::of(class) == Verdict::HardFailure || class == FailureClass::Quota {
            self.outstanding.signals().failed(wait.unwrap_or_default().max(PENALTY), now);
        }
        self.own.tokens.failed(class);
        self.pass.take().and_then(|pass| pass.failed_with(class, now, &mut rng))
    }

    /// May the same target be asked once more?
    pub fn may_repeat(&self) -> bool {
        self.own.tokens.allow()
    }
}

/// Whether a cooldown is over.
fn rest(cooldown: &Cooldown, now: Instant) -> Result<(), Closed> {
    match cooldown.state(now) {
        Availability::Ready => Ok(()),
        Availability::Resting { until, reason } => Err(Closed { by: ClosedBy::Resting(reason), until: Some(until) }),
        Availability::Out { reason } => Err(Closed { by: ClosedBy::Resting(reason), until: None }),
    }
}
