//! What is the same for every strategy: priorities, canaries, affinity, lists for later, requests that are too long.

use super::*;

#[test]
fn strategies_order_within_priorities_and_a_later_priority_takes_no_turns() {
    let mut question = Question::new(Strategy::RoundRobin);
    let later = |provider: &str| Candidate { priority: 1, ..candidate(provider, "m") };
    let targets = [later("x"), candidate("a", "m"), later("y"), candidate("b", "m")];
    let orders: Vec<_> = (0..2).map(|_| names(&question.plan(&targets))).collect();
    assert_eq!(orders, [["a/m", "b/m", "x/m", "y/m"], ["b/m", "a/m", "x/m", "y/m"]]);
}

#[test]
fn a_canary_gets_its_share_first_and_is_the_last_resort_of_all_others() {
    for strategy in Strategy::ALL {
        let mut question = Question::new(strategy);
        let canary = Candidate { canary: Some(10.0), ..priced("canary", 0.0, 0.0) };
        let spare = Candidate { priority: 1, ..priced("spare", 1.0, 1.0) };
        let targets = [canary, priced("a", 1.0, 1.0), spare];
        let mut drawn = 0;
        for _ in 0..2_000 {
            let plan = question.plan(&targets);
            match names(&plan).join(" ").as_str() {
                "canary/m a/m spare/m" => drawn += 1,
                "a/m canary/m spare/m" => {
                    assert_eq!(plan.targets[1].why, Why::CanaryNotDrawn { percent: 10.0 });
                }
                other => panic!("{strategy:?}: {other}"),
            }
        }
        assert!((150..250).contains(&drawn), "{strategy:?}: {drawn}");
    }
}

#[test]
fn with_affinity_a_conversation_is_drawn_for_a_canary_once_and_for_all() {
    let mut question = Question { affinity: true, ..Question::new(Strategy::Fallback) };
    let targets = [candidate("a", "m"), Candidate { canary: Some(25.0), ..candidate("canary", "m") }];
    let mut drawn = 0;
    for key in 0..2_000 {
        question.key = key;
        let first = question.first(&targets);
        assert_eq!(first, question.first(&targets));
        drawn += usize::from(first == "canary");
    }
    assert!((430..570).contains(&drawn), "{drawn}");
}

#[test]
fn turns_of_a_conversation_stay_and_conversations_are_spread_by_weight() {
    let mut question = Question { affinity: true, ..Question::new(Strategy::RoundRobin) };
    let targets: Vec<Candidate> =
        [("a", 1), ("b", 1), ("c", 2)].map(|(name, weight)| Candidate { weight, ..candidate(name, "m") }).to_vec();
    let mut homes = Vec::new();
    for key in 0..4_000 {
        question.key = key;
        let plan = question.plan(&targets);
        assert_eq!(plan.targets[0].why, Why::Affinity);
        homes.push(plan.targets[0].target.provider.clone());
        assert_eq!(question.first(&targets), *homes[key as usize]);
    }
    let share = |name: &str| homes.iter().filter(|home| &***home == name).count();
    assert!(share("a").abs_diff(1_000) < 100 && share("c").abs_diff(2_000) < 130, "{} {}", share("a"), share("c"));

    // One goes: only its conversations move.
    for (key, home) in homes.iter().enumerate() {
        question.key = key as u64;
        let now = question.first(&targets[1..]);
        assert!(**home == *"a" || now == **home);
    }
    // A request that names a strategy wants that.
    question.hints.strategy = Some(Strategy::Cost);
    assert_eq!(question.plan(&targets).targets[0].why, Why::NoKnownPrice);
}

#[test]
fn affinity_does_not_overload_anybody_and_most_turns_stay() {
    let mut question = Question { affinity: true, ..Question::new(Strategy::LeastBusy) };
    let targets: Vec<Candidate> = (0..5).map(|n| candidate(&n.to_string(), "m")).collect();
    let mut rng = fastrand::Rng::with_seed(11);
    let mut homes = std::collections::HashMap::new();
    let (mut running, mut stayed, mut turns) = (std::collections::VecDeque::new(), 0, 0);
    for _ in 0..20_000 {
        // A few conversations are much busier than the others.
        question.key = (rng.f64().powi(3) * 500.0) as u64;
        let first = question.plan(&targets).targets[0].target.provider.clone();
        let index: usize = first.parse().expect("a number");
        running.push_back(targets[index].signals.begin(10_000));
        if running.len() > 100 {
            running.pop_front();
        }
        let all: u64 = targets.iter().map(|target| target.signals.outstanding_tokens()).sum();
        let most = targets.iter().map(|target| target.signals.outstanding_tokens()).max().expect("five");
        assert!(most as f64 <= (all as f64 / 5.0 * 1.25).max(50_000.0) + 10_000.0, "{most} of {all}");
        if let Some(home) = homes.insert(question.key, first.clone()) {
            turns += 1;
            stayed += usize::from(home == first);
        }
    }
    let share = f64::from(stayed as u32) / f64::from(turns);
    assert!(share > 0.7, "{share} of the turns stay under a load of 1,000,000 tokens");
}

#[test]
fn one_that_warms_up_gets_back_its_conversations_bit_by_bit() {
    let mut question = Question { affinity: true, ..Question::new(Strategy::Fallback) };
    let mut homes = |warmth: f64| -> Vec<u64> {
        let targets = [Candidate { warmth, ..candidate("back", "m") }, candidate("other", "m")];
        let at_home = |question: &mut Question, key: u64| {
            question.key = key;
            question.first(&targets) == "back"
        };
        (0..1_000).filter(|&key| at_home(&mut question, key)).collect()
    };
    let (cold, half, warm) = (homes(0.1), homes(0.5), homes(1.0));
    assert!(cold.len() < 90 && (180..330).contains(&half.len()), "{} {}", cold.len(), half.len());
    assert!(cold.iter().all(|key| half.contains(key)) && half.iter().all(|key| warm.contains(key)));
}

fn small(provider: &str, context_window: u64) -> Candidate {
    Candidate { context_window: Some(context_window), ..candidate(provider, "m") }
}

#[test]
fn a_request_that_is_clearly_too_long_goes_where_there_is_room() {
    let targets = || vec![small("small", 8_000), small("large", 200_000), candidate("unknown", "m")];
    let long = Estimate { input: 20_000, output: 1_000 };
    let mut maybe = Question { estimate: long, sure: 7_000, ..Question::new(Strategy::Fallback) };
    assert_eq!(names(&maybe.plan(&targets())), ["small/m", "large/m", "unknown/m"], "it may fit: 7000 + 1000");
    let mut sure = Question { sure: 7_001, ..maybe };
    let plan = sure.plan(&targets());
    assert_eq!(names(&plan), ["large/m", "unknown/m"]);
    assert_eq!(
        plan.skipped[0].to_string(),
        "small/m: too long: at least 7001 tokens of input and about 1000 of output, where 8000 have room"
    );
    assert_eq!(
        serde_json::to_value(&plan.skipped).expect("JSON"),
        json!([{"target": "small/m", "reason": "too_long",
                "detail": {"input_tokens": 7_001, "output_tokens": 1_000, "context_window": 8_000}}])
    );
}

#[test]
fn the_list_for_long_requests_takes_over_where_nobody_has_room() {
    let lists = || Candidates {
        targets: vec![small("small", 8_000), small("middle", 32_000)],
        on_context_overflow: vec![small("too", 32_000), small("huge", 1_000_000)],
        on_content_filter: vec![candidate("lenient", "m")],
    };
    let mut question = Question::new(Strategy::Fallback);
    let plan = question.ask(lists()).expect("a plan");
    assert_eq!(names(&plan), ["small/m", "middle/m"]);
    let list = |list: &[Planned]| list.iter().map(|planned| planned.target.to_string()).collect::<Vec<_>>();
    assert_eq!(list(&plan.on_context_overflow), ["too/m", "huge/m"]);
    assert_eq!(list(&plan.on_content_filter), ["lenient/m"]);

    question.sure = 100_000;
    let plan = question.ask(lists()).expect("a plan");
    assert_eq!(names(&plan), ["huge/m"]);
    assert!(plan.on_context_overflow.is_empty());
    assert_eq!(plan.skipped.len(), 3, "{:?}", plan.skipped);

    question.sure = 10_000_000;
    let plan = question.ask(lists()).expect("a plan");
    assert_eq!(names(&plan), ["small/m", "middle/m"], "nobody has room: the provider's word counts, not a guess");
    assert!(plan.skipped.is_empty());
}

#[test]
fn what_a_caller_excludes_is_on_no_list() {
    let lists = Candidates {
        targets: vec![candidate("a", "m")],
        on_context_overflow: vec![candidate("out", "m"), candidate("b", "m")],
        on_content_filter: vec![candidate("out", "m")],
    };
    let hints = Hints { excluded: vec!["out".into()], ..Hints::default() };
    let plan = Question::hinted(&hints).ask(lists).expect("a plan");
    assert_eq!((plan.on_context_overflow.len(), plan.on_content_filter.len()), (1, 0));
    assert_eq!(plan.skipped.len(), 2);
}
