//! What is no whole, natural answer is not kept.

use std::time::Duration;

use serde_json::json;

use super::{ON, cached};
use crate::harness::client::request;
use crate::harness::{Client, Connection, Path, STORY, World, all, ensure, eventually, paths};

/// Faults after which there is no good answer, or none that ended by itself.
const FAULTS: [&str; 9] = [
    "truncate=3",
    "abort=3",
    "reset_after=3",
    "error_in_200",
    "error_after=2",
    "garbage=2",
    "no_finish",
    "status=500",
    "empty",
];

async fn is_not_kept(world: &World, path: Path, index: usize, fault: &str) -> Result<(), String> {
    let prompt = format!("{STORY} of {fault} for {path:?}.");
    let model = format!("{}-{index}/fault:{fault}", path.provider.name());
    let first = world.ask(path.client, &model, &prompt, path.streamed).await;
    let asked = world.asked(&prompt).len();
    ensure!(asked >= 1, "{path:?}: {first:?}");
    let second = world.ask(path.client, &model, &prompt, path.streamed).await;
    let from_cache = second.header("x-gateway-cache").is_some_and(|what| what == "hit");
    ensure!(!from_cache, "{path:?} {fault}: {first:?} {second:?}");
    Ok(())
}

#[tokio::test]
async fn no_failure_is_kept() {
    let cases: Vec<(Path, &str)> = paths().flat_map(|path| FAULTS.map(|fault| (path, fault))).collect();
    let world = World::of_many(cases.len(), ON).await;
    let cases = cases.into_iter().enumerate();
    all(cases.map(|(index, (path, fault))| is_not_kept(&world, path, index, fault))).await;
    // Providers that leave out the finish reason, or tell an error in the middle of a whole answer, gave something; none is kept.
    assert_eq!(world.gateway.metric("gateway_cache_requests_total", "result=\"hit\"").await, 0.0);
    assert_eq!(world.gateway.metric("gateway_cache_entries", "").await, 0.0);
}

#[tokio::test]
async fn an_answer_that_was_cut_off_by_its_limit_is_not_kept() {
    let world = World::new(ON).await;
    for path in paths() {
        let prompt = format!("{STORY} in few words for {path:?}.");
        let mut body = path.client.request(&format!("{}/sim", path.provider.name()), &prompt, path.streamed);
        body["max_tokens"] = 5.into();
        for _ in 0..2 {
            let answer = world.send(path.client, &body, "").await;
            assert_eq!((answer.status, cached(&answer)), (200, "miss"), "{path:?}: {answer:?}");
        }
        assert_eq!(world.asked(&prompt).len(), 2, "{path:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_not_kept_nor_an_answer_without_a_word() {
    use crate::harness::gateway::Gateway;
    use crate::harness::upstream::Upstream;
    let message = |message: serde_json::Value, finish: &str| {
        json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": {"prompt_tokens": 1,
               "completion_tokens": 1, "total_tokens": 2},
               "choices": [{"index": 0, "message": message, "finish_reason": finish}]})
    };
    let content = |text: &str, finish: &str| message(json!({"role": "assistant", "content": text}), finish);
    for (answer, kept) in [
        (content("Yes.", "stop"), true),
        (content("", "stop"), false),
        (content("Ye", "length"), false),
        (content("Ye", "content_filter"), false),
        (message(json!({"role": "assistant", "content": null, "refusal": "No."}), "stop"), false),
    ] {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
        let upstream = Upstream::saying(head, answer.to_string().as_bytes()).await;
        let file = format!("providers: {{openai: {{api_key: k, base_url: 'http://{}/v1'}}}}\n{ON}", upstream.addr);
        let gateway = Gateway::start(&file).await;
        for client in Client::ALL {
            let body = client.request("openai/m", "Well?", false).to_string();
            let mut last = String::new();
            for _ in 0..2 {
                let said = crate::harness::post(gateway.addr, client.path(), "", body.as_bytes()).await;
                last = cached(&said).to_owned();
            }
            assert_eq!(last == "hit", kept, "{client:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_leaves_nothing_behind() {
    let world = World::new(ON).await;
    let world = &world;
    all(paths().enumerate().map(async |(index, path)| {
        let prompt = format!("{STORY} for nobody but {path:?}.");
        let fault = format!("fault:slow_first=150,drip=5,times=1,seed={index}");
        let body = path.client.request(&format!("{}/{fault}", path.provider.name()), &prompt, path.streamed);
        let mut connection = Connection::open(world.gateway.addr).await;
        let head = format!("content-type: application/json\r\nx-gateway-user: leaver-{index}\r\n");
        let bytes = request(world.gateway.addr, "POST", path.client.path(), &head, body.to_string().as_bytes());
        connection.send(&bytes).await;
        if path.streamed {
            connection.wait_for("data:").await;
        } else {
            let arrived = || (!world.asked(&prompt).is_empty()).then_some(());
            eventually("a request upstream", Duration::from_secs(5), arrived).await;
        }
        drop(connection);
        let left = world.gateway.told_of(|line| line["user"] == format!("leaver-{index}")).await;
        ensure!(left["outcome"] == "client_gone", "{path:?}: {left}");
        let again = world.send(path.client, &body, "").await;
        ensure!(again.status == 200 && cached(&again) == "miss", "{path:?}: {again:?}");
        Ok(())
    }))
    .await;
}

#[tokio::test]
async fn the_answer_of_a_fallback_is_kept_for_the_question_as_it_was_asked() {
    let file = format!("{ON}aliases: {{safe: {{targets: ['openai/fault:status=500', anthropic/sim]}}}}\n");
    let world = World::new(&file).await;
    let first = world.ask(Client::OpenAi, "safe", "Reply with exactly: plan B", false).await;
    let second = world.ask(Client::OpenAi, "safe", "Reply with exactly: plan B", false).await;
    assert_eq!((cached(&first), cached(&second)), ("miss", "hit"), "{second:?}");
    assert_eq!(second.header("x-gateway-provider"), Some("anthropic"));
    let other = world.ask(Client::OpenAi, "anthropic/sim", "Reply with exactly: plan B", false).await;
    assert_eq!(cached(&other), "miss");
}
