//! What stays the same over the turns of a conversation, so that they can be sent where its prompt is cached.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The part of a body, of whichever dialect, that the first turn already has.
#[derive(Deserialize)]
struct Opening<'a> {
    #[serde(borrow)]
    system: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Vec<&'a RawValue>,
}

/// A hash of the system prompt, the tools and everything up to the first message of the user. The same for later turns of
/// one conversation, though clients move their cache marks and say a text now as a string, now as a list of one.
pub fn key(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let Ok(opening) = serde_json::from_slice::<Opening<'_>>(body) else {
        body.hash(&mut hasher);
        return hasher.finish();
    };
    for part in [opening.system, opening.tools].into_iter().flatten() {
        hash_raw(part, &mut hasher);
    }
    for message in opening.messages {
        let is_users = hash_raw(message, &mut hasher);
        if is_users {
            break;
        }
    }
    hasher.finish()
}

/// True if it is a message of the user.
fn hash_raw(raw: &RawValue, hasher: &mut DefaultHasher) -> bool {
    let Ok(value) = serde_json::from_str::<Value>(raw.get()) else { return false };
    hash_value(&value, hasher);
    value["role"] == "user"
}

fn hash_value(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Object(members) if members.get("type").is_some_and(|kind| kind == "text") => {
            members.get("text").unwrap_or(&Value::Null).as_str().hash(hasher);
        }
        Value::Object(members) => {
            for (name, member) in members.iter().filter(|(name, _)| *name != "cache_control") {
                name.hash(hasher);
                hash_value(member, hasher);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| hash_value(item, hasher)),
        Value::String(text) => Some(text.as_str()).hash(hasher),
        other => other.to_string().hash(hasher),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(body: &Value) -> u64 {
        key(body.to_string().as_bytes())
    }

    #[test]
    fn later_turns_have_the_key_of_the_first_one() {
        let system = json!([{"type": "text", "text": "You are terse.", "cache_control": {"type": "ephemeral"}}]);
        let first = json!({"model": "m", "system": system, "messages": [{"role": "user", "content": [
            {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
        ]}]});
        let later = json!({"model": "m", "max_tokens": 5, "system": "You are terse.", "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": [{"type": "text", "text": "Go", "cache_control": {"type": "ephemeral"}}]},
        ]});
        assert_eq!(of(&first), of(&later));
    }

    #[test]
    fn conversations_that_begin_differently_have_other_keys() {
        let chat = |system: &str, text: &str, tool: &str| {
            json!({"tools": [{"function": {"name": tool}}], "messages": [
                {"role": "system", "content": system}, {"role": "user", "content": text},
            ]})
        };
        let keys = [("a", "x", "t"), ("b", "x", "t"), ("a", "y", "t"), ("a", "x", "u")]
            .map(|(system, text, tool)| of(&chat(system, text, tool)));
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{keys:?}");
        }
    }
}
