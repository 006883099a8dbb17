//! `bench run`: starts everything, measures in interleaved rounds, prints the table.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::AnyError;
use crate::load::{closed, open, streams};
use crate::process::{CoreTime, Process, open_files_limit, pin};
use crate::stats::Spread;
use crate::systems::{ANSWER_BYTES, CHUNKS, Cores, GATEWAY_SETTINGS, Peer, Programs, Workshop};
use crate::table::{Figure, Line, Round, System, lines, render};
use crate::traffic;

const SAME_DIALECT: &str = "openai/gpt-4o-mini";
const TRANSLATED: &str = "anthropic/claude-haiku-4-5";
const PATH: &str = "/v1/chat/completions";

/// Nominal time between two chunks of a stream.
const CHUNK_GAP: Duration = Duration::from_millis(20);
/// Between the chunks of a stream that counts as idle.
const IDLE_GAP: Duration = Duration::from_secs(60);
const LATENCY_RATE: f64 = 200.0;
/// A proxy whose core is idle for more than this share of the time waits for generator and upstream. Its throughput is
/// theirs then, and its processor time that of a wake-up for every request.
const MAX_IDLE: f64 = 0.1;
/// Throughput is not reported where others took more than this share of the proxy's core.
const MAX_OTHERS: f64 = 0.05;
/// Connections an ordinary run needs at most.
const CONNECTIONS: usize = 1000;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The gateway's release binary
    #[arg(long, default_value = "target/release/llm-gateway")]
    gateway: PathBuf,
    #[arg(long, default_value = "/usr/sbin/nginx")]
    nginx: PathBuf,
    /// One round of short runs: a look, not a measurement
    #[arg(long)]
    quick: bool,
    /// Idle streams at 10,000 instead of 1,000
    #[arg(long)]
    full: bool,
    /// Interleaved rounds; 3, or 1 with --quick, unless given
    #[arg(long)]
    rounds: Option<usize>,
    /// Where all that was measured is left as JSON
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
}

/// How much of everything.
#[derive(Debug, Clone, Copy, Serialize)]
struct Size {
    rounds: usize,
    closed_seconds: f64,
    connections: usize,
    open_requests: u64,
    streams: usize,
    streams_repeat: usize,
    idle_streams: usize,
}

impl Options {
    fn size(&self) -> Size {
        // A proxy has two sockets for each stream, and some of its own.
        let idle_streams = (if self.full { 10_000 } else { 1_000 }).min(open_files_limit().saturating_sub(500) / 2);
        let size = if self.quick {
            Size {
                rounds: 1,
                closed_seconds: 2.0,
                connections: 32,
                open_requests: 400,
                streams: 50,
                streams_repeat: 4,
                idle_streams,
            }
        } else {
            Size {
                rounds: 3,
                closed_seconds: 5.0,
                connections: 32,
                open_requests: 2000,
                streams: 200,
                streams_repeat: 3,
                idle_streams,
            }
        };
        Size { rounds: self.rounds.unwrap_or(size.rounds), ..size }
    }
}

/// What `--json` receives.
#[derive(Debug, Serialize)]
struct Results<'a> {
    size: Size,
    lines: &'a [Line],
    notes: &'a [String],
}

/// The bodies sent, as files for the generator.
#[derive(Debug)]
struct Bodies {
    small: PathBuf,
    large: PathBuf,
    translated: PathBuf,
    streamed: PathBuf,
    streamed_translated: PathBuf,
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

struct Bench {
    size: Size,
    cores: Cores,
    workshop: Workshop,
    bodies: Bodies,
    notes: Vec<String>,
    /// Idle share of a proxy's core where it was too large to report the figure.
    waited: BTreeMap<(Figure, System), Vec<f64>>,
    /// Largest share of the proxy's core that other programs took.
    others: f64,
}

pub(crate) fn run(options: &Options) -> Result<(), AnyError> {
    for program in [&options.gateway, &options.nginx] {
        if !program.is_file() {
            return Err(format!(
                "{} does not exist; bench/run.sh builds and installs what is needed",
                program.display()
            )
            .into());
        }
    }
    let directory = tempfile::tempdir()?;
    let programs = Programs {
        gateway: fs::canonicalize(&options.gateway)?,
        nginx: options.nginx.clone(),
        bench: std::env::current_exe()?,
    };
    let mut bench = Bench {
        size: options.size(),
        cores: Cores::of_this_machine()?,
        workshop: Workshop::new(programs, directory.path()),
        bodies: Bodies::write(directory.path())?,
        notes: Vec::new(),
        waited: BTreeMap::new(),
        others: 0.0,
    };
    let rounds = bench.rounds()?;
    let lines = lines(&rounds);
    let mut out = io::stdout().lock();
    writeln!(out, "\n{}\n{}", bench.conditions(), render(&lines))?;
    for note in &bench.notes {
        writeln!(out, "- {note}")?;
    }
    let results = Results { size: bench.size, lines: &lines, notes: &bench.notes };
    fs::write(&options.json, serde_json::to_vec_pretty(&results)?)?;
    Ok(())
}

impl Bench {
    fn rounds(&mut self) -> Result<Vec<Round>, AnyError> {
        let load = self.cores.load.clone();
        let (upstream, _upstream) = self.workshop.upstream(&load, CHUNK_GAP)?;
        let (idle_upstream, _idle_upstream) = self.workshop.upstream(&load, IDLE_GAP)?;
        let one = self.cores.one.clone();
        let peers = System::ALL
            .into_iter()
            .map(|system| self.workshop.peer(system, upstream, &one, CONNECTIONS))
            .collect::<Result<Vec<_>, _>>()?;
        self.warm_up(&peers)?;
        self.note_log_lines(&peers)?;
        let mut rounds = Vec::new();
        for number in 0..self.size.rounds {
            progress(&format!("round {} of {}", number + 1, self.size.rounds));
            let mut round = Round::default();
            // Each round begins with another system, so that none always profits from its place.
            let order = || peers.iter().cycle().skip(number).take(peers.len());
            self.measure_requests(&mut round, order)?;
            self.measure_latency(&mut round, order)?;
            self.measure_streams(&mut round, order)?;
            for peer in &peers {
                if let Some(process) = &peer.process {
                    round.record(Figure::MemoryAfterLoad, peer.system, mebibytes(process.resident()?));
                    process.empty_log()?;
                }
            }
            self.measure_fresh(&mut round, idle_upstream)?;
            self.measure_two_cores(&mut round, upstream)?;
            rounds.push(round);
        }
        self.note_refusals();
        Ok(rounds)
    }

    /// Opens connections, fills pools and caches, and shows at once whether every kind of request is answered.
    fn warm_up(&self, peers: &[Peer]) -> Result<(), AnyError> {
        progress("warm-up");
        for peer in peers {
            let mut bodies = vec![&self.bodies.small, &self.bodies.large];
            if peer.system == System::Gateway {
                bodies.push(&self.bodies.translated);
            }
            for body in bodies {
                let report =
                    self.closed(peer.whole, body, 0.5).map_err(|error| format!("{}: {error}", peer.system.name()))?;
                let expected = ANSWER_BYTES as f64..4.0 * ANSWER_BYTES as f64;
                if !expected.contains(&report.answer_bytes) {
                    return Err(format!("{}: answers have {} bytes", peer.system.name(), report.answer_bytes).into());
                }
            }
        }
        Ok(())
    }

    fn note_log_lines(&mut self, peers: &[Peer]) -> Result<(), AnyError> {
        for peer in peers {
            let (System::Gateway, Some(process)) = (peer.system, &peer.process) else { continue };
            process.empty_log()?;
            let report = self.closed(peer.whole, &self.bodies.small, 0.5)?;
            thread::sleep(Duration::from_millis(500));
            let lines = process.log_lines()? as f64 / report.requests as f64;
            self.notes.push(format!("The gateway wrote {lines:.2} log lines a request, to a file."));
        }
        Ok(())
    }

    /// Says what was not reported, and why.
    fn note_refusals(&mut self) {
        for ((figure, system), idle) in &self.waited {
            let Some(idle) = Spread::of(idle.iter().copied()) else { continue };
            self.notes.push(format!(
                "{}, {}: not reported in some rounds, since the proxy waited for generator and upstream; its core was idle for {:.0} % of the time.",
                figure.title(),
                system.name(),
                100.0 * idle.median,
            ));
        }
        if self.cores.two.is_none() {
            self.notes.push("Two cores against one: not measured, the load needs a third core.".to_owned());
        }
        if self.others > MAX_OTHERS {
            self.notes.push(format!(
                "Other programs took up to {:.0} % of the proxy's core: this was no quiet machine. Throughput is not reported for such runs.",
                100.0 * self.others
            ));
        }
    }

    fn measure_requests<'a, I: Iterator<Item = &'a Peer>>(
        &mut self,
        round: &mut Round,
        order: impl Fn() -> I,
    ) -> Result<(), AnyError> {
        for (figure, body) in [
            (Figure::CpuSmall, self.bodies.small.clone()),
            (Figure::CpuLarge, self.bodies.large.clone()),
            (Figure::CpuTranslated, self.bodies.translated.clone()),
        ] {
            for peer in order() {
                let translates = figure == Figure::CpuTranslated;
                let Some(process) = &peer.process else {
                    if figure == Figure::CpuSmall {
                        let report = self.closed(peer.whole, &body, self.size.closed_seconds)?;
                        round.record(Figure::ThroughputOneCore, System::Direct, report.per_second);
                    }
                    continue;
                };
                if translates && peer.system != System::Gateway {
                    continue;
                }
                let cost = self.cost(process, peer.whole, &body, &self.cores.one)?;
                self.others = self.others.max(cost.others);
                if cost.idle > MAX_IDLE {
                    self.waited.entry((figure, peer.system)).or_default().push(cost.idle);
                    continue;
                }
                round.record(figure, peer.system, cost.cpu_us);
                if figure == Figure::CpuSmall && cost.others <= MAX_OTHERS {
                    round.record(Figure::ThroughputOneCore, peer.system, cost.report.per_second);
                }
            }
        }
        Ok(())
    }

    fn measure_latency<'a, I: Iterator<Item = &'a Peer>>(
        &self,
        round: &mut Round,
        order: impl Fn() -> I,
    ) -> Result<(), AnyError> {
        for peer in order() {
            let report: open::Report = self.generate(
                "open",
                peer.whole,
                &self.bodies.small,
                &[("--rate", LATENCY_RATE.to_string()), ("--requests", self.size.open_requests.to_string())],
            )?;
            round.record(Figure::LatencyP50, peer.system, report.latency.p50_us);
            round.record(Figure::LatencyP99, peer.system, report.latency.p99_us);
        }
        Ok(())
    }

    fn measure_streams<'a, I: Iterator<Item = &'a Peer>>(
        &self,
        round: &mut Round,
        order: impl Fn() -> I,
    ) -> Result<(), AnyError> {
        let size = [("--streams", self.size.streams.to_string()), ("--repeat", self.size.streams_repeat.to_string())];
        let expected = (self.size.streams * self.size.streams_repeat * CHUNKS) as u64;
        for (figure, body) in
            [(Figure::CpuChunk, &self.bodies.streamed), (Figure::CpuChunkTranslated, &self.bodies.streamed_translated)]
        {
            for peer in order() {
                if figure == Figure::CpuChunkTranslated && peer.system != System::Gateway {
                    continue;
                }
                let before = peer.process.as_ref().map(Process::cpu).transpose()?;
                let report: streams::Report = self.generate("streams", peer.streamed, body, &size)?;
                if report.chunks != expected {
                    return Err(
                        format!("{}: {} chunks arrived of {expected}", peer.system.name(), report.chunks).into()
                    );
                }
                if let (Some(process), Some(before)) = (&peer.process, before) {
                    let cpu = process.cpu()? - before;
                    round.record(figure, peer.system, cpu.as_secs_f64() * 1e6 / report.chunks as f64);
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
        let one = self.cores.one.clone();
        for system in [System::Nginx, System::Gateway] {
            let peer = self.workshop.peer(system, idle_upstream, &one, self.size.idle_streams)?;
            let Some(process) = &peer.process else { continue };
            round.record(Figure::Start, system, process.start_time.as_secs_f64() * 1e3);
            thread::sleep(Duration::from_secs(1));
            round.record(Figure::MemoryIdle, system, mebibytes(process.resident()?));
            let report = self.closed(peer.whole, &self.bodies.small, 0.2)?;
            if report.requests == 0 {
                return Err("no request was answered".into());
            }
            let before = process.resident()?;
            let (seconds, sampling) = (self.size.idle_streams as f64 / 1000.0 + 4.0, Duration::from_millis(100));
            let arguments = [
                ("--streams", self.size.idle_streams.to_string()),
                ("--seconds", seconds.to_string()),
                ("--ramp-ms", ((seconds - 3.0) * 1e3).to_string()),
            ];
            let mut peak = before;
            let report: streams::Report = thread::scope(|scope| {
                let generator =
                    scope.spawn(|| self.generate("streams", peer.streamed, &self.bodies.streamed, &arguments));
                while !generator.is_finished() {
                    peak = peak.max(process.resident()?);
                    thread::sleep(sampling);
                }
                generator.join().map_err(|_| "the generator's thread panicked")?
            })?;
            if report.begun != self.size.idle_streams as u64 {
                return Err(format!("{}: only {} idle streams began", system.name(), report.begun).into());
            }
            let per_stream = (peak - before) as f64 / self.size.idle_streams as f64 / 1024.0;
            round.record(Figure::MemoryPerStream, system, per_stream);
        }
        Ok(())
    }

    /// Throughput with two cores against that with one, where the machine has cores left for the load.
    fn measure_two_cores(&mut self, round: &mut Round, upstream: SocketAddr) -> Result<(), AnyError> {
        let Some(two) = self.cores.two.clone() else { return Ok(()) };
        for system in [System::Nginx, System::Gateway] {
            let peer = self.workshop.peer(system, upstream, &two, CONNECTIONS)?;
            let Some(process) = &peer.process else { continue };
            self.closed(peer.whole, &self.bodies.small, 0.5)?;
            let cost = self.cost(process, peer.whole, &self.bodies.small, &two)?;
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

    /// A closed loop through a proxy that runs on `cores`.
    fn cost(&self, process: &Process, address: SocketAddr, body: &Path, cores: &str) -> Result<Cost, AnyError> {
        let (cpu_before, cores_before) = (process.cpu()?, CoreTime::now(cores)?);
        let report = self.closed(address, body, self.size.closed_seconds)?;
        let (cpu, idle) = (process.cpu()? - cpu_before, CoreTime::now(cores)?.idle_since(cores_before));
        let used = cpu.as_secs_f64() / report.seconds / cores.split(',').count() as f64;
        Ok(Cost {
            cpu_us: cpu.as_secs_f64() * 1e6 / report.requests as f64,
            idle,
            others: (1.0 - idle - used).max(0.0),
            report,
        })
    }

    fn closed(&self, address: SocketAddr, body: &Path, seconds: f64) -> Result<closed::Report, AnyError> {
        let arguments = [("--connections", self.size.connections.to_string()), ("--seconds", seconds.to_string())];
        self.generate("closed", address, body, &arguments)
    }

    /// Runs the generator on its own core and reads its report.
    fn generate<R: DeserializeOwned>(
        &self,
        load: &str,
        address: SocketAddr,
        body: &Path,
        arguments: &[(&str, String)],
    ) -> Result<R, AnyError> {
        let mut command = Command::new(&self.workshop.programs.bench);
        command.args([load, "--address", &address.to_string(), "--path", PATH, "--body"]).arg(body);
        for (name, value) in arguments {
            command.args([name, value.as_str()]);
        }
        let output = pin(&command, &self.cores.load).output()?;
        if !output.status.success() {
            return Err(format!("load {load}: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn conditions(&self) -> String {
        let Size { rounds, closed_seconds, connections, open_requests, streams, streams_repeat, idle_streams } =
            self.size;
        let settings: Vec<String> = GATEWAY_SETTINGS.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!(
            "Median and range of {rounds} interleaved rounds. Proxy on core {}, generator and upstream on {}. No TLS.\n\
             Requests: {connections} connections for {closed_seconds} s; latency: {open_requests} requests at {LATENCY_RATE}/s, open loop;\n\
             streams: {streams} at once, {streams_repeat} in turn, {CHUNKS} chunks every 20 ms; {idle_streams} idle streams.\n\
             Gateway: default settings except {}; providers from the environment, no keys configured.\n",
            self.cores.one,
            self.cores.load,
            settings.join(", "),
        )
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// On standard error, so that standard output is the result alone.
fn progress(what: &str) {
    let _ = writeln!(io::stderr(), "bench: {what}");
}
