//! From what was said to what runs: everything that the shape alone cannot tell.

mod alias;
mod provider;
mod server;

use gateway_policy::resilience::{Backoff, BreakerSettings, ExtraSettings};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use gateway_core::access::Rates;
use gateway_core::secret::Secret;

use super::changes::Said;
use super::environment::Environment;
use super::problem::{Problem, Report, path_text, suggest};
use super::raw;
use super::runtime::{Alias, Config, Log, LogFormat, Provider, Retry, Routing, Server, Storage, Timeouts};
use super::tree::Node;
use super::vendors::{self, Vendor};

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
    /// Whether this version asks callers for the keys in the file.
    pub keys_in_effect: bool,
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
    checker.keys(&file.keys, &aliases, &names);
    checker.storage(&file.storage);
    checker.exposure(&server, &file.keys);
    let sandbox = checker.sandbox(&server, &providers, &file.storage);

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
        keys: file.keys.clone(),
        cache: file.cache.clone(),
        storage: Storage {
            redis_url: secret(&file.storage.redis_url),
            database_url: secret(&file.storage.database_url),
        },
    }
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
        if !self.report.is_refused(path) {
            let message = format!("{}: {message}", path_text(path));
            self.report.problem(Problem::new(self.situation.tree.origin(path), message).hint(hint));
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

    fn keys(&mut self, keys: &[raw::Key], aliases: &[Alias], providers: &[String]) {
        let mut first: HashMap<(&str, &str), usize> = HashMap::new();
        for (index, key) in keys.iter().enumerate() {
            let item = index.to_string();
            let at = |field| ["keys", item.as_str(), field];
            let digest = key.hash.strip_prefix("sha256:").unwrap_or_default();
            if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let hint = "`printf %s KEY | sha256sum` prints them";
                self.problem(&at("hash"), "is not `sha256:` and 64 hexadecimal digits", hint);
            }
            for (field, value) in [("name", &key.name), ("hash", &key.hash)] {
                if let Some(first) = first.insert((field, value), index) {
                    let message = format!("is the same as keys[{first}].{field}");
                    self.problem(&at(field), &message, "give each key its own");
                }
            }
            for (number, model) in key.models.iter().flatten().enumerate() {
                let provider = model.split_once('/').map(|(provider, _)| provider);
                let known = aliases.iter().any(|alias| alias.name == *model)
                    || provider.is_some_and(|name| providers.iter().any(|provider| provider == name));
                if !known && !self.situation.sandbox {
                    let names: Vec<&str> = aliases.iter().map(|alias| alias.name.as_str()).collect();
                    let message = format!("{model:?} is neither an alias nor provider/model");
                    self.problem(&["keys", &item, "models", &number.to_string()], &message, suggest(model, &names));
                }
            }
        }
    }

    fn storage(&mut self, storage: &raw::Storage) {
        let mut url = |field, url: &Option<raw::Hidden>, schemes: &[&str]| {
            let fits = |url: &raw::Hidden| schemes.iter().any(|scheme| url.0.expose().starts_with(scheme));
            if url.as_ref().is_some_and(|url| !fits(url)) {
                let hint = format!("it begins with {}", schemes.join(" or "));
                self.problem(&["storage", field], "is not the URL of a store that the gateway knows", hint);
            }
        };
        url("redis_url", &storage.redis_url, &["redis://", "rediss://"]);
        url("database_url", &storage.database_url, &["sqlite://", "postgres://", "postgresql://"]);
    }

    /// Nothing off loopback is open to everyone by accident.
    fn exposure(&mut self, server: &Server, keys: &[raw::Key]) {
        let guarded = self.situation.keys_in_effect && !keys.is_empty();
        if server.host.to_canonical().is_loopback() || server.allow_anonymous || guarded {
            return;
        }
        let hint = match self.situation.keys_in_effect {
            true => {
                "make a key with `llm-gateway keys create`, or set GATEWAY_ALLOW_ANONYMOUS=true if only your own can reach it"
            }
            false => {
                "this version does not check keys yet: set GATEWAY_ALLOW_ANONYMOUS=true if only your own can reach it, or listen on 127.0.0.1"
            }
        };
        let message = format!("{} is not loopback, and callers would need no key", server.host);
        self.problem(&["server", "host"], &message, hint);
    }

    /// Simulated providers answer only where nothing is configured at all, or where they were asked for.
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
