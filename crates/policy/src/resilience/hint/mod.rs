//! What a provider says about when to come back, and how much is left: a total function of the headers of its answer.
//!
//! In this order, the first that can be believed: `retry-after-ms`; `retry-after` in seconds, whole or not, or as a date in any
//! of the three forms of RFC 9110; the reset of a limit that is used up. Resets come as `12ms`, `1s`, `6m0s`, `2m59.56s`
//! (OpenAI, Groq), as RFC 3339 (Anthropic), as seconds (Azure), or as the time itself in seconds or milliseconds since 1970
//! (OpenRouter).
//!
//! What cannot be meant says nothing: zero, less, not a number, a moment that has passed, more than a day. Azure sends 0 and -1
//! where it does not know. What can be meant is cut to [`LONGEST_REST`]: a hint is a guess at somebody else's window, and a key
//! that rests for hours by mistake is an outage.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;

/// Longest time that a key rests because a provider said so.
pub const LONGEST_REST: Duration = Duration::from_secs(300);
/// A longer wait is not believed.
const DAY_SECONDS: f64 = 86_400.0;

/// The wait that `headers` ask for, above zero and at most [`LONGEST_REST`]. `headers` finds a value by its name in lower case.
pub fn wait<'h>(headers: impl Fn(&str) -> Option<&'h str>, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers(name).map(str::trim);
    text("retry-after-ms")
        .and_then(number)
        .and_then(|ms| believed(ms / 1e3))
        .or_else(|| text("retry-after").and_then(|after| retry_after(after, now)))
        .or_else(|| used_up(&text, now))
        .map(|wait| wait.min(LONGEST_REST))
}

/// The headers of one limit. An empty name: the vendor has no such header.
struct Row {
    what: What,
    limit: &'static str,
    remaining: &'static str,
    reset: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Requests,
    Tokens,
    /// Neither: one of several limits, the vendor does not say which.
    Any,
}

const ROWS: [Row; 9] = [
    // OpenAI, and most who speak its dialect.
    row(What::Requests, "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    row(What::Tokens, "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    // Cerebras.
    row(
        What::Requests,
        "x-ratelimit-limit-requests-day",
        "x-ratelimit-remaining-requests-day",
        "x-ratelimit-reset-requests-day",
    ),
    row(
        What::Tokens,
        "x-ratelimit-limit-tokens-minute",
        "x-ratelimit-remaining-tokens-minute",
        "x-ratelimit-reset-tokens-minute",
    ),
    // Anthropic.
    row(
        What::Requests,
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ),
    row(
        What::Tokens,
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ),
    row(
        What::Tokens,
        "anthropic-ratelimit-input-tokens-limit",
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ),
    row(
        What::Tokens,
        "anthropic-ratelimit-output-tokens-limit",
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
    ),
    // OpenRouter, and many proxies.
    row(What::Any, "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
];

const fn row(what: What, limit: &'static str, remaining: &'static str, reset: &'static str) -> Row {
    Row { what, limit, remaining, reset }
}

/// Of the limits that are said to be used up, the longest reset; if none is, of those of which nothing is said, the shortest:
/// any of them may be the one, and asking too early costs one more refusal.
fn used_up<'h>(text: &impl Fn(&str) -> Option<&'h str>, now: Timestamp) -> Option<Duration> {
    let (mut empty, mut unknown) = (None::<Duration>, None::<Duration>);
    for row in &ROWS {
        let Some(wait) = text(row.reset).and_then(|value| reset(value, now)) else { continue };
        match text(row.remaining) {
            None => unknown = Some(unknown.map_or(wait, |shortest| shortest.min(wait))),
            Some(left) if number(left).is_some_and(|left| left <= 0.0) => empty = empty.max(Some(wait)),
            Some(_) => {}
        }
    }
    empty.or(unknown)
}

/// Finite numbers only. `inf` and `nan` are numbers to Rust and to nobody else.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn believed(seconds: f64) -> Option<Duration> {
    let wait = (seconds > 0.0 && seconds <= DAY_SECONDS).then(|| Duration::from_secs_f64(seconds))?;
    // Less than a nanosecond is nothing.
    (!wait.is_zero()).then_some(wait)
}

fn until(moment: Timestamp, now: Timestamp) -> Option<Duration> {
    believed(moment.as_millisecond().checked_sub(now.as_millisecond())? as f64 / 1e3)
}

fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    match number(text) {
        Some(seconds) => believed(seconds),
        None => until(http_date(text)?, now),
    }
}

/// The form that is sent today, and the two that RFC 9110 still asks recipients to read.
fn http_date(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = rfc2822::DateTimeParser::new().parse_timestamp(text) {
        return Some(moment);
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"].into_iter().find_map(|format| {
        let civil: DateTime = strtime::parse(format, text).ok()?.to_datetime().ok()?;
        TimeZone::UTC.to_timestamp(civil).ok()
    })
}

fn reset(text: &str, now: Timestamp) -> Option<Duration> {
    if let Some(number) = number(text) {
        // Nobody's window is longer than a day, and 1970 was long ago: large numbers are moments.
        return match number {
            1e12.. => until(Timestamp::from_millisecond(number as i64).ok()?, now),
            1e9.. => until(Timestamp::from_millisecond((number * 1e3) as i64).ok()?, now),
            _ => believed(number),
        };
    }
    match text.parse::<Timestamp>() {
        Ok(moment) => until(moment, now),
        Err(_) => believed(units(text)?),
    }
}

/// Seconds in `1h2m3.5s`, as Go writes durations.
fn units(mut text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (amount, rest) = text.split_at(digits);
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(unit);
        let factor = match unit {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number(amount)? * factor;
        text = rest;
    }
    Some(seconds)
}

/// What is left of a key's limits, as its latest answer said.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UpstreamQuota {
    pub requests: Option<Left>,
    /// Of several limits of tokens (all, input, output), the one with the smallest share left.
    pub tokens: Option<Left>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    pub remaining: u64,
    pub limit: Option<u64>,
    /// From the answer until it is full again, at most a day.
    pub reset: Option<Duration>,
}

impl Left {
    /// 0 to 1; 1 where the limit is not known and something is left.
    pub fn share(&self) -> f64 {
        match (self.remaining, self.limit) {
            (0, _) => 0.0,
            (remaining, Some(limit)) if limit > 0 => (remaining as f64 / limit as f64).min(1.0),
            _ => 1.0,
        }
    }
}

impl UpstreamQuota {
    /// `None` for what the headers do not say. `headers` as for [`wait`].
    pub fn read<'h>(headers: impl Fn(&str) -> Option<&'h str>, now: Timestamp) -> UpstreamQuota {
        let text = |name: &str| headers(name).map(str::trim);
        let mut quota = UpstreamQuota::default();
        for row in &ROWS {
            let slot = match row.what {
                What::Requests => &mut quota.requests,
                What::Tokens => &mut quota.tokens,
                What::Any => continue,
            };
            // Azure's -1 is not a number of requests.
            let count = |name| text(name).and_then(|count| count.parse::<u64>().ok());
            let Some(remaining) = count(row.remaining) else { continue };
            let reset = text(row.reset).and_then(|value| reset(value, now));
            let left = Left { remaining, limit: count(row.limit), reset };
            if slot.is_none_or(|tightest| left.share() < tightest.share()) {
                *slot = Some(left);
            }
        }
        quota
    }
}

#[cfg(test)]
mod tests;
