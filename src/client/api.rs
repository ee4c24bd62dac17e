//! The client as its users see it: its owner, and everybody else.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::builder::ClientBuilder;
use super::driver::{Driver, Thread};
use super::error::Error;
use super::event::{Event, State, Stats};
use super::message::Message;
use super::model::Model;
use super::outbox::{Kind, Queued};
use super::outgoing::{Outgoing, Pending};
use super::receipt::Receipt;
use super::ring::Ring;
use super::subscription::{Hold, Listening, SubscribeOptions, Subscription};
use super::subscriptions::{Callback, Listener, Sink};
use super::transport::Transport;
use crate::protocol::Pattern;

/// A connection to a Bayeux server, kept up by threads in the background.
///
/// All its calls are those of [`Handle`]. Dropping it disconnects: what is queued is sent and the
/// server is told, for which it takes at most the linger time.
#[derive(Debug)]
pub struct Client {
    handle: Handle,
    threads: Vec<Thread>,
}

impl Client {
    /// Begins to describe a client of the server at `url`, such as
    /// `http://localhost:8080/cometd`.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// Another way to the client, that does not keep it open.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    pub(crate) fn start(driver: Arc<Driver>) -> Result<Self, Error> {
        Ok(Self {
            threads: driver.start()?,
            handle: Handle { driver },
        })
    }
}

impl Deref for Client {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let driver = &self.handle.driver;
        self.handle.disconnect(driver.options.linger);
        driver.stop(std::mem::take(&mut self.threads));
    }
}

/// A way to a client from anywhere: other threads, its own callbacks.
///
/// Handles do not keep the client open: when the [`Client`](super::Client) is dropped, their calls
/// return [`Error::Closed`]. Calls block where they say so; they may do so in callbacks, too, but
/// other callbacks wait meanwhile.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) driver: Arc<Driver>,
}

impl Handle {
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
    pub fn publish<T: Serialize + ?Sized>(
        &self,
        channel: &str,
        data: &T,
    ) -> Result<Message, Error> {
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
        // Nobody waits for it from the start.
        let (message, _) = self.prepare(Outgoing::new(channel, data)?, Kind::Publish);
        self.push(vec![message])
    }

    /// Like [`Self::publish_later`], for a message with more than data.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::Closed`].
    pub fn send(&self, outgoing: Outgoing) -> Result<Pending, Error> {
        let (message, pending) = self.prepare(outgoing, Kind::Publish);
        self.push(vec![message])?;
        Ok(pending)
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
        let (message, pending) = self.prepare(outgoing, Kind::Call);
        self.push(vec![message])?;
        pending.wait_timeout(timeout)
    }

    /// Collects messages that leave together, in one request if they fit its limits.
    ///
    /// All or none of them are queued; if none, their [`Pending`]s say why.
    pub fn batch<R>(&self, fill: impl FnOnce(&mut Batch<'_>) -> R) -> R {
        let mut batch = Batch {
            handle: self,
            messages: Vec::new(),
        };
        let result = fill(&mut batch);
        // Whoever waits is told of a failure.
        let _ = self.push(std::mem::take(&mut batch.messages));
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
        let (subscription, pending, message) = self.prepare_subscription(pattern, options)?;
        self.push(message.into_iter().collect())?;
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
        let (hold, pending, message) = self.hold(pattern, None, sink)?;
        self.push(message.into_iter().collect())?;
        pending.wait()?;
        Ok(Listening::new(hold))
    }

    /// Ends all subscriptions of this very pattern, and waits for the acknowledgement.
    ///
    /// # Errors
    /// As [`Self::publish`]. The subscriptions have ended in any case.
    pub fn unsubscribe(&self, pattern: &str) -> Result<(), Error> {
        let pattern = parse_pattern(pattern)?;
        let pending = self.pending();
        self.driver
            .update(|model, _| model.unsubscribe_all(&pattern, &pending.receipt))?;
        pending.wait().map(drop)
    }

    /// Waits until the callbacks have run for everything that has come so far, at most so long.
    /// What was received before the acknowledgement of a call has come when that call returns: so
    /// a publisher's own copy, but for one that a poll took at that very moment.
    ///
    /// Says whether they have. In a callback it waits in vain: that one is not done.
    pub fn catch_up(&self, timeout: Duration) -> bool {
        let receipt = Receipt::new(0);
        let waits = self.driver.update(|model, _| {
            let open = model.ended.is_none();
            // Without the thread of the callbacks nothing would ever run.
            if open {
                model.subscriptions.catch_up(&receipt);
            }
            open
        });
        waits && receipt.wait(timeout).is_some()
    }

    /// Calls a function for each event, in the thread of the callbacks, until the client closes.
    pub fn on_event(&self, listener: impl Fn(&Event) + Send + Sync + 'static) {
        let listener = Listener(Arc::new(listener));
        self.driver.update(|model, _| model.listen(listener));
    }

    /// Where the client stands with its server.
    pub fn state(&self) -> State {
        self.driver.look(|model| model.session.state())
    }

    /// How it talks to its server now; until it is connected, how it tries to.
    pub fn transport(&self) -> Transport {
        self.driver.look(|model| model.fallback.current())
    }

    /// The id of the session. Whoever knows it can act as this client.
    pub fn client_id(&self) -> Option<String> {
        self.driver
            .look(|model| model.session.client_id().map(Into::into))
    }

    /// Why the client is closed, if it is.
    pub fn close_reason(&self) -> Option<Error> {
        self.driver.look(|model| model.ended.clone())
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.driver.look(|model| model.stats())
    }

    /// Waits until the client is connected.
    ///
    /// # Errors
    /// [`Error::NotConnected`] when it is not in time, or why it never will be.
    pub fn wait_connected(&self, timeout: Duration) -> Result<(), Error> {
        let settled = |state| matches!(state, State::Connected | State::Closed);
        let in_time = self.driver.wait_for(timeout, settled);
        self.driver.look(|model| match &model.ended {
            Some(reason) => Err(reason.clone()),
            None if in_time || model.session.state() == State::Connected => Ok(()),
            None => Err(Error::NotConnected(
                model.last_trouble.clone().map(Box::new),
            )),
        })
    }

    /// Gives the session up and begins a new one, with everything subscribed again. Credentials
    /// are asked for anew.
    pub fn reconnect(&self) {
        self.driver.update(|model, now| model.reconnect(now));
    }

    /// Sends what is queued, tells the server that the client leaves, and closes the client.
    /// Waits for that at most so long; then closes in any case.
    pub fn disconnect(&self, timeout: Duration) {
        self.driver.update(|model, _| model.disconnect());
        self.driver
            .wait_for(timeout, |state| state == State::Closed);
        self.close();
    }

    /// Closes the client without a word to the server, which keeps the session for its time.
    pub fn close(&self) {
        self.driver.update(|model, _| model.close(&Error::Closed));
    }

    fn pending(&self) -> Pending {
        let receipt = Receipt::new(self.driver.ids.next());
        Pending::new(Arc::clone(&self.driver), receipt)
    }

    /// A message that is yet to be queued.
    fn prepare(&self, outgoing: Outgoing, kind: Kind) -> (Queued, Pending) {
        let pending = self.pending();
        (outgoing.queued(&pending, kind), pending)
    }

    /// Everything for a subscription but sending the message, which is left to the caller.
    fn prepare_subscription(
        &self,
        pattern: &str,
        options: SubscribeOptions,
    ) -> Result<(Subscription, Pending, Option<Queued>), Error> {
        let ring = Arc::new(Ring::new(options.messages, options.bytes));
        let sink = Sink::Ring(Arc::clone(&ring));
        let (hold, pending, message) = self.hold(pattern, options.ext, sink)?;
        Ok((Subscription::new(hold, ring), pending, message))
    }

    fn hold(
        &self,
        pattern: &str,
        ext: Option<Box<str>>,
        sink: Sink,
    ) -> Result<(Hold, Pending, Option<Queued>), Error> {
        let pattern = parse_pattern(pattern)?;
        let pending = self.pending();
        let (key, message) = self.driver.update(|model, _| {
            let receipt = Arc::clone(&pending.receipt);
            model.subscribe(&pattern, ext, sink, receipt)
        })?;
        let hold = Hold {
            driver: Arc::clone(&self.driver),
            pattern: pattern.as_str().into(),
            key,
        };
        Ok((hold, pending, message))
    }

    fn push(&self, messages: Vec<Queued>) -> Result<(), Error> {
        self.driver.update(|model, _| model.push(messages))
    }
}

/// Messages that leave together, in one request if they fit its limits.
#[derive(Debug)]
pub struct Batch<'a> {
    handle: &'a Handle,
    messages: Vec<Queued>,
}

impl Batch<'_> {
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
        let (message, pending) = self.handle.prepare(outgoing, Kind::Publish);
        self.messages.push(message);
        pending
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
        let (subscription, pending, message) =
            self.handle.prepare_subscription(pattern, options)?;
        self.messages.extend(message);
        Ok((subscription, pending))
    }
}

impl Drop for Batch<'_> {
    /// Anything left was never sent: the function that filled the batch panicked.
    fn drop(&mut self) {
        if !self.messages.is_empty() {
            let messages = std::mem::take(&mut self.messages);
            let refuse = |model: &mut Model, _| model.refuse(messages, &Error::Closed);
            self.handle.driver.update(refuse);
        }
    }
}

fn parse_pattern(text: &str) -> Result<Pattern, Error> {
    Pattern::try_from(text).map_err(|_| Error::Channel(text.into()))
}
