//! A TCP proxy that fails as told: between a gateway and whatever it depends on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Pieces of an answer that wait for their time.
const PIECES: usize = 1024;
const PIECE_BYTES: usize = 16 * 1024;

/// What is wrong with the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Answers come later, each by a time between the two.
    Delay(Duration, Duration),
    /// Answers come byte by byte, with so much time between two.
    Drip(Duration),
    /// Nothing passes, nothing is closed, new connections are accepted; afterwards everything is still there.
    Blackhole,
    /// Connections are reset, new ones too.
    Reset,
    /// The server is not asked. Every command in Redis' protocol gets this line, as `-LOADING ...`.
    Answer(&'static str),
}

/// Stops, and closes its connections, when dropped.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    fault: watch::Sender<Fault>,
    server: watch::Sender<SocketAddr>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// On a port of its own, in front of `server`.
    pub async fn start(server: SocketAddr) -> io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let (fault, faults) = watch::channel(Fault::None);
        let (server, servers) = watch::channel(server);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = *servers.borrow();
                tokio::spawn(connection(client, server, faults.clone()));
            }
        });
        Ok(Proxy { addr, fault, server, accepting })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// New connections are for another server, as when an address moves to one that was a replica.
    pub fn lead_to(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }

    /// From now on, for open connections too. [`Fault::None`] heals.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Faults = watch::Receiver<Fault>;

/// The fault of this moment; waits while nothing passes. `None`: the proxy has gone.
async fn now(faults: &mut Faults) -> Option<Fault> {
    faults.wait_for(|fault| *fault != Fault::Blackhole).await.ok().map(|fault| fault.clone())
}

async fn connection(mut client: TcpStream, server: SocketAddr, mut faults: Faults) {
    let mut resets = faults.clone();
    let passed = tokio::select! {
        biased;
        _ = resets.wait_for(|fault| *fault == Fault::Reset) => None,
        passed = pass(&mut client, server, &mut faults) => Some(passed),
    };
    if passed.is_none() {
        let _ = client.set_zero_linger();
    }
}

async fn pass(client: &mut TcpStream, server: SocketAddr, faults: &mut Faults) -> Option<()> {
    now(faults).await?;
    let mut server = TcpStream::connect(server).await.ok()?;
    client.set_nodelay(true).ok()?;
    server.set_nodelay(true).ok()?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let (answers, due) = mpsc::channel(PIECES);
    tokio::select! {
        passed = ask(from_client, to_server, answers.clone(), faults.clone()) => passed,
        passed = answer(from_server, answers, faults.clone()) => passed,
        passed = deliver(due, to_client, faults.clone()) => passed,
    }
}

type Piece = (Instant, Vec<u8>);

/// From the client to the server, or to the fault that answers in its place.
async fn ask(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    answers: mpsc::Sender<Piece>,
    mut faults: Faults,
) -> Option<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut commands = Commands::default();
    loop {
        let length = from.read(&mut piece).await.ok().filter(|length| *length > 0)?;
        match now(&mut faults).await? {
            Fault::Answer(line) => {
                let count = commands.ended_by(&piece[..length]);
                answers.send((Instant::now(), format!("{line}\r\n").repeat(count).into_bytes())).await.ok()?;
            }
            _ => to.write_all(&piece[..length]).await.ok()?,
        }
    }
}

/// From the server, each piece with the time at which it is due.
async fn answer(mut from: ReadHalf<'_>, answers: mpsc::Sender<Piece>, mut faults: Faults) -> Option<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = from.read(&mut piece).await.ok().filter(|length| *length > 0)?;
        let delay = match now(&mut faults).await? {
            Fault::Delay(least, most) => least + (most - least).mul_f64(fastrand::f64()),
            _ => Duration::ZERO,
        };
        answers.send((Instant::now() + delay, piece[..length].to_vec())).await.ok()?;
    }
}

async fn deliver(mut due: mpsc::Receiver<Piece>, mut to: WriteHalf<'_>, mut faults: Faults) -> Option<()> {
    while let Some((at, piece)) = due.recv().await {
        tokio::time::sleep_until(at).await;
        match now(&mut faults).await? {
            Fault::Drip(pause) => {
                for byte in piece {
                    tokio::time::sleep(pause).await;
                    to.write_all(&[byte]).await.ok()?;
                }
            }
            _ => to.write_all(&piece).await.ok()?,
        }
    }
    None
}

/// Counts the commands of a client: arrays of strings with their lengths before them.
#[derive(Debug, Default)]
struct Commands {
    unread: Vec<u8>,
    /// Strings of the present command that are still to come.
    strings: usize,
}

impl Commands {
    fn ended_by(&mut self, bytes: &[u8]) -> usize {
        self.unread.extend_from_slice(bytes);
        let (mut ended, mut at) = (0, 0);
        while let Some(length) = self.unread[at..].windows(2).position(|pair| pair == b"\r\n") {
            let line = &self.unread[at..at + length];
            let number = line.get(1..).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0);
            let next = match line.first() {
                Some(b'$') => at + length + 2 + number + 2,
                _ => at + length + 2,
            };
            if next > self.unread.len() {
                break;
            }
            match line.first() {
                Some(b'*') => self.strings = number,
                _ => self.strings = self.strings.saturating_sub(1),
            }
            ended += usize::from(self.strings == 0);
            at = next;
        }
        self.unread.drain(..at);
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_wherever_they_are_cut() {
        let text = b"*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$2\r\n\r\n\r\n$4\r\n*1\r\n\r\nPING\r\n";
        assert_eq!(Commands::default().ended_by(text), 3);
        for cut in 0..text.len() {
            let mut commands = Commands::default();
            assert_eq!(commands.ended_by(&text[..cut]) + commands.ended_by(&text[cut..]), 3, "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn what_a_black_hole_held_back_arrives_when_it_is_healed() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        let (mut served, _) = server.accept().await.unwrap();
        proxy.set(Fault::Blackhole);
        client.write_all(b"question").await.unwrap();
        let mut heard = [0; 8];
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, served.read_exact(&mut heard)).await.is_err());
        proxy.set(Fault::None);
        served.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"question");
        proxy.set(Fault::Answer("-BUSY"));
        client.write_all(b"*1\r\n$4\r\nPING\r\n").await.unwrap();
        let mut said = [0; 7];
        client.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"-BUSY\r\n");
        proxy.set(Fault::Reset);
        assert_eq!(client.read(&mut said).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
