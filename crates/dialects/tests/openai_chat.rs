//! What OpenAI-style vendors really send, one surprise a test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking"
)]

use std::borrow::Cow;
use std::sync::Arc;

use gateway_core::chat::{
    ChatRequest, ChatResponse, FinishReason, Item, Media, Part, PartBody, Place, Reasoning, Role, Tool, ToolBody,
    ToolCall, ToolChoice, Turn,
};
use gateway_core::event::{Block, Delta, StreamEvent};
use gateway_core::usage::Usage;
use gateway_dialects::codec::{Answer, ClientCodec, EncodeTarget, Ending, EventRole, ProviderCodec};
use gateway_dialects::openai_chat::OpenAiChat;
use gateway_dialects::sse::SseEvent;
use proptest::prelude::*;
use serde_json::{Value, json};

fn answer() -> Answer {
    Answer {
        request_id: "req_1".to_owned(),
        provider: Arc::from("p"),
        model: Arc::from("m"),
        created: 7,
        timestamp: "2026-01-01T00:00:00Z".to_owned(),
        latency_ms: 1.0,
        include_usage: true,
        metadata: None,
        price: Arc::new(|_| None),
        cache_key: None,
    }
}

struct Seen {
    events: Vec<StreamEvent>,
    roles: Vec<EventRole>,
    ending: Ending,
}

fn stream_of(events: &[(&str, &str)]) -> Seen {
    let (mut decoder, mut seen, mut roles) = (OpenAiChat.stream_decoder(), Vec::new(), Vec::new());
    for (name, data) in events {
        roles.push(decoder.push(&SseEvent { name, data: Cow::Borrowed(data) }, &mut seen));
    }
    let ending = decoder.finish(&mut seen);
    Seen { events: seen, roles, ending }
}

fn stream(chunks: &[Value]) -> Seen {
    let texts: Vec<String> =
        chunks.iter().map(|chunk| chunk.as_str().map_or(chunk.to_string(), str::to_owned)).collect();
    stream_of(&texts.iter().map(|text| ("", text.as_str())).collect::<Vec<_>>())
}

fn delta(delta: Value) -> Value {
    json!({"id": "c1", "model": "m1", "created": 5, "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn end(reason: &str) -> Value {
    json!({"id": "c1", "model": "m1", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn call(index: Value, id: Value, name: Value, arguments: Value) -> Value {
    json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}})
}

/// Blocks in order, each as its kind and what it holds. Fails where blocks overlap.
fn blocks(events: &[StreamEvent]) -> Vec<(String, String)> {
    let (mut blocks, mut open, mut finished) = (Vec::new(), None, false);
    for event in events {
        match event {
            StreamEvent::Start { .. } => assert!(blocks.is_empty() && open.is_none(), "a late start"),
            StreamEvent::BlockStart(block) => {
                let label = match block {
                    Block::ToolCall { id, name } => format!("{id} {name}"),
                    Block::Foreign { kind, .. } => format!("foreign {kind}"),
                    other => format!("{other:?}"),
                };
                assert!(open.replace((label, String::new())).is_none() && !finished, "blocks overlap");
            }
            StreamEvent::Delta(delta) => {
                let (_, text) = open.as_mut().expect("a delta outside of a block");
                match delta {
                    Delta::Text(piece) | Delta::Reasoning(piece) | Delta::Arguments(piece) => text.push_str(piece),
                    Delta::Signature(piece) => text.push_str(&format!("<{piece}>")),
                    Delta::Citation(value) | Delta::Foreign(value) | Delta::CallRemark(value) => {
                        text.push_str(&value.to_string())
                    }
                }
            }
            StreamEvent::BlockEnd => blocks.push(open.take().expect("an end without a start")),
            StreamEvent::Finish(_) => {
                assert!(open.is_none() && !finished, "finish inside a block, or twice");
                finished = true;
            }
            // Nothing more is said, not even the end of a block.
            StreamEvent::Error(_) => drop(open.take()),
            _ => {}
        }
    }
    assert!(open.is_none(), "a block stays open");
    blocks
}

fn held(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(label, text)| ((*label).to_owned(), (*text).to_owned())).collect()
}

fn finish(events: &[StreamEvent]) -> Option<FinishReason> {
    events.iter().find_map(|event| match event {
        StreamEvent::Finish(reason) => Some(reason.clone()),
        _ => None,
    })
}

fn usage(events: &[StreamEvent]) -> Option<Usage> {
    events.iter().rev().find_map(|event| match event {
        StreamEvent::Usage(usage) => Some(*usage),
        _ => None,
    })
}

// ---- Streams ---------------------------------------------------------------------------------------------------------

#[test]
fn text_streams_live() {
    let seen = stream(&[
        delta(json!({"role": "assistant", "content": ""})),
        delta(json!({"content": "He"})),
        delta(json!({"content": "llo"})),
        end("stop"),
        json!({"id": "c1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        json!("[DONE]"),
    ]);
    use EventRole::*;
    assert_eq!(seen.roles, [Lifecycle, Content, Content, Content, UsageOnly, Done]);
    assert_eq!(seen.ending, Ending::Complete);
    let text = |text: &str| StreamEvent::Delta(Delta::Text(text.to_owned()));
    let start = StreamEvent::Start { id: "c1".into(), model: "m1".into(), created: Some(5), usage: None };
    let usage = StreamEvent::Usage(Usage { input: 1, output: 2, ..Usage::default() });
    let finish = StreamEvent::Finish(FinishReason::STOP);
    let block = StreamEvent::BlockStart(Block::Text);
    assert_eq!(seen.events, [start, block, text("He"), text("llo"), usage, StreamEvent::BlockEnd, finish]);
}

#[test]
fn a_chunk_is_for_usage_only_if_choices_is_empty_and_usage_an_object() {
    let roles = |chunk: Value| stream(&[chunk]).roles[0];
    assert_eq!(roles(json!({"choices": [], "usage": {"prompt_tokens": 1}})), EventRole::UsageOnly);
    assert_eq!(roles(json!({"choices": [], "usage": null})), EventRole::Lifecycle);
    assert_eq!(roles(json!({"choices": [], "prompt_filter_results": []})), EventRole::Lifecycle);
    assert_eq!(roles(json!({"usage": {"prompt_tokens": 1}})), EventRole::Lifecycle);
    let with_content = json!({"choices": [{"delta": {"content": "x"}}], "usage": {"prompt_tokens": 1}});
    assert_eq!(roles(with_content), EventRole::Content);
    assert_eq!(roles(end("stop")), EventRole::Content);
}

#[test]
fn azures_first_chunk_without_choices_does_not_name_the_answer() {
    let azure = json!({"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": [{}]});
    let seen = stream(&[azure, delta(json!({"content": "x"})), end("stop"), json!("[DONE]")]);
    assert!(matches!(&seen.events[0], StreamEvent::Start { id, model, .. } if id == "c1" && model == "m1"));
}

#[test]
fn parallel_calls_whose_pieces_alternate_become_blocks_one_behind_the_other() {
    let seen = stream(&[
        delta(json!({"tool_calls": [call(json!(0), json!("a"), json!("f"), json!(""))]})),
        delta(json!({"tool_calls": [call(json!(1), json!("b"), json!("g"), json!(""))]})),
        delta(json!({"tool_calls": [{"index": 1, "function": {"arguments": "{\"y\":"}}]})),
        delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"x\":\"}"}}]})),
        delta(
            json!({"tool_calls": [{"index": 1, "function": {"arguments": "2}"}}, {"index": 0, "function": {"arguments": "\"}"}}]}),
        ),
        end("tool_calls"),
        json!("[DONE]"),
    ]);
    assert_eq!(blocks(&seen.events), held(&[("a f", "{\"x\":\"}\"}"), ("b g", "{\"y\":2}")]));
    assert_eq!(finish(&seen.events), Some(FinishReason::ToolCalls));
}

#[test]
fn a_second_call_streams_live_as_soon_as_the_first_is_whole() {
    let mut decoder = OpenAiChat.stream_decoder();
    let mut live = |chunk: Value| {
        let mut out = Vec::new();
        decoder.push(&SseEvent { name: "", data: Cow::Owned(chunk.to_string()) }, &mut out);
        out
    };
    live(delta(json!({"tool_calls": [call(json!(0), json!("a"), json!("f"), json!("{}"))]})));
    let out = live(delta(json!({"tool_calls": [call(json!(1), json!("b"), json!("g"), json!("{\"q"))]})));
    assert_eq!(
        out,
        [
            StreamEvent::BlockEnd,
            StreamEvent::BlockStart(Block::ToolCall { id: "b".into(), name: "g".into() }),
            StreamEvent::Delta(Delta::Arguments("{\"q".into()))
        ]
    );
    let out = live(delta(json!({"tool_calls": [{"index": 1, "function": {"arguments": "\":1}"}}]})));
    assert_eq!(out, [StreamEvent::Delta(Delta::Arguments("\":1}".into()))]);
}

#[test]
fn text_and_a_call_in_one_delta_are_both_kept() {
    let both = json!({"content": "Look:", "tool_calls": [call(json!(0), json!("a"), json!("f"), json!("{}"))]});
    let seen = stream(&[delta(both), delta(json!({"content": "after"})), end("tool_calls"), json!("[DONE]")]);
    assert_eq!(blocks(&seen.events), held(&[("Text", "Look:"), ("a f", "{}"), ("Text", "after")]));
}

#[test]
fn an_empty_list_of_calls_is_no_call() {
    let seen = stream(&[delta(json!({"content": "x", "tool_calls": []})), end("stop"), json!("[DONE]")]);
    assert_eq!(blocks(&seen.events), held(&[("Text", "x")]));
    assert_eq!(finish(&seen.events), Some(FinishReason::STOP));
}

#[test]
fn two_ids_under_one_index_are_two_calls_and_a_repeated_id_is_one() {
    let one = |id: &str, arguments: &str| {
        delta(json!({"role": "assistant", "tool_calls": [call(json!(0), json!(id), json!("f"), json!(arguments))]}))
    };
    let seen = stream(&[one("a", "{\"x\""), one("a", ":1}"), one("b", "{}"), end("tool_calls")]);
    assert_eq!(blocks(&seen.events), held(&[("a f", "{\"x\":1}"), ("b f", "{}")]));
}

#[test]
fn calls_without_an_index_are_told_apart_by_id_and_those_without_an_id_get_one() {
    let with_id = |id: &str| delta(json!({"tool_calls": [call(Value::Null, json!(id), json!("f"), json!("{}"))]}));
    let seen = stream(&[with_id("a"), with_id("b"), end("stop")]);
    assert_eq!(blocks(&seen.events), held(&[("a f", "{}"), ("b f", "{}")]));
    assert_eq!(finish(&seen.events), Some(FinishReason::ToolCalls), "stop beside calls");
    let without = delta(json!({"tool_calls": [call(json!(0), json!(""), json!("f"), json!("{}"))]}));
    let seen = stream(&[without.clone(), without, end("tool_calls")]);
    let ids: Vec<String> = blocks(&seen.events).into_iter().map(|(label, _)| label).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids[0].starts_with("call_") && ids[0].len() == "call_".len() + 24 + " f".len(), "{ids:?}");
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn missing_null_and_object_arguments_are_read() {
    let seen = stream(&[
        delta(json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]})),
        delta(json!({"tool_calls": [call(json!(1), json!("b"), json!("g"), Value::Null)]})),
        delta(json!({"tool_calls": [call(json!(2), json!("c"), json!("h"), json!({"x": 1}))]})),
        end("tool_calls"),
    ]);
    assert_eq!(blocks(&seen.events), held(&[("a f", ""), ("b g", ""), ("c h", "{\"x\":1}")]));
}

#[test]
fn a_name_that_comes_late_is_waited_for() {
    let seen = stream(&[
        delta(json!({"tool_calls": [{"index": 0, "id": "a", "function": {"arguments": ""}}]})),
        delta(json!({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]})),
        end("tool_calls"),
    ]);
    assert_eq!(blocks(&seen.events), held(&[("a f", "{}")]));
}

#[test]
fn the_old_function_call_is_a_tool_call() {
    let seen = stream(&[
        delta(json!({"function_call": {"name": "f", "arguments": ""}})),
        delta(json!({"function_call": {"arguments": "{}"}})),
        end("function_call"),
    ]);
    let calls = blocks(&seen.events);
    assert!(calls[0].0.ends_with(" f") && calls[0].1 == "{}", "{calls:?}");
    assert_eq!(finish(&seen.events), Some(FinishReason::ToolCalls));
}

#[test]
fn a_custom_call_is_a_block_of_its_own_kind() {
    let seen = stream(&[
        delta(
            json!({"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "4 "}}]}),
        ),
        delta(json!({"tool_calls": [{"index": 0, "custom": {"input": "+ 4"}}]})),
        end("tool_calls"),
    ]);
    assert_eq!(blocks(&seen.events), held(&[("foreign custom", "\"4 \"\"+ 4\"")]));
}

#[test]
fn thoughts_come_under_three_names_and_as_parts_of_content() {
    let thinking =
        json!([{"type": "thinking", "thinking": [{"type": "text", "text": "d"}]}, {"type": "text", "text": "T"}]);
    let details =
        json!({"reasoning": "", "reasoning_details": [{"type": "reasoning.text", "text": "c", "signature": "s"}]});
    let seen = stream(&[
        delta(json!({"reasoning_content": "a", "content": null})),
        delta(json!({"reasoning": "b", "reasoning_details": [{"type": "reasoning.text", "text": "b"}]})),
        delta(details),
        delta(json!({"content": thinking})),
        end("stop"),
    ]);
    assert_eq!(blocks(&seen.events), held(&[("Reasoning", "abc<s>d"), ("Text", "T")]));
}

#[test]
fn a_refusal_is_a_block_of_its_own() {
    let seen = stream(&[delta(json!({"refusal": "No"})), delta(json!({"refusal": "."})), end("stop")]);
    assert_eq!(blocks(&seen.events), held(&[("Refusal", "No.")]));
}

#[test]
fn content_beside_the_finish_reason_counts_and_the_reason_may_come_twice() {
    let last = json!({"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": "stop"}]});
    let seen = stream(&[delta(json!({"content": "Hi"})), last, end("stop"), json!("[DONE]")]);
    assert_eq!(blocks(&seen.events), held(&[("Text", "Hi!")]));
    assert_eq!(seen.ending, Ending::Complete);
}

#[test]
fn the_last_usage_wins_wherever_it_stands() {
    let with = |key: &str, output: u64| {
        let mut chunk = delta(json!({"content": "x"}));
        let usage = json!({"prompt_tokens": 3, "completion_tokens": output});
        match key {
            "choice" => chunk["choices"][0]["usage"] = usage,
            "x_groq" => chunk["x_groq"] = json!({"id": "r", "usage": usage}),
            _ => chunk["usage"] = usage,
        }
        chunk
    };
    for key in ["top", "choice", "x_groq"] {
        let seen = stream(&[with("top", 1), with(key, 9), end("stop")]);
        assert_eq!(usage(&seen.events), Some(Usage { input: 3, output: 9, ..Usage::default() }), "{key}");
    }
}

#[test]
fn cached_and_reasoning_tokens_are_found_in_every_known_place() {
    let read = |usage: Value| {
        let seen = stream(&[json!({"choices": [], "usage": usage})]);
        let usage = self::usage(&seen.events).unwrap();
        (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning)
    };
    let details = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 3}});
    assert_eq!(read(details), (10, 4, 2, 5, 3));
    assert_eq!(read(json!({"prompt_tokens": 10, "prompt_cache_hit_tokens": 4})), (10, 4, 0, 0, 0));
    assert_eq!(read(json!({"prompt_tokens": 10, "cached_tokens": 4, "prompt_tokens_details": null})), (10, 4, 0, 0, 0));
    let apart = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115, "reasoning_tokens": 100});
    assert_eq!(read(apart), (10, 0, 0, 105, 100), "thoughts that completion_tokens leaves out");
    assert_eq!(read(json!({"prompt_tokens": 10.0, "completion_tokens": null})), (10, 0, 0, 0, 0));
}

#[test]
fn a_stream_that_breaks_off_is_no_success() {
    let seen = stream(&[delta(json!({"content": "Hal"}))]);
    assert_eq!(seen.ending, Ending::Truncated);
    assert_eq!(blocks(&seen.events), held(&[("Text", "Hal")]));
    assert_eq!(finish(&seen.events), None);
    assert_eq!(stream(&[]).ending, Ending::Truncated);
}

#[test]
fn an_end_mark_or_a_finish_reason_alone_is_enough() {
    let seen = stream(&[delta(json!({"content": "x"})), json!("[DONE]")]);
    assert_eq!((seen.ending, finish(&seen.events)), (Ending::Complete, Some(FinishReason::STOP)));
    let seen = stream(&[delta(json!({"content": "x"})), end("length")]);
    assert_eq!((seen.ending, finish(&seen.events)), (Ending::Complete, Some(FinishReason::Length)));
}

#[test]
fn an_error_in_a_stream_is_seen_in_every_shape_and_nothing_follows_it() {
    for (name, error, status) in [
        ("", r#"{"error":{"message":"m","type":"invalid_request_error"}}"#, 400),
        ("error", r#"{"error":{"message":"m","status_code":400}}"#, 400),
        ("error", r#"{"message":"m"}"#, 502),
        (
            "",
            r#"{"id":"c","choices":[{"delta":{"content":""},"finish_reason":null}],"error":{"message":"m","code":429}}"#,
            429,
        ),
        ("", r#"{"object":"error","message":"m","code":"1"}"#, 502),
        ("", r#"{"detail":"m"}"#, 502),
    ] {
        let before = delta(json!({"content": "x"})).to_string();
        let seen = stream_of(&[("", &before), (name, error), ("", &before), ("", "[DONE]")]);
        assert_eq!(seen.roles[1], EventRole::Error, "{error}");
        assert_eq!(seen.ending, Ending::Truncated, "{error}");
        match seen.events.last() {
            Some(StreamEvent::Error(error)) => assert_eq!((error.status, error.message.as_str()), (status, "m")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stream(&[json!("{broken")]).roles, [EventRole::Error]);
    assert_eq!(stream(&[json!({"choices": [{"delta": {"content": "x"}}], "error": null})]).roles, [EventRole::Content]);
}

#[test]
fn odd_types_cost_nothing_but_themselves() {
    let odd = json!({"id": 5, "model": null, "created": "x", "choices": [{"index": 0, "delta": {"content": "x", "refusal": 7}}]});
    assert_eq!(blocks(&stream(&[odd, end("stop")]).events), held(&[("Text", "x")]));
}

#[test]
fn other_choices_are_content_to_the_client_and_nothing_to_us() {
    let other = json!({"choices": [{"index": 1, "delta": {"content": "x"}}]});
    let seen = stream(&[other, delta(json!({"content": "y"})), end("stop")]);
    assert_eq!(seen.roles[0], EventRole::Content);
    assert_eq!(blocks(&seen.events), held(&[("Text", "y")]));
}

proptest! {
    /// Whatever the order in which pieces of parallel calls and text come, the blocks do not overlap and hold what was said.
    #[test]
    fn any_interleaving_gives_whole_blocks(
        arguments in proptest::collection::vec("\\{(\"[a-z\\\\\"{}]{0,4}\":[0-9]{1,3})?\\}", 1..5),
        picks in proptest::collection::vec((0usize..6, 1usize..4), 0..60),
    ) {
        let arguments: Vec<String> = arguments.into_iter().filter(|text| serde_json::from_str::<Value>(text).is_ok()).collect();
        let mut sent = vec![0; arguments.len()];
        let mut started = vec![false; arguments.len()];
        let (mut chunks, mut text) = (Vec::new(), String::new());
        let last_round = (0..arguments.len()).flat_map(|call| std::iter::repeat_n((call, 3), 8));
        for (pick, length) in picks.into_iter().chain(last_round) {
            if pick >= arguments.len() {
                text.push('t');
                chunks.push(delta(json!({"content": "t"})));
                continue;
            }
            let whole = &arguments[pick];
            let upto = (sent[pick] + length).min(whole.len());
            let mut piece = json!({"index": pick, "function": {"arguments": &whole[sent[pick]..upto]}});
            if !started[pick] {
                started[pick] = true;
                piece["id"] = json!(format!("id{pick}"));
                piece["function"]["name"] = json!("f");
            }
            sent[pick] = upto;
            chunks.push(delta(json!({"tool_calls": [piece]})));
        }
        chunks.push(end("tool_calls"));
        let seen = stream(&chunks);
        let blocks = blocks(&seen.events);
        for (number, whole) in arguments.iter().enumerate() {
            let label = format!("id{number} f");
            let found: Vec<&str> = blocks.iter().filter(|(name, _)| *name == label).map(|(_, text)| text.as_str()).collect();
            prop_assert_eq!(found, [whole.as_str()]);
        }
        let said: String = blocks.iter().filter(|(name, _)| name == "Text").map(|(_, text)| text.as_str()).collect();
        prop_assert_eq!(said, text);
    }
}

/// JSON that looks like a vendor's on a bad day: known keys, any values.
fn odd_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z{}\\[\\]\"\\\\é]{0,6}".prop_map(Value::from),
    ];
    const KEYS: &str = "choices|delta|message|content|tool_calls|function|custom|name|arguments|id|index|usage|error|\
        finish_reason|reasoning|reasoning_details|refusal|annotations|prompt_tokens|type|text|thinking|role|messages|tools";
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((proptest::sample::select(KEYS.split('|').collect::<Vec<_>>()), inner), 0..5)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_that_a_vendor_or_a_client_sends_breaks_the_rules(odd in proptest::collection::vec(odd_json(), 1..6)) {
        let chunks = odd.iter().flat_map(|odd| [
            json!({"choices": [{"index": 0, "delta": odd}]}),
            json!({"choices": [{"index": 0, "delta": {"tool_calls": [odd], "content": odd}}]}),
            odd.clone(),
        ]);
        let seen = stream(&chunks.collect::<Vec<_>>());
        blocks(&seen.events);
        for odd in &odd {
            let whole = json!({"choices": [{"message": odd}, odd], "usage": odd});
            for body in [odd, &whole, &json!({"error": odd}), &json!({"choices": [{"message": {"tool_calls": [odd], "content": odd}}]})] {
                match OpenAiChat.decode_response(body.to_string().as_bytes()) {
                    Ok(response) => { OpenAiChat.encode_response(response, &answer()); }
                    Err(error) => prop_assert!(error.status >= 400 && !error.message.is_empty()),
                }
                prop_assert!(!OpenAiChat.decode_error(500, body.to_string().as_bytes()).message.is_empty());
            }
            let message = json!({"role": "assistant", "content": odd, "tool_calls": odd});
            for body in [json!({"messages": [message]}), json!({"messages": odd, "tools": odd, "response_format": odd})] {
                match OpenAiChat.decode_request(body.to_string().as_bytes()) {
                    Ok(request) => { written(&request); }
                    Err(error) => prop_assert!(!error.message.is_empty()),
                }
            }
        }
    }
}

// ---- Whole answers ---------------------------------------------------------------------------------------------------

fn whole(message: Value, finish_reason: Value) -> ChatResponse {
    let body = json!({"id": "c1", "object": "chat.completion", "created": 5, "model": "m1",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}});
    OpenAiChat.decode_response(format!("\n  \n{body}").as_bytes()).unwrap()
}

fn bodies(response: &ChatResponse) -> Vec<&PartBody> {
    response.parts.iter().map(|part| &part.body).collect()
}

#[test]
fn content_may_be_absent_null_text_or_parts() {
    let text = |text: &str| PartBody::Text(text.to_owned());
    assert!(bodies(&whole(json!({"role": "assistant"}), json!("stop"))).is_empty());
    assert!(bodies(&whole(json!({"content": null, "tool_calls": []}), json!("stop"))).is_empty());
    assert_eq!(bodies(&whole(json!({"content": "x"}), json!("stop"))), [&text("x")]);
    let parts =
        json!([{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}, {"type": "text", "text": "x"}]);
    let thought = PartBody::Reasoning { text: "t".to_owned(), signature: None };
    assert_eq!(bodies(&whole(json!({"content": parts}), json!("stop"))), [&thought, &text("x")]);
}

#[test]
fn stop_beside_calls_means_calls_and_no_reason_is_none() {
    let calls = json!({"content": null, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": null}}]});
    let response = whole(calls, json!("stop"));
    assert_eq!(response.finish, Some(FinishReason::ToolCalls));
    assert!(matches!(bodies(&response)[..], [PartBody::ToolCall(call)] if call.id == "a" && call.arguments.is_empty()));
    assert_eq!(whole(json!({"content": "x"}), json!("")).finish, None);
    assert_eq!(whole(json!({"content": "x"}), Value::Null).finish, None);
}

#[test]
fn a_call_without_an_id_gets_the_same_one_each_time() {
    let call = json!({"function": {"name": "f", "arguments": "{}"}});
    let read = || {
        let response = whole(json!({"tool_calls": [call, call]}), json!("tool_calls"));
        let ids = response.parts.into_iter().map(|part| match part.body {
            PartBody::ToolCall(call) => call.id,
            other => panic!("{other:?}"),
        });
        ids.collect::<Vec<_>>()
    };
    assert_eq!(read(), read());
    assert_ne!(read()[0], read()[1]);
}

#[test]
fn a_success_that_holds_an_error_is_an_error() {
    let read = |body: &str| OpenAiChat.decode_response(body.as_bytes()).map_err(|error| (error.status, error.message));
    let filtered = r#"{"error":{"message":"filtered","type":null,"code":"content_filter"}}"#;
    assert_eq!(read(filtered), Err((400, "filtered".to_owned())));
    assert_eq!(read(r#"{"error":{"message":"m"},"choices":[]}"#), Err((502, "m".to_owned())));
    assert_eq!(read(r#"{"choices":[]}"#).unwrap_err().0, 502);
    assert_eq!(read("<html><title>Nope</title>"), Err((502, "Nope".to_owned())));
    assert!(!read("").unwrap_err().1.is_empty());
    assert!(!read("{}").unwrap_err().1.is_empty());
}

#[test]
fn an_answer_is_written_as_openai_writes_it() {
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}});
    let response = whole(json!({"content": "x", "reasoning": "t", "tool_calls": [call]}), json!("stop"));
    let written: Value = serde_json::from_slice(&OpenAiChat.encode_response(response, &answer())).unwrap();
    let message = json!({"role": "assistant", "content": "x", "refusal": null, "reasoning_content": "t",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}});
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "tool_calls"});
    let want = json!({"id": "c1", "object": "chat.completion", "created": 5, "model": "m1", "choices": [choice], "usage": usage});
    assert_eq!(written, want);
}

#[test]
fn a_stream_is_written_as_openai_writes_it() {
    let events = [
        StreamEvent::Start { id: String::new(), model: String::new(), created: None, usage: None },
        StreamEvent::BlockStart(Block::Reasoning),
        StreamEvent::Delta(Delta::Reasoning("t".into())),
        StreamEvent::BlockEnd,
        StreamEvent::BlockStart(Block::Text),
        StreamEvent::Delta(Delta::Text("x".into())),
        StreamEvent::BlockEnd,
        StreamEvent::BlockStart(Block::Foreign { kind: "server_tool_use".into(), value: json!({}) }),
        StreamEvent::Delta(Delta::Arguments("{}".into())),
        StreamEvent::BlockEnd,
        StreamEvent::BlockStart(Block::ToolCall { id: "a".into(), name: "f".into() }),
        StreamEvent::BlockEnd,
        StreamEvent::BlockStart(Block::ToolCall { id: "b".into(), name: "g".into() }),
        StreamEvent::Delta(Delta::Arguments("{\"q\":1}".into())),
        StreamEvent::BlockEnd,
        StreamEvent::Usage(Usage { input: 1, output: 2, ..Usage::default() }),
        StreamEvent::Finish(FinishReason::ToolCalls),
    ];
    let mut out = Vec::new();
    let mut encoder = OpenAiChat.stream_encoder(answer());
    events.into_iter().for_each(|event| encoder.push(event, &mut out));
    encoder.finish(&mut out);
    let text = String::from_utf8(out).unwrap();
    let data: Vec<&str> = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    let (done, chunks) = data.split_last().unwrap();
    assert_eq!(*done, "[DONE]");
    assert!(text.contains("\n\n: x-gateway-dropped: server_tool_use\n\n"), "what was not shown is named");
    let chunks: Vec<Value> = chunks.iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == "chatcmpl-req_1"));
    assert!(chunks.iter().all(|chunk| chunk["model"] == "m" && chunk["created"] == 7));
    let (usage, chunks) = chunks.split_last().unwrap();
    assert_eq!((usage["choices"].clone(), &usage["usage"]["total_tokens"]), (json!([]), &json!(3)));
    let (finish, chunks) = chunks.split_last().unwrap();
    assert_eq!(finish["choices"][0], json!({"index": 0, "delta": {}, "logprobs": null, "finish_reason": "tool_calls"}));
    let deltas: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
    let begin = |index: u8, id: &str, name: &str| json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]});
    let piece = |index: u8, text: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]});
    let want = [
        json!({"role": "assistant", "content": ""}),
        json!({"reasoning_content": "t"}),
        json!({"content": "x"}),
        begin(0, "a", "f"),
        piece(0, "{}"),
        begin(1, "b", "g"),
        piece(1, "{\"q\":1}"),
    ];
    assert_eq!(deltas, want.iter().collect::<Vec<_>>());
}

// ---- Requests --------------------------------------------------------------------------------------------------------

fn read(body: &Value) -> ChatRequest {
    OpenAiChat.decode_request(body.to_string().as_bytes()).unwrap()
}

fn written(request: &ChatRequest) -> (Value, Vec<String>) {
    let target = EncodeTarget {
        model: "gpt-5",
        max_output_tokens: None,
        max_tokens_field: "max_completion_tokens",
        stream_options: true,
        cache_control: false,
    };
    let encoded = OpenAiChat.encode_request(request, &target);
    (serde_json::from_slice(&encoded.body).unwrap(), encoded.dropped)
}

#[test]
fn what_openai_can_say_comes_out_as_it_went_in() {
    let body = json!({
        "model": "gpt-5",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "name": "ann", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
                {"type": "file", "file": {"file_id": "file-1"}}]},
            {"role": "assistant", "content": "Let me see.", "reasoning_content": "hm",
             "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"n\": 1.50}"},
                             "extra_content": {"google": {"thought_signature": "s"}}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "user", "content": "Why?"}],
        "tools": [{"type": "function", "function": {"name": "look", "description": "d", "parameters": {"type": "object"}, "strict": true}},
                  {"type": "custom", "custom": {"name": "expr"}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": false,
        "max_completion_tokens": 9, "temperature": 0.70, "top_p": 1, "stop": ["a", "b"], "presence_penalty": 0.1,
        "frequency_penalty": -0.1, "seed": 9007199254740993u64, "user": "u", "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": true}},
        "verbosity": "low",
        "stream": true, "stream_options": {"include_usage": true},
    });
    let (again, dropped) = written(&read(&body));
    assert_eq!(again, body);
    assert_eq!(dropped, Vec::<String>::new());
}

#[test]
fn the_old_functions_become_tools_and_calls_with_ids_that_match() {
    let request = read(&json!({
        "functions": [{"name": "f", "parameters": {"type": "object"}}], "function_call": {"name": "f"},
        "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "2"}],
    }));
    let (body, _) = written(&request);
    let messages = body["messages"].as_array().unwrap();
    let id = |n: usize| messages[n]["tool_calls"][0]["id"].as_str().unwrap();
    assert_eq!(
        (messages[2]["tool_call_id"].as_str(), messages[4]["tool_call_id"].as_str()),
        (Some(id(1)), Some(id(3)))
    );
    assert_ne!(id(1), id(3));
    assert_eq!(body["tool_choice"], json!({"type": "function", "function": {"name": "f"}}));
    assert_eq!(body["tools"][0]["function"]["name"], "f");
}

#[test]
fn a_wrong_request_is_refused_by_path() {
    let user = json!({"role": "user", "content": "x"});
    for (body, field) in [
        (json!({}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": "x"}), "messages"),
        (json!({"messages": ["x"]}), "messages[0]"),
        (json!({"messages": [user, {"role": "king"}]}), "messages[1].role"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
        (json!({"messages": [{"role": "user", "content": 5}]}), "messages[0].content"),
        (json!({"messages": [{"role": "user", "content": [{"text": "x"}]}]}), "messages[0].content[0].type"),
        (json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}), "messages[0].content[0].text"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}),
            "messages[0].content[0].image_url.url",
        ),
        (
            json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}),
            "messages[0].tool_calls[0].function",
        ),
        (json!({"messages": [user], "stop": 5}), "stop"),
        (json!({"messages": [user], "stop": [5]}), "stop[0]"),
        (json!({"messages": [user], "tools": [{"function": {}}]}), "tools[0].type"),
        (
            json!({"messages": [user], "tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]}),
            "tools[0].function.parameters",
        ),
        (json!({"messages": [user], "response_format": {"type": "json_schema"}}), "response_format.json_schema"),
        (json!({"messages": [user], "max_tokens": "many"}), "max_tokens"),
    ] {
        let error = OpenAiChat.decode_request(body.to_string().as_bytes()).expect_err(&body.to_string());
        assert_eq!(error.field.as_deref(), Some(field), "{body}");
    }
}

#[test]
fn what_asks_for_nothing_is_not_kept_and_everything_else_is() {
    let request =
        read(&json!({"messages": [{"role": "user", "content": "x", "mood": "calm"}], "n": 1, "logprobs": false,
        "service_tier": "auto", "top_logprobs": 3, "stream_options": {"include_usage": true, "shade": 1}}));
    let names: Vec<&str> = request.extra.keys().map(String::as_str).collect();
    assert_eq!(names, ["top_logprobs", "stream_options"]);
    assert_eq!(request.turns[0].extra["mood"], "calm");
}

fn turn(role: Role, index: u32, bodies: Vec<PartBody>) -> Turn {
    let place = |n| Place { message: Some(index), item: Item::Content(n as u32) };
    let parts = bodies.into_iter().enumerate().map(|(n, body)| Part::new(body, place(n))).collect();
    Turn { role, parts, name: None, index: Some(index), extra: serde_json::Map::new() }
}

fn text(text: &str) -> PartBody {
    PartBody::Text(text.to_owned())
}

fn tool_call(id: &str, arguments: &str) -> PartBody {
    PartBody::ToolCall(ToolCall { id: id.to_owned(), name: "f".to_owned(), arguments: arguments.to_owned() })
}

fn result(id: &str, message: u32, bodies: Vec<PartBody>) -> PartBody {
    let content = turn(Role::User, message, bodies).parts;
    PartBody::ToolResult { id: id.to_owned(), content, is_error: false }
}

fn image() -> PartBody {
    PartBody::Image(Media::Base64 { media_type: "image/png".to_owned(), data: "AAAA".to_owned() })
}

fn messages(turns: Vec<Turn>) -> (Value, Vec<String>) {
    let (mut body, dropped) = written(&ChatRequest { turns, ..ChatRequest::default() });
    (body["messages"].take(), dropped)
}

#[test]
fn results_stand_behind_their_calls_before_everything_else_of_the_turn() {
    let (messages, dropped) = messages(vec![
        turn(Role::User, 0, vec![text("go")]),
        turn(Role::Assistant, 1, vec![text("ok"), tool_call("a", ""), tool_call("b", "{\"x\":1}")]),
        turn(Role::System, 2, vec![text("be kind")]),
        turn(
            Role::User,
            3,
            vec![text("and now?"), result("b", 3, vec![text("2")]), result("a", 3, vec![text("1"), image()])],
        ),
    ]);
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
    let shown = [
        json!({"type": "text", "text": "Returned by tool call a:"}),
        json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}),
        json!({"type": "text", "text": "and now?"}),
    ];
    let want = json!([
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "ok", "tool_calls": [call("a", "{}"), call("b", "{\"x\":1}")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": shown},
    ]);
    assert_eq!(messages, want);
    assert_eq!(dropped, Vec::<String>::new());
}

#[test]
fn an_id_that_is_used_again_keeps_each_result_with_its_call() {
    let (messages, _) = messages(vec![
        turn(Role::Assistant, 0, vec![tool_call("a", "{}")]),
        turn(Role::User, 1, vec![result("a", 1, vec![text("first")])]),
        turn(Role::Assistant, 2, vec![tool_call("a", "{}")]),
        turn(Role::User, 3, vec![result("a", 3, vec![])]),
    ]);
    let contents: Vec<&Value> = messages.as_array().unwrap().iter().map(|message| &message["content"]).collect();
    assert_eq!(contents, [&Value::Null, &json!("first"), &Value::Null, &json!("")]);
}

#[test]
fn a_result_without_a_call_becomes_what_the_user_says() {
    let (messages, dropped) = messages(vec![turn(Role::User, 0, vec![result("a", 0, vec![text("1")])])]);
    assert_eq!(messages, json!([{"role": "user", "content": "1"}]));
    assert_eq!(dropped, ["messages[0].content[0].tool_use_id"]);
}

#[test]
fn what_chat_completions_cannot_say_is_named_by_its_place() {
    let cached = |mut turn: Turn| {
        turn.parts[0].extra.insert("cache_control".to_owned(), json!({"type": "ephemeral"}));
        turn
    };
    let foreign = |kind: &str| PartBody::Foreign { kind: kind.to_owned(), value: json!({"type": kind}) };
    let thought = PartBody::Reasoning { text: "hm".to_owned(), signature: Some("s".to_owned()) };
    let failed = PartBody::ToolResult { id: "a".to_owned(), content: vec![], is_error: true };
    let mut request = ChatRequest {
        turns: vec![
            cached(turn(Role::User, 0, vec![text("x"), PartBody::Image(Media::FileId("file_1".to_owned()))])),
            turn(Role::Assistant, 1, vec![thought, foreign("server_tool_use")]),
            turn(Role::Assistant, 2, vec![PartBody::RedactedReasoning("r".to_owned()), tool_call("a", "{}")]),
            turn(Role::User, 3, vec![failed]),
        ],
        tool_choice: Some(ToolChoice::Required),
        parallel_tool_calls: Some(false),
        reasoning: Some(Reasoning { budget_tokens: Some(2000), ..Reasoning::default() }),
        ..ChatRequest::default()
    };
    request.params.top_k = Some(5);
    request.params.stop = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    let value = json!({"type": "web_search_20250305", "name": "web_search"});
    let body = ToolBody::Foreign { kind: "web_search_20250305".to_owned(), value };
    request.tools.push(Tool { body, extra: serde_json::Map::new() });
    request.extra.insert("mcp_servers".to_owned(), json!([{}]));
    request.extra.insert("service_tier".to_owned(), json!("standard_only"));
    let target = EncodeTarget {
        model: "gpt-4o",
        max_output_tokens: None,
        max_tokens_field: "max_tokens",
        stream_options: true,
        cache_control: false,
    };
    let encoded = OpenAiChat.encode_request(&request, &target);
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    let mut keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["messages", "model", "service_tier", "stop"], "no tool_choice without tools");
    assert_eq!(body["service_tier"], "default");
    let roles: Vec<&Value> = body["messages"].as_array().unwrap().iter().map(|message| &message["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "tool"], "no message that says nothing");
    let want = [
        "messages[0].content[0].cache_control",
        "messages[0].content[1].image",
        "messages[1].content[0].thinking",
        "messages[1].content[1].server_tool_use",
        "messages[2].content[0].redacted_thinking",
        "messages[3].content[0].is_error",
        "tools[0].web_search_20250305",
        "tool_choice",
        "parallel_tool_calls",
        "thinking",
        "top_k",
        "stop_sequences[4]",
        "mcp_servers",
    ];
    assert_eq!(encoded.dropped, want);
}

#[test]
fn thinking_becomes_effort() {
    let effort = |reasoning: Reasoning| {
        let (body, _) = written(&ChatRequest { reasoning: Some(reasoning), ..ChatRequest::default() });
        body["reasoning_effort"].as_str().unwrap_or("-").to_owned()
    };
    let budget = |tokens| Reasoning { budget_tokens: Some(tokens), enabled: Some(true), ..Reasoning::default() };
    assert_eq!([1024, 4096, 16_384].map(|tokens| effort(budget(tokens))), ["low", "medium", "high"]);
    assert_eq!(effort(Reasoning { enabled: Some(true), ..Reasoning::default() }), "medium");
    assert_eq!(effort(Reasoning { enabled: Some(false), ..Reasoning::default() }), "-");
    assert_eq!(effort(Reasoning { effort: Some("minimal".to_owned()), ..Reasoning::default() }), "minimal");
}

#[test]
fn a_vendor_is_told_only_what_it_takes() {
    let mark = json!({"type": "ephemeral"});
    let mut turns = vec![turn(Role::System, 0, vec![text("a")]), turn(Role::User, 1, vec![text("a")])];
    for turn in &mut turns {
        turn.parts[0].extra.insert("cache_control".to_owned(), mark.clone());
    }
    let request = ChatRequest { turns, stream: true, ..ChatRequest::default() };
    let target = EncodeTarget {
        model: "m",
        max_output_tokens: None,
        max_tokens_field: "max_tokens",
        stream_options: false,
        cache_control: true,
    };
    let body = |target: &EncodeTarget<'_>| {
        let encoded = OpenAiChat.encode_request(&request, target);
        let body: Value = serde_json::from_slice(&encoded.body).unwrap();
        (body, encoded.dropped.len())
    };
    let (takes_marks, dropped) = body(&target);
    let content = json!([{"type": "text", "text": "a", "cache_control": mark}]);
    assert_eq!((&takes_marks["messages"][0]["content"], &takes_marks["messages"][1]["content"]), (&content, &content));
    assert_eq!((takes_marks.get("stream_options"), dropped), (None, 0));

    let (plain, dropped) = body(&EncodeTarget { stream_options: true, cache_control: false, ..target });
    assert_eq!((&plain["messages"][0]["content"], &plain["messages"][1]["content"]), (&json!("a"), &json!("a")));
    assert_eq!((&plain["stream_options"], dropped), (&json!({"include_usage": true}), 2));
}

#[test]
fn leading_system_messages_become_one() {
    let (messages, _) = messages(vec![
        turn(Role::System, 0, vec![text("a")]),
        turn(Role::Developer, 1, vec![text("b")]),
        turn(Role::User, 2, vec![text("x")]),
    ]);
    let texts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    assert_eq!(messages, json!([{"role": "system", "content": texts}, {"role": "user", "content": "x"}]));
}
