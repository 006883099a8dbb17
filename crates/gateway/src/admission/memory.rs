//! One account of bytes for the whole process: what requests and answers hold.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use gateway_core::limits::MEMORY_LIMIT_BYTES_LEAST;

/// Who asks for memory: what has begun outranks what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Refused while more than three quarters are in use.
    New,
    Begun,
}

#[derive(Debug)]
pub struct Memory {
    limit: AtomicU64,
    used: AtomicU64,
}

impl Memory {
    pub fn new(limit: u64) -> Self {
        Memory { limit: AtomicU64::new(limit), used: AtomicU64::new(0) }
    }

    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn share(&self, rank: Rank) -> u64 {
        match rank {
            Rank::New => self.limit() / 4 * 3,
            Rank::Begun => self.limit(),
        }
    }

    /// Whether so much would fit now; nothing is charged.
    pub fn has_room(&self, bytes: u64, rank: Rank) -> bool {
        self.used().saturating_add(bytes) <= self.share(rank)
    }

    /// What would have to be released first; `None`: it would not fit even then.
    pub fn shortage(&self, bytes: u64, rank: Rank) -> Option<u64> {
        let share = self.share(rank);
        (bytes <= share).then(|| self.used().saturating_add(bytes).saturating_sub(share))
    }

    /// False, and nothing is charged, where there is no room.
    pub fn charge(&self, bytes: u64, rank: Rank) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.share(rank);
        if !fits {
            self.release(bytes);
        }
        fits
    }

    pub fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Half of what this process may use: the other half is for connections, the program itself, and what no account sees.
pub fn half_of_this_machine() -> u64 {
    let number = |path: &Path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // A group within others has the least of their limits. Seen from within a container its own is the root.
    let limits = |root: &'static str, file: &'static str, own: &str| {
        let own = Path::new(own.trim_start_matches('/')).to_owned();
        let folders: Vec<_> = own.ancestors().map(|group| Path::new(root).join(group).join(file)).collect();
        folders.into_iter().filter_map(|path| number(&path)).min()
    };
    // `0::PATH` is of version 2 of the interface, `4:memory:PATH` of version 1.
    let limits: Vec<u64> = groups
        .lines()
        .filter_map(|line| {
            let (_, group) = line.split_once(':')?;
            match group.split_once(':')? {
                ("", own) => limits("/sys/fs/cgroup", "memory.max", own),
                ("memory", own) => limits("/sys/fs/cgroup/memory", "memory.limit_in_bytes", own),
                _ => None,
            }
        })
        .collect();
    let machine = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total =
        machine.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let least = limits.into_iter().chain(total.map(|kib: u64| kib.saturating_mul(1024))).min();
    (least.unwrap_or_default() / 2).max(MEMORY_LIMIT_BYTES_LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_begun_outranks_what_is_new_and_nothing_is_charged_twice() {
        let memory = Memory::new(400);
        assert!(memory.charge(300, Rank::New));
        assert!(!memory.charge(1, Rank::New) && memory.used() == 300);
        assert!(memory.has_room(100, Rank::Begun) && !memory.has_room(101, Rank::Begun));
        assert!(memory.charge(100, Rank::Begun) && !memory.charge(1, Rank::Begun));
        assert_eq!((memory.shortage(10, Rank::New), memory.shortage(10, Rank::Begun)), (Some(110), Some(10)));
        assert_eq!(memory.shortage(301, Rank::New), None);
        memory.release(400);
        assert_eq!(memory.used(), 0);
        assert!(!memory.charge(u64::MAX, Rank::New) && memory.used() == 0);
    }

    #[test]
    fn this_machine_has_some_memory() {
        assert!((MEMORY_LIMIT_BYTES_LEAST..1 << 50).contains(&half_of_this_machine()));
    }
}
