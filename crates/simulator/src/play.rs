//! The response body: sends bytes as they are, or plays a script.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::ledger::{Ending, Receipt};
use crate::script::{Finale, Script, Step};
use crate::wire::Wire;

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ends its ledger entry when it has handed over its last byte or failed on purpose; dropped before that, the entry says
/// that the peer went away.
pub(crate) struct Play {
    receipt: Option<Receipt>,
    part: Part,
}

enum Part {
    Whole(Bytes),
    Script(Box<Player>),
}

struct Player {
    script: Script,
    wire: Arc<Wire>,
    waiting: Option<Waiting>,
    /// When the last pause was to end.
    clock: Option<Instant>,
    /// What the finale waits for has been waited for.
    waited: bool,
}

impl Play {
    pub(crate) fn whole(bytes: Bytes, receipt: Option<Receipt>) -> Self {
        let mut play = Self { receipt, part: Part::Whole(bytes) };
        if play.is_end_stream() {
            play.end(Ending::Complete);
        }
        play
    }

    pub(crate) fn script(script: Script, wire: Arc<Wire>, receipt: Option<Receipt>) -> Self {
        let player = Player { script, wire, waiting: None, clock: None, waited: false };
        Self { receipt, part: Part::Script(Box::new(player)) }
    }

    fn end(&mut self, ending: Ending) {
        if let Some(mut receipt) = self.receipt.take() {
            receipt.end(ending);
        }
    }

    fn sent(&mut self, bytes: &Bytes, events: u64) {
        if let Some(receipt) = &mut self.receipt {
            receipt.sent(bytes.len(), events);
        }
    }
}

enum Next {
    Send(Bytes, u64),
    End(Ending),
    Break,
}

impl Player {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            match self.script.steps.next() {
                Some(Step::Send { bytes, events }) => return Poll::Ready(Next::Send(bytes, events)),
                Some(Step::Pause(pause)) => self.waiting = Some(self.pause(pause)),
                None => {
                    if let Some(next) = self.finale() {
                        return Poll::Ready(next);
                    }
                }
            }
        }
    }

    fn pause(&mut self, pause: Duration) -> Waiting {
        if pause.is_zero() {
            return Box::pin(tokio::task::yield_now());
        }
        let until = self.clock.unwrap_or_else(Instant::now) + pause;
        self.clock = Some(until);
        Box::pin(tokio::time::sleep_until(until))
    }

    /// What comes now that the steps are over; None means to wait first.
    fn finale(&mut self) -> Option<Next> {
        let waited = std::mem::replace(&mut self.waited, true);
        match &self.script.finale {
            Finale::Complete => return Some(Next::End(Ending::Complete)),
            Finale::Short => return Some(Next::End(Ending::Fault)),
            Finale::Abort if waited => return Some(Next::Break),
            Finale::Reset if waited => {
                self.wire.reset();
                return Some(Next::Break);
            }
            Finale::Abort | Finale::Reset => {
                let wire = Arc::clone(&self.wire);
                self.waiting = Some(Box::pin(async move { wire.flushed().await }));
            }
            Finale::Stall { ping: Some((ping, _)) } if waited => {
                self.waited = false;
                return Some(Next::Send(ping.clone(), 0));
            }
            Finale::Stall { ping: Some((_, every)) } => self.waiting = Some(Box::pin(tokio::time::sleep(*every))),
            Finale::Stall { ping: None } => self.waiting = Some(Box::pin(std::future::pending())),
        }
        None
    }

    /// How the answer has ended if nothing is left to do; hyper need not ask once more after a told length is reached.
    fn ended(&self) -> Option<Ending> {
        match self.script.finale {
            Finale::Complete if self.script.steps.len() == 0 => Some(Ending::Complete),
            Finale::Short if self.script.steps.len() == 0 => Some(Ending::Fault),
            _ => None,
        }
    }
}

impl Body for Play {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let play = self.get_mut();
        let player = match &mut play.part {
            Part::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                if bytes.is_empty() {
                    return Poll::Ready(None);
                }
                play.sent(&bytes, 0);
                play.end(Ending::Complete);
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Part::Script(player) => player,
        };
        match ready!(player.poll(cx)) {
            Next::Send(bytes, events) => {
                let ended = player.ended();
                play.sent(&bytes, events);
                if let Some(ending) = ended {
                    play.end(ending);
                }
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Next::End(ending) => {
                play.end(ending);
                Poll::Ready(None)
            }
            Next::Break => {
                play.end(Ending::Fault);
                Poll::Ready(Some(Err(io::Error::other("the simulator ends this connection, as the fault asks"))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.part, Part::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.part {
            Part::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Part::Script(_) => SizeHint::default(),
        }
    }
}
