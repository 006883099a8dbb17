//! What outlives a request, and what several gateways share.

pub mod redis;
