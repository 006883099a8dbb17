//! The way out: HTTP/1.1 over TCP and TLS to the origins that the operator configured, and to nowhere else.
//!
//! Connections are kept in a pool per worker thread, above hyper's connection API: no lock, no task in the background (see
//! [`crate::providers::line`]), no retry that the caller does not know of. No redirects are followed and no proxy environment is read.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use gateway_core::limits::{IDLE_CONNECTION_TIME, IDLE_CONNECTIONS_PER_ORIGIN_AND_WORKER};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service;

use crate::admission::Admitted;
use crate::decimal::Decimal;
use crate::providers::line::{Connection, Line};

/// Where a provider lives: scheme, host and port.
#[derive(Debug)]
pub struct Origin {
    id: u64,
    uri: Uri,
}

impl Origin {
    pub fn new(scheme: Scheme, authority: Authority) -> Result<Self, http::Error> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build()?;
        Ok(Origin { id: IDS.fetch_add(1, Ordering::Relaxed), uri })
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }
}

/// A request body in pieces; cheap to clone, so that an attempt can be repeated.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    first: Option<Bytes>,
    rest: VecDeque<Bytes>,
    length: u64,
}

/// Up to this length the pieces of a body are put together: to copy them costs less than to send them one by one.
const JOINED_BYTES: usize = 16 * 1024;

impl Payload {
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let (first, rest) = if pieces.len() > 1 && length <= JOINED_BYTES {
            (Some(Bytes::from(pieces.concat())), VecDeque::new())
        } else {
            let mut pieces = VecDeque::from(pieces);
            (pieces.pop_front(), pieces)
        };
        Payload { first, rest, length: length as u64 }
    }

    pub fn content_length(&self) -> HeaderValue {
        Decimal::new(self.length, 0).header()
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = self.rest.pop_front();
        let piece = std::mem::replace(&mut self.first, next);
        self.length -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendError {
    /// No connection: nothing was sent.
    Connect(String),
    /// Nobody took the connection within this time.
    ConnectTimeout(Duration),
    /// The connection ended after the request may have been sent.
    Broken(String),
    /// The process can open no more files: nothing is wrong with the provider.
    NoFiles,
    /// The answer is not HTTP, or its head is too large.
    Malformed(String),
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SendError::NoFiles => f.write_str("the process can open no more files"),
            SendError::Connect(text) => write!(f, "cannot connect: {text}"),
            SendError::ConnectTimeout(limit) => write!(f, "no connection within {} s", limit.as_secs_f64()),
            SendError::Broken(text) => write!(f, "the connection broke before the answer began: {text}"),
            SendError::Malformed(text) => write!(f, "the answer is not valid HTTP: {text}"),
        }
    }
}

#[derive(Clone)]
pub struct Client {
    connector: HttpsConnector<HttpConnector>,
    connect_timeout: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("connect_timeout", &self.connect_timeout).finish_non_exhaustive()
    }
}

thread_local! {
    static IDLE: RefCell<Pool> = RefCell::new(Pool { looked_at: Instant::now(), origins: Vec::new() });
}

/// The connections of a worker that wait for a request.
struct Pool {
    /// By the worker's tick, which is clock enough.
    looked_at: Instant,
    /// By the id of an origin, of which there are few.
    origins: Vec<(u64, Vec<Idle>)>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Client {
    /// `connect_timeout` covers name resolution, TCP and TLS.
    pub fn new(connect_timeout: Duration) -> Result<Self, rustls::Error> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(Duration::from_secs(30)));
        http.set_connect_timeout(Some(connect_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Client { connector, connect_timeout })
    }

    /// Sends one request and waits for the head of its answer. `request` has a relative URI and a `host` header.
    ///
    /// A kept connection that turns out to be closed is replaced by a fresh one, once: the server had closed it before it
    /// read anything.
    pub async fn send(
        &self,
        origin: &Arc<Origin>,
        request: impl Fn() -> Request<Payload>,
    ) -> Result<Response<AnswerBody>, SendError> {
        while let Some(mut connection) = take_idle(origin.id) {
            if connection.ready().await.is_err() {
                continue;
            }
            match connection.exchange(request()).await {
                Ok(response) => return Ok(AnswerBody::of(response, connection, origin)),
                Err(error)
                    if error.is_canceled()
                        || error.is_incomplete_message()
                        || error.is_closed()
                        || is_reset(&error) =>
                {
                    break;
                }
                Err(error) => return Err(send_error(&error)),
            }
        }
        // Rare, and large.
        let mut connection = Box::pin(self.connect(origin)).await?;
        match connection.exchange(request()).await {
            Ok(response) => Ok(AnswerBody::of(response, connection, origin)),
            Err(error) => Err(send_error(&error)),
        }
    }

    async fn connect(&self, origin: &Origin) -> Result<Connection, SendError> {
        let connecting = async {
            let io = self.connector.clone().call(origin.uri.clone()).await.map_err(|error| {
                if is_out_of_files(&*error) { SendError::NoFiles } else { SendError::Connect(chain(&*error)) }
            })?;
            let (sender, driver) = http1::Builder::new()
                .max_buf_size(READ_BUFFER_BYTES)
                .handshake(io)
                .await
                .map_err(|error| SendError::Connect(chain(&error)))?;
            Ok(Connection { sender, line: Line::new(driver) })
        };
        tokio::time::timeout(self.connect_timeout, connecting)
            .await
            .unwrap_or(Err(SendError::ConnectTimeout(self.connect_timeout)))
    }
}

/// Also the bound of an answer's head.
const READ_BUFFER_BYTES: usize = 256 * 1024;

fn take_idle(origin: u64) -> Option<Connection> {
    IDLE.with_borrow_mut(|idle| {
        let (_, connections) = idle.origins.iter_mut().find(|(id, _)| *id == origin)?;
        connections.pop().map(|idle| idle.connection)
    })
}

/// Closes this worker's idle connections that have waited for too long, that the provider has closed, or whose origin is not
/// among those in use.
pub fn sweep_idle(is_in_use: impl Fn(u64) -> bool) {
    let now = Instant::now();
    IDLE.with_borrow_mut(|idle| {
        idle.looked_at = now;
        idle.origins.retain_mut(|(origin, connections)| {
            connections.retain_mut(|kept| now - kept.since < IDLE_CONNECTION_TIME && kept.connection.line.is_open());
            is_in_use(*origin)
        });
    });
}

fn keep_idle(origin: u64, connection: Connection) {
    IDLE.with_borrow_mut(|Pool { looked_at, origins }| {
        let at = origins.iter().position(|(id, _)| *id == origin).unwrap_or_else(|| {
            origins.push((origin, Vec::new()));
            origins.len() - 1
        });
        let (_, connections) = &mut origins[at];
        if connections.len() >= IDLE_CONNECTIONS_PER_ORIGIN_AND_WORKER {
            connections.remove(0);
        }
        connections.push(Idle { connection, since: *looked_at });
    });
}

fn send_error(error: &hyper::Error) -> SendError {
    if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
        SendError::Malformed(chain(error))
    } else {
        SendError::Broken(chain(error))
    }
}

fn is_reset(error: &hyper::Error) -> bool {
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| matches!(io.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe))
}

/// Whether the process or the machine has reached its number of open files (`EMFILE`, `ENFILE`).
fn is_out_of_files(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut codes = causes.filter_map(|error| error.downcast_ref::<std::io::Error>()?.raw_os_error());
    codes.any(|code| matches!(code, 23 | 24))
}

/// An error with its causes, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.ends_with(&inner) {
            text = format!("{text}: {inner}");
        }
        cause = error.source();
    }
    text
}

/// The body of an answer. Read to its end, its connection returns to the pool; dropped before, it is closed, which tells
/// the provider that nobody listens any more.
#[derive(Debug)]
pub struct AnswerBody {
    body: Incoming,
    /// `None` once the body has ended.
    connection: Option<(u64, Connection)>,
}

impl AnswerBody {
    fn of(response: Response<Incoming>, connection: Connection, origin: &Origin) -> Response<AnswerBody> {
        let mut response = response.map(|body| AnswerBody { body, connection: Some((origin.id, connection)) });
        if response.body().body.is_end_stream() {
            response.body_mut().keep();
        }
        response
    }

    fn keep(&mut self) {
        if let Some((origin, mut connection)) = self.connection.take()
            && connection.line.rests()
        {
            keep_idle(origin, connection);
        }
    }

    /// The next bytes; `None` at the proper end of the body.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let Some((_, connection)) = &mut self.connection else { return Poll::Ready(None) };
            match ready!(connection.line.poll(cx, |cx| Pin::new(&mut self.body).poll_frame(cx))) {
                None => {
                    self.keep();
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Broken(chain(&error))))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        if self.body.is_end_stream() {
                            self.keep();
                        }
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
            }
        }
    }

    /// The whole body, of at most `limit` bytes, charged to the request as it comes. A single piece is passed without a copy.
    pub async fn collect(mut self, limit: usize, request: &Admitted) -> Result<Bytes, BodyError> {
        let mut next = async || {
            let piece = std::future::poll_fn(|cx| self.poll_bytes(cx)).await.transpose()?;
            if let Some(bytes) = &piece {
                request.charge_answer(bytes.len()).await.map_err(|_| BodyError::NoMemory)?;
            }
            Ok::<_, BodyError>(piece)
        };
        let Some(first) = next().await? else { return Ok(Bytes::new()) };
        let Some(second) = next().await? else {
            return if first.len() > limit { Err(BodyError::TooLong(limit)) } else { Ok(first) };
        };
        let mut whole = BytesMut::with_capacity(2 * (first.len() + second.len()));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(bytes) = next().await? {
            if whole.len() + bytes.len() > limit {
                return Err(BodyError::TooLong(limit));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }
}

/// Why a body did not come whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    Broken(String),
    TooLong(usize),
    /// The gateway itself has no room for it now.
    NoMemory,
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BodyError::Broken(text) => write!(f, "the connection broke in the middle of the answer: {text}"),
            BodyError::NoMemory => f.write_str("the gateway had no memory for the answer"),
            BodyError::TooLong(limit) => write!(f, "the answer is longer than {limit} bytes"),
        }
    }
}
