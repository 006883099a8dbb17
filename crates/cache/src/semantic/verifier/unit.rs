//! The words of a normal form as they are kept: small, and with what the dictionary says of them.

use gateway_cache_data::words::{self, Inflection, Language, Lemma, Part};

use super::grammar::{Class, Grammar};
use super::item::Item;
use crate::semantic::text::tokens::{Case, Kind};

/// What a word can be, at most: further readings are rare ones.
const READINGS: usize = 3;

/// What a word or an expression can be, the most probable first.
pub(crate) type Readings = [Option<Reading>; READINGS];

/// What a word can be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) lemma: Lemma,
    pub(crate) part: Part,
    pub(crate) inflection: Inflection,
}

/// A word, number or mark of the normal form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    pub(crate) hash: u64,
    /// Of the words a rule has put it in place of; 0 if none.
    pub(crate) form: u32,
    start: u16,
    len: u8,
    pub(crate) weight: u8,
    pub(crate) kind: Kind,
    pub(crate) class: Class,
    pub(crate) case: Case,
    /// Written as a name, or unknown: it has no synonyms, and none of its letters may be another.
    pub(crate) name: bool,
    /// The dictionary has this word in this form.
    pub(crate) known: bool,
    pub(crate) first: bool,
    pub(crate) joined: bool,
    pub(crate) readings: Readings,
}

/// Several words that the dictionary has as one: "carry out".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expression {
    /// Where it begins, and how many words it has.
    pub(crate) at: u8,
    pub(crate) words: u8,
    pub(crate) readings: Readings,
}

/// The expressions among the words of a normal form.
pub(crate) fn expressions(grammar: &Grammar, items: &[Item<'_>]) -> Box<[Expression]> {
    let language = words::of(grammar.language);
    let mut found = Vec::new();
    for at in 0..items.len() {
        let plain = |item: &Item<'_>| {
            item.kind == Kind::Word && !item.word.starts_with('@') && (item.case == Case::Lower || item.first)
        };
        let run: Vec<&str> = items[at..].iter().take(4).take_while(|item| plain(item)).map(|item| item.word).collect();
        if run.len() < 2 || grammar.class(&items[at]) != Class::Content {
            continue;
        }
        let Some(length) = language.expression(&run) else { continue };
        let mut readings: Readings = [None; READINGS];
        for (place, reading) in readings.iter_mut().zip(language.analyses(&run[..length].join(" "))) {
            *place = Some(Reading { lemma: reading.lemma, part: reading.part, inflection: reading.inflection });
        }
        if let (Ok(at), Ok(words), Some(_)) = (u8::try_from(at), u8::try_from(length), readings[0]) {
            found.push(Expression { at, words, readings });
        }
    }
    found.into_boxed_slice()
}

impl Unit {
    pub(crate) fn word<'p>(&self, text: &'p str) -> &'p str {
        let start = usize::from(self.start);
        text.get(start..start + usize::from(self.len)).unwrap_or_default()
    }

    pub(crate) fn readings(&self) -> impl Iterator<Item = &Reading> {
        self.readings.iter().flatten()
    }

    pub(crate) fn can_be(&self, part: Part, inflection: Inflection) -> bool {
        self.readings().any(|reading| reading.part == part && reading.inflection == inflection)
    }
}

/// The units of a normal form, and their words.
pub(crate) fn units(grammar: &Grammar, items: &[Item<'_>]) -> (Box<str>, Box<[Unit]>) {
    let mut text = String::with_capacity(items.iter().map(|item| item.word.len()).sum());
    let language = words::of(grammar.language);
    // A title, or a text in capitals: they say nothing there.
    let inner = items.iter().filter(|item| item.kind == Kind::Word && !item.first && item.form == 0);
    let (capitals, all) =
        inner.fold((0, 0), |(capitals, all), item| (capitals + usize::from(item.case != Case::Lower), all + 1));
    let telling = capitals * 5 < all * 3 || all < 3;
    let units = items
        .iter()
        .map(|item| {
            let start = u16::try_from(text.len()).unwrap_or(u16::MAX);
            text.push_str(item.word);
            let class = grammar.class(item);
            let mut readings: Readings = [None; READINGS];
            let mut known = true;
            let mut name = false;
            if item.kind == Kind::Word && class == Class::Content {
                for (place, reading) in readings.iter_mut().zip(language.analyses(item.word)) {
                    *place = Some(Reading { lemma: reading.lemma, part: reading.part, inflection: reading.inflection });
                }
                known = readings[0].is_some() || language.known(item.word);
                let named = match (grammar.language, item.case) {
                    (_, Case::Lower) => false,
                    // All nouns have a capital there.
                    (Language::German, Case::Capital) => readings[0].is_none_or(|reading| reading.part == Part::Name),
                    _ => !item.first && telling,
                };
                let only_name =
                    readings[0].is_some() && readings.iter().flatten().all(|reading| reading.part == Part::Name);
                name = named || only_name || readings[0].is_none();
            }
            Unit {
                hash: item.hash,
                form: (item.form ^ (item.form >> 32)) as u32,
                start,
                len: u8::try_from(item.word.len()).unwrap_or(u8::MAX),
                weight: item.weight,
                kind: item.kind,
                class,
                case: item.case,
                name,
                known,
                first: item.first,
                joined: item.joined,
                readings,
            }
        })
        .collect();
    (text.into_boxed_str(), units)
}

/// A sum over the lemmas of the content words: the order does not matter.
pub(crate) fn bag(units: &[Unit]) -> Option<u64> {
    let content = units.iter().filter(|unit| unit.class == Class::Content);
    let mut sum = None;
    for unit in content {
        let lemma = unit.readings().next().map_or(unit.hash, |reading| u64::from(reading.lemma.number()));
        let mixed = (lemma ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xff51_afd7_ed55_8ccd);
        sum = Some(sum.unwrap_or(0_u64).wrapping_add(mixed ^ (mixed >> 31)));
    }
    sum
}
