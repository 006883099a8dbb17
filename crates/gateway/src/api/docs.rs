//! Documentation, served from the binary: an OpenAPI document made from the table of routes and from the types that are
//! written to clients, and a page that shows it and tries it out.

mod admin;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use gateway_core::dialect::Dialect;
use gateway_core::error::ErrorKind;
use gateway_core::target::Strategy;
use gateway_dialects::native::fields;
use http::{HeaderValue, StatusCode, header};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::access::Right;
use crate::api::about::{GatewayHealth, Providers, Readiness};
use crate::api::cache::{self, CacheCleared, CacheStats, Feedback, FeedbackTaken};
use crate::api::egress::Reply;
use crate::api::routes::{Action, ROUTES, Row};
use crate::gateway::VERSION;
use crate::providers::health::Health;
use crate::telemetry::explain::Explanation;

/// A file of the page.
#[derive(Debug, PartialEq, Eq)]
pub struct Asset {
    content_type: &'static str,
    text: &'static str,
}

pub static PAGE: Asset = Asset { content_type: "text/html; charset=utf-8", text: include_str!("docs/page.html") };
pub static SCRIPT: Asset = Asset { content_type: "text/javascript; charset=utf-8", text: include_str!("docs/page.js") };
pub static STYLE: Asset = Asset { content_type: "text/css; charset=utf-8", text: include_str!("docs/page.css") };

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

pub fn asset(asset: &'static Asset) -> Reply {
    let mut reply = Reply::of(StatusCode::OK, asset.content_type, asset.text);
    reply.headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    reply.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply.headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // A newer version of the program has a newer page.
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

/// OpenAPI 3.1.
pub fn openapi() -> Reply {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));
    Reply::of(StatusCode::OK, "application/json", DOCUMENT.clone())
}

/// Request headers of the routes that answer a conversation.
const REQUEST_HEADERS: &[(&str, &str)] = &[
    ("x-gateway-provider", "A provider to try first; the others follow."),
    ("x-gateway-prefer", "Providers to try first, in this order: `a, b`."),
    ("x-gateway-exclude", "Providers not to try: `a, b`."),
    ("x-gateway-strategy", "How candidates are put in order: `fallback` or `cost`."),
    ("x-gateway-timeout-ms", "The time that a whole answer or the first content of a stream may take: 1 to 3600000."),
    ("x-gateway-user", "Who asks, in your own words, for the log."),
    (
        "x-gateway-cache",
        "`skip`: neither take the answer from the cache nor keep it there; `refresh`: ask anew, and keep the answer; \
         `only-if-cached`: ask nobody, and answer 504 if the cache has no answer. `Cache-Control` says the same with `no-store`, \
         `no-cache` and `only-if-cached`.",
    ),
    (
        "x-gateway-coalesce",
        "`true`: a whole answer may be that of another request which asks the same at the same time, whatever the temperature.",
    ),
    ("x-gateway-explain", "`true`: say in `x-gateway-explanation` why the answer came about as it did."),
    (
        "x-correlation-id",
        "Your own id of the request, for the log; it comes back. Also `x-request-id`, `x-client-request-id`.",
    ),
];

/// Response headers: on which answers, name, meaning.
pub const RESPONSE_HEADERS: &[(On, &str, &str)] = &[
    (On::All, "x-request-id", "The gateway's own id of the request."),
    (On::Anthropic, "request-id", "The same id, where the Anthropic SDK looks for it."),
    (On::All, "x-correlation-id", "The id that the client gave, if it did."),
    (On::All, "x-response-time", "From the arrival of the request to these headers: `12.345ms`."),
    (On::Completion, "x-gateway-overhead-ms", "The gateway's own share of it."),
    (On::Completion, "x-gateway-provider", "The provider that answered, or that was tried last."),
    (On::Completion, "x-gateway-model", "The model, as that provider names it."),
    (On::Completion, "x-gateway-attempts", "How many requests to providers this took."),
    (On::Completion, "x-gateway-upstream-request-id", "The provider's own id of the request."),
    (On::Completion, "x-gateway-cost-usd", "US dollars; on whole answers whose price is known."),
    (
        On::Completion,
        "x-gateway-cache",
        "`hit`: the answer comes from the cache; `coalesced`: from another request that asked the same at the same time; `miss`, \
         `refresh`, `bypass`: from a provider. Left out where there is no cache.",
    ),
    (
        On::Completion,
        "x-gateway-cache-type",
        "Of hits: `exact`, `canonical` (but for spelling) or `semantic` (in other words).",
    ),
    (On::Completion, "x-gateway-cache-similarity", "Of hits: how sure it is that the answer serves, from 0 to 1."),
    (On::Completion, "age", "Of hits: seconds since the answer was given."),
    (
        On::Completion,
        "x-gateway-dropped",
        "Fields that the provider's API has no word for, which it was not told: `field, field`.",
    ),
    (
        On::Completion,
        "x-gateway-added",
        "Fields that the provider's API demands and the client did not send; `usage`, `input_tokens`: the gateway's estimate.",
    ),
    (
        On::Completion,
        "x-gateway-explanation",
        "Why the answer came about as it did, as far as it is known when the headers leave; if `x-gateway-explain: true` was sent.",
    ),
    (
        On::Completion,
        "x-ratelimit-limit-requests",
        "Requests that the caller may make in a minute; where it is limited.",
    ),
    (On::Completion, "x-ratelimit-remaining-requests", "How many of them are left, at the limit with the fewest."),
    (On::Completion, "x-ratelimit-reset-requests", "When all of them will be back: `1s`, `6m0s`."),
    (On::Completion, "x-ratelimit-limit-tokens", "Tokens, input and output, that the caller may use in a minute."),
    (
        On::Completion,
        "x-ratelimit-remaining-tokens",
        "How many are left, less those that this request will probably need.",
    ),
    (On::Completion, "x-ratelimit-reset-tokens", "When all of them will be back."),
    (On::Anthropic, "anthropic-ratelimit-requests-limit", "As `x-ratelimit-limit-requests`."),
    (On::Anthropic, "anthropic-ratelimit-requests-remaining", "As `x-ratelimit-remaining-requests`."),
    (On::Anthropic, "anthropic-ratelimit-requests-reset", "As `x-ratelimit-reset-requests`: RFC 3339."),
    (On::Anthropic, "anthropic-ratelimit-tokens-limit", "As `x-ratelimit-limit-tokens`."),
    (On::Anthropic, "anthropic-ratelimit-tokens-remaining", "As `x-ratelimit-remaining-tokens`."),
    (On::Anthropic, "anthropic-ratelimit-tokens-reset", "As `x-ratelimit-reset-tokens`: RFC 3339."),
    (On::All, "x-gateway-sandbox", "`true`: the providers are simulated."),
    (
        On::Error,
        "x-should-retry",
        "`false`: providers were tried as often as it makes sense. The official SDKs obey it.",
    ),
    (On::Error, "retry-after", "Whole seconds; on 429 and 503."),
    (On::Error, "retry-after-ms", "The same in milliseconds."),
];

/// Where a response header may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    All,
    Anthropic,
    Completion,
    Error,
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn headers(of: &[On]) -> Value {
    let named = RESPONSE_HEADERS.iter().filter(|(on, ..)| of.contains(on));
    named.map(|(_, name, _)| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")}))).collect()
}

fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    let mut schemas = fields::schemas(&mut generator).unwrap_or_default();
    for dialect in [Dialect::Native, Dialect::OpenAiChat, Dialect::AnthropicMessages] {
        schemas.insert(error_name(dialect), error_schema(dialect));
    }
    let mut paths: Map<String, Value> = Map::new();
    for row in ROUTES.iter().filter(|row| !is_part_of_page(row)) {
        let operation = operation(row, &mut generator);
        let methods = paths.entry(row.path).or_insert_with(|| json!({}));
        methods[row.method.as_str().to_ascii_lowercase()] = operation;
    }
    schemas.extend(generator.take_definitions(true));
    schemas.extend(admin::schemas());
    let parameters: Map<String, Value> = REQUEST_HEADERS.iter().map(|(name, about)| parameter(name, about)).collect();
    let headers: Map<String, Value> = RESPONSE_HEADERS
        .iter()
        .map(|(_, name, about)| ((*name).to_owned(), json!({"description": about, "schema": {"type": "string"}})))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {"title": "llm-gateway", "version": VERSION, "summary": "One address for many LLM providers", "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": TAGS.iter().map(|(name, about)| json!({"name": name, "description": about})).collect::<Value>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": parameters,
            "headers": headers,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    })
}

const ABOUT: &str = "**Keys.** While the gateway has no keys of its own, callers need none: what they send as one is ignored. Where it has \
some, callers show theirs as `Authorization: Bearer KEY`, or as `x-api-key`, `api-key` or `x-goog-api-key`, and the first of these \
counts. It is never passed on. What concerns the operator wants the admin key, except what only tells, and is asked from the \
gateway's own machine. On a loopback address requests are refused whose `Host` or `Origin` is another machine's.\n\nRoutes marked \"not built yet\" answer 404 and say so.";

const TAGS: [(&str, &str); 6] = [
    ("Native API", "The gateway's own API: any provider, one shape."),
    ("OpenAI", "What OpenAI's SDKs speak; also under `/openai`. Any provider can answer."),
    ("Anthropic", "What Anthropic's SDKs speak; also under `/anthropic`. Any provider can answer."),
    ("Providers and health", "None of these calls a provider."),
    ("Cache", "Answers that are kept for whoever asks the same."),
    ("Operator", "Keys and teams in the database. There with `GATEWAY_ADMIN_KEY` alone, and for whoever shows it."),
];

fn is_part_of_page(row: &Row) -> bool {
    matches!(row.action, Action::Asset(asset) if *asset != PAGE)
}

fn parameter(name: &str, about: &str) -> (String, Value) {
    let mut schema = json!({"type": "string"});
    match name {
        "x-gateway-strategy" => schema["enum"] = Strategy::ALL.map(Strategy::name).to_vec().into(),
        "x-gateway-cache" => schema["enum"] = json!(["skip", "refresh", "only-if-cached"]),
        "x-gateway-coalesce" | "x-gateway-explain" => schema = json!({"type": "string", "enum": ["true", "false"]}),
        "x-gateway-timeout-ms" => schema = json!({"type": "integer", "minimum": 1, "maximum": 3_600_000}),
        _ => {}
    }
    (name.to_owned(), json!({"name": name, "in": "header", "description": about, "schema": schema}))
}

fn query_parameter(name: &str, about: &str) -> Value {
    let schema = match name {
        "dry_run" => json!({"type": "boolean"}),
        "older_than_seconds" => json!({"type": "number", "minimum": 0}),
        "id" => json!({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
        _ => json!({"type": "string"}),
    };
    json!({"name": name, "in": "query", "description": about, "schema": schema})
}

fn operation(row: &Row, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": operation_id(row),
        "summary": row.summary,
        "tags": [tag(row)],
        "responses": {"200": success(row.action, generator)},
    });
    let parameters = match row.action {
        Action::Complete { .. } | Action::CountTokens => {
            REQUEST_HEADERS.iter().map(|(name, _)| json!({"$ref": format!("#/components/parameters/{name}")})).collect()
        }
        _ => path_parameters(row.path),
    };
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(prefix) = prefix(row.path) {
        operation["servers"] = json!([{"url": "/"}, {"url": prefix}]);
    }
    operation["security"] = security(row.right);
    let dialect = crate::api::routes::dialect_of(row.path);
    let mut kinds = refusals(row.right).to_vec();
    match row.action {
        Action::Complete { dialect, .. } => {
            operation["requestBody"] = request_body(dialect);
            if let Some(url) = official(dialect) {
                operation["externalDocs"] = json!({"url": url});
            }
            kinds.extend(MADE);
            operation["responses"]["default"] =
                error_response(dialect, "A provider's error, with the provider's status.");
        }
        Action::CountTokens => {
            operation["requestBody"] = request_body(Dialect::AnthropicMessages);
            operation["externalDocs"] = json!({"url": "https://docs.anthropic.com/en/api/messages-count-tokens"});
            kinds.extend(MADE);
            operation["responses"]["default"] =
                error_response(Dialect::AnthropicMessages, "A provider's error, with the provider's status.");
        }
        Action::Admin(wanted) => {
            admin::describe(wanted, &mut operation, generator);
            kinds.extend([ErrorKind::InvalidRequest, ErrorKind::PayloadTooLarge, ErrorKind::Overloaded]);
        }
        Action::ShowModel => kinds.push(ErrorKind::ModelNotFound),
        Action::ProviderHealth | Action::ExplainRequest => kinds.push(ErrorKind::NotFound),
        Action::Health => {
            operation["responses"]["503"] = success(row.action, generator);
            operation["responses"]["503"]["description"] = "No provider is well.".into();
        }
        Action::Ready => {
            operation["responses"]["503"] = plain("The gateway is shutting down.", json!({"status": "draining"}));
        }
        Action::CacheClear => {
            operation["parameters"] =
                cache::PARAMETERS.map(|(name, about)| query_parameter(name, about)).to_vec().into();
            kinds.push(ErrorKind::InvalidRequest);
        }
        Action::CacheFeedback => {
            let schema = generator.subschema_for::<Feedback>();
            operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
            kinds.extend([ErrorKind::InvalidRequest, ErrorKind::PayloadTooLarge, ErrorKind::NotFound]);
        }
        Action::NotBuilt { .. } => {
            operation["responses"] = json!({});
            operation["x-not-built"] = true.into();
            kinds.push(ErrorKind::NotFound);
        }
        _ => {}
    }
    errors(&mut operation, dialect, &kinds);
    operation
}

/// Ways to show a key, of which the empty one is none.
fn security(right: Right) -> Value {
    match right {
        Right::Open => json!([]),
        Right::Outline | Right::Use | Right::Observe => json!([{"bearer": []}, {"x-api-key": []}, {}]),
        Right::Administer => json!([{"bearer": []}, {"x-api-key": []}]),
    }
}

/// What somebody who may not is told.
fn refusals(right: Right) -> &'static [ErrorKind] {
    match right {
        Right::Open | Right::Outline => &[],
        Right::Use | Right::Observe => &[ErrorKind::Unauthorized, ErrorKind::Forbidden],
        Right::Administer => &[ErrorKind::Unauthorized, ErrorKind::Forbidden, ErrorKind::NotFound],
    }
}

/// The kinds of error that answers to a conversation may have. The others wait for what they are about.
const MADE: &[ErrorKind] = &[
    ErrorKind::InvalidRequest,
    ErrorKind::ModelNotFound,
    ErrorKind::PayloadTooLarge,
    ErrorKind::Internal,
    ErrorKind::ProviderError,
    ErrorKind::NoProvider,
    ErrorKind::Timeout,
];

fn operation_id(row: &Row) -> String {
    let words = row.name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_")
}

fn tag(row: &Row) -> &'static str {
    let [native, openai, anthropic, providers, cache, operator] = TAGS.map(|(name, _)| name);
    match (row.action, crate::api::routes::dialect_of(row.path)) {
        (Action::CacheStats | Action::CacheClear | Action::CacheFeedback, _) => cache,
        _ if row.right == Right::Administer => operator,
        (_, Dialect::OpenAiChat) => openai,
        (_, Dialect::AnthropicMessages) => anthropic,
        (Action::Complete { .. } | Action::NotBuilt { .. }, Dialect::Native) => native,
        (_, Dialect::Native) => providers,
    }
}

/// The base path under which an SDK finds this route too.
fn prefix(path: &str) -> Option<&'static str> {
    match crate::api::routes::dialect_of(path) {
        Dialect::Native => None,
        Dialect::OpenAiChat => Some("/openai"),
        Dialect::AnthropicMessages => Some("/anthropic"),
    }
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    names.map(|(name, _)| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})).collect()
}

fn official(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Native => None,
        Dialect::OpenAiChat => Some("https://platform.openai.com/docs/api-reference/chat"),
        Dialect::AnthropicMessages => Some("https://docs.anthropic.com/en/api/messages"),
    }
}

fn request_body(dialect: Dialect) -> Value {
    let messages = json!([{"role": "user", "content": "What is the capital of France?"}]);
    let (schema, example) = match dialect {
        Dialect::Native => (reference("CompletionRequest"), json!({"messages": messages})),
        Dialect::OpenAiChat => {
            (free_form(&["model", "messages"]), json!({"model": "openai/gpt-5-mini", "messages": messages}))
        }
        Dialect::AnthropicMessages => (
            free_form(&["model", "messages"]),
            json!({"model": "anthropic/claude-haiku-4-5", "max_tokens": 256, "messages": messages}),
        ),
    };
    json!({"required": true, "content": {"application/json": {"schema": schema, "example": example}}})
}

/// Any body of the official API: the gateway does not whitelist fields.
fn free_form(required: &[&str]) -> Value {
    json!({
        "type": "object",
        "description": "As the official documentation defines it. A provider of the same dialect gets every field as it is, \
                        those that are unknown here included.",
        "properties": {"model": {"type": "string", "description": "An alias, `provider/model`, or a known model's own name."}},
        "required": required,
        "additionalProperties": true,
    })
}

fn plain(description: &str, example: Value) -> Value {
    json!({
        "description": description,
        "headers": headers(&[On::All]),
        "content": {"application/json": {"schema": {"type": "object"}, "example": example}},
    })
}

fn of_type<T: JsonSchema>(description: &str, generator: &mut SchemaGenerator) -> Value {
    let mut response = plain(description, Value::Null);
    response["content"]["application/json"] = json!({"schema": generator.subschema_for::<T>()});
    response
}

fn success(action: Action, generator: &mut SchemaGenerator) -> Value {
    match action {
        Action::Complete { dialect, streamed } => completed(dialect, streamed),
        Action::CountTokens => {
            let mut counted = plain(
                "The count of a provider that speaks this dialect. For others the gateway's estimate, with \
                 `x-gateway-added: input_tokens`.",
                json!({"input_tokens": 14}),
            );
            counted["headers"] = headers(&[On::All, On::Completion, On::Anthropic]);
            counted
        }
        Action::ListModels => plain(
            "Aliases, then `provider/model`. In Anthropic's shape under `/anthropic` or when `anthropic-version` is sent.",
            json!({"object": "list", "data": [{"id": "openai/gpt-5-mini", "object": "model", "created": 0, "owned_by": "openai"}]}),
        ),
        Action::ShowModel => plain(
            "One model.",
            json!({"id": "openai/gpt-5-mini", "object": "model", "created": 0, "owned_by": "openai"}),
        ),
        Action::ListProviders => of_type::<Providers>("The configured providers.", generator),
        Action::ProviderHealth => of_type::<Health>("What traffic has shown of the provider.", generator),
        Action::Health => of_type::<GatewayHealth>("Some provider is well.", generator),
        Action::ExplainRequest => of_type::<Explanation>(
            "The caller's own request, as soon as its answer has ended, for as long as it is among the latest 10,000 of its gateway, or for \
             an hour where gateways share a Redis.",
            generator,
        ),
        Action::CacheStats => of_type::<CacheStats>("Since this gateway started.", generator),
        Action::CacheClear => of_type::<CacheCleared>(
            "What went: of the caller's own answers those that fit all parameters, or of all callers' for the admin key.",
            generator,
        ),
        Action::CacheFeedback => of_type::<FeedbackTaken>("The answer is not given to that question again.", generator),
        Action::Live => plain("The process is alive.", json!({"status": "alive"})),
        Action::Ready => of_type::<Readiness>("Requests are taken.", generator),
        Action::Root => plain(
            "Name, version and where to go on.",
            json!({"name": "llm-gateway", "version": VERSION, "docs": "/docs", "health": "/health"}),
        ),
        Action::OpenApi => plain("This document.", json!({"openapi": "3.1.0"})),
        Action::Metrics => text("OpenMetrics text for Prometheus.", "application/openmetrics-text"),
        Action::Asset(_) => text("The page.", "text/html"),
        Action::NotBuilt { .. } | Action::Admin(_) => Value::Null,
    }
}

fn text(description: &str, content_type: &str) -> Value {
    json!({
        "description": description,
        "headers": headers(&[On::All]),
        "content": {content_type: {"schema": {"type": "string"}}},
    })
}

fn completed(dialect: Dialect, streamed: bool) -> Value {
    let (whole, event, last) = match dialect {
        Dialect::Native => (
            reference("Completion"),
            reference("CompletionChunk"),
            "Each event is `data: ` with a chunk, the last `data: [DONE]`.",
        ),
        Dialect::OpenAiChat => {
            (json!({"type": "object"}), json!({"type": "object"}), "As OpenAI streams, ending with `data: [DONE]`.")
        }
        Dialect::AnthropicMessages => {
            (json!({"type": "object"}), json!({"type": "object"}), "As Anthropic streams, ending with `message_stop`.")
        }
    };
    let mut content = Map::new();
    if !streamed {
        content.insert("application/json".to_owned(), json!({"schema": whole}));
    }
    let mut event = json!({"schema": event});
    event["description"] =
        format!("{last} A stream that fails ends with an error event and without its last word.").into();
    content.insert("text/event-stream".to_owned(), event);
    let description =
        if streamed { "Server-sent events." } else { "The answer; with `stream: true`, server-sent events." };
    let mut on = vec![On::All, On::Completion];
    if dialect == Dialect::AnthropicMessages {
        on.push(On::Anthropic);
    }
    json!({"description": description, "headers": headers(&on), "content": content})
}

fn error_name(dialect: Dialect) -> String {
    let name = match dialect {
        Dialect::Native => "Error",
        Dialect::OpenAiChat => "OpenAiError",
        Dialect::AnthropicMessages => "AnthropicError",
    };
    name.to_owned()
}

fn error_schema(dialect: Dialect) -> Value {
    let text = json!({"type": "string"});
    match dialect {
        Dialect::Native => json!({
            "type": "object",
            "properties": {
                "error": {"type": "string", "enum": ErrorKind::ALL.map(|kind| kind.row().code).to_vec()},
                "message": text,
                "request_id": text,
                "details": {
                    "type": "object",
                    "description": "`field`: what is at fault in the request. `problems`: all that is at fault with a key or a team. `provider_status`, `provider_type`, `provider_code`: what the provider said.",
                },
            },
            "required": ["error", "message", "request_id", "details"],
        }),
        Dialect::OpenAiChat => {
            let codes = ErrorKind::ALL.map(|kind| format!("gateway_{}", kind.row().code)).to_vec();
            json!({
                "type": "object",
                "description": "An error of a provider that speaks this dialect comes as the provider wrote it.",
                "properties": {"error": {
                    "type": "object",
                    "properties": {
                        "message": text,
                        "type": text,
                        "param": {"type": ["string", "null"]},
                        "code": {"type": ["string", "null"], "examples": codes},
                    },
                    "required": ["message", "type", "param", "code"],
                }},
                "required": ["error"],
            })
        }
        Dialect::AnthropicMessages => json!({
            "type": "object",
            "description": "An error of a provider that speaks this dialect comes as the provider wrote it.",
            "properties": {
                "type": {"type": "string", "const": "error"},
                "error": {
                    "type": "object",
                    "properties": {"type": text, "message": text},
                    "required": ["type", "message"],
                },
                "request_id": text,
            },
            "required": ["type", "error"],
        }),
    }
}

/// Adds the answers to what can go wrong, by status.
fn errors(operation: &mut Value, dialect: Dialect, kinds: &[ErrorKind]) {
    let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for row in kinds.iter().map(|kind| kind.row()) {
        let (status, name) = match dialect {
            Dialect::Native => (row.status, row.code.to_owned()),
            Dialect::OpenAiChat => (row.openai_status, format!("{} (gateway_{})", row.openai_type, row.code)),
            Dialect::AnthropicMessages => (row.anthropic_status, format!("{} ({})", row.anthropic_type, row.code)),
        };
        by_status.entry(status).or_default().push(name);
    }
    for (status, names) in by_status {
        operation["responses"][status.to_string()] = error_response(dialect, &names.join(", "));
    }
}

fn error_response(dialect: Dialect, description: &str) -> Value {
    json!({
        "description": description,
        "headers": headers(&[On::All, On::Completion, On::Error]),
        "content": {"application/json": {"schema": reference(&error_name(dialect))}},
    })
}
