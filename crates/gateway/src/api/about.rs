//! The routes that answer about the gateway itself. None of them calls a provider.

use std::collections::BTreeMap;
use std::time::Instant;

use gateway_core::access::Scope;
use gateway_core::error::{ErrorKind, GatewayError};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::api::egress::Reply;
use crate::gateway::{Gateway, VERSION};
use crate::keys::ring::Standing;
use crate::limits::Shared;
use crate::providers::catalog::Provider;
use crate::providers::health::Health;

/// `GET /v1/providers`
#[derive(Debug, Serialize, JsonSchema)]
pub struct Providers {
    pub providers: Vec<ProviderView>,
    pub total: usize,
}

/// One provider.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProviderView {
    pub name: String,
    pub display_name: String,
    pub is_available: bool,
    pub supported_models: Vec<String>,
    pub default_model: Option<String>,
    pub capabilities: Vec<&'static str>,
    pub health: Health,
    /// By model; models without a known price are not here.
    pub pricing: BTreeMap<String, PriceView>,
}

/// US dollars per 1,000 tokens.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PriceView {
    pub input: f64,
    pub output: f64,
}

/// `GET /health`
#[derive(Debug, Serialize, JsonSchema)]
pub struct GatewayHealth {
    /// `healthy`, `degraded` (some provider is not well) or `unhealthy` (none is).
    pub status: &'static str,
    pub version: &'static str,
    pub timestamp: String,
    /// Empty, and without `configuration`, for who may not know how the gateway is run.
    pub providers: BTreeMap<String, Health>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ConfigurationView>,
    pub cache_enabled: bool,
    pub rate_limiting_enabled: bool,
}

/// Which configuration is in use.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConfigurationView {
    /// RFC 3339.
    pub loaded_at: String,
    /// When a later one was refused, RFC 3339; the log says why. `null` if the one in use is the latest.
    pub refused_at: Option<String>,
}

fn view(gateway: &Gateway, provider: &Provider, scope: &Scope) -> ProviderView {
    let health = provider.health(gateway.process.nodes());
    let mut supported_models = gateway.catalog.models(provider);
    supported_models.retain(|model| scope.allows_target(None, &provider.name, model));
    let pricing = supported_models.iter().filter_map(|model| {
        let price = gateway.catalog.facts(provider, model).price?;
        let tier = price.tier(0);
        Some((
            model.clone(),
            PriceView { input: tier.input.usd_per_thousand(), output: tier.output.usd_per_thousand() },
        ))
    });
    ProviderView {
        name: provider.name.to_string(),
        display_name: provider.config.display_name.clone(),
        is_available: health.is_healthy,
        default_model: provider.config.default_model.clone().filter(|model| supported_models.contains(model)),
        capabilities: provider.config.capabilities.iter().map(gateway_core::target::Capability::name).collect(),
        pricing: pricing.collect(),
        supported_models,
        health,
    }
}

/// The providers that a caller of this scope may use.
fn allowed<'a>(gateway: &'a Gateway, scope: &'a Scope) -> impl Iterator<Item = &'a Provider> {
    gateway.catalog.providers().iter().filter(|provider| scope.allows_provider(&provider.name))
}

pub fn providers(gateway: &Gateway, scope: &Scope) -> Reply {
    let providers: Vec<ProviderView> = allowed(gateway, scope).map(|provider| view(gateway, provider, scope)).collect();
    Reply::json(&Providers { total: providers.len(), providers })
}

pub fn provider_health(gateway: &Gateway, name: &str, scope: &Scope) -> Result<Reply, GatewayError> {
    let provider = allowed(gateway, scope).find(|provider| *provider.name == *name).ok_or_else(|| {
        let known: Vec<&str> = allowed(gateway, scope).map(|provider| &*provider.name).collect();
        let shown: String = name.chars().take(100).collect();
        GatewayError::new(
            ErrorKind::NotFound,
            format!("no provider is named {shown:?}; there are: {}", known.join(", ")),
        )
    })?;
    Ok(Reply::json(&provider.health(gateway.process.nodes())))
}

/// `details`: more than the outline.
pub fn health(gateway: &Gateway, details: bool) -> Reply {
    let providers: BTreeMap<String, Health> = gateway
        .catalog
        .providers()
        .iter()
        .map(|provider| (provider.name.to_string(), provider.health(gateway.process.nodes())))
        .collect();
    let well = providers.values().filter(|health| health.is_healthy).count();
    let status = match well {
        0 => "unhealthy",
        some if some < providers.len() => "degraded",
        _ => "healthy",
    };
    let health = GatewayHealth {
        status,
        version: VERSION,
        timestamp: crate::telemetry::log::stamp(jiff::Timestamp::now()),
        providers: if details { providers } else { BTreeMap::new() },
        configuration: details.then(|| ConfigurationView {
            loaded_at: crate::telemetry::log::stamp(gateway.loaded_at),
            refused_at: gateway.process.configuration_refused_at().map(crate::telemetry::log::stamp),
        }),
        cache_enabled: gateway.cache.is_some(),
        rate_limiting_enabled: gateway.config.limits.is_some(),
    };
    let mut reply = Reply::json(&health);
    if status == "unhealthy" {
        reply.status = StatusCode::SERVICE_UNAVAILABLE;
    }
    reply
}

pub fn live() -> Reply {
    Reply::json(&json!({"status": "alive"}))
}

/// `GET /health/ready`
#[derive(Debug, Serialize, JsonSchema)]
pub struct Readiness {
    /// `ready`, or why no requests are to be sent here: `draining`, `keys_unknown`.
    pub status: &'static str,
    /// What is not as it should be, though requests are served: `database`, `rate_limits` (Redis cannot be asked).
    pub degraded: Vec<&'static str>,
}

pub fn ready(gateway: &Gateway) -> Reply {
    let keys = &gateway.process.keys;
    let standing = keys.standing(Instant::now());
    let status = match standing {
        _ if gateway.is_draining() => "draining",
        // Whoever comes with a key of the database is refused.
        Standing::Lost if gateway.config.keys.is_empty() => "keys_unknown",
        _ => "ready",
    };
    let database = matches!(standing, Standing::Doubtful | Standing::Lost);
    let rate_limits = gateway.process.limiter.shared().is_some_and(Shared::is_degraded);
    let degraded = [(database, "database"), (rate_limits, "rate_limits")];
    let degraded = degraded.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
    let mut reply = Reply::json(&Readiness { status, degraded });
    if status != "ready" {
        reply.status = StatusCode::SERVICE_UNAVAILABLE;
    }
    reply
}

pub fn metrics(gateway: &Gateway) -> Reply {
    let text = gateway.process.metrics.render(gateway);
    Reply::of(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
}

pub fn root() -> Reply {
    Reply::json(&json!({"name": "llm-gateway", "version": VERSION, "docs": "/docs", "health": "/health"}))
}
