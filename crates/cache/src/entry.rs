//! One answer, and what is known of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::key::{Hash, NotAHash};

/// What is stored. The cache looks at its size alone.
pub trait Answer: Send + Sync + 'static {
    /// Of memory, all that it owns included.
    fn bytes(&self) -> usize;
}

/// The name of a stored answer: the same on every node, and the same again when the same question is stored anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub(crate) Hash);

impl EntryId {
    /// Of the answer to exactly this question.
    pub fn of(exact: Hash) -> EntryId {
        EntryId(exact)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EntryId {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<EntryId, NotAHash> {
        text.parse().map(EntryId)
    }
}

/// What is known of an answer besides itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Who gave it, as answers are cleared by: one name is shared by all entries that have it.
    pub model: Arc<str>,
}

/// A question and the answer that it was given; enough to say later that this was wrong. Small, plain data: it may be kept with
/// the record of a request, and sent to other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    pub entry: EntryId,
    /// Of both questions, in the normal form of those that have one, whichever was asked first.
    pub questions: Hash,
}
