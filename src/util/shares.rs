//! What all take from, and of which each owner may have a part only.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::shrink;

/// So many of something: bytes, or things. What owners have taken is counted for each; entries
/// exist only while something is taken. The locks are leaves.
pub(crate) struct Shares<K> {
    bound: usize,
    share: usize,
    taken: AtomicUsize,
    hasher: RandomState,
    shards: [Mutex<HashMap<K, usize>>; SHARDS],
}

/// Of what there is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// The owner has its share.
    Share,
    /// All together have all there is.
    All,
}

impl<K: Copy + Eq + Hash> Shares<K> {
    /// `bound` in all, of which one owner may have `share`.
    pub(crate) fn new(bound: usize, share: usize) -> Self {
        Self {
            bound,
            share,
            taken: AtomicUsize::new(0),
            hasher: RandomState::new(),
            shards: Default::default(),
        }
    }

    /// Takes so many, or none.
    pub(crate) fn take(&self, owner: K, n: usize) -> Result<(), Exhausted> {
        if n == 0 {
            return Ok(());
        }
        let fits = |sum: &usize, most: usize| *sum <= most;
        let mut owners = self.shard(owner).lock();
        let has = owners.get(&owner).copied().unwrap_or(0);
        let has = has.checked_add(n).filter(|sum| fits(sum, self.share));
        let has = has.ok_or(Exhausted::Share)?;
        let add = |taken: usize| taken.checked_add(n).filter(|sum| fits(sum, self.bound));
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .map_err(|_| Exhausted::All)?;
        owners.insert(owner, has);
        Ok(())
    }

    /// Takes so many, however little there is: of what is there already.
    pub(crate) fn take_anyway(&self, owner: K, n: usize) {
        if n > 0 {
            let mut owners = self.shard(owner).lock();
            *owners.entry(owner).or_default() += n;
            self.taken.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Whether there is more for that owner. Cheap while little is taken.
    pub(crate) fn has_room(&self, owner: impl Into<K>) -> bool {
        let taken = self.taken();
        if taken < self.share.min(self.bound) {
            return true;
        }
        let owner = owner.into();
        let has = self.shard(owner).lock().get(&owner).copied();
        taken < self.bound && has.unwrap_or(0) < self.share
    }

    /// What all have taken together.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Gives so many back, which the owner must have.
    pub(crate) fn give_back(&self, owner: K, n: usize) {
        if n == 0 {
            return;
        }
        let mut owners = self.shard(owner).lock();
        let has = owners.get_mut(&owner).expect("it has taken some");
        *has -= n;
        if *has == 0 {
            owners.remove(&owner);
            shrink(&mut owners);
        }
        drop(owners);
        self.taken.fetch_sub(n, Ordering::Relaxed);
    }

    fn shard(&self, owner: K) -> &Mutex<HashMap<K, usize>> {
        &self.shards[self.hasher.hash_one(owner) as usize % SHARDS]
    }
}

/// What an owner has taken, given back when this is dropped.
pub(crate) struct Booking<K: Copy + Eq + Hash> {
    shares: Arc<Shares<K>>,
    owner: K,
    n: usize,
}

impl<K: Copy + Eq + Hash> Booking<K> {
    /// Of nothing yet.
    pub(crate) fn new(shares: &Arc<Shares<K>>, owner: impl Into<K>) -> Self {
        Self {
            shares: Arc::clone(shares),
            owner: owner.into(),
            n: 0,
        }
    }

    pub(crate) fn owner(&self) -> K {
        self.owner
    }

    /// Has so many from now on. On failure it has as many as before.
    pub(crate) fn set(&mut self, n: usize) -> Result<(), Exhausted> {
        if n > self.n {
            self.shares.take(self.owner, n - self.n)?;
        } else {
            self.shares.give_back(self.owner, self.n - n);
        }
        self.n = n;
        Ok(())
    }

    /// Has so many, however little there is.
    pub(crate) fn set_anyway(&mut self, n: usize) {
        if n > self.n {
            self.shares.take_anyway(self.owner, n - self.n);
        } else {
            self.shares.give_back(self.owner, self.n - n);
        }
        self.n = n;
    }
}

impl<K: Copy + Eq + Hash> Drop for Booking<K> {
    fn drop(&mut self) {
        self.shares.give_back(self.owner, self.n);
    }
}

/// Keep threads apart that serve different owners.
const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_has_its_share_and_all_have_what_there_is() {
        let shares = Shares::new(10, 4);
        assert_eq!(shares.take(1, 3), Ok(()));
        assert_eq!(shares.take(1, 2), Err(Exhausted::Share));
        assert_eq!(shares.take(1, usize::MAX), Err(Exhausted::Share));
        assert_eq!(shares.take(1, 1), Ok(()));
        assert_eq!(shares.take(2, 4), Ok(()));
        assert_eq!(shares.take(3, 3), Err(Exhausted::All));
        assert_eq!(shares.take(3, 0), Ok(()));
        assert_eq!(shares.take(3, 2), Ok(()));
        shares.give_back(1, 3);
        shares.give_back(2, 4);
        assert_eq!(shares.taken(), 3);
        assert_eq!(shares.take(3, 2), Ok(()));
        shares.take_anyway(1, 9);
        assert_eq!(shares.taken(), 14);
        for (n, has) in [(1, 10), (3, 4)] {
            shares.give_back(n, has);
        }
        assert_eq!(shares.taken(), 0);
        assert!(shares.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn a_booking_follows_what_is_there_and_ends_with_it() {
        let shares = Arc::new(Shares::<u8>::new(10, 4));
        let mut mine = Booking::new(&shares, 1);
        assert_eq!((mine.set(3), mine.set(5)), (Ok(()), Err(Exhausted::Share)));
        assert!(shares.taken() == 3 && shares.has_room(1) && mine.owner() == 1);
        mine.set_anyway(9);
        assert!(!shares.has_room(1) && shares.has_room(2));
        let mut other = Booking::new(&shares, 2);
        other.set_anyway(1);
        assert!(!shares.has_room(2) && !shares.has_room(3), "all is taken");
        assert_eq!(mine.set(1), Ok(()));
        assert!(shares.has_room(1) && shares.taken() == 2);
        mine.set_anyway(0);
        drop((mine, other));
        assert_eq!(shares.taken(), 0);
    }
}
