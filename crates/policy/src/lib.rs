//! Decisions without sockets: what a model is and costs, how large a request probably is, and where it goes.
//!
//! Nothing here waits, reads a clock or opens a connection: the same input gives the same answer.

pub mod models;
pub mod pricing;
pub mod resilience;
pub mod routing;
pub mod tokens;
