//! Lists of models, in the shape that the client's SDK expects.

use gateway_core::access::Scope;
use gateway_core::error::GatewayError;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::access;
use crate::api::egress::Reply;
use crate::api::ingress;
use crate::api::routes::Family;
use crate::gateway::Gateway;

/// Models have no birthday that the gateway knows; both APIs want one.
const CREATED: u64 = 0;
const CREATED_AT: &str = "1970-01-01T00:00:00Z";

pub fn is_anthropic(family: Family, headers: &HeaderMap) -> bool {
    family == Family::Anthropic || (family == Family::Plain && headers.contains_key("anthropic-version"))
}

/// Query parameters of Anthropic's list: `limit`, `after_id`, `before_id`.
pub fn list(gateway: &Gateway, anthropic: bool, query: &str, scope: &Scope) -> Result<Reply, GatewayError> {
    let names = gateway.catalog.names(scope);
    if !anthropic {
        let data: Vec<Value> = names.iter().map(|name| openai(name)).collect();
        return Ok(Reply::json(&json!({"object": "list", "data": data})));
    }
    let parameter = |wanted: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| ingress::percent_decoded(value))
    };
    let limit = match parameter("limit").map(|limit| limit.parse::<usize>()) {
        None => 20,
        Some(Ok(limit @ 1..=1000)) => limit,
        Some(_) => return Err(GatewayError::invalid("limit", "limit must be a whole number from 1 to 1000")),
    };
    let place = |id: String| names.iter().position(|name| *name == id);
    let (start, end) = match (parameter("after_id").and_then(place), parameter("before_id").and_then(place)) {
        (Some(after), _) => (after + 1, (after + 1 + limit).min(names.len())),
        (None, Some(before)) => (before.saturating_sub(limit), before),
        (None, None) => (0, limit.min(names.len())),
    };
    let page = &names[start..end];
    Ok(Reply::json(&json!({
        "data": page.iter().map(|name| anthropic_model(name)).collect::<Vec<_>>(),
        "first_id": page.first(),
        "has_more": end < names.len(),
        "last_id": page.last(),
    })))
}

pub fn show(gateway: &Gateway, anthropic: bool, name: &str, scope: &Scope) -> Result<Reply, GatewayError> {
    let name = ingress::percent_decoded(name);
    if !gateway.catalog.names(scope).contains(&name) {
        // A name that is not listed may still be one that a provider knows.
        let resolved = gateway.catalog.resolve(Some(&name)).map_err(|error| access::within(scope, error))?;
        let mut targets = resolved.candidates.targets.iter().map(|candidate| &candidate.target);
        if !targets.any(|target| scope.allows_target(Some(&name), &target.provider, &target.model)) {
            return Err(access::not_for_this_key(scope, Some(&name)));
        }
    }
    Ok(Reply::json(&if anthropic { anthropic_model(&name) } else { openai(&name) }))
}

fn owner(name: &str) -> &str {
    name.split_once('/').map_or("llm-gateway", |(provider, _)| provider)
}

fn openai(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": CREATED, "owned_by": owner(name)})
}

fn anthropic_model(name: &str) -> Value {
    json!({"type": "model", "id": name, "display_name": name, "created_at": CREATED_AT})
}
