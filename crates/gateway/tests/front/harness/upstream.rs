//! A provider that says exactly the bytes that a test gives it, and keeps the bytes that it got.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Head and body of every request.
type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    requests: Requests,
    /// Bytes that the gateway took.
    pub(crate) taken: Arc<AtomicU64>,
    serving: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Upstream {
    /// Answers every request with `head` (without the last empty line), a content-length and `body`.
    pub(crate) async fn saying(head: &str, body: &[u8]) -> Upstream {
        let answer = [format!("{head}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
        Upstream::start(answer, Vec::new()).await
    }

    /// Answers with `begin` and then `again` without end.
    pub(crate) async fn endless(begin: &str, again: &str) -> Upstream {
        Upstream::start(begin.into(), again.into()).await
    }

    async fn start(begin: Vec<u8>, again: Vec<u8>) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (requests, taken) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
        let (seen, counted) = (requests.clone(), taken.clone());
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(converse(socket, begin.clone(), again.clone(), seen.clone(), counted.clone()));
            }
        });
        Upstream { addr, requests, taken, serving }
    }

    pub(crate) fn requests(&self) -> Vec<(String, Vec<u8>)> {
        self.requests.lock().unwrap().clone()
    }
}

async fn converse(mut socket: TcpStream, begin: Vec<u8>, again: Vec<u8>, seen: Requests, taken: Arc<AtomicU64>) {
    let mut unread = Vec::new();
    loop {
        let Some(request) = read_request(&mut socket, &mut unread).await else { return };
        seen.lock().unwrap().push(request);
        if socket.write_all(&begin).await.is_err() {
            return;
        }
        while !again.is_empty() {
            if socket.write_all(&again).await.is_err() {
                return;
            }
            taken.fetch_add(again.len() as u64, Ordering::Relaxed);
        }
    }
}

/// A request with a content-length, as the gateway sends them.
async fn read_request(socket: &mut TcpStream, unread: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let head_end = loop {
        match unread.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => more(socket, unread).await?,
        }
    };
    let head = String::from_utf8(unread.drain(..head_end).collect()).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap_or("0");
    let length: usize = length.trim().parse().unwrap();
    while unread.len() < length {
        more(socket, unread).await?;
    }
    Some((head, unread.drain(..length).collect()))
}

async fn more(socket: &mut TcpStream, unread: &mut Vec<u8>) -> Option<()> {
    socket.read_buf(unread).await.ok().filter(|count| *count > 0).map(drop)
}
