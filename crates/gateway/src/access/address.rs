//! Where a request comes from, also behind proxies.
//!
//! A proxy writes at the right end of a forwarded header, and what stands left of that is whatever it was sent. So the hops
//! are followed from the right, and only as long as the one who wrote them is believed.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What proxies add to what passes through them.
const SIGNS_OF_A_PROXY: [HeaderName; 6] = [
    header::FORWARDED,
    X_FORWARDED_FOR,
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
    header::VIA,
];

/// The address of the client: of the first hop, seen from here, that is not a trusted proxy. Where two headers tell different
/// stories (a proxy writes one, and passes on the other as a client wrote it) neither is believed.
pub fn of_client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    if !is_trusted(peer) {
        return peer;
    }
    let mut told = [(header::FORWARDED, forwarded as fn(&str) -> Option<IpAddr>), (X_FORWARDED_FOR, node)]
        .into_iter()
        .filter(|(name, _)| headers.contains_key(name))
        .map(|(name, read)| follow(peer, headers, &name, read, is_trusted));
    match (told.next(), told.next()) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(address), _) => address,
        (None, _) => peer,
    }
}

/// Whether a request says that it came through a proxy, trusted or not.
pub fn is_forwarded(headers: &HeaderMap) -> bool {
    SIGNS_OF_A_PROXY.iter().any(|name| headers.contains_key(name))
}

/// The first hop that is not trusted; where there is none, or it cannot be read, the last one that is known.
fn follow(
    peer: IpAddr,
    headers: &HeaderMap,
    name: &HeaderName,
    read: fn(&str) -> Option<IpAddr>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut known = peer;
    for line in headers.get_all(name).iter().rev() {
        let Ok(line) = line.to_str() else { return known };
        for hop in line.rsplit(',') {
            match read(hop) {
                Some(address) => known = address,
                None => return known,
            }
            if !is_trusted(known) {
                return known;
            }
        }
    }
    known
}

/// One element of `Forwarded`: `for=192.0.2.1;proto=https`. No address has a comma or a semicolon in it, so that quotes which
/// a client leaves open cannot swallow what its proxy wrote.
fn forwarded(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    node(value.trim().trim_matches('"'))
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|end| end.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PEER: &str = "10.0.0.1";

    fn client(peer: &str, headers: &[(&str, &str)]) -> String {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()).into();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        of_client(peer.parse().unwrap(), &map, &trusted).to_string()
    }

    #[test]
    fn the_client_is_the_first_hop_from_the_right_that_is_not_trusted() {
        for (header, value, expected) in [
            ("x-forwarded-for", "192.0.2.7", "192.0.2.7"),
            ("x-forwarded-for", "6.6.6.6, 192.0.2.7", "192.0.2.7"),
            ("x-forwarded-for", "6.6.6.6,192.0.2.7 , 10.0.0.2", "192.0.2.7"),
            ("x-forwarded-for", "192.0.2.7:5123", "192.0.2.7"),
            ("x-forwarded-for", "2001:db8::7", "2001:db8::7"),
            ("x-forwarded-for", "[2001:db8::7]:5123", "2001:db8::7"),
            ("x-forwarded-for", "::ffff:192.0.2.7", "192.0.2.7"),
            ("x-forwarded-for", "10.0.0.3, fd00::1", "10.0.0.3"),
            ("forwarded", "for=192.0.2.7;proto=https;by=10.0.0.1", "192.0.2.7"),
            ("forwarded", "For=6.6.6.6, proto=https; FOR = \"[2001:db8::7]:4711\"", "2001:db8::7"),
            ("forwarded", "for=\"6.6.6.6, for=192.0.2.7", "192.0.2.7"),
            ("forwarded", "for=192.0.2.7, for=10.0.0.2", "192.0.2.7"),
        ] {
            assert_eq!(client(PEER, &[(header, value)]), expected, "{header}: {value}");
        }
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "10.9.9.9")];
        assert_eq!(client(PEER, &lines), "192.0.2.7", "several lines are one list");
        let both = [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=192.0.2.7")];
        assert_eq!(client(PEER, &both), "192.0.2.7");
    }

    #[test]
    fn what_cannot_be_read_or_contradicts_itself_is_not_believed() {
        for (header, value) in [
            ("x-forwarded-for", ""),
            ("x-forwarded-for", "unknown"),
            ("x-forwarded-for", "192.0.2.7, _hidden"),
            ("x-forwarded-for", "192.0.2.7, "),
            ("x-forwarded-for", "192.0.2.7 6.6.6.6"),
            ("x-forwarded-for", "192.0.2.999"),
            ("x-forwarded-for", "0x7f.1"),
            ("x-forwarded-for", "fe80::1%eth0"),
            ("forwarded", "proto=https"),
            ("forwarded", "for=192.0.2.7, proto=https"),
            ("forwarded", "192.0.2.7"),
            ("x-real-ip", "192.0.2.7"),
            ("cf-connecting-ip", "192.0.2.7"),
        ] {
            assert_eq!(client(PEER, &[(header, value)]), PEER, "{header}: {value}");
        }
        let forged = [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=6.6.6.6")];
        assert_eq!(client(PEER, &forged), PEER);
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        for header in ["x-forwarded-for", "forwarded", "x-real-ip"] {
            for peer in ["192.0.2.1", "::1", "127.0.0.1", "11.0.0.1"] {
                assert_eq!(client(peer, &[(header, "for=6.6.6.6")]), peer);
                assert_eq!(client(peer, &[(header, "6.6.6.6")]), peer);
            }
        }
        assert_eq!(client("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
    }
}
