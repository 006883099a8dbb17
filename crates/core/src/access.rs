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

    /// One part in `of` of everything, but not nothing of what is not nothing.
    #[must_use]
    pub fn share(self, of: u64) -> Rates {
        let part = |most: Option<u64>| most.map(|most| if most == 0 { 0 } else { (most / of.max(1)).max(1) });
        Rates {
            requests_per_minute: part(self.requests_per_minute),
            tokens_per_minute: part(self.tokens_per_minute),
            concurrent: part(self.concurrent),
            burst_percent: self.burst_percent,
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

impl Scope {
    pub const EVERYTHING: Scope = Scope { models: None, providers: None, routes: None };

    /// May a request that asks for the model `asked` go to this model of this provider? An alias in the list stands for all
    /// that it leads to.
    pub fn allows_target(&self, asked: Option<&str>, provider: &str, model: &str) -> bool {
        let names = |listed: &String| {
            let is_target =
                listed.split_once('/').is_some_and(|(of, name)| of == provider && (name == "*" || name == model));
            is_target || Some(listed.as_str()) == asked
        };
        self.allows_provider(provider) && self.models.as_ref().is_none_or(|models| models.iter().any(names))
    }

    pub fn allows_provider(&self, provider: &str) -> bool {
        self.providers.as_ref().is_none_or(|providers| providers.iter().any(|listed| listed == provider))
    }

    pub fn allows_route(&self, path: &str) -> bool {
        self.routes.is_none() || self.names_route(path)
    }

    /// Is this route among those that the scope lists? One that allows every route names none.
    pub fn names_route(&self, path: &str) -> bool {
        self.routes.as_ref().is_some_and(|routes| routes.iter().any(|listed| listed == path))
    }

    /// Whether it allows every target and every name.
    pub fn is_of_all_models(&self) -> bool {
        self.models.is_none() && self.providers.is_none()
    }

    /// What both allow.
    #[must_use]
    pub fn and(&self, other: &Scope) -> Scope {
        Scope {
            models: both(&self.models, &other.models, model_covers),
            providers: both(&self.providers, &other.providers, |one, other| one == other),
            routes: both(&self.routes, &other.routes, |one, other| one == other),
        }
    }
}

/// The narrower of each two names of which one covers the other.
fn both(
    one: &Option<Vec<String>>,
    other: &Option<Vec<String>>,
    covers: impl Fn(&str, &str) -> bool,
) -> Option<Vec<String>> {
    let (Some(one), Some(other)) = (one, other) else { return one.clone().or_else(|| other.clone()) };
    let narrower = |name: &&String, others: &[String]| others.iter().any(|other| covers(other, name));
    let mut names: Vec<String> = one.iter().filter(|name| narrower(name, other)).cloned().collect();
    let more = other.iter().filter(|name| narrower(name, one) && !names.contains(*name));
    let more: Vec<String> = more.cloned().collect();
    names.extend(more);
    Some(names)
}

/// Whether a name in a list of models stands for `name`: it is the same, or `provider/*` and `name` is of that provider.
fn model_covers(listed: &str, name: &str) -> bool {
    let is_of = |provider: &str| name.split_once('/').is_some_and(|(of, _)| of == provider);
    listed == name || listed.split_once('/').is_some_and(|(provider, rest)| rest == "*" && is_of(provider))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_scope_of_everything_allows_everything_and_an_empty_list_nothing() {
        let nothing = Scope { models: list(&[]), providers: list(&[]), routes: list(&[]) };
        assert!(
            Scope::EVERYTHING.allows_target(Some("fast"), "openai", "gpt-5") && Scope::EVERYTHING.allows_route("/x")
        );
        assert!(!nothing.allows_target(Some("fast"), "openai", "gpt-5") && !nothing.allows_route("/x"));
        assert!(!Scope::EVERYTHING.names_route("/x"));
    }

    #[test]
    fn models_are_aliases_and_models_of_providers_and_all_of_a_provider() {
        let scope = Scope { models: list(&["fast", "openai/gpt-5", "local/*"]), ..Scope::EVERYTHING };
        for (asked, provider, model, allowed) in [
            (Some("fast"), "anthropic", "haiku", true),
            (Some("smart"), "anthropic", "haiku", false),
            (Some("smart"), "openai", "gpt-5", true),
            (None, "openai", "gpt-5", true),
            (None, "openai", "gpt-5-mini", false),
            (Some("openai/gpt-5"), "openai", "gpt-5", true),
            (Some("gpt-5"), "openai", "gpt-5", true),
            (None, "local", "org/model", true),
            (None, "local2", "model", false),
            (Some("*"), "openai", "o", false),
        ] {
            assert_eq!(scope.allows_target(asked, provider, model), allowed, "{asked:?} {provider}/{model}");
        }
        let narrow = Scope { providers: list(&["openai"]), ..scope };
        assert!(!narrow.allows_target(Some("fast"), "anthropic", "haiku"), "both must allow it");
    }

    fn models(names: &[&str]) -> Scope {
        Scope { models: list(names), ..Scope::EVERYTHING }
    }

    #[test]
    fn two_scopes_together_allow_what_each_of_them_does() {
        let everything = Scope::default();
        let team = models(&["fast", "openai/*", "anthropic/opus"]);
        assert_eq!(everything.and(&team), team);
        assert_eq!(team.and(&everything), team);
        assert_eq!(team.and(&team), team);
        assert_eq!(models(&["openai/gpt", "openaix/gpt", "slow", "fast"]).and(&team), models(&["openai/gpt", "fast"]));
        assert_eq!(team.and(&models(&["anthropic/*", "openai/*"])), models(&["openai/*", "anthropic/opus"]));
        assert_eq!(team.and(&models(&[])), models(&[]), "nothing is allowed by an empty list");
        assert!(!model_covers("openai/*", "openai") && !model_covers("*", "a/b") && !model_covers("a/b/*", "a/b/c"));
    }
}
