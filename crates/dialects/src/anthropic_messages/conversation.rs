//! The messages of a request to a provider, in the order and shape on which the API insists.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use gateway_core::chat::{Item, Media, Part, PartBody, Place, Role, ToolCall, Turn};
use serde_json::{Map, Value, json};

use super::request::Names;
use super::wire::{self, object};

/// Said where the API demands a user's message and the client has none.
const OPENING: &str = "Please go ahead.";
/// Said where the API demands the result of a tool call and the client sent none.
const NO_RESULT: &str = "(no result)";
const IMAGE_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// All system turns, in order, wherever they stood: this dialect has one place for them.
pub(super) fn encode_system(turns: &[Turn], names: &mut Names) -> Option<Value> {
    let mut blocks = Vec::new();
    for turn in turns.iter().filter(|turn| is_system(turn.role)) {
        name_of_turn(turn, names);
        for part in &turn.parts {
            match &part.body {
                PartBody::Text(text) | PartBody::Refusal(text) => {
                    blocks.extend(encode_text(text, part, &["cache_control"], names));
                }
                _ => drop_part(part, names),
            }
        }
    }
    match blocks.as_slice() {
        [] => None,
        _ => Some(string_or_blocks(blocks)),
    }
}

fn is_system(role: Role) -> bool {
    matches!(role, Role::System | Role::Developer)
}

fn name_of_turn(turn: &Turn, names: &mut Names) {
    let at = Place { message: turn.index, item: Item::Whole };
    if turn.name.is_some() {
        names.drop(format_args!("{at}.name"));
    }
    names.extras(&turn.extra, &[], at, &mut Map::new());
}

/// The usual short form where a list of blocks would say no more.
fn string_or_blocks(mut blocks: Vec<Value>) -> Value {
    match blocks.as_mut_slice() {
        [Value::Object(block)] if block.len() == 2 && block["type"] == "text" => block["text"].take(),
        _ => Value::Array(blocks),
    }
}

/// A text block; empty ones are refused by the API, so they are left out.
fn encode_text(text: &str, part: &Part, known: &[&str], names: &mut Names) -> Option<Value> {
    if text.trim().is_empty() {
        return None;
    }
    let mut block = object([("type", json!("text")), ("text", json!(text))]);
    names.extras(&part.extra, known, part.place, &mut block);
    Some(Value::Object(block))
}

fn drop_part(part: &Part, names: &mut Names) {
    let kind = match &part.body {
        PartBody::Text(_) => "text",
        PartBody::Refusal(_) => "refusal",
        PartBody::Image(_) => "image_url",
        PartBody::File { .. } => "file",
        PartBody::Audio(_) => "input_audio",
        PartBody::Reasoning { .. } if part.place.item == Item::Whole => "reasoning_content",
        PartBody::Reasoning { .. } => "thinking",
        PartBody::RedactedReasoning(_) => "redacted_thinking",
        PartBody::ToolCall(_) => "tool_calls",
        PartBody::ToolResult { .. } => "tool_result",
        PartBody::Foreign { kind, .. } => kind,
    };
    names.drop(format_args!("{}.{kind}", part.place));
    names.extras(&part.extra, &[], part.place, &mut Map::new());
}

/// The messages as the API wants them: roles take turns, the first is the user's, every tool call has its result at the
/// head of the next message and no result is without its call.
#[derive(Default)]
pub(super) struct Conversation {
    messages: Vec<Message>,
    /// The calls of the last assistant message, and by the client's ids those that wait for their results.
    calls: Vec<Call>,
    waiting: HashMap<String, VecDeque<usize>>,
    /// Ids must be unique in the whole conversation; how often each had to be changed.
    ids: HashSet<String>,
    repeats: HashMap<String, u32>,
    /// Names of the tools that were called.
    pub(super) called: BTreeSet<String>,
}

struct Message {
    is_user: bool,
    results: Vec<Value>,
    blocks: Vec<Value>,
}

struct Call {
    /// The id as the API takes it.
    id: String,
    answered: bool,
}

impl Conversation {
    pub(super) fn of(turns: &[Turn], names: &mut Names) -> Self {
        let mut conversation = Conversation::default();
        for turn in turns.iter().filter(|turn| !is_system(turn.role)) {
            name_of_turn(turn, names);
            for part in &turn.parts {
                if turn.role == Role::Assistant {
                    conversation.assistant_part(part, names);
                } else {
                    conversation.user_part(part, names);
                }
            }
        }
        conversation.answer_all(names);
        if conversation.messages.is_empty() {
            conversation.message(true, names).blocks.push(opening());
            names.add("messages");
        }
        conversation.trim_end();
        conversation
    }

    /// The message of this role to which the next block belongs.
    fn message(&mut self, is_user: bool, names: &mut Names) -> &mut Message {
        if self.messages.last().is_none_or(|last| last.is_user != is_user) {
            if !is_user {
                self.answer_all(names);
                if self.messages.is_empty() {
                    self.messages.push(Message { is_user: true, results: Vec::new(), blocks: vec![opening()] });
                    names.add("messages");
                }
            }
            self.messages.push(Message { is_user, results: Vec::new(), blocks: Vec::new() });
        }
        let last = self.messages.len() - 1;
        &mut self.messages[last]
    }

    /// Before the assistant speaks again, and at the end: calls that have no result get one that says so.
    fn answer_all(&mut self, names: &mut Names) {
        self.waiting.clear();
        for call in std::mem::take(&mut self.calls) {
            if !call.answered {
                names.add("tool_result");
                let result = json!({"type": "tool_result", "tool_use_id": call.id, "content": NO_RESULT});
                self.message(true, names).results.push(result);
            }
        }
    }

    fn assistant_part(&mut self, part: &Part, names: &mut Names) {
        let block = match &part.body {
            PartBody::Text(text) | PartBody::Refusal(text) => {
                encode_text(text, part, &["cache_control", "citations"], names)
            }
            PartBody::Reasoning { text, signature: Some(signature) } if !signature.is_empty() => {
                Some(json!({"type": "thinking", "thinking": text, "signature": signature}))
            }
            PartBody::RedactedReasoning(data) if !data.is_empty() => {
                Some(json!({"type": "redacted_thinking", "data": data}))
            }
            PartBody::ToolCall(call) => return self.call(call, part, names),
            PartBody::Foreign { kind, value } if wire::is_sound_block(kind, value) => {
                Some(names.own_block(value, part.place))
            }
            _ => {
                drop_part(part, names);
                None
            }
        };
        if let Some(block) = block {
            self.message(false, names).blocks.push(block);
        }
    }

    fn call(&mut self, call: &ToolCall, part: &Part, names: &mut Names) {
        let (input, exact) = wire::input_object(&call.arguments);
        if !exact {
            let field = if let Item::ToolCall(_) = part.place.item { "arguments" } else { "input" };
            names.drop(format_args!("{}.{field}", part.place));
        }
        let name = self.tool_name(call, part, names);
        let wire_id = self.unique_id(&call.id);
        let mut block =
            object([("type", json!("tool_use")), ("id", json!(wire_id)), ("name", json!(name)), ("input", input)]);
        names.extras(&part.extra, &["cache_control", "caller"], part.place, &mut block);
        self.message(false, names).blocks.push(Value::Object(block));
        self.waiting.entry(call.id.clone()).or_default().push_back(self.calls.len());
        self.calls.push(Call { id: wire_id, answered: false });
    }

    fn tool_name(&mut self, call: &ToolCall, part: &Part, names: &mut Names) -> String {
        let name = names.tool_name(&call.name, part.place);
        self.called.insert(name.clone());
        name
    }

    fn unique_id(&mut self, id: &str) -> String {
        let base = match id {
            "" => "call".to_owned(),
            id => id.chars().map(valid_char).collect(),
        };
        let mut unique = base.clone();
        while !self.ids.insert(unique.clone()) {
            let repeats = self.repeats.entry(base.clone()).or_insert(1);
            *repeats += 1;
            unique = format!("{base}_{repeats}");
        }
        unique
    }

    fn user_part(&mut self, part: &Part, names: &mut Names) {
        let block = match &part.body {
            PartBody::ToolResult { id, content, is_error } => return self.result(id, content, *is_error, part, names),
            _ => encode_input(part, names),
        };
        if let Some(block) = block {
            self.message(true, names).blocks.push(block);
        }
    }

    fn result(&mut self, id: &str, content: &[Part], is_error: bool, part: &Part, names: &mut Names) {
        let mut blocks: Vec<Value> = content.iter().filter_map(|part| encode_input(part, names)).collect();
        let waiting = self.waiting.get_mut(id).and_then(VecDeque::pop_front);
        let Some(call) = waiting.and_then(|n| self.calls.get_mut(n)) else {
            // A result of nothing: what it says is kept, its link cannot be.
            names.drop(format_args!("{}.tool_result", part.place));
            if !blocks.is_empty() {
                self.message(true, names).blocks.append(&mut blocks);
            }
            return;
        };
        call.answered = true;
        let mut block = object([("type", json!("tool_result")), ("tool_use_id", json!(call.id))]);
        // Caching is a matter of the whole result, not of a block inside it.
        for inner in blocks.iter_mut().filter_map(Value::as_object_mut) {
            if let Some(mark) = inner.shift_remove("cache_control") {
                block.insert("cache_control".to_owned(), mark);
            }
        }
        names.extras(&part.extra, &["cache_control"], part.place, &mut block);
        if !blocks.is_empty() {
            block.insert("content".to_owned(), string_or_blocks(blocks));
        }
        if is_error {
            block.insert("is_error".to_owned(), Value::Bool(true));
        }
        self.message(true, names).results.push(Value::Object(block));
    }

    /// The API refuses a last assistant message that ends in white space.
    fn trim_end(&mut self) {
        let Some(last) = self.messages.last_mut().filter(|last| !last.is_user) else { return };
        if let Some(Value::String(text)) = last.blocks.last_mut().and_then(|block| block.get_mut("text")) {
            text.truncate(text.trim_end().len());
        }
    }

    /// With thinking, the API wants the last assistant message to begin with its thoughts if it called tools or is still to
    /// be continued.
    pub(super) fn may_think(&self) -> bool {
        let Some(last) = self.messages.iter().rposition(|message| !message.is_user) else { return true };
        let blocks = &self.messages[last].blocks;
        let continues = last + 1 == self.messages.len() || blocks.iter().any(|block| block["type"] == "tool_use");
        !continues
            || blocks.first().is_some_and(|block| block["type"] == "thinking" || block["type"] == "redacted_thinking")
    }

    pub(super) fn into_messages(self) -> Vec<Value> {
        let message = |message: Message| {
            let role = if message.is_user { "user" } else { "assistant" };
            let blocks: Vec<Value> = message.results.into_iter().chain(message.blocks).collect();
            json!({"role": role, "content": string_or_blocks(blocks)})
        };
        self.messages.into_iter().map(message).collect()
    }
}

fn opening() -> Value {
    json!({"type": "text", "text": OPENING})
}

fn valid_char(c: char) -> char {
    if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }
}

/// A part of a user's turn or of a tool result.
fn encode_input(part: &Part, names: &mut Names) -> Option<Value> {
    let (kind, source, name) = match &part.body {
        PartBody::Text(text) | PartBody::Refusal(text) => return encode_text(text, part, &["cache_control"], names),
        PartBody::Foreign { kind, value } if wire::is_sound_block(kind, value) => {
            return Some(names.own_block(value, part.place));
        }
        PartBody::Image(media) => ("image", image_source(media), None),
        PartBody::File { media, name } => {
            let image = matches!(media, Media::Base64 { .. }).then(|| image_source(media)).flatten();
            match image {
                Some(image) => ("image", Some(image), None),
                None => ("document", document_source(media), name.as_deref()),
            }
        }
        _ => ("", None, None),
    };
    let Some(source) = source else {
        drop_part(part, names);
        return None;
    };
    let mut block = object([("type", json!(kind)), ("source", source)]);
    if let Some(title) = name.filter(|name| !name.is_empty()) {
        block.insert("title".to_owned(), json!(title));
    }
    let known: &[&str] = if kind == "image" { &["cache_control"] } else { &["cache_control", "context", "citations"] };
    names.extras(&part.extra, known, part.place, &mut block);
    Some(Value::Object(block))
}

fn image_source(media: &Media) -> Option<Value> {
    match media {
        Media::Base64 { media_type, data } => {
            let media_type = media_type.to_ascii_lowercase();
            let media_type = if media_type == "image/jpg" { "image/jpeg" } else { &media_type };
            let known = IMAGE_TYPES.contains(&media_type);
            known.then(|| json!({"type": "base64", "media_type": media_type, "data": data}))
        }
        Media::Url(url) => Some(json!({"type": "url", "url": url})),
        Media::FileId(id) => own_file(id),
        Media::Text(_) => None,
    }
}

fn document_source(media: &Media) -> Option<Value> {
    let text = |text: &str| json!({"type": "text", "media_type": "text/plain", "data": text});
    match media {
        Media::Base64 { media_type, data } if media_type.eq_ignore_ascii_case("application/pdf") => {
            Some(json!({"type": "base64", "media_type": "application/pdf", "data": data}))
        }
        Media::Base64 { media_type, data } if is_text(media_type) => {
            String::from_utf8(from_base64(data)?).ok().filter(|data| !data.trim().is_empty()).map(|data| text(&data))
        }
        Media::Base64 { .. } => None,
        Media::Url(url) => Some(json!({"type": "url", "url": url})),
        Media::Text(data) => Some(text(data)),
        Media::FileId(id) => own_file(id),
    }
}

/// Files live with the provider that took them: `file_…` here, `file-…` at OpenAI.
fn own_file(id: &str) -> Option<Value> {
    id.starts_with("file_").then(|| json!({"type": "file", "file_id": id}))
}

fn is_text(media_type: &str) -> bool {
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    media_type.starts_with("text/") || matches!(media_type, "application/json" | "application/xml")
}

/// Standard or URL-safe base64; `None` for anything else.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
    for byte in text.trim_end_matches('=').bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}
