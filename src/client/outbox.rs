//! Everything but handshakes and connects on its way to the server: one queue, one request at a
//! time.
//!
//! The order of the calls is the order on the wire. What queues up while a request is under way
//! leaves together in the next. No I/O here, and no clock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::error::{Error, Failure, Rejection};
use super::message::Message;
use super::op::{Kind, Op};
use super::options::Options;
use super::slot::{Outcome, Slot};
use crate::clock::later;
use crate::util::Retries;

/// What the owner of the outbox must know.
#[derive(Debug, PartialEq)]
pub(crate) enum Report {
    /// A message failed, and nobody waits for it.
    Unheard { channel: Box<str>, error: Error },
    /// The outcome of a subscribe.
    Subscribed {
        pattern: Box<str>,
        id: u64,
        outcome: Outcome,
    },
    /// The disconnect is done, as far as it can be.
    Disconnected,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<Op>,
    queued_bytes: usize,
    in_flight: VecDeque<Op>,
    busy: bool,
    /// The request under way was sent in a session that is gone.
    stale: bool,
    /// Of the request under way: refused for now, to be sent again.
    again: Vec<Op>,
    /// Calls that the server has taken, by id.
    awaiting: HashMap<u64, Op>,
    not_before: Option<Instant>,
    backoff: Retries,
    reports: Vec<Report>,
}

impl Outbox {
    pub(crate) fn new(backoff: Retries) -> Self {
        Self {
            queue: VecDeque::new(),
            queued_bytes: 0,
            in_flight: VecDeque::new(),
            busy: false,
            stale: false,
            again: Vec::new(),
            awaiting: HashMap::new(),
            not_before: None,
            backoff,
            reports: Vec::new(),
        }
    }

    /// Appends all of them, or gives all back.
    pub(crate) fn push(&mut self, ops: Vec<Op>, options: &Options) -> Result<(), (Vec<Op>, Error)> {
        let bytes: usize = ops.iter().map(Op::size).sum();
        let full = self.queue.len() + ops.len() > options.queue_messages
            || self.queued_bytes + bytes > options.queue_bytes;
        // An empty queue takes anything, or a large message could never leave.
        if full && !self.queue.is_empty() && !ops.is_empty() {
            let (messages, bytes) = (self.queue.len(), self.queued_bytes);
            return Err((ops, Error::QueueFull { messages, bytes }));
        }
        self.push_anyway(ops);
        Ok(())
    }

    /// Appends without a look at the limits, for what is bounded otherwise.
    pub(crate) fn push_anyway(&mut self, ops: Vec<Op>) {
        self.queued_bytes += ops.iter().map(Op::size).sum::<usize>();
        self.queue.extend(ops);
    }

    /// Puts them before everything else, in their order.
    pub(crate) fn push_first(&mut self, ops: Vec<Op>) {
        self.queued_bytes += ops.iter().map(Op::size).sum::<usize>();
        ops.into_iter()
            .rev()
            .for_each(|op| self.queue.push_front(op));
    }

    /// The ids of the subscribes in the queue.
    pub(crate) fn subscribes(&self) -> HashSet<u64> {
        let subscribe = |op: &&Op| matches!(op.kind, Kind::Subscribe { .. });
        self.queue
            .iter()
            .filter(subscribe)
            .map(|op| op.id)
            .collect()
    }

    /// The next request, if one may leave now. Without a session only what names its own.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        client_id: Option<&str>,
        options: &Options,
    ) -> Option<String> {
        if self.busy || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        let mut body = String::from("[");
        while let Some(op) = self.queue.front() {
            let room = self.in_flight.len() < options.batch_messages
                && body.len() + op.size() <= options.batch_bytes;
            let sendable = client_id.is_some() || matches!(op.kind, Kind::Forget { .. });
            if !sendable || !(room || self.in_flight.is_empty()) {
                break;
            }
            if !self.in_flight.is_empty() {
                body.push(',');
            }
            op.encode(&mut body, client_id.unwrap_or_default());
            self.queued_bytes -= op.size();
            self.in_flight.extend(self.queue.pop_front());
        }
        if self.in_flight.is_empty() {
            return None;
        }
        body.push(']');
        self.busy = true;
        self.stale = false;
        Some(body)
    }

    /// The ids of what is under way.
    pub(crate) fn in_flight(&self) -> Vec<u64> {
        self.in_flight.iter().map(|op| op.id).collect()
    }

    /// Whether there is something for [`Self::take`], if not now then later.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.busy && !self.queue.is_empty()
    }

    /// When [`Self::take`] is worth another try, if time alone can change its mind.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.is_waiting())
    }

    /// A message without data that is a reply. `false`: to none of ours.
    pub(crate) fn reply(&mut self, reply: &Message) -> bool {
        let id = reply.id().map(|id| id.parse::<u64>().ok());
        let position = self.in_flight.iter().position(|op| match id {
            Some(id) => Some(op.id) == id,
            None => *op.channel == *reply.channel(),
        });
        let Some(op) = position.and_then(|position| self.in_flight.remove(position)) else {
            return self.answer(reply);
        };
        if reply.successful() == Some(true) {
            if op.kind == Kind::Call {
                let open = |slot: &Arc<Slot>| Slot::is_watched(slot) && slot.get().is_none();
                if op.slot.as_ref().is_some_and(open) {
                    self.awaiting.insert(op.id, op);
                }
            } else {
                self.settle(op, Ok(reply.clone()));
            }
            return true;
        }
        let rejection = Rejection::new(&op.channel, reply.error().as_deref());
        let busy = rejection.code().is_some_and(|code| code >= 500);
        let repeat = match op.kind {
            // Nobody waits for this one, so there is time to try again.
            Kind::Subscribe { again, .. } => again && busy,
            Kind::Unsubscribe { .. } => self.stale,
            _ => false,
        };
        if repeat {
            self.again.push(op);
        } else {
            self.settle(op, Err(Error::Rejected(rejection)));
        }
        true
    }

    /// A message that may be what a call waits for. `false`: it is not.
    pub(crate) fn answer(&mut self, message: &Message) -> bool {
        let Some(id) = message.id().and_then(|id| id.parse::<u64>().ok()) else {
            return false;
        };
        let same = |op: &Op| op.kind == Kind::Call && *op.channel == *message.channel();
        if self.awaiting.get(&id).is_some_and(same) {
            let op = self
                .awaiting
                .remove(&id)
                .expect("because it was there just now");
            self.settle(op, answered(message));
            return true;
        }
        // The answer rides before the reply, which will find the slot settled.
        match self.in_flight.iter().find(|op| op.id == id && same(op)) {
            Some(Op {
                slot: Some(slot), ..
            }) if slot.get().is_none() => {
                slot.settle(answered(message));
                true
            }
            _ => false,
        }
    }

    /// The request is over. What got no reply is sent again where that is safe; the rest fails.
    pub(crate) fn finish(&mut self, now: Instant, result: Result<(), Failure>) {
        self.busy = false;
        let mut again = std::mem::take(&mut self.again);
        if result.is_ok() && again.is_empty() {
            self.backoff.reset();
            self.not_before = None;
        } else {
            let asked = result
                .as_ref()
                .err()
                .and_then(Failure::retry_after)
                .unwrap_or_default();
            let pause = self.backoff.failed().max(asked).min(self.backoff.longest());
            self.not_before = Some(later(now, pause));
        }
        let failure = result.err().unwrap_or(Failure::NoReply);
        for op in std::mem::take(&mut self.in_flight) {
            match &op.kind {
                Kind::Disconnect | Kind::Forget { .. } => self.settle(op, Err(Error::SessionLost)),
                _ if failure.nothing_sent() => again.push(op),
                _ if op.is_subscription() && (self.stale || failure != Failure::NoReply) => {
                    again.push(op);
                }
                _ if self.stale => self.settle(op, Err(Error::SessionLost)),
                _ => self.settle(op, Err(Error::Unacknowledged(failure.clone()))),
            }
        }
        self.push_first(again);
    }

    /// No request before then.
    pub(crate) fn pause(&mut self, until: Option<Instant>) {
        self.not_before = self.not_before.max(until);
    }

    /// The session is gone, and with it what the server owed to it. Subscribes under way are
    /// forgotten: the new session needs new ones.
    pub(crate) fn session_lost(&mut self) {
        self.stale = self.busy;
        let subscribe = |op: &Op| matches!(op.kind, Kind::Subscribe { .. });
        self.in_flight.retain(|op| !subscribe(op));
        self.again.retain(|op| !subscribe(op));
        for (_, op) in std::mem::take(&mut self.awaiting) {
            self.settle(op, Err(Error::SessionLost));
        }
    }

    /// Nobody waits any longer: takes it back if it has not left. Says whether it has. A subscribe
    /// stays, as others may have joined it.
    pub(crate) fn abandon(&mut self, id: u64) -> bool {
        self.awaiting.remove(&id);
        let subscribe = |op: &Op| op.id == id && matches!(op.kind, Kind::Subscribe { .. });
        !self.queue.iter().any(subscribe) && !self.take_back(id)
    }

    /// Takes a message out of the queue. Says whether it was there.
    pub(crate) fn take_back(&mut self, id: u64) -> bool {
        let position = self.queue.iter().position(|op| op.id == id);
        let op = position.and_then(|position| self.queue.remove(position));
        self.queued_bytes -= op.as_ref().map_or(0, Op::size);
        op.is_some()
    }

    /// Fails everything.
    pub(crate) fn close(&mut self, reason: &Error) {
        let queue = std::mem::take(&mut self.queue).into_iter();
        let in_flight = std::mem::take(&mut self.in_flight).into_iter();
        let again = std::mem::take(&mut self.again).into_iter();
        let awaiting = std::mem::take(&mut self.awaiting).into_values();
        for op in queue
            .chain(in_flight)
            .chain(again)
            .chain(awaiting)
            .collect::<Vec<_>>()
        {
            self.settle(op, Err(reason.clone()));
        }
        self.queued_bytes = 0;
    }

    /// What happened that nobody waits for, since the last call.
    pub(crate) fn reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// Messages waiting or under way.
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.in_flight.len()
    }

    fn settle(&mut self, op: Op, outcome: Outcome) {
        if let Kind::Subscribe { pattern, .. } = op.kind {
            let id = op.id;
            self.reports.push(Report::Subscribed {
                pattern,
                id,
                outcome,
            });
            return;
        }
        let error = outcome.as_ref().err().cloned();
        let watched = op.slot.as_ref().is_some_and(Slot::is_watched);
        if let Some(slot) = op.slot {
            slot.settle(outcome);
        }
        match (op.kind, error) {
            (Kind::Disconnect, _) => self.reports.push(Report::Disconnected),
            (Kind::Publish | Kind::Call, Some(error)) if !watched => {
                let channel = op.channel;
                self.reports.push(Report::Unheard { channel, error });
            }
            _ => {}
        }
    }
}

fn answered(message: &Message) -> Outcome {
    match message.successful() {
        Some(false) if !message.has_data() => Err(Error::Rejected(Rejection::new(
            message.channel(),
            message.error().as_deref(),
        ))),
        _ => Ok(message.clone()),
    }
}

#[cfg(test)]
mod tests;
