//! The only decoder and encoder of server-sent events, by the WHATWG rules: `\n`, `\r\n` and `\r` end a line, a blank line
//! ends an event, lines that begin with a colon are comments, one space after the colon of a field is not part of its value.
//!
//! The decoder works in frames: the bytes of one event as they came, up to and with its blank line. A relay that passes
//! whole frames may put its own events between any two of them, and nothing it passes is ever half an event.

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};
use gateway_core::limits::SSE_EVENT_BYTES;
use memchr::memchr2;
use serde::Serialize;

use crate::write::write_json;

/// One event of a stream, or a group of comment or blank lines between events, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub raw: Bytes,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// The value of the `event` field; empty where there is none.
    pub name: &'a str,
    pub data: Cow<'a, str>,
}

/// An event longer than [`SSE_EVENT_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTooLong;

impl std::fmt::Display for EventTooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a server-sent event is longer than {SSE_EVENT_BYTES} bytes")
    }
}

impl std::error::Error for EventTooLong {}

/// Cuts a byte stream into frames, however the bytes were cut on their way.
///
/// Bytes of an event that lies within one chunk are passed as a slice of that chunk; only an event that spans chunks is
/// copied.
#[derive(Debug, Default)]
pub struct SseDecoder {
    chunk: Bytes,
    /// The beginning of an event whose end has not come yet.
    tail: BytesMut,
    /// How far `tail` has been searched: the start of its last, unfinished line.
    line_start: usize,
    /// The last frame ended in `\r`: a `\n` that follows belongs to that line end.
    after_cr: bool,
}

impl SseDecoder {
    pub fn new() -> Self {
        SseDecoder::default()
    }

    /// Adds bytes. Take all frames with [`SseDecoder::next_frame`] before the next push.
    pub fn push(&mut self, chunk: Bytes) {
        if self.tail.is_empty() && self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            self.tail.extend_from_slice(&self.chunk);
            self.tail.extend_from_slice(&chunk);
            self.chunk = Bytes::new();
        }
    }

    /// The next whole frame, or `None` until more bytes come.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, EventTooLong> {
        if self.tail.is_empty() {
            let (end, line_start) = find_end(&self.chunk, 0, self.after_cr);
            if let Some(end) = end {
                let raw = self.chunk.split_to(end);
                self.after_cr = raw.ends_with(b"\r");
                return Self::checked(raw);
            }
            self.tail.extend_from_slice(&self.chunk);
            self.chunk = Bytes::new();
            self.line_start = line_start;
        } else {
            let (end, line_start) = find_end(&self.tail, self.line_start, self.after_cr);
            if let Some(end) = end {
                let raw = self.tail.split_to(end).freeze();
                self.after_cr = raw.ends_with(b"\r");
                self.line_start = 0;
                if !self.tail.is_empty() {
                    self.chunk = self.tail.split().freeze();
                }
                return Self::checked(raw);
            }
            self.line_start = line_start;
        }
        if self.tail.len() > SSE_EVENT_BYTES { Err(EventTooLong) } else { Ok(None) }
    }

    fn checked(raw: Bytes) -> Result<Option<Frame>, EventTooLong> {
        if raw.len() > SSE_EVENT_BYTES { Err(EventTooLong) } else { Ok(Some(Frame { raw })) }
    }

    /// At the end of the stream: what came after the last blank line. Strict readers ignore it; vendors that forget the
    /// last line end mean it.
    pub fn finish(&mut self) -> Option<Frame> {
        self.tail.extend_from_slice(&self.chunk);
        self.chunk.advance(self.chunk.len());
        let raw = self.tail.split().freeze();
        (!raw.is_empty()).then_some(Frame { raw })
    }
}

/// Looks for the blank line that ends the first frame of `bytes`; lines before `from` are known to be none. Returns the
/// offset behind the frame, or the start of the unfinished last line.
fn find_end(bytes: &[u8], from: usize, after_cr: bool) -> (Option<usize>, usize) {
    let mut start = from;
    if start == 0 && after_cr && bytes.first() == Some(&b'\n') {
        start = 1;
    }
    while let Some(length) = line_length(&bytes[start..]) {
        let end = start + length;
        let next = match (bytes[end], bytes.get(end + 1)) {
            (b'\r', Some(b'\n')) => end + 2,
            // Whether `\n` follows is not known yet: a blank line ends the frame all the same, any other line waits.
            (b'\r', None) if length > 0 => return (None, start),
            _ => end + 1,
        };
        if length == 0 {
            return (Some(next), next);
        }
        start = next;
    }
    (None, start)
}

/// How far it is to the end of a line, if it has come.
fn line_length(bytes: &[u8]) -> Option<usize> {
    // Every other line of most streams is blank.
    match bytes.first() {
        Some(b'\n' | b'\r') => Some(0),
        _ => memchr2(b'\n', b'\r', bytes),
    }
}

impl Frame {
    /// The event in this frame; `None` for comments and blank lines.
    pub fn event(&self) -> Option<SseEvent<'_>> {
        let (mut name, mut data): (&str, Option<Cow<'_, str>>) = ("", None);
        // The end of the line before, where that was cut in two.
        let raw = self.raw.strip_prefix(b"\n").unwrap_or(&self.raw);
        let mut rest = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw);
        while !rest.is_empty() {
            let length = line_length(rest).unwrap_or(rest.len());
            let (line, after) = rest.split_at(length);
            rest = after.strip_prefix(b"\r\n").unwrap_or_else(|| after.get(1..).unwrap_or_default());
            // Names of fields are short.
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let (field, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match field {
                b"data" => {
                    let value = lossy(value);
                    data = Some(match data {
                        None => value,
                        Some(before) => Cow::Owned(before.into_owned() + "\n" + &value),
                    });
                }
                b"event" => name = std::str::from_utf8(value).unwrap_or_default(),
                _ => {}
            }
        }
        data.map(|data| SseEvent { name, data })
    }
}

/// What is not UTF-8 becomes `\u{fffd}`.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    // The standard library's function looks at one byte after the other.
    simdutf8::basic::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Appends an event. `data` must be one line.
pub fn write_event(out: &mut Vec<u8>, name: Option<&str>, data: &[u8]) {
    write_event_with(out, name, |out| out.extend_from_slice(data));
}

/// As much as nearly all events need, so that their place does not grow bit by bit.
const EVENT_BYTES: usize = 512;

/// Appends an event whose data is JSON.
pub(crate) fn write_json_event(out: &mut Vec<u8>, name: Option<&str>, data: &impl Serialize) {
    write_event_with(out, name, |out| write_json(out, data));
}

/// Appends an event of which `data` appends the one line of data.
pub(crate) fn write_event_with(out: &mut Vec<u8>, name: Option<&str>, data: impl FnOnce(&mut Vec<u8>)) {
    out.reserve(EVENT_BYTES);
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    data(out);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(pieces: &[&[u8]]) -> (Vec<(String, String)>, Vec<u8>) {
        let (mut decoder, mut events, mut raw) = (SseDecoder::new(), Vec::new(), Vec::new());
        let mut see = |frame: Frame| {
            raw.extend_from_slice(&frame.raw);
            events.extend(frame.event().map(|event| (event.name.to_owned(), event.data.into_owned())));
        };
        for piece in pieces {
            decoder.push(Bytes::copy_from_slice(piece));
            while let Some(frame) = decoder.next_frame().unwrap() {
                see(frame);
            }
        }
        if let Some(frame) = decoder.finish() {
            see(frame);
        }
        (events, raw)
    }

    const ODD: &str = "\u{feff}: hello\r\n\r\ndata: a\r\ndata: b\r\n\r\n\n\nevent: x\rdata:c\r\rdata: \u{1f600}é\n\nid: 7\nretry: 3\n\ndata\n\ndata: [DONE]";

    #[test]
    fn every_rule_of_the_format() {
        let (events, raw) = decode(&[ODD.as_bytes()]);
        let expected = [("", "a\nb"), ("x", "c"), ("", "\u{1f600}é"), ("", ""), ("", "[DONE]")];
        assert_eq!(events, expected.map(|(name, data)| (name.to_owned(), data.to_owned())));
        assert_eq!(raw, ODD.as_bytes());
    }

    #[test]
    fn a_cut_at_every_byte_changes_nothing() {
        let whole = decode(&[ODD.as_bytes()]);
        for cut in 0..=ODD.len() {
            let (a, b) = ODD.as_bytes().split_at(cut);
            assert_eq!(decode(&[a, b]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = ODD.as_bytes().chunks(1).collect();
        assert_eq!(decode(&bytes), whole);
    }

    #[test]
    fn a_byte_order_mark_behind_a_cut_line_end_is_read_as_without_the_cut() {
        let text = "data: a\r\n\r\n\u{feff}data: b\r\n\r\n".as_bytes();
        let whole = decode(&[text]);
        for cut in 0..=text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(decode(&[a, b]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut decoder = SseDecoder::new();
        for _ in 0..=16 {
            decoder.push(Bytes::from(vec![b'x'; SSE_EVENT_BYTES / 16]));
            if decoder.next_frame().is_err() {
                return;
            }
        }
        panic!("no bound");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces(text in "[a:d\\n\\r é]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            let (events, raw) = decode(&pieces);
            prop_assert_eq!(&raw, bytes);
            prop_assert_eq!(events, decode(&[bytes]).0);
        }
    }
}
