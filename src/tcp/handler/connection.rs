//! A connection as other threads see it: its mailbox, and the list of all of a server.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::tcp::Address;
use crate::tcp::reactor::Waker;
use crate::util::shrink;

/// Names a connection among all of its server. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(in crate::tcp) u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A handle of a connection, for any thread. Clones name the same connection. It does not keep the
/// connection open.
pub struct Connection<M>(Arc<Inbox<M>>);

struct Inbox<M> {
    id: ConnectionId,
    peer: Option<Address>,
    capacity: usize,
    waker: Waker,
    /// The connection's key at the waker; 0 while there is none.
    key: AtomicU64,
    mail: Mutex<Mail<M>>,
}

struct Mail<M> {
    messages: VecDeque<M>,
    order: Option<Order>,
    closed: bool,
}

/// What the connection is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) enum Order {
    Shutdown,
    Abort,
}

impl<M> Connection<M> {
    /// Its name.
    pub fn id(&self) -> ConnectionId {
        self.0.id
    }

    /// Who is at the other end; `None` for connections of a client, which may change.
    pub fn peer_addr(&self) -> Option<&Address> {
        self.0.peer.as_ref()
    }

    /// Posts a message to the connection's handler. Never blocks; a message that is not taken comes
    /// back.
    pub fn post(&self, message: M) -> Result<(), PostError<M>> {
        self.put(message)?;
        self.wake();
        Ok(())
    }

    /// Lets it flush its output and close, as [`Context::shutdown`](super::Context::shutdown).
    pub fn shutdown(&self) {
        self.give_order(Order::Shutdown);
    }

    /// Closes it at once.
    pub fn abort(&self) {
        self.give_order(Order::Abort);
    }

    /// Whether its handler still takes messages.
    pub fn is_open(&self) -> bool {
        !self.0.mail.lock().closed
    }

    pub(in crate::tcp) fn new(
        id: ConnectionId,
        peer: Option<Address>,
        capacity: usize,
        waker: Waker,
    ) -> Self {
        Self(Arc::new(Inbox {
            id,
            peer,
            capacity,
            waker,
            key: AtomicU64::new(0),
            mail: Mutex::new(Mail {
                messages: VecDeque::new(),
                order: None,
                closed: false,
            }),
        }))
    }

    /// The connection has begun; messages that came before are there to be taken.
    pub(in crate::tcp) fn attach(&self, key: u64) {
        self.0.mail.lock().order = None;
        self.0.key.store(key, Ordering::SeqCst);
    }

    /// The key of the connection, 0 if there is none.
    pub(in crate::tcp) fn key(&self) -> u64 {
        self.0.key.load(Ordering::SeqCst)
    }

    /// The connection has ended, and another may follow.
    pub(in crate::tcp) fn detach(&self) {
        self.0.key.store(0, Ordering::SeqCst);
    }

    /// Nothing will be taken any more.
    pub(in crate::tcp) fn close(&self) {
        self.detach();
        let messages = {
            let mut mail = self.0.mail.lock();
            mail.closed = true;
            std::mem::take(&mut mail.messages)
        };
        drop(messages);
    }

    /// The next message. An emptied mailbox keeps no memory.
    pub(in crate::tcp) fn take(&self) -> Option<M> {
        let mut mail = self.0.mail.lock();
        let message = mail.messages.pop_front();
        if mail.messages.is_empty() {
            mail.messages = VecDeque::new();
        }
        message
    }

    pub(in crate::tcp) fn is_empty(&self) -> bool {
        self.0.mail.lock().messages.is_empty()
    }

    pub(in crate::tcp) fn order(&self) -> Option<Order> {
        self.0.mail.lock().order
    }

    /// Adds a message without waking.
    fn put(&self, message: M) -> Result<(), PostError<M>> {
        let mut mail = self.0.mail.lock();
        let kind = if mail.closed {
            PostErrorKind::Closed
        } else if mail.messages.len() >= self.0.capacity {
            PostErrorKind::Full
        } else {
            mail.messages.push_back(message);
            return Ok(());
        };
        Err(PostError { kind, message })
    }

    fn give_order(&self, order: Order) {
        let mut mail = self.0.mail.lock();
        // Looked at under the lock: what is meant for one connection must not end the next.
        if self.key() == 0 {
            return;
        }
        // To abort is more than to shut down.
        if mail.order != Some(Order::Abort) {
            mail.order = Some(order);
        }
        drop(mail);
        self.wake();
    }

    /// Makes the connection have its turn.
    pub(in crate::tcp) fn wake(&self) {
        let key = self.key();
        if key != 0 {
            self.0.waker.wake(&[key]);
        }
    }
}

/// Posts to many, with one wake per I/O thread. Returns how many took it.
fn post_to_all<M: Clone + Send>(receivers: &[Connection<M>], message: &M) -> usize {
    let mut wakes: Vec<(&Waker, Vec<u64>)> = Vec::new();
    let mut taken = 0;
    for receiver in receivers {
        if receiver.put(message.clone()).is_err() {
            continue;
        }
        taken += 1;
        let (waker, key) = (&receiver.0.waker, receiver.key());
        match wakes.iter_mut().find(|(other, _)| other.same(waker)) {
            Some((_, keys)) => keys.push(key),
            None => wakes.push((waker, vec![key])),
        }
    }
    for (waker, keys) in wakes {
        waker.wake(&keys);
    }
    taken
}

impl<M> Clone for Connection<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Connection<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.0.id)
    }
}

/// A message that was not taken.
#[derive(Clone, PartialEq, Eq)]
pub struct PostError<M> {
    /// Why.
    pub kind: PostErrorKind,
    /// The message.
    pub message: M,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostErrorKind {
    /// So many wait already.
    Full,
    /// The connection is gone.
    Closed,
}

impl<M> fmt::Debug for PostError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostError({:?})", self.kind)
    }
}

impl<M> fmt::Display for PostError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            PostErrorKind::Full => "the mailbox is full",
            PostErrorKind::Closed => "the connection is closed",
        })
    }
}

impl<M> std::error::Error for PostError<M> {}

/// The open connections of a server. Clones are the same list. A connection is on it from before
/// its handler's `connected` until just before its `disconnected`.
pub struct Connections<M>(Arc<List<M>>);

struct List<M> {
    next: AtomicU64,
    open: Mutex<HashMap<ConnectionId, Connection<M>>>,
}

impl<M: Send + 'static> Connections<M> {
    pub(in crate::tcp) fn new() -> Self {
        Self(Arc::new(List {
            next: AtomicU64::new(1),
            open: Mutex::default(),
        }))
    }

    pub(in crate::tcp) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.0.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(in crate::tcp) fn insert(&self, connection: Connection<M>) {
        self.0.open.lock().insert(connection.id(), connection);
    }

    pub(in crate::tcp) fn remove(&self, id: ConnectionId) {
        let mut open = self.0.open.lock();
        let removed = open.remove(&id);
        shrink(&mut open);
        drop(open);
        drop(removed);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.open.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connection of that name, if it is open.
    pub fn get(&self, id: ConnectionId) -> Option<Connection<M>> {
        self.0.open.lock().get(&id).cloned()
    }

    /// All of them, at this moment.
    pub fn all(&self) -> Vec<Connection<M>> {
        self.0.open.lock().values().cloned().collect()
    }

    /// Posts the message to all of them; returns how many took it. Shared content, such as an
    /// [`Arc`], makes the copies cheap.
    pub fn broadcast(&self, message: &M) -> usize
    where
        M: Clone,
    {
        post_to_all(&self.all(), message)
    }

    /// Posts the message to all but one, for example its author.
    pub fn broadcast_except(&self, except: ConnectionId, message: &M) -> usize
    where
        M: Clone,
    {
        let mut receivers = self.all();
        receivers.retain(|connection| connection.id() != except);
        post_to_all(&receivers, message)
    }
}

impl<M> Clone for Connections<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Connections<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connections({})", self.0.open.lock().len())
    }
}
