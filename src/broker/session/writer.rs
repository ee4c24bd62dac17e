//! The messages of a session that a connection is writing: they stay at the head of its queue until
//! the kernel has them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Gone, State};
use crate::protocol::Publication;
use crate::transport::ConnectionHandle;

/// The connection that is writing messages.
pub(super) struct Writer {
    number: u64,
    connection: ConnectionHandle,
    cut: bool,
    /// The kernel has not taken all of it at once.
    pub(super) stalled: bool,
}

impl State {
    /// Takes messages to be written by that connection. They stay in the queue until that is
    /// committed. Returns the number by which it is known.
    pub(crate) fn begin_write(
        &mut self,
        connection: &ConnectionHandle,
        budget: usize,
        out: &mut Vec<Arc<Publication>>,
    ) -> u64 {
        debug_assert!(self.ready());
        self.queue.begin(budget, out);
        self.numbers += 1;
        self.writer = Some(Writer {
            number: self.numbers,
            connection: connection.clone(),
            cut: false,
            stalled: false,
        });
        self.numbers
    }

    /// The kernel has the messages of that number. Returns how many left the queue.
    pub(crate) fn commit_write(&mut self, number: u64) -> usize {
        if self.ends(number) {
            self.queue.commit()
        } else {
            0
        }
    }

    /// The connection broke; the messages wait again.
    pub(crate) fn abort_write(&mut self, number: u64) {
        if self.ends(number) {
            self.queue.abort();
            self.told = false;
        }
    }

    /// The kernel has not taken all of them at once.
    pub(crate) fn stalled(&mut self, number: u64) {
        let current = self.writer.as_mut();
        if let Some(current) = current.filter(|current| current.number == number) {
            current.stalled = true;
        }
    }

    /// Its client takes its time to receive what is written for it.
    pub(crate) fn begin_reading(&mut self) {
        self.reading += 1;
    }

    /// The client has received that, or its connection has ended: now its time to come back begins.
    pub(crate) fn end_reading(&mut self, now: Instant) {
        self.reading -= 1;
        self.extend_to(now + Duration::from(self.lifetime));
    }

    /// Asks another connection to give up what it has not finished writing.
    pub(crate) fn cut(&mut self, newer: &ConnectionHandle) -> Option<ConnectionHandle> {
        let writer = self.writer.as_mut()?;
        if writer.cut || writer.connection.same(newer) {
            return None;
        }
        writer.cut = true;
        Some(writer.connection.clone())
    }

    pub(crate) fn is_cut(&self, number: u64) -> bool {
        self.writer
            .as_ref()
            .is_some_and(|current| current.number == number && current.cut)
    }

    /// Whether that connection is writing the last messages of a client that has said goodbye: the
    /// word that it is over can go right behind them.
    pub(super) fn is_last(&self, connection: &ConnectionHandle) -> bool {
        let writer = self.writer.as_ref();
        self.gone == Some(Gone::Disconnected)
            && writer.is_some_and(|writer| writer.connection.same(connection))
            && self.queue.waiting().0 == 0
    }

    fn ends(&mut self, number: u64) -> bool {
        let mine = self
            .writer
            .as_ref()
            .is_some_and(|current| current.number == number);
        if mine {
            self.writer = None;
            self.woken = false;
        }
        mine
    }
}
