//! What a look-up costs, with everything from the bytes of the request on: `cargo bench -p gateway-cache --bench cache`. A million
//! entries take a minute to store, and are looked up with `-- --ignored`.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up is to fail")]

use std::sync::Arc;
use std::time::Instant;

use divan::Bencher;
use fastrand::Rng;
use gateway_cache::{Answer, Cache, Facts, Hash, Hasher, Looked, Question, Settings, Text};

fn main() {
    divan::main();
}

struct Nothing;

impl Answer for Nothing {
    fn bytes(&self) -> usize {
        0
    }
}

const WORDS: [&[&str]; 6] = [
    &[
        "write",
        "explain",
        "translate",
        "summarize",
        "compare",
        "install",
        "repair",
        "design",
        "paint",
        "sell",
        "plan",
        "test",
    ],
    &[
        "small", "cheap", "modern", "wooden", "green", "digital", "local", "heavy", "quiet", "ancient", "public",
        "frozen",
    ],
    &[
        "kitchen", "server", "garden", "bicycle", "contract", "recipe", "camera", "engine", "poem", "window", "market",
        "battery",
    ],
    &[
        "teacher", "nurse", "farmer", "student", "lawyer", "driver", "painter", "singer", "baker", "pilot", "tailor",
        "miner",
    ],
    &["Lisbon", "Oslo", "Kyoto", "Denver", "Cairo", "Quito", "Hanoi", "Turin", "Bergen", "Austin", "Lima", "Perth"],
    &[
        "winter", "spring", "summer", "autumn", "January", "March", "April", "June", "August", "October", "November",
        "May",
    ],
];

/// Of sixteen words, no two alike below three millions.
fn text(mut n: usize) -> String {
    let [task, kind, thing, person, place, time] = WORDS.map(|words| {
        let word = words[n % words.len()];
        n /= words.len();
        word
    });
    format!("How do I best {task} a {kind} {thing} for the old {person} in {place} before {time}?")
}

fn question(body: &[u8], text: Option<&str>) -> Question {
    let mut hasher = Hasher::new(Hash::of("version", b"1"), Hash::of("key", b"key-1"));
    hasher.field("operation", b"chat").field("model", b"gpt-5-mini").field("temperature", b"0").field("body", body);
    match text {
        Some(text) => hasher.question(text.as_bytes(), Text::new(text)),
        None => hasher.question(b"", None),
    }
}

/// All in one partition, but for those of other conversations.
fn filled(entries: usize) -> (Cache<Nothing>, Instant) {
    let settings = Settings { max_bytes: u64::MAX, max_entries: usize::MAX, ..Settings::default() };
    let (cache, now, model) = (Cache::new(settings), Instant::now(), Arc::from("gpt-5-mini"));
    for n in 0..entries {
        let facts = Facts { model: Arc::clone(&model), asked: now };
        cache.store(&question(b"", Some(&text(n))), Arc::new(Nothing), facts, now).expect("room");
    }
    (cache, now)
}

#[divan::bench(args = [1_000, 100_000])]
fn exact_hit(bencher: Bencher<'_, '_>, body_bytes: usize) {
    let (cache, now) = filled(10_000);
    let body = vec![b'x'; body_bytes];
    cache.store(&question(&body, None), Arc::new(Nothing), Facts { model: "m".into(), asked: now }, now).expect("room");
    bencher.bench_local(|| {
        let hit = cache.look_up(&question(&body, None), now).hit;
        assert!(hit.is_some());
        hit
    });
}

#[divan::bench(args = [1_000, 100_000])]
fn exact_miss(bencher: Bencher<'_, '_>, body_bytes: usize) {
    let (cache, now) = filled(10_000);
    let body = vec![b'x'; body_bytes];
    bencher.bench_local(|| cache.look_up(&question(&body, None), now));
}

/// The embedding, the preparing, the search and the verdicts of a question that was not asked before.
#[divan::bench(args = [0, 100, 10_000, 100_000])]
fn semantic_miss(bencher: Bencher<'_, '_>, entries: usize) {
    missed(bencher, entries);
}

#[divan::bench(args = [1_000_000], ignore)]
fn semantic_miss_of_a_million(bencher: Bencher<'_, '_>, entries: usize) {
    missed(bencher, entries);
}

fn missed(bencher: Bencher<'_, '_>, entries: usize) {
    let (cache, now) = filled(entries);
    let mut random = Rng::with_seed(1);
    let look_up = |text: String| -> Looked<Nothing> { cache.look_up(&question(b"", Some(&text)), now) };
    bencher.with_inputs(|| text(random.usize(1_500_000..2_900_000))).bench_local_values(look_up);
}

#[divan::bench]
fn semantic_hit(bencher: Bencher<'_, '_>) {
    let (cache, now) = filled(10_000);
    let text = text(5_000).replace("How do I", "How can I");
    bencher.bench_local(|| {
        let hit = cache.look_up(&question(b"", Some(&text)), now).hit;
        assert!(hit.is_some());
        hit
    });
}

/// With what a look-up has prepared before.
#[divan::bench]
fn store(bencher: Bencher<'_, '_>) {
    let (cache, now) = filled(10_000);
    let (mut n, model) = (10_000, Arc::from("m"));
    let prepared = || {
        n += 1;
        let question = question(b"", Some(&text(n)));
        cache.look_up(&question, now);
        question
    };
    bencher.with_inputs(prepared).bench_local_values(|question| {
        cache.store(&question, Arc::new(Nothing), Facts { model: Arc::clone(&model), asked: now }, now)
    });
}
