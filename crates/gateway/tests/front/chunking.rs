//! However a provider's stream is cut into pieces, the client reads the same text.

use crate::harness::{Path, World, all, ensure, paths};

const TEXT: &str = "Gr\u{fc}\u{df}e \u{1f600} \\\"and\\\" \u{4f60}\u{597d}, a+b=c; data: [DONE] event: x";

#[tokio::test]
async fn any_cut_gives_the_same_text() {
    let world = World::new("").await;
    let cuts = (0..12).map(|seed| format!("split=random,seed={seed}")).chain(
        [
            "split=1",
            "split=2",
            "split=7,crlf",
            "split=1,crlf",
            "crlf",
            "comments,split=3",
            "comments,crlf,split=random",
        ]
        .map(str::to_owned),
    );
    let streams: Vec<Path> = paths().filter(|path| path.streamed).collect();
    let cases = cuts.flat_map(|cut| streams.iter().map(move |path| (*path, cut.clone())).collect::<Vec<_>>());
    all(cases.map(|(path, cut)| reads(&world, path, cut))).await;
}

async fn reads(world: &World, path: Path, cut: String) -> Result<(), String> {
    let model = format!("{}/fault:{cut}", path.provider.name());
    let answer = world.ask(path.client, &model, &format!("Reply with exactly: {TEXT}"), true).await;
    let said = path.client.said(&answer, true);
    ensure!(said.text == TEXT && said.done && said.error.is_none(), "{path:?} {cut}: {said:?}: {}", answer.text());
    ensure!(answer.header("x-gateway-attempts") == Some("1"), "{path:?} {cut}: {answer:?}");
    Ok(())
}
