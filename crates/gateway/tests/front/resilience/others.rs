//! Requests that are too long for a target, or that it does not want to speak of, and the targets for those.

use super::{Say, Scripted, ask};
use crate::harness::{Answer, Client, Gateway, post};

const TOO_LONG: &str = "context_length_exceeded";
const UNWANTED: &str = "content_policy_violation";

/// Providers `short` (everything is too long for it), `prim` (wants to speak of nothing), `strict` (an ordinary 400) and
/// `good`, with aliases of these.
struct Scene {
    gateway: Gateway,
    providers: Vec<Scripted>,
}

async fn scene(aliases: &str) -> Scene {
    let says = [Say::error(400, TOO_LONG), Say::error(400, UNWANTED), Say::error(400, "other"), Say::good()];
    let mut providers = Vec::new();
    for say in says {
        providers.push(Scripted::saying(say).await);
    }
    let named: String = ["short", "prim", "strict", "good"]
        .iter()
        .zip(&providers)
        .map(|(name, provider)| provider.provider(name))
        .collect();
    let gateway = Gateway::start(&format!("providers:\n{named}aliases:\n{aliases}")).await;
    Scene { gateway, providers }
}

impl Scene {
    fn asked(&self) -> Vec<usize> {
        self.providers.iter().map(Scripted::asked).collect()
    }
}

fn by(answer: &Answer) -> (u16, Option<&str>, Option<&str>) {
    (answer.status, answer.header("x-gateway-provider"), answer.header("x-gateway-attempts"))
}

#[tokio::test]
async fn what_one_target_cannot_take_goes_to_the_targets_for_it() {
    let scene = scene(
        "  long: {targets: [short/m, strict/m], on_context_overflow: [good/m]}\n  \
         unwanted: {targets: [prim/m, strict/m], on_content_filter: [good/m]}\n  \
         longer: {targets: [short/m], on_context_overflow: [short/n, good/m]}\n  \
         both: {targets: [short/m], on_context_overflow: [prim/m], on_content_filter: [good/m]}\n",
    )
    .await;
    for (alias, attempts) in [("long", "2"), ("unwanted", "2"), ("longer", "3"), ("both", "3")] {
        for client in Client::ALL {
            let body = client.request(alias, "hi", false).to_string();
            let answer = post(scene.gateway.addr, client.path(), "", body.as_bytes()).await;
            assert_eq!(by(&answer), (200, Some("good"), Some(attempts)), "{client:?} {alias}: {answer:?}");
        }
    }
    assert_eq!(scene.providers[2].asked(), 0, "the next target in the ordinary order was asked");
}

#[tokio::test]
async fn without_targets_for_it_the_refusal_passes_as_it_came() {
    let scene = scene(
        "  long: {targets: [short/m, good/m], on_content_filter: [good/n]}\n  \
         unwanted: {targets: [prim/m, good/m], on_context_overflow: [good/n]}\n",
    )
    .await;
    for (alias, code, provider) in [("long", TOO_LONG, "short"), ("unwanted", UNWANTED, "prim")] {
        let answer = ask(&scene.gateway, alias, false).await;
        assert_eq!(by(&answer), (400, Some(provider), Some("1")), "{answer:?}");
        assert_eq!(answer.json()["error"]["code"], code, "{answer:?}");
    }
    assert_eq!(scene.asked(), [1, 1, 0, 0]);
}

#[tokio::test]
async fn an_ordinary_fault_of_the_request_ends_the_search_there_too() {
    let scene = scene("  long: {targets: [short/m], on_context_overflow: [strict/m, good/m]}\n").await;
    let answer = ask(&scene.gateway, "long", false).await;
    assert_eq!(by(&answer), (400, Some("strict"), Some("2")), "{answer:?}");
    assert_eq!(answer.json()["error"]["code"], "other", "{answer:?}");
}

#[tokio::test]
async fn a_request_that_was_too_long_beforehand_still_has_all_targets_for_long_ones() {
    let short = Scripted::saying(Say::error(400, TOO_LONG)).await;
    let good = Scripted::saying(Say::good()).await;
    let file = format!(
        "providers:\n  openai: {{api_key: sk-openai-0, base_url: 'http://127.0.0.1:9/v1'}}\n{}{}aliases:\n  \
         long: {{targets: [openai/gpt-4], on_context_overflow: [short/m, good/m]}}\n",
        short.provider("short"),
        good.provider("good")
    );
    let gateway = Gateway::start(&file).await;
    let body = Client::OpenAi.request("long", &"some words ".repeat(20_000), false).to_string();
    let answer = post(gateway.addr, Client::OpenAi.path(), "", body.as_bytes()).await;
    assert_eq!(by(&answer), (200, Some("good"), Some("2")), "{answer:?}");
}
