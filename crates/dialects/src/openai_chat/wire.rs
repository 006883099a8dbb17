//! Answers as vendors write them, borrowed from their bytes.
//!
//! Fields whose type varies between vendors are raw and read on demand, so that no surprise in one of them costs the rest,
//! and a field that nobody asks for costs nothing.

use std::borrow::Cow;

use gateway_core::chat::{Contents, FinishReason};
use gateway_core::error::GatewayError;
use gateway_core::usage::Usage;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::json::Shape;
use crate::scan::{Reader, read};

pub(super) type Raw<'a> = Option<Json<'a>>;

/// The text of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    pub(super) fn get(self) -> &'a str {
        self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Json(raw.get()))
    }
}

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
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "M: Default + Deserialize<'de>"))]
pub(super) struct Body<'a, M = Message<'a>> {
    #[serde(borrow)]
    pub(super) id: Raw<'a>,
    #[serde(borrow)]
    pub(super) model: Raw<'a>,
    #[serde(borrow)]
    pub(super) created: Raw<'a>,
    pub(super) choices: Option<Vec<Choice<'a, M>>>,
    #[serde(borrow)]
    pub(super) usage: Raw<'a>,
    #[serde(borrow)]
    pub(super) error: Raw<'a>,
    /// Groq's place for the usage of a stream.
    #[serde(borrow)]
    x_groq: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "M: Default + Deserialize<'de>"))]
pub(super) struct Choice<'a, M = Message<'a>> {
    #[serde(borrow)]
    index: Raw<'a>,
    /// Of a chunk.
    pub(super) delta: Option<M>,
    /// Of a whole answer. Perplexity's chunks have it beside `delta`, with everything said so far.
    pub(super) message: Option<M>,
    #[serde(borrow)]
    pub(super) finish_reason: Raw<'a>,
    /// The stop string that was met (vLLM).
    #[serde(borrow)]
    stop_reason: Raw<'a>,
    #[serde(borrow)]
    pub(super) logprobs: Raw<'a>,
    #[serde(borrow)]
    usage: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) content: Raw<'a>,
    #[serde(borrow)]
    pub(super) refusal: Raw<'a>,
    #[serde(borrow)]
    reasoning_content: Raw<'a>,
    #[serde(borrow)]
    reasoning: Raw<'a>,
    #[serde(borrow)]
    pub(super) reasoning_details: Raw<'a>,
    #[serde(borrow)]
    pub(super) tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    pub(super) function_call: Option<Function<'a>>,
    #[serde(borrow)]
    pub(super) annotations: Raw<'a>,
    #[serde(borrow)]
    pub(super) audio: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ToolCall<'a> {
    #[serde(borrow)]
    pub(super) index: Raw<'a>,
    #[serde(borrow)]
    pub(super) id: Raw<'a>,
    #[serde(borrow)]
    pub(super) function: Option<Function<'a>>,
    #[serde(borrow)]
    pub(super) custom: Option<Custom<'a>>,
    /// Where Gemini keeps the signature that must come back with the call.
    #[serde(borrow)]
    pub(super) extra_content: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Function<'a> {
    #[serde(borrow)]
    pub(super) name: Raw<'a>,
    #[serde(borrow)]
    pub(super) arguments: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Custom<'a> {
    #[serde(borrow)]
    pub(super) name: Raw<'a>,
    #[serde(borrow)]
    pub(super) input: Raw<'a>,
}

#[derive(Deserialize)]
struct Owner<'a> {
    #[serde(borrow, default)]
    usage: Raw<'a>,
}

/// The text of a JSON string; `None` for everything else and for the empty string, which says nothing.
pub(super) fn text(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    let json = raw?.get();
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.is_empty() {
        return None;
    }
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
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
        let of_choice = || self.choices.iter().flatten().find_map(|choice| usage(choice.usage));
        let of_groq = || usage(serde_json::from_str::<Owner<'_>>(self.x_groq?.get()).ok()?.usage);
        usage(self.usage).or_else(of_choice).or_else(of_groq)
    }
}

/// An answer without its text: what concerns its account.
impl<'a> Body<'a, Contents> {
    /// The answer, and its usage, which is read on the way.
    pub(super) fn account(bytes: &'a [u8]) -> Result<(Self, Option<Usage>), GatewayError> {
        let (mut body, mut told) = (Body::default(), None);
        read(bytes, |json, name| {
            match &*name {
                b"choices" if json.peek() == Some(b'[') => {
                    let choices = body.choices.get_or_insert_default();
                    json.items(|json| Choice::account(json).map(|choice| choices.push(choice)))?;
                }
                b"usage" if json.peek() == Some(b'{') => told = UsageWire::read(json)?.usage(),
                b"error" => body.error = raw(json)?,
                b"x_groq" => body.x_groq = raw(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        let usage = told.or_else(|| body.usage());
        Ok((body, usage))
    }
}

impl<'a> Choice<'a, Contents> {
    fn account(json: &mut Reader<'a>) -> Result<Self, GatewayError> {
        let mut choice = Choice::default();
        json.members(|json, name| {
            match &*name {
                b"index" => choice.index = raw(json)?,
                b"finish_reason" => choice.finish_reason = raw(json)?,
                b"stop_reason" => choice.stop_reason = raw(json)?,
                b"usage" => choice.usage = raw(json)?,
                b"message" if json.peek() == Some(b'{') => choice.message = Some(contents(json)?),
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(choice)
    }
}

/// What there is in a message, without reading it.
fn contents(json: &mut Reader<'_>) -> Result<Contents, GatewayError> {
    let mut contents = Contents::default();
    json.members(|json, name| {
        match &*name {
            b"content" => contents.text = says_something(raw(json)?),
            b"refusal" => contents.refusal = says_something(raw(json)?),
            b"tool_calls" | b"function_call" => contents.tool_calls |= says_something(raw(json)?),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(contents)
}

fn raw<'a>(json: &mut Reader<'a>) -> Result<Raw<'a>, GatewayError> {
    json.json().map(|text| Some(Json(text)).filter(|_| text != "null"))
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

impl<'a> UsageWire<'a> {
    fn read(json: &mut Reader<'a>) -> Result<Self, GatewayError> {
        let mut wire = UsageWire::default();
        json.members(|json, name| {
            let place = match &*name {
                b"prompt_tokens" => &mut wire.prompt_tokens,
                b"completion_tokens" => &mut wire.completion_tokens,
                b"total_tokens" => &mut wire.total_tokens,
                b"prompt_cache_hit_tokens" => &mut wire.prompt_cache_hit_tokens,
                b"cached_tokens" => &mut wire.cached_tokens,
                b"reasoning_tokens" => &mut wire.reasoning_tokens,
                b"prompt_tokens_details" if json.peek() == Some(b'{') => {
                    return json.members(|json, name| {
                        match &*name {
                            b"cached_tokens" => wire.prompt_tokens_details.cached_tokens = raw(json)?,
                            b"cache_write_tokens" => wire.prompt_tokens_details.cache_write_tokens = raw(json)?,
                            _ => json.skip()?,
                        }
                        Ok(())
                    });
                }
                b"completion_tokens_details" if json.peek() == Some(b'{') => {
                    return json.members(|json, name| {
                        match &*name {
                            b"reasoning_tokens" => wire.completion_tokens_details.reasoning_tokens = raw(json)?,
                            _ => json.skip()?,
                        }
                        Ok(())
                    });
                }
                _ => return json.skip(),
            };
            *place = raw(json)?;
            Ok(())
        })?;
        Ok(wire)
    }

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

fn usage(raw: Raw<'_>) -> Option<Usage> {
    UsageWire::read(&mut Reader::of(raw?.get())).ok()?.usage()
}
