//! A client that goes away takes its upstream request with it; one that does not read is not read for.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use simulator::Ending;

use crate::harness::upstream::Upstream;
use crate::harness::{Client, Connection, Gateway, Path, STORY, World, all, client, ensure, eventually, paths};

/// From the end of the client's connection to that of the provider's.
const CLOSED_WITHIN: Duration = Duration::from_millis(200);
/// Of memory. The buffers of its two connections are 384 KiB; how far pieces of old ones outlive these depends on how busy the
/// machine is, and on one that is a stream has cost 1.1 MiB. What reads on for a client that does not never comes to rest.
const MOST_FOR_A_STREAM_KIB: u64 = 2 * 1024;

#[tokio::test]
async fn the_provider_is_told_before_the_first_content_and_in_the_middle() {
    let world = World::new("").await;
    let silent = paths().map(|path| (path, "stall", false));
    let held = paths().filter(|path| path.streamed).map(|path| (path, "stall_after=1", false));
    let flowing = paths().filter(|path| path.streamed).map(|path| (path, "drip=5,split=64", true));
    all(silent.chain(held).chain(flowing).map(|(path, fault, flows)| leaves(&world, path, fault, flows))).await;
}

async fn leaves(world: &World, path: Path, fault: &str, flows: bool) -> Result<(), String> {
    let case = format!("{path:?} {fault}");
    let user = format!("{}-{}-{}-{fault}", path.client.dialect(), path.provider.name(), path.streamed);
    let model = format!("{}/fault:{fault}", path.provider.name());
    let mark = format!("{STORY} for {user}.");
    let body = path.client.request(&model, &mark, path.streamed).to_string();
    let addr = world.gateway.addr;
    let headers = format!("content-type: application/json\r\nx-gateway-user: {user}\r\n");
    let mut connection = Connection::open(addr).await;
    connection.send(&client::request(addr, "POST", path.client.path(), &headers, body.as_bytes())).await;
    let arrived = || world.asked(&mark).into_iter().next();
    eventually("the upstream request", Duration::from_secs(10), arrived).await;
    if flows {
        connection.wait_for("data: ").await;
    } else {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(connection);
    let left = Instant::now();
    let ended = || arrived().filter(|entry| entry.ended.is_some());
    let entry = eventually("the end of the upstream request", Duration::from_secs(10), ended).await;
    let took = left.elapsed();
    ensure!(matches!(entry.ending, Ending::PeerClosed { .. }), "{case}: {:?}", entry.ending);
    ensure!(took <= CLOSED_WITHIN, "{case}: closed after {took:?}");
    let line = world.gateway.told_of(|line| line["user"] == user.as_str()).await;
    ensure!(line["outcome"] == "client_gone" && line["attempts"] == 1, "{case}: {line}");
    ensure!(line["provider"] == path.provider.name(), "{case}: {line}");
    ensure!(world.asked(&mark).len() == 1, "{case}: asked again");
    Ok(())
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_back_the_provider() {
    let chunk =
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(4000));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let upstream = Upstream::endless(head, &chunk).await;
    let gateway = Gateway::start(&format!(
        "providers: {{p: {{dialect: openai_chat, base_url: 'http://{}', api_key: sk-x}}}}\n",
        upstream.addr
    ))
    .await;
    // What the program needs for streams at all is needed once.
    let mut connections = unread_streams(&gateway, 2).await;
    settled(&upstream).await;
    let before = gateway.memory_kib();
    connections.extend(unread_streams(&gateway, 4).await);
    settled(&upstream).await;
    let grown = gateway.memory_kib().saturating_sub(before);
    assert!(grown < 12 * MOST_FOR_A_STREAM_KIB, "12 more clients that do not read cost {grown} KiB");
}

/// Streams of each dialect whose clients have stopped reading.
async fn unread_streams(gateway: &Gateway, of_each: usize) -> Vec<Connection> {
    let mut connections = Vec::new();
    for client in Client::ALL.repeat(of_each) {
        let body = client.request("p/m", "hi", true).to_string();
        let mut connection = Connection::open(gateway.addr).await;
        let headers = "content-type: application/json\r\n";
        connection.send(&client::request(gateway.addr, "POST", client.path(), headers, body.as_bytes())).await;
        connection.wait_for("xxxx").await;
        connections.push(connection);
    }
    connections
}

/// Waits until nothing moves: sockets hold some megabytes, and then they are full.
async fn settled(upstream: &Upstream) {
    let (mut last, mut still, began) = (0, 0, Instant::now());
    while still < 5 {
        assert!(began.elapsed() < Duration::from_secs(20), "{last} bytes, and still more");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let taken = upstream.taken.load(Ordering::Relaxed);
        still = if taken == last { still + 1 } else { 0 };
        last = taken;
    }
}
