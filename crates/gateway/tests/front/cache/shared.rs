//! Several gateways on one Redis, and what becomes of their answers when it is slow, gone or full of something else.

use std::time::{Duration, Instant};

use faults::redis::Redis;
use futures_util::future::join_all;
use serde_json::json;
use simulator::Simulator;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::{ON, cached};
use crate::harness::client::{ask, request};
use crate::harness::{Answer, Client, Connection, Gateway, get, post, providers};

/// What Redis may cost a request, and what a busy machine may be late by.
const WAIT: Duration = Duration::from_millis(20 + 900);

struct Fleet {
    redis: Redis,
    gateways: Vec<Gateway>,
    simulator: Simulator,
    file: String,
}

async fn gateway(redis: &Redis, file: &str) -> Gateway {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), file).unwrap();
    Gateway::start_in(folder, &[("REDIS_URL", &redis.url())]).await
}

impl Fleet {
    async fn start(count: usize, more: &str) -> Option<Fleet> {
        let redis = Redis::start().await.unwrap()?;
        let simulator = Simulator::start(simulator::Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let file = format!("{}{ON}{more}", providers(&simulator));
        let gateways = join_all((0..count).map(async |_| gateway(&redis, &file).await)).await;
        let fleet = Fleet { redis, gateways, simulator, file };
        fleet.is_shared().await;
        Some(fleet)
    }

    /// One question, in a partition that is told by `system`. It must not take long, whatever Redis does.
    async fn ask(&self, gateway: usize, system: &str, prompt: &str) -> Answer {
        let mut body = Client::OpenAi.request("openai/sim", prompt, false);
        body["messages"].as_array_mut().unwrap().insert(0, json!({"role": "system", "content": system}));
        let began = Instant::now();
        let answer = post(self.gateways[gateway].addr, Client::OpenAi.path(), "", body.to_string().as_bytes()).await;
        assert!(began.elapsed() < WAIT, "a request took {:?}", began.elapsed());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// Asks until the answer is from the cache, or is not. How long that took.
    async fn until(&self, gateway: usize, system: &str, prompt: &str, hit: bool, patience: Duration) -> Duration {
        let began = Instant::now();
        loop {
            let headers = "x-gateway-cache: only-if-cached\r\n";
            let mut body = Client::OpenAi.request("openai/sim", prompt, false);
            body["messages"].as_array_mut().unwrap().insert(0, json!({"role": "system", "content": system}));
            let addr = self.gateways[gateway].addr;
            let answer = post(addr, Client::OpenAi.path(), headers, body.to_string().as_bytes()).await;
            if (cached(&answer) == "hit") == hit {
                return began.elapsed();
            }
            assert!(began.elapsed() < patience, "not within {patience:?}: {prompt} hit: {hit}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until what each gateway is told reaches every other one.
    async fn is_shared(&self) {
        let began = Instant::now();
        for from in 0..self.gateways.len() {
            for to in 0..self.gateways.len() {
                loop {
                    let prompt = format!("Reply with exactly: probe {}", fastrand_of(began));
                    self.ask(to, "probe", &prompt.replace("probe", "other")).await;
                    self.ask(from, "probe", &prompt).await;
                    tokio::time::sleep(Duration::from_millis(60)).await;
                    if cached(&self.ask(to, "probe", &prompt).await) == "hit" {
                        break;
                    }
                    assert!(began.elapsed() < Duration::from_secs(15), "nothing is shared");
                }
            }
        }
    }

    fn asked(&self, mark: &str) -> usize {
        let entries = self.simulator.ledger();
        entries.iter().filter(|entry| String::from_utf8_lossy(&entry.request).contains(mark)).count()
    }
}

/// Another number each time.
fn fastrand_of(began: Instant) -> u128 {
    began.elapsed().as_nanos()
}

#[tokio::test]
async fn what_one_gateway_was_told_the_others_know_at_once_and_when_they_first_need_it() {
    let Some(fleet) = Fleet::start(2, "").await else { return };
    // A partition that the other one is using.
    fleet.ask(1, "used", "Reply with exactly: something").await;
    let mut latest = Vec::new();
    for n in 0..5 {
        let prompt = format!("Reply with exactly: heard {n}");
        assert_eq!(cached(&fleet.ask(0, "used", &prompt).await), "miss");
        latest.push(fleet.until(1, "used", &prompt, true, Duration::from_secs(5)).await);
        assert_eq!(fleet.asked(&prompt), 1);
    }
    latest.sort_unstable();
    assert!(latest[0] < Duration::from_millis(100), "{latest:?}");
    // And one that it has never used: the first question waits for it.
    let mut found = 0;
    for n in 0..5 {
        let (system, prompt) = (format!("fresh {n}"), format!("Reply with exactly: fresh {n}"));
        let first = fleet.ask(0, &system, &prompt).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let second = fleet.ask(1, &system, &prompt).await;
        if cached(&second) == "hit" {
            found += 1;
            assert_eq!(second.body, first.body);
        }
    }
    assert!(found >= 3, "{found} of 5: the others took Redis longer than a request waits");
}

#[tokio::test]
async fn what_is_removed_or_wrong_is_so_everywhere() {
    let Some(fleet) = Fleet::start(2, "").await else { return };
    let patience = Duration::from_secs(5);
    let [one, two] = [0, 1].map(|at| fleet.gateways[at].addr);
    for prompt in ["Reply with exactly: removed", "Reply with exactly: wrong"] {
        fleet.ask(1, "gone", "Reply with exactly: something").await;
        fleet.ask(0, "gone", prompt).await;
        fleet.until(1, "gone", prompt, true, patience).await;
        if prompt.contains("removed") {
            let cleared = ask(two, "DELETE", "/v1/cache", "", b"").await.json();
            assert!(cleared["removed"].as_u64() >= Some(2), "{cleared}");
        } else {
            let hit = fleet.ask(1, "gone", prompt).await;
            // To the gateway that knows of the request from Redis alone.
            let report = json!({"request_id": hit.request_id()}).to_string();
            let began = Instant::now();
            loop {
                let said = post(one, "/v1/cache/feedback", "", report.as_bytes()).await;
                if said.status == 200 {
                    break;
                }
                assert!(began.elapsed() < patience, "{said:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        fleet.until(0, "gone", prompt, false, patience).await;
        fleet.until(1, "gone", prompt, false, patience).await;
    }
}

#[tokio::test]
async fn a_pair_that_was_wrong_is_known_to_a_gateway_that_came_later() {
    let Some(mut fleet) = Fleet::start(1, "").await else { return };
    let patience = Duration::from_secs(5);
    let [one, other] = ["What is the capital of Portugal?", "What's Portugal's capital?"];
    fleet.ask(0, "wrong", one).await;
    let hit = fleet.ask(0, "wrong", other).await;
    assert_eq!(cached(&hit), "hit");
    let report = json!({"request_id": hit.request_id()}).to_string();
    assert_eq!(post(fleet.gateways[0].addr, "/v1/cache/feedback", "", report.as_bytes()).await.status, 200);
    // What was stored in the same millisecond would go, too.
    tokio::time::sleep(Duration::from_millis(200)).await;
    // The answer comes again, and a gateway finds it that never heard of the report.
    assert_eq!(cached(&fleet.ask(0, "wrong", one).await), "miss");
    fleet.gateways.push(gateway(&fleet.redis, &fleet.file).await);
    fleet.is_shared().await;
    fleet.until(1, "wrong", one, true, patience).await;
    assert_eq!(cached(&fleet.ask(1, "wrong", other).await), "miss");
}

#[tokio::test]
async fn a_frozen_redis_is_a_miss_and_what_went_meanwhile_does_not_come_back() {
    let Some(fleet) = Fleet::start(2, "").await else { return };
    let (prompt, patience) = ("Reply with exactly: frozen", Duration::from_secs(15));
    fleet.ask(1, "cold", "Reply with exactly: something").await;
    fleet.ask(0, "cold", prompt).await;
    fleet.until(1, "cold", prompt, true, Duration::from_secs(5)).await;
    fleet.redis.signal("STOP").unwrap();
    for n in 0..40 {
        let answer = fleet.ask(n % 2, &format!("cold {n}"), &format!("Reply with exactly: cold {n}")).await;
        assert_eq!(cached(&answer), "miss");
        assert_eq!(cached(&fleet.ask(1, "cold", prompt).await), "hit", "its own memory has it");
    }
    // Told while nobody can be told.
    ask(fleet.gateways[0].addr, "DELETE", "/v1/cache", "", b"").await;
    assert_eq!(cached(&fleet.ask(1, "cold", prompt).await), "hit", "it cannot know yet");
    fleet.redis.signal("CONT").unwrap();
    fleet.until(1, "cold", prompt, false, patience).await;
    fleet.until(0, "cold", prompt, false, patience).await;
    fleet.is_shared().await;
}

#[tokio::test]
async fn a_redis_that_is_gone_or_empty_or_full_of_something_else_is_a_miss() {
    let Some(mut fleet) = Fleet::start(2, "").await else { return };
    fleet.ask(0, "lost", "Reply with exactly: lost").await;
    fleet.redis.kill();
    for n in 0..40 {
        let answer = fleet.ask(n % 2, &format!("gone {n}"), &format!("Reply with exactly: gone {n}")).await;
        assert_eq!(cached(&answer), "miss");
    }
    assert_eq!(cached(&fleet.ask(0, "lost", "Reply with exactly: lost").await), "hit", "its own memory has it");
    fleet.redis.run().await.unwrap();
    fleet.is_shared().await;
    assert_eq!(fleet.redis.says("FLUSHALL").await.unwrap(), ["OK"]);
    fleet.is_shared().await;
    // Values that nobody can read.
    fleet.ask(0, "odd", "Reply with exactly: odd").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut spoilt = 0;
    for key in fleet.redis.says("KEYS llm-gateway:cache:*:answer:*").await.unwrap() {
        spoilt += 1;
        fleet.redis.says(&format!("SET {key} garbage")).await.unwrap();
    }
    assert!(spoilt > 0);
    assert_eq!(cached(&fleet.ask(1, "odd", "Reply with exactly: odd").await), "miss");
    for gateway in &fleet.gateways {
        assert_eq!(get(gateway.addr, "/health").await.status, 200);
    }
}

#[tokio::test]
async fn all_that_is_in_redis_ends_by_itself_and_lies_in_one_slot_for_each_tenant() {
    let Some(fleet) = Fleet::start(1, "").await else { return };
    fleet.ask(0, "kept", "Reply with exactly: kept").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    ask(fleet.gateways[0].addr, "DELETE", "/v1/cache", "", b"").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let keys = fleet.redis.says("KEYS llm-gateway:cache*").await.unwrap();
    assert!(keys.iter().any(|key| key.contains(":answer:")) && keys.iter().any(|key| key.contains(":partition:")));
    for key in keys {
        let left: i64 = fleet.redis.says(&format!("PTTL {key}")).await.unwrap()[0].parse().unwrap();
        assert!(left > 0, "{key} lives for ever");
        assert!(key.contains(":{") || key.ends_with(":clearings"), "{key}");
    }
}

#[tokio::test]
async fn one_caller_who_removes_much_removes_nothing_of_others() {
    let Some(fleet) = Fleet::start(2, "").await else { return };
    let prompt = "Reply with exactly: apart";
    let other = async || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut connection = Connection::over(socket.connect(fleet.gateways[0].addr).await.unwrap());
        let body = Client::OpenAi.request("openai/sim", prompt, false).to_string();
        let head = "content-type: application/json\r\n";
        let path = Client::OpenAi.path();
        connection.send(&request(fleet.gateways[0].addr, "POST", path, head, body.as_bytes())).await;
        cached(&connection.answer().await).to_owned()
    };
    assert_eq!((cached(&fleet.ask(0, "apart", prompt).await), &*other().await), ("miss", "miss"));
    // None is that old: each of them removes nothing.
    for some in (1000..2100).collect::<Vec<u32>>().chunks(50) {
        let removed = some.iter().map(async |seconds| {
            let path = format!("/v1/cache?older_than_seconds={seconds}");
            ask(fleet.gateways[0].addr, "DELETE", &path, "", b"").await.json()["removed"].clone()
        });
        join_all(removed).await;
    }
    fleet.until(0, "apart", prompt, false, Duration::from_secs(10)).await;
    assert_eq!(other().await, "hit", "too many of one caller are all of its own, and no more");
    let noted = fleet.redis.says("ZCARD llm-gateway:cache:clearings").await.unwrap();
    assert!((1..=1000).contains(&noted[0].parse::<u32>().unwrap()), "{noted:?}");
}

#[tokio::test]
async fn answers_that_redis_does_not_take_are_counted() {
    let Some(mut fleet) = Fleet::start(1, "").await else { return };
    fleet.redis.kill();
    for n in 0..20 {
        fleet.ask(0, "alone", &format!("Reply with exactly: alone {n}")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let began = Instant::now();
    loop {
        let counted = fleet.gateways[0].metric("gateway_cache_not_shared_total", "").await;
        if counted >= 20.0 {
            return assert_eq!(counted, 20.0);
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{counted} of 20");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
