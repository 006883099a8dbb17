//! What a client is told of its limits.

use std::time::Duration;

use gateway_core::dialect::Dialect;
use gateway_core::error::{ErrorKind, GatewayError};
use gateway_policy::limits::{Holder, Left, LevelId, Part, Refused, Resource, Standing};
use http::{HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::api::headers::Headers;
use crate::decimal::Decimal;

struct Names {
    limit: HeaderName,
    remaining: HeaderName,
    reset: HeaderName,
}

macro_rules! names {
    ($limit:literal $remaining:literal $reset:literal) => {
        Names {
            limit: HeaderName::from_static($limit),
            remaining: HeaderName::from_static($remaining),
            reset: HeaderName::from_static($reset),
        }
    };
}

/// Of requests and of tokens.
const NAMES: [Names; 2] = [
    names!("x-ratelimit-limit-requests" "x-ratelimit-remaining-requests" "x-ratelimit-reset-requests"),
    names!("x-ratelimit-limit-tokens" "x-ratelimit-remaining-tokens" "x-ratelimit-reset-tokens"),
];
const ANTHROPIC_NAMES: [Names; 2] = [
    names!("anthropic-ratelimit-requests-limit" "anthropic-ratelimit-requests-remaining" "anthropic-ratelimit-requests-reset"),
    names!("anthropic-ratelimit-tokens-limit" "anthropic-ratelimit-tokens-remaining" "anthropic-ratelimit-tokens-reset"),
];

/// Says in an answer how its caller stands.
pub fn tell(headers: &mut Headers, standing: &Standing, dialect: Dialect) {
    if *standing == Standing::default() {
        return;
    }
    let lefts = [standing.requests, standing.tokens];
    for (names, left) in NAMES.iter().zip(lefts) {
        put(headers, names, left, |left| seconds(left.reset));
    }
    if dialect == Dialect::AnthropicMessages {
        // What the provider said of its own limits concerns the gateway's account, not the client's.
        headers.remove_all(|name| name.as_str().starts_with("anthropic-ratelimit-"));
        let now = Timestamp::now();
        for (names, left) in ANTHROPIC_NAMES.iter().zip(lefts) {
            put(headers, names, left, |left| moment(now, left.reset));
        }
    }
}

fn put(headers: &mut Headers, names: &Names, left: Option<Left>, reset: impl Fn(Left) -> String) {
    let Some(left) = left else { return };
    headers.append(names.limit.clone(), Decimal::new(left.limit, 0).header());
    headers.append(names.remaining.clone(), Decimal::new(left.remaining, 0).header());
    if let Ok(reset) = HeaderValue::try_from(reset(left)) {
        headers.append(names.reset.clone(), reset);
    }
}

/// `1s`, `6m0s`, `1h0m0s`: whole seconds, rounded up.
fn seconds(duration: Duration) -> String {
    let all = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
    match (hours, minutes) {
        // Every answer says it, and mostly so.
        (0, 0) => [Decimal::new(seconds, 0).as_str(), "s"].concat(),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// RFC 3339 in whole seconds, rounded up.
fn moment(now: Timestamp, wait: Duration) -> String {
    let wait = SignedDuration::try_from(wait).unwrap_or_default();
    let at = now.saturating_add(wait).unwrap_or(now);
    let second = at.as_second() + i64::from(at.subsec_nanosecond() > 0);
    Timestamp::from_second(second).unwrap_or(at).to_string()
}

/// The refusal of a request by one of its limits.
pub fn error(refused: &Refused) -> GatewayError {
    let Refused { level: LevelId { holder, part }, what, limit, wait, .. } = refused;
    let of = match holder {
        Holder::Key(_) => "this key",
        Holder::Team(_) => "the team of this key",
        Holder::Address(_) => "all users of this address",
        Holder::User(_, Some(_)) => "this user",
        Holder::User(_, None) => "this caller",
        Holder::Crowd(..) => "callers without a key, of whom there are more than the gateway can tell apart",
    };
    let part = match part {
        Part::All => String::new(),
        Part::Model(name) => format!(" and the model {name}"),
        Part::Provider(name) => format!(" and the provider {name}"),
    };
    let limit_text = match what {
        Resource::Requests => format!("{limit} requests a minute"),
        Resource::Tokens => format!("{limit} tokens a minute"),
        Resource::Places => format!("{limit} requests at the same time"),
    };
    let message = format!("rate limit reached: {limit_text} for {of}{part}; try again in {}", seconds(*wait));
    let mut told = json!({"what": what.name(), "limit": limit, "of": holder.kind()});
    match &refused.level.part {
        Part::All => {}
        Part::Model(name) => told["model"] = json!(name),
        Part::Provider(name) => told["provider"] = json!(name),
    }
    GatewayError::new(ErrorKind::RateLimitExceeded, message.clone())
        .detail("limit", told)
        .internal(format!("{message} [{}]", refused.level))
        .retry_after(*wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_the_vendors_tell_them() {
        for (ms, text) in [(0, "0s"), (1, "1s"), (1000, "1s"), (1001, "2s"), (360_000, "6m0s"), (3_601_000, "1h0m1s")] {
            assert_eq!(seconds(Duration::from_millis(ms)), text);
        }
        let now: Timestamp = "2026-03-01T12:00:00.25Z".parse().unwrap();
        assert_eq!(moment(now, Duration::from_millis(750)), "2026-03-01T12:00:01Z");
        assert_eq!(moment(now, Duration::from_millis(751)), "2026-03-01T12:00:02Z");
    }
}
