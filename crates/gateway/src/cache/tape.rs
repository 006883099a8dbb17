//! A stream is written down while it passes, so that it can be kept when it has ended well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use gateway_core::chat::{ChatResponse, Contents};
use gateway_core::event::{Block, Delta, StreamEvent};
use gateway_core::gather::Gather;
use gateway_core::limits::{CACHE_ENTRY_BYTES, CACHE_TAPE_BYTES};
use gateway_dialects::codec::EventRole;

use super::kept::Events;

/// What all tapes of the process hold at a time.
#[derive(Debug, Clone, Default)]
pub struct Tapes(Arc<AtomicUsize>);

/// One stream, as far as it has come.
#[derive(Debug)]
pub struct Tape {
    written: Written,
    contents: Contents,
    /// It was too long, or all tapes together were.
    full: bool,
    room: Room,
}

#[derive(Debug)]
enum Written {
    /// As the events came.
    Frames { bytes: Vec<u8>, ends: Vec<u32>, usage_only: Option<u32> },
    /// What they said.
    Said(Gather),
}

/// What was on a tape when the stream ended well.
#[derive(Debug)]
pub enum Recorded {
    Events(Events),
    Said(ChatResponse),
}

impl Tapes {
    /// `verbatim`: the client gets the provider's own events.
    pub fn begin(&self, verbatim: bool) -> Tape {
        let written = match verbatim {
            true => Written::Frames { bytes: Vec::new(), ends: Vec::new(), usage_only: None },
            false => Written::Said(Gather::default()),
        };
        let room = Room { all: self.0.clone(), taken: 0 };
        Tape { written, contents: Contents::default(), full: false, room }
    }
}

/// What a tape has taken of what all of them may hold.
#[derive(Debug)]
struct Room {
    all: Arc<AtomicUsize>,
    taken: usize,
}

/// It is taken in steps, since it is shared by all threads.
const STEP: usize = 16 * 1024;

impl Room {
    fn has(&mut self, bytes: usize) -> bool {
        if bytes > CACHE_ENTRY_BYTES {
            return false;
        }
        while self.taken < bytes {
            self.taken += STEP;
            if self.all.fetch_add(STEP, Ordering::Relaxed) + STEP > CACHE_TAPE_BYTES {
                return false;
            }
        }
        true
    }

    fn give_back(&mut self) {
        self.all.fetch_sub(std::mem::take(&mut self.taken), Ordering::Relaxed);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Tape {
    /// The bytes of an event that the client is given.
    pub fn frame(&mut self, raw: &Bytes, role: EventRole) {
        let Written::Frames { bytes, ends, usage_only } = &mut self.written else { return };
        if self.full || !self.room.has(bytes.len() + raw.len() + size_of::<u32>() * ends.len()) {
            self.give_up();
            return;
        }
        if role == EventRole::UsageOnly {
            *usage_only = u32::try_from(ends.len()).ok();
        }
        bytes.extend_from_slice(raw);
        ends.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    }

    /// What an event says.
    pub fn event(&mut self, event: &StreamEvent) {
        match event {
            StreamEvent::BlockStart(Block::Refusal) => self.contents.refusal = true,
            StreamEvent::BlockStart(Block::ToolCall { .. } | Block::Foreign { .. }) => self.contents.tool_calls = true,
            StreamEvent::Delta(Delta::Text(text)) => self.contents.text |= !text.is_empty(),
            _ => {}
        }
        if let Written::Said(gather) = &mut self.written
            && !self.full
        {
            gather.see(event);
            if !self.room.has(gather.bytes()) {
                self.give_up();
            }
        }
    }

    fn give_up(&mut self) {
        self.full = true;
        self.written = Written::Said(Gather::default());
        self.room.give_back();
    }

    /// The stream has ended well.
    pub fn recorded(self) -> Option<(Recorded, Contents)> {
        if self.full {
            return None;
        }
        let recorded = match self.written {
            Written::Frames { bytes, ends, usage_only } => Recorded::Events(Events {
                bytes: Bytes::from(bytes.into_boxed_slice()),
                ends: ends.into_boxed_slice(),
                usage_only,
            }),
            Written::Said(gather) => Recorded::Said(gather.done()),
        };
        Some((recorded, self.contents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_that_is_too_long_is_given_up_and_gives_its_room_back() {
        let tapes = Tapes::default();
        let mut tape = tapes.begin(true);
        let piece = Bytes::from(vec![b'x'; CACHE_ENTRY_BYTES / 4]);
        let taken = || tapes.0.load(Ordering::Relaxed);
        tape.frame(&piece, EventRole::Content);
        assert!(taken() >= CACHE_ENTRY_BYTES / 4);
        for _ in 0..4 {
            tape.frame(&piece, EventRole::Content);
        }
        assert_eq!(taken(), 0, "while the stream goes on");
        assert!(tape.recorded().is_none());
        assert_eq!(taken(), 0);
    }

    #[test]
    fn all_tapes_together_have_a_bound() {
        let tapes = Tapes::default();
        let piece = Bytes::from(vec![b'x'; CACHE_ENTRY_BYTES - STEP]);
        let mut all: Vec<Tape> = (0..2 * CACHE_TAPE_BYTES / CACHE_ENTRY_BYTES).map(|_| tapes.begin(true)).collect();
        all.iter_mut().for_each(|tape| tape.frame(&piece, EventRole::Content));
        let whole = all.into_iter().filter_map(Tape::recorded).count();
        assert!((1..=CACHE_TAPE_BYTES / (CACHE_ENTRY_BYTES - STEP)).contains(&whole), "{whole}");
    }
}
