//! The same question in other words.

pub mod embedder;
pub mod verifier;
