//! The text of a key: how one is made, and how what a caller shows is told from what cannot be one.
//!
//! `llmgw_`, 43 characters that spell 256 random bits, 6 that spell a checksum of all before them: letters, digits and one
//! underscore, so that a double click selects it whole, and a scanner for leaked secrets knows it by its look and, without
//! asking anybody, from a text that only looks like one.

use gateway_core::access::KeyHash;
use gateway_core::limits::KEY_TEXT_BYTES;
use gateway_core::secret::Secret;
use sha2::{Digest, Sha256};

const PREFIX: &str = "llmgw_";
const RANDOM_BYTES: usize = 32;
/// Digits of base 62 that hold 256 bits, and those that hold 32.
const RANDOM_DIGITS: usize = 43;
const CHECKSUM_DIGITS: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// What people are shown of a key to know it by.
const LAST: usize = 4;

/// A key that was just made: the only moment in which its text is known.
#[derive(Debug)]
pub struct Minted {
    pub text: Secret,
    pub hash: KeyHash,
    /// Its last four characters.
    pub last_four: String,
}

/// What was shown as a key cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Makes a key. Fails only where the system gives no randomness.
pub fn mint() -> Result<Minted, getrandom::Error> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random)?;
    Ok(spell(&random))
}

fn spell(random: &[u8; RANDOM_BYTES]) -> Minted {
    let mut text = format!("{PREFIX}{}", base62(random, RANDOM_DIGITS));
    text += &checksum(&text);
    let last_four = text[text.len() - LAST..].to_owned();
    Minted { hash: hash(&text), last_four, text: Secret::new(text) }
}

/// The hash to look up for what a caller shows, if it can be a key. Keys that operators have thought of themselves look as
/// they like; what begins as ours do must be one to the last character.
pub fn read(text: &str) -> Result<KeyHash, Malformed> {
    let fits = !text.is_empty() && text.len() <= KEY_TEXT_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits || (text.starts_with(PREFIX) && !is_ours(text)) {
        return Err(Malformed);
    }
    Ok(hash(text))
}

fn is_ours(text: &str) -> bool {
    let at = PREFIX.len() + RANDOM_DIGITS;
    text.len() == at + CHECKSUM_DIGITS
        && text[PREFIX.len()..].bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text[at..] == checksum(&text[..at])
}

fn hash(text: &str) -> KeyHash {
    KeyHash(Sha256::digest(text).into())
}

/// The first 32 bits of the SHA-256.
fn checksum(text: &str) -> String {
    base62(&hash(text).0[..4], CHECKSUM_DIGITS)
}

/// A random name of so many characters, for what is no secret.
pub fn random_name(length: usize) -> Result<String, getrandom::Error> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random)?;
    let mut name = base62(&random, RANDOM_DIGITS);
    // The first digit is seldom a large one.
    name.drain(..RANDOM_DIGITS - length.min(RANDOM_DIGITS - 1));
    Ok(name)
}

/// A number, most significant byte first, in so many digits.
fn base62(number: &[u8], digits: usize) -> String {
    let mut number = number.to_vec();
    let mut text = vec![DIGITS[0]; digits];
    for digit in text.iter_mut().rev() {
        let mut rest = 0;
        for byte in &mut number {
            let part = rest * 256 + u32::from(*byte);
            *byte = (part / 62) as u8;
            rest = part % 62;
        }
        *digit = DIGITS[rest as usize];
    }
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_has_the_look_that_is_documented() {
        // What docs/keys.md tells authors of scanners.
        let key = spell(&[0; 32]);
        let text = key.text.expose();
        assert_eq!(text, "llmgw_00000000000000000000000000000000000000000003kitlf");
        assert_eq!(spell(&[255; 32]).text.expose().len(), 55);
    }

    #[test]
    fn no_two_keys_are_the_same_and_none_is_printed() {
        let (one, other) = (mint().unwrap(), mint().unwrap());
        assert_ne!(one.hash, other.hash);
        assert_ne!(one.text, other.text);
        let shown = format!("{one:?}");
        assert!(!shown.contains(&one.text.expose()[6..49]), "{shown}");
        assert_eq!(random_name(12).unwrap().len(), 12);
    }

    #[test]
    fn what_an_operator_made_is_a_key_and_what_is_too_long_or_not_visible_is_none() {
        assert_eq!(read("my-own-key").unwrap().0, <[u8; 32]>::from(Sha256::digest("my-own-key")));
        for none in ["", "a b", "a\n", "schlüssel", "llmgw_", "llmgw_short", &"k".repeat(KEY_TEXT_BYTES + 1)] {
            assert_eq!(read(none), Err(Malformed), "{none:?}");
        }
        assert!(read(&"k".repeat(KEY_TEXT_BYTES)).is_ok());
    }

    proptest! {
        #[test]
        fn every_key_passes_its_own_check(random in any::<[u8; 32]>()) {
            let key = spell(&random);
            prop_assert_eq!(read(key.text.expose()), Ok(key.hash));
            prop_assert!(key.text.expose().ends_with(&key.last_four));
        }

        #[test]
        fn different_bits_are_different_texts(one in any::<[u8; 32]>(), other in any::<[u8; 32]>()) {
            prop_assert_eq!(one == other, spell(&one).text == spell(&other).text);
        }

        /// A typing error, in the checksum or before it, is seen without asking anybody. (One of four billion is not.)
        #[test]
        fn a_key_with_another_character_is_none(random in any::<[u8; 32]>(), at in 6..55_usize, with in 0..62_usize) {
            let mut text = spell(&random).text.expose().to_owned().into_bytes();
            prop_assume!(text[at] != DIGITS[with]);
            text[at] = DIGITS[with];
            prop_assert_eq!(read(std::str::from_utf8(&text).unwrap()), Err(Malformed));
        }

        #[test]
        fn a_key_that_was_cut_or_grew_is_none(random in any::<[u8; 32]>(), cut in 6..55_usize, more in "[0-9A-Za-z]{1,9}") {
            let text = spell(&random).text.expose().to_owned();
            prop_assert_eq!(read(&text[..cut]), Err(Malformed));
            prop_assert_eq!(read(&(text + &more)), Err(Malformed));
        }

        #[test]
        fn nothing_that_is_shown_breaks_it(text in ".{0,600}") {
            let _ = read(&text);
            let _ = read(&format!("{PREFIX}{text}"));
        }
    }
}
