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
const SCHEME: &str = "llm-gateway cache 1";

/// BLAKE3, 256 bits. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Of one thing of a kind: `Hash::of("key", id)`. Things of different kinds are different.
    pub fn of(kind: &str, thing: &[u8]) -> Hash {
        let mut state = blake3::Hasher::new();
        put(&mut state, SCHEME.as_bytes());
        put(&mut state, kind.as_bytes());
        put(&mut state, thing);
        Hash(*state.finalize().as_bytes())
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
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
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
#[derive(Debug)]
pub struct Hasher {
    state: blake3::Hasher,
    tenant: Hash,
}

/// What follows the name of a field.
const ONE: u8 = 1;
const LIST: u8 = 2;
const QUESTION: u8 = 3;

impl Hasher {
    /// `version`: of the configuration and of whatever else decides about answers; `tenant`: those who share answers.
    pub fn new(version: &str, tenant: Hash) -> Hasher {
        let mut state = blake3::Hasher::new();
        put(&mut state, SCHEME.as_bytes());
        put(&mut state, b"request");
        put(&mut state, version.as_bytes());
        state.update(&tenant.0);
        Hasher { state, tenant }
    }

    /// A field that was set. One that was not is left out, and so is different from one that is empty.
    pub fn field(&mut self, name: &str, value: &[u8]) -> &mut Hasher {
        put(&mut self.state, name.as_bytes());
        self.state.update(&[ONE]);
        put(&mut self.state, value);
        self
    }

    /// A field of several values: messages, tools, names.
    pub fn list<'a>(&mut self, name: &str, values: impl ExactSizeIterator<Item = &'a [u8]>) -> &mut Hasher {
        put(&mut self.state, name.as_bytes());
        self.state.update(&[LIST]);
        self.state.update(&(values.len() as u64).to_le_bytes());
        values.for_each(|value| put(&mut self.state, value));
        self
    }

    /// The last message, as it was sent, and its text where it is plain text alone and may be found in other words.
    pub fn question(mut self, last: &[u8], text: Option<Text>) -> Question {
        let partition = Hash(*self.state.finalize().as_bytes());
        self.state.update(&[QUESTION]);
        put(&mut self.state, last);
        let exact = Hash(*self.state.finalize().as_bytes());
        Question { tenant: self.tenant, partition, exact, text }
    }
}

fn put(state: &mut blake3::Hasher, bytes: &[u8]) {
    state.update(&(bytes.len() as u64).to_le_bytes());
    state.update(bytes);
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

    /// Where the text may be found in other words. The embedding knows no text that it does not cover.
    pub(crate) fn direction(&self, mode: Mode) -> Option<&Vector> {
        let text = self.text.as_ref()?;
        match mode {
            Mode::Strict if text.prepared().coverage() != Coverage::Semantic => None,
            Mode::Strict | Mode::Cosine | Mode::Shadow => text.vector(),
        }
    }
}

/// A text of the user, with what is made of it once, when somebody first needs it.
#[derive(Debug)]
pub struct Text {
    text: Box<str>,
    prepared: OnceLock<Arc<Prepared>>,
    vector: OnceLock<Option<Box<Vector>>>,
}

impl Text {
    /// `None`: too long to be judged ([`CACHE_TEXT_BYTES`]), found again as it was said alone.
    pub fn new(text: &str) -> Option<Text> {
        (text.len() <= CACHE_TEXT_BYTES).then(|| Text {
            text: text.into(),
            prepared: OnceLock::new(),
            vector: OnceLock::new(),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn prepared(&self) -> &Arc<Prepared> {
        self.prepared.get_or_init(|| Arc::new(Prepared::new(&self.text)))
    }

    pub(crate) fn vector(&self) -> Option<&Vector> {
        self.vector.get_or_init(|| embedder::embed(&self.text).map(Box::new)).as_deref()
    }
}
