//! Answers that are given again: to whom, in which form, and which never.

mod coalescing;
mod control;
mod embedding;
mod poisoning;
mod shared;
mod wording;

use serde_json::{Value, json};

use crate::harness::{Answer, Client, Path, STORY, World, all, ensure, paths, post};

/// The cache as it is without a word about it.
const ON: &str = "cache: {enabled: true}\n";

fn cached(answer: &Answer) -> &str {
    answer.header("x-gateway-cache").unwrap_or_else(|| panic!("no x-gateway-cache: {answer:?}"))
}

impl World {
    async fn send(&self, client: Client, body: &Value, headers: &str) -> Answer {
        post(self.gateway.addr, client.path(), headers, body.to_string().as_bytes()).await
    }
}

fn model(path: Path) -> String {
    format!("{}/gpt-4o-mini", path.provider.name())
}

async fn is_given_again(world: &World, path: Path) -> Result<(), String> {
    let prompt = format!("{STORY} for {path:?}.");
    let model = model(path);
    let first = world.ask(path.client, &model, &prompt, path.streamed).await;
    ensure!(first.status == 200 && cached(&first) == "miss", "{path:?}: {first:?}");
    let second = world.ask(path.client, &model, &prompt, path.streamed).await;
    ensure!(cached(&second) == "hit", "{path:?}: {second:?}");
    ensure!(world.asked(&prompt).len() == 1, "{path:?} asked twice");
    for (name, value) in [
        ("x-gateway-cache-type", Some("exact")),
        ("x-gateway-cache-similarity", Some("1.0")),
        ("age", Some("0")),
        ("x-gateway-provider", first.header("x-gateway-provider")),
        ("x-gateway-model", first.header("x-gateway-model")),
        ("x-gateway-added", first.header("x-gateway-added")),
        ("content-type", first.header("content-type")),
        ("x-gateway-attempts", None),
        ("x-gateway-upstream-request-id", None),
        ("x-gateway-cost-usd", (!path.streamed).then_some("0.000000000")),
    ] {
        ensure!(second.header(name) == value, "{path:?}: {name}: {first:?} {second:?}");
    }
    // Of a stream it is known when its headers have left.
    let told_before = !path.streamed || path.same_dialect();
    let dropped = |answer: &Answer| answer.header("x-gateway-dropped").map(str::to_owned);
    ensure!(!told_before || dropped(&first) == dropped(&second), "{path:?}: {first:?} {second:?}");
    ensure!(first.request_id() != second.request_id(), "{path:?}: {second:?}");
    let verbatim = path.client != Client::Native && (!path.streamed || path.same_dialect());
    // Signs of life are not given again: nobody waits.
    let without_pings = |answer: &Answer| {
        let text = answer.text();
        text.split_inclusive("\n\n").filter(|event| !event.starts_with("event: ping")).collect::<String>()
    };
    ensure!(!verbatim || without_pings(&first) == without_pings(&second), "{path:?}: {first:?} {second:?}");
    let said = path.client.said(&first, path.streamed);
    ensure!(said.done && !said.text.is_empty() && said.error.is_none(), "{path:?}: {said:?}");
    ensure!(path.client.said(&second, path.streamed) == said, "{path:?}: {first:?} {second:?}");
    // In the other form.
    let other = world.ask(path.client, &model, &prompt, !path.streamed).await;
    ensure!(cached(&other) == "hit", "{path:?}: {other:?}");
    ensure!(path.client.said(&other, !path.streamed) == said, "{path:?}: {first:?} {other:?}");
    ensure!(world.asked(&prompt).len() == 1, "{path:?} asked twice");
    if path.client == Client::Native {
        let whole = if path.streamed { other.json() } else { second.json() };
        let key = whole["cache_key"].as_str().unwrap_or_default();
        ensure!(whole["cached"] == true && key.len() == 64, "{path:?}: {whole}");
        ensure!(whole["cost"]["total_cost"] == 0.0 && whole["usage"]["total_tokens"].as_u64() > Some(1), "{whole}");
        let ids = [&second, &other].map(|answer| json!(answer.request_id()));
        ensure!(ids.contains(&whole["request_id"]), "{whole}");
    }
    let told = world.gateway.told(second.request_id()).await;
    let fields = ["cache", "cache_type", "attempts", "cost_usd", "usage"].map(|name| told[name].clone());
    let expected = [json!("hit"), json!("exact"), json!(0), json!(0.0), json!(null)];
    ensure!(fields == expected && told["saved_tokens"].as_u64() > Some(1), "{path:?}: {told}");
    Ok(())
}

#[tokio::test]
async fn an_answer_is_given_again_to_whoever_asks_the_same_whole_or_in_pieces() {
    let world = World::new(ON).await;
    all(paths().map(|path| is_given_again(&world, path))).await;
    let hits = world.gateway.metric("gateway_cache_requests_total", "result=\"hit\"").await;
    let misses = world.gateway.metric("gateway_cache_requests_total", "result=\"miss\"").await;
    assert_eq!((hits, misses), (24.0, 12.0));
    assert!(world.gateway.metric("gateway_cache_saved_tokens_total", "").await > 24.0);
    // Tokens of providers are those that they were asked for.
    let upstream = world.simulator.ledger();
    let output: u64 = upstream.iter().filter_map(|entry| entry.usage.map(|usage| usage.output)).sum();
    assert_eq!(world.gateway.metric("gateway_tokens_total", "kind=\"output\"").await, output as f64);
}

#[tokio::test]
async fn a_stream_is_replayed_event_by_event_and_its_usage_to_those_who_ask_for_it() {
    let world = World::new(ON).await;
    let mut body = Client::OpenAi.request("openai/sim", &format!("{STORY} of usage."), true);
    let plain = world.send(Client::OpenAi, &body, "").await;
    body["stream_options"] = json!({"include_usage": true});
    let with_usage = world.send(Client::OpenAi, &body, "").await;
    assert_eq!((cached(&plain), cached(&with_usage)), ("miss", "hit"));
    let chunks = |answer: &Answer| answer.text().matches("data: ").count();
    assert_eq!(chunks(&with_usage), chunks(&plain) + 1, "{plain:?} {with_usage:?}");
    assert!(with_usage.text().contains("\"prompt_tokens\"") && !plain.text().contains("\"prompt_tokens\""));
    assert_eq!(world.asked("of usage").len(), 1);
}

#[tokio::test]
async fn several_answers_to_one_request_are_not_kept() {
    let world = World::new(ON).await;
    let mut body = Client::OpenAi.request("openai/gpt-4o-mini", "Reply with exactly: several", false);
    body["n"] = 2.into();
    for _ in 0..2 {
        let answer = world.send(Client::OpenAi, &body, "").await;
        assert_eq!(cached(&answer), "bypass", "two answers should differ: {answer:?}");
    }
    assert_eq!(world.asked("several").len(), 2);
}

#[tokio::test]
async fn a_call_of_a_tool_is_given_again_to_exactly_the_same_question() {
    let world = World::new(ON).await;
    let cases = Client::ALL.into_iter().flat_map(|client| [false, true].map(|streamed| (client, streamed)));
    all(cases.map(|(client, streamed)| {
        let world = &world;
        async move {
            let mark = format!("What is the weather in {client:?}-{streamed}?");
            let mut body = client.request("openai/gpt-4o-mini", &mark, streamed);
            let parameters =
                json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
            body["tools"] = match client {
                Client::Anthropic => json!([{"name": "get_weather", "input_schema": parameters}]),
                _ => json!([{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]),
            };
            let first = world.send(client, &body, "").await;
            ensure!(first.text().contains("get_weather"), "{first:?}");
            let second = world.send(client, &body, "").await;
            ensure!(cached(&second) == "hit" && second.text().contains("get_weather"), "{first:?} {second:?}");
            body["stream"] = (!streamed).into();
            let other = world.send(client, &body, "").await;
            ensure!(cached(&other) == "hit" && other.text().contains("get_weather"), "{first:?} {other:?}");
            ensure!(world.asked(&mark).len() == 1, "{client:?} {streamed}");
            Ok(())
        }
    }))
    .await;
}
