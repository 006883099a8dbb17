//! What keys of callers and their limits cost.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::{Bench, mebibytes};
use crate::AnyError;
use crate::keys::Ring;
use crate::load::closed;
use crate::process::Process;
use crate::rows::{Figure, System};
use crate::systems::{Equipment, Peer};
use crate::table::Round;

pub(crate) const MANY_KEYS: usize = 100_000;
/// For every key to be shown once.
const EVERY_KEY_SECONDS: u64 = 60;
const REDIS_PATIENCE: Duration = Duration::from_secs(1);
/// What Redis says of the commands it has had is less.
const MAX_INFO_BYTES: usize = 64 * 1024;

/// Gateways whose callers show keys, with what they stand on.
#[derive(Debug)]
pub(super) struct KeyHolders {
    one: Peer,
    many: Peer,
    shared: Option<Shared>,
    /// For gateways that start anew.
    upstream: SocketAddr,
    ring: Ring,
}

/// A gateway with one key that has its limits in Redis.
#[derive(Debug)]
struct Shared {
    peer: Peer,
    redis: SocketAddr,
    _running: Process,
}

impl Bench {
    pub(super) fn key_holders(&mut self, upstream: SocketAddr) -> Result<KeyHolders, AnyError> {
        super::progress("keys");
        let (one_core, load) = (self.cores.one.clone(), self.cores.load.clone());
        let (single, ring) = (self.workshop.ring(1)?, self.workshop.ring(MANY_KEYS)?);
        let one =
            self.workshop.gateway(upstream, &one_core, Equipment { ring: Some(&single), ..Equipment::default() })?;
        let many =
            self.workshop.gateway(upstream, &one_core, Equipment { ring: Some(&ring), ..Equipment::default() })?;
        let shared = match self.workshop.redis(&load)? {
            Some((redis, running)) => {
                let equipment = Equipment { ring: Some(&single), redis: Some(redis), ..Equipment::default() };
                let peer = self.workshop.gateway(upstream, &one_core, equipment)?;
                Some(Shared { peer, redis, _running: running })
            }
            None => {
                self.remarks.insert("Limits in Redis: not measured, there is no redis-server.".to_owned());
                None
            }
        };
        for peer in [&one, &many].into_iter().chain(shared.as_ref().map(|shared| &shared.peer)) {
            // Each key once, so that what is kept for it is there.
            let keys = if peer.keys.as_ref() == Some(&ring.texts) { MANY_KEYS } else { 1000 };
            let arguments = [("--requests", keys.to_string()), ("--seconds", EVERY_KEY_SECONDS.to_string())];
            let report: closed::Report = self.generate("closed", peer, &self.bodies.small, &arguments)?;
            if report.requests < keys as u64 {
                return Err(format!("only {} of {keys} keys were shown in time", report.requests).into());
            }
        }
        Ok(KeyHolders { one, many, shared, upstream, ring })
    }

    pub(super) fn measure_keys(&mut self, round: &mut Round, holders: &KeyHolders) -> Result<(), AnyError> {
        let (body, cores) = (self.bodies.small.clone(), self.cores.one.clone());
        for (figure, peer) in [(Figure::CpuOneKey, &holders.one), (Figure::CpuManyKeys, &holders.many)] {
            let Some(process) = &peer.process else { continue };
            let cost = self.cost(peer, process, &body, &cores)?;
            self.record(round, figure, System::Gateway, &cost);
            if figure == Figure::CpuManyKeys {
                round.record(Figure::MemoryKeysUsed, System::Gateway, mebibytes(process.resident()?));
            }
            process.empty_log()?;
        }
        if let Some(Shared { peer, redis, .. }) = &holders.shared
            && let Some(process) = &peer.process
        {
            let before = scripts_run(*redis)?;
            let cost = self.cost(peer, process, &body, &cores)?;
            let scripts = (scripts_run(*redis)? - before) as f64 / cost.report.requests as f64;
            // It waits for Redis, as it does in earnest: its idle time is told and is no reason to leave it out.
            round.record(Figure::CpuShared, System::Gateway, cost.cpu_us);
            self.remarks.insert(format!(
                "Limits in Redis: {scripts:.2} scripts a request; the gateway's core was idle for {:.0} % of the time, and wake-ups are part of the cost.",
                100.0 * cost.idle
            ));
            process.empty_log()?;
        }
        let equipment = Equipment { ring: Some(&holders.ring), ..Equipment::default() };
        let fresh = self.workshop.gateway(holders.upstream, &cores, equipment)?;
        if let Some(process) = &fresh.process {
            round.record(Figure::StartManyKeys, System::Gateway, process.start_time.as_secs_f64() * 1e3);
            thread::sleep(Duration::from_secs(1));
            round.record(Figure::MemoryManyKeys, System::Gateway, mebibytes(process.resident()?));
        }
        Ok(())
    }
}

/// Scripts that were run in a Redis so far: a gateway that has given up on it runs none.
fn scripts_run(redis: SocketAddr) -> Result<u64, AnyError> {
    let mut stream = TcpStream::connect(redis)?;
    stream.set_read_timeout(Some(REDIS_PATIENCE))?;
    stream.write_all(b"INFO commandstats\r\nQUIT\r\n")?;
    let mut info = Vec::new();
    stream.take(MAX_INFO_BYTES as u64).read_to_end(&mut info)?;
    Ok(calls(&String::from_utf8_lossy(&info)))
}

fn calls(info: &str) -> u64 {
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_counted_among_other_commands() {
        let info = "# Commandstats\r\ncmdstat_get:calls=9,usec=1\r\ncmdstat_evalsha:calls=42,usec=7,failed_calls=0\r\n";
        assert_eq!((calls(info), calls("# Commandstats\r\n")), (42, 0));
    }
}
