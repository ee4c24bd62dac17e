//! Who gets which messages, and what the server knows of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Error;
use super::message::Message;
use super::ring::Ring;
use super::slot::{Outcome, Slot};
use crate::protocol::{ChannelKind, ChannelName, Pattern, expand};

/// Where the messages of one subscription go.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    Ring(Arc<Ring>),
    Callback(Arc<Callback>),
}

/// A function of the user, with a switch.
pub(crate) struct Callback {
    run: Box<dyn Fn(&Message) + Send + Sync>,
    ended: AtomicBool,
}

/// All subscriptions. Several may share a pattern; the server is asked for each pattern once, as
/// some servers deliver as often as they were asked.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: HashMap<Box<str>, Entry>,
    last_key: u64,
}

/// The subscriptions of one pattern.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) standing: Standing,
    ext: Option<Box<str>>,
    waiting: Vec<Arc<Slot>>,
    sinks: Vec<(u64, Sink)>,
}

/// What the server knows of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing, ever: it is of meta or service channels.
    Local,
    /// Nothing yet in this session.
    Unknown,
    /// There is a subscribe with that id, on its way or about to be.
    Asked(u64),
    Confirmed,
}

/// A subscriber was added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Added {
    /// To remove it with. Keys rise.
    pub(crate) key: u64,
    /// Whether the server is to be asked with the given id; otherwise the outcome will come, or
    /// came, by itself.
    pub(crate) ask: bool,
}

impl Registry {
    /// Adds a subscriber. `id` is for the subscribe, should one be needed; the slot gets its
    /// outcome.
    pub(crate) fn add(
        &mut self,
        pattern: &Pattern,
        ext: Option<Box<str>>,
        sink: Sink,
        id: u64,
        slot: Arc<Slot>,
    ) -> Added {
        let key = self.add_quietly(pattern, ext, sink);
        let entry = self.entries.get_mut(pattern.as_str());
        let entry = entry.expect("because it was added just now");
        let ask = entry.standing == Standing::Unknown && entry.sinks.len() == 1;
        match entry.standing {
            Standing::Local | Standing::Confirmed => slot.settle(Ok(Message::local_success())),
            Standing::Asked(_) | Standing::Unknown => entry.waiting.push(slot),
        }
        if ask {
            entry.standing = Standing::Asked(id);
        }
        Added { key, ask }
    }

    /// Adds a subscriber that the server will be asked for on the next session.
    pub(crate) fn add_quietly(
        &mut self,
        pattern: &Pattern,
        ext: Option<Box<str>>,
        sink: Sink,
    ) -> u64 {
        self.last_key += 1;
        let entry = self.entries.entry(pattern.as_str().into());
        let entry = entry.or_insert_with(|| Entry {
            standing: match pattern.kind() {
                ChannelKind::Broadcast => Standing::Unknown,
                _ => Standing::Local,
            },
            ext: None,
            waiting: Vec::new(),
            sinks: Vec::new(),
        });
        entry.ext = ext.or(entry.ext.take());
        entry.sinks.push((self.last_key, sink));
        self.last_key
    }

    /// Takes one out; the entry with it when it was the last.
    pub(crate) fn remove(&mut self, pattern: &str, key: u64) -> Option<(Sink, Option<Entry>)> {
        let entry = self.entries.get_mut(pattern)?;
        let position = entry.sinks.iter().position(|(other, _)| *other == key)?;
        let (_, sink) = entry.sinks.remove(position);
        let last = entry.sinks.is_empty();
        let entry = last.then(|| self.entries.remove(pattern)).flatten();
        Some((sink, entry))
    }

    /// Takes all of a pattern out.
    pub(crate) fn remove_pattern(&mut self, pattern: &str) -> Option<Entry> {
        self.entries.remove(pattern)
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries).into_values().collect()
    }

    /// The outcome of the subscribe with that id. A failure takes the pattern out.
    pub(crate) fn settle(&mut self, pattern: &str, id: u64, outcome: &Outcome) -> Option<Entry> {
        let entry = self.entries.get_mut(pattern)?;
        if entry.standing != Standing::Asked(id) {
            return None;
        }
        if outcome.is_err() {
            return self.entries.remove(pattern);
        }
        entry.standing = Standing::Confirmed;
        for slot in entry.waiting.drain(..) {
            slot.settle(outcome.clone());
        }
        None
    }

    /// Whether the subscribe with that id still matters.
    pub(crate) fn is_asked(&self, pattern: &str, id: u64) -> bool {
        let entry = self.entries.get(pattern);
        entry.is_some_and(|entry| entry.standing == Standing::Asked(id))
    }

    /// A subscribe with that id is on its way.
    pub(crate) fn asked(&mut self, pattern: &str, id: u64) {
        if let Some(entry) = self.entries.get_mut(pattern) {
            entry.standing = Standing::Asked(id);
        }
    }

    /// What was confirmed is confirmed no longer.
    pub(crate) fn session_lost(&mut self) {
        for entry in self.entries.values_mut() {
            if entry.standing == Standing::Confirmed {
                entry.standing = Standing::Unknown;
            }
        }
    }

    /// Every sink whose pattern matches.
    pub(crate) fn matching(&self, channel: &str) -> impl Iterator<Item = &Sink> {
        let patterns = match ChannelName::try_from(channel) {
            Ok(name) if !self.entries.is_empty() => expand(&name),
            _ => Vec::new(),
        };
        let entries = patterns
            .into_iter()
            .filter_map(|pattern| self.entries.get(&*pattern));
        entries.flat_map(|entry| entry.sinks.iter().map(|(_, sink)| sink))
    }

    /// What the server is to be asked for on a new session, oldest first, with the `ext` to ask
    /// with: all but what a subscribe is waiting for already.
    pub(crate) fn unasked(
        &self,
        is_queued: impl Fn(u64) -> bool,
    ) -> Vec<(Box<str>, Option<Box<str>>)> {
        let missing = |entry: &Entry| match entry.standing {
            Standing::Local => false,
            Standing::Asked(id) => !is_queued(id),
            Standing::Unknown | Standing::Confirmed => true,
        };
        let mut unasked: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| missing(entry))
            .collect();
        unasked.sort_by_key(|(_, entry)| entry.sinks.first().map(|(key, _)| *key));
        unasked
            .into_iter()
            .map(|(pattern, entry)| (pattern.clone(), entry.ext.clone()))
            .collect()
    }
}

impl Entry {
    /// Ends it for all: their receivers, and those who wait for the subscribe. Returns what is to
    /// be dropped, and whether somebody was waiting.
    pub(crate) fn end(self, reason: &Error) -> (Vec<Sink>, bool) {
        let watched = self.waiting.iter().any(Slot::is_watched);
        for slot in self.waiting {
            slot.settle(Err(reason.clone()));
        }
        let sinks = self.sinks.into_iter().map(|(_, sink)| sink);
        (sinks.collect(), watched)
    }
}

impl Sink {
    /// No further messages.
    pub(crate) fn end(&self, reason: &Error) {
        match self {
            Self::Ring(ring) => ring.end(reason.clone()),
            Self::Callback(callback) => callback.ended.store(true, Ordering::Release),
        }
    }
}

impl Callback {
    pub(crate) fn new(run: impl Fn(&Message) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            run: Box::new(run),
            ended: AtomicBool::new(false),
        })
    }

    /// Runs it, unless its subscription has ended meanwhile.
    pub(crate) fn run(&self, message: &Message) {
        if !self.ended.load(Ordering::Acquire) {
            (self.run)(message);
        }
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(registry: &mut Registry, pattern: &str, id: u64) -> (Added, Arc<Slot>) {
        let (sink, slot) = (
            Sink::Ring(Arc::new(Ring::new(1))),
            Arc::new(Slot::default()),
        );
        let pattern = Pattern::try_from(pattern).unwrap();
        let added = registry.add(&pattern, None, sink, id, Arc::clone(&slot));
        (added, slot)
    }

    fn patterns(unasked: &[(Box<str>, Option<Box<str>>)]) -> Vec<&str> {
        unasked.iter().map(|(pattern, _)| &**pattern).collect()
    }

    #[test]
    fn all_matching_subscriptions_get_it() {
        let mut registry = Registry::default();
        let patterns = [
            "/a/b", "/a/*", "/a/**", "/**", "/a", "/a/b", "/*", "/meta/*",
        ];
        for pattern in patterns {
            add(&mut registry, pattern, 1);
        }
        for (channel, count) in [
            ("/a/b", 5),
            ("/a", 3),
            ("/a/b/c", 2),
            ("/z", 2),
            ("/meta/connect", 1),
            ("/service/x", 0),
            ("not a channel", 0),
        ] {
            assert_eq!(registry.matching(channel).count(), count, "{channel}");
        }
    }

    #[test]
    fn the_server_is_asked_once() {
        let mut registry = Registry::default();
        let yes = Ok(Message::local_success());
        let (first, first_slot) = add(&mut registry, "/a", 1);
        let (second, second_slot) = add(&mut registry, "/a", 2);
        assert!(first.ask && !second.ask);
        assert!(registry.settle("/a", 2, &yes).is_none());
        assert_eq!(second_slot.get(), None, "that id was never used");
        assert!(registry.settle("/a", 1, &yes).is_none());
        assert!(first_slot.get().is_some() && second_slot.get().is_some());
        let (third, third_slot) = add(&mut registry, "/a", 3);
        assert!(!third.ask && third_slot.get().is_some());
        let (local, local_slot) = add(&mut registry, "/service/x", 4);
        assert!(!local.ask && local_slot.get().is_some());
    }

    #[test]
    fn the_last_one_takes_the_entry_along() {
        let mut registry = Registry::default();
        let keys = [1, 2].map(|id| add(&mut registry, "/a", id).0.key);
        assert!(registry.remove("/a", keys[1]).unwrap().1.is_none());
        let (_, entry) = registry.remove("/a", keys[0]).unwrap();
        assert_eq!(entry.unwrap().standing, Standing::Asked(1));
        assert!(registry.remove("/a", keys[0]).is_none());
    }

    #[test]
    fn a_refusal_ends_it_for_all() {
        let mut registry = Registry::default();
        let slots = [1, 2].map(|id| add(&mut registry, "/a", id).1);
        let no = Err(Error::SessionLost);
        assert!(registry.settle("/a", 7, &no).is_none());
        let entry = registry.settle("/a", 1, &no).unwrap();
        let (sinks, watched) = entry.end(&Error::SessionLost);
        assert_eq!((sinks.len(), watched), (2, true));
        assert!(slots.iter().all(|slot| slot.get() == Some(no.clone())));
        assert_eq!(registry.matching("/a").count(), 0);
    }

    #[test]
    fn a_new_session_is_asked_for_all_that_is_not_on_its_way() {
        let mut registry = Registry::default();
        let all = ["/c", "/a", "/service/x", "/b/**", "/a", "/meta/*"];
        for (id, pattern) in all.iter().enumerate() {
            add(&mut registry, pattern, id as u64);
        }
        registry.settle("/c", 0, &Ok(Message::local_success()));
        registry.session_lost();
        let nothing = registry.unasked(|_| false);
        assert_eq!(patterns(&nothing), ["/c", "/a", "/b/**"]);
        let queued = registry.unasked(|id| id == 1);
        assert_eq!(patterns(&queued), ["/c", "/b/**"]);
        registry.asked("/c", 9);
        assert!(registry.is_asked("/c", 9) && !registry.is_asked("/c", 0));
        let (joined, slot) = add(&mut registry, "/c", 10);
        assert!(!joined.ask);
        registry.settle("/c", 9, &Ok(Message::local_success()));
        assert!(slot.get().is_some());
    }

    #[test]
    fn an_ended_callback_is_silent() {
        let count = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&count);
        let callback = Callback::new(move |_| seen.store(true, Ordering::Relaxed));
        Sink::Callback(Arc::clone(&callback)).end(&Error::Closed);
        callback.run(&Message::parse(r#"{"channel":"/a"}"#).unwrap());
        assert!(!count.load(Ordering::Relaxed));
    }
}
