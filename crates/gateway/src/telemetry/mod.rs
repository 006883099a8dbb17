//! What the program tells of itself: one log line per request, its explanation, metrics.

pub mod explain;
mod line;
pub mod log;
pub mod metrics;
