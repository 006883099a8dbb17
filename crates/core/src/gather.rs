//! A streamed answer, put together again.

use serde_json::Value;

use crate::chat::{CALL_REMARK, ChatResponse, Item, Part, PartBody, Place, ToolCall};
use crate::event::{Block, Delta, StreamEvent};

/// Takes the events of one answer and makes of them what it would have been in one piece: the way back from
/// [`ChatResponse::into_events`].
#[derive(Debug)]
pub struct Gather {
    response: ChatResponse,
    bytes: usize,
}

impl Default for Gather {
    fn default() -> Self {
        let response = ChatResponse {
            id: String::new(),
            model: String::new(),
            created: None,
            parts: Vec::new(),
            finish: None,
            usage: None,
            dropped: Vec::new(),
        };
        Gather { response, bytes: 0 }
    }
}

impl Gather {
    pub fn see(&mut self, event: &StreamEvent) {
        let response = &mut self.response;
        match event {
            StreamEvent::Start { id, model, created, usage } => {
                (response.id, response.model, response.created) = (id.clone(), model.clone(), *created);
                response.usage = usage.or(response.usage);
            }
            StreamEvent::BlockStart(block) => {
                self.bytes += size_of::<Part>() + brought(block);
                let item = Item::Content(response.parts.len() as u32);
                response.parts.push(Part::new(begun(block), Place { message: None, item }));
            }
            StreamEvent::Delta(delta) => self.append(delta),
            StreamEvent::Dropped(name) => self.drop(name),
            StreamEvent::Usage(usage) | StreamEvent::EstimatedUsage(usage) => response.usage = Some(*usage),
            StreamEvent::Finish(finish) => response.finish = Some(finish.clone()),
            StreamEvent::BlockEnd | StreamEvent::Error(_) | StreamEvent::Ping => {}
        }
    }

    fn append(&mut self, delta: &Delta) {
        let Some(part) = self.response.parts.last_mut() else { return };
        match (delta, &mut part.body) {
            (Delta::Text(more), PartBody::Text(text) | PartBody::Refusal(text))
            | (Delta::Reasoning(more), PartBody::Reasoning { text, .. })
            | (Delta::Arguments(more), PartBody::ToolCall(ToolCall { arguments: text, .. })) => {
                self.bytes += more.len();
                text.push_str(more);
            }
            (Delta::Signature(more), PartBody::Reasoning { signature, .. }) => {
                self.bytes += more.len();
                signature.get_or_insert_default().push_str(more);
            }
            (Delta::CallRemark(remark), PartBody::ToolCall(_)) => {
                self.bytes += weight(remark);
                part.extra.insert(CALL_REMARK.to_owned(), remark.clone());
            }
            (Delta::Citation(citation), PartBody::Text(_)) => {
                self.bytes += weight(citation);
                let citations = part.extra.entry("citations").or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(citations) = citations {
                    citations.push(citation.clone());
                }
            }
            // Pieces of what only its own dialect knows: how they go together, it alone knows.
            _ => self.drop("content"),
        }
    }

    /// Each name once, however many pieces of it come.
    fn drop(&mut self, name: &str) {
        if !self.response.dropped.iter().any(|dropped| dropped == name) {
            self.bytes += size_of::<String>() + name.len();
            self.response.dropped.push(name.to_owned());
        }
    }

    /// Of memory, more or less, so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The answer, once its last event has been seen.
    pub fn done(self) -> ChatResponse {
        self.response
    }
}

/// The bytes that a block begins with.
fn brought(block: &Block) -> usize {
    match block {
        Block::Text | Block::Refusal | Block::Reasoning => 0,
        Block::RedactedReasoning(data) => data.len(),
        Block::ToolCall { id, name } => id.len() + name.len(),
        Block::Foreign { kind, value } => kind.len() + weight(value),
    }
}

/// Of a tree in memory, more or less.
fn weight(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) => 0,
            Value::Number(number) => number.as_str().len(),
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weight).sum(),
            Value::Object(members) => {
                members.iter().map(|(name, value)| size_of::<String>() + name.len() + weight(value)).sum()
            }
        }
}

fn begun(block: &Block) -> PartBody {
    match block {
        Block::Text => PartBody::Text(String::new()),
        Block::Refusal => PartBody::Refusal(String::new()),
        Block::Reasoning => PartBody::Reasoning { text: String::new(), signature: None },
        Block::RedactedReasoning(data) => PartBody::RedactedReasoning(data.clone()),
        Block::ToolCall { id, name } => {
            PartBody::ToolCall(ToolCall { id: id.clone(), name: name.clone(), arguments: String::new() })
        }
        Block::Foreign { kind, value } => PartBody::Foreign { kind: kind.clone(), value: value.clone() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chat::FinishReason;
    use crate::usage::Usage;

    fn gathered(events: &[StreamEvent]) -> ChatResponse {
        let mut gather = Gather::default();
        events.iter().for_each(|event| gather.see(event));
        gather.done()
    }

    #[test]
    fn everything_that_is_kept_is_counted() {
        const PIECE: usize = 1000;
        let long = || "x".repeat(PIECE);
        let start = |block| vec![StreamEvent::BlockStart(block)];
        let begun_with = |block, delta| vec![StreamEvent::BlockStart(block), StreamEvent::Delta(delta)];
        let call = || Block::ToolCall { id: "c".into(), name: "f".into() };
        for events in [
            start(Block::RedactedReasoning(long())),
            start(Block::ToolCall { id: long(), name: "f".into() }),
            start(Block::Foreign { kind: "k".into(), value: json!({"a": [long()]}) }),
            begun_with(call(), Delta::CallRemark(json!(long()))),
            begun_with(Block::Text, Delta::Citation(json!({"url": long()}))),
        ] {
            let mut gather = Gather::default();
            events.iter().for_each(|event| gather.see(event));
            assert!(gather.bytes() >= PIECE, "{events:?}: {}", gather.bytes());
        }
        let foreign = [StreamEvent::BlockStart(Block::Foreign { kind: "k".into(), value: json!(1) })];
        let pieces = (0..50).map(|_| StreamEvent::Delta(Delta::Text("x".into())));
        let events: Vec<StreamEvent> = foreign.into_iter().chain(pieces).collect();
        assert_eq!(gathered(&events).dropped, ["content"]);
    }

    #[test]
    fn what_was_taken_apart_is_put_together_again() {
        let at = |n| Place { message: None, item: Item::Content(n) };
        let mut cited = Part::new(PartBody::Text("Rain.".into()), at(1));
        cited.extra.insert("citations".into(), json!([{"url": "a"}, {"url": "b"}]));
        let call = ToolCall { id: "c".into(), name: "f".into(), arguments: "{\"a\":1}".into() };
        let mut called = Part::new(PartBody::ToolCall(call), at(2));
        called.extra.insert(CALL_REMARK.into(), json!({"signature": "s"}));
        let whole = ChatResponse {
            id: "1".into(),
            model: "m".into(),
            created: Some(7),
            parts: vec![
                Part::new(PartBody::Reasoning { text: "Hm.".into(), signature: Some("sig".into()) }, at(0)),
                cited,
                called,
                Part::new(PartBody::RedactedReasoning("x".into()), at(3)),
                Part::new(PartBody::Refusal("No.".into()), at(4)),
                Part::new(PartBody::Foreign { kind: "k".into(), value: json!({"type": "k"}) }, at(5)),
            ],
            finish: Some(FinishReason::ToolCalls),
            usage: Some(Usage { input: 3, output: 2, ..Usage::default() }),
            dropped: vec!["service_tier".into()],
        };
        assert_eq!(gathered(&whole.clone().into_events()), whole);
    }

    #[test]
    fn pieces_are_joined_and_what_cannot_be_is_named() {
        let text = |text: &str| StreamEvent::Delta(Delta::Text(text.into()));
        let whole = gathered(&[StreamEvent::BlockStart(Block::Text), text("a"), text("b"), StreamEvent::BlockEnd]);
        assert_eq!(whole.parts[0].body, PartBody::Text("ab".into()));
        let foreign = Block::Foreign { kind: "server_tool_use".into(), value: json!({}) };
        let piece = StreamEvent::Delta(Delta::Foreign(json!({"partial_json": "{"})));
        assert_eq!(gathered(&[StreamEvent::BlockStart(foreign), piece]).dropped, ["content"]);
    }
}
