//! The state of all limits of one gateway, in memory.
//!
//! It is spread over shards by the name of the level, each behind a lock that is held for as long as it takes to count. A
//! request locks the shards of all its levels, always in the same order, so that it takes from all or from none; two requests
//! wait for each other only if they stand under the same limit, or by chance.
//!
//! A level is known by a hash of its name under a secret of the process: nobody can look for two levels with the same one, and
//! that two have it by chance is as good as impossible (one in a billion gateways with two hundred thousand levels each).

mod shared;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use gateway_core::limits::{ANONYMOUS_HOLDERS, LEVELS_PER_REQUEST};

use super::{Ask, Bucket, Holder, Left, Level, LevelId, PLACE_WAIT, Part, Rate, Refused, Resource, Standing};
use crate::sync::{Mutex, MutexGuard, lock};

const SHARDS: usize = 64;
/// A shard is swept when it has grown to twice what the last sweep left, and to no less than this.
const SWEPT_LEAST: usize = 64;
/// A shard without room is not swept for every newcomer.
const SWEEP_EVERY_MS: u64 = 1000;

pub use shared::Said;

#[derive(Debug)]
pub struct Table {
    origin: Instant,
    shards: Box<[Mutex<Shard>]>,
    anonymous_per_shard: usize,
}

/// For operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Limits of which something is used.
    pub levels: u64,
    /// Requests that have taken and not settled.
    pub reservations: u64,
}

impl Table {
    /// `now` is any moment not after the first use.
    pub fn new(now: Instant) -> Table {
        Table::with_room(now, ANONYMOUS_HOLDERS)
    }

    /// `room`: for so many holders of whom there is no end.
    pub fn with_room(now: Instant, room: usize) -> Table {
        Table {
            origin: now,
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
            anonymous_per_shard: room.div_ceil(SHARDS),
        }
    }

    /// Takes from all levels, or from none. Levels for which there is no room are replaced in `ask`; what was asked is what
    /// must be settled.
    pub fn take(&self, ask: &mut Ask, now: Instant) -> Result<Standing, Box<Refused>> {
        let (now_ms, tokens) = (self.millis(now), ask.tokens);
        let mut locked = self.lock(&ask.levels);
        let mut states = [State::default(); LEVELS_PER_REQUEST];
        let (mut closed, mut standing) = (None, Standing::default());
        for (index, level) in ask.levels.iter_mut().enumerate() {
            let Some((place, shard)) = locked.shard(index) else { continue };
            if !shard.has_room_for(place.hash, level, now_ms, self.anonymous_per_shard) {
                *level = level.of(Holder::Crowd(level.id.holder.kind(), place.shard as u8));
                place.hash = level.hash;
            }
            states[index] = shard.find(place.hash, level, now_ms);
            closed = longer(closed, states[index].closed(index, level, tokens));
        }
        if let Some(closed) = closed {
            for (index, state) in states.into_iter().enumerate() {
                if let Some((place, shard)) = locked.shard(index) {
                    state.tell(&mut standing);
                    shard.keep(place.hash, state);
                }
            }
            return Err(closed.refusal(&ask.levels, standing));
        }
        for (index, level) in ask.levels.iter().enumerate() {
            let Some((place, shard)) = locked.shard(index) else { continue };
            let state = states[index].taken(tokens);
            state.tell(&mut standing);
            shard.put(place.hash, level, state, now_ms);
        }
        Ok(standing)
    }

    /// Whether a request would pass, and how its caller stands. Nothing is taken.
    pub fn look(&self, levels: &[Level], tokens: u64, now: Instant) -> Result<Standing, Box<Refused>> {
        let now_ms = self.millis(now);
        let (mut closed, mut standing) = (None, Standing::default());
        for (index, level) in levels.iter().enumerate() {
            let place = Place::of(level);
            let state = lock(&self.shards[place.shard]).find(place.hash, level, now_ms);
            closed = longer(closed, state.closed(index, level, tokens));
            state.tell(&mut standing);
        }
        match closed {
            Some(closed) => Err(closed.refusal(levels, standing)),
            None => Ok(standing),
        }
    }

    /// Puts what a request really needed in the place of what it took, and frees its place.
    pub fn settle(&self, ask: &Ask, spent: u64, now: Instant) {
        let now_ms = self.millis(now);
        for level in &ask.levels {
            let place = Place::of(level);
            if let Some(state) = lock(&self.shards[place.shard]).levels.get_mut(&place.hash) {
                *state = state.settled(ask.tokens, spent, now_ms);
            }
        }
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for shard in &self.shards {
            let shard = lock(shard);
            counts.levels += shard.levels.len() as u64;
            let own = shard.levels.values().filter(|state| state.owner == Owner::Caller);
            counts.reservations += own.map(|state| state.places).sum::<u64>();
        }
        counts
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_millis() as u64
    }

    fn lock(&self, levels: &[Level]) -> Locked<'_> {
        let mut places = [NOWHERE; LEVELS_PER_REQUEST];
        for (place, level) in places.iter_mut().zip(levels) {
            *place = Place::of(level);
        }
        let mut order = places.map(|place| place.shard);
        order.sort_unstable();
        let mut guards = [const { None }; LEVELS_PER_REQUEST];
        for (index, &shard) in order.iter().enumerate() {
            if shard != NOWHERE.shard && !order[..index].contains(&shard) {
                guards[index] = Some((shard, lock(&self.shards[shard])));
            }
        }
        Locked { places, guards }
    }
}

/// What stands in the way of a request at one of its levels, and for how long.
#[derive(Debug, Clone, Copy)]
struct Closed {
    /// In the list of its levels.
    level: usize,
    what: Resource,
    limit: u64,
    wait: Duration,
}

impl Closed {
    fn refusal(self, levels: &[Level], standing: Standing) -> Box<Refused> {
        let Closed { level, what, limit, wait } = self;
        Box::new(Refused { level: levels[level].id.clone(), what, limit, wait, standing })
    }
}

fn longer(known: Option<Closed>, other: Option<Closed>) -> Option<Closed> {
    match (known, other) {
        (Some(known), Some(other)) => Some(if other.wait > known.wait { other } else { known }),
        (known, other) => known.or(other),
    }
}

/// Where a level is kept, and by which number.
#[derive(Debug, Clone, Copy)]
struct Place {
    shard: usize,
    hash: u64,
}

const NOWHERE: Place = Place { shard: usize::MAX, hash: 0 };

impl Place {
    fn of(level: &Level) -> Place {
        let shard = match level.id.holder {
            Holder::Crowd(_, shard) => shard,
            // Not the bits by which the shard's own table goes.
            _ => (level.hash >> 32) as u8,
        };
        Place { shard: usize::from(shard) % SHARDS, hash: level.hash }
    }
}

/// The shards of the levels of a request, each locked once.
struct Locked<'a> {
    /// Of each level.
    places: [Place; LEVELS_PER_REQUEST],
    guards: [Option<(usize, MutexGuard<'a, Shard>)>; LEVELS_PER_REQUEST],
}

impl Locked<'_> {
    /// That of the level at `index`.
    fn shard(&mut self, index: usize) -> Option<(&mut Place, &mut Shard)> {
        let place = self.places.get_mut(index)?;
        let found = self.guards.iter_mut().flatten().find(|(shard, _)| *shard == place.shard);
        found.map(|(_, guard)| (place, &mut **guard))
    }
}

/// What is a hash already is not hashed again.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug, Default)]
struct Shard {
    levels: HashMap<u64, State, BuildHasherDefault<Hashed>>,
    /// Of them, those of holders of whom there is no end.
    anonymous: usize,
    sweep_at: usize,
    swept_ms: u64,
}

impl Shard {
    /// The state of a level as it is now.
    fn find(&self, hash: u64, level: &Level, now_ms: u64) -> State {
        self.levels.get(&hash).copied().unwrap_or_default().after(level, now_ms)
    }

    /// Whether the level is known, or can be.
    fn has_room_for(&mut self, hash: u64, level: &Level, now_ms: u64, room: usize) -> bool {
        if !level.id.holder.is_anonymous() || self.anonymous < room || self.levels.contains_key(&hash) {
            return true;
        }
        if now_ms >= self.swept_ms + SWEEP_EVERY_MS {
            self.sweep(now_ms);
        }
        self.anonymous < room
    }

    /// Of a known level: from now on time goes by at the limits that hold now.
    fn keep(&mut self, hash: u64, state: State) -> bool {
        let known = self.levels.get_mut(&hash);
        known.map(|known| *known = state).is_some()
    }

    fn put(&mut self, hash: u64, level: &Level, state: State, now_ms: u64) {
        if self.keep(hash, state) {
            return;
        }
        if self.levels.len() >= self.sweep_at.max(SWEPT_LEAST) {
            self.sweep(now_ms);
            self.sweep_at = 2 * self.levels.len();
        }
        let anonymous = level.id.holder.is_anonymous();
        self.anonymous += usize::from(anonymous);
        self.levels.insert(hash, State { owner: Owner::of(&level.id), anonymous, ..state });
    }

    /// Forgets those who have everything that is theirs: an unknown holder has, too.
    fn sweep(&mut self, now_ms: u64) {
        self.swept_ms = now_ms;
        self.levels.retain(|_, state| !state.is_idle(now_ms));
        self.anonymous = self.levels.values().filter(|state| state.anonymous).count();
        if self.levels.len() < self.levels.capacity() / 8 {
            self.levels.shrink_to(2 * self.levels.len());
        }
    }
}

/// What is known of one level. Nothing: nobody has used anything of it.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// When the buckets were as they are here.
    at_ms: u64,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    /// Requests that have taken and not settled.
    places: u64,
    owner: Owner,
    anonymous: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Owner {
    /// Every request stands under one such limit.
    Caller,
    #[default]
    Other,
}

impl Owner {
    fn of(id: &LevelId) -> Owner {
        let is_caller = match id.holder {
            Holder::Key(_) | Holder::User(..) => id.part == Part::All,
            Holder::Crowd(kind, _) => kind == "user",
            Holder::Team(_) | Holder::Address(_) => false,
        };
        if is_caller { Owner::Caller } else { Owner::Other }
    }
}

impl State {
    fn later(self, now_ms: u64) -> State {
        let millis = now_ms.saturating_sub(self.at_ms);
        let later = |bucket: Option<Bucket>| bucket.map(|bucket| bucket.after(millis));
        State { at_ms: self.at_ms.max(now_ms), requests: later(self.requests), tokens: later(self.tokens), ..self }
    }

    /// As it is now, by the limits that hold now.
    fn after(self, level: &Level, now_ms: u64) -> State {
        let at = |bucket: Option<Bucket>, rate: Option<Rate>| {
            rate.map(|rate| bucket.map_or(Bucket::full(rate), |bucket| bucket.at(rate)))
        };
        let state = self.later(now_ms);
        State { requests: at(state.requests, level.requests()), tokens: at(state.tokens, level.tokens()), ..state }
    }

    /// What stands longest in the way of a request, if anything does.
    fn closed(&self, index: usize, level: &Level, tokens: u64) -> Option<Closed> {
        let by = |what, limit, wait| Closed { level: index, what, limit, wait };
        let short = |what, bucket: Option<Bucket>, cost| {
            let bucket = bucket.filter(|bucket| !bucket.allows(cost))?;
            Some(by(what, bucket.rate().per_minute, Duration::from_millis(bucket.wait(cost))))
        };
        let places = level.rates.concurrent.filter(|&most| self.places >= most);
        let places = places.map(|most| by(Resource::Places, most, PLACE_WAIT));
        let requests = short(Resource::Requests, self.requests, 1);
        let tokens = short(Resource::Tokens, self.tokens, tokens);
        longer(longer(requests, tokens), places)
    }

    fn tell(&self, standing: &mut Standing) {
        let left = |bucket: Bucket| Left {
            limit: bucket.rate().per_minute,
            remaining: bucket.left(),
            reset: Duration::from_millis(bucket.wait_full()),
        };
        standing.see(self.requests.map(left), self.tokens.map(left));
    }

    fn taken(self, tokens: u64) -> State {
        State {
            requests: self.requests.map(|bucket| bucket.take(1)),
            tokens: self.tokens.map(|bucket| bucket.take(tokens)),
            places: self.places + 1,
            ..self
        }
    }

    fn settled(self, reserved: u64, spent: u64, now_ms: u64) -> State {
        let state = self.later(now_ms);
        let settle = |bucket: Bucket| match spent.checked_sub(reserved) {
            Some(more) => bucket.take(more),
            None => bucket.give_back(reserved - spent),
        };
        State { tokens: state.tokens.map(settle), places: state.places.saturating_sub(1), ..state }
    }

    fn is_idle(self, now_ms: u64) -> bool {
        let State { requests, tokens, places, .. } = self.later(now_ms);
        places == 0 && [requests, tokens].into_iter().flatten().all(Bucket::is_full)
    }
}
