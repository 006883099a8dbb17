//! An eye on the frames of an HTTP/2 client: a flood of those that cost it nothing and us an answer or a look ends its
//! connection.
//!
//! Resets of streams that have just been opened are bounded by the h2 library itself. Pings, settings, priorities and empty
//! pieces are not: each is answered or looked at, at whatever speed it comes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use gateway_core::limits::{CONTROL_FRAMES_AT_ONCE, CONTROL_FRAMES_PER_SECOND, WRITTEN_BYTES_PER_CONTROL_FRAME};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// Where in what the client sends we are.
#[derive(Debug, PartialEq, Eq)]
enum At {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// It speaks HTTP/1.1: not looked at.
    Elsewhere,
    /// In the head of a frame, of which so many bytes have come.
    Head([u8; HEAD_BYTES], usize),
    /// In a frame of which so many bytes are still to come.
    Payload(usize),
}

/// Frames that may still come, as far as is known now.
#[derive(Debug)]
struct Frames {
    at: At,
    left: u64,
    /// Since when nothing was added for the time that has passed.
    since: Instant,
    /// Bytes written that have not been counted for any frame.
    written: u64,
}

impl Frames {
    fn new(now: Instant) -> Self {
        Frames { at: At::Preface(0), left: CONTROL_FRAMES_AT_ONCE, since: now, written: 0 }
    }

    /// What was written must be acknowledged: that is no flood.
    fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// False: too many.
    fn read(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) -> bool {
        while let Some(&first) = bytes.first() {
            match &mut self.at {
                At::Elsewhere => return true,
                At::Preface(have) => {
                    if PREFACE[*have] != first {
                        self.at = At::Elsewhere;
                        return true;
                    }
                    bytes = &bytes[1..];
                    *have += 1;
                    if *have == PREFACE.len() {
                        self.at = At::Head([0; HEAD_BYTES], 0);
                    }
                }
                At::Head(head, have) => {
                    let part = bytes.len().min(HEAD_BYTES - *have);
                    head[*have..*have + part].copy_from_slice(&bytes[..part]);
                    bytes = &bytes[part..];
                    *have += part;
                    if *have == HEAD_BYTES {
                        let [a, b, c, kind, ..] = *head;
                        let length = u32::from_be_bytes([0, a, b, c]) as usize;
                        self.at = At::Payload(length);
                        let carries = kind == HEADERS || kind == DATA && length > 0;
                        if !carries && !self.control_frame(&now) {
                            return false;
                        }
                    }
                }
                At::Payload(left) => {
                    let part = bytes.len().min(*left);
                    bytes = &bytes[part..];
                    *left -= part;
                }
            }
            if self.at == At::Payload(0) {
                self.at = At::Head([0; HEAD_BYTES], 0);
            }
        }
        true
    }

    fn control_frame(&mut self, now: impl Fn() -> Instant) -> bool {
        if self.left == 0 {
            let now = now();
            let passed = now.saturating_duration_since(self.since);
            let for_time =
                u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).saturating_mul(CONTROL_FRAMES_PER_SECOND) / 1000;
            let earned = for_time.saturating_add(self.written / WRITTEN_BYTES_PER_CONTROL_FRAME);
            if earned == 0 {
                return false;
            }
            self.left = earned.min(CONTROL_FRAMES_AT_ONCE);
            (self.since, self.written) = (now, 0);
        }
        self.left -= 1;
        true
    }
}

/// A connection of which the frames are counted.
pub struct Counted<S> {
    stream: S,
    frames: Frames,
}

impl<S> Counted<S> {
    pub fn new(stream: S) -> Self {
        Counted { stream, frames: Frames::new(Instant::now()) }
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.frames.wrote(bytes);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() && !self.frames.read(&buffer.filled()[before..], Instant::now) {
            return Poll::Ready(Err(io::Error::other("a flood of control frames")));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let length_bytes = (length as u32).to_be_bytes();
        [&length_bytes[1..], &[kind, 0, 0, 0, 0, 0], &vec![0; length]].concat()
    }

    /// The first so many frames that are let through, however they are cut.
    fn let_through(frames: &mut Frames, frame: &[u8], count: u64, cut: usize, now: Instant) -> u64 {
        let whole = |_: &u64| frame.chunks(cut).all(|piece| frames.read(piece, || now));
        (0..count).take_while(whole).count() as u64
    }

    #[test]
    fn floods_end_and_work_does_not_however_it_is_cut() {
        for cut in [4, 1000] {
            let began = Instant::now();
            let mut frames = Frames::new(began);
            assert!(PREFACE.chunks(cut).all(|piece| frames.read(piece, || began)));
            let many = 2 * CONTROL_FRAMES_AT_ONCE;
            assert_eq!(let_through(&mut frames, &frame(HEADERS, 50), many, cut, began), many);
            assert_eq!(let_through(&mut frames, &frame(DATA, 20), many, cut, began), many);
            assert_eq!(let_through(&mut frames, &frame(PING, 8), many, cut, began), CONTROL_FRAMES_AT_ONCE);
            let mut frames = Frames { at: At::Head([0; HEAD_BYTES], 0), left: 0, ..Frames::new(began) };
            let later = began + Duration::from_secs(1);
            assert_eq!(let_through(&mut frames, &frame(DATA, 0), many, cut, later), CONTROL_FRAMES_PER_SECOND);
        }
    }

    #[test]
    fn what_was_written_may_be_acknowledged() {
        let began = Instant::now();
        let mut frames = Frames { at: At::Head([0; HEAD_BYTES], 0), ..Frames::new(began) };
        for _ in 0..10 * CONTROL_FRAMES_AT_ONCE {
            // An event of a stream, and its stream's and its connection's window.
            frames.wrote(100);
            assert_eq!(let_through(&mut frames, &frame(WINDOW_UPDATE, 4), 2, 1000, began), 2);
        }
    }

    #[test]
    fn http_1_is_not_looked_at() {
        let began = Instant::now();
        let mut frames = Frames { left: 0, ..Frames::new(began) };
        assert!(frames.read(b"POST /v1", || began) && frames.read(&[0; 100_000], || began));
        assert_eq!(frames.at, At::Elsewhere);
    }
}
