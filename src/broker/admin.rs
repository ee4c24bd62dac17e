//! What the embedder does for or to one client: subscribe, publish, push, send away.

use std::sync::Arc;

use serde::Serialize;

use super::core::client_of;
use super::events::Client;
use super::facade::Broker;
use super::flags::Flags;
use super::local::{LocalError, broadcast, to_json};
use super::service::ServiceReply;
use super::session::{Gone, Session};
use super::subscriptions::NotSubscribed;
use crate::extensions::timesync::ClockEstimate;
use crate::protocol::{ChannelKind, ChannelName, Pattern, Publication};

impl Broker {
    /// Subscribes a remote client on its behalf, as if it had asked; no policy is. Repeating is
    /// harmless.
    ///
    /// # Errors
    /// If there is no such session, the pattern is none of broadcast channels, or the client, or
    /// all clients together, have as many subscriptions as they may.
    pub fn subscribe(&self, client: impl Into<Client>, pattern: &str) -> Result<(), LocalError> {
        let (session, pattern) = self.subscriber(client.into(), pattern)?;
        let recorded = self.core.subscribe(&session, &[pattern]);
        recorded.map_err(|why| match why {
            NotSubscribed::Gone => LocalError::UnknownClient,
            NotSubscribed::TooMany | NotSubscribed::NoRoom => LocalError::TooManySubscriptions,
        })
    }

    /// Unsubscribes a remote client on its behalf. Whether it was subscribed to that pattern.
    ///
    /// # Errors
    /// If there is no such session, or the pattern is none of broadcast channels.
    pub fn unsubscribe(
        &self,
        client: impl Into<Client>,
        pattern: &str,
    ) -> Result<bool, LocalError> {
        let (session, pattern) = self.subscriber(client.into(), pattern)?;
        Ok(self.core.unsubscribe(&session, &[pattern]) == 1)
    }

    /// Publishes as a remote client, as if it had; returns how many clients it was queued for.
    /// Neither policy nor listeners are asked. To publish as nobody is
    /// [`publish`](Self::publish), as a client in this process that client's own.
    ///
    /// # Errors
    /// If there is no such session, the channel is no broadcast channel, the data cannot be written
    /// as JSON, or the broker has stopped.
    pub fn publish_as(
        &self,
        client: impl Into<Client>,
        channel: &str,
        data: &impl Serialize,
    ) -> Result<usize, LocalError> {
        self.core.check_running()?;
        let session = self.remote(client.into())?;
        let name = broadcast(channel)?;
        let data = to_json(data)?;
        Ok(self.core.publish_as(&session, &name, &data))
    }

    /// Sends a message to one client, remote or in this process, whatever it is subscribed to. The
    /// message may have any fields, see [`Publication::with_fields`].
    ///
    /// # Errors
    /// If there is no such session, its queue is full, the delivery filter dropped it, it has a
    /// value that is no JSON, or its channel is below `/meta`: only the server speaks there.
    pub fn push(
        &self,
        client: impl Into<Client>,
        publication: Publication,
    ) -> Result<(), LocalError> {
        self.core.push(client.into(), publication)
    }

    /// Sends what a service would answer, later: a message to one client with any fields but
    /// `clientId`. A missing `channel` is the one given here. With an `id`, which is to be that of
    /// the call, it is the call's answer: `successful: true` is filled in if it is missing.
    ///
    /// # Errors
    /// If there is no such session, its queue is full, the delivery filter dropped it, or the
    /// channel is none.
    pub fn push_reply(
        &self,
        client: impl Into<Client>,
        channel: &str,
        reply: &ServiceReply,
    ) -> Result<(), LocalError> {
        let invalid = |name: &str| LocalError::InvalidChannel(name.to_owned());
        let named = match reply.get("channel") {
            Some(raw) => Some(serde_json::from_str::<String>(raw).map_err(|_| invalid(raw))?),
            None => None,
        };
        let channel = named.as_deref().unwrap_or(channel);
        let name = ChannelName::try_from(channel).map_err(|_| invalid(channel))?;
        let id = reply.get("id");
        let fields: Vec<(&str, &str)> = reply.complete("\"\"", id).collect();
        self.push(client, Publication::with_fields(&name, &fields))
    }

    /// Ends the session of a client, which first gets what waits for it, and is told so: by what
    /// it has open at the moment, or by its next connect. Whether there was one.
    pub fn disconnect(&self, client: impl Into<Client>) -> bool {
        let session = self.core.session_of(client.into());
        session.is_some_and(|session| self.core.part(&session, Gone::Dismissed).is_some())
    }

    /// Looks at, or changes, what hooks remember about a client; `None` if it is not there.
    pub fn with_flags<T>(
        &self,
        client: impl Into<Client>,
        look: impl FnOnce(&Flags) -> T,
    ) -> Option<T> {
        let session = self.core.session_of(client.into())?;
        Some(look(&session.flags))
    }

    /// What the client last told of its lag and its clock, with the extension timesync in CometD's
    /// form; `None` if it is not there or has not said. Hooks find it among the client's flags.
    pub fn clock_estimate(&self, client: impl Into<Client>) -> Option<ClockEstimate> {
        let told = self.with_flags(client, |flags| flags.get::<ClockEstimate>());
        told.flatten().map(|told| *told)
    }

    /// The id under which remote receivers see what the client publishes; `None` if it is not
    /// there, or senders are not shown.
    pub fn sender_id(&self, client: impl Into<Client>) -> Option<String> {
        let session = self.core.session_of(client.into())?;
        self.core.public_id(&session)
    }

    fn remote(&self, client: Client) -> Result<Arc<Session>, LocalError> {
        let session = self.core.session_of(client);
        let session = session.ok_or(LocalError::UnknownClient)?;
        // A client in this process has a handle of its own, which knows what to do with messages.
        match client_of(&session) {
            Client::Remote(_) => Ok(session),
            Client::Local(_) => Err(LocalError::UnknownClient),
        }
    }

    fn subscriber(
        &self,
        client: Client,
        pattern: &str,
    ) -> Result<(Arc<Session>, Pattern), LocalError> {
        let session = self.remote(client)?;
        let valid = Pattern::try_from(pattern).ok();
        let valid = valid.filter(|pattern| pattern.kind() == ChannelKind::Broadcast);
        let invalid = || LocalError::InvalidChannel(pattern.to_owned());
        Ok((session, valid.ok_or_else(invalid)?))
    }
}
