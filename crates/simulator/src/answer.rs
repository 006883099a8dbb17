//! The simulated model: what it is asked, whatever the dialect, and what it answers.

use std::borrow::Cow;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::schema::{self, Hints};
use crate::tokens::{self, BYTES_PER_TOKEN};
use crate::{Config, arithmetic, calls, talk};

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
    let mut answer = match config.answer_bytes {
        // A benchmark wants the bytes, not the thought.
        Some(bytes) if ask.tools.is_empty() => Answer::filler(bytes),
        _ => unlimited(ask, seed),
    };
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
        let asked = talk::excerpt(question);
        format!("The user says: \"{asked}\". I am a simulated model, so I look it up in what little I know and say so.")
    } else {
        String::new()
    };
    let calls = calls::calls(ask, question);
    if !calls.is_empty() {
        return Answer { thinking, text: String::new(), calls, finish: Finish::ToolCalls };
    }
    let plain = || match ask.results.as_slice() {
        [] => talk::say(ask, question, seed),
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

/// A short text, such as a system prompt of a few lines, has a sentence that asks for an answer in JSON.
fn wants_json(text: &str) -> bool {
    const MAX_BYTES: usize = 2_000;
    const VERBS: [&str; 5] = ["respond", "reply", "answer", "output", "return"];
    let asks = |sentence: &str| {
        let mut words = sentence.split(|c: char| !c.is_alphabetic());
        sentence.contains("JSON") && words.any(|word| VERBS.contains(&word.to_lowercase().as_str()))
    };
    text.len() <= MAX_BYTES && text.split(['.', '!', '?', '\n']).any(asks)
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
    fn long_prompts_are_not_mistaken_for_orders() {
        let system =
            format!("Reply in JSON when asked. Use tools exactly as told: {}", "never write files. ".repeat(200));
        let ask = Ask { system, texts: vec!["What is the capital of Peru's neighbour?".into()], ..Ask::default() };
        assert!(answer(&ask, &Config::default(), 1).text.contains("sandbox answer"));
        assert!(said("I want you to write a plan. It should cost exactly: 5 euros").contains("sandbox answer"));
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
