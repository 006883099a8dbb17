//! What the rows of vendors do to a request, as a server sees it that stands in the vendor's place.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use gateway_core::dialect::Dialect;
use serde_json::{Value, json};

use super::tests::World;
use super::{Args, resolve_with, vendors};
use crate::api::Arrival;
use crate::api::ingress::Inbound;
use crate::call::Caller;
use crate::gateway::Gateway;
use crate::request_id::RequestId;

/// One request, as it arrived.
struct Seen {
    line: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

/// A server that takes one request and answers it.
fn server() -> (SocketAddr, JoinHandle<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut next = || {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let line = next();
        let headers: BTreeMap<String, String> = std::iter::from_fn(|| Some(next()).filter(|line| !line.is_empty()))
            .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect();
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let (kind, answer) = match body["stream"] == true {
            true => {
                let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                    "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]});
                ("text/event-stream", format!("data: {chunk}\n\ndata: [DONE]\n\n"))
            }
            false => {
                let message = json!({"role": "assistant", "content": "hi"});
                let answer = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
                ("application/json", answer.to_string())
            }
        };
        let length = answer.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{answer}").unwrap();
        Seen { line, headers, body }
    };
    (addr, std::thread::spawn(serve))
}

/// A gateway with these providers, of the known vendors and those of `rows`.
fn gateway(rows: &str, providers: &str) -> Gateway {
    let vendors = vendors::parse(&format!("{}\n{rows}", vendors::ROWS)).unwrap_or_else(|problems| panic!("{problems}"));
    let world = World::default().file("gateway.yaml", format!("log: {{level: error}}\nproviders: {{{providers}}}"));
    let resolved = resolve_with(&vendors, &Args::default(), &world).unwrap_or_else(|problems| panic!("{problems}"));
    crate::serve::assemble(resolved.config).unwrap()
}

/// Sends a request through a gateway with `provider` at the server's address, the known vendors and those of `rows`.
fn seen(rows: &str, provider: &str, dialect: Dialect, body: &Value) -> Seen {
    let (addr, server) = server();
    let gateway = Arc::new(gateway(rows, &provider.replace("SERVER", &format!("http://{addr}"))));
    let caller = Caller::Address(Ipv4Addr::LOCALHOST.into());
    let arrival =
        Arrival { started: Instant::now(), request_id: RequestId::new(), correlation_id: None, dialect, caller };
    let admitted = gateway.process.admission.unbounded();
    let inbound = Inbound {
        arrival,
        route: "test",
        headers: http::HeaderMap::new(),
        body: Ok(Bytes::from(body.to_string())),
        admitted,
        looked: Default::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reply = runtime.block_on(crate::pipeline::handle(gateway, inbound, dialect, false));
    assert_eq!(reply.status, 200);
    server.join().unwrap()
}

fn openai(model: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hello"}]})
}

fn anthropic(model: &str, stream: bool) -> Value {
    let marked = json!({"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}});
    json!({"model": model, "stream": stream, "max_tokens": 7, "system": [marked], "messages": [{"role": "user", "content": "hello"}]})
}

#[test]
fn a_new_vendor_is_a_row_and_nothing_else() {
    let row = r#"
- name: newcomer
  display_name: Newcomer
  dialect: openai_chat
  key_variable: NEWCOMER_API_KEY
  base_url: https://api.newcomer.example/v3
  auth: {header: x-newcomer-key}
  paths: {chat: "/of/{model}/chat", models: /models}
  query: {release: "2026&b"}
  headers: {x-newcomer: "yes"}
  capabilities: [streaming, tools]
  quirks: {output_limit: max_completion_tokens, stream_options: false}
"#;
    let provider = "newcomer: {base_url: 'SERVER/v3', api_key: k-1}";
    let told = seen(row, provider, Dialect::OpenAiChat, &openai("newcomer/a/b c", true));
    assert_eq!(told.line, "POST /v3/of/a%2Fb%20c/chat?release=2026%26b HTTP/1.1");
    assert_eq!((told.headers["x-newcomer-key"].as_str(), told.headers["x-newcomer"].as_str()), ("k-1", "yes"));
    assert!(!told.headers.contains_key("authorization"));
    assert_eq!(told.body, openai("a/b c", true), "the client's own request, but for the model");

    let told = seen(row, provider, Dialect::AnthropicMessages, &anthropic("newcomer/m", true));
    assert_eq!((&told.body["max_completion_tokens"], told.body.get("max_tokens")), (&json!(7), None));
    assert_eq!(told.body.get("stream_options"), None);
}

#[test]
fn azure_takes_its_deployment_in_the_body_or_in_the_path() {
    let provider = "azure: {base_url: SERVER, api_key: k, models: [ours]}";
    let told = seen("", provider, Dialect::OpenAiChat, &openai("ours", false));
    assert_eq!(told.line, "POST /openai/v1/chat/completions HTTP/1.1");
    assert_eq!((told.headers["api-key"].as_str(), &told.body["model"]), ("k", &json!("ours")));

    let provider = "azure-deployments: {base_url: SERVER, api_key: k, models: [ours]}";
    let told = seen("", provider, Dialect::AnthropicMessages, &anthropic("ours", true));
    assert_eq!(told.line, "POST /openai/deployments/ours/chat/completions?api-version=2024-10-21 HTTP/1.1");
    assert_eq!((told.headers["api-key"].as_str(), &told.body["max_completion_tokens"]), ("k", &json!(7)));
    assert_eq!(told.body["stream_options"], json!({"include_usage": true}));

    let provider =
        "old: {vendor: azure-deployments, base_url: SERVER, api_key: k, models: [x], query: {api-version: '1'}}";
    let told = seen("", provider, Dialect::OpenAiChat, &openai("x", false));
    assert_eq!(told.line, "POST /openai/deployments/x/chat/completions?api-version=1 HTTP/1.1");
}

#[test]
fn what_a_vendor_refuses_is_not_sent() {
    let mistral = "mistral: {base_url: 'SERVER/v1', api_key: k}";
    let told = seen("", mistral, Dialect::OpenAiChat, &openai("mistral-small-latest", true));
    assert_eq!(told.body.get("stream_options"), None);
    let told = seen("", mistral, Dialect::AnthropicMessages, &anthropic("mistral/m", true));
    assert_eq!((told.body.get("stream_options"), &told.body["max_tokens"]), (None, &json!(7)));
    assert_eq!(told.body["messages"][0]["content"], "Be brief.");

    let groq = "groq: {base_url: 'SERVER/v1', api_key: k}";
    let told = seen("", groq, Dialect::OpenAiChat, &openai("groq/m", true));
    assert_eq!(told.body["stream_options"], json!({"include_usage": true}));
}

#[test]
fn cache_marks_reach_a_vendor_that_takes_them() {
    let openrouter = "openrouter: {base_url: 'SERVER/v1', api_key: k}";
    let told = seen("", openrouter, Dialect::AnthropicMessages, &anthropic("openrouter/anthropic/claude-x", false));
    let marked = json!([{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]);
    assert_eq!(told.body["messages"][0]["content"], marked);
}

#[test]
fn a_server_of_ones_own_needs_no_key_and_may_have_one() {
    let told =
        seen("", "ollama: {base_url: 'SERVER/v1', models: [qwen3]}", Dialect::OpenAiChat, &openai("qwen3", false));
    assert!(!told.headers.contains_key("authorization"));
    let told = seen("", "vllm: {base_url: 'SERVER/v1', api_key: k}", Dialect::OpenAiChat, &openai("vllm/m", false));
    assert_eq!(told.headers["authorization"], "Bearer k");
}

#[test]
fn the_table_of_models_is_asked_by_the_vendors_name() {
    let gateway =
        gateway("", "main: {vendor: openai, api_key: k}, cohere: {dialect: openai_chat, base_url: 'http://h'}");
    let catalog = &gateway.catalog;
    let asked = |model: &str| catalog.resolve(Some(model)).map(|found| found.candidates.targets);
    let found = asked("gpt-5.4-mini").unwrap();
    assert_eq!(found[0].target.to_string(), "main/gpt-5.4-mini");
    assert!(found[0].price.is_some());
    assert!(asked("command-a").unwrap()[0].price.is_some(), "a vendor without a row, by the provider's name");
    let unknown = asked("gtp-5.4-mini").unwrap_err().message;
    assert!(unknown.contains("did you mean main/gpt-5.4-mini"), "{unknown}");
    let names = catalog.names(&gateway_core::access::Scope::EVERYTHING);
    assert!(names.contains(&"main/gpt-5.4-mini".to_owned()) && names.iter().all(|name| !name.contains("whisper")));
}

#[test]
fn deployments_are_known_by_the_names_that_the_operator_lists() {
    let azure = "azure: {base_url: 'http://h', api_key: k, models: [ours, gpt-5.4-mini]}";
    let gateway = gateway("", azure);
    assert_eq!(gateway.catalog.names(&gateway_core::access::Scope::EVERYTHING), ["azure/ours", "azure/gpt-5.4-mini"]);
    let price = |model: &str| gateway.catalog.resolve(Some(model)).unwrap().candidates.targets[0].price.is_some();
    assert!(price("gpt-5.4-mini") && !price("ours"), "a price by the name of the model, if the deployment has it");
    assert!(gateway.catalog.resolve(Some("gpt-5.2")).is_err(), "nobody has deployed it");
    let azure = gateway.catalog.provider("azure").unwrap();
    assert!(azure.chat_uri("..").is_ok(), "the path is the same for all models");
}

#[test]
fn no_model_name_leads_out_of_its_place_in_the_path() {
    let gateway = gateway("", "azure-deployments: {base_url: 'http://h', api_key: k}");
    let provider = gateway.catalog.provider("azure-deployments").unwrap();
    for (model, place) in
        [("a/../b", "a%2F..%2Fb"), ("a?b=c#d", "a%3Fb%3Dc%23d"), ("%2e%2e", "%252e%252e"), ("é", "%C3%A9")]
    {
        let uri = provider.chat_uri(model).unwrap().to_string();
        assert_eq!(uri, format!("/openai/deployments/{place}/chat/completions?api-version=2024-10-21"));
    }
    for model in ["", ".", "..", &"x".repeat(100_000)] {
        assert_eq!(provider.chat_uri(model).unwrap_err().field.as_deref(), Some("model"));
    }
}
