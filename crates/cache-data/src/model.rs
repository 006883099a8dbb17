//! The embedding model: a row of 256 values for each of 29,528 pieces of words. A text's vector is the mean of its pieces' rows.
//!
//! The model's own numbers are of four bytes; here a value has six bits and a row one step, which moves the cosine of two
//! sentences by 0.002 in the mean (README.md). Only proportions matter, as vectors are normalised in the end.

pub const DIMENSIONS: usize = 256;
const LEVELS: u32 = 64;
const STEP_BYTES: usize = 2;
const LOW_BYTES: usize = DIMENSIONS / 2;
const HIGH_BYTES: usize = DIMENSIONS / 4;
const ROW_BYTES: usize = STEP_BYTES + LOW_BYTES + HIGH_BYTES;

static ROWS: &[u8] = include_bytes!("../data/model/rows.bin");
static VOCABULARY: &[u8] = include_bytes!("../data/model/vocabulary.bin");

const BUCKET_BITS: u32 = 14;
const END_BYTES: usize = 2;
const PIECE_BYTES: usize = 6;
/// No piece is longer, in bytes.
const LONGEST_PIECE: usize = 18;
/// Where a hash begins, of a piece at the start of a word and of one inside of it.
const STARTS: [u64; 2] = [0xcbf2_9ce4_8422_2325, 0x8422_2325_cbf2_9ce4];

/// The longest piece that `bytes` begin with, inside of a word or at its start: its length in bytes, and its row. Letters of
/// ASCII may be capitals.
///
/// Pieces are found by 46 bits of a hash, in a table of buckets that the script has made. The text is not compared: one in
/// billions of pieces that do not exist is taken for another.
#[must_use]
pub fn longest_piece(bytes: &[u8], inside: bool) -> Option<(usize, u16)> {
    let mut hashes = [0; LONGEST_PIECE];
    let mut hash = STARTS[usize::from(inside)];
    let longest = bytes.len().min(LONGEST_PIECE);
    for (slot, byte) in hashes.iter_mut().zip(bytes) {
        hash = (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3);
        *slot = hash;
    }
    let tried = hashes[..longest].iter().enumerate().rev();
    tried.filter_map(|(at, hash)| Some((at + 1, row_of(*hash)?))).next()
}

fn row_of(hash: u64) -> Option<u16> {
    let hash = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (ends, pieces) = VOCABULARY.split_at_checked(END_BYTES << BUCKET_BITS)?;
    let ends = ends.as_chunks::<END_BYTES>().0;
    let end = |bucket: usize| ends.get(bucket).map(|end| usize::from(u16::from_le_bytes(*end)));
    let bucket = (hash >> (u64::BITS - BUCKET_BITS)) as usize;
    let from = bucket.checked_sub(1).map_or(Some(0), end)?;
    let pieces = pieces.as_chunks::<PIECE_BYTES>().0.get(from..end(bucket)?)?;
    let found = pieces.iter().find(|[a, b, c, d, ..]| u32::from_le_bytes([*a, *b, *c, *d]) == hash as u32)?;
    Some(u16::from_le_bytes([found[4], found[5]]))
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
        // Values n and n + 128 share a byte of low bits; n, n + 64, n + 128 and n + 192 one of high bits.
        let (first, second) = low.split_at(HIGH_BYTES);
        let mut levels = [[0; HIGH_BYTES]; 4];
        let [a, b, c, d] = &mut levels;
        unpack::<0, 0>(a, first, high);
        unpack::<0, 2>(b, second, high);
        unpack::<4, 4>(c, first, high);
        unpack::<4, 6>(d, second, high);
        for (sum, level) in self.levels.iter_mut().zip(levels.as_flattened()) {
            *sum += u32::from(*level) * u32::from(step);
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

/// With shifts that are known when this is compiled, it takes many values at once.
fn unpack<const LOW: u8, const HIGH: u8>(levels: &mut [u8; HIGH_BYTES], low: &[u8], high: &[u8]) {
    for ((level, low), high) in levels.iter_mut().zip(low).zip(high) {
        *level = (low >> LOW & 15) | (high >> HIGH & 3) << 4;
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self::new()
    }
}
