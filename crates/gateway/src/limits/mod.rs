//! How much each caller may have: requests, tokens and places are taken in one step before anybody is asked, and settled once
//! when it is known how the request ended.

use std::sync::Arc;
use std::time::Instant;

use gateway_policy::limits::{Ask, Level, Refused, Standing, Table};

/// The state of all limits. It outlives configurations: each request says by which limits it is measured.
#[derive(Debug)]
pub struct Limiter {
    table: Table,
}

impl Limiter {
    pub fn new(now: Instant) -> Arc<Limiter> {
        Arc::new(Limiter { table: Table::new(now) })
    }

    /// Takes what `ask` says from all of its levels, or from none.
    pub async fn take(self: &Arc<Self>, mut ask: Ask) -> Result<(Hold, Standing), Refused> {
        if ask.levels.is_empty() {
            return Ok((Hold { limiter: self.clone(), ask: None }, Standing::default()));
        }
        let standing = self.table.take(&mut ask, Instant::now())?;
        Ok((Hold { limiter: self.clone(), ask: Some(ask) }, standing))
    }

    /// Whether a small request would pass, as far as this node knows without asking anybody. Nothing is taken.
    pub fn look(&self, levels: &[Level]) -> Result<Standing, Refused> {
        self.table.look(levels, Instant::now())
    }

    /// Never waits: a request that has ended has nobody left to wait for it.
    fn settle(&self, ask: &Ask, spent: u64) {
        self.table.settle(ask, spent, Instant::now());
    }
}

/// What a request has taken. Dropped without a word, it gives back everything but the request itself: nobody was asked.
#[derive(Debug)]
#[must_use = "what is dropped is given back"]
pub struct Hold {
    limiter: Arc<Limiter>,
    /// `None`: it is not limited, or it has been settled.
    ask: Option<Ask>,
}

impl Hold {
    /// The tokens that were taken: what the request was thought to need.
    pub fn reserved(&self) -> u64 {
        self.ask.as_ref().map_or(0, |ask| ask.tokens)
    }

    /// `spent`: the tokens that the request really needed.
    pub fn settle(mut self, spent: u64) {
        self.end(spent);
    }

    fn end(&mut self, spent: u64) {
        if let Some(ask) = self.ask.take() {
            self.limiter.settle(&ask, spent);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.end(0);
    }
}
