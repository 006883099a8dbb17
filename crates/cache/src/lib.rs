//! Answers that were given before, by the same question and by the same question in other words.
//!
//! The promise: a question asked before in other words is answered at once, and a different question never is. So everything but
//! the last thing the user said must be equal (a [`Hasher`] is told all of it), and every step after that can only turn a hit
//! into a miss.
//!
//! Nothing here waits, reads a clock or opens a connection: time is handed in.

mod cache;
mod entry;
mod key;
mod memory;
mod reported;
pub mod semantic;

pub use cache::{Cache, Cleared, Filter, Held, Hit, Looked, Mode, Near, Settings, Shadow, Stats, Tier};
pub use entry::{Answer, EntryId, Facts, Pair};
pub use key::{Hash, Hasher, NotAHash, Question, Text};
