//! The embedding model: a row of 256 values for each of 29,528 pieces of words. A text's vector is the mean of its pieces' rows.
//!
//! The model's own numbers are of four bytes; here a value has six bits and a row one step, which moves the cosine of two
//! sentences by 0.002 in the mean (README.md). Only proportions matter, as vectors are normalised in the end.

use std::sync::LazyLock;

use fst::{
    Map,
    raw::{CompiledAddr, Fst, Output},
};

pub const DIMENSIONS: usize = 256;
const LEVELS: u32 = 64;
const STEP_BYTES: usize = 2;
const LOW_BYTES: usize = DIMENSIONS / 2;
const HIGH_BYTES: usize = DIMENSIONS / 4;
const ROW_BYTES: usize = STEP_BYTES + LOW_BYTES + HIGH_BYTES;

static ROWS: &[u8] = include_bytes!("../data/model/rows.bin");
static VOCABULARY: LazyLock<Option<Vocabulary>> = LazyLock::new(Vocabulary::new);

/// What an inner piece begins with in the vocabulary.
const INNER: &[u8] = b"##";

/// The pieces of words, and which of them begins a text.
#[derive(Debug)]
pub struct Vocabulary {
    pieces: Map<&'static [u8]>,
    inner: (CompiledAddr, Output),
}

/// Nothing where the data are not what they should be, which a test would say.
#[must_use]
pub fn vocabulary() -> Option<&'static Vocabulary> {
    VOCABULARY.as_ref()
}

impl Vocabulary {
    fn new() -> Option<Self> {
        let pieces = Map::new(include_bytes!("../data/model/vocabulary.fst").as_slice()).ok()?;
        let fst = pieces.as_fst();
        let inner = walk(fst, (fst.root().addr(), Output::zero()), INNER)?;
        Some(Self { pieces, inner })
    }

    /// The longest piece that `bytes` begin with, inside of a word or at its start: its length in bytes, and its row. Letters of
    /// ASCII may be capitals.
    #[must_use]
    pub fn longest(&self, bytes: &[u8], inside: bool) -> Option<(usize, u16)> {
        let fst = self.pieces.as_fst();
        let (address, mut sum) = if inside { self.inner } else { (fst.root().addr(), Output::zero()) };
        let mut node = fst.node(address);
        let mut longest = None;
        for (at, byte) in bytes.iter().enumerate() {
            let Some(found) = node.find_input(byte.to_ascii_lowercase()) else { break };
            let transition = node.transition(found);
            sum = sum.cat(transition.out);
            node = fst.node(transition.addr);
            if node.is_final() {
                longest = Some((at + 1, sum.cat(node.final_output()).value()));
            }
        }
        longest.and_then(|(length, row)| Some((length, u16::try_from(row).ok()?)))
    }
}

fn walk(fst: &Fst<&'static [u8]>, from: (CompiledAddr, Output), bytes: &[u8]) -> Option<(CompiledAddr, Output)> {
    bytes.iter().try_fold(from, |(address, sum), byte| {
        let node = fst.node(address);
        let transition = node.transition(node.find_input(*byte)?);
        Some((transition.addr, sum.cat(transition.out)))
    })
}

/// The sum of rows.
#[derive(Debug, Clone)]
pub struct Sum {
    levels: [u32; DIMENSIONS],
    steps: u32,
    rows: u32,
}

impl Sum {
    /// More rows than this are not added: the sums would not fit.
    pub const MAX_ROWS: u32 = u32::MAX / (u16::MAX as u32 * (LEVELS - 1)) - 1;

    #[must_use]
    pub fn new() -> Self {
        Self { levels: [0; DIMENSIONS], steps: 0, rows: 0 }
    }

    pub fn add(&mut self, row: u16) {
        let at = usize::from(row) * ROW_BYTES;
        let Some(row) = ROWS.get(at..at + ROW_BYTES).filter(|_| self.rows < Self::MAX_ROWS) else { return };
        let (step, values) = row.split_at(STEP_BYTES);
        let (low, high) = values.split_at(LOW_BYTES);
        let step = u16::from(step[0]) | u16::from(step[1]) << 8;
        let mut levels = [0_u8; DIMENSIONS];
        // Value n and n + 128 share a byte of low bits; n, n + 64, n + 128 and n + 192 one of high bits.
        for (quarter, levels) in levels.chunks_exact_mut(HIGH_BYTES).enumerate() {
            let low = &low[quarter % 2 * HIGH_BYTES..][..HIGH_BYTES];
            for ((level, low), high) in levels.iter_mut().zip(low).zip(high) {
                *level = (low >> (quarter / 2 * 4) & 15) | (high >> (2 * quarter) & 3) << 4;
            }
        }
        for (sum, level) in self.levels.iter_mut().zip(levels) {
            *sum += u32::from(level) * u32::from(step);
        }
        self.steps += u32::from(step);
        self.rows += 1;
    }

    /// The sum, and so the direction of the mean; the unit is the model's own, of no meaning. Zeros of nothing.
    #[must_use]
    pub fn direction(&self) -> [f32; DIMENSIONS] {
        // A level stands for what is between it and the next, and the middle is zero.
        let middle = i64::from(self.steps) * i64::from(LEVELS - 1);
        self.levels.map(|sum| (2 * i64::from(sum) - middle) as f32)
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self::new()
    }
}
