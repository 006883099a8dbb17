//! The account of a request in sentences: what was tried, what was not, and why.

use std::time::Duration;

use gateway_core::error::FailureClass;
use gateway_core::target::Target;
use gateway_policy::routing::RoutePlan;

use crate::cache::{Answered, Note};
use crate::settle::{Outcome, Record};
use crate::steps::{Attempt, Failed, Step, Stop, Wait, attempts};

/// Every sentence that there is to say. `outcome`: how the request ended, `None` while its answer is on its way.
pub fn summary(record: &Record, outcome: Option<Outcome>) -> Vec<String> {
    let mut said = vec![asked(record)];
    if let Some(plan) = &record.plan {
        said.push(order(plan));
        said.extend(plan.skipped.iter().map(|skip| format!("{} was not tried: {}.", skip.target, skip.reason)));
    }
    said.extend(record.cache.as_deref().map(cached));
    for (index, step) in record.steps.iter().enumerate() {
        match step {
            Step::Attempt(attempt) => said.push(attempted(record, attempt, &record.steps[index + 1..], outcome)),
            Step::Abandoned { target, took, .. } => {
                said.push(format!("{target} had been asked for {} {}.", time(*took), when(outcome)));
            }
            Step::Hedged { target, after } => said.push(format!(
                "After {} without an answer {target} was asked as well, and the faster one was to win.",
                time(*after)
            )),
            Step::Lost { target, took } => {
                said.push(format!("{target} was ended after {}: another target was faster.", time(*took)));
            }
            Step::Skipped { target, why, until } => {
                let until = until.map(|until| format!(" (until {} after the request came)", time(until)));
                let later = attempts(&record.steps[index + 1..]).any(|attempt| attempt.target == *target);
                let what = if later { "was passed over at first" } else { "was not tried" };
                said.push(format!("{target} {what}: {why}{}.", until.unwrap_or_default()));
            }
            Step::Waited { length, why: Wait::Quota } => {
                said.push(format!("The request waited {} for room in the provider's limits.", time(*length)));
            }
            // Part of what is said of the attempt before.
            Step::Waited { .. } | Step::Stopped(_) => {}
        }
    }
    said.extend(untried(record, outcome));
    said.extend(losses(record));
    said.extend(outcome.map(|outcome| ending(record, outcome)));
    said
}

fn asked(record: &Record) -> String {
    let what = if record.stream { "a stream" } else { "a whole answer" };
    match &record.model_asked {
        Some(model) => format!("The request asked {model} for {what}."),
        None => format!("The request asked for {what} and named no model."),
    }
}

fn cached(note: &Note) -> String {
    let nearest = match &note.near {
        Some(near) => format!("; the nearest one was held to answer another question: {}", near.rule()),
        None => String::new(),
    };
    match (note.answered, &note.hit) {
        (Answered::Hit, Some(found)) => {
            let (tier, age) = (found.tier.name(), time(found.age));
            format!("The cache had the answer ({tier}, {age} old), so no target was asked.")
        }
        (Answered::Hit, None) => "The cache had the answer, so no target was asked.".to_owned(),
        (Answered::Coalesced, _) => {
            "Another request asked the same at the same time, and its answer was taken: no target was asked.".to_owned()
        }
        (Answered::Miss, _) => format!("The cache had no answer{nearest}."),
        (Answered::Refresh, _) => "The cache was not asked: the request wanted a new answer.".to_owned(),
        (Answered::Bypass, _) => {
            format!("The cache was passed by: {}.", note.why.unwrap_or("it is not for this request"))
        }
    }
}

fn order(plan: &RoutePlan) -> String {
    let strategy = plan.strategy.name();
    match plan.targets.as_slice() {
        [only] => format!("There was one target: {}.", only.target),
        targets => {
            let listed: Vec<String> =
                targets.iter().enumerate().map(|(index, planned)| format!("{}. {planned}", index + 1)).collect();
            format!("Strategy {strategy} put {} targets in this order: {}.", targets.len(), listed.join("; "))
        }
    }
}

/// What came of one attempt, and what was decided then: that is what `after` begins with.
fn attempted(record: &Record, attempt: &Attempt, after: &[Step], outcome: Option<Outcome>) -> String {
    let (target, took) = (&attempt.target, time(attempt.took));
    let Some(failed) = &attempt.failed else {
        let gave = if record.stream { "gave its first content" } else { "answered" };
        return format!("{target} {gave} after {took}.");
    };
    let what = match attempt.begun {
        None => format!("{target} was not asked: {}", failure(failed)),
        Some(_) => format!("{target} failed after {took}: {}", failure(failed)),
    };
    let billed = if attempt.maybe_billed() { "; it may charge for that all the same" } else { "" };
    format!("{what}; {}{billed}.", decision(attempt, after, outcome))
}

/// What followed a failed attempt.
pub fn decision(failed: &Attempt, after: &[Step], outcome: Option<Outcome>) -> String {
    let mut steps = after.iter().filter(|step| !matches!(step, Step::Skipped { .. } | Step::Lost { .. }));
    let next = steps.next();
    if let (Some(Step::Waited { length, .. }), Some(Step::Stopped(stop))) = (next, steps.next()) {
        return format!("after {} no further attempt was made: {}", time(*length), stopped(*stop));
    }
    match next {
        Some(Step::Waited { length, why }) => {
            let why = match why {
                Wait::Backoff => "",
                Wait::Asked => ", as it had asked for",
                Wait::Quota => ", when there would be room in the provider's limits",
            };
            format!("the same target was asked again after {}{why}", time(*length))
        }
        Some(Step::Attempt(Attempt { target, .. }) | Step::Abandoned { target, .. }) if *target == failed.target => {
            "the same target was asked again".to_owned()
        }
        Some(Step::Attempt(_) | Step::Abandoned { .. } | Step::Hedged { .. }) => "the next target was asked".to_owned(),
        Some(Step::Stopped(stop)) => format!("no further attempt was made: {}", stopped(*stop)),
        Some(Step::Skipped { .. } | Step::Lost { .. }) | None => {
            format!("no further attempt had been made {}", when(outcome))
        }
    }
}

/// Completes "was not tried: ".
pub fn stopped(stop: Stop) -> String {
    match stop {
        Stop::RequestAtFault => {
            "the request itself was at fault, and another target would not take it either".to_owned()
        }
        Stop::AttemptsSpent { most: 1 } => "the one attempt that a request has was spent".to_owned(),
        Stop::AttemptsSpent { most } => format!("all {most} attempts that a request has were spent"),
        Stop::OutOfTime => "the time of the request was up".to_owned(),
        Stop::RetriesSpent => "the same target had failed too often lately for another try to be worth it".to_owned(),
        Stop::Shed => "the gateway itself had no room to go on".to_owned(),
        Stop::AllClosed => "no target could be asked at that time".to_owned(),
        Stop::NoTargetLeft => "there was no other target, and the same one was not to be asked again".to_owned(),
    }
}

/// Completes "failed: ".
fn failure(failed: &Failed) -> String {
    let class = match failed.class {
        FailureClass::ClientFault => "it refused the request itself",
        FailureClass::Credential => "it refused the gateway's own credential (the operator finds more in the log)",
        FailureClass::Quota => "the gateway had reached its rate limit there",
        FailureClass::SpendCap => "the gateway's account there has no money left",
        FailureClass::ProviderFault => "it had a fault of its own",
        FailureClass::Overload => "it was overloaded",
        FailureClass::Transport => "it could not be reached",
        FailureClass::Ambiguous => "the connection broke after the request had been sent",
        FailureClass::Timeout => "it did not answer in time",
        FailureClass::BadAnswer => "it gave no usable answer",
    };
    let status = failed.status.map(|status| format!("status {status}"));
    let details: Vec<&str> = [status.as_deref(), told(failed)].into_iter().flatten().collect();
    if details.is_empty() { class.to_owned() } else { format!("{class} ({})", details.join(": ")) }
}

/// The words of an error that a caller may know: those about the gateway's own credential are the operator's.
pub fn told(failed: &Failed) -> Option<&str> {
    (failed.class != FailureClass::Credential && !failed.error.is_empty()).then_some(failed.error.as_str())
}

/// What went wrong at last, as far as the caller may know it.
pub fn error(record: &Record) -> Option<&str> {
    let last = attempts(&record.steps).next_back().and_then(|attempt| attempt.failed.as_ref());
    record.error.as_deref().filter(|_| last.is_none_or(|failed| failed.class != FailureClass::Credential))
}

fn when(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::ClientGone) => "when the client went away",
        Some(Outcome::Drained) => "when the gateway shut down",
        Some(Outcome::InternalError) => "when the gateway itself failed",
        _ => "when the request ended",
    }
}

/// The targets of the plan whose turn never came.
fn untried(record: &Record, outcome: Option<Outcome>) -> Option<String> {
    let plan = record.plan.as_ref()?;
    let met = |target: &Target| {
        record.steps.iter().any(|step| match step {
            Step::Attempt(Attempt { target: met, .. })
            | Step::Abandoned { target: met, .. }
            | Step::Hedged { target: met, .. }
            | Step::Lost { target: met, .. }
            | Step::Skipped { target: met, .. } => met == target,
            Step::Waited { .. } | Step::Stopped(_) => false,
        })
    };
    let left: Vec<String> =
        plan.targets.iter().filter(|planned| !met(&planned.target)).map(|planned| planned.target.to_string()).collect();
    let names = left.join(", ");
    let be = match left.len() {
        0 => return None,
        1 => "was",
        _ => "were",
    };
    let last = record.steps.iter().rev().find(|step| !matches!(step, Step::Hedged { .. } | Step::Lost { .. }));
    let why = match (last, outcome) {
        (Some(Step::Attempt(Attempt { target, failed: None, .. })), outcome) => match outcome {
            None | Some(Outcome::Ok) => return Some(format!("{names} {be} not needed: {target} answered.")),
            Some(Outcome::Truncated) => {
                format!("the first content of {target} had already reached the client when it broke off")
            }
            Some(_) => format!("{target} was answering {}", when(outcome)),
        },
        (Some(Step::Stopped(stop)), _) => stopped(*stop),
        (_, Some(Outcome::ClientGone)) => "the client had gone".to_owned(),
        (_, Some(Outcome::Shed)) => "the gateway had no room for the request".to_owned(),
        (_, Some(Outcome::RateLimited)) => "the caller had used up what it may".to_owned(),
        (_, Some(Outcome::Drained)) => "the gateway was shutting down".to_owned(),
        (_, Some(Outcome::InternalError)) => "the gateway itself failed".to_owned(),
        _ => return None,
    };
    Some(format!("{names} {be} not tried: {why}."))
}

fn losses(record: &Record) -> impl Iterator<Item = String> {
    let who = match (&record.provider, &record.model) {
        (Some(provider), Some(model)) => format!("{provider}/{model}"),
        _ => "the provider".to_owned(),
    };
    [
        (dropped(record), format!("Lost in translation for {who}, because one of the two APIs has no word for it: ")),
        (listed(record.approximated.iter()), format!("Told to {who} in other words: ")),
        (listed(record.added.iter()), format!("Added, because the API of {who} demands it: ")),
    ]
    .into_iter()
    .filter(|(names, _)| !names.is_empty())
    .map(|(names, what)| format!("{what}{names}."))
}

fn dropped(record: &Record) -> String {
    listed(record.dropped.iter().filter(|name| !record.approximated.contains(name)))
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn ending(record: &Record, outcome: Outcome) -> String {
    let why = error(record).map(|error| format!(": {error}")).unwrap_or_default();
    let status = record.status;
    match outcome {
        Outcome::Ok => {
            let finish = record.finish_reason.map(|finish| format!(" (finish reason {finish})")).unwrap_or_default();
            let usage = record.usage.map(|usage| format!("; {} tokens in, {} out", usage.input, usage.output));
            let cost = match record.cost {
                Some(cost) => format!(", ${:.6} by list price", cost.total().usd()),
                None if usage.is_some() => ", at a price that is not known".to_owned(),
                None => String::new(),
            };
            format!("The answer was complete{finish}{}{cost}.", usage.unwrap_or_default())
        }
        Outcome::ClientError if record.plan.is_none() => {
            format!("The request was refused with status {status} before any provider was asked{why}.")
        }
        Outcome::UpstreamError if record.plan.is_none() => {
            format!("No provider could be asked, and the client got status {status}{why}.")
        }
        Outcome::ClientError => format!("The client was told what is wrong with its request (status {status})."),
        Outcome::UpstreamError => format!("No target gave an answer; the client got an error (status {status})."),
        Outcome::Truncated => {
            format!("The answer broke off after its first content{why}; the client got what had come, then an error.")
        }
        Outcome::ClientGone => "The client went away before the end of the answer.".to_owned(),
        Outcome::Shed => {
            format!("The gateway had as much to do as it can, and refused the request (status {status}){why}.")
        }
        Outcome::RateLimited => {
            format!("The caller had used up what it may, and the request was refused (status {status}){why}.")
        }
        Outcome::Drained => "The gateway shut down before the end of the answer.".to_owned(),
        Outcome::InternalError => "The gateway itself failed at this request; its log says why.".to_owned(),
    }
}

/// `12 ms`, `1.5 s`
fn time(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "less than 1 ms".to_owned(),
        ms @ ..1000 => format!("{ms} ms"),
        ms => format!("{:.1} s", ms as f64 / 1e3),
    }
}
