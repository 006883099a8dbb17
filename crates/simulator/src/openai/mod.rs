//! OpenAI: chat completions and the model list, with its headers and error bodies.

mod request;
mod response;

pub(crate) use request::model as model_of;

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::{self, Answer};
use crate::fault::Refusal;
use crate::reply::{Context, Rejection, Reply};
use crate::script::Phrases;
use crate::tokens;
use crate::tokens::Usage;

const KEYS_PAGE: &str = "https://platform.openai.com/account/api-keys";
pub(crate) const SERVER_ERROR: &str = "The server had an error while processing your request. Sorry about that!";
const QUOTA: &str = "You exceeded your current quota, please check your plan and billing details. For more information on \
                     this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.";

/// Answers POST /v1/chat/completions.
pub(crate) fn chat(body: &Value, mut context: Context<'_>) -> Result<Reply, Rejection> {
    let request = request::read(body, context.config.strict_fields)?;
    let omit = context.fault.map(|fault| fault.omit).unwrap_or_default();
    let huge = context.fault.and_then(|fault| fault.huge_event);
    // One huge event is enough.
    let n = if huge.is_some() { 1 } else { request.n };
    let answers: Vec<Answer> = (0..n)
        .map(|_| match huge {
            Some(bytes) => Answer::filler(bytes),
            None => answer::answer(&request.ask, context.config, context.seed),
        })
        .collect();
    let usage = Usage {
        input: tokens::of_fields(body, &["messages", "tools", "functions", "response_format"]),
        output: answers.iter().map(Answer::output_tokens).sum(),
        reasoning: answers.iter().map(Answer::reasoning_tokens).sum(),
        ..Usage::default()
    };
    let chunks = if huge.is_some() { Some(1) } else { context.config.chunks };
    let head = response::Head::new(&request, context.now, &mut context.id_rng);
    let mut reply = if request.stream {
        Reply::stream(response::events(&head, &answers, &usage, omit, chunks, &mut context))
    } else {
        Reply::json(StatusCode::OK, response::whole(&head, &answers, &usage, omit, &mut context.id_rng))
    };
    reply.usage = Some(usage).filter(|_| !omit.usage);
    Ok(success_headers(reply))
}

/// The model list; GET /v1/models.
pub(crate) fn models() -> Reply {
    let model = |id: &str| json!({"id": id, "object": "model", "created": 1_767_225_600, "owned_by": "simulator"});
    let models: Vec<Value> = MODELS.iter().map(|id| model(id)).collect();
    success_headers(Reply::json(StatusCode::OK, pretty(&json!({"object": "list", "data": models}))))
}

/// One model; GET /v1/models/{id}.
pub(crate) fn model(id: &str) -> Result<Reply, Rejection> {
    if !MODELS.contains(&id) {
        return Err(unknown_model(id));
    }
    let model = json!({"id": id, "object": "model", "created": 1_767_225_600, "owned_by": "simulator"});
    Ok(success_headers(Reply::json(StatusCode::OK, pretty(&model))))
}

/// The models that the list shows; any other name is answered as well.
const MODELS: &[&str] = &["gpt-sim", "gpt-sim-mini", "o-sim", "text-embedding-sim"];

/// The key, or why there is none.
pub(crate) fn authenticate(headers: &HeaderMap) -> Result<&str, Rejection> {
    let unauthorized = |message| Rejection::new(StatusCode::UNAUTHORIZED, "invalid_request_error", message);
    let key = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match key.map(str::trim).filter(|key| !key.is_empty()) {
        Some(key) if key.starts_with("sk-invalid") => {
            let shown =
                if key.len() > 12 { format!("{}****{}", &key[..8], &key[key.len() - 4..]) } else { key.to_owned() };
            Err(unauthorized(format!("Incorrect API key provided: {shown}. You can find your API key at {KEYS_PAGE}."))
                .code("invalid_api_key"))
        }
        Some(key) => Ok(key),
        None => Err(unauthorized(format!(
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth \
             (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the \
             API from your browser and are prompted for a username and password. You can obtain an API key from {KEYS_PAGE}."
        ))),
    }
}

pub(crate) fn invalid_json() -> Rejection {
    Rejection::invalid(
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library \
         correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble figuring \
         out how to fix this, please contact us through our help center at help.openai.com.)",
    )
}

pub(crate) fn unknown_model(model: &str) -> Rejection {
    let message = format!("The model `{model}` does not exist or you do not have access to it.");
    Rejection::new(StatusCode::NOT_FOUND, "invalid_request_error", message).code("model_not_found")
}

pub(crate) fn unknown_url(method: &http::Method, path: &str) -> Rejection {
    Rejection::new(StatusCode::NOT_FOUND, "invalid_request_error", format!("Invalid URL ({method} {path})"))
}

pub(crate) fn wrong_method(method: &http::Method, path: &str) -> Rejection {
    let message = format!("Not allowed to {method} on {path}.");
    Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message).code("method_not_supported")
}

pub(crate) fn too_large(limit: usize) -> Rejection {
    let message = format!("Maximum content size limit ({limit}) exceeded");
    Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, "server_error", message)
}

/// The vendor's answer with the status that a fault asks for.
pub(crate) fn refusal(refusal: &Refusal) -> Rejection {
    let default = StatusCode::TOO_MANY_REQUESTS;
    let status = refusal.status.unwrap_or(default);
    if refusal.spend_cap {
        return Rejection::new(status, "insufficient_quota", QUOTA).code("insufficient_quota");
    }
    let (kind, code, message) = match status.as_u16() {
        400 => ("invalid_request_error", None, "Invalid request."),
        401 => ("invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided: sk-s****ator."),
        403 => (
            "request_forbidden",
            Some("unsupported_country_region_territory"),
            "Country, region, or territory not supported",
        ),
        404 => (
            "invalid_request_error",
            Some("model_not_found"),
            "The model does not exist or you do not have access to it.",
        ),
        429 => (
            "requests",
            Some("rate_limit_exceeded"),
            "Rate limit reached for gpt-sim in organization org-simulator on requests per min (RPM): Limit 500, Used 500, \
             Requested 1. Please try again in 120ms. Visit https://platform.openai.com/account/rate-limits to learn more.",
        ),
        503 => (
            "server_error",
            None,
            "That model is currently overloaded with other requests. You can retry your request.",
        ),
        500.. => ("server_error", None, SERVER_ERROR),
        _ => ("invalid_request_error", None, "The request was refused."),
    };
    Rejection { code, ..Rejection::new(status, kind, message) }
}

/// The error body, as OpenAI indents it.
pub(crate) fn error_body(rejection: &Rejection) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        error: Error<'a>,
    }
    #[derive(Serialize)]
    struct Error<'a> {
        message: &'a str,
        r#type: &'a str,
        param: Option<&'a str>,
        code: Option<&'a str>,
    }
    pretty(&Body {
        error: Error {
            message: &rejection.message,
            r#type: rejection.kind,
            param: rejection.param.as_deref(),
            code: rejection.code,
        },
    })
}

pub(crate) fn error_reply(rejection: &Rejection) -> Reply {
    let reply = Reply::json(rejection.status, error_body(rejection));
    match rejection.status.as_u16() {
        // Refused at the door, before any organisation is known.
        401 | 404 | 405 => reply.header("content-type", "application/json; charset=utf-8").header("vary", "Origin"),
        _ => success_headers(reply),
    }
}

/// The error of a fault inside an answer with status 200.
pub(crate) fn error_in_200(kind: Option<&str>) -> String {
    let kind = kind.unwrap_or("server_error");
    json!({"error": {"message": SERVER_ERROR, "type": kind, "param": null, "code": null}}).to_string()
}

pub(crate) fn phrases(error_type: Option<&str>) -> Phrases {
    Phrases {
        ping: ": keep-alive\n\n",
        garbage: "data: {\"id\":\"chatcmpl-broken\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"cont\n\n",
        error: format!("data: {}\n\n", error_in_200(error_type)),
    }
}

pub(crate) fn success_headers(reply: Reply) -> Reply {
    reply
        .header("openai-organization", "org-simulator")
        .header("openai-processing-ms", "1")
        .header("openai-version", "2020-10-01")
        .header("x-ratelimit-limit-requests", "10000")
        .header("x-ratelimit-limit-tokens", "2000000")
        .header("x-ratelimit-remaining-requests", "9999")
        .header("x-ratelimit-remaining-tokens", "1999950")
        .header("x-ratelimit-reset-requests", "6ms")
        .header("x-ratelimit-reset-tokens", "1ms")
}

/// JSON with two spaces of indentation and a newline at the end.
pub(crate) fn pretty(value: &impl Serialize) -> Vec<u8> {
    // Only maps with keys that are no strings can fail, and there are none.
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}
