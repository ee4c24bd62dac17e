//! The list of a server's open connections.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::inbox::{Connection, ConnectionId, post_to_all};

/// The open connections of a server. Clones are the same list. A connection is on it from before
/// its handler's `connected` until just before its `disconnected`.
pub struct Connections<M>(Arc<Shared<M>>);

struct Shared<M> {
    next: AtomicU64,
    open: Mutex<HashMap<ConnectionId, Connection<M>>>,
}

impl<M: Send + 'static> Connections<M> {
    pub(in crate::tcp) fn new() -> Self {
        Self(Arc::new(Shared {
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
        let removed = self.0.open.lock().remove(&id);
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
