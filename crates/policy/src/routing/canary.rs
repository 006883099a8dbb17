//! A share of the requests tries a new target first; the others, last.
//!
//! With affinity, a conversation is drawn once and for all; without, each request is.

use super::affinity::{mix, unit};
use super::{Entry, Scene, Why};

/// What the draw says of a target; earlier variants come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Drawn,
    /// Not a canary.
    None,
    /// Last of its priority.
    NotDrawn,
}

pub(super) fn draw(entries: &mut [Entry], scene: &mut Scene<'_, '_>) {
    if entries.iter().all(|entry| entry.candidate.canary.is_none()) {
        return;
    }
    let chance = if scene.affinity() { unit(mix(!scene.affinity_key())) } else { scene.rng.f64() } * 100.0;
    let mut drawn_below = 0.0;
    for entry in entries {
        if let Some(percent) = entry.candidate.canary {
            let here = (drawn_below..drawn_below + percent).contains(&chance);
            entry.canary = if here { Part::Drawn } else { Part::NotDrawn };
            drawn_below += percent;
        }
    }
}

pub(super) fn explain(group: &mut [Entry]) {
    for entry in group {
        match (entry.canary, entry.candidate.canary) {
            (Part::Drawn, Some(percent)) => entry.why = Why::Canary { percent },
            (Part::NotDrawn, Some(percent)) => entry.why = Why::CanaryNotDrawn { percent },
            _ => {}
        }
    }
}
