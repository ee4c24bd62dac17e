//! What a node tells its program: events, and figures.

use std::collections::VecDeque;
use std::sync::Arc;

use super::error::{FaultKind, LinkEnd};
use super::hello::Peer;
use super::{LinkId, NodeId};

/// Something has happened. Told in order; see [`Handle::observe`](super::Handle::observe).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A link was made.
    LinkUp {
        /// Which.
        link: LinkId,
        /// With whom.
        peer: Peer,
    },
    /// A link has ended: exactly once for every `LinkUp`.
    LinkDown {
        /// Which.
        link: LinkId,
        /// With whom.
        peer: Peer,
        /// Why.
        reason: LinkEnd,
    },
    /// A connection did not become a link.
    LinkFailed {
        /// The address that was called, or that called.
        address: String,
        /// Why.
        reason: LinkEnd,
    },
    /// A node can be reached, directly or over others.
    NodeUp {
        /// Which.
        node: NodeId,
        /// Its name.
        name: Arc<str>,
    },
    /// A node cannot be reached any more.
    NodeDown {
        /// Which.
        node: NodeId,
        /// Its name.
        name: Arc<str>,
    },
    /// A node exports an alias.
    AliasAdded {
        /// Which.
        alias: Arc<str>,
        /// Who.
        owner: NodeId,
    },
    /// A node does not export it any more, or cannot be reached.
    AliasRemoved {
        /// Which.
        alias: Arc<str>,
        /// Who.
        owner: NodeId,
    },
    /// An alias of this node belongs to another, which has exported it at the same time or longer.
    /// The export waits until it is free.
    AliasRefused {
        /// Which.
        alias: Arc<str>,
        /// To whom it belongs.
        owner: NodeId,
    },
    /// Posts that had been accepted will not arrive, or it is not known whether they have.
    Undelivered {
        /// To which alias.
        alias: Arc<str>,
        /// At which node; `None` if there never was one.
        node: Option<NodeId>,
        /// Posts that certainly have not arrived.
        lost: u64,
        /// Posts of which it is not known.
        uncertain: u64,
    },
    /// A post has arrived and was not carried out.
    Rejected {
        /// To which alias.
        alias: String,
        /// Which event.
        event: String,
        /// By which node.
        node: NodeId,
        /// Why.
        reason: FaultKind,
    },
}

/// Figures of a node, at one moment. What is not said to be a present number is a sum since its
/// start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Links at present.
    pub links: usize,
    /// Other nodes that can be reached at present.
    pub nodes: usize,
    /// Frames that came.
    pub frames_in: u64,
    /// Frames that were sent; several messages that were sent together count as one.
    pub frames_out: u64,
    /// Frames that were passed on for others.
    pub frames_forwarded: u64,
    /// Frames that were dropped: out of order, beyond what was allowed, without a way, or messages
    /// that cannot be read. All other messages among them are sent again by their origin.
    pub frames_dropped: u64,
    /// Posts that were accepted.
    pub posted: u64,
    /// Messages that were given to handlers.
    pub delivered: u64,
    /// Posts of this node that were accepted and are not known to have been delivered.
    pub undelivered: u64,
    /// Posts of this node that arrived and were not carried out.
    pub rejected: u64,
    /// Announcements of neighbours that were refused, since the alias was another's.
    pub refused: u64,
    /// Events that observers were too slow for.
    pub events_dropped: u64,
}

/// Whoever is told of events.
pub(crate) type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// Events on their way to observers: a bounded queue. Without an observer nothing is kept.
pub(crate) struct EventQueue {
    events: VecDeque<Event>,
    max: usize,
    observers: Vec<Observer>,
    /// Somebody has been told to empty it.
    running: bool,
    dropped: u64,
}

impl EventQueue {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            events: VecDeque::new(),
            max,
            observers: Vec::new(),
            running: false,
            dropped: 0,
        }
    }

    /// From now on events are kept.
    pub(crate) fn observe(&mut self, observer: Observer) {
        self.observers.push(observer);
    }

    /// Returns the observer, to be dropped where user code may run.
    pub(crate) fn unobserve(&mut self, observer: &Observer) -> Option<Observer> {
        let at = self
            .observers
            .iter()
            .position(|one| Arc::ptr_eq(one, observer))?;
        let removed = self.observers.remove(at);
        if self.observers.is_empty() {
            // Nobody is woken for what nobody is told.
            self.events.clear();
        }
        Some(removed)
    }

    /// Ends all observers.
    pub(crate) fn take_observers(&mut self) -> Vec<Observer> {
        self.events.clear();
        std::mem::take(&mut self.observers)
    }

    /// Adds an event; `true` if somebody is to be told.
    pub(crate) fn push(&mut self, event: impl FnOnce() -> Event) -> bool {
        if self.observers.is_empty() {
            return false;
        }
        if self.events.len() >= self.max {
            self.dropped += 1;
            return false;
        }
        self.events.push_back(event());
        !std::mem::replace(&mut self.running, true)
    }

    /// The next one, and who is to be told; after `None` somebody is told anew when one comes.
    pub(crate) fn next(&mut self) -> Option<(Event, Vec<Observer>)> {
        let event = self.events.pop_front();
        self.running = event.is_some();
        Some((event?, self.observers.clone()))
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_observer_nothing_is_kept_and_nobody_is_told() {
        let event = || Event::AliasAdded {
            alias: "x".into(),
            owner: NodeId::from_bytes([1; 16]),
        };
        let nobody = || -> Event { panic!("nobody asks") };
        let mut queue = EventQueue::new(9);
        let [one, other]: [Observer; 2] = [Arc::new(|_| {}), Arc::new(|_| {})];
        assert!(!queue.push(nobody));
        queue.observe(Arc::clone(&one));
        queue.observe(Arc::clone(&other));
        assert!(queue.unobserve(&other).is_some() && queue.unobserve(&other).is_none());
        assert!(queue.push(event), "somebody has to be told");
        assert!(!queue.push(event), "once");
        let (next, observers) = queue.next().unwrap();
        assert_eq!((next, observers.len()), (event(), 1));
        queue.unobserve(&one);
        assert!(!queue.push(nobody));
        assert!(queue.next().is_none());
        queue.observe(one);
        assert!(queue.push(event), "somebody has to be told anew");
    }
}
