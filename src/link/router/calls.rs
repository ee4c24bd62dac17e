//! Calls that wait for their answers, and the answers to calls of others.

use std::time::Duration;

use crossbeam_channel::Sender;
use serde::Serialize;

use super::sending::Request;
use super::stream::{Item, StreamKey, unnamed};
use super::timers::Timer;
use super::{Delivery, Router};
use crate::link::wire::{Payload, PayloadKind};
use crate::link::{CallError, Event, Fault, FaultKind, NodeId, PostError};

/// The result of a call: JSON, or why there is none.
pub(crate) type Answer = Result<Box<str>, CallError>;

pub(super) struct PendingCall {
    /// Where the answer is put, once.
    waiter: Sender<Answer>,
    /// The stream by which it went; `None` while it waits for its alias.
    stream: Option<StreamKey>,
}

impl PendingCall {
    fn finish(&self, answer: Answer) {
        // Nobody may be waiting any more; there is room for the one answer.
        let _ = self.waiter.try_send(answer);
    }

    fn is_to(&self, node: NodeId) -> bool {
        self.stream.as_ref().is_some_and(|(to, _)| *to == node)
    }
}

impl Router {
    /// Begins a call; the result goes to `waiter`. Returns what names the call here.
    pub(crate) fn call(
        &mut self,
        request: &Request<'_>,
        timeout: Duration,
        keep: bool,
        waiter: Sender<Answer>,
    ) -> Result<u64, PostError> {
        if self.calls.len() >= self.limits.max_calls {
            return Err(PostError::Full);
        }
        let (id, stream) = (self.count(), None);
        self.calls.insert(id, PendingCall { waiter, stream });
        if let Err(error) = self.submit(request, Some(id), timeout, keep) {
            self.calls.remove(&id);
            return Err(error);
        }
        if let Some(until) = self.now.checked_add(timeout) {
            self.timers.set(Timer::Call(id), until);
        }
        Ok(id)
    }

    /// Ends a call without a result: nobody waits any more. What has not arrived is withdrawn.
    pub(crate) fn cancel(&mut self, id: u64) {
        if let Some(call) = self.end_call(id) {
            match &call.stream {
                Some(key) => self.withdraw(key, id),
                None => self.withdraw_parked(id),
            }
        }
    }

    pub(super) fn call_is_late(&mut self, id: u64) {
        let Some(call) = self.end_call(id) else {
            return;
        };
        let error = match &call.stream {
            Some(key) => {
                self.withdraw(key, id);
                CallError::Timeout
            }
            None => PostError::UnknownAlias.into(),
        };
        call.finish(Err(error));
    }

    /// The call has found its receiver.
    pub(super) fn call_goes_to(&mut self, id: u64, key: &StreamKey) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.stream = Some(key.clone());
        }
    }

    pub(super) fn is_pending(&self, id: u64) -> bool {
        self.calls.contains_key(&id)
    }

    fn end_call(&mut self, id: u64) -> Option<PendingCall> {
        // Somebody may wait for room.
        self.effects.changed |= self.calls.len() >= self.limits.max_calls;
        self.timers.cancel(Timer::Call(id));
        self.calls.remove(&id)
    }

    /// An answer has come. A call is over if it is that node's to answer.
    pub(super) fn answered(&mut self, from: NodeId, id: u64, answer: Answer) {
        if self.calls.get(&id).is_some_and(|call| call.is_to(from)) {
            if let Some(call) = self.end_call(id) {
                call.finish(answer);
            }
        }
    }

    pub(super) fn rejected(&mut self, node: NodeId, rejected: &Payload<'_>) {
        let Ok(reason) = serde_json::from_str::<FaultKind>(rejected.content) else {
            return;
        };
        self.stats.rejected += 1;
        self.tell(|| Event::Rejected {
            alias: rejected.alias.to_owned(),
            event: rejected.event.to_owned(),
            node,
            reason,
        });
    }

    /// The node that was called is gone.
    pub(super) fn fail_calls_to(&mut self, node: NodeId) {
        let calls = self.calls.iter().filter(|(_, call)| call.is_to(node));
        for id in calls.map(|(id, _)| *id).collect::<Vec<u64>>() {
            if let Some(call) = self.end_call(id) {
                if let Some(key) = &call.stream {
                    self.withdraw(key, id);
                }
                call.finish(Err(CallError::PeerLost(node)));
            }
        }
    }

    /// Answers a call that has come from a node.
    pub(crate) fn answer(&mut self, to: NodeId, call: u64, result: Result<Box<str>, Fault>) {
        if to == self.me {
            return self.answered(to, call, result.map_err(CallError::Fault));
        }
        let (kind, content) = match result {
            Ok(value) => (PayloadKind::Answer, String::from(value)),
            Err(fault) => (PayloadKind::Fault, to_json(&fault)),
        };
        let answer = Payload {
            kind,
            call,
            content: &content,
            ..Payload::default()
        };
        self.send_answer(to, answer);
    }

    /// Answers to a node that takes none are not kept without end: its calls run into their time.
    fn send_answer(&mut self, to: NodeId, answer: Payload<'_>) {
        let (key, payload): (StreamKey, _) = ((to, unnamed()), answer.to_bytes());
        if self.is_reachable(to) && self.has_room(&key, payload.len()) {
            let (call, is_post) = (None, false);
            self.enqueue(
                &key,
                Item {
                    payload,
                    call,
                    is_post,
                },
            );
        }
    }

    /// Tells the sender of a message that it is not carried out.
    pub(crate) fn reject(&mut self, alias: &str, delivery: &Delivery, fault: Fault) {
        match delivery.call {
            Some(call) => self.answer(delivery.from, call, Err(fault)),
            None => self.reject_post(delivery.from, alias, &delivery.event, fault.kind),
        }
    }

    fn reject_post(&mut self, from: NodeId, alias: &str, event: &str, reason: FaultKind) {
        let rejected = Payload {
            kind: PayloadKind::Reject,
            alias,
            event,
            content: &to_json(&reason),
            ..Payload::default()
        };
        match from == self.me {
            true => self.rejected(from, &rejected),
            false => self.send_answer(from, rejected),
        }
    }

    /// A message of that origin is too long for the next node on its way.
    pub(super) fn answer_oversize(&mut self, origin: NodeId, alias: &str, payload: &[u8]) {
        let Ok(Payload {
            kind, call, event, ..
        }) = Payload::decode(payload)
        else {
            return;
        };
        let reason = FaultKind::TooLarge;
        match kind {
            // From a node on the way the caller would not take an answer, but its call is over.
            PayloadKind::Call if origin == self.me => {
                if let Some(call) = self.end_call(call) {
                    call.finish(Err(CallError::Fault(Fault::new(reason, ""))));
                }
            }
            PayloadKind::Call | PayloadKind::Post => {
                self.reject_post(origin, alias, event, reason);
            }
            _ => {}
        }
    }

    /// This node ends: so do all calls.
    pub(super) fn fail_all_calls(&mut self) {
        for (_, call) in self.calls.drain() {
            call.finish(Err(CallError::Stopped));
        }
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("because text and names can be written")
}
