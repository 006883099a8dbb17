//! What a request that passes as it came may allocate, whatever its size: a few small things, never its body. And what an answer
//! may that is translated.

#![allow(clippy::unwrap_used, reason = "a test")]

use bytes::Bytes;
use std::sync::Arc;

use gateway_core::dialect::{Dialect, ProviderDialect};
use gateway_dialects::codec::{self, Answer};
use gateway_dialects::envelope::Envelope;
use serde_json::json;

fn request(words: usize) -> Bytes {
    let content = "a \"word\"\n".repeat(words);
    let body = json!({"model": "openai/gpt-4o", "messages": [{"role": "user", "content": content}], "stream": false});
    Bytes::from(body.to_string())
}

fn answer(words: usize) -> String {
    let message = json!({"role": "assistant", "content": "a \"word\"\n".repeat(words)});
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30});
    json!({"id": "chatcmpl-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage})
        .to_string()
}

#[test]
fn a_request_is_read_and_renamed_with_few_allocations() {
    for words in [1, 10_000] {
        let body = request(words);
        let counted = allocation_counter::measure(|| {
            let envelope = Envelope::read(&body).unwrap();
            let pieces = envelope.splice(&body, "gpt-4o", false);
            assert_eq!(pieces.len(), 3);
        });
        assert!(counted.count_total <= 6, "{words} words: {counted:?}");
        assert!(counted.bytes_total <= 1024, "{words} words: {counted:?}");
    }
}

#[test]
fn the_account_of_an_answer_is_read_with_few_allocations() {
    let codec = codec::provider(ProviderDialect::OpenAiChat);
    for words in [1, 10_000] {
        let body = answer(words);
        let counted = allocation_counter::measure(|| {
            let glance = codec.glance(body.as_bytes()).unwrap();
            assert_eq!(glance.usage.unwrap().output, 20);
        });
        assert!(counted.count_total <= 1, "{words} words: {counted:?}");
        assert!(counted.bytes_total <= 1024, "{words} words: {counted:?}");
    }
}

#[test]
fn an_answer_is_translated_with_few_allocations_whatever_its_size() {
    let about = Answer {
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
    };
    for words in [1, 10_000] {
        let body = answer(words);
        let counted = allocation_counter::measure(|| {
            let response = codec::provider(ProviderDialect::OpenAiChat).decode_response(body.as_bytes()).unwrap();
            let client = codec::client(Dialect::AnthropicMessages);
            assert!(client.losses(&response).is_empty());
            assert!(client.encode_response(response, &about).len() > 9 * words);
        });
        // What is written grows by doubling; while it is copied, old and new count.
        assert!(counted.count_total <= 60, "{words} words: {counted:?}");
        assert!(counted.bytes_max <= 5 * body.len() as u64 + 4096, "{words} words: {counted:?}");
    }
}
