//! `GET /v1/requests/{id}`, and the header that says the same in short.

use bytes::Bytes;
use gateway_core::error::{ErrorKind, GatewayError};
use gateway_core::limits::EXPLANATION_HEADER_BYTES;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::value::RawValue;

use crate::api::egress::Reply;
use crate::call::Caller;
use crate::gateway::Gateway;
use crate::settle::{Outcome, Record};
use crate::telemetry::explain::{Explanation, summary};

/// Why the gateway did what it did for a request of the same caller. It is there as soon as the answer has ended; of one that
/// takes long, before, and then by the client's own name for it too.
pub async fn request(gateway: &Gateway, id: &str, caller: &Caller) -> Result<Reply, GatewayError> {
    Ok(match find(gateway, id, caller).await? {
        Told::Here(told) => Reply::json(&told),
        Told::Elsewhere(json) => Reply::of(StatusCode::OK, "application/json", Bytes::from(json.get().to_owned())),
    })
}

/// An explanation.
#[derive(Debug)]
pub enum Told {
    Here(Box<Explanation>),
    /// By another gateway, in its words.
    Elsewhere(Box<RawValue>),
}

/// What is known of a request of the same caller.
pub async fn find(gateway: &Gateway, id: &str, caller: &Caller) -> Result<Told, GatewayError> {
    let explanations = gateway.process.log.explanations();
    if !is_id(id) {
        let running = explanations.running().find_by_correlation(id, caller);
        return running.map(|told| Told::Here(Box::new(told))).ok_or_else(|| unknown(id));
    }
    let mut told = explanations.find(id, caller).or_else(|| explanations.running().find(id, caller));
    if told.is_none() {
        // It may be on its way to where it is kept.
        gateway.process.log.caught_up().await;
        told = explanations.find(id, caller);
    }
    if let Some(told) = told {
        return Ok(Told::Here(Box::new(told)));
    }
    explanations.find_shared(id, caller).await.map(Told::Elsewhere).ok_or_else(|| unknown(id))
}

/// One answer for what is not there, what is another's, and what cannot be.
fn unknown(id: &str) -> GatewayError {
    let shown: String = id.chars().take(64).collect();
    let message = format!(
        "no request {shown:?} of yours can be explained: it has only just begun, was too long ago, or was never here; ids \
         are those of x-request-id, and while a request runs also that of x-correlation-id"
    );
    GatewayError::new(ErrorKind::NotFound, message)
}

fn is_id(text: &str) -> bool {
    text.len() == 36 && text.starts_with("req_") && text.bytes().skip(4).all(|byte| byte.is_ascii_hexdigit())
}

const X_GATEWAY_EXPLANATION: HeaderName = HeaderName::from_static("x-gateway-explanation");

/// Puts what is known so far into a header. `outcome`: `None` while the answer is on its way.
pub fn tell(reply: &mut Reply, record: &Record, outcome: Option<Outcome>) {
    if let Ok(value) = HeaderValue::try_from(in_a_header(&summary(record, outcome))) {
        reply.headers.insert(X_GATEWAY_EXPLANATION, value);
    }
}

/// In printable ASCII, and not longer than a header may be: the first sentences, and the last word of how it ended.
fn in_a_header(sentences: &[String]) -> String {
    let text = sentences.join(" ");
    let safe = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    if text.chars().count() <= EXPLANATION_HEADER_BYTES {
        return text.chars().map(safe).collect();
    }
    text.chars().take(EXPLANATION_HEADER_BYTES - 4).map(safe).chain(" ...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_short_and_printable() {
        assert_eq!(in_a_header(&["Grüße\r\nx: y".to_owned(), "b.".to_owned()]), "Gr??e??x: y b.");
        let long = in_a_header(&["é".repeat(10_000)]);
        assert_eq!((long.len(), &long[EXPLANATION_HEADER_BYTES - 5..]), (EXPLANATION_HEADER_BYTES, "? ..."));
        assert!(HeaderValue::try_from(long).is_ok());
    }

    #[test]
    fn only_ids_of_our_own_are_looked_up() {
        assert!(is_id("req_01a207e8a1d3758a942db55f6de01b86"));
        for text in ["", "req_", "req_01a207e8a1d3758a942db55f6de01b8", "req_01a207e8a1d3758a942db55f6de01b8\n", "x"] {
            assert!(!is_id(text), "{text}");
        }
    }
}
