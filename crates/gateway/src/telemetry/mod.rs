//! What the program tells of itself: one log line per request, metrics.

pub mod log;
pub mod metrics;
