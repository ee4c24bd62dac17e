//! Who gets which messages.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Error;
use super::message::Message;
use super::ring::Ring;
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

/// All subscriptions. Several may share a pattern; the server hears of each pattern once.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: HashMap<Box<str>, Entry>,
    last_key: u64,
}

#[derive(Debug)]
struct Entry {
    /// Only we know of it: the pattern is of meta or service channels.
    local: bool,
    ext: Option<Box<str>>,
    sinks: Vec<(u64, Sink)>,
}

impl Registry {
    /// Returns the key to remove it with. Keys rise.
    pub(crate) fn add(&mut self, pattern: &Pattern, ext: Option<Box<str>>, sink: Sink) -> u64 {
        self.last_key += 1;
        let entry = self
            .entries
            .entry(pattern.as_str().into())
            .or_insert_with(|| Entry {
                local: pattern.kind() != ChannelKind::Broadcast,
                ext: None,
                sinks: Vec::new(),
            });
        entry.ext = ext.or(entry.ext.take());
        entry.sinks.push((self.last_key, sink));
        self.last_key
    }

    /// Takes one out. Says whether the server is to be told, as it was the last of its pattern.
    pub(crate) fn remove(&mut self, pattern: &str, key: u64) -> Option<(Sink, bool)> {
        let entry = self.entries.get_mut(pattern)?;
        let position = entry.sinks.iter().position(|(other, _)| *other == key)?;
        let (_, sink) = entry.sinks.remove(position);
        let (last, local) = (entry.sinks.is_empty(), entry.local);
        if last {
            self.entries.remove(pattern);
        }
        Some((sink, last && !local))
    }

    /// Takes all of a pattern out.
    pub(crate) fn remove_pattern(&mut self, pattern: &str) -> Vec<Sink> {
        let entry = self.entries.remove(pattern);
        let sinks = entry.into_iter().flat_map(|entry| entry.sinks);
        sinks.map(|(_, sink)| sink).collect()
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) -> Vec<Sink> {
        let entries = std::mem::take(&mut self.entries).into_values();
        let sinks = entries.flat_map(|entry| entry.sinks);
        sinks.map(|(_, sink)| sink).collect()
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

    /// What the server must know of, oldest first, with the `ext` to ask with.
    pub(crate) fn remote(&self) -> Vec<(Box<str>, Option<Box<str>>)> {
        let mut remote: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.local)
            .collect();
        remote.sort_by_key(|(_, entry)| entry.sinks.first().map(|(key, _)| *key));
        remote
            .into_iter()
            .map(|(pattern, entry)| (pattern.clone(), entry.ext.clone()))
            .collect()
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

    fn ring() -> Sink {
        Sink::Ring(Arc::new(Ring::new(1)))
    }

    fn add(registry: &mut Registry, pattern: &str) -> u64 {
        registry.add(&Pattern::try_from(pattern).unwrap(), None, ring())
    }

    #[test]
    fn all_matching_subscriptions_get_it() {
        let mut registry = Registry::default();
        let patterns = [
            "/a/b", "/a/*", "/a/**", "/**", "/a", "/a/b", "/*", "/meta/*",
        ];
        for pattern in patterns {
            add(&mut registry, pattern);
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
    fn the_server_hears_of_the_last_only_and_never_of_local_ones() {
        let mut registry = Registry::default();
        let keys = ["/a", "/a", "/service/a"].map(|pattern| add(&mut registry, pattern));
        assert!(!registry.remove("/a", keys[1]).unwrap().1);
        assert!(registry.remove("/a", keys[0]).unwrap().1);
        assert!(registry.remove("/a", keys[0]).is_none());
        assert!(!registry.remove("/service/a", keys[2]).unwrap().1);
    }

    #[test]
    fn the_order_is_that_of_the_subscriptions() {
        let mut registry = Registry::default();
        for pattern in ["/c", "/a", "/service/x", "/b/**", "/a", "/meta/*"] {
            add(&mut registry, pattern);
        }
        let remote: Vec<_> = registry
            .remote()
            .into_iter()
            .map(|(pattern, _)| pattern)
            .collect();
        assert_eq!(remote, ["/c", "/a", "/b/**"].map(Box::from));
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
