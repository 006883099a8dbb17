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
        poll_fn(|cx| line.poll(cx, |cx| sender.poll_ready(cx))).await
    }

    /// Sends a request and waits for the head of its answer. Its body comes as the line is polled on.
    pub async fn exchange(&mut self, request: Request<Payload>) -> hyper::Result<Response<Incoming>> {
        let Connection { sender, line } = self;
        line.hush();
        let mut answer = pin!(sender.send_request(request));
        poll_fn(|cx| line.poll(cx, |cx| answer.as_mut().poll(cx))).await
    }
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
        let bell = Arc::new(Bell::default());
        Line { driver: Some(Box::new(driver)), waker: Waker::from(bell.clone()), bell }
    }

    /// Drives the connection until there is what is `wanted` of it.
    pub fn poll<T>(&mut self, cx: &mut Context<'_>, mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.bell.task.register(cx.waker());
        for _ in 0..LOOKS {
            self.bell.state.store(AT_WORK, Ordering::Relaxed);
            let mut inner = Context::from_waker(&self.waker);
            if let Some(driver) = &mut self.driver
                && Pin::new(driver).poll(&mut inner).is_ready()
            {
                self.driver = None;
            }
            let polled = wanted(&mut inner);
            if polled.is_ready() {
                self.bell.state.store(QUIET, Ordering::Relaxed);
                return polled;
            }
            if self.bell.state.compare_exchange(AT_WORK, QUIET, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// It is about to be polled: until then it need wake nobody.
    fn hush(&self) {
        self.bell.state.store(RUNG, Ordering::Relaxed);
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
#[derive(Debug, Default)]
struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

const QUIET: u8 = 0;
const AT_WORK: u8 = 1;
const RUNG: u8 = 2;

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(RUNG, Ordering::AcqRel) == QUIET {
            self.task.wake();
        }
    }
}
