//! Three providers over a day with brownouts, an outage and an hour of rate limits: what each strategy costs and how long its
//! answers take, beside somebody who knows the future. `make simulate` prints the table and writes it and the picture into
//! `docs/`; the same seed gives the same day.

mod chooser;
mod plot;
mod world;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use gateway_core::target::Strategy;

use chooser::{Way, live};
use plot::Point;

const SEED: u64 = 20_261_123;
const BEGIN: &str = "<!-- generated: make simulate -->\n";
const END: &str = "<!-- end of generated -->";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let providers = world::providers().ok_or("a price is out of range")?;
    let requests = world::requests(SEED);
    let plain = Strategy::ALL.map(|strategy| Way::Strategy { strategy, affinity: false });
    let affinity = Way::Strategy { strategy: Strategy::RoundRobin, affinity: true };
    let oracles = [Way::CheapestThatAnswers, Way::FastestThatAnswers];
    let ways = plain.into_iter().chain([affinity]).chain(oracles);
    let days: Vec<_> = ways.map(|way| (way, live(way, &providers, &requests))).collect();

    let mut table = String::from(
        "| strategy | answered | median | 95th percentile | USD for 1,000 answers | attempts a request | prompts found in the \
         cache |\n|---|---|---|---|---|---|---|\n",
    );
    for (way, day) in &days {
        writeln!(
            table,
            "| {} | {:.2} % | {:.1} s | {:.1} s | {:.2} | {:.3} | {:.0} % |",
            way.name(),
            day.success_percent(),
            day.quantile(0.5),
            day.quantile(0.95),
            day.usd_per_thousand(),
            day.attempts as f64 / requests.len() as f64,
            100.0 * day.cached as f64 / day.turns.max(1) as f64,
        )?;
    }
    writeln!(std::io::stdout(), "{} requests\n{table}", requests.len())?;

    let points: Vec<Point> = days
        .iter()
        .map(|(way, day)| Point {
            name: way.name(),
            usd: day.usd_per_thousand(),
            p95: day.quantile(0.95),
            success_percent: day.success_percent(),
            oracle: matches!(way, Way::CheapestThatAnswers | Way::FastestThatAnswers),
        })
        .collect();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    std::fs::write(docs.join("routing-day.svg"), plot::svg(&points))?;
    let path = docs.join("routing.md");
    let page = std::fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(BEGIN).ok_or("docs/routing.md has no place for the table")?;
    let (_, after) = rest.split_once(END).ok_or("docs/routing.md does not end the table")?;
    std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}"))?;
    Ok(())
}
