//! Keys and prompts are told to nobody, whatever goes wrong.

use crate::harness::client::ask;
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
async fn a_virtual_key_is_told_to_nobody_and_written_nowhere() {
    const ADMIN: &str = "canary-operator-77hQ2-xX";
    let world = World::new(&format!("server: {{admin_key: {ADMIN}}}\n")).await;
    let gateway = &world.gateway;
    let operator = format!("content-type: application/json\r\nauthorization: Bearer {ADMIN}\r\n");
    let operate = async |method: &str, path: &str, body: &str| {
        ask(gateway.addr, method, &format!("/admin/v1/{path}"), &operator, body.as_bytes()).await
    };
    let made = operate("POST", "keys", r#"{"name": "web"}"#).await.json();
    let key = made["key"].as_str().unwrap();
    // Neither whole nor without its ends, of which the last four characters are told.
    let canary = &key[10..45];
    let mut told = String::new();
    for name in ["authorization: Bearer ", "x-api-key: ", "api-key: ", "x-goog-api-key: "] {
        let header = format!("{name}{key}\r\n");
        let near = format!("{name}{}x\r\n", &key[..54]);
        for client in Client::ALL {
            for (model, headers) in
                [("openai/sim", &header), ("anthropic/fault:status=400", &header), ("openai/sim", &near)]
            {
                let answer = world.ask_with(client, model, PROMPT, false, headers).await;
                gateway.told(answer.request_id()).await;
                told += &answer.everything();
                let path = format!("/v1/requests/{}", answer.request_id());
                told += &ask(gateway.addr, "GET", &path, &header, b"").await.everything();
            }
        }
        told += &ask(gateway.addr, "GET", "/admin/v1/keys", &header, b"").await.everything();
    }
    operate("DELETE", &format!("keys/{}", made["id"].as_str().unwrap()), "").await;
    told += &world
        .ask_with(Client::OpenAi, "openai/sim", PROMPT, false, &format!("x-api-key: {key}\r\n"))
        .await
        .everything();
    for path in ["keys?revoked=true", "audit"] {
        let answer = operate("GET", path, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        told += &answer.everything();
    }
    told += &readable(gateway).await;
    for secret in [canary, ADMIN] {
        assert!(!told.contains(secret), "{secret} is told in {told}");
    }
    let sent = world.simulator.ledger();
    assert!(sent.len() >= 24 && !sent.iter().any(|entry| format!("{entry:?}").contains(canary)));
    let mut files = 0;
    for file in std::fs::read_dir(gateway.folder().join("data")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(canary.len()).any(|part| part == canary.as_bytes()));
        files += 1;
    }
    assert!(files > 0);
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
