//! A new configuration while requests run: put in place as a whole, or refused as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use simulator::{Config, Simulator};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::harness::client::request;
use crate::harness::{Client, Connection, Gateway, OPENAI_KEY, STORY, World, eventually, get, providers};

const PATIENCE: Duration = Duration::from_secs(10);

impl Gateway {
    fn configure(&self, yaml: &str) {
        // As editors do: another file takes the name.
        let file = self.folder().join("gateway.yaml");
        let draft = self.folder().join("gateway.yaml.new");
        std::fs::write(&draft, yaml).unwrap();
        std::fs::rename(draft, file).unwrap();
    }

    /// The latest event of this name, once there are `count`.
    async fn event(&self, name: &str, count: usize) -> Value {
        let find = || Some(self.events(name)).filter(|events| events.len() >= count);
        eventually(name, PATIENCE, find).await.pop().unwrap()
    }

    pub(crate) async fn reload(&self, yaml: &str) -> Value {
        let count = self.events("configuration reloaded").len();
        self.configure(yaml);
        self.signal("HUP");
        self.event("configuration reloaded", count + 1).await
    }

    async fn refuse(&self, yaml: &str) -> Value {
        let count = self.events(REFUSED).len();
        self.configure(yaml);
        self.signal("HUP");
        self.event(REFUSED, count + 1).await
    }
}

const REFUSED: &str = "configuration refused; the one in use stays";

async fn ask(world: &World, connection: &mut Connection, model: &str) -> String {
    let body = Client::OpenAi.request(model, "Reply with exactly: here", false).to_string();
    let addr = world.gateway.addr;
    let request = request(addr, "POST", Client::OpenAi.path(), "content-type: application/json\r\n", body.as_bytes());
    connection.send(&request).await;
    let answer = connection.answer().await;
    match answer.status {
        200 => answer.header("x-gateway-provider").unwrap().to_owned(),
        _ => format!("{answer:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_fail_no_request_and_leave_nothing_behind() {
    const RELOADS: usize = 60;
    let world = Arc::new(World::new("aliases: {m: {targets: [openai/sim]}}\n").await);
    let base = providers(&world.simulator);
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (world, stop, asked) = (world.clone(), stop.clone(), asked.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open(world.gateway.addr).await;
                while !stop.load(Ordering::Relaxed) {
                    let provider = ask(&world, &mut connection, "m").await;
                    assert!(provider == "openai" || provider == "anthropic", "{provider}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut before = None;
    for round in 0..RELOADS {
        if round % 2 == 0 {
            world
                .gateway
                .refuse(&format!("{base}aliases: {{m: {{targets: [nobody/sim]}}}}\nserver: {{port: x}}\n"))
                .await;
        } else {
            let target = if round % 4 == 1 { "anthropic" } else { "openai" };
            world.gateway.reload(&format!("{base}aliases: {{m: {{targets: [{target}/sim]}}}}\n")).await;
            // Both providers have been asked by now: connections to them are there.
            if round == 11 {
                before = Some((world.gateway.open_files(), world.gateway.threads()));
            }
            // New requests go where the new configuration says.
            assert_eq!(ask(&world, &mut Connection::open(world.gateway.addr).await, "m").await, target);
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(asked.load(Ordering::Relaxed) > RELOADS as u64, "{asked:?} requests are no load");
    let (files, threads) = before.unwrap();
    assert_eq!(world.gateway.threads(), threads);
    // A few more or fewer connections to the simulator; not one a reload.
    let now = world.gateway.open_files();
    assert!(now <= files + 8, "{files} open files have become {now}");
    let reloads = async |result: &str| world.gateway.metric("gateway_config_reloads_total", result).await;
    assert_eq!(reloads("applied").await, RELOADS as f64 / 2.0);
    assert_eq!(reloads("refused").await, RELOADS as f64 / 2.0);
}

#[tokio::test]
async fn a_stream_ends_on_the_configuration_that_it_began_with() {
    let config = Config { chunk_delay: Duration::from_millis(30), ..Config::default() };
    let world = World::with("", config).await;
    let addr = world.gateway.addr;
    let body = Client::OpenAi.request("openai/sim", STORY, true).to_string();
    let mut stream = Connection::open(addr).await;
    let request = request(addr, "POST", Client::OpenAi.path(), "content-type: application/json\r\n", body.as_bytes());
    stream.send(&request).await;
    stream.wait_for("data: ").await;

    let other = Simulator::start(Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let only = format!(
        "providers:\n  other: {{dialect: openai_chat, base_url: 'http://{}/v1', models: [sim]}}\n",
        other.addr()
    );
    let event = world.gateway.reload(&only).await;
    let changed = event["changed"].as_array().unwrap();
    for path in ["providers.openai", "providers.anthropic", "providers.other", "retry.base_delay_seconds"] {
        assert!(changed.iter().any(|name| name == path), "{event}");
    }
    let gone = world.ask(Client::OpenAi, "openai/sim", "hello", false).await;
    assert_eq!(gone.status, 404, "{gone:?}");
    assert_eq!(world.ask(Client::OpenAi, "sim", "hello", false).await.header("x-gateway-provider"), Some("other"));

    let answer = stream.answer().await;
    let said = Client::OpenAi.said(&answer, true);
    assert!(answer.complete && said.done && said.error.is_none(), "{}", answer.text());
    assert_eq!(world.gateway.told(answer.request_id()).await["outcome"], "ok");

    // The connection on which the stream came, and those that waited for more of it, are closed within a second or two.
    let port = format!(":{:04X}", world.simulator.addr().port());
    let open = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let to_it = |line: &&str| {
            let mut fields = line.split_whitespace();
            fields.nth(2).is_some_and(|remote| remote.ends_with(&port)) && fields.next() == Some("01")
        };
        table.lines().filter(to_it).count()
    };
    eventually("the end of idle connections", PATIENCE, || (open() == 0).then_some(())).await;
}

#[tokio::test]
async fn files_are_watched_whichever_way_they_are_replaced() {
    let simulator = Simulator::start(Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let folder = TempDir::new().unwrap();
    let yaml = |name: &str| {
        format!(
            "providers:\n  {name}: {{dialect: openai_chat, api_key: '${{KEY}}', base_url: 'http://{}/v1'}}\n",
            simulator.addr()
        )
    };
    // A mounted folder: the file is a link into a folder that is itself a link.
    for (version, name) in [("v1", "one"), ("v2", "two")] {
        std::fs::create_dir(folder.path().join(version)).unwrap();
        std::fs::write(folder.path().join(version).join("gateway.yaml"), yaml(name)).unwrap();
    }
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
    link("v1", "data");
    link("data/gateway.yaml", "gateway.yaml");
    link("v2", "next");
    std::fs::write(folder.path().join(".env"), "KEY=sk-canary-first\n").unwrap();
    let gateway = Gateway::start_in(folder, &[]).await;

    std::fs::rename(gateway.folder().join("next"), gateway.folder().join("data")).unwrap();
    let event = gateway.event("configuration reloaded", 1).await;
    assert_eq!(event["changed"], serde_json::json!(["providers.one", "providers.two"]));
    // The ledger tells keys by a hash.
    let key_sent = async || {
        let body = Client::OpenAi.request("two/sim", "hello", false).to_string();
        let answer = crate::harness::post(gateway.addr, Client::OpenAi.path(), "", body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let headers = simulator.ledger().pop().unwrap().headers;
        headers.into_iter().find(|(name, _)| name == "authorization").unwrap().1
    };
    let first = key_sent().await;
    std::fs::write(gateway.folder().join(".env"), "KEY=sk-canary-second\n").unwrap();
    let event = gateway.event("configuration reloaded", 2).await;
    assert_eq!(event["changed"], serde_json::json!(["providers.two"]));
    assert_ne!(key_sent().await, first);
    assert!(!gateway.output().contains("sk-canary"), "{}", gateway.output());

    std::fs::remove_file(gateway.folder().join("gateway.yaml")).unwrap();
    let event = gateway.event(REFUSED, 1).await;
    assert!(event["problems"][0].as_str().unwrap().contains("gateway.yaml has gone"), "{event}");
}

#[tokio::test]
async fn what_is_wrong_is_told_whole_and_changes_nothing() {
    let world = World::new("").await;
    let base = providers(&world.simulator);
    let gateway = &world.gateway;
    let health = get(gateway.addr, "/health").await.json();
    assert!(health["configuration"]["loaded_at"].is_string(), "{health}");
    assert_eq!(health["configuration"]["refused_at"], Value::Null);

    let event = gateway
        .refuse(&format!("{base}timeouts: {{connect_seconds: -1}}\naliases: {{a: {{targets: [none/such]}}}}\n"))
        .await;
    let problems = event["problems"].to_string();
    assert!(problems.contains("connect_seconds") && problems.contains("none"), "{event}");
    assert_eq!(event["level"], "error");
    assert!(!gateway.output().contains(OPENAI_KEY));
    let health = get(gateway.addr, "/health").await.json();
    assert!(health["configuration"]["refused_at"].is_string(), "{health}");
    assert_eq!(world.ask(Client::OpenAi, "openai/sim", "hello", false).await.status, 200);

    let loaded = gateway.metric("gateway_config_loaded_timestamp_seconds", "").await;
    assert!(loaded > 1.7e9, "{loaded}");
    gateway.configure(&base);
    gateway.signal("HUP");
    gateway.event("configuration unchanged", 1).await;
    let health = get(gateway.addr, "/health").await.json();
    assert_eq!(health["configuration"]["refused_at"], Value::Null, "the file is right again");
}

#[tokio::test]
async fn what_waits_for_the_next_start_is_named() {
    let world = World::new("").await;
    let event = world
        .gateway
        .reload(&format!("{}server: {{host: localhost, body_limit_mib: 1}}\n", providers(&world.simulator)))
        .await;
    assert_eq!(event["at_next_start"], serde_json::json!(["server.host"]));
    assert_eq!(event["changed"], serde_json::json!(["server.body_limit_mib"]));
    let large = Client::OpenAi.request("openai/sim", &"x".repeat(1024 * 1024), false).to_string();
    let answer = crate::harness::post(world.gateway.addr, Client::OpenAi.path(), "", large.as_bytes()).await;
    assert_eq!(answer.status, 413, "the new limit holds: {answer:?}");
}

#[tokio::test]
async fn the_sandbox_has_nothing_to_reload_and_lives_on() {
    let gateway = Gateway::start_in(TempDir::new().unwrap(), &[]).await;
    gateway.signal("HUP");
    gateway.event("nothing to reload: this is the sandbox", 1).await;
    assert_eq!(get(gateway.addr, "/health/live").await.status, 200);
}

/// Whether a connection is accepted under this certificate.
async fn is_served_with(gateway: &Gateway, certificate: &CertificateDer<'static>) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let socket = TcpStream::connect(gateway.addr).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.is_ok()
}

#[tokio::test]
async fn a_renewed_certificate_serves_the_next_connection() {
    let folder = TempDir::new().unwrap();
    let certify = |folder: &std::path::Path| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    };
    let first = certify(folder.path());
    let yaml = "server: {tls: {cert: cert.pem, key: key.pem}}\n\
                providers: {local: {dialect: openai_chat, base_url: 'http://127.0.0.1:1/v1'}}\n";
    std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    let gateway = Gateway::start_in(folder, &[]).await;
    assert!(is_served_with(&gateway, &first).await);

    let second = certify(gateway.folder());
    let event = gateway.event("configuration reloaded", 1).await;
    assert_eq!(event["changed"], serde_json::json!(["server.tls"]));
    assert!(is_served_with(&gateway, &second).await);
    assert!(!is_served_with(&gateway, &first).await);
}
