//! What a dialect must be able to do, as a client's and as a provider's, and the one place that knows which is which.
//!
//! Traffic of the same dialect on both sides does not pass through here: its bytes go unchanged (see [`crate::envelope`]),
//! and only a [`StreamDecoder`] or [`ProviderCodec::decode_response`] reads a copy.

use std::fmt;
use std::sync::Arc;

use gateway_core::chat::{ChatRequest, ChatResponse, Contents, Encoded, FinishReason};
use gateway_core::dialect::{Dialect, ProviderDialect};
use gateway_core::error::{GatewayError, UpstreamError};
use gateway_core::event::StreamEvent;
use gateway_core::usage::{Cost, Usage};

use crate::sse::SseEvent;

/// The codec of a client dialect.
pub fn client(dialect: Dialect) -> &'static dyn ClientCodec {
    match dialect {
        Dialect::Native => &crate::native::Native,
        Dialect::OpenAiChat => &crate::openai_chat::OpenAiChat,
        Dialect::AnthropicMessages => &crate::anthropic_messages::AnthropicMessages,
    }
}

/// The codec of a provider dialect.
pub fn provider(dialect: ProviderDialect) -> &'static dyn ProviderCodec {
    match dialect {
        ProviderDialect::OpenAiChat => &crate::openai_chat::OpenAiChat,
        ProviderDialect::AnthropicMessages => &crate::anthropic_messages::AnthropicMessages,
    }
}

/// How clients of a dialect are understood and answered.
pub trait ClientCodec: Send + Sync {
    /// The body must have passed [`crate::json::check`]. Errors name the field at fault.
    fn decode_request(&self, body: &[u8]) -> Result<ChatRequest, GatewayError>;

    fn encode_response(&self, response: ChatResponse, answer: &Answer) -> Vec<u8>;

    /// Names of what [`ClientCodec::encode_response`] cannot say of this answer. A stream's encoder names them in a comment.
    fn losses(&self, response: &ChatResponse) -> Vec<String>;

    fn stream_encoder(&self, answer: Answer) -> Box<dyn StreamEncoder>;

    /// The body of an error that the gateway made. Its status is in [`gateway_core::error::ErrorRow`].
    fn encode_error(&self, error: &GatewayError, request_id: &str) -> Vec<u8>;

    /// A provider's error, of another dialect, in this one: same message, nearest type.
    fn encode_upstream_error(&self, error: &UpstreamError, request_id: &str) -> Vec<u8>;

    /// The event with which a stream ends that went wrong; `error` is a body made by one of the two functions above.
    fn error_event(&self, error: &[u8]) -> Vec<u8>;

    /// An event or comment that says only that the connection lives.
    fn keep_alive(&self) -> &'static [u8];
}

/// How providers of a dialect are asked and understood.
pub trait ProviderCodec: Send + Sync {
    fn encode_request(&self, request: &ChatRequest, target: &EncodeTarget<'_>) -> Encoded;

    /// Reads a whole answer of status 200. `Err` where it is an error object, or no answer of this dialect at all.
    fn decode_response(&self, body: &[u8]) -> Result<ChatResponse, UpstreamError>;

    /// What of an answer concerns its account, for traffic that passes unchanged. Fails as
    /// [`ProviderCodec::decode_response`] does.
    fn glance(&self, body: &[u8]) -> Result<Glance, UpstreamError>;

    fn stream_decoder(&self) -> Box<dyn StreamDecoder>;

    /// Reads an error answer in whatever shape a vendor of this dialect may send, HTML and nothing included.
    fn decode_error(&self, status: u16, body: &[u8]) -> UpstreamError;
}

/// The account of a whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    pub finish: Option<FinishReason>,
    pub usage: Option<Usage>,
    pub contents: Contents,
}

impl Glance {
    pub fn of(response: &ChatResponse) -> Glance {
        let contents = Contents::of(&response.parts);
        Glance { finish: response.finish.clone(), usage: response.usage, contents }
    }
}

/// What an encoder of requests needs to know of its target.
#[derive(Debug, Clone, Copy)]
pub struct EncodeTarget<'a> {
    /// The model, as the provider names it.
    pub model: &'a str,
    /// The most that the model can answer, where the model table knows it.
    pub max_output_tokens: Option<u64>,
    /// The name under which the vendor takes the limit: `max_completion_tokens` (OpenAI itself) or `max_tokens`.
    pub max_tokens_field: &'static str,
    /// Whether the vendor of an OpenAI-style API may be asked for the usage of a stream.
    pub stream_options: bool,
    /// Whether the vendor of an OpenAI-style API takes Anthropic's `cache_control` marks.
    pub cache_control: bool,
}

/// Turns tokens into money.
pub type PriceOf = Arc<dyn Fn(&Usage) -> Option<Cost> + Send + Sync>;

/// What an encoder of answers needs to know beside the answer.
#[derive(Clone)]
pub struct Answer {
    pub request_id: String,
    pub provider: Arc<str>,
    /// The model that was asked, for answers that do not name one.
    pub model: Arc<str>,
    /// Seconds since 1970.
    pub created: u64,
    /// The same instant, RFC 3339.
    pub timestamp: String,
    /// From the arrival of the request to its whole answer.
    pub latency_ms: f64,
    /// OpenAI clients get a usage chunk only if they asked for it.
    pub include_usage: bool,
    /// The client's own metadata, which the native dialect returns.
    pub metadata: Option<serde_json::Value>,
    /// What tokens cost at this target; `None` where the price is unknown.
    pub price: PriceOf,
    /// The answer comes from the cache, where it has this name.
    pub cache_key: Option<String>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("request_id", &self.request_id)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// What one event of a stream is for whoever relays it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventRole {
    /// Something the client asked for: text, a tool call, a thought, the finish reason. From here on there is no way back.
    Content,
    /// The frame of an answer without anything in it yet: `message_start`, a chunk with only a role, a ping.
    Lifecycle,
    /// A chunk that exists only because usage was asked for.
    UsageOnly,
    /// An error in the provider's own words.
    Error,
    /// The last event of the dialect: `[DONE]`, `message_stop`.
    Done,
}

/// How a provider's stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Complete,
    /// The bytes ended before the answer did.
    Truncated,
}

/// Reads a provider's stream. Blocks it emits never overlap.
pub trait StreamDecoder: Send {
    /// Appends what the event says to `out`. An event that cannot be read is an error event.
    fn push(&mut self, event: &SseEvent<'_>, out: &mut Vec<StreamEvent>) -> EventRole;

    /// The end of the bytes: closes what is open, emits `Finish` if it has not been, and says whether the answer was
    /// complete by the rules of the dialect. After `Truncated` nothing that was emitted may be taken for a success.
    fn finish(&mut self, out: &mut Vec<StreamEvent>) -> Ending;

    /// Whether the provider has said why the answer ended. If not, [`StreamEvent::Finish`] says what is most probable.
    fn finish_was_told(&self) -> bool;
}

/// Writes a client's stream.
pub trait StreamEncoder: Send {
    fn push(&mut self, event: StreamEvent, out: &mut Vec<u8>);

    /// The good end: everything that the dialect wants said last.
    fn finish(&mut self, out: &mut Vec<u8>);
}
