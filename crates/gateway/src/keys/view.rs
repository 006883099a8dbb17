//! What is shown of keys and teams: never the key.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{KeySettings, Second, TeamSettings};
use crate::store::audit::Entry;
use crate::store::keys::{Key, Team};
use crate::telemetry::log::stamp;

/// A key.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KeyView {
    pub id: String,
    #[serde(flatten)]
    pub settings: KeySettings,
    /// The last four characters of the key.
    pub last_four: String,
    /// `active`, `expired` or `revoked`.
    pub state: &'static str,
    pub created: Second,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Second>,
}

impl KeyView {
    pub fn new(key: Key, now: Second) -> KeyView {
        let state = match (key.revoked, key.settings.expires) {
            (Some(_), _) => "revoked",
            (None, Some(expires)) if expires <= now => "expired",
            (None, _) => "active",
        };
        KeyView {
            id: key.id,
            settings: key.settings,
            last_four: key.last_four,
            state,
            created: key.created,
            revoked: key.revoked,
        }
    }
}

/// A team.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TeamView {
    pub id: String,
    #[serde(flatten)]
    pub settings: TeamSettings,
    pub created: Second,
}

impl From<Team> for TeamView {
    fn from(team: Team) -> TeamView {
        TeamView { id: team.id, settings: team.settings, created: team.created }
    }
}

/// An entry of the audit log.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AuditView {
    pub number: i64,
    /// RFC 3339.
    pub at: String,
    /// `admin`, `cli:USER`
    pub actor: String,
    /// `key.create`, `key.update`, `key.revoke`, `team.create`, `team.update`
    pub action: String,
    /// The id of the key or team.
    pub subject: String,
    /// What was said of it then; of a key that was revoked, its name.
    #[schemars(with = "serde_json::Value")]
    pub details: Box<RawValue>,
}

impl From<Entry> for AuditView {
    fn from(entry: Entry) -> AuditView {
        let Entry { number, at_ms, actor, action, subject, details } = entry;
        let at = stamp(Timestamp::from_millisecond(at_ms).unwrap_or_default());
        AuditView { number, at, actor, action, subject, details }
    }
}
