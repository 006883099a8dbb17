//! A response before it meets the wire, and the vendors' refusals.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fastrand::Rng;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::Config;
use crate::fault::Fault;
use crate::script::Event;
use crate::tokens::Usage;

/// What an answer is made from, beside the request.
pub(crate) struct Context<'a> {
    pub(crate) config: &'a Config,
    pub(crate) fault: Option<&'a Fault>,
    /// Unix seconds.
    pub(crate) now: u64,
    /// Of this request: the fault's, else the configured one.
    pub(crate) seed: u64,
    /// Depends on the request alone.
    pub(crate) text_rng: Rng,
    /// Depends on the order of arrival too.
    pub(crate) id_rng: Rng,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ReplyBody,
    pub(crate) usage: Option<Usage>,
}

#[derive(Debug)]
pub(crate) enum ReplyBody {
    Whole(Bytes),
    Stream(Vec<Event>),
}

impl Reply {
    pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { status, headers, body: ReplyBody::Whole(body.into()), usage: None }
    }

    pub(crate) fn stream(events: Vec<Event>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        Self { status: StatusCode::OK, headers, body: ReplyBody::Stream(events), usage: None }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// A value that cannot be sent is left out.
    pub(crate) fn header_text(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

/// Why a vendor refuses a request; each dialect renders the fields it has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rejection {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// OpenAI only.
    pub(crate) param: Option<String>,
    /// OpenAI only.
    pub(crate) code: Option<&'static str>,
}

impl Rejection {
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), param: None, code: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    pub(crate) fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }
}

/// Unix seconds: as configured, or the clock's.
pub(crate) fn now(configured: Option<u64>) -> u64 {
    configured.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()))
}

/// `2026-01-31T12:00:00Z`, made once a second and thread.
pub(crate) fn rfc3339(seconds: u64) -> HeaderValue {
    thread_local! {
        static LAST: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| match last {
        Some((at, text)) if *at == seconds => text.clone(),
        _ => {
            let text = HeaderValue::from_str(&format_utc(seconds)).unwrap_or(HeaderValue::from_static(""));
            *last = Some((seconds, text.clone()));
            text
        }
    })
}

fn format_utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of year 0, in cycles of 400, 100, 4 and 1 years: leap days come last in their year.
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::format_utc;

    #[test]
    fn times_are_written_as_rfc_3339() {
        assert_eq!(format_utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(format_utc(1_767_225_599), "2025-12-31T23:59:59Z");
    }
}
