//! The thread that asks Redis for answers of others, gives it our own, and hears of both.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gateway_cache::{Facts, Hash, Pair};
use gateway_core::limits::CACHE_BLOCKED_PAIRS_PER_TENANT;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::Answers;
use super::wire::{self, CLEARINGS_NOTED, Cleared, Clearing};
use super::{Loaded, State, Value, Work};
use crate::store::redis::Redis;

const CHANNEL: &str = "llm-gateway:cache";
/// What is to go, or has gone.
const CLEARINGS: &str = "llm-gateway:cache:clearings";
const PUT: &str = include_str!("put.lua");
const CLEAR: &str = include_str!("clear.lua");
const WRONG: &str = include_str!("wrong.lua");

/// For one answer of Redis. Longer than that it is not to be relied on.
const ANSWER_TIME: Duration = Duration::from_millis(250);
const CONNECT_TIME: Duration = Duration::from_millis(500);
const RECONNECT_AFTER: Duration = Duration::from_millis(300);
const PING_EVERY: Duration = Duration::from_secs(1);
/// Answers that a partition names, the latest; so many of them are loaded, in so large pieces, up to so many bytes.
const NAMED: usize = 1000;
const LOADED: usize = 256;
const LOADED_AT_ONCE: usize = 16;
const LOADED_BYTES: usize = 8 * 1024 * 1024;
/// No answer lives longer than what is noted of its end.
const CLEARINGS_LIVE: Duration = Duration::from_secs(7 * 24 * 3600);
const UNDER_WAY: usize = 32;

pub(super) struct Keeper {
    redis: Redis,
    answers: Weak<Answers>,
    state: Arc<State>,
    todo: mpsc::Receiver<Work>,
    /// Of this gateway, as long as it runs: it need not hear itself.
    node: String,
    /// What is to be passed over if it is found.
    cleared: Vec<Cleared>,
}

/// What was found of a partition.
struct Found {
    tenant: Hash,
    partition: Hash,
    now: u64,
    values: Vec<(Hash, Vec<u8>)>,
    /// Pairs of its tenant that were wrong.
    wrong: Vec<Hash>,
    /// Somebody waits for it.
    loaded: Option<Loaded>,
}

type Step = Pin<Box<dyn Future<Output = Result<Option<Found>, Broken>>>>;

/// The connection is of no more use.
#[derive(Debug)]
struct Broken;

impl From<RedisError> for Broken {
    fn from(_: RedisError) -> Self {
        Broken
    }
}

impl Keeper {
    pub(super) fn new(redis: Redis, answers: Weak<Answers>, state: Arc<State>, todo: mpsc::Receiver<Work>) -> Self {
        let node = format!("{:016x}", fastrand::u64(..));
        Keeper { redis, answers, state, todo, node, cleared: Vec::new() }
    }

    pub(super) async fn run(mut self) {
        while self.answers.strong_count() > 0 {
            if let Ok(Ok((connection, words))) = timeout(CONNECT_TIME, self.redis.own_connections(CHANNEL)).await
                && self.serve(connection, words).await.is_ok()
            {
                return;
            }
            self.state.up.store(false, Ordering::Relaxed);
            // Who waits is told that there is nothing, and nothing is kept for later.
            let until = tokio::time::Instant::now() + RECONNECT_AFTER.mul_f64(0.5 + fastrand::f64());
            while let Ok(work) = tokio::time::timeout_at(until, self.todo.recv()).await {
                if work.is_none() {
                    return;
                }
            }
        }
    }

    /// `Ok`: nobody is left who might ask.
    async fn serve(&mut self, mut connection: MultiplexedConnection, mut words: PubSubStream) -> Result<(), Broken> {
        // What went while nobody listened. The channel is heard already: nothing falls between.
        self.tell(&mut connection).await?;
        self.catch_up(&mut connection).await?;
        self.state.forget_all();
        self.state.up.store(true, Ordering::Relaxed);
        let state = self.state.clone();
        let mut under_way = FuturesUnordered::<Step>::new();
        let mut ping = tokio::time::interval(PING_EVERY);
        loop {
            tokio::select! {
                Some(step) = under_way.next(), if !under_way.is_empty() => {
                    if let Some(found) = step? {
                        self.take(found);
                    }
                }
                word = words.next() => {
                    let word = word.ok_or(Broken)?;
                    if let Ok(text) = word.get_payload::<String>() {
                        self.hear(&text, &connection, &mut under_way);
                    }
                }
                work = self.todo.recv(), if under_way.len() < UNDER_WAY => match work {
                    None => return Ok(()),
                    Some(work) => under_way.push(self.step(work, &connection)),
                },
                () = state.to_tell.notified() => {
                    // What was stored before is to go, too.
                    for _ in 0..self.todo.len() {
                        if under_way.len() >= UNDER_WAY
                            && let Some(step) = under_way.next().await
                            && let Some(found) = step?
                        {
                            self.take(found);
                        }
                        if let Ok(work) = self.todo.try_recv() {
                            under_way.push(self.step(work, &connection));
                        }
                    }
                    while let Some(step) = under_way.next().await {
                        if let Some(found) = step? {
                            self.take(found);
                        }
                    }
                    self.tell(&mut connection).await?;
                }
                _ = ping.tick() => {
                    if self.answers.strong_count() == 0 {
                        return Ok(());
                    }
                    ask::<String>(&mut connection, &redis::cmd("PING")).await?;
                }
            }
        }
    }

    fn step(&self, work: Work, connection: &MultiplexedConnection) -> Step {
        let connection = connection.clone();
        match work {
            Work::Load { tenant, partition, loaded } => Box::pin(load(connection, tenant, partition, loaded)),
            Work::Put { tenant, partition, exact, value, time_to_live } => {
                let word = format!("put {} {tenant} {partition} {exact}", self.node);
                Box::pin(put(connection, Names { tenant, partition }, exact, value, time_to_live, word))
            }
        }
    }

    async fn tell(&mut self, connection: &mut MultiplexedConnection) -> Result<(), Broken> {
        loop {
            let Some(pair) = self.state.unreported().front().copied() else { break };
            report(connection, &self.node, &pair).await?;
            self.state.unreported().pop_front();
        }
        loop {
            let Some(clearing) = self.state.untold().pop() else { return Ok(()) };
            if let Err(broken) = clear(connection, &clearing).await {
                self.state.untold().push(clearing);
                return Err(broken);
            }
        }
    }

    /// Not what it contains, nor what no answer can be as old as.
    fn note(&mut self, cleared: Cleared) {
        let oldest = cleared.at.saturating_sub(CLEARINGS_LIVE.as_millis() as u64);
        self.cleared.retain(|before| before.at >= oldest && !cleared.contains(before));
        self.cleared.push(cleared);
    }

    async fn catch_up(&mut self, connection: &mut MultiplexedConnection) -> Result<(), Broken> {
        let now = now(connection).await?;
        let notes = redis::cmd("ZRANGE").arg(CLEARINGS).arg(0).arg(-1).arg("WITHSCORES").clone();
        let notes: Vec<(String, u64)> = ask(connection, &notes).await?;
        let heard = self.cleared.iter().map(|cleared| cleared.at).max().unwrap_or(0);
        self.cleared = notes.iter().map(|(which, at)| Cleared::read(*at, which)).collect();
        let Some(answers) = self.answers.upgrade() else { return Ok(()) };
        for cleared in self.cleared.iter().filter(|cleared| cleared.at > heard) {
            answers.cache.clear(&cleared.filter(now), Instant::now(), false);
        }
        Ok(())
    }

    /// What others say. What cannot be understood is from a later version, which has a part of its own.
    fn hear(&mut self, word: &str, connection: &MultiplexedConnection, under_way: &mut FuturesUnordered<Step>) {
        let Some(answers) = self.answers.upgrade() else { return };
        if let Some(note) = word.strip_prefix("clear ") {
            let Some((Ok(at), which)) = note.split_once(' ').map(|(at, which)| (at.parse(), which)) else { return };
            let cleared = Cleared::read(at, which);
            // By the clock of Redis this is now.
            answers.cache.clear(&cleared.filter(cleared.at), Instant::now(), false);
            return self.note(cleared);
        }
        let words: Vec<&str> = word.split(' ').collect();
        match words[..] {
            [_, node, ..] if node == self.node => {}
            ["put", _, tenant, partition, exact] => {
                let (Ok(tenant), Ok(partition), Ok(exact)) = (tenant.parse(), partition.parse(), exact.parse()) else {
                    return;
                };
                if !self.state.knows(&partition) {
                    return;
                }
                if under_way.len() >= UNDER_WAY {
                    // It is loaded as a whole when it is next used.
                    return self.state.forget(&partition);
                }
                under_way.push(Box::pin(find(connection.clone(), tenant, partition, exact)));
            }
            ["wrong", _, tenant, entry, questions] => {
                if let (Ok(tenant), Ok(entry), Ok(questions)) = (tenant.parse(), entry.parse(), questions.parse()) {
                    answers.cache.report_wrong(&Pair { tenant, entry, questions });
                }
            }
            _ => {}
        }
    }

    /// Puts into memory what was found.
    fn take(&self, found: Found) {
        let Some(answers) = self.answers.upgrade() else { return };
        found.wrong.iter().for_each(|questions| answers.cache.block(found.tenant, *questions));
        for (exact, value) in found.values {
            let Some(read) = wire::read(found.tenant, found.partition, exact, &value) else { continue };
            if self.cleared.iter().any(|cleared| cleared.means(exact, &read)) {
                continue;
            }
            let age = Duration::from_millis(found.now.saturating_sub(read.at));
            let now = Instant::now();
            let facts = Facts { model: read.kept.model.clone(), asked: now.checked_sub(age).unwrap_or(now) };
            answers.cache.load(&read.question, Arc::new(read.kept), facts, age, now);
        }
        if found.loaded.is_some() {
            self.state.loaded(&found.partition);
        }
    }
}

/// Where the answers of a partition lie. What stands in braces decides where a key lives in a cluster.
struct Names {
    tenant: Hash,
    partition: Hash,
}

impl Names {
    fn entry(&self, exact: Hash) -> String {
        format!("llm-gateway:cache:{{{}}}:answer:{exact}", self.tenant)
    }

    fn all(&self) -> String {
        format!("llm-gateway:cache:{{{}}}:partition:{}", self.tenant, self.partition)
    }
}

/// Where the pairs of a tenant lie that were wrong.
fn wrong(tenant: Hash) -> String {
    format!("llm-gateway:cache:{{{tenant}}}:wrong")
}

async fn ask<T: FromRedisValue>(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<T, Broken> {
    let answer = timeout(ANSWER_TIME, command.query_async(connection)).await;
    Ok(answer.map_err(|_| Broken)??)
}

/// Seconds and millionths, as `TIME` tells them.
type Clock = (u64, u64);

/// Milliseconds, by the clock of Redis.
async fn now(connection: &mut MultiplexedConnection) -> Result<u64, Broken> {
    let (seconds, micros): Clock = ask(connection, &redis::cmd("TIME")).await?;
    Ok(seconds * 1000 + micros / 1000)
}

async fn put(
    mut connection: MultiplexedConnection,
    names: Names,
    exact: Hash,
    mut value: Box<Value>,
    time_to_live: Duration,
    word: String,
) -> Result<Option<Found>, Broken> {
    let Some(written) = wire::write(&value.question, &value.kept) else { return Ok(None) };
    let mut command = redis::cmd("EVAL");
    command.arg(PUT).arg(2).arg(names.entry(exact)).arg(names.all());
    let time_to_live = u64::try_from(time_to_live.min(CLEARINGS_LIVE).as_millis()).unwrap_or(u64::MAX).max(1);
    command.arg(written).arg(time_to_live).arg(exact.to_string()).arg(NAMED).arg(CHANNEL).arg(word);
    ask::<i64>(&mut connection, &command).await?;
    value.is_put = true;
    Ok(None)
}

async fn clear(connection: &mut MultiplexedConnection, clearing: &Clearing) -> Result<(), Broken> {
    let which = serde_json::to_string(clearing).unwrap_or_default();
    let mut command = redis::cmd("EVAL");
    command.arg(CLEAR).arg(1).arg(CLEARINGS).arg(which);
    command.arg(CLEARINGS_LIVE.as_millis() as u64).arg(CHANNEL).arg(CLEARINGS_NOTED);
    ask::<i64>(connection, &command).await.map(drop)
}

async fn report(connection: &mut MultiplexedConnection, node: &str, pair: &Pair) -> Result<(), Broken> {
    let Pair { tenant, entry, questions } = pair;
    let mut command = redis::cmd("EVAL");
    command.arg(WRONG).arg(1).arg(wrong(*tenant)).arg(questions.to_string()).arg(CLEARINGS_LIVE.as_millis() as u64);
    command.arg(CACHE_BLOCKED_PAIRS_PER_TENANT).arg(CHANNEL);
    command.arg(format!("wrong {node} {tenant} {entry} {questions}"));
    ask::<i64>(connection, &command).await.map(drop)
}

/// The latest answers of a partition, and what was wrong for its tenant.
async fn load(
    mut connection: MultiplexedConnection,
    tenant: Hash,
    partition: Hash,
    loaded: Loaded,
) -> Result<Option<Found>, Broken> {
    let names = Names { tenant, partition };
    let latest = redis::cmd("ZREVRANGE").arg(names.all()).arg(0).arg(LOADED - 1).clone();
    let exacts: Vec<String> = ask(&mut connection, &latest).await?;
    let exacts: Vec<Hash> = exacts.iter().filter_map(|exact| exact.parse().ok()).collect();
    let known: Vec<String> = ask(&mut connection, redis::cmd("ZRANGE").arg(wrong(tenant)).arg(0).arg(-1)).await?;
    let wrong = known.iter().filter_map(|questions| questions.parse().ok()).collect();
    let (mut values, mut bytes, mut now) = (Vec::new(), 0, 0);
    for some in exacts.chunks(LOADED_AT_ONCE) {
        let (at, found) = get(&mut connection, &names, some).await?;
        now = at;
        bytes += found.iter().map(|(_, value)| value.len()).sum::<usize>();
        values.extend(found);
        if bytes > LOADED_BYTES {
            break;
        }
    }
    Ok(Some(Found { tenant, partition, now, values, wrong, loaded: Some(loaded) }))
}

/// One answer that another gateway has put there.
async fn find(
    mut connection: MultiplexedConnection,
    tenant: Hash,
    partition: Hash,
    exact: Hash,
) -> Result<Option<Found>, Broken> {
    let (now, values) = get(&mut connection, &Names { tenant, partition }, &[exact]).await?;
    Ok(Some(Found { tenant, partition, now, values, wrong: Vec::new(), loaded: None }))
}

/// What is there of these answers, and the clock of Redis.
async fn get(
    connection: &mut MultiplexedConnection,
    names: &Names,
    exacts: &[Hash],
) -> Result<(u64, Vec<(Hash, Vec<u8>)>), Broken> {
    let mut pipeline = Pipeline::new();
    let mut values = redis::cmd("MGET");
    exacts.iter().for_each(|exact| _ = values.arg(names.entry(*exact)));
    pipeline.add_command(redis::cmd("TIME")).add_command(values);
    let asked: RedisResult<(Clock, Vec<Option<Vec<u8>>>)> =
        timeout(ANSWER_TIME, pipeline.query_async(connection)).await.map_err(|_| Broken)?;
    let ((seconds, micros), values) = asked?;
    let values = exacts.iter().copied().zip(values).filter_map(|(exact, value)| Some((exact, value?)));
    Ok((seconds * 1000 + micros / 1000, values.collect()))
}
