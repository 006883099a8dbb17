//! For those who run it: start, health, metrics, log, and a clean end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use simulator::Config;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::harness::gateway::refused;
use crate::harness::{
    Answer, Client, Connection, Gateway, OPENAI_KEY, Path, STORY, World, all, client, ensure, eventually, get, paths,
    post,
};

fn streams() -> impl Iterator<Item = Path> {
    paths().filter(|path| path.streamed)
}

/// Sends a request and leaves its answer to come.
async fn begin(world: &World, path: Path, fault: &str) -> Connection {
    let addr = world.gateway.addr;
    let model = if fault.is_empty() { "sim".to_owned() } else { format!("fault:{fault}") };
    let body = path.client.request(&format!("{}/{model}", path.provider.name()), STORY, path.streamed).to_string();
    let mut connection = Connection::open(addr).await;
    let headers = "content-type: application/json\r\n";
    connection.send(&client::request(addr, "POST", path.client.path(), headers, body.as_bytes())).await;
    connection
}

async fn begin_all(world: &World, paths: impl Iterator<Item = Path>, fault: &str) -> Vec<(Path, Connection)> {
    let mut begun = Vec::new();
    for path in paths {
        let mut connection = begin(world, path, fault).await;
        if fault != "stall" {
            connection.wait_for("data: ").await;
        }
        begun.push((path, connection));
    }
    begun
}

#[tokio::test]
async fn a_stream_that_runs_is_finished_before_the_end() {
    let config = Config { chunk_delay: Duration::from_millis(35), ..Config::default() };
    let mut world = World::with("server: {drain_timeout_seconds: 20}\n", config).await;
    let begun = begin_all(&world, streams(), "").await;
    let mut idle = Connection::open(world.gateway.addr).await;
    world.gateway.signal("TERM");
    let addr = world.gateway.addr;
    let signalled = Instant::now();
    // For a second it still takes requests, and says that it will not for long.
    loop {
        let ready = get(addr, "/health/ready").await;
        if ready.status == 503 {
            assert_eq!(get(addr, "/readyz").await.status, 503);
            break;
        }
        assert!(signalled.elapsed() < Duration::from_millis(500), "{ready:?}");
    }
    assert_eq!(get(addr, "/health/live").await.status, 200);
    let late = world.ask(Client::OpenAi, "openai/sim", "Reply with exactly: late", false).await;
    assert_eq!(Client::OpenAi.said(&late, false).text, "late");
    for (path, mut connection) in begun {
        let answer = connection.answer().await;
        let said = path.client.said(&answer, true);
        assert!(answer.complete && said.done && said.error.is_none(), "{path:?}: {}", answer.text());
        assert_eq!(world.gateway.told(answer.request_id()).await["outcome"], "ok");
    }
    assert!(signalled.elapsed() > Duration::from_millis(1500), "the streams were too short to show anything");
    assert_eq!(idle.rest().await, "", "an idle connection is closed");
    let status = world.gateway.exited(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(0));
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_stream_that_does_not_end_in_time_is_ended_with_an_error() {
    let mut world = World::new("server: {drain_timeout_seconds: 0.3}\n").await;
    let begun = begin_all(&world, streams(), "stall_after=12").await;
    world.gateway.signal("TERM");
    let signalled = Instant::now();
    for (path, mut connection) in begun {
        let answer = connection.answer().await;
        let said = path.client.said(&answer, true);
        assert!(answer.complete && !said.done, "{path:?}: {}", answer.text());
        let (kind, message) = path.client.error(said.error.as_ref().unwrap()).unwrap();
        assert!(message.contains("shutting down"), "{path:?}: {kind}: {message}");
        assert_eq!(world.gateway.told(answer.request_id()).await["outcome"], "drained");
    }
    assert_eq!(world.gateway.exited(Duration::from_secs(5)).await.code(), Some(0));
    assert!((1200..3500).contains(&signalled.elapsed().as_millis()), "{:?}", signalled.elapsed());
}

#[tokio::test]
async fn a_request_without_any_answer_yet_is_told_of_the_end_too() {
    let mut world = World::new("server: {drain_timeout_seconds: 0.3}\n").await;
    let begun = begin_all(&world, paths(), "stall").await;
    let all_asked = || (world.simulator.ledger().len() == begun.len()).then_some(());
    eventually("all upstream requests", Duration::from_secs(5), all_asked).await;
    world.gateway.signal("TERM");
    let gateway = &world.gateway;
    all(begun.into_iter().map(|(path, mut connection)| async move {
        let answer = connection.answer().await;
        ensure!(matches!(answer.status, 503 | 529), "{path:?}: {answer:?}");
        ensure!(answer.header("x-should-retry").is_none(), "{path:?}: another gateway may answer: {answer:?}");
        let line = gateway.told(answer.request_id()).await;
        ensure!(line["outcome"] == "drained" && line["attempts"] == 1, "{path:?}: {line}");
        ensure!(path.client.error(&answer.json()).is_some(), "{path:?}: {answer:?}");
        Ok(())
    }))
    .await;
    assert_eq!(world.gateway.exited(Duration::from_secs(5)).await.code(), Some(0));
}

#[tokio::test]
async fn asked_twice_it_does_not_wait() {
    for second in ["TERM", "INT"] {
        let mut world = World::new("server: {drain_timeout_seconds: 60}\n").await;
        let begun = begin_all(&world, streams().take(1), "stall_after=12").await;
        world.gateway.signal("TERM");
        eventually("the drain", Duration::from_secs(5), || {
            world.gateway.log().into_iter().find(|line| line["message"] == "draining")
        })
        .await;
        world.gateway.signal(second);
        let signalled = Instant::now();
        assert_eq!(world.gateway.exited(Duration::from_secs(5)).await.code(), Some(0));
        assert!(signalled.elapsed() < Duration::from_millis(1500), "{second}: {:?}", signalled.elapsed());
        drop(begun);
    }
}

#[tokio::test]
async fn providers_health_follows_their_traffic() {
    let world = World::new("").await;
    let addr = world.gateway.addr;
    let health = async |name: &str| get(addr, &format!("/v1/providers/{name}/health")).await.json();
    let overall = async || get(addr, "/health").await;
    assert_eq!(overall().await.json()["status"], "healthy");
    for _ in 0..4 {
        let told = world.ask(Client::OpenAi, "openai/fault:status=400", "hi", false).await;
        world.gateway.told(told.request_id()).await;
    }
    assert_eq!(health("openai").await["error_count"], 0, "a client's fault is not the provider's");
    let good = world.ask(Client::OpenAi, "openai/sim", "hi", false).await;
    world.gateway.told(good.request_id()).await;
    let well = health("openai").await;
    assert!(well["is_healthy"] == true && well["latency_p50_ms"].is_f64() && well["circuit"] == "closed", "{well}");
    for _ in 0..3 {
        let told = world.ask(Client::OpenAi, "openai/fault:status=503", "hi", false).await;
        world.gateway.told(told.request_id()).await;
    }
    let ill = health("openai").await;
    // Two attempts each, until the fifth failure opens the circuit.
    assert!(ill["is_healthy"] == false && ill["error_count"] == 5 && ill["last_error"] == "overload", "{ill}");
    assert!(ill["success_rate"].as_f64() < Some(0.5), "{ill}");
    let degraded = overall().await;
    assert_eq!((degraded.status, &degraded.json()["status"]), (200, &"degraded".into()));
    assert_eq!(degraded.json()["providers"]["anthropic"]["is_healthy"], true);
    for _ in 0..3 {
        let told = world.ask(Client::Anthropic, "anthropic/fault:truncate=12", STORY, true).await;
        world.gateway.told(told.request_id()).await;
        let told = world.ask(Client::Anthropic, "anthropic/fault:refuse", STORY, true).await;
        world.gateway.told(told.request_id()).await;
    }
    let unhealthy = overall().await;
    assert_eq!((unhealthy.status, &unhealthy.json()["status"]), (503, &"unhealthy".into()), "{unhealthy:?}");
    let missing = get(addr, "/v1/providers/nobody/health").await;
    assert_eq!((missing.status, &missing.json()["error"]), (404, &"not_found".into()));
    let listed = get(addr, "/v1/providers").await.json();
    assert_eq!(listed["total"], 2);
    for field in [
        "name",
        "display_name",
        "is_available",
        "supported_models",
        "default_model",
        "capabilities",
        "health",
        "pricing",
    ] {
        assert!(listed["providers"][0].get(field).is_some(), "{field}: {listed}");
    }
}

/// The series of a scrape; fails where it is no OpenMetrics text.
async fn series(world: &World) -> BTreeSet<String> {
    let scrape = get(world.gateway.addr, "/metrics").await;
    assert_eq!(scrape.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let text = scrape.text();
    let body = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end: {text}"));
    let mut series = BTreeSet::new();
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            assert!(["HELP ", "TYPE ", "UNIT "].iter().any(|kind| comment.starts_with(kind)), "{line}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        value.parse::<f64>().unwrap_or_else(|_| panic!("no number: {line}"));
        let metric = name.split('{').next().unwrap();
        assert!(metric.starts_with("gateway_"), "{line}");
        assert!(metric.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{line}");
        assert!(series.insert(name.to_owned()), "twice: {line}");
    }
    series
}

#[tokio::test]
async fn metrics_can_be_parsed_and_do_not_grow_with_what_clients_send() {
    let world = World::new("").await;
    let round = async |number: usize| {
        for path in paths() {
            let models = [
                format!("{}/random-{number}-x", path.provider.name()),
                format!("random-{number}"),
                format!("{}/fault:status=400,seed={number}", path.provider.name()),
            ];
            for model in models {
                let headers = format!("x-gateway-user: user-{number}\r\nx-request-id: id-{number}\r\n");
                let answer = world.ask_with(path.client, &model, "hi", path.streamed, &headers).await;
                world.gateway.told(answer.request_id()).await;
            }
        }
        for path in [format!("/random-{number}"), format!("/v1/models/random-{number}")] {
            assert_eq!(get(world.gateway.addr, &path).await.status, 404);
        }
    };
    round(0).await;
    let before = series(&world).await;
    assert!(before.iter().any(|name| name.contains("model=\"other\"")), "{before:?}");
    let requests = paths().map(|path| world.ask(path.client, "random-1", "hi", false));
    futures_util::future::join_all(requests).await;
    for number in 1..200 {
        let model = format!("openai/random-{number}");
        let requests = Client::ALL.map(|client| world.ask(client, &model, "hi", number % 2 == 0));
        for answer in futures_util::future::join_all(requests).await {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    let last = world.ask(Client::OpenAi, "openai/random-200", "hi", false).await;
    world.gateway.told(last.request_id()).await;
    let after = series(&world).await;
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(!after.iter().any(|name| name.contains("random") || name.contains("user-")), "{after:?}");
}

#[tokio::test]
async fn the_log_line_of_a_request_says_what_happened() {
    let pair = "aliases: {pair: {targets: ['openai/fault:status=500', 'anthropic/claude-haiku-4-5']}}\n";
    let world = World::new(&format!("circuit_breaker: {{failure_threshold: 1000}}\n{pair}")).await;
    for path in paths().filter(|path| path.provider == crate::harness::Provider::OpenAi) {
        let answer = world.ask_with(path.client, "pair", "hello", path.streamed, "x-gateway-user: ann\r\n").await;
        let line = world.gateway.told(answer.request_id()).await;
        let expected: [(&str, Value); 14] = [
            ("message", "request".into()),
            ("dialect", path.client.dialect().into()),
            ("route", format!("POST {}", path.client.path()).into()),
            ("stream", path.streamed.into()),
            ("model_asked", "pair".into()),
            ("user", "ann".into()),
            ("provider", "anthropic".into()),
            ("model", "claude-haiku-4-5".into()),
            ("status", 200.into()),
            ("outcome", "ok".into()),
            ("attempts", 2.into()),
            ("finish_reason", "stop".into()),
            ("level", "info".into()),
            ("upstream_request_id", answer.header("x-gateway-upstream-request-id").unwrap().into()),
        ];
        for (name, value) in expected {
            assert_eq!(line[name], value, "{name}: {line}");
        }
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(line["usage"]["input"].as_u64() > Some(0) && line["usage"]["output"].as_u64() > Some(0), "{line}");
        for number in ["cost_usd", "duration_ms", "overhead_ms"] {
            assert!(line[number].as_f64() > Some(0.0), "{number}: {line}");
        }
        assert_eq!(line["first_content_ms"].is_number(), path.streamed, "{line}");
        assert_eq!(line["tried"].as_array().unwrap().len(), 2, "{line}");
        assert_eq!(line["tried"][0]["target"], "openai/fault:status=500", "{line}");
    }
}

#[tokio::test]
async fn hostile_texts_do_not_break_the_log() {
    let world = World::new("").await;
    let model = "gpt-\u{1b}[2J\r\n{\"message\":\"request\",\"forged\":true}\u{202e}";
    let answer = world.ask_with(Client::OpenAi, model, "hi", false, "x-gateway-user: a\tb\u{e9}\r\n").await;
    let line = world.gateway.told(answer.request_id()).await;
    assert!(!world.gateway.log().iter().any(|line| line.get("forged").is_some()));
    assert!(!world.gateway.output().contains('\u{1b}'), "{line}");
}

/// A file, variables, and a word of the complaint.
type Start = (&'static str, Vec<(&'static str, &'static str)>, &'static str);

#[test]
fn a_start_that_cannot_be_right_is_refused() {
    let key = [("OPENAI_API_KEY", OPENAI_KEY)];
    let with = |more: &[(&'static str, &'static str)]| [&key[..], more].concat();
    let cases: Vec<Start> = vec![
        ("", with(&[("HOST", "0.0.0.0")]), "GATEWAY_ALLOW_ANONYMOUS"),
        ("", vec![("HOST", "0.0.0.0")], "OPENAI_API_KEY"),
        ("log: {level: info}\n", vec![], "OPENAI_API_KEY"),
        ("", vec![("REDIS_URL", "redis://127.0.0.1:1")], "OPENAI_API_KEY"),
        ("", with(&[("PORT", "many")]), "PORT"),
        ("", with(&[("GATEWAY_ADMIN_KEY", "short")]), "16"),
        ("provider: {}\n", with(&[]), "providers"),
        ("providers: {openai: {api_key: '${MISSING_KEY}'}}\n", vec![], "MISSING_KEY"),
        ("aliases: {a: {targets: [nobody/model]}}\n", with(&[]), "nobody"),
        ("server: {tls: {cert: none.pem, key: none.key}}\n", with(&[]), "none.pem"),
        ("retry: {max_attempts: 0, base_delay_seconds: -1}\n", with(&[]), "max_attempts"),
        ("providers: [\n", with(&[]), "gateway.yaml"),
    ];
    for (yaml, env, says) in cases {
        let refused = refused(yaml, &env);
        assert_eq!(refused.code, Some(2), "{yaml} {env:?}: {refused:?}");
        assert!(refused.complaint.contains(says), "{yaml} {env:?}: {says:?} is not in {}", refused.complaint);
        assert!(!refused.complaint.contains(OPENAI_KEY), "{refused:?}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = refused("", &[("OPENAI_API_KEY", OPENAI_KEY), ("PORT", &port)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.complaint.contains("cannot listen") && refused.complaint.contains(&port), "{refused:?}");
}

#[tokio::test]
async fn without_any_configuration_it_is_a_sandbox_and_says_so() {
    let mut gateway = Gateway::start_in(TempDir::new().unwrap(), &[]).await;
    for client in Client::ALL {
        for streamed in [false, true] {
            let model = if client == Client::Anthropic { "claude-haiku-4-5" } else { "gpt-5.4-mini" };
            let body = client.request(model, "Reply with exactly: sand", streamed).to_string();
            let answer: Answer = post(gateway.addr, client.path(), "", body.as_bytes()).await;
            assert_eq!(client.said(&answer, streamed).text, "sand", "{answer:?}");
            assert_eq!(answer.header("x-gateway-sandbox"), Some("true"), "{answer:?}");
        }
    }
    gateway.signal("INT");
    let signalled = Instant::now();
    assert_eq!(gateway.exited(Duration::from_secs(5)).await.code(), Some(0));
    assert!(signalled.elapsed() < Duration::from_millis(900), "{:?}", signalled.elapsed());
}

#[tokio::test]
async fn a_provider_that_is_probed_is_known_to_be_there_or_not_without_traffic() {
    let there = simulator::Simulator::start(Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::start(&format!(
        "providers:\n  there: {{dialect: openai_chat, auth: none, base_url: 'http://{}/v1', probe_seconds: 1}}\n  \
         gone: {{dialect: openai_chat, auth: none, base_url: 'http://{gone}/v1', probe_seconds: 1}}\n  \
         unasked: {{dialect: openai_chat, auth: none, base_url: 'http://{gone}/v1'}}\n",
        there.addr()
    ))
    .await;
    let health = async |name: &str| get(gateway.addr, &format!("/v1/providers/{name}/health")).await.json();
    let began = Instant::now();
    loop {
        if health("gone").await["probe"].is_object() && health("there").await["probe"].is_object() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let gone = health("gone").await;
    assert_eq!((&gone["is_healthy"], &gone["probe"]["is_reachable"]), (&false.into(), &false.into()), "{gone}");
    assert!(gone["probe"]["error"].as_str().unwrap().contains("cannot connect"), "{gone}");
    assert_eq!(
        (&gone["circuit"], &gone["error_count"]),
        (&"closed".into(), &0.into()),
        "no traffic, no circuit: {gone}"
    );
    // Without a key the simulator refuses; it is there all the same.
    let well = health("there").await;
    assert_eq!((&well["is_healthy"], &well["probe"]["is_reachable"]), (&true.into(), &true.into()), "{well}");
    assert!(well["probe"]["latency_ms"].is_number(), "{well}");
    assert_eq!(health("unasked").await["probe"], Value::Null);
    let told = || gateway.events("a provider is not reachable").pop();
    eventually("a line in the log", Duration::from_secs(5), told).await;
    assert_eq!(gateway.events("a provider is not reachable").len(), 1, "once, not at every probe");
    let asked = there.ledger();
    assert!((1..=5).contains(&asked.len()), "{asked:?}");
    assert!(asked.iter().all(|asked| asked.method == "GET" && asked.path == "/v1/models"), "{asked:?}");
}
