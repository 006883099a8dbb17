//! The three loads against a small server in this process.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::*;

const BODY: &[u8] = br#"{"model":"m"}"#;

/// What the server does with the request of this number on one connection.
#[derive(Clone, Copy)]
enum Behaviour {
    /// Answers `{"ok":true}` at once.
    Answer,
    /// The same, but request number 5 takes this long.
    StallOnce(Duration),
    /// This many texts with a pause before each, between two frames, properly ended or not.
    Stream {
        texts: usize,
        pause: Duration,
        end: bool,
    },
    Refuse,
}

async fn serve(behaviour: Behaviour) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, behaviour));
        }
    });
    address
}

async fn converse(mut stream: TcpStream, behaviour: Behaviour) -> std::io::Result<()> {
    let mut buffer = vec![0; 4096];
    let mut pending = Vec::new();
    for number in 0.. {
        while !pending.ends_with(BODY) {
            let length = stream.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            pending.extend_from_slice(&buffer[..length]);
        }
        pending.clear();
        match behaviour {
            Behaviour::Answer => stream.write_all(answer(200).as_bytes()).await?,
            Behaviour::Refuse => stream.write_all(answer(503).as_bytes()).await?,
            Behaviour::StallOnce(stall) => {
                if number == 5 {
                    sleep(stall).await;
                }
                stream.write_all(answer(200).as_bytes()).await?;
            }
            Behaviour::Stream { texts, pause, end } => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                event(&mut stream, r#"{"delta":{"role":"assistant","content":""}}"#).await?;
                for _ in 0..texts {
                    sleep(pause).await;
                    event(&mut stream, r#"{"delta":{"content":"word"}}"#).await?;
                }
                event(&mut stream, if end { "[DONE]" } else { "{}" }).await?;
                stream.write_all(b"0\r\n\r\n").await?;
            }
        }
    }
    Ok(())
}

fn answer(status: u16) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: 11\r\n\r\n{{\"ok\":true}}")
}

async fn event(stream: &mut TcpStream, data: &str) -> std::io::Result<()> {
    let event = format!("data: {data}\n\n");
    stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await
}

fn post(address: SocketAddr) -> Request {
    Request::post(address, "/v1/chat/completions", &[], BODY)
}

#[tokio::test]
async fn a_closed_loop_stops_at_its_number_of_requests() {
    let plan = closed::Plan { connections: 4, max_requests: 100, max_time: Duration::from_secs(20) };
    let report = closed::run(post(serve(Behaviour::Answer).await), closed::Turns::default(), plan).await.unwrap();
    assert_eq!((report.requests, report.answer_bytes), (100, 11.0));
    assert!((report.per_second - 100.0 / report.seconds).abs() < 1e-6);
}

#[tokio::test]
async fn a_closed_loop_stops_at_its_time() {
    let plan = closed::Plan { connections: 2, max_requests: u64::MAX, max_time: Duration::from_millis(100) };
    let report = closed::run(post(serve(Behaviour::Answer).await), closed::Turns::default(), plan).await.unwrap();
    assert!(report.requests > 0 && report.seconds >= 0.1);
}

#[tokio::test]
async fn a_refused_request_ends_every_load() {
    let address = serve(Behaviour::Refuse).await;
    let plan = closed::Plan { connections: 2, max_requests: 10, max_time: Duration::from_secs(20) };
    let failure = closed::run(post(address), closed::Turns::default(), plan).await.unwrap_err();
    assert_eq!(failure.to_string(), "answered 503: {\"ok\":true}");

    let plan = open::Plan { rate: 100.0, requests: 10, connections: 2 };
    let opened = tokio::task::spawn_blocking(move || open::run(&post(address), plan)).await.unwrap();
    assert!(matches!(opened, Err(Failure::Status { status: 503, .. })));

    let plan = streams::Plan { streams: 2, repeat: 1, ramp: Duration::ZERO, max_time: Duration::from_secs(20) };
    assert!(matches!(streams::run(post(address), plan).await, Err(Failure::Status { status: 503, .. })));
}

/// A generator that counts from the moment it sends would see one slow request here. At 100 requests a second a stall of
/// 300 ms delays some thirty.
#[tokio::test(flavor = "multi_thread")]
async fn a_stall_shows_in_every_request_it_delayed() {
    let address = serve(Behaviour::StallOnce(Duration::from_millis(300))).await;
    let plan = open::Plan { rate: 100.0, requests: 40, connections: 1 };
    let report = tokio::task::spawn_blocking(move || open::run(&post(address), plan)).await.unwrap().unwrap();
    assert_eq!((report.requests, report.latency.samples), (40, 40));
    assert!(report.latency.max_us >= 300_000.0, "{report:?}");
    // 300, 290, 280 … ms for the delayed ones: their share puts even the median far above an unhindered answer.
    assert!(report.latency.p50_us >= 80_000.0, "{report:?}");
}

#[tokio::test]
async fn streams_are_timed_from_text_to_text() {
    let pause = Duration::from_millis(20);
    let address = serve(Behaviour::Stream { texts: 5, pause, end: true }).await;
    let plan =
        streams::Plan { streams: 3, repeat: 2, ramp: Duration::from_millis(20), max_time: Duration::from_secs(20) };
    let report = streams::run(post(address), plan).await.unwrap();
    assert_eq!((report.finished, report.begun, report.chunks), (6, 6, 30));
    assert_eq!((report.first.samples, report.gap.samples), (6, 24));
    assert!(report.first.p50_us >= 20_000.0 && report.gap.p50_us >= 15_000.0, "{report:?}");
}

#[tokio::test]
async fn a_stream_without_its_end_is_a_failure() {
    let address = serve(Behaviour::Stream { texts: 2, pause: Duration::ZERO, end: false }).await;
    let plan = streams::Plan { streams: 1, repeat: 1, ramp: Duration::ZERO, max_time: Duration::from_secs(20) };
    assert!(matches!(streams::run(post(address), plan).await, Err(Failure::Unfinished { chunks: 2 })));
}

#[tokio::test]
async fn streams_are_abandoned_when_their_time_is_over() {
    let address = serve(Behaviour::Stream { texts: 1000, pause: Duration::from_millis(20), end: true }).await;
    let plan = streams::Plan { streams: 4, repeat: 1, ramp: Duration::ZERO, max_time: Duration::from_millis(200) };
    let report = streams::run(post(address), plan).await.unwrap();
    assert_eq!((report.finished, report.begun), (0, 4));
    assert!(report.chunks >= 4);
}
