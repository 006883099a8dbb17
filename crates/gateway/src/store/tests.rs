//! What the database does, on SQLite and on PostgreSQL alike.

use std::sync::Arc;
use std::time::Duration;

use gateway_core::access::{KeyHash, VirtualKey};
use gateway_core::secret::Secret;
use indexmap::IndexMap;
use tempfile::TempDir;

use super::database::{Connection, Location, Refusal, StoreError};
use super::keeper::{State, Store};
use super::keys::Filter;
use super::redis::Redis;
use crate::config::{KeyLimits, KeyRates};
use crate::keys::mirror::Mirror;
use crate::keys::ring::{KeyRing, Moment, Refused};
use crate::keys::{Invalid, KeySettings, Second, TeamSettings, text};
use crate::telemetry::explain::Explanations;
use crate::telemetry::log::{Format, Level, Log};

#[path = "../../tests/front/harness/postgres.rs"]
#[expect(dead_code, reason = "it is frozen at the front door alone")]
mod postgres;

fn location(url: &str) -> Location {
    Location::parse(&Secret::new(url)).unwrap()
}

fn file(folder: &TempDir) -> Location {
    location(&format!("sqlite://{}/of/keys.db", folder.path().display()))
}

async fn open(location: &Location) -> Connection {
    location.create().unwrap();
    location.open().await.unwrap()
}

fn log() -> Log {
    Log::start(Format::Json, Level::Error, Explanations::new(None), std::io::sink()).unwrap()
}

fn names(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn a_url_that_cannot_be_used_says_so_and_no_url_tells_its_password() {
    for url in ["sqlite://", "sqlite::memory:", "sqlite://:memory:", "sqlite://f?mode=memory", "postgres://h:x/canary"]
    {
        let why = Location::parse(&Secret::new(url)).unwrap_err();
        assert!(why.contains("write") && !why.contains("canary"), "{url}: {why}");
    }
    let location = location("postgres://me:canary@db.example:6432/keys?sslmode=verify-full");
    assert_eq!(location.place, "PostgreSQL at db.example:6432, database keys");
    assert!(location.is_shared() && !format!("{location:?}").contains("canary"));
}

fn refusal<T: std::fmt::Debug>(result: super::database::Result<T>) -> Refusal {
    match result {
        Err(StoreError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

/// Each of them is a test on SQLite, and all together are one on PostgreSQL, because starting that takes a second.
macro_rules! behaviours {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    let folder = tempfile::TempDir::new().unwrap();
                    super::$name(super::file(&folder)).await;
                }
            )*
        }

        #[tokio::test]
        async fn postgres_does_all_that_sqlite_does() {
            let Some(postgres) = postgres::Postgres::start() else { return };
            let mut server = location(&postgres.url("postgres")).open().await.unwrap();
            $(
                server.script("", concat!("CREATE DATABASE ", stringify!($name))).await.unwrap();
                $name(location(&postgres.url(stringify!($name)))).await;
            )*
        }
    };
}

behaviours! {
    a_key_is_kept_as_it_was_said_and_never_its_text
    a_name_belongs_to_one_key_in_use
    what_cannot_be_said_of_a_key_is_refused_with_all_its_faults
    keys_are_listed_in_pages_and_by_what_they_are
    a_revoked_key_stays_revoked
    a_key_has_the_narrower_of_its_own_scope_and_its_teams
    a_mirror_learns_what_changed_and_reads_nothing_else
    a_mirror_of_a_database_that_was_put_back_begins_anew
    the_audit_log_tells_what_happened_and_cannot_be_altered_unseen
    nodes_that_start_at_once_make_the_tables_once
    tables_of_a_later_version_are_left_alone
    many_who_change_at_once_all_get_their_turn
    what_the_keeper_did_its_ring_knows
}

async fn a_key_is_kept_as_it_was_said_and_never_its_text(location: Location) {
    let mut database = open(&location).await;
    let team = database.create_team("test", TeamSettings::named("search")).await.unwrap();
    let limits = KeyLimits {
        tokens_per_minute: Some(7),
        models: IndexMap::from([("fast".to_owned(), KeyRates { concurrent: Some(2), ..KeyRates::default() })]),
        ..KeyLimits::default()
    };
    let said = KeySettings {
        team: Some("search".to_owned()),
        owner: Some("Ada 'the first' \"Lovelace\"; DROP TABLE gateway_keys; --".to_owned()),
        tags: vec!["ünïcode \u{1f511}".to_owned()],
        models: names(&["fast", "openai/*"]),
        routes: names(&[]),
        limits,
        cache: false,
        expires: Some(Second(2_000_000_000)),
        ..KeySettings::named("web")
    };
    let (key, minted) = database.create_key("test", said.clone()).await.unwrap();
    assert_eq!(key.settings, KeySettings { team: Some(team.id.clone()), ..said });
    assert_eq!(text::read(minted.text.expose()), Ok(key.hash));
    assert_eq!(database.key("web").await.unwrap(), key);
    assert_eq!(database.key(&key.id).await.unwrap(), key);
    assert_eq!(refusal(database.key("nobody").await), Refusal::NoSuchKey("nobody".to_owned()));
    assert_eq!(serde_json::to_value(&key.settings).unwrap()["expires"], "2033-05-18T03:33:20Z");
    let random = &minted.text.expose()[6..40];
    assert!(!format!("{key:?} {:?}", database.audit(None, 10).await.unwrap()).contains(random));
}

async fn a_name_belongs_to_one_key_in_use(location: Location) {
    let mut database = open(&location).await;
    let (first, _) = database.create_key("test", KeySettings::named("web")).await.unwrap();
    let taken = Refusal::NameTaken("web".to_owned());
    assert_eq!(refusal(database.create_key("test", KeySettings::named("web")).await), taken);
    let (other, _) = database.create_key("test", KeySettings::named("other")).await.unwrap();
    let rename = |settings: &mut KeySettings| {
        settings.name = "web".to_owned();
        Ok(())
    };
    assert_eq!(refusal(database.update_key("test", "other", rename).await), taken);
    database.revoke_key("test", "web").await.unwrap();
    database.update_key("test", "other", rename).await.unwrap();
    assert_eq!(database.key("web").await.unwrap().id, other.id);
    assert_eq!(database.key(&first.id).await.unwrap().settings.name, "web");

    database.create_team("test", TeamSettings::named("search")).await.unwrap();
    let taken = Refusal::NameTaken("search".to_owned());
    assert_eq!(refusal(database.create_team("test", TeamSettings::named("search")).await), taken);
}

async fn what_cannot_be_said_of_a_key_is_refused_with_all_its_faults(location: Location) {
    let mut database = open(&location).await;
    let none = KeyRates { requests_per_minute: Some(0), ..KeyRates::default() };
    let limits = KeyLimits { providers: IndexMap::from([("openai".to_owned(), none)]), ..KeyLimits::default() };
    let wrong = KeySettings {
        owner: Some("a\nb".to_owned()),
        models: names(&["fast", ""]),
        tags: vec!["x".to_owned(); 51],
        routes: names(&["/v1/message"]),
        limits,
        ..KeySettings::named(" ")
    };
    let Refusal::Invalid(faults) = refusal(database.create_key("test", wrong).await) else { panic!() };
    let fields: Vec<String> = faults.iter().map(Invalid::field).collect();
    assert_eq!(
        fields,
        ["name", "owner", "tags", "models[1]", "routes[0]", "limits.providers.openai.requests_per_minute"]
    );
    assert!(faults[4].message.contains("did you mean /v1/messages?"), "{:?}", faults[4]);
    let of_nobody = KeySettings { team: Some("nobody".to_owned()), ..KeySettings::named("web") };
    let refused = refusal(database.create_key("test", of_nobody).await);
    assert_eq!(refused, Refusal::NoSuchTeam("nobody".to_owned()));
    assert!(database.keys(&Filter::default(), None, 10).await.unwrap().is_empty());
    assert_eq!(database.audit_head().await.unwrap(), None, "what was not done is not told");
}

async fn keys_are_listed_in_pages_and_by_what_they_are(location: Location) {
    let mut database = open(&location).await;
    let team = database.create_team("test", TeamSettings::named("search")).await.unwrap();
    for number in 0..5 {
        let mut settings = KeySettings::named(format!("key {number}"));
        settings.team = (number % 2 == 0).then(|| team.id.clone());
        settings.owner = (number > 2).then(|| "ada".to_owned());
        database.create_key("test", settings).await.unwrap();
    }
    database.revoke_key("test", "key 1").await.unwrap();
    let mut listed = async |filter: Filter, after, limit| -> Vec<(String, i64)> {
        let keys = database.keys(&filter, after, limit).await.unwrap();
        keys.into_iter().map(|key| (key.settings.name, key.made)).collect()
    };
    let only_names = |listed: &[(String, i64)]| listed.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let all = listed(Filter::default(), None, u64::MAX).await;
    assert_eq!(only_names(&all), ["key 0", "key 2", "key 3", "key 4"]);
    let page = listed(Filter::default(), None, 2).await;
    assert_eq!(page, all[..2]);
    assert_eq!(listed(Filter::default(), Some(page[1].1), 2).await, all[2..]);
    let with_revoked = listed(Filter { revoked: true, ..Filter::default() }, None, 3).await;
    assert_eq!(only_names(&with_revoked), ["key 0", "key 1", "key 2"]);
    let of_both = Filter { team: Some(team.id.clone()), owner: Some("ada".to_owned()), revoked: false };
    assert_eq!(only_names(&listed(of_both, None, 9).await), ["key 4"]);
    assert_eq!(database.teams(None, 9).await.unwrap(), std::slice::from_ref(&team));
    assert_eq!(database.teams(Some(team.made), 9).await.unwrap(), []);
}

async fn a_revoked_key_stays_revoked(location: Location) {
    let mut database = open(&location).await;
    database.create_key("test", KeySettings::named("web")).await.unwrap();
    let revoked = database.revoke_key("test", "web").await.unwrap();
    assert!(revoked.revoked.is_some());
    assert_eq!(database.revoke_key("test", "web").await.unwrap(), revoked);
    assert_eq!(refusal(database.update_key("test", "web", |_| Ok(())).await), Refusal::Revoked("web".to_owned()));
    assert_eq!(database.audit_head().await.unwrap().unwrap().number, 2);
}

/// A ring, and the mirror that keeps it.
fn mirrored() -> (Arc<KeyRing>, Mirror) {
    let ring = Arc::new(KeyRing::new());
    ring.expect_database();
    ring.confirm(std::time::Instant::now());
    (ring.clone(), Mirror::new(ring))
}

fn found(ring: &KeyRing, hash: KeyHash) -> Result<Arc<VirtualKey>, Refused> {
    ring.confirm(std::time::Instant::now());
    ring.find(&hash, Moment::now())
}

async fn a_key_has_the_narrower_of_its_own_scope_and_its_teams(location: Location) {
    let mut database = open(&location).await;
    let limits = KeyLimits { requests_per_minute: Some(10), ..KeyLimits::default() };
    let team = TeamSettings { limits, models: names(&["openai/*"]), ..TeamSettings::named("search") };
    let team = database.create_team("test", team).await.unwrap();
    let settings = KeySettings {
        team: Some(team.id.clone()),
        models: names(&["openai/gpt", "anthropic/opus"]),
        ..KeySettings::named("web")
    };
    let (key, _) = database.create_key("test", settings).await.unwrap();
    let (ring, mut mirror) = mirrored();
    mirror.follow(&mut database).await.unwrap();
    let held = found(&ring, key.hash).unwrap();
    assert_eq!(held.scope.models, names(&["openai/gpt"]));
    assert_eq!(held.team.as_ref().unwrap().limits.all.requests_per_minute, Some(10));

    // A team that changes is felt by its keys, though none of them did.
    let widen = |team: &mut TeamSettings| {
        team.models = None;
        team.limits.requests_per_minute = Some(20);
        Ok(())
    };
    database.update_team("test", "search", widen).await.unwrap();
    mirror.follow(&mut database).await.unwrap();
    let held = found(&ring, key.hash).unwrap();
    assert_eq!(held.scope.models, names(&["openai/gpt", "anthropic/opus"]));
    assert_eq!(held.team.as_ref().unwrap().limits.all.requests_per_minute, Some(20));
}

async fn a_mirror_learns_what_changed_and_reads_nothing_else(location: Location) {
    let mut database = open(&location).await;
    let (ring, mut mirror) = mirrored();
    mirror.follow(&mut database).await.unwrap();
    assert!(!ring.has_keys() && !mirror.has_seen_any());
    let (web, _) = database.create_key("test", KeySettings::named("web")).await.unwrap();
    let (app, _) = database.create_key("test", KeySettings::named("app")).await.unwrap();
    mirror.follow(&mut database).await.unwrap();
    let before = found(&ring, app.hash).unwrap();
    database.revoke_key("test", "web").await.unwrap();
    mirror.follow(&mut database).await.unwrap();
    assert_eq!(found(&ring, web.hash), Err(Refused::Revoked));
    assert!(Arc::ptr_eq(&before, &found(&ring, app.hash).unwrap()), "what did not change is not read again");
    assert_eq!(ring.count(), 2);

    // A row that this version does not understand is refused, and harms no other.
    let strange = "UPDATE gateway_keys SET settings = '{\"later\": 1}', revision = 3 WHERE name = 'app'";
    database.script(strange, strange).await.unwrap();
    let (new, _) = database.create_key("test", KeySettings::named("new")).await.unwrap();
    let again = "UPDATE gateway_keys SET revision = 4 WHERE name = 'app'";
    database.script(again, again).await.unwrap();
    mirror.follow(&mut database).await.unwrap();
    assert_eq!(found(&ring, app.hash), Err(Refused::Unavailable));
    assert!(found(&ring, new.hash).is_ok());
    assert_eq!(mirror.unreadable(), 1);
}

async fn a_mirror_of_a_database_that_was_put_back_begins_anew(location: Location) {
    let mut database = open(&location).await;
    let (kept, _) = database.create_key("test", KeySettings::named("kept")).await.unwrap();
    let (lost, _) = database.create_key("test", KeySettings::named("lost")).await.unwrap();
    let (ring, mut mirror) = mirrored();
    mirror.follow(&mut database).await.unwrap();
    assert!(found(&ring, kept.hash).is_ok() && found(&ring, lost.hash).is_ok());
    // As after a fail-over to a server that had not heard of the second: it is made again under the same number.
    let sqlite = "DROP TRIGGER gateway_audit_keeps_rows; DELETE FROM gateway_keys WHERE name = 'lost';
                  DELETE FROM gateway_audit WHERE number = 2";
    let postgres = "ALTER TABLE gateway_audit DISABLE TRIGGER ALL; DELETE FROM gateway_keys WHERE name = 'lost';
                    DELETE FROM gateway_audit WHERE number = 2";
    database.script(sqlite, postgres).await.unwrap();
    let (new, _) = database.create_key("test", KeySettings::named("new")).await.unwrap();
    mirror.follow(&mut database).await.unwrap();
    assert!(found(&ring, kept.hash).is_ok() && found(&ring, new.hash).is_ok());
    assert_eq!(found(&ring, lost.hash), Err(Refused::Unknown));
}

async fn the_audit_log_tells_what_happened_and_cannot_be_altered_unseen(location: Location) {
    let mut database = open(&location).await;
    for name in ["one", "two", "three"] {
        database.create_key("cli:ada", KeySettings::named(name)).await.unwrap();
    }
    let change = |settings: &mut KeySettings| {
        settings.tags.push("new".to_owned());
        Ok(())
    };
    let two = database.update_key("admin", "two", change).await.unwrap();
    database.revoke_key("admin", "two").await.unwrap();
    let told = database.audit(None, 2).await.unwrap();
    let told: Vec<(i64, &str, &str, &str)> = told
        .iter()
        .map(|entry| (entry.number, entry.actor.as_str(), entry.action.as_str(), entry.subject.as_str()))
        .collect();
    assert_eq!(told, [(5, "admin", "key.revoke", two.id.as_str()), (4, "admin", "key.update", two.id.as_str())]);
    let earlier = database.audit(Some(4), 9).await.unwrap();
    assert_eq!(earlier.iter().map(|entry| entry.number).collect::<Vec<_>>(), [3, 2, 1]);
    assert!(earlier[2].details.get().contains("\"name\":\"one\""));
    assert_eq!(database.broken_audit().await.unwrap(), None);

    let alter = "UPDATE gateway_audit SET actor = 'nobody' WHERE number = 2";
    let refused = database.script(alter, alter).await.unwrap_err().to_string();
    assert!(refused.contains("append-only"), "{refused}");
    let remove = "DELETE FROM gateway_audit WHERE number = 2";
    assert!(database.script(remove, remove).await.unwrap_err().to_string().contains("append-only"));
    // Who can take the guard away can alter it, and not unseen.
    let unguarded = "ALTER TABLE gateway_audit DISABLE TRIGGER ALL";
    database.script("DROP TRIGGER gateway_audit_keeps_words", unguarded).await.unwrap();
    database.script(alter, alter).await.unwrap();
    assert_eq!(database.broken_audit().await.unwrap(), Some(2));
}

async fn nodes_that_start_at_once_make_the_tables_once(location: Location) {
    location.create().unwrap();
    let nodes = (0..8).map(|_| async { location.open().await.map(drop) });
    for node in futures_util::future::join_all(nodes).await {
        node.unwrap();
    }
    let mut database = location.open().await.unwrap();
    let versions = database.first("SELECT COUNT(*) FROM gateway_schema", &[], |row| row.integer(0)).await.unwrap();
    assert_eq!(versions, Some(1));
}

async fn tables_of_a_later_version_are_left_alone(location: Location) {
    let mut database = open(&location).await;
    database.run("INSERT INTO gateway_schema (version) VALUES ($1)", &[7.into()]).await.unwrap();
    let refused = location.open().await.unwrap_err().to_string();
    assert!(refused.contains("tables of version 7") && refused.contains("later release"), "{refused}");
    assert!(!refused.contains("canary-password"));
}

async fn many_who_change_at_once_all_get_their_turn(location: Location) {
    open(&location).await;
    let change = async |number: usize| {
        let mut database = location.open().await.unwrap();
        for again in 0..5 {
            let settings = KeySettings::named(format!("key {number} {again}"));
            database.create_key("test", settings).await.unwrap();
        }
    };
    futures_util::future::join_all((0..6).map(change)).await;
    let mut database = location.open().await.unwrap();
    assert_eq!(database.audit_head().await.unwrap().unwrap().number, 30);
    assert_eq!(database.broken_audit().await.unwrap(), None);
    let mut revisions: Vec<i64> =
        database.keys(&Filter::default(), None, 100).await.unwrap().iter().map(|key| key.made).collect();
    revisions.dedup();
    assert_eq!(revisions, (1..=30).collect::<Vec<_>>());
}

async fn what_the_keeper_did_its_ring_knows(location: Location) {
    let ring = Arc::new(KeyRing::new());
    let was_there = location.exists();
    let store = Store::start(location.clone(), ring.clone(), log(), None).unwrap();
    let state = store.settled().await;
    assert_eq!(state, if was_there { State::Up } else { State::Absent });
    assert_eq!(location.exists(), was_there, "looking makes no file");
    assert!(!ring.has_keys());
    let made = store.ask(async |database| database.create_key("test", KeySettings::named("web")).await).await;
    let (key, _) = made.unwrap();
    assert_eq!(ring.find(&key.hash, Moment::now()).unwrap().name, "web");
    let refused = store.ask(async |database| database.create_key("test", KeySettings::named("web")).await).await;
    assert_eq!(refusal(refused), Refusal::NameTaken("web".to_owned()));
    store.ask(async |database| database.revoke_key("test", "web").await).await.unwrap();
    assert_eq!(ring.find(&key.hash, Moment::now()), Err(Refused::Revoked));

    // What others do is known within a second.
    let mut other = location.open().await.unwrap();
    let (foreign, _) = other.create_key("test", KeySettings::named("web")).await.unwrap();
    let began = std::time::Instant::now();
    while ring.find(&foreign.hash, Moment::now()).is_err() {
        assert!(began.elapsed() < Duration::from_secs(1), "not known after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn gateways_that_share_a_redis_hear_of_a_change_at_once() {
    let Some(server) = faults::redis::Redis::start().await.unwrap() else { return };
    let folder = TempDir::new().unwrap();
    open(&file(&folder)).await;
    let start = || {
        let ring = Arc::new(KeyRing::new());
        let redis = Redis::start(&Secret::new(server.url()), &[]).unwrap();
        (Store::start(file(&folder), ring.clone(), log(), Some(redis)).unwrap(), ring)
    };
    let ((one, _), (_other, ring)) = (start(), start());
    // By looking alone each takes a quarter of a second on average, and up to half a one.
    let mut times = Vec::new();
    while times.len() < 50 && times.iter().rev().take(5).filter(|took| **took < Duration::from_millis(60)).count() < 5 {
        let settings = KeySettings::named(format!("key {}", times.len()));
        let (key, _) = one.ask(async |database| database.create_key("test", settings).await).await.unwrap();
        let began = std::time::Instant::now();
        while ring.find(&key.hash, Moment::now()).is_err() {
            assert!(began.elapsed() < Duration::from_secs(1), "not even by looking");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(began.elapsed());
    }
    assert!(times.len() < 50, "never five in a row at once: {times:?}");
}
