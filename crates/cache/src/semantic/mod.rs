//! The same question in other words.

mod directions;
pub mod embedder;
pub(crate) mod index;
mod text;
pub mod verifier;
