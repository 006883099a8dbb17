//! How far apart the directions of two vectors are: roughly, by how many of their signs differ, and exactly, by their cosine.
//!
//! Both are plain loops, compiled once for each kind of processor and chosen when they are called: a program that runs on any
//! x86-64 may use nothing newer than SSE2, with which the search takes four times as long.

use fearless_simd::{Level, Simd, dispatch};

use super::embedder::Vector;

/// A bit for each component: whether it is negative.
pub(super) type Signs = [u64; WORDS];

/// Of the signs of a vector.
pub(super) const WORDS: usize = 4;

pub(super) fn signs(vector: &Vector) -> Signs {
    let mut signs = [0; WORDS];
    for (word, components) in signs.iter_mut().zip(vector.chunks_exact(64)) {
        for (bit, component) in components.iter().enumerate() {
            *word |= u64::from(*component < 0) << bit;
        }
    }
    signs
}

/// How many signs differ, of each row in 0..=256. `rows`: the first words of all rows, the second, the third and the fourth, each
/// as many as there are distances.
pub(super) fn distances(asked: &Signs, rows: [&[u64]; WORDS], distances: &mut [u16]) {
    dispatch!(Level::new(), simd => distances_by(simd, asked, rows, distances));
}

#[inline(always)]
fn distances_by<S: Simd>(_: S, asked: &Signs, rows: [&[u64]; WORDS], distances: &mut [u16]) {
    let [first, second, third, fourth] = rows.map(|words| &words[..distances.len()]);
    for (row, distance) in distances.iter_mut().enumerate() {
        let differ = [first[row] ^ asked[0], second[row] ^ asked[1], third[row] ^ asked[2], fourth[row] ^ asked[3]];
        *distance = differ.map(u64::count_ones).iter().sum::<u32>() as u16;
    }
}

/// In -1..=1; 0 where one of them has no direction.
pub(super) fn cosine(one: &Vector, other: &Vector) -> f32 {
    let [one_one, other_other, both] = dispatch!(Level::new(), simd => products(simd, one, other));
    let lengths = (one_one as f32 * other_other as f32).sqrt();
    if lengths == 0.0 { 0.0 } else { both as f32 / lengths }
}

#[inline(always)]
fn products<S: Simd>(_: S, one: &Vector, other: &Vector) -> [i32; 3] {
    let product = |one: &Vector, other: &Vector| -> i32 {
        one.iter().zip(other).map(|(one, other)| i32::from(*one) * i32::from(*other)).sum()
    };
    [product(one, one), product(other, other), product(one, other)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantic::embedder;

    #[test]
    fn they_are_what_they_are_by_definition() {
        let mut random = fastrand::Rng::with_seed(1);
        for rows in [0, 1, 7, 512] {
            let asked: Vector = std::array::from_fn(|_| random.i8(..));
            let vectors: Vec<Vector> = (0..rows).map(|_| std::array::from_fn(|_| random.i8(..))).collect();
            let words: [Vec<u64>; WORDS] =
                std::array::from_fn(|word| vectors.iter().map(|row| signs(row)[word]).collect());
            let mut distances = vec![0; rows];
            super::distances(&signs(&asked), words.each_ref().map(Vec::as_slice), &mut distances);
            for (vector, distance) in vectors.iter().zip(distances) {
                let differ = vector.iter().zip(&asked).filter(|(one, other)| (**one < 0) != (**other < 0)).count();
                assert_eq!(usize::from(distance), differ);
                assert_eq!(cosine(vector, &asked), embedder::cosine(vector, &asked));
            }
        }
        assert_eq!(cosine(&[0; 256], &[1; 256]), 0.0);
    }
}
