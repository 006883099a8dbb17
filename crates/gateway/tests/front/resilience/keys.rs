//! Several keys of one provider.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Say, Scripted, ask, keyed, world};
use crate::harness::{Client, Gateway, World, all, ensure, post};

/// The ledger's word for each key.
async fn hashes(world: &World, keys: &[&str]) -> Vec<String> {
    for key in keys {
        let body = Client::OpenAi.request("sim", &format!("direct {key}"), false).to_string();
        let headers = format!("authorization: Bearer {key}\r\n");
        post(world.simulator.addr(), "/v1/chat/completions", &headers, body.as_bytes()).await;
    }
    keys.iter().map(|key| used(world, &format!("direct {key}"))[0].clone()).collect()
}

/// The keys of the upstream requests whose body has this mark.
fn used(world: &World, mark: &str) -> Vec<String> {
    let key = |entry: simulator::LedgerEntry| entry.headers.into_iter().find(|(name, _)| name == "authorization");
    world.asked(mark).into_iter().filter_map(key).map(|(_, value)| value).collect()
}

#[tokio::test]
async fn keys_share_requests_by_their_weight() {
    let world = world(|addr| {
        format!(
            "providers:\n  p: {{vendor: openai, base_url: 'http://{addr}/v1', credentials: [{{name: a, api_key: \
             sk-key-a-0, weight: 3}}, {{name: b, api_key: sk-key-b-0, weight: 1}}]}}\n"
        )
    })
    .await;
    let keys = hashes(&world, &["sk-key-a-0", "sk-key-b-0"]).await;
    for _ in 0..120 {
        assert_eq!(world.ask(Client::OpenAi, "p/sim", "share", false).await.status, 200);
    }
    let used = used(&world, "share");
    let heavy = used.iter().filter(|key| **key == keys[0]).count();
    assert!(used.iter().all(|key| keys.contains(key)));
    assert!((70..=110).contains(&heavy), "{heavy} of 120, and 90 are its share");
}

/// What takes a key out, whatever the model.
const REFUSALS: [&str; 4] = ["status=401", "status=403", "status=402", "spend_cap"];

#[tokio::test]
async fn a_refused_key_is_left_and_the_next_one_answers_the_same_request() {
    let world = world(|addr| {
        let providers = (0..REFUSALS.len()).map(|n| keyed(&format!("p{n}"), addr, &["sk-key-a-1", "sk-key-b-1"]));
        format!("providers:\n{}", providers.collect::<String>())
    })
    .await;
    all(REFUSALS.into_iter().enumerate().map(|(n, fault)| refused_key(&world, n, fault))).await;
    let told = world.gateway.events("a provider refuses the gateway's credential, which is not used for a while");
    let providers: BTreeSet<&str> = told.iter().map(|event| event["provider"].as_str().unwrap()).collect();
    assert_eq!(providers, ["p0", "p1"].into(), "{told:?}");
}

async fn refused_key(world: &World, n: usize, fault: &str) -> Result<(), String> {
    let (mark, after) = (format!("mark {n}."), format!("after {n}."));
    let answer = world.ask(Client::OpenAi, &format!("p{n}/fault:{fault},times=1,seed={n}"), &mark, false).await;
    ensure!(answer.status == 200, "{fault}: {answer:?}");
    ensure!(answer.header("x-gateway-attempts") == Some("2"), "{fault}: {answer:?}");
    let keys = used(world, &mark);
    ensure!(keys.len() == 2 && keys[0] != keys[1], "{fault}: {keys:?}");
    for _ in 0..20 {
        let answer = world.ask(Client::OpenAi, &format!("p{n}/another"), &after, false).await;
        ensure!(answer.status == 200, "{fault}: {answer:?}");
    }
    ensure!(used(world, &after).iter().all(|key| *key == keys[1]), "{fault}: the refused key was used again");
    Ok(())
}

#[tokio::test]
async fn a_rate_limited_key_rests_for_that_model_alone() {
    let in_a_minute = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&in_a_minute).unwrap();
    let date = format!("retry_after={date}");
    let hints = [
        "retry_after=30",
        "retry_after=2.5",
        "retry_after_ms=4000",
        &date,
        "status=429",
        "retry_after=soon",
        "retry_after=-1",
        "retry_after=1000000000",
    ];
    let world = world(|addr| {
        let providers = (0..hints.len()).map(|n| keyed(&format!("p{n}"), addr, &["sk-key-a-2", "sk-key-b-2"]));
        format!("providers:\n{}", providers.collect::<String>())
    })
    .await;
    all(hints.into_iter().enumerate().map(|(n, hint)| limited_key(&world, n, hint))).await;
}

async fn limited_key(world: &World, n: usize, hint: &str) -> Result<(), String> {
    let (mark, other) = (format!("mark {n}."), format!("other {n}."));
    let limited = format!("p{n}/fault:{hint},times=1,seed={n}");
    for turn in 0..12 {
        let answer = world.ask(Client::OpenAi, &limited, &mark, false).await;
        ensure!(answer.status == 200, "{hint}: {answer:?}");
        let attempts = if turn == 0 { "2" } else { "1" };
        ensure!(answer.header("x-gateway-attempts") == Some(attempts), "{hint} {turn}: {answer:?}");
    }
    let keys = used(world, &mark);
    ensure!(keys[1..].iter().all(|key| *key != keys[0]), "{hint}: the key that rests was used: {keys:?}");
    for _ in 0..24 {
        let answer = world.ask(Client::OpenAi, &format!("p{n}/another"), &other, false).await;
        ensure!(answer.status == 200, "{hint}: {answer:?}");
    }
    let both: BTreeSet<String> = used(world, &other).into_iter().collect();
    ensure!(both.len() == 2, "{hint}: the other model uses both keys");
    Ok(())
}

#[tokio::test]
async fn while_all_keys_rest_clients_get_a_429_with_the_least_wait_and_one_a_second_is_asked() {
    let limited = |wait: u32| {
        Say::status(429, &format!("retry-after: {wait}\r\n"), r#"{"error":{"message":"slow down","type":"requests"}}"#)
    };
    let provider = Scripted::by(move |head| limited(if head.contains("sk-key-a-3") { 40 } else { 20 })).await;
    // One refusal is often enough.
    let once = "circuit_breaker: {failure_threshold: 1}\n";
    let file = format!("providers:\n{}{once}", keyed("p", provider.addr, &["sk-key-a-3", "sk-key-b-3"]));
    let gateway = Gateway::start(&file).await;
    let first = ask(&gateway, "p/m", false).await;
    assert_eq!((first.status, provider.asked()), (429, 2), "{first:?}");
    assert_eq!(first.header("x-should-retry"), Some("false"), "{first:?}");
    let (began, mut refused) = (std::time::Instant::now(), 0);
    for client in Client::ALL.into_iter().cycle().take(30) {
        let body = client.request("p/m", "hi", false).to_string();
        let answer = post(gateway.addr, client.path(), "", body.as_bytes()).await;
        assert_eq!(answer.status, 429, "{answer:?}");
        if answer.header("x-gateway-attempts").is_some() {
            continue;
        }
        refused += 1;
        assert!(client.error(&answer.json()).is_some_and(|(kind, _)| kind.starts_with("rate_limit")), "{answer:?}");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((19..=22).contains(&wait), "{wait}: {answer:?}");
        assert_eq!(answer.header("x-should-retry"), None, "{answer:?}");
    }
    let allowed = 1 + began.elapsed().as_secs() as usize;
    assert!(provider.asked() <= 2 + allowed, "{} requests reached it", provider.asked());
    assert!(refused >= 30 - allowed);
}

#[tokio::test]
async fn a_short_wait_that_a_provider_asks_for_is_waited_out_and_no_longer_than_the_client_waits() {
    let provider = Scripted::by({
        let mut asked = 0;
        move |_| {
            asked += 1;
            if asked % 2 == 1 { Say::status(429, "retry-after-ms: 200\r\n", "{}") } else { Say::good() }
        }
    })
    .await;
    let gateway = Gateway::start(&format!("providers:\n{}", provider.provider("p"))).await;
    let began = std::time::Instant::now();
    let answer = ask(&gateway, "p/m", false).await;
    assert_eq!((answer.status, answer.header("x-gateway-attempts")), (200, Some("2")), "{answer:?}");
    assert!((200..600).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    // What the cooldown adds is over as well.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let body = Client::OpenAi.request("p/m", "hi", false).to_string();
    let began = std::time::Instant::now();
    let path = Client::OpenAi.path();
    let answer = post(gateway.addr, path, "x-gateway-timeout-ms: 100\r\n", body.as_bytes()).await;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(began.elapsed().as_millis() < 150, "waited for nothing: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_key_that_was_out_of_money_is_used_again_as_soon_as_it_is_accepted() {
    let world = world(|addr| format!("providers:\n{}", keyed("p", addr, &["sk-key-a-4"]))).await;
    let answer = world.ask(Client::OpenAi, "p/fault:status=402,times=1", "spent", false).await;
    assert_eq!((answer.status, answer.header("x-gateway-attempts")), (402, Some("1")), "{answer:?}");
    // Nobody else can be asked: once a second the key is tried all the same.
    for _ in 0..10 {
        let answer = world.ask(Client::OpenAi, "p/sim", "topped up", false).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}
