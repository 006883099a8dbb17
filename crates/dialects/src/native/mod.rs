//! The gateway's own API: `/v1/completions` with `messages`, and `/v1/completions/stream`.

pub mod error;
pub mod fields;
pub mod request;
mod response;
mod stream;

use gateway_core::chat::{ChatRequest, ChatResponse};
use gateway_core::error::{GatewayError, UpstreamError};

use crate::codec::{Answer, ClientCodec, StreamEncoder};
use crate::losses::Losses;
use crate::sse::write_event;

pub use request::{NativeRequest, Routing, decode};

#[derive(Debug, Clone, Copy, Default)]
pub struct Native;

impl ClientCodec for Native {
    fn decode_request(&self, body: &[u8]) -> Result<ChatRequest, GatewayError> {
        Ok(decode(body)?.chat)
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
        let mut event = Vec::with_capacity(error.len() + 8);
        write_event(&mut event, None, error);
        event
    }

    fn keep_alive(&self) -> &'static [u8] {
        b": keep-alive\n\n"
    }
}
