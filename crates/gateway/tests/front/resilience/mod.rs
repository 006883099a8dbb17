//! When providers fail: who is asked instead, who is left alone for how long, and what the client is told meanwhile.

mod budget;
mod circuits;
mod hedging;
mod keys;
mod others;
mod quotas;
mod traffic;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use simulator::{Config, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::harness::{Answer, Client, Gateway, World, post};

/// A world with a file of its own.
pub(super) async fn world(file: impl FnOnce(SocketAddr) -> String) -> World {
    let simulator = Simulator::start(Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let gateway = Gateway::start(&file(simulator.addr())).await;
    World { gateway, simulator }
}

/// One provider of the simulator, as a line of a file, with these keys of weight 1.
pub(super) fn keyed(name: &str, addr: SocketAddr, keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("{{name: '{key}', api_key: '{key}'}}")).collect();
    format!("  {name}: {{vendor: openai, base_url: 'http://{addr}/v1', credentials: [{}]}}\n", keys.join(", "))
}

/// What a scripted provider says, and after which wait.
#[derive(Clone)]
pub(super) struct Say {
    after: Duration,
    answer: Vec<u8>,
}

impl Say {
    pub(super) fn status(status: u16, more: &str, body: &str) -> Say {
        let head = format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\n{more}");
        let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes();
        Say { after: Duration::ZERO, answer }
    }

    pub(super) fn good() -> Say {
        let body = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"fine"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
        Say::status(200, "", body)
    }

    pub(super) fn error(status: u16, code: &str) -> Say {
        let body =
            format!(r#"{{"error":{{"message":"no","type":"invalid_request_error","param":null,"code":"{code}"}}}}"#);
        Say::status(status, "", &body)
    }

    pub(super) fn after(self, after: Duration) -> Say {
        Say { after, ..self }
    }
}

/// A provider that speaks OpenAI's dialect and says what a test wants it to say next. Told the head of each request.
pub(super) struct Scripted {
    pub(super) addr: SocketAddr,
    asked: Arc<AtomicUsize>,
    script: Arc<Mutex<Script>>,
    serving: JoinHandle<()>,
}

type Script = Box<dyn FnMut(&str) -> Say + Send>;

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Scripted {
    pub(super) async fn saying(say: Say) -> Scripted {
        Scripted::by(move |_| say.clone()).await
    }

    pub(super) async fn by(script: impl FnMut(&str) -> Say + Send + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (counted, followed) = (asked.clone(), script.clone());
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(converse(socket, followed.clone(), counted.clone()));
            }
        });
        Scripted { addr, asked, script, serving }
    }

    pub(super) fn now_says(&self, say: Say) {
        *self.script.lock().unwrap() = Box::new(move |_| say.clone());
    }

    /// The number of requests so far.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// As a provider of a file.
    pub(super) fn provider(&self, name: &str) -> String {
        format!(
            "  {name}: {{dialect: openai_chat, base_url: 'http://{}/v1', api_key: sk-scripted-{name}}}\n",
            self.addr
        )
    }
}

async fn converse(mut socket: TcpStream, script: Arc<Mutex<Script>>, asked: Arc<AtomicUsize>) {
    let mut unread = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break String::from_utf8_lossy(&unread.drain(..end + 4).collect::<Vec<u8>>()).to_lowercase();
            }
            if !matches!(socket.read_buf(&mut unread).await, Ok(1..)) {
                return;
            }
        };
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        while unread.len() < length {
            if !matches!(socket.read_buf(&mut unread).await, Ok(1..)) {
                return;
            }
        }
        unread.drain(..length);
        let say = (script.lock().unwrap())(&head);
        asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(say.after).await;
        if socket.write_all(&say.answer).await.is_err() {
            return;
        }
    }
}

/// A gateway whose provider `p` is scripted, with no repeats unless `more` says so.
pub(super) async fn scripted(say: Say, more: &str) -> (Gateway, Scripted) {
    let scripted = Scripted::saying(say).await;
    let gateway = Gateway::start(&format!("providers:\n{}{more}", scripted.provider("p"))).await;
    (gateway, scripted)
}

pub(super) async fn ask(gateway: &Gateway, model: &str, streamed: bool) -> Answer {
    let body = Client::OpenAi.request(model, "hi", streamed).to_string();
    post(gateway.addr, Client::OpenAi.path(), "", body.as_bytes()).await
}

/// `/v1/providers/{name}/health`
pub(super) async fn health(gateway: &Gateway, name: &str) -> serde_json::Value {
    crate::harness::get(gateway.addr, &format!("/v1/providers/{name}/health")).await.json()
}
