//! Why the gateway did what it did: the latest requests that have ended, kept in memory and, where there is a Redis, put there
//! for the other gateways; and those that run for long.
//!
//! A request hands its [`Record`] to the thread of the log and is done; everything here happens on that thread or when
//! somebody asks. Nothing of what was asked and answered is in a record, and no key.

mod running;
mod view;
mod words;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway_core::limits::{EXPLANATION_BYTES, EXPLANATION_TEXT_CHARS, EXPLANATIONS, EXPLANATIONS_BYTES};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::call::Caller;
use crate::settle::{Record, shortened};
use crate::steps::Step;
use crate::store::redis::{Entry, Redis};

pub use running::{Running, Shown, Waiting};
pub use view::Explanation;
pub use words::summary;

/// How long Redis keeps an explanation.
const SHARED_FOR: Duration = Duration::from_secs(3600);

/// A request that has ended.
#[derive(Debug)]
struct Told {
    ended: Timestamp,
    bytes: usize,
    record: Record,
}

/// The explanations of a gateway; cheap to clone.
#[derive(Debug, Clone)]
pub struct Explanations {
    kept: Arc<Mutex<Kept>>,
    running: Arc<Running>,
    redis: Option<Redis>,
    /// Too large to be kept, or not taken by Redis.
    lost: Arc<AtomicU64>,
}

/// The latest ones, by age. Every request is written here and hardly one is ever looked for: so there is no index, and
/// records lie side by side. What is kept is written to memory that no request has used for long, and that costs more than all
/// the rest here.
#[derive(Debug, Default)]
struct Kept {
    by_age: VecDeque<Told>,
    bytes: usize,
}

impl Explanations {
    pub fn new(redis: Option<Redis>) -> Self {
        Explanations { kept: Arc::default(), running: Arc::default(), redis, lost: Arc::default() }
    }

    pub fn keep(&self, ended: Timestamp, mut record: Box<Record>) {
        shorten(&mut record);
        let bytes = size(&record);
        if bytes > EXPLANATION_BYTES {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if let Some(redis) = &self.redis {
            let entry = entry(ended, &record);
            if !redis.put_later(Box::new(move || entry)) {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.kept().insert(Told { ended, bytes, record: *record });
    }

    /// The request `id`, if it was of `caller` and is still in memory.
    pub fn find(&self, id: &str, caller: &Caller) -> Option<Explanation> {
        let kept = self.kept();
        let told = kept.by_age.iter().rev().find(|told| *told.record.request_id == *id)?;
        caller.may_see(&told.record.caller).then(|| Explanation::of(told.ended, &told.record))
    }

    /// The same from Redis, as JSON. A Redis that is slow or gone has nothing.
    pub async fn find_shared(&self, id: &str, caller: &Caller) -> Option<Box<RawValue>> {
        let value: Option<Vec<u8>> = self.redis.as_ref()?.get(&key(id)).await.ok()?;
        let shared: Shared = serde_json::from_slice(&value?).ok()?;
        (*caller == Caller::Admin || shared.caller == caller.to_string()).then_some(shared.explanation)
    }

    /// Those of this process.
    pub fn running(&self) -> &Running {
        &self.running
    }

    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed) + self.redis.as_ref().map_or(0, Redis::lost)
    }

    pub fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn insert(&mut self, told: Told) {
        self.bytes += told.bytes;
        while self.by_age.len() >= EXPLANATIONS || self.bytes > EXPLANATIONS_BYTES {
            let Some(oldest) = self.by_age.pop_front() else { break };
            self.bytes -= oldest.bytes;
        }
        if self.by_age.is_empty() {
            // Once and exactly: growing by half again would leave much of it empty. What is not written to takes no memory.
            self.by_age.reserve_exact(EXPLANATIONS);
        }
        self.by_age.push_back(told);
    }
}

/// As it stands in Redis.
#[derive(Serialize, Deserialize)]
struct Shared {
    caller: String,
    explanation: Box<RawValue>,
}

fn key(id: &str) -> String {
    format!("llm-gateway:request:{id}")
}

fn entry(ended: Timestamp, record: &Record) -> Option<Entry> {
    let explanation = serde_json::value::to_raw_value(&Explanation::of(ended, record)).ok()?;
    let shared = Shared { caller: record.caller.to_string(), explanation };
    Some(Entry { key: key(&record.request_id), value: serde_json::to_vec(&shared).ok()?, time_to_live: SHARED_FOR })
}

/// Cuts the texts of others, which may be of any length.
fn shorten(record: &mut Record) {
    let errors = record.steps.iter_mut().filter_map(|step| match step {
        Step::Attempt(attempt) => attempt.failed.as_mut().map(|failed| &mut failed.error),
        _ => None,
    });
    for text in errors.chain(record.error.as_mut()).chain(record.user.as_mut()) {
        if text.len() > EXPLANATION_TEXT_CHARS {
            *text = shortened(text, EXPLANATION_TEXT_CHARS);
        }
    }
}

/// Bytes of memory, more or less.
fn size(record: &Record) -> usize {
    // Of its own, and of its places in the index.
    let mut bytes = size_of::<Record>() + 200;
    for step in &record.steps {
        bytes += size_of::<Step>();
        if let Step::Attempt(attempt) = step {
            bytes += attempt.failed.as_ref().map_or(0, |failed| failed.error.len());
        }
    }
    if let Some(plan) = &record.plan {
        let targets = [&plan.targets, &plan.on_context_overflow, &plan.on_content_filter];
        let targets = targets.into_iter().flatten().map(|planned| &planned.target);
        let all = targets.chain(plan.skipped.iter().map(|skip| &skip.target));
        bytes += all.map(|target| 100 + target.model.len()).sum::<usize>();
    }
    for list in [&record.dropped, &record.approximated, &record.added] {
        bytes += list.iter().map(|name| size_of::<String>() + name.len()).sum::<usize>();
    }
    let texts = [&record.correlation_id, &record.user, &record.upstream_request_id, &record.error];
    bytes += record.model_asked.as_deref().map_or(0, str::len);
    bytes + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

#[cfg(test)]
mod tests;
