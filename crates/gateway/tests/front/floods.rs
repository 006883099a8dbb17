//! HTTP/2 clients that want to keep the gateway busy: their connections are ended, and others do not notice.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Client, World, all, ensure};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// The end of the headers, not of the stream.
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a request, in HPACK without a table.
fn head(addr: SocketAddr) -> Vec<u8> {
    let text = |index: u8, text: &str| [&[index, text.len() as u8], text.as_bytes()].concat();
    let (path, authority) = (text(4, Client::OpenAi.path()), text(1, &addr.to_string()));
    [vec![0x83, 0x86], path, authority].concat()
}

/// What a flood says next; its number.
type Say = fn(u32, SocketAddr) -> Vec<u8>;

const FLOODS: [(&str, Say); 6] = [
    ("pings", |_, _| frame(PING, 0, 0, b"12345678")),
    ("settings", |_, _| frame(SETTINGS, 0, 0, b"")),
    ("priorities", |_, _| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
    ("unknown frames", |_, _| frame(200, 0, 0, b"")),
    ("streams that are reset at once", |n, addr| {
        [frame(HEADERS, END_HEADERS, 2 * n + 1, &head(addr)), frame(RESET, 0, 2 * n + 1, &8_u32.to_be_bytes())].concat()
    }),
    ("more streams than may be open", |n, addr| frame(HEADERS, END_HEADERS, 2 * n + 1, &head(addr))),
];

/// How many frames were sent before the connection ended.
async fn flood(addr: SocketAddr, say: Say) -> Option<u32> {
    const MOST: u32 = 100_000;
    let (mut read, mut write) = TcpStream::connect(addr).await.unwrap().into_split();
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    write.write_all(&begin).await.ok()?;
    let listening = tokio::spawn(async move {
        let mut heard = vec![0; 64 * 1024];
        while read.read(&mut heard).await.is_ok_and(|count| count > 0) {}
    });
    for number in 0..MOST / 100 {
        let said: Vec<u8> = (100 * number..100 * (number + 1)).flat_map(|n| say(n, addr)).collect();
        if listening.is_finished() || write.write_all(&said).await.is_err() {
            return Some(100 * number);
        }
    }
    let ended = tokio::time::timeout(Duration::from_secs(5), listening).await;
    ended.is_ok().then_some(MOST)
}

#[tokio::test]
async fn floods_of_frames_end_their_connection_and_nobody_else_notices() {
    let world = World::new("").await;
    let addr = world.gateway.addr;
    let flooding = all(FLOODS.map(|(what, say)| async move {
        let began = Instant::now();
        let frames = flood(addr, say).await;
        ensure!(frames.is_some(), "{what}: the connection is still open");
        ensure!(began.elapsed() < Duration::from_secs(10), "{what}: {:?}", began.elapsed());
        Ok(())
    }));
    let others = async {
        for number in 0..50 {
            let began = Instant::now();
            let answer = world.ask(Client::OpenAi, "openai/sim", "Reply with exactly: served", false).await;
            assert_eq!(Client::OpenAi.said(&answer, false).text, "served", "{answer:?}");
            assert!(began.elapsed() < Duration::from_secs(2), "request {number} took {:?}", began.elapsed());
        }
    };
    tokio::join!(flooding, others);
    assert_eq!(world.simulator.ledger().len(), 50, "no provider was asked for what was reset");
    let began = Instant::now();
    while world.gateway.metric("gateway_requests_in_flight", "").await > 0.0 {
        assert!(began.elapsed() < Duration::from_secs(5), "requests are still running");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
