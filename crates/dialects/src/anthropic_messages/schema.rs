//! JSON schemas, bent as far as the API demands.
//!
//! Sources: the API's documentation of structured outputs (objects closed, no bounds on numbers, strings and lists) and of
//! tools (`input_schema` is an object schema, without combinators at its top).

use serde_json::{Map, Value, json};

/// Keywords that the API refuses where it enforces a schema itself.
const UNENFORCED: [&str; 13] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
];

const COMBINATORS: [&str; 3] = ["anyOf", "oneOf", "allOf"];

/// A tool's schema as the object schema that it must be, and the keywords that had to go.
pub(super) fn of_input(schema: Option<&Value>) -> (Value, Vec<&'static str>) {
    let Some(Value::Object(schema)) = schema else {
        return (json!({"type": "object", "properties": {}}), Vec::new());
    };
    let mut schema = schema.clone();
    let mut gone = Vec::new();
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        gone.extend(schema.contains_key("type").then_some("type"));
        schema.insert("type".to_owned(), json!("object"));
    }
    for keyword in COMBINATORS {
        gone.extend(schema.shift_remove(keyword).map(|_| keyword));
    }
    (Value::Object(schema), gone)
}

/// Can the API hold a tool call to this schema (`strict`)?
pub(super) fn is_enforceable(schema: &Value) -> bool {
    let Value::Object(node) = schema else { return false };
    let closed = !is_object(node) || node.get("additionalProperties") == Some(&Value::Bool(false));
    closed && !UNENFORCED.iter().any(|keyword| node.contains_key(*keyword)) && children(node).all(is_enforceable)
}

/// Makes a schema for answers one that the API takes: objects are closed, bounds become words of the description, so that
/// the model still reads them.
pub(super) fn enforceable(schema: &Value) -> Value {
    let mut schema = schema.clone();
    close(&mut schema);
    schema
}

fn close(schema: &mut Value) {
    let Value::Object(node) = schema else { return };
    let bounds: Vec<String> = UNENFORCED
        .iter()
        .filter_map(|keyword| node.shift_remove(*keyword).map(|bound| format!("{keyword}: {bound}")))
        .collect();
    if !bounds.is_empty() {
        let said = node.get("description").and_then(Value::as_str).map_or(String::new(), |text| format!("{text} "));
        node.insert("description".to_owned(), Value::String(format!("{said}({})", bounds.join(", "))));
    }
    if is_object(node) {
        node.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    children_mut(node).for_each(close);
}

fn is_object(node: &Map<String, Value>) -> bool {
    node.contains_key("properties")
        || match node.get("type") {
            Some(Value::String(kind)) => kind == "object",
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
            _ => false,
        }
}

const MAPS: [&str; 3] = ["properties", "$defs", "definitions"];

fn is_child_list(key: &str) -> bool {
    COMBINATORS.contains(&key) || key == "prefixItems"
}

/// The schemas directly inside a schema.
fn children(node: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    node.iter().flat_map(|(key, value)| match value {
        Value::Object(map) if MAPS.contains(&key.as_str()) => map.values().collect(),
        Value::Array(list) if is_child_list(key) => list.iter().collect(),
        value if key == "items" => vec![value],
        _ => Vec::new(),
    })
}

fn children_mut(node: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    node.iter_mut().flat_map(|(key, value)| match value {
        value if key == "items" => vec![value],
        Value::Object(map) if MAPS.contains(&key.as_str()) => map.values_mut().collect(),
        Value::Array(list) if is_child_list(key) => list.iter_mut().collect(),
        _ => Vec::new(),
    })
}
