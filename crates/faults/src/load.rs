//! Requests at a fixed rate, whatever the gateway does: a late answer delays no other request, and time counts from the
//! moment a request was due.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::dialect::{Client, Heard};
use crate::http::{self, Broken, Connection, Head};

const PATIENCE: Duration = Duration::from_secs(30);
/// Far beyond what is needed; a gateway that answers nothing must not exhaust this process.
const MAX_OPEN: usize = 8_000;

/// What became of one request.
#[derive(Debug, Clone)]
pub(crate) struct Shot {
    /// When it was due, from the start.
    pub(crate) due: Duration,
    /// From then to its end.
    pub(crate) took: Duration,
    /// 0: no answer.
    pub(crate) status: u16,
    /// It ended as a good answer does.
    pub(crate) good: bool,
    /// Who answered.
    pub(crate) provider: String,
}

impl Shot {
    /// When it ended, from the start.
    pub(crate) fn ended(&self) -> Duration {
        self.due + self.took
    }
}

/// Connections that wait for their next request.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    address: SocketAddr,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Pool {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, idle: Arc::default() }
    }

    /// A whole answer of an OpenAI client to a short question.
    pub(crate) async fn ask(&self, model: &str) -> Shot {
        let began = Instant::now();
        let request = question(self.address, model, false);
        let answer = tokio::time::timeout(PATIENCE, self.exchange(&request)).await;
        let mut shot =
            Shot { due: Duration::ZERO, took: began.elapsed(), status: 0, good: false, provider: String::new() };
        if let Ok(Ok((head, body))) = answer {
            shot.status = head.status;
            shot.provider = head.header("x-gateway-provider").unwrap_or_default().to_owned();
            shot.good = Heard::at_once(Client::OpenAi, head.status, &body).done;
        }
        shot
    }

    async fn exchange(&self, request: &[u8]) -> Result<(Head, Vec<u8>), Broken> {
        let kept = self.lock().pop().filter(|kept| !kept.is_closed());
        let mut connection = match kept {
            Some(kept) => kept,
            None => Connection::open(self.address).await?,
        };
        connection.send(request).await?;
        let head = connection.head().await?;
        let mut body = Vec::new();
        while let Some(bytes) = connection.next().await? {
            body.extend_from_slice(&bytes);
        }
        if connection.is_reusable() {
            self.lock().push(connection);
        }
        Ok((head, body))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `rate` requests a second for `length`.
    pub(crate) async fn fire(&self, model: &str, rate: f64, length: Duration) -> Vec<Shot> {
        let start = Instant::now();
        let count = (rate * length.as_secs_f64()) as u64;
        let (mut shots, mut all) = (tokio::task::JoinSet::new(), Vec::new());
        for number in 0..count {
            let due = Duration::from_secs_f64(number as f64 / rate);
            tokio::time::sleep_until((start + due).into()).await;
            // Those that have ended count as open until they are taken.
            while let Some(Ok(shot)) = shots.try_join_next() {
                all.push(shot);
            }
            if shots.len() >= MAX_OPEN {
                break;
            }
            let (pool, model) = (self.clone(), model.to_owned());
            shots.spawn(async move {
                let shot = pool.ask(&model).await;
                Shot { due, took: start.elapsed().saturating_sub(due), ..shot }
            });
        }
        while let Some(Ok(shot)) = shots.join_next().await {
            all.push(shot);
        }
        all.sort_by_key(|shot| shot.due);
        all
    }
}

/// A short question, as bytes.
pub(crate) fn question(address: SocketAddr, model: &str, stream: bool) -> Vec<u8> {
    let body = Client::OpenAi.body(model, "Reply with exactly: pong", stream);
    http::post(address, Client::OpenAi.path(), "", body.to_string().as_bytes())
}

/// The smallest of the samples that the given share of all of them do not exceed; zero without samples.
pub(crate) fn quantile(mut samples: Vec<Duration>, share: f64) -> Duration {
    samples.sort_unstable();
    let rank = (share * samples.len() as f64).ceil() as usize;
    samples.get(rank.max(1) - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_samples() {
        let samples = || (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(samples(), 0.99), Duration::from_millis(99));
        assert_eq!(quantile(samples(), 0.5), Duration::from_millis(50));
        assert_eq!(quantile(vec![Duration::from_millis(7)], 0.99), Duration::from_millis(7));
        assert_eq!(quantile(Vec::new(), 0.5), Duration::ZERO);
    }
}
