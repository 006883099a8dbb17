//! Which files a configuration was read from, and whether they are still the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::environment::Environment;

/// An environment that notes every file that was asked for, as it was before it was read.
pub struct Watched<'a> {
    environment: &'a dyn Environment,
    files: RefCell<BTreeMap<PathBuf, Option<Stamp>>>,
}

impl std::fmt::Debug for Watched<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Differs when a file was written, replaced, or reached through another link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    /// Also set where a copy keeps the time of the original.
    changed: (i64, i64),
}

impl Stamp {
    /// `None`: there is no such file, or it is a pipe or a device, which cannot be read twice.
    fn of(path: &Path) -> Option<Stamp> {
        let file = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some(Stamp {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// The files of one configuration, those that were looked for and not there included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, Option<Stamp>>);

impl Files {
    /// The same files as they are now.
    #[must_use]
    pub fn now(&self) -> Files {
        Files(self.0.keys().map(|path| (path.clone(), Stamp::of(path))).collect())
    }

    pub fn has(&self, path: &Path) -> bool {
        self.0.get(path).is_some_and(Option::is_some)
    }
}

impl<'a> Watched<'a> {
    pub fn new(environment: &'a dyn Environment) -> Self {
        Watched { environment, files: RefCell::default() }
    }

    pub fn files(self) -> Files {
        Files(self.files.into_inner())
    }
}

impl Environment for Watched<'_> {
    fn variables(&self) -> Vec<(String, String)> {
        self.environment.variables()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.borrow_mut().insert(path.to_path_buf(), Stamp::of(path));
        self.environment.read(path)
    }

    fn is_world_readable(&self, path: &Path) -> bool {
        self.environment.is_world_readable(path)
    }

    fn is_terminal(&self) -> bool {
        self.environment.is_terminal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::System;

    #[test]
    fn a_file_that_is_written_replaced_or_reached_through_another_link_is_another_one() {
        let folder = tempfile::TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("first", "a"), ("second", "b"), ("plain", "c")] {
            std::fs::write(at(name), text).unwrap();
        }
        std::os::unix::fs::symlink(at("first"), at("link")).unwrap();
        let read = || {
            let watched = Watched::new(&System);
            for name in ["link", "plain", "absent"] {
                let _ = watched.read(&at(name));
            }
            watched.files()
        };
        let files = read();
        assert_eq!(files.now(), files);
        assert!(files.has(&at("link")) && !files.has(&at("absent")));

        std::os::unix::fs::symlink(at("second"), at("other")).unwrap();
        std::fs::rename(at("other"), at("link")).unwrap();
        assert_ne!(files.now(), files, "another link");
        let files = read();
        std::fs::write(at("plain"), "d").unwrap();
        assert_ne!(files.now(), files, "written");
        let files = read();
        std::fs::write(at("absent"), "").unwrap();
        assert_ne!(files.now(), files, "made");
        let files = read();
        std::fs::remove_file(at("plain")).unwrap();
        assert_ne!(files.now(), files, "removed");
    }
}
