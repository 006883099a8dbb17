//! The key that a request shows, read where the SDKs of all vendors put theirs. It is compared, and goes nowhere else.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use sha2::{Digest, Sha256};

/// In this order: the first that is there counts, whatever the others say.
const BARE: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// What was shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown<'a> {
    Nothing,
    Key(&'a str),
    /// Something that no key can be: two at once, or bytes that are not text.
    Unreadable,
}

impl<'a> Shown<'a> {
    pub fn read(headers: &'a HeaderMap) -> Shown<'a> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let text = value.to_str().unwrap_or_default();
            let (scheme, key) = text.split_once(' ').unwrap_or((text, ""));
            // Other schemes are somebody else's.
            if scheme.eq_ignore_ascii_case("bearer") {
                return Shown::one(headers, &header::AUTHORIZATION, key);
            }
        }
        let bare = BARE.into_iter().find_map(|name| Some((headers.get(&name)?, name)));
        bare.map_or(Shown::Nothing, |(value, name)| Shown::one(headers, &name, text(value)))
    }

    fn one(headers: &HeaderMap, name: &HeaderName, key: &'a str) -> Shown<'a> {
        let key = key.trim();
        // Of two lines a proxy may have checked the other.
        if key.is_empty() || headers.get_all(name).iter().nth(1).is_some() {
            Shown::Unreadable
        } else {
            Shown::Key(key)
        }
    }
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

pub fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// Takes as long for digests that differ as for those that do not.
pub fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |difference, (one, other)| difference | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(lines: &[(&str, &str)]) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        match Shown::read(&headers) {
            Shown::Key(key) => Ok(key.to_owned()),
            Shown::Nothing => Err("nothing"),
            Shown::Unreadable => Err("unreadable"),
        }
    }

    #[test]
    fn a_key_is_read_where_the_sdks_put_it_and_the_first_place_counts() {
        let lines =
            [("authorization", "Bearer one"), ("x-api-key", "two"), ("api-key", "three"), ("x-goog-api-key", "four")];
        for (skipped, expected) in ["one", "two", "three", "four"].into_iter().enumerate() {
            assert_eq!(key(&lines[skipped..]), Ok(expected.to_owned()));
        }
        assert_eq!(key(&[("authorization", "bEARER  one ")]), Ok("one".into()));
        assert_eq!(key(&[("authorization", "Basic dTpw"), ("x-api-key", "two")]), Ok("two".into()));
        assert_eq!(key(&[]), Err("nothing"));
        assert_eq!(key(&[("authorization", "Basic dTpw")]), Err("nothing"));
    }

    #[test]
    fn what_cannot_be_a_key_is_no_key_and_hides_no_other() {
        for lines in [
            &[("authorization", "Bearer"), ("x-api-key", "two")][..],
            &[("authorization", "Bearer "), ("x-api-key", "two")],
            &[("x-api-key", ""), ("api-key", "three")],
            &[("x-api-key", "k\u{e9}y")],
            &[("x-api-key", "one"), ("x-api-key", "two")],
            &[("authorization", "Bearer one"), ("authorization", "Bearer one")],
        ] {
            assert_eq!(key(lines), Err("unreadable"), "{lines:?}");
        }
    }

    #[test]
    fn digests_are_the_same_only_if_every_byte_is() {
        let one = digest("key");
        assert!(is_same(&one, &digest("key")));
        for byte in 0..32 {
            let mut other = one;
            other[byte] ^= 1;
            assert!(!is_same(&one, &other));
        }
    }
}
