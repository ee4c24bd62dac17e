//! The poller, and sockets registered with it. The only file of the library with `unsafe`.
//!
//! [`Source`] owns the socket that it registers and takes it out of the poller before it closes
//! it; so the rest of the module cannot break the condition that `polling` sets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};
use socket2::Socket;

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
}

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
        })
    }

    /// Fills `events`, waiting at most `timeout` (`None`: until something happens).
    pub(super) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        self.poller.wait(events, timeout).map(drop)
    }

    /// Ends the current or the next wait. May be called from any thread.
    pub(super) fn notify(&self) {
        if let Err(error) = self.poller.notify() {
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

impl Drop for Source {
    fn drop(&mut self) {
        if let Err(error) = self.poll.poller.delete(&self.socket) {
            log::error!("a socket cannot be taken out of its poller: {error}");
        }
    }
}
