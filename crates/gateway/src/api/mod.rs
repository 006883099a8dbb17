//! The HTTP edge: connections (`listen`), what comes in (`routes`, `ingress`), what goes out (`egress`, `body`), and the
//! routes that answer about the gateway itself.

pub mod about;
pub mod body;
pub mod docs;
pub mod egress;
pub mod ingress;
pub mod listen;
pub mod models;
pub mod routes;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt;
use gateway_core::error::{ErrorKind, GatewayError};
use http::{Request, Response, header};
use hyper::body::Incoming;

use crate::api::body::ReplyBody;
use crate::api::egress::Reply;
use crate::api::ingress::Inbound;
use crate::api::routes::{Action, Family, Found, Row};
use crate::gateway::Gateway;
use crate::pipeline;

/// Answers any request.
pub async fn respond(gateway: Arc<Gateway>, request: Request<Incoming>, local: SocketAddr) -> Response<ReplyBody> {
    let started = Instant::now();
    let request_id = request_id();
    let dialect = routes::dialect_of(request.uri().path());
    // A request whose handling panics fails alone.
    let handled = AssertUnwindSafe(dispatch(&gateway, request, local, started, &request_id)).catch_unwind().await;
    let result = handled.unwrap_or_else(|_| {
        Err(GatewayError::new(ErrorKind::Internal, "the gateway failed at this request; its log says why"))
    });
    let mut reply = result.unwrap_or_else(|error| egress::error(&error, dialect, &request_id));
    egress::identify(&mut reply, dialect, &request_id);
    reply.into_response()
}

/// Sortable by time, unique in practice. It is a name, not a secret: no system call for its randomness.
fn request_id() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let random = fastrand::u128(..).to_ne_bytes();
    let [a, b, c, d, e, f, g, h, i, j, ..] = random;
    let id =
        uuid::Builder::from_unix_timestamp_millis(now.as_millis() as u64, &[a, b, c, d, e, f, g, h, i, j]).into_uuid();
    let mut text = String::with_capacity(36);
    text.push_str("req_");
    text.push_str(id.simple().encode_lower(&mut uuid::Uuid::encode_buffer()));
    text
}

async fn dispatch(
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
    local: SocketAddr,
    started: Instant,
    request_id: &str,
) -> Result<Reply, GatewayError> {
    ingress::check_head(&request, local)?;
    let (head, body) = request.into_parts();
    let (row, family, parameter): (&'static Row, Family, &str) = match routes::find(&head.method, head.uri.path()) {
        Found::Row { row, family, parameter } => (row, family, parameter),
        Found::WrongMethod(allow) => {
            let error = GatewayError::new(ErrorKind::MethodNotAllowed, format!("{} takes {allow}", head.uri.path()));
            let mut reply = egress::error(&error, routes::dialect_of(head.uri.path()), request_id);
            if let Ok(allow) = allow.parse() {
                reply.headers.insert(header::ALLOW, allow);
            }
            return Ok(reply);
        }
        Found::Nothing => return Err(egress::not_found(head.uri.path())),
    };
    match row.action {
        Action::Complete { dialect, streamed } => {
            let body = ingress::read_body(&head.headers, body, gateway.config.server.body_limit_bytes).await?;
            let inbound = Inbound {
                route: row.name,
                request_id: request_id.to_owned(),
                correlation_id: ingress::correlation_id(&head.headers),
                started,
                headers: head.headers,
                body,
            };
            Ok(pipeline::handle(gateway.clone(), inbound, dialect, streamed).await)
        }
        Action::ListModels => {
            models::list(gateway, models::is_anthropic(family, &head.headers), head.uri.query().unwrap_or_default())
        }
        Action::ShowModel => models::show(gateway, models::is_anthropic(family, &head.headers), parameter),
        Action::ListProviders => Ok(about::providers(gateway)),
        Action::ProviderHealth => about::provider_health(gateway, parameter),
        Action::CacheStats => Ok(about::cache_stats()),
        Action::CacheClear => Ok(about::cache_clear()),
        Action::CacheFeedback => Err(about::no_cache_hit()),
        Action::Health => Ok(about::health(gateway)),
        Action::Live => Ok(about::live()),
        Action::Ready => Ok(about::ready(gateway)),
        Action::Metrics => Ok(about::metrics(gateway)),
        Action::Root => Ok(about::root()),
        Action::Asset(asset) => Ok(docs::asset(asset)),
        Action::OpenApi => Ok(docs::openapi()),
        Action::NotBuilt { what } => Err(GatewayError::new(
            ErrorKind::NotFound,
            format!("{what} is not built yet: {} will answer in a later version", row.name),
        )),
    }
}
