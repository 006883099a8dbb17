//! English sentences that say the same in another build: relative clauses, passives that name nobody, "is X safe to eat".
//! Each is put into one build, and only where the parts it is made of can be told.

use gateway_cache_data::words::{self, Inflection, Language, Part};

use super::grammar::{Class, Grammar};
use super::item::Item;
use super::order::{MADE, person, turned};
use crate::semantic::text::tokens::Kind;

/// Of what can be the predicate of "it is ... to do": who is eager to please does the pleasing.
const TOUGH: [&str; 22] = [
    "safe",
    "unsafe",
    "dangerous",
    "risky",
    "hard",
    "difficult",
    "tricky",
    "tough",
    "easy",
    "simple",
    "expensive",
    "costly",
    "pricey",
    "cheap",
    "inexpensive",
    "affordable",
    "legal",
    "illegal",
    "okay",
    "fine",
    "healthy",
    "unhealthy",
];

/// Things that belong to a kind of people and not to somebody: women's shoes.
const KINDS: [&str; 6] = ["women", "men", "children", "ladies", "girls", "boys"];

/// The most words of a noun with all that belongs to it.
const LONGEST_NOUN: usize = 4;

fn can_be(item: &Item<'_>, part: Part, inflection: Inflection) -> bool {
    item.kind == Kind::Word
        && words::of(Language::English)
            .analyses(item.word)
            .any(|reading| reading.part == part && reading.inflection == inflection)
}

fn first_is(item: &Item<'_>, part: Part) -> bool {
    words::of(Language::English).analyses(item.word).next().is_none_or(|reading| reading.part == part)
}

fn any_of(item: &Item<'_>, words: &[&str]) -> bool {
    words.iter().any(|word| item.is(word))
}

pub(super) fn rearrange(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    kinds(items);
    told_first(items);
    relatives(grammar, items);
    let _ = named_agent(grammar, items) || nobody_named(grammar, items) || process(grammar, items);
    told_how(grammar, items);
    tough(grammar, items);
    superlative(grammar, items);
    possession(grammar, items);
    required(grammar, items);
    stranded(items);
    for_me(grammar, items);
    denied(grammar, items);
    keywords(grammar, items);
}

/// "Women's shoes" are shoes for women, whoever owns them.
fn kinds(items: &mut Vec<Item<'_>>) {
    let mut at = 1;
    while at < items.len() {
        if items[at].is("'s") && any_of(&items[at - 1], &KINDS) {
            items.remove(at);
        } else {
            at += 1;
        }
    }
}

/// "Repairing a roof: how does that work?" asks how to repair a roof.
fn told_first(items: &mut Vec<Item<'_>>) {
    const ASKED: [&[&str]; 7] = [
        &["how"],
        &["how", "to"],
        &["how", "does", "that", "work"],
        &["how", "does", "this", "work"],
        &["how", "does", "it", "work"],
        &["how", "is", "it", "done"],
        &["how", "do", "i", "do", "it"],
    ];
    if !items.first().is_some_and(|first| can_be(first, Part::Verb, Inflection::Gerund)) {
        return;
    }
    let Some(end) = items.iter().position(|item| item.comma || item.end) else { return };
    let asked = &items[end + 1..];
    let how = ASKED
        .iter()
        .any(|words| words.len() == asked.len() && words.iter().zip(asked).all(|(word, item)| item.is(word)));
    if how {
        items.truncate(end + 1);
        items[end].comma = false;
        items[end].end = false;
        items.insert(0, Item { first: true, ..Item::made("@how") });
    }
}

/// "A wound that is infected" is "an infected wound", and "a child who is learning" is "a child learning".
fn relatives(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    let mut at = 1;
    while at + 2 < items.len() {
        if !(any_of(&items[at + 1], &["is", "are"]) && any_of(&items[at], &["that", "which", "who"])) {
            at += 1;
            continue;
        }
        let (before, predicate) = (items[at - 1], items[at + 2]);
        // "I know that is true" has no noun before it.
        let noun = !before.comma
            && !before.end
            && match grammar.class(&before) {
                Class::Content => {
                    let said = at > 1 && matches!(grammar.class(&items[at - 2]), Class::Article | Class::Possessive);
                    before.kind == Kind::Word
                        && (first_is(&before, Part::Noun) || (said && can_be(&before, Part::Noun, Inflection::Base)))
                }
                Class::Pronoun => any_of(&before, &["someone", "somebody", "anyone", "anybody", "those", "everyone"]),
                _ => false,
            };
        let quality = grammar.class(&predicate) == Class::Content
            && (can_be(&predicate, Part::Adjective, Inflection::Base)
                || can_be(&predicate, Part::Verb, Inflection::Gerund)
                || can_be(&predicate, Part::Verb, Inflection::Past));
        if !noun || !(quality || grammar.class(&predicate) == Class::Preposition) {
            at += 1;
            continue;
        }
        items.drain(at..at + 2);
        let closes = |item: Option<&Item<'_>>| {
            item.is_none_or(|next| matches!(grammar.class(next), Class::Auxiliary | Class::Modal | Class::Pronoun))
        };
        let alone = predicate.comma || predicate.end || closes(items.get(at + 1));
        if quality && alone && grammar.class(&before) == Class::Content {
            let run = noun_before(grammar, items, at);
            items[at].comma = false;
            items[at].end = false;
            items[at - 1].comma |= predicate.comma;
            items[at - 1].end |= predicate.end;
            items[run..=at].rotate_right(1);
        }
        at += 1;
    }
}

/// Where the words before `end` begin that belong to one noun: its article, if it has one, stays outside.
fn noun_before(grammar: &Grammar, items: &[Item<'_>], end: usize) -> usize {
    let mut start = end - 1;
    while start > 0
        && end - start < LONGEST_NOUN
        && grammar.class(&items[start - 1]) == Class::Content
        && !items[start - 1].comma
        && !first_is(&items[start - 1], Part::Verb)
    {
        start -= 1;
    }
    start
}

/// Whether all words can be one thing that is spoken of; not who asks or is asked, nor anybody's but "my".
fn thing(grammar: &Grammar, items: &[Item<'_>]) -> bool {
    (1..=8).contains(&items.len())
        && items.iter().any(|item| grammar.class(item) == Class::Content)
        && items.iter().all(|item| match grammar.class(item) {
            Class::Content => !item.comma && !item.end,
            Class::Article | Class::Preposition | Class::Conjunction => true,
            Class::Possessive => item.is("my"),
            _ => false,
        })
}

fn participle(item: &Item<'_>) -> bool {
    can_be(item, Part::Verb, Inflection::Past)
}

/// "Can bread be frozen?" asks "can I freeze bread?": of what anybody does to things that are his own.
/// "When should roses be pruned?" asks "when should I prune roses?": whoever asks when, means to.
fn nobody_named(grammar: &Grammar, items: &mut Vec<Item<'_>>) -> bool {
    let Some(be) = items.iter().position(|item| item.is("be")).filter(|be| *be > 1) else { return false };
    let Some(verb) = items.get(be + 1).copied().filter(participle) else { return false };
    // What is done to mine may be done by others.
    let mine = |item: &Item<'_>| grammar.class(item) == Class::Possessive;
    if items.iter().any(|item| item.is("by") || item.is("not") || mine(item)) {
        return false;
    }
    let Some(modal) =
        items[..be].iter().position(|item| any_of(item, &["can", "could", "should", "must", "do", "does"]))
    else {
        return false;
    };
    let asked = &items[..modal];
    let does = any_of(&items[modal], &["do", "does"]);
    let end = if does {
        if be < 3 || !items[be - 1].is("to") || !any_of(&items[be - 2], &["need", "have"]) {
            return false;
        }
        be - 2
    } else {
        be
    };
    if end <= modal || !thing(grammar, &items[modal + 1..end]) {
        return false;
    }
    let open = asked.first().is_some_and(|first| any_of(first, &["when", "where", "how"]));
    let may = any_of(&items[modal], &["can", "could"]);
    if !(asked.is_empty() || open)
        || ((may || !open) && !grammar.anybody(verb.hash))
        || ((may || !open) && items[modal + 1..end].iter().any(person))
    {
        return false;
    }
    let mut active = asked.to_vec();
    active.push(if does { Item { first: items[modal].first, ..Item::made("do") } } else { items[modal] });
    active.push(Item::made("i"));
    active.extend_from_slice(&items[end..be]);
    active.push(turned(verb));
    active.extend_from_slice(&items[modal + 1..end]);
    active.extend_from_slice(&items[be + 2..]);
    *items = active;
    true
}

/// "Can X be sued by a client?" asks "can a client sue X?", and "is X used by bakers?" asks "do bakers use X?".
fn named_agent(grammar: &Grammar, items: &mut Vec<Item<'_>>) -> bool {
    let Some(by) = items.iter().position(|item| item.is("by")).filter(|by| *by > 2) else { return false };
    if !participle(&items[by - 1]) {
        return false;
    }
    let measure = items[0].is("how") && any_of(&items[1], &["long", "often", "soon"]);
    let start = if measure { 2 } else { usize::from(any_of(&items[0], &["when", "where", "why"])) };
    let (aux, subject) = if any_of(&items[start], &["can", "could", "should", "may", "must"]) && items[by - 2].is("be")
    {
        (items[start], start + 1..by - 2)
    } else if any_of(&items[start], &["is", "are"]) {
        (Item { first: items[start].first, ..Item::made("do") }, start + 1..by - 1)
    } else {
        return false;
    };
    // "By email", "by adding salt": the means.
    let end = (by + 1..items.len())
        .find(|at| {
            !matches!(grammar.class(&items[*at]), Class::Article | Class::Possessive | Class::Content | Class::Pronoun)
        })
        .unwrap_or(items.len());
    let agent = &items[by + 1..end];
    let somebody = agent.first().is_some_and(|item| {
        matches!(grammar.class(item), Class::Article | Class::Possessive)
            || any_of(item, &["anyone", "anybody", "someone"])
    }) || (agent.len() == 1 && can_be(&agent[0], Part::Noun, Inflection::Plural));
    let gerund = agent.first().is_some_and(|item| can_be(item, Part::Verb, Inflection::Gerund));
    let known = !subject.is_empty()
        && items[subject.clone()].iter().all(|item| {
            matches!(grammar.class(item), Class::Article | Class::Possessive | Class::Content | Class::Preposition)
        });
    if !somebody || gerund || !known {
        return false;
    }
    let mut active = items[..start].to_vec();
    active.push(aux);
    active.extend_from_slice(agent);
    active.push(turned(items[by - 1]));
    active.extend_from_slice(&items[subject]);
    active.extend_from_slice(&items[end..]);
    *items = active;
    true
}

/// "How are jurors chosen?" asks how they choose jurors: whoever it is, and not who asks.
fn process(grammar: &Grammar, items: &mut Vec<Item<'_>>) -> bool {
    if items.len() < 4 || !items[0].is("how") {
        return false;
    }
    let mark = || Item { first: true, ..Item::made("@process") };
    if items[1].is("do") && any_of(&items[2], &["they", "people"]) {
        // What is made is made in one way, whoever makes it.
        if items[2].is("they") && MADE.iter().any(|made| same_verb(&items[3], made)) {
            return false;
        }
        items.splice(..3, [mark()]);
        return true;
    }
    if !any_of(&items[1], &["is", "are"]) || items.iter().any(|item| item.is("by")) {
        return false;
    }
    let Some(verb) =
        (3..items.len()).find(|at| participle(&items[*at]) && !can_be(&items[*at], Part::Noun, Inflection::Base))
    else {
        return false;
    };
    let bounded = items.get(verb + 1).is_none_or(|next| grammar.class(next) == Class::Preposition);
    if !bounded || !thing(grammar, &items[2..verb]) || any_of(&items[verb], &MADE) {
        return false;
    }
    let mut active = vec![mark(), turned(items[verb])];
    active.extend_from_slice(&items[2..verb]);
    active.extend_from_slice(&items[verb + 1..]);
    *items = active;
    true
}

/// "How pearls form", as it is said behind "I would like to know".
fn told_how(grammar: &Grammar, items: &mut [Item<'_>]) {
    let [how, second, rest @ ..] = items else { return };
    let named = match grammar.class(second) {
        Class::Article => true,
        Class::Content => {
            second.kind == Kind::Word
                && first_is(second, Part::Noun)
                && !can_be(second, Part::Adjective, Inflection::Base)
                && !can_be(second, Part::Adverb, Inflection::Base)
        }
        _ => false,
    };
    let plain = rest.iter().all(|item| {
        matches!(grammar.class(item), Class::Content | Class::Article | Class::Preposition | Class::Possessive)
    });
    if how.is("how") && named && plain && rest.iter().any(|item| grammar.class(item) == Class::Content) {
        *how = Item { first: how.first, ..Item::made("@manner") };
    }
}

fn same_verb(base: &Item<'_>, participle: &str) -> bool {
    let words = words::of(Language::English);
    let verb =
        |word| words.analyses(word).find(|reading| reading.part == Part::Verb).map(|reading| reading.lemma.number());
    verb(base.word).is_some_and(|lemma| verb(participle) == Some(lemma))
}

/// "Is raw dough safe to eat?" asks "is it safe to eat raw dough?".
fn tough(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    let how =
        items.first().is_some_and(|first| first.is("how")) && items.get(1).is_some_and(|item| any_of(item, &TOUGH));
    let be = if how { 2 } else { 0 };
    if !items.get(be).is_some_and(|item| any_of(item, &["is", "are"])) {
        return;
    }
    let Some(to) = (be + 2..items.len()).find(|at| items[*at].is("to")) else { return };
    let subject_end = if how { to } else { to - 1 };
    let quality = (!how).then(|| items[to - 1]);
    if quality.is_some_and(|quality| !any_of(&quality, &TOUGH))
        || subject_end <= be + 1
        || !thing(grammar, &items[be + 1..subject_end])
        || !items.get(to + 1).is_some_and(|verb| can_be(verb, Part::Verb, Inflection::Base))
    {
        return;
    }
    // "Easy to train cats with": the verb has an object of its own.
    let behind = items.get(to + 2);
    let stranded = to + 3 == items.len() && behind.is_some_and(|last| grammar.class(last) == Class::Preposition);
    if !behind
        .is_none_or(|next| matches!(grammar.class(next), Class::Preposition | Class::Condition | Class::Conjunction))
    {
        return;
    }
    let cut = to + 2 + usize::from(stranded);
    let mut plain = items[..be].to_vec();
    plain.push(Item { first: items[be].first, ..Item::made("is") });
    plain.push(Item::made("it"));
    plain.extend(quality);
    plain.extend_from_slice(&items[to..cut]);
    plain.extend_from_slice(&items[be + 1..subject_end]);
    plain.extend_from_slice(&items[cut..]);
    *items = plain;
}

/// "Which planet is the hottest?" asks "what is the hottest planet?".
fn superlative(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    if !items.first().is_some_and(|first| any_of(first, &["which", "what"])) {
        return;
    }
    let Some(be) = (2..items.len().min(LONGEST_NOUN)).find(|at| any_of(&items[*at], &["is", "are"])) else { return };
    let noun = items[1..be].iter().all(|item| grammar.class(item) == Class::Content);
    if !noun || !items.get(be + 1).is_some_and(|item| item.is("the")) {
        return;
    }
    let most = items.get(be + 2).is_some_and(|item| item.is("most"));
    let end = be + 3 + usize::from(most);
    let Some(quality) = items.get(end - 1) else { return };
    let chosen = if most {
        grammar.class(quality) == Class::Content
    } else {
        can_be(quality, Part::Adjective, Inflection::Superlative) || any_of(quality, &["best", "worst"])
    };
    if !chosen || !items.get(end).is_none_or(|next| grammar.class(next) == Class::Preposition) {
        return;
    }
    let mut plain = vec![items[0], items[be]];
    plain.extend_from_slice(&items[be + 1..end]);
    plain.extend_from_slice(&items[1..be]);
    plain.extend_from_slice(&items[end..]);
    *items = plain;
}

/// "Is a visa required for Japan?" asks "do I need a visa for Japan?".
fn required(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    if !items.first().is_some_and(|first| any_of(first, &["is", "are"])) {
        return;
    }
    let needed = |item: &Item<'_>| any_of(item, &["required", "needed", "necessary", "mandatory"]);
    let Some(at) = items.iter().position(needed).filter(|at| *at > 1) else { return };
    let open = items.get(at + 1).is_none_or(|next| any_of(next, &["to", "for", "in", "when", "if"]));
    if !open || !thing(grammar, &items[1..at]) || items.get(1).is_some_and(|item| item.is("the")) {
        return;
    }
    items.remove(at);
    items.splice(..1, [Item { first: true, ..Item::made("do") }, Item::made("i"), Item::made("need")]);
}

/// "At what temperature does it boil?" asks "what temperature does it boil at?". Of time, manner and cause there are frames.
fn stranded(items: &mut [Item<'_>]) {
    const FRAMED: [&str; 14] = [
        "year", "month", "century", "day", "date", "time", "way", "ways", "reason", "reasons", "age", "means", "city",
        "order",
    ];
    let [before, what, thing, ..] = items else { return };
    let moves = any_of(before, &["at", "in", "on", "for", "from", "with"]) && any_of(what, &["what", "which"]);
    if moves && !any_of(thing, &FRAMED) && thing.kind == Kind::Word && !items.iter().any(|item| item.comma || item.end)
    {
        items[0].first = false;
        items.rotate_left(1);
        items[0].first = true;
    }
}

/// Whoever is told to write something "for me" writes it for whoever tells.
fn for_me(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    if let [first, _, .., whose, me] = &items[..]
        && grammar.task(first.hash)
        && whose.is("for")
        && any_of(me, &["me", "us"])
    {
        items.truncate(items.len() - 2);
    }
}

/// "What rights do tenants have?" asks what the rights of tenants are.
fn possession(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    if !items.first().is_some_and(|first| any_of(first, &["which", "what"]))
        || !items.last().is_some_and(|last| last.is("have"))
    {
        return;
    }
    let last = items.len() - 1;
    let Some(does) = items.iter().position(|item| any_of(item, &["do", "does"])).filter(|at| *at > 1 && *at + 1 < last)
    else {
        return;
    };
    let owned = items[1..does].iter().all(|item| grammar.class(item) == Class::Content);
    if !owned || !thing(grammar, &items[does + 1..last]) {
        return;
    }
    let mut plain = vec![Item { first: true, ..Item::made("what") }, Item::made("are"), Item::made("the")];
    plain.extend_from_slice(&items[1..does]);
    plain.push(Item::made("of"));
    plain.extend_from_slice(&items[does + 1..last]);
    *items = plain;
}

/// "Why does it not start?" asks "why doesn't it start?". What one can not do and what one can do without are two questions.
fn denied(grammar: &Grammar, items: &mut [Item<'_>]) {
    const VERBS: [&str; 11] = ["do", "does", "did", "is", "are", "was", "were", "has", "have", "will", "would"];
    let start = usize::from(items.first().is_some_and(|first| first.is("why")));
    if !items.get(start).is_some_and(|verb| any_of(verb, &VERBS)) {
        return;
    }
    let Some(not) = items.iter().position(|item| item.is("not")).filter(|at| *at > start + 1) else { return };
    let subject = items[start + 1..not].iter().all(|item| {
        matches!(grammar.class(item), Class::Content | Class::Article | Class::Possessive | Class::Pronoun)
            && !item.comma
            && !item.end
    });
    if subject {
        items[start + 1..=not].rotate_right(1);
    }
}

/// What is typed into a search box: "X vs Y difference", "X definition", "distance X Y".
fn keywords(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    let content = |items: &[Item<'_>]| items.iter().all(|item| grammar.class(item) == Class::Content);
    if let [first, one, other] = items[..]
        && any_of(&first, &["difference", "distance"])
        && content(items)
    {
        let mark = if first.is("distance") { "@distance" } else { "@what" };
        let mut plain = vec![Item { first: true, ..Item::made(mark) }];
        plain.extend(first.is("difference").then_some(first));
        plain.extend([Item::made("between"), one, Item::made("and"), other]);
        *items = plain;
        return;
    }
    if let Some(at) = items.iter().position(|item| any_of(item, &["meaning", "definition"]))
        && (1..=3).contains(&at)
        && content(&items[..at])
        && items.get(at + 1).is_none_or(|next| next.is("in"))
    {
        items.remove(at);
        items[0].first = false;
        items.insert(0, Item { first: true, ..Item::made("@means") });
        return;
    }
    difference(items);
}

/// "X vs Y difference" and "X vs Y, what is the difference" ask what the difference between X and Y is.
fn difference(items: &mut Vec<Item<'_>>) {
    let Some(versus) = items.iter().position(|item| item.is("versus")).filter(|at| *at > 0) else { return };
    let told = |item: &Item<'_>| any_of(item, &["difference", "differences"]);
    if !items.last().is_some_and(told) {
        return;
    }
    let mut end = items.len() - 1;
    while end > 0 && any_of(&items[end - 1], &["what", "is", "are", "the"]) {
        end -= 1;
    }
    if end <= versus + 1 || end - versus > LONGEST_NOUN || versus > LONGEST_NOUN {
        return;
    }
    let mut plain = vec![Item { first: true, ..Item::made("what") }, Item::made("is"), Item::made("the")];
    plain.extend([Item::made("difference"), Item::made("between")]);
    plain.extend_from_slice(&items[..versus]);
    plain.push(Item::made("and"));
    plain.extend_from_slice(&items[versus + 1..end]);
    *items = plain;
}
