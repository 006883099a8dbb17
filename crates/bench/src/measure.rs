//! The measurements of one round, and what makes them worth reporting.

mod cache;
mod keys;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::AnyError;
use crate::load::{closed, open, streams};
use crate::process::{CoreTime, Process, pin};
use crate::rows::{Figure, System};
use crate::stats::Spread;
use crate::systems::{ANSWER_BYTES, CHUNKS, Cores, Peer, Programs, Workshop};
use crate::table::Round;
use crate::traffic;
use crate::words::MARK;

const SAME_DIALECT: &str = "openai/gpt-4o-mini";
const TRANSLATED: &str = "anthropic/claude-haiku-4-5";
const PATH: &str = "/v1/chat/completions";

/// Nominal time between two chunks of a stream.
const CHUNK_GAP: Duration = Duration::from_millis(20);
/// Between the chunks of a stream that counts as idle.
const IDLE_GAP: Duration = Duration::from_secs(60);
pub(crate) const LATENCY_RATE: f64 = 200.0;
/// A proxy whose core is idle for more than this share of the time waits for generator and upstream. Its throughput is
/// theirs then, and its processor time that of a wake-up for every request.
const MAX_IDLE: f64 = 0.1;
/// A machine is quiet while other programs take no more than this share of the proxy's core.
const MAX_OTHERS: f64 = 0.05;
/// How far the log may be behind the answers.
const LOG_LAG: Duration = Duration::from_millis(500);
/// Connections an ordinary run needs at most.
const CONNECTIONS: usize = 1000;

/// Which rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    All,
    /// What keys of callers and limits cost, beside requests without a key.
    Keys,
    /// What the cache costs and what a hit costs, beside requests without it.
    Cache,
}

/// How much of everything.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Size {
    pub(crate) rounds: usize,
    pub(crate) closed_seconds: f64,
    pub(crate) connections: usize,
    pub(crate) open_requests: u64,
    pub(crate) streams: usize,
    pub(crate) streams_repeat: usize,
    pub(crate) idle_streams: usize,
}

impl Size {
    pub(crate) fn quick(idle_streams: usize) -> Self {
        Self {
            rounds: 1,
            closed_seconds: 2.0,
            connections: 32,
            open_requests: 400,
            streams: 50,
            streams_repeat: 4,
            idle_streams,
        }
    }

    pub(crate) fn whole(idle_streams: usize) -> Self {
        Self {
            rounds: 3,
            closed_seconds: 5.0,
            connections: 32,
            open_requests: 2000,
            streams: 200,
            streams_repeat: 3,
            idle_streams,
        }
    }
}

/// The bodies sent, as files for the generator.
#[derive(Debug)]
struct Bodies {
    small: PathBuf,
    large: PathBuf,
    translated: PathBuf,
    streamed: PathBuf,
    streamed_translated: PathBuf,
    small_in_parts: PathBuf,
    large_in_parts: PathBuf,
    question: PathBuf,
}

impl Bodies {
    fn write(directory: &Path) -> io::Result<Self> {
        let write = |name: &str, body: Vec<u8>| {
            let file = directory.join(name);
            fs::write(&file, body).map(|()| file)
        };
        Ok(Self {
            small: write("small.json", traffic::chat(SAME_DIALECT, false, 1024))?,
            large: write("large.json", traffic::chat(SAME_DIALECT, false, 100 * 1024))?,
            translated: write("translated.json", traffic::chat(TRANSLATED, false, 1024))?,
            streamed: write("streamed.json", traffic::chat(SAME_DIALECT, true, 1024))?,
            streamed_translated: write("streamed-translated.json", traffic::chat(TRANSLATED, true, 1024))?,
            small_in_parts: write("small-in-parts.json", traffic::in_parts(SAME_DIALECT, 1024, MARK)?)?,
            large_in_parts: write("large-in-parts.json", traffic::in_parts(SAME_DIALECT, 100 * 1024, MARK)?)?,
            question: write("question.json", traffic::ask(SAME_DIALECT, MARK))?,
        })
    }
}

/// A closed loop with what it cost the proxy.
#[derive(Debug)]
struct Cost {
    report: closed::Report,
    cpu_us: f64,
    /// Share of the time in which the proxy's cores had nothing to do.
    idle: f64,
    /// Share of its cores that went to other programs.
    others: f64,
}

#[derive(Debug)]
pub(crate) struct Bench {
    size: Size,
    cores: Cores,
    workshop: Workshop,
    bodies: Bodies,
    /// Log lines the gateway wrote for one request.
    log_lines: f64,
    /// Idle share of a proxy's core where it was too large to report the figure.
    waited: BTreeMap<(Figure, System), Vec<f64>>,
    /// Largest share of the proxy's core that other programs took.
    others: f64,
    /// Of what was measured besides.
    remarks: BTreeSet<String>,
}

impl Bench {
    /// Logs, configurations and bodies go to `directory`.
    pub(crate) fn new(size: Size, cores: Cores, programs: Programs, directory: &Path) -> io::Result<Self> {
        Ok(Self {
            size,
            cores,
            workshop: Workshop::new(programs, directory),
            bodies: Bodies::write(directory)?,
            log_lines: 0.0,
            waited: BTreeMap::new(),
            others: 0.0,
            remarks: BTreeSet::new(),
        })
    }

    pub(crate) fn rounds(&mut self, part: Part) -> Result<Vec<Round>, AnyError> {
        let Cores { one, load, .. } = self.cores.clone();
        let (upstream, _running) = self.workshop.upstream(&load, CHUNK_GAP)?;
        let (idle_upstream, _running_too) = self.workshop.upstream(&load, IDLE_GAP)?;
        let peers = System::ALL
            .into_iter()
            .map(|system| self.workshop.peer(system, upstream, &one, CONNECTIONS))
            .collect::<Result<Vec<_>, _>>()?;
        self.warm_up(&peers)?;
        let key_holders = if part == Part::Cache { None } else { Some(self.key_holders(upstream)?) };
        let mut rounds = Vec::new();
        for number in 0..self.size.rounds {
            progress(&format!("round {} of {}", number + 1, self.size.rounds));
            // Each round begins with another system, so that none always profits from its place.
            let mut order: Vec<&Peer> = peers.iter().collect();
            order.rotate_left(number % peers.len());
            let mut round = Round::default();
            self.measure_requests(&mut round, &order, part)?;
            if let Some(key_holders) = &key_holders {
                self.measure_keys(&mut round, key_holders)?;
            }
            if part != Part::Keys {
                self.measure_cache(&mut round, upstream, &peers)?;
            }
            if part != Part::All {
                for process in peers.iter().filter_map(|peer| peer.process.as_ref()) {
                    process.empty_log()?;
                }
                rounds.push(round);
                continue;
            }
            self.measure_latency(&mut round, &order)?;
            self.measure_streams(&mut round, &order)?;
            for (peer, process) in peers.iter().filter_map(|peer| Some((peer, peer.process.as_ref()?))) {
                round.record(Figure::MemoryAfterLoad, peer.system, mebibytes(process.resident()?));
                process.empty_log()?;
            }
            self.measure_fresh(&mut round, idle_upstream)?;
            self.measure_two_cores(&mut round, upstream)?;
            rounds.push(round);
        }
        Ok(rounds)
    }

    /// Whether the proxy's core was the proxy's alone, as far as that was looked at.
    pub(crate) fn quiet(&self) -> bool {
        self.others <= MAX_OTHERS
    }

    /// What a reader of the table must know: what was on, what was not reported, and why.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!("The gateway wrote {:.2} log lines a request, to a file.", self.log_lines)];
        for ((figure, system), idle) in &self.waited {
            let Some(idle) = Spread::of(idle.iter().copied()) else { continue };
            notes.push(format!(
                "{}, {}: left out {} times, since the proxy waited for generator and upstream; its core was idle for {:.0} % of the time.",
                figure.title(),
                system.name(),
                self.waited[&(*figure, *system)].len(),
                100.0 * idle.median,
            ));
        }
        notes.extend(self.remarks.iter().cloned());
        if self.cores.two.is_none() {
            notes.push("Two cores against one: not measured, the load needs a third core.".to_owned());
        }
        if !self.quiet() {
            notes.push(format!(
                "Other programs took up to {:.0} % of the proxy's core. Throughput of such runs is left out, times on the clock are not judged.",
                100.0 * self.others
            ));
        }
        notes
    }

    /// Opens connections, fills pools, and shows at once whether every kind of request is answered.
    fn warm_up(&mut self, peers: &[Peer]) -> Result<(), AnyError> {
        progress("warm-up");
        for peer in peers {
            for body in [&self.bodies.small, &self.bodies.large, &self.bodies.translated] {
                if body == &self.bodies.translated && peer.system != System::Gateway {
                    continue;
                }
                let report = self.closed(peer, body, 0.5)?;
                if !(ANSWER_BYTES as f64..4.0 * ANSWER_BYTES as f64).contains(&report.answer_bytes) {
                    return Err(format!("{}: answers have {} bytes", peer.system.name(), report.answer_bytes).into());
                }
            }
            if let (System::Gateway, Some(process)) = (peer.system, &peer.process) {
                // Lines may be written behind the answers, those of the warm-up too.
                thread::sleep(LOG_LAG);
                process.empty_log()?;
                let report = self.closed(peer, &self.bodies.small, 0.5)?;
                thread::sleep(LOG_LAG);
                self.log_lines = process.log_lines()? as f64 / report.requests as f64;
            }
        }
        Ok(())
    }

    fn measure_requests(&mut self, round: &mut Round, order: &[&Peer], part: Part) -> Result<(), AnyError> {
        for (figure, body, systems) in [
            (Figure::CpuSmall, self.bodies.small.clone(), &System::ALL[..]),
            (Figure::CpuLarge, self.bodies.large.clone(), &[System::Nginx, System::Gateway]),
            (Figure::CpuTranslated, self.bodies.translated.clone(), &[System::Gateway]),
        ] {
            if part != Part::All && figure != Figure::CpuSmall {
                continue;
            }
            for peer in order.iter().filter(|peer| systems.contains(&peer.system)) {
                let Some(process) = &peer.process else {
                    let report = self.closed(peer, &body, self.size.closed_seconds)?;
                    round.record(Figure::ThroughputOneCore, peer.system, report.per_second);
                    continue;
                };
                let cost = self.cost(peer, process, &body, &self.cores.one)?;
                let reported = self.record(round, figure, peer.system, &cost);
                if reported && figure == Figure::CpuSmall && cost.others <= MAX_OTHERS {
                    round.record(Figure::ThroughputOneCore, peer.system, cost.report.per_second);
                }
            }
        }
        Ok(())
    }

    fn measure_latency(&self, round: &mut Round, order: &[&Peer]) -> Result<(), AnyError> {
        let size = [("--rate", LATENCY_RATE.to_string()), ("--requests", self.size.open_requests.to_string())];
        for peer in order {
            let report: open::Report = self.generate("open", peer, &self.bodies.small, &size)?;
            round.record(Figure::LatencyP50, peer.system, report.latency.p50_us);
            round.record(Figure::LatencyP99, peer.system, report.latency.p99_us);
        }
        Ok(())
    }

    fn measure_streams(&self, round: &mut Round, order: &[&Peer]) -> Result<(), AnyError> {
        let size = [("--streams", self.size.streams.to_string()), ("--repeat", self.size.streams_repeat.to_string())];
        let expected = (self.size.streams * self.size.streams_repeat * CHUNKS) as u64;
        for (figure, body, systems) in [
            (Figure::CpuChunk, &self.bodies.streamed, &System::ALL[..]),
            (Figure::CpuChunkTranslated, &self.bodies.streamed_translated, &[System::Gateway]),
        ] {
            for peer in order.iter().filter(|peer| systems.contains(&peer.system)) {
                let before = peer.process.as_ref().map(Process::cpu).transpose()?;
                let report: streams::Report = self.generate("streams", peer, body, &size)?;
                if report.chunks != expected {
                    let name = peer.system.name();
                    return Err(format!("{name}: {} chunks arrived of {expected}", report.chunks).into());
                }
                if let (Some(process), Some(before)) = (&peer.process, before) {
                    round.record(figure, peer.system, microseconds(process.cpu()? - before) / report.chunks as f64);
                }
                if figure == Figure::CpuChunk {
                    round.record(Figure::FirstChunk, peer.system, report.first.p50_us);
                    round.record(Figure::GapP99, peer.system, report.gap.p99_us);
                }
            }
        }
        Ok(())
    }

    /// Start, memory idle and memory per idle stream, of processes that have done nothing else.
    fn measure_fresh(&mut self, round: &mut Round, idle_upstream: SocketAddr) -> Result<(), AnyError> {
        let (one, streams) = (self.cores.one.clone(), self.size.idle_streams);
        for system in [System::Nginx, System::Gateway] {
            let peer = self.workshop.peer(system, idle_upstream, &one, streams)?;
            let Some(process) = &peer.process else { continue };
            round.record(Figure::Start, system, process.start_time.as_secs_f64() * 1e3);
            thread::sleep(Duration::from_secs(1));
            round.record(Figure::MemoryIdle, system, mebibytes(process.resident()?));
            self.closed(&peer, &self.bodies.small, 0.2)?;
            let before = process.resident()?;
            let peak = self.peak_of_idle_streams(&peer, process)?;
            let per_stream = peak.saturating_sub(before) as f64 / 1024.0 / streams as f64;
            round.record(Figure::MemoryPerStream, system, per_stream);
        }
        Ok(())
    }

    /// Largest resident memory, in bytes, while streams are opened, held silent, and abandoned.
    fn peak_of_idle_streams(&self, peer: &Peer, process: &Process) -> Result<u64, AnyError> {
        let streams = self.size.idle_streams;
        // A thousand new ones a second, then all of them for three seconds.
        let ramp = Duration::from_millis(streams as u64);
        let arguments = [
            ("--streams", streams.to_string()),
            ("--ramp-ms", ramp.as_millis().to_string()),
            ("--seconds", (ramp + Duration::from_secs(3)).as_secs_f64().to_string()),
        ];
        let mut peak = 0;
        let report: streams::Report = thread::scope(|scope| {
            let generator = scope.spawn(|| self.generate("streams", peer, &self.bodies.streamed, &arguments));
            while !generator.is_finished() {
                peak = peak.max(process.resident()?);
                thread::sleep(Duration::from_millis(100));
            }
            generator.join().map_err(|_| "the generator's thread panicked")?
        })?;
        if report.begun != streams as u64 {
            return Err(format!("{}: only {} of {streams} idle streams began", peer.system.name(), report.begun).into());
        }
        Ok(peak)
    }

    /// Throughput with two cores against that with one, where the machine has cores left for the load.
    fn measure_two_cores(&mut self, round: &mut Round, upstream: SocketAddr) -> Result<(), AnyError> {
        let Some(two) = self.cores.two.clone() else { return Ok(()) };
        for system in [System::Nginx, System::Gateway] {
            let peer = self.workshop.peer(system, upstream, &two, CONNECTIONS)?;
            let Some(process) = &peer.process else { continue };
            self.closed(&peer, &self.bodies.small, 0.5)?;
            let cost = self.cost(&peer, process, &self.bodies.small, &two)?;
            if cost.idle > MAX_IDLE {
                self.waited.entry((Figure::TwoCores, system)).or_default().push(cost.idle);
            } else if let Some(one) = round.get(Figure::ThroughputOneCore, system)
                && cost.others <= MAX_OTHERS
            {
                round.record(Figure::TwoCores, system, cost.report.per_second / one);
            }
        }
        Ok(())
    }

    /// Notes what a run cost, if its proxy was busy; otherwise that it was not.
    fn record(&mut self, round: &mut Round, figure: Figure, system: System, cost: &Cost) -> bool {
        self.others = self.others.max(cost.others);
        let busy = cost.idle <= MAX_IDLE;
        if busy {
            round.record(figure, system, cost.cpu_us);
        } else {
            self.waited.entry((figure, system)).or_default().push(cost.idle);
        }
        busy
    }

    /// A closed loop through a proxy that runs on `cores`.
    fn cost(&self, peer: &Peer, process: &Process, body: &Path, cores: &str) -> Result<Cost, AnyError> {
        cost_of(process, cores, || self.closed(peer, body, self.size.closed_seconds))
    }

    fn closed(&self, peer: &Peer, body: &Path, seconds: f64) -> Result<closed::Report, AnyError> {
        let arguments = [("--connections", self.size.connections.to_string()), ("--seconds", seconds.to_string())];
        self.generate("closed", peer, body, &arguments)
    }

    /// Runs the generator on its own core and reads its report.
    fn generate<R: DeserializeOwned>(
        &self,
        load: &str,
        peer: &Peer,
        body: &Path,
        arguments: &[(&str, String)],
    ) -> Result<R, AnyError> {
        let address = if load == "streams" { peer.streamed } else { peer.whole };
        let mut command = Command::new(&self.workshop.programs.bench);
        command.args([load, "--address", &address.to_string(), "--path", PATH, "--body"]).arg(body);
        for (name, value) in arguments {
            command.args([name, value.as_str()]);
        }
        if let Some(keys) = peer.keys.as_ref().filter(|_| load == "closed") {
            command.arg("--keys").arg(keys);
        }
        let output = pin(&command, &self.cores.load).output()?;
        if !output.status.success() {
            let (name, words) = (peer.system.name(), String::from_utf8_lossy(&output.stderr));
            return Err(format!("{name}, {load} load: {}", words.trim().trim_start_matches("bench: ")).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// What a load cost a proxy that runs on `cores`.
fn cost_of(
    process: &Process,
    cores: &str,
    load: impl FnOnce() -> Result<closed::Report, AnyError>,
) -> Result<Cost, AnyError> {
    let (cpu_before, cores_before) = (process.cpu()?, CoreTime::now(cores)?);
    let report = load()?;
    let (cpu, idle) = (process.cpu()? - cpu_before, CoreTime::now(cores)?.idle_since(cores_before));
    let used = cpu.as_secs_f64() / report.seconds / cores.split(',').count() as f64;
    Ok(Cost { cpu_us: microseconds(cpu) / report.requests as f64, idle, others: (1.0 - idle - used).max(0.0), report })
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// On standard error, so that standard output is the result alone.
fn progress(what: &str) {
    let _ = writeln!(io::stderr(), "bench: {what}");
}
