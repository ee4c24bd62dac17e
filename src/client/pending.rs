//! The acknowledgement that a sender waits for.

use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::message::Message;
use super::shared::Shared;
use super::slot::{Outcome, Slot};

/// The server's word that it did what it was asked to.
#[derive(Clone, Debug, PartialEq)]
pub struct Ack(Message);

impl Ack {
    /// The whole reply.
    pub fn reply(&self) -> &Message {
        &self.0
    }
}

/// A message on its way. Dropping it changes nothing for the message; if it fails then, listeners
/// get an [`Event::Unheard`](super::Event::Unheard).
#[must_use = "without a look at it nobody learns whether the server took the message"]
pub struct Pending {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    id: u64,
}

impl Pending {
    pub(crate) fn new(shared: Arc<Shared>, slot: Arc<Slot>, id: u64) -> Self {
        Self { shared, slot, id }
    }

    /// Waits for the acknowledgement, at most the client's reply timeout.
    ///
    /// # Errors
    /// See [`Error`]. After [`Error::Timeout`] with `sent: false` the message is taken back.
    pub fn wait(self) -> Result<Ack, Error> {
        let timeout = self.shared.options.reply_timeout;
        self.wait_timeout(timeout)
    }

    /// Waits for the acknowledgement, at most so long.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn wait_timeout(self, timeout: Duration) -> Result<Ack, Error> {
        self.outcome(timeout).map(Ack)
    }

    /// The acknowledgement, if it is there by now.
    pub fn try_get(&self) -> Option<Result<Ack, Error>> {
        Some(self.slot.get()?.map(Ack))
    }

    pub(crate) fn outcome(self, timeout: Duration) -> Outcome {
        if let Some(outcome) = self.slot.wait(timeout) {
            return outcome;
        }
        let sent = self.shared.update(|machine, _| machine.abandon(self.id));
        // It may have come while we were giving up.
        self.slot.get().unwrap_or(Err(Error::Timeout { sent }))
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
