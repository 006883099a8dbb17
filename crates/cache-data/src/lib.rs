//! What the semantic cache knows about words, and its embedding model, as bytes in the binary.
//!
//! No decisions here: what two questions have to do with each other is for `gateway-cache` to say. Nothing is built or
//! decompressed at start. Every file in `data/` is made by `scripts/build-cache-data.py`; README.md names its source, its
//! licence and its hash.

pub mod model;
pub mod words;

pub use words::Language;
