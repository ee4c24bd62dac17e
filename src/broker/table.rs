//! The subscription table: who gets what is published on a channel.
//!
//! A trie by channel segment behind one mutex. The lists of receivers that publishes ask for are
//! cached per channel until a subscription changes, so the lock is held for one look-up; a list
//! is built in depth + receivers, however many other subscriptions there are.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::session::Session;
use crate::protocol::{ChannelName, Pattern, Tail};

/// Receivers of a channel, each once, in the order of their sessions.
pub(crate) type Receivers = Arc<[Arc<Session>]>;

#[derive(Default)]
pub(crate) struct Table {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    root: Node,
    subscriptions: usize,
    cache: HashMap<ChannelName, Receivers>,
    /// Receivers in all cached lists together.
    cached: usize,
}

#[derive(Default)]
struct Node {
    children: HashMap<Box<str>, Self>,
    exact: Subscribers,
    one: Subscribers,
    deep: Subscribers,
}

/// Keyed by the session's number.
type Subscribers = HashMap<u64, Arc<Session>>;

impl Table {
    /// Returns whether the subscription is new.
    pub(crate) fn insert(&self, pattern: &Pattern, session: &Arc<Session>) -> bool {
        let mut state = self.state.lock();
        let node = pattern.prefix_segments().fold(&mut state.root, Node::child);
        let subscribers = node.subscribers(pattern.tail());
        let new = subscribers
            .insert(session.number(), Arc::clone(session))
            .is_none();
        if new {
            state.subscriptions += 1;
            state.forget_lists();
        }
        new
    }

    /// Returns whether there was such a subscription.
    pub(crate) fn remove(&self, pattern: &Pattern, session: u64) -> bool {
        let mut state = self.state.lock();
        let segments: Vec<&str> = pattern.prefix_segments().collect();
        let removed = state.root.remove(&segments, pattern.tail(), session);
        if removed {
            state.subscriptions -= 1;
            state.forget_lists();
        }
        removed
    }

    /// Everyone who gets what is published on the channel.
    pub(crate) fn receivers(&self, channel: &ChannelName) -> Receivers {
        let mut state = self.state.lock();
        if let Some(list) = state.cache.get(channel) {
            return Arc::clone(list);
        }
        let list = state.root.matching(channel);
        state.remember(channel, &list);
        list
    }

    /// Subscriptions of all sessions together.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().subscriptions
    }
}

impl State {
    fn remember(&mut self, channel: &ChannelName, list: &Receivers) {
        if self.cache.len() >= CACHED_CHANNELS || self.cached + list.len() > CACHED_RECEIVERS {
            self.forget_lists();
        }
        self.cached += list.len();
        self.cache.insert(channel.clone(), Arc::clone(list));
    }

    fn forget_lists(&mut self) {
        if !self.cache.is_empty() {
            self.cache.clear();
            self.cached = 0;
        }
    }
}

impl Node {
    fn child(&mut self, segment: &str) -> &mut Self {
        if !self.children.contains_key(segment) {
            self.children.insert(segment.into(), Self::default());
        }
        self.children
            .get_mut(segment)
            .expect("it was inserted above")
    }

    fn subscribers(&mut self, tail: Tail) -> &mut Subscribers {
        match tail {
            Tail::Exact => &mut self.exact,
            Tail::One => &mut self.one,
            Tail::Deep => &mut self.deep,
        }
    }

    /// Removes the subscription and the nodes that nobody needs any more.
    fn remove(&mut self, segments: &[&str], tail: Tail, session: u64) -> bool {
        let Some((first, rest)) = segments.split_first() else {
            let subscribers = self.subscribers(tail);
            let removed = subscribers.remove(&session).is_some();
            if subscribers.is_empty() {
                *subscribers = Subscribers::new();
            }
            return removed;
        };
        let Some(child) = self.children.get_mut(*first) else {
            return false;
        };
        let removed = child.remove(rest, tail, session);
        if child.is_empty() {
            self.children.remove(*first);
        }
        removed
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.exact.is_empty()
            && self.one.is_empty()
            && self.deep.is_empty()
    }

    fn matching(&self, channel: &ChannelName) -> Receivers {
        let mut found: Vec<&Arc<Session>> = Vec::new();
        let mut node = Some(self);
        let mut segments = channel.segments().peekable();
        while let (Some(here), Some(segment)) = (node, segments.next()) {
            found.extend(here.deep.values());
            if segments.peek().is_none() {
                found.extend(here.one.values());
            }
            node = here.children.get(segment);
        }
        if let Some(last) = node {
            found.extend(last.exact.values());
        }
        found.sort_unstable_by_key(|session| session.number());
        found.dedup_by_key(|session| session.number());
        found.into_iter().cloned().collect()
    }
}

/// Most channels whose receivers are remembered.
const CACHED_CHANNELS: usize = 4096;
/// Most receivers in all remembered lists together: 16 MiB of pointers.
const CACHED_RECEIVERS: usize = 1 << 21;
