//! What observers are told: six kinds of events, bounded, and never in the way of the server.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::RwLock;

use super::pool::{Inbox, Pool, Threads, guarded};
use super::session::Gone;
use crate::counters::Counter;
use crate::protocol::{ClientId, LocalId, Pattern, Publication, Shown};
use crate::transport::Peer;

/// A client, remote or in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// A remote client.
    Remote(ClientId),
    /// A client in this process.
    Local(LocalId),
}

/// For logs: a client id is a credential, of which four characters are shown.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(id) => Shown(id.as_str()).fmt(f),
            Self::Local(id) => write!(f, "local {}", id.0),
        }
    }
}

impl From<ClientId> for Client {
    fn from(id: ClientId) -> Self {
        Self::Remote(id)
    }
}

impl From<&ClientId> for Client {
    fn from(id: &ClientId) -> Self {
        Self::Remote(*id)
    }
}

impl From<LocalId> for Client {
    fn from(id: LocalId) -> Self {
        Self::Local(id)
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A client got a session.
    Connected {
        /// Who.
        client: Client,
        /// Where a remote one came from.
        peer: Option<Peer>,
    },
    /// A session ended.
    Disconnected {
        /// Who.
        client: Client,
        /// Why.
        reason: Gone,
    },
    /// A subscription was recorded.
    Subscribed {
        /// Who.
        client: Client,
        /// What.
        pattern: Pattern,
    },
    /// A subscription was removed; also before `Disconnected`, one for each.
    Unsubscribed {
        /// Who.
        client: Client,
        /// What.
        pattern: Pattern,
    },
    /// Something was published on a broadcast channel, whether or not anybody listens.
    Published {
        /// The message, with its publisher.
        publication: Arc<Publication>,
    },
    /// A message was sent to one client.
    Pushed {
        /// To whom.
        client: Client,
        /// The message.
        publication: Arc<Publication>,
    },
}

/// Which of the six an [`Event`] is: what an observer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// [`Event::Connected`].
    Connected,
    /// [`Event::Disconnected`].
    Disconnected,
    /// [`Event::Subscribed`].
    Subscribed,
    /// [`Event::Unsubscribed`].
    Unsubscribed,
    /// [`Event::Published`].
    Published,
    /// [`Event::Pushed`].
    Pushed,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Connected,
        Self::Disconnected,
        Self::Subscribed,
        Self::Unsubscribed,
        Self::Published,
        Self::Pushed,
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Event {
    /// Which kind it is.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Connected { .. } => EventKind::Connected,
            Self::Disconnected { .. } => EventKind::Disconnected,
            Self::Subscribed { .. } => EventKind::Subscribed,
            Self::Unsubscribed { .. } => EventKind::Unsubscribed,
            Self::Published { .. } => EventKind::Published,
            Self::Pushed { .. } => EventKind::Pushed,
        }
    }
}

type Callback = Box<dyn Fn(&Event) + Send + Sync>;

struct Observer {
    /// The bits of the kinds that it is told of.
    kinds: u8,
    callback: Callback,
    inbox: Arc<Inbox>,
}

/// Events that wait for one observer at the most; further ones are counted and dropped.
const INBOX: usize = 10_000;

#[derive(Default)]
pub(crate) struct Observers {
    /// The bits of the kinds that anybody is told of: what nobody asked for costs nothing more.
    wanted: AtomicU8,
    list: RwLock<Arc<[Arc<Observer>]>>,
    /// Events that observers were too slow for.
    pub(crate) dropped: Counter,
}

impl Observers {
    pub(crate) fn add(&self, kinds: impl IntoIterator<Item = EventKind>, callback: Callback) {
        let kinds = kinds.into_iter().fold(0, |bits, kind| bits | kind.bit());
        let observer = Arc::new(Observer {
            kinds,
            callback,
            inbox: Inbox::new("an observer", Threads::One, INBOX),
        });
        let mut list = self.list.write();
        *list = list.iter().cloned().chain([observer]).collect();
        self.wanted.fetch_or(kinds, Ordering::Release);
    }

    /// Whether each can be told so many events more without losing any.
    pub(crate) fn have_room(&self, events: usize) -> bool {
        let list = Arc::clone(&self.list.read());
        let mut inboxes = list.iter().map(|observer| &observer.inbox);
        inboxes.all(|inbox| inbox.waiting_and_running().0 + events <= INBOX)
    }

    /// Whether all have been told everything.
    pub(crate) fn are_idle(&self) -> bool {
        let list = Arc::clone(&self.list.read());
        let mut inboxes = list.iter().map(|observer| &observer.inbox);
        inboxes.all(|inbox| inbox.waiting_and_running() == (0, 0))
    }

    /// Tells those who asked for this kind of events, if anybody did. Never blocks.
    pub(crate) fn tell(&self, pool: &Pool, kind: EventKind, event: impl FnOnce() -> Event) {
        if self.wanted.load(Ordering::Acquire) & kind.bit() == 0 {
            return;
        }
        let list = Arc::clone(&self.list.read());
        let event = event();
        debug_assert_eq!(event.kind(), kind);
        for observer in list.iter().filter(|each| each.kinds & kind.bit() != 0) {
            let told = (Arc::clone(observer), event.clone());
            let told = pool.submit(&observer.inbox, None, told, |(observer, event)| {
                guarded("an observer", || (observer.callback)(&event));
            });
            if told.is_err() {
                self.dropped.one();
            }
        }
    }
}
