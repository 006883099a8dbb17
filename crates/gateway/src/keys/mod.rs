//! Virtual keys: what callers show to the gateway, and what is known of them.
//!
//! `text` is the key itself, `ring` what every request asks, `mirror` how the ring follows the database, `view` what is shown
//! of a key, `reading` how it is said in JSON, `command` on the command line; the database is in [`crate::store`].

pub mod command;
pub mod mirror;
pub mod reading;
pub mod ring;
pub mod text;
pub mod view;

use std::sync::Arc;

use gateway_core::access::{KeyHash, Limits, Scope, Team, VirtualKey};
use gateway_core::limits::{
    BURST_PERCENT_MOST, KEPT_MODEL_NAME_BYTES, KEY_NAME_CHARS, KEY_SCOPE_NAMES, KEY_TAGS, RATE_PER_MINUTE_MOST,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::access::Right;
use crate::api::routes::ROUTES;
use crate::config::{KeyLimits, KeyRates, nearest};

/// All that may be said of a key and changed later: in the database, in the admin API and in the audit log in this shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// Name for people, in logs and metrics; no other key that is in use has it.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// Id of the team whose limits the key shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Whom to ask about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Aliases and `provider/model` names that it may use, `provider/*` for all of a provider; all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Providers that may answer it; all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<String>>,
    /// Paths that it may use, as `/v1/messages`; all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<String>>,
    /// Limits in place of the general ones.
    #[serde(default)]
    pub limits: KeyLimits,
    /// Whether answers may come from the cache, and go into it.
    #[serde(default = "yes")]
    pub cache: bool,
    /// From then on it is refused; never if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Second>,
}

fn yes() -> bool {
    true
}

impl KeySettings {
    pub fn named(name: impl Into<String>) -> KeySettings {
        KeySettings {
            name: name.into(),
            team: None,
            owner: None,
            tags: Vec::new(),
            models: None,
            providers: None,
            routes: None,
            limits: KeyLimits::default(),
            cache: true,
            expires: None,
        }
    }

    pub fn scope(&self) -> Scope {
        Scope { models: self.models.clone(), providers: self.providers.clone(), routes: self.routes.clone() }
    }

    /// What the gateway asks when the key is shown. `team`: that of `self.team`.
    pub fn key(&self, id: Arc<str>, hash: KeyHash, team: Option<(Arc<Team>, &Scope)>) -> VirtualKey {
        let scope = match team {
            Some((_, of_team)) => self.scope().and(of_team),
            None => self.scope(),
        };
        VirtualKey {
            id,
            name: self.name.clone(),
            hash,
            team: team.map(|(team, _)| team),
            owner: self.owner.clone(),
            tags: self.tags.clone(),
            scope,
            limits: Limits::from(&self.limits),
            cache: self.cache,
            expires: self.expires.map(|expires| expires.0),
        }
    }

    /// All that is wrong with it, but for what only the database knows.
    pub fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        is_name("name", &self.name, &mut problems);
        for (field, name) in [("team", &self.team), ("owner", &self.owner)] {
            name.iter().for_each(|name| is_name(field, name, &mut problems));
        }
        are_tags(&self.tags, &mut problems);
        is_scope(&self.scope(), &mut problems);
        self.limits.problems(&mut problems);
        problems
    }
}

/// All that may be said of a team and changed later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamSettings {
    /// Name for people; no other team has it.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// Limits that all keys of the team share, besides their own.
    #[serde(default)]
    pub limits: KeyLimits,
    /// What its keys may use at most, as in a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<String>>,
}

impl TeamSettings {
    pub fn named(name: impl Into<String>) -> TeamSettings {
        TeamSettings { name: name.into(), limits: KeyLimits::default(), models: None, providers: None, routes: None }
    }

    pub fn scope(&self) -> Scope {
        Scope { models: self.models.clone(), providers: self.providers.clone(), routes: self.routes.clone() }
    }

    pub fn team(&self, id: Arc<str>) -> Team {
        Team { id, name: self.name.clone(), limits: Limits::from(&self.limits) }
    }

    pub fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        is_name("name", &self.name, &mut problems);
        is_scope(&self.scope(), &mut problems);
        self.limits.problems(&mut problems);
        problems
    }
}

/// What cannot be said of a key or a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Where: names of fields, numbers of entries.
    pub path: Vec<String>,
    /// A predicate: "is longer than 100 characters".
    pub message: String,
}

impl Invalid {
    fn new(path: &[&str], message: impl Into<String>) -> Invalid {
        Invalid { path: path.iter().map(|part| (*part).to_owned()).collect(), message: message.into() }
    }

    /// `limits.models.fast.concurrent`, `routes[0]`
    pub fn field(&self) -> String {
        crate::config::path_text(&self.path)
    }
}

pub fn is_name(field: &str, name: &str, problems: &mut Vec<Invalid>) {
    if name.trim().is_empty() {
        problems.push(Invalid::new(&[field], "is empty"));
    } else if name.chars().count() > KEY_NAME_CHARS {
        problems.push(Invalid::new(&[field], format!("is longer than {KEY_NAME_CHARS} characters")));
    } else if name.chars().any(char::is_control) {
        problems.push(Invalid::new(&[field], "has a control character in it"));
    }
}

fn are_tags(tags: &[String], problems: &mut Vec<Invalid>) {
    if tags.len() > KEY_TAGS {
        problems.push(Invalid::new(&["tags"], format!("has more than {KEY_TAGS} entries")));
    }
    for (index, tag) in tags.iter().enumerate().take(KEY_TAGS) {
        let mut faults = Vec::new();
        is_name("tags", tag, &mut faults);
        problems.extend(faults.into_iter().map(|fault| Invalid::new(&["tags", &index.to_string()], fault.message)));
    }
}

/// Which models and providers there are, the configuration says, and may say otherwise tomorrow; which routes, the program.
fn is_scope(scope: &Scope, problems: &mut Vec<Invalid>) {
    for (field, names) in [("models", &scope.models), ("providers", &scope.providers), ("routes", &scope.routes)] {
        let names = names.as_deref().unwrap_or_default();
        if names.len() > KEY_SCOPE_NAMES {
            problems.push(Invalid::new(&[field], format!("has more than {KEY_SCOPE_NAMES} entries")));
        }
        for (index, name) in names.iter().enumerate().take(KEY_SCOPE_NAMES) {
            let is_odd = name.is_empty()
                || name.len() > KEPT_MODEL_NAME_BYTES
                || name.chars().any(|c| c.is_control() || c.is_whitespace());
            let message = match field {
                _ if is_odd => "is empty, too long, or has white space in it".to_owned(),
                "routes" => match ROUTES.iter().find(|row| row.path == name) {
                    Some(row) if row.right == Right::Administer => {
                        format!("{name:?} is for the operator, and for no key")
                    }
                    Some(_) => continue,
                    None => {
                        let of_keys = ROUTES.iter().filter(|row| row.right != Right::Administer);
                        let hint =
                            nearest(name, of_keys.map(|row| row.path)).map(|near| format!("; did you mean {near}?"));
                        format!("{name:?} is no path of this gateway{}", hint.unwrap_or_default())
                    }
                },
                _ => continue,
            };
            problems.push(Invalid::new(&[field, &index.to_string()], message));
        }
    }
}

impl KeyLimits {
    fn problems(&self, problems: &mut Vec<Invalid>) {
        rates(&["limits"], self.all(), problems);
        for (field, by_name) in [("models", &self.models), ("providers", &self.providers)] {
            if by_name.len() > KEY_SCOPE_NAMES {
                problems.push(Invalid::new(&["limits", field], format!("has more than {KEY_SCOPE_NAMES} entries")));
            }
            for (name, of_name) in by_name.iter().take(KEY_SCOPE_NAMES) {
                rates(&["limits", field, name], *of_name, problems);
            }
        }
    }
}

fn rates(at: &[&str], rates: KeyRates, problems: &mut Vec<Invalid>) {
    let fields = [
        ("requests_per_minute", rates.requests_per_minute, RATE_PER_MINUTE_MOST),
        ("tokens_per_minute", rates.tokens_per_minute, RATE_PER_MINUTE_MOST),
        ("concurrent", rates.concurrent, RATE_PER_MINUTE_MOST),
        ("burst_percent", rates.burst_percent.map(u64::from), BURST_PERCENT_MOST),
    ];
    for (field, said, most) in fields {
        if said.is_some_and(|said| said == 0 || said > most) {
            problems.push(Invalid::new(&[at, &[field]].concat(), format!("is not from 1 to {most}")));
        }
    }
}

/// A moment in whole seconds of Unix time; RFC 3339 where it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Second(pub u64);

impl Second {
    pub fn now() -> Second {
        Second(u64::try_from(Timestamp::now().as_second()).unwrap_or_default())
    }

    pub fn parse(text: &str) -> Option<Second> {
        let timestamp: Timestamp = text.parse().ok()?;
        u64::try_from(timestamp.as_second()).ok().map(Second)
    }
}

impl std::fmt::Display for Second {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let second = i64::try_from(self.0).ok().and_then(|second| Timestamp::from_second(second).ok());
        second.unwrap_or(Timestamp::MAX).fmt(f)
    }
}

impl Serialize for Second {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Second {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Second::parse(&text).ok_or_else(|| serde::de::Error::custom("is not a time as 2027-01-31T00:00:00Z"))
    }
}

impl JsonSchema for Second {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Second".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time"})
    }
}
