//! Nearly every event of a stream is the one before with another text in it. What has been read once need not be read again:
//! where all else is the same byte for byte, an event says what the one before said, with its own text.

use std::ops::Range;

use crate::json::Json;
use crate::scan::string_end;

/// Longer events are rare, and read as a whole.
const EVENT_BYTES: usize = 4096;

/// An event that said one text and nothing else, if one was learned.
#[derive(Debug, Default)]
pub(crate) struct Template {
    event: String,
    /// The strings that may be others, in their quotes and in their order.
    gaps: Vec<Gap>,
    /// Behind them are only closing brackets, and any white space between these. Some vendors vary it.
    is_closing: bool,
}

#[derive(Debug)]
struct Gap {
    place: Range<usize>,
    /// What the event says. The other gap is filler, which nobody reads.
    is_text: bool,
}

impl Template {
    /// `text` and `filler` are strings of this event.
    pub(crate) fn learn(&mut self, event: &str, text: Json<'_>, filler: Option<Json<'_>>) {
        self.forget();
        let (text, filler) = (place(event, text.get()), filler.map(|filler| place(event, filler.get())));
        let (Some(text), true) = (text, event.len() <= EVENT_BYTES) else { return };
        self.event.push_str(event);
        self.gaps.push(Gap { place: text, is_text: true });
        self.gaps.extend(filler.flatten().map(|place| Gap { place, is_text: false }));
        self.gaps.sort_unstable_by_key(|gap| gap.place.start);
        let behind = self.gaps.last().map_or(0, |gap| gap.place.end);
        self.is_closing = event.as_bytes()[behind..].iter().all(|byte| b"}] ".contains(byte));
    }

    pub(crate) fn forget(&mut self) {
        self.event.clear();
        self.gaps.clear();
    }

    /// The text of an event, if in everything else it is the one that was learned.
    pub(crate) fn text_of<'e>(&self, event: &'e str) -> Option<Json<'e>> {
        let (known, bytes) = (self.event.as_bytes(), event.as_bytes());
        let (mut text, mut behind, mut at) = (None, 0, 0);
        for gap in &self.gaps {
            let same = known.get(behind..gap.place.start)?;
            let start = at + same.len();
            if bytes.get(at..start)? != same {
                return None;
            }
            at = string_end(event, start)?;
            behind = gap.place.end;
            if gap.is_text {
                text = event.get(start..at).map(Json);
            }
        }
        let (known, rest) = (known.get(behind..)?, bytes.get(at..)?);
        text.filter(|_| rest == known || self.is_closing && brackets(rest).eq(brackets(known)))
    }
}

fn brackets(end: &[u8]) -> impl Iterator<Item = &u8> {
    end.iter().filter(|byte| **byte != b' ')
}

/// Where a part of a text stands in it.
fn place(text: &str, part: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    text.get(start..start + part.len()).map(|found| start..start + found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(event: &str, text: &str, filler: Option<&str>) -> Template {
        let part = |part: &str| {
            let at = event.find(part).unwrap();
            &event[at..at + part.len()]
        };
        let mut template = Template::default();
        template.learn(event, Json(part(text)), filler.map(part).map(Json));
        template
    }

    #[test]
    fn only_the_text_and_the_filler_may_be_others() {
        let template = learned(r#"{"p":"xyz","a":{"text":"one"},"b":1}"#, r#""one""#, Some(r#""xyz""#));
        let text = |event| template.text_of(event).map(Json::get);
        assert_eq!(text(r#"{"p":"xyz","a":{"text":"one"},"b":1}"#), Some(r#""one""#));
        assert_eq!(text(r#"{"p":"","a":{"text":"a \"é\\"},"b":1}"#), Some(r#""a \"é\\""#));
        for other in [
            r#"{"p":"xyz","a":{"text":"one"},"b":2}"#,
            r#"{"p":"xyz","a":{"text":"one"},"b":1} "#,
            r#"{"p":"xyz","a":{"text":"one"},"b":1"#,
            r#"{"p":"xyz","a":{"text":"one","b":1},"b":1}"#,
            r#"{"p":"xyz","a":{"text":null},"b":1}"#,
            r#"{"p":"xyz","a":{"text":"\x"},"b":1}"#,
            r#"{"p":"xyz","a":{"text":"one"#,
            r#"{"p":"xyz"}"#,
            "",
        ] {
            assert_eq!(text(other), None, "{other}");
        }
        assert_eq!(Template::default().text_of(""), None, "nothing was learned");
    }

    #[test]
    fn brackets_may_close_further_away() {
        let template = learned(r#"{"a":{"text":"one"}   }"#, r#""one""#, None);
        let text = |event| template.text_of(event).map(Json::get);
        assert_eq!(text(r#"{"a":{"text":"two"} } "#), Some(r#""two""#));
        assert_eq!(text(r#"{"a":{"text":"two"} ] "#), None);
        assert_eq!(text(r#"{"a":{"text":"two"} } }"#), None);
        assert_eq!(text(r#"{"a":{"text":"two","b c":1}}"#), None);
        let template = learned(r#"{"a":{"text":"one"},"b c":1}"#, r#""one""#, None);
        assert_eq!(template.text_of(r#"{"a":{"text":"one"},"bc":1}"#), None);
    }

    #[test]
    fn a_long_event_is_not_kept() {
        let event = format!(r#"{{"text":"{}"}}"#, "a".repeat(EVENT_BYTES));
        let template = learned(&event, &event[8..event.len() - 1], None);
        assert_eq!(template.text_of(&event), None);
        assert!(template.event.is_empty());
    }
}
