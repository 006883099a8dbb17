//! The ledger tells what was asked and how each answer ended.

use std::time::Duration;

use serde_json::json;
use simulator::{Config, Dialect, Ending};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{post, post_with, raw, request, simulator, simulator_with};

fn ask(model: &str, stream: bool) -> serde_json::Value {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "What is the capital of Italy?"}]})
}

#[tokio::test]
async fn an_entry_holds_the_request_without_its_secrets() {
    let sim = simulator().await;
    let answer = post_with(&sim, "/v1/chat/completions?a=b", &ask("gpt-sim", true), "x-attempt: 17\r\n").await;
    let entry = sim.ledger().pop().unwrap();
    assert_eq!((entry.sequence, entry.method.as_str(), entry.path.as_str()), (1, "POST", "/v1/chat/completions?a=b"));
    assert_eq!((entry.dialect, entry.model.as_deref()), (Some(Dialect::OpenAi), Some("gpt-sim")));
    assert_eq!((entry.status, entry.ending.clone(), entry.fault), (Some(200), Ending::Complete, None));
    assert_eq!(entry.events_sent as usize, answer.events().len());
    assert_eq!(entry.bytes_written as usize, answer.body.len());
    assert_eq!(entry.usage.map(|usage| usage.output), Some(8));
    let header = |name: &str| entry.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(header("x-attempt"), Some("17"));
    assert!(header("authorization").unwrap().starts_with("hash:"));
    let shown = raw(sim.addr(), &request("GET", "/ledger", "", "")).await;
    assert!(!shown.text().contains("sk-test"));
    let shown = &shown.json()[0];
    assert_eq!(shown["request"], ask("gpt-sim", true));
    assert_eq!((&shown["ending"], &shown["headers"]["x-attempt"]), (&json!("complete"), &json!("17")));
    assert!(entry.received <= entry.answered.unwrap() && entry.answered <= entry.ended);
}

#[tokio::test]
async fn faults_are_named_and_ended() {
    let sim = simulator().await;
    for (fault, events, status, ending) in [
        ("refuse", 0, None, Ending::Fault),
        ("reset", 0, None, Ending::Fault),
        ("truncate=2", 2, Some(200), Ending::Fault),
        ("abort=2", 2, Some(200), Ending::Fault),
        ("reset_after=2", 2, Some(200), Ending::Fault),
        ("split=5", 5, Some(200), Ending::Complete),
        ("status=503", 0, Some(503), Ending::Complete),
    ] {
        post(&sim, "/v1/chat/completions", &ask(&format!("fault:{fault}"), true)).await;
        // The connection's end is seen before the entry is closed.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let entry = sim.ledger().pop().unwrap();
        assert_eq!((entry.fault.as_deref(), entry.status, &entry.ending), (Some(fault), status, &ending), "{fault}");
        if fault == "split=5" {
            assert!(entry.events_sent > events, "{fault}");
        } else {
            assert_eq!(entry.events_sent, events, "{fault}");
        }
    }
}

#[tokio::test]
async fn a_peer_that_leaves_is_timed() {
    let sim = simulator().await;
    for model in ["fault:stall", "fault:stall_after=3", "fault:drip=5"] {
        let mut socket = tokio::net::TcpStream::connect(sim.addr()).await.unwrap();
        let body = ask(model, true).to_string();
        let head = "authorization: Bearer k\r\n";
        socket.write_all(request("POST", "/v1/chat/completions", head, &body).as_bytes()).await.unwrap();
        let mut buffer = [0; 16];
        let _ = tokio::time::timeout(Duration::from_millis(100), socket.read(&mut buffer)).await;
        assert_eq!(sim.ledger().pop().unwrap().ending, Ending::Open, "{model}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(socket);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Ending::PeerClosed { after } = sim.ledger().pop().unwrap().ending else { panic!("{model}") };
        assert!(after >= Duration::from_millis(95) && after < Duration::from_millis(400), "{model}: {after:?}");
    }
}

#[tokio::test]
async fn it_is_bounded_and_can_be_off() {
    let sim = simulator_with(Config { ledger_entries: 3, ..Config::default() }).await;
    for _ in 0..5 {
        post(&sim, "/v1/chat/completions", &ask("gpt-sim", false)).await;
    }
    let sequences: Vec<u64> = sim.ledger().iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, [3, 4, 5]);
    let off = simulator_with(Config { ledger_entries: 0, ..Config::default() }).await;
    assert_eq!(post(&off, "/v1/chat/completions", &ask("gpt-sim", false)).await.status, 200);
    assert!(off.ledger().is_empty());
}
