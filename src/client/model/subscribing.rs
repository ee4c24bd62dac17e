//! The part of the model that queues the user's messages, and keeps the server's subscriptions
//! equal to the user's.

use std::sync::Arc;

use super::Model;
use crate::client::error::Error;
use crate::client::event::State;
use crate::client::message::Message;
use crate::client::outbox::{Kind, Queued};
use crate::client::receipt::Receipt;
use crate::client::subscriptions::{Sink, Standing};
use crate::protocol::{ChannelKind, Pattern};

impl Model {
    /// Queues all of the messages, or none. Those who wait for them are told.
    pub(crate) fn push(&mut self, mut messages: Vec<Queued>) -> Result<(), Error> {
        // What was given up before it got here, or was asked for by a new session meanwhile.
        messages.retain(|one| {
            let pattern = one.subscribes_to();
            pattern.is_none_or(|pattern| self.subscriptions.is_asked(pattern, one.id()))
        });
        let pushed = match self.check_open() {
            Ok(()) => self.outbox.push(messages, &self.options),
            Err(error) => Err((messages, error)),
        };
        pushed.map_err(|(messages, error)| {
            self.refuse(messages, &error);
            error
        })
    }

    /// Fails messages that are not queued.
    pub(crate) fn refuse(&mut self, messages: Vec<Queued>, error: &Error) {
        for message in messages {
            if let Some(pattern) = message.subscribes_to() {
                let outcome = Err(error.clone());
                self.subscriptions.settle(pattern, message.id(), outcome);
            }
            message.receipt.settle(Err(error.clone()));
        }
    }

    /// A new subscriber. Returns the key to remove it with, and the subscribe, if one is needed;
    /// the receipt gets the outcome in any case.
    pub(crate) fn subscribe(
        &mut self,
        pattern: &Pattern,
        ext: Option<Box<str>>,
        sink: Sink,
        receipt: Arc<Receipt>,
    ) -> Result<(u64, Option<Queued>), Error> {
        if let Err(error) = self.check_open() {
            self.subscriptions.discard(sink, &error);
            return Err(error);
        }
        let id = receipt.id;
        let waits = Some(receipt);
        let (key, ask) = self.subscriptions.add(pattern, ext.clone(), sink, waits);
        let message = ask.then(|| Queued::subscribe(id, Kind::Subscribe, pattern.as_str(), ext));
        Ok((key, message))
    }

    /// The subscriber has gone. The server is told when it was the pattern's last.
    pub(crate) fn unsubscribe(&mut self, pattern: &str, key: u64) {
        let known = match self.subscriptions.remove(pattern, key) {
            None | Some(Standing::Local | Standing::Unknown) => false,
            Some(Standing::Asked(id)) => !self.outbox.take_back(id),
            Some(Standing::Confirmed) => true,
        };
        if known {
            let receipt = Receipt::new(self.ids.next());
            self.outbox
                .push_anyway(Queued::unsubscribe(receipt, pattern));
        }
    }

    /// Ends all subscriptions of the pattern, and tells the server.
    pub(crate) fn unsubscribe_all(
        &mut self,
        pattern: &Pattern,
        receipt: &Arc<Receipt>,
    ) -> Result<(), Error> {
        self.check_open()?;
        self.subscriptions
            .remove_all(pattern.as_str(), &Error::Closed);
        if pattern.kind() == ChannelKind::Broadcast {
            let message = Queued::unsubscribe(Arc::clone(receipt), pattern.as_str());
            self.outbox.push_anyway(message);
        } else {
            receipt.settle(Ok(Message::local_success()));
        }
        Ok(())
    }

    /// Puts subscribes for all that a new session must know before everything else.
    pub(super) fn resubscribe(&mut self) -> usize {
        let (queued, ids) = (self.outbox.subscribes(), &self.ids);
        let asked = self.subscriptions.ask_again(&queued, || ids.next());
        let again = |(id, pattern, ext): (u64, Box<str>, _)| {
            Queued::subscribe(id, Kind::Resubscribe, &pattern, ext)
        };
        let messages: Vec<_> = asked.into_iter().map(again).collect();
        let count = messages.len();
        self.outbox.push_first(messages);
        count
    }

    fn check_open(&self) -> Result<(), Error> {
        match self.session.state() {
            State::Disconnecting | State::Closed => Err(Error::Closed),
            _ => Ok(()),
        }
    }
}
