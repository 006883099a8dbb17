//! What comes in: a request, its body within its limits, and who it says it is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use gateway_core::error::{ErrorKind, GatewayError};
use gateway_core::limits::{REQUEST_BODY_BYTES_PER_SECOND, REQUEST_BODY_GRACE, REQUEST_HEADER_BYTES, REQUEST_HEADERS};
use gateway_policy::limits::Standing;
use http::{HeaderMap, HeaderName, Request, header};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::admission::Admitted;
use crate::api::Arrival;

/// A request for an answer, as it came.
#[derive(Debug)]
pub struct Inbound {
    pub arrival: Arrival,
    pub route: &'static str,
    pub headers: HeaderMap,
    /// Or why it has not come.
    pub body: Result<Bytes, GatewayError>,
    pub admitted: Arc<Admitted>,
    /// How its caller stood when it came.
    pub standing: Standing,
}

/// Refuses what no honest client of this address sends: too many or too long headers; on a loopback address, a `Host` or an
/// `Origin` from elsewhere, which is a web page that had its own name resolve to this machine.
pub fn check_head(request: &Request<Incoming>, local: SocketAddr) -> Result<(), GatewayError> {
    let headers = request.headers();
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > REQUEST_HEADER_BYTES || headers.len() > REQUEST_HEADERS {
        let message =
            format!("the headers are larger than {REQUEST_HEADER_BYTES} bytes or more than {REQUEST_HEADERS}");
        return Err(GatewayError::new(ErrorKind::InvalidRequest, message));
    }
    if !local.ip().is_loopback() {
        return Ok(());
    }
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .or(request.uri().authority().map(|a| a.as_str()));
    if host.is_none_or(|host| !is_loopback_name(host)) {
        let message =
            "this gateway listens on a loopback address: the Host header must name one, as localhost or 127.0.0.1";
        return Err(GatewayError::new(ErrorKind::Forbidden, message));
    }
    if let Some(origin) = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok()) {
        let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
        if !is_loopback_name(authority) {
            return Err(GatewayError::new(ErrorKind::Forbidden, "web pages of other hosts may not call this gateway"));
        }
    }
    Ok(())
}

/// Is `host`, with or without a port, a name of this machine for itself?
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => &host[..memchr::memchr(b':', host.as_bytes()).unwrap_or(host.len())],
    };
    // The usual names need no parser of addresses.
    name == "127.0.0.1"
        || name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The id by which the client knows its own request.
pub fn correlation_id(headers: &HeaderMap) -> Option<String> {
    const NAMES: [HeaderName; 3] = [
        HeaderName::from_static("x-correlation-id"),
        HeaderName::from_static("x-request-id"),
        HeaderName::from_static("x-client-request-id"),
    ];
    let value = NAMES.iter().find_map(|name| headers.get(name))?.to_str().ok()?;
    Some(value.chars().take(200).collect())
}

/// Reads a body of JSON: at most `limit` bytes, from when it `began` on not slower than a very slow line. `charge` is told its
/// length so far, and may refuse it.
pub async fn read_body(
    began: Instant,
    headers: &HeaderMap,
    mut body: Incoming,
    limit: usize,
    charge: impl Fn(usize) -> Result<(), GatewayError>,
) -> Result<Bytes, GatewayError> {
    check_type(headers)?;
    let too_large = || {
        GatewayError::new(ErrorKind::PayloadTooLarge, format!("the body is larger than {} MiB", limit / (1024 * 1024)))
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
        charge(length)?;
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
    if kind.as_bytes().windows(4).any(|part| part.eq_ignore_ascii_case(b"json")) {
        return Ok(());
    }
    let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    Err(GatewayError::invalid(
        "content-type",
        format!("the body must be JSON (content-type: application/json), got {kind:?}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::is_loopback_name;

    #[test]
    fn names_of_this_machine() {
        for host in ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.8.9.1:80", "[::1]:8000", "[::1]"] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "10.0.0.1", "[::2]"] {
            assert!(!is_loopback_name(host), "{host}");
        }
    }
}
