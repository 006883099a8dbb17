mod estimates;
mod groups;
mod strategies;

use gateway_core::dialect::ProviderDialect;
use gateway_core::target::{Capability, Strategy};
use gateway_core::usage::NanoUsd;
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use serde_json::json;

use super::*;

const SIZE: Estimate = Estimate { input: 1_000, output: 100 };

fn candidate(provider: &str, model: &str) -> Candidate {
    Candidate {
        target: Target { provider: provider.into(), model: model.into(), dialect: ProviderDialect::OpenAiChat },
        price: None,
        capabilities: Capability::ALL.into_iter().collect(),
        context_window: None,
        weight: 1,
        priority: 0,
        canary: None,
        allowed: true,
        available: Ok(()),
        warmth: 1.0,
        signals: Arc::new(Signals::new(Instant::now())),
    }
}

/// A request of [`SIZE`] that wants nothing special, at the time zero.
struct Question {
    hints: Hints,
    strategy: Strategy,
    affinity: bool,
    key: u64,
    turns: Turns,
    estimate: Estimate,
    max_tokens: Option<u64>,
    /// Input tokens that it surely has.
    sure: u64,
    now: Instant,
    rng: fastrand::Rng,
}

impl Question {
    fn new(strategy: Strategy) -> Question {
        Question {
            hints: Hints::default(),
            strategy,
            affinity: false,
            key: 0,
            turns: Turns::new(TARGETS_PER_PLAN),
            estimate: SIZE,
            max_tokens: None,
            sure: 0,
            now: Instant::now(),
            rng: fastrand::Rng::with_seed(7),
        }
    }

    fn hinted(hints: &Hints) -> Question {
        Question { hints: hints.clone(), ..Question::new(Strategy::Fallback) }
    }

    fn ask(&mut self, candidates: Candidates) -> Result<RoutePlan, NoRoute> {
        let ask = Ask {
            hints: &self.hints,
            strategy: self.strategy,
            affinity: self.affinity,
            hedge: false,
            turns: &self.turns,
            max_tokens: self.max_tokens,
            estimate: &|| self.estimate,
            surely_more_than: &|tokens| (self.sure > tokens).then_some(self.sure),
            affinity_key: &|| self.key,
            now: self.now,
        };
        plan(candidates, &ask, &mut self.rng)
    }

    fn plan(&mut self, targets: &[Candidate]) -> RoutePlan {
        self.ask(only(targets.to_vec())).expect("a plan")
    }

    /// The provider that would be asked first.
    fn first(&mut self, targets: &[Candidate]) -> String {
        self.plan(targets).targets[0].target.provider.to_string()
    }
}

fn only(targets: Vec<Candidate>) -> Candidates {
    Candidates { targets, ..Candidates::default() }
}

fn priced(provider: &str, input: f64, output: f64) -> Candidate {
    Candidate { price: Some(Price::flat(input, output).expect("a price")), ..candidate(provider, "m") }
}

fn names(plan: &RoutePlan) -> Vec<String> {
    plan.targets.iter().map(|planned| planned.target.to_string()).collect()
}

fn route(candidates: Vec<Candidate>, hints: &Hints) -> RoutePlan {
    Question::hinted(hints).plan(&candidates)
}

#[test]
fn fallback_is_the_configured_order() {
    let plan = route(vec![candidate("b", "1"), candidate("a", "1"), candidate("b", "0")], &Hints::default());
    assert_eq!(names(&plan), ["b/1", "a/1", "b/0"]);
}

#[test]
fn cost_weighs_the_sizes_of_this_request() {
    let hints = Hints { strategy: Some(Strategy::Cost), ..Hints::default() };
    let both = || [priced("cheap-output", 2.0, 1.0), priced("cheap-input", 1.0, 5.0)];
    let order = |input, output| {
        let estimate = Estimate { input, output };
        names(&Question { estimate, ..Question::hinted(&hints) }.plan(&both()))
    };
    assert_eq!(order(1_000, 100), ["cheap-input/m", "cheap-output/m"]);
    assert_eq!(order(100, 1_000), ["cheap-output/m", "cheap-input/m"]);
}

#[test]
fn an_unknown_price_comes_last_and_a_price_of_zero_first() {
    let hints = Hints { strategy: Some(Strategy::Cost), ..Hints::default() };
    let plan = route(vec![candidate("unknown", "m"), priced("dear", 50.0, 50.0), priced("free", 0.0, 0.0)], &hints);
    assert_eq!(names(&plan), ["free/m", "dear/m", "unknown/m"]);
    assert!(matches!(plan.targets[1].why, Why::ListPrice { estimated: NanoUsd(55_000_000), .. }), "{plan:?}");
    assert_eq!(plan.targets[2].why, Why::NoKnownPrice);
}

#[test]
fn preferred_ones_come_in_the_callers_order_and_the_pinned_one_before_them() {
    let all = || ["a", "b", "c", "d"].map(|provider| candidate(provider, "m")).to_vec();
    let preferred = vec!["d".to_owned(), "b".to_owned()];
    let hints = Hints { preferred, ..Hints::default() };
    assert_eq!(names(&route(all(), &hints)), ["d/m", "b/m", "a/m", "c/m"]);
    let hints = Hints { pinned: Some("c".into()), ..hints };
    assert_eq!(names(&route(all(), &hints)), ["c/m", "d/m", "b/m", "a/m"]);
}

#[test]
fn within_a_preferred_provider_the_strategy_decides() {
    let hints = Hints { strategy: Some(Strategy::Cost), preferred: vec!["dear".into()], ..Hints::default() };
    let dear = |input| Candidate { price: Price::flat(input, 0.0).ok(), ..candidate("dear", &format!("{input}")) };
    let plan = route(vec![priced("cheap", 1.0, 1.0), dear(9.0), dear(8.0)], &hints);
    assert_eq!(names(&plan), ["dear/8", "dear/9", "cheap/m"]);
}

#[test]
fn every_skip_says_why() {
    let hints = Hints {
        excluded: vec!["out".into()],
        required: Capabilities::default().with(Capability::Vision).with(Capability::Tools),
        ..Hints::default()
    };
    let blind = Candidate { capabilities: Capabilities::default().with(Capability::Tools), ..candidate("blind", "m") };
    let down = Candidate { available: Err("circuit open for 12 s more".into()), ..candidate("down", "m") };
    let refusal = Question::hinted(&hints).ask(only(vec![candidate("out", "m"), blind, down])).expect_err("no route");
    assert_eq!(
        refusal.to_string(),
        "no target is left for this request: out/m: excluded by the request; blind/m: cannot do what the request needs: \
         vision; down/m: circuit open for 12 s more"
    );
    assert!(!refusal.is_by_request(), "one of them may come back");
}

#[test]
fn a_request_that_rules_out_everything_is_its_own_fault() {
    let hints = Hints { excluded: vec!["a".into()], pinned: Some("a".into()), ..Hints::default() };
    let refusal = Question::hinted(&hints).ask(only(vec![candidate("a", "m")])).expect_err("excluded wins");
    assert!(refusal.is_by_request());
    let nobody = Question::new(Strategy::Fallback).ask(Candidates::default()).expect_err("nobody");
    assert!(!nobody.is_by_request());
}

#[test]
fn a_misspelt_provider_is_named_with_its_place_and_the_ones_that_exist() {
    let known = ["openai", "anthropic"];
    let hints = Hints {
        preferred: vec!["openai".into()],
        excluded: vec!["anthropic".into(), "antrophic".into()],
        ..Hints::default()
    };
    let error = hints.check(known.iter().copied()).expect_err("misspelt");
    assert_eq!((error.hint, error.index), (Hint::Excluded, 1));
    assert_eq!(error.to_string(), r#"no provider is named "antrophic"; configured are: openai, anthropic"#);
    let pinned = Hints { pinned: Some("x".into()), ..Hints::default() };
    assert_eq!(pinned.check(known.iter().copied()).expect_err("unknown").hint, Hint::Pinned);
    assert_eq!(Hints { pinned: Some("openai".into()), ..Hints::default() }.check(known.iter().copied()), Ok(()));
}

#[test]
fn the_explanation_is_data() {
    let hints = Hints {
        strategy: Some(Strategy::Cost),
        preferred: vec!["b".into()],
        excluded: vec!["x".into()],
        ..Hints::default()
    };
    let down = Candidate { available: Err("no key".into()), ..candidate("d", "m") };
    let plan = route(vec![candidate("a", "m"), priced("b", 1.0, 2.0), candidate("x", "m"), down], &hints);
    assert_eq!(
        serde_json::to_value(&plan).expect("JSON"),
        json!({
            "strategy": "cost",
            "targets": [
                {"target": "b/m", "place": {"preferred": {"rank": 0}}, "why": "list_price", "estimated_usd": 0.0012,
                    "input_tokens": 1_000, "output_tokens": 100},
                {"target": "a/m", "place": "rest", "why": "no_known_price"},
            ],
            "skipped": [
                {"target": "x/m", "reason": "excluded"},
                {"target": "d/m", "reason": "unavailable", "detail": "no key"},
            ],
        })
    );
    assert_eq!(
        plan.targets[0].to_string(),
        "b/m: number 1 in the request's preference, about $0.001200 by list price, for 1000 tokens of input and 100 of output"
    );
}

const PROVIDERS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn provider() -> impl Generator<Value = String> {
    prop::sample::select(PROVIDERS.to_vec()).prop_map(str::to_owned)
}

fn capabilities() -> impl Generator<Value = Capabilities> {
    // Mostly able, so that plans are rarely empty.
    prop::collection::vec(prop::bool::weighted(0.9), Capability::ALL.len()).prop_map(|has| {
        std::iter::zip(Capability::ALL, has).filter(|(_, has)| *has).map(|(capability, _)| capability).collect()
    })
}

prop_compose! {
    /// Models are numbered by configured order, so that every candidate can be told from every other.
    fn candidates()(
        rows in prop::collection::vec(
            (
                provider(),
                prop::option::of((0..5_u8, 0..5_u8)),
                capabilities(),
                prop::bool::weighted(0.8),
                (0..2_u32, 1..5_u32),
            ),
            0..50,
        ),
    ) -> Vec<Candidate> {
        let rows = rows.into_iter().enumerate();
        rows.map(|(n, (provider, price, capabilities, up, (priority, weight)))| Candidate {
            priority,
            weight,
            price: price.and_then(|(input, output)| Price::flat(input.into(), output.into()).ok()),
            capabilities,
            available: if up { Ok(()) } else { Err("down".into()) },
            ..candidate(&provider, &n.to_string())
        })
        .collect()
    }
}

prop_compose! {
    fn hints()(
        strategy in prop::option::of(prop::sample::select(Strategy::ALL.to_vec())),
        preferred in prop::collection::vec(provider(), 0..3),
        excluded in prop::collection::vec(provider(), 0..3),
        pinned in prop::option::of(provider()),
        required in prop::collection::vec(prop::sample::select(Capability::ALL.to_vec()), 0..2),
    ) -> Hints {
        Hints { strategy, preferred, excluded, pinned, required: required.into_iter().collect() }
    }
}

fn number(target: &Target) -> usize {
    target.model.parse().expect("a number")
}

proptest! {
    #[test]
    fn a_plan_has_exactly_those_that_are_allowed(candidates in candidates(), hints in hints()) {
        let mut allowed: Vec<usize> = candidates
            .iter()
            .filter(|c| !hints.excluded.contains(&c.target.provider.to_string()))
            .filter(|c| c.capabilities.missing(hints.required).next().is_none() && c.available.is_ok())
            .map(|c| number(&c.target))
            .collect();
        let all = candidates.len();
        match Question::hinted(&hints).ask(only(candidates)) {
            Err(NoRoute { skipped }) => {
                prop_assert!(allowed.is_empty());
                prop_assert_eq!(skipped.len(), all);
            }
            Ok(plan) => {
                prop_assert_eq!(plan.targets.len(), allowed.len().min(TARGETS_PER_PLAN));
                prop_assert_eq!(plan.targets.len() + plan.skipped.len(), all);
                let beyond = plan.skipped.iter().filter(|skip| skip.reason == SkipReason::BeyondLimit);
                let mut planned: Vec<usize> =
                    plan.targets.iter().map(|t| &t.target).chain(beyond.map(|s| &s.target)).map(number).collect();
                planned.sort_unstable();
                allowed.sort_unstable();
                prop_assert_eq!(planned, allowed);
            }
        }
    }

    #[test]
    fn the_order_is_pinned_then_preferred_then_priority_then_strategy_then_configuration(
        candidates in candidates(), hints in hints(),
    ) {
        let strategy = hints.strategy.unwrap_or(Strategy::Fallback);
        let facts = candidates.clone();
        if let Ok(plan) = Question::hinted(&hints).ask(only(candidates)) {
            let keys: Vec<_> = plan.targets.iter().map(|planned| {
                let provider = &*planned.target.provider;
                let pinned = hints.pinned.as_deref() == Some(provider);
                let rank = hints.preferred.iter().position(|name| name == provider).unwrap_or(usize::MAX);
                let n = number(&planned.target);
                let (dollars, n) = match (strategy, &facts[n].price) {
                    (Strategy::Fallback, _) => (0, n),
                    (Strategy::Cost, Some(price)) => (price.estimate(SIZE.input, SIZE.output).total().0, n),
                    (Strategy::Cost, None) => (u64::MAX, n),
                    // Their own tests say more.
                    _ => (0, 0),
                };
                let priority = facts[number(&planned.target)].priority;
                (!pinned, if pinned { 0 } else { rank }, priority, dollars, n)
            }).collect();
            prop_assert!(keys.is_sorted(), "{:?}", keys);
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer(candidates in candidates(), hints in hints()) {
        let now = Instant::now();
        let once = || Question { now, ..Question::hinted(&hints) }.ask(only(candidates.clone()));
        prop_assert_eq!(once(), once());
    }
}
