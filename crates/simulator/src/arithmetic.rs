//! Finds a sum in a sentence and works it out.

/// Sums are looked for in short texts; longer or deeper expressions are not looked at.
const MAX_TEXT_BYTES: usize = 4_000;
const MAX_TOKENS: usize = 200;
const MAX_DEPTH: usize = 32;

const WORDS: [(&str, char); 13] = [
    ("plus", '+'),
    ("minus", '-'),
    ("times", '*'),
    ("multiplied", '*'),
    ("divided", '/'),
    ("over", '/'),
    ("x", '*'),
    ("modulo", '%'),
    ("mod", '%'),
    ("zero", '0'),
    ("one", '1'),
    ("two", '2'),
    ("three", '3'),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Number(f64),
    Sign(char),
}

/// The longest expression in the text with at least one operator between numbers: as written there, and its value.
/// `12 * (3+4)` in "what is 12 * (3+4)?" is 84.
pub(crate) fn solve(text: &str) -> Option<(String, String)> {
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let tokens = tokens(text);
    let mut best: Option<(usize, usize, f64)> = None;
    let mut start = 0;
    while start < tokens.len() {
        let run = tokens[start..].iter().take(MAX_TOKENS).take_while(|(token, _)| token.is_some()).count();
        let expression: Vec<Token> = tokens[start..start + run].iter().filter_map(|(token, _)| *token).collect();
        let mut parser = Parser { tokens: &expression, at: 0, operators: 0 };
        match parser.sum(0) {
            Some(value) if parser.operators > 0 && best.is_none_or(|(_, length, _)| parser.at > length) => {
                best = Some((start, parser.at, value));
                start += parser.at;
            }
            _ => start += 1,
        }
    }
    let (start, length, value) = best?;
    let written: Vec<&str> = tokens[start..start + length].iter().map(|(_, text)| *text).collect();
    Some((spaced(&written), shown(value)))
}

fn spaced(tokens: &[&str]) -> String {
    let mut text = String::new();
    for (index, token) in tokens.iter().enumerate() {
        let tight = index == 0 || *token == ")" || tokens[index - 1] == "(";
        if !tight {
            text.push(' ');
        }
        text.push_str(token);
    }
    text
}

fn shown(value: f64) -> String {
    if !value.is_finite() {
        return "undefined".to_owned();
    }
    if value.fract() == 0.0 && value.abs() < 9e15 {
        // Adding zero turns minus zero into zero.
        return format!("{:.0}", value + 0.0);
    }
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Words and signs of the text; None for what belongs to no expression.
fn tokens(text: &str) -> Vec<(Option<Token>, &str)> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '0'..='9' => number_length(rest),
            c if c.is_alphabetic() => rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (word, tail) = rest.split_at(length);
        rest = tail;
        let token = match first {
            '0'..='9' => word.replace(',', "").parse().ok().map(Token::Number),
            '+' | '-' | '*' | '/' | '%' | '^' | '(' | ')' => Some(Token::Sign(first)),
            '×' | '·' => Some(Token::Sign('*')),
            '÷' => Some(Token::Sign('/')),
            '−' => Some(Token::Sign('-')),
            c if c.is_whitespace() => continue,
            _ if word.eq_ignore_ascii_case("by") && matches!(tokens.last(), Some((Some(Token::Sign(_)), _))) => {
                continue;
            }
            _ => WORDS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, sign)| {
                match sign.to_digit(10) {
                    Some(digit) => Token::Number(f64::from(digit)),
                    None => Token::Sign(*sign),
                }
            }),
        };
        tokens.push((token, word));
    }
    tokens
}

/// Digits with inner commas before thousands and one decimal point.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = 0;
    let mut point = false;
    loop {
        let thousands = || (1..=3).all(|next| digit(at + next)) && !digit(at + 4);
        match bytes.get(at) {
            Some(b'0'..=b'9') => at += 1,
            Some(b',') if !point && thousands() => at += 1,
            Some(b'.') if !point && digit(at + 1) => {
                point = true;
                at += 1;
            }
            _ => return at,
        }
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    operators: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    /// Takes an operator of the set if an operand follows it; otherwise nothing is taken.
    fn operator(&mut self, set: &str, operand: impl FnOnce(&mut Self) -> Option<f64>) -> Option<(char, f64)> {
        let before = (self.at, self.operators);
        if let Some(Token::Sign(sign)) = self.peek().filter(|token| matches!(token, Token::Sign(c) if set.contains(*c)))
        {
            self.at += 1;
            if let Some(value) = operand(self) {
                self.operators += 1;
                return Some((sign, value));
            }
        }
        (self.at, self.operators) = before;
        None
    }

    fn sum(&mut self, depth: usize) -> Option<f64> {
        let mut value = self.product(depth)?;
        while let Some((sign, next)) = self.operator("+-", |parser| parser.product(depth)) {
            value = if sign == '+' { value + next } else { value - next };
        }
        Some(value)
    }

    fn product(&mut self, depth: usize) -> Option<f64> {
        let mut value = self.power(depth)?;
        while let Some((sign, next)) = self.operator("*/%", |parser| parser.power(depth)) {
            value = match sign {
                '*' => value * next,
                '/' => value / next,
                _ => value % next,
            };
        }
        Some(value)
    }

    fn power(&mut self, depth: usize) -> Option<f64> {
        if depth > MAX_DEPTH {
            return None;
        }
        let base = self.atom(depth)?;
        Some(match self.operator("^", |parser| parser.power(depth + 1)) {
            Some((_, exponent)) => base.powf(exponent),
            None => base,
        })
    }

    fn atom(&mut self, depth: usize) -> Option<f64> {
        match self.peek()? {
            Token::Number(value) => {
                self.at += 1;
                Some(value)
            }
            Token::Sign('-') => {
                self.at += 1;
                self.power(depth + 1).map(|value| -value)
            }
            Token::Sign('(') => {
                self.at += 1;
                let value = self.sum(depth + 1)?;
                if self.peek() != Some(Token::Sign(')')) {
                    return None;
                }
                self.at += 1;
                Some(value)
            }
            Token::Sign(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::solve;

    #[test]
    fn sums_are_found_in_sentences() {
        for (text, expression, value) in [
            ("what is 12 * (3+4)?", "12 * (3 + 4)", "84"),
            ("What's 2+2", "2 + 2", "4"),
            ("please compute 1,200 plus 34.5 now", "1,200 plus 34.5", "1234.5"),
            ("7 divided by 2 is?", "7 divided 2", "3.5"),
            ("-3 - -4", "- 3 - - 4", "1"),
            ("2 ^ 3 ^ 2", "2 ^ 3 ^ 2", "512"),
            ("how much is 5 - 5?", "5 - 5", "0"),
            ("what is 1 / 0", "1 / 0", "undefined"),
            ("I have 3 apples. 10 × 3 = ?", "10 × 3", "30"),
        ] {
            assert_eq!(solve(text), Some((expression.to_owned(), value.to_owned())), "{text}");
        }
    }

    #[test]
    fn no_sum_no_answer() {
        for text in ["", "hello", "I am 42", "two words", "( ( (", "3 +", "* 4"] {
            assert_eq!(solve(text), None, "{text}");
        }
        assert_eq!(solve(&"(".repeat(4_000)), None);
    }
}
