//! Answers that several gateways share through Redis.
//!
//! Each gateway has its own memory and its own index. An answer is put into Redis as a plain value that ends by itself, beside
//! the names of all answers of its partition; everything of a tenant lies in one hash slot. A partition is loaded when it is first used,
//! which may keep that one request waiting for [`FIRST_USE`], and from then on its new answers are heard of. What is to go is noted
//! for as long as it could still be found, so that a gateway which was away does not bring it back.
//!
//! Redis may be slow, full or gone: then nothing is found there and nothing put, and that is all. It is asked by a thread of its own, over
//! connections of its own, since large values would keep the limits waiting.

mod keeper;
mod wire;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use gateway_cache::{Answer, Filter, Hash, Pair, Question};
use gateway_core::limits::{CACHE_SHARED_ENTRY_BYTES, CACHE_SHARED_QUEUE, CACHE_SHARED_QUEUE_BYTES};
use tokio::sync::{Notify, mpsc, oneshot};

use super::Answers;
use super::kept::Kept;
use crate::store::redis::Redis;
use keeper::Keeper;
use wire::{Clearing, Untold};

/// What the first request of a partition waits for it at most.
const FIRST_USE: Duration = Duration::from_millis(20);
/// Partitions that are known to be loaded, in each shard; when there are more, all of them may be loaded again.
const KNOWN: usize = 8192;
const SHARDS: usize = 16;

/// What is to be done at Redis.
enum Work {
    Put {
        tenant: Hash,
        partition: Hash,
        exact: Hash,
        value: Value,
        time_to_live: Duration,
    },
    Load {
        tenant: Hash,
        partition: Hash,
        loaded: oneshot::Sender<()>,
    },
    /// It was wrong for these questions. That it is to go is told as a clearing.
    Report(Pair),
}

/// An answer on its way to Redis, written when its turn comes.
struct Value {
    question: Question,
    kept: Arc<Kept>,
    state: Arc<State>,
    /// Redis has it.
    is_put: bool,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.state.waiting.fetch_sub(self.kept.bytes(), Ordering::Relaxed);
        if !self.is_put {
            self.state.lost();
        }
    }
}

/// The way to the answers of other gateways.
pub struct Shared {
    work: mpsc::Sender<Work>,
    state: Arc<State>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    up: AtomicBool,
    /// Bytes of answers on their way.
    waiting: AtomicUsize,
    /// Answers that other gateways will not see.
    lost: AtomicU64,
    /// Partitions that are loaded and followed.
    known: [Mutex<HashSet<Hash>>; SHARDS],
    /// Beside the queue, which answers may have filled.
    untold: Mutex<Untold>,
    /// There is more of it.
    to_tell: Notify,
}

impl State {
    fn shard(&self, partition: &Hash) -> MutexGuard<'_, HashSet<Hash>> {
        let shard = usize::from(partition.as_bytes()[0]) % SHARDS;
        self.known[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True for the first who says so.
    fn learn(&self, partition: Hash) -> bool {
        let mut known = self.shard(&partition);
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(partition)
    }

    fn knows(&self, partition: &Hash) -> bool {
        self.shard(partition).contains(partition)
    }

    fn forget(&self, partition: &Hash) {
        self.shard(partition).remove(partition);
    }

    fn forget_all(&self) {
        self.known.iter().for_each(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).clear());
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn untold(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Starts the thread, which ends when `answers` do. `None`: there is none to be had.
    pub fn start(redis: Redis, answers: Weak<Answers>) -> Option<Shared> {
        let (work, todo) = mpsc::channel(CACHE_SHARED_QUEUE);
        let state = Arc::new(State::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let keeper = Keeper::new(redis, answers, state.clone(), todo);
        let thread = std::thread::Builder::new().name("cache".to_owned());
        thread.spawn(move || runtime.block_on(keeper.run())).ok()?;
        Some(Shared { work, state })
    }

    /// Has the question's partition loaded where this is its first use, if that does not take long.
    pub fn needs(&self, question: &Question) -> bool {
        self.state.is_up() && !self.state.knows(&question.partition)
    }

    pub async fn load(&self, question: &Question) {
        if !self.state.learn(question.partition) {
            return;
        }
        let (loaded, done) = oneshot::channel();
        let work = Work::Load { tenant: question.tenant, partition: question.partition, loaded };
        if self.work.try_send(work).is_err() {
            return self.state.forget(&question.partition);
        }
        // What comes later is there for the next request.
        let _ = tokio::time::timeout(FIRST_USE, done).await;
    }

    /// Never waits.
    pub fn put(&self, question: Question, kept: Arc<Kept>, time_to_live: Duration) {
        let bytes = kept.bytes();
        if bytes > CACHE_SHARED_ENTRY_BYTES {
            return;
        }
        if !self.state.is_up() {
            return self.state.lost();
        }
        let (tenant, partition, exact) = (question.tenant, question.partition, question.exact);
        let waiting = self.state.waiting.fetch_add(bytes, Ordering::Relaxed);
        let value = Value { question, kept, state: self.state.clone(), is_put: false };
        let work = Work::Put { tenant, partition, exact, value, time_to_live };
        if waiting + bytes <= CACHE_SHARED_QUEUE_BYTES {
            // What does not fit counts as lost when it is dropped.
            let _ = self.work.try_send(work);
        }
    }

    /// Tells the others what is to go, later if Redis cannot be asked now.
    pub fn clear(&self, filter: &Filter) {
        self.state.untold().push(Clearing::of(filter));
        self.state.to_tell.notify_one();
    }

    /// The same for an answer that was wrong.
    pub fn report(&self, pair: &Pair) {
        let Pair { tenant, entry, .. } = *pair;
        self.clear(&Filter { id: Some(entry), tenant: Some(tenant), ..Filter::default() });
        // For which questions others need not know: they no longer have the answer.
        let _ = self.work.try_send(Work::Report(*pair));
    }

    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use gateway_cache::EntryId;

    use super::*;

    #[test]
    fn what_is_to_go_is_told_although_the_queue_is_full() {
        let (work, _todo) = mpsc::channel(1);
        let shared = Shared { work, state: Arc::default() };
        let tenant = Hash::of("test", b"tenant");
        let pair = Pair { tenant, entry: EntryId::of(tenant), questions: tenant };
        for _ in 0..2 {
            shared.report(&pair);
        }
        shared.clear(&Filter { tenant: Some(tenant), ..Filter::default() });
        let untold: Vec<Clearing> = std::iter::from_fn(|| shared.state.untold().pop()).collect();
        assert_eq!(untold.len(), 2, "the report once, and the clearing: {untold:?}");
    }
}
