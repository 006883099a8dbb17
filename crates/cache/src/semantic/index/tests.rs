use std::collections::HashMap;
use std::sync::Arc;

use super::*;

/// Of the built-in model.
type Built = [i8; 256];

#[derive(Debug, PartialEq)]
struct Row {
    name: u64,
    words: Option<u64>,
}

impl Worded for Row {
    fn words(&self) -> Option<u64> {
        self.words
    }
}

fn partition(n: u8) -> Hash {
    Hash::of("partition", &[n])
}

fn any(random: &mut fastrand::Rng) -> Built {
    std::array::from_fn(|_| random.i8(-40..40))
}

/// So near that its cosine with `vector` is about 0.9.
fn beside(vector: &Built, random: &mut fastrand::Rng) -> Built {
    vector.map(|component| component.saturating_add(random.i8(-20..20)))
}

fn put(index: &Index<Row>, vector: &Built, name: u64, words: Option<u64>) -> (Arc<Row>, u32) {
    let row = Arc::new(Row { name, words });
    (row.clone(), index.insert(partition(0), vector, row))
}

fn names(found: &[Candidate<Row>]) -> Vec<u64> {
    found.iter().map(|candidate| candidate.entry.name).collect()
}

#[test]
fn the_nearest_of_few_rows_are_those_of_an_exact_search() {
    let (mut random, index) = (fastrand::Rng::with_seed(1), Index::new());
    let asked = any(&mut random);
    // From beside it to far away.
    let rows: Vec<Built> =
        (0..60).map(|n| asked.map(|component| component.saturating_add(random.i8(-10 - n..10 + n)))).collect();
    rows.iter().enumerate().for_each(|(name, row)| _ = put(&index, row, name as u64, None));
    let mut exact: Vec<(f32, u64)> = rows.iter().zip(0..).map(|(row, name)| (cosine(&asked, row), name)).collect();
    exact.sort_by(|a, b| b.0.total_cmp(&a.0));
    let found = index.search(&partition(0), &asked, None);
    assert_eq!(names(&found), exact[..8].iter().map(|(_, name)| *name).collect::<Vec<_>>());
    assert!(found.iter().zip(&exact).all(|(found, exact)| found.cosine == exact.0));
}

#[test]
fn every_planted_neighbour_is_found_among_thousands_before_and_after_half_of_them_left() {
    let (mut random, index) = (fastrand::Rng::with_seed(2), Index::new());
    let mut rows: HashMap<u64, (Arc<Row>, u32, Built)> = HashMap::new();
    for name in 0..6_000 {
        let vector = any(&mut random);
        let (row, segment) = put(&index, &vector, name, None);
        rows.insert(name, (row, segment, vector));
    }
    for name in 0..3_000 {
        let (row, segment, vector) = rows.remove(&name).expect("a row");
        if name % 30 == 0 {
            assert_eq!(names(&index.search(&partition(0), &beside(&vector, &mut random), None)), [name]);
        }
        index.remove(&partition(0), segment, &row);
        if name % 30 == 0 {
            assert_eq!(names(&index.search(&partition(0), &vector, None)), [0; 0]);
        }
    }
    assert_eq!(index.rows(), 3_000);
    // The places of those that left are taken again.
    for name in 10_000..13_000 {
        let vector = any(&mut random);
        let (row, segment) = put(&index, &vector, name, None);
        assert!(segment < 12, "{segment}");
        rows.insert(name, (row, segment, vector));
    }
    for (name, (_, _, vector)) in rows.iter().step_by(30) {
        assert_eq!(names(&index.search(&partition(0), &beside(vector, &mut random), None)), [*name]);
    }
    for (row, segment, _) in rows.values() {
        index.remove(&partition(0), *segment, row);
    }
    assert_eq!((index.rows(), index.partitions()), (0, 0));
}

#[test]
fn the_same_words_are_found_however_many_others_are_nearer() {
    let (mut random, index) = (fastrand::Rng::with_seed(3), Index::new());
    let asked = any(&mut random);
    for name in 0..2_000 {
        put(&index, &beside(&asked, &mut random), name, Some(random.u64(..)));
    }
    let far = any(&mut random);
    // The part of the hash that is in the row is the same for both; the words are not.
    let words = 0x1234_0000_0000_0001;
    let (_, segment) = put(&index, &far, 5_000, Some(words));
    put(&index, &far, 5_001, Some(words + 1));
    assert_eq!(segment, 3);
    let found = index.search(&partition(0), &asked, Some(words));
    assert_eq!((found[0].entry.name, found.len()), (5_000, 1 + NEAREST));
    assert!(found[0].cosine < COSINE_LEAST);
    assert!(found[1..].iter().all(|near| near.entry.name < 2_000));
    assert_eq!(index.search(&partition(0), &asked, None).len(), NEAREST);
}

#[test]
fn partitions_know_nothing_of_each_other() {
    let (mut random, index) = (fastrand::Rng::with_seed(4), Index::new());
    let asked = any(&mut random);
    index.insert(partition(1), &asked, Arc::new(Row { name: 1, words: Some(1) }));
    index.insert(partition(2), &asked, Arc::new(Row { name: 2, words: Some(1) }));
    assert_eq!(names(&index.search(&partition(1), &asked, Some(1))), [1]);
    assert_eq!(names(&index.search(&partition(2), &asked, Some(1))), [2]);
    assert_eq!(names(&index.search(&partition(3), &asked, Some(1))), [0; 0]);
}

#[test]
fn a_vector_without_a_direction_is_near_nothing() {
    let (mut random, index) = (fastrand::Rng::with_seed(5), Index::new());
    put(&index, &[0; 256], 0, None);
    put(&index, &any(&mut random), 1, None);
    assert_eq!(names(&index.search(&partition(0), &[0; 256], None)), [0; 0]);
}

/// 300 MB for a million.
#[test]
fn a_row_takes_no_more_than_300_bytes() {
    let row = size_of::<[u64; WORDS]>() + size_of::<u16>() + size_of::<Built>() + size_of::<Arc<Row>>();
    assert!(row <= 300, "{row}");
    let mut rows = Rows::new(256);
    for name in 0..SEGMENT as u64 {
        rows.push(&[1; 256], Arc::new(Row { name, words: None }));
    }
    assert_eq!(((rows.vectors.capacity() / 256), rows.signs[0].capacity()), (SEGMENT, SEGMENT));
}

#[test]
fn a_vector_of_another_size_has_no_place_and_finds_nothing() {
    let index = Index::new();
    let row = |name| Arc::new(Row { name, words: Some(1) });
    let (small, large) = ([1; 384], [1; 1536]);
    let segment = index.insert(partition(0), &large, row(0));
    assert_eq!(index.insert(partition(0), &small, row(1)), NO_SEGMENT);
    assert!(index.search(&partition(0), &small, Some(1)).is_empty());
    let found = index.search(&partition(0), &large, None);
    assert_eq!(names(&found), [0]);
    index.remove(&partition(0), segment, &found[0].entry);
    assert_eq!(index.partitions(), 0);
}

#[test]
fn large_vectors_are_found_when_others_have_left() {
    let (mut random, index) = (fastrand::Rng::with_seed(5), Index::new());
    let mut any = || -> Vec<i8> { (0..1536).map(|_| random.i8(-40..40)).collect() };
    let rows: Vec<(Vec<i8>, Arc<Row>)> = (0..700).map(|name| (any(), Arc::new(Row { name, words: None }))).collect();
    let places: Vec<u32> = rows.iter().map(|(vector, row)| index.insert(partition(0), vector, row.clone())).collect();
    for ((_, row), place) in rows.iter().zip(places).filter(|((_, row), _)| row.name % 2 == 0) {
        index.remove(&partition(0), place, row);
    }
    for (vector, row) in &rows {
        let found = index.search(&partition(0), vector, None);
        assert_eq!(found.iter().any(|there| there.entry.name == row.name), row.name % 2 == 1, "{row:?}");
    }
}
