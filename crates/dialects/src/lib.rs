//! Wire formats: bytes to domain and back. Pure functions and state machines, no I/O.
//!
//! Every dialect has its folder with the same files: `request`, `response`, `stream`, `error`. [`codec`] has the two traits
//! and the only places that know which dialect is which.

pub mod anthropic_messages;
pub mod codec;
pub mod envelope;
pub mod json;
mod losses;
pub mod native;
pub mod openai_chat;
mod scan;
pub mod sse;
mod template;
mod write;
