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
    /// `None`: one of several, the vendor does not say which.
    what: Option<Limited>,
    limit: &'static str,
    remaining: &'static str,
    reset: &'static str,
}

const REQUESTS: Option<Limited> = Some(Limited::Requests);
const TOKENS: Option<Limited> = Some(Limited::Tokens);

const ROWS: [Row; 11] = [
    // OpenAI, and most who speak its dialect.
    row(REQUESTS, "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    row(TOKENS, "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    // Cerebras.
    row(
        REQUESTS,
        "x-ratelimit-limit-requests-day",
        "x-ratelimit-remaining-requests-day",
        "x-ratelimit-reset-requests-day",
    ),
    // Cerebras, Mistral; Hugging Face without a limit.
    row(
        TOKENS,
        "x-ratelimit-limit-tokens-minute",
        "x-ratelimit-remaining-tokens-minute",
        "x-ratelimit-reset-tokens-minute",
    ),
    // Mistral.
    row(REQUESTS, "x-ratelimit-limit-req-minute", "x-ratelimit-remaining-req-minute", ""),
    // Hugging Face.
    row(REQUESTS, "", "x-ratelimit-remaining-requests-minute", ""),
    // Anthropic.
    row(
        REQUESTS,
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ),
    row(
        TOKENS,
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ),
    row(
        Some(Limited::InputTokens),
        "anthropic-ratelimit-input-tokens-limit",
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ),
    row(
        Some(Limited::OutputTokens),
        "anthropic-ratelimit-output-tokens-limit",
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
    ),
    // OpenRouter, and many proxies.
    row(None, "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
];

const fn row(what: Option<Limited>, limit: &'static str, remaining: &'static str, reset: &'static str) -> Row {
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

/// What is left of the limits that a request stood under, as its answer says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UpstreamQuota {
    left: [Option<Left>; Limited::ALL.len()],
}

/// What a provider limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    Requests,
    /// Of prompts and answers.
    Tokens,
    InputTokens,
    OutputTokens,
}

impl Limited {
    pub const ALL: [Limited; 4] = [Limited::Requests, Limited::Tokens, Limited::InputTokens, Limited::OutputTokens];

    /// For metrics and reports.
    pub fn name(self) -> &'static str {
        match self {
            Limited::Requests => "requests",
            Limited::Tokens => "tokens",
            Limited::InputTokens => "input_tokens",
            Limited::OutputTokens => "output_tokens",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    pub remaining: u64,
    /// Where it is known, it is no less than what remains.
    pub limit: Option<u64>,
    /// From the answer until it is full again, at most a day.
    pub reset: Option<Duration>,
}

impl Left {
    /// 0 to 1; 1 where the limit is not known and something is left.
    pub fn share(&self) -> f64 {
        match (self.remaining, self.limit) {
            (0, _) => 0.0,
            (remaining, Some(limit)) => remaining as f64 / limit as f64,
            _ => 1.0,
        }
    }

    fn read(limit: Option<&str>, remaining: Option<&str>, wait: Option<&str>, now: Timestamp) -> Option<Left> {
        // Azure's -1 is not a number of requests.
        let count = |text: Option<&str>| text.and_then(|count| count.parse::<u64>().ok());
        let (remaining, limit) = (count(remaining)?, count(limit));
        let reset = wait.and_then(|value| reset(value, now));
        // Nor is a 0 of its that belongs to no limit and is never made good.
        let meant =
            limit.is_none_or(|limit| limit > 0 && remaining <= limit) && (remaining, limit, reset) != (0, None, None);
        meant.then_some(Left { remaining, limit, reset })
    }
}

impl UpstreamQuota {
    /// `headers`: all names, in lower case, and values of an answer. Of several limits of the same kind, as of a minute and of a
    /// day, the one with the smallest share left. The clock is not asked where there is nothing to read.
    pub fn read<'h>(headers: impl Iterator<Item = (&'h str, &'h str)>, now: impl Fn() -> Timestamp) -> UpstreamQuota {
        let mut quota = UpstreamQuota::default();
        let of_limits = |name: &str| name.starts_with("x-ratelimit-") || name.starts_with("anthropic-ratelimit-");
        let mut headers = headers.filter(|(name, _)| of_limits(name)).peekable();
        if headers.peek().is_none() {
            return quota;
        }
        let mut said = [[None; 3]; ROWS.len()];
        let mut any = false;
        for (name, value) in headers {
            for (row, said) in ROWS.iter().zip(&mut said) {
                if let Some(place) = [row.limit, row.remaining, row.reset].iter().position(|known| *known == name) {
                    said[place] = Some(value.trim());
                    any = true;
                }
            }
        }
        if !any {
            return quota;
        }
        let now = now();
        for (row, [limit, remaining, reset]) in ROWS.iter().zip(said) {
            let Some(what) = row.what else { continue };
            let slot = &mut quota.left[what as usize];
            if let Some(left) = Left::read(limit, remaining, reset, now)
                && slot.is_none_or(|tightest| left.share() < tightest.share())
            {
                *slot = Some(left);
            }
        }
        quota
    }

    /// `None`: the answer does not say.
    pub fn of(&self, what: Limited) -> Option<Left> {
        self.left[what as usize]
    }

    /// Another word for each limit; `None`: no word.
    pub fn map(&self, mut change: impl FnMut(Limited, Left) -> Option<Left>) -> UpstreamQuota {
        let mut changed = UpstreamQuota::default();
        for what in Limited::ALL {
            changed.left[what as usize] = self.of(what).and_then(|left| change(what, left));
        }
        changed
    }

    pub fn is_empty(&self) -> bool {
        self.left.iter().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests;
