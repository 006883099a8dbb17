//! A kept answer, as the client wants it: whole or in pieces, in its own dialect.
//!
//! Where it was given in the same form, it is the same again, byte by byte. Else it is read and written anew; if anything of what
//! it says would be lost by that, it is not used at all, and if something about its account would, that is named.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use gateway_core::dialect::Dialect;
use gateway_core::event::{Delta, StreamEvent};
use gateway_core::target::Target;
use gateway_core::usage::Cost;
use gateway_dialects::codec::{self, Answer};

use super::kept::{Form, Kept};
use crate::call::Call;

/// What an encoder of answers is told of one that was given by `target`, and of nobody in particular that asked for it.
pub fn about(request_id: &str, target: &Target, created: u64) -> Answer {
    Answer {
        request_id: request_id.to_owned(),
        provider: target.provider.clone(),
        model: target.model.clone(),
        created,
        timestamp: String::new(),
        latency_ms: 0.0,
        include_usage: false,
        metadata: None,
        // It costs nothing to say it again.
        price: Arc::new(|_| Some(Cost::default())),
        cache_key: None,
    }
}

/// What the client is sent.
#[derive(Debug)]
pub enum Replay {
    Whole(Bytes),
    /// Event by event.
    Stream(VecDeque<Bytes>),
}

/// The pieces in which a text is said that was kept in one. Providers' are smaller; more would only make work.
const PIECE_BYTES: usize = 64;

/// What providers tell of the account of an answer, for which the other form has no word.
const OF_THE_ACCOUNT: [&str; 3] = ["service_tier", "stop_details", "provider"];

/// And the names of what this form has no word for. `None`: it cannot be said in it without a loss.
pub fn replay(kept: &Kept, call: &Call, answer: impl FnOnce() -> Answer) -> Option<(Replay, Vec<String>)> {
    let verbatim = call.dialect != Dialect::Native;
    match (&kept.form, call.stream) {
        (Form::Whole(bytes), false) if verbatim => return Some((Replay::Whole(bytes.clone()), Vec::new())),
        (Form::Events(events), true) if verbatim => {
            let wanted = call.envelope.include_usage == Some(true);
            let events = events.iter().filter(|(_, usage_only)| wanted || !usage_only);
            return Some((Replay::Stream(events.map(|(bytes, _)| bytes).collect()), Vec::new()));
        }
        _ => {}
    }
    let (mut response, answer, codec) = (kept.read()?, answer(), codec::client(call.dialect));
    let losses = codec.losses(&response);
    let is_lost = |name: &String| !name.starts_with("usage.") && !OF_THE_ACCOUNT.contains(&name.as_str());
    if losses.iter().any(is_lost) {
        return None;
    }
    // Named in the headers.
    response.dropped.clear();
    if !call.stream {
        return Some((Replay::Whole(codec.encode_response(response, &answer).into()), losses));
    }
    let (mut encoder, mut pieces) = (codec.stream_encoder(answer), VecDeque::new());
    let mut say = |encoder: &mut dyn FnMut(&mut Vec<u8>)| {
        let mut text = Vec::new();
        encoder(&mut text);
        if !text.is_empty() {
            pieces.push_back(Bytes::from(text));
        }
    };
    for event in response.into_events() {
        for piece in in_pieces(event) {
            let mut piece = Some(piece);
            say(&mut |text| {
                if let Some(piece) = piece.take() {
                    encoder.push(piece, text);
                }
            });
        }
    }
    say(&mut |text| encoder.finish(text));
    Some((Replay::Stream(pieces), losses))
}

/// A long text as several deltas.
fn in_pieces(event: StreamEvent) -> Vec<StreamEvent> {
    let (text, delta): (String, fn(String) -> Delta) = match event {
        StreamEvent::Delta(Delta::Text(text)) => (text, Delta::Text),
        StreamEvent::Delta(Delta::Reasoning(text)) => (text, Delta::Reasoning),
        StreamEvent::Delta(Delta::Arguments(text)) => (text, Delta::Arguments),
        other => return vec![other],
    };
    let (mut pieces, mut rest) = (Vec::new(), text.as_str());
    while rest.len() > PIECE_BYTES {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        pieces.push(StreamEvent::Delta(delta(piece.to_owned())));
        rest = after;
    }
    pieces.push(StreamEvent::Delta(delta(rest.to_owned())));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_said_in_pieces_that_are_the_text() {
        let text = "longer than a piece, of letters that take more than a byte: ñ, ß, 日本語。".repeat(5);
        let pieces = in_pieces(StreamEvent::Delta(Delta::Text(text.clone())));
        let joined: String = pieces
            .iter()
            .map(|piece| match piece {
                StreamEvent::Delta(Delta::Text(text)) if text.len() <= PIECE_BYTES => text.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(pieces.len() > 5);
        assert_eq!(joined, text);
        assert_eq!(in_pieces(StreamEvent::Ping), [StreamEvent::Ping]);
    }
}
