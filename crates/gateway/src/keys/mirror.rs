//! How the ring follows the database: at first all of it, then what changed.

use std::collections::HashMap;
use std::sync::Arc;

use gateway_core::access::{KeyHash, Scope, Team};

use super::ring::{Entry, KeyRing};
use crate::store::audit::Head;
use crate::store::database::{Connection, Result};
use crate::store::keys::Key;

/// What the ring was made of.
#[derive(Debug)]
pub struct Mirror {
    ring: Arc<KeyRing>,
    /// By their ids; `None` for one that cannot be read.
    teams: HashMap<String, Option<(Arc<Team>, Scope)>>,
    seen: Seen,
    /// Keys that cannot be read, as often as they were met.
    unreadable: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// Nothing, or of a database that is another one now.
    Nothing,
    /// Everything up to this change.
    Until(Option<Head>),
}

impl Mirror {
    pub fn new(ring: Arc<KeyRing>) -> Mirror {
        Mirror { ring, teams: HashMap::new(), seen: Seen::Nothing, unreadable: 0 }
    }

    /// Whether there ever was something to mirror.
    pub fn has_seen_any(&self) -> bool {
        matches!(self.seen, Seen::Until(Some(_)))
    }

    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// There is no database yet, and so there are no keys in it.
    pub fn follow_nothing(&mut self) {
        if self.seen != Seen::Until(None) {
            self.ring.replace(Vec::new());
            self.seen = Seen::Until(None);
        }
    }

    /// Makes the ring as the database is, and says whether anything was new. One question, and no more, if nothing was.
    pub async fn follow(&mut self, connection: &mut Connection) -> Result<bool> {
        if Seen::Until(connection.audit_head().await?) == self.seen {
            return Ok(false);
        }
        connection.snapshot(async |connection| self.catch_up(connection).await).await?;
        Ok(true)
    }

    async fn catch_up(&mut self, connection: &mut Connection) -> Result<()> {
        let head = connection.audit_head().await?;
        let known = match &self.seen {
            Seen::Until(Some(known)) if connection.audit_contains(known).await? => Some(known.number),
            // Nothing was seen, or what was seen never happened to this database: it was put back or is another one.
            _ => None,
        };
        let mut teams = Vec::new();
        connection.teams_since(known.unwrap_or(0), |id, team| teams.push((id, team))).await?;
        let changed_teams: Vec<String> = teams.iter().map(|(id, _)| id.clone()).collect();
        if known.is_none() {
            self.teams.clear();
        }
        self.teams.extend(teams.into_iter().map(|(id, team)| {
            let team = team.map(|team| (Arc::new(team.settings.team(id.as_str().into())), team.settings.scope()));
            (id, team)
        }));
        let mut keys = Vec::new();
        let teams = &self.teams;
        let mut take = |hash: KeyHash, key: Option<Key>| keys.push((hash, entry(teams, key)));
        connection.keys_since(known.unwrap_or(0), &mut take).await?;
        if known.is_some() {
            for team in &changed_teams {
                connection.keys_of_team(team, &mut take).await?;
            }
        }
        self.unreadable += keys.iter().filter(|(_, entry)| matches!(entry, Entry::Unreadable)).count() as u64;
        match known {
            Some(_) => self.ring.change(keys),
            None => self.ring.replace(keys),
        }
        self.seen = Seen::Until(head);
        Ok(())
    }
}

fn entry(teams: &HashMap<String, Option<(Arc<Team>, Scope)>>, key: Option<Key>) -> Entry {
    let Some(key) = key else { return Entry::Unreadable };
    if key.revoked.is_some() {
        return Entry::Revoked;
    }
    let team = match key.settings.team.as_deref().map(|id| teams.get(id)) {
        None => None,
        Some(Some(Some((team, scope)))) => Some((team.clone(), scope)),
        // Without its team's limits and scope the key would be allowed too much.
        Some(_) => return Entry::Unreadable,
    };
    Entry::Live(Arc::new(key.settings.key(key.id.as_str().into(), key.hash, team)))
}
