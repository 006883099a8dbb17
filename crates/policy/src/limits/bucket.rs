//! A token bucket in whole numbers: it never drifts, however often it is looked at.
//!
//! What is kept is not what is left but what has been taken and has not come back. So a bucket that nobody knows is a full one,
//! one that is full again need not be kept, and a new limit holds at once for what was taken under the old one.

use gateway_core::limits::RATE_PER_MINUTE_MOST;

/// A minute's limit comes back in so many steps, one for each millisecond: a bucket counts in this part of a unit.
const STEPS: u64 = 60_000;

/// A debt has an end, too.
const MOST_TAKEN: u64 = 2 * RATE_PER_MINUTE_MOST * STEPS;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub per_minute: u64,
    /// What may be taken at once; a minute's limit where nothing else was said.
    pub capacity: u64,
}

impl Rate {
    /// `burst_percent`: the capacity, in percent of a minute's limit. Both are at least 1 and at most [`RATE_PER_MINUTE_MOST`],
    /// so that 64 bits hold every sum and doubles hold every number.
    pub fn new(per_minute: u64, burst_percent: Option<u32>) -> Rate {
        let per_minute = per_minute.clamp(1, RATE_PER_MINUTE_MOST);
        let capacity = per_minute.saturating_mul(u64::from(burst_percent.unwrap_or(100))) / 100;
        Rate { per_minute, capacity: capacity.clamp(1, RATE_PER_MINUTE_MOST) }
    }

    /// The capacity in parts of a unit.
    pub fn full(self) -> u64 {
        self.capacity * STEPS
    }
}

/// What has been taken from a bucket and has not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// In parts of a unit. Above the capacity the bucket is in debt.
    taken: u64,
    rate: Rate,
}

impl Bucket {
    pub fn full(rate: Rate) -> Bucket {
        Bucket { taken: 0, rate }
    }

    /// Of which somebody else knows what has been taken, in parts of a unit: see [`Bucket::taken`].
    pub fn of(taken: u64, rate: Rate) -> Bucket {
        Bucket { taken, rate }
    }

    pub fn rate(self) -> Rate {
        self.rate
    }

    /// What has been taken and has not come back, in parts of a unit of which there are 60,000.
    pub fn taken(self) -> u64 {
        self.taken
    }

    /// Lets `millis` go by.
    #[must_use]
    pub fn after(self, millis: u64) -> Bucket {
        Bucket { taken: self.taken.saturating_sub(millis.saturating_mul(self.rate.per_minute)), ..self }
    }

    /// From now on at another rate. What has been taken stays taken, but whoever lowers a limit does not mean that it is to be
    /// paid off at the new rate: the bucket is then empty, and not in debt.
    #[must_use]
    pub fn at(self, rate: Rate) -> Bucket {
        let taken = if rate.capacity < self.rate.capacity { self.taken.min(rate.full()) } else { self.taken };
        Bucket { taken, rate }
    }

    /// As much of another bucket as has been taken of this one.
    #[must_use]
    pub fn scaled(self, rate: Rate) -> Bucket {
        let taken = u128::from(self.taken) * u128::from(rate.full()) / u128::from(self.rate.full());
        Bucket { taken: u64::try_from(taken).unwrap_or(u64::MAX).min(MOST_TAKEN), rate }
    }

    pub fn is_full(self) -> bool {
        self.taken == 0
    }

    /// Whole units that can be taken.
    pub fn left(self) -> u64 {
        self.rate.full().saturating_sub(self.taken) / STEPS
    }

    /// What costs nothing always passes. What is larger than the bucket is let through by a full one, which is then in debt.
    pub fn allows(self, cost: u64) -> bool {
        cost == 0 || self.is_full() || self.taken + parts(cost) <= self.rate.full()
    }

    /// In how many milliseconds it will allow `cost`, if nobody else takes anything; 0: it does.
    pub fn wait(self, cost: u64) -> u64 {
        if self.allows(cost) {
            return 0;
        }
        let most = self.rate.full().saturating_sub(parts(cost));
        self.taken.saturating_sub(most).div_ceil(self.rate.per_minute)
    }

    /// In how many milliseconds it will be full.
    pub fn wait_full(self) -> u64 {
        self.taken.div_ceil(self.rate.per_minute)
    }

    #[must_use]
    pub fn take(self, cost: u64) -> Bucket {
        Bucket { taken: (self.taken + parts(cost)).min(MOST_TAKEN), ..self }
    }

    #[must_use]
    pub fn give_back(self, cost: u64) -> Bucket {
        Bucket { taken: self.taken.saturating_sub(parts(cost)), ..self }
    }
}

/// So many units, in parts of a unit.
pub fn parts(units: u64) -> u64 {
    units.min(RATE_PER_MINUTE_MOST) * STEPS
}
