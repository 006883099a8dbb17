//! What outlives a request, and what several gateways share.
//!
//! `database` is one connection to SQLite or PostgreSQL, `keys` and `audit` are what is asked of it, `schema` how its tables
//! come about, and `keeper` the thread that has the connection while a gateway runs. Nothing here is on the way of a request.

pub mod audit;
pub mod database;
pub mod keeper;
pub mod keys;
mod postgres;
pub mod redis;
mod schema;
mod sqlite;

#[cfg(test)]
mod tests;
