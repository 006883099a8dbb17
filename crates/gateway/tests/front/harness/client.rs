//! A client made of a socket: it can say anything, and sees how an answer is framed and when it comes.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer silence fails a test.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Answer {
    /// 0: the connection ended without an answer.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The body ended as its framing says.
    pub(crate) complete: bool,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} complete: {}\n{}\n", self.status, self.headers, self.complete, self.text())
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn request_id(&self) -> &str {
        self.header("x-request-id").unwrap_or_else(|| panic!("no x-request-id: {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Head and body in one text, to search.
    pub(crate) fn everything(&self) -> String {
        format!("{} {:?} {}", self.status, self.headers, self.text())
    }
}

pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    ask(addr, "GET", path, "", b"").await
}

/// Sends JSON.
pub(crate) async fn post(addr: SocketAddr, path: &str, headers: &str, body: &[u8]) -> Answer {
    ask(addr, "POST", path, &format!("content-type: application/json\r\n{headers}"), body).await
}

/// One request on a connection of its own. `headers` are whole lines.
pub(crate) async fn ask(addr: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut connection = Connection::open(addr).await;
    connection.send(&request(addr, method, path, headers, body)).await;
    connection.answer_to(method).await
}

pub(crate) fn request(addr: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length =
        if body.is_empty() && method != "POST" { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\n{headers}{length}\r\n");
    [head.as_bytes(), body].concat()
}

/// One connection, and what has come on it and was not read yet.
pub(crate) struct Connection {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> Connection {
        Connection { socket: TcpStream::connect(addr).await.unwrap(), unread: Vec::new() }
    }

    pub(crate) fn over(socket: TcpStream) -> Connection {
        Connection { socket, unread: Vec::new() }
    }

    /// Errors are left to the reading of the answer: a server may answer and close before it has read everything.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    /// False at the end of the connection.
    async fn more(&mut self) -> bool {
        self.unread.reserve(64 * 1024);
        match tokio::time::timeout(PATIENCE, self.socket.read_buf(&mut self.unread)).await {
            Err(_) => panic!("silence for {PATIENCE:?} after {:?}", String::from_utf8_lossy(&self.unread)),
            Ok(Ok(0) | Err(_)) => false,
            Ok(Ok(_)) => true,
        }
    }

    /// What has come and was not read yet.
    pub(crate) fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.unread).into_owned()
    }

    /// Reads until `text` has come; leaves it unread.
    pub(crate) async fn wait_for(&mut self, text: &str) {
        while !contains(&self.unread, text.as_bytes()) {
            assert!(self.more().await, "{text:?} never came: {}", String::from_utf8_lossy(&self.unread));
        }
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.answer_to("POST").await
    }

    pub(crate) async fn answer_to(&mut self, method: &str) -> Answer {
        let Some(head) = self.line_ending_with(b"\r\n\r\n").await else {
            return Answer { status: 0, headers: vec![], body: vec![], complete: false };
        };
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: vec![], complete: true };
        if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
            return answer;
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.complete = self.chunks(&mut answer.body).await;
        } else if let Some(length) = answer.header("content-length").map(|length| length.parse::<usize>().unwrap()) {
            while self.unread.len() < length && self.more().await {}
            answer.complete = self.unread.len() >= length;
            answer.body = self.unread.drain(..length.min(self.unread.len())).collect();
        } else {
            while self.more().await {}
            answer.body = std::mem::take(&mut self.unread);
        }
        answer
    }

    /// False if the connection ended before the last chunk.
    async fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let Some(line) = self.line_ending_with(b"\r\n").await else { return false };
            let size = usize::from_str_radix(String::from_utf8(line).unwrap().trim(), 16).unwrap();
            while self.unread.len() < size + 2 {
                if !self.more().await {
                    body.append(&mut self.unread);
                    return false;
                }
            }
            body.extend(self.unread.drain(..size));
            self.unread.drain(..2);
            if size == 0 {
                return true;
            }
        }
    }

    async fn line_ending_with(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Some(self.unread.drain(..at + end.len()).collect());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Everything until the connection ends.
    pub(crate) async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
