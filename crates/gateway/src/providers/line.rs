//! A connection to a provider that has no task of its own: whoever waits for something on it drives it.
//!
//! hyper wants a connection to be polled by itself, as a rule by a task. Each request and each piece of an answer would then
//! cross from one task to the other and back, and wake both. Here the task that answers the client polls the connection, and
//! what the two halves of hyper tell each other meanwhile wakes nobody.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::providers::client::Payload;

type Driver = http1::Connection<MaybeHttpsStream<TokioIo<TcpStream>>, Payload>;

/// A connection that can be asked something.
#[derive(Debug)]
pub struct Connection {
    pub sender: SendRequest<Payload>,
    pub line: Line,
}

impl Connection {
    /// Waits until a request can be sent. Fails where the provider has closed the connection.
    pub async fn ready(&mut self) -> hyper::Result<()> {
        let Connection { sender, line } = self;
        if sender.is_ready() {
            return Ok(());
        }
        poll_fn(|cx| line.poll(cx, |cx| sender.poll_ready(cx))).await
    }

    /// Sends a request and waits for the head of its answer. Its body comes as the line is polled on.
    ///
    /// Other tasks that are ready have their turn before it is written: what they write comes right before and behind it, and
    /// wakes a provider on the same machine once instead of each time, which costs more than to write.
    pub async fn exchange(&mut self, request: Request<Payload>) -> hyper::Result<Response<Incoming>> {
        let Connection { sender, line } = self;
        // The line is driven next: it need ring for nobody.
        line.bell.set(State::Rung);
        let mut answer = pin!(sender.send_request(request));
        let mut had_turn = false;
        poll_fn(|cx| turn(&mut had_turn, cx)).await;
        poll_fn(|cx| line.poll(cx, |cx| answer.as_mut().poll(cx))).await
    }
}

/// Lets the other tasks that are ready go first, each second time.
pub fn turn(had_turn: &mut bool, cx: &mut Context<'_>) -> Poll<()> {
    *had_turn = !*had_turn;
    if *had_turn {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(())
}

/// What reads and writes the bytes of a connection.
#[derive(Debug)]
pub struct Line {
    /// `None` once the connection has ended. How it ended is told to whoever waits for an answer on it.
    driver: Option<Box<Driver>>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// So often a line is looked at again at once, because something has happened to it meanwhile, before other tasks have a turn.
const LOOKS: usize = 8;

impl Line {
    pub fn new(driver: Driver) -> Self {
        let bell = Arc::new(Bell { state: AtomicU8::new(State::Rung as u8), task: AtomicWaker::new() });
        Line { driver: Some(Box::new(driver)), waker: Waker::from(bell.clone()), bell }
    }

    /// Drives the connection until there is what is `wanted` of it. A line that has not rung since it was last driven has
    /// nothing new.
    pub fn poll<T>(&mut self, cx: &mut Context<'_>, mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.bell.task.register(cx.waker());
        let mut inner = Context::from_waker(&self.waker);
        for _ in 0..LOOKS {
            let has_rung = self.bell.set(State::AtWork) == State::Rung as u8;
            let polled = wanted(&mut inner);
            if polled.is_ready() {
                // There may be more, for whoever comes next.
                self.bell.set(State::Rung);
                return polled;
            }
            if has_rung
                && let Some(driver) = &mut self.driver
                && Pin::new(driver).poll(&mut inner).is_ready()
            {
                self.driver = None;
                // What is wanted will not come: whoever wants it must hear that.
                self.bell.set(State::Rung);
            }
            if self.bell.rest() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Nobody waits for it any more. True where it can be asked again.
    pub fn rests(&mut self) -> bool {
        // It would keep alive the task that it has last worked for.
        drop(self.bell.task.take());
        !self.is_over()
    }

    pub fn is_over(&self) -> bool {
        self.driver.is_none()
    }

    /// Looks whether the provider has closed a connection that rests.
    pub fn is_open(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(&mut nobody).is_pending())
    }
}

/// What a line rings when it can go on. It wakes the task that waits for it, unless that is just at work on it.
#[derive(Debug)]
struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Quiet,
    AtWork,
    /// Something has happened since the line was last driven.
    Rung,
}

impl Bell {
    /// Returns the state before.
    fn set(&self, state: State) -> u8 {
        self.state.swap(state as u8, Ordering::AcqRel)
    }

    /// From work to quiet; false if it has rung meanwhile.
    fn rest(&self) -> bool {
        let (work, quiet) = (State::AtWork as u8, State::Quiet as u8);
        self.state.compare_exchange(work, quiet, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.set(State::Rung) == State::Quiet as u8 {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_bell_wakes_the_task_that_waits_once_and_never_the_one_at_work() {
        let bell = Arc::new(Bell { state: AtomicU8::new(State::Rung as u8), task: AtomicWaker::new() });
        let (count, ring) = (Arc::new(Count::default()), Waker::from(bell.clone()));
        let woken = || count.0.load(Ordering::Relaxed);
        bell.task.register(&Waker::from(count.clone()));
        bell.set(State::AtWork);
        ring.wake_by_ref();
        assert_eq!((woken(), bell.rest()), (0, false), "it goes on at once instead");
        bell.set(State::AtWork);
        assert!(bell.rest());
        ring.wake_by_ref();
        ring.wake_by_ref();
        assert_eq!(woken(), 1);
        assert_eq!(bell.set(State::AtWork), State::Rung as u8, "it is known that it has rung");
    }
}
