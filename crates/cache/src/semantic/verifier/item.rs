//! The words of a text on their way to its normal form.

use crate::semantic::text::hash::word_hash;
use crate::semantic::text::tokens::{Case, Kind, Token};

/// A word, a number or a mark of the normal form: cut from the text, or put there by a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'t> {
    pub(crate) word: &'t str,
    pub(crate) hash: u64,
    pub(crate) kind: Kind,
    pub(crate) case: Case,
    /// First of a sentence: its capital says nothing.
    pub(crate) first: bool,
    pub(crate) joined: bool,
    pub(crate) comma: bool,
    pub(crate) end: bool,
    /// Which words a rule has put this in place of; 0: it stands as it was written. Two items that say the same in
    /// different forms cost `weight`.
    pub(crate) form: u64,
    /// How sure it is that the form changes nothing, in hundredths.
    pub(crate) weight: u8,
}

impl<'t> Item<'t> {
    pub(crate) fn of(token: &Token, word: &'t str) -> Self {
        let &Token { hash, kind, case, first, joined, comma, end, .. } = token;
        Self { word, hash, kind, case, first, joined, comma, end, form: 0, weight: 100 }
    }

    /// A word that a rule puts in.
    pub(crate) fn made(word: &'t str) -> Self {
        let kind = match word.chars().next() {
            Some(char) if char.is_ascii_digit() => Kind::Number,
            Some(char) if char.is_alphabetic() || char == '@' || char == '\'' => Kind::Word,
            _ => Kind::Opaque,
        };
        Self {
            word,
            hash: word_hash(word),
            kind,
            case: Case::Lower,
            first: false,
            joined: false,
            comma: false,
            end: false,
            form: 0,
            weight: 100,
        }
    }

    pub(crate) fn is(&self, word: &str) -> bool {
        self.word == word && self.kind != Kind::Quoted
    }
}
