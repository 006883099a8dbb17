//! From what was said to what runs: everything that the shape alone cannot tell.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use gateway_core::limits;
use gateway_core::secret::Secret;
use http::{HeaderName, HeaderValue};
use indexmap::IndexMap;
use ipnet::IpNet;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::environment::{Environment, System};
use super::problem::{Problem, Report, nearest, path_text, suggest};
use super::raw;
use super::runtime::{
    Alias, AliasTarget, Auth, BaseUrl, CircuitBreaker, Config, Credential, Log, LogFormat, Paths, Provider, Retry,
    Routing, Server, Storage, Timeouts, Tls,
};
use super::tree::Node;
use super::vendors::Vendor;

const ADMIN_KEY_LENGTH: usize = 16;
/// What people leave in example files. Compared in lower case, without punctuation.
const WELL_KNOWN_KEYS: &[&str] =
    &["changeme", "change", "password", "secretkey", "adminkey", "masterkey", "yourkey", "replaceme", "qwerty"];
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
        },
        retry: Retry {
            max_attempts: file.retry.max_attempts,
            base_delay: seconds(file.retry.base_delay_seconds),
            max_delay: seconds(file.retry.max_delay_seconds),
            exponential_base: file.retry.exponential_base,
        },
        log: Log { format, level: file.log.level },
        sandbox,
        warnings: Vec::new(),
        circuit_breaker: CircuitBreaker {
            failure_threshold: file.circuit_breaker.failure_threshold,
            recovery_timeout: seconds(file.circuit_breaker.recovery_timeout_seconds),
            half_open_requests: file.circuit_breaker.half_open_requests,
        },
        limits: file.limits.clone(),
        keys: file.keys.clone(),
        cache: file.cache.clone(),
        storage: Storage {
            redis_url: secret(&file.storage.redis_url),
            database_url: secret(&file.storage.database_url),
        },
    }
}

fn secret(hidden: &Option<raw::Hidden>) -> Option<Secret> {
    hidden.as_ref().map(|hidden| hidden.0.clone())
}

/// Every vendor, answered by the simulator at `addr`.
pub fn sandbox_providers(vendors: &[Vendor], addr: SocketAddr) -> Vec<Provider> {
    let tree = Node::empty();
    let situation =
        Situation { environment: &System, vendors, tree: &tree, sandbox: true, folder: None, keys_in_effect: false };
    let mut report = Report::default();
    let mut checker = Checker { situation: &situation, report: &mut report };
    let simulated = |vendor: &Vendor| {
        let base_url = BaseUrl::parse(&vendor.base_url).ok()?;
        let mut said = raw::Provider {
            display_name: Some(format!("{} (simulated)", vendor.display_name)),
            base_url: Some(format!("http://{addr}{}", base_url.path)),
            // The simulator wants a key where the vendor does, and takes any.
            api_key: Some(raw::Hidden(Secret::new("sandbox"))),
            ..raw::Provider::default()
        };
        checker.provider(&vendor.name, &mut said)
    };
    vendors.iter().filter_map(simulated).collect()
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

    fn server(&mut self, server: &raw::Server) -> Server {
        let host = match server.host.as_str() {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host.parse().unwrap_or_else(|_| {
                self.problem(
                    &["server", "host"],
                    &format!("{host:?} is not an IP address"),
                    "write an address of this machine: 127.0.0.1 or localhost for itself alone, 0.0.0.0 for everyone",
                );
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            }),
        };
        let admin_addr = server.admin_addr.as_deref().and_then(|addr| self.admin_addr(addr, host, server.port));
        if let Some(key) = &server.admin_key {
            self.admin_key(&key.0);
        }
        Server {
            host,
            port: server.port,
            tls: server.tls.as_ref().and_then(|tls| self.tls(tls)),
            trusted_proxies: self.trusted_proxies(&server.trusted_proxies),
            body_limit_bytes: usize::try_from(server.body_limit_mib * 1024 * 1024).unwrap_or(usize::MAX),
            drain_timeout: Duration::from_secs_f64(server.drain_timeout_seconds),
            allow_anonymous: server.allow_anonymous,
            admin_key: secret(&server.admin_key),
            admin_addr,
        }
    }

    fn admin_addr(&mut self, addr: &str, host: IpAddr, port: u16) -> Option<SocketAddr> {
        let path = ["server", "admin_addr"];
        let Ok(parsed) = addr.replacen("localhost:", "127.0.0.1:", 1).parse::<SocketAddr>() else {
            let message = format!("{addr:?} is not an address with a port");
            self.problem(&path, &message, "write it as 127.0.0.1:9000");
            return None;
        };
        if parsed.port() == port
            && port != 0
            && (parsed.ip() == host || host.is_unspecified() || parsed.ip().is_unspecified())
        {
            self.problem(&path, "is where the gateway itself listens", "give it a port of its own");
        }
        Some(parsed)
    }

    fn admin_key(&mut self, key: &Secret) {
        let path = ["server", "admin_key"];
        let hint = "make one with `openssl rand -hex 32`";
        let key = key.expose();
        let folded: String = key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        // A key that counts, up or down or on the spot, is long but not secret.
        let counts = |pair: &&[u8]| pair[0].abs_diff(pair[1]) <= 1 || pair == b"90";
        let surprises = folded.as_bytes().windows(2).filter(|pair| !counts(pair)).count();
        if !is_visible_ascii(key) {
            self.problem(&path, "has blanks or characters that a header cannot carry", hint);
        } else if key.len() < ADMIN_KEY_LENGTH {
            self.problem(&path, &format!("is weak: it has fewer than {ADMIN_KEY_LENGTH} characters"), hint);
        } else if surprises < ADMIN_KEY_LENGTH / 2 || WELL_KNOWN_KEYS.iter().any(|known| folded.contains(known)) {
            self.problem(&path, "is weak: it is easy to guess", hint);
        }
    }

    fn trusted_proxies(&mut self, said: &[String]) -> Vec<IpNet> {
        let mut proxies = Vec::new();
        for (index, text) in said.iter().enumerate() {
            let index = index.to_string();
            let path = ["server", "trusted_proxies", index.as_str()];
            match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(net) => {
                    if net.prefix_len() == 0 {
                        self.warn(&path, "every client is believed whatever address it claims");
                    }
                    proxies.push(net);
                }
                Err(_) => {
                    let message = format!("{text:?} is neither a network nor an address");
                    self.problem(&path, &message, "write it as 10.0.0.0/8 or 10.1.2.3");
                }
            }
        }
        proxies
    }

    fn tls(&mut self, tls: &raw::Tls) -> Option<Tls> {
        let in_folder = |path: &str| self.situation.folder.unwrap_or(Path::new("")).join(path);
        let (cert_file, key_file) = (in_folder(&tls.cert), in_folder(&tls.key));
        let chain = self.pem(&["server", "tls", "cert"], &cert_file, "a PEM file with certificates", |bytes| {
            let chain: Vec<_> = CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>().ok()?;
            Some(chain).filter(|chain| !chain.is_empty())
        });
        let key = self.pem(&["server", "tls", "key"], &key_file, "a PEM file with a private key", |bytes| {
            PrivateKeyDer::from_pem_slice(bytes).ok()
        });
        if self.situation.environment.is_world_readable(&key_file) {
            self.warn(&["server", "tls", "key"], "every user of this machine can read the private key; `chmod 600` it");
        }
        let builder = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
        let builder = builder.with_safe_default_protocol_versions().ok()?.with_no_client_auth();
        match builder.with_single_cert(chain?, key?) {
            Ok(config) => Some(Tls { cert: cert_file, key: key_file, config }),
            Err(error) => {
                let message = format!("certificate and key do not fit: {error}");
                self.problem(&["server", "tls"], &message, "give the key that the certificate was made for");
                None
            }
        }
    }

    fn pem<T>(&mut self, path: &[&str], file: &Path, what: &str, parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let parsed = match self.situation.environment.read(file) {
            Ok(bytes) => parse(&bytes),
            Err(error) => {
                let message = format!("{} cannot be read: {error}", file.display());
                self.problem(path, &message, "relative paths start at the folder of the configuration file");
                return None;
            }
        };
        if parsed.is_none() {
            self.problem(path, &format!("{} is not {what}", file.display()), "PEM begins with -----BEGIN");
        }
        parsed
    }

    /// Completes what was said from the vendor's row or the dialect.
    fn provider(&mut self, name: &str, said: &mut raw::Provider) -> Option<Provider> {
        let at = |field| ["providers", name, field];
        let vendor = self.situation.vendors.iter().find(|vendor| vendor.name == name);
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
                self.problem(&at("base_url"), "is missing", "write the provider's address: http://127.0.0.1:8080/v1");
                None
            }
        };
        let credentials = self.credentials(name, said);
        let auth = match said.auth.as_ref()? {
            raw::Auth::None => Auth::None,
            _ if credentials.is_empty() => {
                let listed = self.report.is_refused(&at("credentials"));
                if let Some(vendor) = vendor.filter(|_| !listed) {
                    let hint = format!("set {}, or write `auth: none` if it needs no key", vendor.key_variable);
                    self.problem(&at("api_key"), "is missing", hint);
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
        let paths = said.paths.as_ref()?;
        let paths = Paths {
            chat: self.path(&["providers", name, "paths", "chat"], &paths.chat),
            models: self.path(&["providers", name, "paths", "models"], &paths.models),
        };
        self.model_names(&at("models"), &said.models);
        if said.default_model.as_ref().is_some_and(|model| !is_model_name(model)) {
            self.problem(&at("default_model"), "is not the name of a model", "write it as the provider does");
        }
        Some(Provider {
            name: name.to_owned(),
            display_name: said.display_name.clone()?,
            dialect,
            base_url: base_url?,
            auth,
            credentials,
            headers,
            paths,
            models: said.models.clone(),
            default_model: said.default_model.clone().or_else(|| said.models.first().cloned()),
            model_prefixes: vendor.map(|vendor| vendor.model_prefixes.clone()).unwrap_or_default(),
            capabilities: said.capabilities.iter().flatten().copied().collect(),
            price: said.price,
        })
    }

    fn credentials(&mut self, provider: &str, said: &raw::Provider) -> Vec<Credential> {
        let mut credentials: Vec<Credential> = Vec::new();
        if let Some(key) = &said.api_key {
            if said.credentials.is_some() {
                let path = ["providers", provider, "api_key"];
                self.problem(&path, "and `credentials` are both there", "keep one of them");
            }
            self.provider_key(&["providers", provider, "api_key"], &key.0);
            credentials.push(Credential { name: "default".into(), key: key.0.clone(), weight: 1 });
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
            credentials.push(Credential { name, key, weight: credential.weight });
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
        let valid =
            said.starts_with('/') && !said.contains(['?', '#']) && said.parse::<http::uri::PathAndQuery>().is_ok();
        if !valid {
            let message = format!("{said:?} is not a path");
            self.problem(path, &message, "write it as /chat/completions, without a query");
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

    /// `names` are those of all providers, also of those that were refused.
    fn aliases(&mut self, said: &IndexMap<String, raw::Alias>, providers: &[Provider], names: &[String]) -> Vec<Alias> {
        let mut aliases = Vec::new();
        for (name, alias) in said {
            if !is_model_name(name) {
                self.problem(
                    &["aliases", name],
                    "is not the name of a model",
                    "leave out blanks and control characters",
                );
            }
            let list = |checker: &mut Self, field: &str, targets: &[raw::Target]| {
                let (trail, found) = (vec![name.as_str()], Vec::new());
                let mut resolver = Resolver { aliases: said, providers, names, trail, steps: 0, found };
                for (index, target) in targets.iter().enumerate() {
                    if let Err(unresolved) = resolver.resolve(target, 1) {
                        let (message, hint) = unresolved.describe();
                        checker.problem(&["aliases", name, field, &index.to_string()], &message, hint);
                    }
                }
                if resolver.found.len() > limits::TARGETS_PER_PLAN {
                    let message = format!("are more than {} in all", limits::TARGETS_PER_PLAN);
                    checker.problem(&["aliases", name, field], &message, "take some out");
                }
                resolver.found
            };
            let targets = list(self, "targets", &alias.targets);
            let on_context_overflow = list(self, "on_context_overflow", &alias.on_context_overflow);
            aliases.push(Alias { name: name.clone(), strategy: alias.strategy, targets, on_context_overflow });
        }
        aliases
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
                self.situation.vendors.iter().map(|vendor| vendor.key_variable.as_str()).collect();
            let hint = format!(
                "set {}, or name a provider in gateway.yaml; `llm-gateway serve --sandbox` answers from simulated ones",
                variables.join(" or ")
            );
            self.problem(&["providers"], "there is none", hint);
        }
        sandbox
    }
}

/// Fills in what was not said. Headers of both are sent; a header that was said wins.
fn complete(said: &mut raw::Provider, pattern: raw::Provider, name: &str) {
    let fill = std::mem::take(said);
    let mut headers = pattern.headers;
    headers.retain(|header, _| !fill.headers.keys().any(|said| said.eq_ignore_ascii_case(header)));
    headers.extend(fill.headers);
    *said = raw::Provider {
        display_name: fill.display_name.or(pattern.display_name).or_else(|| Some(name.to_owned())),
        dialect: fill.dialect.or(pattern.dialect),
        base_url: fill.base_url.or(pattern.base_url),
        api_key: fill.api_key,
        credentials: fill.credentials,
        auth: fill.auth.or(pattern.auth),
        paths: fill.paths.or(pattern.paths),
        headers,
        models: fill.models,
        default_model: fill.default_model.or(pattern.default_model),
        capabilities: fill.capabilities.or(pattern.capabilities),
        price: fill.price,
    };
}

/// Follows a target through other aliases to providers.
struct Resolver<'a> {
    aliases: &'a IndexMap<String, raw::Alias>,
    providers: &'a [Provider],
    /// Of all providers, also of those that were refused.
    names: &'a [String],
    /// The aliases that lead here, the first one first.
    trail: Vec<&'a str>,
    steps: usize,
    found: Vec<AliasTarget>,
}

enum Unresolved {
    /// The aliases of the circle.
    Circle(String),
    TooLong,
    Unknown {
        message: String,
        hint: String,
    },
}

impl Unresolved {
    /// A message and a hint.
    fn describe(self) -> (String, String) {
        match self {
            Unresolved::Circle(circle) => {
                (format!("goes round in a circle: {circle}"), "let one of them name a model".into())
            }
            Unresolved::TooLong => ("leads through too many aliases".into(), "name the models themselves".into()),
            Unresolved::Unknown { message, hint } => (message, hint),
        }
    }
}

impl<'a> Resolver<'a> {
    /// Aliases within aliases multiply; this many steps are more than any plan needs.
    const STEPS: usize = 1000;

    fn resolve(&mut self, target: &'a raw::Target, factor: u32) -> Result<(), Unresolved> {
        self.steps += 1;
        if self.steps > Self::STEPS {
            return Err(Unresolved::TooLong);
        }
        let name = target.model();
        let weight = factor.saturating_mul(target.weight());
        // An alias may have the name of the model that it stands for: its own name means the model.
        let own = self.trail.last() == Some(&name);
        let Some((name, alias)) = self.aliases.get_key_value(name).filter(|_| !own) else {
            let (provider, model) = self.provider_and_model(name)?;
            self.found.push(AliasTarget { provider, model, weight });
            return Ok(());
        };
        if self.trail.contains(&name.as_str()) {
            return Err(Unresolved::Circle(format!("{} -> {name}", self.trail.join(" -> "))));
        }
        self.trail.push(name);
        for target in &alias.targets {
            match self.resolve(target, weight) {
                // It is reported where it is written.
                Ok(()) | Err(Unresolved::Unknown { .. }) => {}
                Err(endless) => return Err(endless),
            }
        }
        self.trail.pop();
        Ok(())
    }

    fn provider_and_model(&self, name: &str) -> Result<(String, String), Unresolved> {
        let split = name.split_once('/').filter(|(_, model)| !model.is_empty());
        if let Some((provider, model)) = split
            && self.names.iter().any(|known| known == provider)
        {
            return Ok((provider.to_owned(), model.to_owned()));
        }
        let listed = self.providers.iter().find(|provider| provider.lists(name));
        if let Some(provider) = listed.or_else(|| self.providers.iter().find(|provider| provider.serves(name))) {
            return Ok((provider.name.clone(), name.to_owned()));
        }
        let providers: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let (message, hint) = match split {
            Some((provider, _)) => {
                (format!("{provider:?} is not a configured provider"), suggest(provider, &providers))
            }
            None => {
                let aliases = self.aliases.keys().map(String::as_str).filter(|alias| self.trail.last() != Some(alias));
                let hint = match nearest(name, aliases) {
                    Some(near) => format!("did you mean the alias `{near}`?"),
                    None => format!("write provider/model, with one of: {}", providers.join(", ")),
                };
                (format!("{name:?} is no model of a configured provider, nor an alias"), hint)
            }
        };
        Err(Unresolved::Unknown { message, hint })
    }
}

fn is_visible_ascii(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_model_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 256 && !name.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}
