//! A log that nobody reads holds up no request.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use simulator::{Config, Simulator};
use tempfile::TempDir;

use crate::harness::gateway::UNLIMITED;
use crate::harness::{Client, Connection, get, providers};

/// Lines of some hundred bytes: a pipe holds 64 KiB.
const REQUESTS: usize = 600;

#[tokio::test]
async fn requests_go_on_when_standard_output_blocks() {
    let simulator = Simulator::start(Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), providers(&simulator)).unwrap();
    let addr: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-gateway"));
    command
        .current_dir(folder.path())
        .env_clear()
        .env("PORT", addr.port().to_string())
        .env("LOG_FORMAT", "json")
        .envs(UNLIMITED);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while tokio::net::TcpStream::connect(addr).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "the gateway does not listen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let client = Client::OpenAi;
    let body = client.request("openai/sim", "Reply with exactly: pong", false).to_string();
    let request = crate::harness::client::request(
        addr,
        "POST",
        client.path(),
        "content-type: application/json\r\n",
        body.as_bytes(),
    );
    let mut connection = Connection::open(addr).await;
    let mut slowest = Duration::ZERO;
    for number in 0..REQUESTS {
        let began = Instant::now();
        connection.send(&request).await;
        let answer = connection.answer().await;
        assert_eq!(client.said(&answer, false).text, "pong", "request {number}: {answer:?}");
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!(get(addr, "/health/live").await.status, 200);
    child.kill().unwrap();
    // What is in the pipe is less than what was told: it was blocked indeed.
    let output = child.wait_with_output().unwrap().stdout;
    let lines = output.split(|byte| *byte == b'\n').count();
    assert!(lines < REQUESTS, "{lines} lines");
}
