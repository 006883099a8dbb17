//! Whether the answer to one question serves another. The default is "different": every difference must be explained.

use crate::key::Hash;

/// All that is needed to compare a text with others, made once.
#[derive(Debug)]
pub struct Prepared {}

/// How a text may be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// In other words.
    Semantic,
    /// In its normal form.
    Canonical,
    /// As it was said, and why.
    Exact(Reason),
}

/// Why a text is found as it was said alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Of a language that is not known well enough.
    Language,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// In 0..=1: how sure it is that the answer serves.
    Serves {
        score: f32,
    },
    Different(Rule),
}

/// By what two questions are different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A word that nothing explains.
    Unexplained,
}

impl Rule {
    pub const ALL: [Rule; 1] = [Rule::Unexplained];

    /// For metrics and explanations.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Unexplained => "unexplained",
        }
    }
}

impl Prepared {
    pub fn new(_text: &str) -> Prepared {
        Prepared {}
    }

    pub fn coverage(&self) -> Coverage {
        Coverage::Exact(Reason::Language)
    }

    /// Of the normal form; `None` where nothing but the same text will do.
    pub fn canonical(&self) -> Option<Hash> {
        None
    }

    /// The same for texts whose content words are the same, in any order and inflection (and, if that is cheap, for the most
    /// usual synonyms). Candidates are also found by it, so that an entry of the same words is not missed for eight that are
    /// nearer by cosine. It decides nothing. `None`: the text has no content words.
    pub fn bag(&self) -> Option<u64> {
        None
    }

    /// Of memory, all that it owns included.
    pub fn bytes(&self) -> usize {
        size_of::<Prepared>()
    }
}

/// Whether the answer to `stored` serves whoever asks `asked`.
pub fn verify(_asked: &Prepared, _stored: &Prepared) -> Verdict {
    Verdict::Different(Rule::Unexplained)
}
