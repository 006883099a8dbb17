//! What can go wrong, on one page: the errors of the gateway itself and those of providers.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// The kinds of error that the gateway makes. Their status and names in each dialect are rows of [`ErrorKind::row`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    InvalidRequest,
    Unauthorized,
    BudgetExceeded,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    ModelNotFound,
    PayloadTooLarge,
    RateLimitExceeded,
    Internal,
    ProviderError,
    CircuitOpen,
    NoProvider,
    Overloaded,
    Timeout,
}

/// How one kind of error looks to each kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorRow {
    pub code: &'static str,
    pub status: u16,
    pub openai_status: u16,
    pub openai_type: &'static str,
    pub anthropic_status: u16,
    pub anthropic_type: &'static str,
}

impl ErrorKind {
    pub const ALL: [ErrorKind; 15] = [
        ErrorKind::InvalidRequest,
        ErrorKind::Unauthorized,
        ErrorKind::BudgetExceeded,
        ErrorKind::Forbidden,
        ErrorKind::NotFound,
        ErrorKind::MethodNotAllowed,
        ErrorKind::ModelNotFound,
        ErrorKind::PayloadTooLarge,
        ErrorKind::RateLimitExceeded,
        ErrorKind::Internal,
        ErrorKind::ProviderError,
        ErrorKind::CircuitOpen,
        ErrorKind::NoProvider,
        ErrorKind::Overloaded,
        ErrorKind::Timeout,
    ];

    pub const fn row(self) -> ErrorRow {
        const fn row(
            code: &'static str,
            status: u16,
            openai_type: &'static str,
            anthropic_type: &'static str,
        ) -> ErrorRow {
            ErrorRow { code, status, openai_status: status, openai_type, anthropic_status: status, anthropic_type }
        }
        match self {
            ErrorKind::InvalidRequest => row("invalid_request", 400, "invalid_request_error", "invalid_request_error"),
            ErrorKind::Unauthorized => row("unauthorized", 401, "invalid_request_error", "authentication_error"),
            ErrorKind::BudgetExceeded => {
                ErrorRow { openai_status: 429, ..row("budget_exceeded", 402, "insufficient_quota", "billing_error") }
            }
            ErrorKind::Forbidden => row("forbidden", 403, "permission_error", "permission_error"),
            ErrorKind::NotFound => row("not_found", 404, "invalid_request_error", "not_found_error"),
            ErrorKind::MethodNotAllowed => {
                row("method_not_allowed", 405, "invalid_request_error", "invalid_request_error")
            }
            ErrorKind::ModelNotFound => row("model_not_found", 404, "invalid_request_error", "not_found_error"),
            ErrorKind::PayloadTooLarge => row("payload_too_large", 413, "invalid_request_error", "request_too_large"),
            ErrorKind::RateLimitExceeded => row("rate_limit_exceeded", 429, "rate_limit_error", "rate_limit_error"),
            ErrorKind::Internal => row("internal_error", 500, "server_error", "api_error"),
            ErrorKind::ProviderError => row("provider_error", 502, "server_error", "api_error"),
            ErrorKind::CircuitOpen => {
                ErrorRow { anthropic_status: 529, ..row("circuit_open", 503, "server_error", "overloaded_error") }
            }
            ErrorKind::NoProvider => {
                ErrorRow { anthropic_status: 529, ..row("no_provider", 503, "server_error", "overloaded_error") }
            }
            ErrorKind::Overloaded => {
                ErrorRow { anthropic_status: 529, ..row("overloaded", 503, "server_error", "overloaded_error") }
            }
            ErrorKind::Timeout => row("timeout", 504, "server_error", "timeout_error"),
        }
    }
}

/// An error that the gateway made. `message` and `details` are for the client; `internal` is for the log only.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayError {
    pub kind: ErrorKind,
    pub message: String,
    /// The field of the request at fault, as a path: `messages[0].role`.
    pub field: Option<String>,
    pub details: Vec<(&'static str, Value)>,
    pub retry_after: Option<Duration>,
    pub internal: Option<String>,
}

impl GatewayError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        GatewayError {
            kind,
            message: message.into(),
            field: None,
            details: Vec::new(),
            retry_after: None,
            internal: None,
        }
    }

    /// A fault of the request, at `field`.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        GatewayError { field: Some(field.into()), ..GatewayError::new(ErrorKind::InvalidRequest, message) }
    }

    #[must_use]
    pub fn detail(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    #[must_use]
    pub fn internal(mut self, text: impl Into<String>) -> Self {
        self.internal = Some(text.into());
        self
    }

    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for GatewayError {}

/// An error in a provider's own words, read from whichever shape the vendor uses.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamError {
    /// The HTTP status; of an error inside a stream that began with 200, the one that the vendor would have sent.
    pub status: u16,
    /// `type`, as `overloaded_error`; empty where the vendor sends none.
    pub kind: String,
    pub code: Option<String>,
    pub message: String,
    pub param: Option<String>,
}

impl UpstreamError {
    /// The request is longer than this model can read.
    pub fn is_context_overflow(&self) -> bool {
        // OpenAI and those who imitate it have a code; Anthropic, Mistral, vLLM and llama.cpp say it in words.
        const CODES: [&str; 3] = ["context_length_exceeded", "exceed_context_size_error", "context_window_exceeded"];
        const WORDS: [&str; 6] = [
            "prompt is too long",
            "maximum context length",
            "context length",
            "context window",
            "exceeds the available context size",
            "too large for model",
        ];
        matches!(self.status, 400 | 413 | 422)
            && (CODES.iter().any(|code| self.says(code)) || WORDS.iter().any(|words| self.message.contains(words)))
    }

    /// The model, or a filter before it, does not want to speak of this.
    pub fn is_content_refusal(&self) -> bool {
        const CODES: [&str; 4] =
            ["content_policy_violation", "content_filter", "ResponsibleAIPolicyViolation", "data_inspection_failed"];
        const WORDS: [&str; 2] = ["content management policy", "content filtering policy"];
        matches!(self.status, 400 | 403 | 422)
            && (CODES.iter().any(|code| self.says(code)) || WORDS.iter().any(|words| self.message.contains(words)))
    }

    /// In its type or in its code.
    fn says(&self, word: &str) -> bool {
        self.kind == word || self.code.as_deref() == Some(word)
    }

    /// What the error means for the request and for the provider.
    pub fn class(&self) -> FailureClass {
        const SPENT: [&str; 5] = [
            "insufficient_quota",
            "billing_error",
            "enforced_spend_limit_reached",
            "billing_not_active",
            "credit_balance_too_low",
        ];
        let says = |word: &str| self.says(word);
        match self.status {
            402 => FailureClass::SpendCap,
            // Anthropic has no status for an empty purse: it says so in words.
            400 if self.message.contains("credit balance is too low") => FailureClass::SpendCap,
            429 if SPENT.into_iter().any(says) => FailureClass::SpendCap,
            403 if self.is_content_refusal() => FailureClass::ClientFault,
            401 | 403 => FailureClass::Credential,
            429 => FailureClass::Quota,
            503 | 529 => FailureClass::Overload,
            408 | 409 => FailureClass::ProviderFault,
            400..=499 => FailureClass::ClientFault,
            _ if says("overloaded_error") => FailureClass::Overload,
            _ => FailureClass::ProviderFault,
        }
    }
}

/// Why an attempt failed: the rows of the one table that decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The request is at fault; it would fail everywhere.
    ClientFault,
    /// The gateway's own key was refused.
    Credential,
    /// Too many requests or tokens for this key.
    Quota,
    /// The money is spent.
    SpendCap,
    ProviderFault,
    Overload,
    /// No connection, or it broke before the request was sent.
    Transport,
    /// The request was sent and no answer came: it may have been billed.
    Ambiguous,
    /// No first content in time.
    Timeout,
    /// An answer that breaks its dialect's rules or ends before its end.
    BadAnswer,
}

impl FailureClass {
    pub const ALL: [FailureClass; 10] = [
        FailureClass::ClientFault,
        FailureClass::Credential,
        FailureClass::Quota,
        FailureClass::SpendCap,
        FailureClass::ProviderFault,
        FailureClass::Overload,
        FailureClass::Transport,
        FailureClass::Ambiguous,
        FailureClass::Timeout,
        FailureClass::BadAnswer,
    ];

    pub fn name(self) -> &'static str {
        match self {
            FailureClass::ClientFault => "client_fault",
            FailureClass::Credential => "credential",
            FailureClass::Quota => "quota",
            FailureClass::SpendCap => "spend_cap",
            FailureClass::ProviderFault => "provider_fault",
            FailureClass::Overload => "overload",
            FailureClass::Transport => "transport",
            FailureClass::Ambiguous => "ambiguous",
            FailureClass::Timeout => "timeout",
            FailureClass::BadAnswer => "bad_answer",
        }
    }

    /// May the same target be tried once more, after a pause?
    pub fn same_target(self) -> bool {
        match self {
            FailureClass::ProviderFault
            | FailureClass::Overload
            | FailureClass::Transport
            | FailureClass::Ambiguous
            | FailureClass::BadAnswer => true,
            FailureClass::ClientFault
            | FailureClass::Credential
            | FailureClass::Quota
            | FailureClass::SpendCap
            | FailureClass::Timeout => false,
        }
    }

    /// Does it concern the credential, so that the same target may be asked with another one?
    pub fn other_credential(self) -> bool {
        matches!(self, FailureClass::Credential | FailureClass::Quota | FailureClass::SpendCap)
    }

    /// May the provider charge for it all the same? It had the request, and did not say that it refused it.
    pub fn may_be_billed(self) -> bool {
        matches!(self, FailureClass::Ambiguous | FailureClass::Timeout | FailureClass::BadAnswer)
    }

    /// May another target be tried?
    pub fn other_target(self) -> bool {
        self != FailureClass::ClientFault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(status: u16, kind: &str, code: Option<&str>) -> UpstreamError {
        UpstreamError { status, kind: kind.into(), code: code.map(Into::into), message: String::new(), param: None }
    }

    #[test]
    fn every_status_has_a_class_and_client_faults_stay_here() {
        for status in 0..=u16::MAX {
            let class = upstream(status, "", None).class();
            assert_eq!(class.other_target(), class != FailureClass::ClientFault);
        }
        for status in [400, 404, 413, 422] {
            assert_eq!(upstream(status, "", None).class(), FailureClass::ClientFault);
        }
    }

    #[test]
    fn a_spent_budget_is_not_a_rate_limit() {
        assert_eq!(upstream(429, "insufficient_quota", None).class(), FailureClass::SpendCap);
        assert_eq!(
            upstream(429, "rate_limit_error", Some("enforced_spend_limit_reached")).class(),
            FailureClass::SpendCap
        );
        assert_eq!(upstream(429, "rate_limit_error", None).class(), FailureClass::Quota);
        assert_eq!(upstream(200, "overloaded_error", None).class(), FailureClass::Overload);
        let message = "Your credit balance is too low to access the Anthropic API.".to_owned();
        let broke = UpstreamError { message, ..upstream(400, "invalid_request_error", None) };
        assert_eq!(broke.class(), FailureClass::SpendCap);
    }

    #[test]
    fn too_long_and_unwanted_requests_are_told_apart() {
        let long = upstream(400, "invalid_request_error", Some("context_length_exceeded"));
        assert!(long.is_context_overflow() && !long.is_content_refusal());
        let message = "prompt is too long: 212345 tokens > 200000 maximum".to_owned();
        assert!(UpstreamError { message, ..upstream(400, "invalid_request_error", None) }.is_context_overflow());
        let unwanted = upstream(400, "invalid_request_error", Some("content_filter"));
        assert!(unwanted.is_content_refusal() && !unwanted.is_context_overflow());
        assert_eq!(
            upstream(403, "", Some("content_filter")).class(),
            FailureClass::ClientFault,
            "no fault of the key's"
        );
        assert!(!upstream(429, "", Some("context_length_exceeded")).is_context_overflow());
    }
}
