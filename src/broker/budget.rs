//! The bound on all queues together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::core::Core;
use super::mailbox::LocalInbox;
use super::queue::Overflow;
use super::session::{Gone, Session, State};
use super::stripes::Stripes;

/// Bytes in all queues together.
///
/// Each thread books into a stripe of its own, and adds all of them up only when it has let in so
/// much that the sum may have come near the bound. So the bound is kept to one sixteenth.
pub(crate) struct QueueBudget {
    stripes: Stripes<Stripe>,
    bound: usize,
    /// What one stripe may let in between two looks at the sum.
    unseen: i64,
    /// A thread is making room.
    evicting: AtomicBool,
}

#[derive(Default)]
struct Stripe {
    /// Bytes that arrived less bytes that left, here; often negative, since messages leave on
    /// other threads than they came.
    bytes: AtomicI64,
    /// What has arrived since the last look at the sum.
    unseen: AtomicI64,
}

impl QueueBudget {
    pub(crate) fn new(bound: usize) -> Self {
        let stripes = Stripes::default();
        Self {
            unseen: as_i64(bound / ROOM / stripes.count()),
            stripes,
            bound,
            evicting: AtomicBool::new(false),
        }
    }

    /// Books a change; returns whether there is too much now.
    pub(crate) fn change(&self, arrived: usize, left: usize) -> bool {
        let (arrived, left) = (as_i64(arrived), as_i64(left));
        let stripe = self.stripes.mine();
        stripe.bytes.fetch_add(arrived - left, Ordering::Relaxed);
        if arrived == 0 {
            return false;
        }
        let unseen = stripe.unseen.fetch_add(arrived, Ordering::Relaxed) + arrived;
        if unseen < self.unseen {
            return false;
        }
        stripe.unseen.store(0, Ordering::Relaxed);
        self.bytes() > self.bound
    }

    pub(crate) fn left(&self, bytes: usize) {
        if bytes > 0 {
            self.change(0, bytes);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let stripes = self.stripes.iter();
        let sum: i64 = stripes
            .map(|stripe| stripe.bytes.load(Ordering::Relaxed))
            .sum();
        usize::try_from(sum).unwrap_or(0)
    }
}

fn as_i64(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A queue that may have to go.
enum Evicted {
    Session(Arc<Session>),
    Local(Arc<LocalInbox>),
}

/// The turn of the thread that makes room. It ends also where that fails.
struct Evicting<'a>(&'a AtomicBool);

impl Drop for Evicting<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Core {
    /// All queues together are too large: the largest lose first, until there is some room again.
    /// To look for them costs as much as there are sessions, so it is not done for each message.
    pub(crate) fn evict(self: &Arc<Self>) {
        if self.budget.evicting.swap(true, Ordering::Acquire) {
            return;
        }
        let _evicting = Evicting(&self.budget.evicting);
        let bound = self.budget.bound;
        let goal = bound - bound / ROOM;
        let mut queues = Vec::new();
        self.registry.for_each(|session| {
            let bytes = session.lock().waiting_bytes();
            queues.push((bytes, Evicted::Session(Arc::clone(session))));
        });
        self.locals.for_each(|local| {
            let (_, bytes) = local.queued();
            queues.push((bytes, Evicted::Local(Arc::clone(local))));
        });
        queues.retain(|(bytes, _)| *bytes > 0);
        queues.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (_, queue) in queues {
            if self.budget.bytes() <= goal {
                return;
            }
            self.evict_one(&queue);
        }
    }

    fn evict_one(self: &Arc<Self>, queue: &Evicted) {
        let (messages, bytes) = match queue {
            Evicted::Session(session) if self.config.queue.overflow == Overflow::Disconnect => {
                self.end(session, Gone::Overflowed);
                return;
            }
            Evicted::Session(session) => self.change(session, State::clear_waiting),
            Evicted::Local(local) => local.clear(),
        };
        self.counters.mine().dropped_oldest.add(messages as u64);
        self.budget.left(bytes);
    }
}

/// One part in so many of the bound: what is freed below it, and what it may be exceeded by.
const ROOM: usize = 16;
