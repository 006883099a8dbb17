use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::*;

#[test]
fn a_long_string_of_base64_is_no_text() {
    let has_media = |string: &str| {
        let body = format!(r#"{{"a": [{{"b": "{string}"}}], "c": "d"}}"#);
        scan(body.as_bytes(), |_, _| Ok(())).unwrap()
    };
    let base64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ\\/8AAAA+=".repeat(100);
    assert!(has_media(&base64) && has_media(&format!("data:image/png;base64,{base64}")));
    assert!(!has_media(&base64[..4000]), "a small one weighs little either way");
    for text in ["A picture in base64 is no text, they say. ", "国破山河在", "\\u56fd\\u7834", "let[a,b]=[1,2];f(a,b);"]
    {
        assert!(!has_media(&text.repeat(1000)), "{text}");
    }
}

#[test]
fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
    let nested = |depth: usize| [&b"{\"a\":"[..], &vec![b'['; depth], &vec![b']'; depth], b"}"].concat();
    assert!(check(&nested(JSON_DEPTH - 1)).is_ok());
    assert!(check(&nested(JSON_DEPTH)).is_err());
    assert!(check(format!(r#"{{"a": "{}"}}"#, "[".repeat(1000)).as_bytes()).is_ok());
    assert!(check(&nested(1_000_000)).is_err());
}

#[test]
fn half_a_character_is_refused() {
    let body = |text: &str| format!("{{\"a\":{text}}}");
    for good in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\"\u00e9""#, "\"😀\""] {
        assert!(check(body(good).as_bytes()).is_ok(), "{good}");
    }
    for bad in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\u0041""#, r#""\ud83d\ud83d\ude00""#, r#""\"#, r#""\u12"#] {
        assert!(check(body(bad).as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn an_error_tells_its_place() {
    let message = |body: &str| check(body.as_bytes()).unwrap_err().message;
    assert_eq!(
        message("{\n  \"a\": 01}"),
        "the body is not valid JSON: expected `,` or `}`, found something else at line 2 column 9"
    );
    assert_eq!(message("{\"a\""), "the body is not valid JSON: expected `:`, found its end at line 1 column 5");
}

#[test]
fn members_are_found_under_any_spelling_of_their_names() {
    let body = br#" { "mod\u0065l" : "x" , "n":[1,{"model":2}] }"#;
    let mut seen = Vec::new();
    scan(body, |name, place| {
        seen.push((String::from_utf8(name.into_owned()).unwrap(), std::str::from_utf8(&body[place]).unwrap()));
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, [("model".to_owned(), "\"x\""), ("n".to_owned(), r#"[1,{"model":2}]"#)]);
}

/// A chunk of a stream with an escape, half a character and a number.
const CHUNK: &str = r#"{"id":"chatcmpl-B9MHDbslfkBe","created":1741,"choices":[{"index":0,"delta":{"content":"a \"\ud83d\u00e9"},"finish_reason":null}], "usage":{"cost":1.5e-3}}"#;

proptest! {
    #[test]
    fn accepts_what_serde_json_accepts(body in r#"\{("[ab\\\\u0e9nt]{0,4}" ?: ?([-0-9.eE+]{1,5}|true|nul|null|\[?[\],0]{0,3}|\{?"x":0\}|"[\\u0041n"]{0,3}"),? ?){0,3}\}?"#) {
        let known = serde_json::from_str::<serde_json::Map<String, Value>>(&body).is_ok();
        prop_assert_eq!(check(body.as_bytes()).is_ok(), known, "{}", body);
    }

    #[test]
    fn a_block_tells_its_marks(block in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\\'), Just(b'"')], BLOCK), first in 0..2_u64) {
        let block: [u8; BLOCK] = block.try_into().unwrap();
        let marks = Marks::of(&block);
        let (mut escaping, mut escapes) = (first, first == 1);
        let escaped = marks.escaped(&mut escaping);
        for (at, byte) in block.iter().enumerate() {
            let bit = |bits: u64| bits >> at & 1 == 1;
            prop_assert_eq!(bit(marks.quotes), *byte == b'"');
            prop_assert_eq!(bit(marks.backslashes), *byte == b'\\');
            prop_assert_eq!(bit(marks.controls), *byte < b' ');
            prop_assert_eq!(bit(marks.common_escapes), matches!(byte, b'"' | b'\\' | b'n' | b't'));
            prop_assert_eq!(bit(escaped), escapes);
            escapes = !escapes && *byte == b'\\';
        }
        prop_assert_eq!(escaping, u64::from(escapes));
    }

    #[test]
    fn long_strings_are_read_as_serde_json_reads_them(text in r#"([a-z]{0,70}(\\n|\\"|\\\\|\\/|\\u00e9|\\ud83d\\ude00|é|\\|\\x|\n)?){0,8}"#) {
        let body = format!(r#"{{"a":"{text}"}}"#);
        let known = serde_json::from_str::<serde_json::Map<String, Value>>(&body).is_ok();
        prop_assert_eq!(check(body.as_bytes()).is_ok(), known, "{}", body);
    }

    #[test]
    fn an_answer_is_json_where_serde_json_passes_it(
        text in r#"[{}\[\]":,a\\nul10. -]{0,12}"#,
        at in 0..CHUNK.len(),
        length in 0..4_usize,
    ) {
        let changed = [&CHUNK[..at], &text, &CHUNK[(at + length).min(CHUNK.len())..]].concat();
        for text in [text, changed] {
            let known = serde_json::from_str::<BTreeMap<String, IgnoredAny>>(&text).is_ok();
            prop_assert_eq!(read_answer(&text, |json, _| json.skip()).is_ok(), known, "{}", text);
        }
    }

    #[test]
    fn members_stand_where_serde_json_finds_them(value in any_json(), pretty in any::<bool>()) {
        let value = serde_json::json!({ "a": value, "é\n": [value], "b": 1.5 });
        let body = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let known: BTreeMap<String, &RawValue> = serde_json::from_str(&body).unwrap();
        let mut found = BTreeMap::new();
        scan(body.as_bytes(), |name, place| {
            found.insert(String::from_utf8(name.into_owned()).unwrap(), &body[place]);
            Ok(())
        }).unwrap();
        let known: BTreeMap<_, _> = known.into_iter().map(|(name, value)| (name, value.get())).collect();
        prop_assert_eq!(found, known);
    }

    #[test]
    fn the_end_of_plain_text_is_found(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        let special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < b' ';
        prop_assert_eq!(plain_length(&text), text.iter().position(special).unwrap_or(text.len()));
    }

    #[test]
    fn accepts_every_value(value in any_json()) {
        let body = serde_json::json!({ "v": value }).to_string();
        prop_assert!(check(body.as_bytes()).is_ok());
        let pretty = serde_json::to_string_pretty(&serde_json::json!({ "v": value })).unwrap();
        prop_assert!(check(pretty.as_bytes()).is_ok());
        for cut in 0..body.len() {
            prop_assert!(check(&body.as_bytes()[..cut]).is_err());
        }
    }
}

pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        ]
    })
}
