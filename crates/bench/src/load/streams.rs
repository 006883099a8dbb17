//! Many event streams at once: time to the first text, gaps between texts, and how many arrived.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Connection, PATIENCE};
use crate::http::{Failure, Request};
use crate::sse::{DataLines, Payload, classify};
use crate::stats::Percentiles;

/// Small, since there may be ten thousand of them.
const BUFFER_BYTES: usize = 8 * 1024;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Streams open at once.
    pub(crate) streams: usize,
    /// Streams one after the other in each place.
    pub(crate) repeat: usize,
    /// The first ones start evenly spread over this time, so that their chunks do not all fall on the same instant.
    pub(crate) ramp: Duration,
    /// Streams still open at this time, counted from the start, are abandoned. That is no failure.
    pub(crate) max_time: Duration,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Streams that came to their proper end.
    pub(crate) finished: u64,
    /// Streams that had at least one chunk.
    pub(crate) begun: u64,
    pub(crate) chunks: u64,
    pub(crate) seconds: f64,
    /// From sending the request to the first text.
    pub(crate) first: Percentiles,
    /// Between one text and the next of the same stream; zero for texts that one read returned together.
    pub(crate) gap: Percentiles,
}

/// What one place saw in all its streams.
#[derive(Debug, Default)]
struct Seen {
    finished: u64,
    chunks: u64,
    first: Vec<Duration>,
    gaps: Vec<Duration>,
}

pub(crate) async fn run(request: Request, plan: Plan) -> Result<Report, Failure> {
    let request = Arc::new(request);
    let start = Instant::now();
    let mut places = JoinSet::new();
    for place in 0..plan.streams {
        let request = Arc::clone(&request);
        let wait = plan.ramp.mul_f64(place as f64 / plan.streams as f64);
        places.spawn(async move {
            sleep(wait).await;
            let mut connection = Connection::new(BUFFER_BYTES);
            let mut seen = Seen::default();
            for _ in 0..plan.repeat {
                let left = plan.max_time.saturating_sub(start.elapsed());
                match timeout(left, one(&mut connection, &request, &mut seen)).await {
                    Ok(result) => result?,
                    Err(_) => break,
                }
            }
            Ok::<_, Failure>(seen)
        });
    }
    let all = async {
        let mut all = Seen::default();
        while let Some(done) = places.join_next().await {
            let mut seen = done.map_err(std::io::Error::other)??;
            all.finished += seen.finished;
            all.chunks += seen.chunks;
            all.first.append(&mut seen.first);
            all.gaps.append(&mut seen.gaps);
        }
        Ok::<_, Failure>(all)
    };
    let all = timeout(plan.max_time + PATIENCE, all).await.map_err(|_| Failure::Timeout)??;
    Ok(Report {
        finished: all.finished,
        begun: all.first.len() as u64,
        chunks: all.chunks,
        seconds: start.elapsed().as_secs_f64(),
        first: Percentiles::of(all.first),
        gap: Percentiles::of(all.gaps),
    })
}

/// Reads one stream to its end.
async fn one(connection: &mut Connection, request: &Request, seen: &mut Seen) -> Result<(), Failure> {
    let (mut lines, mut ended, chunks_before) = (DataLines::default(), false, seen.chunks);
    let sent = Instant::now();
    let mut last = None;
    connection
        .exchange(request, |body| {
            let now = Instant::now();
            lines.push(body, |data| match classify(data) {
                Payload::Content => {
                    match last {
                        None => seen.first.push(now - sent),
                        Some(last) => seen.gaps.push(now - last),
                    }
                    last = Some(now);
                    seen.chunks += 1;
                }
                Payload::End => ended = true,
                Payload::Frame => {}
            });
        })
        .await?;
    if !ended {
        return Err(Failure::Unfinished { chunks: seen.chunks - chunks_before });
    }
    seen.finished += 1;
    Ok(())
}
