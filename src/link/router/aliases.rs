//! Who owns an alias; what this node exports, and the messages that wait for its handlers.
//!
//! The rule for an alias that two nodes claim, and that they do not share: it belongs to the one
//! that the neighbours of the other heard of first; and of two that had it before they were linked,
//! to the one that has it firmly, else to the lower id. The other stands by until it is free; but
//! one that has it firmly keeps it for itself and for those who heard of it first, even if another
//! has it as firmly.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Router;
use super::timers::Timer;
use crate::link::message::Handler;
use crate::link::wire::{Claim, Frame};
use crate::link::{Alias, Event, ExportError, Fault, FaultKind, LinkId, NodeId, names};

/// What this node exports under an alias. It is announced, unless it stands by.
pub(super) struct Export {
    handler: Arc<dyn Handler>,
    claim: Claim,
    /// How often neighbours have refused it for no reason that is known here.
    refusals: u32,
    /// Tells an export from an earlier one of the same alias.
    token: u64,
    pub(super) inbox: VecDeque<Delivery>,
    bytes: usize,
    /// A worker empties the inbox, or was asked to.
    running: bool,
}

/// Who exports an alias.
#[derive(Default)]
pub(super) struct Owners {
    /// The longest known first.
    nodes: Vec<NodeId>,
    /// Of several that share it, which one had the last message.
    turn: usize,
}

/// A message for a handler of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) from: NodeId,
    pub(crate) from_name: Arc<str>,
    /// The sender's alias, which may be empty.
    pub(crate) sender: Box<str>,
    pub(crate) event: Box<str>,
    pub(crate) args: Box<str>,
    /// The call that is to be answered.
    pub(crate) call: Option<u64>,
    pub(super) expires: Option<Instant>,
    /// Of the stream it came by.
    pub(super) epoch: u32,
}

/// Whom to tell when a message has been handled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeliveryTag {
    node: NodeId,
    epoch: u32,
    pub(super) is_post: bool,
}

impl Delivery {
    pub(crate) fn tag(&self) -> DeliveryTag {
        DeliveryTag {
            node: self.from,
            epoch: self.epoch,
            is_post: self.call.is_none(),
        }
    }

    /// What it counts for in an inbox.
    fn size(&self) -> usize {
        self.args.len() + self.event.len() + self.sender.len()
    }
}

/// Claims.
impl Router {
    /// Exports an alias; returns what names this export.
    pub(crate) fn export(
        &mut self,
        alias: &str,
        claim: Claim,
        handler: Arc<dyn Handler>,
    ) -> Result<u64, ExportError> {
        names::check(alias)?;
        let max = self.limits.max_exports;
        if self.stopped {
            return Err(ExportError::Stopped);
        } else if self.exports.contains_key(alias) {
            return Err(ExportError::Taken { owner: self.me });
        } else if let Some(owner) = self.rival(alias, self.me, claim) {
            return Err(ExportError::Taken { owner });
        } else if self.exports.len() >= max {
            return Err(ExportError::TooMany { max });
        }
        let token = self.count();
        let export = Export {
            handler,
            claim,
            refusals: 0,
            token,
            inbox: VecDeque::new(),
            bytes: 0,
            running: false,
        };
        let alias: Arc<str> = alias.into();
        self.exports.insert(Arc::clone(&alias), export);
        self.activate(&alias, claim);
        Ok(token)
    }

    /// Ends an export. What waits for its handler is rejected. Whether it was there.
    pub(crate) fn unexport(&mut self, alias: &str, token: u64) -> bool {
        let export = self.exports.get(alias);
        if export.is_none_or(|export| export.token != token) {
            return false;
        }
        let Some((alias, export)) = self.exports.remove_entry(alias) else {
            return false;
        };
        self.deactivate(&alias);
        self.reject_all(&alias, export.inbox);
        self.effects.discard.push(export.handler);
        true
    }

    fn activate(&mut self, alias: &Arc<str>, claim: Claim) {
        let entry = (alias.to_string(), Some(claim));
        self.announce(|news| news.aliases.extend([entry]));
        self.add_owner(alias, self.me);
    }

    fn deactivate(&mut self, alias: &Arc<str>) {
        if self.claim_of(self.me, alias).is_some() {
            self.announce(|news| news.aliases.extend([(alias.to_string(), None)]));
            self.remove_owner(alias, self.me);
        }
    }

    /// Gives way to another owner until the alias is free.
    fn stand_by(&mut self, alias: &Arc<str>, owner: NodeId) {
        let Some(export) = self.exports.get_mut(alias) else {
            return;
        };
        export.bytes = 0;
        let inbox = std::mem::take(&mut export.inbox);
        self.deactivate(alias);
        self.reject_all(alias, inbox);
        self.tell(|| Event::AliasRefused {
            alias: Arc::clone(alias),
            owner,
        });
    }

    fn reject_all(&mut self, alias: &Arc<str>, inbox: VecDeque<Delivery>) {
        for delivery in inbox {
            let fault = Fault::new(FaultKind::UnknownAlias, "");
            self.reject(alias, &delivery, fault);
            self.finished(alias, delivery.tag());
        }
    }

    fn claim_of(&self, owner: NodeId, alias: &str) -> Option<Claim> {
        self.known(owner)?.aliases.get(alias).copied()
    }

    /// Another owner that does not share the alias with the claimant, if that wants to share it.
    fn rival(&self, alias: &str, claimant: NodeId, claim: Claim) -> Option<NodeId> {
        let shares =
            |node| claim == Claim::Shared && self.claim_of(node, alias) == Some(Claim::Shared);
        let mut owners = self.owners.get(alias)?.nodes.iter().copied();
        owners.find(|owner| *owner != claimant && !shares(*owner))
    }

    /// Whether this node keeps an alias that it had before it was linked to one that has it too.
    fn keeps(&self, alias: &str, other: NodeId, theirs: Claim) -> bool {
        let is_firm = self.claim_of(self.me, alias) == Some(Claim::Firm);
        is_firm || theirs != Claim::Firm && self.me < other
    }

    /// Takes out of what a neighbour announces of itself what belongs to somebody else.
    pub(super) fn refuse_taken(
        &mut self,
        link: LinkId,
        origin: NodeId,
        claims: &mut BTreeMap<String, Option<Claim>>,
    ) {
        let refused = |(alias, claim): (&String, &Option<Claim>)| {
            let (claim, owners) = ((*claim)?, self.owners.get(alias.as_str())?);
            let owner = self.rival(alias, origin, claim)?;
            let is_taken = owner != self.me || self.keeps(alias, origin, claim);
            (is_taken && !owners.nodes.contains(&origin)).then(|| (alias.clone(), owner))
        };
        let refused: Vec<(String, NodeId)> = claims.iter().filter_map(refused).collect();
        for (alias, owner) in refused {
            claims.remove(&alias);
            self.stats.refused += 1;
            self.send(link, &Frame::Refuse { alias, owner });
        }
    }

    /// A neighbour says that an alias of this node belongs to another. That is believed if another
    /// is known to have it: the neighbour, if it is honest, has told so before. Otherwise it is
    /// told again later, since it has forgotten what it was told.
    pub(super) fn refused(&mut self, alias: &str, owner: NodeId) {
        let Some(claim) = self.claim_of(self.me, alias) else {
            return;
        };
        let alias: Arc<str> = alias.into();
        if claim != Claim::Firm && self.rival(&alias, self.me, claim).is_some() {
            self.stand_by(&alias, owner);
        } else if let Some(export) = self.exports.get_mut(&alias) {
            let wait = TELL_AGAIN * (1 << export.refusals.min(6));
            export.refusals = export.refusals.saturating_add(1);
            self.timers.start(Timer::Claim(alias), self.now + wait);
        }
    }

    /// The time to take an alias that has become free, if it still is, or to tell again that it is
    /// taken.
    pub(super) fn claim(&mut self, alias: &Arc<str>) {
        let Some(claim) = self.exports.get(alias).map(|export| export.claim) else {
            return;
        };
        let is_announced = self.claim_of(self.me, alias).is_some();
        if is_announced || self.rival(alias, self.me, claim).is_none() {
            self.activate(alias, claim);
        }
    }

    pub(super) fn add_owner(&mut self, alias: &Arc<str>, owner: NodeId) {
        let owners = self.owners.entry(Arc::clone(alias)).or_default();
        if owners.nodes.contains(&owner) {
            return;
        }
        owners.nodes.push(owner);
        self.effects.changed = true;
        self.tell(|| Event::AliasAdded {
            alias: Arc::clone(alias),
            owner,
        });
        if let (Some(mine), Some(theirs)) =
            (self.claim_of(self.me, alias), self.claim_of(owner, alias))
        {
            let is_shared = mine == Claim::Shared && theirs == Claim::Shared;
            if owner != self.me && !is_shared && !self.keeps(alias, owner, theirs) {
                self.stand_by(alias, owner);
            }
        }
        self.unpark(alias, owner);
    }

    pub(super) fn remove_owner(&mut self, alias: &Arc<str>, owner: NodeId) {
        let Some(owners) = self.owners.get_mut(alias) else {
            return;
        };
        let before = owners.nodes.len();
        owners.nodes.retain(|other| *other != owner);
        let is_removed = owners.nodes.len() < before;
        if owners.nodes.is_empty() {
            self.owners.remove(alias);
        }
        if is_removed {
            self.effects.changed = true;
            self.tell(|| Event::AliasRemoved {
                alias: Arc::clone(alias),
                owner,
            });
        }
        let stands_by = self.claim_of(self.me, alias).is_none() && self.exports.contains_key(alias);
        if stands_by {
            // Nodes that stand by for the same alias have different delays.
            let steps = u32::from(self.me.as_bytes()[15]) % 64 + 1;
            let at = self.now + CLAIM_STEP * steps;
            self.timers.set(Timer::Claim(Arc::clone(alias)), at);
        }
    }

    /// Which node gets a message for the alias: of several that share it, each in turn.
    pub(super) fn resolve(&mut self, node: Option<&str>, alias: &str) -> Option<NodeId> {
        let owners = &self.owners.get(alias)?.nodes;
        if let Some(node) = node {
            return owners
                .iter()
                .copied()
                .find(|owner| self.is_called(*owner, node));
        }
        let is_shared = |owner: &NodeId| self.claim_of(*owner, alias) == Some(Claim::Shared);
        if owners.len() < 2 || !owners.iter().all(is_shared) {
            return owners.first().copied();
        }
        let owners = self.owners.get_mut(alias)?;
        owners.turn = (owners.turn + 1) % owners.nodes.len();
        owners.nodes.get(owners.turn).copied()
    }

    fn is_called(&self, node: NodeId, name: &str) -> bool {
        node.is_shown_as(name) || *self.name_of(node) == *name
    }

    /// Whether somebody exports the alias: that node, if one is named.
    pub(crate) fn is_exported(&self, node: Option<&str>, alias: &str) -> bool {
        let mut owners = self
            .owners
            .get(alias)
            .into_iter()
            .flat_map(|owners| &owners.nodes);
        owners.any(|owner| node.is_none_or(|node| self.is_called(*owner, node)))
    }

    /// Everybody who exports the alias.
    pub(crate) fn owners_of(&self, alias: &str) -> Vec<NodeId> {
        let owners = self.owners.get(alias);
        owners.map_or_else(Vec::new, |owners| owners.nodes.clone())
    }

    /// All aliases and their owners.
    pub(crate) fn aliases(&self) -> Vec<Alias> {
        let each = self.owners.iter().flat_map(|(alias, owners)| {
            owners.nodes.iter().map(|owner| Alias {
                alias: Arc::clone(alias),
                owner: *owner,
                owner_name: self.name_of(*owner),
            })
        });
        each.collect()
    }
}

/// Inboxes.
impl Router {
    /// Puts a message before its handler. `false`: there is no room.
    pub(super) fn deliver(&mut self, alias: &Arc<str>, delivery: Delivery) -> bool {
        let is_announced = self.claim_of(self.me, alias).is_some();
        let (messages, bytes) = (self.limits.inbox_messages, self.limits.inbox_bytes);
        let Some(export) = self.exports.get_mut(alias).filter(|_| is_announced) else {
            self.reject_all(alias, VecDeque::from([delivery]));
            return true;
        };
        let size = delivery.size();
        let full = export.inbox.len() >= messages || export.bytes + size > bytes;
        if full && !export.inbox.is_empty() {
            return false;
        }
        export.bytes += size;
        export.inbox.push_back(delivery);
        if !std::mem::replace(&mut export.running, true) {
            self.effects.run.push((Arc::clone(alias), export.token));
        }
        true
    }

    /// The next message for the handler of an export. After `None` the worker is done with it: also
    /// if the alias was exported anew, which has a worker of its own.
    pub(crate) fn next_delivery(
        &mut self,
        alias: &Arc<str>,
        token: u64,
    ) -> Option<(Arc<dyn Handler>, Delivery)> {
        loop {
            let export = self.exports.get_mut(alias);
            let export = export.filter(|export| export.token == token)?;
            let Some(delivery) = export.inbox.pop_front() else {
                export.running = false;
                return None;
            };
            export.bytes -= delivery.size();
            if delivery.expires.is_some_and(|at| at <= self.now) {
                self.reject(alias, &delivery, Fault::new(FaultKind::Expired, ""));
                self.finished(alias, delivery.tag());
                continue;
            }
            self.stats.delivered += 1;
            return Some((Arc::clone(&export.handler), delivery));
        }
    }

    /// A message needs no handler any more: it has returned, or is not asked.
    pub(crate) fn finished(&mut self, alias: &Arc<str>, tag: DeliveryTag) {
        if tag.node == self.me {
            *self.local.of(tag.is_post) -= 1;
            self.effects.changed = true;
        } else {
            self.consumed(&(tag.node, Arc::clone(alias)), tag.epoch);
        }
    }

    /// Whether an inbox is at least half full, so that senders should hold back.
    pub(super) fn is_crowded(&self, alias: &str) -> bool {
        self.exports.get(alias).is_some_and(|export| {
            export.inbox.len() >= self.limits.inbox_messages / 2
                || export.bytes >= self.limits.inbox_bytes / 2
        })
    }

    /// Ends all exports; tells which of this node's own posts were not handled.
    pub(super) fn end_exports(&mut self) {
        for (alias, export) in std::mem::take(&mut self.exports) {
            let own = export.inbox.iter().filter(|one| one.from == self.me);
            let tags: Vec<DeliveryTag> = own.map(Delivery::tag).collect();
            let posts = tags.iter().filter(|tag| tag.is_post).count();
            for tag in tags {
                self.finished(&alias, tag);
            }
            self.undelivered(&alias, Some(self.me), posts as u64, 0);
            self.effects.discard.push(export.handler);
        }
    }
}

/// The wait before a neighbour that has refused an alias is told again; doubled up to 64 times.
const TELL_AGAIN: Duration = Duration::from_secs(1);
const CLAIM_STEP: Duration = Duration::from_millis(5);
