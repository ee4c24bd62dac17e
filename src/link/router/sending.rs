//! Posts and calls of this node, and those that wait for their alias to be exported.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::timers::Timer;
use super::{Delivery, Origin, Router, StreamKey};
use crate::link::wire::Payload;
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

/// Messages to aliases that nobody exports yet, by address.
#[derive(Default)]
pub(super) struct Parked {
    queues: BTreeMap<Arc<str>, VecDeque<Kept>>,
    messages: usize,
    bytes: usize,
}

/// Messages of this node to its own aliases that were not handled yet.
#[derive(Default)]
pub(super) struct Own {
    pub(super) posts: u64,
    pub(super) calls: u64,
}

impl Own {
    fn of(&mut self, is_post: bool) -> &mut u64 {
        match is_post {
            true => &mut self.posts,
            false => &mut self.calls,
        }
    }

    pub(super) fn finished(&mut self, is_post: bool) {
        *self.of(is_post) -= 1;
    }
}

struct Kept {
    payload: Box<[u8]>,
    call: Option<u64>,
    until: Option<Instant>,
}

impl Parked {
    fn take(&mut self, address: &str) -> VecDeque<Kept> {
        let queue = self.queues.remove(address).unwrap_or_default();
        self.messages -= queue.len();
        self.bytes -= queue.iter().map(|kept| kept.payload.len()).sum::<usize>();
        queue
    }

    /// Takes a call out, if it is there; whether it was.
    fn withdraw(&mut self, call: u64) -> bool {
        let is_it = |kept: &Kept| kept.call == Some(call);
        let place = self.queues.iter().find_map(|(address, queue)| {
            let at = queue.iter().position(is_it)?;
            Some((Arc::clone(address), at))
        });
        let Some((address, at)) = place else {
            return false;
        };
        let mut queue = self.take(&address);
        queue.remove(at);
        self.put(address, queue);
        true
    }

    fn put(&mut self, address: Arc<str>, queue: VecDeque<Kept>) {
        if !queue.is_empty() {
            self.messages += queue.len();
            self.bytes += queue.iter().map(|kept| kept.payload.len()).sum::<usize>();
            self.queues.insert(address, queue);
        }
    }

    /// Posts among them.
    pub(super) fn posts(&self) -> u64 {
        let each = self.queues.values().flatten();
        each.filter(|kept| kept.call.is_none()).count() as u64
    }
}

impl Router {
    /// Posts a message. `keep`: if nobody exports the alias, it waits until somebody does.
    pub(crate) fn post(&mut self, request: &Request<'_>, keep: bool) -> Result<(), PostError> {
        let payload = Payload::Post {
            sender: request.sender,
            event: request.event,
            args: request.args.as_bytes(),
        };
        let until = self.now.checked_add(self.limits.outbox_time);
        self.submit(request, payload.to_bytes(), None, keep, until)?;
        self.stats.posted += 1;
        Ok(())
    }

    /// Posts a message to everybody who exports the alias. Returns how many took it.
    pub(crate) fn broadcast(&mut self, request: &Request<'_>) -> Result<usize, PostError> {
        self.check(request)?;
        let payload = Payload::Post {
            sender: request.sender,
            event: request.event,
            args: request.args.as_bytes(),
        };
        let payload = payload.to_bytes();
        let mut taken = 0;
        for owner in self.owners_of(request.alias) {
            taken += usize::from(
                self.send_to(owner, request.alias, payload.clone(), None)
                    .is_ok(),
            );
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

    pub(super) fn submit(
        &mut self,
        request: &Request<'_>,
        payload: Box<[u8]>,
        call: Option<u64>,
        keep: bool,
        until: Option<Instant>,
    ) -> Result<(), PostError> {
        self.check(request)?;
        match self.resolve(request.node, request.alias) {
            Some(owner) => self.send_to(owner, request.alias, payload, call),
            None if keep => self.park(
                request,
                Kept {
                    payload,
                    call,
                    until,
                },
            ),
            None => Err(PostError::UnknownAlias),
        }
    }

    /// To an alias of a node that can be reached, or of this one.
    fn send_to(
        &mut self,
        owner: NodeId,
        alias: &str,
        payload: Box<[u8]>,
        call: Option<u64>,
    ) -> Result<(), PostError> {
        let key: StreamKey = (owner, alias.into());
        if owner == self.me {
            return self.send_here(&key, &payload, call);
        }
        if !self.has_room(&key, payload.len()) {
            return Err(PostError::Full);
        }
        self.send_by(&key, payload, call);
        Ok(())
    }

    fn send_by(&mut self, key: &StreamKey, payload: Box<[u8]>, call: Option<u64>) {
        if let Some(id) = call {
            self.call_goes_to(id, key);
        }
        self.enqueue(key, payload, call, call.is_none());
    }

    fn send_here(
        &mut self,
        key: &StreamKey,
        payload: &[u8],
        call: Option<u64>,
    ) -> Result<(), PostError> {
        let payload = Payload::decode(payload).ok();
        let delivery = payload.and_then(|payload| self.delivery(self.me, 0, &payload));
        if let Some(id) = call {
            self.call_goes_to(id, key);
        }
        let Some(delivery) = delivery else {
            return Ok(());
        };
        // Counted first: it may be finished on the spot.
        *self.own.of(call.is_none()) += 1;
        if self.deliver(&key.1, delivery) {
            return Ok(());
        }
        self.own.finished(call.is_none());
        Err(PostError::Full)
    }

    fn park(&mut self, request: &Request<'_>, kept: Kept) -> Result<(), PostError> {
        let length = kept.payload.len();
        let full = self.parked.messages >= self.limits.parked_messages
            || self.parked.bytes + length > self.limits.parked_bytes;
        if full {
            return Err(PostError::Full);
        }
        let address: Arc<str> = match request.node {
            Some(node) => format!("{node}/{}", request.alias).into(),
            None => request.alias.into(),
        };
        if let Some(until) = kept.until {
            self.timers.hasten(Timer::Parked, until);
        }
        self.parked.messages += 1;
        self.parked.bytes += length;
        self.parked
            .queues
            .entry(address)
            .or_default()
            .push_back(kept);
        Ok(())
    }

    /// A call is given up before its alias has come: it takes no room any more.
    pub(super) fn withdraw_parked(&mut self, call: u64) {
        self.effects.changed |= self.parked.withdraw(call);
    }

    /// Somebody exports an alias that messages have waited for. They go in their order, also beyond
    /// the bounds of the stream, since they were accepted.
    pub(super) fn unpark(&mut self, alias: &Arc<str>, owner: NodeId) {
        if self.parked.messages == 0 {
            return;
        }
        let name = self.name_of(owner);
        let addresses = [
            format!("{name}/{alias}"),
            format!("{owner}/{alias}"),
            alias.to_string(),
        ];
        let key: StreamKey = (owner, Arc::clone(alias));
        for address in addresses {
            let mut queue = self.parked.take(&address);
            while let Some(kept) = queue.pop_front() {
                if kept.call.is_some_and(|id| !self.is_pending(id)) {
                    continue;
                }
                if owner != self.me {
                    self.send_by(&key, kept.payload, kept.call);
                } else if self.send_here(&key, &kept.payload, kept.call).is_err() {
                    // A call is told by its own deadline.
                    self.undelivered(alias, None, u64::from(kept.call.is_none()));
                }
            }
        }
    }

    /// Messages whose alias did not come in time.
    pub(super) fn expire_parked(&mut self) {
        let addresses: Vec<Arc<str>> = self.parked.queues.keys().cloned().collect();
        let mut next: Option<Instant> = None;
        for address in addresses {
            let (late, rest): (VecDeque<Kept>, VecDeque<Kept>) = self
                .parked
                .take(&address)
                .into_iter()
                .partition(|kept| kept.until.is_some_and(|until| until <= self.now));
            // Calls are told by their own deadline.
            let posts = late.iter().filter(|kept| kept.call.is_none()).count() as u64;
            self.undelivered(&address, None, posts);
            let first = rest.iter().filter_map(|kept| kept.until).min();
            next = next.into_iter().chain(first).min();
            self.parked.put(address, rest);
        }
        if let Some(next) = next {
            self.timers.set(Timer::Parked, next);
        }
        self.effects.changed = true;
    }

    fn undelivered(&mut self, alias: &Arc<str>, node: Option<NodeId>, lost: u64) {
        if lost > 0 {
            self.stats.undelivered += lost;
            let alias = Arc::clone(alias);
            self.tell(|| Event::Undelivered {
                alias,
                node,
                lost,
                uncertain: 0,
            });
        }
    }

    /// Ends it all: nothing is accepted any more. What was accepted and not confirmed is told.
    pub(crate) fn stop(&mut self) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.fail_all_calls();
        self.send_due_receipts();
        let streams: Vec<StreamKey> = self.outbound.keys().cloned().collect();
        for key in streams {
            self.give_up(&key);
        }
        let parked: Vec<Arc<str>> = self.parked.queues.keys().cloned().collect();
        for address in parked {
            let posts = self
                .parked
                .take(&address)
                .iter()
                .filter(|k| k.call.is_none())
                .count();
            self.undelivered(&address, None, posts as u64);
        }
        for (alias, export) in std::mem::take(&mut self.exports) {
            let own = export.inbox.iter().filter(|one| one.from == self.me);
            let own: Vec<Origin> = own.map(Delivery::origin).collect();
            let posts = own.iter().filter(|origin| origin.is_post).count();
            for origin in own {
                self.finished(&alias, origin);
            }
            self.undelivered(&alias, Some(self.me), posts as u64);
            self.effects.discard.push(export.handler);
        }
        self.effects.changed = true;
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }
}
