//! Words as numbers, so that a table of rules is asked without comparing letters.

/// FNV-1a over the bytes of a word, stirred once more. Where two words must be the same, their letters are compared.
#[inline]
pub(crate) const fn word_hash(word: &str) -> u64 {
    let bytes = word.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash ^ (hash >> 29)
}

/// Takes a [`word_hash`] as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Same(u64);

impl std::hash::Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// A map whose keys are hashes already.
pub(crate) type ByWord<V> = std::collections::HashMap<u64, V, std::hash::BuildHasherDefault<Same>>;
