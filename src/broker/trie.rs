//! Subscriptions by channel segment.
//!
//! Nodes are small: most have one subscriber (the private channel of a session) or a few children.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::session::Session;
use crate::protocol::{ChannelKind, ChannelName, Pattern, Tail};
use crate::util::shrink;

/// A node, and all that is below it.
#[derive(Default)]
pub(crate) struct Trie {
    #[expect(
        clippy::box_collection,
        reason = "a node without children is to be small"
    )]
    children: Option<Box<HashMap<Box<str>, Self>>>,
    exact: Subscribers,
    one: Subscribers,
    deep: Subscribers,
}

/// Who is subscribed to one pattern.
#[derive(Default)]
enum Subscribers {
    #[default]
    None,
    One(Arc<Session>),
    Many(Box<Many>),
}

/// By the session's number.
type Many = HashMap<u64, Arc<Session>, BuildHasherDefault<NumberHasher>>;

/// Numbers are counted by ourselves, so they need to be spread but not to be protected.
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // An odd number without pattern: 2^64 divided by the golden ratio.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Subscribers {
    /// Whether the session was not there before.
    fn insert(&mut self, session: &Arc<Session>) -> bool {
        match self {
            Self::None => *self = Self::One(Arc::clone(session)),
            Self::One(only) if only.number() == session.number() => return false,
            Self::One(only) => {
                let both = [Arc::clone(only), Arc::clone(session)];
                let many = both.map(|session| (session.number(), session));
                *self = Self::Many(Box::new(many.into_iter().collect()));
            }
            Self::Many(many) => {
                return many.insert(session.number(), Arc::clone(session)).is_none();
            }
        }
        true
    }

    /// Whether the session was there.
    fn remove(&mut self, session: u64) -> bool {
        match self {
            Self::One(only) if only.number() == session => *self = Self::None,
            Self::None | Self::One(_) => return false,
            Self::Many(many) => {
                if many.remove(&session).is_none() {
                    return false;
                }
                shrink(many);
                if many.len() == 1 {
                    let last = many.drain().next().expect("there is one");
                    *self = Self::One(last.1);
                }
            }
        }
        true
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    fn add_to<'a>(&'a self, found: &mut Vec<(u64, &'a Arc<Session>)>) {
        match self {
            Self::None => {}
            Self::One(only) => found.push((only.number(), only)),
            Self::Many(many) => {
                found.extend(many.iter().map(|(number, session)| (*number, session)));
            }
        }
    }
}

impl Trie {
    /// Whether the subscription is new.
    pub(crate) fn insert(&mut self, pattern: &Pattern, session: &Arc<Session>) -> bool {
        let node = pattern.prefix_segments().fold(self, Self::child);
        node.subscribers(pattern.tail()).insert(session)
    }

    /// Whether there was such a subscription. Nodes that nobody needs any more go with it.
    pub(crate) fn remove(&mut self, pattern: &Pattern, session: u64) -> bool {
        let segments: Vec<&str> = pattern.prefix_segments().collect();
        self.remove_below(&segments, pattern.tail(), session)
    }

    /// Everyone with a matching subscription, once each, in the order of their numbers.
    pub(crate) fn matching(&self, channel: &ChannelName) -> Arc<[Arc<Session>]> {
        let mut found = Vec::new();
        let mut node = Some(self);
        let mut segments = channel.segments().peekable();
        // Patterns that begin with a wildcard are for broadcast channels only.
        let mut wild = channel.kind() == ChannelKind::Broadcast;
        while let (Some(here), Some(segment)) = (node, segments.next()) {
            if std::mem::replace(&mut wild, true) {
                here.deep.add_to(&mut found);
                if segments.peek().is_none() {
                    here.one.add_to(&mut found);
                }
            }
            node = here
                .children
                .as_ref()
                .and_then(|children| children.get(segment));
        }
        if let Some(last) = node {
            last.exact.add_to(&mut found);
        }
        found.sort_unstable_by_key(|(number, _)| *number);
        found.dedup_by_key(|(number, _)| *number);
        found
            .into_iter()
            .map(|(_, session)| Arc::clone(session))
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_none()
            && self.exact.is_empty()
            && self.one.is_empty()
            && self.deep.is_empty()
    }

    fn child(&mut self, segment: &str) -> &mut Self {
        let children = self.children.get_or_insert_default();
        if !children.contains_key(segment) {
            children.insert(segment.into(), Self::default());
        }
        children.get_mut(segment).expect("it was inserted above")
    }

    fn subscribers(&mut self, tail: Tail) -> &mut Subscribers {
        match tail {
            Tail::Exact => &mut self.exact,
            Tail::One => &mut self.one,
            Tail::Deep => &mut self.deep,
        }
    }

    fn remove_below(&mut self, segments: &[&str], tail: Tail, session: u64) -> bool {
        let Some((first, rest)) = segments.split_first() else {
            return self.subscribers(tail).remove(session);
        };
        let Some(children) = &mut self.children else {
            return false;
        };
        let Some(child) = children.get_mut(*first) else {
            return false;
        };
        let removed = child.remove_below(rest, tail, session);
        if child.is_empty() {
            children.remove(*first);
            shrink(children);
            if children.is_empty() {
                self.children = None;
            }
        }
        removed
    }
}
