//! Which tools the simulated model calls, and with what.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::answer::{Ask, Call, Choice, Tool};
use crate::schema::{self, Hints};
use crate::{facts, places, talk};

const MAX_CALLS: usize = 8;

/// The tools to call now, with their arguments.
pub(crate) fn calls(ask: &Ask<'_>, question: &str) -> Vec<Call> {
    if ask.tools.is_empty() {
        return Vec::new();
    }
    let tools: Vec<&Tool<'_>> = match ask.choice {
        Choice::None => return Vec::new(),
        Choice::Auto if !ask.results.is_empty() => return Vec::new(),
        Choice::Auto | Choice::Required => chosen(ask, question),
        Choice::Named(name) => ask.tools.iter().filter(|tool| tool.name == name).collect(),
    };
    let names = places::names(question);
    let mut calls = Vec::new();
    for tool in tools {
        if names.len() > 1 && schema::takes_a_name(tool.schema) {
            calls.extend(names.iter().map(|name| call(tool, Hints::named(question, name))));
        } else {
            calls.push(call(tool, Hints::new(question)));
        }
    }
    calls.truncate(if ask.parallel { MAX_CALLS } else { 1 });
    calls
}

fn call(tool: &Tool<'_>, mut hints: Hints<'_>) -> Call {
    let arguments = match schema::instance(tool.schema, &mut hints) {
        Value::Object(arguments) => arguments,
        _ => Map::new(),
    };
    Call { name: tool.name.to_owned(), arguments: Value::Object(arguments).to_string() }
}

/// Every tool that the text names; else the one whose description is nearest, or the first.
fn chosen<'t, 'a>(ask: &'t Ask<'a>, question: &str) -> Vec<&'t Tool<'a>> {
    let lower = question.to_lowercase();
    if ask.choice == Choice::Auto && (talk::echoed(question).is_some() || talk::small_talk(&lower).is_some()) {
        return Vec::new();
    }
    let words = lower.split(|c: char| !c.is_alphanumeric());
    let words: HashSet<&str> = words.flat_map(|word| [word, word.trim_end_matches('s')]).collect();
    let heard = |word: &str| words.contains(word);
    let named = |tool: &&Tool<'_>| {
        let name = tool.name.to_lowercase();
        lower.contains(&name) || parts(tool.name).any(|part| !GENERIC.contains(&part.as_str()) && heard(&part))
    };
    let named: Vec<&Tool<'_>> = ask.tools.iter().filter(named).collect();
    if !named.is_empty() {
        return named;
    }
    let nearness = |tool: &Tool<'_>| {
        let description = tool.description.to_lowercase();
        description.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 3 && heard(word)).count()
    };
    let nearest = ask.tools.iter().enumerate().max_by_key(|(index, tool)| (nearness(tool), std::cmp::Reverse(*index)));
    let known = facts::lookup(&lower).is_some();
    match nearest {
        Some((_, tool)) if ask.choice == Choice::Required || !known || nearness(tool) > 0 => vec![tool],
        _ => Vec::new(),
    }
}

/// Parts of tool names that say nothing about the subject.
const GENERIC: &[&str] = &[
    "get", "set", "the", "a", "fetch", "list", "find", "tool", "current", "make", "do", "run", "call", "my", "to",
    "of", "is",
];

/// `get_currentWeather` is `get`, `current`, `weather`.
fn parts(name: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::with_capacity(name.len() + 4);
    let mut previous = '_';
    for letter in name.chars() {
        if letter.is_uppercase() && previous.is_lowercase() {
            spaced.push(' ');
        }
        spaced.extend(letter.to_lowercase());
        previous = letter;
    }
    let parts: Vec<String> =
        spaced.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    parts.into_iter()
}
