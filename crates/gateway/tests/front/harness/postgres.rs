//! A real PostgreSQL, for tests of the program and of its parts.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server of its own, ended when dropped.
pub(crate) struct Postgres {
    port: u16,
    programs: PathBuf,
    folder: TempDir,
    child: Option<Child>,
}

/// Where the programs are: Debian puts them beside each other by their versions.
fn programs() -> Option<PathBuf> {
    let has_it = |folder: &Path| folder.join("initdb").exists() && folder.join("postgres").exists();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin"));
    std::env::split_paths(&path).chain(debian).find(|folder| has_it(folder))
}

impl Postgres {
    /// `None`, loudly, where there is no PostgreSQL.
    pub(crate) fn start() -> Option<Postgres> {
        let Some(programs) = programs() else {
            eprintln!("SKIPPED: there is no PostgreSQL; scripts/setup.sh installs it");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = TempDir::new().unwrap();
        let mut postgres = Postgres { port, programs, folder, child: None };
        if is_root() {
            let own = Command::new("chown").arg("postgres").arg(postgres.folder.path()).status().unwrap();
            assert!(own.success(), "there is a user postgres where there is a PostgreSQL");
        }
        let made =
            postgres.command("initdb").args(["--auth=trust", "--username=postgres", "--no-sync"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        postgres.run();
        Some(postgres)
    }

    /// One of its programs, on its data, by a user that it runs for: it does not run for root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        command.arg("-D").arg(self.folder.path().join("data")).current_dir("/").stdin(Stdio::null());
        command
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) fn run(&mut self) {
        let mut command = self.command("postgres");
        command.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        for setting in ["unix_socket_directories=", "fsync=off", "shared_buffers=16MB", "max_connections=20"] {
            command.args(["-c", setting]);
        }
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let began = Instant::now();
        while !self.is_ready() {
            assert!(began.elapsed() < Duration::from_secs(20), "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn is_ready(&self) -> bool {
        let pid_file = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid"));
        pid_file.is_ok_and(|text| text.lines().nth(7).is_some_and(|status| status.trim() == "ready"))
            && TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres:canary-password@127.0.0.1:{}/{database}", self.port)
    }

    /// Ends it as a power failure would: nothing is finished, nobody is told.
    pub(crate) fn crash(&mut self) {
        self.signal("QUIT");
        let _ = self.child.take().unwrap().wait();
    }

    /// Stops it and all who work for it, without a word to anybody; or lets them go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let id = self.child.as_ref().unwrap().id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let name = if frozen { "-STOP" } else { "-CONT" };
        let mut all = vec![id.to_string()];
        all.extend(children.split_whitespace().map(str::to_owned));
        assert!(Command::new("kill").arg(name).args(all).status().unwrap().success());
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.crash();
        }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
