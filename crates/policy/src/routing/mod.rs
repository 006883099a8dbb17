//! Where a request goes, in which order, and why: a pure function of the candidates, the caller's hints and the request's size.
//!
//! What is decided is data: a [`RoutePlan`] names a reason for every candidate, the skipped ones included, so that nobody has
//! to guess why a target was tried or was not. A strategy only orders; what a caller prefers, pins, excludes or requires is
//! done here, the same way for every strategy.

mod cost;
mod fallback;
#[cfg(test)]
mod tests;

use std::fmt;

use gateway_core::limits::TARGETS_PER_PLAN;
use gateway_core::target::{Capabilities, Capability, Strategy, Target};
use gateway_core::usage::NanoUsd;
use serde::{Serialize, Serializer};

use crate::pricing::Price;
use crate::tokens::Estimate;

/// A target that might serve the request. Candidates come in configured order.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub target: Target,
    /// `None`: nobody knows. A model that costs nothing has a price of zero.
    pub price: Option<Price>,
    /// Of a model that no table knows: what its provider can do.
    pub capabilities: Capabilities,
    pub weight: u32,
    /// Or why it cannot be tried now, for people to read: `circuit open for 12 s more`.
    pub available: Result<(), String>,
}

/// What the caller wants. Names are those of providers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hints {
    pub strategy: Option<Strategy>,
    /// These first, in this order.
    pub preferred: Vec<String>,
    /// These never, whatever else is said about them.
    pub excluded: Vec<String>,
    /// This one before all others; they follow if it fails.
    pub pinned: Option<String>,
    pub required: Capabilities,
}

impl Hints {
    /// Refuses a name that none of the configured `providers` has: a misspelt hint must not be a hint without effect.
    pub fn check<'a>(&self, providers: impl Iterator<Item = &'a str> + Clone) -> Result<(), UnknownProvider> {
        let lists = [
            (Hint::Preferred, self.preferred.as_slice()),
            (Hint::Excluded, self.excluded.as_slice()),
            (Hint::Pinned, self.pinned.as_slice()),
        ];
        for (hint, names) in lists {
            if let Some(index) = names.iter().position(|name| !providers.clone().any(|known| known == name)) {
                let known = providers.map(str::to_owned).collect();
                return Err(UnknownProvider { hint, index, name: names[index].clone(), known });
            }
        }
        Ok(())
    }

    /// How early a provider comes, before the strategy has a say: the pinned one, the preferred ones, the rest.
    fn place(&self, provider: &str) -> Place {
        if self.pinned.as_deref() == Some(provider) {
            return Place::Pinned;
        }
        match self.preferred.iter().position(|name| name == provider) {
            Some(rank) => Place::Preferred { rank },
            None => Place::Rest,
        }
    }

    fn objection(&self, candidate: &Candidate) -> Option<SkipReason> {
        if self.excluded.iter().any(|name| **name == *candidate.target.provider) {
            return Some(SkipReason::Excluded);
        }
        let missing: Vec<Capability> = candidate.capabilities.missing(self.required).collect();
        if !missing.is_empty() {
            return Some(SkipReason::Lacks(missing));
        }
        candidate.available.as_ref().err().cloned().map(SkipReason::Unavailable)
    }
}

/// The list of [`Hints`] in which a name stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    Preferred,
    Excluded,
    Pinned,
}

/// A hint names a provider that is not configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownProvider {
    pub hint: Hint,
    /// In its list.
    pub index: usize,
    pub name: String,
    pub known: Vec<String>,
}

impl fmt::Display for UnknownProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no provider is named {:?}; configured are: {}", self.name, self.known.join(", "))
    }
}

impl std::error::Error for UnknownProvider {}

/// The targets of a request, to be tried in order: at least one, at most [`TARGETS_PER_PLAN`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoutePlan {
    pub strategy: Strategy,
    pub targets: Vec<Planned>,
    pub skipped: Vec<Skipped>,
}

/// A target, and why it stands where it does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Planned {
    #[serde(serialize_with = "as_text")]
    pub target: Target,
    pub place: Place,
    pub why: Why,
    /// List price of the estimated request, where the strategy went by it.
    #[serde(rename = "estimated_usd", serialize_with = "as_usd", skip_serializing_if = "Option::is_none")]
    pub score: Option<NanoUsd>,
}

/// The caller's part in the order; earlier variants come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Pinned,
    /// `rank` counts from 0 in the caller's list.
    Preferred {
        rank: usize,
    },
    Rest,
}

/// The strategy's part in the order, among targets of the same [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    ConfiguredOrder,
    ListPrice,
    /// After all targets that have a price.
    NoKnownPrice,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.target)?;
        match self.place {
            Place::Pinned => f.write_str("pinned by the request, ")?,
            Place::Preferred { rank } => write!(f, "number {} in the request's preference, ", rank + 1)?,
            Place::Rest => {}
        }
        match (self.why, self.score) {
            (Why::ListPrice, Some(score)) => write!(f, "about ${:.6} by list price", score.usd()),
            (Why::ListPrice, None) => f.write_str("by list price"),
            (Why::NoKnownPrice, _) => f.write_str("no known price, so after those that have one"),
            (Why::ConfiguredOrder, _) => f.write_str("in configured order"),
        }
    }
}

/// A candidate that is not tried, and why not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Skipped {
    #[serde(serialize_with = "as_text")]
    pub target: Target,
    #[serde(flatten)]
    pub reason: SkipReason,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", content = "detail", rename_all = "snake_case")]
pub enum SkipReason {
    Excluded,
    Lacks(Vec<Capability>),
    Unavailable(String),
    /// [`TARGETS_PER_PLAN`] others come first.
    BeyondLimit,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::Excluded => f.write_str("excluded by the request"),
            SkipReason::Lacks(missing) => {
                let names: Vec<&str> = missing.iter().map(|capability| capability.name()).collect();
                write!(f, "cannot do what the request needs: {}", names.join(", "))
            }
            SkipReason::Unavailable(why) => f.write_str(why),
            SkipReason::BeyondLimit => write!(f, "{TARGETS_PER_PLAN} others come first, and a plan has no more"),
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.target, self.reason)
    }
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq)]
pub enum NoRoute {
    NotBuilt(Strategy),
    /// Every candidate was skipped; there may have been none.
    NothingLeft(Vec<Skipped>),
}

impl NoRoute {
    /// True when the request itself rules out every candidate: to ask again later would not help.
    pub fn is_by_request(&self) -> bool {
        match self {
            NoRoute::NotBuilt(_) => true,
            NoRoute::NothingLeft(skipped) => {
                let by_request = |skip: &Skipped| matches!(skip.reason, SkipReason::Excluded | SkipReason::Lacks(_));
                !skipped.is_empty() && skipped.iter().all(by_request)
            }
        }
    }
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRoute::NotBuilt(strategy) => {
                let built: Vec<&str> = BUILT.iter().map(|strategy| strategy.name()).collect();
                write!(f, "strategy {} is not built yet; choose one of: {}", strategy.name(), built.join(", "))
            }
            NoRoute::NothingLeft(skipped) if skipped.is_empty() => {
                f.write_str("no configured target serves this model")
            }
            NoRoute::NothingLeft(skipped) => {
                f.write_str("no target is left for this request")?;
                let named = skipped.iter().take(TARGETS_PER_PLAN);
                named.enumerate().try_for_each(|(n, skip)| write!(f, "{} {skip}", if n == 0 { ":" } else { ";" }))?;
                match skipped.len().saturating_sub(TARGETS_PER_PLAN) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
        }
    }
}

impl std::error::Error for NoRoute {}

/// The strategies that [`plan`] knows.
pub const BUILT: [Strategy; 2] = [Strategy::Fallback, Strategy::Cost];

/// Puts `candidates` in the order in which they are to be tried. Equal ones keep their order.
///
/// `default` is the strategy of the alias or of the configuration, for requests that name none. `estimate` is asked by
/// strategies that need the size of the request; to know it takes a look at every byte.
pub fn plan(
    candidates: Vec<Candidate>,
    hints: &Hints,
    default: Strategy,
    estimate: &dyn Fn() -> Estimate,
) -> Result<RoutePlan, NoRoute> {
    let strategy = hints.strategy.unwrap_or(default);
    let order = match strategy {
        Strategy::Fallback => fallback::order,
        Strategy::Cost => cost::order,
        Strategy::RoundRobin | Strategy::Latency | Strategy::Weighted | Strategy::LeastBusy => {
            return Err(NoRoute::NotBuilt(strategy));
        }
    };

    let mut skipped = Vec::new();
    let mut allowed = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        match hints.objection(&candidate) {
            None => allowed.push(candidate),
            Some(reason) => skipped.push(Skipped { target: candidate.target, reason }),
        }
    }

    let mut targets: Vec<Planned> = order(allowed, estimate)
        .into_iter()
        .map(|Ordered { target, why, score }| Planned { place: hints.place(&target.provider), target, why, score })
        .collect();
    targets.sort_by_key(|planned| planned.place);
    let beyond = targets.split_off(targets.len().min(TARGETS_PER_PLAN));
    skipped
        .extend(beyond.into_iter().map(|Planned { target, .. }| Skipped { target, reason: SkipReason::BeyondLimit }));

    if targets.is_empty() { Err(NoRoute::NothingLeft(skipped)) } else { Ok(RoutePlan { strategy, targets, skipped }) }
}

/// What a strategy says of a target.
struct Ordered {
    target: Target,
    why: Why,
    score: Option<NanoUsd>,
}

fn as_text<S: Serializer>(target: &Target, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(target)
}

fn as_usd<S: Serializer>(score: &Option<NanoUsd>, serializer: S) -> Result<S::Ok, S::Error> {
    score.map(NanoUsd::usd).serialize(serializer)
}
