//! Scripts that run in Redis, each of them in one step.

use std::fmt;
use std::sync::OnceLock;

use redis::{Cmd, ToRedisArgs};

/// The text of a script, and the name that Redis gives to it.
pub struct Script {
    text: &'static str,
    /// Known since the script was first loaded; made of the text alone, and so the same everywhere and for ever.
    hash: OnceLock<String>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("hash", &self.hash.get()).finish_non_exhaustive()
    }
}

impl Script {
    pub const fn new(text: &'static str) -> Self {
        Script { text, hash: OnceLock::new() }
    }

    /// Runs it. `None`: there was no connection yet.
    pub(super) fn run(&self, keys: &[impl ToRedisArgs], arguments: impl ToRedisArgs) -> Option<Cmd> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.hash.get()?).arg(keys.len()).arg(keys).arg(arguments);
        Some(command)
    }

    pub(super) fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(self.text);
        command
    }

    pub(super) fn loaded(&self, hash: String) {
        let _ = self.hash.set(hash);
    }
}
