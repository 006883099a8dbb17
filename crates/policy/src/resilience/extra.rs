//! What retries and hedges may cost, over all targets: one budget for the process, in money and in number.
//!
//! In the latest 60 seconds, retries and hedges together may cost a tenth of what was settled, and hedges alone a twentieth;
//! and there may be no more of them than those shares of the requests. Finagle and Envoy count requests; here one request may
//! cost ten thousand times another, so money is counted. Where models are free or their price is unknown, number still binds.
//! Three retries at a time are always granted (Envoy's floor), so that a gateway with little traffic retries at all; hedges
//! have no floor, because nothing has failed yet.
//!
//! [`super::RetryTokens`] bind as well: the floor alone would let a provider that fails fast be asked twice as often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_core::usage::NanoUsd;

use crate::sync::{Mutex, lock};

const SLICES: usize = 12;
const SLICE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExtraSettings {
    /// Of retries and hedges, as a share of what was settled.
    pub share: f64,
    /// Of hedges alone.
    pub hedge_share: f64,
    /// Retries at a time that are granted whatever they cost.
    pub retries_at_a_time: u32,
}

impl Default for ExtraSettings {
    fn default() -> Self {
        ExtraSettings { share: 0.1, hedge_share: 0.05, retries_at_a_time: 3 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// Any attempt after a request's first: at the same target or at another.
    Retry,
    /// A second attempt while the first is under way.
    Hedge,
}

#[derive(Debug)]
pub struct ExtraCost {
    origin: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    settings: ExtraSettings,
    slices: [Slice; SLICES],
    retries: u32,
}

/// Sums of five seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    tick: u64,
    settled: Sum,
    retries: Sum,
    hedges: Sum,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    cost: u64,
    count: u64,
}

impl Sum {
    fn add(&mut self, other: Sum) {
        self.cost = self.cost.saturating_add(other.cost);
        self.count = self.count.saturating_add(other.count);
    }

    fn plus(mut self, other: Sum) -> Sum {
        self.add(other);
        self
    }

    fn within(self, share: f64, whole: Sum) -> bool {
        self.cost as f64 <= share * whole.cost as f64 && self.count as f64 <= share * whole.count as f64
    }
}

impl State {
    /// The slice of this moment, emptied if it is of an earlier minute; `None`: the caller's clock reading is older than that.
    fn slice(&mut self, tick: u64) -> Option<&mut Slice> {
        let slice = &mut self.slices[tick as usize % SLICES];
        if slice.tick < tick {
            *slice = Slice { tick, ..Slice::default() };
        }
        (slice.tick == tick).then_some(slice)
    }
}

impl ExtraCost {
    /// `now` is any moment not after the first use.
    pub fn new(settings: ExtraSettings, now: Instant) -> ExtraCost {
        let slices = [Slice::default(); SLICES];
        ExtraCost { origin: now, state: Mutex::new(State { settings, slices, retries: 0 }) }
    }

    pub fn reconfigure(&self, settings: ExtraSettings) {
        lock(&self.state).settings = settings;
    }

    fn tick(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_secs() / SLICE.as_secs()
    }

    /// A request was settled at this cost, zero if that is not known.
    pub fn settled(&self, cost: NanoUsd, now: Instant) {
        let tick = self.tick(now);
        if let Some(slice) = lock(&self.state).slice(tick) {
            slice.settled.add(Sum { cost: cost.0, count: 1 });
        }
    }

    /// May an extra attempt be made that will probably cost so much (zero if that is not known)? It counts from now on. The
    /// estimate is of what is usual, not of the most that could be.
    pub fn permit(self: &Arc<Self>, extra: Extra, estimate: NanoUsd, now: Instant) -> Option<ExtraPermit> {
        let tick = self.tick(now);
        let mut state = lock(&self.state);
        let (mut settled, mut retries, mut hedges) = (Sum::default(), Sum::default(), Sum::default());
        let oldest = tick.saturating_sub(SLICES as u64 - 1);
        for slice in state.slices.iter().filter(|slice| (oldest..=tick).contains(&slice.tick)) {
            settled.add(slice.settled);
            retries.add(slice.retries);
            hedges.add(slice.hedges);
        }
        let this = Sum { cost: estimate.0, count: 1 };
        let settings = state.settings;
        let affordable = retries.plus(hedges).plus(this).within(settings.share, settled);
        let granted = match extra {
            Extra::Retry => affordable || state.retries < settings.retries_at_a_time,
            Extra::Hedge => affordable && hedges.plus(this).within(settings.hedge_share, settled),
        };
        if !granted {
            return None;
        }
        if extra == Extra::Retry {
            state.retries += 1;
        }
        if let Some(slice) = state.slice(tick) {
            match extra {
                Extra::Retry => slice.retries.add(this),
                Extra::Hedge => slice.hedges.add(this),
            }
        }
        Some(ExtraPermit { budget: Arc::clone(self), extra })
    }
}

/// Held while the extra attempt runs.
#[derive(Debug)]
#[must_use = "the attempt counts as over when its permit is dropped"]
pub struct ExtraPermit {
    budget: Arc<ExtraCost>,
    extra: Extra,
}

impl Drop for ExtraPermit {
    fn drop(&mut self) {
        if self.extra == Extra::Retry {
            let mut state = lock(&self.budget.state);
            state.retries = state.retries.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CENT: NanoUsd = NanoUsd(10_000_000);

    fn budget(now: Instant) -> Arc<ExtraCost> {
        Arc::new(ExtraCost::new(ExtraSettings::default(), now))
    }

    fn granted(budget: &Arc<ExtraCost>, extra: Extra, cost: NanoUsd, now: Instant) -> usize {
        let permits: Vec<_> = std::iter::from_fn(|| budget.permit(extra, cost, now)).take(10_000).collect();
        permits.len()
    }

    #[test]
    fn without_traffic_three_retries_run_at_a_time_and_no_hedge() {
        let now = Instant::now();
        let budget = budget(now);
        let held: Vec<_> = (0..3).filter_map(|_| budget.permit(Extra::Retry, CENT, now)).collect();
        assert_eq!(held.len(), 3);
        assert!(budget.permit(Extra::Retry, CENT, now).is_none());
        assert!(budget.permit(Extra::Hedge, NanoUsd(0), now).is_none());
        drop(held);
        assert!(budget.permit(Extra::Retry, CENT, now).is_some());
    }

    #[test]
    fn retries_get_a_tenth_of_what_was_settled_and_hedges_a_twentieth() {
        let now = Instant::now();
        let extra = budget(now);
        for _ in 0..1000 {
            extra.settled(CENT, now);
        }
        assert_eq!(granted(&extra, Extra::Hedge, CENT, now), 50);
        // Half of the tenth is gone, and with more than three under way the floor grants nothing.
        assert_eq!(granted(&extra, Extra::Retry, CENT, now), 50);
        // A minute later the spend is forgotten, and with it what was granted for it.
        let later = now + Duration::from_secs(65);
        assert_eq!(granted(&extra, Extra::Retry, CENT, later), 3);
    }

    #[test]
    fn dear_retries_of_cheap_traffic_are_few_and_free_ones_are_counted() {
        let now = Instant::now();
        let paid = budget(now);
        let free = budget(now);
        for _ in 0..1000 {
            paid.settled(CENT, now);
            free.settled(NanoUsd(0), now);
        }
        let dollar = NanoUsd(1_000_000_000);
        assert_eq!(granted(&paid, Extra::Hedge, dollar, now), 0);
        assert_eq!(granted(&paid, Extra::Retry, dollar, now), 3);
        assert_eq!(granted(&free, Extra::Hedge, NanoUsd(0), now), 50);
        assert_eq!(granted(&free, Extra::Retry, NanoUsd(u64::MAX), now), 3);
    }
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Wait(u64),
        Settled(u64),
        Ask(Extra, u64),
        Over(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => (0..30u64).prop_map(Step::Wait),
            6 => (0..100u64).prop_map(Step::Settled),
            2 => (0..100u64).prop_map(|cost| Step::Ask(Extra::Retry, cost)),
            2 => (0..100u64).prop_map(|cost| Step::Ask(Extra::Hedge, cost)),
            1 => (0..3usize).prop_map(Step::Over),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_the_rule_on_a_list_of_all_that_happened(steps in prop::collection::vec(step(), 0..400)) {
            let start = Instant::now();
            let budget = budget(start);
            let (mut at, mut held) = (0, Vec::new());
            // When, what (`None`: a settled request), and its cost.
            let mut seen: Vec<(u64, Option<Extra>, u64)> = Vec::new();
            for step in steps {
                let now = start + Duration::from_secs(at);
                match step {
                    Step::Wait(seconds) => at += seconds,
                    Step::Settled(cost) => {
                        budget.settled(NanoUsd(cost), now);
                        seen.push((at, None, cost));
                    }
                    Step::Over(which) if which < held.len() => drop(held.swap_remove(which)),
                    Step::Over(_) => {}
                    Step::Ask(extra, cost) => {
                        let sum = |what: &dyn Fn(Option<Extra>) -> bool| {
                            let minute = seen.iter().filter(|(when, kind, _)| when / 5 + 12 > at / 5 && what(*kind));
                            minute.fold((0, 0), |(count, sum), (_, _, cost)| (count + 1, sum + cost))
                        };
                        let settled = sum(&|kind| kind.is_none());
                        let fits = |(count, sum): (u64, u64), parts| {
                            (count + 1) * parts <= settled.0 && (sum + cost) * parts <= settled.1
                        };
                        let retries = held.iter().filter(|(kind, _)| *kind == Extra::Retry).count();
                        let expected = match extra {
                            Extra::Retry => fits(sum(&|kind| kind.is_some()), 10) || retries < 3,
                            Extra::Hedge => {
                                fits(sum(&|kind| kind.is_some()), 10) && fits(sum(&|kind| kind == Some(Extra::Hedge)), 20)
                            }
                        };
                        let permit = budget.permit(extra, NanoUsd(cost), now);
                        prop_assert_eq!(permit.is_some(), expected);
                        if let Some(permit) = permit {
                            held.push((extra, permit));
                            seen.push((at, Some(extra), cost));
                        }
                    }
                }
            }
        }
    }
}
