//! Words of a language: their forms, how frequent they are, what else says the same, what says the opposite.
//!
//! ```
//! use gateway_cache_data::words::{self, Inflection, Lemma, Part};
//!
//! let english = words::english();
//! let lemma = |word| english.lemma(word).unwrap();
//! // "mice" is the plural of a noun, and "colour" another spelling of "color".
//! let mice = english.analyses("mice").next().unwrap();
//! assert_eq!((mice.part, mice.inflection, mice.lemma), (Part::Noun, Inflection::Plural, lemma("mouse")));
//! assert_eq!(lemma("colour"), lemma("color"));
//! // Synonyms come with how often either word is meant so.
//! assert!(english.synonyms(lemma("buy"), lemma("purchase")).unwrap().least() > 0.5);
//! // No dog is meant to be a frank (the sausage) often enough to be listed.
//! assert_eq!(english.synonyms(lemma("dog"), lemma("frank")), None);
//! ```
//!
//! All words are looked up in lower case and NFC, with their accents. A word of several words ("turn off") has single spaces.

mod forms;
mod senses;

use std::{fmt, sync::LazyLock};

pub use forms::{Analyses, Analysis, Inflection, Lemma, Part};
pub use senses::Synonymy;

use self::{
    forms::Forms,
    senses::{Pairs, Senses},
};

/// A language of which there are words here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    English,
    Spanish,
    French,
    German,
    Portuguese,
}

impl Language {
    pub const ALL: [Self; 5] = [Self::English, Self::Spanish, Self::French, Self::German, Self::Portuguese];

    /// ISO 639-1.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Spanish => "es",
            Self::French => "fr",
            Self::German => "de",
            Self::Portuguese => "pt",
        }
    }
}

/// The words of one language.
pub struct Words {
    language: Language,
    forms: Forms,
    senses: Senses,
    opposites: Pairs,
    derived: Pairs,
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Words").field(&self.language).finish()
    }
}

macro_rules! words {
    ($language:ident, $code:literal) => {{
        static WORDS: LazyLock<Words> = LazyLock::new(|| Words {
            language: Language::$language,
            forms: Forms::new(
                include_bytes!(concat!("../data/", $code, "/forms.fst")),
                include_bytes!(concat!("../data/", $code, "/rules.bin")),
            ),
            senses: Senses::new(include_bytes!(concat!("../data/", $code, "/senses.bin"))),
            opposites: Pairs::new(include_bytes!(concat!("../data/", $code, "/opposites.bin"))),
            derived: Pairs::new(include_bytes!(concat!("../data/", $code, "/derived.bin"))),
        });
        &WORDS
    }};
}

/// The words of `language`.
#[must_use]
pub fn of(language: Language) -> &'static Words {
    match language {
        Language::English => words!(English, "en"),
        Language::Spanish => words!(Spanish, "es"),
        Language::French => words!(French, "fr"),
        Language::German => words!(German, "de"),
        Language::Portuguese => words!(Portuguese, "pt"),
    }
}

/// The words of English.
#[must_use]
pub fn english() -> &'static Words {
    of(Language::English)
}

impl Words {
    /// Whether the language has this word in this form. Wider than what has an analysis: rare words and names belong to it, so
    /// that a rare word is not taken for a typing error of a frequent one. False proves little, as products and new words are
    /// always missing. The lists differ: English, Spanish, French and Portuguese have more than 100,000 words, German, which
    /// makes new ones at will, has the frequent ones.
    #[must_use]
    pub fn known(&self, word: &str) -> bool {
        self.forms.known(word)
    }

    /// What the form can be: "saw" is the past of a verb, a noun, another verb. The most probable first, at most 8. None for a
    /// word of which only the existence is known.
    #[must_use]
    pub fn analyses<'w>(&self, word: &'w str) -> Analyses<'w> {
        self.forms.analyses(word)
    }

    /// The lemma of the most probable analysis.
    #[must_use]
    pub fn lemma(&self, word: &str) -> Option<Lemma> {
        self.analyses(word).next().map(|analysis| analysis.lemma)
    }

    /// How many of the first words make the longest expression of two to four that has an analysis: 2 of "turned off the
    /// light". Joined with single spaces they are a word for `analyses`. Words must be adjacent: "turned the light off" is for
    /// the caller to put together.
    #[must_use]
    pub fn expression(&self, words: &[&str]) -> Option<usize> {
        self.forms.expression(words)
    }

    /// Whether two words share a meaning, and how often each is meant so: for the part of speech for which that is most. None
    /// of a word with itself, unless it has a synonym. English alone has any: no list of synonyms of the other languages was
    /// found that may be shipped and says which meaning is the usual one.
    #[must_use]
    pub fn synonyms(&self, a: Lemma, b: Lemma) -> Option<Synonymy> {
        self.senses.shared(a, b, None)
    }

    /// The same for one part of speech. Names are nouns here.
    #[must_use]
    pub fn synonyms_as(&self, part: Part, a: Lemma, b: Lemma) -> Option<Synonymy> {
        self.senses.shared(a, b, Some(part))
    }

    /// Whether one says the opposite of the other in some meaning of both. Symmetric. Only what the dictionary lists. English
    /// alone has any.
    #[must_use]
    pub fn antonyms(&self, a: Lemma, b: Lemma) -> bool {
        self.opposites.contains(a, b)
    }

    /// Whether one is made of the other, with a related meaning: "install" and "installation", "quick" and "quickly".
    /// Symmetric. English alone has any.
    #[must_use]
    pub fn derived(&self, a: Lemma, b: Lemma) -> bool {
        self.derived.contains(a, b)
    }

    /// A bound above the lemma's rank by frequency (1: the most frequent word): 200, 1,000, 3,000, 6,000, 12,000, 25,000 or
    /// 50,000; in other languages than English 6,000 at most. None: rarer, or not known.
    #[must_use]
    pub fn rank_below(&self, lemma: Lemma) -> Option<u32> {
        self.senses.rank_below(lemma)
    }

    #[must_use]
    pub fn language(&self) -> Language {
        self.language
    }
}
