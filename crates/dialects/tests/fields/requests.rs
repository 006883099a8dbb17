//! Rows for requests.

use super::{Approximated, Carried, Dropped, Nothing, Refused, Row};

/// Members of a body of `/v1/chat/completions`, as the official Python library 3.54 knows them.
pub(super) const CHAT_FIELDS: &[&str] = &[
    "messages",
    "model",
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// Members of a body of `/v1/messages`, as the official Python library 2.12 knows them (API version 2026-10-21), and those of
/// earlier versions.
pub(super) const MESSAGES_FIELDS: &[&str] = &[
    "max_tokens",
    "messages",
    "model",
    "cache_control",
    "container",
    "diagnostics",
    "inference_geo",
    "metadata",
    "output_config",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "thinking",
    "tool_choice",
    "tools",
    "user_profile_id",
    "workspace_id",
    "temperature",
    "top_p",
    "top_k",
    "output_format",
    "context_management",
    "mcp_servers",
];

pub(super) const CHAT_TO_MESSAGES: &[Row] = &[
    (
        "model",
        r#"{"model": "m"}"#,
        Approximated("the target's name of the model", r#"{"model": "claude-sonnet-4-5"}"#, &[]),
    ),
    (
        "messages[].role: system, developer",
        r#"{"messages": [{"role": "system", "content": "S"}, {"role": "developer", "content": "D"}, {"role": "user", "content": "Hi"}]}"#,
        Carried(
            r#"{"system": [{"type": "text", "text": "S"}, {"type": "text", "text": "D"}], "messages": [{"role": "user", "content": "Hi"}]}"#,
        ),
    ),
    (
        "messages[].role: system (later)",
        r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "system", "content": "S"}]}"#,
        Approximated(
            "there is one place for it, before the conversation",
            r#"{"system": "S", "messages": [{"role": "user", "content": "Hi"}]}"#,
            &[],
        ),
    ),
    (
        "messages[].role: user, assistant",
        r#"{"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}, {"role": "user", "content": "C"}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}, {"role": "user", "content": "C"}]}"#,
        ),
    ),
    (
        "messages[] (two of one role)",
        r#"{"messages": [{"role": "user", "content": "A"}, {"role": "user", "content": "B"}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]}]}"#,
        ),
    ),
    (
        "messages[].role: tool",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]}, {"role": "tool", "tool_call_id": "a", "content": "R"}], "tools": [{"type": "function", "function": {"name": "f"}}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "R"}]}]}"#,
        ),
    ),
    (
        "messages[].role: tool (with a name)",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "a", "name": "f", "content": "R"}], "tools": [{"type": "function", "function": {"name": "f"}}]}"#,
        Dropped(&["messages[2].name"]),
    ),
    (
        "messages[].role: function",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}}, {"role": "function", "name": "f", "content": "R"}], "functions": [{"name": "f"}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {}}]}, {"role": "user", "content": [{"type": "tool_result", "content": "R"}]}]}"#,
        ),
    ),
    (
        "messages[].name",
        r#"{"messages": [{"role": "user", "name": "Ann", "content": "Hi"}]}"#,
        Dropped(&["messages[0].name"]),
    ),
    (
        "messages[].refusal",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": null, "refusal": "No."}, {"role": "user", "content": "?"}]}"#,
        Approximated(
            "as text",
            r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "No."}, {"role": "user", "content": "?"}]}"#,
            &[],
        ),
    ),
    (
        "messages[].audio",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "audio": {"id": "a"}}, {"role": "user", "content": "?"}]}"#,
        Dropped(&["messages[1].audio"]),
    ),
    (
        "messages[].reasoning_content",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "reasoning_content": "hm"}, {"role": "user", "content": "?"}]}"#,
        Dropped(&["messages[1].reasoning_content"]),
    ),
    (
        "messages[].tool_calls[] (arguments cut off)",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":"}}]}, {"role": "tool", "tool_call_id": "a", "content": "R"}], "tools": [{"type": "function", "function": {"name": "f"}}]}"#,
        Dropped(&["messages[1].tool_calls[0].arguments"]),
    ),
    (
        "messages[].tool_calls[].custom",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "c", "input": "x"}}]}, {"role": "user", "content": "?"}]}"#,
        Dropped(&["messages[1].tool_calls[0].custom"]),
    ),
    (
        "content[]: text",
        r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]}]}"#,
        ),
    ),
    (
        "content[].cache_control",
        r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}]}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}]}]}"#,
        ),
    ),
    (
        "content[].cache_control (more than four)",
        r#"{"messages": [{"role": "system", "content": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}]}, {"role": "user", "content": [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "B", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "C", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "D", "cache_control": {"type": "ephemeral"}}]}]}"#,
        Dropped(&["messages[1].content[0].cache_control"]),
    ),
    (
        "content[].prompt_cache_breakpoint",
        r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "A", "prompt_cache_breakpoint": {"mode": "explicit"}}]}]}"#,
        Approximated(
            "a mark with the other API's time to live",
            r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}]}]}"#,
            &["messages[0].content[0].prompt_cache_breakpoint"],
        ),
    ),
    (
        "content[]: image_url (URL)",
        r#"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}]}]}"#,
        ),
    ),
    (
        "content[]: image_url (data)",
        r#"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "auto"}}]}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]}]}"#,
        ),
    ),
    (
        "image_url.detail",
        r#"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}}]}]}"#,
        Dropped(&["messages[0].content[0].detail"]),
    ),
    (
        "content[]: image_url (of another type)",
        r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AAAA"}}]}]}"#,
        Dropped(&["messages[0].content[1].image_url"]),
    ),
    (
        "content[]: input_audio",
        r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]}"#,
        Dropped(&["messages[0].content[1].input_audio"]),
    ),
    (
        "content[]: file (PDF)",
        r#"{"messages": [{"role": "user", "content": [{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}]}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": [{"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}]}]}"#,
        ),
    ),
    (
        "content[]: file (text)",
        r#"{"messages": [{"role": "user", "content": [{"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,SGk="}}]}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": [{"type": "document", "title": "a.txt", "source": {"type": "text", "media_type": "text/plain", "data": "Hi"}}]}]}"#,
        ),
    ),
    (
        "content[]: file (by id)",
        r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "file", "file": {"file_id": "file-abc"}}]}]}"#,
        Dropped(&["messages[0].content[1].file"]),
    ),
    (
        "file.file_id (beside file_data)",
        r#"{"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-abc", "file_data": "data:application/pdf;base64,AAAA"}}]}]}"#,
        Dropped(&["messages[0].content[0].file_id"]),
    ),
    (
        "content[]: (anything else)",
        r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "video_url", "video_url": {"url": "https://example.org/v"}}]}]}"#,
        Dropped(&["messages[0].content[1].video_url"]),
    ),
    ("audio", r#"{"audio": {"voice": "alloy", "format": "mp3"}}"#, Dropped(&["audio"])),
    ("frequency_penalty", r#"{"frequency_penalty": 0.5}"#, Dropped(&["frequency_penalty"])),
    ("frequency_penalty (0)", r#"{"frequency_penalty": 0}"#, Nothing("it is the default")),
    (
        "functions, function_call",
        r#"{"functions": [{"name": "f", "description": "d", "parameters": {"type": "object"}}], "function_call": {"name": "f"}}"#,
        Carried(
            r#"{"tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}], "tool_choice": {"type": "tool", "name": "f"}}"#,
        ),
    ),
    ("logit_bias", r#"{"logit_bias": {"50256": -100}}"#, Dropped(&["logit_bias"])),
    ("logit_bias (empty)", r#"{"logit_bias": {}}"#, Approximated("it asks for nothing", "{}", &["logit_bias"])),
    ("logprobs, top_logprobs", r#"{"logprobs": true, "top_logprobs": 2}"#, Dropped(&["logprobs", "top_logprobs"])),
    ("top_logprobs (0)", r#"{"top_logprobs": 0}"#, Approximated("it asks for nothing", "{}", &["top_logprobs"])),
    ("logprobs (false)", r#"{"logprobs": false}"#, Nothing("it is the default")),
    ("max_completion_tokens", r#"{"max_completion_tokens": 50}"#, Carried(r#"{"max_tokens": 50}"#)),
    ("max_tokens", r#"{"max_tokens": 50}"#, Carried(r#"{"max_tokens": 50}"#)),
    (
        "max_tokens (beside max_completion_tokens)",
        r#"{"max_tokens": 50, "max_completion_tokens": 60}"#,
        Dropped(&["max_tokens"]),
    ),
    ("metadata", r#"{"metadata": {"k": "v"}}"#, Dropped(&["metadata"])),
    ("modalities", r#"{"modalities": ["text", "audio"]}"#, Dropped(&["modalities"])),
    ("modalities (text)", r#"{"modalities": ["text"]}"#, Nothing("it is the default")),
    ("moderation", r#"{"moderation": {"model": "omni-moderation-latest"}}"#, Dropped(&["moderation"])),
    ("n", r#"{"n": 2}"#, Dropped(&["n"])),
    ("n (1)", r#"{"n": 1}"#, Nothing("it is the default")),
    (
        "parallel_tool_calls",
        r#"{"parallel_tool_calls": false, "tools": [{"type": "function", "function": {"name": "f"}}]}"#,
        Carried(r#"{"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}}"#),
    ),
    ("parallel_tool_calls (without tools)", r#"{"parallel_tool_calls": false}"#, Dropped(&["parallel_tool_calls"])),
    ("prediction", r#"{"prediction": {"type": "content", "content": "x"}}"#, Dropped(&["prediction"])),
    ("presence_penalty", r#"{"presence_penalty": -1}"#, Dropped(&["presence_penalty"])),
    ("prompt_cache_key", r#"{"prompt_cache_key": "k"}"#, Dropped(&["prompt_cache_key"])),
    ("prompt_cache_options", r#"{"prompt_cache_options": {"mode": "explicit"}}"#, Dropped(&["prompt_cache_options"])),
    ("prompt_cache_retention", r#"{"prompt_cache_retention": "24h"}"#, Dropped(&["prompt_cache_retention"])),
    (
        "reasoning_effort",
        r#"{"reasoning_effort": "medium"}"#,
        Approximated("as a budget of tokens", r#"{"thinking": {"type": "enabled", "budget_tokens": 8192}}"#, &[]),
    ),
    ("reasoning_effort (none)", r#"{"reasoning_effort": "none"}"#, Carried(r#"{"thinking": {"type": "disabled"}}"#)),
    (
        "reasoning_effort (no room for it)",
        r#"{"reasoning_effort": "high", "max_completion_tokens": 100}"#,
        Dropped(&["reasoning_effort"]),
    ),
    ("response_format: text", r#"{"response_format": {"type": "text"}}"#, Nothing("it is the default")),
    ("response_format: json_object", r#"{"response_format": {"type": "json_object"}}"#, Dropped(&["response_format"])),
    (
        "response_format: json_schema",
        r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", "properties": {}, "additionalProperties": false}}}}"#,
        Carried(
            r#"{"output_config": {"format": {"type": "json_schema", "schema": {"title": "a", "type": "object", "properties": {}, "additionalProperties": false}}}}"#,
        ),
    ),
    (
        "response_format.json_schema.strict",
        r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "a", "strict": true, "schema": {"type": "object", "properties": {}, "additionalProperties": false}}}}"#,
        Approximated(
            "every schema is enforced",
            r#"{"output_config": {"format": {"type": "json_schema"}}}"#,
            &["response_format.json_schema.strict"],
        ),
    ),
    (
        "response_format.json_schema.schema",
        r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "integer", "minimum": 1}}}}"#,
        Approximated(
            "objects are closed, bounds become words",
            r#"{"output_config": {"format": {"schema": {"type": "integer", "description": "(minimum: 1)"}}}}"#,
            &["response_format.json_schema.schema"],
        ),
    ),
    ("safety_identifier", r#"{"safety_identifier": "u1"}"#, Carried(r#"{"metadata": {"user_id": "u1"}}"#)),
    ("seed", r#"{"seed": 7}"#, Dropped(&["seed"])),
    ("service_tier (default)", r#"{"service_tier": "default"}"#, Carried(r#"{"service_tier": "standard_only"}"#)),
    ("service_tier (auto)", r#"{"service_tier": "auto"}"#, Nothing("it is the default")),
    ("service_tier (others)", r#"{"service_tier": "flex"}"#, Dropped(&["service_tier"])),
    ("stop", r#"{"stop": "END"}"#, Carried(r#"{"stop_sequences": ["END"]}"#)),
    ("stop (blank)", r#"{"stop": ["\n", "END"]}"#, Dropped(&["stop"])),
    ("store", r#"{"store": true}"#, Dropped(&["store"])),
    ("stream", r#"{"stream": true}"#, Carried(r#"{"stream": true}"#)),
    (
        "stream_options.include_usage",
        r#"{"stream": true, "stream_options": {"include_usage": true}}"#,
        Nothing("the gateway answers it itself"),
    ),
    (
        "stream_options.include_obfuscation",
        r#"{"stream": true, "stream_options": {"include_obfuscation": true}}"#,
        Dropped(&["stream_options.include_obfuscation"]),
    ),
    ("temperature", r#"{"temperature": 0.5}"#, Carried(r#"{"temperature": 0.5}"#)),
    (
        "temperature (above 1)",
        r#"{"temperature": 1.5}"#,
        Approximated("the highest that there is", r#"{"temperature": 1}"#, &["temperature"]),
    ),
    ("temperature (with thinking)", r#"{"temperature": 0.5, "reasoning_effort": "low"}"#, Dropped(&["temperature"])),
    (
        "tool_choice: auto",
        r#"{"tool_choice": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}"#,
        Carried(r#"{"tool_choice": {"type": "auto"}}"#),
    ),
    (
        "tool_choice: none",
        r#"{"tool_choice": "none", "tools": [{"type": "function", "function": {"name": "f"}}]}"#,
        Carried(r#"{"tool_choice": {"type": "none"}}"#),
    ),
    (
        "tool_choice: required",
        r#"{"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}"#,
        Carried(r#"{"tool_choice": {"type": "any"}}"#),
    ),
    (
        "tool_choice: function",
        r#"{"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": [{"type": "function", "function": {"name": "f"}}]}"#,
        Carried(r#"{"tool_choice": {"type": "tool", "name": "f"}}"#),
    ),
    (
        "tool_choice: allowed_tools",
        r#"{"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, "tools": [{"type": "function", "function": {"name": "f"}}]}"#,
        Dropped(&["tool_choice"]),
    ),
    ("tool_choice (without type)", r#"{"tool_choice": {"function": {"name": "f"}}}"#, Refused("tool_choice.type")),
    (
        "tools[]: function",
        r#"{"tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"x": {"type": "integer", "minimum": 1}}}}}]}"#,
        Carried(
            r#"{"tools": [{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"x": {"type": "integer", "minimum": 1}}}}]}"#,
        ),
    ),
    (
        "tools[].function.strict",
        r#"{"tools": [{"type": "function", "function": {"name": "f", "strict": true, "parameters": {"type": "object", "properties": {}, "additionalProperties": false}}}]}"#,
        Carried(r#"{"tools": [{"name": "f", "strict": true}]}"#),
    ),
    (
        "tools[].function.strict (schema that cannot be enforced)",
        r#"{"tools": [{"type": "function", "function": {"name": "f", "strict": true, "parameters": {"type": "object", "properties": {}}}}]}"#,
        Dropped(&["tools[0].strict"]),
    ),
    (
        "tools[].function.name (of other characters)",
        r#"{"tools": [{"type": "function", "function": {"name": "a.b"}}]}"#,
        Approximated(
            "another name, which is changed back in calls",
            r#"{"tools": [{"name": "a_b"}]}"#,
            &["tools[0].name"],
        ),
    ),
    (
        "tools[].function.parameters (combinators at the top)",
        r#"{"tools": [{"type": "function", "function": {"name": "f", "parameters": {"anyOf": [{"type": "object"}]}}}]}"#,
        Dropped(&["tools[0].parameters.anyOf"]),
    ),
    ("tools[]: custom", r#"{"tools": [{"type": "custom", "custom": {"name": "c"}}]}"#, Dropped(&["tools[0].custom"])),
    ("top_p", r#"{"top_p": 0.5}"#, Carried(r#"{"top_p": 0.5}"#)),
    ("top_p (beside temperature)", r#"{"top_p": 0.5, "temperature": 0.5}"#, Dropped(&["top_p"])),
    ("top_k", r#"{"top_k": 5}"#, Carried(r#"{"top_k": 5}"#)),
    ("user", r#"{"user": "u1"}"#, Carried(r#"{"metadata": {"user_id": "u1"}}"#)),
    ("user (an address)", r#"{"user": "ann@example.org"}"#, Dropped(&["user"])),
    ("user (beside safety_identifier)", r#"{"user": "u1", "safety_identifier": "s1"}"#, Dropped(&["user"])),
    ("verbosity", r#"{"verbosity": "low"}"#, Dropped(&["verbosity"])),
    (
        "web_search_options",
        r#"{"web_search_options": {"search_context_size": "low"}}"#,
        Dropped(&["web_search_options"]),
    ),
    (
        "cache_control, container, context_management, inference_geo, mcp_servers, speed",
        r#"{"cache_control": {"type": "ephemeral"}, "speed": "fast"}"#,
        Carried(r#"{"cache_control": {"type": "ephemeral"}, "speed": "fast"}"#),
    ),
    ("(anything else)", r#"{"x_new": 1}"#, Dropped(&["x_new"])),
];

pub(super) const MESSAGES_TO_CHAT: &[Row] = &[
    ("model", r#"{"model": "m"}"#, Approximated("the target's name of the model", r#"{"model": "gpt-5.1"}"#, &[])),
    ("max_tokens", r#"{"max_tokens": 50}"#, Carried(r#"{"max_completion_tokens": 50}"#)),
    (
        "system",
        r#"{"system": "S"}"#,
        Carried(r#"{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]}"#),
    ),
    (
        "system[].cache_control",
        r#"{"system": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}]}"#,
        Dropped(&["system[0].cache_control"]),
    ),
    (
        "messages[].role: system",
        r#"{"messages": [{"role": "user", "content": "A"}, {"role": "system", "content": "S"}, {"role": "user", "content": "B"}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": "A"}, {"role": "system", "content": "S"}, {"role": "user", "content": "B"}]}"#,
        ),
    ),
    (
        "content[]: text",
        r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "A"}]}]}"#,
        Carried(r#"{"messages": [{"role": "user", "content": "A"}]}"#),
    ),
    (
        "content[].cache_control",
        r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}]}]}"#,
        Dropped(&["messages[0].content[0].cache_control"]),
    ),
    (
        "content[].citations",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": [{"type": "text", "text": "A", "citations": [{"type": "char_location"}]}]}, {"role": "user", "content": "?"}]}"#,
        Dropped(&["messages[1].content[0].citations"]),
    ),
    (
        "content[]: image (URL)",
        r#"{"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}]}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}]}"#,
        ),
    ),
    (
        "content[]: image (base64)",
        r#"{"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]}"#,
        ),
    ),
    (
        "content[]: image (file)",
        r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image", "source": {"type": "file", "file_id": "file_1"}}]}]}"#,
        Dropped(&["messages[0].content[1].image"]),
    ),
    (
        "image.transformations",
        r#"{"messages": [{"role": "user", "content": [{"type": "image", "transformations": {"oversized_image": "error"}, "source": {"type": "url", "url": "https://example.org/a.png"}}]}]}"#,
        Dropped(&["messages[0].content[0].transformations"]),
    ),
    (
        "content[]: document (base64)",
        r#"{"messages": [{"role": "user", "content": [{"type": "document", "title": "T", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}]}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": [{"type": "file", "file": {"filename": "T", "file_data": "data:application/pdf;base64,AAAA"}}]}]}"#,
        ),
    ),
    (
        "content[]: document (text)",
        r#"{"messages": [{"role": "user", "content": [{"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "D"}}]}]}"#,
        Approximated("as text, under its title", r#"{"messages": [{"role": "user", "content": "T\n\nD"}]}"#, &[]),
    ),
    (
        "content[]: document (blocks)",
        r#"{"messages": [{"role": "user", "content": [{"type": "document", "title": "T", "source": {"type": "content", "content": [{"type": "text", "text": "D"}]}}]}]}"#,
        Approximated("as text, under its title", r#"{"messages": [{"role": "user", "content": "T\nD"}]}"#, &[]),
    ),
    (
        "content[]: document (URL)",
        r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}]}]}"#,
        Dropped(&["messages[0].content[1].document"]),
    ),
    (
        "document.context, document.citations",
        r#"{"messages": [{"role": "user", "content": [{"type": "document", "context": "C", "citations": {"enabled": true}, "source": {"type": "text", "media_type": "text/plain", "data": "D"}}]}]}"#,
        Dropped(&["messages[0].content[0].context", "messages[0].content[0].citations"]),
    ),
    (
        "content[]: search_result",
        r#"{"messages": [{"role": "user", "content": [{"type": "search_result", "title": "T", "source": "S", "content": [{"type": "text", "text": "D"}]}]}]}"#,
        Approximated("as text", r#"{"messages": [{"role": "user", "content": "T\nS\nD"}]}"#, &[]),
    ),
    (
        "content[]: thinking, redacted_thinking",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "d"}, {"type": "text", "text": "A"}]}, {"role": "user", "content": "?"}]}"#,
        Dropped(&["messages[1].content[0].thinking", "messages[1].content[1].redacted_thinking"]),
    ),
    (
        "content[]: tool_use, tool_result",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "R"}]}], "tools": [{"name": "f", "input_schema": {"type": "object"}}]}"#,
        Carried(
            r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]}, {"role": "tool", "tool_call_id": "a", "content": "R"}]}"#,
        ),
    ),
    (
        "tool_use.caller, tool_use.toolset_name",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}, "caller": {"type": "direct"}, "toolset_name": "t"}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "R"}]}]}"#,
        Dropped(&["messages[1].content[0].caller", "messages[1].content[0].toolset_name"]),
    ),
    (
        "tool_result.is_error",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "R", "is_error": true}]}]}"#,
        Dropped(&["messages[2].content[0].is_error"]),
    ),
    (
        "tool_result.content[]: image",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}]}]}]}"#,
        Approximated(
            "the user shows it after the result",
            r#"{"messages": [{"role": "user"}, {"role": "assistant"}, {"role": "tool", "content": ""}, {"role": "user", "content": [{"type": "text", "text": "Returned by tool call a:"}, {"type": "image_url"}]}]}"#,
            &[],
        ),
    ),
    (
        "tool_result.content[]: tool_reference, browser_state",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "tool_reference", "tool_name": "g"}]}]}]}"#,
        Dropped(&["messages[2].content[0].content[0].tool_reference"]),
    ),
    (
        "content[]: server_tool_use, *_tool_result, container_upload, …",
        r#"{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}, {"type": "text", "text": "A"}]}, {"role": "user", "content": "?"}]}"#,
        Dropped(&["messages[1].content[0].server_tool_use", "messages[1].content[1].web_search_tool_result"]),
    ),
    ("cache_control", r#"{"cache_control": {"type": "ephemeral"}}"#, Dropped(&["cache_control"])),
    ("container", r#"{"container": "c"}"#, Dropped(&["container"])),
    ("context_management", r#"{"context_management": {"edits": []}}"#, Dropped(&["context_management"])),
    ("diagnostics", r#"{"diagnostics": {"previous_message_id": "m"}}"#, Dropped(&["diagnostics"])),
    ("inference_geo", r#"{"inference_geo": "us"}"#, Dropped(&["inference_geo"])),
    (
        "mcp_servers",
        r#"{"mcp_servers": [{"type": "url", "url": "https://example.org", "name": "m"}]}"#,
        Dropped(&["mcp_servers"]),
    ),
    ("metadata.user_id", r#"{"metadata": {"user_id": "u1"}}"#, Carried(r#"{"user": "u1"}"#)),
    ("metadata (others)", r#"{"metadata": {"k": "v"}}"#, Dropped(&["metadata"])),
    ("output_config.effort", r#"{"output_config": {"effort": "high"}}"#, Carried(r#"{"reasoning_effort": "high"}"#)),
    (
        "output_config.effort (max)",
        r#"{"output_config": {"effort": "max"}}"#,
        Approximated(
            "the highest that every model takes",
            r#"{"reasoning_effort": "high"}"#,
            &["output_config.effort"],
        ),
    ),
    (
        "output_config.format, output_format",
        r#"{"output_config": {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"], "additionalProperties": false}}}}"#,
        Carried(
            r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": {"type": "object"}}}}"#,
        ),
    ),
    (
        "output_config.format (with optional fields)",
        r#"{"output_config": {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": false}}}}"#,
        Approximated(
            "the schema is asked for, not enforced",
            r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "answer"}}}"#,
            &["output_config.format"],
        ),
    ),
    ("service_tier (standard_only)", r#"{"service_tier": "standard_only"}"#, Carried(r#"{"service_tier": "default"}"#)),
    ("service_tier (auto)", r#"{"service_tier": "auto"}"#, Carried(r#"{"service_tier": "auto"}"#)),
    ("speed", r#"{"speed": "fast"}"#, Dropped(&["speed"])),
    ("stop_sequences", r#"{"stop_sequences": ["a", "b"]}"#, Carried(r#"{"stop": ["a", "b"]}"#)),
    (
        "stop_sequences (more than four)",
        r#"{"stop_sequences": ["a", "b", "c", "d", "e"]}"#,
        Dropped(&["stop_sequences[4]"]),
    ),
    ("stream", r#"{"stream": true}"#, Carried(r#"{"stream": true, "stream_options": {"include_usage": true}}"#)),
    ("temperature, top_p", r#"{"temperature": 0.5, "top_p": 0.9}"#, Carried(r#"{"temperature": 0.5, "top_p": 0.9}"#)),
    ("top_k", r#"{"top_k": 5}"#, Dropped(&["top_k"])),
    (
        "thinking: enabled",
        r#"{"thinking": {"type": "enabled", "budget_tokens": 20000}, "max_tokens": 30000}"#,
        Approximated("as an effort", r#"{"reasoning_effort": "high"}"#, &["thinking.budget_tokens"]),
    ),
    (
        "thinking: adaptive",
        r#"{"thinking": {"type": "adaptive"}}"#,
        Approximated("as an effort", r#"{"reasoning_effort": "medium"}"#, &[]),
    ),
    ("thinking.display", r#"{"thinking": {"type": "adaptive", "display": "omitted"}}"#, Dropped(&["thinking.display"])),
    ("thinking: between_tools", r#"{"thinking": {"type": "between_tools"}}"#, Dropped(&["thinking.between_tools"])),
    ("thinking: disabled (model that reasons)", r#"{"thinking": {"type": "disabled"}}"#, Dropped(&["thinking"])),
    ("thinking: (anything else)", r#"{"thinking": {"type": "on"}}"#, Refused("thinking.type")),
    (
        "tool_choice: auto, any, none, tool",
        r#"{"tool_choice": {"type": "any"}, "tools": [{"name": "f", "input_schema": {"type": "object"}}]}"#,
        Carried(r#"{"tool_choice": "required"}"#),
    ),
    (
        "tool_choice.name",
        r#"{"tool_choice": {"type": "tool", "name": "f"}, "tools": [{"name": "f", "input_schema": {"type": "object"}}]}"#,
        Carried(r#"{"tool_choice": {"type": "function", "function": {"name": "f"}}}"#),
    ),
    (
        "tool_choice.disable_parallel_tool_use",
        r#"{"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}, "tools": [{"name": "f", "input_schema": {"type": "object"}}]}"#,
        Carried(r#"{"tool_choice": "auto", "parallel_tool_calls": false}"#),
    ),
    (
        "tools[]: name, description, input_schema, strict",
        r#"{"tools": [{"name": "f", "description": "d", "strict": true, "input_schema": {"type": "object", "properties": {}}}]}"#,
        Carried(
            r#"{"tools": [{"type": "function", "function": {"name": "f", "description": "d", "strict": true, "parameters": {"type": "object", "properties": {}}}}]}"#,
        ),
    ),
    (
        "tools[].name (longer than 64)",
        r#"{"tools": [{"name": "a_name_of_more_than_sixty_four_characters_is_more_than_it_takes__and_more", "input_schema": {"type": "object"}}]}"#,
        Approximated(
            "another name, which is changed back in calls",
            r#"{"tools": [{"function": {"name": "a_name_of_more_than_sixty_four_characters_is_more_than__041ab675"}}]}"#,
            &["tools[0].name"],
        ),
    ),
    (
        "tools[]: cache_control, defer_loading, allowed_callers, input_examples, eager_input_streaming",
        r#"{"tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}, "defer_loading": true, "allowed_callers": ["direct"], "input_examples": [{}], "eager_input_streaming": true}]}"#,
        Dropped(&[
            "tools[0].cache_control",
            "tools[0].defer_loading",
            "tools[0].allowed_callers",
            "tools[0].input_examples",
            "tools[0].eager_input_streaming",
        ]),
    ),
    (
        "tools[] (run by the provider)",
        r#"{"tools": [{"type": "web_search_20260318", "name": "web_search"}]}"#,
        Dropped(&["tools[0].web_search_20260318"]),
    ),
    ("user_profile_id", r#"{"user_profile_id": "u"}"#, Dropped(&["user_profile_id"])),
    ("workspace_id", r#"{"workspace_id": "w"}"#, Dropped(&["workspace_id"])),
    ("(anything else)", r#"{"x_new": 1}"#, Dropped(&["x_new"])),
];

pub(super) const NATIVE_TO_CHAT: &[Row] = &[
    (
        "messages",
        r#"{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]}"#,
        Carried(r#"{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]}"#),
    ),
    (
        "model, provider, routing, skip_cache, metadata",
        r#"{"model": "m", "provider": "p", "routing": {"strategy": "cost"}, "skip_cache": true, "metadata": {"k": 1}}"#,
        Nothing("they are for the gateway itself"),
    ),
    ("temperature", r#"{"temperature": 1.5}"#, Carried(r#"{"temperature": 1.5}"#)),
    ("max_tokens", r#"{"max_tokens": 5}"#, Carried(r#"{"max_completion_tokens": 5}"#)),
    ("top_p", r#"{"top_p": 0.5}"#, Carried(r#"{"top_p": 0.5}"#)),
    ("stop_sequences", r#"{"stop_sequences": ["a"]}"#, Carried(r#"{"stop": ["a"]}"#)),
    (
        "stop_sequences (more than four)",
        r#"{"stop_sequences": ["a", "b", "c", "d", "e"]}"#,
        Dropped(&["stop_sequences[4]"]),
    ),
    ("presence_penalty", r#"{"presence_penalty": 1}"#, Carried(r#"{"presence_penalty": 1}"#)),
    ("frequency_penalty", r#"{"frequency_penalty": 1}"#, Carried(r#"{"frequency_penalty": 1}"#)),
    (
        "tools",
        r#"{"tools": [{"type": "function", "function": {"name": "f", "strict": true, "parameters": {"type": "object"}}}]}"#,
        Carried(
            r#"{"tools": [{"type": "function", "function": {"name": "f", "strict": true, "parameters": {"type": "object"}}}]}"#,
        ),
    ),
    (
        "tool_choice",
        r#"{"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}"#,
        Carried(r#"{"tool_choice": "required"}"#),
    ),
    ("tool_choice (without tools)", r#"{"tool_choice": "required"}"#, Dropped(&["tool_choice"])),
    ("tool_choice (without type)", r#"{"tool_choice": {"function": {"name": "f"}}}"#, Refused("tool_choice.type")),
    (
        "response_format",
        r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": true}}}"#,
        Carried(
            r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": true}}}"#,
        ),
    ),
    ("stream", r#"{"stream": true}"#, Carried(r#"{"stream": true}"#)),
    ("user_id", r#"{"user_id": "u1"}"#, Carried(r#"{"user": "u1"}"#)),
    ("prompt (without messages)", r#"{"messages": null, "prompt": "Once"}"#, Refused("prompt")),
    ("(anything else)", r#"{"top_k": 5}"#, Dropped(&["top_k"])),
];

pub(super) const NATIVE_TO_MESSAGES: &[Row] = &[
    (
        "messages",
        r#"{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]}"#,
        Carried(r#"{"system": "S", "messages": [{"role": "user", "content": "Hi"}]}"#),
    ),
    (
        "model, provider, routing, skip_cache, metadata",
        r#"{"model": "m", "provider": "p", "routing": {"strategy": "cost"}, "skip_cache": true, "metadata": {"k": 1}}"#,
        Nothing("they are for the gateway itself"),
    ),
    ("temperature", r#"{"temperature": 0.5}"#, Carried(r#"{"temperature": 0.5}"#)),
    (
        "temperature (above 1)",
        r#"{"temperature": 1.5}"#,
        Approximated("the highest that there is", r#"{"temperature": 1}"#, &["temperature"]),
    ),
    ("max_tokens", r#"{"max_tokens": 5}"#, Carried(r#"{"max_tokens": 5}"#)),
    ("top_p", r#"{"top_p": 0.5}"#, Carried(r#"{"top_p": 0.5}"#)),
    ("stop_sequences", r#"{"stop_sequences": ["a"]}"#, Carried(r#"{"stop_sequences": ["a"]}"#)),
    ("presence_penalty", r#"{"presence_penalty": 1}"#, Dropped(&["presence_penalty"])),
    ("frequency_penalty", r#"{"frequency_penalty": 1}"#, Dropped(&["frequency_penalty"])),
    (
        "tools",
        r#"{"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}"#,
        Carried(r#"{"tools": [{"name": "f", "input_schema": {"type": "object"}}]}"#),
    ),
    (
        "tool_choice",
        r#"{"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}"#,
        Carried(r#"{"tool_choice": {"type": "any"}}"#),
    ),
    (
        "response_format",
        r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "string"}}}}"#,
        Carried(
            r#"{"output_config": {"format": {"type": "json_schema", "schema": {"type": "string", "title": "a"}}}}"#,
        ),
    ),
    ("stream", r#"{"stream": true}"#, Carried(r#"{"stream": true}"#)),
    ("user_id", r#"{"user_id": "u1"}"#, Carried(r#"{"metadata": {"user_id": "u1"}}"#)),
    ("(anything else)", r#"{"x_new": 5}"#, Dropped(&["x_new"])),
];
