//! The servers that are compared, and how each is set up.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::AnyError;
use crate::keys::Ring;
use crate::process::{Process, Ready, free_address};
use crate::rows::System;

/// Size of the text of every answer, in bytes.
pub(crate) const ANSWER_BYTES: usize = 1000;
/// Text chunks in a stream.
pub(crate) const CHUNKS: usize = 100;

/// What the gateway is told, besides addresses and made-up provider keys. Only limits are lifted and the cache is off but
/// for rows of its own, since repeated requests would otherwise never reach the upstream.
pub(crate) const GATEWAY_SETTINGS: [(&str, &str); 3] = [
    ("RATE_LIMIT_REQUESTS_PER_MINUTE", "1000000000"),
    ("RATE_LIMIT_TOKENS_PER_MINUTE", "1000000000000"),
    ("CACHE_ENABLED", "false"),
];

/// Cores, as lists for taskset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cores {
    /// The proxy's only core.
    pub(crate) one: String,
    /// The proxy's two cores, where that leaves the load cores of its own.
    pub(crate) two: Option<String>,
    /// Generator and upstream.
    pub(crate) load: String,
}

impl Cores {
    pub(crate) fn of_this_machine() -> Result<Self, AnyError> {
        let status = fs::read_to_string("/proc/self/status")?;
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
        Self::of(allowed.trim()).ok_or_else(|| "two cores are needed: one for the proxy, one for the load".into())
    }

    /// Divides the cores of a list such as `0-3,8`.
    fn of(allowed: &str) -> Option<Self> {
        let mut cores = Vec::new();
        for range in allowed.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            cores.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
        }
        let list = |cores: &[usize]| cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        match cores.as_slice() {
            [] | [_] => None,
            [proxy, load] => Some(Self { one: list(&[*proxy]), two: None, load: list(&[*load]) }),
            [first, second, load @ ..] => Some(Self {
                one: list(&[*first]),
                two: Some(list(&[*first, *second])),
                // The generator and the upstream have a thread each.
                load: list(&load[..load.len().min(2)]),
            }),
        }
    }
}

/// Where things are on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) gateway: PathBuf,
    pub(crate) nginx: PathBuf,
    /// Without it what is shared through Redis is not measured.
    pub(crate) redis: Option<PathBuf>,
    /// This program.
    pub(crate) bench: PathBuf,
}

/// A system that answers requests.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) system: System,
    /// `None` for direct: the upstream is not measured.
    pub(crate) process: Option<Process>,
    pub(crate) whole: SocketAddr,
    pub(crate) streamed: SocketAddr,
    /// Keys that its callers show in turn, as a file.
    pub(crate) keys: Option<PathBuf>,
}

/// What a gateway has that one of most rows has not.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Equipment<'a> {
    /// Its callers have keys.
    pub(crate) ring: Option<&'a Ring>,
    /// Its limits are shared through this Redis.
    pub(crate) redis: Option<SocketAddr>,
    pub(crate) cache: bool,
}

/// Starts systems with logs, configurations and data in one directory.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) programs: Programs,
    pub(crate) directory: PathBuf,
    started: usize,
}

impl Workshop {
    pub(crate) fn new(programs: Programs, directory: &Path) -> Self {
        Self { programs, directory: directory.to_owned(), started: 0 }
    }

    /// An empty directory for the next system.
    fn room(&mut self, name: &str) -> io::Result<PathBuf> {
        self.started += 1;
        let room = self.directory.join(format!("{:03}-{name}", self.started));
        fs::create_dir(&room)?;
        Ok(room)
    }

    /// The canned provider: whole answers at once, streams of [`CHUNKS`] chunks every `gap`.
    pub(crate) fn upstream(&mut self, cores: &str, gap: Duration) -> Result<(SocketAddr, Process), AnyError> {
        let (room, address) = (self.room("upstream")?, free_address()?);
        let mut command = Command::new(&self.programs.bench);
        command.args(["upstream", "--port", &address.port().to_string()]);
        command.args(["--chunk-gap-ms", &gap.as_millis().to_string()]);
        command.args(["--answer-bytes", &ANSWER_BYTES.to_string(), "--chunks", &CHUNKS.to_string()]);
        let process = Process::start(command, cores, address, Ready::Connect, room.join("log"))?;
        Ok((address, process))
    }

    /// Starts `system` in front of `upstream` with as many workers as it has `cores`, fit for this many connections.
    pub(crate) fn peer(
        &mut self,
        system: System,
        upstream: SocketAddr,
        cores: &str,
        connections: usize,
    ) -> Result<Peer, AnyError> {
        match system {
            System::Direct => Ok(Peer { system, process: None, whole: upstream, streamed: upstream, keys: None }),
            System::Nginx => self.nginx(upstream, cores, connections),
            System::Gateway => self.gateway(upstream, cores, Equipment::default()),
        }
    }

    fn nginx(&mut self, upstream: SocketAddr, cores: &str, connections: usize) -> Result<Peer, AnyError> {
        let (room, whole, streamed) = (self.room("nginx")?, free_address()?, free_address()?);
        let configuration = [
            ("@WORKERS@", cores.split(',').count().to_string()),
            // Two sockets for each connection, and some of its own.
            ("@CONNECTIONS@", (2 * connections + 1000).to_string()),
            ("@DIR@", room.display().to_string()),
            ("@UPSTREAM@", upstream.to_string()),
            ("@WHOLE@", whole.to_string()),
            ("@STREAMED@", streamed.to_string()),
        ]
        .into_iter()
        .fold(include_str!("../../../bench/nginx.conf").to_owned(), |text, (name, value)| text.replace(name, &value));
        let file = room.join("nginx.conf");
        fs::write(&file, configuration)?;
        let mut command = Command::new(&self.programs.nginx);
        command.arg("-p").arg(&room).arg("-c").arg(&file).args(["-e", "stderr"]);
        let process = Process::start(command, cores, whole, Ready::Get("/ready"), room.join("log"))?;
        Ok(Peer { system: System::Nginx, process: Some(process), whole, streamed, keys: None })
    }

    /// A database with so many keys.
    pub(crate) fn ring(&mut self, keys: usize) -> Result<Ring, AnyError> {
        let room = self.room("keys")?;
        Ring::make(&self.programs.gateway, &room, keys)
    }

    /// `None` where it is not installed.
    pub(crate) fn redis(&mut self, cores: &str) -> Result<Option<(SocketAddr, Process)>, AnyError> {
        let Some(program) = self.programs.redis.clone() else { return Ok(None) };
        let (room, address) = (self.room("redis")?, free_address()?);
        let mut command = Command::new(program);
        command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no"]).current_dir(&room);
        let process = Process::start(command, cores, address, Ready::Connect, room.join("log"))?;
        Ok(Some((address, process)))
    }

    pub(crate) fn gateway(
        &mut self,
        upstream: SocketAddr,
        cores: &str,
        Equipment { ring, redis, cache }: Equipment<'_>,
    ) -> Result<Peer, AnyError> {
        let (room, address) = (self.room("gateway")?, free_address()?);
        let mut command = Command::new(&self.programs.gateway);
        // Nothing of the caller's environment: real provider keys have no place here.
        command.arg("serve").env_clear().current_dir(&room).envs(GATEWAY_SETTINGS);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOST", address.ip().to_string()).env("PORT", address.port().to_string());
        command.env("OPENAI_API_KEY", "x").env("OPENAI_BASE_URL", format!("http://{upstream}/v1"));
        command.env("ANTHROPIC_API_KEY", "x").env("ANTHROPIC_BASE_URL", format!("http://{upstream}"));
        if let Some(ring) = ring {
            command.env("DATABASE_URL", &ring.url);
        }
        if cache {
            command.env("CACHE_ENABLED", "true");
        }
        if let Some(redis) = redis {
            command.env("REDIS_URL", format!("redis://{redis}"));
        }
        let process = Process::start(command, cores, address, Ready::Get("/health/ready"), room.join("log"))?;
        let keys = ring.map(|ring| ring.texts.clone());
        Ok(Peer { system: System::Gateway, process: Some(process), whole: address, streamed: address, keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_never_runs_on_the_cores_of_the_proxy() {
        let cores = |one: &str, two: Option<&str>, load: &str| {
            Some(Cores { one: one.to_owned(), two: two.map(str::to_owned), load: load.to_owned() })
        };
        assert_eq!(Cores::of("0"), None);
        assert_eq!(Cores::of("0-1"), cores("0", None, "1"));
        assert_eq!(Cores::of("2,5-6"), cores("2", Some("2,5"), "6"));
        assert_eq!(Cores::of("0-7"), cores("0", Some("0,1"), "2,3"));
    }
}
