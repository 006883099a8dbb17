//! The memory against a plain account of what was put into it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::cache::Mode;
use crate::entry::Facts;
use crate::key::{Hasher, Question};

#[derive(Debug)]
struct Sized {
    bytes: usize,
    says: u64,
}

impl Answer for Sized {
    fn bytes(&self) -> usize {
        self.bytes
    }
}

const TTL: Duration = Duration::from_secs(60);

fn settings(max_bytes: u64, max_entries: usize, tenant_share: f32) -> Settings {
    Settings { mode: Mode::Strict, threshold: 0.95, ttl: TTL, max_bytes, max_entries, tenant_share }
}

fn question(tenant: u8, name: u64) -> Question {
    let mut hasher = Hasher::new(Hash::of("version", b"1"), Hash::of("key", &[tenant]));
    // Questions of one tenant share a few partitions.
    hasher.field("system", &[(name % 3) as u8]);
    hasher.question(&name.to_le_bytes(), None)
}

/// Any, and another for each name.
fn vector(name: u64) -> [i8; 256] {
    let mut random = fastrand::Rng::with_seed(name);
    std::array::from_fn(|_| random.i8(-60..60))
}

struct World {
    memory: Memory<Sized>,
    settings: Settings,
    now: Instant,
}

impl World {
    fn new(settings: Settings) -> World {
        World { memory: Memory::new(&settings), settings, now: Instant::now() }
    }

    fn put(&self, tenant: u8, name: u64, bytes: usize, says: u64) -> Stored {
        let facts = Facts { model: "m".into(), asked: self.now };
        let entry =
            Entry::new(&question(tenant, name), Some(&vector(name)), Arc::new(Sized { bytes, says }), facts, self.now);
        // Every other one can be found in other words.
        let vector = name.is_multiple_of(2).then(|| vector(name));
        self.memory.put(&Arc::new(entry), vector.as_ref().map(|vector| vector.as_slice()), &self.settings, self.now)
    }

    /// What the answer says, through its name.
    fn get(&self, tenant: u8, name: u64) -> Option<u64> {
        let entry = self.memory.get(&question(tenant, name).exact)?;
        entry.uses.count();
        (entry.age(self.now) < self.settings.ttl).then_some(entry.answer.says)
    }

    /// And through the index.
    fn find(&self, tenant: u8, name: u64) -> Option<u64> {
        let found = self.memory.index.search(&question(tenant, name).partition, &vector(name), None);
        found.first().filter(|near| near.cosine > 0.999).map(|near| near.entry.answer.says)
    }

    fn remove(&self, tenant: u8, name: u64) -> bool {
        self.memory.get(&question(tenant, name).exact).is_some_and(|entry| self.memory.remove(&entry))
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put { tenant: u8, name: u64, bytes: usize },
    Get { tenant: u8, name: u64 },
    Remove { tenant: u8, name: u64 },
    Wait { seconds: u64 },
    Expire,
    Settle { max_bytes: u64, max_entries: usize, share: f32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (tenant, name) = (0..4u8, 0..40u64);
    let step = prop_oneof![
        8 => (tenant.clone(), name.clone(), 0..4000usize).prop_map(|(tenant, name, bytes)| Step::Put { tenant, name, bytes }),
        8 => (tenant.clone(), name.clone()).prop_map(|(tenant, name)| Step::Get { tenant, name }),
        2 => (tenant, name).prop_map(|(tenant, name)| Step::Remove { tenant, name }),
        1 => (1..30u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Expire),
        1 => (8_000..80_000u64, 4..60usize, 0.0..1.0f32)
            .prop_map(|(max_bytes, max_entries, share)| Step::Settle { max_bytes, max_entries, share }),
    ];
    prop::collection::vec(step, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    /// Whatever happens: what is found is what was stored last and not removed, and neither bytes nor entries are too many.
    #[test]
    fn it_never_says_anything_but_what_was_stored_and_never_holds_more_than_it_may(steps in steps()) {
        let mut world = World::new(settings(40_000, 40, 0.4));
        let mut account: HashMap<(u8, u64), (u64, Instant)> = HashMap::new();
        let mut nothing_left = true;
        for (says, step) in steps.into_iter().enumerate() {
            let says = says as u64;
            match step {
                Step::Put { tenant, name, bytes } => {
                    let stored = world.put(tenant, name, bytes, says);
                    nothing_left &= stored.evicted + stored.over_share == 0;
                    match stored.outcome {
                        Outcome::Stored => {
                            account.insert((tenant, name), (says, world.now));
                            prop_assert_eq!(world.get(tenant, name), Some(says));
                            prop_assert!(world.memory.bytes() <= world.settings.max_bytes);
                            prop_assert!(world.memory.entries() <= world.settings.max_entries as u64);
                        }
                        outcome => prop_assert_eq!(outcome, Outcome::TooLarge),
                    }
                }
                Step::Get { tenant, name } => {
                    let known = account.get(&(tenant, name)).filter(|(_, stored)| world.now - *stored < TTL);
                    let known = known.map(|(says, _)| *says);
                    let got = world.get(tenant, name);
                    prop_assert!(got == known || (got.is_none() && !nothing_left), "{got:?} {known:?}");
                    if got.is_some() && name % 2 == 0 {
                        prop_assert_eq!(world.find(tenant, name), got);
                    }
                }
                Step::Remove { tenant, name } => {
                    let was_there = account.remove(&(tenant, name)).is_some();
                    prop_assert!(!world.remove(tenant, name) || was_there);
                    prop_assert_eq!(world.get(tenant, name), None);
                    prop_assert_eq!(world.find(tenant, name), None);
                }
                Step::Wait { seconds } => world.now += Duration::from_secs(seconds),
                Step::Expire => {
                    world.memory.expire(1000, &world.settings, world.now);
                    world.memory.expire(1000, &world.settings, world.now);
                    let (entries, _) = world.memory.page(0, 1000);
                    prop_assert!(entries.iter().all(|entry| entry.age(world.now) < TTL));
                }
                Step::Settle { max_bytes, max_entries, share } => {
                    world.settings = settings(max_bytes, max_entries, share);
                    world.memory.configure(&world.settings);
                }
            }
            world.memory.check();
        }
    }
}

#[test]
fn nobody_fills_the_cache_at_the_cost_of_who_keeps_to_its_share() {
    let world = World::new(settings(1_000_000, 1_000_000, 0.25));
    for name in 0..100 {
        world.put(1, name, 1_000, name);
    }
    let flood: u64 = (0..20_000).map(|name| world.put(2, name, 500, name).over_share).sum();
    assert_eq!((0..100).filter(|name| world.get(1, *name).is_some()).count(), 100);
    assert_eq!(flood, 0, "who floods makes room for itself");
    // Who has too much makes room for somebody new.
    let made: u64 = (0..100).map(|name| world.put(3, name, 1_000, name)).map(|stored| stored.over_share).sum();
    assert!(made >= 100, "{made}");
    assert_eq!((0..100).filter(|name| world.get(3, *name).is_some()).count(), 100);
    assert_eq!((0..100).filter(|name| world.get(1, *name).is_some()).count(), 100);
    world.memory.check();
}

#[test]
fn a_tenant_may_use_everything_while_nobody_else_needs_it() {
    let world = World::new(settings(1_000_000, 1_000_000, 0.25));
    let stored = (0..300).map(|name| world.put(1, name, 1_500, name)).map(|stored| stored.evicted).sum::<u64>();
    assert_eq!((stored, world.memory.entries()), (0, 300));
}

#[test]
fn what_is_asked_once_does_not_displace_what_is_asked_often() {
    let world = World::new(settings(u64::MAX, 100, 1.0));
    for name in 0..80 {
        world.put(1, name, 10, name);
    }
    (0..50).for_each(|name| assert_eq!(world.get(1, name), Some(name)));
    for fresh in 1_000..3_000 {
        world.put(1, fresh, 10, fresh);
        world.get(1, fresh % 50);
    }
    let kept = (0..50).filter(|name| world.get(1, *name).is_some()).count();
    assert_eq!(kept, 50);
}

#[test]
fn the_largest_answer_finds_room_among_the_smallest() {
    let world = World::new(settings(8_000_000, 1_000_000, 1.0));
    for name in 0..20_000 {
        world.put(1, name, 0, name);
    }
    assert_eq!(world.put(1, 1_000_000, 999_000 - 1_024, 7).outcome, Outcome::Stored);
    assert_eq!(world.put(1, 1_000_001, 1_000_000, 7).outcome, Outcome::TooLarge);
    assert_eq!(world.get(1, 1_000_000), Some(7));
    assert!(world.memory.bytes() <= 8_000_000);
    world.memory.check();
}

#[test]
fn a_cache_without_room_stores_nothing() {
    let world = World::new(settings(1_000_000, 0, 1.0));
    assert_eq!(world.put(1, 1, 10, 1).outcome, Outcome::NoRoom);
    let world = World::new(settings(0, 10, 0.0));
    assert_eq!(world.put(1, 1, 10, 1).outcome, Outcome::TooLarge);
}

/// Readers and writers at once: nobody ever sees an answer under another question's name, and the account is right in the end.
#[test]
fn threads_that_store_remove_and_look_up_at_once_see_whole_entries() {
    let world = World::new(settings(300_000, 250, 0.3));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let (world, done) = (&world, &done);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                while !done.load(Ordering::Relaxed) {
                    let (tenant, name) = (random.u8(0..4), random.u64(0..200));
                    if let Some(says) = world.get(tenant, name) {
                        assert_eq!(says, name * 4 + u64::from(tenant));
                    }
                    for near in world.memory.index.search(&question(tenant, name).partition, &vector(name), None) {
                        assert_eq!(near.entry.partition, question(tenant, name).partition);
                    }
                }
            });
        }
        let writers: Vec<_> = (10..12)
            .map(|seed| {
                let world = &world;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    for _ in 0..4_000 {
                        let (tenant, name) = (random.u8(0..4), random.u64(0..200));
                        match random.u8(0..10) {
                            0 => _ = world.remove(tenant, name),
                            _ => _ = world.put(tenant, name, random.usize(0..3_000), name * 4 + u64::from(tenant)),
                        }
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
        done.store(true, Ordering::Relaxed);
    });
    world.memory.check();
}
