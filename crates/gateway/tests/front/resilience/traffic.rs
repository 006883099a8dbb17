//! Strategies that go by what traffic shows.

use std::time::Duration;

use super::{Say, Scripted, ask};
use crate::harness::Gateway;

/// Two scripted providers `a` and `b` and an alias `pair` with this strategy. Of `latency` no circuit opens: the strategy alone
/// decides.
async fn pair(strategy: &str, a: Say, b: Say) -> (Gateway, Scripted, Scripted) {
    let (a, b) = (Scripted::saying(a).await, Scripted::saying(b).await);
    let threshold = if strategy == "latency" { 1_000_000 } else { 5 };
    let file = format!(
        "providers:\n{}{}circuit_breaker: {{failure_threshold: {threshold}}}\naliases: {{pair: {{strategy: {strategy}, targets: \
         [a/m, b/m]}}}}\n",
        a.provider("a"),
        b.provider("b")
    );
    (Gateway::start(&file).await, a, b)
}

/// So many requests of four clients, each of which asks again as soon as it has its answer.
async fn traffic(gateway: &Gateway, count: usize) {
    let client = async |_| {
        for _ in 0..count / 4 {
            let answer = ask(gateway, "pair", false).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    };
    futures_util::future::join_all((0..4).map(client)).await;
}

#[tokio::test]
async fn a_target_that_fails_fast_gets_next_to_nothing() {
    for strategy in ["latency", "least_busy"] {
        let slow = Say::good().after(Duration::from_millis(10));
        let (gateway, failing, good) = pair(strategy, Say::error(500, "x"), slow).await;
        traffic(&gateway, 40).await;
        let before = (failing.asked(), good.asked());
        traffic(&gateway, 200).await;
        assert_eq!(good.asked() - before.1, 200, "{strategy}");
        let share = failing.asked() - before.0;
        assert!(share < 10, "{strategy}: {share} of 200 requests went to it");
    }
}

#[tokio::test]
async fn a_target_that_is_slow_is_left() {
    for strategy in ["latency", "least_busy"] {
        let (slow, fast) = (Say::good().after(Duration::from_millis(150)), Say::good().after(Duration::from_millis(5)));
        let (gateway, slow, fast) = pair(strategy, slow, fast).await;
        traffic(&gateway, 20).await;
        let before = (slow.asked(), fast.asked());
        traffic(&gateway, 100).await;
        let (to_slow, to_fast) = (slow.asked() - before.0, fast.asked() - before.1);
        let most = if strategy == "latency" { 10 } else { 30 };
        assert!(to_slow <= most, "{strategy}: {to_slow} of {}", to_slow + to_fast);
    }
}
