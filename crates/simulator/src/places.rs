//! Guesses what a sentence is about: names, numbers, quoted words.

/// Capitalised because they open a sentence, or names of no thing.
const OPENERS: &[&str] = &[
    "a",
    "an",
    "and",
    "also",
    "answer",
    "are",
    "at",
    "book",
    "calculate",
    "call",
    "can",
    "celsius",
    "check",
    "compare",
    "could",
    "did",
    "do",
    "does",
    "fahrenheit",
    "fetch",
    "find",
    "first",
    "for",
    "from",
    "get",
    "give",
    "hello",
    "hey",
    "hi",
    "how",
    "i",
    "i'd",
    "i'll",
    "i'm",
    "if",
    "in",
    "is",
    "it",
    "it's",
    "json",
    "let",
    "look",
    "make",
    "may",
    "my",
    "no",
    "not",
    "now",
    "of",
    "ok",
    "on",
    "or",
    "please",
    "put",
    "reply",
    "return",
    "run",
    "save",
    "say",
    "search",
    "send",
    "set",
    "should",
    "show",
    "tell",
    "thanks",
    "that",
    "the",
    "then",
    "there",
    "this",
    "to",
    "today",
    "tool",
    "use",
    "using",
    "was",
    "we",
    "what",
    "what's",
    "when",
    "where",
    "which",
    "who",
    "why",
    "will",
    "with",
    "would",
    "write",
    "yes",
    "you",
    "your",
];

const MAX_NAMES: usize = 16;

const PREPOSITIONS: [&str; 4] = [" in ", " for ", " at ", " of "];

/// Names of places, people and things, the first few in order and without repeats: runs of capitalised words; failing these, what
/// follows a preposition, taken apart at commas and `and`.
pub(crate) fn names(text: &str) -> Vec<&str> {
    let mut names = capitalised(text);
    if names.is_empty() {
        names = after_preposition(text);
    }
    let mut unique = Vec::new();
    for name in names {
        if unique.len() < MAX_NAMES && !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}

fn capitalised<'t>(text: &'t str) -> Vec<&'t str> {
    let mut names = Vec::new();
    let mut run: Option<(usize, usize)> = None;
    let close = |run: &mut Option<(usize, usize)>, names: &mut Vec<&'t str>| {
        if let Some((start, end)) = run.take() {
            names.extend(text.get(start..end));
        }
    };
    for (start, word) in words(text) {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let offset = word.find(bare).unwrap_or(0);
        let (start, end) = (start + offset, start + offset + bare.len());
        let is_name = bare.starts_with(char::is_uppercase) && !OPENERS.contains(&bare.to_lowercase().as_str());
        if !is_name {
            close(&mut run, &mut names);
            continue;
        }
        run = Some((run.map_or(start, |(start, _)| start), end));
        if word.ends_with(|c: char| !c.is_alphanumeric()) {
            close(&mut run, &mut names);
        }
    }
    close(&mut run, &mut names);
    // The first word of a text has its capital from that, as long as there are other names.
    if names.len() > 1 && text.trim_start().starts_with(names[0]) && !names[0].contains(' ') {
        names.remove(0);
    }
    names
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_whitespace().map(move |word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

fn after_preposition(text: &str) -> Vec<&str> {
    // ASCII lower case keeps every byte where it was.
    let lower = text.to_ascii_lowercase();
    let Some((at, preposition)) = PREPOSITIONS.iter().find_map(|word| lower.rfind(word).map(|at| (at, word))) else {
        return Vec::new();
    };
    let rest = &text[at + preposition.len()..];
    let rest = &rest[..rest.find(['.', '?', '!', ';', ':', '\n']).unwrap_or(rest.len())];
    rest.split(',')
        .flat_map(|part| part.split(" and "))
        .map(|part| part.trim().trim_start_matches("the ").trim_end_matches(" right now").trim_end_matches(" today"))
        .filter(|part| !part.is_empty() && part.len() <= 60)
        .collect()
}

/// Numbers in order, as JSON would spell them.
pub(crate) fn numbers(text: &str) -> Vec<f64> {
    text.split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-')))
        .filter_map(|word| word.trim_end_matches(['.', '-']).parse().ok())
        .collect()
}

/// What stands in double, single or back quotes.
pub(crate) fn quoted(text: &str) -> Option<&str> {
    [('"', '"'), ('“', '”'), ('`', '`'), ('\'', '\'')].into_iter().find_map(|(open, close)| {
        let start = text.find(open)?;
        // An apostrophe inside a word opens nothing.
        if open == '\'' && text[..start].ends_with(char::is_alphanumeric) {
            return None;
        }
        let rest = &text[start + open.len_utf8()..];
        rest.find(close).map(|end| &rest[..end]).filter(|inside| !inside.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        assert_eq!(names("What is the weather in Paris and Tokyo?"), ["Paris", "Tokyo"]);
        assert_eq!(
            names("What's the weather like in San Francisco, New York and Boston?"),
            ["San Francisco", "New York", "Boston"]
        );
        assert_eq!(names("weather in paris and tokyo"), ["paris", "tokyo"]);
        assert_eq!(names("Hello"), Vec::<&str>::new());
        assert_eq!(names("Wetter in Zürich"), ["Zürich"]);
    }

    #[test]
    fn numbers_and_quotes_are_found() {
        assert_eq!(numbers("add 3 and -4.5, then 7."), [3.0, -4.5, 7.0]);
        assert_eq!(quoted("say \"good morning\" now"), Some("good morning"));
        assert_eq!(quoted("What's it's name"), None);
    }
}
