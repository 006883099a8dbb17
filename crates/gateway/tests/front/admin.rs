//! The operator's API: keys and teams, made and taken back while requests run.

use serde_json::{Value, json};

use crate::harness::client::ask;
use crate::harness::{Answer, Client, Gateway, World, post, providers};

const ADMIN_KEY: &str = "canary-admin-8842-kj1LQz";
const AS_ADMIN: &str = "authorization: Bearer canary-admin-8842-kj1LQz\r\n";

async fn world(more: &str) -> World {
    World::new(&format!("server: {{admin_key: {ADMIN_KEY}}}\n{more}")).await
}

impl Gateway {
    /// What the operator is told.
    async fn operate(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = format!("{AS_ADMIN}content-type: application/json\r\n");
        ask(self.addr, method, &format!("/admin/v1/{path}"), &headers, body.as_bytes()).await
    }

    async fn operated(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.operate(method, path, body).await;
        assert!([200, 201].contains(&answer.status), "{method} {path}: {answer:?}");
        answer.json()
    }

    async fn with_key(&self, key: &str) -> Answer {
        let body = Client::OpenAi.request("openai/sim", "Reply with exactly: ok", false).to_string();
        post(self.addr, Client::OpenAi.path(), &format!("authorization: Bearer {key}\r\n"), body.as_bytes()).await
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_key_is_made_shown_once_changed_and_revoked_and_every_request_knows_at_once() {
    let world = world("").await;
    let gateway = &world.gateway;
    let limits = json!({"requests_per_minute": 1000, "models": {"openai/sim": {"concurrent": 9}}});
    let answer = gateway.operate("POST", "keys", json!({"name": "web", "owner": "ada", "limits": limits})).await;
    let made = answer.json();
    assert_eq!((answer.status, answer.header("cache-control")), (201, Some("no-store")), "{answer:?}");
    assert_eq!((&made["name"], &made["state"], &made["limits"]), (&"web".into(), &"active".into(), &limits));
    let text = made["key"].as_str().unwrap();
    assert!(text.starts_with("llmgw_") && text.ends_with(made["last_four"].as_str().unwrap()), "{made}");
    assert_eq!((gateway.with_key(text).await.status, gateway.with_key("").await.status), (200, 401));

    let path = format!("keys/{}", made["id"].as_str().unwrap());
    let shown = gateway.operate("GET", &path, Value::Null).await;
    assert!(!shown.everything().contains(text) && shown.json()["key"].is_null(), "{shown:?}");
    let changed = gateway.operated("PATCH", &path, json!({"models": ["anthropic/*"], "owner": null})).await;
    assert_eq!(
        (&changed["models"], &changed["owner"], &changed["limits"]),
        (&json!(["anthropic/*"]), &Value::Null, &limits)
    );
    assert_eq!(gateway.with_key(text).await.status, 403);
    gateway.operated("PATCH", &path, json!({"models": null, "expires": "2026-01-01T00:00:00Z"})).await;
    let refused = gateway.with_key(text).await;
    assert!(refused.status == 401 && refused.text().contains("expired"), "{refused:?}");
    gateway.operated("PATCH", &path, json!({"expires": null})).await;
    assert_eq!(gateway.with_key(text).await.status, 200);

    let revoked = gateway.operated("DELETE", &path, Value::Null).await;
    assert_eq!((&revoked["state"], revoked["revoked"].is_string()), (&"revoked".into(), true));
    let refused = gateway.with_key(text).await;
    assert!(refused.status == 401 && refused.text().contains("revoked"), "{refused:?}");
    assert_eq!(gateway.operated("DELETE", &path, Value::Null).await, revoked, "once more changes nothing");
    assert_eq!(gateway.operate("PATCH", &path, json!({"name": "other"})).await.status, 400, "revoked is for ever");

    let told = gateway.operated("GET", "audit", Value::Null).await;
    let actions: Vec<&str> =
        told["entries"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["key.revoke", "key.update", "key.update", "key.update", "key.create"]);
    assert!(told["entries"].as_array().unwrap().iter().all(|entry| entry["actor"] == "admin"), "{told}");
    assert!(!told.to_string().contains(text) && !gateway.output().contains(text));
}

#[tokio::test]
async fn lists_come_in_pages_and_by_team_and_owner() {
    let world = world("").await;
    let gateway = &world.gateway;
    let empty = gateway.operated("GET", "keys", Value::Null).await;
    assert_eq!(empty, json!({"keys": [], "next": null}));
    let team = gateway.operated("POST", "teams", json!({"name": "Ada's team", "limits": {"concurrent": 3}})).await;
    let team_id = team["id"].as_str().unwrap();
    for n in 0..7 {
        let (team, owner) = (Some("Ada's team").filter(|_| n % 2 == 0), Some("Ada L.").filter(|_| n < 3));
        let made =
            gateway.operated("POST", "keys", json!({"name": format!("k{n}"), "team": team, "owner": owner})).await;
        assert_eq!(made["team"].as_str(), team.map(|_| team_id));
        if n == 6 {
            gateway.operated("DELETE", &format!("keys/{}", made["id"].as_str().unwrap()), Value::Null).await;
        }
    }
    let list = async |query: &str| gateway.operated("GET", &format!("keys?{query}"), Value::Null).await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("limit=4{cursor}")).await;
        seen.extend(names(&page["keys"]).iter().map(|name| (*name).to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["k0", "k1", "k2", "k3", "k4", "k5"]);
    for (query, expected) in [
        (format!("team={team_id}"), vec!["k0", "k2", "k4"]),
        ("team=Ada%27s%20team&revoked=true".to_owned(), vec!["k0", "k2", "k4", "k6"]),
        ("owner=Ada%20L.&team=Ada%27s%20team".to_owned(), vec!["k0", "k2"]),
        ("owner=nobody".to_owned(), vec![]),
    ] {
        assert_eq!(names(&list(&query).await["keys"]), expected, "{query}");
    }
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=-1",
        "cursor=x",
        "revoked=1",
        "owner=",
        "owner=a%00",
        "page=2",
        "limit=1&limit=1",
        "team=nobody",
    ] {
        let refused = gateway.operate("GET", &format!("keys?{query}"), Value::Null).await;
        let field = query.split('=').next().unwrap();
        assert_eq!((refused.status, &refused.json()["details"]["field"]), (400, &field.into()), "{query}: {refused:?}");
    }
    let teams = gateway.operated("GET", "teams?limit=1", Value::Null).await;
    assert_eq!(names(&teams["teams"]), ["Ada's team"]);
    let path = format!("teams/{team_id}");
    let changed =
        gateway.operated("PATCH", &path, json!({"limits": {"concurrent": null, "requests_per_minute": 5}})).await;
    assert_eq!(gateway.operated("GET", &path, Value::Null).await, changed);
    assert_eq!(changed["limits"], json!({"requests_per_minute": 5}));
    let last = gateway.operated("GET", "audit?limit=2", Value::Null).await;
    let before =
        gateway.operated("GET", &format!("audit?cursor={}", last["next"].as_str().unwrap()), Value::Null).await;
    assert_eq!((last["entries"][0]["number"].as_u64(), before["entries"][0]["number"].as_u64()), (Some(10), Some(8)));
}

#[tokio::test]
async fn all_that_is_wrong_with_a_body_is_told_by_field_and_nothing_is_done() {
    let world = world("").await;
    let gateway = &world.gateway;
    let wrong = json!({"hash": "x", "id": "key_1", "tags": "a", "routes": ["/admin/v1/keys", "/v1/message"],
                       "limits": {"concurrent": 0, "rpm": 1}});
    let refused = gateway.operate("POST", "keys", wrong).await;
    let problems = refused.json()["details"]["problems"].clone();
    let fields: Vec<&str> = problems.as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    let expected = ["name", "hash", "id", "tags", "routes[0]", "routes[1]", "limits.concurrent", "limits.rpm"];
    assert_eq!((refused.status, fields), (400, expected.to_vec()), "{refused:?}");
    let text = refused.text();
    assert!(text.contains("for the operator, and for no key") && text.contains("did you mean /v1/messages?"), "{text}");

    gateway.operated("POST", "keys", json!({"name": "web"})).await;
    let id = gateway.operated("GET", "keys", Value::Null).await["keys"][0]["id"].as_str().unwrap().to_owned();
    for (method, path, body, status, field) in [
        ("POST", "keys", json!({"name": "web"}), 400, "name"),
        ("POST", "keys", json!({"name": "a", "team": "nobody"}), 400, "team"),
        ("POST", "keys", json!({"name": "a", "team": "a\u{0}"}), 400, "team"),
        ("POST", "keys", json!({"name": "a", "tags": null}), 400, "tags"),
        ("POST", "keys", json!({"name": "a", "expires": "2026-01-01T00:00:00Z"}), 400, "expires"),
        ("PATCH", &format!("keys/{id}"), json!({"state": "revoked"}), 400, "state"),
        ("PATCH", &format!("keys/{id}"), json!({"name": null}), 400, "name"),
        (
            "PATCH",
            &format!("keys/{id}"),
            json!({"limits": {"models": {"fast": {"concurrent": 0}}}}),
            400,
            "limits.models.fast.concurrent",
        ),
        ("POST", "teams", json!({"name": "a", "owner": "b"}), 400, "owner"),
        ("POST", "keys", json!({"name": "x".repeat(1024 * 1024)}), 413, ""),
        ("GET", "keys/key_0123456789abcdef", Value::Null, 404, ""),
        ("PATCH", "keys/key_0123456789abcdef", json!({}), 404, ""),
        ("DELETE", "keys/web", Value::Null, 404, ""),
        ("DELETE", "keys/key_%00", Value::Null, 404, ""),
        ("GET", "teams/team_0123456789abcdef", Value::Null, 404, ""),
        ("PATCH", "teams/team_0123456789abcdef", json!({}), 404, ""),
        ("DELETE", "teams/team_0123456789abcdef", Value::Null, 405, ""),
        ("GET", "usage", Value::Null, 404, ""),
    ] {
        let answer = gateway.operate(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(
            answer.json()["details"]["field"].as_str().unwrap_or_default(),
            field,
            "{method} {path}: {answer:?}"
        );
    }
    let headers = format!("{AS_ADMIN}content-type: application/json\r\n");
    for body in ["", "[]", "null", "{", "{\"name\": \"a\", \"name\": \"b\"}", "{\"name\": \"\\ud800\"}"] {
        let answer = ask(gateway.addr, "POST", "/admin/v1/keys", &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    assert_eq!(gateway.operated("GET", "audit", Value::Null).await["entries"].as_array().unwrap().len(), 1);
}

/// Every one of the operator's routes.
const ROUTES: [(&str, &str); 11] = [
    ("POST", "keys"),
    ("GET", "keys"),
    ("GET", "keys/key_0123456789abcdef"),
    ("PATCH", "keys/key_0123456789abcdef"),
    ("DELETE", "keys/key_0123456789abcdef"),
    ("POST", "teams"),
    ("GET", "teams"),
    ("GET", "teams/team_0123456789abcdef"),
    ("PATCH", "teams/team_0123456789abcdef"),
    ("GET", "audit"),
    ("GET", "usage"),
];

#[tokio::test]
async fn only_the_operator_makes_keys_so_that_no_key_makes_a_broader_one() {
    let world = world("").await;
    let gateway = &world.gateway;
    let made = gateway.operated("POST", "keys", json!({"name": "everything"})).await;
    let key = format!("authorization: Bearer {}\r\n", made["key"].as_str().unwrap());
    let twice = format!("{key}x-api-key: {ADMIN_KEY}\r\n");
    let page = format!("{AS_ADMIN}origin: http://evil.example\r\n");
    let site = format!("{AS_ADMIN}sec-fetch-site: cross-site\r\n");
    for (method, path) in ROUTES {
        for (headers, status) in [("", 401), (&key, 403), (&twice, 403), (&page, 403), (&site, 403)] {
            let body = json!({"name": "broader"}).to_string();
            let answer = ask(gateway.addr, method, &format!("/admin/v1/{path}"), headers, body.as_bytes()).await;
            assert_eq!(answer.status, status, "{method} {path} {headers}: {answer:?}");
        }
    }
    assert_eq!(gateway.operated("GET", "audit", Value::Null).await["entries"].as_array().unwrap().len(), 1);

    let without = Gateway::start(&providers(&world.simulator)).await;
    for (method, path) in ROUTES {
        let answer = without.operate(method, path, json!({"name": "a"})).await;
        assert!(answer.status == 404 && answer.text().contains("GATEWAY_ADMIN_KEY"), "{answer:?}");
    }
    assert!(!without.folder().join("data").exists());
}

#[tokio::test]
async fn where_there_is_no_database_the_operator_is_told_what_to_set() {
    let folder = tempfile::TempDir::new().unwrap();
    let world = world("").await;
    std::fs::write(folder.path().join("gateway.yaml"), providers(&world.simulator)).unwrap();
    let env = [("REDIS_URL", "redis://127.0.0.1:1"), ("GATEWAY_ADMIN_KEY", ADMIN_KEY)];
    let gateway = Gateway::start_in(folder, &env).await;
    let answer = gateway.operate("GET", "keys", Value::Null).await;
    assert!(answer.status == 404 && answer.text().contains("DATABASE_URL"), "{answer:?}");

    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), providers(&world.simulator)).unwrap();
    let env = [("DATABASE_URL", "postgres://me:canary-password@127.0.0.1:1/none"), ("GATEWAY_ADMIN_KEY", ADMIN_KEY)];
    let gateway = Gateway::start_in(folder, &env).await;
    let answer = gateway.operate("POST", "keys", json!({"name": "web"})).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    assert!(!answer.everything().contains("canary-password"), "{answer:?}");
}
