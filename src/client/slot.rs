//! Where the outcome of one message is put, and where its sender waits for it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::Error;
use super::message::Message;

/// What became of a message: the server's reply, or why there is none.
pub(crate) type Outcome = Result<Message, Error>;

/// Written once by the client's threads, read by whoever waits.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    outcome: Mutex<Option<Outcome>>,
    settled: Condvar,
}

impl Slot {
    /// Puts the outcome in; a second one is ignored.
    pub(crate) fn settle(&self, outcome: Outcome) {
        let mut slot = self.outcome.lock();
        if slot.is_none() {
            *slot = Some(outcome);
            self.settled.notify_all();
        }
    }

    /// The outcome, if it is there.
    pub(crate) fn get(&self) -> Option<Outcome> {
        self.outcome.lock().clone()
    }

    /// Waits for the outcome.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<Outcome> {
        let mut slot = self.outcome.lock();
        self.settled
            .wait_while_for(&mut slot, |slot| slot.is_none(), timeout);
        slot.clone()
    }

    /// Whether somebody could still look at it, besides the holder of `slot`.
    pub(crate) fn is_watched(slot: &Arc<Self>) -> bool {
        Arc::strong_count(slot) > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_outcome_stays() {
        let slot = Arc::new(Slot::default());
        assert!(!Slot::is_watched(&slot));
        let other = Arc::clone(&slot);
        assert!(Slot::is_watched(&slot));
        assert_eq!(slot.get(), None);
        assert_eq!(slot.wait(Duration::from_millis(1)), None);
        other.settle(Err(Error::SessionLost));
        other.settle(Err(Error::Closed));
        assert_eq!(
            slot.wait(Duration::from_secs(60)),
            Some(Err(Error::SessionLost))
        );
    }

    #[test]
    fn a_waiting_thread_wakes() {
        let slot = Arc::new(Slot::default());
        let other = Arc::clone(&slot);
        let waiting = std::thread::spawn(move || other.wait(Duration::from_secs(60)));
        slot.settle(Err(Error::Closed));
        assert_eq!(waiting.join().unwrap(), Some(Err(Error::Closed)));
    }
}
