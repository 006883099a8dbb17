//! JSON with nothing lost: strict checks before parsing, and reading by taking fields out, so that what was not taken is known.

use gateway_core::Extra;
use gateway_core::error::GatewayError;
use gateway_core::limits::JSON_DEPTH;
use memchr::memchr2;
use serde_json::{Number, Value};

/// Refuses what a JSON parser may let through and a provider may not: nesting beyond [`JSON_DEPTH`] and escapes of half a
/// character (`\ud83d` alone). Anything else that is wrong is left for the parser to find.
pub fn check(body: &[u8]) -> Result<(), GatewayError> {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = body.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > JSON_DEPTH {
                    return Err(invalid_body(format!(
                        "the JSON is nested deeper than {JSON_DEPTH} levels (byte {at})"
                    )));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = check_string(body, at)?,
            _ => {}
        }
    }
    Ok(())
}

/// Returns the offset behind the closing quote of the string that begins at `at`.
fn check_string(body: &[u8], mut at: usize) -> Result<usize, GatewayError> {
    while let Some(offset) = memchr2(b'"', b'\\', &body[at..]) {
        at += offset;
        if body[at] == b'"' {
            return Ok(at + 1);
        }
        match code_unit(body, at) {
            Some(0xd800..=0xdbff) if matches!(code_unit(body, at + 6), Some(0xdc00..=0xdfff)) => at += 12,
            Some(0xd800..=0xdfff) => {
                return Err(invalid_body(format!(
                    "a string contains half of a surrogate pair, which is no character (byte {at})"
                )));
            }
            _ => at = (at + 2).min(body.len()),
        }
    }
    Ok(body.len())
}

/// The code unit of the escape `\uXXXX` at `at`, if there is one.
fn code_unit(body: &[u8], at: usize) -> Option<u16> {
    let digits = body.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

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
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(check(&nested(JSON_DEPTH)).is_ok());
        assert!(check(&nested(JSON_DEPTH + 1)).is_err());
        assert!(check(format!(r#"{{"a": "{}"}}"#, "[".repeat(1000)).as_bytes()).is_ok());
        assert!(check(&[b'['; 1_000_000]).is_err());
    }

    #[test]
    fn half_a_character_is_refused() {
        for good in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\"\u00e9""#, "\"😀\"", r#""\"#, r#""\u12"#] {
            assert!(check(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\u0041""#, r#""\ud83d\ud83d\ude00""#] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_type_names_its_path() {
        let mut fields = parse_object(br#"{"a": {"b": "x"}, "n": null, "z": 1}"#).unwrap();
        let mut inner = fields.object("a").unwrap().unwrap();
        assert_eq!(inner.integer("b").unwrap_err().message, "a.b must be a whole number, not negative, got a string");
        assert_eq!(fields.integer("n").unwrap(), None);
        assert_eq!(fields.rest().len(), 1);
    }
}
