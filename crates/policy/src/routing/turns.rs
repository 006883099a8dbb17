//! Whose turn it is: the state of round robin and of weighted, shared by all requests for the same targets.
//!
//! Each target has a time of its own at which its next turn is due; whoever is due first is chosen, and its next turn comes
//! after a step that is the shorter, the greater its weight. Turns are thus spread evenly (`a a b a`, not `a a a b`), counts are
//! exact over every cycle, and there is no lock: a turn is taken by exchanging one number. A target that was away does
//! not get the turns that it missed: it is due at once, once.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// The step of a target of weight 1. All weights to 16 divide it, greater ones are a little imprecise; and there is room for
/// a million million turns.
const STEP: u64 = 24 * 720_720;
/// A target of no weight at all still comes, once in so many turns of the others.
const LEAST_SHARE: f64 = 0.001;
/// Turns that were taken by somebody else meanwhile are looked for again so many times; then two requests share one. Where two
/// do nothing else, every second try fails: with 8, one of 256 requests shared a turn.
const TRIES: usize = 64;

/// The turns of a list of targets, by their numbers in it.
#[derive(Debug)]
pub struct Turns {
    /// When the next turn of each is due; 0 before its first.
    due: Box<[AtomicU64]>,
    /// The due time of the turn that was taken last.
    now: AtomicU64,
}

impl Turns {
    pub fn new(targets: usize) -> Turns {
        Turns { due: (0..targets).map(|_| AtomicU64::new(0)).collect(), now: AtomicU64::new(0) }
    }

    /// The position in `shares` of the one whose turn it is. Shares are pairs of a target's number and its weight, which may
    /// be a fraction. `take`: the turn is over with that. Of targets that are due at the same time, the first one has it.
    pub(super) fn next(&self, shares: impl Iterator<Item = (usize, f64)> + Clone, take: bool) -> usize {
        let mut chosen = 0;
        for _ in 0..TRIES {
            let waiting = shares.clone().enumerate().map(|(position, (slot, share))| {
                let step = (STEP as f64 / share.max(LEAST_SHARE)) as u64;
                let written = self.due.get(slot).map_or(0, |due| due.load(Acquire));
                // Read after what was written, never before: against a time that is over, all would seem to be due too late.
                let now = self.now.load(Relaxed);
                // The first turn is half a step away, so that great weights begin early and small ones in the middle.
                let due = if written == 0 { step / 2 } else { written };
                // Who was away, or weighed more or less than now, is not due for long, nor has long to wait.
                let due = due.clamp(now, now.saturating_add(step));
                (due, position, slot, step, written)
            });
            let Some((due, position, slot, step, written)) = waiting.min_by_key(|&(due, position, ..)| (due, position))
            else {
                return 0;
            };
            chosen = position;
            let Some(cell) = self.due.get(slot).filter(|_| take) else { break };
            // First the time, then the turn: who sees the turn sees the time as well.
            self.now.fetch_max(due, Relaxed);
            if cell.compare_exchange(written, due.saturating_add(step), AcqRel, Relaxed).is_ok() {
                break;
            }
        }
        chosen
    }
}
