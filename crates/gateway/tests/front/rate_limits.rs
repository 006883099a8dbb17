//! How much each caller may have: exact at the edge, settled by what really happened, and told in every answer.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::harness::client::{ask, request};
use crate::harness::{
    Answer, Client, Connection, Path, STORY, World, all, all_repeated, ensure, eventually, get, paths, providers,
};

const COUNT: &str = "/v1/messages/count_tokens";
/// A token comes back each second, and a hundred minutes' worth of them is there at the start.
const SLOW_TOKENS: &str = "limits: {requests_per_minute: 1000000, tokens_per_minute: 60, burst_percent: 10000}\n";
const FULL: u64 = 6000;

fn head(user: &str) -> String {
    format!("content-type: application/json\r\nx-gateway-user: {user}\r\n")
}

impl World {
    async fn ask_as(&self, user: &str, client: Client, model: &str, prompt: &str, streamed: bool) -> Answer {
        let body = client.request(model, prompt, streamed).to_string();
        ask(self.gateway.addr, "POST", client.path(), &head(user), body.as_bytes()).await
    }

    /// A request that goes away again.
    async fn begin_as(&self, user: &str, client: Client, model: &str, streamed: bool) -> Connection {
        let mut connection = Connection::open(self.gateway.addr).await;
        let body = client.request(model, &format!("{STORY} for {user}."), streamed).to_string();
        connection.send(&request(self.gateway.addr, "POST", client.path(), &head(user), body.as_bytes())).await;
        connection
    }

    /// What a user has left; to ask costs a request and no tokens.
    async fn tokens_left(&self, user: &str) -> u64 {
        let body = Client::Anthropic.request("anthropic/sim", "x", false).to_string();
        let answer = ask(self.gateway.addr, "POST", COUNT, &head(user), body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        number(&answer, "x-ratelimit-remaining-tokens")
    }

    async fn reservations(&self) -> f64 {
        self.gateway.metric("gateway_ratelimit_reservations", "").await
    }
}

fn number(answer: &Answer, header: &str) -> u64 {
    answer.header(header).unwrap_or_else(|| panic!("no {header}: {answer:?}")).parse().unwrap()
}

fn spent(line: &Value) -> u64 {
    line["usage"]["input"].as_u64().unwrap() + line["usage"]["output"].as_u64().unwrap()
}

fn refusal(client: Client, answer: &Answer, says: &str) -> Result<(), String> {
    ensure!(answer.status == 429, "{client:?}: {answer:?}");
    let Some((kind, message)) = client.error(&answer.json()) else { return Err(format!("{client:?}: {answer:?}")) };
    let expected = if client == Client::Native { "rate_limit_exceeded" } else { "rate_limit_error" };
    ensure!(kind == expected, "{client:?}: {answer:?}");
    ensure!(message.contains(says), "{client:?}: {says:?} is not in {message:?}");
    ensure!(answer.header("x-should-retry").is_none(), "{client:?}: {answer:?}");
    let (seconds, ms) = (number(answer, "retry-after"), number(answer, "retry-after-ms"));
    ensure!(ms > 0 && seconds == ms.div_ceil(1000), "{client:?}: {answer:?}");
    Ok(())
}

#[tokio::test]
async fn sixty_requests_a_minute_are_sixty_and_then_one_a_second() {
    let world = World::new("limits: {requests_per_minute: 60, tokens_per_minute: 10000000}\n").await;
    all(Client::ALL.map(|client| edge(&world, client))).await;
    let refused = world.gateway.metric("gateway_ratelimit_refusals_total", "requests_per_minute").await;
    assert!(refused >= 9.0, "{refused}");
}

async fn edge(world: &World, client: Client) -> Result<(), String> {
    let user = format!("edge-{}", client.dialect());
    let began = Instant::now();
    let one = |n: u64| {
        let user = &user;
        async move { (n, world.ask_as(user, client, "openai/sim", "Reply with exactly: ok", false).await) }
    };
    let answers = join_all((0..64).map(one)).await;
    let took = began.elapsed().as_secs();
    let passed = answers.iter().filter(|(_, answer)| answer.status == 200).count() as u64;
    ensure!((60..=60 + took).contains(&passed), "{client:?}: {passed} passed in {took} s");
    let refused = answers.iter().find(|(_, answer)| answer.status != 200).map(|(_, answer)| answer);
    let Some(refused) = refused else { return Err(format!("{client:?}: none was refused in {took} s")) };
    refusal(client, refused, "60 requests a minute for this user")?;
    ensure!(number(refused, "retry-after") == 1, "{client:?}: {refused:?}");
    let told = ["limit", "remaining", "reset"].map(|what| refused.header(&format!("x-ratelimit-{what}-requests")));
    ensure!(told == [Some("60"), Some("0"), Some("1m0s")], "{client:?}: {told:?}");
    let line = world.gateway.told(refused.request_id()).await;
    ensure!(line["outcome"] == "rate_limited" && line["status"] == 429, "{line}");
    ensure!(line["error"].as_str().is_some_and(|error| error.contains("[user:127.0.0.1:")), "{line}");
    tokio::time::sleep(Duration::from_millis(number(refused, "retry-after-ms"))).await;
    let (_, next) = one(64).await;
    ensure!(next.status == 200, "{client:?}: {next:?}");
    Ok(())
}

#[tokio::test]
async fn every_answer_of_a_limited_route_tells_what_is_left() {
    let world = World::new("limits: {requests_per_minute: 6, tokens_per_minute: 60000}\n").await;
    for client in Client::ALL {
        let user = format!("told-{}", client.dialect());
        let first = world.ask_as(&user, client, "anthropic/sim", "Reply with exactly: ok", false).await;
        let second = world.ask_as(&user, client, "openai/fault:status=400", "x", true).await;
        let unknown = world.ask_as(&user, client, "openai", "x", false).await;
        assert_eq!((first.status, second.status, unknown.status), (200, 400, 404), "{client:?}");
        for (answer, left) in [(&first, 5), (&second, 4)] {
            assert_eq!(number(answer, "x-ratelimit-limit-requests"), 6);
            assert_eq!(number(answer, "x-ratelimit-remaining-requests"), left, "{client:?}: {answer:?}");
            assert_eq!(number(answer, "x-ratelimit-limit-tokens"), 60_000);
            assert!((58_000..59_100).contains(&number(answer, "x-ratelimit-remaining-tokens")), "{answer:?}");
            assert!(answer.header("x-ratelimit-reset-tokens").is_some_and(|reset| ["1s", "2s"].contains(&reset)));
        }
        // Refused before anything was taken.
        assert!(number(&unknown, "x-ratelimit-remaining-requests") >= 4, "{unknown:?}");
        let anthropic = ["requests-limit", "requests-remaining", "tokens-limit", "tokens-remaining", "tokens-reset"]
            .map(|name| first.header(&format!("anthropic-ratelimit-{name}")));
        if client != Client::Anthropic {
            assert_eq!(anthropic, [None; 5]);
            continue;
        }
        assert_eq!(anthropic[..2], [Some("6"), Some("5")]);
        let reset: jiff::Timestamp = first.header("anthropic-ratelimit-requests-reset").unwrap().parse().unwrap();
        let wait = reset.duration_since(jiff::Timestamp::now()).as_secs_f64();
        assert!((8.0..=11.0).contains(&wait) && reset.subsec_nanosecond() == 0, "{reset}");
    }
    for path in ["/health", "/v1/models", "/v1/providers", "/metrics"] {
        let answer = get(world.gateway.addr, path).await;
        assert!(answer.status == 200 && answer.header("x-ratelimit-limit-requests").is_none(), "{path}: {answer:?}");
    }
    assert_eq!(get(world.gateway.addr, "/health").await.json()["rate_limiting_enabled"], true);
}

#[tokio::test]
async fn without_limits_nobody_is_told_of_any() {
    let world = World::new("limits: {enabled: false, requests_per_minute: 1}\n").await;
    for client in Client::ALL {
        for _ in 0..3 {
            let answer = world.ask_as("one", client, "anthropic/sim", "Reply with exactly: ok", false).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("x-ratelimit")), "{answer:?}");
            // The provider's own words, which pass where the gateway has nothing to say.
            let theirs = answer.header("anthropic-ratelimit-requests-limit");
            assert_eq!(theirs, (client == Client::Anthropic).then_some("4000"));
        }
    }
    assert_eq!(get(world.gateway.addr, "/health").await.json()["rate_limiting_enabled"], false);
}

#[tokio::test]
async fn tokens_are_settled_to_what_each_request_really_had() {
    let world = World::new(SLOW_TOKENS).await;
    let ends = paths().flat_map(|path| {
        let faults: &[&str] = match path.streamed {
            false => &["", "no_usage", "status=500", "status=400", "reset", "html"],
            true => &["", "no_usage", "status=503", "reset_after=12", "error_after=6", "truncate=12"],
        };
        faults.iter().map(move |fault| (path, *fault))
    });
    all(ends.map(|(path, fault)| settles(&world, path, fault))).await;
    assert_eq!(world.reservations().await, 0.0);
}

async fn settles(world: &World, path: Path, fault: &str) -> Result<(), String> {
    let case = format!("{path:?} {fault:?}");
    let user = format!("settles-{}-{}-{}-{fault}", path.client.dialect(), path.provider.name(), path.streamed);
    let model = match fault {
        "" => format!("{}/sim", path.provider.name()),
        fault => format!("{}/fault:{fault}", path.provider.name()),
    };
    let began = Instant::now();
    let answer = world.ask_as(&user, path.client, &model, &format!("{STORY} for {user}"), path.streamed).await;
    let line = world.gateway.told(answer.request_id()).await;
    let left = world.tokens_left(&user).await;
    let back = began.elapsed().as_secs() + 1;
    let spent = if line["usage"].is_null() { 0 } else { spent(&line) };
    ensure!(left >= FULL - spent && left <= (FULL - spent + back).min(FULL), "{case}: {left} left of {FULL}: {line}");
    let failed = ["status", "html"].iter().any(|word| fault.starts_with(word)) || fault == "reset";
    ensure!((spent == 0) == failed, "{case}: {line}");
    Ok(())
}

#[tokio::test]
async fn who_leaves_pays_for_what_came_or_for_what_was_thought_to_come() {
    let world = World::new(SLOW_TOKENS).await;
    let cases = paths().flat_map(|path| [(path, "stall"), (path, "drip=20,split=64")]);
    all(cases
        .filter(|(path, fault)| path.streamed || *fault == "stall")
        .map(|(path, fault)| leaves(&world, path, fault)))
    .await;
    assert_eq!(world.reservations().await, 0.0);
}

async fn leaves(world: &World, path: Path, fault: &str) -> Result<(), String> {
    let case = format!("{path:?} {fault}");
    let user = format!("leaves-{}-{}-{}-{fault}", path.client.dialect(), path.provider.name(), path.streamed);
    let began = Instant::now();
    let mut connection =
        world.begin_as(&user, path.client, &format!("{}/fault:{fault}", path.provider.name()), path.streamed).await;
    if fault == "stall" {
        tokio::time::sleep(Duration::from_millis(200)).await;
    } else {
        connection.wait_for("data: ").await;
    }
    drop(connection);
    let line = world.gateway.told_of(|line| line["user"] == user.as_str()).await;
    ensure!(line["outcome"] == "client_gone", "{case}: {line}");
    let left = world.tokens_left(&user).await;
    let back = began.elapsed().as_secs() + 1;
    if fault == "stall" {
        // Its answer would have had a thousand tokens, as far as anybody knows.
        ensure!(line["usage"].is_null(), "{case}: {line}");
        ensure!((FULL - 1100..FULL - 1000 + back).contains(&left), "{case}: {left} left");
    } else {
        let spent = spent(&line);
        ensure!(spent > 0 && left >= FULL - spent && left <= FULL - spent + back, "{case}: {left} left: {line}");
    }
    Ok(())
}

#[tokio::test]
async fn a_place_is_free_again_however_its_request_ended() {
    let world =
        World::new("limits: {requests_per_minute: 1000000, tokens_per_minute: 100000000, concurrent: 1}\n").await;
    // All users of the address together have ten.
    all_repeated(paths().map(|path| places(&world, path))).await;
    assert_eq!(world.reservations().await, 0.0);
}

async fn places(world: &World, path: Path) -> Result<(), String> {
    let user = format!("places-{}-{}-{}", path.client.dialect(), path.provider.name(), path.streamed);
    let model = |fault: &str| format!("{}/fault:{fault}", path.provider.name());
    for fault in ["status=400", "status=500", "reset", "truncate=3", "stall", "seed=1"] {
        let case = format!("{path:?} {fault}");
        if fault != "stall" {
            let answer = world.ask_as(&user, path.client, &model(fault), STORY, path.streamed).await;
            ensure!(answer.status != 429, "{case}: {answer:?}");
            world.gateway.told(answer.request_id()).await;
            continue;
        }
        let connection = world.begin_as(&user, path.client, &model(fault), path.streamed).await;
        let stalls = || world.asked(&format!("for {user}.")).into_iter().next();
        eventually("the upstream request", Duration::from_secs(10), stalls).await;
        let refused = world.ask_as(&user, path.client, &model("seed=1"), "Reply with exactly: ok", false).await;
        refusal(path.client, &refused, "1 requests at the same time for this user")?;
        drop(connection);
        world.gateway.told_of(|line| line["user"] == user.as_str() && line["outcome"] == "client_gone").await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_of_which_a_third_goes_away_leave_nothing_behind() {
    const REQUESTS: u64 = 1000;
    // Ten tokens come back each second.
    let more = "limits: {requests_per_minute: 10000000, tokens_per_minute: 600, burst_percent: 10000}\n";
    let world = World::new(more).await;
    let full = 60_000;
    let began = Instant::now();
    let mut random = fastrand::Rng::with_seed(30);
    let mut waves = Vec::new();
    for n in 0..REQUESTS {
        let (client, streamed) = (Client::ALL[random.usize(..3)], random.bool());
        let provider = ["openai", "anthropic"][random.usize(..2)];
        let leaves = (random.u32(..10) < 3).then(|| Duration::from_micros(random.u64(..30_000)));
        waves.push((n, client, streamed, provider, leaves));
    }
    for wave in waves.chunks(25) {
        join_all(wave.iter().map(|&(_, client, streamed, provider, leaves)| {
            let world = &world;
            async move {
                let model = format!("{provider}/fault:slow_first=5,drip=1,split=200");
                let mut body = client.request(&model, "Reply with exactly: one two three four", streamed);
                body["max_tokens"] = 10.into();
                let addr = world.gateway.addr;
                let mut connection = Connection::open(addr).await;
                let text = request(addr, "POST", client.path(), &head("many"), body.to_string().as_bytes());
                connection.send(&text).await;
                match leaves {
                    Some(after) => _ = tokio::time::timeout(after, connection.answer()).await,
                    None => {
                        let answer = connection.answer().await;
                        assert_eq!(answer.status, 200, "{answer:?}");
                    }
                }
            }
        }))
        .await;
    }
    let ended = |line: &Value| line["message"] == "request" && line["user"] == "many";
    let lines =
        || Some(world.gateway.log()).filter(|log| log.iter().filter(|line| ended(line)).count() as u64 == REQUESTS);
    // One that left before its request was read is none.
    let patience = Duration::from_secs(2);
    let log = tokio::time::timeout(patience, eventually("all", 2 * patience, lines)).await;
    let log = log.unwrap_or_else(|_| world.gateway.log());
    let lines: Vec<&Value> = log.iter().filter(|line| ended(line)).collect();
    assert_eq!(world.reservations().await, 0.0);
    assert_eq!(world.gateway.metric("gateway_requests_in_flight", "").await, 0.0);
    let gone = lines.iter().filter(|line| line["outcome"] == "client_gone").count();
    assert!(lines.len() >= 900 && (100..400).contains(&gone), "{} of {}", gone, lines.len());
    let known: u64 = lines.iter().filter(|line| !line["usage"].is_null()).map(|line| spent(line)).sum();
    // Of those who left before anything came, what they were thought to need: ten tokens, and a small prompt by an estimate that
    // comes closer with each answer.
    let unknown = lines.iter().filter(|line| line["usage"].is_null() && line["attempts"] == 1).count() as u64;
    let used = full - world.tokens_left("many").await;
    let back = (began.elapsed().as_secs() + 1) * 10;
    assert!(
        used <= known + unknown * 70 && used + back >= known + unknown * 12,
        "{used} used, {known} known, {unknown}"
    );
}

#[tokio::test]
async fn who_has_nothing_left_is_refused_before_the_body_is_read() {
    let world = World::new("limits: {requests_per_minute: 1, tokens_per_minute: 1000000}\n").await;
    for client in [Client::OpenAi, Client::Anthropic] {
        let user = format!("empty-{}", client.dialect());
        let first = world.ask_as(&user, client, "openai/sim", "Reply with exactly: ok", false).await;
        assert_eq!(first.status, 200, "{first:?}");
        let addr = world.gateway.addr;
        let mut connection = Connection::open(addr).await;
        let announced = format!(
            "POST {} HTTP/1.1\r\nhost: {addr}\r\n{}content-length: 100000\r\nexpect: 100-continue\r\n\r\n",
            client.path(),
            head(&user)
        );
        connection.send(announced.as_bytes()).await;
        let refused = connection.answer().await;
        refusal(client, &refused, "1 requests a minute for this user").unwrap();
        assert!((50..=60).contains(&number(&refused, "retry-after")), "{refused:?}");
        assert_eq!(number(&refused, "x-ratelimit-limit-requests"), 1);
        let explained = get(addr, &format!("/v1/requests/{}", refused.request_id())).await.text();
        assert!(explained.contains("1 requests a minute for this user"), "{explained}");
    }
}

#[tokio::test]
async fn an_address_may_use_ten_times_what_one_of_its_users_may() {
    let world = World::new("limits: {requests_per_minute: 2, tokens_per_minute: 1000000}\n").await;
    let (began, mut passed, mut refused) = (Instant::now(), 0, Vec::new());
    for user in 0..15 {
        for _ in 0..2 {
            let answer =
                world.ask_as(&format!("u{user}"), Client::OpenAi, "openai/sim", "Reply with exactly: ok", false).await;
            match answer.status {
                200 => passed += 1,
                _ => refused.push(answer),
            }
        }
    }
    let most = 20 + began.elapsed().as_secs() / 3;
    assert!((20..=most).contains(&passed), "{passed}");
    for answer in refused {
        refusal(Client::OpenAi, &answer, "20 requests a minute for all users of this address").unwrap();
    }
}

#[tokio::test]
async fn a_request_larger_than_the_bucket_passes_once_and_is_paid_off() {
    let world = World::new("limits: {requests_per_minute: 1000, tokens_per_minute: 600}\n").await;
    let large = "word ".repeat(800);
    let first = world.ask_as("large", Client::OpenAi, "openai/sim", &large, false).await;
    assert_eq!((first.status, number(&first, "x-ratelimit-remaining-tokens")), (200, 0), "{first:?}");
    let second = world.ask_as("large", Client::OpenAi, "openai/sim", "Reply with exactly: ok", false).await;
    refusal(Client::OpenAi, &second, "600 tokens a minute for this user").unwrap();
    assert!(number(&second, "retry-after") > 30, "{second:?}");
}

#[tokio::test]
async fn new_limits_hold_at_once_and_what_was_used_stays_used() {
    let limits = |most: u32| format!("limits: {{requests_per_minute: {most}, tokens_per_minute: 1000000}}\n");
    let world = World::new(&limits(3)).await;
    let limits = |most: u32| providers(&world.simulator) + &limits(most);
    let ask = || world.ask_as("one", Client::OpenAi, "openai/sim", "Reply with exactly: ok", false);
    for _ in 0..3 {
        assert_eq!(ask().await.status, 200);
    }
    assert_eq!(ask().await.status, 429);
    world.gateway.reload(&limits(30)).await;
    let raised = ask().await;
    let left = number(&raised, "x-ratelimit-remaining-requests");
    assert!(raised.status == 200 && (26..=29).contains(&left), "{raised:?}");
    world.gateway.reload(&limits(3)).await;
    let lowered = ask().await;
    refusal(Client::OpenAi, &lowered, "3 requests a minute").unwrap();
    assert!(number(&lowered, "retry-after") <= 20, "empty, and not in debt: {lowered:?}");
}

#[tokio::test]
async fn a_key_stands_under_its_own_limits_its_teams_and_those_for_a_provider() {
    let mut more =
        "aliases: {both: {targets: [openai/sim, anthropic/sim]}}\nlimits: {requests_per_minute: 100}\n".to_owned();
    let (mut teams, mut keys) = ("teams:\n".to_owned(), "keys:\n".to_owned());
    for client in Client::ALL.map(Client::dialect) {
        teams += &format!("  t-{client}: {{limits: {{requests_per_minute: 3}}}}\n");
        let own = "requests_per_minute: 2, providers: {openai: {requests_per_minute: 1}}";
        for (name, limits) in [("a", own), ("b", "tokens_per_minute: 1000000")] {
            let hash: String = Sha256::digest(key_of(name, client)).iter().map(|byte| format!("{byte:02x}")).collect();
            keys += &format!(
                "  - {{name: {name}-{client}, hash: 'sha256:{hash}', team: t-{client}, limits: {{{limits}}}}}\n"
            );
        }
    }
    more += &(teams + &keys);
    let world = World::new(&more).await;
    all(Client::ALL.map(|client| stands(&world, client))).await;
    assert_eq!(world.reservations().await, 0.0);
}

fn key_of(name: &str, client: &str) -> String {
    format!("a-secret-of-{name}-for-{client}")
}

async fn stands(world: &World, client: Client) -> Result<(), String> {
    let ask = |name: &'static str| async move {
        let headers = format!("authorization: Bearer {}\r\n", key_of(name, client.dialect()));
        world.ask_with(client, "both", "Reply with exactly: ok", false, &headers).await
    };
    let first = ask("a").await;
    ensure!(first.header("x-gateway-provider") == Some("openai"), "{first:?}");
    ensure!(number(&first, "x-ratelimit-remaining-requests") == 1, "{first:?}");
    let second = ask("a").await;
    ensure!(second.header("x-gateway-provider") == Some("anthropic"), "{second:?}");
    refusal(client, &ask("a").await, "2 requests a minute for this key")?;
    let other = ask("b").await;
    ensure!(other.header("x-gateway-provider") == Some("openai"), "{other:?}");
    ensure!(number(&other, "x-ratelimit-limit-requests") == 3, "the team's are fewer: {other:?}");
    ensure!(number(&other, "x-ratelimit-limit-tokens") == 1_000_000, "{other:?}");
    let refused = ask("b").await;
    refusal(client, &refused, "3 requests a minute for the team of this key")?;
    let line = world.gateway.told(refused.request_id()).await;
    ensure!(line["error"].as_str().is_some_and(|error| error.contains("[team:")), "{line}");
    Ok(())
}
