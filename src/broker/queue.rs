//! The messages that wait for one session: a FIFO bounded in messages and in bytes.
//!
//! What is being written to a connection stays at the head as *in flight* and leaves only when the
//! kernel took it. If the connection breaks, it is simply waiting again, before everything that
//! came later. What stalls there counts against the limits. One that does not is with its
//! receiver at any moment, perhaps before its connection comes to say so: nothing may be dropped
//! for it, and a queue has more than its limits by one write at the most.

use std::sync::Arc;

use crate::protocol::Publication;
use crate::settings::{Count, Named, Size, Word, settings};
use crate::util::OneOrMany;

/// What happens when a message does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest messages that are not being written make room.
    DropOldest,
    /// The message that does not fit is dropped.
    DropNewest,
    /// The session is removed; the client comes back with a new handshake.
    Disconnect,
}

impl Named for Overflow {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("drop-oldest", Self::DropOldest),
        ("drop-newest", Self::DropNewest),
        ("disconnect", Self::Disconnect),
    ];
}

settings! {
    /// The bounds of one queue.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct QueueLimits {}
    "Sessions and queues" {
        /// Most messages that wait for one session.
        ///
        /// Reached by a client that is away or too slow; then see `overflow`.
        messages as "max_queue_messages": usize = Count, within "1 or more", default "2000";

        /// Most bytes of messages that wait for one session, counted as they go on the wire.
        ///
        /// Reached by a client that is away or too slow; then see `overflow`.
        bytes as "max_queue_bytes": usize = Size, within "1KiB or more", default "4MiB";

        /// What happens when a session's queue is full.
        ///
        /// `disconnect` removes the session: the client notices, comes back and resubscribes. The
        /// other two leave gaps that no client notices. All are counted in the metrics.
        overflow: Overflow = Word::<Overflow>::KIND, default "disconnect";
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It waits.
    Queued,
    /// It was dropped.
    Refused,
    /// The queue's owner is gone.
    Gone,
    /// The queue's owner is to be disconnected.
    Overflowed,
}

/// What became of a message, and what it cost the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pushed {
    pub(crate) outcome: Outcome,
    /// Older messages that made room.
    pub(crate) dropped: usize,
}

impl Pushed {
    /// An outcome that cost the others nothing.
    pub(crate) fn alone(outcome: Outcome) -> Self {
        Self {
            outcome,
            dropped: 0,
        }
    }
}

/// Small, since every session has one: limits are kept below 2 GiB.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Queue {
    /// Most queues never have a second. One that is drained keeps a little room.
    items: OneOrMany<Arc<Publication>, KEPT>,
    bytes: u32,
    /// Messages at the head that are being written.
    in_flight: u32,
}

impl Queue {
    /// Adds a message. Only if it does not fit, `stalls` is asked whether what is in flight has
    /// stalled, or there is none.
    pub(crate) fn push(
        &mut self,
        item: &Arc<Publication>,
        limits: &QueueLimits,
        stalls: impl FnOnce() -> bool,
    ) -> Pushed {
        let size = item.json().len();
        let mut pushed = Pushed::alone(Outcome::Queued);
        if !fits(self.len(), self.bytes(), size, limits) {
            let refused = match limits.overflow {
                Overflow::Disconnect => Some(Outcome::Overflowed),
                Overflow::DropNewest => Some(Outcome::Refused),
                Overflow::DropOldest => None,
            };
            let stalled = stalls();
            if let (true, Some(outcome)) = (stalled, refused) {
                return Pushed::alone(outcome);
            }
            let (messages, bytes) = self.in_flight();
            // What leaves just now counts as gone.
            let leaving = if stalled { (0, 0) } else { (messages, bytes) };
            let fits = |messages: usize, bytes: usize| {
                fits(messages - leaving.0, bytes - leaving.1, size, limits)
            };
            while !fits(self.len(), self.bytes()) {
                // What is being written cannot make room.
                let refused = refused.or((!fits(messages, bytes)).then_some(Outcome::Refused));
                if let Some(outcome) = refused {
                    return Pushed::alone(outcome);
                }
                let old = self
                    .items
                    .remove(messages)
                    .expect("without what waits there is room");
                self.forget(old.json().len());
                pushed.dropped += 1;
            }
        }
        self.bytes += u32::try_from(size).expect("the limit is lower");
        self.items.push(Arc::clone(item));
        pushed
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Whether messages wait, and none are being written.
    pub(crate) fn is_ready(&self) -> bool {
        self.in_flight == 0 && !self.items.is_empty()
    }

    /// Whether all that is in it fits into so many bytes of one response, and nothing of it is
    /// being written elsewhere. One message fits into any but none.
    pub(crate) fn fits(&self, budget: usize) -> bool {
        // Each comes with a comma.
        let all = self.bytes() + self.len() <= budget || (self.len() == 1 && budget > 0);
        self.in_flight == 0 && all
    }

    /// Messages and bytes that are being written.
    fn in_flight(&self) -> (usize, usize) {
        let messages = self.in_flight as usize;
        let bytes = self.items.iter().take(messages);
        (messages, bytes.map(|item| item.json().len()).sum())
    }

    /// Messages and bytes that wait and are not being written.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let (messages, bytes) = self.in_flight();
        (self.len() - messages, self.bytes() - bytes)
    }

    /// Its part of the memory that messages take, which is divided among all who hold one: of those
    /// that wait, and of those that are being written.
    pub(crate) fn shares(&self) -> (usize, usize) {
        let share = |handles: usize, item: &Arc<Publication>| {
            let all = Arc::strong_count(item).max(handles);
            PLACE_BYTES + item.memory() * handles / all
        };
        let in_flight = self.in_flight as usize;
        let waiting = self.items.iter().skip(in_flight);
        let waiting = waiting.map(|item| share(1, item)).sum();
        // The connection has one too.
        let written = self.items.iter().take(in_flight);
        (waiting, written.map(|item| share(2, item)).sum())
    }

    /// The newest message, if it is not being written.
    pub(crate) fn last_waiting(&self) -> Option<&Arc<Publication>> {
        let all_in_flight = self.in_flight as usize == self.items.len();
        self.items.last().filter(|_| !all_in_flight)
    }

    /// Marks messages from the head as in flight and copies their handles to `out`: as many as fit
    /// into `budget` bytes, but at least one. Only when nothing is in flight.
    pub(crate) fn begin(&mut self, budget: usize, out: &mut Vec<Arc<Publication>>) {
        assert_eq!(self.in_flight, 0, "one write at a time");
        let mut size = 0;
        for item in self.items.iter() {
            // Each comes with a comma.
            size += item.json().len() + 1;
            if size > budget && self.in_flight > 0 {
                break;
            }
            self.in_flight += 1;
            out.push(Arc::clone(item));
        }
    }

    /// What was in flight has arrived, and leaves. Returns how many messages that were.
    pub(crate) fn commit(&mut self) -> usize {
        let (messages, bytes) = self.in_flight();
        self.items.skip(messages);
        self.in_flight = 0;
        self.forget(bytes);
        self.check();
        messages
    }

    /// What was in flight was lost, and waits again.
    pub(crate) fn abort(&mut self) {
        self.in_flight = 0;
    }

    /// Takes out the oldest message for a receiver in this process.
    pub(crate) fn pop(&mut self) -> Option<Arc<Publication>> {
        debug_assert_eq!(self.in_flight, 0, "receivers in process write nothing");
        let item = self.items.remove(0)?;
        self.forget(item.json().len());
        Some(item)
    }

    /// Takes out what is not being written, from the head as much as fits into so many bytes, but
    /// at least one message; returns how many.
    pub(crate) fn take_waiting(&mut self, budget: usize, out: &mut Vec<Arc<Publication>>) -> usize {
        let at = self.in_flight as usize;
        let (mut messages, mut bytes) = (0, 0);
        while let Some(item) = self.items.remove(at) {
            messages += 1;
            bytes += item.json().len();
            out.push(item);
            let next = self.items.iter().nth(at);
            // Each comes with a comma.
            if next.is_none_or(|next| bytes + next.json().len() + out.len() + 1 > budget) {
                break;
            }
        }
        self.forget(bytes);
        self.check();
        messages
    }

    /// Drops what is not being written; returns how many messages were lost.
    pub(crate) fn clear_waiting(&mut self) -> usize {
        let (messages, bytes) = self.waiting();
        self.items.truncate(self.in_flight as usize);
        self.forget(bytes);
        self.check();
        messages
    }

    /// Empties the queue; returns how many messages waited in it, and how many there were.
    pub(crate) fn clear(&mut self) -> (usize, usize) {
        let lost = (self.waiting().0, self.len());
        *self = Self::default();
        lost
    }

    fn forget(&mut self, bytes: usize) {
        self.bytes -= u32::try_from(bytes).expect("they were counted when they came");
    }

    fn check(&self) {
        let sum = |items: &mut dyn Iterator<Item = &Arc<Publication>>| -> usize {
            items.map(|item| item.json().len()).sum()
        };
        debug_assert!(self.in_flight().0 <= self.len());
        debug_assert_eq!(self.bytes(), sum(&mut self.items.iter()));
    }
}

/// Whether one more finds room beside so many.
fn fits(messages: usize, bytes: usize, size: usize, limits: &QueueLimits) -> bool {
    messages < limits.messages.min(MOST) && bytes + size <= limits.bytes.min(MOST)
}

/// What a message takes in a queue besides itself: a handle, in a list that has grown to twice what
/// it needs at the most.
pub(crate) const PLACE_BYTES: usize = 2 * size_of::<Arc<Publication>>();
/// Sizes are kept in 32 bits; what is in flight and as much again find room in them.
const MOST: usize = u32::MAX as usize / 2;
/// Messages that a queue which has been drained keeps room for.
const KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ChannelName, Publisher};

    fn message(bytes: usize) -> Arc<Publication> {
        let channel = ChannelName::try_from("/a").unwrap();
        let empty = Publication::new(&channel, "\"\"", Publisher::Nobody);
        let data = format!("\"{}\"", "x".repeat(bytes - empty.json().len()));
        Arc::new(Publication::new(&channel, &data, Publisher::Nobody))
    }

    fn limits(messages: usize, bytes: usize, overflow: Overflow) -> QueueLimits {
        QueueLimits {
            messages,
            bytes,
            overflow,
        }
    }

    fn fill(queue: &mut Queue, limits: &QueueLimits) {
        for size in [50, 60, 70] {
            let pushed = queue.push(&message(size), limits, || true);
            assert_eq!(pushed, Pushed::alone(Outcome::Queued));
        }
    }

    fn sizes(queue: &Queue) -> Vec<usize> {
        queue.items.iter().map(|item| item.json().len()).collect()
    }

    #[test]
    fn what_is_in_flight_stays_at_the_head_until_it_is_committed_or_aborted() {
        let mut queue = Queue::default();
        let limits = limits(10, 1000, Overflow::Disconnect);
        fill(&mut queue, &limits);
        let mut out = Vec::new();
        queue.begin(112, &mut out);
        assert_eq!(
            (out.len(), queue.waiting(), queue.bytes()),
            (2, (1, 70), 180)
        );
        queue.abort();
        assert_eq!(queue.waiting(), (3, 180));
        out.clear();
        queue.begin(111, &mut out);
        assert_eq!(out.len(), 1, "the comma counts");
        assert_eq!((queue.commit(), queue.bytes()), (1, 130));
        out.clear();
        queue.begin(10, &mut out);
        assert_eq!(out.len(), 1, "one always fits");
        assert_eq!((queue.commit(), queue.commit()), (1, 0));
        assert_eq!((sizes(&queue), queue.bytes()), (vec![70], 70));
    }

    #[test]
    fn what_is_dropped_for_a_message_that_does_not_fit() {
        let full = || vec![50, 60, 70];
        let table = [
            // In flight, overflow, size: outcome, what is in the queue then.
            (0, Overflow::DropNewest, 50, Outcome::Refused, full()),
            (0, Overflow::Disconnect, 50, Outcome::Overflowed, full()),
            (
                0,
                Overflow::DropOldest,
                50,
                Outcome::Queued,
                vec![60, 70, 50],
            ),
            (0, Overflow::DropOldest, 100, Outcome::Queued, vec![70, 100]),
            (0, Overflow::DropOldest, 200, Outcome::Queued, vec![200]),
            (0, Overflow::DropOldest, 201, Outcome::Refused, full()),
            (
                1,
                Overflow::DropOldest,
                60,
                Outcome::Queued,
                vec![50, 70, 60],
            ),
            (1, Overflow::DropOldest, 150, Outcome::Queued, vec![50, 150]),
            (1, Overflow::DropOldest, 151, Outcome::Refused, full()),
            (3, Overflow::DropOldest, 50, Outcome::Refused, full()),
        ];
        for (in_flight, overflow, size, outcome, left) in table {
            let mut queue = Queue::default();
            let limits = limits(3, 200, overflow);
            fill(&mut queue, &limits);
            if in_flight > 0 {
                let budget = if in_flight == 1 { 1 } else { 1000 };
                queue.begin(budget, &mut Vec::new());
            }
            let pushed = queue.push(&message(size), &limits, || true);
            let case = format!("{in_flight} {overflow:?} {size}");
            assert_eq!((pushed.outcome, sizes(&queue)), (outcome, left), "{case}");
            assert_eq!(queue.bytes(), sizes(&queue).iter().sum::<usize>(), "{case}");
            let queued = usize::from(outcome == Outcome::Queued);
            assert_eq!(pushed.dropped, 3 + queued - queue.len(), "{case}");
        }
    }

    #[test]
    fn nothing_is_dropped_for_what_is_leaving() {
        for overflow in [
            Overflow::DropOldest,
            Overflow::DropNewest,
            Overflow::Disconnect,
        ] {
            let mut queue = Queue::default();
            let limits = limits(3, 200, overflow);
            fill(&mut queue, &limits);
            queue.begin(1000, &mut Vec::new());
            for size in [50, 60, 90] {
                let pushed = queue.push(&message(size), &limits, || false);
                assert_eq!(pushed, Pushed::alone(Outcome::Queued), "{overflow:?}");
            }
            let pushed = queue.push(&message(50), &limits, || false);
            assert_ne!(pushed, Pushed::alone(Outcome::Queued), "{overflow:?}");
            assert_eq!(queue.commit(), 3, "{overflow:?}");
            assert!(queue.len() <= 3, "{overflow:?}: the limits hold without it");
        }
    }

    #[test]
    fn a_message_is_divided_among_those_who_hold_it() {
        let limits = limits(100, 10_000, Overflow::Disconnect);
        let mut queues = [Queue::default(), Queue::default()];
        let (shared, own) = (message(1000), message(500));
        let (of_shared, of_own) = (shared.memory(), own.memory());
        for queue in &mut queues {
            queue.push(&shared, &limits, || true);
        }
        queues[0].push(&own, &limits, || true);
        drop((shared, own));
        let place = PLACE_BYTES;
        let shares = (2 * place + of_own + of_shared / 2, 0);
        assert_eq!(queues[0].shares(), shares);
        let mut written = Vec::new();
        queues[0].begin(1, &mut written);
        assert_eq!(queues[1].shares(), (place + of_shared / 3, 0));
        let shares = (place + of_own, place + of_shared * 2 / 3);
        assert_eq!(queues[0].shares(), shares);
    }

    #[test]
    fn clearing_spares_what_is_being_written_only_if_asked_to() {
        let mut queue = Queue::default();
        let limits = limits(10, 1000, Overflow::Disconnect);
        fill(&mut queue, &limits);
        queue.begin(1, &mut Vec::new());
        assert_eq!(queue.clear_waiting(), 2);
        assert_eq!((queue.len(), queue.bytes()), (1, 50));
        queue.push(&message(60), &limits, || true);
        assert_eq!(queue.clear(), (1, 2));
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }
}
