//! Exchanges written by hand and what becomes of them in each other dialect, as files that a person can read.
//!
//! `golden/requests/CASE/request.json` becomes `to_chat.json` and `to_messages.json`, `golden/answers/CASE/answer.json` and
//! `golden/streams/CASE/stream.sse` become what clients of the other dialects get. A case's name begins with its dialect.
//! `UPDATE_GOLDEN=1` writes what comes out.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{golden, request, root, stream, whole};
use serde_json::{Value, json};

const HERE: &str = "crates/dialects/tests/golden";

/// The cases of a kind: name, dialect, the file that was written by hand.
fn cases(kind: &str, file: &str) -> Vec<(String, String, String)> {
    let folder = root().join(HERE).join(kind);
    let mut names: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(!names.is_empty());
    let read = |name: String| {
        let text = std::fs::read_to_string(folder.join(&name).join(file)).unwrap();
        let dialect = name.split('-').next().unwrap().to_owned();
        (name, dialect, text)
    };
    names.into_iter().map(read).collect()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

#[test]
fn requests() {
    for (name, from, text) in cases("requests", "request.json") {
        let body: Value = serde_json::from_str(&text).unwrap();
        for to in ["chat", "messages"].into_iter().filter(|to| *to != from) {
            let (body, encoded) = request(&from, to, &body).unwrap();
            let seen = json!({"dropped": encoded.dropped, "approximated": encoded.approximated, "added": encoded.added,
                "body": body});
            golden(&format!("{HERE}/requests/{name}/to_{to}.json"), &pretty(&seen));
        }
    }
}

#[test]
fn answers() {
    for (name, from, text) in cases("answers", "answer.json") {
        let body: Value = serde_json::from_str(&text).unwrap();
        for to in ["native", "chat", "messages"].into_iter().filter(|to| *to != from) {
            let (body, dropped) = whole(&from, to, &body);
            let seen = json!({"dropped": dropped, "body": body});
            golden(&format!("{HERE}/answers/{name}/to_{to}.json"), &pretty(&seen));
        }
    }
}

#[test]
fn streams() {
    for (name, from, text) in cases("streams", "stream.sse") {
        for to in ["native", "chat", "messages"].into_iter().filter(|to| *to != from) {
            let seen = stream(&from, to, &[text.as_bytes()]);
            golden(&format!("{HERE}/streams/{name}/to_{to}.sse"), &seen);
            // Wherever the stream is cut on its way, the client gets the same bytes.
            for cut in 1..text.len() {
                let (a, b) = text.as_bytes().split_at(cut);
                assert_eq!(stream(&from, to, &[a, b]), seen, "{name} to {to}, cut at {cut}");
            }
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(stream(&from, to, &bytes), seen, "{name} to {to}, byte by byte");
        }
    }
}
