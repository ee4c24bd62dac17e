//! Waiting as `polling` does it, wherever it runs.

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
