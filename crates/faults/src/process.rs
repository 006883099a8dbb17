//! The gateway as a process: its log as it comes, and what the kernel knows of it.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tempfile::TempDir;

use crate::{AnyError, http};

/// Limits are on, and out of the way.
const UNLIMITED: [(&str, &str); 2] =
    [("RATE_LIMIT_REQUESTS_PER_MINUTE", "1000000000"), ("RATE_LIMIT_TOKENS_PER_MINUTE", "10000000000")];
const START_PATIENCE: Duration = Duration::from_secs(20);

/// What the log says of a request; the fields that are compared.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Line {
    pub(crate) request_id: String,
    #[serde(default)]
    pub(crate) correlation_id: Option<String>,
    pub(crate) status: u16,
    pub(crate) outcome: String,
    pub(crate) attempts: u32,
    #[serde(default)]
    pub(crate) usage: Option<LineUsage>,
    #[serde(default)]
    pub(crate) cost_usd: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct LineUsage {
    pub(crate) output: u64,
}

#[derive(Debug, Deserialize)]
struct Event {
    message: String,
    #[serde(default)]
    address: Option<String>,
}

/// Everything that was written, as far as it matters.
#[derive(Debug, Default)]
struct Said {
    lines: Vec<Line>,
    address: Option<SocketAddr>,
    reloads: usize,
    /// Nothing more will come.
    is_over: bool,
    /// What is no JSON, or has a word in it that must not be there.
    unfit: Vec<String>,
    stderr: String,
}

/// A running gateway; killed when dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    child: Child,
    said: Arc<Mutex<Said>>,
    folder: TempDir,
}

/// What a gateway finds around it.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// 0: any.
    pub(crate) port: u16,
    pub(crate) env: Vec<(&'static str, String)>,
    /// The folder of a control group with a limit of memory.
    pub(crate) memory_group: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Resources {
    pub(crate) resident_kib: u64,
    pub(crate) files: u64,
    pub(crate) threads: u64,
}

impl Gateway {
    /// Starts `program` with this configuration file and waits until it listens. No line of its log may contain one of
    /// `canaries`.
    pub(crate) async fn start(program: &Path, yaml: &str, canaries: &'static [&'static str]) -> Result<Self, AnyError> {
        Self::start_in(program, yaml, canaries, &Surroundings::default()).await
    }

    pub(crate) async fn start_in(
        program: &Path,
        yaml: &str,
        canaries: &'static [&'static str],
        surroundings: &Surroundings,
    ) -> Result<Self, AnyError> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("gateway.yaml"), yaml)?;
        let program = fs::canonicalize(program).map_err(|error| {
            format!("{}: {error}; build it with: cargo build --package llm-gateway", program.display())
        })?;
        let mut command = match &surroundings.memory_group {
            None => Command::new(program),
            Some(group) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", "echo $$ > \"$1/cgroup.procs\" && exec \"$0\""]).arg(program).arg(group);
                shell
            }
        };
        command.current_dir(folder.path()).env_clear().env("LOG_FORMAT", "json").envs(UNLIMITED);
        command
            .env("PORT", surroundings.port.to_string())
            .envs(surroundings.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let said = Arc::new(Mutex::new(Said::default()));
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            listen(out, err, &said, canaries);
        }
        let mut gateway = Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), child, said, folder };
        let began = Instant::now();
        loop {
            let address = gateway.said().address;
            if let Some(address) = address {
                gateway.address = address;
                return Ok(gateway);
            }
            if gateway.child.try_wait()?.is_some() || began.elapsed() > START_PATIENCE {
                return Err(format!("the gateway does not start: {}", gateway.stderr()).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the configuration file, and waits until it is in effect.
    pub(crate) async fn reload(&self, yaml: &str) -> Result<(), AnyError> {
        let before = self.said().reloads;
        fs::write(self.folder.path().join("gateway.yaml"), yaml)?;
        self.signal("HUP")?;
        let began = Instant::now();
        while self.said().reloads == before {
            if began.elapsed() > START_PATIENCE {
                return Err("the gateway does not reload its configuration".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// The request lines since they were taken last.
    pub(crate) fn take_lines(&self) -> Vec<Line> {
        std::mem::take(&mut self.said().lines)
    }

    pub(crate) fn line_count(&self) -> usize {
        self.said().lines.len()
    }

    pub(crate) fn unfit(&self) -> Vec<String> {
        self.said().unfit.clone()
    }

    pub(crate) fn stderr(&self) -> String {
        self.said().stderr.clone()
    }

    /// Sends a signal by its name, such as TERM.
    pub(crate) fn signal(&self, name: &str) -> Result<(), AnyError> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(format!("kill -{name} failed").into()) }
    }

    /// The request lines until the end of the log of a process that has ended.
    pub(crate) async fn last_lines(&self) -> Vec<Line> {
        while !self.said().is_over {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.take_lines()
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub(crate) fn resources(&self) -> Result<Resources, AnyError> {
        let pid = self.child.id();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |name: &str| -> Option<u64> {
            status.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()?.parse().ok()
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
        let (resident_kib, threads) = (number("VmRSS:").unwrap_or(0), number("Threads:").unwrap_or(0));
        Ok(Resources { resident_kib, files, threads })
    }

    pub(crate) async fn metrics(&self) -> Result<String, AnyError> {
        let (_, body) = http::exchange(self.address, &http::get(self.address, "/metrics")).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Values of all series of a metric, by their labels as written.
    pub(crate) async fn metric(&self, name: &str) -> Result<HashMap<String, f64>, AnyError> {
        let text = self.metrics().await?;
        let series = text.lines().filter_map(|line| {
            let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels.to_owned(), value.parse().ok()?))
        });
        Ok(series.collect())
    }

    /// Waits until no request is being answered; false if that takes too long.
    pub(crate) async fn idle(&self, patience: Duration) -> Result<bool, AnyError> {
        let began = Instant::now();
        loop {
            let open: f64 = self.metric("gateway_requests_in_flight").await?.values().sum();
            if open == 0.0 {
                return Ok(true);
            }
            if began.elapsed() > patience {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(out: ChildStdout, err: ChildStderr, said: &Arc<Mutex<Said>>, canaries: &'static [&'static str]) {
    let (to_lines, to_stderr) = (Arc::clone(said), Arc::clone(said));
    std::thread::spawn(move || {
        for text in BufReader::new(out).lines().map_while(Result::ok) {
            let read = read_line(&text);
            let mut said = to_lines.lock().unwrap_or_else(PoisonError::into_inner);
            if canaries.iter().any(|canary| text.contains(canary)) {
                said.unfit.push(text.clone());
            }
            match read {
                Read::Line(line) => said.lines.push(*line),
                Read::Listening(address) => said.address = Some(address),
                Read::Reloaded => said.reloads += 1,
                Read::Event => {}
                Read::Unfit => said.unfit.push(text),
            }
        }
        to_lines.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
    });
    std::thread::spawn(move || {
        for text in BufReader::new(err).lines().map_while(Result::ok) {
            let mut said = to_stderr.lock().unwrap_or_else(PoisonError::into_inner);
            said.stderr.push_str(&text);
            said.stderr.push('\n');
        }
    });
}

enum Read {
    Line(Box<Line>),
    Listening(SocketAddr),
    Reloaded,
    Event,
    Unfit,
}

fn read_line(text: &str) -> Read {
    let Ok(event) = serde_json::from_str::<Event>(text) else { return Read::Unfit };
    if event.message == "request" {
        return match serde_json::from_str::<Line>(text) {
            Ok(line) => Read::Line(Box::new(line)),
            Err(_) => Read::Unfit,
        };
    }
    if event.message == "configuration reloaded" {
        return Read::Reloaded;
    }
    match event.address.filter(|_| event.message == "listening").and_then(|address| address.parse().ok()) {
        Some(address) => Read::Listening(address),
        None => Read::Event,
    }
}
