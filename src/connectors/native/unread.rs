//! What the kernel has taken and the peer has yet to receive.

use std::collections::VecDeque;

use crate::broker::{Flight, Unread};
use crate::tcp::reactor::Io;

/// The sessions that a connection's peer has yet to receive something for, each with the place in
/// the output up to which that goes. Without memory of its own while there are none, as nearly
/// always.
#[derive(Default)]
pub(super) struct UnreadOutput(Option<Box<Places>>);

#[derive(Default)]
struct Places(VecDeque<(u64, Unread)>);

impl UnreadOutput {
    /// The kernel has taken the last byte of these answers.
    pub(super) fn taken(&mut self, io: &mut Io<'_>, flights: impl Iterator<Item = Flight>) {
        if io.watch_receipt() {
            flights.for_each(|flight| self.keep(io, flight.unread()));
        } else {
            flights.for_each(Flight::delivered);
        }
    }

    /// As [`taken`](Self::taken), for what was pushed and stalled.
    pub(super) fn pushed(&mut self, io: &mut Io<'_>, unread: impl Iterator<Item = Unread>) {
        if io.watch_receipt() {
            unread.for_each(|unread| self.keep(io, unread));
        } else {
            unread.for_each(drop);
        }
    }

    /// The peer has received more, or is not waited for any longer.
    pub(super) fn received(&mut self, io: &Io<'_>) {
        let Some(places) = &mut self.0 else { return };
        let over = io.awaits_receipt().is_none();
        while let Some((place, _)) = places.0.front() {
            if !over && *place > io.bytes_received() {
                return;
            }
            places.0.pop_front();
        }
        self.0 = None;
    }

    fn keep(&mut self, io: &Io<'_>, unread: Unread) {
        let Places(places) = &mut **self.0.get_or_insert_default();
        let place = io.bytes_out();
        match places.back_mut() {
            Some((last, before)) if before.same(&unread) => *last = place,
            _ => places.push_back((place, unread)),
        }
    }
}
