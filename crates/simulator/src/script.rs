//! An answer as a list of steps, and faults as changes to that list.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;

use crate::fault::{CutKind, Fault, Split};

/// What an event of a stream is for, as far as pace and faults care.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Text, thinking or arguments: what a reader waits for.
    Content,
    /// All else: openings, closings, finish, usage, pings.
    Frame,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) bytes: Bytes,
}

/// Collects the events of a stream in one buffer.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    buffer: String,
    ends: Vec<(Kind, usize)>,
}

impl Recorder {
    /// The buffer to append the next event to; [`Recorder::end`] closes it.
    pub(crate) fn buffer(&mut self) -> &mut String {
        &mut self.buffer
    }

    pub(crate) fn end(&mut self, kind: Kind) {
        self.ends.push((kind, self.buffer.len()));
    }

    pub(crate) fn events(self) -> Vec<Event> {
        let mut rest = Bytes::from(self.buffer);
        let mut start = 0;
        let cut = |(kind, end): (Kind, usize)| {
            let bytes = rest.split_to(end - start);
            start = end;
            Event { kind, bytes }
        };
        self.ends.into_iter().map(cut).collect()
    }
}

#[derive(Debug)]
pub(crate) enum Step {
    /// `events` is 1 where the bytes complete an event.
    Send { bytes: Bytes, events: u64 },
    /// Counted from the end of the pause before, so that a slow consumer does not stretch a stream. Zero hands over what
    /// was sent so far.
    Pause(Duration),
}

/// What comes after the last step.
#[derive(Debug)]
pub(crate) enum Finale {
    Complete,
    /// The body ends as a complete one would.
    Short,
    Abort,
    Reset,
    Stall {
        ping: Option<(Bytes, Duration)>,
    },
}

#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) steps: std::vec::IntoIter<Step>,
    pub(crate) finale: Finale,
    /// Told in `content-length`; None is chunked.
    pub(crate) length: Option<u64>,
}

/// How a dialect says what only faults make it say.
#[derive(Debug)]
pub(crate) struct Phrases {
    pub(crate) ping: &'static str,
    /// A broken event.
    pub(crate) garbage: &'static str,
    /// An error event.
    pub(crate) error: String,
}

/// The pauses of a stream without faults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) first: Duration,
    pub(crate) between: Duration,
}

/// A stream as it should be.
pub(crate) fn stream(events: Vec<Event>, pace: Pace) -> Script {
    let mut steps = Vec::with_capacity(events.len());
    let mut pause = pace.first;
    for event in events {
        if event.kind == Kind::Content {
            if !pause.is_zero() {
                steps.push(Step::Pause(pause));
            }
            pause = pace.between;
        }
        steps.push(Step::Send { bytes: event.bytes, events: 1 });
    }
    Script { steps: steps.into_iter(), finale: Finale::Complete, length: None }
}

/// A stream with everything the fault asks for.
pub(crate) fn faulty_stream(events: Vec<Event>, pace: Pace, fault: &Fault, phrases: Phrases, rng: &mut Rng) -> Script {
    let mut steps = Vec::new();
    let mut finale = Finale::Complete;
    let mut content_events = 0;
    let send = |steps: &mut Vec<Step>, bytes: Bytes, events| {
        if fault.comments {
            steps.push(Step::Send { bytes: line_ends(Bytes::from_static(b": still here\n\n"), fault), events: 0 });
        }
        steps.push(Step::Send { bytes: line_ends(bytes, fault), events });
    };
    for (index, Event { kind, bytes }) in events.into_iter().enumerate() {
        if let Some(cut) = fault.cut.filter(|cut| cut.after == index) {
            finale = cut_finale(cut.how, fault, phrases.ping);
            break;
        }
        if fault.error_after.is_some_and(|after| kind == Kind::Content && content_events == after) {
            send(&mut steps, Bytes::from(phrases.error), 1);
            finale = Finale::Short;
            break;
        }
        if kind == Kind::Content {
            let wait = if content_events == 0 { pace.first + fault.slow_first } else { pace.between };
            let pings = if content_events == 0 { fault.pings } else { 0 };
            for _ in 0..pings {
                steps.push(Step::Pause(wait / (pings + 1)));
                send(&mut steps, Bytes::from_static(phrases.ping.as_bytes()), 0);
            }
            if !wait.is_zero() {
                steps.push(Step::Pause(wait / (pings + 1)));
            }
            content_events += 1;
        }
        if fault.garbage == Some(index + 1) {
            send(&mut steps, garbage_event(phrases.garbage), 1);
        } else {
            send(&mut steps, bytes, 1);
        }
    }
    let length = fault.wrong_length.map(|wrong| sent_bytes(&steps).saturating_add_signed(wrong));
    Script { steps: pieces(steps, fault, rng).into_iter(), finale: or_abort(finale, fault), length }
}

/// A whole body with everything the fault asks for. `after` counts its bytes.
pub(crate) fn faulty_whole(mut body: Bytes, fault: &Fault, rng: &mut Rng) -> Script {
    if let Some(at) = fault.garbage {
        let mut broken = body.to_vec();
        broken.splice(at.min(body.len())..at.min(body.len()), *b"\xff}{\x00");
        body = Bytes::from(broken);
    }
    let mut length = body.len() as u64;
    let mut finale = Finale::Complete;
    if let Some(cut) = fault.cut.filter(|cut| cut.after < body.len()) {
        body.truncate(cut.after);
        if cut.how == CutKind::Truncate {
            length = body.len() as u64;
        }
        finale = cut_finale(cut.how, fault, "");
    }
    let length = length.saturating_add_signed(fault.wrong_length.unwrap_or(0));
    let steps = if body.is_empty() { Vec::new() } else { vec![Step::Send { bytes: body, events: 0 }] };
    Script { steps: pieces(steps, fault, rng).into_iter(), finale: or_abort(finale, fault), length: Some(length) }
}

/// A body that is too short for its told length ends with its connection, but all of it is to arrive before.
fn or_abort(finale: Finale, fault: &Fault) -> Finale {
    match finale {
        Finale::Complete | Finale::Short if fault.wrong_length.is_some_and(|wrong| wrong > 0) => Finale::Abort,
        other => other,
    }
}

fn cut_finale(how: CutKind, fault: &Fault, ping: &'static str) -> Finale {
    match how {
        CutKind::Truncate => Finale::Short,
        CutKind::Abort => Finale::Abort,
        CutKind::Reset => Finale::Reset,
        CutKind::Stall => {
            let ping = line_ends(Bytes::from_static(ping.as_bytes()), fault);
            Finale::Stall { ping: fault.ping_every.filter(|_| !ping.is_empty()).map(|every| (ping, every)) }
        }
    }
}

/// A line that is no field of any event and no UTF-8 either, then the dialect's broken event.
fn garbage_event(broken: &str) -> Bytes {
    [b"\xff\xfe\x00 not a field\n".as_slice(), broken.as_bytes()].concat().into()
}

fn line_ends(text: Bytes, fault: &Fault) -> Bytes {
    if !fault.crlf {
        return text;
    }
    let mut with_returns = Vec::with_capacity(text.len() + 8);
    for byte in text {
        if byte == b'\n' {
            with_returns.push(b'\r');
        }
        with_returns.push(byte);
    }
    with_returns.into()
}

fn sent_bytes(steps: &[Step]) -> u64 {
    steps.iter().map(|step| if let Step::Send { bytes, .. } = step { bytes.len() as u64 } else { 0 }).sum()
}

/// Cuts what is sent into the pieces that `split` and `drip` ask for.
fn pieces(steps: Vec<Step>, fault: &Fault, rng: &mut Rng) -> Vec<Step> {
    let split = match (fault.split, fault.drip) {
        (Some(split), _) => split,
        (None, Some(_)) => Split::Every(1),
        (None, None) => return steps,
    };
    let between = fault.drip.unwrap_or_default();
    let mut cut = Vec::new();
    for step in steps {
        let Step::Send { mut bytes, events } = step else {
            cut.push(step);
            continue;
        };
        while !bytes.is_empty() {
            if !cut.is_empty() {
                cut.push(Step::Pause(between));
            }
            let size = match split {
                Split::Every(size) => size,
                Split::Random => rng.usize(1..=16),
            };
            let piece = bytes.split_to(size.min(bytes.len()));
            let events = if bytes.is_empty() { events } else { 0 };
            cut.push(Step::Send { bytes: piece, events });
        }
    }
    cut
}
