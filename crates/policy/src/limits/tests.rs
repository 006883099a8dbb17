use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

fn rates(requests: u64, tokens: u64) -> Rates {
    Rates { requests_per_minute: Some(requests), tokens_per_minute: Some(tokens), ..Rates::NONE }
}

fn key(name: &str, rates: Rates) -> Level {
    Level::new(LevelId { holder: Holder::Key(name.into()), part: Part::All }, rates)
}

fn team(name: &str, rates: Rates) -> Level {
    Level::new(LevelId { holder: Holder::Team(name.into()), part: Part::All }, rates)
}

fn user(n: u32, rates: Rates) -> Level {
    Level::new(LevelId { holder: Holder::User(Ipv4Addr::from_bits(n).into(), None), part: Part::All }, rates)
}

fn ask(levels: &[Level], tokens: u64) -> Ask {
    Ask { levels: levels.to_vec(), tokens }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

struct World {
    table: Table,
    now: Instant,
}

impl World {
    fn new() -> World {
        World::with_room(1 << 16)
    }

    fn with_room(room: usize) -> World {
        let now = Instant::now();
        World { table: Table::with_room(now, room), now }
    }

    fn take(&self, levels: &[Level], tokens: u64) -> Result<Standing, Box<Refused>> {
        self.table.take(&mut ask(levels, tokens), self.now)
    }

    fn settle(&self, levels: &[Level], reserved: u64, spent: u64) {
        self.table.settle(&ask(levels, reserved), spent, self.now);
    }

    fn left(&self, level: &Level) -> u64 {
        let standing = match self.table.look(std::slice::from_ref(level), 0, self.now) {
            Ok(standing) => standing,
            Err(refused) => refused.standing,
        };
        standing.tokens.unwrap().remaining
    }
}

#[test]
fn a_minute_at_once_and_then_one_a_second() {
    let mut world = World::new();
    let levels = [key("k", rates(60, 1_000_000))];
    for n in 0..60 {
        let left = world.take(&levels, 1).unwrap().requests.unwrap();
        assert_eq!((left.limit, left.remaining, left.reset), (60, 59 - n, ms(1000 * (n + 1))));
    }
    for _ in 0..10 {
        let refused = world.take(&levels, 1).unwrap_err();
        assert_eq!((refused.what, refused.limit, refused.wait), (Resource::Requests, 60, ms(1000)));
    }
    world.now += ms(999);
    assert_eq!(world.take(&levels, 1).unwrap_err().wait, ms(1));
    world.now += ms(1);
    assert!(world.take(&levels, 1).is_ok());
    assert!(world.take(&levels, 1).is_err());
    world.now += ms(3_600_000);
    assert_eq!((0..100).filter(|_| world.take(&levels, 1).is_ok()).count(), 60, "a minute's, after an hour");
}

#[test]
fn what_is_larger_than_the_bucket_passes_a_full_one_and_leaves_it_in_debt() {
    let mut world = World::new();
    let levels = [key("k", rates(1000, 600))];
    assert!(world.take(&levels, 1800).is_ok());
    let refused = world.take(&levels, 1).unwrap_err();
    assert_eq!((refused.what, refused.limit), (Resource::Tokens, 600));
    assert_eq!(refused.wait, ms(120_100), "two minutes of debt, and the time of one token");
    assert!(world.take(&levels, 0).is_ok(), "what costs nothing is not what the limit is for");
    world.now += refused.wait;
    assert!(world.take(&levels, 1).is_ok());
    assert_eq!(world.take(&levels, 1800).unwrap_err().wait, ms(60_000), "until it is full");
}

#[test]
fn the_truth_takes_the_place_of_the_estimate() {
    let world = World::new();
    let one = key("k", rates(1000, 1000));
    let levels = [one.clone()];
    world.take(&levels, 400).unwrap();
    assert_eq!(world.left(&one), 600);
    world.settle(&levels, 400, 100);
    assert_eq!(world.left(&one), 900);
    world.take(&levels, 100).unwrap();
    world.settle(&levels, 100, 2900);
    assert_eq!(world.left(&one), 0);
    assert_eq!(world.take(&levels, 1).unwrap_err().wait, ms(120_060), "more than was left is a debt");
    assert_eq!(world.table.counts().reservations, 0);
}

#[test]
fn what_comes_back_never_overflows() {
    let mut world = World::new();
    let one = key("k", rates(1000, 1000));
    world.take(std::slice::from_ref(&one), 1000).unwrap();
    world.now += ms(50_000);
    world.settle(std::slice::from_ref(&one), 1000, 0);
    assert_eq!(world.left(&one), 1000);
    assert!(world.take(std::slice::from_ref(&one), 1000).is_ok());
    assert!(world.take(std::slice::from_ref(&one), 1).is_err(), "a full bucket, not more");
}

#[test]
fn one_level_that_refuses_spares_all_others() {
    let world = World::new();
    let (own, shared) = (key("a", rates(100, 1000)), team("t", rates(1, 1000)));
    let levels = [own.clone(), shared.clone()];
    world.take(&levels, 10).unwrap();
    for _ in 0..50 {
        let refused = world.take(&levels, 10).unwrap_err();
        assert_eq!(refused.level, shared.id);
    }
    let left = world.take(&[own], 0).unwrap();
    assert_eq!((left.requests.unwrap().remaining, left.tokens.unwrap().remaining), (98, 990));
}

#[test]
fn the_longest_wait_and_the_least_that_is_left_are_told() {
    let world = World::new();
    let levels = [key("a", rates(60, 600)), team("t", rates(6, 60_000))];
    let standing = world.take(&levels, 100).unwrap();
    assert_eq!((standing.requests.unwrap().limit, standing.tokens.unwrap().limit), (6, 600));
    for _ in 0..5 {
        world.take(&levels, 0).unwrap();
    }
    let refused = world.take(&levels, 550).unwrap_err();
    assert_eq!((refused.what, refused.wait), (Resource::Requests, ms(10_000)), "tokens would be back in five");
    assert_eq!(refused.standing.requests.unwrap().remaining, 0);
}

#[test]
fn places_are_taken_and_come_back_with_the_settlement() {
    let world = World::new();
    let levels = [key("k", Rates { concurrent: Some(2), ..Rates::NONE })];
    assert_eq!(world.take(&levels, 7).unwrap(), Standing::default());
    world.take(&levels, 7).unwrap();
    let refused = world.take(&levels, 7).unwrap_err();
    assert_eq!((refused.what, refused.limit, refused.wait), (Resource::Places, 2, PLACE_WAIT));
    world.settle(&levels, 7, 7);
    assert!(world.take(&levels, 7).is_ok());
    assert_eq!(world.table.counts().reservations, 2);
}

#[test]
fn a_new_limit_holds_at_once_and_forgets_nothing_but_debt() {
    let mut world = World::new();
    let at = |tokens| [key("k", rates(1000, tokens))];
    world.take(&at(1000), 900).unwrap();
    assert_eq!(world.left(&at(2000)[0]), 1100, "what was used stays used");
    assert!(world.take(&at(2000), 1101).is_err());
    assert!(world.take(&at(2000), 1100).is_ok());
    let lowered = world.take(&at(60), 1).unwrap_err();
    assert_eq!(lowered.wait, ms(1000), "empty, and not 33 minutes of debt");
    world.now += ms(1000);
    assert!(world.take(&at(60), 1).is_ok());
    // One that began under the old limit ends under the new one.
    world.settle(&at(1000), 900, 0);
    assert_eq!(world.left(&at(60)[0]), 60);
}

#[test]
fn a_burst_is_more_or_less_than_a_minute_and_comes_back_at_the_same_pace() {
    let mut world = World::new();
    for (percent, burst) in [(1, 1), (50, 30), (300, 180)] {
        let levels = [key(&percent.to_string(), Rates { burst_percent: Some(percent), ..rates(60, 1_000_000) })];
        assert_eq!((0..1000).filter(|_| world.take(&levels, 0).is_ok()).count(), burst);
        world.now += ms(2000);
        assert_eq!((0..1000).filter(|_| world.take(&levels, 0).is_ok()).count(), burst.min(2));
    }
}

#[test]
fn time_that_goes_back_gives_nothing_and_takes_nothing() {
    let mut world = World::new();
    let levels = [key("k", rates(60, 1000))];
    world.now += ms(10_000);
    (0..60).for_each(|_| _ = world.take(&levels, 0).unwrap());
    world.now -= ms(5_000);
    assert_eq!(world.take(&levels, 0).unwrap_err().wait, ms(1000));
    world.now += ms(5_999);
    assert!(world.take(&levels, 0).is_err());
    world.now += ms(1);
    assert!(world.take(&levels, 0).is_ok());
}

#[test]
fn numbers_of_any_size_are_counted_without_overflow() {
    let world = World::new();
    let levels = [key("k", Rates { burst_percent: Some(u32::MAX), ..rates(u64::MAX, u64::MAX) })];
    for _ in 0..5 {
        drop(world.take(&levels, u64::MAX));
        world.settle(&levels, 0, u64::MAX);
    }
    world.settle(&levels, u64::MAX, 0);
    assert_eq!(world.take(&levels, 1).unwrap_err().wait, ms(1), "a debt has an end");
    let small = [key("s", rates(0, 0))];
    assert!(world.take(&small, 1).is_ok(), "no limit is less than one");
    assert!(world.take(&small, 1).is_err());
}

#[test]
fn who_has_used_nothing_lately_takes_no_room() {
    let mut world = World::new();
    for minute in 0..10 {
        for n in 0..4_000 {
            world.take(&[user(minute * 4_000 + n, rates(60, 1000))], 10).unwrap();
            world.settle(&[user(minute * 4_000 + n, rates(60, 1000))], 10, 20);
        }
        world.now += ms(60_000);
    }
    assert!(world.table.counts().levels < 16_000, "{:?}", world.table.counts());
}

#[test]
fn beyond_the_bound_newcomers_share_and_those_who_were_there_keep_theirs() {
    let mut world = World::with_room(64);
    let limited = rates(2, 1000);
    let known: Vec<Level> = (0..10_000).map(|n| user(n, limited)).collect();
    let mut apart = Vec::new();
    let mut crowd = 0;
    for level in &known {
        let mut ask = ask(std::slice::from_ref(level), 1);
        match world.table.take(&mut ask, world.now) {
            Ok(_) if ask.levels[0].id == level.id => apart.push(level.clone()),
            Ok(_) => crowd += 1,
            Err(refused) => assert!(matches!(refused.level.holder, Holder::Crowd("user", _)), "{refused:?}"),
        }
    }
    assert!(apart.len() <= 128 && apart.len() >= 40, "{}", apart.len());
    assert!(crowd <= 2 * 64, "the crowd of a shard has the limit of one: {crowd}");
    assert!(world.table.counts().levels <= 128 + 64);
    for level in &apart {
        assert!(world.take(std::slice::from_ref(level), 1).is_ok(), "its second request");
        assert_eq!(world.take(std::slice::from_ref(level), 1).unwrap_err().level, level.id);
    }
    let keys = (0..1000).filter(|n| world.take(&[key(&n.to_string(), limited)], 1).is_ok()).count();
    assert_eq!(keys, 1000, "a key always has its own");
    world.now += ms(60_000);
    let again = known.iter().rev().filter(|level| world.take(std::slice::from_ref(level), 1).is_ok()).count();
    assert!(again > 100, "there is room again: {again}");
}

#[test]
fn every_level_has_a_name_of_its_own() {
    let holders = [
        Holder::Key("a".into()),
        Holder::Team("a".into()),
        Holder::Address([192, 0, 2, 1].into()),
        Holder::User([192, 0, 2, 1].into(), None),
        Holder::User([192, 0, 2, 1].into(), Some([0xAB; 16])),
        Holder::Crowd("user", 1),
    ];
    let parts = [Part::All, Part::Model("m".into()), Part::Provider("m".into())];
    let names: std::collections::BTreeSet<String> = holders
        .iter()
        .flat_map(|holder| parts.iter().map(|part| LevelId { holder: holder.clone(), part: part.clone() }.to_string()))
        .collect();
    assert_eq!(names.len(), holders.len() * parts.len(), "{names:?}");
    assert!(names.contains("user:192.0.2.1:abababababababababababababababab:provider:m"), "{names:?}");
}

/// The rule in plain fractions: what is left is a number of units with the denominator 60,000.
#[derive(Debug, Clone, Copy)]
struct Plain {
    left: i128,
    at: u64,
}

const DENOMINATOR: i128 = 60_000;

impl Plain {
    fn later(&mut self, now: u64, limit: u64) {
        let full = i128::from(limit) * DENOMINATOR;
        self.left = full.min(self.left + i128::from(now - self.at) * i128::from(limit));
        self.at = now;
    }

    fn allows(&self, cost: u64, limit: u64) -> bool {
        let full = i128::from(limit) * DENOMINATOR;
        cost == 0 || self.left == full || self.left >= i128::from(cost) * DENOMINATOR
    }
}

/// What one level is in plain fractions.
#[derive(Debug, Clone, Copy)]
struct PlainLevel {
    requests: Plain,
    tokens: Plain,
    places: u64,
}

#[derive(Debug, Clone)]
enum Move {
    Wait(u64),
    /// By one of three keys, of which two are of one team.
    Take(usize, u64),
    /// The oldest request that runs.
    Settle(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        2 => (0..20_000_u64).prop_map(Move::Wait),
        5 => (0..3_usize, prop_oneof![0..50_u64, 0..3_000_u64]).prop_map(|(who, tokens)| Move::Take(who, tokens)),
        4 => prop_oneof![0..50_u64, 0..5_000_u64].prop_map(Move::Settle),
    ];
    prop::collection::vec(one, 1..300)
}

proptest! {
    #[test]
    fn agrees_with_the_rule_in_exact_fractions(
        moves in moves(),
        limits in prop::collection::vec((1..40_u64, 1..2_000_u64, 1..6_u64), 4),
    ) {
        let mut world = World::new();
        let rates: Vec<Rates> = limits
            .iter()
            .map(|&(requests, tokens, places)| Rates { concurrent: Some(places), ..super::tests::rates(requests, tokens) })
            .collect();
        let levels_of = |who: usize| {
            let own = key(["a", "b", "c"][who], rates[who]);
            if who < 2 { vec![own, team("t", rates[3])] } else { vec![own] }
        };
        let mut plain: HashMap<LevelId, PlainLevel> = HashMap::new();
        let (start, mut running) = (world.now, Vec::new());
        for step in moves {
            let at = (world.now - start).as_millis() as u64;
            match step {
                Move::Wait(millis) => world.now += ms(millis),
                Move::Take(who, tokens) => {
                    let levels = levels_of(who);
                    let mut allowed = true;
                    for level in &levels {
                        let (requests, tokens_most) =
                            (level.rates.requests_per_minute.unwrap(), level.rates.tokens_per_minute.unwrap());
                        let full = |limit: u64| Plain { left: i128::from(limit) * DENOMINATOR, at };
                        let state = plain.entry(level.id.clone()).or_insert(PlainLevel {
                            requests: full(requests),
                            tokens: full(tokens_most),
                            places: 0,
                        });
                        state.requests.later(at, requests);
                        state.tokens.later(at, tokens_most);
                        allowed &= state.requests.allows(1, requests)
                            && state.tokens.allows(tokens, tokens_most)
                            && state.places < level.rates.concurrent.unwrap();
                    }
                    let verdict = world.take(&levels, tokens);
                    prop_assert_eq!(verdict.is_ok(), allowed, "{:?}", verdict);
                    if allowed {
                        for level in &levels {
                            let state = plain.get_mut(&level.id).unwrap();
                            state.requests.left -= DENOMINATOR;
                            state.tokens.left -= i128::from(tokens) * DENOMINATOR;
                            state.places += 1;
                        }
                        running.push((levels.clone(), tokens));
                    } else if let Err(refused) = verdict && refused.what != Resource::Places {
                        // Neither too long nor too short, while nobody else takes anything.
                        let concurrent = levels.iter().any(|level| plain[&level.id].places >= level.rates.concurrent.unwrap());
                        let look = |wait: Duration| world.table.look(&levels, tokens, world.now + wait);
                        prop_assert!(concurrent || look(refused.wait).is_ok());
                        prop_assert!(look(refused.wait - ms(1)).is_err());
                    }
                    for level in &levels {
                        let state = &plain[&level.id];
                        let left = u64::try_from(state.tokens.left / DENOMINATOR).unwrap_or(0);
                        prop_assert_eq!(world.left(level), left);
                    }
                }
                Move::Settle(spent) => {
                    if running.is_empty() {
                        continue;
                    }
                    let (levels, reserved) = running.remove(0);
                    world.settle(&levels, reserved, spent);
                    for level in &levels {
                        let most = level.rates.tokens_per_minute.unwrap();
                        let state = plain.get_mut(&level.id).unwrap();
                        state.tokens.later(at, most);
                        let back = i128::from(reserved) - i128::from(spent);
                        state.tokens.left =
                            (state.tokens.left + back * DENOMINATOR).min(i128::from(most) * DENOMINATOR);
                        state.places -= 1;
                    }
                }
            }
        }
        for (levels, reserved) in running {
            world.settle(&levels, reserved, 0);
        }
        prop_assert_eq!(world.table.counts().reservations, 0);
    }
}

#[test]
fn threads_that_meet_take_exactly_what_there_is() {
    let world = World::new();
    let shared = team("t", rates(1000, 1_000_000));
    let admitted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let (world, shared) = (&world, &shared);
                scope.spawn(move || {
                    let levels = [key(&thread.to_string(), rates(400, 1_000_000)), shared.clone()];
                    let take = |_: &i32| {
                        let taken = world.take(&levels, 100).is_ok();
                        if taken {
                            world.settle(&levels, 100, 50);
                        }
                        taken
                    };
                    (0..2000).filter(take).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, 1000);
    assert_eq!(world.left(&shared), 1_000_000 - 1000 * 50);
    assert_eq!(world.table.counts().reservations, 0);
}
