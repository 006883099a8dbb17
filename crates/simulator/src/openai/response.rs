//! Writes chat completions: whole, and as chunks.

use std::fmt::Write;

use fastrand::Rng;
use serde::Serialize;
use serde_json::{Value, json};

use super::request::ChatRequest;
use crate::answer::{Answer, Finish, pieces};
use crate::fault::{Fault, Omit};
use crate::ids;
use crate::reply::Context;
use crate::script::{Event, Kind, Recorder};
use crate::tokens::Usage;

/// What every chunk of an answer repeats.
pub(crate) struct Head<'a> {
    id: String,
    created: u64,
    model: &'a str,
    fingerprint: String,
    include_usage: bool,
    obfuscate: bool,
    logprobs: bool,
}

impl<'a> Head<'a> {
    pub(crate) fn new(request: &ChatRequest<'a>, now: u64, id_rng: &mut Rng) -> Self {
        Self {
            id: ids::chat_completion(id_rng),
            created: now,
            model: Fault::plain_model(request.model),
            fingerprint: ids::fingerprint(&mut Rng::with_seed(ids::hash(request.model))),
            include_usage: request.include_usage,
            obfuscate: request.obfuscate,
            logprobs: request.logprobs,
        }
    }
}

fn finish_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
    }
}

// Whole.

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageBody>,
    service_tier: &'static str,
    system_fingerprint: &'a str,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    message: Message<'a>,
    logprobs: Option<Value>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
    refusal: Option<&'static str>,
    annotations: [(); 0],
}

#[derive(Serialize)]
struct ToolCall<'a> {
    id: String,
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct UsageBody {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

impl From<&Usage> for UsageBody {
    fn from(usage: &Usage) -> Self {
        Self {
            prompt_tokens: usage.input,
            completion_tokens: usage.output,
            total_tokens: usage.input + usage.output,
            prompt_tokens_details: PromptDetails { cached_tokens: usage.cache_read, audio_tokens: 0 },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: usage.reasoning,
                audio_tokens: 0,
                accepted_prediction_tokens: 0,
                rejected_prediction_tokens: 0,
            },
        }
    }
}

pub(crate) fn whole(head: &Head<'_>, answers: &[Answer], usage: &Usage, omit: Omit, id_rng: &mut Rng) -> Vec<u8> {
    let choices = answers.iter().enumerate().map(|(index, answer)| Choice {
        index,
        message: Message {
            role: "assistant",
            content: if answer.calls.is_empty() { Some(&answer.text) } else { None },
            tool_calls: answer
                .calls
                .iter()
                .map(|call| ToolCall {
                    id: ids::openai_call(id_rng),
                    r#type: "function",
                    function: Function { name: &call.name, arguments: &call.arguments },
                })
                .collect(),
            refusal: None,
            annotations: [],
        },
        logprobs: head.logprobs.then(|| logprobs(&pieces(&answer.text, None, &mut Rng::with_seed(0)))),
        finish_reason: Some(finish_reason(&answer.finish)).filter(|_| !omit.finish),
    });
    super::pretty(&Completion {
        id: &head.id,
        object: "chat.completion",
        created: head.created,
        model: head.model,
        choices: choices.collect(),
        usage: Some(UsageBody::from(usage)).filter(|_| !omit.usage),
        service_tier: "default",
        system_fingerprint: &head.fingerprint,
    })
}

/// A certain model: every token has probability one.
fn logprobs(pieces: &[&str]) -> Value {
    let token = |piece: &&str| json!({"token": piece, "logprob": 0.0, "bytes": piece.as_bytes(), "top_logprobs": []});
    json!({"content": pieces.iter().map(token).collect::<Vec<_>>(), "refusal": null})
}

// Streamed.

/// All chunks of a stream, `[DONE]` included. With several choices their chunks alternate.
pub(crate) fn events(
    head: &Head<'_>,
    answers: &[Answer],
    usage: &Usage,
    omit: Omit,
    chunks: Option<usize>,
    context: &mut Context<'_>,
) -> Vec<Event> {
    let mut writer = Writer::new(head, context);
    for (index, answer) in answers.iter().enumerate() {
        let content = if answer.calls.is_empty() { "\"\"" } else { "null" };
        let delta = format!("{{\"role\":\"assistant\",\"content\":{content},\"refusal\":null}}");
        let logprobs = head.logprobs.then(|| logprobs(&[]));
        writer.choice(Kind::Frame, index, &delta, logprobs, None);
    }
    let mut deltas: Vec<_> = answers
        .iter()
        .map(|answer| deltas(answer, head.logprobs, chunks, writer.text_rng, writer.id_rng).into_iter())
        .collect();
    loop {
        let mut over = true;
        for (index, deltas) in deltas.iter_mut().enumerate() {
            if let Some((delta, logprobs)) = deltas.next() {
                writer.choice(Kind::Content, index, &delta, logprobs, None);
                over = false;
            }
        }
        if over {
            break;
        }
    }
    if !omit.finish {
        for (index, answer) in answers.iter().enumerate() {
            writer.choice(Kind::Frame, index, "{}", None, Some(finish_reason(&answer.finish)));
        }
    }
    if head.include_usage && !omit.usage {
        writer.usage(usage);
    }
    if !omit.done {
        writer.events.buffer().push_str("data: [DONE]\n\n");
        writer.events.end(Kind::Frame);
    }
    writer.events.events()
}

fn deltas(
    answer: &Answer,
    with_logprobs: bool,
    chunks: Option<usize>,
    text_rng: &mut Rng,
    id_rng: &mut Rng,
) -> Vec<(String, Option<Value>)> {
    let mut deltas = Vec::new();
    for piece in pieces(&answer.text, chunks, text_rng) {
        let mut delta = String::with_capacity(piece.len() + 16);
        delta.push_str("{\"content\":");
        push_json(&mut delta, piece);
        delta.push('}');
        deltas.push((delta, with_logprobs.then(|| logprobs(&[piece]))));
    }
    for (index, call) in answer.calls.iter().enumerate() {
        let id = ids::openai_call(id_rng);
        let function = json!({"name": call.name, "arguments": ""});
        let opening = json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]});
        deltas.push((opening.to_string(), None));
        for piece in pieces(&call.arguments, None, text_rng) {
            let delta = json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]});
            deltas.push((delta.to_string(), None));
        }
    }
    deltas
}

fn push_json(into: &mut String, text: &str) {
    // A string always has a JSON form.
    into.push_str(&serde_json::to_string(text).unwrap_or_default());
}

struct Writer<'w> {
    events: Recorder,
    text_rng: &'w mut Rng,
    id_rng: &'w mut Rng,
    opening: String,
    closing: &'static str,
    obfuscate: bool,
}

impl<'w> Writer<'w> {
    fn new(head: &Head<'_>, context: &'w mut Context<'_>) -> Self {
        let mut opening = String::with_capacity(256);
        opening.push_str("data: {\"id\":\"");
        opening.push_str(&head.id);
        // Writing to a string cannot fail.
        let _ = write!(opening, "\",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":", head.created);
        push_json(&mut opening, head.model);
        let _ = write!(
            opening,
            ",\"service_tier\":\"default\",\"system_fingerprint\":\"{}\",\"choices\":[",
            head.fingerprint
        );
        let closing = if head.include_usage { "],\"usage\":null" } else { "]" };
        let Context { text_rng, id_rng, .. } = context;
        Self { events: Recorder::default(), text_rng, id_rng, opening, closing, obfuscate: head.obfuscate }
    }

    fn choice(&mut self, kind: Kind, index: usize, delta: &str, logprobs: Option<Value>, finish: Option<&str>) {
        let buffer = self.events.buffer();
        buffer.push_str(&self.opening);
        let _ = write!(buffer, "{{\"index\":{index},\"delta\":{delta},\"logprobs\":");
        let _ = match logprobs {
            Some(logprobs) => write!(buffer, "{logprobs}"),
            None => buffer.write_str("null"),
        };
        let _ = match finish {
            Some(reason) => write!(buffer, ",\"finish_reason\":\"{reason}\"}}"),
            None => buffer.write_str(",\"finish_reason\":null}"),
        };
        buffer.push_str(self.closing);
        self.end(kind);
    }

    fn usage(&mut self, usage: &Usage) {
        let buffer = self.events.buffer();
        buffer.push_str(&self.opening);
        buffer.push_str("],\"usage\":");
        buffer.push_str(&serde_json::to_string(&UsageBody::from(usage)).unwrap_or_default());
        self.end(Kind::Frame);
    }

    fn end(&mut self, kind: Kind) {
        let buffer = self.events.buffer();
        if self.obfuscate {
            buffer.push_str(",\"obfuscation\":\"");
            ids::push_obfuscation(buffer, self.text_rng);
            buffer.push('"');
        }
        buffer.push_str("}\n\n");
        self.events.end(kind);
    }
}
