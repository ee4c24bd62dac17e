//! How many connections there may be, in all and per address.
//!
//! Only the acceptor takes permits, so the limit is exact; anybody may drop one. The acceptor stops
//! accepting while no permit is left: who comes then waits in the kernel's backlog.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::config::{Config, Counters};
use super::poll::Poll;
use crate::util::{Owner, Shares};

/// What the acceptor shares with its handle and with the permits.
pub(super) struct Admission {
    /// The acceptor waits here.
    pub(super) poll: Arc<Poll>,
    pub(super) counters: Counters,
    open: AtomicUsize,
    /// `usize::MAX`: unlimited.
    limit: AtomicUsize,
    /// The acceptor waits for a connection to be closed, and wants to be notified.
    waiting: AtomicBool,
    /// The acceptor is to end.
    stopping: AtomicBool,
    /// Connections of each address, if there is a limit.
    by_address: Option<Shares<Owner>>,
}

/// Counts as one connection until it is dropped.
pub struct Permit {
    admission: Arc<Admission>,
    /// Whose it is counted as.
    owner: Option<Owner>,
}

impl Admission {
    pub(super) fn new(poll: Arc<Poll>, config: &Config) -> Self {
        Self {
            poll,
            counters: Counters::default(),
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(config.max_connections.unwrap_or(usize::MAX)),
            waiting: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            by_address: config
                .max_per_address
                .map(|most| Shares::new(usize::MAX, most as usize)),
        }
    }

    pub(super) fn set_limit(&self, limit: Option<usize>) {
        self.limit
            .store(limit.unwrap_or(usize::MAX), Ordering::SeqCst);
        self.poll.notify();
    }

    pub(super) fn limit(&self) -> Option<usize> {
        Some(self.limit.load(Ordering::SeqCst)).filter(|limit| *limit != usize::MAX)
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub(super) fn has_room(&self) -> bool {
        self.open() < self.limit.load(Ordering::SeqCst)
    }

    /// Ends the acceptor, which closes the listeners.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.poll.notify();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Asks to be notified of the next connection that is closed.
    pub(super) fn notify_on_close(&self) {
        self.waiting.store(true, Ordering::SeqCst);
    }

    /// Whether none has been closed since.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Counts a connection that has been accepted; `None` if its address has too many already.
    pub(super) fn admit(self: &Arc<Self>, ip: Option<IpAddr>) -> Option<Permit> {
        let owner = ip.map(Owner::from);
        if let (Some(shares), Some(owner)) = (&self.by_address, owner) {
            shares.take(owner, 1).ok()?;
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        Some(Permit {
            admission: Arc::clone(self),
            owner,
        })
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({:?})", self.owner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let admission = &self.admission;
        if let (Some(shares), Some(owner)) = (&admission.by_address, self.owner) {
            shares.give_back(owner, 1);
        }
        admission.open.fetch_sub(1, Ordering::SeqCst);
        if admission.waiting.swap(false, Ordering::SeqCst) {
            admission.poll.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_connections: Option<usize>, max_per_address: Option<u32>) -> Arc<Admission> {
        let config = Config {
            max_connections,
            max_per_address,
            ..Config::default()
        };
        Arc::new(Admission::new(Arc::new(Poll::new().unwrap()), &config))
    }

    #[test]
    fn permits_count_until_dropped() {
        let admission = admission(Some(1), None);
        assert!(admission.has_room());
        let permit = admission.admit(None).unwrap();
        assert!(!admission.has_room());
        admission.set_limit(None);
        assert!(admission.has_room());
        admission.set_limit(Some(0));
        drop(permit);
        assert_eq!((admission.open(), admission.has_room()), (0, false));
    }

    #[test]
    fn addresses_are_counted_apart() {
        let admission = admission(None, Some(1));
        let ip = |text: &str| Some(text.parse().unwrap());
        let first = admission.admit(ip("10.0.0.1")).unwrap();
        assert!(admission.admit(ip("10.0.0.1")).is_none());
        let other = admission.admit(ip("10.0.0.2")).unwrap();
        let wide = admission.admit(ip("2001:db8::1")).unwrap();
        assert!(
            admission.admit(ip("2001:db8::2")).is_none(),
            "the same network"
        );
        drop((first, other, wide));
        assert!(admission.admit(ip("10.0.0.1")).is_some());
    }
}
