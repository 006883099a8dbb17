//! What was done for a request, step by step: the data of its log line and of its explanation.
//!
//! Steps are written down as they happen, through [`crate::settle::Settle`], and read when the request has ended. A decision is
//! not a field of its own: it is the step that follows, another attempt, a pause, or [`Step::Stopped`].

use std::borrow::Cow;
use std::time::Duration;

use gateway_core::error::FailureClass;
use gateway_core::target::Target;
use serde::Serialize;

/// Times are counted from the arrival of the request.
#[derive(Debug, Clone)]
pub enum Step {
    Attempt(Attempt),
    /// An attempt that was under way when the request ended.
    Abandoned {
        target: Target,
        begun: Duration,
        took: Duration,
    },
    /// A second attempt for a request whose first one was slow begins.
    Hedged {
        target: Target,
        /// How long the first one had been waited for.
        after: Duration,
    },
    /// An attempt that was ended because another one was faster.
    Lost {
        target: Target,
        took: Duration,
    },
    /// A target of the plan that was passed over when its turn came.
    Skipped {
        target: Target,
        /// Completes "was not tried: ".
        why: Cow<'static, str>,
        /// From now on it may be tried again.
        until: Option<Duration>,
    },
    Waited {
        length: Duration,
        why: Wait,
    },
    /// No further attempt was made after a failure, and why not.
    Stopped(Stop),
}

/// One request sent to a provider.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub target: Target,
    /// `None`: it failed before anything was sent.
    pub begun: Option<Duration>,
    /// Until it failed, the whole answer had come, or the first content of a stream.
    pub took: Duration,
    /// `None`: it succeeded.
    pub failed: Option<Failed>,
}

impl Attempt {
    /// It failed, and its provider may charge for it all the same.
    pub fn maybe_billed(&self) -> bool {
        self.begun.is_some() && self.failed.as_ref().is_some_and(|failed| failed.class.may_be_billed())
    }
}

/// How an attempt failed.
#[derive(Debug, Clone)]
pub struct Failed {
    pub class: FailureClass,
    /// Of the provider's answer, where there was one.
    pub status: Option<u16>,
    /// Without keys.
    pub error: String,
}

/// Why a request waited before its next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// So that a provider in trouble is not asked again at once.
    Backoff,
    /// The provider said how long.
    Asked,
    /// So that there is room in the provider's limits.
    Quota,
}

/// Why no further attempt was made after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The request itself is at fault: nobody else would take it either.
    RequestAtFault,
    /// `retry.max_attempts`.
    AttemptsSpent { most: u32 },
    /// The time of the request, of all attempts together.
    OutOfTime,
    /// There is no other target, and the same one is not to be asked again.
    NoTargetLeft,
    /// The same target could be asked again, but it has failed too often lately for another try to be worth it.
    RetriesSpent,
    /// No target could be asked when its turn came.
    AllClosed,
    /// The gateway itself had no room to go on.
    Shed,
}

/// `tried` of a log line: every attempt, where there was more than one or it failed.
pub fn tried(steps: &[Step]) -> Vec<impl Serialize> {
    #[derive(Serialize)]
    struct Tried<'a> {
        target: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        maybe_billed: bool,
        ms: f64,
    }
    let tried = attempts(steps).map(|attempt| {
        let failed = attempt.failed.as_ref();
        Tried {
            target: attempt.target.to_string(),
            failure: failed.map(|failed| failed.class.name()),
            status: failed.and_then(|failed| failed.status),
            error: failed.map(|failed| failed.error.as_str()),
            maybe_billed: attempt.maybe_billed(),
            ms: millis(attempt.took),
        }
    });
    tried.collect()
}

pub fn attempts(steps: &[Step]) -> impl DoubleEndedIterator<Item = &Attempt> {
    steps.iter().filter_map(|step| match step {
        Step::Attempt(attempt) => Some(attempt),
        _ => None,
    })
}

/// Nothing to tell of but one attempt that succeeded, if any.
pub fn went_well(steps: &[Step]) -> bool {
    let mut attempts = attempts(steps);
    attempts.next().is_none_or(|attempt| attempt.failed.is_none()) && attempts.next().is_none()
}

/// Milliseconds with three digits behind the point.
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
