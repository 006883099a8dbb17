//! Requests that the vendors refuse, with their status and their words.

use serde_json::{Value, json};

use crate::client::{post, raw, request, simulator, simulator_with};

#[tokio::test]
async fn keys_are_asked_for_as_the_vendors_do() {
    let sim = simulator().await;
    for (path, headers, status, part) in [
        ("/v1/chat/completions", "", 401, "You didn't provide an API key."),
        ("/v1/chat/completions", "x-api-key: sk-test\r\n", 401, "You didn't provide an API key."),
        ("/v1/chat/completions", "authorization: Bearer \r\n", 401, "You didn't provide an API key."),
        (
            "/v1/chat/completions",
            "authorization: Bearer sk-invalid-key\r\n",
            401,
            "Incorrect API key provided: sk-inval",
        ),
        ("/v1/embeddings", "", 401, "You didn't provide an API key."),
        ("/v1/messages", "anthropic-version: 2023-06-01\r\n", 401, "x-api-key header is required"),
        ("/v1/messages", "anthropic-version: 2023-06-01\r\nx-api-key: sk-invalid\r\n", 401, "invalid x-api-key"),
        (
            "/v1/messages",
            "anthropic-version: 2023-06-01\r\nauthorization: Bearer sk-invalid\r\n",
            401,
            "Invalid bearer token",
        ),
        ("/v1/messages", "x-api-key: sk-ant\r\n", 400, "anthropic-version: header is required"),
    ] {
        let answer = raw(sim.addr(), &request("POST", path, headers, "{}")).await;
        assert_eq!(answer.status, status, "{path} {headers}");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(part), "{message}");
    }
}

#[tokio::test]
async fn a_refusal_has_the_vendors_shape() {
    let sim = simulator().await;
    let openai = raw(sim.addr(), &request("POST", "/v1/chat/completions", "authorization: Bearer k\r\n", "{")).await;
    assert_eq!(openai.status, 400);
    let keys: Vec<String> = openai.json()["error"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["message", "type", "param", "code"]);
    assert!(openai.header("x-request-id").unwrap().starts_with("req_"));
    let headers = "x-api-key: k\r\nanthropic-version: 2023-06-01\r\n";
    let anthropic = raw(sim.addr(), &request("POST", "/v1/messages", headers, "{")).await;
    assert_eq!(anthropic.status, 400);
    let json = anthropic.json();
    assert_eq!(json["type"], "error");
    assert_eq!(json["error"]["type"], "invalid_request_error");
    assert_eq!(json["request_id"].as_str(), anthropic.header("request-id"));
    assert_eq!(anthropic.header("x-should-retry"), Some("false"));
}

fn with(mut body: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.as_object_mut().unwrap().retain(|_, value| value != "REMOVED");
    body
}

#[tokio::test]
async fn openai_requests_are_checked() {
    let sim = simulator().await;
    let good = json!({"model": "gpt-sim", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(post(&sim, "/v1/chat/completions", &good).await.status, 200);
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    for (changes, status, param, code, part) in [
        (
            json!({"messages": "REMOVED"}),
            400,
            json!("messages"),
            json!("missing_required_parameter"),
            "Missing required",
        ),
        (json!({"messages": []}), 400, json!("messages"), json!("empty_array"), "Invalid 'messages': empty array"),
        (json!({"messages": "hi"}), 400, json!("messages"), json!("invalid_type"), "Invalid type for 'messages'"),
        (json!({"model": "REMOVED"}), 400, json!(null), json!(null), "you must provide a model parameter"),
        (
            json!({"model": "missing-model"}),
            404,
            json!(null),
            json!("model_not_found"),
            "The model `missing-model` does not exist",
        ),
        (
            json!({"temperature": 3}),
            400,
            json!("temperature"),
            json!("decimal_above_max_value"),
            "Invalid 'temperature'",
        ),
        (
            json!({"temperature": -1}),
            400,
            json!("temperature"),
            json!("decimal_below_min_value"),
            "Invalid 'temperature'",
        ),
        (json!({"max_tokens": 0}), 400, json!("max_tokens"), json!("integer_below_min_value"), "Invalid 'max_tokens'"),
        (json!({"n": 1000}), 400, json!("n"), json!("integer_above_max_value"), "Invalid 'n'"),
        (
            json!({"stop": ["a", "b", "c", "d", "e"]}),
            400,
            json!("stop"),
            json!("array_above_max_length"),
            "Invalid 'stop'",
        ),
        (
            json!({"stream_options": {"include_usage": true}}),
            400,
            json!("stream_options"),
            json!(null),
            "The 'stream_options'",
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": "n".repeat(65)}}]}),
            400,
            json!("tools[0].function.name"),
            json!("string_above_max_length"),
            "Invalid 'tools[0].function.name': string too long",
        ),
        (json!({"tool_choice": "auto"}), 400, json!("tool_choice"), json!(null), "Invalid value for 'tool_choice'"),
        (
            json!({"response_format": {"type": "json_object"}}),
            400,
            json!("messages"),
            json!(null),
            "'messages' must contain the word 'json'",
        ),
        (
            json!({"messages": [{"role": "wizard", "content": "hi"}]}),
            400,
            json!("messages[0].role"),
            json!("invalid_value"),
            "Invalid value: 'wizard'",
        ),
        (
            json!({"messages": [{"role": "user", "content": null}]}),
            400,
            json!("messages.[0].content"),
            json!(null),
            "Invalid value for 'content'",
        ),
        (
            json!({"messages": [{"role": "tool", "tool_call_id": "call_1", "content": "4"}]}),
            400,
            json!("messages.[0].role"),
            json!(null),
            "Invalid parameter: messages with role 'tool' must be a response",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call]}]}),
            400,
            json!("messages"),
            json!(null),
            "An assistant message with 'tool_calls' must be followed",
        ),
    ] {
        let answer = post(&sim, "/v1/chat/completions", &with(good.clone(), changes.clone())).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["param"], &error["code"]), (status, &param, &code), "{changes}");
        assert!(error["message"].as_str().unwrap().starts_with(part), "{changes}: {error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
}

#[tokio::test]
async fn anthropic_requests_are_checked() {
    let sim = simulator().await;
    let good = json!({"model": "claude-sim", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(post(&sim, "/v1/messages", &good).await.status, 200);
    let call =
        json!({"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]});
    let result =
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "4"}]});
    let marked = json!({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}});
    for (changes, status, kind, part) in [
        (json!({"max_tokens": "REMOVED"}), 400, "invalid_request_error", "max_tokens: Field required"),
        (json!({"max_tokens": 0}), 400, "invalid_request_error", "max_tokens: Input should be greater"),
        (json!({"messages": "REMOVED"}), 400, "invalid_request_error", "messages: Field required"),
        (json!({"messages": []}), 400, "invalid_request_error", "messages: at least one message is required"),
        (json!({"model": "REMOVED"}), 400, "invalid_request_error", "model: Field required"),
        (json!({"model": "missing-model"}), 404, "not_found_error", "model: missing-model"),
        (json!({"temperature": 1.5}), 400, "invalid_request_error", "temperature: range: 0..1"),
        (json!({"stop_sequences": [" "]}), 400, "invalid_request_error", "stop_sequences: each stop sequence"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 10}}),
            400,
            "invalid_request_error",
            "thinking.enabled.budget_tokens",
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}),
            400,
            "invalid_request_error",
            "`max_tokens` must be greater",
        ),
        (
            json!({"messages": [{"role": "system", "content": "x"}]}),
            400,
            "invalid_request_error",
            "messages: Unexpected role \"system\"",
        ),
        (
            json!({"messages": [{"role": "wizard", "content": "x"}]}),
            400,
            "invalid_request_error",
            "messages.0.role: Input should be",
        ),
        (json!({"messages": [result]}), 400, "invalid_request_error", "messages.0.content.0: unexpected `tool_use_id`"),
        (
            json!({"messages": [{"role": "user", "content": "x"}, call, {"role": "user", "content": "y"}]}),
            400,
            "invalid_request_error",
            "messages.1: `tool_use` ids were found without `tool_result` blocks",
        ),
        (
            json!({"tools": [{"name": "f", "input_schema": true}]}),
            400,
            "invalid_request_error",
            "tools.0.custom.input_schema",
        ),
        (
            json!({"tools": [{"name": "a.b", "input_schema": {"type": "object"}}]}),
            400,
            "invalid_request_error",
            "tools.0.custom.name: String should match pattern",
        ),
        (
            json!({"messages": [{"role": "user", "content": [marked, marked, marked, marked, marked]}]}),
            400,
            "invalid_request_error",
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        ),
        (
            json!({"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000},
                "messages": [{"role": "user", "content": "x"}, call, result]}),
            400,
            "invalid_request_error",
            "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`",
        ),
    ] {
        let answer = post(&sim, "/v1/messages", &with(good.clone(), changes.clone())).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, error["type"].as_str()), (status, Some(kind)), "{changes}");
        assert!(error["message"].as_str().unwrap().starts_with(part), "{changes}: {error}");
    }
}

#[tokio::test]
async fn unknown_fields_pass_unless_told_otherwise() {
    let config = simulator::Config { strict_fields: true, ..simulator::Config::default() };
    let (lenient, strict) = (simulator().await, simulator_with(config).await);
    let openai = json!({"model": "gpt-sim", "messages": [{"role": "user", "content": "hi"}], "routing": {}});
    let anthropic =
        json!({"model": "claude-sim", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], "routing": {}});
    for (path, body, message) in [
        ("/v1/chat/completions", openai, "Unrecognized request argument supplied: routing"),
        ("/v1/messages", anthropic, "routing: Extra inputs are not permitted"),
    ] {
        assert_eq!(post(&lenient, path, &body).await.status, 200);
        let refused = post(&strict, path, &body).await;
        assert_eq!((refused.status, refused.json()["error"]["message"].as_str()), (400, Some(message)));
    }
}

/// Puts something else in place of one random node.
fn damaged(body: &Value, rng: &mut fastrand::Rng) -> Value {
    fn paths(value: &Value, at: &str, into: &mut Vec<String>) {
        into.push(at.to_owned());
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| paths(value, &format!("{at}/{name}"), into))
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, value)| paths(value, &format!("{at}/{index}"), into));
            }
            _ => {}
        }
    }
    let (mut body, mut all) = (body.clone(), Vec::new());
    paths(&body, "", &mut all);
    let others = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(18_446_744_073_709_551_615_u64),
        json!(""),
        json!("é🌊"),
        json!([]),
        json!([[{}]]),
        json!({}),
        json!({"type": "object", "$ref": "#"}),
    ];
    let path = &all[rng.usize(..all.len())];
    *body.pointer_mut(path).unwrap() = others[rng.usize(..others.len())].clone();
    body
}

#[tokio::test]
async fn damaged_requests_are_answered_or_refused() {
    let sim = simulator().await;
    let schema = json!({"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "minLength": 2}, "days": {"type": "array", "items": {"enum": ["one", 2]}},
        "n": {"anyOf": [{"type": "integer", "minimum": 3, "multipleOf": 2}]}}});
    let openai = json!({"model": "gpt-sim", "stream": false, "n": 2, "temperature": 1, "max_tokens": 50, "stop": ["x"],
        "reasoning_effort": "low", "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
        "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": schema}}],
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Rome"}]},
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "18"}, {"role": "user", "content": "weather in Paris and Oslo?"}]});
    let anthropic = json!({"model": "claude-sim", "stream": true, "max_tokens": 3000, "temperature": 1, "stop_sequences": ["x"],
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"format": {"schema": schema}},
        "tools": [{"name": "get_weather", "input_schema": schema}], "tool_choice": {"type": "any"},
        "messages": [{"role": "user", "content": "Rome"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "18"}]}]}]});
    let embeddings = json!({"model": "e", "input": ["a", [1, 2]], "dimensions": 8, "encoding_format": "base64"});
    let mut rng = fastrand::Rng::with_seed(2026);
    for (path, body) in [("/v1/chat/completions", openai), ("/v1/messages", anthropic), ("/v1/embeddings", embeddings)]
    {
        assert_eq!(post(&sim, path, &body).await.status, 200, "{path}");
        for _ in 0..300 {
            let damaged = damaged(&body, &mut rng);
            let status = post(&sim, path, &damaged).await.status;
            assert!(matches!(status, 200 | 400 | 404), "{status}: {damaged}");
        }
    }
}
