//! Services: handlers for what clients send to `/service/...`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use serde::Serialize;

use super::flags::Flags;
use super::pool::{Inbox, Threads};
use crate::protocol::{ChannelKind, ChannelName, ClientId, json};
use crate::transport::Peer;

/// A message to a service.
pub struct ServiceCall<'a> {
    /// The channel, below `/service/`.
    pub channel: &'a ChannelName,
    /// The caller's session; `None` only for services that are open to anyone.
    pub client: Option<ClientId>,
    /// Where the message came from.
    pub peer: &'a Peer,
    /// What hooks remember about the caller.
    pub flags: &'a Flags,
    /// `data`, raw JSON; `null` if there was none.
    pub data: &'a str,
    /// `ext`, raw JSON.
    pub ext: Option<&'a str>,
    /// `id`, raw JSON.
    pub id: Option<&'a str>,
}

/// Without what may be secret: `ext` and `data`.
impl fmt::Debug for ServiceCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceCall")
            .field("channel", &self.channel)
            .field("client", &self.client)
            .field("peer", &self.peer)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A message for the caller alone: any fields but `clientId`. What is missing of `channel` and `id`
/// is filled in from the call. With the `id` of the call it is the call's answer, and says that it
/// went well (`successful: true`) unless it has a `successful` of its own.
#[derive(Clone, Debug, Default)]
pub struct ServiceReply {
    pub(crate) fields: Vec<(String, String)>,
    /// What was to be raw JSON is none.
    broken: bool,
}

impl ServiceReply {
    /// A message with this `data`.
    pub fn data(value: &impl Serialize) -> Result<Self, ServiceError> {
        Self::default().field("data", value)
    }

    /// A message with this `data`, which must be valid JSON: such as the `data` of a call. Else the
    /// call fails.
    pub fn raw_data(json: &str) -> Self {
        Self {
            fields: vec![("data".to_owned(), json.to_owned())],
            broken: !json::is_value(json),
        }
    }

    /// Adds a field, in the place of an earlier one of that name.
    pub fn field(
        mut self,
        name: impl Into<String>,
        value: &impl Serialize,
    ) -> Result<Self, ServiceError> {
        let json = serde_json::to_string(value).map_err(|error| ServiceError(error.to_string()))?;
        let name = name.into();
        self.fields.retain(|(earlier, _)| *earlier != name);
        self.fields.push((name, json));
        Ok(self)
    }

    /// What it cannot be sent for.
    pub(crate) fn check(&self) -> Result<(), ServiceError> {
        if self.broken {
            return Err("its data is no JSON".into());
        }
        let Some(raw) = self.get("channel") else {
            return Ok(());
        };
        let channel = json::decode(raw).and_then(|name| ChannelName::try_from(&*name).ok());
        match channel {
            Some(channel) if channel.kind() != ChannelKind::Meta => Ok(()),
            _ => Err(ServiceError(format!("{raw} is no channel for an answer"))),
        }
    }

    /// The raw value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map(|(_, raw)| raw.as_str())
    }

    /// All fields of the message: those given but `clientId`, and those that are filled in.
    pub(crate) fn complete<'a>(
        &'a self,
        channel_raw: &'a str,
        id: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let answers = id.is_some_and(|id| self.get("id").is_none_or(|own| own == id));
        let filled = [
            ("channel", Some(channel_raw)),
            ("id", id),
            ("successful", answers.then_some("true")),
        ];
        let filled = filled
            .into_iter()
            .filter_map(|(name, raw)| Some((name, raw?)));
        let filled = filled.filter(|(name, _)| self.get(name).is_none());
        let given = self.fields.iter();
        let given = given.map(|(name, raw)| (name.as_str(), raw.as_str()));
        filled.chain(given.filter(|(name, _)| *name != "clientId"))
    }
}

/// A call that failed. The caller sees only that it did; the text goes to the log.
#[derive(Clone, Debug)]
pub struct ServiceError(pub String);

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServiceError {}

impl From<&str> for ServiceError {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Handles the calls of one service, one after the other, on a worker thread; it may block.
pub trait Service: Send + Sync + 'static {
    /// Answers with no, one or several messages for the caller; they arrive with the reply.
    fn call(&self, call: &ServiceCall<'_>) -> Result<Vec<ServiceReply>, ServiceError>;
}

impl<F> Service for F
where
    F: Fn(&ServiceCall<'_>) -> Result<Vec<ServiceReply>, ServiceError> + Send + Sync + 'static,
{
    fn call(&self, call: &ServiceCall<'_>) -> Result<Vec<ServiceReply>, ServiceError> {
        self(call)
    }
}

/// Who may call a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Access {
    /// Clients with a session.
    #[default]
    Sessions,
    /// Anyone, without a handshake.
    Anyone,
}

/// Calls that wait for one service at the most; a further one fails with `503:...:busy`.
const INBOX: usize = 10_000;

pub(crate) struct ServiceEntry {
    pub(crate) handler: Box<dyn Service>,
    pub(crate) access: Access,
    /// Calls are executed one after the other.
    pub(crate) inbox: Arc<Inbox>,
}

impl ServiceEntry {
    fn new(name: impl fmt::Display, handler: Box<dyn Service>, access: Access) -> Arc<Self> {
        Arc::new(Self {
            handler,
            access,
            inbox: Inbox::new(format!("service {name}"), Threads::One, INBOX),
        })
    }
}

/// Handlers are dropped with no lock held: what they own may ask the broker for anything.
#[derive(Default)]
pub(crate) struct Services {
    entries: RwLock<HashMap<ChannelName, Slot>>,
    /// For channels without a service of their own. Has no name, so nobody can ask for it.
    fallback: RwLock<Option<Arc<ServiceEntry>>>,
}

/// The services of one channel. There is at least one.
#[derive(Default)]
struct Slot {
    own: Option<Arc<ServiceEntry>>,
    /// Those that handle its calls in its place; of several the last.
    covers: Vec<Arc<ServiceEntry>>,
}

impl Slot {
    fn in_force(&self) -> Option<&Arc<ServiceEntry>> {
        self.covers.last().or(self.own.as_ref())
    }
}

impl Services {
    /// Adds or replaces a service.
    pub(crate) fn set(&self, channel: ChannelName, handler: Box<dyn Service>, access: Access) {
        let entry = ServiceEntry::new(&channel, handler, access);
        let former = {
            let mut entries = self.entries.write();
            entries.entry(channel).or_default().own.replace(entry)
        };
        drop(former);
    }

    /// Sets the service of all channels that have none.
    pub(crate) fn set_fallback(&self, handler: Box<dyn Service>, access: Access) {
        let entry = ServiceEntry::new("fallback", handler, access);
        let former = self.fallback.write().replace(entry);
        drop(former);
    }

    pub(crate) fn remove(&self, channel: &ChannelName) -> bool {
        self.take(channel, |slot| slot.own.take()).is_some()
    }

    pub(crate) fn get(&self, channel: &ChannelName) -> Option<Arc<ServiceEntry>> {
        let found = {
            let entries = self.entries.read();
            entries.get(channel).and_then(Slot::in_force).cloned()
        };
        found.or_else(|| self.fallback.read().clone())
    }

    /// Handles the calls of a channel until it is dropped, whatever service the channel has; that
    /// one handles them again afterwards.
    pub(crate) fn cover(
        self: &Arc<Self>,
        channel: ChannelName,
        handler: Box<dyn Service>,
        access: Access,
    ) -> ServiceOverride {
        let entry = ServiceEntry::new(&channel, handler, access);
        let mut entries = self.entries.write();
        let slot = entries.entry(channel.clone()).or_default();
        slot.covers.push(Arc::clone(&entry));
        drop(entries);
        ServiceOverride {
            services: Arc::downgrade(self),
            channel,
            entry,
        }
    }

    fn take(
        &self,
        channel: &ChannelName,
        part: impl FnOnce(&mut Slot) -> Option<Arc<ServiceEntry>>,
    ) -> Option<Arc<ServiceEntry>> {
        let mut entries = self.entries.write();
        let slot = entries.get_mut(channel)?;
        let taken = part(slot);
        if slot.in_force().is_none() {
            entries.remove(channel);
        }
        taken
    }
}

/// A service in the place of another, see [`Services::cover`].
pub(crate) struct ServiceOverride {
    services: Weak<Services>,
    channel: ChannelName,
    entry: Arc<ServiceEntry>,
}

impl Drop for ServiceOverride {
    fn drop(&mut self) {
        let Some(services) = self.services.upgrade() else {
            return;
        };
        let taken = services.take(&self.channel, |slot| {
            let same = |entry: &Arc<ServiceEntry>| Arc::ptr_eq(entry, &self.entry);
            let at = slot.covers.iter().position(same)?;
            Some(slot.covers.remove(at))
        });
        drop(taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(_call: &ServiceCall<'_>) -> Result<Vec<ServiceReply>, ServiceError> {
        Ok(Vec::new())
    }

    #[test]
    fn a_service_that_was_covered_is_there_again() {
        let services = Arc::new(Services::default());
        let echo = ChannelName::try_from("/service/echo").unwrap();
        let now = || services.get(&echo).map(|entry| Arc::as_ptr(&entry));
        let cover = || services.cover(echo.clone(), Box::new(service), Access::Sessions);
        services.set(echo.clone(), Box::new(service), Access::Anyone);
        let own = now();
        let first = cover();
        let under = now();
        let second = cover();
        assert!(own != under && now() != under && now() != own);
        drop(first);
        assert!(now() != own, "the second is there still");
        services.set(echo.clone(), Box::new(service), Access::Anyone);
        assert_eq!(services.get(&echo).unwrap().access, Access::Sessions);
        drop(second);
        assert_eq!(services.get(&echo).unwrap().access, Access::Anyone);
        let third = cover();
        assert!(services.remove(&echo) && !services.remove(&echo));
        assert!(now().is_some(), "what covers it stays");
        drop(third);
        assert!(now().is_none() && services.entries.read().is_empty());
    }
}
