//! One after the other, all the same.
//!
//! The others follow in the order in which their turns would come, so that the load of one that fails is shared by all in
//! turn, not taken by its neighbour in the configuration alone.

use super::{Entry, Scene, Why};

pub(super) fn order(group: &mut [Entry], takes_turn: bool, scene: &Scene<'_, '_>) {
    let shares = group.iter().map(|entry| (entry.slot, entry.candidate.warmth));
    let first = scene.ask.turns.next(shares, takes_turn && group.len() > 1);
    group.rotate_left(first);
    for (index, entry) in group.iter_mut().enumerate() {
        entry.why = if index == 0 { Why::Turn } else { Why::NextTurn };
    }
}
