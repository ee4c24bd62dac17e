//! Events on their way to observers.

use std::collections::VecDeque;

use crate::link::Event;

/// A bounded queue. Without an observer nothing is kept.
pub(crate) struct EventQueue {
    events: VecDeque<Event>,
    max: usize,
    observed: bool,
    /// Somebody has been told to empty it.
    running: bool,
    dropped: u64,
}

impl EventQueue {
    pub(super) fn new(max: usize) -> Self {
        Self {
            events: VecDeque::new(),
            max,
            observed: false,
            running: false,
            dropped: 0,
        }
    }

    /// From now on events are kept.
    pub(crate) fn observe(&mut self) {
        self.observed = true;
    }

    /// Adds an event; `true` if somebody is to be told.
    pub(super) fn push(&mut self, event: impl FnOnce() -> Event) -> bool {
        if !self.observed {
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
