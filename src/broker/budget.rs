//! The bound on the memory of all messages that wait.
//!
//! A message that waits for many exists once and is booked once: when it is queued first, until
//! nobody has it any more. What each receiver adds is a place in its queue.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::core::Core;
use super::mailbox::LocalInbox;
use super::queue::{Overflow, PLACE_BYTES};
use super::session::{Gone, Session, State};
use super::stripes::Stripes;
use crate::protocol::Publication;
use crate::refusals::Reason;
use crate::util::{Owner, Sum, as_i64};

/// Bytes of the messages in all queues, and of their places there.
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
    /// Bytes that arrived less bytes that left, here; often negative, since places are given up on
    /// other threads than they were taken.
    bytes: Sum,
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

    /// Books a message that is about to be queued. Returns its bytes, if it is a new one.
    pub(crate) fn book(&self, item: &Publication) -> usize {
        item.book(|bytes| self.stripes.mine().bytes.book(bytes))
    }

    /// So many places in queues were taken, and given up; so many bytes of messages were booked
    /// for it. Returns whether there is too much now.
    pub(crate) fn queued(&self, taken: usize, left: usize, booked: usize) -> bool {
        let arrived = as_i64(taken * PLACE_BYTES);
        let stripe = self.stripes.mine();
        stripe.bytes.add(arrived - as_i64(left * PLACE_BYTES));
        let arrived = arrived + as_i64(booked);
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

    /// So many messages have left their queues.
    pub(crate) fn left(&self, messages: usize) {
        if messages > 0 {
            let bytes = as_i64(messages * PLACE_BYTES);
            self.stripes.mine().bytes.add(-bytes);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let sum: i64 = self.stripes.iter().map(|stripe| stripe.bytes.get()).sum();
        usize::try_from(sum).unwrap_or(0)
    }
}

/// Who gives way together. A client in this process is on its own.
#[derive(PartialEq, Eq, Hash)]
enum Holder {
    Owner(Owner),
    Local(u64),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(owner) => owner.fmt(f),
            Self::Local(number) => write!(f, "local client {number}"),
        }
    }
}

/// What waits for one holder.
#[derive(Default)]
struct Held {
    bytes: usize,
    /// With the bytes that would be freed.
    queues: Vec<(usize, Waiting)>,
}

/// A queue that may have to go.
enum Waiting {
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
    /// All queues together take too much: whoever has the most in them loses first, the largest
    /// queue first, until there is some room again. To look for them costs as much as there are
    /// sessions, so it is not done for each message.
    pub(crate) fn evict(self: &Arc<Self>) {
        if self.budget.evicting.swap(true, Ordering::Acquire) {
            return;
        }
        let _evicting = Evicting(&self.budget.evicting);
        let (holders, queued) = self.holders();
        let bound = self.budget.bound;
        // Not what the books say: that is also what programs around the broker keep, and what
        // connections that are being closed have not let go of yet.
        let mut excess = queued.saturating_sub(bound - bound / ROOM);
        for (holder, mut held) in holders {
            if excess == 0 {
                return;
            }
            held.queues
                .sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
            let (mut messages, mut queues) = (0, 0);
            for (bytes, queue) in held.queues {
                messages += self.evict_one(&queue);
                queues += 1;
                excess = excess.saturating_sub(bytes);
                if excess == 0 {
                    break;
                }
            }
            let seen = format_args!("{messages} messages in {queues} queues of {holder}");
            self.refusals.count(Reason::MaxQueuedTotal, seen);
        }
    }

    /// Whose queues there are, whoever has the most in them first; and the bytes of all of them.
    fn holders(&self) -> (Vec<(Holder, Held)>, usize) {
        let mut holders: HashMap<Holder, Held> = HashMap::new();
        let mut queued = 0;
        let mut add = |holder, queue, (waiting, in_flight): (usize, usize)| {
            queued += waiting + in_flight;
            if waiting > 0 {
                let held = holders.entry(holder).or_default();
                held.bytes += waiting;
                held.queues.push((waiting, queue));
            }
        };
        self.registry.for_each(|session| {
            if let Some(owner) = session.owner() {
                let shares = session.lock().shares();
                let queue = Waiting::Session(Arc::clone(session));
                add(Holder::Owner(owner), queue, shares);
            }
        });
        self.locals.for_each(|local| {
            if let Some(session) = local.session() {
                let queue = Waiting::Local(Arc::clone(local));
                add(Holder::Local(session.number()), queue, local.shares());
            }
        });
        let mut holders: Vec<_> = holders.into_iter().collect();
        holders.sort_unstable_by_key(|(_, held)| std::cmp::Reverse(held.bytes));
        (holders, queued)
    }

    /// Returns how many messages are lost.
    fn evict_one(self: &Arc<Self>, queue: &Waiting) -> usize {
        let messages = match queue {
            Waiting::Session(session) if self.config.queue.overflow == Overflow::Disconnect => {
                let (messages, _) = session.lock().queued();
                self.end(session, Gone::Overflowed);
                return messages;
            }
            Waiting::Session(session) => self.change(session, State::clear_waiting),
            Waiting::Local(local) => local.clear(),
        };
        self.counters.mine().dropped_oldest.add(messages as u64);
        self.budget.left(messages);
        messages
    }
}

/// One part in so many of the bound: what is freed below it, and what it may be exceeded by.
const ROOM: usize = 16;
