//! JSON appended to bytes.

use std::io::Write;

use serde::Serialize;
use serde_json::Value;

use crate::scan::plain_length;

/// Appends a value of which the serialization cannot fail: plain structs, names that are strings.
pub(crate) fn write_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(before);
    }
}

/// As many bytes as most small requests and answers have.
const BYTES: usize = 2048;

/// A tree as a body.
pub(crate) fn to_bytes(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(BYTES);
    write_value(&mut out, value);
    out
}

/// Appends a tree.
pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => out.extend_from_slice(number.as_str().as_bytes()),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            let mut opening = b'[';
            for item in items {
                out.push(std::mem::replace(&mut opening, b','));
                write_value(out, item);
            }
            out.extend_from_slice(if items.is_empty() { b"[]" } else { b"]" });
        }
        Value::Object(members) => {
            let mut object = Object::open(out);
            members.iter().for_each(|(name, value)| object.member(name, |out| write_value(out, value)));
            object.close();
        }
    }
}

/// An object that is written member by member.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    /// What stands before the next member.
    opening: u8,
}

impl<'o> Object<'o> {
    pub(crate) fn open(out: &'o mut Vec<u8>) -> Self {
        Object { out, opening: b'{' }
    }

    pub(crate) fn member(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        self.out.push(std::mem::replace(&mut self.opening, b','));
        write_string(self.out, name);
        self.out.push(b':');
        value(self.out);
    }

    pub(crate) fn string(&mut self, name: &str, text: &str) {
        self.member(name, |out| write_string(out, text));
    }

    pub(crate) fn json(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.member(name, |out| write_json(out, value));
    }

    pub(crate) fn close(self) {
        self.out.extend_from_slice(if self.opening == b'{' { b"{}" } else { b"}" });
    }
}

/// Appends a string, a run of plain text at a time.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    loop {
        let (plain, special) = rest.split_at(plain_length(rest));
        out.extend_from_slice(plain);
        let Some((byte, behind)) = special.split_first() else { break };
        match byte {
            b'"' => out.extend_from_slice(br#"\""#),
            b'\\' => out.extend_from_slice(br"\\"),
            b'\n' => out.extend_from_slice(br"\n"),
            b'\t' => out.extend_from_slice(br"\t"),
            b'\r' => out.extend_from_slice(br"\r"),
            0x08 => out.extend_from_slice(br"\b"),
            0x0c => out.extend_from_slice(br"\f"),
            // Bytes take all that is written.
            other => drop(write!(out, "\\u{other:04x}")),
        }
        rest = behind;
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn strings_are_written_as_serde_json_writes_them(text in r#"([a-z]{0,40}[\x00-\x20"\\\x7fé\u{2028}😀]{0,3}){0,4}"#) {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn trees_are_written_as_serde_json_writes_them(value in crate::scan::tests::any_json()) {
            let mut out = Vec::new();
            write_value(&mut out, &value);
            prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
