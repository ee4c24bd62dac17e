//! Posts and calls of this node, and those that wait for their alias to be exported.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Router;
use super::stream::{Item, StreamKey};
use super::timers::Timer;
use crate::link::wire::{Payload, PayloadKind};
use crate::link::{Event, NodeId, PostError};

/// A message of this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// A certain node, by name or id.
    pub(crate) node: Option<&'a str>,
    pub(crate) alias: &'a str,
    /// In whose name; may be empty.
    pub(crate) sender: &'a str,
    pub(crate) event: &'a str,
    /// JSON.
    pub(crate) args: &'a str,
}

impl Request<'_> {
    fn payload(&self, call: Option<u64>, timeout: Duration) -> Box<[u8]> {
        let kind = match call {
            Some(_) => PayloadKind::Call,
            None => PayloadKind::Post,
        };
        let payload = Payload {
            kind,
            call: call.unwrap_or(0),
            timeout: call.map_or(0, |_| {
                u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)
            }),
            alias: self.sender,
            event: self.event,
            content: self.args,
        };
        payload.to_bytes()
    }

    fn address(&self) -> Arc<str> {
        match self.node {
            Some(node) => format!("{node}/{}", self.alias).into(),
            None => self.alias.into(),
        }
    }
}

/// Messages to aliases that nobody exports yet, in their order.
#[derive(Default)]
pub(super) struct Parked {
    messages: Vec<ParkedMessage>,
    bytes: usize,
}

struct ParkedMessage {
    /// An alias, or `node/alias`.
    address: Arc<str>,
    payload: Box<[u8]>,
    call: Option<u64>,
    until: Option<Instant>,
}

impl Parked {
    fn take(&mut self, is_it: impl Fn(&ParkedMessage) -> bool) -> Vec<ParkedMessage> {
        if !self.messages.iter().any(&is_it) {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.messages).into_iter();
        let (taken, left): (Vec<_>, Vec<_>) = all.partition(is_it);
        self.messages = left;
        self.bytes -= taken.iter().map(|one| one.payload.len()).sum::<usize>();
        taken
    }

    fn posts(&self) -> u64 {
        let posts = self.messages.iter().filter(|one| one.call.is_none());
        posts.count() as u64
    }
}

/// Messages of this node to its own aliases that were not handled yet.
#[derive(Default)]
pub(super) struct Local {
    posts: u64,
    calls: u64,
}

impl Local {
    pub(super) fn of(&mut self, is_post: bool) -> &mut u64 {
        match is_post {
            true => &mut self.posts,
            false => &mut self.calls,
        }
    }
}

impl Router {
    /// Posts a message. `keep`: if nobody exports the alias, it waits until somebody does.
    pub(crate) fn post(&mut self, request: &Request<'_>, keep: bool) -> Result<(), PostError> {
        self.submit(request, None, self.limits.outbox_time, keep)?;
        self.stats.posted += 1;
        Ok(())
    }

    /// Posts a message to everybody who exports the alias. Returns how many took it.
    pub(crate) fn broadcast(&mut self, request: &Request<'_>) -> Result<usize, PostError> {
        self.check(request)?;
        let payload = request.payload(None, Duration::ZERO);
        let mut taken = 0;
        for owner in self.owners_of(request.alias) {
            let key = (owner, request.alias.into());
            taken += usize::from(self.send_if_room(&key, payload.clone(), None).is_ok());
        }
        self.stats.posted += taken as u64;
        Ok(taken)
    }

    fn check(&self, request: &Request<'_>) -> Result<(), PostError> {
        let (length, max) = (
            request.event.len() + request.args.len(),
            self.limits.max_message,
        );
        if self.stopped {
            Err(PostError::Stopped)
        } else if length > max {
            Err(PostError::TooLarge { length, max })
        } else {
            Ok(())
        }
    }

    /// Sends a post, or the call of that number, or keeps it for so long if it may wait.
    pub(super) fn submit(
        &mut self,
        request: &Request<'_>,
        call: Option<u64>,
        timeout: Duration,
        keep: bool,
    ) -> Result<(), PostError> {
        self.check(request)?;
        let owner = self.resolve(request.node, request.alias);
        if owner.is_none() && !keep {
            return Err(PostError::UnknownAlias);
        }
        let payload = request.payload(call, timeout);
        if let Some(owner) = owner {
            return self.send_if_room(&(owner, request.alias.into()), payload, call);
        }
        let full = self.parked.messages.len() >= self.limits.parked_messages
            || self.parked.bytes + payload.len() > self.limits.parked_bytes;
        if full {
            return Err(PostError::Full);
        }
        let until = self.now.checked_add(timeout);
        if let Some(until) = until {
            self.timers.hasten(Timer::Parked, until);
        }
        self.parked.bytes += payload.len();
        self.parked.messages.push(ParkedMessage {
            address: request.address(),
            payload,
            call,
            until,
        });
        Ok(())
    }

    fn send_if_room(
        &mut self,
        key: &StreamKey,
        payload: Box<[u8]>,
        call: Option<u64>,
    ) -> Result<(), PostError> {
        if !self.has_room(key, payload.len()) {
            return Err(PostError::Full);
        }
        self.send_message(key, payload, call)
    }

    /// To an alias of a node that can be reached, or of this one, whose inbox may be full.
    fn send_message(
        &mut self,
        key: &StreamKey,
        payload: Box<[u8]>,
        call: Option<u64>,
    ) -> Result<(), PostError> {
        let is_post = call.is_none();
        if let Some(id) = call {
            self.call_goes_to(id, key);
        }
        if key.0 != self.me {
            self.enqueue(
                key,
                Item {
                    payload,
                    call,
                    is_post,
                },
            );
            return Ok(());
        }
        let Ok(payload) = Payload::decode(&payload) else {
            unreachable!("because it was encoded here");
        };
        let delivery = self.delivery(self.me, 0, &payload);
        // Counted first: it may be finished on the spot.
        *self.local.of(is_post) += 1;
        if self.deliver(&key.1, delivery) {
            return Ok(());
        }
        *self.local.of(is_post) -= 1;
        Err(PostError::Full)
    }

    /// A call is given up before its alias has come: it takes no room any more.
    pub(super) fn withdraw_parked(&mut self, call: u64) {
        let withdrawn = self.parked.take(|one| one.call == Some(call));
        self.effects.changed |= !withdrawn.is_empty();
    }

    /// Somebody exports an alias that messages have waited for. They go in their order, also beyond
    /// the bounds of the stream, since they were accepted.
    pub(super) fn unpark(&mut self, alias: &Arc<str>, owner: NodeId) {
        if self.parked.messages.is_empty() {
            return;
        }
        let name = self.name_of(owner);
        let addresses = [
            format!("{name}/{alias}"),
            format!("{owner}/{alias}"),
            alias.to_string(),
        ];
        let key: StreamKey = (owner, Arc::clone(alias));
        let is_it = |one: &ParkedMessage| addresses.iter().any(|address| **address == *one.address);
        let mut lost = Vec::new();
        for one in self.parked.take(is_it) {
            if one.call.is_some_and(|id| !self.is_pending(id)) {
                continue;
            }
            if self.send_message(&key, one.payload, one.call).is_err() {
                lost.push((Arc::clone(alias), one.call));
            }
        }
        self.tell_lost(lost);
    }

    /// Messages whose alias did not come in time.
    pub(super) fn expire_parked(&mut self) {
        let now = self.now;
        let late = self
            .parked
            .take(|one| one.until.is_some_and(|until| until <= now));
        let next = self
            .parked
            .messages
            .iter()
            .filter_map(|one| one.until)
            .min();
        if let Some(next) = next {
            self.timers.set(Timer::Parked, next);
        }
        self.tell_lost(late.into_iter().map(|one| (one.address, one.call)));
        self.effects.changed = true;
    }

    /// Calls are told by their own deadline.
    fn tell_lost(&mut self, lost: impl IntoIterator<Item = (Arc<str>, Option<u64>)>) {
        let mut posts: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for (address, _) in lost.into_iter().filter(|(_, call)| call.is_none()) {
            *posts.entry(address).or_default() += 1;
        }
        for (address, lost) in posts {
            self.undelivered(&address, None, lost, 0);
        }
    }

    pub(super) fn undelivered(
        &mut self,
        alias: &Arc<str>,
        node: Option<NodeId>,
        lost: u64,
        uncertain: u64,
    ) {
        if lost + uncertain > 0 {
            self.stats.undelivered += lost + uncertain;
            let alias = Arc::clone(alias);
            self.tell(|| Event::Undelivered {
                alias,
                node,
                lost,
                uncertain,
            });
        }
    }

    /// Posts that have not been confirmed, to any node.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.unconfirmed_by_streams() + self.parked.posts() + self.local.posts
    }

    /// Whether everything that was accepted has been handled by its receivers.
    pub(crate) fn is_drained(&self) -> bool {
        self.local.posts + self.local.calls == 0 && self.are_streams_drained()
    }

    /// Ends it all: nothing is accepted any more. What was accepted and not confirmed is told.
    pub(crate) fn stop(&mut self) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.fail_all_calls();
        self.send_due_receipts();
        for key in self.outbound.keys().cloned().collect::<Vec<_>>() {
            self.give_up(&key);
        }
        let parked = self.parked.take(|_| true);
        self.tell_lost(parked.into_iter().map(|one| (one.address, one.call)));
        self.end_exports();
        self.effects.changed = true;
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }
}
