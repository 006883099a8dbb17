//! The Messages API as Anthropic defines it: `/v1/messages`.

mod cache_marks;
mod conversation;
mod error;
mod request;
mod response;
mod schema;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use gateway_core::chat::{ChatRequest, ChatResponse, Encoded};
use gateway_core::error::{GatewayError, UpstreamError};

use crate::codec::{Answer, ClientCodec, EncodeTarget, Glance, ProviderCodec, StreamDecoder, StreamEncoder};
use crate::losses::Losses;

/// Reads a body of `/v1/messages/count_tokens`: a request that need not say how long its answer may be.
pub fn decode_prompt(body: &[u8]) -> Result<ChatRequest, GatewayError> {
    request::decode_prompt(body)
}

#[derive(Debug, Clone, Copy, Default)]
pub struct AnthropicMessages;

impl ClientCodec for AnthropicMessages {
    fn decode_request(&self, body: &[u8]) -> Result<ChatRequest, GatewayError> {
        request::decode(body)
    }

    fn encode_response(&self, response: ChatResponse, answer: &Answer) -> Vec<u8> {
        response::encode(response, answer)
    }

    fn losses(&self, response: &ChatResponse) -> Vec<String> {
        Losses::of(response, &response::WORDS)
    }

    fn stream_encoder(&self, answer: Answer) -> Box<dyn StreamEncoder> {
        Box::new(stream::Encoder::new(answer))
    }

    fn encode_error(&self, error: &GatewayError, request_id: &str) -> Vec<u8> {
        error::encode(error, request_id)
    }

    fn encode_upstream_error(&self, error: &UpstreamError, request_id: &str) -> Vec<u8> {
        error::encode_upstream(error, request_id)
    }

    fn error_event(&self, error: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(error.len() + 24);
        crate::sse::write_event(&mut out, Some("error"), error);
        out
    }

    fn keep_alive(&self) -> &'static [u8] {
        stream::PING
    }
}

impl ProviderCodec for AnthropicMessages {
    fn encode_request(&self, request: &ChatRequest, target: &EncodeTarget<'_>) -> Encoded {
        request::encode(request, target)
    }

    fn decode_response(&self, body: &[u8]) -> Result<ChatResponse, UpstreamError> {
        response::decode(body)
    }

    fn glance(&self, body: &[u8]) -> Result<Glance, UpstreamError> {
        response::glance(body)
    }

    fn stream_decoder(&self) -> Box<dyn StreamDecoder> {
        Box::new(stream::Decoder::default())
    }

    fn decode_error(&self, status: u16, body: &[u8]) -> UpstreamError {
        error::decode(status, body)
    }
}
