//! Characters that say the same in two spellings become one, before a text is cut into words.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// The text with composed characters (NFC), plain quotes, dashes and spaces, and full-width letters narrowed.
///
/// Not NFKC as a whole: that turns `x²` into `x2` and `½` into three characters, and those are other questions.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let composed: Cow<'_, str> =
        if is_nfc_quick(text.chars()) == IsNormalized::Yes { Cow::Borrowed(text) } else { text.nfc().collect() };
    // Half-width kana: their marks of voice are characters of their own.
    let composed: Cow<'_, str> = if composed.chars().any(|char| matches!(char, '\u{ff65}'..='\u{ff9f}')) {
        composed.nfkc().collect()
    } else {
        composed
    };
    let mut folded = String::with_capacity(composed.len());
    for (at, char) in composed.char_indices() {
        match char {
            '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => folded.push(' '),
            // Soft hyphens, joiners and marks of direction show nothing.
            '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}' | '\u{feff}' => {}
            '‘' | '’' | '‚' | '‛' | 'ʼ' | '´' => folded.push('\''),
            '“' | '”' | '„' | '‟' => folded.push('"'),
            '‐' | '‑' | '‒' | '–' | '−' => folded.push('-'),
            '—' | '―' => folded.push_str(" - "),
            '…' => folded.push_str("..."),
            '\u{ff01}'..='\u{ff5e}' => folded.push(char::from_u32(char as u32 - 0xfee0).unwrap_or(char)),
            // The Swiss write "ss", but "in Maßen" is not "in Massen".
            'ß' if !kept(&composed[at..], &folded) => folded.push_str("ss"),
            'ﬁ' => folded.push_str("fi"),
            'ﬂ' => folded.push_str("fl"),
            _ => folded.push(char),
        }
    }
    Cow::Owned(folded)
}

/// Whether "ß" is all that tells a word from another frequent one: "Maße" and "Masse", "Buße" and "Busse".
fn kept(rest: &str, before: &str) -> bool {
    let start = before.char_indices().rev().find(|(_, char)| !char.is_alphabetic());
    let head = before.get(start.map_or(0, |(at, char)| at + char.len_utf8())..).unwrap_or_default();
    let tail = rest.split(|char: char| !char.is_alphabetic()).next().unwrap_or_default();
    matches!(head, "Ma" | "ma" | "Bu" | "bu") && matches!(tail, "ße" | "ßen")
}
