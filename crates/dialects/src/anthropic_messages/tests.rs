use std::collections::HashSet;
use std::sync::Arc;

use gateway_core::Extra;
use gateway_core::chat::*;
use gateway_core::error::{ErrorKind, FailureClass, GatewayError, UpstreamError};
use gateway_core::event::{Block, Delta, StreamEvent};
use gateway_core::usage::Usage;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::AnthropicMessages;
use crate::codec::*;
use crate::sse::{SseDecoder, SseEvent};

// ---- tools of these tests ---------------------------------------------------------------------------------------------

const TARGET: EncodeTarget<'_> = EncodeTarget {
    model: "claude-sonnet-4-5",
    max_output_tokens: Some(64_000),
    max_tokens_field: "max_tokens",
    stream_options: true,
    cache_control: false,
};

fn answer() -> Answer {
    Answer {
        request_id: "req-1".into(),
        provider: "anthropic".into(),
        model: "claude-sonnet-4-5".into(),
        created: 0,
        timestamp: String::new(),
        latency_ms: 0.0,
        include_usage: true,
        metadata: None,
        price: Arc::new(|_| None),
        cache_key: None,
    }
}

fn decode(body: &Value) -> ChatRequest {
    AnthropicMessages.decode_request(body.to_string().as_bytes()).unwrap()
}

fn refused(change: impl FnOnce(&mut Value)) -> GatewayError {
    let mut body = json!({"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]});
    change(&mut body);
    AnthropicMessages.decode_request(body.to_string().as_bytes()).unwrap_err()
}

struct Asked {
    body: Value,
    dropped: Vec<String>,
    approximated: Vec<String>,
    added: Vec<String>,
}

fn encode(request: &ChatRequest) -> Asked {
    encode_for(request, &TARGET)
}

fn encode_for(request: &ChatRequest, target: &EncodeTarget<'_>) -> Asked {
    let Encoded { body, dropped, approximated, added, .. } = AnthropicMessages.encode_request(request, target);
    Asked { body: serde_json::from_slice(&body).unwrap(), dropped, approximated, added }
}

fn place(message: u32, item: Item) -> Place {
    Place { message: Some(message), item }
}

fn text(text: &str) -> PartBody {
    PartBody::Text(text.into())
}

fn call(id: &str, arguments: &str) -> PartBody {
    PartBody::ToolCall(ToolCall { id: id.into(), name: "look".into(), arguments: arguments.into() })
}

fn result(id: &str, said: &str) -> PartBody {
    let content = vec![Part::new(text(said), place(0, Item::Whole))];
    PartBody::ToolResult { id: id.into(), content, is_error: false }
}

fn turns(turns: Vec<(Role, Vec<PartBody>)>) -> ChatRequest {
    let turn = |(n, (role, parts)): (u32, (Role, Vec<PartBody>))| Turn {
        role,
        parts: parts.into_iter().map(|body| Part::new(body, place(n, Item::Whole))).collect(),
        name: None,
        index: Some(n),
        extra: Extra::new(),
    };
    ChatRequest { turns: (0..).zip(turns).map(turn).collect(), ..ChatRequest::default() }
}

fn hello() -> ChatRequest {
    turns(vec![(Role::User, vec![text("Hi")])])
}

fn with(change: impl FnOnce(&mut ChatRequest)) -> Asked {
    let mut request = hello();
    change(&mut request);
    encode(&request)
}

fn function(name: &str, schema: Value) -> Tool {
    let body = ToolBody::Function { name: name.into(), description: None, schema: Some(schema), strict: None };
    Tool { body, extra: Extra::new() }
}

fn effort(effort: &str) -> Option<Reasoning> {
    Some(Reasoning { effort: Some(effort.into()), ..Reasoning::default() })
}

/// Events and roles of a stream given as its data lines, and how it ended.
fn read(lines: &[&str]) -> (Vec<StreamEvent>, Vec<EventRole>, Ending) {
    let (mut decoder, mut out, mut roles) = (AnthropicMessages.stream_decoder(), Vec::new(), Vec::new());
    for line in lines {
        roles.push(decoder.push(&SseEvent { name: "whatever", data: (*line).into() }, &mut out));
    }
    let ending = decoder.finish(&mut out);
    (out, roles, ending)
}

/// The same from the bytes of a stream, which arrive in pieces.
fn read_bytes(pieces: &[&[u8]]) -> (Vec<StreamEvent>, Ending) {
    let (mut sse, mut decoder, mut out) = (SseDecoder::new(), AnthropicMessages.stream_decoder(), Vec::new());
    for piece in pieces {
        sse.push(bytes::Bytes::copy_from_slice(piece));
        while let Some(frame) = sse.next_frame().unwrap() {
            if let Some(event) = frame.event() {
                decoder.push(&event, &mut out);
            }
        }
    }
    let ending = decoder.finish(&mut out);
    (out, ending)
}

fn write(events: impl IntoIterator<Item = StreamEvent>) -> Vec<Value> {
    let (mut encoder, mut out) = (AnthropicMessages.stream_encoder(answer()), Vec::new());
    events.into_iter().for_each(|event| encoder.push(event, &mut out));
    encoder.finish(&mut out);
    data_of(&out)
}

fn data_of(stream: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stream).unwrap();
    text.split_terminator("\n\n")
        .filter(|event| !event.starts_with(':'))
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(name.strip_prefix("event: "), data["type"].as_str(), "{event}");
            data
        })
        .collect()
}

fn message(content: Value) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": content,
        "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 2}})
}

fn decode_answer(body: &Value) -> ChatResponse {
    AnthropicMessages.decode_response(body.to_string().as_bytes()).unwrap()
}

fn encode_answer(parts: Vec<PartBody>, finish: FinishReason) -> Value {
    let parts = parts.into_iter().map(|body| Part::new(body, place(0, Item::Whole))).collect();
    let response = ChatResponse {
        id: "chatcmpl-1".into(),
        model: "gpt".into(),
        created: None,
        parts,
        finish: Some(finish),
        usage: Some(Usage { input: 10, cache_read: 4, cache_write: 1, output: 7, reasoning: 3 }),
        dropped: Vec::new(),
    };
    serde_json::from_slice(&AnthropicMessages.encode_response(response, &answer())).unwrap()
}

// ---- requests from clients --------------------------------------------------------------------------------------------

#[test]
fn a_request_is_read_without_loss() {
    let spelled: Value = serde_json::from_str(r#"{"b": 1.0, "a": [1.10]}"#).unwrap();
    let request = decode(&json!({
        "model": "claude", "max_tokens": 100, "stream": true, "temperature": 0.5, "top_p": 0.9, "top_k": 4,
        "stop_sequences": ["X"], "metadata": {"user_id": "u", "more": 1}, "service_tier": "auto",
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"},
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}, "new": 2},
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "tools": [
            {"name": "look", "description": "d", "input_schema": {"type": "object"}, "strict": true, "defer_loading": true},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
        ],
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "tool_use", "id": "t1", "name": "look", "input": spelled, "caller": {"type": "direct"}},
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": [
                    {"type": "text", "text": "r"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                ]},
                {"type": "document", "title": "T", "context": "C", "citations": {"enabled": true},
                    "source": {"type": "text", "media_type": "text/plain", "data": "text"}},
                {"type": "document", "source": {"type": "content", "content": "blocks"}},
            ]},
        ],
    }));
    assert_eq!(request.turns[0].index, None);
    assert_eq!(request.turns[0].parts[0].extra["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(request.params.max_tokens, Some(100));
    assert_eq!(request.params.temperature.as_ref().unwrap().to_string(), "0.5");
    assert_eq!((request.params.top_k, request.params.stop.len()), (Some(4), 1));
    assert_eq!(request.user.as_deref(), Some("u"));
    let reasoning = request.reasoning.as_ref().unwrap();
    assert_eq!(
        (reasoning.effort.as_deref(), reasoning.budget_tokens, reasoning.enabled),
        (Some("high"), Some(2000), Some(true))
    );
    assert_eq!(reasoning.extra["display"], "omitted");
    assert!(matches!(request.output, Some(OutputFormat::JsonSchema { .. })));
    assert_eq!((request.tool_choice.as_ref(), request.parallel_tool_calls), (Some(&ToolChoice::Required), Some(false)));
    assert_eq!(request.tools[0].extra["defer_loading"], true);
    assert!(matches!(&request.tools[1].body, ToolBody::Foreign { kind, value }
        if kind == "web_search_20250305" && value["max_uses"] == 2));
    for (key, value) in
        [("service_tier", json!("auto")), ("metadata", json!({"more": 1})), ("output_config", json!({"new": 2}))]
    {
        assert_eq!(request.extra[key], value);
    }
    let assistant = &request.turns[2].parts;
    assert!(matches!(&assistant[2].body, PartBody::ToolCall(call) if call.arguments == r#"{"b":1.0,"a":[1.10]}"#));
    assert_eq!(assistant[2].extra["caller"], json!({"type": "direct"}));
    assert!(matches!(&assistant[3].body, PartBody::Foreign { kind, .. } if kind == "server_tool_use"));
    let user = &request.turns[3].parts;
    let PartBody::ToolResult { content, is_error: true, .. } = &user[0].body else { panic!("{user:?}") };
    assert_eq!(content[1].place.to_string(), "messages[2].content[0].content[1]");
    assert!(matches!(&user[1].body, PartBody::File { media: Media::Text(text), name: Some(name) }
        if text == "text" && name == "T"));
    assert_eq!((&user[1].extra["context"], &user[1].extra["citations"]), (&json!("C"), &json!({"enabled": true})));
    assert!(matches!(&user[2].body, PartBody::Foreign { kind, value }
        if kind == "document" && value["source"]["content"] == "blocks"));
}

#[test]
fn an_error_names_the_field_and_what_was_expected() {
    let content = |blocks: Value| move |body: &mut Value| body["messages"][0]["content"] = blocks;
    let cases: Vec<(GatewayError, &str, &str)> = vec![
        (refused(|body| body["max_tokens"] = Value::Null), "max_tokens", "max_tokens is required"),
        (refused(|body| body["max_tokens"] = json!("9")), "max_tokens", "whole number"),
        (refused(|body| body["messages"] = json!([])), "messages", "at least one"),
        (refused(|body| body["messages"][0]["role"] = json!("tool")), "messages[0].role", "user or assistant"),
        (refused(content(json!(5))), "messages[0].content", "a string or a list of blocks, got a number"),
        (refused(content(json!([{"text": "x"}]))), "messages[0].content[0].type", "is required"),
        (
            refused(content(
                json!([{"type": "text", "text": ""}, {"type": "image", "source": {"type": "base64", "data": ""}}]),
            )),
            "messages[0].content[1].source.media_type",
            "is required",
        ),
        (
            refused(content(json!([{"type": "tool_use", "id": "a", "name": "b", "input": "{}"}]))),
            "messages[0].content[0].input",
            "an object",
        ),
        (refused(|body| body["tools"] = json!([{"input_schema": {}}])), "tools[0].name", "is required"),
        (
            refused(|body| body["thinking"] = json!({"type": "on"})),
            "thinking.type",
            "enabled, disabled, adaptive or between_tools",
        ),
        (refused(|body| body["stop_sequences"] = json!(["a", 1])), "stop_sequences[1]", "a string"),
    ];
    for (error, field, message) in cases {
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
        assert_eq!(error.field.as_deref(), Some(field));
        assert!(error.message.contains(message), "{}", error.message);
    }
}

// ---- requests to providers --------------------------------------------------------------------------------------------

#[test]
fn system_turns_are_hoisted_in_order_and_neighbours_are_joined() {
    let asked = encode(&turns(vec![
        (Role::System, vec![text("a")]),
        (Role::User, vec![text("1")]),
        (Role::Developer, vec![text("b"), text(" ")]),
        (Role::User, vec![text("2"), text("")]),
        (Role::Assistant, vec![text("3")]),
    ]));
    assert_eq!(asked.body["system"], json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]));
    assert_eq!(
        asked.body["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]},
            {"role": "assistant", "content": "3"},
        ])
    );
    assert_eq!(asked.added, ["max_tokens"]);
    assert_eq!(asked.body["max_tokens"], 64_000);
}

#[test]
fn tool_results_come_first_and_answer_the_calls_before() {
    let asked = encode(&turns(vec![
        (Role::User, vec![text("go")]),
        (Role::Assistant, vec![text("ok"), call("a.1", "{\"x\":1}"), call("b", ""), call("b", "{\"cut")]),
        (Role::User, vec![text("wait")]),
        (Role::Tool, vec![result("b", "second")]),
        (Role::Tool, vec![result("a.1", "first")]),
        (Role::Tool, vec![result("never", "orphan")]),
        (Role::Assistant, vec![call("b", "[]")]),
    ]));
    let messages = &asked.body["messages"];
    let calls = messages[1]["content"].as_array().unwrap();
    assert_eq!(calls[1], json!({"type": "tool_use", "id": "a_1", "name": "look", "input": {"x": 1}}));
    assert_eq!(calls[2], json!({"type": "tool_use", "id": "b", "name": "look", "input": {}}));
    assert_eq!(calls[3], json!({"type": "tool_use", "id": "b_2", "name": "look", "input": {"_raw": "{\"cut"}}));
    assert_eq!(
        messages[2]["content"],
        json!([
            {"type": "tool_result", "tool_use_id": "b", "content": "second"},
            {"type": "tool_result", "tool_use_id": "a_1", "content": "first"},
            {"type": "tool_result", "tool_use_id": "b_2", "content": "(no result)"},
            {"type": "text", "text": "wait"},
            {"type": "text", "text": "orphan"},
        ])
    );
    assert_eq!(messages[4]["content"][0]["tool_use_id"], "b_3");
    assert_eq!(
        asked.dropped,
        ["messages[1].content.input", "messages[5].content.tool_result", "messages[6].content.input"]
            .map(|name| name.replace(".content", ""))
    );
    assert_eq!(asked.added, ["tool_result", "tools", "max_tokens"]);
    assert_eq!(asked.body["tool_choice"], json!({"type": "none"}));
}

#[test]
fn a_conversation_that_the_assistant_opens_gets_a_user_before_it() {
    let asked = encode(&turns(vec![(Role::Assistant, vec![text("Hello \n")])]));
    assert_eq!(asked.body["messages"][0]["role"], "user");
    assert_eq!(asked.body["messages"][1], json!({"role": "assistant", "content": "Hello"}));
    assert!(asked.added.contains(&"messages".to_owned()));
    let asked = encode(&turns(vec![(Role::System, vec![text("Only this.")])]));
    assert_eq!(asked.body["messages"].as_array().unwrap().len(), 1);
    assert!(asked.added.contains(&"messages".to_owned()));
}

#[test]
fn what_cannot_be_said_is_named() {
    let asked = with(|request| {
        request.params.seed = Some(1.into());
        request.params.presence_penalty = serde_json::Number::from_f64(0.5);
        request.params.frequency_penalty = Some(0.into());
        request.params.temperature = serde_json::Number::from_f64(1.5);
        request.params.stop = vec!["\n".into(), "END".into()];
        request.output = Some(OutputFormat::JsonObject);
        request.user = Some("someone@example.org".into());
        request.turns[0].name = Some("Ann".into());
        request.turns[0].parts.push(Part::new(
            PartBody::Audio(Media::Base64 { media_type: "audio/wav".into(), data: "AA==".into() }),
            place(0, Item::Content(1)),
        ));
        request.extra = json!({"n": 1, "store": false, "logprobs": false, "metadata": {}, "logit_bias": {"5": 1},
            "stream_options": {"include_usage": true}, "service_tier": "default", "n2": null})
        .as_object()
        .unwrap()
        .clone();
        request.extra.insert("top_logprobs".into(), json!(3));
    });
    let mut dropped = asked.dropped.clone();
    dropped.sort();
    assert_eq!(
        dropped,
        [
            "logit_bias",
            "messages[0].content[1].input_audio",
            "messages[0].name",
            "presence_penalty",
            "response_format",
            "seed",
            "stop",
            "top_logprobs",
            "user"
        ]
    );
    assert_eq!(asked.approximated, ["temperature", "metadata"]);
    assert_eq!(asked.body["temperature"], 1);
    assert_eq!(asked.body["stop_sequences"], json!(["END"]));
    assert_eq!(asked.body["service_tier"], "standard_only");
    assert_eq!(asked.body["messages"], json!([{"role": "user", "content": "Hi"}]));
}

#[test]
fn cache_marks_survive_and_those_inside_a_result_move_to_it() {
    let mark = json!({"type": "ephemeral"});
    let mut request = turns(vec![
        (Role::User, vec![text("Hi")]),
        (Role::Assistant, vec![call("a", "{}")]),
        (Role::Tool, vec![result("a", "r")]),
    ]);
    request.turns[0].parts[0].extra.insert("cache_control".into(), mark.clone());
    if let PartBody::ToolResult { content, .. } = &mut request.turns[2].parts[0].body {
        content[0].extra.insert("cache_control".into(), mark.clone());
    }
    let asked = encode(&request);
    assert_eq!(asked.body["messages"][0]["content"][0]["cache_control"], mark);
    assert_eq!(
        asked.body["messages"][2]["content"][0],
        json!({"type": "tool_result", "tool_use_id": "a", "cache_control": mark, "content": "r"})
    );
    assert!(asked.dropped.is_empty(), "{:?}", asked.dropped);
}

#[test]
fn media_take_the_shape_that_the_api_knows_or_are_named() {
    let base64 = |media_type: &str, data: &str| Media::Base64 { media_type: media_type.into(), data: data.into() };
    let file = |media| PartBody::File { media, name: Some("f".into()) };
    let cases = [
        (
            PartBody::Image(base64("image/JPG", "AA==")),
            json!({"type": "base64", "media_type": "image/jpeg", "data": "AA=="}),
        ),
        (PartBody::Image(Media::Url("https://x/y.png".into())), json!({"type": "url", "url": "https://x/y.png"})),
        (
            file(base64("application/pdf", "AA==")),
            json!({"type": "base64", "media_type": "application/pdf", "data": "AA=="}),
        ),
        (file(base64("text/csv", "YSxiCg==")), json!({"type": "text", "media_type": "text/plain", "data": "a,b\n"})),
        (file(Media::FileId("file_1".into())), json!({"type": "file", "file_id": "file_1"})),
        (PartBody::Image(base64("image/tiff", "AA==")), Value::Null),
        (file(Media::FileId("file-1".into())), Value::Null),
        (file(base64("application/zip", "AA==")), Value::Null),
    ];
    for (body, source) in cases {
        let asked = encode(&turns(vec![(Role::User, vec![text("see"), body.clone()])]));
        if source.is_null() {
            assert_eq!(asked.body["messages"][0]["content"], "see");
            assert_eq!(asked.dropped.len(), 1, "{body:?}");
        } else {
            assert_eq!(asked.body["messages"][0]["content"][1]["source"], source);
            assert!(asked.dropped.is_empty(), "{body:?}");
        }
    }
}

#[test]
fn thinking_keeps_its_room_and_the_rules_that_come_with_it() {
    let asked = with(|request| request.reasoning = effort("medium"));
    assert_eq!(asked.body["thinking"], json!({"type": "enabled", "budget_tokens": 8192}));
    let unknown = EncodeTarget { max_output_tokens: None, ..TARGET };
    let asked = encode_for(&ChatRequest { reasoning: effort("high"), ..hello() }, &unknown);
    assert_eq!((&asked.body["max_tokens"], &asked.body["thinking"]["budget_tokens"]), (&json!(32_768), &json!(24_576)));
    let small = |max_tokens, effort: Option<Reasoning>| {
        with(|request| {
            request.params.max_tokens = Some(max_tokens);
            request.reasoning = effort;
        })
    };
    assert_eq!(small(4000, effort("high")).body["thinking"]["budget_tokens"], 2000);
    let asked = small(1000, effort("high"));
    assert_eq!((&asked.body["thinking"], asked.dropped), (&Value::Null, vec!["reasoning_effort".to_owned()]));
    assert_eq!(small(1000, effort("none")).body["thinking"], json!({"type": "disabled"}));
    let asked = with(|request| {
        request.reasoning = effort("low");
        request.params.temperature = serde_json::Number::from_f64(0.2);
        request.params.top_p = serde_json::Number::from_f64(0.5);
        request.params.top_k = Some(3);
    });
    assert_eq!(asked.dropped, ["temperature", "top_p", "top_k"]);
    let asked = with(|request| {
        request.reasoning = effort("low");
        request.tools = vec![function("f", json!({"type": "object"}))];
        request.tool_choice = Some(ToolChoice::Required);
    });
    assert_eq!(
        (asked.dropped, &asked.body["tool_choice"]["type"]),
        (vec!["reasoning_effort".to_owned()], &json!("any"))
    );
}

#[test]
fn a_tool_loop_without_its_thoughts_cannot_think() {
    let mut request = turns(vec![
        (Role::User, vec![text("Hi")]),
        (Role::Assistant, vec![PartBody::Reasoning { text: "hm".into(), signature: None }, call("a", "{}")]),
        (Role::Tool, vec![result("a", "r")]),
    ]);
    request.reasoning = effort("low");
    assert_eq!(encode(&request).dropped, ["messages[1].reasoning_content", "reasoning_effort"]);
    request.turns[1].parts[0].body = PartBody::Reasoning { text: "hm".into(), signature: Some("s".into()) };
    let asked = encode(&request);
    assert_eq!(asked.body["thinking"]["type"], "enabled");
    assert_eq!(
        asked.body["messages"][1]["content"][0],
        json!({"type": "thinking", "thinking": "hm", "signature": "s"})
    );
}

#[test]
fn tools_and_their_choice_are_made_valid() {
    let asked = with(|request| {
        request.tools = vec![
            function("get weather", json!({"properties": {"a": {"type": "string"}}, "anyOf": []})),
            function("f", json!({"type": "object", "properties": {}, "additionalProperties": false})),
            Tool { body: ToolBody::Foreign { kind: "custom".into(), value: json!({}) }, extra: Extra::new() },
        ];
        for (tool, wanted) in request.tools.iter_mut().zip([Some(true), Some(true)]) {
            if let ToolBody::Function { strict, .. } = &mut tool.body {
                *strict = wanted;
            }
        }
        request.tool_choice = Some(ToolChoice::Function("get weather".into()));
        request.parallel_tool_calls = Some(false);
    });
    assert_eq!(asked.body["tools"][0]["name"], "get_weather");
    assert_eq!(asked.body["tools"][0]["input_schema"]["type"], "object");
    assert_eq!(asked.body["tools"][1]["strict"], true);
    assert_eq!(
        asked.body["tool_choice"],
        json!({"type": "tool", "name": "get_weather", "disable_parallel_tool_use": true})
    );
    assert_eq!(asked.approximated, ["tools[0].name"]);
    assert_eq!(asked.dropped, ["tools[0].parameters.anyOf", "tools[0].strict", "tools[2].custom"]);
    let asked = with(|request| {
        request.tool_choice = Some(ToolChoice::Required);
        request.parallel_tool_calls = Some(false);
    });
    assert_eq!((&asked.body["tool_choice"], asked.dropped.len()), (&Value::Null, 2));
}

#[test]
fn a_schema_for_answers_is_closed_and_its_bounds_become_words() {
    let schema = json!({"type": "object", "properties": {
        "n": {"type": "integer", "minimum": 1, "description": "count"},
        "list": {"type": "array", "items": {"type": "object", "properties": {}}},
    }});
    let asked = with(|request| {
        request.output =
            Some(OutputFormat::JsonSchema { name: Some("x".into()), description: None, schema, strict: Some(true) });
    });
    let format = &asked.body["output_config"]["format"];
    assert_eq!(format["type"], "json_schema");
    assert_eq!(format["schema"]["additionalProperties"], false);
    assert_eq!(format["schema"]["properties"]["list"]["items"]["additionalProperties"], false);
    assert_eq!(format["schema"]["properties"]["n"], json!({"type": "integer", "description": "count (minimum: 1)"}));
    let named = ["response_format.json_schema.schema", "response_format.json_schema.strict"];
    assert_eq!((asked.dropped, asked.approximated), (vec![], named.map(str::to_owned).to_vec()));
}

// ---- answers ----------------------------------------------------------------------------------------------------------

#[test]
fn a_whole_answer_is_read_in_order_and_what_has_no_word_is_named() {
    let mut body = message(json!([
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "a", "citations": [{"type": "char_location"}]},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "tool_use", "id": "t", "name": "n", "input": {}},
    ]));
    body["usage"] = json!({"input_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 5,
        "output_tokens": 6, "output_tokens_details": {"thinking_tokens": 2}, "cache_creation": {}});
    body["container"] = json!({"id": "c"});
    let response = decode_answer(&body);
    assert_eq!(response.usage, Some(Usage { input: 12, cache_read: 4, cache_write: 5, output: 6, reasoning: 2 }));
    let for_openai = crate::openai_chat::OpenAiChat.losses(&response);
    assert_eq!(for_openai, ["signature", "citations", "server_tool_use", "container"]);
    assert_eq!(AnthropicMessages.losses(&response), ["container"]);
    assert!(matches!(&response.parts[3].body, PartBody::ToolCall(call) if call.arguments == "{}"));
}

#[test]
fn every_stop_reason_has_its_word_and_comes_back() {
    for (word, finish) in [
        ("end_turn", FinishReason::STOP),
        ("stop_sequence", FinishReason::Stop { sequence: Some("END".into()) }),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::ContextWindow),
        ("tool_use", FinishReason::ToolCalls),
        ("refusal", FinishReason::ContentFilter),
        ("pause_turn", FinishReason::Pause),
    ] {
        let mut body = message(json!([]));
        body["stop_reason"] = json!(word);
        body["stop_sequence"] = if word == "stop_sequence" { json!("END") } else { Value::Null };
        assert_eq!(decode_answer(&body).finish, Some(finish.clone()));
        let encoded = encode_answer(vec![], finish);
        assert_eq!(
            (&encoded["stop_reason"], &encoded["stop_sequence"]),
            (&body["stop_reason"], &body["stop_sequence"])
        );
    }
    let mut body = message(json!([]));
    body["stop_reason"] = json!("tired");
    assert_eq!(decode_answer(&body).finish, Some(FinishReason::Other("tired".into())));
    assert_eq!(encode_answer(vec![], FinishReason::Other("tired".into()))["stop_reason"], "end_turn");
}

#[test]
fn a_vendor_that_says_stop_beside_tool_calls_or_a_refusal_means_them() {
    assert_eq!(encode_answer(vec![call("a", "{}")], FinishReason::STOP)["stop_reason"], "tool_use");
    assert_eq!(encode_answer(vec![call("a", "{\"cu")], FinishReason::Length)["stop_reason"], "max_tokens");
    let refusal = encode_answer(vec![PartBody::Refusal("No.".into())], FinishReason::STOP);
    assert_eq!(refusal["stop_reason"], "refusal");
    assert_eq!(refusal["content"], json!([{"type": "text", "text": "No."}]));
}

#[test]
fn an_answer_is_written_as_official_sdks_need_it() {
    let thoughts = PartBody::Reasoning { text: "hm".into(), signature: None };
    let encoded = encode_answer(vec![thoughts, text(""), call("", "{\"cut"), call("x", "")], FinishReason::Length);
    assert_eq!(encoded["id"], "msg_chatcmpl-1");
    assert_eq!(
        (&encoded["type"], &encoded["role"], &encoded["model"]),
        (&json!("message"), &json!("assistant"), &json!("gpt"))
    );
    assert_eq!(encoded["content"][0], json!({"type": "thinking", "thinking": "hm", "signature": ""}));
    assert_eq!(encoded["content"][1]["input"], json!({"_raw": "{\"cut"}));
    assert!(encoded["content"][1]["id"].as_str().unwrap().starts_with("toolu_"));
    assert_eq!(encoded["content"][2]["input"], json!({}));
    assert_eq!(
        encoded["usage"],
        json!({"input_tokens": 5, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 4, "output_tokens": 7,
            "output_tokens_details": {"thinking_tokens": 3}})
    );
}

#[test]
fn an_error_with_status_200_and_an_answer_that_is_none_are_errors() {
    let decode = |body: &str| AnthropicMessages.decode_response(body.as_bytes()).unwrap_err();
    let error = decode(r#"{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}"#);
    assert_eq!((error.status, error.message.as_str(), error.class()), (529, "Overloaded", FailureClass::Overload));
    assert_eq!(decode(r#"{"error": {"message": "no", "code": 503}}"#).status, 503);
    for body in
        ["", "<html>hi</html>", "[]", r#"{"choices": []}"#, r#"{"content": [{"type": 1}]}"#, r#"{"content": 1}"#]
    {
        let error = decode(body);
        assert_eq!(error.status, 502, "{body}");
        assert!(!error.message.is_empty());
    }
}

// ---- streams ----------------------------------------------------------------------------------------------------------

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","model":"claude","usage":{"input_tokens":3,"cache_read_input_tokens":10,"output_tokens":1}}}"#;
const TEXT: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const HELLO: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}    }"#;
const STOP_BLOCK: &str = r#"{"type":"content_block_stop","index":0}"#;
const END: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":3,"cache_read_input_tokens":10,"output_tokens":9}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;
const PING: &str = r#"{"type": "ping"}"#;

fn deltas(events: &[StreamEvent]) -> Vec<Delta> {
    events
        .iter()
        .filter_map(|event| if let StreamEvent::Delta(delta) = event { Some(delta.clone()) } else { None })
        .collect()
}

#[test]
fn frames_of_an_answer_are_told_from_its_content() {
    let (events, roles, ending) = read(&[START, TEXT, PING, HELLO, STOP_BLOCK, END, STOP, "[DONE]", PING]);
    use EventRole::{Content, Done, Lifecycle};
    assert_eq!(roles, [Lifecycle, Lifecycle, Lifecycle, Content, Lifecycle, Content, Done, Lifecycle, Lifecycle]);
    assert_eq!(ending, Ending::Complete);
    assert_eq!(deltas(&events), [Delta::Text("Hello".into())]);
    let usage = Usage { input: 13, cache_read: 10, output: 9, ..Usage::default() };
    assert_eq!(events[events.len() - 2..], [StreamEvent::Usage(usage), StreamEvent::Finish(FinishReason::STOP)]);
}

#[test]
fn usage_that_is_repeated_replaces_and_is_not_added() {
    let last = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}"#;
    let (events, ..) = read(&[START, END, last, STOP]);
    let expected = Usage { input: 13, cache_read: 10, output: 5, ..Usage::default() };
    let last = events.iter().rev().find(|event| matches!(event, StreamEvent::Usage(_)));
    assert_eq!(last, Some(&StreamEvent::Usage(expected)));
}

#[test]
fn a_stream_that_breaks_off_has_no_finish_even_behind_its_stop_reason() {
    let whole = [START, TEXT, HELLO, STOP_BLOCK, END, STOP];
    for length in 0..whole.len() {
        let (events, _, ending) = read(&whole[..length]);
        assert_eq!(ending, Ending::Truncated);
        assert!(!events.iter().any(|event| matches!(event, StreamEvent::Finish(_))), "after {length} events");
        let starts = events.iter().filter(|event| matches!(event, StreamEvent::BlockStart(_))).count();
        let ends = events.iter().filter(|event| matches!(event, StreamEvent::BlockEnd)).count();
        assert_eq!(starts, ends);
    }
}

#[test]
fn a_second_message_start_is_tolerated_but_a_second_answer_is_not() {
    let (events, _, ending) = read(&[START, START, TEXT, HELLO, START, STOP_BLOCK, END, STOP]);
    assert_eq!(ending, Ending::Complete);
    assert_eq!(events.iter().filter(|event| matches!(event, StreamEvent::Start { .. })).count(), 1);
    let other = START.replace("msg_1", "msg_2");
    let (_, roles, ending) = read(&[START, TEXT, HELLO, &other, STOP_BLOCK, END, STOP]);
    assert_eq!((roles[3], ending), (EventRole::Error, Ending::Truncated));
}

#[test]
fn tool_input_comes_in_pieces_or_whole_at_the_start_or_not_at_all() {
    let begin = |input: &str| {
        format!(
            r#"{{"type":"content_block_start","index":0,"content_block":{{"type":"tool_use","id":"t","name":"n","input":{input}}}}}"#
        )
    };
    let piece = |piece: &str| {
        format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"input_json_delta","partial_json":{}}}}}"#,
            json!(piece)
        )
    };
    let arguments = |lines: &[&str]| {
        let (events, roles, _) = read(&[&[START], lines, &[STOP_BLOCK, END, STOP]].concat());
        assert_eq!(roles[1], EventRole::Content);
        deltas(&events)
            .into_iter()
            .map(|delta| if let Delta::Arguments(piece) = delta { piece } else { panic!() })
            .collect::<Vec<_>>()
    };
    assert_eq!(arguments(&[&begin("{}"), &piece(""), &piece("{\"a\""), &piece(":1}")]), ["{\"a\"", ":1}"]);
    assert_eq!(arguments(&[&begin("{\"a\":1}")]), ["{\"a\":1}"]);
    assert_eq!(arguments(&[&begin("{\"a\":1}"), &piece("{\"b\":2}")]), ["{\"b\":2}"]);
    assert_eq!(arguments(&[&begin("{}"), &piece("")]), ["{}"]);
}

#[test]
fn blocks_without_deltas_hidden_thoughts_and_citations_pass() {
    let block = |index: u32, block: &str| {
        format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
    };
    let delta =
        |index: u32, delta: &str| format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#);
    let (events, roles, ending) = read(&[
        START,
        &block(0, r#"{"type":"redacted_thinking","data":"x"}"#),
        STOP_BLOCK,
        &block(1, r#"{"type":"thinking","thinking":"","signature":""}"#),
        &delta(1, r#"{"type":"thinking_delta","thinking":""}"#),
        &delta(1, r#"{"type":"signature_delta","signature":"s"}"#),
        STOP_BLOCK,
        &block(2, r#"{"type":"web_search_tool_result","tool_use_id":"w","content":[]}"#),
        STOP_BLOCK,
        &block(3, r#"{"type":"text","text":"","citations":null}"#),
        &delta(3, r#"{"type":"citations_delta","citation":{"type":"char_location"}}"#),
        &delta(3, r#"{"type":"newer_delta","x":1}"#),
        STOP_BLOCK,
        r#"{"type":"newer_event"}"#,
        END,
        STOP,
    ]);
    assert_eq!(ending, Ending::Complete);
    assert_eq!(roles[4], EventRole::Lifecycle);
    assert_eq!(deltas(&events), [Delta::Signature("s".into()), Delta::Citation(json!({"type": "char_location"}))]);
    assert!(events.contains(&StreamEvent::BlockStart(Block::RedactedReasoning("x".into()))));
    assert!(events.iter().any(|event| matches!(event, StreamEvent::BlockStart(Block::Foreign { kind, value })
        if kind == "web_search_tool_result" && value["tool_use_id"] == "w")));
}

#[test]
fn an_error_in_the_stream_has_the_status_that_its_type_means() {
    for (kind, status, class) in [
        ("overloaded_error", 529, FailureClass::Overload),
        ("rate_limit_error", 429, FailureClass::Quota),
        ("api_error", 500, FailureClass::ProviderFault),
        ("invalid_request_error", 400, FailureClass::ClientFault),
        ("new_error", 500, FailureClass::ProviderFault),
    ] {
        let line =
            format!(r#"{{"type":"error","error":{{"details":null,"type":"{kind}","message":"Oh"}},"request_id":"r"}}"#);
        let (events, roles, ending) = read(&[START, &line, END, STOP]);
        assert_eq!((roles[1], ending), (EventRole::Error, Ending::Truncated));
        let [_, StreamEvent::Error(error)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((error.status, error.message.as_str(), error.class()), (status, "Oh", class));
    }
    for line in ["{", "5", r#"{"type":"error","message":"flat"}"#, r#"{"error":{"message":"untyped"}}"#] {
        assert_eq!(read(&[START, line]).1[1], EventRole::Error, "{line}");
    }
}

#[test]
fn a_stream_is_written_in_the_order_that_official_sdks_demand() {
    let usage = Usage { input: 9, output: 4, ..Usage::default() };
    let events = write([
        StreamEvent::Start { id: "chatcmpl-1".into(), model: "gpt".into(), created: None, usage: None },
        StreamEvent::BlockStart(Block::Text),
        StreamEvent::BlockEnd,
        StreamEvent::BlockStart(Block::Reasoning),
        StreamEvent::Delta(Delta::Reasoning("hm".into())),
        StreamEvent::BlockEnd,
        StreamEvent::BlockStart(Block::ToolCall { id: "a".into(), name: "look".into() }),
        StreamEvent::Delta(Delta::Arguments("{\"x\"".into())),
        StreamEvent::Delta(Delta::Arguments(":1}".into())),
        StreamEvent::BlockEnd,
        StreamEvent::BlockStart(Block::ToolCall { id: "b".into(), name: "look".into() }),
        StreamEvent::Delta(Delta::Arguments("null".into())),
        StreamEvent::BlockEnd,
        StreamEvent::Finish(FinishReason::STOP),
        StreamEvent::Usage(usage),
    ]);
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let block = ["content_block_start", "content_block_delta", "content_block_stop"];
    let two = ["content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"];
    assert_eq!(kinds, [&["message_start"][..], &block, &two, &block, &["message_delta", "message_stop"]].concat());
    assert_eq!(events[1]["content_block"], json!({"type": "thinking", "thinking": "", "signature": ""}));
    assert_eq!(events[4]["content_block"]["input"], json!({}));
    assert_eq!(events[9]["delta"]["partial_json"], "{}");
    let last = &events[events.len() - 2];
    assert_eq!((&last["delta"]["stop_reason"], &last["usage"]["input_tokens"]), (&json!("tool_use"), &json!(9)));
}

#[test]
fn a_failed_stream_has_no_good_end() {
    let error = AnthropicMessages.decode_error(500, b"");
    let events = write([
        StreamEvent::Start { id: String::new(), model: String::new(), created: None, usage: None },
        StreamEvent::Error(error),
    ]);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["message"]["id"], "msg_req-1");
}

// ---- errors -----------------------------------------------------------------------------------------------------------

#[test]
fn an_error_of_the_gateway_has_the_official_shape_and_names_the_field() {
    let encode = |error: GatewayError| -> Value {
        serde_json::from_slice(&AnthropicMessages.encode_error(&error, "req-1")).unwrap()
    };
    assert_eq!(
        encode(GatewayError::invalid("tools[0].name", "must be short")),
        json!({"type": "error", "error": {"type": "invalid_request_error", "message": "tools[0].name: must be short"},
            "request_id": "req-1"})
    );
    assert_eq!(encode(GatewayError::invalid("a", "a is required"))["error"]["message"], "a is required");
    assert_eq!(encode(GatewayError::new(ErrorKind::NoProvider, "none"))["error"]["type"], "overloaded_error");
}

#[test]
fn an_upstream_error_keeps_its_message_and_gets_the_nearest_type() {
    for (status, kind, expected) in [
        (400, "", "invalid_request_error"),
        (401, "invalid_request_error", "authentication_error"),
        (422, "", "invalid_request_error"),
        (429, "insufficient_quota", "rate_limit_error"),
        (503, "server_error", "overloaded_error"),
        (502, "", "api_error"),
        (200, "overloaded_error", "overloaded_error"),
    ] {
        let error =
            UpstreamError { status, kind: kind.into(), code: None, message: "\"Verbatim\"\n".into(), param: None };
        let body = AnthropicMessages.encode_upstream_error(&error, "r");
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["error"], json!({"type": expected, "message": "\"Verbatim\"\n"}), "{status}");
        let event = AnthropicMessages.error_event(&body);
        assert_eq!(data_of(&event), [value]);
    }
}

#[test]
fn errors_are_read_in_every_shape() {
    for (body, message, kind, code) in [
        (r#"{"type":"error","error":{"type":"api_error","message":"m"},"request_id":"r"}"#, "m", "api_error", None),
        (r#"{"error":{"message":"m","type":"t","code":7,"param":"p"}}"#, "m", "t", Some("7")),
        (r#"{"error":"m"}"#, "m", "", None),
        (r#"{"detail":"m"}"#, "m", "", None),
        (r#"{"detail":[{"loc":["a"]}]}"#, r#"[{"loc":["a"]}]"#, "", None),
        (r#"[{"error":{"code":400,"message":"m","status":"BAD"}}]"#, "m", "BAD", Some("400")),
        (r#"{"message":"m","error":{}}"#, "m", "", None),
        (r#""m""#, "m", "", None),
        (
            "<html><head><title>502 Bad</title></head>\n<body><h1>Gateway</h1></body></html>",
            "502 Bad Gateway",
            "",
            None,
        ),
        ("upstream connect error", "upstream connect error", "", None),
        ("", "the provider answered with status 418 and no message", "", None),
        ("{}", "the provider answered with status 418 and no message", "", None),
        ("\u{0}", "\u{0}", "", None),
    ] {
        let error = AnthropicMessages.decode_error(418, body.as_bytes());
        assert_eq!(
            (error.status, error.message.as_str(), error.kind.as_str(), error.code.as_deref()),
            (418, message, kind, code),
            "{body}"
        );
    }
    assert!(!AnthropicMessages.decode_error(500, b"\xff\xfe").message.is_empty());
}

// ---- recorded traffic -------------------------------------------------------------------------------------------------

/// Exchanges of this dialect among the recordings, if they are here: (file name, request body, status, answer).
fn recordings() -> Option<Vec<(String, Value, u64, Value)>> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let place = std::env::var("LLM_GATEWAY_WIRE").unwrap_or_else(|_| format!("{root}/../shared/wire"));
    let Ok(folder) = std::fs::read_dir(format!("{place}/open")) else {
        println!("skipped: no recorded traffic in {place} (set LLM_GATEWAY_WIRE)");
        return None;
    };
    let files = folder.map(|file| file.unwrap().path()).filter(|path| path.to_string_lossy().contains(".messages."));
    let read = |path: std::path::PathBuf| {
        let mut exchange: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let (request, status) = (exchange["request"]["body"].take(), exchange["response"]["status"].as_u64().unwrap());
        (path.file_name().unwrap().to_string_lossy().into_owned(), request, status, exchange["response"].take())
    };
    Some(files.map(read).collect())
}

#[test]
fn every_recorded_stream_says_the_same_however_it_is_cut() {
    let mut seen = 0;
    for (file, _, _, response) in recordings().unwrap_or_default() {
        let Some(stream) = response["sse"].as_str() else { continue };
        let whole = read_bytes(&[stream.as_bytes()]);
        let failed = whole.0.iter().any(|event| matches!(event, StreamEvent::Error(_)));
        assert_eq!(whole.1 == Ending::Complete, !failed, "{file}");
        assert_eq!(failed, file.contains("in-stream-error"), "{file}");
        // Every cut of a long stream would take minutes in a debug build.
        let step = stream.len() / 2000 + 1;
        for cut in (0..stream.len()).step_by(step) {
            let (a, b) = stream.as_bytes().split_at(cut);
            assert_eq!(read_bytes(&[a, b]), whole, "{file} cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(read_bytes(&bytes), whole, "{file} byte by byte");
        if !failed {
            check_grammar(&write(whole.0));
        }
        seen += 1;
    }
    println!("{seen} recorded streams");
}

#[test]
fn every_recorded_answer_is_read() {
    for (file, _, status, response) in recordings().unwrap_or_default() {
        if response["sse"].is_string() {
            continue;
        }
        let body = response["body"].to_string();
        if status == 200 {
            let decoded =
                AnthropicMessages.decode_response(body.as_bytes()).unwrap_or_else(|error| panic!("{file}: {error:?}"));
            assert!(!decoded.id.is_empty() && decoded.finish.is_some() && decoded.usage.is_some(), "{file}");
        } else {
            let error = AnthropicMessages.decode_error(status as u16, body.as_bytes());
            assert_eq!(error.message, response["body"]["error"]["message"], "{file}");
            assert_eq!(error.kind, response["body"]["error"]["type"], "{file}");
        }
    }
}

#[test]
fn every_recorded_request_becomes_a_valid_one_that_stays_the_same() {
    for (file, request, status, _) in recordings().unwrap_or_default() {
        if !request["messages"].is_array() || status >= 400 {
            continue;
        }
        let once = encode(&decode(&request));
        assert_eq!(invalid(&once.body), Vec::<String>::new(), "{file}");
        let twice = encode(&decode(&once.body));
        assert_eq!(twice.body, once.body, "{file}");
    }
}

// ---- any input --------------------------------------------------------------------------------------------------------

/// The grammar of a stream, as the official SDKs rely on it.
fn check_grammar(events: &[Value]) {
    let kind = |event: &Value| event["type"].as_str().unwrap_or_default().to_owned();
    let events: Vec<&Value> = events.iter().filter(|event| event["type"] != "ping").collect();
    assert_eq!(kind(events[0]), "message_start");
    assert_eq!(events.iter().filter(|event| kind(event) == "message_start").count(), 1);
    let (mut open, mut next): (Option<String>, u64) = (None, 0);
    for event in &events[1..events.len() - 2] {
        match kind(event).as_str() {
            "content_block_start" => {
                assert!(open.is_none() && event["index"] == next, "{event}");
                open = Some(kind(&event["content_block"]));
            }
            "content_block_delta" => {
                assert_eq!(event["index"], next);
                let fits = match event["delta"]["type"].as_str().unwrap() {
                    "text_delta" | "citations_delta" => open.as_deref() == Some("text"),
                    "thinking_delta" | "signature_delta" => open.as_deref() == Some("thinking"),
                    _ => open.as_deref().is_some_and(|open| open.ends_with("tool_use")),
                };
                assert!(fits, "{event} in {open:?}");
            }
            "content_block_stop" => {
                assert!(open.take().is_some() && event["index"] == next, "{event}");
                next += 1;
            }
            other => panic!("{other} inside the answer"),
        }
    }
    assert!(open.is_none());
    assert_eq!(kind(events[events.len() - 2]), "message_delta");
    assert_eq!(kind(events[events.len() - 1]), "message_stop");
}

/// Why the official API would refuse a request.
fn invalid(body: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let (mut ids, mut open): (HashSet<String>, Vec<String>) = (HashSet::new(), Vec::new());
    let valid_id = |id: &str| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let messages = body["messages"].as_array().unwrap();
    for (n, message) in messages.iter().enumerate() {
        let expected = if n % 2 == 0 { "user" } else { "assistant" };
        if message["role"] != expected {
            faults.push(format!("message {n} is the {}'s", message["role"]));
        }
        let blocks = match &message["content"] {
            Value::String(text) => vec![json!({"type": "text", "text": text})],
            content => content.as_array().unwrap().clone(),
        };
        if blocks.is_empty() {
            faults.push(format!("message {n} is empty"));
        }
        let results: Vec<String> = blocks
            .iter()
            .take_while(|block| block["type"] == "tool_result")
            .map(|block| block["tool_use_id"].as_str().unwrap().to_owned())
            .collect();
        if blocks[results.len()..].iter().any(|block| block["type"] == "tool_result") {
            faults.push(format!("message {n} has a result behind other content"));
        }
        let (mut wanted, mut given) = (std::mem::take(&mut open), results);
        wanted.sort();
        given.sort();
        if wanted != given {
            faults.push(format!("message {n} answers {given:?}, not {wanted:?}"));
        }
        for block in &blocks {
            match block["type"].as_str().unwrap() {
                "text" if block["text"].as_str().unwrap().trim().is_empty() => faults.push("empty text".into()),
                "tool_use" => {
                    let id = block["id"].as_str().unwrap().to_owned();
                    if !valid_id(&id) || !block["input"].is_object() || !valid_id(block["name"].as_str().unwrap()) {
                        faults.push(format!("malformed {block}"));
                    }
                    if !ids.insert(id.clone()) {
                        faults.push(format!("id {id} twice"));
                    }
                    open.push(id);
                }
                _ => {}
            }
        }
    }
    if !open.is_empty() {
        faults.push(format!("{open:?} unanswered"));
    }
    let limit = body["max_tokens"].as_u64().unwrap();
    if let Some(budget) = body["thinking"]["budget_tokens"].as_u64() {
        let forced = matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool"));
        if budget < 1024 || budget >= limit || forced || body.get("top_k").is_some() {
            faults.push(format!("thinking {budget} of {limit}"));
        }
        if body.get("temperature").is_some_and(|temperature| temperature.as_f64() != Some(1.0)) {
            faults.push("thinking with temperature".into());
        }
    }
    if body.get("temperature").is_some_and(|temperature| !(0.0..=1.0).contains(&temperature.as_f64().unwrap())) {
        faults.push("temperature".into());
    }
    if body.get("tool_choice").is_some() && body.get("tools").is_none() {
        faults.push("tool_choice without tools".into());
    }
    for tool in body["tools"].as_array().into_iter().flatten().filter(|tool| tool.get("type").is_none()) {
        if tool["input_schema"]["type"] != "object" || !valid_id(tool["name"].as_str().unwrap()) {
            faults.push(format!("malformed {tool}"));
        }
    }
    faults
}

fn any_event() -> impl Strategy<Value = StreamEvent> {
    let word = || prop_oneof![Just(String::new()), "[ a{}\"\n]{1,4}"];
    prop_oneof![
        1 => word().prop_map(|id| StreamEvent::Start { id, model: "m".into(), created: None, usage: None }),
        3 => prop_oneof![
            Just(Block::Text),
            Just(Block::Refusal),
            Just(Block::Reasoning),
            Just(Block::RedactedReasoning("r".into())),
            Just(Block::ToolCall { id: "t".into(), name: "n".into() }),
            Just(Block::Foreign { kind: "server_tool_use".into(), value: json!({"type": "server_tool_use"}) }),
            Just(Block::Foreign { kind: "odd".into(), value: json!({}) }),
        ].prop_map(StreamEvent::BlockStart),
        6 => prop_oneof![
            word().prop_map(Delta::Text),
            word().prop_map(Delta::Reasoning),
            word().prop_map(Delta::Signature),
            word().prop_map(Delta::Arguments),
            Just(Delta::Citation(json!({"type": "char_location"}))),
            Just(Delta::Foreign(json!({"type": "input_json_delta", "partial_json": ""}))),
        ].prop_map(StreamEvent::Delta),
        3 => Just(StreamEvent::BlockEnd),
        1 => Just(StreamEvent::Usage(Usage::default())),
        1 => Just(StreamEvent::Finish(FinishReason::STOP)),
        1 => Just(StreamEvent::Ping),
    ]
}

fn any_part() -> impl Strategy<Value = PartBody> {
    let word = || prop_oneof![Just(String::new()), "[ a.é]{1,3}"];
    let id = || "[ab.]{0,1}";
    prop_oneof![
        word().prop_map(PartBody::Text),
        word().prop_map(PartBody::Refusal),
        (word(), proptest::option::of(word())).prop_map(|(text, signature)| PartBody::Reasoning { text, signature }),
        word().prop_map(PartBody::RedactedReasoning),
        (id(), word(), prop_oneof![Just("{}"), Just(""), Just("{\"a"), Just("[1]")])
            .prop_map(|(id, name, arguments)| PartBody::ToolCall(ToolCall { id, name, arguments: arguments.into() })),
        (id(), word()).prop_map(|(id, said)| result(&id, &said)),
        Just(PartBody::Image(Media::Url("https://x".into()))),
        Just(PartBody::Audio(Media::Url("https://x".into()))),
        Just(PartBody::Foreign { kind: "video_url".into(), value: json!({"type": "video_url"}) }),
    ]
}

fn any_request() -> impl Strategy<Value = ChatRequest> {
    let role = prop_oneof![Just(Role::System), Just(Role::User), Just(Role::Assistant), Just(Role::Tool)];
    let choice = prop_oneof![
        Just(None),
        Just(Some(ToolChoice::Auto)),
        Just(Some(ToolChoice::None)),
        Just(Some(ToolChoice::Required)),
        "[fg]".prop_map(|name| Some(ToolChoice::Function(name))),
    ];
    let reasoning = prop_oneof![
        Just(None),
        Just(effort("none")),
        Just(effort("high")),
        Just(effort("odd")),
        (0u64..50_000).prop_map(|budget| Some(Reasoning { budget_tokens: Some(budget), ..Reasoning::default() })),
    ];
    let tools = vec("[f .]{0,2}".prop_map(|name| function(&name, json!({"type": "string"}))), 0..3);
    let params = (proptest::option::of(1u64..5000), proptest::option::of(0.0..2.0), proptest::option::of(1u64..9));
    (vec((role, vec(any_part(), 0..4)), 0..6), tools, choice, proptest::option::of(any::<bool>()), reasoning, params)
        .prop_map(|(said, tools, tool_choice, parallel_tool_calls, reasoning, (max_tokens, temperature, top_k))| {
            let temperature = temperature.and_then(serde_json::Number::from_f64);
            let params = Params { max_tokens, temperature, top_k, ..Params::default() };
            ChatRequest { tools, tool_choice, parallel_tool_calls, reasoning, params, ..turns(said) }
        })
}

proptest! {
    #[test]
    fn whatever_happens_the_stream_obeys_its_grammar(events in vec(any_event(), 0..40), late in vec(any_event(), 0..4)) {
        let (mut encoder, mut out) = (AnthropicMessages.stream_encoder(answer()), Vec::new());
        events.into_iter().for_each(|event| encoder.push(event, &mut out));
        encoder.finish(&mut out);
        let length = out.len();
        late.into_iter().for_each(|event| encoder.push(event, &mut out));
        encoder.finish(&mut out);
        prop_assert_eq!(length, out.len());
        check_grammar(&data_of(&out));
    }

    #[test]
    fn whatever_is_asked_the_api_would_take_it(request in any_request(), known in any::<bool>()) {
        let target = EncodeTarget { max_output_tokens: known.then_some(64_000), ..TARGET };
        let asked = encode_for(&request, &target);
        prop_assert_eq!(invalid(&asked.body), Vec::<String>::new(), "{}", asked.body);
    }

    #[test]
    fn nothing_that_is_read_can_crash(text in "[{}\\[\\]\":,a-z_0-9 ]{0,40}") {
        let _ = AnthropicMessages.decode_request(text.as_bytes());
        let _ = AnthropicMessages.decode_response(text.as_bytes());
        prop_assert!(!AnthropicMessages.decode_error(500, text.as_bytes()).message.is_empty());
        let _ = read(&[START, &text]);
    }
}
