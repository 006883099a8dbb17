//! What a key may be used for, in the plan of a request and in the lists.

use std::time::Instant;

use bytes::Bytes;
use gateway_core::dialect::Dialect;
use serde_json::{Value, json};

use super::*;
use crate::api::ingress::Inbound;
use crate::api::{Arrival, about, body, egress::Reply, models};
use crate::call::Call;
use crate::config::{self, Config, System};
use crate::gateway::{Gateway, Process};
use crate::pipeline;
use crate::request_id::RequestId;
use crate::telemetry::explain::Explanations;
use crate::telemetry::log::{Format, Level, Log};

fn gateway() -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let text = "providers: {openai: {api_key: k}, anthropic: {api_key: k}}\n\
                aliases: {fast: {targets: [openai/gpt-5-mini, anthropic/claude-haiku-4-5]}, smart: {targets: [openai/gpt-5.3]}}\n\
                log: {format: json}\n";
    std::fs::write(&file, text).unwrap();
    let args = config::Args { config: Some(file), ..config::Args::default() };
    let config: Config = config::load(&args, &System).unwrap();
    let log = Log::start(Format::Json, Level::Error, Explanations::new(None), std::io::sink()).unwrap();
    Gateway::new(Arc::new(Process::new(log, None).unwrap()), config, None).unwrap()
}

fn names(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|name| (*name).to_owned()).collect())
}

fn caller(scope: Scope) -> Caller {
    let key = KeySettings::named("scoped").key("scoped".into(), text::read("key-scoped").unwrap(), None);
    Caller::Key(Arc::new(VirtualKey { scope, ..key }))
}

/// The targets of a request for `model`, those that are skipped in brackets; or the status and the message of the refusal.
fn planned(gateway: &Gateway, scope: &Scope, model: &str, more: &str) -> Result<Vec<String>, (u16, String)> {
    let arrival = Arrival {
        started: Instant::now(),
        request_id: RequestId::new(),
        correlation_id: None,
        dialect: Dialect::Native,
        caller: caller(scope.clone()),
    };
    let model = if model.is_empty() { String::new() } else { format!("\"model\": \"{model}\", ") };
    let body = format!("{{{model}{more}\"messages\": [{{\"role\": \"user\", \"content\": \"hi\"}}]}}");
    let admitted = gateway.process.admission.unbounded();
    let inbound = Inbound {
        arrival,
        route: "",
        headers: HeaderMap::new(),
        body: Ok(Bytes::from(body)),
        admitted,
        looked: Default::default(),
    };
    let call = Call::open(inbound, Dialect::Native, false).unwrap();
    match pipeline::plan(gateway, &call) {
        Ok(plan) => {
            let targets = plan.targets.iter().map(|planned| planned.target.to_string());
            Ok(targets.chain(plan.skipped.iter().map(|skipped| format!("[{skipped}]"))).collect())
        }
        Err(error) => Err((error.kind.row().status, error.message)),
    }
}

#[test]
fn a_target_outside_of_the_scope_is_skipped_and_none_left_is_a_refusal() {
    let gateway = gateway();
    let (mini, haiku) = ("openai/gpt-5-mini", "anthropic/claude-haiku-4-5");
    let skipped = |target: &str| format!("[{target}: this key may not use it]");
    let everything = Scope::EVERYTHING;
    let of_openai = Scope { providers: names(&["openai"]), ..Scope::EVERYTHING };
    let of_alias = Scope { models: names(&["fast"]), ..Scope::EVERYTHING };
    let of_models = Scope { models: names(&["anthropic/*", "openai/gpt-5.3"]), ..Scope::EVERYTHING };
    let plan = |scope: &Scope, model: &str| planned(&gateway, scope, model, "");
    // Whoever may use everything first, so that there is a plan which nobody else may get.
    for model in [mini, haiku, "openai/gpt-5.3", "openai/never-heard-of"] {
        assert_eq!(plan(&everything, model), Ok(vec![model.to_owned()]));
        assert_eq!(plan(&everything, model), Ok(vec![model.to_owned()]));
    }
    assert_eq!(plan(&everything, "fast"), Ok(vec![mini.to_owned(), haiku.to_owned()]));
    assert_eq!(plan(&of_openai, "fast"), Ok(vec![mini.to_owned(), skipped(haiku)]));
    assert_eq!(plan(&of_alias, "fast"), Ok(vec![mini.to_owned(), haiku.to_owned()]));
    assert_eq!(plan(&of_models, "fast"), Ok(vec![haiku.to_owned(), skipped(mini)]));
    assert_eq!(plan(&of_models, "smart"), Ok(vec!["openai/gpt-5.3".to_owned()]));
    assert_eq!(plan(&of_models, "claude-haiku-4-5"), Ok(vec![haiku.to_owned()]));
    assert_eq!(plan(&of_openai, mini), Ok(vec![mini.to_owned()]));
    for (scope, model, told) in [
        (&of_openai, haiku, "its providers are: openai"),
        (&of_openai, "claude-haiku-4-5", "its providers are: openai"),
        (&of_alias, "smart", "its models are: fast"),
        (&of_alias, mini, "its models are: fast"),
        (&of_models, "openai/never-heard-of", "its models are: anthropic/*, openai/gpt-5.3"),
        (&of_alias, "", "any default model"),
    ] {
        let (status, message) = plan(scope, model).unwrap_err();
        assert_eq!(status, 403, "{model}: {message}");
        assert!(message.contains(told), "{model}: {message}");
    }
    // Hints do not widen it.
    let pinned = planned(&gateway, &of_openai, "fast", "\"provider\": \"anthropic\", ");
    assert_eq!(pinned, Ok(vec![mini.to_owned(), skipped(haiku)]));
    let excluded = planned(&gateway, &of_openai, "fast", "\"routing\": {\"exclude_providers\": [\"openai\"]}, ");
    assert_eq!(excluded.unwrap_err().0, 400);
    let many = Scope { models: Some((0..1000).map(|n| format!("m{n}")).collect()), ..Scope::EVERYTHING };
    let (_, message) = plan(&many, mini).unwrap_err();
    assert!(message.len() < 300 && message.ends_with("m19, and 980 more"), "{message}");
    // What there is besides is not told.
    let (status, message) = plan(&of_alias, "smarty").unwrap_err();
    assert_eq!(status, 404);
    assert!(!message.contains("smart"), "{message}");
}

fn json(reply: Reply) -> Value {
    match reply.body {
        body::Content::Bytes(Some(bytes)) => serde_json::from_slice(&bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lists_name_what_the_key_may_use() {
    let gateway = gateway();
    let listed = |scope: &Scope| -> Vec<String> {
        let list = json(models::list(&gateway, false, "", scope).unwrap());
        list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = listed(&Scope::EVERYTHING);
    assert!(all.len() > 10 && all.starts_with(&["fast".to_owned(), "smart".to_owned()]), "{all:?}");
    let of_alias = Scope { models: names(&["fast"]), ..Scope::EVERYTHING };
    assert_eq!(listed(&of_alias), ["fast"]);
    let of_model = Scope { models: names(&["openai/gpt-5.3"]), ..Scope::EVERYTHING };
    assert_eq!(listed(&of_model), ["smart", "openai/gpt-5.3"]);
    let of_anthropic = Scope { providers: names(&["anthropic"]), ..Scope::EVERYTHING };
    let some = listed(&of_anthropic);
    assert!(some.len() > 2 && some[0] == "fast" && some[1..].iter().all(|name| name.starts_with("anthropic/")));
    assert_eq!(listed(&Scope { models: names(&[]), ..Scope::EVERYTHING }), Vec::<String>::new());

    let shown = |scope: &Scope, name: &str| match models::show(&gateway, false, name, scope) {
        Ok(reply) => json(reply)["id"] == name,
        Err(error) => panic!("{error}"),
    };
    assert!(shown(&of_model, "openai/gpt-5.3") && shown(&of_model, "smart") && shown(&of_alias, "fast"));
    for (scope, name, status) in
        [(&of_alias, "smart", 403), (&of_alias, "openai/gpt-5.3", 403), (&of_alias, "nothing", 404)]
    {
        let error = models::show(&gateway, false, name, scope).unwrap_err();
        assert_eq!(error.kind.row().status, status, "{name}: {error}");
    }

    let providers = json(about::providers(&gateway, &of_model));
    assert_eq!(providers["total"], 2);
    assert_eq!(providers["providers"][0]["supported_models"], json!(["gpt-5.3"]));
    assert_eq!(providers["providers"][1]["supported_models"], json!([]));
    let providers = json(about::providers(&gateway, &of_anthropic));
    assert_eq!((&providers["total"], &providers["providers"][0]["name"]), (&1.into(), &"anthropic".into()));
    assert!(about::provider_health(&gateway, "anthropic", &of_anthropic).is_ok());
    let hidden = about::provider_health(&gateway, "openai", &of_anthropic).unwrap_err();
    assert!(hidden.message.ends_with("there are: anthropic"), "{hidden}");
}
