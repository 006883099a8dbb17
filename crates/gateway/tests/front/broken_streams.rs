//! After the first content: no second try, no pretence of success.

use crate::harness::{Path, STORY, World, all, ensure, paths};

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
