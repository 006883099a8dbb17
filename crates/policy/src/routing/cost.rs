//! Cheapest first, by list price of the estimated request.
//!
//! Input and output are weighed by this request's own sizes: the cheapest model for a long prompt with a short answer is often
//! not the cheapest for the reverse. A price of zero is a price; an unknown one is not a guess but the end of the line.

use super::{Candidate, Ordered, Why};
use crate::tokens::Estimate;

pub(super) fn order(candidates: Vec<Candidate>, estimate: &dyn Fn() -> Estimate) -> Vec<Ordered> {
    let estimate = estimate();
    let mut ordered: Vec<Ordered> = candidates
        .into_iter()
        .map(|candidate| {
            let score = candidate.price.map(|price| price.estimate(estimate.input, estimate.output).total());
            let why = if score.is_some() { Why::ListPrice } else { Why::NoKnownPrice };
            Ordered { target: candidate.target, why, score }
        })
        .collect();
    ordered.sort_by_key(|target| (target.score.is_none(), target.score));
    ordered
}
