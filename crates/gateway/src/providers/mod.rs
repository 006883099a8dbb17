//! Providers: who they are (`catalog`), how they are reached (`client`), how they feel (`health`), what is remembered of their models (`state`).

pub mod catalog;
pub mod client;
pub mod health;
pub mod state;
