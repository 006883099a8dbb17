//! The shapes of real recordings: same fields in the same order. Skipped where the recordings are not.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::client::{post, simulator};

/// The server-sent events or the body of a recording.
fn recording(name: &str) -> Option<Value> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/wire");
    let root = std::env::var_os("LLM_GATEWAY_WIRE").map_or(default, PathBuf::from);
    let text = std::fs::read_to_string(root.join("open").join(name)).ok();
    if text.is_none() {
        println!("skipped: no recording {name} under {}", root.display());
    }
    Some(serde_json::from_str::<Value>(&text?).unwrap()["response"].clone())
}

fn events(sse: &str) -> Vec<Value> {
    sse.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

/// The names of all fields in order, nested ones behind their parents; leaves and array lengths do not matter.
fn shape(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}{}", shape(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.first().map(shape).unwrap_or_default()),
        _ => String::new(),
    }
}

#[tokio::test]
async fn openai_chunks_have_the_shape_of_real_ones() {
    let Some(real) = recording("openai.chat-completions.stream.async-stream.3e575b31.json") else { return };
    let real = events(real["sse"].as_str().unwrap());
    let sim = simulator().await;
    let body = json!({"model": "gpt-sim", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "What is the capital of Italy?"}]});
    let ours = post(&sim, "/v1/chat/completions", &body).await.data();
    let last = |events: &[Value], back: usize| shape(&events[events.len() - back]);
    assert_eq!(shape(&ours[0]), shape(&real[0]));
    assert_eq!(shape(&ours[1]), shape(&real[1]));
    assert_eq!(last(&ours, 2), last(&real, 2));
    assert_eq!(last(&ours, 1), last(&real, 1));
}

#[tokio::test]
async fn anthropic_events_have_the_shape_of_real_ones() {
    let Some(real) =
        recording("anthropic.messages.stream.claude-agent-sdk-v1-messages-beta-true-post-66f64b46.54d95b4a.json")
    else {
        return;
    };
    let real = events(real["sse"].as_str().unwrap());
    let sim = simulator().await;
    let body = json!({"model": "claude-sim", "stream": true, "max_tokens": 100,
        "messages": [{"role": "user", "content": "What is the capital of Italy?"}]});
    let ours = post(&sim, "/v1/messages", &body).await.data();
    for kind in
        ["message_start", "content_block_start", "ping", "content_block_delta", "content_block_stop", "message_stop"]
    {
        let of = |events: &[Value]| events.iter().find(|event| event["type"] == kind).map(shape);
        assert_eq!(of(&ours), of(&real), "{kind}");
    }
}

#[tokio::test]
async fn whole_answers_have_the_shape_of_real_ones() {
    let openai = recording("openai.chat-completions.json.parallel-tool-calls.aa7ccc67.json");
    let anthropic = recording("anthropic.messages.json.anthropic-tool.88029100.json");
    let (Some(openai), Some(anthropic)) = (openai, anthropic) else { return };
    let sim = simulator().await;
    let parameters =
        json!({"type": "object", "required": ["location"], "properties": {"location": {"type": "string"}}});
    let body = json!({"model": "gpt-sim", "messages": [{"role": "user", "content": "Weather in Rome?"}],
        "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]});
    let ours = post(&sim, "/v1/chat/completions", &body).await.json();
    assert_eq!(shape(&ours), shape(&openai["body"]));
    let body = json!({"model": "claude-sim", "max_tokens": 3000, "messages": [{"role": "user", "content": "What month is it?"}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "current_month", "input_schema": {"type": "object", "properties": {}}}]});
    let ours = post(&sim, "/v1/messages", &body).await.json();
    let real = &anthropic["body"];
    assert_eq!(shape(&ours), shape(real));
    assert_eq!(shape(&ours["content"][1]), shape(&real["content"][1]));
}

#[tokio::test]
async fn refusals_are_the_real_ones() {
    let cases = [
        (
            "openai.chat-completions.json.openai-gpt-4o-completions.6f96499d.json",
            "/v1/chat/completions",
            "missing-model",
        ),
        ("anthropic.messages.json.anthropic-claude-sonnet-4-0.0d0ddef7.json", "/v1/messages", "missing-model"),
    ];
    let sim = simulator().await;
    for (name, path, model) in cases {
        let Some(real) = recording(name) else { return };
        let body = json!({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]});
        let answer = post(&sim, path, &body).await;
        let ours = answer.json();
        assert_eq!((u64::from(answer.status), shape(&ours)), (real["status"].as_u64().unwrap(), shape(&real["body"])));
        let known =
            real["body"]["error"]["message"].as_str().unwrap().replace("this-model-does-not-exist-12345", model);
        assert_eq!(ours["error"]["message"], known);
    }
}
