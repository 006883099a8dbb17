//! The thread that keeps the connection.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gateway_core::limits::REDIS_BATCHES_AT_ONCE;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::{ANSWER_TIME, Delivery, Entry, Later, Question, Script, State, Unavailable};

/// For a batch that nobody waits for, and for a ping.
const PATIENT_TIME: Duration = Duration::from_secs(1);
/// To a connection that the server has greeted. With the pause before it and the proof after it this is less than a second, so
/// that a Redis that is well again is used again within that time.
const CONNECT_TIME: Duration = Duration::from_millis(500);
const RECONNECT_AFTER: Duration = Duration::from_millis(50);
const RECONNECT_AFTER_AT_MOST: Duration = Duration::from_millis(300);
const PING_EVERY: Duration = Duration::from_secs(1);

/// A late answer counts so much, one in time takes 1 from the count, and at this count the connection is left: after three late
/// answers in a row, and soon if more than one in four is late.
const LATE_COUNTS: u32 = 3;
const LATE_AT_MOST: u32 = 9;

/// So many commands in a row must be answered in time before anybody waits for a new connection; twice as many after each
/// one that was lost within [`SHORT_LIFE`], so that a Redis that is now well and now not is left alone.
const PROOFS: u32 = 3;
const PROOFS_AT_MOST: u32 = 48;
const SHORT_LIFE: Duration = Duration::from_secs(10);
const PROOF_KEY: &str = "llm-gateway:proof";

const BATCH: usize = 128;

/// How one exchange ended; the worse, the later.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Exchange {
    Fine,
    /// The server does not do this, and the connection is as good as before.
    Refused,
    Late,
    Broken,
}

/// What an exchange was for.
enum Purpose {
    Questions,
    Puts,
    Deliveries,
    Ping,
}

type Done = Pin<Box<dyn Future<Output = (Purpose, Exchange)>>>;

pub(super) struct Keeper {
    client: Client,
    scripts: &'static [&'static Script],
    asked: mpsc::Receiver<Question>,
    delivered: mpsc::Receiver<Delivery>,
    put: mpsc::Receiver<Later>,
    /// Under way, or on its way again after a lost connection.
    puts: Vec<Entry>,
    deliveries: Vec<Delivery>,
    state: Arc<State>,
}

impl Keeper {
    pub(super) fn new(
        client: Client,
        scripts: &'static [&'static Script],
        asked: mpsc::Receiver<Question>,
        delivered: mpsc::Receiver<Delivery>,
        put: mpsc::Receiver<Later>,
        state: Arc<State>,
    ) -> Self {
        Keeper { client, scripts, asked, delivered, put, puts: Vec::new(), deliveries: Vec::new(), state }
    }

    pub(super) async fn run(mut self) {
        let (mut pause, mut proofs) = (RECONNECT_AFTER, PROOFS);
        loop {
            match self.connect(proofs).await {
                Some(connection) => {
                    let since = Instant::now();
                    self.state.set_up(true);
                    let over = self.serve(&connection).await;
                    self.state.set_up(false);
                    if over {
                        return;
                    }
                    pause = RECONNECT_AFTER;
                    proofs = if since.elapsed() < SHORT_LIFE { (2 * proofs).min(PROOFS_AT_MOST) } else { PROOFS };
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

    /// A connection to a server that answers in time, knows the scripts and lets itself be written to.
    async fn connect(&self, proofs: u32) -> Option<MultiplexedConnection> {
        // Times are kept here, where what is late is known.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = timeout(CONNECT_TIME, connecting).await.ok()?.ok()?;
        timeout(CONNECT_TIME, load(&mut connection, self.scripts)).await.ok()?.ok()?;
        let mut proof = redis::cmd("SET");
        proof.arg(PROOF_KEY).arg(1).arg("PX").arg(PATIENT_TIME.as_millis() as u64);
        for _ in 0..proofs {
            timeout(ANSWER_TIME, said(&mut connection, &proof)).await.ok()?.ok()?;
        }
        Some(connection)
    }

    /// Until the connection is of no more use; true when nobody is left who might ask.
    async fn serve(&mut self, connection: &MultiplexedConnection) -> bool {
        let mut under_way = FuturesUnordered::<Done>::new();
        let (mut late, mut putting, mut delivering) = (0, false, false);
        let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if !self.puts.is_empty() {
            under_way.push(Box::pin(put(connection.clone(), &self.puts)));
            putting = true;
        }
        if let Some(deliveries) = self.still_of_use() {
            under_way.push(Box::pin(deliver(connection.clone(), deliveries)));
            delivering = true;
        }
        let (mut questions, mut fresh): (Vec<Question>, Vec<Later>) = (Vec::new(), Vec::new());
        loop {
            // In this order: what somebody waits for goes before what nobody waits for.
            let (purpose, exchange) = tokio::select! {
                biased;
                Some(done) = under_way.next(), if !under_way.is_empty() => done,
                _ = ping.tick() => {
                    under_way.push(Box::pin(pinged(connection.clone())));
                    continue;
                }
                count = self.asked.recv_many(&mut questions, BATCH), if under_way.len() < REDIS_BATCHES_AT_ONCE => {
                    if count == 0 {
                        return true;
                    }
                    // Nobody waits any more: what was never sent need not be undone.
                    questions.retain(|question| !question.answer.is_closed());
                    if !questions.is_empty() {
                        under_way.push(Box::pin(answer(connection.clone(), std::mem::take(&mut questions))));
                    }
                    continue;
                }
                _ = self.delivered.recv_many(&mut self.deliveries, BATCH), if !delivering => {
                    if let Some(deliveries) = self.still_of_use() {
                        under_way.push(Box::pin(deliver(connection.clone(), deliveries)));
                        delivering = true;
                    }
                    continue;
                }
                _ = self.put.recv_many(&mut fresh, BATCH), if !putting => {
                    self.puts.extend(fresh.drain(..).filter_map(|later| later()));
                    if !self.puts.is_empty() {
                        under_way.push(Box::pin(put(connection.clone(), &self.puts)));
                        putting = true;
                    }
                    continue;
                }
            };
            if !matches!(exchange, Exchange::Fine) {
                self.state.failed();
            }
            late = if let Exchange::Late = exchange { late + LATE_COUNTS } else { u32::saturating_sub(late, 1) };
            match (purpose, &exchange) {
                // They go again over the next connection.
                (Purpose::Puts | Purpose::Deliveries, Exchange::Broken) | (Purpose::Questions | Purpose::Ping, _) => {}
                (Purpose::Puts, _) => {
                    if !matches!(exchange, Exchange::Fine) {
                        self.state.lost.fetch_add(self.puts.len() as u64, Ordering::Relaxed);
                    }
                    self.puts.clear();
                    putting = false;
                }
                (Purpose::Deliveries, Exchange::Late) => return false,
                (Purpose::Deliveries, _) => {
                    self.state.delivered(self.deliveries.len(), exchange == Exchange::Fine);
                    self.deliveries.clear();
                    delivering = false;
                }
            }
            if matches!(exchange, Exchange::Broken) || late >= LATE_AT_MOST {
                return false;
            }
        }
    }

    /// The deliveries whose time has not run out, as they are sent.
    fn still_of_use(&mut self) -> Option<(Pipeline, Vec<&'static Script>)> {
        let (now, waited) = (Instant::now(), self.deliveries.len());
        self.deliveries.retain(|delivery| delivery.until > now);
        self.state.delivered(waited - self.deliveries.len(), false);
        if self.deliveries.is_empty() {
            return None;
        }
        let mut pipeline = Pipeline::with_capacity(self.deliveries.len());
        let mut scripts: Vec<&'static Script> = Vec::new();
        for delivery in &self.deliveries {
            pipeline.add_command(delivery.command.clone());
            if !scripts.iter().any(|script| std::ptr::eq(*script, delivery.script)) {
                scripts.push(delivery.script);
            }
        }
        Some((pipeline, scripts))
    }
}

/// The library takes some errors for answers.
async fn said(connection: &mut MultiplexedConnection, command: &Cmd) -> RedisResult<Value> {
    connection.send_packed_command(command).await?.extract_error()
}

async fn load(connection: &mut MultiplexedConnection, scripts: &[&'static Script]) -> RedisResult<()> {
    for script in scripts {
        let hash = said(connection, &script.load()).await?;
        script.loaded(redis::from_redis_value(hash)?);
    }
    Ok(())
}

/// What a failure says about the connection. Where the command is at fault, nothing. Where the server is (it loads its data, has
/// become a replica, has no memory left, is busy), it is left, until a new connection has proved that it works: that costs less
/// than to be refused by it each time, and the address may lead to another one by now.
fn judge(error: &RedisError) -> Exchange {
    use ServerErrorKind::{NoPerm, NoScript, ResponseError};
    match error.kind() {
        ErrorKind::Server(ResponseError | NoPerm | NoScript) => Exchange::Refused,
        ErrorKind::Extension if error.code() == Some("WRONGTYPE") => Exchange::Refused,
        _ => Exchange::Broken,
    }
}

/// The same for a script, in which older servers call every error of theirs one of the script.
fn judge_script(error: &RedisError) -> Exchange {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::NoScript) => Exchange::Broken,
        _ => judge(error),
    }
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Asks all of them at once: what comes while others are under way costs little more than one.
async fn answer(mut connection: MultiplexedConnection, questions: Vec<Question>) -> (Purpose, Exchange) {
    let mut pipeline = Pipeline::with_capacity(questions.len());
    for question in &questions {
        pipeline.add_command(question.command.clone());
    }
    let mut exchange = Exchange::Fine;
    let asking = async {
        let answers = connection.send_packed_commands(&pipeline, 0, questions.len()).await?;
        let mut told = Vec::with_capacity(answers.len());
        for (question, answer) in questions.iter().zip(answers) {
            let mut answer = answer.extract_error();
            if let (Err(error), Some(script)) = (&answer, question.script)
                && is_unknown_script(error)
            {
                // Somebody made the server forget its scripts.
                load(&mut connection, &[script]).await?;
                answer = said(&mut connection, &question.command).await;
            }
            told.push(answer);
        }
        RedisResult::Ok(told)
    };
    match timeout(ANSWER_TIME, asking).await {
        Ok(Ok(answers)) => {
            for (question, answer) in questions.into_iter().zip(answers) {
                if let Err(error) = &answer {
                    let judged = if question.script.is_some() { judge_script(error) } else { judge(error) };
                    exchange = exchange.max(judged);
                }
                let _ = question.answer.send(answer.map_err(|error| Unavailable(error.to_string())));
            }
        }
        // Those who asked learn it from the end of their channel, or have stopped waiting.
        Ok(Err(error)) => exchange = judge_script(&error),
        Err(_) => exchange = Exchange::Late,
    }
    (Purpose::Questions, exchange)
}

async fn deliver(
    mut connection: MultiplexedConnection,
    (pipeline, scripts): (Pipeline, Vec<&'static Script>),
) -> (Purpose, Exchange) {
    let count = pipeline.len();
    let delivering = async {
        for again in [false, true] {
            let answers = connection.send_packed_commands(&pipeline, 0, count).await?;
            let refused = answers.into_iter().find_map(|answer| answer.extract_error().err());
            match refused {
                None => return Ok(()),
                Some(error) if is_unknown_script(&error) && !again => load(&mut connection, &scripts).await?,
                Some(error) => return Err(error),
            }
        }
        Ok(())
    };
    let exchange = match timeout(PATIENT_TIME, delivering).await {
        Ok(Ok(())) => Exchange::Fine,
        // One that fails always must not come again and again.
        Ok(Err(error)) => judge(&error),
        Err(_) => Exchange::Late,
    };
    (Purpose::Deliveries, exchange)
}

fn put(mut connection: MultiplexedConnection, entries: &[Entry]) -> impl Future<Output = (Purpose, Exchange)> + use<> {
    let mut pipeline = Pipeline::with_capacity(entries.len());
    for entry in entries {
        pipeline.set_ex(&entry.key, entry.value.as_slice(), entry.time_to_live.as_secs().max(1)).ignore();
    }
    async move {
        let exchange = match timeout(PATIENT_TIME, pipeline.exec_async(&mut connection)).await {
            Ok(Ok(())) => Exchange::Fine,
            Ok(Err(error)) => judge(&error),
            Err(_) => Exchange::Late,
        };
        (Purpose::Puts, exchange)
    }
}

async fn pinged(mut connection: MultiplexedConnection) -> (Purpose, Exchange) {
    let ping = redis::cmd("PING");
    let exchange = match timeout(PATIENT_TIME, said(&mut connection, &ping)).await {
        Ok(Ok(_)) => Exchange::Fine,
        Ok(Err(error)) => judge(&error),
        Err(_) => Exchange::Late,
    };
    (Purpose::Ping, exchange)
}
