//! After the first content: no second try, no pretence of success.

use std::time::Duration;

use crate::harness::upstream::Upstream;
use crate::harness::{Client, Gateway, Path, STORY, World, all, ensure, paths, post};

/// Every one of them strikes when some content has passed and some has not.
const FAULTS: [&str; 9] = [
    "truncate=12",
    "abort=12",
    "reset_after=12",
    "stall_after=12",
    "stall_after=12,ping_every=50",
    "error_after=6",
    "error_after=6,error_type=overloaded_error",
    "garbage=12",
    "wrong_length=-2500",
];

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_and_is_not_repeated() {
    let mut more = "timeouts: {stream_idle_seconds: 0.6, stream_silent_seconds: 1.2}\naliases:\n".to_owned();
    for (index, fault) in FAULTS.iter().enumerate() {
        for provider in ["openai", "anthropic"] {
            more += &format!("  b{index}-{provider}: {{targets: ['{provider}/fault:{fault}', openai/sim]}}\n");
        }
    }
    let world = World::new(&more).await;
    let cases = (0..FAULTS.len()).flat_map(|index| paths().filter(|path| path.streamed).map(move |path| (index, path)));
    all(cases.map(|(index, path)| breaks(&world, index, path))).await;
}

async fn breaks(world: &World, index: usize, path: Path) -> Result<(), String> {
    let case = format!("{:?} from {:?} {}", path.client, path.provider, FAULTS[index]);
    let prompt = format!("{STORY} for {index} {:?} {:?}.", path.client, path.provider);
    let answer = world.ask(path.client, &format!("b{index}-{}", path.provider.name()), &prompt, true).await;
    let said = path.client.said(&answer, true);
    ensure!(answer.status == 200 && answer.complete, "{case}: {answer:?}");
    ensure!(!said.text.is_empty(), "{case}: {}", answer.text());
    ensure!(!said.done, "{case}: {}", answer.text());
    let Some(error) = said.error else { return Err(format!("{case}: no error event in {}", answer.text())) };
    ensure!(path.client.error(&error).is_some(), "{case}: {error}");
    let attempts = world.asked(&prompt).len();
    ensure!(attempts == 1, "{case}: {attempts} upstream requests");
    let line = world.gateway.told(answer.request_id()).await;
    ensure!(line["outcome"] == "truncated" && line["attempts"] == 1, "{case}: {line}");
    Ok(())
}

#[tokio::test]
async fn a_provider_that_goes_on_after_its_last_event_does_not_keep_the_client() {
    let begin = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
                 data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n\
                 data: [DONE]\n\n";
    let upstream = Upstream::endless(begin, ": and another thing\n\n").await;
    let provider = format!("{{dialect: openai_chat, base_url: 'http://{}', api_key: sk-x}}", upstream.addr);
    let gateway = Gateway::start(&format!("providers: {{p: {provider}}}\n")).await;
    for client in Client::ALL {
        let body = client.request("p/m", "hello", true).to_string();
        let asked = post(gateway.addr, client.path(), "content-type: application/json\r\n", body.as_bytes());
        let answer = tokio::time::timeout(Duration::from_secs(8), asked).await.expect("the stream ends");
        let said = client.said(&answer, true);
        assert!(said.done && said.text == "hi" && answer.complete, "{client:?}: {said:?}");
        assert_eq!(gateway.told(answer.request_id()).await["outcome"], "ok", "{client:?}");
    }
}
