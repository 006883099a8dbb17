//! Which language a text is in, by the small words of it. When in doubt, none.

use std::sync::LazyLock;

use gateway_cache_data::words::{self, Language};

use super::hash::{ByWord, word_hash};
use super::tokens::{Case, Kind, Tokens};

/// Languages with Latin letters, and their most frequent small words. Those that are not judged are here to be told apart.
const SMALL_WORDS: &str = include_str!("small_words.txt");

const QUESTION_WORDS: &str = include_str!("question_words.txt");

/// The rows of the table, in this order.
const JUDGED: [(&str, Language); 5] = [
    ("en", Language::English),
    ("es", Language::Spanish),
    ("fr", Language::French),
    ("de", Language::German),
    ("pt", Language::Portuguese),
];

struct Tables {
    /// For each word a bit for each language that has it; the first five are [`JUDGED`].
    languages: ByWord<u32>,
    count: usize,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut tables = Tables { languages: ByWord::default(), count: 0 };
    for line in SMALL_WORDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((_, words)) = line.split_once(": ") else { continue };
        for word in words.split_whitespace() {
            *tables.languages.entry(word_hash(word)).or_default() |= 1 << tables.count;
        }
        tables.count += 1;
    }
    tables
});

/// More languages than this in the table would not fit its bits.
const MOST: usize = 32;

/// The language of a text: one that is judged, and clearly no other. Words that belong to several languages speak for each
/// of them; the best must be ahead of all others, and most words that are not names must be known in it.
pub(crate) fn language(tokens: &Tokens) -> Option<Language> {
    let tables = &*TABLES;
    let mut points = [0_u32; MOST];
    let capitals = tokens.tokens.iter().filter(|token| token.kind == Kind::Word && token.case != Case::Lower).count();
    let titled = capitals * 5 > tokens.tokens.len() * 4;
    let mut words = 0_u32;
    let mut met: Vec<u32> = Vec::new();
    for (at, token) in tokens.tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::Word) {
        words += 1;
        // A letter before a hyphen is no small word: "e-mail".
        if token.len == 1 && tokens.tokens.get(at + 1).is_some_and(|next| next.joined) {
            continue;
        }
        // A name may be any word of another language.
        if !titled && token.case == Case::Capital && !token.first && token.len > 1 {
            continue;
        }
        let next = tokens.tokens.get(at + 1).map(|next| tokens.str(next));
        for language in own_letters(tokens.str(token), token.first, next) {
            points[*language as usize] += OWN_LETTERS;
        }
        let small = tables.languages.get(&token.hash).or_else(|| {
            // "l'eau", "dell'arte": what is before the apostrophe is a small word.
            tables.languages.get(&word_hash(tokens.str(token).split_once('\'')?.0))
        });
        let Some(bits) = small else { continue };
        met.push(*bits);
        // A word of one language alone says more than one of many.
        let weight = match bits.count_ones() {
            1 => 6,
            2 => 3,
            3 => 2,
            _ => 1,
        };
        for (language, points) in points.iter_mut().enumerate().take(tables.count) {
            if bits & (1 << language) != 0 {
                *points += weight;
            }
        }
    }
    if words == 0 {
        return None;
    }
    let mut judged: Vec<(Language, u32)> =
        JUDGED.iter().zip(points).map(|((_, language), points)| (*language, points)).collect();
    judged.sort_by_key(|(_, points)| std::cmp::Reverse(*points));
    let (best, most) = judged[0];
    let other = points.iter().skip(JUDGED.len()).copied().max().unwrap_or(0).max(judged[1].1);
    // Small words that are none in it are of another language: the text is in two.
    let foreign = met.iter().filter(|bits| *bits & (1 << best as u32) == 0).count();
    if foreign >= 2 && foreign * 4 >= words as usize {
        return None;
    }
    // Without small words, as in a row of keywords, or with those that several languages share, the other words decide.
    // Spanish and Portuguese share so many that a few more of one say little.
    let neighbours = matches!(
        (best, judged[1].0),
        (Language::Spanish, Language::Portuguese) | (Language::Portuguese, Language::Spanish)
    );
    if neighbours
        && other * 10 > most * 6
        && judged[1].1 == other
        && let Some(language) = by_vocabulary(tokens, &points, most)
    {
        return Some(language);
    }
    if most <= other || other * 10 > most * 9 {
        return if most + 1 >= other { by_vocabulary(tokens, &points, most) } else { None };
    }
    let (known, asked) = known(tokens, best, false);
    // A text in two languages has many words that its own does not know.
    let strange = asked - known;
    (strange * 2 <= words && (strange <= 1 || strange * 3 <= asked * 2)).then_some(best)
}

/// Whether the words of a text of any language say by themselves that they ask.
pub(crate) fn asks(text: &str, tokens: &Tokens) -> bool {
    static WORDS: LazyLock<(ByWord<()>, Vec<&str>)> = LazyLock::new(|| {
        let row = |name: &str| QUESTION_WORDS.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let words = row("words: ").split_whitespace().map(|word| (word_hash(word), ())).collect();
        (words, row("inside: ").split_whitespace().collect())
    });
    let (words, inside) = &*WORDS;
    tokens.tokens.iter().any(|token| words.contains_key(&token.hash)) || inside.iter().any(|word| text.contains(word))
}

/// Points of a word that is written as in these languages alone.
const OWN_LETTERS: u32 = 3;

/// The judged languages that have such letters; and "o que", which asks in Portuguese, and in Spanish begins nothing.
fn own_letters(word: &str, first: bool, next: Option<&str>) -> &'static [Language] {
    use Language::{French, Portuguese, Spanish};
    if word.contains('ñ') {
        &[Spanish]
    } else if word.contains(['ã', 'õ']) || (first && word == "o" && next == Some("que")) {
        &[Portuguese]
    } else if word.contains(['è', 'œ', 'û', 'î']) {
        &[French]
    } else if word.contains(['ê', 'ô', 'â', 'ç']) {
        &[French, Portuguese]
    } else {
        &[]
    }
}

/// Whether a German word that no list has is made of two that it has: they are made at will.
fn compound(word: &str) -> bool {
    const SHORTEST: usize = 4;
    let words = words::of(Language::German);
    let noun = |part: &str| part.len() >= SHORTEST && words.analyses(part).next().is_some();
    word.char_indices().any(|(at, _)| {
        let (one, other) = word.split_at(at);
        noun(other)
            && (noun(one) || ["s", "n", "en", "es"].iter().any(|joint| one.strip_suffix(joint).is_some_and(noun)))
    })
}

/// How many of the words that are no names the language knows, and how many there are.
/// `own`: words that its dictionary has borrowed without a meaning do not count.
fn known(tokens: &Tokens, language: Language, own: bool) -> (u32, u32) {
    let words = words::of(language);
    let mut known = 0;
    let mut asked = 0;
    for token in tokens.tokens.iter().filter(|token| token.kind == Kind::Word) {
        let name = matches!(token.case, Case::Upper | Case::Mixed) || (token.case == Case::Capital && !token.first);
        if token.len == 1 || (name && language != Language::German) {
            continue;
        }
        asked += 1;
        let word = tokens.str(token);
        // A small word of other languages is none here, whatever a dictionary has.
        known += u32::from(match TABLES.languages.get(&token.hash) {
            Some(bits) => bits & (1 << language as u32) != 0,
            None if own => words.analyses(word).next().is_some() || (language == Language::German && compound(word)),
            None => words.known(word) || word.contains('\''),
        });
    }
    (known, asked)
}

/// By the words that are not small: one language must know most of them, and clearly more than any other does.
fn by_vocabulary(tokens: &Tokens, points: &[u32], most: u32) -> Option<Language> {
    let mut counts: Vec<(Language, u32, u32, u32)> = JUDGED
        .iter()
        .map(|(_, language)| {
            let (known, asked) = known(tokens, *language, true);
            (*language, known, asked, frequent(tokens, *language))
        })
        .collect();
    // The largest share of known words, the most of them, and then the most frequent ones.
    counts.sort_by(|(_, known, asked, often), (_, other, others, frequent)| {
        (other * asked).cmp(&(known * others)).then(other.cmp(known)).then(frequent.cmp(often))
    });
    let (language, known, asked, often) = counts[0];
    let (_, second, of, less) = counts[1];
    let ahead = known * of > second * asked || known > second || often > less;
    let strange = asked - known;
    // A row of two or three keywords may have one that no list has.
    let enough = known >= 2 && strange * 2 <= asked || known == 1 && strange <= 1 && second == 0;
    // The small words must not speak for another one; where they speak for several, it is one of these.
    (enough && ahead && points[language as usize] + OWN_LETTERS >= most).then_some(language)
}

/// How many of the words are frequent in a language; small words have had their say, but for "o", which is mostly the article of
/// Portuguese where nothing else decides.
fn frequent(tokens: &Tokens, language: Language) -> u32 {
    let words = words::of(language);
    let often = |word: &str| match word {
        "o" => language == Language::Portuguese,
        _ => words.lemma(word).is_some_and(|lemma| words.rank_below(lemma).is_some()),
    };
    tokens.tokens.iter().filter(|token| token.kind == Kind::Word && often(tokens.str(token))).count() as u32
}
