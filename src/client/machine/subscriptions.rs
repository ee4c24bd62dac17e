//! The part of the machine that keeps the server's subscriptions equal to the user's.

use std::sync::Arc;

use super::Machine;
use crate::client::error::Error;
use crate::client::event::Event;
use crate::client::message::Message;
use crate::client::op::{Kind, Op};
use crate::client::outbox::Report;
use crate::client::registry::{Entry, Sink, Standing};
use crate::client::slot::{Outcome, Slot};
use crate::protocol::{ChannelKind, Pattern};

impl Machine {
    /// Queues all of the messages, or none. Those who wait for them are told.
    pub(crate) fn push(&mut self, mut ops: Vec<Op>) -> Result<(), Error> {
        // What was given up before it got here, or was asked for by a new session meanwhile.
        let registry = &self.dispatch.registry;
        ops.retain(|op| match &op.kind {
            Kind::Subscribe { pattern, .. } => registry.is_asked(pattern, op.id),
            _ => true,
        });
        let open = self.check_open();
        let pushed = match open {
            Ok(()) => self.outbox.push(ops, &self.options),
            Err(error) => Err((ops, error)),
        };
        pushed.map_err(|(ops, error)| {
            self.refuse(ops, &error);
            error
        })
    }

    /// Fails messages that are not queued.
    pub(crate) fn refuse(&mut self, ops: Vec<Op>, error: &Error) {
        for op in ops {
            if let Kind::Subscribe { pattern, .. } = &op.kind {
                self.subscribed(pattern, op.id, &Err(error.clone()));
            }
            if let Some(slot) = op.slot {
                slot.settle(Err(error.clone()));
            }
        }
    }

    /// A new subscriber. Returns the key to remove it with, and the subscribe, if one is needed.
    pub(crate) fn subscribe(
        &mut self,
        pattern: &Pattern,
        ext: Option<Box<str>>,
        sink: Sink,
        id: u64,
        slot: Arc<Slot>,
    ) -> Result<(u64, Option<Op>), Error> {
        if let Err(error) = self.check_open() {
            self.dispatch.discard(vec![sink], &error);
            return Err(error);
        }
        let registry = &mut self.dispatch.registry;
        let added = registry.add(pattern, ext.clone(), sink, id, slot);
        let op = added
            .ask
            .then(|| self.subscribe_op(id, pattern.as_str(), ext, false));
        Ok((added.key, op))
    }

    /// The subscriber has gone. The server is told when it was the pattern's last.
    pub(crate) fn unsubscribe(&mut self, pattern: &str, key: u64) {
        let Some((sink, entry)) = self.dispatch.registry.remove(pattern, key) else {
            return;
        };
        self.dispatch.discard(vec![sink], &Error::Closed);
        let Some(entry) = entry else {
            return;
        };
        let known = match entry.standing {
            Standing::Local | Standing::Unknown => false,
            Standing::Asked(id) => !self.outbox.take_back(id),
            Standing::Confirmed => true,
        };
        self.end(entry, &Error::Closed);
        if known {
            let op = self.unsubscribe_op(pattern, None);
            self.outbox.push_anyway(vec![op]);
        }
    }

    /// Ends all subscriptions of the pattern, and tells the server. Returns the message's id.
    pub(crate) fn unsubscribe_all(
        &mut self,
        pattern: &Pattern,
        slot: &Arc<Slot>,
    ) -> Result<u64, Error> {
        self.check_open()?;
        if let Some(entry) = self.dispatch.registry.remove_pattern(pattern.as_str()) {
            self.end(entry, &Error::Closed);
        }
        let op = self.unsubscribe_op(pattern.as_str(), Some(Arc::clone(slot)));
        let id = op.id;
        match pattern.kind() {
            ChannelKind::Broadcast => self.outbox.push_anyway(vec![op]),
            _ => slot.settle(Ok(Message::local_success())),
        }
        Ok(id)
    }

    /// Puts subscribes for all that a new session must know before everything else.
    pub(super) fn resubscribe(&mut self) -> usize {
        let queued = self.outbox.subscribes();
        let unasked = self.dispatch.registry.unasked(|id| queued.contains(&id));
        let mut ops = Vec::new();
        for (pattern, ext) in unasked {
            let id = self.ids.next();
            self.dispatch.registry.asked(&pattern, id);
            ops.push(self.subscribe_op(id, &pattern, ext, true));
        }
        let count = ops.len();
        self.outbox.push_first(ops);
        count
    }

    /// Acts on what the outbox has to tell.
    pub(super) fn take_reports(&mut self) {
        for report in self.outbox.reports() {
            match report {
                Report::Unheard { channel, error } => {
                    let channel = channel.into();
                    self.dispatch.emit(&Event::Unheard { channel, error });
                }
                Report::Subscribed {
                    pattern,
                    id,
                    outcome,
                } => {
                    self.subscribed(&pattern, id, &outcome);
                }
                Report::Disconnected => self.close(&Error::Closed),
            }
        }
    }

    fn subscribed(&mut self, pattern: &str, id: u64, outcome: &Outcome) {
        let ended = self.dispatch.registry.settle(pattern, id, outcome);
        if let (Some(entry), Err(error)) = (ended, outcome) {
            let watched = self.end(entry, error);
            if !watched {
                let (pattern, error) = (pattern.to_owned(), error.clone());
                self.dispatch
                    .emit(&Event::SubscriptionLost { pattern, error });
            }
        }
    }

    /// Says whether somebody was waiting for it.
    fn end(&mut self, entry: Entry, reason: &Error) -> bool {
        let (sinks, watched) = entry.end(reason);
        self.dispatch.discard(sinks, reason);
        watched
    }

    fn subscribe_op(&self, id: u64, pattern: &str, ext: Option<Box<str>>, again: bool) -> Op {
        let pattern = pattern.into();
        Op {
            id,
            ext,
            ..self.op(Kind::Subscribe { pattern, again }, "/meta/subscribe", None)
        }
    }

    fn unsubscribe_op(&self, pattern: &str, slot: Option<Arc<Slot>>) -> Op {
        let pattern = pattern.into();
        self.op(Kind::Unsubscribe { pattern }, "/meta/unsubscribe", slot)
    }
}
