//! Every order in which threads can meet at a limit, tried by loom: `make model-check`.

use std::sync::Arc;
use std::time::Instant;

use loom::{model as check, thread};

use super::*;

fn level(holder: Holder, requests: u64, tokens: u64) -> Level {
    let rates = Rates { requests_per_minute: Some(requests), tokens_per_minute: Some(tokens), ..Rates::NONE };
    Level::new(LevelId { holder, part: Part::All }, rates)
}

fn own(name: &str) -> Level {
    level(Holder::Key(name.into()), 100, 1000)
}

fn team(requests: u64) -> Level {
    level(Holder::Team("t".into()), requests, 1000)
}

fn ask(levels: &[Level], tokens: u64) -> Ask {
    Ask { levels: levels.to_vec(), tokens }
}

fn left(table: &Table, level: &Level, now: Instant) -> (u64, u64) {
    let standing = table.look(std::slice::from_ref(level), 0, now).unwrap_or_else(|refused| refused.standing);
    (standing.requests.unwrap().remaining, standing.tokens.unwrap().remaining)
}

#[test]
fn the_last_of_a_team_goes_to_one_and_the_other_pays_nothing() {
    check(|| {
        let now = Instant::now();
        let table = Arc::new(Table::new(now));
        let threads = ["a", "b"].map(|name| {
            let table = Arc::clone(&table);
            // In different orders: whoever locks as it is told would wait for ever.
            let levels = if name == "a" { [own(name), team(1)] } else { [team(1), own(name)] };
            thread::spawn(move || table.take(&mut ask(&levels, 10), now).is_ok())
        });
        let taken = threads.map(|thread| thread.join().unwrap());
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
        for (name, taken) in ["a", "b"].into_iter().zip(taken) {
            let expected = if taken { (99, 990) } else { (100, 1000) };
            assert_eq!(left(&table, &own(name), now), expected);
        }
        assert_eq!(left(&table, &team(1), now), (0, 990));
    });
}

#[test]
fn a_settlement_beside_a_reservation_loses_neither() {
    check(|| {
        let now = Instant::now();
        let table = Arc::new(Table::new(now));
        let levels = [own("a"), team(100)];
        table.take(&mut ask(&levels, 600), now).unwrap();
        let (other, settled) = (Arc::clone(&table), levels.clone());
        let thread = thread::spawn(move || other.settle(&ask(&settled, 600), 100, now));
        let taken = table.take(&mut ask(&levels, 500), now).is_ok();
        thread.join().unwrap();
        let tokens = if taken { 400 } else { 900 };
        assert_eq!((left(&table, &levels[0], now).1, left(&table, &levels[1], now).1), (tokens, tokens));
        assert_eq!(table.counts().reservations, u64::from(taken));
    });
}

#[test]
fn two_settlements_free_two_places() {
    check(|| {
        let now = Instant::now();
        let table = Arc::new(Table::new(now));
        let levels = [own("a")];
        (0..2).for_each(|_| _ = table.take(&mut ask(&levels, 100), now).unwrap());
        let threads = [50, 200].map(|spent| {
            let (table, levels) = (Arc::clone(&table), levels.clone());
            thread::spawn(move || table.settle(&ask(&levels, 100), spent, now))
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(left(&table, &levels[0], now), (98, 750));
        assert_eq!(table.counts().reservations, 0);
    });
}
