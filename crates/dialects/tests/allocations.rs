//! What a request that passes as it came may allocate, whatever its size: a few small things, never its body.

#![allow(clippy::unwrap_used, reason = "a test")]

use bytes::Bytes;
use gateway_core::dialect::ProviderDialect;
use gateway_dialects::codec;
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
