//! From a plan to an answer: which target is asked next, with which credential, after which wait, and when to stop.
//!
//! Every request has one budget of attempts (`retry.max_attempts`) for everything: other credentials, other targets, repeats,
//! hedges. What a failure means is a row of [`FailureClass`]; what follows from it is decided by [`Course`], and nowhere else.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use gateway_core::error::{ErrorKind, FailureClass, GatewayError};
use gateway_policy::routing::{Planned, RoutePlan};

use crate::attempt::{self, Failure, Good, Notes};
use crate::call::SharedCall;
use crate::gateway::Gateway;
use crate::providers::permit::{Closed, ClosedBy, Permit};
use crate::settle::Settle;

/// A provider's wish to be left alone for so long is granted within the request, if nobody else can be asked.
const SHORT_WAIT: Duration = Duration::from_secs(2);

/// Asks the targets of a plan until one answers, the budget is spent, or the request itself is at fault.
pub async fn run(
    gateway: Arc<Gateway>,
    call: SharedCall,
    plan: RoutePlan,
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
        let (permit, wait) = course.next(settle)?;
        if let Some(wait) = wait {
            settle.pause(wait).await;
        }
        match ask(gateway, call, permit, &mut course, settle).await {
            Ok(good) => return Ok(good),
            Err(failure) => course.failed(failure),
        }
    }
}

/// One attempt, or two where the alias hedges.
async fn ask(
    gateway: &Arc<Gateway>,
    call: &SharedCall,
    permit: Permit,
    course: &mut Course<'_>,
    settle: &mut Settle,
) -> Result<Good, Failure> {
    settle.attempt_begins(&permit);
    let mut notes = Notes::default();
    let result = attempt::one(gateway, call, &permit, &mut notes).await;
    conclude(gateway, call, permit, notes, result, settle)
}

/// Tells everybody concerned how an attempt went.
fn conclude(
    gateway: &Arc<Gateway>,
    call: &SharedCall,
    permit: Permit,
    notes: Notes,
    result: Result<Good, Failure>,
    settle: &mut Settle,
) -> Result<Good, Failure> {
    match result {
        Ok(good) => {
            settle.answered(permit, notes);
            Ok(good)
        }
        Err(failure) => {
            let failure = failure.without_keys(gateway);
            settle.attempt_failed(permit, notes, &failure);
            Err(failure)
        }
    }
}

/// Where a request has got to on its way through its plan.
struct Course<'a> {
    gateway: &'a Gateway,
    call: &'a SharedCall,
    plan: &'a RoutePlan,
    /// Targets that have not had their turn.
    ahead: VecDeque<&'a Planned>,
    /// The one that was asked last.
    at: Option<&'a Planned>,
    failure: Option<Failure>,
    attempts: u32,
    /// The latest target has been asked a second time.
    repeated: bool,
    /// Of the providers asked: credentials that were refused or are spent, not to be used again for this request.
    used_up: Vec<(Arc<str>, usize)>,
    /// Of the targets that could not be asked: which can be soonest.
    closed: Vec<(&'a Planned, Closed)>,
}
