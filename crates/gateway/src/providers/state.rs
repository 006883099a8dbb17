//! How the models of one provider fare with each of its credentials.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use foldhash::HashMap;
use gateway_core::limits::{KEPT_MODEL_NAME_BYTES, TARGET_STATES_PER_PROVIDER};
use gateway_policy::resilience::{BreakerSettings, Circuit};
use gateway_policy::routing::signals::Signals;

use crate::providers::permit::{Lane, LastResort};

/// What traffic has shown of one model at one provider.
#[derive(Debug)]
pub struct TargetState {
    pub signals: Arc<Signals>,
    /// One for each credential of the provider, in their order.
    pub lanes: Box<[Arc<Lane>]>,
    /// For attempts although none of them is open to requests.
    pub last_resort: LastResort,
}

impl TargetState {
    /// From 0 to 1, how much of its share of the traffic the target can take: none while it is not to be asked, less than all
    /// after an outage. One whose circuit waits for a probe gets its share, of which the probe is all that reaches it.
    pub fn warmth(&self, now: Instant) -> f64 {
        let lane = |lane: &Arc<Lane>| match lane.breaker.circuit(now) {
            _ if !lane.quota.cooldown.ready(now) || lane.headroom.is_used_up(now) => 0.0,
            Circuit::HalfOpen if lane.breaker.refuses(now).is_none() => 1.0,
            _ => lane.breaker.warmth(now),
        };
        self.lanes.iter().map(lane).fold(0.0, f64::max)
    }
}

/// The states of a provider's models. Clients may ask for any model by name, so that there is a bound: models beyond it share
/// one state.
#[derive(Debug)]
pub struct States {
    settings: BreakerSettings,
    credentials: usize,
    /// Replaced as a whole when a model is asked for the first time; reading takes no lock.
    known: ArcSwap<HashMap<Arc<str>, Arc<TargetState>>>,
    others: Arc<TargetState>,
}

impl States {
    pub fn new(settings: BreakerSettings, credentials: usize, now: Instant) -> Self {
        let others = Arc::new(fresh(settings, credentials, now));
        States { settings, credentials, known: ArcSwap::default(), others }
    }

    pub fn of(&self, model: &str) -> Arc<TargetState> {
        {
            let known = self.known.load();
            if let Some(state) = known.get(model) {
                return state.clone();
            }
            // Looked at first: what follows copies the whole map.
            if known.len() >= TARGET_STATES_PER_PROVIDER || model.len() > KEPT_MODEL_NAME_BYTES {
                return self.others.clone();
            }
        }
        let state = Arc::new(fresh(self.settings, self.credentials, Instant::now()));
        let known = self.known.rcu(|known| {
            let mut more = HashMap::clone(known);
            if more.len() < TARGET_STATES_PER_PROVIDER {
                more.entry(Arc::from(model)).or_insert_with(|| state.clone());
            }
            more
        });
        // What it was before: another worker may have been faster.
        match known.get(model) {
            Some(state) => state.clone(),
            None => self.known.load().get(model).unwrap_or(&self.others).clone(),
        }
    }

    /// All models that were asked for.
    pub fn all(&self) -> Vec<(Arc<str>, Arc<TargetState>)> {
        let known = self.known.load();
        known.iter().map(|(model, state)| (model.clone(), state.clone())).collect()
    }

    /// Takes over what an earlier configuration has learned. `places`: for each credential, where it stood in that one.
    pub fn inherit(&mut self, previous: &States, places: &[Option<usize>], now: Instant) {
        let taken = |state: &TargetState| {
            let lanes = places.iter().map(|place| match place.and_then(|place| state.lanes.get(place)) {
                Some(lane) => {
                    lane.breaker.reconfigure(self.settings);
                    lane.clone()
                }
                None => Arc::new(Lane::new(self.settings, now)),
            });
            let (signals, lanes) = (state.signals.clone(), lanes.collect());
            Arc::new(TargetState { signals, lanes, last_resort: LastResort::default() })
        };
        let known = previous.known.load().iter().map(|(model, state)| (model.clone(), taken(state))).collect();
        self.others = taken(&previous.others);
        self.known = ArcSwap::from_pointee(known);
    }
}

fn fresh(settings: BreakerSettings, credentials: usize, now: Instant) -> TargetState {
    let lanes = (0..credentials).map(|_| Arc::new(Lane::new(settings, now))).collect();
    TargetState { signals: Arc::new(Signals::new(now)), lanes, last_resort: LastResort::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_has_a_state_of_its_own_up_to_a_bound() {
        let states = States::new(BreakerSettings::default(), 2, Instant::now());
        let first = states.of("a");
        assert!(Arc::ptr_eq(&first, &states.of("a")));
        assert!(!Arc::ptr_eq(&first, &states.of("b")));
        for n in 0..TARGET_STATES_PER_PROVIDER {
            states.of(&n.to_string());
        }
        assert!(Arc::ptr_eq(&states.of("beyond"), &states.of("far beyond")));
        assert_eq!(states.all().len(), TARGET_STATES_PER_PROVIDER);
    }

    #[test]
    fn nothing_is_kept_under_a_name_of_any_length() {
        let states = States::new(BreakerSettings::default(), 1, Instant::now());
        let (long, longer) = ("x".repeat(KEPT_MODEL_NAME_BYTES + 1), "x".repeat(1 << 20));
        assert!(Arc::ptr_eq(&states.of(&long), &states.of(&longer)));
        assert!(states.all().is_empty());
        states.of(&"x".repeat(KEPT_MODEL_NAME_BYTES));
        assert_eq!(states.all().len(), 1);
    }

    #[test]
    fn a_credential_that_moved_keeps_what_is_known_of_it() {
        let (settings, now) = (BreakerSettings::default(), Instant::now());
        let old = States::new(settings, 2, now);
        let before = old.of("m");
        let mut new = States::new(settings, 2, now);
        new.inherit(&old, &[None, Some(0)], now);
        let after = new.of("m");
        assert!(Arc::ptr_eq(&after.lanes[1], &before.lanes[0]));
        assert!(!Arc::ptr_eq(&after.lanes[0], &before.lanes[1]));
    }
}
