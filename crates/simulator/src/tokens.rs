//! Token counts: four bytes of text are one token, everywhere.

use serde::Serialize;
use serde_json::Value;

pub(crate) const BYTES_PER_TOKEN: usize = 4;

/// What a picture or a document counts as; its bytes say nothing about its tokens.
const TOKENS_PER_FILE: u64 = 100;

/// Tokens told to the client. `input` includes what was read from and written to the prompt cache, `output` includes
/// `reasoning`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    pub input: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub output: u64,
    pub reasoning: u64,
}

/// Tokens of one text; zero for an empty one.
pub(crate) fn of_text(text: &str) -> u64 {
    text.len().div_ceil(BYTES_PER_TOKEN) as u64
}

/// Tokens of a part of a request: the bytes of every string in it, at any depth, rounded up once per string.
pub(crate) fn of_value(value: &Value) -> u64 {
    match value {
        Value::String(text) if text.starts_with("data:") => TOKENS_PER_FILE,
        Value::String(text) => of_text(text),
        Value::Array(items) => items.iter().map(of_value).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match (name.as_str(), value) {
                ("data", Value::String(_)) => TOKENS_PER_FILE,
                ("cache_control" | "signature", _) => 0,
                _ => of_value(value),
            })
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Tokens of the named fields of a request, at least one.
pub(crate) fn of_fields(body: &Value, fields: &[&str]) -> u64 {
    fields.iter().filter_map(|field| body.get(field)).map(of_value).sum::<u64>().max(1)
}
