//! The subscription table: who gets what is published on a channel.
//!
//! A trie by channel segment behind one mutex. The lists of receivers that publishes ask for are
//! cached per channel until a matching subscription changes, so the lock is held for one look-up;
//! a list is built in depth + receivers, however many other subscriptions there are.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::session::Session;
use super::trie::Trie;
use crate::protocol::{ChannelName, Pattern, Tail};

/// Receivers of a channel, each once, in the order of their sessions.
pub(crate) type Receivers = Arc<[Arc<Session>]>;

#[derive(Default)]
pub(crate) struct Table {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    root: Trie,
    subscriptions: usize,
    cache: HashMap<ChannelName, Receivers>,
    /// Receivers in all cached lists together.
    cached: usize,
}

/// Lists that are no longer right. They may be long, so they are dropped without the lock.
type Outdated = Vec<Receivers>;

impl Table {
    /// Returns whether the subscription is new.
    pub(crate) fn insert(&self, pattern: &Pattern, session: &Arc<Session>) -> bool {
        let mut state = self.state.lock();
        let new = state.root.insert(pattern, session);
        if new {
            state.subscriptions += 1;
            let outdated = state.forget(pattern);
            drop(state);
            drop(outdated);
        }
        new
    }

    /// Returns whether there was such a subscription.
    pub(crate) fn remove(&self, pattern: &Pattern, session: u64) -> bool {
        let mut state = self.state.lock();
        let removed = state.root.remove(pattern, session);
        if removed {
            state.subscriptions -= 1;
            let outdated = state.forget(pattern);
            drop(state);
            drop(outdated);
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
        let outdated = state.remember(channel, &list);
        drop(state);
        drop(outdated);
        list
    }

    /// Subscriptions of all sessions together.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().subscriptions
    }
}

impl State {
    fn remember(&mut self, channel: &ChannelName, list: &Receivers) -> Outdated {
        let full =
            self.cache.len() >= CACHED_CHANNELS || self.cached + list.len() > CACHED_RECEIVERS;
        let outdated = if full {
            self.forget_all()
        } else {
            Outdated::new()
        };
        self.cached += list.len();
        self.cache.insert(channel.clone(), Arc::clone(list));
        outdated
    }

    /// Forgets the lists that a change of this pattern makes wrong.
    fn forget(&mut self, pattern: &Pattern) -> Outdated {
        let mut outdated = Outdated::new();
        if pattern.tail() == Tail::Exact {
            outdated.extend(self.cache.remove(pattern.as_str()));
        } else if self.cache.len() > SEARCHED {
            return self.forget_all();
        } else {
            self.cache.retain(|name, list| {
                let matching = pattern.matches(name);
                outdated.extend(matching.then(|| Arc::clone(list)));
                !matching
            });
        }
        self.cached -= outdated.iter().map(|list| list.len()).sum::<usize>();
        outdated
    }

    fn forget_all(&mut self) -> Outdated {
        self.cached = 0;
        self.cache.drain().map(|(_, list)| list).collect()
    }
}

/// Most channels whose receivers are remembered.
const CACHED_CHANNELS: usize = 4096;
/// Most receivers in all remembered lists together: 16 MiB of pointers.
const CACHED_RECEIVERS: usize = 1 << 21;
/// Among so many channels those that match a pattern are looked for; among more, all are forgotten.
const SEARCHED: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::session::{Identity, SessionSettings};
    use crate::protocol::{LocalId, expand};

    fn session(number: u64) -> Arc<Session> {
        let settings = SessionSettings {
            browser: None,
            filtered: false,
            deliver_only: false,
        };
        let identity = Identity::Local(LocalId(number));
        Arc::new(Session::new(number, identity, &settings, None))
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

    /// The trie against the list of all patterns that match a name, with and without the cache.
    #[test]
    fn agrees_with_the_expansion_of_names() {
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
                assert_eq!(table.insert(&pattern(text), session), known.is_none());
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
                let matching = expand(&name(channel));
                let subscribed = model
                    .iter()
                    .filter(|(text, _)| matching.iter().any(|pattern| pattern == text));
                let mut expected: Vec<u64> = subscribed.map(|(_, number)| *number).collect();
                expected.sort_unstable();
                expected.dedup();
                assert_eq!(numbers(&table, channel), expected, "{channel}");
            }
        }
        for (text, number) in model {
            assert!(table.remove(&pattern(text), number));
        }
        let state = table.state.lock();
        assert!(state.root.is_empty(), "no node is left behind");
        assert_eq!(state.subscriptions, 0);
        assert_eq!(state.cached, 0);
    }
}
