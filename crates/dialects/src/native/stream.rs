//! The stream of the gateway's own API.

use gateway_core::chat::FinishReason;
use gateway_core::event::{Block, Delta, StreamEvent};
use gateway_core::usage::Usage;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::response::{CostOut, UsageOut};
use crate::codec::{Answer, StreamEncoder};
use crate::losses::Losses;
use crate::openai_chat::response::{CallOut, FunctionOut, finish_word, id_of};
use crate::openai_chat::stream::Open;
use crate::sse::{write_event, write_json_event};

/// Writes chunks. The last one, with finish reason, usage and cost, waits for the end: usage may come after the reason.
pub(super) struct Encoder {
    answer: Answer,
    id: String,
    model: String,
    calls: usize,
    open: Open,
    losses: Losses,
    ended: bool,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
}

/// One event of a stream. The one after the last is `[DONE]`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CompletionChunk")]
pub(super) struct Chunk<'a> {
    id: &'a str,
    /// The next piece of text; may be empty.
    content: &'a str,
    model: &'a str,
    provider: &'a str,
    /// On the last chunk only: `stop`, `length`, `tool_calls` or `content_filter`.
    finish_reason: Option<&'static str>,
    /// On the last chunk only.
    usage: Option<UsageOut>,
    /// On the last chunk only: the provider told no usage, and the one here is the gateway's estimate.
    #[serde(skip_serializing_if = "is_false")]
    usage_estimated: bool,
    /// On the last chunk only; `null` there if the price is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Option<CostOut>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// The next piece of a call: `id` and `name` come with the first one, then pieces of `arguments`.
    tool_calls: Option<[CallOut<'a>; 1]>,
    /// The next piece of the model's thoughts.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    /// The next piece of the model's words on why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
}

impl Encoder {
    pub(super) fn new(answer: Answer) -> Self {
        let (id, model) = (id_of("", &answer), answer.model.to_string());
        Encoder {
            answer,
            id,
            model,
            calls: 0,
            open: Open::Hidden,
            losses: Losses::new(&super::response::WORDS),
            ended: false,
            usage: None,
            finish: None,
        }
    }

    fn chunk(&self) -> Chunk<'_> {
        Chunk {
            id: &self.id,
            content: "",
            model: &self.model,
            provider: &self.answer.provider,
            finish_reason: None,
            usage: None,
            usage_estimated: false,
            cost: None,
            tool_calls: None,
            reasoning: None,
            refusal: None,
        }
    }

    fn call(&self, id: Option<&str>, function: FunctionOut<'_>, extra_content: Option<&Value>, out: &mut Vec<u8>) {
        let index = self.calls.checked_sub(1);
        let call = CallOut { index, id, kind: id.map(|_| "function"), function, extra_content };
        write(&Chunk { tool_calls: Some([call]), ..self.chunk() }, out);
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_false(it: &bool) -> bool {
    !it
}

fn write(chunk: &Chunk<'_>, out: &mut Vec<u8>) {
    write_json_event(out, None, chunk);
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: StreamEvent, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        self.losses.see(&event);
        match event {
            StreamEvent::Start { id, model, usage, .. } => {
                self.id = id_of(&id, &self.answer);
                if !model.is_empty() {
                    self.model = model;
                }
                self.usage = usage.or(self.usage);
            }
            StreamEvent::BlockStart(block) => {
                self.open = Open::of(&block);
                if let Block::ToolCall { id, name } = &block {
                    self.calls += 1;
                    self.call(Some(id), FunctionOut { name: Some(name), arguments: "" }, None, out);
                }
            }
            StreamEvent::Delta(delta) => match (self.open, delta) {
                (Open::Text, Delta::Text(text)) => write(&Chunk { content: &text, ..self.chunk() }, out),
                (Open::Refusal, Delta::Text(text)) => write(&Chunk { refusal: Some(&text), ..self.chunk() }, out),
                (Open::Reasoning, Delta::Reasoning(text)) if !text.is_empty() => {
                    write(&Chunk { reasoning: Some(&text), ..self.chunk() }, out);
                }
                (Open::Call { .. }, Delta::Arguments(text)) if !text.is_empty() => {
                    self.open = Open::Call { has_arguments: true };
                    self.call(None, FunctionOut { name: None, arguments: &text }, None, out);
                }
                (Open::Call { .. }, Delta::CallRemark(remark)) => {
                    self.call(None, FunctionOut { name: None, arguments: "" }, Some(&remark), out);
                }
                _ => {}
            },
            StreamEvent::BlockEnd => {
                // A call without arguments must still carry JSON.
                if self.open == (Open::Call { has_arguments: false }) {
                    self.call(None, FunctionOut { name: None, arguments: "{}" }, None, out);
                }
                self.open = Open::Hidden;
            }
            StreamEvent::Usage(usage) | StreamEvent::EstimatedUsage(usage) => self.usage = Some(usage),
            StreamEvent::Finish(reason) => self.finish = Some(reason),
            // The relay writes the error; what follows it would only look like a success.
            StreamEvent::Error(_) => self.ended = true,
            StreamEvent::Ping | StreamEvent::Dropped(_) => {}
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let finish = self.finish.take().unwrap_or(FinishReason::STOP);
        let cost = self.usage.and_then(|usage| (self.answer.price)(&usage)).map(CostOut::from);
        let last = Chunk {
            finish_reason: Some(finish_word(&finish)),
            usage: self.usage.map(UsageOut::from),
            usage_estimated: self.losses.estimated,
            cost: Some(cost),
            ..self.chunk()
        };
        write(&last, out);
        self.losses.write(out);
        write_event(out, None, b"[DONE]");
    }
}
