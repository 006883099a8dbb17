//! The same state where several gateways share it: what the store said last, and a share of the limits while it says nothing.

use std::time::{Duration, Instant};

use super::super::{Ask, Bucket, Level, Refused, Resource, Standing};
use super::{Closed, Place, State, Table, lock, longer};

/// What a store that several gateways share says of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said {
    /// Taken and not come back, as [`Bucket::taken`].
    pub requests: u64,
    pub tokens: u64,
    /// Requests that have taken and not settled, where they are limited.
    pub places: u64,
}

/// Only if the store had another opinion of its own answer.
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);

impl Table {
    /// Takes over what a store has decided about `ask` at a moment not after `at`: of each level what it says, with this request
    /// in it if it was granted. Of the places only this gateway's own are counted.
    pub fn told(&self, ask: &Ask, said: &[Said], granted: bool, at: Instant) -> Result<Standing, Box<Refused>> {
        let at_ms = self.millis(at);
        let mut locked = self.lock(&ask.levels);
        let (mut closed, mut standing) = (None, Standing::default());
        for (index, (level, said)) in ask.levels.iter().zip(said).enumerate() {
            let Some((place, shard)) = locked.shard(index) else { continue };
            let known = shard.find(place.hash, level, at_ms);
            let state = State {
                at_ms,
                requests: level.requests().map(|rate| Bucket::of(said.requests, rate)),
                tokens: level.tokens().map(|rate| Bucket::of(said.tokens, rate)),
                places: said.places,
                ..known
            };
            state.tell(&mut standing);
            if !granted {
                closed = longer(closed, state.closed(index, level, ask.tokens));
            }
            if shard.has_room_for(place.hash, level, at_ms, self.anonymous_per_shard) {
                shard.put(place.hash, level, State { places: known.places + u64::from(granted), ..state }, at_ms);
            }
        }
        match ask.levels.first() {
            Some(first) if !granted => {
                let limit = first.rates.requests_per_minute.unwrap_or_default();
                let unknown = Closed { level: 0, what: Resource::Requests, limit, wait: UNKNOWN_WAIT };
                Err(closed.unwrap_or(unknown).refusal(&ask.levels, standing))
            }
            _ => Ok(standing),
        }
    }

    /// As [`Table::take`], by one part in `of` of each limit, and of what the store last said was taken.
    pub fn take_share(&self, ask: &mut Ask, of: u64, now: Instant) -> Result<Standing, Box<Refused>> {
        let now_ms = self.millis(now);
        for level in &mut ask.levels {
            level.rates = level.rates.share(of);
            let place = Place::of(level);
            if let Some(state) = lock(&self.shards[place.shard]).levels.get_mut(&place.hash) {
                *state = state.scaled(level, now_ms);
            }
        }
        self.take(ask, now)
    }
}

impl State {
    fn scaled(self, level: &Level, now_ms: u64) -> State {
        let state = self.later(now_ms);
        let scaled = |bucket: Option<Bucket>, rate| match (bucket, rate) {
            (Some(bucket), Some(rate)) if bucket.rate() != rate => Some(bucket.scaled(rate)),
            (bucket, _) => bucket,
        };
        State {
            requests: scaled(state.requests, level.requests()),
            tokens: scaled(state.tokens, level.tokens()),
            ..state
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use gateway_core::access::Rates;

    use super::super::super::{Holder, LevelId, Part, parts};
    use super::*;

    const LIMIT: u64 = 80;

    fn ask() -> Ask {
        let rates = Rates { requests_per_minute: Some(LIMIT), concurrent: Some(16), ..Rates::NONE };
        let id = LevelId { holder: Holder::Key("k".into()), part: Part::All };
        Ask { levels: vec![Level::new(id, rates)], tokens: 0 }
    }

    fn said(requests: u64) -> [Said; 1] {
        [Said { requests: parts(requests), ..Said::default() }]
    }

    /// How many requests pass at once.
    fn passing(table: &Table, of: u64, now: Instant) -> u64 {
        (0..LIMIT).take_while(|_| table.take_share(&mut ask(), of, now).is_ok()).count() as u64
    }

    #[test]
    fn a_share_goes_on_from_what_the_store_said_was_left() {
        let now = Instant::now();
        let table = Table::new(now);
        // Of 80 requests 40 are left, and of a share of 20 therefore 10; the places of a share are four.
        table.told(&ask(), &said(40), true, now).unwrap();
        assert_eq!(passing(&table, 4, now), 3, "one place was taken before");
        for _ in 0..4 {
            table.settle(&ask(), 0, now);
        }
        assert_eq!(table.counts().reservations, 0);
        let mut passed = 3;
        while table.take_share(&mut ask(), 4, now).is_ok() {
            passed += 1;
            table.settle(&ask(), 0, now);
        }
        assert_eq!(passed, 10);
        // It fills as a share does: twenty in a minute.
        let later = now + Duration::from_secs(6);
        assert!(table.take_share(&mut ask(), 4, later).is_ok() && table.take_share(&mut ask(), 4, later).is_ok());
        assert!(table.take_share(&mut ask(), 4, later).is_err());
    }

    #[test]
    fn all_shares_together_are_no_more_than_the_limit() {
        for of in 1..=10 {
            let now = Instant::now();
            let together: u64 = (0..of)
                .map(|_| {
                    let (table, mut passed) = (Table::new(now), 0);
                    while table.take_share(&mut ask(), of, now).is_ok() {
                        passed += 1;
                        table.settle(&ask(), 0, now);
                    }
                    passed
                })
                .sum();
            assert!(together <= LIMIT && together > LIMIT - of, "{together} of {LIMIT} in {of} shares");
        }
    }

    #[test]
    fn what_the_store_refused_is_known_to_be_refused() {
        let now = Instant::now();
        let table = Table::new(now);
        let refused = table.told(&ask(), &said(LIMIT), false, now).unwrap_err();
        assert_eq!((refused.what, refused.wait), (Resource::Requests, Duration::from_millis(750)));
        assert!(table.look(&ask().levels, 0, now + Duration::from_millis(749)).is_err());
        assert!(table.look(&ask().levels, 0, now + Duration::from_millis(750)).is_ok());
        assert_eq!(table.counts().reservations, 0);
    }
}
