//! What the cache costs where it finds nothing, and what an answer of it costs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use super::{Bench, Cost, LOG_LAG, cost_of};
use crate::AnyError;
use crate::load::closed;
use crate::process::Process;
use crate::rows::{Figure, System};
use crate::systems::{Equipment, Peer};
use crate::table::Round;

/// Answers of one partition among which a question is looked for.
const STORED: u64 = 10_000;
const STORE_SECONDS: f64 = 60.0;
/// Questions that are none of them. Their answers are stored too, so there must not be many more.
const ASKED: u64 = 2000;
/// Of those that are to find nothing: some may mean what another one meant.
const MAX_FOUND: f64 = 0.01;
const PATIENCE: Duration = Duration::from_secs(5);
/// What the gateway tells of itself is less.
const MAX_TOLD_BYTES: u64 = 4 * 1024 * 1024;

/// `GET /v1/cache/stats`, as far as it matters here.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Stats {
    size: u64,
    hits: u64,
    misses: u64,
    evictions: u64,
}

/// What is said in the requests of a load.
#[derive(Debug, Clone, Copy)]
struct Said {
    words: &'static str,
    first: u64,
    /// Requests at most.
    most: u64,
}

impl Said {
    const NUMBERS: Said = Said { words: "number", first: 0, most: u64::MAX };
    const QUESTIONS: Said = Said { words: "question", first: 0, most: u64::MAX };
    const STORED: Said = Said { most: STORED, ..Said::QUESTIONS };
    const ASKED: Said = Said { first: STORED, most: ASKED, ..Said::QUESTIONS };
}

impl Bench {
    /// Against the gateway among `peers`, which has no cache.
    pub(super) fn measure_cache(
        &mut self,
        round: &mut Round,
        upstream: SocketAddr,
        peers: &[Peer],
    ) -> Result<(), AnyError> {
        let Some(without) = peers.iter().find(|peer| peer.system == System::Gateway) else { return Ok(()) };
        self.measure_exact(round, upstream, without)?;
        self.measure_semantic(round, upstream, without)
    }

    fn measure_exact(&mut self, round: &mut Round, upstream: SocketAddr, without: &Peer) -> Result<(), AnyError> {
        let cores = self.cores.one.clone();
        let with = self.workshop.gateway(upstream, &cores, Equipment { cache: true, ..Equipment::default() })?;
        let Some(process) = &with.process else { return Ok(()) };
        // Those that come before the first answer is there ask, too.
        let small = self.bodies.small.clone();
        self.closed(&with, &small, 0.5)?;
        let before = stats(with.whole)?;
        let cost = self.cost(&with, process, &small, &cores)?;
        let hits = stats(with.whole)?.hits - before.hits;
        if hits != cost.report.requests {
            return Err(
                format!("{hits} of {} repeated requests were answered by the cache", cost.report.requests).into()
            );
        }
        self.record(round, Figure::CpuHit, System::Gateway, &cost);
        process.empty_log()?;
        for (uncached, missed, body) in [
            (Figure::CpuSmallUncached, Figure::CpuSmallMiss, self.bodies.small_in_parts.clone()),
            (Figure::CpuLargeUncached, Figure::CpuLargeMiss, self.bodies.large_in_parts.clone()),
        ] {
            self.measure_uncached(round, uncached, without, &body, Said::NUMBERS)?;
            let before = stats(with.whole)?;
            let cost = self.said(&with, process, &body, Said::NUMBERS, self.size.closed_seconds)?;
            let after = stats(with.whole)?;
            let found = after.hits - before.hits;
            if found > 0 || after.misses - before.misses != cost.report.requests {
                return Err(
                    format!("{found} of {} different requests were found in the cache", cost.report.requests).into()
                );
            }
            self.record(round, missed, System::Gateway, &cost);
            self.remarks.insert(format!(
                "{}: key, look-up and store; questions in two parts, which are never looked for in other words. {} answers were kept at the end, {} had to go for want of room.",
                missed.title(),
                after.size,
                after.evictions,
            ));
            process.empty_log()?;
        }
        Ok(())
    }

    fn measure_semantic(&mut self, round: &mut Round, upstream: SocketAddr, without: &Peer) -> Result<(), AnyError> {
        let (cores, body) = (self.cores.one.clone(), self.bodies.question.clone());
        self.measure_uncached(round, Figure::CpuQuestionUncached, without, &body, Said::QUESTIONS)?;
        let with = self.workshop.gateway(upstream, &cores, Equipment { cache: true, ..Equipment::default() })?;
        let Some(process) = &with.process else { return Ok(()) };
        let stored = self.said(&with, process, &body, Said::STORED, STORE_SECONDS)?.report.requests;
        if stored < STORED {
            return Err(format!("only {stored} of {STORED} answers were stored in time").into());
        }
        let (before, held_before) = (stats(with.whole)?, held_back(with.whole)?);
        let cost = self.said(&with, process, &body, Said::ASKED, STORE_SECONDS)?;
        let (after, held) = (stats(with.whole)?, held_back(with.whole)? - held_before);
        let (asked, found) = (cost.report.requests, after.hits - before.hits);
        if found as f64 > MAX_FOUND * asked as f64 {
            return Err(
                format!("{found} of {asked} questions that were not asked before were found in the cache").into()
            );
        }
        if held == 0 {
            return Err("no question had a near answer: none of them was looked for in other words".into());
        }
        self.record(round, Figure::CpuQuestionMiss, System::Gateway, &cost);
        self.remarks.insert(format!(
            "{}: preparing, search, verdicts and store; {asked} questions among {} to {} answers of one partition; {held} had a near answer that was held back, {found} were found.",
            Figure::CpuQuestionMiss.title(),
            before.size,
            after.size,
        ));
        Ok(())
    }

    fn measure_uncached(
        &mut self,
        round: &mut Round,
        figure: Figure,
        without: &Peer,
        body: &Path,
        said: Said,
    ) -> Result<(), AnyError> {
        let Some(process) = &without.process else { return Ok(()) };
        let cost = self.said(without, process, body, said, self.size.closed_seconds)?;
        self.record(round, figure, System::Gateway, &cost);
        Ok(process.empty_log()?)
    }

    /// A closed loop with words of its own in every request.
    fn said(&self, peer: &Peer, process: &Process, body: &Path, said: Said, seconds: f64) -> Result<Cost, AnyError> {
        let arguments = [
            ("--connections", self.size.connections.to_string()),
            ("--seconds", seconds.to_string()),
            ("--requests", said.most.to_string()),
            ("--words", said.words.to_owned()),
            ("--first", said.first.to_string()),
        ];
        cost_of(process, &self.cores.one, || self.generate::<closed::Report>("closed", peer, body, &arguments))
    }
}

fn stats(gateway: SocketAddr) -> Result<Stats, AnyError> {
    Ok(serde_json::from_str(&told(gateway, "/v1/cache/stats")?)?)
}

/// Requests with an answer near enough to be looked at, which was held to be that of another question.
fn held_back(gateway: SocketAddr) -> Result<u64, AnyError> {
    Ok(refusals(&told(gateway, "/metrics")?))
}

fn refusals(metrics: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with("gateway_cache_refusals_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// What the gateway says at `path`, when it has counted all that it answered.
fn told(gateway: SocketAddr, path: &str) -> Result<String, AnyError> {
    thread::sleep(LOG_LAG);
    let mut stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: {gateway}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_TOLD_BYTES).read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => Err(format!("GET {path}: {}", answer.lines().next().unwrap_or_default()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_those_by_all_rules() {
        let metrics = "# TYPE gateway_cache_refusals counter\ngateway_cache_refusals_total{rule=\"number\"} 40\n\
                       gateway_cache_refusals_total{rule=\"place\"} 2\ngateway_cache_feedback_total 7\n";
        assert_eq!((refusals(metrics), refusals("# EOF")), (42, 0));
    }
}
