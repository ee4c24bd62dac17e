//! From messages and events to the user's code: subscriptions, listeners, and the queue between.
//!
//! User code is neither run nor dropped in here, as the owner holds a lock: what is to run is
//! queued as [`Job`]s, what is to be dropped is put aside.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::error::Error;
use super::event::{Event, Stats};
use super::message::Message;
use super::registry::{Callback, Registry, Sink};
use super::slot::Slot;

/// User code to run, with what it is given.
#[derive(Debug)]
pub(crate) enum Job {
    Message(Arc<Callback>, Message),
    Event(Listener, Event),
    Drop(Trash),
    /// Tells whoever waits that everything before it has run.
    CaughtUp(Arc<Slot>),
}

/// What owns user code and has ended.
pub(crate) type Trash = Vec<Box<dyn Any + Send>>;

/// A function that hears of events.
#[derive(Clone)]
pub(crate) struct Listener(pub(crate) Arc<dyn Fn(&Event) + Send + Sync>);

/// See the module.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) registry: Registry,
    listeners: Vec<Listener>,
    pub(crate) stats: Stats,
    jobs: VecDeque<Job>,
    trash: Trash,
    limit: usize,
}

impl Dispatch {
    /// `limit`: messages that may wait for callbacks.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            registry: Registry::default(),
            listeners: Vec::new(),
            stats: Stats::default(),
            jobs: VecDeque::new(),
            trash: Vec::new(),
            limit,
        }
    }

    /// Gives the message to all whose pattern matches. Says whether there are any.
    pub(crate) fn deliver(&mut self, message: &Message) -> bool {
        let mut found = false;
        for sink in self.registry.matching(message.channel()) {
            found = true;
            match sink {
                Sink::Ring(ring) => ring.push(message.clone()),
                Sink::Callback(_) if self.jobs.len() >= self.limit => {
                    self.stats.callbacks_dropped += 1;
                }
                Sink::Callback(callback) => {
                    self.jobs
                        .push_back(Job::Message(Arc::clone(callback), message.clone()));
                }
            }
        }
        found
    }

    /// Has the slot settled when everything that waits now has run.
    pub(crate) fn catch_up(&mut self, slot: &Arc<Slot>) {
        self.jobs.push_back(Job::CaughtUp(Arc::clone(slot)));
    }

    /// A function that hears of events from now on.
    pub(crate) fn listen(&mut self, listener: Listener) {
        self.listeners.push(listener);
    }

    /// There will be no other events.
    pub(crate) fn dismiss(&mut self) {
        for listener in std::mem::take(&mut self.listeners) {
            self.trash.push(Box::new(listener));
        }
    }

    /// Tells the listeners.
    pub(crate) fn emit(&mut self, event: &Event) {
        log::debug!("{event:?}");
        for listener in &self.listeners {
            // More room than for messages: these tell why messages are missing.
            if self.jobs.len() >= self.limit.saturating_mul(2).max(16) {
                self.stats.callbacks_dropped += 1;
            } else {
                self.jobs
                    .push_back(Job::Event(listener.clone(), event.clone()));
            }
        }
    }

    /// Ends subscriptions that are out of the registry. What waits for a callback is dropped too.
    pub(crate) fn discard(&mut self, sinks: Vec<Sink>, reason: &Error) {
        for sink in sinks {
            sink.end(reason);
            self.trash.push(Box::new(sink));
        }
    }

    /// Ends all subscriptions. What waits for a callback still gets there.
    pub(crate) fn close(&mut self, reason: &Error) {
        for entry in self.registry.clear() {
            let (sinks, _) = entry.end(reason);
            for sink in sinks {
                if let Sink::Ring(ring) = &sink {
                    ring.end(reason.clone());
                }
                self.trash.push(Box::new(sink));
            }
        }
    }

    pub(crate) fn next_job(&mut self) -> Option<Job> {
        let trash = |this: &mut Self| Job::Drop(this.take_trash());
        self.jobs
            .pop_front()
            .or_else(|| (!self.trash.is_empty()).then(|| trash(self)))
    }

    pub(crate) fn has_jobs(&self) -> bool {
        !(self.jobs.is_empty() && self.trash.is_empty())
    }

    /// To be dropped where user code may run.
    pub(crate) fn take_trash(&mut self) -> Trash {
        std::mem::take(&mut self.trash)
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ring::Ring;
    use crate::protocol::Pattern;

    fn subscribe(dispatch: &mut Dispatch, sink: Sink) -> u64 {
        dispatch
            .registry
            .add_quietly(&Pattern::try_from("/a").unwrap(), None, sink)
    }

    fn message() -> Message {
        Message::parse(r#"{"channel":"/a"}"#).unwrap()
    }

    #[test]
    fn a_full_queue_drops_messages_before_events() {
        let mut dispatch = Dispatch::new(10);
        dispatch.listen(Listener(Arc::new(|_: &Event| ())));
        subscribe(&mut dispatch, Sink::Callback(Callback::new(|_| ())));
        (0..15).for_each(|_| assert!(dispatch.deliver(&message())));
        assert_eq!(dispatch.stats.callbacks_dropped, 5);
        let error = Error::Closed;
        let event = Event::Unheard {
            channel: "/a".into(),
            error,
        };
        (0..15).for_each(|_| dispatch.emit(&event));
        assert_eq!(dispatch.stats.callbacks_dropped, 10);
        assert_eq!(std::iter::from_fn(|| dispatch.next_job()).count(), 20);
    }

    #[test]
    fn what_ends_is_kept_for_someone_else_to_drop() {
        let mut dispatch = Dispatch::new(10);
        let ring = Arc::new(Ring::new(1));
        subscribe(&mut dispatch, Sink::Ring(Arc::clone(&ring)));
        dispatch.close(&Error::Disconnected);
        assert!(ring.recv(None).is_err());
        assert!(!dispatch.deliver(&message()));
        dispatch.listen(Listener(Arc::new(|_: &Event| ())));
        dispatch.dismiss();
        assert_eq!(dispatch.take_trash().len(), 2);
    }
}
