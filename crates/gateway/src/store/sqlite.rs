//! The file of SQLite: where it lies, who may read it, and how statements reach it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Sqlite, SqliteConnection};

use super::database::Value;

/// Several processes use the file: each holds it for milliseconds.
const BUSY_TIME: Duration = Duration::from_secs(2);

/// Rows that SQLite's thread reads ahead: each time they run out, two threads change places.
const ROWS_AHEAD: usize = 2048;

/// Which file it is, however often the path is given to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId(u64, u64);

/// The options and the path of a URL; `None` for one that names no file.
pub fn options(url: &str) -> Option<(SqliteConnectOptions, PathBuf)> {
    let options = SqliteConnectOptions::from_str(url).ok()?;
    let path = options.get_filename().to_path_buf();
    if url.contains(":memory:") || url.contains("mode=memory") || path.as_os_str().is_empty() {
        return None;
    }
    // Someone who was told that a key is revoked may rely on it, whatever happens to the power.
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIME)
        .row_buffer_size(ROWS_AHEAD)
        .create_if_missing(false);
    Some((options, path))
}

pub fn id(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().map(|file| FileId(file.dev(), file.ino()))
}

/// Makes the file, and the folders above it, for the owner alone; what is there stays as it is.
pub fn create(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

pub async fn connect(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    options.clone().disable_statement_logging().connect().await
}

pub fn query(sql: &'static str, values: &[Value]) -> Query<'static, Sqlite, SqliteArguments> {
    values.iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Text(text) => query.bind(text.clone()),
        Value::Integer(number) => query.bind(*number),
        Value::Bytes(bytes) => query.bind(bytes.clone()),
    })
}
