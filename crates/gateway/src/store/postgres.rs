//! PostgreSQL: how a connection is made, and how statements reach it.

use std::str::FromStr;

use sqlx::postgres::{PgArguments, PgConnectOptions};
use sqlx::query::Query;
use sqlx::{ConnectOptions, PgConnection, Postgres};

use super::database::Value;

/// The server's own bounds, so that nothing goes on there that nobody waits for any more. Not among the parameters of the
/// connection, because poolers refuse those that they do not know.
pub const SERVER_TIMES: &str =
    "SET statement_timeout = '30s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '10s'";

/// The options of a URL; `None` for one that is none.
pub fn options(url: &str) -> Option<PgConnectOptions> {
    Some(PgConnectOptions::from_str(url).ok()?.application_name("llm-gateway"))
}

/// Where it is, without the password.
pub fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    format!("PostgreSQL at {}:{}, database {database}", options.get_host(), options.get_port())
}

pub async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    options.clone().disable_statement_logging().connect().await
}

pub fn query(sql: &'static str, values: &[Value]) -> Query<'static, Postgres, PgArguments> {
    values.iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Text(text) => query.bind(text.clone()),
        Value::Integer(number) => query.bind(*number),
        Value::Bytes(bytes) => query.bind(bytes.clone()),
    })
}
