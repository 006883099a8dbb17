//! The circuit breaker of one (provider, model, credential); or of a (provider, model), for what all its keys suffer alike.
//!
//! **It opens** after [`BreakerSettings::failure_threshold`] hard failures in a row (Envoy and Finagle: 5, linkerd: 7), or when
//! fewer than 80 % of at least ten attempts in the latest 30 seconds went well (Finagle's rule). The first sees an outage, the
//! second a brownout, in which every other success would reset the run. Where half of the attempts fail, 30 seconds of good
//! ones hide it for twelve; so the same share of at least thirty attempts in the latest nine seconds will do as well.
//!
//! **It stays open** for [`BreakerSettings::recovery_timeout`], then twice as long each time a probe fails, at most 300 s, with
//! equal jitter (between half of it and all of it), so that many gateways do not probe at the same moment.
//!
//! **Then it is half-open**: as many attempts as [`BreakerSettings::half_open_requests`] are let through, each with a lease. A
//! lease ends with a verdict, when its [`Pass`] is dropped, or at its deadline; whatever happens to a probe, the next caller
//! finds a free slot. Breakers that only count probes out and in wedge when one is cancelled, hangs or ends in a client's fault.
//! Half-open is not a state of its own: it is open, with its time over. No timer has to fire and no transition can be missed.
//!
//! **An answer is a success at its first content**, and a failure as well if it then breaks off. A provider that breaks off
//! every answer is at 50 %.
//!
//! **Verdicts carry a generation**, which changes whenever the circuit opens or closes. A request that began before the outage
//! and fails after the recovery says nothing about the recovered provider.
//!
//! **Who has failed and may be down is not asked by more than it takes to know it**, where others can be asked instead
//! ([`Breaker::enter_beside`]): what has failed in a row and what is on its way are together no more than the failures that open
//! the circuit. Otherwise all requests that arrive in the time of one answer would find out for themselves. One success, and
//! all may enter again.
//!
//! **After recovery** the window starts empty and [`Breaker::warmth`] rises from 0 to 1 over ten seconds. A circuit that opens
//! again before it is warm goes on doubling: a provider that flaps is not probed every five seconds.
//!
//! Where all is well, entering is two loads, one addition and one count of references, and a success two loads and two exchanges.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_core::error::FailureClass;
use gateway_core::limits::{FIRST_CONTENT_TIME, STREAM_TOTAL_TIME};

use super::Verdict;
use super::window::{BUCKETS, Window};
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, lock};

/// An open circuit is probed at least so often.
pub const LONGEST_OPEN: Duration = Duration::from_secs(300);
/// The ratio rule speaks from so many attempts in the window on...
pub const RATIO_SAMPLES: u32 = 10;
/// ... and opens the circuit below this share of successes, in percent.
pub const RATIO_PERCENT: u32 = 80;
/// From so many attempts on, the latest nine seconds speak for themselves.
pub const RECENT_SAMPLES: u32 = 30;
const RECENT_BUCKETS: u32 = 3;
/// From the recovery to [`Breaker::warmth`] 1.
pub const WARM_UP: Duration = Duration::from_secs(10);
/// Between two attempts by [`Breaker::enter_last`], and what a caller is told to wait while a probe is under way.
pub const LAST_RESORT_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Hard failures in a row that open the circuit. 0 counts as 1.
    pub failure_threshold: u32,
    /// From opening to the first probe; doubles with every failed probe, up to [`LONGEST_OPEN`].
    pub recovery_timeout: Duration,
    /// Probes at a time. 0 counts as 1.
    pub half_open_requests: u32,
    /// How long a probe keeps its slot: not less than the time that the model is given for its first content, or the next
    /// probe starts before this one could have spoken.
    pub probe_lease: Duration,
    /// The ratio rule also needs this many failures. The default, 3, says nothing: fewer cannot be above 20 % of ten.
    pub ratio_failures: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        BreakerSettings {
            failure_threshold: 5,
            recovery_timeout: Duration::from_secs(5),
            half_open_requests: 1,
            probe_lease: FIRST_CONTENT_TIME,
            ratio_failures: 3,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    Closed,
    Open { until: Instant },
    HalfOpen,
}

impl Circuit {
    /// As the health of a provider tells it.
    pub fn name(self) -> &'static str {
        match self {
            Circuit::Closed => "closed",
            Circuit::Open { .. } => "open",
            Circuit::HalfOpen => "half_open",
        }
    }
}

/// The circuit lets nobody through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// When it makes sense to ask again.
    pub retry_at: Instant,
    /// Open or half-open.
    pub circuit: Circuit,
}

/// See the module. Shared by all workers.
#[derive(Debug)]
pub struct Breaker {
    origin: Instant,
    /// The generation, times two, plus one unless the circuit is closed. Written under the lock alone.
    word: AtomicU64,
    /// Hard failures since the latest success.
    run: AtomicU32,
    /// Attempts of a closed circuit that have no verdict yet, beside the generation (its lower half) that they are counted in:
    /// those of before an outage say nothing about the recovered provider.
    on_their_way: AtomicU64,
    /// When the circuit closed, in nanoseconds since `origin`, plus one; 0: it has never been open.
    recovered: AtomicU64,
    window: Window,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    settings: BreakerSettings,
    tripped: Option<Tripped>,
    /// Times that the circuit opened without being warm in between.
    trips: u32,
    next_lease: u64,
}

#[derive(Debug)]
struct Tripped {
    until: Instant,
    leases: Vec<Lease>,
    last_resort: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lease {
    id: u64,
    deadline: Instant,
}

const TRIPPED: u64 = 1;

impl Breaker {
    /// `now` is any moment not after the first use.
    pub fn new(settings: BreakerSettings, now: Instant) -> Breaker {
        Breaker {
            origin: now,
            word: AtomicU64::new(0),
            run: AtomicU32::new(0),
            on_their_way: AtomicU64::new(0),
            recovered: AtomicU64::new(0),
            window: Window::new(),
            state: Mutex::new(State { settings, tripped: None, trips: 0, next_lease: 0 }),
        }
    }

    /// New settings for the next decisions. What is known stays known: a configuration that is loaded anew keeps its breakers,
    /// and with them the verdicts of the attempts under way.
    pub fn reconfigure(&self, settings: BreakerSettings) {
        lock(&self.state).settings = settings;
    }

    /// May an attempt be made now? The answer is the attempt's to keep until it knows how it went.
    pub fn enter(self: &Arc<Self>, now: Instant) -> Result<Pass, Refused> {
        self.admit(now, Manner::Plainly)
    }

    /// As [`Breaker::enter`], where others can be asked instead: refused, by a closed circuit, while the attempts that are on
    /// their way would open it if they failed as the latest did.
    pub fn enter_beside(self: &Arc<Self>, now: Instant) -> Result<Pass, Refused> {
        self.admit(now, Manner::Beside)
    }

    /// As [`Breaker::enter`], for the target whose circuit closes first when those of all targets are open: once a second an
    /// attempt is let through all the same. If it goes well the circuit closes; if not, nothing changes.
    pub fn enter_last(self: &Arc<Self>, now: Instant) -> Result<Pass, Refused> {
        self.admit(now, Manner::Last)
    }

    fn admit(self: &Arc<Self>, now: Instant, manner: Manner) -> Result<Pass, Refused> {
        let pass = |generation, kind| Pass { breaker: Arc::clone(self), generation, kind };
        let word = self.word.load(Ordering::Acquire);
        if word & TRIPPED == 0 && (manner != Manner::Beside || self.run.load(Ordering::Relaxed) == 0) {
            return Ok(pass(word >> 1, Kind::Normal(self.sets_out().0)));
        }
        let mut state = lock(&self.state);
        let generation = self.word.load(Ordering::Relaxed) >> 1;
        let State { settings, tripped, next_lease, .. } = &mut *state;
        let Some(tripped) = tripped else {
            // A failure is counted, behind the lock, before it ceases to be on its way: the sum is never too small.
            let (counted_in, before) = self.sets_out();
            let run = self.run.load(Ordering::Relaxed);
            if manner == Manner::Beside && run != 0 && before.saturating_add(run) >= settings.failure_threshold.max(1) {
                self.arrived(counted_in);
                return Err(Refused { retry_at: now, circuit: Circuit::Closed });
            }
            return Ok(pass(generation, Kind::Normal(counted_in)));
        };
        tripped.leases.retain(|lease| now < lease.deadline);
        let free = tripped.leases.len() < settings.half_open_requests.max(1) as usize;
        let open = now < tripped.until;
        let circuit = if open { Circuit::Open { until: tripped.until } } else { Circuit::HalfOpen };
        let due = tripped.last_resort.map_or(now, |latest| latest + LAST_RESORT_EVERY);
        if !free || open && !(manner == Manner::Last && due <= now) {
            let ends = tripped.leases.iter().map(|lease| lease.deadline).min();
            let retry_at = match open {
                true => tripped.until,
                // Most probes are answered long before their deadline.
                false => ends.map_or(now, |ends| ends.min(now + LAST_RESORT_EVERY)),
            };
            return Err(Refused { retry_at, circuit });
        }
        *next_lease += 1;
        let lease = Lease { id: *next_lease, deadline: now + settings.probe_lease.min(STREAM_TOTAL_TIME) };
        tripped.leases.push(lease);
        if open {
            tripped.last_resort = Some(now);
        }
        Ok(pass(generation, if open { Kind::LastResort(lease) } else { Kind::Probe(lease) }))
    }

    pub fn circuit(&self, now: Instant) -> Circuit {
        if self.word.load(Ordering::Acquire) & TRIPPED == 0 {
            return Circuit::Closed;
        }
        match &lock(&self.state).tripped {
            None => Circuit::Closed,
            Some(tripped) if now < tripped.until => Circuit::Open { until: tripped.until },
            Some(_) => Circuit::HalfOpen,
        }
    }

    /// When [`Breaker::enter`] may let somebody through; `None`: it would now. Takes no slot: for routing and explanations.
    pub fn refuses(&self, now: Instant) -> Option<Refused> {
        if self.word.load(Ordering::Acquire) & TRIPPED == 0 {
            return None;
        }
        let state = lock(&self.state);
        let tripped = state.tripped.as_ref()?;
        if now < tripped.until {
            return Some(Refused { retry_at: tripped.until, circuit: Circuit::Open { until: tripped.until } });
        }
        let live = || tripped.leases.iter().map(|lease| lease.deadline).filter(|&deadline| now < deadline);
        if live().count() < state.settings.half_open_requests.max(1) as usize {
            return None;
        }
        let retry_at = live().min()?.min(now + LAST_RESORT_EVERY);
        Some(Refused { retry_at, circuit: Circuit::HalfOpen })
    }

    /// 1 for a circuit that is closed and has been for [`WARM_UP`], 0 for one that is not closed; in between for one that has
    /// just recovered, so that the whole load does not fall upon a provider that has just got up.
    pub fn warmth(&self, now: Instant) -> f64 {
        if self.word.load(Ordering::Acquire) & TRIPPED != 0 {
            return 0.0;
        }
        match self.recovered.load(Ordering::Relaxed) {
            0 => 1.0,
            at => {
                let since = self.since(now).saturating_sub(Duration::from_nanos(at - 1));
                (since.as_secs_f64() / WARM_UP.as_secs_f64()).min(1.0)
            }
        }
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.origin)
    }

    /// An attempt is on its way: in which generation it is counted, and how many there were before it.
    fn sets_out(&self) -> (u32, u32) {
        let before = self.on_their_way.fetch_add(1, Ordering::Relaxed);
        ((before >> 32) as u32, before as u32)
    }

    /// It has its verdict, or will have none.
    fn arrived(&self, counted_in: u32) {
        let _ = self.on_their_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            ((count >> 32) as u32 == counted_in).then(|| count - 1)
        });
    }

    fn succeeded(&self, generation: u64, now: Instant) {
        // The circuit may open between this look and the counts. Then one success too many is counted, in a window that will
        // be cleared before anybody reads it again, or just has been.
        if self.word.load(Ordering::Acquire) != generation << 1 {
            return;
        }
        if self.run.load(Ordering::Relaxed) != 0 {
            self.run.store(0, Ordering::Relaxed);
        }
        self.window.add(self.since(now), true);
    }

    fn failed(&self, generation: u64, now: Instant, rng: &mut fastrand::Rng) -> Option<Circuit> {
        let mut state = lock(&self.state);
        if self.word.load(Ordering::Relaxed) != generation << 1 {
            return None;
        }
        let since = self.since(now);
        self.window.add(since, false);
        let run = self.run.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let too_few = |buckets, samples| {
            let counts = self.window.counts(since, buckets);
            counts.total() >= samples
                && counts.failed >= state.settings.ratio_failures
                && u64::from(counts.ok) * 100 < u64::from(counts.total()) * u64::from(RATIO_PERCENT)
        };
        let too_few = too_few(BUCKETS, RATIO_SAMPLES) || too_few(RECENT_BUCKETS, RECENT_SAMPLES);
        if run < state.settings.failure_threshold.max(1) && !too_few {
            return None;
        }
        if self.warmth(now) >= 1.0 {
            state.trips = 0;
        }
        Some(self.open(&mut state, generation, now, rng))
    }

    fn open(&self, state: &mut State, generation: u64, now: Instant, rng: &mut fastrand::Rng) -> Circuit {
        let ceiling = state.settings.recovery_timeout.saturating_mul(1 << state.trips.min(16)).min(LONGEST_OPEN);
        state.trips += 1;
        let until = now + ceiling.mul_f64(0.5 + 0.5 * rng.f64());
        state.tripped = Some(Tripped { until, leases: Vec::new(), last_resort: None });
        self.word.store((generation + 1) << 1 | TRIPPED, Ordering::Release);
        Circuit::Open { until }
    }

    /// A probe went well.
    fn recovered(&self, generation: u64, now: Instant) -> Option<u64> {
        let mut state = lock(&self.state);
        if self.word.load(Ordering::Relaxed) != (generation << 1 | TRIPPED) {
            return None;
        }
        state.tripped = None;
        self.run.store(0, Ordering::Relaxed);
        self.on_their_way.store((generation + 1) << 32, Ordering::Relaxed);
        self.window.clear();
        self.recovered.store(self.since(now).as_nanos() as u64 + 1, Ordering::Relaxed);
        self.word.store((generation + 1) << 1, Ordering::Release);
        Some(generation + 1)
    }

    fn probe_failed(&self, generation: u64, now: Instant, rng: &mut fastrand::Rng) -> Option<Circuit> {
        let mut state = lock(&self.state);
        if self.word.load(Ordering::Relaxed) != (generation << 1 | TRIPPED) {
            return None;
        }
        Some(self.open(&mut state, generation, now, rng))
    }

    fn release(&self, lease: Lease) {
        // Ids are never used again: an old lease finds nothing to remove.
        if let Some(tripped) = &mut lock(&self.state).tripped {
            tripped.leases.retain(|held| held.id != lease.id);
        }
    }
}

/// The right to one attempt. Dropped without a verdict it says nothing: the client went away, or the request was at fault.
///
/// The methods that give a verdict return the circuit where it changed by it.
#[derive(Debug)]
#[must_use = "a pass that is dropped gives no verdict"]
pub struct Pass {
    breaker: Arc<Breaker>,
    generation: u64,
    kind: Kind,
}

/// How somebody wants to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Plainly,
    /// There are others.
    Beside,
    /// There is nobody whose circuit would let anybody through.
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// On its way, and counted in this generation.
    Normal(u32),
    Probe(Lease),
    /// Let through before the time of an open circuit was over.
    LastResort(Lease),
    /// Counted as a success, with its answer still to end.
    Begun,
}

impl Pass {
    /// When a probe loses its slot; `None`: this is no probe.
    pub fn deadline(&self) -> Option<Instant> {
        match self.kind {
            Kind::Normal(_) | Kind::Begun => None,
            Kind::Probe(lease) | Kind::LastResort(lease) => Some(lease.deadline),
        }
    }

    /// The first content has come: a success, though the answer may still break off. It closes the circuit if this is a probe.
    /// Who holds the pass until the answer has ended can still report that it failed, as a failure of its own.
    ///
    /// Not counted at the end, because failures are quick and answers take minutes: a provider that traffic has just come to
    /// would have failures to its name and nothing else.
    pub fn began(&mut self, now: Instant) -> Option<Circuit> {
        let changed = match self.kind {
            Kind::Begun => return None,
            Kind::Normal(counted_in) => {
                self.breaker.arrived(counted_in);
                None
            }
            Kind::Probe(lease) | Kind::LastResort(lease) => match self.breaker.recovered(self.generation, now) {
                Some(generation) => {
                    self.generation = generation;
                    Some(Circuit::Closed)
                }
                None => {
                    self.breaker.release(lease);
                    None
                }
            },
        };
        self.kind = Kind::Begun;
        self.breaker.succeeded(self.generation, now);
        changed
    }

    /// It went well to the end.
    pub fn succeeded(mut self, now: Instant) -> Option<Circuit> {
        self.began(now)
    }

    /// A hard failure. See [`Verdict::of`] for which they are.
    pub fn failed(self, now: Instant, rng: &mut fastrand::Rng) -> Option<Circuit> {
        match self.kind {
            Kind::Normal(_) | Kind::Begun => self.breaker.failed(self.generation, now, rng),
            Kind::Probe(_) => self.breaker.probe_failed(self.generation, now, rng),
            // That an open circuit's target does not work is known.
            Kind::LastResort(_) => None,
        }
    }

    /// A failure of any class: a verdict where the class says something about the provider.
    pub fn failed_with(self, class: FailureClass, now: Instant, rng: &mut fastrand::Rng) -> Option<Circuit> {
        match Verdict::of(class) {
            Verdict::HardFailure => self.failed(now, rng),
            Verdict::None => None,
        }
    }

    /// No verdict. The same as dropping it, in a word.
    pub fn released(self) {}
}

impl Drop for Pass {
    fn drop(&mut self) {
        match self.kind {
            Kind::Normal(counted_in) => self.breaker.arrived(counted_in),
            Kind::Probe(lease) | Kind::LastResort(lease) => self.breaker.release(lease),
            Kind::Begun => {}
        }
    }
}

#[cfg(test)]
mod tests;
