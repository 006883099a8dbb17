//! At most so many at a time, and a short queue for a few more.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gateway_core::limits::{QUEUE_TIME, QUEUE_TIME_UNDER_LOAD, QUEUED_REQUESTS};
use tokio::sync::oneshot;

/// A bounded number of places.
///
/// Taking a free one is one exchange of an atomic number. Who finds none waits: in order as long as the queue is short-lived.
/// Once it has been there for [`QUEUE_TIME`], and until nobody has waited in vain for as long, the latest goes first and nobody
/// waits for more than a moment, because the oldest have mostly given up and every answer would be late.
#[derive(Debug)]
pub struct Slots {
    limit: AtomicUsize,
    in_use: AtomicUsize,
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiters: VecDeque<Waiter>,
    last_id: u64,
    /// Since when it has not been empty.
    since: Option<Instant>,
    /// Somebody waited in vain not long ago. Without this a queue that is emptied by refusals would look short-lived.
    pressed_until: Option<Instant>,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    grant: oneshot::Sender<()>,
}

impl Queue {
    fn is_standing(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= QUEUE_TIME)
            || self.pressed_until.is_some_and(|until| now < until)
    }
}

/// One place; free again when it is dropped.
#[derive(Debug)]
pub struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The queue is full too.
    Queue,
    /// None became free in time.
    Waited,
}

enum Entered {
    Slot,
    Queue(Waiting, Instant),
}

impl Slots {
    pub fn new(limit: usize) -> Arc<Self> {
        let (in_use, waiting, queue) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::default());
        Arc::new(Slots { limit: AtomicUsize::new(limit), in_use, waiting, queue })
    }

    /// Those beyond a smaller limit stay until they end.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, SeqCst);
        self.grant();
    }

    pub fn in_use(&self) -> usize {
        self.in_use.load(SeqCst)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// A place if one is free and nobody waits for it.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Slot> {
        (self.waiting() == 0 && self.take()).then(|| Slot(self.clone()))
    }

    /// Waits until `deadline`, and not longer than a queue may hold anybody. Dropped before its end, it leaves the queue.
    pub async fn acquire(self: &Arc<Self>, deadline: Instant) -> Result<Slot, Full> {
        if let Some(slot) = self.try_acquire() {
            return Ok(slot);
        }
        let (mut waiting, until) = match self.enter(Instant::now())? {
            Entered::Slot => return Ok(Slot(self.clone())),
            Entered::Queue(waiting, until) => (waiting, until),
        };
        match tokio::time::timeout_at(until.min(deadline).into(), &mut waiting.granted).await {
            Ok(Ok(())) => {
                waiting.over = true;
                Ok(Slot(self.clone()))
            }
            _ => {
                // A client that is in a hurry says nothing about the queue.
                if until <= deadline {
                    self.queue().pressed_until = Some(Instant::now() + QUEUE_TIME);
                }
                Err(Full::Waited)
            }
        }
    }

    fn take(&self) -> bool {
        let limit = self.limit.load(SeqCst);
        self.in_use.fetch_update(SeqCst, SeqCst, |in_use| (in_use < limit).then_some(in_use + 1)).is_ok()
    }

    fn release(&self) {
        self.in_use.fetch_sub(1, SeqCst);
        if self.waiting() > 0 {
            self.grant();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, now: Instant) -> Result<Entered, Full> {
        let mut queue = self.queue();
        // Announced before the last look: who leaves a place after that look sees that somebody waits.
        self.waiting.fetch_add(1, SeqCst);
        let taken = queue.waiters.is_empty() && self.take();
        if taken || queue.waiters.len() >= QUEUED_REQUESTS {
            self.waiting.fetch_sub(1, SeqCst);
            return if taken { Ok(Entered::Slot) } else { Err(Full::Queue) };
        }
        let patience = if queue.is_standing(now) { QUEUE_TIME_UNDER_LOAD } else { QUEUE_TIME };
        queue.since.get_or_insert(now);
        queue.last_id += 1;
        let (id, (grant, granted)) = (queue.last_id, oneshot::channel());
        queue.waiters.push_back(Waiter { id, grant });
        Ok(Entered::Queue(Waiting { slots: self.clone(), id, granted, over: false }, now + patience))
    }

    /// Gives what is free to those that wait.
    fn grant(&self) {
        let mut queue = self.queue();
        let standing = queue.is_standing(Instant::now());
        while !queue.waiters.is_empty() && self.take() {
            let next = if standing { queue.waiters.pop_back() } else { queue.waiters.pop_front() };
            self.waiting.fetch_sub(1, SeqCst);
            if next.is_none_or(|waiter| waiter.grant.send(()).is_err()) {
                // It has just given up.
                self.in_use.fetch_sub(1, SeqCst);
            }
        }
        if queue.waiters.is_empty() {
            queue.since = None;
        }
    }
}

/// A place in the queue.
struct Waiting {
    slots: Arc<Slots>,
    id: u64,
    granted: oneshot::Receiver<()>,
    /// What was granted has been taken.
    over: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.granted.close();
        if self.granted.try_recv().is_ok() {
            // Granted at the moment of giving up: it is for the next.
            return self.slots.release();
        }
        let mut queue = self.slots.queue();
        if let Some(at) = queue.waiters.iter().position(|waiter| waiter.id == self.id) {
            queue.waiters.remove(at);
            self.slots.waiting.fetch_sub(1, SeqCst);
        }
        if queue.waiters.is_empty() {
            queue.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[tokio::test]
    async fn who_waits_gets_what_becomes_free_in_order() {
        let slots = Slots::new(1);
        let held = slots.try_acquire().unwrap();
        assert!(slots.try_acquire().is_none());
        let (mut first, mut second) = (Box::pin(slots.acquire(soon())), Box::pin(slots.acquire(soon())));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        assert_eq!((slots.in_use(), slots.waiting()), (1, 2));
        drop(held);
        assert!(slots.try_acquire().is_none(), "it belongs to the first");
        assert!(second.as_mut().now_or_never().is_none());
        drop(first.await.unwrap());
        drop(second.await.unwrap());
        assert_eq!((slots.in_use(), slots.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn who_gives_up_leaves_nothing_behind() {
        let slots = Slots::new(1);
        let held = slots.try_acquire().unwrap();
        let mut gone = Box::pin(slots.acquire(soon()));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(gone);
        assert_eq!(slots.waiting(), 0);
        let mut granted = Box::pin(slots.acquire(soon()));
        assert!(granted.as_mut().now_or_never().is_none());
        drop(held);
        assert_eq!(slots.in_use(), 1, "granted, and not yet taken");
        drop(granted);
        assert_eq!((slots.in_use(), slots.waiting()), (0, 0));
        let late = Slots::new(0);
        assert_eq!(late.acquire(Instant::now()).await.unwrap_err(), Full::Waited);
        assert_eq!(late.waiting(), 0);
    }

    #[tokio::test]
    async fn the_queue_has_an_end() {
        let slots = Slots::new(0);
        let mut waiting: Vec<_> = (0..QUEUED_REQUESTS).map(|_| Box::pin(slots.acquire(soon()))).collect();
        assert!(waiting.iter_mut().all(|waiting| waiting.as_mut().now_or_never().is_none()));
        assert_eq!(slots.acquire(soon()).await.unwrap_err(), Full::Queue);
        slots.set_limit(usize::MAX);
        assert_eq!((slots.in_use(), slots.waiting()), (QUEUED_REQUESTS, 0), "a new limit holds at once");
        drop(waiting);
        assert_eq!(slots.in_use(), 0);
    }

    #[tokio::test]
    async fn a_queue_that_stands_serves_the_latest_and_holds_nobody_for_long() {
        let slots = Slots::new(1);
        let held = slots.try_acquire().unwrap();
        let mut old = Box::pin(slots.acquire(soon()));
        assert!(old.as_mut().now_or_never().is_none());
        slots.queue().since = Instant::now().checked_sub(QUEUE_TIME);
        let began = Instant::now();
        assert_eq!(slots.acquire(soon()).await.unwrap_err(), Full::Waited);
        assert!(began.elapsed() < QUEUE_TIME / 2, "{:?}", began.elapsed());
        slots.queue().since = None;
        let (now, later) = (Instant::now(), Instant::now() + 2 * QUEUE_TIME);
        assert!(slots.queue().is_standing(now), "also when refusals have emptied the queue in between");
        assert!(!slots.queue().is_standing(later), "and no longer once nobody has waited in vain");
        let mut new = Box::pin(slots.acquire(soon()));
        assert!(new.as_mut().now_or_never().is_none());
        drop(held);
        assert!(new.as_mut().now_or_never().is_some_and(|slot| slot.is_ok()));
        assert!(old.as_mut().now_or_never().is_some_and(|slot| slot.is_ok()), "the place came back");
    }

    #[test]
    fn no_place_is_lost_and_none_is_given_twice() {
        const LIMIT: usize = 3;
        let slots = Slots::new(LIMIT);
        let inside = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let (slots, inside) = (slots.clone(), inside.clone());
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    let mut random = fastrand::Rng::with_seed(seed);
                    runtime.block_on(async {
                        let task = async |patience: Duration, rest: u32| {
                            let Ok(slot) = slots.acquire(Instant::now() + patience).await else { return };
                            assert!(inside.fetch_add(1, SeqCst) < LIMIT);
                            for _ in 0..rest {
                                tokio::task::yield_now().await;
                            }
                            inside.fetch_sub(1, SeqCst);
                            drop(slot);
                        };
                        for _ in 0..300 {
                            let mut some = || task(Duration::from_micros(random.u64(0..2000)), random.u32(0..20));
                            let tasks = [some(), some(), some(), some()];
                            futures_util::future::join_all(tasks).await;
                        }
                    });
                });
            }
        });
        assert_eq!((slots.in_use(), slots.waiting()), (0, 0));
    }
}
