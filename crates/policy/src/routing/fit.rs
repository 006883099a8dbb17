//! Targets that are clearly too small for a request are passed over, where another one has room.
//!
//! What is counted here is an estimate, and the provider's own count decides: so a target is skipped only if the request would
//! not fit even if the estimate were twice too high, and never for the sake of an answer that nobody may give.

use super::{Entry, Scene, SkipReason, Skipped};
use crate::tokens::USUAL_OUTPUT_TOKENS_REASONING;

/// Where nobody of `targets` has room, `overflow` takes their place.
pub(super) fn fit(
    targets: &mut Vec<Entry>,
    overflow: &mut Vec<Entry>,
    skipped: &mut Vec<Skipped>,
    scene: &Scene<'_, '_>,
) {
    if targets.len() + overflow.len() < 2 || targets.iter().all(|entry| entry.candidate.context_window.is_none()) {
        return;
    }
    let too_long = |entry: &Entry| {
        let context_window = entry.candidate.context_window?;
        // A cheap question first: most requests are small.
        (scene.ask.surely_more_than)(context_window.saturating_sub(USUAL_OUTPUT_TOKENS_REASONING))?;
        let output_tokens = scene.estimate().output;
        let input_tokens = (scene.ask.surely_more_than)(context_window.saturating_sub(output_tokens))?;
        Some(SkipReason::TooLong { input_tokens, output_tokens, context_window })
    };
    let objections: Vec<Option<SkipReason>> = targets.iter().map(too_long).collect();
    if objections.iter().all(Option::is_none) {
        return;
    }
    if objections.iter().all(Option::is_some) {
        if !overflow.iter().any(|entry| too_long(entry).is_none()) {
            return;
        }
        let (fits, tight): (Vec<Entry>, Vec<Entry>) =
            std::mem::take(overflow).into_iter().partition(|entry| too_long(entry).is_none());
        skip(std::mem::replace(targets, fits), objections, skipped);
        let objections = tight.iter().map(too_long).collect();
        skip(tight, objections, skipped);
        return;
    }
    let (mut kept, mut left, mut why) = (Vec::new(), Vec::new(), Vec::new());
    for (entry, objection) in std::mem::take(targets).into_iter().zip(objections) {
        if objection.is_some() {
            left.push(entry);
            why.push(objection);
        } else {
            kept.push(entry);
        }
    }
    *targets = kept;
    skip(left, why, skipped);
}

fn skip(entries: Vec<Entry>, objections: Vec<Option<SkipReason>>, skipped: &mut Vec<Skipped>) {
    skipped.extend(
        entries
            .into_iter()
            .zip(objections)
            .filter_map(|(entry, reason)| Some(Skipped { target: entry.candidate.target, reason: reason? })),
    );
}
