//! Anthropic: messages, token counting and the model list, with its headers and error bodies.

mod request;
mod response;
mod rules;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::{self, Answer};
use crate::fault::Refusal;
use crate::prompt_cache::Cached;
use crate::reply::{Context, Rejection, Reply, rfc3339};
use crate::script::Phrases;
use crate::tokens::Usage;
use crate::{ids, tokens};

/// What a request's tokens are counted from.
const PROMPT: [&str; 3] = ["system", "messages", "tools"];

/// Answers POST /v1/messages.
pub(crate) fn messages(
    body: &Value,
    version: &str,
    cached: impl FnOnce() -> Cached,
    mut context: Context<'_>,
) -> Result<Reply, Rejection> {
    let request = request::read(body, version, context.config.strict_fields)?;
    let omit = context.fault.map(|fault| fault.omit).unwrap_or_default();
    let huge = context.fault.and_then(|fault| fault.huge_event);
    let answer = match huge {
        Some(bytes) => Answer::filler(bytes),
        None => answer::answer(&request.ask, context.config, context.seed),
    };
    let cached = cached();
    let usage = Usage {
        input: tokens::of_fields(body, &PROMPT),
        cache_read: cached.read,
        cache_write: cached.written,
        output: answer.output_tokens(),
        reasoning: answer.reasoning_tokens(),
    };
    let message = response::Message {
        id: ids::message(&mut context.id_rng),
        model: request.model,
        answer: &answer,
        hide_thinking: request.hide_thinking,
        usage: &usage,
        for_an_hour: cached.for_an_hour,
        omit,
    };
    let chunks = if huge.is_some() { Some(1) } else { context.config.chunks };
    let mut reply = if request.stream {
        Reply::stream(message.events(chunks, &mut context.text_rng, &mut context.id_rng))
    } else {
        Reply::json(StatusCode::OK, message.whole(&mut context.id_rng))
    };
    reply.usage = Some(usage).filter(|_| !omit.usage);
    Ok(rate_limit_headers(reply, context.now))
}

/// Answers POST /v1/messages/count_tokens.
pub(crate) fn count_tokens(body: &Value, version: &str) -> Result<Reply, Rejection> {
    request::check_prompt(body, version)?;
    Ok(Reply::json(StatusCode::OK, json!({"input_tokens": tokens::of_fields(body, &PROMPT)}).to_string()))
}

/// The models that the list shows; any other name is answered as well.
const MODELS: &[(&str, &str)] = &[
    ("claude-sim", "Claude Sim"),
    ("claude-sim-mini", "Claude Sim Mini"),
    ("claude-sim-thinking", "Claude Sim Thinking"),
];

fn model_value(id: &str, name: &str) -> Value {
    json!({"type": "model", "id": id, "display_name": name, "created_at": "2026-01-01T00:00:00Z"})
}

/// GET /v1/models, always in one page.
pub(crate) fn models() -> Reply {
    let data: Vec<Value> = MODELS.iter().map(|(id, name)| model_value(id, name)).collect();
    let ends = (MODELS.first().map(|(id, _)| id), MODELS.last().map(|(id, _)| id));
    let list = json!({"data": data, "has_more": false, "first_id": ends.0, "last_id": ends.1});
    Reply::json(StatusCode::OK, list.to_string())
}

/// GET /v1/models/{id}.
pub(crate) fn model(id: &str) -> Result<Reply, Rejection> {
    let (id, name) = MODELS.iter().find(|(known, _)| *known == id).ok_or_else(|| unknown_model(id))?;
    Ok(Reply::json(StatusCode::OK, model_value(id, name).to_string()))
}

/// The key, or why there is none: from `x-api-key`, or as a bearer token, as the vendor's newer SDKs send it.
pub(crate) fn authenticate(headers: &HeaderMap) -> Result<&str, Rejection> {
    let unauthorized = |message: &str| Err(Rejection::new(StatusCode::UNAUTHORIZED, "authentication_error", message));
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let bearer = || text(AUTHORIZATION.as_str())?.strip_prefix("Bearer ").map(str::trim);
    let key = match (text("x-api-key"), bearer()) {
        (Some(key), _) if key.starts_with("sk-invalid") => return unauthorized("invalid x-api-key"),
        (None, Some(key)) if key.starts_with("sk-invalid") => return unauthorized("Invalid bearer token"),
        (Some(key), _) | (None, Some(key)) if !key.is_empty() => key,
        _ => return unauthorized("x-api-key header is required"),
    };
    if version(headers).is_empty() {
        return Err(Rejection::invalid("anthropic-version: header is required"));
    }
    Ok(key)
}

/// A date such as `2023-06-01`; empty when it is missing.
pub(crate) fn version(headers: &HeaderMap) -> &str {
    headers.get("anthropic-version").and_then(|value| value.to_str().ok()).unwrap_or("")
}

pub(crate) fn invalid_json(error: &serde_json::Error) -> Rejection {
    Rejection::invalid(format!(
        "The request body is not valid JSON: unexpected character: line {} column {} (char {})",
        error.line(),
        error.column(),
        error.column().saturating_sub(1)
    ))
}

pub(crate) fn unknown_model(model: &str) -> Rejection {
    Rejection::new(StatusCode::NOT_FOUND, "not_found_error", format!("model: {model}"))
}

pub(crate) fn unknown_url() -> Rejection {
    Rejection::new(StatusCode::NOT_FOUND, "not_found_error", "Not Found")
}

pub(crate) fn wrong_method() -> Rejection {
    Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", "Method Not Allowed")
}

pub(crate) fn too_large() -> Rejection {
    let message = "Request exceeds the maximum size";
    Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
}

/// The vendor's answer with the status that a fault asks for.
pub(crate) fn refusal(refusal: &Refusal) -> Rejection {
    if refusal.spend_cap {
        let low = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or \
                   purchase credits.";
        let cap =
            "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.";
        let status = refusal.status.unwrap_or(StatusCode::BAD_REQUEST);
        let (kind, message) = match status.as_u16() {
            402 => ("billing_error", low),
            429 => ("rate_limit_error", cap),
            _ => ("invalid_request_error", low),
        };
        return Rejection::new(status, kind, message);
    }
    let status = refusal.status.unwrap_or(StatusCode::TOO_MANY_REQUESTS);
    let (kind, message) = match status.as_u16() {
        401 => ("authentication_error", "invalid x-api-key"),
        402 => ("billing_error", "There is a problem with your billing or payment information."),
        403 => ("permission_error", "Your API key does not have permission to use the specified resource."),
        404 => ("not_found_error", "model: claude-sim"),
        413 => ("request_too_large", "Request exceeds the maximum size"),
        429 => (
            "rate_limit_error",
            "This request would exceed the rate limit for your organization of 200,000 input tokens per minute.",
        ),
        504 => ("timeout_error", "Request timed out"),
        529 | 503 => ("overloaded_error", "Overloaded"),
        500.. => ("api_error", "Internal server error"),
        _ => ("invalid_request_error", "Invalid request"),
    };
    Rejection::new(status, kind, message)
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    r#type: &'static str,
    error: ErrorDetail<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct ErrorDetail<'a> {
    r#type: &'a str,
    message: &'a str,
}

fn error_json(kind: &str, message: &str, request_id: &str) -> String {
    let error = ErrorDetail { r#type: kind, message };
    serde_json::to_string(&ErrorBody { r#type: "error", error, request_id }).unwrap_or_default()
}

pub(crate) fn error_reply(rejection: &Rejection, request_id: &str) -> Reply {
    let reply = Reply::json(rejection.status, error_json(rejection.kind, &rejection.message, request_id));
    let again = matches!(rejection.status.as_u16(), 408 | 409 | 429 | 500..);
    reply.header("x-should-retry", if again { "true" } else { "false" }).header("vary", "Accept-Encoding")
}

/// The error of a fault inside an answer with status 200.
pub(crate) fn error_in_200(kind: Option<&str>, request_id: &str) -> String {
    let kind = kind.unwrap_or("overloaded_error");
    let message = match kind {
        "overloaded_error" => "Overloaded",
        "rate_limit_error" => "This request would exceed your organization's rate limit. Please try again later.",
        _ => "Internal server error",
    };
    error_json(kind, message, request_id)
}

pub(crate) fn phrases(error_type: Option<&str>, request_id: &str) -> Phrases {
    Phrases {
        ping: "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        garbage: "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_del\n\n",
        error: format!("event: error\ndata: {}\n\n", error_in_200(error_type, request_id)),
    }
}

fn rate_limit_headers(mut reply: Reply, now: u64) -> Reply {
    const FIGURES: [(&str, &str); 8] = [
        ("anthropic-ratelimit-input-tokens-limit", "4000000"),
        ("anthropic-ratelimit-input-tokens-remaining", "4000000"),
        ("anthropic-ratelimit-output-tokens-limit", "800000"),
        ("anthropic-ratelimit-output-tokens-remaining", "800000"),
        ("anthropic-ratelimit-requests-limit", "4000"),
        ("anthropic-ratelimit-requests-remaining", "3999"),
        ("anthropic-ratelimit-tokens-limit", "4800000"),
        ("anthropic-ratelimit-tokens-remaining", "4800000"),
    ];
    const RESETS: [&str; 4] = [
        "anthropic-ratelimit-input-tokens-reset",
        "anthropic-ratelimit-output-tokens-reset",
        "anthropic-ratelimit-requests-reset",
        "anthropic-ratelimit-tokens-reset",
    ];
    for (name, figure) in FIGURES {
        reply.headers.insert(name, HeaderValue::from_static(figure));
    }
    let reset = rfc3339(now);
    for name in RESETS {
        reply.headers.insert(name, reset.clone());
    }
    reply
}

/// Every Anthropic answer has these.
pub(crate) fn with_request_id(reply: Reply, request_id: &str) -> Reply {
    reply
        .header_text("request-id", request_id)
        .header("anthropic-organization-id", "00000000-0000-4000-8000-000000000000")
}
