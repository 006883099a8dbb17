//! Virtual keys through the front doors: the command line, and the gateway that knows what it did.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use simulator::Simulator;
use tempfile::TempDir;

use crate::harness::gateway::{Gateway, refused};
use crate::harness::postgres::Postgres;
use crate::harness::{Answer, Client, get, post, providers};

/// `llm-gateway keys ARGUMENTS` in `folder`.
fn run(folder: &Path, env: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-gateway"));
    command.current_dir(folder).env_clear().envs(env.iter().copied()).arg("keys").args(arguments);
    command.output().unwrap()
}

/// What it prints; it must succeed.
fn keys(folder: &Path, env: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = run(folder, env, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it complains of; it must fail.
fn complaint(folder: &Path, env: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = run(folder, env, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

async fn knows(gateway: &Gateway, count: f64) {
    let began = Instant::now();
    while gateway.metric("gateway_keys", "").await != count {
        assert!(began.elapsed() < Duration::from_secs(1), "not {count} keys after a second");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_key_is_made_shown_once_listed_and_revoked() {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    let nothing = complaint(at, &[], &["list"]);
    assert!(nothing.contains("there is no SQLite file data/llm-gateway.db yet"), "{nothing}");
    assert!(!at.join("data").exists(), "looking makes no file");

    keys(at, &[], &["teams", "create", "search", "--rpm", "600"]);
    let create =
        ["create", "--name", "web", "--team", "search", "--tag", "prod", "--model", "openai/*", "--expires", "30d"];
    let made = run(at, &[("USER", "ada")], &create);
    let text = String::from_utf8(made.stdout).unwrap();
    let text = text.strip_suffix('\n').unwrap();
    assert!(text.starts_with("llmgw_") && text.len() == 55, "nothing but the key: {text:?}");
    let words = String::from_utf8(made.stderr).unwrap();
    assert!(words.contains("never again") && !words.contains(text), "{words}");
    let mode = |path: &str| std::fs::metadata(at.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("data/llm-gateway.db"), mode("data")), (0o600, 0o700));

    let listed = keys(at, &[], &["list"]);
    let row = listed.lines().find(|line| line.starts_with("web ")).unwrap();
    assert!(row.contains(&text[51..]) && row.contains("active"), "{listed}");
    let shown: Value = serde_json::from_str(&keys(at, &[], &["show", "web", "--json"])).unwrap();
    assert_eq!((&shown["models"][0], &shown["tags"][0]), (&"openai/*".into(), &"prod".into()));
    assert_eq!(shown["last_four"], text[51..]);
    let revoked = keys(at, &[], &["revoke", "web"]);
    assert!(revoked.contains("web") && revoked.contains("is revoked"), "{revoked}");
    assert_eq!(keys(at, &[], &["list"]).lines().count(), 1, "its head alone");
    assert!(keys(at, &[], &["list", "--revoked"]).contains("revoked"));
    let told = keys(at, &[], &["audit"]);
    assert!(told.contains("cli:ada") && told.contains("key.revoke"), "{told}");
    assert!(keys(at, &[], &["audit", "--verify"]).contains("as it was written"));

    // What is in the files is not the key.
    for file in std::fs::read_dir(at.join("data")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(20).any(|window| window == &text.as_bytes()[6..26]), "the key is on the disk");
    }
}

#[test]
fn what_cannot_be_is_said_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    keys(at, &[], &["create", "--name", "web"]);
    for (arguments, says) in [
        (&["create", "--name", "web"][..], "the name \"web\" is taken"),
        (&["create", "--name", "x", "--team", "none"], "`llm-gateway keys teams list` shows them"),
        (&["create", "--name", "x", "--rpm", "0"], "limits.requests_per_minute is not from 1"),
        (&["create", "--name", "x", "--route", "/v1/message"], "did you mean /v1/messages?"),
        (&["create", "--name", "x", "--expires", "soon"], "is not a time: write 2027-01-31"),
        (&["create", "--name", "x", "--expires", "2020-01-01"], "that time has passed"),
        (&["revoke", "nobody"], "there is no key \"nobody\""),
    ] {
        let told = complaint(at, &[], arguments);
        assert!(told.contains(says), "{arguments:?}: {told}");
    }
    let url = [("DATABASE_URL", "postgres://me:canary-password@127.0.0.1:1/none")];
    let told = complaint(at, &url, &["list"]);
    assert!(told.contains("PostgreSQL at 127.0.0.1:1, database none cannot be reached"), "{told}");
    assert!(!told.contains("canary"), "{told}");
    let redis = [("REDIS_URL", "redis://127.0.0.1:1")];
    assert!(complaint(at, &redis, &["list"]).contains("set DATABASE_URL=postgres://"));
    // What is wrong with the rest of the configuration is no matter here.
    std::fs::write(at.join("gateway.yaml"), "providers: {openai: {api_key: \"${MISSING}\"}}\nnonsense: 1\n").unwrap();
    assert!(keys(at, &[], &["list"]).contains("web"));
}

/// No file may become larger than 4 KiB: to the program that is a disk without room.
#[test]
fn on_a_full_disk_no_key_is_made_and_none_is_lost() {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    keys(at, &[], &["create", "--name", "first"]);
    let program = env!("CARGO_BIN_EXE_llm-gateway");
    let full = format!("trap '' XFSZ; ulimit -f 8; exec '{program}' keys create --name second");
    let output = Command::new("sh").current_dir(at).env_clear().args(["-c", &full]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]), "{told}");
    assert!(told.contains("the SQLite file data/llm-gateway.db says: disk I/O error"), "{told}");
    let list = keys(at, &[], &["list"]);
    assert!(list.contains("first") && !list.contains("second"), "{list}");
    keys(at, &[], &["create", "--name", "second"]);
    assert!(keys(at, &[], &["audit", "--verify"]).contains("every entry is as it was written"));
}

#[tokio::test]
async fn a_gateway_without_keys_makes_no_file_and_knows_within_a_second_when_one_is_made() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&providers(&simulator)).await;
    assert!(!gateway.folder().join("data").exists());
    let ready = get(gateway.addr, "/health/ready").await.json();
    assert_eq!(ready, serde_json::json!({"status": "ready", "degraded": []}));
    keys(gateway.folder(), &[], &["create", "--name", "web"]);
    knows(&gateway, 1.0).await;
    assert_eq!(gateway.metric("gateway_database_up", "").await, 1.0);
    keys(gateway.folder(), &[], &["create", "--name", "app"]);
    knows(&gateway, 2.0).await;
}

#[tokio::test]
async fn off_loopback_a_gateway_starts_only_if_there_are_keys() {
    let open = [("OPENAI_API_KEY", "k"), ("HOST", "0.0.0.0")];
    let none = refused("", &open);
    assert_eq!(none.code, Some(2));
    assert!(none.complaint.contains("callers would need no key"), "{}", none.complaint);
    assert!(none.complaint.contains("llm-gateway keys create"), "{}", none.complaint);

    let folder = TempDir::new().unwrap();
    keys(folder.path(), &open, &["create", "--name", "web"]);
    keys(folder.path(), &open, &["revoke", "web"]);
    // Revoked or not: whoever has made one wants them to be asked for.
    let gateway = Gateway::start_in(folder, &open).await;
    assert_eq!(gateway.events("database up")[0]["keys"], 1);
}

/// What a request with this key for this model gets.
async fn asked(gateway: &Gateway, key: &str, model: &str) -> Answer {
    let body = Client::OpenAi.request(model, "Reply with exactly: canary", false).to_string();
    post(gateway.addr, Client::OpenAi.path(), &format!("authorization: Bearer {key}\r\n"), body.as_bytes()).await
}

async fn status(gateway: &Gateway, key: &str) -> u16 {
    asked(gateway, key, "openai/sim").await.status
}

/// Asks with the key until the gateway answers so; how long that took.
async fn answers(gateway: &Gateway, key: &str, expected: u16, patience: Duration) -> Duration {
    let began = Instant::now();
    loop {
        let found = status(gateway, key).await;
        if found == expected {
            return began.elapsed();
        }
        assert!(began.elapsed() < patience, "{found}, and not {expected} within {patience:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn simulator() -> Simulator {
    Simulator::start(simulator::Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap()
}

fn with_file(yaml: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    folder
}

fn made(folder: &Path, env: &[(&str, &str)], arguments: &[&str]) -> String {
    keys(folder, env, &[&["create"], arguments].concat()).trim_end().to_owned()
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn where_there_is_a_key_callers_need_one_that_may_do_what_they_ask() {
    let simulator = simulator().await;
    let digest = sha256("operators-own-key");
    let yaml = providers(&simulator) + &format!("keys: [{{name: file, hash: 'sha256:{digest}'}}]\n");
    let gateway = Gateway::start_in(with_file(&yaml), &[]).await;
    assert_eq!(status(&gateway, "").await, 401);
    assert_eq!(status(&gateway, "operators-own-key").await, 200, "a key of the file may look as it likes");

    let at = gateway.folder();
    let free = made(at, &[], &["--name", "free"]);
    let narrow = made(at, &[], &["--name", "narrow", "--model", "anthropic/*", "--route", "/v1/messages"]);
    let model = made(at, &[], &["--name", "model", "--model", "anthropic/*"]);
    keys(at, &[], &["teams", "create", "search", "--model", "anthropic/*"]);
    let of_team = made(at, &[], &["--name", "of team", "--team", "search"]);
    knows(&gateway, 4.0).await;
    assert_eq!(status(&gateway, &free).await, 200);
    for (key, says) in [(&narrow, "may not call"), (&model, "may not use"), (&of_team, "may not use")] {
        let refused = asked(&gateway, key, "openai/sim").await;
        assert_eq!((refused.status, refused.text().contains(says)), (403, true), "{refused:?}");
    }
    assert_eq!(asked(&gateway, &of_team, "anthropic/sim").await.status, 200);
    for unknown in [&free[..54], "llmgw_", "nobody", &"k".repeat(600)] {
        assert_eq!(status(&gateway, unknown).await, 401, "{unknown}");
    }

    // A key that leaves the file is none any more.
    std::fs::write(at.join("gateway.yaml"), providers(&simulator)).unwrap();
    gateway.signal("HUP");
    answers(&gateway, "operators-own-key", 401, 5 * SECOND).await;
    assert_eq!(status(&gateway, &free).await, 200);
    assert!(!gateway.output().contains(&free[10..30]));
}

#[tokio::test]
async fn a_key_has_its_own_limits_those_of_its_team_and_else_the_general_ones_until_it_expires() {
    let simulator = simulator().await;
    let key = |name: &str, more: &str| format!("  - {{name: {name}, hash: 'sha256:{}'{more}}}\n", sha256(name));
    let yaml = providers(&simulator)
        + "limits: {requests_per_minute: 4}\nteams: {search: {limits: {requests_per_minute: 3}}}\nkeys:\n"
        + &key("own", ", limits: {requests_per_minute: 2}")
        + &key("general", "")
        + &key("one", ", team: search")
        + &key("two", ", team: search")
        + &key("old", ", expires: 2026-01-01T00:00:00Z");
    let gateway = Gateway::start_in(with_file(&yaml), &[]).await;
    for (key, expected, says) in [
        ("own", vec![200, 200, 429], "2 requests a minute for this key"),
        ("general", vec![200, 200, 200, 200, 429], "4 requests a minute for this key"),
        ("one", vec![200, 200], ""),
        ("two", vec![200, 429], "3 requests a minute for the team of this key"),
        ("old", vec![401], "expired"),
    ] {
        let mut last = String::new();
        let mut found = Vec::new();
        for _ in &expected {
            let answer = asked(&gateway, key, "openai/sim").await;
            found.push(answer.status);
            last = answer.text();
        }
        assert!(found == expected && last.contains(says), "{key}: {found:?}, and not {expected:?}; {last}");
    }
}

fn sha256(text: &str) -> String {
    let mut command = Command::new("sha256sum");
    let mut child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
}

#[tokio::test]
async fn two_gateways_on_one_file_refuse_a_revoked_key_within_a_second() {
    let simulator = simulator().await;
    let shared = TempDir::new().unwrap();
    let url = format!("sqlite://{}/keys.db", shared.path().display());
    let env = [("DATABASE_URL", url.as_str())];
    let one = Gateway::start_in(with_file(&providers(&simulator)), &env).await;
    let other = Gateway::start_in(with_file(&providers(&simulator)), &env).await;
    assert_eq!(status(&one, "anything").await, 200, "there are no keys yet, and this is loopback");
    let key = made(one.folder(), &env, &["--name", "web"]);
    tokio::join!(answers(&one, "", 401, SECOND), answers(&other, "", 401, SECOND));
    assert_eq!((status(&one, &key).await, status(&other, &key).await), (200, 200));
    keys(one.folder(), &env, &["revoke", "web"]);
    tokio::join!(answers(&one, &key, 401, SECOND), answers(&other, &key, 401, SECOND));
    let told = asked(&one, &key, "openai/sim").await.text();
    assert!(told.contains("revoked"), "{told}");

    // A file that is put away is not the same as no keys, and one that is put back is found.
    let (there, away) = (shared.path().join("keys.db"), shared.path().join("away.db"));
    std::fs::rename(&there, &away).unwrap();
    answers(&one, UNKNOWN, 503, 4 * SECOND).await;
    assert_eq!(status(&one, &key).await, 401);
    std::fs::rename(&away, &there).unwrap();
    answers(&one, UNKNOWN, 401, 3 * SECOND).await;
}

/// A key of the right look that nobody has.
const UNKNOWN: &str = "llmgw_00000000000000000000000000000000000000000003kitlf";

#[tokio::test]
async fn two_gateways_share_a_postgres_that_starts_empty_freezes_crashes_and_comes_back() {
    let Some(mut postgres) = Postgres::start() else { return };
    let url = postgres.url("postgres");
    let env = [("DATABASE_URL", url.as_str())];
    let simulator = simulator().await;
    let start = async || Gateway::start_in(with_file(&providers(&simulator)), &env).await;
    let (one, other) = tokio::join!(start(), start());
    let key = made(one.folder(), &env, &["--name", "web"]);
    tokio::join!(answers(&one, "", 401, SECOND), answers(&other, "", 401, SECOND));
    assert_eq!((status(&one, &key).await, status(&other, &key).await), (200, 200));

    postgres.freeze(true);
    answers(&one, UNKNOWN, 503, 4 * SECOND).await;
    let began = Instant::now();
    assert_eq!(status(&one, &key).await, 200, "a key that is known is served");
    assert!(began.elapsed() < Duration::from_millis(500), "and waits for nothing: {:?}", began.elapsed());
    let ready = get(one.addr, "/health/ready").await;
    assert_eq!((ready.status, ready.json()["degraded"][0].as_str()), (200, Some("database")));
    postgres.freeze(false);
    answers(&one, UNKNOWN, 401, 8 * SECOND).await;

    postgres.crash();
    answers(&other, UNKNOWN, 503, 4 * SECOND).await;
    assert_eq!((status(&one, &key).await, status(&other, &key).await), (200, 200));
    postgres.run();
    // Within a second after the server takes connections again.
    tokio::join!(answers(&one, UNKNOWN, 401, 2 * SECOND), answers(&other, UNKNOWN, 401, 2 * SECOND));
    keys(one.folder(), &env, &["revoke", "web"]);
    tokio::join!(answers(&one, &key, 401, SECOND), answers(&other, &key, 401, SECOND));
    assert_eq!(get(one.addr, "/health/ready").await.json()["degraded"], serde_json::json!([]));
    assert!(!one.output().contains("canary-password") && !one.output().contains(&key[10..30]));
}

#[tokio::test]
async fn a_gateway_starts_without_its_database_and_serves_keys_of_the_file() {
    let simulator = simulator().await;
    let yaml = providers(&simulator) + &format!("keys: [{{name: file, hash: 'sha256:{}'}}]\n", sha256("own-key"));
    let env = [("DATABASE_URL", "postgres://me:canary-password@127.0.0.1:1/none")];
    let gateway = Gateway::start_in(with_file(&yaml), &env).await;
    assert_eq!(status(&gateway, "own-key").await, 200);
    assert_eq!(status(&gateway, UNKNOWN).await, 503);
    assert_eq!(status(&gateway, "").await, 401);
    let down = &gateway.events("database down")[0];
    assert!(down["error"].as_str().unwrap().contains("DATABASE_URL"), "{down}");
    assert_eq!(get(gateway.addr, "/health/ready").await.status, 200);
    assert!(!gateway.output().contains("canary-password"));

    // Nobody knows whether there are keys: so nobody is served without one, on loopback neither.
    let gateway = Gateway::start_in(with_file(&providers(&simulator)), &env).await;
    assert_eq!((status(&gateway, "").await, status(&gateway, UNKNOWN).await), (401, 503));
    let ready = get(gateway.addr, "/health/ready").await;
    assert_eq!((ready.status, ready.json()["status"].as_str()), (503, Some("keys_unknown")));
}
