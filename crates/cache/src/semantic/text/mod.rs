//! From characters to words: folding, tokens, numerals, and which language they are in.

pub(crate) mod accents;
pub(crate) mod fold;
pub(crate) mod hash;
pub(crate) mod language;
pub(crate) mod numerals;
pub(crate) mod tokens;
