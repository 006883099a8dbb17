//! The tables, and how they come to be those of this version: step by step, forward only, by whichever node comes first.

use super::database::{Connection, Result};

struct Step {
    sqlite: &'static str,
    postgres: &'static str,
}

/// One for each version of the tables. What was once released is never changed, only followed.
const STEPS: &[Step] =
    &[Step { sqlite: include_str!("schema/1.sqlite.sql"), postgres: include_str!("schema/1.postgres.sql") }];

const VERSIONS: &str = "CREATE TABLE gateway_schema (version BIGINT NOT NULL PRIMARY KEY)";

/// Brings the tables to this version. Nodes that start at once wait for each other; those that find nothing to do only look,
/// so that it can also be a role of its own that makes tables.
pub(super) async fn migrate(connection: &mut Connection) -> Result<()> {
    if version(connection).await? == Some(STEPS.len()) {
        return Ok(());
    }
    connection
        .alone(async |connection| {
            let there = match version(connection).await? {
                Some(there) => there,
                None => {
                    connection.run(VERSIONS, &[]).await?;
                    0
                }
            };
            let Some(missing) = STEPS.get(there..) else {
                let known = STEPS.len();
                let why = format!(
                    "has tables of version {there}, and this program knows those up to {known}: use a later release of llm-gateway"
                );
                return Err(connection.unusable(&why));
            };
            for (index, step) in missing.iter().enumerate() {
                connection.script(step.sqlite, step.postgres).await?;
                let version = i64::try_from(there + index + 1).unwrap_or(i64::MAX);
                connection.run("INSERT INTO gateway_schema (version) VALUES ($1)", &[version.into()]).await?;
            }
            Ok(())
        })
        .await
}

/// The version of the tables; `None` where there are none.
async fn version(connection: &mut Connection) -> Result<Option<usize>> {
    let sql = connection.spelled(
        "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'gateway_schema'",
        "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('gateway_schema')",
    );
    if connection.first(sql, &[], |row| row.integer(0)).await? == Some(0) {
        return Ok(None);
    }
    let version = connection.first("SELECT MAX(version) FROM gateway_schema", &[], |row| row.integer_if_any(0)).await?;
    Ok(Some(usize::try_from(version.flatten().unwrap_or(0)).unwrap_or(usize::MAX)))
}
