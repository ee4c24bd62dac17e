//! What other threads leave for an I/O thread: keys to wake, new connections, commands.
//!
//! One mutex, held for a few pushes. The poller is notified only while its thread sleeps, so wakes
//! from the thread itself, and wakes during its turn, cost no system call.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::accept::Accepted;
use super::config::Counters;
use super::poll::Poll;
use super::slab::{generation_of, slot_of};

/// The half of an I/O thread that others may touch.
pub(super) struct Mailbox {
    pub(super) poll: Arc<Poll>,
    pub(super) counters: Counters,
    /// Connections that were given to the thread and are not closed yet.
    pub(super) connections: AtomicUsize,
    /// Slots that exist; keys of others are nonsense and must not make `marks` grow.
    slots: AtomicU32,
    /// Connections were woken that the thread has not come to.
    behind: AtomicBool,
    mail: Mutex<Mail>,
}

#[derive(Default)]
struct Mail {
    /// The thread waits, or is about to: whoever adds something notifies.
    sleeping: bool,
    /// The thread has ended; nothing is taken any more.
    ended: bool,
    /// A turn is wanted although nothing is listed here.
    nudged: bool,
    wakes: Wakes,
    arrivals: VecDeque<Accepted>,
    command: Option<Command>,
}

#[derive(Clone, Copy)]
pub(super) enum Command {
    /// Call `Service::stopping` for every connection.
    Drain,
    /// Drain, wait for the connections until the instant (`None`: for ever), abort the rest, end
    /// the thread.
    Stop(Option<Instant>),
}

/// Keys to wake, each once.
#[derive(Default)]
pub(super) struct Wakes {
    keys: Vec<u64>,
    /// How many of them have been taken.
    taken: usize,
    /// By slot: the latest generation that is in `keys`, 0 for none. So the list is hardly longer
    /// than the number of slots, however much is published while the thread is busy.
    marks: Vec<u32>,
}

impl Mailbox {
    pub(super) fn new(poll: Poll) -> Self {
        Self {
            poll: Arc::new(poll),
            counters: Counters::default(),
            connections: AtomicUsize::new(0),
            slots: AtomicU32::new(0),
            behind: AtomicBool::new(false),
            mail: Mutex::default(),
        }
    }

    /// Hands over a connection; gives it back if the thread has ended.
    pub(super) fn arrive(&self, accepted: Accepted) -> Result<(), Accepted> {
        self.leave(|mail| {
            if mail.ended {
                return Err(accepted);
            }
            self.connections.fetch_add(1, Ordering::Relaxed);
            mail.arrivals.push_back(accepted);
            Ok(())
        })
    }

    pub(super) fn command(&self, command: Command) {
        self.leave(|mail| mail.command = Some(command));
    }

    fn leave<R>(&self, add: impl FnOnce(&mut Mail) -> R) -> R {
        let mut mail = self.mail.lock();
        let result = add(&mut mail);
        let asleep = mem::take(&mut mail.sleeping);
        drop(mail);
        if asleep {
            self.poll.notify();
        }
        result
    }

    /// To be called by the thread before it waits: `false` if something has come meanwhile, and it
    /// must not wait.
    pub(super) fn fall_asleep(&self) -> bool {
        let mut mail = self.mail.lock();
        mail.sleeping = !mail.nudged
            && mail.wakes.keys.is_empty()
            && mail.arrivals.is_empty()
            && mail.command.is_none();
        mail.sleeping
    }

    /// To be called by the thread when its wait is over.
    pub(super) fn wake_up(&self, arrivals: &mut VecDeque<Accepted>) -> Option<Command> {
        let mut mail = self.mail.lock();
        mail.sleeping = false;
        mail.nudged = false;
        arrivals.append(&mut mail.arrivals);
        mail.command.take()
    }

    /// Takes the keys that have come, if none are left of those before. The lists are swapped, so
    /// that nothing is allocated.
    pub(super) fn take_wakes(&self, wakes: &mut Wakes) {
        if wakes.is_empty() {
            wakes.clear();
            let mut mail = self.mail.lock();
            if !mail.wakes.is_empty() {
                mem::swap(&mut mail.wakes, wakes);
            }
        }
    }

    /// Tells how many slots there are now.
    pub(super) fn announce_slots(&self, slots: u32) {
        self.slots.store(slots, Ordering::Relaxed);
    }

    /// Tells whether connections that were woken are left for the next turn.
    pub(super) fn announce_backlog(&self, behind: bool) {
        if self.behind.load(Ordering::Relaxed) != behind {
            self.behind.store(behind, Ordering::Relaxed);
        }
    }

    /// The thread ends, or has ended: what has arrived too late is given back.
    pub(super) fn end(&self) -> VecDeque<Accepted> {
        let mut mail = self.mail.lock();
        mail.ended = true;
        self.slots.store(0, Ordering::Relaxed);
        mem::take(&mut mail.arrivals)
    }
}

/// Held by the thread. When it ends, even by a panic, its mailbox takes nothing more: nobody would
/// ever look after that.
pub(super) struct MailboxGuard(pub(super) Arc<Mailbox>);

impl Drop for MailboxGuard {
    fn drop(&mut self) {
        drop(self.0.end());
    }
}

impl Wakes {
    fn add(&mut self, key: u64, slots: u32) {
        let (slot, generation) = (slot_of(key), generation_of(key));
        if slot >= slots {
            return;
        }
        if self.marks.len() <= slot as usize {
            self.marks.resize(slots as usize, 0);
        }
        let mark = &mut self.marks[slot as usize];
        // An earlier one than the mark's is gone.
        if *mark < generation {
            *mark = generation;
            self.keys.push(key);
        }
    }

    /// The next key to be woken.
    pub(super) fn next(&mut self) -> Option<u64> {
        let key = self.keys.get(self.taken).copied()?;
        self.taken += 1;
        Some(key)
    }

    /// Whether all have been taken.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.keys.len()
    }

    /// Empties the list; the memory stays.
    fn clear(&mut self) {
        self.taken = 0;
        for key in self.keys.drain(..) {
            self.marks[slot_of(key) as usize] = 0;
        }
    }
}

/// Wakes connections of one I/O thread, from any thread.
///
/// A wake leads to one call of `Service::woken` per connection and turn, however often it was
/// woken. Keys of connections that are gone are ignored.
#[derive(Clone)]
pub struct Waker(pub(super) Arc<Mailbox>);

impl Waker {
    /// Wakes the connections with these keys. Never blocks on anything but a short list.
    pub fn wake(&self, keys: &[u64]) {
        if keys.is_empty() {
            return;
        }
        let slots = self.0.slots.load(Ordering::Relaxed);
        self.0.leave(|mail| {
            for key in keys {
                mail.wakes.add(*key, slots);
            }
        });
    }

    /// Makes the thread have a turn, so that [`Service::turn_ended`](super::Service::turn_ended) is
    /// called.
    pub fn nudge(&self) {
        self.0.leave(|mail| mail.nudged = true);
    }

    /// Whether connections that were woken in earlier turns are still waiting to be looked after.
    pub fn is_behind(&self) -> bool {
        self.0.behind.load(Ordering::Relaxed)
    }

    /// Whether both wake the same thread.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Waker({:p})", Arc::as_ptr(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::slab::key_of;
    use super::*;

    #[test]
    fn a_key_is_listed_once_and_nonsense_not_at_all() {
        let mailbox = Arc::new(Mailbox::new(Poll::new().unwrap()));
        mailbox.announce_slots(4);
        let waker = Waker(mailbox.clone());
        let (a, b, b_next) = (key_of(1, 1), key_of(3, 1), key_of(3, 2));
        waker.wake(&[a, b, a]);
        waker.wake(&[b_next, a, key_of(4, 1), u64::MAX, b, b_next]);
        let mut wakes = Wakes::default();
        let mut taken = || {
            mailbox.take_wakes(&mut wakes);
            // What comes meanwhile is for the next turn.
            waker.wake(&[a]);
            std::iter::from_fn(|| wakes.next()).collect::<Vec<_>>()
        };
        assert_eq!(taken(), [a, b, b_next]);
        assert_eq!(taken(), [a]);
    }

    #[test]
    fn who_has_mail_does_not_sleep() {
        let mailbox = Arc::new(Mailbox::new(Poll::new().unwrap()));
        mailbox.announce_slots(1);
        assert!(mailbox.fall_asleep());
        assert!(mailbox.wake_up(&mut VecDeque::new()).is_none());
        Waker(mailbox.clone()).wake(&[key_of(0, 1)]);
        assert!(!mailbox.fall_asleep());
    }
}
