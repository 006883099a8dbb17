//! Redis: one connection, looked after by a thread of its own, for everything that several gateways share.
//!
//! A Redis that is slow is worse than none: so whoever asks waits [`ANSWER_TIME`] and no longer, three late answers in a row
//! cost the connection (the client library would keep it, and a server that is silent without a reset would be waited for
//! again and again), and while there is no connection every question is refused at once. What is only to be put there waits in
//! a bounded queue and goes in batches.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gateway_core::limits::{REDIS_COMMANDS_AT_ONCE, REDIS_QUEUE};
use gateway_core::secret::Secret;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo, Pipeline, RedisError, ServerErrorKind, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

/// For an answer that somebody waits for.
const ANSWER_TIME: Duration = Duration::from_millis(100);
/// For a batch that nobody waits for, and for a ping.
const PATIENT_TIME: Duration = Duration::from_secs(1);
const CONNECT_TIME: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_secs(1);
/// So many late answers in a row cost the connection.
const LATE_IN_A_ROW: u32 = 3;
/// What the kernel allows a silent connection.
const SILENT_TIME: Duration = Duration::from_secs(5);
const RECONNECT_AFTER: Duration = Duration::from_millis(100);
const RECONNECT_AFTER_AT_MOST: Duration = Duration::from_secs(5);
const BATCH: usize = 128;

/// Something to be put there, for so long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Vec<u8>,
    pub time_to_live: Duration,
}

/// Makes an entry on the thread of the connection, where it costs no request anything.
pub type Later = Box<dyn FnOnce() -> Option<Entry> + Send>;

/// Redis cannot be asked now, or did not answer in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis is not available: {}", self.0)
    }
}

impl std::error::Error for Unavailable {}

type Answer = Result<Value, Unavailable>;

struct Question {
    command: Cmd,
    answer: oneshot::Sender<Answer>,
}

/// The way to Redis; cheap to clone.
#[derive(Clone)]
pub struct Redis {
    questions: mpsc::Sender<Question>,
    puts: mpsc::Sender<Later>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    up: AtomicBool,
    failures: AtomicU64,
    lost: AtomicU64,
}

impl State {
    fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Redis {
    /// Starts the thread that keeps the connection. Whether there is a Redis at `url` turns out later, again and again.
    pub fn start(url: &Secret) -> Result<Redis, String> {
        let keepalive = TcpKeepalive::new().with_time(SILENT_TIME / 2).with_interval(Duration::from_secs(1));
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(SILENT_TIME);
        // What the library says of a bad URL may quote it, with its password.
        let unusable = |_: RedisError| "the URL of Redis cannot be used".to_owned();
        let info = url.expose().into_connection_info().map_err(unusable)?.set_tcp_settings(tcp);
        let client = Client::open(info).map_err(unusable)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start the thread of Redis: {error}"))?;
        let (questions, asked) = mpsc::channel(REDIS_QUEUE);
        let (puts, put) = mpsc::channel(REDIS_QUEUE);
        let state = Arc::new(State::default());
        let keeper = Keeper { client, asked, put, batch: Vec::new(), state: state.clone() };
        std::thread::Builder::new()
            .name("redis".to_owned())
            .spawn(move || runtime.block_on(keeper.run()))
            .map_err(|error| format!("cannot start the thread of Redis: {error}"))?;
        Ok(Redis { questions, puts, state })
    }

    /// The answer to one command, within [`ANSWER_TIME`].
    pub async fn ask(&self, command: Cmd) -> Answer {
        if !self.is_up() {
            return Err(Unavailable("no connection".to_owned()));
        }
        let (answer, answered) = oneshot::channel();
        if self.questions.try_send(Question { command, answer }).is_err() {
            self.state.failed();
            return Err(Unavailable("too many questions wait".to_owned()));
        }
        match tokio::time::timeout(ANSWER_TIME, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Unavailable("the connection was lost".to_owned())),
            Err(_) => Err(Unavailable("no answer in time".to_owned())),
        }
    }

    /// The value of a key.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        let value = self.ask(Cmd::get(key)).await?;
        redis::from_redis_value(value).map_err(|error| Unavailable(error.to_string()))
    }

    /// Puts an entry there when there is time. False: too many wait, and this one is not taken.
    pub fn put_later(&self, entry: Later) -> bool {
        self.puts.try_send(entry).is_ok()
    }

    pub fn is_up(&self) -> bool {
        self.state.up.load(Ordering::Relaxed)
    }

    /// Answers that did not come or came too late, and connections that could not be had.
    pub fn failures(&self) -> u64 {
        self.state.failures.load(Ordering::Relaxed)
    }

    /// Entries that were taken and never arrived, as far as is known.
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }
}

/// How one exchange ended.
enum Exchange {
    Fine,
    Late,
    /// The server does not do this, and the connection is as good as before.
    Refused,
    Broken,
}

/// What an exchange was for.
enum Purpose {
    Question,
    Batch,
    Ping,
}

type UnderWay = FuturesUnordered<Pin<Box<dyn Future<Output = (Purpose, Exchange)>>>>;

/// Keeps the connection.
struct Keeper {
    client: Client,
    asked: mpsc::Receiver<Question>,
    put: mpsc::Receiver<Later>,
    /// Under way, or on its way again after a lost connection.
    batch: Vec<Entry>,
    state: Arc<State>,
}

impl Keeper {
    async fn run(mut self) {
        let mut pause = RECONNECT_AFTER;
        loop {
            match self.connect().await {
                Some(connection) => {
                    let since = Instant::now();
                    self.state.up.store(true, Ordering::Relaxed);
                    let over = self.serve(&connection).await;
                    self.state.up.store(false, Ordering::Relaxed);
                    if over {
                        return;
                    }
                    if since.elapsed() > RECONNECT_AFTER_AT_MOST {
                        pause = RECONNECT_AFTER;
                    }
                }
                None => self.state.failed(),
            }
            // Those who asked before they could know.
            while let Ok(question) = self.asked.try_recv() {
                let _ = question.answer.send(Err(Unavailable("no connection".to_owned())));
            }
            // A fleet that lost its Redis does not come back all at once.
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(RECONNECT_AFTER_AT_MOST);
        }
    }

    async fn connect(&self) -> Option<MultiplexedConnection> {
        // Times are kept here, where what is late is known.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        tokio::time::timeout(CONNECT_TIME, connecting).await.ok()?.ok()
    }

    /// Until the connection is of no more use; true when nobody is left who might ask.
    async fn serve(&mut self, connection: &MultiplexedConnection) -> bool {
        let mut under_way = UnderWay::new();
        let (mut late, mut writing) = (0, false);
        let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if !self.batch.is_empty() {
            under_way.push(write(connection.clone(), &self.batch));
            writing = true;
        }
        let mut fresh: Vec<Later> = Vec::new();
        loop {
            let (purpose, exchange) = tokio::select! {
                Some(done) = under_way.next(), if !under_way.is_empty() => done,
                question = self.asked.recv(), if under_way.len() < REDIS_COMMANDS_AT_ONCE => {
                    let Some(question) = question else { return true };
                    under_way.push(answer(connection.clone(), question));
                    continue;
                }
                _ = self.put.recv_many(&mut fresh, BATCH), if !writing => {
                    self.batch.extend(fresh.drain(..).filter_map(|later| later()));
                    if !self.batch.is_empty() {
                        under_way.push(write(connection.clone(), &self.batch));
                        writing = true;
                    }
                    continue;
                }
                _ = ping.tick() => {
                    under_way.push(pinged(connection.clone()));
                    continue;
                }
            };
            if let Exchange::Late | Exchange::Broken = exchange {
                self.state.failed();
            }
            late = if let Exchange::Late = exchange { late + 1 } else { 0 };
            if let (Purpose::Batch, Exchange::Fine | Exchange::Refused | Exchange::Late) = (purpose, &exchange) {
                if !matches!(exchange, Exchange::Fine) {
                    self.state.lost.fetch_add(self.batch.len() as u64, Ordering::Relaxed);
                }
                self.batch.clear();
                writing = false;
            }
            if matches!(exchange, Exchange::Broken) || late >= LATE_IN_A_ROW {
                return false;
            }
        }
    }
}

/// What a failure says about the connection. A server that loads its data, has become a replica or lost its primary is to be
/// left: the address may lead to another one by now.
fn judge(error: &RedisError) -> Exchange {
    let leave = [ServerErrorKind::ReadOnly, ServerErrorKind::BusyLoading, ServerErrorKind::MasterDown];
    match error.kind() {
        redis::ErrorKind::Server(kind) if !leave.contains(&kind) => Exchange::Refused,
        redis::ErrorKind::Extension => Exchange::Refused,
        _ => Exchange::Broken,
    }
}

fn answer(
    mut connection: MultiplexedConnection,
    question: Question,
) -> Pin<Box<dyn Future<Output = (Purpose, Exchange)>>> {
    Box::pin(async move {
        let asked = tokio::time::timeout(ANSWER_TIME, connection.send_packed_command(&question.command)).await;
        let (answer, exchange) = match asked {
            Ok(Ok(value)) => (Ok(value), Exchange::Fine),
            Ok(Err(error)) => (Err(Unavailable(error.to_string())), judge(&error)),
            Err(_) => (Err(Unavailable("no answer in time".to_owned())), Exchange::Late),
        };
        let _ = question.answer.send(answer);
        (Purpose::Question, exchange)
    })
}

fn write(mut connection: MultiplexedConnection, batch: &[Entry]) -> Pin<Box<dyn Future<Output = (Purpose, Exchange)>>> {
    let mut pipeline = Pipeline::with_capacity(batch.len());
    for entry in batch {
        pipeline.set_ex(&entry.key, entry.value.as_slice(), entry.time_to_live.as_secs().max(1)).ignore();
    }
    Box::pin(async move {
        let written = tokio::time::timeout(PATIENT_TIME, pipeline.exec_async(&mut connection)).await;
        let exchange = match written {
            Ok(Ok(())) => Exchange::Fine,
            Ok(Err(error)) => judge(&error),
            Err(_) => Exchange::Late,
        };
        (Purpose::Batch, exchange)
    })
}

fn pinged(mut connection: MultiplexedConnection) -> Pin<Box<dyn Future<Output = (Purpose, Exchange)>>> {
    Box::pin(async move {
        let ping = redis::cmd("PING");
        let exchange = match tokio::time::timeout(PATIENT_TIME, connection.send_packed_command(&ping)).await {
            Ok(Ok(_)) => Exchange::Fine,
            Ok(Err(error)) => judge(&error),
            Err(_) => Exchange::Late,
        };
        (Purpose::Ping, exchange)
    })
}
