//! A client made of a socket: sees chunk boundaries, resets and silence.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use simulator::{Config, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer silence counts as the end.
const PATIENCE: Duration = Duration::from_millis(600);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ended {
    /// The body was complete by its framing.
    Complete,
    Closed,
    Reset,
    Silent,
}

#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 without an answer.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The HTTP chunks of a chunked body.
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) ended: Ended,
    /// From the request to the first body byte, and to the end.
    pub(crate) first: Duration,
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Events as (event name, data); comments and unknown lines left out.
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        let text = self.text().replace("\r\n", "\n");
        let field = |block: &str, name: &str| {
            block.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start().to_owned())
        };
        text.split_terminator("\n\n")
            .filter_map(|block| Some((field(block, "event:").unwrap_or_default(), field(block, "data:")?)))
            .collect()
    }

    /// The JSON of every event; `[DONE]` left out.
    pub(crate) fn data(&self) -> Vec<Value> {
        let json = |data: &str| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
        self.events().iter().filter(|(_, data)| data != "[DONE]").map(|(_, data)| json(data)).collect()
    }

    pub(crate) fn done(&self) -> bool {
        self.text().contains("data: [DONE]\n\n") || self.text().contains("event: message_stop\n")
    }
}

pub(crate) async fn simulator() -> Simulator {
    simulator_with(Config { created: Some(1_767_225_600), ..Config::default() }).await
}

pub(crate) async fn simulator_with(config: Config) -> Simulator {
    Simulator::start(config, "127.0.0.1:0".parse().unwrap()).await.unwrap()
}

/// Sends a request with a key that fits its path.
pub(crate) async fn post(sim: &Simulator, path: &str, body: &Value) -> Answer {
    post_with(sim, path, body, "").await
}

/// The same with more header lines.
pub(crate) async fn post_with(sim: &Simulator, path: &str, body: &Value, headers: &str) -> Answer {
    let key = if path.starts_with("/v1/messages") {
        "x-api-key: sk-ant-test\r\nanthropic-version: 2023-06-01\r\n"
    } else {
        "authorization: Bearer sk-test\r\n"
    };
    raw(sim.addr(), &request("POST", path, &format!("{key}{headers}"), &body.to_string())).await
}

pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: sim\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

pub(crate) async fn raw(addr: SocketAddr, request: &str) -> Answer {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let start = Instant::now();
    let mut bytes = Vec::new();
    let mut first = None;
    let ended = loop {
        if let Some(head) = head_length(&bytes) {
            if bytes.len() > head && first.is_none() {
                first = Some(start.elapsed());
            }
            if Body::read(&bytes, head).complete {
                break Ended::Complete;
            }
        }
        let mut buffer = [0; 65536];
        match tokio::time::timeout(PATIENCE, socket.read(&mut buffer)).await {
            Err(_) => break Ended::Silent,
            Ok(Ok(0)) => break Ended::Closed,
            Ok(Ok(count)) => bytes.extend_from_slice(&buffer[..count]),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => break Ended::Reset,
            Ok(Err(error)) => panic!("{error}"),
        }
    };
    let took = start.elapsed();
    let Some(head) = head_length(&bytes) else {
        assert!(bytes.is_empty(), "half a head: {}", String::from_utf8_lossy(&bytes));
        return Answer { status: 0, headers: vec![], body: vec![], chunks: vec![], ended, first: took, took };
    };
    let body = Body::read(&bytes, head);
    let (status, headers) = read_head(&bytes[..head]);
    Answer { status, headers, body: body.bytes, chunks: body.chunks, ended, first: first.unwrap_or(took), took }
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn read_head(head: &[u8]) -> (u16, Vec<(String, String)>) {
    let head = String::from_utf8(head.to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    (status, lines.filter_map(header).collect())
}

struct Body {
    bytes: Vec<u8>,
    chunks: Vec<Vec<u8>>,
    complete: bool,
}

impl Body {
    fn read(answer: &[u8], head: usize) -> Self {
        let (status, headers) = read_head(&answer[..head]);
        let mut rest = &answer[head..];
        let length =
            headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.parse::<usize>().unwrap());
        if let Some(length) = length {
            return Body { bytes: rest.to_vec(), chunks: vec![], complete: rest.len() >= length };
        }
        let mut body = Body { bytes: vec![], chunks: vec![], complete: matches!(status, 204 | 304) };
        while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            let chunk = &rest[line + 2..];
            if size == 0 {
                body.complete = true;
                break;
            }
            if chunk.len() < size + 2 {
                body.bytes.extend_from_slice(&chunk[..chunk.len().min(size)]);
                break;
            }
            body.bytes.extend_from_slice(&chunk[..size]);
            body.chunks.push(chunk[..size].to_vec());
            rest = &chunk[size + 2..];
        }
        body
    }
}
