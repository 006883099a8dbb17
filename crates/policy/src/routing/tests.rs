use gateway_core::dialect::ProviderDialect;
use gateway_core::target::Strategy;
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
        weight: 1,
        available: Ok(()),
    }
}

fn priced(provider: &str, input: f64, output: f64) -> Candidate {
    Candidate { price: Some(Price::flat(input, output).expect("a price")), ..candidate(provider, "m") }
}

fn names(plan: &RoutePlan) -> Vec<String> {
    plan.targets.iter().map(|planned| planned.target.to_string()).collect()
}

fn route(candidates: Vec<Candidate>, hints: &Hints) -> RoutePlan {
    plan(candidates, hints, Strategy::Fallback, &|| SIZE).expect("a plan")
}

#[test]
fn fallback_is_the_configured_order() {
    let plan = route(vec![candidate("b", "1"), candidate("a", "1"), candidate("b", "0")], &Hints::default());
    assert_eq!(names(&plan), ["b/1", "a/1", "b/0"]);
}

#[test]
fn cost_weighs_the_sizes_of_this_request() {
    let hints = Hints { strategy: Some(Strategy::Cost), ..Hints::default() };
    let both = || vec![priced("cheap-output", 2.0, 1.0), priced("cheap-input", 1.0, 5.0)];
    let order = |input, output| {
        let plan = plan(both(), &hints, Strategy::Fallback, &|| Estimate { input, output }).expect("a plan");
        names(&plan)
    };
    assert_eq!(order(1_000, 100), ["cheap-input/m", "cheap-output/m"]);
    assert_eq!(order(100, 1_000), ["cheap-output/m", "cheap-input/m"]);
}

#[test]
fn an_unknown_price_comes_last_and_a_price_of_zero_first() {
    let hints = Hints { strategy: Some(Strategy::Cost), ..Hints::default() };
    let plan = route(vec![candidate("unknown", "m"), priced("dear", 50.0, 50.0), priced("free", 0.0, 0.0)], &hints);
    assert_eq!(names(&plan), ["free/m", "dear/m", "unknown/m"]);
    assert_eq!(
        plan.targets.iter().map(|t| t.why).collect::<Vec<_>>(),
        [Why::ListPrice, Why::ListPrice, Why::NoKnownPrice]
    );
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
    let refusal =
        plan(vec![candidate("out", "m"), blind, down], &hints, Strategy::Fallback, &|| SIZE).expect_err("no route");
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
    let refusal = plan(vec![candidate("a", "m")], &hints, Strategy::Fallback, &|| SIZE).expect_err("excluded wins");
    assert!(refusal.is_by_request());
    let nobody = plan(vec![], &Hints::default(), Strategy::Fallback, &|| SIZE).expect_err("nobody");
    assert!(!nobody.is_by_request());
}

#[test]
fn strategies_that_are_not_built_say_so() {
    for strategy in Strategy::ALL {
        let hints = Hints { strategy: Some(strategy), ..Hints::default() };
        let planned = plan(vec![candidate("a", "m")], &hints, Strategy::Fallback, &|| SIZE);
        match planned {
            Ok(plan) => assert!(BUILT.contains(&plan.strategy)),
            Err(refusal) => {
                assert_eq!(refusal, NoRoute::NotBuilt(strategy));
                assert!(!BUILT.contains(&strategy) && refusal.to_string().contains("not built yet"));
            }
        }
    }
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
                {"target": "b/m", "place": {"preferred": {"rank": 0}}, "why": "list_price", "estimated_usd": 0.0012},
                {"target": "a/m", "place": "rest", "why": "no_known_price"},
            ],
            "skipped": [
                {"target": "x/m", "reason": "excluded"},
                {"target": "d/m", "reason": "unavailable", "detail": "no key"},
            ],
        })
    );
    assert_eq!(plan.targets[0].to_string(), "b/m: number 1 in the request's preference, about $0.001200 by list price");
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
            (provider(), prop::option::of((0..5_u8, 0..5_u8)), capabilities(), prop::bool::weighted(0.8)),
            0..50,
        ),
    ) -> Vec<Candidate> {
        let rows = rows.into_iter().enumerate();
        rows.map(|(n, (provider, price, capabilities, up))| Candidate {
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
        strategy in prop::option::of(prop::sample::select(BUILT.to_vec())),
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
        match plan(candidates, &hints, Strategy::Fallback, &|| SIZE) {
            Err(NoRoute::NothingLeft(skipped)) => {
                prop_assert!(allowed.is_empty());
                prop_assert_eq!(skipped.len(), all);
            }
            Err(other) => prop_assert!(false, "{}", other),
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
    fn the_order_is_pinned_then_preferred_then_strategy_then_configuration(
        candidates in candidates(), hints in hints(),
    ) {
        let prices: Vec<Option<Price>> = candidates.iter().map(|c| c.price.clone()).collect();
        let cost = hints.strategy == Some(Strategy::Cost);
        if let Ok(plan) = plan(candidates, &hints, Strategy::Fallback, &|| SIZE) {
            let keys: Vec<_> = plan.targets.iter().map(|planned| {
                let provider = &*planned.target.provider;
                let pinned = hints.pinned.as_deref() == Some(provider);
                let rank = hints.preferred.iter().position(|name| name == provider).unwrap_or(usize::MAX);
                let n = number(&planned.target);
                let dollars = match &prices[n] {
                    _ if !cost => 0,
                    Some(price) => price.estimate(SIZE.input, SIZE.output).total().0,
                    None => u64::MAX,
                };
                (!pinned, if pinned { 0 } else { rank }, dollars, n)
            }).collect();
            prop_assert!(keys.is_sorted(), "{:?}", keys);
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer(candidates in candidates(), hints in hints()) {
        let again = plan(candidates.clone(), &hints, Strategy::Cost, &|| SIZE);
        prop_assert_eq!(plan(candidates, &hints, Strategy::Cost, &|| SIZE), again);
    }
}
