//! Identifiers and filler in the vendors' alphabets, from a seed.

use std::hash::{DefaultHasher, Hash, Hasher};

use fastrand::Rng;

const ALPHANUMERIC: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A generator that depends on nothing but its seeds.
pub(crate) fn rng(seed: u64, of: impl Hash) -> Rng {
    Rng::with_seed(hash((seed, of)))
}

/// The same for the same value in every process: `DefaultHasher::new` has fixed keys.
pub(crate) fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn id(prefix: &str, alphabet: &[u8], length: usize, rng: &mut Rng) -> String {
    let mut id = String::with_capacity(prefix.len() + length);
    id.push_str(prefix);
    push_random(&mut id, alphabet, length, rng);
    id
}

fn push_random(into: &mut String, alphabet: &[u8], length: usize, rng: &mut Rng) {
    let mut bits = 0;
    for position in 0..length {
        if position % 8 == 0 {
            bits = rng.u64(..);
        }
        into.push(char::from(alphabet[(bits & 0xff) as usize % alphabet.len()]));
        bits >>= 8;
    }
}

pub(crate) fn chat_completion(rng: &mut Rng) -> String {
    id("chatcmpl-", ALPHANUMERIC, 29, rng)
}

pub(crate) fn openai_call(rng: &mut Rng) -> String {
    id("call_", ALPHANUMERIC, 24, rng)
}

pub(crate) fn openai_request(rng: &mut Rng) -> String {
    id("req_", HEX, 32, rng)
}

pub(crate) fn fingerprint(rng: &mut Rng) -> String {
    id("fp_", HEX, 10, rng)
}

pub(crate) fn message(rng: &mut Rng) -> String {
    id("msg_01", BASE58, 22, rng)
}

pub(crate) fn anthropic_call(rng: &mut Rng) -> String {
    id("toolu_01", BASE58, 22, rng)
}

pub(crate) fn anthropic_request(rng: &mut Rng) -> String {
    id("req_011C", BASE58, 20, rng)
}

/// What closes a thinking block; opaque to clients, who must send it back unchanged.
pub(crate) fn signature(rng: &mut Rng) -> String {
    let bytes: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(150).collect();
    base64(&bytes)
}

/// Filler that hides the length of a chunk.
pub(crate) fn push_obfuscation(into: &mut String, rng: &mut Rng) {
    let length = rng.usize(1..16);
    push_random(into, ALPHANUMERIC, length, rng);
}

/// Standard alphabet, padded.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) & 0x3f;
            text.push(if place <= group.len() { char::from(BASE64[sextet as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_pads_as_the_standard_says() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(super::base64(bytes.as_bytes()), text);
        }
    }
}
