//! The order in which the operator wrote the targets down.

use super::{Candidate, Ordered, Why};
use crate::tokens::Estimate;

pub(super) fn order(candidates: Vec<Candidate>, _: &dyn Fn() -> Estimate) -> Vec<Ordered> {
    candidates
        .into_iter()
        .map(|candidate| Ordered { target: candidate.target, why: Why::ConfiguredOrder, score: None })
        .collect()
}
