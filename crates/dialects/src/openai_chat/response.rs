//! Whole answers: read from any vendor, written as OpenAI writes them.

use std::borrow::Cow;

use gateway_core::chat::{CALL_REMARK, ChatResponse, Contents, FinishReason, Item, Part, PartBody, Place, ToolCall};
use gateway_core::error::UpstreamError;
use gateway_core::usage::Usage;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::wire::{self, Body, Message, Said};
use super::{error, mint_call_id};
use crate::codec::{Answer, Glance};
use crate::json::unknown;
use crate::losses::Words;
use crate::write::Object;

pub(super) fn decode(bytes: &[u8]) -> Result<ChatResponse, UpstreamError> {
    let Ok(text) = simdutf8::basic::from_utf8(bytes) else { return Err(error::decode(200, bytes)) };
    let Ok(body) = Body::<Message<'_>>::read(text) else { return Err(error::decode(200, bytes)) };
    if wire::says_something(body.error) || body.choices.is_none() {
        return Err(error::decode(200, bytes));
    }
    let usage = body.usage();
    let Some(choice) = body.first_choice() else {
        return Err(UpstreamError {
            status: 502,
            kind: String::new(),
            code: None,
            message: "the provider's answer has no choices".to_owned(),
            param: None,
        });
    };
    let id = wire::text(body.id).map(Cow::into_owned).unwrap_or_default();
    let mut reader = Reader { parts: Vec::new(), dropped: Vec::new() };
    let mut has_calls = false;
    if let Some(message) = choice.message.as_ref().or(choice.delta.as_ref()) {
        has_calls = reader.read(message, &id);
    }
    if wire::says_something(choice.logprobs) {
        reader.dropped.push("choices[0].logprobs".to_owned());
    }
    unknown(text, &wire::BODY, "", &mut reader.dropped);
    for other in 1..body.choices.as_ref().map_or(0, Vec::len) {
        reader.dropped.push(format!("choices[{other}]"));
    }
    Ok(ChatResponse {
        finish: choice.finish(has_calls),
        id,
        model: wire::text(body.model).map(Cow::into_owned).unwrap_or_default(),
        created: wire::count(body.created).filter(|created| *created > 0),
        parts: reader.parts,
        usage,
        dropped: reader.dropped,
    })
}

/// The account of an answer, without its text. What is no answer, or an odd one, is read as a whole.
pub(super) fn glance(bytes: &[u8]) -> Result<Glance, UpstreamError> {
    if let Ok(text) = simdutf8::basic::from_utf8(bytes)
        && let Ok(body) = Body::<Contents>::read(text)
        && !wire::says_something(body.error)
        && let Some(choice) = body.first_choice()
    {
        let contents = choice.message.or(choice.delta).unwrap_or_default();
        return Ok(Glance { finish: choice.finish(false), usage: body.usage(), contents });
    }
    decode(bytes).map(|response| Glance::of(&response))
}

struct Reader {
    parts: Vec<Part>,
    dropped: Vec<String>,
}

impl Reader {
    fn add(&mut self, body: PartBody) -> &mut Part {
        let item = Item::Content(self.parts.len() as u32);
        self.parts.push(Part::new(body, Place { message: None, item }));
        let last = self.parts.len() - 1;
        &mut self.parts[last]
    }

    /// Returns whether there were tool calls.
    fn read(&mut self, message: &Message<'_>, id: &str) -> bool {
        let (thoughts, signature) = message.thoughts();
        if thoughts.is_some() || signature.is_some() {
            self.add(PartBody::Reasoning { text: thoughts.unwrap_or_default().into_owned(), signature });
        } else if wire::says_something(message.reasoning_details) {
            self.dropped.push("choices[0].message.reasoning_details".to_owned());
        }
        for said in wire::content(message.content) {
            match said {
                Said::Text(text) => self.add(PartBody::Text(text.into_owned())),
                Said::Thought(text) => self.add(PartBody::Reasoning { text, signature: None }),
            };
        }
        if wire::says_something(message.annotations) {
            match self.parts.iter_mut().rfind(|part| matches!(part.body, PartBody::Text(_))) {
                Some(part) => {
                    part.extra.insert("annotations".to_owned(), wire::value(message.annotations));
                }
                None => self.dropped.push("choices[0].message.annotations".to_owned()),
            }
        }
        if let Some(refusal) = wire::text(message.refusal) {
            self.add(PartBody::Refusal(refusal.into_owned()));
        }
        if wire::says_something(message.audio) {
            self.dropped.push("choices[0].message.audio".to_owned());
        }
        let mut calls = 0;
        let call_id = |own, number| wire::text(own).map_or_else(|| mint_call_id(id, number), Cow::into_owned);
        for (number, call) in message.tool_calls.iter().flatten().enumerate() {
            if let Some(function) = &call.function {
                calls += 1;
                let part = self.add(PartBody::ToolCall(ToolCall {
                    id: call_id(call.id, number),
                    name: wire::text(function.name).map(Cow::into_owned).unwrap_or_default(),
                    arguments: wire::arguments(function.arguments).map(Cow::into_owned).unwrap_or_default(),
                }));
                if wire::is_object(call.extra_content) {
                    part.extra.insert(CALL_REMARK.to_owned(), wire::value(call.extra_content));
                }
            } else if let Some(custom) = &call.custom {
                let inner =
                    json!({"name": wire::text(custom.name), "input": wire::text(custom.input).unwrap_or_default()});
                let value = json!({"id": call_id(call.id, number), "type": "custom", "custom": inner});
                self.add(PartBody::Foreign { kind: "custom".to_owned(), value });
            }
        }
        if let Some(function) = &message.function_call
            && let Some(name) = wire::text(function.name)
        {
            calls += 1;
            let arguments = wire::arguments(function.arguments).map(Cow::into_owned).unwrap_or_default();
            let id = mint_call_id(id, calls);
            self.add(PartBody::ToolCall(ToolCall { id, name: name.into_owned(), arguments }));
        }
        calls > 0
    }
}

pub(super) const WORDS: Words = Words {
    sealed_thoughts: false,
    foreign: |_| false,
    citation: is_annotation,
    pause_and_sequence: false,
    call_remarks: true,
};

pub(super) fn encode(response: ChatResponse, answer: &Answer) -> Vec<u8> {
    let (mut text, mut refusal, mut reasoning) = (String::new(), String::new(), String::new());
    let (mut calls, mut annotations, mut said) = (Vec::new(), Vec::new(), false);
    for part in &response.parts {
        match &part.body {
            PartBody::Text(piece) => {
                said = true;
                text += piece;
                for key in ["annotations", "citations"] {
                    let found = part.extra.get(key).and_then(Value::as_array).into_iter().flatten();
                    annotations.extend(found.filter(|value| is_annotation(value)));
                }
            }
            PartBody::Refusal(piece) => refusal += piece,
            PartBody::Reasoning { text, .. } => reasoning += text,
            PartBody::ToolCall(call) => calls.push(CallOut::whole(call, part.extra.get(CALL_REMARK))),
            _ => {}
        }
    }
    let model = if response.model.is_empty() { &*answer.model } else { &response.model };
    let mut out = Vec::with_capacity(text.len() + ANSWER_BYTES);
    let mut whole = Object::open(&mut out);
    whole.string("id", &id_of(&response.id, answer));
    whole.string("object", "chat.completion");
    whole.json("created", &response.created.unwrap_or(answer.created));
    whole.string("model", model);
    whole.member("choices", |out| {
        out.push(b'[');
        let mut choice = Object::open(out);
        choice.json("index", &0);
        choice.member("message", |out| {
            let mut message = Object::open(out);
            message.string("role", "assistant");
            match said || calls.is_empty() && refusal.is_empty() {
                true => message.string("content", &text),
                false => message.json("content", &()),
            }
            match refusal.is_empty() {
                true => message.json("refusal", &()),
                false => message.string("refusal", &refusal),
            }
            if !reasoning.is_empty() {
                message.string("reasoning_content", &reasoning);
            }
            if !annotations.is_empty() {
                message.json("annotations", &annotations);
            }
            if !calls.is_empty() {
                message.json("tool_calls", &calls);
            }
            message.close();
        });
        choice.json("logprobs", &());
        choice.json("finish_reason", &response.finish.as_ref().map(finish_word));
        choice.close();
        out.push(b']');
    });
    if let Some(usage) = response.usage {
        whole.json("usage", &UsageOut::from(usage));
    }
    whole.close();
    out
}

/// As much as stands around the text of most answers.
const ANSWER_BYTES: usize = 1024;

/// A tool call, whole or a piece of one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnswerToolCall")]
pub(crate) struct CallOut<'a> {
    /// In a stream: which call this is a piece of, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'a str>,
    /// `function`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'static str>,
    pub(crate) function: FunctionOut<'a>,
    /// Gemini's: send it back with the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extra_content: Option<&'a Value>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnswerFunction")]
pub(crate) struct FunctionOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<&'a str>,
    /// JSON as text; in a stream the next piece of it.
    pub(crate) arguments: &'a str,
}

impl<'a> CallOut<'a> {
    pub(crate) fn whole(call: &'a ToolCall, extra_content: Option<&'a Value>) -> Self {
        let function = FunctionOut { name: Some(&call.name), arguments: arguments(call) };
        CallOut { index: None, id: Some(&call.id), kind: Some("function"), function, extra_content }
    }
}

/// The arguments of a call; clients and providers parse them, so none at all are an empty object.
pub(super) fn arguments(call: &ToolCall) -> &str {
    if call.arguments.trim().is_empty() { "{}" } else { &call.arguments }
}

#[derive(Debug, Serialize)]
pub(crate) struct UsageOut {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Debug, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cache_write_tokens: u64,
}

fn is_zero(tokens: &u64) -> bool {
    *tokens == 0
}

#[derive(Debug, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl From<Usage> for UsageOut {
    fn from(usage: Usage) -> Self {
        UsageOut {
            prompt_tokens: usage.input,
            completion_tokens: usage.output,
            total_tokens: usage.total(),
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cache_read,
                cache_write_tokens: usage.cache_write,
            },
            completion_tokens_details: CompletionDetails { reasoning_tokens: usage.reasoning },
        }
    }
}

/// OpenAI's word for why an answer ended; it has four.
pub(crate) fn finish_word(reason: &FinishReason) -> &'static str {
    match reason {
        FinishReason::Length | FinishReason::ContextWindow => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Stop { .. } | FinishReason::Pause | FinishReason::Other(_) => "stop",
    }
}

/// The provider's id of an answer, or one made of the gateway's request id.
pub(crate) fn id_of(id: &str, answer: &Answer) -> String {
    if id.is_empty() { format!("chatcmpl-{}", answer.request_id) } else { id.to_owned() }
}

/// Is this citation one in OpenAI's shape?
pub(super) fn is_annotation(value: &Value) -> bool {
    value.get("type").and_then(Value::as_str).is_some_and(|kind| kind == "url_citation" || kind == "file_citation")
}

/// JSON of a value whose serialization cannot fail: plain structs with string keys.
pub(crate) fn to_vec(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
