//! Requests that ask the same at the same time.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::control::{bearer, key};
use super::{ON, cached};
use crate::harness::client::request;
use crate::harness::{Client, Connection, World, eventually, get};

const HEAD: &str = "content-type: application/json\r\n";

fn body(client: Client, model: &str, mark: &str) -> Value {
    let mut body = client.request(model, &format!("Reply with exactly: {mark}"), false);
    body["temperature"] = json!(0);
    body
}

impl World {
    async fn begin(&self, client: Client, body: &Value, headers: &str) -> Connection {
        let mut connection = Connection::open(self.gateway.addr).await;
        let head = format!("{HEAD}{headers}");
        let bytes = request(self.gateway.addr, "POST", client.path(), &head, body.to_string().as_bytes());
        connection.send(&bytes).await;
        connection
    }

    async fn arrived(&self, mark: &str, count: usize) {
        let there = || (self.asked(mark).len() >= count).then_some(());
        eventually("a request upstream", Duration::from_secs(5), there).await;
    }
}

#[tokio::test]
async fn one_of_many_that_ask_the_same_is_sent_and_all_have_its_answer() {
    let world = World::new(ON).await;
    for (client, provider) in [(Client::OpenAi, "openai"), (Client::Anthropic, "openai"), (Client::Native, "anthropic")]
    {
        let mark = format!("together-{client:?}");
        let body = body(client, &format!("{provider}/fault:slow_first=300"), &mark);
        let answers = join_all((0..20).map(|_| world.send(client, &body, ""))).await;
        assert_eq!(world.asked(&mark).len(), 1);
        let mut said: Vec<&str> = answers.iter().map(cached).collect();
        said.sort_unstable();
        assert_eq!((said[0], said[19]), ("coalesced", "miss"), "{said:?}");
        assert_eq!(said.iter().filter(|word| **word == "miss").count(), 1, "{said:?}");
        for answer in &answers {
            assert_eq!(client.said(answer, false).text, mark, "{answer:?}");
            let free = answer.header("x-gateway-cost-usd") == Some("0.000000000");
            assert_eq!(free, cached(answer) != "miss", "{answer:?}");
        }
        assert_eq!(cached(&world.send(client, &body, "").await), "hit");
    }
    assert_eq!(world.gateway.metric("gateway_ratelimit_reservations", "").await, 0.0);
}

#[tokio::test]
async fn answers_that_may_differ_are_asked_for_one_by_one_unless_the_client_says_otherwise() {
    let world = World::new(ON).await;
    for (mark, temperature, streamed, headers, upstream) in [
        ("cold", json!(0.0), false, "", 1),
        ("warm", json!(0.7), false, "", 3),
        ("unsaid", json!(null), false, "", 3),
        ("shared", json!(0.7), false, "x-gateway-coalesce: true\r\n", 1),
        ("streamed", json!(0), true, "", 3),
        ("refreshed", json!(0), false, "x-gateway-cache: refresh\r\n", 3),
    ] {
        let mut body = body(Client::OpenAi, "openai/fault:slow_first=300", mark);
        (body["temperature"], body["stream"]) = (temperature, streamed.into());
        let answers = join_all((0..3).map(|_| world.send(Client::OpenAi, &body, headers))).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        assert_eq!(world.asked(mark).len(), upstream, "{mark}");
    }
}

#[tokio::test]
async fn the_request_goes_on_while_somebody_waits_for_it() {
    let world = World::new(ON).await;
    let body = body(Client::OpenAi, "openai/fault:slow_first=500", "outlived");
    let leader = world.begin(Client::OpenAi, &body, "").await;
    world.arrived("outlived", 1).await;
    let mut follower = world.begin(Client::OpenAi, &body, "").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(leader);
    let answer = follower.answer().await;
    assert_eq!((answer.status, cached(&answer)), (200, "coalesced"), "{answer:?}");
    assert_eq!(world.asked("outlived").len(), 1);
    let left = world.gateway.told_of(|line| line["outcome"] == "client_gone").await;
    assert!(left["usage"]["output"].as_u64() > Some(0), "whoever asked pays: {left}");
    assert_eq!(cached(&world.send(Client::OpenAi, &body, "").await), "hit");
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_any_more_ends() {
    let world = World::new(ON).await;
    let body = body(Client::OpenAi, "openai/fault:slow_first=3000", "left");
    let leader = world.begin(Client::OpenAi, &body, "").await;
    world.arrived("left", 1).await;
    let follower = world.begin(Client::OpenAi, &body, "").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(leader);
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(follower);
    let ended = || world.asked("left")[0].ended;
    let ended = eventually("the end of the request upstream", Duration::from_secs(2), ended).await;
    assert!(ended < world.asked("left")[0].received + Duration::from_millis(2500), "{ended:?}");
}

#[tokio::test]
async fn a_failure_is_everybodys_where_the_request_is_at_fault_and_else_each_asks() {
    let world = World::new(ON).await;
    for (fault, mark, upstream, status) in [
        ("slow_first=200,status=400", "at-fault", 1, 400),
        // All attempts of the first fail; those who waited find the provider well.
        ("slow_first=200,status=503,times=3", "unlucky", 5, 200),
    ] {
        let body = body(Client::OpenAi, &format!("openai/fault:{fault}"), mark);
        let leader = world.begin(Client::OpenAi, &body, "").await;
        world.arrived(mark, 1).await;
        let answers = join_all((0..2).map(|_| world.send(Client::OpenAi, &body, ""))).await;
        drop(leader);
        for answer in &answers {
            assert_eq!(answer.status, status, "{mark}: {answer:?}");
        }
        assert!(world.asked(mark).len() <= upstream, "{mark}: {}", world.asked(mark).len());
    }
}

#[tokio::test]
async fn nobody_is_told_the_failure_of_a_provider_that_they_may_not_use() {
    let keys = key("key-of-everything", "") + &key("key-of-openai", ", providers: [openai]");
    let slow = "'anthropic/fault:slow_first=500,status=400'";
    let aliases = format!("aliases: {{fast: {{targets: [{slow}, openai/sim]}}}}");
    let world = World::new(&format!("cache: {{scope: all}}\n{aliases}\nkeys:\n{keys}")).await;
    let body = body(Client::OpenAi, "fast", "not-mine");
    let leader = world.begin(Client::OpenAi, &body, &bearer("key-of-everything")).await;
    world.arrived("not-mine", 1).await;
    let answer = world.send(Client::OpenAi, &body, &bearer("key-of-openai")).await;
    assert_eq!((answer.status, answer.header("x-gateway-provider")), (200, Some("openai")), "{answer:?}");
    drop(leader);
}

#[tokio::test]
async fn who_waits_for_the_answer_of_another_can_be_asked_for_meanwhile() {
    let world = World::new(ON).await;
    let body = body(Client::OpenAi, "openai/fault:slow_first=4000", "shown");
    let leader = world.begin(Client::OpenAi, &body, "").await;
    world.arrived("shown", 1).await;
    let follower = world.begin(Client::OpenAi, &body, "x-client-request-id: follower\r\n").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let told = get(world.gateway.addr, "/v1/requests/follower").await;
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(told.json()["running"]["waits_for"], "answer_of_another_request", "{told:?}");
    drop((leader, follower));
}
