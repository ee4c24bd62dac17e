//! What a node knows and decides, without sockets, threads or clocks: frames and calls in, bytes
//! and effects out.
//!
//! In scope: which nodes and aliases there are, the way to them, streams of messages in order,
//! pending calls, inboxes, deadlines. Out of scope: doing what [`Effects`] asks for.
//!
//! | File | What it holds |
//! |---|---|
//! | `links` | links: up, down, output, keepalive |
//! | `gossip` | what nodes tell each other of themselves, and how it spreads |
//! | `topology` | which nodes can be reached, over whom |
//! | `aliases` | who owns an alias; exports; two owners of one name |
//! | `sending` | posts and calls of this node, and those that wait for their alias |
//! | `outbound`, `inbound` | streams at their sender and at their receiver |
//! | `calls` | calls that wait, and answers |
//! | `timers`, `queue` | deadlines; events for observers |
//!
//! # How it spreads
//!
//! Every node counts the changes of its own state (its links and exports) and tells its neighbours.
//! What is news to a node it passes on to all but the one it came from; what is not, it does not.
//! So a change crosses each link once in each direction at the most, whatever cycles there are. A
//! new link begins with all that each end knows. From the states every node works out the shortest
//! way to every other; nothing is ever believed of a neighbour from anybody but itself.
//!
//! # How messages stay in order
//!
//! Messages from one node to one alias of another are numbered. The receiver takes them in order
//! and once; the sender keeps them until the receiver has them, and sends them again when the way
//! has changed. The receiver's handler sets the pace: it allows a number of messages ahead of what
//! it has handled.

mod aliases;
mod calls;
mod gossip;
mod inbound;
mod links;
mod outbound;
mod queue;
mod sending;
#[cfg(test)]
mod tests;
mod timers;
mod topology;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::config::Limits;
use super::error::LinkEnd;
use super::message::Handler;
use super::{LinkId, NodeId, Stats};
pub(crate) use aliases::{Claim, Delivery, Origin};
use aliases::{Export, Owners};
pub(crate) use calls::Answer;
use calls::Pending;
use inbound::Inbound;
use links::LinkEntry;
use outbound::Outbound;
use queue::EventQueue;
pub(crate) use sending::Request;
use sending::{Own, Parked};
use timers::{Timer, Timers};
use topology::NodeEntry;

/// A stream: the node at the other end, and the receiver's alias (empty for answers).
type StreamKey = (NodeId, Arc<str>);

pub(crate) struct Router {
    me: NodeId,
    name: Arc<str>,
    limits: Limits,
    now: Instant,
    links: HashMap<LinkId, LinkEntry>,
    /// Neighbours and the links to them; the newest, which comes last, is used.
    peers: BTreeMap<NodeId, Vec<LinkId>>,
    /// The other nodes.
    nodes: HashMap<NodeId, NodeEntry>,
    /// Their sizes together.
    known: usize,
    /// Nodes that can be reached, nearest first, and the neighbours to which messages for them go.
    near: Vec<NodeId>,
    ways: HashMap<NodeId, NodeId>,
    /// Counts the changes of this node's own state.
    seq: u64,
    /// Who exports what, of the nodes that can be reached and of this one.
    owners: BTreeMap<Arc<str>, Owners>,
    exports: BTreeMap<Arc<str>, Export>,
    outbound: HashMap<StreamKey, Outbound>,
    inbound: HashMap<StreamKey, Inbound>,
    parked: Parked,
    own: Own,
    calls: HashMap<u64, Pending>,
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
            name: name.into(),
            limits: limits.bounded(),
            now,
            links: HashMap::new(),
            peers: BTreeMap::new(),
            nodes: HashMap::new(),
            known: 0,
            near: Vec::new(),
            ways: HashMap::new(),
            seq: 1,
            owners: BTreeMap::new(),
            exports: BTreeMap::new(),
            outbound: HashMap::new(),
            inbound: HashMap::new(),
            parked: Parked::default(),
            own: Own::default(),
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
            nodes: self.near.len(),
            events_dropped: self.events.dropped(),
            ..self.stats
        }
    }

    pub(crate) fn events(&mut self) -> &mut EventQueue {
        &mut self.events
    }

    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}
