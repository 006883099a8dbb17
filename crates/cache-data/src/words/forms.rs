//! The forms of words: a map from bytes to rules (`forms.fst`), and the rules (`rules.bin`).
//!
//! A rule says what a form can be, and how to get from it to the lemma: many words share one, so that the map is little more
//! than the words themselves. Rule 0: the word exists, and no more is known. `rules.bin`, little-endian: the number of rules
//! (u32), the end of each (u32), then for each analysis of each rule: bytes to take off (u8), part of speech (3 bits) and
//! inflection (5 bits), another spelling (1 bit) and length of what is put on (7 bits), and that.

use fst::{
    Map,
    raw::{Fst, Node, Output},
};

/// The longest expression, in words.
const MAX_WORDS: usize = 4;

/// A word as a dictionary lists it, as a number: a hash of its text, which no other lemma of the language here has. The same
/// word is one lemma in all parts of speech. Two languages' lemmas are not to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lemma(pub(super) u32);

impl Lemma {
    /// FNV-1a, and a last stir; the same in `scripts/cache_data/lexicon.py`, but that "ß" is "ss" here: the two spellings of a
    /// German word are one lemma, whose frequency nobody finds.
    fn of(parts: [&[u8]; 2]) -> Self {
        let mut hash = 0x811c_9dc5_u32;
        let mut take = |byte: u8| hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        for part in parts {
            let mut bytes = part.iter().copied().peekable();
            while let Some(byte) = bytes.next() {
                // "ß", or as the Swiss write it.
                if byte == 0xc3 && bytes.next_if_eq(&0x9f).is_some() {
                    take(b's');
                    take(b's');
                } else {
                    take(byte);
                }
            }
        }
        Self((hash ^ hash >> 15).wrapping_mul(0x2c1b_3c6d))
    }

    /// For whoever keeps words as numbers.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

/// What a form can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Analysis<'w> {
    pub lemma: Lemma,
    /// The text of the lemma, in two parts: a part of the form, and what follows.
    pub text: (&'w str, &'static str),
    pub part: Part,
    pub inflection: Inflection,
    /// Another spelling than the lemma's: "colour", "organises".
    pub variant: bool,
}

/// Part of speech. In Spanish and Portuguese a noun is often listed as an adjective, too, and in German an adjective as an
/// adverb: their tables do not say which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Noun,
    Verb,
    Adjective,
    Adverb,
    /// Of a person, a place, a work: written with a capital, also in the middle of a sentence.
    Name,
    Function,
    Other,
}

impl Part {
    const ALL: [Self; 7] =
        [Self::Noun, Self::Verb, Self::Adjective, Self::Adverb, Self::Name, Self::Function, Self::Other];

    pub(crate) fn from_number(number: usize) -> Self {
        Self::ALL.get(number).copied().unwrap_or(Self::Other)
    }
}

/// How a form differs from its lemma. A form that can be several things has an analysis for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inflection {
    /// The lemma itself; of a verb in English also the present, but for the third person.
    Base,
    Plural,
    /// The past tense. In English also the past participle ("installed", "gone").
    Past,
    /// The past participle, in the other languages.
    Participle,
    Gerund,
    /// The third person of the present, in English.
    Third,
    Comparative,
    Superlative,
    Feminine,
    FemininePlural,
    Present,
    Imperfect,
    Future,
    Conditional,
    Subjunctive,
    Imperative,
    /// An ending of case, gender or number, of which no more is known.
    Declined,
    /// A form of a verb of which no more is known.
    Conjugated,
}

impl Inflection {
    const ALL: [Self; 18] = [
        Self::Base,
        Self::Plural,
        Self::Past,
        Self::Participle,
        Self::Gerund,
        Self::Third,
        Self::Comparative,
        Self::Superlative,
        Self::Feminine,
        Self::FemininePlural,
        Self::Present,
        Self::Imperfect,
        Self::Future,
        Self::Conditional,
        Self::Subjunctive,
        Self::Imperative,
        Self::Declined,
        Self::Conjugated,
    ];
}

pub(super) struct Forms {
    map: Option<Map<&'static [u8]>>,
    ends: &'static [[u8; 4]],
    rules: &'static [u8],
}

impl Forms {
    /// Files that are not what they should be have no words: the test that compares their hashes has the say.
    pub(super) fn new(map: &'static [u8], rules: &'static [u8]) -> Self {
        let (ends, rules) = rules
            .split_first_chunk::<4>()
            .and_then(|(count, rest)| rest.split_at_checked(u32::from_le_bytes(*count) as usize * 4))
            .unwrap_or_default();
        Self { map: Map::new(map).ok(), ends: ends.as_chunks().0, rules }
    }

    pub(super) fn known(&self, word: &str) -> bool {
        self.map.as_ref().is_some_and(|map| map.contains_key(word))
    }

    pub(super) fn analyses<'w>(&self, word: &'w str) -> Analyses<'w> {
        let rule = |word: &str| self.map.as_ref().and_then(|map| map.get(word)).and_then(|rule| self.rule(rule));
        // "Strasse" for "Straße": both take as many bytes, so that the rule of one fits the other.
        let sharp = || {
            word.match_indices("ss")
                .find_map(|(at, double)| rule(&[&word[..at], "ß", &word[at + double.len()..]].concat()))
        };
        Analyses { word, rule: rule(word).or_else(sharp).unwrap_or_default() }
    }

    fn rule(&self, number: u64) -> Option<&'static [u8]> {
        let end = |at: usize| Some(u32::from_le_bytes(*self.ends.get(at)?) as usize);
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.rules.get(at.checked_sub(1).map_or(Some(0), end)?..end(at)?)
    }

    pub(super) fn expression(&self, words: &[&str]) -> Option<usize> {
        let fst = self.map.as_ref()?.as_fst();
        let mut place = Place::root(fst).step(fst, words.first()?.as_bytes())?;
        let mut longest = None;
        for (number, word) in words.iter().enumerate().take(MAX_WORDS).skip(1) {
            let Some(next) = place.step(fst, b" ").and_then(|place| place.step(fst, word.as_bytes())) else { break };
            place = next;
            if place.rule() > 0 {
                longest = Some(number + 1);
            }
        }
        longest
    }
}

/// A node of the map, and the sum of what led to it.
#[derive(Clone, Copy)]
struct Place<'a> {
    node: Node<'a>,
    sum: Output,
}

impl<'a> Place<'a> {
    fn root(fst: &'a Fst<&'static [u8]>) -> Self {
        Self { node: fst.root(), sum: Output::zero() }
    }

    fn step(mut self, fst: &'a Fst<&'static [u8]>, bytes: &[u8]) -> Option<Self> {
        for byte in bytes {
            let transition = self.node.transition(self.node.find_input(*byte)?);
            self = Self { node: fst.node(transition.addr), sum: self.sum.cat(transition.out) };
        }
        Some(self)
    }

    fn rule(&self) -> u64 {
        if self.node.is_final() { self.sum.cat(self.node.final_output()).value() } else { 0 }
    }
}

/// What a form can be, the most probable first.
#[derive(Clone, Debug)]
pub struct Analyses<'w> {
    word: &'w str,
    rule: &'static [u8],
}

impl<'w> Iterator for Analyses<'w> {
    type Item = Analysis<'w>;

    fn next(&mut self) -> Option<Analysis<'w>> {
        let ([strip, what, suffix], rest) = self.rule.split_first_chunk::<3>()?;
        let (put_on, rest) = rest.split_at_checked(usize::from(suffix & 0x7f))?;
        self.rule = rest;
        let stem = self.word.get(..self.word.len().checked_sub(usize::from(*strip))?)?;
        let put_on = str::from_utf8(put_on).ok()?;
        Some(Analysis {
            lemma: Lemma::of([stem.as_bytes(), put_on.as_bytes()]),
            text: (stem, put_on),
            part: Part::from_number(usize::from(what >> 5)),
            inflection: Inflection::ALL.get(usize::from(what & 0x1f)).copied()?,
            variant: suffix >> 7 == 1,
        })
    }
}
