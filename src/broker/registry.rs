//! All sessions of remote clients, by client id; and who gives way when there is no place left.
//!
//! An owner may have as many sessions as it likes while there are places. Once all are taken, a
//! newcomer gets those of the owner that has the most, if that has many more: first of the sessions
//! that have never connected, then of those that have been away for longest. Looked at are not all
//! sessions but as many as it takes to find some, and more of them go than have to, so that what a
//! handshake costs does not depend on how many sessions there are.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::session::Session;
use crate::protocol::ClientId;
use crate::util::{Owner, shrink};

/// What a session takes, with its place here; its subscriptions and what waits for it come on top.
pub(crate) const SESSION_BYTES: usize = 760;

/// Shards keep threads that look up different sessions apart.
const SHARDS: usize = 64;

/// At least one session in so many goes at a time.
const BATCH: usize = 1024;

/// For each that is to go so many are found, of which it is the one that is missed least; and not
/// fewer in all than that.
const CHOICE: usize = 4;
const FEWEST: usize = 64;

pub(crate) struct Registry {
    shards: Vec<Mutex<HashMap<ClientId, Arc<Session>>>>,
    places: Mutex<Places>,
    limit: usize,
    numbers: AtomicU64,
    /// The shard that is looked at next for sessions that may go.
    turn: AtomicUsize,
}

/// Who has how many sessions, and reserved places.
#[derive(Default)]
struct Places {
    taken: usize,
    owners: HashMap<Owner, usize>,
    /// The owners that have more than one, by how many.
    crowds: BTreeSet<(usize, Owner)>,
}

impl Places {
    /// Whether there were so many.
    fn take(&mut self, owner: Owner, n: usize, limit: usize) -> bool {
        let taken = self.taken.checked_add(n).filter(|sum| *sum <= limit);
        let Some(taken) = taken else {
            return false;
        };
        self.taken = taken;
        let has = self.owners.entry(owner).or_insert(0);
        let had = std::mem::replace(has, *has + n);
        self.moved(owner, had, had + n);
        true
    }

    fn give_back(&mut self, owner: Owner, n: usize) {
        self.taken -= n;
        let has = self.owners.get_mut(&owner).expect("it has taken them");
        let had = std::mem::replace(has, *has - n);
        if had == n {
            self.owners.remove(&owner);
            shrink(&mut self.owners);
        }
        self.moved(owner, had, had - n);
    }

    fn moved(&mut self, owner: Owner, had: usize, has: usize) {
        if had > 1 {
            self.crowds.remove(&(had, owner));
        }
        if has > 1 {
            self.crowds.insert((has, owner));
        }
    }

    /// Who has the most, if that is so many more than this one has.
    fn most(&self, owner: Owner, more: usize) -> Option<Owner> {
        let has = self.owners.get(&owner).copied().unwrap_or(0);
        let (most, other) = self.crowds.last()?;
        (*most >= has.saturating_add(more)).then_some(*other)
    }
}

/// Sessions that are to make room, which nobody finds any more, and whose they are.
pub(crate) struct Evicted {
    pub(crate) sessions: Vec<Arc<Session>>,
    pub(crate) owner: Owner,
}

impl Registry {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            places: Mutex::default(),
            limit,
            numbers: AtomicU64::new(1),
            turn: AtomicUsize::new(0),
        }
    }

    /// A number no other session has or had.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Reserves places for so many new sessions of that owner, or none. Others that make room for
    /// it are handed over, to be ended.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        owner: Owner,
        places: usize,
        end: impl FnOnce(Evicted),
    ) -> Option<Reservation> {
        let mut taken = self.places.lock().take(owner, places, self.limit);
        if !taken {
            let evicted = self.evict(owner, places)?;
            let mut counts = self.places.lock();
            counts.give_back(evicted.owner, evicted.sessions.len());
            // With the lock still held, or whoever had the most would have them again.
            taken = counts.take(owner, places, self.limit);
            drop(counts);
            end(evicted);
        }
        taken.then(|| Reservation {
            registry: Arc::clone(self),
            owner,
            places,
        })
    }

    /// Takes out sessions of the owner that has the most. Their places are still taken. Not if the
    /// newcomer would have more than that owner afterwards, nor where nobody has many: then there
    /// are simply too many clients.
    fn evict(&self, newcomer: Owner, places: usize) -> Option<Evicted> {
        let count = places.max(self.limit / BATCH);
        let owner = self.places.lock().most(newcomer, count.saturating_mul(2))?;
        let choice = count.saturating_mul(CHOICE).max(FEWEST);
        let mut found = Vec::new();
        for _ in 0..SHARDS {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let shard = self.shards[turn].lock();
            let its = shard
                .values()
                .filter(|session| session.owner() == Some(owner));
            found.extend(its.cloned());
            drop(shard);
            if found.len() >= choice {
                break;
            }
        }
        found.sort_by_cached_key(|session| (session.lock().presence(), session.number()));
        found.truncate(count);
        found.retain(|session| session.remote_id().is_some_and(|id| self.take_out(id)));
        Some(Evicted {
            sessions: found,
            owner,
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

    /// Takes a session out, if it is there.
    pub(crate) fn remove(&self, session: &Session) {
        let taken_out = session.remote_id().filter(|id| self.take_out(id));
        if let Some(owner) = taken_out.and(session.owner()) {
            self.places.lock().give_back(owner, 1);
        }
    }

    fn take_out(&self, id: &ClientId) -> bool {
        let mut shard = self.shard(id).lock();
        let removed = shard.remove(id);
        shrink(&mut shard);
        drop(shard);
        removed.is_some()
    }

    /// Sessions and reserved places.
    pub(crate) fn len(&self) -> usize {
        self.places.lock().taken
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
    owner: Owner,
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
        if self.places > 0 {
            let mut counts = self.registry.places.lock();
            counts.give_back(self.owner, self.places);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn what_a_session_takes() {
        // With the count of its handles, which its alignment blows up.
        let session = size_of::<Session>() + align_of::<Session>();
        // A map is half full on average between its smallest and its largest.
        let entry = 2 * (size_of::<(ClientId, Arc<Session>)>() + 1);
        let sum = session + entry;
        assert!((sum..sum + 128).contains(&SESSION_BYTES), "{sum}");
    }

    fn owner(n: u8) -> Owner {
        IpAddr::from([10, 0, 0, n]).into()
    }

    #[test]
    fn who_has_the_most_is_known_at_any_time() {
        let mut places = Places::default();
        for (n, has) in [(1, 3), (2, 5), (3, 1)] {
            assert!(places.take(owner(n), has, 9));
        }
        assert!(!places.take(owner(1), 1, 9) && !places.take(owner(4), usize::MAX, 9));
        assert_eq!(places.most(owner(3), 4), Some(owner(2)));
        assert_eq!(places.most(owner(3), 5), None, "too few more");
        assert_eq!(places.most(owner(2), 1), None, "it is itself");
        places.give_back(owner(2), 3);
        assert_eq!(places.most(owner(9), 3), Some(owner(1)));
        for (n, has) in [(1, 3), (2, 2), (3, 1)] {
            places.give_back(owner(n), has);
        }
        assert!(places.owners.is_empty() && places.crowds.is_empty());
        assert_eq!(places.taken, 0);
    }
}
