//! The process itself: replaced, reconfigured, killed, with a clock that jumps, with little memory.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use simulator::Config;

use super::{Figure, configuration, gateway, milliseconds, percent, simulator};
use crate::AnyError;
use crate::dialect::Client;
use crate::http;
use crate::load::{Pool, Shot, quantile, question};
use crate::process::{Gateway, Surroundings};

/// The next process listens before the one before it is told to stop.
pub(super) async fn restarts(program: &Path) -> Result<Vec<Figure>, AnyError> {
    const RESTARTS: usize = 20;
    const RATE: f64 = 300.0;
    let provider = simulator(Config::default()).await?;
    let yaml = configuration(&[("a", provider.addr())], "server: {reuse_port: true}\n");
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let surroundings = Surroundings { port, ..Surroundings::default() };
    let mut running = Gateway::start_in(program, &yaml, &[], &surroundings).await?;
    let pool = Pool::new(running.address);
    // Longer than all restarts; told to stop when they are done.
    let stop = Arc::new(AtomicBool::new(false));
    let firing = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut shots = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                shots.append(&mut pool.fire("a/sim", RATE, Duration::from_secs(1)).await);
            }
            shots
        }
    });
    for _ in 0..RESTARTS {
        let next = Gateway::start_in(program, &yaml, &[], &surroundings).await?;
        running.signal("TERM")?;
        let asked = Instant::now();
        while running.ended().is_none() {
            if asked.elapsed() > Duration::from_secs(20) {
                return Err("a gateway does not end".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        running = next;
    }
    stop.store(true, Ordering::Relaxed);
    let shots = firing.await?;
    let failed = shots.iter().filter(|shot| !shot.good).count();
    Ok(vec![Figure::new(
        format!("requests failed in {RESTARTS} rolling restarts at {RATE:.0}/s"),
        "0",
        format!("{failed} of {}", shots.len()),
        failed == 0,
    )])
}

/// The same load with and without a new configuration twice a second.
pub(super) async fn reload(program: &Path) -> Result<Vec<Figure>, AnyError> {
    const RATE: f64 = 500.0;
    const LENGTH: Duration = Duration::from_secs(10);
    let provider = simulator(Config::default()).await?;
    let providers = [("a", provider.addr())];
    let gateway = gateway(program, &providers, "").await?;
    let pool = Pool::new(gateway.address);
    drop(pool.fire("a/sim", RATE, Duration::from_secs(2)).await);
    let quiet = pool.fire("a/sim", RATE, LENGTH).await;
    // On its own: whoever reloads starts a program and waits for it, and must not delay what is measured.
    let firing = tokio::spawn(async move { pool.fire("a/sim", RATE, LENGTH).await });
    let mut reloads = 0;
    while !firing.is_finished() {
        reloads += 1;
        let more = format!("retry: {{max_attempts: {}}}\n", 2 + reloads % 2);
        gateway.reload(&configuration(&providers, &more)).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let shots = firing.await?;
    let p99 = |shots: &[Shot]| milliseconds(quantile(shots.iter().map(|shot| shot.took).collect(), 0.99));
    let failed = shots.iter().filter(|shot| !shot.good).count();
    let (before, with) = (p99(&quiet), p99(&shots));
    Ok(vec![Figure::new(
        format!("time of an answer at {RATE:.0}/s with {reloads} reloads in {} s, and without", LENGTH.as_secs()),
        "p99 ≤ 1 ms more, 0 failed",
        format!("p99 {with:.2} instead of {before:.2} ms, {failed} of {} failed", shots.len()),
        with - before <= 1.0 && failed == 0,
    )])
}

/// Whoever has a whole answer has a line in the log, but for those that were written in the last moment.
pub(super) async fn kill(program: &Path) -> Result<Vec<Figure>, AnyError> {
    const KILLS: u64 = 20;
    const CLIENTS: usize = 16;
    /// Lines gather for 20 ms before they are written; the rest is for a busy machine.
    const BOUND: Duration = Duration::from_millis(100);
    let provider = simulator(Config { first_token_delay: Duration::from_millis(3), ..Config::default() }).await?;
    let (mut answers, mut lost, mut oldest, mut unanswered) = (0, 0, Duration::ZERO, 0);
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..KILLS {
        let gateway = gateway(program, &[("a", provider.addr())], "").await?;
        let address = gateway.address;
        let answered = Arc::new(Mutex::new(HashMap::new()));
        let begun = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (answered, begun) = (answered.clone(), begun.clone());
                tokio::spawn(async move {
                    let asked = question(address, "a/sim", false);
                    loop {
                        begun.fetch_add(1, Ordering::Relaxed);
                        let Ok((head, _)) = http::exchange(address, &asked).await else { return };
                        let id = head.header("x-request-id").unwrap_or_default().to_owned();
                        answered.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Instant::now());
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(random.u64(300..900))).await;
        gateway.signal("KILL")?;
        let killed = Instant::now();
        for client in clients {
            client.await?;
        }
        let told: HashSet<String> = gateway.last_lines().await.into_iter().map(|line| line.request_id).collect();
        let answered = std::mem::take(&mut *answered.lock().unwrap_or_else(PoisonError::into_inner));
        answers += answered.len();
        unanswered += begun.load(Ordering::Relaxed) - answered.len();
        for ended in answered.iter().filter(|(id, _)| !told.contains(*id)).map(|(_, ended)| *ended) {
            lost += 1;
            oldest = oldest.max(killed.saturating_duration_since(ended));
        }
    }
    Ok(vec![Figure::new(
        format!("age of answers that have no line in the log, at {KILLS} kills with {CLIENTS} clients"),
        "≤ 100 ms",
        format!(
            "{:.0} ms at most; {lost} of {answers} answers ({:.2} %), besides {unanswered} requests under way",
            milliseconds(oldest),
            percent(lost, answers)
        ),
        oldest <= BOUND,
    )])
}

/// The clock on the wall jumps by an hour, forth and back, while a provider rests.
pub(super) async fn clock(program: &Path) -> Result<Vec<Figure>, AnyError> {
    const WHAT: &str = "requests to a provider that rests for a minute, while the clock jumps by hours";
    const GOAL: &str = "none; all clients served";
    let library = ["x86_64", "aarch64"]
        .map(|machine| PathBuf::from(format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1")))
        .into_iter()
        .find(|path| path.exists());
    let Some(library) = library else {
        return Ok(vec![Figure::missing(WHAT, GOAL, "needs libfaketime; on Debian: apt-get install faketime")]);
    };
    let folder = tempfile::tempdir()?;
    let told = folder.path().join("clock");
    fs::write(&told, "+0")?;
    let env = vec![
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", told.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        // Half of it is drawn at random.
        ("CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "120".to_owned()),
    ];
    let (bad, good) = (simulator(Config::default()).await?, simulator(Config::default()).await?);
    let more = "aliases: {both: {strategy: fallback, targets: ['bad/sim+fault:status=500', good/sim]}}\n";
    let yaml = configuration(&[("bad", bad.addr()), ("good", good.addr())], more);
    let surroundings = Surroundings { env, ..Surroundings::default() };
    let gateway = Gateway::start_in(program, &yaml, &[], &surroundings).await?;
    let pool = Pool::new(gateway.address);
    let mut shots = pool.fire("both", 50.0, Duration::from_secs(1)).await;
    bad.take_ledger();
    let jumps = ["+1h", "-1h", "+25h", "+0", "-30m", "+1h"];
    let mut seen = HashSet::new();
    for jump in jumps {
        fs::write(&told, jump)?;
        shots.append(&mut pool.fire("both", 100.0, Duration::from_millis(500)).await);
        let (_, body) = http::exchange(gateway.address, &http::get(gateway.address, "/health")).await?;
        let health: serde_json::Value = serde_json::from_slice(&body)?;
        seen.insert(health["timestamp"].as_str().unwrap_or_default().get(..13).unwrap_or_default().to_owned());
    }
    if seen.len() < 3 {
        return Ok(vec![Figure::missing(WHAT, GOAL, format!("the program's clock did not jump: {seen:?}"))]);
    }
    let asked = bad.take_ledger().len();
    let served = percent(shots.iter().filter(|shot| shot.good).count(), shots.len());
    let value = format!("{asked} of {}; {served:.2} % served, {} jumps", shots.len(), jumps.len());
    Ok(vec![Figure::new(WHAT, GOAL, value, asked == 0 && served == 100.0)])
}

/// A control group; its folder goes when it is dropped.
struct Group(PathBuf);

impl Group {
    /// Of version 1 or 2 of the kernel's interface, where this process may make one.
    fn new(bytes: u64) -> Result<Self, AnyError> {
        let name = format!("llm-gateway-faults-{}", std::process::id());
        let folders = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let Some((root, limit)) = folders.into_iter().find(|(root, _)| Path::new(root).exists()) else {
            return Err("there are no control groups".into());
        };
        let group = Group(Path::new(root).join(name));
        fs::create_dir(&group.0)?;
        fs::write(group.0.join(limit), bytes.to_string())?;
        Ok(group)
    }

    fn peak(&self) -> Option<u64> {
        let names = ["memory.max_usage_in_bytes", "memory.peak"];
        names.iter().find_map(|name| fs::read_to_string(self.0.join(name)).ok()?.trim().parse().ok())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Empty once its process has ended.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Ten times the requests that fit into the memory of a group, each with a body of a MiB.
pub(super) async fn memory(program: &Path) -> Result<Vec<Figure>, AnyError> {
    const WHAT: &str = "alive in a group with 256 MiB of memory, with ten times the requests that fit";
    const GOAL: &str = "alive; others served or refused";
    const LIMIT: u64 = 256 << 20;
    const CLIENTS: usize = 480;
    let group = match Group::new(LIMIT) {
        Ok(group) => group,
        Err(error) => return Ok(vec![Figure::missing(WHAT, GOAL, format!("no control group: {error}"))]),
    };
    let provider = simulator(Config { first_token_delay: Duration::from_secs(1), ..Config::default() }).await?;
    let yaml = configuration(&[("a", provider.addr())], "");
    let surroundings = Surroundings { memory_group: Some(group.0.clone()), ..Surroundings::default() };
    let mut gateway = Gateway::start_in(program, &yaml, &[], &surroundings).await?;
    let address = gateway.address;
    let body = Client::OpenAi.body("a/sim", &"x".repeat(1 << 20), false).to_string();
    let asked = Arc::new(http::post(address, Client::OpenAi.path(), "", body.as_bytes()));
    let until = Instant::now() + Duration::from_secs(15);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let asked = asked.clone();
            tokio::spawn(async move {
                let mut told: HashMap<u16, usize> = HashMap::new();
                while Instant::now() < until {
                    let status = http::exchange(address, &asked).await.map_or(0, |(head, _)| head.status);
                    *told.entry(status).or_default() += 1;
                    if status != 200 {
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                }
                told
            })
        })
        .collect();
    let mut told: HashMap<u16, usize> = HashMap::new();
    for client in clients {
        for (status, count) in client.await? {
            *told.entry(status).or_default() += count;
        }
    }
    let alive = gateway.ended().is_none() && gateway.idle(Duration::from_secs(10)).await?;
    let count = |status: u16| told.get(&status).copied().unwrap_or_default();
    // Who is refused before the body is read may lose the answer to the reset that follows it.
    let (served, refused, cut) = (count(200), count(503), count(0));
    let other = told.values().sum::<usize>() - served - refused - cut;
    let peak = group.peak().unwrap_or_default() >> 20;
    drop(gateway);
    let value = format!("{served} served, {refused} refused, {cut} cut off, {other} other; {peak} MiB at most");
    Ok(vec![Figure::new(WHAT, GOAL, value, alive && served > 0 && other == 0)])
}
