//! Every route, with the headers and the shape of its answer.

use serde_json::{Value, json};

use crate::client::{Ended, post, raw, request, simulator};

const OPENAI_KEY: &str = "authorization: Bearer sk-test\r\n";
const ANTHROPIC_KEY: &str = "x-api-key: sk-ant-test\r\nanthropic-version: 2023-06-01\r\n";

#[tokio::test]
async fn a_chat_completion_is_whole() {
    let sim = simulator().await;
    let body = json!({"model": "gpt-sim", "messages": [{"role": "user", "content": "What is the capital of France?"}]});
    let answer = post(&sim, "/v1/chat/completions", &body).await;
    assert_eq!((answer.status, answer.ended), (200, Ended::Complete));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    for header in ["x-request-id", "openai-version", "openai-processing-ms", "x-ratelimit-remaining-tokens", "date"] {
        assert!(answer.header(header).is_some(), "{header} is missing");
    }
    let json = answer.json();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint"]);
    assert!(json["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(json["choices"][0]["message"]["content"], "The capital of France is Paris.");
    assert_eq!(json["choices"][0]["finish_reason"], "stop");
    let usage = &json["usage"];
    assert_eq!(usage["completion_tokens"], "The capital of France is Paris.".len().div_ceil(4));
    let total = usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], total);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 0);
}

#[tokio::test]
async fn a_message_is_whole() {
    let sim = simulator().await;
    let body = json!({"model": "claude-sim", "max_tokens": 100, "messages": [{"role": "user", "content": "What is 12 * (3+4)?"}]});
    let answer = post(&sim, "/v1/messages?beta=true", &body).await;
    assert_eq!((answer.status, answer.ended), (200, Ended::Complete));
    assert!(answer.header("request-id").unwrap().starts_with("req_011C"));
    assert_eq!(answer.header("anthropic-ratelimit-requests-reset"), Some("2026-01-01T00:00:00Z"));
    let json = answer.json();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["model", "id", "type", "role", "content", "stop_reason", "stop_sequence", "stop_details", "usage"]
    );
    assert_eq!(json["content"], json!([{"type": "text", "text": "12 * (3 + 4) = 84"}]));
    assert_eq!(json["stop_reason"], "end_turn");
    assert_eq!(json["usage"]["output_tokens"], 5);
}

#[tokio::test]
async fn newer_clients_of_anthropic_are_understood() {
    let sim = simulator().await;
    let body = json!({"model": "claude-sim", "max_tokens": 100, "messages": [
        {"role": "user", "content": "hello"}, {"role": "system", "content": "Be brief."}]});
    for (version, status) in [("2026-10-21", 200), ("2023-06-01", 400)] {
        let head = format!("authorization: Bearer sk-ant-test\r\nanthropic-version: {version}\r\n");
        let answer = raw(sim.addr(), &request("POST", "/v1/messages", &head, &body.to_string())).await;
        assert_eq!(answer.status, status, "{version}");
    }
}

#[tokio::test]
async fn tokens_are_counted_as_messages_are() {
    let sim = simulator().await;
    let mut body =
        json!({"model": "claude-sim", "system": "Be brief.", "messages": [{"role": "user", "content": "hello there"}]});
    let counted = post(&sim, "/v1/messages/count_tokens", &body).await.json();
    body["max_tokens"] = json!(10);
    let used = post(&sim, "/v1/messages", &body).await.json();
    assert_eq!(counted, json!({"input_tokens": used["usage"]["input_tokens"]}));
    assert!(counted["input_tokens"].as_u64().unwrap() > 4);
}

#[tokio::test]
async fn models_come_in_the_shape_of_the_caller() {
    let sim = simulator().await;
    let openai = raw(sim.addr(), &request("GET", "/v1/models", OPENAI_KEY, "")).await.json();
    assert_eq!((openai["object"].as_str(), openai["data"][0]["object"].as_str()), (Some("list"), Some("model")));
    let anthropic = raw(sim.addr(), &request("GET", "/v1/models", ANTHROPIC_KEY, "")).await.json();
    assert_eq!(
        (anthropic["has_more"].as_bool(), anthropic["first_id"] == anthropic["data"][0]["id"]),
        (Some(false), true)
    );
    let one = raw(sim.addr(), &request("GET", "/v1/models/gpt-sim", OPENAI_KEY, "")).await;
    assert_eq!((one.status, one.json()["id"].as_str()), (200, Some("gpt-sim")));
    let none = raw(sim.addr(), &request("GET", "/v1/models/claude-none", ANTHROPIC_KEY, "")).await;
    assert_eq!((none.status, none.json()["error"]["type"].as_str()), (404, Some("not_found_error")));
}

#[tokio::test]
async fn embeddings_are_unit_vectors_in_both_formats() {
    let sim = simulator().await;
    let mut body = json!({"model": "text-embedding-sim", "input": ["one text", "another text"], "dimensions": 8});
    let floats = post(&sim, "/v1/embeddings", &body).await.json();
    let numbers: Vec<f32> = serde_json::from_value(floats["data"][1]["embedding"].clone()).unwrap();
    assert_eq!((numbers.len(), floats["data"].as_array().unwrap().len()), (8, 2));
    assert!((numbers.iter().map(|n| n * n).sum::<f32>() - 1.0).abs() < 1e-4);
    body["encoding_format"] = json!("base64");
    let base64 = post(&sim, "/v1/embeddings", &body).await.json();
    let bytes = decoded(base64["data"][1]["embedding"].as_str().unwrap());
    let same: Vec<f32> = bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    assert_eq!(same, numbers);
    assert_eq!(floats["usage"], json!({"prompt_tokens": 5, "total_tokens": 5}));
}

fn decoded(base64: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String =
        base64.trim_end_matches('=').chars().map(|c| format!("{:06b}", alphabet.find(c).unwrap())).collect();
    bits.as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect()
}

#[tokio::test]
async fn health_and_ledger_need_no_key() {
    let sim = simulator().await;
    assert_eq!(raw(sim.addr(), &request("GET", "/health", "", "")).await.json(), json!({"status": "healthy"}));
    post(&sim, "/v1/chat/completions", &json!({"model": "gpt-sim", "messages": [{"role": "user", "content": "hi"}]}))
        .await;
    let entries = raw(sim.addr(), &request("GET", "/ledger", "", "")).await.json();
    assert_eq!(entries.as_array().map(Vec::len), Some(1));
    assert_eq!(raw(sim.addr(), &request("DELETE", "/ledger", "", "")).await.status, 200);
    assert_eq!(raw(sim.addr(), &request("GET", "/ledger", "", "")).await.json(), json!([]));
}

#[tokio::test]
async fn a_connection_carries_many_requests() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let sim = simulator().await;
    let mut socket = tokio::net::TcpStream::connect(sim.addr()).await.unwrap();
    for _ in 0..3 {
        let body = json!({"model": "gpt-sim", "messages": [{"role": "user", "content": "ping"}]}).to_string();
        socket.write_all(request("POST", "/v1/chat/completions", OPENAI_KEY, &body).as_bytes()).await.unwrap();
        let mut answer = String::new();
        while !answer.trim_end().ends_with('}') {
            let mut buffer = [0; 4096];
            let count = socket.read(&mut buffer).await.unwrap();
            assert!(count > 0, "closed early");
            answer.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        assert!(answer.contains("\"pong\""), "{answer}");
    }
    assert_eq!(sim.ledger().len(), 3);
}

#[tokio::test]
async fn http_2_is_spoken_to_those_who_know() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::client::legacy::Client;
    let sim = simulator().await;
    let client = Client::builder(hyper_util::rt::TokioExecutor::new()).http2_only(true).build_http();
    let body =
        json!({"model": "gpt-sim", "stream": true, "messages": [{"role": "user", "content": "ping"}]}).to_string();
    let request = http::Request::post(format!("http://{}/v1/chat/completions", sim.addr()))
        .header("authorization", "Bearer sk-test")
        .body(Full::new(bytes::Bytes::from(body)))
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_stopped_simulator_is_gone() {
    let sim = simulator().await;
    let addr = sim.addr();
    sim.stop().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_in_the_vendors_words() {
    let sim = simulator().await;
    let expect = async |method: &str, path: &str, key: &str, status: u16, pointer: &str, text: &str| {
        let answer = raw(sim.addr(), &request(method, path, key, "{}")).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.json().pointer(pointer).and_then(Value::as_str), Some(text), "{method} {path}");
    };
    expect("POST", "/v1/nothing", OPENAI_KEY, 404, "/error/message", "Invalid URL (POST /v1/nothing)").await;
    expect("POST", "/v1/nothing", ANTHROPIC_KEY, 404, "/error/type", "not_found_error").await;
    expect("GET", "/v1/messages", ANTHROPIC_KEY, 405, "/error/message", "Method Not Allowed").await;
    expect("GET", "/v1/chat/completions", OPENAI_KEY, 405, "/error/code", "method_not_supported").await;
}
