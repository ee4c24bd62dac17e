//! The messages of a session that a connection is writing: they stay at the head of its queue until
//! the kernel has them.

use std::sync::Arc;

use super::{Gone, State};
use crate::protocol::Publication;
use crate::transport::ConnectionHandle;

/// Messages that are being written.
pub(super) struct InFlight {
    number: u64,
    connection: ConnectionHandle,
    cut: bool,
    /// The kernel has not taken all of it at once.
    pub(super) stalled: bool,
}

impl State {
    /// Takes messages to be written by that connection. They stay in the queue until the flight is
    /// committed.
    pub(crate) fn begin_flight(
        &mut self,
        connection: &ConnectionHandle,
        budget: usize,
        out: &mut Vec<Arc<Publication>>,
    ) -> u64 {
        debug_assert!(self.ready());
        self.queue.begin(budget, out);
        self.numbers += 1;
        self.flight = Some(InFlight {
            number: self.numbers,
            connection: connection.clone(),
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
    pub(crate) fn cut(&mut self, newer: &ConnectionHandle) -> Option<ConnectionHandle> {
        let flight = self.flight.as_mut()?;
        if flight.cut || flight.connection.same(newer) {
            return None;
        }
        flight.cut = true;
        Some(flight.connection.clone())
    }

    pub(crate) fn is_cut(&self, flight: u64) -> bool {
        self.flight
            .as_ref()
            .is_some_and(|current| current.number == flight && current.cut)
    }

    /// Whether that connection is writing the last messages of a client that has said goodbye: the
    /// word that it is over can go right behind them.
    pub(super) fn is_last(&self, connection: &ConnectionHandle) -> bool {
        let flight = self.flight.as_ref();
        self.gone == Some(Gone::Disconnected)
            && flight.is_some_and(|flight| flight.connection.same(connection))
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
