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

    pub(crate) fn add(&self, tenant: Hash, pair: Hash) {
        let Pairs { questions, order } = &mut *self.pairs.write().unwrap_or_else(PoisonError::into_inner);
        if !questions.insert(pair) {
            return;
        }
        order.push_back((tenant, pair));
        let own = order.iter().filter(|(owner, _)| *owner == tenant).count();
        let oldest = match (own > CACHE_BLOCKED_PAIRS_PER_TENANT, order.len() > CACHE_BLOCKED_PAIRS) {
            (true, _) => order.iter().position(|(owner, _)| *owner == tenant),
            (false, true) => Some(0),
            (false, false) => None,
        };
        if let Some((_, forgotten)) = oldest.and_then(|place| order.remove(place)) {
            questions.remove(&forgotten);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::EntryId;

    fn pair(tenant: u8, n: usize) -> Pair {
        let tenant = Hash::of("key", &[tenant]);
        Pair { tenant, entry: EntryId(tenant), questions: Hash::both("pair", tenant, Hash::of("n", &n.to_le_bytes())) }
    }

    fn add(reported: &Reported, pair: &Pair) {
        reported.add(pair.tenant, pair.questions);
    }

    #[test]
    fn who_reports_many_forgets_its_own_and_no_more_than_so_many_are_kept() {
        let reported = Reported::default();
        add(&reported, &pair(0, 0));
        for n in 0..=CACHE_BLOCKED_PAIRS_PER_TENANT {
            add(&reported, &pair(1, n));
        }
        assert!(reported.has(&pair(0, 0)));
        assert!(!reported.has(&pair(1, 0)));
        assert!((1..=CACHE_BLOCKED_PAIRS_PER_TENANT).all(|n| reported.has(&pair(1, n))));
        for tenant in 2..=(CACHE_BLOCKED_PAIRS / CACHE_BLOCKED_PAIRS_PER_TENANT) as u8 + 1 {
            (0..CACHE_BLOCKED_PAIRS_PER_TENANT).for_each(|n| add(&reported, &pair(tenant, n)));
        }
        assert_eq!(reported.len(), CACHE_BLOCKED_PAIRS);
        assert!(!reported.has(&pair(0, 0)));
    }
}
