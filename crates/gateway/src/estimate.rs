//! Tokens that no provider has counted: estimated from text, and marked wherever they are told.

use bytes::Bytes;
use gateway_core::chat::{ChatResponse, PartBody};
use gateway_core::error::FailureClass;
use gateway_core::event::{Block, Delta, StreamEvent};
use gateway_core::target::Target;
use gateway_core::usage::Usage;
use gateway_policy::tokens::Count;
use http::{HeaderValue, header};
use serde::Deserialize;

use crate::api::headers::Headers;
use crate::attempt::{Failure, Whole, WholeBody};
use crate::call::Call;
use crate::settle::Settle;

/// The answer to a question for the tokens of a prompt whose target has no such question in its API.
pub fn count_tokens(call: &Call, target: &Target, settle: &mut Settle) -> Result<Whole, Failure> {
    // What is no prompt has no tokens: the mistake is told as it would be for an answer.
    call.chat().map_err(|error| Failure::Gateway { class: FailureClass::ClientFault, error })?;
    settle.estimated_tokens(target);
    let body = Bytes::from(format!("{{\"input_tokens\":{}}}", call.prompt_tokens(|| call.estimate().input)));
    let mut headers = Headers::new();
    headers.append(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Whole { target: target.clone(), headers, body: WholeBody::Same(body) })
}

/// Is this a provider's answer to that question?
pub fn is_count(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Counted {
        #[serde(rename = "input_tokens")]
        _input_tokens: u64,
    }
    serde_json::from_slice::<Counted>(body).is_ok()
}

/// The usage of a whole answer.
pub fn of_answer(call: &Call, response: &ChatResponse) -> Usage {
    let (mut output, mut reasoning) = (Count::default(), Count::default());
    for part in &response.parts {
        match &part.body {
            PartBody::Text(text) | PartBody::Refusal(text) | PartBody::RedactedReasoning(text) => output.add(text),
            PartBody::Reasoning { text, .. } => {
                output.add(text);
                reasoning.add(text);
            }
            PartBody::ToolCall(call) => {
                output.add(&call.name);
                output.add(&call.arguments);
            }
            _ => {}
        }
    }
    let (output, reasoning) = (output.tokens(), reasoning.tokens());
    Usage { input: call.prompt_tokens(|| call.estimate().input), output, reasoning, ..Usage::default() }
}

/// The tokens of a stream as far as it has come, counted along the way: whether its provider will tell them is known at its
/// end only.
#[derive(Debug, Clone, Copy)]
pub struct Tally {
    prompt: u64,
    output: Count,
    reasoning: Count,
}

impl Tally {
    /// `prompt`: its tokens, in case that nobody else counts them.
    pub fn new(prompt: u64) -> Self {
        Tally { prompt, output: Count::default(), reasoning: Count::default() }
    }

    pub fn see(&mut self, event: &StreamEvent) {
        match event {
            StreamEvent::Delta(Delta::Text(text) | Delta::Arguments(text)) => self.output.add(text),
            StreamEvent::Delta(Delta::Reasoning(text)) => {
                self.output.add(text);
                self.reasoning.add(text);
            }
            StreamEvent::BlockStart(Block::ToolCall { name, .. }) => self.output.add(name),
            _ => {}
        }
    }

    /// The usage so far. `told`: what the provider said at the beginning, which knows the prompt.
    pub fn usage(self, told: Option<Usage>) -> Usage {
        let (output, reasoning) = (self.output.tokens(), self.reasoning.tokens());
        match told {
            Some(told) => Usage { output: told.output.max(output), reasoning: told.reasoning.max(reasoning), ..told },
            None => Usage { input: self.prompt, output, reasoning, ..Usage::default() },
        }
    }
}

#[cfg(test)]
mod tests;
