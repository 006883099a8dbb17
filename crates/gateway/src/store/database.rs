//! One connection to the database, which is SQLite or PostgreSQL. Statements are written once, in what both understand, and
//! parameters are bound, never pasted.
//!
//! There is no pool: one connection a process does for what is not on the way of requests, and a fleet of gateways does not
//! use up what a server allows. Whoever sees anything fail but a refusal drops the connection and makes another, because
//! nobody knows what its other end thinks.

use std::fmt;
use std::path::PathBuf;

use futures_util::TryStreamExt;
use gateway_core::secret::Secret;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Connection as _, PgConnection, Row as _, SqliteConnection};

use super::sqlite::FileId;
use super::{postgres, schema, sqlite};

/// Where the database is if nobody says otherwise.
pub const DEFAULT_URL: &str = "sqlite://data/llm-gateway.db";

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The database cannot be asked, or not understood: what, where, and what to do.
    Unavailable(String),
    Refused(Refusal),
}

/// What the database says to a well-formed wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another key in use, or another team, has the name.
    NameTaken(String),
    NoSuchKey(String),
    NoSuchTeam(String),
    /// A key that was revoked stays as it is.
    Revoked(String),
    /// There are as many keys or teams as there may be.
    Full(&'static str),
    Invalid(Vec<crate::keys::Invalid>),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Unavailable(why) => f.write_str(why),
            StoreError::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NameTaken(name) => write!(f, "the name {name:?} is taken"),
            Refusal::NoSuchKey(key) => write!(f, "there is no key {key:?}"),
            Refusal::NoSuchTeam(team) => write!(f, "there is no team {team:?}"),
            Refusal::Revoked(key) => write!(f, "the key {key:?} was revoked and stays so: make another"),
            Refusal::Full(what) => write!(f, "there are as many {what} as there may be"),
            Refusal::Invalid(problems) => {
                let problems: Vec<String> =
                    problems.iter().map(|problem| format!("{} {}", problem.field(), problem.message)).collect();
                f.write_str(&problems.join("; "))
            }
        }
    }
}

impl std::error::Error for StoreError {}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> StoreError {
        StoreError::Refused(refusal)
    }
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// Which database: a URL that was understood. `Debug` tells no password.
#[derive(Clone)]
pub struct Location {
    kind: Kind,
    /// For people: without the password.
    pub place: String,
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Location").field(&self.place).finish()
    }
}

#[derive(Clone)]
enum Kind {
    Sqlite(Box<SqliteConnectOptions>, PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl Location {
    pub fn parse(url: &Secret) -> std::result::Result<Location, String> {
        let url = url.expose();
        // What the library says of a bad URL may quote it, with its password.
        if url.starts_with("sqlite:") {
            let (options, path) = sqlite::options(url).ok_or("DATABASE_URL names no file: write sqlite://PATH")?;
            let place = format!("SQLite file {}", path.display());
            return Ok(Location { kind: Kind::Sqlite(Box::new(options), path), place });
        }
        let options = postgres::options(url)
            .ok_or("DATABASE_URL cannot be understood: write postgres://USER:PASSWORD@HOST:5432/DATABASE")?;
        let place = postgres::place(&options);
        Ok(Location { kind: Kind::Postgres(Box::new(options)), place })
    }

    /// Whether gateways on other machines can use it too.
    pub fn is_shared(&self) -> bool {
        matches!(self.kind, Kind::Postgres(_))
    }

    /// `false`: a file that nobody has made yet.
    pub fn exists(&self) -> bool {
        match &self.kind {
            Kind::Sqlite(_, path) => path.exists(),
            Kind::Postgres(_) => true,
        }
    }

    /// Which file lies there now; `None` where there is none, or it is no matter of files.
    pub fn file(&self) -> Option<FileId> {
        match &self.kind {
            Kind::Sqlite(_, path) => sqlite::id(path),
            Kind::Postgres(_) => None,
        }
    }

    /// Makes the file, if it is one and not there.
    pub fn create(&self) -> Result<()> {
        let Kind::Sqlite(_, path) = &self.kind else { return Ok(()) };
        sqlite::create(path).map_err(|error| {
            let what = "make its folder writable for this user, or set DATABASE_URL";
            StoreError::Unavailable(format!("the {} cannot be made: {error}; {what}", self.place))
        })
    }

    /// A connection to a database with the tables of this version.
    pub async fn open(&self) -> Result<Connection> {
        let handle = match &self.kind {
            Kind::Sqlite(options, _) => sqlite::connect(options).await.map(Handle::Sqlite),
            Kind::Postgres(options) => postgres::connect(options).await.map(Handle::Postgres),
        };
        let mut connection = match handle {
            Ok(handle) => Connection { handle, place: self.place.clone() },
            Err(error) => return Err(explain(&self.place, &error)),
        };
        connection.script("", postgres::SERVER_TIMES).await?;
        schema::migrate(&mut connection).await?;
        Ok(connection)
    }
}

/// A parameter. The kind is told for what is not there, too: PostgreSQL asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(Option<String>),
    Integer(Option<i64>),
    Bytes(Vec<u8>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(Some(text.to_owned()))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Value {
        Value::Text(text.map(str::to_owned))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Integer(Some(number))
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Value {
        Value::Bytes(bytes.to_vec())
    }
}

/// A row of an answer. Columns are told by their place, which the statement beside says.
#[derive(Debug)]
pub enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! column {
    ($name:ident, $type:ty) => {
        pub fn $name(&self, column: usize) -> sqlx::Result<$type> {
            match self {
                Row::Sqlite(row) => row.try_get(column),
                Row::Postgres(row) => row.try_get(column),
            }
        }
    };
}

impl Row {
    column!(text, String);
    column!(integer, i64);
    column!(integer_if_any, Option<i64>);
    column!(bytes, Vec<u8>);
}

enum Handle {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

pub struct Connection {
    handle: Handle,
    place: String,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Connection {
    /// Tells the other end that nothing more will come. Not needed for anything to be kept.
    pub async fn close(self) {
        let _ = match self.handle {
            Handle::Sqlite(connection) => connection.close().await,
            Handle::Postgres(connection) => connection.close().await,
        };
    }

    /// Does something, and says how many rows it concerned.
    pub async fn run(&mut self, sql: &'static str, values: &[Value]) -> Result<u64> {
        let done = match &mut self.handle {
            Handle::Sqlite(to) => sqlite::query(sql, values).execute(to).await.map(|done| done.rows_affected()),
            Handle::Postgres(to) => postgres::query(sql, values).execute(to).await.map(|done| done.rows_affected()),
        };
        done.map_err(|error| explain(&self.place, &error))
    }

    /// What `read` makes of each row of an answer goes to `take`, one after the other, so that a long answer need not be held.
    pub async fn each<T>(
        &mut self,
        sql: &'static str,
        values: &[Value],
        read: impl Fn(&Row) -> sqlx::Result<T>,
        mut take: impl FnMut(T),
    ) -> Result<()> {
        let took = match &mut self.handle {
            Handle::Sqlite(to) => {
                let rows = sqlite::query(sql, values).fetch(to);
                rows.try_for_each(|row| std::future::ready(read(&Row::Sqlite(row)).map(&mut take))).await
            }
            Handle::Postgres(to) => {
                let rows = postgres::query(sql, values).fetch(to);
                rows.try_for_each(|row| std::future::ready(read(&Row::Postgres(row)).map(&mut take))).await
            }
        };
        took.map_err(|error| explain(&self.place, &error))
    }

    /// The only or the first row.
    pub async fn first<T>(
        &mut self,
        sql: &'static str,
        values: &[Value],
        read: impl Fn(&Row) -> sqlx::Result<T>,
    ) -> Result<Option<T>> {
        let mut first = None;
        self.each(sql, values, read, |value| _ = first.get_or_insert(value)).await?;
        Ok(first)
    }

    /// Several statements without parameters.
    pub(super) async fn script(&mut self, sqlite: &'static str, postgres: &'static str) -> Result<()> {
        let done = match &mut self.handle {
            Handle::Sqlite(to) => sqlx::raw_sql(sqlite).execute(to).await.map(drop),
            Handle::Postgres(to) => sqlx::raw_sql(postgres).execute(to).await.map(drop),
        };
        done.map_err(|error| explain(&self.place, &error))
    }

    /// All of `work` or nothing of it, while nobody else changes anything.
    pub async fn alone<T>(&mut self, work: impl AsyncFnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        // A lock by its number, which is free again when the transaction ends, also by the end of the connection. The number
        // is "llm-gate" in ASCII.
        self.script("BEGIN IMMEDIATE", "BEGIN; SELECT pg_advisory_xact_lock(7812739495356363877)").await?;
        self.finish(work).await
    }

    /// What `work` reads is of one moment.
    pub async fn snapshot<T>(&mut self, work: impl AsyncFnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.script("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        self.finish(work).await
    }

    async fn finish<T>(&mut self, work: impl AsyncFnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let worked = work(self).await;
        let end = if worked.is_ok() { "COMMIT" } else { "ROLLBACK" };
        match (worked, self.script(end, end).await) {
            (Ok(value), Ok(())) => Ok(value),
            // What went wrong first says more.
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        }
    }

    /// The statement that this database understands.
    pub(super) fn spelled(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self.handle {
            Handle::Sqlite(_) => sqlite,
            Handle::Postgres(_) => postgres,
        }
    }

    /// The database is not what this version can work with. `why`: a predicate.
    pub(super) fn unusable(&self, why: &str) -> StoreError {
        StoreError::Unavailable(format!("the {} {why}", self.place))
    }
}

/// What went wrong, for the operator. Messages of servers are told, and they quote no password.
fn explain(place: &str, error: &sqlx::Error) -> StoreError {
    let told = match error {
        sqlx::Error::Io(error) => {
            format!("the {place} cannot be reached: {error}; see whether it runs and DATABASE_URL names it")
        }
        sqlx::Error::Tls(error) => {
            format!("the {place} cannot be spoken to over TLS: {error}; `sslmode` in DATABASE_URL says how")
        }
        sqlx::Error::Database(error) => format!("the {place} says: {}", error.message()),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnIndexOutOfBounds { .. } => {
            format!("the {place} holds what this version cannot read: {error}")
        }
        _ => format!("the {place} cannot be used: {error}"),
    };
    StoreError::Unavailable(told)
}
