//! A Redis of a test's own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const START_PATIENCE: Duration = Duration::from_secs(10);
/// Lines of an answer, and answers within it.
const LINES: usize = 100_000;

/// A server on a port of its own that keeps nothing; killed when dropped.
#[derive(Debug)]
pub struct Redis {
    addr: SocketAddr,
    folder: TempDir,
    clustered: bool,
    child: Option<Child>,
}

impl Redis {
    /// `None`, loudly, where there is no redis-server.
    pub async fn start() -> io::Result<Option<Redis>> {
        Redis::begin(false).await
    }

    /// As [`Redis::start`], the only member of a cluster: it has every slot, and refuses commands whose keys lie in several.
    pub async fn start_clustered() -> io::Result<Option<Redis>> {
        let Some(redis) = Redis::begin(true).await? else { return Ok(None) };
        redis.says("CLUSTER ADDSLOTSRANGE 0 16383").await?;
        let began = Instant::now();
        while !redis.says("CLUSTER INFO").await?.concat().contains("cluster_state:ok") {
            if began.elapsed() > START_PATIENCE {
                return Err(io::Error::other("the cluster does not come together"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Some(redis))
    }

    async fn begin(clustered: bool) -> io::Result<Option<Redis>> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            use std::io::Write;
            writeln!(io::stderr(), "SKIPPED: there is no redis-server; scripts/setup.sh installs it")?;
            return Ok(None);
        }
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut redis = Redis { addr, folder: tempfile::tempdir()?, clustered, child: None };
        redis.run().await?;
        Ok(Some(redis))
    }

    /// Starts it again, empty, after [`Redis::kill`].
    pub async fn run(&mut self) -> io::Result<()> {
        let port = self.addr.port().to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--cluster-enabled", if self.clustered { "yes" } else { "no" }])
            .args(["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0", "--dir"])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .spawn()?;
        self.child = Some(child);
        let began = Instant::now();
        while TcpStream::connect(self.addr).await.is_err() {
            if began.elapsed() > START_PATIENCE {
                return Err(io::Error::other("redis-server does not start"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// As when the machine loses its power.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = (child.kill(), child.wait());
        }
    }

    /// `STOP`, `CONT`, …
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let Some(child) = &self.child else { return Err(io::Error::other("it does not run")) };
        let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill -{name}: {status}"))) }
    }

    /// What it says to one command, its words separated by spaces: the lines of the answer, without lengths.
    pub async fn says(&self, command: &str) -> io::Result<Vec<String>> {
        let mut socket = TcpStream::connect(self.addr).await?;
        socket.write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut socket = BufReader::new(socket);
        let (mut lines, mut expected) = (Vec::new(), 1usize);
        while expected > 0 && lines.len() < LINES {
            expected -= 1;
            let mut line = String::new();
            socket.read_line(&mut line).await?;
            let line = line.trim_end();
            let number = line.get(1..).and_then(|digits| digits.parse::<usize>().ok());
            match (line.as_bytes().first(), number) {
                (Some(b'*'), Some(count)) => expected += count,
                (Some(b'$'), Some(length)) => {
                    let mut text = vec![0; length + 2];
                    socket.read_exact(&mut text).await?;
                    lines.push(String::from_utf8_lossy(&text[..length]).into_owned());
                }
                (Some(b'$' | b'*'), None) => lines.push("(nil)".to_owned()),
                _ => lines.push(line.trim_start_matches([':', '+']).to_owned()),
            }
        }
        Ok(lines)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
