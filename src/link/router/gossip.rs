//! What nodes tell each other of themselves, and how it spreads. See [the module](super).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Router;
use super::topology::{NodeEntry, SIZE_OF_PEER, size_of_alias};
use crate::link::error::LinkEnd;
use crate::link::wire::{Change, Frame, Refuse, State, Want};
use crate::link::{LinkId, NodeId, names};

impl Router {
    /// This node's own state has changed: tells all neighbours.
    pub(super) fn announce(&mut self, fill: impl FnOnce(&mut Change)) {
        self.seq += 1;
        let mut change = Change {
            origin: self.me,
            seq: self.seq,
            hops: self.limits.max_hops,
            met: Vec::new(),
            lost: Vec::new(),
            add: BTreeMap::new(),
            drop: Vec::new(),
        };
        fill(&mut change);
        self.send_to_all(&Frame::Change(change), |_| true);
    }

    /// Tells a new neighbour all there is to know: this node first, then the others by distance, so
    /// that each can be reached when it is heard of.
    pub(super) fn send_snapshot(&mut self, link: LinkId) {
        let peer = self.peer_of(link);
        let others = self.near.iter().copied().filter(|node| Some(*node) != peer);
        let nodes: Vec<NodeId> = std::iter::once(self.me).chain(others).collect();
        for node in nodes {
            if let Some(state) = self.describe(node) {
                self.send(link, &Frame::State(state));
            }
        }
    }

    /// Nodes can be reached again, by news from `link`. Those beyond this one may have forgotten
    /// them, so they are told even if nothing has changed.
    pub(super) fn pass_on_risen(&mut self, risen: &[NodeId], link: LinkId) {
        let source = self.peer_of(link);
        for node in risen {
            if let Some(state) = self.describe(*node) {
                let frame = Frame::State(state);
                self.send_to_all(&frame, |peer| Some(peer) != source && peer != *node);
            }
        }
    }

    /// A state has come.
    pub(super) fn state(&mut self, link: LinkId, mut state: State) -> Result<(), LinkEnd> {
        let origin = state.origin;
        check_names(state.aliases.keys().chain([&state.name]))?;
        if !self.is_news(link, origin, state.seq)? {
            return Ok(());
        }
        let neighbour = self.links.get(&link).map(|entry| &entry.peer);
        let neighbour = neighbour.filter(|peer| peer.id == origin);
        if neighbour.is_some_and(|peer| peer.name != state.name) {
            // What it has proved is the name in its hello.
            return Err(LinkEnd::Protocol("another name than in the hello".into()));
        }
        // Neighbours are bounded as links are; what others tell of must not keep them out.
        let is_new = neighbour.is_none() && !self.nodes.contains_key(&origin);
        if is_new && self.nodes.len() >= self.limits.max_nodes {
            self.stats.frames_dropped += 1;
            return Ok(());
        }
        self.refuse_foreign(link, origin, &mut state.aliases);
        let before = known_aliases(self.nodes.get(&origin));
        let aliases: BTreeMap<Arc<str>, bool> = state
            .aliases
            .iter()
            .map(|(alias, shared)| (alias.as_str().into(), *shared))
            .collect();
        let reachable = self.nodes.get(&origin).is_some_and(|entry| entry.reachable);
        let entry = NodeEntry {
            seq: state.seq,
            name: state.name.as_str().into(),
            peers: state.peers.clone(),
            aliases: aliases.clone(),
            reachable,
        };
        if !self.has_room_for(origin, entry.size()) {
            self.stats.frames_dropped += 1;
            return Ok(());
        }
        self.keep(origin, entry);
        if reachable {
            for alias in before
                .keys()
                .filter(|alias| before.get(*alias) != aliases.get(*alias))
            {
                self.remove_owner(alias, origin);
            }
            for alias in aliases
                .keys()
                .filter(|alias| before.get(*alias) != aliases.get(*alias))
            {
                self.add_owner(alias, origin);
            }
        }
        let risen = self.recompute();
        self.doubt(origin);
        let hops = state.hops;
        state.hops = hops.saturating_sub(1);
        self.pass_on(link, origin, hops, &Frame::State(state), &risen);
        Ok(())
    }

    /// A change has come. One that does not follow what is known makes the whole be asked for.
    pub(super) fn change(&mut self, link: LinkId, mut change: Change) -> Result<(), LinkEnd> {
        let origin = change.origin;
        check_names(change.add.keys().chain(&change.drop))?;
        if !self.is_news(link, origin, change.seq)? {
            return Ok(());
        }
        if self
            .nodes
            .get(&origin)
            .is_none_or(|entry| entry.seq + 1 != change.seq)
        {
            self.send(link, &Frame::Want(Want { origin }));
            return Ok(());
        }
        self.refuse_foreign(link, origin, &mut change.add);
        let before = self.nodes.get(&origin).map_or(0, NodeEntry::size);
        let more = change
            .add
            .keys()
            .map(|alias| size_of_alias(alias))
            .sum::<usize>();
        if !self.has_room_for(origin, before + more + change.met.len() * SIZE_OF_PEER) {
            self.stats.frames_dropped += 1;
            return Ok(());
        }
        let Some(entry) = self.nodes.get_mut(&origin) else {
            return Ok(());
        };
        entry.seq = change.seq;
        entry.peers.extend(&change.met);
        entry.peers.retain(|peer| !change.lost.contains(peer));
        let reachable = entry.reachable;
        let mut gone = Vec::new();
        for alias in &change.drop {
            gone.extend(entry.aliases.remove_entry(alias.as_str()));
        }
        let mut new: Vec<Arc<str>> = Vec::new();
        for (alias, shared) in &change.add {
            let alias: Arc<str> = alias.as_str().into();
            if entry.aliases.insert(Arc::clone(&alias), *shared).is_none() {
                new.push(alias);
            }
        }
        let size = entry.size();
        self.known = (self.known + size).saturating_sub(before);
        if reachable {
            gone.iter()
                .for_each(|(alias, _)| self.remove_owner(alias, origin));
            new.iter().for_each(|alias| self.add_owner(alias, origin));
        }
        let ways = !change.met.is_empty() || !change.lost.is_empty();
        let risen = if ways { self.recompute() } else { Vec::new() };
        let hops = change.hops;
        change.hops = hops.saturating_sub(1);
        self.pass_on(link, origin, hops, &Frame::Change(change), &risen);
        Ok(())
    }

    /// A neighbour does not know enough of a node.
    pub(super) fn wanted(&mut self, link: LinkId, origin: NodeId) {
        if let Some(state) = self.describe(origin) {
            self.send(link, &Frame::State(state));
        }
    }

    /// Whether a state or change is to be taken. A neighbour is believed about itself, and nobody
    /// else is believed about a neighbour; nobody knows more of this node than it does.
    fn is_news(&self, link: LinkId, origin: NodeId, seq: u64) -> Result<bool, LinkEnd> {
        if origin == self.me {
            return if seq > self.seq {
                Err(LinkEnd::Protocol("news of this node from elsewhere".into()))
            } else {
                Ok(false)
            };
        }
        let is_source = self.peer_of(link) == Some(origin);
        if !is_source && self.peers.contains_key(&origin) {
            return Ok(false);
        }
        Ok(self.nodes.get(&origin).is_none_or(|entry| entry.seq < seq))
    }

    /// Passes news on to all but those it came from and is about.
    fn pass_on(
        &mut self,
        link: LinkId,
        origin: NodeId,
        hops: u8,
        frame: &Frame<'_>,
        risen: &[NodeId],
    ) {
        let others: Vec<NodeId> = risen
            .iter()
            .copied()
            .filter(|node| *node != origin)
            .collect();
        let source = self.peer_of(link);
        // What cannot be reached is nobody's business; it is told when it can.
        if hops > 1 && self.is_reachable(origin) {
            self.send_to_all(frame, |peer| Some(peer) != source && peer != origin);
        }
        self.pass_on_risen(&others, link);
    }

    /// Takes out of a neighbour's own announcement what belongs to somebody else.
    fn refuse_foreign(
        &mut self,
        link: LinkId,
        origin: NodeId,
        claims: &mut BTreeMap<String, bool>,
    ) {
        if self.peer_of(link) != Some(origin) {
            return;
        }
        let foreign: Vec<(String, NodeId)> = claims
            .iter()
            .filter_map(|(alias, shared)| {
                let owner = self.conflict(alias, origin, *shared)?;
                // Between two neighbours the lower id decides, so that not both give way.
                let keeps = owner != self.me || self.me < origin || self.is_firm(alias);
                keeps.then(|| (alias.clone(), owner))
            })
            .collect();
        for (alias, owner) in foreign {
            claims.remove(&alias);
            self.stats.refused += 1;
            self.contended(&alias, origin);
            self.send(link, &Frame::Refuse(Refuse { alias, owner }));
        }
    }
}

fn known_aliases(entry: Option<&NodeEntry>) -> BTreeMap<Arc<str>, bool> {
    entry.map(|entry| entry.aliases.clone()).unwrap_or_default()
}

fn check_names<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), LinkEnd> {
    for name in names {
        names::check(name).map_err(|error| LinkEnd::Protocol(error.to_string()))?;
    }
    Ok(())
}
