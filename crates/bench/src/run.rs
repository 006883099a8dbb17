//! `bench run`: the one command that measures and prints the table.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::AnyError;
use crate::measure::{Bench, LATENCY_RATE, Part, Size};
use crate::process::open_files_limit;
use crate::systems::{CHUNKS, Cores, GATEWAY_SETTINGS, Programs};
use crate::table::{Line, lines, render};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The gateway's release binary
    #[arg(long, default_value = "target/release/llm-gateway")]
    gateway: PathBuf,
    #[arg(long, default_value = "/usr/sbin/nginx")]
    nginx: PathBuf,
    #[arg(long, default_value = "/usr/bin/redis-server")]
    redis: PathBuf,
    /// What to measure
    #[arg(long, value_enum, default_value_t = Part::All)]
    only: Part,
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

impl Options {
    fn size(&self) -> Size {
        // A proxy has two sockets for each stream, and some of its own.
        let idle_streams = (if self.full { 10_000 } else { 1_000 }).min(open_files_limit().saturating_sub(500) / 2);
        let size = if self.quick { Size::quick(idle_streams) } else { Size::whole(idle_streams) };
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

pub(crate) fn run(options: &Options) -> Result<(), AnyError> {
    let found = |program: &PathBuf| {
        let hint = "bench/run.sh builds and installs what is needed";
        fs::canonicalize(program).map_err(|error| format!("{}: {error}; {hint}", program.display()))
    };
    let programs = Programs {
        gateway: found(&options.gateway)?,
        nginx: found(&options.nginx)?,
        // As it is named: where its name is a link, the program behind it goes by that name.
        redis: options.redis.exists().then(|| std::path::absolute(&options.redis)).transpose()?,
        bench: std::env::current_exe()?,
    };
    if let Some(directory) = options.json.parent() {
        fs::create_dir_all(directory)?;
    }
    let (size, cores, directory) = (options.size(), Cores::of_this_machine()?, tempfile::tempdir()?);
    let conditions = conditions(size, &cores);
    let mut bench = Bench::new(size, cores, programs, directory.path())?;
    let rounds = bench.rounds(options.only)?;
    let lines = lines(&rounds, bench.quiet());
    let notes = bench.notes();

    let mut out = io::stdout().lock();
    writeln!(out, "{conditions}\n{}", render(&lines))?;
    for note in &notes {
        writeln!(out, "- {note}")?;
    }
    fs::write(&options.json, serde_json::to_vec_pretty(&Results { size, lines: &lines, notes: &notes })?)?;
    Ok(())
}

fn conditions(size: Size, cores: &Cores) -> String {
    let Size { rounds, closed_seconds, connections, open_requests, streams, streams_repeat, idle_streams } = size;
    let settings: Vec<String> = GATEWAY_SETTINGS.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!(
        "Median and range of {rounds} interleaved rounds. Proxy on core {}, generator and upstream on {}. No TLS.\n\
         Requests: {connections} connections for {closed_seconds} s; latency: {open_requests} requests at {LATENCY_RATE}/s, open loop;\n\
         streams: {streams} at once, {streams_repeat} in turn, {CHUNKS} chunks every 20 ms; {idle_streams} idle streams.\n\
         Gateway: default settings except {}; providers from the environment, no keys and no cache but where a row says so.\n",
        cores.one,
        cores.load,
        settings.join(", "),
    )
}
