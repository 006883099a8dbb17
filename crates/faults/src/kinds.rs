//! The kinds of faults, as data: who does what, and what a client must see of it.

/// Who answers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// The simulator, with this fault; empty for none.
    Simulator(&'static str),
    /// Nobody listens there.
    Closed,
}

/// How the client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Polite,
    /// Leaves after the request is sent, some milliseconds later.
    LeaveEarly {
        reset: bool,
    },
    /// Leaves after some content of a stream; at the head of a whole answer.
    LeaveMidway {
        reset: bool,
    },
    /// Leaves when half of the body is sent.
    LeaveInBody,
    /// Says that it will send no more, and reads on.
    HalfClose,
    /// Reads a few bytes at a time.
    ReadSlowly,
    /// Sends a few bytes at a time.
    SendSlowly,
    /// Sends the body in chunks, without a length.
    SendChunked,
    /// Sends this instead of its request.
    Send(Malformed),
}

/// Requests that the gateway has to refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Half of a JSON text.
    HalfJson,
    /// JSON that is nested too deeply.
    Deep,
    /// `messages` is a text.
    WrongType,
    /// Two members called `model`.
    TwoModels,
    InvalidUtf8,
    /// More than the gateway takes.
    TooLong,
    UnknownModel,
}

/// What a client sees of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// It strikes before the first content: another target answers, or an honest error does.
    Before,
    /// It strikes after the first content: the stream ends with an error and without its last word.
    After,
    /// The request is at fault: an error, and nobody else is asked.
    Refused,
    /// The client has gone, or came just in time.
    Left,
    /// Depends on which of two things is first, or on the dialects: any honest ending.
    Any,
}

#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) upstream: Upstream,
    pub(crate) manner: Manner,
    /// Of a whole answer, and of a stream.
    pub(crate) whole: Effect,
    pub(crate) stream: Effect,
    /// The answer's text is the one that was asked for.
    pub(crate) exact: bool,
    /// The provider tells its usage, and it is true.
    pub(crate) usage: bool,
    /// How often it is drawn.
    pub(crate) weight: u32,
}

/// A fault of the provider.
const fn upstream(name: &'static str, fault: &'static str, whole: Effect, stream: Effect) -> Kind {
    let upstream = Upstream::Simulator(fault);
    Kind { name, upstream, manner: Manner::Polite, whole, stream, exact: true, usage: true, weight: 10 }
}

/// A fault of the client; `fault` is what the provider does meanwhile.
const fn client(name: &'static str, manner: Manner, fault: &'static str, effect: Effect) -> Kind {
    let upstream = Upstream::Simulator(fault);
    Kind { name, upstream, manner, whole: effect, stream: effect, exact: true, usage: true, weight: 10 }
}

/// A request that is malformed.
const fn malformed(name: &'static str, what: Malformed) -> Kind {
    client(name, Manner::Send(what), "", Effect::Refused)
}

const fn weighing(weight: u32, kind: Kind) -> Kind {
    Kind { weight, ..kind }
}

const fn inexact(kind: Kind) -> Kind {
    Kind { exact: false, ..kind }
}

const fn lying(kind: Kind) -> Kind {
    Kind { usage: false, ..kind }
}

use Effect::{After, Any, Before, Left, None as Nothing, Refused};
use Manner::{HalfClose, LeaveEarly, LeaveInBody, LeaveMidway, ReadSlowly, SendChunked, SendSlowly};

/// Waits are a few of many: the gateway under test is told to wait half a second at most.
const SLOW: u32 = 2;

pub(crate) const KINDS: &[Kind] = &[
    weighing(40, upstream("none", "", Nothing, Nothing)),
    // Before any answer.
    Kind { upstream: Upstream::Closed, ..upstream("connection refused", "", Before, Before) },
    upstream("hang up", "refuse", Before, Before),
    upstream("reset", "reset", Before, Before),
    weighing(SLOW, upstream("stall", "stall", Any, Before)),
    // Answers that refuse.
    upstream("500", "status=500", Before, Before),
    upstream("502", "status=502", Before, Before),
    upstream("503 retry-after", "status=503,retry_after=7", Before, Before),
    upstream("504", "status=504", Before, Before),
    upstream("529", "status=529", Before, Before),
    upstream("408", "status=408", Before, Before),
    upstream("429 date", "retry_after=Wed, 21 Oct 2037 07:28:00 GMT", Before, Before),
    upstream("429 junk", "retry_after=-1,retry_after_ms=NaN", Before, Before),
    upstream("spend cap", "spend_cap", Before, Before),
    upstream("401", "status=401", Before, Before),
    upstream("403", "status=403", Before, Before),
    upstream("400", "status=400", Refused, Refused),
    upstream("404", "status=404", Refused, Refused),
    upstream("422", "status=422", Refused, Refused),
    upstream("redirect", "redirect=http://169.254.169.254/latest/meta-data/", Before, Before),
    // Answers that are none.
    upstream("empty", "empty", Before, Before),
    upstream("html", "html", Before, Before),
    upstream("error in 200", "error_in_200=api_error", Before, Before),
    upstream("overloaded in 200", "error_in_200=overloaded_error", Before, Before),
    upstream("huge header", "huge_header=1000000", Before, Before),
    upstream("too many headers", "many_headers=10000", Before, Before),
    upstream("strange headers", "huge_header=4000,many_headers=40", Nothing, Nothing),
    upstream("truncated", "truncate=1", Before, Before),
    upstream("aborted", "abort=1", Before, Before),
    upstream("wrong length", "wrong_length=64", Before, Any),
    upstream("short length", "wrong_length=-9", Before, Any),
    inexact(upstream("garbage first", "garbage=1", Before, Before)),
    inexact(weighing(1, upstream("huge event", "huge_event=1500000", Nothing, Before))),
    weighing(SLOW, upstream("stall first", "stall_after=1", Any, Before)),
    weighing(SLOW, upstream("pings only", "stall_after=1,ping_every=50", Any, Before)),
    // The retry succeeds, unless retries have to be saved.
    upstream("second time", "status=500,times=1", Any, Any),
    // In the middle of a stream.
    upstream("truncated midway", "truncate=8", Before, After),
    upstream("aborted midway", "abort=8", Before, After),
    upstream("reset midway", "reset_after=8", Before, After),
    upstream("error midway", "error_after=5", Before, After),
    upstream("overloaded midway", "error_after=5,error_type=overloaded_error", Before, After),
    inexact(upstream("garbage midway", "garbage=8", Before, After)),
    weighing(SLOW, upstream("stall midway", "stall_after=8", Any, After)),
    weighing(SLOW, upstream("pings midway", "stall_after=8,ping_every=50", Any, After)),
    upstream("no last word", "no_done", Nothing, Any),
    lying(upstream("no finish reason", "no_finish", Nothing, Any)),
    // What is strange and no fault.
    lying(upstream("no usage", "no_usage", Nothing, Nothing)),
    upstream("slow start", "slow_first=40,pings=2", Nothing, Nothing),
    upstream("random pieces", "split=random", Nothing, Nothing),
    upstream("drip", "drip=1,split=9", Nothing, Nothing),
    upstream("crlf and comments", "crlf,comments", Nothing, Nothing),
    // The client's faults.
    client("client leaves early", LeaveEarly { reset: false }, "slow_first=12", Left),
    client("client resets early", LeaveEarly { reset: true }, "slow_first=12", Left),
    client("client leaves a stall", LeaveEarly { reset: false }, "stall", Left),
    client("client leaves midway", LeaveMidway { reset: false }, "drip=1,split=40", Left),
    client("client resets midway", LeaveMidway { reset: true }, "drip=1,split=40", Left),
    client("client leaves in body", LeaveInBody, "", Left),
    client("client half-closes", HalfClose, "slow_first=5", Any),
    client("client reads slowly", ReadSlowly, "", Nothing),
    client("client sends slowly", SendSlowly, "", Nothing),
    client("client sends chunks", SendChunked, "", Nothing),
    malformed("half JSON", Malformed::HalfJson),
    malformed("deep JSON", Malformed::Deep),
    malformed("wrong type", Malformed::WrongType),
    malformed("two models", Malformed::TwoModels),
    malformed("invalid UTF-8", Malformed::InvalidUtf8),
    weighing(2, malformed("body too long", Malformed::TooLong)),
    malformed("unknown model", Malformed::UnknownModel),
];

impl Kind {
    pub(crate) fn effect(&self, stream: bool) -> Effect {
        if stream { self.stream } else { self.whole }
    }

    /// The gateway may find its kept connection closed and repeat the request on a fresh one, which is no attempt.
    pub(crate) fn breaks_kept_connections(&self) -> bool {
        matches!(self.upstream, Upstream::Simulator("refuse" | "reset"))
    }

    /// What the provider leaves out is not added where its bytes pass unchanged.
    pub(crate) fn omits_last_word(&self) -> bool {
        matches!(self.upstream, Upstream::Simulator("no_done" | "wrong_length=-9"))
    }

    /// The fault strikes once per model name, so each request needs a model of its own.
    pub(crate) fn strikes_once(&self) -> bool {
        matches!(self.upstream, Upstream::Simulator(fault) if fault.contains("times="))
    }

    /// Names of aliases and providers cannot have spaces.
    pub(crate) fn slug(&self) -> String {
        format!("f-{}", self.name.to_ascii_lowercase()).replace(' ', "-")
    }
}

/// One of them, by weight.
pub(crate) fn draw(rng: &mut fastrand::Rng) -> &'static Kind {
    let mut at = rng.u32(0..KINDS.iter().map(|kind| kind.weight).sum());
    let found = KINDS.iter().find(|kind| {
        let here = at < kind.weight;
        at = at.saturating_sub(kind.weight);
        here
    });
    found.unwrap_or(&KINDS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_at_least_25_kinds_and_each_is_drawn() {
        let mut rng = fastrand::Rng::with_seed(1);
        let drawn: std::collections::BTreeSet<&str> = (0..20_000).map(|_| draw(&mut rng).name).collect();
        assert_eq!(drawn.len(), KINDS.len());
        assert!(KINDS.len() > 25, "{}", KINDS.len());
    }
}
