//! The files are those that the README tells the story of, and say what dictionaries say.

#![allow(clippy::panic, reason = "tests")]

use std::{fs, path::Path};

use gateway_cache_data::{
    Language, model,
    words::{self, Inflection, Lemma, Part},
};
use sha2::{Digest, Sha256};

const MOST_BYTES: u64 = 10_000_000;

fn lemma(language: Language, word: &str) -> Lemma {
    words::of(language).lemma(word).unwrap_or_else(|| panic!("{word} has no lemma"))
}

fn english(word: &str) -> Lemma {
    lemma(Language::English, word)
}

#[test]
fn the_files_are_those_of_the_readme() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(crate_root.join("README.md")).unwrap();
    let table = readme.split("<!-- files -->").nth(1).unwrap();
    let mut total = 0;
    let mut files = 0;
    for row in table.lines().filter(|line| line.contains('`')) {
        let [_, file, bytes, hash, _] = row.split('|').map(str::trim).collect::<Vec<_>>()[..] else { panic!("{row}") };
        let found = fs::read(crate_root.join("data").join(file)).unwrap();
        let found_hash = Sha256::digest(&found).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            (found.len().to_string(), found_hash.as_str()),
            (bytes.replace(',', ""), hash.trim_matches('`')),
            "{file}"
        );
        total += found.len() as u64;
        files += 1;
    }
    assert_eq!(files, 2 + 5 * Language::ALL.len(), "{table}");
    assert!(total <= MOST_BYTES, "{total} bytes are too many for the binary");
}

#[test]
fn inflections_lead_to_lemmas() {
    use Inflection::{
        Comparative, Conditional, Feminine, Future, Gerund, Imperfect, Participle, Past, Plural, Present, Superlative,
        Third,
    };
    for (language, form, of, inflection) in [
        (Language::English, "batteries", "battery", Plural),
        (Language::English, "wrote", "write", Past),
        (Language::English, "stopping", "stop", Gerund),
        (Language::English, "tries", "try", Third),
        (Language::English, "bigger", "big", Comparative),
        (Language::English, "best", "good", Superlative),
        (Language::English, "was", "be", Past),
        (Language::English, "looked up", "look up", Past),
        (Language::Spanish, "servidores", "servidor", Plural),
        (Language::Spanish, "hablará", "hablar", Future),
        (Language::Spanish, "pudo", "poder", Past),
        (Language::Spanish, "puedo", "poder", Present),
        (Language::French, "fichiers", "fichier", Plural),
        (Language::French, "redémarrait", "redémarrer", Imperfect),
        (Language::French, "finirais", "finir", Conditional),
        (Language::French, "nouvelle", "nouveau", Feminine),
        (Language::German, "gemacht", "machen", Participle),
        (Language::German, "schnellste", "schnell", Superlative),
        (Language::Portuguese, "senhas", "senha", Plural),
        (Language::Portuguese, "instalei", "instalar", Past),
    ] {
        let found = words::of(language).analyses(form).any(|analysis| {
            analysis.lemma == lemma(language, of)
                && analysis.inflection == inflection
                && [analysis.text.0, analysis.text.1].concat() == of
        });
        assert!(found, "{form}: {:?}", words::of(language).analyses(form).collect::<Vec<_>>());
    }
}

/// Where a tense would be taken for another, a different question would be answered.
#[test]
fn a_past_is_no_present() {
    for (language, past) in [
        (Language::English, "did"),
        (Language::Spanish, "pudo"),
        (Language::Spanish, "vine"),
        (Language::Spanish, "instalé"),
        (Language::French, "installait"),
        (Language::German, "machte"),
        (Language::Portuguese, "pude"),
        (Language::Portuguese, "instalou"),
    ] {
        let readings = words::of(language).analyses(past).filter(|analysis| analysis.part == Part::Verb);
        let tenses = readings.map(|analysis| analysis.inflection).collect::<Vec<_>>();
        assert!(!tenses.is_empty(), "{past}");
        assert!(
            !tenses.iter().any(|tense| matches!(tense, Inflection::Base | Inflection::Present)),
            "{past}: {tenses:?}"
        );
    }
}

#[test]
fn spellings_of_one_word_have_one_lemma() {
    for (one, other) in
        [("colour", "color"), ("organised", "organize"), ("centres", "center"), ("travelling", "travel")]
    {
        assert_eq!(english(one), english(other), "{one}");
    }
    for (swiss, german) in [("strasse", "straße"), ("schliesst", "schließen"), ("grosse", "groß")] {
        assert_eq!(lemma(Language::German, swiss), lemma(Language::German, german), "{swiss}");
    }
    assert!(words::english().analyses("colour").all(|analysis| analysis.variant));
    assert!(words::english().analyses("color").all(|analysis| !analysis.variant));
}

#[test]
fn synonyms_share_a_usual_meaning_of_both() {
    let english_words = words::english();
    let least = |a, b| english_words.synonyms(english(a), english(b)).map_or(0.0, |shared| shared.least());
    for (a, b) in [
        ("buy", "purchase"),
        ("car", "automobile"),
        ("start", "begin"),
        ("switch off", "turn off"),
        ("photo", "photograph"),
    ] {
        assert!(least(a, b) > 0.5, "{a} and {b}: {}", least(a, b));
        assert_eq!(least(a, b), least(b, a));
    }
    for (a, b) in [("dog", "frank"), ("hot", "cold"), ("bank", "shore"), ("printer", "scanner"), ("monday", "tuesday")]
    {
        assert!(least(a, b) < 0.1, "{a} and {b}: {}", least(a, b));
    }
    let (fix, repair) = (english("fix"), english("repair"));
    assert!(english_words.synonyms_as(Part::Verb, fix, repair).is_some());
    assert!(english_words.synonyms_as(Part::Adverb, fix, repair).is_none());
}

#[test]
fn opposites_and_derived_words_are_pairs_in_both_orders() {
    let english_words = words::english();
    for (a, b) in [("hot", "cold"), ("increase", "decrease"), ("enable", "disable")] {
        assert!(
            english_words.antonyms(english(a), english(b)) && english_words.antonyms(english(b), english(a)),
            "{a} {b}"
        );
    }
    assert!(!english_words.antonyms(english("hot"), english("warm")));
    assert!(english_words.derived(english("installation"), english("install")));
    assert!(!english_words.derived(english("instal"), english("increase")));
}

#[test]
fn rare_words_and_names_are_known_and_new_ones_are_not() {
    let english_words = words::english();
    for word in ["the", "isn't", "kumquats", "lisbon", "silicone", "silicon", "whom"] {
        assert!(english_words.known(word), "{word}");
    }
    for word in ["", " ", "qwrtz", "thier", "Lisbon", "turn of the", "\u{1}"] {
        assert!(!english_words.known(word), "{word}");
    }
}

#[test]
fn frequent_words_rank_before_rare_ones() {
    let below = |language, word| words::of(language).rank_below(lemma(language, word)).unwrap_or(u32::MAX);
    assert!(below(Language::English, "house") < below(Language::English, "kumquat"));
    for (language, word) in [
        (Language::Spanish, "casa"),
        (Language::French, "maison"),
        (Language::German, "haus"),
        (Language::Portuguese, "casa"),
    ] {
        assert!(below(language, word) <= 3_000, "{word}");
    }
}

#[test]
fn the_longest_expression_is_found() {
    let expression = |words: &str| words::english().expression(&words.split(' ').collect::<Vec<_>>());
    assert_eq!(expression("turned off the light"), Some(2));
    assert_eq!(expression("united states"), Some(2));
    assert_eq!(expression("light the candle"), None);
    assert_eq!(expression(""), None);
}

#[test]
fn the_model_has_a_row_for_each_piece() {
    let (length, row) = model::longest_piece(b"Kettles", false).unwrap();
    assert_eq!(length, "kettle".len());
    assert_eq!(model::longest_piece(b"s", true).map(|(length, _)| length), Some(1));
    assert_eq!(model::longest_piece("\u{1f600}".as_bytes(), false), None);
    assert_eq!(model::longest_piece(b"", false), None);
    let mut sum = model::Sum::new();
    assert!(sum.direction().iter().all(|value| *value == 0.0));
    sum.add(u16::MAX);
    assert!(sum.direction().iter().all(|value| *value == 0.0), "there is no such row");
    for _ in 0..2 * model::Sum::MAX_ROWS {
        sum.add(row);
    }
    let (many, one) = (sum.direction(), {
        let mut sum = model::Sum::new();
        sum.add(row);
        sum.direction()
    });
    let times = model::Sum::MAX_ROWS as f32;
    assert!(many.iter().zip(one).all(|(many, one)| (many / times - one).abs() <= one.abs() * 1e-5));
}
