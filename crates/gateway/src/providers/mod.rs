//! Providers: who they are (`catalog`), how they are reached (`client`, `line`), who may ask them now (`permit`), how they fare
//! (`state`, `health`).

pub mod catalog;
pub mod client;
pub mod health;
pub mod line;
pub mod meter;
pub mod permit;
pub mod probe;
pub mod quota;
pub mod state;
