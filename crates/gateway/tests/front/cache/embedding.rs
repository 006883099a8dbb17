//! The embedding model of a provider in the place of the built-in one: what it is asked, what is found by it, and what happens when
//! it fails.

use std::time::{Duration, Instant};

use super::cached;
use crate::harness::{Answer, Client, World, eventually, get};

const ASKED: &str = "What is the capital of Portugal?";
const REWORDED: &str = "What's Portugal's capital?";
const DIFFERENT: &str = "What is the capital of Norway?";

async fn world(model: &str, more: &str) -> World {
    World::new(&format!("cache: {{embedding_model: '{model}'{more}}}\n")).await
}

impl World {
    async fn asks(&self, prompt: &str) -> Answer {
        let answer = self.ask(Client::OpenAi, "anthropic/sim", prompt, false).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// How often texts were embedded.
    fn embedded(&self) -> usize {
        self.simulator.ledger().iter().filter(|entry| entry.path == "/v1/embeddings").count()
    }

    async fn embeddings(&self, result: &str) -> f64 {
        self.gateway.metric("gateway_cache_embeddings_total", &format!("result=\"{result}\"")).await
    }
}

#[tokio::test]
async fn what_it_finds_is_judged_by_the_rules_and_it_is_not_asked_for_what_was_asked_before() {
    let world = world("openai/text-embedding-3-small", "").await;
    let first = world.asks(ASKED).await;
    assert_eq!((cached(&first), world.embedded()), ("miss", 1));
    assert_eq!((cached(&world.asks(ASKED).await), world.embedded()), ("hit", 1));
    assert_eq!((cached(&world.asks("what is the capital of portugal").await), world.embedded()), ("hit", 1));
    let again = world.asks(REWORDED).await;
    assert_eq!((cached(&again), again.header("x-gateway-cache-type")), ("hit", Some("semantic")), "{again:?}");
    assert_eq!(world.embedded(), 2);
    let other = world.asks(DIFFERENT).await;
    assert_eq!(cached(&other), "miss");
    assert_eq!(world.embeddings("ok").await, 3.0);
    assert!(world.gateway.metric("gateway_cache_embedding_tokens_total", "").await > 10.0);
    assert!(world.gateway.metric("gateway_cache_embedding_usd_total", "").await > 0.0);
    for answer in [first, again, other] {
        let told = get(world.gateway.addr, &format!("/v1/requests/{}", answer.request_id())).await.json();
        let embedding = &told["cache"]["embedding"];
        assert_eq!(embedding["result"], "ok", "{told}");
        assert!(embedding["tokens"].as_u64() > Some(3) && embedding["usd"].as_f64() > Some(0.0), "{told}");
        let line = world.gateway.told(answer.request_id()).await;
        assert_eq!(line["cache_embedding"], "ok", "{line}");
        assert!(line["cache_embedding_usd"].as_f64() > Some(0.0), "{line}");
    }
    let streamed = world.ask(Client::Anthropic, "anthropic/sim", "Where is the Tejo?", true).await;
    let told = get(world.gateway.addr, &format!("/v1/requests/{}", streamed.request_id())).await.json();
    assert_eq!(told["cache"]["embedding"]["result"], "ok", "{told}");
}

#[tokio::test]
async fn cosine_mode_compares_its_vectors_of_any_size() {
    for model in ["text-embedding-3-small", "text-embedding-3-large"] {
        let world = world(&format!("openai/{model}"), ", mode: cosine, threshold: 0.7").await;
        assert_eq!(cached(&world.asks("Where does the river Tejo end, please?").await), "miss");
        let near = world.asks("Please, where does the river Tejo end?").await;
        assert_eq!(cached(&near), "hit", "{model}");
        let similarity: f64 = near.header("x-gateway-cache-similarity").unwrap().parse().unwrap();
        assert!((0.9..=1.0).contains(&similarity), "the same words: {similarity}");
        assert_eq!(cached(&world.asks("Who painted that ship?").await), "miss", "{model}");
        assert_eq!(world.embedded(), 3);
    }
}

#[tokio::test]
async fn whatever_goes_wrong_with_it_is_a_miss_and_it_is_left_alone_for_a_while() {
    for (fault, result) in [("status=500", "failed"), ("empty", "failed"), ("refuse", "failed"), ("stall", "timeout")] {
        let world = world(&format!("openai/fault:{fault}"), "").await;
        let began = Instant::now();
        assert_eq!(cached(&world.asks(ASKED).await), "miss", "{fault}");
        assert!(began.elapsed() < Duration::from_secs(5), "{fault}: {:?}", began.elapsed());
        assert_eq!(cached(&world.asks(REWORDED).await), "miss", "{fault}: nothing is found in other words");
        assert_eq!(cached(&world.asks(ASKED).await), "hit", "{fault}: the same is");
        assert_eq!(cached(&world.asks("what is the capital of portugal").await), "hit", "{fault}");
        assert_eq!((world.embedded(), world.embeddings(result).await), (1, 1.0), "{fault}");
        assert_eq!(world.embeddings("resting").await, 1.0, "{fault}");
        let name = "the embedding model of the cache cannot be asked: nothing is found in other words until it can";
        let told = || (!world.gateway.events(name).is_empty()).then_some(());
        eventually("a warning", Duration::from_secs(5), told).await;
        assert_eq!(world.gateway.events(name).len(), 1, "{fault}: told once");
    }
}
