//! Names of tools that a provider's API would refuse, and the names under which it is told of them instead.
//!
//! APIs agree on the characters (ASCII letters, digits, `_`, `-`) and differ in the length. A name that does not fit is
//! changed for one request, the same way in its tools, its history and its `tool_choice`, and changed back in the answer: the
//! client never sees it.

use std::collections::HashSet;

use crate::chat::{ChatRequest, ChatResponse, PartBody, ToolBody, ToolChoice};
use crate::event::{Block, StreamEvent};

/// The names that had to be changed for one target: the client's own, and the one that is sent. Mostly none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolNames(Vec<(String, String)>);

impl ToolNames {
    /// `most`: how many characters the API takes, at least 16.
    pub fn of(request: &ChatRequest, most: usize) -> ToolNames {
        let fits = |name: &&str| fits(name, most);
        if names(request).all(|name| fits(&name)) {
            return ToolNames::default();
        }
        let mut taken: HashSet<String> = names(request).filter(fits).map(str::to_owned).collect();
        let mut changed: Vec<(String, String)> = Vec::new();
        for own in names(request).filter(|name| !fits(name)) {
            if changed.iter().any(|(known, _)| known == own) {
                continue;
            }
            let plain: String = own.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
            let mut sent = if plain.is_empty() { "_".to_owned() } else { plain.clone() };
            let mut round = 0;
            // What is cut off, or would be another tool's name, is told apart by a mark that is made from the whole name: the
            // same in every request of a conversation.
            while sent.len() > most || taken.contains(&sent) {
                let mark = format!("_{:08x}", hash(own, round));
                sent = format!("{}{mark}", &plain[..plain.len().min(most - mark.len())]);
                round += 1;
            }
            taken.insert(sent.clone());
            changed.push((own.to_owned(), sent));
        }
        ToolNames(changed)
    }

    /// The name under which the provider is told of a tool.
    pub fn sent<'a>(&'a self, own: &'a str) -> &'a str {
        self.0.iter().find(|(known, _)| known == own).map_or(own, |(_, sent)| sent)
    }

    /// Was this name changed?
    pub fn changes(&self, own: &str) -> bool {
        self.0.iter().any(|(known, _)| known == own)
    }

    /// Gives the calls of a whole answer the client's own names.
    pub fn restore(&self, response: &mut ChatResponse) {
        if self.0.is_empty() {
            return;
        }
        for part in &mut response.parts {
            if let PartBody::ToolCall(call) = &mut part.body {
                self.restore_name(&mut call.name);
            }
        }
    }

    /// The same for a stream.
    pub fn restore_event(&self, event: &mut StreamEvent) {
        if let StreamEvent::BlockStart(Block::ToolCall { name, .. }) = event {
            self.restore_name(name);
        }
    }

    fn restore_name(&self, name: &mut String) {
        if let Some((own, _)) = self.0.iter().find(|(_, sent)| sent == name) {
            name.clone_from(own);
        }
    }
}

/// Every name of a function in a request: its tools first, so that they decide what a name becomes.
fn names(request: &ChatRequest) -> impl Iterator<Item = &str> {
    let tools = request.tools.iter().filter_map(|tool| match &tool.body {
        ToolBody::Function { name, .. } => Some(name.as_str()),
        ToolBody::Foreign { .. } => None,
    });
    let calls = request.turns.iter().flat_map(|turn| &turn.parts).filter_map(|part| match &part.body {
        PartBody::ToolCall(call) => Some(call.name.as_str()),
        _ => None,
    });
    let choice = request.tool_choice.iter().filter_map(|choice| match choice {
        ToolChoice::Function(name) => Some(name.as_str()),
        _ => None,
    });
    tools.chain(calls).chain(choice)
}

fn fits(name: &str, most: usize) -> bool {
    !name.is_empty() && name.len() <= most && name.chars().all(is_plain)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// FNV-1a, folded: names must be stable, not secret.
fn hash(name: &str, round: u8) -> u32 {
    let hash = name
        .bytes()
        .chain([round])
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash >> 32) as u32 ^ hash as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Extra;
    use crate::chat::Tool;

    fn request(names: &[&str]) -> ChatRequest {
        let tool = |name: &&str| Tool {
            body: ToolBody::Function { name: (*name).to_owned(), description: None, schema: None, strict: None },
            extra: Extra::new(),
        };
        ChatRequest { tools: names.iter().map(tool).collect(), ..ChatRequest::default() }
    }

    #[test]
    fn names_that_fit_stay() {
        let names = ToolNames::of(&request(&["a", "b-C_9", &"x".repeat(64)]), 64);
        assert_eq!(names, ToolNames::default());
        assert_eq!(names.sent("a"), "a");
    }

    #[test]
    fn changed_names_fit_are_all_different_and_come_back() {
        let long = "x".repeat(70);
        let longer = "x".repeat(71);
        let own = ["a.b", "a_b", "a/b", "", "läs", &long, &longer, "_"];
        let names = ToolNames::of(&request(&own), 64);
        let mut sent: Vec<&str> = own.iter().map(|name| names.sent(name)).collect();
        assert_eq!(sent[1], "a_b", "a name that fits is nobody else's");
        assert_eq!(sent[4], "l_s");
        assert!(sent.iter().all(|name| fits(name, 64)), "{sent:?}");
        for (own, sent) in own.iter().zip(&sent) {
            let mut event = StreamEvent::BlockStart(Block::ToolCall { id: String::new(), name: (*sent).to_owned() });
            names.restore_event(&mut event);
            let StreamEvent::BlockStart(Block::ToolCall { name, .. }) = event else { unreachable!() };
            assert_eq!(name, *own);
        }
        sent.sort_unstable();
        sent.dedup();
        assert_eq!(sent.len(), own.len(), "{sent:?}");
        assert_eq!(names, ToolNames::of(&request(&own), 64));
    }
}
