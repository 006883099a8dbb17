//! Answers that several gateways share through Redis.
//!
//! Each gateway has its own memory and its own index. An answer is put into Redis as a plain value that ends by itself, beside
//! the names of all answers of its partition; everything of a tenant lies in one hash slot. A partition is loaded when it is first used,
//! which may keep its requests waiting for [`FIRST_USE`], and from then on its new answers are heard of. What is to go is noted
//! for as long as it could still be found, so that a gateway which was away does not bring it back.
//!
//! Redis may be slow, full or gone: then nothing is found there and nothing put, and that is all. It is asked by a thread of its own, over
//! connections of its own, since large values would keep the limits waiting.

mod keeper;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use gateway_cache::{Answer, Filter, Hash, Pair, Question};
use gateway_core::limits::{CACHE_SHARED_ENTRY_BYTES, CACHE_SHARED_QUEUE, CACHE_SHARED_QUEUE_BYTES};
use tokio::sync::{Notify, mpsc, watch};

use super::Answers;
use super::kept::Kept;
use crate::store::redis::Redis;
use keeper::Keeper;
use wire::{CLEARINGS_NOTED, Clearing, Untold};

/// What the first requests of a partition wait for it at most, from the first of them on.
const FIRST_USE: Duration = Duration::from_millis(20);
/// Partitions that are known to be loaded, in each shard; when there are more, all of them may be loaded again.
const KNOWN: usize = 8192;
const SHARDS: usize = 16;

/// What is to be done at Redis.
enum Work {
    Put { tenant: Hash, partition: Hash, exact: Hash, value: Box<Value>, time_to_live: Duration },
    Load { tenant: Hash, partition: Hash, loaded: Loaded },
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
    /// Partitions that are followed, and are loaded or are being loaded.
    known: [Mutex<HashMap<Hash, Option<Loading>>>; SHARDS],
    /// Beside the queue, which answers may have filled.
    untold: Mutex<Untold>,
    /// Pairs that nobody knows yet were wrong, the latest of them.
    unreported: Mutex<VecDeque<Pair>>,
    /// There is more of either.
    to_tell: Notify,
}

/// Until when requests wait for a partition, and what they wait for. It is over, too, when whoever loads has given up.
#[derive(Debug, Clone)]
struct Loading {
    until: Instant,
    loaded: watch::Receiver<()>,
}

/// Dropped when the partition is loaded.
type Loaded = watch::Sender<()>;

impl State {
    fn shard(&self, partition: &Hash) -> MutexGuard<'_, HashMap<Hash, Option<Loading>>> {
        let shard = usize::from(partition.as_bytes()[0]) % SHARDS;
        self.known[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to wait for, and for the first who asks the duty to have it loaded. `None`: it is there.
    fn learn(&self, partition: Hash) -> Option<(Loading, Option<Loaded>)> {
        let mut known = self.shard(&partition);
        if let Some(there) = known.get(&partition) {
            return Some((there.clone()?, None));
        }
        if known.len() >= KNOWN {
            known.clear();
        }
        let (duty, loaded) = watch::channel(());
        let loading = Loading { until: Instant::now() + FIRST_USE, loaded };
        known.insert(partition, Some(loading.clone()));
        Some((loading, Some(duty)))
    }

    fn knows(&self, partition: &Hash) -> bool {
        self.shard(partition).contains_key(partition)
    }

    /// Nobody need wait for it any more.
    fn is_there(&self, partition: &Hash) -> bool {
        self.shard(partition).get(partition).is_some_and(Option::is_none)
    }

    fn loaded(&self, partition: &Hash) {
        if let Some(there) = self.shard(partition).get_mut(partition) {
            *there = None;
        }
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

    fn unreported(&self) -> MutexGuard<'_, VecDeque<Pair>> {
        self.unreported.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Whether the question's partition is still to be loaded.
    pub fn needs(&self, question: &Question) -> bool {
        self.state.is_up() && !self.state.is_there(&question.partition)
    }

    /// Has the question's partition loaded where this is its first use, and waits for it, if that does not take long.
    pub async fn load(&self, question: &Question) {
        let Some((mut loading, duty)) = self.state.learn(question.partition) else { return };
        if let Some(loaded) = duty {
            let work = Work::Load { tenant: question.tenant, partition: question.partition, loaded };
            if self.work.try_send(work).is_err() {
                return self.state.forget(&question.partition);
            }
        }
        // What comes later is there for the next request.
        let _ = tokio::time::timeout_at(loading.until.into(), loading.loaded.changed()).await;
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
        let value = Box::new(Value { question, kept, state: self.state.clone(), is_put: false });
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

    /// The same for an answer that was wrong, and for which question it was.
    pub fn report(&self, pair: &Pair) {
        let Pair { tenant, entry, .. } = *pair;
        if !pair.is_same() {
            let mut unreported = self.state.unreported();
            if unreported.len() >= CLEARINGS_NOTED {
                unreported.pop_front();
            }
            unreported.push_back(*pair);
        }
        self.clear(&Filter { id: Some(entry), tenant: Some(tenant), ..Filter::default() });
    }

    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use gateway_cache::EntryId;

    use super::*;

    fn partition() -> Hash {
        Hash::of("test", b"partition")
    }

    #[test]
    fn the_first_has_a_partition_loaded_and_all_wait_for_it_equally_long() {
        let state = State::default();
        let Some((first, Some(duty))) = state.learn(partition()) else { panic!("nobody was there") };
        let Some((second, None)) = state.learn(partition()) else { panic!("it is being loaded") };
        assert_eq!(first.until, second.until);
        assert!(!state.is_there(&partition()) && state.knows(&partition()));
        state.loaded(&partition());
        drop(duty);
        assert!(first.loaded.has_changed().is_err() && second.loaded.has_changed().is_err(), "both know");
        assert!(state.is_there(&partition()) && state.learn(partition()).is_none());
    }

    #[tokio::test]
    async fn who_comes_second_waits_too_and_not_for_ever() {
        let (work, mut todo) = mpsc::channel(1);
        let shared = Shared { work, state: Arc::default() };
        shared.state.up.store(true, Ordering::Relaxed);
        let (tenant, exact) = (Hash::of("test", b"tenant"), Hash::of("test", b"exact"));
        let question = Question { tenant, partition: partition(), exact, text: None };
        let began = Instant::now();
        tokio::join!(shared.load(&question), shared.load(&question));
        assert!(began.elapsed() >= FIRST_USE);
        let Some(Work::Load { loaded, .. }) = todo.recv().await else { panic!("nothing to load") };
        assert!(todo.try_recv().is_err(), "it is loaded once");
        assert!(shared.needs(&question));
        shared.state.loaded(&partition());
        drop(loaded);
        assert!(!shared.needs(&question));
    }

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
