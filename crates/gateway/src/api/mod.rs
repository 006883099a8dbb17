//! The HTTP edge: connections (`listen`), what comes in (`routes`, `ingress`), what goes out (`egress`, `body`), and the
//! routes that answer about the gateway itself.

pub mod about;
pub mod admin;
pub mod body;
pub mod cache;
pub mod docs;
pub mod egress;
pub mod explain;
pub mod frames;
pub mod headers;
pub mod ingress;
pub mod listen;
pub mod models;
pub mod pace;
pub mod routes;
pub mod streams;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use gateway_core::dialect::Dialect;
use gateway_core::error::{ErrorKind, GatewayError};
use gateway_core::limits::QUEUE_TIME;
use http::request::Parts;
use http::{HeaderValue, Response, header};
use http_body::Body;
use hyper::body::Incoming;

use crate::access::{Approach, Granted, browser};
use crate::admission::Shed;
use crate::api::body::ReplyBody;
use crate::api::egress::Reply;
use crate::api::ingress::Inbound;
use crate::api::listen::Ends;
use crate::api::pace::Busy;
use crate::api::routes::{Action, Family, Found, Row};
use crate::call::{self, Caller};
use crate::gateway::Gateway;
use crate::limits;
use crate::pipeline;
use crate::request_id::RequestId;
use crate::settle::{Record, Settle};

/// Answers any request.
pub async fn respond(
    gateway: Arc<Gateway>,
    request: Box<(Parts, Incoming)>,
    ends: Ends,
    mut busy: Busy,
) -> Response<ReplyBody> {
    let head = &request.0;
    let approach = Approach::new(ends, &head.headers, &gateway.config.server.trusted_proxies);
    let mut arrival = Arrival {
        started: Instant::now(),
        request_id: RequestId::new(),
        correlation_id: ingress::correlation_id(&head.headers),
        dialect: routes::dialect_of(head.uri.path()),
        caller: Caller::Address(approach.address),
    };
    let mut route = "none";
    let result = {
        // Where it lies: to move it would take longer than to decide what to do.
        let handling = pin!(dispatch(&gateway, request, approach, &mut arrival, &mut busy, &mut route));
        failing_alone(handling).await
    };
    let mut reply = result.unwrap_or_else(|error| {
        let reply = egress::error(&error, arrival.dialect, &arrival.request_id);
        let settle = Settle::open(gateway.clone(), arrival.started, Record::new(&arrival, route, arrival.dialect));
        settle.refused(reply.status.as_u16(), error);
        reply
    });
    egress::identify(&mut reply, &gateway, &arrival);
    if gateway.is_draining() {
        // The next request of this client is for another gateway, and not for a connection that is about to be closed.
        reply.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply.into_response(busy)
}

/// A request whose handling panics fails alone.
async fn failing_alone<T>(handling: impl Future<Output = Result<T, GatewayError>>) -> Result<T, GatewayError> {
    AssertUnwindSafe(handling).catch_unwind().await.unwrap_or_else(|_| {
        Err(GatewayError::new(ErrorKind::Internal, "the gateway failed at this request; its log says why"))
    })
}

/// What is known of a request before anything of it has been understood.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub started: Instant,
    pub request_id: RequestId,
    /// The client's own name for the request.
    pub correlation_id: Option<String>,
    /// In which its errors are told.
    pub dialect: Dialect,
    pub caller: Caller,
}

async fn dispatch(
    gateway: &Arc<Gateway>,
    request: Box<(Parts, Incoming)>,
    approach: Approach,
    arrival: &mut Arrival,
    busy: &mut Busy,
    route: &mut &'static str,
) -> Result<Reply, GatewayError> {
    let head = &request.0;
    ingress::check_size(&head.headers)?;
    if approach.to_loopback {
        browser::check_loopback(head)?;
    }
    let (row, family, parameter): (&'static Row, Family, &str) = match routes::find(&head.method, head.uri.path()) {
        Found::Row { row, family, parameter } => (row, family, parameter),
        Found::WrongMethod(allow) => return Err(egress::wrong_method(head.uri.path(), allow)),
        Found::Nothing => return Err(egress::not_found(head.uri.path())),
    };
    *route = row.name;
    let Granted { caller, details } = gateway.guard.authorize(row, head, approach, &gateway.process.keys)?;
    arrival.caller = caller;
    let scope = arrival.caller.scope();
    match row.action {
        // In a box: a request has all of its way before it, and would be copied at each step down to here.
        Action::Complete { .. } | Action::CountTokens => Box::pin(answer(gateway, row, request, arrival, busy)).await,
        Action::ListModels => {
            let anthropic = models::is_anthropic(family, &head.headers);
            models::list(gateway, anthropic, head.uri.query().unwrap_or_default(), scope)
        }
        Action::ShowModel => models::show(gateway, models::is_anthropic(family, &head.headers), parameter, scope),
        Action::ListProviders => Ok(about::providers(gateway, scope)),
        Action::ProviderHealth => about::provider_health(gateway, parameter, scope),
        Action::CacheStats => Ok(cache::stats(gateway)),
        Action::CacheClear => {
            Box::pin(cache::clear(gateway, head.uri.query().unwrap_or_default(), &arrival.caller)).await
        }
        Action::CacheFeedback => Box::pin(cache::feedback(gateway, arrival, head, request.1)).await,
        Action::Health => Ok(about::health(gateway, details)),
        Action::Live => Ok(about::live()),
        Action::Ready => Ok(about::ready(gateway)),
        Action::Metrics => Ok(about::metrics(gateway)),
        Action::Root => Ok(about::root()),
        Action::Asset(asset) => Ok(docs::asset(asset)),
        Action::OpenApi => Ok(docs::openapi()),
        // Rare, and larger by far: in boxes, so that no other request has to have room for them.
        Action::ExplainRequest => Box::pin(explain::request(gateway, parameter, &arrival.caller)).await,
        Action::Admin(admin) => Box::pin(admin::act(gateway, admin, arrival.started, head, parameter, request.1)).await,
        Action::NotBuilt { what } => Err(GatewayError::new(
            ErrorKind::NotFound,
            format!("{what} is not built yet: {} will answer in a later version", row.name),
        )),
    }
}

/// Answers a request for an answer of a provider.
async fn answer(
    gateway: &Arc<Gateway>,
    row: &'static Row,
    request: Box<(Parts, Incoming)>,
    arrival: &Arrival,
    busy: &mut Busy,
) -> Result<Reply, GatewayError> {
    let (head, body) = (&request.0, request.1);
    let process = &gateway.process;
    if busy.is_spare() {
        return Err(process.shed(Shed::Connections));
    }
    let (dialect, tokens) = match row.action {
        Action::Complete { dialect, .. } => (dialect, 1),
        _ => (Dialect::AnthropicMessages, 0),
    };
    let looked = limits::look(gateway, &arrival.caller, &head.headers, dialect, tokens, arrival.started);
    let looked = match looked {
        Ok(looked) => looked,
        Err(refused) => return Ok(pipeline::turn_away(gateway, arrival, row.name, dialect, &refused)),
    };
    let deadline = || arrival.started + call::timeout_of(&head.headers).unwrap_or(QUEUE_TIME);
    let limit = gateway.config.server.body_limit_bytes;
    // What is too long for any time is told so below.
    let announced = Some(body.size_hint().lower()).filter(|&length| length <= limit as u64).unwrap_or_default();
    let admitted =
        process.admission.admit(announced, busy.reader().clone(), deadline).await.map_err(|why| process.shed(why))?;
    busy.hold(admitted.clone());
    let shed = |why| process.shed(why);
    let body = ingress::read_body(arrival.started, &head.headers, body, limit, &admitted, shed).await;
    let unread = body.is_err();
    let (arrival, headers) = (arrival.clone(), request.0.headers);
    let inbound = Inbound { arrival, route: row.name, headers, body, admitted, looked };
    let mut reply = match row.action {
        Action::Complete { dialect, streamed } => pipeline::handle(gateway.clone(), inbound, dialect, streamed).await,
        _ => pipeline::count_tokens(gateway.clone(), inbound).await,
    };
    if unread {
        // The rest of the body may still come: hyper closes the connection, and its client is told.
        reply.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Ipv4Addr;
    use std::sync::Mutex;

    use super::*;
    use crate::admission::Reader;
    use crate::gateway::tests::writing_to;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_copied_for_every_request_is_small() {
        fn size<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
            size_of::<F>()
        }
        // Whoever needs more room than this for something rare puts that into a box.
        let (whole, attempts) = (size(respond), size(crate::dispatch::run));
        assert!(whole <= 400 && attempts <= 3400, "{whole} {attempts}");
    }

    #[tokio::test]
    async fn a_request_that_panics_fails_alone_is_told_once_and_leaves_nothing_behind() {
        let lines = Lines::default();
        let gateway = Arc::new(writing_to(lines.clone()));
        let admission = &gateway.process.admission;
        let arrival = Arrival {
            started: Instant::now(),
            request_id: RequestId::new(),
            correlation_id: None,
            dialect: Dialect::OpenAiChat,
            caller: Caller::Address(Ipv4Addr::LOCALHOST.into()),
        };
        let handling = async {
            let admitted = admission.admit(0, Reader::new(), Instant::now).await.map_err(Shed::error)?;
            admitted.charge_body(1_000_000).await.map_err(Shed::error)?;
            assert!(admission.memory.used() > 1_000_000 && admission.requests.in_use() == 1);
            let settle =
                Settle::open(gateway.clone(), arrival.started, Record::new(&arrival, "POST /", arrival.dialect));
            tokio::task::yield_now().await;
            assert!(settle.record().is_none(), "a bug, on purpose");
            Ok(())
        };
        let error = failing_alone(handling).await.unwrap_err();
        let reply = egress::error(&error, arrival.dialect, &arrival.request_id);
        assert_eq!(reply.status, 500);
        assert_eq!((admission.memory.used(), admission.requests.in_use()), (0, 0));
        assert_eq!(gateway.process.metrics.in_flight.get(), 0);
        gateway.process.log.flush();
        let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let told: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(told.len(), 1, "{said}");
        assert_eq!((&told[0]["outcome"], &told[0]["status"]), (&"internal_error".into(), &500.into()), "{said}");
        assert!(failing_alone(async { Ok(()) }).await.is_ok(), "the next one is served");
    }
}
