//! Errors: as OpenAI clients expect them, and as vendors really send them.

use gateway_core::error::{GatewayError, UpstreamError};
use serde_json::{Value, json};

/// A gateway's own error for an OpenAI client.
pub(super) fn encode(error: &GatewayError) -> Vec<u8> {
    let row = error.kind.row();
    body(&error.message, row.openai_type, error.field.as_deref(), Some(&format!("gateway_{}", row.code)))
}

/// A provider's error of another dialect for an OpenAI client. The vendor's own word for it, where OpenAI has none, becomes
/// the code.
pub(super) fn encode_upstream(error: &UpstreamError) -> Vec<u8> {
    const TYPES: [&str; 5] =
        ["invalid_request_error", "rate_limit_error", "insufficient_quota", "permission_error", "server_error"];
    let kind = match TYPES.into_iter().find(|known| *known == error.kind) {
        Some(known) => known,
        None => match error.status {
            403 => "permission_error",
            402 => "insufficient_quota",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        },
    };
    let other_word = Some(error.kind.as_str()).filter(|word| !word.is_empty() && *word != kind);
    body(&error.message, kind, error.param.as_deref(), error.code.as_deref().or(other_word))
}

fn body(message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Vec<u8> {
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}}).to_string().into_bytes()
}

/// Reads an error answer in any shape: `{error: {...}}`, `{error: "..."}`, a flat object, `{detail: ...}`, HTML, nothing.
/// A status of success is replaced by the one that the error itself tells.
pub(super) fn decode(status: u16, body: &[u8]) -> UpstreamError {
    match serde_json::from_slice(body) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => read(status, &value),
        Ok(Value::String(message)) if !message.is_empty() => plain(status, message),
        _ => plain(status, from_text(status, &String::from_utf8_lossy(body))),
    }
}

fn plain(status: u16, message: String) -> UpstreamError {
    UpstreamError { status: of_failure(status).unwrap_or(502), kind: String::new(), code: None, message, param: None }
}

pub(super) fn read(status: u16, value: &Value) -> UpstreamError {
    let outer = value.as_array().and_then(|items| items.first()).unwrap_or(value);
    let errors = || outer.get("errors").filter(|errors| errors.as_array().is_some_and(|errors| !errors.is_empty()));
    let error = outer.get("error").filter(|error| !error.is_null()).or_else(errors).unwrap_or(outer);
    let error = error.as_array().and_then(|items| items.first()).unwrap_or(error);
    let word = |key: &str| error.get(key).or_else(|| outer.get(key)).and_then(word);
    let kind = word("type").unwrap_or_default();
    let code = word("code");
    UpstreamError {
        status: of_failure(status).unwrap_or_else(|| status_of(error, &kind, code.as_deref())),
        message: message(error).unwrap_or_else(|| from_text(status, &value.to_string())),
        kind,
        code,
        param: word("param"),
    }
}

fn of_failure(status: u16) -> Option<u16> {
    (status >= 400).then_some(status)
}

/// A string or a number, as text.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The status that a vendor would have sent with an error that came inside a success.
fn status_of(error: &Value, kind: &str, code: Option<&str>) -> u16 {
    let told = ["status_code", "status", "code", "raw_status_code"].into_iter().find_map(|key| {
        let value = error.get(key)?;
        let status = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
        u16::try_from(status).ok().filter(|status| (400..600).contains(status))
    });
    told.unwrap_or(match (kind, code.unwrap_or_default()) {
        (_, "content_filter") | ("invalid_request_error", _) => 400,
        ("rate_limit_error" | "insufficient_quota", _) | (_, "rate_limit_exceeded" | "insufficient_quota") => 429,
        ("overloaded_error", _) => 503,
        _ => 502,
    })
}

/// The human part of an error.
fn message(error: &Value) -> Option<String> {
    let said = match error {
        Value::Object(_) => ["message", "detail", "msg"].into_iter().find_map(|key| {
            let value = error.get(key)?;
            let empty = value.is_null() || value.as_str().is_some_and(str::is_empty);
            (!empty).then_some(value)
        })?,
        other => other,
    };
    let mut texts = Vec::new();
    match said {
        Value::String(text) => texts.push(text.as_str()),
        nested => {
            strings(nested, &["msg", "message", "detail"], &mut texts);
            if texts.is_empty() {
                strings(nested, &[], &mut texts);
            }
        }
    }
    let message = texts.join("; ");
    (!message.trim().is_empty()).then_some(message)
}

/// Collects the strings inside `value`; of objects only those under `keys`, if there are any.
fn strings<'a>(value: &'a Value, keys: &[&str], out: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => out.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, keys, out)),
        Value::Object(map) => {
            let wanted = map.iter().filter(|(key, _)| keys.is_empty() || keys.contains(&key.as_str()));
            wanted.for_each(|(_, value)| strings(value, keys, out));
        }
        _ => {}
    }
}

/// A message from a body that is no JSON error: the title of a page, the text itself, or at least the status.
fn from_text(status: u16, body: &str) -> String {
    const LONGEST: usize = 1000;
    let body = body.trim();
    let lower = body.get(..LONGEST.min(body.len())).unwrap_or_default().to_ascii_lowercase();
    let title = || {
        let start = lower.find("<title>")? + "<title>".len();
        let end = start + lower[start..].find("</title>")?;
        body.get(start..end).map(str::trim).filter(|title| !title.is_empty())
    };
    let text =
        if body.starts_with('<') { title() } else { Some(body).filter(|body| !body.is_empty() && *body != "{}") };
    match text {
        Some(text) => text.chars().take(LONGEST).collect(),
        None => format!("the provider answered with status {status} and without a message"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::error::ErrorKind;

    fn decoded(status: u16, body: &str) -> (u16, String, Option<String>, String) {
        let error = decode(status, body.as_bytes());
        (error.status, error.kind, error.code, error.message)
    }

    #[test]
    fn every_vendor_shape_gives_a_message() {
        let cases = [
            (400, r#"{"error":{"message":"m","type":"t","param":"p","code":"c"}}"#, (400, "t", Some("c"), "m")),
            (500, r#"{"error":{"code":500,"message":"m","type":"t"}}"#, (500, "t", Some("500"), "m")),
            (404, r#"{"error":"m"}"#, (404, "", None, "m")),
            (400, r#"{"object":"error","message":"m","type":"t","code":"3051"}"#, (400, "t", Some("3051"), "m")),
            (422, r#"{"detail":"m"}"#, (422, "", None, "m")),
            (
                422,
                r#"{"detail":[{"type":"missing","loc":["body"],"msg":"m1"},{"msg":"m2"}]}"#,
                (422, "", None, "m1; m2"),
            ),
            (400, r#"{"message":{"detail":[{"msg":"m"}]}}"#, (400, "", None, "m")),
            (400, r#"[{"error":{"code":400,"message":"m"}}]"#, (400, "", Some("400"), "m")),
            (403, r#"{"errors":[{"code":10000,"message":"m"}],"success":false}"#, (403, "", Some("10000"), "m")),
            (502, "<html><head><title>502 Bad Gateway</title></head></html>", (502, "", None, "502 Bad Gateway")),
            (503, " upstream connect error ", (503, "", None, "upstream connect error")),
            (500, "", (500, "", None, "the provider answered with status 500 and without a message")),
            (500, "{}", (500, "", None, "the provider answered with status 500 and without a message")),
            (500, r#""m""#, (500, "", None, "m")),
        ];
        for (status, body, (want_status, kind, code, message)) in cases {
            let want = (want_status, kind.to_owned(), code.map(str::to_owned), message.to_owned());
            assert_eq!(decoded(status, body), want, "{body}");
        }
    }

    #[test]
    fn an_error_inside_a_success_tells_its_status() {
        for (body, status) in [
            (r#"{"error":{"message":"m","code":"content_filter","status":400}}"#, 400),
            (r#"{"error":{"message":"m","type":"invalid_request_error"}}"#, 400),
            (r#"{"error":{"message":"m","code":429}}"#, 429),
            (r#"{"error":{"message":"m","type":"rate_limit_error"}}"#, 429),
            (r#"{"error":{"message":"m"}}"#, 502),
            (r#"{"error":{"message":"m","code":3051}}"#, 502),
        ] {
            assert_eq!(decode(200, body.as_bytes()).status, status, "{body}");
        }
    }

    #[test]
    fn a_gateway_error_names_its_field() {
        let error = GatewayError::invalid("messages[0].role", "messages[0].role is required");
        let body: Value = serde_json::from_slice(&encode(&error)).unwrap();
        assert_eq!(
            body,
            json!({"error": {"message": "messages[0].role is required", "type": "invalid_request_error",
                "param": "messages[0].role", "code": "gateway_invalid_request"}})
        );
        let body: Value = serde_json::from_slice(&encode(&GatewayError::new(ErrorKind::Timeout, "late"))).unwrap();
        assert_eq!(body["error"]["param"], Value::Null);
    }

    #[test]
    fn a_providers_error_keeps_its_message_and_gets_the_nearest_type() {
        let error = decode(529, br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#);
        let body: Value = serde_json::from_slice(&encode_upstream(&error)).unwrap();
        assert_eq!(
            body,
            json!({"error": {"message": "Overloaded", "type": "server_error", "param": null, "code": "overloaded_error"}})
        );
    }
}
