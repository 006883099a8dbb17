//! The same question in other words.

pub mod embedder;
mod text;
pub mod verifier;
