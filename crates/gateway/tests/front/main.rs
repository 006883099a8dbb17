//! The program as its users meet it: the real binary, real sockets, simulated providers.

#[cfg(test)]
mod access;
#[cfg(test)]
mod admin;
#[cfg(test)]
mod blocked_log;
#[cfg(test)]
mod broken_streams;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod chunking;
#[cfg(test)]
mod client_gone;
#[cfg(test)]
mod counting;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod fidelity;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hostile_providers;
#[cfg(test)]
mod http;
#[cfg(test)]
mod keep_alive;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod rate_limits;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod resilience;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod routing;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod shared_limits;
#[cfg(test)]
mod stalled;
