//! Words of the simulated model: small talk, echoes, facts, sums and stories.

use crate::answer::Ask;
use crate::{arithmetic, facts, ids};

const QUOTED_QUESTION_CHARS: usize = 120;
/// So near must "reply" stand before "exactly", the latter counted.
const WORDS_FROM_VERB: usize = 5;
/// A longer system prompt tells more than what to repeat.
const MAX_ECHO_PROMPT_BYTES: usize = 300;
/// Longer texts are no small talk.
const MAX_SMALL_TALK_BYTES: usize = 200;

/// What the model says without tools and in plain text.
pub(crate) fn say(ask: &Ask<'_>, question: &str, seed: u64) -> String {
    let lower = question.to_lowercase();
    let system = if ask.system.len() <= MAX_ECHO_PROMPT_BYTES { ask.system.as_str() } else { "" };
    if let Some(words) = echoed(question).or_else(|| echoed(system)) {
        return words.to_owned();
    }
    if let Some(words) = small_talk(&lower) {
        return words.to_owned();
    }
    if lower.contains("my name")
        && lower.contains("what")
        && let Some(name) = ask.texts.iter().rev().find_map(|text| told_name(text))
    {
        return format!("Your name is {name}.");
    }
    if let Some(fact) = facts::lookup(&lower) {
        return fact.to_owned();
    }
    if let Some((expression, value)) = arithmetic::solve(question) {
        return format!("{expression} = {value}");
    }
    if lower.contains("story") {
        return ids::rng(seed, question).choice(STORIES).map_or_else(String::new, |story| (*story).to_owned());
    }
    if question.is_empty() {
        return "This is a sandbox answer from a simulated model. Ask me something in words.".to_owned();
    }
    format!(
        "This is a sandbox answer from a simulated model. You asked: \"{}\". With a real provider configured, a real \
         model would answer that.",
        excerpt(question)
    )
}

/// The beginning of a text, for quoting it.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(QUOTED_QUESTION_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `X` of "Reply with exactly: X", "Say X" and their kin.
pub(crate) fn echoed(text: &str) -> Option<&str> {
    // ASCII lower case keeps every byte where it was.
    let lower = text.to_ascii_lowercase();
    let told = ["reply", "respond", "answer", "say", "output", "write", "return", "print", "repeat"];
    let markers = ["exactly", "repeat after me", "only with", "with only", "with the word"];
    let after = markers.iter().find_map(|marker| {
        let at = lower.find(marker)?;
        let mut words = lower[..at + marker.len()].rsplit(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
        let verb = words.by_ref().take(WORDS_FROM_VERB).any(|word| told.contains(&word));
        verb.then_some(at + marker.len())
    });
    let words = match after {
        Some(at) => {
            let rest = &text[at..];
            match rest.find(':') {
                Some(colon) if colon <= 80 => &rest[colon + 1..],
                _ => ["the word ", "the words ", "one word ", "this "]
                    .iter()
                    .fold(rest.trim_start(), |rest, filler| rest.strip_prefix(filler).unwrap_or(rest)),
            }
        }
        None => {
            let start = ["say ", "please say ", "echo ", "repeat: ", "say: ", "echo: "]
                .iter()
                .find(|start| lower.starts_with(**start))?;
            &text[start.len()..]
        }
    };
    let words = words.trim();
    let quotes = [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”')];
    let inside = quotes.iter().find_map(|(open, close)| {
        let rest = words.strip_prefix(*open)?;
        rest.find(*close).map(|end| &rest[..end])
    });
    Some(inside.unwrap_or(words)).filter(|words| !words.is_empty())
}

/// An answer to a text in lower case that asks for nothing.
pub(crate) fn small_talk(lower: &str) -> Option<&'static str> {
    if lower.len() > MAX_SMALL_TALK_BYTES {
        return None;
    }
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty()).collect();
    let spoken = words.join(" ");
    let has = |phrase: &str| spoken.contains(phrase);
    let short = words.len() <= 5;
    let first = words.first().copied().unwrap_or("");
    if has("who are you") || has("what are you") || has("your name") || has("which model") || has("what model") {
        return Some("I am a simulated model in a sandbox: I know a little, I calculate, and I call tools.");
    }
    if has("what can you do") || (short && first == "help") {
        return Some("I am a simulated model. Ask me for a capital, a sum or a story, or give me tools to call.");
    }
    if short && has("how are you") {
        return Some("I am well, thank you, for a simulated model. How can I help?");
    }
    if short && (["hello", "hi", "hey", "greetings"].contains(&first) || has("good morning") || has("good evening")) {
        return Some("Hello! How can I help you today?");
    }
    if short && (has("thank") || first == "thx") {
        return Some("You are welcome!");
    }
    if short && (has("bye") || has("good night")) {
        return Some("Goodbye!");
    }
    match words.as_slice() {
        ["ping"] => Some("pong"),
        ["test"] | ["testing"] => Some("The sandbox is working."),
        _ if has("joke") => Some("Why do programmers mix up Halloween and Christmas? Because OCT 31 is DEC 25."),
        _ => None,
    }
}

fn told_name(text: &str) -> Option<&str> {
    let at = text.to_ascii_lowercase().find("my name is ")?;
    let name = text[at + "my name is ".len()..].split(|c: char| !c.is_alphanumeric()).next()?;
    Some(name).filter(|name| !name.is_empty())
}

const STORIES: &[&str] = &[
    "Once upon a time a small lighthouse stood on a rock that no ship ever passed. It shone all the same, every night. \
     One winter a fishing boat lost its way in the fog, saw the light and came home. The fishermen painted the lighthouse \
     red and white, and from then on someone always waved when they passed.",
    "There was once a clockmaker whose clocks all told different times. People laughed, until a traveller from each corner \
     of the world came to the shop and found there the hour of home. The clockmaker never set a clock again.",
    "A fox found a map in the forest and followed it over hills and rivers to a cross in the snow. Under the cross lay \
     another map, which led back to where the fox had started. It had been a very good walk, said the fox, and slept.",
];
