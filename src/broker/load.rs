//! The bound on all queues together.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use super::core::Core;
use super::mailbox::Shared;
use super::queue::Overflow;
use super::session::{Gone, Session};

/// Bytes in all queues together. Signed, because a message may leave on another thread before its
/// arrival is booked.
#[derive(Default)]
pub(crate) struct Load {
    bytes: AtomicI64,
    /// Held by the thread that makes room.
    relief: Mutex<()>,
}

impl Load {
    /// Books a change; returns the bytes there are now.
    pub(crate) fn change(&self, arrived: usize, left: usize) -> usize {
        let change = as_i64(arrived) - as_i64(left);
        let now = self.bytes.fetch_add(change, Ordering::Relaxed) + change;
        usize::try_from(now).unwrap_or(0)
    }

    pub(crate) fn left(&self, bytes: usize) {
        if bytes > 0 {
            self.change(0, bytes);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

fn as_i64(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A queue that may have to go.
enum Victim {
    Session(Arc<Session>),
    Local(Arc<Shared>),
}

impl Core {
    /// All queues together are too large: the largest lose first, until there is some room again.
    /// To look for them costs as much as there are sessions, so it is not done for each message.
    pub(crate) fn relieve(self: &Arc<Self>) {
        let Some(_alone) = self.load.relief.try_lock() else {
            return;
        };
        let bound = self.config.max_queued_total;
        let goal = bound - bound / RELIEF;
        let mut queues = Vec::new();
        self.registry.for_each(|session| {
            let bytes = session.lock().waiting_bytes();
            queues.push((bytes, Victim::Session(Arc::clone(session))));
        });
        self.locals.for_each(|local| {
            let (_, bytes) = local.queued();
            queues.push((bytes, Victim::Local(Arc::clone(local))));
        });
        queues.retain(|(bytes, _)| *bytes > 0);
        queues.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (_, victim) in queues {
            if self.load.bytes() <= goal {
                return;
            }
            self.give_up(&victim);
        }
    }

    fn give_up(self: &Arc<Self>, victim: &Victim) {
        let (messages, bytes) = match victim {
            Victim::Session(session) if self.config.queue.overflow == Overflow::Disconnect => {
                self.end(session, Gone::Overflowed);
                return;
            }
            Victim::Session(session) => session.lock().clear_waiting(),
            Victim::Local(local) => local.clear(),
        };
        self.counters.dropped_oldest.add(messages as u64);
        self.load.left(bytes);
    }
}

/// One part in so many of the bound is freed beyond it.
const RELIEF: usize = 16;
