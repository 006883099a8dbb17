//! Two normal forms side by side. Each word has a partner on the other side, or may be missing for a reason; no word is left.

use gateway_cache_data::words::{Inflection, Language, Part};

use super::Prepared;
use super::explain::Place;
use super::grammar::Class;
use super::rearranged::{compounds, keywords, moved};
use super::rule::Rule;
use super::unit::{Expression, Readings, Unit};
use crate::semantic::text::hash::word_hash;
use crate::semantic::text::tokens::{Case, Kind};

/// Words between the common beginning and the common end; more are another question.
const MOST_BETWEEN: usize = 32;
/// How many words of meaning may each need an explanation of its own.
const MOST_STRANGERS: usize = 4;
/// How many pairs of words that are left over are looked at for opposites.
const FEW: usize = 6;
/// How many words one text may have more than the other.
const MOST_MORE: usize = 6;

mod sure {
    pub(super) const ARTICLE: f32 = 0.995;
    pub(super) const ASKER: f32 = 0.995;
    pub(super) const ANYBODY: f32 = 0.98;
    pub(super) const FILLER: f32 = 0.975;
    pub(super) const OWN: f32 = 0.98;
    pub(super) const UNASKED: f32 = 0.98;
    pub(super) const JOINED: f32 = 0.985;
}

pub(super) const HOW: u64 = word_hash("@how");
const MANNER: u64 = word_hash("@manner");
const PROCESS: u64 = word_hash("@process");
const EXISTS: u64 = word_hash("@exists");
const PURPOSE: u64 = word_hash("@purpose");
pub(super) const WHAT_IS: u64 = word_hash("@what");
pub(super) const I: u64 = word_hash("i");
const YOU: u64 = word_hash("you");
pub(super) const OF: u64 = word_hash("of");
const THEY: u64 = word_hash("they");
const SOMEONE: u64 = word_hash("someone");
const CAN: u64 = word_hash("@can");
pub(super) const JE: u64 = word_hash("je");
pub(super) const J: u64 = word_hash("j'");
pub(super) const FOR: u64 = word_hash("for");
pub(super) const IN: u64 = word_hash("in");
const THE: u64 = word_hash("the");
pub(super) const MY: u64 = word_hash("my");

/// How sure it is that two texts of a language ask the same, or what is different.
pub(crate) fn align(language: Language, asked: &Prepared, stored: &Prepared) -> Result<f32, Rule> {
    let ours = Side::of(asked);
    let theirs = Side::of(stored);
    let words = |side: &Side<'_>| side.units.iter().filter(|unit| unit.class != Class::Article).count();
    if words(&ours).abs_diff(words(&theirs)) > MOST_MORE {
        return Err(Rule::Distance);
    }
    if strangers(&ours, &theirs) || strangers(&theirs, &ours) {
        return Err(Rule::Distance);
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
        careful: ours.careful && theirs.careful,
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
        .ok_or_else(|| leftover(&place, &ours, &theirs))
}

/// Whether too many words of one text are not in the other, as they are or in another form.
fn strangers(side: &Side<'_>, other: &Side<'_>) -> bool {
    let met = |unit: &Unit| {
        other.units.iter().any(|twin| {
            twin.hash == unit.hash
                || unit.readings[0].zip(twin.readings[0]).is_some_and(|(one, other)| one.lemma == other.lemma)
        })
    };
    side.units.iter().filter(|unit| unit.class == Class::Content && !met(unit)).nth(MOST_STRANGERS).is_some()
}

/// One of the two texts.
#[derive(Clone, Copy)]
pub(super) struct Side<'p> {
    pub(super) units: &'p [Unit],
    pub(super) text: &'p str,
    pub(super) expressions: &'p [Expression],
    pub(super) how: bool,
    pub(super) ascii: bool,
    pub(super) careful: bool,
    /// Articles say neither gender nor case.
    pub(super) plain_articles: bool,
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
            careful: prepared.careful,
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
    pub(super) fn counted(&self) -> usize {
        let Some(first) = self.units.first() else { return 0 };
        if self.how
            || [MANNER, PROCESS, PURPOSE, EXISTS].contains(&first.hash)
            || matches!(first.class, Class::Auxiliary | Class::Modal)
        {
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
                if self.object(at) {
                    return None;
                }
                // "El Salvador" is not Salvador.
                let capital = |unit: &Unit| unit.case != Case::Lower && !unit.first;
                if !self.plain_articles && capital(unit) && capital(next) {
                    return None;
                }
                // "Hôtel de ville" is no "hôtel de la ville"; "de Espanha" is "da Espanha".
                let tied = at > 0
                    && !next.name
                    && !capital(next)
                    && ["de", "d'"].contains(&self.units[at - 1].word(self.text));
                if tied {
                    return None;
                }
                // "A few" is not "few". Where articles have a gender or a case, another one is another word.
                let mut twins = other.units.windows(2).filter(|pair| pair[1].hash == next.hash);
                let swapped = twins.any(|pair| pair[0].class == Class::Article && pair[0].hash != unit.hash);
                // "Is the lawyer expensive" asks of one, "is a lawyer" of any; "are the lions" of some that are known.
                let behind = at.checked_sub(1).is_some_and(|before| self.units[before].class == Class::Auxiliary);
                let many = unit.hash == THE && next.can_be(Part::Noun, Inflection::Plural) && !next.name;
                let meant = self.plain_articles && behind && (swapped || many);
                // "What is the password" asks for it, "what is a password" what one is.
                let asked = at == 1 && self.units[0].class == Class::Frame && self.units[0].hash != HOW;
                let ends = self.units[at + 1..].iter().all(|unit| unit.class == Class::Content);
                let one = unit.hash == THE || other.units.get(1).is_some_and(|twin| twin.hash == THE);
                let alike = other.units.last().zip(self.units.last()).is_some_and(|(one, twin)| one.hash == twin.hash);
                let meant = meant || self.plain_articles && asked && ends && alike && swapped && one;
                (next.class != Class::Quantifier && !meant && (self.plain_articles || !swapped))
                    .then_some(sure::ARTICLE)
            }
            // "Where do I find" and "where can I find", in the languages that say it in one word.
            Class::Frame if at == 1 && unit.hash == CAN && self.units[0].class == Class::Question => {
                (other.units.get(1)?.class == Class::Content).then_some(sure::UNASKED)
            }
            Class::Pronoun if at == 1 && self.how && other.how => match unit.hash {
                I | JE | J => Some(sure::ASKER),
                YOU | THEY | SOMEONE => (!self.speaks() && !other.speaks()).then_some(sure::ANYBODY),
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

    /// Whether an article is none, but stands for a thing: "le manger", "comerlo".
    pub(super) fn object(&self, at: usize) -> bool {
        const STANDS: [&str; 11] = ["le", "la", "les", "l'", "lo", "los", "las", "o", "a", "os", "as"];
        let unit = &self.units[at];
        let verb = self.units.get(at + 1).is_some_and(|next| {
            next.readings[0].is_some_and(|reading| reading.part == Part::Verb)
                || next.can_be(Part::Verb, Inflection::Base)
        });
        // "Qui l'a tué", "quién lo mató": before what is said of it.
        let said = self.units.get(at + 1).is_some_and(|next| matches!(next.class, Class::Auxiliary | Class::Modal));
        !self.plain_articles && (unit.joined || (verb || said) && STANDS.contains(&unit.word(self.text)))
    }

    /// Whether it speaks of the one who asks or the one who is asked.
    fn speaks(&self) -> bool {
        self.units
            .iter()
            .enumerate()
            .any(|(at, unit)| at != 1 && matches!(unit.class, Class::Possessive | Class::Pronoun))
    }
}

pub(super) type Ranges = (std::ops::Range<usize>, std::ops::Range<usize>);

/// The best explanation of two runs of words as each other.
pub(super) fn run(place: &Place<'_>, ours: &Side<'_>, theirs: &Side<'_>, (a, b): Ranges) -> Option<f32> {
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
    // "Bon homme" is no "bonhomme", nor is "frei sprechen" "freisprechen".
    let noun = |unit: &Unit| unit.readings().all(|reading| matches!(reading.part, Part::Noun | Part::Name));
    let nouns = two.plain_articles || noun(first) && noun(second);
    let content = first.class == Class::Content && second.class == Class::Content && nouns;
    words
        && (content || second.joined)
        && whole.word(one.text).strip_prefix(first.word(two.text)) == Some(second.word(two.text))
}

/// What is wrong, by the words that are on one side alone; the first of this order that is there.
fn leftover(place: &Place<'_>, ours: &Side<'_>, theirs: &Side<'_>) -> Rule {
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
    let alone = |side: &Side<'_>, other: &Side<'_>| -> Vec<usize> {
        let met = |unit: &Unit| other.units.iter().any(|twin| twin.hash == unit.hash);
        (0..side.units.len()).filter(|at| !met(&side.units[*at])).collect()
    };
    let (one, other) = (alone(ours, theirs), alone(theirs, ours));
    // One word in the place of another: what speaks against it is known.
    if let ([i], [j]) = (&*one, &*other)
        && ours.units[*i].class == Class::Content
        && theirs.units[*j].class == Class::Content
        && let Err(rule) = place.explain(*i, *j)
        && rule != Rule::Unexplained
    {
        return rule;
    }
    let content = |side: &Side<'_>, at: &usize| side.units[*at].class == Class::Content;
    let opposite = || {
        one.iter()
            .filter(|i| content(ours, i))
            .any(|i| other.iter().filter(|j| content(theirs, j)).any(|j| place.explain(*i, *j) == Err(Rule::Opposite)))
    };
    let named = |unit: &Unit| match (unit.kind, unit.class) {
        (Kind::Number, _) => Rule::Number,
        (Kind::Opaque, _) => Rule::Symbol,
        (Kind::Quoted, _) => Rule::Quoted,
        (Kind::Word, Class::Content) if unit.name => Rule::Entity,
        (Kind::Word, class) => class.rule(),
    };
    let mut rules: Vec<Rule> = one.iter().map(|at| named(&ours.units[*at])).collect();
    rules.extend(other.iter().map(|at| named(&theirs.units[*at])));
    // Of a few words the opposites are found: whose name stands beside them is not what is different.
    if one.len() * other.len() <= FEW && opposite() {
        rules.push(Rule::Opposite);
    }
    if rules.is_empty() {
        let same = ours.units.len() == theirs.units.len();
        let case = same && (0..ours.units.len()).any(|at| place.explain(at, at) == Err(Rule::Case));
        return match (case, same) {
            (true, _) => Rule::Case,
            (_, true) => Rule::Order,
            _ => Rule::Unexplained,
        };
    }
    ORDER.into_iter().find(|rule| rules.contains(rule)).unwrap_or(Rule::Unexplained)
}
