//! Requests that are still running: those that have taken long, or of which an attempt has failed. All others end before
//! anybody could ask, and are not here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gateway_core::limits::EXPLANATIONS;
use gateway_core::target::Target;

use super::view::{Explanation, WaitView};
use crate::call::Caller;
use crate::request_id::RequestId;
use crate::settle::{Record, shortened};
use crate::steps::millis;

/// What a running request waits for.
#[derive(Debug, Clone)]
pub enum Waiting {
    /// A whole answer, or the first content of a stream.
    Answer(Target),
    /// The rest of a stream that has begun.
    Rest,
    /// The answer to another request that asks the same.
    Another,
    /// Its turn, or the end of a pause before the next attempt.
    Attempt,
}

/// What was known of a request when it last took a step.
#[derive(Debug)]
pub struct Shown {
    pub record: Record,
    pub started: Instant,
    pub waiting: Waiting,
    /// From the beginning of the request.
    pub since: Duration,
}

impl Shown {
    fn explanation(&mut self, now: Instant) -> Explanation {
        self.record.duration_ms = (now - self.started).as_secs_f64() * 1e3;
        let (waits_for, target) = match &self.waiting {
            Waiting::Answer(target) if self.record.stream => ("first_content", Some(target)),
            Waiting::Answer(target) => ("answer", Some(target)),
            Waiting::Rest => ("rest_of_the_stream", None),
            Waiting::Another => ("answer_of_another_request", None),
            Waiting::Attempt => ("next_attempt", None),
        };
        let wait = WaitView {
            waits_for,
            target: target.map(|target| shortened(&target.to_string(), 300)),
            since_ms: millis(self.since),
        };
        Explanation::of_running(&self.record, wait)
    }
}

#[derive(Debug, Default)]
pub struct Running(Mutex<HashMap<RequestId, Box<Shown>>>);

impl Running {
    fn all(&self) -> MutexGuard<'_, HashMap<RequestId, Box<Shown>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what was known before. As many as explanations of requests that have ended are kept, and no more.
    pub fn show(&self, shown: Box<Shown>) {
        let mut all = self.all();
        if all.len() < EXPLANATIONS || all.contains_key(&*shown.record.request_id) {
            all.insert(shown.record.request_id, shown);
        }
    }

    pub fn ended(&self, id: &str) {
        self.all().remove(id);
    }

    /// The request `id`, if `caller` may see it.
    pub fn find(&self, id: &str, caller: &Caller) -> Option<Explanation> {
        let mut all = self.all();
        let shown = all.get_mut(id).filter(|shown| caller.may_see(&shown.record.caller))?;
        Some(shown.explanation(Instant::now()))
    }

    /// The latest request of `caller` that it calls by this name. Who has no answer yet knows no other name of it.
    pub fn find_by_correlation(&self, name: &str, caller: &Caller) -> Option<Explanation> {
        let mut all = self.all();
        let is_meant = |record: &Record| record.correlation_id.as_deref() == Some(name) && record.caller == *caller;
        let meant = all.values_mut().filter(|shown| is_meant(&shown.record));
        Some(meant.max_by_key(|shown| shown.started)?.explanation(Instant::now()))
    }
}
