//! How many signs of two vectors differ: a rough measure of the angle between them, for a fortieth of the work.

use super::embedder::Vector;

/// A bit for each component: whether it is negative.
pub(crate) type Signs = [u64; 4];

pub(crate) fn signs(vector: &Vector) -> Signs {
    let mut signs = [0; 4];
    for (word, components) in signs.iter_mut().zip(vector.chunks_exact(64)) {
        for (bit, component) in components.iter().enumerate() {
            *word |= u64::from(*component < 0) << bit;
        }
    }
    signs
}

/// Of each row, 0..=256.
pub(crate) fn distances(asked: &Signs, rows: &[Signs], distances: &mut [u16]) {
    for (row, distance) in rows.iter().zip(distances) {
        *distance = row.iter().zip(asked).map(|(row, asked)| (row ^ asked).count_ones() as u16).sum();
    }
}
