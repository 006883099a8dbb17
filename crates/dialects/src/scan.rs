//! JSON read where it stands: one pass over the bytes that checks them and builds nothing.
//!
//! [`scan`] finds the members of a body. [`read`] goes deeper: its reader is taken by the hand, member by member, and checks
//! and passes whatever nobody asks for.

use std::borrow::Cow;
use std::ops::Range;

use gateway_core::error::GatewayError;
use gateway_core::limits::JSON_DEPTH;
use wide::u8x16;

use crate::json::{Json, invalid_body};

/// Checks a body in one pass, without building anything: valid UTF-8 and JSON, an object at the top, nested no deeper than
/// [`JSON_DEPTH`], no escape of half a character (`\ud83d` alone). `member` is told every member of the top level: its name,
/// in UTF-8, and where its value stands. True if there is a long string in it that is no text, as the base64 of a picture.
pub fn scan<'a>(
    body: &'a [u8],
    mut member: impl FnMut(Cow<'a, [u8]>, Range<usize>) -> Result<(), GatewayError>,
) -> Result<bool, GatewayError> {
    let mut has_media = false;
    read(body, |json, name| {
        let start = json.at;
        json.skip()?;
        has_media |= json.has_media;
        Ok(member(name, start..json.at)?)
    })?;
    Ok(has_media)
}

/// [`scan`] for those who want no member.
pub fn check(body: &[u8]) -> Result<(), GatewayError> {
    scan(body, |_, _| Ok(())).map(|_| ())
}

/// Checks a body as [`scan`] does. `member` is told the name of every member of the top level and must pass its value.
pub(crate) fn read<'a>(
    body: &'a [u8],
    member: impl FnMut(&mut Reader<'a>, Cow<'a, [u8]>) -> Checked<()>,
) -> Result<(), GatewayError> {
    let Ok(text) = simdutf8::basic::from_utf8(body) else {
        let valid = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
        return Err(invalid_body(format!("the body is not valid UTF-8 (byte {valid})")));
    };
    Reader { strict: true, ..Reader::of(text) }.document(member).map_err(|error| *error)
}

/// Reads what a provider has sent as [`read`] reads a body, but for halves of characters, which pass: some vendors cut them in
/// two, and they concern nobody but the client.
pub(crate) fn read_answer<'a>(
    text: &'a str,
    member: impl FnMut(&mut Reader<'a>, Cow<'a, [u8]>) -> Checked<()>,
) -> Result<(), GatewayError> {
    Reader::of(text).document(member).map_err(|error| *error)
}

/// Where the string ends that begins at `start`, behind its quote; `None` if there is none, or if it is no JSON.
pub(crate) fn string_end(text: &str, start: usize) -> Option<usize> {
    let mut reader = Reader { at: start, ..Reader::of(text) };
    if reader.peek() != Some(b'"') {
        return None;
    }
    reader.string().ok().map(|_| reader.at)
}

/// Reads a value as [`read_answer`] reads an answer. `value` must pass it.
pub(crate) fn read_value<'a>(text: &'a str, value: impl FnOnce(&mut Reader<'a>) -> Checked<()>) -> Checked<()> {
    let mut reader = Reader::of(text);
    reader.space();
    value(&mut reader)
}

/// The items of a list.
pub(crate) fn items(text: &str) -> Checked<Vec<Json<'_>>> {
    let mut items = Vec::new();
    Reader::of(text).items(|json| {
        items.push(Json(json.json()?));
        Ok(())
    })?;
    Ok(items)
}

/// What a step of a reading returns: there are many, and an error in a box fits into a register.
pub(crate) type Checked<T> = Result<T, Box<GatewayError>>;

/// Where a reading is.
pub(crate) struct Reader<'a> {
    text: &'a str,
    /// Its bytes.
    body: &'a [u8],
    at: usize,
    /// The containers that are open, innermost in the lowest bit: 1 is an object, 0 a list.
    open: u128,
    depth: usize,
    /// A string that is no text has gone by.
    has_media: bool,
    /// Where the name stands that was read last, in its quotes.
    named: Range<usize>,
    /// Half of a character is an error.
    strict: bool,
}

impl<'a> Reader<'a> {
    /// At the beginning of a text.
    fn of(text: &'a str) -> Self {
        Reader { text, body: text.as_bytes(), at: 0, open: 0, depth: 0, has_media: false, named: 0..0, strict: false }
    }

    /// A string that is no text has gone by.
    pub(crate) fn has_media(&self) -> bool {
        self.has_media
    }

    /// Goes through the whole text, which must be an object.
    fn document(mut self, member: impl FnMut(&mut Self, Cow<'a, [u8]>) -> Checked<()>) -> Checked<()> {
        self.space();
        if self.peek() != Some(b'{') {
            // An error in what is no object is worth less than the hint that it is none.
            let empty = self.peek().is_none();
            return Err(invalid_body(if empty { "the body is empty" } else { "the body must be a JSON object" }).into());
        }
        self.members(member)?;
        self.space();
        if self.at < self.body.len() { Err(self.wrong("the end of the body")) } else { Ok(()) }
    }

    /// Goes through an object. `member` must pass the value of each.
    pub(crate) fn members(&mut self, mut member: impl FnMut(&mut Self, Cow<'a, [u8]>) -> Checked<()>) -> Checked<()> {
        if self.peek() != Some(b'{') {
            return Err(self.wrong("`{`"));
        }
        self.enter(b'{')?;
        let mut first = true;
        while self.next_item(b'}', &mut first)? {
            let (quoted, plain) = self.name()?;
            let name = if plain || memchr::memchr(b'\\', quoted).is_none() {
                Cow::Borrowed(&quoted[1..quoted.len() - 1])
            } else {
                let name: String = serde_json::from_slice(quoted).map_err(|_| self.wrong("a name in quotes"))?;
                Cow::Owned(name.into_bytes())
            };
            member(self, name)?;
        }
        Ok(())
    }

    /// Goes through a list. `item` must pass each.
    pub(crate) fn items(&mut self, mut item: impl FnMut(&mut Self) -> Checked<()>) -> Checked<()> {
        if self.peek() != Some(b'[') {
            return Err(self.wrong("`[`"));
        }
        self.enter(b'[')?;
        let mut first = true;
        while self.next_item(b']', &mut first)? {
            item(self)?;
        }
        Ok(())
    }

    /// Passes one value. Its text.
    pub(crate) fn json(&mut self) -> Checked<&'a str> {
        let start = self.at;
        self.skip()?;
        Ok(self.since(start))
    }

    /// What has gone by since the reading was at `start`, which was between two tokens, as it is now.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Passes a string or a `null`.
    pub(crate) fn text(&mut self) -> Checked<Option<Cow<'a, str>>> {
        let start = self.at;
        let json = self.json()?;
        if json == "null" {
            return Ok(None);
        }
        let Some(inner) = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')) else {
            self.at = start;
            return Err(self.wrong("a string"));
        };
        if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
            return Ok(Some(Cow::Borrowed(inner)));
        }
        serde_json::from_str(json).map(|text| Some(Cow::Owned(text))).map_err(|_| self.wrong("a string"))
    }

    /// How far the reading has come.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Where the name stands that was read last, in its quotes.
    pub(crate) fn named(&self) -> Range<usize> {
        self.named.clone()
    }

    /// The name that was read last, as text.
    pub(crate) fn name_as_text(&self, name: Cow<'a, [u8]>) -> Cow<'a, str> {
        match name {
            // It stands between its quotes.
            Cow::Borrowed(_) => self.text.get(self.named.start + 1..self.named.end - 1).unwrap_or_default().into(),
            Cow::Owned(name) => String::from_utf8(name).unwrap_or_default().into(),
        }
    }

    /// The first byte of what is next.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    #[inline]
    fn space(&mut self) {
        // Most JSON has none.
        if self.peek().is_some_and(|byte| byte > b' ') {
            return;
        }
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    #[cold]
    fn wrong(&self, expected: &str) -> Box<GatewayError> {
        let before = &self.body[..self.at.min(self.body.len())];
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let column = 1 + before.len() - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let found = if self.at < self.body.len() { "something else" } else { "its end" };
        let message =
            format!("the body is not valid JSON: expected {expected}, found {found} at line {line} column {column}");
        invalid_body(message).into()
    }

    fn enter(&mut self, bracket: u8) -> Checked<()> {
        if self.depth == JSON_DEPTH {
            let message = format!("the JSON is nested deeper than {JSON_DEPTH} levels (byte {})", self.at);
            return Err(invalid_body(message).into());
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
    fn next_item(&mut self, end: u8, first: &mut bool) -> Checked<bool> {
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

    /// Passes the name of a member, up to its value. The name, in its quotes, and whether it is known to have no escapes.
    fn name(&mut self) -> Checked<(&'a [u8], bool)> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("a name in quotes"));
        }
        let start = self.at;
        let plain = self.string()?;
        self.named = start..self.at;
        let quoted = &self.body[start..self.at];
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.wrong("`:`"));
        }
        self.at += 1;
        self.space();
        Ok((quoted, plain))
    }

    /// Passes one value, whatever is in it.
    #[inline]
    pub(crate) fn skip(&mut self) -> Checked<()> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{' | b'[') => self.skip_container(),
            _ => self.skip_scalar(),
        }
    }

    #[inline(never)]
    fn skip_scalar(&mut self) -> Checked<()> {
        match self.peek() {
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn skip_container(&mut self) -> Checked<()> {
        let outside = self.depth;
        loop {
            // A value begins here.
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
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
                _ => self.skip_scalar()?,
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

    fn word(&mut self, word: &[u8]) -> Checked<()> {
        if !self.body[self.at..].starts_with(word) {
            return Err(self.wrong("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Checked<()> {
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

    fn digits(&mut self) -> Checked<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.body.get(self.at) {
            self.at += 1;
        }
        if self.at == start { Err(self.wrong("a value")) } else { Ok(()) }
    }

    /// Passes a string, from its opening quote. True where it is known to have no escapes, as short ones are.
    #[inline]
    fn string(&mut self) -> Checked<bool> {
        let start = self.at;
        self.at += 1;
        // Names and other short strings end before a block would pay.
        for _ in 0..3 {
            let Some(bytes) = self.body.get(self.at..).and_then(<[u8]>::first_chunk) else { break };
            let stops = stops(*bytes);
            if stops == 0 {
                self.at += 16;
                continue;
            }
            self.at += stops.trailing_zeros() as usize;
            if self.peek() == Some(b'"') {
                self.at += 1;
                return Ok(true);
            }
            break;
        }
        self.long_string(start)
    }

    /// Passes the rest of a string that begins at `start`.
    #[inline(never)]
    fn long_string(&mut self, start: usize) -> Checked<bool> {
        self.blocks()?;
        loop {
            self.at += plain_length(&self.body[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.has_media |= is_media(&self.body[start..self.at]);
                    self.at += 1;
                    return Ok(false);
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(self.wrong("`\"`, or an escape for a control character")),
            }
        }
    }

    /// Goes through a string in whole blocks, at most to what ends it. Common escapes do not slow it down: text with one in
    /// every line is read as fast as text without.
    fn blocks(&mut self) -> Checked<()> {
        // 1 where the byte before the block is a backslash that escapes the block's first.
        let mut escaping = 0;
        while let Some(block) = self.body[self.at..].first_chunk() {
            if escaping == 0 && is_plain(block) {
                self.at += BLOCK;
                continue;
            }
            let marks = Marks::of(block);
            let escaped = marks.escaped(&mut escaping);
            // An escape of which there is more to check than one letter.
            let rare = escaped & !marks.common_escapes;
            let stops = (marks.quotes & !escaped) | marks.controls | rare;
            if stops == 0 {
                self.at += BLOCK;
                continue;
            }
            let stop = stops.trailing_zeros();
            self.at += stop as usize;
            if rare >> stop & 1 == 0 {
                return Ok(());
            }
            // Back to its backslash.
            self.at -= 1;
            while self.peek() == Some(b'\\') {
                self.escape()?;
            }
            escaping = 0;
        }
        self.at -= escaping as usize;
        Ok(())
    }

    fn escape(&mut self) -> Checked<()> {
        match self.body.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match (self.code_unit(0), self.code_unit(6)) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => self.at += 12,
                (Some(0xd800..=0xdfff), _) if self.strict => {
                    let message =
                        format!("a string contains half of a surrogate pair, which is no character (byte {})", self.at);
                    return Err(invalid_body(message).into());
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

/// Is a string base64, as it stands in JSON, rather than text? The middle tells: text has a space there, or a sign.
fn is_media(string: &[u8]) -> bool {
    /// Of a shorter one its size says enough.
    const BYTES_LEAST: usize = 4096;
    let middle = string.len() / 2;
    // Some write `/` as `\/`. What is written as `\u56fd` is text.
    let is_base64 = |pair: &[u8]| {
        let [byte, next] = [pair[0], pair[1]];
        byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte) || (byte == b'\\' && next != b'u')
    };
    string.len() >= BYTES_LEAST && string[middle..middle + BLOCK].windows(2).all(is_base64)
}

/// Bytes of a string that are looked at together.
const BLOCK: usize = 64;

/// What matters in a block of a string: one bit for each byte, the first byte in the lowest.
#[derive(Debug, Clone, Copy)]
struct Marks {
    quotes: u64,
    backslashes: u64,
    controls: u64,
    /// What stands behind a backslash in nearly all escapes: `n`, `t`, `"`, `\`.
    common_escapes: u64,
}

impl Marks {
    fn of(block: &[u8; BLOCK]) -> Marks {
        let mut marks = Marks { quotes: 0, backslashes: 0, controls: 0, common_escapes: 0 };
        let (vectors, _) = block.as_chunks::<16>();
        for (index, vector) in vectors.iter().enumerate() {
            let bytes = u8x16::new(*vector);
            let is = |byte: u8| bytes.simd_eq(u8x16::splat(byte));
            let bits = |vector: u8x16| u64::from(vector.to_bitmask()) << (16 * index);
            marks.quotes |= bits(is(b'"'));
            marks.backslashes |= bits(is(b'\\'));
            marks.controls |= bits(bytes.min(u8x16::splat(b' ' - 1)).simd_eq(bytes));
            marks.common_escapes |= bits(is(b'n') | is(b't'));
        }
        marks.common_escapes |= marks.quotes | marks.backslashes;
        marks
    }

    /// The bytes that a backslash before them escapes. `escaping` is 1 where one before the block escapes its first byte, and
    /// is left so for the next block.
    ///
    /// In a row of backslashes every second one is escaped. A subtraction runs along all rows of the block at once: taken
    /// from the odd places, the start of a row flips the bits behind it up to the row's end.
    fn escaped(&self, escaping: &mut u64) -> u64 {
        const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
        let first = *escaping;
        if self.backslashes == 0 {
            *escaping = 0;
            return first;
        }
        let open = self.backslashes & !first;
        let flipped = ((open << 1) | ODD).wrapping_sub(open) ^ ODD;
        *escaping = (flipped & self.backslashes) >> (BLOCK - 1);
        flipped ^ (self.backslashes | first)
    }
}

/// Most blocks of a long text have no marks at all, which a third of the work tells.
fn is_plain(block: &[u8; BLOCK]) -> bool {
    let (vectors, _) = block.as_chunks::<16>();
    let (mut least, mut backslashes) = (u8x16::splat(u8::MAX), u8x16::splat(0));
    for vector in vectors {
        let turned = turned(*vector);
        least = least.min(turned);
        backslashes |= is_backslash(turned);
    }
    (ends(least) | backslashes).to_bitmask() == 0
}

/// Bytes of which one bit is turned, so that a quote stands next to the control characters, and space and `!` do not.
fn turned(bytes: [u8; 16]) -> u8x16 {
    u8x16::new(bytes) ^ u8x16::splat(TURNED)
}
const TURNED: u8 = b'"' ^ b' ';

fn is_backslash(turned: u8x16) -> u8x16 {
    turned.simd_eq(u8x16::splat(b'\\' ^ TURNED))
}

/// All ones where a byte ends plain text but for backslashes: quotes and control characters.
fn ends(turned: u8x16) -> u8x16 {
    turned.min(u8x16::splat(b'"' ^ TURNED)).simd_eq(turned)
}

/// One bit for each byte that ends plain text, the first byte in the lowest.
fn stops(bytes: [u8; 16]) -> u32 {
    let turned = turned(bytes);
    (ends(turned) | is_backslash(turned)).to_bitmask()
}

/// How many bytes go by before a string's end, an escape or a control character.
pub(crate) fn plain_length(text: &[u8]) -> usize {
    let (vectors, rest) = text.as_chunks::<16>();
    for (index, vector) in vectors.iter().enumerate() {
        let stops = stops(*vector);
        if stops != 0 {
            return 16 * index + stops.trailing_zeros() as usize;
        }
    }
    let special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < b' ';
    16 * vectors.len() + rest.iter().position(special).unwrap_or(rest.len())
}

#[cfg(test)]
pub(crate) mod tests;
