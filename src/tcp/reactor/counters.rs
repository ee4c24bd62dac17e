//! What the reactor counts. Relaxed atomics: each is exact, together they are no snapshot.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one I/O thread. Only that thread writes them.
#[derive(Debug, Default)]
pub(super) struct ThreadCounters {
    pub(super) opened: Counter,
    pub(super) closed: Counter,
    pub(super) refused: Counter,
    pub(super) refused_early: Counter,
    pub(super) open_timeouts: Counter,
    pub(super) failed: Counter,
    pub(super) panics: Counter,
    pub(super) bytes_in: Counter,
    pub(super) bytes_out: Counter,
    pub(super) turns: Counter,
}

/// Counters of the acceptor. Only that thread writes them.
#[derive(Debug, Default)]
pub(super) struct AcceptCounters {
    pub(super) accepted: Counter,
    pub(super) over_address_limit: Counter,
    pub(super) errors: Counter,
}

/// A counter with one writer, which therefore needs no read-modify-write instruction.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Figures of a reactor since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections that the kernel handed over.
    pub accepted: u64,
    /// Accepted and closed at once: too many from the same address.
    pub refused_by_address: u64,
    /// Accepted and closed: a step before the service said no.
    pub refused_early: u64,
    /// Accepted and closed: the steps before the service took too long.
    pub open_timeouts: u64,
    /// Accepted and closed: the service said no.
    pub refused_by_service: u64,
    /// Accepted and lost before the service had it: closed by the peer, or the system failed, or
    /// the thread was about to end.
    pub failed: u64,
    /// Errors of `accept`, which are waited out.
    pub accept_errors: u64,
    /// Connections that the service opened, accepted or made from here.
    pub opened: u64,
    /// Connections of which the service was told that they are closed.
    pub closed: u64,
    /// Accepted and not closed yet, including those that the service has not seen yet. Connections
    /// that were made from here are not among them.
    pub open: usize,
    /// Panics of the service and of layers; each closed its connection.
    pub panics: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes that the kernel took.
    pub bytes_out: u64,
    /// Turns of all threads: how often one woke up and worked.
    pub turns: u64,
}

impl Stats {
    pub(super) fn add_thread(&mut self, thread: &ThreadCounters) {
        self.refused_by_service += thread.refused.get();
        self.refused_early += thread.refused_early.get();
        self.open_timeouts += thread.open_timeouts.get();
        self.failed += thread.failed.get();
        self.opened += thread.opened.get();
        self.closed += thread.closed.get();
        self.panics += thread.panics.get();
        self.bytes_in += thread.bytes_in.get();
        self.bytes_out += thread.bytes_out.get();
        self.turns += thread.turns.get();
    }

    pub(super) fn add_acceptor(&mut self, acceptor: &AcceptCounters) {
        self.accepted += acceptor.accepted.get();
        self.refused_by_address += acceptor.over_address_limit.get();
        self.accept_errors += acceptor.errors.get();
    }
}
