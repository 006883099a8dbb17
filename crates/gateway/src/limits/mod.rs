//! How much each caller may have: requests, tokens and places are taken in one step before anybody is asked, and settled once
//! when it is known how the request ended.

mod answer;
mod levels;
mod shared;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use gateway_core::limits::TOKENS_PER_REQUEST_MOST;
use gateway_policy::limits::{Ask, Counts, Level, Refused, Standing, Table};

use crate::store::redis::Redis;
use shared::Reservation;

pub use answer::{error, tell};
pub use levels::{Looked, ask, ask_of_provider, look};
pub use shared::{SCRIPTS, Shared};

/// The state of all limits. It outlives configurations: each request says by which limits it is measured.
#[derive(Debug)]
pub struct Limiter {
    table: Table,
    /// Where several gateways have the same limits, the table has what their Redis last said.
    shared: Option<Shared>,
}

impl Limiter {
    /// `redis`: shared with other gateways.
    pub fn new(now: Instant, redis: Option<Redis>) -> Arc<Limiter> {
        Arc::new(Limiter { table: Table::new(now), shared: redis.map(Shared::new) })
    }

    /// Takes what `ask` says from all of its levels, or from none.
    pub async fn take(self: &Arc<Self>, mut ask: Ask) -> Result<(Hold, Standing), Box<Refused>> {
        let (standing, reservation) = match &self.shared {
            _ if ask.levels.is_empty() => (Standing::default(), None),
            None => (self.table.take(&mut ask, Instant::now())?, None),
            Some(shared) => Box::pin(shared.take(&self.table, &mut ask)).await?,
        };
        Ok((Hold { limiter: self.clone(), ask: Some(ask), reservation, owes: false }, standing))
    }

    /// Whether a request of so many tokens would pass, as far as this node knows without asking anybody. Nothing is taken.
    pub fn look(&self, levels: &[Level], tokens: u64, now: Instant) -> Result<Standing, Box<Refused>> {
        // Another gateway may have given tokens back that this one does not know of.
        let tokens = if self.shared.is_some() { 0 } else { tokens };
        self.table.look(levels, tokens, now)
    }

    pub fn counts(&self) -> Counts {
        self.table.counts()
    }

    /// The limits that several gateways share; `None`: this one has its own.
    pub fn shared(&self) -> Option<&Shared> {
        self.shared.as_ref()
    }

    /// Never waits: a request that has ended has nobody left to wait for it.
    fn settle(&self, ask: &Ask, reservation: Option<&Reservation>, spent: u64, now: Instant) {
        if !ask.levels.is_empty() {
            self.table.settle(ask, spent, now);
        }
        if let (Some(shared), Some(reservation)) = (&self.shared, reservation) {
            shared.settle(reservation, ask.tokens, spent);
        }
    }
}

/// What a request has taken, until it is known what it needed.
///
/// Dropped without a word it gives back its tokens, unless somebody is being asked: whoever leaves while a provider works has
/// had the work done, and what it came to will never be told.
#[derive(Debug)]
#[must_use = "what is dropped is given back"]
pub struct Hold {
    limiter: Arc<Limiter>,
    /// `None`: it has been settled.
    ask: Option<Ask>,
    /// What Redis holds for it.
    reservation: Option<Arc<Reservation>>,
    /// A provider is at work for it.
    owes: bool,
}

impl Hold {
    /// The tokens that were taken: what the request was thought to need.
    pub fn reserved(&self) -> u64 {
        self.ask.as_ref().map_or(0, |ask| ask.tokens)
    }

    pub fn provider_asked(&mut self) {
        self.owes = true;
    }

    /// What it did is not the caller's to pay.
    pub fn provider_failed(&mut self) {
        self.owes = false;
    }

    /// `spent`: the tokens that the request really needed. Settles once; what is said later changes nothing.
    pub fn settle(&mut self, spent: u64, now: Instant) {
        if let Some(ask) = self.ask.take() {
            self.limiter.settle(&ask, self.reservation.as_deref(), spent.min(TOKENS_PER_REQUEST_MOST), now);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.ask.is_some() {
            let spent = if self.owes { self.reserved() } else { 0 };
            self.settle(spent, Instant::now());
        }
    }
}
