//! Calls that wait for their answers, and the answers to calls of others.

use std::time::Duration;

use crossbeam_channel::Sender;

use super::inbound::unnamed;
use super::sending::Request;
use super::timers::Timer;
use super::{Delivery, Router, StreamKey};
use crate::link::wire::{Payload, Rejected};
use crate::link::{CallError, Event, Fault, FaultKind, NodeId, PostError};

/// The result of a call: JSON, or why there is none.
pub(crate) type Answer = Result<Box<str>, CallError>;
/// Where the result of a call is put, once.
pub(crate) type Waiter = Sender<Answer>;

pub(super) struct Pending {
    waiter: Waiter,
    /// The stream by which it went; `None` while it waits for its alias.
    pub(super) stream: Option<StreamKey>,
}

impl Router {
    /// Begins a call; the result goes to `waiter`. Returns what names the call here.
    pub(crate) fn call(
        &mut self,
        request: &Request<'_>,
        timeout: Duration,
        keep: bool,
        waiter: Waiter,
    ) -> Result<u64, PostError> {
        if self.calls.len() >= self.limits.max_calls {
            return Err(PostError::Full);
        }
        let id = self.count();
        let ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let pending = Pending {
            waiter,
            stream: None,
        };
        self.calls.insert(id, pending);
        let payload = Payload::Call {
            id,
            timeout: ms,
            sender: request.sender,
            event: request.event,
            args: request.args.as_bytes(),
        };
        let until = self.now.checked_add(timeout);
        if let Err(error) = self.submit(request, payload.to_bytes(), Some(id), keep, until) {
            self.calls.remove(&id);
            return Err(error);
        }
        if let Some(until) = until {
            self.timers.set(Timer::Call(id), until);
        }
        Ok(id)
    }

    /// Ends a call without a result: nobody waits any more. What has not arrived is withdrawn.
    pub(crate) fn cancel(&mut self, id: u64) {
        if let Some(pending) = self.end_call(id) {
            match &pending.stream {
                Some(key) => self.withdraw(key, id),
                None => self.withdraw_parked(id),
            }
        }
    }

    pub(super) fn call_is_late(&mut self, id: u64) {
        let Some(pending) = self.end_call(id) else {
            return;
        };
        let error = match &pending.stream {
            Some(key) => {
                self.withdraw(key, id);
                CallError::Timeout
            }
            None => PostError::UnknownAlias.into(),
        };
        finish(&pending, Err(error));
    }

    /// The call has found its receiver.
    pub(super) fn call_goes_to(&mut self, id: u64, key: &StreamKey) {
        if let Some(pending) = self.calls.get_mut(&id) {
            pending.stream = Some(key.clone());
        }
    }

    pub(super) fn is_pending(&self, id: u64) -> bool {
        self.calls.contains_key(&id)
    }

    fn end_call(&mut self, id: u64) -> Option<Pending> {
        // Somebody may wait for room.
        self.effects.changed |= self.calls.len() >= self.limits.max_calls;
        self.timers.cancel(Timer::Call(id));
        self.calls.remove(&id)
    }

    /// A call is over if it is that node's to answer.
    fn settle(&mut self, from: NodeId, id: u64, answer: Answer) {
        let stream = self
            .calls
            .get(&id)
            .and_then(|pending| pending.stream.as_ref());
        if stream.is_some_and(|(to, _)| *to == from) {
            if let Some(pending) = self.end_call(id) {
                finish(&pending, answer);
            }
        }
    }

    pub(super) fn answered(&mut self, from: NodeId, id: u64, value: &[u8]) {
        let text = std::str::from_utf8(value).map(Box::from);
        let answer = text.map_err(|error| CallError::Answer(error.to_string()));
        self.settle(from, id, answer);
    }

    pub(super) fn failed(&mut self, from: NodeId, id: u64, fault: &[u8]) {
        let fault = serde_json::from_slice(fault)
            .unwrap_or_else(|error| Fault::failed(format!("an unreadable fault: {error}")));
        self.settle(from, id, Err(CallError::Fault(fault)));
    }

    pub(super) fn rejected(&mut self, node: NodeId, rejected: &[u8]) {
        let Ok(rejected) = serde_json::from_slice::<Rejected>(rejected) else {
            return;
        };
        let Rejected {
            alias,
            event,
            reason,
        } = rejected;
        self.stats.rejected += 1;
        self.tell(|| Event::Rejected {
            alias,
            event,
            node,
            reason,
        });
    }

    /// The node that was called is gone.
    pub(super) fn fail_calls_to(&mut self, node: NodeId) {
        let lost = self
            .calls
            .iter()
            .filter(|(_, pending)| pending.stream.as_ref().is_some_and(|(to, _)| *to == node));
        let lost: Vec<u64> = lost.map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(pending) = self.end_call(id) {
                if let Some(key) = &pending.stream {
                    self.withdraw(key, id);
                }
                finish(&pending, Err(CallError::PeerLost(node)));
            }
        }
    }

    /// Answers a call that has come from a node.
    pub(crate) fn answer(&mut self, to: NodeId, id: u64, result: &Result<Box<str>, Fault>) {
        if to == self.me {
            let answer = result.clone().map_err(CallError::Fault);
            return self.settle(to, id, answer);
        }
        let payload = match result {
            Ok(value) => Payload::Answer {
                id,
                value: value.as_bytes(),
            }
            .to_bytes(),
            Err(fault) => {
                let fault = to_json(fault);
                Payload::Fault { id, fault: &fault }.to_bytes()
            }
        };
        self.send_answer(to, payload);
    }

    /// Answers to a node that takes none are not kept without end: its calls run into their time.
    fn send_answer(&mut self, to: NodeId, payload: Box<[u8]>) {
        let key: StreamKey = (to, unnamed());
        if self.is_reachable(to) && self.has_room(&key, payload.len()) {
            self.enqueue(&key, payload, None, false);
        }
    }

    /// Tells the sender of a message that it is not carried out.
    pub(crate) fn reject(&mut self, alias: &str, delivery: &Delivery, fault: Fault) {
        if let Some(id) = delivery.call {
            return self.answer(delivery.from, id, &Err(fault));
        }
        let (alias, event, reason) = (alias.into(), delivery.event.to_string(), fault.kind);
        self.send_rejected(
            delivery.from,
            &Rejected {
                alias,
                event,
                reason,
            },
        );
    }

    fn send_rejected(&mut self, to: NodeId, rejected: &Rejected) {
        let rejected = to_json(rejected);
        if to == self.me {
            return self.rejected(to, &rejected);
        }
        self.send_answer(to, Payload::Reject(&rejected).to_bytes());
    }

    /// A message of that origin is too long for the next node on its way.
    pub(super) fn answer_oversize(&mut self, origin: NodeId, alias: &str, payload: &Payload<'_>) {
        let reason = FaultKind::TooLarge;
        match *payload {
            // From a node on the way the caller would not take an answer, but its call is over.
            Payload::Call { id, .. } if origin == self.me => {
                if let Some(pending) = self.end_call(id) {
                    finish(&pending, Err(CallError::Fault(Fault::new(reason, ""))));
                }
            }
            Payload::Call { event, .. } | Payload::Post { event, .. } => {
                let (alias, event) = (alias.to_owned(), event.to_owned());
                self.send_rejected(
                    origin,
                    &Rejected {
                        alias,
                        event,
                        reason,
                    },
                );
            }
            _ => {}
        }
    }

    /// This node ends: so do all calls.
    pub(super) fn fail_all_calls(&mut self) {
        for (_, pending) in self.calls.drain() {
            finish(&pending, Err(CallError::Stopped));
        }
    }
}

fn finish(pending: &Pending, answer: Answer) {
    // Nobody may be waiting any more; there is room for the one answer.
    let _ = pending.waiter.try_send(answer);
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("because text and names can be written")
}
