//! Streams at their receiver, and frames that are passed on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::timers::Timer;
use super::{Router, StreamKey};
use crate::link::wire::{self, Ack, Body, Frame, Payload, Routed};
use crate::link::{LinkId, NodeId};

/// Messages that the sender of a new stream may send before it is told more.
pub(super) const FIRST_WINDOW: u64 = 64;
/// The window when the receiver's inbox is crowded.
const SMALL_WINDOW: u64 = 4;
/// Streams that one node may have to this one, and all together. Those that nothing is heard of for
/// `Limits::forget_after` make room: their senders have given them up before.
const MAX_STREAMS: usize = 4096;
const MAX_ALL_STREAMS: usize = 262_144;

pub(super) struct Inbound {
    epoch: u32,
    received: u64,
    consumed: u64,
    /// Messages up to this number may be sent.
    granted: u64,
    /// A gap behind this number has been reported.
    gap: Option<u64>,
    /// When its sender was last heard of it.
    heard: Instant,
}

impl Router {
    /// A message for this node has come.
    pub(super) fn data(&mut self, routed: &Routed<'_>, seq: u64, payload: &Payload<'_>) {
        let key: StreamKey = (routed.from, routed.alias.into());
        let Some(stream) = self.stream(&key, routed.epoch, seq) else {
            return;
        };
        if seq <= stream.received {
            // A copy; its sender does not know that it has arrived.
            return self.soon(key);
        }
        let gap = seq > stream.received + 1;
        if gap || seq > stream.granted {
            let is_new = gap && stream.gap != Some(stream.received);
            stream.gap = gap.then_some(stream.received);
            self.stats.frames_dropped += 1;
            if is_new {
                self.send_receipt(&key, true);
            }
            return;
        }
        // Counted first: what is rejected on the spot is received and consumed.
        stream.received = seq;
        if self.take(&key, routed.epoch, payload) {
            self.soon(key);
        } else if let Some(stream) = self.inbound.get_mut(&key) {
            // No room; the sender asks later.
            stream.received = seq - 1;
            self.stats.frames_dropped += 1;
        }
    }

    /// The stream of a message. `None`: it is from a time that is over, or its beginning is
    /// missing.
    fn stream(&mut self, key: &StreamKey, epoch: u32, seq: u64) -> Option<&mut Inbound> {
        let known = self.inbound.get(key).map(|stream| stream.epoch);
        if known.is_some_and(|known| epoch < known) {
            return None;
        }
        if known != Some(epoch) {
            if seq != 1 {
                self.send_lost(key, epoch);
                return None;
            }
            if known.is_none() && !self.has_room_for_stream(key.0) {
                self.stats.frames_dropped += 1;
                return None;
            }
            let (received, consumed, granted) = (0, 0, FIRST_WINDOW);
            let stream = Inbound {
                epoch,
                received,
                consumed,
                granted,
                gap: None,
                heard: self.now,
            };
            self.inbound.insert(key.clone(), stream);
        }
        let stream = self.inbound.get_mut(key)?;
        stream.heard = self.now;
        Some(stream)
    }

    fn has_room_for_stream(&mut self, node: NodeId) -> bool {
        if self.inbound.len() < MAX_STREAMS {
            return true;
        }
        let (now, long) = (self.now, self.limits.forget_after);
        let is_alive = |stream: &Inbound| {
            let quiet = now.saturating_duration_since(stream.heard);
            quiet < long || stream.consumed < stream.received
        };
        self.inbound.retain(|_, stream| is_alive(stream));
        let of_node = self.inbound.keys().filter(|(from, _)| *from == node);
        self.inbound.len() < MAX_ALL_STREAMS && of_node.count() < MAX_STREAMS
    }

    /// Puts the message where it belongs. `false`: there is no room.
    fn take(&mut self, key: &StreamKey, epoch: u32, payload: &Payload<'_>) -> bool {
        match *payload {
            Payload::Post { .. } | Payload::Call { .. } if !key.1.is_empty() => {
                return match self.delivery(key.0, epoch, payload) {
                    Some(delivery) => self.deliver(&key.1, delivery),
                    None => {
                        self.consumed(key, epoch);
                        true
                    }
                };
            }
            Payload::Answer { id, value } => self.answered(key.0, id, value),
            Payload::Fault { id, fault } => self.failed(key.0, id, fault),
            Payload::Reject(rejected) => self.rejected(key.0, rejected),
            // Also messages to no alias: of them nothing is known that could be answered.
            _ => {}
        }
        self.consumed(key, epoch);
        true
    }

    /// A message of a stream was handled.
    pub(super) fn consumed(&mut self, key: &StreamKey, epoch: u32) {
        let window = self.window(&key.1);
        let Some(stream) = self
            .inbound
            .get_mut(key)
            .filter(|stream| stream.epoch == epoch)
        else {
            return;
        };
        stream.consumed += 1;
        if stream.consumed + window >= stream.granted + window.div_ceil(2) {
            self.send_receipt(key, false);
        } else {
            self.soon(key.clone());
        }
    }

    fn window(&self, alias: &str) -> u64 {
        if self.is_crowded(alias) {
            SMALL_WINDOW
        } else {
            self.limits.window
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
        let Some(stream) = self.inbound.get_mut(key) else {
            return;
        };
        stream.granted = stream.granted.max(stream.consumed + window);
        let (received, consumed, limit) = (stream.received, stream.consumed, stream.granted);
        let (epoch, lost) = (stream.epoch, false);
        self.send_ack(
            key,
            epoch,
            Ack {
                received,
                consumed,
                limit,
                resend,
                lost,
            },
        );
    }

    /// Senders are told now what they would be told soon: later there is nobody to do it.
    pub(super) fn send_due_receipts(&mut self) {
        let due: Vec<StreamKey> = self.timers.receipts().cloned().collect();
        for key in due {
            self.send_receipt(&key, false);
        }
    }

    fn send_lost(&mut self, key: &StreamKey, epoch: u32) {
        let (received, consumed, limit) = (0, 0, FIRST_WINDOW);
        let (resend, lost) = (true, true);
        self.send_ack(
            key,
            epoch,
            Ack {
                received,
                consumed,
                limit,
                resend,
                lost,
            },
        );
    }

    fn send_ack(&mut self, key: &StreamKey, epoch: u32, ack: Ack) {
        if let Some(link) = self.link_to(key.0) {
            let routed = Routed {
                hops: self.limits.max_hops,
                to: key.0,
                from: self.me,
                epoch,
                alias: &key.1,
                body: Body::Ack(ack),
            };
            self.send(link, &Frame::Routed(routed));
        }
    }

    /// The sender of a stream asks what has arrived.
    pub(super) fn probed(&mut self, routed: &Routed<'_>) {
        let key: StreamKey = (routed.from, routed.alias.into());
        let now = self.now;
        match self.inbound.get_mut(&key) {
            Some(stream) if stream.epoch == routed.epoch => {
                stream.heard = now;
                stream.gap = None;
                self.send_receipt(&key, true);
            }
            Some(stream) if stream.epoch > routed.epoch => {}
            _ => self.send_lost(&key, routed.epoch),
        }
    }

    /// Whether a frame of that origin may come by that link: a neighbour speaks for itself.
    pub(super) fn may_come_from(&self, origin: NodeId, link: LinkId) -> bool {
        let is_neighbour = self.peers.contains_key(&origin);
        let known = self.nodes.contains_key(&origin);
        origin != self.me && known && (!is_neighbour || self.peer_of(link) == Some(origin))
    }

    /// Passes on a frame that is for another node.
    pub(super) fn forward(&mut self, from: LinkId, routed: &Routed<'_>, bytes: &[u8]) {
        let way = self.link_to(routed.to);
        let back = way.and_then(|link| self.peer_of(link)) == self.peer_of(from);
        let Some(link) = way.filter(|_| routed.hops > 1 && !back) else {
            self.stats.frames_dropped += 1;
            return;
        };
        if !self.may_come_from(routed.from, from) {
            self.stats.frames_dropped += 1;
            return;
        }
        let half = self.limits.link_buffer / 2;
        let Some(entry) = self
            .links
            .get_mut(&link)
            .filter(|entry| entry.out.len() < half)
        else {
            self.stats.frames_dropped += 1;
            return;
        };
        if bytes.len() > entry.peer.max_frame {
            if let Body::Data { seq, payload } = routed.body {
                let body = Body::Data {
                    seq,
                    payload: Payload::Void,
                };
                let void = Routed {
                    hops: routed.hops - 1,
                    body,
                    ..*routed
                };
                wire::encode(&Frame::Routed(void), &mut entry.out);
                self.answer_oversize(routed.from, routed.alias, &payload);
            }
        } else {
            wire::forward(bytes, routed.hops - 1, &mut entry.out);
        }
        self.stats.frames_forwarded += 1;
        self.written(link);
    }

    /// A message of a stream as its handler gets it; `None` if it is no text.
    pub(super) fn delivery(
        &self,
        from: NodeId,
        epoch: u32,
        payload: &Payload<'_>,
    ) -> Option<super::Delivery> {
        let (sender, event, args, call, timeout) = match *payload {
            Payload::Post {
                sender,
                event,
                args,
            } => (sender, event, args, None, None),
            Payload::Call {
                id,
                timeout,
                sender,
                event,
                args,
            } => (sender, event, args, Some(id), Some(timeout)),
            _ => return None,
        };
        let timeout = timeout.map(|ms| Duration::from_millis(u64::from(ms)));
        Some(super::Delivery {
            from,
            from_name: self.name_of(from),
            sender: sender.into(),
            event: event.into(),
            args: std::str::from_utf8(args).ok()?.into(),
            call,
            expires: timeout.and_then(|timeout| self.now.checked_add(timeout)),
            epoch,
        })
    }
}

/// The name of the stream of answers to a node.
pub(super) fn unnamed() -> Arc<str> {
    "".into()
}
