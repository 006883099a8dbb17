//! One attempt: a request to one target with one credential, up to the first content of its answer.
//!
//! The commit point is here and nowhere else. An attempt is good once its answer has content; until then its client has
//! heard nothing of it, and [`crate::dispatch`] may make another.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway_core::chat::{ChatResponse, Contents, Encoded, FinishReason};
use gateway_core::dialect::Dialect;
use gateway_core::error::{ErrorKind, FailureClass, GatewayError, UpstreamError};
use gateway_core::limits::{ERROR_BODY_BYTES, RESPONSE_BODY_BYTES};
use gateway_core::target::Target;
use gateway_core::tool_names::ToolNames;
use gateway_core::usage::Usage;
use gateway_dialects::codec::{self, EncodeTarget, Glance};
use gateway_policy::pricing::Price;
use gateway_policy::resilience::{UpstreamQuota, hint};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Uri, header};
use tokio::time::error::Elapsed;

use crate::admission::Shed;
use crate::api::headers::Headers;
use crate::call::{Call, SharedCall};
use crate::config::{OnUnsupported, Quirks};
use crate::estimate;
use crate::gateway::Gateway;
use crate::providers::catalog::Facts;
use crate::providers::client::{AnswerBody, BodyError, Payload, SendError};
use crate::providers::permit::Permit;
use crate::relay::{Relay, Writer};
use crate::settle::{Outcome, Settle, shortened};

/// An answer that began well.
#[derive(Debug)]
pub enum Good {
    Whole(Whole),
    Stream(Box<Relay>),
}

/// A whole answer.
#[derive(Debug)]
pub struct Whole {
    pub target: Target,
    pub headers: Headers,
    pub body: WholeBody,
}

#[derive(Debug)]
pub enum WholeBody {
    /// The provider speaks the client's dialect: its bytes.
    Same(Bytes),
    /// To be said in the client's dialect.
    Translate(Box<ChatResponse>),
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub enum Failure {
    /// A provider's own error answer.
    Upstream(Box<Refused>),
    /// No answer, or none that can be used.
    Gateway { class: FailureClass, error: GatewayError },
}

/// An error answer: what it says, and for clients of the same dialect, as it came.
#[derive(Debug, Clone)]
pub struct Refused {
    pub target: Target,
    pub error: UpstreamError,
    pub status: u16,
    pub headers: Headers,
    pub body: Bytes,
    /// How long the provider wants to be left alone, where it says so.
    pub wait: Option<Duration>,
}

/// What an attempt tells beside its result.
#[derive(Debug, Default)]
pub struct Notes {
    /// Fields of the request that this target's API has no word for, that it says in other words, and that it demands.
    pub dropped: Vec<String>,
    pub approximated: Vec<String>,
    pub added: Vec<String>,
    pub price: Option<Price>,
    pub upstream_request_id: Option<String>,
    /// What the answer says of the provider's limits.
    pub quota: UpstreamQuota,
    /// When the provider had had its say.
    pub said: Option<Instant>,
    pub usage: Option<Usage>,
    /// The provider told none: it is the gateway's own count.
    pub usage_estimated: bool,
    pub finish: Option<FinishReason>,
    /// Of a whole answer.
    pub contents: Contents,
}

impl Failure {
    pub fn class(&self) -> FailureClass {
        match self {
            Failure::Upstream(refused) => refused.error.class(),
            Failure::Gateway { class, .. } => *class,
        }
    }

    pub fn gateway(class: FailureClass, target: &Target, text: impl Into<String>) -> Failure {
        let kind = if class == FailureClass::Timeout { ErrorKind::Timeout } else { ErrorKind::ProviderError };
        let text = text.into();
        let public = match class {
            FailureClass::Timeout => format!("{target} did not answer in time"),
            FailureClass::Transport | FailureClass::Ambiguous => format!("{target} cannot be reached"),
            _ => format!("{target} gave no usable answer"),
        };
        Failure::Gateway { class, error: GatewayError::new(kind, public).internal(text) }
    }

    /// The provider's own error, where it told one.
    pub fn told(&self) -> Option<&UpstreamError> {
        match self {
            Failure::Upstream(refused) => Some(&refused.error),
            Failure::Gateway { .. } => None,
        }
    }

    /// Whether this caller may use the target that says so.
    pub fn may_be_told(&self, call: &Call) -> bool {
        match self {
            Failure::Upstream(refused) => {
                let Target { provider, model, .. } = &refused.target;
                call.caller.scope().allows_target(call.model(), provider, model)
            }
            Failure::Gateway { .. } => true,
        }
    }

    /// How long the provider wants to be left alone, where it says so.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Failure::Upstream(refused) => refused.wait,
            Failure::Gateway { .. } => None,
        }
    }

    pub fn closing() -> Failure {
        let error = GatewayError::new(ErrorKind::Overloaded, "the gateway is shutting down");
        Failure::Gateway { class: FailureClass::Timeout, error }
    }

    /// The gateway's own limits, which say nothing about any provider.
    pub fn shed(gateway: &Gateway, why: Shed) -> Failure {
        Failure::Gateway { class: FailureClass::ClientFault, error: gateway.process.shed(why) }
    }

    /// How a request ends that has failed so.
    pub fn outcome(&self) -> Outcome {
        match self {
            Failure::Gateway { class: FailureClass::ClientFault, error } if error.kind == ErrorKind::Overloaded => {
                Outcome::Shed
            }
            Failure::Gateway { class: FailureClass::ClientFault, error }
                if error.kind == ErrorKind::RateLimitExceeded =>
            {
                Outcome::RateLimited
            }
            Failure::Gateway { error, .. } if error.kind == ErrorKind::Overloaded => Outcome::Drained,
            _ if self.class() == FailureClass::ClientFault => Outcome::ClientError,
            _ => Outcome::UpstreamError,
        }
    }

    /// Some providers repeat in an error the key that they were sent.
    pub fn without_keys(mut self, gateway: &Gateway) -> Failure {
        if let Failure::Upstream(refused) = &mut self
            && let Some(provider) = gateway.catalog.provider(&refused.target.provider)
        {
            provider.redact(&mut refused.body);
            let error = &mut refused.error;
            for text in [Some(&mut error.message), error.code.as_mut(), error.param.as_mut()].into_iter().flatten() {
                *text = provider.redacted(text);
            }
        }
        self
    }

    /// For the log.
    pub fn text(&self) -> String {
        let text = match self {
            Failure::Upstream(refused) => &refused.error.message,
            Failure::Gateway { error, .. } => error.internal.as_ref().unwrap_or(&error.message),
        };
        shortened(text, 500)
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            Failure::Upstream(refused) => Some(refused.status),
            Failure::Gateway { .. } => None,
        }
    }
}

/// A request, ready to be sent to one target.
#[derive(Debug)]
pub struct Prepared {
    payload: Payload,
    uri: Uri,
    limits: Limits,
    /// Names of tools that the answer must be given back.
    tool_names: ToolNames,
    /// The provider speaks the client's dialect.
    same: bool,
}

/// Says the request of a client as the target of `permit` is to hear it. Fails where that cannot be said.
pub fn prepare(gateway: &Gateway, call: &SharedCall, permit: &Permit, notes: &mut Notes) -> Result<Prepared, Failure> {
    let (target, provider) = (permit.target(), permit.provider(gateway));
    let client_fault = |error| Failure::Gateway { class: FailureClass::ClientFault, error };
    let facts = gateway.catalog.facts(provider, &target.model);
    let uri = match call.counts_tokens {
        true => provider.count_tokens_uri(&target.model),
        false => provider.chat_uri(&target.model),
    }
    .map_err(client_fault)?;
    let same = Dialect::from(target.dialect) == call.dialect;
    let (payload, tool_names) =
        encode(gateway, call, target, &facts, provider.config.quirks, same, notes).map_err(client_fault)?;
    let limits = Limits::of(gateway, call, &facts);
    notes.price = facts.price;
    Ok(Prepared { payload, uri, limits, tool_names, same })
}

/// Asks the target of `permit`. `shown`: who is shown if it takes long.
pub async fn one(
    gateway: &Arc<Gateway>,
    call: &SharedCall,
    permit: &Permit,
    prepared: &Prepared,
    notes: &mut Notes,
    mut shown: Option<&mut Settle>,
) -> Result<Good, Failure> {
    let Prepared { payload, uri, limits, tool_names, same } = prepared;
    let same = *same;
    let (target, provider) = (permit.target(), permit.provider(gateway));
    let quirks = provider.config.quirks;
    let forwarded = if same { &call.forwarded } else { &HeaderMap::new() };
    let request = || {
        let mut request = Request::new(payload.clone());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = provider.headers(forwarded, permit.credential());
        request.headers_mut().insert(header::CONTENT_LENGTH, payload.content_length());
        if call.stream {
            request.headers_mut().insert(header::ACCEPT, http::HeaderValue::from_static("text/event-stream"));
        }
        request
    };
    // Each in a block of its own: what is over need not have room beside what follows.
    let sent = {
        let sent = pin!(gateway.client.send(&provider.origin, request));
        within(limits.first_content, sent, &mut shown).await
    };
    let response = match sent {
        Err(_) => return Err(Failure::gateway(FailureClass::Timeout, target, "no answer in time")),
        Ok(Err(SendError::NoFiles)) => return Err(Failure::shed(gateway, Shed::Files)),
        Ok(Err(error)) => return Err(Failure::gateway(class_of(&error), target, error.to_string())),
        Ok(Ok(response)) => response,
    };
    let (head, body) = response.into_parts();
    notes.upstream_request_id = upstream_id(&head.headers);
    notes.quota = quota(&head.headers);
    if !head.status.is_success() {
        return Err(refused(call, target, head.status, &head.headers, body).await);
    }
    if is_event_stream(&head.headers) && call.stream {
        let writer = if same {
            Writer::Same { drop_usage: asks_usage(call, quirks) && call.envelope.include_usage != Some(true) }
        } else {
            let answer = crate::pipeline::answer(gateway, call, target);
            Writer::Translate(codec::client(call.dialect).stream_encoder(answer), tool_names.clone())
        };
        let headers = passed_headers(&head.headers, same);
        let prompt_tokens = call.prompt_tokens(|| gateway.catalog.estimate(target, call).input);
        let timeouts = gateway.config.timeouts;
        let mut relay = Box::new(Relay::new(timeouts, call, target.clone(), headers, body, writer, prompt_tokens));
        // Until its first content: what comes before is held back.
        let opened = {
            let opening = pin!(relay.open());
            within(limits.first_content, opening, &mut shown).await
        };
        return match opened {
            Err(_) => Err(Failure::gateway(FailureClass::Timeout, target, "no first content in time")),
            Ok(Err(failure)) => Err(failure),
            Ok(Ok(())) => Ok(Good::Stream(relay)),
        };
    }
    let collected = {
        let collecting = pin!(body.collect(RESPONSE_BODY_BYTES, &call.admitted));
        within(limits.whole, collecting, &mut shown).await
    };
    let body = match collected {
        Err(_) => return Err(Failure::gateway(FailureClass::Timeout, target, "the answer did not end in time")),
        Ok(Err(BodyError::NoMemory)) => return Err(Failure::shed(gateway, Shed::Memory)),
        Ok(Err(error)) => return Err(Failure::gateway(FailureClass::BadAnswer, target, error.to_string())),
        Ok(Ok(body)) => body,
    };
    notes.said = Some(Instant::now());
    whole(call, target, &head.headers, body, same, tool_names, notes).map(Good::Whole)
}

/// Waits for a part of an answer until it must have come. Whoever has waited for long is shown: at no time there is more than
/// one timer.
pub async fn within<T>(
    deadline: Instant,
    mut part: Pin<&mut impl Future<Output = T>>,
    shown: &mut Option<&mut Settle>,
) -> Result<T, Elapsed> {
    if let Some(settle) = shown
        && let Some(due) = settle.shown_at().filter(|due| *due < deadline)
    {
        match tokio::time::timeout_at(due.into(), part.as_mut()).await {
            Ok(part) => return Ok(part),
            Err(_) => settle.show(),
        }
    }
    tokio::time::timeout_at(deadline.into(), part).await
}

/// Until when the parts of an answer must have come.
#[derive(Debug, Clone, Copy)]
struct Limits {
    first_content: Instant,
    whole: Instant,
}

impl Limits {
    fn of(gateway: &Gateway, call: &SharedCall, facts: &Facts) -> Limits {
        let timeouts = gateway.config.timeouts;
        let whole = call.started + call.timeout.unwrap_or(timeouts.request);
        if !call.stream {
            return Limits { first_content: whole, whole };
        }
        let patience = if facts.reasoning { timeouts.first_content_reasoning } else { timeouts.first_content };
        let patient = Instant::now() + patience;
        Limits { first_content: call.timeout.map_or(patient, |_| whole.min(patient)), whole }
    }
}

/// Whether the gateway asks for the usage of a stream in the client's own request.
fn asks_usage(call: &SharedCall, quirks: Quirks) -> bool {
    call.stream && call.dialect == Dialect::OpenAiChat && quirks.stream_options
}

/// The body for this target: the client's own bytes where the dialect is the same, else a translation.
fn encode(
    gateway: &Gateway,
    call: &SharedCall,
    target: &Target,
    facts: &Facts,
    quirks: Quirks,
    same: bool,
    notes: &mut Notes,
) -> Result<(Payload, ToolNames), GatewayError> {
    if same {
        let pieces = call.envelope.splice(&call.body, &target.model, asks_usage(call, quirks));
        return Ok((Payload::new(pieces), ToolNames::default()));
    }
    let encoded = translate(gateway, call, target, facts, quirks)?;
    notes.dropped = encoded.dropped;
    notes.approximated = encoded.approximated;
    notes.added = encoded.added;
    Ok((Payload::new(vec![Bytes::from(encoded.body)]), encoded.tool_names))
}

/// The request in the words of the target's dialect.
pub fn translate(
    gateway: &Gateway,
    call: &Call,
    target: &Target,
    facts: &Facts,
    quirks: Quirks,
) -> Result<Encoded, GatewayError> {
    let to = EncodeTarget {
        model: &target.model,
        max_output_tokens: facts.max_output,
        max_tokens_field: quirks.output_limit.field(),
        stream_options: quirks.stream_options,
        cache_control: quirks.cache_control,
    };
    let encoded = codec::provider(target.dialect).encode_request(call.chat()?, &to);
    if gateway.config.routing.on_unsupported == OnUnsupported::Reject
        && let Some(first) = encoded.dropped.first()
    {
        let all = encoded.dropped.join(", ");
        return Err(GatewayError::invalid(
            first.clone(),
            format!("{target} cannot be asked this: its API has no word for {all}"),
        ));
    }
    Ok(encoded)
}

fn class_of(error: &SendError) -> FailureClass {
    match error {
        SendError::Connect(_) | SendError::ConnectTimeout(_) | SendError::NoFiles => FailureClass::Transport,
        SendError::Broken(_) => FailureClass::Ambiguous,
        SendError::Malformed(_) => FailureClass::BadAnswer,
    }
}

async fn refused(
    call: &SharedCall,
    target: &Target,
    status: StatusCode,
    headers: &HeaderMap,
    body: AnswerBody,
) -> Failure {
    if status.is_redirection() || status.is_informational() {
        return Failure::gateway(
            FailureClass::BadAnswer,
            target,
            format!("status {status}; redirects are not followed"),
        );
    }
    let body = match tokio::time::timeout(Duration::from_secs(10), body.collect(ERROR_BODY_BYTES, &call.admitted)).await
    {
        Ok(Ok(body)) => body,
        Ok(Err(BodyError::Broken(_) | BodyError::TooLong(_) | BodyError::NoMemory)) | Err(_) => Bytes::new(),
    };
    let error = codec::provider(target.dialect).decode_error(status.as_u16(), &body);
    let wait = wait_hint(headers);
    let headers = passed_headers(headers, true);
    Failure::Upstream(Box::new(Refused { target: target.clone(), error, status: status.as_u16(), headers, body, wait }))
}

fn whole(
    call: &SharedCall,
    target: &Target,
    headers: &HeaderMap,
    body: Bytes,
    same: bool,
    tool_names: &ToolNames,
    notes: &mut Notes,
) -> Result<Whole, Failure> {
    let codec = codec::provider(target.dialect);
    let read = if call.counts_tokens && estimate::is_count(&body) {
        let headers = passed_headers(headers, same);
        return Ok(Whole { target: target.clone(), headers, body: WholeBody::Same(body) });
    } else if call.counts_tokens {
        Err(codec.decode_error(200, &body))
    } else if same {
        codec.glance(&body).map(|glance| (glance, None))
    } else {
        codec.decode_response(&body).map(|mut response| {
            tool_names.restore(&mut response);
            (Glance::of(&response), Some(Box::new(response)))
        })
    };
    let (glance, mut response) = match read {
        Ok(read) => read,
        // What is no JSON is no error of the provider's either, and is not quoted: it may be half an answer.
        Err(_) if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_err() => {
            let text = format!("an answer of {} bytes that is not JSON", body.len());
            return Err(Failure::gateway(FailureClass::BadAnswer, target, text));
        }
        Err(error) => {
            let wait = wait_hint(headers);
            let headers = passed_headers(headers, true);
            let refused = Refused { target: target.clone(), error, status: 200, headers, body, wait };
            return Err(Failure::Upstream(Box::new(refused)));
        }
    };
    notes.usage = glance.usage;
    if notes.usage.is_none() {
        notes.usage = match response.as_mut() {
            Some(response) => {
                response.usage = Some(estimate::of_answer(call, response));
                response.usage
            }
            None => codec.decode_response(&body).ok().map(|response| estimate::of_answer(call, &response)),
        };
        notes.usage_estimated = notes.usage.is_some();
        notes.added.extend(notes.usage_estimated.then(|| "usage".to_owned()));
    }
    notes.finish = glance.finish;
    notes.contents = glance.contents;
    let body = match response {
        None => WholeBody::Same(body),
        Some(response) => {
            for name in codec::client(call.dialect).losses(&response) {
                if !notes.dropped.contains(&name) {
                    notes.dropped.push(name);
                }
            }
            WholeBody::Translate(response)
        }
    };
    Ok(Whole { target: target.clone(), headers: passed_headers(headers, same), body })
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| {
        value.trim_start().get(..17).is_some_and(|start| start.eq_ignore_ascii_case("text/event-stream"))
    })
}

fn upstream_id(headers: &HeaderMap) -> Option<String> {
    let mut id = None;
    for (name, value) in headers {
        match name.as_str() {
            "x-request-id" => {
                id = Some(value);
                break;
            }
            "request-id" => id = id.or(Some(value)),
            _ => {}
        }
    }
    id?.to_str().ok().map(|id| shortened(id, 200))
}

/// The headers of an answer that may pass; those of a vendor only to clients of the same dialect.
fn passed_headers(headers: &HeaderMap, same: bool) -> Headers {
    let passes = |name: &HeaderName| match name.as_str() {
        "content-type" | "retry-after" | "retry-after-ms" => true,
        // Whose account it is concerns the gateway alone.
        "openai-organization" | "openai-project" | "anthropic-organization-id" => false,
        name => same && (name.starts_with("openai-") || name.starts_with("anthropic-")),
    };
    let mut passed = Headers::new();
    for (name, value) in headers {
        if passes(name) {
            passed.append(name.clone(), value.clone());
        }
    }
    passed
}

fn quota(headers: &HeaderMap) -> UpstreamQuota {
    let texts = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    UpstreamQuota::read(texts, jiff::Timestamp::now)
}

/// How long a provider wants to be left alone, in whichever header it says so.
fn wait_hint(headers: &HeaderMap) -> Option<Duration> {
    hint::wait(|name| headers.get(name).and_then(|value| value.to_str().ok()), jiff::Timestamp::now())
}
