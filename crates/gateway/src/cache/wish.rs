//! What a client wants of the cache.

use gateway_core::error::GatewayError;
use http::{HeaderMap, header};

/// For one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wish {
    /// Take the answer from there if there is one, and keep the new one if there is none.
    #[default]
    Use,
    /// Neither.
    Skip,
    /// Ask anew, and keep the answer.
    Refresh,
    /// Ask nobody.
    OnlyIfCached,
}

const CACHE: &str = "x-gateway-cache";
const COALESCE: &str = "x-gateway-coalesce";

impl Wish {
    /// `x-gateway-cache`, or else what `Cache-Control` says to caches in general (RFC 9111, 5.2.1).
    pub fn read(headers: &HeaderMap) -> Result<Wish, GatewayError> {
        if let Some(value) = headers.get(CACHE) {
            return match value.as_bytes().trim_ascii() {
                b"skip" => Ok(Wish::Skip),
                b"refresh" => Ok(Wish::Refresh),
                b"only-if-cached" => Ok(Wish::OnlyIfCached),
                _ => Err(GatewayError::invalid(
                    CACHE,
                    format!("{CACHE} must be skip, refresh or only-if-cached, got {value:?}"),
                )),
            };
        }
        Ok(Wish::of_any_cache(headers))
    }

    /// What `Cache-Control` says.
    pub fn of_any_cache(headers: &HeaderMap) -> Wish {
        let mut wish = Wish::Use;
        for value in headers.get_all(header::CACHE_CONTROL) {
            for directive in value.as_bytes().split(|&byte| byte == b',') {
                // What is asked for most strictly counts.
                wish = match directive.trim_ascii().to_ascii_lowercase().as_slice() {
                    b"no-store" => return Wish::Skip,
                    b"only-if-cached" => Wish::OnlyIfCached,
                    b"no-cache" if wish == Wish::Use => Wish::Refresh,
                    _ => wish,
                };
            }
        }
        wish
    }

    pub fn reads(self) -> bool {
        matches!(self, Wish::Use | Wish::OnlyIfCached)
    }

    pub fn keeps(self) -> bool {
        matches!(self, Wish::Use | Wish::Refresh)
    }
}

/// Whether the client says that its request may be answered by that of another one that asks the same at the same time,
/// whatever its temperature.
pub fn may_share(headers: &HeaderMap) -> Result<bool, GatewayError> {
    match headers.get(COALESCE).map(|value| value.as_bytes().trim_ascii()) {
        None | Some(b"false") => Ok(false),
        Some(b"true") => Ok(true),
        Some(_) => Err(GatewayError::invalid(COALESCE, format!("{COALESCE} must be true or false"))),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn wish(headers: &[(&'static str, &'static str)]) -> Result<Wish, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Wish::read(&map).map_err(|error| error.message)
    }

    #[test]
    fn a_wish_is_read_from_either_header_and_the_gateways_own_counts() {
        for (headers, wished) in [
            (&[][..], Wish::Use),
            (&[("x-gateway-cache", " skip ")], Wish::Skip),
            (&[("x-gateway-cache", "refresh"), ("cache-control", "no-store")], Wish::Refresh),
            (&[("x-gateway-cache", "only-if-cached")], Wish::OnlyIfCached),
            (&[("cache-control", "max-age=5, No-Cache")], Wish::Refresh),
            (&[("cache-control", "no-cache"), ("cache-control", "no-store")], Wish::Skip),
            (&[("cache-control", "only-if-cached, no-cache")], Wish::OnlyIfCached),
            (&[("cache-control", "private, no-transform")], Wish::Use),
        ] {
            assert_eq!(wish(headers), Ok(wished), "{headers:?}");
        }
        assert!(wish(&[("x-gateway-cache", "never")]).unwrap_err().contains("skip, refresh or only-if-cached"));
    }
}
