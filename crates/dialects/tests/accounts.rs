//! The account of an answer that passes unchanged is the one that its translation would have.

#![allow(clippy::unwrap_used, reason = "a test")]

use gateway_core::chat::FinishReason;
use gateway_core::dialect::ProviderDialect::{self, AnthropicMessages, OpenAiChat};
use gateway_dialects::codec;

fn agree(dialect: ProviderDialect, body: &str) -> (Option<FinishReason>, Option<(u64, u64, u64)>) {
    let codec = codec::provider(dialect);
    let (glance, decoded) = (codec.glance(body.as_bytes()).unwrap(), codec.decode_response(body.as_bytes()).unwrap());
    assert_eq!((&glance.finish, &glance.usage), (&decoded.finish, &decoded.usage), "{body}");
    (glance.finish, glance.usage.map(|usage| (usage.input, usage.cache_read, usage.output)))
}

#[test]
fn however_the_answer_is_written() {
    let stop = Some(FinishReason::STOP);
    let openai = |body: &str| agree(OpenAiChat, body);
    let message = r#""message":{"role":"assistant","content":"a \"b\" {\"usage\":{\"prompt_tokens\":9}} \\"}"#;
    let usage = r#""usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":2}}"#;
    let plain = format!(r#"{{"choices":[{{"index":0,{message},"finish_reason":"stop"}}],{usage}}}"#);
    assert_eq!(openai(&plain), (stop.clone(), Some((5, 2, 7))));
    // White space, the usage first, escaped names, numbers as vendors write them.
    let spelt = plain.replace("\":", "\" :\n\t").replace("\"usage", "\"us\\u0061ge").replace("7,", "7.0 ,");
    assert_eq!(openai(&spelt.replace("\\\" :\n\t", "\\\":")), (stop.clone(), Some((5, 2, 7))));
    // The second choice is nobody's; the usage of Moonshot's stands in the first.
    let inside =
        format!(r#"{{"usage":null,"choices":[{{"index":1}},{{{message},{usage},"finish_reason":"length"}}]}}"#);
    assert_eq!(openai(&inside), (Some(FinishReason::Length), Some((5, 2, 7))));
    // What a strict reader refuses is still an answer: half a character in its text.
    assert_eq!(openai(&plain.replace("a \\\"b", "\\ud83d")), (stop, Some((5, 2, 7))));
    let details = plain.replace(r#"{"cached_tokens":2}"#, "null");
    assert_eq!(openai(&details).1, Some((5, 0, 7)));
    assert_eq!(openai(r#"{"choices":[{"message":{"content":"x"}}]}"#), (None, None));

    let anthropic = |body: &str| agree(AnthropicMessages, body);
    let message = r#"{"type":"message","content":[{"type":"text","text":"\"usage\":1"}],"stop_reason":"stop_sequence","stop_sequence":"\n\n","usage":{"input_tokens":5,"cache_read_input_tokens":2,"output_tokens":7}}"#;
    let stopped = Some(FinishReason::Stop { sequence: Some("\n\n".to_owned()) });
    assert_eq!(anthropic(message), (stopped, Some((7, 2, 7))));
    let quiet = r#"{"content":[],"stop_reason":null,"stop_sequence":null,"usage":null}"#;
    assert_eq!(anthropic(quiet), (None, None));
}

#[test]
fn what_is_no_answer_has_no_account() {
    for (dialect, body) in [
        (OpenAiChat, r#"{"error":{"message":"no"}}"#),
        (OpenAiChat, r#"{"choices":[{"message":{}}],"error":{"message":"no"}}"#),
        (OpenAiChat, r#"{"choices":null}"#),
        (OpenAiChat, r#"{"choices":[]}"#),
        (OpenAiChat, r#"{"choices":[{"message":{"content":"x"}}]"#),
        (OpenAiChat, "<html>"),
        (AnthropicMessages, r#"{"type":"error","error":{"type":"api_error","message":"no"}}"#),
        (AnthropicMessages, r#"{"type":"error","content":[]}"#),
        (AnthropicMessages, r#"{"type":"message","content":null}"#),
        (AnthropicMessages, r#"{"type":"message","content":[]"#),
    ] {
        let codec = codec::provider(dialect);
        let refused = codec.glance(body.as_bytes()).unwrap_err();
        assert_eq!(refused, codec.decode_response(body.as_bytes()).unwrap_err(), "{body}");
    }
}
