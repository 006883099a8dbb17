//! Decisions without sockets: what a model is and costs, how large a request probably is, who may have how much, and where a
//! request goes.
//!
//! Nothing here waits, reads a clock or opens a connection: the same input gives the same answer.

pub mod limits;
pub mod models;
pub mod pricing;
pub mod resilience;
pub mod routing;
mod sync;
pub mod tokens;
