//! A day under one way of choosing: a strategy, which learns as it goes, or somebody who knows the future.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_core::dialect::ProviderDialect;
use gateway_core::target::{Capabilities, Strategy, Target};
use gateway_core::usage::{NanoUsd, Usage};
use gateway_policy::resilience::{Breaker, BreakerSettings, Circuit, Cooldown, Pass, Reason};
use gateway_policy::routing::signals::{FAILURE_PENALTY, Outstanding, Signals, SizeClass};
use gateway_policy::routing::{Ask, Candidate, Candidates, Hints, Turns, plan};
use gateway_policy::tokens::{Estimate, USUAL_OUTPUT_TOKENS};

use crate::world::{Memory, Outcome, Provider, Request, seconds};

/// Of a request, over all targets, as the gateway has it.
const ATTEMPTS: usize = 3;
/// How long a provider is left alone that has refused a request for its limit.
const QUOTA_REST: Duration = Duration::from_secs(5);
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Strategy {
        strategy: Strategy,
        affinity: bool,
    },
    /// The cheapest that will answer.
    CheapestThatAnswers,
    /// The fastest that will answer.
    FastestThatAnswers,
}

impl Way {
    pub(crate) fn name(self) -> String {
        match self {
            Way::Strategy { strategy, affinity: false } => strategy.name().to_owned(),
            Way::Strategy { strategy, affinity: true } => format!("{}, affinity", strategy.name()),
            Way::CheapestThatAnswers => "oracle: cheapest".to_owned(),
            Way::FastestThatAnswers => "oracle: fastest".to_owned(),
        }
    }
}

/// How the day went.
#[derive(Debug, Default)]
pub(crate) struct Day {
    /// Seconds of each request that was answered, failed attempts included.
    pub(crate) latencies: Vec<f64>,
    pub(crate) failed: usize,
    pub(crate) attempts: usize,
    pub(crate) cost: NanoUsd,
    /// Turns after the first of a conversation, and those that found the turn before in the cache.
    pub(crate) turns: usize,
    pub(crate) cached: usize,
}

impl Day {
    pub(crate) fn success_percent(&self) -> f64 {
        100.0 * self.latencies.len() as f64 / (self.latencies.len() + self.failed) as f64
    }

    /// Seconds; sorted latencies.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }

    /// US dollars for a thousand answers.
    pub(crate) fn usd_per_thousand(&self) -> f64 {
        self.cost.usd() * 1e3 / self.latencies.len().max(1) as f64
    }
}

/// What becomes known to the gateway later than it is decided.
struct News {
    provider: usize,
    what: What,
}

enum What {
    FirstToken {
        size: SizeClass,
        took: f64,
        pass: Pass,
    },
    Failed {
        after: f64,
        quota: bool,
        pass: Pass,
    },
    /// The answer is complete, or the attempt is over.
    Ended {
        outstanding: Outstanding,
        answer: Option<(f64, Usage)>,
    },
}

/// What the gateway knows of a provider.
struct State {
    signals: Arc<Signals>,
    breaker: Arc<Breaker>,
    quota: Cooldown,
}

impl State {
    fn new(now: Instant) -> State {
        State {
            signals: Arc::new(Signals::new(now)),
            breaker: Arc::new(Breaker::new(BreakerSettings::default(), now)),
            quota: Cooldown::new(now),
        }
    }

    fn enter(&self, now: Instant) -> Option<Pass> {
        self.quota.ready(now).then(|| self.breaker.enter(now).ok()).flatten()
    }

    /// The share of what it would get otherwise that it can take now.
    fn warmth(&self, now: Instant) -> f64 {
        match self.breaker.circuit(now) {
            _ if !self.quota.ready(now) => 0.0,
            Circuit::Closed => self.breaker.warmth(now),
            Circuit::Open { .. } => 0.0,
            Circuit::HalfOpen => f64::from(u8::from(self.breaker.refuses(now).is_none())),
        }
    }
}

pub(crate) fn live(way: Way, providers: &[Provider], requests: &[Request]) -> Day {
    let start = Instant::now();
    let states: Vec<State> = providers.iter().map(|_| State::new(start)).collect();
    let mut memories = vec![Memory::default(); providers.len()];
    let (turns, mut rng) = (Turns::new(providers.len()), fastrand::Rng::with_seed(1));
    let mut day = Day::default();
    // By time, in microseconds, and then in the order in which they were written down.
    let mut queue: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut news: Vec<Option<News>> = Vec::new();
    for request in requests {
        while let Some(Reverse((at, index))) = queue.peek().copied() {
            if at > micros(request.at) {
                break;
            }
            queue.pop();
            if let Some(News { provider, what }) = news[index].take() {
                tell(&states[provider], what, start + Duration::from_micros(at), &mut rng);
            }
        }
        let order: Vec<usize> = match way {
            Way::Strategy { strategy, affinity } => {
                let candidates = candidates(providers, &states, start + seconds(request.at));
                let ask = Ask {
                    hints: &Hints::default(),
                    strategy,
                    affinity,
                    hedge: false,
                    turns: &turns,
                    max_tokens: None,
                    estimate: &|| Estimate { input: request.input, output: USUAL_OUTPUT_TOKENS },
                    surely_more_than: &|_| None,
                    affinity_key: &|| request.conversation,
                    now: start + seconds(request.at),
                };
                let planned = plan(candidates, &ask, &mut rng).map(|plan| plan.targets).unwrap_or_default();
                let index = |name: &str| providers.iter().position(|provider| provider.name == name);
                planned.iter().filter_map(|planned| index(&planned.target.provider)).collect()
            }
            Way::CheapestThatAnswers | Way::FastestThatAnswers => {
                foreseen(way, providers, request, &memories).into_iter().collect()
            }
        };
        let mut at = request.at;
        let mut answered = false;
        let mut ahead = order.iter().copied();
        let mut behind = None;
        for attempt in 0..ATTEMPTS {
            let now = start + seconds(at);
            let enter = |index: usize| Some((index, states[index].enter(now)?));
            // Where nobody else is left, the last one is asked again. The oracles need no rules.
            let entered = match way {
                Way::Strategy { .. } => ahead.find_map(enter).or_else(|| enter(behind?)),
                _ => order.first().and_then(|&index| Some((index, Breaker::enter(&states[index].breaker, now).ok()?))),
            };
            let Some((index, pass)) = entered else { break };
            behind = Some(index);
            day.attempts += 1;
            let outstanding = states[index].signals.begin(request.input + USUAL_OUTPUT_TOKENS);
            let size = SizeClass::of(request.input);
            let mut later = |at: f64, what: What| {
                queue.push(Reverse((micros(at), news.len())));
                news.push(Some(News { provider: index, what }));
            };
            match providers[index].ask(request, at, attempt as u64, &mut memories[index]) {
                Outcome::Failure { after, quota } => {
                    at += after;
                    later(at, What::Failed { after, quota, pass });
                    later(at, What::Ended { outstanding, answer: None });
                }
                Outcome::Answer { first_token, whole, usage } => {
                    later(at + first_token, What::FirstToken { size, took: first_token, pass });
                    let answer = Some((whole - first_token, usage));
                    later(at + whole, What::Ended { outstanding, answer });
                    day.latencies.push(at + whole - request.at);
                    day.cost = day.cost.saturating_add(providers[index].price.cost(&usage).total());
                    day.turns += usize::from(request.known > 0);
                    day.cached += usize::from(usage.cache_read > 0);
                    answered = true;
                    break;
                }
            }
        }
        day.failed += usize::from(!answered);
    }
    day.latencies.sort_by(f64::total_cmp);
    day
}

fn micros(at: f64) -> u64 {
    (at * 1e6) as u64
}

fn tell(state: &State, what: What, now: Instant, rng: &mut fastrand::Rng) {
    let signals = &state.signals;
    match what {
        What::FirstToken { size, took, pass } => {
            signals.first_token(size, seconds(took), now);
            pass.succeeded(now);
        }
        // A refusal for a limit says nothing of the provider's health.
        What::Failed { quota: true, .. } => state.quota.rest(Reason::Quota, QUOTA_REST, now, rng),
        What::Failed { after, pass, .. } => {
            signals.failed(seconds(after).max(FAILURE_PENALTY), now);
            pass.failed(now, rng);
        }
        What::Ended { outstanding, answer } => {
            if let Some((rest, usage)) = answer {
                signals.per_token(usage.output, seconds(rest), now);
                signals.usage(usage.input, usage.cache_read, usage.output);
            }
            drop(outstanding);
        }
    }
}

fn candidates(providers: &[Provider], states: &[State], now: Instant) -> Candidates {
    let candidate = |(provider, state): (&Provider, &State)| Candidate {
        target: Target { provider: provider.name.into(), model: "model".into(), dialect: ProviderDialect::OpenAiChat },
        price: Some(provider.price.clone()),
        capabilities: Capabilities::default(),
        context_window: None,
        weight: provider.weight,
        priority: 0,
        canary: None,
        allowed: true,
        available: Ok(()),
        warmth: state.warmth(now),
        signals: state.signals.clone(),
    };
    Candidates { targets: providers.iter().zip(states).map(candidate).collect(), ..Candidates::default() }
}

/// Whom somebody asks who knows what everybody will answer; nobody, if none will.
fn foreseen(way: Way, providers: &[Provider], request: &Request, memories: &[Memory]) -> Option<usize> {
    let answers = providers.iter().zip(memories).enumerate().filter_map(|(index, (provider, memory))| {
        match provider.foresee(request, request.at, 0, memory) {
            Outcome::Failure { .. } => None,
            Outcome::Answer { whole, usage, .. } => {
                let figure =
                    if way == Way::CheapestThatAnswers { provider.price.cost(&usage).total().usd() } else { whole };
                Some((figure, index))
            }
        }
    });
    answers.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, index)| index)
}
