//! What every request needs, in one place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::watch;

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
    closing: watch::Sender<bool>,
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
            closing: watch::Sender::default(),
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
        self.closing.send_replace(true);
    }

    /// Ends when streams that are still open must.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closing = self.closing.subscribe();
        async move {
            // The sender lives as long as the program.
            let _ = closing.wait_for(|closing| *closing).await;
        }
    }
}
