//! What a node knows and decides, without sockets, threads or clocks: frames and calls in, bytes
//! and effects out.
//!
//! In scope: which nodes and aliases there are, the way to them, streams of messages in order,
//! pending calls, inboxes, deadlines. Out of scope: doing what [`Effects`] asks for.
//!
//! | File | What it holds |
//! |---|---|
//! | `links` | links: up, down, output, keepalive |
//! | `topology` | what nodes tell of themselves; which can be reached, over whom |
//! | `aliases` | who owns an alias; what this node exports, and its inboxes |
//! | `sending` | posts and calls of this node, and those that wait for their alias |
//! | `stream` | one stream at its sender and at its receiver: numbers, what is kept and allowed |
//! | `streams` | all of them, and the links by which they go |
//! | `calls` | calls that wait, and answers |
//! | `timers` | deadlines |
//!
//! # How news spread
//!
//! Every node counts the changes of its own links and exports, and tells its neighbours of each.
//! What is news to a node it passes on to all but the one it came from; what is not, it does not.
//! So a change crosses each link once in each direction at the most, whatever cycles there are; who
//! has missed one asks for the whole. A new link begins with all that each end knows. From the
//! links that both their ends tell of, every node works out the shortest way to every other;
//! nothing is ever believed of a neighbour from anybody but itself.
//!
//! # The way of a message
//!
//! 1. `sending`: it is checked, and its alias is resolved to a node; without one it is parked until
//!    somebody exports the alias (`unpark`). To this node it goes to step 5.
//! 2. `streams`: `enqueue` gives it to the `SendStream` of that node and alias, which numbers and
//!    keeps it until the receiver has it. `transmit` writes to the link's output what the receiver
//!    allows and the link has room for; after a change of the way, or a loss, from there again.
//! 3. `links`: the connection is woken and takes the output to the kernel.
//! 4. `links`: at the other end a frame for another node is passed on by its header; one for this
//!    node goes to `streams`, whose `ReceiveStream` takes each number once, in order.
//! 5. `aliases`: `deliver` puts it into the inbox of the export, or answers that there is none; a
//!    worker takes it with `next_delivery`, runs the handler and says `finished`.
//! 6. `streams`: the receipt tells the sender how far its receiver has got and how much more it
//!    takes: the handler sets the pace. `calls` sends answers by a stream of their own.

mod aliases;
mod calls;
mod links;
mod sending;
mod stream;
mod streams;
mod timers;
mod topology;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::config::Limits;
use super::error::LinkEnd;
use super::event::EventQueue;
use super::message::Handler;
pub(crate) use super::wire::Claim;
use super::{Event, LinkId, NodeId, Stats};
pub(crate) use aliases::{Delivery, DeliveryTag};
use aliases::{Export, Owners};
pub(crate) use calls::Answer;
use calls::PendingCall;
use links::LinkEntry;
pub(crate) use sending::Request;
use sending::{Local, Parked};
use stream::{ReceiveStream, SendStream, StreamKey};
use timers::{Timer, Timers};
use topology::KnownNode;

pub(crate) struct Router {
    me: NodeId,
    limits: Limits,
    now: Instant,
    links: HashMap<LinkId, LinkEntry>,
    /// Neighbours and the links to them; the newest, which comes last, is used.
    peers: BTreeMap<NodeId, Vec<LinkId>>,
    /// What others are told of this node.
    own: KnownNode,
    /// The other nodes.
    nodes: HashMap<NodeId, KnownNode>,
    /// Their sizes together.
    known_bytes: usize,
    /// Nodes that can be reached, nearest first.
    nearest: Vec<NodeId>,
    /// The neighbours to which messages for them go.
    next_hops: HashMap<NodeId, NodeId>,
    /// Who exports what, of the nodes that can be reached and of this one.
    owners: BTreeMap<Arc<str>, Owners>,
    exports: BTreeMap<Arc<str>, Export>,
    outbound: HashMap<StreamKey, SendStream>,
    inbound: HashMap<StreamKey, ReceiveStream>,
    parked: Parked,
    local: Local,
    calls: HashMap<u64, PendingCall>,
    /// Numbers of calls and exports.
    counter: u64,
    /// Epochs of streams. On their own, since they have fewer bits, and must not begin again.
    epochs: u32,
    timers: Timers,
    events: EventQueue,
    effects: Effects,
    stats: Stats,
    stopped: bool,
}

/// What is to be done outside, with the router unlocked.
#[derive(Default)]
pub(crate) struct Effects {
    /// Links for which output waits.
    pub(crate) wake: Vec<LinkId>,
    /// Links to be closed.
    pub(crate) cut: Vec<(LinkId, LinkEnd)>,
    /// Exports with a message for their handler, which is not running.
    pub(crate) run: Vec<(Arc<str>, u64)>,
    /// Something that posters or `wait_for` may wait for has changed.
    pub(crate) changed: bool,
    /// Events wait, and nobody has been told.
    pub(crate) events: bool,
    /// Handlers of exports that have ended, to be dropped: what they own may use the router.
    pub(crate) discard: Vec<Arc<dyn Handler>>,
}

impl Router {
    pub(crate) fn new(me: NodeId, name: &str, limits: Limits, now: Instant) -> Self {
        let events = EventQueue::new(limits.max_events);
        Self {
            me,
            limits: limits.bounded(),
            now,
            links: HashMap::new(),
            peers: BTreeMap::new(),
            own: KnownNode {
                seq: 1,
                name: name.into(),
                reachable: true,
                ..KnownNode::default()
            },
            nodes: HashMap::new(),
            known_bytes: 0,
            nearest: Vec::new(),
            next_hops: HashMap::new(),
            owners: BTreeMap::new(),
            exports: BTreeMap::new(),
            outbound: HashMap::new(),
            inbound: HashMap::new(),
            parked: Parked::default(),
            local: Local::default(),
            calls: HashMap::new(),
            counter: 0,
            epochs: 0,
            timers: Timers::default(),
            events,
            effects: Effects::default(),
            stats: Stats::default(),
            stopped: false,
        }
    }

    /// To be called with the time before anything else is.
    pub(crate) fn enter(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// What is to be done; to be taken after each use.
    pub(crate) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// When [`tick`](Self::tick) is to be called next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Does what the time has brought.
    pub(crate) fn tick(&mut self) {
        while let Some(timer) = self.timers.take_due(self.now) {
            match timer {
                Timer::Stream(key) => self.stream_is_late(&key),
                Timer::Receipt(key) => self.send_receipt(&key, false),
                Timer::Call(id) => self.call_is_late(id),
                Timer::Ping(link) => self.link_is_silent(link),
                Timer::Forget(node) => self.forget(node),
                Timer::Parked => self.expire_parked(),
                Timer::Claim(alias) => self.claim(&alias),
            }
        }
    }

    /// Figures since the start.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            links: self.links.len(),
            nodes: self.nearest.len(),
            events_dropped: self.events.dropped(),
            ..self.stats
        }
    }

    pub(crate) fn tell(&mut self, event: impl FnOnce() -> Event) {
        self.effects.events |= self.events.push(event);
    }

    pub(crate) fn events(&mut self) -> &mut EventQueue {
        &mut self.events
    }

    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

#[cfg(test)]
mod tests;
