//! What was cleared lately, for the sake of answers that were on their way then: who clears wants none of them afterwards.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use gateway_core::limits::CACHE_CLEARINGS;

use super::Filter;
use crate::entry::Entry;

#[derive(Debug, Default)]
pub(super) struct Clearings(RwLock<Noted>);

#[derive(Debug, Default)]
struct Noted {
    /// The oldest first.
    latest: VecDeque<(Instant, Filter)>,
    /// When the last one was that is not known any more. Whatever was asked for before may have been meant by it.
    forgotten: Option<Instant>,
}

impl Clearings {
    /// To be called before anything is removed, so that whoever stores sees either the note or that its entry is gone.
    pub(super) fn note(&self, filter: &Filter, now: Instant) {
        let Noted { latest, forgotten } = &mut *self.0.write().unwrap_or_else(PoisonError::into_inner);
        latest.push_back((now, filter.clone()));
        if latest.len() > CACHE_CLEARINGS {
            *forgotten = latest.pop_front().map(|(when, _)| when);
        }
    }

    /// Whether an answer was cleared after it was asked for.
    pub(super) fn mean<A>(&self, entry: &Entry<A>, asked: Instant) -> bool {
        let noted = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let later = noted.latest.iter().rev().take_while(|(when, _)| *when >= asked);
        noted.forgotten.is_some_and(|when| when >= asked)
            || later.into_iter().any(|(when, filter)| filter.fits(entry, *when))
    }
}
