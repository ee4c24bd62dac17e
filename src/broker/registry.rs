//! All sessions of remote clients, by client id.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::session::Session;
use crate::protocol::ClientId;
use crate::util::shrink;

/// What a session takes, with its place in the registry; its subscriptions and what waits for it
/// come on top.
pub(crate) const SESSION_BYTES: usize = 800;

/// Shards keep threads that look up different sessions apart.
const SHARDS: usize = 64;

pub(crate) struct Registry {
    shards: Vec<Mutex<HashMap<ClientId, Arc<Session>>>>,
    taken: AtomicUsize,
    limit: usize,
    numbers: AtomicU64,
}

impl Registry {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            taken: AtomicUsize::new(0),
            limit,
            numbers: AtomicU64::new(1),
        }
    }

    /// A number no other session has or had.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Reserves places for so many new sessions, or none.
    pub(crate) fn reserve(self: &Arc<Self>, places: usize) -> Option<Reservation> {
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                taken.checked_add(places).filter(|sum| *sum <= self.limit)
            })
            .ok()?;
        Some(Reservation {
            registry: Arc::clone(self),
            places,
        })
    }

    /// Adds a session for which a place was reserved.
    pub(crate) fn insert(&self, id: ClientId, session: Arc<Session>) {
        let replaced = self.shard(&id).lock().insert(id, session);
        debug_assert!(replaced.is_none(), "client ids are random");
    }

    pub(crate) fn get(&self, id: &ClientId) -> Option<Arc<Session>> {
        self.shard(id).lock().get(id).cloned()
    }

    pub(crate) fn remove(&self, id: &ClientId) -> Option<Arc<Session>> {
        let mut shard = self.shard(id).lock();
        let removed = shard.remove(id);
        shrink(&mut shard);
        drop(shard);
        if removed.is_some() {
            self.taken.fetch_sub(1, Ordering::Relaxed);
        }
        removed
    }

    /// Sessions and reserved places.
    pub(crate) fn len(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Calls the function for every session, without any lock held.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Arc<Session>)) {
        for shard in &self.shards {
            let sessions: Vec<Arc<Session>> = shard.lock().values().cloned().collect();
            sessions.iter().for_each(&mut visit);
        }
    }

    fn shard(&self, id: &ClientId) -> &Mutex<HashMap<ClientId, Arc<Session>>> {
        let bytes = id.as_str().as_bytes();
        let sum = bytes.iter().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31) + usize::from(*byte)
        });
        &self.shards[sum % SHARDS]
    }
}

/// Places that handshakes of one request will fill; what is left is given back when dropped.
pub(crate) struct Reservation {
    registry: Arc<Registry>,
    places: usize,
}

impl Reservation {
    /// Uses one place up.
    pub(crate) fn fill(&mut self) {
        assert!(
            self.places > 0,
            "a place was reserved for each handshake of the request"
        );
        self.places -= 1;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.registry
            .taken
            .fetch_sub(self.places, Ordering::Relaxed);
    }
}
