//! Three ways to load a server. Each ends by itself, and ends with an error at the first answer that is not a whole 200.

pub(crate) mod closed;
pub(crate) mod open;
pub(crate) mod streams;

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::{Answer, Failure, Request, ResponseReader};

/// How long one answer, or the drain of a run, may take beyond what was planned.
const PATIENCE: Duration = Duration::from_secs(30);

/// A keep-alive connection that is opened on first use, and again when the server closed it after an answer.
#[derive(Debug)]
struct Connection {
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// `buffer_bytes` is what one read can return at most.
    fn new(buffer_bytes: usize) -> Self {
        Self { stream: None, buffer: vec![0; buffer_bytes] }
    }

    /// Sends one request and reads its whole answer.
    async fn exchange(&mut self, request: &Request, mut on_body: impl FnMut(&[u8])) -> Result<Answer, Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(request.address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(&request.bytes).await?;
        let mut reader = ResponseReader::new();
        loop {
            let length = stream.read(&mut self.buffer).await?;
            if length == 0 {
                return Err(Failure::Truncated);
            }
            if let Some(answer) = reader.push(&self.buffer[..length], &mut on_body)? {
                if answer.keep_alive {
                    self.stream = Some(stream);
                }
                return Ok(answer);
            }
        }
    }
}
