//! What becomes of every field in translation: one table, which is checked row by row and printed as docs/dialects.md.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::fmt::Write as _;

use common::{golden, request, whole};
use serde_json::{Value, json};

use Is::{Approximated, Carried, Dropped, Nothing, Refused};

/// What becomes of a field. JSON beside it is the part of the translation that says so.
enum Is {
    Carried(&'static str),
    /// How, what it becomes, and under which names the client is told.
    Approximated(&'static str, &'static str, &'static [&'static str]),
    /// Under these names.
    Dropped(&'static [&'static str]),
    /// It asks for nothing, and why.
    Nothing(&'static str),
    /// With a 400 that names this field.
    Refused(&'static str),
}

/// Field, example, what becomes of it.
type Row = (&'static str, &'static str, Is);

#[path = "fields/answers.rs"]
mod answers;
#[path = "fields/requests.rs"]
mod requests;

const HEAD: &str = "# What becomes of each field in translation

Where client and provider speak the same dialect nothing is translated: bytes pass as they came. Elsewhere each field is

- **carried**: said in the provider's words, with the same meaning;
- **approximated**: said in other words, as near as the other API comes. Where the difference may matter it is named;
- **dropped**: the other API has no word for it. Always named;
- **refused**: a 400 that names the field.

Names go to the client in the header `x-gateway-dropped`; where a stream's headers have left before a loss is met, in a comment
before its last event. With `on_unsupported: reject` a request of which something would be *dropped* is refused with a 400; what
is approximated is no reason to refuse. What the provider's API demands and the client did not send (such as `max_tokens`) is
named in `x-gateway-added`.

Fields that are `null` count as absent. A field that is not in these tables is dropped by its name, wherever it stands.

The native API (`/v1/completions`) has the messages, tools, tool choice and response format of OpenAI chat: what the first
table says of those holds for it, too.

This page is written by `UPDATE_GOLDEN=1 cargo test -p gateway-dialects --test fields`; the same test translates every example and
checks that what the table says is what happens.
";

struct Table {
    title: &'static str,
    from: &'static str,
    to: &'static str,
    rows: &'static [Row],
    /// What an example is put into.
    base: fn() -> Value,
    translate: fn(&str, &str, &Value) -> Outcome,
}

/// The translation and all names that the client gets, those of `dropped` first; or the field at fault.
struct Outcome {
    said: Result<Value, String>,
    dropped: Vec<String>,
    approximated: Vec<String>,
}

const TABLES: &[Table] = &[
    Table {
        title: "Requests: OpenAI chat to Anthropic",
        from: "chat",
        to: "messages",
        rows: requests::CHAT_TO_MESSAGES,
        base: || json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}),
        translate: translate_request,
    },
    Table {
        title: "Requests: Anthropic to OpenAI chat",
        from: "messages",
        to: "chat",
        rows: requests::MESSAGES_TO_CHAT,
        base: || json!({"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}),
        translate: translate_request,
    },
    Table {
        title: "Requests: native to OpenAI chat",
        from: "native",
        to: "chat",
        rows: requests::NATIVE_TO_CHAT,
        base: || json!({"messages": [{"role": "user", "content": "Hi"}]}),
        translate: translate_request,
    },
    Table {
        title: "Requests: native to Anthropic",
        from: "native",
        to: "messages",
        rows: requests::NATIVE_TO_MESSAGES,
        base: || json!({"messages": [{"role": "user", "content": "Hi"}]}),
        translate: translate_request,
    },
    Table {
        title: "Answers: OpenAI chat to Anthropic",
        from: "chat",
        to: "messages",
        rows: answers::CHAT_TO_MESSAGES,
        base: chat_answer,
        translate: translate_answer,
    },
    Table {
        title: "Answers: Anthropic to OpenAI chat",
        from: "messages",
        to: "chat",
        rows: answers::MESSAGES_TO_CHAT,
        base: messages_answer,
        translate: translate_answer,
    },
    Table {
        title: "Answers: OpenAI chat to native",
        from: "chat",
        to: "native",
        rows: answers::CHAT_TO_NATIVE,
        base: chat_answer,
        translate: translate_answer,
    },
    Table {
        title: "Answers: Anthropic to native",
        from: "messages",
        to: "native",
        rows: answers::MESSAGES_TO_NATIVE,
        base: messages_answer,
        translate: translate_answer,
    },
];

fn chat_answer() -> Value {
    json!({"id": "c1", "object": "chat.completion", "created": 5, "model": "m", "choices":
        [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})
}

fn messages_answer() -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 3, "output_tokens": 2}})
}

fn translate_request(from: &str, to: &str, body: &Value) -> Outcome {
    match request(from, to, body) {
        Ok((said, encoded)) => Outcome { said: Ok(said), dropped: encoded.dropped, approximated: encoded.approximated },
        Err(error) => Outcome { said: Err(error.field.unwrap_or_default()), dropped: vec![], approximated: vec![] },
    }
}

fn translate_answer(from: &str, to: &str, body: &Value) -> Outcome {
    let (said, dropped) = whole(from, to, body);
    Outcome { said: Ok(said), dropped, approximated: vec![] }
}

/// Puts the members of `change` into `base`; objects are merged, of lists the first items are.
fn merge(base: &mut Value, change: &Value) {
    match (base, change) {
        (Value::Object(base), Value::Object(change)) => {
            for (key, value) in change {
                match base.get_mut(key) {
                    Some(known) if known.is_object() && value.is_object() || key == "choices" => merge(known, value),
                    _ => drop(base.insert(key.clone(), value.clone())),
                }
            }
        }
        (Value::Array(base), Value::Array(change)) => base.iter_mut().zip(change).for_each(|(a, b)| merge(a, b)),
        (base, change) => *base = change.clone(),
    }
}

/// Does `whole` say all that `part` says? Lists must be of one length.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|found| contains(found, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        _ => whole == part,
    }
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[test]
fn every_row_says_what_happens() {
    let mut wrong = Vec::new();
    for table in TABLES {
        for (field, example, is) in table.rows {
            let mut body = (table.base)();
            merge(&mut body, &parse(example));
            let Outcome { said, dropped, approximated } = (table.translate)(table.from, table.to, &body);
            let expected = match is {
                Carried(part) => (Some(parse(part)), &[][..], &[][..]),
                Approximated(_, part, names) if table.title.starts_with("Answers") => {
                    (Some(parse(part)), *names, &[][..])
                }
                Approximated(_, part, names) => (Some(parse(part)), &[][..], *names),
                Dropped(names) => (Some(json!({})), *names, &[][..]),
                Nothing(_) => (Some(json!({})), &[][..], &[][..]),
                Refused(_) => (None, &[][..], &[][..]),
            };
            let holds = match (&said, &expected.0, is) {
                (Ok(said), Some(part), _) => contains(said, part),
                (Err(at), None, Refused(field)) => at == field,
                _ => false,
            };
            if !holds || dropped != expected.1 || approximated != expected.2 {
                wrong.push(format!(
                    "{}: {field}: {}\n    dropped {dropped:?} approximated {approximated:?}",
                    table.title,
                    said.map_or_else(|at| format!("refused for {at}"), |said| said.to_string()),
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A field of the official API for which somebody forgot to decide.
#[test]
fn every_field_of_the_official_apis_has_a_row() {
    for (table, fields) in [(0, requests::CHAT_FIELDS), (1, requests::MESSAGES_FIELDS)] {
        for field in fields {
            let has_row = |(name, ..): &Row| {
                name.split([' ', '.', '[', ',']).next() == Some(field) || name.split(", ").any(|name| name == *field)
            };
            assert!(TABLES[table].rows.iter().any(has_row), "{}: no row for {field}", TABLES[table].title);
        }
    }
    for field in gateway_dialects::native::fields::REQUEST {
        for table in [2, 3] {
            let has_row = |(name, ..): &Row| name.split(", ").any(|name| name == field.name);
            assert!(TABLES[table].rows.iter().any(has_row), "{}: no row for {}", TABLES[table].title, field.name);
        }
    }
}

#[test]
fn the_document_is_what_the_table_says() {
    let mut text = HEAD.to_owned();
    for table in TABLES {
        write!(text, "\n## {}\n\n| field | for example | becomes |\n|---|---|---|\n", table.title).unwrap();
        for (field, example, is) in table.rows {
            let code = |json: &str| {
                let json = parse(json).to_string().replace('|', "\\|");
                // The text of an example is not what it is about.
                format!("`{}`", json.trim_start_matches('{').strip_suffix('}').unwrap_or(&json))
            };
            let named = |names: &[&str]| match names {
                [] => String::new(),
                names => format!(", named `{}`", names.join("`, `")),
            };
            let becomes = match is {
                Carried(part) => format!("carried: {}", code(part)),
                Approximated(how, part, names) => format!("approximated: {how}: {}{}", code(part), named(names)),
                Dropped(names) => format!("dropped{}", named(names)),
                Nothing(why) => format!("nothing: {why}"),
                Refused(field) => format!("refused, naming `{field}`"),
            };
            let fields: Vec<String> = field.split(", ").map(|name| format!("`{name}`")).collect();
            writeln!(text, "| {} | {} | {becomes} |", fields.join(", "), code(example)).unwrap();
        }
    }
    golden("docs/dialects.md", &text);
}
