//! The same state where several gateways share it: what the store said last, and a share of the limits while it says nothing.

use std::time::{Duration, Instant};

use super::super::{Ask, Bucket, Level, Refused, Resource, Standing};
use super::{State, Table, lock, longer};

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
    pub fn told(&self, ask: &Ask, said: &[Said], granted: bool, at: Instant) -> Result<Standing, Refused> {
        let at_ms = self.millis(at);
        let mut locked = self.lock(&ask.levels);
        let (mut refused, mut standing) = (None, Standing::default());
        for (index, (level, said)) in ask.levels.iter().zip(said).enumerate() {
            let Some((_, shard)) = locked.shard(index) else { continue };
            let state = State {
                at_ms,
                requests: level.requests().map(|rate| Bucket::of(said.requests, rate)),
                tokens: level.tokens().map(|rate| Bucket::of(said.tokens, rate)),
                places: said.places,
            };
            state.tell(&mut standing);
            if !granted {
                refused = longer(refused, state.refusal(level, ask.tokens));
            }
            let own = shard.levels.get(&level.id).map_or(0, |known| known.places);
            if !level.id.holder.is_anonymous() || own > 0 || shard.has_room(at_ms, self.anonymous_per_shard) {
                shard.put(level, State { places: own + u64::from(granted), ..state }, at_ms);
            }
        }
        match ask.levels.first() {
            Some(first) if !granted => {
                let unknown = || Refused {
                    level: first.id.clone(),
                    what: Resource::Requests,
                    limit: first.rates.requests_per_minute.unwrap_or_default(),
                    wait: UNKNOWN_WAIT,
                    standing,
                };
                Err(Refused { standing, ..refused.unwrap_or_else(unknown) })
            }
            _ => Ok(standing),
        }
    }

    /// As [`Table::take`], by one part in `of` of each limit, and of what the store last said was taken.
    pub fn take_share(&self, ask: &mut Ask, of: u64, now: Instant) -> Result<Standing, Refused> {
        let now_ms = self.millis(now);
        for level in &mut ask.levels {
            level.rates = level.rates.share(of);
            let mut shard = lock(&self.shards[self.shard(&level.id)]);
            if let Some(state) = shard.levels.get_mut(&level.id) {
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
