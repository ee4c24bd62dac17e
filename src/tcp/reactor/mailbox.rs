//! What other threads leave for an I/O thread: keys to wake, new connections, commands.
//!
//! One mutex, held for a few pushes. The poller is notified only while its thread sleeps, so wakes
//! from the thread itself, and wakes during its turn, cost no system call.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use socket2::Socket;

use super::admission::Permit;
use super::counters::ThreadCounters;
use super::poll::Poll;
use super::slab::{generation_of, slot_of};
use crate::tcp::Address;

/// A connection on its way to its thread.
pub(super) struct Arrival {
    pub(super) socket: Socket,
    pub(super) peer: Address,
    pub(super) listener: u16,
    pub(super) permit: Permit,
}

pub(super) enum Command {
    /// Call `Service::stopping` for every connection.
    Drain,
    /// Drain, wait for the connections until the instant (`None`: for ever), abort the rest, end
    /// the thread.
    Stop(Option<Instant>),
}

/// The half of an I/O thread that others may touch.
pub(super) struct Mailbox {
    pub(super) poll: Arc<Poll>,
    pub(super) counters: ThreadCounters,
    /// Connections that were given to the thread and are not closed yet.
    pub(super) load: AtomicUsize,
    /// Slots that exist; keys of others are nonsense and must not make `marks` grow.
    slots: AtomicU32,
    /// Connections were woken that the thread has not come to.
    behind: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The thread waits, or is about to: whoever adds something notifies.
    sleeping: bool,
    /// The thread has ended; nothing is taken any more.
    ended: bool,
    /// Something else than what is listed here wants a turn.
    nudged: bool,
    wakes: Wakes,
    arrivals: Vec<Arrival>,
    commands: Vec<Command>,
}

/// Keys to wake, each once.
#[derive(Default)]
pub(super) struct Wakes {
    keys: Vec<u64>,
    /// By slot: the latest generation that is in `keys`, 0 for none. So the list is hardly longer
    /// than the number of slots, however much is published while the thread is busy.
    marks: Vec<u32>,
}

impl Mailbox {
    pub(super) fn new(poll: Arc<Poll>) -> Self {
        Self {
            poll,
            counters: ThreadCounters::default(),
            load: AtomicUsize::new(0),
            slots: AtomicU32::new(0),
            behind: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Hands over a connection; gives it back if the thread has ended.
    pub(super) fn arrive(&self, arrival: Arrival) -> Result<(), Arrival> {
        let mut refused = None;
        self.leave(|state| {
            if state.ended {
                refused = Some(arrival);
            } else {
                self.load.fetch_add(1, Ordering::Relaxed);
                state.arrivals.push(arrival);
            }
        });
        refused.map_or(Ok(()), Err)
    }

    pub(super) fn command(&self, command: Command) {
        self.leave(|state| state.commands.push(command));
    }

    fn leave(&self, add: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        add(&mut state);
        let asleep = mem::take(&mut state.sleeping);
        drop(state);
        if asleep {
            self.poll.notify();
        }
    }

    /// To be called by the thread before it waits: `false` if something has come meanwhile, and it
    /// must not wait.
    pub(super) fn fall_asleep(&self) -> bool {
        let mut state = self.state.lock();
        let nothing =
            state.wakes.keys.is_empty() && state.arrivals.is_empty() && state.commands.is_empty();
        state.sleeping = nothing && !state.nudged;
        state.sleeping
    }

    /// To be called by the thread when its wait is over.
    pub(super) fn wake_up(&self, arrivals: &mut Vec<Arrival>, commands: &mut Vec<Command>) {
        let mut state = self.state.lock();
        state.sleeping = false;
        state.nudged = false;
        if arrivals.is_empty() {
            mem::swap(&mut state.arrivals, arrivals);
        } else {
            arrivals.append(&mut state.arrivals);
        }
        mem::swap(&mut state.commands, commands);
    }

    /// Tells how many slots there are now.
    pub(super) fn announce_slots(&self, slots: u32) {
        if self.slots.load(Ordering::Relaxed) != slots {
            self.slots.store(slots, Ordering::Relaxed);
        }
    }

    /// Tells whether connections that were woken are left for the next turn.
    pub(super) fn announce_backlog(&self, behind: bool) {
        if self.behind.load(Ordering::Relaxed) != behind {
            self.behind.store(behind, Ordering::Relaxed);
        }
    }

    /// Takes what is to be woken; `empty` comes back in its place, so nothing is allocated.
    pub(super) fn take_wakes(&self, empty: &mut Wakes) {
        debug_assert!(empty.keys.is_empty());
        let mut state = self.state.lock();
        if !state.wakes.keys.is_empty() {
            mem::swap(&mut state.wakes, empty);
        }
    }

    /// The thread ends, or has ended: what has arrived too late is given back.
    pub(super) fn end(&self) -> Vec<Arrival> {
        let mut state = self.state.lock();
        state.ended = true;
        self.slots.store(0, Ordering::Relaxed);
        mem::take(&mut state.arrivals)
    }
}

/// Whoever reads the mailbox. With it the mailbox ends, even if its thread panics: nobody would
/// ever look after what arrives later.
pub(super) struct Reader(pub(super) Arc<Mailbox>);

impl Drop for Reader {
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

    pub(super) fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// Empties the list; the memory stays.
    pub(super) fn clear(&mut self) {
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
        self.0.leave(|state| {
            for key in keys {
                state.wakes.add(*key, slots);
            }
        });
    }

    /// Makes the thread have a turn, so that [`Service::turn_ended`](super::Service::turn_ended) is
    /// called.
    pub fn nudge(&self) {
        self.0.leave(|state| state.nudged = true);
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
        let mailbox = Arc::new(Mailbox::new(Arc::new(Poll::new().unwrap())));
        mailbox.announce_slots(4);
        let waker = Waker(mailbox.clone());
        let (a, b, b_next) = (key_of(1, 1), key_of(3, 1), key_of(3, 2));
        waker.wake(&[a, b, a]);
        waker.wake(&[b_next, a, key_of(4, 1), u64::MAX, b, b_next]);
        let mut wakes = Wakes::default();
        mailbox.take_wakes(&mut wakes);
        assert_eq!(wakes.keys(), [a, b, b_next]);
        wakes.clear();
        waker.wake(&[a]);
        mailbox.take_wakes(&mut wakes);
        assert_eq!(wakes.keys(), [a]);
    }

    #[test]
    fn who_has_mail_does_not_sleep() {
        let mailbox = Arc::new(Mailbox::new(Arc::new(Poll::new().unwrap())));
        mailbox.announce_slots(1);
        assert!(mailbox.fall_asleep());
        mailbox.wake_up(&mut Vec::new(), &mut Vec::new());
        Waker(mailbox.clone()).wake(&[key_of(0, 1)]);
        assert!(!mailbox.fall_asleep());
    }
}
