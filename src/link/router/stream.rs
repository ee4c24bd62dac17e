//! A stream: messages from one node to one alias of another, at its sender and at its receiver.
//!
//! In scope: numbering, what is kept until it has arrived, who may send how much. Out of scope:
//! links, times, and what the messages say.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::link::wire::{Ack, VOID};
use crate::link::{Limits, NodeId};

/// What names a stream: the node at the other end, and the receiver's alias (empty for answers).
pub(super) type StreamKey = (NodeId, Arc<str>);

/// The alias of the stream of answers to a node.
pub(super) fn unnamed() -> Arc<str> {
    "".into()
}

/// Messages that the sender of a new stream may send before it is told more.
const FIRST_WINDOW: u64 = 64;

/// A stream at its sender.
pub(super) struct SendStream {
    pub(super) epoch: u32,
    /// The number of the first message in `queue`; all before it have arrived.
    first: u64,
    queue: VecDeque<Item>,
    /// Everything up to this number was given to the link that is used now.
    sent: u64,
    /// The highest number that was ever given to a link.
    highest: u64,
    /// Everything up to this number was handled.
    consumed: u64,
    /// Arrived and not handled: which of them are posts.
    handed: VecDeque<bool>,
    /// Messages up to this number may be sent.
    limit: u64,
    bytes: usize,
    /// Probes in a row that brought nothing.
    pub(super) probes: u32,
    /// A link has it on its list.
    pub(super) waiting: bool,
    /// Everything was handled, and its timer is for its end.
    pub(super) idle: bool,
}

/// A message that has not arrived, as far as is known.
pub(super) struct Item {
    pub(super) payload: Box<[u8]>,
    pub(super) call: Option<u64>,
    pub(super) is_post: bool,
}

/// What a receipt has brought.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Receipt {
    /// It is not of this stream, or cannot be.
    Ignored,
    /// The receiver has forgotten what it had; what is left cannot be told from that.
    Broken,
    Taken {
        progress: bool,
    },
}

impl SendStream {
    pub(super) fn new(epoch: u32) -> Self {
        Self {
            epoch,
            first: 1,
            queue: VecDeque::new(),
            sent: 0,
            highest: 0,
            consumed: 0,
            handed: VecDeque::new(),
            limit: FIRST_WINDOW,
            bytes: 0,
            probes: 0,
            waiting: false,
            idle: false,
        }
    }

    fn last(&self) -> u64 {
        self.first - 1 + self.queue.len() as u64
    }

    /// Messages that were not handled yet.
    pub(super) fn outstanding(&self) -> u64 {
        self.last() - self.consumed
    }

    /// Whether it takes another message of this length.
    pub(super) fn has_room(&self, length: usize, limits: &Limits) -> bool {
        let messages = self.outstanding() < limits.outbox_messages as u64;
        let bytes = self.bytes + length <= limits.outbox_bytes;
        messages && (bytes || self.queue.is_empty())
    }

    pub(super) fn push(&mut self, item: Item) {
        self.bytes += item.payload.len();
        self.queue.push_back(item);
    }

    /// Whether there is a message that the receiver allows and the link was not given.
    pub(super) fn may_send(&self) -> bool {
        self.sent < self.limit.min(self.last())
    }

    /// Where the next message for the link is.
    fn next_index(&self) -> Option<usize> {
        usize::try_from((self.sent + 1).checked_sub(self.first)?).ok()
    }

    /// The next message for the link, and its number.
    pub(super) fn next(&mut self) -> Option<(u64, &[u8])> {
        let item = self.queue.get(self.next_index()?)?;
        self.sent += 1;
        self.highest = self.highest.max(self.sent);
        Some((self.sent, &item.payload))
    }

    /// The receiver tells how far it has got.
    pub(super) fn receipt(&mut self, epoch: u32, ack: Ack) -> Receipt {
        if self.epoch != epoch || ack.received > self.highest {
            return Receipt::Ignored;
        }
        if ack.lost && self.first > 1 {
            return Receipt::Broken;
        }
        let before = (self.first, self.consumed);
        while self.first <= ack.received {
            let Some(item) = self.queue.pop_front() else {
                break;
            };
            self.bytes -= item.payload.len();
            self.handed.push_back(item.is_post);
            self.first += 1;
        }
        while self.consumed < ack.consumed.min(self.first - 1) {
            self.consumed += 1;
            self.handed.pop_front();
        }
        self.limit = self.limit.max(ack.limit);
        // Also upwards: what was sent by another way may have arrived.
        if ack.resend || self.sent < self.first {
            self.sent = self.first - 1;
        }
        let progress = before != (self.first, self.consumed);
        if progress {
            self.probes = 0;
        }
        Receipt::Taken { progress }
    }

    /// Takes back a call that has not arrived; whether there was one.
    pub(super) fn withdraw(&mut self, call: u64) -> bool {
        let mut items = self.queue.iter();
        let index = items.position(|item| item.call == Some(call));
        index.and_then(|index| self.make_void(index)).is_some()
    }

    /// Takes back the next message for the link, for good, if it is longer than that.
    pub(super) fn withdraw_longer(&mut self, max: usize) -> Option<Box<[u8]>> {
        let index = self.next_index()?;
        let length = self.queue.get(index)?.payload.len();
        (length > max.max(VOID.len())).then(|| self.make_void(index))?
    }

    /// Returns what was in its place.
    fn make_void(&mut self, index: usize) -> Option<Box<[u8]>> {
        let item = self.queue.get_mut(index)?;
        item.call = None;
        let payload = std::mem::replace(&mut item.payload, VOID.into());
        self.bytes = self.bytes - payload.len() + VOID.len();
        Some(payload)
    }

    /// Posts that certainly have not arrived, and those of which that is not known.
    pub(super) fn unconfirmed(&self) -> (u64, u64) {
        let handed = self.handed.iter().filter(|is_post| **is_post);
        let numbered = (self.first..).zip(&self.queue);
        let posts = numbered.filter(|(_, item)| item.is_post);
        let (mut lost, mut uncertain) = (0, handed.count() as u64);
        for (number, _) in posts {
            *match number > self.highest {
                true => &mut lost,
                false => &mut uncertain,
            } += 1;
        }
        (lost, uncertain)
    }
}

/// A stream at its receiver.
pub(super) struct ReceiveStream {
    pub(super) epoch: u32,
    received: u64,
    consumed: u64,
    /// Messages up to this number may be sent.
    granted: u64,
    /// A gap behind this number has been reported.
    gap: Option<u64>,
    /// When its sender has last sent anything of it.
    pub(super) active_at: Instant,
}

/// What to do with a message that has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is the next: counted as received.
    Next,
    /// It was here before; its sender does not know.
    Copy,
    /// It is dropped, as others before it are missing or it was not allowed; `ask`: the sender is
    /// to be told.
    Dropped { ask: bool },
}

impl ReceiveStream {
    pub(super) fn new(epoch: u32, now: Instant) -> Self {
        Self {
            epoch,
            received: 0,
            consumed: 0,
            granted: FIRST_WINDOW,
            gap: None,
            active_at: now,
        }
    }

    /// Whether messages wait for their handler.
    pub(super) fn is_busy(&self) -> bool {
        self.consumed < self.received
    }

    pub(super) fn arrived(&mut self, seq: u64) -> Arrival {
        if seq <= self.received {
            return Arrival::Copy;
        }
        let is_gap = seq > self.received + 1;
        if is_gap || seq > self.granted {
            let ask = is_gap && self.gap != Some(self.received);
            self.gap = is_gap.then_some(self.received);
            return Arrival::Dropped { ask };
        }
        self.received = seq;
        Arrival::Next
    }

    /// There was no room for the message that came last; its sender asks later.
    pub(super) fn undo(&mut self) {
        self.received -= 1;
    }

    /// A message was handled. Whether the sender needs to know at once.
    pub(super) fn consume(&mut self, window: u64) -> bool {
        self.consumed += 1;
        self.consumed + window >= self.granted + window.div_ceil(2)
    }

    /// The sender asks: a gap is reported anew.
    pub(super) fn asked(&mut self, now: Instant) {
        self.active_at = now;
        self.gap = None;
    }

    /// What the sender is told; it may be so much ahead of what was handled.
    pub(super) fn receipt(&mut self, window: u64, resend: bool) -> Ack {
        self.granted = self.granted.max(self.consumed + window);
        Ack {
            received: self.received,
            consumed: self.consumed,
            limit: self.granted,
            resend,
            lost: false,
        }
    }
}

/// What the sender of a stream is told of which nothing is known.
pub(super) const UNKNOWN: Ack = Ack {
    received: 0,
    consumed: 0,
    limit: FIRST_WINDOW,
    resend: true,
    lost: true,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    fn post(text: &[u8]) -> Item {
        Item {
            payload: text.into(),
            call: None,
            is_post: true,
        }
    }

    fn numbers(stream: &mut SendStream) -> Vec<u64> {
        let mut numbers = Vec::new();
        while stream.may_send() {
            numbers.extend(stream.next().map(|(seq, _)| seq));
        }
        numbers
    }

    #[test]
    fn what_has_not_arrived_is_sent_again_and_what_has_is_forgotten() {
        let (mut sender, now) = (SendStream::new(1), ManualClock::new().now());
        let mut receiver = ReceiveStream::new(1, now);
        (0..4).for_each(|_| sender.push(post(b"x")));
        assert_eq!(numbers(&mut sender), [1, 2, 3, 4]);
        // The second is lost on its way: what follows is dropped, and asked for once.
        assert!(receiver.arrived(1) == Arrival::Next);
        assert!(receiver.arrived(3) == Arrival::Dropped { ask: true });
        assert!(receiver.arrived(4) == Arrival::Dropped { ask: false });
        let ack = receiver.receipt(64, true);
        assert!(sender.receipt(1, ack) == Receipt::Taken { progress: true });
        assert_eq!(numbers(&mut sender), [2, 3, 4]);
        for seq in 1..=4 {
            let expected = if seq == 1 {
                Arrival::Copy
            } else {
                Arrival::Next
            };
            assert!(receiver.arrived(seq) == expected);
        }
        assert_eq!((sender.outstanding(), sender.unconfirmed()), (4, (0, 4)));
        for _ in 0..4 {
            assert!(!receiver.consume(64), "much is allowed still");
        }
        let ack = receiver.receipt(64, false);
        assert!(sender.receipt(1, ack) == Receipt::Taken { progress: true });
        assert!(sender.receipt(1, ack) == Receipt::Taken { progress: false });
        assert_eq!((sender.outstanding(), sender.bytes), (0, 0));
    }

    #[test]
    fn no_more_is_sent_than_the_receiver_allows() {
        let mut sender = SendStream::new(1);
        (0..100).for_each(|_| sender.push(post(b"x")));
        assert_eq!(numbers(&mut sender).len() as u64, FIRST_WINDOW);
        assert_eq!(sender.unconfirmed(), (100 - FIRST_WINDOW, FIRST_WINDOW));
        let now = ManualClock::new().now();
        let mut receiver = ReceiveStream::new(1, now);
        for seq in 1..=FIRST_WINDOW {
            assert!(receiver.arrived(seq) == Arrival::Next);
        }
        assert!(receiver.arrived(FIRST_WINDOW + 1) == Arrival::Dropped { ask: false });
        sender.receipt(1, receiver.receipt(4, false));
        assert!(numbers(&mut sender).is_empty());
        let told = (0..FIRST_WINDOW).filter(|_| receiver.consume(4)).count();
        assert!(told > 0, "the sender waits");
        sender.receipt(1, receiver.receipt(4, false));
        assert_eq!(numbers(&mut sender).len(), 4);
    }

    #[test]
    fn a_receipt_of_another_time_changes_nothing() {
        let mut sender = SendStream::new(7);
        sender.push(post(b"x"));
        numbers(&mut sender);
        let ack = |received| Ack {
            received,
            ..UNKNOWN
        };
        assert!(sender.receipt(6, ack(1)) == Receipt::Ignored);
        assert!(sender.receipt(7, ack(2)) == Receipt::Ignored);
        assert!(sender.receipt(7, UNKNOWN) == Receipt::Taken { progress: false });
        assert_eq!(numbers(&mut sender), [1], "nothing of it had arrived");
        sender.receipt(
            7,
            Ack {
                lost: false,
                ..ack(1)
            },
        );
        assert!(sender.receipt(7, UNKNOWN) == Receipt::Broken);
    }
}
