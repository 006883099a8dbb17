//! What stands around a gateway and is broken on purpose: a Redis, and a network that fails as told. For this crate's program and
//! for the gateway's own tests. Loopback only.

pub mod proxy;
pub mod redis;
