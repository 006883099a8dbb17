//! Which provider is asked, and what is said when none can be.

use serde_json::{Value, json};

use crate::harness::{Answer, Client, World, all, ensure, get, post};

const MORE: &str = "aliases:\n  \
    both: {targets: [openai/gpt-5.4-mini, anthropic/claude-haiku-4-5]}\n  \
    cheap: {strategy: cost, targets: [anthropic/claude-opus-4-5, openai/gpt-5.4-mini, openai/nobody-knows-its-price]}\n  \
    later: {strategy: cost, targets: [openai/sim, anthropic/sim]}\n";

/// A native request with more fields; the same said in headers for the other dialects.
async fn ask(world: &World, client: Client, model: &str, native: &Value, headers: &str) -> Answer {
    let mut body = client.request(model, "hi", false);
    if model.is_empty() {
        body.as_object_mut().unwrap().remove("model");
    }
    let mut lines = headers;
    if client == Client::Native {
        body.as_object_mut().unwrap().extend(native.as_object().unwrap().clone());
        lines = "";
    }
    post(world.gateway.addr, client.path(), lines, body.to_string().as_bytes()).await
}

fn served_by(answer: &Answer) -> String {
    let header = |name| answer.header(name).unwrap_or_default();
    format!("{}/{}", header("x-gateway-provider"), header("x-gateway-model"))
}

#[tokio::test]
async fn targets_come_in_the_order_that_was_asked_for() {
    let world = World::new(MORE).await;
    let cases: Vec<(&str, Value, &str, &str)> = vec![
        ("both", json!({}), "", "openai/gpt-5.4-mini"),
        ("cheap", json!({}), "", "openai/gpt-5.4-mini"),
        (
            "cheap",
            json!({"routing": {"strategy": "fallback"}}),
            "x-gateway-strategy: fallback\r\n",
            "anthropic/claude-opus-4-5",
        ),
        (
            "both",
            json!({"routing": {"preferred_providers": ["anthropic"]}}),
            "x-gateway-prefer: anthropic\r\n",
            "anthropic/claude-haiku-4-5",
        ),
        (
            "both",
            json!({"routing": {"exclude_providers": ["openai"]}}),
            "x-gateway-exclude: openai\r\n",
            "anthropic/claude-haiku-4-5",
        ),
        ("both", json!({"provider": "anthropic"}), "x-gateway-provider: anthropic\r\n", "anthropic/claude-haiku-4-5"),
        (
            "both",
            json!({"provider": "anthropic", "routing": {"preferred_providers": ["openai"]}}),
            "x-gateway-provider: anthropic\r\nx-gateway-prefer: openai\r\n",
            "anthropic/claude-haiku-4-5",
        ),
        ("later", json!({"routing": {"strategy": "fallback"}}), "x-gateway-strategy: fallback\r\n", "openai/sim"),
        ("openai/org/model/x", json!({}), "", "openai/org/model/x"),
        ("anthropic/claude-9", json!({}), "", "anthropic/claude-9"),
        ("claude-sonnet-9-unknown", json!({}), "", "anthropic/claude-sonnet-9-unknown"),
        ("gpt-99-unknown", json!({}), "", "openai/gpt-99-unknown"),
        ("claude-haiku-4-5", json!({}), "", "anthropic/claude-haiku-4-5"),
    ];
    let all_cases = Client::ALL.into_iter().flat_map(|client| cases.iter().map(move |case| (client, case)));
    all(all_cases.map(|(client, (model, native, headers, expected))| {
        let world = &world;
        async move {
            let answer = ask(world, client, model, native, headers).await;
            let case = format!("{client:?} {model} {native}");
            ensure!(answer.status == 200, "{case}: {answer:?}");
            ensure!(served_by(&answer) == *expected, "{case}: {}", served_by(&answer));
            Ok(())
        }
    }))
    .await;
    let arrived: Vec<Option<String>> = world.simulator.ledger().into_iter().map(|entry| entry.model).collect();
    assert!(arrived.contains(&Some("org/model/x".to_owned())), "{arrived:?}");
}

/// What the simulators of the two providers were asked, in order: `o` or `a`.
async fn first_choices(
    world: &World,
    client: Client,
    model: &str,
    native: &Value,
    headers: &str,
    count: usize,
) -> String {
    let mut choices = String::new();
    for _ in 0..count {
        let answer = ask(world, client, model, native, headers).await;
        assert_eq!(answer.status, 200, "{client:?} {model}: {answer:?}");
        choices.extend(served_by(&answer).chars().next());
    }
    choices
}

#[tokio::test]
async fn strategies_share_requests_as_they_say() {
    const TARGETS: &str = "openai/gpt-5.4-mini, anthropic/claude-haiku-4-5";
    let more = format!(
        "aliases:\n  turns: {{strategy: round_robin, targets: [{TARGETS}]}}\n  \
         weights: {{strategy: weighted, targets: [{{model: openai/gpt-5.4-mini, weight: 3}}, anthropic/claude-haiku-4-5]}}\n  \
         cost: {{strategy: cost, targets: [anthropic/claude-opus-4-5, openai/gpt-5.4-mini]}}\n  \
         latency: {{strategy: latency, targets: [{TARGETS}]}}\n  busy: {{strategy: least_busy, targets: [{TARGETS}]}}\n  \
         tiers: {{strategy: round_robin, targets: [{{model: openai/gpt-5.4-mini, priority: 1}}, anthropic/a, anthropic/b]}}\n  \
         canary: {{targets: [anthropic/a, {{model: openai/gpt-5.4-mini, canary: 50}}]}}\n  \
         plain: {{targets: [{TARGETS}]}}\n"
    );
    let world = World::new(&more).await;
    for client in Client::ALL {
        let choices = |model: &'static str, count| {
            let world = &world;
            async move { first_choices(world, client, model, &json!({}), "", count).await }
        };
        let turns = choices("turns", 6).await;
        assert!(["oaoaoa", "aoaoao"].contains(&&*turns), "{client:?}: {turns}");
        let weights = choices("weights", 8).await;
        assert_eq!(weights.matches('a').count(), 2, "{client:?}: {weights}");
        assert!(!weights.contains("aa"), "spread: {client:?}: {weights}");
        assert_eq!(choices("cost", 3).await, "ooo", "{client:?}");
        assert_eq!(choices("tiers", 4).await, "aaaa", "{client:?}");
        let fair = choices("canary", 40).await.matches('o').count();
        assert!((6..35).contains(&fair), "{client:?}: {fair} of 40");
        for model in ["latency", "busy"] {
            assert_eq!(choices(model, 4).await.len(), 4, "{client:?} {model}");
        }
    }
}

#[tokio::test]
async fn a_request_may_name_its_strategy_whatever_the_alias_and_the_configuration_say() {
    let more = "routing: {strategy: round_robin}\naliases:\n  \
                none: {targets: [openai/gpt-5.4-mini, anthropic/claude-haiku-4-5]}\n  \
                fixed: {strategy: fallback, targets: [anthropic/claude-haiku-4-5, openai/gpt-5.4-mini]}\n";
    let world = World::new(more).await;
    for client in Client::ALL {
        let strategy = |name: &str| (json!({"routing": {"strategy": name}}), format!("x-gateway-strategy: {name}\r\n"));
        let by_default = first_choices(&world, client, "none", &json!({}), "", 4).await;
        assert!(["oaoa", "aoao"].contains(&&*by_default), "{client:?}: {by_default}");
        assert_eq!(first_choices(&world, client, "fixed", &json!({}), "", 3).await, "aaa", "{client:?}");
        let (native, headers) = strategy("fallback");
        assert_eq!(first_choices(&world, client, "none", &native, &headers, 3).await, "ooo", "{client:?}");
        let (native, headers) = strategy("round_robin");
        let turns = first_choices(&world, client, "fixed", &native, &headers, 4).await;
        assert!(["oaoa", "aoao"].contains(&&*turns), "{client:?}: {turns}");
        for name in ["weighted", "cost", "latency", "least_busy"] {
            let (native, headers) = strategy(name);
            assert_eq!(
                first_choices(&world, client, "fixed", &native, &headers, 1).await.len(),
                1,
                "{client:?} {name}"
            );
        }
    }
}

#[tokio::test]
async fn the_turns_of_a_conversation_stay_at_one_target() {
    let more = "aliases: {chat: {strategy: round_robin, affinity: true, targets: [openai/gpt-5.4-mini, \
                anthropic/claude-haiku-4-5]}}\n";
    let world = World::new(more).await;
    let mut homes = String::new();
    for number in 0..12 {
        let client = Client::ALL[number % Client::ALL.len()];
        let mut body = client.request("chat", &format!("conversation {number}"), false);
        let mut turns = String::new();
        for turn in 0..3 {
            let answer = post(world.gateway.addr, client.path(), "", body.to_string().as_bytes()).await;
            assert_eq!(answer.status, 200, "{client:?}: {answer:?}");
            turns.extend(served_by(&answer).chars().next());
            let messages = body["messages"].as_array_mut().unwrap();
            messages.push(json!({"role": "assistant", "content": "go on"}));
            messages.push(json!({"role": "user", "content": format!("turn {turn}")}));
        }
        assert!(["ooo", "aaa"].contains(&&*turns), "{client:?} {number}: {turns}");
        homes.push_str(&turns[..1]);
    }
    assert!(homes.contains('o') && homes.contains('a'), "they are spread: {homes}");
}

#[tokio::test]
async fn a_request_that_is_clearly_too_long_goes_to_the_target_for_long_ones() {
    let more = "aliases: {long: {targets: [openai/gpt-4], on_context_overflow: [anthropic/claude-haiku-4-5]}}\n";
    let world = World::new(more).await;
    for client in Client::ALL {
        for (words, provider) in [(10, "openai"), (20_000, "anthropic")] {
            let body = client.request("long", &"some words ".repeat(words), false).to_string();
            let answer = post(world.gateway.addr, client.path(), "", body.as_bytes()).await;
            assert_eq!(answer.status, 200, "{client:?}: {answer:?}");
            assert_eq!(answer.header("x-gateway-provider"), Some(provider), "{client:?} {words}");
        }
    }
}

/// Model; the hint natively and in headers; the field at fault natively and in headers; words of the message.
type Refused = (&'static str, Value, &'static str, &'static str, &'static str, Vec<&'static str>);

#[tokio::test]
async fn what_cannot_be_routed_is_refused_with_the_field_and_the_reason() {
    let world = World::new(MORE).await;
    let routing = |field: &str, value: Value| json!({"routing": {field: value}});
    let cases: Vec<Refused> = vec![
        (
            "both",
            routing("exclude_providers", json!(["openai", "anthropic"])),
            "x-gateway-exclude: openai, anthropic\r\n",
            "",
            "",
            vec!["openai/gpt-5.4-mini", "anthropic/claude-haiku-4-5", "excluded"],
        ),
        (
            "both",
            routing("preferred_providers", json!(["nobody"])),
            "x-gateway-prefer: nobody\r\n",
            "routing.preferred_providers[0]",
            "x-gateway-prefer",
            vec!["nobody", "openai, anthropic"],
        ),
        (
            "both",
            routing("exclude_providers", json!(["openai", "nobody"])),
            "x-gateway-exclude: openai,nobody\r\n",
            "routing.exclude_providers[1]",
            "x-gateway-exclude",
            vec!["nobody"],
        ),
        (
            "both",
            json!({"provider": "nobody"}),
            "x-gateway-provider: nobody\r\n",
            "provider",
            "x-gateway-provider",
            vec!["nobody"],
        ),
        (
            "both",
            routing("strategy", json!("fastest")),
            "x-gateway-strategy: fastest\r\n",
            "routing.strategy",
            "x-gateway-strategy",
            vec!["fallback"],
        ),
    ];
    let all_cases = Client::ALL.into_iter().flat_map(|client| cases.iter().map(move |case| (client, case)));
    all(all_cases.map(|(client, (model, native, headers, native_field, header, words))| {
        let world = &world;
        async move {
            let answer = ask(world, client, model, native, headers).await;
            let case = format!("{client:?} {model} {native}");
            ensure!(answer.status == 400, "{case}: {answer:?}");
            let Some((_, message)) = client.error(&answer.json()) else { return Err(format!("{case}: {answer:?}")) };
            for word in words {
                ensure!(message.contains(word), "{case}: {word:?} is not in {message:?}");
            }
            let (told, field) = match client {
                Client::Native => (answer.json()["details"]["field"].clone(), *native_field),
                Client::OpenAi => (answer.json()["error"]["param"].clone(), *header),
                Client::Anthropic => return Ok(()),
            };
            ensure!(told.as_str().unwrap_or_default() == field, "{case}: {told} is not {field:?}");
            Ok(())
        }
    }))
    .await;
    assert!(world.simulator.ledger().is_empty());
}

#[tokio::test]
async fn required_capabilities_rule_out_who_lacks_them() {
    let simulator =
        simulator::Simulator::start(simulator::Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let yaml = format!(
        "{}aliases: {{mixed: {{targets: [plain/m, anthropic/claude-haiku-4-5]}}, only: {{targets: [plain/m]}}}}\n",
        crate::harness::providers(&simulator).replacen(
            "providers:\n",
            &format!(
                "providers:\n  plain: {{dialect: openai_chat, base_url: 'http://{}/v1', api_key: sk-plain, capabilities: \
                 [streaming]}}\n",
                simulator.addr()
            ),
            1
        )
    );
    let gateway = crate::harness::Gateway::start(&yaml).await;
    let world = World { gateway, simulator };
    let needs = json!({"routing": {"required_capabilities": ["tools"]}});
    let answer = ask(&world, Client::Native, "mixed", &needs, "").await;
    assert_eq!((answer.status, served_by(&answer).as_str()), (200, "anthropic/claude-haiku-4-5"), "{answer:?}");
    let answer = ask(&world, Client::Native, "mixed", &json!({}), "").await;
    assert_eq!(served_by(&answer), "plain/m");
    let answer = ask(&world, Client::Native, "only", &needs, "").await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.text().contains("tools"), "{answer:?}");
    let unknown = json!({"routing": {"required_capabilities": ["telepathy"]}});
    let answer = ask(&world, Client::Native, "only", &unknown, "").await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.text().contains("required_capabilities"), "{answer:?}");
}

#[tokio::test]
async fn models_that_do_not_exist_and_models_that_are_not_named() {
    let world = World::new(MORE).await;
    for client in Client::ALL {
        for (model, near) in
            [("bot", "both"), ("claud-haiku-4-5", "claude-haiku-4-5"), ("nobody/model", "GET /v1/models")]
        {
            let answer = ask(&world, client, model, &json!({}), "").await;
            assert_eq!(answer.status, 404, "{client:?} {model}: {answer:?}");
            let (kind, message) = client.error(&answer.json()).unwrap();
            let expected = match client {
                Client::Native => "model_not_found",
                Client::OpenAi => "invalid_request_error",
                Client::Anthropic => "not_found_error",
            };
            assert_eq!(kind, expected);
            assert!(message.contains(near), "{client:?} {model}: {message}");
            if client == Client::OpenAi {
                assert_eq!(answer.json()["error"]["code"], "gateway_model_not_found", "{answer:?}");
            }
        }
        let answer = ask(&world, client, "", &json!({}), "").await;
        if client == Client::Native {
            assert_eq!((answer.status, served_by(&answer).as_str()), (200, "openai/gpt-5.4-mini"), "{answer:?}");
        } else {
            assert_eq!(answer.status, 400, "{client:?}: {answer:?}");
            assert!(client.error(&answer.json()).unwrap().1.contains("model is required"), "{answer:?}");
        }
    }
    let fallen = json!({"provider": "anthropic"});
    let answer = ask(&world, Client::Native, "", &fallen, "").await;
    assert_eq!(served_by(&answer), "anthropic/claude-haiku-4-5", "the default model of the pinned provider");
}

#[tokio::test]
async fn models_are_listed_in_the_shape_of_the_asker() {
    let world = World::new(MORE).await;
    let addr = world.gateway.addr;
    let openai = get(addr, "/v1/models").await.json();
    let ids: Vec<String> =
        openai["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(openai["object"], "list");
    assert_eq!(ids[..3], ["both", "cheap", "later"]);
    assert!(ids.contains(&"openai/gpt-5.4-mini".to_owned()) && ids.contains(&"anthropic/claude-haiku-4-5".to_owned()));
    assert!(
        openai["data"].as_array().unwrap().iter().all(|model| model["object"] == "model" && model["created"].is_u64())
    );

    let anthropic = |query: String| async move {
        crate::harness::client::ask(
            addr,
            "GET",
            &format!("/v1/models{query}"),
            "anthropic-version: 2023-06-01\r\n",
            b"",
        )
        .await
        .json()
    };
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = anthropic(format!("?limit=3{after}")).await;
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 3 && data.iter().all(|model| model["type"] == "model"), "{page}");
        assert_eq!((&page["first_id"], &page["last_id"]), (&data[0]["id"], &data[data.len() - 1]["id"]));
        paged.extend(data.iter().map(|model| model["id"].as_str().unwrap().to_owned()));
        if page["has_more"] == false {
            break;
        }
        assert!(paged.len() < 1000, "the pages do not end");
        after = format!("&after_id={}", page["last_id"].as_str().unwrap().replace('/', "%2F"));
    }
    assert_eq!(paged, ids);
    let before = anthropic(format!("?limit=2&before_id={}", ids[4].replace('/', "%2F"))).await;
    assert_eq!((&before["first_id"], &before["last_id"]), (&ids[2].clone().into(), &ids[3].clone().into()), "{before}");
    assert_eq!(get(addr, "/anthropic/v1/models").await.json()["data"][0]["type"], "model");
    assert_eq!(get(addr, "/openai/v1/models").await.json()["object"], "list");

    for path in ["/v1/models/both", "/v1/models/openai/gpt-5.4-mini", "/v1/models/openai%2Fgpt-5.4-mini"] {
        let model = get(addr, path).await;
        assert_eq!((model.status, &model.json()["object"]), (200, &"model".into()), "{path}: {model:?}");
    }
    let missing = get(addr, "/v1/models/bot").await;
    assert_eq!(
        (missing.status, &missing.json()["error"]["code"]),
        (404, &"gateway_model_not_found".into()),
        "{missing:?}"
    );
    let missing = get(addr, "/anthropic/v1/models/bot").await;
    assert_eq!((missing.status, &missing.json()["error"]["type"]), (404, &"not_found_error".into()), "{missing:?}");
    assert!(world.simulator.ledger().is_empty());
}
