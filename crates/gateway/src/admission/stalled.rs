//! Clients that do not read what is written to them, and what is held for them meanwhile.
//!
//! A reader that soon goes on touches nothing that others do. One that does not is written down here, and is given up when its
//! time has run out, or as soon as others need what it holds.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use gateway_core::limits::{CLIENT_STALL_PART_UNDER_PRESSURE, CLIENT_STALL_PART_UNNOTED, CLIENT_STALL_TIME};
use tokio::time::{Instant, Sleep};

use super::Admission;
use super::memory::Rank;

/// Who reads answers: a connection of HTTP/1.1, a stream of HTTP/2.
#[derive(Debug, Default)]
pub struct Reader {
    /// Bytes of the account of memory that its requests hold.
    held: AtomicU64,
    /// Pieces of answers that were handed out to be written.
    pieces: AtomicU64,
    /// The latest of them still waits to be written, as far as its answer knows.
    is_behind: AtomicBool,
    given_up: AtomicBool,
    waker: AtomicWaker,
}

impl Reader {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn hold(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn release(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Another piece of an answer is to be written.
    pub fn is_given(&self) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
        self.is_behind.store(true, Ordering::Relaxed);
    }

    /// All that was given has been taken: there is nothing more to be written now.
    pub fn has_all(&self) {
        self.is_behind.store(false, Ordering::Relaxed);
    }

    /// The number of the piece that waits to be written.
    fn piece_behind(&self) -> Option<u64> {
        self.is_behind.load(Ordering::Relaxed).then(|| self.pieces.load(Ordering::Relaxed))
    }
}

/// The readers that have stalled, of the whole process.
#[derive(Debug)]
pub struct Stalled {
    /// By their addresses.
    readers: Mutex<HashMap<usize, Arc<Reader>>>,
    /// So many, so that nobody takes the lock to find none.
    count: AtomicUsize,
    patience_ms: AtomicU64,
}

impl Stalled {
    pub(super) fn new() -> Self {
        let patience_ms = AtomicU64::new(CLIENT_STALL_TIME.as_millis() as u64);
        Stalled { readers: Mutex::default(), count: AtomicUsize::new(0), patience_ms }
    }

    /// How long a client may read nothing.
    pub fn set_patience(&self, patience: Duration) {
        self.patience_ms.store(patience.as_millis() as u64, Ordering::Relaxed);
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms.load(Ordering::Relaxed))
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<usize, Arc<Reader>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<usize, Arc<Reader>>)) {
        let mut readers = self.readers();
        change(&mut readers);
        self.count.store(readers.len(), Ordering::Relaxed);
    }

    /// Gives up those that hold most, until they hold so many bytes together. Returns how many bytes that are.
    pub(super) fn give_up(&self, bytes: u64) -> u64 {
        let mut freed = 0;
        while freed < bytes && self.count() > 0 {
            let mut biggest = None;
            self.change(|readers| {
                let held = |reader: &Arc<Reader>| reader.held.load(Ordering::Relaxed);
                let key = readers.iter().max_by_key(|(_, reader)| held(reader)).map(|(key, _)| *key);
                biggest = key.and_then(|key| readers.remove(&key));
            });
            let Some(reader) = biggest else { break };
            freed += reader.held.load(Ordering::Relaxed);
            reader.given_up.store(true, Ordering::Relaxed);
            reader.waker.wake();
        }
        freed
    }
}

/// A line in the list of those that have stalled.
struct Entry {
    admission: Arc<Admission>,
    reader: Arc<Reader>,
}

impl Entry {
    fn new(admission: &Arc<Admission>, reader: &Arc<Reader>) -> Self {
        admission.stalled.change(|readers| {
            readers.insert(Arc::as_ptr(reader) as usize, reader.clone());
        });
        Entry { admission: admission.clone(), reader: reader.clone() }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.admission.stalled.change(|readers| {
            readers.remove(&(Arc::as_ptr(&self.reader) as usize));
        });
    }
}

/// Why a client that does not read is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// It has read nothing for as long as it may.
    Time,
    /// Others need the memory.
    Memory,
}

impl GivenUp {
    pub const ALL: [GivenUp; 2] = [GivenUp::Time, GivenUp::Memory];

    /// For metrics.
    pub fn name(self) -> &'static str {
        match self {
            GivenUp::Time => "time",
            GivenUp::Memory => "memory",
        }
    }
}

/// The clock of one reader.
pub struct Patience {
    admission: Arc<Admission>,
    reader: Arc<Reader>,
    stall: Option<Stall>,
    /// The piece that was being written when the clock was looked at last.
    piece: u64,
}

struct Stall {
    began: Instant,
    timer: Pin<Box<Sleep>>,
    entry: Option<Entry>,
}

impl Patience {
    pub fn new(admission: Arc<Admission>, reader: Arc<Reader>) -> Self {
        Patience { admission, reader, stall: None, piece: 0 }
    }

    /// Something was written, or nothing has to be.
    pub fn moved(&mut self) {
        self.stall = None;
    }

    /// Something has to be written and cannot be. Ready when the reader is to be given up.
    pub fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<GivenUp> {
        let stall = self.stall.get_or_insert_with(|| {
            let unnoted = self.admission.stalled.patience() / CLIENT_STALL_PART_UNNOTED;
            let timer = Box::pin(tokio::time::sleep(unnoted));
            Stall { began: Instant::now(), timer, entry: None }
        });
        loop {
            if stall.entry.is_some() {
                self.reader.waker.register(cx.waker());
                if self.reader.given_up.load(Ordering::Relaxed) {
                    return Poll::Ready(GivenUp::Memory);
                }
            }
            ready!(stall.timer.as_mut().poll(cx));
            let usual = self.admission.stalled.patience();
            let under_pressure = usual / CLIENT_STALL_PART_UNDER_PRESSURE;
            let patience = if self.admission.memory.has_room(0, Rank::New) { usual } else { under_pressure };
            let now = Instant::now();
            if now >= stall.began + patience {
                return Poll::Ready(GivenUp::Time);
            }
            stall.entry.get_or_insert_with(|| Entry::new(&self.admission, &self.reader));
            // Looked at now and then, since the pressure changes.
            stall.timer.as_mut().reset((stall.began + patience).min(now + under_pressure));
        }
    }

    /// The same for one that is asked whether it has moved, and knows nothing of what is written: a stream.
    pub fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<GivenUp> {
        let Some(piece) = self.reader.piece_behind() else {
            self.moved();
            return Poll::Pending;
        };
        if std::mem::replace(&mut self.piece, piece) != piece {
            self.moved();
        }
        self.poll_stalled(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(400);

    fn admission() -> Arc<Admission> {
        let admission = Admission::new();
        admission.stalled.set_patience(PATIENCE);
        admission
    }

    async fn stalled(admission: &Arc<Admission>, held: u64) -> GivenUp {
        let reader = Reader::new();
        reader.hold(held);
        let mut patience = Patience::new(admission.clone(), reader);
        poll_fn(|cx| patience.poll_stalled(cx)).await
    }

    #[tokio::test]
    async fn who_reads_nothing_is_given_up_in_time_and_sooner_under_pressure() {
        let admission = admission();
        let began = Instant::now();
        assert_eq!(stalled(&admission, 1).await, GivenUp::Time);
        assert!(began.elapsed() >= PATIENCE);
        assert_eq!(admission.stalled.count(), 0);
        admission.memory.set_limit(1000);
        assert!(admission.memory.charge(800, Rank::Begun));
        let began = Instant::now();
        assert_eq!(stalled(&admission, 1).await, GivenUp::Time);
        assert!((PATIENCE / 6..PATIENCE).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn those_that_hold_most_are_given_up_first_and_no_more_than_needed() {
        let admission = admission();
        admission.stalled.set_patience(10 * PATIENCE);
        let (told, mut ends) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = tokio::task::JoinSet::new();
        for held in [30, 70, 50] {
            let (admission, told) = (admission.clone(), told.clone());
            tasks.spawn(async move { told.send((held, stalled(&admission, held).await)) });
        }
        tokio::task::yield_now().await;
        assert_eq!(admission.stalled.give_up(1), 0, "nobody has stalled for long enough to be known");
        while admission.stalled.count() < 3 {
            tokio::time::sleep(PATIENCE / 30).await;
        }
        assert_eq!(admission.stalled.give_up(100), 120);
        let mut given_up = [ends.recv().await.unwrap(), ends.recv().await.unwrap()];
        given_up.sort_by_key(|(held, _)| *held);
        assert_eq!(given_up, [(50, GivenUp::Memory), (70, GivenUp::Memory)]);
        assert_eq!(admission.stalled.count(), 1);
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
        assert_eq!(admission.stalled.count(), 0, "who leaves is not on the list");
    }

    #[tokio::test]
    async fn a_stream_that_waits_for_its_provider_has_not_stalled() {
        let (admission, reader) = (admission(), Reader::new());
        let mut patience = Patience::new(admission, reader.clone());
        let mut look =
            async || tokio::time::timeout(PATIENCE / 3 * 2, poll_fn(|cx| patience.poll_behind(cx))).await.is_ok();
        assert!(!look().await && !look().await, "nothing was given");
        reader.is_given();
        assert!(!look().await);
        reader.is_given();
        assert!(!look().await, "it went on");
        reader.has_all();
        assert!(!look().await);
        reader.is_given();
        assert!(!look().await && look().await);
    }
}
