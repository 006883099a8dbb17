//! Rows for answers.

use super::{Approximated, Carried, Dropped, Nothing, Row};

pub(super) const CHAT_TO_MESSAGES: &[Row] = &[
    ("id", r#"{"id": "c1"}"#, Approximated("with the prefix that clients expect", r#"{"id": "msg_c1"}"#, &[])),
    ("model", r#"{"model": "m"}"#, Carried(r#"{"model": "m"}"#)),
    (
        "message.content",
        r#"{"choices": [{"message": {"content": "Hi"}}]}"#,
        Carried(r#"{"content": [{"type": "text", "text": "Hi"}]}"#),
    ),
    (
        "message.refusal",
        r#"{"choices": [{"message": {"content": null, "refusal": "No."}}]}"#,
        Carried(r#"{"content": [{"type": "text", "text": "No."}], "stop_reason": "refusal"}"#),
    ),
    (
        "message.reasoning_content, message.reasoning",
        r#"{"choices": [{"message": {"reasoning_content": "hm"}}]}"#,
        Carried(r#"{"content": [{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text"}]}"#),
    ),
    (
        "message.tool_calls[].function",
        r#"{"choices": [{"message": {"content": null, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]}, "finish_reason": "tool_calls"}]}"#,
        Carried(
            r#"{"content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}], "stop_reason": "tool_use"}"#,
        ),
    ),
    (
        "message.tool_calls[].function.arguments (cut off)",
        r#"{"choices": [{"message": {"content": null, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":"}}]}, "finish_reason": "length"}]}"#,
        Approximated(
            "an object that holds the text",
            r#"{"content": [{"type": "tool_use", "input": {"_raw": "{\"x\":"}}], "stop_reason": "max_tokens"}"#,
            &[],
        ),
    ),
    (
        "message.tool_calls[].custom",
        r#"{"choices": [{"message": {"tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "c", "input": "x"}}]}}]}"#,
        Dropped(&["custom"]),
    ),
    (
        "message.tool_calls[].extra_content",
        r#"{"choices": [{"message": {"tool_calls": [{"id": "a", "type": "function", "extra_content": {"g": 1}, "function": {"name": "f", "arguments": "{}"}}]}}]}"#,
        Dropped(&["choices[0].message.tool_calls.extra_content"]),
    ),
    (
        "message.annotations",
        r#"{"choices": [{"message": {"annotations": [{"type": "url_citation", "url_citation": {"url": "https://example.org"}}]}}]}"#,
        Dropped(&["citations"]),
    ),
    ("message.audio", r#"{"choices": [{"message": {"audio": {"id": "a"}}}]}"#, Dropped(&["choices[0].message.audio"])),
    ("message (anything else)", r#"{"choices": [{"message": {"x_new": 1}}]}"#, Dropped(&["choices[0].message.x_new"])),
    ("finish_reason: stop", r#"{"choices": [{"finish_reason": "stop"}]}"#, Carried(r#"{"stop_reason": "end_turn"}"#)),
    (
        "finish_reason: length",
        r#"{"choices": [{"finish_reason": "length"}]}"#,
        Carried(r#"{"stop_reason": "max_tokens"}"#),
    ),
    (
        "finish_reason: content_filter",
        r#"{"choices": [{"finish_reason": "content_filter"}]}"#,
        Carried(r#"{"stop_reason": "refusal"}"#),
    ),
    (
        "finish_reason (anything else)",
        r#"{"choices": [{"finish_reason": "tired"}]}"#,
        Approximated("the answer has ended", r#"{"stop_reason": "end_turn"}"#, &["stop_reason"]),
    ),
    (
        "choices[0].logprobs",
        r#"{"choices": [{"logprobs": {"content": [{"token": "Hi"}]}}]}"#,
        Dropped(&["choices[0].logprobs"]),
    ),
    (
        "choices[0] (anything else)",
        r#"{"choices": [{"content_filter_results": {"hate": {"filtered": false}}}]}"#,
        Dropped(&["choices[0].content_filter_results"]),
    ),
    ("created", r#"{"created": 5}"#, Approximated("there is no place for it", "{}", &[])),
    (
        "service_tier, moderation, metadata",
        r#"{"service_tier": "flex", "moderation": {"input": {}}, "metadata": {"k": "v"}}"#,
        Dropped(&["metadata", "moderation", "service_tier"]),
    ),
    (
        "usage",
        r#"{"usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 2}}}"#,
        Carried(
            r#"{"usage": {"input_tokens": 3, "cache_read_input_tokens": 6, "cache_creation_input_tokens": 1, "output_tokens": 4, "output_tokens_details": {"thinking_tokens": 2}}}"#,
        ),
    ),
    (
        "usage (anything else)",
        r#"{"usage": {"prompt_tokens_details": {"audio_tokens": 5}}}"#,
        Dropped(&["usage.prompt_tokens_details.audio_tokens"]),
    ),
    ("(anything else)", r#"{"x_new": 1}"#, Dropped(&["x_new"])),
    (
        "service_tier (default), system_fingerprint",
        r#"{"service_tier": "default", "system_fingerprint": "fp"}"#,
        Nothing("the tier that everybody gets, the name of the provider's build"),
    ),
];

pub(super) const MESSAGES_TO_CHAT: &[Row] = &[
    ("id, model", r#"{"id": "msg_1"}"#, Carried(r#"{"id": "msg_1", "model": "m"}"#)),
    (
        "content[]: text",
        r#"{"content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]}"#,
        Carried(r#"{"choices": [{"message": {"content": "AB"}}]}"#),
    ),
    (
        "content[].citations",
        r#"{"content": [{"type": "text", "text": "A", "citations": [{"type": "char_location", "cited_text": "x"}]}]}"#,
        Dropped(&["citations"]),
    ),
    (
        "content[]: thinking",
        r#"{"content": [{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "A"}]}"#,
        Carried(r#"{"choices": [{"message": {"content": "A", "reasoning_content": "hm"}}]}"#),
    ),
    (
        "thinking.signature",
        r#"{"content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "A"}]}"#,
        Dropped(&["signature"]),
    ),
    (
        "content[]: redacted_thinking",
        r#"{"content": [{"type": "redacted_thinking", "data": "d"}, {"type": "text", "text": "A"}]}"#,
        Dropped(&["redacted_thinking"]),
    ),
    (
        "content[]: tool_use",
        r#"{"content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}, "caller": {"type": "direct"}}], "stop_reason": "tool_use"}"#,
        Carried(
            r#"{"choices": [{"message": {"content": null, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]}, "finish_reason": "tool_calls"}]}"#,
        ),
    ),
    (
        "tool_use.caller (code that the provider runs)",
        r#"{"content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}, "caller": {"type": "code_execution_20260120", "tool_id": "s"}}]}"#,
        Dropped(&["tool_use.caller.tool_id"]),
    ),
    (
        "tool_use.toolset_name",
        r#"{"content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}, "toolset_name": "t"}]}"#,
        Dropped(&["tool_use.toolset_name"]),
    ),
    (
        "content[]: server_tool_use, *_tool_result, container_upload, …",
        r#"{"content": [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}, {"type": "text", "text": "A"}]}"#,
        Dropped(&["server_tool_use", "web_search_tool_result"]),
    ),
    ("stop_reason: end_turn", r#"{"stop_reason": "end_turn"}"#, Carried(r#"{"choices": [{"finish_reason": "stop"}]}"#)),
    (
        "stop_reason: max_tokens, model_context_window_exceeded",
        r#"{"stop_reason": "model_context_window_exceeded"}"#,
        Carried(r#"{"choices": [{"finish_reason": "length"}]}"#),
    ),
    (
        "stop_reason: refusal",
        r#"{"stop_reason": "refusal", "content": []}"#,
        Carried(r#"{"choices": [{"finish_reason": "content_filter", "message": {"content": ""}}]}"#),
    ),
    (
        "stop_reason: stop_sequence",
        r#"{"stop_reason": "stop_sequence", "stop_sequence": "END"}"#,
        Approximated("that it stopped, not where", r#"{"choices": [{"finish_reason": "stop"}]}"#, &["stop_sequence"]),
    ),
    (
        "stop_reason: pause_turn",
        r#"{"stop_reason": "pause_turn"}"#,
        Approximated("that it stopped, not why", r#"{"choices": [{"finish_reason": "stop"}]}"#, &["stop_reason"]),
    ),
    (
        "stop_details, container, diagnostics, context_management",
        r#"{"stop_details": {"type": "refusal", "category": "cyber"}, "container": {"id": "c"}}"#,
        Dropped(&["container", "stop_details"]),
    ),
    (
        "usage",
        r#"{"usage": {"input_tokens": 3, "cache_read_input_tokens": 6, "cache_creation_input_tokens": 1, "output_tokens": 4, "output_tokens_details": {"thinking_tokens": 2}}}"#,
        Carried(
            r#"{"usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 2}}}"#,
        ),
    ),
    (
        "usage: server_tool_use, service_tier, inference_geo, speed, …",
        r#"{"usage": {"server_tool_use": {"web_search_requests": 1}, "service_tier": "priority"}}"#,
        Dropped(&["usage.server_tool_use", "usage.service_tier"]),
    ),
    ("(anything else)", r#"{"x_new": 1}"#, Dropped(&["x_new"])),
];

pub(super) const CHAT_TO_NATIVE: &[Row] = &[
    ("id, model", r#"{"id": "c1"}"#, Carried(r#"{"id": "c1", "model": "m"}"#)),
    ("message.content", r#"{"choices": [{"message": {"content": "Hi"}}]}"#, Carried(r#"{"content": "Hi"}"#)),
    (
        "message.refusal",
        r#"{"choices": [{"message": {"content": null, "refusal": "No."}}]}"#,
        Carried(r#"{"content": "", "refusal": "No."}"#),
    ),
    (
        "message.reasoning_content, message.reasoning",
        r#"{"choices": [{"message": {"reasoning": "hm"}}]}"#,
        Carried(r#"{"reasoning": "hm"}"#),
    ),
    (
        "message.tool_calls[].function",
        r#"{"choices": [{"message": {"tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}, "finish_reason": "stop"}]}"#,
        Carried(
            r#"{"tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}], "finish_reason": "tool_calls"}"#,
        ),
    ),
    (
        "message.tool_calls[].extra_content",
        r#"{"choices": [{"message": {"tool_calls": [{"id": "a", "type": "function", "extra_content": {"g": 1}, "function": {"name": "f", "arguments": "{}"}}]}}]}"#,
        Carried(r#"{"tool_calls": [{"id": "a", "extra_content": {"g": 1}}]}"#),
    ),
    (
        "message.annotations",
        r#"{"choices": [{"message": {"annotations": [{"type": "url_citation", "url_citation": {"url": "https://example.org"}}]}}]}"#,
        Dropped(&["citations"]),
    ),
    ("finish_reason", r#"{"choices": [{"finish_reason": "length"}]}"#, Carried(r#"{"finish_reason": "length"}"#)),
    (
        "choices[0].logprobs",
        r#"{"choices": [{"logprobs": {"content": [{"token": "Hi"}]}}]}"#,
        Dropped(&["choices[0].logprobs"]),
    ),
    (
        "created",
        r#"{"created": 5}"#,
        Approximated("the gateway's own time of the answer", r#"{"timestamp": "2026-01-01T00:00:00Z"}"#, &[]),
    ),
    (
        "usage",
        r#"{"usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 6}, "completion_tokens_details": {"reasoning_tokens": 2}}}"#,
        Carried(
            r#"{"usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "cached_tokens": 6, "reasoning_tokens": 2}}"#,
        ),
    ),
    ("service_tier, …", r#"{"service_tier": "flex"}"#, Dropped(&["service_tier"])),
    (
        "service_tier (default), system_fingerprint",
        r#"{"service_tier": "default", "system_fingerprint": "fp"}"#,
        Nothing("the tier that everybody gets, the name of the provider's build"),
    ),
];

pub(super) const MESSAGES_TO_NATIVE: &[Row] = &[
    ("id, model", r#"{"id": "msg_1"}"#, Carried(r#"{"id": "msg_1", "model": "m"}"#)),
    (
        "content[]: text",
        r#"{"content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]}"#,
        Carried(r#"{"content": "AB"}"#),
    ),
    (
        "content[]: thinking",
        r#"{"content": [{"type": "thinking", "thinking": "hm", "signature": ""}]}"#,
        Carried(r#"{"content": "", "reasoning": "hm"}"#),
    ),
    (
        "content[]: redacted_thinking",
        r#"{"content": [{"type": "redacted_thinking", "data": "d"}]}"#,
        Dropped(&["redacted_thinking"]),
    ),
    (
        "content[]: tool_use",
        r#"{"content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}], "stop_reason": "tool_use"}"#,
        Carried(
            r#"{"tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}], "finish_reason": "tool_calls"}"#,
        ),
    ),
    (
        "content[]: server_tool_use, …",
        r#"{"content": [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}]}"#,
        Dropped(&["server_tool_use"]),
    ),
    (
        "content[].citations",
        r#"{"content": [{"type": "text", "text": "A", "citations": [{"type": "char_location"}]}]}"#,
        Dropped(&["citations"]),
    ),
    ("stop_reason", r#"{"stop_reason": "refusal", "content": []}"#, Carried(r#"{"finish_reason": "content_filter"}"#)),
    (
        "stop_reason: stop_sequence",
        r#"{"stop_reason": "stop_sequence", "stop_sequence": "END"}"#,
        Approximated("that it stopped, not where", r#"{"finish_reason": "stop"}"#, &["stop_sequence"]),
    ),
    (
        "usage",
        r#"{"usage": {"input_tokens": 3, "cache_read_input_tokens": 6, "cache_creation_input_tokens": 1, "output_tokens": 4}}"#,
        Approximated(
            "what was written to the provider's cache counts as input",
            r#"{"usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "cached_tokens": 6}}"#,
            &[],
        ),
    ),
    ("(anything else)", r#"{"container": {"id": "c"}}"#, Dropped(&["container"])),
];
