//! Fastest first, by the time that the whole answer to this request would take: the time to the first token for prompts of its
//! length, and the time of every token of the answer.
//!
//! The first choice is the better of two (the power of two choices) that are drawn from those that are nearly as fast as the
//! fastest: so not every request of the moment goes to the one that looked fastest a moment ago, and none to one that is
//! plainly slower. A failure adds a penalty that fades. What is not known is
//! learned, within bounds: three in a hundred requests may go to a target that was not measured of late, to each once
//! in five seconds, and none to one that fails.

use std::time::Duration;

use super::signals::SizeClass;
use super::{Entry, ExpectedTime, Scene, Why, to_front};

/// The share of requests that may be spent on learning.
const EXPLORING_SHARE: f64 = 0.03;
/// The time between two requests to one target for what they teach.
const EXPLORING_PAUSE: Duration = Duration::from_secs(5);
/// What was measured longer ago may have changed.
const STALE: Duration = Duration::from_secs(60);
/// A target with more left of its penalty is not explored.
const EXPLORING_PENALTY_MS: f64 = 1_000.0;
/// Up to so many times the time of the fastest is nearly as fast.
const NEAR: f64 = 1.5;
/// So many tokens outstanding double the wait for the first one. A judgement: a provider's own load is mostly that of others,
/// and shows in what is measured; a small server of one's own shows it too, but late.
const CROWD_TOKENS: f64 = 100_000.0;

pub(super) fn order(group: &mut [Entry], chooses: bool, scene: &mut Scene<'_, '_>) {
    let size = SizeClass::of(scene.estimate().input);
    let now = scene.ask.now;
    // Of targets whose pace is unknown, the others' is assumed: unknown is neither fast nor slow.
    let paces = group.iter().filter_map(|entry| entry.candidate.signals.per_token_ms(now));
    let (sum, count) = paces.fold((0.0, 0.0), |(sum, count), pace| (sum + pace, count + 1.0));
    let usual_pace = if count > 0.0 { sum / count } else { 0.0 };
    for entry in group.iter_mut() {
        entry.why = match expected(entry, usual_pace, size, scene) {
            Some(time) => Why::ExpectedTime { time, drawn: false },
            None => Why::NotMeasured,
        };
    }
    group.sort_by(|a, b| score(a).total_cmp(&score(b)));
    if !chooses {
        return;
    }
    if let Some(index) = explored(group, size, scene) {
        group[index].why = Why::Explored;
        to_front(group, index);
        return;
    }
    let eligible: Vec<usize> =
        (0..group.len()).filter(|&index| scene.rng.f64() < group[index].candidate.warmth).collect();
    let fastest = eligible.first().map_or(f64::INFINITY, |&index| score(&group[index]));
    let near = |&&index: &&usize| score(&group[index]).is_finite() && score(&group[index]) <= fastest * NEAR;
    let pick = match (eligible.iter().take_while(near).count(), eligible.len()) {
        (0, 0) => return,
        // Nothing is known: whoever has less to do of two.
        (0, all) => {
            let two = two_of(all, scene.rng).map(|place| eligible[place]);
            let busy = |&index: &usize| group[index].candidate.signals.outstanding_tokens();
            two.into_iter().min_by_key(busy).unwrap_or_default()
        }
        (near, _) => {
            // They are in order: the earlier of two is the faster.
            let [one, other] = two_of(near, scene.rng);
            let pick = eligible[one.min(other)];
            if let Why::ExpectedTime { drawn, .. } = &mut group[pick].why {
                *drawn = near > 2;
            }
            pick
        }
    };
    to_front(group, pick);
}

/// Two different numbers below `n`, as far as there are two.
fn two_of(n: usize, rng: &mut fastrand::Rng) -> [usize; 2] {
    let one = rng.usize(..n);
    let other = if n > 1 { (one + rng.usize(1..n)) % n } else { one };
    [one, other]
}

fn score(entry: &Entry) -> f64 {
    match entry.why {
        Why::ExpectedTime { time, .. } => time.expected_ms,
        _ => f64::INFINITY,
    }
}

fn expected(entry: &Entry, usual_pace: f64, size: SizeClass, scene: &Scene<'_, '_>) -> Option<ExpectedTime> {
    let signals = &entry.candidate.signals;
    let now = scene.ask.now;
    let first_token_ms = signals.first_token_ms(size, now)?;
    let per_token_ms = signals.per_token_ms(now).unwrap_or(usual_pace);
    let output_tokens = scene.estimate_at(&entry.candidate).output;
    let penalty_ms = signals.penalty_ms(now);
    let crowd = 1.0 + signals.outstanding_tokens() as f64 / CROWD_TOKENS;
    let expected_ms = first_token_ms * crowd + per_token_ms * output_tokens as f64 + penalty_ms;
    let [expected_ms, first_token_ms, per_token_ms, penalty_ms] =
        [expected_ms, first_token_ms, per_token_ms, penalty_ms].map(|ms| (ms * 1e3).round() / 1e3);
    Some(ExpectedTime { expected_ms, first_token_ms, per_token_ms, output_tokens, penalty_ms })
}

/// The entry from which most can be learned, if one is due.
fn explored(group: &[Entry], size: SizeClass, scene: &mut Scene<'_, '_>) -> Option<usize> {
    let now = scene.ask.now;
    // Where nothing is known of anybody, every request teaches.
    if group.iter().all(|entry| score(entry).is_infinite()) || scene.rng.f64() >= EXPLORING_SHARE {
        return None;
    }
    let stale = group.iter().enumerate().filter_map(|(index, entry)| {
        let signals = &entry.candidate.signals;
        let silence = signals.silence(size, now).unwrap_or(Duration::MAX);
        let teaches = index > 0 && silence >= STALE && signals.penalty_ms(now) < EXPLORING_PENALTY_MS;
        teaches.then_some((silence, index))
    });
    let (_, index) = stale.max_by_key(|&(silence, index)| (silence, std::cmp::Reverse(index)))?;
    let candidate = &group[index].candidate;
    (scene.rng.f64() < candidate.warmth && candidate.signals.explore(EXPLORING_PAUSE, now)).then_some(index)
}
