//! Where both sides speak one dialect, bytes pass as they are: only the model changes.

use crate::harness::upstream::Upstream;
use crate::harness::{Client, Gateway, World, post};

const ODD_REQUESTS: [(Client, &str); 2] = [
    (
        Client::OpenAi,
        "\n{ \"x_unknown\" : {\"deep\":[1.10,-0,1E+2,\"\\u0041\\/\"]},\t\"messages\":[{\"role\":\"user\",\
         \"content\":\"caf\\u00e9 \\ud83d\\ude00 \u{e9} \\\"model\\\": \\\"no\\\"\"}], \"model\"  :\t\"MODEL\" ,\
         \"temperature\": 1.0e0,\"seed\":18446744073709551616,\"metadata\":{\"model\":\"not this\"}} \r\n",
    ),
    (
        Client::Anthropic,
        "{\"model\":\"MODEL\",\"max_tokens\":1024 ,\r\n\"messages\":[ {\"content\":[{\"text\":\"\\u0068i\",\"type\":\"text\",\
         \"x_new\":null}],\"role\":\"user\"}],\"temperature\":0.50,\"x_beta\":[[],{}],\"top_k\":1}",
    ),
];

const ODD_ANSWERS: [(Client, &str); 2] = [
    (
        Client::OpenAi,
        "\n { \"choices\":[ {\"message\":{\"content\":\"\\u0068i \\/\",\"role\":\"assistant\",\"x\":1.10},\"index\":0,\
         \"finish_reason\":\"stop\"}],\"model\":\"other-name\",\"id\":\"c1\",\"usage\":{\"prompt_tokens\":3,\
         \"completion_tokens\":1,\"total_tokens\":4,\"x\":1E2},\"object\":\"chat.completion\",\"created\":1}\n\n",
    ),
    (
        Client::Anthropic,
        "{\"type\":\"message\" ,\"id\":\"m1\",\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"\\u0068i\",\
         \"citations\":null},{\"type\":\"x_new_block\",\"data\":1.50}],\"model\":\"other\",\"stop_reason\":\"end_turn\",\
         \"stop_sequence\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1,\"x\":[]}}\t",
    ),
];

const ODD_STREAMS: [(Client, &str); 2] = [
    (
        Client::OpenAi,
        ": hello\n\ndata:{\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\r\n\r\n\
         id: 7\r\nretry: 100\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"\\u0068i\",\"x\":1.10},\"index\":0}]}\n\n\
         event: x_new\ndata: {\"x\": [1E2]}\n\n: still here\n\n\
         data: {\"choices\":[{\"delta\":{},\"index\":0,\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    ),
    (
        Client::Anthropic,
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"type\":\"message\",\"role\":\
         \"assistant\",\"content\":[],\"model\":\"x\",\"stop_reason\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n\
         event:ping\r\ndata:{\"type\":\"ping\",\"x\":1.0}\r\n\r\n\
         event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
         event: content_block_delta\ndata: {\"type\": \"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\\u0068i\"}}\n\n\
         event: x_new_event\ndata: {\"type\":\"x_new_event\",\"a\":1.10}\n\n\
         event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
         event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":1}}\n\n\
         event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ),
];

fn dialect(client: Client) -> (&'static str, &'static str) {
    match client {
        Client::OpenAi => ("openai_chat", "/v1"),
        _ => ("anthropic_messages", ""),
    }
}

/// A gateway with one provider, `p`, and an alias of it.
async fn gateway(client: Client, upstream: &Upstream) -> Gateway {
    let (dialect, path) = dialect(client);
    Gateway::start(&format!(
        "providers: {{p: {{dialect: {dialect}, base_url: 'http://{}{path}', api_key: sk-canary}}}}\nretry: \
         {{base_delay_seconds: 0.01}}\naliases: {{al\u{e9}as: {{targets: ['p/a model/with \"odd\" name']}}}}\n",
        upstream.addr
    ))
    .await
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
const OK_STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream";

#[tokio::test]
async fn requests_and_answers_keep_every_byte_but_the_model() {
    for ((client, request), (_, answer)) in ODD_REQUESTS.into_iter().zip(ODD_ANSWERS) {
        let upstream = Upstream::saying(OK, answer.as_bytes()).await;
        let gateway = gateway(client, &upstream).await;
        let sent = request.replace("\"MODEL\"", "\"al\\u00e9as\"");
        let got = post(gateway.addr, client.path(), "", sent.as_bytes()).await;
        assert_eq!((got.status, got.text()), (200, answer.to_owned()), "{client:?}");
        let arrived = String::from_utf8(upstream.requests()[0].1.clone()).unwrap();
        let expected = request.replace("\"MODEL\"", r#""a model/with \"odd\" name""#);
        assert_eq!(arrived, expected, "{client:?}");
    }
}

#[tokio::test]
async fn streams_keep_every_byte() {
    for (client, stream) in ODD_STREAMS {
        let upstream = Upstream::saying(OK_STREAM, stream.as_bytes()).await;
        let gateway = gateway(client, &upstream).await;
        let request = client.request("p/m", "hi", true).to_string();
        let got = post(gateway.addr, client.path(), "", request.as_bytes()).await;
        assert_eq!((got.status, got.text(), got.complete), (200, stream.to_owned(), true), "{client:?}");
        assert_eq!(gateway.told(got.request_id()).await["outcome"], "ok", "{client:?}");
    }
}

#[tokio::test]
async fn a_stream_request_gains_include_usage_and_nothing_else() {
    let upstream = Upstream::saying(OK_STREAM, ODD_STREAMS[0].1.as_bytes()).await;
    let gateway = gateway(Client::OpenAi, &upstream).await;
    for (sent, expected) in [
        (
            r#"{"model": "p/m", "messages":[{"role":"user","content":"a"}],"stream":true }"#,
            r#"{"stream_options":{"include_usage":true},"model": "m", "messages":[{"role":"user","content":"a"}],"stream":true }"#,
        ),
        (
            r#"{"stream_options":{"include_usage":true,"x": 1.0},"model":"p/m","messages":[{"role":"user","content":"b"}],"stream":true}"#,
            r#"{"stream_options":{"include_usage":true,"x": 1.0},"model":"m","messages":[{"role":"user","content":"b"}],"stream":true}"#,
        ),
    ] {
        post(gateway.addr, Client::OpenAi.path(), "", sent.as_bytes()).await;
        let arrived = String::from_utf8(upstream.requests().last().unwrap().1.clone()).unwrap();
        let (arrived_json, expected_json): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(&arrived).unwrap(), serde_json::from_str(expected).unwrap());
        assert_eq!(arrived_json, expected_json, "{arrived}");
        assert_eq!(arrived.len(), expected.len(), "{arrived}");
    }
}

#[tokio::test]
async fn the_usage_chunk_reaches_only_clients_who_asked_for_it() {
    let world = World::new("").await;
    for model in ["openai/sim", "anthropic/sim"] {
        for asked in [false, true] {
            let mut request = Client::OpenAi.request(model, "Reply with exactly: hi", true);
            if asked {
                request["stream_options"] = serde_json::json!({"include_usage": true});
            }
            let answer = post(world.gateway.addr, Client::OpenAi.path(), "", request.to_string().as_bytes()).await;
            let chunks = crate::harness::dialects::events(&answer.text());
            let usage = |(_, data): &&(String, String)| {
                serde_json::from_str::<serde_json::Value>(data).is_ok_and(|chunk| chunk["usage"].is_object())
            };
            assert_eq!(chunks.iter().filter(usage).count(), usize::from(asked), "{model}: {}", answer.text());
            let without_choices = chunks.iter().filter(|(_, data)| data.contains("\"choices\":[]")).count();
            assert_eq!(without_choices, usize::from(asked), "{model}: {}", answer.text());
            let line = world.gateway.told(answer.request_id()).await;
            assert!(line["usage"]["output"].as_u64() > Some(0), "{line}");
        }
    }
    let to_openai: Vec<_> = world.asked("Reply").into_iter().filter(|entry| entry.path.contains("chat")).collect();
    assert_eq!(to_openai.len(), 2);
    for entry in to_openai {
        let body: serde_json::Value = serde_json::from_slice(&entry.request).unwrap();
        assert_eq!(body["stream_options"]["include_usage"], true, "{body}");
    }
}

#[tokio::test]
async fn only_headers_of_the_dialect_pass_to_the_provider() {
    let headers = "authorization: Bearer sk-gateway-canary\r\nx-api-key: sk-gateway-canary\r\napi-key: sk-gateway-canary\r\n\
                   x-goog-api-key: sk-gateway-canary\r\ncookie: session=canary\r\nx-forwarded-for: 10.9.8.7\r\n\
                   x-forwarded-host: canary.example\r\nforwarded: for=10.9.8.7\r\nvia: 1.1 canary\r\nx-real-ip: 10.9.8.7\r\n\
                   proxy-authorization: Basic canary\r\nte: trailers\r\nconnection: keep-alive, x-hop\r\nx-hop: canary\r\n\
                   anthropic-beta: canary-beta-1\r\nanthropic-beta: canary-beta-2\r\nanthropic-version: 2099-01-01\r\n\
                   openai-beta: canary-openai\r\nopenai-organization: org-canary\r\nopenai-project: proj-canary\r\n\
                   x-stainless-lang: canary\r\nuser-agent: canary\r\nreferer: http://127.0.0.1/canary\r\naccept-encoding: gzip\r\n\
                   x-request-id: canary-id\r\nx-gateway-user: canary-user\r\ntraceparent: 00-canary\r\n";
    for (client, answer) in ODD_ANSWERS {
        let upstream = Upstream::saying(OK, answer.as_bytes()).await;
        let gateway = gateway(client, &upstream).await;
        let request = client.request("p/m", "hi", false).to_string();
        assert_eq!(post(gateway.addr, client.path(), headers, request.as_bytes()).await.status, 200);
        let (head, _) = &upstream.requests()[0];
        let passed: Vec<&str> =
            head.lines().filter(|line| line.contains("canary") || line.contains("10.9.8.7")).collect();
        let mut expected = match client {
            Client::Anthropic => {
                vec!["x-api-key: sk-canary", "anthropic-beta: canary-beta-1", "anthropic-beta: canary-beta-2"]
            }
            _ => vec!["authorization: bearer sk-canary", "openai-beta: canary-openai"],
        };
        let mut sorted = passed.clone();
        sorted.sort_unstable();
        expected.sort_unstable();
        assert_eq!(sorted, expected, "{client:?}: {head}");
        let versions: Vec<&str> = head.lines().filter(|line| line.starts_with("anthropic-version:")).collect();
        let version = if client == Client::Anthropic { vec!["anthropic-version: 2099-01-01"] } else { vec![] };
        assert_eq!(versions, version, "{client:?}: {head}");
        for gone in ["te:", "accept-encoding: gzip", "proxy-authorization", "x-hop"] {
            assert!(!head.lines().any(|line| line.starts_with(gone)), "{gone}: {head}");
        }
    }
}

#[tokio::test]
async fn only_known_headers_pass_to_the_client() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: session=canary\r\nserver: canary\r\nx-odd: canary\r\n\
                connection: keep-alive, x-hop\r\nx-hop: canary\r\nkeep-alive: timeout=canary\r\nalt-svc: canary\r\nvia: canary\r\n\
                openai-organization: canary\r\nanthropic-organization-id: canary\r\naccess-control-allow-origin: *\r\n\
                strict-transport-security: canary\r\nwww-authenticate: canary\r\nproxy-authenticate: canary\r\n\
                x-request-id: upstream-1\r\nopenai-processing-ms: 12\r\nopenai-version: 2020-10-01\r\n\
                anthropic-ratelimit-requests-limit: 50";
    for (client, answer) in ODD_ANSWERS {
        let upstream = Upstream::saying(head, answer.as_bytes()).await;
        let gateway = gateway(client, &upstream).await;
        let request = client.request("p/m", "hi", false).to_string();
        let got = post(gateway.addr, client.path(), "", request.as_bytes()).await;
        assert_eq!(got.status, 200);
        assert!(!format!("{:?}", got.headers).contains("canary"), "{client:?}: {got:?}");
        assert_eq!(got.header("access-control-allow-origin"), None, "{got:?}");
        assert_eq!(got.header("x-gateway-upstream-request-id"), Some("upstream-1"), "{got:?}");
        assert_ne!(got.request_id(), "upstream-1");
    }
}
