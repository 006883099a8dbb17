//! Reads a chat completion request, and refuses what OpenAI refuses, in its words.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;

use crate::answer::{Ask, Choice, Format, Tool, ToolResult};
use crate::reply::Rejection;

const MAX_CHOICES: u64 = 128;
const MAX_STOPS: usize = 4;
const ROLES: [&str; 6] = ["system", "assistant", "user", "function", "tool", "developer"];

#[derive(Debug)]
pub(crate) struct ChatRequest<'a> {
    pub(crate) model: &'a str,
    pub(crate) n: u64,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) obfuscate: bool,
    pub(crate) logprobs: bool,
    pub(crate) ask: Ask<'a>,
}

pub(crate) fn read(body: &Value, strict_fields: bool) -> Result<ChatRequest<'_>, Rejection> {
    let Some(fields) = body.as_object() else { return Err(super::invalid_json()) };
    let model = model(body)?;
    if strict_fields && let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(Rejection::invalid(format!("Unrecognized request argument supplied: {unknown}")));
    }
    check_numbers(body)?;
    let stream = flag(body, "stream")?;
    let stream_options = body.get("stream_options").filter(|options| !options.is_null());
    if stream_options.is_some() && !stream {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Rejection::invalid(message).param("stream_options"));
    }
    let option = |name: &str| stream_options.and_then(|options| options.get(name)).and_then(Value::as_bool);
    let mut ask = Ask { stop: stops(body)?, max_tokens: max_tokens(body), ..Ask::default() };
    read_messages(body, &mut ask)?;
    read_tools(body, &mut ask)?;
    ask.format = format(body)?;
    ask.parallel = body.get("parallel_tool_calls").and_then(Value::as_bool).unwrap_or(true);
    let effort = body.get("reasoning_effort").and_then(Value::as_str);
    ask.think = effort.is_some_and(|effort| !matches!(effort, "none" | "minimal"));
    Ok(ChatRequest {
        model,
        n: body.get("n").and_then(Value::as_u64).unwrap_or(1),
        stream,
        include_usage: option("include_usage").unwrap_or(false),
        obfuscate: option("include_obfuscation").unwrap_or(true),
        logprobs: body.get("logprobs").and_then(Value::as_bool).unwrap_or(false),
        ask,
    })
}

/// The model of a request to OpenAI; names that begin with `missing-` do not exist.
pub(crate) fn model(body: &Value) -> Result<&str, Rejection> {
    match body.get("model") {
        Some(Value::String(model)) if model.starts_with("missing-") => Err(super::unknown_model(model)),
        Some(Value::String(model)) if !model.is_empty() => Ok(model),
        Some(Value::Null) | None => Err(Rejection::invalid("you must provide a model parameter")),
        Some(Value::String(_)) => Err(Rejection::invalid("you must provide a model parameter")),
        Some(other) => Err(wrong_type("model", "a string", other)),
    }
}

fn check_numbers(body: &Value) -> Result<(), Rejection> {
    for (name, low, high) in [
        ("temperature", 0.0, 2.0),
        ("top_p", 0.0, 1.0),
        ("presence_penalty", -2.0, 2.0),
        ("frequency_penalty", -2.0, 2.0),
    ] {
        let Some(value) = body.get(name).filter(|value| !value.is_null()) else { continue };
        let Some(number) = value.as_f64() else { return Err(wrong_type(name, "a decimal", value)) };
        if number < low {
            return Err(
                out_of_range(name, "decimal below minimum value", ">=", low, value).code("decimal_below_min_value")
            );
        }
        if number > high {
            return Err(
                out_of_range(name, "decimal above maximum value", "<=", high, value).code("decimal_above_max_value")
            );
        }
    }
    for name in ["max_tokens", "max_completion_tokens", "n"] {
        let Some(value) = body.get(name).filter(|value| !value.is_null()) else { continue };
        let Some(number) = value.as_i64() else { return Err(wrong_type(name, "an integer", value)) };
        if number < 1 {
            return Err(
                out_of_range(name, "integer below minimum value", ">=", 1.0, value).code("integer_below_min_value")
            );
        }
        if name == "n" && number > MAX_CHOICES as i64 {
            let high = MAX_CHOICES as f64;
            return Err(
                out_of_range(name, "integer above maximum value", "<=", high, value).code("integer_above_max_value")
            );
        }
    }
    if given(body, "max_tokens") && given(body, "max_completion_tokens") {
        let message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.";
        return Err(Rejection::invalid(message).param("max_tokens").code("invalid_parameter_combination"));
    }
    Ok(())
}

fn given(body: &Value, name: &str) -> bool {
    body.get(name).is_some_and(|value| !value.is_null())
}

fn out_of_range(name: &str, problem: &str, sign: &str, limit: f64, value: &Value) -> Rejection {
    let message = format!("Invalid '{name}': {problem}. Expected a value {sign} {limit}, but got {value} instead.");
    Rejection::invalid(message).param(name)
}

fn wrong_type(name: &str, expected: &str, value: &Value) -> Rejection {
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    let message = format!("Invalid type for '{name}': expected {expected}, but got {got} instead.");
    Rejection::invalid(message).param(name).code("invalid_type")
}

fn missing(name: impl Into<String>) -> Rejection {
    let name = name.into();
    Rejection::invalid(format!("Missing required parameter: '{name}'.")).param(name).code("missing_required_parameter")
}

fn flag(body: &Value, name: &str) -> Result<bool, Rejection> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(wrong_type(name, "a boolean", other)),
    }
}

fn max_tokens(body: &Value) -> Option<u64> {
    ["max_completion_tokens", "max_tokens"].iter().find_map(|name| body.get(name)?.as_u64())
}

fn stops(body: &Value) -> Result<Vec<&str>, Rejection> {
    let stops: Vec<&str> = match body.get("stop") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(stop)) => vec![stop],
        Some(Value::Array(stops)) => stops.iter().filter_map(Value::as_str).collect(),
        Some(other) => return Err(wrong_type("stop", "one of a string or array of strings", other)),
    };
    if stops.len() > MAX_STOPS {
        let message = format!(
            "Invalid 'stop': array too long. Expected an array with maximum length {MAX_STOPS}, but got an array with length {} \
             instead.",
            stops.len()
        );
        return Err(Rejection::invalid(message).param("stop").code("array_above_max_length"));
    }
    Ok(stops.into_iter().filter(|stop| !stop.is_empty()).collect())
}

fn read_messages<'a>(body: &'a Value, ask: &mut Ask<'a>) -> Result<(), Rejection> {
    let messages = match body.get("messages") {
        None => return Err(missing("messages")),
        Some(Value::Array(messages)) => messages,
        Some(other) => return Err(wrong_type("messages", "an array of objects", other)),
    };
    if messages.is_empty() {
        let message =
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.";
        return Err(Rejection::invalid(message).param("messages").code("empty_array"));
    }
    // Calls of the assistant's last message: those without a result yet, and the names of all.
    let mut open: Vec<&str> = Vec::new();
    let mut names: Vec<(&str, &str)> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        if !message.is_object() {
            return Err(wrong_type(&format!("messages[{index}]"), "an object", message));
        }
        let role = match message.get("role") {
            Some(Value::String(role)) if ROLES.contains(&role.as_str()) => role.as_str(),
            Some(Value::String(role)) => return Err(unknown_role(index, role)),
            _ => return Err(missing(format!("messages[{index}].role"))),
        };
        if role != "tool" && !open.is_empty() {
            return Err(unanswered(&open));
        }
        let text = content(message, role, index)?;
        match role {
            "user" => {
                ask.results.clear();
                ask.texts.push(text);
            }
            "system" | "developer" => {
                ask.system.push_str(&text);
                ask.system.push('\n');
            }
            "assistant" => {
                ask.results.clear();
                names = tool_calls(message);
                open = names.iter().map(|(id, _)| *id).collect();
            }
            "tool" => {
                let Some(id) = message.get("tool_call_id").and_then(Value::as_str) else {
                    return Err(missing(format!("messages[{index}].tool_call_id")));
                };
                let Some((_, name)) = names.iter().find(|(known, _)| *known == id) else {
                    return Err(Rejection::invalid(
                        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
                    )
                    .param(format!("messages.[{index}].role")));
                };
                open.retain(|known| *known != id);
                ask.results.push(ToolResult { name: Cow::Borrowed(*name), text, is_error: false });
            }
            _ => {
                let name = message.get("name").and_then(Value::as_str).unwrap_or("function");
                ask.results.push(ToolResult { name: name.into(), text, is_error: false });
            }
        }
    }
    if open.is_empty() { Ok(()) } else { Err(unanswered(&open)) }
}

fn unknown_role(index: usize, role: &str) -> Rejection {
    let message = format!(
        "Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'."
    );
    Rejection::invalid(message).param(format!("messages[{index}].role")).code("invalid_value")
}

fn unanswered(open: &[&str]) -> Rejection {
    Rejection::invalid(format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The \
         following tool_call_ids did not have response messages: {}",
        open.join(", ")
    ))
    .param("messages")
}

fn tool_calls(message: &Value) -> Vec<(&str, &str)> {
    let calls = message.get("tool_calls").and_then(Value::as_array);
    calls
        .into_iter()
        .flatten()
        .filter_map(|call| {
            let function = call.get("function").or_else(|| call.get("custom"));
            let name = function.and_then(|function| function.get("name")).and_then(Value::as_str);
            Some((call.get("id")?.as_str()?, name.unwrap_or("tool")))
        })
        .collect()
}

fn content<'a>(message: &'a Value, role: &str, index: usize) -> Result<Cow<'a, str>, Rejection> {
    let parts = match message.get("content") {
        Some(Value::String(text)) => return Ok(Cow::Borrowed(text)),
        Some(Value::Array(parts)) => parts,
        None | Some(Value::Null) if matches!(role, "assistant" | "function") => return Ok(Cow::Borrowed("")),
        None => return Err(missing(format!("messages[{index}].content"))),
        Some(Value::Null) => {
            let message = "Invalid value for 'content': expected a string, got null.";
            return Err(Rejection::invalid(message).param(format!("messages.[{index}].content")));
        }
        Some(other) => {
            let name = format!("messages[{index}].content");
            return Err(wrong_type(&name, "one of a string or array of objects", other));
        }
    };
    let mut texts = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        match part.get("type").and_then(Value::as_str) {
            None => return Err(missing(format!("messages[{index}].content[{place}].type"))),
            Some("text") => texts.extend(part.get("text").and_then(Value::as_str)),
            Some("refusal" | "image_url" | "input_audio" | "file") => {}
            Some(other) => {
                let message = format!(
                    "Invalid value: '{other}'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', 'audio', and \
                     'file'."
                );
                let param = format!("messages[{index}].content[{place}].type");
                return Err(Rejection::invalid(message).param(param).code("invalid_value"));
            }
        }
    }
    Ok(match texts.as_slice() {
        [text] => Cow::Borrowed(*text),
        texts => Cow::Owned(texts.join("\n")),
    })
}

const TOOL_NAME_CHARS: usize = 64;

fn read_tools<'a>(body: &'a Value, ask: &mut Ask<'a>) -> Result<(), Rejection> {
    let tools = body.get("tools").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if given(body, "tools") && tools.is_empty() {
        let message =
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.";
        return Err(Rejection::invalid(message).param("tools").code("empty_array"));
    }
    let mut names = HashSet::new();
    for (index, tool) in tools.iter().enumerate() {
        if tool.get("type").is_none() {
            return Err(missing(format!("tools[{index}].type")));
        }
        let Some(function) = tool.get("function") else {
            if tool.get("type").and_then(Value::as_str) == Some("function") {
                return Err(missing(format!("tools[{index}].function")));
            }
            continue;
        };
        let Some(name) = function.get("name").and_then(Value::as_str) else {
            return Err(missing(format!("tools[{index}].function.name")));
        };
        let pattern = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if name.is_empty() || !name.bytes().all(pattern) {
            let param = format!("tools[{index}].function.name");
            let message = format!(
                "Invalid '{param}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
            );
            return Err(Rejection::invalid(message).param(param).code("invalid_value"));
        }
        if name.len() > TOOL_NAME_CHARS {
            let param = format!("tools[{index}].function.name");
            let message = format!(
                "Invalid '{param}': string too long. Expected a string with maximum length {TOOL_NAME_CHARS}, but got a string with \
                 length {} instead.",
                name.len()
            );
            return Err(Rejection::invalid(message).param(param).code("string_above_max_length"));
        }
        names.insert(name);
        ask.tools.push(Tool {
            name,
            description: function.get("description").and_then(Value::as_str).unwrap_or(""),
            schema: function.get("parameters").unwrap_or(&Value::Null),
        });
    }
    ask.choice = choice(body, tools.is_empty(), &names)?;
    Ok(())
}

fn choice<'a>(body: &'a Value, no_tools: bool, names: &HashSet<&str>) -> Result<Choice<'a>, Rejection> {
    let choice = match body.get("tool_choice") {
        None | Some(Value::Null) => return Ok(Choice::Auto),
        Some(choice) => choice,
    };
    if no_tools && choice.as_str() != Some("none") {
        let message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.";
        return Err(Rejection::invalid(message).param("tool_choice"));
    }
    let named = choice.pointer("/function/name").and_then(Value::as_str);
    match (choice.as_str(), named) {
        (Some("none"), _) => Ok(Choice::None),
        (Some("auto"), _) => Ok(Choice::Auto),
        (Some("required"), _) => Ok(Choice::Required),
        (Some(other), _) => {
            let message = format!("Invalid value: '{other}'. Supported values are: 'none', 'auto', and 'required'.");
            Err(Rejection::invalid(message).param("tool_choice").code("invalid_value"))
        }
        (None, Some(name)) if names.contains(name) => Ok(Choice::Named(name)),
        (None, Some(name)) => {
            let message = format!("Tool choice '{name}' not found in 'tools' parameter.");
            Err(Rejection::invalid(message).param("tool_choice"))
        }
        (None, None) => match choice.pointer("/allowed_tools/mode").and_then(Value::as_str) {
            Some("required") => Ok(Choice::Required),
            _ => Ok(Choice::Auto),
        },
    }
}

fn format(body: &Value) -> Result<Format<'_>, Rejection> {
    let Some(format) = body.get("response_format").filter(|format| !format.is_null()) else { return Ok(Format::Text) };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(Format::Text),
        Some("json_object") => {
            let said = body.get("messages").map(Value::to_string).unwrap_or_default().to_lowercase();
            if said.contains("json") {
                return Ok(Format::JsonObject);
            }
            let message =
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.";
            Err(Rejection::invalid(message).param("messages"))
        }
        Some("json_schema") => {
            let Some(inner) = format.get("json_schema") else { return Err(missing("response_format.json_schema")) };
            if inner.get("name").is_none() {
                return Err(missing("response_format.json_schema.name"));
            }
            inner.get("schema").map(Format::Schema).ok_or_else(|| missing("response_format.json_schema.schema"))
        }
        Some(other) => {
            let message =
                format!("Invalid value: '{other}'. Supported values are: 'json_object', 'json_schema', and 'text'.");
            Err(Rejection::invalid(message).param("response_format.type").code("invalid_value"))
        }
        None => Err(missing("response_format.type")),
    }
}

/// The documented fields, for [`crate::Config::strict_fields`].
const FIELDS: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
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
