//! Who has what from the cache, what clients may wish, and the routes of the cache.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ON, cached};
use crate::harness::client::ask;
use crate::harness::{Answer, Client, World, eventually, get, post};

pub(super) fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

/// A line of `keys` for the key of this name.
pub(super) fn key(name: &str, more: &str) -> String {
    let hash = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("  - {{name: {name}, hash: 'sha256:{hash}'{more}}}\n")
}

#[tokio::test]
async fn what_is_too_old_goes_although_nothing_is_stored_after_it() {
    let world = World::new("cache: {enabled: true, ttl_seconds: 1}").await;
    world.ask_with(Client::OpenAi, "openai/sim", "Reply with exactly: fleeting", false, "").await;
    let size = async || get(world.gateway.addr, "/v1/cache/stats").await.json()["size"].as_u64();
    assert_eq!(size().await, Some(1));
    let began = std::time::Instant::now();
    while size().await != Some(0) {
        assert!(began.elapsed() < Duration::from_secs(10), "it is still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn clients_say_whether_they_want_an_answer_from_the_cache_or_put_there() {
    let world = World::new(ON).await;
    let asked = async |mark: &str, headers: &str| {
        let answer =
            world.ask_with(Client::OpenAi, "openai/sim", &format!("Reply with exactly: {mark}"), false, headers).await;
        (answer.status, cached(&answer).to_owned(), world.asked(mark).len())
    };
    let said = |status: u16, cache: &str, upstream: usize| (status, cache.to_owned(), upstream);
    for skip in ["x-gateway-cache: skip\r\n", "cache-control: no-store\r\n"] {
        let mark = format!("skip-{}", skip.len());
        assert_eq!(asked(&mark, skip).await, said(200, "bypass", 1));
        assert_eq!(asked(&mark, "").await, said(200, "miss", 2), "nothing was kept");
        assert_eq!(asked(&mark, skip).await, said(200, "bypass", 3), "nothing is read");
        assert_eq!(asked(&mark, "").await, said(200, "hit", 3));
    }
    for refresh in ["x-gateway-cache: refresh\r\n", "cache-control: no-cache\r\n"] {
        let mark = format!("refresh-{}", refresh.len());
        assert_eq!(asked(&mark, refresh).await, said(200, "refresh", 1));
        assert_eq!(asked(&mark, "").await, said(200, "hit", 1), "it was kept");
        assert_eq!(asked(&mark, refresh).await, said(200, "refresh", 2), "nothing is read");
    }
    for only in ["x-gateway-cache: only-if-cached\r\n", "cache-control: only-if-cached\r\n"] {
        let mark = format!("only-{}", only.len());
        assert_eq!(asked(&mark, only).await, said(504, "miss", 0));
        let told = world.gateway.told_of(|line| line["status"] == 504).await;
        assert_eq!((&told["outcome"], &told["level"]), (&json!("client_error"), &json!("info")), "{told}");
        asked(&mark, "").await;
        assert_eq!(asked(&mark, only).await, said(200, "hit", 1));
    }
    let wrong = world.ask_with(Client::OpenAi, "openai/sim", "x", false, "x-gateway-cache: maybe\r\n").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("skip, refresh or only-if-cached"), "{wrong:?}");
    let mut body = Client::Native.request("openai/sim", "Reply with exactly: native", false);
    for (skip, cache) in [(true, "bypass"), (false, "miss"), (true, "bypass"), (false, "hit")] {
        body["skip_cache"] = skip.into();
        assert_eq!(cached(&world.send(Client::Native, &body, "").await), cache);
    }
}

#[tokio::test]
async fn without_a_cache_nothing_is_said_of_one() {
    let world = World::new("cache: {enabled: false}\n").await;
    for _ in 0..2 {
        let answer = world.ask(Client::Native, "openai/sim", "Reply with exactly: off", false).await;
        assert_eq!((answer.header("x-gateway-cache"), &answer.json()["cached"]), (None, &json!(false)));
    }
    assert_eq!(world.asked("off").len(), 2);
    let stats = get(world.gateway.addr, "/v1/cache/stats").await.json();
    assert_eq!((&stats["enabled"], &stats["size"]), (&json!(false), &json!(0)));
    assert_eq!(get(world.gateway.addr, "/health").await.json()["cache_enabled"], false);
}

/// What each of these keys hears, one after the other, when all ask the same.
async fn heard(scope: &str, keys: &[(&str, &str)]) -> Vec<String> {
    let keys_of_file: String = keys.iter().map(|(name, more)| key(name, more)).collect();
    let file = format!("cache: {{scope: {scope}}}\nteams: {{search: {{}}}}\nkeys:\n{keys_of_file}");
    let world = World::new(&file).await;
    let mut heard = Vec::new();
    for (name, _) in keys {
        let answer =
            world.ask_with(Client::OpenAi, "openai/sim", "Reply with exactly: shared", false, &bearer(name)).await;
        heard.push(answer.header("x-gateway-cache").map_or(answer.status.to_string(), str::to_owned));
    }
    heard
}

#[tokio::test]
async fn answers_are_shared_as_far_as_the_configuration_says_and_no_scope_is_evaded() {
    let keys = [
        ("first-key-of-search", ", team: search"),
        ("second-key-of-search", ", team: search"),
        ("key-of-nobody", ""),
        ("key-that-opted-out", ", team: search, cache: false"),
        ("key-of-another-model", ", team: search, models: [anthropic/sim]"),
        ("first-key-of-search", ""),
    ];
    let keys = |last: usize| keys[..last].to_vec();
    let mut five = keys(5);
    five.push(("third-key-of-search", ", team: search"));
    assert_eq!(heard("key", &five).await, ["miss", "miss", "miss", "bypass", "403", "miss"]);
    assert_eq!(heard("team", &five).await, ["miss", "hit", "miss", "bypass", "403", "hit"]);
    assert_eq!(heard("all", &five).await, ["miss", "hit", "hit", "bypass", "403", "hit"]);
}

#[tokio::test]
async fn whoever_may_not_use_a_provider_does_not_get_its_answers_under_an_alias() {
    let keys = key("key-of-everything", "") + &key("key-of-openai", ", providers: [openai]");
    let file =
        format!("cache: {{scope: all}}\naliases: {{fast: {{targets: [anthropic/sim, openai/sim]}}}}\nkeys:\n{keys}");
    let world = World::new(&file).await;
    let asked = async |key: &str| {
        let answer = world.ask_with(Client::OpenAi, "fast", "Reply with exactly: alias", false, &bearer(key)).await;
        (cached(&answer).to_owned(), answer.header("x-gateway-provider").unwrap().to_owned())
    };
    let said = |cache: &str, provider: &str| (cache.to_owned(), provider.to_owned());
    assert_eq!(asked("key-of-everything").await, said("miss", "anthropic"));
    assert_eq!(asked("key-of-openai").await, said("miss", "openai"));
    assert_eq!(asked("key-of-openai").await, said("hit", "openai"));
}

/// A token comes back each second, and a hundred minutes' worth of them is there at the start.
const SLOW_TOKENS: &str = "limits: {requests_per_minute: 100, tokens_per_minute: 60, burst_percent: 10000}\n";

#[tokio::test]
async fn a_hit_is_a_request_and_costs_no_tokens() {
    let world = World::new(&format!("{ON}{SLOW_TOKENS}")).await;
    let left = |answer: &Answer| -> [u64; 2] {
        ["x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens"]
            .map(|name| answer.header(name).unwrap_or_else(|| panic!("no {name}: {answer:?}")).parse().unwrap())
    };
    let prompt = "Reply with exactly: cheap";
    let first = world.ask(Client::OpenAi, "openai/sim", prompt, false).await;
    let hits = [
        world.ask(Client::OpenAi, "openai/sim", prompt, false).await,
        world.ask(Client::OpenAi, "openai/sim", prompt, true).await,
    ];
    let [requests, _] = left(&first);
    let [[one, before], [other, after]] = hits.each_ref().map(left);
    assert!(one < requests && other < one, "{first:?} {hits:?}");
    // What has come back meanwhile is more, not less.
    assert!(after >= before, "{hits:?}");
    assert_eq!(world.gateway.metric("gateway_ratelimit_reservations", "").await, 0.0);
}

#[tokio::test]
async fn an_answer_that_a_limit_held_back_is_no_hit_and_saves_nothing() {
    let world = World::new(&format!("{ON}limits: {{requests_per_minute: 2, tokens_per_minute: 100000}}\n")).await;
    let mut body = Client::Native.request("openai/gpt-4o-mini", "Reply with exactly: limited", false);
    body["user_id"] = json!("somebody");
    let mut refused = Vec::new();
    for _ in 0..4 {
        let answer = world.send(Client::Native, &body, "").await;
        if answer.status == 429 {
            refused.push(answer);
        }
    }
    assert!(!refused.is_empty());
    for answer in &refused {
        let told = world.gateway.told(answer.request_id()).await;
        assert_eq!((&told["cache"], &told["saved_tokens"]), (&Value::Null, &Value::Null), "{told}");
    }
    let hits = world.gateway.metric("gateway_cache_requests_total", "result=\"hit\"").await;
    assert_eq!(hits, (3 - refused.len()) as f64);
}

#[tokio::test]
async fn statistics_say_what_the_cache_did() {
    let world = World::new(ON).await;
    for _ in 0..3 {
        world.ask(Client::OpenAi, "openai/gpt-4o-mini", "Reply with exactly: counted", false).await;
    }
    world.ask_with(Client::OpenAi, "openai/sim", "x", false, "x-gateway-cache: skip\r\n").await;
    let stats = get(world.gateway.addr, "/v1/cache/stats").await.json();
    for (name, value) in [
        ("enabled", json!(true)),
        ("size", json!(1)),
        ("hits", json!(2)),
        ("hits_by_type", json!({"exact": 2, "canonical": 0, "semantic": 0})),
        ("misses", json!(1)),
        ("bypassed", json!(1)),
        ("coalesced", json!(0)),
        ("reported_wrong", json!(0)),
    ] {
        assert_eq!(stats[name], value, "{name}: {stats}");
    }
    assert!(stats["hit_rate"].as_f64().is_some_and(|rate| (0.66..0.67).contains(&rate)), "{stats}");
    assert!(stats["tokens_saved"].as_u64() > Some(2) && stats["usd_saved"].as_f64() > Some(0.0), "{stats}");
    assert!(stats["bytes"].as_u64() > Some(100), "{stats}");
    assert_eq!(get(world.gateway.addr, "/health").await.json()["cache_enabled"], true);
}

const ADMIN: &str = "an-operator-s-key-7719";

#[tokio::test]
async fn callers_clear_their_own_part_and_the_operator_all() {
    let keys = key("first-key-to-clear", "") + &key("second-key-to-clear", "");
    let file = format!("{ON}server: {{admin_key: {ADMIN}}}\nkeys:\n{keys}");
    let world = World::new(&file).await;
    let fill = async || {
        for key in ["first-key-to-clear", "second-key-to-clear"] {
            for (model, word) in [("openai/sim", "one"), ("openai/sim", "two"), ("anthropic/other", "three")] {
                let prompt = format!("Reply with exactly: {word}");
                world.ask_with(Client::OpenAi, model, &prompt, false, &bearer(key)).await;
            }
        }
    };
    let clear = async |key: &str, query: &str| {
        let path = format!("/v1/cache{query}");
        let answer = ask(world.gateway.addr, "DELETE", &path, &bearer(key), b"").await;
        (answer.status, answer.json())
    };
    let removed = async |key: &str, query: &str| {
        let (status, said) = clear(key, query).await;
        assert_eq!((status, &said["enabled"]), (200, &json!(true)), "{said}");
        said["removed"].as_u64().unwrap()
    };
    fill().await;
    let first = "first-key-to-clear";
    assert_eq!(removed(first, "?dry_run=true").await, 3);
    assert_eq!(removed(first, "?model=sim&dry_run=true").await, 2);
    assert_eq!(removed(first, "?older_than_seconds=60").await, 0);
    assert_eq!(removed(first, "?model=other").await, 1);
    assert_eq!(removed(first, "").await, 2);
    assert_eq!(removed(first, "").await, 0);
    let body = Client::Native.request("openai/sim", "Reply with exactly: named", false);
    let mut named = Value::Null;
    for _ in 0..2 {
        named = world.send(Client::Native, &body, &bearer(first)).await.json();
    }
    let id = format!("?id={}", named["cache_key"].as_str().unwrap());
    assert_eq!(removed("second-key-to-clear", &id).await, 0, "it is another's");
    assert_eq!(removed(first, &id).await, 1);
    assert_eq!(removed(ADMIN, "?dry_run=true").await, 3, "those of the second key");
    assert_eq!(removed(ADMIN, "").await, 3);
    for (query, field) in [
        ("?id=x", "id"),
        ("?older_than_seconds=-1", "older_than_seconds"),
        ("?dry_run=maybe", "dry_run"),
        ("?everything=true", "everything"),
    ] {
        let (status, said) = clear(first, query).await;
        assert_eq!((status, &said["details"]["field"]), (400, &json!(field)), "{said}");
    }
}

#[tokio::test]
async fn what_is_cleared_while_an_answer_is_on_its_way_is_not_kept_when_it_comes() {
    let world = World::new(ON).await;
    for stream in [false, true] {
        let mark = format!("late-{stream}");
        let prompt = format!("Reply with exactly: {mark}");
        let asked = || world.ask_with(Client::OpenAi, "openai/fault:slow_first=300", &prompt, stream, "");
        let clear = async {
            let arrived = || (!world.asked(&mark).is_empty()).then_some(());
            eventually("a request upstream", Duration::from_secs(5), arrived).await;
            ask(world.gateway.addr, "DELETE", "/v1/cache", "", b"").await
        };
        let (answer, cleared) = tokio::join!(asked(), clear);
        assert_eq!((answer.status, cleared.status), (200, 200));
        assert_eq!(cached(&asked().await), "miss", "stream: {stream}");
        assert_eq!(cached(&asked().await), "hit", "what was asked for later is kept");
    }
}

#[tokio::test]
async fn a_wrong_answer_is_reported_by_whom_it_was_given_to() {
    let keys = key("key-that-reports", "") + &key("key-of-a-stranger", "");
    let file = format!("{ON}server: {{admin_key: {ADMIN}}}\nkeys:\n{keys}");
    let world = World::new(&file).await;
    let mine = bearer("key-that-reports");
    let asked = async || world.ask_with(Client::OpenAi, "openai/sim", "Reply with exactly: wrong", false, &mine).await;
    let report = async |id: &str, headers: &str| {
        let body = json!({"request_id": id}).to_string();
        let answer = post(world.gateway.addr, "/v1/cache/feedback", headers, body.as_bytes()).await;
        (answer.status, answer.json())
    };
    let (miss, hit) = (asked().await, asked().await);
    assert_eq!(cached(&hit), "hit");
    let (status, said) = report(miss.request_id(), &mine).await;
    assert_eq!(status, 404, "it came from a provider: {said}");
    assert_eq!(report(hit.request_id(), &bearer("key-of-a-stranger")).await.0, 404);
    let (status, said) = report(hit.request_id(), &mine).await;
    assert_eq!(
        (status, &said["removed"], &said["request_id"]),
        (200, &json!(true), &json!(hit.request_id())),
        "{said}"
    );
    assert_eq!(cached(&asked().await), "miss");
    let hit = asked().await;
    assert_eq!(report(hit.request_id(), &bearer(ADMIN)).await.0, 200, "the operator may");
    let stats = ask(world.gateway.addr, "GET", "/v1/cache/stats", &mine, b"").await.json();
    assert_eq!(stats["reported_wrong"], 2);
    for body in ["{}", "[]", "{\"request_id\": 7}", "{\"request_id\": \"x\", \"why\": 1}", "x"] {
        let answer = post(world.gateway.addr, "/v1/cache/feedback", &mine, body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    assert_eq!(report("req_unknown", &mine).await.0, 404);
}

#[tokio::test]
async fn an_explanation_tells_what_the_cache_did() {
    let world = World::new(ON).await;
    let mut told = Vec::new();
    for headers in ["", "", "x-gateway-cache: skip\r\n"] {
        let answer = world.ask_with(Client::OpenAi, "openai/sim", "Reply with exactly: told", false, headers).await;
        told.push(get(world.gateway.addr, &format!("/v1/requests/{}", answer.request_id())).await.json());
    }
    let said = |index: usize, text: &str| {
        let summary = told[index]["summary"].as_array().unwrap();
        assert!(summary.iter().any(|one| one.as_str().unwrap().contains(text)), "{text}: {summary:?}");
    };
    said(0, "The cache had no answer.");
    said(1, "The cache had the answer (exact");
    said(2, "The cache was passed by: the request said so.");
    assert_eq!(told[1]["cache"]["hit"]["type"], "exact");
    assert_eq!(told[1]["cache"]["hit"]["similarity"], 1.0);
    assert_eq!((&told[1]["steps"], &told[1]["cost_usd"]), (&json!([]), &json!(0.0)));
    assert!(!told[1].to_string().contains("Reply with"), "nothing of what was asked: {}", told[1]);
}

#[tokio::test]
async fn a_configuration_that_means_something_else_does_not_get_the_answers_of_the_one_before() {
    let file = |target: &str| format!("{ON}aliases: {{fast: {{targets: [{target}]}}}}\n");
    let world = World::new(&file("openai/sim")).await;
    let asked = async || {
        let answer = world.ask(Client::OpenAi, "fast", "Reply with exactly: reloaded", false).await;
        (cached(&answer).to_owned(), answer.header("x-gateway-provider").unwrap().to_owned())
    };
    let said = |cache: &str, provider: &str| (cache.to_owned(), provider.to_owned());
    assert_eq!(asked().await, said("miss", "openai"));
    assert_eq!(asked().await, said("hit", "openai"));
    let path = world.gateway.folder().join("gateway.yaml");
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, before.replace("[openai/sim]", "[anthropic/sim]")).unwrap();
    world.gateway.signal("HUP");
    let patience = std::time::Duration::from_secs(10);
    let event = || {
        world
            .gateway
            .log()
            .into_iter()
            .find(|line| line["message"].as_str().is_some_and(|m| m.contains("configuration")))
    };
    crate::harness::eventually("the new configuration", patience, event).await;
    assert_eq!(asked().await, said("miss", "anthropic"));
    assert_eq!(asked().await, said("hit", "anthropic"));
}
