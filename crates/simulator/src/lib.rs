//! Simulated OpenAI and Anthropic servers over real TCP.
//!
//! One listener speaks both APIs: chat completions, messages, token counting, embeddings and model lists, whole and
//! streamed. Answers are sensible enough for a sandbox and depend on the request and [`Config::seed`] alone; ids depend
//! on the seed and the order of arrival. Any request can ask for a fault by its model name (`fault:reset_after=3`,
//! `gpt-sim+fault:status=429`) or by the header `x-sim-fault`; [`FAULTS`] lists the kinds. What was asked and how each
//! answer ended is kept in a bounded ledger: [`Simulator::ledger`], `GET /ledger`, `DELETE /ledger`.
//!
//! HTTP/1.1 and, with prior knowledge, HTTP/2. Over HTTP/2 a fault that closes the connection resets the stream instead;
//! `reset` ends the connection there too.
//!
//! The wire formats are written here by hand, on purpose without the gateway's own codecs: what tests the gateway must
//! not share its mistakes.

mod answer;
mod anthropic;
mod arithmetic;
mod calls;
mod embeddings;
mod facts;
mod fault;
mod ids;
mod ledger;
mod openai;
mod places;
mod play;
mod prompt_cache;
mod reply;
mod schema;
mod script;
mod server;
mod talk;
mod tokens;
mod wire;

pub use fault::FAULTS;
pub use ledger::{Dialect, Ending, LedgerEntry};
pub use server::Simulator;
pub use tokens::Usage;

use std::time::Duration;

/// How the simulator behaves for every request. The default answers at once and remembers 100,000 requests.
#[derive(Clone, Debug)]
pub struct Config {
    /// Decides texts, chunk boundaries, filler and ids.
    pub seed: u64,
    /// Before the first content event of a stream, and before a whole answer.
    pub first_token_delay: Duration,
    /// Between two content events of a stream. Whole answers do not wait for it.
    pub chunk_delay: Duration,
    /// Exactly so many content events in every streamed text; a short text is lengthened to at least four bytes each.
    pub chunks: Option<usize>,
    /// Every text is filler of exactly so many bytes, thinking and formats aside; for benchmarks.
    pub answer_bytes: Option<usize>,
    /// Unix seconds told in `created` and reset headers; `None` is the clock.
    pub created: Option<u64>,
    /// How many requests the ledger remembers; 0 switches it off.
    pub ledger_entries: usize,
    /// Refuse request fields the vendor does not document, as the vendor does.
    pub strict_fields: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            first_token_delay: Duration::ZERO,
            chunk_delay: Duration::ZERO,
            chunks: None,
            answer_bytes: None,
            created: None,
            ledger_entries: 100_000,
            strict_fields: false,
        }
    }
}
