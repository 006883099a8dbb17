//! Words that are others in every request, since a cache answers the same request by itself.

/// Stands in a body where the words go. As long as a number, so that a body with one has the size it was made in.
pub(crate) const MARK: &str = "@WORDS@";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Words {
    /// A number of seven digits, from 0 again after the last
    Number,
    /// A question in plain English, no two alike among four millions
    Question,
}

const NUMBERS: u64 = 10_000_000;
/// Two bits of a number choose one of these, four bits one of each list of words.
const FRAMES: [[&str; 6]; 4] = [
    ["How do I best ", " a ", " ", " for the old ", " in ", "?"],
    ["What does it cost to ", " a ", " ", " with the help of a ", " from ", "?"],
    ["Where can I learn to ", " a ", " ", " like a ", " of ", "?"],
    ["Which tools do I need to ", " a ", " ", " that belongs to a ", " near ", "?"],
];
const WORDS: [[&str; 16]; 5] = [
    [
        "repair",
        "paint",
        "sell",
        "design",
        "weigh",
        "photograph",
        "insure",
        "clean",
        "borrow",
        "hide",
        "describe",
        "lift",
        "inspect",
        "wrap",
        "decorate",
        "return",
    ],
    [
        "small", "cheap", "wooden", "green", "heavy", "quiet", "public", "frozen", "round", "broken", "famous", "soft",
        "narrow", "empty", "striped", "foreign",
    ],
    [
        "kitchen", "bicycle", "camera", "engine", "window", "battery", "boat", "piano", "mirror", "carpet", "ladder",
        "clock", "tent", "bridge", "lamp", "statue",
    ],
    [
        "teacher",
        "nurse",
        "farmer",
        "lawyer",
        "singer",
        "baker",
        "pilot",
        "tailor",
        "miner",
        "judge",
        "dancer",
        "plumber",
        "soldier",
        "librarian",
        "fisherman",
        "dentist",
    ],
    [
        "Lisbon", "Oslo", "Kyoto", "Denver", "Cairo", "Quito", "Hanoi", "Turin", "Bergen", "Austin", "Lima", "Perth",
        "Dublin", "Nairobi", "Prague", "Toronto",
    ],
];
const QUESTION_BITS: u32 = 22;
/// Odd, so that multiplying by it only changes the order: neighbours differ in more than one word.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Words {
    /// Those of the request of this number, in place of what `to` held.
    pub(crate) fn write(self, number: u64, to: &mut String) {
        to.clear();
        match self {
            Self::Number => {
                let digits = (0..7).rev().map(|place| number % NUMBERS / 10u64.pow(place) % 10);
                to.extend(digits.map(|digit| char::from(b'0' + digit as u8)));
            }
            Self::Question => question(number, to),
        }
    }
}

fn question(number: u64, to: &mut String) {
    let mut bits = number.wrapping_mul(SCATTER) % (1 << QUESTION_BITS);
    let [opening, frame @ ..] = &FRAMES[(bits % 4) as usize];
    bits /= 4;
    to.push_str(opening);
    for (words, next) in WORDS.iter().zip(frame) {
        to.push_str(words[(bits % 16) as usize]);
        to.push_str(next);
        bits /= 16;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn written(words: Words, number: u64) -> String {
        let mut text = "before".to_owned();
        words.write(number, &mut text);
        text
    }

    #[test]
    fn numbers_are_as_long_as_their_mark() {
        assert_eq!(written(Words::Number, 123), "0000123");
        assert_eq!(written(Words::Number, 2 * NUMBERS + 7_654_321), "7654321");
        assert_eq!(written(Words::Number, u64::MAX).len(), MARK.len());
    }

    #[test]
    fn questions_are_whole_sentences_and_no_two_alike() {
        let questions: HashSet<String> = (0..100_000).map(|number| written(Words::Question, number)).collect();
        assert_eq!(questions.len(), 100_000);
        assert_eq!(written(Words::Question, 0), "How do I best repair a small kitchen for the old teacher in Lisbon?");
        assert!(questions.iter().all(|question| question.ends_with('?') && !question.contains("  ")));
        assert_eq!(written(Words::Question, 1 << QUESTION_BITS), written(Words::Question, 0));
        let every: usize = WORDS.iter().map(|words| HashSet::<&str>::from_iter(*words).len()).sum();
        assert_eq!(every, 5 * 16, "a word that stands twice would make two questions alike");
    }
}
