//! Which lemmas share a meaning and how frequent they are (`senses.bin`), and pairs of lemmas (`opposites.bin`, `derived.bin`).
//!
//! `senses.bin`, little-endian: the number of lemmas (u32), those that have senses or are frequent; their hashes, sorted (u32);
//! for every 32 of them the number of senses before (u32); for each its class of frequency (3 bits) and the number of its
//! senses (5 bits); then all senses: the meaning (u16), part of speech (2 bits), share of the lemma's uses (6 bits, of 63).
//! Pairs are two u32, the smaller first, sorted.

use std::ops::Range;

use crate::words::forms::{Lemma, Part};

const BLOCK: usize = 32;
const SENSE_BYTES: usize = 3;
const SHARES: f32 = 63.0;
/// Bounds of the classes of frequency.
const RANKS: [u32; 7] = [200, 1_000, 3_000, 6_000, 12_000, 25_000, 50_000];

/// A meaning that two words share, or several of one part of speech.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Synonymy {
    pub part: Part,
    /// How many of the uses of the first word as this part of speech mean what the second can mean, too: 0 to 1, and low for
    /// "dog" as "frank". Of WordNet's counts in tagged text where it has any, and else of the order of the senses.
    pub first: f32,
    /// The same of the second word.
    pub second: f32,
}

impl Synonymy {
    /// The lower of the two: how safe it is to read one for the other.
    #[must_use]
    pub fn least(&self) -> f32 {
        self.first.min(self.second)
    }
}

pub(super) struct Senses {
    lemmas: &'static [[u8; 4]],
    bases: &'static [[u8; 4]],
    counts: &'static [u8],
    senses: &'static [[u8; SENSE_BYTES]],
}

impl Senses {
    pub(super) fn new(bytes: &'static [u8]) -> Self {
        Self::read(bytes).unwrap_or(Self { lemmas: &[], bases: &[], counts: &[], senses: &[] })
    }

    fn read(bytes: &'static [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let count = u32::from_le_bytes(*head) as usize;
        let (lemmas, rest) = rest.split_at_checked(count * 4)?;
        let (bases, rest) = rest.split_at_checked(count.div_ceil(BLOCK) * 4)?;
        let (counts, senses) = rest.split_at_checked(count)?;
        Some(Self { lemmas: lemmas.as_chunks().0, bases: bases.as_chunks().0, counts, senses: senses.as_chunks().0 })
    }

    fn find(&self, lemma: Lemma) -> Option<usize> {
        self.lemmas.binary_search_by_key(&lemma.0, |bytes| u32::from_le_bytes(*bytes)).ok()
    }

    fn of(&self, lemma: Lemma) -> &'static [[u8; SENSE_BYTES]] {
        self.find(lemma).and_then(|at| self.senses.get(self.range(at)?)).unwrap_or_default()
    }

    fn range(&self, at: usize) -> Option<Range<usize>> {
        let count = |packed: &u8| usize::from(packed & 0x1f);
        let base = u32::from_le_bytes(*self.bases.get(at / BLOCK)?) as usize;
        let from = base + self.counts.get(at / BLOCK * BLOCK..at)?.iter().map(count).sum::<usize>();
        Some(from..from + self.counts.get(at).map(count)?)
    }

    pub(super) fn rank_below(&self, lemma: Lemma) -> Option<u32> {
        RANKS.get(usize::from(self.counts.get(self.find(lemma)?)? >> 5)).copied()
    }

    /// The best over all parts of speech: the one whose lower share is highest.
    pub(super) fn shared(&self, a: Lemma, b: Lemma, wanted: Option<Part>) -> Option<Synonymy> {
        let (mut ours, mut theirs) = (self.of(a).iter().peekable(), self.of(b).iter().peekable());
        let mut sums = [[0_u16; 2]; 4];
        while let (Some([a0, a1, a_how]), Some([b0, b1, b_how])) = (ours.peek(), theirs.peek()) {
            let (a_meaning, b_meaning) = (u16::from_le_bytes([*a0, *a1]), u16::from_le_bytes([*b0, *b1]));
            if a_meaning == b_meaning {
                let sum = &mut sums[usize::from(a_how >> 6)];
                sum[0] += u16::from(a_how & 0x3f);
                sum[1] += u16::from(b_how & 0x3f);
            }
            if a_meaning <= b_meaning {
                ours.next();
            }
            if b_meaning <= a_meaning {
                theirs.next();
            }
        }
        sums.iter()
            .enumerate()
            .filter(|(_, [first, second])| *first > 0 && *second > 0)
            .map(|(part, [first, second])| Synonymy {
                part: Part::from_number(part),
                first: (f32::from(*first) / SHARES).min(1.0),
                second: (f32::from(*second) / SHARES).min(1.0),
            })
            .filter(|found| wanted.is_none_or(|part| found.part == part))
            .max_by(|a, b| a.least().total_cmp(&b.least()))
    }
}

/// Unordered pairs of lemmas.
pub(super) struct Pairs(&'static [[u8; 8]]);

impl Pairs {
    pub(super) fn new(bytes: &'static [u8]) -> Self {
        Self(bytes.as_chunks().0)
    }

    pub(super) fn contains(&self, a: Lemma, b: Lemma) -> bool {
        let wanted = (a.0.min(b.0), a.0.max(b.0));
        self.0
            .binary_search_by_key(&wanted, |[a0, a1, a2, a3, b0, b1, b2, b3]| {
                (u32::from_le_bytes([*a0, *a1, *a2, *a3]), u32::from_le_bytes([*b0, *b1, *b2, *b3]))
            })
            .is_ok()
    }
}
