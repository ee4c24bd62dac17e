//! Everything that can be asked of a running client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::dispatch::Listener;
use super::error::Error;
use super::event::{Event, Stats};
use super::message::Message;
use super::op::{Kind, Op};
use super::outgoing::{Batch, Outgoing};
use super::pending::{Ack, Pending};
use super::registry::{Callback, Sink};
use super::ring::Ring;
use super::session::State;
use super::shared::Shared;
use super::slot::Slot;
use super::subscription::{Hold, Listening, SubscribeOptions, Subscription};
use super::transport::Transport;
use crate::protocol::Pattern;

/// A way to a client from anywhere: other threads, its own callbacks.
///
/// Handles do not keep the client open: when the [`Client`](super::Client) is dropped, their calls
/// return [`Error::Closed`]. Calls block where they say so; they may do so in callbacks, too, but
/// other callbacks wait meanwhile.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Publishes, and waits until the server has acknowledged it, at most the reply timeout.
    ///
    /// Before the client is connected the message waits its turn: everything leaves in the order
    /// of the calls.
    ///
    /// # Errors
    /// [`Error::Channel`], [`Error::Json`], [`Error::QueueFull`], [`Error::Closed`],
    /// [`Error::Timeout`] with `sent: false`: the server did not get it.
    /// [`Error::Rejected`]: the server refused it. [`Error::Unacknowledged`],
    /// [`Error::SessionLost`], [`Error::Timeout`] with `sent: true`: nobody knows.
    pub fn publish<T: Serialize + ?Sized>(&self, channel: &str, data: &T) -> Result<Ack, Error> {
        self.publish_later(channel, data)?.wait()
    }

    /// Queues a message, and returns at once with what its acknowledgement can be waited for by.
    ///
    /// # Errors
    /// [`Error::Channel`], [`Error::Json`], [`Error::QueueFull`], [`Error::Closed`].
    pub fn publish_later<T: Serialize + ?Sized>(
        &self,
        channel: &str,
        data: &T,
    ) -> Result<Pending, Error> {
        self.send(Outgoing::new(channel, data)?)
    }

    /// Queues a message, and forgets it. If it fails later, listeners get an
    /// [`Event::Unheard`](super::Event::Unheard).
    ///
    /// # Errors
    /// As [`Self::publish_later`].
    pub fn post<T: Serialize + ?Sized>(&self, channel: &str, data: &T) -> Result<(), Error> {
        let op = Outgoing::new(channel, data)?.into_op(self.next_id(), Kind::Publish, None);
        self.push(vec![op])
    }

    /// Like [`Self::publish_later`], for a message with more than data.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::Closed`].
    pub fn send(&self, outgoing: Outgoing) -> Result<Pending, Error> {
        let (slot, id) = (Arc::new(Slot::default()), self.next_id());
        self.push(vec![outgoing.into_op(
            id,
            Kind::Publish,
            Some(Arc::clone(&slot)),
        )])?;
        Ok(self.pending(slot, id))
    }

    /// Asks a service, and waits for its answer: the message on the service's channel that has the
    /// id of the request.
    ///
    /// # Errors
    /// As [`Self::publish`]; [`Error::Channel`] if it is no service channel.
    pub fn call<T: Serialize + ?Sized>(
        &self,
        service: &str,
        data: &T,
        timeout: Duration,
    ) -> Result<Message, Error> {
        let outgoing = Outgoing::new(service, data)?;
        if !outgoing.is_service() {
            return Err(Error::Channel(service.into()));
        }
        let (slot, id) = (Arc::new(Slot::default()), self.next_id());
        self.push(vec![outgoing.into_op(
            id,
            Kind::Call,
            Some(Arc::clone(&slot)),
        )])?;
        self.pending(slot, id).outcome(timeout)
    }

    /// Collects messages that leave together, in one request if they fit its limits.
    ///
    /// All or none of them are queued; if none, their [`Pending`]s say why.
    pub fn batch<R>(&self, fill: impl FnOnce(&mut Batch<'_>) -> R) -> R {
        let mut batch = Batch::new(self);
        let result = fill(&mut batch);
        // Whoever waits is told of a failure.
        let _ = self.push(batch.take_ops());
        result
    }

    /// Subscribes, and waits until the server has acknowledged it, at most the reply timeout.
    ///
    /// The client subscribes again whenever it needs a new session. Patterns below `/meta` and
    /// `/service` are never sent to the server: they show what comes anyway, the replies of the
    /// protocol and the messages of services.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn subscribe(&self, pattern: &str) -> Result<Subscription, Error> {
        let (subscription, pending) = self.subscribe_later(pattern, SubscribeOptions::default())?;
        pending.wait()?;
        Ok(subscription)
    }

    /// Like [`Self::subscribe`], without waiting; messages may come before the acknowledgement.
    ///
    /// # Errors
    /// [`Error::Channel`], [`Error::QueueFull`], [`Error::Closed`].
    pub fn subscribe_later(
        &self,
        pattern: &str,
        options: SubscribeOptions,
    ) -> Result<(Subscription, Pending), Error> {
        let (subscription, pending, op) = self.prepare_subscription(pattern, options)?;
        self.push(op.into_iter().collect())?;
        Ok((subscription, pending))
    }

    /// Subscribes with a function that gets each message, and waits for the acknowledgement.
    ///
    /// All functions of a client run one after the other, in a thread of their own.
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    pub fn listen(
        &self,
        pattern: &str,
        callback: impl Fn(&Message) + Send + Sync + 'static,
    ) -> Result<Listening, Error> {
        let sink = Sink::Callback(Callback::new(callback));
        let (hold, pending, op) = self.hold(pattern, None, sink)?;
        self.push(op.into_iter().collect())?;
        pending.wait()?;
        Ok(Listening::new(hold))
    }

    /// Ends all subscriptions of this very pattern, and waits for the acknowledgement.
    ///
    /// # Errors
    /// As [`Self::publish`]. The subscriptions have ended in any case.
    pub fn unsubscribe(&self, pattern: &str) -> Result<(), Error> {
        let pattern = parse_pattern(pattern)?;
        let slot = Arc::new(Slot::default());
        let unsubscribe = self
            .shared
            .update(|machine, _| machine.unsubscribe_all(&pattern, &slot));
        self.pending(slot, unsubscribe?).wait().map(drop)
    }

    /// Waits until the callbacks have run for everything that has come so far, at most so long.
    /// What was received before the acknowledgement of a call has come when that call returns: so
    /// a publisher's own copy, but for one that a poll took at that very moment.
    ///
    /// Says whether they have. In a callback it waits in vain: that one is not done.
    pub fn catch_up(&self, timeout: Duration) -> bool {
        let slot = Arc::new(Slot::default());
        let waits = self.shared.update(|machine, _| {
            let open = machine.ended().is_none();
            // Without the thread of the callbacks nothing would ever run.
            if open {
                machine.dispatch().catch_up(&slot);
            }
            open
        });
        waits && slot.wait(timeout).is_some()
    }

    /// Calls a function for each event, in the thread of the callbacks, until the client closes.
    pub fn on_event(&self, listener: impl Fn(&Event) + Send + Sync + 'static) {
        let listener = Listener(Arc::new(listener));
        self.shared.update(|machine, _| machine.listen(listener));
    }

    /// Where the client stands with its server.
    pub fn state(&self) -> State {
        self.shared.look(|machine| machine.state())
    }

    /// How it talks to its server now; until it is connected, how it tries to.
    pub fn transport(&self) -> Transport {
        self.shared.look(|machine| machine.via().transport())
    }

    /// The id of the session. Whoever knows it can act as this client.
    pub fn client_id(&self) -> Option<String> {
        self.shared
            .look(|machine| machine.client_id().map(Into::into))
    }

    /// Why the client is closed, if it is.
    pub fn close_reason(&self) -> Option<Error> {
        self.shared.look(|machine| machine.ended().cloned())
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.shared.look(|machine| machine.stats())
    }

    /// Waits until the client is connected.
    ///
    /// # Errors
    /// [`Error::NotConnected`] when it is not in time, or why it never will be.
    pub fn wait_connected(&self, timeout: Duration) -> Result<(), Error> {
        let settled = |state| matches!(state, State::Connected | State::Closed);
        let in_time = self.shared.wait_for(timeout, settled);
        self.shared.look(|machine| match machine.ended() {
            Some(reason) => Err(reason.clone()),
            None if in_time || machine.state() == State::Connected => Ok(()),
            None => Err(Error::NotConnected(
                machine.last_trouble().cloned().map(Box::new),
            )),
        })
    }

    /// Gives the session up and begins a new one, with everything subscribed again. Credentials
    /// are asked for anew.
    pub fn reconnect(&self) {
        self.shared.update(|machine, now| machine.reconnect(now));
    }

    /// Sends what is queued, tells the server that the client leaves, and closes the client.
    /// Waits for that at most so long; then closes in any case.
    pub fn disconnect(&self, timeout: Duration) {
        self.shared.update(|machine, _| machine.disconnect());
        self.shared
            .wait_for(timeout, |state| state == State::Closed);
        self.close();
    }

    /// Closes the client without a word to the server, which keeps the session for its time.
    pub fn close(&self) {
        self.shared
            .update(|machine, _| machine.close(&Error::Closed));
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.shared.ids.next()
    }

    pub(crate) fn pending(&self, slot: Arc<Slot>, id: u64) -> Pending {
        Pending::new(Arc::clone(&self.shared), slot, id)
    }

    /// Everything for a subscription but sending the message, which is left to the caller.
    pub(crate) fn prepare_subscription(
        &self,
        pattern: &str,
        options: SubscribeOptions,
    ) -> Result<(Subscription, Pending, Option<Op>), Error> {
        let ring = Arc::new(Ring::new(options.capacity));
        let sink = Sink::Ring(Arc::clone(&ring));
        let (hold, pending, op) = self.hold(pattern, options.ext, sink)?;
        Ok((Subscription::new(hold, ring), pending, op))
    }

    fn hold(
        &self,
        pattern: &str,
        ext: Option<Box<str>>,
        sink: Sink,
    ) -> Result<(Hold, Pending, Option<Op>), Error> {
        let pattern = parse_pattern(pattern)?;
        let (slot, id) = (Arc::new(Slot::default()), self.next_id());
        let waiter = Arc::clone(&slot);
        let (key, op) = self
            .shared
            .update(|machine, _| machine.subscribe(&pattern, ext, sink, id, waiter))?;
        let hold = Hold {
            shared: Arc::clone(&self.shared),
            pattern: pattern.as_str().into(),
            key,
        };
        Ok((hold, self.pending(slot, id), op))
    }

    /// Fails messages that were never queued.
    pub(crate) fn refuse(&self, ops: Vec<Op>) {
        self.shared
            .update(|machine, _| machine.refuse(ops, &Error::Closed));
    }

    fn push(&self, ops: Vec<Op>) -> Result<(), Error> {
        self.shared.update(|machine, _| machine.push(ops))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({:?})", self.state())
    }
}

fn parse_pattern(text: &str) -> Result<Pattern, Error> {
    Pattern::try_from(text).map_err(|_| Error::Channel(text.into()))
}
