//! Who may use the gateway, for what, and how much: virtual keys and teams, as plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How much may be used; what is `None` has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    pub requests_per_minute: Option<u64>,
    /// Input and output together.
    pub tokens_per_minute: Option<u64>,
    /// Requests at the same time.
    pub concurrent: Option<u64>,
}

impl Rates {
    pub const NONE: Rates = Rates { requests_per_minute: None, tokens_per_minute: None, concurrent: None };
}

/// The limits of one holder: in all, and for single models and providers within that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    pub all: Rates,
    /// By the name that clients ask for: an alias, or `provider/model`.
    pub models: BTreeMap<String, Rates>,
    pub providers: BTreeMap<String, Rates>,
}

/// What a key may be used for. `None`: everything; an empty list: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Names that clients ask for: aliases and `provider/model`; `provider/*` stands for all of a provider.
    pub models: Option<Vec<String>>,
    pub providers: Option<Vec<String>>,
    /// Rows of the table of routes, by their paths.
    pub routes: Option<Vec<String>>,
}

/// Several keys that share limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    pub id: Arc<str>,
    pub name: String,
    pub limits: Limits,
}

/// The SHA-256 of a key: all that is kept of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

/// What a caller shows to the gateway, as the gateway knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualKey {
    /// Names the key for ever: in logs, in the state of its limits. Never a secret.
    pub id: Arc<str>,
    pub name: String,
    pub hash: KeyHash,
    pub team: Option<Arc<Team>>,
    pub owner: Option<String>,
    pub tags: Vec<String>,
    pub scope: Scope,
    /// What the general limits say where this says nothing.
    pub limits: Limits,
    /// Whether its answers may come from the cache, and go into it.
    pub cache: bool,
    /// Seconds since 1970; from then on the key is refused.
    pub expires: Option<u64>,
}
