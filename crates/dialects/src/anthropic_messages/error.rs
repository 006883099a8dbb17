//! Errors: of the gateway and of other dialects' providers in this dialect's shape, and of its vendors in whatever shape
//! they send.

use gateway_core::error::{GatewayError, UpstreamError};
use serde::Serialize;
use serde_json::Value;

/// The error types of the API and the status that each has. Inside a stream only the type is sent.
const TYPES: [(&str, u16); 10] = [
    ("invalid_request_error", 400),
    ("authentication_error", 401),
    ("billing_error", 402),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("request_too_large", 413),
    ("rate_limit_error", 429),
    ("api_error", 500),
    ("timeout_error", 504),
    ("overloaded_error", 529),
];

/// Of a text answer that is no JSON, this much is shown.
const EXCERPT_CHARS: usize = 300;

#[derive(Serialize)]
struct ErrorBody<'a> {
    r#type: &'static str,
    error: Detail<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Detail<'a> {
    r#type: &'a str,
    message: &'a str,
}

fn body(kind: &str, message: &str, request_id: &str) -> Vec<u8> {
    let body = ErrorBody { r#type: "error", error: Detail { r#type: kind, message }, request_id };
    serde_json::to_vec(&body).unwrap_or_default()
}

pub(super) fn encode(error: &GatewayError, request_id: &str) -> Vec<u8> {
    let kind = error.kind.row().anthropic_type;
    match &error.field {
        Some(field) if !error.message.contains(field.as_str()) => {
            body(kind, &format!("{field}: {}", error.message), request_id)
        }
        _ => body(kind, &error.message, request_id),
    }
}

pub(super) fn encode_upstream(error: &UpstreamError, request_id: &str) -> Vec<u8> {
    body(type_of(error), &error.message, request_id)
}

/// The nearest type of this dialect: by status, because other dialects use the same names for other things.
fn type_of(error: &UpstreamError) -> &'static str {
    let exact = TYPES.iter().find(|(_, status)| *status == error.status);
    match (exact, error.status) {
        (Some((kind, _)), _) => kind,
        (None, 408) => "timeout_error",
        (None, 503) => "overloaded_error",
        (None, 402..=499) => "invalid_request_error",
        (None, 500..) => "api_error",
        _ => TYPES.iter().find(|(kind, _)| *kind == error.kind).map_or("api_error", |(kind, _)| kind),
    }
}

/// Reads an error answer. The message is never empty.
pub(super) fn decode(status: u16, body: &[u8]) -> UpstreamError {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => from_value(Some(status), value),
        Err(_) => UpstreamError {
            status,
            kind: String::new(),
            code: None,
            message: or_silence(excerpt(&String::from_utf8_lossy(body)), status),
            param: None,
        },
    }
}

/// An error object that came where an answer was due: in a stream or with status 200. Its type tells the status.
pub(super) fn in_answer(value: Value) -> UpstreamError {
    from_value(None, value)
}

/// An answer that is none.
pub(super) fn unreadable(message: impl Into<String>) -> UpstreamError {
    UpstreamError { status: 502, kind: String::new(), code: None, message: message.into(), param: None }
}

fn from_value(status: Option<u16>, value: Value) -> UpstreamError {
    // A list of one error (Google), an `error` inside the body (Anthropic, OpenAI), or the body itself.
    let outer = match value {
        Value::Array(mut items) if !items.is_empty() => items.swap_remove(0),
        other => other,
    };
    let error = match outer.get("error") {
        None | Some(Value::Null) => &outer,
        Some(error) => error,
    };
    let word = |keys: &[&str]| keys.iter().find_map(|key| scalar(error.get(key)));
    let kind = word(&["type", "__type", "status"]).filter(|kind| kind != "error").unwrap_or_default();
    let status = status.unwrap_or_else(|| {
        let by_type = TYPES.iter().find(|(name, _)| *name == kind).map(|(_, status)| *status);
        let by_code = || error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        by_type.or_else(|| by_code().filter(|code| (400..600).contains(code))).unwrap_or(500)
    });
    let said = ["message", "detail", "msg", "error_description", "title"].iter().find_map(|key| text(error.get(key)));
    let message = said.or_else(|| text(outer.get("message"))).or_else(|| text(Some(error))).unwrap_or_default();
    UpstreamError {
        status,
        kind,
        code: word(&["code"]),
        message: or_silence(message, status),
        param: word(&["param", "field"]),
    }
}

/// A string, or a number as its text.
fn scalar(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Text as it is; a structure as JSON.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Null => None,
        Value::String(text) => (!text.trim().is_empty()).then(|| text.clone()),
        Value::Array(items) if items.is_empty() => None,
        Value::Object(fields) if fields.is_empty() => None,
        other => Some(other.to_string()),
    }
}

fn or_silence(message: String, status: u16) -> String {
    if message.trim().is_empty() {
        format!("the provider answered with status {status} and no message")
    } else {
        message
    }
}

/// What a person would see of a text or HTML page, in one line.
fn excerpt(page: &str) -> String {
    let (mut seen, mut in_tag) = (String::new(), false);
    for part in page.split_inclusive(['<', '>']) {
        if !in_tag || part.ends_with('<') {
            seen.push_str(part.trim_end_matches('<'));
            seen.push(' ');
        }
        in_tag = part.ends_with('<') || (in_tag && !part.ends_with('>'));
    }
    let words = seen.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(EXCERPT_CHARS).collect()
}
