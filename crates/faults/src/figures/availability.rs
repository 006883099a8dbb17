//! What failing providers cost the clients, and the providers.

use std::path::Path;
use std::time::Duration;

use simulator::{Config, Simulator};

use super::{Figure, gateway, milliseconds, percent, simulator};
use crate::AnyError;
use crate::load::{Pool, Shot, quantile};
use crate::process::Gateway;
use crate::world::closed_address;

const BOTH: &str = "aliases: {both: {strategy: fallback, targets: [a/sim, b/sim]}}\n";

/// How often a provider was asked in vain, by the gateway's own count.
async fn failed_attempts(gateway: &Gateway, provider: &str) -> Result<f64, AnyError> {
    let label = format!("provider=\"{provider}\"");
    let attempts = gateway.metric("gateway_upstream_attempts_total").await?;
    Ok(attempts
        .iter()
        .filter(|(labels, _)| labels.contains(&label) && !labels.contains("\"ok\""))
        .map(|(_, n)| n)
        .sum())
}

pub(super) async fn dead(program: &Path) -> Result<Vec<Figure>, AnyError> {
    let (rate, length, killed_after) = (200.0, Duration::from_secs(20), Duration::from_secs(5));
    // Some time to answer, so that there is something to kill.
    let slow = Config { first_token_delay: Duration::from_millis(20), ..Config::default() };
    let (a, b) = (simulator(slow.clone()).await?, simulator(slow).await?);
    let gateway = gateway(program, &[("a", a.addr()), ("b", b.addr())], BOTH).await?;
    let pool = Pool::new(gateway.address);
    let firing = pool.fire("both", rate, length);
    let killing = async {
        tokio::time::sleep(killed_after).await;
        a.stop().await;
        // An open circuit is probed after five seconds, or a little less.
        tokio::time::sleep(Duration::from_secs(2)).await;
        failed_attempts(&gateway, "a").await
    };
    let (shots, failed) = tokio::join!(firing, killing);
    let failed = failed?;
    let all_failed = failed_attempts(&gateway, "a").await?;
    let good = shots.iter().filter(|shot| shot.good).count();
    let success = percent(good, shots.len());
    let asked_after = shots.iter().filter(|shot| shot.due > killed_after).count();
    Ok(vec![
        Figure::new(
            "client success with one of two providers killed",
            "≥ 99.95 %",
            format!("{success:.3} % of {} requests", shots.len()),
            success >= 99.95,
        ),
        Figure::new(
            "failed attempts until a dead provider is left alone (4 of them are under way when it dies)",
            "≤ 5",
            format!("{failed:.0} in 2 s, {all_failed:.0} while {asked_after} requests came in 15 s"),
            failed <= 5.0,
        ),
    ])
}

pub(super) async fn amplification(program: &Path) -> Result<Vec<Figure>, AnyError> {
    let (a, b) = (simulator(Config::default()).await?, simulator(Config::default()).await?);
    let aliases = "aliases:\n  outage: {strategy: fallback, targets: ['a/sim+fault:status=500', 'b/sim+fault:status=500']}\n  \
                   healthy: {strategy: fallback, targets: [a/sim, b/sim]}\n  \
                   errors: {strategy: fallback, targets: ['a/sim+fault:status=500', b/sim]}\n";
    let ratio = |asked: usize, shots: &[Shot]| asked as f64 / shots.len().max(1) as f64;
    // A gateway for each: what one learns must not help the other.
    let healthy = {
        let gateway = gateway(program, &[("a", a.addr()), ("b", b.addr())], aliases).await?;
        let pool = Pool::new(gateway.address);
        // One request of a hundred meets a provider that fails.
        let (most, few) = tokio::join!(
            pool.fire("healthy", 198.0, Duration::from_secs(10)),
            pool.fire("errors", 2.0, Duration::from_secs(10))
        );
        ratio(a.take_ledger().len() + b.take_ledger().len(), &[most, few].concat())
    };
    let gateway = gateway(program, &[("a", a.addr()), ("b", b.addr())], aliases).await?;
    let shots = Pool::new(gateway.address).fire("outage", 100.0, Duration::from_secs(30)).await;
    let outage = ratio(a.take_ledger().len() + b.take_ledger().len(), &shots);
    Ok(vec![
        Figure::new(
            "requests to providers per request, 1 % of them failing",
            "≤ 1.05",
            format!("{healthy:.3}"),
            healthy <= 1.05,
        ),
        Figure::new(
            "requests to providers per request, all failing (100/s for 30 s)",
            "≤ 1.2",
            format!("{outage:.3}"),
            outage <= 1.2,
        ),
    ])
}

/// A few requests for each of many providers that refuse connections, so that none of them is known to be down.
pub(super) async fn failover(program: &Path) -> Result<Vec<Figure>, AnyError> {
    const PROVIDERS: usize = 300;
    const EACH: usize = 4;
    let (closed, good) = (closed_address()?, simulator(Config::default()).await?);
    let names: Vec<String> = (0..PROVIDERS).map(|number| format!("down{number}")).collect();
    let mut providers: Vec<(&str, _)> = names.iter().map(|name| (name.as_str(), closed)).collect();
    providers.push(("good", good.addr()));
    let mut more = "aliases:\n  direct: {strategy: fallback, targets: [good/sim]}\n".to_owned();
    for name in &names {
        more += &format!("  via-{name}: {{strategy: fallback, targets: [{name}/sim, good/sim]}}\n");
    }
    let gateway = gateway(program, &providers, &more).await?;
    let pool = Pool::new(gateway.address);
    for _ in 0..200 {
        pool.ask("direct").await;
    }
    let (mut direct, mut through, mut failed) = (Vec::new(), Vec::new(), 0);
    for _ in 0..EACH {
        for name in &names {
            let (one, other) = (pool.ask("direct").await, pool.ask(&format!("via-{name}")).await);
            failed += usize::from(!one.good) + usize::from(!other.good);
            direct.push(one.took);
            through.push(other.took);
        }
    }
    let count = through.len();
    let at = |times: &[Duration], share| milliseconds(quantile(times.to_vec(), share));
    let added = at(&through, 0.99) - at(&direct, 0.99);
    let value = format!(
        "p50 {:.2} instead of {:.2} ms, p99 {:.2} instead of {:.2} ms of {count} requests, {failed} failed",
        at(&through, 0.5),
        at(&direct, 0.5),
        at(&through, 0.99),
        at(&direct, 0.99)
    );
    let what = "time of an answer with a refused connection before it, and without";
    Ok(vec![Figure::new(what, "p99 ≤ 5 ms more", value, added <= 5.0 && failed == 0)])
}

/// Two providers of equal rank: one fails at once, one works and takes its time.
pub(super) async fn share(program: &Path) -> Result<Vec<Figure>, AnyError> {
    let (length, warm) = (Duration::from_secs(12), Duration::from_secs(5));
    let slow = Config { first_token_delay: Duration::from_millis(100), ..Config::default() };
    let mut figures = Vec::new();
    for strategy in ["round_robin", "latency", "least_busy", "weighted"] {
        let what = format!("share of a provider that fails fast, after 5 s, strategy `{strategy}`");
        let (bad, good) = (simulator(Config::default()).await?, simulator(slow.clone()).await?);
        let more =
            format!("aliases: {{both: {{strategy: {strategy}, targets: ['bad/sim+fault:status=500', good/sim]}}}}\n");
        let gateway = match gateway(program, &[("bad", bad.addr()), ("good", good.addr())], &more).await {
            Ok(gateway) => gateway,
            Err(_) => {
                figures.push(Figure::missing(what, "< 5 %", "this build does not have the strategy"));
                continue;
            }
        };
        let shots = Pool::new(gateway.address).fire("both", 100.0, length).await;
        if shots.iter().all(|shot| shot.status == 400) {
            figures.push(Figure::missing(what, "< 5 %", "this build does not have the strategy"));
            continue;
        }
        let late = |simulator: &Simulator| {
            // Its clock began a moment before the first request.
            let entries = simulator.take_ledger();
            let end = entries.last().map(|entry| entry.received).unwrap_or_default();
            let begin = end.saturating_sub(length.saturating_sub(warm));
            entries.into_iter().filter(|entry| entry.received > begin.max(warm)).count()
        };
        let (to_bad, to_good) = (late(&bad), late(&good));
        let share = percent(to_bad, to_bad + to_good);
        let success = percent(shots.iter().filter(|shot| shot.good).count(), shots.len());
        let value = format!("{share:.2} % of {} requests; {success:.2} % of clients served", to_bad + to_good);
        figures.push(Figure::new(what, "< 5 %", value, share < 5.0));
    }
    Ok(figures)
}

/// A provider that was down for one second is up again before it is probed for the first time. Of three seconds that depends on
/// chance: a probe that fails doubles the wait.
pub(super) async fn recovery(program: &Path) -> Result<Vec<Figure>, AnyError> {
    const RUNS: usize = 6;
    let mut figures = Vec::new();
    let after_a_probe = "≤ 15 s: 1.5 times the wait after one failed probe";
    for (seconds, goal, most) in [(1, "≤ 8 s", 8.0), (3, after_a_probe, 15.0)] {
        let down = Duration::from_secs(seconds);
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..RUNS {
            let program = program.to_owned();
            running.spawn(async move { recovery_from(&program, down).await });
        }
        let runs = running.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut after: Vec<f64> =
            runs.iter().map(|(after, _)| after.map_or(f64::INFINITY, |at| at.as_secs_f64())).collect();
        after.sort_by(f64::total_cmp);
        let failed: usize = runs.iter().map(|(_, failed)| failed).sum();
        let (median, worst) = (after[RUNS / 2], after[RUNS - 1]);
        figures.push(Figure::new(
            format!("a provider is used again, after it was down for {seconds} s (from its failure on)"),
            goal,
            format!("{median:.1} s, at most {worst:.1} s in {RUNS} runs; {failed} requests failed"),
            worst <= most,
        ));
    }
    Ok(figures)
}

/// How long after its failure a provider has its requests again, and how many requests failed.
async fn recovery_from(program: &Path, down: Duration) -> Result<(Option<Duration>, usize), AnyError> {
    let (rate, length) = (50.0, Duration::from_secs(25));
    let down_at = Duration::from_secs(3);
    let up_at = down_at + down;
    let (a, b) = (simulator(Config::default()).await?, simulator(Config::default()).await?);
    let address = a.addr();
    let gateway = gateway(program, &[("a", address), ("b", b.addr())], BOTH).await?;
    let outage = async {
        tokio::time::sleep(down_at).await;
        a.stop().await;
        tokio::time::sleep(down).await;
        Simulator::start(Config::default(), address).await
    };
    let pool = Pool::new(gateway.address);
    let (shots, back) = tokio::join!(pool.fire("both", rate, length), outage);
    let _back = back?;
    // Back is a provider when it has nine of ten requests of half a second.
    let window = Duration::from_millis(500);
    let is_back = |from: Duration| {
        let shots: Vec<&Shot> = shots.iter().filter(|shot| shot.due >= from && shot.due < from + window).collect();
        shots.iter().filter(|shot| shot.provider == "a").count() * 10 >= shots.len() * 9 && !shots.is_empty()
    };
    let steps = (0..).map(|step| up_at + Duration::from_millis(50) * step);
    let back_at = steps.take_while(|from| *from + window < length).find(|from| is_back(*from));
    let failed = shots.iter().filter(|shot| !shot.good).count();
    Ok((back_at.map(|at| at - down_at), failed))
}
