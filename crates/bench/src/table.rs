//! What is measured, what is to be reached, and the table that says both.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::stats::Spread;

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
}

impl Figure {
    pub(crate) fn title(self) -> &'static str {
        ROWS.iter().find(|row| row.figure == self).map_or("", |row| row.title)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Unit {
    Microseconds,
    Milliseconds,
    MebiBytes,
    KibiBytes,
    PerSecond,
    Times,
}

impl Unit {
    fn show(self, value: f64) -> String {
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

/// How the three systems' values of one round become the one number that is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Score {
    /// gateway / nginx
    Ratio,
    /// (gateway - direct) / (nginx - direct)
    AddedRatio,
    /// gateway - direct
    Added,
    /// gateway / direct
    OfDirect,
    /// gateway
    Itself,
}

impl Score {
    /// `None` where a value is missing or nginx added nothing to compare with.
    fn of(self, direct: Option<f64>, nginx: Option<f64>, gateway: Option<f64>) -> Option<f64> {
        let gateway = gateway?;
        let score = match self {
            Self::Ratio => gateway / nginx?,
            Self::AddedRatio => {
                let added = nginx? - direct?;
                if added <= 0.0 {
                    return None;
                }
                (gateway - direct?) / added
            }
            Self::Added => gateway - direct?,
            Self::OfDirect => gateway / direct?,
            Self::Itself => gateway,
        };
        score.is_finite().then_some(score)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
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
    fn judge(self, score: f64) -> Option<Verdict> {
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

    fn limits(self) -> Option<(f64, f64)> {
        match self {
            Self::AtMost { goal, accept } | Self::AtLeast { goal, accept } => Some((goal, accept)),
            Self::None => None,
        }
    }
}

#[derive(Debug)]
struct Row {
    figure: Figure,
    title: &'static str,
    /// Of the three systems' values.
    unit: Unit,
    score: Score,
    /// Of the score and its bounds.
    score_unit: Unit,
    bound: Bound,
    /// A time on the clock, which other programs on the same cores lengthen; processor time and memory hardly change.
    needs_quiet: bool,
    /// Where direct's and nginx's values come from: a proxy that cannot translate is compared by what it can do.
    baseline: Figure,
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

const ROWS: &[Row] = {
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
    ]
};

/// One interleaved round: a value for each figure and system that was measured in it.
#[derive(Debug, Default)]
pub(crate) struct Round(BTreeMap<(Figure, System), f64>);

impl Round {
    pub(crate) fn record(&mut self, figure: Figure, system: System, value: f64) {
        self.0.insert((figure, system), value);
    }

    pub(crate) fn get(&self, figure: Figure, system: System) -> Option<f64> {
        self.0.get(&(figure, system)).copied()
    }
}

/// One line of the result.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) figure: Figure,
    title: &'static str,
    /// Median and range over the rounds.
    direct: Option<Spread>,
    nginx: Option<Spread>,
    gateway: Option<Spread>,
    pub(crate) score: Option<Spread>,
    goal: Option<f64>,
    accept: Option<f64>,
    pub(crate) verdict: Option<Verdict>,
    #[serde(skip)]
    row: &'static Row,
}

/// A line for every figure the gateway has values of; scores are made within a round, then their median is judged.
/// On a machine that was not `quiet`, times on the clock are not judged.
pub(crate) fn lines(rounds: &[Round], quiet: bool) -> Vec<Line> {
    ROWS.iter()
        .filter_map(|row| {
            let over_rounds = |figure, system| Spread::of(rounds.iter().filter_map(|round| round.get(figure, system)));
            let gateway = Some(over_rounds(row.figure, System::Gateway)?);
            let score = Spread::of(rounds.iter().filter_map(|round| {
                row.score.of(
                    round.get(row.baseline, System::Direct),
                    round.get(row.baseline, System::Nginx),
                    round.get(row.figure, System::Gateway),
                )
            }));
            let (goal, accept) = row.bound.limits().unzip();
            Some(Line {
                figure: row.figure,
                title: row.title,
                direct: over_rounds(row.baseline, System::Direct),
                nginx: over_rounds(row.baseline, System::Nginx),
                gateway,
                score,
                goal,
                accept,
                verdict: score
                    .and_then(|score| row.bound.judge(score.median))
                    .map(|verdict| if row.needs_quiet && !quiet { Verdict::Noisy } else { verdict }),
                row,
            })
        })
        .collect()
}

/// The lines as a table in Markdown.
pub(crate) fn render(lines: &[Line]) -> String {
    let mut cells = vec![
        ["figure", "direct", "nginx", "gateway", "score", "range", "goal", "accept", "verdict"].map(str::to_owned),
    ];
    for line in lines {
        let (unit, score_unit) = (line.row.unit, line.row.score_unit);
        let median = |spread: Option<Spread>| spread.map_or("-".to_owned(), |spread| unit.show(spread.median));
        let bound = |value: Option<f64>| value.map_or("-".to_owned(), |value| score_unit.show(value));
        cells.push([
            line.title.to_owned(),
            median(line.direct),
            median(line.nginx),
            median(line.gateway),
            line.score.map_or("-".to_owned(), |score| score_unit.show(score.median)),
            line.score.map_or("-".to_owned(), |score| {
                format!("{} - {}", score_unit.show(score.low), score_unit.show(score.high))
            }),
            bound(line.goal),
            bound(line.accept),
            match line.verdict {
                Some(Verdict::Goal) => "goal",
                Some(Verdict::Accepted) => "accepted",
                Some(Verdict::Missed) => "MISSED",
                Some(Verdict::Noisy) => "noisy",
                None => "-",
            }
            .to_owned(),
        ]);
    }
    let widths: Vec<usize> =
        (0..cells[0].len()).map(|column| cells.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let mut table = String::new();
    for (number, row) in cells.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Writing to a string cannot fail.
            let _ = if column == 0 { write!(table, "| {cell:<width$} |") } else { write!(table, " {cell:>width$} |") };
        }
        table.push('\n');
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                table.push_str(if column == 0 { "|-" } else { "-" });
                table.push_str(&"-".repeat(*width));
                table.push_str(if column == 0 { "-|" } else { ":|" });
            }
            table.push('\n');
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(values: &[(Figure, System, f64)]) -> Round {
        let mut round = Round::default();
        for &(figure, system, value) in values {
            round.record(figure, system, value);
        }
        round
    }

    fn only(rounds: &[Round]) -> Line {
        let mut lines = lines(rounds, true);
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    }

    #[test]
    fn ratios_are_made_within_a_round_and_then_ordered() {
        use System::{Gateway, Nginx};
        // The machine was twice as slow in the second round; that must not show.
        let line = only(&[
            round(&[(Figure::CpuSmall, Nginx, 20.0), (Figure::CpuSmall, Gateway, 30.0)]),
            round(&[(Figure::CpuSmall, Nginx, 40.0), (Figure::CpuSmall, Gateway, 60.0)]),
            round(&[(Figure::CpuSmall, Nginx, 20.0), (Figure::CpuSmall, Gateway, 20.0)]),
        ]);
        assert_eq!(line.score, Some(Spread { median: 1.5, low: 1.0, high: 1.5 }));
        assert_eq!(line.verdict, Some(Verdict::Accepted));
    }

    #[test]
    fn added_latency_is_compared_after_direct_is_taken_off() {
        use System::{Direct, Gateway, Nginx};
        let figure = Figure::LatencyP50;
        let line = only(&[round(&[(figure, Direct, 100.0), (figure, Nginx, 250.0), (figure, Gateway, 280.0)])]);
        assert_eq!(line.score.unwrap().median, 1.2);
        assert_eq!(line.verdict, Some(Verdict::Goal));
        let noise = only(&[round(&[(figure, Direct, 100.0), (figure, Nginx, 99.0), (figure, Gateway, 280.0)])]);
        assert_eq!((noise.score, noise.verdict), (None, None), "nothing to compare with is no verdict");
    }

    #[test]
    fn translation_is_compared_with_what_nginx_forwards() {
        use System::{Gateway, Nginx};
        let line = lines(
            &[round(&[
                (Figure::CpuSmall, Nginx, 20.0),
                (Figure::CpuSmall, Gateway, 20.0),
                (Figure::CpuTranslated, Gateway, 70.0),
            ])],
            true,
        )
        .remove(1);
        assert_eq!(line.figure, Figure::CpuTranslated);
        assert_eq!((line.score.unwrap().median, line.verdict), (3.5, Some(Verdict::Missed)));
    }

    #[test]
    fn more_is_better_for_cores() {
        for (value, verdict) in [(1.95, Verdict::Goal), (1.85, Verdict::Accepted), (1.5, Verdict::Missed)] {
            let line = only(&[round(&[(Figure::TwoCores, System::Gateway, value)])]);
            assert_eq!(line.verdict, Some(verdict));
        }
    }

    #[test]
    fn a_noisy_machine_judges_processor_time_but_not_the_clock() {
        let values = [(Figure::Start, System::Gateway, 10.0), (Figure::MemoryIdle, System::Gateway, 10.0)];
        let verdicts = |quiet| lines(&[round(&values)], quiet).iter().map(|line| line.verdict).collect::<Vec<_>>();
        assert_eq!(verdicts(true), [Some(Verdict::Goal), Some(Verdict::Goal)]);
        assert_eq!(verdicts(false), [Some(Verdict::Goal), Some(Verdict::Noisy)]);
    }

    #[test]
    fn what_was_not_measured_has_no_line() {
        assert!(lines(&[round(&[(Figure::CpuSmall, System::Nginx, 20.0)])], true).is_empty());
    }

    #[test]
    fn the_table_shows_units_bounds_and_verdicts() {
        let table = render(&lines(
            &[round(&[(Figure::CpuSmall, System::Nginx, 20.0), (Figure::CpuSmall, System::Gateway, 25.0)])],
            true,
        ));
        let line = table.lines().last().unwrap();
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(
            cells[1..10],
            [
                "CPU per request, same dialect, 1 KB",
                "-",
                "20.0 us",
                "25.0 us",
                "1.25x",
                "1.25x - 1.25x",
                "1.30x",
                "1.60x",
                "goal"
            ]
        );
    }
}
