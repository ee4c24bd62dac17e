//! Messages to be sent, checked before they are queued, and the acknowledgements that their senders
//! wait for.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::driver::Driver;
use super::error::Error;
use super::message::Message;
use super::outbox::{Kind, Queued};
use super::receipt::Receipt;
use super::wire;
use crate::protocol::{ChannelKind, ChannelName};

/// A message to publish, with what `publish` alone does not take.
#[derive(Clone, Debug)]
#[must_use]
pub struct Outgoing {
    channel: ChannelName,
    data: Box<str>,
    ext: Option<Box<str>>,
}

impl Outgoing {
    /// A message to a broadcast or service channel. The data is written as JSON here; a
    /// [`RawValue`](serde_json::value::RawValue) goes to the receivers as it is.
    ///
    /// # Errors
    /// [`Error::Channel`], [`Error::Json`].
    pub fn new<T: Serialize + ?Sized>(channel: &str, data: &T) -> Result<Self, Error> {
        let name = ChannelName::try_from(channel).ok().filter(|name| {
            let whole = matches!(name.as_str(), "/service" | "/meta");
            name.kind() != ChannelKind::Meta && !whole
        });
        Ok(Self {
            channel: name.ok_or_else(|| Error::Channel(channel.into()))?,
            data: wire::to_json(data)?.into(),
            ext: None,
        })
    }

    /// Adds an `ext`.
    ///
    /// # Errors
    /// [`Error::Json`] if it cannot be written as a JSON object.
    pub fn ext<T: Serialize + ?Sized>(mut self, ext: &T) -> Result<Self, Error> {
        self.ext = Some(wire::to_object(ext)?);
        Ok(self)
    }

    pub(crate) fn is_service(&self) -> bool {
        self.channel.kind() == ChannelKind::Service
    }

    pub(crate) fn queued(self, pending: &Pending, kind: Kind) -> Queued {
        let receipt = Arc::clone(&pending.receipt);
        Queued {
            data: Some(self.data),
            ext: self.ext,
            ..Queued::new(receipt, kind, self.channel.as_str())
        }
    }
}

/// A message on its way. Dropping it changes nothing for the message; if it fails then, listeners
/// get an [`Event::Unheard`](super::Event::Unheard).
#[must_use = "without a look at it nobody learns whether the server took the message"]
#[derive(Debug)]
pub struct Pending {
    driver: Arc<Driver>,
    pub(crate) receipt: Arc<Receipt>,
}

impl Pending {
    pub(crate) fn new(driver: Arc<Driver>, receipt: Arc<Receipt>) -> Self {
        Self { driver, receipt }
    }

    /// Waits for the acknowledgement, at most the client's reply timeout. Returns the server's
    /// reply.
    ///
    /// # Errors
    /// See [`Error`]. After [`Error::Timeout`] with `sent: false` the message is taken back; a
    /// subscribe stays for as long as its subscription is there.
    pub fn wait(self) -> Result<Message, Error> {
        let timeout = self.driver.options.reply_timeout;
        self.wait_timeout(timeout)
    }

    /// Waits for the acknowledgement, at most so long.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn wait_timeout(self, timeout: Duration) -> Result<Message, Error> {
        if let Some(outcome) = self.receipt.wait(timeout) {
            return outcome;
        }
        let id = self.receipt.id;
        let sent = self.driver.update(|model, _| model.outbox.abandon(id));
        // It may have come while we were giving up.
        let outcome = self.receipt.get();
        outcome.unwrap_or(Err(Error::Timeout { sent }))
    }

    /// The acknowledgement, if it is there by now.
    pub fn try_get(&self) -> Option<Result<Message, Error>> {
        self.receipt.get()
    }
}
