//! Before the first content: the next target answers, or the client is told honestly.

use serde_json::Value;

use crate::harness::{Client, Path, Provider, World, all, all_repeated, ensure, paths};

/// A fault, and the class of failure that it is for a whole answer and for a stream; `None`: it is none before the content.
struct Case {
    fault: &'static str,
    whole: Option<&'static str>,
    stream: Option<&'static str>,
}

impl Case {
    fn class(&self, streamed: bool) -> Option<&'static str> {
        if streamed { self.stream } else { self.whole }
    }
}

const fn both(fault: &'static str, class: &'static str) -> Case {
    Case { fault, whole: Some(class), stream: Some(class) }
}

const CASES: &[Case] = &[
    both("refuse", "ambiguous"),
    both("reset", "ambiguous"),
    both("status=500", "provider_fault"),
    both("status=502", "provider_fault"),
    both("status=504", "provider_fault"),
    both("status=408", "provider_fault"),
    both("status=409", "provider_fault"),
    both("status=503", "overload"),
    both("status=503,retry_after=7", "overload"),
    both("status=529", "overload"),
    both("status=429", "quota"),
    both("retry_after=1", "quota"),
    both("retry_after_ms=200", "quota"),
    both("spend_cap,status=402", "spend_cap"),
    both("status=401", "credential"),
    both("status=403", "credential"),
    both("truncate=0", "bad_answer"),
    both("abort=0", "bad_answer"),
    both("reset_after=0", "bad_answer"),
    Case { fault: "garbage=1", whole: Some("bad_answer"), stream: Some("bad_answer") },
    both("empty", "bad_answer"),
    both("html", "bad_answer"),
    both("redirect=http://127.0.0.1:9/elsewhere", "bad_answer"),
    both("error_in_200=api_error", "provider_fault"),
    both("error_in_200=overloaded_error", "overload"),
    Case { fault: "truncate=40", whole: Some("bad_answer"), stream: None },
    Case { fault: "abort=40", whole: Some("bad_answer"), stream: None },
    Case { fault: "wrong_length=64", whole: Some("bad_answer"), stream: None },
    Case { fault: "wrong_length=-9", whole: Some("bad_answer"), stream: None },
    // A whole answer has one deadline for all attempts: a provider that stalls has used it up.
    Case { fault: "stall", whole: None, stream: Some("timeout") },
    Case { fault: "stall_after=1", whole: None, stream: Some("timeout") },
    Case { fault: "truncate=1", whole: None, stream: Some("bad_answer") },
    Case { fault: "error_after=0,error_type=api_error", whole: None, stream: Some("provider_fault") },
];

/// Errors that concern the request itself: no other target would take it either.
const CLIENT_FAULTS: [u16; 4] = [400, 404, 413, 422];

const TIMEOUTS: &str = "timeouts: {first_content_seconds: 1.5, first_content_reasoning_seconds: 1.5}\n";

/// Each with a number, and with the provider of this number to itself.
fn faults() -> impl Iterator<Item = (usize, Path, &'static str, &'static str)> {
    let cases = CASES
        .iter()
        .flat_map(|case| paths().filter_map(move |path| Some((path, case.fault, case.class(path.streamed)?))));
    cases.enumerate().map(|(number, (path, fault, class))| (number, path, fault, class))
}

#[tokio::test]
async fn every_failure_before_the_first_content_is_followed_by_the_next_target() {
    let mut aliases = format!("{TIMEOUTS}aliases:\n");
    for (number, path, fault, _) in faults() {
        let (first, second) = (path.provider.name(), path.provider.other().name());
        aliases += &format!("  f{number}: {{targets: ['{first}-{number}/fault:{fault}', '{second}/sim']}}\n");
    }
    let world = World::of_many(faults().count(), &aliases).await;
    all(faults().map(|case| next_target(&world, case))).await;
}

async fn next_target(world: &World, (number, path, fault, class): (usize, Path, &str, &str)) -> Result<(), String> {
    let case = format!("{path:?} {fault}");
    let mark = format!("f{number} {:?} {:?} {}.", path.client, path.provider, path.streamed);
    let asked = format!("f{number}");
    let answer = world.ask(path.client, &asked, &format!("Reply with exactly: {mark}"), path.streamed).await;
    let said = path.client.said(&answer, path.streamed);
    ensure!(answer.status == 200 && said.text == mark && said.done, "{case}: {answer:?}");
    ensure!(answer.header("x-gateway-attempts") == Some("2"), "{case}: {answer:?}");
    ensure!(answer.header("x-gateway-provider") == Some(path.provider.other().name()), "{case}: {answer:?}");
    let mut upstream: Vec<Option<String>> = world.asked(&mark).into_iter().map(|entry| entry.model).collect();
    if class == "ambiguous" {
        upstream.dedup();
    }
    ensure!(upstream == [Some(format!("fault:{fault}")), Some("sim".to_owned())], "{case}: {upstream:?}");
    let line = world.gateway.told(answer.request_id()).await;
    ensure!(line["attempts"] == 2 && line["outcome"] == "ok", "{case}: {line}");
    ensure!(line["tried"][0]["failure"] == class, "{case}: {line}");
    ensure!(line["tried"][1]["failure"].is_null() && line["tried"][1].is_object(), "{case}: {line}");
    Ok(())
}

#[tokio::test]
async fn without_another_target_the_client_is_told_in_its_own_dialect() {
    let world = World::of_many(faults().count(), TIMEOUTS).await;
    let (repeated, others): (Vec<_>, Vec<_>) =
        faults().partition(|(.., class)| is_repeated(class) || *class == "quota");
    all(others.into_iter().map(|case| told_so(&world, case))).await;
    all_repeated(repeated.into_iter().map(|case| told_so(&world, case))).await;
}

/// Whether the same target is asked a second time after such a failure.
fn is_repeated(class: &str) -> bool {
    ["provider_fault", "overload", "ambiguous", "bad_answer"].contains(&class)
}

async fn told_so(world: &World, (number, path, fault, class): (usize, Path, &str, &str)) -> Result<(), String> {
    let case = format!("{path:?} {fault}");
    let mark = format!("mark{number} {:?} {:?} {}.", path.client, path.provider, path.streamed);
    let model = format!("{}-{number}/fault:{fault}", path.provider.name());
    let answer = world.ask(path.client, &model, &mark, path.streamed).await;
    let repeated = is_repeated(class);
    // A short wait is waited out.
    let waited = fault.split(',').any(|part| ["retry_after=1", "retry_after_ms=200"].contains(&part));
    let attempts = if repeated || (class == "quota" && waited) { 2 } else { 1 };
    ensure!(answer.header("x-gateway-attempts") == Some(attempts.to_string().as_str()), "{case}: {answer:?}");
    ensure!(answer.header("x-should-retry") == Some("false"), "{case}: {answer:?}");
    ensure!(answer.complete, "{case}: {answer:?}");
    let in_200 = fault.starts_with("error_");
    let status = match expected_status(fault, class, path.provider) {
        // What the provider itself said passes as it said it.
        _ if in_200 && path.same_dialect() => 200,
        529 if path.client == Client::Native => 503,
        500 if path.client == Client::Native => 502,
        status => status,
    };
    ensure!(answer.status == status, "{case}: not {status}: {answer:?}");
    if status == 200 && path.streamed {
        ensure!(answer.text().contains("error") && !path.client.said(&answer, true).done, "{case}: {answer:?}");
    } else {
        ensure!(path.client.error(&answer.json()).is_some(), "{case}: {answer:?}");
    }
    for hint in ["retry_after", "retry_after_ms"] {
        let told = fault.split(',').find_map(|part| part.strip_prefix(&format!("{hint}=")));
        if let Some(wait) = told {
            ensure!(answer.header(&hint.replace('_', "-")) == Some(wait), "{case}: {answer:?}");
        }
    }
    let upstream = world.asked(&mark).len();
    // A kept connection that breaks is replaced once, and that is no attempt.
    let most = if class == "ambiguous" { 2 * attempts } else { attempts };
    ensure!((attempts..=most).contains(&upstream), "{case}: {upstream} upstream requests");
    let line = world.gateway.told(answer.request_id()).await;
    ensure!(line["outcome"] == "upstream_error" && line["status"] == status, "{case}: {line}");
    ensure!(line["tried"][0]["failure"] == class, "{case}: {line}");
    Ok(())
}

/// A provider's own error keeps its status; what only the gateway noticed has the gateway's.
fn expected_status(fault: &str, class: &str, provider: Provider) -> u16 {
    let told = fault.split(',').find_map(|part| part.strip_prefix("status="));
    match (class, told) {
        ("credential" | "ambiguous" | "bad_answer", _) => 502,
        // A type that OpenAI does not have tells no status.
        ("provider_fault", None) if provider == Provider::OpenAi => 502,
        ("timeout", _) => 504,
        (_, Some(status)) => status.parse().unwrap(),
        ("quota", None) => 429,
        ("overload", None) if provider == Provider::OpenAi => 503,
        ("overload", None) => 529,
        _ => 500,
    }
}

#[tokio::test]
async fn a_request_at_fault_is_not_repeated_and_its_error_passes() {
    let mut aliases = "aliases:\n".to_owned();
    for status in CLIENT_FAULTS {
        for provider in Provider::ALL {
            let (name, other) = (provider.name(), provider.other().name());
            aliases += &format!("  s{status}-{name}: {{targets: ['{name}/fault:status={status}', '{other}/sim']}}\n");
        }
    }
    let world = World::new(&aliases).await;
    let cases = CLIENT_FAULTS.into_iter().flat_map(|status| paths().map(move |path| (status, path)));
    all(cases.map(|(status, path)| client_fault(&world, status, path))).await;
}

async fn client_fault(world: &World, status: u16, path: Path) -> Result<(), String> {
    let case = format!("{path:?} {status}");
    let mark = format!("fault{status} {:?} {:?} {}.", path.client, path.provider, path.streamed);
    let model = format!("s{status}-{}", path.provider.name());
    let answer = world.ask(path.client, &model, &mark, path.streamed).await;
    ensure!(answer.status == status, "{case}: {answer:?}");
    ensure!(path.client.error(&answer.json()).is_some(), "{case}: {answer:?}");
    ensure!(world.asked(&mark).len() == 1, "{case}: repeated");
    if path.same_dialect() {
        let direct = direct(world, path, &format!("fault:status={status}"), &mark).await;
        let (told, meant) = (without_ids(&answer.json()), without_ids(&direct));
        ensure!(told == meant, "{case}: {told} is not {meant}");
    }
    let line = world.gateway.told(answer.request_id()).await;
    ensure!(line["outcome"] == "client_error" && line["attempts"] == 1, "{case}: {line}");
    Ok(())
}

/// What the provider itself answers.
async fn direct(world: &World, path: Path, model: &str, prompt: &str) -> Value {
    let headers = "authorization: Bearer sk-direct\r\nx-api-key: sk-direct\r\nanthropic-version: 2023-06-01\r\n";
    let body = path.client.request(model, prompt, path.streamed).to_string();
    crate::harness::post(world.simulator.addr(), path.client.path(), headers, body.as_bytes()).await.json()
}

fn without_ids(error: &Value) -> Value {
    let mut error = error.clone();
    error["request_id"] = Value::Null;
    error
}

#[tokio::test]
async fn attempts_have_one_budget_over_all_targets() {
    // The circuits of these targets are to stay closed.
    let patient = "circuit_breaker: {failure_threshold: 1000}\n";
    let targets = ["openai/fault:status=500", "anthropic/fault:status=503", "openai/fault:status=502", "openai/sim"];
    let world = World::new(&format!("{patient}aliases: {{long: {{targets: {targets:?}}}}}\n")).await;
    all(Client::ALL.into_iter().flat_map(|client| [false, true].map(|streamed| three(&world, client, streamed)))).await;
}

async fn three(world: &World, client: Client, streamed: bool) -> Result<(), String> {
    let mark = format!("three {client:?} {streamed}.");
    let answer = world.ask(client, "long", &mark, streamed).await;
    ensure!(answer.status == 502 && client.error(&answer.json()).is_some(), "{client:?}: {answer:?}");
    ensure!(answer.header("x-should-retry") == Some("false"), "{client:?}: {answer:?}");
    ensure!(world.asked(&mark).len() == 3, "{client:?}: {} upstream requests", world.asked(&mark).len());
    Ok(())
}

#[tokio::test]
async fn a_connection_that_breaks_uses_up_attempts_like_any_failure() {
    for fault in ["refuse", "reset"] {
        // No connection is kept from before.
        let world = World::new("").await;
        let answer = world.ask(Client::OpenAi, &format!("openai/fault:{fault}"), "hi", false).await;
        assert_eq!((answer.status, answer.header("x-gateway-attempts")), (502, Some("2")), "{answer:?}");
        assert_eq!(world.simulator.ledger().len(), 2);
    }
}

#[tokio::test]
async fn the_same_target_answers_the_second_time() {
    let world = World::of_many(paths().count(), "").await;
    all_repeated(paths().map(|path| second_time(&world, path))).await;
}

async fn second_time(world: &World, path: Path) -> Result<(), String> {
    // Each fault is told apart by its seed: the simulator counts them.
    let seed = paths().position(|other| other == path).unwrap();
    let model = format!("{}-{seed}/fault:status=500,times=1,seed={seed}", path.provider.name());
    let answer = world.ask(path.client, &model, "Reply with exactly: again", path.streamed).await;
    let said = path.client.said(&answer, path.streamed);
    ensure!(answer.status == 200 && said.text == "again" && said.done, "{path:?}: {answer:?}");
    ensure!(answer.header("x-gateway-attempts") == Some("2"), "{path:?}: {answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_clients_deadline_ends_the_attempts() {
    let world = World::new("aliases: {slow: {targets: ['openai/fault:stall', 'anthropic/sim']}}\n").await;
    all(Client::ALL.into_iter().flat_map(|client| [false, true].map(|streamed| deadline(&world, client, streamed))))
        .await;
}

async fn deadline(world: &World, client: Client, streamed: bool) -> Result<(), String> {
    let mark = format!("deadline {client:?} {streamed}.");
    let began = std::time::Instant::now();
    let answer = world.ask_with(client, "slow", &mark, streamed, "x-gateway-timeout-ms: 300\r\n").await;
    let took = began.elapsed().as_millis();
    ensure!((300..2000).contains(&took), "{client:?} {streamed}: {took} ms");
    ensure!(answer.status == 504 && client.error(&answer.json()).is_some(), "{client:?} {streamed}: {answer:?}");
    ensure!(world.asked(&mark).len() == 1, "{client:?} {streamed}: asked after the deadline");
    Ok(())
}

#[tokio::test]
async fn an_operators_deadline_for_whole_answers_ends_the_attempts() {
    let world = World::new(
        "timeouts: {request_seconds: 0.3}\naliases: {slow: {targets: ['openai/fault:stall', 'anthropic/sim']}}\n",
    )
    .await;
    let answer = world.ask(Client::OpenAi, "slow", "hello", false).await;
    assert_eq!(answer.status, 504, "{answer:?}");
    let line = world.gateway.told(answer.request_id()).await;
    assert_eq!((&line["attempts"], line["outcome"].as_str()), (&1.into(), Some("upstream_error")), "{line}");
}
