//! What a translated answer could not say in the client's dialect, by name.
//!
//! One rule for whole answers and for streams: both are events, and each event either can be said or has a name here. A
//! stream's headers have left when a loss is met, so a comment before its end names them.

use std::borrow::Cow;

use gateway_core::chat::{CALL_REMARK, ChatResponse, FinishReason, Part, PartBody};
use gateway_core::event::{Block, Delta, StreamEvent};
use serde_json::Value;

/// What a dialect can say beyond text, refusals, thoughts and tool calls.
#[derive(Debug)]
pub(crate) struct Words {
    /// Thoughts that only their provider reads, and the signatures under the others.
    pub(crate) sealed_thoughts: bool,
    /// Blocks that belong to one dialect only, by kind.
    pub(crate) foreign: fn(&str) -> bool,
    pub(crate) citation: fn(&Value) -> bool,
    /// That a server-side loop paused, and which stop sequence was met.
    pub(crate) pause_and_sequence: bool,
    /// What a provider wants back with a tool call.
    pub(crate) call_remarks: bool,
}

#[derive(Debug)]
pub(crate) struct Losses {
    words: &'static Words,
    names: Vec<Cow<'static, str>>,
    /// The usage is the gateway's own count.
    pub(crate) estimated: bool,
}

impl Losses {
    pub(crate) fn new(words: &'static Words) -> Self {
        Losses { words, names: Vec::new(), estimated: false }
    }

    /// Names of what a client that knows these words does not get of an answer.
    pub(crate) fn of(response: &ChatResponse, words: &'static Words) -> Vec<String> {
        let mut losses = Losses::new(words);
        response.parts.iter().for_each(|part| losses.see_part(part));
        response.dropped.iter().for_each(|name| losses.add(name.clone()));
        response.finish.iter().for_each(|finish| losses.see(&StreamEvent::Finish(finish.clone())));
        losses.names.into_iter().map(Cow::into_owned).collect()
    }

    /// The events of a part, without the texts, which may be long and of which nothing is ever lost.
    fn see_part(&mut self, part: &Part) {
        match &part.body {
            PartBody::Text(_) => {
                let lists = ["annotations", "citations"].map(|key| part.extra.get(key).and_then(Value::as_array));
                for citation in lists.into_iter().flatten().flatten() {
                    self.see(&StreamEvent::Delta(Delta::Citation(citation.clone())));
                }
            }
            PartBody::Reasoning { signature: Some(_), .. } => {
                self.see(&StreamEvent::Delta(Delta::Signature(String::new())));
            }
            PartBody::RedactedReasoning(_) => {
                self.see(&StreamEvent::BlockStart(Block::RedactedReasoning(String::new())));
            }
            PartBody::Foreign { kind, .. } => {
                self.see(&StreamEvent::BlockStart(Block::Foreign { kind: kind.clone(), value: Value::Null }));
            }
            PartBody::ToolCall(_) if part.extra.contains_key(CALL_REMARK) => {
                self.see(&StreamEvent::Delta(Delta::CallRemark(Value::Null)));
            }
            _ => {}
        }
    }

    /// To be told every event.
    pub(crate) fn see(&mut self, event: &StreamEvent) {
        let words = self.words;
        match event {
            StreamEvent::Dropped(name) => self.add(name.clone()),
            StreamEvent::EstimatedUsage(_) => self.estimated = true,
            StreamEvent::BlockStart(Block::RedactedReasoning(_)) if !words.sealed_thoughts => {
                self.add("redacted_thinking");
            }
            StreamEvent::BlockStart(Block::Foreign { kind, .. }) if !(words.foreign)(kind) => self.add(kind.clone()),
            StreamEvent::Delta(Delta::Signature(_)) if !words.sealed_thoughts => self.add("signature"),
            StreamEvent::Delta(Delta::CallRemark(_)) if !words.call_remarks => {
                self.add("choices[0].message.tool_calls.extra_content");
            }
            StreamEvent::Delta(Delta::Citation(citation)) if !(words.citation)(citation) => self.add("citations"),
            StreamEvent::Finish(FinishReason::Other(_)) => self.add("stop_reason"),
            StreamEvent::Finish(FinishReason::Pause) if !words.pause_and_sequence => self.add("stop_reason"),
            StreamEvent::Finish(FinishReason::Stop { sequence: Some(_) }) if !words.pause_and_sequence => {
                self.add("stop_sequence");
            }
            _ => {}
        }
    }

    fn add(&mut self, name: impl Into<Cow<'static, str>>) {
        let name = name.into();
        if !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    /// Comments that say what is missing in a stream, and what was added.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if self.estimated {
            out.extend_from_slice(b": x-gateway-added: usage\n\n");
        }
        if !self.names.is_empty() {
            let names = self.names.join(", ").replace(['\r', '\n'], " ");
            out.extend_from_slice(format!(": x-gateway-dropped: {names}\n\n").as_bytes());
        }
    }
}
