//! The oracle: joins what the clients say, what the gateway's log says and what the providers say, and names every
//! contradiction.
//!
//! | invariant | |
//! |---|---|
//! | I1 | one log line per request, no line without a request, and it tells the same end as the client |
//! | I3 | billed output tokens are those that the provider told, and no more than it sent |
//! | I4 | failed attempts cost nothing |
//! | I5 | at most three attempts, and no request to a provider that is not one of them |
//! | I6 | no attempt after the first content has reached the client |
//! | I7 | nothing is open when nothing is asked |
//! | I8 | no secret where it does not belong |
//! | I9 | every ending is one that its dialect has, and every text is the one that was asked for |
//! | I10 | no panic, no growth of memory |
//! | effect | a fault has the effect that it should have |

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use simulator::Ending;

use crate::kinds::{Effect, Manner};
use crate::process::Line;
use crate::swarm::{End, Sent};
use crate::world::Arrival;

pub(crate) const MAX_ATTEMPTS: u32 = 3;

/// A request that takes longer has met a time limit of the gateway under test, and not by a fault.
const UNDISTURBED: Duration = Duration::from_millis(1000);

/// One contradiction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    /// Of the request; `None` for what concerns all of them.
    pub(crate) number: Option<u64>,
    pub(crate) request_id: String,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "{} request {number} ({}): {}", self.invariant, self.request_id, self.what),
            None => write!(f, "{} {}: {}", self.invariant, self.request_id, self.what),
        }
    }
}

/// How a request ended, as its client saw it; the columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// By the first target.
    Served,
    /// By the second target, or the first one at the second time.
    FailedOver,
    /// The provider's or gateway's word that the request is at fault.
    Refused,
    /// No answer, and the client was told so.
    HonestError,
    /// An answer that broke off, and the client was told so.
    CutHonestly,
    Left,
    /// Anything else.
    Dishonest,
}

impl Outcome {
    pub(crate) const ALL: [(Outcome, &'static str); 7] = [
        (Outcome::Served, "first target"),
        (Outcome::FailedOver, "failover"),
        (Outcome::Refused, "refused"),
        (Outcome::HonestError, "honest error"),
        (Outcome::CutHonestly, "honest cut"),
        (Outcome::Left, "client left"),
        (Outcome::Dishonest, "dishonest"),
    ];
}

/// What was found of a number of requests.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// In the order of the requests.
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) violations: Vec<Violation>,
    /// Requests to providers that asked for a fault.
    pub(crate) injected: u64,
    pub(crate) arrivals: u64,
    /// Answers that broke off, and how many of them are billed for less than the client received.
    pub(crate) cut: u64,
    pub(crate) cut_underbilled: u64,
}

/// Compares the three accounts. All of them must have come to rest.
pub(crate) fn reconcile(sent: &[Sent], arrivals: &[Arrival], lines: &[Line]) -> Findings {
    let mut lines_of: HashMap<&str, Vec<&Line>> = HashMap::new();
    let mut findings = Findings::default();
    for line in lines {
        match line.correlation_id.as_deref() {
            Some(mark) => lines_of.entry(mark).or_default().push(line),
            None => findings.violations.push(violation("I1", &line.request_id, "a line of no known request")),
        }
    }
    let mut arrivals_of: HashMap<&str, Vec<&Arrival>> = HashMap::new();
    let mut keys = BTreeSet::new();
    for arrival in arrivals {
        findings.arrivals += 1;
        findings.injected += u64::from(arrival.entry.fault.is_some());
        match mark_in(&arrival.entry.request) {
            Some(mark) => arrivals_of.entry(mark).or_default().push(arrival),
            // Its client left before the gateway had sent it.
            None if arrival.entry.request.is_empty() && arrival.entry.ending != Ending::Open => {}
            None => {
                let entry = &arrival.entry;
                let what =
                    format!("a provider was asked {} bytes without a mark: {:?}", entry.request_bytes, entry.ending);
                findings.violations.push(violation("I5", "", &what));
            }
        }
        let is_key = |name: &str| name == "authorization" || name == "x-api-key";
        keys.extend(arrival.entry.headers.iter().filter(|(name, _)| is_key(name)).map(|(_, value)| value.as_str()));
    }
    // One for each API: a client's own key would be another.
    if keys.len() > 2 {
        findings.violations.push(violation("I8", "", &format!("providers saw {} different keys", keys.len())));
    }
    for request in sent {
        let mark = request.plan.mark.as_str();
        let lines = lines_of.remove(mark).unwrap_or_default();
        let arrivals = arrivals_of.remove(mark).unwrap_or_default();
        let mut case = Case { request, lines: &lines, arrivals: &arrivals, findings: &mut findings };
        let outcome = case.outcome();
        case.check(outcome);
        findings.outcomes.push(outcome);
    }
    let unknown =
        lines_of.values().flatten().map(|line| violation("I1", &line.request_id, "a line of no known request"));
    findings.violations.extend(unknown);
    let unknown = arrivals_of.keys().map(|mark| violation("I5", mark, "a provider was asked what nobody asked"));
    findings.violations.extend(unknown);
    findings
}

fn violation(invariant: &'static str, request_id: &str, what: &str) -> Violation {
    Violation { invariant, number: None, request_id: request_id.to_owned(), what: what.to_owned() }
}

/// `m7-12-` of the words that a prompt asks for.
fn mark_in(body: &[u8]) -> Option<&str> {
    const BEFORE: &[u8] = b"Reply with exactly: ";
    let start = body.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let length = body.get(start..)?.iter().position(|byte| *byte == b' ')?;
    std::str::from_utf8(&body[start..start + length]).ok()
}

struct Case<'a> {
    request: &'a Sent,
    lines: &'a [&'a Line],
    arrivals: &'a [&'a Arrival],
    findings: &'a mut Findings,
}

impl Case<'_> {
    fn found(&mut self, invariant: &'static str, what: impl Into<String>) {
        let request_id = self.request.request_id.clone();
        let request_id = request_id.or_else(|| self.lines.first().map(|line| line.request_id.clone()));
        let plan = &self.request.plan;
        let what = format!(
            "{} [{}, {:?} client, {}, {:?} then {:?}]",
            what.into(),
            plan.kind.name,
            plan.client,
            if plan.stream { "stream" } else { "whole" },
            plan.route.first,
            plan.route.second
        );
        self.findings.violations.push(Violation {
            invariant,
            number: Some(plan.number),
            request_id: request_id.unwrap_or_default(),
            what,
        });
    }

    fn outcome(&self) -> Outcome {
        let heard = &self.request.heard;
        match self.request.end {
            End::Left => return Outcome::Left,
            End::Complete => {}
            // Who says that nothing more will come may be taken for one who has gone.
            End::Broken(_) if self.request.plan.kind.manner == Manner::HalfClose && self.request.status == 0 => {
                return Outcome::Left;
            }
            End::Broken(_) | End::Endless => return Outcome::Dishonest,
        }
        let kind = self.request.plan.kind;
        let done = heard.done || (heard.finished && !heard.error && kind.omits_last_word());
        let may_be_refused = kind.effect(self.request.plan.stream) != Effect::Before;
        match (self.request.status, done, heard.error) {
            (200, true, false) => match self.lines {
                [line] if line.attempts > 1 => Outcome::FailedOver,
                _ => Outcome::Served,
            },
            (200, false, true) if heard.contents > 0 => Outcome::CutHonestly,
            (200, false, true) => Outcome::HonestError,
            // An empty purse is a 400 at one vendor, and no fault of the request.
            (400 | 404 | 413 | 422, false, true) if may_be_refused => Outcome::Refused,
            (400.., false, true) => Outcome::HonestError,
            _ => Outcome::Dishonest,
        }
    }

    fn check(&mut self, outcome: Outcome) {
        self.log_line(outcome);
        self.bill(outcome);
        self.attempts();
        self.ending(outcome);
        self.effect(outcome);
        if let Some(leak) = &self.request.leak {
            self.found("I8", format!("a key in an answer: {leak}"));
        }
    }

    fn log_line(&mut self, outcome: Outcome) {
        let request = self.request;
        let manner = request.plan.kind.manner;
        // What is refused before its body is read, or never came whole, has no line; nor need it be read at all when its
        // client is gone. Whoever was asked at a provider has one.
        let optional = !request.sent
            || request.end == End::Left
            || outcome == Outcome::Left
            || matches!(manner, Manner::Send(_))
            || request.status == 0;
        let least = usize::from(!optional || !self.arrivals.is_empty());
        if self.lines.len() < least || self.lines.len() > 1 {
            return self.found("I1", format!("{} log lines for one request", self.lines.len()));
        }
        let &[line] = self.lines else { return };
        if request.request_id.as_ref().is_some_and(|id| *id != line.request_id) {
            self.found("I1", format!("the log has another id: {}", line.request_id));
        }
        let told: &[&str] = match outcome {
            Outcome::Served | Outcome::FailedOver => &["ok"],
            Outcome::Refused => &["client_error"],
            Outcome::HonestError => &["upstream_error"],
            Outcome::CutHonestly => &["truncated"],
            Outcome::Left if manner == Manner::LeaveInBody => &["client_gone", "client_error"],
            Outcome::Left => &["client_gone", "ok", "upstream_error", "truncated"],
            Outcome::Dishonest => return,
        };
        if !told.contains(&line.outcome.as_str()) {
            self.found("I1", format!("the client saw {outcome:?} and the log says {}", line.outcome));
        }
        if request.end == End::Complete && request.status != line.status {
            self.found("I1", format!("the client got {} and the log says {}", request.status, line.status));
        }
    }

    fn bill(&mut self, outcome: Outcome) {
        let (&[line], kind) = (self.lines, self.request.plan.kind) else { return };
        let billed = line.usage.map(|usage| usage.output);
        let told = self.arrivals.last().and_then(|arrival| arrival.entry.usage).map(|usage| usage.output);
        let told_to_client = self.request.heard.output_tokens;
        match outcome {
            Outcome::Served | Outcome::FailedOver if kind.exact => {
                if !kind.usage {
                    return;
                }
                if billed.is_none() {
                    self.found("I3", "an answer without a bill");
                }
                if billed.is_some() && billed != told {
                    self.found("I3", format!("billed {billed:?} and the provider told {told:?}"));
                }
                if told_to_client.is_some() && told_to_client != billed {
                    self.found("I3", format!("billed {billed:?} and the client was told {told_to_client:?}"));
                }
                if billed.is_some_and(|billed| billed < self.request.heard.tokens()) {
                    self.found("I3", format!("billed {billed:?} for {} tokens", self.request.heard.tokens()));
                }
                if billed.is_some() && line.cost_usd.is_none() {
                    self.found("I3", "an answer without a price");
                }
            }
            Outcome::CutHonestly => {
                self.findings.cut += 1;
                self.findings.cut_underbilled += u64::from(billed.unwrap_or(0) < self.request.heard.tokens());
                if billed > told.max(Some(self.request.heard.tokens())) {
                    self.found("I3", format!("billed {billed:?} for an answer cut off; all of it were {told:?}"));
                }
            }
            Outcome::HonestError | Outcome::Refused
                if billed.is_some() || line.cost_usd.is_some_and(|usd| usd > 0.0) =>
            {
                self.found("I4", format!("billed {billed:?} tokens for no answer"));
            }
            _ => {}
        }
    }

    fn attempts(&mut self) {
        let told = self.lines.first().map_or(0, |line| line.attempts);
        if told > MAX_ATTEMPTS {
            self.found("I5", format!("{told} attempts"));
        }
        let kept = if self.request.plan.kind.breaks_kept_connections() { 2 } else { 1 };
        if !self.lines.is_empty() && self.arrivals.len() as u32 > told * kept {
            self.found("I5", format!("{} requests to providers in {told} attempts", self.arrivals.len()));
        }
        if let Some(first) = self.request.first_content
            && let Some(late) = self.arrivals.iter().find(|arrival| arrival.received > first)
        {
            let after = (late.received - first).as_millis();
            self.found("I6", format!("a provider was asked {after} ms after the first content"));
        }
        if self.arrivals.iter().any(|arrival| arrival.entry.ending == Ending::Open) {
            self.found("I7", "a request to a provider is still open");
        }
    }

    fn ending(&mut self, outcome: Outcome) {
        let (request, heard) = (self.request, &self.request.heard);
        if outcome == Outcome::Dishonest {
            let before = request.before;
            let ended = format!("{:?} with status {}, after {before:?}, {heard:?}", request.end, request.status);
            return self.found("I9", ended);
        }
        if !request.plan.kind.exact {
            return;
        }
        if let Some(strange) = &heard.strange {
            self.found("I9", format!("not in the client's dialect: {strange}"));
        }
        let right = match outcome {
            Outcome::Served | Outcome::FailedOver => heard.text == request.plan.expected,
            _ => request.plan.expected.starts_with(&heard.text),
        };
        if !right {
            self.found("I9", format!("another text than was asked for: {:?}", heard.text));
        }
    }

    /// A provider was asked for the fault.
    fn was_struck(&self) -> bool {
        self.arrivals.iter().any(|arrival| arrival.entry.fault.is_some())
    }

    fn effect(&mut self, outcome: Outcome) {
        use Outcome::{CutHonestly, Dishonest, FailedOver, HonestError, Left, Refused, Served};
        let plan = &self.request.plan;
        let second = plan.route.second.is_some();
        let fits = match plan.kind.effect(plan.stream) {
            // On a busy machine what is slow may run into the time limits.
            Effect::None => outcome == Served || self.request.took > UNDISTURBED,
            // Where the first target is known to be down it is not asked at all.
            Effect::Before if second => matches!(outcome, FailedOver | Served),
            Effect::Before => outcome == HonestError,
            Effect::After if !self.was_struck() => matches!((second, outcome), (true, Served) | (false, HonestError)),
            Effect::After => outcome == CutHonestly,
            Effect::Refused => outcome == Refused,
            Effect::Left | Effect::Any => outcome != Dishonest,
        };
        if !fits && outcome != Dishonest && (outcome != Left || plan.kind.effect(plan.stream) != Effect::Left) {
            self.found("effect", format!("{outcome:?} where {:?} was due", plan.kind.effect(plan.stream)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Heard;
    use crate::kinds::KINDS;
    use crate::process::LineUsage;
    use crate::swarm::Plan;
    use crate::world::{Api, Route};
    use simulator::{LedgerEntry, Usage};
    use std::time::Instant;

    /// Three accounts of one request that was answered well at the first target.
    struct Accounts {
        sent: Vec<Sent>,
        arrivals: Vec<Arrival>,
        lines: Vec<Line>,
    }

    impl Accounts {
        fn of(kind: &'static str, second: Option<Api>) -> Self {
            let mut plan = Plan::draw(1, 1);
            plan.kind = KINDS.iter().find(|known| known.name == kind).unwrap();
            plan.route = Route { first: Api::OpenAi, second };
            plan.stream = true;
            let tokens = plan.expected.len().div_ceil(4) as u64;
            let heard = Heard {
                text: plan.expected.clone(),
                contents: 9,
                done: true,
                output_tokens: Some(tokens),
                ..Heard::default()
            };
            let began = Instant::now();
            let line = Line {
                request_id: "req_1".to_owned(),
                correlation_id: Some(plan.mark.clone()),
                status: 200,
                outcome: "ok".to_owned(),
                attempts: 1,
                usage: Some(LineUsage { output: tokens }),
                cost_usd: Some(0.1),
            };
            let prompt = format!("Reply with exactly: {}", plan.expected);
            let arrivals = vec![Arrival { received: began, entry: entry(&prompt, tokens) }];
            let first_content = Some(began + Duration::from_millis(5));
            let (end, request_id) = (End::Complete, Some("req_1".to_owned()));
            let sent = Sent {
                plan,
                sent: true,
                end,
                status: 200,
                request_id,
                heard,
                first_content,
                took: Duration::ZERO,
                leak: None,
                before: "",
            };
            Self { sent: vec![sent], arrivals, lines: vec![line] }
        }

        fn violated(&self) -> BTreeSet<&'static str> {
            let findings = reconcile(&self.sent, &self.arrivals, &self.lines);
            findings.violations.iter().map(|violation| violation.invariant).collect()
        }
    }

    fn entry(prompt: &str, tokens: u64) -> LedgerEntry {
        LedgerEntry {
            sequence: 1,
            received: Duration::ZERO,
            answered: None,
            ended: None,
            method: "POST".to_owned(),
            path: "/v1/chat/completions".to_owned(),
            headers: vec![("authorization".to_owned(), "hash:1".to_owned())],
            request_bytes: prompt.len(),
            request: prompt.as_bytes().to_vec().into(),
            model: None,
            dialect: None,
            fault: None,
            status: Some(200),
            events_sent: 9,
            bytes_written: 9,
            usage: Some(Usage { output: tokens, ..Usage::default() }),
            ending: Ending::Complete,
        }
    }

    #[test]
    fn three_accounts_that_agree_violate_nothing() {
        assert!(Accounts::of("none", None).violated().is_empty());
    }

    type Forgery = fn(&mut Accounts);

    /// The invariant that has to notice, and what is forged in one of the accounts.
    const FORGERIES: &[(&str, Forgery)] = &[
        ("I1", |accounts| accounts.lines.clear()),
        ("I1", |accounts| accounts.lines.push(accounts.lines[0].clone())),
        ("I1", |accounts| accounts.sent.clear()),
        ("I1", |accounts| accounts.lines[0].outcome = "truncated".to_owned()),
        ("I1", |accounts| accounts.lines[0].status = 502),
        ("I1", |accounts| accounts.lines[0].request_id = "req_2".to_owned()),
        ("I3", |accounts| accounts.lines[0].usage = None),
        ("I3", |accounts| accounts.lines[0].usage = Some(LineUsage { output: 100_000 })),
        ("I3", |accounts| accounts.lines[0].usage = Some(LineUsage { output: 1 })),
        ("I3", |accounts| accounts.lines[0].cost_usd = None),
        ("I5", |accounts| accounts.lines[0].attempts = 4),
        ("I5", |accounts| accounts.arrivals.push(late(accounts, 0))),
        ("I5", |accounts| accounts.arrivals[0].entry.request = b"Reply with exactly: m9-9- x".to_vec().into()),
        ("I6", |accounts| accounts.arrivals.push(late(accounts, 50))),
        ("I7", |accounts| accounts.arrivals[0].entry.ending = Ending::Open),
        ("I8", |accounts| accounts.sent[0].leak = Some("canary".to_owned())),
        ("I8", |accounts| {
            let keys = (2..5).map(|key| ("x-api-key".to_owned(), format!("hash:{key}")));
            accounts.arrivals[0].entry.headers.extend(keys);
        }),
        ("I9", |accounts| accounts.sent[0].heard.done = false),
        ("I9", |accounts| accounts.sent[0].heard.error = true),
        ("I9", |accounts| accounts.sent[0].heard.text.push('!')),
        ("I9", |accounts| accounts.sent[0].heard.strange = Some("<html>".to_owned())),
        ("I9", |accounts| accounts.sent[0].end = End::Endless),
        ("I9", |accounts| accounts.sent[0].end = End::Broken("cut".to_owned())),
        ("effect", |accounts| accounts.lines[0].attempts = 2),
    ];

    fn late(accounts: &Accounts, milliseconds: u64) -> Arrival {
        let Arrival { received, entry } = &accounts.arrivals[0];
        Arrival { received: *received + Duration::from_millis(milliseconds), entry: entry.clone() }
    }

    #[test]
    fn every_forgery_is_noticed() {
        for (index, (invariant, forge)) in FORGERIES.iter().enumerate() {
            let mut accounts = Accounts::of("none", None);
            forge(&mut accounts);
            let violated = accounts.violated();
            assert!(violated.contains(invariant), "forgery {index}: {violated:?} without {invariant}");
        }
    }

    #[test]
    fn an_error_that_is_billed_and_a_fault_that_had_no_effect_are_noticed() {
        let mut accounts = Accounts::of("500", None);
        assert_eq!(accounts.violated(), BTreeSet::from(["effect"]), "answered where an error was due");
        let sent = &mut accounts.sent[0];
        sent.heard = Heard { error: true, ..Heard::default() };
        sent.status = 502;
        accounts.lines[0].status = 502;
        accounts.lines[0].outcome = "upstream_error".to_owned();
        assert_eq!(accounts.violated(), BTreeSet::from(["I4"]));
        accounts.lines[0].usage = None;
        accounts.lines[0].cost_usd = None;
        assert!(accounts.violated().is_empty());
    }
}
