//! An answer on its way to its client is kept for those who will ask the same.
//!
//! That is done when it is known to be whole, and before its last byte is handed out: who has read it can rely on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway_cache::{Facts, Question};
use gateway_core::chat::ChatResponse;
use gateway_core::dialect::Dialect;
use gateway_core::limits::CACHE_ENTRY_BYTES;
use gateway_core::target::Target;
use gateway_dialects::codec::{self, Answer};
use jiff::Timestamp;

use super::Answers;
use super::coalesce::Lead;
use super::kept::{Form, Kept, Worth, wire_of};
use super::labels::Labels;
use super::replay::about;
use super::tape::Recorded;
use crate::api::body;
use crate::call::Call;
use crate::gateway::Process;
use crate::relay::Relay;
use crate::settle::Settle;

/// The duty to keep the answer to a question. It goes with the account of the request to its end.
#[derive(Debug)]
pub struct Keep {
    pub answers: Arc<Answers>,
    pub time_to_live: Duration,
    pub question: Question,
    /// When the request came.
    pub asked: Instant,
    /// Others ask the same and wait for this answer.
    pub lead: Option<Lead>,
    /// What the real answer is to be compared with.
    pub labels: Labels,
}

impl Keep {
    fn is_wanted(&self, worth: Worth) -> bool {
        worth != Worth::Nothing || self.is_followed()
    }

    fn is_followed(&self) -> bool {
        self.lead.as_ref().is_some_and(Lead::is_followed)
    }

    fn keep(mut self, kept: Kept, worth: Worth, process: &Arc<Process>) {
        let kept = Arc::new(kept);
        if let Some(lead) = self.lead.take() {
            lead.answered(kept.clone());
        }
        if worth == Worth::Nothing {
            return;
        }
        if worth == Worth::Exact {
            self.question.text = None;
        }
        self.labels.compare(kept.clone(), process.clone());
        self.answers.store(self.question, kept, self.asked, self.time_to_live);
    }
}

impl Answers {
    fn store(&self, question: Question, kept: Arc<Kept>, asked: Instant, time_to_live: Duration) {
        if kept.bytes_of_answer().len() > CACHE_ENTRY_BYTES {
            return;
        }
        let facts = Facts { model: kept.model.clone(), asked };
        let stored = self.cache.store(&question, kept.clone(), facts, Instant::now());
        if let Some(shared) = self.shared.get()
            && stored.is_some()
        {
            shared.put(question, kept, time_to_live);
        }
    }
}

/// Keeps a whole answer. `said`: what its client is given, in the dialect in which it is kept.
pub fn whole(settle: &mut Settle, call: &Call, target: &Target, said: impl FnOnce() -> Bytes) {
    let worth = settle.worth();
    let Some(keep) = settle.take_keep().filter(|keep| keep.is_wanted(worth)) else { return };
    let said = said();
    if said.len() > CACHE_ENTRY_BYTES && !keep.is_followed() {
        return;
    }
    // What the answer was read into may be larger, and hold more.
    let bytes = Bytes::copy_from_slice(&said);
    if let Some(kept) = kept(settle, call.dialect, target, Form::Whole(bytes)) {
        keep.keep(kept, worth, settle.process());
    }
}

/// Keeps a stream, as soon as its client can be given all of it.
pub fn stream(settle: &mut Settle, relay: &mut Relay) {
    let Some(tape) = relay.finished_tape() else { return };
    let (Some(keep), Some((recorded, contents))) = (settle.take_keep(), tape.recorded()) else { return };
    let worth = Worth::of(relay.finish_reason(), contents);
    if !keep.is_wanted(worth) {
        return;
    }
    body::account(relay, settle);
    let (dialect, target) = (relay.dialect(), relay.target.clone());
    let mut losses = Vec::new();
    let form = match recorded {
        Recorded::Events(events) => Form::Events(events),
        Recorded::Said(mut response) => {
            response.usage = Some(relay.usage().0);
            losses = codec::client(dialect).losses(&response);
            let request_id = settle.record().map_or_else(String::new, |record| record.request_id.to_string());
            let answer = about(&request_id, &target, now());
            Form::Whole(written(dialect, response, &answer))
        }
    };
    if let Some(mut kept) = kept(settle, dialect, &target, form) {
        kept.dropped = kept.dropped.into_iter().chain(losses).collect();
        keep.keep(kept, worth, settle.process());
    }
}

/// A whole answer in the dialect in which those to clients of `dialect` are kept.
pub fn written(dialect: Dialect, response: ChatResponse, answer: &Answer) -> Bytes {
    codec::client(wire_of(dialect).into()).encode_response(response, answer).into()
}

fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

fn kept(settle: &Settle, dialect: Dialect, target: &Target, form: Form) -> Option<Kept> {
    let record = settle.record()?;
    Some(Kept {
        wire: wire_of(dialect),
        form,
        provider: target.provider.clone(),
        model: target.model.clone(),
        created: now(),
        usage: record.usage,
        cost: record.cost,
        finish: record.finish_reason.unwrap_or("stop"),
        dropped: record.dropped.iter().cloned().collect(),
        added: record.added.iter().cloned().collect(),
    })
}
