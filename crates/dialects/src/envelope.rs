//! A look at a body without taking it apart: the few fields by which a request is routed, with their places, so that they
//! can be replaced while every other byte passes as it came.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use gateway_core::error::GatewayError;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{check, invalid_body, wrong};

/// What the gateway needs to know of a body in an OpenAI or Anthropic dialect before it decides anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    pub model: Option<String>,
    pub stream: bool,
    /// `max_tokens` or `max_completion_tokens`.
    pub max_tokens: Option<u64>,
    /// `stream_options.include_usage` as the client wrote it.
    pub include_usage: Option<bool>,
    pub has_tools: bool,
    places: Places,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Places {
    model: Option<Range<usize>>,
    stream_options: Option<Range<usize>>,
    /// Behind the opening brace of the body, and whether a member follows.
    first_member: usize,
    empty: bool,
}

/// A body in pieces that are sent one after the other; most of them are slices of what the client sent.
pub type Pieces = Vec<Bytes>;

impl Envelope {
    /// Reads and checks a body: valid JSON, an object, not too deep, no field that matters twice.
    pub fn read(body: &[u8]) -> Result<Envelope, GatewayError> {
        check(body)?;
        let mut raw = serde_json::Deserializer::from_slice(body);
        let members = raw.deserialize_map(Members { body }).and_then(|members| raw.end().map(|()| members));
        let members = members.map_err(|error| match error.classify() {
            serde_json::error::Category::Data => invalid_body(error_text(&error)),
            _ => invalid_body(format!("the body is not valid JSON: {error}")),
        })?;
        let mut envelope = Envelope::default();
        if let Some((value, place)) = members.model {
            let model: serde_json::Value = parse(value)?;
            match model {
                serde_json::Value::String(model) => envelope.model = Some(model),
                serde_json::Value::Null => {}
                other => return Err(wrong("model", "a string", &other)),
            }
            envelope.places.model = Some(place);
        }
        if let Some((value, _)) = members.stream {
            envelope.stream = match value.get() {
                "true" => true,
                "false" | "null" => false,
                _ => return Err(wrong("stream", "true or false", &parse(value)?)),
            };
        }
        if let Some((value, place)) = members.stream_options {
            if value.get().starts_with('{') {
                let options: serde_json::Value = parse(value)?;
                envelope.include_usage = options.get("include_usage").and_then(serde_json::Value::as_bool);
            }
            envelope.places.stream_options = Some(place);
        }
        envelope.max_tokens = members.max_tokens.and_then(|(value, _)| value.get().parse().ok());
        envelope.has_tools = members.has_tools;
        envelope.places.first_member = memchr::memchr(b'{', body).map_or(0, |at| at + 1);
        envelope.places.empty = members.count == 0;
        Ok(envelope)
    }

    /// The body with another `model`; `include_usage` adds `stream_options.include_usage: true`.
    pub fn splice(&self, body: &Bytes, model: &str, include_usage: bool) -> Pieces {
        let mut edits: Vec<(Range<usize>, String)> = Vec::with_capacity(2);
        let quoted = serde_json::Value::from(model).to_string();
        let mut front = String::new();
        match &self.places.model {
            Some(place) => edits.push((place.clone(), quoted)),
            None => front = format!(r#""model":{quoted},"#),
        }
        if include_usage && self.include_usage != Some(true) {
            match &self.places.stream_options {
                Some(place) => edits.push((place.clone(), with_usage(&body[place.clone()]))),
                None => front += r#""stream_options":{"include_usage":true},"#,
            }
        }
        if !front.is_empty() {
            let at = self.places.first_member;
            if self.places.empty {
                front.pop();
            }
            edits.push((at..at, front));
        }
        edits.sort_by_key(|(place, _)| place.start);
        let (mut pieces, mut from) = (Pieces::with_capacity(2 * edits.len() + 1), 0);
        for (place, text) in edits {
            pieces.push(body.slice(from..place.start));
            pieces.push(Bytes::from(text));
            from = place.end;
        }
        pieces.push(body.slice(from..));
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }
}

/// `stream_options` with `include_usage` set.
fn with_usage(options: &[u8]) -> String {
    let mut options = match serde_json::from_slice(options) {
        Ok(serde_json::Value::Object(options)) => options,
        _ => serde_json::Map::new(),
    };
    options.insert("include_usage".to_owned(), true.into());
    serde_json::Value::Object(options).to_string()
}

fn parse(value: &RawValue) -> Result<serde_json::Value, GatewayError> {
    serde_json::from_str(value.get()).map_err(|error| invalid_body(format!("the body is not valid JSON: {error}")))
}

/// serde_json's message without its position, which is that of the end of the body.
fn error_text(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

type Member<'a> = Option<(&'a RawValue, Range<usize>)>;

#[derive(Default)]
struct Found<'a> {
    model: Member<'a>,
    stream: Member<'a>,
    stream_options: Member<'a>,
    max_tokens: Member<'a>,
    has_tools: bool,
    count: usize,
}

struct Members<'a> {
    body: &'a [u8],
}

impl<'de> Visitor<'de> for Members<'de> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Found::default();
        while let Some(key) = map.next_key::<Key>()? {
            found.count += 1;
            let slot = match key {
                Key::Model => &mut found.model,
                Key::Stream => &mut found.stream,
                Key::StreamOptions => &mut found.stream_options,
                Key::MaxTokens => &mut found.max_tokens,
                Key::Tools => {
                    found.has_tools = map.next_value::<&RawValue>()?.get() != "null";
                    continue;
                }
                Key::Other => {
                    map.next_value::<&RawValue>()?;
                    continue;
                }
            };
            if slot.is_some() && key != Key::MaxTokens {
                return Err(de::Error::custom(format_args!("the body has `{}` twice", key.name())));
            }
            let value = map.next_value::<&'de RawValue>()?;
            let start = value.get().as_ptr() as usize - self.body.as_ptr() as usize;
            *slot = Some((value, start..start + value.get().len()));
        }
        Ok(found)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Key {
    Model,
    Stream,
    StreamOptions,
    MaxTokens,
    Tools,
    Other,
}

impl Key {
    fn name(self) -> &'static str {
        match self {
            Key::Model => "model",
            Key::Stream => "stream",
            Key::StreamOptions => "stream_options",
            Key::MaxTokens | Key::Tools | Key::Other => "",
        }
    }
}

impl<'de> de::Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: de::Error>(self, key: &str) -> Result<Key, E> {
                Ok(match key {
                    "model" => Key::Model,
                    "stream" => Key::Stream,
                    "stream_options" => Key::StreamOptions,
                    "max_tokens" | "max_completion_tokens" => Key::MaxTokens,
                    "tools" | "functions" => Key::Tools,
                    _ => Key::Other,
                })
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(pieces: &Pieces) -> String {
        String::from_utf8(pieces.concat()).unwrap()
    }

    fn splice(body: &str, model: &str, include_usage: bool) -> String {
        joined(&Envelope::read(body.as_bytes()).unwrap().splice(
            &Bytes::copy_from_slice(body.as_bytes()),
            model,
            include_usage,
        ))
    }

    #[test]
    fn only_the_model_changes() {
        let body = "{ \"a\" : 1.50, \"model\" :\t\"openai/gpt\\u002d5\" , \"b\":[1e2,\"x\\u00e9\"]}\n";
        let envelope = Envelope::read(body.as_bytes()).unwrap();
        assert_eq!(envelope.model.as_deref(), Some("openai/gpt-5"));
        assert_eq!(
            splice(body, "gpt-5", false),
            "{ \"a\" : 1.50, \"model\" :\t\"gpt-5\" , \"b\":[1e2,\"x\\u00e9\"]}\n"
        );
    }

    #[test]
    fn usage_is_asked_for_where_the_client_did_not() {
        let ask = |body: &str| splice(body, "m", true);
        assert_eq!(
            ask(r#"{"model":"x","stream":true}"#),
            r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#
        );
        assert_eq!(
            ask(r#"{"model":"x","stream_options":null}"#),
            r#"{"model":"m","stream_options":{"include_usage":true}}"#
        );
        assert_eq!(
            ask(r#"{"stream_options":{"a":1,"include_usage":false},"model":"x"}"#),
            r#"{"stream_options":{"a":1,"include_usage":true},"model":"m"}"#
        );
        assert_eq!(
            ask(r#"{"model":"x","stream_options":{"include_usage":true}}"#),
            r#"{"model":"m","stream_options":{"include_usage":true}}"#
        );
    }

    #[test]
    fn a_model_is_added_where_there_is_none() {
        assert_eq!(splice("{}", "m", false), r#"{"model":"m"}"#);
        assert_eq!(splice(r#"{"a":1}"#, "m\"", false), r#"{"model":"m\"","a":1}"#);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let message = |body: &str| Envelope::read(body.as_bytes()).unwrap_err().message;
        assert_eq!(message(r#"{"model":"a","model":"b"}"#), "the body has `model` twice");
        assert_eq!(message(r#"{"stream":true,"stream":false}"#), "the body has `stream` twice");
        assert_eq!(message(r#"{"model":5}"#), "model must be a string, got a number");
        assert_eq!(message(r#"{"stream":"yes"}"#), "stream must be true or false, got a string");
        assert!(message("[]").contains("JSON object"), "{}", message("[]"));
        assert!(message(r#"{"a":1} x"#).contains("not valid JSON"));
        assert!(message("").contains("not valid JSON"));
        assert!(Envelope::read(b"{\"a\":\"\xff\"}").is_err());
    }

    proptest! {
        #[test]
        fn never_panics_and_agrees_with_serde_json(body in "[{}\\[\\]\",:a1\\\\ntrue .e-]{0,40}") {
            let strict = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&body);
            let read = Envelope::read(body.as_bytes());
            if read.is_ok() {
                prop_assert!(strict.is_ok());
            }
        }
    }
}
