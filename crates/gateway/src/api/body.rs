//! The bodies of answers: bytes, or a stream that flows.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use gateway_core::error::{ErrorKind, GatewayError};
use gateway_core::limits::{KEEP_ALIVE_EVERY, REPLY_PIECE_BYTES};
use gateway_dialects::codec;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::api::pace::Busy;
use crate::attempt::{Failure, Good};
use crate::cache::keep;
use crate::call::SharedCall;
use crate::gateway::Gateway;
use crate::pipeline;
use crate::relay::{Relay, keep_alive};
use crate::settle::{Outcome, Settle};

/// Attempts under way for a stream whose client already has its headers.
pub type Opening = Pin<Box<dyn Future<Output = (Result<Good, Failure>, Box<Settle>)> + Send>>;

/// The body of an answer; while it lives its connection is not idle.
#[derive(Debug)]
pub struct ReplyBody {
    content: Content,
    busy: Busy,
}

impl ReplyBody {
    pub fn new(content: Content, busy: Busy) -> Self {
        ReplyBody { content, busy }
    }
}

#[derive(Debug)]
pub enum Content {
    /// `None` once it has been sent.
    Bytes(Option<Bytes>),
    Stream(Box<StreamBody>),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let piece = match &mut this.content {
            Content::Bytes(bytes) => Poll::Ready(next_piece(bytes)),
            Content::Stream(stream) => stream.poll_bytes(cx),
        };
        match &piece {
            Poll::Ready(_) => this.busy.reader().is_given(),
            Poll::Pending => this.busy.reader().has_all(),
        }
        piece.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Bytes(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Stream(stream) => matches!(stream.stage, Stage::Over),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Bytes(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}

/// The next piece of a whole answer. What the request holds is held until the last one is taken.
fn next_piece(rest: &mut Option<Bytes>) -> Option<Bytes> {
    match rest {
        Some(bytes) if bytes.len() > REPLY_PIECE_BYTES => Some(bytes.split_to(REPLY_PIECE_BYTES)),
        _ => rest.take().filter(|bytes| !bytes.is_empty()),
    }
}

/// A stream to a client, from its headers to its last byte.
pub struct StreamBody {
    gateway: Arc<Gateway>,
    stage: Stage,
    /// Set when it is first waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

enum Stage {
    Opening(Opening, SharedCall),
    Flowing(Box<Relay>, Box<Settle>),
    /// The last words of a stream that never flowed.
    Last(Bytes),
    /// An answer that is there already, event by event.
    Replayed(VecDeque<Bytes>, Settle),
    Over,
}

impl std::fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamBody").finish_non_exhaustive()
    }
}

impl StreamBody {
    /// A stream whose first content has come.
    pub fn flowing(gateway: Arc<Gateway>, relay: Box<Relay>, settle: Box<Settle>) -> Self {
        StreamBody { gateway, stage: Stage::Flowing(relay, settle), timer: None }
    }

    /// A stream that was kept.
    pub fn replayed(gateway: Arc<Gateway>, pieces: VecDeque<Bytes>, settle: Settle) -> Self {
        StreamBody { gateway, stage: Stage::Replayed(pieces, settle), timer: None }
    }

    /// A stream of which there is nothing yet but a sign of life.
    pub fn opening(gateway: Arc<Gateway>, call: SharedCall, attempts: Opening) -> Self {
        let timer = Some(Box::pin(tokio::time::sleep_until(Instant::now().into())));
        StreamBody { gateway, stage: Stage::Opening(attempts, call), timer }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match &mut self.stage {
                Stage::Over => return Poll::Ready(None),
                Stage::Last(bytes) => {
                    let bytes = std::mem::take(bytes);
                    self.stage = Stage::Over;
                    return Poll::Ready(Some(bytes));
                }
                Stage::Replayed(pieces, settle) => match pieces.pop_front() {
                    Some(piece) => {
                        if pieces.is_empty() {
                            settle.end(200, Outcome::Ok, None);
                        }
                        return Poll::Ready(Some(piece));
                    }
                    None => self.stage = Stage::Over,
                },
                Stage::Opening(attempts, call) => {
                    let (dialect, polled) = (call.dialect, attempts.as_mut().poll(cx));
                    if let Poll::Ready((result, settle)) = polled {
                        let call = call.clone();
                        self.opened(&call, result, settle);
                        continue;
                    }
                    if self.expired(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.rearm(Instant::now() + KEEP_ALIVE_EVERY);
                    return Poll::Ready(Some(keep_alive(dialect)));
                }
                Stage::Flowing(relay, settle) => {
                    keep::stream(settle, relay);
                    if let Some(bytes) = relay.take_output() {
                        if relay.over().is_some() {
                            end(relay, settle);
                            self.stage = Stage::Over;
                        }
                        return Poll::Ready(Some(bytes));
                    }
                    if relay.over().is_some() {
                        end(relay, settle);
                        self.stage = Stage::Over;
                        continue;
                    }
                    if relay.poll_step(cx).is_ready() {
                        if relay.is_complete() {
                            // From now on another clock runs.
                            self.timer = None;
                        }
                        continue;
                    }
                    if self.gateway.is_closing() {
                        let error = GatewayError::new(ErrorKind::Overloaded, "the gateway is shutting down");
                        relay.end_with(&error, Outcome::Drained);
                        continue;
                    }
                    if self.timer.is_some() && self.expired(cx).is_pending() {
                        return Poll::Pending;
                    }
                    if let Stage::Flowing(relay, settle) = &mut self.stage {
                        let now = Instant::now();
                        let next = relay.check_clocks(now);
                        let next = settle.show_in_time(now).map_or(next, |due| next.min(due));
                        self.rearm(next);
                    }
                }
            }
        }
    }

    fn expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    fn rearm(&mut self, at: Instant) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at.into()),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(at.into()))),
        }
    }

    /// The attempts have ended, long after the client got its headers.
    fn opened(&mut self, call: &SharedCall, result: Result<Good, Failure>, mut settle: Box<Settle>) {
        self.stage = match result {
            Ok(Good::Stream(relay)) => {
                settle.first_content();
                Stage::Flowing(relay, settle)
            }
            Ok(Good::Whole(whole)) => {
                let (bytes, streamed) = pipeline::said(&self.gateway, call, &whole.target, whole.body, &mut settle);
                settle.end(200, Outcome::Ok, None);
                // An answer in one piece where a stream was promised is one event.
                Stage::Last(if streamed { bytes } else { Bytes::from([b"data: ", &bytes[..], b"\n\n"].concat()) })
            }
            Err(failure) => {
                settle.failed_for_all(&failure);
                settle.end(200, failure.outcome(), Some(failure.text()));
                let body = pipeline::error_body(call, &failure);
                Stage::Last(Bytes::from(codec::client(call.dialect).error_event(&body)))
            }
        };
    }
}

fn end(relay: &Relay, settle: &mut Settle) {
    account(relay, settle);
    if let Some(over) = relay.over() {
        settle.end(200, over.outcome, over.error.clone());
    }
}

/// Tells what the answer took so far, and why it ended if it has.
pub fn account(relay: &Relay, settle: &mut Settle) {
    match relay.usage() {
        (usage, false) => settle.usage(usage),
        (usage, true) => settle.estimated_usage(usage),
    }
    if let Some(finish) = relay.finish_reason() {
        settle.finish_reason(finish);
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        // The client has gone: what it got so far is still accounted for.
        if let Stage::Flowing(relay, settle) = &mut self.stage {
            account(relay, settle);
            if relay.is_complete() {
                settle.end(200, Outcome::Ok, None);
            }
        }
    }
}
