//! The simulator over real sockets, read by a client that knows TCP and HTTP/1.1 and nothing of the simulator.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod client;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod recordings;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod routes;
