//! What every test needs: a gateway process, providers for it, a client for it.

pub(crate) mod client;
pub(crate) mod dialects;
pub(crate) mod gateway;
pub(crate) mod postgres;
pub(crate) mod upstream;

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use simulator::{Config, LedgerEntry, Simulator};

pub(crate) use client::{Answer, Connection, get, post};
pub(crate) use dialects::{Client, Path, Provider, paths};
pub(crate) use gateway::Gateway;

/// Fails a case without ending the others of its table.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!("{}: {}", stringify!($condition), format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// Cases that run at the same time: enough to hide their waits, few enough to leave each one its share of a small machine.
const AT_ONCE: usize = 24;

/// Requests that a gateway without any traffic asks the same target again for, at the same time.
const REPEATS_AT_ONCE: usize = 3;

/// Runs all cases and tells of every one that failed.
pub(crate) async fn all(cases: impl IntoIterator<Item = impl Future<Output = Result<(), String>>>) {
    run(cases, AT_ONCE).await;
}

/// The same for cases that depend on a second attempt at the same target.
pub(crate) async fn all_repeated(cases: impl IntoIterator<Item = impl Future<Output = Result<(), String>>>) {
    run(cases, REPEATS_AT_ONCE).await;
}

async fn run(cases: impl IntoIterator<Item = impl Future<Output = Result<(), String>>>, at_once: usize) {
    let cases = futures_util::stream::iter(cases.into_iter().map(Box::pin));
    let results: Vec<Result<(), String>> = cases.buffer_unordered(at_once).collect().await;
    assert!(!results.is_empty(), "a table without cases");
    let (count, failed): (usize, Vec<String>) = (results.len(), results.into_iter().filter_map(Result::err).collect());
    assert!(failed.is_empty(), "{} of {count} cases failed:\n{}", failed.len(), failed.join("\n"));
}

/// Asks every 5 ms until there is an answer; fails after `patience`.
pub(crate) async fn eventually<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < patience, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) const OPENAI_KEY: &str = "sk-canary-openai-5fT3q";
pub(crate) const ANTHROPIC_KEY: &str = "sk-ant-canary-9wZ1x";

/// A gateway whose providers `openai` and `anthropic` are one simulator.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) simulator: Simulator,
}

impl World {
    /// `more` is appended to a configuration with both providers and short waits between retries.
    pub(crate) async fn new(more: &str) -> World {
        World::with(more, Config { created: Some(1_767_225_600), ..Config::default() }).await
    }

    /// The same with `count` more providers of each kind, `openai-0` and so on: what one case does to its provider's health
    /// concerns no other case.
    pub(crate) async fn of_many(count: usize, more: &str) -> World {
        let simulator = Simulator::start(Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (start, addr) = (providers(&simulator), simulator.addr());
        let (providers, rest) = start.split_once("retry:").unwrap();
        let mut file = providers.to_owned();
        for n in 0..count {
            file += &format!(
                "  openai-{n}: {{vendor: openai, api_key: {OPENAI_KEY}, base_url: 'http://{addr}/v1'}}\n  anthropic-{n}: \
                 {{vendor: anthropic, api_key: {ANTHROPIC_KEY}, base_url: 'http://{addr}'}}\n"
            );
        }
        let gateway = Gateway::start(&format!("{file}retry:{rest}{more}")).await;
        World { gateway, simulator }
    }

    pub(crate) async fn with(more: &str, config: Config) -> World {
        let simulator = Simulator::start(config, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let gateway = Gateway::start(&format!("{}{more}", providers(&simulator))).await;
        World { gateway, simulator }
    }

    pub(crate) async fn ask(&self, client: Client, model: &str, prompt: &str, streamed: bool) -> Answer {
        self.ask_with(client, model, prompt, streamed, "").await
    }

    /// The same with more header lines.
    pub(crate) async fn ask_with(
        &self,
        client: Client,
        model: &str,
        prompt: &str,
        streamed: bool,
        headers: &str,
    ) -> Answer {
        let body = client.request(model, prompt, streamed).to_string();
        post(self.gateway.addr, client.path(), headers, body.as_bytes()).await
    }

    /// The upstream requests whose body contains `mark`.
    pub(crate) fn asked(&self, mark: &str) -> Vec<LedgerEntry> {
        let marked = |entry: &LedgerEntry| String::from_utf8_lossy(&entry.request).contains(mark);
        self.simulator.ledger().into_iter().filter(marked).collect()
    }
}

/// The beginning of a configuration file with both providers.
pub(crate) fn providers(simulator: &Simulator) -> String {
    let addr = simulator.addr();
    format!(
        "providers:\n  openai: {{api_key: {OPENAI_KEY}, base_url: 'http://{addr}/v1'}}\n  anthropic: {{api_key: \
         {ANTHROPIC_KEY}, base_url: 'http://{addr}'}}\nretry: {{base_delay_seconds: 0.02, max_delay_seconds: 0.02}}\n"
    )
}

/// A long answer, so that a stream of it has many events.
pub(crate) const STORY: &str = "Please tell me a long story";
