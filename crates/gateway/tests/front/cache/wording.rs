//! The same question in other words, and different ones that look alike. How often either is taken for the other is measured in
//! `e2e/cache`; here it is how a request goes, whatever was decided.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ON, cached};
use crate::harness::{Answer, Client, World, all, ensure, get};

const ASKED: &str = "What is the capital of France?";
const REWORDED: &str = "please tell me: what's the capital of France";
const DIFFERENT: &str = "What is the capital of Spain?";

async fn told(world: &World, answer: &Answer) -> Value {
    get(world.gateway.addr, &format!("/v1/requests/{}", answer.request_id())).await.json()
}

async fn is_known_in_other_words(client: Client, streamed: bool) -> Result<(), String> {
    let world = World::new(ON).await;
    let first = world.ask(client, "openai/gpt-4o-mini", ASKED, streamed).await;
    ensure!(cached(&first) == "miss", "{first:?}");
    let other = world.ask(client, "openai/gpt-4o-mini", DIFFERENT, streamed).await;
    ensure!(cached(&other) == "miss" && client.said(&other, streamed).text.contains("Madrid"), "{other:?}");
    let why = told(&world, &other).await;
    let nearest = &why["cache"]["nearest"];
    ensure!(nearest["entry"].is_string() && nearest["rule"].is_string(), "{why}");
    let again = world.ask(client, "openai/gpt-4o-mini", REWORDED, !streamed).await;
    let said = client.said(&again, !streamed).text;
    ensure!(cached(&again) == "hit" && said.contains("Paris"), "{again:?} {}", told(&world, &again).await);
    let kind = again.header("x-gateway-cache-type").unwrap();
    ensure!(["canonical", "semantic"].contains(&kind), "{again:?}");
    let similarity: f64 = again.header("x-gateway-cache-similarity").unwrap().parse().unwrap();
    ensure!((0.95..=1.0).contains(&similarity), "{again:?}");
    // In another conversation it is another question.
    let mut body = client.request("openai/gpt-4o-mini", REWORDED, streamed);
    body["temperature"] = json!(0.25);
    ensure!(cached(&world.send(client, &body, "").await) == "miss", "another temperature");
    let refusals = world.gateway.metric("gateway_cache_refusals_total", "").await;
    ensure!(refusals as u64 >= 1, "{refusals}");
    let line = world.gateway.told(other.request_id()).await;
    ensure!(line["cache_refused_by"] == nearest["rule"], "{line}");
    Ok(())
}

#[tokio::test]
async fn the_same_question_is_known_in_other_words_and_another_one_is_not_taken_for_it() {
    let cases = Client::ALL.into_iter().flat_map(|client| [false, true].map(|streamed| (client, streamed)));
    all(cases.map(|(client, streamed)| is_known_in_other_words(client, streamed))).await;
}

#[tokio::test]
async fn a_wrong_hit_that_was_reported_is_not_served_again_in_any_words() {
    let world = World::new(ON).await;
    let ask = async |prompt: &str| world.ask(Client::OpenAi, "openai/sim", prompt, false).await;
    ask(ASKED).await;
    let hit = ask(REWORDED).await;
    assert_eq!(cached(&hit), "hit");
    let report = json!({"request_id": hit.request_id()}).to_string();
    let said = crate::harness::post(world.gateway.addr, "/v1/cache/feedback", "", report.as_bytes()).await;
    assert_eq!(said.status, 200, "{said:?}");
    assert_eq!(cached(&ask(ASKED).await), "miss", "the answer is gone");
    let again = ask(REWORDED).await;
    assert_eq!(cached(&again), "miss", "and these two are kept apart: {again:?}");
    assert_eq!(told(&world, &again).await["cache"]["nearest"]["rule"], "reported");
}

#[tokio::test]
async fn shadow_mode_serves_only_the_same_and_tells_what_the_others_would_have() {
    let world = World::new("cache: {mode: shadow, threshold: 0.7}\n").await;
    let ask = async |prompt: &str| world.ask(Client::OpenAi, "openai/sim", prompt, false).await;
    ask(ASKED).await;
    assert_eq!(cached(&ask(ASKED).await), "hit");
    let reworded = ask(REWORDED).await;
    assert_eq!(cached(&reworded), "miss");
    let shadow = told(&world, &reworded).await["cache"]["shadow"].clone();
    assert!(shadow["strict"].is_string(), "{shadow}");
    let began = std::time::Instant::now();
    while world.gateway.metric("gateway_cache_agreements_total", "by=\"strict\",agreed=\"yes\"").await < 1.0 {
        assert!(began.elapsed() < Duration::from_secs(5), "the answers were not compared");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn cosine_mode_compares_embeddings_alone_as_others_do() {
    let world = World::new("cache: {mode: cosine, threshold: 0.5}\n").await;
    world.ask(Client::OpenAi, "openai/sim", ASKED, false).await;
    let other = world.ask(Client::OpenAi, "openai/sim", DIFFERENT, false).await;
    assert_eq!(cached(&other), "hit", "with such a threshold: {other:?}");
    assert_eq!(other.header("x-gateway-cache-type"), Some("semantic"));
}

#[tokio::test]
async fn a_call_of_a_tool_is_not_given_to_another_wording() {
    let world = World::new(ON).await;
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let ask = async |prompt: &str| {
        let mut body = Client::OpenAi.request("openai/sim", prompt, false);
        body["tools"] = json!([{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]);
        world.send(Client::OpenAi, &body, "").await
    };
    let first = ask("What is the weather in Paris?").await;
    assert!(first.text().contains("get_weather"), "{first:?}");
    assert_eq!(cached(&ask("what's the weather in Paris").await), "miss");
    assert_eq!(cached(&ask("What is the weather in Paris?").await), "hit");
}
