//! What an operator may say: the one truth for the shape of `gateway.yaml`.
//!
//! The JSON Schema, the documentation and the environment overlay all follow from these structs; a doc comment is the
//! description that editors show. `x-in-effect: false` marks what is read and checked but not acted upon by this
//! version; who builds it takes the mark away, here and in [`super::runtime`].

use std::fmt;

use gateway_core::dialect::ProviderDialect;
use gateway_core::limits;
use gateway_core::secret::Secret;
use gateway_core::target::{Capability, Strategy};
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Configuration of llm-gateway. Everything is optional.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// Where and how the gateway listens.
    pub server: Server,
    /// Providers by name, in the order in which they are tried. A known vendor needs only a key; any other name needs
    /// `dialect` and `base_url`.
    pub providers: IndexMap<String, Provider>,
    /// Model names of your own, each for one or more targets.
    pub aliases: IndexMap<String, Alias>,
    /// How a request finds its target.
    pub routing: Routing,
    /// How long the gateway waits for providers.
    pub timeouts: Timeouts,
    /// Retries and fallbacks.
    pub retry: Retry,
    /// When a failing provider is left alone.
    pub circuit_breaker: CircuitBreaker,
    /// Limits of every caller that has none of its own: a key, or without one an address with the user that it names. All users
    /// of one address may use ten times as much together.
    pub limits: Limits,
    /// Virtual keys of callers, besides those of the database. Where there is any key, callers need one.
    pub keys: Vec<Key>,
    /// Teams of the keys above, by name: their keys share limits.
    pub teams: IndexMap<String, Team>,
    /// Answers kept for equal and similar requests.
    pub cache: Cache,
    /// Where state is kept.
    pub storage: Storage,
    /// What is logged.
    pub log: Log,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// IP address to listen on, or `localhost`. On an address that is not loopback the gateway wants keys or
    /// `allow_anonymous`.
    #[schemars(length(min = 1))]
    pub host: String,
    /// TCP port; 0 takes any free one.
    pub port: u16,
    /// Let other processes of the same user listen at the same address: the next version starts before this one is stopped.
    pub reuse_port: bool,
    /// Serve HTTPS with this certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Networks (`10.0.0.0/8`) or addresses of proxies whose forwarded client addresses are believed.
    pub trusted_proxies: Vec<String>,
    /// Longest request body, in MiB.
    #[schemars(range(min = 1, max = 1024))]
    pub body_limit_mib: u64,
    /// Requests for answers that are served at a time; more wait for a second at most, and are refused with 503.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_concurrent_requests: u64,
    /// Open connections of clients; more wait to be accepted. Left out: half of the files that the process may open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: Option<u64>,
    /// Memory for requests and answers, in MiB; what does not fit is refused with 503. Left out: half of what the machine or
    /// the container has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 1_048_576))]
    pub memory_limit_mib: Option<u64>,
    /// Seconds that running requests are given to end after a signal to stop.
    #[schemars(range(min = 0, max = 86_400))]
    pub drain_timeout_seconds: f64,
    /// Serve callers without a key on an address that is not loopback.
    pub allow_anonymous: bool,
    /// Key of the admin API, 16 characters or more; without one there is no admin API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_key: Option<Hidden>,
    /// A listener of its own (`127.0.0.1:9000`) for the operator: `/admin` and `/metrics` are then there alone, and the admin
    /// key is good nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_addr: Option<String>,
    /// Names by which the admin API may be called (the `Host` header), besides `localhost` and addresses.
    pub admin_hosts: Vec<String>,
}

impl Default for Server {
    fn default() -> Self {
        Server {
            host: "127.0.0.1".into(),
            port: 8000,
            reuse_port: false,
            tls: None,
            trusted_proxies: Vec::new(),
            body_limit_mib: limits::REQUEST_BODY_MIB_DEFAULT,
            max_concurrent_requests: limits::CONCURRENT_REQUESTS_DEFAULT,
            max_connections: None,
            memory_limit_mib: None,
            drain_timeout_seconds: 30.0,
            allow_anonymous: false,
            admin_key: None,
            admin_addr: None,
            admin_hosts: Vec::new(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate chain; relative paths start at the configuration file.
    #[schemars(length(min = 1))]
    pub cert: String,
    /// PEM file with the private key.
    #[schemars(length(min = 1))]
    pub key: String,
}

/// An upstream. What is left out comes from the vendor's row, or from the dialect.
#[derive(Debug, Default, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Provider {
    /// Known vendor behind a provider of another name; left out, the provider's own name is looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub vendor: Option<String>,
    /// Name for people; the provider's name if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Wire format that the provider speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "dialect_schema")]
    pub dialect: Option<ProviderDialect>,
    /// http or https URL to which `paths` are appended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The key, usually as `${NAME}`. Leave it out for a provider that needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Hidden>,
    /// Several keys instead of one; they share the traffic by weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub credentials: Option<Vec<Credential>>,
    /// How the key is sent: `bearer`, `none` or `{header: NAME}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Paths of the provider's operations, relative to `base_url`.
    #[serde(skip_serializing_if = "Paths::is_empty")]
    pub paths: Paths,
    /// Query parameters that are sent with every request to this provider, as `api-version`.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub query: IndexMap<String, String>,
    /// Headers that are sent with every request to this provider.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, String>,
    /// Models to list, and to find by their bare names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// A bare model name that begins so belongs to this provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_prefixes: Option<Vec<String>>,
    /// Model for requests that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_model: Option<String>,
    /// What the provider can do; everything that its dialect can say if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "capabilities_schema")]
    pub capabilities: Option<Vec<Capability>>,
    /// Requests that this provider has at a time. Beyond it the next target is asked; the last one is waited for, for a second
    /// at most. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_concurrent: Option<u64>,
    /// What the provider takes in a minute, of all credentials and models together. More is not sent to it; what it tells of
    /// its limits itself counts besides. Of several gateways with one Redis each has its share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// Seconds between questions whether the provider is there (its list of models, which costs nothing), asked where no
    /// traffic has told. Left out: none is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub probe_seconds: Option<f64>,
    /// Where the provider departs from its dialect.
    #[serde(skip_serializing_if = "Quirks::is_empty")]
    pub quirks: Quirks,
    /// Price of all models of this provider, in place of the price table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Name in logs and metrics.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The key, usually as `${NAME}`.
    pub api_key: Hidden,
    /// Share of the traffic, relative to the other credentials.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
    /// What the provider takes in a minute with this key, of all models together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}

/// A provider's own limits, as its operator knows them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Requests in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50_000_000_000_u64))]
    pub requests_per_minute: Option<u64>,
    /// Tokens in a minute, input and output together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50_000_000_000_u64))]
    pub tokens_per_minute: Option<u64>,
}

/// How a key is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// `Authorization: Bearer KEY`
    Bearer,
    /// No key is sent.
    None,
    /// In a header of this name.
    Header(#[schemars(description = "Name of the header.")] String),
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    /// Path of chat completions (OpenAI) or messages (Anthropic); `{model}` in it stands for the model's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<String>,
    /// Path of the list of models.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-in-effect" = false))]
    pub models: Option<String>,
}

impl Paths {
    fn is_empty(&self) -> bool {
        *self == Paths::default()
    }
}

// A closed set: for each of them there is a place in the program that does something else. Which vendor has which, and who
// says so, is written in `providers/providers.yaml`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// Field that takes the limit of the answer's length, where a request is translated; `max_tokens` if left out.
    // OpenAI's reasoning models refuse `max_tokens`, Mistral refuses `max_completion_tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_limit: Option<OutputLimit>,
    /// Whether `stream_options.include_usage` may be sent; `true` if left out. Without it the gateway counts what the
    /// provider tells by itself.
    // Mistral refuses it and tells the usage without being asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<bool>,
    /// Whether the provider takes Anthropic's `cache_control` marks on texts; `false` if left out, and then they are named
    /// in `x-gateway-dropped`.
    // OpenRouter passes them on to Anthropic and Google.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<bool>,
    /// Whether models have names of the operator's own; `false` if left out. Then only `models` and `default_model` are
    /// listed and found by their bare names, and the model table is asked for prices alone.
    // Azure: a deployment has any name, most often that of its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployments: Option<bool>,
}

impl Quirks {
    fn is_empty(&self) -> bool {
        *self == Quirks::default()
    }

    /// What is said here, and for the rest what `other` says.
    pub fn or(self, other: Quirks) -> Quirks {
        Quirks {
            output_limit: self.output_limit.or(other.output_limit),
            stream_options: self.stream_options.or(other.stream_options),
            cache_control: self.cache_control.or(other.cache_control),
            deployments: self.deployments.or(other.deployments),
        }
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputLimit {
    #[default]
    MaxTokens,
    MaxCompletionTokens,
}

impl OutputLimit {
    pub fn field(self) -> &'static str {
        match self {
            OutputLimit::MaxTokens => "max_tokens",
            OutputLimit::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// US dollars per 1,000,000 tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// US dollars per 1,000,000 input tokens.
    #[schemars(range(min = 0))]
    pub input: f64,
    /// US dollars per 1,000,000 output tokens.
    #[schemars(range(min = 0))]
    pub output: f64,
    /// US dollars per 1,000,000 input tokens read from the provider's prompt cache; `input` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cache_read: Option<f64>,
    /// US dollars per 1,000,000 input tokens written to the provider's prompt cache; `input` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cache_write: Option<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// How the targets are put in order; `routing.strategy` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "strategy_schema")]
    pub strategy: Option<Strategy>,
    /// Where requests for this name go. A target that names another alias stands for that alias's targets.
    #[schemars(length(min = 1))]
    pub targets: Vec<Target>,
    /// Keep the turns of a conversation at the target that probably has its prompt in its cache: a hash of the system prompt,
    /// the tools and the first message chooses it, by weight, as long as it has no more than its share of what is
    /// outstanding. The strategy orders the others.
    #[serde(default, skip_serializing_if = "is_false")]
    pub affinity: bool,
    /// Ask a second target when the first has not begun to answer in the time in which 95 of 100 answers have begun, and take
    /// what comes first. Costs money: see `retry.hedge_cost_percent`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hedge: bool,
    /// Targets for requests that are too long for those above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_context_overflow: Vec<Target>,
    /// Targets for requests that those above refuse for what they are about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_content_filter: Vec<Target>,
}

/// `provider/model`, a bare model name that one of the providers serves, or the name of another alias.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Target {
    Name(String),
    Detailed(DetailedTarget),
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetailedTarget {
    /// `provider/model`, a bare model name that one of the providers serves, or the name of another alias.
    #[schemars(length(min = 1))]
    pub model: String,
    /// Share of the requests under the strategy `weighted` and with `affinity`, relative to the other targets.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
    /// Targets of the smallest number share the requests; those of greater ones are for when all before them have failed.
    #[serde(default, skip_serializing_if = "is_nothing")]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: u32,
    /// Percentage of the requests that try this target first; all others try it last. With `affinity`, of conversations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub canary: Option<f64>,
}

impl Target {
    pub fn model(&self) -> &str {
        match self {
            Target::Name(model) => model,
            Target::Detailed(target) => &target.model,
        }
    }

    pub fn weight(&self) -> u32 {
        match self {
            Target::Name(_) => 1,
            Target::Detailed(target) => target.weight,
        }
    }

    pub fn priority(&self) -> u32 {
        match self {
            Target::Name(_) => 0,
            Target::Detailed(target) => target.priority,
        }
    }

    pub fn canary(&self) -> Option<f64> {
        match self {
            Target::Name(_) => None,
            Target::Detailed(target) => target.canary,
        }
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    /// How candidates are put in order where neither the alias nor the request says it.
    #[schemars(schema_with = "strategy_schema")]
    pub strategy: Strategy,
    /// What to do with a field that the provider's dialect cannot say: leave it out and name it in `x-gateway-dropped`, or
    /// refuse the request.
    pub on_unsupported: OnUnsupported,
}

impl Default for Routing {
    fn default() -> Self {
        Routing { strategy: Strategy::Fallback, on_unsupported: OnUnsupported::Drop }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnsupported {
    Drop,
    Reject,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Seconds to connect, TLS included.
    #[schemars(range(max = 86_400), extend("exclusiveMinimum" = 0))]
    pub connect_seconds: f64,
    /// Seconds for a whole answer that is not streamed, all attempts included.
    #[schemars(range(max = 86_400), extend("exclusiveMinimum" = 0))]
    pub request_seconds: f64,
    /// Seconds to the first content of a stream.
    #[schemars(range(max = 86_400), extend("exclusiveMinimum" = 0))]
    pub first_content_seconds: f64,
    /// The same for models that reason before they answer.
    #[schemars(range(max = 86_400), extend("exclusiveMinimum" = 0))]
    pub first_content_reasoning_seconds: f64,
    /// Seconds between two bytes of a stream, pings included.
    #[schemars(range(max = 86_400), extend("exclusiveMinimum" = 0))]
    pub stream_idle_seconds: f64,
    /// Seconds between two events of a stream that say something.
    #[schemars(range(max = 86_400), extend("exclusiveMinimum" = 0))]
    pub stream_silent_seconds: f64,
    /// Seconds for a whole stream.
    #[schemars(range(max = 86_400), extend("exclusiveMinimum" = 0))]
    pub stream_total_seconds: f64,
    /// Seconds in which a client takes nothing of what is there for it, before it is given up.
    #[schemars(range(max = 86_400), extend("exclusiveMinimum" = 0))]
    pub client_stall_seconds: f64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect_seconds: 5.0,
            request_seconds: 600.0,
            first_content_seconds: limits::FIRST_CONTENT_TIME.as_secs_f64(),
            first_content_reasoning_seconds: limits::FIRST_CONTENT_TIME_REASONING.as_secs_f64(),
            stream_idle_seconds: limits::STREAM_IDLE_TIME.as_secs_f64(),
            stream_silent_seconds: limits::STREAM_SILENT_TIME.as_secs_f64(),
            stream_total_seconds: limits::STREAM_TOTAL_TIME.as_secs_f64(),
            client_stall_seconds: limits::CLIENT_STALL_TIME.as_secs_f64(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Upstream attempts of one request, over all targets; 1 switches retries and fallbacks off.
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: u32,
    /// Seconds before the first retry of the same target.
    #[schemars(range(min = 0, max = 300))]
    pub base_delay_seconds: f64,
    /// The longest such wait, in seconds.
    #[schemars(range(min = 0, max = 300))]
    pub max_delay_seconds: f64,
    /// Factor by which the wait grows.
    #[schemars(range(min = 1, max = 10))]
    pub exponential_base: f64,
    /// What repeated and hedged attempts of the latest minute may cost together, in percent of what all answers cost. Three
    /// repeats at a time are always allowed.
    #[schemars(range(min = 0, max = 100))]
    pub extra_cost_percent: f64,
    /// What hedged attempts may cost of that.
    #[schemars(range(min = 0, max = 100))]
    pub hedge_cost_percent: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            max_attempts: 3,
            base_delay_seconds: 0.5,
            max_delay_seconds: 8.0,
            exponential_base: 2.0,
            extra_cost_percent: 10.0,
            hedge_cost_percent: 5.0,
        }
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitBreaker {
    /// Hard failures that open the circuit of a target: so many in a row, or so many among the attempts of half a minute of
    /// which fewer than 80 % went well. Also the number of refusals (401, 402, 403, 429) in a row after which a target that nobody
    /// can stand in for is asked only once a second.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub failure_threshold: u32,
    /// Seconds until an open circuit is probed; doubles with every failed probe, up to 300.
    #[schemars(range(max = 300), extend("exclusiveMinimum" = 0))]
    pub recovery_timeout_seconds: f64,
    /// Probes at a time.
    #[schemars(range(min = 1, max = 100))]
    pub half_open_requests: u32,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        CircuitBreaker { failure_threshold: 5, recovery_timeout_seconds: 5.0, half_open_requests: 1 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Whether callers are limited at all; `false` switches off the limits of keys and teams, too.
    pub enabled: bool,
    /// Requests per minute and caller.
    #[schemars(range(min = 1))]
    pub requests_per_minute: u64,
    /// Tokens, input and output, per minute and caller.
    #[schemars(range(min = 1))]
    pub tokens_per_minute: u64,
    /// Requests of one caller at the same time; no limit if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub concurrent: Option<u64>,
    /// What a caller that has been quiet may use at once, in percent of a minute's requests and tokens.
    #[schemars(range(min = 1, max = 10_000))]
    pub burst_percent: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            enabled: true,
            requests_per_minute: 60,
            tokens_per_minute: 100_000,
            concurrent: None,
            burst_percent: 100,
        }
    }
}

/// A virtual key: what a caller shows to the gateway.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Name in logs and metrics.
    #[schemars(length(min = 1))]
    pub name: String,
    /// `sha256:` and the SHA-256 of the key as 64 hexadecimal digits.
    pub hash: String,
    /// One of `teams`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Whom to ask about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Aliases and `provider/model` names that the key may use, `provider/*` for all of a provider; all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Providers that may answer it; all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<String>>,
    /// Paths that it may call, as `/v1/messages`; all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<String>>,
    /// Limits of this key, in place of the general ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<KeyLimits>,
    /// Money that the key may spend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-in-effect" = false))]
    pub budget: Option<Budget>,
    /// Whether its answers may come from the cache, and go into it; `true` if left out.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub cache: bool,
    /// When it is refused from, as `2027-01-31T00:00:00Z`; never if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// Several keys together.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Team {
    /// Limits that all keys of the team share, besides their own.
    pub limits: KeyLimits,
    /// What its keys may use at most, by the same names: what a key lists and its team does not, is not allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Providers that may answer its keys; all if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<String>>,
    /// Paths that its keys may call; all if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<String>>,
}

/// Limits of a key or a team: in all, and for single models and providers within that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyLimits {
    /// Requests per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub requests_per_minute: Option<u64>,
    /// Tokens, input and output, per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tokens_per_minute: Option<u64>,
    /// Requests at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub concurrent: Option<u64>,
    /// What may be used at once, in percent of a minute's limit; all of it if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub burst_percent: Option<u32>,
    /// Limits for single models, by the names that are asked for; each has those above.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub models: IndexMap<String, KeyRates>,
    /// The same for single providers.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub providers: IndexMap<String, KeyRates>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
// The same four as in `KeyLimits`: serde cannot flatten one into the other where unknown keys are refused.
pub struct KeyRates {
    /// Requests per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub requests_per_minute: Option<u64>,
    /// Tokens, input and output, per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tokens_per_minute: Option<u64>,
    /// Requests at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub concurrent: Option<u64>,
    /// What may be used at once, in percent of a minute's limit; all of it if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub burst_percent: Option<u32>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// US dollars.
    #[schemars(range(min = 0))]
    pub usd: f64,
    /// The period, in UTC, after which the budget is full again.
    pub per: Period,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    Day,
    Week,
    Month,
}

/// The embedding model that is part of the program.
pub const BUILT_IN: &str = "built-in";

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Whether answers are kept at all.
    pub enabled: bool,
    /// How a similar request is judged: `strict` verifies that the meaning is the same, `cosine` compares embeddings alone,
    /// `shadow` serves nothing from similarity and records what it would have served.
    pub mode: CacheMode,
    /// Similarity from which an answer may be served.
    #[schemars(range(min = 0, max = 1))]
    pub threshold: f64,
    /// Seconds for which an answer is kept.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub ttl_seconds: f64,
    /// Who shares answers: the callers of one key, of one team, or all.
    pub scope: CacheScope,
    /// Memory for answers, in MiB.
    #[schemars(range(min = 1))]
    pub max_mib: u64,
    /// Model that finds questions in other words: `built-in`, or `provider/model` for an embedding model of a provider that speaks
    /// OpenAI's API, which is then sent each question that was not asked before.
    #[schemars(length(min = 1))]
    pub embedding_model: String,
}

impl Default for Cache {
    fn default() -> Self {
        Cache {
            enabled: true,
            mode: CacheMode::Strict,
            threshold: 0.95,
            ttl_seconds: 3600.0,
            scope: CacheScope::Key,
            max_mib: 256,
            embedding_model: BUILT_IN.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheMode {
    Strict,
    Cosine,
    Shadow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheScope {
    Key,
    Team,
    All,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// `redis://` or `rediss://` URL of a Redis that several gateways share: their limits hold for all together, and each can explain the requests of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_url: Option<Hidden>,
    /// `sqlite://` or `postgres://` URL of the database for keys. Left out: `sqlite://data/llm-gateway.db`, or none where there
    /// is a `redis_url`, since gateways that share one would not share their keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<Hidden>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// One JSON object a line, or text for people; `json` if left out, `text` on a terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
    /// The least important messages that are written.
    pub level: LogLevel,
}

impl Default for Log {
    fn default() -> Self {
        Log { format: None, level: LogLevel::Info }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Json,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// A secret of the file: read as text, never written back.
#[derive(Clone)]
pub struct Hidden(pub Secret);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|value| Hidden(Secret::new(value)))
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(hidden)")
    }
}

impl JsonSchema for Hidden {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Hidden".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "writeOnly": true})
    }
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_nothing(value: &u32) -> bool {
    *value == 0
}

fn dialect_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ProviderDialect::ALL.map(ProviderDialect::name)})
}

fn strategy_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": Strategy::ALL.map(Strategy::name)})
}

fn capabilities_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": "string", "enum": Capability::ALL.map(Capability::name)}})
}
