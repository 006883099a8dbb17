//! The tables of a language, read once. What they hold is described at the top of `tables/en.txt`.

use std::sync::LazyLock;

use gateway_cache_data::words::{self, Language, Lemma, Part};

use super::item::Item;
use super::rewrite::{BadRow, Rewriter};
use super::rule::{Reason, Rule};
use crate::semantic::text::hash::{ByWord, word_hash};
use crate::semantic::text::tokens::{Case, Kind};

/// What a word of the grammar does. Such a word must be on both sides; its class says what is wrong if it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Not of the grammar: a word with a meaning of its own.
    Content,
    Article,
    Possessive,
    Pronoun,
    Auxiliary,
    Modal,
    Negation,
    Preposition,
    Conjunction,
    Condition,
    Quantifier,
    Degree,
    Time,
    Unit,
    Question,
    /// A whole beginning, such as "what is the way to", that a rule has put a mark in place of.
    Frame,
    /// May be missing before a verb: "does it really work".
    Filler,
    /// Which of the opposite ways: on and off, up and down.
    Direction,
}

impl Class {
    const NAMES: [(&str, Class); 16] = [
        ("article", Class::Article),
        ("possessive", Class::Possessive),
        ("pronoun", Class::Pronoun),
        ("auxiliary", Class::Auxiliary),
        ("modal", Class::Modal),
        ("negation", Class::Negation),
        ("preposition", Class::Preposition),
        ("conjunction", Class::Conjunction),
        ("condition", Class::Condition),
        ("quantifier", Class::Quantifier),
        ("degree", Class::Degree),
        ("time", Class::Time),
        ("unit", Class::Unit),
        ("question", Class::Question),
        ("filler", Class::Filler),
        ("direction", Class::Direction),
    ];

    /// What is different where a word of this class is missing or another one.
    pub(crate) fn rule(self) -> Rule {
        match self {
            Class::Content | Class::Article => Rule::Unexplained,
            Class::Possessive | Class::Pronoun => Rule::Person,
            Class::Auxiliary => Rule::Tense,
            Class::Modal => Rule::Modality,
            Class::Negation => Rule::Negation,
            Class::Preposition | Class::Conjunction => Rule::Relation,
            Class::Condition => Rule::Condition,
            Class::Quantifier => Rule::Quantifier,
            Class::Degree | Class::Filler => Rule::Degree,
            Class::Time => Rule::Time,
            Class::Unit => Rule::Unit,
            Class::Question | Class::Frame => Rule::Frame,
            Class::Direction => Rule::Opposite,
        }
    }
}

/// A row of words that mean the same.
#[derive(Clone, Copy, Debug)]
struct Row {
    number: u16,
    weight: u8,
}

fn as_part(part: Part, lemma: Lemma) -> u64 {
    u64::from(lemma.number()) << 4 | part as u64
}

/// What the tables of one language hold.
#[derive(Debug)]
pub(crate) struct Grammar {
    pub(crate) language: Language,
    classes: ByWord<Class>,
    /// Contractions, abbreviations, other spellings.
    pub(crate) expand: Rewriter,
    /// Greetings, thanks, "could you tell me".
    pub(crate) wrap: Rewriter,
    /// Beginnings of a question that ask the same.
    pub(crate) frame: Rewriter,
    /// Expressions that mean the same, whatever is around them.
    pub(crate) phrase: Rewriter,
    /// The rows of words that mean the same: for a lemma and its part of speech, which rows it is in.
    same: ByWord<Vec<Row>>,
    rows: u16,
    /// Words that are others with a capital.
    cased: ByWord<()>,
    /// Words of a question about a word itself.
    lexical: ByWord<()>,
    /// Prepositions that people leave out where they type keywords, and that say nothing of a direction.
    light: ByWord<()>,
    /// "And", "or", "versus": what joins two things in any order.
    pairs: ByWord<()>,
    /// Verbs by which an assistant is told to do something.
    tasks: ByWord<()>,
    /// Verbs of what somebody does to a thing, and that never just happens to it: "se instala" is "one installs it".
    done: ByWord<()>,
    /// Words behind which politeness is what is spoken of: "how do you say thank you".
    saying: ByWord<()>,
    /// "To know", which before a verb is to know how.
    able: ByWord<()>,
    /// "To understand", "to meet": they only ask before a word that does.
    known: ByWord<()>,
    /// What anybody may do to a thing, as participles: a passive of these that names nobody means who asks.
    anybody: ByWord<()>,
    /// Their infinitives, by what regular ones are behind "se": dictionaries take "limpia" for an adjective.
    infinitives: ByWord<Box<str>>,
    /// Whether a small word melts into the next one at an apostrophe.
    pub(crate) elides: bool,
    /// Whether a passive is made as in English.
    pub(crate) passive: bool,
    /// Why a text is not looked for in other words, by what is in it.
    reasons: Rewriter,
    /// Spellings of a unit of measure, which they are behind a number alone.
    units: ByWord<Box<str>>,
    numerals: ByWord<u64>,
    /// Words that join the parts of a number: "and" in "two hundred and six".
    joints: ByWord<()>,
    /// What stands between the groups of a large number.
    pub(crate) thousands: char,
    /// The word between what is owned and its owner, where the language also has the other order.
    pub(crate) owner: Option<&'static str>,
    /// Rows that cannot be read.
    pub(crate) bad: Vec<BadRow>,
}

impl Grammar {
    pub(crate) fn of(language: Language) -> &'static Grammar {
        macro_rules! grammar {
            ($language:expr, $file:literal) => {{
                static GRAMMAR: LazyLock<Grammar> =
                    LazyLock::new(|| Grammar::read($language, include_str!(concat!("tables/", $file))));
                &GRAMMAR
            }};
        }
        match language {
            Language::English => grammar!(Language::English, "en.txt"),
            Language::Spanish => grammar!(Language::Spanish, "es.txt"),
            Language::French => grammar!(Language::French, "fr.txt"),
            Language::German => grammar!(Language::German, "de.txt"),
            Language::Portuguese => grammar!(Language::Portuguese, "pt.txt"),
        }
    }

    pub(crate) fn class(&self, item: &Item<'_>) -> Class {
        match item.kind {
            Kind::Word if item.word.starts_with('@') => Class::Frame,
            Kind::Word => self.classes.get(&item.hash).copied().unwrap_or(Class::Content),
            _ => Class::Content,
        }
    }

    /// How sure it is that two words, as this part of speech, say the same in their usual sense.
    pub(crate) fn same(&self, part: Part, a: Lemma, b: Lemma) -> Option<f32> {
        let (a, b) = (self.same.get(&as_part(part, a))?, self.same.get(&as_part(part, b))?);
        let shared = a.iter().filter(|row| b.iter().any(|other| other.number == row.number));
        shared.map(|row| row.weight).max().map(|weight| f32::from(weight) / 100.0)
    }

    pub(crate) fn cased(&self, hash: u64) -> bool {
        self.cased.contains_key(&hash)
    }

    /// Whether a text with this word asks about a word itself: how it is spelled, what rhymes with it.
    pub(crate) fn lexical(&self, hash: u64) -> bool {
        self.lexical.contains_key(&hash)
    }

    /// Whether the word joins two things in any order.
    pub(crate) fn pairs(&self, hash: u64) -> bool {
        self.pairs.contains_key(&hash)
    }

    pub(crate) fn light(&self, hash: u64) -> bool {
        self.light.contains_key(&hash)
    }

    pub(crate) fn task(&self, hash: u64) -> bool {
        self.tasks.contains_key(&hash)
    }

    /// Whether the word is a form of a verb of what somebody does to a thing.
    pub(crate) fn done(&self, word: &str) -> bool {
        let verbs = words::of(self.language).analyses(word).filter(|reading| reading.part == Part::Verb);
        verbs.into_iter().any(|reading| self.done.contains_key(&as_part(Part::Verb, reading.lemma)))
    }

    pub(crate) fn anybody(&self, hash: u64) -> bool {
        self.anybody.contains_key(&hash)
    }

    /// Whether the words at `range` are the matter, and no politeness around a question.
    pub(crate) fn matter(&self, items: &[Item<'_>], range: std::ops::Range<usize>) -> bool {
        self.spoken_of(items, range.clone()) || self.stands_alone(items, range)
    }

    /// Words that ask or are polite before a question, and say what is meant before anything else: "quiero conocer a Ana",
    /// "sabes hablar chino", "guten Morgen auf Spanisch", "3 mal 4".
    fn stands_alone(&self, items: &[Item<'_>], range: std::ops::Range<usize>) -> bool {
        if self.language == Language::English {
            return false;
        }
        let (taken, rest) = (&items[range.clone()], &items[range.end..]);
        let is = |item: &Item<'_>, words: &[&str]| words.iter().any(|word| item.is(word));
        let asks = |item: &Item<'_>| {
            matches!(self.class(item), Class::Question | Class::Condition | Class::Frame)
                || is(item, &["que", "qu'", "como", "quando", "porque", "cuando", "donde", "cual", "ob", "pourquoi"])
        };
        if range.start > 0 {
            let before = &items[range.start - 1];
            let particle = is(&taken[0], &["mal", "eben", "halt"]) && taken.len() == 1;
            let person = is(&taken[0], &["eu", "yo"]) && taken.len() == 1;
            return particle && (before.kind == Kind::Number || rest.is_empty() && !taken[0].is("mal"))
                || person && (self.class(before) == Class::Article || is(before, &["é", "es", "de", "em", "en"]));
        }
        let Some(next) = rest.first().filter(|_| !taken.iter().any(|item| item.comma || item.end)) else {
            return false;
        };
        let small = |item: &&Item<'_>| matches!(self.class(item), Class::Article | Class::Preposition | Class::Pronoun);
        let asked = asks(next) || small(&next) && rest.iter().skip_while(small).take(1).chain(rest.get(1)).any(asks);
        let verb = || {
            (next.word.ends_with('r') || next.word.ends_with("re"))
                && words::of(self.language).analyses(next.word).any(|reading| reading.part == Part::Verb)
        };
        let one_of = |words: &ByWord<()>| taken.iter().any(|item| words.contains_key(&item.hash));
        one_of(&self.known) && !asked
            || one_of(&self.able) && verb()
            || is(next, &["auf", "in", "en", "em", "para", "dans"]) && !rest.iter().any(asks)
    }

    fn spoken_of(&self, items: &[Item<'_>], range: std::ops::Range<usize>) -> bool {
        const NEAR: usize = 3;
        let said = |item: &Item<'_>| self.saying.contains_key(&item.hash);
        let mut before = items.iter().take(range.start).rev().take(NEAR).take_while(|item| !item.comma && !item.end);
        // "UM" in a text that has small letters is a name.
        let upper = |item: &Item<'_>| item.case == Case::Upper;
        if range.len() == 1 && upper(&items[range.start]) && !items[range.start].comma && !items.iter().all(upper) {
            return true;
        }
        let behind = items.get(range.end).filter(|_| !items[range.end - 1].comma);
        // The first word of meaning before it is the verb, or the verb has an object already.
        before.find(|item| said(item) || self.class(item) == Class::Content).is_some_and(said)
            || (range.start > 0 && self.class(&items[range.start - 1]) == Class::Auxiliary && behind.is_some_and(said))
    }

    /// The infinitive of such a verb, if it is regular.
    pub(crate) fn infinitive(&self, hash: u64) -> Option<&str> {
        self.infinitives.get(&hash).map(|word| &**word)
    }

    /// The one spelling of a unit of measure.
    pub(crate) fn unit(&self, hash: u64) -> Option<&str> {
        self.units.get(&hash).map(|word| &**word)
    }

    pub(crate) fn numeral(&self, hash: u64) -> Option<u64> {
        self.numerals.get(&hash).copied()
    }

    pub(crate) fn joint(&self, hash: u64) -> bool {
        self.joints.contains_key(&hash)
    }

    /// Why a text with these words is not looked for in other words.
    pub(crate) fn reason(&self, items: &[Item<'_>]) -> Option<Reason> {
        let name = self.reasons.find(items)?;
        Reason::ALL.iter().copied().find(|reason| reason.name() == name)
    }

    fn read(language: Language, text: &str) -> Grammar {
        let mut grammar = Grammar {
            language,
            classes: ByWord::default(),
            expand: Rewriter::default(),
            wrap: Rewriter::default(),
            frame: Rewriter::default(),
            phrase: Rewriter::default(),
            same: ByWord::default(),
            rows: 0,
            cased: ByWord::default(),
            lexical: ByWord::default(),
            light: ByWord::default(),
            tasks: ByWord::default(),
            anybody: ByWord::default(),
            saying: ByWord::default(),
            able: ByWord::default(),
            known: ByWord::default(),
            pairs: ByWord::default(),
            done: ByWord::default(),
            infinitives: ByWord::default(),
            elides: language == Language::French,
            passive: language == Language::English,
            reasons: Rewriter::default(),
            units: ByWord::default(),
            numerals: ByWord::default(),
            joints: ByWord::default(),
            thousands: if language == Language::English { ',' } else { '.' },
            owner: (language == Language::English).then_some("of"),
            bad: Vec::new(),
        };
        let mut section = "";
        for line in text.lines() {
            let line = line.split_once("# ").map_or(line, |(line, _)| line).trim();
            if line.is_empty() || line == "#" {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
            } else if let Err(bad) = grammar.row(section, line) {
                grammar.bad.push(bad);
            }
        }
        grammar
    }

    fn verb(&mut self, infinitive: &str) {
        let mut readings = words::of(self.language).analyses(infinitive);
        if let Some(reading) = readings.find(|reading| reading.part == Part::Verb) {
            self.done.insert(as_part(Part::Verb, reading.lemma), ());
        }
        let endings = match (self.language, infinitive.get(infinitive.len() - 2..)) {
            (Language::Spanish, Some("ar")) => ["a", "an"],
            (Language::Spanish, Some("er" | "ir")) => ["e", "en"],
            (Language::Portuguese, Some("ar")) => ["a", "am"],
            (Language::Portuguese, Some("er" | "ir")) => ["e", "em"],
            _ => return,
        };
        for ending in endings {
            let form = [&infinitive[..infinitive.len() - 2], ending].concat();
            self.infinitives.insert(word_hash(&form), infinitive.into());
        }
    }

    fn row(&mut self, section: &str, line: &str) -> Result<(), BadRow> {
        let bad = || BadRow(line.to_owned());
        match section {
            "expand" => self.expand.add(line)?,
            "wrap" => self.wrap.add(line)?,
            "frame" => self.frame.add(line)?,
            "phrase" => self.phrase.add(line)?,
            "same" => {
                let (head, row) = line.split_once(':').ok_or_else(bad)?;
                let (part, weight) = head.split_once('~').unwrap_or((head, "98"));
                let weight = weight.trim().parse().map_err(|_| bad())?;
                let part = match part.trim() {
                    "v" => Part::Verb,
                    "n" => Part::Noun,
                    "a" => Part::Adjective,
                    "r" => Part::Adverb,
                    _ => return Err(bad()),
                };
                self.rows += 1;
                for word in row.split_whitespace().map(|word| word.replace('_', " ")) {
                    let row = Row { number: self.rows, weight };
                    // A word that the dictionary does not have is never met as this part of speech.
                    for reading in words::of(self.language).analyses(&word).filter(|reading| reading.part == part) {
                        self.same.entry(as_part(part, reading.lemma)).or_default().push(row);
                    }
                }
            }
            "units" => {
                let mut words = line.split_whitespace();
                let first = words.next().ok_or_else(bad)?;
                self.units.extend(words.map(|word| (word_hash(word), first.into())));
            }
            "light" => self.light.extend(line.split_whitespace().map(|word| (word_hash(word), ()))),
            "pairs" => self.pairs.extend(line.split_whitespace().map(|word| (word_hash(word), ()))),
            "tasks" => self.tasks.extend(line.split_whitespace().map(|word| (word_hash(word), ()))),
            "done" => line.split_whitespace().for_each(|word| self.verb(word)),
            "saying" => self.saying.extend(line.split_whitespace().map(|word| (word_hash(word), ()))),
            "able" => self.able.extend(line.split_whitespace().map(|word| (word_hash(word), ()))),
            "known" => self.known.extend(line.split_whitespace().map(|word| (word_hash(word), ()))),
            "anybody" => self.anybody.extend(line.split_whitespace().map(|word| (word_hash(word), ()))),
            "lexical" => self.lexical.extend(line.split_whitespace().map(|word| (word_hash(word), ()))),
            "cased" => self.cased.extend(line.split_whitespace().map(|word| (word_hash(word), ()))),
            "joints" => self.joints.extend(line.split_whitespace().map(|word| (word_hash(word), ()))),
            "numerals" => {
                for row in line.split_whitespace() {
                    let (word, value) = row.split_once('=').ok_or_else(bad)?;
                    self.numerals.insert(word_hash(word), value.parse().map_err(|_| bad())?);
                }
            }
            _ if Reason::ALL.iter().any(|reason| reason.name() == section) => {
                self.reasons.add(&format!("{line} => {section}"))?;
            }
            _ => {
                let class = Class::NAMES.iter().find(|(name, _)| *name == section).ok_or_else(bad)?.1;
                self.classes.extend(line.split_whitespace().map(|word| (word_hash(word), class)));
            }
        }
        Ok(())
    }
}
