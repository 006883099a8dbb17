//! A value that fits a JSON schema, with leaves guessed from a sentence.

use serde_json::{Map, Number, Value, json};

use crate::{arithmetic, places};

/// Deeper schemas are answered with the shortest thing that may still fit.
const MAX_DEPTH: usize = 16;
const MAX_ITEMS: u64 = 64;

/// What the leaves are filled from.
#[derive(Debug)]
pub(crate) struct Hints<'a> {
    pub(crate) text: &'a str,
    /// For places, names and free text, before anything else.
    pub(crate) name: Option<&'a str>,
    numbers: std::vec::IntoIter<f64>,
}

impl<'a> Hints<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, name: places::names(text).first().copied(), numbers: places::numbers(text).into_iter() }
    }

    pub(crate) fn named(text: &'a str, name: &'a str) -> Self {
        Self { name: Some(name), ..Self::new(text) }
    }
}

/// A value for the schema; the optional properties of an object are left out unless it has no required ones.
pub(crate) fn instance(schema: &Value, hints: &mut Hints<'_>) -> Value {
    Filler { root: schema, hints }.fill(schema, "", 0)
}

/// Whether a property of the schema takes a place or a name, so that several names mean several calls.
pub(crate) fn takes_a_name(schema: &Value) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.is_some_and(|properties| properties.keys().any(|name| is_any(&name.to_lowercase(), NAMED)))
}

const NAMED: &[&str] =
    &["city", "location", "place", "town", "country", "destination", "address", "region", "name", "person"];
const FREE_TEXT: &[&str] =
    &["query", "question", "prompt", "input", "message", "text", "search", "content", "q", "topic"];

fn is_any(name: &str, words: &[&str]) -> bool {
    words.iter().any(|word| name == *word || (word.len() > 2 && name.contains(word)))
}

struct Filler<'s, 'h, 't> {
    root: &'s Value,
    hints: &'h mut Hints<'t>,
}

impl<'s> Filler<'s, '_, '_> {
    fn fill(&mut self, schema: &'s Value, name: &str, depth: usize) -> Value {
        if depth > MAX_DEPTH {
            return Value::Null;
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return target.map_or(Value::Null, |target| self.fill(target, name, depth + 1));
        }
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return self.choose(values);
        }
        for union in ["anyOf", "oneOf"] {
            if let Some(options) = schema.get(union).and_then(Value::as_array) {
                let option = options.iter().find(|option| option.get("type") != Some(&json!("null")));
                return option.or(options.first()).map_or(Value::Null, |option| self.fill(option, name, depth + 1));
            }
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            return self.fill_all(schema, parts, name, depth);
        }
        match type_of(schema) {
            "object" => Value::Object(self.object(schema, depth)),
            "array" => self.array(schema, name, depth),
            "integer" => self.number(schema, true),
            "number" => self.number(schema, false),
            "boolean" => Value::Bool(true),
            "null" => Value::Null,
            _ => Value::String(self.string(schema, name)),
        }
    }

    /// The value of an enumeration that the text mentions, else the first.
    fn choose(&self, values: &[Value]) -> Value {
        let text = self.hints.text.to_lowercase();
        let mentioned =
            |value: &&Value| value.as_str().is_some_and(|word| !word.is_empty() && text.contains(&word.to_lowercase()));
        values.iter().find(mentioned).or(values.first()).cloned().unwrap_or(Value::Null)
    }

    fn fill_all(&mut self, schema: &'s Value, parts: &'s [Value], name: &str, depth: usize) -> Value {
        let mut whole = if schema.get("properties").is_some() { self.object(schema, depth) } else { Map::new() };
        let mut leaf = None;
        for part in parts {
            match self.fill(part, name, depth + 1) {
                Value::Object(fields) => whole.extend(fields),
                other => leaf = Some(other),
            }
        }
        leaf.filter(|_| whole.is_empty()).unwrap_or(Value::Object(whole))
    }

    fn object(&mut self, schema: &'s Value, depth: usize) -> Map<String, Value> {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Map::new() };
        let required: Option<Vec<&str>> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect::<Vec<_>>())
            .filter(|names| !names.is_empty());
        properties
            .iter()
            .filter(|(name, _)| required.as_ref().is_none_or(|required| required.contains(&name.as_str())))
            .map(|(name, schema)| (name.clone(), self.fill(schema, name, depth + 1)))
            .collect()
    }

    fn array(&mut self, schema: &'s Value, name: &str, depth: usize) -> Value {
        let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
        let count = limit("minItems").unwrap_or(1).max(1).min(limit("maxItems").unwrap_or(MAX_ITEMS)).min(MAX_ITEMS);
        if let Some(items) = schema.get("prefixItems").and_then(Value::as_array) {
            return items.iter().map(|item| self.fill(item, name, depth + 1)).collect();
        }
        match schema.get("items") {
            Some(items) => (0..count).map(|_| self.fill(items, name, depth + 1)).collect(),
            None => Value::Array(Vec::new()),
        }
    }

    fn number(&mut self, schema: &Value, whole: bool) -> Value {
        let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
        let step = if whole { 1.0 } else { f64::EPSILON };
        let low = limit("minimum").or(limit("exclusiveMinimum").map(|low| low + step)).unwrap_or(f64::MIN);
        let high = limit("maximum").or(limit("exclusiveMaximum").map(|high| high - step)).unwrap_or(f64::MAX);
        let mut value = self.hints.numbers.next().unwrap_or(1.0).min(high).max(low);
        if let Some(multiple) = limit("multipleOf").filter(|multiple| *multiple > 0.0) {
            value = (value / multiple).ceil() * multiple;
        }
        if whole || value.fract() == 0.0 {
            return json!(value as i64);
        }
        Number::from_f64(value).map_or(Value::Null, Value::Number)
    }

    fn string(&self, schema: &Value, name: &str) -> String {
        let limit = |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
        let mut text = self.guess(schema, &name.to_lowercase());
        if let Some(least) = limit("minLength").map(|least| least.min(4096)) {
            while text.chars().count() < least {
                text.push('.');
            }
        }
        match limit("maxLength") {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        }
    }

    fn guess(&self, schema: &Value, name: &str) -> String {
        let text = self.hints.text;
        let by_format = match schema.get("format").and_then(Value::as_str).unwrap_or(name) {
            "date-time" | "datetime" | "timestamp" => "2026-01-15T12:00:00Z",
            "date" => "2026-01-15",
            "time" => "12:00:00Z",
            "email" => "someone@example.com",
            "uri" | "url" | "link" => "https://example.com/",
            "uuid" => "123e4567-e89b-42d3-a456-426614174000",
            "ipv4" => "192.0.2.1",
            "hostname" => "example.com",
            _ => "",
        };
        if !by_format.is_empty() {
            return by_format.to_owned();
        }
        if (name.contains("expression") || name.contains("formula"))
            && let Some((expression, _)) = arithmetic::solve(text)
        {
            return expression;
        }
        if let Some(name) = self.hints.name.filter(|_| is_any(name, NAMED)) {
            return name.to_owned();
        }
        if let Some(quoted) = places::quoted(text) {
            return quoted.to_owned();
        }
        if is_any(name, FREE_TEXT) && !text.is_empty() {
            return text.to_owned();
        }
        match self.hints.name {
            Some(name) => name.to_owned(),
            None if text.is_empty() => "sandbox".to_owned(),
            None => text.to_owned(),
        }
    }
}

fn type_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(schema: Value, text: &str) -> Value {
        instance(&schema, &mut Hints::new(text))
    }

    #[test]
    fn leaves_are_guessed_from_the_text() {
        let weather = json!({"type": "object", "required": ["location"], "properties": {
            "location": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}}});
        assert_eq!(filled(weather, "What is the weather in Paris?"), json!({"location": "Paris"}));
        let add = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "number"}}});
        assert_eq!(filled(add, "add 3 and 4.5"), json!({"a": 3, "b": 4.5}));
    }

    #[test]
    fn references_unions_and_limits_are_kept() {
        let schema = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["kind", "n", "tags", "next"],
            "properties": {"kind": {"const": "leaf"}, "n": {"type": "integer", "maximum": 2},
                "tags": {"type": "array", "minItems": 2, "items": {"enum": ["x", "y"]}},
                "next": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 3}]}}}}});
        assert_eq!(filled(schema, "about 17 y"), json!({"kind": "leaf", "n": 2, "tags": ["y", "y"], "next": "abo"}));
    }

    #[test]
    fn endless_schemas_end() {
        let schema = json!({"type": "object", "properties": {"child": {"$ref": "#"}}});
        assert!(filled(schema, "").is_object());
    }
}
