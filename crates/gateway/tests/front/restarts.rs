//! One version after the other at the same address, while clients go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use simulator::Simulator;
use tempfile::TempDir;

use crate::harness::client::request;
use crate::harness::{Client, Connection, Gateway, providers};

async fn start_at(port: u16, simulator: &Simulator) -> Gateway {
    let folder = TempDir::new().unwrap();
    let yaml = format!("{}server: {{reuse_port: true}}\n", providers(simulator));
    std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    Gateway::start_in(folder, &[("PORT", &port.to_string())]).await
}

/// Asks until it is told to stop, on connections that are kept as long as they may be, or on one for each request. Returns how
/// many were answered.
async fn go_on(addr: SocketAddr, keeps: bool, stop: Arc<AtomicBool>) -> usize {
    let asked = Client::OpenAi.request("openai/sim", "Reply with exactly: here", false).to_string();
    let asked = request(addr, "POST", Client::OpenAi.path(), "content-type: application/json\r\n", asked.as_bytes());
    let (mut answered, mut kept) = (0, None);
    while !stop.load(Ordering::Relaxed) {
        let mut connection = match kept.take() {
            Some(kept) => kept,
            None => Connection::open(addr).await,
        };
        connection.send(&asked).await;
        let answer = connection.answer().await;
        assert_eq!(Client::OpenAi.said(&answer, false).text, "here", "after {answered} answers: {answer:?}");
        answered += 1;
        kept = (keeps && answer.header("connection") != Some("close")).then_some(connection);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    answered
}

#[tokio::test]
async fn a_restart_costs_no_client_an_answer() {
    let simulator = Simulator::start(simulator::Config::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut running = start_at(0, &simulator).await;
    let (addr, stop) = (running.addr, Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..6).map(|n| tokio::spawn(go_on(addr, n % 2 == 0, stop.clone()))).collect();
    for _ in 0..2 {
        let next = start_at(addr.port(), &simulator).await;
        running.signal("TERM");
        assert_eq!(running.exited(Duration::from_secs(10)).await.code(), Some(0));
        running = next;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.unwrap() > 20);
    }
}
