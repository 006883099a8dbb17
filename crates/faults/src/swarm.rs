//! One client of many: asks, misbehaves as it is told, and keeps its own account of what it got.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::dialect::{Client, Ear, Heard};
use crate::http::{self, Broken, Connection, Head};
use crate::kinds::{self, Kind, Malformed, Manner, Upstream};
use crate::world::{Api, PROMPT_CANARY, REPLICAS, Route};

/// Longer than the gateway under test may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the gateway under test takes at most.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;
const WORDS: [&str; 12] =
    ["amber", "birch", "cobalt", "delta", "ember", "fjord", "garnet", "harbor", "indigo", "juniper", "kelp", "lagoon"];

/// One request as it was drawn.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) number: u64,
    /// In the prompt, and the client's own id for its request.
    pub(crate) mark: String,
    pub(crate) kind: &'static Kind,
    pub(crate) route: Route,
    replica: usize,
    pub(crate) client: Client,
    pub(crate) stream: bool,
    /// What the answer has to say.
    pub(crate) expected: String,
    rng: Rng,
}

/// How the client's side ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// The answer ended as its framing says.
    Complete,
    /// The client left.
    Left,
    Broken(String),
    /// No end within [`PATIENCE`].
    Endless,
}

/// The client's account of one request.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) plan: Plan,
    /// The whole request was handed to the connection.
    pub(crate) sent: bool,
    pub(crate) end: End,
    /// 0: no answer.
    pub(crate) status: u16,
    pub(crate) request_id: Option<String>,
    pub(crate) heard: Heard,
    pub(crate) first_content: Option<Instant>,
    pub(crate) took: Duration,
    /// The kind of the request before on the same connection; empty for the first.
    pub(crate) before: &'static str,
    /// An answer that has a secret in it.
    pub(crate) leak: Option<String>,
}

impl Plan {
    /// The same for the same seed and number.
    pub(crate) fn draw(seed: u64, number: u64) -> Self {
        let mut rng =
            Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number.wrapping_mul(0xD1B5_4A32_D192_ED03));
        let kind = kinds::draw(&mut rng);
        let second = match rng.u8(0..10) {
            _ if kind.strikes_once() => None,
            0..3 => None,
            3..6 => Some(Api::OpenAi),
            _ => Some(Api::Anthropic),
        };
        let route = Route { first: Api::ALL[rng.usize(0..2)], second };
        let replica = rng.usize(0..REPLICAS);
        let client = Client::ALL[rng.usize(0..3)];
        let stream = rng.bool();
        let mark = format!("m{seed}-{number}-");
        let mut expected = format!("{mark} {PROMPT_CANARY}");
        // Long enough that every fault in the middle of a stream strikes between its first word and its last.
        for _ in 0..rng.usize(14..40) {
            expected.push(' ');
            expected.push_str(WORDS[rng.usize(0..WORDS.len())]);
        }
        Self { number, mark, kind, route, replica, client, stream, expected, rng }
    }

    fn model(&self) -> String {
        match self.kind.upstream {
            Upstream::Simulator(fault) if self.kind.strikes_once() => {
                let provider = self.route.provider(self.kind, self.replica);
                format!("{provider}/sim-{}+fault:{fault}", self.number)
            }
            _ => self.route.alias(self.kind, self.replica),
        }
    }

    fn body(&self) -> Vec<u8> {
        let prompt = format!("Reply with exactly: {}", self.expected);
        let mut body = self.client.body(&self.model(), &prompt, self.stream);
        let Manner::Send(malformed) = self.kind.manner else { return body.to_string().into_bytes() };
        match malformed {
            Malformed::HalfJson => {
                let mut text = body.to_string().into_bytes();
                text.truncate(text.len() / 2);
                return text;
            }
            Malformed::Deep => {
                let text = body.to_string();
                let deep = format!(",\"x\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
                return [text.trim_end_matches('}').as_bytes(), deep.as_bytes()].concat();
            }
            Malformed::WrongType => body["messages"] = prompt.into(),
            Malformed::TwoModels => return body.to_string().replacen('{', "{\"model\":\"x\",", 1).into_bytes(),
            Malformed::InvalidUtf8 => {
                let mut text = body.to_string().into_bytes();
                let middle = text.windows(5).position(|window| window == b"amber" || window == b"Reply").unwrap_or(2);
                text[middle] = 0xff;
                return text;
            }
            Malformed::TooLong => body["padding"] = "x".repeat(BODY_LIMIT_BYTES).into(),
            Malformed::UnknownModel => body["model"] = format!("nobody-has-{}", self.number).into(),
        }
        body.to_string().into_bytes()
    }

    fn request(&self, address: SocketAddr) -> Vec<u8> {
        let (path, mark, body) = (self.client.path(), &self.mark, self.body());
        let headers = format!("x-client-request-id: {mark}\r\nauthorization: Bearer client-{mark}\r\n");
        if self.kind.manner != Manner::SendChunked {
            return http::post(address, path, &headers, &body);
        }
        let mut bytes = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{headers}transfer-encoding: \
             chunked\r\n\r\n"
        )
        .into_bytes();
        for piece in body.chunks(50) {
            bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

/// A client with a connection that it keeps while it can.
#[derive(Debug)]
pub(crate) struct Caller {
    address: SocketAddr,
    kept: Option<Connection>,
    before: &'static str,
}

impl Caller {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, kept: None, before: "" }
    }

    pub(crate) async fn ask(&mut self, plan: Plan) -> Sent {
        let mut sent = Sent {
            plan,
            sent: false,
            end: End::Endless,
            status: 0,
            request_id: None,
            heard: Heard::default(),
            first_content: None,
            took: Duration::ZERO,
            before: "",
            leak: None,
        };
        let began = Instant::now();
        let asked = tokio::time::timeout(PATIENCE, self.converse(&mut sent)).await;
        sent.end = match asked {
            Err(_) => End::Endless,
            Ok(Ok(end)) => end,
            Ok(Err(broken)) => End::Broken(broken.to_string()),
        };
        sent.took = began.elapsed();
        self.before = sent.plan.kind.name;
        sent
    }

    async fn converse(&mut self, sent: &mut Sent) -> Result<End, Broken> {
        let request = sent.plan.request(self.address);
        let manner = sent.plan.kind.manner;
        let mut connection = match self.kept.take().filter(|kept| manner != Manner::ReadSlowly && !kept.is_closed()) {
            Some(kept) => {
                sent.before = self.before;
                kept
            }
            None => Connection::open(self.address).await?,
        };
        let rng = &mut sent.plan.rng;
        match manner {
            Manner::LeaveInBody => {
                connection.send(&request[..request.len() - 60]).await?;
                if rng.bool() {
                    connection.reset();
                }
                return Ok(End::Left);
            }
            Manner::SendSlowly => {
                for piece in request.chunks(request.len() / 6) {
                    connection.send(piece).await?;
                    tokio::time::sleep(Duration::from_millis(rng.u64(0..4))).await;
                }
            }
            // A server may answer and close before it has read everything.
            Manner::Send(_) => drop(connection.send(&request).await),
            _ => connection.send(&request).await?,
        }
        sent.sent = true;
        match manner {
            Manner::HalfClose => connection.half_close().await?,
            Manner::LeaveEarly { reset } => {
                let wait = Duration::from_millis(rng.u64(0..16));
                let Ok(head) = tokio::time::timeout(wait, connection.head()).await else {
                    if reset {
                        connection.reset();
                    }
                    return Ok(End::Left);
                };
                return self.read(connection, head?, sent).await;
            }
            _ => {}
        }
        let head = connection.head().await?;
        self.read(connection, head, sent).await
    }

    async fn read(&mut self, mut connection: Connection, head: Head, sent: &mut Sent) -> Result<End, Broken> {
        let manner = sent.plan.kind.manner;
        sent.status = head.status;
        sent.request_id = head.header("x-request-id").map(str::to_owned);
        let events = head.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        let leave_after = sent.plan.rng.u32(2..5);
        let (mut ear, mut body) = (Ear::new(sent.plan.client), Vec::new());
        loop {
            if let Manner::LeaveMidway { reset } = manner
                && (!events || ear.heard.contents >= leave_after)
                && head.status == 200
            {
                sent.heard = ear.heard;
                if reset {
                    connection.reset();
                }
                return Ok(End::Left);
            }
            if manner == Manner::ReadSlowly {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let next = connection.next().await;
            if let Ok(Some(bytes)) = &next {
                if events {
                    ear.push(bytes);
                    if ear.heard.contents > 0 {
                        sent.first_content.get_or_insert_with(Instant::now);
                    }
                }
                body.extend_from_slice(bytes);
                continue;
            }
            sent.heard = if events { ear.heard } else { Heard::at_once(sent.plan.client, head.status, &body) };
            sent.leak = leak(&body);
            next?;
            break;
        }
        if connection.is_reusable() && manner != Manner::HalfClose {
            self.kept = Some(connection);
        }
        Ok(End::Complete)
    }
}

/// What a client must never see: the keys of the gateway.
fn leak(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    text.find("canary-key").map(|at| text[at.saturating_sub(40)..].chars().take(120).collect())
}
