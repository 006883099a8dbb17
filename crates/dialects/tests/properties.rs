//! What holds for any request, answer and stream.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use common::{answer, dialect, events, provider, request};
use gateway_core::chat::{ChatResponse, FinishReason, Item, Part, PartBody, Place, ToolCall};
use gateway_core::event::{Block, Delta, StreamEvent};
use gateway_core::usage::Usage;
use gateway_dialects::codec;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

fn text() -> impl Strategy<Value = String> {
    "[a-zé\"\\\\ 🌞]{0,8}[a-z]"
}

/// A conversation that both dialects can hold: the user begins, speakers take turns, every call has its result.
fn conversation() -> impl Strategy<Value = Vec<Value>> {
    let turn = (text(), text(), vec(("[a-z]{1,6}", text()), 0..3));
    vec(turn, 1..4).prop_map(|turns| {
        let mut messages = Vec::new();
        for (n, (asked, said, calls)) in turns.into_iter().enumerate() {
            messages.push(json!({"role": "user", "content": asked}));
            let id = |k: usize| format!("call_{n}_{k}");
            let mut message = json!({"role": "assistant", "content": said});
            if !calls.is_empty() {
                let call = |(k, (name, x)): (usize, &(String, String))| {
                    let arguments = json!({"x": x}).to_string();
                    json!({"id": id(k), "type": "function", "function": {"name": name, "arguments": arguments}})
                };
                message["tool_calls"] = calls.iter().enumerate().map(call).collect();
            }
            messages.push(message);
            for (k, (_, result)) in calls.iter().enumerate() {
                messages.push(json!({"role": "tool", "tool_call_id": id(k), "content": result}));
            }
            if !calls.is_empty() {
                messages.push(json!({"role": "assistant", "content": "So."}));
            }
        }
        messages.push(json!({"role": "user", "content": "And?"}));
        messages
    })
}

fn common_request() -> impl Strategy<Value = Value> {
    let tools = vec(("[a-z]{1,6}", text()), 0..3).prop_map(|tools| {
        let mut tools: Vec<Value> = tools
            .into_iter()
            .map(|(name, about)| {
                let schema = json!({"type": "object", "properties": {"x": {"type": "string"}}});
                json!({"type": "function", "function": {"name": name, "description": about, "parameters": schema}})
            })
            .collect();
        tools.dedup_by_key(|tool| tool["function"]["name"].to_string());
        tools
    });
    let params = (1_u64..9999, any::<Option<bool>>(), vec("[a-z]{1,4}", 0..4), 0_u8..=4, text());
    (conversation(), tools, params).prop_map(|(messages, tools, (limit, parallel, stop, temperature, system))| {
        let mut all = vec![json!({"role": "system", "content": system})];
        all.extend(messages);
        let mut body = json!({"model": "gpt-5.1", "messages": all, "max_completion_tokens": limit,
            "temperature": f64::from(temperature) / 4.0, "user": "u"});
        let mut names: Vec<String> = tools.iter().map(|tool| tool["function"]["name"].to_string()).collect();
        names.sort();
        names.dedup();
        // The API wants the tools of which a conversation tells, so those without tools are another matter.
        let base = json!({"type": "function", "function": {"name": "basis", "parameters": {"type": "object", "properties": {}}}});
        let own = if names.len() == tools.len() { tools } else { Vec::new() };
        body["tools"] = std::iter::once(base).chain(own).collect();
        if parallel == Some(false) {
            body["parallel_tool_calls"] = false.into();
            body["tool_choice"] = "auto".into();
        }
        if !stop.is_empty() {
            body["stop"] = stop.into();
        }
        body
    })
}

fn finish_reason() -> impl Strategy<Value = FinishReason> {
    prop_oneof![Just(FinishReason::STOP), Just(FinishReason::Length), Just(FinishReason::ContentFilter)]
}

/// An answer that both dialects can give, in the order in which OpenAI's has room for: thoughts, text, calls.
fn common_answer() -> impl Strategy<Value = ChatResponse> {
    let usage = (0_u64..99, 0_u64..99, 0_u64..99);
    let calls =
        vec(("[a-z]{1,6}", prop_oneof![Just(String::new()), text().prop_map(|x| json!({"x": x}).to_string())]), 0..3);
    (proptest::option::of(text()), text(), calls, finish_reason(), usage).prop_map(
        |(thought, said, calls, finish, (input, cache_read, output))| {
            let mut bodies = Vec::new();
            bodies.extend(thought.map(|text| PartBody::Reasoning { text, signature: None }));
            bodies.push(PartBody::Text(said));
            let finish = if calls.is_empty() { finish } else { FinishReason::ToolCalls };
            for (n, (name, arguments)) in calls.into_iter().enumerate() {
                bodies.push(PartBody::ToolCall(ToolCall { id: format!("call_{n}"), name, arguments }));
            }
            let place = Place { message: None, item: Item::Whole };
            let input = input + cache_read;
            ChatResponse {
                id: "msg_1".to_owned(),
                model: "m".to_owned(),
                created: Some(5),
                parts: bodies.into_iter().map(|body| Part::new(body, place)).collect(),
                finish: Some(finish),
                usage: Some(Usage { input, cache_read, cache_write: 0, output, reasoning: 0 }),
                dropped: Vec::new(),
            }
        },
    )
}

/// What an answer says, whole or as events, without how it was cut into pieces.
fn said(events: &[StreamEvent]) -> (String, Vec<String>, Option<Usage>, Option<FinishReason>) {
    let (mut head, mut blocks, mut usage, mut finish) = (String::new(), Vec::<String>::new(), None, None);
    for event in events {
        match event {
            StreamEvent::Start { id, model, .. } => head = format!("{id} {model}"),
            StreamEvent::BlockStart(Block::ToolCall { id, name }) => blocks.push(format!("call {id} {name} ")),
            StreamEvent::BlockStart(block) => blocks.push(format!("{block:?} ")),
            StreamEvent::Delta(Delta::Text(text) | Delta::Reasoning(text) | Delta::Arguments(text)) => {
                blocks.last_mut().unwrap().push_str(text);
            }
            StreamEvent::Delta(other) => panic!("{other:?}"),
            StreamEvent::Usage(now) | StreamEvent::EstimatedUsage(now) => usage = Some(*now),
            StreamEvent::Finish(reason) => finish = Some(reason.clone()),
            StreamEvent::BlockEnd | StreamEvent::Ping | StreamEvent::Dropped(_) | StreamEvent::Error(_) => {}
        }
    }
    for block in &mut blocks {
        if block.starts_with("call") && block.ends_with(' ') {
            block.push_str("{}");
        }
    }
    (head, blocks, usage, finish)
}

fn any_event() -> impl Strategy<Value = StreamEvent> {
    let block = prop_oneof![
        Just(Block::Text),
        Just(Block::Refusal),
        Just(Block::Reasoning),
        Just(Block::RedactedReasoning("x".into())),
        text().prop_map(|name| Block::ToolCall { id: name.clone(), name }),
        Just(Block::Foreign { kind: "server_tool_use".into(), value: json!({"type": "server_tool_use"}) }),
    ];
    let delta = prop_oneof![
        text().prop_map(Delta::Text),
        text().prop_map(Delta::Reasoning),
        text().prop_map(Delta::Signature),
        text().prop_map(Delta::Arguments),
        Just(Delta::Citation(json!({"type": "char_location"}))),
        Just(Delta::Foreign(json!({"type": "x"}))),
    ];
    prop_oneof![
        Just(StreamEvent::Start { id: "i".into(), model: "m".into(), created: None, usage: None }),
        block.prop_map(StreamEvent::BlockStart),
        delta.prop_map(StreamEvent::Delta),
        Just(StreamEvent::BlockEnd),
        Just(StreamEvent::Dropped("container".into())),
        Just(StreamEvent::Usage(Usage::default())),
        finish_reason().prop_map(StreamEvent::Finish),
        Just(StreamEvent::Ping),
    ]
}

proptest! {
    #[test]
    fn what_both_dialects_can_ask_survives_the_way_there_and_back(body in common_request()) {
        let (there, encoded) = request("chat", "messages", &body).unwrap();
        prop_assert_eq!((encoded.dropped, encoded.approximated), (vec![], vec![]), "{}", there);
        let (back, encoded) = request("messages", "chat", &there).unwrap();
        prop_assert_eq!((encoded.dropped, encoded.approximated), (vec![], vec![]), "{}", there);
        for (key, value) in body.as_object().unwrap() {
            prop_assert_eq!(&back[key], value, "{}", key);
        }
    }

    #[test]
    fn an_encoder_says_nothing_after_its_end(events in vec(any_event(), 0..12), late in vec(any_event(), 1..4)) {
        for to in ["native", "chat", "messages"] {
            let mut encoder = codec::client(dialect(to)).stream_encoder(answer());
            let mut out = Vec::new();
            for event in events.clone() {
                encoder.push(event, &mut out);
            }
            encoder.finish(&mut out);
            let end = out.len();
            for event in late.clone() {
                encoder.push(event, &mut out);
            }
            encoder.finish(&mut out);
            prop_assert_eq!(out.len(), end, "{}: {}", to, String::from_utf8_lossy(&out[end..]));
        }
    }

    #[test]
    fn a_stream_says_what_the_whole_answer_says(response in common_answer()) {
        for name in ["chat", "messages"] {
            let client = codec::client(dialect(name));
            let whole = client.encode_response(response.clone(), &answer());
            let whole = codec::provider(provider(name)).decode_response(&whole).unwrap();
            let (mut encoder, mut stream) = (client.stream_encoder(answer()), Vec::new());
            for event in response.clone().into_events() {
                encoder.push(event, &mut stream);
            }
            encoder.finish(&mut stream);
            let (events, _) = events(name, &[&stream]);
            let (streamed, at_once) = (said(&events), said(&whole.into_events()));
            prop_assert_eq!(&streamed, &at_once, "{}", name);
            prop_assert_eq!(streamed, said(&response.clone().into_events()), "{}", name);
        }
    }
}
