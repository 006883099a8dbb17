//! What the simulator saw: one entry per request, with how its answer ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::ids;
use crate::tokens::Usage;

/// Longer request bodies are counted in the ledger, not kept.
const KEPT_BODY_BYTES: usize = 64 * 1024;

const SECRET_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"];

/// Whose API a request spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    OpenAi,
    Anthropic,
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Still being received or answered.
    Open,
    /// All of it was handed to the connection.
    Complete,
    /// A fault ended it early; the whole fault is in [`LedgerEntry::fault`].
    Fault,
    /// The peer went away, so long after the request had arrived.
    PeerClosed {
        #[serde(serialize_with = "milliseconds", rename = "after_ms")]
        after: Duration,
    },
}

/// One request and its answer. Times are offsets from the start of the simulator.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerEntry {
    /// 1 for the first request.
    pub sequence: u64,
    #[serde(serialize_with = "milliseconds", rename = "received_ms")]
    pub received: Duration,
    /// When the response head was ready.
    #[serde(serialize_with = "optional_milliseconds", rename = "answered_ms")]
    pub answered: Option<Duration>,
    #[serde(serialize_with = "optional_milliseconds", rename = "ended_ms")]
    pub ended: Option<Duration>,
    pub method: String,
    /// With its query.
    pub path: String,
    /// In the order received; values that carry secrets are replaced by `hash:` and 16 hex digits.
    #[serde(serialize_with = "as_map")]
    pub headers: Vec<(String, String)>,
    pub request_bytes: usize,
    /// The body as received; empty when it was longer than 64 KiB. Shown as JSON if it is JSON.
    #[serde(serialize_with = "as_json")]
    pub request: Bytes,
    pub model: Option<String>,
    pub dialect: Option<Dialect>,
    /// The fault that was applied, as it was asked for.
    pub fault: Option<String>,
    /// None if no response head was sent.
    pub status: Option<u16>,
    /// Server-sent events handed to the connection.
    pub events_sent: u64,
    /// Body bytes handed to the connection.
    pub bytes_written: u64,
    /// The usage this answer tells when it is read to its end.
    pub usage: Option<Usage>,
    pub ending: Ending,
}

fn milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e3)
}

fn optional_milliseconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => milliseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}

fn as_map<S: Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (name, value) in pairs {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

fn as_json<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    if body.is_empty() {
        return serializer.serialize_none();
    }
    match serde_json::from_slice::<&RawValue>(body) {
        Ok(json) => json.serialize(serializer),
        Err(_) => serializer.serialize_str(&String::from_utf8_lossy(body)),
    }
}

#[derive(Debug)]
pub(crate) struct Ledger {
    started: Instant,
    capacity: usize,
    entries: Mutex<VecDeque<LedgerEntry>>,
}

impl Ledger {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { started: Instant::now(), capacity, entries: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<LedgerEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn entries(&self) -> Vec<LedgerEntry> {
        self.lock().iter().cloned().collect()
    }

    pub(crate) fn take(&self) -> Vec<LedgerEntry> {
        std::mem::take(&mut *self.lock()).into()
    }

    pub(crate) fn open_entries(&self) -> usize {
        self.lock().iter().filter(|entry| entry.ending == Ending::Open).count()
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Opens an entry; None when the ledger is switched off.
    pub(crate) fn open(self: &Arc<Self>, sequence: u64, head: &http::request::Parts) -> Option<Receipt> {
        if self.capacity == 0 {
            return None;
        }
        let received = self.started.elapsed();
        let entry = LedgerEntry {
            sequence,
            received,
            answered: None,
            ended: None,
            method: head.method.to_string(),
            path: head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string),
            headers: shown(&head.headers),
            request_bytes: 0,
            request: Bytes::new(),
            model: None,
            dialect: None,
            fault: None,
            status: None,
            events_sent: 0,
            bytes_written: 0,
            usage: None,
            ending: Ending::Open,
        };
        let mut entries = self.lock();
        if entries.len() >= self.capacity {
            entries.pop_front();
        }
        entries.push_back(entry);
        drop(entries);
        let ending = None;
        Some(Receipt { ledger: Arc::clone(self), sequence, received, ending, events_sent: 0, bytes_written: 0 })
    }
}

fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let shown = if SECRET_HEADERS.contains(&name.as_str()) {
                format!("hash:{:016x}", ids::hash(value.as_bytes()))
            } else {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            };
            (name.to_string(), shown)
        })
        .collect()
}

/// The open entry of one request. Dropped without [`Receipt::end`], it says that the peer went away.
#[derive(Debug)]
pub(crate) struct Receipt {
    ledger: Arc<Ledger>,
    sequence: u64,
    received: Duration,
    ending: Option<Ending>,
    events_sent: u64,
    bytes_written: u64,
}

impl Receipt {
    pub(crate) fn note(&self, change: impl FnOnce(&mut LedgerEntry)) {
        let mut entries = self.ledger.lock();
        // Arrivals may overtake each other between counting and recording, and old entries leave; the end is near.
        if let Some(entry) = entries.iter_mut().rev().find(|entry| entry.sequence == self.sequence) {
            change(entry);
        }
    }

    pub(crate) fn request(&self, body: &Bytes) {
        self.note(|entry| {
            entry.request_bytes = body.len();
            if body.len() <= KEPT_BODY_BYTES {
                // A copy, so that an entry does not keep a connection's whole read buffer alive.
                entry.request = Bytes::copy_from_slice(body);
            }
        });
    }

    pub(crate) fn answered(&self, status: u16, usage: Option<Usage>) {
        let now = self.ledger.started.elapsed();
        self.note(|entry| {
            entry.answered = Some(now);
            entry.status = Some(status);
            entry.usage = usage;
        });
    }

    pub(crate) fn sent(&mut self, bytes: usize, events: u64) {
        self.bytes_written += bytes as u64;
        self.events_sent += events;
    }

    pub(crate) fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let now = self.ledger.started.elapsed();
        let ending = self.ending.take().unwrap_or(Ending::PeerClosed { after: now.saturating_sub(self.received) });
        self.note(|entry| {
            entry.ended = Some(now);
            entry.events_sent = self.events_sent;
            entry.bytes_written = self.bytes_written;
            entry.ending = ending;
        });
    }
}
