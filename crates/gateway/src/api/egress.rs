//! What goes out: status, headers and errors in the client's dialect.

use std::time::Duration;

use bytes::Bytes;
use gateway_core::dialect::Dialect;
use gateway_core::error::{ErrorKind, GatewayError};
use gateway_core::limits::NAMED_LOSSES_BYTES;
use gateway_core::target::Target;
use gateway_dialects::{codec, native};
use gateway_policy::routing::{Hint, UnknownProvider};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::api::Arrival;
use crate::api::body::{Content, ReplyBody, StreamBody};
use crate::api::headers::Headers;
use crate::api::pace::Busy;
use crate::attempt::Refused;
use crate::call::Call;
use crate::decimal::Decimal;
use crate::gateway::Gateway;
use crate::settle::Settle;

/// Names that are made once, at compile time.
macro_rules! names {
    ($($constant:ident $name:literal;)*) => {
        $(const $constant: HeaderName = HeaderName::from_static($name);)*
    };
}

names! {
    REQUEST_ID "request-id";
    RETRY_AFTER "retry-after";
    RETRY_AFTER_MS "retry-after-ms";
    X_ACCEL_BUFFERING "x-accel-buffering";
    X_CORRELATION_ID "x-correlation-id";
    X_GATEWAY_ADDED "x-gateway-added";
    X_GATEWAY_ATTEMPTS "x-gateway-attempts";
    X_GATEWAY_CACHE "x-gateway-cache";
    X_GATEWAY_CACHE_SIMILARITY "x-gateway-cache-similarity";
    X_GATEWAY_CACHE_TYPE "x-gateway-cache-type";
    X_GATEWAY_COST_USD "x-gateway-cost-usd";
    X_GATEWAY_DROPPED "x-gateway-dropped";
    X_GATEWAY_MODEL "x-gateway-model";
    X_GATEWAY_OVERHEAD_MS "x-gateway-overhead-ms";
    X_GATEWAY_PROVIDER "x-gateway-provider";
    X_GATEWAY_SANDBOX "x-gateway-sandbox";
    X_GATEWAY_UPSTREAM_REQUEST_ID "x-gateway-upstream-request-id";
    X_REQUEST_ID "x-request-id";
    X_RESPONSE_TIME "x-response-time";
    X_SHOULD_RETRY "x-should-retry";
}

/// An answer on its way out.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: Headers,
    pub body: Content,
}

impl Reply {
    pub fn new(status: StatusCode) -> Self {
        Reply::with_headers(status, Headers::new())
    }

    fn with_headers(status: StatusCode, headers: Headers) -> Self {
        Reply { status, headers, body: Content::Bytes(None) }
    }

    pub fn json<T: Serialize>(value: &T) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_default();
        Reply::of(StatusCode::OK, "application/json", body)
    }

    pub fn of(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut reply = Reply::new(status);
        reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        reply.with_bytes(body.into())
    }

    #[must_use]
    pub fn with_bytes(mut self, bytes: Bytes) -> Self {
        self.body = Content::Bytes(Some(bytes));
        self
    }

    #[must_use]
    pub fn with_stream(mut self, stream: StreamBody) -> Self {
        self.body = Content::Stream(Box::new(stream));
        self
    }

    /// Says something that is said nowhere else.
    fn set(&mut self, name: HeaderName, value: impl TryInto<HeaderValue>) {
        if let Ok(value) = value.try_into() {
            self.headers.append(name, value);
        }
    }

    /// `busy` lives as long as the body.
    pub fn into_response(self, busy: Busy) -> Response<ReplyBody> {
        let mut response = Response::new(ReplyBody::new(self.body, busy));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.into_map();
        response
    }
}

/// An error of the gateway's own, in the client's dialect.
pub fn error(error: &GatewayError, dialect: Dialect, request_id: &str) -> Reply {
    let row = error.kind.row();
    let status = match dialect {
        Dialect::Native => row.status,
        Dialect::OpenAiChat => row.openai_status,
        Dialect::AnthropicMessages => row.anthropic_status,
    };
    let body = codec::client(dialect).encode_error(error, request_id);
    let mut reply = Reply::of(status_of(status), "application/json", body);
    let allow = error.details.iter().find(|(name, _)| *name == "allow").and_then(|(_, methods)| methods.as_str());
    if let Some(allow) = allow.and_then(|methods| HeaderValue::from_str(methods).ok()) {
        reply.headers.insert(header::ALLOW, allow);
    }
    if row.status == 401 {
        reply.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let wait = error.retry_after.or(matches!(row.status, 429 | 503).then_some(Duration::from_secs(1)));
    if let Some(wait) = wait {
        retry_after(&mut reply, wait);
    }
    reply
}

fn retry_after(reply: &mut Reply, wait: Duration) {
    reply.set(RETRY_AFTER_MS, wait.as_millis().to_string());
    reply.set(RETRY_AFTER, wait.as_millis().div_ceil(1000).max(1).to_string());
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A provider's error, as it came.
pub fn verbatim(refused: &Refused) -> Reply {
    let mut reply = Reply::with_headers(status_of(refused.status), refused.headers.clone());
    if reply.headers.get(header::CONTENT_TYPE.as_str()).is_none() {
        reply.headers.append(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    reply.with_bytes(refused.body.clone())
}

/// A provider's error, in the client's dialect.
pub fn translated(refused: &Refused, call: &Call) -> Reply {
    let status = match (refused.error.status, call.dialect) {
        (status @ 400..=499, _) => status,
        (_, Dialect::Native) => native::error::kind_of(&refused.error).row().status,
        (status @ 500.., Dialect::OpenAiChat | Dialect::AnthropicMessages) => status,
        (..400, _) => ErrorKind::ProviderError.row().status,
    };
    let body = codec::client(call.dialect).encode_upstream_error(&refused.error, &call.request_id);
    let mut reply = Reply::of(status_of(status), "application/json", body);
    for name in [RETRY_AFTER, RETRY_AFTER_MS] {
        if let Some(value) = refused.headers.get(name.as_str()) {
            reply.headers.append(name, value.clone());
        }
    }
    reply
}

/// The headers of an answer that began well.
pub fn answered(call: &Call, settle: &Settle, target: &Target, headers: Headers) -> Reply {
    let mut reply = Reply::with_headers(StatusCode::OK, headers);
    about(call, &mut reply, settle);
    reply.set(X_GATEWAY_PROVIDER, &*target.provider);
    reply.set(X_GATEWAY_MODEL, &*target.model);
    reply
}

/// The headers of a stream that has nothing but a sign of life to give yet.
pub fn opening(call: &Call, stream: StreamBody) -> Reply {
    let mut reply = Reply::new(StatusCode::OK);
    if let Some(answered) = call.cache {
        reply.headers.insert(X_GATEWAY_CACHE, HeaderValue::from_static(answered.name()));
    }
    event_stream(&mut reply);
    reply.with_stream(stream)
}

/// What the gateway did for this request, as far as it is known when the headers leave.
fn about(call: &Call, reply: &mut Reply, settle: &Settle) {
    overhead(reply, settle);
    cached(call, reply, settle);
    let Some(record) = settle.record() else { return };
    if record.attempts > 0 {
        // One is the rule, and needs no room of its own.
        let attempts = match record.attempts {
            1 => HeaderValue::from_static("1"),
            more => HeaderValue::from(more),
        };
        reply.headers.append(X_GATEWAY_ATTEMPTS, attempts);
    }
    if let Some(id) = &record.upstream_request_id {
        reply.set(X_GATEWAY_UPSTREAM_REQUEST_ID, id.as_str());
    }
    if let (Some(cost), false) = (record.cost, call.stream) {
        // Exact to the billionth.
        reply.headers.append(X_GATEWAY_COST_USD, Decimal::new(cost.total().0, 9).header());
    }
    for (header, names) in [(X_GATEWAY_DROPPED, &record.dropped), (X_GATEWAY_ADDED, &record.added)] {
        if !names.is_empty() {
            reply.set(header, listed(names));
        }
    }
}

/// What the cache did for it.
pub fn cached(call: &Call, reply: &mut Reply, settle: &Settle) {
    let note = settle.record().and_then(|record| record.cache.as_ref());
    let Some(answered) = note.map(|note| note.answered).or(call.cache) else { return };
    reply.headers.insert(X_GATEWAY_CACHE, HeaderValue::from_static(answered.name()));
    let Some(found) = note.and_then(|note| note.hit.as_ref()) else { return };
    reply.headers.insert(X_GATEWAY_CACHE_TYPE, HeaderValue::from_static(found.tier.name()));
    reply.headers.insert(X_GATEWAY_CACHE_SIMILARITY, Decimal::short(found.thousandths(), 3).header());
    reply.headers.insert(header::AGE, HeaderValue::from(found.age.as_secs()));
}

fn overhead(reply: &mut Reply, settle: &Settle) {
    reply.headers.append(X_GATEWAY_OVERHEAD_MS, millis(settle.overhead()).header());
}

/// Names for a header: those that fit, in printable ASCII.
fn listed(names: &[String]) -> String {
    let mut text = String::new();
    for name in names {
        let name: String = name.chars().map(|c| if c.is_ascii_graphic() && c != ',' { c } else { '_' }).collect();
        if text.len() + name.len() > NAMED_LOSSES_BYTES {
            text.push_str(", ...");
            break;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&name);
    }
    text
}

/// The headers of an answer that says that no target could serve the request.
pub fn spent(gateway: &Gateway, call: &Call, reply: &mut Reply, settle: &Settle, by_limit: bool) {
    about(call, reply, settle);
    let Some(record) = settle.record().filter(|record| record.attempts > 0) else { return };
    if let Some((provider, model)) = record.provider.clone().zip(record.model.clone()) {
        reply.set(X_GATEWAY_PROVIDER, &*provider);
        reply.set(X_GATEWAY_MODEL, &*model);
    }
    // The attempts have been made: a client that repeats the request would only multiply them. Another gateway may take what
    // this one could not finish, and this one may later what it had no room for, or what its client had used up.
    if !gateway.is_closing() && !by_limit {
        final_word(reply);
    }
}

/// The same request would hear the same.
pub fn final_word(reply: &mut Reply) {
    reply.headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
}

pub fn event_stream(reply: &mut Reply) {
    reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx and its kin would gather the stream otherwise.
    reply.headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

/// What every answer carries: the gateway's id of the request, the client's, the time it took.
pub fn identify(reply: &mut Reply, gateway: &Gateway, arrival: &Arrival) {
    reply.set(X_REQUEST_ID, &*arrival.request_id);
    if arrival.dialect == Dialect::AnthropicMessages {
        // Where the official SDK looks for it.
        reply.set(REQUEST_ID, &*arrival.request_id);
    }
    if let Some(id) = &arrival.correlation_id {
        reply.set(X_CORRELATION_ID, id.as_str());
    }
    reply.set(X_RESPONSE_TIME, [&*millis(arrival.started.elapsed()), b"ms"].concat());
    if gateway.config.sandbox {
        reply.headers.insert(X_GATEWAY_SANDBOX, HeaderValue::from_static("true"));
    }
}

/// Milliseconds with three digits behind the point.
fn millis(duration: Duration) -> Decimal {
    Decimal::new(duration.as_micros() as u64, 3)
}

/// The name of the hint at fault, as the client wrote it.
pub fn hint_field(dialect: Dialect, unknown: &UnknownProvider) -> String {
    match (dialect, unknown.hint) {
        (Dialect::Native, Hint::Preferred) => format!("routing.preferred_providers[{}]", unknown.index),
        (Dialect::Native, Hint::Excluded) => format!("routing.exclude_providers[{}]", unknown.index),
        (Dialect::Native, Hint::Pinned) => "provider".to_owned(),
        (_, Hint::Preferred) => "x-gateway-prefer".to_owned(),
        (_, Hint::Excluded) => "x-gateway-exclude".to_owned(),
        (_, Hint::Pinned) => "x-gateway-provider".to_owned(),
    }
}

pub fn not_found(path: &str) -> GatewayError {
    let shown: String = path.chars().take(200).collect();
    GatewayError::new(ErrorKind::NotFound, format!("there is nothing at {shown}; GET /docs shows what there is"))
}

pub fn wrong_method(path: &str, allow: String) -> GatewayError {
    let shown: String = path.chars().take(200).collect();
    GatewayError::new(ErrorKind::MethodNotAllowed, format!("{shown} takes {allow}")).detail("allow", allow)
}
