//! The streams of a node: what is sent, sent again, taken, confirmed and given up. What a stream
//! keeps and counts itself is in `stream`.

use std::time::Duration;

use super::stream::{Arrival, Item, Receipt, ReceiveStream, SendStream, StreamKey, UNKNOWN};
use super::timers::Timer;
use super::{Delivery, Router};
use crate::clock::later;
use crate::link::wire::{self, Ack, Body, Frame, Payload, PayloadKind, Routed};
use crate::link::{CallError, Fault, NodeId};

/// The window when the receiver's inbox is crowded.
const SMALL_WINDOW: u64 = 4;
/// Streams that one node may have to this one, and all together. Those that nothing is heard of for
/// `Limits::forget_after` make room: their senders have given them up before.
const MAX_STREAMS: usize = 4096;
const MAX_ALL_STREAMS: usize = 262_144;
/// More than the header of a message takes with names of the greatest length.
const HEADER: usize = 512;

/// At the sender.
impl Router {
    /// Whether a stream takes another message of this length.
    pub(super) fn has_room(&self, key: &StreamKey, length: usize) -> bool {
        let stream = self.outbound.get(key);
        stream.is_none_or(|stream| stream.has_room(length, &self.limits))
    }

    /// Adds a message to a stream and sends what may be sent.
    pub(super) fn enqueue(&mut self, key: &StreamKey, item: Item) {
        let is_new = !self.outbound.contains_key(key);
        if is_new {
            // Higher than that of an earlier stream of the name, which the receiver may remember.
            self.epochs = self.epochs.wrapping_add(1);
            let stream = SendStream::new(self.epochs);
            self.outbound.insert(key.clone(), stream);
        }
        let Some(stream) = self.outbound.get_mut(key) else {
            return;
        };
        stream.push(item);
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
        let (epoch, mut oversize, mut is_written) = (stream.epoch, Vec::new(), false);
        while stream.may_send() {
            if !entry.has_room() {
                if !std::mem::replace(&mut stream.waiting, true) {
                    entry.waiting.push_back(key.clone());
                }
                break;
            }
            oversize.extend(stream.withdraw_longer(entry.peer.max_frame.saturating_sub(HEADER)));
            let Some((seq, payload)) = stream.next() else {
                break;
            };
            let routed = Routed {
                hops: self.limits.max_hops,
                to: key.0,
                from: self.me,
                epoch,
                alias: &key.1,
                body: Body::Data { seq, payload },
            };
            wire::encode(&Frame::Routed(routed), &mut entry.out);
            is_written = true;
        }
        if is_written {
            self.written(link);
        }
        for payload in oversize {
            self.answer_oversize(self.me, &key.1, &payload);
        }
    }

    /// Sends what is no message of a stream, but about it.
    fn send_control(&mut self, key: &StreamKey, epoch: u32, body: Body<'_>) {
        if let Some(link) = self.link_to(key.0) {
            let routed = Routed {
                hops: self.limits.max_hops,
                to: key.0,
                from: self.me,
                epoch,
                alias: &key.1,
                body,
            };
            self.send(link, &Frame::Routed(routed));
        }
    }

    /// The receiver of a stream of this node tells how far it has got.
    pub(super) fn receipt(&mut self, routed: &Routed<'_>, ack: Ack) {
        let key: StreamKey = (routed.from, routed.alias.into());
        let Some(stream) = self.outbound.get_mut(&key) else {
            return;
        };
        match stream.receipt(routed.epoch, ack) {
            Receipt::Ignored => {}
            Receipt::Broken => self.give_up(&key),
            Receipt::Taken { progress } => {
                self.effects.changed |= progress;
                self.watch(&key, progress);
                self.transmit(&key);
            }
        }
    }

    /// Sets the time by which there should be progress. `anew`: there has been some.
    fn watch(&mut self, key: &StreamKey, anew: bool) {
        let reachable = self.is_reachable(key.0);
        let Some(stream) = self.outbound.get_mut(key) else {
            return;
        };
        let idle = stream.outstanding() == 0;
        let anew = std::mem::replace(&mut stream.idle, idle) || anew || idle;
        let wait = if idle {
            // Sooner than its receiver forgets it.
            self.limits.forget_after / 2
        } else if reachable {
            self.limits.probe_after * (1 << stream.probes.min(3))
        } else {
            self.limits.outbox_time
        };
        let (timer, at) = (Timer::Stream(key.clone()), later(self.now, wait));
        match anew {
            true => self.timers.set(timer, at),
            false => self.timers.start(timer, at),
        }
    }

    pub(super) fn stream_is_late(&mut self, key: &StreamKey) {
        let Some(stream) = self.outbound.get_mut(key) else {
            return;
        };
        if stream.idle {
            // Aliases come and go; the next message begins another stream.
            self.outbound.remove(key);
            return;
        }
        stream.probes += 1;
        if !self.is_reachable(key.0) {
            return self.give_up(key);
        }
        self.probe(key);
        self.watch(key, false);
    }

    /// Asks the receiver what has arrived.
    fn probe(&mut self, key: &StreamKey) {
        if let Some(epoch) = self.outbound.get(key).map(|stream| stream.epoch) {
            self.send_control(key, epoch, Body::Probe);
        }
    }

    fn streams_to(&self, node: NodeId) -> Vec<StreamKey> {
        let streams = self.outbound.iter();
        let open = streams.filter(|(key, stream)| key.0 == node && stream.outstanding() > 0);
        open.map(|(key, _)| key.clone()).collect()
    }

    /// The way to a node has changed: what was under way may be lost.
    pub(super) fn probe_streams_to(&mut self, node: NodeId) {
        for key in self.streams_to(node) {
            self.watch(&key, true);
            self.probe(&key);
            self.transmit(&key);
        }
    }

    /// The link to a neighbour is another one now.
    pub(super) fn probe_via(&mut self, neighbour: NodeId) {
        let beyond = self.next_hops.iter().filter(|(_, way)| **way == neighbour);
        let nodes: Vec<NodeId> = beyond.map(|(node, _)| *node).collect();
        for node in nodes {
            self.probe_streams_to(node);
        }
    }

    /// A node cannot be reached: from now on its messages have a time limit.
    pub(super) fn suspend_streams_to(&mut self, node: NodeId) {
        for key in self.streams_to(node) {
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
        self.undelivered(&key.1, Some(key.0), lost, uncertain);
    }

    /// Takes back a call that has not arrived.
    pub(super) fn withdraw(&mut self, key: &StreamKey, call: u64) {
        let stream = self.outbound.get_mut(key);
        self.effects.changed |= stream.is_some_and(|stream| stream.withdraw(call));
    }

    pub(super) fn unconfirmed_by_streams(&self) -> u64 {
        let each = self.outbound.values().map(SendStream::unconfirmed);
        each.map(|(lost, uncertain)| lost + uncertain).sum()
    }

    pub(super) fn are_streams_drained(&self) -> bool {
        self.outbound
            .values()
            .all(|stream| stream.outstanding() == 0)
    }
}

/// At the receiver.
impl Router {
    /// A message for this node has come.
    pub(super) fn data(&mut self, routed: &Routed<'_>, seq: u64, payload: &[u8]) {
        let key: StreamKey = (routed.from, routed.alias.into());
        let Some(stream) = self.stream(&key, routed.epoch, seq) else {
            return;
        };
        match stream.arrived(seq) {
            Arrival::Copy => self.soon(key),
            Arrival::Dropped { ask } => {
                self.stats.frames_dropped += 1;
                if ask {
                    self.send_receipt(&key, true);
                }
            }
            // What is rejected on the spot is received and consumed.
            Arrival::Next if self.take(&key, routed.epoch, payload) => self.soon(key),
            Arrival::Next => {
                self.stats.frames_dropped += 1;
                if let Some(stream) = self.inbound.get_mut(&key) {
                    stream.undo();
                }
            }
        }
    }

    /// The stream of a message. `None`: it is from a time that is over, or its beginning is
    /// missing.
    fn stream(&mut self, key: &StreamKey, epoch: u32, seq: u64) -> Option<&mut ReceiveStream> {
        let known = self.inbound.get(key).map(|stream| stream.epoch);
        if known.is_some_and(|known| epoch < known) {
            return None;
        }
        if known != Some(epoch) {
            if seq != 1 {
                self.send_control(key, epoch, Body::Ack(UNKNOWN));
                return None;
            }
            if known.is_none() && !self.has_room_for_stream(key.0) {
                self.stats.frames_dropped += 1;
                return None;
            }
            let stream = ReceiveStream::new(epoch, self.now);
            self.inbound.insert(key.clone(), stream);
        }
        let stream = self.inbound.get_mut(key)?;
        stream.active_at = self.now;
        Some(stream)
    }

    fn has_room_for_stream(&mut self, node: NodeId) -> bool {
        if self.inbound.len() < MAX_STREAMS {
            return true;
        }
        let (now, long) = (self.now, self.limits.forget_after);
        let is_alive = |stream: &ReceiveStream| {
            now.saturating_duration_since(stream.active_at) < long || stream.is_busy()
        };
        self.inbound.retain(|_, stream| is_alive(stream));
        let of_node = self.inbound.keys().filter(|(from, _)| *from == node);
        self.inbound.len() < MAX_ALL_STREAMS && of_node.count() < MAX_STREAMS
    }

    /// Puts the message where it belongs. `false`: there is no room.
    fn take(&mut self, key: &StreamKey, epoch: u32, payload: &[u8]) -> bool {
        // Only the receiver looks into a payload: the link it came by is not to blame.
        let payload = Payload::decode(payload).unwrap_or_else(|_| {
            self.stats.frames_dropped += 1;
            Payload::default()
        });
        match payload.kind {
            PayloadKind::Post | PayloadKind::Call if !key.1.is_empty() => {
                let delivery = self.delivery(key.0, epoch, &payload);
                return self.deliver(&key.1, delivery);
            }
            PayloadKind::Answer => self.answered(key.0, payload.call, Ok(payload.content.into())),
            PayloadKind::Fault => {
                let fault = serde_json::from_str(payload.content)
                    .unwrap_or_else(|error| Fault::failed(format!("an unreadable fault: {error}")));
                self.answered(key.0, payload.call, Err(CallError::Fault(fault)));
            }
            PayloadKind::Reject => self.rejected(key.0, &payload),
            // Also messages to no alias: of them nothing is known that could be answered.
            _ => {}
        }
        self.consumed(key, epoch);
        true
    }

    /// A message as its handler gets it.
    pub(super) fn delivery(&self, from: NodeId, epoch: u32, payload: &Payload<'_>) -> Delivery {
        let call = (payload.kind == PayloadKind::Call).then_some(payload.call);
        let timeout = call.map(|_| Duration::from_millis(payload.timeout.into()));
        Delivery {
            from,
            from_name: self.name_of(from),
            sender: payload.alias.into(),
            event: payload.event.into(),
            args: payload.content.into(),
            call,
            expires: timeout.and_then(|timeout| self.now.checked_add(timeout)),
            epoch,
        }
    }

    /// A message of a stream was handled.
    pub(super) fn consumed(&mut self, key: &StreamKey, epoch: u32) {
        let window = self.window(&key.1);
        let stream = self.inbound.get_mut(key);
        let Some(stream) = stream.filter(|stream| stream.epoch == epoch) else {
            return;
        };
        if stream.consume(window) {
            self.send_receipt(key, false);
        } else {
            self.soon(key.clone());
        }
    }

    fn window(&self, alias: &str) -> u64 {
        match self.is_crowded(alias) {
            true => SMALL_WINDOW,
            false => self.limits.window,
        }
    }

    /// A receipt is due, which others may join.
    fn soon(&mut self, key: StreamKey) {
        let at = self.now + self.limits.receipt_delay;
        self.timers.start(Timer::Receipt(key), at);
    }

    /// Tells the sender of a stream what has arrived.
    pub(super) fn send_receipt(&mut self, key: &StreamKey, resend: bool) {
        let window = self.window(&key.1);
        self.timers.cancel(Timer::Receipt(key.clone()));
        if let Some(stream) = self.inbound.get_mut(key) {
            let (epoch, ack) = (stream.epoch, stream.receipt(window, resend));
            self.send_control(key, epoch, Body::Ack(ack));
        }
    }

    /// Senders are told now what they would be told soon: later there is nobody to do it.
    pub(super) fn send_due_receipts(&mut self) {
        let due: Vec<StreamKey> = self.timers.receipts().cloned().collect();
        for key in due {
            self.send_receipt(&key, false);
        }
    }

    /// The sender of a stream asks what has arrived.
    pub(super) fn probed(&mut self, routed: &Routed<'_>) {
        let key: StreamKey = (routed.from, routed.alias.into());
        match self.inbound.get_mut(&key) {
            Some(stream) if stream.epoch == routed.epoch => {
                stream.asked(self.now);
                self.send_receipt(&key, true);
            }
            Some(stream) if stream.epoch > routed.epoch => {}
            _ => self.send_control(&key, routed.epoch, Body::Ack(UNKNOWN)),
        }
    }
}
