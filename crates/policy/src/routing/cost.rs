//! Cheapest first, by list price of this request.
//!
//! Input and output are weighed by this request's own sizes: the cheapest model for a long prompt with a short answer is often
//! not the cheapest for the reverse. Of each target is counted what it has shown: how many tokens it makes of a prompt, how
//! long its answers usually are, and how much of a prompt it finds in its cache. A price of zero is a price; an unknown one is not a guess but the end of the line.

use gateway_core::usage::Usage;

use super::{Candidate, Entry, Scene, Why};
use crate::tokens::Estimate;

pub(super) fn order(group: &mut [Entry], scene: &Scene<'_, '_>) {
    for entry in group.iter_mut() {
        entry.why = price(&entry.candidate, scene);
    }
    group.sort_by_key(|entry| match entry.why {
        Why::ListPrice { estimated, .. } => (false, estimated.0),
        _ => (true, 0),
    });
}

fn price(candidate: &Candidate, scene: &Scene<'_, '_>) -> Why {
    let Some(price) = &candidate.price else { return Why::NoKnownPrice };
    let Estimate { input, output } = scene.estimate_at(candidate);
    let cache_read = (input as f64 * candidate.signals.cached_share()).round() as u64;
    let usage = Usage { input, cache_read, output, ..Usage::default() };
    Why::ListPrice {
        estimated: price.cost(&usage).total(),
        input_tokens: input,
        cached_tokens: cache_read,
        output_tokens: output,
    }
}
