//! How far apart the directions of two vectors are: roughly, by how many of their signs differ, and exactly, by their cosine.
//!
//! All are plain loops, compiled once for each kind of processor and chosen when they are called: a program that runs on any
//! x86-64 may use nothing newer than SSE2, with which the search takes four times as long.

use fearless_simd::{Level, Simd, dispatch};

use super::embedder::Vector;

/// A bit for each component: whether it is negative. Of vectors of another size than [`BITS`], components are added up, some of
/// them turned around, so that there are as many.
pub(super) type Signs = [u64; WORDS];

/// Of the signs of a vector.
pub(super) const WORDS: usize = 4;

/// Of all signs.
const BITS: usize = 64 * WORDS;

pub(super) fn signs(vector: &Vector) -> Signs {
    if vector.len() == BITS { signs_of(vector) } else { signs_of(&folded(vector)) }
}

/// What is turned around is the same for every vector, and follows no pattern that a model may have.
fn folded(vector: &Vector) -> [i32; BITS] {
    let mut sums = [0; BITS];
    for (place, component) in vector.iter().enumerate() {
        let turned = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 1;
        sums[place % BITS] += if turned { -i32::from(*component) } else { i32::from(*component) };
    }
    sums
}

fn signs_of<T: Copy + Default + PartialOrd>(vector: &[T]) -> Signs {
    let mut signs = [0; WORDS];
    for (word, components) in signs.iter_mut().zip(vector.chunks_exact(64)) {
        for (bit, component) in components.iter().enumerate() {
            *word |= u64::from(*component < T::default()) << bit;
        }
    }
    signs
}

/// How many signs differ, of each row in 0..=256. `rows`: the first words of all rows, the second, the third and the fourth, each
/// as many as there are distances.
pub(super) fn distances(asked: &Signs, rows: [&[u64]; WORDS], distances: &mut [i16]) {
    dispatch!(Level::new(), simd => distances_by(simd, asked, rows, distances));
}

#[inline(always)]
fn distances_by<S: Simd>(_: S, asked: &Signs, rows: [&[u64]; WORDS], distances: &mut [i16]) {
    let [first, second, third, fourth] = rows.map(|words| &words[..distances.len()]);
    for (row, distance) in distances.iter_mut().enumerate() {
        let differ = [first[row] ^ asked[0], second[row] ^ asked[1], third[row] ^ asked[2], fourth[row] ^ asked[3]];
        *distance = differ.map(u64::count_ones).iter().sum::<u32>() as i16;
    }
}

/// Whether one of them is this one, without a branch for each.
pub(super) fn has(parts: &[u16], part: u16) -> bool {
    dispatch!(Level::new(), simd => has_by(simd, parts, part))
}

#[inline(always)]
fn has_by<S: Simd>(_: S, parts: &[u16], part: u16) -> bool {
    parts.iter().fold(0, |any, there| any | u16::from(*there == part)) != 0
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

    #[test]
    fn they_are_what_they_are_by_definition() {
        let mut random = fastrand::Rng::with_seed(1);
        for rows in [0, 1, 7, 512] {
            let asked: [i8; BITS] = std::array::from_fn(|_| random.i8(..));
            let vectors: Vec<[i8; BITS]> = (0..rows).map(|_| std::array::from_fn(|_| random.i8(..))).collect();
            let words: [Vec<u64>; WORDS] =
                std::array::from_fn(|word| vectors.iter().map(|row| signs(row)[word]).collect());
            let mut distances = vec![0; rows];
            super::distances(&signs(&asked), words.each_ref().map(Vec::as_slice), &mut distances);
            for (vector, distance) in vectors.iter().zip(distances) {
                let differ = vector.iter().zip(&asked).filter(|(one, other)| (**one < 0) != (**other < 0)).count();
                assert_eq!(distance as usize, differ);
                let product = |one: &[i8; BITS], other: &[i8; BITS]| -> f64 {
                    one.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum()
                };
                let exact = product(vector, &asked) / (product(vector, vector) * product(&asked, &asked)).sqrt();
                assert!((f64::from(cosine(vector, &asked)) - exact).abs() < 1e-6);
            }
        }
        assert_eq!(cosine(&[0; 256], &[1; 256]), 0.0);
        let parts: Vec<u16> = (0..100).collect();
        assert!(has(&parts, 99) && has(&parts, 0) && !has(&parts, 100) && !has(&[], 0));
    }

    #[test]
    fn the_signs_of_vectors_of_any_size_tell_near_from_far() {
        let mut random = fastrand::Rng::with_seed(2);
        for size in [384, 768, 1536, 3072] {
            let asked: Vec<i8> = (0..size).map(|_| random.i8(-40..40)).collect();
            let near: Vec<i8> = asked.iter().map(|component| component + random.i8(-20..20)).collect();
            let far: Vec<i8> = (0..size).map(|_| random.i8(-40..40)).collect();
            let apart = |other: &[i8]| -> u32 {
                let [asked, other] = [signs(&asked), signs(other)];
                asked.iter().zip(other).map(|(one, other)| (one ^ other).count_ones()).sum()
            };
            assert_eq!(apart(&asked), 0);
            assert!(apart(&near) < 80 && apart(&far) > 96, "{size}: {} and {}", apart(&near), apart(&far));
        }
    }
}
