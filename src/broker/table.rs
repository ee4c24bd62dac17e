//! The subscription table: who gets what is published on a channel.
//!
//! A map from patterns to their subscribers, behind one mutex: a channel has few more patterns that
//! match it than it has segments, since wildcards stand only at the end. The lists of receivers
//! that publishes ask for are cached per channel until a matching subscription changes, so a
//! publish costs one look-up; a list is built in depth + receivers, however many other
//! subscriptions there are. The cache is in shards, so that threads that publish on different
//! channels do not meet.
//!
//! A shard is locked before the map, and kept locked while a list for it is built: so a list that
//! a change of the map makes wrong is in the cache before the change looks for it there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::session::Session;
use super::stripes::Stripes;
use super::subscribers::{Left, Subscribers};
use crate::protocol::{ChannelName, Pattern, Tail, for_each_match};
use crate::util::shrink;

/// Receivers of a channel, each once, in the order of their sessions.
pub(crate) type Receivers = Arc<[Arc<Session>]>;

#[derive(Default)]
pub(crate) struct Table {
    patterns: Mutex<Patterns>,
    subscriptions: AtomicUsize,
    shards: Stripes<Mutex<Cache>>,
}

/// Everybody's subscriptions, by pattern.
#[derive(Default)]
struct Patterns(HashMap<Pattern, Subscribers>);

#[derive(Default)]
struct Cache {
    lists: HashMap<ChannelName, Receivers>,
    /// Receivers in all lists together.
    receivers: usize,
}

/// Lists that are no longer right. They may be long, so they are dropped without the lock.
type Outdated = Vec<Receivers>;

impl Table {
    /// If the subscription is new, returns the pattern as the table has it, to be kept by the
    /// session: so its text exists once.
    pub(crate) fn insert(&self, pattern: &Pattern, session: &Arc<Session>) -> Option<Pattern> {
        let kept = self.patterns.lock().insert(pattern, session)?;
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
        self.forget(pattern);
        Some(kept)
    }

    /// Returns whether there was such a subscription.
    pub(crate) fn remove(&self, pattern: &Pattern, session: u64) -> bool {
        let removed = self.patterns.lock().remove(pattern, session);
        if removed {
            self.subscriptions.fetch_sub(1, Ordering::Relaxed);
            self.forget(pattern);
        }
        removed
    }

    /// Everyone who gets what is published on the channel.
    pub(crate) fn receivers(&self, channel: &ChannelName) -> Receivers {
        let mut cache = self.shard(channel.as_str()).lock();
        if let Some(list) = cache.lists.get(channel) {
            return Arc::clone(list);
        }
        let list = self.patterns.lock().matching(channel);
        let outdated = cache.remember(channel, &list);
        drop(cache);
        drop(outdated);
        list
    }

    /// Subscriptions of all sessions together.
    pub(crate) fn len(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }

    /// Forgets the lists that a change of this pattern has made wrong.
    fn forget(&self, pattern: &Pattern) {
        if pattern.tail() == Tail::Exact {
            let outdated = self.shard(pattern.as_str()).lock().remove(pattern.as_str());
            return drop(outdated);
        }
        for shard in self.shards.iter() {
            let outdated = shard.lock().remove_matching(pattern);
            drop(outdated);
        }
    }

    /// The cache for a channel. Names mostly differ at their ends.
    fn shard(&self, channel: &str) -> &Mutex<Cache> {
        let last = channel.bytes().rev().take(8);
        let sum = last.fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31) + usize::from(byte)
        });
        self.shards.at(sum)
    }
}

impl Patterns {
    fn insert(&mut self, pattern: &Pattern, session: &Arc<Session>) -> Option<Pattern> {
        match self.0.entry(pattern.clone()) {
            Entry::Vacant(entry) => {
                let kept = entry.key().clone();
                entry.insert(Subscribers::One(Arc::clone(session)));
                Some(kept)
            }
            Entry::Occupied(mut entry) => {
                let new = entry.get_mut().insert(session);
                new.then(|| entry.key().clone())
            }
        }
    }

    fn remove(&mut self, pattern: &Pattern, session: u64) -> bool {
        let Some(subscribers) = self.0.get_mut(pattern) else {
            return false;
        };
        match subscribers.remove(session) {
            Left::All => false,
            Left::Others => true,
            Left::Nobody => {
                self.0.remove(pattern);
                shrink(&mut self.0);
                true
            }
        }
    }

    /// Everyone with a matching subscription, once each, in the order of their numbers.
    fn matching(&self, channel: &ChannelName) -> Receivers {
        let mut found = Vec::new();
        for_each_match(channel, |pattern| {
            if let Some(subscribers) = self.0.get(pattern) {
                subscribers.add_to(&mut found);
            }
        });
        found.sort_unstable_by_key(|(number, _)| *number);
        found.dedup_by_key(|(number, _)| *number);
        let receivers = found.into_iter().map(|(_, session)| Arc::clone(session));
        receivers.collect()
    }
}

impl Cache {
    fn remember(&mut self, channel: &ChannelName, list: &Receivers) -> Outdated {
        let full = self.lists.len() >= CHANNELS || self.receivers + list.len() > RECEIVERS;
        let outdated = if full { self.clear() } else { Outdated::new() };
        self.receivers += list.len();
        self.lists.insert(channel.clone(), Arc::clone(list));
        outdated
    }

    fn remove(&mut self, channel: &str) -> Option<Receivers> {
        let list = self.lists.remove(channel)?;
        self.receivers -= list.len();
        Some(list)
    }

    fn remove_matching(&mut self, pattern: &Pattern) -> Outdated {
        if self.lists.len() > SEARCHED {
            return self.clear();
        }
        let mut outdated = Outdated::new();
        self.lists.retain(|name, list| {
            let matching = pattern.matches(name);
            outdated.extend(matching.then(|| Arc::clone(list)));
            !matching
        });
        self.receivers -= outdated.iter().map(|list| list.len()).sum::<usize>();
        outdated
    }

    fn clear(&mut self) -> Outdated {
        self.receivers = 0;
        self.lists.drain().map(|(_, list)| list).collect()
    }
}

/// Most channels whose receivers are remembered in one shard; 4096 in all.
const CHANNELS: usize = 256;
/// Most receivers in all remembered lists of a shard together: 1 MiB of pointers. A longer list is
/// alone there.
const RECEIVERS: usize = 1 << 17;
/// Among so many channels those that match a pattern are looked for; among more, all are forgotten.
const SEARCHED: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::session::{Identity, SessionSettings};
    use crate::protocol::LocalId;

    fn session(number: u64) -> Arc<Session> {
        let settings = SessionSettings::default();
        let identity = Identity::Local(LocalId(number));
        Arc::new(Session::new(number, identity, &settings))
    }

    fn name(text: &str) -> ChannelName {
        ChannelName::try_from(text).unwrap()
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text).unwrap()
    }

    fn numbers(table: &Table, channel: &str) -> Vec<u64> {
        let receivers = table.receivers(&name(channel));
        receivers.iter().map(|session| session.number()).collect()
    }

    /// All channels of up to three of these segments, and all patterns made of them.
    fn space() -> (Vec<String>, Vec<String>) {
        let mut channels = vec![String::new()];
        let mut from = 0;
        for _ in 0..3 {
            let longer = channels[from..].iter();
            let longer = longer.flat_map(|base| ["a", "b", "meta"].map(|s| format!("{base}/{s}")));
            let longer: Vec<String> = longer.collect();
            from = channels.len();
            channels.extend(longer);
        }
        let wild = |base: &String| [format!("{base}/*"), format!("{base}/**")];
        let mut patterns: Vec<String> = channels.iter().flat_map(wild).collect();
        channels.remove(0);
        patterns.extend(channels.iter().cloned());
        (channels, patterns)
    }

    /// The table against a list of subscriptions, with and without the cache.
    #[test]
    fn agrees_with_a_list_of_all_subscriptions() {
        let (channels, patterns) = space();
        let sessions: Vec<Arc<Session>> = (0..12).map(session).collect();
        let table = Table::default();
        let mut model: Vec<(&str, u64)> = Vec::new();
        let mut random: u64 = 1;
        let mut below = |bound: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as usize % bound
        };
        for step in 0..2000 {
            let text = &patterns[below(patterns.len())];
            let session = &sessions[below(sessions.len())];
            let subscription = (text.as_str(), session.number());
            let known = model.iter().position(|known| *known == subscription);
            // It grows, and shrinks to nothing in the end.
            if below(2000) > step {
                let kept = table.insert(&pattern(text), session);
                assert_eq!(kept.is_some(), known.is_none());
                if known.is_none() {
                    model.push(subscription);
                }
            } else {
                let removed = table.remove(&pattern(text), session.number());
                assert_eq!(removed, known.is_some());
                known.map(|at| model.swap_remove(at));
            }
            assert_eq!(table.len(), model.len());
            for _ in 0..4 {
                let channel = &channels[below(channels.len())];
                let subscribed = model
                    .iter()
                    .filter(|(text, _)| pattern(text).matches(&name(channel)));
                let mut expected: Vec<u64> = subscribed.map(|(_, number)| *number).collect();
                expected.sort_unstable();
                expected.dedup();
                assert_eq!(numbers(&table, channel), expected, "{channel}");
            }
        }
        for (text, number) in model {
            assert!(table.remove(&pattern(text), number));
        }
        assert!(
            table.patterns.lock().0.is_empty(),
            "no pattern is left behind"
        );
        for shard in table.shards.iter() {
            assert_eq!(shard.lock().receivers, 0);
        }
    }
}
