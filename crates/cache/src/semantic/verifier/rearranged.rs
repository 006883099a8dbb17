//! Two texts of the same words in another order, where the order is known to say nothing: parts that each have their own
//! preposition, nouns that are one expression, keywords without the small words between them.

use gateway_cache_data::words::{Inflection, Language, Part};

use super::align::{FOR, HOW, I, IN, MY, OF, Side, WHAT_IS, run};
use super::explain::Place;
use super::grammar::{Class, Grammar};
use super::unit::Unit;
use crate::semantic::text::hash::word_hash;
use crate::semantic::text::tokens::Kind;

mod sure {
    pub(super) const COMPOUND: f32 = 0.975;
    pub(super) const KEYWORDS: f32 = 0.97;
    pub(super) const SHORT_TASK: f32 = 0.96;
    pub(super) const MOVED: f32 = 0.975;
}

/// What holds or measures something: a wine bottle may be empty.
const HOLDERS: [u64; 40] = [
    word_hash("bottle"),
    word_hash("bottles"),
    word_hash("cup"),
    word_hash("cups"),
    word_hash("glass"),
    word_hash("glasses"),
    word_hash("box"),
    word_hash("boxes"),
    word_hash("bag"),
    word_hash("bags"),
    word_hash("bowl"),
    word_hash("can"),
    word_hash("cans"),
    word_hash("jar"),
    word_hash("jars"),
    word_hash("pack"),
    word_hash("packet"),
    word_hash("piece"),
    word_hash("pieces"),
    word_hash("slice"),
    word_hash("slices"),
    word_hash("number"),
    word_hash("kind"),
    word_hash("part"),
    word_hash("side"),
    word_hash("end"),
    word_hash("pot"),
    word_hash("tank"),
    word_hash("spoon"),
    word_hash("bucket"),
    word_hash("barrel"),
    word_hash("carton"),
    word_hash("jug"),
    word_hash("mug"),
    word_hash("plate"),
    word_hash("basket"),
    word_hash("bar"),
    word_hash("sheet"),
    word_hash("roll"),
    word_hash("pile"),
];

/// The same parts in another order, each with the preposition at its head: "from A to B" and "to B from A".
pub(super) fn moved(place: &Place<'_>, ours: &Side<'_>, theirs: &Side<'_>) -> Option<f32> {
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
    if [(ours, &first), (theirs, &second)].into_iter().any(|(side, parts)| twice(side, parts)) {
        return None;
    }
    let mut score = run(place, ours, theirs, (first.first()?.clone(), second.first()?.clone()))? * sure::MOVED;
    second.remove(0);
    let mut free: Vec<Option<_>> = second.drain(..).map(Some).collect();
    let mut places = Vec::with_capacity(free.len());
    for part in &first[1..] {
        let found = free
            .iter()
            .enumerate()
            .find_map(|(at, other)| run(place, ours, theirs, (part.clone(), other.clone()?)).map(|sure| (at, sure)));
        let (at, sure) = found?;
        score *= sure;
        free[at] = None;
        places.push(at);
    }
    // A part that may belong to the noun before it keeps its place.
    let swapped = |one: usize, other: usize| places[one] > places[other];
    let passes = |one: usize, other: usize| {
        let (one, other) = (&first[one + 1], &first[other + 1]);
        (ways(ours, one) && ways(ours, other)) || when(ours, one) || when(ours, other)
    };
    let count = places.len();
    (0..count).all(|one| (one + 1..count).all(|other| !swapped(one, other) || passes(one, other))).then_some(score)
}

/// Whether two parts begin with the same preposition.
fn twice(side: &Side<'_>, parts: &[std::ops::Range<usize>]) -> bool {
    let head = |part: &std::ops::Range<usize>| side.units[part.start].hash;
    parts.iter().skip(1).enumerate().any(|(at, part)| parts.iter().skip(at + 2).any(|other| head(part) == head(other)))
}

/// Whether a part says whence or whither.
fn ways(side: &Side<'_>, part: &std::ops::Range<usize>) -> bool {
    const WAYS: [&str; 13] =
        ["from", "to", "desde", "hasta", "de", "a", "para", "à", "von", "nach", "aus", "zu", "até"];
    WAYS.contains(&side.units[part.start].word(side.text))
}

/// Whether a part says when, and nothing else.
fn when(side: &Side<'_>, part: &std::ops::Range<usize>) -> bool {
    part.len() > 1
        && side.units[part.start + 1..part.end]
            .iter()
            .all(|unit| matches!(unit.class, Class::Time | Class::Article | Class::Unit) || unit.kind == Kind::Number)
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

/// "Symptoms of flu" and "flu symptoms": a preposition that only ties two nouns, and the same nouns as one expression.
pub(super) fn compounds(language: Language, long: &Side<'_>, short: &Side<'_>) -> Option<f32> {
    if long.units.len() <= short.units.len() || language != Language::English {
        return None;
    }
    let content = |unit: &Unit| unit.class == Class::Content;
    let ties = |at: usize, unit: &Unit| {
        // "Hotels in Paris": only a place lends its name without losing what it is to them.
        let place =
            unit.hash == IN && long.units.get(at + 1).is_some_and(|next| next.class == Class::Content && next.name);
        unit.hash == OF || unit.hash == FOR || place
    };
    for (at, _) in long.units.iter().enumerate().filter(|(at, unit)| ties(*at, unit)) {
        let owned = long.units[..at].iter().rev().take_while(|unit| content(unit)).count();
        let articles = long.units[at + 1..].iter().take_while(|unit| unit.class == Class::Article).count();
        // "The leaves of my basil", "my basil leaves".
        let mine = long.units.get(at + 1 + articles).filter(|unit| unit.hash == MY && at > owned).copied();
        let start = at + 1 + articles + usize::from(mine.is_some());
        let owner = long.units[start..].iter().take_while(|unit| content(unit)).count();
        // A verb between them would change its subject.
        let verb =
            |unit: &Unit| unit.readings().next().is_some() && unit.readings().all(|reading| reading.part == Part::Verb);
        let holds = long.units[at].hash == OF && at > 0 && HOLDERS.contains(&long.units[at - 1].hash);
        if holds
            || !(1..=3).contains(&owned)
            || !(1..=2).contains(&owner)
            || long.units[at - owned..start + owner].iter().any(verb)
        {
            continue;
        }
        let mut units = long.units[..at - owned].to_vec();
        if let Some(mine) = mine {
            while units.last().is_some_and(|unit| unit.class == Class::Article) {
                units.pop();
            }
            units.push(mine);
        }
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
            careful: long.careful && short.careful,
        };
        let unmarked = Side { expressions: &[], ..*short };
        if let Some(score) = run(&place, &turned, &unmarked, whole) {
            return Some(score * sure::COMPOUND);
        }
    }
    None
}

/// Whether a name begins here, behind an article or not: "the dress code at the Ritz" is "ritz dress code".
fn place_name(units: &[Unit]) -> bool {
    units.iter().find(|unit| unit.class != Class::Article).is_some_and(|unit| unit.class == Class::Content && unit.name)
}

/// Words that keywords have as well, each of which is on both sides: nothing but a content word has a synonym.
fn exact(grammar: &Grammar, unit: &Unit) -> bool {
    let class = unit.class;
    matches!(class, Class::Content | Class::Unit | Class::Time | Class::Degree | Class::Direction)
        || (class == Class::Preposition && !grammar.light(unit.hash))
}

/// A row of keywords, such as people type into a search box, and the question that has the same words in the same order,
/// with nothing but articles and the lightest prepositions between them.
pub(super) fn keywords(language: Language, row: &Side<'_>, question: &Side<'_>) -> Option<f32> {
    // A mark at the beginning, such as that for "the price of", is on both sides.
    let marked = usize::from(
        row.units
            .first()
            .zip(question.units.first())
            .is_some_and(|(one, other)| one.class == Class::Frame && one.hash == other.hash && one.hash != HOW),
    );
    let grammar = Grammar::of(language);
    let between = |unit: &Unit| unit.class == Class::Preposition && grammar.light(unit.hash);
    let bare = (2..=8).contains(&row.units.len())
        && (marked..row.units.len()).all(|at| {
            let unit = &row.units[at];
            // "Em os" is "nos": one word of the row.
            let melted = unit.class == Class::Article && at > 0 && between(&row.units[at - 1]);
            exact(grammar, unit) || between(unit) || melted
        })
        && row.units.iter().filter(|unit| exact(grammar, unit)).count() > 1;
    if !bare || question.units.len() < row.units.len() {
        return None;
    }
    // The prepositions that the row has are its own: "tickets to Rome" is not "tickets for Rome".
    let mut own = (0..row.units.len()).filter(|at| between(&row.units[*at])).map(|at| (at, row.units[at].hash));
    let mut own_next = own.next();
    let mut sure = sure::KEYWORDS;
    let mut content = Vec::with_capacity(question.units.len());
    // Where the part begins that keywords may have in front: "of Peru", "on Linux".
    let mut turn = None;
    let mut closed = usize::MAX;
    for (at, unit) in question.units.iter().enumerate() {
        if unit.class == Class::Preposition && turn.is_some() {
            closed = closed.min(content.len());
        }
        match unit.class {
            _ if exact(grammar, unit) => content.push(*unit),
            Class::Article if question.object(at) => return None,
            Class::Article => {
                if content.last().is_some_and(|last| last.class == Class::Preposition) {
                    content.push(*unit);
                }
            }
            Class::Frame if at < marked => content.push(*unit),
            Class::Frame if at == 0 && unit.hash == WHAT_IS => {}
            Class::Frame if at == 0 && unit.hash == HOW => sure = sure::SHORT_TASK,
            Class::Pronoun if at == 1 && question.how && unit.hash == I => {}
            Class::Possessive if question.how && unit.hash == MY => {}
            Class::Preposition if own_next == Some((content.len(), unit.hash)) => {
                content.push(*unit);
                own_next = own.next();
            }
            Class::Preposition if grammar.light(unit.hash) => {
                if unit.hash == OF && at > 0 && HOLDERS.contains(&question.units[at - 1].hash) {
                    turn = Some(usize::MAX);
                } else if unit.hash == OF {
                    turn = Some(if turn.is_none() { content.len() } else { usize::MAX });
                } else if turn.is_none() && place_name(&question.units[at + 1..]) {
                    turn = Some(content.len());
                }
            }
            _ => return None,
        }
    }
    // "Translate this" is a task, and no question how to do it.
    let orders = |verb: &Unit, first: &Unit| !verb.can_be(Part::Verb, Inflection::Base) || grammar.task(first.hash);
    if question.how && orders(content.first()?, row.units.first()?) {
        return None;
    }
    let try_order = |content: &[Unit]| {
        let full = Side {
            units: content,
            text: question.text,
            expressions: &[],
            how: false,
            ascii: row.ascii,
            careful: row.careful,
            plain_articles: row.plain_articles,
        };
        let place = Place {
            language,
            ours: (row.units, row.text),
            theirs: (content, question.text),
            counted: [row.units.len(), if question.how { 0 } else { content.len() }],
            ascii: [row.ascii, question.ascii],
            careful: row.careful && question.careful,
        };
        let row = Side {
            units: row.units,
            text: row.text,
            expressions: &[],
            how: false,
            ascii: row.ascii,
            careful: row.careful,
            plain_articles: row.plain_articles,
        };
        run(&place, &row, &full, (0..row.units.len(), 0..content.len()))
    };
    if let Some(score) = try_order(&content) {
        return Some(score * sure);
    }
    // "Capital of Peru" and "Peru capital".
    let turn = turn.filter(|turn| *turn < content.len())?;
    let closed = closed.min(content.len());
    content.get_mut(marked..closed)?.rotate_left(turn.checked_sub(marked)?);
    Some(try_order(&content)? * sure)
}
