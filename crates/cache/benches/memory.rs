//! What an entry takes besides its answer, as the operating system sees it: `cargo bench -p gateway-cache --bench memory`.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "it prints figures, and is to fail where there are none")]

use std::sync::Arc;
use std::time::Instant;

use gateway_cache::{Answer, Cache, Facts, Filter, Hash, Hasher, Settings, Text};

struct Nothing;

impl Answer for Nothing {
    fn bytes(&self) -> usize {
        0
    }
}

/// Resident, of this process, where Linux tells.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

/// Entries, partitions, and whether they are found in other words.
const CASES: [(u64, u64, bool); 5] = [
    (100_000, 1, false),
    (100_000, 1, true),
    (100_000, 10_000, true),
    (100_000, 100_000, true),
    (1_000_000, 100_000, true),
];

/// Each case in a process of its own: what an allocator has had before, it keeps.
fn main() {
    if let Some(case) = std::env::var("CASE").ok().and_then(|case| case.parse::<usize>().ok()) {
        return measure(CASES[case]);
    }
    println!(
        "{:>10} {:>10} {:>16} {:>16} {:>10}",
        "entries", "partitions", "counted B/entry", "resident B/entry", "store us"
    );
    for case in 0..CASES.len() {
        let program = std::env::current_exe().expect("its own path");
        let status = std::process::Command::new(program).env("CASE", case.to_string()).status();
        assert!(status.expect("a process").success());
    }
}

fn measure((entries, partitions, in_other_words): (u64, u64, bool)) {
    let settings = Settings { max_bytes: u64::MAX, max_entries: usize::MAX, ..Settings::default() };
    // What is read once from the data in the program is not the entries'.
    let warm = Text::new("How do I best repair the wooden window of an old house before the winter?").expect("a text");
    let (cache, now, model) = (Cache::new(settings), Instant::now(), Arc::from("m"));
    let store = |n: u64, text: Option<Text>, last: &str| {
        let mut hasher = Hasher::new(Hash::of("version", b"1"), Hash::of("key", b"key-1"));
        hasher.field("system", &u64::to_le_bytes(n % partitions));
        let facts = Facts { model: Arc::clone(&model), asked: Instant::now() };
        cache.store(&hasher.question(last.as_bytes(), text), Arc::new(Nothing), facts, now).expect("room");
    };
    store(0, Some(warm), "warm");
    cache.clear(&Filter::default(), now, false);
    let (before, started) = (resident_bytes(), Instant::now());
    for n in 0..entries {
        let text = format!("How do I best repair the wooden window number {n} of an old house before the winter?");
        store(n, Text::new(&text).filter(|_| in_other_words), &text);
    }
    let (stats, took) = (cache.stats(), started.elapsed().as_secs_f64() * 1e6 / entries as f64);
    let resident = resident_bytes().saturating_sub(before) / entries;
    let partitions = stats.partitions;
    println!("{entries:>10} {partitions:>10} {:>16} {resident:>16} {took:>10.1}", stats.bytes / entries);
    cache.clear(&Filter::default(), now, false);
    assert_eq!((cache.stats().entries, cache.stats().bytes, cache.stats().partitions), (0, 0, 0));
}
