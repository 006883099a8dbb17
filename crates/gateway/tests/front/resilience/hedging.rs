//! A second target for requests whose first one is slow.

use std::time::{Duration, Instant};

use simulator::{Ending, LedgerEntry};

use crate::harness::{Client, World, eventually};

const ALIASES: &str = "timeouts: {first_content_seconds: 1}\nretry: {max_attempts: 3, base_delay_seconds: 0.001, \
    max_delay_seconds: 0.001}\naliases:\n  \
    slow: {hedge: true, targets: ['openai/fault:slow_first=700', anthropic/sim]}\n  \
    error: {hedge: true, targets: ['openai/fault:slow_first=300', 'anthropic/fault:error_in_200=overloaded_error']}\n  \
    refusal: {hedge: true, targets: ['openai/fault:slow_first=300', 'anthropic/fault:status=500']}\n  \
    neither: {hedge: true, targets: ['openai/fault:stall', 'anthropic/fault:status=503']}\n  \
    stalls: {hedge: true, targets: ['openai/fault:stall', anthropic/sim]}\n  \
    plain: {targets: ['openai/fault:slow_first=300', anthropic/sim]}\n";

/// A world whose provider `openai` has answered so many requests.
async fn warm(count: usize, more: &str) -> World {
    let world = crate::harness::World::with("", simulator::Config::default()).await;
    let file = crate::harness::providers(&world.simulator);
    let providers = file.split("retry:").next().unwrap();
    let gateway = crate::harness::Gateway::start(&format!("{providers}{more}")).await;
    let world = World { gateway, simulator: world.simulator };
    for _ in 0..count {
        assert_eq!(world.ask(Client::OpenAi, "openai/sim", "warm", false).await.status, 200);
    }
    world
}

fn entries(world: &World, mark: &str) -> (LedgerEntry, LedgerEntry) {
    let asked = world.asked(mark);
    assert_eq!(asked.len(), 2, "{asked:?}");
    (asked[0].clone(), asked[1].clone())
}

#[tokio::test]
async fn the_second_answers_where_the_first_is_slow_and_the_first_is_left() {
    for streamed in [false, true] {
        let world = warm(45, ALIASES).await;
        let began = Instant::now();
        let answer = world.ask(Client::OpenAi, "slow", "mark", streamed).await;
        let took = began.elapsed();
        assert!(answer.status == 200 && Client::OpenAi.said(&answer, streamed).done, "{answer:?}");
        assert_eq!(answer.header("x-gateway-provider"), Some("anthropic"), "{answer:?}");
        assert_eq!(answer.header("x-gateway-attempts"), Some("2"), "{answer:?}");
        assert!(took < Duration::from_millis(600), "{took:?}");
        let ended = || world.asked("mark").iter().all(|entry| entry.ended.is_some()).then_some(());
        eventually("the end of both", Duration::from_secs(2), ended).await;
        let (first, second) = entries(&world, "mark");
        assert!(matches!(first.ending, Ending::PeerClosed { .. }), "{first:?}");
        let late = first.ended.unwrap().saturating_sub(second.answered.unwrap());
        assert!(late <= Duration::from_millis(100), "the first was left {late:?} after the second had answered");
        let metric = async |labels: &str| world.gateway.metric("gateway_hedged_attempts_total", labels).await;
        assert_eq!(metric("provider=\"anthropic\",result=\"asked\"").await, 1.0);
        assert_eq!(metric("provider=\"openai\",result=\"lost\"").await, 1.0);
        let line = world.gateway.told(answer.request_id()).await;
        assert!(line["provider"] == "anthropic" && line["attempts"] == 2 && line["outcome"] == "ok", "{line}");
    }
}

#[tokio::test]
async fn an_error_of_the_second_never_wins_however_fast_it_is() {
    for alias in ["error", "refusal"] {
        for streamed in [false, true] {
            let world = warm(45, ALIASES).await;
            let answer = world.ask(Client::OpenAi, alias, "mark", streamed).await;
            assert!(answer.status == 200 && Client::OpenAi.said(&answer, streamed).done, "{alias}: {answer:?}");
            assert_eq!(answer.header("x-gateway-provider"), Some("openai"), "{alias}: {answer:?}");
            assert_eq!(answer.header("x-gateway-attempts"), Some("2"), "{alias}: {answer:?}");
            let line = world.gateway.told(answer.request_id()).await;
            let tried = line["tried"].as_array().unwrap();
            assert_eq!(tried.len(), 2, "{line}");
            assert!(tried[0]["target"].as_str().unwrap().starts_with("anthropic/"), "{line}");
            assert!(tried[0]["failure"].is_string() && tried[1]["failure"].is_null(), "{line}");
            assert!(tried[1]["ms"].as_f64().unwrap() >= 300.0, "{line}");
        }
    }
}

#[tokio::test]
async fn if_both_fail_the_client_is_told_so_and_the_attempts_stay_within_their_budget() {
    let world = warm(45, ALIASES).await;
    let answer = world.ask(Client::OpenAi, "neither", "mark", true).await;
    assert!(answer.status >= 500, "{answer:?}");
    assert!(Client::OpenAi.error(&answer.json()).is_some(), "{answer:?}");
    assert_eq!(answer.header("x-should-retry"), Some("false"), "{answer:?}");
    assert!((2..=3).contains(&world.asked("mark").len()), "{:?}", world.asked("mark"));
    let line = world.gateway.told(answer.request_id()).await;
    let tried = line["tried"].as_array().unwrap();
    assert_eq!(tried.len(), world.asked("mark").len(), "{line}");
    assert!(tried.iter().all(|attempt| attempt["failure"].is_string()), "{line}");
    let stalled = tried.iter().find(|attempt| attempt["failure"] == "timeout").unwrap();
    assert!(stalled["ms"].as_f64().unwrap() >= 900.0 && stalled["maybe_billed"] == true, "{line}");
}

#[tokio::test]
async fn there_is_no_second_without_enough_answers_to_know_what_is_slow_nor_without_the_wish() {
    for (count, alias) in [(38, "slow"), (45, "plain")] {
        let world = warm(count, ALIASES).await;
        let answer = world.ask(Client::OpenAi, alias, "mark", false).await;
        assert_eq!(answer.header("x-gateway-provider"), Some("openai"), "{answer:?}");
        assert_eq!((answer.status, answer.header("x-gateway-attempts")), (200, Some("1")), "{answer:?}");
        assert_eq!(world.asked("mark").len(), 1);
    }
}

#[tokio::test]
async fn beyond_the_budget_there_is_no_second_and_the_next_target_is_still_there_for_a_failure() {
    let poor = ALIASES.replace("max_attempts: 3", "max_attempts: 3, hedge_cost_percent: 0");
    let world = warm(45, &poor).await;
    let answer = world.ask(Client::OpenAi, "slow", "mark", false).await;
    assert_eq!(answer.header("x-gateway-provider"), Some("openai"), "{answer:?}");
    assert_eq!((answer.status, answer.header("x-gateway-attempts")), (200, Some("1")), "{answer:?}");
    let answer = world.ask(Client::OpenAi, "stalls", "failure", true).await;
    assert_eq!(answer.header("x-gateway-provider"), Some("anthropic"), "{answer:?}");
    assert_eq!((answer.status, answer.header("x-gateway-attempts")), (200, Some("2")), "{answer:?}");
}
