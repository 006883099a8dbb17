//! What the rest of the program gets: checked, complete, ready to run.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gateway_core::access::{self, Rates, VirtualKey};
use gateway_core::dialect::ProviderDialect;
use gateway_core::secret::Secret;
use gateway_core::target::{Capabilities, Strategy};
use gateway_policy::resilience::{Backoff, BreakerSettings, ExtraSettings};
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue};
use indexmap::IndexMap;
use ipnet::IpNet;

use super::changes::Said;
pub use super::raw::{
    BUILT_IN, Cache, CacheMode, CacheScope, KeyLimits, KeyRates, LogFormat, LogLevel, OnUnsupported, OutputLimit, Price,
};
use crate::store::database::Location;

/// One whole configuration. Immutable; share it in an `Arc`.
#[derive(Debug)]
pub struct Config {
    pub server: Server,
    /// In the order of the file, then of the environment. Empty in sandbox mode: see [`Config::sandbox_providers`].
    pub providers: Vec<Provider>,
    pub aliases: Vec<Alias>,
    pub routing: Routing,
    pub timeouts: Timeouts,
    pub retry: Retry,
    pub circuit_breaker: BreakerSettings,
    /// Of callers that have none of their own. None: nobody is limited.
    pub limits: Option<Rates>,
    /// Those of the file.
    pub keys: Vec<Arc<VirtualKey>>,
    pub log: Log,
    /// Simulated providers, every answer marked.
    pub sandbox: bool,
    /// What was said, to compare with another configuration.
    pub said: Said,
    /// For the log: each a sentence that says where the matter is.
    pub warnings: Vec<String>,
    pub cache: Cache,
    pub storage: Storage,
}

#[derive(Debug)]
pub struct Server {
    pub host: IpAddr,
    /// 0 takes any free port.
    pub port: u16,
    pub reuse_port: bool,
    pub tls: Option<Tls>,
    pub trusted_proxies: Vec<IpNet>,
    pub body_limit_bytes: usize,
    pub max_concurrent_requests: usize,
    /// None: as many as the process can open files for.
    pub max_connections: Option<usize>,
    /// None: as much as the machine has.
    pub memory_limit_bytes: Option<u64>,
    pub drain_timeout: Duration,
    /// Serve callers without a key on an address that is not loopback. On loopback nobody needs one.
    pub allow_anonymous: bool,
    pub admin_key: Option<Secret>,
    pub admin_addr: Option<SocketAddr>,
    pub admin_hosts: Vec<String>,
}

impl Server {
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    /// Nothing off loopback is open to everyone by accident: such a gateway starts only if there are keys.
    pub fn wants_keys(&self) -> bool {
        !self.host.to_canonical().is_loopback() && !self.allow_anonymous
    }
}

/// The certificate and key of the two PEM files; without ALPN, which is the listener's to say.
#[derive(Debug, Clone)]
pub struct Tls {
    pub config: rustls::ServerConfig,
    /// Of the bytes of both files.
    pub digest: u64,
}

#[derive(Debug, Clone)]
pub struct Provider {
    pub name: String,
    pub display_name: String,
    /// The vendor under which the model table knows its models; None if it does not.
    pub model_table: Option<String>,
    pub dialect: ProviderDialect,
    pub base_url: BaseUrl,
    pub auth: Auth,
    /// Empty where `auth` is [`Auth::None`], or for a provider of the operator's own that needs no key.
    pub credentials: Vec<Credential>,
    /// Sent with every request, unless the client sent one of the same name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub paths: Paths,
    /// Names and values, both as they are before they are escaped.
    pub query: Vec<(String, String)>,
    /// As the operator listed them; empty for "ask the model table".
    pub models: Vec<String>,
    pub default_model: Option<String>,
    /// A bare model name that starts so belongs to this provider.
    pub model_prefixes: Vec<String>,
    pub capabilities: Capabilities,
    /// None: no limit.
    pub max_concurrent: Option<usize>,
    /// Of all credentials together.
    pub quota: Option<Rates>,
    /// None: it is not probed.
    pub probe_every: Option<Duration>,
    pub quirks: Quirks,
    /// Of every model of this provider, in place of the price table; US dollars per 1,000,000 tokens.
    pub price: Option<Price>,
}

impl Provider {
    /// The part of the model table whose names this provider's models have.
    pub fn listed_table(&self) -> Option<&str> {
        self.model_table.as_deref().filter(|_| !self.quirks.deployments)
    }

    /// Whether a bare model name belongs here, by the operator's list or the vendor's prefixes.
    pub fn serves(&self, model: &str) -> bool {
        self.lists(model) || self.model_prefixes.iter().any(|prefix| model.starts_with(prefix.as_str()))
    }

    pub fn lists(&self, model: &str) -> bool {
        self.models.iter().any(|listed| listed == model) || self.default_model.as_deref() == Some(model)
    }
}

/// `https://api.openai.com/v1` in parts. It never has a query, a fragment, a user name or a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    pub scheme: Scheme,
    pub authority: Authority,
    /// Empty, or `/v1`: begins with a slash and does not end in one.
    pub path: String,
}

impl BaseUrl {
    /// Reads an http or https URL; the error is what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("is not an http or https URL");
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::HTTP,
            "https" => Scheme::HTTPS,
            _ => return Err("is not an http or https URL"),
        };
        if rest.contains(['?', '#']) {
            return Err("has a query or a fragment");
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if authority.contains('@') {
            return Err("has a user name or password in it");
        }
        let authority: Authority = authority.parse().map_err(|_| "has no valid host and port")?;
        let has_port = authority.as_str().len() > authority.host().len();
        if authority.host().is_empty() || (has_port && authority.port_u16().is_none()) {
            return Err("has no valid host and port");
        }
        let path = path.trim_end_matches('/');
        if path.parse::<http::uri::PathAndQuery>().is_err() && !path.is_empty() {
            return Err("has a path with characters that a URL cannot have");
        }
        Ok(BaseUrl { scheme, authority, path: path.to_owned() })
    }

    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Without brackets for IPv6 addresses.
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }
}

impl std::fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

/// How a provider takes its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer KEY`
    Bearer,
    Header(HeaderName),
    None,
}

#[derive(Debug, Clone)]
pub struct Credential {
    /// For logs and metrics; unique in its provider.
    pub name: String,
    /// Visible ASCII: always a valid header value.
    pub key: Secret,
    pub weight: u32,
    pub quota: Option<Rates>,
}

/// Where a provider departs from its dialect; see [`super::raw::Quirks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirks {
    pub output_limit: OutputLimit,
    pub stream_options: bool,
    pub cache_control: bool,
    pub deployments: bool,
}

/// Relative to the base URL, each with a leading slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `{model}` in it stands for the model's name.
    pub chat: String,
    pub models: String,
}

#[derive(Debug, Clone)]
pub struct Alias {
    pub name: String,
    /// None: as `routing.strategy` or the request says.
    pub strategy: Option<Strategy>,
    /// At least one, at most [`gateway_core::limits::TARGETS_PER_PLAN`]; aliases within aliases are resolved.
    pub targets: Vec<AliasTarget>,
    /// Turns of a conversation stay where they were.
    pub affinity: bool,
    pub hedge: bool,
    pub on_context_overflow: Vec<AliasTarget>,
    pub on_content_filter: Vec<AliasTarget>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AliasTarget {
    /// Name of a configured provider.
    pub provider: String,
    /// Name by which the provider knows the model.
    pub model: String,
    pub weight: u32,
    /// The smallest first; numbered from 0 without gaps.
    pub priority: u32,
    /// Percent of the requests.
    pub canary: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
pub struct Routing {
    pub strategy: Strategy,
    pub on_unsupported: OnUnsupported,
}

#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    pub connect: Duration,
    /// The whole of an answer that is not streamed, all attempts included.
    pub request: Duration,
    pub first_content: Duration,
    pub first_content_reasoning: Duration,
    pub stream_idle: Duration,
    pub stream_silent: Duration,
    pub stream_total: Duration,
    pub client_stall: Duration,
}

#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Of one request, over all targets; at least 1.
    pub max_attempts: u32,
    /// Before the same target is asked again.
    pub backoff: Backoff,
    /// What retries and hedges may cost.
    pub extra: ExtraSettings,
}

#[derive(Debug, Clone, Default)]
pub struct Storage {
    pub redis_url: Option<Secret>,
    /// Of the keys that are not in the file. None: there are no others.
    pub database: Option<Location>,
}

#[derive(Debug, Clone, Copy)]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
}

impl From<KeyRates> for Rates {
    fn from(rates: KeyRates) -> Rates {
        Rates {
            requests_per_minute: rates.requests_per_minute,
            tokens_per_minute: rates.tokens_per_minute,
            concurrent: rates.concurrent,
            burst_percent: rates.burst_percent,
        }
    }
}

impl KeyLimits {
    pub fn all(&self) -> KeyRates {
        KeyRates {
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            concurrent: self.concurrent,
            burst_percent: self.burst_percent,
        }
    }
}

impl From<&KeyLimits> for access::Limits {
    fn from(limits: &KeyLimits) -> access::Limits {
        let each = |by_name: &IndexMap<String, KeyRates>| {
            by_name.iter().map(|(name, rates)| (name.clone(), Rates::from(*rates))).collect()
        };
        access::Limits { all: limits.all().into(), models: each(&limits.models), providers: each(&limits.providers) }
    }
}
