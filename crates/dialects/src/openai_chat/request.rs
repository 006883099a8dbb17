//! Requests. Reading loses nothing: what has no canonical word stays in an `extra`. Writing names what it cannot say.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use gateway_core::Extra;
use gateway_core::chat::{
    CALL_REMARK, ChatRequest, Encoded, Item, Media, OutputFormat, Part, PartBody, Place, Reasoning, Role, Tool,
    ToolBody, ToolCall, ToolChoice, Turn,
};
use gateway_core::error::GatewayError;
use gateway_core::tool_names::ToolNames;
use serde_json::{Map, Value, json};

use super::mint_call_id;
use super::response::arguments;
use crate::codec::EncodeTarget;
use crate::json::{Fields, Json, parse_object, wrong};
use crate::write::to_bytes;

// ---- Reading ---------------------------------------------------------------------------------------------------------

pub(super) fn decode(body: &[u8]) -> Result<ChatRequest, GatewayError> {
    let mut fields = parse_object(body)?;
    let mut request = read_shared(&mut fields)?;
    fields.take("model");
    // Of two names for one thing the newer counts; what the older one says else is kept for naming.
    let (old, new) = (fields.integer("max_tokens")?, fields.integer("max_completion_tokens")?);
    request.params.max_tokens = new.or(old);
    let old_limit = old.filter(|_| old != request.params.max_tokens);
    request.params.seed = fields.number("seed")?;
    request.params.top_k = fields.integer("top_k")?;
    request.params.stop = match fields.take("stop").map(|stop| (stop, stop.string(), stop.list())) {
        None => Vec::new(),
        Some((_, Some(stop), _)) => vec![stop.into_owned()],
        Some((_, _, Some(stops))) => read_strings(stops, "stop")?,
        Some((other, ..)) => return Err(wrong("stop", "a string or a list of strings", other)),
    };
    request.parallel_tool_calls = fields.bool("parallel_tool_calls")?;
    let (user, safety_identifier) = (fields.string("user")?, fields.string("safety_identifier")?);
    request.user = safety_identifier.or_else(|| user.clone());
    let old_user = user.filter(|old| request.user.as_ref() != Some(old));
    request.reasoning = read_reasoning(&mut fields)?;
    read_legacy_functions(&mut fields, &mut request)?;
    let options = fields.object("stream_options")?.map(|mut options| {
        options.take("include_usage");
        options.rest()
    });
    request.extra = fields.rest();
    let replaced = [("max_tokens", old_limit.map(Value::from)), ("user", old_user.map(Value::from))];
    request.extra.extend(replaced.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    if let Some(options) = options.filter(|options| !options.is_empty()) {
        request.extra.insert("stream_options".to_owned(), Value::Object(options));
    }
    request.extra.retain(|key, value| !says_the_default(key, value));
    Ok(request)
}

/// The fields that the native dialect has in common with OpenAI chat.
pub(crate) fn read_shared(fields: &mut Fields<'_>) -> Result<ChatRequest, GatewayError> {
    let mut request = ChatRequest { turns: read_messages(fields)?, ..ChatRequest::default() };
    for (n, tool) in fields.list("tools")?.into_iter().flatten().enumerate() {
        request.tools.push(read_tool(tool, format!("tools[{n}]"))?);
    }
    request.tool_choice = fields.take("tool_choice").map(read_tool_choice).transpose()?;
    request.output = fields.object("response_format")?.map(read_output).transpose()?;
    request.params.temperature = fields.number("temperature")?;
    request.params.top_p = fields.number("top_p")?;
    request.params.presence_penalty = fields.number("presence_penalty")?;
    request.params.frequency_penalty = fields.number("frequency_penalty")?;
    request.stream = fields.bool("stream")?.unwrap_or(false);
    Ok(request)
}

pub(crate) fn read_strings(items: Vec<Json<'_>>, path: &str) -> Result<Vec<String>, GatewayError> {
    let read = |(n, item): (usize, Json<'_>)| {
        item.string().map(Cow::into_owned).ok_or_else(|| wrong(&format!("{path}[{n}]"), "a string", item))
    };
    items.into_iter().enumerate().map(read).collect()
}

/// Fields that ask for nothing: leaving them out changes no answer.
fn says_the_default(key: &str, value: &Value) -> bool {
    match key {
        "n" => value.as_u64() == Some(1),
        "logprobs" | "store" => *value == false,
        "service_tier" => value == "auto",
        "modalities" => *value == json!(["text"]),
        _ => false,
    }
}

fn read_reasoning(fields: &mut Fields<'_>) -> Result<Option<Reasoning>, GatewayError> {
    let mut reasoning = Reasoning { effort: fields.string("reasoning_effort")?, ..Reasoning::default() };
    // OpenRouter's object.
    if let Some(mut object) = fields.object("reasoning")? {
        reasoning.effort = object.string("effort")?.or(reasoning.effort);
        reasoning.budget_tokens = object.integer("max_tokens")?;
        reasoning.enabled = object.bool("enabled")?;
        reasoning.extra = object.rest();
    }
    // DeepSeek's, GLM's and Moonshot's object, and Qwen's switch.
    if let Some(mut object) = fields.object("thinking")? {
        reasoning.enabled = object.string("type")?.map(|kind| kind != "disabled").or(reasoning.enabled);
        reasoning.budget_tokens = object.integer("budget_tokens")?.or(reasoning.budget_tokens);
        reasoning.extra.extend(object.rest());
    }
    reasoning.enabled = fields.bool("enable_thinking")?.or(reasoning.enabled);
    Ok((reasoning != Reasoning::default()).then_some(reasoning))
}

/// `functions` and `function_call`, which `tools` and `tool_choice` replaced.
fn read_legacy_functions(fields: &mut Fields<'_>, request: &mut ChatRequest) -> Result<(), GatewayError> {
    for (n, function) in fields.list("functions")?.into_iter().flatten().enumerate() {
        request.tools.push(read_function(Fields::of(function, format!("functions[{n}]"))?, Extra::new())?);
    }
    let choice = fields.take("function_call").map(|choice| match choice.string() {
        Some(_) => read_tool_choice(choice),
        None => Fields::of(choice, "function_call").and_then(|mut choice| {
            let name = choice.string("name")?.ok_or_else(|| choice.missing("name"))?;
            Ok(ToolChoice::Function(name))
        }),
    });
    if let (None, Some(choice)) = (&request.tool_choice, choice.transpose()?) {
        request.tool_choice = Some(choice);
    }
    Ok(())
}

fn read_tool(value: Json<'_>, path: String) -> Result<Tool, GatewayError> {
    let mut fields = Fields::of(value, path)?;
    let kind = fields.string("type")?.ok_or_else(|| fields.missing("type"))?;
    if kind != "function" {
        let mut value = Extra::new();
        value.insert("type".to_owned(), Value::String(kind.clone()));
        value.extend(fields.rest());
        return Ok(Tool { body: ToolBody::Foreign { kind, value: Value::Object(value) }, extra: Extra::new() });
    }
    let function = fields.object("function")?.ok_or_else(|| fields.missing("function"))?;
    read_function(function, fields.rest())
}

fn read_function(mut function: Fields<'_>, mut extra: Extra) -> Result<Tool, GatewayError> {
    let name = function.string("name")?.ok_or_else(|| function.missing("name"))?;
    let description = function.string("description")?;
    let schema = match function.take("parameters") {
        Some(schema) if !schema.is_object() => return Err(wrong(&function.path("parameters"), "an object", schema)),
        schema => schema.map(Json::value),
    };
    let strict = function.bool("strict")?;
    extra.extend(function.rest());
    Ok(Tool { body: ToolBody::Function { name, description, schema, strict }, extra })
}

fn read_tool_choice(json: Json<'_>) -> Result<ToolChoice, GatewayError> {
    const WORDS: &str = "\"auto\", \"none\", \"required\" or an object";
    let value = json.value();
    match &value {
        Value::String(word) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" | "any" => Ok(ToolChoice::Required),
            _ => Err(GatewayError::invalid("tool_choice", format!("tool_choice must be {WORDS}, got \"{word}\""))),
        },
        Value::Object(choice) if choice.get("type").is_some_and(|kind| kind == "function") => {
            match value.pointer("/function/name").and_then(Value::as_str) {
                Some(name) => Ok(ToolChoice::Function(name.to_owned())),
                None => {
                    Err(GatewayError::invalid("tool_choice.function.name", "tool_choice.function.name is required"))
                }
            }
        }
        Value::Object(choice) => match choice.get("type") {
            Some(Value::String(_)) => Ok(ToolChoice::Foreign(value)),
            None | Some(Value::Null) => Err(GatewayError::invalid(
                "tool_choice.type",
                "tool_choice.type is required: {\"type\": \"function\", \"function\": {\"name\": ...}}",
            )),
            Some(other) => Err(wrong("tool_choice.type", "a string", Json(&other.to_string()))),
        },
        _ => Err(wrong("tool_choice", WORDS, json)),
    }
}

fn read_output(mut format: Fields<'_>) -> Result<OutputFormat, GatewayError> {
    let kind = format.string("type")?.ok_or_else(|| format.missing("type"))?;
    let foreign = |format: Fields<'_>| {
        let mut value = Extra::new();
        value.insert("type".to_owned(), Value::String(kind.clone()));
        value.extend(format.rest());
        OutputFormat::Foreign(Value::Object(value))
    };
    Ok(match kind.as_str() {
        "text" => OutputFormat::Text,
        "json_object" if !format.has("schema") => OutputFormat::JsonObject,
        "json_schema" => {
            let mut inner = format.object("json_schema")?.ok_or_else(|| format.missing("json_schema"))?;
            let schema = inner.object("schema")?.ok_or_else(|| inner.missing("schema"))?.rest();
            OutputFormat::JsonSchema {
                name: inner.string("name")?,
                description: inner.string("description")?,
                schema: Value::Object(schema),
                strict: inner.bool("strict")?,
            }
        }
        _ => foreign(format),
    })
}

fn read_messages(fields: &mut Fields<'_>) -> Result<Vec<Turn>, GatewayError> {
    let messages = fields.list("messages")?.ok_or_else(|| fields.missing("messages"))?;
    if messages.is_empty() {
        return Err(GatewayError::invalid("messages", "messages must hold at least one message"));
    }
    let mut legacy = LegacyCalls::default();
    let read = |(n, message)| read_message(message, n, &mut legacy);
    messages.into_iter().enumerate().map(read).collect()
}

/// Calls of the time before `tool_calls`: one a message, known by its name only.
#[derive(Default)]
struct LegacyCalls(Vec<(String, String)>);

impl LegacyCalls {
    fn call(&mut self, name: &str, message: usize) -> String {
        let id = mint_call_id(name, message);
        self.0.push((name.to_owned(), id.clone()));
        id
    }

    fn result(&mut self, name: &str, message: usize) -> String {
        match self.0.iter().position(|(called, _)| called == name) {
            Some(place) => self.0.remove(place).1,
            None => mint_call_id(name, message),
        }
    }
}

fn read_message(message: Json<'_>, n: usize, legacy: &mut LegacyCalls) -> Result<Turn, GatewayError> {
    let mut fields = Fields::of(message, format!("messages[{n}]"))?;
    let index = u32::try_from(n).unwrap_or(u32::MAX);
    let place = Place { message: Some(index), item: Item::Whole };
    let said = fields.string("role")?.ok_or_else(|| fields.missing("role"))?;
    let role = match said.as_str() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        _ => {
            let words = "system, developer, user, assistant or tool";
            let path = fields.path("role");
            return Err(GatewayError::invalid(&path, format!("{path} must be {words}, got \"{said}\"")));
        }
    };
    let content = read_content(&mut fields, index)?;
    let name = fields.string("name")?;
    let mut turn = Turn { role, parts: Vec::new(), name: None, index: Some(index), extra: Extra::new() };
    match role {
        Role::Tool => {
            let id = match &name {
                Some(name) if said == "function" => legacy.result(name, n),
                None if said == "function" => return Err(fields.missing("name")),
                _ => fields.string("tool_call_id")?.ok_or_else(|| fields.missing("tool_call_id"))?,
            };
            let body = PartBody::ToolResult { id, content: content.unwrap_or_default(), is_error: false };
            let mut result = Part::new(body, place);
            // The old form was known by its name; the new one is known by its call, and a name is the client's own addition.
            if let Some(name) = name.filter(|_| said == "tool") {
                result.extra.insert("name".to_owned(), name.into());
            }
            turn.parts.push(result);
        }
        Role::Assistant => {
            turn.parts = content.unwrap_or_default();
            turn.name = name;
            if let Some(refusal) = fields.string("refusal")? {
                turn.parts.push(Part::new(PartBody::Refusal(refusal), place));
            }
            for (call, value) in fields.list("tool_calls")?.into_iter().flatten().enumerate() {
                let place = Place { message: Some(index), item: Item::ToolCall(call as u32) };
                turn.parts.push(read_call(value, place, place.to_string())?);
            }
            if let Some(mut call) = fields.object("function_call")? {
                let name = call.string("name")?.ok_or_else(|| call.missing("name"))?;
                let id = legacy.call(&name, n);
                let arguments = read_arguments(&mut call)?;
                turn.parts.push(Part::new(PartBody::ToolCall(ToolCall { id, name, arguments }), place));
            }
        }
        Role::System | Role::Developer | Role::User => {
            turn.parts = content.ok_or_else(|| fields.missing("content"))?;
            turn.name = name;
        }
    }
    turn.extra = fields.rest();
    Ok(turn)
}

fn read_content(fields: &mut Fields<'_>, message: u32) -> Result<Option<Vec<Part>>, GatewayError> {
    let Some(content) = fields.take("content") else { return Ok(None) };
    if let Some(text) = content.string() {
        let place = Place { message: Some(message), item: Item::Whole };
        return Ok(Some(vec![Part::new(PartBody::Text(text.into_owned()), place)]));
    }
    let path = fields.path("content");
    let parts = content.list().ok_or_else(|| wrong(&path, "a string or a list of parts", content))?;
    let read = |(n, part)| {
        let place = Place { message: Some(message), item: Item::Content(n as u32) };
        read_part(part, place, format!("{path}[{n}]"))
    };
    parts.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
}

fn read_part(json: Json<'_>, place: Place, path: String) -> Result<Part, GatewayError> {
    const KNOWN: [&str; 5] = ["text", "refusal", "image_url", "input_audio", "file"];
    let mut fields = Fields::of(json, path)?;
    if let Some(kind) = fields.peek("type").and_then(Json::string).filter(|kind| !KNOWN.contains(&&**kind)) {
        let (kind, value) = (kind.into_owned(), json.value());
        return Ok(Part::new(PartBody::Foreign { kind, value }, place));
    }
    let kind = fields.string("type")?.ok_or_else(|| fields.missing("type"))?;
    let mut extra = Extra::new();
    let body = match kind.as_str() {
        "text" => PartBody::Text(fields.string("text")?.ok_or_else(|| fields.missing("text"))?),
        "refusal" => PartBody::Refusal(fields.string("refusal")?.ok_or_else(|| fields.missing("refusal"))?),
        "image_url" => {
            let url = match fields.peek("image_url") {
                Some(url) if url.get().starts_with('"') => fields.string("image_url")?,
                _ => {
                    let mut image = fields.object("image_url")?.ok_or_else(|| fields.missing("image_url"))?;
                    let url = image.string("url")?.ok_or_else(|| image.missing("url"))?;
                    extra = image.rest();
                    Some(url)
                }
            };
            PartBody::Image(from_url(url.unwrap_or_default()))
        }
        "input_audio" => {
            let mut audio = fields.object("input_audio")?.ok_or_else(|| fields.missing("input_audio"))?;
            let data = audio.string("data")?.ok_or_else(|| audio.missing("data"))?;
            let format = audio.string("format")?.ok_or_else(|| audio.missing("format"))?;
            extra = audio.rest();
            let media_type = if format == "mp3" { "audio/mpeg".to_owned() } else { format!("audio/{format}") };
            PartBody::Audio(Media::Base64 { media_type, data })
        }
        _ => {
            let mut file = fields.object("file")?.ok_or_else(|| fields.missing("file"))?;
            let name = file.string("filename")?;
            let (data, id) = (file.string("file_data")?, file.string("file_id")?);
            let second = id.clone().filter(|_| data.is_some());
            let media = match (data, id) {
                (Some(data), _) if data.starts_with("data:") => from_url(data),
                (Some(data), _) => Media::Base64 { media_type: "application/pdf".to_owned(), data },
                (None, Some(id)) => Media::FileId(id),
                (None, None) => {
                    let path = file.here();
                    return Err(GatewayError::invalid(path, format!("{path} must have file_data or file_id")));
                }
            };
            extra = file.rest();
            extra.extend(second.map(|id| ("file_id".to_owned(), id.into())));
            PartBody::File { media, name }
        }
    };
    extra.extend(fields.rest());
    Ok(Part { body, place, extra })
}

/// `data:image/png;base64,...` in its parts; any other URL as it is.
fn from_url(url: String) -> Media {
    let parts = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match parts {
        Some((media_type, data)) => Media::Base64 { media_type: media_type.to_owned(), data: data.to_owned() },
        None => Media::Url(url),
    }
}

fn read_call(json: Json<'_>, place: Place, path: String) -> Result<Part, GatewayError> {
    let mut fields = Fields::of(json, path)?;
    if fields.peek("custom").is_some_and(Json::is_object) {
        let (kind, value) = ("custom".to_owned(), json.value());
        return Ok(Part::new(PartBody::Foreign { kind, value }, place));
    }
    let id = fields.string("id")?.ok_or_else(|| fields.missing("id"))?;
    let mut function = fields.object("function")?.ok_or_else(|| fields.missing("function"))?;
    let name = function.string("name")?.ok_or_else(|| function.missing("name"))?;
    let arguments = read_arguments(&mut function)?;
    fields.take("type");
    fields.take("index");
    let mut extra = fields.rest();
    extra.extend(function.rest());
    Ok(Part { body: PartBody::ToolCall(ToolCall { id, name, arguments }), place, extra })
}

/// Arguments are a string of JSON; some clients send the JSON itself.
fn read_arguments(function: &mut Fields<'_>) -> Result<String, GatewayError> {
    match function.peek("arguments") {
        Some(arguments) if arguments.is_object() => {
            function.take("arguments");
            Ok(arguments.get().to_owned())
        }
        _ => Ok(function.string("arguments")?.unwrap_or_default()),
    }
}

// ---- Writing ---------------------------------------------------------------------------------------------------------

pub(super) fn encode(request: &ChatRequest, target: &EncodeTarget<'_>) -> Encoded {
    let tool_names = ToolNames::of(request, TOOL_NAME_CHARS);
    let mut writer = Writer { cache_control: target.cache_control, tool_names, ..Writer::default() };
    let mut body = Map::new();
    body.insert("model".to_owned(), target.model.into());
    body.insert("messages".to_owned(), writer.messages(&request.turns).into());
    writer.tools(request, &mut body);
    writer.params(request, target, &mut body);
    writer.extra(request, &mut body);
    if request.stream {
        body.insert("stream".to_owned(), true.into());
        if target.stream_options {
            body.insert("stream_options".to_owned(), json!({"include_usage": true}));
        }
    }
    let Writer { dropped, approximated, added, tool_names, .. } = writer;
    Encoded { body: to_bytes(&Value::Object(body)), dropped, approximated, added, tool_names }
}

const TOOL_NAME_CHARS: usize = 64;
/// OpenAI takes four stop sequences.
const STOPS: usize = 4;
/// Fields of messages that OpenAI-style vendors know beyond the canonical model.
const TURN_EXTRAS: [&str; 5] = ["reasoning_content", "reasoning", "reasoning_details", "audio", "prefix"];
/// Fields of a request that mean here what they mean wherever they came from.
const EXTRAS: [&str; 9] = [
    "logit_bias",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "store",
    "verbosity",
    "web_search_options",
];

#[derive(Default)]
struct Writer {
    /// The vendor takes these marks on texts.
    cache_control: bool,
    dropped: Vec<String>,
    approximated: Vec<String>,
    added: Vec<String>,
    tool_names: ToolNames,
}

/// Where the results of calls stand (turn, part), by the id of their call, in the order of the conversation.
type Results<'a> = HashMap<&'a str, VecDeque<(usize, usize)>>;

impl Writer {
    fn drop(&mut self, path: impl std::fmt::Display, name: &str) {
        self.dropped.push(format!("{path}.{name}"));
    }

    /// Names all of `extra` but `kept`.
    fn drop_extra(&mut self, path: impl std::fmt::Display, extra: &Extra, kept: &[&str]) {
        for key in extra.keys().filter(|key| !kept.contains(&key.as_str())) {
            self.drop(&path, key);
        }
    }

    /// The name of a tool as the API takes it.
    fn tool_name(&mut self, own: &str, path: impl std::fmt::Display) -> Value {
        if self.tool_names.changes(own) {
            self.approximated.push(format!("{path}.name"));
        }
        self.tool_names.sent(own).into()
    }

    fn kept_marks(&self) -> &'static [&'static str] {
        if self.cache_control { &["cache_control"] } else { &[] }
    }

    /// A text with the mark of its part, for vendors that take it.
    fn marked(&self, mut text: Value, part: &Part) -> Value {
        if self.cache_control
            && let Some(mark) = part.extra.get("cache_control")
        {
            text["cache_control"] = mark.clone();
        }
        text
    }

    /// Results stand directly behind the message with their calls, whatever the client said before them.
    fn messages(&mut self, turns: &[Turn]) -> Vec<Value> {
        let mut results = Results::new();
        for (t, turn) in turns.iter().enumerate() {
            for (p, part) in turn.parts.iter().enumerate() {
                if let PartBody::ToolResult { id, .. } = &part.body {
                    results.entry(id).or_default().push_back((t, p));
                }
            }
        }
        let mut messages = Vec::with_capacity(turns.len());
        // Media from tool results, which tool messages cannot hold: they open the next user message.
        let mut moved = Vec::new();
        let leading = turns.iter().take_while(|turn| matches!(turn.role, Role::System | Role::Developer)).count();
        let (system, rest) = turns.split_at(leading);
        let system: Vec<Value> = system.iter().flat_map(|turn| self.system(turn)).collect();
        push(&mut messages, "system", system, system_name(turns, leading));
        for (t, turn) in rest.iter().enumerate().map(|(n, turn)| (n + leading, turn)) {
            match turn.role {
                Role::System | Role::Developer => {
                    let content = self.system(turn);
                    push(&mut messages, "system", content, turn.name.as_deref());
                }
                Role::Assistant => {
                    push(&mut messages, "user", std::mem::take(&mut moved), None);
                    let ids = self.assistant(turn, &mut messages);
                    for id in ids {
                        let answer = results.get_mut(id).and_then(VecDeque::pop_front);
                        if let Some((t, p)) = answer {
                            self.result(&turns[t].parts[p], &mut messages, &mut moved);
                        }
                    }
                }
                Role::User | Role::Tool => {
                    let mut content = std::mem::take(&mut moved);
                    for (p, part) in turn.parts.iter().enumerate() {
                        self.user_part(part, (t, p), &mut results, &mut content);
                    }
                    self.drop_extra(path_of(turn), &turn.extra, &[]);
                    push(&mut messages, "user", content, turn.name.as_deref());
                }
            }
        }
        push(&mut messages, "user", moved, None);
        messages
    }

    fn system(&mut self, turn: &Turn) -> Vec<Value> {
        self.drop_extra(path_of(turn), &turn.extra, &[]);
        let mut texts = Vec::new();
        for part in &turn.parts {
            match &part.body {
                PartBody::Text(text) => texts.push(self.marked(text_part(text), part)),
                other => self.drop(part.place, kind_of(other)),
            }
            self.drop_extra(part.place, &part.extra, self.kept_marks());
        }
        texts
    }

    /// Writes the message, if it says anything, and returns the ids of its calls.
    fn assistant<'a>(&mut self, turn: &'a Turn, messages: &mut Vec<Value>) -> Vec<&'a str> {
        let (mut content, mut calls, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        for part in &turn.parts {
            let mut kept: &[&str] = &[];
            match &part.body {
                PartBody::Text(text) => content.push(text_part(text)),
                PartBody::Refusal(text) => content.push(json!({"type": "refusal", "refusal": text})),
                PartBody::ToolCall(call) => {
                    let function =
                        json!({"name": self.tool_name(&call.name, part.place), "arguments": arguments(call)});
                    let mut written = json!({"id": call.id, "type": "function", "function": function});
                    if let Some(remark) = part.extra.get(CALL_REMARK) {
                        written[CALL_REMARK] = remark.clone();
                    }
                    kept = &[CALL_REMARK];
                    calls.push(written);
                    ids.push(call.id.as_str());
                }
                PartBody::Foreign { kind, value } if kind == "custom" => {
                    calls.push(value.clone());
                    ids.extend(value.get("id").and_then(Value::as_str));
                }
                other => self.drop(part.place, kind_of(other)),
            }
            self.drop_extra(part.place, &part.extra, kept);
        }
        let content = content_of(content);
        if content.is_none() && calls.is_empty() {
            self.drop_extra(path_of(turn), &turn.extra, &[]);
            return ids;
        }
        self.drop_extra(path_of(turn), &turn.extra, &TURN_EXTRAS);
        let mut message = Map::new();
        message.insert("role".to_owned(), "assistant".into());
        message.insert("content".to_owned(), content.unwrap_or_default());
        if let Some(name) = &turn.name {
            message.insert("name".to_owned(), name.as_str().into());
        }
        for key in TURN_EXTRAS {
            if let Some(value) = turn.extra.get(key) {
                message.insert(key.to_owned(), value.clone());
            }
        }
        if !calls.is_empty() {
            message.insert("tool_calls".to_owned(), calls.into());
        }
        messages.push(Value::Object(message));
        ids
    }

    /// Writes a `tool` message. It holds text only; what else the tool returned goes to `moved`.
    fn result(&mut self, part: &Part, messages: &mut Vec<Value>, moved: &mut Vec<Value>) {
        let PartBody::ToolResult { id, content, is_error } = &part.body else { return };
        self.drop_extra(part.place, &part.extra, &["name"]);
        if *is_error {
            self.drop(part.place, "is_error");
        }
        let (texts, media): (Vec<_>, Vec<_>) =
            content.iter().filter_map(|part| self.content_part(part)).partition(|part| part["type"] == "text");
        if !media.is_empty() {
            moved.push(text_part(&format!("Returned by tool call {id}:")));
            moved.extend(media);
        }
        let content = content_of(texts).unwrap_or_else(|| "".into());
        let mut message = json!({"role": "tool", "tool_call_id": id, "content": content});
        if let Some(name) = part.extra.get("name") {
            message["name"] = name.clone();
        }
        messages.push(message);
    }

    fn user_part(&mut self, part: &Part, here: (usize, usize), results: &mut Results<'_>, out: &mut Vec<Value>) {
        let PartBody::ToolResult { id, content, .. } = &part.body else {
            out.extend(self.content_part(part));
            return;
        };
        // Results are written with their calls. One without a call would be refused: what it says becomes the user's.
        let waiting = results.get_mut(id.as_str()).filter(|places| places.front() == Some(&here));
        if waiting.and_then(VecDeque::pop_front).is_some() {
            self.drop(part.place, "tool_use_id");
            self.drop_extra(part.place, &part.extra, &[]);
            out.extend(content.iter().filter_map(|part| self.content_part(part)));
        }
    }

    /// A part of a user message; `None` if chat completions have no word for it.
    fn content_part(&mut self, part: &Part) -> Option<Value> {
        let mut kept: &[&str] = &[];
        let written = match &part.body {
            PartBody::Text(text) => {
                kept = self.kept_marks();
                Some(self.marked(text_part(text), part))
            }
            PartBody::Refusal(text) => Some(text_part(text)),
            PartBody::File { media: Media::Text(text), name: Some(title) } if !title.is_empty() => {
                Some(text_part(&[title, text].map(String::as_str).join("\n\n")))
            }
            PartBody::File { media: Media::Text(text), .. } => Some(text_part(text)),
            PartBody::Image(media) => to_url(media).map(|url| {
                let mut image = json!({"url": url});
                if let Some(detail) = part.extra.get("detail") {
                    image["detail"] = detail.clone();
                }
                kept = &["detail"];
                json!({"type": "image_url", "image_url": image})
            }),
            PartBody::Audio(Media::Base64 { media_type, data }) => {
                let format = media_type.strip_prefix("audio/").unwrap_or(media_type);
                let format = if format == "mpeg" { "mp3" } else { format };
                Some(json!({"type": "input_audio", "input_audio": {"data": data, "format": format}}))
            }
            PartBody::File { media: media @ Media::Base64 { .. }, name } => {
                let name = name.as_deref().unwrap_or("document.pdf");
                Some(json!({"type": "file", "file": {"filename": name, "file_data": to_url(media)}}))
            }
            // Ids of files are known to their provider only; Anthropic's begin with `file_`.
            PartBody::File { media: Media::FileId(id), .. } if !id.starts_with("file_") => {
                Some(json!({"type": "file", "file": {"file_id": id}}))
            }
            PartBody::Foreign { kind, value } if kind == "search_result" => titled(value, value.get("content")),
            PartBody::Foreign { kind, value } if kind == "document" => titled(value, value.pointer("/source/content")),
            _ => None,
        };
        if written.is_none() {
            self.drop(part.place, kind_of(&part.body));
        }
        self.drop_extra(part.place, &part.extra, kept);
        if let (Some(_), PartBody::Foreign { value, .. }) = (&written, &part.body) {
            for key in ["cache_control", "citations", "context"].into_iter().filter(|key| value.get(key).is_some()) {
                self.drop(part.place, key);
            }
        }
        written
    }

    fn tools(&mut self, request: &ChatRequest, body: &mut Map<String, Value>) {
        let mut tools = Vec::new();
        for (n, tool) in request.tools.iter().enumerate() {
            let path = format!("tools[{n}]");
            match &tool.body {
                ToolBody::Function { name, description, schema, strict } => {
                    self.drop_extra(&path, &tool.extra, &[]);
                    let mut function = Map::new();
                    function.insert("name".to_owned(), self.tool_name(name, &path));
                    if let Some(description) = description {
                        function.insert("description".to_owned(), description.as_str().into());
                    }
                    let schema = schema.clone().unwrap_or_else(|| json!({"type": "object", "properties": {}}));
                    function.insert("parameters".to_owned(), schema);
                    if let Some(strict) = strict {
                        function.insert("strict".to_owned(), (*strict).into());
                    }
                    tools.push(json!({"type": "function", "function": function}));
                }
                ToolBody::Foreign { kind, value } if kind == "custom" => tools.push(value.clone()),
                ToolBody::Foreign { kind, .. } => {
                    self.drop_extra(&path, &tool.extra, &[]);
                    self.drop(path, kind);
                }
            }
        }
        let named = |name: &str| tools.iter().any(|tool| tool["function"]["name"] == name);
        let choice = match request.tool_choice.as_ref() {
            None => None,
            Some(ToolChoice::Auto | ToolChoice::None) if tools.is_empty() => None,
            Some(ToolChoice::Auto) => Some("auto".into()),
            Some(ToolChoice::None) => Some("none".into()),
            Some(ToolChoice::Required) if !tools.is_empty() => Some("required".into()),
            Some(ToolChoice::Function(name)) if named(self.tool_names.sent(name)) => {
                Some(json!({"type": "function", "function": {"name": self.tool_names.sent(name)}}))
            }
            Some(ToolChoice::Foreign(value))
                if !tools.is_empty() && (value["type"] == "allowed_tools" || value["type"] == "custom") =>
            {
                Some(self.allowed_tools(value))
            }
            Some(ToolChoice::Required | ToolChoice::Function(_) | ToolChoice::Foreign(_)) => {
                self.dropped.push("tool_choice".to_owned());
                None
            }
        };
        if tools.is_empty() {
            if request.parallel_tool_calls == Some(false) {
                self.dropped.push("parallel_tool_calls".to_owned());
            }
            return;
        }
        body.insert("tools".to_owned(), tools.into());
        if let Some(choice) = choice {
            body.insert("tool_choice".to_owned(), choice);
        }
        if let Some(parallel) = request.parallel_tool_calls {
            body.insert("parallel_tool_calls".to_owned(), parallel.into());
        }
    }

    /// A choice among some tools, which it names.
    fn allowed_tools(&self, choice: &Value) -> Value {
        let mut choice = choice.clone();
        let tools = choice.pointer_mut("/allowed_tools/tools").and_then(Value::as_array_mut);
        for name in tools.into_iter().flatten().filter_map(|tool| tool.pointer_mut("/function/name")) {
            if let Some(own) = name.as_str() {
                *name = self.tool_names.sent(own).into();
            }
        }
        choice
    }

    fn params(&mut self, request: &ChatRequest, target: &EncodeTarget<'_>, body: &mut Map<String, Value>) {
        let params = &request.params;
        let number = |number: &Option<serde_json::Number>| number.clone().map(Value::Number);
        let stop = &params.stop[..params.stop.len().min(STOPS)];
        let fields = [
            (target.max_tokens_field, params.max_tokens.map(Value::from)),
            ("temperature", number(&params.temperature)),
            ("top_p", number(&params.top_p)),
            ("stop", (!stop.is_empty()).then(|| stop.into())),
            ("presence_penalty", number(&params.presence_penalty)),
            ("frequency_penalty", number(&params.frequency_penalty)),
            ("seed", number(&params.seed)),
            ("user", request.user.as_deref().map(Value::from)),
            (
                "reasoning_effort",
                request.reasoning.as_ref().and_then(|it| self.effort(it, target.model)).map(Value::from),
            ),
            ("response_format", request.output.as_ref().and_then(|output| self.output(output))),
        ];
        body.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        if params.top_k.is_some() {
            self.dropped.push("top_k".to_owned());
        }
        for n in STOPS..params.stop.len() {
            self.dropped.push(format!("stop_sequences[{n}]"));
        }
    }

    fn effort(&mut self, reasoning: &Reasoning, model: &str) -> Option<String> {
        self.drop_extra("thinking", &reasoning.extra, &[]);
        let wanted = reasoning.enabled != Some(false);
        if wanted && may_reason(model) {
            if reasoning.budget_tokens.is_some() {
                self.approximated.push("thinking.budget_tokens".to_owned());
            }
            return Some(match (reasoning.effort.as_deref(), reasoning.budget_tokens) {
                (Some("max"), _) => {
                    self.approximated.push("output_config.effort".to_owned());
                    "high".to_owned()
                }
                (Some(effort), _) => effort.to_owned(),
                (None, Some(..4096)) => "low".to_owned(),
                (None, Some(4096..16_384) | None) => "medium".to_owned(),
                (None, Some(_)) => "high".to_owned(),
            });
        }
        // Models that do not reason need not be told to leave it; the word for the others differs from one to the next.
        let switched = if wanted { reasoning.enabled.is_some() } else { may_reason(model) };
        if switched || reasoning.budget_tokens.is_some() {
            self.dropped.push("thinking".to_owned());
        }
        if reasoning.effort.is_some() {
            self.dropped.push("output_config.effort".to_owned());
        }
        None
    }

    fn output(&mut self, output: &OutputFormat) -> Option<Value> {
        match output {
            OutputFormat::Text => Some(json!({"type": "text"})),
            OutputFormat::JsonObject => Some(json!({"type": "json_object"})),
            OutputFormat::JsonSchema { name, description, schema, strict } => {
                let foreign_form = name.is_none();
                let name = name.as_deref().unwrap_or_else(|| {
                    self.added.push("response_format.json_schema.name".to_owned());
                    "answer"
                });
                let mut format = json!({"name": name, "schema": schema});
                if let Some(description) = description {
                    format["description"] = description.as_str().into();
                }
                // An Anthropic client's format has no name and is always enforced; here only schemas of one form can be.
                let enforceable = !foreign_form || is_strict(schema);
                if !enforceable {
                    self.approximated.push("output_config.format".to_owned());
                }
                if let Some(strict) = strict.filter(|_| enforceable) {
                    format["strict"] = strict.into();
                }
                Some(json!({"type": "json_schema", "json_schema": format}))
            }
            // Grammars and the like of OpenAI-compatible vendors.
            OutputFormat::Foreign(value) => Some(value.clone()),
        }
    }

    fn extra(&mut self, request: &ChatRequest, body: &mut Map<String, Value>) {
        let stored = request.extra.get("store") == Some(&Value::Bool(true));
        for (key, value) in &request.extra {
            let value = match (key.as_str(), value) {
                ("service_tier", tier) if tier == "standard_only" => "default".into(),
                ("service_tier", Value::String(_)) => value.clone(),
                // OpenAI takes metadata only with answers that it stores.
                ("metadata", Value::Object(map)) if stored && map.values().all(Value::is_string) => value.clone(),
                (known, _) if EXTRAS.contains(&known) && !body.contains_key(known) => value.clone(),
                _ => {
                    // A field may be called nothing at all.
                    self.dropped.push(if key.is_empty() { "\"\"".to_owned() } else { key.clone() });
                    continue;
                }
            };
            body.insert(key.clone(), value);
        }
    }
}

/// Does the model take `reasoning_effort`? Those that are known not to answer with an error.
fn may_reason(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    !["gpt-3", "gpt-4", "chatgpt-4"].into_iter().any(|old| name.starts_with(old))
}

/// Can OpenAI enforce this schema: is every object in it closed, and all that it may have required?
fn is_strict(schema: &Value) -> bool {
    let closed = match schema.get("properties").and_then(Value::as_object) {
        None => schema.get("type").is_none_or(|kind| kind != "object"),
        Some(properties) => {
            let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
            schema["additionalProperties"] == false
                && properties.keys().all(|name| required.iter().any(|it| it == name))
        }
    };
    closed
        && match schema {
            Value::Object(fields) => fields.values().all(is_strict),
            Value::Array(items) => items.iter().all(is_strict),
            _ => true,
        }
}

/// Adds a message, unless it would say nothing.
fn push(messages: &mut Vec<Value>, role: &str, content: Vec<Value>, name: Option<&str>) {
    let Some(content) = content_of(content) else { return };
    let mut message = json!({"role": role, "content": content});
    if let Some(name) = name {
        message["name"] = name.into();
    }
    messages.push(message);
}

/// The name of the only leading system message.
fn system_name(turns: &[Turn], leading: usize) -> Option<&str> {
    if leading == 1 { turns[0].name.as_deref() } else { None }
}

fn text_part(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// `content`: a string where there is one text only. Empty texts say nothing and some vendors refuse them.
fn content_of(mut parts: Vec<Value>) -> Option<Value> {
    parts.retain(|part| part["text"] != "");
    match parts.as_mut_slice() {
        [] => None,
        [only] if only["type"] == "text" && only.get("cache_control").is_none() => Some(only["text"].take()),
        _ => Some(parts.into()),
    }
}

fn to_url(media: &Media) -> Option<String> {
    match media {
        Media::Url(url) => Some(url.clone()),
        Media::Base64 { media_type, data } => Some(format!("data:{media_type};base64,{data}")),
        Media::Text(_) | Media::FileId(_) => None,
    }
}

/// A search result or a document made of blocks, as text: title, source, content. `None` if there is more in it than text.
fn titled(value: &Value, content: Option<&Value>) -> Option<Value> {
    let texts = match content? {
        Value::String(text) => vec![Some(text.as_str())],
        blocks => blocks.as_array()?.iter().map(|block| block["text"].as_str()).collect(),
    };
    let texts: Vec<&str> = texts.into_iter().collect::<Option<_>>()?;
    let head = [&value["title"], &value["source"]].into_iter().filter_map(Value::as_str);
    Some(text_part(&head.chain(texts).collect::<Vec<_>>().join("\n")))
}

fn path_of(turn: &Turn) -> String {
    turn.index.map_or_else(|| "system".to_owned(), |index| format!("messages[{index}]"))
}

/// The name under which a part that cannot be said is reported.
fn kind_of(body: &PartBody) -> &str {
    match body {
        PartBody::Text(_) => "text",
        PartBody::Refusal(_) => "refusal",
        PartBody::Image(_) => "image",
        PartBody::File { .. } => "document",
        PartBody::Audio(_) => "input_audio",
        PartBody::Reasoning { .. } => "thinking",
        PartBody::RedactedReasoning(_) => "redacted_thinking",
        PartBody::ToolCall(_) => "tool_use",
        PartBody::ToolResult { .. } => "tool_result",
        PartBody::Foreign { kind, .. } => kind,
    }
}
