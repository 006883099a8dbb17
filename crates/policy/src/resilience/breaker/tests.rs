use proptest::prelude::*;

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn breaker() -> (Arc<Breaker>, Instant, fastrand::Rng) {
    let now = Instant::now();
    (Arc::new(Breaker::new(BreakerSettings::default(), now)), now, fastrand::Rng::with_seed(11))
}

fn fail(breaker: &Arc<Breaker>, now: Instant, rng: &mut fastrand::Rng) -> Option<Circuit> {
    breaker.enter(now).unwrap().failed(now, rng)
}

/// Opens it with five failures; returns until when it is open.
fn trip(breaker: &Arc<Breaker>, now: Instant, rng: &mut fastrand::Rng) -> Instant {
    for _ in 0..4 {
        assert_eq!(fail(breaker, now, rng), None);
    }
    let Some(Circuit::Open { until }) = fail(breaker, now, rng) else { panic!("five failures did not open it") };
    until
}

#[test]
fn five_failures_in_a_row_open_it_and_four_do_not() {
    let (breaker, now, mut rng) = breaker();
    for _ in 0..4 {
        fail(&breaker, now, &mut rng);
    }
    for _ in 0..40 {
        assert_eq!(breaker.enter(now).unwrap().succeeded(now), None);
    }
    let until = trip(&breaker, now, &mut rng);
    assert!((now + Duration::from_millis(2500)..=now + seconds(5)).contains(&until));
    assert_eq!(breaker.circuit(now), Circuit::Open { until });
    let refused = breaker.enter(now).unwrap_err();
    assert_eq!(refused, Refused { retry_at: until, circuit: Circuit::Open { until } });
    assert_eq!(breaker.refuses(now), Some(refused));
    assert_eq!(breaker.warmth(now), 0.0);
}

#[test]
fn one_success_closes_it_and_the_window_starts_empty() {
    let (breaker, now, mut rng) = breaker();
    let later = trip(&breaker, now, &mut rng);
    assert_eq!(breaker.circuit(later), Circuit::HalfOpen);
    assert_eq!(breaker.refuses(later), None);
    let probe = breaker.enter(later).unwrap();
    assert_eq!(probe.deadline(), Some(later + FIRST_CONTENT_TIME));
    let busy = breaker.enter(later).unwrap_err();
    assert_eq!((busy.circuit, busy.retry_at), (Circuit::HalfOpen, later + seconds(1)));
    assert_eq!(breaker.refuses(later), Some(busy));
    assert_eq!(probe.succeeded(later), Some(Circuit::Closed));
    assert_eq!(breaker.circuit(later), Circuit::Closed);
    assert_eq!((breaker.warmth(later), breaker.warmth(later + seconds(5))), (0.0, 0.5));
    assert_eq!(breaker.warmth(later + seconds(60)), 1.0);
    // The failures of before are forgotten by both rules.
    for _ in 0..4 {
        assert_eq!(fail(&breaker, later, &mut rng), None);
    }
}

#[test]
fn each_failed_probe_doubles_the_time_up_to_five_minutes() {
    let (breaker, mut now, mut rng) = breaker();
    let mut until = trip(&breaker, now, &mut rng);
    for ceiling in [10, 20, 40, 80, 160, 300, 300, 300] {
        now = until;
        let Some(Circuit::Open { until: next }) = fail(&breaker, now, &mut rng) else { panic!("a failed probe") };
        let open = next - now;
        assert!((seconds(ceiling) / 2..=seconds(ceiling)).contains(&open), "{open:?} of {ceiling}");
        until = next;
    }
    // It recovers and fails again at once: it goes on where it was. After it was warm it starts anew.
    breaker.enter(until).unwrap().succeeded(until);
    let next = trip(&breaker, until, &mut rng);
    assert!(next - until >= seconds(150));
    breaker.enter(next).unwrap().succeeded(next);
    let warm = next + WARM_UP;
    assert!(trip(&breaker, warm, &mut rng) - warm <= seconds(5));
}

#[test]
fn a_probe_that_hangs_gives_way_at_its_deadline() {
    let (breaker, now, mut rng) = breaker();
    let half_open = trip(&breaker, now, &mut rng);
    let hangs = breaker.enter(half_open).unwrap();
    let deadline = hangs.deadline().unwrap();
    assert!(breaker.enter(deadline - Duration::from_nanos(1)).is_err());
    let next = breaker.enter(deadline).unwrap();
    assert!(next.deadline().is_some());
    // A third that was lost does not take the slot of the one that follows it.
    let lost = next;
    let deadline = lost.deadline().unwrap();
    let next = breaker.enter(deadline).unwrap();
    drop(lost);
    assert!(breaker.enter(deadline).is_err());
    assert_eq!(next.succeeded(deadline), Some(Circuit::Closed));
    // What the first one learns much later is of another generation.
    for _ in 0..3 {
        fail(&breaker, deadline, &mut rng);
    }
    assert_eq!(hangs.failed(deadline, &mut rng), None);
    assert_eq!(fail(&breaker, deadline, &mut rng), None);
    assert!(matches!(fail(&breaker, deadline, &mut rng), Some(Circuit::Open { .. })));
}

#[test]
fn a_probe_that_is_cancelled_or_at_fault_itself_frees_its_slot_at_once() {
    let (breaker, now, mut rng) = breaker();
    let half_open = trip(&breaker, now, &mut rng);
    for _ in 0..100 {
        let probe = breaker.enter(half_open).unwrap();
        assert!(breaker.enter(half_open).is_err());
        drop(probe);
        let probe = breaker.enter(half_open).unwrap();
        assert_eq!(probe.failed_with(FailureClass::ClientFault, half_open, &mut rng), None);
        breaker.enter(half_open).unwrap().released();
    }
    assert_eq!(breaker.circuit(half_open), Circuit::HalfOpen);
    assert_eq!(breaker.enter(half_open).unwrap().succeeded(half_open), Some(Circuit::Closed));
}

#[test]
fn a_probe_is_believed_at_its_first_content_and_then_is_an_attempt_like_others() {
    let (breaker, now, mut rng) = breaker();
    let half_open = trip(&breaker, now, &mut rng);
    let mut probe = breaker.enter(half_open).unwrap();
    assert_eq!(probe.began(half_open), Some(Circuit::Closed));
    assert_eq!((probe.began(half_open), probe.deadline()), (None, None));
    // It breaks in the middle: the first of five failures.
    assert_eq!(probe.failed(half_open, &mut rng), None);
    for _ in 0..3 {
        assert_eq!(fail(&breaker, half_open, &mut rng), None);
    }
    assert!(fail(&breaker, half_open, &mut rng).is_some());
}

#[test]
fn as_many_probes_as_were_asked_for() {
    let (breaker, now, mut rng) = breaker();
    breaker.reconfigure(BreakerSettings { half_open_requests: 3, ..BreakerSettings::default() });
    let half_open = trip(&breaker, now, &mut rng);
    let probes: Vec<Pass> = std::iter::from_fn(|| breaker.enter(half_open).ok()).take(10).collect();
    assert_eq!(probes.len(), 3);
    let mut probes = probes.into_iter();
    assert!(matches!(probes.next().unwrap().failed(half_open, &mut rng), Some(Circuit::Open { .. })));
    // The others are of the generation before.
    assert_eq!(probes.next().unwrap().succeeded(half_open), None);
    assert!(matches!(breaker.circuit(half_open), Circuit::Open { .. }));
}

#[test]
fn the_last_resort_is_tried_once_a_second_and_closes_the_circuit_or_changes_nothing() {
    let (breaker, now, mut rng) = breaker();
    let until = trip(&breaker, now, &mut rng);
    let last = breaker.enter_last(now).unwrap();
    assert!(breaker.enter_last(now + seconds(1)).is_err(), "one at a time");
    assert_eq!(last.failed(now, &mut rng), None);
    assert!(breaker.enter_last(now + Duration::from_millis(999)).is_err());
    assert_eq!(breaker.circuit(now), Circuit::Open { until });
    let last = breaker.enter_last(now + seconds(1)).unwrap();
    assert_eq!(last.succeeded(now + seconds(1)), Some(Circuit::Closed));
    assert!(breaker.enter_last(now + seconds(1)).unwrap().deadline().is_none());
}

/// Seconds until it opens when every other attempt begins to fail, after five good minutes.
fn seconds_to_see_a_brownout(per_second: f64, fails: impl Fn(u64, &mut fastrand::Rng) -> bool, seed: u64) -> f64 {
    let start = Instant::now();
    let breaker = Arc::new(Breaker::new(BreakerSettings::default(), start));
    let mut rng = fastrand::Rng::with_seed(seed);
    let good = (300.0 * per_second) as u64;
    for request in 0.. {
        let now = start + Duration::from_secs_f64(request as f64 / per_second);
        let pass = breaker.enter(now).unwrap();
        if request < good || !fails(request, &mut rng) {
            pass.succeeded(now);
        } else if pass.failed(now, &mut rng).is_some() {
            return (request - good) as f64 / per_second;
        }
    }
    unreachable!()
}

#[test]
fn a_brownout_that_no_run_sees_opens_it_within_ten_seconds() {
    let every_other = |request: u64, _: &mut fastrand::Rng| request.is_multiple_of(2);
    // Of 60 to 90 attempts in the latest buckets, more than a fifth.
    let seconds = seconds_to_see_a_brownout(10.0, every_other, 0);
    assert!((2.0..5.0).contains(&seconds), "{seconds}");
    // With less traffic the long window has to do: of 60 attempts, 13.
    let seconds = seconds_to_see_a_brownout(2.0, every_other, 0);
    assert!((11.0..14.0).contains(&seconds), "{seconds}");
    for seed in 0..200 {
        let seconds = seconds_to_see_a_brownout(10.0, |_, rng| rng.bool(), seed);
        assert!(seconds < 8.0, "{seconds} with seed {seed}");
    }
}

#[test]
fn client_faults_quotas_and_departures_never_open_it() {
    let (breaker, now, mut rng) = breaker();
    for n in 0..10_000 {
        let class = [FailureClass::ClientFault, FailureClass::Quota, FailureClass::Credential, FailureClass::SpendCap];
        assert_eq!(breaker.enter(now).unwrap().failed_with(class[n % 4], now, &mut rng), None);
        drop(breaker.enter(now).unwrap());
    }
    assert_eq!(breaker.circuit(now), Circuit::Closed);
}

/// Streams of a hundred seconds, a hundred begun a second: in the first minute nothing has ended yet but the failures.
#[test]
fn answers_that_take_minutes_are_no_failures_meanwhile() {
    let (breaker, start, mut rng) = breaker();
    let mut under_way = std::collections::VecDeque::new();
    for request in 0..30_000u64 {
        let now = start + Duration::from_millis(request * 10);
        let mut pass = breaker.enter(now).unwrap();
        if rng.f64() < 0.01 {
            assert_eq!(pass.failed(now, &mut rng), None);
        } else {
            pass.began(now);
            under_way.push_back(pass);
        }
        if request >= 10_000 {
            assert_eq!(under_way.pop_front().unwrap().succeeded(now), None);
        }
    }
}

#[test]
fn a_provider_that_breaks_off_every_answer_is_found_out() {
    let (breaker, now, mut rng) = breaker();
    let opened = (1..100).find(|_| {
        let mut pass = breaker.enter(now).unwrap();
        assert_eq!(pass.began(now), None);
        pass.failed(now, &mut rng).is_some()
    });
    assert_eq!(opened, Some(5));
}

/// How often it opens in a day with one attempt in a hundred failing at random.
fn false_trips(per_second: f64, ratio_failures: u32, seed: u64) -> u32 {
    let start = Instant::now();
    let settings = BreakerSettings { ratio_failures, ..BreakerSettings::default() };
    let breaker = Arc::new(Breaker::new(settings, start));
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut trips = 0;
    for request in 0..(86_400.0 * per_second) as u64 {
        let now = start + Duration::from_secs_f64(request as f64 / per_second);
        let Ok(pass) = breaker.enter(now) else { continue };
        if rng.f64() < 0.01 {
            trips += u32::from(pass.failed(now, &mut rng).is_some());
        } else {
            pass.succeeded(now);
        }
    }
    trips
}

/// At ten attempts a second the window has 300, of which more than 60 must fail: at 1 % never. The first ten after a start are
/// the weak point: three of them fail with a chance of C(10,3) * 0.01^3 = 0.00012.
#[test]
fn no_false_trip_in_a_day_at_ten_a_second_and_one_percent_of_random_errors() {
    assert_eq!(false_trips(10.0, 3, 1), 0);
}

/// With ten attempts in the window all day long (one in three seconds), each of the 288 random failures of a day is the third
/// of ten with a chance of about C(9,2) * 0.01^2 = 0.0036: once a day, for five seconds. A fifth of ten comes with
/// C(9,4) * 0.01^4 = 0.0000013: once in seven years. Whoever minds sets `ratio_failures` to 5.
#[test]
fn with_little_traffic_the_ratio_rule_trips_falsely_about_once_a_day_unless_it_wants_five_failures() {
    let days = 20;
    let trips = |ratio_failures| (0..days).map(|day| false_trips(0.34, ratio_failures, day)).sum::<u32>();
    let (three, five) = (trips(3), trips(5));
    assert!((5..60).contains(&three), "{three} in {days} days");
    assert_eq!(five, 0);
}

/// Real threads, a clock that each reads for itself, and every way for an attempt to end. `make model-check` tries the orders
/// one by one; this one looks for what only happens among many.
#[test]
fn threads_that_do_everything_at_once_leave_a_breaker_that_works() {
    let (breaker, start, _) = breaker();
    let opened = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (breaker, opened) = (&breaker, &opened);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(thread);
                for step in 0..20_000u64 {
                    let now = start + Duration::from_millis(step * 5 + rng.u64(0..50));
                    let Ok(mut pass) = breaker.enter(now) else { continue };
                    let changed = match rng.u8(0..8) {
                        0..3 => pass.failed(now, &mut rng),
                        3 => None,
                        4 => pass.began(now),
                        _ => pass.succeeded(now),
                    };
                    if matches!(changed, Some(Circuit::Open { .. })) {
                        opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(opened.into_inner() > 0);
    // Everybody has gone: whatever state it is in, the next one gets through at its time, and a success closes it.
    let mut now = start + seconds(200);
    if let Some(refused) = breaker.refuses(now) {
        now = refused.retry_at;
    }
    breaker.enter(now).unwrap().succeeded(now);
    assert_eq!(breaker.circuit(now), Circuit::Closed);
}

#[test]
fn what_has_failed_and_what_is_on_its_way_are_no_more_than_open_it_where_there_are_others() {
    let (breaker, now, mut rng) = breaker();
    // As many as there are, while nothing has failed.
    let mut crowd: Vec<Pass> = (0..9).map(|_| breaker.enter_beside(now).unwrap()).collect();
    assert_eq!(crowd.pop().unwrap().failed(now, &mut rng), None);
    let refused = breaker.enter_beside(now).unwrap_err();
    assert_eq!(refused, Refused { retry_at: now, circuit: Circuit::Closed });
    // Alone it is asked as before; who has begun to answer is not on its way, and resets the run.
    drop(breaker.enter(now).unwrap());
    assert_eq!(crowd.last_mut().unwrap().began(now), None);
    assert!(breaker.enter_beside(now).is_ok());

    // One failed: four may be on their way. One of them leaves without a verdict, and another takes its place.
    crowd.clear();
    fail(&breaker, now, &mut rng);
    let mut four: Vec<Pass> = (0..4).map(|_| breaker.enter_beside(now).unwrap()).collect();
    assert!(breaker.enter_beside(now).is_err());
    drop(four.pop());
    four.push(breaker.enter_beside(now).unwrap());
    assert!(breaker.enter_beside(now).is_err());
    assert_eq!(four.pop().unwrap().failed(now, &mut rng), None);
    assert!(breaker.enter_beside(now).is_err(), "two failed, three are on their way");
}

#[test]
fn attempts_that_hang_since_before_an_outage_keep_nobody_from_the_recovered_provider() {
    let (breaker, now, mut rng) = breaker();
    let hang: Vec<Pass> = (0..9).map(|_| breaker.enter_beside(now).unwrap()).collect();
    let until = trip(&breaker, now, &mut rng);
    assert_eq!(breaker.enter_beside(until).unwrap().succeeded(until), Some(Circuit::Closed));
    fail(&breaker, until, &mut rng);
    let one = breaker.enter_beside(until).unwrap();
    // Nor do they make room when they end.
    drop(hang);
    let three: Vec<Pass> = (0..3).map(|_| breaker.enter_beside(until).unwrap()).collect();
    assert!(breaker.enter_beside(until).is_err());
    drop((one, three));
}

proptest! {
    /// Whatever was on its way when the first one failed, and however the others arrive and end.
    #[test]
    fn a_provider_that_is_down_fails_no_more_than_it_must(
        under_way in 1..12usize,
        steps in prop::collection::vec(any::<(bool, prop::sample::Index)>(), 0..200),
        threshold in 1..8u32,
    ) {
        let now = Instant::now();
        let settings = BreakerSettings { failure_threshold: threshold, ..BreakerSettings::default() };
        let breaker = Arc::new(Breaker::new(settings, now));
        let mut rng = fastrand::Rng::with_seed(1);
        let mut held: Vec<Pass> = (0..under_way).map(|_| breaker.enter_beside(now).unwrap()).collect();
        let mut failed = 1;
        held.remove(0).failed(now, &mut rng);
        for (enters, which) in steps {
            if enters {
                held.extend(breaker.enter_beside(now));
            } else if !held.is_empty() {
                failed += 1;
                held.remove(which.index(held.len())).failed(now, &mut rng);
            }
        }
        failed += held.len();
        prop_assert!(failed <= under_way.max(threshold as usize), "{} failed", failed);
        held.into_iter().for_each(|pass| { pass.failed(now, &mut rng); });
        // And the next one can always enter until it is known.
        prop_assert_eq!(breaker.enter_beside(now).is_ok(), breaker.circuit(now) == Circuit::Closed);
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u64),
    Enter { last: bool },
    EnterBeside,
    Began(usize),
    Ends(usize, Ending),
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Success,
    Failure,
    Dropped,
}

fn step() -> impl Strategy<Value = Step> {
    let ending = prop_oneof![2 => Just(Ending::Success), 5 => Just(Ending::Failure), 1 => Just(Ending::Dropped)];
    prop_oneof![
        1 => (0..4_000u64).prop_map(Step::Wait),
        1 => (0..130_000u64).prop_map(Step::Wait),
        8 => Just(Step::Enter { last: false }),
        2 => Just(Step::Enter { last: true }),
        4 => Just(Step::EnterBeside),
        1 => (0..4usize).prop_map(Step::Began),
        8 => (0..4usize, ending).prop_map(|(which, ending)| Step::Ends(which, ending)),
    ]
}

/// The rules again, as plainly as can be: a list of what happened, and no thought for threads.
struct Model {
    now: Instant,
    origin: Instant,
    probes: usize,
    generation: u64,
    open: Option<Instant>,
    doublings: u32,
    recovered: Option<Instant>,
    run: u32,
    seen: Vec<(u64, bool)>,
    leases: Vec<(u64, Instant)>,
    last_resort: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Right {
    Normal,
    Probe,
    Last,
    Begun,
}

impl Model {
    fn enter(&mut self, last: bool, id: u64) -> Option<(u64, Right)> {
        let Some(until) = self.open else { return Some((self.generation, Right::Normal)) };
        self.leases.retain(|(_, deadline)| *deadline > self.now);
        if self.leases.len() >= self.probes {
            return None;
        }
        let right = if self.now >= until { Right::Probe } else { Right::Last };
        if right == Right::Last {
            if !last || self.last_resort.is_some_and(|at| self.now < at + seconds(1)) {
                return None;
            }
            self.last_resort = Some(self.now);
        }
        self.leases.push((id, self.now + seconds(120)));
        Some((self.generation, right))
    }

    fn count(&mut self, ok: bool) {
        self.seen.push(((self.now - self.origin).as_secs() / 3, ok));
        self.run = if ok { 0 } else { self.run + 1 };
    }

    fn must_open(&self) -> bool {
        let too_few = |buckets, samples| {
            let newest = (self.now - self.origin).as_secs() / 3;
            let seen: Vec<bool> =
                self.seen.iter().filter(|(tick, _)| tick + buckets > newest).map(|(_, ok)| *ok).collect();
            let ok = seen.iter().filter(|ok| **ok).count();
            seen.len() >= samples && (ok as f64) < 0.8 * seen.len() as f64
        };
        self.run >= 5 || too_few(10, 10) || too_few(3, 30)
    }

    fn opens(&mut self, until: Instant) {
        let ceiling = (5.0 * 2f64.powi(self.doublings as i32)).min(300.0);
        let time = (until - self.now).as_secs_f64();
        assert!(time >= ceiling / 2.0 - 1e-6 && time <= ceiling + 1e-6, "{time} of {ceiling}");
        self.doublings += 1;
        self.generation += 1;
        self.open = Some(until);
        self.leases.clear();
        self.last_resort = None;
    }

    fn closes(&mut self) {
        self.generation += 1;
        self.open = None;
        self.recovered = Some(self.now);
        self.run = 0;
        self.seen.clear();
        self.leases.clear();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn agrees_with_the_rules_written_plainly(
        steps in prop::collection::vec(step(), 1..150),
        probes in 1..3u32,
        seed in any::<u64>(),
    ) {
        let origin = Instant::now();
        let settings = BreakerSettings { half_open_requests: probes, ..BreakerSettings::default() };
        let breaker = Arc::new(Breaker::new(settings, origin));
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut model = Model {
            now: origin, origin, probes: probes as usize, generation: 0, open: None, doublings: 0, recovered: None,
            run: 0, seen: Vec::new(), leases: Vec::new(), last_resort: None,
        };
        let mut held: Vec<(Pass, u64, u64, Right)> = Vec::new();
        for (id, step) in steps.into_iter().enumerate() {
            let id = id as u64;
            match step {
                Step::Wait(millis) => model.now += Duration::from_millis(millis),
                Step::Enter { .. } | Step::EnterBeside => {
                    let got = match step {
                        Step::Enter { last: true } => breaker.enter_last(model.now),
                        Step::EnterBeside => breaker.enter_beside(model.now),
                        _ => breaker.enter(model.now),
                    };
                    let counts = |(_, _, generation, right): &&(Pass, u64, u64, Right)| {
                        *right == Right::Normal && *generation == model.generation
                    };
                    let on_their_way = held.iter().filter(counts).count();
                    let enough = model.run > 0 && on_their_way + model.run as usize >= 5;
                    if matches!(step, Step::EnterBeside) && model.open.is_none() && enough {
                        prop_assert_eq!(got.unwrap_err().circuit, Circuit::Closed);
                        continue;
                    }
                    let expected = model.enter(matches!(step, Step::Enter { last: true }), id);
                    prop_assert_eq!(got.is_ok(), expected.is_some(), "{:?}", got);
                    match (got, expected) {
                        (Ok(pass), Some((generation, right))) => {
                            prop_assert_eq!(pass.deadline().is_some(), right != Right::Normal);
                            held.push((pass, id, generation, right));
                        }
                        (Err(refused), _) => prop_assert!(refused.retry_at > model.now),
                        _ => {}
                    }
                }
                Step::Began(which) => {
                    if let Some((pass, id, generation, right)) = held.get_mut(which) {
                        let changed = pass.began(model.now);
                        let current = *generation == model.generation;
                        let closes = current && matches!(right, Right::Probe | Right::Last);
                        prop_assert_eq!(changed, closes.then_some(Circuit::Closed));
                        if closes {
                            model.closes();
                            *generation = model.generation;
                        }
                        if current && *right != Right::Begun {
                            model.count(true);
                        }
                        model.leases.retain(|(lease, _)| lease != id);
                        *right = Right::Begun;
                    }
                }
                Step::Ends(which, ending) => {
                    if which >= held.len() {
                        continue;
                    }
                    let (pass, id, generation, right) = held.remove(which);
                    let current = generation == model.generation;
                    let changed = match ending {
                        Ending::Success => pass.succeeded(model.now),
                        Ending::Failure => pass.failed(model.now, &mut rng),
                        Ending::Dropped => { drop(pass); None }
                    };
                    model.leases.retain(|(lease, _)| *lease != id);
                    let mut opens = false;
                    match (ending, right) {
                        (Ending::Success, Right::Probe | Right::Last) if current => {
                            model.closes();
                            model.count(true);
                            prop_assert_eq!(changed, Some(Circuit::Closed));
                        }
                        (Ending::Success, Right::Normal) if current => model.count(true),
                        (Ending::Failure, Right::Probe) if current => opens = true,
                        (Ending::Failure, Right::Normal | Right::Begun) if current => {
                            model.count(false);
                            opens = model.must_open();
                            if opens && model.recovered.is_none_or(|at| model.now - at >= WARM_UP) {
                                model.doublings = 0;
                            }
                        }
                        _ => {}
                    }
                    if opens {
                        let Some(Circuit::Open { until }) = changed else { panic!("{changed:?} but it must open") };
                        model.opens(until);
                    } else if !matches!(ending, Ending::Success) {
                        prop_assert_eq!(changed, None);
                    }
                }
            }
            let expected = match model.open {
                None => Circuit::Closed,
                Some(until) if model.now < until => Circuit::Open { until },
                Some(_) => Circuit::HalfOpen,
            };
            prop_assert_eq!(breaker.circuit(model.now), expected);
        }
    }
}
