//! Streams: how soon a provider learns that nobody listens, what an idle one costs, and how they end with the program.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use simulator::{Config, Ending};

use super::{Figure, gateway, milliseconds, simulator};
use crate::AnyError;
use crate::dialect::{Client, Ear};
use crate::http::{Broken, Connection};
use crate::load::{quantile, question};

/// A stream that has said something.
async fn begin(address: SocketAddr, model: &str) -> Result<(Connection, Ear), Broken> {
    let mut connection = Connection::open(address).await?;
    connection.send(&question(address, model, true)).await?;
    connection.head().await?;
    let mut ear = Ear::new(Client::OpenAi);
    while ear.heard.contents == 0 {
        match connection.next().await? {
            Some(bytes) => ear.push(&bytes),
            None => return Err(Broken::Cut),
        }
    }
    Ok((connection, ear))
}

/// Clients leave, before the first content and after it, one after the other.
pub(super) async fn cancel(program: &Path) -> Result<Vec<Figure>, AnyError> {
    const SAMPLES: usize = 500;
    let provider = simulator(Config::default()).await?;
    let gateway = gateway(program, &[("a", provider.addr())], "").await?;
    let mut figures = Vec::new();
    for (when, fault, begun) in
        [("before the first content", "stall", false), ("in the middle of a stream", "stall_after=3", true)]
    {
        let model = format!("a/sim+fault:{fault}");
        let (mut times, mut never) = (Vec::new(), 0);
        for sample in 0..SAMPLES {
            let connection = if begun {
                begin(gateway.address, &model).await?.0
            } else {
                let mut connection = Connection::open(gateway.address).await?;
                connection.send(&question(gateway.address, &model, true)).await?;
                while provider.open() == 0 {
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
                connection
            };
            let left = Instant::now();
            if sample % 2 == 0 {
                drop(connection)
            } else {
                connection.reset()
            }
            while provider.open() > 0 && left.elapsed() < Duration::from_secs(5) {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            let entry = provider.take_ledger().pop();
            match entry.filter(|entry| matches!(entry.ending, Ending::PeerClosed { .. })).and_then(|entry| entry.ended)
            {
                Some(ended) => times.push((provider.started() + ended).saturating_duration_since(left)),
                None => never += 1,
            }
        }
        let (p50, p99) = (milliseconds(quantile(times.clone(), 0.5)), milliseconds(quantile(times, 0.99)));
        figures.push(Figure::new(
            format!("a client leaves {when}: its provider's connection is closed"),
            "p99 ≤ 100 ms",
            format!("p50 {p50:.2} ms, p99 {p99:.2} ms of {SAMPLES}, {never} never"),
            p99 <= 100.0 && never == 0,
        ));
    }
    Ok(figures)
}

/// Open files that this process may have.
fn open_files_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    line.split_ascii_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(1024)
}

/// Streams that say nothing: before their first content, and after some.
pub(super) async fn idle(program: &Path) -> Result<Vec<Figure>, AnyError> {
    // Each stream has two ends here, the client's and the provider's, and two in the gateway.
    let most = 10_000.min(open_files_limit().saturating_sub(200) / 2);
    let mut figures = Vec::new();
    for (when, begun) in [("before its first content", false), ("in the middle", true)] {
        for count in [1_000, most] {
            let each = idle_memory_kib(program, count, begun).await?;
            figures.push(Figure::new(
                format!("resident memory for each of {count} open streams that say nothing, {when}"),
                "≤ 64 KiB",
                format!("{each:.1} KiB"),
                each <= 64.0,
            ));
        }
    }
    Ok(figures)
}

async fn idle_memory_kib(program: &Path, count: usize, begun: bool) -> Result<f64, AnyError> {
    let provider = simulator(Config::default()).await?;
    let gateway = gateway(program, &[("a", provider.addr())], "").await?;
    for _ in 0..50 {
        begin(gateway.address, "a/sim").await?;
    }
    let before = gateway.resources()?;
    let mut streams = Vec::new();
    while streams.len() < count {
        let batch: Vec<_> = (streams.len()..count.min(streams.len() + 100))
            .map(|_| {
                let address = gateway.address;
                tokio::spawn(async move {
                    if begun {
                        return Ok(begin(address, "a/sim+fault:stall_after=3").await?.0);
                    }
                    let mut connection = Connection::open(address).await?;
                    connection.send(&question(address, "a/sim+fault:stall", true)).await?;
                    Ok::<_, Broken>(connection)
                })
            })
            .collect();
        for stream in batch {
            streams.push(stream.await??);
        }
    }
    let patience = Instant::now() + Duration::from_secs(30);
    while provider.open() < count && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    if provider.open() != count {
        return Err(format!("{} streams are open instead of {count}", provider.open()).into());
    }
    let after = gateway.resources()?;
    Ok(after.resident_kib.saturating_sub(before.resident_kib) as f64 / count as f64)
}

pub(super) async fn drain(program: &Path) -> Result<Vec<Figure>, AnyError> {
    const STREAMS: usize = 1_000;
    // Three seconds after the beginning, which is inside the time that a drain may take.
    let provider =
        simulator(Config { chunks: Some(40), chunk_delay: Duration::from_millis(150), ..Config::default() }).await?;
    let mut gateway = gateway(program, &[("a", provider.addr())], "").await?;
    let mut streams = Vec::new();
    for _ in 0..STREAMS / 50 {
        let batch: Vec<_> = (0..50)
            .map(|_| {
                let address = gateway.address;
                tokio::spawn(async move { begin(address, "a/sim").await })
            })
            .collect();
        for stream in batch {
            streams.push(stream.await??);
        }
    }
    let open = provider.open();
    gateway.signal("TERM")?;
    let asked = Instant::now();
    let reading: Vec<_> = streams
        .into_iter()
        .map(|(mut connection, mut ear)| {
            tokio::spawn(async move {
                while let Ok(Some(bytes)) = connection.next().await {
                    ear.push(&bytes);
                }
                ear.heard.done && !ear.heard.error
            })
        })
        .collect();
    let mut dropped = 0;
    for stream in reading {
        dropped += usize::from(!stream.await?);
    }
    let status = loop {
        match gateway.ended() {
            Some(status) => break Some(status),
            None if asked.elapsed() > Duration::from_secs(40) => break None,
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let (seconds, code) = (asked.elapsed().as_secs_f64(), status.and_then(|status| status.code()));
    Ok(vec![Figure::new(
        "streams dropped at SIGTERM with 1,000 open",
        "0",
        format!("{dropped} of {open} open ones; exit code {code:?} after {seconds:.1} s").replace("Some(0)", "0"),
        dropped == 0 && code == Some(0) && open == STREAMS,
    )])
}
