//! From a text to a vector: where to look for the same question in other words. It finds candidates and decides nothing.
//!
//! The text is cut as BERT's uncased tokenizer does it, into pieces of words that the model of `gateway-cache-data` has rows for.
//! Its vector is their mean, as model2vec takes it: pieces that are not known are left out.

use std::borrow::Cow;

use gateway_cache_data::model::{self, DIMENSIONS, Sum};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Pieces that are looked at: what comes later changes the direction of a mean little.
const MAX_PIECES: usize = 512;
/// Bytes that are looked at, also where they are no pieces.
const MAX_BYTES: usize = 16 * 1024;
/// A longer word is left out, as the tokenizer does it.
const MAX_WORD_CHARS: usize = 100;

/// A direction; of as many components as its model has. Slightly shorter than the others where one component would not fit.
pub type Vector = [i8];

/// What a component is in the mean, whatever their number: chosen so that all of nearly all sentences fit into a byte.
const COMPONENT: f32 = 18.0;

/// `None`: nothing of the text is known.
pub fn embed(text: &str) -> Option<[i8; DIMENSIONS]> {
    let mut sum = Sum::new();
    let mut pieces = 0;
    cut(text, |piece| {
        sum.add(piece);
        pieces += 1;
        pieces < MAX_PIECES
    });
    let direction = sum.direction();
    let scale = scale(&direction)?;
    Some(direction.map(|value| component(value * scale)))
}

/// The vector of another model in a byte for each component. `None`: it has no direction.
pub fn quantised(direction: &[f32]) -> Option<Box<Vector>> {
    let scale = scale(direction)?;
    Some(direction.iter().map(|value| component(value * scale)).collect())
}

fn scale(direction: &[f32]) -> Option<f32> {
    let length = direction.iter().map(|value| value * value).sum::<f32>().sqrt();
    (length > 0.0 && length.is_finite()).then(|| COMPONENT * (direction.len() as f32).sqrt() / length)
}

/// Rounded by hand, as many values at once; the cast ends at the bounds of a byte.
#[inline(always)]
fn component(value: f32) -> i8 {
    (value + 0.5_f32.copysign(value)) as i8
}

/// Hands over the pieces of a text until `take` has had enough.
fn cut(text: &str, mut take: impl FnMut(u16) -> bool) {
    let text = normal(&text[..text.floor_char_boundary(MAX_BYTES)]);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(first) = bytes.get(at) {
        if first.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let end = at + word(&text[at..]);
        if !pieces(&text[at..end], &mut take) {
            return;
        }
        at = end;
    }
}

/// How long the word is that the text begins with. A punctuation mark is a word.
fn word(text: &str) -> usize {
    let mut chars = text.char_indices();
    let alone = chars.next().is_some_and(|(_, first)| is_punctuation(first));
    let next = if alone { chars.next() } else { chars.find(|(_, char)| is_space(*char) || is_punctuation(*char)) };
    next.map_or(text.len(), |(at, _)| at)
}

/// The longest piece, then the longest of what remains; a word of which a part is not known is not known. False: enough.
fn pieces(word: &str, take: &mut impl FnMut(u16) -> bool) -> bool {
    if word.len() > MAX_WORD_CHARS && word.chars().count() > MAX_WORD_CHARS {
        return true;
    }
    let bytes = word.as_bytes();
    let mut found = [0; MAX_WORD_CHARS];
    let (mut count, mut at) = (0, 0);
    while at < bytes.len() {
        let Some((length, piece)) = model::longest_piece(&bytes[at..], at > 0) else { return true };
        found[count] = piece;
        count += 1;
        at += length;
    }
    found[..count].iter().all(|piece| take(*piece))
}

/// Without accents and control characters, in lower case but for ASCII (of which the vocabulary takes capitals), with spaces
/// around each Chinese character.
fn normal(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r')) {
        return Cow::Borrowed(text);
    }
    let mut spaced = String::with_capacity(text.len() + text.len() / 2);
    for char in text.chars() {
        if is_space(char) {
            spaced.push(' ');
        } else if is_chinese(char) {
            spaced.extend([' ', char, ' ']);
        } else if char != '\u{fffd}' && char.general_category_group() != GeneralCategoryGroup::Other {
            spaced.push(char);
        }
    }
    let bare = spaced.nfd().filter(|char| char.general_category() != GeneralCategory::NonspacingMark);
    Cow::Owned(bare.flat_map(char::to_lowercase).collect())
}

fn is_space(char: char) -> bool {
    char.is_whitespace()
}

fn is_punctuation(char: char) -> bool {
    char.is_ascii_punctuation()
        || !char.is_ascii() && char.general_category_group() == GeneralCategoryGroup::Punctuation
}

/// The blocks of ideographs, as BERT has them.
fn is_chinese(char: char) -> bool {
    matches!(char,
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{2a6df}' | '\u{2a700}'..='\u{2b73f}' | '\u{2b740}'..='\u{2b81f}'
        | '\u{2b920}'..='\u{2ceaf}' | '\u{2f800}'..='\u{2fa1f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantic::directions::cosine;

    fn cut_all(text: &str) -> Vec<u16> {
        let mut found = Vec::new();
        cut(text, |piece| {
            found.push(piece);
            found.len() < MAX_PIECES
        });
        found
    }

    /// Made by `scripts/build-cache-data.py golden` with the tokenizer's and the model's own programs.
    #[test]
    fn pieces_are_those_of_the_models_own_tokenizer() {
        let lines = include_str!("../../testdata/pieces.jsonl").lines();
        let mut checked = 0;
        for line in lines {
            let (text, pieces): (String, Vec<u16>) = serde_json::from_str(line).unwrap();
            assert_eq!(cut_all(&text), pieces, "{text:?}");
            checked += 1;
        }
        assert!(checked > 300);
    }

    #[test]
    fn cosines_are_those_of_the_models_own_numbers() {
        for line in include_str!("../../testdata/cosines.jsonl").lines() {
            let (a, b, expected): (String, String, f32) = serde_json::from_str(line).unwrap();
            let found = cosine(&embed(&a).unwrap(), &embed(&b).unwrap());
            assert!((found - expected).abs() < 0.01, "{a:?} and {b:?}: {found}, and not {expected}");
        }
    }

    #[test]
    fn a_vector_of_any_size_keeps_its_direction() {
        let mut random = fastrand::Rng::with_seed(3);
        for size in [1, 7, 256, 384, 1536, 4096] {
            let one: Vec<f32> = (0..size).map(|_| random.f32() - 0.5).collect();
            let other: Vec<f32> = one.iter().map(|value| value * 1000.0 + 300.0 * (random.f32() - 0.5)).collect();
            let product =
                |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(one, other)| one * other).sum::<f32>();
            let exact = product(&one, &other) / (product(&one, &one) * product(&other, &other)).sqrt();
            let found = cosine(&quantised(&one).unwrap(), &quantised(&other).unwrap());
            assert!((found - exact).abs() < 0.01, "{size}: {found}, and not {exact}");
        }
        for nothing in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY]] {
            assert!(quantised(nothing).is_none(), "{nothing:?}");
        }
    }

    #[test]
    fn a_text_of_nothing_known_has_no_vector() {
        for text in ["", " \n", "\u{0}", "\u{fffd}", "😀"] {
            assert!(embed(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_looked_at_up_to_a_bound() {
        let words = "How many grains of sand are there? ".repeat(100_000);
        assert_eq!(cut_all(&words).len(), MAX_PIECES);
        assert!(cut_all(&format!("{}sand", " ".repeat(MAX_BYTES))).is_empty());
        assert!(embed(&"é".repeat(1_000_000)).is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_vector_or_none(text in "\\PC*") {
            if let Some(vector) = embed(&text) {
                proptest::prop_assert!((cosine(&vector, &vector) - 1.0).abs() < 1e-5, "a vector without a direction");
            }
        }
    }
}
