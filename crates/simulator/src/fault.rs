//! The grammar of faults: `KIND[=VALUE][,KIND[=VALUE]…]`, from a model name or a header.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

/// Every kind with its value and meaning. `N` counts server-sent events of a stream, and bytes of a whole answer.
pub const FAULTS: &[(&str, &str)] = &[
    ("refuse", "close the connection without answering"),
    ("reset", "reset the connection (RST) before any header"),
    ("stall", "read the request and never answer"),
    ("status=CODE", "answer with this status and the vendor's error body"),
    ("retry_after=TEXT", "header retry-after, verbatim; the status is 429 unless told otherwise"),
    ("retry_after_ms=TEXT", "header retry-after-ms, verbatim; the status is 429 unless told otherwise"),
    ("spend_cap", "the vendor's answer to an exhausted quota or balance"),
    ("redirect=URL", "302 to URL"),
    ("empty", "200 without a body"),
    ("html", "200 with a text/html page"),
    ("error_in_200[=TYPE]", "200, then the vendor's error as the first event or as the whole body"),
    ("error_after=N", "the vendor's error event after N content events, then the end"),
    ("error_type=TYPE", "the type told by error_after"),
    ("truncate=N", "end the body properly after N"),
    ("abort=N", "close the connection after N"),
    ("reset_after=N", "reset the connection (RST) after N"),
    ("stall_after=N", "fall silent after N, with the connection open"),
    ("garbage[=N]", "an invalid line and a broken JSON event instead of event N (1 is the first)"),
    ("slow_first=MS", "wait before the first content event, or before a whole answer's first byte"),
    ("drip=MS", "wait between pieces of one byte (or of split=N bytes)"),
    ("split=N|random", "hand over the body in pieces of N bytes, or of 1 to 16"),
    ("crlf", "CRLF line ends in the stream"),
    ("comments", "a comment line before every event"),
    ("pings=N", "N pings spread over the wait for the first content event"),
    ("ping_every=MS", "pings during stall_after"),
    ("no_done", "leave out [DONE] or message_stop"),
    ("no_usage", "leave out all usage"),
    ("no_finish", "leave out the finish reason: OpenAI's finish chunk, Anthropic's message_delta"),
    ("huge_event=BYTES", "one content event with a text of BYTES"),
    ("wrong_length[=N]", "a content-length that is N too large (64), or too small when N is negative"),
    ("huge_header=BYTES", "one more header with a value of BYTES"),
    ("many_headers=N", "N more headers"),
    ("times=N", "only for the first N requests with this fault; then answer normally"),
    ("seed=N", "seed of texts, chunk boundaries and random pieces"),
];

/// More than any consumer accepts in one event.
const MAX_HUGE_EVENT_BYTES: usize = 64 * 1024 * 1024;

/// More than any consumer accepts in one header, and in number; a header map holds 32,768.
const MAX_HUGE_HEADER_BYTES: usize = 8 * 1024 * 1024;
const MAX_MANY_HEADERS: usize = 20_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fault {
    /// As it was asked for.
    pub(crate) spec: String,
    pub(crate) times: Option<u64>,
    pub(crate) seed: Option<u64>,
    instead: Option<Instead>,
    pub(crate) cut: Option<Cut>,
    pub(crate) error_after: Option<usize>,
    pub(crate) error_type: Option<String>,
    /// 1 for the first event.
    pub(crate) garbage: Option<usize>,
    pub(crate) slow_first: Duration,
    pub(crate) drip: Option<Duration>,
    pub(crate) split: Option<Split>,
    pub(crate) crlf: bool,
    pub(crate) comments: bool,
    pub(crate) pings: u32,
    pub(crate) ping_every: Option<Duration>,
    pub(crate) omit: Omit,
    pub(crate) huge_event: Option<usize>,
    pub(crate) wrong_length: Option<i64>,
    huge_header: usize,
    many_headers: usize,
}

/// What comes instead of the answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Instead {
    Refuse,
    Reset,
    Stall,
    Error(Refusal),
    Redirect(HeaderValue),
    Empty,
    Html,
    ErrorIn200,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Refusal {
    /// None is the status that goes with the flavour.
    pub(crate) status: Option<StatusCode>,
    pub(crate) spend_cap: bool,
    pub(crate) retry_after: Option<HeaderValue>,
    pub(crate) retry_after_ms: Option<HeaderValue>,
}

/// Where an answer stops, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cut {
    pub(crate) after: usize,
    pub(crate) how: CutKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum CutKind {
    Truncate,
    Abort,
    Reset,
    Stall,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Split {
    Every(usize),
    Random,
}

/// What is left out of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Omit {
    pub(crate) done: bool,
    pub(crate) usage: bool,
    pub(crate) finish: bool,
}

impl Fault {
    /// The fault a model name asks for: `fault:…` or `MODEL+fault:…`.
    pub(crate) fn spec_in_model(model: &str) -> Option<&str> {
        model.strip_prefix("fault:").or_else(|| model.split_once("+fault:").map(|(_, spec)| spec))
    }

    /// What comes instead of the answer, if anything does.
    pub(crate) fn instead(&self, streams: bool) -> Option<&Instead> {
        // A whole answer has no "after some content": the error is all there is.
        let whole_error = self.error_after.filter(|_| !streams).map(|_| &Instead::ErrorIn200);
        self.instead.as_ref().or(whole_error)
    }

    /// The model's name without the fault that follows it; a name that is nothing but a fault stays.
    pub(crate) fn plain_model(model: &str) -> &str {
        model.split_once("+fault:").map_or(model, |(name, _)| name)
    }

    /// Errors say which part is wrong and what is known.
    pub(crate) fn parse(spec: &str) -> Result<Fault, String> {
        let mut fault = Fault { spec: spec.to_owned(), ..Fault::default() };
        for (kind, value) in parts(spec) {
            fault.add(kind, value.as_deref())?;
        }
        Ok(fault)
    }

    /// Headers that no vendor sends.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.huge_header > 0
            && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(vec![b'x'; self.huge_header]))
        {
            headers.insert("x-sim-huge", value);
        }
        for number in 0..self.many_headers {
            headers.append("x-sim-many", HeaderValue::from(number));
        }
        headers
    }

    fn add(&mut self, kind: &str, value: Option<&str>) -> Result<(), String> {
        let count = || number::<usize>(kind, value);
        match kind {
            "refuse" => self.instead = Some(Instead::Refuse),
            "reset" => self.instead = Some(Instead::Reset),
            "stall" => self.instead = Some(Instead::Stall),
            "empty" => self.instead = Some(Instead::Empty),
            "html" => self.instead = Some(Instead::Html),
            "redirect" => self.instead = Some(Instead::Redirect(header(kind, value)?)),
            "error_in_200" => {
                self.instead = Some(Instead::ErrorIn200);
                self.error_type = value.map(str::to_owned).or(self.error_type.take());
            }
            "status" => {
                let code = StatusCode::from_u16(number(kind, value)?).ok().filter(|code| code.as_u16() >= 200);
                let code = code.ok_or_else(|| "fault status: wants a number from 200 to 999".to_owned())?;
                self.refuse(|refusal| refusal.status = Some(code));
            }
            "retry_after" => {
                let text = header(kind, value)?;
                self.refuse(|refusal| refusal.retry_after = Some(text));
            }
            "retry_after_ms" => {
                let text = header(kind, value)?;
                self.refuse(|refusal| refusal.retry_after_ms = Some(text));
            }
            "spend_cap" => self.refuse(|refusal| refusal.spend_cap = true),
            "error_after" => self.error_after = Some(count()?),
            "error_type" => self.error_type = Some(text(kind, value)?.to_owned()),
            "truncate" => self.cut = Some(Cut { after: count()?, how: CutKind::Truncate }),
            "abort" => self.cut = Some(Cut { after: count()?, how: CutKind::Abort }),
            "reset_after" => self.cut = Some(Cut { after: count()?, how: CutKind::Reset }),
            "stall_after" => self.cut = Some(Cut { after: count()?, how: CutKind::Stall }),
            "garbage" => self.garbage = Some(if value.is_some() { count()?.max(1) } else { 1 }),
            "slow_first" => self.slow_first = milliseconds(kind, value)?,
            "drip" => self.drip = Some(milliseconds(kind, value)?),
            "split" if value == Some("random") => self.split = Some(Split::Random),
            "split" => self.split = Some(Split::Every(count()?.max(1))),
            "crlf" => self.crlf = true,
            "comments" => self.comments = true,
            "pings" => self.pings = number(kind, value)?,
            "ping_every" => self.ping_every = Some(milliseconds(kind, value)?.max(Duration::from_millis(1))),
            "no_done" => self.omit.done = true,
            "no_usage" => self.omit.usage = true,
            "no_finish" => self.omit.finish = true,
            "huge_event" => self.huge_event = Some(count()?.min(MAX_HUGE_EVENT_BYTES)),
            "wrong_length" => self.wrong_length = Some(if value.is_some() { number(kind, value)? } else { 64 }),
            "huge_header" => self.huge_header = count()?.min(MAX_HUGE_HEADER_BYTES),
            "many_headers" => self.many_headers = count()?.min(MAX_MANY_HEADERS),
            "times" => self.times = Some(number(kind, value)?),
            "seed" => self.seed = Some(number(kind, value)?),
            _ => {
                let known: Vec<&str> = FAULTS.iter().map(|(usage, _)| *usage).collect();
                return Err(format!("unknown fault {kind:?}; known are {}", known.join(", ")));
            }
        }
        Ok(())
    }

    fn refuse(&mut self, change: impl FnOnce(&mut Refusal)) {
        let mut refusal = match self.instead.take() {
            Some(Instead::Error(refusal)) => refusal,
            _ => Refusal::default(),
        };
        change(&mut refusal);
        self.instead = Some(Instead::Error(refusal));
    }
}

/// Splits at commas, except those inside a text: an HTTP date and a URL may have some. What follows a text and is no
/// known kind belongs to that text.
fn parts(spec: &str) -> Vec<(&str, Option<String>)> {
    let known = |kind: &str| FAULTS.iter().any(|(usage, _)| usage.split(['=', '[']).next() == Some(kind));
    let mut parts: Vec<(&str, Option<String>)> = Vec::new();
    for piece in spec.split(',') {
        let (kind, value) = match piece.split_once('=') {
            Some((kind, value)) => (kind, Some(value.to_owned())),
            None => (piece, None),
        };
        match parts.last_mut() {
            Some((previous, Some(text))) if TEXTS.contains(previous) && !known(kind) => {
                text.push(',');
                text.push_str(piece);
            }
            _ => parts.push((kind.trim(), value)),
        }
    }
    parts
}

/// Kinds whose values are texts.
const TEXTS: [&str; 5] = ["retry_after", "retry_after_ms", "redirect", "error_in_200", "error_type"];

fn text<'a>(kind: &str, value: Option<&'a str>) -> Result<&'a str, String> {
    value.ok_or_else(|| format!("fault {kind}: wants a value, as in {kind}=…"))
}

fn number<T: std::str::FromStr>(kind: &str, value: Option<&str>) -> Result<T, String> {
    let value = text(kind, value)?;
    value.trim().parse().map_err(|_| format!("fault {kind}: {value:?} is not a number it accepts"))
}

fn milliseconds(kind: &str, value: Option<&str>) -> Result<Duration, String> {
    number(kind, value).map(Duration::from_millis)
}

fn header(kind: &str, value: Option<&str>) -> Result<HeaderValue, String> {
    let value = text(kind, value)?;
    HeaderValue::from_str(value).map_err(|_| format!("fault {kind}: {value:?} cannot be sent in a header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_kind_is_understood() {
        for (usage, _) in FAULTS {
            let spec = usage.replace("[=", "=").replace(']', "").replace("N|random", "random");
            let spec = spec.replace("CODE", "503").replace("BYTES", "9").replace("MS", "5").replace("=N", "=3");
            Fault::parse(&spec).unwrap_or_else(|error| panic!("{usage}: {error}"));
        }
    }

    #[test]
    fn a_date_keeps_its_comma() {
        let fault = Fault::parse("retry_after=Wed, 21 Oct 2015 07:28:00 GMT,status=503,times=2").unwrap();
        let Some(Instead::Error(refusal)) = fault.instead else { panic!("no refusal") };
        assert_eq!(refusal.retry_after.unwrap(), "Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!((refusal.status.map(|s| s.as_u16()), fault.times), (Some(503), Some(2)));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(Fault::parse("explode").unwrap_err().contains("unknown fault \"explode\""));
        assert!(Fault::parse("truncate=soon").unwrap_err().contains("truncate"));
        assert!(Fault::parse("truncate").unwrap_err().contains("truncate=…"));
        assert!(Fault::parse("status=99").unwrap_err().contains("200 to 999"));
    }

    #[test]
    fn model_names_carry_faults_alone_or_after_a_plus() {
        assert_eq!(Fault::spec_in_model("fault:reset"), Some("reset"));
        assert_eq!(Fault::spec_in_model("gpt-sim+fault:drip=3,crlf"), Some("drip=3,crlf"));
        assert_eq!(Fault::spec_in_model("gpt-sim"), None);
    }
}
