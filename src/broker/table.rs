//! The subscription table: who gets what is published on a channel.
//!
//! A map from patterns to their subscribers, behind one mutex: a channel has few more patterns that
//! match it than it has segments, since wildcards stand only at the end. The lists of receivers
//! that publishes ask for are cached per channel until a matching subscription changes, so a
//! publish costs one look-up; a list is built in depth + receivers, however many other
//! subscriptions there are. The cache is in shards, so that threads that publish on different
//! channels do not meet.
//!
//! What strangers' subscriptions take is counted in bytes, with a bound for all and one for each
//! owner. A pattern's text exists once, and counts as one subscriber's.
//!
//! A shard is locked before the map, and kept locked while a list for it is built: so a list that
//! a change of the map makes wrong is in the cache before the change looks for it there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::session::Session;
#[cfg(feature = "cli")]
use super::stripes::STRIPES;
use super::stripes::Stripes;
use super::subscribers::{Left, Subscribers};
use crate::protocol::{ChannelName, Pattern, Tail, for_each_match};
use crate::util::{Exhausted, Owner, Shares, shrink};

/// Receivers of a channel, each once, in the order of their sessions.
pub(crate) type Receivers = Arc<[Arc<Session>]>;

pub(crate) struct Table {
    patterns: Mutex<Patterns>,
    subscriptions: AtomicUsize,
    /// What they take, in this table and in the sessions.
    bytes: Shares<Owner>,
    shards: Stripes<Mutex<Cache>>,
}

/// Everybody's subscriptions, by pattern.
#[derive(Default)]
struct Patterns(HashMap<Pattern, Subscribers>);

#[derive(Default)]
struct Cache {
    lists: HashMap<ChannelName, Receivers>,
    /// What all of it takes.
    bytes: usize,
}

/// Lists that are no longer right. They may be long, so they are dropped without the lock.
type Outdated = Vec<Receivers>;

impl Table {
    /// `bound` is for the bytes of all subscriptions together, `share` for those of one owner.
    pub(crate) fn new(bound: usize, share: usize) -> Self {
        Self {
            patterns: Mutex::default(),
            subscriptions: AtomicUsize::new(0),
            bytes: Shares::new(bound, share),
            shards: Stripes::default(),
        }
    }

    /// Makes room for new subscriptions of the session, as if nobody else had those patterns.
    pub(crate) fn make_room(
        &self,
        patterns: &[&Pattern],
        session: &Session,
    ) -> Result<(), Exhausted> {
        let bytes = patterns.iter().map(|text| SUBSCRIPTION + cost(text)).sum();
        let owner = session.owner();
        owner.map_or(Ok(()), |owner| self.bytes.take(owner, bytes))
    }

    /// If the subscription is new, returns the pattern as the table has it, to be kept by the
    /// session: so its text exists once. The room that was made and is not needed is given back.
    pub(crate) fn insert(&self, pattern: &Pattern, session: &Arc<Session>) -> Option<Pattern> {
        let inserted = self.patterns.lock().insert(pattern, session);
        let spared = match inserted {
            Some((_, true)) => 0,
            Some((_, false)) => cost(pattern),
            None => SUBSCRIPTION + cost(pattern),
        };
        self.give_back(session.owner(), spared);
        let (kept, _) = inserted?;
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
        self.forget(pattern);
        Some(kept)
    }

    /// Returns whether there was such a subscription.
    pub(crate) fn remove(&self, pattern: &Pattern, session: &Session) -> bool {
        let mut patterns = self.patterns.lock();
        let owner = session.owner();
        match patterns.remove(pattern, session) {
            Left::All => return false,
            Left::Nobody => self.give_back(owner, SUBSCRIPTION + cost(pattern)),
            Left::Others(moved) => {
                self.give_back(owner, SUBSCRIPTION);
                if let Some([from, to]) = moved {
                    if let Some(heir) = to {
                        self.bytes.take_anyway(heir, cost(pattern));
                    }
                    self.give_back(from, cost(pattern));
                }
            }
        }
        drop(patterns);
        self.subscriptions.fetch_sub(1, Ordering::Relaxed);
        self.forget(pattern);
        true
    }

    /// Nothing is of those who are no strangers.
    fn give_back(&self, owner: Option<Owner>, bytes: usize) {
        if let Some(owner) = owner {
            self.bytes.give_back(owner, bytes);
        }
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

    /// What the subscriptions of strangers take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.taken()
    }

    /// What the remembered lists of receivers take.
    pub(crate) fn cache_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes).sum()
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
    /// The pattern as it is here, and whether nobody had it before.
    fn insert(&mut self, pattern: &Pattern, session: &Arc<Session>) -> Option<(Pattern, bool)> {
        match self.0.entry(pattern.clone()) {
            Entry::Vacant(entry) => {
                let kept = entry.key().clone();
                entry.insert(Subscribers::One(Arc::clone(session)));
                Some((kept, true))
            }
            Entry::Occupied(mut entry) => {
                let new = entry.get_mut().insert(session);
                new.then(|| (entry.key().clone(), false))
            }
        }
    }

    fn remove(&mut self, pattern: &Pattern, session: &Session) -> Left {
        let Some(subscribers) = self.0.get_mut(pattern) else {
            return Left::All;
        };
        let left = subscribers.remove(session);
        if left == Left::Nobody {
            self.0.remove(pattern);
            shrink(&mut self.0);
        }
        left
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
        let bytes = weight(channel.as_str(), list);
        let full = self.lists.len() >= CHANNELS || self.bytes + bytes > CACHE_BYTES;
        let outdated = if full { self.clear() } else { Outdated::new() };
        self.bytes += bytes;
        self.lists.insert(channel.clone(), Arc::clone(list));
        outdated
    }

    fn remove(&mut self, channel: &str) -> Option<Receivers> {
        let list = self.lists.remove(channel)?;
        self.bytes -= weight(channel, &list);
        Some(list)
    }

    fn remove_matching(&mut self, pattern: &Pattern) -> Outdated {
        if self.lists.len() > SEARCHED {
            return self.clear();
        }
        let mut outdated = Outdated::new();
        self.lists.retain(|name, list| {
            let matching = pattern.matches(name);
            if matching {
                self.bytes -= weight(name.as_str(), list);
                outdated.push(Arc::clone(list));
            }
            !matching
        });
        outdated
    }

    fn clear(&mut self) -> Outdated {
        self.bytes = 0;
        self.lists.drain().map(|(_, list)| list).collect()
    }
}

/// What a remembered list takes: a pointer for each receiver, the channel's text, its place.
fn weight(channel: &str, list: &Receivers) -> usize {
    size_of_val(&**list) + channel.len() + PATTERN + 2 * size_of::<usize>()
}

/// What a pattern takes besides its subscribers: its text, and what is around it.
fn cost(pattern: &Pattern) -> usize {
    PATTERN + pattern.as_str().len()
}

/// Bytes, as maps of the usual density take them: of a pattern's place in the table and the head
/// of its text; of a subscription's in the table and in its session. See `benches/memory.rs`.
const PATTERN: usize = 48;
const SUBSCRIPTION: usize = 80;

/// Most channels whose receivers are remembered in one shard; 4096 in all.
const CHANNELS: usize = 256;
/// Most that the remembered lists of a shard take together. A longer list is alone there.
const CACHE_BYTES: usize = 1 << 20;
/// Most that all remembered lists take together: 16 MiB.
#[cfg(feature = "cli")]
pub(crate) const MOST_CACHED: usize = CACHE_BYTES * STRIPES;
/// Among so many channels those that match a pattern are looked for; among more, all are forgotten.
const SEARCHED: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::broker::session::{Identity, SessionSettings};
    use crate::protocol::LocalId;

    /// Of one of three addresses.
    fn session(number: u64) -> Arc<Session> {
        let settings = SessionSettings {
            address: Some([10, 0, 0, (number % 3) as u8].into()),
            ..SessionSettings::default()
        };
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

    /// What they take: each text once.
    fn bytes_of(model: &[(&str, u64)]) -> usize {
        let texts: BTreeSet<&str> = model.iter().map(|(text, _)| *text).collect();
        let texts = texts.iter().map(|text| PATTERN + text.len());
        model.len() * SUBSCRIPTION + texts.sum::<usize>()
    }

    /// The table against a list of subscriptions, with and without the cache.
    #[test]
    fn agrees_with_a_list_of_all_subscriptions() {
        let (channels, patterns) = space();
        let sessions: Vec<Arc<Session>> = (0..12).map(session).collect();
        let table = Table::new(usize::MAX, usize::MAX);
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
                let wanted = pattern(text);
                assert_eq!(table.make_room(&[&wanted], session), Ok(()));
                let kept = table.insert(&wanted, session);
                assert_eq!(kept.is_some(), known.is_none());
                if known.is_none() {
                    model.push(subscription);
                }
            } else {
                let removed = table.remove(&pattern(text), session);
                assert_eq!(removed, known.is_some());
                known.map(|at| model.swap_remove(at));
            }
            assert_eq!(table.len(), model.len());
            assert_eq!(table.bytes(), bytes_of(&model), "step {step}");
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
            assert!(table.remove(&pattern(text), &sessions[number as usize]));
        }
        assert_eq!(table.bytes(), 0);
        assert!(
            table.patterns.lock().0.is_empty(),
            "no pattern is left behind"
        );
        for shard in table.shards.iter() {
            assert_eq!(shard.lock().bytes, 0);
        }
    }

    #[test]
    fn a_text_counts_as_the_one_who_is_left() {
        let text = pattern("/a/b");
        let each = SUBSCRIPTION + cost(&text);
        let table = Table::new(3 * each, each);
        let sessions = [session(0), session(1), session(2)];
        for session in &sessions {
            assert_eq!(table.make_room(&[&text], session), Ok(()));
            assert!(table.insert(&text, session).is_some());
        }
        assert_eq!(table.bytes(), 3 * SUBSCRIPTION + cost(&text));
        for session in &sessions[..2] {
            assert!(table.remove(&text, session));
        }
        assert_eq!(table.bytes(), each);
        let makes_room = |n: usize| table.make_room(&[&pattern("/c/d")], &sessions[n]);
        assert_eq!(makes_room(2), Err(Exhausted::Share));
        assert_eq!([makes_room(0), makes_room(1)], [Ok(()), Ok(())]);
    }
}
