//! The figures of docs/reliability.md: each is measured against the running program, and printed beside its goal.

mod attackers;
mod availability;
mod overload;
mod process;
mod streams;

use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;

use clap::ValueEnum;
use simulator::{Config, Simulator};

use crate::AnyError;
use crate::process::Gateway;
use crate::world::Api;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Figure {
    what: String,
    goal: &'static str,
    value: String,
    /// `None`: not measured.
    met: Option<bool>,
}

impl Figure {
    fn new(what: impl Into<String>, goal: &'static str, value: impl Into<String>, met: bool) -> Self {
        Self { what: what.into(), goal, value: value.into(), met: Some(met) }
    }

    fn missing(what: impl Into<String>, goal: &'static str, why: impl fmt::Display) -> Self {
        Self { what: what.into(), goal, value: format!("not measured: {why}"), met: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// One of two providers dies.
    Dead,
    /// All providers fail; and hardly any does.
    Amplification,
    /// The time that a failed attempt costs.
    Failover,
    /// A provider that fails fast, beside one that works.
    Share,
    /// A provider that comes back.
    Recovery,
    /// A client that leaves.
    Cancel,
    /// Ten thousand streams that say nothing.
    Idle,
    /// The end of the program with a thousand streams.
    Drain,
    /// Ten times what can be served.
    Overload,
    /// Thousands of clients that send next to nothing.
    Slowloris,
    /// One process after the other at the same address.
    Restarts,
    /// New configurations under load.
    Reload,
    /// The process is killed.
    Kill,
    /// The clock on the wall jumps.
    Clock,
    /// A limit of memory from outside.
    Memory,
}

type Measured<'a> = Pin<Box<dyn Future<Output = Result<Vec<Figure>, AnyError>> + 'a>>;

impl Name {
    fn measure(self, program: &Path) -> Measured<'_> {
        match self {
            Name::Dead => Box::pin(availability::dead(program)),
            Name::Amplification => Box::pin(availability::amplification(program)),
            Name::Failover => Box::pin(availability::failover(program)),
            Name::Share => Box::pin(availability::share(program)),
            Name::Recovery => Box::pin(availability::recovery(program)),
            Name::Cancel => Box::pin(streams::cancel(program)),
            Name::Idle => Box::pin(streams::idle(program)),
            Name::Drain => Box::pin(streams::drain(program)),
            Name::Overload => Box::pin(overload::overload(program)),
            Name::Slowloris => Box::pin(attackers::slowloris(program)),
            Name::Restarts => Box::pin(process::restarts(program)),
            Name::Reload => Box::pin(process::reload(program)),
            Name::Kill => Box::pin(process::kill(program)),
            Name::Clock => Box::pin(process::clock(program)),
            Name::Memory => Box::pin(process::memory(program)),
        }
    }
}

/// Prints a table in Markdown, row by row. True if every figure was measured and met its goal.
pub(crate) async fn run(program: &Path, only: &[Name]) -> Result<bool, AnyError> {
    let all = Name::value_variants();
    let mut good = true;
    writeln!(io::stdout(), "| figure | goal | measured | | command |\n|---|---|---|---|---|")?;
    for name in all.iter().filter(|name| only.is_empty() || only.contains(name)) {
        let command = name.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        for Figure { what, goal, value, met } in name.measure(program).await? {
            let verdict = match met {
                Some(true) => "met",
                Some(false) => "missed",
                None => "",
            };
            good &= met == Some(true);
            writeln!(io::stdout(), "| {what} | {goal} | {value} | {verdict} | `faults figures {command}` |")?;
        }
    }
    Ok(good)
}

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn simulator(config: Config) -> Result<Simulator, AnyError> {
    Ok(Simulator::start(Config { created: Some(1_767_225_600), ledger_entries: 1_000_000, ..config }, local()).await?)
}

/// A gateway with these providers of OpenAI's API, and more lines of configuration. Its settings are the default ones.
async fn gateway(program: &Path, providers: &[(&str, SocketAddr)], more: &str) -> Result<Gateway, AnyError> {
    Gateway::start(program, &configuration(providers, more), &[]).await
}

fn configuration(providers: &[(&str, SocketAddr)], more: &str) -> String {
    let rows: String = providers.iter().map(|(name, address)| Api::OpenAi.provider(name, *address)).collect();
    // Rate limits and caches would answer instead of what is measured.
    format!("limits: {{enabled: false}}\ncache: {{enabled: false}}\nproviders:\n{rows}{more}")
}

fn percent(part: usize, of: usize) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
