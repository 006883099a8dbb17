//! What is measured, and what is to be reached.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum System {
    /// No proxy at all: generator and upstream.
    Direct,
    Nginx,
    Gateway,
}

impl System {
    pub(crate) const ALL: [Self; 3] = [Self::Direct, Self::Nginx, Self::Gateway];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Gateway => "gateway",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    CpuSmall,
    CpuLarge,
    CpuChunk,
    CpuChunkTranslated,
    CpuTranslated,
    LatencyP50,
    LatencyP99,
    FirstChunk,
    GapP99,
    MemoryIdle,
    MemoryAfterLoad,
    MemoryPerStream,
    Start,
    ThroughputOneCore,
    TwoCores,
    CpuOneKey,
    CpuManyKeys,
    CpuShared,
    StartManyKeys,
    MemoryManyKeys,
    MemoryKeysUsed,
    CpuHit,
    /// Of what is sent for the next row, through a gateway without a cache; likewise the others.
    CpuSmallUncached,
    CpuSmallMiss,
    CpuLargeUncached,
    CpuLargeMiss,
    CpuQuestionUncached,
    CpuQuestionMiss,
}

impl Figure {
    pub(crate) fn title(self) -> &'static str {
        ROWS.iter().find(|row| row.figure == self).map_or("", |row| row.title)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    Microseconds,
    Milliseconds,
    MebiBytes,
    KibiBytes,
    PerSecond,
    Times,
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Microseconds => format!("{value:.1} us"),
            Self::Milliseconds => format!("{value:.2} ms"),
            Self::MebiBytes => format!("{value:.1} MiB"),
            Self::KibiBytes => format!("{value:.1} KiB"),
            Self::PerSecond => format!("{value:.0} /s"),
            Self::Times => format!("{value:.2}x"),
        }
    }
}

/// How the values of one round become the one number that is judged. Those of direct and nginx are of the baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Score {
    /// gateway / nginx
    Ratio,
    /// (gateway - direct) / (nginx - direct)
    AddedRatio,
    /// gateway - direct
    Added,
    /// gateway / direct
    OfDirect,
    /// gateway / gateway in the baseline
    Growth,
    /// gateway - gateway in the baseline
    OnTop,
    /// gateway
    Itself,
}

impl Score {
    /// `None` where a value is missing or nginx added nothing to compare with.
    pub(crate) fn of(self, gateway: Option<f64>, baseline: impl Fn(System) -> Option<f64>) -> Option<f64> {
        use System::{Direct, Gateway, Nginx};
        let gateway = gateway?;
        let score = match self {
            Self::Ratio => gateway / baseline(Nginx)?,
            Self::AddedRatio => {
                let added = baseline(Nginx)? - baseline(Direct)?;
                if added <= 0.0 {
                    return None;
                }
                (gateway - baseline(Direct)?) / added
            }
            Self::Added => gateway - baseline(Direct)?,
            Self::OfDirect => gateway / baseline(Direct)?,
            Self::Growth => gateway / baseline(Gateway)?,
            Self::OnTop => gateway - baseline(Gateway)?,
            Self::Itself => gateway,
        };
        score.is_finite().then_some(score)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtMost {
        goal: f64,
        accept: f64,
    },
    AtLeast {
        goal: f64,
        accept: f64,
    },
    /// For information.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Goal,
    Accepted,
    Missed,
    /// Not judged: other programs had the cores, and this figure includes waiting for them.
    Noisy,
}

impl Bound {
    pub(crate) fn judge(self, score: f64) -> Option<Verdict> {
        let (reached, accepted) = match self {
            Self::AtMost { goal, accept } => (score <= goal, score <= accept),
            Self::AtLeast { goal, accept } => (score >= goal, score >= accept),
            Self::None => return None,
        };
        Some(if reached {
            Verdict::Goal
        } else if accepted {
            Verdict::Accepted
        } else {
            Verdict::Missed
        })
    }

    pub(crate) fn limits(self) -> Option<(f64, f64)> {
        match self {
            Self::AtMost { goal, accept } | Self::AtLeast { goal, accept } => Some((goal, accept)),
            Self::None => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) figure: Figure,
    pub(crate) title: &'static str,
    /// Of the three systems' values.
    pub(crate) unit: Unit,
    pub(crate) score: Score,
    /// Of the score and its bounds.
    pub(crate) score_unit: Unit,
    pub(crate) bound: Bound,
    /// A time on the clock, which other programs on the same cores lengthen; processor time and memory hardly change.
    pub(crate) needs_quiet: bool,
    /// What it is compared with, where that is another figure: a proxy that cannot translate is judged by what it can do.
    pub(crate) baseline: Figure,
}

impl Row {
    const fn new(
        figure: Figure,
        title: &'static str,
        unit: Unit,
        score: Score,
        score_unit: Unit,
        bound: Bound,
    ) -> Self {
        Self { figure, title, unit, score, score_unit, bound, needs_quiet: false, baseline: figure }
    }

    const fn on_the_clock(mut self) -> Self {
        self.needs_quiet = true;
        self
    }

    const fn against(mut self, baseline: Figure) -> Self {
        self.baseline = baseline;
        self
    }
}

const fn at_most(goal: f64, accept: f64) -> Bound {
    Bound::AtMost { goal, accept }
}

const fn uncached(figure: Figure, title: &'static str) -> Row {
    Row::new(figure, title, Unit::Microseconds, Score::Itself, Unit::Microseconds, Bound::None)
}

const fn on_top(figure: Figure, title: &'static str, bound: Bound) -> Row {
    Row::new(figure, title, Unit::Microseconds, Score::OnTop, Unit::Microseconds, bound)
}

pub(crate) const ROWS: &[Row] = {
    use Figure::*;
    use Unit::*;
    &[
        Row::new(CpuSmall, "CPU per request, same dialect, 1 KB", Microseconds, Score::Ratio, Times, at_most(1.3, 1.6)),
        Row::new(
            CpuLarge,
            "CPU per request, same dialect, 100 KB",
            Microseconds,
            Score::Ratio,
            Times,
            at_most(1.5, 1.9),
        ),
        Row::new(
            CpuChunk,
            "CPU per streamed chunk, usage tapped",
            Microseconds,
            Score::Ratio,
            Times,
            at_most(1.1, 1.3),
        ),
        Row::new(
            CpuChunkTranslated,
            "CPU per streamed chunk, translated",
            Microseconds,
            Score::Ratio,
            Times,
            at_most(1.3, 1.6),
        )
        .against(CpuChunk),
        Row::new(
            CpuTranslated,
            "CPU per request, translated, 1 KB",
            Microseconds,
            Score::Ratio,
            Times,
            at_most(2.0, 3.0),
        )
        .against(CpuSmall),
        Row::new(
            LatencyP50,
            "added latency at 200 requests/s, p50",
            Microseconds,
            Score::AddedRatio,
            Times,
            at_most(1.2, 1.3),
        )
        .on_the_clock(),
        Row::new(
            LatencyP99,
            "added latency at 200 requests/s, p99",
            Microseconds,
            Score::AddedRatio,
            Times,
            at_most(1.3, 1.5),
        )
        .on_the_clock(),
        Row::new(FirstChunk, "first chunk added, p50", Microseconds, Score::Added, Microseconds, at_most(200.0, 300.0))
            .on_the_clock(),
        Row::new(
            GapP99,
            "gap between chunks, p99, against direct",
            Microseconds,
            Score::OfDirect,
            Times,
            at_most(1.05, 1.1),
        )
        .on_the_clock(),
        Row::new(MemoryIdle, "memory idle", MebiBytes, Score::Itself, MebiBytes, at_most(20.0, 30.0)),
        Row::new(MemoryAfterLoad, "memory after load", MebiBytes, Score::Itself, MebiBytes, at_most(40.0, 60.0)),
        Row::new(MemoryPerStream, "memory per idle stream", KibiBytes, Score::Itself, KibiBytes, at_most(32.0, 64.0)),
        Row::new(Start, "start to ready", Milliseconds, Score::Itself, Milliseconds, at_most(50.0, 100.0))
            .on_the_clock(),
        Row::new(ThroughputOneCore, "throughput on one core, 1 KB", PerSecond, Score::Ratio, Times, Bound::None),
        Row::new(
            TwoCores,
            "two cores against one",
            Times,
            Score::Itself,
            Times,
            Bound::AtLeast { goal: 1.9, accept: 1.8 },
        ),
        Row::new(CpuOneKey, "CPU per request, one key, 1 KB", Microseconds, Score::Ratio, Times, at_most(1.3, 1.6))
            .against(CpuSmall),
        Row::new(
            CpuManyKeys,
            "CPU per request, 100,000 keys against one",
            Microseconds,
            Score::Growth,
            Times,
            at_most(1.05, 1.1),
        )
        .against(CpuOneKey),
        Row::new(
            CpuShared,
            "CPU per request, limits in Redis against in memory",
            Microseconds,
            Score::Growth,
            Times,
            Bound::None,
        )
        .against(CpuOneKey),
        Row::new(
            StartManyKeys,
            "start to ready, 100,000 keys",
            Milliseconds,
            Score::Itself,
            Milliseconds,
            at_most(500.0, 1000.0),
        )
        .on_the_clock(),
        Row::new(MemoryManyKeys, "memory idle, 100,000 keys", MebiBytes, Score::Itself, MebiBytes, Bound::None),
        Row::new(MemoryKeysUsed, "memory when all of them were used", MebiBytes, Score::Itself, MebiBytes, Bound::None),
        Row::new(CpuHit, "CPU per exact hit, whole, 1 KB", Microseconds, Score::Ratio, Times, at_most(0.75, 1.0))
            .against(CpuSmall),
        uncached(CpuSmallUncached, "CPU per request in parts, no cache, 1 KB"),
        on_top(CpuSmallMiss, "the same with cache, exact miss, 1 KB", at_most(2.0, 3.0)).against(CpuSmallUncached),
        uncached(CpuLargeUncached, "CPU per request in parts, no cache, 100 KB"),
        on_top(CpuLargeMiss, "the same with cache, exact miss, 100 KB", at_most(35.0, 45.0)).against(CpuLargeUncached),
        uncached(CpuQuestionUncached, "CPU per plain question, no cache"),
        on_top(CpuQuestionMiss, "the same with cache, semantic miss", at_most(60.0, 100.0))
            .against(CpuQuestionUncached),
    ]
};
