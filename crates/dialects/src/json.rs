//! JSON with nothing lost: strict checks before parsing, and reading by taking fields out, so that what was not taken is known.

use std::borrow::Cow;
use std::fmt;

use gateway_core::Extra;
use gateway_core::error::GatewayError;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

pub use crate::scan::{check, scan};

pub fn invalid_body(message: impl Into<String>) -> GatewayError {
    GatewayError::new(gateway_core::error::ErrorKind::InvalidRequest, message)
}

/// Parses a checked body whose top level is an object.
pub fn parse_object(body: &[u8]) -> Result<Fields, GatewayError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(Fields { map, path: String::new() }),
        Ok(_) => Err(invalid_body("the body must be a JSON object")),
        Err(error) => Err(invalid_body(format!("the body is not valid JSON: {error}"))),
    }
}

/// An object that is read by taking its fields out. `null` counts as absent.
#[derive(Debug, Clone)]
pub struct Fields {
    map: Extra,
    path: String,
}

impl Fields {
    pub fn of(value: Value, path: impl Into<String>) -> Result<Self, GatewayError> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Fields { map, path }),
            other => Err(wrong(&path, "an object", &other)),
        }
    }

    /// The path of a field of this object: `messages[0].role`.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where this object stands; empty for the body itself.
    pub fn here(&self) -> &str {
        &self.path
    }

    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    pub fn peek(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    pub fn value(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key).filter(|value| !value.is_null())
    }

    pub fn string(&mut self, key: &str) -> Result<Option<String>, GatewayError> {
        self.typed(key, "a string", |value| match value {
            Value::String(text) => Ok(text),
            other => Err(other),
        })
    }

    pub fn bool(&mut self, key: &str) -> Result<Option<bool>, GatewayError> {
        self.typed(key, "true or false", |value| value.as_bool().ok_or(value))
    }

    /// A whole number that is not negative.
    pub fn integer(&mut self, key: &str) -> Result<Option<u64>, GatewayError> {
        self.typed(key, "a whole number, not negative", |value| value.as_u64().ok_or(value))
    }

    pub fn number(&mut self, key: &str) -> Result<Option<Number>, GatewayError> {
        self.typed(key, "a number", |value| match value {
            Value::Number(number) => Ok(number),
            other => Err(other),
        })
    }

    pub fn list(&mut self, key: &str) -> Result<Option<Vec<Value>>, GatewayError> {
        self.typed(key, "a list", |value| match value {
            Value::Array(items) => Ok(items),
            other => Err(other),
        })
    }

    pub fn object(&mut self, key: &str) -> Result<Option<Fields>, GatewayError> {
        let path = self.path(key);
        self.value(key).map(|value| Fields::of(value, path)).transpose()
    }

    fn typed<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(Value) -> Result<T, Value>,
    ) -> Result<Option<T>, GatewayError> {
        match self.value(key).map(read) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(value)) => Err(wrong(&self.path(key), expected, &value)),
        }
    }

    /// The fields that are known, and those that are not. Fields that are `null` are left out: they say nothing.
    pub fn split(self, is_known: impl Fn(&str) -> bool) -> (Fields, Extra) {
        let path = self.path.clone();
        let (map, unknown) = self.rest().into_iter().partition(|(name, _)| is_known(name));
        (Fields { map, path }, unknown)
    }

    /// What was not taken. Fields that are `null` are left out: they say nothing.
    pub fn rest(self) -> Extra {
        self.map.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    pub fn missing(&self, key: &str) -> GatewayError {
        let path = self.path(key);
        GatewayError::invalid(&path, format!("{path} is required"))
    }
}

/// The members of an object that a reader takes; whatever else is in it gets a name.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) known: &'static [&'static str],
    /// Members with a shape of their own; of a list, its first item is looked at.
    pub(crate) deeper: &'static [(&'static str, &'static Shape)],
}

/// Adds the paths of what stands in `json` and not in `shape`, unless it says nothing.
pub(crate) fn unknown(json: &str, shape: &Shape, path: &str, names: &mut Vec<String>) {
    let before = names.len();
    let mut path = path.to_owned();
    let search = Search { shape, path: &mut path, names };
    if search.deserialize(&mut serde_json::Deserializer::from_str(json)).is_err() {
        names.truncate(before);
    }
    names[before..].sort_unstable();
}

/// One pass through a value; what is known is skipped and nothing is kept.
struct Search<'s> {
    shape: &'s Shape,
    /// Where the value stands.
    path: &'s mut String,
    names: &'s mut Vec<String>,
}

/// The name of a member; borrowed unless it has an escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Search<'_> {
    /// Goes one step down: `step` is told the path with `name` behind it.
    fn within<T>(&mut self, name: &str, step: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if !self.path.is_empty() && !name.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(name);
        let result = step(self);
        self.path.truncate(length);
        result
    }
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = members.next_key::<Name<'de>>()? {
            if let Some((_, shape)) = self.shape.deeper.iter().find(|(known, _)| *known == name) {
                self.within(&name, |here| {
                    members.next_value_seed(Search { shape, path: here.path, names: here.names })
                })?;
            } else if self.shape.known.contains(&&*name) || name.starts_with(NUMBER) {
                members.next_value::<IgnoredAny>()?;
            } else if says_something(&name, members.next_value()?) {
                self.within(&name, |here| here.names.push(here.path.clone()));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let shape = self.shape;
        self.within("[0]", |here| items.next_element_seed(Search { shape, path: here.path, names: here.names }))?;
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// As which a number comes, so that no digit of it is lost.
const NUMBER: &str = "$serde_json::private::";

/// Is there something other than `null`, `false`, zero, an empty string, list or object? The usual tier of service, which
/// stands in every answer, says nothing either: a header that is always there is read by nobody.
fn says_something(name: &str, value: &RawValue) -> bool {
    match value.get() {
        "null" | "false" | "0" | "0.0" | "\"\"" | "[]" | "{}" => false,
        "\"default\"" | "\"standard\"" => name != "service_tier",
        _ => true,
    }
}

/// The error for a value of the wrong type.
pub fn wrong(path: &str, expected: &str, got: &Value) -> GatewayError {
    let kind = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    GatewayError::invalid(path, format!("{path} must be {expected}, got {kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_type_names_its_path() {
        let mut fields = parse_object(br#"{"a": {"b": "x"}, "n": null, "z": 1}"#).unwrap();
        let mut inner = fields.object("a").unwrap().unwrap();
        assert_eq!(inner.integer("b").unwrap_err().message, "a.b must be a whole number, not negative, got a string");
        assert_eq!(fields.integer("n").unwrap(), None);
        assert_eq!(fields.rest().len(), 1);
    }
}
