//! Recorded traffic of some thirty vendors, where it is there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking"
)]

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use gateway_core::chat::{ChatResponse, PartBody};
use gateway_core::event::StreamEvent;
use gateway_dialects::codec::{Answer, ClientCodec, EncodeTarget, Ending, EventRole, ProviderCodec};
use gateway_dialects::openai_chat::OpenAiChat;
use gateway_dialects::sse::SseDecoder;
use serde_json::Value;

/// Exchanges whose file name contains `api`: name and content. Empty, with a word about it, where there are none.
fn exchanges(api: &str) -> Vec<(String, Value)> {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/wire");
    let root = std::env::var_os("LLM_GATEWAY_WIRE").map_or_else(default, PathBuf::from);
    let mut found = Vec::new();
    for folder in ["open", "extra"] {
        for entry in std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains(api) && name.ends_with(".json") {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                found.push((name, serde_json::from_str(&text).unwrap()));
            }
        }
    }
    if found.is_empty() {
        println!("skipped: no recordings in {}", root.display());
    }
    found
}

fn decode(pieces: &[&[u8]]) -> (Vec<StreamEvent>, Vec<EventRole>, Ending) {
    let (mut bytes, mut decoder) = (SseDecoder::new(), OpenAiChat.stream_decoder());
    let (mut events, mut roles) = (Vec::new(), Vec::new());
    for piece in pieces {
        bytes.push(Bytes::copy_from_slice(piece));
        while let Some(frame) = bytes.next_frame().unwrap() {
            roles.extend(frame.event().map(|event| decoder.push(&event, &mut events)));
        }
    }
    if let Some(frame) = bytes.finish() {
        roles.extend(frame.event().map(|event| decoder.push(&event, &mut events)));
    }
    let ending = decoder.finish(&mut events);
    (events, roles, ending)
}

fn answer() -> Answer {
    Answer {
        request_id: "req_1".to_owned(),
        provider: Arc::from("p"),
        model: Arc::from("m"),
        created: 7,
        timestamp: String::new(),
        latency_ms: 0.0,
        include_usage: true,
        metadata: None,
        price: Arc::new(|_| None),
        cache_key: None,
    }
}

fn assert_in_order(events: &[StreamEvent], name: &str) {
    let mut open = false;
    for (n, event) in events.iter().enumerate() {
        match event {
            StreamEvent::Start { .. } => assert_eq!(n, 0, "{name}: start"),
            StreamEvent::BlockStart(_) => assert!(!std::mem::replace(&mut open, true), "{name}: blocks overlap"),
            StreamEvent::BlockEnd => assert!(std::mem::replace(&mut open, false), "{name}: end of nothing"),
            StreamEvent::Delta(_) => assert!(open, "{name}: a delta outside of a block"),
            StreamEvent::Finish(_) => assert!(!open && n + 1 == events.len(), "{name}: finish"),
            _ => {}
        }
    }
}

#[test]
fn every_stream_reads_the_same_however_it_is_cut_and_survives_being_written() {
    for (name, exchange) in exchanges(".chat-completions.stream.") {
        let Some(stream) = exchange["response"]["sse"].as_str().map(str::as_bytes) else { continue };
        let whole = decode(&[stream]);
        assert_in_order(&whole.0, &name);
        let failed = whole.0.iter().any(|event| matches!(event, StreamEvent::Error(_)));
        assert_eq!(whole.2 == Ending::Truncated, failed, "{name}");
        assert_eq!(decode(&stream.chunks(1).collect::<Vec<_>>()), whole, "{name}");
        // Every cut of long streams takes minutes: those are cut at some hundred places.
        for cut in (1..stream.len()).step_by(stream.len().div_ceil(if stream.len() > 20_000 { 100 } else { 1000 })) {
            let (a, b) = stream.split_at(cut);
            assert!(decode(&[a, b]) == whole, "{name} cut at {cut}");
        }
        if failed {
            continue;
        }
        let (mut encoder, mut written) = (OpenAiChat.stream_encoder(answer()), Vec::new());
        whole.0.iter().for_each(|event| encoder.push(event.clone(), &mut written));
        encoder.finish(&mut written);
        let again = decode(&[&written]);
        assert_eq!(again.2, Ending::Complete, "{name}");
        assert_eq!(said(&again.0), said(&whole.0), "{name}");
    }
}

/// What a stream says, without how it was cut into pieces: one text, one refusal, one thought, calls in order, the end.
fn said(events: &[StreamEvent]) -> (Vec<String>, Vec<String>, Vec<&StreamEvent>) {
    use gateway_core::event::{Block, Delta};
    let (mut voices, mut calls, mut rest) = (vec![String::new(); 3], Vec::new(), Vec::new());
    let mut voice = 0;
    for event in events {
        match event {
            StreamEvent::BlockStart(Block::ToolCall { id, name }) => calls.push(format!("{id} {name} ")),
            StreamEvent::BlockStart(block) => voice = usize::from(*block == Block::Refusal),
            StreamEvent::Delta(Delta::Text(text)) => voices[voice] += text,
            StreamEvent::Delta(Delta::Reasoning(text)) => voices[2] += text,
            StreamEvent::Delta(Delta::Arguments(text)) => calls.last_mut().unwrap().push_str(text),
            StreamEvent::Finish(_) => rest.push(event),
            _ => {}
        }
    }
    let usage = events.iter().rev().find(|event| matches!(event, StreamEvent::Usage(_)));
    rest.extend(usage);
    for call in &mut calls {
        if call.ends_with(' ') {
            call.push_str("{}");
        }
    }
    (voices, calls, rest)
}

#[test]
fn every_stream_cut_before_its_end_is_truncated() {
    for (name, exchange) in exchanges(".chat-completions.stream.") {
        let Some(stream) = exchange["response"]["sse"].as_str() else { continue };
        let ends = ["\"finish_reason\":\"", "\"finish_reason\": \"", "[DONE]"];
        let end = ends.iter().filter_map(|end| stream.find(end)).min();
        let before = &stream[..end.unwrap_or(stream.len())];
        let frame_end = before.rfind("\n\n").map_or(0, |at| at + 2);
        let (events, _, ending) = decode(&[&before.as_bytes()[..frame_end]]);
        assert_eq!(ending, Ending::Truncated, "{name}");
        assert!(!events.iter().any(|event| matches!(event, StreamEvent::Finish(_))), "{name}");
    }
}

#[test]
fn every_whole_answer_reads_and_reads_the_same_when_written_again() {
    for (name, exchange) in exchanges(".chat-completions.json.") {
        let response = &exchange["response"];
        let status = u16::try_from(response["status"].as_u64().unwrap()).unwrap();
        let body = match response["body_text"].as_str() {
            Some(text) => text.to_owned(),
            None => response["body"].to_string(),
        };
        let error = match (status, OpenAiChat.decode_response(body.as_bytes())) {
            (200, Ok(once)) => {
                let written = OpenAiChat.encode_response(once.clone(), &answer());
                let twice = OpenAiChat.decode_response(&written).unwrap();
                assert_eq!(gist(&twice), gist(&once), "{name}");
                continue;
            }
            (200, Err(error)) => error,
            (status, _) => OpenAiChat.decode_error(status, body.as_bytes()),
        };
        assert!(error.status >= 400 && !error.message.trim().is_empty(), "{name}: {error:?}");
    }
}

fn gist(response: &ChatResponse) -> String {
    let (mut text, mut thoughts, mut calls) = (String::new(), String::new(), Vec::new());
    for part in &response.parts {
        match &part.body {
            PartBody::Text(piece) | PartBody::Refusal(piece) => text += piece,
            PartBody::Reasoning { text, .. } => thoughts += text,
            PartBody::ToolCall(call) => {
                let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
                calls.push((&call.id, &call.name, arguments));
            }
            _ => {}
        }
    }
    let usage = response.usage.map(|usage| (usage.input, usage.cache_read, usage.output, usage.reasoning));
    format!("{text:?} {thoughts:?} {calls:?} {usage:?} {:?}", response.finish)
}

#[test]
fn every_request_reads_and_is_stable_when_written() {
    let target = EncodeTarget {
        model: "o",
        max_output_tokens: None,
        max_tokens_field: "max_completion_tokens",
        stream_options: true,
        cache_control: false,
    };
    for (name, exchange) in exchanges(".chat-completions.") {
        let body = &exchange["request"]["body"];
        if body["messages"].is_null() {
            continue;
        }
        match OpenAiChat.decode_request(body.to_string().as_bytes()) {
            Ok(request) => {
                let once = OpenAiChat.encode_request(&request, &target).body;
                let again = OpenAiChat.decode_request(&once).unwrap();
                let twice = OpenAiChat.encode_request(&again, &target).body;
                assert_eq!(String::from_utf8(twice).unwrap(), String::from_utf8(once).unwrap(), "{name}");
            }
            // A few were recorded for the provider's refusal.
            Err(error) => assert!(exchange["response"]["status"] != 200, "{name}: {error}"),
        }
    }
}
