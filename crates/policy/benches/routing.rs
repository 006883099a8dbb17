//! What a decision costs: `cargo bench -p gateway-policy`.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up is to fail")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::Bencher;
use gateway_core::dialect::ProviderDialect;
use gateway_core::target::{Capabilities, Strategy, Target};
use gateway_policy::pricing::Price;
use gateway_policy::routing::signals::{Signals, SizeClass};
use gateway_policy::routing::{Ask, Candidate, Candidates, Hints, Turns, plan};
use gateway_policy::tokens::Estimate;

fn main() {
    divan::main();
}

/// Targets that all have been measured.
fn candidates(count: usize, now: Instant) -> Candidates {
    let candidate = |n: usize| {
        let signals = Signals::new(now);
        signals.first_token(SizeClass::UpTo1k, Duration::from_millis(300 + 7 * n as u64), now);
        signals.per_token(100, Duration::from_millis(900 + n as u64), now);
        (0..10).for_each(|_| signals.usage(1_000, 100, 200));
        Candidate {
            target: Target {
                provider: format!("p{n}").into(),
                model: "model".into(),
                dialect: ProviderDialect::OpenAiChat,
            },
            price: Some(Price::flat(1.0 + n as f64, 2.0).expect("a price")),
            capabilities: Capabilities::default(),
            context_window: Some(200_000),
            weight: 1 + n as u32 % 5,
            priority: 0,
            canary: None,
            allowed: true,
            available: Ok(()),
            warmth: 1.0,
            signals: Arc::new(signals),
        }
    };
    Candidates { targets: (0..count).map(candidate).collect(), ..Candidates::default() }
}

fn measure(bencher: Bencher<'_, '_>, count: usize, strategy: Strategy, affinity: bool) {
    let now = Instant::now();
    let targets = candidates(count, now);
    let (hints, turns) = (Hints::default(), Turns::new(count));
    bencher.with_inputs(|| targets.clone()).bench_local_values(|targets| {
        let ask = Ask {
            hints: &hints,
            strategy,
            affinity,
            hedge: false,
            turns: &turns,
            max_tokens: None,
            estimate: &|| Estimate { input: 800, output: 1_000 },
            surely_more_than: &|_| None,
            affinity_key: &|| 7,
            now,
        };
        plan(targets, &ask, &mut fastrand::Rng::with_seed(1))
    });
}

#[divan::bench(args = Strategy::ALL)]
fn one(bencher: Bencher<'_, '_>, strategy: Strategy) {
    measure(bencher, 1, strategy, false);
}

#[divan::bench(args = Strategy::ALL)]
fn three(bencher: Bencher<'_, '_>, strategy: Strategy) {
    measure(bencher, 3, strategy, false);
}

#[divan::bench(args = Strategy::ALL)]
fn fifty(bencher: Bencher<'_, '_>, strategy: Strategy) {
    measure(bencher, 50, strategy, false);
}

#[divan::bench]
fn fifty_with_affinity(bencher: Bencher<'_, '_>) {
    measure(bencher, 50, Strategy::Fallback, true);
}
