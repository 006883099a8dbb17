//! Every route for everybody, in every place where a gateway may stand. What comes out is in `testdata/access.txt`, to be read
//! before it is changed: `UPDATE_GOLDEN=1 cargo test -p llm-gateway access::` writes it again.

mod scopes;

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use http::{Method, Request};

use super::*;
use crate::api::routes::{self, Found, ROUTES};
use crate::keys::ring::Entry;
use crate::keys::{KeySettings, Second, TeamSettings, text};

const ADMIN_KEY: &str = "the-operator-s-own-key-4711";

fn list(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

fn settings(name: &str, routes: Option<Vec<String>>) -> KeySettings {
    KeySettings { routes, ..KeySettings::named(name) }
}

/// The keys of the places that have some.
static KEYS: LazyLock<KeyRing> = LazyLock::new(|| {
    let entry = |text: &str, settings: KeySettings, team: Option<TeamSettings>| {
        let team = team.map(|team| (Arc::new(team.team("team_1".into())), team.scope()));
        let hash = text::read(text).unwrap();
        let key = settings.key(text.into(), hash, team.as_ref().map(|(team, scope)| (team.clone(), scope)));
        (hash, Entry::Live(Arc::new(key)))
    };
    let expired = KeySettings { expires: Some(Second(1)), ..settings("expired", None) };
    let team = |routes: &[&str]| Some(TeamSettings { routes: list(routes), ..TeamSettings::named("team") });
    let ring = KeyRing::new();
    ring.replace(vec![
        entry("key-whole", settings("whole", None), None),
        entry("key-lists", settings("lists", list(&["/v1/models"])), None),
        entry("key-watch", settings("watch", list(&["/metrics", "/health"])), None),
        entry("key-team", settings("of a team", list(&["/v1/messages", "/metrics"])), team(&["/v1/messages"])),
        entry("key-other", settings("of another team", list(&["/v1/messages"])), team(&["/v1/models"])),
        entry("key-expired", expired, None),
        (text::read("key-revoked").unwrap(), Entry::Revoked),
        (text::read("key-away").unwrap(), Entry::Unreadable),
    ]);
    ring
});

static NO_KEYS: LazyLock<KeyRing> = LazyLock::new(KeyRing::new);

/// What each caller shows.
const CALLERS: [(&str, &[(&str, &str)]); 15] = [
    ("nobody", &[]),
    ("twice", &[("x-api-key", "key-whole"), ("x-api-key", "key-whole")]),
    ("malformed", &[("authorization", "Bearer llmgw_key-whole")]),
    ("unknown", &[("authorization", "Bearer key-nobody-has")]),
    ("expired", &[("authorization", "Bearer key-expired")]),
    ("revoked", &[("authorization", "Bearer key-revoked")]),
    ("away", &[("authorization", "Bearer key-away")]),
    ("whole", &[("authorization", "Bearer key-whole")]),
    ("lists", &[("x-api-key", "key-lists")]),
    ("watch", &[("x-goog-api-key", "key-watch")]),
    ("of a team", &[("authorization", "Bearer key-team")]),
    ("other team", &[("authorization", "Bearer key-other")]),
    ("admin", &[("authorization", "Bearer the-operator-s-own-key-4711")]),
    ("other admin", &[("authorization", "Bearer the-operator-s-own-key-4712")]),
    ("admin of a page", &[("api-key", "the-operator-s-own-key-4711"), ("origin", "http://evil.example")]),
];

struct Place {
    name: &'static str,
    admin_key: bool,
    admin_door: bool,
    allow_anonymous: bool,
    keys: bool,
    door: Door,
    loopback: bool,
}

const PLACES: [Place; 8] = [
    Place { name: "loopback, nothing configured", loopback: true, ..PLAIN },
    Place { name: "loopback, admin key", loopback: true, admin_key: true, ..PLAIN },
    Place { name: "loopback, keys and admin key", loopback: true, keys: true, admin_key: true, ..PLAIN },
    Place { name: "network, anonymous allowed", allow_anonymous: true, ..PLAIN },
    Place { name: "network, keys", keys: true, ..PLAIN },
    Place { name: "network, keys and admin key", keys: true, admin_key: true, ..PLAIN },
    Place { name: "network, beside an admin listener", keys: true, admin_key: true, admin_door: true, ..PLAIN },
    Place { name: "the admin listener", keys: true, admin_key: true, admin_door: true, door: Door::Admin, ..PLAIN },
];
const PLAIN: Place = Place {
    name: "",
    admin_key: false,
    admin_door: false,
    allow_anonymous: false,
    keys: false,
    door: Door::Public,
    loopback: false,
};

impl Place {
    fn guard(&self) -> Guard {
        let admin = self.admin_key.then(|| Secret::new(ADMIN_KEY));
        Guard::new(admin.as_ref(), self.admin_door, Vec::new(), self.allow_anonymous)
    }

    fn approach(&self) -> Approach {
        let address = if self.loopback { [127, 0, 0, 1] } else { [192, 0, 2, 7] };
        Approach { door: self.door, address: address.into(), to_loopback: self.loopback, from_loopback: self.loopback }
    }

    fn decide(&self, row: &Row, lines: &[(&str, &str)]) -> Result<Granted, GatewayError> {
        let request = Request::builder().uri("/").header("host", "localhost");
        let request = lines.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let head = request.body(()).unwrap().into_parts().0;
        self.guard().authorize(row, &head, self.approach(), if self.keys { &KEYS } else { &NO_KEYS })
    }

    fn cell(&self, row: &Row, lines: &[(&str, &str)]) -> String {
        match self.decide(row, lines) {
            Ok(Granted { details: false, .. }) if row.right == Right::Outline => "outline".to_owned(),
            Ok(Granted { caller: Caller::Address(_), .. }) => "in".to_owned(),
            Ok(Granted { caller: Caller::Key(_), .. }) => "key".to_owned(),
            Ok(Granted { caller: Caller::Admin, .. }) => "ADMIN".to_owned(),
            Err(error) => error.kind.row().status.to_string(),
        }
    }
}

#[test]
fn every_route_lets_in_whom_it_should_and_nobody_else() {
    let mut text =
        String::from("in: without a key; key, ADMIN: by theirs; outline: without details; else the status\n");
    for place in PLACES {
        write!(text, "\n{}\n{:32}", place.name, "").unwrap();
        CALLERS.iter().for_each(|(name, _)| write!(text, " {name:>8}").unwrap());
        for row in ROUTES {
            write!(text, "\n{:32}", row.name).unwrap();
            for (name, lines) in CALLERS {
                write!(text, " {:>width$}", place.cell(row, lines), width = name.len().max(8)).unwrap();
            }
        }
        text.push('\n');
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/access.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text, "differs; see what UPDATE_GOLDEN=1 changes in it");
}

#[test]
fn what_must_never_be() {
    for place in PLACES {
        for row in ROUTES {
            for (name, lines) in CALLERS {
                let granted = place.decide(row, lines);
                let what = format!("{}: {} by {name}: {granted:?}", place.name, row.name);
                let caller = granted.as_ref().ok().map(|granted| &granted.caller);
                if row.right == Right::Open || row.right == Right::Outline {
                    assert!(granted.is_ok(), "no key is asked for: {what}");
                }
                if row.right == Right::Administer {
                    assert!(matches!(caller, None | Some(Caller::Admin)), "{what}");
                }
                if !["admin", "admin of a page"].contains(&name) || !place.admin_key {
                    assert_ne!(caller, Some(&Caller::Admin), "{what}");
                }
                if row.right == Right::Use && place.keys && !place.loopback {
                    assert!(!matches!(caller, Some(Caller::Address(_))), "{what}");
                }
                if ["expired", "revoked", "malformed", "unknown", "twice", "away"].contains(&name) {
                    assert!(!matches!(caller, Some(Caller::Key(_))), "{what}");
                }
                if place.admin_door && place.door == Door::Public {
                    assert_ne!(caller, Some(&Caller::Admin), "the admin key is good at its own door alone: {what}");
                }
            }
        }
    }
}

#[test]
fn a_refusal_says_which_and_never_repeats_the_key() {
    let place = Place { keys: true, admin_key: true, ..PLAIN };
    let row = ROUTES.iter().find(|row| row.path == "/v1/completions").unwrap();
    for (name, says) in [
        ("nobody", "wants a key"),
        ("twice", "one key, in one header"),
        ("malformed", "not known"),
        ("unknown", "not known"),
        ("expired", "has expired"),
        ("revoked", "was revoked"),
        ("away", "cannot be checked"),
        ("lists", "it may call: /v1/models"),
        ("other admin", "not known"),
    ] {
        let (_, lines) = CALLERS.iter().find(|(caller, _)| *caller == name).unwrap();
        let error = place.decide(row, lines).unwrap_err();
        assert!(error.message.contains(says), "{name}: {error}");
        for (_, value) in *lines {
            assert!(!format!("{error:?}").contains(value), "{name}: {error:?}");
        }
    }
}

#[test]
fn a_request_that_came_through_a_proxy_is_not_one_of_this_machine() {
    let place = Place { loopback: true, keys: true, admin_key: true, ..PLAIN };
    let row = ROUTES.iter().find(|row| row.path == "/metrics").unwrap();
    assert_eq!(place.cell(row, &[]), "in");
    for name in ["x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-host", "x-forwarded-proto"] {
        assert_eq!(place.cell(row, &[(name, "127.0.0.1")]), "401", "{name}");
    }
}

/// The way that is decided about is the way that is gone: both are the row, and there is one table.
#[test]
fn no_spelling_of_a_path_is_let_in_as_another_row() {
    let place = Place { keys: true, admin_key: true, ..PLAIN };
    let tricks = [
        "/v1/../metrics",
        "/v1/models/../../metrics",
        "/%6detrics",
        "/metrics/",
        "//metrics",
        "/./metrics",
        "/metrics%00",
        "/metrics;x",
        "/METRICS",
        "/health/..%2fmetrics",
        "/openai/metrics",
        "/openai/v1/../../metrics",
        "/anthropic/v1/..;/metrics",
        "/livez/../metrics",
        "/docs/../metrics",
        "/v1%2fcompletions",
        "/%2e%2e/v1/completions",
        "/v1//completions",
        "/v1\\completions",
        "/openai/openai/v1/completions",
    ];
    for path in tricks {
        for method in [Method::GET, Method::POST, Method::HEAD, Method::DELETE] {
            let Found::Row { row, parameter, .. } = routes::find(&method, path) else { continue };
            assert!(row.path.contains('{') && !parameter.is_empty(), "{method} {path} is {}", row.name);
            assert_eq!(place.cell(row, &[]), "401", "{method} {path} is {}", row.name);
        }
    }
    for row in ROUTES {
        let Found::Row { row: found, .. } = routes::find(&row.method, row.path) else { panic!("{}", row.name) };
        assert!(std::ptr::eq(found, row), "{} is {}", row.name, found.name);
    }
}
