//! What every request needs, in one place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::config::Config;
use crate::providers::catalog::Catalog;
use crate::providers::client::Client;
use crate::telemetry::log::Log;
use crate::telemetry::metrics::Metrics;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug)]
pub struct Gateway {
    pub config: Config,
    pub catalog: Catalog,
    pub client: Client,
    pub metrics: Metrics,
    pub log: Log,
    pub started: Instant,
    draining: AtomicBool,
    /// Streams that are still open are to end now.
    closing: AtomicBool,
}

impl Gateway {
    pub fn new(config: Config, catalog: Catalog, client: Client, log: Log) -> Self {
        Gateway {
            config,
            catalog,
            client,
            metrics: Metrics::new(),
            log,
            started: Instant::now(),
            draining: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        }
    }

    /// No new connections are taken; `/health/ready` says so.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Seen by whatever is polled once more when the phase of the shutdown changes: see [`crate::api::listen`].
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }
}
