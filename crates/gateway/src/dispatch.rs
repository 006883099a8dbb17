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
use gateway_core::limits::RETRY_AFTER_CLIENT;
use gateway_core::target::Target;
use gateway_core::usage::{NanoUsd, Usage};
use gateway_policy::resilience::{Circuit, Extra, ExtraPermit, Reason, hedge};
use gateway_policy::routing::{RoutePlan, SkipReason};
use gateway_policy::tokens::Estimate;
use serde_json::json;

use crate::admission::Shed;
use crate::attempt::{self, Failure, Good, Notes, Prepared};
use crate::call::SharedCall;
use crate::estimate;
use crate::gateway::Gateway;
use crate::limits;
use crate::providers::permit::{Closed, ClosedBy, Insist, Permit};
use crate::settle::{Outcome, Settle};
use crate::steps::{Stop, Wait};

/// A provider's wish to be left alone for so long is granted within the request, if nobody else can be asked.
const SHORT_WAIT: Duration = Duration::from_secs(2);

/// Asks the targets of a plan until one answers, the budget is spent, or the request itself is at fault.
pub async fn run(
    gateway: Arc<Gateway>,
    call: SharedCall,
    plan: Arc<RoutePlan>,
    mut settle: Box<Settle>,
) -> (Result<Good, Failure>, Box<Settle>) {
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
        let mut permit = match course.next(settle).await {
            Ok(Next::Ask(permit)) => permit,
            Ok(Next::Repeat(length, why)) => {
                settle.pause(length, why).await;
                course.again(settle).await?
            }
            Ok(Next::Await(length)) => {
                settle.pause(length, Wait::Quota).await;
                continue;
            }
            Err(failure) => course.wait_for_place(settle).await.ok_or(failure)?,
        };
        if call.counts_tokens && Dialect::from(permit.target().dialect) != call.dialect {
            // No provider is asked.
            return estimate::count_tokens(call, permit.target(), settle).map(Good::Whole);
        }
        let mut notes = Notes::default();
        let prepared = match attempt::prepare(gateway, call, &permit, &mut notes) {
            Ok(prepared) => prepared,
            Err(failure) => {
                settle.attempt_failed(permit, notes, &failure, Instant::now());
                settle.stopped(Stop::RequestAtFault);
                return Err(failure);
            }
        };
        course.asks(&permit);
        settle.attempt_begins(&mut permit);
        let mut first = Asked { permit, notes };
        let result = match course.patience(&first.permit) {
            None => {
                let Asked { permit, notes } = &mut first;
                let result = attempt::one(gateway, call, permit, &prepared, notes, Some(&mut *settle)).await;
                first.conclude(gateway, result, None, settle)
            }
            // Larger by far, and rare.
            Some(patience) => Box::pin(hedged(gateway, call, first, &prepared, patience, &mut course, settle)).await,
        };
        match result {
            Ok(good) => return Ok(good),
            Err(failure) => course.failed(failure),
        }
    }
}

/// An attempt under way.
struct Asked {
    permit: Box<Permit>,
    notes: Notes,
}

impl Asked {
    /// Tells everybody concerned how it went, and when it ended, if not just now.
    fn conclude(
        self,
        gateway: &Gateway,
        result: Result<Good, Failure>,
        ended: Option<Instant>,
        settle: &mut Settle,
    ) -> Result<Good, Failure> {
        match result {
            Ok(good) => {
                settle.attempt_succeeded(self.permit, self.notes);
                Ok(good)
            }
            Err(failure) => {
                let failure = failure.without_keys(gateway);
                settle.attempt_failed(self.permit, self.notes, &failure, ended.unwrap_or_else(Instant::now));
                Err(failure)
            }
        }
    }
}

/// Asks a second target if the first has not begun to answer after `patience`. The first good answer is taken and the other
/// attempt ended, which closes its connection. One that fails only ends itself: an error is no answer, however fast it is.
async fn hedged(
    gateway: &Arc<Gateway>,
    call: &SharedCall,
    mut first: Asked,
    prepared: &Prepared,
    patience: Duration,
    course: &mut Course<'_>,
    settle: &mut Settle,
) -> Result<Good, Failure> {
    let mut second = None;
    let (mut of_first, mut of_second) = (None, None);
    {
        let mut one = pin!(attempt::one(gateway, call, &first.permit, prepared, &mut first.notes, None));
        match tokio::time::timeout(patience, one.as_mut()).await {
            Ok(result) => of_first = ended(result),
            Err(_) => match course.hedge(settle).await {
                None => {
                    settle.show();
                    of_first = ended(one.await);
                }
                Some((asked, prepared, _budget)) => {
                    let asked: &mut Asked = second.insert(asked);
                    let mut other = pin!(attempt::one(gateway, call, &asked.permit, &prepared, &mut asked.notes, None));
                    poll_fn(|cx| {
                        if of_first.is_none()
                            && let Poll::Ready(result) = one.as_mut().poll(cx)
                        {
                            of_first = ended(result);
                        }
                        if of_second.is_none()
                            && !is_good(&of_first)
                            && let Poll::Ready(result) = other.as_mut().poll(cx)
                        {
                            of_second = ended(result);
                        }
                        let good = is_good(&of_first) || is_good(&of_second);
                        if good || (of_first.is_some() && of_second.is_some()) {
                            Poll::Ready(())
                        } else {
                            Poll::Pending
                        }
                    })
                    .await;
                }
            },
        }
    }
    settle.upstream_done();
    // What failed or lost is told first: what is told last has the last word in the account.
    let mut ends = vec![(first, of_first)];
    ends.extend(second.map(|second| (second, of_second)));
    ends.sort_by_key(|(_, end)| is_good(end));
    let mut last = Err(Failure::closing());
    for (asked, end) in ends {
        match end {
            Some((result, at)) => last = asked.conclude(gateway, result, Some(at), settle),
            None => settle.attempt_lost(asked.permit),
        }
    }
    last
}

/// How an attempt ended, and when; `None`: it did not.
type End = Option<(Result<Good, Failure>, Instant)>;

fn ended(result: Result<Good, Failure>) -> End {
    Some((result, Instant::now()))
}

fn is_good(end: &End) -> bool {
    matches!(end, Some((Ok(_), _)))
}

/// What is done next.
enum Next {
    Ask(Box<Permit>),
    /// The same target is asked once more, after a wait.
    Repeat(Duration, Wait),
    /// A target for which there will be room in its provider's limits.
    Await(Duration),
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
    /// The targets ahead are those for requests that are too long, or have been.
    too_long: bool,
    /// The same for those that targets do not want to speak of.
    unwanted: bool,
    /// Of a repeat, while it runs.
    extra: Option<ExtraPermit>,
    /// It has waited for room in a provider's limits.
    waited_for_room: bool,
    /// Targets that could not be asked when their turn came.
    closed: Vec<(&'a Target, Closed)>,
    /// The first of them that had as many requests as it may, if no other could be asked either.
    full: Option<&'a Target>,
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
            // It was found too long for others beforehand: those that are left have room, as far as anybody knows.
            too_long: plan.on_context_overflow.is_empty()
                && plan.skipped.iter().any(|skipped| matches!(skipped.reason, SkipReason::TooLong { .. })),
            unwanted: false,
            extra: None,
            waited_for_room: false,
            closed: Vec::new(),
            full: None,
        }
    }

    /// An attempt begins.
    fn asks(&mut self, permit: &Permit) {
        self.attempts += 1;
        self.at = self.planned(permit.target());
    }

    /// The same target, where the plan has it.
    fn planned(&self, target: &Target) -> Option<&'a Target> {
        let lists = [&self.plan.targets, &self.plan.on_context_overflow, &self.plan.on_content_filter];
        lists.into_iter().flatten().map(|planned| &planned.target).find(|known| *known == target)
    }

    fn failed(&mut self, failure: Failure) {
        self.extra = None;
        self.behind = self.at.map(|target| (target, failure));
    }

    /// Who is asked next. Fails with what the client is told.
    async fn next(&mut self, settle: &mut Settle) -> Result<Next, Failure> {
        let now = Instant::now();
        let Some((target, failure)) = self.behind.take() else {
            return match self.advance(settle, now).await {
                Some(permit) => Ok(Next::Ask(permit)),
                None => self.last_resort(settle, now).await,
            };
        };
        let class = failure.class();
        let others = self.turn_to_others(&failure);
        if let Some(stop) = self.stop(&failure, others, now) {
            settle.stopped(stop);
            return Err(failure);
        }
        if class.other_credential()
            && let Ok(permit) = self.enter(target, Insist::Not, settle, now).await
        {
            return Ok(Next::Ask(permit));
        }
        if let Some(permit) = self.advance(settle, now).await {
            return Ok(Next::Ask(permit));
        }
        match self.repeat(target, &failure, now) {
            Ok((length, why)) => {
                self.behind = Some((target, failure));
                Ok(Next::Repeat(length, why))
            }
            Err(stop) => {
                settle.stopped(stop);
                Err(failure)
            }
        }
    }

    /// A request that is too long for a target, or that it does not want to speak of, has targets of its own. True: there are
    /// some ahead.
    fn turn_to_others(&mut self, failure: &Failure) -> bool {
        let Some(told) = failure.told() else { return false };
        let (others, turned) = if told.is_context_overflow() {
            (&self.plan.on_context_overflow, &mut self.too_long)
        } else if told.is_content_refusal() {
            (&self.plan.on_content_filter, &mut self.unwanted)
        } else {
            return false;
        };
        if !std::mem::replace(turned, true) {
            self.ahead = others.iter().map(|planned| &planned.target).collect();
        }
        !self.ahead.is_empty()
    }

    /// Until when the request must have its answer, or a stream its first content.
    fn deadline(&self) -> Option<Instant> {
        let whole = (!self.call.stream).then_some(self.gateway.config.timeouts.request);
        self.call.timeout.or(whole).map(|timeout| self.call.started + timeout)
    }

    /// Why a failure is the last word, whoever else there is. `others`: there are targets for requests that fail so.
    fn stop(&self, failure: &Failure, others: bool, now: Instant) -> Option<Stop> {
        let most = self.gateway.config.retry.max_attempts;
        if failure.outcome() == Outcome::Shed {
            Some(Stop::Shed)
        } else if !(failure.class().other_target() || others) {
            Some(Stop::RequestAtFault)
        } else if self.deadline().is_some_and(|deadline| now >= deadline) {
            Some(Stop::OutOfTime)
        } else {
            (self.attempts >= most).then_some(Stop::AttemptsSpent { most })
        }
    }

    /// The next target in the order of the plan that can be asked now.
    async fn advance(&mut self, settle: &mut Settle, now: Instant) -> Option<Box<Permit>> {
        while let Some(target) = self.ahead.pop_front() {
            match self.enter(target, Insist::Not, settle, now).await {
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

    /// The right to ask `target`: of its provider's and of its caller's.
    async fn enter(
        &self,
        target: &'a Target,
        insist: Insist,
        settle: &Settle,
        now: Instant,
    ) -> Result<Box<Permit>, Closed> {
        let permit = Permit::ask(self.gateway, target, self.call, insist, now)?;
        self.take_limits(permit, settle).await
    }

    /// What the caller may have of this provider is taken when it is asked, and given back when it fails.
    async fn take_limits(&self, mut permit: Box<Permit>, settle: &Settle) -> Result<Box<Permit>, Closed> {
        let Some(record) = settle.record() else { return Ok(permit) };
        let provider = &permit.target().provider;
        let ask = limits::ask_of_provider(self.gateway, &record.caller, provider, settle.reserved());
        if ask.levels.is_empty() {
            return Ok(permit);
        }
        let process = &self.gateway.process;
        // Few callers have such limits.
        match Box::pin(process.limiter.take(ask)).await {
            Ok((hold, _)) => {
                permit.holds(hold);
                Ok(permit)
            }
            Err(refused) => {
                process.metrics.limited(&refused);
                Err(Closed { by: ClosedBy::Limited(refused.what), until: Some(Instant::now() + refused.wait) })
            }
        }
    }

    /// Nobody else can be asked: how long to wait for the same target, where its failure and its retry tokens allow that it is
    /// asked once more. The right to ask it is not held meanwhile: it may be the only probe of its circuit.
    fn repeat(&mut self, target: &'a Target, failure: &Failure, now: Instant) -> Result<(Duration, Wait), Stop> {
        let class = failure.class();
        let asked = failure.wait().filter(|&wait| class == FailureClass::Quota && wait <= SHORT_WAIT);
        if self.repeated || !(class.same_target() || asked.is_some()) {
            return Err(Stop::NoTargetLeft);
        }
        self.repeated = true;
        let permit =
            Permit::ask(self.gateway, target, self.call, Insist::OnResting, now).map_err(|_| Stop::NoTargetLeft)?;
        if !permit.may_repeat() {
            return Err(Stop::RetriesSpent);
        }
        drop(permit);
        let (length, why) = match asked {
            Some(wait) => (wait, Wait::Asked),
            None => {
                let backoff = self.gateway.config.retry.backoff;
                (backoff.delay(self.attempts, &mut fastrand::Rng::new()), Wait::Backoff)
            }
        };
        if self.deadline().is_some_and(|deadline| now + length >= deadline) {
            return Err(Stop::OutOfTime);
        }
        self.extra = self.budget(target, Extra::Retry);
        if self.extra.is_none() { Err(Stop::RetriesSpent) } else { Ok((length, why)) }
    }

    /// The same target once more, after the wait. Much may have happened to it meanwhile.
    async fn again(&mut self, settle: &mut Settle) -> Result<Box<Permit>, Failure> {
        let Some((target, failure)) = self.behind.take() else { return Err(Failure::closing()) };
        // Its cooldown may last a little longer than the wait that it asked for.
        let stop = match self.enter(target, Insist::OnResting, settle, Instant::now()).await {
            Ok(permit) if permit.may_repeat() => return Ok(permit),
            Ok(_) => Stop::RetriesSpent,
            Err(_) => Stop::NoTargetLeft,
        };
        settle.stopped(stop);
        Err(failure)
    }

    /// The right to make an attempt more than the request needs.
    fn budget(&self, target: &Target, extra: Extra) -> Option<ExtraPermit> {
        let provider = self.gateway.catalog.provider(&target.provider)?;
        let price = self.gateway.catalog.facts(provider, &target.model).price;
        let Estimate { input, output } = self.gateway.catalog.estimate(target, self.call);
        let usage = Usage { input, output, ..Usage::default() };
        let cost = price.map_or(NanoUsd(0), |price| price.cost(&usage).total());
        self.gateway.process.extra.permit(extra, cost, Instant::now())
    }

    /// How long the first content may take before a second target is asked; `None`: nobody else is.
    fn patience(&self, permit: &Permit) -> Option<Duration> {
        let may = self.plan.hedge && !self.ahead.is_empty() && self.attempts < self.gateway.config.retry.max_attempts;
        may.then(|| hedge::delay(&permit.provider(self.gateway).health, Instant::now())).flatten()
    }

    /// The second attempt, if there is a target and money for it.
    async fn hedge(&mut self, settle: &mut Settle) -> Option<(Asked, Prepared, ExtraPermit)> {
        let mut permit = self.advance(settle, Instant::now()).await?;
        let mut notes = Notes::default();
        let prepared = attempt::prepare(self.gateway, self.call, &permit, &mut notes).ok();
        let budget = prepared.as_ref().and_then(|_| self.budget(permit.target(), Extra::Hedge));
        let (Some(prepared), Some(budget)) = (prepared, budget) else {
            // It may still be asked after a failure.
            if let Some(target) = self.planned(permit.target()) {
                self.ahead.push_front(target);
            }
            return None;
        };
        self.asks(&permit);
        settle.hedge_begins(&mut permit);
        Some((Asked { permit, notes }, prepared, budget))
    }

    /// No target can be asked. Those that were only spared for the others are asked, as they would be alone; one that will soon
    /// have room in its limits is waited for; then those that rest are asked, as long as they have not refused often: see
    /// [`crate::providers::permit::Rest`]. Else the one that can be soonest gets an attempt a second.
    async fn last_resort(&mut self, settle: &mut Settle, now: Instant) -> Result<Next, Failure> {
        let mut closed = std::mem::take(&mut self.closed);
        closed.sort_by_key(|(_, closed)| closed.until.unwrap_or(now + Duration::from_secs(86_400)));
        let spared = closed.iter().filter(|(_, closed)| closed.by == ClosedBy::Circuit(Circuit::Closed));
        for (target, _) in spared {
            if let Ok(permit) = self.enter(target, Insist::OnResting, settle, now).await {
                return Ok(Next::Ask(permit));
            }
        }
        if let Some(length) = self.room_soon(&closed, now) {
            return Ok(Next::Await(length));
        }
        let rests = closed.iter().filter(|(_, closed)| matches!(closed.by, ClosedBy::Resting(_) | ClosedBy::Quota));
        let soonest =
            closed.iter().find(|(_, closed)| matches!(closed.by, ClosedBy::Circuit(_) | ClosedBy::Resting(_)));
        let doors = rests.map(|at| (at, Insist::OnResting)).chain(soonest.map(|at| (at, Insist::OnAll)));
        for ((target, _), insist) in doors {
            if let Ok(permit) = self.enter(target, insist, settle, now).await {
                return Ok(Next::Ask(permit));
            }
        }
        self.full = closed.iter().find(|(_, closed)| closed.by == ClosedBy::Full).map(|(target, _)| *target);
        if self.full.is_none() {
            settle.stopped(Stop::AllClosed);
        }
        Err(all_closed(&closed, now))
    }

    /// How long to wait for room in the limits of the target that has it first, where that is not long. Once for a request:
    /// others may be faster.
    fn room_soon(&mut self, closed: &[(&'a Target, Closed)], now: Instant) -> Option<Duration> {
        let (target, until) = closed.iter().find_map(|(target, closed)| match closed {
            Closed { by: ClosedBy::Quota | ClosedBy::Declared, until: Some(until) } => Some((*target, *until)),
            _ => None,
        })?;
        let length = until.saturating_duration_since(now);
        let in_time = length <= SHORT_WAIT && self.deadline().is_none_or(|deadline| until < deadline);
        if !in_time || std::mem::replace(&mut self.waited_for_room, true) {
            return None;
        }
        self.ahead.push_back(target);
        Some(length)
    }

    /// Waits for a place at the target that has as many requests as it may, where nobody else can be asked.
    async fn wait_for_place(&mut self, settle: &mut Settle) -> Option<Box<Permit>> {
        let target = self.full.take()?;
        let deadline = self.call.started + self.call.timeout.unwrap_or(self.gateway.config.timeouts.request);
        match Permit::ask_in_turn(self.gateway, target, self.call, deadline).await {
            Ok(permit) => self.take_limits(permit, settle).await.ok(),
            Err(_) => {
                self.gateway.process.metrics.shed(Shed::Provider.name());
                settle.stopped(Stop::Shed);
                None
            }
        }
    }
}

/// What a client is told when no target can be asked.
fn all_closed(closed: &[(&Target, Closed)], now: Instant) -> Failure {
    if closed.iter().any(|(_, closed)| closed.by == ClosedBy::Full) {
        // A place becomes free sooner than any circuit closes.
        return Failure::Gateway { class: FailureClass::ClientFault, error: Shed::Provider.error() };
    }
    let Some((first, soonest)) = closed.first() else {
        let error = GatewayError::new(ErrorKind::NoProvider, "no provider can take this request");
        return Failure::Gateway { class: FailureClass::Transport, error };
    };
    let wait = soonest.until.map(|until| until.saturating_duration_since(now));
    let all = |by: fn(ClosedBy) -> bool| closed.iter().all(|(_, closed)| by(closed.by));
    let (kind, class) = if all(|by| matches!(by, ClosedBy::Limited(_))) {
        (ErrorKind::RateLimitExceeded, FailureClass::ClientFault)
    } else if all(|by| matches!(by, ClosedBy::Resting(Reason::Quota) | ClosedBy::Quota | ClosedBy::Declared)) {
        (ErrorKind::RateLimitExceeded, FailureClass::Quota)
    } else {
        (ErrorKind::CircuitOpen, FailureClass::Overload)
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
        error = error.retry_after(wait.min(RETRY_AFTER_CLIENT));
    }
    Failure::Gateway { class, error }
}
