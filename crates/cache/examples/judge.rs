//! How the verifier judges pairs of questions: `cargo run -p gateway-cache --example judge -- [--show] FILE.jsonl...`
//!
//! A line of a file is an object with `a`, `b`, `same` (1: the answer to `a` serves `b`) and a name of its kind (`kind` or
//! `cat`). Printed: precision, and how many traps and rewordings are served, by kind, and which rule refused the rewordings.
//! `--show` prints the pairs that are judged wrong, with their normal forms; `--cross` compares every question with every
//! other of all files, as in a full cache, and prints those that are served and are no pair. Neither is ever pointed at a
//! held-out half.

#![allow(clippy::print_stdout, reason = "it is what the example is for")]

use std::collections::BTreeMap;
use std::process::ExitCode;

use gateway_cache::semantic::verifier::{Coverage, Prepared, Verdict, verify};

const THRESHOLD: f32 = 0.95;

#[derive(Default)]
struct Count {
    served: u32,
    all: u32,
}

fn main() -> ExitCode {
    let (flags, files): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let show = flags.iter().any(|flag| flag == "--show");
    let normal = flags.iter().any(|flag| flag == "--normal");
    if flags.iter().any(|flag| flag == "--cross") {
        cross(&files);
        return ExitCode::SUCCESS;
    }
    for file in &files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                println!("{file}: {error}");
                return ExitCode::FAILURE;
            }
        };
        println!("## {file}");
        judge(&text, show, normal);
    }
    ExitCode::SUCCESS
}

fn judge(text: &str, show: bool, normal: bool) {
    let mut kinds: BTreeMap<(bool, String), Count> = BTreeMap::new();
    let mut totals = [Count::default(), Count::default()];
    let mut refusals: BTreeMap<&str, u32> = BTreeMap::new();
    for line in text.lines() {
        let Ok(pair) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let word = |name: &str| pair.get(name).and_then(|value| value.as_str()).unwrap_or_default();
        let same = pair.get("same").and_then(serde_json::Value::as_i64) == Some(1);
        let kind = if word("kind").is_empty() { word("cat") } else { word("kind") };
        let (a, b) = (Prepared::new(word("a")), Prepared::new(word("b")));
        if normal {
            println!("{}\n  {:?} {:?} {}", word("a"), a.language(), a.reason(), a.normal());
            println!("{}\n  {:?} {:?} {}", word("b"), b.language(), b.reason(), b.normal());
        }
        let verdict = verify(&b, &a);
        let covered = |prepared: &Prepared| prepared.coverage() == Coverage::Semantic;
        let canonical = a.canonical().is_some() && a.canonical() == b.canonical();
        let (served, score, rule) = match verdict {
            Verdict::Serves { score } if canonical || (covered(&a) && covered(&b)) => {
                (score >= THRESHOLD, score, "score")
            }
            Verdict::Serves { score } => (false, score, "uncovered"),
            Verdict::Different(rule) => (false, 0.0, rule.name()),
        };
        let total = &mut totals[usize::from(same)];
        for count in [total, kinds.entry((same, kind.to_owned())).or_default()] {
            count.all += 1;
            count.served += u32::from(served);
        }
        if same && !served {
            *refusals.entry(rule).or_default() += 1;
        }
        if show && served != same {
            let why = if served { format!("SERVED {score:.3}") } else { format!("refused by {rule} {score:.3}") };
            println!(
                "{why} [{kind}]\n    {}\n    {}\n      {} | {:?} {:?}\n      {} | {:?} {:?}",
                word("a"),
                word("b"),
                a.normal(),
                a.language(),
                a.reason(),
                b.normal(),
                b.language(),
                b.reason()
            );
        }
    }
    for ((same, kind), Count { served, all }) in &kinds {
        println!("{} {kind:32} {served:4} of {all:4}", if *same { "same" } else { "trap" });
    }
    let [traps, rewordings] = &totals;
    let share = |count: &Count| f64::from(count.served) / f64::from(count.all.max(1)) * 100.0;
    let precision = f64::from(rewordings.served) / f64::from((rewordings.served + traps.served).max(1));
    println!("rewordings refused by {refusals:?}");
    println!(
        "precision {precision:.4}; traps served {} of {} ({:.2} %); rewordings served {} of {} ({:.1} %)\n",
        traps.served,
        traps.all,
        share(traps),
        rewordings.served,
        rewordings.all,
        share(rewordings)
    );
}

fn cross(files: &[String]) {
    let mut questions: Vec<(String, Prepared)> = Vec::new();
    let mut pairs = std::collections::HashSet::new();
    for text in files.iter().filter_map(|file| std::fs::read_to_string(file).ok()) {
        for pair in text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
            let word = |name: &str| pair.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
            let (a, b) = (word("a"), word("b"));
            if pair.get("same").and_then(serde_json::Value::as_i64) == Some(1) {
                pairs.insert((a.clone(), b.clone()));
                pairs.insert((b.clone(), a.clone()));
            }
            for question in [a, b] {
                questions.push((question.clone(), Prepared::new(&question)));
            }
        }
    }
    questions.sort_by(|(one, _), (other, _)| one.cmp(other));
    questions.dedup_by(|(one, _), (other, _)| one == other);
    let mut served = 0;
    for (at, (a, one)) in questions.iter().enumerate() {
        for (b, other) in &questions[at + 1..] {
            let Verdict::Serves { score } = verify(one, other) else { continue };
            if score >= THRESHOLD && !pairs.contains(&(a.clone(), b.clone())) {
                served += 1;
                println!("{score:.3}\n    {a}\n    {b}");
            }
        }
    }
    println!("{served} of {} pairs served that are no pairs", questions.len() * (questions.len() - 1) / 2);
}
