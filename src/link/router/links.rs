//! Links: they come, carry frames, fall silent and go.

use std::collections::VecDeque;
use std::time::Instant;

use super::Router;
use super::stream::StreamKey;
use super::timers::Timer;
use crate::link::error::LinkEnd;
use crate::link::hello::Peer;
use crate::link::wire::{self, Body, Frame, Routed, VOID};
use crate::link::{Event, LinkId, NodeId};

pub(super) struct LinkEntry {
    pub(super) peer: Peer,
    /// Frames for the kernel.
    pub(super) out: Vec<u8>,
    /// The shell was told that there are some.
    woken: bool,
    /// Streams that have more for this link than it may hold.
    pub(super) waiting: VecDeque<StreamKey>,
    active_at: Instant,
    pinged: bool,
    /// It is being closed; nothing more is sent.
    cut: bool,
}

impl LinkEntry {
    /// Bytes of this node's own messages that a link holds; the rest waits in the streams.
    pub(super) const OWN: usize = 256 << 10;

    pub(super) fn has_room(&self) -> bool {
        self.out.len() < Self::OWN
    }
}

impl Router {
    /// A link was made. The newest one to a node is used from now on. An error: it is with somebody
    /// else who calls itself that node, and it is none.
    pub(crate) fn link_up(&mut self, link: LinkId, peer: Peer) -> Result<(), LinkEnd> {
        let id = peer.id;
        let others = self.peers.get(&id).into_iter().flatten();
        let mut others = others.filter_map(|other| self.links.get(other));
        if others.any(|other| other.peer.name != peer.name) {
            return Err(LinkEnd::Denied);
        }
        self.tell(|| Event::LinkUp {
            link,
            peer: peer.clone(),
        });
        let entry = LinkEntry {
            peer,
            out: Vec::new(),
            woken: false,
            waiting: VecDeque::new(),
            active_at: self.now,
            pinged: false,
            cut: false,
        };
        let is_new = !self.peers.contains_key(&id);
        if is_new {
            // Those who are linked already; the new peer gets the whole below.
            self.announce(|news| news.peers.extend([id]));
        }
        self.links.insert(link, entry);
        self.peers.entry(id).or_default().push(link);
        self.timers
            .set(Timer::Ping(link), self.now + self.limits.ping_interval);
        self.send_snapshot(link);
        let risen = self.recompute();
        self.pass_on(risen, link);
        self.probe_via(id);
        self.effects.changed = true;
        Ok(())
    }

    /// A link has ended.
    pub(crate) fn link_down(&mut self, link: LinkId, reason: LinkEnd) {
        let Some(entry) = self.links.remove(&link) else {
            return;
        };
        self.timers.cancel(Timer::Ping(link));
        let id = entry.peer.id;
        let peer = entry.peer;
        self.tell(|| Event::LinkDown { link, peer, reason });
        for key in entry.waiting {
            if let Some(stream) = self.outbound.get_mut(&key) {
                stream.waiting = false;
            }
        }
        let Some(links) = self.peers.get_mut(&id) else {
            return;
        };
        let was_used = links.last() == Some(&link);
        links.retain(|other| *other != link);
        match links.last().copied() {
            Some(next) if was_used => {
                self.send_snapshot(next);
                self.probe_via(id);
            }
            Some(_) => {}
            None => {
                self.peers.remove(&id);
                self.announce(|news| news.lost.extend([id]));
                let risen = self.recompute();
                self.pass_on(risen, link);
                // What was believed from itself only may be out of date.
                self.send_to_all(&Frame::Want(id), |_| true);
            }
        }
        self.effects.changed = true;
    }

    /// A frame has come, without its length. An error is the peer's fault, and the link's end.
    pub(crate) fn frame(&mut self, link: LinkId, bytes: &[u8]) -> Result<(), LinkEnd> {
        let Some(entry) = self.links.get_mut(&link) else {
            return Ok(());
        };
        entry.active_at = self.now;
        entry.pinged = false;
        self.stats.frames_in += 1;
        let frame = wire::decode(bytes).map_err(LinkEnd::protocol)?;
        match frame {
            Frame::Routed(routed) if routed.to == self.me => {
                if !self.may_come_from(routed.from, link) {
                    self.stats.frames_dropped += 1;
                    return Ok(());
                }
                match routed.body {
                    Body::Data { seq, payload } => self.data(&routed, seq, payload),
                    Body::Ack(ack) => self.receipt(&routed, ack),
                    Body::Probe => self.probed(&routed),
                }
            }
            Frame::Routed(routed) => self.forward(link, &routed, bytes),
            Frame::News(news) => return self.news(link, news),
            Frame::Want(node) => self.send_known(link, node),
            Frame::Refuse { alias, owner } => self.refused(&alias, owner),
            Frame::Ping(token) => self.send(link, &Frame::Pong(token)),
            Frame::Pong(_) => {}
            Frame::Bye { reason } => return Err(LinkEnd::bye(&reason)),
            Frame::Hello(_) | Frame::Proof(_) => {
                return Err(LinkEnd::Protocol("a second hello".into()));
            }
        }
        Ok(())
    }

    /// The frames for a link so far. Then the streams that had to wait go on.
    pub(crate) fn take_output(&mut self, link: LinkId) -> Vec<u8> {
        let Some(entry) = self.links.get_mut(&link) else {
            return Vec::new();
        };
        entry.woken = false;
        let out = std::mem::take(&mut entry.out);
        let waiting = std::mem::take(&mut entry.waiting);
        for key in waiting {
            if let Some(stream) = self.outbound.get_mut(&key) {
                stream.waiting = false;
            }
            self.transmit(&key);
        }
        out
    }

    /// Appends a frame to the output of a link.
    pub(super) fn send(&mut self, link: LinkId, frame: &Frame<'_>) {
        self.write(link, |out| wire::encode(frame, out));
    }

    fn write(&mut self, link: LinkId, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(entry) = self.links.get_mut(&link).filter(|entry| !entry.cut) {
            write(&mut entry.out);
            self.written(link);
        }
    }

    /// To every neighbour, once each, that the filter lets pass.
    pub(super) fn send_to_all(&mut self, frame: &Frame<'_>, filter: impl Fn(NodeId) -> bool) {
        let chosen = self.peers.iter().filter(|(peer, _)| filter(**peer));
        let links: Vec<LinkId> = chosen
            .filter_map(|(_, links)| links.last().copied())
            .collect();
        let bytes = wire::encoded(frame);
        for link in links {
            self.write(link, |out| out.extend_from_slice(&bytes));
        }
    }

    /// After something was appended to a link's output.
    pub(super) fn written(&mut self, link: LinkId) {
        // All that is known of others may have to be told at once, however much it is.
        let most = self.limits.link_buffer + self.length_of_known();
        let Some(entry) = self.links.get_mut(&link) else {
            return;
        };
        self.stats.frames_out += 1;
        if !std::mem::replace(&mut entry.woken, true) {
            self.effects.wake.push(link);
        }
        if entry.out.len() > most && !entry.cut {
            self.cut(link, LinkEnd::Overflow);
        }
    }

    pub(super) fn cut(&mut self, link: LinkId, reason: LinkEnd) {
        if let Some(entry) = self.links.get_mut(&link) {
            entry.cut = true;
            entry.out = Vec::new();
            self.effects.cut.push((link, reason));
        }
    }

    /// The link that is used to a node, if it can be reached.
    pub(super) fn link_to(&self, node: NodeId) -> Option<LinkId> {
        let neighbour = self.next_hops.get(&node)?;
        self.peers.get(neighbour)?.last().copied()
    }

    pub(super) fn peer_of(&self, link: LinkId) -> Option<NodeId> {
        Some(self.links.get(&link)?.peer.id)
    }

    pub(super) fn link_is_silent(&mut self, link: LinkId) {
        let Some(entry) = self.links.get_mut(&link) else {
            return;
        };
        let quiet = self.now.saturating_duration_since(entry.active_at);
        let (interval, timeout) = (self.limits.ping_interval, self.limits.ping_timeout);
        if quiet < interval {
            let at = entry.active_at + interval;
            return self.timers.set(Timer::Ping(link), at);
        }
        if std::mem::replace(&mut entry.pinged, true) {
            return self.cut(link, LinkEnd::Silent);
        }
        self.send(link, &Frame::Ping(link.0));
        self.timers.set(Timer::Ping(link), self.now + timeout);
    }

    /// Whether a frame of that origin may come by that link: a neighbour speaks for itself.
    fn may_come_from(&self, origin: NodeId, link: LinkId) -> bool {
        let is_neighbour = self.peers.contains_key(&origin);
        let known = self.nodes.contains_key(&origin);
        origin != self.me && known && (!is_neighbour || self.peer_of(link) == Some(origin))
    }

    /// Passes on a frame that is for another node.
    fn forward(&mut self, from: LinkId, routed: &Routed<'_>, bytes: &[u8]) {
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
        if bytes.len() <= entry.peer.max_frame {
            wire::forward(bytes, routed.hops - 1, &mut entry.out);
        } else if let Body::Data { seq, payload } = routed.body {
            let void = Routed {
                hops: routed.hops - 1,
                body: Body::Data { seq, payload: VOID },
                ..*routed
            };
            wire::encode(&Frame::Routed(void), &mut entry.out);
            self.answer_oversize(routed.from, routed.alias, payload);
        }
        self.stats.frames_forwarded += 1;
        self.written(link);
    }
}
