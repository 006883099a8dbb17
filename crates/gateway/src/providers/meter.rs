//! Quotas of providers that the operator has declared: what an attempt may take of them, taken before it is made.
//!
//! The provider's own quota and that of a credential are buckets like those of callers. An attempt takes one request and its
//! estimated tokens from both or from none, and is settled to what the answer really had. What never got to the provider is
//! given back; of what failed there, nobody knows what the provider has counted, and it stays taken.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_core::access::Rates;
use gateway_policy::limits::{Bucket, Rate};

/// What has been used of one quota. Outlives configurations; the quota itself is theirs.
#[derive(Debug)]
pub struct Meter {
    origin: Instant,
    used: Mutex<Used>,
}

/// `None`: there is no such quota.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    at_ms: u64,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
}

/// A quota with what is used of it.
#[derive(Debug, Clone)]
pub struct Metered {
    pub quota: Rates,
    pub meter: Arc<Meter>,
}

/// What is left.
#[derive(Debug, Clone, Copy)]
pub struct Remaining {
    pub of: &'static str,
    pub left: u64,
    pub limit: u64,
    pub full_in: Duration,
}

impl Meter {
    pub fn new(now: Instant) -> Self {
        Meter { origin: now, used: Mutex::default() }
    }

    fn with<T>(&self, rates: [Option<Rate>; 2], now: Instant, change: impl FnOnce(&mut Used) -> T) -> T {
        let now_ms = now.saturating_duration_since(self.origin).as_millis() as u64;
        // Nothing panics while it holds this lock; should it ever, the numbers are still numbers.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let millis = now_ms.saturating_sub(used.at_ms);
        let fill = |bucket: Option<Bucket>, rate: Option<Rate>| {
            rate.map(|rate| bucket.map_or(Bucket::full(rate), |bucket| bucket.after(millis).at(rate)))
        };
        let [requests, tokens] = rates;
        *used = Used {
            at_ms: now_ms.max(used.at_ms),
            requests: fill(used.requests, requests),
            tokens: fill(used.tokens, tokens),
        };
        change(&mut used)
    }
}

impl Metered {
    pub fn new(quota: Rates, now: Instant) -> Self {
        Metered { quota, meter: Arc::new(Meter::new(now)) }
    }

    /// Of `nodes` gateways each has its share.
    fn with<T>(&self, nodes: u64, now: Instant, change: impl FnOnce(&mut Used) -> T) -> T {
        let rates = [self.quota.requests_per_minute, self.quota.tokens_per_minute];
        let share = |most: Option<u64>| most.map(|most| Rate::new(most / nodes.max(1), None));
        self.meter.with(rates.map(share), now, change)
    }

    /// Fails with the time at which it would probably do.
    fn take(&self, tokens: u64, nodes: u64, now: Instant) -> Result<(), Instant> {
        self.with(nodes, now, |used| {
            let wait = |bucket: Option<Bucket>, cost| bucket.map_or(0, |bucket| bucket.wait(cost));
            let millis = wait(used.requests, 1).max(wait(used.tokens, tokens));
            if millis > 0 {
                return Err(now + Duration::from_millis(millis));
            }
            used.requests = used.requests.map(|bucket| bucket.take(1));
            used.tokens = used.tokens.map(|bucket| bucket.take(tokens));
            Ok(())
        })
    }

    fn give_back(&self, requests: u64, tokens: u64, nodes: u64, now: Instant) {
        self.with(nodes, now, |used| {
            used.requests = used.requests.map(|bucket| bucket.give_back(requests));
            used.tokens = used.tokens.map(|bucket| bucket.give_back(tokens));
        });
    }

    fn take_more(&self, tokens: u64, nodes: u64, now: Instant) {
        self.with(nodes, now, |used| used.tokens = used.tokens.map(|bucket| bucket.take(tokens)));
    }

    pub fn remaining(&self, nodes: u64, now: Instant) -> Vec<Remaining> {
        let used = self.with(nodes, now, |used| *used);
        let left = |of, bucket: Bucket| Remaining {
            of,
            left: bucket.left(),
            limit: bucket.rate().per_minute,
            full_in: Duration::from_millis(bucket.wait_full()),
        };
        let buckets = [("requests", used.requests), ("tokens", used.tokens)];
        buckets.into_iter().filter_map(|(of, bucket)| Some(left(of, bucket?))).collect()
    }

    /// Not even the smallest request would be let through.
    pub fn is_used_up(&self, nodes: u64, now: Instant) -> bool {
        let used = self.with(nodes, now, |used| *used);
        [used.requests, used.tokens].into_iter().flatten().any(|bucket| !bucket.allows(1))
    }
}

/// What an attempt has taken. Dropped before the attempt begins, it has taken nothing.
#[derive(Debug)]
#[must_use = "what is dropped is given back"]
pub struct Taken {
    from: [Option<Metered>; 2],
    tokens: u64,
    nodes: u64,
    begun: bool,
}

impl Taken {
    /// From all of them or from none. `None`: there are none.
    pub fn from(
        quotas: [Option<&Metered>; 2],
        tokens: u64,
        nodes: u64,
        now: Instant,
    ) -> Result<Option<Taken>, Instant> {
        if quotas == [None, None] {
            return Ok(None);
        }
        let mut taken = Taken { from: [None, None], tokens, nodes, begun: false };
        for (quota, from) in quotas.into_iter().zip(&mut taken.from) {
            if let Some(quota) = quota {
                quota.take(tokens, nodes, now)?;
                *from = Some(quota.clone());
            }
        }
        Ok(Some(taken))
    }

    fn all(&self) -> impl Iterator<Item = &Metered> {
        self.from.iter().flatten()
    }

    /// From here on the provider counts it, whatever becomes of it.
    pub fn begins(&mut self) {
        self.begun = true;
    }

    /// It did not get there.
    pub fn never_arrived(mut self) {
        self.begun = false;
    }

    /// The provider has counted so many tokens.
    pub fn settle(self, spent: u64, now: Instant) {
        for metered in self.all() {
            match spent.checked_sub(self.tokens) {
                Some(more) => metered.take_more(more, self.nodes, now),
                None => metered.give_back(0, self.tokens - spent, self.nodes, now),
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.begun {
            self.all().for_each(|metered| metered.give_back(1, self.tokens, self.nodes, Instant::now()));
        }
    }
}

impl PartialEq for Metered {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.meter, &other.meter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(requests: Option<u64>, tokens: Option<u64>, now: Instant) -> Metered {
        Metered::new(Rates { requests_per_minute: requests, tokens_per_minute: tokens, ..Rates::NONE }, now)
    }

    fn left(metered: &Metered, now: Instant) -> Vec<u64> {
        metered.remaining(1, now).iter().map(|remaining| remaining.left).collect()
    }

    #[test]
    fn an_attempt_takes_from_both_quotas_or_from_none() {
        let now = Instant::now();
        let (provider, key) = (quota(Some(10), None, now), quota(Some(1), Some(1000), now));
        let both = [Some(&provider), Some(&key)];
        let mut one = Taken::from(both, 400, 1, now).unwrap().unwrap();
        assert_eq!((left(&provider, now), left(&key, now)), (vec![9], vec![0, 600]));
        let until = Taken::from(both, 400, 1, now).unwrap_err();
        assert_eq!(until, now + Duration::from_secs(60), "when the key has a request again");
        assert_eq!((left(&provider, now), left(&key, now)), (vec![9], vec![0, 600]));
        one.begins();
        one.settle(700, now);
        assert_eq!((left(&provider, now), left(&key, now)), (vec![9], vec![0, 300]));
        assert!(key.is_used_up(1, now) && !provider.is_used_up(1, now));
        assert!(Taken::from([None, None], 400, 1, now).unwrap().is_none());
    }

    #[test]
    fn what_never_gets_there_is_given_back_and_what_fails_there_is_not() {
        let now = Instant::now();
        let provider = quota(Some(10), Some(1000), now);
        let take = || Taken::from([Some(&provider), None], 100, 1, now).unwrap().unwrap();
        drop(take());
        let mut refused = take();
        refused.begins();
        refused.never_arrived();
        assert_eq!(left(&provider, now), [10, 1000]);
        let mut failed = take();
        failed.begins();
        drop(failed);
        assert_eq!(left(&provider, now), [9, 900]);
        let mut short = take();
        short.begins();
        short.settle(10, now);
        assert_eq!(left(&provider, now), [8, 890]);
    }

    #[test]
    fn of_many_gateways_each_has_its_share() {
        let now = Instant::now();
        let provider = quota(Some(10), None, now);
        let mut taken = Vec::new();
        while let Ok(one) = Taken::from([Some(&provider), None], 0, 4, now) {
            taken.extend(one);
        }
        assert_eq!(taken.len(), 2);
    }
}
