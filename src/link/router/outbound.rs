//! Streams at their sender: numbering, keeping what has not arrived, sending it again.

use std::collections::VecDeque;
use std::sync::Arc;

use super::inbound::FIRST_WINDOW;
use super::timers::Timer;
use super::{Router, StreamKey};
use crate::clock::later;
use crate::link::wire::{self, Ack, Body, Frame, Payload, Routed};
use crate::link::{Event, NodeId};

pub(super) struct Outbound {
    epoch: u32,
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
    probes: u32,
    /// A link has it on its list.
    pub(super) waiting: bool,
    /// Everything was handled, and its timer is for its end.
    idle: bool,
}

struct Item {
    payload: Box<[u8]>,
    call: Option<u64>,
    is_post: bool,
}

impl Outbound {
    fn new(epoch: u32) -> Self {
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
    fn outstanding(&self) -> u64 {
        self.last() - self.consumed
    }

    fn item(&self, number: u64) -> Option<&Item> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.queue.get(index)
    }

    /// Posts that certainly have not arrived, and those of which that is not known.
    fn unconfirmed(&self) -> (u64, u64) {
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

impl Router {
    /// Whether a stream takes another message of this length.
    pub(super) fn has_room(&self, key: &StreamKey, length: usize) -> bool {
        let Some(stream) = self.outbound.get(key) else {
            return true;
        };
        let messages = stream.outstanding() < self.limits.outbox_messages as u64;
        let bytes = stream.bytes + length <= self.limits.outbox_bytes;
        messages && (bytes || stream.queue.is_empty())
    }

    /// Adds a message to a stream and sends what may be sent.
    pub(super) fn enqueue(
        &mut self,
        key: &StreamKey,
        payload: Box<[u8]>,
        call: Option<u64>,
        is_post: bool,
    ) {
        let is_new = !self.outbound.contains_key(key);
        if is_new {
            // Higher than that of an earlier stream of the name, which the receiver may remember.
            self.epochs = self.epochs.wrapping_add(1);
            self.outbound
                .insert(key.clone(), Outbound::new(self.epochs));
        }
        let Some(stream) = self.outbound.get_mut(key) else {
            return;
        };
        stream.bytes += payload.len();
        stream.queue.push_back(Item {
            payload,
            call,
            is_post,
        });
        // Its time runs already unless nothing was under way.
        if is_new || stream.idle {
            self.watch(key, false);
        }
        self.transmit(key);
    }

    /// Gives the stream's link what the receiver allows and the link has room for.
    pub(super) fn transmit(&mut self, key: &StreamKey) {
        let Some(link) = self.link_to(key.0) else {
            return;
        };
        let (Some(stream), Some(entry)) = (self.outbound.get_mut(key), self.links.get_mut(&link))
        else {
            return;
        };
        let max_frame = entry.peer.max_frame;
        let mut oversize = Vec::new();
        let before = stream.sent;
        while stream.sent < stream.limit.min(stream.last()) {
            if !entry.has_room() {
                if !std::mem::replace(&mut stream.waiting, true) {
                    entry.waiting.push_back(key.clone());
                }
                break;
            }
            stream.sent += 1;
            stream.highest = stream.highest.max(stream.sent);
            let seq = stream.sent;
            let Some(item) = stream.item(seq) else {
                break;
            };
            let mut payload = Payload::decode(&item.payload).unwrap_or(Payload::Void);
            if item.payload.len() + HEADER > max_frame {
                oversize.push(item.payload.clone());
                payload = Payload::Void;
            }
            let routed = Routed {
                hops: self.limits.max_hops,
                to: key.0,
                from: self.me,
                epoch: stream.epoch,
                alias: &key.1,
                body: Body::Data { seq, payload },
            };
            wire::encode(&Frame::Routed(routed), &mut entry.out);
        }
        if stream.sent > before {
            self.written(link);
        }
        for payload in oversize {
            self.reject_oversize(key, &payload);
        }
    }

    /// Tells how a message fared that is too long for a node on the way.
    fn reject_oversize(&mut self, key: &StreamKey, payload: &[u8]) {
        if let Ok(payload) = Payload::decode(payload) {
            self.answer_oversize(self.me, &key.1, &payload);
        }
    }

    /// The receiver of a stream of this node tells how far it has got.
    pub(super) fn receipt(&mut self, routed: &Routed<'_>, ack: Ack) {
        let key: StreamKey = (routed.from, routed.alias.into());
        let Some(stream) = self.outbound.get_mut(&key) else {
            return;
        };
        if stream.epoch != routed.epoch || ack.received > stream.highest {
            return;
        }
        if ack.lost && stream.first > 1 {
            // It has forgotten what it had; what is left cannot be told from what it had.
            return self.give_up(&key);
        }
        let mut progress = false;
        while stream.first <= ack.received {
            let Some(item) = stream.queue.pop_front() else {
                break;
            };
            stream.bytes -= item.payload.len();
            stream.handed.push_back(item.is_post);
            stream.first += 1;
            progress = true;
        }
        let consumed = ack.consumed.min(stream.first - 1);
        while stream.consumed < consumed {
            stream.consumed += 1;
            stream.handed.pop_front();
            progress = true;
        }
        stream.limit = stream.limit.max(ack.limit);
        // Also upwards: what was sent by another way may have arrived.
        if ack.resend || stream.sent < stream.first {
            stream.sent = stream.first - 1;
        }
        if progress {
            stream.probes = 0;
        }
        self.effects.changed |= progress;
        self.watch(&key, progress);
        self.transmit(&key);
    }

    /// Sets the time by which there should be progress. `anew`: there has been some.
    fn watch(&mut self, key: &StreamKey, anew: bool) {
        let reachable = self.is_reachable(key.0);
        let Some(stream) = self.outbound.get_mut(key) else {
            return;
        };
        let timer = Timer::Stream(key.clone());
        let idle = stream.outstanding() == 0;
        let anew = std::mem::replace(&mut stream.idle, idle) || anew;
        if idle {
            // Sooner than its receiver forgets it.
            self.timers
                .set(timer, self.now + self.limits.forget_after / 2);
        } else if reachable {
            let wait = self.limits.probe_after * (1 << stream.probes.min(3));
            let at = later(self.now, wait);
            if anew {
                self.timers.set(timer, at);
            } else {
                self.timers.start(timer, at);
            }
        } else if anew {
            self.timers.set(timer, self.now + self.limits.outbox_time);
        } else {
            self.timers.start(timer, self.now + self.limits.outbox_time);
        }
    }

    pub(super) fn stream_is_late(&mut self, key: &StreamKey) {
        if self.outbound.get(key).is_some_and(|stream| stream.idle) {
            // Aliases come and go; the next message begins another stream.
            self.outbound.remove(key);
            return;
        }
        if !self.is_reachable(key.0) {
            return self.give_up(key);
        }
        if let Some(stream) = self.outbound.get_mut(key) {
            stream.probes += 1;
        }
        self.probe(key);
        self.watch(key, false);
    }

    /// Asks the receiver what has arrived.
    fn probe(&mut self, key: &StreamKey) {
        let (Some(stream), Some(link)) = (self.outbound.get(key), self.link_to(key.0)) else {
            return;
        };
        let routed = Routed {
            hops: self.limits.max_hops,
            to: key.0,
            from: self.me,
            epoch: stream.epoch,
            alias: &key.1,
            body: Body::Probe,
        };
        self.send(link, &Frame::Routed(routed));
    }

    fn streams_to(&self, node: NodeId) -> Vec<StreamKey> {
        let open = self
            .outbound
            .iter()
            .filter(|(key, stream)| key.0 == node && stream.outstanding() > 0);
        open.map(|(key, _)| key.clone()).collect()
    }

    /// The way to a node has changed: what was under way may be lost.
    pub(super) fn probe_streams_to(&mut self, node: NodeId) {
        for key in self.streams_to(node) {
            self.timers.cancel(Timer::Stream(key.clone()));
            self.watch(&key, true);
            self.probe(&key);
            self.transmit(&key);
        }
    }

    /// The link to a neighbour is another one now.
    pub(super) fn probe_via(&mut self, neighbour: NodeId) {
        let beyond = self.ways.iter().filter(|(_, way)| **way == neighbour);
        let nodes: Vec<NodeId> = beyond.map(|(node, _)| *node).collect();
        for node in nodes {
            self.probe_streams_to(node);
        }
    }

    /// A node cannot be reached: from now on its messages have a time limit.
    pub(super) fn suspend_streams_to(&mut self, node: NodeId) {
        for key in self.streams_to(node) {
            self.timers.cancel(Timer::Stream(key.clone()));
            self.watch(&key, true);
        }
    }

    /// Ends a stream and tells what may be lost with it. The next message begins another.
    pub(super) fn give_up(&mut self, key: &StreamKey) {
        let Some(stream) = self.outbound.remove(key) else {
            return;
        };
        self.timers.cancel(Timer::Stream(key.clone()));
        self.effects.changed = true;
        let (lost, uncertain) = stream.unconfirmed();
        if lost + uncertain > 0 {
            self.stats.undelivered += lost + uncertain;
            let (alias, node) = (Arc::clone(&key.1), Some(key.0));
            self.tell(|| Event::Undelivered {
                alias,
                node,
                lost,
                uncertain,
            });
        }
    }

    /// Takes back a call that has not arrived.
    pub(super) fn withdraw(&mut self, key: &StreamKey, call: u64) {
        let Some(stream) = self.outbound.get_mut(key) else {
            return;
        };
        let Some(item) = stream.queue.iter_mut().find(|item| item.call == Some(call)) else {
            return;
        };
        let void = Payload::Void.to_bytes();
        stream.bytes = stream.bytes - item.payload.len() + void.len();
        item.payload = void;
        item.call = None;
        self.effects.changed = true;
    }

    /// Posts that have not been confirmed, to any node.
    pub(crate) fn unconfirmed(&self) -> u64 {
        let each = self.outbound.values().map(Outbound::unconfirmed);
        let sent = each.map(|(lost, uncertain)| lost + uncertain).sum::<u64>();
        sent + self.parked.posts() + self.own.posts
    }

    /// Whether everything that was accepted has been handled by its receivers.
    pub(crate) fn is_drained(&self) -> bool {
        let own = self.own.posts + self.own.calls;
        let mut streams = self.outbound.values();
        own == 0 && streams.all(|stream| stream.outstanding() == 0)
    }
}

/// More than the header of a message takes with names of the greatest length.
const HEADER: usize = 512;
