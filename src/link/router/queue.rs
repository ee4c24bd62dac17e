//! Events on their way to observers.

use std::collections::VecDeque;

use crate::link::Event;

/// A bounded queue. Without an observer nothing is kept.
pub(crate) struct EventQueue {
    events: VecDeque<Event>,
    max: usize,
    observers: usize,
    /// Somebody has been told to empty it.
    running: bool,
    dropped: u64,
}

impl EventQueue {
    pub(super) fn new(max: usize) -> Self {
        Self {
            events: VecDeque::new(),
            max,
            observers: 0,
            running: false,
            dropped: 0,
        }
    }

    /// There is one more observer; from now on events are kept.
    pub(crate) fn observe(&mut self) {
        self.observers += 1;
    }

    /// There is one less. After the last one nobody is woken for what nobody is told.
    pub(crate) fn unobserve(&mut self) {
        self.observers = self.observers.saturating_sub(1);
        if self.observers == 0 {
            self.events.clear();
        }
    }

    /// Adds an event; `true` if somebody is to be told.
    pub(super) fn push(&mut self, event: impl FnOnce() -> Event) -> bool {
        if self.observers == 0 {
            return false;
        }
        if self.events.len() >= self.max {
            self.dropped += 1;
            return false;
        }
        self.events.push_back(event());
        !std::mem::replace(&mut self.running, true)
    }

    /// The next one; after `None` somebody is told anew when one comes.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        self.running = event.is_some();
        event
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl super::Router {
    pub(crate) fn tell(&mut self, event: impl FnOnce() -> Event) {
        self.effects.events |= self.events.push(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::NodeId;

    #[test]
    fn without_an_observer_nothing_is_kept_and_nobody_is_told() {
        let event = || Event::AliasAdded {
            alias: "x".into(),
            owner: NodeId::from_bytes([1; 16]),
        };
        let nobody = || -> Event { panic!("nobody asks") };
        let mut queue = EventQueue::new(9);
        assert!(!queue.push(nobody));
        queue.observe();
        queue.observe();
        queue.unobserve();
        assert!(queue.push(event), "somebody has to be told");
        assert!(!queue.push(event), "once");
        assert_eq!(queue.next(), Some(event()));
        queue.unobserve();
        assert!(!queue.push(nobody));
        assert_eq!(queue.next(), None);
        queue.observe();
        assert!(queue.push(event), "somebody has to be told anew");
    }
}
