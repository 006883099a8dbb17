//! Structured lines on standard output, written by a thread of their own: a slow disk or a blocked pipe costs lines, which
//! are counted, and never a request.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use gateway_core::limits::EXPLANATION_WAIT;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::settle::Record;
use crate::telemetry::explain::Explanations;
use crate::telemetry::line::{self, Members};

/// Lines that wait to be written; more are dropped and counted.
const QUEUE_LINES: usize = 16 * 1024;
/// How long lines gather before they are written together: waking a thread for every line would cost more than the line.
const GATHER: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    /// For people at a terminal.
    Text,
}

/// Small, since the queue has room for many and is gone through from end to end: what is rare lies in a box.
enum Line {
    /// `false`: to be kept for its explanation alone.
    Request(Timestamp, Box<Record>, bool),
    Event(Timestamp, Level, Box<(String, Map<String, Value>)>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
    /// Answered when every request before it is kept.
    CaughtUp(oneshot::Sender<()>),
}

/// The way to the log; cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    queue: SyncSender<Line>,
    level: Level,
    dropped: Arc<AtomicU64>,
    explanations: Explanations,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

impl Log {
    /// Starts the writer.
    pub fn start(
        format: Format,
        level: Level,
        explanations: Explanations,
        output: impl Write + Send + 'static,
    ) -> std::io::Result<Log> {
        let (queue, lines) = sync_channel(QUEUE_LINES);
        std::thread::Builder::new().name("log".to_owned()).spawn({
            let explanations = explanations.clone();
            move || write_lines(&lines, format, &explanations, output)
        })?;
        Ok(Log { queue, level, dropped: Arc::default(), explanations })
    }

    pub fn enabled(&self, level: Level) -> bool {
        level <= self.level
    }

    /// The one line of a request that has ended.
    pub fn request(&self, record: Box<Record>) {
        let written = self.enabled(record.level());
        self.send(Line::Request(Timestamp::now(), record, written));
    }

    pub fn event(
        &self,
        level: Level,
        message: impl Into<String>,
        fields: impl IntoIterator<Item = (&'static str, Value)>,
    ) {
        if self.enabled(level) {
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            self.send(Line::Event(Timestamp::now(), level, Box::new((message.into(), fields))));
        }
    }

    pub fn explanations(&self) -> &Explanations {
        &self.explanations
    }

    /// Waits until the requests that have ended so far can be explained, a quarter of a second at most.
    pub async fn caught_up(&self) {
        let (done, wait) = oneshot::channel();
        if self.queue.try_send(Line::CaughtUp(done)).is_ok() {
            let _ = tokio::time::timeout(EXPLANATION_WAIT, wait).await;
        }
    }

    /// Lines that found no place in the queue.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all lines so far are written, at most a second.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(Line::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(Duration::from_secs(1));
        }
    }

    fn send(&self, line: Line) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_lines(lines: &Receiver<Line>, format: Format, explanations: &Explanations, mut output: impl Write) {
    let (mut text, mut stamps) = (Vec::with_capacity(64 * 1024), Stamps::default());
    while let Ok(first) = lines.recv() {
        let urgent = matches!(first, Line::Flush(_) | Line::CaughtUp(_));
        let mut waiting: Vec<SyncSender<()>> = Vec::new();
        if !urgent {
            std::thread::sleep(GATHER);
        }
        for line in std::iter::once(first).chain(lines.try_iter()) {
            match line {
                Line::Request(time, record, written) => {
                    if written {
                        write_request(&mut text, &mut stamps, format, time, &record);
                    }
                    explanations.keep(time, record);
                }
                Line::Event(time, level, event) => {
                    let (message, fields) = &*event;
                    write_event(&mut text, &mut stamps, format, time, level, message, fields);
                }
                Line::Flush(done) => waiting.push(done),
                Line::CaughtUp(done) => {
                    let _ = done.send(());
                }
            }
            if text.len() > 256 * 1024 {
                let _ = output.write_all(&text);
                text.clear();
            }
        }
        // Nobody can be told that the log cannot be written.
        let _ = output.write_all(&text).and_then(|()| output.flush());
        text.clear();
        for done in waiting {
            let _ = done.send(());
        }
    }
}

/// The members that every line has.
fn head<'a>(text: &'a mut Vec<u8>, stamps: &mut Stamps, time: Timestamp, level: Level) -> Members<'a> {
    let mut members = Members::open(text);
    members.word("time", stamps.of(time));
    members.word("level", level.name());
    members
}

fn write_request(text: &mut Vec<u8>, stamps: &mut Stamps, format: Format, time: Timestamp, record: &Record) {
    match format {
        Format::Json => {
            let mut members = head(text, stamps, time, record.level());
            members.word("message", "request");
            line::request(&mut members, record);
            members.close();
            text.push(b'\n');
        }
        Format::Text => {
            let _ = writeln!(text, "{} {} {record}", stamps.of(time), label(record.level()));
        }
    }
}

fn write_event(
    text: &mut Vec<u8>,
    stamps: &mut Stamps,
    format: Format,
    time: Timestamp,
    level: Level,
    message: &str,
    fields: &Map<String, Value>,
) {
    match format {
        Format::Json => {
            let mut members = head(text, stamps, time, level);
            members.text("message", message);
            for (name, value) in fields {
                members.json(name, value.to_string().as_bytes());
            }
            members.close();
            text.push(b'\n');
        }
        Format::Text => {
            let _ = write!(text, "{} {} {}", stamps.of(time), label(level), printable(message));
            for (name, value) in fields {
                let _ = write!(text, " {name}={value}");
            }
            text.push(b'\n');
        }
    }
}

/// Text of others on a terminal: control characters could repaint it.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn label(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warn => "WARN ",
        Level::Info => "INFO ",
        Level::Debug => "DEBUG",
    }
}

/// [`stamp`] for times that mostly lie in one second: only their milliseconds are written anew.
#[derive(Default)]
struct Stamps {
    second: i64,
    text: String,
}

impl Stamps {
    fn of(&mut self, time: Timestamp) -> &str {
        let (second, ms) = (time.as_second(), time.subsec_millisecond());
        if self.text.is_empty() || self.second != second || ms < 0 {
            self.second = second;
            self.text = stamp(time);
        } else {
            // `2025-01-31T12:00:00.000Z`: the milliseconds and the `Z`.
            self.text.truncate(self.text.len() - 4);
            self.text.extend([ms / 100, ms / 10 % 10, ms % 10].map(|digit| char::from(b'0' + digit as u8)));
            self.text.push('Z');
        }
        &self.text
    }
}

/// RFC 3339 in UTC, with milliseconds.
pub fn stamp(time: Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_one_object_whatever_its_fields() {
        let (mut text, mut stamps) = (Vec::new(), Stamps::default());
        let time = Timestamp::from_millisecond(1_700_000_000_042).unwrap();
        let mut event = |level, message: &str, fields: Value| {
            let fields = fields.as_object().unwrap();
            write_event(&mut text, &mut stamps, Format::Json, time, level, message, fields);
        };
        event(Level::Info, "a \"b\"\n", json!({}));
        event(Level::Warn, "x", json!({"n": 1, "o": {}}));
        let expected = concat!(
            r#"{"time":"2023-11-14T22:13:20.042Z","level":"info","message":"a \"b\"\n"}"#,
            "\n",
            r#"{"time":"2023-11-14T22:13:20.042Z","level":"warn","message":"x","n":1,"o":{}}"#,
            "\n",
        );
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn stamps_are_those_of_their_times() {
        let mut stamps = Stamps::default();
        for ms in [
            1_700_000_000_000,
            1_700_000_000_007,
            1_700_000_000_999,
            1_700_000_001_010,
            1_699_999_999_123,
            -1,
            -999,
            -1001,
            500,
        ] {
            let time = Timestamp::from_millisecond(ms).unwrap();
            assert_eq!(stamps.of(time), stamp(time), "{ms}");
        }
    }
}
