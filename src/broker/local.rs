//! Clients in this process: they subscribe and publish like remote ones, without a transport.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde::Serialize;

use super::core::{Core, Sender, client_of};
use super::events::Event;
use super::session::{Gone, Identity, Session, SessionSettings};
use super::wakes::Wakes;
use super::work::guarded;
use crate::protocol::{
    ChannelKind, ChannelName, ClientId, LocalId, Pattern, Publication, Publisher, Tail,
};
use crate::transport::{Link, Outlet};

/// A client in this process. It has no handshake, never expires, and is asked no policy. Its id
/// cannot be named by remote clients. Dropping it ends it.
pub struct LocalClient {
    core: Arc<Core>,
    session: Arc<Session>,
    shared: Arc<Shared>,
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
    /// The receiver's queue was full.
    QueueFull,
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidChannel(name) => write!(f, "invalid channel {name:?}"),
            Self::InvalidData(why) => write!(f, "invalid data: {why}"),
            Self::UnknownClient => f.write_str("no such client"),
            Self::QueueFull => f.write_str("the client's queue is full"),
        }
    }
}

impl std::error::Error for LocalError {}

type Callback = Box<dyn FnMut(&Arc<Publication>) + Send>;

struct Entry {
    token: u64,
    pattern: Pattern,
    /// Without one, messages go to `recv_timeout`.
    callback: Option<Arc<Mutex<Callback>>>,
}

struct Shared {
    me: Weak<Self>,
    core: Weak<Core>,
    session: Weak<Session>,
    entries: Mutex<Vec<Entry>>,
    tokens: AtomicU64,
    /// A job that calls callbacks is on its way or running.
    scheduled: AtomicBool,
    inbox: Mutex<VecDeque<Arc<Publication>>>,
    arrived: Condvar,
}

/// A subscription of a local client; dropping it unsubscribes.
#[must_use = "dropping a subscription unsubscribes"]
pub struct LocalSubscription {
    core: Arc<Core>,
    session: Arc<Session>,
    shared: Arc<Shared>,
    token: u64,
    kept: bool,
}

impl LocalClient {
    pub(crate) fn open(core: &Arc<Core>) -> Self {
        let number = core.registry.next_number();
        let settings = SessionSettings {
            browser: None,
            filtered: false,
            deliver_only: false,
        };
        let identity = Identity::Local(LocalId(number));
        let session = Arc::new(Session::new(number, identity, &settings, None));
        let shared = Arc::new_cyclic(|me| Shared {
            me: Weak::clone(me),
            core: Arc::downgrade(core),
            session: Arc::downgrade(&session),
            entries: Mutex::default(),
            tokens: AtomicU64::new(1),
            scheduled: AtomicBool::new(false),
            inbox: Mutex::default(),
            arrived: Condvar::new(),
        });
        session.lock().attach(Link {
            outlet: Arc::clone(&shared) as _,
            key: number,
        });
        let client = client_of(&session);
        core.observers
            .tell(&core.servants, || Event::Connected { client, peer: None });
        Self {
            core: Arc::clone(core),
            session,
            shared,
        }
    }

    /// The client's id, as receivers in this process see it.
    pub fn id(&self) -> LocalId {
        LocalId(self.session.number())
    }

    /// Calls the function for each message, one after the other, on a worker thread. It may block;
    /// what it does not keep up with waits, bounded like any session's queue.
    ///
    /// Of several subscriptions that match a message the most specific one gets it.
    pub fn subscribe(
        &self,
        pattern: &str,
        callback: impl FnMut(&Arc<Publication>) + Send + 'static,
    ) -> Result<LocalSubscription, LocalError> {
        self.record(pattern, Some(Arc::new(Mutex::new(Box::new(callback)))))
    }

    /// Subscribes for [`recv_timeout`](Self::recv_timeout).
    pub fn subscribe_queue(&self, pattern: &str) -> Result<LocalSubscription, LocalError> {
        self.record(pattern, None)
    }

    /// Waits for the next message of a subscription without callback. Blocks at the most so long.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Arc<Publication>> {
        let mut inbox = self.shared.inbox.lock();
        let empty = |inbox: &mut VecDeque<Arc<Publication>>| inbox.is_empty();
        self.shared
            .arrived
            .wait_while_for(&mut inbox, empty, timeout);
        inbox.pop_front()
    }

    /// Publishes; returns how many clients it was queued for. The client gets its own message if it
    /// is subscribed and publishers get theirs.
    pub fn publish(&self, channel: &str, data: &impl Serialize) -> Result<usize, LocalError> {
        let name = broadcast(channel)?;
        let data = to_json(data)?;
        let publisher = Publisher::Local(self.id());
        let publication = Arc::new(Publication::new(&name, &data, publisher));
        let sender = Sender {
            publisher: Some(self.session.number()),
            rider: None,
        };
        let mut wakes = Wakes::default();
        let reached = self.core.fan_out(&publication, sender, &mut wakes);
        wakes.send();
        Ok(reached)
    }

    /// Sends a message to one remote client, whatever it is subscribed to.
    pub fn push(
        &self,
        client: &ClientId,
        channel: &str,
        data: &impl Serialize,
    ) -> Result<(), LocalError> {
        let name = ChannelName::try_from(channel)
            .map_err(|_| LocalError::InvalidChannel(channel.to_owned()))?;
        let data = to_json(data)?;
        let publication = Publication::new(&name, &data, Publisher::Local(self.id()));
        self.core.push(client, publication)
    }

    fn record(
        &self,
        pattern: &str,
        callback: Option<Arc<Mutex<Callback>>>,
    ) -> Result<LocalSubscription, LocalError> {
        let invalid = || LocalError::InvalidChannel(pattern.to_owned());
        let pattern = Pattern::try_from(pattern).map_err(|_| invalid())?;
        if pattern.kind() != ChannelKind::Broadcast {
            return Err(invalid());
        }
        let token = self.shared.tokens.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            token,
            pattern: pattern.clone(),
            callback,
        };
        self.shared.entries.lock().push(entry);
        self.core
            .subscribe(&self.session, &[pattern])
            .map_err(|_| LocalError::UnknownClient)?;
        Ok(LocalSubscription {
            core: Arc::clone(&self.core),
            session: Arc::clone(&self.session),
            shared: Arc::clone(&self.shared),
            token,
            kept: false,
        })
    }
}

impl Drop for LocalClient {
    fn drop(&mut self) {
        self.core.end(&self.session, Gone::Disconnected);
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
        let mut entries = self.shared.entries.lock();
        let Some(at) = entries.iter().position(|entry| entry.token == self.token) else {
            return;
        };
        let gone = entries.remove(at);
        let last = !entries.iter().any(|entry| entry.pattern == gone.pattern);
        drop(entries);
        if last {
            self.core.unsubscribe(&self.session, &[gone.pattern]);
        }
    }
}

impl Outlet for Shared {
    fn wake(&self, _keys: &[u64]) {
        if self
            .entries
            .lock()
            .iter()
            .all(|entry| entry.callback.is_none())
        {
            while let Some(message) = self.take() {
                self.keep(message);
            }
        } else if !self.scheduled.swap(true, Ordering::AcqRel) {
            self.schedule();
        }
    }
}

impl Shared {
    fn schedule(&self) {
        let (Some(core), Some(me)) = (self.core.upgrade(), self.me.upgrade()) else {
            return;
        };
        // The pool for inboxes has no bound, and refuses only when it is being dropped.
        drop(core.servants.submit(Box::new(move || me.serve())));
    }

    /// Calls the callbacks of what has arrived; at most a turn, then others may use the thread.
    fn serve(&self) {
        for _ in 0..TURN {
            let Some(message) = self.take() else {
                self.scheduled.store(false, Ordering::Release);
                // Something may have arrived before the flag was cleared.
                let more = self
                    .session
                    .upgrade()
                    .is_some_and(|session| session.lock().ready());
                if more && !self.scheduled.swap(true, Ordering::AcqRel) {
                    break;
                }
                return;
            };
            self.dispatch(message);
        }
        self.schedule();
    }

    fn take(&self) -> Option<Arc<Publication>> {
        let message = self.session.upgrade()?.lock().pop()?;
        if let Some(core) = self.core.upgrade() {
            core.load.left(message.json().len());
        }
        Some(message)
    }

    fn dispatch(&self, message: Arc<Publication>) {
        let entries = self.entries.lock();
        let matching = entries
            .iter()
            .filter(|entry| entry.pattern.matches(message.channel()));
        let best = matching.max_by_key(|entry| specificity(&entry.pattern));
        let callback = best.map(|entry| entry.callback.clone());
        drop(entries);
        match callback {
            Some(Some(callback)) => {
                guarded("a local client", || (callback.lock())(&message));
            }
            Some(None) => self.keep(message),
            // It was pushed to this client, or unsubscribed meanwhile.
            None => self.keep(message),
        }
    }

    /// Keeps a message for `recv_timeout`, bounded like the session's queue.
    fn keep(&self, message: Arc<Publication>) {
        let Some(core) = self.core.upgrade() else {
            return;
        };
        let mut inbox = self.inbox.lock();
        if inbox.len() >= core.config.queue.messages {
            inbox.pop_front();
            core.counters.dropped_oldest.one();
        }
        inbox.push_back(message);
        drop(inbox);
        self.arrived.notify_one();
    }
}

/// Exact before `*` before `**`, and then the deeper one.
fn specificity(pattern: &Pattern) -> (u8, usize) {
    let rank = match pattern.tail() {
        Tail::Exact => 2,
        Tail::One => 1,
        Tail::Deep => 0,
    };
    (rank, pattern.prefix_segments().count())
}

fn broadcast(channel: &str) -> Result<ChannelName, LocalError> {
    let name = ChannelName::try_from(channel).ok();
    name.filter(|name| name.kind() == ChannelKind::Broadcast)
        .ok_or_else(|| LocalError::InvalidChannel(channel.to_owned()))
}

pub(crate) fn to_json(data: &impl Serialize) -> Result<String, LocalError> {
    serde_json::to_string(data).map_err(|error| LocalError::InvalidData(error.to_string()))
}

/// Callbacks called before others may use the thread.
const TURN: usize = 64;
