//! What goes on on a client's connection, and its clocks.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use gateway_core::limits::REQUEST_HEADERS_TIME;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::admission::{Admitted, Patience, Reader};
use crate::api::streams;
use crate::gateway::Process;
use crate::providers::line::turn;

/// Between two requests on one connection; longer than the pools of common clients keep theirs.
const IDLE_TIME: Duration = Duration::from_secs(90);
/// The same while more than three quarters of the connections that may be open are, or of the memory is in use. Looked at as
/// often as this.
const IDLE_TIME_CROWDED: Duration = Duration::from_secs(5);
/// What goes on on a connection, for its clocks.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    /// Requests whose answers have not ended.
    busy: AtomicUsize,
    /// When the latest of them ended, in milliseconds since the connection began; 0 before the first.
    idle_since_ms: AtomicU64,
    pub is_spare: bool,
    /// Who reads the answers of HTTP/1.1. In HTTP/2 each stream has one of its own.
    reader: Arc<Reader>,
    pub process: Arc<Process>,
}

impl Pace {
    pub fn new(is_spare: bool, process: Arc<Process>) -> Self {
        let (busy, idle_since_ms) = (AtomicUsize::new(0), AtomicU64::new(0));
        Pace { began: Instant::now(), busy, idle_since_ms, is_spare, reader: Reader::new(), process }
    }

    /// No request has come yet.
    pub fn is_fresh(&self) -> bool {
        self.busy.load(Ordering::Relaxed) == 0 && self.idle_since_ms.load(Ordering::Relaxed) == 0
    }

    /// Until when the next request must have come; `None` while one is being answered.
    fn deadline(&self) -> Option<Instant> {
        if self.busy.load(Ordering::Relaxed) > 0 {
            return None;
        }
        Some(match self.idle_since_ms.load(Ordering::Relaxed) {
            0 => self.began + REQUEST_HEADERS_TIME,
            ms => {
                let idle_time = if self.process.is_crowded() { IDLE_TIME_CROWDED } else { IDLE_TIME };
                self.began + Duration::from_millis(ms) + idle_time
            }
        })
    }
}

/// Lives from the head of a request to the end of its answer.
#[derive(Debug)]
pub struct Busy {
    pace: Arc<Pace>,
    /// Of a stream; on a connection of HTTP/1.1 it is the connection's.
    reader: Option<Arc<Reader>>,
    /// What the request holds until then.
    admitted: Option<Arc<Admitted>>,
}

impl Busy {
    pub fn new(pace: Arc<Pace>) -> Self {
        pace.busy.fetch_add(1, Ordering::Relaxed);
        Busy { pace, reader: None, admitted: None }
    }

    /// From within the task that writes the answer.
    pub fn find_reader(&mut self) {
        self.reader = streams::reader();
    }

    pub fn reader(&self) -> &Arc<Reader> {
        self.reader.as_ref().unwrap_or(&self.pace.reader)
    }

    pub fn hold(&mut self, admitted: Arc<Admitted>) {
        self.admitted = Some(admitted);
    }

    /// Whether the connection is one more than there may be: nothing that takes long is begun on it.
    pub fn is_spare(&self) -> bool {
        self.pace.is_spare
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let now = self.pace.began.elapsed().as_millis() as u64;
        self.pace.idle_since_ms.store(now.max(1), Ordering::Relaxed);
        self.pace.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client's connection with two clocks: a request, its whole head, must come soon, and the client must not stop reading
/// for long while something is being written to it.
///
/// The first is looked at when it may have run out, not set anew with every request.
///
/// What is written waits until the other tasks that are ready have had their turn: what is written together wakes a client on
/// the same machine once instead of each time, which costs more than to write.
pub struct Guarded {
    stream: TcpStream,
    had_turn: bool,
    pace: Arc<Pace>,
    quiet: Pin<Box<Sleep>>,
    patience: Patience,
}

impl Guarded {
    pub fn new(stream: TcpStream, pace: Arc<Pace>) -> Self {
        let quiet = Box::pin(tokio::time::sleep(REQUEST_HEADERS_TIME));
        let patience = Patience::new(pace.process.admission.clone(), pace.reader.clone());
        Guarded { stream, had_turn: false, pace, quiet, patience }
    }

    /// Ready when a request should have come and has not.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.quiet.as_mut().poll(cx));
            let now = Instant::now();
            let next = match self.pace.deadline() {
                Some(deadline) if deadline <= now => return Poll::Ready(()),
                Some(deadline) => deadline,
                None => now + IDLE_TIME,
            };
            self.quiet.as_mut().reset(next.min(now + IDLE_TIME_CROWDED).into());
        }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.patience.moved();
            return written;
        }
        let why = ready!(self.patience.poll_stalled(cx));
        self.pace.process.metrics.stalled(why);
        // What the kernel has not sent is not kept by it either.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_pending() {
            ready!(self.poll_quiet(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(turn(&mut self.had_turn, cx));
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(turn(&mut self.had_turn, cx));
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
