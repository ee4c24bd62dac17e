//! The messages that wait for one session: a FIFO bounded in messages and in bytes.
//!
//! What is being written to a connection stays at the head as *in flight*: it counts against the
//! limits and leaves only when the kernel took it. If the connection breaks, it is simply waiting
//! again, before everything that came later.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::protocol::Publication;

/// What happens when a message does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The oldest messages that are not being written make room.
    DropOldest,
    /// The message that does not fit is dropped.
    DropNewest,
    /// The session is removed; the client comes back with a new handshake.
    #[default]
    Disconnect,
}

/// The bounds of one queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// Most messages. Default 2000: a burst to a client that is between two connects.
    pub messages: usize,
    /// Most bytes, counted as they go on the wire. Default 4 MiB.
    pub bytes: usize,
    /// What happens beyond.
    pub overflow: Overflow,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            messages: 2000,
            bytes: 4 << 20,
            overflow: Overflow::default(),
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It waits.
    Queued,
    /// It was dropped.
    Refused,
    /// The queue's owner is to be disconnected.
    Overflowed,
}

/// What became of a message, and what it cost the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pushed {
    pub(crate) outcome: Outcome,
    /// Older messages that made room.
    pub(crate) dropped: usize,
    pub(crate) dropped_bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    items: VecDeque<Arc<Publication>>,
    bytes: usize,
    in_flight: usize,
}

impl Queue {
    pub(crate) fn push(&mut self, item: &Arc<Publication>, limits: &QueueLimits) -> Pushed {
        let mut pushed = Pushed {
            outcome: Outcome::Queued,
            dropped: 0,
            dropped_bytes: 0,
        };
        let size = item.json().len();
        while self.items.len() >= limits.messages || self.bytes + size > limits.bytes {
            // Only what is not being written can make room.
            let old = match limits.overflow {
                Overflow::DropOldest if size <= limits.bytes => self.items.remove(self.in_flight),
                Overflow::DropOldest | Overflow::DropNewest => None,
                Overflow::Disconnect => {
                    pushed.outcome = Outcome::Overflowed;
                    return pushed;
                }
            };
            let Some(old) = old else {
                pushed.outcome = Outcome::Refused;
                return pushed;
            };
            self.bytes -= old.json().len();
            pushed.dropped += 1;
            pushed.dropped_bytes += old.json().len();
        }
        self.bytes += size;
        self.items.push_back(Arc::clone(item));
        pushed
    }

    /// Messages that wait and are not being written.
    pub(crate) fn waiting(&self) -> usize {
        self.items.len() - self.in_flight
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Marks messages from the head as in flight and copies their handles to `out`: as many as fit
    /// into `budget` bytes, but at least one. Only when nothing is in flight.
    pub(crate) fn take_off(&mut self, budget: usize, out: &mut Vec<Arc<Publication>>) {
        assert_eq!(self.in_flight, 0, "one flight at a time");
        let mut size = 0;
        for item in &self.items {
            size += item.json().len() + 1;
            if size > budget && self.in_flight > 0 {
                break;
            }
            self.in_flight += 1;
            out.push(Arc::clone(item));
        }
    }

    /// The flight arrived: its messages leave. Returns how many bytes they had.
    pub(crate) fn landed(&mut self) -> usize {
        let mut freed = 0;
        for item in self.items.drain(..self.in_flight) {
            freed += item.json().len();
        }
        self.bytes -= freed;
        self.in_flight = 0;
        if self.items.is_empty() && self.items.capacity() > KEPT_CAPACITY {
            self.items = VecDeque::new();
        }
        self.invariants();
        freed
    }

    /// The flight was lost: its messages wait again.
    pub(crate) fn returned(&mut self) {
        self.in_flight = 0;
    }

    /// Takes out the oldest message for a receiver in this process.
    pub(crate) fn pop(&mut self) -> Option<Arc<Publication>> {
        debug_assert_eq!(self.in_flight, 0, "receivers in process have no flights");
        let item = self.items.pop_front()?;
        self.bytes -= item.json().len();
        Some(item)
    }

    /// Empties the queue; returns how many messages and bytes were lost.
    pub(crate) fn clear(&mut self) -> (usize, usize) {
        let lost = (self.items.len(), self.bytes);
        *self = Self::default();
        lost
    }

    fn invariants(&self) {
        debug_assert!(self.in_flight <= self.items.len());
        debug_assert_eq!(
            self.bytes,
            self.items
                .iter()
                .map(|item| item.json().len())
                .sum::<usize>()
        );
    }
}

/// A queue that has been drained keeps room for so many messages at the most.
const KEPT_CAPACITY: usize = 16;
