//! A gateway with simulated providers, and its configuration.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use simulator::{Config, LedgerEntry, Simulator};

use crate::AnyError;
use crate::kinds::{KINDS, Kind, Upstream};
use crate::process::Gateway;

pub(crate) const OPENAI_KEY: &str = "sk-canary-key-openai-5fT3q";
pub(crate) const ANTHROPIC_KEY: &str = "sk-ant-canary-key-9wZ1x";
/// Part of every prompt and so of every answer.
pub(crate) const PROMPT_CANARY: &str = "canary-prompt-7Qx";
/// What must never be found in the log.
pub(crate) const CANARIES: &[&str] = &["canary-key", PROMPT_CANARY];

/// Which API a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    OpenAi,
    Anthropic,
}

impl Api {
    pub(crate) const ALL: [Api; 2] = [Api::OpenAi, Api::Anthropic];

    fn letter(self) -> char {
        match self {
            Api::OpenAi => 'o',
            Api::Anthropic => 'a',
        }
    }

    /// A provider's row in the configuration.
    pub(crate) fn provider(self, name: &str, address: SocketAddr) -> String {
        let (dialect, path, key) = match self {
            Api::OpenAi => ("openai_chat", "/v1", OPENAI_KEY),
            Api::Anthropic => ("anthropic_messages", "", ANTHROPIC_KEY),
        };
        let price = "price: {input: 1, output: 5}";
        format!("  {name}: {{dialect: {dialect}, base_url: 'http://{address}{path}', api_key: {key}, {price}}}\n")
    }
}

/// Which targets a request has: one, or one and then another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) first: Api,
    pub(crate) second: Option<Api>,
}

impl Route {
    pub(crate) fn all() -> impl Iterator<Item = Route> {
        let seconds = [None, Some(Api::OpenAi), Some(Api::Anthropic)];
        Api::ALL.into_iter().flat_map(move |first| seconds.map(|second| Route { first, second }))
    }

    /// The name of the provider that is asked first.
    pub(crate) fn provider(self, kind: &Kind, replica: usize) -> String {
        format!("{}-{}{replica}", kind.slug(), self.first.letter())
    }

    pub(crate) fn alias(self, kind: &Kind, replica: usize) -> String {
        let second = self.second.map_or('x', Api::letter);
        format!("{}-then-{second}", self.provider(kind, replica))
    }
}

/// What one arrival at a provider was.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) received: Instant,
    pub(crate) entry: LedgerEntry,
}

/// Providers of every kind: the gateway soon leaves alone what fails, and there are faults enough only if it does not know
/// each of them yet.
pub(crate) const REPLICAS: usize = 4;

/// The providers of the marathon: those where faults are, and the one that is well.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    /// All faulty providers are at one of them, and move to the other from round to round: what was learned about a
    /// provider is forgotten when it moves.
    faulty: [Simulator; 2],
    healthy: Simulator,
    moves: usize,
}

impl World {
    pub(crate) async fn start(program: &Path, seed: u64) -> Result<Self, AnyError> {
        let config = Config { seed, created: Some(1_767_225_600), ledger_entries: 1_000_000, ..Config::default() };
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let faulty = [Simulator::start(config.clone(), local).await?, Simulator::start(config.clone(), local).await?];
        let healthy = Simulator::start(config, local).await?;
        let gateway = Gateway::start(program, &configuration(faulty[0].addr(), healthy.addr())?, CANARIES).await?;
        Ok(Self { gateway, faulty, healthy, moves: 0 })
    }

    /// Moves the faulty providers, while the gateway runs.
    pub(crate) async fn forget(&mut self) -> Result<(), AnyError> {
        self.moves += 1;
        let faulty = &self.faulty[self.moves % self.faulty.len()];
        self.gateway.reload(&configuration(faulty.addr(), self.healthy.addr())?).await
    }

    fn simulators(&self) -> impl Iterator<Item = &Simulator> {
        self.faulty.iter().chain([&self.healthy])
    }

    /// All that has arrived since they were taken last, in order.
    pub(crate) fn take_arrivals(&self) -> Vec<Arrival> {
        let mut arrivals: Vec<Arrival> = Vec::new();
        for simulator in self.simulators() {
            let started = simulator.started();
            let entries = simulator.take_ledger().into_iter();
            arrivals.extend(entries.map(|entry| Arrival { received: started + entry.received, entry }));
        }
        arrivals.sort_by_key(|arrival| arrival.received);
        arrivals
    }

    /// Requests that a provider is still answering.
    pub(crate) fn open_arrivals(&self) -> usize {
        self.simulators().map(Simulator::open).sum()
    }

    pub(crate) async fn idle(&self, patience: Duration) -> Result<bool, AnyError> {
        let began = Instant::now();
        let idle = self.gateway.idle(patience).await?;
        while self.open_arrivals() > 0 && began.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(idle && self.open_arrivals() == 0)
    }
}

/// An address where nobody listens.
pub(crate) fn closed_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Waits are short, so that faults that take time take little. Every kind has providers of its own: what is learned about
/// one is no reason to avoid another.
fn configuration(faulty: SocketAddr, healthy: SocketAddr) -> Result<String, AnyError> {
    let closed = closed_address()?;
    let mut yaml = "server: {body_limit_mib: 1}\n\
                    retry: {base_delay_seconds: 0.005, max_delay_seconds: 0.01}\n\
                    timeouts: {request_seconds: 2, first_content_seconds: 1.2, first_content_reasoning_seconds: 1.2, \
                    stream_idle_seconds: 1, stream_silent_seconds: 1.4, connect_seconds: 1}\n\
                    limits: {enabled: false}\ncache: {enabled: false}\nproviders:\n"
        .to_owned();
    for api in Api::ALL {
        yaml += &api.provider(&format!("well-{}", api.letter()), healthy);
    }
    let rows = || KINDS.iter().flat_map(|kind| (0..REPLICAS).map(move |replica| (kind, replica)));
    for (kind, replica) in rows() {
        let address = if kind.upstream == Upstream::Closed { closed } else { faulty };
        for first in Api::ALL {
            yaml += &first.provider(&Route { first, second: None }.provider(kind, replica), address);
        }
    }
    yaml += "aliases:\n";
    for (kind, replica) in rows() {
        let model = match kind.upstream {
            Upstream::Simulator("") | Upstream::Closed => "sim".to_owned(),
            Upstream::Simulator(fault) => format!("sim+fault:{fault}"),
        };
        for route in Route::all() {
            let first = format!("'{}/{model}'", route.provider(kind, replica));
            let second = route.second.map(|second| format!(", well-{}/sim", second.letter())).unwrap_or_default();
            writeln!(yaml, "  {}: {{strategy: fallback, targets: [{first}{second}]}}", route.alias(kind, replica))?;
        }
    }
    Ok(yaml)
}
