//! The seam between the broker and the connectors: who asks, and how to tell a connection that
//! something waits for it.
//!
//! In scope: value types and traits. Out of scope: sockets, HTTP, sessions.
//!
//! The broker never writes to a connection. It queues, and then wakes the connection's [`WakeSink`]
//! with the connection's key; the connector's own thread comes back and collects. So a publisher
//! never waits for a receiver's socket, and what was published in the meantime leaves in one write.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::util::Notify;

/// Where the connections of one connector thread are woken.
///
/// Wakes are hints: an implementation must cope with keys of connections that are gone and with
/// wakes that bring nothing.
pub trait WakeSink: Send + Sync + 'static {
    /// Each key names a connection that now has something to collect. Never blocks, and is never
    /// called with a broker lock held. The implementation collects later, on its own thread; but a
    /// client in this process may have its own queue, and collect at once.
    fn wake(&self, keys: &[u64]);

    /// Whether connections that were woken before are still waiting for their turn. A connect that
    /// finds messages then lines up behind them, instead of being answered at once: until its turn
    /// comes more messages may have arrived, and all leave in one response.
    fn is_behind(&self) -> bool {
        false
    }

    /// The one connection that all keys of this sink stand for, where it has a key for each of its
    /// sessions.
    fn connection(&self) -> Option<&ConnectionHandle> {
        None
    }
}

/// One connection, as the broker sees it: the sink it belongs to and its key there.
///
/// A key is not given to another connection while this one is open.
#[derive(Clone)]
pub struct ConnectionHandle {
    /// Where to wake the connection.
    pub sink: Arc<dyn WakeSink>,
    /// The connection's key in that sink.
    pub key: u64,
}

impl ConnectionHandle {
    /// Whether both name the same connection.
    pub fn same(&self, other: &Self) -> bool {
        let (one, other) = (self.whole(), other.whole());
        one.key == other.key && Arc::ptr_eq(&one.sink, &other.sink)
    }

    fn whole(&self) -> &Self {
        self.sink.connection().unwrap_or(self)
    }
}

impl Notify for ConnectionHandle {
    fn notify(&self) {
        self.sink.wake(&[self.key]);
    }
}

impl fmt::Debug for ConnectionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionHandle({})", self.key)
    }
}

/// The transports of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// POST, answered when there is something to say.
    LongPolling,
    /// GET of a script; delivers with connects only.
    CallbackPolling,
    /// Frames in both directions.
    WebSocket,
    /// A stream of events to the client, POST in the other direction.
    EventSource,
}

impl Transport {
    /// The name in `supportedConnectionTypes`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LongPolling => "long-polling",
            Self::CallbackPolling => "callback-polling",
            Self::WebSocket => "websocket",
            Self::EventSource => "eventsource",
        }
    }
}

/// The identity in a genuine cookie of the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BrowserId(pub u128);

impl BrowserId {
    /// A new one from the system's generator.
    ///
    /// # Panics
    /// If the system has no randomness to give.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system's random generator works");
        Self(u128::from_ne_bytes(bytes))
    }
}

/// Who sent a request or a frame.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The client's address; behind trusted proxies the one they report.
    pub ip: IpAddr,
    /// How the message came.
    pub transport: Transport,
    /// From the cookie, if it is one that this server issued. Where sessions are bound to browsers
    /// a connector must see to it that each socket has one.
    pub browser: Option<BrowserId>,
    /// Whether the client's side of the connection is encrypted.
    pub secure: bool,
}
