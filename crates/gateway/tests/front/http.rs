//! HTTP itself: old and new versions, TLS, and what tries to be two requests at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use simulator::{Ending, Simulator};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::client::{ask, request};
use crate::harness::{
    Answer, Client, Connection, Gateway, Path, World, all, ensure, eventually, paths, post, providers,
};

const JSON: &str = "content-type: application/json\r\n";

fn hello(text: &str) -> String {
    Client::OpenAi.request("openai/sim", &format!("Reply with exactly: {text}"), false).to_string()
}

fn chat(addr: SocketAddr, text: &str) -> Vec<u8> {
    request(addr, "POST", Client::OpenAi.path(), JSON, hello(text).as_bytes())
}

#[tokio::test]
async fn http_1_0() {
    let world = World::new("").await;
    let addr = world.gateway.addr;
    for path in paths() {
        let body =
            path.client.request(&format!("{}/sim", path.provider.name()), "Reply with exactly: old", path.streamed);
        let (body, to) = (body.to_string(), path.client.path());
        let mut connection = Connection::open(addr).await;
        let head = format!("POST {to} HTTP/1.0\r\nhost: {addr}\r\n{JSON}content-length: {}\r\n\r\n", body.len());
        connection.send((head + &body).as_bytes()).await;
        let answer = connection.answer().await;
        let said = path.client.said(&answer, path.streamed);
        assert!(answer.status == 200 && said.text == "old" && said.done, "{path:?}: {answer:?}");
        assert_eq!(answer.header("transfer-encoding"), None, "{path:?}: HTTP/1.0 knows no chunks");
        assert_eq!(connection.rest().await, "", "{path:?}: the connection ends");
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests_also_when_they_come_at_once() {
    let world = World::new("").await;
    let addr = world.gateway.addr;
    let mut connection = Connection::open(addr).await;
    for count in 0..3 {
        connection.send(&chat(addr, &count.to_string())).await;
        assert_eq!(Client::OpenAi.said(&connection.answer().await, false).text, count.to_string());
    }
    let streamed = Client::OpenAi.request("anthropic/sim", "Reply with exactly: b", true).to_string();
    let second = request(addr, "POST", Client::OpenAi.path(), JSON, streamed.as_bytes());
    connection.send(&[chat(addr, "a"), second, chat(addr, "c")].concat()).await;
    let mut texts = Vec::new();
    for streamed in [false, true, false] {
        texts.push(Client::OpenAi.said(&connection.answer().await, streamed).text);
    }
    assert_eq!(texts, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let world = World::new("").await;
    let addr = world.gateway.addr;
    let body = hello("go");
    let mut connection = Connection::open(addr).await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {addr}\r\n{JSON}expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head.as_bytes()).await;
    assert_eq!(connection.answer().await.status, 100);
    connection.send(body.as_bytes()).await;
    assert_eq!(Client::OpenAi.said(&connection.answer().await, false).text, "go");
    // A request that is refused by its head alone need not send its body.
    let mut connection = Connection::open(addr).await;
    let refused =
        format!("POST /v1/nothing HTTP/1.1\r\nhost: {addr}\r\n{JSON}expect: 100-continue\r\ncontent-length: 9\r\n\r\n");
    connection.send(refused.as_bytes()).await;
    assert_eq!(connection.answer().await.status, 404);
}

#[tokio::test]
async fn one_request_cannot_hide_another() {
    let world = World::new("").await;
    let addr = world.gateway.addr;
    let hidden = String::from_utf8(chat(addr, "smuggled")).unwrap();
    let body = hello("honest");
    let length = body.len();
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    // Framing headers and body.
    let cases: Vec<(String, String)> = vec![
        (
            format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", 5 + hidden.len()),
            format!("0\r\n\r\n{hidden}"),
        ),
        (
            format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", 5 + hidden.len()),
            format!("0\r\n\r\n{hidden}"),
        ),
        (
            format!("content-length: {length}\r\ncontent-length: {}\r\n", length + hidden.len()),
            format!("{body}{hidden}"),
        ),
        (
            format!("content-length: {}\r\ncontent-length: {length}\r\n", length + hidden.len()),
            format!("{body}{hidden}"),
        ),
        (format!("content-length: {length}, {}\r\n", length + hidden.len()), format!("{body}{hidden}")),
        (format!("content-length: +{length}\r\n"), format!("{body}{hidden}")),
        ("content-length: -1\r\n".to_owned(), format!("{body}{hidden}")),
        ("content-length: 18446744073709551617\r\n".to_owned(), format!("{body}{hidden}")),
        ("transfer-encoding: xchunked\r\n".to_owned(), format!("{chunked}{hidden}")),
        ("transfer-encoding: chunked, identity\r\n".to_owned(), format!("{chunked}{hidden}")),
        (format!("transfer-encoding : chunked\r\ncontent-length: {length}\r\n"), format!("{chunked}{hidden}")),
        (format!("x-folded: a\r\n b\r\ncontent-length: {length}\r\n"), format!("{body}{hidden}")),
        (format!("x-nul: a\0b\r\ncontent-length: {length}\r\n"), format!("{body}{hidden}")),
        (format!("x-cr: a\rb\r\ncontent-length: {length}\r\n"), format!("{body}{hidden}")),
        ("transfer-encoding: chunked\r\n".to_owned(), format!("FFFFFFFFFFFFFFFFF\r\n{body}{hidden}")),
        ("transfer-encoding: chunked\r\n".to_owned(), format!("-5\r\n{body}{hidden}")),
        ("transfer-encoding: chunked\r\n".to_owned(), format!("{length:x}\r\n{body}XX0\r\n\r\n{hidden}")),
    ];
    let refused = cases.into_iter().map(|(headers, body)| async move {
        let mut connection = Connection::open(addr).await;
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: {addr}\r\n{JSON}{headers}\r\n");
        connection.send((head + &body).as_bytes()).await;
        let answer = connection.answer().await;
        ensure!(matches!(answer.status, 0 | 400..=499), "{headers:?}: {answer:?}");
        let rest = tokio::time::timeout(Duration::from_secs(3), connection.rest()).await;
        ensure!(rest.is_ok(), "{headers:?}: the connection stays open");
        ensure!(!rest.unwrap().contains("HTTP/1.1"), "{headers:?}: a second answer");
        Ok(())
    });
    let checked = futures_util::future::join_all(refused).await;
    let smuggled = world.asked("smuggled").len();
    let failed: Vec<String> = checked.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty() && smuggled == 0, "{smuggled} hidden requests went upstream\n{}", failed.join("\n"));
    assert!(world.asked("honest").is_empty(), "requests with two lengths went upstream");
}

#[tokio::test]
async fn of_two_lengths_the_chunks_count_and_the_connection_ends() {
    let world = World::new("").await;
    let addr = world.gateway.addr;
    let (hidden, body) = (String::from_utf8(chat(addr, "smuggled")).unwrap(), hello("honest"));
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let (length, chunks) =
        (format!("content-length: {}\r\n", chunked.len()), "transfer-encoding: chunked\r\n".to_owned());
    for headers in [length.clone() + &chunks, chunks + &length] {
        let mut connection = Connection::open(addr).await;
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: {addr}\r\n{JSON}{headers}\r\n");
        connection.send((head + &chunked + &hidden).as_bytes()).await;
        assert_eq!(Client::OpenAi.said(&connection.answer().await, false).text, "honest", "{headers:?}");
        assert_eq!(connection.rest().await, "", "{headers:?}: a second answer");
    }
    assert_eq!((world.asked("honest").len(), world.asked("smuggled").len()), (2, 0));
}

#[tokio::test]
async fn a_clients_own_request_id_comes_back_as_correlation_id() {
    let world = World::new("").await;
    for path in paths() {
        let model = format!("{}/sim", path.provider.name());
        for name in ["x-correlation-id", "x-request-id", "x-client-request-id"] {
            let headers = format!("{name}: mine-17\r\n");
            let answer = world.ask_with(path.client, &model, "hi", path.streamed, &headers).await;
            assert_eq!(answer.header("x-correlation-id"), Some("mine-17"), "{name}: {answer:?}");
            assert_ne!(answer.request_id(), "mine-17");
            assert_eq!(world.gateway.told(answer.request_id()).await["correlation_id"], "mine-17");
        }
    }
}

/// HTTP/2 over a socket that is connected already.
async fn http2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> SendRequest<Full<Bytes>> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn over_http2(scheme: &str, host: &str, path: Path, model: &str, prompt: &str) -> Request<Full<Bytes>> {
    let body = path.client.request(model, prompt, path.streamed).to_string();
    Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{host}{}", path.client.path()))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

async fn said_over_http2(
    mut sender: SendRequest<Full<Bytes>>,
    scheme: &str,
    host: &str,
    path: Path,
) -> Result<(), String> {
    let model = format!("{}/sim", path.provider.name());
    let mark = format!("{:?} {:?} {}", path.client, path.provider, path.streamed);
    let asked = over_http2(scheme, host, path, &model, &format!("Reply with exactly: {mark}"));
    let (head, body) = sender.send_request(asked).await.map_err(|error| format!("{path:?}: {error}"))?.into_parts();
    let body = body.collect().await.map_err(|error| format!("{path:?}: {error}"))?.to_bytes().to_vec();
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let answer = Answer { status: head.status.as_u16(), headers, body, complete: true };
    let said = path.client.said(&answer, path.streamed);
    ensure!(answer.status == 200 && said.text == mark && said.done, "{path:?}: {answer:?}");
    ensure!(answer.header("connection").is_none() && answer.header("transfer-encoding").is_none(), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn http_2_with_prior_knowledge() {
    let world = World::new("").await;
    let host = world.gateway.addr.to_string();
    let sender = http2(TcpStream::connect(world.gateway.addr).await.unwrap()).await;
    // All on one connection, at once.
    all(paths().map(|path| said_over_http2(sender.clone(), "http", &host, path))).await;
    let evil = over_http2("http", "evil.example", paths().next().unwrap(), "openai/sim", "hi");
    assert_eq!(sender.clone().send_request(evil).await.unwrap().status(), 403);
}

#[tokio::test]
async fn an_http_2_stream_that_is_reset_takes_its_upstream_request_with_it() {
    let world = World::new("").await;
    let host = world.gateway.addr.to_string();
    let sender = http2(TcpStream::connect(world.gateway.addr).await.unwrap()).await;
    for path in paths().filter(|path| path.streamed) {
        let model = format!("{}/fault:stall_after=12", path.provider.name());
        let mark = format!("Tell me a story for {path:?}");
        let mut sender = sender.clone();
        let response = sender.send_request(over_http2("http", &host, path, &model, &mark)).await.unwrap();
        drop(response);
        let ended = || world.asked(&mark).into_iter().find(|entry| entry.ended.is_some());
        let entry = eventually("the end of the upstream request", Duration::from_secs(2), ended).await;
        assert!(matches!(entry.ending, Ending::PeerClosed { .. }), "{path:?}: {:?}", entry.ending);
    }
}

#[tokio::test]
async fn an_http_2_stream_that_outlives_the_drain_is_ended_with_an_error() {
    let world = World::new("server: {drain_timeout_seconds: 0.3}\n").await;
    let host = world.gateway.addr.to_string();
    let sender = http2(TcpStream::connect(world.gateway.addr).await.unwrap()).await;
    let mut begun = Vec::new();
    for path in paths().filter(|path| path.streamed) {
        let model = format!("{}/fault:stall_after=12", path.provider.name());
        let asked = over_http2("http", &host, path, &model, "Tell me a long story");
        begun.push((path, sender.clone().send_request(asked).await.unwrap()));
    }
    world.gateway.signal("TERM");
    all(begun.into_iter().map(|(path, response)| async move {
        let body = response.into_body().collect().await.map_err(|error| format!("{path:?}: {error}"))?.to_bytes();
        let said = path.client.said_in_events(&String::from_utf8_lossy(&body));
        ensure!(said.error.is_some() && !said.done && !said.text.is_empty(), "{path:?}: {said:?}");
        Ok(())
    }))
    .await;
}

/// A gateway with a certificate made now, and how to trust it.
async fn with_tls() -> (Gateway, Simulator, rustls::RootCertStore) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("server.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("server.key"), made.signing_key.serialize_pem()).unwrap();
    let simulator = Simulator::start(simulator::Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let yaml = format!("{}server: {{tls: {{cert: server.pem, key: server.key}}}}\n", providers(&simulator));
    std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    (Gateway::start_in(folder, &[]).await, simulator, roots)
}

async fn shake_hands(addr: SocketAddr, roots: rustls::RootCertStore, protocols: &[&str]) -> TlsStream<TcpStream> {
    let builder = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    let mut config =
        builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let socket = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
}

#[tokio::test]
async fn tls_with_both_versions_of_http() {
    let (gateway, _simulator, roots) = with_tls().await;
    let host = format!("localhost:{}", gateway.addr.port());
    let stream = shake_hands(gateway.addr, roots.clone(), &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let sender = http2(stream).await;
    all(paths().map(|path| said_over_http2(sender.clone(), "https", &host, path))).await;

    for protocols in [&["http/1.1"][..], &[]] {
        let stream = shake_hands(gateway.addr, roots.clone(), protocols).await;
        let negotiated = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(negotiated, protocols.first().map(|name| name.as_bytes().to_vec()));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        for path in paths() {
            let mut asked =
                over_http2("https", &host, path, &format!("{}/sim", path.provider.name()), "Reply with exactly: safe");
            let value = host.parse().unwrap();
            asked.headers_mut().insert("host", value);
            *asked.uri_mut() = path.client.path().parse().unwrap();
            let response = sender.send_request(asked).await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes().to_vec();
            let answer = Answer { status, headers: vec![], body, complete: true };
            assert_eq!(path.client.said(&answer, path.streamed).text, "safe", "{path:?}: {answer:?}");
        }
    }
    // Whoever speaks plain HTTP to this port gets nothing.
    let plain = ask(gateway.addr, "GET", "/health", "", b"").await;
    assert_eq!(plain.status, 0, "{plain:?}");
}

#[tokio::test]
async fn an_answer_before_the_body_was_sent_arrives_whole() {
    let world = World::new("server: {body_limit_mib: 1}\n").await;
    let body = "x".repeat(24 * 1024 * 1024);
    for client in Client::ALL {
        let answer = post(world.gateway.addr, client.path(), "", body.as_bytes()).await;
        assert_eq!(answer.status, 413, "{client:?}: {answer:?}");
    }
}
