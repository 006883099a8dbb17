//! The same question in other words.

pub mod embedder;
mod hamming;
pub(crate) mod index;
mod text;
pub mod verifier;
