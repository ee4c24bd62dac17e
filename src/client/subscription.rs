//! What holds a subscription open.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::driver::Driver;
use super::error::Error;
use super::message::Message;
use super::ring::{RecvError, Ring};
use super::wire;

/// A receiver of messages. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    hold: Hold,
    ring: Arc<Ring>,
}

/// Keeps a callback subscribed. Dropping it unsubscribes; a call under way is not waited for.
#[derive(Debug)]
pub struct Listening {
    hold: Hold,
}

/// How to subscribe.
#[derive(Clone, Debug)]
#[must_use]
pub struct SubscribeOptions {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) ext: Option<Box<str>>,
}

/// A place among the subscriptions.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) driver: Arc<Driver>,
    pub(crate) pattern: Box<str>,
    pub(crate) key: u64,
}

impl Subscription {
    pub(crate) fn new(hold: Hold, ring: Arc<Ring>) -> Self {
        Self { hold, ring }
    }

    /// The pattern subscribed to.
    pub fn pattern(&self) -> &str {
        &self.hold.pattern
    }

    /// Blocks for the next message.
    ///
    /// # Errors
    /// [`RecvError::Ended`] when the subscription has ended and everything is read.
    pub fn recv(&self) -> Result<Message, RecvError> {
        self.ring.recv(None)
    }

    /// Waits for the next message at most so long.
    ///
    /// # Errors
    /// [`RecvError::Empty`] when none came in time, and as [`Self::recv`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Message, RecvError> {
        self.ring.recv(Some(timeout))
    }

    /// The next message, if it is there.
    ///
    /// # Errors
    /// As [`Self::recv_timeout`].
    pub fn try_recv(&self) -> Result<Message, RecvError> {
        self.ring.recv(Some(Duration::ZERO))
    }

    /// Blocks for each message, until the subscription ends.
    pub fn iter(&self) -> impl Iterator<Item = Message> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// Messages waiting to be read.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether nothing waits to be read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages were lost because they were not read in time; the oldest go first.
    pub fn dropped(&self) -> u64 {
        self.ring.dropped()
    }
}

impl Listening {
    pub(crate) fn new(hold: Hold) -> Self {
        Self { hold }
    }

    /// The pattern subscribed to.
    pub fn pattern(&self) -> &str {
        &self.hold.pattern
    }
}

impl Default for SubscribeOptions {
    /// A buffer of 1,024 messages and 64 MiB, no `ext`.
    fn default() -> Self {
        Self {
            messages: 1024,
            bytes: 64 << 20,
            ext: None,
        }
    }
}

impl SubscribeOptions {
    /// How much may wait to be read: messages, and bytes of them; one message in any case.
    pub fn capacity(mut self, messages: usize, bytes: usize) -> Self {
        (self.messages, self.bytes) = (messages, bytes);
        self
    }

    /// What goes along in `ext` with each subscribe, also on later sessions.
    ///
    /// # Errors
    /// [`Error::Json`] if it cannot be written as a JSON object.
    pub fn ext<T: Serialize + ?Sized>(mut self, ext: &T) -> Result<Self, Error> {
        self.ext = Some(wire::to_object(ext)?);
        Ok(self)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.driver
            .update(|model, _| model.unsubscribe(&self.pattern, self.key));
    }
}
