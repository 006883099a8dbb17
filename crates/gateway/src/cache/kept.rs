//! An answer as it is kept: the bytes that its client was given, in a dialect that can be read again.

use std::sync::Arc;

use bytes::Bytes;
use gateway_cache::Answer;
use gateway_core::chat::{ChatResponse, Contents, FinishReason};
use gateway_core::dialect::{Dialect, ProviderDialect};
use gateway_core::gather::Gather;
use gateway_core::usage::{Cost, Usage};
use gateway_dialects::codec::{self, Ending};
use gateway_dialects::sse::{Frame, SseDecoder};

/// One answer. What it says of itself (`x-gateway-model`) is what it said when it was given.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Of the bytes: the client's, or for the native dialect, which only writes answers, [`wire_of`] it.
    pub wire: ProviderDialect,
    pub form: Form,
    /// Who gave it.
    pub provider: Arc<str>,
    pub model: Arc<str>,
    /// Seconds since 1970, for those who are told when it was given.
    pub created: u64,
    /// What it took. `None`: nobody told, and nobody estimated it.
    pub usage: Option<Usage>,
    pub cost: Option<Cost>,
    /// The name of its finish reason in the log.
    pub finish: &'static str,
    /// Fields of the request that the provider's API has no word for, and such that it demands.
    pub dropped: Box<[String]>,
    pub added: Box<[String]>,
}

/// In how many pieces it came.
#[derive(Debug, Clone)]
pub enum Form {
    Whole(Bytes),
    Events(Events),
}

/// The events of a stream, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Events {
    pub bytes: Bytes,
    /// Where each of them ends.
    pub ends: Box<[u32]>,
    /// Those that only tell the usage to a client that asks for it, by their number.
    pub usage_only: Option<u32>,
}

impl Events {
    /// The bytes of each, and whether it tells the usage alone.
    pub fn iter(&self) -> impl Iterator<Item = (Bytes, bool)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).enumerate().filter_map(|(number, (start, &end))| {
            let (start, end) = (start as usize, end as usize);
            let whole = start <= end && end <= self.bytes.len();
            whole.then(|| (self.bytes.slice(start..end), self.usage_only == u32::try_from(number).ok()))
        })
    }
}

/// The dialect in which answers to clients of `dialect` are kept. Whatever the native one says, OpenAI's can say too.
pub fn wire_of(dialect: Dialect) -> ProviderDialect {
    match dialect {
        Dialect::Native | Dialect::OpenAiChat => ProviderDialect::OpenAiChat,
        Dialect::AnthropicMessages => ProviderDialect::AnthropicMessages,
    }
}

/// Whom an answer may serve later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// Nobody: it is no whole answer, or none to the question.
    Nothing,
    /// Whoever asks exactly the same: it calls for something to be done now.
    Exact,
    All,
}

impl Worth {
    /// A natural end, and something said; nothing that was cut off, filtered or refused.
    pub fn of(finish: Option<&FinishReason>, contents: Contents) -> Worth {
        match finish {
            _ if contents.refusal => Worth::Nothing,
            Some(FinishReason::Stop { .. }) if contents.tool_calls => Worth::Exact,
            Some(FinishReason::Stop { .. }) if contents.text => Worth::All,
            Some(FinishReason::ToolCalls) => Worth::Exact,
            _ => Worth::Nothing,
        }
    }
}

impl Kept {
    pub fn bytes_of_answer(&self) -> &Bytes {
        match &self.form {
            Form::Whole(bytes) | Form::Events(Events { bytes, .. }) => bytes,
        }
    }

    /// The answer, read.
    pub fn read(&self) -> Option<ChatResponse> {
        match &self.form {
            Form::Whole(bytes) => codec::provider(self.wire).decode_response(bytes).ok(),
            Form::Events(events) => gathered(self.wire, events),
        }
    }
}

fn gathered(wire: ProviderDialect, events: &Events) -> Option<ChatResponse> {
    let (mut sse, mut decoder) = (SseDecoder::new(), codec::provider(wire).stream_decoder());
    let (mut gather, mut read) = (Gather::default(), Vec::new());
    sse.push(events.bytes.clone());
    while let Ok(Some(frame)) = sse.next_frame() {
        push(&frame, &mut *decoder, &mut read);
    }
    let ending = decoder.finish(&mut read);
    read.iter().for_each(|event| gather.see(event));
    (ending == Ending::Complete).then(|| gather.done())
}

fn push(frame: &Frame, decoder: &mut dyn codec::StreamDecoder, read: &mut Vec<gateway_core::event::StreamEvent>) {
    if let Some(event) = frame.event() {
        decoder.push(&event, read);
    }
}

impl Answer for Kept {
    fn bytes(&self) -> usize {
        let form = match &self.form {
            Form::Whole(bytes) => bytes.len(),
            Form::Events(events) => events.bytes.len() + size_of_val(&*events.ends),
        };
        let names = self.dropped.iter().chain(&self.added).map(|name| size_of::<String>() + name.len());
        size_of::<Kept>() + form + names.sum::<usize>()
    }
}
