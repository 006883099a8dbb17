// What is done with bytes that come from outside, and what must hold then. The fuzzer's targets and the test that replays
// their corpus (crates/dialects/tests/corpus.rs) both include this file.

use std::sync::Arc;

use bytes::Bytes;
use gateway_core::dialect::{Dialect, ProviderDialect};
use gateway_core::event::StreamEvent;
use gateway_dialects::codec::{self, Answer, EncodeTarget, Ending};
use gateway_dialects::envelope::Envelope;
use gateway_dialects::json;
use gateway_dialects::sse::SseDecoder;

/// A target: its name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 5] = [
    ("sse", sse),
    ("envelope", envelope),
    ("requests", requests),
    ("chat_stream", chat_stream),
    ("messages_stream", messages_stream),
];

const CLIENTS: [Dialect; 3] = [Dialect::Native, Dialect::OpenAiChat, Dialect::AnthropicMessages];
const PROVIDERS: [ProviderDialect; 2] = [ProviderDialect::OpenAiChat, ProviderDialect::AnthropicMessages];

/// The first byte says how long the pieces are in which the rest arrives.
fn in_pieces(data: &[u8]) -> (&[u8], impl Iterator<Item = &[u8]>) {
    let (size, rest) = data.split_first().map_or((1, data), |(size, rest)| (usize::from(*size).max(1), rest));
    (rest, rest.chunks(size))
}

/// Frames are the bytes that came, all of them and in their order, and cuts do not matter.
pub fn sse(data: &[u8]) {
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut decoder, mut raw, mut events) = (SseDecoder::new(), Vec::new(), Vec::new());
        let mut keep = |frame: gateway_dialects::sse::Frame| {
            raw.extend_from_slice(&frame.raw);
            events.extend(frame.event().map(|event| (event.name.to_owned(), event.data.into_owned())));
        };
        for piece in pieces {
            decoder.push(Bytes::copy_from_slice(piece));
            while let Ok(Some(frame)) = decoder.next_frame() {
                keep(frame);
            }
        }
        decoder.finish().map(&mut keep);
        (raw, events)
    };
    let (rest, mut pieces) = in_pieces(data);
    let whole = read(&mut std::iter::once(rest));
    assert_eq!(whole.0, rest, "bytes are missing");
    assert_eq!(read(&mut pieces), whole, "a cut changes what is read");
}

/// What passes the check is JSON, and splicing changes the model alone.
pub fn envelope(data: &[u8]) {
    let Ok(envelope) = Envelope::read(data) else { return };
    let mut before: serde_json::Value = serde_json::from_slice(data).expect("what was checked is JSON");
    let body = Bytes::copy_from_slice(data);
    let after = envelope.splice(&body, "spliced", false).concat();
    let again = Envelope::read(&after).expect("a spliced body can be read");
    assert_eq!(again.model.as_deref(), Some("spliced"));
    assert_eq!((again.stream, again.max_tokens), (envelope.stream, envelope.max_tokens));
    before["model"] = "spliced".into();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&after).expect("JSON"), before);
    let asking = envelope.splice(&body, "spliced", true).concat();
    assert_eq!(Envelope::read(&asking).expect("a spliced body can be read").include_usage, Some(true));
}

/// Every request that can be read can be said to every provider, and what is said can be read again.
pub fn requests(data: &[u8]) {
    if json::check(data).is_err() {
        return;
    }
    for from in CLIENTS {
        let Ok(request) = codec::client(from).decode_request(data) else { continue };
        for to in PROVIDERS {
            let target = EncodeTarget {
                model: "m",
                max_output_tokens: None,
                max_tokens_field: "max_tokens",
                cache_control: false,
                stream_options: true,
            };
            let encoded = codec::provider(to).encode_request(&request, &target);
            json::check(&encoded.body).expect("an encoded request is JSON");
            if let Err(error) = codec::client(Dialect::from(to)).decode_request(&encoded.body) {
                // A conversation of nothing is the one that cannot be held.
                assert_eq!(
                    error.field.as_deref(),
                    Some("messages"),
                    "{error}: {}",
                    String::from_utf8_lossy(&encoded.body)
                );
            }
            assert!(encoded.dropped.iter().chain(&encoded.approximated).all(|name| !name.is_empty()));
        }
    }
}

pub fn chat_stream(data: &[u8]) {
    stream(ProviderDialect::OpenAiChat, data);
}

pub fn messages_stream(data: &[u8]) {
    stream(ProviderDialect::AnthropicMessages, data);
}

/// Blocks never overlap, nothing is said after the end, and cuts do not change a byte of what clients get.
fn stream(from: ProviderDialect, data: &[u8]) {
    let (rest, mut pieces) = in_pieces(data);
    let (events, ending) = decode(from, &mut std::iter::once(rest));
    assert!(decode(from, &mut pieces) == (events.clone(), ending), "a cut changes what is read");
    let (mut started, mut open, mut finished, mut failed) = (false, false, false, false);
    for event in &events {
        match event {
            StreamEvent::Start { .. } => assert!(!std::mem::replace(&mut started, true), "a second start"),
            StreamEvent::Ping | StreamEvent::Error(_) => failed |= matches!(event, StreamEvent::Error(_)),
            _ if !started => panic!("{event:?} before the start"),
            StreamEvent::BlockStart(_) => assert!(!std::mem::replace(&mut open, true) && !finished, "blocks overlap"),
            StreamEvent::Delta(_) => assert!(open, "a delta outside of a block"),
            StreamEvent::BlockEnd => assert!(std::mem::replace(&mut open, false), "the end of no block"),
            StreamEvent::Finish(_) => assert!(!open && !std::mem::replace(&mut finished, true), "a wrong finish"),
            StreamEvent::Usage(_) | StreamEvent::EstimatedUsage(_) | StreamEvent::Dropped(_) => {}
        }
    }
    assert!(ending == Ending::Truncated || finished && !failed, "complete without a finish");
    for to in CLIENTS {
        let (mut encoder, mut out) = (codec::client(to).stream_encoder(answer()), Vec::new());
        events.iter().for_each(|event| encoder.push(event.clone(), &mut out));
        if !failed {
            encoder.finish(&mut out);
        }
        check_written(to, &out, !failed);
    }
}

fn decode(from: ProviderDialect, pieces: &mut dyn Iterator<Item = &[u8]>) -> (Vec<StreamEvent>, Ending) {
    let (mut bytes, mut decoder, mut events) = (SseDecoder::new(), codec::provider(from).stream_decoder(), Vec::new());
    for piece in pieces {
        bytes.push(Bytes::copy_from_slice(piece));
        while let Ok(Some(frame)) = bytes.next_frame() {
            if let Some(event) = frame.event() {
                decoder.push(&event, &mut events);
            }
        }
    }
    if let Some(frame) = bytes.finish()
        && let Some(event) = frame.event()
    {
        decoder.push(&event, &mut events);
    }
    let ending = decoder.finish(&mut events);
    (events, ending)
}

/// What a client gets are events of JSON, and the last word of its dialect stands at the end or not at all.
fn check_written(to: Dialect, out: &[u8], ended: bool) {
    let (mut bytes, mut last) = (SseDecoder::new(), String::new());
    bytes.push(Bytes::copy_from_slice(out));
    while let Ok(Some(frame)) = bytes.next_frame() {
        let Some(event) = frame.event() else { continue };
        assert_ne!(last, "[DONE]", "something after the end");
        last = event.data.into_owned();
        assert!(last == "[DONE]" || serde_json::from_str::<serde_json::Value>(&last).is_ok(), "no JSON: {last}");
    }
    let word = if to == Dialect::AnthropicMessages { r#"{"type":"message_stop"}"# } else { "[DONE]" };
    assert_eq!(last == word, ended, "{to:?} ends with {last}");
}

fn answer() -> Answer {
    Answer {
        request_id: "req_1".to_owned(),
        provider: Arc::from("p"),
        model: Arc::from("m"),
        created: 7,
        timestamp: String::new(),
        latency_ms: 0.0,
        include_usage: true,
        metadata: None,
        price: Arc::new(|_| None),
        cache_key: None,
    }
}
