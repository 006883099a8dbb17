//! By weight, spread evenly: of weights 3 and 1 comes `a a b a`, and again.
//!
//! The others follow by weight, the heaviest first: who can take most takes what one that fails leaves.

use std::cmp::Reverse;

use super::{Entry, Scene, Share, Why, to_front};

pub(super) fn order(group: &mut [Entry], takes_turn: bool, scene: &Scene<'_, '_>) {
    let total_weight = group.iter().map(|entry| u64::from(entry.candidate.weight)).sum();
    let shares = group.iter().map(|entry| (entry.slot, f64::from(entry.candidate.weight) * entry.candidate.warmth));
    let first = scene.ask.turns.next(shares, takes_turn && group.len() > 1);
    to_front(group, first);
    if let Some((_, rest)) = group.split_first_mut() {
        rest.sort_by_key(|entry| Reverse(entry.candidate.weight));
    }
    for (index, entry) in group.iter_mut().enumerate() {
        let share = Share { weight: entry.candidate.weight, total_weight, warmth: entry.candidate.warmth };
        entry.why = if index == 0 { Why::Share { share } } else { Why::ByWeight { share } };
    }
}
