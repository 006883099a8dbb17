//! What it costs to take from limits and to settle: `cargo bench -p gateway-policy --bench limits`.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up is to fail")]

use std::time::Instant;

use divan::{AllocProfiler, Bencher};
use gateway_core::access::Rates;
use gateway_policy::limits::{Ask, Holder, Level, LevelId, Part, Table};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const RATES: Rates = Rates {
    requests_per_minute: Some(1_000_000_000),
    tokens_per_minute: Some(10_000_000_000),
    concurrent: Some(1_000_000),
    burst_percent: None,
};

fn level(holder: Holder) -> Level {
    Level::new(LevelId { holder, part: Part::All }, RATES)
}

/// A key and its team, of so many keys that have used something lately.
fn asks(keys: usize) -> Vec<Ask> {
    let of = |n: usize| Ask {
        levels: vec![
            level(Holder::Key(format!("key-{n}").into())),
            level(Holder::Team(format!("team-{}", n / 10).into())),
        ],
        tokens: 1_200,
    };
    (0..keys).map(of).collect()
}

#[divan::bench(args = [1, 100_000])]
fn take_and_settle(bencher: Bencher<'_, '_>, keys: usize) {
    let now = Instant::now();
    let (table, mut asks) = (Table::new(now), asks(keys));
    for ask in &mut asks {
        table.take(ask, now).expect("room");
    }
    let mut random = fastrand::Rng::with_seed(1);
    bencher.bench_local(|| {
        let ask = &mut asks[random.usize(..keys)];
        let standing = table.take(ask, now);
        table.settle(ask, 900, now);
        standing
    });
}

#[divan::bench(args = [1, 100_000])]
fn look(bencher: Bencher<'_, '_>, keys: usize) {
    let now = Instant::now();
    let (table, mut asks) = (Table::new(now), asks(keys));
    for ask in &mut asks {
        table.take(ask, now).expect("room");
    }
    let mut random = fastrand::Rng::with_seed(1);
    bencher.bench_local(|| table.look(&asks[random.usize(..keys)].levels, 1, now));
}

/// What the caller's part costs: two levels made and dropped.
#[divan::bench]
fn levels_of_an_address(bencher: Bencher<'_, '_>) {
    let address = std::net::IpAddr::from([192, 0, 2, 1]);
    bencher.bench_local(|| vec![level(Holder::User(address, None)), level(Holder::Address(address))]);
}
