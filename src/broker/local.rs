//! Clients in this process: they subscribe and publish like remote ones, without a transport.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::core::{Core, client_of};
use super::events::{Client, Event, EventKind};
use super::mailbox::{Destination, LocalInbox};
use super::receiver::Kind;
use super::session::{Gone, Identity, Session, SessionSettings};
use crate::protocol::{ChannelKind, ChannelName, Fit, LocalId, Pattern, Publication, Publisher};
use crate::transport::ConnectionHandle;

/// A client in this process. It has no handshake, never expires, and is asked no policy. Its id
/// cannot be named by remote clients. Dropping it ends it; so do [`Broker::disconnect`], after
/// which its calls fail with [`LocalError::UnknownClient`], and the end of the server, with
/// [`LocalError::Stopped`]. What was queued for it before still comes, and then the word of it
/// ([`on_end`](Self::on_end)).
///
/// [`Broker::disconnect`]: super::Broker::disconnect
pub struct LocalClient {
    core: Arc<Core>,
    session: Arc<Session>,
    inbox: Arc<LocalInbox>,
}

/// What went wrong with a call of a local client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalError {
    /// The channel or pattern is not a valid one, or not one for this.
    InvalidChannel(String),
    /// The data cannot be written as JSON.
    InvalidData(String),
    /// There is no such session.
    UnknownClient,
    /// The server has stopped.
    Stopped,
    /// The receiver's queue was full.
    QueueFull,
    /// The client has as many subscriptions as it may, or there is no room for more.
    TooManySubscriptions,
    /// The delivery filter dropped it.
    Filtered,
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidChannel(name) => write!(f, "invalid channel {name:?}"),
            Self::InvalidData(why) => write!(f, "invalid data: {why}"),
            Self::UnknownClient => f.write_str("no such client"),
            Self::Stopped => f.write_str("the server has stopped"),
            Self::QueueFull => f.write_str("the client's queue is full"),
            Self::TooManySubscriptions => f.write_str("the client has too many subscriptions"),
            Self::Filtered => f.write_str("the delivery filter dropped it"),
        }
    }
}

impl std::error::Error for LocalError {}

/// A subscription of a local client; dropping it unsubscribes.
#[must_use = "dropping a subscription unsubscribes"]
pub struct LocalSubscription {
    core: Arc<Core>,
    session: Arc<Session>,
    inbox: Arc<LocalInbox>,
    token: u64,
    kept: bool,
}

impl LocalClient {
    pub(crate) fn open(core: &Arc<Core>) -> Self {
        let number = core.registry.next_number();
        let settings = SessionSettings {
            created: core.clock.wall().into(),
            ..SessionSettings::default()
        };
        let identity = Identity::Local(LocalId(number));
        let session = Arc::new(Session::new(number, identity, &settings));
        let inbox = LocalInbox::new(core, &session);
        let connection = ConnectionHandle {
            sink: Arc::clone(&inbox) as _,
            key: number,
        };
        session.lock().attach(&connection, Kind::Local, true);
        core.locals.add(number, &inbox);
        let client = client_of(&session);
        core.hooks.tell(EventKind::Connected, || Event::Connected {
            client,
            peer: None,
        });
        // Whoever stops the broker just now may not have seen it.
        if core.check_running().is_err() {
            core.end(&session, Gone::Stopped);
        }
        Self {
            core: Arc::clone(core),
            session,
            inbox,
        }
    }

    /// The client's id, as receivers in this process see it.
    pub fn id(&self) -> LocalId {
        LocalId(self.session.number())
    }

    /// Calls the function for each message, one after the other, on a worker thread. It may block;
    /// what it does not keep up with waits, bounded like any session's queue. Where others would be
    /// disconnected, the oldest messages are dropped: nobody here would come back.
    ///
    /// Of several subscriptions that match a message the most specific one gets it.
    pub fn subscribe(
        &self,
        pattern: &str,
        callback: impl FnMut(&Arc<Publication>) + Send + 'static,
    ) -> Result<LocalSubscription, LocalError> {
        self.record(pattern, Destination::callback(callback))
    }

    /// Subscribes for [`recv_timeout`](Self::recv_timeout).
    pub fn subscribe_queue(&self, pattern: &str) -> Result<LocalSubscription, LocalError> {
        self.record(pattern, Destination::Queue)
    }

    /// Subscribes without receiving: the subscription is recorded, counted and told to observers
    /// like any other, and what arrives for it alone is dropped.
    pub fn subscribe_silently(&self, pattern: &str) -> Result<LocalSubscription, LocalError> {
        self.record(pattern, Destination::Nowhere)
    }

    /// Calls the function when the client is sent away or the server has stopped, behind the
    /// callbacks of all messages that came before; at once if that is so already. Not when the
    /// client is dropped. A later function takes the place of an earlier one.
    pub fn on_end(&self, callback: impl FnOnce(Gone) + Send + 'static) {
        self.inbox.on_end(Some(Box::new(callback)));
    }

    /// Why the client is none any more: it was sent away, or the server has stopped.
    pub fn ended(&self) -> Option<Gone> {
        self.session.lock().gone()
    }

    /// Waits for the next message of a subscription without callback. Blocks at the most so long,
    /// and not at all when the client has [`ended`](Self::ended).
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Arc<Publication>> {
        let message = self.inbox.wait(timeout)?;
        self.core.budget.left(1);
        Some(message)
    }

    /// Publishes; returns how many clients it was queued for. The client gets its own message if it
    /// is subscribed and publishers get theirs.
    pub fn publish(&self, channel: &str, data: &impl Serialize) -> Result<usize, LocalError> {
        let name = broadcast(channel)?;
        let data = to_json(data)?;
        self.check_alive()?;
        Ok(self.core.publish_as(&self.session, &name, &data))
    }

    /// Sends a message to one client, whatever it is subscribed to.
    pub fn push(
        &self,
        client: impl Into<Client>,
        channel: &str,
        data: &impl Serialize,
    ) -> Result<(), LocalError> {
        let name = ChannelName::try_from(channel)
            .map_err(|_| LocalError::InvalidChannel(channel.to_owned()))?;
        let data = to_json(data)?;
        self.check_alive()?;
        let publication = Publication::new(&name, &data, Publisher::Local(self.id()));
        self.core.push(client.into(), publication)
    }

    fn record(&self, pattern: &str, goes: Destination) -> Result<LocalSubscription, LocalError> {
        let invalid = || LocalError::InvalidChannel(pattern.to_owned());
        let pattern = Pattern::try_from(pattern).map_err(|_| invalid())?;
        if pattern.kind() != ChannelKind::Broadcast {
            return Err(invalid());
        }
        let mut recorded = Ok(());
        let token = self.inbox.add(pattern.clone(), goes, || {
            recorded = self.core.subscribe(&self.session, &[pattern]);
        });
        let subscription = LocalSubscription {
            core: Arc::clone(&self.core),
            session: Arc::clone(&self.session),
            inbox: Arc::clone(&self.inbox),
            token,
            kept: false,
        };
        match recorded {
            Ok(()) => Ok(subscription),
            // It has no bound, so it fails only for a client that has ended.
            Err(_) => Err(self
                .check_alive()
                .err()
                .unwrap_or(LocalError::UnknownClient)),
        }
    }

    /// Whether the client still is one: it may have been sent away.
    fn check_alive(&self) -> Result<(), LocalError> {
        match self.session.lock().gone() {
            None => Ok(()),
            Some(Gone::Stopped) => Err(LocalError::Stopped),
            Some(_) => Err(LocalError::UnknownClient),
        }
    }
}

impl Drop for LocalClient {
    fn drop(&mut self) {
        self.inbox.on_end(None);
        self.core.end(&self.session, Gone::Disconnected);
        self.core.locals.remove(self.session.number());
        self.core.budget.left(self.inbox.clear());
    }
}

impl LocalSubscription {
    /// Keeps the subscription for as long as the client lives.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for LocalSubscription {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.inbox.remove(self.token, |pattern| {
            let pattern = pattern.clone();
            self.core.unsubscribe(&self.session, &[pattern]);
        });
    }
}

pub(crate) fn broadcast(channel: &str) -> Result<ChannelName, LocalError> {
    let name = ChannelName::try_from(channel).ok();
    name.filter(|name| name.kind() == ChannelKind::Broadcast)
        .ok_or_else(|| LocalError::InvalidChannel(channel.to_owned()))
}

/// A message that clients would misread is not sent.
pub(crate) fn check_fit(publication: &Publication, wanted: Fit) -> Result<(), LocalError> {
    let invalid = |why: &str| Err(LocalError::InvalidData(why.to_owned()));
    match publication.fit() {
        Fit::Nobody => invalid("not JSON"),
        fit if fit < wanted => invalid("a field that only one client may be sent"),
        _ => Ok(()),
    }
}

pub(crate) fn to_json(data: &impl Serialize) -> Result<String, LocalError> {
    serde_json::to_string(data).map_err(|error| LocalError::InvalidData(error.to_string()))
}
