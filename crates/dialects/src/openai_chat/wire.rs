//! Answers as vendors write them, borrowed from their bytes.
//!
//! Fields whose type varies between vendors are raw and read on demand, so that no surprise in one of them costs the rest,
//! and a field that nobody asks for costs nothing.

use std::borrow::Cow;

use gateway_core::chat::{Contents, FinishReason};
use gateway_core::error::GatewayError;
use gateway_core::usage::Usage;
use serde_json::Value;

use crate::json::{Json, Shape};
use crate::scan::{Checked, Reader, read_answer};

pub(super) type Raw<'a> = Option<Json<'a>>;

/// What is read of an answer, or is no part of it: filler (`obfuscation`, and Mistral's `p`), the name of the provider's build.
pub(super) const BODY: Shape = Shape {
    known: &["id", "object", "model", "created", "error", "x_groq", "obfuscation", "p", "system_fingerprint"],
    deeper: &[("choices", &CHOICE), ("usage", &USAGE)],
};
const CHOICE: Shape = Shape {
    known: &["index", "finish_reason", "native_finish_reason", "stop_reason", "logprobs"],
    deeper: &[("delta", &MESSAGE), ("message", &MESSAGE), ("usage", &USAGE)],
};
const MESSAGE: Shape = Shape {
    known: &[
        "role",
        "content",
        "refusal",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "tool_calls",
        "function_call",
        "annotations",
        "audio",
    ],
    deeper: &[],
};
const USAGE: Shape = Shape {
    known: &[
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_cache_hit_tokens",
        "prompt_cache_miss_tokens",
        "cached_tokens",
        "reasoning_tokens",
    ],
    deeper: &[("prompt_tokens_details", &DETAILS), ("completion_tokens_details", &DETAILS)],
};
const DETAILS: Shape =
    Shape { known: &["cached_tokens", "cache_write_tokens", "reasoning_tokens", "text_tokens"], deeper: &[] };

/// A chunk of a stream or a whole answer. `M` is what is read of its messages.
#[derive(Debug, Default)]
pub(super) struct Body<'a, M = Message<'a>> {
    pub(super) id: Raw<'a>,
    pub(super) model: Raw<'a>,
    pub(super) created: Raw<'a>,
    pub(super) choices: Option<Vec<Choice<'a, M>>>,
    usage: Told,
    pub(super) error: Raw<'a>,
    /// Groq's place for the usage of a stream.
    x_groq: Told,
    /// A string that hides how long the text of a chunk is.
    pub(super) filler: Raw<'a>,
}

#[derive(Debug, Default)]
pub(super) struct Choice<'a, M = Message<'a>> {
    index: Raw<'a>,
    /// Of a chunk.
    pub(super) delta: Option<M>,
    /// Of a whole answer. Perplexity's chunks have it beside `delta`, with everything said so far.
    pub(super) message: Option<M>,
    pub(super) finish_reason: Raw<'a>,
    /// The stop string that was met (vLLM).
    stop_reason: Raw<'a>,
    pub(super) logprobs: Raw<'a>,
    usage: Told,
}

/// A usage: `Some` where there is an object, and in it the tokens if it tells them.
type Told = Option<Option<Usage>>;

#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) content: Raw<'a>,
    pub(super) refusal: Raw<'a>,
    reasoning_content: Raw<'a>,
    reasoning: Raw<'a>,
    pub(super) reasoning_details: Raw<'a>,
    pub(super) tool_calls: Option<Vec<ToolCall<'a>>>,
    pub(super) function_call: Option<Function<'a>>,
    pub(super) annotations: Raw<'a>,
    pub(super) audio: Raw<'a>,
}

#[derive(Debug, Default)]
pub(super) struct ToolCall<'a> {
    pub(super) index: Raw<'a>,
    pub(super) id: Raw<'a>,
    pub(super) function: Option<Function<'a>>,
    pub(super) custom: Option<Custom<'a>>,
    /// Where Gemini keeps the signature that must come back with the call.
    pub(super) extra_content: Raw<'a>,
}

#[derive(Debug, Default)]
pub(super) struct Function<'a> {
    pub(super) name: Raw<'a>,
    pub(super) arguments: Raw<'a>,
}

#[derive(Debug, Default)]
pub(super) struct Custom<'a> {
    pub(super) name: Raw<'a>,
    pub(super) input: Raw<'a>,
}

/// The text of a JSON string; `None` for everything else and for the empty string, which says nothing.
pub(super) fn text(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    raw?.string().filter(|text| !text.is_empty())
}

/// Arguments as JSON text: a string's content, or the JSON itself where a vendor sends an object.
pub(super) fn arguments(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    text(raw).or_else(|| raw.map(Json::get).filter(|json| json.starts_with('{')).map(Cow::Borrowed))
}

/// A count; vendors write some as `12.0`.
pub(super) fn count(raw: Raw<'_>) -> Option<u64> {
    let json = raw?.get();
    json.parse().ok().or_else(|| json.parse::<f64>().ok().map(|float| float as u64))
}

pub(super) fn is_object(raw: Raw<'_>) -> bool {
    raw.is_some_and(|raw| raw.get().starts_with('{'))
}

/// Is there something other than `null`, `false`, an empty string, list or object?
pub(super) fn says_something(raw: Raw<'_>) -> bool {
    raw.is_some_and(|raw| !matches!(raw.get(), "null" | "false" | "\"\"" | "[]" | "{}"))
}

/// Any raw value, for the rare cases in which its insides matter.
pub(super) fn value(raw: Raw<'_>) -> Value {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

impl<'a, M> Body<'a, M> {
    /// The only choice that the canonical model knows.
    pub(super) fn first_choice(&self) -> Option<&Choice<'a, M>> {
        self.choices.iter().flatten().find(|choice| choice.is_first())
    }

    /// The usage, wherever the vendor put it.
    pub(super) fn usage(&self) -> Option<Usage> {
        let of_choice = || self.choices.iter().flatten().find_map(|choice| choice.usage.flatten());
        self.usage.flatten().or_else(of_choice).or_else(|| self.x_groq.flatten())
    }

    /// Has it a usage in its usual place, whatever that says?
    pub(super) fn has_usage(&self) -> bool {
        self.usage.is_some()
    }
}

impl<'a, M: Members<'a>> Body<'a, M> {
    /// An answer or a chunk, in one pass.
    pub(super) fn read(text: &'a str) -> Result<Self, GatewayError> {
        let mut body = Body::default();
        read_answer(text, |json, name| body.member(&name, json))?;
        Ok(body)
    }
}

/// What is read by taking members out of an object. One that stands there twice counts as it stands last.
pub(super) trait Members<'a>: Default {
    /// Passes the value of a member.
    fn member(&mut self, name: &[u8], json: &mut Reader<'a>) -> Checked<()>;
}

impl<'a, M: Members<'a>> Members<'a> for Body<'a, M> {
    fn member(&mut self, name: &[u8], json: &mut Reader<'a>) -> Checked<()> {
        match name {
            b"id" => self.id = raw(json)?,
            b"model" => self.model = raw(json)?,
            b"created" => self.created = raw(json)?,
            b"choices" => list(json, &mut self.choices)?,
            b"usage" => self.usage = told(json)?,
            b"error" => self.error = raw(json)?,
            b"x_groq" => self.x_groq = groq(json)?,
            b"obfuscation" | b"p" => self.filler = raw(json)?,
            _ => json.skip()?,
        }
        Ok(())
    }
}

impl<'a, M: Members<'a>> Members<'a> for Choice<'a, M> {
    fn member(&mut self, name: &[u8], json: &mut Reader<'a>) -> Checked<()> {
        match name {
            b"index" => self.index = raw(json)?,
            b"delta" => object(json, &mut self.delta)?,
            b"message" => object(json, &mut self.message)?,
            b"finish_reason" => self.finish_reason = raw(json)?,
            b"stop_reason" => self.stop_reason = raw(json)?,
            b"logprobs" => self.logprobs = raw(json)?,
            b"usage" => self.usage = told(json)?,
            _ => json.skip()?,
        }
        Ok(())
    }
}

impl<'a> Members<'a> for Message<'a> {
    fn member(&mut self, name: &[u8], json: &mut Reader<'a>) -> Checked<()> {
        match name {
            b"content" => self.content = raw(json)?,
            b"refusal" => self.refusal = raw(json)?,
            b"reasoning_content" => self.reasoning_content = raw(json)?,
            b"reasoning" => self.reasoning = raw(json)?,
            b"reasoning_details" => self.reasoning_details = raw(json)?,
            b"tool_calls" => list(json, &mut self.tool_calls)?,
            b"function_call" => object(json, &mut self.function_call)?,
            b"annotations" => self.annotations = raw(json)?,
            b"audio" => self.audio = raw(json)?,
            _ => json.skip()?,
        }
        Ok(())
    }
}

impl<'a> Members<'a> for ToolCall<'a> {
    fn member(&mut self, name: &[u8], json: &mut Reader<'a>) -> Checked<()> {
        match name {
            b"index" => self.index = raw(json)?,
            b"id" => self.id = raw(json)?,
            b"function" => object(json, &mut self.function)?,
            b"custom" => object(json, &mut self.custom)?,
            b"extra_content" => self.extra_content = raw(json)?,
            _ => json.skip()?,
        }
        Ok(())
    }
}

impl<'a> Members<'a> for Function<'a> {
    fn member(&mut self, name: &[u8], json: &mut Reader<'a>) -> Checked<()> {
        match name {
            b"name" => self.name = raw(json)?,
            b"arguments" => self.arguments = raw(json)?,
            _ => json.skip()?,
        }
        Ok(())
    }
}

impl<'a> Members<'a> for Custom<'a> {
    fn member(&mut self, name: &[u8], json: &mut Reader<'a>) -> Checked<()> {
        match name {
            b"name" => self.name = raw(json)?,
            b"input" => self.input = raw(json)?,
            _ => json.skip()?,
        }
        Ok(())
    }
}

/// What there is in a message, without its text.
impl<'a> Members<'a> for Contents {
    fn member(&mut self, name: &[u8], json: &mut Reader<'a>) -> Checked<()> {
        match name {
            b"content" => self.text = says_something(raw(json)?),
            b"refusal" => self.refusal = says_something(raw(json)?),
            b"tool_calls" | b"function_call" => self.tool_calls |= says_something(raw(json)?),
            _ => json.skip()?,
        }
        Ok(())
    }
}

/// Passes any value. Its text, unless it is `null`.
fn raw<'a>(json: &mut Reader<'a>) -> Checked<Raw<'a>> {
    if json.peek() == Some(b'n') {
        return json.skip().map(|()| None);
    }
    json.json().map(|text| Some(Json(text)))
}

/// Passes an object or a `null`. What is read is written where it belongs, for it is large.
fn object<'a, T: Members<'a>>(json: &mut Reader<'a>, place: &mut Option<T>) -> Checked<()> {
    if json.peek() == Some(b'n') {
        *place = None;
        return json.skip();
    }
    members(json, place.insert(T::default()))
}

/// Passes a list of objects or a `null`.
fn list<'a, T: Members<'a>>(json: &mut Reader<'a>, place: &mut Option<Vec<T>>) -> Checked<()> {
    if json.peek() == Some(b'n') {
        *place = None;
        return json.skip();
    }
    // Nearly every list has one item.
    let list = place.insert(Vec::with_capacity(1));
    json.items(|json| {
        list.push(T::default());
        list.last_mut().map_or(Ok(()), |item| members(json, item))
    })
}

fn members<'a, T: Members<'a>>(json: &mut Reader<'a>, place: &mut T) -> Checked<()> {
    json.members(|json, name| place.member(&name, json))
}

/// Passes any value, which is a usage if it is an object.
fn told(json: &mut Reader<'_>) -> Checked<Told> {
    if json.peek() != Some(b'{') {
        return json.skip().map(|()| None);
    }
    let mut wire = UsageWire::default();
    members(json, &mut wire)?;
    Ok(Some(wire.usage()))
}

/// Passes any value, which has a usage in it if it is Groq's.
fn groq(json: &mut Reader<'_>) -> Checked<Told> {
    if json.peek() != Some(b'{') {
        return json.skip().map(|()| None);
    }
    let mut usage = None;
    json.members(|json, name| {
        match &*name {
            b"usage" => usage = told(json)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(usage)
}

impl<M> Choice<'_, M> {
    pub(super) fn index(&self) -> Option<u64> {
        count(self.index)
    }

    pub(super) fn is_first(&self) -> bool {
        self.index().unwrap_or(0) == 0
    }

    /// Why the answer ended. Some vendors say `stop` beside tool calls; the better word is `tool_calls`.
    pub(super) fn finish(&self, has_calls: bool) -> Option<FinishReason> {
        Some(match &*text(self.finish_reason)? {
            "stop" | "tool_calls" | "function_call" | "tool_use" if has_calls => FinishReason::ToolCalls,
            "stop" => FinishReason::Stop { sequence: text(self.stop_reason).map(Cow::into_owned) },
            "end_turn" | "eos" => FinishReason::STOP,
            "length" | "max_tokens" => FinishReason::Length,
            "tool_calls" | "function_call" | "tool_use" => FinishReason::ToolCalls,
            "content_filter" => FinishReason::ContentFilter,
            other => FinishReason::Other(other.to_owned()),
        })
    }
}

impl<'a> Message<'a> {
    /// The thoughts, under whichever name; with their signature where there is one.
    pub(super) fn thoughts(&self) -> (Option<Cow<'a, str>>, Option<String>) {
        let plain = text(self.reasoning_content).or_else(|| text(self.reasoning));
        if !says_something(self.reasoning_details) {
            return (plain, None);
        }
        let (mut detailed, mut signature) = (String::new(), None);
        for detail in value(self.reasoning_details).as_array().into_iter().flatten() {
            for key in ["text", "summary"] {
                detailed += detail.get(key).and_then(Value::as_str).unwrap_or_default();
            }
            if let Some(signed) = detail.get("signature").and_then(Value::as_str).filter(|signed| !signed.is_empty()) {
                signature = Some(signed.to_owned());
            }
        }
        (plain.or_else(|| (!detailed.is_empty()).then_some(Cow::Owned(detailed))), signature)
    }

    /// The only text that it says, and whether that is a thought; `None` if it says anything else.
    pub(super) fn only_text(&self) -> Option<(Json<'a>, bool)> {
        let others = [self.refusal, self.reasoning_details, self.annotations, self.audio];
        if others.into_iter().any(says_something) || self.tool_calls.is_some() || self.function_call.is_some() {
            return None;
        }
        let texts = [(self.content, false), (self.reasoning_content, true), (self.reasoning, true)];
        let mut said = texts.into_iter().filter(|(raw, _)| says_something(*raw));
        match (said.next()?, said.next()) {
            ((Some(json), is_thought), None) if json.get().starts_with('"') => Some((json, is_thought)),
            _ => None,
        }
    }

    pub(super) fn says_something(&self) -> bool {
        let texts = [self.content, self.refusal, self.reasoning_content, self.reasoning];
        texts.into_iter().chain([self.reasoning_details, self.annotations, self.audio]).any(says_something)
            || self.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty())
            || self.function_call.is_some()
    }
}

/// A piece of `content`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    Text(Cow<'a, str>),
    Thought(String),
}

/// `content` is a string with most vendors, a list of parts with some (Mistral puts thoughts there).
pub(super) fn content(raw: Raw<'_>) -> Vec<Said<'_>> {
    if let Some(text) = text(raw) {
        return vec![Said::Text(text)];
    }
    let Some(json) = raw.map(Json::get) else { return Vec::new() };
    match json.as_bytes().first() {
        Some(b'[') => value(raw).as_array().into_iter().flatten().filter_map(said).collect(),
        Some(b'{') => vec![Said::Text(Cow::Borrowed(json))],
        _ => Vec::new(),
    }
}

fn said<'a>(part: &Value) -> Option<Said<'a>> {
    if let Some(thinking) = part.get("thinking") {
        return Some(Said::Thought(match thinking {
            Value::String(text) => text.clone(),
            parts => parts.as_array()?.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        }));
    }
    let text = part.as_str().or_else(|| part.get("text")?.as_str())?;
    (!text.is_empty()).then(|| Said::Text(Cow::Owned(text.to_owned())))
}

#[derive(Default)]
struct UsageWire<'a> {
    prompt_tokens: Raw<'a>,
    completion_tokens: Raw<'a>,
    total_tokens: Raw<'a>,
    prompt_tokens_details: PromptDetails<'a>,
    completion_tokens_details: CompletionDetails<'a>,
    /// DeepSeek's name for cached tokens.
    prompt_cache_hit_tokens: Raw<'a>,
    /// Moonshot's.
    cached_tokens: Raw<'a>,
    /// Perplexity's place for them.
    reasoning_tokens: Raw<'a>,
}

#[derive(Default)]
struct PromptDetails<'a> {
    cached_tokens: Raw<'a>,
    /// OpenRouter's.
    cache_write_tokens: Raw<'a>,
}

#[derive(Default)]
struct CompletionDetails<'a> {
    reasoning_tokens: Raw<'a>,
}

impl<'a> Members<'a> for UsageWire<'a> {
    fn member(&mut self, name: &[u8], json: &mut Reader<'a>) -> Checked<()> {
        match name {
            b"prompt_tokens" => self.prompt_tokens = raw(json)?,
            b"completion_tokens" => self.completion_tokens = raw(json)?,
            b"total_tokens" => self.total_tokens = raw(json)?,
            b"prompt_cache_hit_tokens" => self.prompt_cache_hit_tokens = raw(json)?,
            b"cached_tokens" => self.cached_tokens = raw(json)?,
            b"reasoning_tokens" => self.reasoning_tokens = raw(json)?,
            b"prompt_tokens_details" if json.peek() == Some(b'{') => members(json, &mut self.prompt_tokens_details)?,
            b"completion_tokens_details" if json.peek() == Some(b'{') => {
                members(json, &mut self.completion_tokens_details)?;
            }
            _ => json.skip()?,
        }
        Ok(())
    }
}

impl<'a> Members<'a> for PromptDetails<'a> {
    fn member(&mut self, name: &[u8], json: &mut Reader<'a>) -> Checked<()> {
        match name {
            b"cached_tokens" => self.cached_tokens = raw(json)?,
            b"cache_write_tokens" => self.cache_write_tokens = raw(json)?,
            _ => json.skip()?,
        }
        Ok(())
    }
}

impl<'a> Members<'a> for CompletionDetails<'a> {
    fn member(&mut self, name: &[u8], json: &mut Reader<'a>) -> Checked<()> {
        match name {
            b"reasoning_tokens" => self.reasoning_tokens = raw(json)?,
            _ => json.skip()?,
        }
        Ok(())
    }
}

impl UsageWire<'_> {
    fn usage(&self) -> Option<Usage> {
        let prompt = count(self.prompt_tokens)?;
        let details = &self.prompt_tokens_details;
        let cache_read = count(details.cached_tokens)
            .or_else(|| count(self.prompt_cache_hit_tokens))
            .or_else(|| count(self.cached_tokens))
            .unwrap_or(0);
        // Some vendors count only what was not cached, and some leave the thoughts out of `completion_tokens`: the total tells.
        let beside_prompt = count(self.total_tokens).unwrap_or(0).saturating_sub(prompt);
        let output = count(self.completion_tokens).unwrap_or(0).max(beside_prompt);
        let input = prompt.max(cache_read);
        let reasoning = count(self.completion_tokens_details.reasoning_tokens);
        Some(Usage {
            input,
            cache_read,
            cache_write: count(details.cache_write_tokens).unwrap_or(0).min(input - cache_read),
            output,
            reasoning: reasoning.or_else(|| count(self.reasoning_tokens)).unwrap_or(0).min(output),
        })
    }
}
