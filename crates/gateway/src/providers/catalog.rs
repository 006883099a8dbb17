//! The providers of this gateway and the models by which clients name them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use foldhash::HashMap;
use gateway_core::access::Scope;
use gateway_core::error::{ErrorKind, GatewayError};
use gateway_core::limits::{KEPT_MODEL_NAME_BYTES, TARGET_STATES_PER_PROVIDER, TARGETS_PER_PLAN};
use gateway_core::target::{Capabilities, Capability, Strategy, Target};
use gateway_policy::models::{ModelFacts, ModelTable};
use gateway_policy::pricing::{InvalidPrice, Price, Rate, Tier};
use gateway_policy::resilience::{BreakerSettings, Health};
use gateway_policy::routing::signals::Signals;
use gateway_policy::routing::{Candidate, Candidates, Planned, RoutePlan, Turns, Why};
use gateway_policy::tokens::{Estimate, USUAL_OUTPUT_TOKENS_REASONING, expected_output};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use crate::admission::Slots;
use crate::call::Call;
use crate::config::{self, Alias, AliasTarget, Auth};
use crate::providers::client::Origin;
use crate::providers::health;
use crate::providers::meter::Metered;
use crate::providers::permit::CredentialState;
use crate::providers::probe::Probed;
use crate::providers::quota;
use crate::providers::state::{States, TargetState};
use crate::settle::Record;

/// A provider, ready to be asked.
#[derive(Debug)]
pub struct Provider {
    pub name: Arc<str>,
    pub config: config::Provider,
    pub origin: Arc<Origin>,
    pub price: Option<Price>,
    pub health: Arc<Health>,
    /// For the requests that it has at a time.
    pub slots: Arc<Slots>,
    /// The quota that is declared for it.
    pub quota: Option<Metered>,
    pub probed: Arc<Probed>,
    /// Where a probe asks for its list of models.
    pub models_uri: Uri,
    chat: ChatUri,
    /// At least one; where no key is needed, one that says nothing.
    credentials: Vec<Credential>,
    states: States,
}

/// A key of a provider, ready to be sent.
#[derive(Debug)]
pub struct Credential {
    pub name: String,
    header: Option<(HeaderName, HeaderValue)>,
    /// That, and what the provider wants with every request.
    headers: HeaderMap,
    weight: u32,
    pub quota: Option<Metered>,
    pub state: Arc<CredentialState>,
}

/// Where chat requests of a provider go.
#[derive(Debug)]
enum ChatUri {
    /// The same for all models.
    Fixed(Uri),
    /// What stands before and behind the model's name.
    OfModel(String, String),
}

/// What the gateway knows of one model at one provider.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub price: Option<Price>,
    pub max_output: Option<u64>,
    pub context_window: Option<u64>,
    pub capabilities: Capabilities,
    pub reasoning: bool,
}

/// The candidates for a request, and what the alias that named them says about them.
#[derive(Debug)]
pub struct Resolved<'a> {
    pub candidates: Candidates,
    pub strategy: Option<Strategy>,
    pub affinity: bool,
    pub hedge: bool,
    pub turns: &'a Turns,
}

#[derive(Debug)]
pub struct Catalog {
    providers: Vec<Provider>,
    aliases: Vec<Route>,
    models: Arc<ModelTable>,
    /// Plans of models that one target alone serves, by the name that clients use: the same for every request without hints.
    alone: ArcSwap<HashMap<Arc<str>, Arc<RoutePlan>>>,
    /// Of requests for one model that several providers have, by a hash of its name: models that share one still have a turn
    /// each, only not evenly.
    turns: Vec<Turns>,
}

/// An alias, ready to be asked for.
#[derive(Debug)]
struct Route {
    name: String,
    strategy: Option<Strategy>,
    affinity: bool,
    hedge: bool,
    candidates: Candidates,
    turns: Turns,
}

const SHARED_TURNS: usize = 64;

/// How the path of chat completions ends, in OpenAI's dialect.
pub const CHAT_COMPLETIONS: &str = "chat/completions";

impl Provider {
    fn new(config: config::Provider, breakers: BreakerSettings) -> Result<Self, String> {
        let now = Instant::now();
        let base = &config.base_url;
        let wrong = |error: &dyn std::fmt::Display| format!("provider {}: {error}", config.name);
        let origin = Origin::new(base.scheme.clone(), base.authority.clone()).map_err(|error| wrong(&error))?;
        let query: Vec<String> =
            config.query.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let models = format!("{}{}{query}", base.path, config.paths.models.replace("{model}", "model"));
        let models_uri = models.parse().map_err(|error| wrong(&error))?;
        let chat = format!("{}{}{query}", base.path, config.paths.chat);
        let chat = match chat.split_once("{model}") {
            Some((before, behind)) => ChatUri::OfModel(before.to_owned(), behind.to_owned()),
            None => ChatUri::Fixed(chat.parse().map_err(|error| wrong(&error))?),
        };
        let mut headers = HeaderMap::with_capacity(12);
        // Each request sets its own. It has its place here, so that the map need not grow for it.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        headers.insert(header::HOST, HeaderValue::from_str(base.authority.as_str()).map_err(|error| wrong(&error))?);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers
            .insert(header::USER_AGENT, HeaderValue::from_static(concat!("llm-gateway/", env!("CARGO_PKG_VERSION"))));
        headers.extend(config.headers.iter().cloned());
        let mut credentials = Vec::with_capacity(config.credentials.len());
        for credential in &config.credentials {
            let (name, text) = match &config.auth {
                Auth::Bearer => (header::AUTHORIZATION, format!("Bearer {}", credential.key.expose())),
                Auth::Header(name) => (name.clone(), credential.key.expose().to_owned()),
                Auth::None => continue,
            };
            let mut value = HeaderValue::from_str(&text).map_err(|error| wrong(&error))?;
            value.set_sensitive(true);
            let mut headers = headers.clone();
            headers.insert(name.clone(), value.clone());
            credentials.push(Credential {
                name: credential.name.clone(),
                header: Some((name, value)),
                headers,
                weight: credential.weight,
                quota: credential.quota.map(|quota| Metered::new(quota, now)),
                state: Arc::new(CredentialState::new(now)),
            });
        }
        if credentials.is_empty() {
            // Something that breaker and cooldowns can be kept for.
            let state = Arc::new(CredentialState::new(now));
            let none = Credential { name: "none".to_owned(), header: None, headers, weight: 1, quota: None, state };
            credentials.push(none);
        }
        let price = match &config.price {
            Some(price) => Some(list_price(price).map_err(|error| wrong(&error))?),
            None => None,
        };
        let name = Arc::from(config.name.as_str());
        Ok(Provider {
            name,
            origin: Arc::new(origin),
            chat,
            price,
            health: Arc::new(Health::new(now)),
            slots: Slots::new(usize::MAX),
            quota: config.quota.map(|quota| Metered::new(quota, now)),
            probed: Arc::default(),
            models_uri,
            states: States::new(breakers, credentials.len(), now),
            credentials,
            config,
        })
    }

    /// Takes over what the gateway has learned of the same provider under an earlier configuration, and its idle connections
    /// with it. **Every state that is to survive a reload is carried over here.**
    fn inherit(&mut self, previous: &Provider) {
        self.origin = previous.origin.clone();
        self.slots = previous.slots.clone();
        inherit_quota(&mut self.quota, previous.quota.as_ref());
        self.probed = previous.probed.clone();
        self.health = previous.health.clone();
        // A credential is the same if its name and its key are.
        let places: Vec<Option<usize>> = self
            .credentials
            .iter()
            .map(|own| previous.credentials.iter().position(|old| old.name == own.name && old.header == own.header))
            .collect();
        for (own, place) in self.credentials.iter_mut().zip(&places) {
            if let Some(place) = *place {
                let known = &previous.credentials[place];
                own.state = known.state.clone();
                inherit_quota(&mut own.quota, known.quota.as_ref());
            }
        }
        self.states.inherit(&previous.states, &places, Instant::now());
    }

    /// Whether both stand for the same service, whatever else was changed.
    fn is_same_service(&self, other: &Provider) -> bool {
        let service =
            |provider: &Provider| (provider.name.clone(), provider.origin.uri().clone(), provider.config.dialect);
        service(self) == service(other)
    }

    /// Where to ask `model`, relative to the origin. Fails where the name has a place in the path and cannot stand there.
    pub fn chat_uri(&self, model: &str) -> Result<Uri, GatewayError> {
        match &self.chat {
            ChatUri::Fixed(uri) => Ok(uri.clone()),
            ChatUri::OfModel(before, behind) => {
                let leads_elsewhere = matches!(model, "" | "." | "..");
                let uri = format!("{before}{}{behind}", escape(model)).parse().ok().filter(|_| !leads_elsewhere);
                uri.ok_or_else(|| GatewayError::invalid("model", format!("{} has no such model", self.name)))
            }
        }
    }

    /// Where to have the tokens of a prompt counted, at a provider of Anthropic's dialect: beside its messages.
    pub fn count_tokens_uri(&self, model: &str) -> Result<Uri, GatewayError> {
        let chat = self.chat_uri(model)?;
        let query = chat.query().map(|query| format!("?{query}")).unwrap_or_default();
        let uri = format!("{}/count_tokens{query}", chat.path()).parse();
        uri.map_err(|_| GatewayError::invalid("model", format!("{} has no such model", self.name)))
    }

    /// Where to have a text embedded, at a provider of OpenAI's dialect: beside its chat completions.
    pub fn embeddings_uri(&self, model: &str) -> Result<Uri, GatewayError> {
        let chat = self.chat_uri(model)?;
        let query = chat.query().map(|query| format!("?{query}")).unwrap_or_default();
        let beside = chat.path().strip_suffix(CHAT_COMPLETIONS);
        let uri = beside.and_then(|beside| format!("{beside}embeddings{query}").parse().ok());
        uri.ok_or_else(|| GatewayError::invalid("model", format!("{} embeds nothing", self.name)))
    }

    /// The headers of one attempt: the vendor's own, those of the client that may pass, one credential.
    pub fn headers(&self, forwarded: &HeaderMap, credential: usize) -> HeaderMap {
        let credential = &self.credentials[credential];
        let mut headers = credential.headers.clone();
        if forwarded.is_empty() {
            return headers;
        }
        for name in forwarded.keys() {
            headers.remove(name);
        }
        headers.extend(forwarded.iter().map(|(name, value)| (name.clone(), value.clone())));
        if let Some((name, value)) = &credential.header {
            headers.insert(name.clone(), value.clone());
        }
        headers
    }

    /// What is remembered of a model, as this provider names it.
    pub fn state(&self, model: &str) -> Arc<TargetState> {
        self.states.of(model)
    }

    /// A text without this provider's keys.
    pub fn redacted(&self, text: &str) -> String {
        let keys = self.config.credentials.iter().map(|credential| credential.key.expose());
        keys.fold(text.to_owned(), |text, key| text.replace(key, "[redacted]"))
    }

    /// The same for a body; one without keys stays as it is.
    pub fn redact(&self, body: &mut Bytes) {
        let mut keys = self.config.credentials.iter().map(|credential| credential.key.expose().as_bytes());
        if keys.any(|key| memchr::memmem::find(body, key).is_some()) {
            *body = Bytes::from(self.redacted(&String::from_utf8_lossy(body)));
        }
    }

    pub fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    /// One of the credentials but `except`, each as often as its weight says.
    pub fn draw(&self, except: &[usize]) -> Option<usize> {
        if let [_] = &*self.credentials {
            return except.is_empty().then_some(0);
        }
        let eligible = || self.credentials.iter().enumerate().filter(|(index, _)| !except.contains(index));
        let total: u32 = eligible().map(|(_, credential)| credential.weight).sum();
        let mut draw = fastrand::u32(0..total.max(1));
        eligible().find_map(|(index, credential)| match draw.checked_sub(credential.weight) {
            None => Some(index),
            Some(rest) => {
                draw = rest;
                None
            }
        })
    }

    /// How the provider fares, all of its models together. `nodes`: gateways that share its quota.
    pub fn health(&self, nodes: u64) -> health::Health {
        let now = Instant::now();
        let lanes = self.states.all().into_iter().flat_map(|(_, state)| state.lanes.to_vec());
        // Models that nobody has asked for say nothing of the provider.
        let circuit = health::roll_up(lanes.filter(|lane| lane.is_known()).map(|lane| lane.breaker.circuit(now)));
        health::Health::of(
            &self.health.report(now),
            circuit,
            self.probed.verdict(),
            quota::tightest(self, nodes, now),
            now,
        )
    }

    /// All models that were asked for.
    pub fn states(&self) -> Vec<(Arc<str>, Arc<TargetState>)> {
        self.states.all()
    }
}

/// A quota that has changed keeps what was used of it.
fn inherit_quota(own: &mut Option<Metered>, previous: Option<&Metered>) {
    if let (Some(own), Some(previous)) = (own, previous) {
        own.meter = previous.meter.clone();
    }
}

/// Percent-encodes what is not unreserved: no part of it can end the place in which it stands.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// The operator's own price, for prompts of any length.
fn list_price(price: &config::Price) -> Result<Price, InvalidPrice> {
    let tier = Tier {
        above: 0,
        input: Rate::per_million(price.input)?,
        cache_read: price.cache_read.map(Rate::per_million).transpose()?,
        cache_write: price.cache_write.map(Rate::per_million).transpose()?,
        output: Rate::per_million(price.output)?,
    };
    Price::try_from(vec![tier])
}

impl Catalog {
    /// `previous`: the catalog that this one replaces.
    pub fn new(
        providers: Vec<config::Provider>,
        aliases: Vec<Alias>,
        models: Arc<ModelTable>,
        breakers: BreakerSettings,
        previous: Option<&Catalog>,
    ) -> Result<Self, String> {
        let mut providers: Vec<Provider> =
            providers.into_iter().map(|provider| Provider::new(provider, breakers)).collect::<Result<_, _>>()?;
        for provider in &mut providers {
            let known = previous.and_then(|previous| previous.provider(&provider.name));
            if let Some(known) = known.filter(|known| known.is_same_service(provider)) {
                provider.inherit(known);
            }
        }
        let turns = (0..SHARED_TURNS).map(|_| Turns::new(TARGETS_PER_PLAN)).collect();
        let mut catalog = Catalog { providers, aliases: Vec::new(), models, alone: ArcSwap::default(), turns };
        catalog.aliases = aliases.into_iter().map(|alias| catalog.route(alias)).collect();
        Ok(catalog)
    }

    fn route(&self, alias: Alias) -> Route {
        let candidates = |targets: &[AliasTarget]| {
            let known = targets.iter().filter_map(|target| Some((target, self.provider(&target.provider)?)));
            let candidates = known.map(|(target, provider)| Candidate {
                weight: target.weight,
                priority: target.priority,
                canary: target.canary,
                ..self.candidate(provider, &target.model)
            });
            candidates.collect::<Vec<Candidate>>()
        };
        Route {
            candidates: Candidates {
                targets: candidates(&alias.targets),
                on_context_overflow: candidates(&alias.on_context_overflow),
                on_content_filter: candidates(&alias.on_content_filter),
            },
            turns: Turns::new(alias.targets.len()),
            name: alias.name,
            strategy: alias.strategy,
            affinity: alias.affinity,
            hedge: alias.hedge,
        }
    }

    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// Whether requests of this configuration may go to this origin.
    pub fn uses(&self, origin: u64) -> bool {
        self.providers.iter().any(|provider| provider.origin.id() == origin)
    }

    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.index(name).map(|index| &self.providers[index])
    }

    pub fn index(&self, name: &str) -> Option<usize> {
        self.providers.iter().position(|provider| &*provider.name == name)
    }

    fn known(&self, provider: &Provider, model: &str) -> Option<&ModelFacts> {
        self.models.find(provider.config.model_table.as_deref()?, model)
    }

    /// Whether the table lists a model for this provider, whatever the operator has listed.
    fn lists(&self, provider: &Provider, model: &str) -> bool {
        provider.config.listed_table().is_some_and(|table| self.models.find(table, model).is_some())
    }

    pub fn facts(&self, provider: &Provider, model: &str) -> Facts {
        let known = self.known(provider, model);
        Facts {
            price: provider.price.clone().or_else(|| known.and_then(|facts| facts.price.clone())),
            max_output: known.and_then(|facts| facts.max_output),
            context_window: known.and_then(|facts| facts.context_window),
            capabilities: known
                .and_then(|facts| facts.capabilities)
                .unwrap_or(provider.config.capabilities)
                .with(Capability::Streaming),
            reasoning: known.is_some_and(ModelFacts::reasoning),
        }
    }

    /// How large a request probably is for `target`, by what its provider has told of others.
    pub fn estimate(&self, target: &Target, call: &Call) -> Estimate {
        match self.provider(&target.provider) {
            Some(provider) => self.estimate_at(provider, &target.model, &provider.state(&target.model).signals, call),
            None => call.estimate(),
        }
    }

    /// The same for whoever has found these already.
    pub fn estimate_at(&self, provider: &Provider, model: &str, signals: &Signals, call: &Call) -> Estimate {
        let mut estimate = signals.estimate(call.estimate(), call.envelope.max_tokens);
        if signals.usual_output().is_none() && self.known(provider, model).is_some_and(ModelFacts::reasoning) {
            estimate.output = expected_output(USUAL_OUTPUT_TOKENS_REASONING, call.envelope.max_tokens);
        }
        estimate
    }

    fn candidate(&self, provider: &Provider, model: &str) -> Candidate {
        let facts = self.facts(provider, model);
        Candidate {
            target: Target {
                provider: provider.name.clone(),
                model: Arc::from(model),
                dialect: provider.config.dialect,
            },
            price: facts.price,
            capabilities: facts.capabilities,
            context_window: facts.context_window,
            weight: 1,
            priority: 0,
            canary: None,
            allowed: true,
            available: Ok(()),
            warmth: 1.0,
            signals: provider.state(model).signals.clone(),
        }
    }

    pub fn is_alias(&self, name: &str) -> bool {
        self.aliases.iter().any(|alias| alias.name == name)
    }

    /// What a model name stands for: an alias; `provider/model`; a bare name that a provider lists, the model table knows or
    /// a vendor's prefix claims. Without a name, every provider's default model.
    pub fn resolve(&self, model: Option<&str>) -> Result<Resolved<'_>, GatewayError> {
        let plain = |targets| Resolved {
            candidates: Candidates { targets, ..Candidates::default() },
            strategy: None,
            affinity: false,
            hedge: false,
            turns: self.shared_turns(model.unwrap_or_default()),
        };
        let Some(model) = model.filter(|model| !model.is_empty()) else {
            let defaults = self.providers.iter().filter_map(|provider| {
                provider.config.default_model.as_deref().map(|model| self.candidate(provider, model))
            });
            return Ok(plain(defaults.collect()));
        };
        if let Some(alias) = self.aliases.iter().find(|alias| alias.name == model) {
            return Ok(Resolved {
                candidates: alias.candidates.clone(),
                strategy: alias.strategy,
                affinity: alias.affinity,
                hedge: alias.hedge,
                turns: &alias.turns,
            });
        }
        if let Some((name, rest)) = model.split_once('/')
            && let Some(provider) = self.provider(name)
            && !rest.is_empty()
        {
            return Ok(plain(vec![self.candidate(provider, rest)]));
        }
        let listed = |provider: &&Provider| provider.config.lists(model) || self.lists(provider, model);
        let mut candidates: Vec<Candidate> =
            self.providers.iter().filter(listed).map(|provider| self.candidate(provider, model)).collect();
        if candidates.is_empty() {
            let claimed = self.providers.iter().filter(|provider| provider.config.serves(model));
            candidates = claimed.map(|provider| self.candidate(provider, model)).collect();
        }
        if candidates.is_empty() { Err(self.unknown(model)) } else { Ok(plain(candidates)) }
    }

    /// The plan for a request without hints, where there was nothing to decide the last time either.
    pub fn alone(&self, model: &str) -> Option<Arc<RoutePlan>> {
        self.alone.load().get(model).cloned()
    }

    /// Keeps a plan in which there was nothing to decide. Names are given by clients, so that there is a bound.
    pub fn keep_alone(&self, model: &str, plan: &Arc<RoutePlan>) {
        let others = [&plan.on_context_overflow, &plan.on_content_filter].into_iter().any(|list| !list.is_empty());
        let decided = plan.hedge || others || !plan.skipped.is_empty();
        if decided || !matches!(&plan.targets[..], [Planned { why: Why::OnlyTarget, .. }]) {
            return;
        }
        let full = self.alone.load().len() >= TARGET_STATES_PER_PROVIDER;
        if full || model.len() > KEPT_MODEL_NAME_BYTES {
            return;
        }
        self.alone.rcu(|alone| {
            let mut more = HashMap::clone(alone);
            if more.len() < TARGET_STATES_PER_PROVIDER {
                more.insert(Arc::from(model), plan.clone());
            }
            more
        });
    }

    /// Notes how the candidates fare now. One that is alone has nobody to leave its share to.
    pub fn feel(&self, candidates: &mut Candidates, nodes: u64, now: Instant) {
        if let [_] = &candidates.targets[..] {
            return;
        }
        for candidate in &mut candidates.targets {
            if let Some(provider) = self.provider(&candidate.target.provider) {
                let has_quota =
                    |quota: &Option<Metered>| !quota.as_ref().is_some_and(|quota| quota.is_used_up(nodes, now));
                let awake =
                    |credential: &Credential| credential.state.rest.cooldown.ready(now) && has_quota(&credential.quota);
                let awake = has_quota(&provider.quota) && provider.credentials.iter().any(awake);
                candidate.warmth = if awake { provider.state(&candidate.target.model).warmth(now) } else { 0.0 };
            }
        }
    }

    fn shared_turns(&self, model: &str) -> &Turns {
        let mut hasher = DefaultHasher::new();
        model.hash(&mut hasher);
        &self.turns[hasher.finish() as usize % SHARED_TURNS]
    }

    fn unknown(&self, model: &str) -> GatewayError {
        let tables: Vec<&str> = self.providers.iter().filter_map(|provider| provider.config.listed_table()).collect();
        let models = self.models.near(model, &tables).into_iter().filter_map(|near| {
            let (table, model) = near.split_once('/')?;
            let provider = self.providers.iter().find(|provider| provider.config.listed_table() == Some(table))?;
            Some(format!("{}/{model}", provider.name))
        });
        let aliases =
            self.aliases.iter().map(|alias| &alias.name).filter(|name| strsim::jaro_winkler(model, name) > 0.8);
        // The provider may be what is misspelt.
        let bare = model.split_once('/').map_or("", |(_, bare)| bare);
        let known = self.providers.iter().filter(|provider| self.lists(provider, bare));
        let elsewhere = known.map(|provider| format!("{}/{bare}", provider.name));
        let near: Vec<String> = aliases.cloned().chain(models).chain(elsewhere).take(3).collect();
        let hint = if near.is_empty() {
            "name it as provider/model; GET /v1/models lists what there is".to_owned()
        } else {
            format!("did you mean {}?", near.join(", "))
        };
        let shown: String = model.chars().take(100).collect();
        let error = GatewayError::new(ErrorKind::ModelNotFound, format!("there is no model {shown:?} here: {hint}"));
        GatewayError { field: Some("model".to_owned()), ..error }.detail("near", near)
    }

    /// The models of a provider, as it names them: those that the operator listed, else those that the model table knows.
    pub fn models(&self, provider: &Provider) -> Vec<String> {
        let listed = &provider.config.models;
        let mut names: Vec<String> = match provider.config.listed_table() {
            Some(table) if listed.is_empty() => self.models.names(table).map(str::to_owned).collect(),
            _ => listed.clone(),
        };
        if let Some(default) = &provider.config.default_model
            && !names.contains(default)
        {
            names.insert(0, default.clone());
        }
        names
    }

    /// Everything that a client of this scope may ask for by name: aliases, then `provider/model`.
    pub fn names(&self, scope: &Scope) -> Vec<String> {
        let aliases = self.aliases.iter().filter(|alias| {
            let mut targets = alias.candidates.targets.iter().map(|candidate| &candidate.target);
            targets.any(|target| scope.allows_target(Some(&alias.name), &target.provider, &target.model))
        });
        let models = self
            .providers
            .iter()
            .flat_map(|provider| self.models(provider).into_iter().map(move |model| (&*provider.name, model)));
        let models = models.filter(|(provider, model)| scope.allows_target(None, provider, model));
        let models = models.map(|(provider, model)| format!("{provider}/{model}"));
        aliases.map(|alias| alias.name.clone()).chain(models).collect()
    }

    /// The metric label of a request's model: the name by which the configuration or the model table knows it, else `other`.
    pub fn model_label(&self, record: &Record) -> Arc<str> {
        let (Some(provider), Some(model)) = (&record.provider, &record.model) else { return Arc::from("none") };
        if self.provider(provider).is_some_and(|provider| provider.config.lists(model)) {
            return model.clone();
        }
        match self.models.find(provider, model) {
            Some(facts) if *facts.name == **model => model.clone(),
            Some(facts) => Arc::from(facts.name),
            None => Arc::from("other"),
        }
    }
}
