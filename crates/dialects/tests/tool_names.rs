//! Names of tools that the other API refuses: changed everywhere in a request alike, and changed back in its answer.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{answer, dialect, events, provider, request};
use gateway_dialects::codec;
use serde_json::{Value, json};

/// A request with this tool, told in the dialect `from`: in its tools, its history and its choice.
fn asking(from: &str, name: &str) -> Value {
    match from {
        "messages" => json!({"model": "m", "max_tokens": 9,
            "tools": [{"name": name, "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "tool", "name": name},
            "messages": [{"role": "user", "content": "Q"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": name, "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "R"}]}]}),
        _ => json!({"model": "m", "tools": [{"type": "function", "function": {"name": name}}],
            "tool_choice": {"type": "function", "function": {"name": name}},
            "messages": [{"role": "user", "content": "Q"},
                {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": name, "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "a", "content": "R"}]}),
    }
}

/// The provider's answer that calls the tool, whole and as a stream.
fn calling(to: &str, name: &str) -> (Value, String) {
    match to {
        "messages" => {
            let block = json!({"type": "tool_use", "id": "t", "name": name, "input": {"x": 1}});
            let events = [
                json!({"type": "message_start", "message": {"id": "m", "model": "m", "content": [], "usage": {"input_tokens": 1}}}),
                json!({"type": "content_block_start", "index": 0, "content_block": block}),
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}}),
                json!({"type": "message_stop"}),
            ];
            let whole =
                json!({"id": "m", "type": "message", "model": "m", "content": [block], "stop_reason": "tool_use"});
            (whole, events.iter().map(|event| format!("data: {event}\n\n")).collect())
        }
        _ => {
            let call = json!([{"index": 0, "id": "t", "type": "function", "function": {"name": name, "arguments": "{\"x\":1}"}}]);
            let of = |key: &str| json!({"id": "c", "choices": [{"index": 0, key: {"tool_calls": call}, "finish_reason": "tool_calls"}]});
            (of("message"), format!("data: {}\n\ndata: [DONE]\n\n", of("delta")))
        }
    }
}

#[test]
fn a_name_that_the_provider_refuses_is_another_name_there_and_the_clients_own_again_in_its_calls() {
    let long = "n".repeat(100);
    for (from, to, own, most) in [
        ("chat", "messages", "weather.get", 128),
        ("native", "messages", "wetter für/heute", 128),
        ("native", "chat", "weather.get", 64),
        ("messages", "chat", &*long, 64),
    ] {
        let (asked, encoded) = request(from, to, &asking(from, own)).unwrap();
        let (tool, history, choice) = match to {
            "messages" => ("/tools/0/name", "/messages/1/content/0/name", "/tool_choice/name"),
            _ => ("/tools/0/function/name", "/messages/1/tool_calls/0/function/name", "/tool_choice/function/name"),
        };
        let sent = asked.pointer(tool).unwrap().as_str().unwrap();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!(!sent.is_empty() && sent.len() <= most && sent.chars().all(plain) && sent != own, "{sent}");
        assert_eq!(asked.pointer(history).unwrap(), sent);
        assert_eq!(asked.pointer(choice).unwrap(), sent);
        let called = if from == "messages" { "messages[1].content[0].name" } else { "messages[1].tool_calls[0].name" };
        let mut named = encoded.approximated.clone();
        named.sort();
        assert_eq!((named, encoded.dropped), (vec![called.to_owned(), "tools[0].name".to_owned()], vec![]));

        let (whole, stream) = calling(to, sent);
        let mut response = codec::provider(provider(to)).decode_response(whole.to_string().as_bytes()).unwrap();
        encoded.tool_names.restore(&mut response);
        let client = codec::client(dialect(from));
        let whole = String::from_utf8(client.encode_response(response, &answer())).unwrap();
        let (mut encoder, mut streamed) = (client.stream_encoder(answer()), Vec::new());
        for mut event in events(to, &[stream.as_bytes()]).0 {
            encoded.tool_names.restore_event(&mut event);
            encoder.push(event, &mut streamed);
        }
        let own = json!({"name": own}).to_string();
        for text in [whole, String::from_utf8(streamed).unwrap()] {
            assert!(text.contains(own.trim_matches(['{', '}'])) && !text.contains(sent), "{text}");
        }
    }
}

#[test]
fn two_tools_whose_names_become_alike_stay_two() {
    let tool = |name| json!({"type": "function", "function": {"name": name}});
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Q"}], "tools": [tool("a.b"), tool("a_b"), tool("a/b")]});
    let (asked, encoded) = request("chat", "messages", &body).unwrap();
    let mut names: Vec<&str> =
        asked["tools"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names[1], "a_b");
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), encoded.dropped.len()), (3, 0), "{names:?}");
}

#[test]
fn of_more_cache_marks_than_the_provider_takes_the_most_useful_stay_and_the_others_are_named() {
    let marked = |text: &str| json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}});
    let tool =
        |name: &str| json!({"type": "function", "function": {"name": name}, "cache_control": {"type": "ephemeral"}});
    let body = json!({"model": "m", "tools": [tool("a"), tool("b")], "messages": [
        {"role": "system", "content": [marked("S"), marked("T")]},
        {"role": "user", "content": [marked("A"), marked("B")]},
        {"role": "assistant", "content": [marked("C")]},
        {"role": "user", "content": [marked("D")]},
    ]});
    let (asked, encoded) = request("chat", "messages", &body).unwrap();
    let mut dropped = encoded.dropped;
    dropped.sort();
    assert_eq!(
        dropped,
        [
            "messages[0].content[0].cache_control",
            "messages[1].content[0].cache_control",
            "messages[1].content[1].cache_control",
            "tools[0].cache_control",
        ]
    );
    assert_eq!(asked.to_string().matches("ephemeral").count(), 4);
    assert!(asked["tools"][1].get("cache_control").is_some() && asked["system"][1].get("cache_control").is_some());
    assert!(asked["messages"][1]["content"][0].get("cache_control").is_some());
    // A request that is marked as a whole uses one of the four.
    let mut automatic = body;
    automatic["cache_control"] = json!({"type": "ephemeral"});
    assert_eq!(request("chat", "messages", &automatic).unwrap().0.to_string().matches("ephemeral").count(), 4);
}
