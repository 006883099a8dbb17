//! The words of the dialect that requests, answers and streams share: blocks, stop reasons, usage.

use gateway_core::Extra;
use gateway_core::chat::{FinishReason, Item, Media, Part, PartBody, Place, ToolCall};
use gateway_core::error::GatewayError;
use gateway_core::usage::Usage;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::json::{Fields, Json, Shape, wrong};
use crate::scan::{Checked, Reader, read_value};

pub(super) fn finish_reason(stop_reason: &str, stop_sequence: Option<String>) -> FinishReason {
    match stop_reason {
        "end_turn" => FinishReason::STOP,
        "stop_sequence" => FinishReason::Stop { sequence: stop_sequence },
        "max_tokens" => FinishReason::Length,
        "model_context_window_exceeded" => FinishReason::ContextWindow,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        "pause_turn" => FinishReason::Pause,
        other => FinishReason::Other(other.to_owned()),
    }
}

/// What an answer contained, as far as it decides the stop reason.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Contents {
    pub(super) tool_calls: bool,
    pub(super) refusal: bool,
}

/// The stop reason. Vendors say "stop" beside tool calls and refusals; clients of this dialect decide by the better word.
pub(super) fn stop_reason(finish: Option<&FinishReason>, contents: Contents) -> &'static str {
    match finish {
        Some(FinishReason::Length) => "max_tokens",
        Some(FinishReason::ContextWindow) => "model_context_window_exceeded",
        Some(FinishReason::ContentFilter) => "refusal",
        Some(FinishReason::Pause) => "pause_turn",
        _ if contents.tool_calls => "tool_use",
        _ if contents.refusal => "refusal",
        Some(FinishReason::ToolCalls) => "tool_use",
        Some(FinishReason::Stop { sequence: Some(_) }) => "stop_sequence",
        Some(FinishReason::Stop { sequence: None } | FinishReason::Other(_)) | None => "end_turn",
    }
}

pub(super) fn stop_sequence(finish: Option<&FinishReason>) -> Option<&str> {
    match finish {
        Some(FinishReason::Stop { sequence }) => sequence.as_deref(),
        _ => None,
    }
}

/// What is read of an answer.
pub(super) const MESSAGE: Shape = Shape {
    known: &["id", "type", "role", "model", "content", "stop_reason", "stop_sequence"],
    deeper: &[("usage", &USAGE)],
};
pub(super) const MESSAGE_START: Shape = Shape { known: &["type"], deeper: &[("message", &MESSAGE)] };
pub(super) const MESSAGE_DELTA: Shape = Shape { known: &["type"], deeper: &[("delta", &DELTA), ("usage", &USAGE)] };
const DELTA: Shape = Shape { known: &["stop_reason", "stop_sequence"], deeper: &[] };
/// `cache_creation` splits the tokens written to the cache by their time to live.
const USAGE: Shape = Shape {
    known: &[
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation",
    ],
    deeper: &[("output_tokens_details", &Shape { known: &["thinking_tokens"], deeper: &[] })],
};
/// A call's block. Its `caller` says something where it is not the model itself, which has a type alone.
pub(super) const TOOL_USE: Shape =
    Shape { known: &["type", "id", "name", "input"], deeper: &[("caller", &Shape { known: &["type"], deeper: &[] })] };

/// Usage as it travels: `input_tokens` does not include what was read from or written to the cache.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WireUsage {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    thinking_tokens: Option<u64>,
}

impl<'de> Deserialize<'de> for WireUsage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut usage = WireUsage::default();
        let raw = <&RawValue>::deserialize(deserializer)?;
        read_value(raw.get(), |json| usage.read(json)).map_err(|error| D::Error::custom(error.message))?;
        Ok(usage)
    }
}

impl WireUsage {
    /// Passes an object. What is no whole number in it, or negative, counts nothing.
    pub(super) fn read(&mut self, json: &mut Reader<'_>) -> Checked<()> {
        let count = |json: &mut Reader<'_>| -> Checked<Option<u64>> {
            let text = json.json()?;
            Ok((text != "null").then(|| text.parse().unwrap_or(0)))
        };
        json.members(|json, name| {
            match &*name {
                b"input_tokens" => self.input_tokens = count(json)?,
                b"cache_read_input_tokens" => self.cache_read_input_tokens = count(json)?,
                b"cache_creation_input_tokens" => self.cache_creation_input_tokens = count(json)?,
                b"output_tokens" => self.output_tokens = count(json)?,
                b"output_tokens_details" if json.peek() == Some(b'{') => json.members(|json, name| {
                    match &*name {
                        b"thinking_tokens" => self.thinking_tokens = count(json)?,
                        _ => json.skip()?,
                    }
                    Ok(())
                })?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }

    /// Counts are cumulative: a later one replaces the earlier, one that is absent leaves it.
    pub(super) fn replace(&mut self, later: WireUsage) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.cache_creation_input_tokens = later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.thinking_tokens = later.thinking_tokens.or(self.thinking_tokens);
    }

    pub(super) fn usage(&self) -> Usage {
        let (read, written) = (self.cache_read_input_tokens, self.cache_creation_input_tokens);
        let (read, written) = (read.unwrap_or(0), written.unwrap_or(0));
        Usage {
            input: self.input_tokens.unwrap_or(0).saturating_add(read).saturating_add(written),
            cache_read: read,
            cache_write: written,
            output: self.output_tokens.unwrap_or(0),
            reasoning: self.thinking_tokens.unwrap_or(0),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct UsageOut {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<DetailsOut>,
}

#[derive(Debug, Serialize)]
struct DetailsOut {
    thinking_tokens: u64,
}

impl From<Usage> for UsageOut {
    fn from(usage: Usage) -> Self {
        UsageOut {
            input_tokens: usage.input.saturating_sub(usage.cache_read.saturating_add(usage.cache_write)),
            cache_creation_input_tokens: usage.cache_write,
            cache_read_input_tokens: usage.cache_read,
            output_tokens: usage.output,
            output_tokens_details: (usage.reasoning > 0).then_some(DetailsOut { thinking_tokens: usage.reasoning }),
        }
    }
}

/// Is this a block that the API itself knows, so that it may return to it as it came?
pub(super) fn is_own_block(kind: &str) -> bool {
    const KINDS: [&str; 8] = [
        "document",
        "image",
        "search_result",
        "container_upload",
        "tool_reference",
        "server_tool_use",
        "mcp_tool_use",
        "compaction",
    ];
    KINDS.contains(&kind) || kind.ends_with("_tool_result")
}

/// Is this such a block as a client of another dialect may send, and has it all that the API demands of it?
pub(super) fn is_sound_block(kind: &str, value: &Value) -> bool {
    let place = Place { message: None, item: Item::Whole };
    is_own_block(kind) && decode_block(Json(&value.to_string()), place, "").is_ok()
}

/// Citations of this dialect are `char_location`, `page_location`, ….
pub(super) fn is_own_citation(value: &Value) -> bool {
    value.get("type").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("_location"))
}

/// Tool arguments as the object that `input` must be. Nothing is an empty object; what is no object (cut off by a token
/// limit, or never JSON) is kept in one, and the second value is false.
pub(super) fn input_object(arguments: &str) -> (Value, bool) {
    let text = arguments.trim();
    if text.is_empty() {
        return (json!({}), true);
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(input)) => (Value::Object(input), true),
        Ok(Value::Null) => (json!({}), true),
        _ => (json!({ "_raw": arguments }), false),
    }
}

/// Reads a block of a message, a `system` prompt or an answer. `path` says where it stands, for errors.
pub(super) fn decode_block(json: Json<'_>, place: Place, path: &str) -> Result<Part, GatewayError> {
    let mut block = Fields::of(json, path)?;
    let kind = match block.peek("type") {
        Some(kind) => kind.string().ok_or_else(|| wrong(&block.path("type"), "a string", kind))?,
        None => return Err(block.missing("type")),
    };
    block.take("type");
    let known = match &*kind {
        "text" | "thinking" | "redacted_thinking" | "tool_use" | "tool_result" => true,
        "image" | "document" => has_known_source(&block)?,
        _ => false,
    };
    if !known {
        return Ok(Part::new(PartBody::Foreign { kind: kind.into_owned(), value: json.value() }, place));
    }
    let mut source_rest = Extra::new();
    let body = match &*kind {
        "text" => PartBody::Text(required(&mut block, "text")?),
        "thinking" => PartBody::Reasoning {
            text: block.string("thinking")?.unwrap_or_default(),
            signature: block.string("signature")?.filter(|signature| !signature.is_empty()),
        },
        "redacted_thinking" => PartBody::RedactedReasoning(required(&mut block, "data")?),
        "tool_use" => PartBody::ToolCall(ToolCall {
            id: required(&mut block, "id")?,
            name: required(&mut block, "name")?,
            arguments: match block.take("input") {
                None => "{}".to_owned(),
                Some(input) if input.is_object() => input.get().to_owned(),
                Some(other) => return Err(wrong(&block.path("input"), "an object", other)),
            },
        }),
        "tool_result" => PartBody::ToolResult {
            id: required(&mut block, "tool_use_id")?,
            content: match block.take("content") {
                None => Vec::new(),
                Some(content) => decode_content(content, &block.path("content"), |n| Place {
                    item: match place.item {
                        Item::Content(outer) => Item::Nested(outer, n.unwrap_or(0)),
                        other => other,
                    },
                    ..place
                })?,
            },
            is_error: block.bool("is_error")?.unwrap_or(false),
        },
        "image" => PartBody::Image(decode_source(&mut block, &mut source_rest)?),
        _ => PartBody::File { media: decode_source(&mut block, &mut source_rest)?, name: block.string("title")? },
    };
    let mut extra = block.rest();
    if !source_rest.is_empty() {
        extra.insert("source".to_owned(), Value::Object(source_rest));
    }
    Ok(Part { body, place, extra })
}

/// `content` as a string or as blocks; `place` is asked with the index of a block, or `None` for a string.
pub(super) fn decode_content(
    content: Json<'_>,
    path: &str,
    place: impl Fn(Option<u32>) -> Place,
) -> Result<Vec<Part>, GatewayError> {
    if let Some(text) = content.string() {
        return Ok(vec![Part::new(PartBody::Text(text.into_owned()), place(None))]);
    }
    let blocks = content.list().ok_or_else(|| wrong(path, "a string or a list of blocks", content))?;
    let decode = |(block, n)| decode_block(block, place(Some(n)), &format!("{path}[{n}]"));
    blocks.into_iter().zip(0u32..).map(decode).collect()
}

pub(super) fn required(fields: &mut Fields<'_>, key: &str) -> Result<String, GatewayError> {
    fields.string(key)?.ok_or_else(|| fields.missing(key))
}

/// Sources that the canonical model has a word for. A block with another one is foreign, as a whole.
fn has_known_source(block: &Fields<'_>) -> Result<bool, GatewayError> {
    let Some(source) = block.peek("source").filter(|source| source.is_object()) else { return Ok(true) };
    let kind = Fields::of(source, "")?.peek("type").and_then(Json::string);
    Ok(kind.is_none_or(|kind| matches!(&*kind, "base64" | "url" | "text" | "file")))
}

fn decode_source(block: &mut Fields<'_>, rest: &mut Extra) -> Result<Media, GatewayError> {
    let mut source = block.object("source")?.ok_or_else(|| block.missing("source"))?;
    let kind = required(&mut source, "type")?;
    let media = match kind.as_str() {
        "base64" => {
            Media::Base64 { media_type: required(&mut source, "media_type")?, data: required(&mut source, "data")? }
        }
        "url" => Media::Url(required(&mut source, "url")?),
        "file" => Media::FileId(required(&mut source, "file_id")?),
        _ => {
            if source.peek("media_type").and_then(Json::string).as_deref() == Some("text/plain") {
                source.take("media_type");
            }
            Media::Text(required(&mut source, "data")?)
        }
    };
    *rest = source.rest();
    Ok(media)
}

pub(super) fn object(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
