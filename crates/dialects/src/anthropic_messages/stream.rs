//! Streamed answers: both directions as state machines.
//!
//! The decoder also reads a copy of all traffic that passes unchanged, so its usual events are read in one pass into
//! borrowed fields; a tree is built only for blocks that the canonical model has no word for.

use gateway_core::chat::FinishReason;
use gateway_core::event::{Block, Delta, StreamEvent};
use gateway_core::usage::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error;
use super::response::{self, ToolIds};
use super::wire::{self, Contents, UsageOut, WireUsage};
use crate::codec::{Answer, Ending, EventRole, StreamDecoder, StreamEncoder};
use crate::json::{Json, Shape, unknown};
use crate::losses::Losses;
use crate::sse::{SseEvent, write_event_with, write_json_event};
use crate::template::Template;
use crate::write::{write_json, write_string};

pub(super) const PING: &[u8] = b"event: ping\ndata: {\"type\": \"ping\"}\n\n";

// ---- decoding ---------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", default)]
    kind: EventKind,
    index: Option<u64>,
    #[serde(borrow)]
    delta: Option<WireDelta<'a>>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    /// An object in `message_start`; some vendors' errors have a text here.
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    usage: Option<WireUsage>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Default)]
#[serde(rename_all = "snake_case")]
enum EventKind {
    MessageStart,
    ContentBlockStart,
    ContentBlockDelta,
    ContentBlockStop,
    MessageDelta,
    MessageStop,
    Ping,
    Error,
    #[default]
    #[serde(other)]
    Unknown,
}

/// The `delta` of `content_block_delta` and of `message_delta`.
#[derive(Deserialize)]
struct WireDelta<'a> {
    #[serde(rename = "type", default)]
    kind: DeltaKind,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    partial_json: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    signature: Option<String>,
    #[serde(borrow)]
    citation: Option<&'a RawValue>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Default)]
#[serde(rename_all = "snake_case")]
enum DeltaKind {
    TextDelta,
    InputJsonDelta,
    ThinkingDelta,
    SignatureDelta,
    CitationsDelta,
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct Message {
    id: Option<String>,
    model: Option<String>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct BlockHead {
    #[serde(rename = "type")]
    kind: BlockKind,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum BlockKind {
    Text,
    Thinking,
    RedactedThinking,
    ToolUse,
    #[serde(other)]
    Foreign,
}

#[derive(Deserialize)]
struct WireBlock<'a> {
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    data: Option<String>,
    id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

/// The open block, as far as its deltas need it.
#[derive(Debug, Clone, PartialEq)]
enum Open {
    Text,
    Reasoning,
    /// Redacted thinking: complete from its start.
    Closed,
    ToolCall(Input),
    Foreign,
}

/// The input of a tool call. It comes in pieces, but some servers send it whole with the block's start, and a call
/// without arguments may have no piece at all.
#[derive(Debug, Clone, PartialEq)]
enum Input {
    AtStart(String),
    InPieces,
}

#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The id of the answer, once it has begun.
    started: Option<String>,
    open: Option<(Option<u64>, Open)>,
    content: bool,
    usage: WireUsage,
    finish: Option<FinishReason>,
    finish_told: bool,
    called_tools: bool,
    stopped: bool,
    failed: bool,
    /// The last event that only went on with the open block.
    template: Template,
}

/// Why an event cannot be read.
type Unreadable = String;

impl StreamDecoder for Decoder {
    fn push(&mut self, event: &SseEvent<'_>, out: &mut Vec<StreamEvent>) -> EventRole {
        // After the end nothing counts: some gateways add a ping, or OpenAI's `[DONE]`.
        if self.stopped || self.failed || event.data.is_empty() || event.data == "[DONE]" {
            return EventRole::Lifecycle;
        }
        if let Some(delta) = self.more(&event.data) {
            out.push(StreamEvent::Delta(delta));
            return EventRole::Content;
        }
        match self.read(&event.data, out) {
            Ok(role) => role,
            Err(reason) => self.fail(error::unreadable(reason), out),
        }
    }

    fn finish(&mut self, out: &mut Vec<StreamEvent>) -> Ending {
        if self.open.take().is_some() {
            out.push(StreamEvent::BlockEnd);
        }
        if self.stopped { Ending::Complete } else { Ending::Truncated }
    }

    fn finish_was_told(&self) -> bool {
        self.finish_told
    }
}

impl Decoder {
    fn fail(&mut self, error: gateway_core::error::UpstreamError, out: &mut Vec<StreamEvent>) -> EventRole {
        self.failed = true;
        out.push(StreamEvent::Error(error));
        EventRole::Error
    }

    /// What an event says that only goes on as the one before did.
    fn more(&self, data: &str) -> Option<Delta> {
        let text = self.template.text_of(data)?.string()?.into_owned();
        match self.open.as_ref()?.1 {
            Open::Text => Some(Delta::Text(text)),
            Open::Reasoning => Some(Delta::Reasoning(text)),
            Open::ToolCall(_) => Some(Delta::Arguments(text)),
            Open::Closed | Open::Foreign => None,
        }
        .filter(says_something)
    }

    fn read(&mut self, data: &str, out: &mut Vec<StreamEvent>) -> Result<EventRole, Unreadable> {
        let event: Event<'_> = parse(data)?;
        let role = match event.kind {
            EventKind::Error => self.fail(error::in_answer(parse(data)?), out),
            EventKind::Unknown if event.error.is_some() => self.fail(error::in_answer(parse(data)?), out),
            EventKind::MessageStart => {
                let message = event.message.ok_or("message_start without a message")?;
                self.start(parse(message.get())?, out)?;
                lose(data, &wire::MESSAGE_START, "message.", out);
                EventRole::Lifecycle
            }
            EventKind::ContentBlockStart => {
                let block = event.content_block.ok_or("content_block_start without a content_block")?;
                self.start_block(event.index, block.get(), out)?
            }
            EventKind::ContentBlockDelta => {
                let delta = event.delta.ok_or("content_block_delta without a delta")?;
                self.delta(event.index, delta, data, out)?
            }
            EventKind::ContentBlockStop => {
                self.end_block(out);
                EventRole::Lifecycle
            }
            EventKind::MessageDelta => {
                self.end_block(out);
                self.must_have_started(out);
                lose(data, &wire::MESSAGE_DELTA, "delta.", out);
                if let Some(usage) = event.usage {
                    self.usage.replace(usage);
                    out.push(StreamEvent::Usage(self.usage.usage()));
                }
                match event.delta.and_then(|delta| Some((delta.stop_reason?, delta.stop_sequence))) {
                    Some((reason, sequence)) => {
                        self.finish = Some(wire::finish_reason(&reason, sequence));
                        self.finish_told = true;
                        EventRole::Content
                    }
                    None => EventRole::Lifecycle,
                }
            }
            EventKind::MessageStop => {
                self.end_block(out);
                self.must_have_started(out);
                // Not before: whoever sees a finish reason takes the answer for complete.
                let implied = || if self.called_tools { FinishReason::ToolCalls } else { FinishReason::STOP };
                let finish = self.finish.take().unwrap_or_else(implied);
                out.push(StreamEvent::Finish(finish));
                self.stopped = true;
                EventRole::Done
            }
            EventKind::Ping => {
                out.push(StreamEvent::Ping);
                EventRole::Lifecycle
            }
            EventKind::Unknown => EventRole::Lifecycle,
        };
        self.content |= role == EventRole::Content;
        Ok(role)
    }

    /// An answer of which the start never came begins all the same, without a name.
    fn must_have_started(&mut self, out: &mut Vec<StreamEvent>) {
        if self.started.is_none() {
            self.started = Some(String::new());
            out.push(StreamEvent::Start { id: String::new(), model: String::new(), created: None, usage: None });
        }
    }

    /// Some gateways send `message_start` twice. Another answer's, in the middle of this one, is a splice of two.
    fn start(&mut self, message: Message, out: &mut Vec<StreamEvent>) -> Result<(), Unreadable> {
        let id = message.id.unwrap_or_default();
        if let Some(usage) = message.usage {
            self.usage.replace(usage);
        }
        match &self.started {
            None => {
                self.started = Some(id.clone());
                let usage = message.usage.map(|_| self.usage.usage());
                out.push(StreamEvent::Start { id, model: message.model.unwrap_or_default(), created: None, usage });
                Ok(())
            }
            Some(known) if *known == id || !self.content => Ok(()),
            Some(_) => Err("a second answer began in the middle of the first".to_owned()),
        }
    }

    fn start_block(
        &mut self,
        index: Option<u64>,
        raw: &str,
        out: &mut Vec<StreamEvent>,
    ) -> Result<EventRole, Unreadable> {
        self.end_block(out);
        let kind = parse::<BlockHead>(raw)?.kind;
        self.must_have_started(out);
        if let BlockKind::Foreign = kind {
            let value: Value = parse(raw)?;
            let kind = value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
            out.push(StreamEvent::BlockStart(Block::Foreign { kind, value }));
            self.open = Some((index, Open::Foreign));
            return Ok(EventRole::Content);
        }
        let block: WireBlock<'_> = parse(raw)?;
        let mut lost = Vec::new();
        let (began, open, first) = match kind {
            BlockKind::Text => (Block::Text, Open::Text, block.text.map(Delta::Text)),
            BlockKind::Thinking => (Block::Reasoning, Open::Reasoning, block.thinking.map(Delta::Reasoning)),
            BlockKind::RedactedThinking => {
                (Block::RedactedReasoning(block.data.unwrap_or_default()), Open::Closed, None)
            }
            BlockKind::ToolUse | BlockKind::Foreign => {
                self.called_tools = true;
                lost = unread(raw, &wire::TOOL_USE, "tool_use");
                let input = block.input.map_or("{}", RawValue::get).to_owned();
                let call = Block::ToolCall { id: block.id.unwrap_or_default(), name: block.name.unwrap_or_default() };
                (call, Open::ToolCall(Input::AtStart(input)), None)
            }
        };
        let mut role = match open {
            Open::Text | Open::Reasoning => EventRole::Lifecycle,
            _ => EventRole::Content,
        };
        out.extend(lost.into_iter().map(|name| StreamEvent::Dropped(name.into())));
        out.push(StreamEvent::BlockStart(began));
        let signature = block.signature.filter(|_| open == Open::Reasoning).map(Delta::Signature);
        for delta in first.into_iter().chain(signature).filter(says_something) {
            out.push(StreamEvent::Delta(delta));
            role = EventRole::Content;
        }
        self.open = Some((index, open));
        Ok(role)
    }

    fn delta(
        &mut self,
        index: Option<u64>,
        delta: WireDelta<'_>,
        data: &str,
        out: &mut Vec<StreamEvent>,
    ) -> Result<EventRole, Unreadable> {
        let Some((open_index, open)) = &mut self.open else {
            return Err("content_block_delta without an open block".to_owned());
        };
        if *open_index != index {
            return Err("content_block_delta of a block that is not the open one".to_owned());
        }
        let text = match (&*open, delta.kind) {
            (Open::Text, DeltaKind::TextDelta) => delta.text,
            (Open::Reasoning, DeltaKind::ThinkingDelta) => delta.thinking,
            (Open::ToolCall(_), DeltaKind::InputJsonDelta) => delta.partial_json,
            _ => None,
        };
        let delta = match (open, delta.kind) {
            (Open::Foreign, _) => {
                let mut event: Value = parse(data)?;
                Some(Delta::Foreign(event["delta"].take()))
            }
            (Open::Text, DeltaKind::TextDelta) => string(text)?.map(Delta::Text),
            (Open::Text, DeltaKind::CitationsDelta) => {
                delta.citation.map(|citation| parse(citation.get())).transpose()?.map(Delta::Citation)
            }
            (Open::Reasoning, DeltaKind::ThinkingDelta) => string(text)?.map(Delta::Reasoning),
            (Open::Reasoning, DeltaKind::SignatureDelta) => delta.signature.map(Delta::Signature),
            (Open::ToolCall(input), DeltaKind::InputJsonDelta) => {
                let piece = string(text)?.filter(|piece| !piece.is_empty());
                if piece.is_some() {
                    *input = Input::InPieces;
                }
                piece.map(Delta::Arguments)
            }
            // A kind of delta that is newer than this program.
            (_, DeltaKind::Unknown) => {
                out.push(StreamEvent::Dropped("content_block_delta".into()));
                None
            }
            _ => return Err("content_block_delta of a kind that does not fit its block".to_owned()),
        };
        Ok(match delta.filter(says_something) {
            Some(delta) => {
                if let Some(text) = text {
                    self.template.learn(data, Json(text.get()), None);
                }
                out.push(StreamEvent::Delta(delta));
                EventRole::Content
            }
            None => EventRole::Lifecycle,
        })
    }

    fn end_block(&mut self, out: &mut Vec<StreamEvent>) {
        self.template.forget();
        match self.open.take() {
            None => return,
            Some((_, Open::ToolCall(Input::AtStart(input)))) => out.push(StreamEvent::Delta(Delta::Arguments(input))),
            Some(_) => {}
        }
        out.push(StreamEvent::BlockEnd);
    }
}

fn says_something(delta: &Delta) -> bool {
    match delta {
        Delta::Text(text) | Delta::Reasoning(text) | Delta::Signature(text) | Delta::Arguments(text) => {
            !text.is_empty()
        }
        Delta::Citation(_) | Delta::Foreign(_) | Delta::CallRemark(_) => true,
    }
}

/// Names what an event says and nobody reads, as a whole answer would name it: without the `wrapper` around it.
fn lose(data: &str, shape: &Shape, wrapper: &str, out: &mut Vec<StreamEvent>) {
    let names = unread(data, shape, "").into_iter();
    out.extend(names.map(|name| StreamEvent::Dropped(name.strip_prefix(wrapper).unwrap_or(&name).to_owned().into())));
}

fn unread(data: &str, shape: &Shape, path: &str) -> Vec<String> {
    let mut names = Vec::new();
    unknown(data, shape, path, &mut names);
    names
}

fn string(raw: Option<&RawValue>) -> Result<Option<String>, Unreadable> {
    raw.map(|raw| parse(raw.get())).transpose()
}

fn parse<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, Unreadable> {
    serde_json::from_str(data).map_err(|error| format!("an event of the stream cannot be read: {error}"))
}

// ---- encoding ---------------------------------------------------------------------------------------------------------

/// Blocks of text and thoughts open with their first content, so that no empty block ever reaches a client: the API
/// would not take it back.
#[derive(Debug)]
pub(super) struct Encoder {
    answer: Answer,
    started: bool,
    ended: bool,
    /// The index of the next block.
    index: u32,
    block: Writing,
    contents: Contents,
    ids: ToolIds,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    losses: Losses,
}

/// What is being written.
#[derive(Debug)]
enum Writing {
    /// No block, or one whose content this dialect cannot say.
    Nothing,
    Text,
    Reasoning,
    Foreign,
    /// Arguments pass as they come once they are known to be an object; whatever else they are waits for its end.
    ToolCall {
        held: String,
        passing: bool,
    },
    /// Redacted thinking.
    Closed,
}

/// A kind of text that comes in pieces: how its delta begins.
type Piece = &'static str;
const TEXT: Piece = r#"{"type":"text_delta","text":"#;
const THINKING: Piece = r#"{"type":"thinking_delta","thinking":"#;
const SIGNATURE: Piece = r#"{"type":"signature_delta","signature":"#;
const INPUT: Piece = r#"{"type":"input_json_delta","partial_json":"#;

impl Encoder {
    pub(super) fn new(answer: Answer) -> Self {
        Encoder {
            ids: ToolIds::new(&answer),
            answer,
            started: false,
            ended: false,
            index: 0,
            block: Writing::Nothing,
            contents: Contents::default(),
            usage: None,
            finish: None,
            losses: Losses::new(&response::WORDS),
        }
    }

    fn start(&mut self, id: &str, model: &str, usage: Option<Usage>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let message = json!({
            "id": response::message_id(id, &self.answer),
            "type": "message",
            "role": "assistant",
            "model": response::model(model, &self.answer),
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": UsageOut::from(usage.unwrap_or_default()),
        });
        write_json_event(out, Some("message_start"), &json!({"type": "message_start", "message": message}));
    }

    fn open(&mut self, block: &Value, writing: Writing, out: &mut Vec<u8>) {
        self.end_block(out);
        self.start("", "", None, out);
        let event = json!({"type": "content_block_start", "index": self.index, "content_block": block});
        write_json_event(out, Some("content_block_start"), &event);
        self.block = writing;
    }

    fn start_block(&mut self, block: Block, out: &mut Vec<u8>) {
        self.end_block(out);
        match block {
            Block::Text | Block::Reasoning => {}
            Block::Refusal => self.contents.refusal = true,
            Block::RedactedReasoning(data) => {
                self.open(&json!({"type": "redacted_thinking", "data": data}), Writing::Closed, out);
            }
            Block::ToolCall { id, name } => {
                self.contents.tool_calls = true;
                let id = self.ids.unique(&id);
                let writing = Writing::ToolCall { held: String::new(), passing: false };
                self.open(&json!({"type": "tool_use", "id": id, "name": name, "input": {}}), writing, out);
            }
            Block::Foreign { kind, value } if wire::is_own_block(&kind) => self.open(&value, Writing::Foreign, out),
            Block::Foreign { .. } => {}
        }
    }

    fn delta(&mut self, delta: Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Text(text) if !text.is_empty() => {
                if !matches!(self.block, Writing::Text) {
                    self.open(&json!({"type": "text", "text": ""}), Writing::Text, out);
                }
                self.piece(TEXT, &text, out);
            }
            Delta::Reasoning(text) if !text.is_empty() => {
                self.open_reasoning(out);
                self.piece(THINKING, &text, out);
            }
            Delta::Signature(signature) if !signature.is_empty() => {
                self.open_reasoning(out);
                self.piece(SIGNATURE, &signature, out);
            }
            Delta::Arguments(piece) => self.arguments(piece, out),
            Delta::Citation(citation) if matches!(self.block, Writing::Text) && wire::is_own_citation(&citation) => {
                self.block_delta(out, |out| write_json(out, &json!({"type": "citations_delta", "citation": citation})));
            }
            Delta::Foreign(delta) if matches!(self.block, Writing::Foreign) => {
                self.block_delta(out, |out| write_json(out, &delta));
            }
            // What has no place here.
            Delta::Text(_)
            | Delta::Reasoning(_)
            | Delta::Signature(_)
            | Delta::CallRemark(_)
            | Delta::Citation(_)
            | Delta::Foreign(_) => {}
        }
    }

    fn open_reasoning(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.block, Writing::Reasoning) {
            let block = json!({"type": "thinking", "thinking": "", "signature": ""});
            self.open(&block, Writing::Reasoning, out);
        }
    }

    fn arguments(&mut self, piece: String, out: &mut Vec<u8>) {
        let Writing::ToolCall { held, passing } = &mut self.block else { return };
        let piece = if *passing {
            piece
        } else {
            held.push_str(if held.is_empty() { piece.trim_start() } else { &piece });
            if !held.starts_with('{') {
                return;
            }
            *passing = true;
            std::mem::take(held)
        };
        if !piece.is_empty() {
            self.piece(INPUT, &piece, out);
        }
    }

    fn piece(&self, kind: Piece, text: &str, out: &mut Vec<u8>) {
        self.block_delta(out, |out| {
            out.extend_from_slice(kind.as_bytes());
            write_string(out, text);
            out.push(b'}');
        });
    }

    fn block_delta(&self, out: &mut Vec<u8>, delta: impl FnOnce(&mut Vec<u8>)) {
        write_event_with(out, Some("content_block_delta"), |out| {
            out.extend_from_slice(br#"{"type":"content_block_delta","index":"#);
            write_json(out, &self.index);
            out.extend_from_slice(br#","delta":"#);
            delta(out);
            out.push(b'}');
        });
    }

    fn end_block(&mut self, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.block, Writing::Nothing) {
            Writing::Nothing => return,
            Writing::ToolCall { held, passing: false } if !held.trim().is_empty() => {
                let input = wire::input_object(&held).0.to_string();
                self.piece(INPUT, &input, out);
            }
            _ => {}
        }
        let event = json!({"type": "content_block_stop", "index": self.index});
        write_json_event(out, Some("content_block_stop"), &event);
        self.index += 1;
    }
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: StreamEvent, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        self.losses.see(&event);
        match event {
            StreamEvent::Start { id, model, usage, .. } => {
                self.usage = usage.or(self.usage);
                self.start(&id, &model, usage, out);
            }
            StreamEvent::BlockStart(block) => self.start_block(block, out),
            StreamEvent::Delta(delta) => self.delta(delta, out),
            StreamEvent::BlockEnd => self.end_block(out),
            StreamEvent::Usage(usage) | StreamEvent::EstimatedUsage(usage) => self.usage = Some(usage),
            StreamEvent::Finish(finish) => self.finish = Some(finish),
            StreamEvent::Dropped(_) => {}
            StreamEvent::Ping => out.extend_from_slice(PING),
            // The relay writes the error event; what follows it would only look like a success.
            StreamEvent::Error(_) => self.ended = true,
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.start("", "", None, out);
        self.end_block(out);
        let finish = self.finish.as_ref();
        let delta = json!({
            "type": "message_delta",
            "delta": {
                "stop_reason": wire::stop_reason(finish, self.contents),
                "stop_sequence": wire::stop_sequence(finish),
            },
            "usage": UsageOut::from(self.usage.unwrap_or_default()),
        });
        write_json_event(out, Some("message_delta"), &delta);
        self.losses.write(out);
        write_json_event(out, Some("message_stop"), &json!({"type": "message_stop"}));
    }
}
