//! The words of the domain, as plain data.
//!
//! Everything here can be read without knowing how it travels: no I/O, no async runtime, no clock, no environment.

pub mod access;
pub mod chat;
pub mod dialect;
pub mod error;
pub mod event;
pub mod gather;
pub mod limits;
pub mod secret;
pub mod target;
pub mod tool_names;
pub mod usage;

/// Fields that a dialect carries and the canonical model has no word for, in the order in which they came.
///
/// A decoder puts here what it does not understand; an encoder of another dialect takes out what it can say and names the
/// rest in [`chat::Encoded::dropped`]. This is what makes a silent loss impossible by construction.
pub type Extra = serde_json::Map<String, serde_json::Value>;
