//! Whole answers.

use std::borrow::Cow;
use std::collections::HashSet;

use gateway_core::chat::Contents as Held;
use gateway_core::chat::{ChatResponse, Item, Part, PartBody, Place};
use gateway_core::error::{GatewayError, UpstreamError};
use serde_json::{Value, json};

use super::error;
use super::wire::{self, Contents, UsageOut, WireUsage};
use crate::codec::{Answer, Glance};
use crate::json::{Fields, Json, parse_object, unknown};
use crate::losses::Words;
use crate::scan::{Checked, Reader, read};
use crate::write::{Object, write_value};

pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, UpstreamError> {
    let message = parse_object(body).map_err(|_| {
        error::unreadable(format!("the provider's answer is no message: {}", error::decode(200, body).message))
    })?;
    if message.has("error") || message.peek("type").and_then(Json::string).is_some_and(|kind| kind == "error") {
        return Err(error::in_answer(Value::Object(message.rest())));
    }
    if !message.has("content") {
        let said = error::in_answer(Value::Object(message.rest())).message;
        return Err(error::unreadable(format!("the provider's answer has no `content`: {said}")));
    }
    let mut unread = Vec::new();
    if let Ok(text) = simdutf8::basic::from_utf8(body) {
        unknown(text, &wire::MESSAGE, "", &mut unread);
    }
    decode_message(message, unread)
        .map_err(|error| error::unreadable(format!("the provider's answer: {}", error.message)))
}

/// The account of an answer, without its text. What is no answer, or an odd one, is read as a whole.
pub(super) fn glance(body: &[u8]) -> Result<Glance, UpstreamError> {
    let (mut kind, mut stop_reason, mut stop_sequence) = (None, None, None);
    let (mut failed, mut said, mut usage, mut contents) = (false, false, None, Held::default());
    let read = read(body, |json, name| {
        match &*name {
            b"type" => kind = json.text()?,
            b"stop_reason" => stop_reason = json.text()?,
            b"stop_sequence" => stop_sequence = json.text()?,
            b"error" => failed = json.json()? != "null",
            b"content" => {
                said = json.peek() != Some(b'n');
                match json.peek() {
                    Some(b'[') => json.items(|json| hold(json, &mut contents))?,
                    _ => json.skip()?,
                }
            }
            b"usage" if json.peek() == Some(b'n') => {
                usage = None;
                json.skip()?;
            }
            b"usage" => usage.insert(WireUsage::default()).read(json)?,
            _ => json.skip()?,
        }
        Ok(())
    });
    if read.is_ok() && kind.as_deref() != Some("error") && !failed && said {
        let finish = stop_reason.map(|reason| wire::finish_reason(&reason, stop_sequence.map(Cow::into_owned)));
        return Ok(Glance { finish, usage: usage.map(|usage| usage.usage()), contents });
    }
    decode(body).map(|response| Glance::of(&response))
}

/// Notes of what kind a block is.
fn hold(json: &mut Reader<'_>, contents: &mut Held) -> Checked<()> {
    if json.peek() != Some(b'{') {
        return json.skip();
    }
    json.members(|json, name| {
        match (&*name, json.peek()) {
            (b"type", Some(b'"')) => match json.json()? {
                "\"text\"" | "\"thinking\"" | "\"redacted_thinking\"" => {}
                _ => contents.tool_calls = true,
            },
            (b"text", Some(b'"')) => contents.text |= json.json()? != "\"\"",
            _ => json.skip()?,
        }
        Ok(())
    })
}

fn decode_message(mut message: Fields<'_>, mut dropped: Vec<String>) -> Result<ChatResponse, GatewayError> {
    let content = message.take("content").unwrap_or(Json("null"));
    let place = |n: Option<u32>| Place { message: Some(0), item: n.map_or(Item::Whole, Item::Content) };
    let parts = wire::decode_content(content, "content", place)?;
    let stop_sequence = message.string("stop_sequence")?;
    let finish = message.string("stop_reason")?.map(|reason| wire::finish_reason(&reason, stop_sequence));
    let usage = message.take("usage").and_then(|usage| serde_json::from_str::<WireUsage>(usage.get()).ok());
    for part in parts.iter().filter(|part| matches!(part.body, PartBody::ToolCall(_))) {
        unknown(&json!(part.extra).to_string(), &wire::TOOL_USE, "tool_use", &mut dropped);
    }
    let id = message.string("id")?.unwrap_or_default();
    let model = message.string("model")?.unwrap_or_default();
    let usage = usage.map(|usage| usage.usage());
    Ok(ChatResponse { id, model, created: None, parts, finish, usage, dropped })
}

fn citations(part: &Part) -> Option<&Vec<Value>> {
    part.extra.get("citations").and_then(Value::as_array).filter(|citations| !citations.is_empty())
}

pub(super) const WORDS: Words = Words {
    sealed_thoughts: true,
    foreign: wire::is_own_block,
    citation: wire::is_own_citation,
    pause_and_sequence: true,
    call_remarks: false,
};

pub(super) fn encode(response: ChatResponse, answer: &Answer) -> Vec<u8> {
    let mut contents = Contents::default();
    let mut ids = ToolIds::new(answer);
    let mut out = Vec::with_capacity(ANSWER_BYTES);
    let mut message = Object::open(&mut out);
    message.string("id", &message_id(&response.id, answer));
    message.string("type", "message");
    message.string("role", "assistant");
    message.string("model", model(&response.model, answer));
    message.member("content", |out| {
        out.push(b'[');
        let start = out.len();
        for part in &response.parts {
            let end = out.len();
            if end > start {
                out.push(b',');
            }
            if !encode_block(part, &mut contents, &mut ids, out) {
                out.truncate(end);
            }
        }
        out.push(b']');
    });
    let finish = response.finish.as_ref();
    message.string("stop_reason", wire::stop_reason(finish, contents));
    message.json("stop_sequence", &wire::stop_sequence(finish));
    message.json("usage", &UsageOut::from(response.usage.unwrap_or_default()));
    message.close();
    out
}

/// As much as most answers have.
const ANSWER_BYTES: usize = 2048;

/// Writes a block of the answer. Not what this dialect cannot say, nor empty text, which it does not take back.
fn encode_block(part: &Part, contents: &mut Contents, ids: &mut ToolIds, out: &mut Vec<u8>) -> bool {
    let mut block = Object::open(out);
    match &part.body {
        PartBody::Text(text) | PartBody::Refusal(text) if text.is_empty() => return false,
        PartBody::Text(text) => {
            block.string("type", "text");
            block.string("text", text);
            if let Some(citations) = citations(part).filter(|citations| citations.iter().all(wire::is_own_citation)) {
                block.json("citations", citations);
            }
        }
        PartBody::Refusal(text) => {
            contents.refusal = true;
            block.string("type", "text");
            block.string("text", text);
        }
        // Official SDKs need the signature, even where the thoughts have none.
        PartBody::Reasoning { text, signature } => {
            block.string("type", "thinking");
            block.string("thinking", text);
            block.string("signature", signature.as_deref().unwrap_or_default());
        }
        PartBody::RedactedReasoning(data) => {
            block.string("type", "redacted_thinking");
            block.string("data", data);
        }
        PartBody::ToolCall(call) => {
            contents.tool_calls = true;
            block.string("type", "tool_use");
            block.string("id", &ids.unique(&call.id));
            block.string("name", &call.name);
            block.member("input", |out| write_value(out, &wire::input_object(&call.arguments).0));
        }
        PartBody::Foreign { kind, value: Value::Object(members) } if wire::is_own_block(kind) => {
            members.iter().for_each(|(name, value)| block.member(name, |out| write_value(out, value)));
        }
        PartBody::Foreign { .. }
        | PartBody::Image(_)
        | PartBody::File { .. }
        | PartBody::Audio(_)
        | PartBody::ToolResult { .. } => return false,
    }
    block.close();
    true
}

pub(super) fn message_id(id: &str, answer: &Answer) -> String {
    match id {
        "" => format!("msg_{}", answer.request_id),
        id if id.starts_with("msg_") => id.to_owned(),
        id => format!("msg_{id}"),
    }
}

pub(super) fn model<'a>(model: &'a str, answer: &'a Answer) -> &'a str {
    if model.is_empty() { &answer.model } else { model }
}

/// Some vendors send tool calls without an id, or twice the same one. A client needs one for each.
#[derive(Debug)]
pub(super) struct ToolIds {
    request_id: String,
    seen: HashSet<String>,
}

impl ToolIds {
    pub(super) fn new(answer: &Answer) -> Self {
        ToolIds { request_id: answer.request_id.clone(), seen: HashSet::new() }
    }

    pub(super) fn unique(&mut self, id: &str) -> String {
        let mut unique = id.to_owned();
        let mut n = self.seen.len();
        while unique.is_empty() || self.seen.contains(&unique) {
            unique = if id.is_empty() { format!("toolu_{}_{n}", self.request_id) } else { format!("{id}_{n}") };
            n += 1;
        }
        self.seen.insert(unique.clone());
        unique
    }
}
