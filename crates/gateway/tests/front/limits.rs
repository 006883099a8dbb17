//! What is too large, too deep or not what it says is refused, and no provider hears of it.

use crate::harness::client::{ask, request};
use crate::harness::{Answer, Client, Connection, World, all, ensure, get, post};

const JSON: &str = "content-type: application/json\r\n";

fn refusal(client: Client, answer: &Answer, status: u16, kind: &str, says: &str) -> Result<(), String> {
    ensure!(answer.status == status, "{client:?}: not {status}: {answer:?}");
    let Some((told, message)) = client.error(&answer.json()) else { return Err(format!("{client:?}: {answer:?}")) };
    ensure!(told == kind, "{client:?}: not {kind}: {answer:?}");
    ensure!(message.contains(says), "{client:?}: {says:?} is not in {message:?}");
    ensure!(answer.header("x-request-id").is_some(), "{client:?}: {answer:?}");
    Ok(())
}

fn invalid(client: Client) -> &'static str {
    if client == Client::Native { "invalid_request" } else { "invalid_request_error" }
}

#[tokio::test]
async fn bodies_over_the_limit() {
    let world = World::new("server: {body_limit_mib: 1}\n").await;
    let addr = world.gateway.addr;
    for client in Client::ALL {
        let kind = match client {
            Client::Native => "payload_too_large",
            Client::OpenAi => "invalid_request_error",
            Client::Anthropic => "request_too_large",
        };
        let large = client.request("openai/sim", &"x".repeat(1024 * 1024), false).to_string();
        let announced = post(addr, client.path(), "", large.as_bytes()).await;
        refusal(client, &announced, 413, kind, "1 MiB").unwrap();
        // The connection ends, since nobody reads the rest; a client that keeps its connections has to know.
        assert_eq!(announced.header("connection"), Some("close"), "{announced:?}");

        let mut connection = Connection::open(addr).await;
        let head =
            format!("POST {} HTTP/1.1\r\nhost: {addr}\r\n{JSON}transfer-encoding: chunked\r\n\r\n", client.path());
        connection.send(head.as_bytes()).await;
        for piece in large.as_bytes().chunks(16 * 1024) {
            connection.send(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
        }
        refusal(client, &connection.answer().await, 413, kind, "1 MiB").unwrap();

        let announced_only = format!(
            "POST {} HTTP/1.1\r\nhost: {addr}\r\n{JSON}content-length: 99999999999\r\nexpect: 100-continue\r\n\r\n",
            client.path()
        );
        let mut connection = Connection::open(addr).await;
        connection.send(announced_only.as_bytes()).await;
        refusal(client, &connection.answer().await, 413, kind, "1 MiB").unwrap();
    }
    assert!(world.simulator.ledger().is_empty());
    let fits = Client::OpenAi.request("openai/sim", &"x".repeat(1000 * 1024), false).to_string();
    assert_eq!(post(addr, Client::OpenAi.path(), "", fits.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be() {
    let world = World::new("").await;
    let nested = |depth: usize| {
        format!(r#"{{"model":"openai/sim","x":{}{},"messages":[]}}"#, "[".repeat(depth), "]".repeat(depth)).into_bytes()
    };
    let text = |body: &str| body.as_bytes().to_vec();
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("too deep", "128", nested(129)),
        ("model twice", "model", text(r#"{"model":"openai/sim","messages":[],"model":"anthropic/sim"}"#)),
        ("stream twice", "stream", text(r#"{"model":"openai/sim","stream":false,"messages":[],"stream":true}"#)),
        ("model twice, escaped", "model", text(r#"{"model":"openai/sim","messages":[],"mod\u0065l":"anthropic/sim"}"#)),
        ("lone surrogate", "", text(r#"{"model":"openai/sim\ud800","messages":[]}"#)),
        (
            "invalid UTF-8",
            "",
            [br#"{"model":"openai/sim","messages":[{"role":"user","content":""#, &b"\xff\xfe\"}]}"[..]].concat(),
        ),
        ("no JSON", "JSON", text("model=openai/sim")),
        ("cut off", "JSON", text(r#"{"model":"openai/sim","messages":[{"role":"user""#)),
        ("two values", "JSON", text(r#"{"model":"openai/sim","messages":[]} {}"#)),
        ("a list", "object", text("[]")),
        ("empty", "", text("")),
        ("a number as model", "model", text(r#"{"model":5,"messages":[{"role":"user","content":"a"}]}"#)),
        ("a text as stream", "stream", text(r#"{"model":"openai/sim","stream":"yes","messages":[]}"#)),
    ];
    let all_cases = Client::ALL.into_iter().flat_map(|client| cases.iter().map(move |case| (client, case)));
    let refused = all_cases.map(|(client, (name, says, body))| {
        let addr = world.gateway.addr;
        async move {
            let answer = post(addr, client.path(), "", body).await;
            refusal(client, &answer, 400, invalid(client), says).map_err(|error| format!("{name}: {error}"))
        }
    });
    all(refused).await;
    assert!(world.simulator.ledger().is_empty());
}

#[tokio::test]
async fn bodies_of_other_types() {
    let world = World::new("").await;
    let cases = [
        ("content-type: text/plain\r\n", "content-type"),
        ("content-type: application/x-www-form-urlencoded\r\n", "content-type"),
        ("content-type: multipart/form-data; boundary=x\r\n", "content-type"),
        ("content-type: application/json\r\ncontent-encoding: gzip\r\n", "content-encoding"),
        ("content-type: application/json\r\ncontent-encoding: br\r\n", "content-encoding"),
    ];
    for client in Client::ALL {
        for (headers, says) in cases {
            let body = client.request("openai/sim", "hi", false).to_string();
            let answer = ask(world.gateway.addr, "POST", client.path(), headers, body.as_bytes()).await;
            if client == Client::OpenAi {
                assert_eq!(answer.json()["error"]["param"], says, "{answer:?}");
            }
            refusal(client, &answer, 400, invalid(client), "").unwrap();
            assert!(answer.text().contains(says), "{answer:?}");
        }
    }
    assert!(world.simulator.ledger().is_empty());
    for fine in [
        "",
        "content-type: application/json; charset=utf-8\r\n",
        "content-type: APPLICATION/JSON\r\ncontent-encoding: identity\r\n",
    ] {
        let body = Client::OpenAi.request("openai/sim", "hi", false).to_string();
        let answer = ask(world.gateway.addr, "POST", Client::OpenAi.path(), fine, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{fine}: {answer:?}");
    }
}

#[tokio::test]
async fn headers_over_the_limits() {
    let world = World::new("").await;
    for client in Client::ALL {
        let body = client.request("openai/sim", "hi", false).to_string();
        let long = format!("x-long: {}\r\n", "y".repeat(17 * 1024));
        let answer = post(world.gateway.addr, client.path(), &long, body.as_bytes()).await;
        refusal(client, &answer, 400, invalid(client), "headers").unwrap();
        for count in [99, 150] {
            let many: String = (0..count).map(|number| format!("x-{number}: y\r\n")).collect();
            let answer = post(world.gateway.addr, client.path(), &many, body.as_bytes()).await;
            assert!(matches!(answer.status, 400 | 431), "{count} more: {answer:?}");
        }
        let endless = format!("x-long: {}\r\n", "y".repeat(300 * 1024));
        let answer = post(world.gateway.addr, client.path(), &endless, body.as_bytes()).await;
        assert!(matches!(answer.status, 0 | 400 | 431), "{answer:?}");
    }
    assert!(world.simulator.ledger().is_empty());
    let many: String = (0..90).map(|number| format!("x-{number}: y\r\n")).collect();
    let body = Client::OpenAi.request("openai/sim", "hi", false).to_string();
    assert_eq!(post(world.gateway.addr, Client::OpenAi.path(), &many, body.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn web_pages_of_other_hosts() {
    let world = World::new("").await;
    let addr = world.gateway.addr;
    let body = Client::OpenAi.request("openai/sim", "hi", false).to_string();
    let raw = |headers: &str| {
        format!("POST /v1/chat/completions HTTP/1.1\r\n{headers}{JSON}content-length: {}\r\n\r\n{body}", body.len())
    };
    let port = addr.port();
    for headers in [
        "host: evil.example\r\n".to_owned(),
        format!("host: evil.example:{port}\r\n"),
        format!("host: localhost.evil.example:{port}\r\n"),
        format!("host: 127.0.0.1@evil.example:{port}\r\n"),
        "host: \r\n".to_owned(),
        String::new(),
        format!("host: {addr}\r\norigin: https://evil.example\r\n"),
        format!("host: {addr}\r\norigin: null\r\n"),
        format!("host: {addr}\r\norigin: http://127.0.0.1.evil.example\r\n"),
    ] {
        let mut connection = Connection::open(addr).await;
        connection.send(raw(&headers).as_bytes()).await;
        let answer = connection.answer().await;
        assert!(matches!(answer.status, 400 | 403), "{headers:?}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
    }
    assert!(world.simulator.ledger().is_empty());
    for headers in [
        format!("host: localhost:{port}\r\norigin: http://localhost:3000\r\n"),
        "host: [::1]\r\n".to_owned(),
        "host: 127.0.0.1\r\n".to_owned(),
    ] {
        let mut connection = Connection::open(addr).await;
        connection.send(raw(&headers).as_bytes()).await;
        assert_eq!(connection.answer().await.status, 200, "{headers:?}");
    }
    let answer = ask(addr, "GET", "/v1/providers", "origin: https://evil.example\r\n", b"").await;
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist() {
    let world = World::new("").await;
    let addr = world.gateway.addr;
    for (path, client) in [
        ("/v1/nothing", Client::Native),
        ("/nothing", Client::Native),
        ("/openai/v1/nothing", Client::OpenAi),
        ("/v1/chat/nothing", Client::OpenAi),
        ("/anthropic/v1/nothing", Client::Anthropic),
        ("/v1/messages/nothing", Client::Anthropic),
    ] {
        for method in ["GET", "POST"] {
            let answer = ask(addr, method, path, JSON, b"{}").await;
            let kind = match client {
                Client::Native => "not_found",
                Client::OpenAi => "invalid_request_error",
                Client::Anthropic => "not_found_error",
            };
            refusal(client, &answer, 404, kind, path).unwrap();
        }
    }
    for (method, path, allow, client) in [
        ("GET", "/v1/completions", "POST", Client::Native),
        ("PUT", "/v1/chat/completions", "POST", Client::OpenAi),
        ("DELETE", "/v1/messages", "POST", Client::Anthropic),
        ("POST", "/health", "GET", Client::Native),
        ("POST", "/v1/models", "GET", Client::OpenAi),
        ("OPTIONS", "/v1/chat/completions", "POST", Client::OpenAi),
    ] {
        let answer = ask(addr, method, path, JSON, b"{}").await;
        assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}: {answer:?}");
        assert!(client.error(&answer.json()).is_some(), "{method} {path}: {answer:?}");
    }
    for path in [
        "/v1/../v1/chat/completions",
        "//v1/chat/completions",
        "/v1/chat/completions/",
        "/v1/chat%2Fcompletions",
        "/V1/chat/completions",
    ] {
        let body = Client::OpenAi.request("openai/sim", "hi", false).to_string();
        assert_eq!(post(addr, path, "", body.as_bytes()).await.status, 404, "{path}");
    }
    assert!(world.simulator.ledger().is_empty());
    let answer = get(addr, "/v1/models?beta=true").await;
    assert_eq!(answer.status, 200, "queries are ignored: {answer:?}");
    let body = Client::Anthropic.request("anthropic/sim", "hi", false).to_string();
    assert_eq!(post(addr, "/v1/messages?beta=true", "", body.as_bytes()).await.status, 200);
    for path in ["/openai/v1/chat/completions", "/anthropic/v1/messages"] {
        let answer = post(addr, path, "", body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    let head = request(addr, "HEAD", "/health", "", b"");
    let mut connection = Connection::open(addr).await;
    connection.send(&head).await;
    let answer = connection.answer_to("HEAD").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    connection.send(&request(addr, "GET", "/health/live", "", b"")).await;
    assert_eq!(connection.answer_to("GET").await.status, 200, "the connection goes on after HEAD");
}
