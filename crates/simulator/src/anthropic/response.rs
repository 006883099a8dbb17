//! Writes messages: whole, and as events.

use std::fmt::Write;

use fastrand::Rng;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::answer::{Answer, Finish, pieces};
use crate::fault::Omit;
use crate::ids;
use crate::script::{Event, Kind, Recorder};
use crate::tokens::Usage;

pub(crate) struct Message<'a> {
    pub(crate) id: String,
    pub(crate) model: &'a str,
    pub(crate) answer: &'a Answer,
    pub(crate) usage: &'a Usage,
    pub(crate) hide_thinking: bool,
    /// What was written to the cache stays for an hour.
    pub(crate) for_an_hour: bool,
    pub(crate) omit: Omit,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    content: Vec<Block<'a>>,
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
    stop_details: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageBody>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Thinking { thinking: &'a str, signature: String },
    Text { text: &'a str },
    ToolUse { id: String, name: &'a str, input: Box<RawValue>, caller: Caller },
}

/// Who calls the tool: the model itself, not a program it wrote.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Caller {
    Direct,
}

#[derive(Serialize)]
struct UsageBody {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation: CacheCreation,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputDetails>,
    service_tier: &'static str,
    inference_geo: &'static str,
}

#[derive(Serialize)]
struct CacheCreation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

/// What a message_delta tells: the totals of the whole message, not what was added.
#[derive(Serialize)]
struct DeltaUsage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
}

#[derive(Serialize)]
struct OutputDetails {
    thinking_tokens: u64,
}

fn stop_reason(finish: &Finish) -> (&'static str, Option<&str>) {
    match finish {
        Finish::Stop => ("end_turn", None),
        Finish::Length => ("max_tokens", None),
        Finish::ToolCalls => ("tool_use", None),
        Finish::StopSequence(stop) => ("stop_sequence", Some(stop)),
    }
}

impl<'a> Message<'a> {
    /// Anthropic tells the tokens beside the cache, not all of them.
    fn uncached(&self) -> u64 {
        self.usage.input.saturating_sub(self.usage.cache_read + self.usage.cache_write)
    }

    fn shown_thinking(&self) -> &str {
        if self.hide_thinking { "" } else { &self.answer.thinking }
    }

    fn output_details(&self) -> OutputDetails {
        OutputDetails { thinking_tokens: self.usage.reasoning }
    }

    fn usage(&self, output_tokens: u64, output_tokens_details: Option<OutputDetails>) -> Option<UsageBody> {
        let written = self.usage.cache_write;
        let (short, long) = if self.for_an_hour { (0, written) } else { (written, 0) };
        let usage = UsageBody {
            input_tokens: self.uncached(),
            cache_creation_input_tokens: written,
            cache_read_input_tokens: self.usage.cache_read,
            cache_creation: CacheCreation { ephemeral_5m_input_tokens: short, ephemeral_1h_input_tokens: long },
            output_tokens,
            output_tokens_details,
            service_tier: "standard",
            inference_geo: "global",
        };
        Some(usage).filter(|_| !self.omit.usage)
    }

    pub(crate) fn whole(&self, id_rng: &mut Rng) -> Vec<u8> {
        let mut content = Vec::new();
        if !self.answer.thinking.is_empty() {
            content.push(Block::Thinking { thinking: self.shown_thinking(), signature: ids::signature(id_rng) });
        }
        if !self.answer.text.is_empty() {
            content.push(Block::Text { text: &self.answer.text });
        }
        for call in &self.answer.calls {
            // Arguments that were cut are no JSON any more, and `input` must be an object.
            let input = RawValue::from_string(call.arguments.clone())
                .unwrap_or_else(|_| RawValue::from_string("{}".into()).unwrap_or_default());
            content.push(Block::ToolUse {
                id: ids::anthropic_call(id_rng),
                name: &call.name,
                input,
                caller: Caller::Direct,
            });
        }
        let (reason, sequence) = stop_reason(&self.answer.finish);
        let body = Body {
            model: self.model,
            id: &self.id,
            r#type: "message",
            role: "assistant",
            content,
            stop_reason: Some(reason).filter(|_| !self.omit.finish),
            stop_sequence: sequence.filter(|_| !self.omit.finish),
            stop_details: None,
            usage: self.usage(self.usage.output, Some(self.output_details())),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    pub(crate) fn events(&self, chunks: Option<usize>, text_rng: &mut Rng, id_rng: &mut Rng) -> Vec<Event> {
        let mut writer = Writer { events: Recorder::default(), padding: text_rng.fork(), index: 0, pinged: false };
        self.start(&mut writer);
        if !self.answer.thinking.is_empty() {
            writer.block("{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}", |block| {
                if self.hide_thinking {
                    block.delta(Kind::Content, "thinking_delta", "thinking", "");
                }
                for piece in pieces(self.shown_thinking(), None, text_rng) {
                    block.delta(Kind::Content, "thinking_delta", "thinking", piece);
                }
                block.delta(Kind::Frame, "signature_delta", "signature", &ids::signature(id_rng));
            });
        }
        if !self.answer.text.is_empty() {
            writer.block("{\"type\":\"text\",\"text\":\"\"}", |block| {
                for piece in pieces(&self.answer.text, chunks, text_rng) {
                    block.delta(Kind::Content, "text_delta", "text", piece);
                }
            });
        }
        for call in &self.answer.calls {
            let id = ids::anthropic_call(id_rng);
            let start = format!(
                "{{\"type\":\"tool_use\",\"id\":\"{id}\",\"name\":{},\"input\":{{}},\"caller\":{{\"type\":\"direct\"}}}}",
                json(&call.name)
            );
            writer.block(&start, |block| {
                block.delta(Kind::Content, "input_json_delta", "partial_json", "");
                // No arguments at all are told as no text at all.
                let arguments = if call.arguments == "{}" { "" } else { &call.arguments };
                for piece in pieces(arguments, None, text_rng) {
                    block.delta(Kind::Content, "input_json_delta", "partial_json", piece);
                }
            });
        }
        if !self.omit.finish {
            self.delta(&mut writer);
        }
        if !self.omit.done {
            writer.event(Kind::Frame, "message_stop", |data| data.push_str("{\"type\":\"message_stop\""));
        }
        writer.events.events()
    }

    fn start(&self, writer: &mut Writer) {
        let body = Body {
            model: self.model,
            id: &self.id,
            r#type: "message",
            role: "assistant",
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            stop_details: None,
            usage: self.usage(1, None),
        };
        writer.event(Kind::Frame, "message_start", |data| {
            data.push_str("{\"type\":\"message_start\",\"message\":");
            data.push_str(&json(&body));
        });
    }

    fn delta(&self, writer: &mut Writer) {
        let (reason, sequence) = stop_reason(&self.answer.finish);
        let usage = DeltaUsage {
            input_tokens: self.uncached(),
            cache_creation_input_tokens: self.usage.cache_write,
            cache_read_input_tokens: self.usage.cache_read,
            output_tokens: self.usage.output,
            output_tokens_details: self.output_details(),
        };
        writer.event(Kind::Frame, "message_delta", |data| {
            let sequence = json(&sequence);
            // Writing to a string cannot fail.
            let _ = write!(
                data,
                "{{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{reason}\",\"stop_sequence\":{sequence},\
                 \"stop_details\":null}}"
            );
            if !self.omit.usage {
                let _ = write!(data, ",\"usage\":{}", json(&usage));
            }
        });
    }
}

/// Everything here has a JSON form.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

struct Writer {
    events: Recorder,
    /// Anthropic hides the length of an event behind spaces before its last brace.
    padding: Rng,
    /// Of the current block.
    index: usize,
    pinged: bool,
}

impl Writer {
    /// `write` leaves out the last brace.
    fn event(&mut self, kind: Kind, name: &str, write: impl FnOnce(&mut String)) {
        let data = self.events.buffer();
        data.push_str("event: ");
        data.push_str(name);
        data.push_str("\ndata: ");
        write(data);
        data.push_str(&"               "[..self.padding.usize(..16)]);
        data.push_str("}\n\n");
        self.events.end(kind);
    }

    fn block(&mut self, start: &str, deltas: impl FnOnce(&mut Self)) {
        let index = self.index;
        self.event(Kind::Frame, "content_block_start", |data| {
            let _ = write!(data, "{{\"type\":\"content_block_start\",\"index\":{index},\"content_block\":{start}");
        });
        if !self.pinged {
            self.pinged = true;
            self.events.buffer().push_str("event: ping\ndata: {\"type\": \"ping\"}\n\n");
            self.events.end(Kind::Frame);
        }
        deltas(self);
        self.event(Kind::Frame, "content_block_stop", |data| {
            let _ = write!(data, "{{\"type\":\"content_block_stop\",\"index\":{index}");
        });
        self.index += 1;
    }

    fn delta(&mut self, kind: Kind, delta_type: &str, field: &str, text: &str) {
        let index = self.index;
        self.event(kind, "content_block_delta", |data| {
            let _ = write!(
                data,
                "{{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{{\"type\":\"{delta_type}\",\"{field}\":{}}}",
                json(&text)
            );
        });
    }
}
