//! Clients that open connections and say next to nothing.

use std::path::Path;
use std::time::Duration;

use simulator::Config;

use super::{Figure, gateway, milliseconds, percent, simulator};
use crate::AnyError;
use crate::http::Connection;
use crate::load::{Pool, Shot, quantile};

const ATTACKERS: usize = 5_000;
const LENGTH: Duration = Duration::from_secs(10);
const RATE: f64 = 100.0;

pub(super) async fn slowloris(program: &Path) -> Result<Vec<Figure>, AnyError> {
    let provider = simulator(Config::default()).await?;
    let gateway = gateway(program, &[("a", provider.addr())], "").await?;
    let pool = Pool::new(gateway.address);
    pool.fire("a/sim", RATE, Duration::from_secs(2)).await;
    let alone = pool.fire("a/sim", RATE, LENGTH).await;
    let mut attackers = tokio::task::JoinSet::new();
    for number in 0..ATTACKERS {
        let address = gateway.address;
        attackers.spawn(async move {
            // A third is silent, a third sends its head a byte at a time, a third its body.
            let begin: &[u8] = match number % 3 {
                0 => b"",
                1 => b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
                _ => b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: \
                       100000\r\n\r\n{",
            };
            while let Ok(mut connection) = Connection::open(address).await {
                let mut open = connection.send(begin).await.is_ok();
                while open {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    open = if number % 3 == 0 { !connection.is_closed() } else { connection.send(b"x").await.is_ok() };
                }
            }
        });
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let among = pool.fire("a/sim", RATE, LENGTH).await;
    let open: f64 = gateway.metric("gateway_connections").await?.values().sum();
    attackers.abort_all();
    let good = percent(among.iter().filter(|shot| shot.good).count(), among.len());
    let p99 = |shots: &[Shot]| milliseconds(quantile(shots.iter().map(|shot| shot.took).collect(), 0.99));
    let (before, during) = (p99(&alone), p99(&among));
    Ok(vec![Figure::new(
        format!("clients served among {ATTACKERS} slow senders (slowloris)"),
        "100 %, p99 ≤ twice as long",
        format!("{good:.2} %, p99 {before:.2} -> {during:.2} ms, {open:.0} connections open"),
        good == 100.0 && during <= 2.0 * before,
    )])
}
