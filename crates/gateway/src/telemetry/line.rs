//! A log line: one JSON object, member by member.
//!
//! Put together as text: to serialize it takes three times as much, mostly to look for characters to escape one by one, and
//! this is done for every request.

use gateway_core::usage::Usage;

use crate::cache::Note;
use crate::call::Caller;
use crate::decimal::Decimal;
use crate::settle::Record;
use crate::steps;

/// The members of an object that is being written.
#[derive(Debug)]
pub struct Members<'a> {
    line: &'a mut Vec<u8>,
}

impl<'a> Members<'a> {
    /// Begins an object.
    pub fn open(line: &'a mut Vec<u8>) -> Self {
        line.push(b'{');
        Members { line }
    }

    pub fn close(self) {
        self.line.push(b'}');
    }

    /// Begins a member. `name` needs no escapes.
    fn name(&mut self, name: &str) {
        if self.line.last() != Some(&b'{') {
            self.line.push(b',');
        }
        self.line.push(b'"');
        self.line.extend_from_slice(name.as_bytes());
        self.line.extend_from_slice(b"\":");
    }

    /// A value that is JSON already.
    pub fn json(&mut self, name: &str, json: &[u8]) {
        self.name(name);
        self.line.extend_from_slice(json);
    }

    /// A text that needs no escapes.
    pub fn word(&mut self, name: &str, word: &str) {
        self.name(name);
        self.line.push(b'"');
        self.line.extend_from_slice(word.as_bytes());
        self.line.push(b'"');
    }

    pub fn text(&mut self, name: &str, text: &str) {
        // All of them, and not until the first: so many are looked at at a time.
        let special =
            text.bytes().fold(false, |special, byte| special | (byte < b' ') | (byte == b'"') | (byte == b'\\'));
        if special {
            self.json(name, serde_json::Value::from(text).to_string().as_bytes());
        } else {
            self.word(name, text);
        }
    }

    pub fn number(&mut self, name: &str, number: u64) {
        self.json(name, &Decimal::new(number, 0));
    }

    fn texts(&mut self, name: &str, texts: &[String]) {
        if !texts.is_empty() {
            self.json(name, serde_json::json!(texts).to_string().as_bytes());
        }
    }
}

/// What is known of a request, without what is not.
pub fn request(members: &mut Members<'_>, record: &Record) {
    members.word("request_id", &record.request_id);
    let maybe = |members: &mut Members<'_>, name, text: Option<&str>| {
        if let Some(text) = text {
            members.text(name, text);
        }
    };
    maybe(members, "correlation_id", record.correlation_id.as_deref());
    members.text("route", record.route);
    members.word("dialect", record.dialect);
    members.json("stream", if record.stream { b"true" } else { b"false" });
    maybe(members, "model_asked", record.model_asked.as_deref());
    maybe(members, "user", record.user.as_deref());
    maybe(members, "provider", record.provider.as_deref());
    maybe(members, "model", record.model.as_deref());
    members.number("status", record.status.into());
    members.word("outcome", record.outcome.name());
    members.number("attempts", record.attempts.into());
    if !steps::went_well(&record.steps)
        && let Ok(tried) = serde_json::to_vec(&steps::tried(&record.steps))
    {
        members.json("tried", &tried);
    }
    // Addresses are nobody's business but the limits'.
    match &record.caller {
        Caller::Address(_) => {}
        Caller::Key(key) => members.text("key", &key.id),
        Caller::Admin => members.word("key", "admin"),
    }
    maybe(members, "upstream_request_id", record.upstream_request_id.as_deref());
    maybe(members, "finish_reason", record.finish_reason);
    if let Some(Usage { input, cache_read, cache_write, output, reasoning }) = record.usage {
        members.name("usage");
        let mut usage = Members::open(members.line);
        usage.number("input", input);
        usage.number("cache_read", cache_read);
        usage.number("cache_write", cache_write);
        usage.number("output", output);
        usage.number("reasoning", reasoning);
        usage.close();
    }
    if record.usage_estimated {
        members.json("usage_estimated", b"true");
    }
    if let Some(cost) = record.cost {
        members.json("cost_usd", &Decimal::short(cost.total().0, 9));
    }
    if let Some(note) = &record.cache {
        cache(members, note);
    }
    if let Some(ms) = record.first_content_ms {
        members.json("first_content_ms", &Decimal::millis(ms));
    }
    members.json("duration_ms", &Decimal::millis(record.duration_ms));
    members.json("overhead_ms", &Decimal::millis(record.overhead_ms));
    members.texts("dropped", &record.dropped);
    members.texts("added", &record.added);
    maybe(members, "error", record.error.as_deref());
}

fn cache(members: &mut Members<'_>, note: &Note) {
    members.word("cache", note.answered.name());
    if let Some(found) = &note.hit {
        members.word("cache_type", found.tier.name());
        members.json("cache_similarity", &Decimal::short(found.thousandths(), 3));
        members.number("cache_age_s", found.age.as_secs());
    }
    if let Some(near) = &note.near {
        members.word("cache_refused_by", near.rule());
    }
    if let Some(embedded) = &note.embedding {
        members.word("cache_embedding", embedded.how.name());
        members.json("cache_embedding_usd", &Decimal::short(embedded.cost.0, 9));
    }
    if note.saved_tokens > 0 {
        members.number("saved_tokens", note.saved_tokens);
        members.json("saved_usd", &Decimal::short(note.saved.0, 9));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_line_is_one_object_whatever_its_texts() {
        let mut line = Vec::new();
        let mut members = Members::open(&mut line);
        members.text("plain", "é/ü");
        members.text("quoted", "a \"b\"\n\\ \u{7f}");
        members.text("empty", "");
        members.number("n", u64::MAX);
        members.json("inner", b"{}");
        members.texts("none", &[]);
        members.texts("some", &["a\tb".to_owned()]);
        members.close();
        assert_eq!(
            serde_json::from_slice::<Value>(&line).unwrap(),
            json!({"plain": "é/ü", "quoted": "a \"b\"\n\\ \u{7f}", "empty": "", "n": u64::MAX, "inner": {}, "some": ["a\tb"]})
        );
    }
}
