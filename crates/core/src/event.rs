//! The canonical model of a streamed answer.
//!
//! Blocks never overlap: after [`StreamEvent::BlockStart`] come the deltas of that block, then its `BlockEnd`. Dialects in
//! which they may overlap (parallel tool calls in OpenAI chat) are put in order by their decoder, so that every encoder is
//! a plain state machine.

use std::borrow::Cow;

use serde_json::Value;

use crate::chat::FinishReason;
use crate::error::UpstreamError;
use crate::usage::Usage;

#[derive(Debug, Clone, PartialEq)]
pub enum StreamEvent {
    /// First of all but pings and errors, once.
    Start {
        id: String,
        model: String,
        created: Option<u64>,
        usage: Option<Usage>,
    },
    BlockStart(Block),
    Delta(Delta),
    BlockEnd,
    /// The name of something in the answer for which these events have no word.
    Dropped(Cow<'static, str>),
    /// The latest count; a later one replaces it.
    Usage(Usage),
    /// The gateway's own count, where the provider told none or not all of it. Named to the client as added.
    EstimatedUsage(Usage),
    /// Once, after the last block.
    Finish(FinishReason),
    /// The provider gave up in the middle.
    Error(UpstreamError),
    Ping,
}

/// What kind of block begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    Text,
    Refusal,
    Reasoning,
    RedactedReasoning(String),
    ToolCall {
        id: String,
        name: String,
    },
    /// A block that only its own dialect knows, as it began.
    Foreign {
        kind: String,
        value: Value,
    },
}

/// A piece of the open block; its kind fits the block's.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// Of a text or refusal block.
    Text(String),
    Reasoning(String),
    Signature(String),
    /// What the provider wants back with the call, as it said it (see [`crate::chat::CALL_REMARK`]).
    CallRemark(Value),
    /// JSON text, to be concatenated.
    Arguments(String),
    /// A citation or annotation of the text, in the provider's own shape.
    Citation(Value),
    Foreign(Value),
}
