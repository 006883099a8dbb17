//! The client's own HTTP/1.1: it must not share code with the gateway it judges, and it must be able to misbehave.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
const READ_BYTES: usize = 16 * 1024;

/// Why an answer could not be read to its end.
#[derive(Debug)]
pub(crate) enum Broken {
    Io(io::Error),
    /// Closed before the first byte of an answer.
    Unanswered,
    /// Closed in the middle of an answer.
    Cut,
    /// The bytes are no HTTP/1.1 answer.
    Malformed(&'static str),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "connection failed: {error}"),
            Self::Unanswered => write!(f, "connection closed without an answer"),
            Self::Cut => write!(f, "connection closed in the middle of an answer"),
            Self::Malformed(what) => write!(f, "malformed answer: {what}"),
        }
    }
}

impl std::error::Error for Broken {}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Body {
    Sized(u64),
    /// Bytes left of the current chunk; the next line is a chunk's size where there are none.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    Trailer,
    UntilClose,
    Done,
}

/// One connection to the gateway.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    body: Body,
    close: bool,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new(), body: Body::Done, close: false })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub(crate) async fn half_close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Closes with RST instead of FIN.
    pub(crate) fn reset(self) {
        // It fails only on sockets that are closed already.
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO));
    }

    /// May carry another request.
    pub(crate) fn is_reusable(&self) -> bool {
        self.body == Body::Done && !self.close && self.unread.is_empty()
    }

    /// A kept connection that the peer has closed meanwhile.
    pub(crate) fn is_closed(&self) -> bool {
        let mut byte = [0];
        !matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn more(&mut self) -> io::Result<usize> {
        self.unread.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.unread).await
    }

    pub(crate) async fn head(&mut self) -> Result<Head, Broken> {
        loop {
            if !self.unread.is_empty()
                && let Some((head, length, body)) = parse_head(&self.unread)?
            {
                self.unread.drain(..length);
                if head.status == 100 {
                    continue;
                }
                self.close = head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                self.body = body;
                return Ok(head);
            }
            if self.unread.len() > MAX_HEAD_BYTES {
                return Err(Broken::Malformed("head too long"));
            }
            if self.more().await? == 0 {
                return Err(if self.unread.is_empty() { Broken::Unanswered } else { Broken::Cut });
            }
        }
    }

    /// The next bytes of the body; `None` at its proper end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        loop {
            if let Some(bytes) = self.buffered()? {
                return Ok(Some(bytes));
            }
            if self.body == Body::Done {
                return Ok(None);
            }
            if self.more().await? == 0 {
                if self.body == Body::UntilClose {
                    self.body = Body::Done;
                    self.close = true;
                    return Ok(None);
                }
                return Err(Broken::Cut);
            }
        }
    }

    /// What of the body has been read already.
    fn buffered(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        while !self.unread.is_empty() {
            match self.body {
                Body::Done => return Ok(None),
                Body::UntilClose => return Ok(Some(std::mem::take(&mut self.unread))),
                Body::Sized(left) => {
                    let bytes = self.take(left);
                    let left = left - bytes.len() as u64;
                    self.body = if left == 0 { Body::Done } else { Body::Sized(left) };
                    return Ok(Some(bytes));
                }
                Body::Chunk(0) => {
                    let Some(line) = self.line() else { return Ok(None) };
                    let digits = line.split([';', ' ']).next().unwrap_or_default();
                    let size = u64::from_str_radix(digits, 16).map_err(|_| Broken::Malformed("chunk size"))?;
                    self.body = if size == 0 { Body::Trailer } else { Body::Chunk(size) };
                }
                Body::Chunk(left) => {
                    let bytes = self.take(left);
                    let left = left - bytes.len() as u64;
                    self.body = if left == 0 { Body::ChunkEnd } else { Body::Chunk(left) };
                    return Ok(Some(bytes));
                }
                Body::ChunkEnd => match self.line() {
                    None => return Ok(None),
                    Some(line) if line.is_empty() => self.body = Body::Chunk(0),
                    Some(_) => return Err(Broken::Malformed("chunk longer than its size")),
                },
                Body::Trailer => match self.line() {
                    None => return Ok(None),
                    Some(line) if line.is_empty() => self.body = Body::Done,
                    Some(_) => {}
                },
            }
        }
        Ok(None)
    }

    fn take(&mut self, most: u64) -> Vec<u8> {
        let length = usize::try_from(most).map_or(self.unread.len(), |most| most.min(self.unread.len()));
        self.unread.drain(..length).collect()
    }

    fn line(&mut self) -> Option<String> {
        let end = self.unread.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.unread.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize, Body)>, Broken> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(|_| Broken::Malformed("head"))? else {
        return Ok(None);
    };
    let text = |header: &httparse::Header<'_>| String::from_utf8_lossy(header.value).into_owned();
    let headers = parsed.headers.iter().map(|header| (header.name.to_ascii_lowercase(), text(header))).collect();
    let head = Head { status: parsed.code.unwrap_or(0), headers };
    let body = match (head.header("transfer-encoding"), head.header("content-length"), head.status) {
        (_, _, 100..=199 | 204 | 304) => Body::Done,
        (Some("chunked"), ..) => Body::Chunk(0),
        (_, Some(length), _) => match length.parse().map_err(|_| Broken::Malformed("content-length"))? {
            0 => Body::Done,
            length => Body::Sized(length),
        },
        _ => Body::UntilClose,
    };
    Ok(Some((head, length, body)))
}

/// One request on a connection of its own, read to its end: (head, body).
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> Result<(Head, Vec<u8>), Broken> {
    let mut connection = Connection::open(address).await?;
    connection.send(request).await?;
    let head = connection.head().await?;
    let mut body = Vec::new();
    while let Some(bytes) = connection.next().await? {
        body.extend_from_slice(&bytes);
    }
    Ok((head, body))
}

/// `GET path`, as bytes.
pub(crate) fn get(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").into_bytes()
}

/// `POST path` with a JSON body. `headers` are whole lines.
pub(crate) fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{headers}content-length: \
         {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client reads when the server writes `answer` in pieces of `step` bytes and closes.
    async fn read(answer: &[u8], step: usize) -> Result<(u16, Vec<u8>), Broken> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pieces: Vec<Vec<u8>> = answer.chunks(step).map(<[u8]>::to_vec).collect();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            for piece in pieces {
                stream.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let result = exchange(address, &get(address, "/")).await;
        serving.await.unwrap();
        result.map(|(head, body)| (head.status, body))
    }

    #[tokio::test]
    async fn framings_are_read_at_every_cut() {
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nx: 1\r\n\r\n";
        let sized = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello!";
        for step in [1, 2, 7, 1000] {
            assert_eq!(read(chunked, step).await.unwrap(), (200, b"hello!".to_vec()));
            assert_eq!(read(sized, step).await.unwrap(), (200, b"hello!".to_vec()));
        }
    }

    #[tokio::test]
    async fn an_answer_that_stops_early_is_no_answer() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        assert!(matches!(read(chunked, 1000).await, Err(Broken::Cut)));
        assert!(matches!(read(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhell", 9).await, Err(Broken::Cut)));
        assert!(matches!(read(b"", 9).await, Err(Broken::Unanswered)));
    }
}
