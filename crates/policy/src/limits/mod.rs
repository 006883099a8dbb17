//! Who may have how much: requests and tokens a minute, and requests at the same time.
//!
//! A request stands under several limits at once, its [`Level`]s: those of its key and of its team, each in all and for a model.
//! [`Table::take`] takes from all of them or from none: one request, one place, and the tokens that it will probably need.
//! [`Table::settle`] puts what it really needed in the place of that, and frees the place.
//!
//! | rule | because |
//! |---|---|
//! | a bucket holds a minute's limit and fills evenly | fixed windows let twice the limit through where two of them meet |
//! | what is larger than the bucket passes when it is full, and leaves it in debt | else it could never pass |
//! | what costs nothing passes a bucket in debt | it was not what the limit is for |
//! | tokens are taken before, and settled after | who counts afterwards is overrun by what runs at the same time |
//! | a refusal takes nothing from any level | who is refused by a team must not pay with its key |
//!
//! Time is handed in. State is kept for holders that have used something lately, and for nobody else.

mod bucket;
#[cfg(all(test, loom))]
mod model;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gateway_core::access::Rates;

use crate::sync::RandomState;
pub use bucket::{Bucket, Rate, parts};
pub use table::{Counts, Said, Table};

/// Whose limit it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// By its id.
    Key(Arc<str>),
    Team(Arc<str>),
    /// All callers without a key at one address; of IPv6, at one network of 64 bits.
    Address(IpAddr),
    /// One caller without a key: an address, and a digest of the user that it names; `None`: it names none.
    User(IpAddr, Option<[u8; 16]>),
    /// All callers of one kind without a key that came when there was no room left to keep them apart, in one shard.
    Crowd(&'static str, u8),
}

impl Holder {
    /// For metrics and messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Holder::Key(_) => "key",
            Holder::Team(_) => "team",
            Holder::Address(_) => "address",
            Holder::User(..) => "user",
            Holder::Crowd(..) => "crowd",
        }
    }

    /// Anybody can be so many of these as they like.
    fn is_anonymous(&self) -> bool {
        matches!(self, Holder::Address(_) | Holder::User(..))
    }
}

/// What of a holder's use it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    All,
    /// By the name that clients ask for.
    Model(Arc<str>),
    Provider(Arc<str>),
}

impl Part {
    /// For metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Part::All => "all",
            Part::Model(_) => "model",
            Part::Provider(_) => "provider",
        }
    }
}

/// The name of a limit and of its state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LevelId {
    pub holder: Holder,
    pub part: Part,
}

/// `key:ID`, `team:ID:model:NAME`, `user:ADDRESS:DIGEST`: the same on every node, and different for different limits.
impl fmt::Display for LevelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.holder.kind())?;
        match &self.holder {
            Holder::Key(id) | Holder::Team(id) => write!(f, ":{id}")?,
            Holder::Address(address) | Holder::User(address, None) => write!(f, ":{address}")?,
            Holder::User(address, Some(user)) => write!(f, ":{address}:{:032x}", u128::from_be_bytes(*user))?,
            Holder::Crowd(kind, shard) => write!(f, ":{kind}:{shard}")?,
        }
        match &self.part {
            Part::All => Ok(()),
            Part::Model(name) => write!(f, ":model:{name}"),
            Part::Provider(name) => write!(f, ":provider:{name}"),
        }
    }
}

/// One limit that a request stands under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    id: LevelId,
    /// Of its name, under a secret of the process: by this it is known in every [`Table`].
    hash: u64,
    pub rates: Rates,
}

impl Level {
    pub fn new(id: LevelId, rates: Rates) -> Level {
        static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::default);
        let hash = SECRET.hash_one(&id);
        Level { id, hash, rates }
    }

    pub fn id(&self) -> &LevelId {
        &self.id
    }

    /// The same limit of somebody else.
    fn of(&self, holder: Holder) -> Level {
        Level::new(LevelId { holder, part: self.id.part.clone() }, self.rates)
    }

    pub fn requests(&self) -> Option<Rate> {
        self.rates.requests_per_minute.map(|most| Rate::new(most, self.rates.burst_percent))
    }

    pub fn tokens(&self) -> Option<Rate> {
        self.rates.tokens_per_minute.map(|most| Rate::new(most, self.rates.burst_percent))
    }
}

/// What a request asks for: of each level one request, one place, and so many tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ask {
    /// At most [`gateway_core::limits::LEVELS_PER_REQUEST`]; none: nothing is limited.
    pub levels: Vec<Level>,
    pub tokens: u64,
}

impl Ask {
    /// Whose state must be kept in one place so that all levels can be taken from at once: the team's or the address's, which
    /// others share, else the key's.
    pub fn tenant(&self) -> Option<&Holder> {
        let holders = || self.levels.iter().map(|level| &level.id.holder);
        let shared = |holder: &&Holder| matches!(holder, Holder::Team(_) | Holder::Address(_));
        holders().find(shared).or_else(|| holders().next())
    }
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    Requests,
    Tokens,
    /// Requests at the same time.
    Places,
}

impl Resource {
    pub const ALL: [Resource; 3] = [Resource::Requests, Resource::Tokens, Resource::Places];

    /// For metrics, and as the name of the setting.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Requests => "requests_per_minute",
            Resource::Tokens => "tokens_per_minute",
            Resource::Places => "concurrent",
        }
    }
}

/// What is left of one resource at the level that has least of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// A minute's.
    pub limit: u64,
    pub remaining: u64,
    /// Until all of it is back.
    pub reset: Duration,
}

impl Left {
    fn tighter(self, other: Left) -> bool {
        (self.remaining, other.reset) < (other.remaining, self.reset)
    }
}

/// How a caller stands, over all its levels; `None` where no level limits the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    pub requests: Option<Left>,
    pub tokens: Option<Left>,
}

impl Standing {
    pub fn see(&mut self, requests: Option<Left>, tokens: Option<Left>) {
        for (known, seen) in [(&mut self.requests, requests), (&mut self.tokens, tokens)] {
            if let Some(seen) = seen
                && known.is_none_or(|known| seen.tighter(known))
            {
                *known = Some(seen);
            }
        }
    }
}

/// The limit that stands longest in the way of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub level: LevelId,
    pub what: Resource,
    /// A minute's, or of places.
    pub limit: u64,
    /// Until the same request would pass, as far as that can be known.
    pub wait: Duration,
    pub standing: Standing,
}

/// Nobody knows when a place becomes free.
pub const PLACE_WAIT: Duration = Duration::from_secs(1);
