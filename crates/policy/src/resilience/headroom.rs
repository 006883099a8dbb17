//! What is left of the limits that a provider sets for one model and one key, so that nobody is sent there to be refused.
//!
//! Every answer of many providers says what was left when its request came ([`UpstreamQuota`]). From that moment on what was left
//! grows, evenly, until it is full at the time that the provider has named, and shrinks by what has been sent since: an answer
//! takes seconds or minutes, and what was sent meanwhile is not in what it says. So each request remembers how much had been
//! sent up to and with it, and of two answers the one whose request was sent later is believed, whichever comes first. What an
//! answer would have said that never came is concluded from what is known.
//!
//! Where the provider does not say when it will be full, a limit of a minute is assumed, and where it says no limit either, its
//! word counts for ten seconds, the shortest window that any of them has. No word counts for longer than five minutes. Where
//! a provider says nothing, nothing is counted and nobody is kept from asking.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::hint::{LONGEST_REST, Left, Limited, UpstreamQuota};
use crate::sync::{AtomicU64, Ordering};
use crate::tokens::Estimate;

/// From empty to full, where the provider says a limit and no time.
const USUAL_WINDOW: Duration = Duration::from_secs(60);
/// How long what remains is believed where the provider says neither.
const SHORTEST_WINDOW: Duration = Duration::from_secs(10);
/// When to look again if more is on its way than the limit holds.
const CROWDED: Duration = Duration::from_secs(1);

/// See the module. Shared by all workers.
#[derive(Debug, Default)]
pub struct Headroom {
    told: ArcSwapOption<Told>,
    sent: [AtomicU64; COUNTERS],
}

/// Requests, input tokens, output tokens.
const COUNTERS: usize = 3;
type Amounts = [u64; COUNTERS];

/// The latest word of the provider.
#[derive(Debug)]
struct Told {
    quota: UpstreamQuota,
    /// When its request was sent, and how much had been sent with it.
    at: Instant,
    sent: Amounts,
}

impl Told {
    /// What the provider would have said to a request that was sent later.
    fn at_the_time_of(&self, sent: &Sent) -> Told {
        let age = sent.at.saturating_duration_since(self.at);
        let mut since = [0; COUNTERS];
        for ((since, upto), told) in since.iter_mut().zip(sent.upto).zip(self.sent) {
            *since = upto.saturating_sub(told);
        }
        let quota = self.quota.map(|what, left| {
            let (window, taken) = (window(left), amount(what, &since));
            let Some(limit) = left.limit else {
                let reset = window.checked_sub(age).filter(|rest| !rest.is_zero())?;
                return Some(Left { remaining: left.remaining.saturating_sub(taken), reset: Some(reset), ..left });
            };
            let remaining = refilled(left.remaining, limit, age, window).saturating_sub(taken);
            // As fast as before.
            let for_all = match limit.saturating_sub(left.remaining) {
                0 => USUAL_WINDOW,
                missing => window.mul_f64(limit as f64 / missing as f64),
            };
            let reset = for_all.mul_f64(limit.saturating_sub(remaining) as f64 / limit as f64);
            Some(Left { remaining, limit: Some(limit), reset: Some(reset) })
        });
        Told { quota, at: sent.at, sent: sent.upto }
    }
}

/// What is left of one limit, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Room {
    pub what: Limited,
    pub left: u64,
    pub limit: Option<u64>,
    /// When all of it is back.
    pub full_at: Instant,
}

impl Headroom {
    /// Room for one request of this size. Fails with the time at which there will probably be room.
    pub fn ask(self: &Arc<Self>, size: Estimate, now: Instant) -> Result<Sent, Instant> {
        let sent = self.insist(size, now);
        match sent.is_counted().then(|| self.full_until(&sent, now)).flatten() {
            None => Ok(sent),
            Some(until) => Err(until),
        }
    }

    /// The same whether there is room or not.
    pub fn insist(self: &Arc<Self>, size: Estimate, now: Instant) -> Sent {
        let cost = match self.told.load().is_some() {
            true => [1, size.input, size.output],
            false => [0; COUNTERS],
        };
        let mut upto = [0; COUNTERS];
        for ((upto, counter), cost) in upto.iter_mut().zip(&self.sent).zip(cost) {
            // Nothing is written where nothing is known.
            *upto = if cost == 0 {
                counter.load(Ordering::Relaxed)
            } else {
                counter.fetch_add(cost, Ordering::Relaxed) + cost
            };
        }
        Sent { headroom: Arc::clone(self), cost, upto, at: now, begun: false }
    }

    /// Whether the smallest request would find no room.
    pub fn is_used_up(&self, now: Instant) -> bool {
        let Some(told) = &*self.told.load() else { return false };
        let since = self.since(told);
        self.rooms_of(told, now).any(|room| room.left <= amount(room.what, &since))
    }

    /// What is left of each limit that is known, less what has been sent since.
    pub fn rooms(&self, now: Instant) -> Vec<Room> {
        let Some(told) = &*self.told.load() else { return Vec::new() };
        let since = self.since(told);
        let less = |room: Room| Room { left: room.left.saturating_sub(amount(room.what, &since)), ..room };
        self.rooms_of(told, now).map(less).collect()
    }

    fn since(&self, told: &Told) -> Amounts {
        let mut since = [0; COUNTERS];
        for ((since, counter), told) in since.iter_mut().zip(&self.sent).zip(told.sent) {
            *since = counter.load(Ordering::Relaxed).saturating_sub(told);
        }
        since
    }

    fn rooms_of(&self, told: &Told, now: Instant) -> impl Iterator<Item = Room> {
        let age = now.saturating_duration_since(told.at);
        let known = Limited::ALL.into_iter().filter_map(|what| Some((what, told.quota.of(what)?)));
        known.filter_map(move |(what, left)| {
            let window = window(left);
            let limit = match left.limit {
                // Full again: of what, is not known.
                None if age >= window => return None,
                limit => limit,
            };
            let left = limit.map_or(left.remaining, |limit| refilled(left.remaining, limit, age, window));
            (age < LONGEST_REST).then_some(Room { what, left, limit, full_at: told.at + window })
        })
    }

    /// `sent` is counted already.
    fn full_until(&self, sent: &Sent, now: Instant) -> Option<Instant> {
        let told = self.told.load();
        let told = told.as_ref()?;
        let since = self.since(told);
        let until = |room: Room| {
            let (all, own) = (amount(room.what, &since), amount(room.what, &sent.cost));
            // What is larger than the limit fits when it is full and nobody else is on the way.
            let fits = all <= room.left || all <= own && room.limit == Some(room.left);
            (!fits).then(|| match room.limit {
                Some(limit) if all <= limit || all <= own => {
                    let left = told.quota.of(room.what)?;
                    let missing = (all.min(limit).saturating_sub(left.remaining)) as f64;
                    let taken = limit.saturating_sub(left.remaining).max(1) as f64;
                    Some(told.at + window(left).mul_f64((missing / taken).min(1.0)))
                }
                _ => Some(room.full_at.max(now + CROWDED)),
            })?
        };
        let until = self.rooms_of(told, now).filter_map(until).max()?;
        Some(until.min(told.at + LONGEST_REST).max(now))
    }
}

/// From what was told until all is back.
fn window(left: Left) -> Duration {
    left.reset.unwrap_or_else(|| match left.limit {
        Some(limit) => USUAL_WINDOW.mul_f64(1.0 - left.remaining as f64 / limit as f64),
        None => SHORTEST_WINDOW,
    })
}

fn refilled(remaining: u64, limit: u64, age: Duration, window: Duration) -> u64 {
    if age >= window {
        return limit;
    }
    let back = limit.saturating_sub(remaining) as f64 * (age.as_secs_f64() / window.as_secs_f64());
    remaining + back as u64
}

fn amount(what: Limited, [requests, input, output]: &Amounts) -> u64 {
    match what {
        Limited::Requests => *requests,
        Limited::Tokens => input + output,
        Limited::InputTokens => *input,
        Limited::OutputTokens => *output,
    }
}

/// A request that is to be sent, or has been.
#[derive(Debug)]
#[must_use = "a request that is dropped before it begins is not counted"]
pub struct Sent {
    headroom: Arc<Headroom>,
    cost: Amounts,
    /// All that had been sent, with it.
    upto: Amounts,
    at: Instant,
    begun: bool,
}

impl Sent {
    fn is_counted(&self) -> bool {
        self.cost != [0; COUNTERS]
    }

    /// From here on the provider counts it, whatever becomes of it.
    pub fn begins(&mut self) {
        self.begun = true;
    }

    /// It did not get there.
    pub fn never_arrived(mut self) {
        self.begun = false;
    }

    /// What its answer says.
    pub fn told(mut self, quota: UpstreamQuota) {
        if !quota.is_empty() {
            self.begun = false;
            self.cost = [0; COUNTERS];
            self.believe(Told { quota, at: self.at, sent: self.upto });
        }
    }

    fn believe(&self, new: Told) {
        let new = Arc::new(new);
        self.headroom.told.rcu(|known| match known {
            Some(known) if known.sent[0] > new.sent[0] => Some(Arc::clone(known)),
            _ => Some(Arc::clone(&new)),
        });
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.is_counted() {
            return;
        }
        let known = self.headroom.told.load_full();
        let Some(known) = known.filter(|told| told.sent[0] < self.upto[0]) else { return };
        if self.begun {
            // Nobody will say it, so it is concluded.
            self.believe(known.at_the_time_of(self));
        } else {
            for (counter, cost) in self.headroom.sent.iter().zip(self.cost) {
                counter.fetch_sub(cost, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests;
