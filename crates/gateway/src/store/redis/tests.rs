//! A real Redis behind a network that fails as told.

use std::time::{Duration, Instant};

use faults::proxy::{Fault, Proxy};
use faults::redis::Redis as Server;

use super::*;

const SOON: Duration = Duration::from_millis(ANSWER_TIME.as_millis() as u64 + 60);
const WITHIN_A_SECOND: Duration = Duration::from_secs(1);

static COUNT: Script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
static SCRIPTS: [&Script; 2] = [&COUNT, &ADD];
static ADD: Script = Script::new("return redis.call('SADD', KEYS[1], ARGV[1])");

struct World {
    server: Server,
    proxy: Proxy,
    redis: Redis,
}

async fn world() -> Option<World> {
    let server = Server::start().await.unwrap()?;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let redis = Redis::start(&Secret::new(format!("redis://{}", proxy.addr())), &SCRIPTS).unwrap();
    let world = World { server, proxy, redis };
    world.is_up(true, Duration::from_secs(5)).await;
    Some(world)
}

impl World {
    async fn is_up(&self, up: bool, patience: Duration) {
        let began = Instant::now();
        while self.redis.is_up() != up {
            assert!(began.elapsed() < patience, "not within {patience:?}: up is {up}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// How long it took, and whether there was an answer.
    async fn asked(&self) -> (Duration, bool) {
        let began = Instant::now();
        let answer = self.redis.run(&COUNT, &["count"], 1).await;
        (began.elapsed(), answer.is_ok())
    }

    /// Nobody waits for long, soon nobody waits at all, and within a second of the healing everything is as before.
    async fn bears(&self, fault: Fault) {
        self.proxy.set(fault.clone());
        let mut slow = 0;
        for _ in 0..50 {
            let (took, answered) = self.asked().await;
            assert!(took < SOON, "{fault:?}: waited for {took:?}");
            assert!(!answered, "{fault:?}");
            slow += u32::from(took > Duration::from_millis(20));
        }
        // Two more: on a busy machine those who are refused at once may wait for their turn.
        assert!(slow <= LATE_IN_A_ROW + 2, "{fault:?}: {slow} waited");
        assert!(!self.redis.is_up(), "{fault:?}");
        self.proxy.set(Fault::None);
        self.is_up(true, WITHIN_A_SECOND).await;
        assert!(self.asked().await.1, "{fault:?}");
    }
}

const LATE_IN_A_ROW: u32 = 3;

#[tokio::test]
async fn a_script_that_was_forgotten_is_loaded_again() {
    let Some(world) = world().await else { return };
    assert_eq!(world.redis.run(&COUNT, &["count"], 5).await, Ok(Value::Int(5)));
    world.server.says("SCRIPT FLUSH").await.unwrap();
    assert_eq!(world.redis.run(&COUNT, &["count"], 1).await, Ok(Value::Int(6)));
    world.server.says("SCRIPT FLUSH").await.unwrap();
    assert!(world.redis.deliver(&ADD, &["set"], "one", WITHIN_A_SECOND));
    assert!(world.redis.deliver(&COUNT, &["count"], "1", WITHIN_A_SECOND));
    let began = Instant::now();
    while world.server.says("GET count").await.unwrap() != ["7"] {
        assert!(began.elapsed() < WITHIN_A_SECOND);
    }
    assert_eq!(world.server.says("SMEMBERS set").await.unwrap(), ["one"]);
    assert_eq!((world.redis.failures(), world.redis.undelivered()), (0, 0));
}

#[tokio::test]
async fn nobody_waits_for_a_server_that_refuses_to_work() {
    let Some(world) = world().await else { return };
    let refusals = [
        "-LOADING Redis is loading the dataset in memory",
        "-READONLY You can't write against a read only replica.",
        "-BUSY Redis is busy running a script.",
        "-OOM command not allowed when used memory > 'maxmemory'.",
        "-MOVED 3999 127.0.0.1:6381",
        "-MASTERDOWN Link with MASTER is down",
        "-MISCONF Redis is configured to save RDB snapshots",
        "-NOSCRIPT No matching script.",
        "-ERR unknown",
    ];
    for line in refusals {
        world.bears(Fault::Answer(line)).await;
    }
}

#[tokio::test]
async fn nobody_waits_for_a_network_that_is_gone() {
    let Some(world) = world().await else { return };
    world.bears(Fault::Reset).await;
    world.bears(Fault::Blackhole).await;
    world.bears(Fault::Delay(Duration::from_millis(300), Duration::from_millis(400))).await;
    world.bears(Fault::Drip(Duration::from_millis(120))).await;
}

#[tokio::test]
async fn nobody_waits_for_a_frozen_server() {
    let Some(world) = world().await else { return };
    world.server.signal("STOP").unwrap();
    let mut waited = Duration::ZERO;
    for _ in 0..50 {
        let (took, answered) = world.asked().await;
        assert!(took < SOON && !answered);
        waited += took;
    }
    assert!(waited < 4 * ANSWER_TIME, "{waited:?}");
    world.server.signal("CONT").unwrap();
    world.is_up(true, WITHIN_A_SECOND).await;
}

#[tokio::test]
async fn many_who_ask_at_once_wait_no_longer_than_one() {
    let Some(world) = world().await else { return };
    world.proxy.set(Fault::Blackhole);
    let began = Instant::now();
    let asking = (0..500).map(|_| world.asked());
    let asked = futures_util::future::join_all(asking).await;
    assert!(asked.iter().all(|(_, answered)| !answered));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    world.is_up(false, SOON).await;
}

#[tokio::test]
async fn a_slow_server_that_answers_in_time_is_kept() {
    let Some(world) = world().await else { return };
    world.proxy.set(Fault::Delay(Duration::ZERO, Duration::from_millis(50)));
    for _ in 0..20 {
        let asking = (0..10).map(|_| world.asked());
        assert!(futures_util::future::join_all(asking).await.iter().all(|(_, answered)| *answered));
    }
    assert_eq!(world.redis.failures(), 0);
}

#[tokio::test]
async fn a_server_that_is_late_half_of_the_time_is_left_alone() {
    let Some(world) = world().await else { return };
    world.proxy.set(Fault::Delay(Duration::ZERO, Duration::from_millis(200)));
    let (began, mut waited, mut changes, mut was) = (Instant::now(), 0, 0, true);
    while began.elapsed() < Duration::from_secs(3) {
        let (took, _) = world.asked().await;
        waited += u32::from(took > Duration::from_millis(20));
        changes += u32::from(world.redis.is_up() != was);
        was = world.redis.is_up();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(waited < 25 && changes <= 3, "{waited} waited, {changes} changes");
}

#[tokio::test]
async fn what_is_to_be_delivered_arrives_over_the_next_connection() {
    let Some(mut world) = world().await else { return };
    world.proxy.set(Fault::Blackhole);
    for number in 0..1000 {
        assert!(world.redis.deliver(&ADD, &["set"], number, Duration::from_secs(30)));
    }
    assert!(world.redis.deliver(&ADD, &["set"], "too late", Duration::from_millis(1)));
    while world.redis.is_up() {
        let _ = world.asked().await;
    }
    world.server.kill();
    world.server.run().await.unwrap();
    world.proxy.set(Fault::None);
    world.is_up(true, Duration::from_secs(2)).await;
    let began = Instant::now();
    while world.server.says("SCARD set").await.unwrap() != ["1000"] {
        assert!(began.elapsed() < WITHIN_A_SECOND, "{:?}", world.server.says("SCARD set").await);
    }
    assert_eq!(world.redis.undelivered(), 1);
}
