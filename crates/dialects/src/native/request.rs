//! The request of the gateway's own API: OpenAI chat's messages and tools, ranges that are checked here, routing in the body.

use gateway_core::chat::ChatRequest;
use gateway_core::error::GatewayError;
use gateway_core::target::Strategy;
use serde_json::{Map, Value};

use super::fields::{self, Kind};
use crate::json::{Fields, Json, parse_object};
use crate::openai_chat::request::{read_shared, read_strings};

#[derive(Debug, Clone, PartialEq)]
pub struct NativeRequest {
    pub chat: ChatRequest,
    pub model: Option<String>,
    /// Tried first; the others follow.
    pub provider: Option<String>,
    pub routing: Routing,
    pub skip_cache: bool,
    pub user_id: Option<String>,
    /// Returned with the answer.
    pub metadata: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routing {
    pub strategy: Option<Strategy>,
    pub preferred_providers: Vec<String>,
    pub exclude_providers: Vec<String>,
    /// Words of [`CAPABILITIES`].
    pub required_capabilities: Vec<String>,
}

/// What a request may require of a model.
pub const CAPABILITIES: [&str; 7] =
    ["streaming", "tools", "vision", "documents", "json_schema", "reasoning", "embeddings"];

/// Reads a checked body. Fields that the API does not have stay in `chat.extra`, where encoders name them as dropped.
pub fn decode(body: &[u8]) -> Result<NativeRequest, GatewayError> {
    let (mut fields, unknown) = parse_object(body)?.split(|name| fields::is_in(fields::REQUEST, name));
    if unknown.contains_key("prompt") && !fields.has("messages") {
        let message = "prompt is the legacy completions API, which is not built yet; send messages instead: \
                       [{\"role\": \"user\", \"content\": ...}]";
        return Err(GatewayError::invalid("prompt", message));
    }
    check_ranges(&fields)?;
    let mut chat = read_shared(&mut fields)?;
    chat.params.max_tokens = fields.integer("max_tokens")?;
    chat.params.stop =
        fields.list("stop_sequences")?.map_or(Ok(Vec::new()), |stops| read_strings(stops, "stop_sequences"))?;
    let routing = fields.object("routing")?.map(|routing| read_routing(routing, &mut chat)).transpose()?;
    let user_id = fields.string("user_id")?;
    chat.user.clone_from(&user_id);
    let request = NativeRequest {
        model: fields.string("model")?,
        provider: fields.string("provider")?,
        routing: routing.unwrap_or_default(),
        skip_cache: fields.bool("skip_cache")?.unwrap_or(false),
        user_id,
        metadata: fields.object("metadata")?.map(Fields::rest).unwrap_or_default(),
        chat: ChatRequest::default(),
    };
    chat.extra.extend(unknown);
    Ok(NativeRequest { chat, ..request })
}

/// A number of the wrong type is left for the reader of its field.
fn check_ranges(body: &Fields<'_>) -> Result<(), GatewayError> {
    for field in fields::REQUEST {
        let (name, Some(number)) = (field.name, body.peek(field.name).and_then(Json::number)) else { continue };
        let value = number.as_f64().unwrap_or(f64::NAN);
        let message = match field.kind {
            Kind::Number { least, most } if !(least..=most).contains(&value) => {
                format!("{name} must be between {least} and {most}, got {number}")
            }
            Kind::Positive if value == 0.0 => format!("{name} must be greater than 0"),
            _ => continue,
        };
        return Err(GatewayError::invalid(name, message));
    }
    Ok(())
}

fn read_routing(fields: Fields<'_>, chat: &mut ChatRequest) -> Result<Routing, GatewayError> {
    let (mut fields, unknown) = fields.split(|name| fields::is_in(fields::ROUTING, name));
    let strategy = fields.string("strategy")?.map(|name| {
        Strategy::parse(&name)
            .ok_or_else(|| one_of(&fields.path("strategy"), &Strategy::ALL.map(Strategy::name), &name))
    });
    let strategy = strategy.transpose()?;
    let mut names = |key: &str| {
        let path = fields.path(key);
        fields.list(key)?.map_or(Ok(Vec::new()), |items| read_strings(items, &path))
    };
    let routing = Routing {
        strategy,
        preferred_providers: names("preferred_providers")?,
        exclude_providers: names("exclude_providers")?,
        required_capabilities: names("required_capabilities")?,
    };
    for (n, capability) in routing.required_capabilities.iter().enumerate() {
        if !CAPABILITIES.contains(&capability.as_str()) {
            return Err(one_of(&format!("routing.required_capabilities[{n}]"), &CAPABILITIES, capability));
        }
    }
    chat.extra.extend(unknown.into_iter().map(|(key, value)| (format!("routing.{key}"), value)));
    Ok(routing)
}

fn one_of(path: &str, words: &[&str], got: &str) -> GatewayError {
    GatewayError::invalid(path, format!("{path} must be one of {}, got \"{got}\"", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(mut body: Value) -> Result<NativeRequest, GatewayError> {
        if body.get("messages").is_none() {
            body["messages"] = json!([{"role": "user", "content": "Hi"}]);
        }
        decode(body.to_string().as_bytes())
    }

    #[test]
    fn every_field_is_read() {
        let request = read(json!({
            "model": "fast", "provider": "openai", "temperature": 0.7, "max_tokens": 5, "top_p": 1.0, "stop_sequences": ["a"],
            "presence_penalty": -2, "frequency_penalty": 2, "stream": true, "skip_cache": true, "user_id": "u", "metadata": {"k": 1},
            "routing": {"strategy": "least_busy", "preferred_providers": ["a"], "exclude_providers": ["b"],
                        "required_capabilities": ["vision"]},
        }))
        .unwrap();
        assert_eq!((request.model.as_deref(), request.provider.as_deref()), (Some("fast"), Some("openai")));
        assert_eq!(request.routing.strategy, Some(Strategy::LeastBusy));
        assert_eq!(request.routing.preferred_providers, ["a"]);
        assert_eq!(request.routing.exclude_providers, ["b"]);
        assert_eq!(request.routing.required_capabilities, ["vision"]);
        assert!(request.skip_cache && request.chat.stream);
        assert_eq!(request.chat.user.as_deref(), Some("u"));
        assert_eq!(request.chat.params.stop, ["a"]);
        assert_eq!(request.chat.params.max_tokens, Some(5));
        assert_eq!(request.metadata["k"], 1);
        assert!(request.chat.extra.is_empty());
    }

    #[test]
    fn each_violation_names_its_field() {
        for (body, field) in [
            (json!({"messages": []}), "messages"),
            (json!({"messages": [{"role": "boss", "content": "x"}]}), "messages[0].role"),
            (json!({"messages": [{"content": "x"}]}), "messages[0].role"),
            (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
            (json!({"messages": [{"role": "tool", "content": "x"}]}), "messages[0].tool_call_id"),
            (json!({"temperature": 2.1}), "temperature"),
            (json!({"temperature": "warm"}), "temperature"),
            (json!({"top_p": -0.1}), "top_p"),
            (json!({"presence_penalty": 3}), "presence_penalty"),
            (json!({"frequency_penalty": -3}), "frequency_penalty"),
            (json!({"max_tokens": 0}), "max_tokens"),
            (json!({"max_tokens": -1}), "max_tokens"),
            (json!({"max_tokens": 1.5}), "max_tokens"),
            (json!({"stop_sequences": "x"}), "stop_sequences"),
            (json!({"stop_sequences": ["x", 1]}), "stop_sequences[1]"),
            (json!({"stream": "yes"}), "stream"),
            (json!({"routing": "cost"}), "routing"),
            (json!({"routing": {"strategy": "magic"}}), "routing.strategy"),
            (json!({"routing": {"exclude_providers": "a"}}), "routing.exclude_providers"),
            (json!({"routing": {"required_capabilities": ["flight"]}}), "routing.required_capabilities[0]"),
            (json!({"skip_cache": 1}), "skip_cache"),
            (json!({"user_id": 1}), "user_id"),
            (json!({"metadata": []}), "metadata"),
            (json!({"provider": 1}), "provider"),
            (json!({"model": 1}), "model"),
            (json!({"tools": [{"type": "function", "function": {}}]}), "tools[0].function.name"),
            (json!({"tool_choice": "sometimes"}), "tool_choice"),
            (json!({"tool_choice": {"function": {"name": "f"}}}), "tool_choice.type"),
            (json!({"tool_choice": {"type": 1}}), "tool_choice.type"),
            (json!({"response_format": {}}), "response_format.type"),
        ] {
            let error = read(body.clone()).expect_err(&body.to_string());
            assert_eq!(error.field.as_deref(), Some(field), "{body}");
            assert!(error.message.contains(field), "{}", error.message);
        }
    }

    #[test]
    fn the_legacy_prompt_is_refused_by_name_and_beside_messages_it_is_an_unknown_field() {
        let error = decode(br#"{"prompt": "Once upon a time"}"#).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("prompt"));
        assert!(error.message.contains("not built yet") && error.message.contains("messages"), "{}", error.message);
        assert!(read(json!({"prompt": "x"})).unwrap().chat.extra.contains_key("prompt"));
    }

    #[test]
    fn unknown_fields_are_kept_for_naming() {
        let request = read(json!({"top_k": 3, "routing": {"speed": 9}})).unwrap();
        let names: Vec<&str> = request.chat.extra.keys().map(String::as_str).collect();
        assert_eq!(names, ["routing.speed", "top_k"]);
    }
}
