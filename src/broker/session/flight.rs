//! The messages of a session that a connection is writing: they stay at the head of its queue until
//! the kernel has them.

use std::sync::Arc;

use super::{Gone, State};
use crate::protocol::Publication;
use crate::transport::Link;

/// Messages that are being written.
pub(super) struct InFlight {
    number: u64,
    link: Link,
    cut: bool,
    /// The kernel has not taken all of it at once.
    pub(super) stalled: bool,
}

impl State {
    /// Takes messages to be written by that connection. They stay in the queue until the flight is
    /// committed.
    pub(crate) fn begin_flight(
        &mut self,
        link: &Link,
        budget: usize,
        out: &mut Vec<Arc<Publication>>,
    ) -> u64 {
        debug_assert!(self.ready());
        self.queue.begin(budget, out);
        self.numbers += 1;
        self.flight = Some(InFlight {
            number: self.numbers,
            link: link.clone(),
            cut: false,
            stalled: false,
        });
        self.numbers
    }

    /// The kernel has the messages of that flight. Returns the bytes that left the queue.
    pub(crate) fn commit_flight(&mut self, flight: u64) -> usize {
        if self.ends(flight) {
            self.queue.commit()
        } else {
            0
        }
    }

    /// The connection broke; the messages wait again.
    pub(crate) fn abort_flight(&mut self, flight: u64) {
        if self.ends(flight) {
            self.queue.abort();
            self.told = false;
        }
    }

    /// The kernel has not taken all of that flight at once.
    pub(crate) fn stalled(&mut self, flight: u64) {
        let current = self.flight.as_mut();
        if let Some(current) = current.filter(|current| current.number == flight) {
            current.stalled = true;
        }
    }

    /// Asks another connection to give up what it has not finished writing.
    pub(crate) fn cut(&mut self, newer: &Link) -> Option<Link> {
        let flight = self.flight.as_mut()?;
        if flight.cut || flight.link.same(newer) {
            return None;
        }
        flight.cut = true;
        Some(flight.link.clone())
    }

    pub(crate) fn is_cut(&self, flight: u64) -> bool {
        self.flight
            .as_ref()
            .is_some_and(|current| current.number == flight && current.cut)
    }

    /// Whether that connection is writing the last messages of a client that has said goodbye: the
    /// word that it is over can go right behind them.
    pub(super) fn is_last(&self, link: &Link) -> bool {
        let flight = self.flight.as_ref();
        self.gone == Some(Gone::Disconnected)
            && flight.is_some_and(|flight| flight.link.same(link))
            && self.queue.waiting().0 == 0
    }

    fn ends(&mut self, flight: u64) -> bool {
        let mine = self
            .flight
            .as_ref()
            .is_some_and(|current| current.number == flight);
        if mine {
            self.flight = None;
            self.woken = false;
        }
        mine
    }
}
