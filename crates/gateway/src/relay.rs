//! One stream on its way from a provider to a client.
//!
//! A relay works in whole events. Where both sides speak one dialect the bytes of each event pass as they came and a decoder
//! reads a copy; otherwise the decoder's events go through the client's encoder. Whatever happens, the client's stream ends
//! honestly: as a success only if the provider's did.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use gateway_core::chat::FinishReason;
use gateway_core::dialect::Dialect;
use gateway_core::error::{ErrorKind, FailureClass, GatewayError, UpstreamError};
use gateway_core::event::StreamEvent;
use gateway_core::limits::{HELD_STREAM_BYTES, KEEP_ALIVE_EVERY};
use gateway_core::target::Target;
use gateway_core::tool_names::ToolNames;
use gateway_core::usage::Usage;
use gateway_dialects::codec::{self, Ending, EventRole, StreamDecoder, StreamEncoder};
use gateway_dialects::sse::{Frame, SseDecoder};

use crate::api::headers::Headers;
use crate::attempt::{Failure, Refused};
use crate::cache::Tape;
use crate::call::Call;
use crate::config::Timeouts;
use crate::estimate::Tally;
use crate::providers::client::AnswerBody;
use crate::request_id::RequestId;
use crate::settle::Outcome;

/// How events reach the client.
pub enum Writer {
    /// Unchanged. `drop_usage`: the client did not ask for the chunk that tells the usage; the gateway did.
    Same { drop_usage: bool },
    /// In the client's dialect, and with its own names of tools.
    Translate(Box<dyn StreamEncoder>, ToolNames),
}

/// A stream that ended, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Over {
    pub outcome: Outcome,
    pub error: Option<String>,
}

impl Over {
    const OK: Over = Over { outcome: Outcome::Ok, error: None };
}

/// How long to wait for the end of a body whose stream has said its last word.
const AFTER_DONE: Duration = Duration::from_secs(1);
/// How long to wait for the end of a stream that has already told an error.
const AFTER_ERROR: Duration = Duration::from_millis(250);

pub struct Relay {
    pub target: Target,
    pub headers: Headers,
    /// Of the request no more than this: its body need not wait for the end of the answer.
    dialect: Dialect,
    request_id: RequestId,
    timeouts: Timeouts,
    /// `None` once the provider has nothing more to say.
    body: Option<AnswerBody>,
    sse: SseDecoder,
    decoder: Box<dyn StreamDecoder>,
    writer: Writer,
    events: Vec<StreamEvent>,
    output: VecDeque<Bytes>,
    opened: bool,
    usage: Option<Usage>,
    /// `usage` is more than what was known at the beginning.
    usage_told: bool,
    tally: Tally,
    /// What has passed, if it may be kept.
    tape: Option<Box<Tape>>,
    finish: Option<FinishReason>,
    error: Option<UpstreamError>,
    broken: Option<String>,
    /// When the client had been given a whole answer.
    completed: Option<Instant>,
    over: Option<Over>,
    began: Instant,
    last_byte: Instant,
    last_said: Instant,
    last_written: Instant,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("target", &self.target).field("over", &self.over).finish_non_exhaustive()
    }
}

impl Relay {
    /// `prompt_tokens`: as far as they are known without the provider, which may not come to tell them.
    pub fn new(
        timeouts: Timeouts,
        call: &Call,
        target: Target,
        headers: Headers,
        body: AnswerBody,
        writer: Writer,
        prompt_tokens: u64,
    ) -> Self {
        let now = Instant::now();
        let verbatim = matches!(writer, Writer::Same { .. });
        Relay {
            tape: call.tapes.as_ref().map(|tapes| Box::new(tapes.begin(verbatim))),
            decoder: codec::provider(target.dialect).stream_decoder(),
            target,
            headers,
            dialect: call.dialect,
            request_id: call.request_id,
            timeouts,
            body: Some(body),
            sse: SseDecoder::new(),
            writer,
            events: Vec::new(),
            output: VecDeque::new(),
            opened: false,
            usage: None,
            usage_told: false,
            tally: Tally::new(prompt_tokens),
            finish: None,
            error: None,
            broken: None,
            completed: None,
            over: None,
            began: now,
            last_byte: now,
            last_said: now,
            last_written: now,
        }
    }

    /// Reads until the first content. What came before it is held back and goes out with it.
    pub async fn open(&mut self) -> Result<(), Failure> {
        poll_fn(|cx| {
            while !self.opened && self.over.is_none() && self.error.is_none() {
                ready!(self.poll_step(cx));
                if self.output.iter().map(Bytes::len).sum::<usize>() > HELD_STREAM_BYTES {
                    return Poll::Ready(Err(
                        self.unusable(format!("more than {HELD_STREAM_BYTES} bytes without content"))
                    ));
                }
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        if self.opened {
            return Ok(());
        }
        if self.error.is_some() {
            let rest = poll_fn(|cx| {
                while self.over.is_none() {
                    ready!(self.poll_step(cx));
                }
                Poll::Ready(())
            });
            // Without its end an error is an error all the same.
            let _ = tokio::time::timeout(AFTER_ERROR, rest).await;
        }
        Err(match self.error.take() {
            Some(error) => {
                let (body, headers) = (self.take_output().unwrap_or_default(), std::mem::take(&mut self.headers));
                Failure::Upstream(Box::new(Refused {
                    target: self.target.clone(),
                    error,
                    status: 200,
                    headers,
                    body,
                    wait: None,
                }))
            }
            None => {
                let why = self.broken.take();
                self.unusable(why.unwrap_or_else(|| "the stream ended before its first content".to_owned()))
            }
        })
    }

    fn unusable(&self, why: String) -> Failure {
        Failure::gateway(FailureClass::BadAnswer, &self.target, why)
    }

    /// Reads what the provider has sent next.
    pub fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(body) = &mut self.body else { return Poll::Ready(()) };
        match ready!(body.poll_bytes(cx)) {
            Some(Ok(bytes)) => {
                self.last_byte = Instant::now();
                self.sse.push(bytes);
                loop {
                    match self.sse.next_frame() {
                        Ok(Some(frame)) => self.take_frame(frame),
                        Ok(None) => break,
                        Err(too_long) => {
                            self.fail(&too_long.to_string());
                            break;
                        }
                    }
                    if self.over.is_some() {
                        break;
                    }
                }
                // A provider that never stops leaves no moment in which the clocks would be looked at.
                if self.completed.is_some_and(|completed| self.last_byte >= completed + AFTER_DONE) {
                    self.over = Some(Over::OK);
                }
            }
            Some(Err(error)) => self.upstream_ended(Some(error.to_string())),
            None => self.upstream_ended(None),
        }
        Poll::Ready(())
    }

    fn take_frame(&mut self, frame: Frame) {
        let Some(event) = frame.event() else {
            if matches!(self.writer, Writer::Same { .. }) {
                self.output.push_back(frame.raw);
            }
            return;
        };
        let role = self.decoder.push(&event, &mut self.events);
        if let Some(tape) = &mut self.tape
            && self.completed.is_none()
            && event.name != "ping"
        {
            tape.frame(&frame.raw, role);
        }
        let broken = role == EventRole::Error && serde_json::from_str::<serde::de::IgnoredAny>(&event.data).is_err();
        drop(event);
        if broken {
            // No client could read it: what came so far is all there is.
            self.events.clear();
            return self.fail("an event is not JSON");
        }
        match role {
            EventRole::Content => {
                self.opened = true;
                self.last_said = self.last_byte;
            }
            EventRole::Done => self.opened |= self.error.is_none(),
            EventRole::Lifecycle | EventRole::UsageOnly | EventRole::Error => {}
        }
        match &self.writer {
            Writer::Same { drop_usage: true } if role == EventRole::UsageOnly => {}
            Writer::Same { .. } => self.output.push_back(frame.raw),
            Writer::Translate(..) => {}
        }
        self.take_events();
        match role {
            EventRole::Done if self.error.is_none() => self.complete(),
            EventRole::Error if self.opened => self.upstream_failed(),
            _ => {}
        }
    }

    /// Notes what the decoder has read, and passes it on where it must be translated.
    fn take_events(&mut self) {
        let mut text = Vec::new();
        for mut event in self.events.drain(..) {
            self.tally.see(&event);
            if let Some(tape) = &mut self.tape
                && self.completed.is_none()
            {
                tape.event(&event);
            }
            match &event {
                StreamEvent::Start { usage: Some(usage), .. } => self.usage = Some(*usage),
                StreamEvent::Usage(usage) => {
                    self.usage = Some(*usage);
                    self.usage_told = true;
                }
                StreamEvent::Finish(finish) => self.finish = Some(finish.clone()),
                StreamEvent::Error(error) => {
                    self.error.get_or_insert_with(|| error.clone());
                    continue;
                }
                _ => {}
            }
            if let Writer::Translate(encoder, tool_names) = &mut self.writer
                && self.completed.is_none()
            {
                tool_names.restore_event(&mut event);
                encoder.push(event, &mut text);
            }
        }
        if !text.is_empty() {
            self.output.push_back(Bytes::from(text));
        }
    }

    fn upstream_ended(&mut self, broken: Option<String>) {
        self.body = None;
        if let Some(frame) = self.sse.finish()
            && let Some(event) = frame.event()
            && (event.data == "[DONE]" || serde_json::from_str::<serde::de::IgnoredAny>(&event.data).is_ok())
        {
            // The vendor forgot the last line end.
            let raw = Bytes::from([&frame.raw[..], b"\n\n"].concat());
            self.take_frame(Frame { raw });
        }
        if self.over.is_some() {
            return;
        }
        if self.completed.is_some() {
            self.over = Some(Over::OK);
            return;
        }
        let ending = self.decoder.finish(&mut self.events);
        if self.error.is_some() {
            self.events.clear();
            return self.upstream_failed_at_end();
        }
        match ending {
            Ending::Complete => {
                self.take_events();
                self.opened = true;
                self.complete();
                self.over = Some(Over::OK);
            }
            Ending::Truncated => {
                self.events.clear();
                self.fail(&broken.unwrap_or_else(|| "the stream ended before the answer did".to_owned()));
            }
        }
    }

    /// The answer is whole. The provider only has to end its body, which frees its connection for the next request; some
    /// vendors add an event of their own.
    fn complete(&mut self) {
        if self.completed.is_some() {
            return;
        }
        self.completed = Some(self.last_byte);
        if let Writer::Translate(encoder, _) = &mut self.writer {
            let mut text = Vec::new();
            if !self.usage_told {
                let usage = self.tally.usage(self.usage);
                encoder.push(StreamEvent::EstimatedUsage(usage), &mut text);
            }
            encoder.finish(&mut text);
            self.output.push_back(Bytes::from(text));
        }
    }

    /// Has the client been given a whole answer?
    pub fn is_complete(&self) -> bool {
        self.completed.is_some()
    }

    /// The provider has told an error in the middle of its answer.
    fn upstream_failed(&mut self) {
        let Some(error) = &self.error else { return };
        // In the client's own dialect the error has passed already, and what follows it passes too.
        if matches!(self.writer, Writer::Translate(..)) {
            let body = codec::client(self.dialect).encode_upstream_error(error, &self.request_id);
            self.over = Some(Over { outcome: Outcome::Truncated, error: Some(error.message.clone()) });
            self.body = None;
            self.say_error(&body);
        }
    }

    fn upstream_failed_at_end(&mut self) {
        let message = self.error.as_ref().map(|error| error.message.clone());
        self.upstream_failed();
        self.over.get_or_insert(Over { outcome: Outcome::Truncated, error: message });
    }

    /// Ends the stream as a failure that the gateway has found out.
    fn fail(&mut self, why: &str) {
        self.body = None;
        if self.completed.is_some() {
            self.over = Some(Over::OK);
        } else if !self.opened {
            self.broken = Some(why.to_owned());
        } else {
            let message = format!("the answer from {} broke off", self.target);
            let error = GatewayError::new(ErrorKind::ProviderError, message).internal(why);
            self.end_with(&error, Outcome::Truncated);
        }
        self.over.get_or_insert_with(|| Over { outcome: Outcome::Truncated, error: Some(why.to_owned()) });
    }

    /// Ends the stream with an error of the gateway's own.
    pub fn end_with(&mut self, error: &GatewayError, outcome: Outcome) {
        self.body = None;
        let body = codec::client(self.dialect).encode_error(error, &self.request_id);
        self.say_error(&body);
        let why = error.internal.as_ref().unwrap_or(&error.message);
        self.over = Some(Over { outcome, error: Some(why.clone()) });
    }

    fn say_error(&mut self, body: &[u8]) {
        self.output.push_back(Bytes::from(codec::client(self.dialect).error_event(body)));
    }

    /// What can go to the client now.
    pub fn take_output(&mut self) -> Option<Bytes> {
        let first = self.output.pop_front()?;
        self.last_written = Instant::now();
        if self.output.is_empty() {
            return Some(first);
        }
        let mut joined = BytesMut::with_capacity(first.len() + self.output.iter().map(Bytes::len).sum::<usize>());
        joined.extend_from_slice(&first);
        for bytes in self.output.drain(..) {
            joined.extend_from_slice(&bytes);
        }
        Some(joined.freeze())
    }

    /// What has passed, once it is a whole answer and its provider has said why it ended.
    pub fn finished_tape(&mut self) -> Option<Box<Tape>> {
        self.completed?;
        let well = self.error.is_none() && self.decoder.finish_was_told();
        self.tape.take().filter(|_| well)
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// How it ended, once everything that was to be said has been taken.
    pub fn over(&self) -> Option<&Over> {
        self.over.as_ref().filter(|_| self.output.is_empty())
    }

    /// The tokens so far, and whether the gateway had to estimate them: the provider told none, or has not come to it.
    pub fn usage(&self) -> (Usage, bool) {
        match self.usage {
            Some(usage) if self.usage_told => (usage, false),
            told => (self.tally.usage(told), true),
        }
    }

    pub fn finish_reason(&self) -> Option<&FinishReason> {
        self.finish.as_ref()
    }

    /// The clocks of an open stream: says a keep-alive or ends the stream where one has run out, and tells when to ask again.
    pub fn check_clocks(&mut self, now: Instant) -> Instant {
        if let Some(completed) = self.completed {
            // However much the provider still has to say.
            if now >= completed + AFTER_DONE {
                self.over = Some(Over::OK);
            }
            return completed + AFTER_DONE;
        }
        let deadlines = [
            (self.last_byte + self.timeouts.stream_idle, "no bytes"),
            (self.last_said + self.timeouts.stream_silent, "no content"),
            (self.began + self.timeouts.stream_total, "no end"),
        ];
        if let Some((_, what)) = deadlines.iter().find(|(deadline, _)| *deadline <= now) {
            let error = GatewayError::new(
                ErrorKind::Timeout,
                format!("the answer from {} stalled: {what} in time", self.target),
            );
            self.end_with(&error, Outcome::Truncated);
            return now + KEEP_ALIVE_EVERY;
        }
        let mut quiet_until = self.last_byte.max(self.last_written) + KEEP_ALIVE_EVERY;
        if quiet_until <= now {
            self.output.push_back(keep_alive(self.dialect));
            quiet_until = now + KEEP_ALIVE_EVERY;
        }
        deadlines.iter().fold(quiet_until, |next, (deadline, _)| next.min(*deadline))
    }
}

pub fn keep_alive(dialect: Dialect) -> Bytes {
    Bytes::from_static(codec::client(dialect).keep_alive())
}
