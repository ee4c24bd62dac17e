//! The poller, and sockets registered with it. The only file of the library with `unsafe`.
//!
//! [`Source`] owns the socket that it registers and takes it out of the poller before it closes
//! it; so the rest of the module cannot break the condition that `polling` sets.

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
    pub(super) const WRITE: Self = Self {
        read: false,
        write: true,
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

/// Bytes that were written and that the peer has not acknowledged, by a system call; 0 where the
/// system does not tell. TIOCOUTQ: `rustix` has no name for it.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(unsafe_code)]
pub(super) fn unacknowledged(socket: &Socket) -> u64 {
    use rustix::ioctl::{Getter, ioctl};
    const TIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    let other_number = ["mips", "mips64", "powerpc", "powerpc64", "sparc", "sparc64"];
    if other_number.contains(&std::env::consts::ARCH) {
        return 0;
    }
    // SAFETY: with that number the kernel writes one int.
    let answer = unsafe { ioctl(socket, Getter::<TIOCOUTQ, std::ffi::c_int>::new()) };
    answer.map_or(0, |bytes| u64::try_from(bytes).unwrap_or(0))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn unacknowledged(_: &Socket) -> u64 {
    0
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Err(error) = self.poll.poller.delete(&self.socket) {
            log::error!("a socket cannot be taken out of its poller: {error}");
        }
    }
}

/// Waiting on Linux: one system call.
///
/// `Poller::wait` makes five, as it sets a timer and renews the registrations of the timer and of
/// its notifier each time; where requests come one by one, each pays for that. So what is
/// registered stays with `polling`, and its epoll instance is waited on here.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod epoll {
    use std::io;
    use std::time::Duration;

    use polling::{Event, Poller};
    use rustix::buffer::spare_capacity;
    use rustix::event::epoll::{self, EventData, EventFlags};
    use rustix::event::{EventfdFlags, Timespec, eventfd};
    use rustix::fd::OwnedFd;
    use rustix::io::Errno;

    /// Events of one wait.
    pub(in super::super) struct Events {
        list: Vec<epoll::Event>,
    }

    impl Events {
        pub(in super::super) fn new() -> Self {
            Self {
                list: Vec::with_capacity(AT_A_TIME),
            }
        }

        pub(in super::super) fn iter(&self) -> impl Iterator<Item = Event> + '_ {
            let sources = self
                .list
                .iter()
                .filter(|event| event.data.u64() != NOTIFIER);
            sources.map(|event| {
                let (key, flags) = (event.data.u64() as usize, event.flags);
                let mut event = Event::new(key, flags.intersects(READ), flags.intersects(WRITE));
                event.set_interrupt(flags.contains(EventFlags::HUP));
                event
            })
        }
    }

    /// Waits, and is woken by a counter that nobody reads: only its changes are reported.
    #[derive(Debug)]
    pub(super) struct Waiter {
        notifier: OwnedFd,
    }

    impl Waiter {
        pub(super) fn new(poller: &Poller) -> io::Result<Self> {
            let notifier = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let changes = EventFlags::IN | EventFlags::ET;
            epoll::add(poller, &notifier, EventData::new_u64(NOTIFIER), changes)?;
            Ok(Self { notifier })
        }

        pub(super) fn wait(
            &self,
            poller: &Poller,
            events: &mut Events,
            timeout: Option<Duration>,
        ) -> io::Result<()> {
            events.list.clear();
            // Too early is allowed, so the longest is what the system call can take in any form.
            let timeout = timeout.map(|time| Timespec::try_from(time.min(LONGEST)));
            let timeout = timeout.transpose().map_err(io::Error::other)?;
            match epoll::wait(poller, spare_capacity(&mut events.list), timeout.as_ref()) {
                // A signal that was handled: as if the time were over.
                Ok(_) | Err(Errno::INTR) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }

        pub(super) fn notify(&self, _: &Poller) -> io::Result<()> {
            match rustix::io::write(&self.notifier, &1_u64.to_ne_bytes()) {
                // Full after 2^64 notifications: begins again.
                Err(Errno::AGAIN) => rustix::io::read(&self.notifier, &mut [0; 8]),
                done => done,
            }?;
            Ok(())
        }
    }

    /// The key that `polling` keeps for itself too.
    const NOTIFIER: u64 = u64::MAX;
    /// Errors count as both, as `polling` has it.
    const READ: EventFlags = EventFlags::IN
        .union(EventFlags::PRI)
        .union(EventFlags::HUP)
        .union(EventFlags::ERR);
    const WRITE: EventFlags = EventFlags::OUT
        .union(EventFlags::HUP)
        .union(EventFlags::ERR);
    const AT_A_TIME: usize = 1024;
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
}

/// Waiting as `polling` does it, wherever it runs.
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
mod portable {
    use std::io;
    use std::time::Duration;

    use polling::{Event, Poller};

    /// Events of one wait.
    pub(in super::super) struct Events(polling::Events);

    impl Events {
        pub(in super::super) fn new() -> Self {
            Self(polling::Events::new())
        }

        pub(in super::super) fn iter(&self) -> impl Iterator<Item = Event> + '_ {
            self.0.iter()
        }
    }

    #[derive(Debug)]
    pub(super) struct Waiter;

    impl Waiter {
        #[allow(clippy::unnecessary_wraps)] // As the other does.
        pub(super) fn new(_: &Poller) -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) fn wait(
            &self,
            poller: &Poller,
            events: &mut Events,
            timeout: Option<Duration>,
        ) -> io::Result<()> {
            events.0.clear();
            poller.wait(&mut events.0, timeout).map(drop)
        }

        pub(super) fn notify(&self, poller: &Poller) -> io::Result<()> {
            poller.notify()
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
