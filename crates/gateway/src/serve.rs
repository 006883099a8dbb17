//! From a configuration to a running gateway, and from a signal to a clean end.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use gateway_core::dialect::Dialect;
use gateway_core::target::Target;
use http::HeaderMap;
use serde_json::json;
use simulator::Simulator;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::access::Door;
use crate::api::Arrival;
use crate::api::ingress::Inbound;
use crate::api::listen::{self, Phase, Workers};
use crate::attempt;
use crate::call::{Call, Caller};
use crate::cli;
use crate::config::{self, Config, Files, LogFormat, LogLevel, Watched};
use crate::gateway::{Current, Gateway, Process, VERSION};
use crate::limits::{self, Looked};
use crate::pipeline;
use crate::providers::probe;
use crate::reload::Reloader;
use crate::request_id::RequestId;
use crate::store::redis::Redis;
use crate::telemetry::explain::Explanations;
use crate::telemetry::log::{Format, Level, Log};

/// Between the announcement that the gateway goes away and the moment when it takes no more connections: load balancers need
/// a moment to hear of it.
const LAME_DUCK: Duration = Duration::from_secs(1);

/// For Redis to be told of the requests that ended last.
const SETTLING: Duration = Duration::from_secs(1);

/// Why the gateway does not run, in words for the operator.
#[derive(Debug)]
pub struct Refusal {
    pub why: String,
    pub exit: u8,
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Refusal { why, exit: 1 }
    }
}

fn refuse(refusal: impl Into<Refusal>) -> ExitCode {
    let refusal = refusal.into();
    cli::complain(&format!("llm-gateway: {}\n", refusal.why));
    refusal.exit.into()
}

/// `llm-gateway serve`
pub fn run(args: &config::Args) -> ExitCode {
    // A stream that says nothing holds buffers of which it uses the beginning: with huge pages it would hold all of them.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let environment = Watched::new(&config::System);
    let config = match config::load(args, &environment) {
        Ok(config) => config,
        Err(problems) => {
            cli::complain(&format!("{problems}\n"));
            return cli::EXIT_USAGE.into();
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(format!("cannot start: {error}")),
    };
    match runtime.block_on(serve(config, args.clone(), environment.files())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => refuse(refusal),
    }
}

fn start_log(config: &Config, explanations: Explanations) -> Result<Log, String> {
    let format = match config.log.format {
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    };
    let level = match config.log.level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warn,
        LogLevel::Info => Level::Info,
        LogLevel::Debug | LogLevel::Trace => Level::Debug,
    };
    Log::start(format, level, explanations, std::io::stdout()).map_err(|error| format!("cannot start the log: {error}"))
}

/// The first gateway of a process.
pub(crate) fn assemble(config: Config) -> Result<Gateway, String> {
    let redis = config.storage.redis_url.as_ref().map(|url| Redis::start(url, limits::SCRIPTS)).transpose()?;
    let log = start_log(&config, Explanations::new(redis.clone()))?;
    let process = Process::new(log, redis)?;
    let gateway = Gateway::new(Arc::new(process), config, None)?;
    gateway.process.metrics.configuration_loaded(gateway.loaded_at);
    Ok(gateway)
}

/// `files`: those from which `config` was read.
async fn serve(mut config: Config, args: config::Args, files: Files) -> Result<(), Refusal> {
    let simulator = if config.sandbox {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let simulator = Simulator::start(simulator::Config::default(), any).await;
        let simulator = simulator.map_err(|error| format!("the simulated providers cannot start: {error}"))?;
        config.providers = Config::sandbox_providers(simulator.addr());
        Some(simulator)
    } else {
        None
    };
    let addr = config.server.addr();
    let current = Arc::new(Current::new(assemble(config)?));
    let gateway = current.get();
    let process = gateway.process.clone();
    if let Some(database) = &gateway.config.storage.database {
        process.open_store(database.clone()).await?;
    }
    if gateway.config.server.wants_keys() && !process.keys.has_keys() {
        let host = gateway.config.server.host;
        let why = format!(
            "server.host: {host} is not loopback, and callers would need no key\n    make a key with `llm-gateway keys create`, or set GATEWAY_ALLOW_ANONYMOUS=true if only your own can reach it"
        );
        return Err(Refusal { why, exit: cli::EXIT_USAGE });
    }
    let shared = gateway.config.server.reuse_port;
    let bind = |addr| listen::bind(addr, shared).map_err(|error| format!("cannot listen on {addr}: {error}"));
    let mut listeners = vec![bind(addr)?];
    let addr = listeners[0].local_addr().map_err(|error| error.to_string())?;
    let mut admin_addr = None;
    if let Some(addr) = gateway.config.server.admin_addr {
        let listener = bind(addr)?;
        admin_addr = listener.local_addr().ok();
        listeners.push(listener);
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut hangup = signal(SignalKind::hangup()).map_err(|error| error.to_string())?;

    let (phase, phases) = watch::channel(Phase::Serving);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // In the order of their listeners.
    let doors = [(Door::Public, cores), (Door::Admin, 1)];
    let start = |(door, count)| Workers::start(door, count, &process, &current, &phases);
    let workers: Result<Vec<Workers>, _> = doors.into_iter().take(listeners.len()).map(start).collect();
    let workers = workers.map_err(|error| format!("cannot start workers: {error}"))?;
    greet(&gateway, addr, admin_addr);
    tokio::spawn({
        let process = process.clone();
        async move {
            if let Some(shared) = process.limiter.shared() {
                shared.watch(&process.log).await;
            }
        }
    });
    // Simulated providers have nothing that could be read anew.
    let reloader = match gateway.config.sandbox {
        true => None,
        false => Some(Reloader::start(current.clone(), args, files).map_err(|error| error.to_string())?),
    };
    drop(gateway);
    let reload = async {
        while hangup.recv().await.is_some() {
            match &reloader {
                Some(reloader) => reloader.ask(),
                None => process.log.event(Level::Info, "nothing to reload: this is the sandbox", []),
            }
        }
        std::future::pending::<()>().await;
    };

    let signalled = async {
        tokio::select! {
            _ = terminate.recv() => LAME_DUCK,
            _ = interrupt.recv() => Duration::ZERO,
        }
    };
    let lame_duck = tokio::select! {
        () = accept(&listeners, &workers, &phases, &current) => Duration::ZERO,
        () = reload => Duration::ZERO,
        () = probe::run(&current) => Duration::ZERO,
        lame_duck = signalled => lame_duck,
    };
    drop(reloader);
    process.drain();
    let drain_timeout = current.get().config.server.drain_timeout;
    process.log.event(
        Level::Info,
        "draining",
        [("open_connections", workers.iter().map(Workers::open).sum::<usize>().into())],
    );
    let again = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let drain = async {
        let _ = tokio::time::timeout(lame_duck, accept(&listeners, &workers, &phases, &current)).await;
        // What nobody accepts must not be sent here: another process may listen at the same address.
        for (listener, workers) in listeners.into_iter().zip(&workers) {
            listen::close(listener, workers);
        }
        let _ = phase.send(Phase::Draining);
        let deadline = Instant::now() + drain_timeout;
        let open = || workers.iter().map(Workers::open).sum::<usize>();
        while open() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = drain => {}
        // Asked twice, the gateway does not wait.
        () = again => {}
    }
    process.close();
    let _ = phase.send(Phase::Closing);
    workers.into_iter().for_each(Workers::join);
    if let Some(shared) = process.limiter.shared() {
        shared.settled(SETTLING).await;
    }
    if let Some(simulator) = simulator {
        simulator.stop().await;
    }
    process.log.event(Level::Info, "stopped", []);
    process.log.flush();
    Ok(())
}

/// Accepts connections at every address until the drain begins.
async fn accept(listeners: &[TcpListener], workers: &[Workers], phases: &watch::Receiver<Phase>, current: &Current) {
    let doors = listeners.iter().zip(workers);
    join_all(doors.map(|(listener, workers)| listen::accept(listener, workers, phases.clone(), current))).await;
}

/// Says where the gateway listens, what it has, and what to try next.
fn greet(gateway: &Gateway, addr: SocketAddr, admin: Option<SocketAddr>) {
    let scheme = if gateway.tls.is_some() { "https" } else { "http" };
    let shown = if addr.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port())) } else { addr };
    let providers: Vec<&str> = gateway.catalog.providers().iter().map(|provider| &*provider.name).collect();
    gateway.process.log.event(
        Level::Info,
        "listening",
        [
            ("address", addr.to_string().into()),
            ("admin_address", admin.map(|addr| addr.to_string()).into()),
            ("version", VERSION.into()),
            ("providers", json!(providers)),
            ("sandbox", gateway.config.sandbox.into()),
            ("start_ms", (gateway.process.started.elapsed().as_millis() as u64).into()),
        ],
    );
    for warning in &gateway.config.warnings {
        gateway.process.log.event(Level::Warn, warning.clone(), []);
    }
    let admin = admin.map(|addr| format!("for the operator: {scheme}://{addr}\n")).unwrap_or_default();
    let (mode, key) = match (gateway.config.sandbox, gateway.process.keys.has_keys()) {
        (true, false) => (" (sandbox: simulated, no key needed)", ""),
        (true, true) => (" (sandbox: simulated)", " -H 'authorization: Bearer YOUR_KEY'"),
        (false, false) => ("", ""),
        (false, true) => ("", " -H 'authorization: Bearer YOUR_KEY'"),
    };
    cli::complain(&format!(
        "\nllm-gateway {VERSION} listens on {scheme}://{shown}\nproviders: {}{mode}\ntry: curl -s {scheme}://{shown}/v1/completions \
         -H 'content-type: application/json'{key} \\\n       -d '{{\"messages\": [{{\"role\": \"user\", \"content\": \"What is the capital of France?\"}}]}}'\n\
         docs: {scheme}://{shown}/docs\n{admin}\n",
        providers.join(", ")
    ));
}

/// `llm-gateway sandbox`
pub fn sandbox(port: u16) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(format!("cannot start: {error}")),
    };
    runtime.block_on(async {
        let simulator =
            match Simulator::start(simulator::Config::default(), SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
                Ok(simulator) => simulator,
                Err(error) => return refuse(format!("cannot listen on 127.0.0.1:{port}: {error}")),
            };
        cli::print(&format!("simulated OpenAI and Anthropic on http://{}\n", simulator.addr()));
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return refuse("signals cannot be handled here".to_owned());
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        simulator.stop().await;
        ExitCode::SUCCESS
    })
}

/// What a request would lose and gain on its way to `target`.
fn told_to(gateway: &Gateway, call: &Call, target: &Target) -> Vec<String> {
    let Some(provider) = gateway.catalog.provider(&target.provider) else { return Vec::new() };
    if Dialect::from(target.dialect) == call.dialect {
        return vec!["would be told the request as it came".to_owned()];
    }
    let facts = gateway.catalog.facts(provider, &target.model);
    match attempt::translate(gateway, call, target, &facts, provider.config.quirks) {
        Ok(encoded) => {
            let named = [
                ("would not be told: ", encoded.dropped),
                ("would be told in other words: ", encoded.approximated),
                ("would be added: ", encoded.added),
            ];
            let named = named.into_iter().filter(|(_, names)| !names.is_empty());
            named.map(|(what, names)| format!("{what}{}", names.join(", "))).collect()
        }
        Err(error) => vec![format!("would refuse the request: {error}")],
    }
}

/// `llm-gateway explain`: the plan for a request, without sending anything.
pub fn explain(arguments: &cli::Explain) -> Result<String, String> {
    let args = config::Args { config: arguments.config.clone(), ..config::Args::default() };
    let mut config = config::load(&args, &config::System).map_err(|problems| problems.to_string())?;
    if config.sandbox {
        config.providers = Config::sandbox_providers(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    }
    let path = arguments.request.display();
    let body = std::fs::read(&arguments.request).map_err(|error| format!("{path}: {error}"))?;
    // Nothing is sent, to Redis neither.
    config.storage.redis_url = None;
    let gateway = assemble(config)?;
    let arrival = Arrival {
        started: Instant::now(),
        request_id: RequestId::new(),
        correlation_id: None,
        dialect: Dialect::Native,
        caller: Caller::Address(Ipv4Addr::LOCALHOST.into()),
    };
    let admitted = gateway.process.admission.unbounded();
    let inbound = Inbound {
        arrival,
        route: "explain",
        headers: HeaderMap::new(),
        body: Ok(Bytes::from(body)),
        admitted,
        looked: Looked::default(),
    };
    let call = Call::open(inbound, Dialect::Native, false).map_err(|error| format!("{path}: {error}"))?;
    let plan = match pipeline::plan(&gateway, &call) {
        Ok(plan) => plan,
        Err(error) => return Err(error.to_string()),
    };
    let mut text = format!("strategy: {}\n", plan.strategy.name());
    for (index, planned) in plan.targets.iter().enumerate() {
        text += &format!("{}. {planned}\n", index + 1);
        for told in told_to(&gateway, &call, &planned.target) {
            text += &format!("   {told}\n");
        }
    }
    for skipped in &plan.skipped {
        text += &format!("not tried: {skipped}\n");
    }
    Ok(text)
}
