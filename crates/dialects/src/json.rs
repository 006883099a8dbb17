//! JSON with nothing lost: strict checks before parsing, and reading by taking fields out, so that what was not taken is known.

use std::borrow::Cow;

use gateway_core::Extra;
use gateway_core::error::GatewayError;
use serde_json::{Number, Value};

use crate::scan::{Checked, Reader, items, read, read_answer, read_value};
pub use crate::scan::{check, scan};

pub fn invalid_body(message: impl Into<String>) -> GatewayError {
    GatewayError::new(gateway_core::error::ErrorKind::InvalidRequest, message)
}

/// The text of a value that is known to be JSON and has not been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(pub(crate) &'a str);

impl<'a> Json<'a> {
    pub fn get(self) -> &'a str {
        self.0
    }

    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub fn number(self) -> Option<Number> {
        self.0.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then(|| self.0.parse().ok())?
    }

    /// The text of a string.
    pub fn string(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        serde_json::from_str(self.0).ok().map(Cow::Owned)
    }

    /// The items of a list.
    pub fn list(self) -> Option<Vec<Json<'a>>> {
        self.0.starts_with('[').then(|| items(self.0).ok())?
    }

    /// All of it, as a tree.
    pub fn value(self) -> Value {
        serde_json::from_str(self.0).unwrap_or_default()
    }
}

/// Checks a body whose top level is an object, as [`scan`] does.
pub fn parse_object(body: &[u8]) -> Result<Fields<'_>, GatewayError> {
    let mut members = Vec::with_capacity(MEMBERS);
    read(body, |json, name| take(json, name, &mut members))?;
    Ok(Fields { members, path: String::new() })
}

/// Passes a member and notes where it stands.
fn take<'a>(json: &mut Reader<'a>, name: Cow<'a, [u8]>, members: &mut Vec<(Cow<'a, str>, Json<'a>)>) -> Checked<()> {
    let name = json.name_as_text(name);
    members.push((name, Json(json.json()?)));
    Ok(())
}

/// As many members as most objects have.
const MEMBERS: usize = 8;

/// An object that is read by taking its fields out. `null` counts as absent.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    /// In their order. Of those with the same name the last one counts.
    members: Vec<(Cow<'a, str>, Json<'a>)>,
    path: String,
}

impl<'a> Fields<'a> {
    pub fn of(value: Json<'a>, path: impl Into<String>) -> Result<Self, GatewayError> {
        let path = path.into();
        if !value.is_object() {
            return Err(wrong(&path, "an object", value));
        }
        let mut members = Vec::with_capacity(MEMBERS);
        read_answer(value.get(), |json, name| take(json, name, &mut members))?;
        Ok(Fields { members, path })
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
        self.peek(key).is_some_and(|value| !value.is_null())
    }

    pub fn peek(&self, key: &str) -> Option<Json<'a>> {
        self.members.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    pub fn take(&mut self, key: &str) -> Option<Json<'a>> {
        let mut found = None;
        self.members.retain(|(name, value)| {
            let is_it = name == key;
            found = if is_it { Some(*value) } else { found };
            !is_it
        });
        found.filter(|value| !value.is_null())
    }

    /// A field as a tree.
    pub fn value(&mut self, key: &str) -> Option<Value> {
        self.take(key).map(Json::value)
    }

    pub fn string(&mut self, key: &str) -> Result<Option<String>, GatewayError> {
        self.typed(key, "a string", |value| value.string().map(Cow::into_owned))
    }

    pub fn bool(&mut self, key: &str) -> Result<Option<bool>, GatewayError> {
        self.typed(key, "true or false", |value| value.get().parse().ok())
    }

    /// A whole number that is not negative.
    pub fn integer(&mut self, key: &str) -> Result<Option<u64>, GatewayError> {
        self.typed(key, "a whole number, not negative", |value| value.get().parse().ok())
    }

    pub fn number(&mut self, key: &str) -> Result<Option<Number>, GatewayError> {
        self.typed(key, "a number", Json::number)
    }

    pub fn list(&mut self, key: &str) -> Result<Option<Vec<Json<'a>>>, GatewayError> {
        self.typed(key, "a list", Json::list)
    }

    pub fn object(&mut self, key: &str) -> Result<Option<Fields<'a>>, GatewayError> {
        let value = self.take(key);
        value.map(|value| Fields::of(value, self.path(key))).transpose()
    }

    fn typed<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(Json<'a>) -> Option<T>,
    ) -> Result<Option<T>, GatewayError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| wrong(&self.path(key), expected, value))
    }

    /// The fields that are known, and those that are not. Fields that are `null` are left out: they say nothing.
    pub fn split(self, is_known: impl Fn(&str) -> bool) -> (Fields<'a>, Extra) {
        let (known, unknown) = self.members.into_iter().partition(|(name, _)| is_known(name));
        (Fields { members: known, path: self.path }, Fields { members: unknown, path: String::new() }.rest())
    }

    /// What was not taken. Fields that are `null` are left out: they say nothing.
    pub fn rest(self) -> Extra {
        let mut rest = Extra::new();
        for (name, value) in self.members {
            rest.insert(name.into_owned(), value.value());
        }
        rest.retain(|_, value| !value.is_null());
        rest
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
    if read_value(json, |json| search(json, shape, &mut path, names)).is_err() {
        names.truncate(before);
    }
    names[before..].sort_unstable();
}

/// One pass through a value that stands at `path`.
fn search(json: &mut Reader<'_>, shape: &Shape, path: &mut String, names: &mut Vec<String>) -> Checked<()> {
    match json.peek() {
        Some(b'{') => json.members(|json, name| {
            if let Some((_, shape)) = shape.deeper.iter().find(|(known, _)| known.as_bytes() == &*name) {
                let name = json.name_as_text(name);
                return within(path, &name, |path| search(json, shape, path, names));
            }
            if shape.known.iter().any(|known| known.as_bytes() == &*name) {
                return json.skip();
            }
            let name = json.name_as_text(name);
            if says_something(&name, json.json()?) {
                within(path, &name, |path| names.push(path.clone()));
            }
            Ok(())
        }),
        Some(b'[') => {
            let mut is_first = true;
            json.items(|json| match std::mem::take(&mut is_first) {
                true => within(path, "[0]", |path| search(json, shape, path, names)),
                false => json.skip(),
            })
        }
        _ => json.skip(),
    }
}

/// Goes one step down: `step` is told the path with `name` behind it.
fn within<T>(path: &mut String, name: &str, step: impl FnOnce(&mut String) -> T) -> T {
    let length = path.len();
    if !path.is_empty() && !name.starts_with('[') {
        path.push('.');
    }
    path.push_str(name);
    let result = step(path);
    path.truncate(length);
    result
}

/// Is there something other than `null`, `false`, zero, an empty string, list or object? The usual tier of service, which
/// stands in every answer, says nothing either: a header that is always there is read by nobody.
fn says_something(name: &str, value: &str) -> bool {
    match value {
        "null" | "false" | "0" | "0.0" | "\"\"" | "[]" | "{}" => false,
        "\"default\"" | "\"standard\"" => name != "service_tier",
        _ => true,
    }
}

/// The error for a value of the wrong type.
pub fn wrong(path: &str, expected: &str, got: Json<'_>) -> GatewayError {
    let kind = match got.get().as_bytes().first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'"') => "a string",
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        _ => "a number",
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
