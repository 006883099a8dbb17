//! A plan as data: every target with its place and the reason for it, every other candidate with the reason against it.

use std::fmt;

use gateway_core::limits::TARGETS_PER_PLAN;
use gateway_core::target::{Capability, Strategy, Target};
use gateway_core::usage::NanoUsd;
use serde::{Serialize, Serializer};

/// The targets of a request, to be tried in order: at least one, at most [`TARGETS_PER_PLAN`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoutePlan {
    pub strategy: Strategy,
    pub targets: Vec<Planned>,
    /// To be tried, in order, once a target has said that the request is too long for it. May name one of `targets` again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_context_overflow: Vec<Planned>,
    /// The same once a target has refused the request for what it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_content_filter: Vec<Planned>,
    pub skipped: Vec<Skipped>,
    /// A second target is asked when the first one is slow; the faster answer is taken.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hedge: bool,
}

/// A target, and why it stands where it does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Planned {
    #[serde(serialize_with = "as_text")]
    pub target: Target,
    pub place: Place,
    #[serde(flatten)]
    pub why: Why,
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

/// The part of the operator and of the strategy in the order, among targets of the same [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// There is no other.
    OnlyTarget,
    ConfiguredOrder,
    /// Round robin: its turn.
    Turn,
    /// Round robin: those whose turn comes next.
    NextTurn,
    /// Weighted: its turn.
    Share {
        #[serde(flatten)]
        share: Share,
    },
    /// Weighted: not its turn, the heaviest first.
    ByWeight {
        #[serde(flatten)]
        share: Share,
    },
    /// Cost: the cheapest first.
    ListPrice {
        #[serde(rename = "estimated_usd", serialize_with = "as_usd")]
        estimated: NanoUsd,
        /// Tokens of the prompt, of them those expected in the provider's cache, and those of the answer.
        input_tokens: u64,
        #[serde(skip_serializing_if = "is_zero")]
        cached_tokens: u64,
        output_tokens: u64,
    },
    /// Cost: after all targets that have a price.
    NoKnownPrice,
    /// Latency: the fastest first; and before them the faster of two that were drawn.
    ExpectedTime {
        #[serde(flatten)]
        time: ExpectedTime,
        /// Of two.
        drawn: bool,
    },
    /// Latency: after all targets whose times are known.
    NotMeasured,
    /// Latency: tried first to learn its times.
    Explored,
    /// Least busy: estimated tokens of the requests that run there, and how many those are.
    Outstanding {
        tokens: u64,
        requests: u64,
    },
    /// Earlier turns of this conversation were sent there, as long as nothing was in the way.
    Affinity,
    /// Drawn for a new target, which so many percent of all requests try first.
    Canary {
        percent: f64,
    },
    /// Not drawn for it, so after the others.
    CanaryNotDrawn {
        percent: f64,
    },
}

/// The share of a target in the strategy `weighted`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    pub weight: u32,
    /// Of all targets that may be chosen.
    pub total_weight: u64,
    /// Below 1 after an outage, when the target gets less than its share.
    #[serde(skip_serializing_if = "is_one")]
    pub warmth: f64,
}

/// What an answer of a target is expected to take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ExpectedTime {
    /// The whole answer, with what is added for recent failures and for requests that run.
    pub expected_ms: f64,
    pub first_token_ms: f64,
    pub per_token_ms: f64,
    pub output_tokens: u64,
    /// For recent failures.
    #[serde(skip_serializing_if = "is_nothing")]
    pub penalty_ms: f64,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.target)?;
        match self.place {
            Place::Pinned => f.write_str("pinned by the request, ")?,
            Place::Preferred { rank } => write!(f, "number {} in the request's preference, ", rank + 1)?,
            Place::Rest => {}
        }
        self.why.fmt(f)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Why::OnlyTarget => f.write_str("the only target"),
            Why::ConfiguredOrder => f.write_str("in configured order"),
            Why::Turn => f.write_str("its turn"),
            Why::NextTurn => f.write_str("its turn comes later"),
            Why::Share { share } => write!(f, "its turn by weight {share}"),
            Why::ByWeight { share } => write!(f, "by weight {share}"),
            Why::ListPrice { estimated, input_tokens, cached_tokens, output_tokens } => {
                write!(f, "about ${:.6} by list price, for {input_tokens} tokens of input", estimated.usd())?;
                if cached_tokens > 0 {
                    write!(f, " ({cached_tokens} of them cached)")?;
                }
                write!(f, " and {output_tokens} of output")
            }
            Why::NoKnownPrice => f.write_str("no known price, so after those that have one"),
            Why::ExpectedTime { time, drawn } => {
                let ExpectedTime { expected_ms, first_token_ms, per_token_ms, output_tokens, penalty_ms } = time;
                write!(
                    f,
                    "about {expected_ms:.0} ms: {first_token_ms:.0} ms to the first token, then {output_tokens} of \
                     {per_token_ms:.1} ms"
                )?;
                if penalty_ms > 0.0 {
                    write!(f, ", {penalty_ms:.0} ms for recent failures")?;
                }
                if drawn { f.write_str("; the faster of two drawn") } else { Ok(()) }
            }
            Why::NotMeasured => f.write_str("not measured yet, so after those that are"),
            Why::Explored => f.write_str("tried to learn how fast it is"),
            Why::Outstanding { tokens, requests } => {
                write!(f, "about {tokens} tokens outstanding in {requests} requests")
            }
            Why::Affinity => f.write_str("where this conversation's prompt is probably cached"),
            Why::Canary { percent } => write!(f, "canary, drawn for {percent} % of the requests"),
            Why::CanaryNotDrawn { percent } => write!(f, "canary for {percent} % of the requests, not drawn"),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.weight, self.total_weight)?;
        if self.warmth < 1.0 { write!(f, ", warming up at {:.0} %", self.warmth * 100.0) } else { Ok(()) }
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
    /// The caller's key is not for it.
    NotAllowed,
    Excluded,
    Lacks(Vec<Capability>),
    Unavailable(String),
    /// The request is clearly longer than the model's context window; other targets have room.
    TooLong {
        /// No less than this, however it is counted.
        input_tokens: u64,
        /// Expected.
        output_tokens: u64,
        context_window: u64,
    },
    /// [`TARGETS_PER_PLAN`] others come first.
    BeyondLimit,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::NotAllowed => f.write_str("this key may not use it"),
            SkipReason::Excluded => f.write_str("excluded by the request"),
            SkipReason::Lacks(missing) => {
                let names: Vec<&str> = missing.iter().map(|capability| capability.name()).collect();
                write!(f, "cannot do what the request needs: {}", names.join(", "))
            }
            SkipReason::Unavailable(why) => f.write_str(why),
            SkipReason::TooLong { input_tokens, output_tokens, context_window } => write!(
                f,
                "too long: at least {input_tokens} tokens of input and about {output_tokens} of output, where \
                 {context_window} have room"
            ),
            SkipReason::BeyondLimit => write!(f, "{TARGETS_PER_PLAN} others come first, and a plan has no more"),
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.target, self.reason)
    }
}

/// Why there is no plan: every candidate was skipped; there may have been none.
#[derive(Debug, Clone, PartialEq)]
pub struct NoRoute {
    pub skipped: Vec<Skipped>,
}

impl NoRoute {
    /// True when the request itself rules out every candidate: to ask again later would not help.
    pub fn is_by_request(&self) -> bool {
        let by_request = |reason: &SkipReason| {
            matches!(reason, SkipReason::NotAllowed | SkipReason::Excluded | SkipReason::Lacks(_))
        };
        self.all(by_request)
    }

    /// True when the caller may have none of the candidates.
    pub fn is_forbidden(&self) -> bool {
        self.all(|reason| *reason == SkipReason::NotAllowed)
    }

    /// False also where there was no candidate.
    fn all(&self, is_so: impl Fn(&SkipReason) -> bool) -> bool {
        !self.skipped.is_empty() && self.skipped.iter().all(|skip| is_so(&skip.reason))
    }
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.skipped.is_empty() {
            return f.write_str("no configured target serves this model");
        }
        f.write_str("no target is left for this request")?;
        let named = self.skipped.iter().take(TARGETS_PER_PLAN);
        named.enumerate().try_for_each(|(n, skip)| write!(f, "{} {skip}", if n == 0 { ":" } else { ";" }))?;
        match self.skipped.len().saturating_sub(TARGETS_PER_PLAN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for NoRoute {}

fn as_text<S: Serializer>(target: &Target, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(target)
}

fn as_usd<S: Serializer>(score: &NanoUsd, serializer: S) -> Result<S::Ok, S::Error> {
    score.usd().serialize(serializer)
}

fn is_zero(tokens: &u64) -> bool {
    *tokens == 0
}

fn is_nothing(ms: &f64) -> bool {
    *ms == 0.0
}

fn is_one(warmth: &f64) -> bool {
    *warmth == 1.0
}
