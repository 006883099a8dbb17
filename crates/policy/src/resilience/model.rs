//! Every order in which threads can meet, tried by loom: `make model-check`.
//!
//! Each test is a race of two or three threads and what must be true however it ends. Time stands still in them: what a caller
//! reads from its clock is an input like others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_core::error::FailureClass;
use gateway_core::usage::NanoUsd;
use loom::{model as check, thread};

use super::window::{BUCKETS, Window};
use super::*;

fn breaker(failure_threshold: u32) -> (Arc<Breaker>, Instant) {
    let now = Instant::now();
    let settings = BreakerSettings { failure_threshold, ..BreakerSettings::default() };
    (Arc::new(Breaker::new(settings, now)), now)
}

fn rng() -> fastrand::Rng {
    fastrand::Rng::with_seed(5)
}

/// A breaker whose time to be probed has come, and when that is.
fn half_open() -> (Arc<Breaker>, Instant) {
    let (breaker, now) = breaker(1);
    match breaker.enter(now).unwrap().failed(now, &mut rng()) {
        Some(Circuit::Open { until }) => (breaker, until),
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_failures_open_the_circuit_once() {
    check(|| {
        let (breaker, now) = breaker(2);
        let passes = [breaker.enter(now).unwrap(), breaker.enter(now).unwrap()];
        let threads = passes.map(|pass| thread::spawn(move || pass.failed(now, &mut rng())));
        let changes = threads.map(|thread| thread.join().unwrap());
        assert_eq!(changes.iter().flatten().count(), 1);
        assert!(matches!(breaker.circuit(now), Circuit::Open { .. }));
    });
}

#[test]
fn a_success_beside_the_failure_that_opens_it_leaves_it_open_or_closed_and_usable() {
    check(|| {
        let (breaker, now) = breaker(2);
        assert_eq!(breaker.enter(now).unwrap().failed(now, &mut rng()), None);
        let (good, bad) = (breaker.enter(now).unwrap(), breaker.enter(now).unwrap());
        let thread = thread::spawn(move || good.succeeded(now));
        let opened = bad.failed(now, &mut rng()).is_some();
        assert_eq!(thread.join().unwrap(), None);
        assert_eq!(breaker.circuit(now) != Circuit::Closed, opened);
        assert_eq!(breaker.enter(now).is_err(), opened);
    });
}

#[test]
fn of_two_who_enter_beside_others_none_makes_it_more_than_would_open_the_circuit() {
    check(|| {
        let (breaker, now) = breaker(3);
        assert_eq!(breaker.enter(now).unwrap().failed(now, &mut rng()), None);
        let under_way = breaker.enter_beside(now).unwrap();
        let other = Arc::clone(&breaker);
        let failing = thread::spawn(move || under_way.failed(now, &mut rng()));
        let entering = thread::spawn(move || other.enter_beside(now).ok());
        let here = breaker.enter_beside(now).ok();
        let there = entering.join().unwrap();
        assert_eq!(failing.join().unwrap(), None);
        // None where both came while the failure was counted, and still on its way.
        assert!(!(here.is_some() && there.is_some()));
        drop((here, there));
        assert!(breaker.enter_beside(now).is_ok());
    });
}

#[test]
fn of_two_who_enter_one_is_the_probe() {
    check(|| {
        let (breaker, now) = half_open();
        let other = Arc::clone(&breaker);
        let thread = thread::spawn(move || other.enter(now));
        let (here, there) = (breaker.enter(now), thread.join().unwrap());
        assert_eq!(u32::from(here.is_ok()) + u32::from(there.is_ok()), 1);
    });
}

#[test]
fn a_dropped_probe_never_takes_the_slot_with_it() {
    check(|| {
        let (breaker, now) = half_open();
        let probe = breaker.enter(now).unwrap();
        let other = Arc::clone(&breaker);
        let dropping = thread::spawn(move || drop(probe));
        let entering = thread::spawn(move || drop(other.enter(now)));
        dropping.join().unwrap();
        entering.join().unwrap();
        assert!(breaker.enter(now).is_ok());
    });
}

#[test]
fn an_expired_lease_is_given_again_and_the_first_verdict_of_the_two_decides() {
    check(|| {
        let (breaker, now) = half_open();
        let hangs = breaker.enter(now).unwrap();
        let later = hangs.deadline().unwrap();
        let other = Arc::clone(&breaker);
        let next = thread::spawn(move || other.enter(later).ok().and_then(|pass| pass.succeeded(later)));
        let late = hangs.failed(later, &mut rng());
        let next = next.join().unwrap();
        match (late, next) {
            // It failed first: then nobody was let in, or the next one's verdict is of a generation that is over.
            (Some(Circuit::Open { until }), None) => assert_eq!(breaker.circuit(later), Circuit::Open { until }),
            (None, Some(Circuit::Closed)) => assert_eq!(breaker.circuit(later), Circuit::Closed),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_late_failure_of_before_the_outage_never_harms_the_recovered_circuit() {
    check(|| {
        let (breaker, now) = breaker(1);
        let slow = breaker.enter(now).unwrap();
        let Some(Circuit::Open { until }) = breaker.enter(now).unwrap().failed(now, &mut rng()) else { panic!() };
        let probe = breaker.enter(until).unwrap();
        let thread = thread::spawn(move || slow.failed(until, &mut rng()));
        assert_eq!(probe.succeeded(until), Some(Circuit::Closed));
        assert_eq!(thread.join().unwrap(), None);
        assert_eq!(breaker.circuit(until), Circuit::Closed);
    });
}

#[test]
fn a_probe_that_recovers_and_one_that_is_dropped_leave_a_closed_circuit() {
    check(|| {
        let (breaker, now) = breaker(1);
        breaker.reconfigure(BreakerSettings {
            failure_threshold: 1,
            half_open_requests: 2,
            ..BreakerSettings::default()
        });
        let Some(Circuit::Open { until }) = breaker.enter(now).unwrap().failed(now, &mut rng()) else { panic!() };
        let (mut good, gone) = (breaker.enter(until).unwrap(), breaker.enter(until).unwrap());
        let thread = thread::spawn(move || drop(gone));
        assert_eq!(good.began(until), Some(Circuit::Closed));
        thread.join().unwrap();
        assert_eq!(breaker.circuit(until), Circuit::Closed);
        assert!(breaker.enter(until).unwrap().deadline().is_none());
    });
}

#[test]
fn no_count_is_lost_or_lands_in_a_bucket_begun_anew() {
    check(|| {
        let window = Arc::new(Window::new());
        window.add(Duration::ZERO, false);
        // Thirty seconds later the same bucket is begun anew, by whoever comes first.
        let later = Duration::from_secs(30);
        let threads = [true, false].map(|ok| {
            let window = Arc::clone(&window);
            thread::spawn(move || window.add(later, ok))
        });
        window.add(Duration::ZERO, false);
        for thread in threads {
            thread.join().unwrap();
        }
        let counts = window.counts(later, BUCKETS);
        assert_eq!((counts.ok, counts.failed), (1, 1));
    });
}

#[test]
fn no_token_is_lost_or_made() {
    check(|| {
        let tokens = Arc::new(RetryTokens::default());
        tokens.failed(FailureClass::Overload);
        let threads = [FailureClass::Overload, FailureClass::Timeout].map(|class| {
            let tokens = Arc::clone(&tokens);
            thread::spawn(move || tokens.failed(class))
        });
        tokens.succeeded();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!((tokens.left() - 6.1).abs() < 1e-9, "{}", tokens.left());
    });
}

#[test]
fn the_last_token_is_not_spent_twice() {
    check(|| {
        let tokens = Arc::new(RetryTokens::default());
        for _ in 0..3 {
            tokens.failed(FailureClass::Overload);
        }
        let threads = [(), ()].map(|()| {
            let tokens = Arc::clone(&tokens);
            thread::spawn(move || tokens.failed(FailureClass::Overload))
        });
        let granted = threads.map(|thread| thread.join().unwrap());
        assert_eq!(granted.iter().filter(|granted| **granted).count(), 1);
    });
}

#[test]
fn the_longest_rest_wins_whoever_comes_last() {
    check(|| {
        let now = Instant::now();
        let key = Arc::new(Cooldown::new(now));
        let rests = [(Reason::Quota, 10), (Reason::SpendCap, 100)].map(|(reason, seconds)| {
            let key = Arc::clone(&key);
            thread::spawn(move || key.rest(reason, Duration::from_secs(seconds), now, &mut rng()))
        });
        for thread in rests {
            thread.join().unwrap();
        }
        assert!(!key.ready(now + Duration::from_secs(99)));
        assert!(matches!(key.state(now), Availability::Resting { reason: Reason::SpendCap, .. }));
        let other = Arc::clone(&key);
        let out = thread::spawn(move || other.out(Reason::Credential));
        key.rest(Reason::Quota, Duration::from_secs(1000), now, &mut rng());
        out.join().unwrap();
        assert_eq!(key.state(now), Availability::Out { reason: Reason::Credential });
    });
}

#[test]
fn the_floor_grants_so_many_at_a_time_and_each_comes_back() {
    check(|| {
        let now = Instant::now();
        let settings = ExtraSettings { retries_at_a_time: 1, ..ExtraSettings::default() };
        let budget = Arc::new(ExtraCost::new(settings, now));
        let other = Arc::clone(&budget);
        let thread = thread::spawn(move || other.permit(Extra::Retry, NanoUsd(1), now));
        let (here, there) = (budget.permit(Extra::Retry, NanoUsd(1), now), thread.join().unwrap());
        assert_eq!(u32::from(here.is_some()) + u32::from(there.is_some()), 1);
        drop((here, there));
        assert!(budget.permit(Extra::Retry, NanoUsd(1), now).is_some());
    });
}
