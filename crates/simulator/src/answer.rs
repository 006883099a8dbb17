//! The simulated model: what it is asked, whatever the dialect, and what it answers.

use std::borrow::Cow;

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::schema::{self, Hints};
use crate::tokens::{self, BYTES_PER_TOKEN};
use crate::{Config, arithmetic, facts, ids, places};

const MAX_CALLS: usize = 8;
const QUOTED_QUESTION_CHARS: usize = 120;

/// A request as the model sees it.
#[derive(Debug, Default)]
pub(crate) struct Ask<'a> {
    /// System and developer prompts.
    pub(crate) system: String,
    /// The texts of the user, oldest first; never the model's own.
    pub(crate) texts: Vec<Cow<'a, str>>,
    /// Tool results that no one has answered yet.
    pub(crate) results: Vec<ToolResult<'a>>,
    pub(crate) tools: Vec<Tool<'a>>,
    pub(crate) choice: Choice<'a>,
    /// Several calls at once are allowed.
    pub(crate) parallel: bool,
    pub(crate) format: Format<'a>,
    pub(crate) stop: Vec<&'a str>,
    pub(crate) max_tokens: Option<u64>,
    /// Think aloud first.
    pub(crate) think: bool,
}

#[derive(Debug)]
pub(crate) struct ToolResult<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) text: Cow<'a, str>,
    pub(crate) is_error: bool,
}

#[derive(Debug)]
pub(crate) struct Tool<'a> {
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
    /// Null when the tool takes no arguments.
    pub(crate) schema: &'a Value,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Choice<'a> {
    #[default]
    Auto,
    None,
    Required,
    Named(&'a str),
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Format<'a> {
    #[default]
    Text,
    JsonObject,
    Schema(&'a Value),
}

#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    /// Empty without [`Ask::think`].
    pub(crate) thinking: String,
    pub(crate) text: String,
    pub(crate) calls: Vec<Call>,
    pub(crate) finish: Finish,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// JSON, or its beginning when the answer was cut by `max_tokens`.
    pub(crate) arguments: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Finish {
    Stop,
    Length,
    ToolCalls,
    StopSequence(String),
}

impl Answer {
    pub(crate) fn output_tokens(&self) -> u64 {
        let calls = self.calls.iter().map(|call| tokens::of_text(&call.name) + tokens::of_text(&call.arguments));
        (tokens::of_text(&self.thinking) + tokens::of_text(&self.text) + calls.sum::<u64>()).max(1)
    }

    pub(crate) fn reasoning_tokens(&self) -> u64 {
        tokens::of_text(&self.thinking)
    }

    /// A text and nothing else, exactly as long as asked.
    pub(crate) fn filler(bytes: usize) -> Self {
        Self {
            thinking: String::new(),
            text: lengthened(String::new(), bytes),
            calls: Vec::new(),
            finish: Finish::Stop,
        }
    }

    /// Cuts the text at the first stop sequence, then everything at the token limit.
    fn limit(&mut self, ask: &Ask<'_>) {
        let first =
            ask.stop.iter().filter_map(|stop| self.text.find(stop).map(|at| (at, *stop))).min_by_key(|(at, _)| *at);
        if let Some((at, stop)) = first {
            self.text.truncate(at);
            self.finish = Finish::StopSequence(stop.to_owned());
        }
        let Some(mut left) = ask.max_tokens else { return };
        if self.output_tokens() <= left {
            return;
        }
        self.finish = Finish::Length;
        left -= cut(&mut self.thinking, left);
        left -= cut(&mut self.text, left);
        self.calls.retain_mut(|call| {
            let name = tokens::of_text(&call.name);
            let started = left > name;
            if started {
                left -= name;
                left -= cut(&mut call.arguments, left);
            }
            started
        });
    }
}

/// Shortens the text to so many tokens; the tokens it has then.
fn cut(text: &mut String, tokens: u64) -> u64 {
    let bytes = usize::try_from(tokens).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN);
    text.truncate(boundary(text, bytes));
    tokens::of_text(text)
}

/// The last place at or before `bytes` where the text can be cut.
fn boundary(text: &str, bytes: usize) -> usize {
    (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}

/// The answer depends on the ask and the seed alone, whole or streamed.
pub(crate) fn answer(ask: &Ask<'_>, config: &Config, seed: u64) -> Answer {
    let mut answer = unlimited(ask, seed);
    if answer.calls.is_empty() {
        let least = config.chunks.unwrap_or(0) * BYTES_PER_TOKEN;
        match config.answer_bytes {
            Some(bytes) => answer.text = lengthened(answer.text, bytes),
            None if answer.text.len() < least => answer.text = lengthened(answer.text, least),
            None => {}
        }
    }
    answer.limit(ask);
    answer
}

fn unlimited(ask: &Ask<'_>, seed: u64) -> Answer {
    let question = ask.texts.last().map_or("", |text| text.trim());
    let thinking = if ask.think {
        let asked = excerpt(question);
        format!("The user says: \"{asked}\". I am a simulated model, so I look it up in what little I know and say so.")
    } else {
        String::new()
    };
    let calls = calls(ask, question);
    if !calls.is_empty() {
        return Answer { thinking, text: String::new(), calls, finish: Finish::ToolCalls };
    }
    let plain = || match ask.results.as_slice() {
        [] => say(ask, question, seed),
        results => results.iter().map(result_sentence).collect::<Vec<_>>().join(" "),
    };
    let text = match ask.format {
        Format::Schema(schema) => fitted(schema, question, plain).to_string(),
        Format::JsonObject => json!({"answer": plain()}).to_string(),
        Format::Text if wants_json(&ask.system) || wants_json(question) => json!({"answer": plain()}).to_string(),
        Format::Text => plain(),
    };
    Answer { thinking, text, calls: Vec::new(), finish: Finish::Stop }
}

fn result_sentence(result: &ToolResult<'_>) -> String {
    let verb = if result.is_error { "failed" } else { "says" };
    let text = result.text.trim();
    let stop = if text.ends_with(['.', '!', '?', '}', ']']) { "" } else { "." };
    format!("The tool {} {verb}: {text}{stop}", result.name)
}

// Words.

fn say(ask: &Ask<'_>, question: &str, seed: u64) -> String {
    let lower = question.to_lowercase();
    if let Some(words) = echoed(question).or_else(|| echoed(&ask.system)) {
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

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(QUOTED_QUESTION_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `X` of "Reply with exactly: X", "Say X" and their kin.
fn echoed(text: &str) -> Option<&str> {
    // ASCII lower case keeps every byte where it was.
    let lower = text.to_ascii_lowercase();
    let told = ["reply", "respond", "answer", "say", "output", "write", "return", "print", "repeat"];
    let markers = ["exactly", "repeat after me", "only with", "with only", "with the word"];
    let after = markers.iter().find_map(|marker| {
        let at = lower.find(marker)?;
        let verb = lower[..at + marker.len()].split(|c: char| !c.is_alphabetic()).any(|word| told.contains(&word));
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

fn small_talk(lower: &str) -> Option<&'static str> {
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty()).collect();
    let has = |phrase: &str| words.join(" ").contains(phrase);
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

/// Repeats the text, or some words where there is none, until it has exactly so many bytes.
fn lengthened(text: String, bytes: usize) -> String {
    const WORDS: &str = "The quick brown fox jumps over the lazy dog while the river runs on. ";
    let mut long = String::with_capacity(bytes + WORDS.len() + text.len());
    long.push_str(&text);
    while long.len() < bytes {
        if !long.is_empty() && !long.ends_with(' ') {
            long.push(' ');
        }
        long.push_str(if text.is_empty() { WORDS } else { &text });
    }
    long.truncate(boundary(&long, bytes));
    // A character cut off leaves a gap of at most three bytes.
    long.extend(std::iter::repeat_n('.', bytes - long.len()));
    long
}

// JSON.

fn wants_json(text: &str) -> bool {
    text.contains("JSON")
        && ["respond", "reply", "answer", "output", "return", "only", "valid"]
            .iter()
            .any(|word| text.to_lowercase().split(|c: char| !c.is_alphabetic()).any(|heard| heard == *word))
}

/// An instance of the schema whose obvious places hold the plain answer.
fn fitted(schema: &Value, question: &str, plain: impl FnOnce() -> String) -> Value {
    const PLACES: [&str; 9] =
        ["answer", "response", "result", "reply", "final_answer", "output", "text", "message", "summary"];
    let mut value = schema::instance(schema, &mut Hints::new(question));
    let free = |name: &str| {
        let property = schema.get("properties").and_then(|properties| properties.get(name));
        property.is_some_and(|property| {
            ["enum", "const", "maxLength", "format", "pattern"].iter().all(|key| property.get(key).is_none())
        })
    };
    if let Some(name) = PLACES.into_iter().find(|name| value.get(name).is_some() && free(name)) {
        let sum = arithmetic::solve(question).and_then(|(_, sum)| serde_json::from_str::<Value>(&sum).ok());
        match (&mut value[name], sum) {
            (Value::String(text), _) => *text = plain(),
            (Value::Number(number), Some(Value::Number(sum))) => *number = sum,
            _ => {}
        }
    }
    value
}

// Tools.

fn calls(ask: &Ask<'_>, question: &str) -> Vec<Call> {
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
    if ask.choice == Choice::Auto && (echoed(question).is_some() || small_talk(&lower).is_some()) {
        return Vec::new();
    }
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).collect();
    let heard = |word: &str| words.contains(&word) || words.iter().any(|heard| heard.trim_end_matches('s') == word);
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

/// Cuts a text for streaming: into exactly `count` pieces, or at random into about a token each.
pub(crate) fn pieces<'t>(text: &'t str, count: Option<usize>, rng: &mut Rng) -> Vec<&'t str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let size = match count {
            Some(count) => rest.len() / count.saturating_sub(pieces.len()).max(1),
            None => rng.usize(2..=7),
        };
        let mut end = (size.max(1)..rest.len()).find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
        if count.is_some_and(|count| pieces.len() + 1 >= count) {
            end = rest.len();
        }
        let (piece, tail) = rest.split_at(end);
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let ask = Ask { texts: vec![text.into()], ..Ask::default() };
        answer(&ask, &Config::default(), 1).text
    }

    #[test]
    fn it_says_sensible_things() {
        for (text, expected) in [
            ("hello", "Hello!"),
            ("Thanks a lot!", "welcome"),
            ("Who are you?", "simulated model"),
            ("what is 12 * (3+4)?", "84"),
            ("What is the capital of France?", "Paris"),
            ("Tell me a story", " "),
            ("Reply with exactly: cobalt", "cobalt"),
            (
                "Do not call any tools. Reply with exactly these four words: stream cache probe ready",
                "stream cache probe ready",
            ),
            ("say \"good morning\"", "good morning"),
            ("How do submarines dive?", "sandbox answer"),
            ("Answer in JSON only: hello", "{\"answer\":"),
        ] {
            let answer = said(text);
            assert!(answer.contains(expected), "{text}: {answer}");
        }
        assert_eq!(said("Reply with exactly: cobalt"), "cobalt");
        assert_eq!(said("Reply with exactly the word pong"), "pong");
    }

    #[test]
    fn pieces_are_the_text() {
        let text = "Grüße aus Brasília, wie geht es dir heute?";
        for count in [None, Some(1), Some(7), Some(20)] {
            let pieces = pieces(text, count, &mut Rng::with_seed(3));
            assert_eq!(pieces.concat(), text);
            if let Some(count) = count {
                assert_eq!(pieces.len(), count);
            }
        }
    }

    #[test]
    fn limits_hold_for_thinking_text_and_calls() {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        let tool = Tool { name: "get_weather", description: "", schema: &schema };
        let mut ask = Ask {
            texts: vec!["Weather in Paris and Tokyo?".into()],
            tools: vec![tool],
            parallel: true,
            ..Ask::default()
        };
        let calls = answer(&ask, &Config::default(), 1).calls;
        assert_eq!(
            calls.iter().map(|call| call.arguments.as_str()).collect::<Vec<_>>(),
            ["{\"city\":\"Paris\"}", "{\"city\":\"Tokyo\"}"]
        );
        for max_tokens in 1..12 {
            ask.max_tokens = Some(max_tokens);
            let cut = answer(&ask, &Config::default(), 1);
            assert_eq!(cut.finish, Finish::Length);
            assert!(cut.output_tokens() <= max_tokens);
        }
    }

    #[test]
    fn an_answer_has_the_length_it_is_told() {
        let config = Config { answer_bytes: Some(1001), chunks: Some(100), ..Config::default() };
        let ask = Ask { texts: vec!["capital of brazil".into()], ..Ask::default() };
        let text = answer(&ask, &config, 1).text;
        assert_eq!(text.len(), 1001);
        assert_eq!(pieces(&text, config.chunks, &mut Rng::with_seed(1)).len(), 100);
    }
}
