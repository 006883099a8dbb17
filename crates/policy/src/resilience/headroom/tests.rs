use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

const SMALL: Estimate = Estimate { input: 100, output: 50 };

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn quota(headers: &[(&str, &str)]) -> UpstreamQuota {
    UpstreamQuota::read(headers.iter().copied(), || Timestamp::UNIX_EPOCH)
}

/// So many requests of ten a minute, all of which are back in so many seconds.
fn requests(remaining: &str, reset: &str) -> UpstreamQuota {
    quota(&[
        ("x-ratelimit-limit-requests", "10"),
        ("x-ratelimit-remaining-requests", remaining),
        ("x-ratelimit-reset-requests", reset),
    ])
}

fn tokens(remaining: &str) -> UpstreamQuota {
    quota(&[
        ("x-ratelimit-limit-tokens", "6000"),
        ("x-ratelimit-remaining-tokens", remaining),
        ("x-ratelimit-reset-tokens", "60s"),
    ])
}

/// A lane on which one request was answered so at `now`.
fn told(quota: UpstreamQuota, now: Instant) -> Arc<Headroom> {
    let lane = Arc::new(Headroom::default());
    lane.ask(SMALL, now).unwrap().told(quota);
    lane
}

#[test]
fn who_says_nothing_keeps_nobody_from_asking() {
    let (lane, now) = (Arc::new(Headroom::default()), Instant::now());
    let sent: Vec<Sent> = (0..1000).map(|_| lane.ask(SMALL, now).unwrap()).collect();
    sent.into_iter().for_each(|sent| sent.told(UpstreamQuota::default()));
    assert!(lane.rooms(now).is_empty() && !lane.is_used_up(now));
}

#[test]
fn a_limit_that_is_used_up_fills_evenly() {
    let now = Instant::now();
    let lane = told(requests("0", "60s"), now);
    assert!(lane.is_used_up(now));
    // One request is back in six seconds.
    assert_eq!(lane.ask(SMALL, now).unwrap_err(), now + seconds(6));
    assert!(lane.ask(SMALL, now + seconds(5)).is_err());
    let one = lane.ask(SMALL, now + seconds(6)).unwrap();
    assert_eq!(lane.ask(SMALL, now + seconds(6)).unwrap_err(), now + seconds(12));
    // Who insists is counted, and who goes away is not.
    let two = lane.insist(SMALL, now + seconds(6));
    assert_eq!(lane.ask(SMALL, now + seconds(6)).unwrap_err(), now + seconds(18));
    drop((one, two));
    assert!(lane.ask(SMALL, now + seconds(6)).is_ok());
    assert_eq!(lane.rooms(now + seconds(30))[0].left, 5);
    assert_eq!(lane.rooms(now + seconds(90))[0].left, 10);
}

#[test]
fn a_small_request_fits_where_a_large_one_does_not() {
    let now = Instant::now();
    let lane = told(tokens("1000"), now);
    let large = Estimate { input: 900, output: 600 };
    assert_eq!(lane.ask(large, now).unwrap_err(), now + seconds(6));
    assert!(lane.ask(SMALL, now).is_ok());
    // Larger than the limit: when it is full, alone.
    let huge = Estimate { input: 9_000, output: 0 };
    assert_eq!(lane.ask(huge, now).unwrap_err(), now + seconds(60));
    let alone = lane.ask(huge, now + seconds(60)).unwrap();
    assert_eq!(lane.ask(SMALL, now + seconds(60)).unwrap_err(), now + seconds(61));
    drop(alone);
    assert!(lane.ask(SMALL, now + seconds(60)).is_ok());
}

#[test]
fn prompts_and_answers_are_measured_by_limits_of_their_own() {
    let now = Instant::now();
    let lane = told(
        quota(&[
            ("anthropic-ratelimit-input-tokens-limit", "50000"),
            ("anthropic-ratelimit-input-tokens-remaining", "40000"),
            ("anthropic-ratelimit-output-tokens-limit", "8000"),
            ("anthropic-ratelimit-output-tokens-remaining", "500"),
        ]),
        now,
    );
    assert!(lane.ask(Estimate { input: 30_000, output: 400 }, now).is_ok());
    assert!(lane.ask(Estimate { input: 10, output: 600 }, now).is_err());
}

#[test]
fn of_two_answers_the_one_whose_request_was_sent_later_is_believed() {
    let now = Instant::now();
    let lane = told(requests("9", "6s"), now);
    let (slow, quick) = (lane.ask(SMALL, now).unwrap(), lane.ask(SMALL, now).unwrap());
    quick.told(requests("2", "48s"));
    assert_eq!(lane.rooms(now)[0].left, 2);
    // It was sent before, and comes with what was left then.
    slow.told(requests("8", "12s"));
    assert_eq!(lane.rooms(now)[0].left, 2);
}

#[test]
fn what_was_sent_meanwhile_is_not_in_what_an_answer_says() {
    let now = Instant::now();
    let lane = told(requests("9", "6s"), now);
    let first = lane.ask(SMALL, now).unwrap();
    let others: Vec<Sent> = (0..5).map(|_| lane.ask(SMALL, now).unwrap()).collect();
    first.told(requests("8", "12s"));
    assert_eq!(lane.rooms(now)[0].left, 3, "five are on their way");
    drop(others);
    assert_eq!(lane.rooms(now)[0].left, 8);
}

#[test]
fn words_without_a_time_are_believed_for_a_while() {
    let now = Instant::now();
    let azure = told(quota(&[("x-ratelimit-remaining-requests", "1")]), now);
    let one = azure.ask(SMALL, now).unwrap();
    assert_eq!(azure.ask(SMALL, now).unwrap_err(), now + seconds(10));
    assert!(azure.ask(SMALL, now + seconds(10)).is_ok());
    drop(one);
    // A limit of a minute.
    let xai = told(quota(&[("x-ratelimit-limit-requests", "60"), ("x-ratelimit-remaining-requests", "0")]), now);
    assert_eq!(xai.ask(SMALL, now).unwrap_err(), now + seconds(1));
    // A day is longer than anybody's word.
    let daily = [("x-ratelimit-remaining-requests-day", "0"), ("x-ratelimit-reset-requests-day", "80000")];
    let cerebras = told(quota(&daily), now);
    assert_eq!(cerebras.ask(SMALL, now).unwrap_err(), now + seconds(300));
    assert!(cerebras.ask(SMALL, now + seconds(300)).is_ok());
}

/// A provider that refills evenly, refuses what it has no tokens for, and says with every answer what was left when it came.
struct Provider {
    limit: f64,
    left: f64,
    at: Duration,
}

impl Provider {
    fn take(&mut self, cost: u64, now: Duration) -> Option<UpstreamQuota> {
        let rate = self.limit / 60.0;
        self.left = (self.left + rate * (now - self.at).as_secs_f64()).min(self.limit);
        self.at = now;
        let left = self.left - cost as f64;
        // Give or take what floats cannot say.
        let granted = left >= -1e-6;
        if granted {
            self.left = left;
        }
        let (limit, remaining) = (self.limit.to_string(), self.left.floor().to_string());
        let reset = format!("{:.3}s", (self.limit - self.left) / rate);
        let headers = [
            ("x-ratelimit-limit-tokens", limit.as_str()),
            ("x-ratelimit-remaining-tokens", remaining.as_str()),
            ("x-ratelimit-reset-tokens", reset.as_str()),
        ];
        granted.then(|| quota(&headers))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Ten minutes of three times what it allows, with answers that take up to twenty seconds and come in any order.
    #[test]
    fn nobody_is_sent_to_be_refused_and_little_is_left_unused(seed: u64, slowest in 50..20_000u64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut provider = Provider { limit: 60_000.0, left: 60_000.0, at: Duration::ZERO };
        let (lane, start) = (Arc::new(Headroom::default()), Instant::now());
        let mut answers: BTreeMap<(u64, u64), (Sent, UpstreamQuota)> = BTreeMap::new();
        let (mut now, mut used) = (0, 0);
        let mut first = lane.ask(SMALL, start).ok();
        for request in 0.. {
            now += rng.u64(0..400);
            if now > 600_000 {
                break;
            }
            while let Some(entry) = answers.first_entry().filter(|entry| entry.key().0 <= now) {
                let (sent, quota) = entry.remove();
                // Some clients leave, and some answers say nothing.
                match rng.u8(0..20) {
                    0 => drop(sent),
                    1 => sent.told(UpstreamQuota::default()),
                    _ => sent.told(quota),
                }
            }
            let size = Estimate { input: rng.u64(1..800), output: rng.u64(1..600) };
            let (at, cost) = (Duration::from_millis(now), size.input + size.output);
            if let Some(first) = first.take() {
                first.told(provider.take(1, at).unwrap());
            }
            let Ok(mut sent) = lane.ask(size, start + at) else { continue };
            if rng.u8(0..20) == 0 {
                // It does not get there.
                if rng.bool() {
                    sent.begins();
                    sent.never_arrived();
                }
                continue;
            }
            sent.begins();
            let quota = provider.take(cost, at);
            prop_assert!(quota.is_some(), "refused after {} ms with {} left for {}", now, provider.left, cost);
            used += cost;
            let key = (now + rng.u64(20..slowest.max(21)), request);
            answers.insert(key, (sent, quota.unwrap_or_default()));
        }
        // Full at the start, and ten minutes.
        prop_assert!(used > 11 * 60_000 * 8 / 10, "{}", used);
    }
}
