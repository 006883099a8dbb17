use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::key::{Hasher, Text};

impl Answer for String {
    fn bytes(&self) -> usize {
        self.len()
    }
}

const RESET: &str = "How do I reset my password?";
const RESET_OTHERWISE: &str = "How can I reset my password?";
const ON: &str = "How do I turn on dark mode?";
const OFF: &str = "How do I turn off dark mode?";

fn question(tenant: &str, text: &str) -> Question {
    let mut hasher = Hasher::new(Hash::of("version", b"1"), Hash::of("key", tenant.as_bytes()));
    hasher.field("model", b"m");
    hasher.question(text.as_bytes(), Text::new(text))
}

fn facts(model: &str) -> Facts {
    Facts { model: model.into(), asked: Instant::now() }
}

struct World {
    cache: Cache<String>,
    now: Instant,
}

impl World {
    fn new(mode: Mode) -> World {
        World { cache: Cache::new(Settings { mode, ..Settings::default() }), now: Instant::now() }
    }

    fn store(&self, tenant: &str, text: &str) -> EntryId {
        let answer = Arc::new(format!("to: {text}"));
        self.cache.store(&question(tenant, text), answer, facts("m"), self.now).expect("room")
    }

    fn ask(&self, text: &str) -> Looked<String> {
        self.cache.look_up(&question("a", text), self.now)
    }

    fn hit(&self, text: &str) -> Option<(Tier, String)> {
        self.ask(text).hit.map(|hit| (hit.tier, hit.answer.to_string()))
    }
}

fn answered(tier: Tier, text: &str) -> Option<(Tier, String)> {
    Some((tier, format!("to: {text}")))
}

#[test]
fn the_same_question_of_the_same_tenant_is_answered_until_its_time_is_over() {
    let mut world = World::new(Mode::Strict);
    let id = world.store("a", RESET);
    world.now += Duration::from_secs(3599);
    let hit = world.ask(RESET).hit.expect("a hit");
    assert_eq!((hit.answer.as_str(), hit.tier, hit.id), ("to: How do I reset my password?", Tier::Exact, id));
    assert_eq!((hit.age, hit.similarity), (Duration::from_secs(3599), 1.0));
    assert!(world.cache.look_up(&question("b", RESET), world.now).hit.is_none());
    world.now += Duration::from_secs(1);
    for text in [RESET, "how do i reset my password", RESET_OTHERWISE] {
        assert_eq!(world.hit(text), None);
    }
}

#[test]
fn a_question_is_answered_in_its_normal_form_and_in_other_words() {
    let world = World::new(Mode::Strict);
    world.store("a", RESET);
    assert_eq!(world.hit("how do I reset my password"), answered(Tier::Canonical, RESET));
    assert_eq!(world.hit(RESET_OTHERWISE), answered(Tier::Semantic, RESET));
    let stats = world.cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.stored), ([0, 1, 1], 0, 1));
    assert_eq!((stats.entries, stats.partitions, stats.tenants), (1, 1, 1));
}

#[test]
fn an_answer_that_has_come_meanwhile_is_found_by_looking_again() {
    let world = World::new(Mode::Strict);
    let question = question("a", RESET);
    world.store("a", RESET_OTHERWISE);
    assert!(world.cache.look_again(&question, world.now).is_none(), "it is not the same question");
    world.store("a", RESET);
    assert_eq!(world.cache.look_again(&question, world.now).expect("a hit").tier, Tier::Exact);
    assert!(world.cache.look_again(&question, world.now + Duration::from_secs(3600)).is_none());
    let stats = world.cache.stats();
    assert_eq!((stats.hits, stats.misses), ([1, 0, 0], 0));
}

#[test]
fn a_question_that_may_only_be_found_as_it_was_said_is() {
    let world = World::new(Mode::Strict);
    let plain = |tenant: &str| {
        let mut hasher = Hasher::new(Hash::of("version", b"1"), Hash::of("key", tenant.as_bytes()));
        hasher.field("model", b"m");
        hasher.question(RESET.as_bytes(), None)
    };
    world.cache.store(&plain("a"), Arc::new("an image".to_owned()), facts("m"), world.now);
    assert_eq!(world.hit(RESET), Some((Tier::Exact, "an image".to_owned())));
    for text in ["how do I reset my password", RESET_OTHERWISE] {
        assert_eq!(world.hit(text), None);
    }
}

#[test]
fn a_different_question_is_not_answered_and_the_rule_is_told() {
    let world = World::new(Mode::Strict);
    let id = world.store("a", ON);
    let looked = world.ask(OFF);
    assert!(looked.hit.is_none());
    let near = looked.nearest.expect("a candidate");
    assert_eq!((near.id, near.answer.as_str()), (id, "to: How do I turn on dark mode?"));
    assert!(matches!(near.held, Held::Different(_)), "{:?}", near.held);
    assert!(near.cosine > 0.9, "{}", near.cosine);
}

#[test]
fn why_a_text_is_not_looked_for_in_other_words_is_told() {
    let world = World::new(Mode::Strict);
    world.store("a", "{\"a\": 1}");
    assert_eq!(world.hit("{\"a\":  1}"), None);
    assert!(world.ask("{\"a\":  1}").narrowed.is_some());
    assert!(world.ask(RESET).narrowed.is_none());
}

#[test]
fn an_answer_that_is_not_sure_enough_does_not_serve() {
    let world = World::new(Mode::Strict);
    world.store("a", RESET);
    world.cache.configure(Settings { threshold: 1.1, ..Settings::default() });
    for text in ["how do I reset my password", RESET_OTHERWISE] {
        let looked = world.ask(text);
        assert!(looked.hit.is_none());
        assert!(matches!(looked.nearest.expect("a candidate").held, Held::Unsure(score) if score > 0.9));
    }
    assert_eq!(world.hit(RESET), answered(Tier::Exact, RESET));
    world.cache.configure(Settings { threshold: f32::NAN, ..Settings::default() });
    assert_eq!(world.hit(RESET_OTHERWISE), None);
}

#[test]
fn the_cosine_alone_serves_wrong_answers_too_where_somebody_wants_it() {
    let world = World::new(Mode::Cosine);
    world.store("a", ON);
    world.cache.configure(Settings { mode: Mode::Cosine, threshold: 0.9, ..Settings::default() });
    let hit = world.ask(OFF).hit.expect("a hit");
    assert_eq!(hit.tier, Tier::Semantic);
    assert!(hit.similarity >= 0.9 && hit.similarity < 1.0);
    world.cache.configure(Settings { mode: Mode::Cosine, threshold: 0.999, ..Settings::default() });
    assert!(matches!(world.ask(OFF).nearest.expect("a candidate").held, Held::Unsure(cosine) if cosine >= 0.9));
    assert!(world.cache.look_up(&question("b", ON), world.now).hit.is_none());
}

#[test]
fn the_shadow_serves_nothing_but_the_same_question_and_tells_what_the_modes_would_have_served() {
    let world = World::new(Mode::Shadow);
    let (reset, on) = (world.store("a", RESET), world.store("a", ON));
    world.cache.configure(Settings { mode: Mode::Shadow, threshold: 0.9, ..Settings::default() });
    assert_eq!(world.hit(RESET), answered(Tier::Exact, RESET));
    let looked = world.ask(RESET_OTHERWISE);
    assert!(looked.hit.is_none());
    let shadow = looked.shadow.expect("a shadow");
    assert_eq!(shadow.strict.expect("served").id, reset);
    assert_eq!(shadow.cosine.expect("served").id, reset);
    let shadow = world.ask(OFF).shadow.expect("a shadow");
    assert!(shadow.strict.is_none());
    assert_eq!(shadow.cosine.expect("served").id, on);
    assert_eq!(world.cache.stats().hits, [1, 0, 0]);
}

#[test]
fn a_wrong_answer_is_gone_and_never_serves_that_question_again() {
    let world = World::new(Mode::Strict);
    let id = world.store("a", RESET);
    let pair = world.ask(RESET_OTHERWISE).hit.expect("a hit").pair;
    assert_eq!(pair.entry, id);
    assert!(world.cache.report_wrong(&pair));
    assert_eq!(world.hit(RESET), None);
    assert!(!world.cache.report_wrong(&pair));
    // Stored again, it serves its own question in any form, and the other in none.
    world.store("a", RESET);
    assert_eq!(world.hit("how do I reset my password"), answered(Tier::Canonical, RESET));
    for text in [RESET_OTHERWISE, "how can I reset my password"] {
        assert!(matches!(world.ask(text).nearest.expect("a candidate").held, Held::Reported));
    }
    // And the other way round.
    let world = World { cache: world.cache, ..world };
    world.cache.clear(&Filter::default(), world.now, false);
    world.store("a", RESET_OTHERWISE);
    assert_eq!(world.hit(RESET), None);
    let stats = world.cache.stats();
    assert_eq!((stats.reported_wrong, stats.blocked_pairs), (2, 1));
}

#[test]
fn a_wrong_answer_to_the_same_question_is_gone_and_the_next_one_serves() {
    let world = World::new(Mode::Strict);
    world.store("a", RESET);
    let pair = world.ask(RESET).hit.expect("a hit").pair;
    assert!(world.cache.report_wrong(&pair));
    assert_eq!(world.hit(RESET), None);
    world.store("a", RESET);
    assert_eq!(world.hit(RESET), answered(Tier::Exact, RESET));
    assert_eq!(world.cache.stats().blocked_pairs, 0);
}

#[test]
fn what_fits_the_filter_is_cleared_and_counted_before() {
    let mut world = World::new(Mode::Strict);
    let first = world.store("a", "What is the capital of France?");
    world.now += Duration::from_secs(100);
    world.store("a", RESET);
    world.cache.store(&question("b", RESET), Arc::new("b's".to_owned()), facts("other"), world.now);
    let count = |filter: Filter| world.cache.clear(&filter, world.now, true).entries;
    assert_eq!(count(Filter::default()), 3);
    assert_eq!(count(Filter { tenant: Some(Hash::of("key", b"a")), ..Filter::default() }), 2);
    assert_eq!(count(Filter { model: Some("other".into()), ..Filter::default() }), 1);
    assert_eq!(count(Filter { older_than: Some(Duration::from_secs(99)), ..Filter::default() }), 1);
    assert_eq!(count(Filter { id: Some(first), ..Filter::default() }), 1);
    let of_another = Filter { id: Some(first), tenant: Some(Hash::of("key", b"b")), ..Filter::default() };
    assert_eq!(count(of_another), 0);
    assert_eq!(world.cache.stats().entries, 3, "nothing is removed by counting");
    let bytes = world.cache.stats().bytes;
    let own = Filter { tenant: Some(Hash::of("key", b"a")), ..Filter::default() };
    let cleared = world.cache.clear(&own, world.now, false);
    assert_eq!((cleared.entries, world.cache.stats().entries), (2, 1));
    assert_eq!(cleared.bytes, bytes - world.cache.stats().bytes);
    for text in [RESET, "how do I reset my password", RESET_OTHERWISE] {
        assert_eq!(world.hit(text), None);
    }
}

#[test]
fn an_answer_of_another_node_keeps_its_age_and_does_not_replace_a_younger_one() {
    let mut world = World::new(Mode::Strict);
    world.now += Duration::from_secs(10_000);
    let load = |says: &str, age: u64| {
        let answer = Arc::new(says.to_owned());
        world.cache.load(&question("a", RESET), answer, facts("m"), Duration::from_secs(age), world.now)
    };
    assert!(load("too old", 3600).is_none());
    assert!(load("older", 1000).is_some());
    assert_eq!(world.ask(RESET).hit.expect("a hit").age, Duration::from_secs(1000));
    assert!(load("younger", 10).is_some());
    assert!(load("older", 1000).is_none());
    assert_eq!(world.hit(RESET_OTHERWISE), Some((Tier::Semantic, "younger".to_owned())));
}

#[test]
fn what_is_too_old_leaves_by_and_by_also_where_nothing_is_stored() {
    let mut world = World::new(Mode::Strict);
    (0..100).for_each(|n| _ = world.store("a", &format!("What is {n} plus {n}?")));
    world.now += Duration::from_secs(3600);
    world.store("a", RESET);
    let expired =
        world.cache.expire(50, world.now) + world.cache.expire(100, world.now) + world.cache.expire(100, world.now);
    let stats = world.cache.stats();
    assert_eq!((stats.entries, stats.expired), (1, 100));
    assert!((90..100).contains(&expired), "{expired}");
}

#[test]
fn an_answer_that_was_asked_for_before_a_clearing_that_means_it_is_not_stored_after_it() {
    let world = World::new(Mode::Strict);
    let second = |n: u64| world.now + Duration::from_secs(n);
    let store = |tenant: &str, asked: Instant, now: Instant| {
        let facts = Facts { model: "m".into(), asked };
        world.cache.store(&question(tenant, RESET), Arc::new("late".to_owned()), facts, now).is_some()
    };
    let clear = |tenant: &str, now: Instant, dry_run: bool| {
        let filter = Filter { tenant: Some(question(tenant, "").tenant), ..Filter::default() };
        world.cache.clear(&filter, now, dry_run)
    };
    clear("a", second(2), false);
    clear("b", second(2), true);
    assert!(!store("a", second(1), second(3)));
    assert!(store("b", second(1), second(3)), "it was only counted, and another's");
    assert!(store("a", second(3), second(4)), "asked for after it");
    let old = Filter { older_than: Some(Duration::from_secs(60)), ..Filter::default() };
    world.cache.clear(&old, second(5), false);
    assert!(store("a", second(4), second(6)), "it is young");
    for n in 0..gateway_core::limits::CACHE_CLEARINGS as u64 {
        clear("c", second(10 + n), false);
    }
    assert!(!store("a", second(4), second(1000)), "what was cleared then is not known any more");
    assert!(store("a", second(1000), second(1001)));
}
