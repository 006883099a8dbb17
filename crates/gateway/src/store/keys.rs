//! Keys and teams in the database: every change is one transaction, noted in the audit log, and gives the rows it concerns
//! its number, so that whoever mirrors them can ask for what is new.

use gateway_core::access::KeyHash;
use gateway_core::limits::{KEYS, KEYS_PER_PAGE, TEAMS};
use serde::de::DeserializeOwned;

use super::audit::Action;
use super::database::{Connection, Refusal, Result, Row, StoreError, Value};
use crate::keys::text::{self, Minted};
use crate::keys::{KeySettings, Second, TeamSettings};

const ID_CHARACTERS: usize = 16;

/// A key, as the database has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub id: String,
    pub hash: KeyHash,
    /// The last characters of its text, for people.
    pub last_four: String,
    pub settings: KeySettings,
    pub created: Second,
    pub revoked: Option<Second>,
    /// Keys are listed in this order; where a page ends, the next begins.
    pub made: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Team {
    pub id: String,
    pub settings: TeamSettings,
    pub created: Second,
    pub made: i64,
}

/// Which keys are meant; `None`: any.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Id of a team.
    pub team: Option<String>,
    pub owner: Option<String>,
    /// Those too that were revoked.
    pub revoked: bool,
}

macro_rules! keys {
    ($($rest:literal)*) => {
        concat!("SELECT id, hash, last_four, settings, created, revoked, made FROM gateway_keys ", $($rest)*)
    };
}

macro_rules! teams {
    ($($rest:literal)*) => { concat!("SELECT id, settings, created, made FROM gateway_teams ", $($rest)*) };
}

fn json<T: DeserializeOwned>(text: &str) -> sqlx::Result<T> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn second(number: i64) -> Second {
    Second(u64::try_from(number).unwrap_or_default())
}

fn number(second: Second) -> i64 {
    i64::try_from(second.0).unwrap_or(i64::MAX)
}

fn hash(row: &Row) -> sqlx::Result<KeyHash> {
    let hash = row.bytes(1)?.try_into();
    hash.map(KeyHash).map_err(|_| sqlx::Error::Decode("a hash of another length".into()))
}

impl Key {
    fn read(row: &Row) -> sqlx::Result<Key> {
        Ok(Key {
            id: row.text(0)?,
            hash: hash(row)?,
            last_four: row.text(2)?,
            settings: json(&row.text(3)?)?,
            created: second(row.integer(4)?),
            revoked: row.integer_if_any(5)?.map(second),
            made: row.integer(6)?,
        })
    }
}

impl Team {
    fn read(row: &Row) -> sqlx::Result<Team> {
        Ok(Team {
            id: row.text(0)?,
            settings: json(&row.text(1)?)?,
            created: second(row.integer(2)?),
            made: row.integer(3)?,
        })
    }
}

fn random(error: getrandom::Error) -> StoreError {
    StoreError::Unavailable(format!("the system gives no randomness: {error}"))
}

fn page(limit: u64) -> Value {
    i64::try_from(limit.min(KEYS_PER_PAGE)).unwrap_or(i64::MAX).into()
}

impl Connection {
    /// Makes a key. Its text is in the answer and nowhere else. `settings.team`: id or name of a team.
    pub async fn create_key(&mut self, actor: &str, mut settings: KeySettings) -> Result<(Key, Minted)> {
        let problems = settings.problems();
        if !problems.is_empty() {
            return Err(Refusal::Invalid(problems).into());
        }
        let minted = text::mint().map_err(random)?;
        let id = format!("key_{}", text::random_name(ID_CHARACTERS).map_err(random)?);
        let made = self
            .alone(async |connection| {
                connection.room("keys", "SELECT COUNT(*) FROM gateway_keys", KEYS).await?;
                connection.settle_team(&mut settings).await?;
                connection.free_name(&settings.name, &id).await?;
                let made = connection.note(actor, Action::CreateKey, &id, &settings).await?;
                let key = Key {
                    id: id.clone(),
                    hash: minted.hash,
                    last_four: minted.last_four.clone(),
                    settings,
                    created: Second::now(),
                    revoked: None,
                    made,
                };
                let values: [Value; 9] = [
                    key.id.as_str().into(),
                    made.into(),
                    key.hash.0.as_slice().into(),
                    key.last_four.as_str().into(),
                    key.settings.name.as_str().into(),
                    key.settings.team.as_deref().into(),
                    key.settings.owner.as_deref().into(),
                    connection.written(&key.settings)?,
                    number(key.created).into(),
                ];
                let sql = "INSERT INTO gateway_keys
                           (id, revision, made, hash, last_four, name, team, owner, settings, created)
                           VALUES ($1, $2, $2, $3, $4, $5, $6, $7, $8, $9)";
                connection.run(sql, &values).await?;
                Ok(key)
            })
            .await?;
        Ok((made, minted))
    }

    /// A key by its id, or by its name: the one in use, else the latest that had it.
    pub async fn key(&mut self, named: &str) -> Result<Key> {
        let sql = keys!("WHERE id = $1 OR name = $1 ORDER BY id = $1 DESC, revoked IS NULL DESC, made DESC LIMIT 1");
        let key = self.first(sql, &[named.into()], Key::read).await?;
        key.ok_or_else(|| Refusal::NoSuchKey(named.to_owned()).into())
    }

    /// Keys in the order in which they were made, those after `after`: at most `limit`, and at most [`KEYS_PER_PAGE`].
    pub async fn keys(&mut self, filter: &Filter, after: Option<i64>, limit: u64) -> Result<Vec<Key>> {
        let sql = keys!(
            "WHERE made > $1 AND ($2 IS NULL OR team = $2) AND ($3 IS NULL OR owner = $3)
             AND ($4 = 1 OR revoked IS NULL) ORDER BY made LIMIT $5"
        );
        let values = [
            after.unwrap_or(0).into(),
            filter.team.as_deref().into(),
            filter.owner.as_deref().into(),
            i64::from(filter.revoked).into(),
            page(limit),
        ];
        let mut keys = Vec::new();
        self.each(sql, &values, Key::read, |key| keys.push(key)).await?;
        Ok(keys)
    }

    /// Changes what is said of a key. `change` gets it as it is now, and whatever it makes of it is checked.
    pub async fn update_key(
        &mut self,
        actor: &str,
        named: &str,
        change: impl FnOnce(&mut KeySettings) -> Result<()>,
    ) -> Result<Key> {
        self.alone(async |connection| {
            let mut key = connection.key(named).await?;
            if key.revoked.is_some() {
                return Err(Refusal::Revoked(key.settings.name).into());
            }
            let before = key.settings.clone();
            change(&mut key.settings)?;
            let problems = key.settings.problems();
            if !problems.is_empty() {
                return Err(Refusal::Invalid(problems).into());
            }
            connection.settle_team(&mut key.settings).await?;
            if key.settings == before {
                return Ok(key);
            }
            connection.free_name(&key.settings.name, &key.id).await?;
            let revision = connection.note(actor, Action::UpdateKey, &key.id, &key.settings).await?;
            let values: [Value; 6] = [
                key.id.as_str().into(),
                revision.into(),
                key.settings.name.as_str().into(),
                key.settings.team.as_deref().into(),
                key.settings.owner.as_deref().into(),
                connection.written(&key.settings)?,
            ];
            let sql = "UPDATE gateway_keys SET revision = $2, name = $3, team = $4, owner = $5, settings = $6
                       WHERE id = $1";
            connection.run(sql, &values).await?;
            Ok(key)
        })
        .await
    }

    /// Refuses a key from now on. One that was revoked already stays as it is, which is no error.
    pub async fn revoke_key(&mut self, actor: &str, named: &str) -> Result<Key> {
        self.alone(async |connection| {
            let mut key = connection.key(named).await?;
            if key.revoked.is_some() {
                return Ok(key);
            }
            let now = Second::now();
            let revision = connection.note(actor, Action::RevokeKey, &key.id, &key.settings.name).await?;
            let values: [Value; 3] = [key.id.as_str().into(), revision.into(), number(now).into()];
            connection.run("UPDATE gateway_keys SET revision = $2, revoked = $3 WHERE id = $1", &values).await?;
            key.revoked = Some(now);
            Ok(key)
        })
        .await
    }

    pub async fn create_team(&mut self, actor: &str, settings: TeamSettings) -> Result<Team> {
        let problems = settings.problems();
        if !problems.is_empty() {
            return Err(Refusal::Invalid(problems).into());
        }
        let id = format!("team_{}", text::random_name(ID_CHARACTERS).map_err(random)?);
        self.alone(async |connection| {
            connection.room("teams", "SELECT COUNT(*) FROM gateway_teams", TEAMS).await?;
            connection.free_team_name(&settings.name, &id).await?;
            let made = connection.note(actor, Action::CreateTeam, &id, &settings).await?;
            let team = Team { id, settings, created: Second::now(), made };
            let values: [Value; 5] = [
                team.id.as_str().into(),
                made.into(),
                team.settings.name.as_str().into(),
                connection.written(&team.settings)?,
                number(team.created).into(),
            ];
            let sql = "INSERT INTO gateway_teams (id, revision, made, name, settings, created)
                       VALUES ($1, $2, $2, $3, $4, $5)";
            connection.run(sql, &values).await?;
            Ok(team)
        })
        .await
    }

    /// A team by its id or its name.
    pub async fn team(&mut self, named: &str) -> Result<Team> {
        let sql = teams!("WHERE id = $1 OR name = $1 ORDER BY id = $1 DESC LIMIT 1");
        let team = self.first(sql, &[named.into()], Team::read).await?;
        team.ok_or_else(|| Refusal::NoSuchTeam(named.to_owned()).into())
    }

    /// As [`Connection::keys`].
    pub async fn teams(&mut self, after: Option<i64>, limit: u64) -> Result<Vec<Team>> {
        let mut teams = Vec::new();
        let values = [after.unwrap_or(0).into(), page(limit)];
        let sql = teams!("WHERE made > $1 ORDER BY made LIMIT $2");
        self.each(sql, &values, Team::read, |team| teams.push(team)).await?;
        Ok(teams)
    }

    pub async fn update_team(
        &mut self,
        actor: &str,
        named: &str,
        change: impl FnOnce(&mut TeamSettings) -> Result<()>,
    ) -> Result<Team> {
        self.alone(async |connection| {
            let mut team = connection.team(named).await?;
            let before = team.settings.clone();
            change(&mut team.settings)?;
            let problems = team.settings.problems();
            if !problems.is_empty() {
                return Err(Refusal::Invalid(problems).into());
            }
            if team.settings == before {
                return Ok(team);
            }
            connection.free_team_name(&team.settings.name, &team.id).await?;
            let revision = connection.note(actor, Action::UpdateTeam, &team.id, &team.settings).await?;
            let values: [Value; 4] = [
                team.id.as_str().into(),
                revision.into(),
                team.settings.name.as_str().into(),
                connection.written(&team.settings)?,
            ];
            let sql = "UPDATE gateway_teams SET revision = $2, name = $3, settings = $4 WHERE id = $1";
            connection.run(sql, &values).await?;
            Ok(team)
        })
        .await
    }

    /// Keys that changed after `revision`; without its settings one whose row cannot be read.
    pub async fn keys_since(&mut self, revision: i64, take: impl FnMut(KeyHash, Option<Key>)) -> Result<()> {
        self.each_key(keys!("WHERE revision > $1"), revision.into(), take).await
    }

    pub async fn keys_of_team(&mut self, team: &str, take: impl FnMut(KeyHash, Option<Key>)) -> Result<()> {
        self.each_key(keys!("WHERE team = $1"), team.into(), take).await
    }

    /// Teams that changed after `revision`, by their ids.
    pub async fn teams_since(&mut self, revision: i64, mut take: impl FnMut(String, Option<Team>)) -> Result<()> {
        let sql = teams!("WHERE revision > $1");
        let read = |row: &Row| Ok((row.text(0)?, Team::read(row).ok()));
        self.each(sql, &[revision.into()], read, |(id, team)| take(id, team)).await
    }

    async fn each_key(
        &mut self,
        sql: &'static str,
        which: Value,
        mut take: impl FnMut(KeyHash, Option<Key>),
    ) -> Result<()> {
        let read = |row: &Row| Ok((hash(row)?, Key::read(row).ok()));
        self.each(sql, &[which], read, |(hash, key)| take(hash, key)).await
    }

    /// The name of a team becomes its id.
    async fn settle_team(&mut self, settings: &mut KeySettings) -> Result<()> {
        if let Some(named) = &settings.team {
            settings.team = Some(self.team(named).await?.id);
        }
        Ok(())
    }

    async fn free_name(&mut self, name: &str, id: &str) -> Result<()> {
        let sql = "SELECT COUNT(*) FROM gateway_keys WHERE name = $1 AND id <> $2 AND revoked IS NULL";
        self.free(sql, name, id).await
    }

    async fn free_team_name(&mut self, name: &str, id: &str) -> Result<()> {
        self.free("SELECT COUNT(*) FROM gateway_teams WHERE name = $1 AND id <> $2", name, id).await
    }

    async fn free(&mut self, sql: &'static str, name: &str, id: &str) -> Result<()> {
        match self.first(sql, &[name.into(), id.into()], |row| row.integer(0)).await? {
            Some(0) => Ok(()),
            _ => Err(Refusal::NameTaken(name.to_owned()).into()),
        }
    }

    async fn room(&mut self, what: &'static str, sql: &'static str, at_most: u64) -> Result<()> {
        let count = self.first(sql, &[], |row| row.integer(0)).await?;
        match count.and_then(|count| u64::try_from(count).ok()) {
            Some(count) if count < at_most => Ok(()),
            _ => Err(Refusal::Full(what).into()),
        }
    }

    fn written(&self, settings: &impl serde::Serialize) -> Result<Value> {
        let text = serde_json::to_string(settings).map_err(|error| self.unusable(&error.to_string()))?;
        Ok(text.as_str().into())
    }
}
