//! The bounded buffer between the client's threads and the reader of a subscription.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::Error;
use super::message::Message;

/// Messages waiting for their reader. When it is full the oldest goes, and is counted: a reader
/// that lags sees the newest.
#[derive(Debug)]
pub(crate) struct Ring {
    /// At most so many messages,
    limit: usize,
    /// and bytes of them, but always one.
    byte_limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    bytes: usize,
    dropped: u64,
    ended: Option<Error>,
}

/// Why a receiver has nothing to return.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing came in time.
    Empty,
    /// The subscription has ended and all its messages are read; with the reason.
    Ended(Error),
}

impl Ring {
    pub(crate) fn new(limit: usize, byte_limit: usize) -> Self {
        Self {
            limit,
            byte_limit,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn push(&self, message: Message) {
        let mut state = self.state.lock();
        if state.ended.is_some() {
            return;
        }
        let size = message.json().len();
        while state.messages.len() >= self.limit
            || state.bytes > self.byte_limit.saturating_sub(size)
        {
            if state.pop().is_none() {
                break;
            }
            state.dropped += 1;
        }
        state.bytes += size;
        state.messages.push_back(message);
        self.changed.notify_one();
    }

    /// No further messages; what is there can still be read.
    pub(crate) fn end(&self, reason: Error) {
        self.state.lock().ended.get_or_insert(reason);
        self.changed.notify_all();
    }

    /// Takes the next message; waits for it at most so long, without `timeout` for ever.
    pub(crate) fn recv(&self, timeout: Option<Duration>) -> Result<Message, RecvError> {
        let mut state = self.state.lock();
        let idle = |state: &mut State| state.messages.is_empty() && state.ended.is_none();
        match timeout {
            Some(timeout) => {
                self.changed.wait_while_for(&mut state, idle, timeout);
            }
            None => self.changed.wait_while(&mut state, idle),
        }
        match (state.pop(), &state.ended) {
            (Some(message), _) => Ok(message),
            (None, Some(reason)) => Err(RecvError::Ended(reason.clone())),
            (None, None) => Err(RecvError::Empty),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().messages.len()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }
}

impl State {
    fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.json().len();
        Some(message)
    }
}

impl std::fmt::Display for RecvError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("no message in time"),
            Self::Ended(reason) => write!(f, "the subscription has ended: {reason}"),
        }
    }
}

impl std::error::Error for RecvError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: u32) -> Message {
        Message::parse(&format!(r#"{{"channel":"/a","data":{n}}}"#)).unwrap()
    }

    #[test]
    fn the_oldest_goes_and_is_counted() {
        let ring = Ring::new(2, 1000);
        (1..=5).for_each(|n| ring.push(message(n)));
        assert_eq!((ring.len(), ring.dropped()), (2, 3));
        assert_eq!(ring.recv(Some(Duration::ZERO)), Ok(message(4)));
        assert_eq!(ring.recv(None), Ok(message(5)));
        assert_eq!(ring.recv(Some(Duration::ZERO)), Err(RecvError::Empty));
    }

    #[test]
    fn large_ones_take_the_room_of_several() {
        let size = message(1).json().len();
        let ring = Ring::new(10, 2 * size);
        (1..=2).for_each(|n| ring.push(message(n)));
        assert_eq!((ring.len(), ring.dropped()), (2, 0));
        ring.push(message(33));
        assert_eq!((ring.len(), ring.dropped()), (1, 2));
        ring.push(Message::parse(&format!(r#"{{"channel":"/{}"}}"#, "a".repeat(1000))).unwrap());
        assert_eq!((ring.len(), ring.dropped()), (1, 3), "one in any case");
        ring.recv(None).unwrap();
        (1..=2).for_each(|n| ring.push(message(n)));
        assert_eq!((ring.len(), ring.dropped()), (2, 3));
    }

    #[test]
    fn what_is_there_survives_the_end() {
        let ring = Ring::new(0, 0);
        ring.push(message(1));
        ring.end(Error::Disconnected);
        ring.end(Error::Closed);
        ring.push(message(2));
        assert_eq!(ring.recv(None), Ok(message(1)));
        assert_eq!(ring.recv(None), Err(RecvError::Ended(Error::Disconnected)));
    }
}
