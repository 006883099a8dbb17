//! What was said, wherever it was said: one tree of values that know their origin.
//!
//! The file is read first ([`yaml`]), `${NAME}` in it is replaced ([`interpolate`]), and the environment and the flags are
//! laid over it ([`Node::set`]). What comes from outside the file is [`Value::Loose`] text until the schema has given it a
//! type.

pub mod interpolate;
pub mod yaml;

use indexmap::IndexMap;

use super::problem::Origin;

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub value: Value,
    /// Of the key in a map, of the item in a list.
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    /// Text of which the schema decides whether it is a number. It may be a secret: never quote it.
    Loose(String),
    /// Was to come from somewhere that did not have it; that is reported already.
    Missing,
    List(Vec<Node>),
    Map(Map),
}

pub type Map = IndexMap<String, Node>;

impl Node {
    pub fn new(value: Value, origin: Origin) -> Self {
        Node { value, origin }
    }

    pub fn empty() -> Self {
        Node::new(Value::Map(Map::new()), Origin::Default)
    }

    pub fn get(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, segment| match &node.value {
            Value::Map(map) => map.get(*segment),
            Value::List(list) => list.get(segment.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Where the value at `path` was said, or the nearest thing around it.
    pub fn origin(&self, path: &[&str]) -> Origin {
        (0..=path.len())
            .rev()
            .find_map(|length| self.get(&path[..length]))
            .map_or(Origin::Default, |node| node.origin.clone())
    }

    /// Puts a value at `path`. Where something that is not a map is in the way, it stays: the schema will refuse it.
    pub fn set(&mut self, path: &[&str], value: Value, origin: &Origin) {
        let Some((first, rest)) = path.split_first() else {
            *self = Node::new(value, origin.clone());
            return;
        };
        if self.value == Value::Null {
            self.value = Value::Map(Map::new());
        }
        if let Value::Map(map) = &mut self.value {
            map.entry((*first).to_owned())
                .or_insert_with(|| Node::new(Value::Null, origin.clone()))
                .set(rest, value, origin);
        }
    }

    /// Takes an entry out of the top level.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        match &mut self.value {
            Value::Map(map) => map.shift_remove(key),
            _ => None,
        }
    }

    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null | Value::Missing => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => value.clone().into(),
            Value::Text(value) | Value::Loose(value) => value.as_str().into(),
            Value::List(list) => list.iter().map(Node::to_json).collect(),
            Value::Map(map) => {
                map.iter().map(|(key, node)| (key.clone(), node.to_json())).collect::<serde_json::Map<_, _>>().into()
            }
        }
    }
}

/// Text as a YAML plain scalar means it (the core schema of YAML 1.2: `yes` is text).
pub fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| Value::Text(text.to_owned()), Value::Number)
}

pub fn number(text: &str) -> Option<serde_json::Number> {
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'));
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16).map(Into::into);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8).map(Into::into);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    let whole = text.parse::<i64>().ok().map(Into::into).or_else(|| text.parse::<u64>().ok().map(Into::into));
    whole.or_else(|| text.parse::<f64>().ok().and_then(serde_json::Number::from_f64))
}
