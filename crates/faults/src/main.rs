//! What the gateway does when everything around it fails: a marathon of faults, reconciled request by request, and the
//! figures of docs/reliability.md. Loopback only.

mod dialect;
mod figures;
mod http;
mod kinds;
mod load;
mod marathon;
mod process;
mod reconcile;
mod swarm;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(about)]
struct Options {
    /// The program under test; the one beside this program unless told otherwise.
    #[arg(long, global = true)]
    gateway: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Many requests with a fault for each of them; exit code 1 if anything is violated.
    Marathon {
        #[arg(long, default_value_t = 100_000)]
        requests: u64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Requests at once.
        #[arg(long, default_value_t = 48)]
        concurrency: usize,
        /// Number of the first request: with `--requests 1`, one request of a run alone.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Do not wait for idle connections to be closed.
        #[arg(long)]
        short: bool,
    },
    /// Measures what docs/reliability.md says, and prints it as a table.
    Figures {
        /// These alone.
        only: Vec<figures::Name>,
    },
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "faults: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: Options) -> Result<bool, AnyError> {
    let gateway = match options.gateway {
        Some(gateway) => gateway,
        None => std::env::current_exe()?.with_file_name("llm-gateway"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match options.command {
        Command::Marathon { requests, seed, concurrency, first, short } => {
            let size = marathon::Size { requests, concurrency, seed, first, long: !short };
            runtime.block_on(marathon::run(&gateway, size))
        }
        Command::Figures { only } => runtime.block_on(figures::run(&gateway, &only)),
    }
}
