use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use gateway_core::access::{Team, VirtualKey};
use gateway_core::dialect::Dialect;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::Arrival;
use crate::api::ingress::Inbound;
use crate::gateway::Gateway;
use crate::keys::{KeySettings, text};
use crate::request_id::RequestId;

static GATEWAY: LazyLock<Gateway> = LazyLock::new(|| crate::gateway::tests::writing_to(std::io::sink()));

/// One request, of which each part can be changed.
#[derive(Debug, Clone)]
struct Asked {
    dialect: Dialect,
    version: &'static str,
    scope: CacheScope,
    caller: Caller,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Asked {
    fn of(dialect: Dialect) -> Asked {
        let mut body = json!({
            "model": "fast",
            "temperature": 0.5,
            "max_tokens": 100,
            "tools": [{"type": "function", "function": {"name": "look"}}],
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
                ]},
                {"role": "assistant", "content": "A cat."},
                {"role": "user", "content": "How old is it?"}
            ]
        });
        match dialect {
            Dialect::AnthropicMessages => {
                body["system"] = "Be brief.".into();
                body["tools"] = json!([{"name": "look", "input_schema": {"type": "object"}}]);
                body["messages"][0]["content"][1] =
                    json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
            }
            _ => {
                if let Some(messages) = body["messages"].as_array_mut() {
                    messages.insert(0, json!({"role": "system", "content": "Be brief."}));
                }
            }
        }
        let (scope, caller) = (CacheScope::Key, Caller::Address(Ipv4Addr::LOCALHOST.into()));
        Asked { dialect, version: "1", scope, caller, headers: Vec::new(), body }
    }

    fn with(&self, change: impl FnOnce(&mut Asked)) -> Asked {
        let mut asked = self.clone();
        change(&mut asked);
        asked
    }

    fn last(&mut self) -> &mut Value {
        self.body["messages"].as_array_mut().unwrap().last_mut().unwrap()
    }

    fn question(&self) -> Option<Question> {
        self.question_of(self.body.to_string())
    }

    fn question_of(&self, body: String) -> Option<Question> {
        let arrival = Arrival {
            started: Instant::now(),
            request_id: RequestId::new(),
            correlation_id: None,
            dialect: self.dialect,
            caller: self.caller.clone(),
        };
        let named = |(name, value): &(String, String)| {
            (HeaderName::try_from(name.as_str()).unwrap(), HeaderValue::try_from(value.as_str()).unwrap())
        };
        let inbound = Inbound {
            arrival,
            route: "",
            headers: HeaderMap::from_iter(self.headers.iter().map(named)),
            body: Ok(Bytes::from(body)),
            admitted: GATEWAY.process.admission.unbounded(),
            looked: Default::default(),
        };
        let call = Call::open(inbound, self.dialect, false).unwrap();
        of(Hash::of("version", self.version.as_bytes()), self.scope, &call)
    }
}

const ALL: [Dialect; 3] = [Dialect::Native, Dialect::OpenAiChat, Dialect::AnthropicMessages];

fn key(id: &str, team: Option<&str>) -> Caller {
    let team = team.map(|id| Arc::new(Team { id: id.into(), name: id.to_owned(), limits: Default::default() }));
    let key = KeySettings::named(id).key(id.into(), text::read("key-of-a-test").unwrap(), None);
    Caller::Key(Arc::new(VirtualKey { team, ..key }))
}

/// Ways to ask something else, one at a time; `text` goes into each.
fn others(dialect: Dialect, text: &str) -> Vec<(&'static str, Asked)> {
    let asked = Asked::of(dialect);
    let header = |name: &str, value: String| asked.with(|asked| asked.headers.push((name.to_owned(), value)));
    let body = |path: &str, value: Value| asked.with(|asked| *asked.body.pointer_mut(path).unwrap() = value);
    let member = |name: &str, value: Value| asked.with(|asked| asked.body[name] = value);
    let system = if dialect == Dialect::AnthropicMessages { "/system" } else { "/messages/0/content" };
    let first = if dialect == Dialect::AnthropicMessages { 0 } else { 1 };
    let tool = if dialect == Dialect::AnthropicMessages { "/tools/0/name" } else { "/tools/0/function/name" };
    let image = if dialect == Dialect::AnthropicMessages { "source/data" } else { "image_url/url" };
    let beta = if dialect == Dialect::OpenAiChat { "openai-beta" } else { "anthropic-beta" };
    let mut others = vec![
        ("tenant", asked.with(|asked| asked.caller = key(text, None))),
        ("version", asked.with(|asked| asked.version = "2")),
        ("model", body("/model", json!(format!("fast{text}")))),
        ("system", body(system, json!(format!("Be brief. {text}")))),
        ("tools", body(tool, json!(format!("look{text}")))),
        ("history", body(&format!("/messages/{first}/content/0/text"), json!(format!("What is this?{text}")))),
        ("attachment", body(&format!("/messages/{first}/content/1/{image}"), json!(format!("AAAA{text}")))),
        ("earlier answer", body(&format!("/messages/{}/content", first + 1), json!(format!("A cat. {text}")))),
        ("temperature", body("/temperature", json!(0.25))),
        ("max_tokens", body("/max_tokens", json!(101))),
        ("unknown field", member("unheard_of", json!(text))),
        ("response_format", member("response_format", json!({"type": "json_object"}))),
        ("tool_choice", member("tool_choice", json!({"type": "auto"}))),
        ("strategy", header("x-gateway-strategy", "cost".into())),
        ("provider", header("x-gateway-provider", "openai".into())),
        ("prefer", header("x-gateway-prefer", "openai".into())),
        ("exclude", header("x-gateway-exclude", "openai".into())),
        ("name of the user", asked.with(|asked| asked.last()["name"] = text.into())),
        (
            "a turn more",
            asked.with(|asked| {
                let messages = asked.body["messages"].as_array_mut().unwrap();
                messages.insert(first, json!({"role": "user", "content": text}));
            }),
        ),
    ];
    if dialect == Dialect::Native {
        others.push(("routing", member("routing", json!({"exclude_providers": [text]}))));
    } else {
        others.push(("beta", header(beta, format!("b-{}", text.len()))));
    }
    others
}

#[test]
fn whatever_is_not_the_last_message_must_be_equal() {
    for dialect in ALL {
        let asked = Asked::of(dialect).question().unwrap();
        for (what, other) in others(dialect, "x") {
            let other = other.question().unwrap();
            assert_ne!(other.partition, asked.partition, "{dialect:?}: {what}");
            assert_ne!(other.exact, asked.exact, "{dialect:?}: {what}");
        }
        let again = Asked::of(dialect).question().unwrap();
        assert_eq!((again.exact, again.partition, again.tenant), (asked.exact, asked.partition, asked.tenant));
    }
    let [one, other] = [Dialect::OpenAiChat, Dialect::Native]
        .map(|dialect| Asked { dialect, ..Asked::of(Dialect::OpenAiChat) }.question().unwrap().partition);
    assert_ne!(one, other, "the client's dialect");
}

#[test]
fn the_answer_does_not_depend_on_the_order_of_members_nor_on_who_asks_nor_on_pieces() {
    for dialect in ALL {
        let asked = Asked::of(dialect);
        let question = asked.question().unwrap();
        let mut members: Vec<(String, Value)> = asked.body.as_object().unwrap().clone().into_iter().collect();
        members.reverse();
        let turned = asked.with(|asked| asked.body = Value::Object(members.into_iter().collect()));
        let mut same = vec![("order", turned)];
        let ignored = [
            ("stream", json!(true)),
            ("stream_options", json!({"include_usage": true})),
            ("metadata", json!({"user_id": "ann"})),
            ("user", json!("ann")),
        ];
        for (name, value) in ignored {
            same.push((name, asked.with(|asked| asked.body[name] = value)));
        }
        if dialect == Dialect::Native {
            same.push(("user_id", asked.with(|asked| asked.body["user_id"] = "ann".into())));
        }
        let user = ("x-gateway-user".to_owned(), "ann".to_owned());
        same.push(("x-gateway-user", asked.with(|asked| asked.headers.push(user))));
        for (what, other) in same {
            assert_eq!(other.question().unwrap().exact, question.exact, "{dialect:?}: {what}");
        }
    }
}

#[test]
fn the_last_message_may_be_said_in_other_words_if_it_is_plain_text() {
    for dialect in ALL {
        let asked = Asked::of(dialect);
        let question = asked.question().unwrap();
        let said = |content: Value| asked.with(|asked| asked.last()["content"] = content).question().unwrap();
        for content in [
            json!("How many years has it?\n\"it\""),
            json!([{"type": "text", "text": "How many years has it?\n\"it\""}]),
        ] {
            let other = said(content);
            assert_eq!(other.partition, question.partition, "{dialect:?}");
            assert_ne!(other.exact, question.exact, "{dialect:?}");
            assert_eq!(other.text.unwrap().as_str(), "How many years has it?\n\"it\"");
        }
        // A mark on the part is part of what must be equal.
        let marked = json!([{"type": "text", "text": "How old is it?", "cache_control": {"type": "ephemeral"}}]);
        assert_ne!(said(marked).partition, question.partition);
        let image = asked.body["messages"].as_array().unwrap().iter().find_map(|one| one["content"].get(1)).unwrap();
        for content in [
            json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
            json!([{"type": "text", "text": "a"}, image]),
            json!([image]),
            json!("x".repeat(CACHE_TEXT_BYTES + 1)),
            json!("x".repeat(MESSAGE_BYTES + 1)),
        ] {
            let other = said(content.clone());
            assert!(other.text.is_none(), "{content}");
            assert_ne!(other.exact, question.exact);
        }
    }
    let asked = Asked::of(Dialect::AnthropicMessages);
    let result = json!([{"type": "tool_result", "tool_use_id": "t", "content": "5"}]);
    assert!(asked.with(|asked| asked.last()["content"] = result).question().unwrap().text.is_none());
    let answer = json!({"role": "assistant", "content": "It is"});
    assert!(asked.with(|asked| *asked.last() = answer).question().unwrap().text.is_none());
}

#[test]
fn a_member_that_is_there_twice_is_not_mistaken_for_another() {
    let asked = Asked::of(Dialect::OpenAiChat);
    let body = |more: &str| format!(r#"{{"model":"m",{more}"messages":[{{"role":"user","content":"a"}}]}}"#);
    let exact = |more: &str| asked.question_of(body(more)).map(|question| question.exact);
    let twice = [
        exact(""),
        exact(r#""seed":1,"#),
        exact(r#""seed":1,"seed":2,"#),
        exact(r#""seed":2,"seed":1,"#),
        exact(r#""s\u0065ed":1,"#),
    ];
    for (index, one) in twice.iter().enumerate() {
        assert!(one.is_some() && !twice[..index].contains(one), "{index}");
    }
    assert!(exact(r#""messages":[{"role":"user","content":"b"}],"#).is_none(), "which of them is meant?");
    let role_twice = r#"{"model":"m","messages":[{"role":"user","role":"system","content":"a"}]}"#.to_owned();
    assert!(asked.question_of(role_twice).unwrap().text.is_none());
}

#[test]
fn answers_are_shared_as_far_as_the_scope_says() {
    let callers = [
        Caller::Address(Ipv4Addr::LOCALHOST.into()),
        Caller::Address(Ipv4Addr::new(10, 0, 0, 1).into()),
        key("one", None),
        key("two", Some("search")),
        key("three", Some("search")),
        key("four", Some("shop")),
        // Named like another's team.
        key("search", None),
        Caller::Admin,
    ];
    let apart = |scope: CacheScope| {
        let mut tenants: Vec<Hash> = callers.iter().map(|caller| tenant(scope, caller)).collect();
        tenants.sort();
        tenants.dedup();
        tenants.len()
    };
    assert_eq!([apart(CacheScope::Key), apart(CacheScope::Team), apart(CacheScope::All)], [8, 7, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Each case compares with the original, and all with each other: 400 x 3 x 20 requests.
    #[test]
    fn no_two_requests_share_a_partition_that_differ_in_one_thing(text in "[a-z\"\\\\é]{1,12}") {
        for dialect in ALL {
            let mut seen = vec![("original", Asked::of(dialect).question().unwrap())];
            for (what, other) in others(dialect, &text) {
                let other = other.question().unwrap();
                for (known, one) in &seen {
                    prop_assert_ne!(one.partition, other.partition, "{:?}: {} and {}", dialect, known, what);
                    prop_assert_ne!(one.exact, other.exact, "{:?}: {} and {}", dialect, known, what);
                }
                seen.push((what, other));
            }
        }
    }
}
