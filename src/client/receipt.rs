//! What a call waits for: the outcome of one message.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::Error;
use super::message::Message;

/// What became of a message: the server's reply, or why there is none.
pub(crate) type Outcome = Result<Message, Error>;

/// The outcome of the message with that id: written once by the client's threads, read by whoever
/// waits for it.
#[derive(Debug)]
pub(crate) struct Receipt {
    pub(crate) id: u64,
    outcome: Mutex<Option<Outcome>>,
    settled: Condvar,
}

impl Receipt {
    pub(crate) fn new(id: u64) -> Arc<Self> {
        Arc::new(Self {
            id,
            outcome: Mutex::new(None),
            settled: Condvar::new(),
        })
    }

    /// Puts the outcome in; a second one is ignored.
    pub(crate) fn settle(&self, outcome: Outcome) {
        let mut settled = self.outcome.lock();
        if settled.is_none() {
            *settled = Some(outcome);
            self.settled.notify_all();
        }
    }

    /// The outcome, if it is there.
    pub(crate) fn get(&self) -> Option<Outcome> {
        self.outcome.lock().clone()
    }

    /// Waits for the outcome.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<Outcome> {
        let mut outcome = self.outcome.lock();
        self.settled
            .wait_while_for(&mut outcome, |outcome| outcome.is_none(), timeout);
        outcome.clone()
    }

    /// Whether somebody could still look at it, besides the holder of `this`.
    pub(crate) fn is_watched(this: &Arc<Self>) -> bool {
        Arc::strong_count(this) > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_outcome_stays() {
        let receipt = Receipt::new(1);
        assert!(!Receipt::is_watched(&receipt));
        let other = Arc::clone(&receipt);
        assert!(Receipt::is_watched(&receipt));
        assert_eq!(receipt.get(), None);
        assert_eq!(receipt.wait(Duration::from_millis(1)), None);
        other.settle(Err(Error::SessionLost));
        other.settle(Err(Error::Closed));
        assert_eq!(
            receipt.wait(Duration::from_secs(60)),
            Some(Err(Error::SessionLost))
        );
    }

    #[test]
    fn a_waiting_thread_wakes() {
        let receipt = Receipt::new(1);
        let other = Arc::clone(&receipt);
        let waiting = std::thread::spawn(move || other.wait(Duration::from_secs(60)));
        receipt.settle(Err(Error::Closed));
        assert_eq!(waiting.join().unwrap(), Some(Err(Error::Closed)));
    }
}
