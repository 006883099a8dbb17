//! From the values of the rounds to the table.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::rows::{Figure, ROWS, Row, System, Verdict};
use crate::stats::Spread;

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
                row.score.of(round.get(row.figure, System::Gateway), |system| round.get(row.baseline, system))
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
    fn growth_is_the_gateway_against_itself() {
        let values = [(Figure::CpuOneKey, System::Gateway, 20.0), (Figure::CpuManyKeys, System::Gateway, 21.5)];
        let line = lines(&[round(&values)], true).remove(1);
        assert_eq!(line.figure, Figure::CpuManyKeys);
        assert_eq!((line.score.unwrap().median, line.verdict), (1.075, Some(Verdict::Accepted)));
    }

    #[test]
    fn what_a_cache_costs_is_told_on_top_of_the_same_without() {
        let values =
            [(Figure::CpuLargeUncached, System::Gateway, 90.0), (Figure::CpuLargeMiss, System::Gateway, 130.0)];
        let line = lines(&[round(&values)], true).remove(1);
        assert_eq!(line.figure, Figure::CpuLargeMiss);
        assert_eq!((line.score.unwrap().median, line.verdict), (40.0, Some(Verdict::Accepted)));
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
