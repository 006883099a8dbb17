//! Which prompt prefixes were sent before: the figures of Anthropic's prompt cache.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::tokens;

/// The oldest prefix is forgotten first.
const CAPACITY: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct PromptCache {
    seen: Mutex<(HashSet<u64>, VecDeque<u64>)>,
}

/// Tokens read from and written to the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cached {
    pub(crate) read: u64,
    pub(crate) written: u64,
    /// The last breakpoint asks for an hour instead of five minutes.
    pub(crate) for_an_hour: bool,
}

struct Breakpoint {
    prefix: u64,
    tokens: u64,
    for_an_hour: bool,
}

impl PromptCache {
    /// Looks up the prefixes that end at a `cache_control`, in the order tools, system, messages, and remembers them.
    /// `scope` is what two requests must share to share prefixes: model and key.
    pub(crate) fn look_up(&self, body: &Value, scope: impl Hash) -> Cached {
        let breakpoints = breakpoints(body, scope);
        let Some(last) = breakpoints.last() else { return Cached::default() };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, order) = &mut *seen;
        let read = breakpoints.iter().rev().find(|point| known.contains(&point.prefix)).map_or(0, |point| point.tokens);
        for point in &breakpoints {
            if known.insert(point.prefix) {
                order.push_back(point.prefix);
            }
        }
        while order.len() > CAPACITY {
            if let Some(oldest) = order.pop_front() {
                known.remove(&oldest);
            }
        }
        Cached { read, written: last.tokens - read, for_an_hour: last.for_an_hour }
    }
}

fn breakpoints(body: &Value, scope: impl Hash) -> Vec<Breakpoint> {
    let mut prefix = Prefix { hasher: DefaultHasher::new(), tokens: 0, breakpoints: Vec::new() };
    scope.hash(&mut prefix.hasher);
    prefix.list(body.get("tools"));
    prefix.list(body.get("system"));
    for message in body.get("messages").and_then(Value::as_array).into_iter().flatten() {
        prefix.list(message.get("role"));
        prefix.list(message.get("content"));
    }
    prefix.breakpoints
}

/// What was read of a prompt so far.
struct Prefix {
    hasher: DefaultHasher,
    tokens: u64,
    breakpoints: Vec<Breakpoint>,
}

impl Prefix {
    /// Takes in the blocks of a list, or the one block that stands there instead.
    fn list(&mut self, value: Option<&Value>) {
        match value {
            Some(Value::Array(blocks)) => blocks.iter().for_each(|block| self.block(block)),
            Some(block) => self.block(block),
            None => {}
        }
    }

    fn block(&mut self, block: &Value) {
        hash_without_marks(block, &mut self.hasher);
        self.tokens += tokens::of_value(block);
        if let Some(mark) = block.get("cache_control").filter(|mark| mark.is_object()) {
            let for_an_hour = mark.get("ttl").and_then(Value::as_str) == Some("1h");
            self.breakpoints.push(Breakpoint { prefix: self.hasher.finish(), tokens: self.tokens, for_an_hour });
        }
    }
}

/// Moving a breakpoint does not change the prefix.
fn hash_without_marks(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(name, _)| *name != "cache_control") {
                name.hash(hasher);
                hash_without_marks(value, hasher);
            }
        }
        Value::Array(items) => {
            items.len().hash(hasher);
            items.iter().for_each(|item| hash_without_marks(item, hasher));
        }
        Value::String(text) => text.hash(hasher),
        other => other.to_string().hash(hasher),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_second_time_a_prefix_is_read() {
        let cache = PromptCache::default();
        let long = "x".repeat(400);
        let ask = |question: &str| {
            json!({"system": [{"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}],
                   "messages": [{"role": "user", "content": question}]})
        };
        let first = cache.look_up(&ask("one"), "key");
        let second = cache.look_up(&ask("two"), "key");
        assert_eq!((first.read, first.written > 100), (0, true));
        assert_eq!((second.read, second.written), (first.written, 0));
        assert_eq!(cache.look_up(&ask("two"), "another key").read, 0);
        assert_eq!(cache.look_up(&json!({"messages": []}), "key"), Cached::default());
    }
}
