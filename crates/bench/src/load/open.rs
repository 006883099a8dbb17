//! Open loop: requests are due at a fixed rate whatever the server does, and latency counts from the moment a request
//! was due. A stall of the server therefore shows in every request it delayed (no coordinated omission).
//!
//! Blocking threads instead of a runtime: their sleeps are exact to some ten microseconds, a runtime's timers to a
//! millisecond, which is more than what is measured.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::PATIENCE;
use crate::http::{Failure, Request, ResponseReader};
use crate::stats::Percentiles;

const BUFFER_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Requests due per second.
    pub(crate) rate: f64,
    pub(crate) requests: u64,
    /// Requests under way at once at most; further ones wait, and their waiting counts.
    pub(crate) connections: usize,
}

impl Plan {
    /// When the request of this number is due, counted from the start.
    fn due(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) latency: Percentiles,
}

pub(crate) fn run(request: &Request, plan: Plan) -> Result<Report, Failure> {
    let next = AtomicU64::new(0);
    let start = Instant::now();
    let work = || {
        let mut connection = Connection { stream: None, buffer: vec![0; BUFFER_BYTES] };
        let mut latencies = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= plan.requests {
                return Ok::<_, Failure>(latencies);
            }
            let due = start + plan.due(number);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if let Err(failure) = connection.exchange(request) {
                // One failure ends the run: nobody else takes a number.
                next.store(plan.requests, Ordering::Relaxed);
                return Err(failure);
            }
            latencies.push(due.elapsed());
        }
    };
    let latencies = thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.connections).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_fold(Vec::new(), |mut all, worker| {
            let more = worker.join().map_err(|_| Failure::Protocol("a worker of the generator panicked"))??;
            all.extend(more);
            Ok::<_, Failure>(all)
        })
    })?;
    Ok(Report {
        requests: latencies.len() as u64,
        seconds: start.elapsed().as_secs_f64(),
        latency: Percentiles::of(latencies),
    })
}

/// The blocking twin of [`super::Connection`].
#[derive(Debug)]
struct Connection {
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    fn exchange(&mut self, request: &Request) -> Result<(), Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(request.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream
            }
        };
        stream.write_all(&request.bytes)?;
        let mut reader = ResponseReader::new();
        loop {
            let length = stream.read(&mut self.buffer)?;
            if length == 0 {
                return Err(Failure::Truncated);
            }
            if let Some(answer) = reader.push(&self.buffer[..length], |_| {})? {
                if answer.keep_alive {
                    self.stream = Some(stream);
                }
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_does_not_drift() {
        let plan = Plan { rate: 300.0, requests: 0, connections: 1 };
        assert_eq!(plan.due(0), Duration::ZERO);
        assert_eq!(plan.due(3), Duration::from_millis(10));
        assert_eq!(plan.due(300_000), Duration::from_secs(1000));
    }
}
