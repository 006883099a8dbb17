//! Who may begin: how many requests at a time, and how much memory they may hold. What cannot be served is refused early and
//! cheaply, with a time to come back at; what has begun is never given up for what is new.

mod memory;
mod slots;
mod stalled;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gateway_core::error::{ErrorKind, GatewayError};
use gateway_core::limits::{REQUEST_BASE_BYTES, ROOM_LOOK_TIME, ROOM_TIME};

pub use memory::{Memory, Rank, half_of_this_machine};
pub use slots::{Full, Slot, Slots};
pub use stalled::{GivenUp, Patience, Reader, Stalled};

/// Why a request was shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// As many requests run as may, and as many wait.
    Requests,
    /// It waited, and its turn did not come.
    Wait,
    Memory,
    /// A provider has as many requests as it may, and no other target was left.
    Provider,
    /// More connections are open than may be.
    Connections,
    /// The process has no files left to open.
    Files,
}

impl Shed {
    pub const ALL: [Shed; 6] =
        [Shed::Requests, Shed::Wait, Shed::Memory, Shed::Provider, Shed::Connections, Shed::Files];

    /// For metrics.
    pub fn name(self) -> &'static str {
        match self {
            Shed::Requests => "requests",
            Shed::Wait => "wait",
            Shed::Memory => "memory",
            Shed::Provider => "provider",
            Shed::Connections => "connections",
            Shed::Files => "files",
        }
    }

    /// For the client. The time to come back at is drawn, so that not all come back together.
    pub fn error(self) -> GatewayError {
        let message = match self {
            Shed::Requests | Shed::Wait => "the gateway has as many requests as it can take; try again shortly",
            Shed::Memory => "the gateway has no memory left for this request; try again shortly",
            Shed::Provider => "the provider has as many requests as it may be sent at a time; try again shortly",
            Shed::Connections => "the gateway has as many connections as it can take; try again shortly",
            Shed::Files => "the gateway cannot open more connections; try again shortly",
        };
        let wait = Duration::from_millis(fastrand::u64(1000..3000));
        GatewayError::new(ErrorKind::Overloaded, message).retry_after(wait)
    }
}

impl From<Full> for Shed {
    fn from(full: Full) -> Self {
        match full {
            Full::Queue => Shed::Requests,
            Full::Waited => Shed::Wait,
        }
    }
}

/// The bounds of the process.
#[derive(Debug)]
pub struct Admission {
    pub requests: Arc<Slots>,
    pub memory: Memory,
    pub stalled: Stalled,
}

impl Admission {
    /// Without limits until they are set.
    pub fn new() -> Arc<Self> {
        let (requests, memory) = (Slots::new(usize::MAX), Memory::new(u64::MAX));
        Arc::new(Admission { requests, memory, stalled: Stalled::new() })
    }

    /// Lets a request in that announces a body of `announced` bytes (0 if it does not say) and whose answer goes to `reader`.
    /// `deadline` is asked for only if the request must wait.
    pub async fn admit(
        self: &Arc<Self>,
        announced: u64,
        reader: Arc<Reader>,
        deadline: impl FnOnce() -> Instant,
    ) -> Result<Arc<Admitted>, Shed> {
        // What is announced is charged when it comes: an announcement costs nothing, and must not take room from others.
        let announced = body_cost(announced);
        if !self.memory.has_room(announced, Rank::New) && !Box::pin(self.make_room(announced, Rank::New)).await {
            return Err(Shed::Memory);
        }
        let slot = match self.requests.try_acquire() {
            Some(slot) => slot,
            None => self.requests.acquire(deadline()).await?,
        };
        let (body, answer) = (AtomicU64::new(0), AtomicU64::new(0));
        let admitted = Arc::new(Admitted { admission: self.clone(), reader, body, answer, _slot: Some(slot) });
        admitted.charge(&admitted.body, REQUEST_BASE_BYTES, Rank::New).await?;
        Ok(admitted)
    }

    /// For a request that is not served, only looked at.
    pub fn unbounded(self: &Arc<Self>) -> Arc<Admitted> {
        let (body, answer) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Admitted { admission: self.clone(), reader: Reader::new(), body, answer, _slot: None })
    }

    /// Gives up clients that do not read, those first that hold most, and waits for a moment for what they held. True: now so
    /// much would fit.
    async fn make_room(&self, bytes: u64, rank: Rank) -> bool {
        let Some(shortage) = self.memory.shortage(bytes, rank) else { return false };
        if shortage > 0 && self.stalled.give_up(shortage) == 0 {
            return false;
        }
        let until = Instant::now() + ROOM_TIME;
        loop {
            tokio::time::sleep(ROOM_LOOK_TIME).await;
            let has_room = self.memory.has_room(bytes, rank);
            if has_room || Instant::now() >= until {
                return has_room;
            }
        }
    }
}

/// What a body of so many bytes holds: its bytes, and as much again for what is made of them.
fn body_cost(bytes: u64) -> u64 {
    bytes.saturating_mul(2)
}

/// What a request holds while its body is still there: whoever may have to send it holds this.
#[derive(Debug)]
pub struct WithBody(Arc<Admitted>);

impl WithBody {
    pub fn new(admitted: Arc<Admitted>) -> Self {
        WithBody(admitted)
    }
}

impl std::ops::Deref for WithBody {
    type Target = Admitted;

    fn deref(&self) -> &Admitted {
        &self.0
    }
}

impl Drop for WithBody {
    fn drop(&mut self) {
        self.0.release_body();
    }
}

/// A request that was let in: its place, and what it holds. Both are free again when the last part of the request and of its
/// answer has been dropped.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    /// Who is to read the answer.
    reader: Arc<Reader>,
    /// Charged for the request: the base, and what its body needs beyond that.
    body: AtomicU64,
    /// Charged for the answer.
    answer: AtomicU64,
    _slot: Option<Slot>,
}

impl Admitted {
    /// Charges what a request body that has grown to `bytes` needs beyond the base, which covers a small one.
    pub async fn charge_body(&self, bytes: usize) -> Result<(), Shed> {
        let needed = body_cost(bytes as u64);
        let charged = self.body.load(Ordering::Relaxed);
        if needed <= charged {
            return Ok(());
        }
        // In steps, so that many small pieces cost few changes of the common number.
        self.charge(&self.body, (needed - charged).max(needed / 4), Rank::New).await
    }

    fn release_body(&self) {
        let charged = self.body.load(Ordering::Relaxed);
        if charged > REQUEST_BASE_BYTES {
            self.body.store(REQUEST_BASE_BYTES, Ordering::Relaxed);
            self.release(charged - REQUEST_BASE_BYTES);
        }
    }

    /// Charges a part of an answer that is held until all of it is there.
    pub async fn charge_answer(&self, bytes: usize) -> Result<(), Shed> {
        self.charge(&self.answer, body_cost(bytes as u64), Rank::Begun).await
    }

    async fn charge(&self, account: &AtomicU64, bytes: u64, rank: Rank) -> Result<(), Shed> {
        let admission = &self.admission;
        let fits = admission.memory.charge(bytes, rank)
            // Rare, and larger.
            || (Box::pin(admission.make_room(bytes, rank)).await && admission.memory.charge(bytes, rank));
        if !fits {
            return Err(Shed::Memory);
        }
        account.fetch_add(bytes, Ordering::Relaxed);
        self.reader.hold(bytes);
        Ok(())
    }

    fn release(&self, bytes: u64) {
        self.admission.memory.release(bytes);
        self.reader.release(bytes);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.release(self.body.load(Ordering::Relaxed) + self.answer.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_request_holds_is_given_back_with_it() {
        let admission = Admission::new();
        admission.requests.set_limit(1);
        admission.memory.set_limit(1 << 20);
        let deadline = || Instant::now() + Duration::from_millis(1);
        let request = admission.admit(1000, Reader::new(), deadline).await.unwrap();
        request.charge_body(1000).await.unwrap();
        assert_eq!(admission.admit(0, Reader::new(), deadline).await.unwrap_err(), Shed::Wait);
        assert_eq!(admission.memory.used(), REQUEST_BASE_BYTES, "a small body costs nothing more");
        for length in (0..=300_000).step_by(1000) {
            request.charge_body(length).await.unwrap();
        }
        assert!((600_000..780_000).contains(&admission.memory.used()), "{}", admission.memory.used());
        assert_eq!(request.charge_body(400_000).await, Err(Shed::Memory), "three quarters are for requests");
        request.charge_answer(100_000).await.unwrap();
        assert_eq!(request.charge_answer(200_000).await, Err(Shed::Memory));
        assert_eq!(
            admission.admit(1 << 20, Reader::new(), deadline).await.unwrap_err(),
            Shed::Memory,
            "before anything is read"
        );
        drop(WithBody::new(request.clone()));
        assert_eq!(admission.memory.used(), REQUEST_BASE_BYTES + 200_000, "a body that is sent is not held");
        drop(request);
        assert_eq!((admission.memory.used(), admission.requests.in_use()), (0, 0));
    }

    #[test]
    fn not_all_are_told_to_come_back_at_once() {
        let waits: std::collections::HashSet<_> = (0..20).map(|_| Shed::Memory.error().retry_after).collect();
        assert!(waits.len() > 5, "{waits:?}");
    }
}
