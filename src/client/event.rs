//! What the client tells about itself.

use std::time::Duration;

use super::error::Error;

/// Where the client stands with its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// No session: asking for one.
    Handshaking,
    /// A session, but no connect of it was answered yet.
    Connecting,
    /// All is well: the server can deliver.
    Connected,
    /// The last connect failed. The session may live on; messages wait in the queue.
    Interrupted,
    /// Sending what is queued, and then the disconnect.
    Disconnecting,
    /// Over, for good.
    Closed,
}

/// Something happened that is no message of a subscription.
///
/// The replies of the server are no events: subscribe to `/meta/*` to see them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The state changed.
    State {
        /// Before.
        from: State,
        /// Since now.
        to: State,
    },
    /// A handshake or a connect did not work; there will be another attempt.
    Trouble {
        /// Why.
        error: Error,
        /// When.
        retry_in: Duration,
    },
    /// WebSocket was not let through; from now on it is long-polling.
    FellBack {
        /// Why.
        error: Error,
    },
    /// There is a new session instead of a lost one. What was published in the gap never comes.
    SessionReplaced {
        /// How many patterns are subscribed to again.
        resubscribed: usize,
        /// The time since the lost session was last heard of.
        gap: Duration,
    },
    /// The server refused a subscription, on a new session or while nobody waited for the
    /// acknowledgement; it has ended.
    SubscriptionLost {
        /// The pattern.
        pattern: String,
        /// Why.
        error: Error,
    },
    /// A message failed, and nobody waits for its acknowledgement.
    Unheard {
        /// Where it was to go.
        channel: String,
        /// Why it did not.
        error: Error,
    },
}

/// Counters since the client was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages delivered by the server.
    pub received: u64,
    /// Of these: messages that no subscription or call took.
    pub unclaimed: u64,
    /// Messages and events that found the callback queue full.
    pub callbacks_dropped: u64,
    /// Callbacks that panicked.
    pub callbacks_panicked: u64,
    /// Successful handshakes.
    pub sessions: u64,
    /// Handshakes and connects that did not work.
    pub failures: u64,
    /// Messages waiting to be sent or acknowledged, at this moment.
    pub queued: usize,
}
