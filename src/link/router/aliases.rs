//! Who owns an alias: exports of this node, those of others, and two owners of one name.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Router;
use super::timers::Timer;
use super::topology::size_of_alias;
use crate::link::message::Handler;
use crate::link::{Event, ExportError, Fault, FaultKind, LinkId, NodeId, names};

/// How a node wants an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// For itself.
    Sole,
    /// For itself, whoever else has it.
    Firm,
    /// Together with others that want the same.
    Shared,
}

/// What this node exports under an alias.
pub(super) struct Export {
    pub(super) handler: Arc<dyn Handler>,
    /// Others may export the same, and messages are spread over all.
    pub(super) shared: bool,
    /// It does not give way to others.
    firm: bool,
    /// The last neighbour that has claimed it and was refused.
    contender: Option<NodeId>,
    /// How often neighbours have refused it for no reason that is known here.
    refusals: u32,
    /// Announced; otherwise the alias belongs to somebody else, and this waits.
    pub(super) active: bool,
    /// Tells an export from an earlier one of the same alias.
    pub(super) token: u64,
    pub(super) inbox: VecDeque<Delivery>,
    pub(super) bytes: usize,
    /// A worker empties the inbox, or was asked to.
    pub(super) running: bool,
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
    pub(crate) expires: Option<Instant>,
    /// Of the stream it came by.
    pub(crate) epoch: u32,
}

/// Whom to tell when a message has been handled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    node: NodeId,
    epoch: u32,
    pub(super) is_post: bool,
}

impl Delivery {
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            node: self.from,
            epoch: self.epoch,
            is_post: self.call.is_none(),
        }
    }

    /// What it counts for in an inbox.
    pub(super) fn size(&self) -> usize {
        self.args.len() + self.event.len() + self.sender.len()
    }
}

impl Router {
    /// Exports an alias; returns what names this export.
    pub(crate) fn export(
        &mut self,
        alias: &str,
        claim: Claim,
        handler: Arc<dyn Handler>,
    ) -> Result<u64, ExportError> {
        let shared = claim == Claim::Shared;
        names::check(alias)?;
        if self.stopped {
            return Err(ExportError::Stopped);
        }
        if self.exports.contains_key(alias) {
            return Err(ExportError::Taken { owner: self.me });
        }
        if let Some(owner) = self.conflict(alias, self.me, shared) {
            return Err(ExportError::Taken { owner });
        }
        let max = self.limits.max_exports;
        if self.exports.len() >= max {
            return Err(ExportError::TooMany { max });
        }
        let token = self.count();
        let export = Export {
            handler,
            shared,
            firm: claim == Claim::Firm,
            contender: None,
            refusals: 0,
            active: false,
            token,
            inbox: VecDeque::new(),
            bytes: 0,
            running: false,
        };
        let alias: Arc<str> = alias.into();
        self.exports.insert(Arc::clone(&alias), export);
        self.activate(&alias);
        Ok(token)
    }

    /// Ends an export. What waits for its handler is rejected. Whether it was there.
    pub(crate) fn unexport(&mut self, alias: &str, token: u64) -> bool {
        if self
            .exports
            .get(alias)
            .is_none_or(|export| export.token != token)
        {
            return false;
        }
        let Some((alias, export)) = self.exports.remove_entry(alias) else {
            return false;
        };
        if export.active {
            self.announce(|change| change.drop.push(alias.to_string()));
            self.remove_owner(&alias, self.me);
        }
        self.reject_all(&alias, export.inbox);
        self.effects.discard.push(export.handler);
        true
    }

    fn activate(&mut self, alias: &Arc<str>) {
        let Some(export) = self.exports.get_mut(alias) else {
            return;
        };
        export.active = true;
        let shared = export.shared;
        self.announce(|change| change.add.extend([(alias.to_string(), shared)]));
        self.add_owner(alias, self.me);
    }

    /// Gives way to another owner until the alias is free.
    fn stand_by(&mut self, alias: &Arc<str>, owner: NodeId) {
        let Some(export) = self.exports.get_mut(alias).filter(|export| export.active) else {
            return;
        };
        export.active = false;
        export.bytes = 0;
        let inbox = std::mem::take(&mut export.inbox);
        self.announce(|change| change.drop.push(alias.to_string()));
        self.remove_owner(alias, self.me);
        self.reject_all(alias, inbox);
        self.tell(|| Event::AliasRefused {
            alias: Arc::clone(alias),
            owner,
        });
        self.timers.set(
            Timer::Claim(Arc::clone(alias)),
            self.now + self.claim_delay(),
        );
    }

    fn reject_all(&mut self, alias: &Arc<str>, inbox: VecDeque<Delivery>) {
        for delivery in inbox {
            let fault = Fault::new(FaultKind::UnknownAlias, "");
            self.reject(alias, &delivery, fault);
            self.finished(alias, delivery.origin());
        }
    }

    /// A neighbour says that an alias of this node belongs to another. That is believed only if
    /// another is known to have it: the neighbour has told so before, if it is honest. Otherwise it
    /// is told again, since it has forgotten what it was told. Two neighbours refuse each other
    /// only if one of them is firm; then the other gives way.
    pub(super) fn refused(&mut self, link: LinkId, alias: &str, owner: NodeId) {
        let Some((alias, export)) = self.exports.get_key_value(alias) else {
            return;
        };
        let (alias, me) = (Arc::clone(alias), self.me);
        let owners = self.owners.get(&alias).map_or(&[][..], |o| &o.nodes);
        let mut rivals = owners.iter().filter(|node| **node != me);
        let has_rival = rivals.any(|node| !(export.shared && self.shares(*node, &alias)));
        let is_firm_itself = self.peer_of(link) == Some(owner) && export.contender == Some(owner);
        if export.firm {
            // Told again below.
        } else if has_rival {
            return self.stand_by(&alias, owner);
        } else if is_firm_itself {
            self.stand_by(&alias, owner);
            return self.concede(&alias, owner);
        }
        let Some(export) = self.exports.get_mut(&alias).filter(|export| export.active) else {
            return;
        };
        let wait = FIRST_RETRY * (1 << export.refusals.min(6));
        export.refusals = export.refusals.saturating_add(1);
        self.timers.start(Timer::Claim(alias), self.now + wait);
    }

    /// A neighbour has an alias after all, that it was refused.
    fn concede(&mut self, alias: &Arc<str>, owner: NodeId) {
        let Some(entry) = self.nodes.get_mut(&owner) else {
            return;
        };
        if entry.aliases.insert(Arc::clone(alias), false).is_none() {
            self.known += size_of_alias(alias);
        }
        if entry.reachable {
            self.add_owner(alias, owner);
        }
    }

    pub(super) fn contended(&mut self, alias: &str, contender: NodeId) {
        if let Some(export) = self.exports.get_mut(alias) {
            export.contender = Some(contender);
        }
    }

    pub(super) fn is_firm(&self, alias: &str) -> bool {
        self.exports.get(alias).is_some_and(|export| export.firm)
    }

    /// The time to take an alias that has become free, if it still is, or to tell again that it is
    /// taken. Nodes that stand by for the
    /// same one have different delays.
    pub(super) fn claim(&mut self, alias: &Arc<str>) {
        let Some(export) = self.exports.get(alias) else {
            return;
        };
        if export.active {
            let shared = export.shared;
            return self.announce(|change| change.add.extend([(alias.to_string(), shared)]));
        }
        if self.conflict(alias, self.me, export.shared).is_none() {
            self.activate(alias);
        }
    }

    fn claim_delay(&self) -> Duration {
        CLAIM_STEP * (u32::from(self.me.as_bytes()[15]) % 64 + 1)
    }

    /// Another owner that does not go together with this claim.
    pub(super) fn conflict(&self, alias: &str, claimant: NodeId, shared: bool) -> Option<NodeId> {
        let owners = self.owners.get(alias)?;
        if owners.nodes.contains(&claimant) {
            return None;
        }
        let clash = |owner: &&NodeId| !(shared && self.shares(**owner, alias));
        owners.nodes.iter().find(clash).copied()
    }

    fn shares(&self, owner: NodeId, alias: &str) -> bool {
        if owner == self.me {
            return self.exports.get(alias).is_some_and(|export| export.shared);
        }
        let entry = self.nodes.get(&owner);
        entry
            .and_then(|entry| entry.aliases.get(alias))
            .is_some_and(|shared| *shared)
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
        let yields = |export: &Export| export.active && !export.firm;
        if owner < self.me && self.exports.get(alias).is_some_and(yields) {
            let shared = self.shares(self.me, alias) && self.shares(owner, alias);
            if !shared {
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
        let (removed, empty) = (owners.nodes.len() < before, owners.nodes.is_empty());
        if empty {
            self.owners.remove(alias);
        }
        if removed {
            self.effects.changed = true;
            self.tell(|| Event::AliasRemoved {
                alias: Arc::clone(alias),
                owner,
            });
        }
        if self.exports.get(alias).is_some_and(|export| !export.active) {
            self.timers.set(
                Timer::Claim(Arc::clone(alias)),
                self.now + self.claim_delay(),
            );
        }
    }

    /// Which node gets a message for the alias: of several that share it, each in turn.
    pub(super) fn resolve(&mut self, node: Option<&str>, alias: &str) -> Option<NodeId> {
        let owners = self.owners.get(alias)?;
        if let Some(node) = node {
            let named = |owner: &&NodeId| self.is_called(**owner, node);
            return owners.nodes.iter().find(named).copied();
        }
        let share = |owner: &NodeId| self.shares(*owner, alias);
        if owners.nodes.len() < 2 || !owners.nodes.iter().all(share) {
            return owners.nodes.first().copied();
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
        let named = |owner: &NodeId| node.is_none_or(|node| self.is_called(*owner, node));
        let owners = self.owners.get(alias);
        owners.is_some_and(|owners| owners.nodes.iter().any(named))
    }

    /// Everybody who exports the alias.
    pub(crate) fn owners_of(&self, alias: &str) -> Vec<NodeId> {
        let owners = self.owners.get(alias);
        owners.map_or_else(Vec::new, |owners| owners.nodes.clone())
    }

    /// All aliases and their owners.
    pub(crate) fn aliases(&self) -> Vec<(Arc<str>, NodeId, Arc<str>)> {
        let each = self.owners.iter().flat_map(|(alias, owners)| {
            let nodes = owners.nodes.iter();
            nodes.map(|owner| (Arc::clone(alias), *owner, self.name_of(*owner)))
        });
        each.collect()
    }

    /// Puts a message before its handler. `false`: there is no room.
    pub(super) fn deliver(&mut self, alias: &Arc<str>, delivery: Delivery) -> bool {
        let (messages, bytes) = (self.limits.inbox_messages, self.limits.inbox_bytes);
        let Some(export) = self.exports.get_mut(alias).filter(|export| export.active) else {
            self.reject(alias, &delivery, Fault::new(FaultKind::UnknownAlias, ""));
            self.finished(alias, delivery.origin());
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
                self.finished(alias, delivery.origin());
                continue;
            }
            let handler = Arc::clone(&export.handler);
            self.stats.delivered += 1;
            return Some((handler, delivery));
        }
    }

    /// A message needs no handler any more: it has returned, or is not asked.
    pub(crate) fn finished(&mut self, alias: &Arc<str>, origin: Origin) {
        if origin.node == self.me {
            self.own.finished(origin.is_post);
            self.effects.changed = true;
        } else {
            self.consumed(&(origin.node, Arc::clone(alias)), origin.epoch);
        }
    }

    /// Whether an inbox is at least half full, so that senders should hold back.
    pub(super) fn is_crowded(&self, alias: &str) -> bool {
        self.exports.get(alias).is_some_and(|export| {
            export.inbox.len() >= self.limits.inbox_messages / 2
                || export.bytes >= self.limits.inbox_bytes / 2
        })
    }
}

/// The wait before a neighbour that has refused an alias is told again; doubled up to 64 times.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const CLAIM_STEP: Duration = Duration::from_millis(5);
