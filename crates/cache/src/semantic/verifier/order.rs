//! Words put where the same question has them in its plainest order: parts that stand in front of it, passives whose agent is
//! named, owners before what they own, verbs at the end.

use gateway_cache_data::words::{self, Inflection, Language, Part};

use super::grammar::{Class, Grammar};
use super::item::Item;
use crate::semantic::text::hash::word_hash;
use crate::semantic::text::tokens::{Case, Kind};

/// How far into the text a part that belongs to its end may reach.
const LONGEST_FRONT: usize = 10;

/// What is done to a thing by whoever wants it to be.
pub(super) const MADE: [&str; 8] =
    ["made", "built", "produced", "prepared", "cooked", "manufactured", "calculated", "measured"];

/// To whom things happen that nobody who asks is going to do.
const PEOPLE: [&str; 40] = [
    "president",
    "king",
    "queen",
    "minister",
    "boss",
    "manager",
    "employee",
    "worker",
    "teacher",
    "student",
    "tenant",
    "landlord",
    "neighbor",
    "neighbour",
    "friend",
    "husband",
    "wife",
    "son",
    "daughter",
    "brother",
    "sister",
    "mother",
    "father",
    "parent",
    "parents",
    "child",
    "children",
    "baby",
    "man",
    "woman",
    "men",
    "women",
    "boy",
    "girl",
    "person",
    "people",
    "minor",
    "judge",
    "director",
    "officer",
];

pub(super) fn person(item: &Item<'_>) -> bool {
    PEOPLE.iter().any(|word| item.is(word) || item.word.strip_suffix('s') == Some(word))
}

/// What whoever asks how it can be done is going to do.
const MENDED: [&str; 12] = [
    "reduced",
    "increased",
    "lowered",
    "improved",
    "prevented",
    "avoided",
    "treated",
    "cured",
    "relieved",
    "boosted",
    "simplified",
    "automated",
];

/// The form of a participle that has come to stand where the active has its verb.
pub(crate) const TURNED: u32 = 1;

pub(super) fn turned(verb: Item<'_>) -> Item<'_> {
    Item { form: u64::from(TURNED), ..verb }
}

fn whom(item: Item<'_>) -> Item<'_> {
    if item.is("whom") { Item { first: true, ..Item::made("who") } } else { item }
}

/// "By whom was X written", "who was X written by" and "when was X written by Y" in the active voice: who wrote X, when did Y
/// write X. Nothing is turned unless the agent is named, so that no role can change.
pub(super) fn active(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    let was = |item: &Item<'_>| item.is("was") || item.is("were");
    let participle = |item: &Item<'_>| {
        let readings = words::of(grammar.language).analyses(item.word);
        item.kind == Kind::Word
            && readings.into_iter().any(|reading| reading.part == Part::Verb && reading.inflection == Inflection::Past)
    };
    let be = items.iter().position(|item| item.is("be"));
    if let Some(be) = be.filter(|be| *be > 2 && items[0].is("how") && (items[1].is("can") || items[1].is("could")))
        && items.get(be + 1).is_some_and(|verb| {
            participle(verb) && (grammar.anybody(verb.hash) || MADE.iter().chain(&MENDED).any(|made| verb.is(made)))
        })
        && !items[2..be].iter().any(|item| person(item) || grammar.class(item) == Class::Possessive)
    {
        // How can X be made: how to make X. How dogs can be infected is not how to infect them.
        let mut active = vec![Item { first: true, ..Item::made("@how") }, turned(items[be + 1])];
        active.extend_from_slice(&items[2..be]);
        active.extend_from_slice(&items[be + 2..]);
        *items = active;
        return;
    }
    // How should X be kept: how should I keep X. Whose X it is would say who keeps it.
    let nobody = |item: &Item<'_>| !matches!(grammar.class(item), Class::Pronoun | Class::Possessive);
    if let Some(be) = be.filter(|be| *be > 2 && items[0].is("how") && items[1].is("should"))
        && items.get(be + 1).is_some_and(participle)
        && items[2..be].iter().all(nobody)
        && !items.iter().any(|item| item.is("by"))
    {
        let mut active = items[..2].to_vec();
        active.extend([Item::made("i"), turned(items[be + 1])]);
        active.extend_from_slice(&items[2..be]);
        active.extend_from_slice(&items[be + 2..]);
        *items = active;
        return;
    }
    let Some(aux) = items.iter().take(6).position(|item| was(item) || item.is("is") || item.is("are")) else { return };
    let past = was(&items[aux]);
    if items[0].is("by") && aux > 1 && past {
        // By whom was X written.
        let Some(verb) = (aux + 2..items.len()).rev().find(|at| participle(&items[*at])) else { return };
        let mut active: Vec<Item<'_>> = items[1..aux].iter().copied().map(whom).collect();
        active.push(Item { form: 0, ..items[verb] });
        active.extend_from_slice(&items[aux + 1..verb]);
        active.extend_from_slice(&items[verb + 1..]);
        *items = active;
        return;
    }
    let Some(by) = (aux + 3..items.len()).find(|at| items[*at].is("by") && participle(&items[at - 1])) else {
        // How is X made (from Y): how to make X (from Y).
        // Only where making is meant: how people are infected is not how to infect them.
        let made = |item: &Item<'_>| MADE.iter().any(|verb| item.is(verb));
        let last = items.len() - 1;
        let behind = |at: &usize| grammar.class(&items[at + 1]) == Class::Preposition && made(&items[*at]);
        let verb = if made(&items[last]) { Some(last) } else { (3..last).find(behind) };
        if let Some(verb) = verb.filter(|verb| items[0].is("how") && aux == 1 && *verb >= 3 && !past) {
            let mut active = vec![Item { first: true, ..Item::made("@how") }, turned(items[verb])];
            active.extend_from_slice(&items[2..verb]);
            active.extend_from_slice(&items[verb + 1..]);
            *items = active;
        }
        return;
    };
    if !past {
        return;
    }
    let verb = by - 1;
    if by + 1 == items.len() {
        // Who was X written by.
        if aux == 0 || !(items[0].is("who") || items[0].is("whom") || items[0].is("which") || items[0].is("what")) {
            return;
        }
        let mut active: Vec<Item<'_>> = items[..aux].iter().copied().map(whom).collect();
        active.push(items[verb]);
        active.extend_from_slice(&items[aux + 1..verb]);
        *items = active;
        return;
    }
    if aux > 1
        || (aux == 1 && !matches!(grammar.class(&items[0]), Class::Question))
        || items[0].is("who")
        || items[0].is("what")
    {
        return;
    }
    let end = (by + 1..items.len())
        .find(|at| matches!(grammar.class(&items[*at]), Class::Preposition | Class::Condition | Class::Conjunction))
        .unwrap_or(items.len());
    let mut active = items[..aux].to_vec();
    active.push(Item { first: aux == 0, ..Item::made("did") });
    active.extend_from_slice(&items[by + 1..end]);
    active.push(turned(items[verb]));
    active.extend_from_slice(&items[aux + 1..verb]);
    active.extend_from_slice(&items[end..]);
    *items = active;
}

/// "At the airport, where is X?" asks "where is X at the airport?": a part in front of the question goes to its end.
pub(super) fn front_to_end(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    let Some(first) = items.first() else { return };
    let class = grammar.class(first);
    // "When X, what": the case in which it is asked, and not the question.
    let case = ["when", "cuándo", "quand", "quando"].iter().any(|when| first.is(when))
        && items.get(1).is_some_and(|item| !item.comma && grammar.class(item) != Class::Auxiliary);
    if !matches!(class, Class::Preposition | Class::Condition) && first.word != "to" && !case {
        return;
    }
    // "Que altura tem", "em que dia": the question itself.
    let that = class == Class::Preposition && items.get(1).is_some_and(|item| item.is("que"));
    if first.is("que") || first.is("qu'") || first.is("como") || that {
        return;
    }
    let asks = |item: &Item<'_>| {
        matches!(grammar.class(item), Class::Question | Class::Auxiliary | Class::Modal | Class::Frame)
            || grammar.language == Language::Portuguese && item.is("como")
    };
    let limit = items.len().min(LONGEST_FRONT);
    let comma = (1..limit).find(|at| items[*at].comma && items.get(at + 1).is_some_and(asks));
    // Without a comma, the first word of a question begins it, if no verb of tense came before.
    let cut = comma.or_else(|| {
        if class != Class::Preposition {
            // Without one, "when" may be the question itself.
            return None;
        }
        (1..limit).find(|at| items.get(at + 1).is_some_and(asks)).filter(|at| {
            // "After how many days" is the question itself.
            !matches!(grammar.class(&items[*at]), Class::Preposition | Class::Article)
        })
    });
    // "In which city is X?": the question is in the part.
    let Some(cut) = cut.filter(|cut| !(class == Class::Preposition && items[..=*cut].iter().any(asks))) else { return };
    if items.iter().take(items.len().saturating_sub(1)).any(|item| item.end) {
        return;
    }
    if items[0].is("cuándo") {
        items[0] = Item::made("cuando");
    }
    items[cut].comma = false;
    items.rotate_left(cut + 1);
    items[0].first = true;
}

/// "My phone is wet. What should I do?" asks what to do if it is.
pub(super) fn case_behind(items: &mut Vec<Item<'_>>) {
    const ASKED: usize = 4;
    let Some(at) = items.len().checked_sub(ASKED).filter(|at| *at > 1) else { return };
    let asked = &items[at..];
    let what = asked[0].is("what") && asked[2].is("i") && asked[3].is("do");
    if !what
        || !["should", "can", "do"].iter().any(|word| asked[1].is(word))
        || !(items[at - 1].end || items[at - 1].comma)
    {
        return;
    }
    // More than one sentence before it is a story, and no case.
    if items[..at - 1].iter().any(|item| item.end) {
        return;
    }
    items[at - 1].end = false;
    items[at - 1].comma = false;
    items.rotate_left(at);
    items.insert(ASKED, Item::made("if"));
    items[0].first = true;
    if items[1].is("do") {
        items[1] = Item::made("should");
    }
}

/// "Wie ändere ich X" and "wie kann ich X ändern" (of which the beginning is a mark by now): the verb comes first, and who
/// asks is nobody in particular.
pub(super) fn verb_forward(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    let verb = |item: &Item<'_>| {
        item.kind == Kind::Word
            && grammar.class(item) == Class::Content
            && words::of(grammar.language).analyses(item.word).any(|reading| reading.part == Part::Verb)
    };
    let still = |item: &Item<'_>| {
        !matches!(grammar.class(item), Class::Auxiliary | Class::Modal | Class::Conjunction | Class::Condition)
            && !item.end
            && !item.comma
    };
    let inner = items.iter().rev().skip(1);
    let Some(first) = items.first() else { return };
    let why = first.is("warum") || first.is("wann") || first.is("wo");
    if why && items.len() > 2 && items.last().is_some_and(verb) && inner.clone().all(|item| !verb(item) && still(item))
    {
        // "Warum Katzen schnurren", as it is said behind "I wonder".
        items[1..].rotate_right(1);
        return;
    }
    let marked = ["@can", "@may", "@must"].iter().any(|mark| items[0].is(mark));
    if marked && items.len() > 2 {
        part_from(&verb, items);
    }
    if let [first, .., zu, last] = &items[..]
        && ["@can", "@may", "@must"].iter().any(|mark| first.is(mark))
        && zu.is("zu")
        && verb(last)
    {
        // "Ist es erlaubt, hier zu rauchen", "darf man hier rauchen".
        items.remove(items.len() - 2);
        return;
    }
    if items.len() < 3 || !items[0].is("@how") || items.iter().rev().skip(1).any(|item| item.end || item.comma) {
        return;
    }
    let agent = |item: &Item<'_>| matches!(grammar.class(item), Class::Pronoun | Class::Question) || item.is("von");
    if (items[1].is("wird") || items[1].is("werden")) && items.len() > 3 && !items[2..].iter().any(agent) {
        // "Wie wird Käse hergestellt", "wie stellt man Käse her".
        passive(&verb, items);
    } else if verb(&items[1]) && (items[2].is("ich") || items[2].is("man")) {
        items.remove(2);
        items[1] = turned(items[1]);
    } else if (items[1].is("ich") || items[1].is("man")) && items.last().is_some_and(verb) {
        // "Wie man Brot einfriert", as it is said behind "I wonder".
        items.remove(1);
        items[1..].rotate_right(1);
        items[1] = turned(items[1]);
        separate(&verb, items);
    } else if items[0].form != word_hash("wie")
        && items.last().is_some_and(|last| last.word.ends_with('n') && verb(last))
    {
        items[1..].rotate_right(1);
        items[1] = turned(items[1]);
        separate(&verb, items);
    }
}

/// What a verb parts from, at the head of its infinitive.
const PARTS: [&str; 14] =
    ["zurück", "zusammen", "ein", "aus", "auf", "an", "ab", "her", "vor", "hin", "los", "weg", "um", "mit"];

/// "Zurückzugeben" and "zurückgeben" at the end: the verb, and what it parts from.
fn part_from<'t>(verb: &dyn Fn(&Item<'t>) -> bool, items: &mut Vec<Item<'t>>) {
    let Some(whole) = items.last().copied() else { return };
    let cut = PARTS.iter().find_map(|part| Some((whole.word.get(..part.len())?, whole.word.strip_prefix(part)?)));
    let Some((part, rest)) = cut else { return };
    let rest = rest.strip_prefix("zu").filter(|rest| rest.len() > 3).unwrap_or(rest);
    let stem = Item { word: rest, hash: word_hash(rest), ..whole };
    if rest.ends_with('n') && verb(&stem) {
        items.pop();
        items.extend([Item { word: part, hash: word_hash(part), first: false, ..whole }, stem]);
    }
}

/// The participle at the end goes where the active has its verb: "hergestellt" is "stellt ... her".
fn passive<'t>(verb: &dyn Fn(&Item<'t>) -> bool, items: &mut Vec<Item<'t>>) {
    let Some(whole) = items.last().copied() else { return };
    let participle = whole.word.ends_with('t') || whole.word.ends_with("en");
    let cut = PARTS
        .iter()
        .find_map(|part| Some((whole.word.get(..part.len())?, whole.word.strip_prefix(part)?.strip_prefix("ge")?)));
    match cut {
        Some((part, rest)) => {
            let stem = Item { word: rest, hash: word_hash(rest), ..whole };
            if !participle || !verb(&stem) {
                return;
            }
            items.pop();
            items[1] = turned(stem);
            items.push(Item { word: part, hash: word_hash(part), first: false, ..whole });
        }
        None if participle && verb(&whole) => {
            items.pop();
            items[1] = turned(whole);
        }
        None => {}
    }
}

/// What stands for a thing or a person at a verb; "se" may say another thing in front of it.
const CLITICS: [&str; 10] = ["lo", "la", "los", "las", "le", "les", "me", "te", "nos", "os"];

fn spanish_infinitive(word: &str) -> bool {
    ["ar", "er", "ir"].iter().any(|ending| word.ends_with(ending))
        && words::of(Language::Spanish).analyses(word).any(|reading| reading.part == Part::Verb)
}

/// "Lo puedo arreglar" is "puedo arreglarlo".
pub(super) fn clitic_behind(grammar: &Grammar, items: &mut [Item<'_>]) {
    for at in 0..items.len().saturating_sub(2) {
        let clitic = CLITICS.iter().any(|word| items[at].is(word));
        if clitic && grammar.class(&items[at + 1]) == Class::Modal && spanish_infinitive(items[at + 2].word) {
            items[at + 1].first |= items[at].first;
            items[at..at + 3].rotate_left(1);
        }
    }
}

/// "Arreglarlo" is two words.
pub(super) fn clitic_apart(items: &mut Vec<Item<'_>>) {
    let mut at = 0;
    while at < items.len() {
        let whole = items[at];
        let cut = CLITICS.iter().chain(&["se"]).find_map(|clitic| {
            let verb = whole.word.strip_suffix(clitic)?;
            (verb.len() > 3 && spanish_infinitive(verb)).then_some((verb, whole.word.get(verb.len()..)?))
        });
        if let Some((verb, clitic)) = cut.filter(|_| whole.kind == Kind::Word) {
            items[at] = Item { word: verb, hash: word_hash(verb), comma: false, end: false, ..whole };
            items.insert(at + 1, Item { word: clitic, hash: word_hash(clitic), first: false, joined: true, ..whole });
            at += 1;
        }
        at += 1;
    }
}

/// "Cómo se limpia X", "comment nettoie-t-on X": how to do it, whoever does. What "se" says of a verb is only clear of one that says
/// what somebody does to a thing: a cold is not caught by who asks how it is.
pub(super) fn nobody(grammar: &'static Grammar, items: &mut Vec<Item<'_>>) {
    const SURE: u8 = 98;
    if items.len() < 4 || !items[0].is("@how") {
        return;
    }
    let verb = |item: &Item<'_>| {
        item.kind == Kind::Word
            && grammar.class(item) == Class::Content
            && words::of(grammar.language).analyses(item.word).any(|reading| reading.part == Part::Verb)
    };
    let reflexive = items[1].is("se") || items[1].is("s'");
    let people = items[1].is("a") && items[2].is("gente");
    if reflexive || people {
        let at = if people { 3 } else { 2 };
        let said = items[at];
        if let Some(word) = grammar.infinitive(said.hash) {
            items[at] = Item { word, hash: word_hash(word), form: said.hash, weight: SURE, ..said };
        } else if verb(&said) && (people || grammar.done(said.word)) {
            items[at] = turned(said);
        } else {
            return;
        }
        items.drain(1..at);
        return;
    }
    if grammar.language != Language::French {
        return;
    }
    if items[1].is("on") && verb(&items[2]) {
        items.remove(1);
        items[1] = turned(items[1]);
    } else if verb(&items[1]) && items[2].joined {
        // "Fait-on", "calcule-t-on".
        let on = if items[2].is("t") { 3 } else { 2 };
        if items[on].is("on") && items.len() > on + 1 {
            items.drain(2..=on);
            items[1] = turned(items[1]);
        }
    }
}

/// "Einfrieren" as "friere ... ein" has it: what a verb parts from goes to the end.
fn separate<'t>(verb: &dyn Fn(&Item<'t>) -> bool, items: &mut Vec<Item<'t>>) {
    let whole = items[1];
    let cut = PARTS.iter().find_map(|part| Some((whole.word.get(..part.len())?, whole.word.strip_prefix(part)?)));
    let Some((part, rest)) = cut else { return };
    let stem = Item { word: rest, hash: word_hash(rest), ..whole };
    if verb(&stem) {
        items[1] = turned(stem);
        items.push(Item { word: part, hash: word_hash(part), first: false, ..whole });
        if let Some(last) = items.last_mut() {
            last.form = 0;
        }
    }
}

/// "Le ciel est-il bleu": "il" is "le ciel", which has been said.
pub(super) fn told_twice(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    let mut told = false;
    let mut at = 1;
    while at < items.len() {
        let twice = items[at].joined && ["il", "elle", "ils", "elles"].iter().any(|word| items[at].is(word));
        if twice && items[at - 1].is("t") {
            at -= 1;
            items.remove(at);
        }
        let behind_verb = grammar.class(&items[at - 1]) != Class::Preposition;
        if twice && behind_verb && subject_before(grammar, &items[..at - 1]) {
            told = true;
            items.remove(at);
        } else {
            at += 1;
        }
    }
    // Who says the subject twice and has no other word to ask with asks whether.
    let asked = items.iter().any(|item| matches!(grammar.class(item), Class::Question | Class::Frame));
    let Some(first) = items.first() else { return };
    let subject = matches!(grammar.class(first), Class::Article | Class::Possessive | Class::Content);
    if told && subject && !asked {
        items[0].first = false;
        items.insert(0, Item { first: true, ..Item::made("@whether") });
    }
}

/// Whether a subject is named there: "le ciel", "mon chien", "Pierre". In "quel âge" and "combien d'enfants" there is none, and an
/// article in front of the verb itself is an object.
fn subject_before(grammar: &Grammar, items: &[Item<'_>]) -> bool {
    items.iter().enumerate().any(|(at, item)| match grammar.class(item) {
        Class::Article | Class::Possessive => at + 1 < items.len(),
        Class::Content => item.first || item.case != Case::Lower,
        _ => false,
    })
}

/// "Peru's capital" is "the capital of Peru": the owner goes behind what it owns.
pub(super) fn owner_behind(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    let Some(of) = grammar.owner else { return };
    let noun = |item: &Item<'_>| grammar.class(item) == Class::Content && item.kind != Kind::Quoted;
    let mut at = 0;
    while at < items.len() {
        if !items[at].is("'s") || at == 0 {
            at += 1;
            continue;
        }
        let mut start = at;
        // "Buy Peru's oil": the owner does not begin with a verb.
        let does_it = |item: &Item<'_>| {
            words::of(grammar.language).analyses(item.word).next().is_some_and(|reading| reading.part == Part::Verb)
        };
        while start > 0
            && at - start < 3
            && noun(&items[start - 1])
            && !items[start - 1].comma
            && !(start < at && does_it(&items[start - 1]))
        {
            start -= 1;
        }
        if start > 0 && matches!(grammar.class(&items[start - 1]), Class::Article | Class::Possessive) {
            start -= 1;
        }
        let verb = |item: &Item<'_>| {
            let mut readings = words::of(grammar.language).analyses(item.word);
            readings.any(|reading| reading.part == Part::Verb && reading.inflection == Inflection::Base)
        };
        let does = items[..at].iter().any(|item| grammar.class(item) == Class::Auxiliary || item.word.starts_with('@'));
        let mut end = at + 1;
        while end < items.len() && end - at <= 3 && noun(&items[end]) && !(end > at + 1 && items[end - 1].comma) {
            end += 1;
        }
        // "How do a bird's wings beat": the last word is what they do.
        if does && end > at + 2 && end == items.len() && verb(&items[end - 1]) {
            end -= 1;
        }
        if start == at || end == at + 1 {
            at += 1;
            continue;
        }
        let owner = items[start..at].to_vec();
        let mut turned = items[at + 1..end].to_vec();
        if let Some(first) = turned.first_mut() {
            first.first |= owner[0].first;
        }
        turned.push(Item::made(of));
        turned.extend(owner);
        let length = turned.len();
        items.splice(start..end, turned);
        at = start + length;
    }
}

/// "X or Y" and "Y or X": two things that are no verbs are put in an order of their own.
pub(super) fn conjuncts(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    let thing = |item: &Item<'_>| grammar.class(item) == Class::Content;
    let verb = |item: &Item<'_>| {
        item.kind == Kind::Word
            && words::of(grammar.language).analyses(item.word).any(|reading| reading.part == Part::Verb)
    };
    // Where one counts before the other, their order is what is asked.
    const COUNTED: [&str; 11] = [
        "subtract",
        "divide",
        "divided",
        "ratio",
        "proportion",
        "odds",
        "respectively",
        "then",
        "order",
        "minus",
        "first",
    ];
    if items.iter().any(|item| COUNTED.iter().any(|word| item.is(word))) {
        return;
    }
    for at in 1..items.len().saturating_sub(1) {
        if !grammar.pairs(items[at].hash) || items.iter().filter(|item| grammar.pairs(item.hash)).count() > 1 {
            continue;
        }
        let mut start = at;
        while start > 0 && at - start < 3 && thing(&items[start - 1]) && (start == at || !items[start - 1].comma) {
            start -= 1;
        }
        let mut end = at + 1;
        let article = |item: &Item<'_>| grammar.class(item) == Class::Article;
        let opened = items.get(end).is_some_and(article) && start > 0 && article(&items[start - 1]);
        if opened {
            start -= 1;
            end += 1;
        }
        while end < items.len() && end - at <= 4 && thing(&items[end]) && (end == at + 1 || !items[end - 1].comma) {
            end += 1;
        }
        let (left, right) = (at - start, end - at - 1);
        // The two runs must be all there is between their neighbours.
        let bounded =
            |item: Option<&Item<'_>>| item.is_none_or(|item| grammar.class(item) == Class::Preposition || item.comma);
        let before = start.checked_sub(1).and_then(|before| items.get(before));
        let whole = left > 0
            && right > 0
            && before.is_some()
            && bounded(before)
            && (end == items.len() || items[end - 1].comma || grammar.class(&items[end]) == Class::Preposition);
        // "Wash and dry" is an order of its own; behind a preposition there are no verbs.
        let behind = before.is_some_and(|item| grammar.class(item) == Class::Preposition);
        if !whole || (!behind && items[start..end].iter().any(verb)) {
            continue;
        }
        let key = |items: &[Item<'_>]| -> Vec<u64> {
            let words = words::of(grammar.language);
            let lemma = |item: &Item<'_>| words.lemma(item.word).map_or(item.hash, |lemma| u64::from(lemma.number()));
            items.iter().filter(|item| !article(item)).map(lemma).collect()
        };
        if key(&items[start..at]) > key(&items[at + 1..end]) {
            let mut turned = items[at + 1..end].to_vec();
            turned.push(items[at]);
            turned.extend_from_slice(&items[start..at]);
            items.splice(start..end, turned);
        }
    }
}
