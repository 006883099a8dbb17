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
    /// What may be used at once, in percent of a minute's limit; as much if `None`.
    pub burst_percent: Option<u32>,
}

impl Rates {
    pub const NONE: Rates =
        Rates { requests_per_minute: None, tokens_per_minute: None, concurrent: None, burst_percent: None };

    /// Something is limited.
    pub fn limit(self) -> bool {
        self.requests_per_minute.is_some() || self.tokens_per_minute.is_some() || self.concurrent.is_some()
    }

    /// What is said here, and for the rest what `general` says.
    #[must_use]
    pub fn or(self, general: Rates) -> Rates {
        Rates {
            requests_per_minute: self.requests_per_minute.or(general.requests_per_minute),
            tokens_per_minute: self.tokens_per_minute.or(general.tokens_per_minute),
            concurrent: self.concurrent.or(general.concurrent),
            burst_percent: self.burst_percent.or(general.burst_percent),
        }
    }

    /// So many times as much, in everything.
    #[must_use]
    pub fn times(self, factor: u64) -> Rates {
        let more = |most: Option<u64>| most.map(|most| most.saturating_mul(factor));
        Rates {
            requests_per_minute: more(self.requests_per_minute),
            tokens_per_minute: more(self.tokens_per_minute),
            concurrent: more(self.concurrent),
            burst_percent: self.burst_percent,
        }
    }
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
