//! Waiting on Linux: one system call.
//!
//! `Poller::wait` makes five, as it sets a timer and renews the registrations of the timer and of
//! its notifier each time; where requests come one by one, each pays for that. So what is
//! registered stays with `polling`, and its epoll instance is waited on here.

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
        let sources = self.list.iter().filter(|event| event.data.u64() != BELL);
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
    bell: OwnedFd,
}

impl Waiter {
    pub(super) fn new(poller: &Poller) -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let changes = EventFlags::IN | EventFlags::ET;
        epoll::add(poller, &bell, EventData::new_u64(BELL), changes)?;
        Ok(Self { bell })
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
        match rustix::io::write(&self.bell, &1_u64.to_ne_bytes()) {
            // Full after 2^64 notifications: begins again.
            Err(Errno::AGAIN) => rustix::io::read(&self.bell, &mut [0; 8]),
            done => done,
        }?;
        Ok(())
    }
}

/// The key that `polling` keeps for itself too.
const BELL: u64 = u64::MAX;
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
