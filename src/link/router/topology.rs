//! Which nodes can be reached, and over which neighbour.
//!
//! Two nodes are linked if both say so: when one end of a link is dead, the other's word is enough
//! to stop using it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::Router;
use super::timers::Timer;
use crate::link::wire::State;
use crate::link::{Event, NodeId};

/// What is known of another node.
pub(super) struct NodeEntry {
    pub(super) seq: u64,
    pub(super) name: Arc<str>,
    pub(super) peers: BTreeSet<NodeId>,
    /// What it exports, and whether it shares the name.
    pub(super) aliases: BTreeMap<Arc<str>, bool>,
    pub(super) reachable: bool,
}

impl NodeEntry {
    /// About as many bytes as it takes here and in a frame.
    pub(super) fn size(&self) -> usize {
        let aliases = self.aliases.keys().map(|alias| size_of_alias(alias));
        self.name.len() + self.peers.len() * SIZE_OF_PEER + aliases.sum::<usize>()
    }
}

/// The most that may be known of one node, in bytes. Every node takes frames of 1 MiB.
const MAX_NODE: usize = (1 << 20) - 1024;

/// More bytes than a state has around names, aliases and links.
const STATE_FRAME: usize = 256;

/// What a link counts for in the size of a node: its id as JSON.
pub(super) const SIZE_OF_PEER: usize = 35;

pub(super) fn size_of_alias(alias: &str) -> usize {
    // With quotes, colon, `false` and a comma.
    alias.len() + 9
}

impl Router {
    /// Whether so much may be known of a node: no more than every node takes in one frame, and of
    /// all together no more than the limit.
    pub(super) fn has_room_for(&self, node: NodeId, size: usize) -> bool {
        let before = self.nodes.get(&node).map_or(0, NodeEntry::size);
        let known = self.known.saturating_sub(before) + size;
        size < MAX_NODE && known <= self.limits.max_known
    }

    /// More bytes than frames with all that is known of other nodes have.
    pub(super) fn length_of_known(&self) -> usize {
        self.known + self.nodes.len() * STATE_FRAME
    }

    /// Remembers what is known of a node now.
    pub(super) fn keep(&mut self, node: NodeId, entry: NodeEntry) {
        self.known += entry.size();
        if let Some(before) = self.nodes.insert(node, entry) {
            self.known = self.known.saturating_sub(before.size());
        }
    }

    /// A node that is heard of and cannot be reached is not remembered for ever either.
    pub(super) fn doubt(&mut self, node: NodeId) {
        if !self.is_reachable(node) {
            let at = self.now + self.limits.forget_after;
            self.timers.start(Timer::Forget(node), at);
        }
    }

    /// Works out anew who can be reached. Returns those that could not be before, nearest first.
    pub(super) fn recompute(&mut self) -> Vec<NodeId> {
        let (near, ways) = self.explore();
        let changed: Vec<NodeId> = near
            .iter()
            .filter(|node| self.ways.get(*node) != ways.get(*node))
            .copied()
            .collect();
        let gone: Vec<NodeId> = self
            .near
            .iter()
            .filter(|node| !ways.contains_key(*node))
            .copied()
            .collect();
        self.near = near;
        self.ways = ways;
        for node in gone {
            self.node_down(node);
        }
        let mut risen = Vec::new();
        for node in changed {
            if self.nodes.get(&node).is_some_and(|entry| entry.reachable) {
                self.probe_streams_to(node);
            } else {
                self.node_up(node);
                risen.push(node);
            }
        }
        risen
    }

    /// Breadth first from this node, over links that both ends know of.
    fn explore(&self) -> (Vec<NodeId>, HashMap<NodeId, NodeId>) {
        let mut near = Vec::new();
        let mut ways = HashMap::new();
        let mut seen = HashSet::from([self.me]);
        for peer in self.peers.keys() {
            let mutual = |entry: &NodeEntry| entry.peers.contains(&self.me);
            if self.nodes.get(peer).is_some_and(mutual) && seen.insert(*peer) {
                near.push(*peer);
                ways.insert(*peer, *peer);
            }
        }
        let mut next = 0;
        while let Some(&at) = near.get(next) {
            next += 1;
            let Some(entry) = self.nodes.get(&at) else {
                continue;
            };
            for peer in &entry.peers {
                let mutual = |entry: &NodeEntry| entry.peers.contains(&at);
                if self.nodes.get(peer).is_some_and(mutual) && seen.insert(*peer) {
                    near.push(*peer);
                    ways.insert(*peer, ways[&at]);
                }
            }
        }
        (near, ways)
    }

    fn node_up(&mut self, node: NodeId) {
        let Some(entry) = self.nodes.get_mut(&node) else {
            return;
        };
        entry.reachable = true;
        let name = Arc::clone(&entry.name);
        let aliases: Vec<Arc<str>> = entry.aliases.keys().cloned().collect();
        self.timers.cancel(Timer::Forget(node));
        self.tell(|| Event::NodeUp { node, name });
        self.probe_streams_to(node);
        for alias in aliases {
            self.add_owner(&alias, node);
        }
        self.effects.changed = true;
    }

    fn node_down(&mut self, node: NodeId) {
        let Some(entry) = self.nodes.get_mut(&node) else {
            return;
        };
        entry.reachable = false;
        let name = Arc::clone(&entry.name);
        let aliases: Vec<Arc<str>> = entry.aliases.keys().cloned().collect();
        self.timers
            .set(Timer::Forget(node), self.now + self.limits.forget_after);
        for alias in aliases {
            self.remove_owner(&alias, node);
        }
        self.fail_calls_to(node);
        self.suspend_streams_to(node);
        self.tell(|| Event::NodeDown { node, name });
        self.effects.changed = true;
    }

    /// A node that has been away for long is not waited for.
    pub(super) fn forget(&mut self, node: NodeId) {
        if self.nodes.get(&node).is_some_and(|entry| entry.reachable) {
            return;
        }
        if let Some(entry) = self.nodes.remove(&node) {
            self.known = self.known.saturating_sub(entry.size());
        }
        self.inbound.retain(|(from, _), _| *from != node);
        let streams: Vec<_> = self
            .outbound
            .keys()
            .filter(|(to, _)| *to == node)
            .cloned()
            .collect();
        for key in streams {
            self.give_up(&key);
        }
    }

    /// What is known of a node, to be told to others.
    pub(super) fn describe(&self, node: NodeId) -> Option<State> {
        let hops = self.limits.max_hops;
        if node == self.me {
            let active = self.exports.iter().filter(|(_, export)| export.active);
            return Some(State {
                origin: node,
                seq: self.seq,
                hops,
                name: self.name.as_ref().into(),
                peers: self.peers.keys().copied().collect(),
                aliases: active
                    .map(|(a, export)| (a.to_string(), export.shared))
                    .collect(),
            });
        }
        let entry = self.nodes.get(&node).filter(|entry| entry.reachable)?;
        Some(State {
            origin: node,
            seq: entry.seq,
            hops,
            name: entry.name.as_ref().into(),
            peers: entry.peers.clone(),
            aliases: entry
                .aliases
                .iter()
                .map(|(a, shared)| (a.to_string(), *shared))
                .collect(),
        })
    }

    pub(super) fn is_reachable(&self, node: NodeId) -> bool {
        self.ways.contains_key(&node)
    }

    pub(crate) fn name_of(&self, node: NodeId) -> Arc<str> {
        if node == self.me {
            return Arc::clone(&self.name);
        }
        let entry = self.nodes.get(&node);
        entry.map_or_else(|| "".into(), |entry| Arc::clone(&entry.name))
    }

    /// All nodes that can be reached, with their names, nearest first.
    pub(crate) fn reachable(&self) -> Vec<(NodeId, Arc<str>)> {
        self.near
            .iter()
            .map(|node| (*node, self.name_of(*node)))
            .collect()
    }
}
