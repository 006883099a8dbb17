//! More than the gateway can do: refused early, with a time to come back at, and without harm to what has begun.

use std::time::{Duration, Instant};

use crate::harness::client::request;
use crate::harness::upstream::Upstream;
use crate::harness::{Answer, Client, Connection, Gateway, STORY, World, ensure, eventually, get, post};

const JSON: &str = "content-type: application/json\r\n";
const PATIENCE: Duration = Duration::from_secs(5);

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "not in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A stream that has begun and does not end.
async fn begin_stream(world: &World, provider: &str) -> Connection {
    let addr = world.gateway.addr;
    let body = Client::OpenAi.request(&format!("{provider}/fault:stall_after=12"), STORY, true).to_string();
    let mut connection = Connection::open(addr).await;
    connection.send(&request(addr, "POST", Client::OpenAi.path(), JSON, body.as_bytes())).await;
    connection.wait_for("data: ").await;
    connection
}

fn shed(client: Client, answer: &Answer) -> Result<(), String> {
    let (status, kind) = match client {
        Client::Native => (503, "overloaded"),
        Client::OpenAi => (503, "server_error"),
        Client::Anthropic => (529, "overloaded_error"),
    };
    ensure!(answer.status == status, "{client:?}: {answer:?}");
    ensure!(client.error(&answer.json()).is_some_and(|(told, _)| told == kind), "{client:?}: {answer:?}");
    let number = |name| answer.header(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or_default();
    ensure!((1000..=3000).contains(&number("retry-after-ms")), "{client:?}: {answer:?}");
    ensure!((1..=3).contains(&number("retry-after")), "{client:?}: {answer:?}");
    ensure!(answer.header("x-should-retry") != Some("false"), "{client:?}: {answer:?}");
    Ok(())
}

#[tokio::test]
async fn more_requests_than_may_run_wait_a_little_and_are_shed() {
    let world = World::new("server: {max_concurrent_requests: 2}\n").await;
    let addr = world.gateway.addr;
    let [leaving, staying] = [begin_stream(&world, "openai").await, begin_stream(&world, "anthropic").await];
    // A place that becomes free while somebody waits is theirs. Before anybody is shed: from then on nobody waits for long.
    let waiting = world.ask(Client::OpenAi, "openai/sim", "Reply with exactly: in", false);
    let freeing = async {
        until(async || world.gateway.metric("gateway_queued_requests", "").await == 1.0).await;
        drop(leaving);
    };
    let (answer, ()) = tokio::join!(waiting, freeing);
    assert_eq!(Client::OpenAi.said(&answer, false).text, "in", "{answer:?}");

    let streams = [staying, begin_stream(&world, "openai").await];
    let began = Instant::now();
    let ask = |client: Client| {
        let world = &world;
        async move {
            let answer = world.ask(client, "openai/sim", "hello", false).await;
            shed(client, &answer)?;
            let line = world.gateway.told(answer.request_id()).await;
            ensure!(line["outcome"] == "shed" && line["level"] == "warn", "{line}");
            Ok(())
        }
    };
    crate::harness::all(Client::ALL.map(ask)).await;
    assert!((900..3000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    for path in ["/health", "/health/live", "/health/ready", "/metrics", "/v1/models", "/v1/providers"] {
        assert_eq!(get(addr, path).await.status, 200, "{path}");
    }
    assert_eq!(world.gateway.metric("gateway_shed_requests_total", "reason=\"wait\"").await, 3.0);
    assert_eq!(world.gateway.metric("gateway_queued_requests", "").await, 0.0);
    drop(streams);
}

#[tokio::test]
async fn a_provider_that_has_as_much_as_it_may_is_passed_over() {
    let more = "aliases: {both: {strategy: fallback, targets: [limited/sim, anthropic/sim]}}\n";
    let world = World::new("").await;
    let limited = format!(
        "  limited: {{dialect: openai_chat, api_key: k, base_url: 'http://{}/v1', max_concurrent: 1}}\nretry:",
        world.simulator.addr()
    );
    let yaml = crate::harness::providers(&world.simulator).replacen("retry:", &limited, 1) + more;
    let world = World { gateway: Gateway::start(&yaml).await, ..world };
    let in_flight = async || world.gateway.metric("gateway_provider_requests_in_flight", "limited").await;
    let provider = async |model: &str| {
        let answer = world.ask(Client::OpenAi, model, "hello", false).await;
        (answer.status, answer.header("x-gateway-provider").unwrap_or_default().to_owned(), answer)
    };
    assert_eq!(provider("both").await.1, "limited");
    let stream = begin_stream(&world, "limited").await;
    assert_eq!(in_flight().await, 1.0);
    drop(stream);
    assert_eq!(provider("limited/sim").await.1, "limited", "the place of a stream whose client has gone is free");
    // Before anybody is shed: from then on nobody waits for long.
    let stream = begin_stream(&world, "limited").await;
    let freeing = async {
        until(async || world.gateway.metric("gateway_provider_queued_requests", "limited").await == 1.0).await;
        drop(stream);
    };
    let (waited, ()) = tokio::join!(provider("limited/sim"), freeing);
    assert_eq!(waited.1, "limited", "its turn came: {:?}", waited.2);

    let stream = begin_stream(&world, "limited").await;
    let began = Instant::now();
    let (_, passed, answer) = provider("both").await;
    assert_eq!(passed, "anthropic");
    assert!(began.elapsed() < Duration::from_millis(800), "the next target is asked at once");
    assert_eq!(answer.header("x-gateway-attempts"), Some("1"), "nothing was sent to the first: {answer:?}");
    let (_, _, answer) = provider("limited/sim").await;
    shed(Client::OpenAi, &answer).unwrap();
    assert_eq!(world.gateway.metric("gateway_shed_requests_total", "reason=\"provider\"").await, 1.0);
    let health = get(world.gateway.addr, "/v1/providers/limited/health").await.json();
    assert_eq!((&health["is_healthy"], &health["error_count"]), (&true.into(), &0.into()), "{health}");

    drop(stream);
    until(async || in_flight().await == 0.0).await;
    for _ in 0..2 {
        let answer = world.ask(Client::OpenAi, "limited/fault:status=500", "hello", false).await;
        assert_eq!(answer.status, 500, "{answer:?}");
    }
    assert_eq!(in_flight().await, 0.0, "failures leave no place taken");
}

#[tokio::test]
async fn what_does_not_fit_into_memory_is_shed_and_nothing_stays_charged() {
    let world = World::new("server: {memory_limit_mib: 16}\n").await;
    let addr = world.gateway.addr;
    for client in Client::ALL {
        // Announced: refused before any of it is sent.
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {addr}\r\n{JSON}content-length: 10000000\r\nexpect: 100-continue\r\n\r\n",
            client.path()
        );
        let mut connection = Connection::open(addr).await;
        connection.send(head.as_bytes()).await;
        shed(client, &connection.answer().await).unwrap();
        // Not announced.
        let mut connection = Connection::open(addr).await;
        let head =
            format!("POST {} HTTP/1.1\r\nhost: {addr}\r\n{JSON}transfer-encoding: chunked\r\n\r\n", client.path());
        connection.send(head.as_bytes()).await;
        let piece = [format!("{:x}\r\n", 64 * 1024).as_bytes(), &vec![b'x'; 64 * 1024], b"\r\n"].concat();
        for _ in 0..160 {
            connection.send(&piece).await;
        }
        shed(client, &connection.answer().await).unwrap();
    }
    let fits = Client::OpenAi.request("openai/sim", &"x".repeat(3 << 20), false).to_string();
    assert_eq!(post(addr, Client::OpenAi.path(), "", fits.as_bytes()).await.status, 200);
    until(async || world.gateway.metric("gateway_held_memory_bytes", "").await == 0.0).await;
    assert_eq!(world.gateway.metric("gateway_shed_requests_total", "memory").await, 6.0);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_no_fault_of_its_provider() {
    let upstream = Upstream::saying("HTTP/1.1 200 OK\r\ncontent-type: application/json", &vec![b' '; 12 << 20]).await;
    let gateway = Gateway::start(&format!(
        "server: {{memory_limit_mib: 16}}\nproviders: {{big: {{dialect: openai_chat, base_url: 'http://{}/v1'}}}}\n",
        upstream.addr
    ))
    .await;
    let body = Client::OpenAi.request("big/m", "hello", false).to_string();
    let answer = post(gateway.addr, Client::OpenAi.path(), "", body.as_bytes()).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(upstream.requests().len(), 1, "and is not asked for again");
    let health = get(gateway.addr, "/v1/providers/big/health").await.json();
    assert_eq!(health["error_count"], 0, "{health}");
    assert_eq!(gateway.metric("gateway_held_memory_bytes", "").await, 0.0);
}

#[tokio::test]
async fn beyond_the_connections_that_may_be_open_health_answers_and_requests_are_shed() {
    let world = World::new("server: {max_connections: 4}\n").await;
    let addr = world.gateway.addr;
    let mut stream = begin_stream(&world, "openai").await;
    let idle = [Connection::open(addr).await, Connection::open(addr).await, Connection::open(addr).await];
    until(async || world.gateway.metric("gateway_connections", "").await >= 5.0).await;
    let health = get(addr, "/health").await;
    assert_eq!((health.status, health.header("connection")), (200, Some("close")), "{health:?}");
    for client in Client::ALL {
        shed(client, &world.ask(client, "openai/sim", "hello", false).await).unwrap();
    }
    let crowd: Vec<Connection> = {
        let mut crowd = Vec::new();
        for _ in 0..16 {
            crowd.push(Connection::open(addr).await);
        }
        crowd
    };
    let pauses = || (!world.gateway.events("cannot accept connections").is_empty()).then_some(());
    eventually("a pause", PATIENCE, pauses).await;
    drop((idle, crowd));
    let answer = world.ask(Client::OpenAi, "openai/sim", "Reply with exactly: room", false).await;
    assert_eq!(Client::OpenAi.said(&answer, false).text, "room", "{answer:?}");
    assert!(world.gateway.metric("gateway_accept_pauses_total", "").await >= 1.0);
    stream.send(b"").await;
}

#[tokio::test]
async fn without_files_to_open_what_is_open_goes_on_and_the_rest_comes_back() {
    let world = World::new("").await;
    let yaml = crate::harness::providers(&world.simulator) + "server: {max_connections: 1000}\n";
    let world = World { gateway: Gateway::start_with_files(&yaml, 80).await, ..world };
    let addr = world.gateway.addr;
    let body = Client::OpenAi.request("openai/sim", "Reply with exactly: still here", false).to_string();
    let mut open = Connection::open(addr).await;
    let ask = request(addr, "POST", Client::OpenAi.path(), JSON, body.as_bytes());
    open.send(&ask).await;
    assert_eq!(open.answer().await.status, 200);
    let mut crowd = Vec::new();
    for _ in 0..120 {
        crowd.push(Connection::open(addr).await);
    }
    let pauses = || (!world.gateway.events("cannot accept connections").is_empty()).then_some(());
    eventually("a pause", PATIENCE, pauses).await;
    // On the kept connection to its provider.
    open.send(&ask).await;
    assert_eq!(Client::OpenAi.said(&open.answer().await, false).text, "still here");
    // And where there is none, the refusal says what it is, and the provider is not blamed.
    let body = Client::Anthropic.request("anthropic/sim", "hello", false).to_string();
    open.send(&request(addr, "POST", Client::Anthropic.path(), JSON, body.as_bytes())).await;
    shed(Client::Anthropic, &open.answer().await).unwrap();
    drop(crowd);
    let freed = Instant::now();
    assert_eq!(world.ask(Client::OpenAi, "openai/sim", "hello", false).await.status, 200);
    assert!(freed.elapsed() < Duration::from_secs(1), "{:?}", freed.elapsed());
    let health = get(addr, "/v1/providers/anthropic/health").await.json();
    assert_eq!(health["error_count"], 0, "{health}");
}
