//! Clients that do not read what they have asked for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::client::request;
use crate::harness::upstream::Upstream;
use crate::harness::{Client, Connection, Gateway, eventually, post};

const JSON: &str = "content-type: application/json\r\n";

/// A stream without end.
async fn talker() -> Upstream {
    let chunk =
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(4000));
    Upstream::endless("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", &chunk).await
}

/// A stream that says one thing and then nothing.
async fn thinker() -> Upstream {
    let chunk = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"well\"}}]}\n\n";
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\n{chunk}");
    Upstream::endless(&head, "").await
}

/// A connection that takes next to nothing before it must be read.
async fn narrow(addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(addr).await.unwrap()
}

fn provider(name: &str, upstream: &Upstream) -> String {
    format!("  {name}: {{dialect: openai_chat, base_url: 'http://{}', api_key: sk-x}}\n", upstream.addr)
}

async fn given_up(gateway: &Gateway, reason: &str) -> f64 {
    gateway.metric("gateway_stalled_clients_total", reason).await
}

async fn until_given_up(gateway: &Gateway, reason: &str, count: f64) {
    let began = Instant::now();
    while given_up(gateway, reason).await < count {
        assert!(began.elapsed() < Duration::from_secs(10), "not given up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_given_up_on_either_protocol_and_one_that_waits_is_not() {
    let (talker, thinker) = (talker().await, thinker().await);
    let (talks, thinks) = (provider("talker", &talker), provider("thinker", &thinker));
    let gateway = Gateway::start(&format!("timeouts: {{client_stall_seconds: 1}}\nproviders:\n{talks}{thinks}")).await;
    let addr = gateway.addr;

    // On HTTP/2 the connection can be written to all the time: it is the window of the stream that stays shut.
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(3000)
        .handshake::<_, Full<Bytes>>(TokioIo::new(TcpStream::connect(addr).await.unwrap()))
        .await
        .unwrap();
    tokio::spawn(connection);
    let ask = async |model: &str| {
        let body = Client::OpenAi.request(model, "hi", true).to_string();
        let asked = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{addr}{}", Client::OpenAi.path()))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        sender.clone().send_request(asked).await.unwrap().into_body()
    };
    let (mut waits, mut shut) = (ask("thinker/m").await, ask("talker/m").await);
    assert!(waits.frame().await.unwrap().is_ok());
    until_given_up(&gateway, "time", 1.0).await;
    let ended = loop {
        match shut.frame().await {
            Some(Ok(_)) => {}
            end => break end,
        }
    };
    assert!(ended.is_some_and(|frame| frame.is_err()), "the stream was reset, not ended");
    let nothing = tokio::time::timeout(Duration::from_millis(300), waits.frame()).await;
    assert!(nothing.is_err(), "a stream that waits for its provider goes on: {nothing:?}");

    let body = Client::OpenAi.request("talker/m", "hi", true).to_string();
    let mut connection = Connection::over(narrow(addr).await);
    connection.send(&request(addr, "POST", Client::OpenAi.path(), JSON, body.as_bytes())).await;
    connection.wait_for("xxxx").await;
    until_given_up(&gateway, "time", 2.0).await;
    let gone = || {
        let lines = gateway.events("request");
        (lines.iter().filter(|line| line["outcome"] == "client_gone").count() == 2).then_some(())
    };
    eventually("both requests told", Duration::from_secs(5), gone).await;
    drop(waits);
}

/// A whole answer of `length` characters.
async fn novelist(length: usize) -> Upstream {
    let text = "x".repeat(length);
    let body = format!(
        "{{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"message\":\
         {{\"role\":\"assistant\",\"content\":\"{text}\"}},\"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":1,\
         \"completion_tokens\":1,\"total_tokens\":2}}}}"
    );
    Upstream::saying("HTTP/1.1 200 OK\r\ncontent-type: application/json", body.as_bytes()).await
}

#[tokio::test]
async fn who_reads_nothing_is_given_up_before_others_are_refused_for_want_of_its_memory() {
    let novelist = novelist(6_000_000).await;
    let yaml = format!(
        "server: {{memory_limit_mib: 16}}\ntimeouts: {{client_stall_seconds: 30}}\nproviders:\n{}",
        provider("p", &novelist)
    );
    let gateway = Gateway::start(&yaml).await;
    let addr = gateway.addr;
    let held = async || gateway.metric("gateway_held_memory_bytes", "").await;
    let asked = Client::OpenAi.request("p/m", "hi", false).to_string();
    let mut idle = Connection::over(narrow(addr).await);
    idle.send(&request(addr, "POST", Client::OpenAi.path(), JSON, asked.as_bytes())).await;
    idle.wait_for("xxxx").await;
    assert!(held().await > 12e6, "what is not read is held, and on the account: {}", held().await);

    // Not yet known as one that does not read: what is new is refused.
    let large = Client::OpenAi.request("p/m", &"y".repeat(1_000_000), false).to_string();
    let answer = post(addr, Client::OpenAi.path(), "", large.as_bytes()).await;
    assert_eq!(answer.status, 503, "{} {:?}", answer.status, answer.headers);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    // Not read to its end either, and given up in its turn.
    let mut next = Connection::over(narrow(addr).await);
    next.send(&request(addr, "POST", Client::OpenAi.path(), JSON, large.as_bytes())).await;
    next.wait_for("HTTP/1.1 200").await;
    assert_eq!(given_up(&gateway, "memory").await, 1.0);
    assert!(!idle.answer().await.complete, "it was reset");
    drop(next);
    let began = Instant::now();
    while held().await > 0.0 {
        assert!(began.elapsed() < Duration::from_secs(5), "{} bytes stay charged", held().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
