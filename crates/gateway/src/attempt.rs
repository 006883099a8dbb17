//! From a plan to an answer: which target is tried, when the next one is, and from when on there is no way back.
//!
//! The commit point is here and nowhere else. Before the first content of an answer every failure may be followed by
//! another attempt, and the client never learns of it; after it none is. One budget of attempts covers them all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway_core::chat::ChatResponse;
use gateway_core::dialect::Dialect;
use gateway_core::error::{ErrorKind, FailureClass, GatewayError, UpstreamError};
use gateway_core::limits::{ERROR_BODY_BYTES, RESPONSE_BODY_BYTES};
use gateway_core::target::Target;
use gateway_dialects::codec::{self, EncodeTarget};
use gateway_policy::routing::RoutePlan;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};

use crate::call::SharedCall;
use crate::config::OnUnsupported;
use crate::gateway::Gateway;
use crate::providers::catalog::Facts;
use crate::providers::client::{AnswerBody, BodyError, Payload, SendError};
use crate::relay::{Relay, Writer};
use crate::settle::Settle;

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
    pub headers: HeaderMap,
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
#[derive(Debug)]
pub enum Failure {
    /// A provider's own error answer.
    Upstream(Box<Refused>),
    /// No answer, or none that can be used.
    Gateway { class: FailureClass, error: GatewayError },
}

/// An error answer: what it says, and for clients of the same dialect, as it came.
#[derive(Debug)]
pub struct Refused {
    pub target: Target,
    pub error: UpstreamError,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
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

    /// For the log.
    pub fn text(&self) -> String {
        let text = match self {
            Failure::Upstream(refused) => &refused.error.message,
            Failure::Gateway { error, .. } => error.internal.as_ref().unwrap_or(&error.message),
        };
        text.chars().take(500).collect()
    }

    fn status(&self) -> Option<u16> {
        match self {
            Failure::Upstream(refused) => Some(refused.status),
            Failure::Gateway { .. } => None,
        }
    }
}

/// Tries the targets of a plan until one answers, the budget is spent, or the request itself is at fault.
pub async fn run(
    gateway: Arc<Gateway>,
    call: SharedCall,
    plan: RoutePlan,
    mut settle: Settle,
) -> (Result<Good, Failure>, Settle) {
    let retry = gateway.config.retry;
    let (mut index, mut attempts, mut retried) = (0, 0, false);
    loop {
        let Some(planned) = plan.targets.get(index) else {
            let error = GatewayError::new(ErrorKind::NoProvider, "no provider can take this request");
            return (Err(Failure::Gateway { class: FailureClass::Transport, error }), settle);
        };
        let target = &planned.target;
        attempts += 1;
        let failure = match one(&gateway, &call, target, &mut settle).await {
            Ok(good) => {
                settle.attempt_ends(target, None);
                return (Ok(good), settle);
            }
            Err(failure) => failure,
        };
        let class = failure.class();
        settle.attempt_ends(target, Some((class, failure.status(), failure.text())));
        let out_of_time = call.timeout.is_some_and(|timeout| call.started.elapsed() >= timeout);
        if attempts >= retry.max_attempts || !class.other_target() || out_of_time {
            return (Err(failure), settle);
        }
        if index + 1 < plan.targets.len() {
            index += 1;
            retried = false;
        } else if class.same_target() && !retried {
            retried = true;
            let ceiling =
                retry.base_delay.mul_f64(retry.exponential_base.powi(attempts as i32 - 1)).min(retry.max_delay);
            tokio::time::sleep(ceiling.mul_f64(fastrand::f64())).await;
        } else {
            return (Err(failure), settle);
        }
    }
}

/// One attempt at one target.
async fn one(gateway: &Arc<Gateway>, call: &SharedCall, target: &Target, settle: &mut Settle) -> Result<Good, Failure> {
    let Some(provider) = gateway.catalog.provider(&target.provider) else {
        return Err(Failure::gateway(FailureClass::Transport, target, "the provider is not configured"));
    };
    let facts = gateway.catalog.facts(provider, &target.model);
    let same = Dialect::from(target.dialect) == call.dialect;
    let payload = encode(gateway, call, target, &facts, same, settle)
        .map_err(|error| Failure::Gateway { class: FailureClass::ClientFault, error })?;
    let limits = Limits::of(gateway, call, &facts);
    settle.attempt_begins(target, facts.price);

    let forwarded = if same { &call.forwarded } else { &HeaderMap::new() };
    let mut headers = provider.headers(forwarded);
    if call.stream {
        headers.insert(header::ACCEPT, http::HeaderValue::from_static("text/event-stream"));
    }
    let request = || {
        let mut request = Request::new(payload.clone());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = provider.chat_uri.clone();
        *request.headers_mut() = headers.clone();
        request
    };
    let sent =
        tokio::time::timeout_at(limits.first_content.into(), gateway.client.send(&provider.origin, request)).await;
    let response = match sent {
        Err(_) => return Err(Failure::gateway(FailureClass::Timeout, target, "no answer in time")),
        Ok(Err(error)) => return Err(Failure::gateway(class_of(&error), target, error.to_string())),
        Ok(Ok(response)) => response,
    };
    let (head, body) = response.into_parts();
    settle.upstream_request_id(upstream_id(&head.headers));
    if !head.status.is_success() {
        return Err(refused(target, head.status, &head.headers, body).await);
    }
    if is_event_stream(&head.headers) && call.stream {
        return open_stream(gateway, call, target, body, passed_headers(&head.headers, same), &limits, same)
            .await
            .map(|relay| Good::Stream(Box::new(relay)));
    }
    let body = match tokio::time::timeout_at(limits.whole.into(), body.collect(RESPONSE_BODY_BYTES)).await {
        Err(_) => return Err(Failure::gateway(FailureClass::Timeout, target, "the answer did not end in time")),
        Ok(Err(error)) => return Err(Failure::gateway(FailureClass::BadAnswer, target, error.to_string())),
        Ok(Ok(body)) => body,
    };
    settle.upstream_done();
    whole(call, target, &head.headers, body, same, settle).map(Good::Whole)
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

/// The body for this target: the client's own bytes where the dialect is the same, else a translation.
fn encode(
    gateway: &Gateway,
    call: &SharedCall,
    target: &Target,
    facts: &Facts,
    same: bool,
    settle: &mut Settle,
) -> Result<Payload, GatewayError> {
    if same {
        let include_usage = call.stream && call.dialect == Dialect::OpenAiChat;
        return Ok(Payload::new(call.envelope.splice(&call.body, &target.model, include_usage)));
    }
    let to = EncodeTarget {
        model: &target.model,
        max_output_tokens: facts.max_output,
        max_tokens_field: if &*target.provider == "openai" { "max_completion_tokens" } else { "max_tokens" },
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
    settle.named(&[encoded.dropped, encoded.approximated].concat(), &encoded.added);
    Ok(Payload::new(vec![Bytes::from(encoded.body)]))
}

fn class_of(error: &SendError) -> FailureClass {
    match error {
        SendError::Connect(_) | SendError::ConnectTimeout(_) => FailureClass::Transport,
        SendError::Broken(_) => FailureClass::Ambiguous,
        SendError::Malformed(_) => FailureClass::BadAnswer,
    }
}

async fn refused(target: &Target, status: StatusCode, headers: &HeaderMap, body: AnswerBody) -> Failure {
    if status.is_redirection() || status.is_informational() {
        return Failure::gateway(
            FailureClass::BadAnswer,
            target,
            format!("status {status}; redirects are not followed"),
        );
    }
    let body = match tokio::time::timeout(Duration::from_secs(10), body.collect(ERROR_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(BodyError::Broken(_) | BodyError::TooLong(_))) | Err(_) => Bytes::new(),
    };
    let error = codec::provider(target.dialect).decode_error(status.as_u16(), &body);
    let headers = passed_headers(headers, true);
    Failure::Upstream(Box::new(Refused { target: target.clone(), error, status: status.as_u16(), headers, body }))
}

/// Opens a stream: reads it until its first content, holding back what comes before.
async fn open_stream(
    gateway: &Arc<Gateway>,
    call: &SharedCall,
    target: &Target,
    body: AnswerBody,
    headers: HeaderMap,
    limits: &Limits,
    same: bool,
) -> Result<Relay, Failure> {
    let writer = if same {
        Writer::Same { drop_usage: call.envelope.include_usage != Some(true) }
    } else {
        Writer::Translate(codec::client(call.dialect).stream_encoder(crate::pipeline::answer(gateway, call, target)))
    };
    let mut relay = Relay::new(gateway.config.timeouts, call.clone(), target.clone(), headers, body, writer);
    match tokio::time::timeout_at(limits.first_content.into(), relay.open()).await {
        Err(_) => Err(Failure::gateway(FailureClass::Timeout, target, "no first content in time")),
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(())) => Ok(relay),
    }
}

fn whole(
    call: &SharedCall,
    target: &Target,
    headers: &HeaderMap,
    body: Bytes,
    same: bool,
    settle: &mut Settle,
) -> Result<Whole, Failure> {
    let response = match codec::provider(target.dialect).decode_response(&body) {
        Ok(response) => response,
        Err(error) => {
            let refused =
                Refused { target: target.clone(), error, status: 200, headers: passed_headers(headers, true), body };
            return Err(Failure::Upstream(Box::new(refused)));
        }
    };
    if let Some(usage) = response.usage {
        settle.usage(usage);
    }
    if let Some(finish) = &response.finish {
        settle.finish_reason(finish);
    }
    let body = if same {
        WholeBody::Same(body)
    } else {
        for name in codec::client(call.dialect).losses(&response) {
            settle.also_dropped(&name);
        }
        WholeBody::Translate(Box::new(response))
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
    let id = headers.get("x-request-id").or_else(|| headers.get("request-id"))?;
    id.to_str().ok().map(|id| id.chars().take(200).collect())
}

/// The headers of an answer that may pass; those of a vendor only to clients of the same dialect.
fn passed_headers(headers: &HeaderMap, same: bool) -> HeaderMap {
    let passes = |name: &HeaderName| {
        let name = name.as_str();
        let vendors = name.starts_with("openai-") || name.starts_with("anthropic-");
        matches!(name, "content-type" | "retry-after" | "retry-after-ms") || (same && vendors)
    };
    let mut passed = HeaderMap::with_capacity(8);
    for (name, value) in headers {
        if passes(name) {
            passed.append(name.clone(), value.clone());
        }
    }
    passed.remove("openai-organization");
    passed.remove("openai-project");
    passed.remove("anthropic-organization-id");
    passed
}
