//! The life of a request, on one page.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use gateway_core::chat::ChatResponse;
use gateway_core::dialect::Dialect;
use gateway_core::error::{ErrorKind, FailureClass, GatewayError};
use gateway_core::limits::KEEP_ALIVE_EVERY;
use gateway_core::target::Target;
use gateway_dialects::codec::{self, Answer};
use gateway_policy::limits::{Refused, Standing};
use gateway_policy::routing::{self, Ask, Hints, NoRoute, RoutePlan};
use http::header;

use crate::access;
use crate::api::Arrival;
use crate::api::body::{Opening, StreamBody};
use crate::api::egress::{self, Reply};
use crate::api::explain;
use crate::api::headers::Headers;
use crate::api::ingress::Inbound;
use crate::attempt::{self, Failure, Good, WholeBody};
use crate::cache::replay::Replay;
use crate::cache::{self, Follow, Landed, Looked, Served, Wish, keep};
use crate::call::{self, Call, SharedCall};
use crate::conversation;
use crate::dispatch;
use crate::gateway::Gateway;
use crate::limits;
use crate::settle::{Outcome, Record, Settle};

/// Answers one request for a completion, in the dialect of its client.
pub fn handle(
    gateway: Arc<Gateway>,
    inbound: Inbound,
    dialect: Dialect,
    streamed: bool,
) -> impl Future<Output = Reply> {
    go(gateway, inbound, dialect, move |inbound| Call::open(inbound, dialect, streamed))
}

/// Answers one request for the tokens of a prompt: the same way to the same target, for another answer.
pub fn count_tokens(gateway: Arc<Gateway>, inbound: Inbound) -> impl Future<Output = Reply> {
    let dialect = Dialect::AnthropicMessages;
    go(gateway, inbound, dialect, move |inbound| Call::open(inbound, dialect, false).map(Call::counting))
}

async fn go(
    gateway: Arc<Gateway>,
    mut inbound: Inbound,
    dialect: Dialect,
    open: impl FnOnce(Inbound) -> Result<Call, GatewayError>,
) -> Reply {
    let record = Record::new(&inbound.arrival, inbound.route, dialect);
    let mut settle = Settle::open(gateway.clone(), inbound.arrival.started, record);
    let request_id = inbound.arrival.request_id;
    let looked = std::mem::take(&mut inbound.looked);
    let opened = open(inbound).and_then(|call| {
        settle.asked(&call);
        let plan = plan(&gateway, &call)?;
        settle.planned(plan.clone());
        Ok((call, plan))
    });
    let (mut call, plan) = match opened {
        Ok(opened) => opened,
        Err(error) => return refuse(error, dialect, &request_id, settle, &looked.standing),
    };
    // After the plan: who may not have an answer from a provider does not have it from the cache.
    let found = cache::look_up(&gateway, &mut call, &mut settle).await;
    let call = Arc::new(call);
    let limiter = &gateway.process.limiter;
    let standing = match limiter.take(limits::ask(&gateway, looked, &call, &plan)).await {
        Ok((hold, standing)) => {
            settle.holds(hold);
            standing
        }
        Err(refused) => {
            // Whatever was found is not given.
            settle.not_cached();
            let error = gateway.process.limited(&refused);
            return refuse(error, dialect, &request_id, settle, &refused.standing);
        }
    };
    let mut reply = match found {
        Looked::Answer(served) => serve(&gateway, &call, *served, settle),
        // Larger, and rare.
        Looked::Wait(follow) => Box::pin(wait(gateway, call, plan, settle, follow)).await,
        Looked::Ask if call.wish == Wish::OnlyIfCached => not_cached(&call, settle),
        Looked::Ask => answer_to(gateway, call, plan, settle).await,
    };
    limits::tell(&mut reply.headers, &standing, dialect);
    reply
}

/// Refuses a request of which no more is known than its caller, who has used up what it may.
pub fn turn_away(
    gateway: &Arc<Gateway>,
    arrival: &Arrival,
    route: &'static str,
    dialect: Dialect,
    refused: &Refused,
) -> Reply {
    let settle = Settle::open(gateway.clone(), arrival.started, Record::new(arrival, route, dialect));
    refuse(gateway.process.limited(refused), dialect, &arrival.request_id, settle, &refused.standing)
}

async fn answer_to(gateway: Arc<Gateway>, call: SharedCall, plan: Arc<RoutePlan>, settle: Box<Settle>) -> Reply {
    // In a box, since what it lies in is moved a few times before it begins.
    let lead = settle.keep().and_then(|keep| keep.lead.as_ref()).map(|lead| lead.flight.clone());
    let mut attempts: Opening = Box::pin(dispatch::run(gateway.clone(), call.clone(), plan, settle));
    if let Some(flight) = lead {
        attempts = flight.carry(gateway.clone(), call.clone(), attempts);
    }
    if !call.stream {
        let (result, settle) = attempts.await;
        return reply(&gateway, &call, result, settle);
    }
    // A stream may keep its client waiting for its first content, but not in silence.
    match tokio::time::timeout(KEEP_ALIVE_EVERY, &mut attempts).await {
        Ok((result, settle)) => reply(&gateway, &call, result, settle),
        Err(_) => egress::opening(&call, StreamBody::opening(gateway.clone(), call.clone(), attempts)),
    }
}

/// Answers with what is there already.
fn serve(gateway: &Arc<Gateway>, call: &SharedCall, served: Served, mut settle: Box<Settle>) -> Reply {
    settle.served(&served);
    let target =
        Target { provider: served.kept.provider.clone(), model: served.kept.model.clone(), dialect: served.kept.wire };
    let mut reply = egress::answered(call, &settle, &target, Headers::new());
    match served.replay {
        Replay::Whole(body) => {
            reply.headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
            explained(call, &mut reply, &settle, Some(Outcome::Ok));
            settle.end(reply.status.as_u16(), Outcome::Ok, None);
            reply.with_bytes(body)
        }
        Replay::Stream(pieces) => {
            settle.first_content();
            egress::event_stream(&mut reply);
            explained(call, &mut reply, &settle, None);
            reply.with_stream(StreamBody::replayed(gateway.clone(), pieces, settle))
        }
    }
}

/// Waits for the answer to a request that asks the same; asks on its own where that comes to nothing.
async fn wait(
    gateway: Arc<Gateway>,
    call: SharedCall,
    plan: Arc<RoutePlan>,
    mut settle: Box<Settle>,
    follow: Follow,
) -> Reply {
    let deadline = call.started + call.timeout.unwrap_or(gateway.config.timeouts.request);
    settle.follows();
    let landed = {
        let (landing, mut shown) = (pin!(follow.landed()), Some(&mut *settle));
        let mut landing = pin!(attempt::within(deadline, landing, &mut shown));
        // When the gateway closes, every connection is polled once more.
        let landed = poll_fn(|cx| match landing.as_mut().poll(cx) {
            Poll::Pending if gateway.is_closing() => Poll::Ready(Ok(Landed::Lost)),
            polled => polled,
        });
        landed.await
    };
    settle.landed();
    match landed {
        Ok(Landed::Answer(kept)) => {
            if let Some(served) = cache::serve_shared(&gateway, &call, kept, &mut settle) {
                return serve(&gateway, &call, served, settle);
            }
        }
        Ok(Landed::Failed(failure)) if failure.may_be_told(&call) => return failed(&gateway, &call, &failure, settle),
        Ok(Landed::Failed(_) | Landed::Lost) => {}
        Err(_) => {
            let error = GatewayError::new(ErrorKind::Timeout, "the answer did not come in time");
            return refuse(error, call.dialect, &call.request_id, settle, &Standing::default());
        }
    }
    answer_to(gateway, call, plan, settle).await
}

/// The client wants an answer from the cache or none.
fn not_cached(call: &SharedCall, mut settle: Box<Settle>) -> Reply {
    let error =
        GatewayError::new(ErrorKind::Timeout, "only-if-cached was asked for, and there is no answer in the cache");
    let mut reply = egress::error(&error, call.dialect, &call.request_id);
    egress::cached(call, &mut reply, &settle);
    // SDKs repeat a 504 unless they are told not to.
    egress::final_word(&mut reply);
    settle.end(reply.status.as_u16(), Outcome::ClientError, Some(error.message));
    reply
}

/// Which targets are tried, in which order.
pub fn plan(gateway: &Gateway, call: &Call) -> Result<Arc<RoutePlan>, GatewayError> {
    let without_hints = call.hints == Hints::default();
    let scope = call.caller.scope();
    let may_have = |target: &Target| scope.allows_target(call.model(), &target.provider, &target.model);
    if without_hints
        && let Some(plan) = call.model().and_then(|model| gateway.catalog.alone(model))
        && plan.targets.iter().all(|planned| may_have(&planned.target))
    {
        return Ok(plan);
    }
    call.hints
        .check(gateway.catalog.providers().iter().map(|provider| &*provider.name))
        .map_err(|unknown| GatewayError::invalid(egress::hint_field(call.dialect, &unknown), unknown.to_string()))?;
    let mut resolved = gateway.catalog.resolve(call.model()).map_err(|error| access::within(scope, error))?;
    for candidate in resolved.candidates.all_mut() {
        candidate.allowed = may_have(&candidate.target);
    }
    gateway.catalog.feel(&mut resolved.candidates, gateway.process.nodes(), call.started);
    let mut hints = call.hints.clone();
    hints.required = call::needed(call);
    let ask = Ask {
        hints: &hints,
        strategy: resolved.strategy.unwrap_or(gateway.config.routing.strategy),
        affinity: resolved.affinity,
        hedge: resolved.hedge,
        turns: resolved.turns,
        max_tokens: call.envelope.max_tokens,
        estimate: &|| call.estimate(),
        surely_more_than: &|tokens| call.surely_more_than(tokens),
        affinity_key: &|| conversation::key(&call.body),
        now: call.started,
    };
    let plan = routing::plan(resolved.candidates, &ask, &mut fastrand::Rng::new());
    let plan = Arc::new(plan.map_err(|no_route| unroutable(&no_route, call))?);
    if without_hints && let Some(model) = call.model() {
        gateway.catalog.keep_alone(model, &plan);
    }
    Ok(plan)
}

fn unroutable(no_route: &NoRoute, call: &Call) -> GatewayError {
    if no_route.is_forbidden() {
        return access::not_for_this_key(call.caller.scope(), call.model());
    }
    let kind = if no_route.is_by_request() { ErrorKind::InvalidRequest } else { ErrorKind::NoProvider };
    let skipped = serde_json::to_value(&no_route.skipped).unwrap_or_default();
    GatewayError::new(kind, no_route.to_string()).detail("skipped", skipped)
}

/// What the encoder of an answer is told beside it.
pub fn answer(gateway: &Gateway, call: &Call, target: &Target) -> Answer {
    let now = jiff::Timestamp::now();
    let price = gateway
        .catalog
        .provider(&target.provider)
        .and_then(|provider| gateway.catalog.facts(provider, &target.model).price);
    Answer {
        request_id: call.request_id.to_string(),
        provider: target.provider.clone(),
        model: target.model.clone(),
        created: u64::try_from(now.as_second()).unwrap_or_default(),
        timestamp: crate::telemetry::log::stamp(now),
        latency_ms: (call.started.elapsed().as_secs_f64() * 1e6).round() / 1e3,
        include_usage: call.envelope.include_usage == Some(true),
        metadata: call.metadata.clone(),
        price: Arc::new(move |usage| price.as_ref().map(|price| price.cost(usage))),
        cache_key: None,
    }
}

fn reply(gateway: &Arc<Gateway>, call: &SharedCall, result: Result<Good, Failure>, mut settle: Box<Settle>) -> Reply {
    match result {
        Ok(Good::Stream(mut relay)) => {
            settle.first_content();
            // Taken, since each would hold on to the buffer that it was read into for as long as the stream lives.
            let headers = std::mem::take(&mut relay.headers);
            let mut reply = egress::answered(call, &settle, &relay.target, headers);
            egress::event_stream(&mut reply);
            explained(call, &mut reply, &settle, None);
            reply.with_stream(StreamBody::flowing(gateway.clone(), relay, settle))
        }
        Ok(Good::Whole(whole)) => {
            let translated = matches!(whole.body, WholeBody::Translate(_));
            let (body, streamed) = said(gateway, call, &whole.target, whole.body, &mut settle);
            let mut reply = egress::answered(call, &settle, &whole.target, whole.headers);
            if streamed {
                egress::event_stream(&mut reply);
            } else if translated {
                reply.headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
            }
            explained(call, &mut reply, &settle, Some(Outcome::Ok));
            settle.end(reply.status.as_u16(), Outcome::Ok, None);
            reply.with_bytes(body)
        }
        Err(failure) => failed(gateway, call, &failure, settle),
    }
}

/// A whole answer in the client's dialect; as a stream where the client wants one and the provider gave none.
pub fn said(
    gateway: &Arc<Gateway>,
    call: &SharedCall,
    target: &Target,
    body: WholeBody,
    settle: &mut Settle,
) -> (Bytes, bool) {
    let response: ChatResponse = match body {
        WholeBody::Same(bytes) => {
            keep::whole(settle, call, target, || bytes.clone());
            return (bytes, false);
        }
        WholeBody::Translate(response) => *response,
    };
    let (codec, answer) = (codec::client(call.dialect), answer(gateway, call, target));
    if !call.stream && call.dialect != Dialect::Native {
        let bytes = Bytes::from(codec.encode_response(response, &answer));
        keep::whole(settle, call, target, || bytes.clone());
        return (bytes, false);
    }
    keep::whole(settle, call, target, || keep::written(call.dialect, response.clone(), &answer));
    if !call.stream {
        return (Bytes::from(codec.encode_response(response, &answer)), false);
    }
    let (mut encoder, mut text) = (codec.stream_encoder(answer), Vec::new());
    for event in response.into_events() {
        encoder.push(event, &mut text);
    }
    encoder.finish(&mut text);
    (Bytes::from(text), true)
}

fn refuse(error: GatewayError, dialect: Dialect, request_id: &str, settle: Box<Settle>, standing: &Standing) -> Reply {
    let mut reply = egress::error(&error, dialect, request_id);
    limits::tell(&mut reply.headers, standing, dialect);
    settle.refused(reply.status.as_u16(), error);
    reply
}

/// The answer to a request that no target could serve.
fn failed(gateway: &Arc<Gateway>, call: &SharedCall, failure: &Failure, mut settle: Box<Settle>) -> Reply {
    let mut reply = match failure {
        Failure::Upstream(refused) if failure.class() == FailureClass::Credential => {
            egress::error(&credential_refused(&refused.target), call.dialect, &call.request_id)
        }
        Failure::Upstream(refused) if Dialect::from(refused.target.dialect) == call.dialect => {
            egress::verbatim(refused)
        }
        Failure::Upstream(refused) => egress::translated(refused, call),
        Failure::Gateway { error, .. } => egress::error(error, call.dialect, &call.request_id),
    };
    let by_limit = matches!(failure.outcome(), Outcome::Shed | Outcome::RateLimited);
    settle.failed_for_all(failure);
    egress::spent(gateway, call, &mut reply, &settle, by_limit);
    explained(call, &mut reply, &settle, Some(failure.outcome()));
    settle.end(reply.status.as_u16(), failure.outcome(), Some(failure.text()));
    reply
}

/// Says in a header why the answer came about as it did, if the client wants to know.
fn explained(call: &Call, reply: &mut Reply, settle: &Settle, outcome: Option<Outcome>) {
    if call.explain
        && let Some(record) = settle.record()
    {
        explain::tell(reply, record, outcome);
    }
}

/// The body of an error for a client whose stream has begun.
pub fn error_body(call: &Call, failure: &Failure) -> Vec<u8> {
    let codec = codec::client(call.dialect);
    match failure {
        Failure::Upstream(refused) if failure.class() == FailureClass::Credential => {
            codec.encode_error(&credential_refused(&refused.target), &call.request_id)
        }
        Failure::Upstream(refused) => codec.encode_upstream_error(&refused.error, &call.request_id),
        Failure::Gateway { error, .. } => codec.encode_error(error, &call.request_id),
    }
}

/// What a client may know of it: the provider's words concern a key that is not the client's.
fn credential_refused(target: &Target) -> GatewayError {
    let message = format!(
        "{} refused the gateway's own credential; the operator finds the reason in the gateway's log",
        target.provider
    );
    GatewayError::new(ErrorKind::ProviderError, message)
}
