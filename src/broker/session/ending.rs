//! How a session ends: at once, or in good order, when what waits for its client goes out first,
//! then the word that it is over.

use std::sync::Arc;

use super::{Gone, State};
use crate::broker::queue::{Overflow, QueueLimits};
use crate::protocol::Publication;
use crate::transport::ConnectionHandle;

/// What a session leaves behind.
pub(crate) struct Remains {
    /// Connections to wake.
    pub(crate) connections: [Option<ConnectionHandle>; 2],
    /// Messages that waited.
    pub(crate) lost: usize,
    /// Messages that were in the queue.
    pub(crate) left: usize,
    /// Whether nobody has heard of its end yet.
    pub(crate) news: bool,
}

impl State {
    /// The session ends, for good. Whoever has a client in this process can still take what waits.
    pub(crate) fn end(&mut self, gone: Gone) -> Option<Remains> {
        if self.gone.is_some() && !self.parting {
            return None;
        }
        let notice = usize::from(self.parting && self.gone == Some(Gone::Dismissed));
        let news = self.gone.replace(self.gone.unwrap_or(gone)).is_none();
        self.parting = false;
        self.expires = None;
        self.writer = None;
        let held = self.hold.take().map(|hold| hold.connection);
        let receiver = self.receiver.take().map(|receiver| receiver.connection);
        self.wake_target = None;
        let (lost, left) = match self.local {
            true => (0, 0),
            false => self.queue.clear(),
        };
        Some(Remains {
            connections: [held, receiver],
            lost: lost.saturating_sub(notice),
            left,
            news,
        })
    }

    /// The session ends in good order, and gets nothing more. What waits and then the notice, if
    /// there is one, go out by the connect that is held, else by the receiver, else by the next
    /// connect. Returns a connection that had them until now; it is to be woken.
    pub(crate) fn part(
        &mut self,
        gone: Gone,
        notice: Option<&Arc<Publication>>,
    ) -> Option<ConnectionHandle> {
        debug_assert!(self.gone.is_none() && !self.local, "it is asked before");
        if let Some(notice) = notice {
            self.queue.push(notice, &NO_LIMITS, || false);
        }
        self.gone = Some(gone);
        self.parting = true;
        let older = match self.hold {
            Some(_) => self.take_back(),
            None => None,
        };
        self.woken = false;
        older
    }

    /// Drops all messages that nobody is writing, for the bound on all queues together; returns how
    /// many. The notice of its end stays.
    pub(crate) fn clear_waiting(&mut self) -> usize {
        let ends = self.parting && self.gone == Some(Gone::Dismissed);
        let notice = self.queue.last_waiting().filter(|_| ends).cloned();
        let messages = self.queue.clear_waiting();
        let Some(notice) = notice else {
            return messages;
        };
        self.queue.push(&notice, &NO_LIMITS, || false);
        messages - 1
    }

    /// Takes out what waits for the last response to its client; returns how many that are.
    pub(crate) fn take_rest(&mut self, budget: usize, out: &mut Vec<Arc<Publication>>) -> usize {
        self.queue.take_waiting(budget, out)
    }

    /// Whether the response at hand, which takes so many bytes of messages, tells its client all
    /// that is left to tell. Then the client does not come back.
    pub(crate) fn tells_all(&mut self, budget: usize) -> bool {
        let all = self.parting && !self.is_streaming() && self.queue.fits(budget);
        self.told |= all;
        all
    }

    /// Whether there are no messages any more before the word that it is over.
    pub(crate) fn has_nothing_left(&self) -> bool {
        self.parting && self.queue.len() == 0
    }

    /// Whether a response has said that it is over.
    pub(crate) fn has_told(&self) -> bool {
        self.told
    }

    /// Whether nobody is left to be told of the end: the session may go.
    pub(crate) fn is_over(&self) -> bool {
        let empty = self.has_nothing_left();
        self.parting
            && self.hold.is_none()
            && match self.gone {
                // Its client has said goodbye and does not come back.
                Some(Gone::Disconnected) => empty || self.receiver.is_none(),
                _ => empty && self.told,
            }
    }
}

/// For the last message.
const NO_LIMITS: QueueLimits = QueueLimits {
    messages: usize::MAX,
    bytes: usize::MAX,
    overflow: Overflow::DropOldest,
};
