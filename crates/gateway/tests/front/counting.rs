//! Tokens: counted by the provider where it can, estimated and marked as such where nobody tells.

use serde_json::{Value, json};
use simulator::LedgerEntry;

use crate::harness::{ANTHROPIC_KEY, Client, Connection, Path, STORY, World, all, client, ensure, get, paths, post};

const COUNT: &str = "/v1/messages/count_tokens";

fn prompt(model: &str, text: &str) -> String {
    // Spaces and order that no serializer would write.
    format!("{{ \"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}] ,\"model\" : \"{model}\"}}")
}

#[tokio::test]
async fn a_provider_of_anthropics_dialect_counts_and_its_answer_passes_as_it_is() {
    let world = World::new("").await;
    for (path, text) in [(COUNT, "Count me."), ("/anthropic/v1/messages/count_tokens", "Count me too.")] {
        let headers = "anthropic-beta: token-counting-2024-11-01\r\nx-api-key: sk-of-the-client\r\n";
        let body = prompt("anthropic/claude-sim", text);
        let answer = post(world.gateway.addr, &format!("{path}?beta=true"), headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let asked = world.asked(&format!("{text}\""));
        let [asked] = asked.as_slice() else { panic!("asked {} times", asked.len()) };
        assert_eq!(asked.path, COUNT);
        assert_eq!(String::from_utf8_lossy(&asked.request), prompt("claude-sim", text));
        let header =
            |name: &str| asked.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(header("anthropic-beta"), Some("token-counting-2024-11-01"));
        let direct = format!(
            "x-api-key: {ANTHROPIC_KEY}\r\nanthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n"
        );
        let plain = prompt("claude-sim", text);
        let direct = post(world.simulator.addr(), COUNT, &direct, plain.as_bytes()).await;
        assert_eq!(answer.text(), direct.text());
        // The ledger shows hashes of keys.
        let key = |entry: &LedgerEntry| entry.headers.iter().find(|(name, _)| name == "x-api-key").cloned();
        let [gateway, direct] = world.asked(&format!("{text}\"")).try_into().unwrap();
        assert_eq!(key(&gateway), key(&direct));
        assert_eq!(answer.header("x-gateway-added"), None);
        let line = world.gateway.told(answer.request_id()).await;
        assert_eq!((&line["route"], &line["outcome"]), (&json!("POST /v1/messages/count_tokens"), &json!("ok")));
        assert_eq!((&line["usage"], &line["cost_usd"]), (&Value::Null, &Value::Null), "{line}");
    }
}

#[tokio::test]
async fn where_the_provider_has_no_such_question_the_gateway_estimates() {
    let world = World::new("").await;
    let body = prompt("openai/gpt-sim", &"abcd".repeat(100));
    let answer = post(world.gateway.addr, COUNT, "", body.as_bytes()).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"input_tokens":104}"#));
    assert_eq!(answer.header("x-gateway-added"), Some("input_tokens"));
    assert_eq!((answer.header("x-gateway-attempts"), answer.header("x-gateway-provider")), (None, Some("openai")));
    assert!(world.simulator.ledger().is_empty(), "nobody was asked");
    let line = world.gateway.told(answer.request_id()).await;
    assert_eq!((&line["usage"], &line["attempts"], &line["outcome"]), (&Value::Null, &json!(0), &json!("ok")));
    // What no provider would count, the gateway does not either.
    let answer = post(world.gateway.addr, COUNT, "", br#"{"model": "openai/gpt-sim"}"#).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("messages is required"), "{}", answer.text());
    let metrics = get(world.gateway.addr, "/metrics").await.text();
    let counted = |line: &&str| line.starts_with("gateway_tokens_total") && !line.ends_with(" 0");
    assert_eq!(metrics.lines().find(counted), None);
    // Health is learnt from what a provider did.
    let health = get(world.gateway.addr, "/v1/providers/openai/health").await.json();
    assert_eq!((&health["last_check"], &health["error_count"]), (&Value::Null, &json!(0)), "{health}");
}

#[tokio::test]
async fn counting_falls_over_as_answering_does() {
    let aliases = "aliases:\n  broken: {targets: ['anthropic/fault:status=500', openai/gpt-sim]}\n  \
                   odd: {targets: ['anthropic/fault:html', openai/gpt-sim]}\n  \
                   refused: {targets: ['anthropic/fault:status=400', openai/gpt-sim]}\n";
    let world = World::new(aliases).await;
    for (alias, status) in [("broken", 200), ("odd", 200), ("refused", 400)] {
        let answer = post(world.gateway.addr, COUNT, "", prompt(alias, "Count me.").as_bytes()).await;
        assert_eq!(answer.status, status, "{alias}: {}", answer.text());
        assert_eq!(answer.header("x-gateway-added"), (status == 200).then_some("input_tokens"), "{alias}");
        let line = world.gateway.told(answer.request_id()).await;
        assert_eq!(
            (&line["attempts"], &line["tried"][0]["target"]),
            (
                &json!(1),
                &json!(format!(
                    "anthropic/fault:{}",
                    match alias {
                        "broken" => "status=500",
                        "odd" => "html",
                        _ => "status=400",
                    }
                ))
            ),
            "{line}"
        );
    }
}

#[tokio::test]
async fn usage_that_the_provider_does_not_tell_is_estimated_and_marked() {
    let world = World::new("").await;
    all(paths().map(|path| estimated(&world, path))).await;
}

async fn estimated(world: &World, path: Path) -> Result<(), String> {
    let case = format!("{path:?}");
    let model = format!("{}/fault:no_usage", path.provider.name());
    let text = format!("Say {} once.", path.client.dialect());
    let answer = world.ask(path.client, &model, &text, path.streamed).await;
    ensure!(answer.status == 200, "{case}: {}", answer.text());
    let line = world.gateway.told(answer.request_id()).await;
    ensure!(line["outcome"] == "ok" && line["usage_estimated"] == true, "{case}: {line}");
    let said = path.client.said(&answer, path.streamed).text.len() as u64;
    let (input, output) = (line["usage"]["input"].as_u64().unwrap_or(0), line["usage"]["output"].as_u64().unwrap_or(0));
    ensure!((4..60).contains(&input), "{case}: {line}");
    ensure!(output.abs_diff(said / 4) <= 2 && output > 0, "{case}: {said} bytes: {line}");
    let translated = !path.same_dialect();
    if !path.streamed {
        ensure!(answer.header("x-gateway-added").is_some_and(|it| it.ends_with("usage")), "{case}: {answer:?}");
        let told = answer.json()["usage"].as_object().is_some_and(|usage| usage.values().any(|it| *it == output));
        ensure!(told == translated, "{case}: {}", answer.text());
    } else {
        let marked = answer.text().contains(": x-gateway-added: usage\n");
        ensure!(marked == translated, "{case}: {}", answer.text());
        let chunk = answer.text().contains(r#""usage_estimated":true"#);
        ensure!(chunk == (path.client == Client::Native), "{case}: {}", answer.text());
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_that_was_cut_off_has_an_account_of_what_came() {
    let world = World::new("").await;
    all(paths().filter(|path| path.streamed).map(|path| cut_off(&world, path))).await;
}

async fn cut_off(world: &World, path: Path) -> Result<(), String> {
    let case = format!("{path:?}");
    let model = format!("{}/fault:truncate=9", path.provider.name());
    let answer = world.ask(path.client, &model, STORY, true).await;
    let line = world.gateway.told(answer.request_id()).await;
    ensure!(line["outcome"] == "truncated" && line["usage_estimated"] == true, "{case}: {line}");
    let output = line["usage"]["output"].as_u64().unwrap_or(0);
    ensure!(line["usage"]["input"].as_u64().unwrap_or(0) > 3 && (2..200).contains(&output), "{case}: {line}");

    let user = format!("{case}-leaves");
    let body = path.client.request(&format!("{}/fault:drip=5,split=64", path.provider.name()), STORY, true).to_string();
    let addr = world.gateway.addr;
    let headers = format!("content-type: application/json\r\nx-gateway-user: {user}\r\n");
    let mut connection = Connection::open(addr).await;
    connection.send(&client::request(addr, "POST", path.client.path(), &headers, body.as_bytes())).await;
    connection.wait_for("data: ").await;
    drop(connection);
    let line = world.gateway.told_of(|line| line["user"] == user.as_str()).await;
    ensure!(line["outcome"] == "client_gone" && line["usage_estimated"] == true, "{case}: {line}");
    ensure!(line["usage"]["input"].as_u64().unwrap_or(0) > 3, "{case}: {line}");
    Ok(())
}
