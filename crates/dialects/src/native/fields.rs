//! The fields of a native request, as data: what is documented, what is read and what is checked come from these tables.
//!
//! A field that is not here cannot be read: the decoder puts it with the unknown ones before it begins.

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::request::CAPABILITIES;
use super::response::Whole;
use super::stream::Chunk;
use gateway_core::target::Strategy;

#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    /// What holds when nothing is sent, as JSON. For the parameters of sampling it is the provider who sees to it: the gateway
    /// sends only what the client set.
    pub default: Option<&'static str>,
    pub about: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Text,
    Flag,
    /// A number within both bounds.
    Number {
        least: f64,
        most: f64,
    },
    /// A whole number greater than 0.
    Positive,
    Texts,
    /// One of these words.
    Word(&'static [Strategy]),
    /// Words of a closed set.
    Words(&'static [&'static str]),
    /// Any object.
    Object,
    Fields(&'static [Field]),
    /// One of OpenAI's shapes, by its name in the documentation.
    Shape(&'static str),
    /// A list of one of OpenAI's shapes, which must not be empty if `required`.
    Shapes {
        name: &'static str,
        required: bool,
    },
}

const fn field(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, default: None, about }
}

const fn with_default(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Field {
    Field { default: Some(default), ..field(name, kind, about) }
}

const fn within(least: f64, most: f64) -> Kind {
    Kind::Number { least, most }
}

pub const REQUEST: &[Field] = &[
    field("messages", Kind::Shapes { name: "Message", required: true }, "The conversation so far."),
    field(
        "model",
        Kind::Text,
        "An alias, `provider/model`, or a known model's own name. Without it the first provider's default model answers.",
    ),
    field("provider", Kind::Text, "Tried first; the others follow."),
    with_default("temperature", within(0.0, 2.0), "0.7", "How freely tokens are chosen."),
    field("max_tokens", Kind::Positive, "The most tokens that the answer may have."),
    with_default(
        "top_p",
        within(0.0, 1.0),
        "1.0",
        "Only the most probable tokens that together have this probability are chosen from.",
    ),
    with_default("stop_sequences", Kind::Texts, "[]", "The answer ends before any of these."),
    with_default("presence_penalty", within(-2.0, 2.0), "0", "Above 0: less of what has been said at all."),
    with_default("frequency_penalty", within(-2.0, 2.0), "0", "Above 0: less of what has been said often."),
    with_default("tools", Kind::Shapes { name: "Tool", required: false }, "[]", "Functions that the model may call."),
    field(
        "tool_choice",
        Kind::Shape("ToolChoice"),
        "Whether the model may, must or must not call, and which function.",
    ),
    field("response_format", Kind::Shape("ResponseFormat"), "Text, any JSON, or JSON that fits a schema."),
    with_default("stream", Kind::Flag, "false", "Answer as server-sent events. `/v1/completions/stream` always does."),
    field("routing", Kind::Fields(ROUTING), "Where the request may go."),
    with_default(
        "skip_cache",
        Kind::Flag,
        "false",
        "Answer anew, whatever the cache holds, and keep nothing of it there.",
    ),
    field(
        "user_id",
        Kind::Text,
        "Who asks, in your own words; it reaches the log and, where its API has a word for it, the provider.",
    ),
    with_default("metadata", Kind::Object, "{}", "Anything; it comes back with a whole answer."),
];

pub const ROUTING: &[Field] = &[
    field(
        "strategy",
        Kind::Word(&Strategy::ALL),
        "How candidates are put in order; without one, as the alias or the configuration says.",
    ),
    with_default("preferred_providers", Kind::Texts, "[]", "Tried first, in this order."),
    with_default("exclude_providers", Kind::Texts, "[]", "Never tried."),
    with_default(
        "required_capabilities",
        Kind::Words(&CAPABILITIES),
        "[]",
        "Models that lack one of these are not tried.",
    ),
];

pub(super) fn is_in(fields: &[Field], name: &str) -> bool {
    fields.iter().any(|field| field.name == name)
}

/// The schemas of the native API, by the names under which they refer to each other as `#/components/schemas/NAME`:
/// `CompletionRequest` and what is in it. Those of the answers, `Completion` and `CompletionChunk`, go into `generator`.
pub fn schemas(generator: &mut SchemaGenerator) -> Result<Map<String, Value>, serde_json::Error> {
    // OpenAI's shapes, as far as they are read here.
    let mut schemas: Map<String, Value> = serde_json::from_str(include_str!("shapes.json"))?;
    schemas.insert("CompletionRequest".to_owned(), object(REQUEST));
    generator.subschema_for::<Whole<'_>>();
    generator.subschema_for::<Chunk<'_>>();
    Ok(schemas)
}

fn object(fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|field| (field.name.to_owned(), field.schema())).collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.is_required()).map(|field| field.name).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

impl Field {
    pub fn is_required(&self) -> bool {
        matches!(self.kind, Kind::Shapes { required: true, .. })
    }

    fn schema(&self) -> Value {
        let mut schema = match self.kind {
            Kind::Text => json!({"type": "string"}),
            Kind::Flag => json!({"type": "boolean"}),
            Kind::Number { least, most } => json!({"type": "number", "minimum": least, "maximum": most}),
            Kind::Positive => json!({"type": "integer", "minimum": 1}),
            Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
            Kind::Word(words) => {
                json!({"type": "string", "enum": words.iter().map(|word| word.name()).collect::<Vec<_>>()})
            }
            Kind::Words(words) => json!({"type": "array", "items": {"type": "string", "enum": words}}),
            Kind::Object => json!({"type": "object"}),
            Kind::Fields(fields) => object(fields),
            Kind::Shape(name) => reference(name),
            Kind::Shapes { name, required: true } => json!({"type": "array", "items": reference(name), "minItems": 1}),
            Kind::Shapes { name, required: false } => json!({"type": "array", "items": reference(name)}),
        };
        schema["description"] = self.about.into();
        if let Some(default) = self.default.and_then(|json| serde_json::from_str(json).ok()) {
            schema["default"] = default;
        }
        schema
    }
}
