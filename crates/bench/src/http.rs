//! The generator's own HTTP/1.1: a request is bytes made once, a response is a state machine fed with what the socket gave.
//!
//! It shares a core with the upstream, so it must cost little; and it must not share code with the gateway it judges.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;

/// Longest response head accepted, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// How much of a failed answer is kept to be shown, in bytes.
const EXCERPT_BYTES: usize = 300;

/// One POST, ready to be written to a socket again and again.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) address: SocketAddr,
    pub(crate) bytes: Vec<u8>,
    body_bytes: usize,
    /// What may be replaced, by [`Slot`]; empty where there is nothing yet.
    slots: [Range<usize>; 3],
}

/// What differs from one request to the next, in the order in which it stands there.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Key,
    /// The body's length, in the head.
    Length,
    Words,
}

impl Request {
    /// `headers` come after Host, Content-Type and Content-Length, each as `name: value`.
    pub(crate) fn post(address: SocketAddr, path: &str, headers: &[String], body: &[u8]) -> Self {
        let mut bytes = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}",
            body.len()
        )
        .into_bytes();
        let length = bytes.len() - body.len().to_string().len()..bytes.len();
        bytes.extend_from_slice(b"\r\n");
        for header in headers {
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Self { address, bytes, body_bytes: body.len(), slots: [0..0, length, 0..0] }
    }

    /// With a place for words, where the body has this mark. `None`: it has none.
    pub(crate) fn marked(mut self, mark: &str) -> Option<Self> {
        let at = memchr::memmem::rfind(&self.bytes, mark.as_bytes())?;
        self.slots[Slot::Words as usize] = at..at + mark.len();
        Some(self)
    }

    /// Says these words in place of the mark, or of those before. They must need no escapes.
    pub(crate) fn say(&mut self, words: &str) {
        let before = self.body_bytes;
        self.body_bytes = before - self.slots[Slot::Words as usize].len() + words.len();
        self.replace(Slot::Words, words.as_bytes());
        if self.body_bytes != before {
            self.replace(Slot::Length, self.body_bytes.to_string().as_bytes());
        }
    }

    /// Shows a caller's key, in place of the one that was shown before.
    pub(crate) fn show_key(&mut self, key: &str) {
        if self.slots[Slot::Key as usize].is_empty() {
            let at = memchr::memchr(b'\n', &self.bytes).map_or(0, |end| end + 1);
            let header = b"authorization: Bearer \r\n";
            self.slots[Slot::Key as usize] = at..at;
            self.replace(Slot::Key, header);
            let end = at + header.len() - 2;
            self.slots[Slot::Key as usize] = end..end;
        }
        self.replace(Slot::Key, key.as_bytes());
    }

    fn replace(&mut self, slot: Slot, with: &[u8]) {
        let old = self.slots[slot as usize].clone();
        self.bytes.splice(old.clone(), with.iter().copied());
        self.slots[slot as usize].end = old.start + with.len();
        for later in &mut self.slots[slot as usize + 1..] {
            if later.start >= old.end && later.end > 0 {
                *later = later.start + with.len() - old.len()..later.end + with.len() - old.len();
            }
        }
    }
}

/// What is known of a response once its last byte has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body_bytes: u64,
    /// The connection may carry another request.
    pub(crate) keep_alive: bool,
}

/// Why a run ended early. A benchmark whose requests fail measures something else, so the first failure ends it.
#[derive(Debug)]
pub(crate) enum Failure {
    Io(std::io::Error),
    /// The peer does not speak the HTTP/1.1 this reader knows.
    Protocol(&'static str),
    Status {
        status: u16,
        excerpt: String,
    },
    /// The answer stopped before its end.
    Truncated,
    /// No answer within the bound.
    Timeout,
    /// A stream ended without its closing event.
    Unfinished {
        chunks: u64,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "connection failed: {error}"),
            Self::Protocol(what) => write!(f, "unexpected HTTP: {what}"),
            Self::Status { status, excerpt } => write!(f, "answered {status}: {excerpt}"),
            Self::Truncated => write!(f, "connection closed in the middle of an answer"),
            Self::Timeout => write!(f, "no complete answer in time"),
            Self::Unfinished { chunks } => write!(f, "stream ended without its closing event after {chunks} chunks"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// Bytes of a body of known length still to come.
    Body(u64),
    ChunkSize {
        size: u64,
        digits_over: bool,
    },
    ChunkData(u64),
    ChunkEnd,
    /// After the last chunk: lines up to an empty one; holds the length of the current line.
    Trailer(usize),
    Done,
}

/// Reads one response from bytes as they arrive.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    state: State,
    head: Vec<u8>,
    excerpt: Vec<u8>,
    status: u16,
    keep_alive: bool,
    body_bytes: u64,
}

impl ResponseReader {
    pub(crate) fn new() -> Self {
        Self { state: State::Head, head: Vec::new(), excerpt: Vec::new(), status: 0, keep_alive: true, body_bytes: 0 }
    }

    /// Takes what was read and hands body bytes, without their chunk framing, to `on_body`. `Some` when the response is
    /// complete; any status but 200 is then a failure with the start of the body.
    pub(crate) fn push(&mut self, mut input: &[u8], mut on_body: impl FnMut(&[u8])) -> Result<Option<Answer>, Failure> {
        while !input.is_empty() {
            match self.state {
                State::Head => input = self.read_head(input)?,
                State::Body(left) => {
                    let taken = self.take(&mut input, left, &mut on_body);
                    self.state = if taken == left { State::Done } else { State::Body(left - taken) };
                }
                State::ChunkSize { size, digits_over } => {
                    let byte = next(&mut input);
                    self.state = match (byte, digits_over) {
                        (b'\n', _) if size == 0 => State::Trailer(0),
                        (b'\n', _) => State::ChunkData(size),
                        (_, true) | (b'\r', _) => State::ChunkSize { size, digits_over: true },
                        (b';' | b' ' | b'\t', _) => State::ChunkSize { size, digits_over: true },
                        (digit, false) => {
                            let digit = char::from(digit).to_digit(16).ok_or(Failure::Protocol("chunk size"))?;
                            let size = size.checked_mul(16).ok_or(Failure::Protocol("chunk size"))?;
                            State::ChunkSize { size: size + u64::from(digit), digits_over: false }
                        }
                    };
                }
                State::ChunkData(left) => {
                    let taken = self.take(&mut input, left, &mut on_body);
                    self.state = if taken == left { State::ChunkEnd } else { State::ChunkData(left - taken) };
                }
                State::ChunkEnd => match next(&mut input) {
                    b'\r' => {}
                    b'\n' => self.state = State::ChunkSize { size: 0, digits_over: false },
                    _ => return Err(Failure::Protocol("chunk longer than its size")),
                },
                State::Trailer(length) => match next(&mut input) {
                    b'\r' => {}
                    b'\n' if length == 0 => self.state = State::Done,
                    b'\n' => self.state = State::Trailer(0),
                    _ => self.state = State::Trailer(length + 1),
                },
                State::Done => return Err(Failure::Protocol("bytes after the end of the answer")),
            }
        }
        if self.state != State::Done {
            return Ok(None);
        }
        if self.status != 200 {
            let excerpt = String::from_utf8_lossy(&self.excerpt).into_owned();
            return Err(Failure::Status { status: self.status, excerpt });
        }
        Ok(Some(Answer { status: self.status, body_bytes: self.body_bytes, keep_alive: self.keep_alive }))
    }

    /// Returns what of `input` belongs to the body.
    fn read_head<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], Failure> {
        let before = self.head.len();
        self.head.extend_from_slice(input);
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        let length = match parsed.parse(&self.head).map_err(|_| Failure::Protocol("response head"))? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if self.head.len() > MAX_HEAD_BYTES => {
                return Err(Failure::Protocol("response head too long"));
            }
            httparse::Status::Partial => return Ok(&[]),
        };
        self.status = parsed.code.unwrap_or(0);
        let (mut body, mut chunked) = (None, false);
        for header in parsed.headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let digits = std::str::from_utf8(header.value).ok().and_then(|value| value.trim().parse().ok());
                body = Some(digits.ok_or(Failure::Protocol("content-length"))?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = header.value.eq_ignore_ascii_case(b"chunked");
            } else if header.name.eq_ignore_ascii_case("connection") {
                self.keep_alive = !header.value.eq_ignore_ascii_case(b"close");
            }
        }
        self.state = match body {
            _ if chunked => State::ChunkSize { size: 0, digits_over: false },
            Some(0) => State::Done,
            Some(length) => State::Body(length),
            None => return Err(Failure::Protocol("neither content-length nor chunked")),
        };
        Ok(input.get(length - before..).unwrap_or_default())
    }

    /// Hands over up to `left` bytes of body and says how many.
    fn take(&mut self, input: &mut &[u8], left: u64, on_body: &mut impl FnMut(&[u8])) -> u64 {
        let length = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        let (body, rest) = input.split_at(length);
        *input = rest;
        if self.status != 200 && self.excerpt.len() < EXCERPT_BYTES {
            self.excerpt.extend_from_slice(&body[..length.min(EXCERPT_BYTES - self.excerpt.len())]);
        }
        on_body(body);
        self.body_bytes += length as u64;
        length as u64
    }
}

/// The first byte of an input that is not empty.
fn next(input: &mut &[u8]) -> u8 {
    let byte = input[0];
    *input = &input[1..];
    byte
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nx-t: 1\r\n\r\n";
    const SIZED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello!";

    /// Feeds `input` in pieces of `step` bytes.
    fn read(input: &[u8], step: usize) -> Result<(Option<Answer>, Vec<u8>), Failure> {
        let (mut reader, mut body, mut answer) = (ResponseReader::new(), Vec::new(), None);
        for piece in input.chunks(step) {
            answer = reader.push(piece, |bytes| body.extend_from_slice(bytes))?;
        }
        Ok((answer, body))
    }

    #[test]
    fn framing_is_the_same_at_every_cut() {
        for (input, keep_alive) in [(CHUNKED, true), (SIZED, false)] {
            for step in 1..=input.len() {
                let (answer, body) = read(input, step).unwrap();
                assert_eq!(body, b"hello!", "step {step}");
                assert_eq!(answer, Some(Answer { status: 200, body_bytes: 6, keep_alive }), "step {step}");
            }
        }
    }

    #[test]
    fn an_answer_is_not_complete_before_its_last_byte() {
        for input in [CHUNKED, SIZED] {
            for end in 1..input.len() {
                assert_eq!(read(&input[..end], end).unwrap().0, None, "first {end} bytes");
            }
        }
    }

    #[test]
    fn a_refusal_shows_status_and_body() {
        let input = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 9\r\n\r\nslow down";
        let message = read(input, 7).unwrap_err().to_string();
        assert_eq!(message, "answered 429: slow down");
    }

    #[test]
    fn bytes_beyond_the_answer_are_refused() {
        let input = [SIZED, b"x"].concat();
        assert!(matches!(read(&input, input.len()), Err(Failure::Protocol(_))));
    }

    #[test]
    fn a_body_without_a_length_is_refused() {
        assert!(matches!(read(b"HTTP/1.1 200 OK\r\n\r\nhello", 64), Err(Failure::Protocol(_))));
    }
}
