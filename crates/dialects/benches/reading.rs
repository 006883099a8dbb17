//! What it costs to read what passes: `cargo bench -p gateway-dialects`.
//!
//! For counts of instructions, which a busy machine does not change: run the binary under `valgrind --tool=callgrind` with
//! `--bench NAME --sample-count 1 --sample-size N` for two values of N, and take the difference.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be set up is to fail")]

use std::sync::Arc;

use bytes::Bytes;
use divan::{Bencher, black_box};
use gateway_core::dialect::{Dialect, ProviderDialect};
use gateway_dialects::codec::{self, Answer, EncodeTarget};
use gateway_dialects::envelope::Envelope;
use gateway_dialects::json;
use gateway_dialects::sse::SseDecoder;
use serde_json::Value;
use serde_json::json;

fn main() {
    divan::main();
}

const TEXT: &str = "The quick brown fox jumps over the \"lazy\" dog, again and again, until all of them are tired.\n";

/// A conversation of so many turns whose texts are so long.
fn request(turns: usize, lines: usize) -> Bytes {
    let turn = |n: usize| {
        let role = if n.is_multiple_of(2) { "user" } else { "assistant" };
        json!({"role": role, "content": TEXT.repeat(lines)})
    };
    let mut messages = vec![json!({"role": "system", "content": "Answer in one sentence."})];
    messages.extend((0..turns).map(turn));
    let body = json!({"model": "openai/gpt-4o", "messages": messages, "temperature": 0.7, "max_tokens": 256,
        "stream": false, "user": "u-1"});
    Bytes::from(body.to_string())
}

const TARGET: EncodeTarget<'_> = EncodeTarget {
    model: "m",
    max_output_tokens: None,
    max_tokens_field: "max_completion_tokens",
    cache_control: false,
    stream_options: true,
};

fn about() -> Answer {
    Answer {
        request_id: "req_1".to_owned(),
        provider: Arc::from("p"),
        model: Arc::from("m"),
        created: 7,
        timestamp: String::new(),
        latency_ms: 1.0,
        include_usage: true,
        metadata: None,
        price: Arc::new(|_| None),
        cache_key: None,
    }
}

/// One long text; turns of a conversation; a long conversation.
#[divan::bench(args = [(1, 10), (7, 1), (1, 1000), (500, 1)])]
fn envelope(bencher: Bencher<'_, '_>, (turns, lines): (usize, usize)) {
    let body = request(turns, lines);
    bencher.bench(|| Envelope::read(black_box(&body)).unwrap());
}

/// Escapes of characters, deep schemas of tools, and everything set apart by white space.
#[divan::bench]
fn pretty_tools(bencher: Bencher<'_, '_>) {
    let tool = |n: usize| {
        let properties = json!({"city": {"type": "string", "description": "Caf\u{e9} \u{1f600}\n"},
            "days": {"type": "integer", "minimum": 1, "maximum": 14}, "unit": {"enum": ["c", "f"]}});
        let parameters = json!({"type": "object", "properties": properties, "required": ["city"]});
        json!({"type": "function", "function": {"name": format!("tool_{n}"), "parameters": parameters}})
    };
    let tools: Vec<Value> = (0..30).map(tool).collect();
    let body = serde_json::to_vec_pretty(&json!({"model": "m", "tools": tools})).unwrap();
    bencher.bench(|| json::check(black_box(&body)).unwrap());
}

#[divan::bench]
fn request_translated(bencher: Bencher<'_, '_>) {
    let body = request(1, 10);
    bencher.bench(|| {
        let request = codec::client(Dialect::OpenAiChat).decode_request(black_box(&body)).unwrap();
        codec::provider(ProviderDialect::AnthropicMessages).encode_request(&request, &TARGET)
    });
}

/// A whole answer of one kilobyte.
fn answer(provider: ProviderDialect) -> String {
    let text = TEXT.repeat(10);
    match provider {
        ProviderDialect::OpenAiChat => {
            let details = json!({"cached_tokens": 0, "audio_tokens": 0});
            let usage = json!({"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30,
                "prompt_tokens_details": details, "completion_tokens_details": {"reasoning_tokens": 0}});
            let message = json!({"role": "assistant", "content": text, "refusal": null, "annotations": []});
            let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"});
            json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1_741_570_283, "model": "gpt-4o",
                "choices": [choice], "usage": usage, "service_tier": "default", "system_fingerprint": "fp_06737a9306"})
            .to_string()
        }
        ProviderDialect::AnthropicMessages => {
            json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
                "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
                "usage": {"input_tokens": 10, "cache_read_input_tokens": 0, "output_tokens": 20}})
            .to_string()
        }
    }
}

/// Its account.
#[divan::bench(args = PROVIDERS)]
fn glance(bencher: Bencher<'_, '_>, provider: ProviderDialect) {
    let (codec, body) = (codec::provider(provider), answer(provider));
    bencher.bench(|| codec.glance(black_box(body.as_bytes())).unwrap());
}

/// The same answer for a client of the other dialect.
#[divan::bench(args = PROVIDERS)]
fn answer_translated(bencher: Bencher<'_, '_>, provider: ProviderDialect) {
    let (body, about) = (answer(provider), about());
    let client = codec::client(other(provider));
    bencher.bench(|| {
        let response = codec::provider(provider).decode_response(black_box(body.as_bytes())).unwrap();
        (client.losses(&response), client.encode_response(response, &about))
    });
}

fn other(provider: ProviderDialect) -> Dialect {
    match provider {
        ProviderDialect::OpenAiChat => Dialect::AnthropicMessages,
        ProviderDialect::AnthropicMessages => Dialect::OpenAiChat,
    }
}

/// A stream of 100 pieces, each in bytes of its own.
fn stream(provider: ProviderDialect) -> Vec<Bytes> {
    let mut events = Vec::new();
    match provider {
        ProviderDialect::OpenAiChat => {
            let mut chunk = |delta: Value, finish: Value| {
                let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
                let chunk = json!({"id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG", "object": "chat.completion.chunk",
                    "created": 1_741_570_283, "model": "gpt-4o-2024-08-06", "service_tier": "default",
                    "system_fingerprint": "fp_06737a9306", "choices": [choice], "usage": null, "obfuscation": "aB3xY9kQ"});
                events.push(format!("data: {chunk}\n\n"));
            };
            chunk(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null);
            (0..100).for_each(|_| chunk(json!({"content": " over the"}), Value::Null));
            chunk(json!({}), json!("stop"));
            events.push("data: [DONE]\n\n".to_owned());
        }
        ProviderDialect::AnthropicMessages => {
            let mut event = |event: Value| {
                let name = event["type"].as_str().unwrap().to_owned();
                events.push(format!("event: {name}\ndata: {event}\n\n"));
            };
            let usage = json!({"input_tokens": 10, "output_tokens": 1});
            event(json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
                "model": "claude", "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage}}));
            event(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}));
            (0..100).for_each(|_| {
                let delta = json!({"type": "text_delta", "text": " over the"});
                event(json!({"type": "content_block_delta", "index": 0, "delta": delta}));
            });
            event(json!({"type": "content_block_stop", "index": 0}));
            let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
            event(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 20}}));
            event(json!({"type": "message_stop"}));
        }
    }
    events.into_iter().map(Bytes::from).collect()
}

const PROVIDERS: [ProviderDialect; 2] = [ProviderDialect::OpenAiChat, ProviderDialect::AnthropicMessages];

/// What is read of a stream that passes as it came.
#[divan::bench(args = PROVIDERS)]
fn stream_tapped(bencher: Bencher<'_, '_>, provider: ProviderDialect) {
    let pieces = stream(provider);
    bencher.bench(|| {
        let (mut sse, mut decoder) = (SseDecoder::new(), codec::provider(provider).stream_decoder());
        let (mut events, mut said) = (Vec::new(), 0);
        for piece in &pieces {
            sse.push(piece.clone());
            while let Some(frame) = sse.next_frame().unwrap() {
                decoder.push(&frame.event().unwrap(), &mut events);
                said += events.drain(..).count();
            }
        }
        said
    });
}

/// The same stream for a client of the other dialect.
#[divan::bench(args = PROVIDERS)]
fn stream_translated(bencher: Bencher<'_, '_>, provider: ProviderDialect) {
    let pieces = stream(provider);
    bencher.bench(|| {
        let (mut sse, mut decoder) = (SseDecoder::new(), codec::provider(provider).stream_decoder());
        let mut encoder = codec::client(other(provider)).stream_encoder(about());
        let (mut events, mut said) = (Vec::new(), 0);
        for piece in &pieces {
            sse.push(piece.clone());
            let mut out = Vec::new();
            while let Some(frame) = sse.next_frame().unwrap() {
                decoder.push(&frame.event().unwrap(), &mut events);
                events.drain(..).for_each(|event| encoder.push(event, &mut out));
            }
            said += out.len();
        }
        said
    });
}
