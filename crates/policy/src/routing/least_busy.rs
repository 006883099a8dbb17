//! The one with the fewest tokens outstanding first: estimated input and output of the requests that run there. A request
//! for a long story counts for more than one for a word, which a count of requests does not see. A target that fails is never
//! busy: what failures add to its expected time counts as that many tokens, one for a millisecond, until it fades.

use super::{Entry, Scene, Why, to_front};

pub(super) fn order(group: &mut [Entry], scene: &mut Scene<'_, '_>) {
    for entry in group.iter_mut() {
        let signals = &entry.candidate.signals;
        entry.why = Why::Outstanding { tokens: signals.outstanding_tokens(), requests: signals.outstanding_requests() };
    }
    let penalty = |entry: &Entry| entry.candidate.signals.penalty_ms(scene.ask.now) as u64;
    let penalties: Vec<(usize, u64)> = group.iter().map(|entry| (entry.slot, penalty(entry))).collect();
    let penalty = |slot| penalties.iter().find(|(known, _)| *known == slot).map_or(0, |(_, penalty)| *penalty);
    // Among those that are equally busy, as when nobody is, chance decides and not the configuration.
    group.sort_by_cached_key(|entry| match entry.why {
        Why::Outstanding { tokens, requests } => (tokens + penalty(entry.slot), requests, scene.rng.u32(..)),
        _ => (u64::MAX, u64::MAX, 0),
    });
    // One that comes back has nothing to do, which must not bring it everything.
    if let Some(warm) = group.iter().position(|entry| scene.rng.f64() < entry.candidate.warmth) {
        to_front(group, warm);
    }
}
