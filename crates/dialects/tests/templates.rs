//! An event that is read as the one before with another text says what it says when it is read by itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

mod common;

use bytes::Bytes;
use gateway_core::dialect::ProviderDialect::{self, AnthropicMessages, OpenAiChat};
use gateway_core::event::StreamEvent;
use gateway_dialects::codec::{self, Ending, EventRole};
use gateway_dialects::sse::SseDecoder;
use proptest::prelude::*;

fn decode(from: ProviderDialect, sse: &str) -> (Vec<StreamEvent>, Vec<EventRole>, Ending) {
    let (mut bytes, mut decoder) = (SseDecoder::new(), codec::provider(from).stream_decoder());
    let (mut events, mut roles) = (Vec::new(), Vec::new());
    bytes.push(Bytes::copy_from_slice(sse.as_bytes()));
    while let Some(frame) = bytes.next_frame().unwrap() {
        roles.extend(frame.event().map(|event| decoder.push(&event, &mut events)));
    }
    let ending = decoder.finish(&mut events);
    for event in &mut events {
        if let StreamEvent::Error(error) = event {
            // It has the place in it, or the event itself.
            error.message.clear();
        }
    }
    (events, roles, ending)
}

/// The same events, of which no two neighbours are alike: each begins with more white space than the one before.
fn apart(sse: &str) -> String {
    let mut events = 0;
    let line = |line: &str| {
        let Some(rest) = line.strip_prefix("data:").and_then(|data| data.trim_start().strip_prefix('{')) else {
            return line.to_owned();
        };
        events = (events + 1) % 7;
        format!("data: {{{}{rest}", " ".repeat(events))
    };
    sse.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn recorded_streams_say_the_same() {
    let root = std::env::var_os("LLM_GATEWAY_WIRE")
        .map_or_else(|| common::root().join("../shared/wire"), std::path::PathBuf::from);
    let (mut files, mut texts) = (0, 0);
    for file in std::fs::read_dir(root.join("open")).into_iter().flatten().flatten() {
        let name = file.file_name().into_string().unwrap();
        let from = if name.contains(".messages.stream.") { AnthropicMessages } else { OpenAiChat };
        if from == OpenAiChat && !name.contains(".chat-completions.stream.") {
            continue;
        }
        let exchange: serde_json::Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
        let Some(sse) = exchange["response"]["sse"].as_str() else { continue };
        let whole = decode(from, sse);
        assert_eq!(whole, decode(from, &apart(sse)), "{name}");
        files += 1;
        texts += whole.0.iter().filter(|event| matches!(event, StreamEvent::Delta(_))).count();
    }
    println!("{files} recordings with {texts} deltas");
}

const CHUNKS: [&str; 14] = [
    r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{"content":"TEXT"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"FILLER"}"#,
    r#"{"id":"c","obfuscation":"FILLER","choices":[{"delta":{"content":"TEXT"}}]}"#,
    r#"{"id":"c","choices":[{"delta":{"content":null,"reasoning_content":"TEXT"}}]}"#,
    r#"{"id":"c","choices":[{"delta":{"content":"TEXT","reasoning":"TEXT"}}]}"#,
    r#"{"id":"c","choices":[{"delta":{"content":"TEXT","content":"TEXT"}}]}"#,
    r#"{"id":"c","choices":[{"delta":{"content":"TEXT"},"finish_reason":"stop"}]}"#,
    r#"{"id":"c","choices":[{"index":1,"delta":{"content":"TEXT"}}]}"#,
    r#"{"id":"c","choices":[{"delta":{"content":"TEXT","annotations":[{"type":"url_citation"}]}}]}"#,
    r#"{"id":"c","choices":[{"delta":{"tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":"TEXT"}}]}}]}"#,
    r#"{"id":"c","choices":[{"delta":{"content":"TEXT"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
    r#"{"id":"c","choices":[{"delta":{"content":"TEXT"},"logprobs":{"content":[1]}}]}"#,
    r#"{"id":"c","choices":[{"message":{"content":"TEXT"}}]}"#,
    r#"{"error":{"message":"TEXT"}}"#,
];

const EVENTS: [&str; 13] = [
    r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":1}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"TEXT"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"TEXT"}   }"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"TEXT"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"TEXT"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"TEXT"}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"TEXT"}}"#,
    r#"{"type":"content_block_stop","index":0}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}"#,
];

const TEXTS: [&str; 9] = ["", "a", " b ", "\\n", "\\\"é\\u00e9", "{\\\"x\\\":", "}", "\\ud83d", "\\x"];

/// A row of events, some of them several times with other texts.
fn stream(kinds: &'static [&'static str]) -> impl Strategy<Value = String> {
    let some = (0..kinds.len(), proptest::collection::vec((0..TEXTS.len(), 0..TEXTS.len()), 1..4));
    proptest::collection::vec(some, 1..12).prop_map(move |rows| {
        let event = |kind: &str, (text, filler): (usize, usize)| {
            format!("data: {}\n\n", kind.replace("TEXT", TEXTS[text]).replace("FILLER", TEXTS[filler]))
        };
        rows.into_iter().flat_map(|(kind, texts)| texts.into_iter().map(move |it| event(kinds[kind], it))).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chunks_say_the_same(sse in stream(&CHUNKS)) {
        prop_assert_eq!(decode(OpenAiChat, &sse), decode(OpenAiChat, &apart(&sse)));
    }

    #[test]
    fn any_events_say_the_same(sse in stream(&EVENTS)) {
        // What comes before the first block is refused.
        let sse = format!("data: {}\n\n{sse}", EVENTS[1]);
        prop_assert_eq!(decode(AnthropicMessages, &sse), decode(AnthropicMessages, &apart(&sse)));
    }
}
