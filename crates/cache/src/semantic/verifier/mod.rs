//! Whether the answer to one question serves another. **The default is "different"**: each difference between the two must be
//! explained as harmless, by a reason that has a name; what is left over on either side decides.
//!
//! A text is brought to a normal form once ([`Prepared`]), by the tables of its language: what is only spelling, politeness or
//! another way to begin the same question is the same there. Two of them are then laid side by side, word by word: equal, or
//! another form of the same word that says nothing else here, a synonym in a frequent sense of both, or a typing error of
//! a word that the other text has.

mod align;
mod coverage;
mod english;
mod explain;
mod grammar;
mod item;
mod normal;
mod order;
mod rearranged;
mod rewrite;
mod rule;
mod unit;

#[cfg(test)]
mod tests;

use gateway_cache_data::words::{self, Part};

pub use gateway_cache_data::words::Language;
pub use rule::{Coverage, Reason, Rule, Verdict};

use self::grammar::{Class, Grammar};
use self::item::Item;
use self::normal::{Digits, Normal};
use self::unit::{Expression, Unit};
use crate::key::Hash;
use crate::semantic::text::tokens::{Case, Kind, Tokens};
use crate::semantic::text::{fold, language};

/// All that is needed to compare a text with others, made once.
#[derive(Debug)]
pub struct Prepared {
    coverage: Coverage,
    reason: Option<Reason>,
    language: Option<Language>,
    canonical: Option<Hash>,
    bag: Option<u64>,
    /// The text ends with a question mark, and its words do not say by themselves that they ask.
    asks: bool,
    /// Nothing in the text as it was typed has an accent.
    ascii: bool,
    /// It was typed with capitals, and not all of it: they say something there.
    careful: bool,
    /// The words of `units`.
    text: Box<str>,
    units: Box<[Unit]>,
    expressions: Box<[Expression]>,
}

impl Prepared {
    pub fn new(text: &str) -> Prepared {
        if let Some(reason) = coverage::reason(text) {
            return Prepared::exact(reason);
        }
        let folded = fold::fold(text);
        let Some(tokens) = Tokens::of(&folded, coverage::MOST_WORDS) else { return Prepared::exact(Reason::Long) };
        if tokens.tokens.is_empty() {
            return Prepared::exact(Reason::Empty);
        }
        let foreign = folded.chars().any(|char| char.is_alphabetic() && !latin(char));
        match language::language(&tokens).filter(|_| !foreign) {
            Some(language) => Prepared::judged(&tokens, language),
            None => Prepared::plain(&tokens, if foreign { Reason::Script } else { Reason::Language }),
        }
    }

    fn exact(reason: Reason) -> Prepared {
        Prepared {
            coverage: Coverage::Exact(reason),
            reason: Some(reason),
            language: None,
            canonical: None,
            bag: None,
            asks: false,
            ascii: false,
            careful: false,
            text: Box::default(),
            units: Box::default(),
            expressions: Box::default(),
        }
    }

    /// Of a language that is not judged: spacing, case, and the full stop at the end.
    fn plain(tokens: &Tokens, reason: Reason) -> Prepared {
        let asks = tokens.asks && !language::asks(&tokens.text, tokens);
        // Where words have no spaces between them, spaces and commas are a matter of taste.
        let unspaced = tokens.text.chars().any(unspaced);
        let mut text = String::new();
        let mut items: Vec<Item<'_>> = Vec::with_capacity(tokens.tokens.len());
        if unspaced {
            let mut last = ' ';
            for char in tokens.tokens.iter().flat_map(|token| tokens.str(token).chars().chain([' '])) {
                let tied = char == ' ' || "，、。！？・".contains(char);
                if !tied {
                    // Two Latin words or numbers stay two.
                    if last == ' '
                        && char.is_ascii_alphanumeric()
                        && text.ends_with(|end: char| end.is_ascii_alphanumeric())
                    {
                        text.push(' ');
                    }
                    text.extend(char.to_lowercase());
                }
                last = if tied { ' ' } else { char };
            }
            items.push(Item::made(&text));
        } else {
            items.extend(tokens.tokens.iter().map(|token| Item::of(token, tokens.str(token))));
        }
        let canonical = canonical(reason.name(), &items, asks, |_| false);
        Prepared { coverage: Coverage::Canonical, canonical: Some(canonical), ..Prepared::exact(reason) }
    }

    fn judged(tokens: &Tokens, language: Language) -> Prepared {
        let grammar = Grammar::of(language);
        let digits = Digits::of(grammar, tokens);
        let Normal { plain, items } = Normal::of(grammar, tokens, &digits);
        if plain.is_empty() || items.is_empty() {
            return Prepared::plain(tokens, Reason::Empty);
        }
        let reason = grammar.reason(&plain);
        let begins = |items: &[Item<'_>]| {
            items.first().is_some_and(|item| {
                matches!(grammar.class(item), Class::Question | Class::Auxiliary | Class::Modal | Class::Frame)
            })
        };
        let verbal =
            plain.iter().any(|item| matches!(grammar.class(item), Class::Auxiliary | Class::Modal | Class::Pronoun));
        // Words that ask in Portuguese where a question begins, and do something else elsewhere.
        let asked = |items: &[Item<'_>]| {
            let word = |at: usize, word: &str| items.get(at).is_some_and(|item| item.is(word));
            let first = ["quando", "como", "que", "porque"].iter().any(|begins| word(0, begins));
            let that = word(1, "que") && (word(0, "o") || grammar.class(&items[0]) == Class::Preposition);
            language == Language::Portuguese && (first || that)
        };
        let raw: Vec<Item<'_>> = tokens.tokens.iter().map(|token| Item::of(token, tokens.str(token))).collect();
        let told = items.first().is_some_and(|item| item.form != 0 && grammar.task(item.hash));
        // "¿Borra los archivos?" asks whether it does, "borra los archivos" is an order.
        let told_asking = plain.first().is_some_and(|item| {
            let verb = || words::of(language).analyses(item.word).next().is_some_and(|first| first.part == Part::Verb);
            !matches!(language, Language::English | Language::German)
                && grammar.class(item) == Class::Content
                && !item.word.ends_with('r')
                && !item.word.ends_with("re")
                && (!told || raw.len() <= plain.len())
                && verb()
        });
        let asks = tokens.asks
            && !begins(&raw)
            && !asked(&plain)
            && !inverted(grammar, &raw)
            && (verbal && !told || told_asking)
            && !begins(&plain)
            && !begins(&items)
            && !inverted(grammar, &plain);
        let careful = language == Language::English && careful(&raw);
        let canonical = canonical(language.code(), &plain, asks, |item| {
            let first = words::of(language).analyses(item.word).next();
            grammar.cased(item.hash)
                || careful
                    && grammar.class(item) == Class::Content
                    && first.is_some_and(|first| first.part != Part::Name)
        });
        let (text, units) = unit::units(grammar, &items);
        Prepared {
            coverage: if reason.is_some() { Coverage::Canonical } else { Coverage::Semantic },
            reason,
            language: Some(language),
            canonical: Some(canonical),
            bag: unit::bag(&units),
            asks,
            ascii: tokens.text.is_ascii(),
            careful,
            text,
            units,
            expressions: unit::expressions(grammar, &items),
        }
    }

    pub fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// Why the text is not looked for in other words; `None` where it is.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Of the normal form; `None` where nothing but the same text will do.
    pub fn canonical(&self) -> Option<Hash> {
        self.canonical
    }

    pub fn language(&self) -> Option<Language> {
        self.language
    }

    /// The same for texts whose content words are the same, in any order and inflection. It decides nothing: candidates are
    /// found by it. `None`: the text has no content words.
    pub fn bag(&self) -> Option<u64> {
        self.bag
    }

    /// Of memory, all that it owns included.
    pub fn bytes(&self) -> usize {
        size_of::<Prepared>() + self.text.len() + size_of_val(&*self.units) + size_of_val(&*self.expressions)
    }

    /// The normal form, to read.
    pub fn normal(&self) -> String {
        self.units.iter().map(|unit| unit.word(&self.text)).collect::<Vec<_>>().join(" ")
    }
}

/// Whether the answer to `stored` serves whoever asks `asked`. Symmetric.
pub fn verify(asked: &Prepared, stored: &Prepared) -> Verdict {
    if asked.canonical.is_some() && asked.canonical == stored.canonical {
        return Verdict::Serves { score: 1.0 };
    }
    let Some(language) = asked.language.filter(|language| Some(*language) == stored.language) else {
        return Verdict::Different(Rule::Language);
    };
    // What asks about now may be judged where answers live short: the caller knows. All else may not.
    let judged = |prepared: &Prepared| matches!(prepared.reason, None | Some(Reason::Now));
    if !judged(asked) || !judged(stored) {
        return Verdict::Different(Rule::Uncovered);
    }
    if asked.asks != stored.asks {
        return Verdict::Different(Rule::Frame);
    }
    match align::align(language, asked, stored) {
        Ok(score) => Verdict::Serves { score },
        Err(rule) => Verdict::Different(rule),
    }
}

/// The hash of the words as they are, and of their case where it makes another word.
fn canonical(language: &str, items: &[Item<'_>], asks: bool, cased: impl Fn(&Item<'_>) -> bool) -> Hash {
    let mut form = String::with_capacity(items.len() * 8 + 8);
    for item in items {
        form.push(match item.kind {
            Kind::Word => 'w',
            Kind::Number => 'n',
            Kind::Opaque => 'o',
            Kind::Quoted => 'q',
        });
        form.push_str(item.word);
        if item.kind == Kind::Word && !item.first && item.case != Case::Lower && cased(item) {
            form.push('^');
        }
        form.push('\0');
    }
    form.push(if asks { '?' } else { '.' });
    Hash::of(language, form.as_bytes())
}

/// Whether a capital in the text says something: there are some, and it is no title.
fn careful(items: &[Item<'_>]) -> bool {
    let capital = |item: &&Item<'_>| item.kind == Kind::Word && item.case != Case::Lower && !item.is("i");
    let inner: Vec<&Item<'_>> = items.iter().filter(|item| item.kind == Kind::Word && !item.first).collect();
    let capitals = inner.iter().copied().filter(capital).count();
    items.iter().any(|item| capital(&item)) && (capitals * 5 < inner.len() * 3 || inner.len() < 3)
}

/// Whether the words ask wherever the question begins: "I am 17, can I vote".
fn inverted(grammar: &Grammar, items: &[Item<'_>]) -> bool {
    let verb = |item: &Item<'_>| matches!(grammar.class(item), Class::Auxiliary | Class::Modal);
    let pairs = grammar.language == Language::English
        && items.windows(2).any(|pair| {
            verb(&pair[0]) && ["i", "you", "he", "she", "we", "they", "it"].iter().any(|word| pair[1].is(word))
        });
    pairs || items.iter().any(|item| grammar.class(item) == Class::Question)
}

/// Letters of scripts that put no space between words.
fn unspaced(char: char) -> bool {
    matches!(char, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{e00}'..='\u{e7f}')
}

/// Letters of the Latin script, with what is above and below them.
fn latin(char: char) -> bool {
    matches!(char, 'a'..='z' | 'A'..='Z' | '\u{aa}' | '\u{ba}' | '\u{b5}' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
}
