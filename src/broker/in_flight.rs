//! What a connection is writing for a session, from the side of the connection.

use std::mem;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::core::Core;
use super::session::Session;

/// Messages on their way through a connection's write buffer; and an answer without messages, for
/// which its session lives longer.
///
/// Begun when messages are taken from the session's queue, at whose head they stay. Then the
/// connection decides their fate by one call: [`commit`](Self::commit) when the kernel has the last
/// byte, [`abort`](Self::abort) when the connection has broken before.
pub struct InFlight {
    pub(super) core: Arc<Core>,
    pub(super) session: Arc<Session>,
    /// Given by the session to what was begun last; none where there are no messages.
    number: Option<NonZeroU64>,
    /// The kernel did not take all of it at once: the session lives until it is read.
    stalled: bool,
}

impl InFlight {
    /// Without messages yet.
    pub(crate) fn new(core: &Arc<Core>, session: &Arc<Session>) -> Self {
        Self {
            core: Arc::clone(core),
            session: Arc::clone(session),
            number: None,
            stalled: false,
        }
    }

    /// The session has given messages, under this number.
    pub(crate) fn begin(&mut self, number: u64) {
        debug_assert!(self.number.is_none(), "messages follow those before");
        self.number = NonZeroU64::new(number);
    }

    /// Whether there are messages in it.
    pub fn carries_messages(&self) -> bool {
        self.number.is_some()
    }

    /// What the response says cannot come later: it tells with its messages that the session is
    /// over, or none of them are in a queue.
    pub fn is_last(&self) -> bool {
        self.number.is_none() || self.session.lock().has_told()
    }

    /// A newer connection of the client waits for these messages: if they are not written yet,
    /// the connection that carries them is to be closed and they are to be aborted.
    pub fn is_cut(&self) -> bool {
        let number = self.number;
        number.is_some_and(|number| self.session.lock().is_cut(number.get()))
    }

    /// The kernel has not taken all bytes at once: from now on the messages count against the
    /// limits of their session's queue, and the session lives until they are written. A connector
    /// that blocks in writes says so before them.
    pub fn stalled(&mut self) {
        let mut state = self.session.lock();
        if let Some(number) = self.number {
            state.stalled(number.get());
        }
        if !mem::replace(&mut self.stalled, true) {
            state.begin_reading();
        }
    }

    /// The kernel took the last byte: the messages leave the queue. The connection is woken if more
    /// wait for it.
    pub fn commit(&mut self) {
        self.leave_queue();
        self.end_stall();
    }

    /// As [`commit`](Self::commit), and the client has yet to receive much of it: the session lives
    /// for as long as what is returned.
    pub fn commit_unread(&mut self) -> Unread {
        self.leave_queue();
        if !mem::take(&mut self.stalled) {
            self.session.lock().begin_reading();
        }
        self.unread()
    }

    /// The connection has broken before the kernel took the last byte: the messages wait again, for
    /// the client's next connection.
    pub fn abort(&mut self) {
        if let Some(number) = self.number.take() {
            self.core
                .change(&self.session, |state| state.abort_write(number.get()));
        }
        self.end_stall();
    }

    fn leave_queue(&mut self) {
        if let Some(number) = self.number.take() {
            let left = self
                .core
                .change(&self.session, |state| state.commit_write(number.get()));
            self.core.budget.left(left);
        }
    }

    fn end_stall(&mut self) {
        if mem::take(&mut self.stalled) {
            drop(self.unread());
        }
    }

    fn unread(&self) -> Unread {
        Unread {
            core: Arc::clone(&self.core),
            session: Arc::clone(&self.session),
        }
    }
}

/// A net for what no connection can decide about any more: an answer that was found for a request
/// whose connection has gone.
impl Drop for InFlight {
    fn drop(&mut self) {
        self.abort();
    }
}

/// A session whose client has yet to receive what was written for it. Until this is dropped the
/// session lives, and from then on it has all its time to come back.
pub struct Unread {
    core: Arc<Core>,
    session: Arc<Session>,
}

impl Unread {
    /// Whether both are about one session.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.session, &other.session)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let now = self.core.clock.now();
        let mut state = self.session.lock();
        state.end_reading(now);
        self.core.ticker.schedule(&self.session, &mut state);
    }
}
