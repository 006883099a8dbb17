//! Pairs of a question and an answer of which somebody said that they do not belong together.

use std::collections::{HashSet, VecDeque};
use std::sync::{PoisonError, RwLock};

use gateway_core::limits::{CACHE_BLOCKED_PAIRS, CACHE_BLOCKED_PAIRS_PER_TENANT};

use crate::entry::Pair;
use crate::key::Hash;

/// The latest, of all and of each tenant: who reports many forgets its own first.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    pairs: RwLock<Pairs>,
}

#[derive(Debug, Default)]
struct Pairs {
    questions: HashSet<Hash>,
    /// The oldest first, with the tenant.
    order: VecDeque<(Hash, Hash)>,
}

impl Reported {
    pub(crate) fn has(&self, pair: &Pair) -> bool {
        self.pairs.read().unwrap_or_else(PoisonError::into_inner).questions.contains(&pair.questions)
    }

    pub(crate) fn len(&self) -> usize {
        self.pairs.read().unwrap_or_else(PoisonError::into_inner).questions.len()
    }

    pub(crate) fn add(&self, pair: &Pair) {
        let Pairs { questions, order } = &mut *self.pairs.write().unwrap_or_else(PoisonError::into_inner);
        if !questions.insert(pair.questions) {
            return;
        }
        order.push_back((pair.tenant, pair.questions));
        let own = order.iter().filter(|(tenant, _)| *tenant == pair.tenant).count();
        let oldest = match (own > CACHE_BLOCKED_PAIRS_PER_TENANT, order.len() > CACHE_BLOCKED_PAIRS) {
            (true, _) => order.iter().position(|(tenant, _)| *tenant == pair.tenant),
            (false, true) => Some(0),
            (false, false) => None,
        };
        if let Some((_, forgotten)) = oldest.and_then(|place| order.remove(place)) {
            questions.remove(&forgotten);
        }
    }
}
