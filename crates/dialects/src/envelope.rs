//! A look at a body without taking it apart: the few fields by which a request is routed, with their places, so that they
//! can be replaced while every other byte passes as it came.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use gateway_core::error::GatewayError;
use serde_json::Value;

use crate::json::{Json, wrong};
use crate::scan::{Checked, Reader, read};

/// What the gateway needs to know of a body in an OpenAI or Anthropic dialect before it decides anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// Shared by the request and what is told of it.
    pub model: Option<Arc<str>>,
    pub stream: bool,
    /// `max_tokens` or `max_completion_tokens`.
    pub max_tokens: Option<u64>,
    /// `n`: how many answers are wanted to the same prompt.
    pub answers: Option<u64>,
    /// `stream_options.include_usage` as the client wrote it.
    pub include_usage: Option<bool>,
    pub has_tools: bool,
    /// A picture, a recording or a document is in it: see [`scan`](crate::json::scan).
    pub has_media: bool,
    /// Everything that stands at the top level, in the order of the body.
    pub members: Vec<Member>,
    /// The last item of `messages`, if that is a list, is not empty and stands there once.
    pub last_message: Option<Range<usize>>,
    places: Places,
}

/// Where a member of the body stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As it is written, in its quotes.
    pub name: Range<u32>,
    pub value: Range<u32>,
}

impl Member {
    fn new(name: &Range<usize>, value: &Range<usize>) -> Member {
        // No body is that long: what is longer than any limit is cut off, and lies outside of it.
        let short = |place: &Range<usize>| {
            u32::try_from(place.start).unwrap_or(u32::MAX)..u32::try_from(place.end).unwrap_or(u32::MAX)
        };
        Member { name: short(name), value: short(value) }
    }

    /// The name without its quotes, as it is written; empty if this is no member of `body`.
    pub fn name<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        let quoted = body.get(self.name.start as usize..self.name.end as usize).unwrap_or_default();
        quoted.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or_default()
    }

    pub fn value<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        body.get(self.value.start as usize..self.value.end as usize).unwrap_or_default()
    }
}

/// As many members as most bodies have.
const MEMBERS: usize = 8;

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
    /// Reads and checks a body as [`scan`](crate::json::scan) does; the fields that matter may stand in it once.
    pub fn read(body: &[u8]) -> Result<Envelope, GatewayError> {
        let mut envelope = Envelope::default();
        // Model, stream, stream_options.
        let mut seen = [false; 3];
        let mut conversations = 0_u32;
        envelope.members.reserve_exact(MEMBERS);
        read(body, |json, name| {
            let (named, start) = (json.named(), json.at());
            if &*name == b"messages" {
                conversations += 1;
                envelope.last_message = last_item(json)?.filter(|_| conversations == 1);
            } else {
                json.skip()?;
            }
            let (place, value) = (start..json.at(), Json(json.since(start)));
            envelope.has_media = json.has_media();
            envelope.members.push(Member::new(&named, &place));
            let (once, seen) = match &*name {
                b"model" => ("model", &mut seen[0]),
                b"stream" => ("stream", &mut seen[1]),
                b"stream_options" => ("stream_options", &mut seen[2]),
                b"max_tokens" | b"max_completion_tokens" => {
                    // What is not a whole number is none.
                    envelope.max_tokens = value.get().parse().ok().or(envelope.max_tokens);
                    return Ok(());
                }
                b"n" => {
                    envelope.answers = value.get().parse().ok();
                    return Ok(());
                }
                b"tools" | b"functions" => {
                    envelope.has_tools |= !value.is_null();
                    return Ok(());
                }
                _ => return Ok(()),
            };
            if std::mem::replace(seen, true) {
                return Err(GatewayError::invalid(once, format!("the body has `{once}` twice")).into());
            }
            match (once, value.get()) {
                (_, "null") => {}
                ("model", _) => match value.string() {
                    Some(model) => envelope.model = Some(Arc::from(model)),
                    None => return Err(wrong("model", "a string", value).into()),
                },
                ("stream", stream) => match stream.parse() {
                    Ok(stream) => envelope.stream = stream,
                    Err(_) => return Err(wrong("stream", "true or false", value).into()),
                },
                _ => envelope.include_usage = value.value().get("include_usage").and_then(Value::as_bool),
            }
            match once {
                "model" => envelope.places.model = Some(place),
                "stream_options" => envelope.places.stream_options = Some(place),
                _ => {}
            }
            Ok(())
        })?;
        envelope.places.first_member = memchr::memchr(b'{', body).map_or(0, |at| at + 1);
        envelope.places.empty = envelope.members.is_empty();
        Ok(envelope)
    }

    /// The body with another `model`; `include_usage` adds `stream_options.include_usage: true`.
    pub fn splice(&self, body: &Bytes, model: &str, include_usage: bool) -> Pieces {
        let mut edits: Vec<(Range<usize>, String)> = Vec::with_capacity(2);
        let quoted = serde_json::to_string(model).unwrap_or_default();
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

/// Passes a value. Where its last item stands, if it is a list that has one.
fn last_item(json: &mut Reader<'_>) -> Checked<Option<Range<usize>>> {
    if json.peek() != Some(b'[') {
        return json.skip().map(|()| None);
    }
    let mut last = None;
    json.items(|json| {
        let start = json.at();
        json.skip()?;
        last = Some(start..json.at());
        Ok(())
    })?;
    Ok(last)
}

/// `stream_options` with `include_usage` set.
fn with_usage(options: &[u8]) -> String {
    let mut options = match serde_json::from_slice(options) {
        Ok(Value::Object(options)) => options,
        _ => serde_json::Map::new(),
    };
    options.insert("include_usage".to_owned(), true.into());
    Value::Object(options).to_string()
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
    fn members_and_the_last_message_are_found() {
        let body = br#"{ "a" : 1, "messages": [ {"role":"user"} , {"content": "x]"} ], "b\u0065":[] }"#;
        let envelope = Envelope::read(body).unwrap();
        let members = envelope.members.iter().map(|member| {
            [member.name(body), member.value(body)].map(|text| std::str::from_utf8(text).unwrap().to_owned())
        });
        let messages = r#"[ {"role":"user"} , {"content": "x]"} ]"#;
        assert_eq!(members.collect::<Vec<_>>(), [["a", "1"], ["messages", messages], [r"b\u0065", "[]"]]);
        assert_eq!(&body[envelope.last_message.unwrap()], br#"{"content": "x]"}"#);
        for body in [r#"{"messages":[]}"#, r#"{"messages":{"a":[1]}}"#, r#"{"messages":[1],"messages":[2]}"#, "{}"] {
            assert_eq!(Envelope::read(body.as_bytes()).unwrap().last_message, None, "{body}");
        }
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
        assert_eq!(message(""), "the body is empty");
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
