//! A real Redis beside the gateway: shared explanations, and what happens when it is slow or gone.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use faults::redis::Redis;
use simulator::Simulator;
use tempfile::TempDir;

use crate::harness::gateway::Gateway;
use crate::harness::{Answer, Client, get, post, providers};

async fn start() -> Option<Redis> {
    Redis::start().await.unwrap()
}

async fn gateway(redis: &Redis, simulator: &Simulator) -> Gateway {
    with_redis(simulator, &redis.url()).await
}

async fn with_redis(simulator: &Simulator, url: &str) -> Gateway {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), providers(simulator)).unwrap();
    Gateway::start_in(folder, &[("REDIS_URL", url)]).await
}

async fn simulator() -> Simulator {
    Simulator::start(simulator::Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap()
}

/// The answer's id. It must come as soon as ever.
async fn asked(gateway: &Gateway) -> String {
    let began = Instant::now();
    let body = Client::OpenAi.request("openai/sim", "Reply with exactly: canary", false).to_string();
    let answer = post(gateway.addr, Client::OpenAi.path(), "", body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(began.elapsed() < Duration::from_millis(500), "a request took {:?}", began.elapsed());
    answer.request_id().to_owned()
}

async fn explanation(addr: SocketAddr, id: &str) -> Answer {
    get(addr, &format!("/v1/requests/{id}")).await
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = get(gateway.addr, "/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
}

/// Asks every 20 ms until it is so.
async fn until(what: &str, patience: Duration, mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < patience, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn is_up(gateway: &Gateway, up: bool) {
    let what = format!("gateway_redis_up {}", u64::from(up));
    until(&what, Duration::from_secs(10), async || metric(gateway, "gateway_redis_up").await == u64::from(up)).await;
}

/// Waits until the gateway at `addr` can explain what another gateway did.
async fn shared(addr: SocketAddr, id: &str) {
    let patience = Duration::from_secs(8);
    until("an explanation in Redis", patience, async || explanation(addr, id).await.status == 200).await;
}

#[tokio::test]
async fn any_gateway_explains_the_requests_of_all() {
    let Some(redis) = start().await else { return };
    let simulator = simulator().await;
    let (one, other) = (gateway(&redis, &simulator).await, gateway(&redis, &simulator).await);
    is_up(&one, true).await;
    is_up(&other, true).await;
    let id = asked(&one).await;
    shared(other.addr, &id).await;
    assert_eq!(explanation(other.addr, &id).await.json(), explanation(one.addr, &id).await.json());
    // Not to another caller, from Redis neither.
    let foreign = crate::explain::get_from("127.0.0.2", other.addr, &format!("/v1/requests/{id}")).await;
    assert_eq!(foreign.status, 404);
    let key = format!("llm-gateway:request:{id}");
    let left: u64 = redis.says(&format!("TTL {key}")).await.unwrap()[0].parse().unwrap();
    assert!((3500..=3600).contains(&left), "{left} s");
    let value = redis.says(&format!("GET {key}")).await.unwrap().concat();
    assert!(value.contains("openai/sim answered") && !value.contains("canary"), "{value}");
    assert_eq!(metric(&one, "gateway_explanations_lost_total").await, 0);
}

#[tokio::test]
async fn a_frozen_redis_costs_no_request_anything() {
    let Some(redis) = start().await else { return };
    let simulator = simulator().await;
    let (one, other) = (gateway(&redis, &simulator).await, gateway(&redis, &simulator).await);
    is_up(&one, true).await;
    redis.signal("STOP").unwrap();
    let began = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(asked(&one).await);
    }
    assert!(began.elapsed() < Duration::from_secs(1), "20 requests took {:?}", began.elapsed());
    for id in &ids {
        assert_eq!(explanation(one.addr, id).await.status, 200, "memory answers");
    }
    // Who asks for what only Redis could know waits a little, and soon not even that.
    let missing = "req_00000000000000000000000000000000";
    let slowest = Duration::from_millis(500);
    for _ in 0..5 {
        let began = Instant::now();
        assert_eq!(explanation(one.addr, missing).await.status, 404);
        assert!(began.elapsed() < slowest, "{:?}", began.elapsed());
    }
    is_up(&one, false).await;
    assert!(metric(&one, "gateway_redis_failures_total").await >= 3);
    redis.signal("CONT").unwrap();
    is_up(&one, true).await;
    let id = asked(&one).await;
    is_up(&other, true).await;
    shared(other.addr, &id).await;
}

#[tokio::test]
async fn what_happens_while_redis_is_away_reaches_it_later() {
    let Some(mut redis) = start().await else { return };
    let simulator = simulator().await;
    let (one, other) = (gateway(&redis, &simulator).await, gateway(&redis, &simulator).await);
    is_up(&one, true).await;
    redis.kill();
    is_up(&one, false).await;
    let id = asked(&one).await;
    assert_eq!(explanation(one.addr, &id).await.status, 200, "memory answers");
    assert_eq!(explanation(other.addr, &id).await.status, 404);
    redis.run().await.unwrap();
    is_up(&other, true).await;
    shared(other.addr, &id).await;
}

#[tokio::test]
async fn a_redis_that_became_a_replica_is_left_until_it_is_none() {
    let Some(redis) = start().await else { return };
    let simulator = simulator().await;
    let (one, other) = (gateway(&redis, &simulator).await, gateway(&redis, &simulator).await);
    is_up(&one, true).await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = nobody.local_addr().unwrap().port();
    assert_eq!(redis.says(&format!("REPLICAOF 127.0.0.1 {nobody}")).await.unwrap(), ["OK"]);
    let id = asked(&one).await;
    until("a failure", Duration::from_secs(5), async || metric(&one, "gateway_redis_failures_total").await > 0).await;
    assert_eq!(redis.says("REPLICAOF NO ONE").await.unwrap(), ["OK"]);
    shared(other.addr, &id).await;
}

#[tokio::test]
async fn a_redis_that_never_was_there_keeps_nobody_from_anything() {
    let simulator = simulator().await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // One that speaks no TLS is none, either.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = deaf.local_addr().unwrap();
    let closing = std::thread::spawn(move || drop(deaf.accept()));
    for (scheme, port) in [("redis", port), ("rediss", addr.port())] {
        let gateway = with_redis(&simulator, &format!("{scheme}://:canary-password@127.0.0.1:{port}")).await;
        let id = asked(&gateway).await;
        assert_eq!(explanation(gateway.addr, &id).await.status, 200);
        let failed = async || metric(&gateway, "gateway_redis_failures_total").await > 0;
        until("a failure", Duration::from_secs(5), failed).await;
        assert!(!gateway.output().contains("canary-password"));
    }
    closing.join().unwrap();
}
