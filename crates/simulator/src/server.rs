//! The listener, the routes, and what happens to every request before and after a dialect answers it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::fault::{Fault, Instead};
use crate::ledger::{Dialect, Ending, Ledger, Receipt};
use crate::play::Play;
use crate::prompt_cache::PromptCache;
use crate::reply::{self, Context, Rejection, Reply, ReplyBody};
use crate::script::{self, Pace, Phrases};
use crate::wire::{Socket, Wire};
use crate::{Config, LedgerEntry, anthropic, embeddings, ids, openai};

const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;
/// Faults with `times` that are counted at once; beyond it all counts start anew.
const MAX_COUNTED_FAULTS: usize = 10_000;
const FAULT_HEADER: &str = "x-sim-fault";

/// A running simulator. Dropping it closes the listener and all connections.
#[derive(Debug)]
pub struct Simulator {
    addr: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl Simulator {
    /// Listens on `addr` (port 0 takes a free one) and serves on the current tokio runtime.
    ///
    /// # Errors
    /// Those of binding the address.
    pub async fn start(config: Config, addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State {
            ledger: Arc::new(Ledger::new(config.ledger_entries)),
            config,
            sequence: AtomicU64::new(0),
            faults: Mutex::default(),
            prompts: PromptCache::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { addr, state, accepting })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The requests remembered, in the order of their arrival.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.state.ledger.entries()
    }

    /// The same, and forgets them. Those still being answered are forgotten too.
    pub fn take_ledger(&self) -> Vec<LedgerEntry> {
        self.state.ledger.take()
    }

    /// Remembered requests that are still being received or answered.
    pub fn open(&self) -> usize {
        self.state.ledger.open_entries()
    }

    /// What the times of the ledger are counted from.
    pub fn started(&self) -> Instant {
        self.state.ledger.started()
    }

    /// Closes the listener and all connections, in the middle of answers too.
    pub async fn stop(mut self) {
        self.accepting.abort();
        // It ends as cancelled.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, Arc::clone(&state)));
                }
                // Out of file descriptors, or the peer was gone before it was accepted.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, state: Arc<State>) {
    // Without it small pieces wait for each other; it fails only on sockets that are already closed.
    let _ = stream.set_nodelay(true);
    let wire = Arc::new(Wire::default());
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&wire)));
    let service = service_fn(move |request| serve(Arc::clone(&state), Arc::clone(&wire), request));
    // A connection ends in an error when its peer leaves or a fault breaks it; the ledger says which.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(socket, service).await;
}

#[derive(Debug)]
struct State {
    config: Config,
    ledger: Arc<Ledger>,
    sequence: AtomicU64,
    /// How often each fault with `times` has been asked for, by model and header.
    faults: Mutex<HashMap<String, u64>>,
    prompts: PromptCache,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Route<'p> {
    Chat,
    Embeddings,
    Messages,
    CountTokens,
    Models,
    Model(&'p str),
    Unknown,
}

impl<'p> Route<'p> {
    fn of(path: &'p str) -> Self {
        match path {
            "/v1/chat/completions" => Route::Chat,
            "/v1/embeddings" => Route::Embeddings,
            "/v1/messages" => Route::Messages,
            "/v1/messages/count_tokens" => Route::CountTokens,
            "/v1/models" => Route::Models,
            _ => path.strip_prefix("/v1/models/").map_or(Route::Unknown, Route::Model),
        }
    }

    fn dialect(self, head: &Parts) -> Dialect {
        match self {
            Route::Messages | Route::CountTokens => Dialect::Anthropic,
            Route::Chat | Route::Embeddings => Dialect::OpenAi,
            _ if head.headers.contains_key("anthropic-version") => Dialect::Anthropic,
            _ => Dialect::OpenAi,
        }
    }

    fn method(self) -> Method {
        match self {
            Route::Models | Route::Model(_) => Method::GET,
            _ => Method::POST,
        }
    }
}

/// What was understood of a request before any dialect looked at it.
struct Asked<'h> {
    key: &'h str,
    /// What `anthropic-version` says.
    version: &'h str,
    /// Null for GET.
    body: Value,
    fault: Option<Fault>,
}

/// The connection is to end without an answer.
#[derive(Debug)]
struct Hangup;

impl fmt::Display for Hangup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulator hangs up")
    }
}

impl std::error::Error for Hangup {}

async fn serve(state: Arc<State>, wire: Arc<Wire>, request: Request<Incoming>) -> Result<Response<Play>, Hangup> {
    let (head, incoming) = request.into_parts();
    if let Some(response) = state.housekeeping(&head) {
        return Ok(response);
    }
    let sequence = state.sequence.fetch_add(1, Ordering::Relaxed) + 1;
    let mut receipt = state.ledger.open(sequence, &head);
    let route = Route::of(head.uri.path());
    let dialect = route.dialect(&head);
    let mut id_rng = ids::rng(state.config.seed, sequence);
    let request_id = match dialect {
        Dialect::OpenAi => ids::openai_request(&mut id_rng),
        Dialect::Anthropic => ids::anthropic_request(&mut id_rng),
    };

    let bytes = receive(incoming, dialect).await?;
    let body_hash = bytes.as_ref().map_or(0, ids::hash);
    if let (Some(receipt), Ok(bytes)) = (&receipt, &bytes) {
        receipt.request(bytes);
    }
    let mut asked = bytes.and_then(|bytes| state.read(&head, route, dialect, &bytes));
    let fault = asked.as_mut().ok().and_then(|asked| asked.fault.take());
    if let Some(receipt) = &receipt {
        let model = asked.as_ref().ok().and_then(|asked| asked.body.get("model")?.as_str());
        receipt.note(|entry| {
            entry.dialect = Some(dialect);
            entry.model = model.map(str::to_owned);
            entry.fault = fault.as_ref().map(|fault| fault.spec.clone());
        });
    }

    let seed = fault.as_ref().and_then(|fault| fault.seed).unwrap_or(state.config.seed);
    let streams = asked.as_ref().is_ok_and(|asked| asked.body.get("stream").and_then(Value::as_bool).unwrap_or(false));
    let instead = fault.as_ref().and_then(|fault| Some((fault, fault.instead(streams)?)));
    let reply = match (asked, instead) {
        (Err(rejection), _) => rejected(&rejection, dialect, &request_id),
        (Ok(_), Some((_, Instead::Refuse))) => return Err(hang_up(&mut receipt)),
        (Ok(_), Some((_, Instead::Reset))) => {
            wire.reset();
            return Err(hang_up(&mut receipt));
        }
        (Ok(_), Some((_, Instead::Stall))) => std::future::pending().await,
        (Ok(_), Some((fault, instead))) => replaced(instead, fault, dialect, streams, &request_id),
        (Ok(asked), None) => {
            let now = reply::now(state.config.created);
            let text_rng = ids::rng(seed, body_hash);
            let context = Context { config: &state.config, fault: fault.as_ref(), now, seed, text_rng, id_rng };
            let reply = state.reply(route, dialect, &asked, context);
            reply.unwrap_or_else(|rejection| rejected(&rejection, dialect, &request_id))
        }
    };
    let Reply { status, mut headers, body, usage } = match dialect {
        Dialect::OpenAi => reply.header_text("x-request-id", &request_id),
        Dialect::Anthropic => anthropic::with_request_id(reply, &request_id),
    };

    let mut pace = Pace { first: Duration::ZERO, between: state.config.chunk_delay };
    if matches!(route, Route::Chat | Route::Messages) && status == StatusCode::OK {
        pace.first = state.config.first_token_delay;
    }
    if matches!(body, ReplyBody::Whole(_)) {
        let delay = pace.first + fault.as_ref().map_or(Duration::ZERO, |fault| fault.slow_first);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
    if let Some(receipt) = &receipt {
        receipt.answered(status.as_u16(), usage);
    }
    let strange_headers = fault.as_ref().map(Fault::headers).unwrap_or_default();
    let script = match (body, fault) {
        (ReplyBody::Whole(bytes), None) => return Ok(respond(status, headers, Play::whole(bytes, receipt))),
        (ReplyBody::Stream(events), None) => script::stream(events, pace),
        (body, Some(fault)) => {
            let mut rng = ids::rng(seed, (body_hash, "pieces"));
            match body {
                ReplyBody::Whole(bytes) => script::faulty_whole(bytes, &fault, &mut rng),
                ReplyBody::Stream(events) => {
                    let phrases = phrases(dialect, &fault, &request_id);
                    script::faulty_stream(events, pace, &fault, phrases, &mut rng)
                }
            }
        }
    };
    if let Some(length) = script.length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    headers.extend(strange_headers);
    Ok(respond(status, headers, Play::script(script, wire, receipt)))
}

/// The whole body, or why the vendor refuses it.
async fn receive(incoming: Incoming, dialect: Dialect) -> Result<Result<Bytes, Rejection>, Hangup> {
    match Limited::new(incoming, MAX_BODY_BYTES).collect().await {
        Ok(body) => Ok(Ok(body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(Err(match dialect {
            Dialect::OpenAi => openai::too_large(MAX_BODY_BYTES),
            Dialect::Anthropic => anthropic::too_large(),
        })),
        Err(_) => Err(Hangup),
    }
}

fn respond(status: StatusCode, headers: HeaderMap, body: Play) -> Response<Play> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn hang_up(receipt: &mut Option<Receipt>) -> Hangup {
    if let Some(receipt) = receipt {
        receipt.end(Ending::Fault);
    }
    Hangup
}

fn rejected(rejection: &Rejection, dialect: Dialect, request_id: &str) -> Reply {
    match dialect {
        Dialect::OpenAi => openai::error_reply(rejection),
        Dialect::Anthropic => anthropic::error_reply(rejection, request_id),
    }
}

fn phrases(dialect: Dialect, fault: &Fault, request_id: &str) -> Phrases {
    match dialect {
        Dialect::OpenAi => openai::phrases(fault.error_type.as_deref()),
        Dialect::Anthropic => anthropic::phrases(fault.error_type.as_deref(), request_id),
    }
}

/// What a fault sends instead of an answer. Those that send nothing are handled before.
fn replaced(instead: &Instead, fault: &Fault, dialect: Dialect, streams: bool, request_id: &str) -> Reply {
    match instead {
        Instead::Error(refusal) => {
            let rejection = match dialect {
                Dialect::OpenAi => openai::refusal(refusal),
                Dialect::Anthropic => anthropic::refusal(refusal),
            };
            let mut reply = rejected(&rejection, dialect, request_id);
            for (name, value) in [("retry-after", &refusal.retry_after), ("retry-after-ms", &refusal.retry_after_ms)] {
                if let Some(value) = value {
                    reply.headers.insert(name, value.clone());
                }
            }
            reply
        }
        Instead::Redirect(location) => {
            let mut reply = Reply::json(StatusCode::FOUND, Bytes::new());
            reply.headers.insert(LOCATION, location.clone());
            reply
        }
        Instead::Html => {
            Reply::json(StatusCode::OK, "<!DOCTYPE html>\n<html><body><h1>Welcome to the proxy</h1></body></html>\n")
                .header("content-type", "text/html; charset=utf-8")
        }
        Instead::ErrorIn200 if streams => {
            let error = phrases(dialect, fault, request_id).error;
            Reply::stream(vec![script::Event { kind: script::Kind::Frame, bytes: error.into() }])
        }
        Instead::ErrorIn200 => {
            let kind = fault.error_type.as_deref();
            let body = match dialect {
                Dialect::OpenAi => openai::error_in_200(kind),
                Dialect::Anthropic => anthropic::error_in_200(kind, request_id),
            };
            Reply::json(StatusCode::OK, body)
        }
        Instead::Empty | Instead::Refuse | Instead::Reset | Instead::Stall => Reply::json(StatusCode::OK, Bytes::new()),
    }
}

impl State {
    /// The simulator's own routes; the ledger does not list them.
    fn housekeeping(&self, head: &Parts) -> Option<Response<Play>> {
        let body = match (head.uri.path(), &head.method) {
            ("/health", &Method::GET) => br#"{"status":"healthy"}"#.to_vec(),
            ("/ledger", &Method::GET) => serde_json::to_vec(&self.ledger.entries()).unwrap_or_default(),
            ("/ledger", &Method::DELETE) => {
                self.ledger.clear();
                br#"{"cleared":true}"#.to_vec()
            }
            _ => return None,
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Some(respond(StatusCode::OK, headers, Play::whole(body.into(), None)))
    }

    /// Checks route, key and JSON, in this order, and finds the fault.
    fn read<'h>(
        &self,
        head: &'h Parts,
        route: Route<'_>,
        dialect: Dialect,
        bytes: &Bytes,
    ) -> Result<Asked<'h>, Rejection> {
        let path = head.uri.path();
        if route == Route::Unknown || head.method != route.method() {
            let unknown = route == Route::Unknown;
            return Err(match dialect {
                Dialect::OpenAi if unknown => openai::unknown_url(&head.method, path),
                Dialect::OpenAi => openai::wrong_method(&head.method, path),
                Dialect::Anthropic if unknown => anthropic::unknown_url(),
                Dialect::Anthropic => anthropic::wrong_method(),
            });
        }
        let key = match dialect {
            Dialect::OpenAi => openai::authenticate(&head.headers)?,
            Dialect::Anthropic => anthropic::authenticate(&head.headers)?,
        };
        let body = if head.method == Method::POST {
            serde_json::from_slice(bytes).map_err(|error| match dialect {
                Dialect::OpenAi => openai::invalid_json(),
                Dialect::Anthropic => anthropic::invalid_json(&error),
            })?
        } else {
            Value::Null
        };
        let fault = self.fault(head, &body)?;
        Ok(Asked { key, version: anthropic::version(&head.headers), body, fault })
    }

    /// The fault of the header, else of the model name, unless it has been applied often enough.
    fn fault(&self, head: &Parts, body: &Value) -> Result<Option<Fault>, Rejection> {
        let model = body.get("model").and_then(Value::as_str).unwrap_or("");
        let header = head.headers.get(FAULT_HEADER).and_then(|value| value.to_str().ok());
        let Some(spec) = header.or_else(|| Fault::spec_in_model(model)) else { return Ok(None) };
        let fault = Fault::parse(spec).map_err(Rejection::invalid)?;
        let Some(times) = fault.times else { return Ok(Some(fault)) };
        let mut counts = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_COUNTED_FAULTS {
            counts.clear();
        }
        let count = counts.entry(format!("{model} {spec}")).or_default();
        *count += 1;
        Ok(Some(fault).filter(|_| *count <= times))
    }

    fn reply(
        &self,
        route: Route<'_>,
        dialect: Dialect,
        asked: &Asked<'_>,
        context: Context<'_>,
    ) -> Result<Reply, Rejection> {
        match (route, dialect) {
            (Route::Chat, _) => openai::chat(&asked.body, context),
            (Route::Embeddings, _) => embeddings::embeddings(&asked.body, self.config.seed),
            (Route::Messages, _) => {
                let model = asked.body.get("model").and_then(Value::as_str);
                let cached = || self.prompts.look_up(&asked.body, (asked.key, model));
                anthropic::messages(&asked.body, asked.version, cached, context)
            }
            (Route::CountTokens, _) => anthropic::count_tokens(&asked.body, asked.version),
            (Route::Models, Dialect::OpenAi) => Ok(openai::models()),
            (Route::Models, Dialect::Anthropic) => Ok(anthropic::models()),
            (Route::Model(id), Dialect::OpenAi) => openai::model(id),
            (Route::Model(id), Dialect::Anthropic) => anthropic::model(id),
            (Route::Unknown, _) => Err(openai::unknown_url(&Method::POST, "")),
        }
    }
}
