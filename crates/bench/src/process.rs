//! A server under test as the kernel sees it: pinned to cores, its processor time and its memory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::AnyError;

/// Unit of the times in /proc/PID/stat: 1/100 s on every Linux.
const TICK: Duration = Duration::from_millis(10);
const START_PATIENCE: Duration = Duration::from_secs(15);
const STOP_PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_micros(500);

/// How to see that a server is ready.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ready {
    /// It accepts connections.
    Connect,
    /// It answers GET on this path with 200.
    Get(&'static str),
}

/// A running server; told to stop, with its children, when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// From before the program is started to the first proof that it serves.
    pub(crate) start_time: Duration,
    log: PathBuf,
}

impl Process {
    /// Starts `command` pinned to `cores` (a list for taskset), its output going to the file `log`, and waits until it
    /// is ready.
    pub(crate) fn start(
        command: Command,
        cores: &str,
        address: SocketAddr,
        ready: Ready,
        log: PathBuf,
    ) -> Result<Self, AnyError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = File::options().create(true).append(true).open(&log)?;
        let mut pinned = pin(&command, cores);
        pinned.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let start = Instant::now();
        let child = pinned.spawn().map_err(|error| format!("taskset: {error}"))?;
        let mut process = Self { child, start_time: Duration::ZERO, log };
        while !is_ready(address, ready) {
            if let Some(status) = process.child.try_wait()? {
                return Err(format!("{program} ended at its start with {status}: {}", process.last_words()).into());
            }
            if start.elapsed() > START_PATIENCE {
                return Err(format!("{program} was not ready in time: {}", process.last_words()).into());
            }
            thread::sleep(POLL);
        }
        process.start_time = start.elapsed();
        Ok(process)
    }

    /// Processor time of the process with all its threads, and of its children, since their start.
    pub(crate) fn cpu(&self) -> Result<Duration, AnyError> {
        self.family()?.iter().try_fold(Duration::ZERO, |sum, pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            Ok(sum + cpu_of(&stat).ok_or("unreadable /proc/PID/stat")?)
        })
    }

    /// Resident memory of the process and its children, in bytes. Pages they share count for each of them.
    pub(crate) fn resident(&self) -> Result<u64, AnyError> {
        self.family()?.iter().try_fold(0, |sum, pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            Ok(sum + resident_of(&status).ok_or("unreadable /proc/PID/status")?)
        })
    }

    /// Lines in its log since that was last emptied.
    pub(crate) fn log_lines(&self) -> io::Result<u64> {
        let bytes = fs::read(&self.log)?;
        Ok(memchr::memchr_iter(b'\n', &bytes).count() as u64)
    }

    /// Keeps millions of log lines from filling the disk. The process goes on writing at the new end.
    pub(crate) fn empty_log(&self) -> io::Result<()> {
        File::options().write(true).open(&self.log)?.set_len(0)
    }

    /// It and its children; none of the systems measured has grandchildren.
    fn family(&self) -> io::Result<Vec<u32>> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        Ok(std::iter::once(pid).chain(children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok())).collect())
    }

    fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(1000)..]).trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // SIGTERM first, since a killed nginx leaves its workers behind. Errors mean that it is gone by now.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let asked = Instant::now();
        while asked.elapsed() < STOP_PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command under taskset, with its arguments, environment and working directory.
pub(crate) fn pin(command: &Command, cores: &str) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["--cpu-list", cores]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => pinned.env(name, value),
            None => pinned.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        pinned.current_dir(directory);
    }
    pinned
}

/// Ticks since boot on a list of cores, as for taskset: idle, and in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CoreTime {
    idle: u64,
    all: u64,
}

impl CoreTime {
    pub(crate) fn now(cores: &str) -> Result<Self, AnyError> {
        Ok(Self::of(&fs::read_to_string("/proc/stat")?, cores).ok_or("unreadable /proc/stat")?)
    }

    fn of(stat: &str, cores: &str) -> Option<Self> {
        let (mut idle, mut all) = (0, 0);
        for core in cores.split(',') {
            let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} ")))?;
            // user nice system idle iowait irq softirq steal; what follows is contained in the first two.
            let ticks: Vec<u64> = line.split_ascii_whitespace().take(8).map_while(|ticks| ticks.parse().ok()).collect();
            idle += ticks.get(3)? + ticks.get(4)?;
            all += ticks.iter().sum::<u64>();
        }
        Some(Self { idle, all })
    }

    /// Share of the time since `earlier` in which the cores had nothing to do.
    pub(crate) fn idle_since(self, earlier: Self) -> f64 {
        (self.idle - earlier.idle) as f64 / (self.all - earlier.all).max(1) as f64
    }
}

/// An address of this machine that nobody listens on.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Open files a process started here may have.
pub(crate) fn open_files_limit() -> usize {
    let limits = fs::read_to_string(Path::new("/proc/self/limits")).unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    line.split_ascii_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(1024)
}

fn is_ready(address: SocketAddr, ready: Ready) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let Ready::Get(path) = ready else { return true };
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut head = [0; 12];
    let answered = stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.write_all(request.as_bytes()).is_ok()
        && stream.read_exact(&mut head).is_ok();
    answered && head.ends_with(b" 200")
}

/// User and system time: the 14th and 15th field, counted behind the name, which may contain anything.
fn cpu_of(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * (user + system))
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_a_hostile_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 9 1 2";
        assert_eq!(cpu_of(stat), Some(Duration::from_secs(2)));
    }

    #[test]
    fn idle_time_is_that_of_the_cores_asked_for() {
        let before = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\ncpu1 100 0 0 50 0 0 0 0 0 0\ncpu10 7 7 7 7 7 7 7 7 7 7\n";
        let after = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 0 20 40 10 0 10 10 5 5\ncpu1 200 0 0 50 0 0 0 0 0 0\ncpu10 9 9 9 9 9 9 9 9 9 9\n";
        let idle = |cores| CoreTime::of(after, cores).unwrap().idle_since(CoreTime::of(before, cores).unwrap());
        assert_eq!((idle("0"), idle("1"), idle("0,1")), (0.5, 0.0, 0.25));
        assert_eq!(CoreTime::of(after, "2"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(resident_of("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2 * 1024 * 1024));
    }

    #[test]
    fn a_program_that_ends_at_once_is_reported_with_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such key; exit 2"]);
        let log = directory.path().join("log");
        let error = Process::start(command, "0", free_address().unwrap(), Ready::Connect, log).unwrap_err();
        assert!(error.to_string().contains("no such key"), "{error}");
    }
}
