//! From a plan to an answer: which target is asked next, with which credential, after which wait, and when to stop.
//!
//! Every request has one budget of attempts (`retry.max_attempts`) for everything: other credentials, other targets, repeats,
//! hedges. What a failure means is a row of [`FailureClass`]; what follows from it is decided by [`Course`], and nowhere else.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use gateway_core::dialect::Dialect;
use gateway_core::error::{ErrorKind, FailureClass, GatewayError};
use gateway_core::target::Target;
use gateway_policy::resilience::Reason;
use gateway_policy::routing::RoutePlan;
use serde_json::json;

use crate::attempt::{self, Failure, Good, Notes};
use crate::call::SharedCall;
use crate::estimate;
use crate::gateway::Gateway;
use crate::providers::permit::{Closed, ClosedBy, Permit};
use crate::settle::Settle;
use crate::steps::{Stop, Wait};

/// A provider's wish to be left alone for so long is granted within the request, if nobody else can be asked.
const SHORT_WAIT: Duration = Duration::from_secs(2);

/// Asks the targets of a plan until one answers, the budget is spent, or the request itself is at fault.
pub async fn run(
    gateway: Arc<Gateway>,
    call: SharedCall,
    plan: Arc<RoutePlan>,
    mut settle: Settle,
) -> (Result<Good, Failure>, Settle) {
    let result = {
        let mut tries = pin!(tries(&gateway, &call, &plan, &mut settle));
        // When the gateway closes, every connection is polled once more, and with it what it waits for.
        poll_fn(|cx| match tries.as_mut().poll(cx) {
            Poll::Pending if gateway.is_closing() => Poll::Ready(Err(Failure::closing())),
            polled => polled,
        })
        .await
    };
    (result, settle)
}

async fn tries(
    gateway: &Arc<Gateway>,
    call: &SharedCall,
    plan: &RoutePlan,
    settle: &mut Settle,
) -> Result<Good, Failure> {
    let mut course = Course::new(gateway, call, plan);
    loop {
        let (mut permit, wait) = course.next(settle)?;
        if let Some((length, why)) = wait {
            settle.pause(length, why).await;
        }
        if call.counts_tokens && Dialect::from(permit.target().dialect) != call.dialect {
            // No provider is asked.
            return estimate::count_tokens(call, permit.target(), settle).map(Good::Whole);
        }
        let mut notes = Notes::default();
        let prepared = match attempt::prepare(gateway, call, &permit, &mut notes) {
            Ok(prepared) => prepared,
            Err(failure) => {
                settle.attempt_failed(permit, notes, &failure);
                settle.stopped(Stop::RequestAtFault);
                return Err(failure);
            }
        };
        course.asks(&permit);
        settle.attempt_begins(&mut permit);
        match attempt::one(gateway, call, &permit, prepared, &mut notes).await {
            Ok(good) => {
                settle.attempt_succeeded(permit, notes);
                return Ok(good);
            }
            Err(failure) => {
                let failure = failure.without_keys(gateway);
                settle.attempt_failed(permit, notes, &failure);
                course.failed(failure);
            }
        }
    }
}

/// Where a request has got to on its way through its plan.
struct Course<'a> {
    gateway: &'a Gateway,
    call: &'a SharedCall,
    /// Targets that have not had their turn.
    ahead: VecDeque<&'a Target>,
    plan: &'a RoutePlan,
    /// The target that is being asked.
    at: Option<&'a Target>,
    /// The target that was asked last, and how that failed.
    behind: Option<(&'a Target, Failure)>,
    /// That target has been asked a second time.
    repeated: bool,
    attempts: u32,
    /// The targets ahead are those for requests that are too long or unwanted.
    turned: bool,
    /// Targets that could not be asked when their turn came.
    closed: Vec<(&'a Target, Closed)>,
}

impl<'a> Course<'a> {
    fn new(gateway: &'a Gateway, call: &'a SharedCall, plan: &'a RoutePlan) -> Self {
        Course {
            gateway,
            call,
            ahead: plan.targets.iter().map(|planned| &planned.target).collect(),
            plan,
            at: None,
            behind: None,
            repeated: false,
            attempts: 0,
            turned: false,
            closed: Vec::new(),
        }
    }

    /// An attempt begins.
    fn asks(&mut self, permit: &Permit) {
        self.attempts += 1;
        let lists = [&self.plan.targets, &self.plan.on_context_overflow, &self.plan.on_content_filter];
        let planned = lists.into_iter().flatten().map(|planned| &planned.target);
        self.at = planned.into_iter().find(|target| *target == permit.target());
    }

    fn failed(&mut self, failure: Failure) {
        self.behind = self.at.map(|target| (target, failure));
    }

    /// Who is asked next, and after which wait. Fails with what the client is told.
    fn next(&mut self, settle: &mut Settle) -> Result<(Permit, Option<(Duration, Wait)>), Failure> {
        let now = Instant::now();
        let Some((target, failure)) = self.behind.take() else {
            return match self.advance(settle, now) {
                Some(permit) => Ok((permit, None)),
                None => self.last_resort(settle, now).map(|permit| (permit, None)),
            };
        };
        let class = failure.class();
        self.turn_to_others(&failure);
        if let Some(stop) = self.stop(&failure, now) {
            settle.stopped(stop);
            return Err(failure);
        }
        if class.other_credential()
            && let Ok(permit) = self.enter(target, false, now)
        {
            return Ok((permit, None));
        }
        if let Some(permit) = self.advance(settle, now) {
            return Ok((permit, None));
        }
        match self.repeat(target, &failure, now) {
            Ok((permit, length, why)) => Ok((permit, Some((length, why)))),
            Err(stop) => {
                settle.stopped(stop);
                Err(failure)
            }
        }
    }

    /// A request that is too long for a target, or that it does not want to speak of, has targets of its own.
    fn turn_to_others(&mut self, failure: &Failure) {
        let Some(told) = failure.told() else { return };
        let others = if told.is_context_overflow() {
            &self.plan.on_context_overflow
        } else if told.is_content_refusal() {
            &self.plan.on_content_filter
        } else {
            return;
        };
        if !self.turned {
            self.turned = true;
            self.ahead = others.iter().map(|planned| &planned.target).collect();
        }
    }

    /// Why a failure is the last word, whoever else there is.
    fn stop(&self, failure: &Failure, now: Instant) -> Option<Stop> {
        let most = self.gateway.config.retry.max_attempts;
        let whole = (!self.call.stream).then_some(self.gateway.config.timeouts.request);
        if !failure.class().other_target() && !(self.turned && !self.ahead.is_empty()) {
            Some(Stop::RequestAtFault)
        } else if self.call.timeout.or(whole).is_some_and(|timeout| now >= self.call.started + timeout) {
            Some(Stop::OutOfTime)
        } else {
            (self.attempts >= most).then_some(Stop::AttemptsSpent { most })
        }
    }

    /// The next target in the order of the plan that can be asked now.
    fn advance(&mut self, settle: &mut Settle, now: Instant) -> Option<Permit> {
        while let Some(target) = self.ahead.pop_front() {
            match self.enter(target, false, now) {
                Ok(permit) => {
                    self.repeated = false;
                    return Some(permit);
                }
                Err(closed) => {
                    settle.skipped(target, closed.by.to_string(), closed.until.map(|until| until - now));
                    self.closed.push((target, closed));
                }
            }
        }
        None
    }

    fn enter(&self, target: &'a Target, last: bool, now: Instant) -> Result<Permit, Closed> {
        Permit::ask(self.gateway, target, self.call.size(), last, now)
    }

    /// Nobody else can be asked: the same target once more, after a wait, where its failure and its retry tokens allow it.
    fn repeat(
        &mut self,
        target: &'a Target,
        failure: &Failure,
        now: Instant,
    ) -> Result<(Permit, Duration, Wait), Stop> {
        let class = failure.class();
        let asked = failure.wait().filter(|&wait| class == FailureClass::Quota && wait <= SHORT_WAIT);
        if self.repeated || !(class.same_target() || asked.is_some()) {
            return Err(Stop::NoTargetLeft);
        }
        self.repeated = true;
        // After the wait that it asked for it may be asked, whatever its cooldown adds to that.
        let then = now + asked.unwrap_or_default().mul_f64(1.2);
        let permit = self.enter(target, false, then).map_err(|_| Stop::NoTargetLeft)?;
        if !permit.may_repeat() {
            return Err(Stop::RetriesSpent);
        }
        let retry = self.gateway.config.retry;
        Ok(match asked {
            Some(wait) => (permit, wait, Wait::Asked),
            None => (permit, retry.backoff.delay(self.attempts, &mut fastrand::Rng::new()), Wait::Backoff),
        })
    }

    /// No target can be asked: the one that can be soonest gets an attempt a second all the same, unless its provider has asked
    /// to be left alone.
    fn last_resort(&mut self, settle: &mut Settle, now: Instant) -> Result<Permit, Failure> {
        let mut closed = std::mem::take(&mut self.closed);
        closed.sort_by_key(|(_, closed)| closed.until.unwrap_or(now + Duration::from_secs(86_400)));
        for (target, by) in &closed {
            if matches!(by.by, ClosedBy::Circuit(_) | ClosedBy::Resting(Reason::Credential | Reason::SpendCap))
                && let Ok(permit) = self.enter(target, true, now)
            {
                return Ok(permit);
            }
        }
        settle.stopped(Stop::AllClosed);
        Err(all_closed(&closed, now))
    }
}

/// What a client is told when no target can be asked.
fn all_closed(closed: &[(&Target, Closed)], now: Instant) -> Failure {
    let Some((first, soonest)) = closed.first() else {
        let error = GatewayError::new(ErrorKind::NoProvider, "no provider can take this request");
        return Failure::Gateway { class: FailureClass::Transport, error };
    };
    let wait = soonest.until.map(|until| until.saturating_duration_since(now));
    let quota = closed.iter().all(|(_, closed)| closed.by == ClosedBy::Resting(Reason::Quota));
    let (kind, class) = match quota {
        true => (ErrorKind::RateLimitExceeded, FailureClass::Quota),
        false => (ErrorKind::CircuitOpen, FailureClass::Overload),
    };
    let mut error = GatewayError::new(
        kind,
        match closed {
            [_] => format!("{first} cannot be asked now: {}", soonest.by),
            _ => format!("none of {} targets can be asked now; soonest {first}: {}", closed.len(), soonest.by),
        },
    );
    let skipped: Vec<_> = closed
        .iter()
        .map(|(target, closed)| {
            let seconds = closed.until.map(|until| until.saturating_duration_since(now).as_secs_f64());
            json!({"target": target.to_string(), "reason": closed.by.to_string(), "for_seconds": seconds})
        })
        .collect();
    error = error.detail("skipped", skipped);
    if let Some(wait) = wait {
        error = error.retry_after(wait);
    }
    Failure::Gateway { class, error }
}
