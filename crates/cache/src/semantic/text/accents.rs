//! Words as people type them who leave the accents out.

use gateway_cache_data::words::Language;

/// The word without its accents. In German, an umlaut is spelled with an "e": without its dots the word is mostly another one.
/// `None`: it has letters for which nobody types another one.
pub(crate) fn plain(word: &str, language: Language) -> Option<String> {
    let mut plain = String::with_capacity(word.len() + 2);
    for char in word.chars() {
        plain.push_str(match char {
            'ä' if language == Language::German => "ae",
            'ö' if language == Language::German => "oe",
            'ü' if language == Language::German => "ue",
            'á' | 'à' | 'â' | 'ã' | 'ä' => "a",
            'é' | 'è' | 'ê' | 'ë' => "e",
            'í' | 'ì' | 'î' | 'ï' => "i",
            'ó' | 'ò' | 'ô' | 'õ' | 'ö' => "o",
            'ú' | 'ù' | 'û' | 'ü' => "u",
            'ñ' => "n",
            'ç' => "c",
            'œ' => "oe",
            char if char.is_ascii() => {
                plain.push(char);
                continue;
            }
            _ => return None,
        });
    }
    Some(plain)
}
