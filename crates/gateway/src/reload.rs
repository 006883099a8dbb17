//! A new configuration without a new start: read and checked as at the start, then put in place of the old one at once, or
//! refused as a whole.
//!
//! A thread of its own looks at the files twice a second, because reading and checking would hold up the connections of any
//! other. Looking works where events do not: on network file systems and in mounted folders that are replaced by a link.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::config::{self, Config, DEFAULT_FILE, Files, Problem, Problems, System, Watched};
use crate::gateway::{Current, Gateway};
use crate::telemetry::log::Level;

/// Between two looks at the files. What changed is read when it was the same twice: whoever writes may not be done.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The way to ask for a reload; the thread ends when it is dropped.
#[derive(Debug)]
pub struct Reloader(Sender<()>);

impl Reloader {
    /// `files`: those from which the configuration in use was read.
    pub fn start(current: Arc<Current>, args: config::Args, files: Files) -> io::Result<Reloader> {
        let (ask, asked) = channel();
        let mut source = Source { current, args, accepted: files.clone(), seen: files };
        std::thread::Builder::new().name("reload".to_owned()).spawn(move || source.watch(&asked))?;
        Ok(Reloader(ask))
    }

    pub fn ask(&self) {
        let _ = self.0.send(());
    }
}

struct Source {
    current: Arc<Current>,
    args: config::Args,
    /// As the configuration in use was read from them.
    accepted: Files,
    /// As they were when they were read last.
    seen: Files,
}

impl Source {
    fn watch(&mut self, asked: &Receiver<()>) {
        let mut before: Option<Files> = None;
        loop {
            let is_asked = match asked.recv_timeout(LOOK_EVERY) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = self.seen.now();
            if !is_asked && (now == self.seen || before.as_ref() != Some(&now)) {
                before = Some(now);
                continue;
            }
            before = None;
            self.reload(is_asked);
        }
    }

    fn reload(&mut self, is_asked: bool) {
        let old = self.current.get();
        let process = &old.process;
        let watched = Watched::new(&System);
        let loaded = config::load(&self.args, &watched);
        let files = watched.files();
        let checked = loaded.and_then(|config| self.usable(config, &files));
        self.seen = files;
        let config = match checked {
            Ok(config) => config,
            Err(problems) => return refuse(&old, &problems),
        };
        let (now, at_next_start) = config.said.changes_since(&old.config.said);
        if now.is_empty() && at_next_start.is_empty() {
            self.accepted = self.seen.clone();
            process.accept_configuration();
            process.metrics.reload("unchanged");
            let level = if is_asked { Level::Info } else { Level::Debug };
            return process.log.event(level, "configuration unchanged", []);
        }
        let gateway = match Gateway::new(process.clone(), config, Some(&old)) {
            Ok(gateway) => gateway,
            Err(why) => return refuse(&old, &Problem::new(config::Origin::Default, why).into()),
        };
        self.accepted = self.seen.clone();
        let (loaded_at, warnings) = (gateway.loaded_at, gateway.config.warnings.clone());
        // Told afterwards: whoever reads that it is in use may rely on it.
        self.current.replace(gateway);
        process.accept_configuration();
        process.metrics.reload("applied");
        process.metrics.configuration_loaded(loaded_at);
        process.log.event(
            Level::Info,
            "configuration reloaded",
            [("changed", now.into()), ("at_next_start", at_next_start.into())],
        );
        for warning in warnings {
            process.log.event(Level::Warn, warning, []);
        }
    }

    /// Refuses what is well-formed and still cannot be meant: that everything has gone.
    fn usable(&self, config: Config, files: &Files) -> Result<Config, Problems> {
        let file = self.args.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        let gone = |path: &Path| self.accepted.has(path) && !files.has(path);
        let why = if gone(&file) {
            format!("{} has gone", file.display())
        } else if config.sandbox {
            "nothing is configured any more, and simulated providers do not take the place of real ones".to_owned()
        } else {
            return Ok(config);
        };
        let hint = "start the program anew if that is what you want";
        Err(Problem::new(config::Origin::Default, why).hint(hint).into())
    }
}

fn refuse(old: &Gateway, problems: &Problems) {
    let process = &old.process;
    process.refuse_configuration();
    process.metrics.reload("refused");
    let lines: Vec<String> = problems.problems.iter().map(Problem::to_string).collect();
    process.log.event(
        Level::Error,
        "configuration refused; the one in use stays",
        [("problems", lines.into()), ("warnings", problems.warnings.clone().into())],
    );
}
