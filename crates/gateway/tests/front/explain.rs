//! Why did the gateway do that? Every answer is asked for as its owner would ask, right after the answer has ended.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use simulator::Config;
use tokio::net::TcpSocket;

use crate::harness::gateway::Gateway;
use crate::harness::{ANTHROPIC_KEY, Client, Connection, OPENAI_KEY, World, all, client, ensure, get, providers};

/// One request, and what must be among the sentences that explain it.
struct Case {
    /// Of the alias that is asked; the second target answers.
    first: &'static str,
    headers: &'static str,
    streamed: bool,
    says: &'static [&'static str],
    outcome: &'static str,
}

const fn whole(first: &'static str, outcome: &'static str, says: &'static [&'static str]) -> Case {
    Case { first, headers: "", streamed: false, says, outcome }
}

const fn stream(first: &'static str, outcome: &'static str, says: &'static [&'static str]) -> Case {
    Case { streamed: true, ..whole(first, outcome, says) }
}

const CASES: &[Case] = &[
    whole(
        "openai/sim",
        "ok",
        &[
            "Strategy fallback put 2 targets in this order: 1. openai/sim: in configured order; 2. anthropic/sim: in",
            "openai/sim answered after ",
            "anthropic/sim was not needed: openai/sim answered.",
            "The answer was complete (finish reason stop); ",
        ],
    ),
    whole(
        "openai/fault:status=500",
        "ok",
        &[
            "openai/fault:status=500 failed after ",
            ": it had a fault of its own (status 500: ",
            "; the next target was asked.",
            "anthropic/sim answered after ",
            "Added, because the API of anthropic/sim demands it: max_tokens.",
        ],
    ),
    whole(
        "openai/fault:status=429",
        "ok",
        &["the gateway had reached its rate limit there", "the next target was asked"],
    ),
    whole("openai/fault:spend_cap,status=402", "ok", &["the gateway's account there has no money left"]),
    whole("openai/fault:status=401", "ok", &["it refused the gateway's own credential", "the next target was asked"]),
    whole("openai/fault:status=503", "ok", &["it was overloaded (status 503"]),
    whole(
        "openai/fault:reset",
        "ok",
        &["the connection broke after the request had been sent", "it may charge for that all the same"],
    ),
    whole("openai/fault:html", "ok", &["it gave no usable answer (an answer of "]),
    stream("openai/fault:stall", "ok", &["it did not answer in time (", "the next target was asked"]),
    whole(
        "openai/fault:status=400",
        "client_error",
        &[
            "it refused the request itself (status 400: ",
            "; no further attempt was made: the request itself was at fault",
            "anthropic/sim was not tried: the request itself was at fault, and another target would not take it either.",
            "The client was told what is wrong with its request (status 400).",
        ],
    ),
    stream(
        "openai/fault:truncate=3",
        "truncated",
        &[
            "openai/fault:truncate=3 gave its first content after ",
            "anthropic/sim was not tried: the first content of openai/fault:truncate=3 had already reached the client when \
             it broke off.",
            "The answer broke off after its first content",
        ],
    ),
    stream(
        "openai/fault:error_after=3,error_type=overloaded_error",
        "truncated",
        &[
            "anthropic/sim was not tried: the first content of openai/fault:error_after=3,error_type=overloaded_error had",
        ],
    ),
    Case {
        headers: "x-gateway-timeout-ms: 300\r\n",
        ..whole(
            "openai/fault:stall",
            "upstream_error",
            &[
                "no further attempt was made: the time of the request was up",
                "anthropic/sim was not tried: the time of the request was up.",
                "No target gave an answer; the client got an error (status 504).",
            ],
        )
    },
    Case {
        headers: "x-gateway-exclude: anthropic\r\n",
        ..whole(
            "openai/fault:status=500",
            "upstream_error",
            &[
                "There was one target: openai/fault:status=500.",
                "anthropic/sim was not tried: excluded by the request.",
                "; the same target was asked again after ",
                "no further attempt was made: there was no other target, and the same one was not to be asked again",
            ],
        )
    },
    Case {
        headers: "x-gateway-exclude: anthropic\r\n",
        ..whole(
            "openai/fault:retry_after_ms=200",
            "upstream_error",
            &["the same target was asked again after 200 ms, as it had asked for"],
        )
    },
    Case {
        headers: "x-gateway-provider: anthropic\r\n",
        ..whole(
            "openai/sim",
            "ok",
            &[
                "1. anthropic/sim: pinned by the request, in configured order;",
                "openai/sim was not needed: anthropic/sim",
            ],
        )
    },
    Case {
        headers: "x-gateway-exclude: anthropic, openai\r\n",
        ..whole(
            "openai/sim",
            "client_error",
            &[
                "The request was refused with status 400 before any provider was asked: no target is left for this request: \
                 openai/sim: excluded by the request; anthropic/sim: excluded by the request.",
            ],
        )
    },
];

const TIMEOUTS: &str = "timeouts: {first_content_seconds: 1, first_content_reasoning_seconds: 1}\n";

async fn explained(gateway: &Gateway, request_id: &str) -> Result<Value, String> {
    let answer = get(gateway.addr, &format!("/v1/requests/{request_id}")).await;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.json())
}

fn summary(explanation: &Value) -> String {
    let sentences = explanation["summary"].as_array().unwrap().iter();
    sentences.map(|sentence| sentence.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_ending_is_explained_in_words() {
    all(CASES.iter().enumerate().map(|(index, case)| explains(index, case))).await;
}

/// With a gateway of its own: what one case does to a provider's circuits is no business of the next.
async fn explains(index: usize, case: &Case) -> Result<(), String> {
    let aliases = format!("aliases:\n  a{index}: {{targets: ['{}', 'anthropic/sim']}}\n", case.first);
    let world = World::new(&format!("{TIMEOUTS}{aliases}")).await;
    let prompt = format!("Reply with exactly: canary{index} one two three four five six seven");
    let answer = world.ask_with(Client::OpenAi, &format!("a{index}"), &prompt, case.streamed, case.headers).await;
    let explanation = explained(&world.gateway, answer.request_id()).await?;
    let said = summary(&explanation);
    for words in case.says {
        ensure!(said.contains(words), "a{index}: {words:?} is missing:\n{said}");
    }
    ensure!(said.contains(&format!("The request asked a{index} for")), "{said}");
    ensure!(explanation["outcome"] == case.outcome, "a{index}: {explanation}");
    ensure!(explanation["request_id"] == answer.request_id(), "{explanation}");
    let text = explanation.to_string();
    for secret in [&format!("canary{index}"), OPENAI_KEY, ANTHROPIC_KEY] {
        ensure!(!text.contains(secret), "a{index}: tells {secret}: {text}");
    }
    // The data agrees with the log.
    let line = world.gateway.told(answer.request_id()).await;
    for field in ["outcome", "status", "provider", "model", "usage", "cost_usd", "duration_ms", "overhead_ms"] {
        ensure!(explanation[field] == line[field], "a{index}: {field}: {explanation}\n{line}");
    }
    let steps = explanation["steps"].as_array().unwrap();
    let attempts: Vec<&Value> = steps.iter().filter(|step| step["step"] == "attempt").collect();
    ensure!(attempts.len() as u64 == line["attempts"].as_u64().unwrap(), "a{index}: {explanation}\n{line}");
    let mut before = 0.0;
    for attempt in attempts {
        let (started, took) = (attempt["started_ms"].as_f64().unwrap(), attempt["took_ms"].as_f64().unwrap());
        let end = explanation["duration_ms"].as_f64().unwrap() + 0.01;
        ensure!(before <= started && started + took <= end, "a{index}: {explanation}");
        ensure!(attempt["failure"].is_null() == attempt["decision"].is_null(), "a{index}: {explanation}");
        before = started + took - 0.01;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_provider_said_of_the_gateways_own_key_is_not_told() {
    let world = World::new("aliases:\n  a: {targets: ['openai/fault:status=401']}\n").await;
    let answer = world.ask(Client::OpenAi, "a", "Hi", false).await;
    let explanation = explained(&world.gateway, answer.request_id()).await.unwrap();
    let line = world.gateway.told(answer.request_id()).await;
    let words = line["tried"][0]["error"].as_str().unwrap();
    assert!(!words.is_empty() && !explanation.to_string().contains(words), "{explanation}");
    assert_eq!(explanation["steps"][0]["failure"], "credential");
}

#[tokio::test]
async fn spent_attempts_are_the_reason_that_the_next_target_was_not_tried() {
    let aliases = "aliases:\n  a: {targets: ['openai/fault:status=500', 'anthropic/fault:status=529', 'openai/sim']}\n";
    for (most, says) in
        [(1, "the one attempt that a request has was spent"), (2, "all 2 attempts that a request has were")]
    {
        let simulator = simulator::Simulator::start(Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let providers = providers(&simulator).replace("retry: {", &format!("retry: {{max_attempts: {most}, "));
        let gateway = Gateway::start(&format!("{providers}{aliases}")).await;
        let body = Client::OpenAi.request("a", "Hi", false).to_string();
        let answer = crate::harness::post(gateway.addr, Client::OpenAi.path(), "", body.as_bytes()).await;
        let said = summary(&explained(&gateway, answer.request_id()).await.unwrap());
        assert!(said.contains(&format!("not tried: {says}")), "{said}");
        assert!(said.contains("openai/sim"), "{said}");
    }
}

#[tokio::test]
async fn a_client_that_left_is_the_reason_that_nothing_more_was_tried() {
    let config = Config { chunk_delay: Duration::from_millis(20), ..Config::default() };
    let aliases = "aliases:\n  before: {targets: ['openai/fault:stall', 'anthropic/sim']}\n  after: {targets: ['openai/sim', \
                   'anthropic/sim']}\n";
    let world = World::with(aliases, config).await;
    for (alias, says) in [
        (
            "before",
            [
                "openai/fault:stall had been asked for ",
                "when the client went away.\nanthropic/sim was not tried: the client had gone.",
            ],
        ),
        (
            "after",
            [
                "gave its first content after ",
                "anthropic/sim was not tried: openai/sim was answering when the client went away.",
            ],
        ),
    ] {
        let addr = world.gateway.addr;
        let body = Client::OpenAi.request(alias, crate::harness::STORY, true).to_string();
        let mut connection = Connection::open(addr).await;
        let headers = "content-type: application/json\r\n";
        connection.send(&client::request(addr, "POST", Client::OpenAi.path(), headers, body.as_bytes())).await;
        if alias == "after" {
            connection.wait_for("data: ").await;
        } else {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        drop(connection);
        let line = world.gateway.told_of(|line| line["model_asked"] == alias).await;
        let explanation = explained(&world.gateway, line["request_id"].as_str().unwrap()).await.unwrap();
        let said = summary(&explanation);
        for words in says {
            assert!(said.contains(words), "{words}:\n{said}");
        }
        assert_eq!(explanation["outcome"], "client_gone");
    }
}

#[tokio::test]
async fn what_a_failed_attempt_would_have_lost_is_not_lost() {
    let world = World::new("aliases:\n  a: {targets: ['anthropic/fault:status=500', 'openai/sim']}\n").await;
    let mut body = Client::OpenAi.request("a", "Hi", false);
    body["seed"] = 3.into();
    let answer = crate::harness::post(world.gateway.addr, Client::OpenAi.path(), "", body.to_string().as_bytes()).await;
    assert_eq!(answer.header("x-gateway-provider"), Some("openai"), "{answer:?}");
    assert_eq!(answer.header("x-gateway-dropped"), None, "it passed as it came");
    assert_eq!(answer.header("x-gateway-added"), None, "it passed as it came");
    let explanation = explained(&world.gateway, answer.request_id()).await.unwrap();
    assert!(explanation["dropped"].as_array().unwrap().is_empty(), "{explanation}");
}

#[tokio::test]
async fn refusals_are_explained_too() {
    let world = World::new("").await;
    for (model, body, says) in [
        ("nobody/nothing", None, "before any provider was asked: there is no model"),
        ("", Some("{\"model\": "), "before any provider was asked: "),
    ] {
        let body = body.map_or_else(|| Client::OpenAi.request(model, "Hi", false).to_string(), str::to_owned);
        let answer = crate::harness::post(world.gateway.addr, Client::OpenAi.path(), "", body.as_bytes()).await;
        let said = summary(&explained(&world.gateway, answer.request_id()).await.unwrap());
        assert!(said.contains(says), "{said}");
    }
}

/// Asks from another address of this machine.
pub(crate) async fn get_from(from: &str, addr: SocketAddr, path: &str) -> crate::harness::Answer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut connection = Connection::over(socket.connect(addr).await.unwrap());
    connection.send(&client::request(addr, "GET", path, "", b"")).await;
    connection.answer_to("GET").await
}

#[tokio::test]
async fn nobody_learns_of_the_requests_of_others() {
    let world = World::new("").await;
    let answer = world.ask(Client::OpenAi, "openai/sim", "Hi", false).await;
    let path = format!("/v1/requests/{}", answer.request_id());
    assert_eq!(get_from("127.0.0.1", world.gateway.addr, &path).await.status, 200);
    let foreign = get_from("127.0.0.2", world.gateway.addr, &path).await;
    let missing = "req_00000000000000000000000000000000";
    let unknown = get_from("127.0.0.2", world.gateway.addr, &format!("/v1/requests/{missing}")).await;
    assert_eq!((foreign.status, unknown.status), (404, 404));
    let told = |answer: &crate::harness::Answer, id: &str| answer.json()["message"].as_str().unwrap().replace(id, "ID");
    assert_eq!(told(&foreign, answer.request_id()), told(&unknown, missing));
}

#[tokio::test]
async fn a_header_explains_when_it_is_asked_to() {
    let world =
        World::new(&format!("{TIMEOUTS}aliases:\n  a: {{targets: ['openai/fault:status=500', 'anthropic/sim']}}\n"))
            .await;
    for streamed in [false, true] {
        let explain = "x-gateway-explain: true\r\n";
        let answer = world.ask_with(Client::OpenAi, "a", "Hi", streamed, explain).await;
        let header = answer.header("x-gateway-explanation").unwrap();
        assert!(header.contains("status 500") && header.contains("the next target was asked"), "{header}");
        assert_eq!(header.contains("The answer was complete"), !streamed, "{header}");
        let without = world.ask(Client::OpenAi, "a", "Hi", streamed).await;
        assert_eq!(without.header("x-gateway-explanation"), None);
    }
    let failed =
        world.ask_with(Client::OpenAi, "openai/fault:status=400", "Hi", false, "x-gateway-explain: true\r\n").await;
    assert!(failed.header("x-gateway-explanation").unwrap().contains("the request itself was at fault"), "{failed:?}");
    let refused = world.ask_with(Client::OpenAi, "openai/sim", "Hi", false, "x-gateway-explain: perhaps\r\n").await;
    assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some("x-gateway-explain")));
}

/// What is known of a running request, once it is.
async fn while_it_runs(addr: SocketAddr, id: &str) -> Value {
    let began = std::time::Instant::now();
    loop {
        let answer = get(addr, &format!("/v1/requests/{id}")).await;
        if answer.status == 200 && !answer.json()["running"].is_null() {
            return answer.json();
        }
        assert!(began.elapsed() < Duration::from_secs(5), "never shown: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_request_that_takes_long_or_has_failed_once_is_explained_while_it_runs() {
    // The second provider is asked, and says nothing.
    const ADMIN_KEY: &str = "c41f8e7d29b0a6538e1d";
    let world = World::new(&format!(
        "aliases: {{both: {{strategy: fallback, targets: ['openai/fault:status=500', 'anthropic/fault:stall']}}}}\nserver: \
         {{admin_key: {ADMIN_KEY}}}\n"
    ))
    .await;
    let addr = world.gateway.addr;
    let ask = async |model: &str, streamed: bool, name: &str| {
        let body = Client::OpenAi.request(model, "Please tell me a long story", streamed).to_string();
        let mut connection = Connection::open(addr).await;
        let headers = format!("content-type: application/json\r\nx-client-request-id: {name}\r\n");
        connection.send(&client::request(addr, "POST", Client::OpenAi.path(), &headers, body.as_bytes())).await;
        connection
    };
    // Whoever streams knows the id of the request as soon as there is content.
    let mut streaming = ask("openai/fault:stall_after=12", true, "stream-1").await;
    streaming.wait_for("data: ").await;
    let head = streaming.so_far();
    let id = head.split_once("x-request-id: ").unwrap().1.split_once("\r\n").unwrap().0.to_owned();
    let told = while_it_runs(addr, &id).await;
    assert_eq!(
        (&told["running"]["waits_for"], &told["running"]["target"]),
        (&"rest_of_the_stream".into(), &Value::Null)
    );
    assert_eq!((&told["outcome"], &told["status"], &told["ended"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(told["steps"][0]["target"], "openai/fault:stall_after=12", "{told}");
    assert!(told["duration_ms"].as_f64().unwrap() >= 1000.0, "{told}");
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = Connection::over(other.connect(addr).await.unwrap());
    let path = format!("/v1/requests/{id}");
    other.send(&client::request(addr, "GET", &path, "", b"")).await;
    assert_eq!(other.answer_to("GET").await.status, 404, "another caller");
    other.send(&client::request(addr, "GET", &path, &format!("authorization: Bearer {ADMIN_KEY}\r\n"), b"")).await;
    assert_eq!(other.answer_to("GET").await.status, 200, "the operator");
    // Without an answer there is no id yet, but the client's own.
    let _waiting = ask("both", false, "mine").await;
    let began = std::time::Instant::now();
    let told = while_it_runs(addr, "mine").await;
    assert!(began.elapsed() < Duration::from_millis(900), "at the first failure, not later: {:?}", began.elapsed());
    assert_eq!(told["running"]["waits_for"], "answer", "{told}");
    assert_eq!(told["running"]["target"], "anthropic/fault:stall", "{told}");
    assert_eq!((&told["steps"][0]["status"], &told["steps"][1]), (&500.into(), &Value::Null), "{told}");
    drop(streaming);
    world.gateway.told(&id).await;
    let told = get(addr, &format!("/v1/requests/{id}")).await.json();
    assert_eq!((&told["running"], &told["outcome"]), (&Value::Null, &"client_gone".into()), "{told}");
}
