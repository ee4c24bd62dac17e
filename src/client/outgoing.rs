//! Messages to be sent, checked before they are queued; and batches of them.

use std::sync::Arc;

use serde::Serialize;

use super::error::Error;
use super::handle::Handle;
use super::op::{Kind, Op};
use super::pending::Pending;
use super::slot::Slot;
use super::subscription::{SubscribeOptions, Subscription};
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

    pub(crate) fn into_op(self, id: u64, kind: Kind, slot: Option<Arc<Slot>>) -> Op {
        Op {
            id,
            kind,
            channel: self.channel.as_str().into(),
            data: Some(self.data),
            ext: self.ext,
            slot,
        }
    }
}

/// Messages that leave together, in one request if they fit its limits.
pub struct Batch<'a> {
    handle: &'a Handle,
    ops: Vec<Op>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(handle: &'a Handle) -> Self {
        let ops = Vec::new();
        Self { handle, ops }
    }

    /// Adds a message. It is sent when the batch is complete; do not wait for it before.
    ///
    /// # Errors
    /// [`Error::Channel`], [`Error::Json`]; anything later is told by [`Pending`].
    pub fn publish<T: Serialize + ?Sized>(
        &mut self,
        channel: &str,
        data: &T,
    ) -> Result<Pending, Error> {
        Ok(self.send(Outgoing::new(channel, data)?))
    }

    /// Adds a message. It is sent when the batch is complete; do not wait for it before.
    pub fn send(&mut self, outgoing: Outgoing) -> Pending {
        let (slot, id) = (Arc::new(Slot::default()), self.handle.next_id());
        self.ops
            .push(outgoing.into_op(id, Kind::Publish, Some(Arc::clone(&slot))));
        self.handle.pending(slot, id)
    }

    /// Adds a subscribe. It is sent when the batch is complete; do not wait for it before.
    ///
    /// # Errors
    /// [`Error::Channel`], [`Error::Closed`]; anything later is told by [`Pending`].
    pub fn subscribe(
        &mut self,
        pattern: &str,
        options: SubscribeOptions,
    ) -> Result<(Subscription, Pending), Error> {
        let (subscription, pending, op) = self.handle.prepare_subscription(pattern, options)?;
        self.ops.extend(op);
        Ok((subscription, pending))
    }

    pub(crate) fn take_ops(&mut self) -> Vec<Op> {
        std::mem::take(&mut self.ops)
    }
}

impl Drop for Batch<'_> {
    /// Anything left was never sent: the function that filled the batch panicked.
    fn drop(&mut self) {
        if !self.ops.is_empty() {
            self.handle.refuse(self.take_ops());
        }
    }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("messages", &self.ops.len())
            .finish()
    }
}
