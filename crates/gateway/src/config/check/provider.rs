//! `providers`: what an operator said, completed from the vendor's row.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use gateway_core::access::Rates;
use gateway_core::secret::Secret;
use http::{HeaderName, HeaderValue};
use indexmap::IndexMap;

use super::{Checker, Situation, count, is_model_name, is_visible_ascii};
use crate::config::environment::System;
use crate::config::problem::{Report, nearest, suggest};
use crate::config::raw;
use crate::config::runtime::{Auth, BaseUrl, Credential, Paths, Provider, Quirks};
use crate::config::tree::Node;
use crate::config::vendors::{self, Vendor};

/// The program sets these itself; a key belongs into `api_key`.
const OWN_HEADERS: &[&str] = &[
    "authorization",
    "api-key",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
];

/// The vendors that made the dialects, answered by the simulator at `addr`.
pub fn sandbox_providers(vendors: &[Vendor], addr: SocketAddr) -> Vec<Provider> {
    let tree = Node::empty();
    let situation = Situation { environment: &System, vendors, tree: &tree, sandbox: true, folder: None };
    let mut report = Report::default();
    let mut checker = Checker { situation: &situation, report: &mut report };
    let simulated = |vendor: &Vendor| {
        let base_url = BaseUrl::parse(vendor.base_url.as_deref()?).ok()?;
        let mut said = raw::Provider {
            display_name: Some(format!("{} (simulated)", vendor.display_name)),
            base_url: Some(format!("http://{addr}{}", base_url.path)),
            // The simulator wants a key where the vendor does, and takes any.
            api_key: Some(raw::Hidden(Secret::new("sandbox"))),
            ..raw::Provider::default()
        };
        checker.provider(&vendor.name, &mut said)
    };
    vendors::makers(vendors).filter_map(simulated).collect()
}

impl<'a> Checker<'a, '_> {
    /// Completes what was said from the vendor's row or the dialect.
    pub(super) fn provider(&mut self, name: &str, said: &mut raw::Provider) -> Option<Provider> {
        let at = |field| ["providers", name, field];
        let vendor = self.vendor(name, said.vendor.as_deref());
        let well_named = name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte));
        if !well_named {
            let hint = "use lower-case letters, digits, `-`, `_` and `.`, a letter first, 64 characters at most";
            self.problem(&["providers", name], "is not a name for a provider", hint);
        }
        let changed_dialect =
            vendor.is_some_and(|vendor| said.dialect.is_some_and(|dialect| dialect != vendor.dialect));
        if changed_dialect {
            self.problem(
                &at("dialect"),
                "is not what this vendor speaks",
                "take it out, or give the provider another name",
            );
        }
        let Some(dialect) = said.dialect.or(vendor.map(|vendor| vendor.dialect)) else {
            let vendors: Vec<&str> = self.situation.vendors.iter().map(|vendor| vendor.name.as_str()).collect();
            let hint = match nearest(name, vendors.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? Other providers need `dialect` and `base_url`"),
                None => format!("write `dialect` and `base_url`; only these need neither: {}", vendors.join(", ")),
            };
            self.problem(&at("dialect"), "is missing", hint);
            return None;
        };
        let pattern = self.situation.vendors.iter().find(|vendor| vendor.dialect == dialect)?;
        complete(said, vendor.map_or_else(|| pattern.pattern(), Vendor::as_provider), name);

        let base_url = match &said.base_url {
            Some(url) => match BaseUrl::parse(url) {
                Ok(parsed) => Some(parsed),
                Err(message) => {
                    let hint = "write it as https://host/v1; a key belongs into `api_key`";
                    self.problem(&at("base_url"), message, hint);
                    None
                }
            },
            None => {
                let example = vendor.and_then(|vendor| vendor.base_url_example.as_deref());
                let hint = format!("write its address: {}", example.unwrap_or("http://127.0.0.1:8080/v1"));
                let variable = vendor.filter(|vendor| vendor.name == name);
                let hint = match variable.and_then(|vendor| vendor.base_url_variable.as_deref()) {
                    Some(variable) => format!("{hint}, here or in {variable}"),
                    None => hint,
                };
                self.problem(&at("base_url"), "is missing", hint);
                None
            }
        };
        let credentials = self.credentials(name, said);
        let auth = match said.auth.as_ref()? {
            raw::Auth::None => Auth::None,
            _ if credentials.is_empty() => {
                let listed = self.report.is_refused(&at("credentials"));
                if let Some(key) = vendor.filter(|_| !listed).and_then(|vendor| vendor.key_variable.as_deref()) {
                    // The variable belongs to the provider of the vendor's name.
                    let named = vendor.is_some_and(|vendor| vendor.name == name);
                    let set = if named { format!("set {key}") } else { format!("write it as \"${{{key}}}\"") };
                    self.problem(
                        &at("api_key"),
                        "is missing",
                        format!("{set}, or write `auth: none` if it needs no key"),
                    );
                }
                Auth::None
            }
            raw::Auth::Bearer => Auth::Bearer,
            raw::Auth::Header(header) => Auth::Header(self.header_name(&at("auth"), header)?),
        };
        let credentials = if auth == Auth::None { Vec::new() } else { credentials };
        if let Some(url) =
            base_url.as_ref().filter(|url| !url.is_tls() && !is_local(url.host()) && !credentials.is_empty())
        {
            let message = format!("the key goes to {} unencrypted; use https", url.host());
            self.warn(&at("base_url"), &message);
        }
        let headers = self.headers(name, &said.headers);
        let paths = Paths {
            chat: self.path(&["providers", name, "paths", "chat"], said.paths.chat.as_ref()?),
            models: self.path(&["providers", name, "paths", "models"], said.paths.models.as_ref()?),
        };
        self.query(name, &said.query);
        self.model_names(&at("models"), &said.models);
        if said.default_model.as_ref().is_some_and(|model| !is_model_name(model)) {
            self.problem(&at("default_model"), "is not the name of a model", "write it as the provider does");
        }
        Some(Provider {
            name: name.to_owned(),
            display_name: said.display_name.clone()?,
            // A vendor without a row may still be one of the table.
            model_table: vendor.map_or_else(|| Some(name.to_owned()), |vendor| vendor.model_table.clone()),
            dialect,
            base_url: base_url?,
            auth,
            credentials,
            headers,
            paths,
            query: said.query.clone().into_iter().collect(),
            models: said.models.clone(),
            default_model: said.default_model.clone().or_else(|| said.models.first().cloned()),
            model_prefixes: said.model_prefixes.clone().unwrap_or_default(),
            capabilities: said.capabilities.iter().flatten().copied().collect(),
            probe_every: said.probe_seconds.map(Duration::from_secs_f64),
            max_concurrent: said.max_concurrent.map(count),
            quota: said.quota.map(quota),
            quirks: Quirks {
                output_limit: said.quirks.output_limit.unwrap_or_default(),
                stream_options: said.quirks.stream_options.unwrap_or(true),
                cache_control: said.quirks.cache_control.unwrap_or(false),
                deployments: said.quirks.deployments.unwrap_or(false),
            },
            price: said.price,
        })
    }

    /// The row for a provider: of the vendor that was said, else of the one with the provider's name.
    fn vendor(&mut self, provider: &str, said: Option<&str>) -> Option<&'a Vendor> {
        let vendors = self.situation.vendors;
        let row = |name: &str| vendors.iter().find(|vendor| vendor.name == name);
        let Some(said) = said else { return row(provider) };
        let path = ["providers", provider, "vendor"];
        match (row(said), row(provider)) {
            (None, _) => {
                let names: Vec<&str> = vendors.iter().map(|vendor| vendor.name.as_str()).collect();
                self.problem(&path, &format!("{said:?} is not a known vendor"), suggest(said, &names));
            }
            (Some(said), Some(own)) if said.name != own.name => {
                self.problem(&path, "is not the vendor of this name", "give the provider another name");
            }
            _ => {}
        }
        row(said)
    }

    fn query(&mut self, provider: &str, query: &IndexMap<String, String>) {
        for (name, value) in query {
            if !is_visible_ascii(name) || !is_visible_ascii(value) {
                let path = ["providers", provider, "query", name.as_str()];
                self.problem(&path, "is not a query parameter", "use visible ASCII for its name and its value");
            }
        }
    }

    fn credentials(&mut self, provider: &str, said: &raw::Provider) -> Vec<Credential> {
        let mut credentials: Vec<Credential> = Vec::new();
        if let Some(key) = &said.api_key {
            if said.credentials.is_some() {
                let path = ["providers", provider, "api_key"];
                self.problem(&path, "and `credentials` are both there", "keep one of them");
            }
            self.provider_key(&["providers", provider, "api_key"], &key.0);
            credentials.push(Credential { name: "default".into(), key: key.0.clone(), weight: 1, quota: None });
        }
        for (index, credential) in said.credentials.iter().flatten().enumerate() {
            let index = index.to_string();
            let path = ["providers", provider, "credentials", index.as_str()];
            self.provider_key(&[&path[..], &["api_key"]].concat(), &credential.api_key.0);
            if credentials.iter().any(|other| other.name == credential.name) {
                let message = format!("{:?} is the name of two credentials", credential.name);
                self.problem(&[&path[..], &["name"]].concat(), &message, "give each a name of its own");
            }
            let (name, key) = (credential.name.clone(), credential.api_key.0.clone());
            credentials.push(Credential { name, key, weight: credential.weight, quota: credential.quota.map(quota) });
        }
        credentials
    }

    fn provider_key(&mut self, path: &[&str], key: &Secret) {
        if !is_visible_ascii(key.expose()) {
            let hint = "look for blanks, quotes or line ends around the key";
            self.problem(path, "has characters that a key cannot have", hint);
        }
    }

    fn header_name(&mut self, path: &[&str], name: &str) -> Option<HeaderName> {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
        if parsed.is_none() {
            self.problem(path, &format!("{name:?} is not the name of a header"), "write it as x-api-key");
        }
        parsed
    }

    fn headers(&mut self, provider: &str, said: &IndexMap<String, String>) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        for (name, value) in said {
            let path = ["providers", provider, "headers", name.as_str()];
            let Some(parsed) = self.header_name(&path, name) else { continue };
            if OWN_HEADERS.contains(&parsed.as_str()) {
                self.problem(
                    &path,
                    "is a header that the gateway sets itself",
                    "keys belong into `api_key`, with `auth`",
                );
                continue;
            }
            match HeaderValue::from_str(value) {
                Ok(value) => headers.push((parsed, value)),
                Err(_) => self.problem(&path, "has characters that a header cannot carry", "use visible ASCII"),
            }
        }
        headers
    }

    fn path(&mut self, path: &[&str], said: &str) -> String {
        let plain = said.replace("{model}", "model");
        let valid = plain.starts_with('/')
            && !plain.contains(['?', '#', '{', '}'])
            && plain.parse::<http::uri::PathAndQuery>().is_ok();
        if !valid {
            let message = format!("{said:?} is not a path");
            self.problem(path, &message, "write it as /chat/completions, and a query in `query`");
        }
        said.to_owned()
    }

    fn model_names(&mut self, path: &[&str], models: &[String]) {
        for (index, model) in models.iter().enumerate() {
            let item = index.to_string();
            let path = [path, &[item.as_str()]].concat();
            if !is_model_name(model) {
                self.problem(&path, &format!("{model:?} is not the name of a model"), "write it as the provider does");
            } else if models[..index].contains(model) {
                self.problem(&path, &format!("{model:?} is here twice"), "take one out");
            }
        }
    }
}

/// Fills in what was not said. Headers and query parameters of both are sent; one that was said wins.
fn complete(said: &mut raw::Provider, pattern: raw::Provider, name: &str) {
    let fill = std::mem::take(said);
    let mut headers = pattern.headers;
    headers.retain(|header, _| !fill.headers.keys().any(|said| said.eq_ignore_ascii_case(header)));
    headers.extend(fill.headers);
    let mut query = pattern.query;
    query.extend(fill.query);
    *said = raw::Provider {
        vendor: fill.vendor,
        display_name: fill.display_name.or(pattern.display_name).or_else(|| Some(name.to_owned())),
        dialect: fill.dialect.or(pattern.dialect),
        base_url: fill.base_url.or(pattern.base_url),
        api_key: fill.api_key,
        credentials: fill.credentials,
        auth: fill.auth.or(pattern.auth),
        paths: raw::Paths {
            chat: fill.paths.chat.or(pattern.paths.chat),
            models: fill.paths.models.or(pattern.paths.models),
        },
        query,
        headers,
        models: fill.models,
        model_prefixes: fill.model_prefixes.or(pattern.model_prefixes),
        default_model: fill.default_model.or(pattern.default_model),
        capabilities: fill.capabilities.or(pattern.capabilities),
        max_concurrent: fill.max_concurrent,
        quota: fill.quota,
        probe_seconds: fill.probe_seconds,
        quirks: fill.quirks.or(pattern.quirks),
        price: fill.price,
    };
}

fn quota(said: raw::Quota) -> Rates {
    let raw::Quota { requests_per_minute, tokens_per_minute } = said;
    Rates { requests_per_minute, tokens_per_minute, ..Rates::NONE }
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}
