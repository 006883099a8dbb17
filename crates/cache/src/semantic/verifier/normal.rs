//! The normal form of a text: spelling, politeness and the ways to begin a question taken out of the way, by the rules of
//! its language. What is left is compared word by word.

use gateway_cache_data::words::Language;

use super::english;
use super::grammar::{Class, Grammar};
use super::item::Item;
use super::order::{
    active, case_behind, clitic_apart, clitic_behind, conjuncts, front_to_end, nobody, owner_behind, told_twice,
    verb_forward,
};
use crate::semantic::text::hash::word_hash;
use crate::semantic::text::numerals;
use crate::semantic::text::tokens::{Kind, Tokens};

/// How often the rules of one kind are tried on what they have made.
const PASSES: usize = 5;
/// A text in its normal form.
pub(crate) struct Normal<'t> {
    /// Without what is only spelling and politeness: the words of the canonical tier.
    pub(crate) plain: Vec<Item<'t>>,
    /// With one wording for each way to ask.
    pub(crate) items: Vec<Item<'t>>,
}

impl<'t> Normal<'t> {
    /// `digits` keeps the spelling of numbers, and must outlive the result.
    pub(crate) fn of(grammar: &'static Grammar, tokens: &'t Tokens, digits: &'t Digits) -> Normal<'t> {
        let mut items: Vec<Item<'t>> = tokens.tokens.iter().map(|token| Item::of(token, tokens.str(token))).collect();
        // The mark that ends the text parts nothing.
        if let Some(last) = items.last_mut() {
            last.end = false;
        }
        let fixed = |item: &Item<'t>| -> bool {
            matches!(
                grammar.class(item),
                Class::Auxiliary | Class::Modal | Class::Question | Class::Negation | Class::Condition | Class::Frame
            ) || item.end
        };
        digits.put(&mut items);
        if grammar.elides {
            elisions(&mut items);
            half_negations(&mut items);
        }
        let lexical = items.iter().any(|item| grammar.lexical(item.hash));
        if !lexical {
            grammar.expand.apply(&mut items, &fixed);
        }
        for _ in 0..PASSES {
            if !grammar.wrap.apply_but(&mut items, &fixed, &|items, range| grammar.matter(items, range)) {
                break;
            }
        }
        genitives(grammar, &mut items);
        measures(grammar, &mut items);
        once(&mut items);
        let plain = items.clone();
        // "Bonjour": nothing but politeness.
        if items.is_empty() {
            return Normal { plain, items };
        }
        if grammar.passive {
            active(grammar, &mut items);
        }
        front_to_end(grammar, &mut items);
        if grammar.language == Language::English {
            case_behind(&mut items);
            english::rearrange(grammar, &mut items);
        }
        owner_behind(grammar, &mut items);
        if grammar.language == Language::Spanish {
            clitic_behind(grammar, &mut items);
        }
        for _ in 0..PASSES {
            if !grammar.frame.apply(&mut items, &fixed) {
                break;
            }
        }
        conjuncts(grammar, &mut items);
        match grammar.language {
            Language::German => verb_forward(grammar, &mut items),
            Language::French => {
                told_twice(grammar, &mut items);
                nobody(grammar, &mut items);
            }
            Language::Spanish | Language::Portuguese => nobody(grammar, &mut items),
            Language::English => {}
        }
        for _ in 0..2 {
            if lexical || !grammar.phrase.apply(&mut items, &fixed) {
                break;
            }
        }
        if grammar.language == Language::Spanish {
            clitic_apart(&mut items);
        }
        Normal { plain, items }
    }
}

/// "L'eau" is two words.
fn elisions(items: &mut Vec<Item<'_>>) {
    let mut at = 0;
    while at < items.len() {
        let item = items[at];
        if item.kind == Kind::Word
            && item.word != "aujourd'hui"
            && let Some(cut) = item.word.find('\'').map(|cut| cut + 1).filter(|cut| *cut < item.word.len())
        {
            let (small, word) = item.word.split_at(cut);
            items[at] = Item { word: small, hash: word_hash(small), comma: false, end: false, ..item };
            items.insert(at + 1, Item { word, hash: word_hash(word), first: item.first, joined: true, ..item });
        }
        at += 1;
    }
}

/// "Il ne faut pas" is "il faut pas" as it is spoken; without the second half, "ne" stays.
fn half_negations(items: &mut Vec<Item<'_>>) {
    let mut at = 0;
    while at < items.len() {
        let second = |item: &Item<'_>| ["pas", "jamais", "rien", "aucun", "aucune"].iter().any(|word| item.is(word));
        if (items[at].is("ne") || items[at].is("n'")) && items[at + 1..].iter().take(5).any(second) {
            let gone = items.remove(at);
            if let Some(next) = items.get_mut(at) {
                next.first |= gone.first;
            }
        } else {
            at += 1;
        }
    }
}

/// One spelling for each unit of measure: behind a number, or alone at the end behind "in" and the like.
fn measures(grammar: &'static Grammar, items: &mut [Item<'_>]) {
    let last = items.len().saturating_sub(1);
    for at in 1..items.len() {
        let before = items[at - 1];
        let counted = ["cuántos", "cuántas", "quantos", "quantas", "viele"].iter().any(|many| before.is(many));
        let measured =
            before.kind == Kind::Number || counted || (at == last && grammar.class(&before) == Class::Preposition);
        if measured
            && items[at].kind == Kind::Word
            && let Some(word) = grammar.unit(items[at].hash)
        {
            items[at] = Item { word, hash: word_hash(word), ..items[at] };
        }
    }
}

/// "How do I X, how do I X": what is said twice is said.
fn once(items: &mut Vec<Item<'_>>) {
    let half = items.len() / 2;
    if items.len() == half * 2 && half > 1 && (0..half).all(|at| items[at].hash == items[at + half].hash) {
        items.truncate(half);
    }
    // "How long does it take to learn? How long?"
    let Some(end) = items.iter().position(|item| item.end) else { return };
    let again = &items[end + 1..];
    if again.len() > 1
        && again.len() <= end
        && again.iter().zip(items.iter()).all(|(one, other)| one.hash == other.hash)
    {
        items.truncate(end + 1);
        items[end].end = false;
    }
}

/// Takes "'s" from its word, where the language has it.
fn genitives(grammar: &Grammar, items: &mut Vec<Item<'_>>) {
    if grammar.owner.is_none() {
        return;
    }
    let mut at = 0;
    while at < items.len() {
        let item = items[at];
        if item.kind == Kind::Word
            && let Some(owner) = item.word.strip_suffix("'s").filter(|owner| !owner.is_empty())
        {
            items[at] = Item { word: owner, hash: word_hash(owner), comma: false, end: false, ..item };
            items.insert(at + 1, Item { comma: item.comma, end: item.end, ..Item::made("'s") });
            at += 1;
        }
        at += 1;
    }
}

/// "3.125" is a fraction in most of America and three thousand in Spain: it stays as it is, unless it is money.
fn fraction(grammar: &Grammar, word: &str, next: Option<&str>) -> bool {
    const MONEY: [&str; 8] = ["€", "$", "euro", "euros", "dólar", "dólares", "peso", "pesos"];
    grammar.language == Language::Spanish
        && word.matches('.').count() == 1
        && !next.is_some_and(|next| MONEY.contains(&next))
}

/// "Un iPhone neuf" is a new one, and "15 por ciento" is no product.
fn no_number(grammar: &Grammar, tokens: &Tokens, at: usize) -> bool {
    let word = |at: usize| tokens.tokens.get(at).map(|token| Item::of(token, tokens.str(token)));
    let number = |item: &Item<'_>| item.kind == Kind::Number || grammar.numeral(item.hash).is_some();
    let (Some(item), Some(before)) = (word(at), at.checked_sub(1).and_then(word)) else { return false };
    let thing = grammar.class(&before) == Class::Content && !number(&before);
    let hundred = ["ciento", "cent", "cento"].iter().any(|hundred| item.is(hundred));
    let last = word(at + 1).is_none_or(|next| grammar.class(&next) != Class::Content);
    grammar.elides && item.is("neuf") && thing && last
        || hundred
            && (before.is("por") || before.is("pour"))
            && at.checked_sub(2).and_then(word).is_some_and(|first| number(&first))
}

/// The numbers of a text in plain digits, in the order of the text.
#[derive(Debug, Default)]
pub(crate) struct Digits {
    text: String,
    /// The first item that it takes the place of, how many they are, and where its digits are in `text`.
    runs: Vec<(usize, usize, usize, usize)>,
}

impl Digits {
    pub(crate) fn of(grammar: &'static Grammar, tokens: &Tokens) -> Digits {
        use std::fmt::Write;
        let items = &tokens.tokens;
        let mut digits = Digits::default();
        let mut at = 0;
        while at < items.len() {
            let item = &items[at];
            let begin = digits.text.len();
            let mut length = 1;
            if item.kind == Kind::Number {
                let word = tokens.str(item);
                if fraction(grammar, word, items.get(at + 1).map(|next| tokens.str(next))) {
                    digits.text.push_str(word);
                } else {
                    numerals::plain(word, grammar.thousands, &mut digits.text);
                }
                // "2 million" is a number as "two million" is.
                let large = items
                    .get(at + 1)
                    .and_then(|next| grammar.numeral(next.hash))
                    .filter(|next| *next >= 100 && !item.comma);
                let total = digits.text[begin..]
                    .parse()
                    .ok()
                    .zip(large)
                    .and_then(|(total, next)| numerals::join(total, next, false));
                if let Some(total) = total {
                    digits.text.truncate(begin);
                    let _ = write!(digits.text, "{total}");
                    length = 2;
                }
                digits.runs.push((at, length, begin, digits.text.len()));
            } else if item.kind == Kind::Word
                && let Some(mut total) = grammar.numeral(item.hash)
                && !no_number(grammar, tokens, at)
            {
                while !items[at + length - 1].comma && !items[at + length - 1].end {
                    let joint = usize::from(items.get(at + length).is_some_and(|item| grammar.joint(item.hash)));
                    let next = items.get(at + length + joint).filter(|item| item.kind == Kind::Word);
                    let Some(joined) = next
                        .and_then(|next| grammar.numeral(next.hash))
                        .and_then(|next| numerals::join(total, next, grammar.elides))
                    else {
                        break;
                    };
                    total = joined;
                    length += joint + 1;
                }
                let _ = write!(digits.text, "{total}");
                digits.runs.push((at, length, begin, digits.text.len()));
            }
            at += length;
        }
        digits
    }

    fn put<'t>(&'t self, items: &mut Vec<Item<'t>>) {
        for &(at, length, begin, end) in self.runs.iter().rev() {
            let Some(last) = items.get(at + length - 1).copied() else { continue };
            let Some(word) = self.text.get(begin..end) else { continue };
            let first = items[at];
            let number = Item {
                kind: Kind::Number,
                comma: last.comma,
                end: last.end,
                joined: first.joined,
                first: first.first,
                ..Item::made(word)
            };
            items.splice(at..at + length, [number]);
        }
    }
}
