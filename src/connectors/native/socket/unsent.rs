//! A write that the kernel has taken in part: which of its messages have left.
//!
//! A message whose last byte was taken has left, though others of the same write have not: it must
//! not come again when the connection breaks.

use super::few::Few;
use crate::broker::{Attachment, Flight};

/// Where a message ends in a write, and whose it is.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) at: usize,
    pub(super) owner: Owner,
}

/// What has to be told that a message has left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The tie to the session of that number.
    Session(u64),
    /// The messages of one of the answers in the write.
    Answer(usize),
}

/// See the module.
pub(super) struct Unsent {
    length: usize,
    /// Of messages that have not left.
    ends: Vec<End>,
    /// The messages of answers.
    flights: Vec<Flight>,
}

impl Unsent {
    /// Of a write of that length, which takes the answers' messages over.
    pub(super) fn new(length: usize, ends: &[End], flights: &mut Vec<Flight>) -> Self {
        Self {
            length,
            ends: ends.to_vec(),
            flights: std::mem::take(flights),
        }
    }

    /// The kernel has taken all but so many bytes.
    pub(super) fn left(&mut self, bytes: usize, sessions: &Few<Attachment>) {
        let taken = self.length.saturating_sub(bytes);
        let count = self.ends.iter().take_while(|end| end.at <= taken).count();
        let gone: Vec<End> = self.ends.drain(..count).collect();
        for run in gone.chunk_by(|one, next| one.owner == next.owner) {
            match run[0].owner {
                Owner::Session(number) => sessions
                    .iter()
                    .filter(|session| session.session_number() == number)
                    .for_each(|session| session.delivered_first(run.len())),
                Owner::Answer(at) => self.flights[at].delivered_first(run.len()),
            }
        }
    }

    pub(super) fn stalled(&self) {
        self.flights.iter().for_each(Flight::stalled);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.flights.iter().any(Flight::is_cut)
    }

    /// The kernel has taken everything.
    pub(super) fn delivered(self) {
        self.flights.into_iter().for_each(Flight::delivered);
    }
}
