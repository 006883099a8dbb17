//! From what was said to what runs: everything that the shape alone cannot tell.

mod alias;
mod keys;
mod provider;
mod server;

use gateway_policy::resilience::{Backoff, BreakerSettings, ExtraSettings};
use std::path::Path;
use std::time::Duration;

use gateway_core::access::Rates;
use gateway_core::dialect::ProviderDialect;
use gateway_core::secret::Secret;

use super::changes::Said;
use super::environment::Environment;
use super::problem::{Problem, Report, path_text, suggest};
use super::raw::{self, BUILT_IN};
use super::runtime::{Config, Log, LogFormat, Provider, Retry, Routing, Server, Storage, Timeouts};
use super::tree::Node;
use super::vendors::{self, Vendor};
use crate::providers::catalog::CHAT_COMPLETIONS;
use crate::store::database::{DEFAULT_URL, Location};

pub use provider::sandbox_providers;

/// What is known besides the values themselves.
pub struct Situation<'a> {
    pub environment: &'a dyn Environment,
    pub vendors: &'a [Vendor],
    /// Where every value was said.
    pub tree: &'a Node,
    /// `serve --sandbox`
    pub sandbox: bool,
    /// The folder of the configuration file, if there is one.
    pub folder: Option<&'a Path>,
}

/// Checks everything, fills in what the operator left out (in `file` too, so that it can be shown), and puts the parts
/// together. The result counts only if nothing was reported.
pub fn check(file: &mut raw::File, situation: &Situation<'_>, report: &mut Report) -> Config {
    let mut checker = Checker { situation, report };
    let server = checker.server(&file.server);
    let names: Vec<String> = file.providers.keys().cloned().collect();
    let providers: Vec<Provider> =
        file.providers.iter_mut().filter_map(|(name, provider)| checker.provider(name, provider)).collect();
    let aliases = checker.aliases(&file.aliases, &providers, &names);
    checker.retry(&file.retry);
    let keys = checker.keys(&file.keys, &file.teams, &aliases, &names);
    let storage = checker.storage(&file.storage);
    let sandbox = checker.sandbox(&server, &providers, &file.storage);
    checker.embedding_model(&file.cache.embedding_model, &providers, &names);

    let seconds = Duration::from_secs_f64;
    let timeouts = &file.timeouts;
    let format = *file.log.format.get_or_insert_with(|| match situation.environment.is_terminal() {
        true => LogFormat::Text,
        false => LogFormat::Json,
    });
    Config {
        server,
        providers,
        aliases,
        routing: Routing { strategy: file.routing.strategy, on_unsupported: file.routing.on_unsupported },
        timeouts: Timeouts {
            connect: seconds(timeouts.connect_seconds),
            request: seconds(timeouts.request_seconds),
            first_content: seconds(timeouts.first_content_seconds),
            first_content_reasoning: seconds(timeouts.first_content_reasoning_seconds),
            stream_idle: seconds(timeouts.stream_idle_seconds),
            stream_silent: seconds(timeouts.stream_silent_seconds),
            stream_total: seconds(timeouts.stream_total_seconds),
            client_stall: seconds(timeouts.client_stall_seconds),
        },
        retry: Retry {
            max_attempts: file.retry.max_attempts,
            backoff: Backoff {
                base: seconds(file.retry.base_delay_seconds),
                max: seconds(file.retry.max_delay_seconds),
                exponential_base: file.retry.exponential_base,
            },
            extra: ExtraSettings {
                share: file.retry.extra_cost_percent / 100.0,
                hedge_share: file.retry.hedge_cost_percent / 100.0,
                ..ExtraSettings::default()
            },
        },
        log: Log { format, level: file.log.level },
        sandbox,
        said: Said::default(),
        warnings: Vec::new(),
        circuit_breaker: BreakerSettings {
            failure_threshold: file.circuit_breaker.failure_threshold,
            recovery_timeout: seconds(file.circuit_breaker.recovery_timeout_seconds),
            half_open_requests: file.circuit_breaker.half_open_requests,
            probe_lease: seconds(file.timeouts.first_content_seconds),
            // By the ratio alone, three random failures in ten attempts would open a circuit about once a day.
            ratio_failures: file.circuit_breaker.failure_threshold,
        },
        limits: file.limits.enabled.then(|| rates(&file.limits)),
        keys,
        cache: file.cache.clone(),
        storage,
    }
}

/// Where the keys are that are not in the file, of the storage alone.
pub fn database(storage: &raw::Storage, situation: &Situation<'_>, report: &mut Report) -> Option<Location> {
    Checker { situation, report }.database(storage)
}

/// A number that the schema has bounded.
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn rates(limits: &raw::Limits) -> Rates {
    Rates {
        requests_per_minute: Some(limits.requests_per_minute),
        tokens_per_minute: Some(limits.tokens_per_minute),
        concurrent: limits.concurrent,
        burst_percent: Some(limits.burst_percent),
    }
}

fn secret(hidden: &Option<raw::Hidden>) -> Option<Secret> {
    hidden.as_ref().map(|hidden| hidden.0.clone())
}

struct Checker<'a, 'r> {
    situation: &'a Situation<'a>,
    report: &'r mut Report,
}

impl Checker<'_, '_> {
    /// Reports a problem with what was said at `path`, unless that was refused already.
    fn problem(&mut self, path: &[&str], message: &str, hint: impl Into<String>) {
        self.report_at(path, message, |problem| problem.hint(hint));
    }

    /// Where the message says what would be right.
    fn plain_problem(&mut self, path: &[&str], message: &str) {
        self.report_at(path, message, |problem| problem);
    }

    fn report_at(&mut self, path: &[&str], message: &str, finish: impl FnOnce(Problem) -> Problem) {
        if !self.report.is_refused(path) {
            let message = format!("{}: {message}", path_text(path));
            self.report.problem(finish(Problem::new(self.situation.tree.origin(path), message)));
        }
    }

    fn warn(&mut self, path: &[&str], message: &str) {
        let origin = self.situation.tree.origin(path);
        self.report.warn(format!("{origin}: {}: {message}", path_text(path)));
    }

    fn retry(&mut self, retry: &raw::Retry) {
        if retry.max_delay_seconds < retry.base_delay_seconds {
            let hint = "the longest wait cannot be shorter than the first";
            self.problem(&["retry", "max_delay_seconds"], "is less than retry.base_delay_seconds", hint);
        }
    }

    fn storage(&mut self, storage: &raw::Storage) -> Storage {
        let redis_url = secret(&storage.redis_url);
        if redis_url
            .as_ref()
            .is_some_and(|url| !["redis://", "rediss://"].iter().any(|scheme| url.expose().starts_with(scheme)))
        {
            let hint = "it begins with redis:// or rediss://";
            self.problem(&["storage", "redis_url"], "is not the URL of a store that the gateway knows", hint);
        }
        let database = self.database(storage);
        match &database {
            None if redis_url.is_some() => self.warn(
                &["storage", "redis_url"],
                "is set and `database_url` is not, so that there are no keys but those of this file: gateways that share a Redis are to share their keys, in PostgreSQL",
            ),
            Some(database) if redis_url.is_some() && !database.is_shared() => self.warn(
                &["storage", "database_url"],
                "is a file of this machine: gateways on other machines that use the same Redis do not have its keys",
            ),
            _ => {}
        }
        Storage { redis_url, database }
    }

    /// Where the keys are that are not in the file.
    fn database(&mut self, storage: &raw::Storage) -> Option<Location> {
        let url = match (secret(&storage.database_url), &storage.redis_url) {
            (Some(url), _) => url,
            (None, None) => Secret::new(DEFAULT_URL),
            (None, Some(_)) => return None,
        };
        let path = ["storage", "database_url"];
        if !["sqlite://", "postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme)) {
            let hint = "it begins with sqlite:// or postgres:// or postgresql://";
            self.problem(&path, "is not the URL of a store that the gateway knows", hint);
            return None;
        }
        let location = Location::parse(&url);
        location.map_err(|hint| self.problem(&path, "cannot be understood", hint)).ok()
    }

    /// Simulated providers answer only where nothing is configured at all, or where they were asked for.
    /// Of the cache: the built-in one, or that of a provider that can be asked.
    fn embedding_model(&mut self, name: &str, providers: &[Provider], names: &[String]) {
        let path = ["cache", "embedding_model"];
        if name == BUILT_IN || providers.is_empty() {
            return;
        }
        let split = name.split_once('/').filter(|(_, model)| !model.is_empty());
        let Some((provider, _)) = split else {
            return self.problem(&path, "is no model", format!("write `{BUILT_IN}`, or provider/model"));
        };
        let Some(provider) = providers.iter().find(|there| there.name == provider) else {
            // One that was refused is reported where it is written.
            if !names.iter().any(|name| name == provider) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let message = format!("{provider:?} is not a configured provider");
                self.problem(&path, &message, suggest(provider, &names));
            }
            return;
        };
        if provider.dialect != ProviderDialect::OpenAiChat || !provider.paths.chat.ends_with(CHAT_COMPLETIONS) {
            let message = format!("{} does not speak OpenAI's API, of which embeddings are a part", provider.name);
            self.problem(&path, &message, "name a model of a provider that does");
        }
    }

    fn sandbox(&mut self, server: &Server, providers: &[Provider], storage: &raw::Storage) -> bool {
        let nothing_said = self.situation.folder.is_none()
            && self.situation.tree.get(&["providers"]).is_none()
            && storage.redis_url.is_none()
            && storage.database_url.is_none()
            && server.host.to_canonical().is_loopback();
        let sandbox = self.situation.sandbox || nothing_said;
        let some_named =
            self.situation.tree.get(&["providers"]).is_some_and(|node| node.to_json() != serde_json::json!({}));
        if !sandbox && providers.is_empty() && !some_named {
            let variables: Vec<&str> =
                vendors::makers(self.situation.vendors).filter_map(|vendor| vendor.key_variable.as_deref()).collect();
            let hint = format!(
                "set {} or the key of another vendor, or name a provider in gateway.yaml; `llm-gateway serve --sandbox` answers from simulated ones",
                variables.join(" or ")
            );
            self.problem(&["providers"], "there is none", hint);
        }
        sandbox
    }
}

fn is_visible_ascii(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_model_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 256 && !name.chars().any(|c| c.is_whitespace() || c.is_control())
}
