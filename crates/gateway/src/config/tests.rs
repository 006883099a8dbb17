use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_core::dialect::ProviderDialect;
use gateway_core::target::{Capability, Strategy};
use proptest::prelude::*;

use super::problem::Report;
use super::tree::yaml;
use super::*;
use gateway_policy::resilience::BreakerSettings;

/// An environment of a test's own.
#[derive(Default)]
pub(super) struct World {
    variables: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, Vec<u8>>,
    world_readable: Vec<PathBuf>,
    terminal: bool,
}

impl World {
    pub(super) fn var(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    pub(super) fn file(mut self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        self.files.insert(path.into(), contents.as_ref().to_vec());
        self
    }

    fn world_readable(mut self, path: &str) -> Self {
        self.world_readable.push(path.into());
        self
    }

    fn load(&self) -> Result<Config, Problems> {
        load(&Args::default(), self)
    }

    /// The configuration, or a panic that shows the problems.
    fn config(&self) -> Config {
        self.load().unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn problems(&self) -> String {
        self.load().expect_err("a configuration with problems").to_string()
    }
}

impl Environment for World {
    fn variables(&self) -> Vec<(String, String)> {
        self.variables.clone().into_iter().collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn is_world_readable(&self, path: &Path) -> bool {
        self.world_readable.iter().any(|readable| readable == path)
    }

    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

/// Compares with a file, or writes it with `UPDATE_GOLDEN=1`.
pub(super) fn golden(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    let hint = "differs; see what UPDATE_GOLDEN=1 changes in it";
    assert!(expected == actual, "{} {hint}\n--- expected\n{expected}\n--- actual\n{actual}", path.display());
}

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/config").join(name)
}

fn tls_file(name: &str) -> Vec<u8> {
    std::fs::read(testdata("tls").join(name)).unwrap()
}

/// `# env NAME=value` lines of a case set a variable, `# .env ...` lines are lines of that file.
fn case(text: &str) -> World {
    let mut world = World::default()
        .file("gateway.yaml", text)
        .file("tls/server.pem", tls_file("server.pem"))
        .file("tls/server.key", tls_file("server.key"))
        .file("tls/other.key", tls_file("other.key"))
        .file("secret.txt", "canary\n")
        .file("hollow.txt", "\n");
    for (name, value) in text.lines().filter_map(|line| line.strip_prefix("# env ")?.split_once('=')) {
        world = world.var(name, value);
    }
    let dot_env: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# .env ")).collect();
    world.file(".env", dot_env.join("\n"))
}

#[test]
fn everything_that_is_wrong_is_reported_at_once_with_its_place() {
    let mut cases = 0;
    for entry in std::fs::read_dir(testdata("bad")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let world = case(&std::fs::read_to_string(&path).unwrap());
            let problems = match world.load() {
                Err(problems) => problems.to_string(),
                Ok(_) => panic!("{} has no problem", path.display()),
            };
            assert!(!problems.contains("canary"), "{} tells a secret:\n{problems}", path.display());
            golden(&path.with_extension("txt"), &(problems + "\n"));
            cases += 1;
        }
    }
    assert!(cases >= 10, "only {cases} cases");
}

/// The example of an operator's whole file.
const EXAMPLE: &str = r#"
server: {host: 0.0.0.0, port: 8000, tls: {cert: server.pem, key: server.key}, trusted_proxies: [10.0.0.0/8], body_limit_mib: 32}
providers:
  openai: {api_key: "${OPENAI_API_KEY}"}                       # known vendors need only a key
  anthropic:
    credentials:                                              # several keys, weighted
      - {name: main, api_key: "${ANTHROPIC_API_KEY}", weight: 3}
      - {name: spare, api_key: "${ANTHROPIC_SPARE_KEY}", weight: 1}
  local: {dialect: openai_chat, base_url: "http://127.0.0.1:8080/v1", models: [qwen3], price: {input: 0, output: 0}}
aliases:
  fast: {strategy: latency, targets: [openai/gpt-5-mini, anthropic/claude-haiku-4-5]}
  smart:
    strategy: fallback
    targets: [{model: anthropic/claude-opus-4-5}, {model: openai/gpt-5.2, weight: 2}]
    on_context_overflow: [openai/gpt-4.1]
routing: {strategy: fallback, on_unsupported: drop}
limits: {requests_per_minute: 600, tokens_per_minute: 1000000, concurrent: 50}
keys:                                                         # or `llm-gateway keys create`
  - {name: web, hash: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", models: [fast, smart], limits: {requests_per_minute: 120}, budget: {usd: 50, per: month}}
cache: {mode: strict, threshold: 0.95, ttl_seconds: 3600, scope: key, max_mib: 256}
log: {format: json, level: info}
"#;

fn example() -> World {
    World::default()
        .file("gateway.yaml", EXAMPLE)
        .file("server.pem", tls_file("server.pem"))
        .file("server.key", tls_file("server.key"))
        .var("OPENAI_API_KEY", "sk-canary-openai")
        .var("ANTHROPIC_API_KEY", "sk-canary-main")
        .var("ANTHROPIC_SPARE_KEY", "sk-canary-spare")
        .var("GATEWAY_ALLOW_ANONYMOUS", "true")
}

#[test]
fn the_example_loads() {
    let config = example().config();
    assert_eq!(config.server.addr().to_string(), "0.0.0.0:8000");
    assert_eq!(config.server.body_limit_bytes, 32 << 20);
    assert!(config.server.tls.is_some());
    let names: Vec<&str> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
    assert_eq!(names, ["openai", "anthropic", "local"]);

    let [openai, anthropic, local] = &config.providers[..] else { panic!() };
    assert_eq!(openai.base_url.to_string(), "https://api.openai.com/v1");
    assert_eq!(openai.auth, Auth::Bearer);
    assert_eq!(openai.credentials[0].key.expose(), "sk-canary-openai");
    assert!(openai.serves("gpt-4o") && !openai.serves("claude-3"));
    let keys: Vec<_> = anthropic.credentials.iter().map(|c| (c.name.as_str(), c.key.expose(), c.weight)).collect();
    assert_eq!(keys, [("main", "sk-canary-main", 3), ("spare", "sk-canary-spare", 1)]);
    assert_eq!(anthropic.auth, Auth::Header(http::HeaderName::from_static("x-api-key")));
    assert_eq!(anthropic.headers[0].0, "anthropic-version");
    assert_eq!(anthropic.paths.chat, "/v1/messages");
    assert_eq!((local.auth.clone(), local.credentials.len()), (Auth::None, 0));
    assert_eq!(local.default_model.as_deref(), Some("qwen3"));
    assert!(local.capabilities.has(Capability::Tools) && !local.capabilities.has(Capability::Embeddings));
    assert_eq!(local.price.map(|price| (price.input, price.output)), Some((0.0, 0.0)));

    assert_eq!(config.aliases[0].strategy, Some(Strategy::Latency));
    let smart: Vec<String> =
        config.aliases[1].targets.iter().map(|t| format!("{}/{} {}", t.provider, t.model, t.weight)).collect();
    assert_eq!(smart, ["anthropic/claude-opus-4-5 1", "openai/gpt-5.2 2"]);
    assert_eq!(config.aliases[1].on_context_overflow.len(), 1);
    assert_eq!(config.limits.unwrap().concurrent, Some(50));
    assert_eq!(config.warnings, Vec::<String>::new());
    let early = "providers: {openai: {api_key: k, paths: {models: /list}}}\n";
    let config = World::default().file("gateway.yaml", early).config();
    let said = |warning: &&String| warning.contains("`providers.openai.paths.models` is not in effect yet");
    assert_eq!(config.warnings.iter().filter(said).count(), 1, "{:?}", config.warnings);
}

#[test]
fn an_embedding_model_is_the_built_in_one_or_that_of_a_provider_that_can_be_asked() {
    let providers = "providers: {openai: {api_key: k}, anthropic: {api_key: k}}\n";
    let world = |model: &str| {
        World::default().file("gateway.yaml", format!("{providers}cache: {{embedding_model: {model}}}\n"))
    };
    for model in ["built-in", "openai/text-embedding-3-small"] {
        let config = world(model).config();
        assert_eq!((config.cache.embedding_model.as_str(), config.warnings.len()), (model, 0));
    }
    for (model, said) in [
        ("other", "is no model"),
        ("opnai/x", "did you mean `openai`"),
        ("openai/", "is no model"),
        ("anthropic/x", "does not speak OpenAI's API"),
    ] {
        let problems = world(model).problems();
        assert!(problems.contains("cache.embedding_model") && problems.contains(said), "{model}: {problems}");
    }
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = World::default().var("OPENAI_API_KEY", "k").config();
    assert_eq!(config.server.addr().to_string(), "127.0.0.1:8000");
    assert_eq!(config.server.drain_timeout, Duration::from_secs(30));
    assert!(config.server.admin_key.is_none() && !config.server.allow_anonymous);
    assert_eq!(config.routing.strategy, Strategy::Fallback);
    assert_eq!(config.timeouts.connect, Duration::from_secs(5));
    assert_eq!(config.timeouts.request, Duration::from_secs(600));
    assert_eq!(config.retry.max_attempts, 3);
    assert_eq!(
        (config.retry.backoff.base, config.retry.backoff.max),
        (Duration::from_millis(500), Duration::from_secs(8))
    );
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.cache.enabled);
    let limits = config.limits.unwrap();
    assert_eq!((limits.requests_per_minute, limits.tokens_per_minute), (Some(60), Some(100_000)));
    assert_eq!((config.cache.threshold, config.cache.ttl_seconds), (0.95, 3600.0));
    let BreakerSettings { failure_threshold, recovery_timeout, half_open_requests, .. } = config.circuit_breaker;
    assert_eq!((failure_threshold, recovery_timeout, half_open_requests), (5, Duration::from_secs(5), 1));
    assert!(config.storage.redis_url.is_none());
    assert_eq!(config.storage.database.unwrap().place, "SQLite file data/llm-gateway.db");
    assert!(config.keys.is_empty() && config.server.trusted_proxies.is_empty() && config.server.admin_addr.is_none());
    assert_eq!(config.warnings, [""; 0]);
    let on_a_terminal = World { terminal: true, ..World::default().var("OPENAI_API_KEY", "k") };
    assert_eq!(on_a_terminal.config().log.format, LogFormat::Text);
}

#[test]
fn flags_win_over_the_environment_over_dot_env_over_the_file() {
    let port = |world: &World, args: &Args| load(args, world).unwrap().server.port;
    let args = Args::default();
    let world = World::default().var("OPENAI_API_KEY", "k");
    assert_eq!(port(&world, &args), 8000);
    let world = world.file("gateway.yaml", "server: {port: 1}");
    assert_eq!(port(&world, &args), 1);
    let world = world.file(".env", "PORT=2");
    assert_eq!(port(&world, &args), 2);
    let world = world.var("PORT", "");
    assert_eq!(port(&world, &args), 2, "an empty variable is not set");
    let world = world.var("PORT", "3");
    assert_eq!(port(&world, &args), 3);
    assert_eq!(port(&world, &Args { port: Some(4), ..args }), 4);
}

#[test]
fn a_named_file_must_be_there() {
    let args = Args { config: Some("other.yaml".into()), ..Args::default() };
    let problems = load(&args, &World::default().file("gateway.yaml", "")).unwrap_err().to_string();
    assert_eq!(problems, "configuration: other.yaml cannot be read: no such file");
}

#[test]
fn providers_keep_the_order_of_the_file_and_then_of_the_environment() {
    let names = |file: &str| -> Vec<String> {
        let world =
            World::default().file("gateway.yaml", file).var("OPENAI_API_KEY", "a").var("ANTHROPIC_API_KEY", "b");
        world.config().providers.into_iter().map(|provider| provider.name).collect()
    };
    assert_eq!(names(""), ["openai", "anthropic"]);
    assert_eq!(names("providers:\n  anthropic:\n"), ["anthropic", "openai"]);
    assert_eq!(names("providers: {l: {dialect: openai_chat, base_url: 'http://h'}}"), ["l", "openai", "anthropic"]);
}

#[test]
fn vendor_variables_complete_a_provider() {
    let world = World::default()
        .file("gateway.yaml", "providers: {openai: {base_url: 'https://file.example'}}")
        .var("OPENAI_API_KEY", "k")
        .var("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")
        .var("OPENAI_DEFAULT_MODEL", "gpt-4.1");
    let openai = &world.config().providers[0];
    assert_eq!(openai.base_url.to_string(), "http://127.0.0.1:9/v1");
    assert_eq!(openai.default_model.as_deref(), Some("gpt-4.1"));

    let off = World::default().var("OPENAI_API_KEY", "k").var("ANTHROPIC_BASE_URL", "http://127.0.0.1:9").config();
    assert_eq!(off.providers.len(), 1);
    assert_eq!(
        off.warnings,
        ["ANTHROPIC_BASE_URL is set, but ANTHROPIC_API_KEY is not: the provider `anthropic` is off"]
    );
}

#[test]
fn a_variable_does_not_replace_listed_credentials() {
    let listed = "providers: {openai: {credentials: [{name: a, api_key: \"${A}\"}]}}";
    let config = World::default().file("gateway.yaml", listed).var("A", "one").var("OPENAI_API_KEY", "two").config();
    assert_eq!(config.providers[0].credentials[0].key.expose(), "one");
    assert_eq!(config.warnings, ["OPENAI_API_KEY is set, but not used: providers.openai.credentials lists the keys"]);
}

#[test]
fn a_key_over_plain_http_gets_a_warning() {
    let warnings =
        |url: &str| World::default().var("OPENAI_API_KEY", "k").var("OPENAI_BASE_URL", url).config().warnings;
    assert!(warnings("http://example.com/v1")[0].contains("unencrypted"));
    for quiet in ["https://example.com", "http://localhost:1", "http://[::1]:1", "http://127.0.0.1"] {
        assert_eq!(warnings(quiet), [""; 0], "{quiet}");
    }
}

#[test]
fn interpolation_takes_types_from_the_schema() {
    let file = r#"
server: {port: "${P}", allow_anonymous: "${YES}"}
providers: {openai: {api_key: "${K}", display_name: "a $${literal} ${P}"}}
timeouts: {connect_seconds: "${T}"}
"#;
    let world = World::default().file("gateway.yaml", file).file(".env", "P=81\nT=0.25\nYES=on\nK=123");
    let config = world.config();
    assert_eq!(config.server.port, 81);
    assert!(config.server.allow_anonymous);
    assert_eq!(config.timeouts.connect, Duration::from_millis(250));
    assert_eq!(config.providers[0].credentials[0].key.expose(), "123");
    assert_eq!(config.providers[0].display_name, "a ${literal} 81");
}

#[test]
fn secrets_can_come_from_files() {
    let key = |contents: &str| {
        let world = World::default().var("OPENAI_API_KEY_FILE", "key").file("key", contents);
        world.config().providers[0].credentials[0].key.expose().to_owned()
    };
    assert_eq!(key("k"), "k");
    assert_eq!(key("k\n"), "k");
    assert_eq!(key("k\r\n"), "k");

    let open = World::default().var("OPENAI_API_KEY_FILE", "key").file("key", "k").world_readable("key").config();
    assert_eq!(open.warnings, ["OPENAI_API_KEY_FILE: every user of this machine can read key; `chmod 600` it"]);
    let mounted = "/run/secrets/key";
    let mounted = World::default().var("OPENAI_API_KEY_FILE", mounted).file(mounted, "k").world_readable(mounted);
    assert_eq!(mounted.config().warnings, [""; 0]);

    let named = World::default()
        .file("gateway.yaml", "providers: {openai: {api_key: \"${K}\"}}")
        .var("K_FILE", "k")
        .file("k", "in file");
    assert!(named.problems().contains("has characters that a key cannot have"));
    let both = World::default().var("OPENAI_API_KEY", "real").file(".env", "OPENAI_API_KEY_FILE=lost");
    assert_eq!(both.config().providers[0].credentials[0].key.expose(), "real");
}

#[test]
fn every_strategy_can_be_set_wherever_one_can() {
    for strategy in Strategy::ALL {
        let name = strategy.name();
        let start = |world: World| world.var("OPENAI_API_KEY", "k").config();
        let routing = format!("routing: {{strategy: {name}}}");
        let alias = format!("aliases: {{a: {{strategy: {name}, targets: [gpt-5]}}}}");
        assert_eq!(start(World::default().var("DEFAULT_ROUTING_STRATEGY", name)).routing.strategy, strategy);
        assert_eq!(start(World::default().file("gateway.yaml", routing)).routing.strategy, strategy);
        assert_eq!(start(World::default().file("gateway.yaml", alias)).aliases[0].strategy, Some(strategy));
    }
    let wrong = World::default().var("OPENAI_API_KEY", "k").var("DEFAULT_ROUTING_STRATEGY", "fastest").problems();
    assert!(wrong.contains("there is: fallback, "), "{wrong}");
}

#[test]
fn priorities_of_aliases_within_aliases_are_numbered_through() {
    let file = r#"
providers: {openai: {api_key: k}, anthropic: {api_key: k}}
aliases:
  outer: {targets: [{model: inner, priority: 5}, openai/first, {model: openai/last, priority: 9}]}
  inner: {targets: [{model: openai/inner-second, priority: 1}, openai/inner-first]}
"#;
    let config = World::default().file("gateway.yaml", file).config();
    let targets: Vec<(&str, u32)> =
        config.aliases[0].targets.iter().map(|target| (target.model.as_str(), target.priority)).collect();
    assert_eq!(targets, [("inner-second", 2), ("inner-first", 1), ("first", 0), ("last", 3)]);
}

#[test]
fn canaries_are_percentages_of_single_targets() {
    let problems = |targets: &str| {
        let file = format!(
            "providers: {{openai: {{api_key: k}}}}\naliases:\n  two: {{targets: [gpt-5, gpt-4]}}\n  a: {targets}\n"
        );
        World::default().file("gateway.yaml", file).load().err().map(|problems| problems.to_string())
    };
    assert_eq!(problems("{targets: [{model: gpt-5, canary: 60}, {model: gpt-4, canary: 40}]}"), None);
    for (targets, words) in [
        ("{targets: [{model: gpt-5, canary: 60}, {model: gpt-4, canary: 41}]}", "canaries for 101 %"),
        ("{targets: [{model: two, canary: 5}, gpt-5]}", "stands for several targets"),
        ("{targets: [gpt-5], on_context_overflow: [{model: gpt-4, canary: 5}]}", "only `targets` can have"),
        ("{targets: [{model: gpt-5, canary: 101}]}", "canary"),
    ] {
        let said = problems(targets).unwrap_or_default();
        assert!(said.contains(words), "{targets}: {said}");
    }
}

#[test]
fn dot_env_lines() {
    let value = |line: &str| {
        let mut report = Report::default();
        let world = World::default().file(".env", line);
        let found = Variables::read(&world, &mut report).get("A", &mut report).unwrap().map(|variable| variable.value);
        (found, report.problems.len())
    };
    for (line, expected) in [
        ("A=b", Some("b")),
        ("  export  A = b c  ", Some("b c")),
        ("A=b # comment", Some("b")),
        ("A=b#c", Some("b#c")),
        ("A=# comment", None),
        ("A=", None),
        ("A=\"b # c\" # d", Some("b # c")),
        (r#"A="b\n\"\\\$c""#, Some("b\n\"\\$c")),
        (r"A='b\n$c'", Some(r"b\n$c")),
        ("A=1\nA=2", Some("2")),
        ("\u{feff}A=b\r\n", Some("b")),
        ("#A=b", None),
    ] {
        assert_eq!(value(line), (expected.map(str::to_owned), 0), "{line}");
    }
    for broken in ["A", "A B=c", "A='b", "A=\"b\\", "A='b' c", "=b"] {
        assert_eq!(value(broken), (None, 1), "{broken}");
    }
}

#[test]
fn mistyped_variables_get_a_warning() {
    let warnings = |name: &str| World::default().var(name, "x").config().warnings;
    for (name, meant) in [
        ("OPENAI_APIKEY", "OPENAI_API_KEY"),
        ("ANTROPIC_API_KEY", "ANTHROPIC_API_KEY"),
        ("OPENAI_API_BASE", "OPENAI_BASE_URL"),
        ("CACHE_ENABLE", "CACHE_ENABLED"),
        ("RATELIMIT_ENABLED", "RATE_LIMIT_ENABLED"),
    ] {
        assert_eq!(warnings(name), [format!("{name} is not read; did you mean {meant}?")]);
    }
    for innocent in ["PATH", "HOSTNAME", "HOME", "PORTS", "COHERE_API_KEY", "GITHUB_TOKEN", "PWD", "LANG"] {
        assert_eq!(warnings(innocent), [""; 0], "{innocent}");
    }
}

#[test]
fn start_rules() {
    #[derive(Debug, PartialEq)]
    enum Start {
        Sandbox,
        Serve,
        /// Only if there is a key in the database.
        WithKeys,
        Refuse(&'static str),
    }
    use Start::*;
    const NO_PROVIDER: &str = "providers: there is none";
    const KEYS: &str =
        "keys: [{name: a, hash: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}]\n";
    let nothing = World::default;
    let key = || World::default().var("OPENAI_API_KEY", "k");
    let exposed = || key().var("HOST", "0.0.0.0");
    let rows: Vec<(&str, World, bool, Start)> = vec![
        ("nothing at all", nothing(), false, Sandbox),
        ("another loopback address", nothing().var("HOST", "127.0.0.2"), false, Sandbox),
        ("localhost", nothing().var("HOST", "localhost").var("PORT", "1"), false, Sandbox),
        ("IPv6 loopback", nothing().var("HOST", "::1"), false, Sandbox),
        ("an empty key", nothing().var("OPENAI_API_KEY", ""), false, Sandbox),
        ("a key", key(), false, Serve),
        ("a key in .env", nothing().file(".env", "ANTHROPIC_API_KEY=k"), false, Serve),
        ("an empty file", nothing().file("gateway.yaml", ""), false, Refuse(NO_PROVIDER)),
        ("a file without a provider", nothing().file("gateway.yaml", "log: {level: info}"), false, Refuse(NO_PROVIDER)),
        ("Redis", nothing().var("REDIS_URL", "redis://h"), false, Refuse(NO_PROVIDER)),
        ("a database", nothing().var("DATABASE_URL", "sqlite://f"), false, Refuse(NO_PROVIDER)),
        (
            "a mistyped key and a file",
            nothing().file("gateway.yaml", "").var("OPENAI_APIKEY", "k"),
            false,
            Refuse("did you mean OPENAI_API_KEY?"),
        ),
        ("off loopback, nothing else", nothing().var("HOST", "0.0.0.0"), false, Refuse(NO_PROVIDER)),
        ("off loopback", exposed(), false, WithKeys),
        ("off loopback, IPv6", key().var("HOST", "::"), false, WithKeys),
        ("off loopback, allowed", exposed().var("GATEWAY_ALLOW_ANONYMOUS", "true"), false, Serve),
        ("off loopback, explicitly not", exposed().var("GATEWAY_ALLOW_ANONYMOUS", "false"), false, WithKeys),
        ("off loopback, keys in the file", exposed().file("gateway.yaml", KEYS), false, Serve),
        ("--sandbox", nothing(), true, Sandbox),
        ("--sandbox with a key", key(), true, Sandbox),
        (
            "--sandbox with a file",
            nothing().file("gateway.yaml", "providers: {openai: {api_key: \"${X}\"}}"),
            true,
            Sandbox,
        ),
        ("--sandbox off loopback", nothing().var("HOST", "0.0.0.0"), true, WithKeys),
        ("a short admin key", key().var("GATEWAY_ADMIN_KEY", "s9!kfk3l0s9dkcm"), false, Refuse("fewer than 16")),
        ("an admin key of 16", key().var("GATEWAY_ADMIN_KEY", "s9!kfk3l0s9dkcmq"), false, Serve),
        (
            "a well-known admin key",
            key().var("GATEWAY_ADMIN_KEY", "sk-1234567890123456"),
            false,
            Refuse("easy to guess"),
        ),
        (
            "a repeated admin key",
            key().var("GATEWAY_ADMIN_KEY", "aaaaaaaaaaaaaaaaaaaaa"),
            false,
            Refuse("easy to guess"),
        ),
        (
            "an example's admin key",
            key().var("GATEWAY_ADMIN_KEY", "Please-Change-Me-1950"),
            false,
            Refuse("easy to guess"),
        ),
    ];
    for (what, world, sandbox, expected) in rows {
        let args = Args { sandbox, ..Args::default() };
        match (load(&args, &world), &expected) {
            (Ok(config), _) => {
                let start = match config.sandbox {
                    _ if config.server.wants_keys() && config.keys.is_empty() => WithKeys,
                    true => Sandbox,
                    false => Serve,
                };
                assert_eq!(start, expected, "{what}");
                assert_eq!(config.sandbox, config.providers.is_empty(), "{what}");
            }
            (Err(problems), Refuse(why)) => {
                assert!(problems.to_string().contains(why), "{what}: {problems}");
            }
            (Err(problems), _) => panic!("{what}: {problems}"),
        }
    }
}

#[test]
fn the_sandbox_has_both_vendors_at_the_simulator() {
    let providers = Config::sandbox_providers("127.0.0.1:4321".parse().unwrap());
    let told: Vec<_> = providers.iter().map(|p| (p.name.as_str(), p.base_url.to_string(), p.auth.clone())).collect();
    assert_eq!(
        told,
        [
            ("openai", "http://127.0.0.1:4321/v1".to_owned(), Auth::Bearer),
            ("anthropic", "http://127.0.0.1:4321".to_owned(), Auth::Header(http::HeaderName::from_static("x-api-key"))),
        ]
    );
    assert!(providers[0].serves("gpt-4") && providers[1].serves("claude-x"));
    assert_eq!(providers[1].dialect, ProviderDialect::AnthropicMessages);
    assert_eq!(providers[1].headers.len(), 1);
}

#[test]
fn aliases_resolve_to_providers() {
    let file = r#"
providers:
  openai: {api_key: k}
  local: {dialect: openai_chat, base_url: "http://127.0.0.1:1", models: [gpt-oss, qwen3]}
aliases:
  outer: {targets: [{model: inner, weight: 3}, openai/some/path]}
  inner: {strategy: fallback, targets: [{model: gpt-4o, weight: 2}, qwen3]}
  gpt-4o: {targets: [gpt-4o, gpt-oss]}
"#;
    let config = World::default().file("gateway.yaml", file).config();
    let targets = |alias: usize| -> Vec<String> {
        let targets = config.aliases[alias].targets.iter();
        targets.map(|target| format!("{}/{}*{}", target.provider, target.model, target.weight)).collect()
    };
    // A listed model wins over the prefix of another provider.
    assert_eq!(targets(2), ["openai/gpt-4o*1", "local/gpt-oss*1"]);
    assert_eq!(targets(1), ["openai/gpt-4o*2", "local/gpt-oss*2", "local/qwen3*1"]);
    assert_eq!(targets(0), ["openai/gpt-4o*6", "local/gpt-oss*6", "local/qwen3*3", "openai/some/path*1"]);
}

#[test]
fn aliases_that_multiply_without_end_are_refused() {
    let mut file = String::from("providers: {openai: {api_key: k}}\naliases:\n");
    for level in 0..20 {
        let next = vec![format!("a{}", level + 1); 10].join(", ");
        file.push_str(&format!("  a{level}: {{targets: [{next}]}}\n"));
    }
    file.push_str("  a20: {targets: [nowhere/x]}\n");
    assert!(World::default().file("gateway.yaml", file).problems().contains("leads through too many aliases"));
}

#[test]
fn the_effective_configuration_reads_back_as_itself_and_hides_secrets() {
    let world = example().var("REDIS_URL", "redis://:canary@h").var("GATEWAY_ADMIN_KEY", "canary-s9!kfk3l0s9dkcmq");
    let shown = super::check(&Args::default(), &world).unwrap();
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("  admin_key: (hidden)  # GATEWAY_ADMIN_KEY\n"), "{shown}");
    assert!(shown.contains("  port: 8000  # gateway.yaml:2:25\n"), "{shown}");
    assert!(
        shown.contains("  base_url: https://api.openai.com/v1\n")
            || shown.contains("    base_url: https://api.openai.com/v1\n")
    );
    let value = |text: &str| yaml::read("", text).unwrap().to_json();
    let resolved = resolve(&Args::default(), &world).unwrap_or_else(|problems| panic!("{problems}"));
    let mut expected = serde_json::to_value(&resolved.file).unwrap();
    let mut actual = value(&shown);
    // `30` and `30.0` are one number.
    for json in [&mut expected, &mut actual] {
        *json = serde_json::from_str(&json.to_string().replace(".0,", ",").replace(".0}", "}")).unwrap();
    }
    assert_eq!(actual, expected);
    // A target may be a canary, which is no secret.
    assert!(!format!("{:?}", resolved.config).replace("canary: None", "").contains("canary"));
}

#[test]
fn the_interpreter_knows_every_keyword_of_the_schema() {
    const ASSERTIONS: &[&str] = &[
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "enum",
        "exclusiveMinimum",
        "items",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "oneOf",
        "properties",
        "required",
        "type",
    ];
    const NOTES: &[&str] =
        &["$defs", "$schema", "default", "description", "format", "title", "writeOnly", "x-in-effect"];
    fn visit(schema: &serde_json::Value) {
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            assert!(ASSERTIONS.contains(&keyword.as_str()) || NOTES.contains(&keyword.as_str()), "{keyword}");
            match keyword.as_str() {
                "properties" | "$defs" => value.as_object().unwrap().values().for_each(visit),
                "anyOf" | "oneOf" => value.as_array().unwrap().iter().for_each(visit),
                "items" | "additionalProperties" => visit(value),
                _ => {}
            }
        }
    }
    visit(&serde_json::from_str(&json_schema()).unwrap());
}

#[test]
fn base_urls() {
    for (text, shown, host) in [
        ("https://api.openai.com/v1", "https://api.openai.com/v1", "api.openai.com"),
        ("HTTP://127.0.0.1:8080/", "http://127.0.0.1:8080", "127.0.0.1"),
        ("http://[::1]:1/a/b//", "http://[::1]:1/a/b", "::1"),
        ("http://h", "http://h", "h"),
    ] {
        let url = BaseUrl::parse(text).unwrap();
        assert_eq!((url.to_string().as_str(), url.host()), (shown, host));
    }
    for bad in [
        "",
        "api.openai.com",
        "ftp://h",
        "https://",
        "https:///v1",
        "https://u@h",
        "https://u:p@h/v1",
        "https://h?x",
        "https://h/#f",
        "https://h:",
        "https://h:99999",
        "https://h:x",
        "https://a b/v1",
        "https://h/a b",
        "https://h/\u{e9}\n",
        "//h",
        "https://h\\@x",
    ] {
        assert!(BaseUrl::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn every_vendor_row_loads_with_what_only_the_operator_knows() {
    for vendor in vendors::all().unwrap() {
        let mut world = World::default().file("gateway.yaml", format!("providers: {{{}: }}", vendor.name));
        if let Some(key) = &vendor.key_variable {
            world = world.var(key, "k");
        }
        if let (None, Some(example)) = (&vendor.base_url, &vendor.base_url_example) {
            world = match &vendor.base_url_variable {
                Some(variable) => world.var(variable, example),
                None => {
                    world.file("gateway.yaml", format!("providers: {{{}: {{base_url: '{example}'}}}}", vendor.name))
                }
            };
        }
        let config = world.config();
        let [provider] = &config.providers[..] else { panic!("{} is not alone", vendor.name) };
        assert_eq!(provider.name, vendor.name);
        assert_eq!(provider.default_model, vendor.default_model, "{}", vendor.name);
        assert_eq!(provider.auth == Auth::None, vendor.key_variable.is_none(), "{}", vendor.name);
        assert_eq!(config.warnings, [""; 0], "{}", vendor.name);
    }
}

#[test]
fn every_vendor_row_agrees_with_the_table_of_models() {
    let models = gateway_policy::models::ModelTable::bundled().unwrap();
    let mut names = std::collections::HashSet::new();
    for vendor in vendors::all().unwrap() {
        let name = &vendor.name;
        assert!(names.insert(name.clone()), "two rows are named {name}");
        let Some(table) = &vendor.model_table else { continue };
        assert!(models.vendors().any(|known| known == table), "{name}: no vendor is named {table}");
        if let Some(default) = &vendor.default_model {
            let facts = models.find(table, default).unwrap_or_else(|| panic!("{name}: {default} is unknown"));
            assert!(facts.price.is_some() && !facts.deprecated, "{name}: {default}");
        }
    }
}

#[test]
fn a_key_goes_where_the_file_puts_it() {
    let names = |file: &str| -> Vec<String> {
        let world = World::default().file("gateway.yaml", file);
        let world = world.var("AZURE_OPENAI_API_KEY", "k").var("AZURE_OPENAI_ENDPOINT", "https://a.example");
        world.config().providers.into_iter().map(|provider| provider.name).collect()
    };
    assert_eq!(names(""), ["azure"], "the first row with this variable");
    assert_eq!(names("providers: {azure-deployments: }"), ["azure-deployments"]);
    assert_eq!(names("providers: {azure-deployments: , azure: }"), ["azure-deployments", "azure"]);
    let own = "{vendor: azure, base_url: 'https://b.example', api_key: \"${AZURE_OPENAI_API_KEY}\"}";
    assert_eq!(names(&format!("providers: {{east: {own}}}")), ["east"]);
}

#[test]
fn a_vendor_without_an_address_says_what_to_set() {
    let azure = World::default().var("AZURE_OPENAI_API_KEY", "k").problems();
    assert!(azure.contains("providers.azure.base_url: is missing"), "{azure}");
    assert!(azure.contains("https://RESOURCE.openai.azure.com, here or in AZURE_OPENAI_ENDPOINT"), "{azure}");
    let vllm = World::default().file("gateway.yaml", "providers: {vllm: {models: [qwen3]}}").problems();
    assert!(
        vllm.contains("providers.vllm.base_url: is missing") && vllm.contains("http://127.0.0.1:8001/v1"),
        "{vllm}"
    );
}

#[test]
fn a_provider_of_any_name_may_be_of_a_known_vendor() {
    let file = |provider: &str| World::default().file("gateway.yaml", format!("providers: {{{provider}}}"));
    let config =
        file("main: {vendor: openai, api_key: k, quirks: {stream_options: false}, model_prefixes: [x-]}").config();
    let main = &config.providers[0];
    assert_eq!((main.name.as_str(), main.model_table.as_deref()), ("main", Some("openai")));
    assert_eq!(main.base_url.to_string(), "https://api.openai.com/v1");
    assert_eq!(main.quirks.output_limit, OutputLimit::MaxCompletionTokens, "what is not said is the vendor's");
    assert!(!main.quirks.stream_options && main.serves("x-1") && !main.serves("gpt-4o"), "what is said is not");

    let wrong = file("main: {vendor: opnai}").problems();
    assert!(wrong.contains("\"opnai\" is not a known vendor") && wrong.contains("did you mean `openai`?"), "{wrong}");
    let other = file("groq: {vendor: openai, api_key: k}").problems();
    assert!(other.contains("providers.groq.vendor: is not the vendor of this name"), "{other}");
    let no_key = file("main: {vendor: groq}").problems();
    assert!(no_key.contains("write it as \"${GROQ_API_KEY}\""), "{no_key}");
}

proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(text in "([a-z:{}\\[\\],&*!|>'\"#$ \n\t-]|\\$\\{A\\}|\u{e9}|server|port|: |\n  ){0,60}") {
        let world = World::default().file("gateway.yaml", &text).file(".env", &text).var("A", &text.replace('\0', ""));
        _ = world.load();
        _ = BaseUrl::parse(&text);
    }
}
