//! Rules that put one wording in place of another. They are rows of the tables beside this file.
//!
//! A row is `pattern => words` or, to strip, the pattern alone. In a pattern `a|b` is one of several words, `a?` may be
//! missing, `a,` has a comma or the like behind it, `*` is any run of words (only once, and it never swallows a word of a question or a verb of tense, so that
//! a rule cannot reach into another clause), `*.` one that a sentence or a comma ends, `^` and `$` hold it to the start and the end of the text, `;` to the
//! beginning of a sentence or of what follows a comma.
//! `~97` behind a row says how sure it is that the two wordings ask the same, in hundredths.

use std::fmt;

use super::item::Item;
use crate::semantic::text::hash::{ByWord, word_hash};
use crate::semantic::text::tokens::Kind;

#[derive(Debug)]
enum Element {
    Word {
        any_of: Box<[u64]>,
        optional: bool,
        comma: bool,
    },
    /// Whether what it stands for ends a sentence or has a comma behind it, and only there.
    Wild {
        closed: bool,
    },
}

#[derive(Debug)]
struct Row {
    pattern: Box<[Element]>,
    at_start: bool,
    /// Behind a comma or the end of a sentence.
    behind_mark: bool,
    at_end: bool,
    words: Box<[Option<Box<str>>]>,
    weight: u8,
    /// The words without which it matches nothing, a bit for each: most rows need not be tried.
    needs: u64,
}

fn bit(hash: u64) -> u64 {
    1 << (hash >> 58)
}

fn bits(items: &[Item<'_>]) -> u64 {
    items.iter().fold(0, |bits, item| bits | bit(item.hash))
}

/// Rows that are tried at each word, the longest match first.
#[derive(Debug, Default)]
pub(crate) struct Rewriter {
    rows: Vec<Row>,
    by_first: ByWord<Vec<u32>>,
}

/// A row that cannot be read; only the tests of this crate can meet it.
#[derive(Debug)]
pub(crate) struct BadRow(pub(crate) String);

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a rule: {}", self.0)
    }
}

/// Words that a `*` may stand for.
const LONGEST_WILD: usize = 10;

impl Rewriter {
    pub(crate) fn add(&mut self, line: &str) -> Result<(), BadRow> {
        let bad = || BadRow(line.to_owned());
        let (line, weight) = match line.rsplit_once('~') {
            Some((line, weight)) => (line, weight.trim().parse().map_err(|_| bad())?),
            None => (line, 100),
        };
        let (pattern, words) = line.split_once("=>").unwrap_or((line, ""));
        let mut pattern = pattern.trim();
        let at_start = pattern.starts_with('^');
        let behind_mark = pattern.starts_with(';');
        pattern = pattern.trim_start_matches(['^', ';']).trim();
        let at_end = pattern.ends_with('$');
        pattern = pattern.trim_end_matches('$').trim();
        let pattern: Box<[Element]> = pattern
            .split_whitespace()
            .map(|element| match element {
                "*" | "*." => Element::Wild { closed: element.len() > 1 },
                _ => {
                    let bare = element.strip_suffix('?').unwrap_or(element);
                    let optional = bare.len() < element.len();
                    let word = bare.strip_suffix(',').unwrap_or(bare);
                    let any_of = word.split('|').map(word_hash).collect();
                    Element::Word { any_of, optional, comma: word.len() < bare.len() }
                }
            })
            .collect();
        let words = words.split_whitespace().map(|word| (word != "*").then(|| word.into())).collect();
        let needs = pattern.iter().fold(0, |needs, element| match element {
            Element::Word { any_of, optional: false, .. } if any_of.len() == 1 => needs | bit(any_of[0]),
            _ => needs,
        });
        let index = self.rows.len() as u32;
        let mut fixed = false;
        for element in &pattern {
            let Element::Word { any_of, optional, .. } = element else { return Err(bad()) };
            for hash in any_of {
                let rows = self.by_first.entry(*hash).or_default();
                if rows.last() != Some(&index) {
                    rows.push(index);
                }
            }
            if !optional {
                fixed = true;
                break;
            }
        }
        if !fixed {
            return Err(bad());
        }
        self.rows.push(Row { pattern, at_start, behind_mark, at_end, words, weight, needs });
        Ok(())
    }

    /// Rewrites `items` once, from the left; says whether anything changed. `fixed` are the words no `*` may swallow.
    pub(crate) fn apply<'t>(&'t self, items: &mut Vec<Item<'t>>, fixed: &dyn Fn(&Item<'t>) -> bool) -> bool {
        self.apply_but(items, fixed, &|_, _| false)
    }

    /// The same, but for what `kept` says of the words from the first to behind the last of a match.
    pub(crate) fn apply_but<'t>(
        &'t self,
        items: &mut Vec<Item<'t>>,
        fixed: &dyn Fn(&Item<'t>) -> bool,
        kept: &dyn Fn(&[Item<'t>], std::ops::Range<usize>) -> bool,
    ) -> bool {
        let mut changed = false;
        let mut at = 0;
        let mut there = bits(items);
        while at < items.len() {
            let Some(found) = self.longest(items, at, there, fixed).filter(|found| !kept(items, at..found.end)) else {
                at += 1;
                continue;
            };
            // What is in place already has nothing to gain: "can I" for "can I".
            let same = found.row.words.len() == found.end - at
                && found
                    .row
                    .words
                    .iter()
                    .zip(&items[at..found.end])
                    .all(|(word, item)| word.as_deref() == Some(item.word));
            if same {
                at = found.end;
                continue;
            }
            changed = true;
            at += replace(items, at, found);
            there |= bits(items);
        }
        changed
    }

    /// The words of the first row that matches anywhere.
    pub(crate) fn find<'t>(&'t self, items: &[Item<'t>]) -> Option<&'t str> {
        let there = bits(items);
        let found = (0..items.len()).find_map(|at| self.longest(items, at, there, &|_| false))?;
        found.row.words.first()?.as_deref()
    }

    fn longest<'t>(
        &'t self,
        items: &[Item<'t>],
        at: usize,
        there: u64,
        fixed: &dyn Fn(&Item<'t>) -> bool,
    ) -> Option<Found<'t>> {
        let item = items.get(at)?;
        if item.kind == Kind::Quoted {
            return None;
        }
        let rows = self.by_first.get(&item.hash)?;
        let mut best: Option<Found<'t>> = None;
        for row in rows.iter().filter_map(|row| self.rows.get(*row as usize)) {
            if row.needs & !there != 0 {
                continue;
            }
            let behind = at.checked_sub(1).and_then(|before| items.get(before));
            if (row.at_start && at > 0) || (row.behind_mark && !behind.is_some_and(|item| item.comma || item.end)) {
                continue;
            }
            let mut wild = (0, 0);
            let Some(end) = run(&row.pattern, items, at, row.at_end, fixed, &mut wild) else { continue };
            let literal = (end - at) - (wild.1 - wild.0);
            if best.as_ref().is_none_or(|best| (literal, end) > (best.literal, best.end)) {
                best = Some(Found { row, end, wild, literal });
            }
        }
        best
    }
}

struct Found<'t> {
    row: &'t Row,
    end: usize,
    wild: (usize, usize),
    /// Words matched by name.
    literal: usize,
}

/// Where a match of `pattern` from `at` ends; with `at_end` it has to end with the text.
fn run<'t>(
    pattern: &[Element],
    items: &[Item<'t>],
    at: usize,
    at_end: bool,
    fixed: &dyn Fn(&Item<'t>) -> bool,
    wild: &mut (usize, usize),
) -> Option<usize> {
    let Some((element, rest)) = pattern.split_first() else {
        return (!at_end || at == items.len()).then_some(at);
    };
    match element {
        Element::Word { any_of, optional, comma } => {
            let taken = items
                .get(at)
                .filter(|item| item.kind != Kind::Quoted && any_of.contains(&item.hash))
                .filter(|item| !comma || item.comma || item.end)
                .and_then(|_| run(rest, items, at + 1, at_end, fixed, wild));
            taken.or_else(|| if *optional { run(rest, items, at, at_end, fixed, wild) } else { None })
        }
        Element::Wild { closed } => {
            for end in at + 1..=items.len().min(at + LONGEST_WILD) {
                let last = items.get(end - 1)?;
                if *closed && (last.end || last.comma) && !fixed(&Item { end: false, ..*last }) {
                    return run(rest, items, end, at_end, fixed, wild).inspect(|_| *wild = (at, end));
                }
                if fixed(last) {
                    return None;
                }
                if *closed {
                    continue;
                }
                if let Some(found) = run(rest, items, end, at_end, fixed, wild) {
                    *wild = (at, end);
                    return Some(found);
                }
            }
            None
        }
    }
}

/// Puts the words of a row in place; gives how many they are.
fn replace<'t>(items: &mut Vec<Item<'t>>, at: usize, found: Found<'t>) -> usize {
    let Found { row, end, wild, .. } = found;
    let mut form = 1_u64;
    let mut sure = row.weight;
    for (index, item) in items.iter().enumerate().take(end).skip(at) {
        if !(wild.0..wild.1).contains(&index) {
            form = form.rotate_left(7) ^ item.hash ^ item.form;
            sure = sure.min(item.weight);
        }
    }
    let (first, last) = (items[at], items[end - 1]);
    let mut made: Vec<Item<'t>> = Vec::with_capacity(row.words.len() + wild.1 - wild.0);
    let mut weighed = false;
    for word in &row.words {
        match word {
            None => made.extend_from_slice(&items[wild.0..wild.1]),
            Some(word) => {
                let weight = if weighed { 100 } else { sure };
                weighed = true;
                made.push(Item { form, weight, ..Item::made(word) });
            }
        }
    }
    if let Some(item) = made.first_mut() {
        item.first |= first.first;
        // A capital at a word that stands for itself says what it said.
        if end - at == 1 && item.form == form {
            item.case = first.case;
        }
    }
    if let Some(item) = made.last_mut() {
        item.comma |= last.comma;
        item.end |= last.end;
    } else if at > 0 {
        let comma = last.comma;
        let end_of_sentence = last.end;
        items[at - 1].comma |= comma;
        items[at - 1].end |= end_of_sentence;
    }
    let count = made.len();
    if count == 0 && first.first && end < items.len() {
        items[end].first = true;
    }
    items.splice(at..end, made);
    count
}
