//! Who is let in, seen from outside.

use std::time::Duration;

use crate::harness::client::ask;
use crate::harness::{Answer, Client, Gateway, World, eventually, get, post};

const ADMIN_KEY: &str = "canary-admin-8842-kj1LQz";

fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

/// The request of one caller, and whether another one is told of it.
async fn is_told(world: &World, of: &str, to: &str) -> bool {
    let answer = world.ask_with(Client::OpenAi, "openai/sim", "hi", false, of).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let path = format!("/v1/requests/{}", answer.request_id());
    let told = ask(world.gateway.addr, "GET", &path, to, b"").await;
    assert!([200, 404].contains(&told.status), "{told:?}");
    told.status == 200
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_told_apart_and_cannot_pass_for_each_other() {
    let world = World::new("server: {trusted_proxies: [127.0.0.1]}\n").await;
    let (ann, ben) = ("x-forwarded-for: 192.0.2.1\r\n", "x-forwarded-for: 192.0.2.2\r\n");
    assert!(is_told(&world, ann, ann).await);
    assert!(!is_told(&world, ann, ben).await);
    // Ben claims to be Ann; his proxy adds where he really is.
    assert!(!is_told(&world, ann, "x-forwarded-for: 192.0.2.1, 192.0.2.2\r\n").await);
    assert!(is_told(&world, ben, "x-forwarded-for: 192.0.2.1, 192.0.2.2\r\n").await);
    assert!(!is_told(&world, ann, "x-forwarded-for: 192.0.2.2\r\nforwarded: for=192.0.2.1\r\n").await);
    assert!(is_told(&world, ann, "forwarded: for=\"192.0.2.1:4711\";proto=https\r\n").await);
}

#[tokio::test]
async fn forwarded_addresses_of_others_than_trusted_proxies_are_not_believed() {
    let world = World::new("server: {trusted_proxies: [192.0.2.0/24]}\n").await;
    assert!(is_told(&world, "x-forwarded-for: 192.0.2.1\r\n", "x-forwarded-for: 192.0.2.2\r\n").await);
}

#[tokio::test]
async fn the_operator_is_told_of_everybodys_requests() {
    let world = World::new(&format!("server: {{admin_key: {ADMIN_KEY}, trusted_proxies: [127.0.0.1]}}\n")).await;
    let ann = "x-forwarded-for: 192.0.2.1\r\n";
    assert!(is_told(&world, ann, &bearer(ADMIN_KEY)).await);
    assert!(world.gateway.log().iter().all(|line| line["key"].is_null()));
    assert!(!is_told(&world, ann, &bearer("canary-admin-8842-kj1LQy")).await);
    assert!(!is_told(&world, &bearer(ADMIN_KEY), ann).await);
    world.gateway.told_of(|line| line["key"] == "admin").await;
}

async fn status(gateway: &Gateway, path: &str, headers: &str) -> u16 {
    ask(gateway.addr, "GET", path, headers, b"").await.status
}

#[tokio::test]
async fn how_the_gateway_is_run_is_told_to_this_machine_and_to_the_operator() {
    let world = World::new(&format!("server: {{admin_key: {ADMIN_KEY}}}\n")).await;
    let gateway = &world.gateway;
    let details = async |headers: &str| {
        let health = ask(gateway.addr, "GET", "/health", headers, b"").await;
        assert_eq!(health.status, 200, "{health:?}");
        let shown = health.json()["providers"].as_object().unwrap().len();
        assert_eq!(shown == 0, health.json()["configuration"].is_null(), "{health:?}");
        shown > 0
    };
    assert_eq!(status(gateway, "/metrics", "").await, 200);
    assert!(details("").await);
    let through_a_proxy = "x-forwarded-for: 127.0.0.1\r\n";
    assert_eq!(status(gateway, "/metrics", through_a_proxy).await, 401);
    assert!(!details(through_a_proxy).await);
    let operator = format!("{through_a_proxy}{}", bearer(ADMIN_KEY));
    assert_eq!(status(gateway, "/metrics", &operator).await, 200);
    assert!(details(&operator).await);
    for path in ["/livez", "/readyz", "/health/live", "/health/ready", "/"] {
        assert_eq!(status(gateway, path, through_a_proxy).await, 200, "{path}");
        assert_eq!(status(gateway, path, &bearer("nobody-s-key")).await, 200, "{path}");
    }
}

#[tokio::test]
async fn a_refusal_says_how_to_authenticate() {
    let world = World::new(&format!("server: {{admin_key: {ADMIN_KEY}}}\n")).await;
    let refused = ask(world.gateway.addr, "GET", "/metrics", "via: 1.1 proxy\r\n", b"").await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")), "{refused:?}");
    assert_eq!(refused.json()["error"], "unauthorized");
    let line = world.gateway.told(refused.request_id()).await;
    assert_eq!((&line["status"], &line["outcome"]), (&401.into(), &"client_error".into()), "{line}");
}

/// The gateway that listens for its operator at `admin`.
async fn with_admin_listener(world: &World) -> std::net::SocketAddr {
    let line = || world.gateway.events("listening").pop();
    let line = eventually("where it listens", Duration::from_secs(5), line).await;
    line["admin_address"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn with_a_listener_of_their_own_the_operators_routes_are_there_alone() {
    let world = World::new(&format!("server: {{admin_key: {ADMIN_KEY}, admin_addr: '127.0.0.1:0'}}\n")).await;
    let admin = with_admin_listener(&world).await;
    let on = async |addr, path: &str, headers: &str| ask(addr, "GET", path, headers, b"").await.status;
    assert_eq!(status(&world.gateway, "/metrics", "").await, 404);
    assert_eq!(status(&world.gateway, "/metrics", &bearer(ADMIN_KEY)).await, 404);
    assert_eq!(on(admin, "/metrics", "").await, 200);
    assert_eq!(on(admin, "/metrics", "via: 1.1 proxy\r\n").await, 401);
    assert_eq!(on(admin, "/health", "").await, 200);
    assert_eq!(on(admin, "/readyz", "").await, 200);
    // It is no way around anything.
    assert_eq!(on(admin, "/v1/models", "").await, 401);
    assert_eq!(on(admin, "/v1/models", &bearer(ADMIN_KEY)).await, 200);
    let body = Client::OpenAi.request("openai/sim", "hi", false).to_string();
    let refused: Answer = post(admin, Client::OpenAi.path(), "", body.as_bytes()).await;
    assert_eq!(refused.status, 401, "{refused:?}");
    // And the admin key, which is good there, is nobody's key here.
    let answer = world.ask_with(Client::OpenAi, "openai/sim", "hi", false, &bearer(ADMIN_KEY)).await;
    let told = ask(admin, "GET", &format!("/v1/requests/{}", answer.request_id()), &bearer(ADMIN_KEY), b"").await;
    assert_eq!((answer.status, told.status), (200, 200), "{answer:?} {told:?}");
    let of_caller = get(world.gateway.addr, &format!("/v1/requests/{}", answer.request_id())).await;
    assert_eq!(of_caller.status, 200, "it was asked without a key that counts: {of_caller:?}");
}

#[tokio::test]
async fn the_operators_listener_answers_while_the_other_has_as_many_connections_as_it_may() {
    let more = format!("server: {{admin_key: {ADMIN_KEY}, admin_addr: '127.0.0.1:0', max_connections: 2}}\n");
    let world = World::new(&more).await;
    let admin = with_admin_listener(&world).await;
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(tokio::net::TcpStream::connect(world.gateway.addr).await.unwrap());
    }
    let asked = tokio::time::timeout(Duration::from_secs(5), get(admin, "/metrics")).await.unwrap();
    assert_eq!(asked.status, 200, "{asked:?}");
    drop(held);
}

#[tokio::test]
async fn the_operators_key_is_told_to_nobody() {
    let world = World::new(&format!("server: {{admin_key: {ADMIN_KEY}}}\n")).await;
    let wrong = "canary-wrong-8842-kj1LQz";
    for key in [ADMIN_KEY, wrong] {
        for name in ["authorization: Bearer ", "x-api-key: ", "api-key: ", "x-goog-api-key: "] {
            let header = format!("{name}{key}\r\n");
            for client in Client::ALL {
                let answer = world.ask_with(client, "openai/fault:status=400", "hi", false, &header).await;
                world.gateway.told(answer.request_id()).await;
                assert!(!answer.everything().contains(key), "{answer:?}");
            }
            for path in ["/metrics", "/health", "/v1/providers", "/v1/requests/req_1"] {
                let answer = ask(world.gateway.addr, "GET", path, &format!("via: p\r\n{header}"), b"").await;
                assert!(!answer.everything().contains(key), "{answer:?}");
            }
        }
        assert!(!world.gateway.output().contains(key));
        let sent = world.simulator.ledger();
        assert!(!sent.is_empty() && !sent.iter().any(|entry| format!("{entry:?}").contains(key)));
    }
}

/// Ways to ask for `path` that some program between a client and a server once took for another path.
fn spellings(path: &str, host: std::net::SocketAddr) -> Vec<(String, String)> {
    let bare = path.trim_start_matches('/');
    let targets = [
        format!("/livez/..{path}"),
        format!("/livez/%2e%2e{path}"),
        format!("/livez/%252e%252e{path}"),
        format!("/livez/..;{path}"),
        format!("/livez;{path}"),
        format!("/livez%00{path}"),
        format!("/livez\\..\\{bare}"),
        format!("/livez?{path}"),
        format!("//{bare}"),
        format!("/.{path}"),
        format!("{path}/"),
        format!("{path}/."),
        format!("{path}%20"),
        format!("{path};a=b"),
        format!("{path}.json"),
        format!("/%{:02x}{}", bare.as_bytes()[0], &bare[1..]),
        path.to_ascii_uppercase(),
        format!("/openai{path}"),
        format!("/openai/v1/..{path}"),
        format!("http://{host}{path}"),
        format!("http://{host}/livez/..{path}"),
        format!("http://127.0.0.1{path}"),
        format!("{path}?x=/livez"),
        format!("{path}#/livez"),
    ];
    let rewritten =
        ["x-original-url", "x-rewrite-url", "x-forwarded-path", "x-forwarded-uri", "x-http-method-override"];
    let hidden = rewritten.into_iter().map(|name| ("/livez".to_owned(), format!("{name}: {path}\r\n")));
    targets.into_iter().map(|target| (target, String::new())).chain(hidden).collect()
}

/// The table of routes finds the row and the gate decides about that row, so that no spelling can be one path to the one and
/// another to the other.
#[tokio::test]
async fn no_spelling_of_a_path_is_a_way_around_its_right() {
    let world = World::new(&format!("server: {{admin_key: {ADMIN_KEY}}}\n")).await;
    let host = world.gateway.addr;
    let outside = "via: 1.1 proxy\r\n";
    let (mut reached, mut refused) = (0, 0);
    for (target, header) in spellings("/metrics", host) {
        let asked = async |more: &str| ask(host, "GET", &target, &format!("{outside}{header}{more}"), b"").await;
        let (anybody, operator) = (asked("").await, asked(&bearer(ADMIN_KEY)).await);
        let is_it = |answer: &Answer| answer.text().contains("gateway_requests_in_flight");
        assert!(!is_it(&anybody), "{target} {header}: {anybody:?}");
        // Whatever is the route for one is the route for the other.
        if is_it(&operator) {
            assert_eq!(anybody.status, 401, "{target} {header}: {anybody:?}");
            reached += 1;
        } else {
            assert_eq!(
                (anybody.status, anybody.text().len()),
                (operator.status, operator.text().len()),
                "{target} {header}"
            );
            refused += 1;
        }
    }
    assert!(reached >= 3 && refused >= 15, "{reached} {refused}");
}
