//! Limits of providers, as their answers tell them: who would be refused goes elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Say, Scripted, ask, health, scripted};
use crate::harness::{Answer, Client, Gateway, get, post};

/// Two providers, the first of which is asked first.
async fn pair(more: &str) -> (Gateway, Scripted, Scripted) {
    let (first, second) = (Scripted::saying(Say::good()).await, Scripted::saying(Say::good()).await);
    let providers = [first.provider("p"), second.provider("q")].concat();
    let file = format!("providers:\n{providers}aliases: {{both: {{targets: [p/m, q/m]}}}}\n{more}");
    (Gateway::start(&file).await, first, second)
}

/// A good answer that says what is left.
fn left(headers: &str) -> Say {
    let Say { after, answer } = Say::good();
    let answer = String::from_utf8(answer).unwrap().replacen("content-length", &format!("{headers}content-length"), 1);
    Say { after, answer: answer.into_bytes() }
}

fn requests_left(remaining: u32, reset: &str) -> Say {
    left(&format!(
        "x-ratelimit-limit-requests: 10\r\nx-ratelimit-remaining-requests: {remaining}\r\n\
         x-ratelimit-reset-requests: {reset}\r\n"
    ))
}

async fn explained(gateway: &Gateway, answer: &Answer) -> Value {
    get(gateway.addr, &format!("/v1/requests/{}", answer.request_id())).await.json()
}

fn provider(answer: &Answer) -> Option<&str> {
    answer.header("x-gateway-provider")
}

#[tokio::test]
async fn a_target_whose_requests_are_used_up_is_passed_over_and_says_so() {
    let (gateway, first, second) = pair("").await;
    first.now_says(requests_left(0, "600s"));
    assert_eq!(provider(&ask(&gateway, "both", false).await), Some("p"));
    for _ in 0..5 {
        let answer = ask(&gateway, "both", false).await;
        assert_eq!((provider(&answer), answer.header("x-gateway-attempts")), (Some("q"), Some("1")), "{answer:?}");
    }
    assert_eq!((first.asked(), second.asked()), (1, 5));

    let answer = ask(&gateway, "both", false).await;
    let told = explained(&gateway, &answer).await.to_string();
    assert!(told.contains("what is left of the provider's limits does not hold this request (until "), "{told}");
    let quotas = &health(&gateway, "p").await["quotas"];
    assert_eq!(quotas[0]["of"], "requests", "{quotas}");
    assert_eq!((&quotas[0]["remaining"], &quotas[0]["limit"]), (&0.into(), &10.into()), "{quotas}");
    assert_eq!(
        (quotas[0]["model"].as_str(), quotas[0]["credential"].as_str()),
        (Some("m"), Some("default")),
        "{quotas}"
    );
    assert_eq!(gateway.metric("gateway_provider_quota_left", "provider=\"p\",of=\"requests\"").await, 0.0);
    assert_eq!(health(&gateway, "q").await["quotas"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_prompt_that_what_is_left_does_not_hold_goes_elsewhere_and_a_short_one_does_not() {
    let (gateway, first, _second) = pair("").await;
    first.now_says(left(
        "x-ratelimit-limit-tokens: 100000\r\nx-ratelimit-remaining-tokens: 3000\r\nx-ratelimit-reset-tokens: 600s\r\n",
    ));
    assert_eq!(provider(&ask(&gateway, "both", false).await), Some("p"));
    let long = Client::OpenAi.request("both", &"word ".repeat(8_000), false).to_string();
    let answer = post(gateway.addr, Client::OpenAi.path(), "", long.as_bytes()).await;
    assert_eq!(provider(&answer), Some("q"), "{answer:?}");
    assert_eq!(provider(&ask(&gateway, "both", false).await), Some("p"));
}

#[tokio::test]
async fn a_crowd_does_not_send_more_than_what_is_left() {
    let (gateway, first, second) = pair("").await;
    first.now_says(requests_left(7, "180s"));
    assert_eq!(provider(&ask(&gateway, "both", false).await), Some("p"));
    // All of them are on their way before any answer could say what is left then.
    first.now_says(Say { after: Duration::from_millis(300), ..requests_left(0, "600s") });
    let answers = futures_util::future::join_all((0..30).map(|_| ask(&gateway, "both", false))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!((first.asked(), second.asked()), (8, 23));
}

#[tokio::test]
async fn where_there_is_nobody_else_room_that_comes_soon_is_waited_for() {
    let (gateway, provider) = scripted(requests_left(0, "4s"), "").await;
    assert_eq!(ask(&gateway, "p/m", false).await.status, 200);
    provider.now_says(requests_left(9, "1s"));
    let began = Instant::now();
    let answer = ask(&gateway, "p/m", false).await;
    // One of ten is back in four tenths of a second.
    assert_eq!((answer.status, provider.asked()), (200, 2), "{answer:?}");
    assert!((300..1_500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let told = explained(&gateway, &answer).await.to_string();
    assert!(told.contains("p/m was passed over at first: what is left of the provider's limits"), "{told}");
    assert!(told.contains("The request waited "), "{told}");
}

#[tokio::test]
async fn where_there_is_nobody_else_and_no_room_soon_the_provider_is_asked_for_its_own_word() {
    let (gateway, provider) = scripted(requests_left(0, "600s"), "").await;
    assert_eq!(ask(&gateway, "p/m", false).await.status, 200);
    let began = Instant::now();
    assert_eq!(ask(&gateway, "p/m", false).await.status, 200);
    assert!(began.elapsed() < Duration::from_secs(1) && provider.asked() == 2);
    provider.now_says(Say::status(429, "retry-after: 60\r\n", "{}"));
    assert_eq!(ask(&gateway, "p/m", false).await.status, 429);
}

#[tokio::test]
async fn a_key_with_room_stands_in_for_one_without() {
    let used_up = Arc::new(AtomicUsize::new(0));
    let counted = used_up.clone();
    let provider = Scripted::by(move |head| match head.contains("sk-key-a-8") {
        true => {
            counted.fetch_add(1, Ordering::SeqCst);
            requests_left(0, "600s")
        }
        false => requests_left(9, "60ms"),
    })
    .await;
    let keys = super::keyed("p", provider.addr, &["sk-key-a-8", "sk-key-b-8"]);
    let gateway = Gateway::start(&format!("providers:\n{keys}")).await;
    for _ in 0..100 {
        let answer = ask(&gateway, "p/m", false).await;
        assert_eq!((answer.status, answer.header("x-gateway-attempts")), (200, Some("1")), "{answer:?}");
    }
    assert_eq!(used_up.load(Ordering::SeqCst), 1, "of a hundred, half of which would be its share");
}

#[tokio::test]
async fn a_declared_quota_is_never_exceeded_and_others_take_the_rest() {
    let (first, second) = (Scripted::saying(Say::good()).await, Scripted::saying(Say::good()).await);
    let limited = first.provider("p").replace('}', ", quota: {requests_per_minute: 2}}");
    let file = format!("providers:\n{limited}{}aliases: {{both: {{targets: [p/m, q/m]}}}}\n", second.provider("q"));
    let gateway = Gateway::start(&file).await;
    let answers = futures_util::future::join_all((0..6).map(|_| ask(&gateway, "both", false))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!((first.asked(), second.asked()), (2, 4));
    let answer = ask(&gateway, "both", false).await;
    let told = explained(&gateway, &answer).await.to_string();
    assert!(told.contains("what is left of the quota that is configured for it does not hold this request"), "{told}");
    let quotas = &health(&gateway, "p").await["quotas"];
    assert_eq!((&quotas[0]["model"], &quotas[0]["credential"]), (&Value::Null, &Value::Null), "{quotas}");
    assert_eq!((&quotas[0]["remaining"], &quotas[0]["limit"]), (&0.into(), &2.into()), "{quotas}");

    // Nobody else is there: the operator's word is the last one.
    for client in Client::ALL {
        let body = client.request("p/m", "hi", false).to_string();
        let answer = post(gateway.addr, client.path(), "", body.as_bytes()).await;
        assert_eq!((answer.status, answer.header("x-should-retry")), (429, None), "{answer:?}");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((20..=30).contains(&wait), "{answer:?}");
    }
    assert_eq!(first.asked(), 2);
}

#[tokio::test]
async fn a_quota_of_tokens_is_settled_to_what_answers_had() {
    let provider = Scripted::saying(Say::good()).await;
    let limited = provider.provider("p").replace('}', ", quota: {tokens_per_minute: 3000}}");
    let gateway = Gateway::start(&format!("providers:\n{limited}")).await;
    // About a thousand each by estimate, as long as nothing is known; two in truth.
    for _ in 0..8 {
        assert_eq!(ask(&gateway, "p/m", false).await.status, 200);
    }
    let quotas = health(&gateway, "p").await["quotas"].clone();
    let left = quotas[0]["remaining"].as_u64().unwrap();
    assert!(left >= 3000 - 8 * 2, "{quotas}");
}

#[tokio::test]
async fn each_key_has_a_quota_of_its_own_and_a_reload_keeps_what_was_used() {
    let provider = Scripted::saying(Say::good()).await;
    let keys = |more: &str| {
        let key = |name: &str, more: &str| format!("{{name: {name}, api_key: sk-key-{name}-9{more}}}");
        let keys = [key("a", ", quota: {requests_per_minute: 1}"), key("b", ", quota: {requests_per_minute: 2}")];
        format!(
            "providers:\n  p: {{vendor: openai, base_url: 'http://{}/v1', credentials: [{}]}}\n{more}",
            provider.addr,
            keys.join(", ")
        )
    };
    let gateway = Gateway::start(&keys("")).await;
    for _ in 0..3 {
        let answer = ask(&gateway, "p/m", false).await;
        assert_eq!((answer.status, answer.header("x-gateway-attempts")), (200, Some("1")), "{answer:?}");
    }
    assert_eq!(ask(&gateway, "p/m", false).await.status, 429);
    gateway.reload(&keys("routing: {strategy: cost}\n")).await;
    assert_eq!((ask(&gateway, "p/m", false).await.status, provider.asked()), (429, 3));
}

#[tokio::test]
async fn of_two_gateways_each_has_its_share_of_a_declared_quota() {
    let Some(redis) = faults::redis::Redis::start().await.unwrap() else { return };
    let provider = Scripted::saying(Say::good()).await;
    let file = format!("providers:\n{}", provider.provider("p").replace('}', ", quota: {requests_per_minute: 6}}"));
    let gateways = futures_util::future::join_all((0..2).map(async |_| {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("gateway.yaml"), &file).unwrap();
        Gateway::start_in(folder, &[("REDIS_URL", &redis.url())]).await
    }))
    .await;
    let began = Instant::now();
    for gateway in &gateways {
        while gateway.metric("gateway_ratelimit_nodes", "").await < 2.0 {
            assert!(began.elapsed() < Duration::from_secs(10), "they do not know of each other");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for gateway in &gateways {
        let answers = futures_util::future::join_all((0..5).map(|_| ask(gateway, "p/m", false))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 3);
    }
    assert_eq!(provider.asked(), 6);
}
