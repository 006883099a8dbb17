//! More requests than can be served.

use std::path::Path;
use std::time::Duration;

use simulator::Config;

use super::{Figure, gateway, milliseconds, percent, simulator};
use crate::AnyError;
use crate::load::{Pool, Shot, quantile};

/// Answers take this long, so that few of them at once fill the gateway and the generator has time for ten times as many.
const ANSWER: Duration = Duration::from_millis(100);
const AT_ONCE: usize = 20;
const LENGTH: Duration = Duration::from_secs(10);

pub(super) async fn overload(program: &Path) -> Result<Vec<Figure>, AnyError> {
    const GOODPUT: (&str, &str) = ("good answers at ten times the load that can be served", "≥ 90 % of the peak");
    const SHED: (&str, &str) = ("time to refuse a request under that load", "p99 ≤ 10 ms");
    let provider = simulator(Config { first_token_delay: ANSWER, ..Config::default() }).await?;
    let more = format!("server: {{max_concurrent_requests: {AT_ONCE}}}\n");
    let gateway = match gateway(program, &[("a", provider.addr())], &more).await {
        Ok(gateway) => gateway,
        Err(_) => {
            let why = "this build has no limit of concurrent requests";
            return Ok(vec![Figure::missing(GOODPUT.0, GOODPUT.1, why), Figure::missing(SHED.0, SHED.1, why)]);
        }
    };
    let pool = Pool::new(gateway.address);
    let ideal = AT_ONCE as f64 / ANSWER.as_secs_f64();
    // A generator that falls behind offers less than it should, for longer.
    let seconds = |shots: &[Shot]| shots.iter().map(Shot::ended).max().unwrap_or(LENGTH).max(LENGTH).as_secs_f64();
    let goodput = |shots: &[Shot]| shots.iter().filter(|shot| shot.good).count() as f64 / seconds(shots);
    let mut peak = 0.0_f64;
    for share in [0.8, 0.9, 1.0] {
        peak = peak.max(goodput(&pool.fire("a/sim", ideal * share, LENGTH).await));
    }
    let shots = pool.fire("a/sim", 10.0 * peak, LENGTH).await;
    let under_load = goodput(&shots);
    let offered = shots.len() as f64 / seconds(&shots) / peak;
    let shed: Vec<Duration> = shots.iter().filter(|shot| shot.status == 503).map(|shot| shot.took).collect();
    let other = shots.iter().filter(|shot| !shot.good && shot.status != 503).count();
    let share = 100.0 * under_load / peak;
    let refused = percent(shed.len(), shots.len());
    let (p50, p99) = (milliseconds(quantile(shed.clone(), 0.5)), milliseconds(quantile(shed, 0.99)));
    Ok(vec![
        Figure::new(
            GOODPUT.0,
            GOODPUT.1,
            format!(
                "{share:.0} % of {peak:.0}/s at {offered:.1} times the load; {refused:.0} % refused, {other} failed otherwise"
            ),
            share >= 90.0 && other == 0 && offered >= 9.0,
        ),
        Figure::new(SHED.0, SHED.1, format!("p50 {p50:.2} ms, p99 {p99:.2} ms"), p99 <= 10.0),
    ])
}
