//! The thread that has the connection to the database while a gateway runs: it keeps the ring of keys like the database and
//! does what the admin API wants done. No worker ever waits for it on the way of a request.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_core::limits::STORE_QUEUE;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, timeout};

use super::database::{Connection, Location, Result, StoreError};
use super::redis::Redis;
use super::sqlite::FileId;
use crate::keys::mirror::Mirror;
use crate::keys::ring::KeyRing;
use crate::telemetry::log::{Level, Log};

/// Where gateways that share a Redis tell each other that keys have changed, so that they look at once.
const CHANNEL: &str = "llm-gateway:keys";
/// Between two looks at what has changed: a key that is revoked anywhere is refused everywhere within a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// For a look, and for whatever one wish needs.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// For all keys at once.
const LOAD_TIME: Duration = Duration::from_secs(30);
/// The pauses between two attempts to connect; short ones, because keys wait for it, and one connection a second and node
/// is no burden to a server that comes back.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);
const RECONNECT_AFTER_AT_MOST: Duration = Duration::from_secs(1);

/// How it stands with the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nobody has looked yet.
    Starting,
    /// A file that nobody has made yet.
    Absent,
    Up,
    /// Why, in a sentence for the operator.
    Down(String),
}

/// The way to the database; cheap to clone. The thread ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Store {
    wishes: mpsc::Sender<Wish>,
    state: watch::Receiver<State>,
    /// For people.
    pub place: Arc<str>,
}

/// What is to be done with the connection, or without one.
type Wish = Box<dyn for<'c> FnOnce(Result<&'c mut Connection>) -> Granting<'c> + Send>;
type Granting<'c> = Pin<Box<dyn Future<Output = Done> + 'c>>;

/// What became of a wish.
struct Done {
    /// The connection is as good as before.
    good: bool,
    /// Tells whoever waits; called when the ring is as the database is.
    tell: Box<dyn FnOnce()>,
}

impl Store {
    /// Starts the thread. From now on `ring` follows the database. What is changed here other gateways hear of over `redis`.
    pub fn start(location: Location, ring: Arc<KeyRing>, log: Log, redis: Option<Redis>) -> std::io::Result<Store> {
        ring.expect_database();
        let place: Arc<str> = location.place.as_str().into();
        let (wishes, asked) = mpsc::channel(STORE_QUEUE);
        let (told, state) = watch::channel(State::Starting);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mirror = Mirror::new(ring.clone());
        let keeper = Keeper { location, ring, mirror, log, connection: None, state: told, redis };
        std::thread::Builder::new().name("database".to_owned()).spawn(move || runtime.block_on(keeper.run(asked)))?;
        Ok(Store { wishes, state, place })
    }

    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until it is known whether the database can be asked, and what it holds.
    pub async fn settled(&self) -> State {
        let mut state = self.state.clone();
        let _ = timeout(CONNECT_TIME + LOAD_TIME, state.wait_for(|state| *state != State::Starting)).await;
        self.state()
    }

    /// Has something done. When the answer is there, the ring of this process knows what has changed.
    pub async fn ask<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: AsyncFnOnce(&mut Connection) -> Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let wish: Wish = Box::new(move |connection| {
            Box::pin(async move {
                let done = match connection {
                    Ok(connection) => {
                        let in_time = timeout(ANSWER_TIME, work(connection)).await;
                        in_time.unwrap_or_else(|_| Err(StoreError::Unavailable("the database is too slow".to_owned())))
                    }
                    Err(error) => Err(error),
                };
                let good = !matches!(done, Err(StoreError::Unavailable(_)));
                Done { good, tell: Box::new(move || _ = answer.send(done)) }
            })
        });
        let gone =
            |_| StoreError::Unavailable(format!("the {} cannot be asked now: too much waits for it", self.place));
        self.wishes.try_send(wish).map_err(|_| gone(()))?;
        answered.await.unwrap_or_else(|_| Err(gone(())))
    }
}

struct Keeper {
    location: Location,
    ring: Arc<KeyRing>,
    mirror: Mirror,
    log: Log,
    /// With the file it was opened on.
    connection: Option<(Connection, Option<FileId>)>,
    state: watch::Sender<State>,
    redis: Option<Redis>,
}

impl Keeper {
    async fn run(mut self, mut asked: mpsc::Receiver<Wish>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pause = RECONNECT_AFTER;
        let mut next_attempt = Instant::now();
        let heard = Arc::new(Notify::new());
        if let Some(redis) = self.redis.clone() {
            tokio::spawn(redis.listen(CHANNEL, heard.clone()));
        }
        loop {
            let wish = tokio::select! {
                _ = look.tick() => None,
                () = heard.notified() => None,
                wish = asked.recv() => match wish {
                    Some(wish) => Some(wish),
                    None => return,
                },
            };
            if let Some((_, opened)) = &self.connection
                && *opened != self.location.file()
            {
                // Another file lies there, or none: what is done to this one nobody will see.
                self.connection = None;
            }
            if self.connection.is_none() && Instant::now() >= next_attempt {
                if let Err(error) = self.connect(wish.is_some()).await {
                    self.is_down(error);
                    // A fleet that lost its database does not come back all at once.
                    next_attempt = Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0);
                    pause = (pause * 2).min(RECONNECT_AFTER_AT_MOST);
                } else {
                    pause = RECONNECT_AFTER;
                }
            }
            let done = match wish {
                Some(wish) => Some(self.grant(wish).await),
                None => None,
            };
            let changed = self.follow().await;
            if let Some(done) = done {
                (done.tell)();
                // Those who hear of a change do not say so again.
                if let (true, Some(redis)) = (changed, &self.redis) {
                    redis.say(CHANNEL).await;
                }
            }
        }
    }

    /// `wanted`: something is to be done now, and the file is made for it.
    async fn connect(&mut self, wanted: bool) -> Result<()> {
        if !self.location.exists() {
            if !wanted && !self.mirror.has_seen_any() {
                return Ok(());
            }
            if self.mirror.has_seen_any() {
                return Err(StoreError::Unavailable(format!("the {} has gone; put it back", self.location.place)));
            }
            self.location.create()?;
        }
        let file = self.location.file();
        let opened = timeout(CONNECT_TIME, self.location.open()).await;
        let late = || StoreError::Unavailable(format!("the {} does not answer", self.location.place));
        self.connection = Some((opened.unwrap_or_else(|_| Err(late()))?, file));
        Ok(())
    }

    async fn grant(&mut self, wish: Wish) -> Done {
        let done = match &mut self.connection {
            Some((connection, _)) => wish(Ok(connection)).await,
            None => {
                let why = match &*self.state.borrow() {
                    State::Down(why) => why.clone(),
                    State::Starting | State::Absent | State::Up => format!("the {} is not open", self.location.place),
                };
                wish(Err(StoreError::Unavailable(why))).await
            }
        };
        if !done.good {
            self.connection = None;
        }
        done
    }

    /// Whether there was anything new.
    async fn follow(&mut self) -> bool {
        let Some((connection, _)) = &mut self.connection else {
            if !self.location.exists() && !self.mirror.has_seen_any() {
                self.mirror.follow_nothing();
                self.ring.confirm(Instant::now());
                self.is(State::Absent);
            }
            return false;
        };
        // Before the question: what changes while it is answered is not confirmed.
        let asked = Instant::now();
        let patience = if self.mirror.has_seen_any() { ANSWER_TIME } else { LOAD_TIME };
        let unreadable = self.mirror.unreadable();
        let mut changed = false;
        match timeout(patience, self.mirror.follow(connection)).await {
            Ok(Ok(new)) => {
                changed = new;
                self.ring.confirm(asked);
                self.is(State::Up);
            }
            Ok(Err(error)) => self.is_down(error),
            Err(_) => {
                let why = format!("the {} does not answer", self.location.place);
                self.is_down(StoreError::Unavailable(why));
            }
        }
        let unreadable = self.mirror.unreadable() - unreadable;
        if unreadable > 0 {
            let place = self.location.place.as_str().into();
            self.log.event(
                Level::Error,
                "keys of the database cannot be read, and are refused",
                [("database", place), ("keys", unreadable.into())],
            );
        }
        changed
    }

    fn is_down(&mut self, error: StoreError) {
        self.connection = None;
        self.is(State::Down(error.to_string()));
    }

    fn is(&mut self, state: State) {
        let changed = self.state.send_if_modified(|before| {
            let other = std::mem::discriminant(before) != std::mem::discriminant(&state);
            *before = state.clone();
            other
        });
        if !changed {
            return;
        }
        let place = ("database", self.location.place.as_str().into());
        match state {
            State::Starting | State::Absent => {}
            State::Up => self.log.event(Level::Info, "database up", [place, ("keys", self.ring.count().into())]),
            State::Down(why) => self.log.event(Level::Error, "database down", [place, ("error", why.into())]),
        }
    }
}
