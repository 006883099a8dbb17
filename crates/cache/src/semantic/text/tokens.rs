//! A text cut into words, numbers, and what is neither. The symbols of a name are part of it: `C++` is not `C`.

use super::hash::word_hash;

/// What a token is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Letters alone, folded to lower case.
    Word,
    /// A number in digits, with nothing else at it.
    Number,
    /// Anything that mixes letters, digits and symbols, a name of a file, a version: compared as it stands.
    Opaque,
    /// What stood between quotation marks or backticks, as it stood there.
    Quoted,
}

/// How a word was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    /// Its first letter alone.
    Capital,
    /// All of its letters, and there are at least two.
    Upper,
    /// Capitals in the middle, as names of products have them.
    Mixed,
}

/// One token; its text lies in [`Tokens::text`] or is a constant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) hash: u64,
    pub(crate) kind: Kind,
    pub(crate) case: Case,
    /// It begins a sentence, where a capital says nothing.
    pub(crate) first: bool,
    /// A hyphen joins it to the token before.
    pub(crate) joined: bool,
    /// A comma, a colon or a dash follows.
    pub(crate) comma: bool,
    /// A sentence ends behind it.
    pub(crate) end: bool,
}

/// A text in tokens.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    /// The last sentence that asks or says something ends with a question mark.
    pub(crate) asks: bool,
}

impl Tokens {
    pub(crate) fn str(&self, token: &Token) -> &str {
        self.text.get(token.start as usize..(token.start + token.len) as usize).unwrap_or_default()
    }

    /// Cuts `text`, which has been folded, into at most `limit` tokens; `None` if there are more.
    pub(crate) fn of(text: &str, limit: usize) -> Option<Tokens> {
        let mut cutter = Cutter {
            out: Tokens { text: String::with_capacity(text.len() + 8), ..Tokens::default() },
            first: true,
            brackets: calculates(text),
        };
        let mut rest = text;
        loop {
            rest = rest.trim_start();
            let Some(char) = rest.chars().next() else { break };
            if cutter.out.tokens.len() > limit {
                return None;
            }
            if let Some((inside, behind)) = quotation(rest, char) {
                cutter.push(inside.trim(), Kind::Quoted, false);
                rest = cutter.punctuation(behind);
                continue;
            }
            let chunk = rest.split(|char: char| char.is_whitespace() || char == '`').next().unwrap_or(rest);
            let chunk = if chunk.is_empty() { rest.get(..char.len_utf8()).unwrap_or(rest) } else { chunk };
            rest = rest.get(chunk.len()..).unwrap_or_default();
            if operator(chunk, rest, &cutter.out) {
                cutter.push(chunk, Kind::Opaque, false);
                continue;
            }
            cutter.chunk(chunk);
        }
        (cutter.out.tokens.len() <= limit).then_some(cutter.out)
    }
}

/// What stands between the quotation mark at the start of `rest` and its partner, and what comes behind.
fn quotation(rest: &str, open: char) -> Option<(&str, &str)> {
    let close = match open {
        '`' => '`',
        '"' => '"',
        '\'' => '\'',
        '«' => '»',
        '»' => '«',
        '「' => '」',
        _ => return None,
    };
    let inside = rest.get(open.len_utf8()..)?;
    let end = if open == '\'' {
        // An apostrophe inside of a word closes nothing.
        inside.char_indices().find(|(at, char)| {
            *char == '\'' && *at > 0 && !inside[at + 1..].chars().next().is_some_and(char::is_alphanumeric)
        })?
    } else {
        inside.char_indices().find(|(_, char)| *char == close)?
    };
    Some((inside.get(..end.0)?, inside.get(end.0 + end.1.len_utf8()..)?))
}

/// Whether marks that stand by themselves are what the text speaks of, and no punctuation: the sentence goes on behind them, as
/// in "what does ?? do". French puts a space before its marks, so one of them behind a greeting is punctuation.
fn operator(chunk: &str, rest: &str, out: &Tokens) -> bool {
    const DASHES: &str = "-,";
    if chunk.chars().all(|char| "*_".contains(char)) {
        return true;
    }
    let counts = |char: char| char.is_ascii_digit() || matches!(char, '(' | '[');
    let term = |token: &Token| !token.end && (token.kind == Kind::Number || out.str(token).chars().nth(1).is_none());
    let (left, right) = (out.tokens.last().is_some_and(term), rest.trim_start().starts_with(counts));
    if (chunk.chars().all(|char| char == '-') && (left || right)) || (chunk == ":" && left && right) {
        return true;
    }
    let before = out.tokens.len();
    let marks = chunk.chars().all(|char| (ENDS.contains(&char) || MARKS.contains(&char)) && !DASHES.contains(char));
    let behind = rest.trim_start().chars().next();
    let goes_on = behind.is_some_and(char::is_lowercase);
    let several = chunk.chars().nth(1).is_some();
    // At the end, "??" is a loud question, and "?." is not.
    let mixed = behind.is_none() && several && chunk.chars().any(|char| !matches!(char, '?' | '!' | '.'))
        || behind.is_none() && chunk.contains('.') && chunk.contains(['?', '!']);
    let spaced = !several && (matches!(chunk, ":" | "»" | "«" | "(" | ")" | "¿" | "¡") || before <= 1);
    marks && (mixed || goes_on && before > 0 && !spaced)
}

/// Whether brackets group here: beside numbers and operators they are no punctuation.
fn calculates(text: &str) -> bool {
    let operator = |chunk: &str| chunk.chars().all(|char| "+-*/=^<>×÷·".contains(char));
    text.contains(['(', '['])
        && (text.contains(|char: char| char.is_ascii_digit()) || text.split_whitespace().any(operator))
}

/// Whether the case of a unit behind a number decides: megabit and megabyte, milliwatt and megawatt, metres and millions.
fn cased_unit(word: &str) -> bool {
    match word.as_bytes() {
        [b'M'] | [b'K' | b'M' | b'G' | b'T' | b'P', b'b'] => true,
        [b'm', second, rest @ ..] => second.is_ascii_uppercase() && *second != b'B' && rest.len() < 3,
        [b'M', second, rest @ ..] => matches!(second, b'W' | b'V' | b'A' | b'J' | b'N' | b'P' | b'H') && rest.len() < 3,
        _ => false,
    }
}

const ENDS: &[char] = &['.', '!', '?', '¿', '¡', '。', '！', '？', ';', '؟', '।', '؛'];
const MARKS: &[char] = &[',', ':', '(', ')', '[', ']', '"', '\'', '«', '»', '、', '，', '،', '*', '_', '„'];

struct Cutter {
    out: Tokens,
    first: bool,
    /// Brackets are tokens.
    brackets: bool,
}

impl Cutter {
    fn push(&mut self, text: &str, kind: Kind, joined: bool) {
        if text.is_empty() && kind != Kind::Quoted {
            return;
        }
        let start = self.out.text.len();
        let case = case_of(text);
        let measured = self.out.tokens.last().is_some_and(|last| last.kind == Kind::Number && !last.comma && !last.end);
        match kind {
            Kind::Word if measured && cased_unit(text) => self.out.text.push_str(text),
            Kind::Word => {
                if text.is_ascii() {
                    self.out.text.extend(text.bytes().map(|byte| char::from(byte.to_ascii_lowercase())));
                } else {
                    self.out.text.extend(text.chars().flat_map(char::to_lowercase));
                }
            }
            // `C++` and `c++` are one; `Foo_bar` and `foo_Bar`, `-d` and `-D` are not.
            Kind::Opaque
                if !text.starts_with('-')
                    && text.chars().all(|char| char.is_alphanumeric() || "+#&.-".contains(char)) =>
            {
                self.out.text.extend(text.chars().flat_map(char::to_lowercase));
            }
            _ => self.out.text.push_str(text),
        }
        let word = &self.out.text[start..];
        let hash = word_hash(word) ^ if kind == Kind::Quoted { 1 } else { 0 };
        let token = Token {
            start: start as u32,
            len: word.len() as u32,
            hash,
            kind,
            case,
            first: self.first,
            joined,
            comma: false,
            end: false,
        };
        self.out.tokens.push(token);
        self.out.asks = false;
        self.first = false;
    }

    fn mark(&mut self, char: char) {
        if self.brackets && matches!(char, '(' | ')' | '[' | ']') {
            self.push(char.encode_utf8(&mut [0; 4]), Kind::Opaque, true);
        } else if let Some(last) = self.out.tokens.last_mut() {
            if matches!(char, '¿' | '¡') {
                self.first = true;
            } else if ENDS.contains(&char) {
                last.end = true;
                self.first = true;
                if matches!(char, '?' | '？' | '؟') {
                    self.out.asks = true;
                }
            } else if matches!(char, ',' | ':' | '-' | '，' | '、' | '(' | ')') {
                last.comma = true;
                // Behind a greeting or a topic, a capital is no more than a habit.
                if char == ':' {
                    self.first = true;
                }
            }
        }
    }

    /// Takes the marks at the start of `rest`, and gives what follows.
    fn punctuation<'t>(&mut self, rest: &'t str) -> &'t str {
        let behind = rest.trim_start_matches(|char| ENDS.contains(&char) || MARKS.contains(&char));
        for char in rest[..rest.len() - behind.len()].chars() {
            self.mark(char);
        }
        behind
    }

    fn chunk(&mut self, chunk: &str) {
        if matches!(chunk, "&") {
            return self.push("and", Kind::Word, false);
        }
        if chunk.chars().all(|char| char == '-') {
            return self.mark('-');
        }
        // A dot before a letter begins a name: .NET, .env.
        if chunk.strip_prefix('.').is_some_and(|rest| rest.starts_with(char::is_alphanumeric)) {
            let name = chunk.trim_end_matches(|char| ENDS.contains(&char) || MARKS.contains(&char));
            self.push(name, Kind::Opaque, false);
            return chunk[name.len()..].chars().for_each(|char| self.mark(char));
        }
        let bare = chunk.trim_matches(|char| ENDS.contains(&char) || ",:()[]\"'".contains(char));
        // The marks of `__init__` and `*args` are theirs, as is the colon of `:q`.
        if bare.contains(['*', '_'])
            || chunk.strip_prefix(':').is_some_and(|rest| rest.starts_with(char::is_alphanumeric))
        {
            let whole = chunk.trim_end_matches(|char| ENDS.contains(&char) || ",:".contains(char));
            self.push(whole, Kind::Opaque, false);
            return chunk[whole.len()..].chars().for_each(|char| self.mark(char));
        }
        let core = self.punctuation(chunk);
        let end = core.trim_end_matches(|char| ENDS.contains(&char) || MARKS.contains(&char)).len();
        let (core, marks) = core.split_at(end);
        if !core.is_empty() {
            self.core(core);
        }
        // The factorial, feet and inches.
        let number = core.ends_with(|char: char| char.is_ascii_digit());
        for (at, char) in marks.chars().enumerate() {
            if at == 0 && number && matches!(char, '!' | '\'' | '"') {
                self.push(&marks[..1], Kind::Opaque, true);
            } else {
                self.mark(char);
            }
        }
    }

    fn core(&mut self, core: &str) {
        // `-d` and `--force` are said to a program.
        if core.starts_with('-') && core.contains(char::is_alphabetic) {
            return self.push(core, Kind::Opaque, false);
        }
        if core.chars().all(|char| char.is_alphabetic() || char == '\'') {
            return self.push(core, Kind::Word, false);
        }
        if let Some(letters) = initials(core) {
            return self.push(&letters, Kind::Word, false);
        }
        // Names of files, addresses, versions and calls stay whole.
        let plain = |char: char| char.is_alphanumeric() || "-'.,:%€$£¥".contains(char);
        if !core.chars().all(plain) {
            if core.chars().all(|char| char.is_alphabetic() || char == '/' || char == '-')
                && core.matches('/').count() == 1
            {
                // `and/or`, `yes/no`: the stroke is a token, so that it must be on both sides.
                let (left, right) = core.split_once('/').unwrap_or((core, ""));
                self.parts(left);
                self.push("/", Kind::Opaque, true);
                return self.parts(right);
            }
            return self.push(core, Kind::Opaque, false);
        }
        self.parts(core);
    }

    /// The parts between hyphens.
    fn parts(&mut self, core: &str) {
        if let Some(number) = core.strip_prefix('-').filter(|rest| rest.starts_with(|char: char| char.is_ascii_digit()))
            && !number.contains('-')
        {
            return self.push(core, Kind::Number, false);
        }
        let mut digits = 0;
        for part in core.split('-') {
            digits += usize::from(part.starts_with(|char: char| char.is_ascii_digit()));
        }
        // 2024-01-05, 5-10, 555-1234: what is between the numbers counts.
        if digits > 1 {
            return self.push(core, Kind::Opaque, false);
        }
        let mut joined = false;
        for part in core.split('-').filter(|part| !part.is_empty()) {
            self.part(part, joined);
            joined = true;
        }
    }

    fn part(&mut self, part: &str, joined: bool) {
        if part.chars().all(|char| char.is_alphabetic() || char == '\'') {
            return self.push(part, Kind::Word, joined);
        }
        let bare = part.trim_start_matches(['€', '$', '£', '¥']);
        let sign = &part[..part.len() - bare.len()];
        let number = bare.trim_end_matches(|char: char| char.is_alphabetic() || "%€$£¥".contains(char));
        let unit = &bare[number.len()..];
        let clean = !number.is_empty()
            && number.chars().all(|char| char.is_ascii_digit() || ".,:".contains(char))
            && number.starts_with(|char: char| char.is_ascii_digit())
            && number.ends_with(|char: char| char.is_ascii_digit());
        let one_unit = unit.chars().all(char::is_alphabetic) || unit.chars().count() == 1;
        if !clean || !one_unit || (!sign.is_empty() && !unit.is_empty()) {
            return self.push(part, Kind::Opaque, joined);
        }
        self.push(number, Kind::Number, joined);
        if !sign.is_empty() {
            self.push(sign, Kind::Opaque, true);
        } else if !unit.is_empty() {
            let kind = if unit.chars().all(char::is_alphabetic) { Kind::Word } else { Kind::Opaque };
            self.push(unit, kind, true);
            // 4K and 4k: a letter at a number is a unit, whatever its case.
            if let Some(last) = self.out.tokens.last_mut() {
                last.first = false;
            }
        }
    }
}

/// `U.S.A`, `p.m`: single letters with dots, without the dots.
fn initials(core: &str) -> Option<String> {
    if !core.contains('.')
        || !core.split('.').all(|part| part.chars().count() == 1 && part.chars().all(char::is_alphabetic))
    {
        return None;
    }
    Some(core.chars().filter(|char| *char != '.').collect())
}

fn case_of(text: &str) -> Case {
    let mut letters = 0;
    let mut upper = 0;
    let mut capital = false;
    for char in text.chars() {
        if char.is_alphabetic() {
            if char.is_uppercase() {
                upper += 1;
                capital |= letters == 0;
            }
            letters += 1;
        }
    }
    match (upper, letters) {
        (0, _) => Case::Lower,
        (1, _) if capital => Case::Capital,
        (upper, letters) if upper == letters => Case::Upper,
        _ => Case::Mixed,
    }
}
