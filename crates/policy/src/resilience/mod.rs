//! What to do when providers fail: rules without sockets. Time and randomness are handed in, everything can be shared by
//! threads, and where all is well it costs a few atomic operations.
//!
//! | rule | in | after |
//! |---|---|---|
//! | who is not asked for a while, and who finds out whether it works again | [`Breaker`] | Finagle's and linkerd's failure accrual |
//! | which key rests until when | [`Cooldown`] | the reset headers of providers; LiteLLM's bug of keeping the first, shorter one |
//! | who would be refused, because a provider's limits are nearly used up | [`Headroom`] | the remaining quota that OpenAI, Anthropic and others tell with every answer |
//! | what a provider says of its limits | [`hint`] | RFC 9110, the official SDKs, what OpenAI, Anthropic, Azure, Groq and others send |
//! | whether a failed attempt may be followed by another | [`RetryTokens`] | gRPC A6; double for timeouts as in the AWS SDKs |
//! | what all retries and hedges together may cost | [`ExtraCost`] | Finagle's and Envoy's retry budgets, in money |
//! | how long to wait before the same target is asked again | [`Backoff`] | AWS: full jitter |
//! | when to ask a second target, though the first may still answer | [`hedge`] | "The Tail at Scale"; Finagle's backup requests |
//! | how a provider has been doing | [`Health`] | rolling counts and a log-linear histogram |
//!
//! Together: in a total outage a breaker lets five attempts in a row through, four of them retries at most (the tokens), for each
//! key and whatever the load; then what arrives is refused until a probe goes well.
//!
//! Breakers, cooldowns and tokens live longer than a configuration: one that is loaded anew takes over those of the targets
//! that it still has ([`Breaker::reconfigure`]).

pub mod backoff;
pub mod breaker;
pub mod cooldown;
pub mod extra;
pub mod headroom;
pub mod health;
pub mod hedge;
pub mod hint;
pub mod histogram;
#[cfg(all(test, loom))]
mod model;
pub mod retry;
mod window;

use gateway_core::error::FailureClass;

pub use backoff::Backoff;
pub use breaker::{Breaker, BreakerSettings, Circuit, Pass, Refused};
pub use cooldown::{Availability, Cooldown, Reason};
pub use extra::{Extra, ExtraCost, ExtraPermit, ExtraSettings};
pub use headroom::{Headroom, Room, Sent};
pub use health::{Health, Report};
pub use hint::{Limited, UpstreamQuota};
pub use histogram::Histogram;
pub use retry::RetryTokens;

/// What a failed attempt says about the provider's model behind this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does not work.
    HardFailure,
    /// Nothing: the request, the key or the money is at fault. A probe gives its slot back.
    None,
}

impl Verdict {
    pub fn of(class: FailureClass) -> Verdict {
        match class {
            FailureClass::ClientFault | FailureClass::Credential | FailureClass::Quota | FailureClass::SpendCap => {
                Verdict::None
            }
            FailureClass::ProviderFault
            | FailureClass::Overload
            | FailureClass::Transport
            | FailureClass::Ambiguous
            | FailureClass::Timeout
            | FailureClass::BadAnswer => Verdict::HardFailure,
        }
    }
}
