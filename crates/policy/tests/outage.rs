//! The rules of `resilience` together, against simulated providers: what an outage, a brownout and a bad day cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_core::error::FailureClass;
use gateway_core::usage::NanoUsd;
use gateway_policy::resilience::{
    Breaker, BreakerSettings, Circuit, Extra, ExtraCost, ExtraSettings, Pass, RetryTokens,
};

const ATTEMPTS: u32 = 3;
const COST: NanoUsd = NanoUsd(1_000_000);

struct Provider {
    breaker: Arc<Breaker>,
    tokens: RetryTokens,
    asked: u64,
}

/// What a gateway does with a request, without the network: every provider in order, the last one twice, three attempts in all.
struct World {
    start: Instant,
    providers: Vec<Provider>,
    extra: Arc<ExtraCost>,
    rng: fastrand::Rng,
    /// How long a failing provider takes to fail, and with it how long a retry holds its permit.
    failing_takes: Duration,
    held: Vec<(Instant, gateway_policy::resilience::ExtraPermit)>,
}

#[derive(Default, Debug)]
struct Tally {
    requests: u64,
    attempts: u64,
    good: u64,
}

impl Tally {
    fn amplification(&self) -> f64 {
        self.attempts as f64 / self.requests as f64
    }
}

impl World {
    fn new(providers: usize, failure_threshold: u32, failing_takes: Duration) -> World {
        let start = Instant::now();
        let settings = BreakerSettings { failure_threshold, ..BreakerSettings::default() };
        let provider =
            |_| Provider { breaker: Arc::new(Breaker::new(settings, start)), tokens: RetryTokens::default(), asked: 0 };
        World {
            start,
            providers: (0..providers).map(provider).collect(),
            extra: Arc::new(ExtraCost::new(ExtraSettings::default(), start)),
            rng: fastrand::Rng::with_seed(42),
            failing_takes,
            held: Vec::new(),
        }
    }

    fn enter(&self, index: usize, now: Instant) -> Option<Pass> {
        self.providers[index].breaker.enter(now).ok()
    }

    /// One request at this moment; `fails(provider, rng)` says how an attempt ends. Returns the attempts and whether it went well.
    fn request(&mut self, now: Instant, fails: &impl Fn(usize, &mut fastrand::Rng) -> bool) -> (u32, bool) {
        self.held.retain(|(until, _)| *until > now);
        let mut attempts = 0;
        let mut order: Vec<usize> = (0..self.providers.len()).collect();
        order.extend(order.last().copied());
        let mut same_allowed = true;
        for (place, &index) in order.iter().enumerate() {
            if attempts == ATTEMPTS {
                break;
            }
            let again = place > 0 && order[place - 1] == index;
            if attempts > 0 {
                let allowed = if again { same_allowed } else { self.providers[index].tokens.allow() };
                if !allowed {
                    continue;
                }
            }
            let Some(pass) = self.enter(index, now) else { continue };
            if attempts > 0 {
                let Some(permit) = self.extra.permit(Extra::Retry, COST, now) else { break };
                self.held.push((now + self.failing_takes, permit));
            }
            attempts += 1;
            let provider = &mut self.providers[index];
            provider.asked += 1;
            if !fails(index, &mut self.rng) {
                pass.succeeded(now);
                provider.tokens.succeeded();
                self.extra.settled(COST, now);
                return (attempts, true);
            }
            pass.failed_with(FailureClass::ProviderFault, now, &mut self.rng);
            same_allowed = provider.tokens.failed(FailureClass::ProviderFault);
        }
        (attempts, false)
    }

    fn run(
        &mut self,
        from: Duration,
        seconds: u64,
        per_second: u64,
        fails: impl Fn(usize, &mut fastrand::Rng) -> bool,
    ) -> Tally {
        let mut tally = Tally::default();
        for request in 0..seconds * per_second {
            let now = self.start + from + Duration::from_nanos(request * 1_000_000_000 / per_second);
            let (attempts, good) = self.request(now, &fails);
            tally.requests += 1;
            tally.attempts += u64::from(attempts);
            tally.good += u64::from(good);
        }
        tally
    }
}

fn down(_: usize, _: &mut fastrand::Rng) -> bool {
    true
}

#[test]
fn a_total_outage_is_not_made_worse_by_retries_even_without_breakers() {
    for failing_takes in [Duration::from_millis(1), Duration::from_secs(1), Duration::from_secs(20)] {
        for providers in 1..=3 {
            // A threshold that is never reached and a fresh process: only the tokens and the budget hold retries back.
            let mut world = World::new(providers, u32::MAX, failing_takes);
            for provider in &world.providers {
                provider.breaker.reconfigure(BreakerSettings {
                    failure_threshold: u32::MAX,
                    ratio_failures: u32::MAX,
                    ..BreakerSettings::default()
                });
            }
            let outage = world.run(Duration::ZERO, 60, 200, down);
            assert!(outage.amplification() <= 1.01, "{providers} providers: {outage:?}");
        }
    }
}

#[test]
fn with_breakers_a_total_outage_costs_five_attempts_and_then_the_probes() {
    let mut world = World::new(1, 5, Duration::from_millis(1));
    world.run(Duration::ZERO, 60, 200, |_, _| false);
    let before = world.providers[0].asked;
    let outage = world.run(Duration::from_secs(60), 60, 200, down);
    // Of 60 seconds: five at once, then probes after 2.5 to 5 s, 5 to 10 s, 10 to 20 s, 20 to 40 s.
    let asked = world.providers[0].asked - before;
    assert!((8..=10).contains(&asked), "{asked} {outage:?}");
    assert!(matches!(
        world.providers[0].breaker.circuit(world.start + Duration::from_secs(120)),
        Circuit::Open { .. } | Circuit::HalfOpen
    ));
}

#[test]
fn a_healthy_day_costs_no_more_than_one_attempt_in_twenty() {
    for percent in [0, 1, 2, 4] {
        let mut world = World::new(2, 5, Duration::from_millis(300));
        let day = world.run(Duration::ZERO, 600, 50, move |_, rng| rng.u32(0..100) < percent);
        assert!(day.amplification() <= 1.05, "{percent} %: {day:?}");
        // Nearly every random failure is made good by the other provider.
        assert!(day.good as f64 >= 0.998 * day.requests as f64, "{percent} %: {day:?}");
    }
}

#[test]
fn with_one_of_two_providers_dead_clients_do_not_notice() {
    let mut world = World::new(2, 5, Duration::from_millis(1));
    world.run(Duration::ZERO, 60, 100, |_, _| false);
    let half = world.run(Duration::from_secs(60), 120, 100, |index, _| index == 0);
    assert_eq!(half.good, half.requests, "{half:?}");
    assert!(half.amplification() <= 1.01, "{half:?}");
    // And when it is back, it is asked again within five minutes at the latest.
    let back = world.run(Duration::from_secs(180), 301, 100, |_, _| false);
    assert_eq!(back.good, back.requests);
    assert_eq!(world.providers[0].breaker.circuit(world.start + Duration::from_secs(481)), Circuit::Closed);
}

#[test]
fn after_a_short_outage_traffic_is_back_within_eight_seconds() {
    for seed in 0..100 {
        let mut world = World::new(1, 5, Duration::from_millis(1));
        world.rng = fastrand::Rng::with_seed(seed);
        world.run(Duration::ZERO, 30, 10, |_, _| false);
        world.run(Duration::from_secs(30), 1, 10, down);
        let after = world.run(Duration::from_secs(31), 8, 10, |_, _| false);
        let first_good = after.requests - after.good;
        assert!(first_good < 50, "{first_good} requests refused with seed {seed}");
    }
}
