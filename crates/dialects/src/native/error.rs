//! `{error: code, message, request_id, details}`.

use gateway_core::error::{ErrorKind, GatewayError, UpstreamError};
use serde_json::{Map, Value, json};

pub(super) fn encode(error: &GatewayError, request_id: &str) -> Vec<u8> {
    let mut details = Map::new();
    if let Some(field) = &error.field {
        details.insert("field".to_owned(), field.as_str().into());
    }
    details.extend(error.details.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    body(error.kind, &error.message, request_id, details)
}

/// What a provider's error is in the words of this API.
pub fn kind_of(error: &UpstreamError) -> ErrorKind {
    match error.status {
        404 => ErrorKind::NotFound,
        413 => ErrorKind::PayloadTooLarge,
        429 => ErrorKind::RateLimitExceeded,
        408 | 504 => ErrorKind::Timeout,
        401..=403 => ErrorKind::ProviderError,
        400..=499 => ErrorKind::InvalidRequest,
        503 | 529 => ErrorKind::Overloaded,
        _ => ErrorKind::ProviderError,
    }
}

/// A provider's error: its message, the nearest code, and the provider's own words in the details.
pub(super) fn encode_upstream(error: &UpstreamError, request_id: &str) -> Vec<u8> {
    let kind = kind_of(error);
    let words = [
        ("provider_status", Value::from(error.status)),
        ("provider_type", Some(error.kind.as_str()).filter(|kind| !kind.is_empty()).into()),
        ("provider_code", error.code.as_deref().into()),
        ("field", error.param.as_deref().into()),
    ];
    let said = words.into_iter().filter(|(_, value)| !value.is_null());
    body(kind, &error.message, request_id, said.map(|(name, value)| (name.to_owned(), value)).collect())
}

fn body(kind: ErrorKind, message: &str, request_id: &str, details: Map<String, Value>) -> Vec<u8> {
    let code = kind.row().code;
    json!({"error": code, "message": message, "request_id": request_id, "details": details}).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_a_code_a_message_and_details() {
        let error = GatewayError::invalid("top_p", "top_p must be between 0 and 1").detail("near", 1);
        let body: Value = serde_json::from_slice(&encode(&error, "req_1")).unwrap();
        let details = json!({"field": "top_p", "near": 1});
        let want = json!({"error": "invalid_request", "message": "top_p must be between 0 and 1", "request_id": "req_1",
            "details": details});
        assert_eq!(body, want);
    }

    #[test]
    fn a_providers_error_keeps_its_words() {
        let error = UpstreamError {
            status: 429,
            kind: "rate_limit_error".to_owned(),
            code: None,
            message: "Slow down".to_owned(),
            param: None,
        };
        let body: Value = serde_json::from_slice(&encode_upstream(&error, "req_1")).unwrap();
        let details = json!({"provider_status": 429, "provider_type": "rate_limit_error"});
        let want =
            json!({"error": "rate_limit_exceeded", "message": "Slow down", "request_id": "req_1", "details": details});
        assert_eq!(body, want);
    }
}
