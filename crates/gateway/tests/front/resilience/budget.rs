//! How often one request may be asked for, and what the account says of attempts that failed.

use super::{Say, Scripted, ask, keyed, scripted};
use crate::harness::{Client, Gateway, World, all, ensure};

#[tokio::test]
async fn the_same_target_is_repeated_only_while_its_tokens_last() {
    let more =
        "retry: {base_delay_seconds: 0.001, max_delay_seconds: 0.001}\ncircuit_breaker: {failure_threshold: 1000}\n";
    let (gateway, provider) = scripted(Say::error(500, "x"), more).await;
    let mut attempts = Vec::new();
    for _ in 0..6 {
        let before = provider.asked();
        assert_eq!(ask(&gateway, "p/m", false).await.status, 500);
        attempts.push(provider.asked() - before);
    }
    assert_eq!(attempts, [2, 2, 1, 1, 1, 1]);
    // Ten good answers give one token back, and it takes more than five to repeat.
    provider.now_says(Say::good());
    for _ in 0..80 {
        assert_eq!(ask(&gateway, "p/m", false).await.status, 200);
    }
    provider.now_says(Say::error(500, "x"));
    let before = provider.asked();
    assert_eq!(ask(&gateway, "p/m", false).await.status, 500);
    assert_eq!(provider.asked() - before, 2);
}

#[tokio::test]
async fn no_request_causes_more_attempts_than_allowed_over_keys_targets_and_lists() {
    for most in 1..=4 {
        let says = |say: Say| async { Scripted::saying(say).await };
        let refuses = says(Say::error(401, "x")).await;
        let short = says(Say::error(400, "context_length_exceeded")).await;
        let broken = says(Say::error(500, "x")).await;
        let file = format!(
            "providers:\n{}{}{}retry: {{max_attempts: {most}, base_delay_seconds: 0.001, max_delay_seconds: 0.001}}\n\
             aliases:\n  keys: {{targets: [refuses/m, broken/m, broken/n, broken/o]}}\n  \
             lists: {{targets: [short/m], on_context_overflow: [broken/m, broken/n, short/n, broken/o]}}\n",
            keyed("refuses", refuses.addr, &["sk-key-a-8", "sk-key-b-8"]),
            short.provider("short"),
            broken.provider("broken"),
        );
        let gateway = Gateway::start(&file).await;
        for alias in ["keys", "lists"] {
            let asked = || refuses.asked() + short.asked() + broken.asked();
            let before = asked();
            let answer = ask(&gateway, alias, false).await;
            assert!(answer.status >= 400, "{answer:?}");
            assert_eq!(asked() - before, most, "{alias}: {answer:?}");
            assert_eq!(answer.header("x-gateway-attempts"), Some(most.to_string().as_str()), "{answer:?}");
            assert_eq!(answer.header("x-should-retry"), Some("false"), "{answer:?}");
        }
    }
}

/// A fault, whether a stream is asked for, and whether the provider may charge for it although it gave no answer.
const BILLS: [(&str, bool, bool); 9] = [
    ("refuse", false, true),
    ("refuse", true, true),
    ("reset", false, true),
    ("reset", true, true),
    ("stall", true, true),
    ("truncate=40", false, true),
    ("status=500", false, false),
    ("status=529", true, false),
    ("status=429", false, false),
];

#[tokio::test]
async fn an_attempt_that_may_have_been_billed_says_so() {
    let mut more = "timeouts: {first_content_seconds: 0.3}\naliases:\n".to_owned();
    for (n, (fault, _, _)) in BILLS.iter().enumerate() {
        more += &format!("  b{n}: {{targets: ['openai-{n}/fault:{fault}', anthropic/sim]}}\n");
    }
    let world = World::of_many(BILLS.len(), &more).await;
    all(BILLS.into_iter().enumerate().map(|(n, (fault, streamed, billed))| bill(&world, n, fault, streamed, billed)))
        .await;
}

async fn bill(world: &World, n: usize, fault: &str, streamed: bool, billed: bool) -> Result<(), String> {
    let answer = world.ask(Client::OpenAi, &format!("b{n}"), "hi", streamed).await;
    ensure!(answer.status == 200, "{fault}: {answer:?}");
    let line = world.gateway.told(answer.request_id()).await;
    let told = &line["tried"][0]["maybe_billed"];
    ensure!(if billed { *told == true } else { told.is_null() }, "{fault} {streamed}: {line}");
    ensure!(line["tried"][1]["maybe_billed"].is_null(), "{fault}: {line}");
    Ok(())
}

#[tokio::test]
async fn what_never_reached_a_provider_is_not_billed() {
    let good = Scripted::saying(Say::good()).await;
    let file = format!(
        "providers:\n  gone: {{dialect: openai_chat, base_url: 'http://127.0.0.1:9/v1', api_key: sk-gone-0}}\n{}aliases: \
         {{pair: {{targets: [gone/m, p/m]}}}}\n",
        good.provider("p")
    );
    let gateway = Gateway::start(&file).await;
    let answer = ask(&gateway, "pair", false).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let line = gateway.told(answer.request_id()).await;
    assert!(line["tried"][0]["failure"] == "transport" && line["tried"][0]["maybe_billed"].is_null(), "{line}");
}

#[tokio::test]
async fn the_model_of_a_provider_with_a_name_of_its_own_has_its_label_in_the_metrics() {
    let world = World::of_many(1, "").await;
    assert_eq!(world.ask(Client::OpenAi, "openai-0/gpt-5.4-mini", "hi", false).await.status, 200);
    let labels = "provider=\"openai-0\",model=\"gpt-5.4-mini\"";
    assert_eq!(world.gateway.metric("gateway_requests_total", labels).await, 1.0);
}
