//! Redis: one connection, looked after by a thread of its own, for everything that several gateways share.
//!
//! A Redis that is slow is worse than none: so whoever asks waits [`ANSWER_TIME`] and no longer, answers that are often late
//! cost the connection (the client library would keep it, and a server that is silent without a reset would be waited for
//! again and again), and while there is no connection every question is refused at once. A new connection has to prove itself
//! before anybody is let wait for it. What nobody waits for is put there later, from bounded queues.

mod keeper;
mod script;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gateway_core::limits::{REDIS_DELIVERIES, REDIS_QUEUE};
use gateway_core::secret::Secret;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, Cmd, IntoConnectionInfo, RedisError, ToRedisArgs};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use keeper::Keeper;
pub use redis::Value;
pub use script::Script;

/// For an answer that somebody waits for.
const ANSWER_TIME: Duration = Duration::from_millis(100);
/// Whoever waits for the end of all deliveries looks so often.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What the kernel allows a silent connection.
const SILENT_TIME: Duration = Duration::from_secs(5);

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
    script: Option<&'static Script>,
    answer: oneshot::Sender<Answer>,
}

/// A script whose answer nobody waits for. It may run more than once: whether it ran is not known when a connection is lost.
struct Delivery {
    script: &'static Script,
    command: Cmd,
    /// Of no use afterwards.
    until: Instant,
}

/// The way to Redis; cheap to clone.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    questions: mpsc::Sender<Question>,
    deliveries: mpsc::Sender<Delivery>,
    puts: mpsc::Sender<Later>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    up: AtomicBool,
    changed: Notify,
    failures: AtomicU64,
    lost: AtomicU64,
    /// Deliveries that are on their way.
    delivering: AtomicU64,
    undelivered: AtomicU64,
}

impl State {
    fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn delivered(&self, count: usize, well: bool) {
        self.delivering.fetch_sub(count as u64, Ordering::Relaxed);
        if !well {
            self.undelivered.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    fn set_up(&self, up: bool) {
        if self.up.swap(up, Ordering::Relaxed) != up {
            self.changed.notify_one();
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Redis {
    /// Starts the thread that keeps the connection. Whether there is a Redis at `url` turns out later, again and again.
    /// `scripts`: those that will be run.
    pub fn start(url: &Secret, scripts: &'static [&'static Script]) -> Result<Redis, String> {
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
        let (deliveries, delivered) = mpsc::channel(REDIS_DELIVERIES);
        let (puts, put) = mpsc::channel(REDIS_QUEUE);
        let state = Arc::new(State::default());
        let keeper = Keeper::new(client.clone(), scripts, asked, delivered, put, state.clone());
        std::thread::Builder::new()
            .name("redis".to_owned())
            .spawn(move || runtime.block_on(keeper.run()))
            .map_err(|error| format!("cannot start the thread of Redis: {error}"))?;
        Ok(Redis { client, questions, deliveries, puts, state })
    }

    /// The answer to one command, within [`ANSWER_TIME`].
    pub async fn ask(&self, command: Cmd) -> Answer {
        self.answer(command, None).await
    }

    /// What a script returns, within [`ANSWER_TIME`]. Who stops waiting before the script was sent has asked nothing.
    pub async fn run(&self, script: &'static Script, keys: &[impl ToRedisArgs], arguments: impl ToRedisArgs) -> Answer {
        match script.run(keys, arguments) {
            Some(command) if self.is_up() => self.answer(command, Some(script)).await,
            _ => Err(Unavailable("no connection".to_owned())),
        }
    }

    /// Runs a script when there is a connection, at least once, after everything that was sent before. False: too many wait,
    /// and this one is not taken. It is given up after `patience`.
    pub fn deliver(
        &self,
        script: &'static Script,
        keys: &[impl ToRedisArgs],
        arguments: impl ToRedisArgs,
        patience: Duration,
    ) -> bool {
        self.state.delivering.fetch_add(1, Ordering::Relaxed);
        let taken = script.run(keys, arguments).is_some_and(|command| {
            let delivery = Delivery { script, command, until: Instant::now() + patience };
            self.deliveries.try_send(delivery).is_ok()
        });
        if !taken {
            self.state.delivered(1, false);
        }
        taken
    }

    /// Waits until everything has been delivered that was to be, as long as there is a connection.
    pub async fn delivered(&self) {
        while self.is_up() && self.state.delivering.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn answer(&self, command: Cmd, script: Option<&'static Script>) -> Answer {
        if !self.is_up() {
            return Err(Unavailable("no connection".to_owned()));
        }
        let (answer, answered) = oneshot::channel();
        if self.questions.try_send(Question { command, script, answer }).is_err() {
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

    /// Waits until [`Redis::is_up`] may have changed. For one that waits.
    pub async fn changed(&self) {
        self.state.changed.notified().await;
    }

    /// Answers that did not come or came too late, and connections that could not be had.
    pub fn failures(&self) -> u64 {
        self.state.failures.load(Ordering::Relaxed)
    }

    /// Entries that were taken and never arrived, as far as is known.
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// Scripts that were to be delivered and were not.
    pub fn undelivered(&self) -> u64 {
        self.state.undelivered.load(Ordering::Relaxed)
    }
}
