//! What a caller wants of the order.

use std::fmt;

use gateway_core::target::{Capabilities, Capability, Strategy};

use super::Candidate;
use super::explanation::{Place, SkipReason};

/// What the caller wants. Names are those of providers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hints {
    pub strategy: Option<Strategy>,
    /// These first, in this order.
    pub preferred: Vec<String>,
    /// These never, whatever else is said about them.
    pub excluded: Vec<String>,
    /// This one before all others; they follow if it fails.
    pub pinned: Option<String>,
    pub required: Capabilities,
}

impl Hints {
    /// Refuses a name that none of the configured `providers` has: a misspelt hint must not be a hint without effect.
    pub fn check<'a>(&self, providers: impl Iterator<Item = &'a str> + Clone) -> Result<(), UnknownProvider> {
        let lists = [
            (Hint::Preferred, self.preferred.as_slice()),
            (Hint::Excluded, self.excluded.as_slice()),
            (Hint::Pinned, self.pinned.as_slice()),
        ];
        for (hint, names) in lists {
            if let Some(index) = names.iter().position(|name| !providers.clone().any(|known| known == name)) {
                let known = providers.map(str::to_owned).collect();
                return Err(UnknownProvider { hint, index, name: names[index].clone(), known });
            }
        }
        Ok(())
    }

    /// How early a provider comes, before the strategy has a say: the pinned one, the preferred ones, the rest.
    pub(super) fn place(&self, provider: &str) -> Place {
        if self.pinned.as_deref() == Some(provider) {
            return Place::Pinned;
        }
        match self.preferred.iter().position(|name| name == provider) {
            Some(rank) => Place::Preferred { rank },
            None => Place::Rest,
        }
    }

    pub(super) fn objection(&self, candidate: &Candidate) -> Option<SkipReason> {
        if !candidate.allowed {
            return Some(SkipReason::NotAllowed);
        }
        if self.excluded.iter().any(|name| **name == *candidate.target.provider) {
            return Some(SkipReason::Excluded);
        }
        let missing: Vec<Capability> = candidate.capabilities.missing(self.required).collect();
        if !missing.is_empty() {
            return Some(SkipReason::Lacks(missing));
        }
        candidate.available.as_ref().err().cloned().map(SkipReason::Unavailable)
    }
}

/// The list of [`Hints`] in which a name stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    Preferred,
    Excluded,
    Pinned,
}

/// A hint names a provider that is not configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownProvider {
    pub hint: Hint,
    /// In its list.
    pub index: usize,
    pub name: String,
    pub known: Vec<String>,
}

impl fmt::Display for UnknownProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no provider is named {:?}; configured are: {}", self.name, self.known.join(", "))
    }
}

impl std::error::Error for UnknownProvider {}
