//! Connections: accepted by one task, served by one thread per core.
//!
//! A connection stays with its worker, and so do the upstream connections that its requests use: no request crosses a
//! thread, and no lock is shared on its way. A new connection goes to the worker that has the fewest.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use gateway_core::limits::{
    ADMIN_CONNECTIONS, REQUEST_HEADER_BYTES, REQUEST_HEADERS, REQUEST_HEADERS_TIME, SPARE_CONNECTIONS,
};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::access::Door;
use crate::api::body::ReplyBody;
use crate::api::frames::Counted;
use crate::api::pace::{Busy, Guarded, Pace};
use crate::api::streams::Streams;
use crate::config::Tls;
use crate::gateway::{Current, Process};
use crate::providers::client;
use crate::telemetry::log::Level;

/// Read buffer of a connection; a body of this size comes in one piece.
const BUFFER_BYTES: usize = 128 * 1024;
/// Between two looks for room where there was none for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections waiting for one worker.
const BACKLOG: usize = 1024;
/// Connections that wait to be accepted.
const LISTEN_BACKLOG: u32 = 1024;
/// How long a connection without a request yet is kept when the drain begins, and how often it is looked at.
const FRESH_TIME: Duration = Duration::from_secs(1);
const FRESH_LOOK_TIME: Duration = Duration::from_millis(5);

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Serving,
    /// Finish what has begun.
    Draining,
    /// End what is still open.
    Closing,
}

/// A connection that was accepted.
struct Accepted {
    stream: std::net::TcpStream,
    /// One more than there may be: it is served once.
    is_spare: bool,
}

struct Worker {
    connections: mpsc::Sender<Accepted>,
    open: Arc<AtomicUsize>,
}

/// The threads that serve connections to one listener.
pub struct Workers {
    door: Door,
    workers: Vec<Worker>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("door", &self.door).field("count", &self.workers.len()).finish_non_exhaustive()
    }
}

impl Workers {
    pub fn start(
        door: Door,
        count: usize,
        process: &Arc<Process>,
        current: &Arc<Current>,
        phase: &watch::Receiver<Phase>,
    ) -> io::Result<Workers> {
        let (mut workers, mut threads) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for index in 0..count {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (connections, inbox) = mpsc::channel(BACKLOG);
            let open = Arc::new(AtomicUsize::new(0));
            let (process, current, phase) = (process.clone(), current.clone(), phase.clone());
            let shared = Shared { door, process, current, phase, open: open.clone() };
            workers.push(Worker { connections, open });
            let work = move || runtime.block_on(serve_inbox(shared, inbox));
            threads.push(std::thread::Builder::new().name(format!("{}-{index}", door.name())).spawn(work)?);
        }
        Ok(Workers { door, workers, threads })
    }

    fn give(&self, accepted: Accepted) {
        let least = self.workers.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed));
        if let Some(worker) = least {
            worker.open.fetch_add(1, Ordering::Relaxed);
            // A worker with a full inbox is overwhelmed: the connection is closed, which is what its client can act upon.
            if worker.connections.try_send(accepted).is_err() {
                worker.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Connections that may be open at a time.
    fn limit(&self, current: &Current) -> usize {
        match self.door {
            Door::Admin => ADMIN_CONNECTIONS,
            Door::Public => {
                let gateway = current.get();
                gateway.config.server.max_connections.unwrap_or_else(|| gateway.process.connections())
            }
        }
    }

    pub fn open(&self) -> usize {
        self.workers.iter().map(|worker| worker.open.load(Ordering::Relaxed)).sum()
    }

    /// Lets the workers end once their connections have.
    pub fn join(self) {
        drop(self.workers);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// `shared`: other processes of the same user may listen there as well, and the kernel spreads connections among them.
pub fn bind(addr: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // The port of a process that has just ended is free.
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    socket.bind(addr)?;
    socket.listen(LISTEN_BACKLOG)
}

/// Closes the listener. Connections that wait to be accepted were made before, and are served.
pub fn close(listener: TcpListener, workers: &Workers) {
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..LISTEN_BACKLOG {
        let Ok((stream, _)) = listener.accept() else { return };
        // What an accepted connection inherits from its listener differs from system to system.
        if stream.set_nonblocking(true).is_ok() {
            workers.give(Accepted { stream, is_spare: false });
        }
    }
}

/// Accepts connections until the drain begins.
pub async fn accept(listener: &TcpListener, workers: &Workers, mut phase: watch::Receiver<Phase>, current: &Current) {
    let process = current.get().process.clone();
    let mut told = None;
    loop {
        let limit = workers.limit(current);
        if workers.open() >= limit + SPARE_CONNECTIONS {
            // The rest waits with the kernel; a client that leaves, or is idle for too long, makes room.
            pause(&process, &mut told, "as many connections are open as may be", limit).await;
            if *phase.borrow() != Phase::Serving {
                return;
            }
            continue;
        }
        let is_spare = workers.open() >= limit;
        if workers.door == Door::Public {
            process.set_crowded(workers.open() > limit / 4 * 3);
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
        };
        match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => workers.give(Accepted { stream, is_spare }),
            Err(error) if is_connection_error(&error) => {}
            Err(error) => {
                // Out of file descriptors or memory: what is open goes on, what is new must wait.
                pause(&process, &mut told, &error.to_string(), workers.open()).await;
            }
        }
    }
}

/// Takes no connections for a moment; says so once a second at most.
async fn pause(process: &Process, told: &mut Option<Instant>, why: &str, open: usize) {
    process.metrics.accept_pauses.inc();
    if told.is_none_or(|told| told.elapsed() >= Duration::from_secs(1)) {
        *told = Some(Instant::now());
        let fields = [("error", why.into()), ("open_connections", open.into())];
        process.log.event(Level::Error, "cannot accept connections", fields);
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

#[derive(Clone)]
struct Shared {
    door: Door,
    process: Arc<Process>,
    current: Arc<Current>,
    phase: watch::Receiver<Phase>,
    open: Arc<AtomicUsize>,
}

/// A worker's timers are checked at least this often.
///
/// A timer that is due before all others makes the runtime wake itself, with a system call. The timers of requests are all
/// longer than this one, so theirs never do.
const TICK: Duration = Duration::from_secs(1);

async fn serve_inbox(shared: Shared, mut inbox: mpsc::Receiver<Accepted>) {
    let current = shared.current.clone();
    let ticking = tokio::spawn(async move {
        loop {
            tokio::time::sleep(TICK).await;
            let gateway = current.get();
            client::sweep_idle(|origin| gateway.catalog.uses(origin));
            if let Some(cache) = &gateway.cache {
                cache.answers.expire();
            }
        }
    });
    let mut tasks = tokio::task::JoinSet::new();
    let mut phase = shared.phase.clone();
    loop {
        tokio::select! {
            accepted = inbox.recv() => match accepted {
                Some(accepted) => {
                    let shared = shared.clone();
                    tasks.spawn(async move {
                        let open = Open::new(shared);
                        // How a connection ended is told by the requests on it.
                        let _ = serve(&open.0, accepted).await;
                    });
                }
                None => break,
            },
            Some(_) = tasks.join_next() => {}
        }
    }
    ticking.abort();
    let all = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        () = all => {}
        // A moment for the last words of streams.
        () = async { let _ = phase.wait_for(|phase| *phase == Phase::Closing).await; tokio::time::sleep(Duration::from_millis(500)).await } => {}
    }
    // Not later than the runtime on which they stand.
    client::sweep_idle(|_| false);
}

/// A connection that is open: counted until it is dropped, also by a panic.
struct Open(Shared);

impl Open {
    fn new(shared: Shared) -> Self {
        shared.process.metrics.connections.inc();
        Open(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.process.metrics.connections.dec();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub door: Door,
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

async fn serve(shared: &Shared, accepted: Accepted) -> io::Result<()> {
    let Accepted { stream, is_spare } = accepted;
    stream.set_nodelay(true)?;
    let ends = Ends { door: shared.door, local: stream.local_addr()?, peer: stream.peer_addr()? };
    let stream = TcpStream::from_std(stream)?;
    let pace = Arc::new(Pace::new(is_spare, shared.process.clone()));
    let guarded = Guarded::new(stream, pace.clone());
    let tls = shared.current.get().tls.clone();
    match tls {
        None => serve_http(shared, guarded, pace, ends).await,
        // Larger by far: others need not have room for it.
        Some(tls) => {
            Box::pin(async move {
                let handshake = tokio::time::timeout(REQUEST_HEADERS_TIME, TlsAcceptor::from(tls).accept(guarded));
                let stream = handshake.await.map_err(|_| io::ErrorKind::TimedOut)??;
                serve_http(shared, stream, pace, ends).await
            })
            .await
        }
    }
}

async fn serve_http<S>(shared: &Shared, stream: S, pace: Arc<Pace>, ends: Ends) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let is_spare = pace.is_spare;
    let service = Front { current: shared.current.clone(), pace: pace.clone(), ends };
    let mut builder = auto::Builder::new(Streams::new(shared.phase.clone(), shared.process.clone()));
    builder
        .http1()
        .keep_alive(!is_spare)
        // The connection itself keeps watch: see [`Guarded`].
        .header_read_timeout(None)
        .max_headers(REQUEST_HEADERS)
        .max_buf_size(BUFFER_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .max_concurrent_streams(256)
        .max_header_list_size(REQUEST_HEADER_BYTES as u32);
    let connection = builder.serve_connection(TokioIo::new(Counted::new(stream)), service);
    tokio::pin!(connection);
    let mut phase = shared.phase.clone();
    loop {
        let changed = {
            let (mut changed, mut waits) = (pin!(phase.changed()), false);
            let next = poll_fn(|cx| {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(Err(ended));
                }
                // Asked once, it wakes this task when the time has come: not to be asked again with every request.
                if std::mem::replace(&mut waits, true) && matches!(shared.phase.has_changed(), Ok(false)) {
                    return Poll::Pending;
                }
                changed.as_mut().poll(cx).map(Ok)
            });
            match next.await {
                Ok(changed) => changed,
                Err(ended) => return ended.map_err(io::Error::other),
            }
        };
        if changed.is_err() {
            return connection.await.map_err(io::Error::other);
        }
        // Polled again after this, the connection lets its open streams see that the gateway is closing.
        if *phase.borrow_and_update() == Phase::Draining {
            // The request of a client that has just connected is on its way, and cannot go elsewhere.
            let begun = async {
                while pace.is_fresh() {
                    tokio::time::sleep(FRESH_LOOK_TIME).await;
                }
            };
            tokio::select! {
                biased;
                ended = connection.as_mut() => return ended.map_err(io::Error::other),
                _ = tokio::time::timeout(FRESH_TIME, begun) => {}
            }
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// hyper's way into the program.
struct Front {
    current: Arc<Current>,
    pace: Arc<Pace>,
    ends: Ends,
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (gateway, ends, mut busy) = (self.current.get(), self.ends, Busy::new(self.pace.clone()));
        // In a box: it goes from hand to hand, and each would have to have room for it.
        let request = Box::new(request.into_parts());
        Box::pin(async move {
            busy.find_reader();
            Ok(super::respond(gateway, request, ends, busy).await)
        })
    }
}

/// TLS with the operator's certificate, for HTTP/2 and HTTP/1.1.
pub fn tls(tls: &Tls) -> Arc<rustls::ServerConfig> {
    let mut config = tls.config.clone();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}
