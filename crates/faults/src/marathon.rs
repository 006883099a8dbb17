//! Many requests, each with a fault that was drawn for it, and the reconciliation of what became of them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::AnyError;
use crate::kinds::{KINDS, Kind};
use crate::process::Resources;
use crate::reconcile::{Findings, Outcome, Violation, reconcile};
use crate::swarm::{Caller, Plan, Sent};
use crate::world::{CANARIES, World};

/// Requests between two reconciliations.
const ROUND: u64 = 1_000;
/// After so many requests everything that is made once has been made.
const WARM: u64 = 10_000;
/// How long the gateway may take to come to rest after the last request of a round.
const REST: Duration = Duration::from_secs(10);
/// Idle connections to providers are closed after 60 s.
const IDLE_CONNECTIONS: Duration = Duration::from_secs(75);
/// Violations that are shown.
const SHOWN: usize = 40;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) requests: u64,
    pub(crate) concurrency: usize,
    pub(crate) seed: u64,
    /// Number of the first request: one request of a run can be repeated alone.
    pub(crate) first: u64,
    /// Wait until idle connections have been closed, and look at what is left.
    pub(crate) long: bool,
}

#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    outcomes: BTreeMap<Outcome, u64>,
    violations: u64,
}

/// False if anything was violated.
pub(crate) async fn run(program: &Path, size: Size) -> Result<bool, AnyError> {
    let mut world = World::start(program, size.seed).await?;
    let began = Instant::now();
    let at_start = world.gateway.resources()?;
    let mut tallies: BTreeMap<&'static str, Tally> = BTreeMap::new();
    let mut all = Findings::default();
    let mut warm = None;
    let mut next = size.first;
    let end = size.first + size.requests;
    while next < end {
        let until = end.min(next + ROUND);
        let sent = swarm(&world, size, next..until).await;
        next = until;
        let at_rest = world.idle(REST).await?;
        let lines = settled_lines(&world, &sent).await;
        let findings = reconcile(&sent, &world.take_arrivals(), &lines);
        count(&mut tallies, &sent, &findings);
        all.injected += findings.injected;
        all.arrivals += findings.arrivals;
        all.cut += findings.cut;
        all.cut_underbilled += findings.cut_underbilled;
        all.violations.extend(findings.violations);
        if !at_rest {
            all.violations.push(general("I7", format!("not at rest {REST:?} after request {until}")));
        }
        if next < end {
            world.forget().await?;
        }
        if next - size.first >= WARM {
            warm.get_or_insert(world.gateway.resources()?);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let warm = match warm {
        Some(warm) => warm,
        None => world.gateway.resources()?,
    };
    let resources = afterwards(&world, size, warm, &mut all.violations).await?;

    let mut out = io::stdout().lock();
    write_table(&mut out, &tallies)?;
    writeln!(
        out,
        "\n{} requests in {seconds:.0} s, {} kinds, {} requests to providers, {} of them with a fault; seed {}\n\
         memory {} -> {} KiB, open files {} -> {}, threads {}\n\
         answers that broke off: {}, billed for less than their client received: {}",
        size.requests,
        tallies.len(),
        all.arrivals,
        all.injected,
        size.seed,
        warm.resident_kib,
        resources.resident_kib,
        at_start.files,
        resources.files,
        resources.threads,
        all.cut,
        all.cut_underbilled,
    )?;
    for violation in all.violations.iter().take(SHOWN) {
        writeln!(out, "VIOLATED {violation}; seed {}", size.seed)?;
    }
    writeln!(out, "{} violations", all.violations.len())?;
    Ok(all.violations.is_empty())
}

fn general(invariant: &'static str, what: String) -> Violation {
    Violation { invariant, number: None, request_id: String::new(), what }
}

async fn swarm(world: &World, size: Size, numbers: std::ops::Range<u64>) -> Vec<Sent> {
    let next = Arc::new(AtomicU64::new(numbers.start));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..size.concurrency {
        let (next, address, end) = (Arc::clone(&next), world.gateway.address, numbers.end);
        callers.spawn(async move {
            let (mut caller, mut sent) = (Caller::new(address), Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return sent;
                }
                sent.push(caller.ask(Plan::draw(size.seed, number)).await);
            }
        });
    }
    let mut all = Vec::new();
    while let Some(Ok(sent)) = callers.join_next().await {
        all.extend(sent);
    }
    all.sort_by_key(|sent: &Sent| sent.plan.number);
    all
}

/// The log is written some milliseconds after the answers.
async fn settled_lines(world: &World, sent: &[Sent]) -> Vec<crate::process::Line> {
    let (mut count, mut unchanged) = (0, 0);
    while unchanged < 5 && count < 2 * sent.len() {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let now = world.gateway.line_count();
        unchanged = if now == count { unchanged + 1 } else { 0 };
        count = now;
    }
    world.gateway.take_lines()
}

fn count(tallies: &mut BTreeMap<&'static str, Tally>, sent: &[Sent], findings: &Findings) {
    for (sent, outcome) in sent.iter().zip(&findings.outcomes) {
        let tally = tallies.entry(sent.plan.kind.name).or_default();
        tally.sent += 1;
        *tally.outcomes.entry(*outcome).or_default() += 1;
        let number = sent.plan.number;
        tally.violations +=
            findings.violations.iter().filter(|violation| violation.number == Some(number)).count() as u64;
    }
}

/// What is left when nothing is asked any more.
async fn afterwards(
    world: &World,
    size: Size,
    warm: Resources,
    violations: &mut Vec<Violation>,
) -> Result<Resources, AnyError> {
    let gateway = &world.gateway;
    let metrics = gateway.metrics().await?;
    for canary in CANARIES.iter().filter(|canary| metrics.contains(**canary)) {
        violations.push(general("I8", format!("{canary} in the metrics")));
    }
    violations.extend(gateway.unfit().into_iter().map(|line| general("I8", format!("in the log: {line}"))));
    let stderr = gateway.stderr();
    if stderr.contains("panicked") {
        violations.push(general("I10", stderr));
    }
    // The connection that asks is one.
    let connections: f64 = gateway.metric("gateway_connections").await?.values().sum();
    if connections > 1.0 {
        violations.push(general("I7", format!("{connections} connections of clients are open")));
    }
    let mut resources = gateway.resources()?;
    // Listener, log and a few of the runtime's own, per worker too.
    let most_files = 40;
    if size.long {
        let began = Instant::now();
        while resources.files > most_files && began.elapsed() < IDLE_CONNECTIONS {
            tokio::time::sleep(Duration::from_secs(1)).await;
            resources = gateway.resources()?;
        }
        if resources.files > most_files {
            violations.push(general("I7", format!("{} open files at rest", resources.files)));
        }
    }
    // A few MiB are the allocator's.
    let most_kib = warm.resident_kib + warm.resident_kib / 4 + 8 * 1024;
    if resources.resident_kib > most_kib {
        let grown = format!("memory grew from {} to {} KiB", warm.resident_kib, resources.resident_kib);
        violations.push(general("I10", grown));
    }
    Ok(resources)
}

fn write_table(out: &mut impl Write, tallies: &BTreeMap<&'static str, Tally>) -> io::Result<()> {
    let width = KINDS.iter().map(|kind| kind.name.len()).max().unwrap_or(0);
    write!(out, "| {:width$} | requests |", "fault")?;
    Outcome::ALL.iter().try_for_each(|(_, name)| write!(out, " {name} |"))?;
    writeln!(out, " violations |")?;
    writeln!(out, "|-{}-|---:|{}---:|", "-".repeat(width), "---:|".repeat(Outcome::ALL.len()))?;
    let known = |kind: &Kind| tallies.get(kind.name).map(|tally| (kind.name, tally));
    for (name, tally) in KINDS.iter().filter_map(known) {
        write!(out, "| {name:width$} | {:8} |", tally.sent)?;
        for (outcome, title) in Outcome::ALL {
            let count = tally.outcomes.get(&outcome).copied().unwrap_or(0);
            let (text, width) = (if count == 0 { String::new() } else { count.to_string() }, title.len());
            write!(out, " {text:>width$} |")?;
        }
        writeln!(out, " {:10} |", tally.violations)?;
    }
    Ok(())
}
