//! The gateway's own API, field by field.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;

use gateway_core::chat::{ChatResponse, FinishReason, Item, Part, PartBody, Place, ToolCall};
use gateway_core::event::{Block, Delta, StreamEvent};
use gateway_core::usage::{Cost, NanoUsd, Usage};
use gateway_dialects::codec::{Answer, ClientCodec};
use gateway_dialects::native::Native;
use serde_json::{Value, json};

fn answer(cost: Option<Cost>) -> Answer {
    Answer {
        request_id: "req_1".to_owned(),
        provider: Arc::from("openai"),
        model: Arc::from("gpt-5"),
        created: 7,
        timestamp: "2026-01-01T00:00:00Z".to_owned(),
        latency_ms: 12.5,
        include_usage: false,
        metadata: Some(json!({"k": 1})),
        price: Arc::new(move |_| cost),
        cache_key: None,
    }
}

fn cost() -> Option<Cost> {
    Some(Cost { input: NanoUsd(100_000_000), output: NanoUsd(200_000_001) })
}

fn response(bodies: Vec<PartBody>, usage: Option<Usage>) -> ChatResponse {
    let place = Place { message: None, item: Item::Whole };
    ChatResponse {
        id: "c1".to_owned(),
        model: "gpt-5-2026".to_owned(),
        created: None,
        parts: bodies.into_iter().map(|body| Part::new(body, place)).collect(),
        finish: Some(FinishReason::ToolCalls),
        usage,
        dropped: Vec::new(),
    }
}

fn call() -> PartBody {
    PartBody::ToolCall(ToolCall { id: "a".into(), name: "f".into(), arguments: String::new() })
}

#[test]
fn an_answer_has_every_field_of_the_contract() {
    let thought = PartBody::Reasoning { text: "hm".into(), signature: None };
    let parts = vec![thought, PartBody::Text("He".into()), PartBody::Text("llo".into()), call()];
    let usage = Usage { input: 3, cache_read: 2, cache_write: 0, output: 4, reasoning: 1 };
    let body = Native.encode_response(response(parts, Some(usage)), &answer(cost()));
    let want = json!({
        "id": "c1", "content": "Hello", "model": "gpt-5-2026", "provider": "openai",
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "cached_tokens": 2, "reasoning_tokens": 1},
        "cost": {"input_cost": 0.1, "output_cost": 0.200000001, "total_cost": 0.300000001, "currency": "USD"},
        "latency_ms": 12.5, "cached": false, "cache_key": null, "request_id": "req_1", "timestamp": "2026-01-01T00:00:00Z",
        "metadata": {"k": 1}, "finish_reason": "tool_calls",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}], "reasoning": "hm",
    });
    assert_eq!(String::from_utf8(body).unwrap(), want.to_string());
}

#[test]
fn what_is_not_known_is_null() {
    let usage = Some(Usage { input: 1, ..Usage::default() });
    let read = |usage, cost| -> Value {
        serde_json::from_slice(&Native.encode_response(response(vec![], usage), &answer(cost))).unwrap()
    };
    assert_eq!(read(usage, None)["cost"], Value::Null);
    let unknown = read(None, cost());
    assert_eq!((&unknown["usage"], &unknown["cost"]), (&Value::Null, &Value::Null));
}

#[test]
fn the_last_chunk_of_a_stream_has_reason_usage_and_cost() {
    let mut encoder = Native.stream_encoder(answer(cost()));
    let mut out = Vec::new();
    for event in [
        StreamEvent::Start { id: "c1".into(), model: "m".into(), created: None, usage: None },
        StreamEvent::BlockStart(Block::Reasoning),
        StreamEvent::Delta(Delta::Reasoning("hm".into())),
        StreamEvent::BlockEnd,
        StreamEvent::BlockStart(Block::Text),
        StreamEvent::Delta(Delta::Text("Hi".into())),
        StreamEvent::BlockEnd,
        StreamEvent::BlockStart(Block::Refusal),
        StreamEvent::Delta(Delta::Text("No".into())),
        StreamEvent::BlockEnd,
        StreamEvent::BlockStart(Block::Foreign { kind: "server_tool_use".into(), value: json!({}) }),
        StreamEvent::Delta(Delta::Arguments("{}".into())),
        StreamEvent::BlockEnd,
        StreamEvent::BlockStart(Block::ToolCall { id: "a".into(), name: "f".into() }),
        StreamEvent::Delta(Delta::Arguments("{\"x\":1}".into())),
        StreamEvent::BlockEnd,
        StreamEvent::BlockStart(Block::ToolCall { id: "b".into(), name: "g".into() }),
        StreamEvent::BlockEnd,
        StreamEvent::Finish(FinishReason::ToolCalls),
        StreamEvent::Usage(Usage { input: 1, output: 2, ..Usage::default() }),
    ] {
        encoder.push(event, &mut out);
    }
    encoder.finish(&mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with(": x-gateway-dropped: server_tool_use\n\ndata: [DONE]\n\n"), "{text}");
    let data = text.split("\n\n").filter_map(|event| event.strip_prefix("data: {"));
    let chunks: Vec<Value> = data.map(|chunk| serde_json::from_str(&format!("{{{chunk}")).unwrap()).collect();
    let chunk = |content: &str, extra: Value| {
        let mut chunk = json!({"id": "c1", "content": content, "model": "m", "provider": "openai", "finish_reason": null, "usage": null});
        chunk.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        chunk
    };
    let begin = |index: u8, id: &str, name: &str| {
        let function = json!({"name": name, "arguments": ""});
        chunk("", json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}))
    };
    let piece =
        |index: u8, text: &str| chunk("", json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]}));
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3});
    let cost = json!({"input_cost": 0.1, "output_cost": 0.200000001, "total_cost": 0.300000001, "currency": "USD"});
    let want = [
        chunk("", json!({"reasoning": "hm"})),
        chunk("Hi", json!({})),
        chunk("", json!({"refusal": "No"})),
        begin(0, "a", "f"),
        piece(0, "{\"x\":1}"),
        begin(1, "b", "g"),
        piece(1, "{}"),
        chunk("", json!({"finish_reason": "tool_calls", "usage": usage, "cost": cost})),
    ];
    assert_eq!(chunks, want);
}

#[test]
fn an_error_event_holds_the_error_object() {
    let error = gateway_core::error::GatewayError::new(gateway_core::error::ErrorKind::Timeout, "late");
    let event = Native.error_event(&Native.encode_error(&error, "req_1"));
    let want = "data: {\"error\":\"timeout\",\"message\":\"late\",\"request_id\":\"req_1\",\"details\":{}}\n\n";
    assert_eq!(String::from_utf8(event).unwrap(), want);
    assert_eq!(Native.keep_alive(), b": keep-alive\n\n");
}
