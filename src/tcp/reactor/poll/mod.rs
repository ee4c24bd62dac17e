//! The poller, and sockets registered with it. The only file of the library with `unsafe`.
//!
//! [`Source`] owns the socket that it registers and takes it out of the poller before it closes
//! it; so the rest of the module cannot break the condition that `polling` sets.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod epoll;
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
mod portable;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use polling::{Event, PollMode, Poller};
use socket2::Socket;

#[cfg(any(target_os = "linux", target_os = "android"))]
use self::epoll as waiting;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use self::portable as waiting;
use self::waiting::Waiter;

pub(super) use self::waiting::Events;

/// What a source wants to hear of. Errors and a reset are always reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) read: bool,
    pub(super) write: bool,
    /// Report changes only, not a state that lasts: for sources whose state is known and which are
    /// not read for the time being.
    pub(super) edge: bool,
}

impl Interest {
    pub(super) const READ: Self = Self {
        read: true,
        write: false,
        edge: false,
    };
    pub(super) const NONE: Self = Self {
        read: false,
        write: false,
        edge: true,
    };
}

/// One thread's poller.
#[derive(Debug)]
pub(super) struct Poll {
    poller: Poller,
    waiter: Waiter,
}

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        let poller = Poller::new()?;
        let waiter = Waiter::new(&poller)?;
        Ok(Self { poller, waiter })
    }

    /// Fills `events`, waiting at most `timeout` (`None`: until something happens). It may return
    /// early, with nothing.
    pub(super) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.waiter.wait(&self.poller, events, timeout)
    }

    /// Ends the current or the next wait. May be called from any thread.
    pub(super) fn notify(&self) {
        if let Err(error) = self.waiter.notify(&self.poller) {
            log::error!("a poller cannot be notified: {error}");
        }
    }

    fn mode(&self, interest: Interest) -> PollMode {
        if interest.edge && self.poller.supports_edge() {
            PollMode::Edge
        } else {
            PollMode::Level
        }
    }
}

/// A socket that is registered with a poller for as long as it is open.
#[derive(Debug)]
pub(super) struct Source {
    poll: Arc<Poll>,
    socket: Socket,
    interest: Interest,
}

impl Source {
    /// Events of the socket will carry `key`, which must not be `usize::MAX`.
    #[allow(unsafe_code)]
    pub(super) fn register(
        poll: Arc<Poll>,
        socket: Socket,
        key: usize,
        interest: Interest,
    ) -> io::Result<Self> {
        let event = Event::new(key, interest.read, interest.write);
        let mode = poll.mode(interest);
        // SAFETY: a registered socket must be taken out of the poller before it is closed. The
        // value returned owns the socket, gives it to nobody, and its `drop` takes it out first.
        unsafe { poll.poller.add_with_mode(&socket, event, mode) }?;
        Ok(Self {
            poll,
            socket,
            interest,
        })
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Bytes that were written and that the peer has not acknowledged, by a system call; 0 where
    /// the system does not tell.
    pub(super) fn unacknowledged(&self) -> u64 {
        unacknowledged(&self.socket)
    }

    /// Changes what is reported; no system call if it is the same as before.
    pub(super) fn set_interest(&mut self, key: usize, interest: Interest) -> io::Result<()> {
        if interest == self.interest {
            return Ok(());
        }
        let event = Event::new(key, interest.read, interest.write);
        self.poll
            .poller
            .modify_with_mode(&self.socket, event, self.poll.mode(interest))?;
        self.interest = interest;
        Ok(())
    }
}

/// TIOCOUTQ, which `rustix` has no name for; a few architectures have another number.
#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(any(
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "powerpc",
        target_arch = "powerpc64",
        target_arch = "sparc",
        target_arch = "sparc64"
    ))
))]
#[allow(unsafe_code)]
fn unacknowledged(socket: &Socket) -> u64 {
    use rustix::ioctl::{Getter, ioctl};
    const TIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: with that number the kernel writes one int.
    let answer = unsafe { ioctl(socket, Getter::<TIOCOUTQ, std::ffi::c_int>::new()) };
    answer.map_or(0, |bytes| u64::try_from(bytes).unwrap_or(0))
}

#[cfg(not(all(
    any(target_os = "linux", target_os = "android"),
    not(any(
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "powerpc",
        target_arch = "powerpc64",
        target_arch = "sparc",
        target_arch = "sparc64"
    ))
)))]
fn unacknowledged(_: &Socket) -> u64 {
    0
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Err(error) = self.poll.poller.delete(&self.socket) {
            log::error!("a socket cannot be taken out of its poller: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    /// What both ways of waiting have to do.
    macro_rules! a_way_to_wait {
        ($way:ident) => {
            mod $way {
                use super::super::$way::{Events, Waiter};
                use super::*;

                fn wait(waiter: &Waiter, poller: &Poller, timeout: Duration) -> Vec<Event> {
                    let mut events = Events::new();
                    waiter.wait(poller, &mut events, Some(timeout)).unwrap();
                    events.iter().collect()
                }

                #[test]
                fn a_wait_ends_in_time() {
                    let poller = Poller::new().unwrap();
                    let waiter = Waiter::new(&poller).unwrap();
                    let begin = SystemClock.now();
                    assert!(wait(&waiter, &poller, SHORT).is_empty());
                    assert!((SystemClock.now() - begin) >= SHORT);
                    assert!(wait(&waiter, &poller, Duration::ZERO).is_empty());
                    assert!(wait(&waiter, &poller, Duration::from_nanos(1)).is_empty());
                }

                #[test]
                fn a_notification_ends_this_or_the_next_wait_once() {
                    let poller = Poller::new().unwrap();
                    let waiter = Waiter::new(&poller).unwrap();
                    let begin = SystemClock.now();
                    for _ in 0..3 {
                        waiter.notify(&poller).unwrap();
                        waiter.notify(&poller).unwrap();
                        assert!(wait(&waiter, &poller, Duration::MAX).is_empty());
                    }
                    std::thread::scope(|scope| {
                        scope.spawn(|| waiter.notify(&poller).unwrap());
                        assert!(wait(&waiter, &poller, LONG).is_empty());
                    });
                    assert!((SystemClock.now() - begin) < LONG);
                    let begin = SystemClock.now();
                    assert!(wait(&waiter, &poller, SHORT).is_empty());
                    assert!((SystemClock.now() - begin) >= SHORT);
                }

                #[test]
                #[allow(unsafe_code)]
                fn events_carry_the_key_and_the_state() {
                    let poller = Poller::new().unwrap();
                    let waiter = Waiter::new(&poller).unwrap();
                    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
                    let both = Event::all(7);
                    // SAFETY: it is taken out below, before it is closed.
                    unsafe { poller.add_with_mode(&ours, both, PollMode::Level) }.unwrap();
                    let [event] = wait(&waiter, &poller, LONG)[..] else {
                        panic!("not one event");
                    };
                    let state = (event.key, event.readable, event.writable);
                    assert_eq!((state, event.is_interrupt()), ((7, false, true), false));
                    waiter.notify(&poller).unwrap();
                    drop(theirs);
                    let [event] = wait(&waiter, &poller, LONG)[..] else {
                        panic!("not one event");
                    };
                    let state = (event.key, event.readable, event.writable);
                    assert_eq!((state, event.is_interrupt()), ((7, true, true), true));
                    poller.delete(&ours).unwrap();
                    assert!(wait(&waiter, &poller, SHORT).is_empty());
                }
            }
        };
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    a_way_to_wait!(epoll);
    #[cfg(unix)]
    a_way_to_wait!(portable);
}
