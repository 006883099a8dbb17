//! Closed loop: every connection sends its next request when it has the answer to the last. For throughput and for CPU
//! per request; its latencies are those of a saturated server and say little else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Connection, PATIENCE};
use crate::http::{Failure, Request};
use crate::words::Words;

/// Whole answers are read in pieces of up to this many bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// Ends at whichever bound is met first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    pub(crate) max_requests: u64,
    pub(crate) max_time: Duration,
}

/// What differs from one request to the next.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Each request shows the next of them; none if there are none.
    pub(crate) keys: Vec<String>,
    /// Said in place of the mark, which the request must have.
    pub(crate) words: Option<Words>,
    /// The number of the first request: what it says is made of that.
    pub(crate) first: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// Mean size of an answer's body in bytes.
    pub(crate) answer_bytes: f64,
}

pub(crate) async fn run(request: Request, turns: Turns, plan: Plan) -> Result<Report, Failure> {
    let turns = Arc::new(turns);
    let started = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut connections = JoinSet::new();
    for _ in 0..plan.connections {
        let (mut request, turns, started) = (request.clone(), Arc::clone(&turns), Arc::clone(&started));
        connections.spawn(async move {
            let (mut connection, mut said) = (Connection::new(BUFFER_BYTES), String::new());
            let (mut requests, mut bytes) = (0u64, 0u64);
            while start.elapsed() < plan.max_time {
                let number = started.fetch_add(1, Ordering::Relaxed);
                if number >= plan.max_requests {
                    break;
                }
                if let Some(key) = turns.keys.get(number as usize % turns.keys.len().max(1)) {
                    request.show_key(key);
                }
                if let Some(words) = turns.words {
                    words.write(turns.first + number, &mut said);
                    request.say(&said);
                }
                let answer = connection.exchange(&request, |_| {}).await?;
                requests += 1;
                bytes += answer.body_bytes;
            }
            Ok::<_, Failure>((requests, bytes))
        });
    }
    let all = async {
        let (mut requests, mut bytes) = (0, 0);
        while let Some(done) = connections.join_next().await {
            let (more_requests, more_bytes) = done.map_err(std::io::Error::other)??;
            requests += more_requests;
            bytes += more_bytes;
        }
        Ok::<_, Failure>((requests, bytes))
    };
    let (requests, bytes) = timeout(plan.max_time + PATIENCE, all).await.map_err(|_| Failure::Timeout)??;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Report {
        requests,
        seconds,
        per_second: requests as f64 / seconds,
        answer_bytes: bytes as f64 / requests.max(1) as f64,
    })
}
