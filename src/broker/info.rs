//! What the server knows of one client, for its embedder to look at.

use std::net::IpAddr;
use std::time::SystemTime;

use super::core::client_of;
use super::events::Client;
use super::facade::Broker;
use crate::protocol::Pattern;

/// A session at the moment it was asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Whose it is.
    pub client: Client,
    /// When it began, to the second.
    pub created: SystemTime,
    /// Where the handshake came from; `None` for a client in this process.
    pub address: Option<IpAddr>,
    /// What it is subscribed to, and since when (to the second), in the order of the patterns.
    pub subscriptions: Vec<(Pattern, SystemTime)>,
    /// Whether a connect is held.
    pub held: bool,
    /// Messages that wait for it, and that are being written.
    pub queued_messages: usize,
    /// Their bytes.
    pub queued_bytes: usize,
}

impl Broker {
    /// Looks at the session of a client; `None` if it is not there, or has ended.
    pub fn session(&self, client: impl Into<Client>) -> Option<SessionInfo> {
        let session = self.core.session_of(client.into())?;
        let subscriptions = session.subscriptions.lock();
        let mut subscriptions: Vec<_> = subscriptions
            .iter()
            .map(|(pattern, since)| (pattern.clone(), SystemTime::from(*since)))
            .collect();
        subscriptions.sort_unstable();
        let state = session.lock();
        if state.gone().is_some() {
            return None;
        }
        let (queued_messages, queued_bytes) = state.queued();
        Some(SessionInfo {
            client: client_of(&session),
            created: session.created.into(),
            address: session.address(),
            subscriptions,
            held: state.is_held(),
            queued_messages,
            queued_bytes,
        })
    }
}
