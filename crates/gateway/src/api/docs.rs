//! Documentation, served from the binary.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::api::egress::Reply;
use crate::api::routes::ROUTES;
use crate::gateway::VERSION;

/// OpenAPI 3.1, from the table of routes.
pub fn openapi() -> Reply {
    let mut paths: Map<String, Value> = Map::new();
    for row in ROUTES {
        let operation = json!({"summary": row.summary, "responses": {"200": {"description": "OK"}}});
        let methods = paths.entry(row.path).or_insert_with(|| json!({}));
        methods[row.method.as_str().to_ascii_lowercase()] = operation;
    }
    Reply::json(&json!({"openapi": "3.1.0", "info": {"title": "llm-gateway", "version": VERSION}, "paths": paths}))
}

pub fn page() -> Reply {
    Reply::of(
        StatusCode::OK,
        "text/html; charset=utf-8",
        "<!doctype html><title>llm-gateway</title><a href=\"/openapi.json\">OpenAPI</a>",
    )
}
