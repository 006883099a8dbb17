//! Reads a messages request, and refuses what Anthropic refuses, in its words.

use std::borrow::Cow;

use serde_json::Value;

use super::rules;
use crate::answer::{Ask, Choice, Format, Tool, ToolResult};
use crate::fault::Fault;
use crate::reply::Rejection;

const LEAST_THINKING_TOKENS: u64 = 1024;
/// From this version of the API on, system messages may stand among the others.
const SYSTEM_ROLE_SINCE: &str = "2026-10-21";

#[derive(Debug)]
pub(crate) struct MessagesRequest<'a> {
    pub(crate) model: &'a str,
    pub(crate) stream: bool,
    /// Tell the signature of the thinking alone.
    pub(crate) hide_thinking: bool,
    pub(crate) ask: Ask<'a>,
}

pub(crate) fn read<'a>(body: &'a Value, version: &str, strict_fields: bool) -> Result<MessagesRequest<'a>, Rejection> {
    let mut ask = check_prompt(body, version)?;
    if strict_fields {
        let unknown = body.as_object().and_then(|fields| fields.keys().find(|name| !FIELDS.contains(&name.as_str())));
        if let Some(unknown) = unknown {
            return Err(Rejection::invalid(format!("{unknown}: Extra inputs are not permitted")));
        }
    }
    let max_tokens = match body.get("max_tokens") {
        None | Some(Value::Null) => return Err(Rejection::invalid("max_tokens: Field required")),
        Some(value) => match value.as_i64() {
            Some(..1) => return Err(Rejection::invalid("max_tokens: Input should be greater than or equal to 1")),
            Some(tokens) => tokens.unsigned_abs(),
            None => return Err(Rejection::invalid("max_tokens: Input should be a valid integer")),
        },
    };
    for name in ["temperature", "top_p"] {
        let Some(value) = body.get(name).filter(|value| !value.is_null()) else { continue };
        match value.as_f64() {
            Some(0.0..=1.0) => {}
            Some(_) => return Err(Rejection::invalid(format!("{name}: range: 0..1"))),
            None => return Err(Rejection::invalid(format!("{name}: Input should be a valid number"))),
        }
    }
    ask.max_tokens = Some(max_tokens);
    ask.stop = stop_sequences(body)?;
    ask.think = thinks(body, max_tokens, !ask.results.is_empty())?;
    ask.format = format(body);
    let stream = match body.get("stream") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(stream)) => *stream,
        Some(_) => return Err(Rejection::invalid("stream: Input should be a valid boolean")),
    };
    let hide_thinking = body.pointer("/thinking/display").and_then(Value::as_str) == Some("omitted");
    let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
    Ok(MessagesRequest { model: Fault::plain_model(model), stream, hide_thinking, ask })
}

/// What counting tokens asks for too: model, messages, system and tools.
pub(crate) fn check_prompt<'a>(body: &'a Value, version: &str) -> Result<Ask<'a>, Rejection> {
    if !body.is_object() {
        return Err(Rejection::invalid("Input should be a valid dictionary or object to extract fields from"));
    }
    match body.get("model") {
        None | Some(Value::Null) => return Err(Rejection::invalid("model: Field required")),
        Some(Value::String(model)) if model.is_empty() => {
            return Err(Rejection::invalid("model: String should have at least 1 character"));
        }
        Some(Value::String(model)) if model.starts_with("missing-") => return Err(super::unknown_model(model)),
        Some(Value::String(_)) => {}
        Some(_) => return Err(Rejection::invalid("model: Input should be a valid string")),
    }
    let mut ask = Ask { parallel: true, ..Ask::default() };
    match body.get("system") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => ask.system.push_str(text),
        Some(Value::Array(blocks)) => {
            for text in blocks.iter().filter_map(|block| block.get("text")).filter_map(Value::as_str) {
                ask.system.push_str(text);
                ask.system.push('\n');
            }
        }
        Some(_) => return Err(Rejection::invalid("system: Input should be a valid string")),
    }
    read_messages(body, version, &mut ask)?;
    read_tools(body, &mut ask)?;
    rules::check_prompt(body)?;
    Ok(ask)
}

fn read_messages<'a>(body: &'a Value, version: &str, ask: &mut Ask<'a>) -> Result<(), Rejection> {
    let messages = match body.get("messages") {
        None | Some(Value::Null) => return Err(Rejection::invalid("messages: Field required")),
        Some(Value::Array(messages)) => messages,
        Some(_) => return Err(Rejection::invalid("messages: Input should be a valid array")),
    };
    if messages.is_empty() {
        return Err(Rejection::invalid("messages: at least one message is required"));
    }
    // The calls of the message before this one.
    let mut open: Vec<(&str, &str)> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let role = match message.get("role").and_then(Value::as_str) {
            Some(role @ ("user" | "assistant")) => role,
            // Dates in this form sort as texts do.
            Some("system") if version >= SYSTEM_ROLE_SINCE => {
                ask.system.push_str(&joined(message.get("content")));
                ask.system.push('\n');
                continue;
            }
            Some("system") => {
                return Err(Rejection::invalid(
                    "messages: Unexpected role \"system\". The Messages API accepts a top-level `system` parameter, not \
                     \"system\" as an input message role.",
                ));
            }
            Some(_) => {
                return Err(Rejection::invalid(format!(
                    "messages.{index}.role: Input should be 'user' or 'assistant'"
                )));
            }
            None => return Err(Rejection::invalid(format!("messages.{index}.role: Field required"))),
        };
        ask.results.clear();
        let mut texts = Vec::new();
        let mut calls = Vec::new();
        let mut answered = Vec::new();
        match message.get("content") {
            None | Some(Value::Null) => {
                return Err(Rejection::invalid(format!("messages.{index}.content: Field required")));
            }
            Some(Value::String(text)) => {
                if text.is_empty() && !(role == "assistant" && index + 1 == messages.len()) {
                    return Err(Rejection::invalid(format!(
                        "messages.{index}: all messages must have non-empty content except for the optional final assistant message"
                    )));
                }
                texts.push(text.as_str());
            }
            Some(Value::Array(blocks)) => {
                for (place, block) in blocks.iter().enumerate() {
                    let at = format_args!("messages.{index}.content.{place}");
                    let text = |name: &str| block.get(name).and_then(Value::as_str);
                    let needed = |name: &str| {
                        text(name).ok_or_else(|| Rejection::invalid(format!("{at}.{name}: Field required")))
                    };
                    match text("type") {
                        None => return Err(Rejection::invalid(format!("{at}.type: Field required"))),
                        Some("text") => {
                            let text = text("text")
                                .ok_or_else(|| Rejection::invalid(format!("{at}.text.text: Field required")))?;
                            if text.is_empty() {
                                return Err(Rejection::invalid("messages: text content blocks must be non-empty"));
                            }
                            texts.push(text);
                        }
                        Some("tool_use") => calls.push((needed("id")?, needed("name")?)),
                        Some("tool_result") => {
                            let id = needed("tool_use_id")?;
                            let Some((_, name)) = open.iter().find(|(known, _)| *known == id) else {
                                return Err(Rejection::invalid(format!(
                                    "{at}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` \
                                     block must have a corresponding `tool_use` block in the previous message."
                                )));
                            };
                            answered.push(id);
                            ask.results.push(ToolResult {
                                name: Cow::Borrowed(*name),
                                text: joined(block.get("content")),
                                is_error: block.get("is_error").and_then(Value::as_bool).unwrap_or(false),
                            });
                        }
                        Some(other) if BLOCKS.contains(&other) || other.ends_with("_tool_result") => {}
                        Some(other) => {
                            return Err(Rejection::invalid(format!(
                                "{at}: Input tag '{other}' found using 'type' does not match any of the expected tags: {}",
                                BLOCKS.map(|tag| format!("'{tag}'")).join(", ")
                            )));
                        }
                    }
                }
            }
            Some(_) => {
                return Err(Rejection::invalid(format!("messages.{index}.content: Input should be a valid array")));
            }
        }
        let left: Vec<&str> = open.iter().map(|(id, _)| *id).filter(|id| !answered.contains(id)).collect();
        if !left.is_empty() {
            return Err(unanswered(index - 1, &left));
        }
        if role == "user" && !texts.is_empty() {
            ask.texts.push(match texts.as_slice() {
                [text] => Cow::Borrowed(*text),
                texts => Cow::Owned(texts.join("\n")),
            });
        }
        open = calls;
    }
    if open.is_empty() {
        return Ok(());
    }
    Err(unanswered(messages.len() - 1, &open.iter().map(|(id, _)| *id).collect::<Vec<_>>()))
}

/// Blocks that need no look inside.
const BLOCKS: [&str; 10] = [
    "text",
    "image",
    "document",
    "search_result",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "tool_result",
    "server_tool_use",
    "container_upload",
];

fn unanswered(index: usize, ids: &[&str]) -> Rejection {
    Rejection::invalid(format!(
        "messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block \
         must have a corresponding `tool_result` block in the next message.",
        ids.join(", ")
    ))
}

fn joined(content: Option<&Value>) -> Cow<'_, str> {
    match content {
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(Value::Array(blocks)) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|block| block.get("text")?.as_str()).collect();
            Cow::Owned(texts.join("\n"))
        }
        _ => Cow::Borrowed(""),
    }
}

fn read_tools<'a>(body: &'a Value, ask: &mut Ask<'a>) -> Result<(), Rejection> {
    let tools = body.get("tools").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (index, tool) in tools.iter().enumerate() {
        // Other types are the vendor's own tools, which the simulator does not have.
        if !matches!(tool.get("type").and_then(Value::as_str), None | Some("custom")) {
            continue;
        }
        let Some(name) = tool.get("name").and_then(Value::as_str) else {
            return Err(Rejection::invalid(format!("tools.{index}.custom.name: Field required")));
        };
        let schema = match tool.get("input_schema") {
            None => return Err(Rejection::invalid(format!("tools.{index}.custom.input_schema: Field required"))),
            Some(schema @ Value::Object(fields)) => {
                if fields.get("type").is_none() {
                    return Err(Rejection::invalid(format!("tools.{index}.custom.input_schema.type: Field required")));
                }
                schema
            }
            Some(_) => {
                let message = format!("tools.{index}.custom.input_schema: Input does not match the expected shape.");
                return Err(Rejection::invalid(message));
            }
        };
        let description = tool.get("description").and_then(Value::as_str).unwrap_or("");
        ask.tools.push(Tool { name, description, schema });
    }
    let Some(choice) = body.get("tool_choice").filter(|choice| !choice.is_null()) else { return Ok(()) };
    if tools.is_empty() {
        return Err(Rejection::invalid("tool_choice: tool_choice may only be specified while providing tools"));
    }
    ask.parallel = choice.get("disable_parallel_tool_use").and_then(Value::as_bool) != Some(true);
    ask.choice = match choice.get("type").and_then(Value::as_str) {
        Some("auto") => Choice::Auto,
        Some("any") => Choice::Required,
        Some("none") => Choice::None,
        Some("tool") => match choice.get("name").and_then(Value::as_str) {
            Some(name) if ask.tools.iter().any(|tool| tool.name == name) => Choice::Named(name),
            Some(name) => {
                return Err(Rejection::invalid(format!("tool_choice.tool: Tool '{name}' not found in provided tools")));
            }
            None => return Err(Rejection::invalid("tool_choice.tool.name: Field required")),
        },
        Some(other) => {
            return Err(Rejection::invalid(format!(
                "tool_choice: Input tag '{other}' found using 'type' does not match any of the expected tags: 'auto', 'any', \
                 'tool', 'none'"
            )));
        }
        None => return Err(Rejection::invalid("tool_choice.type: Field required")),
    };
    Ok(())
}

fn stop_sequences(body: &Value) -> Result<Vec<&str>, Rejection> {
    let stops = match body.get("stop_sequences") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(stops)) => stops,
        Some(_) => return Err(Rejection::invalid("stop_sequences: Input should be a valid array")),
    };
    let stops: Vec<&str> = stops.iter().filter_map(Value::as_str).collect();
    if stops.iter().any(|stop| stop.trim().is_empty()) {
        return Err(Rejection::invalid("stop_sequences: each stop sequence must contain non-whitespace"));
    }
    Ok(stops)
}

fn thinks(body: &Value, max_tokens: u64, after_tools: bool) -> Result<bool, Rejection> {
    let Some(thinking) = body.get("thinking").filter(|thinking| !thinking.is_null()) else { return Ok(false) };
    match thinking.get("type").and_then(Value::as_str) {
        Some("enabled") => match thinking.get("budget_tokens").and_then(Value::as_u64) {
            None => Err(Rejection::invalid("thinking.enabled.budget_tokens: Field required")),
            Some(budget) if budget < LEAST_THINKING_TOKENS => {
                let message = "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024";
                Err(Rejection::invalid(message))
            }
            Some(budget) if budget >= max_tokens => Err(Rejection::invalid(
                "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at \
                 https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size",
            )),
            Some(_) => rules::check_thoughts(body).map(|()| true),
        },
        Some("adaptive") => Ok(true),
        Some("between_tools") => Ok(after_tools),
        Some("disabled") => Ok(false),
        _ => Err(Rejection::invalid(
            "thinking: Input tag found using 'type' does not match any of the expected tags: 'adaptive', 'between_tools', 'disabled', \
             'enabled'",
        )),
    }
}

fn format(body: &Value) -> Format<'_> {
    let format = body.get("output_format").or_else(|| body.pointer("/output_config/format"));
    match format.and_then(|format| format.get("schema")) {
        Some(schema) => Format::Schema(schema),
        None => Format::Text,
    }
}

/// The documented fields, for [`crate::Config::strict_fields`].
const FIELDS: &[&str] = &[
    "cache_control",
    "container",
    "context_management",
    "diagnostics",
    "inference_geo",
    "max_tokens",
    "mcp_servers",
    "messages",
    "metadata",
    "model",
    "output_config",
    "output_format",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
    "user_profile_id",
    "workspace_id",
];
