//! Providers, or those who stand in their place, that break the rules below the wire formats: TLS, TCP, HTTP itself.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use simulator::{Config, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::harness::upstream::Upstream;
use crate::harness::{Client, Gateway, OPENAI_KEY, all, ensure, post, providers};

/// What an imposter saw: everything that came, decrypted where there was a handshake.
type Seen = Arc<Mutex<Vec<u8>>>;

/// Says `answer` to whoever has said something, and keeps what it got.
async fn imposter(answer: &'static [u8], closes: bool) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, seen) = (listener.local_addr().unwrap(), Seen::default());
    let kept = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let seen = kept.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                let mut answered = false;
                while let Ok(count @ 1..) = socket.read(&mut bytes).await {
                    seen.lock().unwrap().extend_from_slice(&bytes[..count]);
                    if !std::mem::replace(&mut answered, true) && socket.write_all(answer).await.is_err() {
                        return;
                    }
                    if closes {
                        return;
                    }
                }
            });
        }
    });
    (addr, seen)
}

/// Shakes hands with a certificate that nobody has signed.
async fn self_signed(name: &str) -> (SocketAddr, Seen) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, seen) = (listener.local_addr().unwrap(), Seen::default());
    let kept = seen.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), kept.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    seen.lock().unwrap().extend_from_slice(&bytes[..count]);
                }
            });
        }
    });
    (addr, seen)
}

/// A listener whose queue is full, so that connecting to it takes for ever. The connections fill the queue while they live.
async fn black_hole() -> (SocketAddr, Vec<TcpStream>, socket2::Socket) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(addr)).await {
        queue.push(stream);
        assert!(queue.len() < 50, "the queue has no end");
    }
    (addr, queue, socket)
}

/// A ServerHello of TLS 1.0 with a cipher of that time.
const TLS_1_0: &[u8] = b"\x16\x03\x01\x00\x2a\x02\x00\x00\x26\x03\x01\
    0123456789abcdef0123456789abcdef\x00\x00\x2f\x00";

#[tokio::test]
async fn nobody_gets_a_request_who_cannot_prove_who_he_is() {
    let (self_signed_here, other_name) = (self_signed("127.0.0.1").await, self_signed("elsewhere.example").await);
    let imposters = [
        ("self-signed", self_signed_here),
        ("another name", other_name),
        ("an old version", imposter(TLS_1_0, false).await),
        ("an alert", imposter(b"\x15\x03\x01\x00\x02\x02\x46", true).await),
        ("half a handshake", imposter(b"\x16\x03\x03", true).await),
        ("no TLS at all", imposter(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", true).await),
        ("silence", imposter(b"", false).await),
    ];
    let simulator = Simulator::start(Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut yaml = "timeouts: {connect_seconds: 0.4}\n".to_owned() + &providers(&simulator);
    let mut aliases = "aliases:\n".to_owned();
    for (index, (_, (addr, _))) in imposters.iter().enumerate() {
        let name = format!("i{index}");
        let row = format!("  {name}: {{dialect: openai_chat, api_key: {OPENAI_KEY}, base_url: 'https://{addr}/v1'}}\n");
        yaml = yaml.replacen("providers:\n", &format!("providers:\n{row}"), 1);
        aliases += &format!("  a{index}: {{targets: [{name}/m, openai/sim]}}\n");
    }
    let gateway = Gateway::start(&(yaml + &aliases)).await;
    let gateway = &gateway;
    all(imposters.iter().enumerate().map(|(index, (what, (_, seen)))| async move {
        for client in Client::ALL {
            let body = client.request(&format!("a{index}"), "Reply with exactly: pong", false).to_string();
            let answer = post(gateway.addr, client.path(), "", body.as_bytes()).await;
            ensure!(client.said(&answer, false).text == "pong", "{what}: {answer:?}");
            let line = gateway.told(answer.request_id()).await;
            // Who has failed often enough is not asked first any more.
            let avoided = client != Client::ALL[0] && line["attempts"] == 1;
            ensure!(avoided || line["tried"][0]["failure"] == "transport", "{what}: {line}");
            let began = Instant::now();
            let body = client.request(&format!("i{index}/m"), "hello", false).to_string();
            let answer = post(gateway.addr, client.path(), "", body.as_bytes()).await;
            // Silence is waited for twice.
            ensure!(began.elapsed() < Duration::from_secs(8), "{what}: {:?}", began.elapsed());
            ensure!(answer.status >= 502, "{what}: {answer:?}");
            ensure!(client.error(&answer.json()).is_some(), "{what}: {answer:?}");
        }
        let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
        ensure!(!seen.contains(OPENAI_KEY) && !seen.contains("POST") && !seen.contains("hello"), "{what}: {seen}");
        Ok(())
    }))
    .await;
}

#[tokio::test]
async fn a_provider_that_takes_no_connections_costs_the_time_for_connecting() {
    let (addr, _queue, _socket) = black_hole().await;
    let simulator = Simulator::start(Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let hole = format!("providers:\n  hole: {{dialect: openai_chat, api_key: k, base_url: 'http://{addr}/v1'}}\n");
    let yaml = providers(&simulator).replacen("providers:\n", &hole, 1)
        + "timeouts: {connect_seconds: 0.5}\naliases: {both: {targets: [hole/m, openai/sim]}}\n";
    let gateway = Gateway::start(&yaml).await;
    let began = Instant::now();
    let body = Client::OpenAi.request("both", "Reply with exactly: pong", true).to_string();
    let answer = post(gateway.addr, Client::OpenAi.path(), "", body.as_bytes()).await;
    assert_eq!(Client::OpenAi.said(&answer, true).text, "pong", "{answer:?}");
    let took = began.elapsed();
    assert!(took > Duration::from_millis(450) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(gateway.told(answer.request_id()).await["tried"][0]["failure"], "transport");
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    let sink = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (target, visits) = (sink.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = visits.clone();
    tokio::spawn(async move {
        while sink.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    for status in [301, 302, 303, 307, 308] {
        let head = format!("HTTP/1.1 {status} Moved\r\nlocation: http://{target}/v1/chat/completions");
        let upstream = Upstream::saying(&head, b"").await;
        let row = format!("{{dialect: openai_chat, api_key: {OPENAI_KEY}, base_url: 'http://{}'}}", upstream.addr);
        let gateway = Gateway::start(&format!("providers: {{p: {row}}}\nretry: {{max_attempts: 1}}\n")).await;
        for client in Client::ALL {
            let body = client.request("p/m", "hello", false).to_string();
            let answer = post(gateway.addr, client.path(), "", body.as_bytes()).await;
            assert_eq!(answer.status, 502, "{status}: {answer:?}");
            assert!(answer.header("location").is_none(), "{status}: {answer:?}");
        }
    }
    assert_eq!(visits.load(Ordering::Relaxed), 0);
}

/// Heads that no honest server sends; `x-evil` must not pass, nor a line that a value smuggles in.
const HEADS: &[(&str, &str)] = &[
    ("two lengths", "content-length: 2\r\nx-evil: 1\r\ncontent-length: 3"),
    ("a negative length", "x-evil: 1\r\ncontent-length: -1"),
    ("a length and chunks", "transfer-encoding: chunked\r\nx-evil: 1"),
    ("chunks that are none", "transfer-encoding: gzip, chunked\r\nx-evil: 1"),
    ("a return in a value", "x-evil: 1\rx-evil: 2"),
    ("a zero in a value", "x-evil: a\0b"),
    ("a folded line", "x-evil: a\r\n b: c"),
    ("a name with a space", "x-evil : a"),
    ("no name", ": a"),
    ("an upgrade", "connection: upgrade\r\nupgrade: websocket\r\nx-evil: 1"),
    ("cookies", "set-cookie: session=evil\r\nx-evil: 1"),
    ("an encoding", "content-encoding: gzip\r\nx-evil: 1"),
];

#[tokio::test]
async fn heads_that_break_the_rules_are_not_passed_on() {
    let mut huge = vec![("a huge value".to_owned(), format!("x-evil: {}", "e".repeat(1024 * 1024)))];
    huge.push(("ten thousand lines".to_owned(), "x-evil: 1\r\n".repeat(10_000).trim_end().to_owned()));
    let cases = HEADS.iter().map(|(what, lines)| ((*what).to_owned(), (*lines).to_owned())).chain(huge);
    let body =
        br#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;
    all(cases.map(|(what, lines)| async move {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{lines}");
        let upstream = Upstream::saying(&head, body).await;
        let row = format!("{{dialect: openai_chat, api_key: k, base_url: 'http://{}'}}", upstream.addr);
        let gateway = Gateway::start(&format!(
            "providers: {{p: {row}}}\nretry: {{max_attempts: 1}}\ntimeouts: {{request_seconds: 3}}\n"
        ))
        .await;
        for client in Client::ALL {
            let request = client.request("p/m", "hello", false).to_string();
            let answer = post(gateway.addr, client.path(), "", request.as_bytes()).await;
            let good = answer.status == 200 && client.said(&answer, false).text == "hi";
            let honest = answer.status >= 500 && client.error(&answer.json()).is_some();
            ensure!(good || honest, "{what}: {answer:?}");
            ensure!(answer.complete, "{what}: {answer:?}");
            for name in ["x-evil", "set-cookie", "upgrade", "content-encoding", "b"] {
                ensure!(answer.header(name).is_none(), "{what} passed {name}: {answer:?}");
            }
            let line = gateway.told(answer.request_id()).await;
            ensure!(line["outcome"] == if good { "ok" } else { "upstream_error" }, "{what}: {line}");
        }
        Ok(())
    }))
    .await;
}

#[tokio::test]
async fn a_provider_that_lies_about_its_usage_neither_breaks_nor_bills_nonsense() {
    let lies = [
        "null",
        "{}",
        "7",
        r#"{"prompt_tokens":0,"completion_tokens":0}"#,
        r#"{"prompt_tokens":-5,"completion_tokens":-5}"#,
        r#"{"prompt_tokens":9223372036854775808,"completion_tokens":18446744073709551616}"#,
        r#"{"prompt_tokens":1e300,"completion_tokens":"many"}"#,
        r#"{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":99}}"#,
        r#"{"prompt_tokens":18446744073709551615,"completion_tokens":18446744073709551615}"#,
    ];
    all(lies.map(|usage| async move {
        let body = format!(
            r#"{{"id":"x","choices":[{{"index":0,"message":{{"role":"assistant","content":"hi"}},"finish_reason":"stop"}}],"usage":{usage}}}"#
        );
        let upstream = Upstream::saying("HTTP/1.1 200 OK\r\ncontent-type: application/json", body.as_bytes()).await;
        let row = format!(
            "{{dialect: openai_chat, api_key: k, base_url: 'http://{}', price: {{input: 1, output: 2}}}}",
            upstream.addr
        );
        let gateway = Gateway::start(&format!("providers: {{p: {row}}}\nretry: {{max_attempts: 1}}\n")).await;
        for client in Client::ALL {
            let request = client.request("p/m", "hello", false).to_string();
            let answer = post(gateway.addr, client.path(), "", request.as_bytes()).await;
            let said = answer.status == 200 && client.said(&answer, false).text == "hi";
            ensure!(said || client.error(&answer.json()).is_some(), "{client:?} {usage}: {answer:?}");
            let line = gateway.told(answer.request_id()).await;
            let cost = &line["cost_usd"];
            ensure!(*cost == Value::Null || cost.as_f64().is_some_and(|usd| usd >= 0.0), "{client:?} {usage}: {line}");
            ensure!(line["outcome"] == if said { "ok" } else { "upstream_error" }, "{client:?} {usage}: {line}");
        }
        ensure!(!gateway.output().contains("panicked"), "{usage}: {}", gateway.output());
        Ok(())
    }))
    .await;
}
