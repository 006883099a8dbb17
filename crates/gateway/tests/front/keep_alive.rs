//! Nobody waits in silence for a first content that takes long.

use std::time::{Duration, Instant};

use crate::harness::{Client, Connection, Path, World, all, client, ensure, paths};

fn sign_of_life(client: Client) -> &'static str {
    if client == Client::Anthropic { "event: ping" } else { ": " }
}

#[tokio::test]
async fn a_silent_stream_gets_a_sign_of_life_and_then_its_content_or_an_honest_error() {
    let world = World::new("").await;
    let streams = || paths().filter(|path| path.streamed);
    let content = streams().map(|path| (path, "slow_first=10600", true));
    let error = streams().map(|path| (path, "stall", false));
    all(content.chain(error).map(|(path, fault, good)| waits(&world, path, fault, good))).await;
}

async fn waits(world: &World, path: Path, fault: &str, good: bool) -> Result<(), String> {
    let case = format!("{path:?} {fault}");
    let model = format!("{}/fault:{fault}", path.provider.name());
    let body = path.client.request(&model, "Reply with exactly: at last", true).to_string();
    let addr = world.gateway.addr;
    let headers = "content-type: application/json\r\nx-gateway-timeout-ms: 12000\r\n";
    let mut connection = Connection::open(addr).await;
    let began = Instant::now();
    connection.send(&client::request(addr, "POST", path.client.path(), headers, body.as_bytes())).await;
    connection.wait_for(sign_of_life(path.client)).await;
    let waited = began.elapsed();
    ensure!(
        (Duration::from_millis(9900)..Duration::from_millis(10_550)).contains(&waited),
        "{case}: the first sign of life came after {waited:?}"
    );
    let answer = connection.answer().await;
    let said = path.client.said(&answer, true);
    ensure!(answer.status == 200 && answer.complete, "{case}: {answer:?}");
    let content_type = answer.header("content-type").unwrap_or_default();
    ensure!(content_type.starts_with("text/event-stream"), "{case}: {answer:?}");
    let line = world.gateway.told(answer.request_id()).await;
    if good {
        ensure!(said.text == "at last" && said.done && said.error.is_none(), "{case}: {}", answer.text());
        ensure!(line["outcome"] == "ok", "{case}: {line}");
    } else {
        let told = said.error.as_ref().and_then(|error| path.client.error(error));
        ensure!(told.is_some() && !said.done, "{case}: {}", answer.text());
        ensure!(line["outcome"] == "upstream_error" && line["tried"][0]["failure"] == "timeout", "{case}: {line}");
    }
    Ok(())
}
