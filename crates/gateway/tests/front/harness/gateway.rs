//! The gateway as a process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::eventually;

/// A gateway that listens; killed when dropped.
pub(crate) struct Gateway {
    pub(crate) addr: SocketAddr,
    folder: TempDir,
    child: Child,
    /// What it wrote on standard output, line by line.
    lines: Arc<Mutex<Vec<String>>>,
    complaints: Arc<Mutex<String>>,
}

/// How a start that was refused ended.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: Option<i32>,
    pub(crate) complaint: String,
}

/// On, as everywhere, and out of the way.
pub(crate) const UNLIMITED: [(&str, &str); 2] =
    [("RATE_LIMIT_REQUESTS_PER_MINUTE", "1000000000"), ("RATE_LIMIT_TOKENS_PER_MINUTE", "10000000000")];

fn command(folder: &TempDir, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-gateway"));
    command.current_dir(folder.path()).env_clear().env("PORT", "0").env("LOG_FORMAT", "json");
    // Limits are for those who test them: they say so in their file.
    let file = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap_or_default();
    if !file.contains("limits:") {
        command.envs(UNLIMITED);
    }
    // So is the cache: tests ask the same again and again, and mean it.
    if !file.contains("cache:") {
        command.env("CACHE_ENABLED", "false");
    }
    command.envs(env.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A start that must fail. An empty `yaml` is no file.
pub(crate) fn refused(yaml: &str, env: &[(&str, &str)]) -> Refused {
    let folder = TempDir::new().unwrap();
    if !yaml.is_empty() {
        std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    }
    let mut child = command(&folder, env).spawn().unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
            panic!("the gateway started with {yaml:?} {env:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    Refused { code: status.code(), complaint }
}

impl Gateway {
    pub(crate) async fn start(yaml: &str) -> Gateway {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
        Gateway::start_in(folder, &[]).await
    }

    pub(crate) async fn start_in(folder: TempDir, env: &[(&str, &str)]) -> Gateway {
        let command = command(&folder, env);
        Gateway::run(folder, command).await
    }

    /// With at most so many open files.
    pub(crate) async fn start_with_files(yaml: &str, files: u32) -> Gateway {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
        let plain = command(&folder, &[]);
        let mut limited = Command::new("/bin/sh");
        limited.args(["-c", &format!("ulimit -n {files}; exec \"$0\"")]).arg(plain.get_program());
        limited
            .current_dir(folder.path())
            .env_clear()
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Gateway::run(folder, limited).await
    }

    async fn run(folder: TempDir, mut command: Command) -> Gateway {
        let mut child = command.spawn().unwrap();
        let (lines, complaints) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(String::new())));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (to_lines, to_complaints) = (lines.clone(), complaints.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                to_lines.lock().unwrap().push(line);
            }
        });
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                to_complaints.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let mut gateway = Gateway { addr: "127.0.0.1:0".parse().unwrap(), folder, child, lines, complaints };
        let began = Instant::now();
        gateway.addr = loop {
            if let Some(line) = gateway.log().iter().find(|line| line["message"] == "listening") {
                break line["address"].as_str().unwrap().parse().unwrap();
            }
            let running = gateway.child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(20);
            assert!(running, "the gateway does not start: {}", gateway.complaints.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        gateway
    }

    /// Every line of the log so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// Everything that it wrote anywhere.
    pub(crate) fn output(&self) -> String {
        self.lines.lock().unwrap().join("\n") + &self.complaints.lock().unwrap()
    }

    /// The log line of one request; waits until it is written.
    pub(crate) async fn told(&self, request_id: &str) -> Value {
        self.told_of(|line| line["request_id"] == request_id).await
    }

    /// The first line of a request that fits.
    pub(crate) async fn told_of(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let find = || self.log().into_iter().find(|line| line["message"] == "request" && fits(line));
        eventually("a log line of the request", Duration::from_secs(5), find).await
    }

    /// Where it runs: its `gateway.yaml` and `.env`.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The events of this name that it has told so far.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        // Of a long log only the lines that may be meant are read.
        let lines = self.lines.lock().unwrap();
        let meant = lines.iter().filter(|line| line.contains(name));
        meant.map(|line| serde_json::from_str(line).unwrap()).filter(|line: &Value| line["message"] == name).collect()
    }

    /// The sum of all series of a metric whose labels contain `labels`.
    pub(crate) async fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = super::get(self.addr, "/metrics").await.text();
        let of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let values = text.lines().filter(of_it).filter(|line| line.contains(labels));
        values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Open files, sockets included.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }

    /// `TERM`, `INT`, …
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) async fn exited(&mut self, patience: Duration) -> ExitStatus {
        let child = &mut self.child;
        eventually("the end of the gateway", patience, || child.try_wait().unwrap()).await
    }

    /// Resident memory.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
