//! Circuits of targets: what opens them, what does not, who finds out that they may close.

use std::time::{Duration, Instant};

use super::{Say, Scripted, ask, health, keyed, scripted, world};
use crate::harness::{Client, Connection, Gateway, World, all, client, ensure, eventually, get, post};

const OPENED: &str = "a circuit opened: the target failed too often";

/// One attempt a request, and a circuit that stays open.
const LONG: &str = "retry: {max_attempts: 1}\ncircuit_breaker: {recovery_timeout_seconds: 60}\n";
/// ... and one that is probed soon.
const SHORT: &str = "retry: {max_attempts: 1}\ncircuit_breaker: {recovery_timeout_seconds: 0.2}\n";

async fn fail(gateway: &Gateway, model: &str, times: usize) {
    for _ in 0..times {
        let answer = ask(gateway, model, false).await;
        assert!(answer.status >= 500, "{answer:?}");
    }
}

#[tokio::test]
async fn five_failures_open_a_circuit_and_clients_are_told_when_to_come_back() {
    let (gateway, provider) = scripted(Say::error(500, "x"), LONG).await;
    fail(&gateway, "p/m", 4).await;
    assert_eq!(health(&gateway, "p").await["circuit"], "closed");
    fail(&gateway, "p/m", 1).await;
    assert_eq!(health(&gateway, "p").await["circuit"], "open");
    let began = Instant::now();
    let mut refused = 0;
    for client in Client::ALL.into_iter().cycle().take(30) {
        let body = client.request("p/m", "hi", false).to_string();
        let answer = post(gateway.addr, client.path(), "", body.as_bytes()).await;
        if answer.header("x-gateway-attempts").is_some() {
            continue;
        }
        refused += 1;
        assert_eq!(answer.status, if client == Client::Anthropic { 529 } else { 503 }, "{answer:?}");
        let (kind, _) = client.error(&answer.json()).unwrap();
        let expected = match client {
            Client::Native => "circuit_open",
            Client::OpenAi => "server_error",
            Client::Anthropic => "overloaded_error",
        };
        assert_eq!(kind, expected, "{answer:?}");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((29..=60).contains(&wait), "{answer:?}");
        assert!(answer.header("retry-after-ms").is_some() && answer.header("x-should-retry").is_none(), "{answer:?}");
    }
    let allowed = 1 + began.elapsed().as_secs() as usize;
    assert!(provider.asked() <= 5 + allowed, "{} requests reached it", provider.asked());
    assert!(refused >= 30 - allowed);
    assert_eq!(gateway.metric("gateway_circuit_changes_total", "provider=\"p\",state=\"open\"").await, 1.0);
}

#[tokio::test]
async fn a_crowd_does_not_find_out_one_by_one_that_a_provider_is_down() {
    let slow = Say::error(500, "x").after(Duration::from_millis(200));
    let (down, good) = (Scripted::saying(slow).await, Scripted::saying(Say::good()).await);
    let providers = [down.provider("p"), good.provider("q")].concat();
    let aliases = "aliases: {both: {targets: [p/m, q/m]}}\ncircuit_breaker: {recovery_timeout_seconds: 60}\n";
    let gateway = Gateway::start(&format!("providers:\n{providers}{aliases}")).await;
    // One that failed is enough to be careful.
    assert_eq!(ask(&gateway, "both", false).await.status, 200);
    let answers = futures_util::future::join_all((0..40).map(|_| ask(&gateway, "both", false))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(down.asked(), 5);
    assert_eq!(health(&gateway, "p").await["circuit"], "open");

    // Alone it is asked by everybody, as far as its circuit lets them.
    let alone = Scripted::saying(Say::error(500, "x").after(Duration::from_millis(200))).await;
    let gateway = Gateway::start(&format!("providers:\n{}{LONG}", alone.provider("p"))).await;
    fail(&gateway, "p/m", 1).await;
    futures_util::future::join_all((0..20).map(|_| ask(&gateway, "p/m", false))).await;
    assert_eq!(alone.asked(), 21);
}

#[tokio::test]
async fn of_all_that_is_closed_one_target_gets_one_attempt_a_second() {
    let (first, second) = (Scripted::saying(Say::error(500, "x")).await, Scripted::saying(Say::error(500, "x")).await);
    let keys = keyed("q", second.addr, &["sk-key-a-5", "sk-key-b-5", "sk-key-c-5"]);
    let file = format!("providers:\n{}{keys}{LONG}aliases: {{both: {{targets: [p/m, q/m]}}}}\n", first.provider("p"));
    let gateway = Gateway::start(&file).await;
    fail(&gateway, "p/m", 5).await;
    // Its three keys have a circuit each; one that was never used is not counted as closed.
    let closed = async || second.asked() < 15 || health(&gateway, "q").await["circuit"] != "open";
    while closed().await {
        assert!(second.asked() < 60);
        fail(&gateway, "q/m", 1).await;
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (before, began) = (first.asked() + second.asked(), Instant::now());
    for _ in 0..30 {
        assert!(ask(&gateway, "both", false).await.status >= 500);
    }
    let allowed = 1 + began.elapsed().as_secs() as usize;
    let asked = first.asked() + second.asked() - before;
    assert!((1..=allowed).contains(&asked), "{asked} attempts");
}

#[tokio::test]
async fn one_of_twenty_requests_probes_a_circuit_and_its_recovery_lets_all_through() {
    let (gateway, provider) = scripted(Say::error(500, "x"), SHORT).await;
    fail(&gateway, "p/m", 5).await;
    provider.now_says(Say::good().after(Duration::from_millis(400)));
    tokio::time::sleep(Duration::from_millis(220)).await;
    assert_eq!(health(&gateway, "p").await["circuit"], "half_open");
    let answers = futures_util::future::join_all((0..20).map(|_| ask(&gateway, "p/m", false))).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 503 && answer.header("retry-after") == Some("1"));
    assert_eq!((good, refused.count(), provider.asked()), (1, 19, 6));
    provider.now_says(Say::good());
    assert_eq!(health(&gateway, "p").await["circuit"], "closed");
    for _ in 0..5 {
        assert_eq!(ask(&gateway, "p/m", false).await.status, 200);
    }
    let closed = || gateway.events("a circuit closed: the target answers again");
    eventually("the event", Duration::from_secs(2), || (!closed().is_empty()).then_some(())).await;
    assert_eq!(closed().len(), 1);
}

#[tokio::test]
async fn a_probe_whose_client_leaves_or_whose_request_is_at_fault_wedges_nothing() {
    let (gateway, provider) = scripted(Say::error(500, "x"), SHORT).await;
    fail(&gateway, "p/m", 5).await;
    tokio::time::sleep(Duration::from_millis(220)).await;
    for status in [400, 404, 422] {
        provider.now_says(Say::error(status, "x"));
        let answer = ask(&gateway, "p/m", false).await;
        assert_eq!((answer.status, answer.header("x-gateway-attempts")), (status, Some("1")), "{answer:?}");
    }
    provider.now_says(Say::good().after(Duration::from_secs(60)));
    for _ in 0..3 {
        leave(&gateway, &provider).await;
    }
    assert_eq!(health(&gateway, "p").await["circuit"], "half_open");
    provider.now_says(Say::good());
    assert_eq!(ask(&gateway, "p/m", false).await.status, 200);
    assert_eq!(health(&gateway, "p").await["circuit"], "closed");
}

/// A client that goes away as soon as its request has reached the provider, once the gateway has noticed.
async fn leave(gateway: &Gateway, provider: &Scripted) {
    let (before, user) = (provider.asked(), format!("leaves-{}", provider.asked()));
    let body = Client::OpenAi.request("p/m", "hi", false).to_string();
    let headers = format!("x-gateway-user: {user}\r\n");
    let mut connection = Connection::open(gateway.addr).await;
    connection.send(&client::request(gateway.addr, "POST", Client::OpenAi.path(), &headers, body.as_bytes())).await;
    eventually("the request", Duration::from_secs(5), || (provider.asked() > before).then_some(())).await;
    drop(connection);
    gateway.told_of(|line| line["user"] == user.as_str()).await;
}

#[tokio::test]
async fn requests_at_fault_and_clients_that_leave_open_no_circuit() {
    let (gateway, provider) = scripted(Say::good(), LONG).await;
    for status in [400, 404, 413, 422] {
        provider.now_says(Say::error(status, "content_policy_violation"));
        for _ in 0..8 {
            assert_eq!(ask(&gateway, "p/m", false).await.status, status);
        }
    }
    provider.now_says(Say::good().after(Duration::from_secs(60)));
    for _ in 0..12 {
        leave(&gateway, &provider).await;
    }
    let health = health(&gateway, "p").await;
    assert!(health["circuit"] == "closed" && health["is_healthy"] == true, "{health}");
    assert!(gateway.events(OPENED).is_empty());
    provider.now_says(Say::good());
    assert_eq!(ask(&gateway, "p/m", false).await.status, 200);
}

/// Streams that begin well, and how they end.
const BREAKS: [&str; 6] = ["truncate=3", "abort=3", "reset_after=3", "error_after=3", "garbage=3", "stall_after=3"];

#[tokio::test]
async fn a_provider_that_breaks_off_every_stream_is_found_out() {
    let mut more =
        "timeouts: {stream_idle_seconds: 0.2}\ncircuit_breaker: {recovery_timeout_seconds: 60}\naliases:\n".to_owned();
    for (n, fault) in BREAKS.iter().enumerate() {
        more += &format!("  b{n}: {{targets: ['openai-{n}/fault:{fault}', anthropic/sim]}}\n");
    }
    let world = World::of_many(BREAKS.len(), &more).await;
    all(BREAKS.into_iter().enumerate().map(|(n, fault)| breaks_off(&world, n, fault))).await;
}

async fn breaks_off(world: &World, n: usize, fault: &str) -> Result<(), String> {
    let mut broken = 0;
    loop {
        let answer = world.ask(Client::OpenAi, &format!("b{n}"), crate::harness::STORY, true).await;
        ensure!(answer.status == 200, "{fault}: {answer:?}");
        if answer.header("x-gateway-provider") == Some("anthropic") {
            ensure!(Client::OpenAi.said(&answer, true).done, "{fault}: {answer:?}");
            break;
        }
        ensure!(!Client::OpenAi.said(&answer, true).done, "{fault}: {answer:?}");
        let line = world.gateway.told(answer.request_id()).await;
        ensure!(line["outcome"] == "truncated", "{fault}: {line}");
        broken += 1;
        ensure!(broken <= 5, "{fault}: {broken} streams broke off");
    }
    ensure!(broken == 5, "{fault}: left after {broken}");
    ensure!(health(&world.gateway, &format!("openai-{n}")).await["circuit"] == "open", "{fault}");
    Ok(())
}

#[tokio::test]
async fn an_overloaded_model_is_overloaded_for_all_keys() {
    for (status, whole) in [(529, true), (503, true), (500, false)] {
        let provider = Scripted::saying(Say::error(status, "x")).await;
        let keys: Vec<String> = (0..8).map(|n| format!("sk-key-{n}-6")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let gateway = Gateway::start(&format!("providers:\n{}{LONG}", keyed("p", provider.addr, &keys))).await;
        fail(&gateway, "p/m", 5).await;
        assert_eq!(health(&gateway, "p").await["circuit"] == "open", whole, "{status}");
    }
}

#[tokio::test]
async fn health_shows_a_brownout_and_what_becomes_of_the_circuit() {
    let provider = Scripted::saying(Say::good()).await;
    let file = format!(
        "providers:\n{}  idle: {{dialect: openai_chat, base_url: 'http://127.0.0.1:9/v1', api_key: sk-idle-0}}\n{SHORT}\
         aliases: {{all: {{targets: [p/m, p/never-asked, p/nor-this]}}}}\n",
        provider.provider("p")
    );
    let gateway = Gateway::start(&file).await;
    for n in 0..10 {
        provider.now_says(if n % 2 == 0 { Say::good() } else { Say::error(502, "x") });
        assert_eq!(ask(&gateway, "p/m", false).await.status, if n % 2 == 0 { 200 } else { 502 });
    }
    let sick = health(&gateway, "p").await;
    assert_eq!(
        (&sick["is_healthy"], &sick["success_rate"], &sick["error_count"]),
        (&false.into(), &0.5.into(), &5.into())
    );
    assert_eq!(
        (sick["last_error"].as_str(), sick["circuit"].as_str()),
        (Some("provider_fault"), Some("open")),
        "{sick}"
    );
    assert!(sick["latency_p95_ms"].is_number() && sick["last_check"].is_string(), "{sick}");
    let all = get(gateway.addr, "/health").await;
    assert_eq!((all.status, all.json()["status"].as_str()), (200, Some("degraded")), "{all:?}");
    assert_eq!(all.json()["providers"]["idle"]["is_healthy"], true, "{all:?}");
    tokio::time::sleep(Duration::from_millis(220)).await;
    assert_eq!(health(&gateway, "p").await["circuit"], "half_open");
    provider.now_says(Say::good());
    for _ in 0..20 {
        assert_eq!(ask(&gateway, "p/m", false).await.status, 200);
    }
    let well = health(&gateway, "p").await;
    assert!(well["is_healthy"] == true && well["circuit"] == "closed", "{well}");
    assert_eq!(get(gateway.addr, "/v1/providers/nobody/health").await.status, 404);
}

#[tokio::test]
async fn a_target_whose_circuit_is_open_is_passed_over_without_a_wait() {
    let world = world(|addr| {
        let providers = ["p", "q"].map(|name| keyed(name, addr, &["sk-key-a-7"])).concat();
        format!("providers:\n{providers}{LONG}aliases: {{pair: {{targets: ['p/fault:status=500', q/sim]}}}}\n")
    })
    .await;
    fail(&world.gateway, "p/fault:status=500", 5).await;
    for _ in 0..10 {
        let answer = world.ask(Client::OpenAi, "pair", "hi", false).await;
        assert_eq!((answer.status, answer.header("x-gateway-attempts")), (200, Some("1")), "{answer:?}");
    }
}
