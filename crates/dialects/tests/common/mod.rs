//! What tests of translation share: a request, an answer or a stream, from one dialect to another.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking and use what they need")]

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use gateway_core::chat::Encoded;
use gateway_core::dialect::{Dialect, ProviderDialect};
use gateway_core::error::GatewayError;
use gateway_core::event::StreamEvent;
use gateway_dialects::codec::{self, Answer, EncodeTarget, Ending};
use gateway_dialects::sse::SseDecoder;
use serde_json::Value;

pub(crate) fn answer() -> Answer {
    Answer {
        request_id: "req_1".to_owned(),
        provider: Arc::from("provider"),
        model: Arc::from("model"),
        created: 7,
        timestamp: "2026-01-01T00:00:00Z".to_owned(),
        latency_ms: 1.5,
        include_usage: true,
        metadata: None,
        price: Arc::new(|_| None),
        cache_key: None,
    }
}

/// `native`, `chat` or `messages`.
pub(crate) fn dialect(name: &str) -> Dialect {
    match name {
        "native" => Dialect::Native,
        "chat" => Dialect::OpenAiChat,
        "messages" => Dialect::AnthropicMessages,
        other => panic!("no dialect {other}"),
    }
}

pub(crate) fn provider(name: &str) -> ProviderDialect {
    match name {
        "chat" => ProviderDialect::OpenAiChat,
        "messages" => ProviderDialect::AnthropicMessages,
        other => panic!("no dialect of providers {other}"),
    }
}

/// The model that is asked in a dialect; both can reason.
pub(crate) fn target(to: &str) -> EncodeTarget<'static> {
    let model = if to == "chat" { "gpt-5.1" } else { "claude-sonnet-4-5" };
    EncodeTarget {
        model,
        max_output_tokens: Some(64_000),
        max_tokens_field: "max_completion_tokens",
        stream_options: true,
        cache_control: false,
    }
}

pub(crate) fn request(from: &str, to: &str, body: &Value) -> Result<(Value, Encoded), GatewayError> {
    let read = codec::client(dialect(from)).decode_request(body.to_string().as_bytes())?;
    let encoded = codec::provider(provider(to)).encode_request(&read, &target(to));
    Ok((serde_json::from_slice(&encoded.body).unwrap(), encoded))
}

/// A whole answer in the client's dialect, and what it could not say.
pub(crate) fn whole(from: &str, to: &str, body: &Value) -> (Value, Vec<String>) {
    let response = codec::provider(provider(from)).decode_response(body.to_string().as_bytes()).unwrap();
    let client = codec::client(dialect(to));
    let losses = client.losses(&response);
    (serde_json::from_slice(&client.encode_response(response, &answer())).unwrap(), losses)
}

pub(crate) fn events(from: &str, pieces: &[&[u8]]) -> (Vec<StreamEvent>, Ending) {
    let (mut bytes, mut decoder) = (SseDecoder::new(), codec::provider(provider(from)).stream_decoder());
    let mut events = Vec::new();
    for piece in pieces {
        bytes.push(Bytes::copy_from_slice(piece));
        while let Some(frame) = bytes.next_frame().unwrap() {
            frame.event().map(|event| decoder.push(&event, &mut events));
        }
    }
    if let Some(frame) = bytes.finish() {
        frame.event().map(|event| decoder.push(&event, &mut events));
    }
    let ending = decoder.finish(&mut events);
    (events, ending)
}

/// A stream in the client's dialect, as a relay would send it.
pub(crate) fn stream(from: &str, to: &str, pieces: &[&[u8]]) -> String {
    let (events, ending) = events(from, pieces);
    let client = codec::client(dialect(to));
    let (mut encoder, mut out) = (client.stream_encoder(answer()), Vec::new());
    let mut error = (ending == Ending::Truncated).then(|| truncated(to));
    for event in events {
        if let StreamEvent::Error(upstream) = &event {
            error = Some(client.encode_upstream_error(upstream, "req_1"));
        }
        encoder.push(event, &mut out);
    }
    match error {
        Some(error) => out.extend(client.error_event(&error)),
        None => encoder.finish(&mut out),
    }
    String::from_utf8(out).unwrap()
}

fn truncated(to: &str) -> Vec<u8> {
    let error = GatewayError::new(gateway_core::error::ErrorKind::ProviderError, "the answer breaks off");
    codec::client(dialect(to)).encode_error(&error, "req_1")
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares with a file that belongs to the project; `UPDATE_GOLDEN=1` writes it.
pub(crate) fn golden(path: &str, text: &str) {
    let file = root().join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
    }
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        known == text,
        "{path} is not what comes out; if it should be, run UPDATE_GOLDEN=1 cargo test. Now:\n{text}"
    );
}
