//! What a question is: hashes of all that must be equal, and the one text that may be said in other words.
//!
//! Everything that is hashed has its length before it, and a list its count, so that no two requests can run into each other:
//! `("ab", "c")` is not `("a", "bc")`. The version of all that decides (this crate, the verifier, the configuration) comes first,
//! so that what an older one stored is never found.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use gateway_core::limits::CACHE_TEXT_BYTES;

use crate::cache::Mode;
use crate::semantic::embedder::{self, Vector};
use crate::semantic::verifier::{Coverage, Prepared};

/// The hash and its rules; another number where either changes.
const SCHEME: &str = "llm-gateway cache 2";

/// BLAKE3, 256 bits. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Of one thing of a kind: `Hash::of("key", id)`. Things of different kinds are different.
    pub fn of(kind: &str, thing: &[u8]) -> Hash {
        let mut bytes = Vec::with_capacity(SCHEME.len() + kind.len() + thing.len() + 16);
        [SCHEME.as_bytes(), kind.as_bytes(), thing].iter().for_each(|part| put(&mut bytes, part));
        Hash(*blake3::hash(&bytes).as_bytes())
    }

    /// Of two hashes in this order, apart from every other use of them.
    pub(crate) fn both(kind: &str, first: Hash, second: Hash) -> Hash {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&first.0);
        bytes[32..].copy_from_slice(&second.0);
        Hash::of(kind, &bytes)
    }

    pub fn from_bytes(bytes: [u8; 32]) -> Hash {
        Hash(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Hash, NotAHash> {
        let parsed = blake3::Hash::from_hex(text).map_err(|_| NotAHash)?;
        Ok(Hash(*parsed.as_bytes()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAHash;

impl fmt::Display for NotAHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is not the name of a cached answer: 64 hexadecimal digits")
    }
}

impl std::error::Error for NotAHash {}

/// Takes all of a request that must be equal, field by field. The same fields in another order are another request: who calls
/// this has an order of its own (a table, or sorted names).
///
/// Short values are written one after the other and hashed at once: most requests are all short, and to hash each by itself
/// takes as long again.
#[derive(Debug)]
pub struct Hasher {
    bytes: Vec<u8>,
    /// What came before `bytes`, where a value was long.
    before: Option<Box<blake3::Hasher>>,
    tenant: Hash,
}

/// What follows the name of a field.
const ONE: u8 = 1;
const LIST: u8 = 2;
const QUESTION: u8 = 3;

/// A longer value is hashed where it lies.
const SHORT_BYTES: usize = 4096;
/// As much as the short values of most requests take.
const USUAL_BYTES: usize = 2048;

impl Hasher {
    /// `version`: of the configuration and of whatever else decides about answers; `tenant`: those who share answers.
    pub fn new(version: Hash, tenant: Hash) -> Hasher {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        bytes.extend_from_slice(&version.0);
        bytes.extend_from_slice(&tenant.0);
        Hasher { bytes, before: None, tenant }
    }

    /// A field that was set. One that was not is left out, and so is different from one that is empty.
    pub fn field(&mut self, name: impl AsRef<[u8]>, value: &[u8]) -> &mut Hasher {
        put(&mut self.bytes, name.as_ref());
        self.bytes.push(ONE);
        self.value(value);
        self
    }

    /// A field of several values: messages, tools, names.
    pub fn list<'a>(&mut self, name: &str, values: impl ExactSizeIterator<Item = &'a [u8]>) -> &mut Hasher {
        put(&mut self.bytes, name.as_bytes());
        self.bytes.push(LIST);
        put_length(&mut self.bytes, values.len());
        values.for_each(|value| self.value(value));
        self
    }

    /// The last message, as it was sent, and its text where it is plain text alone and may be found in other words.
    pub fn question(mut self, last: &[u8], text: Option<Text>) -> Question {
        let partition = self.hash();
        self.bytes.extend_from_slice(&partition.0);
        self.bytes.push(QUESTION);
        self.value(last);
        let exact = self.hash();
        Question { tenant: self.tenant, partition, exact, text }
    }

    fn value(&mut self, value: &[u8]) {
        if value.len() <= SHORT_BYTES {
            return put(&mut self.bytes, value);
        }
        put_length(&mut self.bytes, value.len());
        self.before.get_or_insert_default().update(&self.bytes).update(value);
        self.bytes.clear();
    }

    /// Of all that was told; what is told from now on is another thing.
    fn hash(&mut self) -> Hash {
        let hash = match self.before.take() {
            None => blake3::hash(&self.bytes),
            Some(mut before) => before.update(&self.bytes).finalize(),
        };
        self.bytes.clear();
        Hash(*hash.as_bytes())
    }
}

fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    put_length(to, bytes.len());
    to.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first; the last byte is the one below 128.
fn put_length(to: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        to.push(length as u8 | 0x80);
        length >>= 7;
    }
    to.push(length as u8);
}

/// What is asked of the cache. Kept by the caller from the look-up until the answer is stored, so that its text is prepared once.
#[derive(Debug)]
pub struct Question {
    /// Those who share answers.
    pub tenant: Hash,
    /// All but the last message. Two questions of different partitions never share an answer.
    pub partition: Hash,
    /// All of it.
    pub exact: Hash,
    /// What the user said last, where it may be found in other words.
    pub text: Option<Text>,
}

impl Question {
    /// The name of the normal form of the text, where it may be found by that.
    pub(crate) fn canonical(&self) -> Option<Hash> {
        let prepared = self.text.as_ref()?.prepared();
        match prepared.coverage() {
            Coverage::Exact(_) => None,
            Coverage::Canonical | Coverage::Semantic => {
                Some(Hash::both("canonical", self.partition, prepared.canonical()?))
            }
        }
    }

    /// What questions have in common that differ in their form alone.
    pub(crate) fn identity(&self) -> Hash {
        self.canonical().unwrap_or(self.exact)
    }

    /// Whether the text may be found in other words. The embedding knows no text that it does not cover.
    pub(crate) fn is_covered(&self, mode: Mode) -> bool {
        self.text.as_ref().is_some_and(|text| match mode {
            Mode::Strict => text.prepared().coverage() == Coverage::Semantic,
            Mode::Cosine | Mode::Shadow => true,
        })
    }

    /// Where that is.
    pub(crate) fn direction(&self, mode: Mode) -> Option<&Vector> {
        self.text.as_ref().filter(|_| self.is_covered(mode))?.vector()
    }
}

/// A text of the user, with what is made of it once, when somebody first needs it.
#[derive(Debug)]
pub struct Text {
    text: Box<str>,
    prepared: OnceLock<Arc<Prepared>>,
    vector: OnceLock<Option<Box<Vector>>>,
    /// The vector is not the built-in model's.
    is_of_another: bool,
}

impl Text {
    /// `None`: too long to be judged ([`CACHE_TEXT_BYTES`]), found again as it was said alone.
    pub fn new(text: &str) -> Option<Text> {
        (text.len() <= CACHE_TEXT_BYTES).then(|| Text {
            text: text.into(),
            prepared: OnceLock::new(),
            vector: OnceLock::new(),
            is_of_another: false,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn prepared(&self) -> &Arc<Prepared> {
        self.prepared.get_or_init(|| Arc::new(Prepared::new(&self.text)))
    }

    pub(crate) fn vector(&self) -> Option<&Vector> {
        let embed = || embedder::embed(&self.text).map(|vector| Box::new(vector) as Box<Vector>);
        self.vector.get_or_init(embed).as_deref()
    }

    /// That of another model, in the place of the built-in one's. `None`: it is not to be had, and the text is not looked for in other
    /// words.
    pub fn set_vector(&mut self, vector: Option<Box<Vector>>) {
        self.vector = OnceLock::from(vector);
        self.is_of_another = true;
    }

    /// What was set; empty if that was nothing.
    pub fn vector_of_another(&self) -> Option<&Vector> {
        self.is_of_another.then(|| self.vector.get().and_then(Option::as_deref).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[&[u8]], last: &[u8]) -> [Hash; 2] {
        let mut hasher = Hasher::new(Hash::of("version", b"1"), Hash::of("key", b"k"));
        values.iter().for_each(|value| _ = hasher.field("f", value));
        let question = hasher.question(last, None);
        [question.partition, question.exact]
    }

    #[test]
    fn no_two_requests_run_into_each_other_however_long_their_values_are() {
        let bytes = vec![b'x'; 3 * SHORT_BYTES];
        let lengths = [0, 1, 0x7f, 0x80, SHORT_BYTES - 1, SHORT_BYTES, SHORT_BYTES + 1, 2 * SHORT_BYTES];
        let mut hashes = std::collections::HashSet::new();
        for first in lengths {
            for second in lengths {
                let [partition, exact] = asked(&[&bytes[..first], &bytes[..second]], b"last");
                assert!(hashes.insert(partition) && hashes.insert(exact), "{first} and {second}");
                let last = asked(&[&bytes[..first]], &bytes[..second]);
                assert!(hashes.insert(last[1]), "{first}, and last {second}");
            }
        }
        assert_eq!(asked(&[&bytes], &bytes), asked(&[&bytes], &bytes));
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = Hash::of("a", b"b");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().len(), 64);
        assert!("0".repeat(63).parse::<Hash>().is_err());
    }
}
