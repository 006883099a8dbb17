//! Environment variables: each is another way to say a key of the file. Type, default and meaning are those of the key.

use super::environment::{Reported, Variables};
use super::problem::{Origin, Report, nearest};
use super::tree::{Node, Value};
use super::vendors::Vendor;

pub struct Row {
    pub name: &'static str,
    pub path: &'static [&'static str],
}

const fn row(name: &'static str, path: &'static [&'static str]) -> Row {
    Row { name, path }
}

pub const ROWS: &[Row] = &[
    row("HOST", &["server", "host"]),
    row("PORT", &["server", "port"]),
    row("DRAIN_TIMEOUT", &["server", "drain_timeout_seconds"]),
    row("GATEWAY_ALLOW_ANONYMOUS", &["server", "allow_anonymous"]),
    row("GATEWAY_ADMIN_KEY", &["server", "admin_key"]),
    row("GATEWAY_ADMIN_ADDR", &["server", "admin_addr"]),
    row("DEFAULT_ROUTING_STRATEGY", &["routing", "strategy"]),
    row("CONNECT_TIMEOUT", &["timeouts", "connect_seconds"]),
    row("REQUEST_TIMEOUT", &["timeouts", "request_seconds"]),
    row("RETRY_MAX_ATTEMPTS", &["retry", "max_attempts"]),
    row("RETRY_BASE_DELAY", &["retry", "base_delay_seconds"]),
    row("RETRY_MAX_DELAY", &["retry", "max_delay_seconds"]),
    row("RETRY_EXPONENTIAL_BASE", &["retry", "exponential_base"]),
    row("CIRCUIT_BREAKER_FAILURE_THRESHOLD", &["circuit_breaker", "failure_threshold"]),
    row("CIRCUIT_BREAKER_RECOVERY_TIMEOUT", &["circuit_breaker", "recovery_timeout_seconds"]),
    row("CIRCUIT_BREAKER_HALF_OPEN_REQUESTS", &["circuit_breaker", "half_open_requests"]),
    row("RATE_LIMIT_ENABLED", &["limits", "enabled"]),
    row("RATE_LIMIT_REQUESTS_PER_MINUTE", &["limits", "requests_per_minute"]),
    row("RATE_LIMIT_TOKENS_PER_MINUTE", &["limits", "tokens_per_minute"]),
    row("CACHE_ENABLED", &["cache", "enabled"]),
    row("CACHE_SIMILARITY_THRESHOLD", &["cache", "threshold"]),
    row("CACHE_TTL_SECONDS", &["cache", "ttl_seconds"]),
    row("CACHE_EMBEDDING_MODEL", &["cache", "embedding_model"]),
    row("REDIS_URL", &["storage", "redis_url"]),
    row("DATABASE_URL", &["storage", "database_url"]),
    row("LOG_LEVEL", &["log", "level"]),
    row("LOG_FORMAT", &["log", "format"]),
];

/// Names that other programs use for the same thing.
const FOREIGN: &[(&str, &str)] =
    &[("OPENAI_API_BASE", "OPENAI_BASE_URL"), ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL")];

/// Lays the variables over the tree.
pub fn overlay(tree: &mut Node, variables: &Variables<'_>, vendors: &[Vendor], report: &mut Report) {
    for row in ROWS {
        set(tree, row.path, row.name, variables, report);
    }
    for vendor in vendors {
        overlay_vendor(tree, vendor, vendors, variables, report);
    }
}

fn set(tree: &mut Node, path: &[&str], name: &str, variables: &Variables<'_>, report: &mut Report) {
    match variables.get(name, report) {
        Ok(Some(found)) => tree.set(path, Value::Loose(found.value), &found.origin),
        Ok(None) => {}
        Err(Reported) => tree.set(path, Value::Missing, &Origin::Variable(name.to_owned())),
    }
}

/// A vendor is on when the file names it or its key variable is set. A variable that the file puts somewhere itself switches
/// nothing on, and of vendors with the same variable only those that are named are, or else the first.
fn overlay_vendor(
    tree: &mut Node,
    vendor: &Vendor,
    vendors: &[Vendor],
    variables: &Variables<'_>,
    report: &mut Report,
) {
    let at = |field| ["providers", vendor.name.as_str(), field];
    let is_named = |vendor: &Vendor| tree.get(&["providers", &vendor.name]).is_some();
    if !is_named(vendor) {
        let key = vendor.key_variable.as_deref().filter(|key| !variables.was_asked(key));
        let other_is_named = vendors.iter().any(|other| other.shares_key_with(vendor) && is_named(other));
        if other_is_named || !key.is_some_and(|key| variables.is_set(key)) {
            if let Some(key) = key.filter(|_| !other_is_named) {
                for (name, _) in vendor.settings().filter(|(name, _)| variables.is_set(name)) {
                    report.warn(format!("{name} is set, but {key} is not: the provider `{}` is off", vendor.name));
                }
            }
            vendor.variables().for_each(|name| variables.expect(name));
            return;
        }
    }
    if let Some(key) = &vendor.key_variable {
        // The keys that a file lists belong together, with their names and weights: a variable does not take their place.
        if tree.get(&at("credentials")).is_none() {
            set(tree, &at("api_key"), key, variables, report);
        } else if variables.is_set(key) && !variables.was_asked(key) {
            variables.expect(key);
            report.warn(format!("{key} is set, but not used: providers.{}.credentials lists the keys", vendor.name));
        }
    }
    for (name, field) in vendor.settings() {
        set(tree, &at(field), name, variables, report);
    }
}

/// Warns of variables that nobody reads and that look like one that somebody would have.
pub fn warn_of_typing_errors(variables: &Variables<'_>, vendors: &[Vendor], report: &mut Report) {
    let known = known_names(vendors);
    for (name, origin) in variables.unasked() {
        let foreign = FOREIGN.iter().find(|(foreign, _)| *foreign == name).map(|(_, ours)| *ours);
        // Short names such as HOST have too many innocent neighbours.
        let near = || nearest(name, known.iter().map(String::as_str)).filter(|near| near.len() >= 8 && name.len() >= 8);
        if let Some(meant) = foreign.or_else(near) {
            report.warn(format!("{origin} is not read; did you mean {meant}?"));
        }
    }
}

fn known_names(vendors: &[Vendor]) -> Vec<String> {
    let own = ROWS.iter().map(|row| row.name);
    let vendors = vendors.iter().flat_map(Vendor::variables);
    own.chain(vendors).flat_map(|name| [name.to_owned(), format!("{name}_FILE")]).collect()
}
