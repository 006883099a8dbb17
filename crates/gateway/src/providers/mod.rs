//! Providers: who they are (`catalog`), how they are reached (`client`), how they feel (`health`).

pub mod catalog;
pub mod client;
pub mod health;
