//! What the gateway remembers of each target while it runs: one state for each model of each provider.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Instant;

use gateway_core::limits::TARGET_STATES_PER_PROVIDER;
use gateway_policy::routing::signals::Signals;

/// The state of one target, shared by all requests.
#[derive(Debug)]
pub struct TargetState {
    pub signals: Arc<Signals>,
}

impl TargetState {
    fn new(now: Instant) -> TargetState {
        TargetState { signals: Arc::new(Signals::new(now)) }
    }
}

/// The states of one provider's models.
#[derive(Debug)]
pub struct States {
    start: Instant,
    /// Made at the start, for the names that the configuration or the model table knows; read without a lock.
    known: HashMap<Box<str>, Arc<TargetState>>,
    /// Any other name that a client came with.
    others: RwLock<HashMap<Box<str>, Arc<TargetState>>>,
    /// For the names for which there is no more room.
    rest: Arc<TargetState>,
}

impl States {
    pub fn new(now: Instant) -> States {
        let rest = Arc::new(TargetState::new(now));
        States { start: now, known: HashMap::new(), others: RwLock::default(), rest }
    }

    /// Goes on with the states of a configuration that is replaced. To be done first.
    pub fn inherit(&mut self, previous: &States) {
        self.start = previous.start;
        self.rest = previous.rest.clone();
        let known = previous.known.iter().map(|(model, state)| (model.clone(), state.clone()));
        let Ok(others) = previous.others.read() else { return };
        let others = others.iter().map(|(model, state)| (model.clone(), state.clone()));
        self.others = RwLock::new(known.chain(others).collect());
    }

    /// Makes the state of a model whose name is known at the start.
    pub fn know(&mut self, model: &str) {
        if self.known.contains_key(model) {
            return;
        }
        let had = self.others.get_mut().ok().and_then(|others| others.remove(model));
        let state = had.unwrap_or_else(|| Arc::new(TargetState::new(self.start)));
        self.known.insert(model.into(), state);
    }

    /// The state of a model; of more names than [`TARGET_STATES_PER_PROVIDER`], the later ones share one.
    pub fn of(&self, model: &str) -> Arc<TargetState> {
        if let Some(state) = self.known.get(model) {
            return state.clone();
        }
        // Nothing panics while it holds this lock.
        if let Ok(others) = self.others.read() {
            if let Some(state) = others.get(model) {
                return state.clone();
            }
            if self.is_full(&others) {
                return self.rest.clone();
            }
        }
        let Ok(mut others) = self.others.write() else { return self.rest.clone() };
        if self.is_full(&others) && !others.contains_key(model) {
            return self.rest.clone();
        }
        others.entry(model.into()).or_insert_with(|| Arc::new(TargetState::new(self.start))).clone()
    }

    fn is_full(&self, others: &HashMap<Box<str>, Arc<TargetState>>) -> bool {
        self.known.len() + others.len() >= TARGET_STATES_PER_PROVIDER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_configuration_goes_on_with_what_was_learned() {
        let mut before = States::new(Instant::now());
        before.know("dropped");
        before.know("kept");
        before.of("met");
        let mut after = States::new(Instant::now());
        after.inherit(&before);
        after.know("kept");
        after.know("met");
        after.know("new");
        for model in ["kept", "met", "dropped"] {
            assert!(Arc::ptr_eq(&before.of(model), &after.of(model)), "{model}");
        }
        assert_eq!(after.known.len(), 3);
    }

    #[test]
    fn a_model_has_one_state_and_names_that_clients_invent_are_bounded() {
        let mut states = States::new(Instant::now());
        states.know("known");
        assert!(Arc::ptr_eq(&states.of("known"), &states.of("known")));
        assert!(!Arc::ptr_eq(&states.of("known"), &states.of("another")));
        let named: Vec<_> = (0..3 * TARGET_STATES_PER_PROVIDER).map(|n| states.of(&n.to_string())).collect();
        let shared = named.iter().filter(|state| Arc::ptr_eq(state, &states.rest)).count();
        assert_eq!(named.len() - shared, TARGET_STATES_PER_PROVIDER - 2, "`known` and `another` were there before");
        assert!(Arc::ptr_eq(&states.of("7"), &named[7]));
        assert!(!Arc::ptr_eq(&states.of("known"), &states.rest));
    }
}
