//! Limits that several gateways share through Redis.
//!
//! What a request takes is taken there in one step, by the clock of Redis, from all of its levels; what it needed is settled there
//! later, and nobody waits for that. A reservation is a lease: it ends by itself if its gateway dies, and the gateway renews it as
//! long as the request runs. Settling ends it, so whatever is settled twice is settled once.
//!
//! While Redis cannot be asked each gateway keeps to its share, one part in as many as there were gateways when Redis was last
//! heard of, going on from what Redis said was left. Nobody waits for Redis longer than its answer may take, and soon nobody
//! waits at all: see [`crate::store::redis`].

mod scripts;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gateway_policy::limits::{Ask, LevelId, Part, Rate, Refused, Said, Standing, Table, parts};
use redis::FromRedisValue;

use crate::store::redis::{Redis, Script, Value};
use crate::telemetry::log::{Level, Log};

/// A reservation that is not renewed for so long is over: its gateway has died.
const LEASE: Duration = Duration::from_secs(30);
const RENEW_AFTER: Duration = Duration::from_secs(10);
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// A gateway that is silent for so long is gone.
const NODE_SILENCE: Duration = Duration::from_secs(5);
const NODES: &str = "llm-gateway:nodes";
/// Of the reservations of this gateway.
const SHARDS: usize = 16;
/// Doubles hold whole numbers up to here exactly.
const WHOLE: u64 = 1 << 53;

/// The scripts that a connection must know.
pub static SCRIPTS: &[&Script] = &scripts::ALL;

#[derive(Debug)]
pub struct Shared {
    redis: Redis,
    /// The name of this gateway, as long as it runs.
    node: String,
    last: AtomicU64,
    open: [Mutex<HashMap<u64, Open>>; SHARDS],
    /// Gateways that were alive when Redis last said, this one among them.
    nodes: AtomicU64,
}

/// What Redis holds for a request.
#[derive(Debug)]
pub struct Reservation {
    number: u64,
    id: String,
    /// Of each level its buckets and its leases.
    keys: Vec<String>,
    /// Of each level five, as `bucket.lua` reads them.
    numbers: Vec<i64>,
}

#[derive(Debug)]
struct Open {
    reservation: Arc<Reservation>,
    renewed: Instant,
}

impl Shared {
    pub fn new(redis: Redis) -> Shared {
        let node = format!("{:016x}", fastrand::u64(..));
        let (open, last) = (std::array::from_fn(|_| Mutex::default()), AtomicU64::new(0));
        Shared { redis, node, last, open, nodes: AtomicU64::new(1) }
    }

    /// Takes what `ask` says from all of its levels, or from none; `None` for what was taken from this gateway's share alone.
    pub async fn take(
        &self,
        table: &Table,
        ask: &mut Ask,
    ) -> Result<(Standing, Option<Arc<Reservation>>), Box<Refused>> {
        let asked = Instant::now();
        if self.redis.is_up() {
            // What is surely used up need not be asked for: others can take, but give back tokens alone.
            table.look(&ask.levels, 0, asked)?;
            if let Some(answer) = self.reserve(ask).await {
                let Answer { granted, said, reservation } = answer;
                let standing = table.told(ask, &said, granted, asked)?;
                return Ok((standing, Some(reservation)));
            }
        }
        let standing = table.take_share(ask, self.nodes(), Instant::now())?;
        Ok((standing, None))
    }

    async fn reserve(&self, ask: &Ask) -> Option<Answer> {
        let reservation = Arc::new(self.reservation(ask)?);
        let mut numbers = vec![LEASE.as_millis() as i64, parts(ask.tokens) as i64];
        numbers.extend(&reservation.numbers);
        // Who leaves, and who waits in vain, may have taken all the same.
        let mut undo = Undo { shared: self, reservation: Some(&reservation), tokens: ask.tokens };
        let said = self.redis.run(&scripts::RESERVE, &reservation.keys, (&reservation.id, numbers)).await.ok()?;
        let (granted, said) = read(&said, ask.levels.len())?;
        undo.reservation = None;
        if granted {
            let open = Open { reservation: reservation.clone(), renewed: Instant::now() };
            self.open(reservation.number).insert(reservation.number, open);
        }
        Some(Answer { granted, said, reservation: reservation.clone() })
    }

    /// Never waits. `reserved` and `spent`: tokens.
    pub fn settle(&self, reservation: &Reservation, reserved: u64, spent: u64) {
        self.open(reservation.number).remove(&reservation.number);
        self.end(reservation, 0, reserved.saturating_sub(spent), spent.saturating_sub(reserved));
    }

    fn end(&self, reservation: &Reservation, requests_back: u64, tokens_back: u64, tokens_more: u64) {
        let mut numbers: Vec<i64> = [requests_back, tokens_back, tokens_more].map(|n| parts(n) as i64).to_vec();
        numbers.extend(&reservation.numbers);
        // Later there would be no lease to settle.
        self.redis.deliver(&scripts::SETTLE, &reservation.keys, (&reservation.id, numbers), LEASE);
    }

    pub fn is_degraded(&self) -> bool {
        !self.redis.is_up()
    }

    /// Gateways that share the limits, as far as is known.
    pub fn nodes(&self) -> u64 {
        self.nodes.load(Ordering::Relaxed).max(1)
    }

    /// Requests that ended and of which Redis was not told what they needed.
    pub fn unsettled(&self) -> u64 {
        self.redis.undelivered()
    }

    /// Tells the others that this gateway lives, renews its leases, and says in the log when limits stop to be shared and when
    /// they are again. Never ends.
    pub async fn watch(&self, log: &Log) {
        let mut was_degraded = false;
        loop {
            let _ = tokio::time::timeout(WATCH_EVERY, self.redis.changed()).await;
            let degraded = self.is_degraded();
            if !degraded {
                self.live().await;
                self.renew(Instant::now(), was_degraded);
            }
            if degraded != was_degraded {
                self.tell(log, degraded);
            }
            was_degraded = degraded;
        }
    }

    /// Waits until Redis has been told of all that has ended, as long as it can be asked, and not longer than `patience`.
    pub async fn settled(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.redis.delivered()).await;
    }

    fn tell(&self, log: &Log, degraded: bool) {
        let nodes = self.nodes();
        if degraded {
            let message = "Redis cannot be asked: this gateway keeps to its share of all limits";
            log.event(Level::Warn, message, [("nodes", nodes.into())]);
        } else {
            log.event(Level::Info, "Redis can be asked: limits are shared again", [("nodes", nodes.into())]);
        }
    }

    async fn live(&self) {
        let silence = NODE_SILENCE.as_millis() as u64;
        if let Ok(Value::Int(nodes)) = self.redis.run(&scripts::NODE, &[NODES], (&self.node, silence)).await {
            self.nodes.store(u64::try_from(nodes).unwrap_or(1), Ordering::Relaxed);
        }
    }

    /// Renews the leases of the requests that run for long; `all`: they may have ended while Redis was away.
    fn renew(&self, now: Instant, all: bool) {
        for shard in &self.open {
            // With the lock held, so that no renewal is sent after the end of a reservation: sending does not wait.
            for open in shard.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
                if !all && now.saturating_duration_since(open.renewed) < RENEW_AFTER {
                    continue;
                }
                // Each level has two keys: what is used of it, and who is open.
                let leases: Vec<&String> = open.reservation.keys.iter().skip(1).step_by(2).collect();
                let lease = LEASE.as_millis() as u64;
                if self.redis.deliver(&scripts::LEASE, &leases, (&open.reservation.id, lease), LEASE) {
                    open.renewed = now;
                }
            }
        }
    }

    fn open(&self, number: u64) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.open[number as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reservation(&self, ask: &Ask) -> Option<Reservation> {
        let tenant = LevelId { holder: ask.tenant()?.clone(), part: Part::All };
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let (mut keys, mut numbers) = (Vec::with_capacity(2 * ask.levels.len()), Vec::new());
        for level in &ask.levels {
            // What stands in braces decides where a key lives in a cluster.
            keys.push(format!("llm-gateway:used:{{{tenant}}}:{}", level.id()));
            keys.push(format!("llm-gateway:open:{{{tenant}}}:{}", level.id()));
            let bucket = |rate: Option<Rate>| rate.map_or([0, 0], |rate| [rate.per_minute as i64, rate.full() as i64]);
            numbers.extend(bucket(level.requests()));
            numbers.extend(bucket(level.tokens()));
            numbers.push(level.rates.concurrent.map_or(-1, |most| most.min(WHOLE) as i64));
        }
        Some(Reservation { number, id: format!("{}:{number}", self.node), keys, numbers })
    }
}

struct Answer {
    granted: bool,
    said: Vec<Said>,
    reservation: Arc<Reservation>,
}

/// What `reserve.lua` returns.
fn read(answer: &Value, levels: usize) -> Option<(bool, Vec<Said>)> {
    let numbers = Vec::<u64>::from_redis_value_ref(answer).ok()?;
    let (granted, said) = numbers.split_first()?;
    let (said, rest) = said.as_chunks();
    let said: Vec<Said> = said.iter().map(|&[requests, tokens, places]| Said { requests, tokens, places }).collect();
    (said.len() == levels && rest.is_empty()).then_some((*granted == 1, said))
}

/// Gives everything back that may have been taken, the request itself too.
struct Undo<'a> {
    shared: &'a Shared,
    reservation: Option<&'a Arc<Reservation>>,
    tokens: u64,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation {
            self.shared.end(reservation, 1, self.tokens, 0);
        }
    }
}
