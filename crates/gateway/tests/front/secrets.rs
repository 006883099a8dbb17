//! Keys and prompts are told to nobody, whatever goes wrong.

use crate::harness::upstream::Upstream;
use crate::harness::{ANTHROPIC_KEY, Client, Gateway, OPENAI_KEY, Path, World, get, paths, post};

const KEY: &str = "sk-canary-provider-77hQ2";
const PROMPT: &str = "canary prompt zebra";

/// Everything that a client or an operator can read of a gateway.
async fn readable(gateway: &Gateway) -> String {
    let mut text = String::new();
    for path in ["/metrics", "/v1/providers", "/v1/models", "/health", "/openapi.json", "/v1/providers/p/health", "/"] {
        text += &get(gateway.addr, path).await.everything();
    }
    text + &gateway.output()
}

#[tokio::test]
async fn a_key_that_a_provider_echoes_is_not_told() {
    let echo = |status: u16| {
        format!(
            r#"{{"type":"error","error":{{"type":"e{status}","message":"Incorrect API key provided: {KEY}.","param":"{KEY}","code":"x"}}}}"#
        )
    };
    let mut failed = Vec::new();
    for status in [200, 400, 401, 403, 404, 429, 500] {
        for dialect in ["openai_chat", "anthropic_messages"] {
            let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json");
            let upstream = Upstream::saying(&head, echo(status).as_bytes()).await;
            let gateway = Gateway::start(&format!(
                "providers: {{p: {{dialect: {dialect}, base_url: 'http://{}', api_key: {KEY}}}}}\nretry: {{max_attempts: 1}}\n",
                upstream.addr
            ))
            .await;
            for client in Client::ALL {
                for streamed in [false, true] {
                    let body = client.request("p/m", PROMPT, streamed).to_string();
                    let answer = post(gateway.addr, client.path(), "", body.as_bytes()).await;
                    gateway.told(answer.request_id()).await;
                    if answer.everything().contains(KEY) {
                        failed.push(format!("{status} {dialect} {client:?} {streamed}: answer"));
                    }
                }
            }
            if readable(&gateway).await.contains(KEY) {
                failed.push(format!("{status} {dialect}: log, metrics or lists"));
            }
            assert!(!upstream.requests().is_empty() && upstream.requests()[0].0.contains(&KEY.to_lowercase()));
        }
    }
    assert!(failed.is_empty(), "the key is told:\n{}", failed.join("\n"));
}

#[tokio::test]
async fn keys_prompts_and_answers_stay_out_of_logs_and_metrics() {
    let world = World::new("").await;
    let headers = "authorization: Bearer sk-canary-client\r\ncookie: a=sk-canary-client\r\n";
    let faults = ["status=400", "truncate=900", "abort=900", "truncate=12", "garbage=3", "error_after=1"];
    let models = |path: Path| {
        let faulty = faults.map(|fault| format!("{}/fault:{fault}", path.provider.name()));
        faulty.into_iter().chain([format!("{}/sim", path.provider.name())])
    };
    for path in paths() {
        for model in models(path) {
            let prompt = format!("Reply with exactly: {PROMPT}");
            let answer = world.ask_with(path.client, &model, &prompt, path.streamed, headers).await;
            world.gateway.told(answer.request_id()).await;
            for secret in [OPENAI_KEY, ANTHROPIC_KEY, "sk-canary-client"] {
                assert!(!answer.everything().contains(secret), "{answer:?}");
            }
        }
        // What cannot be read is not quoted either.
        let broken = format!("{{\"model\": \"openai/sim\", \"messages\": \"{PROMPT}");
        post(world.gateway.addr, path.client.path(), headers, broken.as_bytes()).await;
    }
    let text = readable(&world.gateway).await;
    for secret in [OPENAI_KEY, ANTHROPIC_KEY, "sk-canary-client", PROMPT, "zebra"] {
        assert!(!text.contains(secret), "{secret} is told in {text}");
    }
    assert!(text.contains("\"message\":\"request\""));
}

#[tokio::test]
async fn a_refused_key_of_the_gateways_own_is_not_the_clients_business() {
    let world = World::of_many(paths().count(), "").await;
    for (number, path) in paths().enumerate() {
        let model = format!("{}-{number}/fault:status=401", path.provider.name());
        let answer = world.ask(path.client, &model, "hi", path.streamed).await;
        assert_eq!(answer.status, 502, "{path:?}: {answer:?}");
        let (_, message) = path.client.error(&answer.json()).unwrap();
        assert!(message.contains("the gateway's own credential"), "{path:?}: {message}");
    }
}
