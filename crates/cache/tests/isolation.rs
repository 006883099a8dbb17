//! A million pairs of requests that differ in one thing that is not the last message: none is answered with the other's answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use gateway_cache::{Answer, Cache, Facts, Filter, Hash, Hasher, Question, Settings, Text};

const PAIRS: usize = 1_000_000;
/// Each request is tried with so many others.
const OTHERS: usize = 20;
/// One in so many has a text, the same on both sides, that may be found in other words.
const WITH_A_TEXT: usize = 100;

#[derive(Clone, PartialEq, Debug)]
struct Request {
    version: Vec<u8>,
    tenant: Vec<u8>,
    system: Option<Vec<u8>>,
    tools: Vec<Vec<u8>>,
    history: Vec<Vec<u8>>,
    attachments: Vec<Vec<u8>>,
    parameters: Vec<(String, Vec<u8>)>,
    hints: Vec<Vec<u8>>,
    last: Vec<u8>,
}

/// Short and of two letters, so that what is cut elsewhere often reads the same when it is put together.
fn bytes(random: &mut Rng) -> Vec<u8> {
    (0..random.usize(0..6)).map(|_| random.u8(b'a'..b'c')).collect()
}

fn list(random: &mut Rng) -> Vec<Vec<u8>> {
    (0..random.usize(0..4)).map(|_| bytes(random)).collect()
}

fn name(random: &mut Rng) -> String {
    bytes(random).into_iter().map(char::from).collect()
}

impl Request {
    fn any(random: &mut Rng) -> Request {
        Request {
            version: b"1".to_vec(),
            tenant: bytes(random),
            system: random.bool().then(|| bytes(random)),
            tools: list(random),
            history: list(random),
            attachments: list(random),
            parameters: (0..random.usize(0..4)).map(|_| (name(random), bytes(random))).collect(),
            hints: list(random),
            last: bytes(random),
        }
    }

    fn question(&self, text: Option<&str>) -> Question {
        let version = String::from_utf8_lossy(&self.version);
        let mut hasher = Hasher::new(Hash::of("version", version.as_bytes()), Hash::of("key", &self.tenant));
        if let Some(system) = &self.system {
            hasher.field("system", system);
        }
        for (name, list) in self.lists() {
            hasher.list(name, list.iter().map(Vec::as_slice));
        }
        for (name, value) in &self.parameters {
            hasher.field(name, value);
        }
        hasher.question(&self.last, text.and_then(Text::new))
    }

    fn lists(&self) -> [(&'static str, &Vec<Vec<u8>>); 4] {
        [("tools", &self.tools), ("history", &self.history), ("attachments", &self.attachments), ("hints", &self.hints)]
    }

    /// Another request with the same last message, and which part was changed.
    fn other(&self, random: &mut Rng) -> (Request, usize) {
        loop {
            let mut other = self.clone();
            let part = random.usize(..8);
            match part {
                0 => other.tenant = bytes(random),
                1 => other.system = random.bool().then(|| bytes(random)),
                2 => change(&mut other.tools, random),
                3 => change(&mut other.history, random),
                4 => change(&mut other.attachments, random),
                5 => change(&mut other.hints, random),
                6 => match random.usize(..3) {
                    0 => other.parameters.push((name(random), bytes(random))),
                    1 => _ = other.parameters.pop(),
                    _ => {
                        let Some((name, value)) = other.parameters.last_mut() else { continue };
                        // The same letters, cut elsewhere.
                        let Some(letter) = name.pop() else { continue };
                        value.insert(0, letter as u8);
                    }
                },
                _ => other.version = bytes(random),
            }
            if other != *self {
                return (other, part);
            }
        }
    }
}

fn change(list: &mut Vec<Vec<u8>>, random: &mut Rng) {
    let at = random.usize(..list.len().max(1));
    match random.usize(..4) {
        0 => list.push(bytes(random)),
        1 => _ = list.pop(),
        2 if list.len() > 1 => {
            let moved = list.remove(at);
            list.insert(0, moved);
        }
        _ if at + 1 < list.len() => {
            // The same letters, cut elsewhere.
            if let Some(letter) = list[at].pop() {
                list[at + 1].insert(0, letter);
            }
        }
        _ => list.push(Vec::new()),
    }
}

struct Nothing;

impl Answer for Nothing {
    fn bytes(&self) -> usize {
        0
    }
}

#[test]
fn no_two_requests_that_differ_in_one_thing_share_an_answer() {
    const THREADS: usize = 2;
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            scope.spawn(move || try_pairs(PAIRS / THREADS, Rng::with_seed(seed as u64)));
        }
    });
}

fn try_pairs(pairs: usize, mut random: Rng) {
    let mut now = Instant::now();
    let cache = Cache::new(Settings { max_entries: 1000, threshold: 0.0, ..Settings::default() });
    let mut parts = [0; 8];
    for request in 0..pairs / OTHERS {
        let one = Request::any(&mut random);
        let text = (request % WITH_A_TEXT == 0).then_some("How can I bake bread without yeast?");
        let stored = one.question(text);
        cache.store(&stored, Arc::new(Nothing), Facts { model: "m".into(), asked: Instant::now() }, now);
        assert!(cache.look_up(&stored, now).hit.is_some());
        for _ in 0..OTHERS {
            let (other, part) = one.other(&mut random);
            let asked = other.question(text);
            assert!(asked.partition != stored.partition && asked.exact != stored.exact, "{one:?}\n{other:?}");
            let looked = cache.look_up(&asked, now);
            assert!(looked.hit.is_none() && looked.nearest.is_none(), "{one:?}\n{other:?}");
            parts[part] += 1;
        }
        // Requests are so short that another one may really be the same.
        cache.clear(&Filter::default(), now, false);
        // What was asked for before that is not stored.
        now += Duration::from_nanos(1);
    }
    assert!(parts.iter().all(|tried| *tried > pairs / 20), "{parts:?}");
}

#[test]
fn equal_requests_are_equal_and_a_field_that_is_not_set_is_not_an_empty_one() {
    let mut random = Rng::with_seed(8);
    for _ in 0..1_000 {
        let one = Request::any(&mut random);
        let (first, second) = (one.question(None), one.clone().question(None));
        assert_eq!((first.tenant, first.partition, first.exact), (second.tenant, second.partition, second.exact));
    }
    let without = Hasher::new(Hash::of("version", b"1"), Hash::of("key", b"k")).question(b"", None);
    let mut hasher = Hasher::new(Hash::of("version", b"1"), Hash::of("key", b"k"));
    hasher.field("", b"");
    assert_ne!(without.partition, hasher.question(b"", None).partition);
}

/// Without its count, the bytes of the one list would be those of the other and of the field after it.
#[test]
fn a_list_is_not_a_shorter_one_and_a_field_that_reads_like_the_rest() {
    let partition = |tell: fn(&mut Hasher)| {
        let mut hasher = Hasher::new(Hash::of("version", b"1"), Hash::of("key", b"k"));
        tell(&mut hasher);
        hasher.question(b"", None).partition
    };
    let one = partition(|hasher| _ = hasher.list("l", [&b"a"[..]].into_iter()).field("x", b""));
    let other = partition(|hasher| _ = hasher.list("l", [&b"a"[..], b"x", b"\0"].into_iter()));
    assert_ne!(one, other);
}
