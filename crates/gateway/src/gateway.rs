//! What every request needs, in one place: what lives as long as the process, and what one configuration has made.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use gateway_core::error::GatewayError;
use gateway_core::limits::RESERVED_FILES;
use gateway_policy::limits::Refused;
use gateway_policy::models::ModelTable;
use gateway_policy::resilience::{ExtraCost, ExtraSettings};
use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::access::Guard;
use crate::admission::{self, Admission, Rank, Shed};
use crate::api::listen;
use crate::cache::Caching;
use crate::config::Config;
use crate::keys::ring::KeyRing;
use crate::limits::{self, Limiter};
use crate::providers::catalog::Catalog;
use crate::providers::client::Client;
use crate::store::database::Location;
use crate::store::keeper::Store;
use crate::store::redis::Redis;
use crate::telemetry::log::Log;
use crate::telemetry::metrics::Metrics;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What no configuration replaces.
#[derive(Debug)]
pub struct Process {
    pub metrics: Metrics,
    pub log: Log,
    pub started: Instant,
    pub models: Arc<ModelTable>,
    /// What retries and hedges of all requests may cost.
    pub extra: Arc<ExtraCost>,
    pub admission: Arc<Admission>,
    /// Who has used how much of what it may.
    pub limiter: Arc<Limiter>,
    pub keys: Arc<KeyRing>,
    /// The way to the database; empty where there is none, and until [`Process::open_store`].
    store: OnceLock<Store>,
    /// Files that the process may have open at a time.
    files: u64,
    /// Most of the connections that may be open are.
    crowded: AtomicBool,
    draining: AtomicBool,
    /// Streams that are still open are to end now.
    closing: AtomicBool,
    /// When the latest configuration was refused, in milliseconds of Unix time; 0 if none was since the one in use.
    refused_ms: AtomicI64,
}

impl Process {
    /// `redis`: what several gateways share.
    pub fn new(log: Log, redis: Option<Redis>) -> Result<Self, String> {
        let models = ModelTable::bundled().map_err(|error| format!("the table of models cannot be read: {error}"))?;
        Ok(Process {
            metrics: Metrics::new(),
            log,
            started: Instant::now(),
            models: Arc::new(models),
            extra: Arc::new(ExtraCost::new(ExtraSettings::default(), Instant::now())),
            admission: Admission::new(),
            limiter: Limiter::new(Instant::now(), redis),
            keys: Arc::new(KeyRing::new()),
            store: OnceLock::new(),
            files: raise_open_files(),
            crowded: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            refused_ms: AtomicI64::new(0),
        })
    }

    /// Gateways that ask the same providers with the same keys, as far as is known: each has its share of the quotas.
    pub fn nodes(&self) -> u64 {
        self.limiter.shared().map_or(1, limits::Shared::nodes)
    }

    /// Starts to follow the database, and waits until it is known what it holds, or that it cannot be asked now.
    pub async fn open_store(&self, location: Location) -> Result<(), String> {
        let store =
            Store::start(location, self.keys.clone(), self.log.clone(), self.log.explanations().redis().cloned());
        let store = store.map_err(|error| format!("cannot start the thread of the database: {error}"))?;
        self.store.get_or_init(|| store).settled().await;
        Ok(())
    }

    pub fn store(&self) -> Option<&Store> {
        self.store.get()
    }

    /// So many connections of clients leave a file for each request to a provider.
    pub fn connections(&self) -> usize {
        usize::try_from(self.files.saturating_sub(RESERVED_FILES) / 2).unwrap_or(usize::MAX).max(1)
    }

    pub fn set_crowded(&self, crowded: bool) {
        self.crowded.store(crowded, Ordering::Relaxed);
    }

    /// Idle connections of clients are to make room.
    pub fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed) || !self.admission.memory.has_room(0, Rank::New)
    }

    /// No new connections are taken; `/health/ready` says so.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// The refusal of a request that cannot be taken now; counted.
    pub fn shed(&self, why: Shed) -> GatewayError {
        self.metrics.shed(why.name());
        why.error()
    }

    /// The refusal of a request by one of its caller's limits; counted.
    pub fn limited(&self, refused: &Refused) -> GatewayError {
        self.metrics.limited(refused);
        limits::error(refused)
    }

    /// A configuration was refused, and the one in use stays.
    pub fn refuse_configuration(&self) {
        self.refused_ms.store(Timestamp::now().as_millisecond(), Ordering::Relaxed);
    }

    pub fn accept_configuration(&self) {
        self.refused_ms.store(0, Ordering::Relaxed);
    }

    pub fn configuration_refused_at(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.refused_ms.load(Ordering::Relaxed))
            .ok()
            .filter(|at| *at != Timestamp::UNIX_EPOCH)
    }
}

/// Takes the number of open files that the system allows this process, which many systems set far above what it starts with.
/// Returns the number in effect.
fn raise_open_files() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// What one configuration has made. A request keeps the one that it began with to its end.
#[derive(Debug)]
pub struct Gateway {
    pub process: Arc<Process>,
    pub config: Config,
    pub guard: Guard,
    pub catalog: Catalog,
    pub client: Client,
    /// `None`: nothing is kept.
    pub cache: Option<Caching>,
    /// For connections to come.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub loaded_at: Timestamp,
}

impl Gateway {
    /// `previous`: what it replaces, and what must not be learned or set up once more.
    pub fn new(process: Arc<Process>, mut config: Config, previous: Option<&Gateway>) -> Result<Self, String> {
        process.extra.reconfigure(config.retry.extra);
        let kept_tls = previous.filter(|previous| !config.said.differs_at(&previous.config.said, "server.tls"));
        let tls = match kept_tls {
            Some(previous) => previous.tls.clone(),
            None => config.server.tls.as_ref().map(listen::tls),
        };
        let kept_client = previous.filter(|previous| previous.config.timeouts.connect == config.timeouts.connect);
        let client = match kept_client {
            Some(previous) => previous.client.clone(),
            None => Client::new(config.timeouts.connect).map_err(|error| format!("TLS cannot be set up: {error}"))?,
        };
        let (providers, aliases) = (std::mem::take(&mut config.providers), std::mem::take(&mut config.aliases));
        let catalog = Catalog::new(
            providers,
            aliases,
            process.models.clone(),
            config.circuit_breaker,
            previous.map(|previous| &previous.catalog),
        )?;
        let server = &config.server;
        let guard = Guard::new(
            server.admin_key.as_ref(),
            // The listener is made at the start, and stays.
            previous.map_or(server.admin_addr.is_some(), |previous| previous.guard.has_admin_door()),
            server.admin_hosts.clone(),
            server.allow_anonymous,
        );
        let redis = process.log.explanations().redis();
        let cache = Caching::new(&config, redis, previous.and_then(|previous| previous.cache.as_ref()));
        Ok(Gateway { process, config, guard, catalog, client, cache, tls, loaded_at: Timestamp::now() })
    }

    /// From now on the limits of this configuration hold, and its keys open.
    fn take_effect(&self) {
        self.process.keys.set_file(self.config.keys.iter().cloned());
        let server = &self.config.server;
        let admission = &self.process.admission;
        admission.requests.set_limit(server.max_concurrent_requests);
        admission.stalled.set_patience(self.config.timeouts.client_stall);
        admission.memory.set_limit(server.memory_limit_bytes.unwrap_or_else(admission::half_of_this_machine));
        for provider in self.catalog.providers() {
            provider.slots.set_limit(provider.config.max_concurrent.unwrap_or(usize::MAX));
        }
    }

    pub fn is_draining(&self) -> bool {
        self.process.draining.load(Ordering::Relaxed)
    }

    /// Seen by whatever is polled once more when the phase of the shutdown changes: see [`crate::api::listen`].
    pub fn is_closing(&self) -> bool {
        self.process.closing.load(Ordering::Relaxed)
    }
}

/// The gateway that new requests get.
#[derive(Debug)]
pub struct Current(ArcSwap<Gateway>);

impl Current {
    pub fn new(gateway: Gateway) -> Self {
        gateway.take_effect();
        Current(ArcSwap::from_pointee(gateway))
    }

    /// Takes no lock.
    pub fn get(&self) -> Arc<Gateway> {
        self.0.load_full()
    }

    /// The old one lives until the last request that began with it has ended.
    pub fn replace(&self, gateway: Gateway) {
        gateway.take_effect();
        self.0.store(Arc::new(gateway));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::{self, System};
    use crate::telemetry::explain::Explanations;
    use crate::telemetry::log::{Format, Level};
    use gateway_core::error::FailureClass;

    fn config(addr: &str) -> Config {
        let args = config::Args { sandbox: true, ..config::Args::default() };
        let config = config::load(&args, &System).unwrap();
        Config { providers: Config::sandbox_providers(addr.parse().unwrap()), ..config }
    }

    fn first() -> Gateway {
        writing_to(std::io::sink())
    }

    /// A gateway of its own, with an address where nobody is.
    pub(crate) fn writing_to(output: impl std::io::Write + Send + 'static) -> Gateway {
        let log = Log::start(Format::Json, Level::Error, Explanations::new(None), output).unwrap();
        Gateway::new(Arc::new(Process::new(log, None).unwrap()), config("127.0.0.1:1"), None).unwrap()
    }

    #[test]
    fn an_old_configuration_goes_when_its_last_request_has_ended() {
        let current = Current::new(first());
        let request = current.get();
        let old = Arc::downgrade(&request);
        let next = Gateway::new(request.process.clone(), config("127.0.0.1:1"), Some(&request)).unwrap();
        current.replace(next);
        assert!(old.upgrade().is_some(), "a request is still on it");
        assert!(!Arc::ptr_eq(&request, &current.get()));
        drop(request);
        assert!(old.upgrade().is_none(), "nothing else holds it");
    }

    #[test]
    fn what_was_learned_of_a_service_stays_with_it() {
        let first = first();
        first.catalog.provider("openai").unwrap().health.failed(FailureClass::Transport, Instant::now());
        let same = Gateway::new(first.process.clone(), config("127.0.0.1:1"), Some(&first)).unwrap();
        let health = |gateway: &Gateway| gateway.catalog.provider("openai").unwrap().health(1);
        assert_eq!(health(&same).error_count, 1);
        let origin = |gateway: &Gateway| gateway.catalog.provider("openai").unwrap().origin.id();
        assert_eq!(origin(&same), origin(&first));
        first.catalog.provider("openai").unwrap().health.failed(FailureClass::Transport, Instant::now());
        assert_eq!(health(&same).error_count, 2, "a request that began before teaches both");

        let moved = Gateway::new(first.process.clone(), config("127.0.0.1:2"), Some(&same)).unwrap();
        assert_eq!(health(&moved).error_count, 0, "another service");
        assert!(!moved.catalog.uses(origin(&first)));
    }
}
