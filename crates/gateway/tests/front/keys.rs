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
use crate::harness::{get, providers};

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

#[tokio::test]
async fn a_gateway_without_keys_makes_no_file_and_knows_within_a_second_when_one_is_made() {
    let simulator = Simulator::start(simulator::Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
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

#[tokio::test]
async fn two_gateways_on_an_empty_postgres_start_at_once_and_share_their_keys() {
    let Some(mut postgres) = Postgres::start() else { return };
    let url = postgres.url("postgres");
    let env = [("DATABASE_URL", url.as_str())];
    let simulator = Simulator::start(simulator::Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let start = async || {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("gateway.yaml"), providers(&simulator)).unwrap();
        Gateway::start_in(folder, &env).await
    };
    let (one, other) = tokio::join!(start(), start());
    keys(one.folder(), &env, &["create", "--name", "web"]);
    knows(&one, 1.0).await;
    knows(&other, 1.0).await;

    postgres.crash();
    let down = async |gateway: &Gateway, up: f64| {
        let began = Instant::now();
        while gateway.metric("gateway_database_up", "").await != up {
            assert!(began.elapsed() < Duration::from_secs(5), "not {up}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    down(&one, 0.0).await;
    let ready = get(one.addr, "/health/ready").await;
    assert_eq!((ready.status, ready.json()["degraded"][0].as_str()), (200, Some("database")));
    postgres.run();
    down(&one, 1.0).await;
    down(&other, 1.0).await;
    let events = one.events("database down");
    assert_eq!(events.len(), 1, "told once: {events:?}");
    keys(one.folder(), &env, &["create", "--name", "app"]);
    knows(&one, 2.0).await;
    knows(&other, 2.0).await;
    assert!(!one.output().contains("canary-password"));
}
