//! The day: three providers with their troubles, and who asks them for what. Everything follows from a seed, and what happens
//! to a request at a provider does not depend on who else was asked: every strategy lives through the same day.

use std::collections::VecDeque;
use std::time::Duration;

use gateway_core::usage::Usage;
use gateway_policy::pricing::{Price, Rate, Tier};

pub(crate) const DAY: f64 = 86_400.0;
const CACHE_SECONDS: f64 = 300.0;

/// A conversation's next turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) id: u64,
    /// Seconds after midnight.
    pub(crate) at: f64,
    pub(crate) conversation: u64,
    pub(crate) input: u64,
    /// What of it the turn before had.
    pub(crate) known: u64,
    pub(crate) output: u64,
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// So many times slower, and this share fails.
    Brownout { slower: f64, fails: f64 },
    /// More requests a minute are refused.
    RateLimit { per_minute: usize },
}

#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: &'static str,
    pub(crate) price: Price,
    pub(crate) weight: u32,
    first_token_ms: f64,
    per_token_ms: f64,
    /// From hour, to hour.
    troubles: Vec<(f64, f64, Trouble)>,
}

/// What a provider does with a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    Answer {
        first_token: f64,
        whole: f64,
        usage: Usage,
    },
    /// Seconds until it is known.
    Failure {
        after: f64,
        quota: bool,
    },
}

/// What happens at the providers in the course of a day under one strategy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    /// When it was last asked, within a minute.
    asked: VecDeque<f64>,
    /// When a conversation was last here.
    cached: std::collections::HashMap<u64, f64>,
}

fn price(input: f64, output: f64) -> Option<Price> {
    let rate = |usd| Rate::per_million(usd).ok();
    let tier = Tier {
        above: 0,
        input: rate(input)?,
        cache_read: rate(input / 10.0),
        cache_write: None,
        output: rate(output)?,
    };
    Price::try_from(vec![tier]).ok()
}

pub(crate) fn providers() -> Option<Vec<Provider>> {
    use Trouble::{Brownout, RateLimit};
    Some(vec![
        Provider {
            name: "swift",
            price: price(3.0, 15.0)?,
            weight: 3,
            first_token_ms: 350.0,
            per_token_ms: 8.0,
            troubles: vec![(9.5, 10.5, Brownout { slower: 5.0, fails: 0.3 })],
        },
        Provider {
            name: "steady",
            price: price(1.0, 5.0)?,
            weight: 2,
            first_token_ms: 700.0,
            per_token_ms: 16.0,
            troubles: vec![
                (13.0, 16.0, RateLimit { per_minute: 15 }),
                (20.0, 20.5, Brownout { slower: 1.0, fails: 1.0 }),
            ],
        },
        Provider {
            name: "thrifty",
            price: price(0.3, 1.2)?,
            weight: 1,
            first_token_ms: 1_400.0,
            per_token_ms: 28.0,
            troubles: vec![
                (2.0, 5.0, Brownout { slower: 3.0, fails: 0.02 }),
                (17.0, 18.0, Brownout { slower: 2.0, fails: 0.5 }),
            ],
        },
    ])
}

/// Turns of conversations, by the rhythm of a day: few at night, most in the afternoon.
pub(crate) fn requests(seed: u64) -> Vec<Request> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut requests = Vec::new();
    let (mut at, mut conversation) = (0.0, 0);
    while at < DAY {
        let busy = 0.55 - 0.45 * (std::f64::consts::TAU * (at / DAY - 0.1)).cos();
        at -= rng.f64().max(1e-12).ln() / (0.25 * busy);
        conversation += 1;
        let (mut when, mut known) = (at, 0);
        let mut input = lognormal(&mut rng, 1_200.0, 1.0).clamp(50.0, 30_000.0) as u64;
        for _ in 0..rng.usize(1..8) {
            let output = lognormal(&mut rng, 220.0, 0.8).clamp(5.0, 3_000.0) as u64;
            requests.push(Request { id: 0, at: when, conversation, input, known, output });
            known = input;
            input += output + 50;
            when += 10.0 - rng.f64().max(1e-12).ln() * 40.0;
        }
    }
    requests.retain(|request| request.at < DAY);
    requests.sort_by(|a, b| a.at.total_cmp(&b.at));
    for (id, request) in requests.iter_mut().enumerate() {
        request.id = id as u64;
    }
    requests
}

impl Provider {
    /// Without asking: what would come of it now.
    pub(crate) fn foresee(&self, request: &Request, at: f64, attempt: u64, memory: &Memory) -> Outcome {
        let name =
            self.name.bytes().fold(request.id * 31 + attempt, |seed, byte| seed.wrapping_mul(131) + u64::from(byte));
        let mut rng = fastrand::Rng::with_seed(name);
        let hour = at / 3_600.0;
        let (mut slower, mut fails) = (1.0, 0.003);
        for (from, to, trouble) in &self.troubles {
            if (*from..*to).contains(&hour) {
                match *trouble {
                    Trouble::Brownout { slower: times, fails: share } => (slower, fails) = (times, share),
                    Trouble::RateLimit { per_minute } if memory.asked_since(at - 60.0) >= per_minute => {
                        return Outcome::Failure { after: 0.15, quota: true };
                    }
                    Trouble::RateLimit { .. } => {}
                }
            }
        }
        if rng.f64() < fails {
            // Most failures are quick, some take their time.
            let after = if rng.f64() < 0.8 { 0.5 } else { 10.0 };
            return Outcome::Failure { after, quota: false };
        }
        let cached = memory.cached.get(&request.conversation).is_some_and(|last| at - last <= CACHE_SECONDS);
        let cache_read = if cached { request.known } else { 0 };
        let fresh = (request.input - cache_read) as f64;
        let first_ms = lognormal(&mut rng, self.first_token_ms, 0.35) * (1.0 + fresh / 8_000.0) * slower;
        let per_token_ms = lognormal(&mut rng, self.per_token_ms, 0.15) * slower;
        Outcome::Answer {
            first_token: first_ms / 1e3,
            whole: (first_ms + per_token_ms * request.output as f64) / 1e3,
            usage: Usage { input: request.input, cache_read, output: request.output, ..Usage::default() },
        }
    }

    pub(crate) fn ask(&self, request: &Request, at: f64, attempt: u64, memory: &mut Memory) -> Outcome {
        let outcome = self.foresee(request, at, attempt, memory);
        while memory.asked.front().is_some_and(|&asked| asked < at - 60.0) {
            memory.asked.pop_front();
        }
        memory.asked.push_back(at);
        if let Outcome::Answer { .. } = outcome {
            memory.cached.insert(request.conversation, at);
        }
        outcome
    }
}

impl Memory {
    fn asked_since(&self, at: f64) -> usize {
        self.asked.iter().rev().take_while(|&&asked| asked >= at).count()
    }
}

fn lognormal(rng: &mut fastrand::Rng, median: f64, sigma: f64) -> f64 {
    let (a, b) = (rng.f64().max(1e-12), rng.f64());
    median * (sigma * (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()).exp()
}

pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}
