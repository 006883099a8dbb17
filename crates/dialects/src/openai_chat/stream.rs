//! Chunks: read from any vendor, written as OpenAI writes them.

use std::borrow::Cow;
use std::collections::VecDeque;

use gateway_core::chat::FinishReason;
use gateway_core::error::UpstreamError;
use gateway_core::event::{Block, Delta, StreamEvent};
use gateway_core::usage::Usage;
use serde::Serialize;
use serde_json::{Value, json};

use super::response::{CallOut, FunctionOut, UsageOut, finish_word, id_of, is_annotation, to_vec};
use super::wire::{self, Body, Choice, Message, Said};
use super::{error, mint_call_id};
use crate::codec::{Answer, Ending, EventRole, StreamDecoder, StreamEncoder};
use crate::json::unknown;
use crate::losses::Losses;
use crate::sse::{SseEvent, write_event, write_event_with};
use crate::template::Template;
use crate::write::{write_json, write_string};

/// Reads chunks. Blocks and the finish reason are closed only at the end of the stream: some vendors send more after they
/// said that they were done.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    id: String,
    model: String,
    created: Option<u64>,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    finish_told: bool,
    blocks: Sequencer,
    losses: Vec<String>,
    phase: Phase,
    done: bool,
    /// The last chunk that only went on with the text or the thoughts, and which of them.
    template: Template,
    template_voice: Option<Voice>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Waiting,
    Started,
    Ended,
    Failed,
}

impl StreamDecoder for Decoder {
    fn push(&mut self, event: &SseEvent<'_>, out: &mut Vec<StreamEvent>) -> EventRole {
        let data = event.data.trim();
        if data == "[DONE]" {
            self.done = true;
            self.end(out);
            return EventRole::Done;
        }
        match self.phase {
            Phase::Failed => return EventRole::Error,
            // Remarks behind the end, such as what the answer cost.
            Phase::Ended => return EventRole::Lifecycle,
            Phase::Waiting | Phase::Started => {}
        }
        if let (Some(voice), Some(text)) = (self.template_voice, self.template.text_of(data))
            && let Some(text) = wire::text(Some(text))
        {
            self.say(voice, text, out);
            return EventRole::Content;
        }
        if event.name == "error" {
            return self.fail(error::decode(200, data.as_bytes()), out);
        }
        if data.is_empty() {
            return EventRole::Lifecycle;
        }
        let Ok(body) = Body::<Message<'_>>::read(data) else { return self.fail(unreadable(data), out) };
        if wire::says_something(body.error) {
            return self.fail(error::decode(200, data.as_bytes()), out);
        }
        let Some(choices) = &body.choices else { return self.without_choices(data, out) };
        let usage = body.usage();
        let first = self.phase == Phase::Waiting;
        if !choices.is_empty() || usage.is_some() {
            self.start(&body, out);
        }
        self.learn(data, &body);
        self.note_losses(choices, out);
        // What vendors add stands in the first chunk and in the last ones; those between are not searched.
        if first || usage.is_some() || choices.iter().any(|choice| wire::text(choice.finish_reason).is_some()) {
            let mut names = Vec::new();
            unknown(data, &wire::BODY, "", &mut names);
            names.iter().for_each(|name| self.lose(&name.replace("].delta.", "].message."), out));
        }
        for choice in choices.iter().filter(|choice| choice.is_first()) {
            if let Some(delta) = choice.delta.as_ref().or(choice.message.as_ref()) {
                self.read(delta, out);
            }
            if let Some(finish) = choice.finish(self.blocks.has_calls()) {
                self.finish = Some(finish);
                self.finish_told = true;
            }
        }
        if let Some(usage) = usage.filter(|usage| self.usage != Some(*usage)) {
            self.usage = Some(usage);
            out.push(StreamEvent::Usage(usage));
        }
        if choices.is_empty() {
            return if body.has_usage() { EventRole::UsageOnly } else { EventRole::Lifecycle };
        }
        let content = choices.iter().any(|choice| {
            wire::text(choice.finish_reason).is_some() || choice.delta.as_ref().is_some_and(Message::says_something)
        });
        if content { EventRole::Content } else { EventRole::Lifecycle }
    }

    fn finish(&mut self, out: &mut Vec<StreamEvent>) -> Ending {
        match self.phase {
            Phase::Failed => Ending::Truncated,
            _ if self.done || self.finish.is_some() => {
                self.end(out);
                Ending::Complete
            }
            _ => {
                self.blocks.flush(&self.id, out);
                self.phase = Phase::Failed;
                Ending::Truncated
            }
        }
    }

    fn finish_was_told(&self) -> bool {
        self.finish_told
    }
}

impl Decoder {
    fn start(&mut self, body: &Body<'_>, out: &mut Vec<StreamEvent>) {
        if self.phase != Phase::Waiting {
            return;
        }
        self.phase = Phase::Started;
        let owned = |raw| wire::text(raw).map(Cow::into_owned).unwrap_or_default();
        (self.id, self.model) = (owned(body.id), owned(body.model));
        self.created = wire::count(body.created).filter(|created| *created > 0);
        out.push(StreamEvent::Start {
            id: self.id.clone(),
            model: self.model.clone(),
            created: self.created,
            usage: None,
        });
        out.extend(self.losses.iter().map(|name| StreamEvent::Dropped(name.clone().into())));
    }

    /// Remembers a chunk that says a piece of the first choice's text or thoughts, and nothing else.
    fn learn(&mut self, data: &str, body: &Body<'_>) {
        self.template_voice = None;
        let Some([choice]) = body.choices.as_deref() else { return };
        let is_more = body.has_usage() || body.usage().is_some() || wire::text(choice.finish_reason).is_some();
        if is_more || !choice.is_first() || wire::says_something(choice.logprobs) {
            return;
        }
        if let Some((text, is_thought)) = choice.delta.as_ref().and_then(Message::only_text) {
            self.template.learn(data, text, body.filler);
            self.template_voice = Some(if is_thought { Voice::Reasoning } else { Voice::Text });
        }
    }

    fn say(&mut self, voice: Voice, text: Cow<'_, str>, out: &mut Vec<StreamEvent>) {
        let text = text.into_owned();
        let delta = if voice == Voice::Reasoning { Delta::Reasoning(text) } else { Delta::Text(text) };
        self.blocks.say(voice, delta, out);
    }

    fn read(&mut self, delta: &Message<'_>, out: &mut Vec<StreamEvent>) {
        let (thoughts, signature) = delta.thoughts();
        if let Some(thoughts) = thoughts {
            self.say(Voice::Reasoning, thoughts, out);
        }
        if let Some(signature) = signature {
            self.blocks.say(Voice::Reasoning, Delta::Signature(signature), out);
        }
        if delta.content.is_some() {
            for said in wire::content(delta.content) {
                match said {
                    Said::Text(text) => self.say(Voice::Text, text, out),
                    Said::Thought(text) => self.say(Voice::Reasoning, text.into(), out),
                }
            }
        }
        if let Some(refusal) = wire::text(delta.refusal) {
            self.say(Voice::Refusal, refusal, out);
        }
        if wire::says_something(delta.annotations) {
            for annotation in wire::value(delta.annotations).as_array().into_iter().flatten() {
                self.blocks.say(Voice::Text, Delta::Citation(annotation.clone()), out);
            }
        }
        for call in delta.tool_calls.iter().flatten() {
            let (name, arguments, custom) = match (&call.function, &call.custom) {
                (_, Some(custom)) => (wire::text(custom.name), wire::text(custom.input), true),
                (Some(function), None) => (wire::text(function.name), wire::arguments(function.arguments), false),
                (None, None) => (None, None, false),
            };
            let (index, id) = (wire::count(call.index), wire::text(call.id));
            let remark = wire::is_object(call.extra_content).then(|| wire::value(call.extra_content));
            let piece = CallPiece { index, id, name, arguments, custom, remark };
            self.blocks.call(piece, &self.id, out);
        }
        if let Some(function) = &delta.function_call {
            let (name, arguments) = (wire::text(function.name), wire::arguments(function.arguments));
            let piece = CallPiece { index: Some(u64::MAX), id: None, name, arguments, custom: false, remark: None };
            self.blocks.call(piece, &self.id, out);
        }
    }

    fn lose(&mut self, name: &str, out: &mut Vec<StreamEvent>) {
        if !self.losses.iter().any(|known| known == name) {
            self.losses.push(name.to_owned());
            if self.phase == Phase::Started {
                out.push(StreamEvent::Dropped(name.to_owned().into()));
            }
        }
    }

    /// What no event has a word for, under the names that it has in a whole answer.
    fn note_losses(&mut self, choices: &[Choice<'_>], out: &mut Vec<StreamEvent>) {
        for choice in choices {
            if !choice.is_first() {
                let index = choice.index().unwrap_or_default();
                self.lose(&format!("choices[{index}]"), out);
                continue;
            }
            if wire::says_something(choice.logprobs) {
                self.lose("choices[0].logprobs", out);
            }
            let Some(delta) = &choice.delta else { continue };
            if wire::says_something(delta.audio) {
                self.lose("choices[0].message.audio", out);
            }
            if wire::says_something(delta.reasoning_details) && delta.thoughts() == (None, None) {
                self.lose("choices[0].message.reasoning_details", out);
            }
        }
    }

    /// An event without `choices` is a vendor's own remark, or an error without an `error` object.
    fn without_choices(&mut self, data: &str, out: &mut Vec<StreamEvent>) -> EventRole {
        let value: Value = serde_json::from_str(data).unwrap_or_default();
        let error = value.get("object").is_some_and(|object| object == "error")
            || value.get("detail").is_some()
            || value.get("message").is_some_and(Value::is_string) && value.get("code").is_some();
        if error {
            return self.fail(error::read(200, &value), out);
        }
        let mut names = Vec::new();
        unknown(data, &wire::BODY, "", &mut names);
        names.iter().for_each(|name| self.lose(name, out));
        EventRole::Lifecycle
    }

    fn fail(&mut self, error: UpstreamError, out: &mut Vec<StreamEvent>) -> EventRole {
        self.phase = Phase::Failed;
        out.push(StreamEvent::Error(error));
        EventRole::Error
    }

    fn end(&mut self, out: &mut Vec<StreamEvent>) {
        if matches!(self.phase, Phase::Ended | Phase::Failed) {
            return;
        }
        if self.phase == Phase::Waiting {
            self.start(&Body::default(), out);
        }
        self.phase = Phase::Ended;
        self.blocks.flush(&self.id, out);
        let silent = if self.blocks.has_calls() { FinishReason::ToolCalls } else { FinishReason::STOP };
        out.push(StreamEvent::Finish(self.finish.take().unwrap_or(silent)));
    }
}

fn unreadable(data: &str) -> UpstreamError {
    let start: String = data.chars().take(200).collect();
    UpstreamError {
        status: 502,
        kind: String::new(),
        code: None,
        message: format!("the provider's stream has an event that is no chunk: {start}"),
        param: None,
    }
}

/// What is said outside of tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Voice {
    Text,
    Refusal,
    Reasoning,
}

/// Puts blocks that may overlap one behind the other. The front block streams live; what comes for later ones waits while
/// the front may still grow. Text gives way at once (it may go on in a block of its own); a tool call when its arguments
/// are a whole JSON object.
#[derive(Debug, Default)]
struct Sequencer {
    calls: Vec<Call>,
    queue: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    source: Source,
    started: bool,
    deltas: Vec<Delta>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Voice(Voice),
    /// An index into `calls`.
    Call(usize),
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: Option<String>,
    name: String,
    custom: bool,
    arguments: ObjectScan,
}

struct CallPiece<'a> {
    index: Option<u64>,
    id: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    arguments: Option<Cow<'a, str>>,
    custom: bool,
    remark: Option<Value>,
}

impl Sequencer {
    fn has_calls(&self) -> bool {
        self.calls.iter().any(|call| !call.custom)
    }

    fn say(&mut self, voice: Voice, delta: Delta, out: &mut Vec<StreamEvent>) {
        let source = Source::Voice(voice);
        if self.queue.back().is_none_or(|last| last.source != source) {
            self.queue.push_back(Waiting { source, started: false, deltas: Vec::new() });
            self.advance("", out);
        }
        self.append(self.queue.len() - 1, delta, out);
    }

    fn call(&mut self, piece: CallPiece<'_>, seed: &str, out: &mut Vec<StreamEvent>) {
        let number = match self.find(&piece) {
            Some(number) => number,
            None if piece.name.is_none() && piece.id.is_none() && piece.arguments.is_none() => return,
            None => {
                self.calls.push(Call { index: piece.index, custom: piece.custom, ..Call::default() });
                let source = Source::Call(self.calls.len() - 1);
                self.queue.push_back(Waiting { source, started: false, deltas: Vec::new() });
                self.calls.len() - 1
            }
        };
        let call = &mut self.calls[number];
        if let (None, Some(id)) = (&call.id, piece.id) {
            call.id = Some(id.into_owned());
        }
        if let (true, Some(name)) = (call.name.is_empty(), piece.name) {
            call.name = name.into_owned();
        }
        let place = self.queue.iter().position(|waiting| waiting.source == Source::Call(number));
        if let (Some(place), Some(remark)) = (place, piece.remark) {
            self.append(place, Delta::CallRemark(remark), out);
        }
        let call = &mut self.calls[number];
        if let (Some(place), Some(arguments)) = (place, piece.arguments) {
            call.arguments.feed(&arguments);
            let delta = match call.custom {
                true => Delta::Foreign(Value::String(arguments.into_owned())),
                false => Delta::Arguments(arguments.into_owned()),
            };
            self.append(place, delta, out);
        }
        self.advance(seed, out);
    }

    /// The call that a piece continues. Vendors tell by index, by id, by both, or reuse one index for several ids.
    fn find(&self, piece: &CallPiece<'_>) -> Option<usize> {
        let id = piece.id.as_deref();
        let indexed = |call: &Call| piece.index.is_none() || call.index == piece.index;
        if id.is_some()
            && let Some(known) = self.calls.iter().rposition(|call| indexed(call) && call.id.as_deref() == id)
        {
            return Some(known);
        }
        let last = match piece.index {
            Some(_) => self.calls.iter().rposition(indexed)?,
            None if id.is_some() || piece.name.is_some() => return None,
            None => self.calls.len().checked_sub(1)?,
        };
        let call = &self.calls[last];
        let other_id = id.is_some() && call.id.is_some();
        let begins_anew = id.is_none() && piece.name.is_some() && piece.arguments.is_some() && call.arguments.whole;
        (!other_id && !begins_anew).then_some(last)
    }

    fn append(&mut self, place: usize, delta: Delta, out: &mut Vec<StreamEvent>) {
        match self.queue.get_mut(place) {
            Some(waiting) if waiting.started => out.push(StreamEvent::Delta(delta)),
            Some(waiting) => waiting.deltas.push(delta),
            None => {}
        }
    }

    /// Starts the front block, and ends it where it is known to be done and another one waits.
    fn advance(&mut self, seed: &str, out: &mut Vec<StreamEvent>) {
        while let Some(front) = self.queue.front() {
            let (ready, done) = match front.source {
                Source::Voice(_) => (true, true),
                Source::Call(number) => {
                    let call = &self.calls[number];
                    (!call.name.is_empty(), call.arguments.whole && !call.custom)
                }
            };
            if !ready {
                return;
            }
            self.start_front(seed, out);
            if !done || self.queue.len() == 1 {
                return;
            }
            out.push(StreamEvent::BlockEnd);
            self.queue.pop_front();
        }
    }

    fn start_front(&mut self, seed: &str, out: &mut Vec<StreamEvent>) {
        let Some(front) = self.queue.front_mut().filter(|front| !front.started) else { return };
        front.started = true;
        let block = match front.source {
            Source::Voice(Voice::Text) => Block::Text,
            Source::Voice(Voice::Refusal) => Block::Refusal,
            Source::Voice(Voice::Reasoning) => Block::Reasoning,
            Source::Call(number) => {
                let call = &self.calls[number];
                let id = call.id.clone().unwrap_or_else(|| mint_call_id(seed, number));
                if call.custom {
                    let value = json!({"id": id, "type": "custom", "custom": {"name": call.name}});
                    Block::Foreign { kind: "custom".to_owned(), value }
                } else {
                    Block::ToolCall { id, name: call.name.clone() }
                }
            }
        };
        out.push(StreamEvent::BlockStart(block));
        out.extend(front.deltas.drain(..).map(StreamEvent::Delta));
    }

    fn flush(&mut self, seed: &str, out: &mut Vec<StreamEvent>) {
        while !self.queue.is_empty() {
            self.start_front(seed, out);
            out.push(StreamEvent::BlockEnd);
            self.queue.pop_front();
        }
    }
}

/// Sees where a JSON object that comes in pieces ends.
#[derive(Debug, Default)]
struct ObjectScan {
    depth: usize,
    in_string: bool,
    escaped: bool,
    whole: bool,
}

impl ObjectScan {
    fn feed(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.whole = self.depth == 0;
                }
                _ => {}
            }
        }
    }
}

/// Writes chunks.
pub(crate) struct Encoder {
    answer: Answer,
    id: String,
    model: String,
    created: u64,
    /// How every chunk begins, up to its choices.
    head: Vec<u8>,
    started: bool,
    calls: usize,
    open: Open,
    losses: Losses,
    ended: bool,
    usage: Option<Usage>,
}

/// What the open block is, as far as its deltas must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    Text,
    Refusal,
    Reasoning,
    Call {
        has_arguments: bool,
    },
    /// A block of another dialect, which is not shown.
    Hidden,
}

impl Open {
    pub(crate) fn of(block: &Block) -> Open {
        match block {
            Block::Text => Open::Text,
            Block::Refusal => Open::Refusal,
            Block::Reasoning => Open::Reasoning,
            Block::ToolCall { .. } => Open::Call { has_arguments: false },
            Block::RedactedReasoning(_) | Block::Foreign { .. } => Open::Hidden,
        }
    }
}

/// What all chunks of a stream have in common.
#[derive(Serialize)]
struct Head<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
}

/// The delta of the chunk that comes first.
const OPENING: &[u8] = br#"{"role":"assistant","content":""}"#;

impl Encoder {
    pub(crate) fn new(answer: Answer) -> Self {
        let (id, model, created) = (id_of("", &answer), answer.model.to_string(), answer.created);
        let mut encoder = Encoder {
            answer,
            id,
            model,
            created,
            head: Vec::new(),
            started: false,
            calls: 0,
            open: Open::Hidden,
            losses: Losses::new(&super::response::WORDS),
            ended: false,
            usage: None,
        };
        encoder.write_head();
        encoder
    }

    fn write_head(&mut self) {
        let (id, model, created) = (&self.id, &self.model, self.created);
        self.head = to_vec(&Head { id, object: "chat.completion.chunk", created, model });
        self.head.pop();
        self.head.extend_from_slice(br#","choices":["#);
    }

    /// A chunk of which the delta has one member.
    fn delta(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.started, true) {
            self.choice(|out| out.extend_from_slice(OPENING), None, out);
        }
        let delta = |out: &mut Vec<u8>| {
            [b"{\"", name.as_bytes(), b"\":"].into_iter().for_each(|piece| out.extend_from_slice(piece));
            value(out);
            out.push(b'}');
        };
        self.choice(delta, None, out);
    }

    fn text(&mut self, name: &str, text: &str, out: &mut Vec<u8>) {
        self.delta(name, |out| write_string(out, text), out);
    }

    fn choice(&self, delta: impl FnOnce(&mut Vec<u8>), finish_reason: Option<&str>, out: &mut Vec<u8>) {
        write_event_with(out, None, |out| {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(br#"{"index":0,"delta":"#);
            delta(out);
            out.extend_from_slice(br#","logprobs":null,"finish_reason":"#);
            write_json(out, &finish_reason);
            // `null` on every chunk but the last, if usage was asked for.
            let usage: &[u8] = if self.answer.include_usage { br#","usage":null"# } else { b"" };
            [b"}]", usage, b"}"].into_iter().for_each(|piece| out.extend_from_slice(piece));
        });
    }

    fn last_chunk(&self, usage: Usage, out: &mut Vec<u8>) {
        write_event_with(out, None, |out| {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(br#"],"usage":"#);
            write_json(out, &UsageOut::from(usage));
            out.push(b'}');
        });
    }

    fn open(&mut self, block: &Block, out: &mut Vec<u8>) {
        self.open = Open::of(block);
        if let Block::ToolCall { id, name } = block {
            let function = FunctionOut { name: Some(name), arguments: "" };
            let index = Some(self.calls);
            let call = CallOut { index, id: Some(id), kind: Some("function"), function, extra_content: None };
            self.delta("tool_calls", |out| write_json(out, &[call]), out);
            self.calls += 1;
        }
    }

    fn arguments(&mut self, arguments: &str, extra_content: Option<&Value>, out: &mut Vec<u8>) {
        let function = FunctionOut { name: None, arguments };
        let call = CallOut { index: self.calls.checked_sub(1), id: None, kind: None, function, extra_content };
        self.delta("tool_calls", |out| write_json(out, &[call]), out);
    }

    fn write(&mut self, delta: Delta, out: &mut Vec<u8>) {
        match (self.open, delta) {
            (Open::Text, Delta::Text(text)) => self.text("content", &text, out),
            (Open::Refusal, Delta::Text(text)) => self.text("refusal", &text, out),
            (Open::Reasoning, Delta::Reasoning(text)) if !text.is_empty() => {
                self.text("reasoning_content", &text, out);
            }
            (Open::Call { .. }, Delta::Arguments(text)) if !text.is_empty() => {
                self.open = Open::Call { has_arguments: true };
                self.arguments(&text, None, out);
            }
            (Open::Call { .. }, Delta::CallRemark(remark)) => self.arguments("", Some(&remark), out),
            (Open::Text, Delta::Citation(value)) if is_annotation(&value) => {
                self.delta("annotations", |out| write_json(out, &[value]), out);
            }
            _ => {}
        }
    }
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: StreamEvent, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        self.losses.see(&event);
        match event {
            StreamEvent::Start { id, model, created, usage } => {
                self.id = id_of(&id, &self.answer);
                if !model.is_empty() {
                    self.model = model;
                }
                self.created = created.unwrap_or(self.created);
                self.write_head();
                self.usage = usage.or(self.usage);
                self.started = true;
                self.choice(|out| out.extend_from_slice(OPENING), None, out);
            }
            StreamEvent::BlockStart(block) => self.open(&block, out),
            StreamEvent::Delta(delta) => self.write(delta, out),
            StreamEvent::BlockEnd => {
                // A call without arguments must still carry JSON.
                if self.open == (Open::Call { has_arguments: false }) {
                    self.arguments("{}", None, out);
                }
                self.open = Open::Hidden;
            }
            StreamEvent::Usage(usage) | StreamEvent::EstimatedUsage(usage) => self.usage = Some(usage),
            StreamEvent::Finish(reason) => {
                self.choice(|out| out.extend_from_slice(b"{}"), Some(finish_word(&reason)), out)
            }
            // The relay writes the error; what follows it would only look like a success.
            StreamEvent::Error(_) => self.ended = true,
            StreamEvent::Ping | StreamEvent::Dropped(_) => {}
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let (true, Some(usage)) = (self.answer.include_usage, self.usage) {
            self.last_chunk(usage, out);
        }
        self.losses.write(out);
        write_event(out, None, b"[DONE]");
    }
}
