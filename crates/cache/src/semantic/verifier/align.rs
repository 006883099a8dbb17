//! Two normal forms side by side. Each word has a partner on the other side, or may be missing for a reason; no word is left.

use gateway_cache_data::words::{Inflection, Language, Part};

use super::Prepared;
use super::explain::Place;
use super::grammar::{Class, Grammar};
use super::rule::Rule;
use super::unit::{Expression, Readings, Unit};
use crate::semantic::text::hash::word_hash;
use crate::semantic::text::tokens::Kind;

/// Words between the common beginning and the common end; more are another question.
const MOST_BETWEEN: usize = 32;
/// How many words of meaning may each need an explanation of its own.
const MOST_STRANGERS: usize = 5;
/// How many words one text may have more than the other.
const MOST_MORE: usize = 6;

mod sure {
    pub(super) const ARTICLE: f32 = 0.995;
    pub(super) const ASKER: f32 = 0.995;
    pub(super) const ANYBODY: f32 = 0.965;
    pub(super) const FILLER: f32 = 0.975;
    pub(super) const OWN: f32 = 0.97;
    pub(super) const UNASKED: f32 = 0.98;
    pub(super) const COMPOUND: f32 = 0.975;
    pub(super) const KEYWORDS: f32 = 0.97;
    pub(super) const SHORT_TASK: f32 = 0.96;
    pub(super) const MOVED: f32 = 0.975;
    pub(super) const JOINED: f32 = 0.985;
}

const HOW: u64 = word_hash("@how");
const MANNER: u64 = word_hash("@manner");
const WHAT_IS: u64 = word_hash("@what");
const I: u64 = word_hash("i");
const YOU: u64 = word_hash("you");
const OF: u64 = word_hash("of");
const THEY: u64 = word_hash("they");
const FOR: u64 = word_hash("for");
const MY: u64 = word_hash("my");

/// How sure it is that two texts of a language ask the same, or what is different.
pub(crate) fn align(language: Language, asked: &Prepared, stored: &Prepared) -> Result<f32, Rule> {
    let ours = Side::of(asked);
    let theirs = Side::of(stored);
    if ours.units.len().abs_diff(theirs.units.len()) > MOST_MORE {
        return Err(leftover(&ours, &theirs));
    }
    if strangers(&ours, &theirs) > MOST_STRANGERS || strangers(&theirs, &ours) > MOST_STRANGERS {
        return Err(leftover(&ours, &theirs));
    }
    if let (Some(one), Some(other)) = (ours.asker(), theirs.asker())
        && one != other
    {
        return Err(Rule::Person);
    }
    let place = Place {
        language,
        ours: (ours.units, ours.text),
        theirs: (theirs.units, theirs.text),
        counted: [ours.counted(), theirs.counted()],
        ascii: [ours.ascii, theirs.ascii],
    };
    let whole = (0..ours.units.len(), 0..theirs.units.len());
    if let Some(score) = run(&place, &ours, &theirs, whole) {
        return Ok(score);
    }
    moved(&place, &ours, &theirs)
        .or_else(|| compounds(language, &ours, &theirs))
        .or_else(|| compounds(language, &theirs, &ours))
        .or_else(|| keywords(language, &ours, &theirs))
        .or_else(|| keywords(language, &theirs, &ours))
        .ok_or_else(|| leftover(&ours, &theirs))
}

/// "Symptoms of flu" and "flu symptoms": a preposition that only ties two nouns, and the same nouns as one expression.
fn compounds(language: Language, long: &Side<'_>, short: &Side<'_>) -> Option<f32> {
    if long.units.len() <= short.units.len() || language != Language::English {
        return None;
    }
    let content = |unit: &Unit| unit.class == Class::Content;
    for (at, _) in long.units.iter().enumerate().filter(|(_, unit)| unit.hash == OF || unit.hash == FOR) {
        let owned = long.units[..at].iter().rev().take_while(|unit| content(unit)).count();
        let articles = long.units[at + 1..].iter().take_while(|unit| unit.class == Class::Article).count();
        let start = at + 1 + articles;
        let owner = long.units[start..].iter().take_while(|unit| content(unit)).count();
        // A verb between them would change its subject.
        let verb = |unit: &Unit| unit.readings[0].is_some_and(|reading| reading.part == Part::Verb);
        if !(1..=3).contains(&owned)
            || !(1..=2).contains(&owner)
            || long.units[at - owned..start + owner].iter().any(verb)
        {
            continue;
        }
        let mut units = long.units[..at - owned].to_vec();
        units.extend_from_slice(&long.units[start..start + owner]);
        let head = units.len();
        units.extend_from_slice(&long.units[at - owned..at]);
        units.extend_from_slice(&long.units[start + owner..]);
        let turned = Side { units: &units, expressions: &[], ..*long };
        let whole = (0..units.len(), 0..short.units.len());
        // What is in front of a noun is not counted: "flu symptoms in babies", "baby flu symptoms".
        let counted = |side: &Side<'_>, at: usize| if side.counted() > at { 0 } else { side.counted() };
        let place = Place {
            language,
            ours: (&units, long.text),
            theirs: (short.units, short.text),
            counted: [counted(&turned, head), counted(short, head)],
            ascii: [long.ascii, short.ascii],
        };
        let unmarked = Side { expressions: &[], ..*short };
        if let Some(score) = run(&place, &turned, &unmarked, whole) {
            return Some(score * sure::COMPOUND);
        }
    }
    None
}

/// A row of keywords, such as people type into a search box, and the question that has the same words in the same order,
/// with nothing but articles and the lightest prepositions between them.
fn keywords(language: Language, row: &Side<'_>, question: &Side<'_>) -> Option<f32> {
    // A mark at the beginning, such as that for "the price of", is on both sides.
    let marked = usize::from(
        row.units
            .first()
            .zip(question.units.first())
            .is_some_and(|(one, other)| one.class == Class::Frame && one.hash == other.hash && one.hash != HOW),
    );
    let bare =
        (2..=8).contains(&row.units.len()) && row.units.iter().skip(marked).all(|unit| unit.class == Class::Content);
    if !bare || question.units.len() < row.units.len() {
        return None;
    }
    let grammar = Grammar::of(language);
    let mut sure = sure::KEYWORDS;
    let mut content = Vec::with_capacity(question.units.len());
    let mut turn = None;
    for (at, unit) in question.units.iter().enumerate() {
        match unit.class {
            Class::Content => content.push(*unit),
            Class::Article => {}
            Class::Frame if at < marked => content.push(*unit),
            Class::Frame if at == 0 && unit.hash == WHAT_IS => {}
            Class::Frame if at == 0 && unit.hash == HOW => {
                // "Translate this" is a task, and no question how to do it.
                let verb = row.units.first()?;
                if !verb.can_be(Part::Verb, Inflection::Base) || grammar.task(verb.hash) {
                    return None;
                }
                sure = sure::SHORT_TASK;
            }
            Class::Pronoun if at == 1 && question.how && unit.hash == I => {}
            Class::Possessive if question.how && unit.hash == MY => {}
            Class::Preposition if grammar.light(unit.hash) => {
                if unit.hash == OF && turn.is_none() {
                    turn = Some(content.len());
                } else if unit.hash == OF {
                    turn = Some(usize::MAX);
                }
            }
            _ => return None,
        }
    }
    let try_order = |content: &[Unit]| {
        let full = Side {
            units: content,
            text: question.text,
            expressions: &[],
            how: false,
            ascii: row.ascii,
            plain_articles: row.plain_articles,
        };
        let place = Place {
            language,
            ours: (row.units, row.text),
            theirs: (content, question.text),
            counted: [row.units.len(), if question.how { 0 } else { content.len() }],
            ascii: [row.ascii, question.ascii],
        };
        let row = Side {
            units: row.units,
            text: row.text,
            expressions: &[],
            how: false,
            ascii: row.ascii,
            plain_articles: row.plain_articles,
        };
        run(&place, &row, &full, (0..row.units.len(), 0..content.len()))
    };
    if let Some(score) = try_order(&content) {
        return Some(score * sure);
    }
    // "Capital of Peru" and "Peru capital".
    let turn = turn.filter(|turn| *turn < content.len())?;
    content.rotate_left(turn);
    Some(try_order(&content)? * sure)
}

/// How many words of one text are not in the other, as they are or in another form.
fn strangers(side: &Side<'_>, other: &Side<'_>) -> usize {
    let met = |unit: &Unit| {
        other.units.iter().any(|twin| {
            twin.hash == unit.hash
                || unit.readings[0].zip(twin.readings[0]).is_some_and(|(one, other)| one.lemma == other.lemma)
        })
    };
    side.units.iter().filter(|unit| unit.class == Class::Content && !met(unit)).count()
}

/// One of the two texts.
#[derive(Clone, Copy)]
struct Side<'p> {
    units: &'p [Unit],
    text: &'p str,
    expressions: &'p [Expression],
    how: bool,
    ascii: bool,
    /// Articles say neither gender nor case.
    plain_articles: bool,
}

impl<'p> Side<'p> {
    fn of(prepared: &'p Prepared) -> Side<'p> {
        let how = prepared.units.first().is_some_and(|unit| unit.hash == HOW);
        Side {
            units: &prepared.units,
            text: &prepared.text,
            expressions: &prepared.expressions,
            how,
            ascii: prepared.ascii,
            plain_articles: prepared.language == Some(Language::English),
        }
    }

    /// What the word at `at` can be, and the expression that begins with it, if it ends before `end`.
    fn readings_at(&self, at: usize, end: usize) -> impl Iterator<Item = (usize, &'p Readings)> {
        let word = self.units.get(at).filter(|unit| at < end && unit.class == Class::Content && !unit.name);
        let word = word.map(|unit| (1, &unit.readings));
        let long = self.expressions.iter().find(|expression| usize::from(expression.at) == at);
        let long = long.filter(|long| at + usize::from(long.words) <= end);
        word.into_iter().chain(long.map(|long| (usize::from(long.words), &long.readings)))
    }

    /// Who asks how, if the question says it.
    fn asker(&self) -> Option<u64> {
        let second = self.units.get(1)?;
        (self.how && second.class == Class::Pronoun).then_some(second.hash)
    }

    /// How far the part of the text reaches in which one and several are different questions: what is asked for.
    fn counted(&self) -> usize {
        let Some(first) = self.units.first() else { return 0 };
        if self.how || first.hash == MANNER || matches!(first.class, Class::Auxiliary | Class::Modal) {
            // "Is this the best place": a superlative chooses, wherever it is.
            return self.superlative().unwrap_or(0);
        }
        let end = self.units.iter().skip(1).position(|unit| {
            matches!(
                unit.class,
                Class::Preposition | Class::Auxiliary | Class::Modal | Class::Pronoun | Class::Condition
            )
        });
        end.map_or(self.units.len(), |end| end + 1).max(self.superlative().unwrap_or(0))
    }

    fn superlative(&self) -> Option<usize> {
        let at = self
            .units
            .iter()
            .position(|unit| unit.class == Class::Degree || unit.can_be(Part::Adjective, Inflection::Superlative))?;
        Some((at + 4).min(self.units.len()))
    }

    /// How sure it is that the word at `at` may be missing on the other side.
    fn missing(&self, at: usize, other: &Side<'_>) -> Option<f32> {
        let unit = &self.units[at];
        match unit.class {
            Class::Article => {
                let next = self.units.get(at + 1)?;
                // "A few" is not "few". Where articles have a gender or a case, another one is another word.
                let mut twins = other.units.windows(2).filter(|pair| pair[1].hash == next.hash);
                let swapped = twins.any(|pair| pair[0].class == Class::Article && pair[0].hash != unit.hash);
                (next.class != Class::Quantifier && (self.plain_articles || !swapped)).then_some(sure::ARTICLE)
            }
            Class::Pronoun if at == 1 && self.how && other.how => match unit.hash {
                I => Some(sure::ASKER),
                YOU | THEY => (!self.speaks() && !other.speaks()).then_some(sure::ANYBODY),
                _ => None,
            },
            Class::Filler => {
                let next = self.units.get(at + 1)?;
                (next.class == Class::Auxiliary || next.can_be(Part::Verb, Inflection::Base)).then_some(sure::FILLER)
            }
            Class::Possessive if self.how && other.how && unit.hash == MY => Some(sure::OWN),
            Class::Frame if at == 0 && unit.hash == WHAT_IS => {
                let first = other.units.first()?;
                matches!(first.class, Class::Content | Class::Article).then_some(sure::UNASKED)
            }
            _ => None,
        }
    }

    /// Whether it speaks of the one who asks or the one who is asked.
    fn speaks(&self) -> bool {
        self.units
            .iter()
            .enumerate()
            .any(|(at, unit)| at != 1 && matches!(unit.class, Class::Possessive | Class::Pronoun))
    }
}

type Ranges = (std::ops::Range<usize>, std::ops::Range<usize>);

/// The best explanation of two runs of words as each other.
fn run(place: &Place<'_>, ours: &Side<'_>, theirs: &Side<'_>, (a, b): Ranges) -> Option<f32> {
    let (mut i, mut j) = (a.start, b.start);
    let (mut n, mut m) = (a.end, b.end);
    let mut score = 1.0;
    while i < n && j < m && ours.units[i].hash == theirs.units[j].hash {
        score *= place.explain(i, j).ok()?;
        i += 1;
        j += 1;
    }
    while i < n && j < m && ours.units[n - 1].hash == theirs.units[m - 1].hash {
        score *= place.explain(n - 1, m - 1).ok()?;
        n -= 1;
        m -= 1;
    }
    if n - i > MOST_BETWEEN || m - j > MOST_BETWEEN {
        return None;
    }
    let between = between(place, ours, theirs, (i..n, j..m))?;
    Some(score * between)
}

fn between(place: &Place<'_>, ours: &Side<'_>, theirs: &Side<'_>, (a, b): Ranges) -> Option<f32> {
    let (n, m) = (a.len(), b.len());
    let mut best = vec![0.0_f32; (n + 1) * (m + 1)];
    let at = |i: usize, j: usize| i * (m + 1) + j;
    best[0] = 1.0;
    for i in 0..=n {
        for j in 0..=m {
            let here = best[at(i, j)];
            if here == 0.0 {
                continue;
            }
            let mut reach = |cell: usize, sure: f32| best[cell] = best[cell].max(here * sure);
            let (x, y) = (a.start + i, b.start + j);
            // Where articles say who is who, one is not missing when another one stands in its place.
            let swapped = |side: &Side<'_>, at: usize| {
                let article = |at: usize| side.units.get(at).is_some_and(|unit| unit.class == Class::Article);
                !side.plain_articles && (article(at) || at > 0 && article(at - 1))
            };
            if i < n
                && let Some(sure) = ours.missing(x, theirs)
                && !(ours.units[x].class == Class::Article && swapped(theirs, y))
            {
                reach(at(i + 1, j), sure);
            }
            if j < m
                && let Some(sure) = theirs.missing(y, ours)
                && !(theirs.units[y].class == Class::Article && swapped(ours, x))
            {
                reach(at(i, j + 1), sure);
            }
            // "La computadora" and "el ordenador": the article goes with its noun.
            if i + 1 < n
                && j + 1 < m
                && ours.units[x].class == Class::Article
                && theirs.units[y].class == Class::Article
                && ours.units[x + 1].hash != theirs.units[y + 1].hash
                && !ours.plain_articles
                && let Ok(sure) =
                    place.synonyms(&ours.units[x + 1].readings, &theirs.units[y + 1].readings, x + 1, y + 1)
            {
                reach(at(i + 2, j + 2), sure);
            }
            if i < n
                && j < m
                && let Ok(sure) = place.explain(x, y)
            {
                reach(at(i + 1, j + 1), sure);
            }
            let long = |side: &Side<'_>, at: usize| side.expressions.iter().any(|long| usize::from(long.at) == at);
            if !long(ours, x) && !long(theirs, y) {
                // Nothing there but single words.
            } else {
                for (words, ours) in ours.readings_at(x, a.end) {
                    for (others, theirs) in theirs.readings_at(y, b.end) {
                        if words + others > 2
                            && let Ok(sure) = place.synonyms(ours, theirs, x, y)
                        {
                            reach(at(i + words, j + others), sure);
                        }
                    }
                }
            }
            if i + 1 < n && j < m && written_as_one(ours, x, theirs, y) {
                reach(at(i + 2, j + 1), sure::JOINED);
            }
            if i < n && j + 1 < m && written_as_one(theirs, y, ours, x) {
                reach(at(i + 1, j + 2), sure::JOINED);
            }
        }
    }
    Some(best[at(n, m)]).filter(|score| *score > 0.0)
}

/// "web site" and "website".
fn written_as_one(two: &Side<'_>, at: usize, one: &Side<'_>, place: usize) -> bool {
    let (Some(first), Some(second), Some(whole)) = (two.units.get(at), two.units.get(at + 1), one.units.get(place))
    else {
        return false;
    };
    let words = [first, second, whole].iter().all(|unit| unit.kind == Kind::Word);
    let content = first.class == Class::Content && second.class == Class::Content;
    words
        && (content || second.joined)
        && whole.word(one.text).strip_prefix(first.word(two.text)) == Some(second.word(two.text))
}

/// The same parts in another order, each with the preposition at its head: "from A to B" and "to B from A".
fn moved(place: &Place<'_>, ours: &Side<'_>, theirs: &Side<'_>) -> Option<f32> {
    let tied = |side: &Side<'_>| {
        side.units.iter().any(|unit| {
            matches!(unit.class, Class::Conjunction | Class::Condition | Class::Negation)
                || unit.can_be(Part::Adjective, Inflection::Comparative)
        })
    };
    if tied(ours) || tied(theirs) {
        return None;
    }
    let first = parts(ours);
    let mut second = parts(theirs);
    if first.len() != second.len() || first.len() < 2 {
        return None;
    }
    let mut score = run(place, ours, theirs, (first.first()?.clone(), second.first()?.clone()))? * sure::MOVED;
    second.remove(0);
    for part in first.into_iter().skip(1) {
        let found = second
            .iter()
            .enumerate()
            .find_map(|(at, other)| run(place, ours, theirs, (part.clone(), other.clone())).map(|sure| (at, sure)));
        let (at, sure) = found?;
        score *= sure;
        second.remove(at);
    }
    Some(score)
}

/// The beginning, and a part for each preposition; "of" holds on to what is before it.
fn parts(side: &Side<'_>) -> Vec<std::ops::Range<usize>> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, unit) in side.units.iter().enumerate() {
        if at > 0 && unit.class == Class::Preposition && unit.hash != OF {
            parts.push(start..at);
            start = at;
        }
    }
    parts.push(start..side.units.len());
    parts
}

/// What is wrong, by the words that are on one side alone; the first of this order that is there.
fn leftover(ours: &Side<'_>, theirs: &Side<'_>) -> Rule {
    const ORDER: [Rule; 18] = [
        Rule::Quoted,
        Rule::Symbol,
        Rule::Number,
        Rule::Negation,
        Rule::Opposite,
        Rule::Entity,
        Rule::Frame,
        Rule::Time,
        Rule::Unit,
        Rule::Condition,
        Rule::Quantifier,
        Rule::Degree,
        Rule::Modality,
        Rule::Tense,
        Rule::Person,
        Rule::Relation,
        Rule::Plural,
        Rule::Unexplained,
    ];
    let only = |side: &Side<'_>, other: &Side<'_>| -> Vec<Rule> {
        let alone = side.units.iter().filter(|unit| !other.units.iter().any(|twin| twin.hash == unit.hash));
        alone
            .map(|unit| match (unit.kind, unit.class) {
                (Kind::Number, _) => Rule::Number,
                (Kind::Opaque, _) => Rule::Symbol,
                (Kind::Quoted, _) => Rule::Quoted,
                (Kind::Word, Class::Content) if unit.name => Rule::Entity,
                (Kind::Word, class) => class.rule(),
            })
            .collect()
    };
    let mut rules = only(ours, theirs);
    rules.extend(only(theirs, ours));
    if rules.is_empty() {
        return if ours.units.len() == theirs.units.len() { Rule::Order } else { Rule::Unexplained };
    }
    ORDER.into_iter().find(|rule| rules.contains(rule)).unwrap_or(Rule::Unexplained)
}
