//! The same question in other words.

mod directions;
pub mod embedder;
pub(crate) mod index;
pub mod verifier;
