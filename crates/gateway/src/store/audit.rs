//! Who changed what, and when: one entry for each change, in the transaction that made it, each with a hash over itself and
//! the one before it. Whoever alters an entry afterwards, or takes one away, breaks the chain from there on.
//!
//! The number of an entry is also the revision of the rows that it changed. Entries are numbered under the lock of
//! [`Connection::alone`], so that they become visible in their order, which a sequence of the database would not promise:
//! who has seen number 7 has seen all before.

use gateway_core::limits::KEYS_PER_PAGE;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::database::{Connection, Result, Row, Value};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    CreateKey,
    UpdateKey,
    RevokeKey,
    CreateTeam,
    UpdateTeam,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Action::CreateKey => "key.create",
            Action::UpdateKey => "key.update",
            Action::RevokeKey => "key.revoke",
            Action::CreateTeam => "team.create",
            Action::UpdateTeam => "team.update",
        }
    }
}

/// Where the log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub number: i64,
    pub hash: Vec<u8>,
}

/// An entry.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub number: i64,
    pub at_ms: i64,
    /// `cli:USER`, `admin`, `key:ID`
    pub actor: String,
    pub action: String,
    /// The id of the key or team.
    pub subject: String,
    /// What it was then.
    pub details: Box<RawValue>,
}

impl Entry {
    fn hash(&self, before: &[u8]) -> Vec<u8> {
        let mut hasher = Sha256::new();
        hasher.update(before);
        // Parts that run into each other cannot be moved between them: this is a list of JSON.
        let parts = (self.number, self.at_ms, &self.actor, &self.action, &self.subject, self.details.get());
        hasher.update(serde_json::to_string(&parts).unwrap_or_default());
        hasher.finalize().to_vec()
    }

    fn read(row: &Row) -> sqlx::Result<Entry> {
        let details = RawValue::from_string(row.text(5)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Entry {
            number: row.integer(0)?,
            at_ms: row.integer(1)?,
            actor: row.text(2)?,
            action: row.text(3)?,
            subject: row.text(4)?,
            details,
        })
    }
}

impl Connection {
    /// Writes down what is about to be done, and returns its number. To be called by [`Connection::alone`] only.
    pub(super) async fn note(
        &mut self,
        actor: &str,
        action: Action,
        subject: &str,
        details: &impl Serialize,
    ) -> Result<i64> {
        let before = self.audit_head().await?;
        let (last, hash) = before.map_or((0, Vec::new()), |head| (head.number, head.hash));
        let details = serde_json::value::to_raw_value(details).map_err(|error| self.unusable(&error.to_string()))?;
        let entry = Entry {
            number: last + 1,
            at_ms: Timestamp::now().as_millisecond(),
            actor: actor.to_owned(),
            action: action.name().to_owned(),
            subject: subject.to_owned(),
            details,
        };
        let values: [Value; 7] = [
            entry.number.into(),
            entry.at_ms.into(),
            actor.into(),
            action.name().into(),
            subject.into(),
            entry.details.get().into(),
            entry.hash(&hash).as_slice().into(),
        ];
        let sql = "INSERT INTO gateway_audit (number, at_ms, actor, action, subject, details, hash)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        self.run(sql, &values).await?;
        Ok(entry.number)
    }

    /// The last entry; `None` while nothing was ever changed.
    pub async fn audit_head(&mut self) -> Result<Option<Head>> {
        let sql = "SELECT number, hash FROM gateway_audit ORDER BY number DESC LIMIT 1";
        self.first(sql, &[], |row| Ok(Head { number: row.integer(0)?, hash: row.bytes(1)? })).await
    }

    /// Whether the log, as it is now, once ended so. A database that was put back to an earlier state and changed since
    /// says no.
    pub async fn audit_contains(&mut self, head: &Head) -> Result<bool> {
        let sql = "SELECT hash FROM gateway_audit WHERE number = $1";
        Ok(self.first(sql, &[head.number.into()], |row| row.bytes(0)).await?.is_some_and(|hash| hash == head.hash))
    }

    /// Entries before `before`, or the latest, newest first: at most `limit`, and at most [`KEYS_PER_PAGE`].
    pub async fn audit(&mut self, before: Option<i64>, limit: u64) -> Result<Vec<Entry>> {
        let sql = "SELECT number, at_ms, actor, action, subject, details FROM gateway_audit
                   WHERE number < $1 ORDER BY number DESC LIMIT $2";
        let limit = i64::try_from(limit.min(KEYS_PER_PAGE)).unwrap_or(i64::MAX);
        let mut entries = Vec::new();
        let values = [before.unwrap_or(i64::MAX).into(), limit.into()];
        self.each(sql, &values, Entry::read, |entry| entries.push(entry)).await?;
        Ok(entries)
    }

    /// Goes through the whole log. The number of the first entry that is missing or not as it was written; `None` if all is
    /// well. Nothing can tell when the last entries were cut off, but another place that knows a later one.
    pub async fn broken_audit(&mut self) -> Result<Option<i64>> {
        let sql = "SELECT number, at_ms, actor, action, subject, details, hash FROM gateway_audit ORDER BY number";
        let (mut next, mut before, mut broken) = (1, Vec::new(), None);
        let check = |(entry, hash): (Entry, Vec<u8>)| {
            if broken.is_none() && (entry.number != next || entry.hash(&before) != hash) {
                broken = Some(next);
            }
            (next, before) = (entry.number + 1, hash);
        };
        self.each(sql, &[], |row| Ok((Entry::read(row)?, row.bytes(6)?)), check).await?;
        Ok(broken)
    }
}
