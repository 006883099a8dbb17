//! Web pages must not use a browser that can reach the gateway: neither by a form or a script that asks from another site, nor
//! by a name of their own that resolves to the gateway's address.

use std::net::IpAddr;

use gateway_core::error::{ErrorKind, GatewayError};
use http::request::Parts;
use http::{HeaderName, HeaderValue, header};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// On a loopback address, where nobody may need a key: `Host` and `Origin` must name this machine.
pub fn check_loopback(head: &Parts) -> Result<(), GatewayError> {
    if !all_hosts(head, is_loopback_name) {
        return Err(forbidden(
            "this gateway listens on a loopback address: the Host header must name one, as localhost or 127.0.0.1",
        ));
    }
    if head.headers.get(header::ORIGIN).is_some_and(|origin| !is_loopback_name(authority(origin))) {
        return Err(forbidden("web pages of other hosts may not call this gateway"));
    }
    Ok(())
}

/// For the operator's routes: `Host` is an address, `localhost` or one of `names`, and no page of another site asks.
pub fn check_admin(head: &Parts, names: &[String]) -> Result<(), GatewayError> {
    let is_known = |host: &str| {
        name_of(host).is_some_and(|name| {
            name.parse::<IpAddr>().is_ok()
                || name.eq_ignore_ascii_case("localhost")
                || names.iter().any(|known| known.eq_ignore_ascii_case(name))
        })
    };
    if !all_hosts(head, is_known) {
        return Err(forbidden(
            "the admin API answers to an address, to localhost and to the names in server.admin_hosts: the Host header is none \
             of them",
        ));
    }
    let is_elsewhere = |origin: &HeaderValue| !all_hosts(head, |host| host.eq_ignore_ascii_case(authority(origin)));
    let crosses = |site: &HeaderValue| site != "same-origin" && site != "none";
    if head.headers.get(header::ORIGIN).is_some_and(is_elsewhere)
        || head.headers.get(SEC_FETCH_SITE).is_some_and(crosses)
    {
        return Err(forbidden("web pages of other sites may not call the admin API"));
    }
    Ok(())
}

fn forbidden(message: &str) -> GatewayError {
    GatewayError::new(ErrorKind::Forbidden, message)
}

/// Whether the request names a host, and each that it names (in `Host`, in an absolute URI) is good.
fn all_hosts(head: &Parts, is_good: impl Fn(&str) -> bool) -> bool {
    let lines = head.headers.get_all(header::HOST).iter().map(|line| line.to_str().unwrap_or_default());
    let mut hosts = lines.chain(head.uri.authority().map(|authority| authority.as_str())).peekable();
    hosts.peek().is_some() && hosts.all(is_good)
}

/// `host:port` of an `Origin`; empty for `null` and for what is none.
fn authority(origin: &HeaderValue) -> &str {
    origin.to_str().ok().and_then(|origin| origin.split_once("://")).map_or("", |(_, authority)| authority)
}

/// A host without its port and without brackets; `None` if it is more than that.
fn name_of(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => host.split_at(memchr::memchr(b':', host.as_bytes()).unwrap_or(host.len())),
    };
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|c| c.is_ascii_digit()));
    is_port.then_some(name)
}

/// Is `host`, with or without a port, a name of this machine for itself?
fn is_loopback_name(host: &str) -> bool {
    // The usual names need no parser of addresses.
    name_of(host).is_some_and(|name| {
        name == "127.0.0.1"
            || name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(uri: &str, lines: &[(&str, &str)]) -> Parts {
        let request =
            lines.iter().fold(Request::builder().uri(uri), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn names_of_this_machine() {
        for host in ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.8.9.1:80", "[::1]:8000", "[::1]"] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "",
            "10.0.0.1",
            "[::2]",
            "127.0.0.1:80@evil.example",
            "localhost:80/#@evil.example",
            "[::1].evil.example",
            "localhost@evil.example",
        ] {
            assert!(!is_loopback_name(host), "{host}");
        }
    }

    #[test]
    fn every_host_that_a_request_names_must_be_good() {
        let check = |uri: &str, lines: &[(&str, &str)]| check_loopback(&head(uri, lines)).is_ok();
        assert!(check("/", &[("host", "localhost:8000")]));
        assert!(check("http://localhost:8000/", &[]), "as HTTP/2 names it");
        assert!(!check("/", &[]));
        assert!(!check("http://evil.example/", &[("host", "localhost")]));
        assert!(!check("http://localhost/", &[("host", "evil.example")]));
        assert!(!check("/", &[("host", "localhost"), ("host", "evil.example")]));
        assert!(!check("/", &[("host", "localhost"), ("origin", "http://evil.example")]));
        assert!(!check("/", &[("host", "localhost"), ("origin", "null")]));
    }

    #[test]
    fn the_operator_s_routes_answer_to_known_names_and_to_no_page_of_another_site() {
        let names = ["gateway.internal".to_owned()];
        let check = |lines: &[(&str, &str)]| check_admin(&head("/admin/v1/keys", lines), &names).is_ok();
        for host in ["10.1.2.3:9000", "[fd00::1]", "localhost", "Gateway.Internal:9000"] {
            assert!(check(&[("host", host)]), "{host}");
            let origin = format!("https://{host}");
            assert!(check(&[("host", host), ("origin", &origin), ("sec-fetch-site", "same-origin")]), "{host}");
            for crossing in [
                ("origin", "https://evil.example"),
                ("origin", "null"),
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-site", "same-site"),
            ] {
                assert!(!check(&[("host", host), crossing]), "{host} {crossing:?}");
            }
        }
        for host in ["evil.example", "gateway.internal.evil.example", "", "10.1.2.3:9000@evil.example"] {
            assert!(!check(&[("host", host)]), "{host}");
        }
        assert!(!check(&[]));
    }
}
