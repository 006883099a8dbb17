//! What comes in: a request, its body within its limits, and who it says it is.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use gateway_core::error::{ErrorKind, GatewayError};
use gateway_core::limits::{REQUEST_BODY_BYTES_PER_SECOND, REQUEST_BODY_GRACE, REQUEST_HEADER_BYTES, REQUEST_HEADERS};
use http::{HeaderMap, HeaderName, header};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::admission::{Admitted, Shed};
use crate::api::Arrival;
use crate::limits::Looked;

/// A request for an answer, as it came.
#[derive(Debug)]
pub struct Inbound {
    pub arrival: Arrival,
    pub route: &'static str,
    pub headers: HeaderMap,
    /// Or why it has not come.
    pub body: Result<Bytes, GatewayError>,
    pub admitted: Arc<Admitted>,
    /// Under which limits, as far as its head says.
    pub looked: Looked,
}

/// Refuses more or longer headers than any honest client sends.
pub fn check_size(headers: &HeaderMap) -> Result<(), GatewayError> {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > REQUEST_HEADER_BYTES || headers.len() > REQUEST_HEADERS {
        let message =
            format!("the headers are larger than {REQUEST_HEADER_BYTES} bytes or more than {REQUEST_HEADERS}");
        return Err(GatewayError::new(ErrorKind::InvalidRequest, message));
    }
    Ok(())
}

/// The id by which the client knows its own request.
pub fn correlation_id(headers: &HeaderMap) -> Option<String> {
    const NAMES: [HeaderName; 3] = [
        HeaderName::from_static("x-correlation-id"),
        HeaderName::from_static("x-request-id"),
        HeaderName::from_static("x-client-request-id"),
    ];
    // Few requests have one: to go through their names once takes less than to look for three.
    if !headers.keys().any(|name| name.as_str().ends_with("-id")) {
        return None;
    }
    let value = NAMES.iter().find_map(|name| headers.get(name))?.to_str().ok()?;
    Some(value.chars().take(200).collect())
}

/// Reads a body of JSON: at most `limit` bytes, from when it `began` on not slower than a very slow line, and while
/// there is room for it.
pub async fn read_body(
    began: Instant,
    headers: &HeaderMap,
    mut body: Incoming,
    limit: usize,
    admitted: &Admitted,
    shed: impl Fn(Shed) -> GatewayError,
) -> Result<Bytes, GatewayError> {
    check_type(headers)?;
    let too_large = || {
        let most = match limit / (1024 * 1024) {
            0 => format!("{limit} bytes"),
            mib => format!("{mib} MiB"),
        };
        GatewayError::new(ErrorKind::PayloadTooLarge, format!("the body is larger than {most}"))
            .detail("limit_bytes", limit)
    };
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_large());
    }
    let (mut first, mut whole, mut length) = (Bytes::new(), BytesMut::new(), 0_usize);
    loop {
        let deadline =
            began + REQUEST_BODY_GRACE + std::time::Duration::from_secs(length as u64 / REQUEST_BODY_BYTES_PER_SECOND);
        let frame = match tokio::time::timeout_at(deadline.into(), body.frame()).await {
            Err(_) => return Err(GatewayError::new(ErrorKind::InvalidRequest, "the body did not come in time")),
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                return Err(
                    GatewayError::new(ErrorKind::InvalidRequest, "the body broke off").internal(error.to_string())
                );
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > limit {
            return Err(too_large());
        }
        admitted.charge_body(length).await.map_err(&shed)?;
        if first.is_empty() && whole.is_empty() {
            first = data;
            if first.len() == announced {
                break;
            }
        } else {
            if whole.is_empty() {
                whole.reserve(announced.max(2 * length));
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

fn check_type(headers: &HeaderMap) -> Result<(), GatewayError> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(GatewayError::invalid(
            "content-encoding",
            "compressed bodies are not taken; send the JSON as it is",
        ));
    }
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    // The first is what nearly all say.
    if kind == "application/json" || kind.as_bytes().windows(4).any(|part| part.eq_ignore_ascii_case(b"json")) {
        return Ok(());
    }
    let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    Err(GatewayError::invalid(
        "content-type",
        format!("the body must be JSON (content-type: application/json), got {kind:?}"),
    ))
}

/// The values of these parameters of a query, which may have no others, and none twice.
pub fn parameters<const KNOWN: usize>(
    query: &str,
    known: [&'static str; KNOWN],
) -> Result<[Option<String>; KNOWN], GatewayError> {
    let mut found = [const { None }; KNOWN];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decoded(name);
        let Some(place) = known.iter().position(|known| *known == name) else {
            let message = format!("there is no such parameter here; there are: {}", known.join(", "));
            return Err(GatewayError::invalid(crate::settle::shortened(&name, 100), message));
        };
        if found[place].replace(percent_decoded(value)).is_some() {
            return Err(GatewayError::invalid(name, "this parameter is there twice"));
        }
    }
    Ok(found)
}

/// Percent-decoding; what is not valid stays as it is.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok())).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_percent_decoded() {
        assert_eq!(super::percent_decoded("openai%2Fgpt-5%zz%C3%A9%"), "openai/gpt-5%zzé%");
    }
}
