//! What each strategy does with its group.

use std::collections::HashMap;
use std::time::Duration;

use super::super::signals::SizeClass;
use super::*;

const MS: Duration = Duration::from_millis(1);

fn trio() -> [Candidate; 3] {
    ["a", "b", "c"].map(|provider| candidate(provider, "m"))
}

fn weighing(provider: &str, weight: u32) -> Candidate {
    Candidate { weight, ..candidate(provider, "m") }
}

/// First choices of so many requests, one letter each.
fn choices(question: &mut Question, targets: &[Candidate], count: usize) -> String {
    (0..count).map(|_| question.first(targets)).collect()
}

fn counts(choices: &str) -> HashMap<char, usize> {
    choices.chars().fold(HashMap::new(), |mut counts, choice| {
        *counts.entry(choice).or_default() += 1;
        counts
    })
}

#[test]
fn round_robin_takes_turns_and_the_others_follow_in_turn() {
    let mut question = Question::new(Strategy::RoundRobin);
    let orders: Vec<_> = (0..4).map(|_| names(&question.plan(&trio()))).collect();
    assert_eq!(orders[..3], [["a/m", "b/m", "c/m"], ["b/m", "c/m", "a/m"], ["c/m", "a/m", "b/m"]]);
    assert_eq!(orders[3], orders[0]);
}

#[test]
fn round_robin_shares_evenly_what_is_left_and_does_not_flood_who_comes_back() {
    let mut question = Question::new(Strategy::RoundRobin);
    let mut away = trio();
    away[1].available = Err("open".into());
    let without = counts(&choices(&mut question, &away, 300));
    assert_eq!((without[&'a'], without[&'c']), (150, 150));
    let after = choices(&mut question, &trio(), 30);
    assert!(counts(&after)[&'b'] <= 11, "it missed many turns and gets one of them: {after}");
    assert!(!after.contains("bb"), "{after}");
}

#[test]
fn weighted_is_exact_over_every_cycle_and_spreads_its_turns() {
    let mut question = Question::new(Strategy::Weighted);
    let targets = [weighing("a", 5), weighing("b", 1), weighing("c", 2)];
    for cycle in 0..50 {
        let chosen = choices(&mut question, &targets, 8);
        let count = counts(&chosen);
        assert_eq!((count[&'a'], count[&'b'], count[&'c']), (5, 1, 2), "cycle {cycle}: {chosen}");
        assert!(!chosen.contains("aaa") && !chosen.contains("cc"), "{chosen}");
    }
    let plan = question.plan(&targets);
    assert_eq!(names(&plan)[1..], ["c/m", "b/m"], "after the first, the heaviest: {plan:?}");
}

#[test]
fn one_that_warms_up_gets_less_than_its_share_and_then_all_of_it() {
    for strategy in [Strategy::RoundRobin, Strategy::Weighted, Strategy::Latency, Strategy::LeastBusy] {
        let mut question = Question::new(strategy);
        let mut targets = trio();
        if strategy == Strategy::Latency {
            // The one that comes back is the fastest.
            for (target, ms) in targets.iter().zip([10, 200, 200]) {
                target.signals.first_token(SizeClass::UpTo1k, MS * ms, question.now);
            }
        }
        targets[0].warmth = 0.2;
        let cold = counts(&choices(&mut question, &targets, 1_000)).get(&'a').copied().unwrap_or_default();
        targets[0].warmth = 1.0;
        let warm = counts(&choices(&mut question, &targets, 1_000))[&'a'];
        assert!((20..=250).contains(&cold), "{strategy:?}: {cold}");
        assert!(warm >= 300, "{strategy:?}: {warm}");
    }
}

#[test]
fn turns_are_taken_once_however_many_ask_at_the_same_time() {
    let turns = Turns::new(4);
    let weights = [1.0, 2.0, 3.0, 4.0];
    let taken: Vec<usize> = std::thread::scope(|scope| {
        let ask = || (0..2_500).map(|_| turns.next(weights.into_iter().enumerate(), true)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    for (target, expected) in [1_000, 2_000, 3_000, 4_000].into_iter().enumerate() {
        let had = taken.iter().filter(|&&choice| choice == target).count();
        // Whoever is stopped between two looks may choose by what was, once.
        assert!(had.abs_diff(expected) <= 8, "{target} had {had} of {expected} turns");
    }
}

#[test]
fn cost_goes_by_usual_answers_and_by_what_is_found_in_the_cache() {
    let mut question = Question::new(Strategy::Cost);
    let (terse, wordy) = (priced("terse", 1.0, 10.0), priced("wordy", 1.0, 8.0));
    assert_eq!(question.first(&[terse.clone(), wordy.clone()]), "wordy", "by list price, before anything is known");
    for _ in 0..10 {
        terse.signals.usage(1_000, 0, 100);
        wordy.signals.usage(1_000, 0, 900);
    }
    assert_eq!(question.first(&[terse.clone(), wordy.clone()]), "terse");
    question.max_tokens = Some(50);
    assert_eq!(question.first(&[terse.clone(), wordy.clone()]), "wordy", "both may say 50 tokens");
    (0..20).for_each(|_| wordy.signals.prompt(1_000, 2_000));
    assert_eq!(question.first(&[terse, wordy]), "terse", "of the same prompt the other makes twice as many tokens");

    let cached = |provider: &str| {
        let tier = crate::pricing::Tier {
            above: 0,
            input: crate::pricing::Rate::per_million(2.0).expect("a price"),
            cache_read: crate::pricing::Rate::per_million(0.2).ok(),
            cache_write: None,
            output: crate::pricing::Rate::default(),
        };
        Candidate { price: Price::try_from(vec![tier]).ok(), ..candidate(provider, "m") }
    };
    let (plain, caching) = (priced("plain", 1.5, 0.0), cached("caching"));
    assert_eq!(question.first(&[plain.clone(), caching.clone()]), "plain");
    caching.signals.usage(1_000, 800, 10);
    let plan = question.plan(&[plain, caching]);
    assert!(
        matches!(plan.targets[0].why, Why::ListPrice { cached_tokens: 800, estimated: NanoUsd(560_000), .. }),
        "{plan:?}"
    );
}

#[test]
fn latency_weighs_the_first_token_against_the_pace_by_the_length_of_the_answer() {
    let mut question = Question::new(Strategy::Latency);
    let (prompt, steady) = (candidate("prompt", "m"), candidate("steady", "m"));
    for (target, first, per_token) in [(&prompt, 200, 50), (&steady, 1_500, 5)] {
        target.signals.first_token(SizeClass::UpTo1k, MS * first, question.now);
        target.signals.per_token(101, MS * per_token * 100, question.now);
    }
    question.estimate.output = 10;
    assert_eq!(question.first(&[steady.clone(), prompt.clone()]), "prompt");
    question.estimate.output = 1_000;
    assert_eq!(question.first(&[prompt.clone(), steady]), "steady");
    let plan = question.plan(&[prompt, candidate("new", "m")]);
    assert_eq!(
        plan.targets[0].to_string(),
        "prompt/m: about 50200 ms: 200 ms to the first token, then 1000 of 50.0 ms"
    );
    assert_eq!(plan.targets[1].why, Why::NotMeasured);
}

#[test]
fn latency_knows_prompts_of_every_size_apart() {
    let mut question = Question::new(Strategy::Latency);
    let (short, long) = (candidate("short", "m"), candidate("long", "m"));
    for (target, small, large) in [(&short, 100, 9_000), (&long, 400, 3_000)] {
        target.signals.first_token(SizeClass::UpTo1k, MS * small, question.now);
        target.signals.first_token(SizeClass::Longer, MS * large, question.now);
    }
    let targets = [short, long];
    question.estimate.input = 500;
    assert_eq!(question.first(&targets), "short");
    question.estimate.input = 50_000;
    assert_eq!(question.first(&targets), "long");
    question.estimate.input = 20_000;
    assert_eq!(question.first(&targets), "long", "a size that was not seen is as its neighbour");
}

#[test]
fn latency_shares_among_those_that_are_nearly_as_fast_and_leaves_out_who_is_slower() {
    let mut question = Question::new(Strategy::Latency);
    let targets: Vec<Candidate> = (0..10)
        .map(|n| {
            let target = candidate(&n.to_string(), "m");
            target.signals.first_token(SizeClass::UpTo1k, MS * (100 + 10 * n), question.now);
            target
        })
        .collect();
    let count = counts(&choices(&mut question, &targets, 10_000));
    assert!((3_200..3_500).contains(&count[&'0']), "the fastest of six wins each draw that it is in: {count:?}");
    let shares: Vec<usize> = ('0'..'5').map(|n| count[&n]).collect();
    assert!(shares.windows(2).all(|pair| pair[0] > pair[1]), "{shares:?}");
    assert_eq!(count.len(), 5, "the slowest of the near ones wins no draw, the others are in none: {count:?}");
    let rest: Vec<_> = question.plan(&targets).targets.into_iter().skip(1).map(|planned| planned.why).collect();
    let times: Vec<f64> = rest
        .iter()
        .map(|why| match why {
            Why::ExpectedTime { time, .. } => time.expected_ms,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(times.is_sorted(), "who fails is followed by the fastest: {times:?}");
}

#[test]
fn a_failure_moves_requests_away_and_is_forgiven() {
    let mut question = Question::new(Strategy::Latency);
    let (fast, slow) = (candidate("fast", "m"), candidate("slow", "m"));
    fast.signals.first_token(SizeClass::UpTo1k, MS * 300, question.now);
    slow.signals.first_token(SizeClass::UpTo1k, MS * 900, question.now);
    let targets = [slow, fast.clone()];
    assert_eq!(question.first(&targets), "fast");
    fast.signals.failed(Duration::from_secs(5), question.now);
    assert_eq!(question.first(&targets), "slow");
    question.now += Duration::from_secs(20);
    assert_eq!(question.first(&targets), "slow", "an eighth of the penalty is left");
    question.now += Duration::from_secs(10);
    assert_eq!(question.first(&targets), "fast");
}

#[test]
fn learning_is_bounded() {
    let mut question = Question::new(Strategy::Latency);
    let (known, new, failing) = (candidate("known", "m"), candidate("new", "m"), candidate("failing", "m"));
    let targets = [known.clone(), new.clone(), failing.clone()];
    let (mut explored, mut last) = (0, None::<Instant>);
    for _ in 0..10_000 {
        question.now += MS * 20;
        known.signals.first_token(SizeClass::UpTo1k, MS * 300, question.now);
        failing.signals.failed(Duration::from_secs(60), question.now);
        let plan = question.plan(&targets);
        let first = &plan.targets[0];
        assert_ne!(&*first.target.provider, "failing", "nobody learns from one that fails");
        if first.why == Why::Explored {
            explored += 1;
            assert!(last.is_none_or(|last| question.now - last >= Duration::from_secs(5)));
            last = Some(question.now);
        } else {
            assert_eq!(&*first.target.provider, "known");
        }
    }
    assert!((20..=40).contains(&explored), "{explored} in 200 s");
    new.signals.first_token(SizeClass::UpTo1k, MS * 100, question.now);
    assert_eq!(question.first(&targets), "new", "what was learned is used");
}

#[test]
fn few_requests_are_spent_on_learning_where_there_are_few() {
    let mut question = Question::new(Strategy::Latency);
    let targets: Vec<Candidate> = ["k", "n", "o", "p"].map(|provider| candidate(provider, "m")).to_vec();
    let mut explored = 0;
    for _ in 0..5_000 {
        question.now += Duration::from_secs(10);
        targets[0].signals.first_token(SizeClass::UpTo1k, MS * 300, question.now);
        explored += usize::from(question.plan(&targets).targets[0].why == Why::Explored);
    }
    assert!((100..200).contains(&explored), "three in a hundred: {explored}");
}

#[test]
fn least_busy_counts_tokens_and_not_requests() {
    let mut question = Question::new(Strategy::LeastBusy);
    let targets = trio();
    let story = targets[0].signals.begin(9_000);
    let words: Vec<_> = (0..5).map(|_| targets[1].signals.begin(100)).collect();
    let plan = question.plan(&targets);
    assert_eq!(names(&plan), ["c/m", "b/m", "a/m"]);
    assert_eq!(plan.targets[1].why, Why::Outstanding { tokens: 500, requests: 5 });
    drop(story);
    let count = counts(&choices(&mut question, &targets, 1_000));
    assert!(count[&'a'].abs_diff(500) < 80 && count[&'c'].abs_diff(500) < 80, "equally idle: {count:?}");
    drop(words);
    assert_eq!(targets[1].signals.outstanding_tokens() + targets[1].signals.outstanding_requests(), 0);
}
