use std::net::Ipv4Addr;
use std::time::Instant;

use gateway_core::dialect::{Dialect, ProviderDialect};
use gateway_core::error::FailureClass;
use gateway_core::target::{Strategy, Target};
use gateway_policy::routing::{Place, Planned, RoutePlan, Why};

use super::*;
use crate::api::Arrival;
use crate::request_id::RequestId;
use crate::settle::Outcome;
use crate::steps::{Attempt, Failed};
use crate::telemetry::log::{Format, Level, Log};

fn caller() -> Caller {
    Caller::Address(Ipv4Addr::LOCALHOST.into())
}

fn record(id: &str) -> Box<Record> {
    let arrival = Arrival {
        started: Instant::now(),
        request_id: RequestId::named(id),
        correlation_id: None,
        dialect: Dialect::Native,
        caller: caller(),
    };
    Box::new(Record::new(&arrival, "POST /v1/completions", Dialect::Native))
}

fn target(provider: &str) -> Target {
    Target { provider: provider.into(), model: "m".into(), dialect: ProviderDialect::OpenAiChat }
}

fn planned(record: &mut Record, providers: &[&str]) {
    let targets = providers.iter().map(|provider| Planned {
        target: target(provider),
        place: Place::Rest,
        why: Why::ConfiguredOrder,
    });
    record.plan = Some(Arc::new(RoutePlan {
        strategy: Strategy::Fallback,
        targets: targets.collect(),
        on_context_overflow: Vec::new(),
        on_content_filter: Vec::new(),
        hedge: false,
        skipped: Vec::new(),
    }));
}

fn attempt(provider: &str, failed: Option<Failed>) -> Step {
    let times = Duration::from_millis(5);
    Step::Attempt(Attempt { target: target(provider), begun: Some(times), took: times, failed })
}

#[test]
fn the_latest_are_kept_and_no_more() {
    let explanations = Explanations::new(None);
    for index in 0..EXPLANATIONS + 5 {
        explanations.keep(Timestamp::UNIX_EPOCH, record(&format!("req_{index}")));
    }
    let kept = explanations.kept();
    assert_eq!(kept.by_age.len(), EXPLANATIONS);
    drop(kept);
    assert!(explanations.find(&RequestId::named("req_4"), &caller()).is_none());
    assert!(explanations.find(&RequestId::named("req_5"), &caller()).is_some());
    let other = Caller::Address(Ipv4Addr::new(10, 0, 0, 1).into());
    assert!(explanations.find(&RequestId::named("req_5"), &other).is_none());
}

#[test]
fn large_ones_leave_room_for_fewer_and_huge_ones_are_not_kept() {
    let explanations = Explanations::new(None);
    for index in 0..EXPLANATIONS {
        let mut record = record(&format!("req_{index}"));
        record.dropped = vec!["x".repeat(EXPLANATION_BYTES / 2)];
        explanations.keep(Timestamp::UNIX_EPOCH, record);
    }
    let kept = explanations.kept();
    assert!(kept.bytes <= EXPLANATIONS_BYTES && kept.by_age.len() > EXPLANATIONS_BYTES / EXPLANATION_BYTES);
    assert_eq!(kept.bytes, kept.by_age.iter().map(|told| told.bytes).sum::<usize>());
    drop(kept);
    let mut huge = record("req_huge");
    huge.dropped = vec!["x".repeat(EXPLANATION_BYTES)];
    explanations.keep(Timestamp::UNIX_EPOCH, huge);
    assert!(explanations.find(&RequestId::named("req_huge"), &caller()).is_none());
    assert_eq!(explanations.lost(), 1);
}

#[test]
fn long_words_of_others_are_cut() {
    let explanations = Explanations::new(None);
    let mut long = record("req_long");
    let error = "é".repeat(1_000_000);
    long.error = Some(error.clone());
    long.steps.push(attempt("a", Some(Failed { class: FailureClass::ProviderFault, status: None, error })));
    explanations.keep(Timestamp::UNIX_EPOCH, long);
    let explanation = explanations.find(&RequestId::named("req_long"), &caller()).unwrap();
    assert_eq!(explanation.error.unwrap().chars().count(), EXPLANATION_TEXT_CHARS);
    assert!(explanation.summary.join("").len() < 4 * EXPLANATION_TEXT_CHARS);
}

#[tokio::test]
async fn a_log_that_writes_no_lines_of_requests_keeps_them_all_the_same() {
    let log = Log::start(Format::Json, Level::Error, Explanations::new(None), std::io::sink()).unwrap();
    log.request(record("req_quiet"));
    log.caught_up().await;
    assert!(log.explanations().find(&RequestId::named("req_quiet"), &caller()).is_some());
}

#[test]
fn the_end_of_the_gateway_is_a_reason_too() {
    let mut record = record("req_drained");
    planned(&mut record, &["a", "b"]);
    let times = Duration::from_millis(5);
    record.steps.push(Step::Abandoned { target: target("a"), begun: times, took: times });
    for (outcome, says) in [
        (
            Outcome::Drained,
            "a/m had been asked for 5 ms when the gateway shut down. b/m was not tried: the gateway was shutting down.",
        ),
        (Outcome::InternalError, "when the gateway itself failed. b/m was not tried: the gateway itself failed."),
    ] {
        record.outcome = outcome;
        let said = summary(&record, Some(outcome)).join(" ");
        assert!(said.contains(says), "{said}");
    }
    record.steps = vec![attempt("a", None)];
    let said = summary(&record, Some(Outcome::Drained)).join(" ");
    assert!(said.contains("b/m was not tried: a/m was answering when the gateway shut down."), "{said}");
}

#[test]
fn a_target_that_was_passed_over_is_named_with_its_reason() {
    let mut record = record("req_skipped");
    planned(&mut record, &["a", "b", "c"]);
    let failed = Failed { class: FailureClass::Overload, status: Some(529), error: "busy".to_owned() };
    record.steps = vec![
        attempt("a", Some(failed)),
        Step::Skipped { target: target("b"), why: "its circuit is open".into(), until: Some(Duration::from_secs(12)) },
        attempt("c", None),
    ];
    let said = summary(&record, Some(Outcome::Ok)).join(" ");
    assert!(
        said.contains("a/m failed after 5 ms: it was overloaded (status 529: busy); the next target was asked."),
        "{said}"
    );
    assert!(said.contains("b/m was not tried: its circuit is open (until 12.0 s after the request came)."), "{said}");
    assert!(!said.contains("not needed"), "{said}");
}

#[test]
fn a_race_is_told_with_its_winner() {
    let mut record = record("req_hedged");
    planned(&mut record, &["a", "b", "c"]);
    let times = Duration::from_millis(40);
    record.steps = vec![
        Step::Hedged { target: target("b"), after: times },
        attempt("b", None),
        Step::Lost { target: target("a"), took: times },
    ];
    let said = summary(&record, Some(Outcome::Ok)).join(" ");
    assert!(
        said.contains("After 40 ms without an answer b/m was asked as well, and the faster one was to win."),
        "{said}"
    );
    assert!(said.contains("a/m was ended after 40 ms: another target was faster."), "{said}");
    assert!(said.contains("c/m was not needed: b/m answered."), "{said}");
}
