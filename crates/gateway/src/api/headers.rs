//! The headers of an answer, gathered in a list until it leaves.
//!
//! To find a place for a name in a map takes longer than all else about a header, and the answers of a gateway have the same
//! fifteen names again and again. So a map that has the names of an answer already is copied, and given its values.

use std::cell::RefCell;

use http::{HeaderMap, HeaderName, HeaderValue};

/// So many an answer has as a rule, those of its provider included.
const USUAL: usize = 18;
/// Maps that each thread keeps: one for each list of names. What passes from providers may have any names, so that there is a
/// bound.
const SHAPES: usize = 16;

thread_local! {
    static KNOWN: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// In the order in which they were set.
#[derive(Debug, Clone, Default)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    pub fn new() -> Self {
        Headers(Vec::with_capacity(USUAL))
    }

    /// Adds a line, whether or not there is one of this name.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// The only line of this name.
    pub fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        self.remove_all(|known| *known == name);
        self.append(name, value);
    }

    pub fn remove_all(&mut self, is_meant: impl Fn(&HeaderName) -> bool) {
        self.0.retain(|(name, _)| !is_meant(name));
    }

    /// The first line of this name.
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub fn into_map(self) -> HeaderMap {
        KNOWN.with_borrow_mut(|shapes| {
            let names = || self.0.iter().map(|(name, _)| name);
            if let Some(shape) =
                shapes.iter().find(|shape| shape.keys_len() == self.0.len() && shape.keys().eq(names()))
            {
                let mut map = shape.clone();
                for (place, (_, value)) in map.values_mut().zip(self.0) {
                    *place = value;
                }
                return map;
            }
            let shape: HeaderMap = names().map(|name| (name.clone(), HeaderValue::from_static(""))).collect();
            // One line of each name.
            if shape.len() == self.0.len() {
                shapes.insert(0, shape);
                shapes.truncate(SHAPES);
            }
            let mut map = HeaderMap::with_capacity(self.0.len());
            for (name, value) in self.0 {
                map.append(name, value);
            }
            map
        })
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, AGE, DATE};

    use super::*;

    fn value(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    fn map_of(lines: &[(HeaderName, &str)]) -> (HeaderMap, HeaderMap) {
        let (mut headers, mut expected) = (Headers::new(), HeaderMap::new());
        for (name, text) in lines {
            headers.append(name.clone(), value(text));
            expected.append(name.clone(), value(text));
        }
        (headers.into_map(), expected)
    }

    #[test]
    fn a_map_has_the_lines_of_the_list_whatever_was_asked_before() {
        let own = HeaderName::from_static("x-own");
        for round in ["1", "2", "3"] {
            for lines in [
                &[(ACCEPT, round), (own.clone(), "b"), (DATE, "c")][..],
                &[(ACCEPT, "d"), (DATE, round)],
                &[(DATE, round), (ACCEPT, "e")],
                &[(AGE, round), (AGE, "f"), (own.clone(), "g")],
                &[],
            ] {
                let (map, expected) = map_of(lines);
                assert_eq!(map, expected);
                assert_eq!(map.get(&own), expected.get(&own), "and can be searched");
            }
        }
    }

    #[test]
    fn no_more_shapes_are_kept_than_have_room() {
        for n in 0..4 * SHAPES {
            let name = HeaderName::try_from(format!("x-{n}")).unwrap();
            let (map, expected) = map_of(&[(name, "a")]);
            assert_eq!(map, expected);
        }
        assert_eq!(KNOWN.with_borrow(Vec::len), SHAPES);
    }

    #[test]
    fn what_is_inserted_is_alone() {
        let mut headers = Headers::new();
        headers.append(AGE, value("1"));
        headers.append(AGE, value("2"));
        assert_eq!(headers.get("age"), Some(&value("1")));
        headers.insert(AGE, value("3"));
        headers.append(DATE, value("4"));
        headers.remove_all(|name| *name == DATE);
        assert_eq!(headers.into_map(), HeaderMap::from_iter([(AGE, value("3"))]));
    }
}
