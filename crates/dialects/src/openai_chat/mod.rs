//! `/v1/chat/completions`, as OpenAI defines it and as some thirty vendors imitate it.

mod error;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod stream;
mod wire;

use gateway_core::chat::{ChatRequest, ChatResponse, Encoded};
use gateway_core::error::{GatewayError, UpstreamError};

use crate::codec::{Answer, ClientCodec, EncodeTarget, Glance, ProviderCodec, StreamDecoder, StreamEncoder};
use crate::losses::Losses;
use crate::sse::write_event;

#[derive(Debug, Clone, Copy, Default)]
pub struct OpenAiChat;

impl ClientCodec for OpenAiChat {
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

    fn encode_error(&self, error: &GatewayError, _request_id: &str) -> Vec<u8> {
        error::encode(error)
    }

    fn encode_upstream_error(&self, error: &UpstreamError, _request_id: &str) -> Vec<u8> {
        error::encode_upstream(error)
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

impl ProviderCodec for OpenAiChat {
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

/// An id for a tool call that came without one: the same for the same answer and place, in the form of OpenAI's own.
pub(crate) fn mint_call_id(seed: &str, index: usize) -> String {
    // FNV-1a: ids must be stable, not secret.
    let hash = |basis: u64| {
        let bytes = seed.bytes().chain(index.to_le_bytes());
        bytes.fold(basis, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let (high, low) = (hash(0xcbf2_9ce4_8422_2325), hash(0x9e37_79b9_7f4a_7c15));
    format!("call_{high:016x}{:08x}", low >> 32)
}
