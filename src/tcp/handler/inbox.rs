//! The mailbox of a connection, and the handle by which others use it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::tcp::Address;
use crate::tcp::reactor::Waker;

/// Names a connection among all of its server. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(in crate::tcp) u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub(in crate::tcp) struct Inbox<M> {
    id: ConnectionId,
    peer: Option<Address>,
    capacity: usize,
    waker: Waker,
    /// The connection's key at the waker; 0 while there is none.
    key: AtomicU64,
    state: Mutex<State<M>>,
}

struct State<M> {
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

impl<M> Inbox<M> {
    pub(in crate::tcp) fn new(
        id: ConnectionId,
        peer: Option<Address>,
        capacity: usize,
        waker: Waker,
    ) -> Arc<Self> {
        let state = State {
            messages: VecDeque::new(),
            order: None,
            closed: false,
        };
        let (key, state) = (AtomicU64::new(0), Mutex::new(state));
        Arc::new(Self {
            id,
            peer,
            capacity,
            waker,
            key,
            state,
        })
    }

    pub(in crate::tcp) fn id(&self) -> ConnectionId {
        self.id
    }

    /// The connection has begun; messages that came before are there to be taken.
    pub(in crate::tcp) fn attach(&self, key: u64) {
        self.state.lock().order = None;
        self.key.store(key, Ordering::SeqCst);
    }

    /// The key of the connection, 0 if there is none.
    pub(in crate::tcp) fn key(&self) -> u64 {
        self.key.load(Ordering::SeqCst)
    }

    /// The connection has ended, and another may follow.
    pub(in crate::tcp) fn detach(&self) {
        self.key.store(0, Ordering::SeqCst);
    }

    /// Nothing will be taken any more.
    pub(in crate::tcp) fn close(&self) {
        self.detach();
        let messages = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.messages)
        };
        drop(messages);
    }

    /// The next message. An emptied mailbox keeps no memory.
    pub(in crate::tcp) fn take(&self) -> Option<M> {
        let mut state = self.state.lock();
        let message = state.messages.pop_front();
        if state.messages.is_empty() {
            state.messages = VecDeque::new();
        }
        message
    }

    pub(in crate::tcp) fn is_empty(&self) -> bool {
        self.state.lock().messages.is_empty()
    }

    pub(in crate::tcp) fn order(&self) -> Option<Order> {
        self.state.lock().order
    }

    /// Adds a message without waking; returns the key to wake, if there is one.
    fn put(&self, message: M) -> Result<Option<u64>, PostError<M>> {
        let mut state = self.state.lock();
        let kind = if state.closed {
            PostErrorKind::Closed
        } else if state.messages.len() >= self.capacity {
            PostErrorKind::Full
        } else {
            state.messages.push_back(message);
            drop(state);
            return Ok(Some(self.key()).filter(|key| *key != 0));
        };
        Err(PostError { kind, message })
    }

    pub(in crate::tcp) fn give_order(&self, order: Order) {
        let mut state = self.state.lock();
        // Looked at under the lock: what is meant for one connection must not end the next.
        if self.key() == 0 {
            return;
        }
        // To abort is more than to shut down.
        if state.order != Some(Order::Abort) {
            state.order = Some(order);
        }
        drop(state);
        self.wake();
    }

    /// Makes the connection have its turn.
    pub(in crate::tcp) fn wake(&self) {
        let key = self.key();
        if key != 0 {
            self.waker.wake(&[key]);
        }
    }
}

/// A handle of a connection, for any thread. Clones name the same connection. It does not keep the
/// connection open.
pub struct Connection<M>(pub(in crate::tcp) Arc<Inbox<M>>);

impl<M: Send + 'static> Connection<M> {
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
        if let Some(key) = self.0.put(message)? {
            self.0.waker.wake(&[key]);
        }
        Ok(())
    }

    /// Lets it flush its output and close, as [`Context::shutdown`](super::Context::shutdown).
    pub fn shutdown(&self) {
        self.0.give_order(Order::Shutdown);
    }

    /// Closes it at once.
    pub fn abort(&self) {
        self.0.give_order(Order::Abort);
    }

    /// Whether its handler still takes messages.
    pub fn is_open(&self) -> bool {
        !self.0.state.lock().closed
    }
}

/// Posts to many, with one wake per I/O thread. Returns how many took it.
pub(super) fn post_to_all<M: Clone + Send>(receivers: &[Connection<M>], message: &M) -> usize {
    let mut wakes: Vec<(&Waker, Vec<u64>)> = Vec::new();
    let mut taken = 0;
    for receiver in receivers {
        let inbox = &receiver.0;
        let Ok(key) = inbox.put(message.clone()) else {
            continue;
        };
        taken += 1;
        let Some(key) = key else { continue };
        match wakes.iter_mut().find(|(waker, _)| waker.same(&inbox.waker)) {
            Some((_, keys)) => keys.push(key),
            None => wakes.push((&inbox.waker, vec![key])),
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
