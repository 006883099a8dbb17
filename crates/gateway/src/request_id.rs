//! The gateway's own name for a request.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::time::SystemTime;

/// `req_` and a UUID: sortable by time, unique in practice. It is a name, not a secret: no system call for its randomness.
/// It lies where it is used, since it is handed to all that has to do with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 36]);

impl RequestId {
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let [a, b, c, d, e, f, g, h, i, j, ..] = fastrand::u128(..).to_ne_bytes();
        let random = [a, b, c, d, e, f, g, h, i, j];
        let id = uuid::Builder::from_unix_timestamp_millis(now.as_millis() as u64, &random).into_uuid();
        let mut text = *b"req_00000000000000000000000000000000";
        id.simple().encode_lower(&mut text[4..]);
        RequestId(text)
    }

    /// One that can be told in a test; the rest is filled.
    #[cfg(test)]
    pub fn named(name: &str) -> Self {
        let mut text = [b'_'; 36];
        text[..name.len()].copy_from_slice(name.as_bytes());
        RequestId(text)
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// As its text has it, by which it is looked for.
impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Borrow<str> for RequestId {
    fn borrow(&self) -> &str {
        self
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::RequestId;

    #[test]
    fn ids_are_sorted_by_time_and_all_different() {
        let (first, second) = (RequestId::new(), RequestId::new());
        assert!(first.starts_with("req_") && first.len() == 36, "{first}");
        assert_ne!(first, second);
        assert_eq!(HashMap::from([(first, 1), (second, 2)]).get(&*second), Some(&2));
        assert!(first[..12] <= second[..12], "{first} {second}");
    }
}
