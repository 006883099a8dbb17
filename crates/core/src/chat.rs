//! The canonical model of a chat: what is left of a request or an answer when its wire format is taken away.
//!
//! It is block-structured, as Anthropic's format and the newer OpenAI ones are; OpenAI chat's `tool` messages become
//! [`PartBody::ToolResult`] blocks. Nothing is thrown away in decoding: what has no word here stays in an [`Extra`] beside
//! its neighbours, with the [`Place`] where it stood.

use std::fmt;

use serde_json::{Number, Value};

use crate::Extra;
use crate::event::{Block, Delta, StreamEvent};
use crate::tool_names::ToolNames;
use crate::usage::Usage;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChatRequest {
    pub turns: Vec<Turn>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    /// `Some(false)`: at most one tool call in an answer.
    pub parallel_tool_calls: Option<bool>,
    pub output: Option<OutputFormat>,
    pub reasoning: Option<Reasoning>,
    pub params: Params,
    pub stream: bool,
    /// Who asks, for the provider's abuse detection: OpenAI `user` or `safety_identifier`, Anthropic `metadata.user_id`.
    pub user: Option<String>,
    pub extra: Extra,
}

/// Sampling and limits, as the client spelled them. Absent means that nothing is sent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Params {
    pub max_tokens: Option<u64>,
    pub temperature: Option<Number>,
    pub top_p: Option<Number>,
    pub top_k: Option<u64>,
    pub stop: Vec<String>,
    pub presence_penalty: Option<Number>,
    pub frequency_penalty: Option<Number>,
    pub seed: Option<Number>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    System,
    /// OpenAI's newer name for a system message; other dialects know no difference.
    Developer,
    User,
    Assistant,
    /// A turn that holds only tool results.
    Tool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    pub role: Role,
    pub parts: Vec<Part>,
    pub name: Option<String>,
    /// Where the turn stood: its index in `messages`; `None` for Anthropic's top-level `system`.
    pub index: Option<u32>,
    pub extra: Extra,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub body: PartBody,
    pub place: Place,
    pub extra: Extra,
}

impl Part {
    pub fn new(body: PartBody, place: Place) -> Self {
        Part { body, place, extra: Extra::new() }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum PartBody {
    Text(String),
    /// An answer withheld, in the model's words (OpenAI `refusal`).
    Refusal(String),
    Image(Media),
    /// A document: PDF, plain text.
    File {
        media: Media,
        name: Option<String>,
    },
    Audio(Media),
    /// The model's thoughts. `signature` is opaque and must return to the provider that made it.
    Reasoning {
        text: String,
        signature: Option<String>,
    },
    /// Thoughts that only their provider can read.
    RedactedReasoning(String),
    ToolCall(ToolCall),
    ToolResult {
        id: String,
        content: Vec<Part>,
        is_error: bool,
    },
    /// A block that only its own dialect knows (server tools and their results, …), whole.
    Foreign {
        kind: String,
        value: Value,
    },
}

/// The member of a tool call under which Gemini keeps what must return with the call, such as the signature of its thoughts.
pub const CALL_REMARK: &str = "extra_content";

/// `arguments` is JSON text as the model wrote it: possibly empty, possibly cut off by a token limit, never reformatted.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    pub arguments: String,
}

/// Something that is not text.
#[derive(Debug, Clone, PartialEq)]
pub enum Media {
    Url(String),
    /// `data` is base64; `media_type` as `image/png`.
    Base64 {
        media_type: String,
        data: String,
    },
    /// Plain text that travels as a document.
    Text(String),
    /// A file that was uploaded to the provider before.
    FileId(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    pub body: ToolBody,
    pub extra: Extra,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ToolBody {
    Function {
        name: String,
        description: Option<String>,
        schema: Option<Value>,
        strict: Option<bool>,
    },
    /// A tool that the provider runs, or of a kind that only its own dialect knows.
    Foreign {
        kind: String,
        value: Value,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum ToolChoice {
    Auto,
    None,
    Required,
    Function(String),
    Foreign(Value),
}

#[derive(Debug, Clone, PartialEq)]
pub enum OutputFormat {
    Text,
    JsonObject,
    JsonSchema { name: Option<String>, description: Option<String>, schema: Value, strict: Option<bool> },
    Foreign(Value),
}

/// How much the model shall think. Each dialect says it in its own way; at least one field is set.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reasoning {
    /// `none`, `minimal`, `low`, `medium`, `high`, …
    pub effort: Option<String>,
    pub budget_tokens: Option<u64>,
    /// Anthropic `thinking: {type: disabled}` is `Some(false)`, `adaptive` and `enabled` are `Some(true)`.
    pub enabled: Option<bool>,
    pub extra: Extra,
}

/// Where in the client's body something stood, for naming it: `messages[3].content[0]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// `None`: Anthropic's top-level `system`.
    pub message: Option<u32>,
    pub item: Item,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// The whole `content`, or the message itself.
    Whole,
    Content(u32),
    /// A part of the content of a tool result.
    Nested(u32, u32),
    ToolCall(u32),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message {
            Some(message) => write!(f, "messages[{message}]")?,
            None => f.write_str("system")?,
        }
        let content = if self.message.is_some() { ".content" } else { "" };
        match self.item {
            Item::Whole => Ok(()),
            Item::Content(n) => write!(f, "{content}[{n}]"),
            Item::Nested(n, inner) => write!(f, "{content}[{n}].content[{inner}]"),
            Item::ToolCall(n) => write!(f, ".tool_calls[{n}]"),
        }
    }
}

/// A request in a provider's dialect, and what could not be said in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    pub body: Vec<u8>,
    /// Paths of what the client wrote and the provider does not get.
    pub dropped: Vec<String>,
    /// Paths of what the provider gets in other words, or need not be told to do what the client wants. Named to the client
    /// like the dropped ones, but no reason to refuse a request.
    pub approximated: Vec<String>,
    /// Names of what the provider's dialect demands and the client did not write.
    pub added: Vec<String>,
    /// Tools of which the provider is told under another name; its answer must be given the client's own back.
    pub tool_names: ToolNames,
}

/// A whole answer. Anthropic's blocks, OpenAI's first choice.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatResponse {
    pub id: String,
    /// The model that answered, as the provider names it.
    pub model: String,
    /// Seconds since 1970, where the provider says it.
    pub created: Option<u64>,
    pub parts: Vec<Part>,
    pub finish: Option<FinishReason>,
    pub usage: Option<Usage>,
    /// Names of what the answer carried and the canonical model has no word for.
    pub dropped: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinishReason {
    /// The model was done. With the stop sequence that it met, where the provider tells.
    Stop {
        sequence: Option<String>,
    },
    Length,
    /// The context window is full.
    ContextWindow,
    ToolCalls,
    ContentFilter,
    /// A server-side loop paused; the client continues it by sending the answer back.
    Pause,
    Other(String),
}

/// What there is in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    pub text: bool,
    pub refusal: bool,
    pub tool_calls: bool,
}

impl Contents {
    pub fn of(parts: &[Part]) -> Contents {
        let mut contents = Contents::default();
        for part in parts {
            match &part.body {
                PartBody::Text(text) => contents.text |= !text.is_empty(),
                PartBody::Refusal(_) => contents.refusal = true,
                PartBody::ToolCall(_) | PartBody::Foreign { .. } => contents.tool_calls = true,
                _ => {}
            }
        }
        contents
    }
}

impl FinishReason {
    pub const STOP: FinishReason = FinishReason::Stop { sequence: None };
}

impl ChatResponse {
    /// The answer as a stream would have told it.
    pub fn into_events(self) -> Vec<StreamEvent> {
        let mut events =
            vec![StreamEvent::Start { id: self.id, model: self.model, created: self.created, usage: self.usage }];
        for part in self.parts {
            let (block, deltas) = match part.body {
                PartBody::Text(text) => {
                    let lists = ["annotations", "citations"].map(|key| part.extra.get(key).and_then(Value::as_array));
                    let citations = lists.into_iter().flatten().flatten().cloned().map(Delta::Citation);
                    (Block::Text, std::iter::once(Delta::Text(text)).chain(citations).collect())
                }
                PartBody::Refusal(text) => (Block::Refusal, vec![Delta::Text(text)]),
                PartBody::Reasoning { text, signature } => (
                    Block::Reasoning,
                    std::iter::once(Delta::Reasoning(text)).chain(signature.map(Delta::Signature)).collect(),
                ),
                PartBody::RedactedReasoning(data) => (Block::RedactedReasoning(data), Vec::new()),
                PartBody::ToolCall(call) => {
                    let remark = part.extra.get(CALL_REMARK).cloned().map(Delta::CallRemark);
                    let deltas = remark.into_iter().chain([Delta::Arguments(call.arguments)]).collect();
                    (Block::ToolCall { id: call.id, name: call.name }, deltas)
                }
                PartBody::Foreign { kind, value } => (Block::Foreign { kind, value }, Vec::new()),
                // A model does not answer with these.
                PartBody::Image(_) | PartBody::File { .. } | PartBody::Audio(_) | PartBody::ToolResult { .. } => {
                    continue;
                }
            };
            events.push(StreamEvent::BlockStart(block));
            events.extend(deltas.into_iter().map(StreamEvent::Delta));
            events.push(StreamEvent::BlockEnd);
        }
        events.extend(self.dropped.into_iter().map(|name| StreamEvent::Dropped(name.into())));
        events.extend(self.usage.map(StreamEvent::Usage));
        events.extend(self.finish.map(StreamEvent::Finish));
        events
    }
}
