//! Which nodes there are, what is known of them, and over which neighbour they can be reached.
//!
//! Two nodes are linked if both say so: when one end of a link is dead, the other's word is enough
//! to stop using it. How news spread is told in [the module](super).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::Router;
use super::timers::Timer;
use crate::link::error::LinkEnd;
use crate::link::wire::{Claim, Frame, News};
use crate::link::{Event, LinkId, NodeId, names};

/// What is known of a node.
#[derive(Default)]
pub(super) struct KnownNode {
    pub(super) seq: u64,
    pub(super) name: Arc<str>,
    pub(super) peers: BTreeSet<NodeId>,
    pub(super) aliases: BTreeMap<Arc<str>, Claim>,
    pub(super) reachable: bool,
}

impl KnownNode {
    /// About as many bytes as it takes here and in a frame.
    pub(super) fn size(&self) -> usize {
        let aliases = self.aliases.keys().map(|alias| size_of_alias(alias));
        self.name.len() + self.peers.len() * SIZE_OF_PEER + aliases.sum::<usize>()
    }

    /// Takes in what is new. Returns the aliases whose export has begun, changed or ended.
    pub(super) fn apply(&mut self, news: &News) -> Vec<(Arc<str>, Option<Claim>)> {
        self.seq = news.seq;
        let told = news.aliases.iter();
        let mut changes: Vec<_> = told
            .map(|(alias, claim)| (alias.as_str().into(), *claim))
            .collect();
        if let Some(name) = &news.name {
            self.name = name.as_str().into();
            self.peers.clear();
            let untold = self
                .aliases
                .keys()
                .filter(|alias| !news.aliases.contains_key(&***alias));
            changes.extend(untold.map(|alias| (Arc::clone(alias), None)));
        }
        self.peers.extend(&news.peers);
        self.peers.retain(|peer| !news.lost.contains(peer));
        changes.retain(|(alias, claim)| self.aliases.get(alias) != claim.as_ref());
        for (alias, claim) in &changes {
            match claim {
                Some(claim) => self.aliases.insert(Arc::clone(alias), *claim),
                None => self.aliases.remove(alias),
            };
        }
        changes
    }

    /// All of it, to be told to others.
    fn news(&self, origin: NodeId) -> News {
        let aliases = self.aliases.iter();
        News {
            origin,
            seq: self.seq,
            name: Some(self.name.to_string()),
            peers: self.peers.clone(),
            lost: BTreeSet::new(),
            aliases: aliases
                .map(|(alias, claim)| (alias.to_string(), Some(*claim)))
                .collect(),
        }
    }
}

/// The most that may be known of one node, in bytes. Every node takes frames of 1 MiB.
const MAX_NODE: usize = (1 << 20) - 1024;
/// More bytes than news have around names, aliases and links.
const NEWS_FRAME: usize = 256;
/// What a link counts for in the size of a node: its id as JSON.
const SIZE_OF_PEER: usize = 35;

fn size_of_alias(alias: &str) -> usize {
    let escaped = alias
        .bytes()
        .filter(|byte| matches!(byte, b'"' | b'\\'))
        .count();
    // With quotes, colon, `"shared"` and a comma.
    alias.len() + escaped + 12
}

/// What nodes tell each other of themselves.
impl Router {
    /// This node's own links or exports have changed: tells all neighbours.
    pub(super) fn announce(&mut self, fill: impl FnOnce(&mut News)) {
        let mut news = News {
            origin: self.me,
            seq: self.own.seq + 1,
            name: None,
            peers: BTreeSet::new(),
            lost: BTreeSet::new(),
            aliases: BTreeMap::new(),
        };
        fill(&mut news);
        self.own.apply(&news);
        self.send_to_all(&Frame::News(news), |_| true);
    }

    /// Tells a new neighbour all there is to know: this node first, then the others by distance, so
    /// that each can be reached when it is heard of.
    pub(super) fn send_snapshot(&mut self, link: LinkId) {
        let peer = self.peer_of(link);
        let others = self
            .nearest
            .iter()
            .copied()
            .filter(|node| Some(*node) != peer);
        let nodes: Vec<NodeId> = std::iter::once(self.me).chain(others).collect();
        for node in nodes {
            self.send_known(link, node);
        }
    }

    /// Tells a neighbour all that is known of a node, if it can be reached.
    pub(super) fn send_known(&mut self, link: LinkId, node: NodeId) {
        if let Some(known) = self.known(node).filter(|known| known.reachable) {
            let news = known.news(node);
            self.send(link, &Frame::News(news));
        }
    }

    /// News have come. Changes that do not follow what is known make the whole be asked for.
    pub(super) fn news(&mut self, link: LinkId, mut news: News) -> Result<(), LinkEnd> {
        let origin = news.origin;
        for name in news.aliases.keys().chain(&news.name) {
            names::check(name).map_err(LinkEnd::protocol)?;
        }
        if !self.is_new(link, &news)? {
            return Ok(());
        }
        let neighbour = self.links.get(&link).map(|entry| &entry.peer);
        let neighbour = neighbour.filter(|peer| peer.id == origin);
        let known = self.nodes.get(&origin);
        if let Some(name) = &news.name {
            if neighbour.is_some_and(|peer| peer.name != *name) {
                // What it has proved is the name in its hello.
                return Err(LinkEnd::Protocol("another name than in the hello".into()));
            }
            // Neighbours are bounded as links are; what others tell of must not keep them out.
            let is_unknown = neighbour.is_none() && known.is_none();
            if is_unknown && self.nodes.len() >= self.limits.max_nodes {
                self.stats.frames_dropped += 1;
                return Ok(());
            }
        } else if known.is_none_or(|known| known.seq + 1 != news.seq) {
            self.send(link, &Frame::Want(origin));
            return Ok(());
        }
        if neighbour.is_some() {
            self.refuse_taken(link, origin, &mut news.aliases);
        }
        if !self.has_room_for(&news) {
            self.stats.frames_dropped += 1;
            return Ok(());
        }
        let known = self.nodes.entry(origin).or_default();
        let (before, reachable) = (known.size(), known.reachable);
        let changes = known.apply(&news);
        self.known_bytes = (self.known_bytes + known.size()).saturating_sub(before);
        if reachable {
            for (alias, _) in &changes {
                self.remove_owner(alias, origin);
            }
            for (alias, _) in changes.iter().filter(|(_, claim)| claim.is_some()) {
                self.add_owner(alias, origin);
            }
        }
        let is_linked_anew = news.name.is_some() || !news.peers.is_empty() || !news.lost.is_empty();
        let risen = if is_linked_anew {
            self.recompute()
        } else {
            Vec::new()
        };
        if self.is_reachable(origin) {
            let source = self.peer_of(link);
            self.send_to_all(&Frame::News(news), |peer| {
                Some(peer) != source && peer != origin
            });
        } else {
            // What cannot be reached is nobody's business, and not remembered for ever.
            let at = self.now + self.limits.forget_after;
            self.timers.start(Timer::Forget(origin), at);
        }
        self.pass_on(risen.into_iter().filter(|node| *node != origin), link);
        Ok(())
    }

    /// Whether news are to be taken. A neighbour is believed about itself, and nobody else is
    /// believed about a neighbour; nobody knows more of this node than it does.
    fn is_new(&self, link: LinkId, news: &News) -> Result<bool, LinkEnd> {
        let News { origin, seq, .. } = *news;
        if origin == self.me && seq > self.own.seq {
            return Err(LinkEnd::Protocol("news of this node from elsewhere".into()));
        }
        let is_source = self.peer_of(link) == Some(origin);
        if origin == self.me || !is_source && self.peers.contains_key(&origin) {
            return Ok(false);
        }
        Ok(self.nodes.get(&origin).is_none_or(|known| known.seq < seq))
    }

    /// Whether so much may be known of a node: no more than every node takes in one frame, and of
    /// all together no more than the limit.
    fn has_room_for(&self, news: &News) -> bool {
        // Without what ends: that makes room, and must not be kept out.
        let exported = news.aliases.iter().filter(|(_, claim)| claim.is_some());
        let aliases = exported.map(|(alias, _)| size_of_alias(alias));
        let told = news.peers.len() * SIZE_OF_PEER + aliases.sum::<usize>();
        let before = self.nodes.get(&news.origin).map_or(0, KnownNode::size);
        let size = told + news.name.as_ref().map_or(before, String::len);
        let known = self.known_bytes.saturating_sub(before) + size;
        size < MAX_NODE && known <= self.limits.max_known
    }

    /// Nodes can be reached again, by news from `link`. Those beyond this one may have forgotten
    /// them, so they are told even if nothing has changed.
    pub(super) fn pass_on(&mut self, risen: impl IntoIterator<Item = NodeId>, link: LinkId) {
        let source = self.peer_of(link);
        for node in risen {
            if let Some(known) = self.nodes.get(&node) {
                let news = Frame::News(known.news(node));
                self.send_to_all(&news, |peer| Some(peer) != source && peer != node);
            }
        }
    }

    /// More bytes than frames with all that is known of other nodes have.
    pub(super) fn length_of_known(&self) -> usize {
        self.known_bytes + self.nodes.len() * NEWS_FRAME
    }
}

/// Who can be reached.
impl Router {
    /// Works out anew who can be reached. Returns those that could not be before, nearest first.
    pub(super) fn recompute(&mut self) -> Vec<NodeId> {
        let (nearest, next_hops) = self.explore();
        let nearest = std::mem::replace(&mut self.nearest, nearest);
        let before = std::mem::replace(&mut self.next_hops, next_hops);
        for node in nearest {
            if !self.is_reachable(node) {
                self.node_down(node);
            }
        }
        let mut risen = Vec::new();
        for node in self.nearest.clone() {
            match before.get(&node) {
                None => {
                    self.node_up(node);
                    risen.push(node);
                }
                Some(hop) if self.next_hops.get(&node) != Some(hop) => self.probe_streams_to(node),
                Some(_) => {}
            }
        }
        risen
    }

    /// Breadth first from this node, over links that both ends know of, as far as messages go.
    fn explore(&self) -> (Vec<NodeId>, HashMap<NodeId, NodeId>) {
        let (mut nearest, mut next_hops) = (Vec::new(), HashMap::new());
        let mut seen = HashSet::from([self.me]);
        // Of each distance, which nodes there are, and over whom.
        let mut at = vec![(self.me, None)];
        for _ in 0..self.limits.max_hops {
            let mut next = Vec::new();
            for (from, over) in at {
                for peer in self.known(from).into_iter().flat_map(|known| &known.peers) {
                    let is_mutual = |known: &KnownNode| known.peers.contains(&from);
                    if self.nodes.get(peer).is_some_and(is_mutual) && seen.insert(*peer) {
                        let over = over.unwrap_or(*peer);
                        nearest.push(*peer);
                        next_hops.insert(*peer, over);
                        next.push((*peer, Some(over)));
                    }
                }
            }
            at = next;
        }
        (nearest, next_hops)
    }

    fn node_up(&mut self, node: NodeId) {
        let Some(known) = self.nodes.get_mut(&node) else {
            return;
        };
        known.reachable = true;
        let name = Arc::clone(&known.name);
        let aliases: Vec<Arc<str>> = known.aliases.keys().cloned().collect();
        self.timers.cancel(Timer::Forget(node));
        self.tell(|| Event::NodeUp { node, name });
        self.probe_streams_to(node);
        for alias in aliases {
            self.add_owner(&alias, node);
        }
        self.effects.changed = true;
    }

    fn node_down(&mut self, node: NodeId) {
        let Some(known) = self.nodes.get_mut(&node) else {
            return;
        };
        known.reachable = false;
        let name = Arc::clone(&known.name);
        let aliases: Vec<Arc<str>> = known.aliases.keys().cloned().collect();
        let at = self.now + self.limits.forget_after;
        self.timers.set(Timer::Forget(node), at);
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
        if self.is_reachable(node) {
            return;
        }
        if let Some(known) = self.nodes.remove(&node) {
            self.known_bytes = self.known_bytes.saturating_sub(known.size());
        }
        self.inbound.retain(|(from, _), _| *from != node);
        let streams = self.outbound.keys().filter(|(to, _)| *to == node);
        for key in streams.cloned().collect::<Vec<_>>() {
            self.give_up(&key);
        }
    }

    /// What is known of a node, this one included.
    pub(super) fn known(&self, node: NodeId) -> Option<&KnownNode> {
        match node == self.me {
            true => Some(&self.own),
            false => self.nodes.get(&node),
        }
    }

    pub(super) fn is_reachable(&self, node: NodeId) -> bool {
        self.next_hops.contains_key(&node)
    }

    pub(crate) fn name_of(&self, node: NodeId) -> Arc<str> {
        let known = self.known(node);
        known.map_or_else(|| "".into(), |known| Arc::clone(&known.name))
    }

    /// All nodes that can be reached, with their names, nearest first.
    pub(crate) fn reachable(&self) -> Vec<(NodeId, Arc<str>)> {
        let nodes = self.nearest.iter();
        nodes.map(|node| (*node, self.name_of(*node))).collect()
    }
}
