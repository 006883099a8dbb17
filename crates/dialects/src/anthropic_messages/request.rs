//! Requests: from clients of this dialect, and to its providers.

use std::collections::HashSet;
use std::fmt::Display;

use gateway_core::Extra;
use gateway_core::chat::{
    ChatRequest, Encoded, Item, OutputFormat, Params, Place, Reasoning, Role, Tool, ToolBody, ToolChoice, Turn,
};
use gateway_core::error::GatewayError;
use gateway_core::tool_names::ToolNames;
use serde_json::{Map, Number, Value, json};

use super::cache_marks::{self, CACHE_CONTROL, CacheMarks};
use super::conversation::{Conversation, encode_system};
use super::schema;
use super::wire::{self, object, required};
use crate::codec::EncodeTarget;
use crate::json::{Fields, Json, parse_object};
use crate::openai_chat::request::read_strings;
use crate::write::to_bytes;

// ---- decoding ---------------------------------------------------------------------------------------------------------

pub(super) fn decode(body: &[u8]) -> Result<ChatRequest, GatewayError> {
    let request = decode_prompt(body)?;
    match request.params.max_tokens {
        Some(_) => Ok(request),
        None => Err(GatewayError::invalid("max_tokens", "max_tokens is required")),
    }
}

/// A request without its limit, which those who only count tokens do not send.
pub(super) fn decode_prompt(body: &[u8]) -> Result<ChatRequest, GatewayError> {
    let mut fields = parse_object(body)?;
    fields.take("model");
    let mut turns = Vec::new();
    if let Some(system) = fields.take("system") {
        let place = |n: Option<u32>| Place { message: None, item: n.map_or(Item::Whole, Item::Content) };
        let parts = wire::decode_content(system, "system", place)?;
        turns.push(Turn { role: Role::System, parts, name: None, index: None, extra: Extra::new() });
    }
    let messages = fields.list("messages")?.ok_or_else(|| fields.missing("messages"))?;
    if messages.is_empty() {
        return Err(GatewayError::invalid("messages", "messages must hold at least one message"));
    }
    for (message, n) in messages.into_iter().zip(0u32..) {
        turns.push(decode_message(message, n)?);
    }
    let tools = fields.list("tools")?.unwrap_or_default();
    let tools = tools.into_iter().enumerate().map(|(n, tool)| decode_tool(tool, n)).collect::<Result<_, _>>()?;
    let (tool_choice, parallel_tool_calls) = decode_tool_choice(&mut fields)?;
    let mut reasoning = decode_thinking(&mut fields)?;
    let mut config = fields.object("output_config")?;
    let effort = config.as_mut().map(|config| config.string("effort")).transpose()?.flatten();
    if effort.is_some() {
        reasoning.get_or_insert_default().effort = effort;
    }
    let mut output = config.as_mut().map(|config| decode_format(config, "format")).transpose()?.flatten();
    if output.is_none() {
        output = decode_format(&mut fields, "output_format")?;
    }
    let mut metadata = fields.object("metadata")?;
    let user = metadata.as_mut().map(|metadata| metadata.string("user_id")).transpose()?.flatten();
    let params = Params {
        max_tokens: fields.integer("max_tokens")?,
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.integer("top_k")?,
        stop: read_strings(fields.list("stop_sequences")?.unwrap_or_default(), "stop_sequences")?,
        ..Params::default()
    };
    let stream = fields.bool("stream")?.unwrap_or(false);
    let mut extra = fields.rest();
    for (name, rest) in [("output_config", config), ("metadata", metadata)] {
        let rest = rest.map(Fields::rest).unwrap_or_default();
        if !rest.is_empty() {
            extra.insert(name.to_owned(), Value::Object(rest));
        }
    }
    Ok(ChatRequest { turns, tools, tool_choice, parallel_tool_calls, output, reasoning, params, stream, user, extra })
}

fn decode_message(message: Json<'_>, n: u32) -> Result<Turn, GatewayError> {
    let mut message = Fields::of(message, format!("messages[{n}]"))?;
    let role = match required(&mut message, "role")?.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        other => {
            let path = message.path("role");
            let text = format!("{path} must be user or assistant, got {other:?}; a system prompt belongs in `system`");
            return Err(GatewayError::invalid(path, text));
        }
    };
    let content = message.take("content").ok_or_else(|| message.missing("content"))?;
    let place = |part: Option<u32>| Place { message: Some(n), item: part.map_or(Item::Whole, Item::Content) };
    let parts = wire::decode_content(content, &message.path("content"), place)?;
    Ok(Turn { role, parts, name: None, index: Some(n), extra: message.rest() })
}

fn decode_tool(json: Json<'_>, n: usize) -> Result<Tool, GatewayError> {
    let mut tool = Fields::of(json, format!("tools[{n}]"))?;
    if let Some(kind) = tool.string("type")?.filter(|kind| kind != "custom") {
        return Ok(Tool { body: ToolBody::Foreign { kind, value: json.value() }, extra: Extra::new() });
    }
    let body = ToolBody::Function {
        name: required(&mut tool, "name")?,
        description: tool.string("description")?,
        schema: tool.object("input_schema")?.map(|schema| Value::Object(schema.rest())),
        strict: tool.bool("strict")?,
    };
    Ok(Tool { body, extra: tool.rest() })
}

fn decode_tool_choice(fields: &mut Fields<'_>) -> Result<(Option<ToolChoice>, Option<bool>), GatewayError> {
    let Some(whole) = fields.take("tool_choice") else { return Ok((None, None)) };
    let mut choice = Fields::of(whole, "tool_choice")?;
    let decoded = match required(&mut choice, "type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Function(required(&mut choice, "name")?),
        _ => return Ok((Some(ToolChoice::Foreign(whole.value())), None)),
    };
    let parallel = choice.bool("disable_parallel_tool_use")?.map(|disabled| !disabled);
    Ok((Some(decoded), parallel))
}

fn decode_thinking(fields: &mut Fields<'_>) -> Result<Option<Reasoning>, GatewayError> {
    let Some(mut thinking) = fields.object("thinking")? else { return Ok(None) };
    let kind = required(&mut thinking, "type")?;
    let enabled = match kind.as_str() {
        "enabled" | "adaptive" | "between_tools" => true,
        "disabled" => false,
        other => {
            let text = format!("thinking.type must be enabled, disabled, adaptive or between_tools, got {other:?}");
            return Err(GatewayError::invalid("thinking.type", text));
        }
    };
    let budget_tokens = thinking.integer("budget_tokens")?;
    let mut extra = thinking.rest();
    if kind == "between_tools" {
        extra.insert(kind, Value::Bool(true));
    }
    Ok(Some(Reasoning { effort: None, budget_tokens, enabled: Some(enabled), extra }))
}

fn decode_format(fields: &mut Fields<'_>, key: &str) -> Result<Option<OutputFormat>, GatewayError> {
    let Some(whole) = fields.take(key) else { return Ok(None) };
    let mut format = Fields::of(whole, fields.path(key))?;
    if required(&mut format, "type")? != "json_schema" {
        return Ok(Some(OutputFormat::Foreign(whole.value())));
    }
    let schema = format.value("schema").ok_or_else(|| format.missing("schema"))?;
    Ok(Some(OutputFormat::JsonSchema { name: None, description: None, schema, strict: Some(true) }))
}

// ---- encoding ---------------------------------------------------------------------------------------------------------

/// The API demands a limit; this one is for models of which the table knows none.
const MAX_TOKENS_DEFAULT: u64 = 8192;
/// The least that the API takes for thinking.
const THINKING_TOKENS_MIN: u64 = 1024;
const THINKING_TOKENS_DEFAULT: u64 = 8192;
const USER_ID_CHARS: usize = 256;
const TOOL_NAME_CHARS: usize = 128;

/// Fields that clients of other dialects send on purpose for this API, or that its own clients do.
const OWN_FIELDS: [&str; 6] =
    ["cache_control", "container", "context_management", "inference_geo", "mcp_servers", "speed"];
const OWN_TOOL_FIELDS: [&str; 5] =
    ["cache_control", "defer_loading", "allowed_callers", "input_examples", "eager_input_streaming"];

pub(super) fn encode(request: &ChatRequest, target: &EncodeTarget<'_>) -> Encoded {
    let tools = ToolNames::of(request, TOOL_NAME_CHARS);
    let mut names = Names { tools, marks: CacheMarks::of(request), ..Names::default() };
    let mut body = object([("model", json!(target.model)), ("max_tokens", Value::Null)]);
    if let Some(system) = encode_system(&request.turns, &mut names) {
        body.insert("system".to_owned(), system);
    }
    let conversation = Conversation::of(&request.turns, &mut names);
    let mut tools = encode_tools(&request.tools, &mut names);
    let mut choice = encode_tool_choice(request, &tools, &mut names);
    if tools.is_empty() && !conversation.called.is_empty() {
        // The API wants to know the tools of which a conversation tells.
        let tool = |name: &String| Value::Object(encode_tool(name, json!({"type": "object"})));
        tools = conversation.called.iter().map(tool).collect();
        choice = Some(json!({"type": "none"}));
        names.add("tools");
    }
    let forced = choice.as_ref().is_some_and(|choice| choice["type"] == "any" || choice["type"] == "tool");
    let possible = !forced && conversation.may_think();
    let (max_tokens, thinking) = encode_thinking(request, target, possible, &mut names);
    body.insert("max_tokens".to_owned(), json!(max_tokens));
    body.insert("messages".to_owned(), Value::Array(conversation.into_messages()));
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    let is_thinking = thinking.as_ref().is_some_and(|thinking| thinking["type"] == "enabled");
    body.extend([("tool_choice", choice), ("thinking", thinking)].into_iter().filter_map(named_field));
    encode_params(&request.params, is_thinking, &mut body, &mut names);
    encode_output(request.output.as_ref(), &mut body, &mut names);
    match request.user.as_deref() {
        Some(user) if user.chars().count() <= USER_ID_CHARS && !user.contains('@') => {
            body.insert("metadata".to_owned(), json!({"user_id": user}));
        }
        // The API refuses what looks like a person.
        Some(_) => names.drop("user"),
        None => {}
    }
    encode_extra(&request.extra, &mut body, &mut names);
    if request.stream {
        body.insert("stream".to_owned(), Value::Bool(true));
    }
    let Names { dropped, approximated, added, tools: tool_names, .. } = names;
    Encoded { body: to_bytes(&Value::Object(body)), dropped, approximated, added, tool_names }
}

fn named_field((name, value): (&str, Option<Value>)) -> Option<(String, Value)> {
    value.map(|value| (name.to_owned(), value))
}

/// What was lost and what was added, each named once.
#[derive(Default)]
pub(super) struct Names {
    dropped: Vec<String>,
    approximated: Vec<String>,
    added: Vec<String>,
    known: HashSet<String>,
    pub(super) tools: ToolNames,
    pub(super) marks: CacheMarks,
}

impl Names {
    pub(super) fn drop(&mut self, path: impl Display) {
        let path = path.to_string();
        if self.known.insert(path.clone()) {
            self.dropped.push(path);
        }
    }

    /// For what is said in other words, or asks for nothing.
    pub(super) fn approximate(&mut self, path: impl Display) {
        let path = path.to_string();
        if self.known.insert(path.clone()) {
            self.approximated.push(path);
        }
    }

    pub(super) fn add(&mut self, name: &str) {
        if !self.added.iter().any(|known| known == name) {
            self.added.push(name.to_owned());
        }
    }

    /// The name of a tool as the API takes it.
    pub(super) fn tool_name(&mut self, own: &str, at: impl Display) -> String {
        if self.tools.changes(own) {
            self.approximate(format_args!("{at}.name"));
        }
        self.tools.sent(own).to_owned()
    }

    /// A block or tool of this dialect's own, without its mark if that is one too many.
    pub(super) fn own_block(&mut self, value: &Value, at: impl Display) -> Value {
        let mut value = value.clone();
        if let Some(block) = value.as_object_mut()
            && block.contains_key(CACHE_CONTROL)
            && self.marks.is_one_too_many(&at)
        {
            block.shift_remove(CACHE_CONTROL);
            self.drop(format_args!("{at}.{CACHE_CONTROL}"));
        }
        value
    }

    /// Copies the fields that the API knows into `block` and names the others.
    pub(super) fn extras(&mut self, extra: &Extra, known: &[&str], at: impl Display, block: &mut Map<String, Value>) {
        for (key, value) in extra {
            if cache_marks::is_mark(key) && known.contains(&CACHE_CONTROL) && self.marks.is_one_too_many(&at) {
                self.drop(format_args!("{at}.{key}"));
            } else if known.contains(&key.as_str()) && (key != "cache_control" || value["type"] == "ephemeral") {
                block.insert(key.clone(), value.clone());
            } else if key == "prompt_cache_breakpoint" && known.contains(&"cache_control") {
                block.insert("cache_control".to_owned(), json!({"type": "ephemeral"}));
                self.approximate(format_args!("{at}.{key}"));
            } else if says_something(value) && !is_default(key, value) {
                self.drop(format_args!("{at}.{key}"));
            }
        }
    }
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn encode_tools(tools: &[Tool], names: &mut Names) -> Vec<Value> {
    let mut known = HashSet::new();
    let mut encode = |(n, tool): (usize, &Tool)| {
        let at = format!("tools[{n}]");
        match &tool.body {
            ToolBody::Function { name, description, schema, strict } => {
                let valid = names.tool_name(name, &at);
                if !known.insert(valid.clone()) {
                    names.drop(at);
                    return None;
                }
                let (schema, gone) = schema::of_input(schema.as_ref());
                gone.into_iter().for_each(|keyword| names.drop(format_args!("{at}.parameters.{keyword}")));
                let enforced = *strict == Some(true) && schema::is_enforceable(&schema);
                if *strict == Some(true) && !enforced {
                    names.drop(format_args!("{at}.strict"));
                }
                let description = description.as_ref().filter(|text| !text.is_empty()).map(|text| json!(text));
                let mut encoded = encode_tool(&valid, schema);
                let more = [("description", description), ("strict", enforced.then_some(Value::Bool(true)))];
                encoded.extend(more.into_iter().filter_map(named_field));
                names.extras(&tool.extra, &OWN_TOOL_FIELDS, at, &mut encoded);
                Some(Value::Object(encoded))
            }
            ToolBody::Foreign { kind, value } if is_own_tool(kind) => Some(names.own_block(value, at)),
            ToolBody::Foreign { kind, .. } => {
                names.drop(format_args!("{at}.{kind}"));
                None
            }
        }
    };
    tools.iter().enumerate().filter_map(&mut encode).collect()
}

fn encode_tool(name: &str, schema: Value) -> Map<String, Value> {
    object([("name", json!(name)), ("input_schema", schema)])
}

/// Tools that the API runs itself carry a date: `web_search_20250305`.
fn is_own_tool(kind: &str) -> bool {
    let date = kind.rsplit('_').next().unwrap_or_default();
    kind == "mcp_toolset" || (date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()))
}

fn encode_tool_choice(request: &ChatRequest, tools: &[Value], names: &mut Names) -> Option<Value> {
    let serial = request.parallel_tool_calls == Some(false);
    let choice = match &request.tool_choice {
        None => None,
        Some(ToolChoice::Auto) => Some(json!({"type": "auto"})),
        Some(ToolChoice::None) => Some(json!({"type": "none"})),
        Some(ToolChoice::Required) => Some(json!({"type": "any"})),
        Some(ToolChoice::Function(name)) => {
            let name = names.tools.sent(name);
            let known = tools.iter().any(|tool| tool["name"] == name);
            known.then(|| json!({"type": "tool", "name": name}))
        }
        Some(ToolChoice::Foreign(_)) => None,
    };
    let says_nothing = matches!(request.tool_choice, None | Some(ToolChoice::Auto | ToolChoice::None));
    let choice = choice.filter(|_| !tools.is_empty());
    if choice.is_none() && !says_nothing {
        names.drop("tool_choice");
    }
    if !serial {
        return choice;
    }
    if tools.is_empty() || request.tool_choice == Some(ToolChoice::None) {
        names.drop("parallel_tool_calls");
        return choice;
    }
    let mut choice = choice.unwrap_or_else(|| json!({"type": "auto"}));
    choice["disable_parallel_tool_use"] = json!(true);
    Some(choice)
}

/// `max_tokens`, of which thinking is a part, and `thinking`.
fn encode_thinking(
    request: &ChatRequest,
    target: &EncodeTarget<'_>,
    possible: bool,
    names: &mut Names,
) -> (u64, Option<Value>) {
    let known_limit = request.params.max_tokens.or(target.max_output_tokens);
    let limit = known_limit.unwrap_or(MAX_TOKENS_DEFAULT);
    if request.params.max_tokens.is_none() {
        names.add("max_tokens");
    }
    let Some(reasoning) = &request.reasoning else { return (limit, None) };
    let name = if reasoning.effort.is_some() { "reasoning_effort" } else { "thinking" };
    let effort = match (reasoning.enabled, reasoning.effort.as_deref()) {
        (Some(false), _) | (None, Some("none")) => return (limit, Some(json!({"type": "disabled"}))),
        (_, Some("minimal" | "low")) => THINKING_TOKENS_MIN,
        (_, Some("high")) => 24_576,
        (_, Some("xhigh" | "max")) => 32_768,
        (_, Some("medium" | "none") | None) => THINKING_TOKENS_DEFAULT,
        (_, Some(_)) => 0,
    };
    let wanted = reasoning.budget_tokens.unwrap_or(effort);
    let roomy = known_limit.unwrap_or_else(|| wanted.saturating_add(MAX_TOKENS_DEFAULT));
    let most = match (reasoning.budget_tokens, known_limit) {
        // Of a limit that was not made for it, thinking takes half: the rest is for the answer.
        (None, Some(limit)) => limit / 2,
        _ => roomy.saturating_sub(1),
    };
    let budget = wanted.min(most).max(THINKING_TOKENS_MIN);
    if !possible || wanted == 0 || budget >= roomy {
        names.drop(name);
        return (limit, None);
    }
    if reasoning.budget_tokens.is_some_and(|wanted| wanted != budget) {
        names.drop("thinking.budget_tokens");
    }
    let mut thinking = object([("type", json!("enabled")), ("budget_tokens", json!(budget))]);
    names.extras(&reasoning.extra, &["display"], "reasoning", &mut thinking);
    (roomy, Some(Value::Object(thinking)))
}

fn encode_params(params: &Params, is_thinking: bool, body: &mut Map<String, Value>, names: &mut Names) {
    let float = |number: &Number| number.as_f64().unwrap_or(1.0);
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    // Thinking allows the temperature 1 only, `top_p` from 0.95 and no `top_k`.
    let temperature = params.temperature.as_ref().filter(|number| !is_thinking || float(number) == 1.0);
    match temperature {
        Some(number) if float(number) > 1.0 => {
            names.approximate("temperature");
            put("temperature", json!(1));
        }
        Some(number) => {
            put("temperature", Value::Number(number.clone()));
        }
        None if params.temperature.is_some() => names.drop("temperature"),
        None => {}
    }
    if let Some(number) = &params.top_p {
        // Newer models refuse both; the temperature is the one that clients mean.
        if temperature.is_none() && (!is_thinking || float(number) >= 0.95) {
            put("top_p", Value::Number(number.clone()));
        } else if float(number) != 1.0 {
            names.drop("top_p");
        }
    }
    match params.top_k {
        Some(_) if is_thinking => names.drop("top_k"),
        Some(top_k) => {
            put("top_k", json!(top_k));
        }
        None => {}
    }
    let (stop, blank): (Vec<&String>, Vec<&String>) = params.stop.iter().partition(|text| !text.trim().is_empty());
    if !blank.is_empty() {
        names.drop("stop");
    }
    if !stop.is_empty() {
        put("stop_sequences", json!(stop));
    }
    let penalties = [("presence_penalty", &params.presence_penalty), ("frequency_penalty", &params.frequency_penalty)];
    for (name, penalty) in penalties {
        if penalty.as_ref().is_some_and(|penalty| penalty.as_f64() != Some(0.0)) {
            names.drop(name);
        }
    }
    if params.seed.is_some() {
        names.drop("seed");
    }
}

fn encode_output(output: Option<&OutputFormat>, body: &mut Map<String, Value>, names: &mut Names) {
    match output {
        None | Some(OutputFormat::Text) => {}
        Some(OutputFormat::JsonObject | OutputFormat::Foreign(_)) => names.drop("response_format"),
        Some(OutputFormat::JsonSchema { schema: Value::Object(schema), name, description, strict }) => {
            let mut schema = schema.clone();
            if let Some(description) = description.as_deref().filter(|_| !schema.contains_key("description")) {
                schema.insert("description".to_owned(), json!(description));
            }
            if let (Some(name), false) = (name, schema.contains_key("title")) {
                schema.insert("title".to_owned(), json!(name));
            }
            let asked = Value::Object(schema);
            let schema = schema::enforceable(&asked);
            if schema != asked {
                names.approximate("response_format.json_schema.schema");
            }
            // The API enforces every schema.
            if *strict == Some(true) {
                names.approximate("response_format.json_schema.strict");
            }
            let format = json!({"type": "json_schema", "schema": schema});
            body.insert("output_config".to_owned(), json!({"format": format}));
        }
        Some(OutputFormat::JsonSchema { .. }) => names.drop("response_format"),
    }
}

fn encode_extra(extra: &Extra, body: &mut Map<String, Value>, names: &mut Names) {
    for (key, value) in extra {
        match (key.as_str(), value.as_str()) {
            ("service_tier", Some("auto" | "standard_only")) => {
                body.insert(key.clone(), value.clone());
            }
            ("service_tier", Some("default")) => {
                body.insert(key.clone(), json!("standard_only"));
            }
            (key, _) if OWN_FIELDS.contains(&key) => {
                body.insert(key.to_owned(), value.clone());
            }
            (key, _) if value.is_null() || is_default(key, value) => {}
            ("top_logprobs", _) if value.as_u64() == Some(0) => names.approximate(key),
            (key, _) if !says_something(value) => names.approximate(if key.is_empty() { "\"\"" } else { key }),
            ("stream_options", _) => names.drop("stream_options.include_obfuscation"),
            // A field may be called nothing at all.
            ("", _) => names.drop("\"\""),
            (key, _) => names.drop(key),
        }
    }
}

/// Does the client only say what would happen anyway?
fn is_default(key: &str, value: &Value) -> bool {
    match key {
        "n" => value.as_u64() == Some(1),
        "store" | "logprobs" => *value == Value::Bool(false),
        "detail" => value == "auto",
        "modalities" => *value == json!(["text"]),
        // Streams that the gateway writes have no filler. Only to be asked for some is a wish.
        "stream_options" => value.as_object().is_some_and(|options| {
            options.iter().all(|(name, value)| name == "include_usage" || *value == Value::Bool(false))
        }),
        _ => false,
    }
}
