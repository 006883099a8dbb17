//! A real Redis beside the gateway: shared explanations, and what happens when it is slow or gone.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use simulator::Simulator;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::gateway::Gateway;
use crate::harness::{Answer, Client, get, post, providers};

/// A server of its own, killed when dropped.
struct Redis {
    port: u16,
    folder: TempDir,
    child: Option<Child>,
}

impl Redis {
    /// `None`, loudly, where there is no redis-server.
    async fn start() -> Option<Redis> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("SKIPPED: there is no redis-server; scripts/setup.sh installs it");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut redis = Redis { port, folder: TempDir::new().unwrap(), child: None };
        redis.run().await;
        Some(redis)
    }

    async fn run(&mut self) {
        let port = self.port.to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "redis-server does not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// What it says to one command, as it says it.
    async fn says(&self, command: &str) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        socket.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        let mut said = vec![0; 64 * 1024];
        let length = socket.read(&mut said).await.unwrap();
        String::from_utf8_lossy(&said[..length]).into_owned()
    }

    async fn gateway(&self, simulator: &Simulator) -> Gateway {
        with_redis(simulator, &format!("redis://127.0.0.1:{}", self.port)).await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
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
    let Some(redis) = Redis::start().await else { return };
    let simulator = simulator().await;
    let (one, other) = (redis.gateway(&simulator).await, redis.gateway(&simulator).await);
    is_up(&one, true).await;
    is_up(&other, true).await;
    let id = asked(&one).await;
    shared(other.addr, &id).await;
    assert_eq!(explanation(other.addr, &id).await.json(), explanation(one.addr, &id).await.json());
    // Not to another caller, from Redis neither.
    let foreign = crate::explain::get_from("127.0.0.2", other.addr, &format!("/v1/requests/{id}")).await;
    assert_eq!(foreign.status, 404);
    let key = format!("llm-gateway:request:{id}");
    let left: u64 = redis.says(&format!("TTL {key}")).await.trim().trim_start_matches(':').parse().unwrap();
    assert!((3500..=3600).contains(&left), "{left} s");
    let value = redis.says(&format!("GET {key}")).await;
    assert!(value.contains("openai/sim answered") && !value.contains("canary"), "{value}");
    assert_eq!(metric(&one, "gateway_explanations_lost_total").await, 0);
}

#[tokio::test]
async fn a_frozen_redis_costs_no_request_anything() {
    let Some(redis) = Redis::start().await else { return };
    let simulator = simulator().await;
    let (one, other) = (redis.gateway(&simulator).await, redis.gateway(&simulator).await);
    is_up(&one, true).await;
    redis.signal("STOP");
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
    redis.signal("CONT");
    is_up(&one, true).await;
    let id = asked(&one).await;
    is_up(&other, true).await;
    shared(other.addr, &id).await;
}

#[tokio::test]
async fn what_happens_while_redis_is_away_reaches_it_later() {
    let Some(mut redis) = Redis::start().await else { return };
    let simulator = simulator().await;
    let (one, other) = (redis.gateway(&simulator).await, redis.gateway(&simulator).await);
    is_up(&one, true).await;
    redis.kill();
    is_up(&one, false).await;
    let id = asked(&one).await;
    assert_eq!(explanation(one.addr, &id).await.status, 200, "memory answers");
    assert_eq!(explanation(other.addr, &id).await.status, 404);
    redis.run().await;
    is_up(&other, true).await;
    shared(other.addr, &id).await;
}

#[tokio::test]
async fn a_redis_that_became_a_replica_is_left_until_it_is_none() {
    let Some(redis) = Redis::start().await else { return };
    let simulator = simulator().await;
    let (one, other) = (redis.gateway(&simulator).await, redis.gateway(&simulator).await);
    is_up(&one, true).await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = nobody.local_addr().unwrap().port();
    assert!(redis.says(&format!("REPLICAOF 127.0.0.1 {nobody}")).await.starts_with("+OK"));
    let id = asked(&one).await;
    until("a failure", Duration::from_secs(5), async || metric(&one, "gateway_redis_failures_total").await > 0).await;
    assert!(redis.says("REPLICAOF NO ONE").await.starts_with("+OK"));
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
