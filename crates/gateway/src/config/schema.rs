//! The JSON Schema of the file, generated from [`super::raw`], and an interpreter of the part of JSON Schema that is in it.
//!
//! The interpreter gives text from outside the file its type, reports everything that is wrong at once with its place, and
//! takes what is wrong out of the tree, so that the rest can still be checked for sense.

use serde_json::Value as Json;

use super::problem::{Origin, Problem, Report, path_text, suggest};
use super::raw::File;
use super::tree::{Map, Node, Value, number};

#[derive(Debug)]
pub struct Schema(Json);

impl Schema {
    pub fn of_file() -> Self {
        let mut schema = schemars::schema_for!(File);
        schema.insert("title".into(), "gateway.yaml".into());
        Schema(schema.to_value())
    }

    /// For editors, as published in `docs/gateway.schema.json`.
    pub fn text(&self) -> String {
        format!("{:#}\n", self.0)
    }

    /// The schema of what is at `path`; list items and map entries count as a segment of any name.
    pub fn at(&self, path: &[&str]) -> Option<&Json> {
        path.iter().try_fold(&self.0, |schema, segment| {
            self.alternatives(schema).into_iter().find_map(|schema| {
                let property = schema.get("properties").and_then(|properties| properties.get(segment));
                property
                    .or_else(|| schema.get("additionalProperties").filter(|more| more.is_object()))
                    .or_else(|| schema.get("items"))
            })
        })
    }

    /// Whether this version of the program acts upon what is said at `path`, as far as that is marked at `path` itself.
    pub fn is_in_effect(&self, path: &[&str]) -> bool {
        self.at(path).and_then(|schema| schema.get("x-in-effect")) != Some(&Json::Bool(false))
    }

    /// Checks the whole tree. What was refused is not in it afterwards.
    pub fn validate(&self, tree: &mut Node, report: &mut Report) {
        if !self.check(tree, &self.0, &mut Vec::new(), report) {
            *tree = Node::empty();
        }
    }

    /// Follows `$ref`, and spreads `anyOf` and `oneOf`.
    pub fn alternatives<'s>(&'s self, schema: &'s Json) -> Vec<&'s Json> {
        if let Some(name) = schema.get("$ref").and_then(Json::as_str) {
            let definition = self.0.pointer(name.trim_start_matches('#'));
            return definition.map(|definition| self.alternatives(definition)).unwrap_or_default();
        }
        match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array) {
            Some(branches) => branches.iter().flat_map(|branch| self.alternatives(branch)).collect(),
            None => vec![schema],
        }
    }

    /// Whether the node can stay. Everything that is wrong in it is reported.
    fn check(&self, node: &mut Node, schema: &Json, path: &mut Vec<String>, report: &mut Report) -> bool {
        let usable = node.value != Value::Missing && self.check_value(node, schema, path, report);
        if !usable {
            report.refuse(path);
        }
        usable
    }

    fn check_value(&self, node: &mut Node, schema: &Json, path: &mut Vec<String>, report: &mut Report) -> bool {
        let alternatives = self.alternatives(schema);
        let kinds: Vec<&str> = alternatives.iter().flat_map(|alternative| kinds_of(alternative)).collect();
        let shown = quotable(node, &alternatives);
        let found = kind_of(&node.value);
        settle(&mut node.value, &kinds);

        let kind = kind_of(&node.value);
        let fits = |alternative: &&&Json| kinds_fit(&kinds_of(alternative), kind);
        let fitting: Vec<&Json> = alternatives.iter().filter(fits).copied().collect();
        let Some(&first) = fitting.first() else {
            let mut wanted: Vec<&str> =
                kinds.iter().filter(|kind| **kind != "null").map(|kind| kind_text(kind)).collect();
            wanted.dedup();
            let found_text = shown.unwrap_or_else(|| kind_text(found).to_owned());
            let message = match found {
                "null" => "is empty".to_owned(),
                _ => format!("{found_text} is not {}", wanted.join(" or ")),
            };
            refuse(node, path, report, message, kind_hint(found, &kinds));
            return false;
        };
        match &mut node.value {
            Value::Text(text) => {
                let names: Option<Vec<&str>> =
                    fitting.iter().map(|schema| names(schema)).collect::<Option<Vec<_>>>().map(|names| names.concat());
                if let Some(names) = names {
                    if names.contains(&text.as_str()) {
                        return true;
                    }
                    let hint = suggest(text, &names);
                    let message = format!("{} is not one of the possible values", shown.unwrap_or("the value".into()));
                    refuse(node, path, report, message, Some(hint));
                    return false;
                }
                let least = first.get("minLength").and_then(Json::as_u64).unwrap_or(0);
                if (text.chars().count() as u64) < least {
                    refuse(node, path, report, "is empty".into(), None);
                    return false;
                }
                true
            }
            Value::Number(value) => match out_of_range(value, first) {
                Some(bound) => {
                    let message = format!("{} is {bound}", shown.unwrap_or("the number".into()));
                    refuse(node, path, report, message, range_hint(first));
                    false
                }
                None => true,
            },
            Value::List(list) => {
                let least = first.get("minItems").and_then(Json::as_u64).unwrap_or(0);
                if (list.len() as u64) < least {
                    refuse(node, path, report, "is an empty list".into(), Some("name at least one".into()));
                    return false;
                }
                let Some(items) = first.get("items") else { return true };
                let mut usable = true;
                for (index, item) in list.iter_mut().enumerate() {
                    path.push(index.to_string());
                    usable &= self.check(item, items, path, report);
                    path.pop();
                }
                usable
            }
            Value::Map(map) => self.check_map(map, &node.origin, first, path, report),
            _ => true,
        }
    }

    fn check_map(
        &self,
        map: &mut Map,
        origin: &Origin,
        schema: &Json,
        path: &mut Vec<String>,
        report: &mut Report,
    ) -> bool {
        let properties = schema.get("properties").and_then(Json::as_object);
        let more = schema.get("additionalProperties").filter(|more| more.is_object());
        let mut refused = Vec::new();
        for (key, node) in map.iter_mut() {
            path.push(key.clone());
            let usable = match properties.and_then(|properties| properties.get(key)).or(more) {
                Some(schema) => self.check(node, schema, path, report),
                None => {
                    let known: Vec<&str> =
                        properties.into_iter().flat_map(|known| known.keys().map(String::as_str)).collect();
                    let message = format!("{}: there is no such key", path_text(path));
                    report.problem(Problem::new(node.origin.clone(), message).hint(suggest(key, &known)));
                    false
                }
            };
            path.pop();
            if !usable {
                refused.push(key.clone());
            }
        }
        map.retain(|key, _| !refused.contains(key));

        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        let mut usable = true;
        for key in required.filter(|key| !map.contains_key(*key)) {
            usable = false;
            if !refused.iter().any(|refused| refused == key) {
                let message = format!("{}: `{key}` is missing", path_text(path));
                report.problem(Problem::new(origin.clone(), message));
            }
        }
        usable
    }
}

fn refuse(node: &Node, path: &[String], report: &mut Report, message: String, hint: Option<String>) {
    let message = format!("{}: {message}", path_text(path));
    report.problem(Problem { origin: node.origin.clone(), message, hint });
}

/// Gives loose text the type that the schema wants, if it can be read so, and an empty section its shape.
fn settle(value: &mut Value, kinds: &[&str]) {
    let wants = |kind: &str| kinds.contains(&kind);
    match value {
        Value::Null if wants("null") => {}
        Value::Null if wants("object") => *value = Value::Map(Map::new()),
        Value::Null if wants("array") => *value = Value::List(Vec::new()),
        Value::Loose(text) => {
            let text = std::mem::take(text);
            *value = typed(&text, kinds).unwrap_or(Value::Text(text));
        }
        _ => {}
    }
    if let Value::Number(number) = value
        && !wants("number")
        && let Some(float) = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15)
    {
        *number = (float as i64).into();
    }
}

fn typed(text: &str, kinds: &[&str]) -> Option<Value> {
    if kinds.contains(&"string") {
        return None;
    }
    if kinds.contains(&"boolean") {
        return match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(Value::Bool(true)),
            "false" | "0" | "no" | "off" => Some(Value::Bool(false)),
            _ => None,
        };
    }
    number(text.trim()).map(Value::Number)
}

/// The value as it may be shown in a message: not if it is a secret, nor if it came into the file from a variable.
fn quotable(node: &Node, alternatives: &[&Json]) -> Option<String> {
    if alternatives.iter().any(|schema| is_write_only(schema)) {
        return None;
    }
    match &node.value {
        Value::Loose(_) if matches!(node.origin, Origin::File { .. }) => None,
        Value::Text(text) | Value::Loose(text) => {
            let short: String = text.chars().take(60).collect();
            Some(if short.len() < text.len() { format!("{:?}", short + "...") } else { format!("{short:?}") })
        }
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        _ => None,
    }
}

fn is_write_only(schema: &Json) -> bool {
    schema.get("writeOnly").and_then(Json::as_bool) == Some(true)
}

fn kinds_of(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(kind)) => vec![kind],
        Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

fn kinds_fit(kinds: &[&str], kind: &str) -> bool {
    kinds.contains(&kind) || (kind == "integer" && kinds.contains(&"number"))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null | Value::Missing => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::Text(_) | Value::Loose(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) => "object",
    }
}

fn kind_text(kind: &str) -> &str {
    match kind {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "text",
        "array" => "a list",
        "object" => "a map of keys",
        _ => "nothing",
    }
}

fn kind_hint(found: &str, wanted: &[&str]) -> Option<String> {
    let hint = match (found, wanted.first().copied()?) {
        ("null", _) => "write a value, or take the line out",
        ("integer" | "number" | "boolean", "string") => "write it in quotes",
        (_, "boolean") => "write true or false",
        ("array" | "object", "integer" | "number") | (_, "integer") => "write a whole number, without a unit",
        (_, "number") => "write a number, without a unit",
        ("string", "array") => "write it as [a, b], or each item in a line that begins with `- `",
        (_, "object") => "write `key: value` pairs, indented below",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// The values of an enumeration.
pub fn names(schema: &Json) -> Option<Vec<&str>> {
    match (schema.get("enum"), schema.get("const")) {
        (Some(Json::Array(names)), _) => Some(names.iter().filter_map(Json::as_str).collect()),
        (_, Some(Json::String(name))) => Some(vec![name]),
        _ => None,
    }
}

fn bound(schema: &Json, keyword: &str) -> Option<f64> {
    schema.get(keyword).and_then(Json::as_f64)
}

fn out_of_range(value: &serde_json::Number, schema: &Json) -> Option<String> {
    let number = value.as_f64()?;
    let plain = |keyword| schema.get(keyword).map(Json::to_string).unwrap_or_default();
    if bound(schema, "minimum").is_some_and(|least| number < least) {
        return Some(format!("less than {}", plain("minimum")));
    }
    if bound(schema, "exclusiveMinimum").is_some_and(|least| number <= least) {
        return Some(format!("not more than {}", plain("exclusiveMinimum")));
    }
    bound(schema, "maximum").filter(|most| number > *most).map(|_| format!("more than {}", plain("maximum")))
}

/// `from 0 to 65535`
pub fn range_text(schema: &Json) -> Option<String> {
    let text = |keyword| schema.get(keyword).map(Json::to_string);
    Some(match (text("minimum"), text("exclusiveMinimum"), text("maximum")) {
        (Some(least), _, Some(most)) => format!("from {least} to {most}"),
        (Some(least), _, None) => format!("{least} or more"),
        (None, Some(least), Some(most)) => format!("more than {least}, up to {most}"),
        (None, Some(least), None) => format!("more than {least}"),
        (None, None, Some(most)) => format!("up to {most}"),
        _ => return None,
    })
}

fn range_hint(schema: &Json) -> Option<String> {
    range_text(schema).map(|range| format!("write a number {range}"))
}
