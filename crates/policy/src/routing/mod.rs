//! Where a request goes, in which order, and why: a pure function of the candidates and what traffic has shown of them, of
//! the caller's hints and of the request's size.
//!
//! What is decided is data: a [`RoutePlan`] names a reason for every candidate, the skipped ones included, so that nobody has
//! to guess why a target was tried or was not. A strategy only orders, and only within a group: what a caller prefers, pins,
//! excludes or requires, and which targets the operator keeps for later, is done here, the same way for every strategy.
//!
//! The order of things: the pinned provider, then the preferred ones, then the rest; within each a canary that was drawn, then
//! priorities, the smallest first; within each, the strategy. After its first choice a strategy says in which order the others
//! are asked if that one fails.

mod affinity;
mod canary;
mod cost;
mod explanation;
mod fallback;
mod fit;
mod hints;
mod latency;
mod least_busy;
mod round_robin;
pub mod signals;
#[cfg(test)]
mod tests;
mod turns;
mod weighted;

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Instant;

use gateway_core::limits::TARGETS_PER_PLAN;
use gateway_core::target::{Capabilities, Strategy, Target};

use self::signals::Signals;
use crate::pricing::Price;
use crate::tokens::Estimate;

pub use explanation::{ExpectedTime, NoRoute, Place, Planned, RoutePlan, Share, SkipReason, Skipped, Why};
pub use hints::{Hint, Hints, UnknownProvider};
pub use turns::Turns;

/// A target that might serve the request.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub target: Target,
    /// `None`: nobody knows. A model that costs nothing has a price of zero.
    pub price: Option<Price>,
    /// Of a model that no table knows: what its provider can do.
    pub capabilities: Capabilities,
    /// In tokens, input and output together; `None`: nobody knows.
    pub context_window: Option<u64>,
    /// At least 1.
    pub weight: u32,
    /// The smallest first: targets of the next priority are for when those before it have failed.
    pub priority: u32,
    /// The percentage of requests that try this target first; the others try it last.
    pub canary: Option<f64>,
    /// Whether the caller may have it at all.
    pub allowed: bool,
    /// Or why it cannot be tried now, for people to read: `circuit open for 12 s more`.
    pub available: Result<(), String>,
    /// From 0 to 1; below 1 after an outage. Less than its share is then sent there first, by so much.
    pub warmth: f64,
    pub signals: Arc<Signals>,
}

/// The candidates for a request, each list in configured order.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    pub targets: Vec<Candidate>,
    /// For requests that are too long for `targets`.
    pub on_context_overflow: Vec<Candidate>,
    /// For requests that `targets` refuse for what they are about.
    pub on_content_filter: Vec<Candidate>,
}

impl Candidates {
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Candidate> {
        self.targets.iter_mut().chain(&mut self.on_context_overflow).chain(&mut self.on_content_filter)
    }
}

/// What a plan goes by, beside the candidates. The functions are asked only where something depends on the answer: they take
/// a look at every byte of a request.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub hints: &'a Hints,
    /// Of the alias or of the configuration, for requests that name none.
    pub strategy: Strategy,
    /// Turns of a conversation stay where its prompt is cached, unless the request names a strategy.
    pub affinity: bool,
    /// See [`RoutePlan::hedge`].
    pub hedge: bool,
    /// Whose turn it is among these candidates, over all requests.
    pub turns: &'a Turns,
    /// The longest answer that the client allows, in tokens.
    pub max_tokens: Option<u64>,
    /// How large the request is, by the rule of [`crate::tokens`].
    pub estimate: &'a dyn Fn() -> Estimate,
    /// A number of input tokens that is above the given one and that the request surely has; `None` if it may have fewer.
    pub surely_more_than: &'a dyn Fn(u64) -> Option<u64>,
    /// The same for all turns of a conversation: a hash of its system prompt, tools and first message.
    pub affinity_key: &'a dyn Fn() -> u64,
    pub now: Instant,
}

impl std::fmt::Debug for Ask<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask").field("hints", self.hints).field("strategy", &self.strategy).finish_non_exhaustive()
    }
}

/// Puts `candidates` in the order in which they are to be tried.
pub fn plan(candidates: Candidates, ask: &Ask<'_>, rng: &mut fastrand::Rng) -> Result<RoutePlan, NoRoute> {
    if let [one] = &candidates.targets[..]
        && candidates.on_context_overflow.is_empty()
        && candidates.on_content_filter.is_empty()
        && ask.hints.objection(one).is_none()
    {
        return Ok(alone(candidates.targets, ask));
    }
    let mut scene = Scene { ask, rng, estimate: OnceCell::new(), key: OnceCell::new() };
    let mut skipped = Vec::new();
    let mut targets = allowed(candidates.targets, ask.hints, &mut skipped);
    let mut on_context_overflow = allowed(candidates.on_context_overflow, ask.hints, &mut skipped);
    let mut on_content_filter = allowed(candidates.on_content_filter, ask.hints, &mut skipped);
    fit::fit(&mut targets, &mut on_context_overflow, &mut skipped, &scene);
    // A conversation that is too long is also too long for those.
    fit::fit(&mut on_content_filter, &mut Vec::new(), &mut skipped, &scene);

    let strategy = ask.hints.strategy.unwrap_or(ask.strategy);
    let mut targets = order(targets, strategy, true, &mut scene);
    let beyond = targets.split_off(targets.len().min(TARGETS_PER_PLAN));
    skipped
        .extend(beyond.into_iter().map(|Planned { target, .. }| Skipped { target, reason: SkipReason::BeyondLimit }));
    if targets.is_empty() {
        return Err(NoRoute { skipped });
    }
    let on_context_overflow = order(on_context_overflow, strategy, false, &mut scene);
    let on_content_filter = order(on_content_filter, strategy, false, &mut scene);
    Ok(RoutePlan { strategy, targets, on_context_overflow, on_content_filter, skipped, hedge: ask.hedge })
}

/// The usual case, in which there is nothing to decide.
fn alone(candidates: Vec<Candidate>, ask: &Ask<'_>) -> RoutePlan {
    let planned = |Candidate { target, .. }: Candidate| {
        let place = ask.hints.place(&target.provider);
        Planned { target, place, why: Why::OnlyTarget }
    };
    RoutePlan {
        strategy: ask.hints.strategy.unwrap_or(ask.strategy),
        targets: candidates.into_iter().map(planned).collect(),
        on_context_overflow: Vec::new(),
        on_content_filter: Vec::new(),
        skipped: Vec::new(),
        hedge: false,
    }
}

/// A candidate on its way into the order.
struct Entry {
    candidate: Candidate,
    /// Its number among all candidates of its list, as configured.
    slot: usize,
    place: Place,
    canary: canary::Part,
    why: Why,
}

impl Entry {
    /// Entries of the same group are ordered by the strategy.
    fn group(&self) -> (Place, canary::Part, u32, bool) {
        let late = self.canary == canary::Part::NotDrawn;
        let early = if late { canary::Part::None } else { self.canary };
        (self.place, early, self.candidate.priority, late)
    }
}

/// What strategies look at, beside the entries of a group.
struct Scene<'a, 'r> {
    ask: &'a Ask<'a>,
    rng: &'r mut fastrand::Rng,
    estimate: OnceCell<Estimate>,
    key: OnceCell<u64>,
}

impl Scene<'_, '_> {
    fn estimate(&self) -> Estimate {
        *self.estimate.get_or_init(self.ask.estimate)
    }

    fn affinity(&self) -> bool {
        self.ask.affinity && self.ask.hints.strategy.is_none()
    }

    fn affinity_key(&self) -> u64 {
        *self.key.get_or_init(self.ask.affinity_key)
    }

    /// The same as far as this candidate is concerned.
    fn estimate_at(&self, candidate: &Candidate) -> Estimate {
        candidate.signals.estimate(self.estimate(), self.ask.max_tokens)
    }
}

fn allowed(candidates: Vec<Candidate>, hints: &Hints, skipped: &mut Vec<Skipped>) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(candidates.len());
    for (slot, candidate) in candidates.into_iter().enumerate() {
        match hints.objection(&candidate) {
            None => {
                let place = hints.place(&candidate.target.provider);
                let (canary, why) = (canary::Part::None, Why::ConfiguredOrder);
                entries.push(Entry { candidate, slot, place, canary, why });
            }
            Some(reason) => skipped.push(Skipped { target: candidate.target, reason }),
        }
    }
    entries
}

/// `first`: the request goes to the first of these, whose turn is then over. Lists for later take nobody's turn.
fn order(mut entries: Vec<Entry>, strategy: Strategy, first: bool, scene: &mut Scene<'_, '_>) -> Vec<Planned> {
    if let [only] = &mut entries[..] {
        only.why = Why::OnlyTarget;
    } else {
        canary::draw(&mut entries, scene);
        entries.sort_by_key(Entry::group);
        let mut leads = first;
        for group in entries.chunk_by_mut(|a, b| a.group() == b.group()) {
            arrange(group, strategy, leads, scene);
            leads = false;
        }
    }
    let planned = |Entry { candidate, place, why, .. }| Planned { target: candidate.target, place, why };
    entries.into_iter().map(planned).collect()
}

fn arrange(group: &mut [Entry], strategy: Strategy, leads: bool, scene: &mut Scene<'_, '_>) {
    let takes_turn = leads && !scene.affinity();
    match strategy {
        Strategy::Fallback => fallback::order(group),
        Strategy::RoundRobin => round_robin::order(group, takes_turn, scene),
        Strategy::Weighted => weighted::order(group, takes_turn, scene),
        Strategy::Cost => cost::order(group, scene),
        Strategy::Latency => latency::order(group, takes_turn, scene),
        Strategy::LeastBusy => least_busy::order(group, scene),
    }
    if scene.affinity() {
        affinity::prefer(group, scene);
    }
    canary::explain(group);
}

/// Moves one entry to the front; the others keep their order.
fn to_front(group: &mut [Entry], index: usize) {
    if let Some(head) = group.get_mut(..=index) {
        head.rotate_right(1);
    }
}
