//! JSON with nothing lost: strict checks before parsing, and reading by taking fields out, so that what was not taken is known.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use gateway_core::Extra;
use gateway_core::error::GatewayError;
use gateway_core::limits::JSON_DEPTH;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

/// Checks a body in one pass, without building anything: valid UTF-8 and JSON, an object at the top, nested no deeper than
/// [`JSON_DEPTH`], no escape of half a character (`\ud83d` alone). `member` is told every member of the top level: its name
/// and where its value stands.
pub fn scan<'a>(
    body: &'a [u8],
    mut member: impl FnMut(Cow<'a, str>, Range<usize>) -> Result<(), GatewayError>,
) -> Result<(), GatewayError> {
    if simdutf8::basic::from_utf8(body).is_err() {
        let valid = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
        return Err(invalid_body(format!("the body is not valid UTF-8 (byte {valid})")));
    }
    let mut scan = Scan { body, at: 0, open: 0, depth: 0 };
    scan.space();
    if scan.peek() != Some(b'{') {
        // An error in what is no object is worth less than the hint that it is none.
        return Err(invalid_body(if scan.peek().is_none() {
            "the body is empty"
        } else {
            "the body must be a JSON object"
        }));
    }
    scan.enter(b'{')?;
    let mut first = true;
    while scan.next_item(b'}', &mut first)? {
        let name = scan.name()?;
        let start = scan.at;
        scan.value()?;
        member(name, start..scan.at)?;
    }
    scan.space();
    if scan.at < body.len() { Err(scan.wrong("the end of the body")) } else { Ok(()) }
}

/// Where a scan is. `body` is valid UTF-8.
struct Scan<'a> {
    body: &'a [u8],
    at: usize,
    /// The containers that are open, innermost in the lowest bit: 1 is an object, 0 a list.
    open: u128,
    depth: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    fn wrong(&self, expected: &str) -> GatewayError {
        let before = &self.body[..self.at.min(self.body.len())];
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let column = 1 + before.len() - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let found = if self.at < self.body.len() { "something else" } else { "its end" };
        invalid_body(format!(
            "the body is not valid JSON: expected {expected}, found {found} at line {line} column {column}"
        ))
    }

    fn enter(&mut self, bracket: u8) -> Result<(), GatewayError> {
        if self.depth == JSON_DEPTH {
            let message = format!("the JSON is nested deeper than {JSON_DEPTH} levels (byte {})", self.at);
            return Err(invalid_body(message));
        }
        self.depth += 1;
        self.open = self.open << 1 | u128::from(bracket == b'{');
        self.at += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.open >>= 1;
        self.at += 1;
    }

    /// Goes to the next item of the innermost container, or behind its `end`. `first`: there has been none yet.
    fn next_item(&mut self, end: u8, first: &mut bool) -> Result<bool, GatewayError> {
        self.space();
        if self.peek() == Some(end) {
            self.leave();
            return Ok(false);
        }
        if !std::mem::take(first) {
            if self.peek() != Some(b',') {
                return Err(self.wrong(if end == b'}' { "`,` or `}`" } else { "`,` or `]`" }));
            }
            self.at += 1;
            self.space();
        }
        Ok(true)
    }

    /// The name of a member, up to its value.
    fn name(&mut self) -> Result<Cow<'a, str>, GatewayError> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("a name in quotes"));
        }
        let start = self.at;
        self.string()?;
        let quoted = &self.body[start..self.at];
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.wrong("`:`"));
        }
        self.at += 1;
        self.space();
        let plain = &quoted[1..quoted.len() - 1];
        if memchr::memchr(b'\\', plain).is_none() {
            return Ok(String::from_utf8_lossy(plain));
        }
        serde_json::from_slice(quoted).map(Cow::Owned).map_err(|_| self.wrong("a name in quotes"))
    }

    /// Passes one value, whatever is in it.
    fn value(&mut self) -> Result<(), GatewayError> {
        let outside = self.depth;
        loop {
            // A value begins here.
            match self.peek() {
                Some(b'"') => self.string()?,
                Some(b'{') => {
                    self.enter(b'{')?;
                    if self.next_item(b'}', &mut true)? {
                        self.name()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.enter(b'[')?;
                    if self.next_item(b']', &mut true)? {
                        continue;
                    }
                }
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                _ => self.number()?,
            }
            // A value has ended here: so may the containers around it.
            loop {
                if self.depth == outside {
                    return Ok(());
                }
                let object = self.open & 1 == 1;
                if self.next_item(if object { b'}' } else { b']' }, &mut false)? {
                    if object {
                        self.name()?;
                    }
                    break;
                }
            }
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), GatewayError> {
        if !self.body[self.at..].starts_with(word) {
            return Err(self.wrong("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), GatewayError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), GatewayError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.wrong("a value"));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    /// Passes a string, from its opening quote.
    fn string(&mut self) -> Result<(), GatewayError> {
        self.at += 1;
        // Names and other short strings end before a block would pay.
        let start = &self.body[self.at..];
        self.at += plain_length(&start[..start.len().min(16)]);
        if self.peek() != Some(b'"') {
            self.blocks()?;
        }
        loop {
            self.at += plain_length(&self.body[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(self.wrong("`\"`, or an escape for a control character")),
            }
        }
    }

    /// Goes through a string in whole blocks, at most to what ends it: text with an escape in every line is read no slower
    /// than text without.
    fn blocks(&mut self) -> Result<(), GatewayError> {
        'blocks: while let Some(block) = self.body[self.at..].first_chunk() {
            let start = self.at;
            let mut left = specials(block);
            while left != 0 {
                self.at = start + left.trailing_zeros() as usize;
                if self.body[self.at] != b'\\' {
                    return Ok(());
                }
                self.escape()?;
                match u64::MAX.checked_shl((self.at - start) as u32) {
                    Some(behind) => left &= behind,
                    None => continue 'blocks,
                }
            }
            self.at = start + BLOCK;
        }
        Ok(())
    }

    /// Inlined, so that a block's loop need not wait for it.
    #[inline(always)]
    fn escape(&mut self) -> Result<(), GatewayError> {
        match self.body.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match (self.code_unit(0), self.code_unit(6)) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => self.at += 12,
                (Some(0xd800..=0xdfff), _) => {
                    let message =
                        format!("a string contains half of a surrogate pair, which is no character (byte {})", self.at);
                    return Err(invalid_body(message));
                }
                (Some(_), _) => self.at += 6,
                (None, _) => return Err(self.wrong("four hexadecimal digits")),
            },
            _ => return Err(self.wrong("an escape")),
        }
        Ok(())
    }

    /// The code unit of the escape `\uXXXX` that begins so many bytes further on, if there is one.
    fn code_unit(&self, further: usize) -> Option<u16> {
        let start = self.at + further;
        let digits = self.body.get(start..start + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | (digit as char).to_digit(16)? as u16))
    }
}

/// Bytes of a string that are looked at together.
const BLOCK: usize = 64;

/// Which bytes of a block cannot stand in a string as they are: quotes, backslashes and control characters. One bit each, the
/// first byte in the lowest.
fn specials(block: &[u8; BLOCK]) -> u64 {
    // Of this the compiler makes vectors; the product gathers one bit of each of eight bytes.
    let marks: [u8; BLOCK] = std::array::from_fn(|at| {
        let byte = block[at];
        if (byte == b'"') | (byte == b'\\') | (byte < b' ') { 0xff } else { 0 }
    });
    let (words, _) = marks.as_chunks::<8>();
    words.iter().enumerate().fold(0, |bits, (index, word)| {
        let own = u64::from_le_bytes(*word) & 0x8040_2010_0804_0201;
        bits | (own.wrapping_mul(0x0101_0101_0101_0101) >> 56) << (8 * index)
    })
}

/// How many bytes go by before a string's end, an escape or a control character. Looks at eight bytes at a time.
fn plain_length(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // The high bit of the lowest byte that is zero, or less than a space, is set; what is set above it means nothing.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = |word: u64| word.wrapping_sub(ONES * 0x20) & !word;
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let special =
            (zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control(word)) & HIGHS;
        if special != 0 {
            return 8 * index + special.trailing_zeros() as usize / 8;
        }
    }
    let special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < b' ';
    8 * words.len() + rest.iter().position(special).unwrap_or(rest.len())
}

/// [`scan`] for those who want no member.
pub fn check(body: &[u8]) -> Result<(), GatewayError> {
    scan(body, |_, _| Ok(()))
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

    use proptest::prelude::*;

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |depth: usize| [&b"{\"a\":"[..], &vec![b'['; depth], &vec![b']'; depth], b"}"].concat();
        assert!(check(&nested(JSON_DEPTH - 1)).is_ok());
        assert!(check(&nested(JSON_DEPTH)).is_err());
        assert!(check(format!(r#"{{"a": "{}"}}"#, "[".repeat(1000)).as_bytes()).is_ok());
        assert!(check(&nested(1_000_000)).is_err());
    }

    #[test]
    fn half_a_character_is_refused() {
        let body = |text: &str| format!("{{\"a\":{text}}}");
        for good in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\"\u00e9""#, "\"😀\""] {
            assert!(check(body(good).as_bytes()).is_ok(), "{good}");
        }
        for bad in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\u0041""#, r#""\ud83d\ud83d\ude00""#, r#""\"#, r#""\u12"#] {
            assert!(check(body(bad).as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_tells_its_place() {
        let message = |body: &str| check(body.as_bytes()).unwrap_err().message;
        assert_eq!(
            message("{\n  \"a\": 01}"),
            "the body is not valid JSON: expected `,` or `}`, found something else at line 2 column 9"
        );
        assert_eq!(message("{\"a\""), "the body is not valid JSON: expected `:`, found its end at line 1 column 5");
    }

    #[test]
    fn members_are_found_under_any_spelling_of_their_names() {
        let body = br#" { "mod\u0065l" : "x" , "n":[1,{"model":2}] }"#;
        let mut seen = Vec::new();
        scan(body, |name, place| {
            seen.push((name.into_owned(), std::str::from_utf8(&body[place]).unwrap()));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [("model".to_owned(), "\"x\""), ("n".to_owned(), r#"[1,{"model":2}]"#)]);
    }

    proptest! {
        #[test]
        fn accepts_what_serde_json_accepts(body in r#"\{("[ab\\\\u0e9nt]{0,4}" ?: ?([-0-9.eE+]{1,5}|true|nul|null|\[?[\],0]{0,3}|\{?"x":0\}|"[\\u0041n"]{0,3}"),? ?){0,3}\}?"#) {
            let known = serde_json::from_str::<serde_json::Map<String, Value>>(&body).is_ok();
            prop_assert_eq!(check(body.as_bytes()).is_ok(), known, "{}", body);
        }

        #[test]
        fn a_block_tells_its_specials(block in proptest::array::uniform32(any::<[u8; 2]>())) {
            let block: [u8; BLOCK] = std::array::from_fn(|at| block[at / 2][at % 2]);
            for (at, byte) in block.iter().enumerate() {
                prop_assert_eq!(specials(&block) >> at & 1 == 1, matches!(byte, b'"' | b'\\' | 0..b' '));
            }
        }

        #[test]
        fn long_strings_are_read_as_serde_json_reads_them(text in r#"([a-z]{0,70}(\\n|\\"|\\u00e9|\\ud83d\\ude00|é|\\)?){0,8}"#) {
            let body = format!(r#"{{"a":"{text}"}}"#);
            let known = serde_json::from_str::<serde_json::Map<String, Value>>(&body).is_ok();
            prop_assert_eq!(check(body.as_bytes()).is_ok(), known, "{}", body);
        }

        #[test]
        fn the_end_of_plain_text_is_found(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < b' ';
            prop_assert_eq!(plain_length(&text), text.iter().position(special).unwrap_or(text.len()));
        }

        #[test]
        fn accepts_every_value(value in any_json()) {
            let body = serde_json::json!({ "v": value }).to_string();
            prop_assert!(check(body.as_bytes()).is_ok());
            let pretty = serde_json::to_string_pretty(&serde_json::json!({ "v": value })).unwrap();
            prop_assert!(check(pretty.as_bytes()).is_ok());
            for cut in 0..body.len() {
                prop_assert!(check(&body.as_bytes()[..cut]).is_err());
            }
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect()))
            ]
        })
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
