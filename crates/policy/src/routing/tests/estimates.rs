//! Estimates that learn from what providers count.

use super::*;

const RULED: Estimate = Estimate { input: 1_000, output: 1_000 };

fn signals() -> Signals {
    Signals::new(Instant::now())
}

#[test]
fn an_estimate_is_the_rules_until_something_is_known() {
    let signals = signals();
    assert_eq!(signals.estimate(RULED, None), RULED);
    // The first few answers say how long answers are not.
    (0..4).for_each(|_| signals.usage(0, 0, 20));
    assert_eq!(signals.estimate(RULED, None).output, 1_000);
    signals.usage(0, 0, 20);
    assert_eq!(signals.estimate(RULED, None).output, 20);
    assert_eq!((signals.estimate(RULED, Some(5)).output, signals.estimate(RULED, Some(5_000)).output), (5, 20));
}

#[test]
fn short_prompts_teach_nothing_about_long_ones() {
    let signals = signals();
    (0..50).for_each(|_| signals.prompt(100, 300));
    let input = |input| signals.estimate(Estimate { input, output: 0 }, None).input;
    assert!((590..=600).contains(&input(200)), "{}", input(200));
    assert_eq!(input(50_000), 50_000);
}

#[test]
fn a_prompt_that_is_counted_out_of_all_proportion_is_no_rule() {
    let signals = signals();
    (0..50).for_each(|_| signals.prompt(1_000, 1_500));
    let before = signals.estimate(RULED, None).input;
    // A search of the web, in the middle of the answer, made it 400,000.
    signals.prompt(1_000, 400_000);
    let after = signals.estimate(RULED, None).input;
    assert!(after < before * 11 / 10, "{before} became {after}");
    // Nothing at all says nothing at all.
    signals.prompt(0, 5_000);
    signals.prompt(1_000, 0);
    assert_eq!(signals.estimate(RULED, None).input, after);
}

proptest! {
    /// Whatever the tokenizer makes of it, give or take a fifth.
    #[test]
    fn it_comes_near_to_any_tokenizer(ratio in 0.2..7.0f64, seed: u64) {
        let (signals, mut rng) = (signals(), fastrand::Rng::with_seed(seed));
        for _ in 0..60 {
            let ruled = rng.u64(200..1_000);
            signals.prompt(ruled, (ruled as f64 * ratio * (0.8 + 0.4 * rng.f64())).round() as u64);
        }
        let estimate = signals.estimate(RULED, None).input as f64 / 1_000.0;
        prop_assert!((0.85..1.15).contains(&(estimate / ratio)), "{} is {}", ratio, estimate);
    }

    #[test]
    fn nothing_that_is_told_makes_it_absurd(told: Vec<(u64, u64)>, ruled in 0..u64::MAX / 16) {
        let signals = signals();
        told.into_iter().for_each(|(ruled, told)| signals.prompt(ruled, told));
        let input = signals.estimate(Estimate { input: ruled, output: 0 }, None).input as f64;
        prop_assert!(input <= ruled as f64 * 8.01 && input >= (ruled as f64 / 8.01).floor());
    }
}
