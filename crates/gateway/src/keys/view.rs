//! What is shown of keys and teams: never the key.

use schemars::JsonSchema;
use serde::Serialize;

use super::{KeySettings, Second, TeamSettings};
use crate::store::keys::{Key, Team};

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
