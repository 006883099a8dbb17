//! `bench run` compares the gateway with nginx; `bench closed`, `open` and `streams` are the loads it uses, each printing
//! one JSON object.

mod http;
mod keys;
mod load;
mod measure;
mod process;
mod rows;
mod run;
mod sse;
mod stats;
mod systems;
mod table;
mod traffic;
mod upstream;
mod words;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::http::Request;
use crate::load::{closed, open, streams};
use crate::words::{MARK, Words};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare the gateway with nginx and print the table
    Run(run::Options),
    /// A provider with canned answers, for the other commands to load
    Upstream {
        #[arg(long)]
        port: u16,
        #[arg(long, default_value_t = 1000)]
        answer_bytes: usize,
        /// Chunks of text in a stream
        #[arg(long, default_value_t = 100)]
        chunks: usize,
        #[arg(long, default_value_t = 20)]
        chunk_gap_ms: u64,
    },
    /// As many requests as the connections carry, one after the other on each: throughput
    Closed {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value_t = 32)]
        connections: usize,
        #[arg(long, default_value_t = 10_000_000)]
        requests: u64,
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// File with keys of callers, one a line, which the requests show in turn
        #[arg(long)]
        keys: Option<PathBuf>,
        /// Words in place of @WORDS@ in the body, others in each request
        #[arg(long, value_enum)]
        words: Option<Words>,
        /// Number of the first request, of which its words are made
        #[arg(long, default_value_t = 0, requires = "words")]
        first: u64,
    },
    /// Requests at a fixed rate, latency counted from the moment each was due
    Open {
        #[command(flatten)]
        target: Target,
        /// Requests a second
        #[arg(long, default_value_t = 200.0)]
        rate: f64,
        #[arg(long, default_value_t = 2000)]
        requests: u64,
        /// Requests under way at once at most
        #[arg(long, default_value_t = 16)]
        connections: usize,
    },
    /// Concurrent event streams: time to the first text, gaps between texts
    Streams {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value_t = 200)]
        streams: usize,
        /// Streams one after the other in each place
        #[arg(long, default_value_t = 1)]
        repeat: usize,
        /// Spread the first requests over this time
        #[arg(long, default_value_t = 1000)]
        ramp_ms: u64,
        /// Leave streams that are still open after this time
        #[arg(long, default_value_t = 60.0)]
        seconds: f64,
    },
}

#[derive(Debug, Args)]
struct Target {
    /// IP address and port of the server
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    path: String,
    /// File with the request's body
    #[arg(long)]
    body: PathBuf,
    /// Additional header, `name: value`; may be repeated
    #[arg(long)]
    header: Vec<String>,
}

impl Target {
    fn request(&self) -> Result<Request, AnyError> {
        let body = std::fs::read(&self.body).map_err(|error| format!("--body {}: {error}", self.body.display()))?;
        Ok(Request::post(self.address, &self.path, &self.header, &body))
    }
}

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if standard error is closed.
            let _ = writeln!(io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<(), AnyError> {
    match command {
        Command::Run(options) => run::run(&options),
        Command::Upstream { port, answer_bytes, chunks, chunk_gap_ms } => {
            let plan = upstream::Plan { answer_bytes, chunks, chunk_gap: Duration::from_millis(chunk_gap_ms) };
            Ok(runtime()?.block_on(upstream::run((Ipv4Addr::LOCALHOST, port).into(), plan))?)
        }
        Command::Closed { target, connections, requests, seconds, keys, words, first } => {
            let max_time = Duration::try_from_secs_f64(seconds)?;
            let plan = closed::Plan { connections, max_requests: requests, max_time };
            let keys = keys.map_or(Ok(Vec::new()), |file| keys::read(&file))?;
            let mut request = target.request()?;
            if words.is_some() {
                request = request.marked(MARK).ok_or_else(|| format!("--words: the body has no {MARK}"))?;
            }
            print(&runtime()?.block_on(closed::run(request, closed::Turns { keys, words, first }, plan))?)
        }
        Command::Open { target, rate, requests, connections } => {
            wake_exactly();
            print(&open::run(&target.request()?, open::Plan { rate, requests, connections })?)
        }
        Command::Streams { target, streams, repeat, ramp_ms, seconds } => {
            let (ramp, max_time) = (Duration::from_millis(ramp_ms), Duration::try_from_secs_f64(seconds)?);
            let plan = streams::Plan { streams, repeat, ramp, max_time };
            print(&runtime()?.block_on(streams::run(target.request()?, plan))?)
        }
    }
}

/// One thread: the generator shares its core with the upstream anyway.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Asks Linux not to round this process's sleeps (50 us by default). Threads inherit it; where it is not to be had, all
/// systems are measured with the same rounding.
fn wake_exactly() {
    let _ = std::fs::write("/proc/self/timerslack_ns", "1");
}

fn print(report: &impl Serialize) -> Result<(), AnyError> {
    writeln!(io::stdout(), "{}", serde_json::to_string(report)?)?;
    Ok(())
}
