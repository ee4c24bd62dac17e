//! What leaves a connection, whatever it speaks: responses, frames, events.
//!
//! It is put together in buffers of the thread ([`Ready`]) and leaves in one write. What the kernel
//! does not take waits in the connection's own buffer, for as long as `write_timeout` allows, and
//! nothing more is written to that connection until it has gone.
//!
//! Its messages stay in their sessions' queues meanwhile. They are committed when the kernel has
//! the last byte ([`send`](Outbound::send), [`drained`](Outbound::drained)). When the connection
//! breaks before, those of answers are aborted here ([`abort`](Outbound::abort)), those that were
//! pushed by the session's `Attachment` when it is given up.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use crate::broker::{InFlight, Unread};
use crate::http::{Body, Piece};
use crate::protocol::Publication;
use crate::tcp::reactor::Io;
use crate::transport::ConnectionHandle;
use crate::util::{Booking, Completion, Owner, Shares};

/// From this many bytes on, what is ready is sent before more is added. The buffer is given back
/// when it has grown larger.
pub(super) const PIECE: usize = 64 << 10;

/// What is ready for the connection at hand.
pub(super) struct Ready {
    pub(super) bytes: Vec<u8>,
    /// Messages that go behind `bytes`. A single one with nothing before it is sent from where
    /// it is.
    pub(super) messages: Vec<Arc<Publication>>,
    /// The answers in `bytes`.
    in_flight: Vec<InFlight>,
    /// Some of them carry messages.
    carries_messages: bool,
    /// What waits for all connections.
    output: Arc<Shares<Owner>>,
}

impl Ready {
    pub(super) fn new(output: Arc<Shares<Owner>>) -> Self {
        Self {
            output,
            bytes: Vec::with_capacity(PIECE),
            messages: Vec::new(),
            in_flight: Vec::new(),
            carries_messages: false,
        }
    }

    /// Whether this should be sent before anything more is done for the connection: it is much, or
    /// holds messages, behind which the later ones of their session have to wait.
    pub(super) fn is_pressing(&self) -> bool {
        self.bytes.len() >= PIECE || self.carries_messages
    }

    /// The answer whose bytes are added.
    pub(super) fn add_in_flight(&mut self, in_flight: Option<InFlight>) {
        let carries = in_flight.as_ref().is_some_and(InFlight::carries_messages);
        self.carries_messages |= carries;
        self.in_flight.extend(in_flight);
    }

    /// The bytes, with the frames of all messages before.
    pub(super) fn behind_messages(&mut self) -> &mut Vec<u8> {
        for message in self.messages.drain(..) {
            self.bytes.extend_from_slice(message.frame());
        }
        &mut self.bytes
    }

    /// Nobody will send this: its connection is closed.
    pub(super) fn abort(&mut self) {
        self.in_flight.drain(..).for_each(|mut it| it.abort());
        self.clear();
    }

    fn clear(&mut self) {
        self.messages.clear();
        self.bytes.clear();
        self.bytes.shrink_to(PIECE);
        self.carries_messages = false;
    }
}

/// What is still to be sent of a file.
pub(super) enum Rest {
    /// It is to be read.
    Unread(Body),
    /// A worker reads the next piece.
    Reading(Completion<Piece, ConnectionHandle>),
}

/// What a connection has written and its peer has not received. Nothing is on the heap while the
/// peer keeps up.
#[derive(Default)]
pub(super) struct Outbound(Option<Box<Backlog>>);

#[derive(Default)]
struct Backlog {
    /// The kernel has not taken everything.
    unsent: bool,
    /// The answers in what it has not taken.
    in_flight: Vec<InFlight>,
    /// Sessions whose clients have yet to receive what the kernel has taken, each with the place in
    /// the output up to which that goes.
    unread: VecDeque<(u64, Unread)>,
    /// The file whose rest is still to be read and written.
    file: Option<Rest>,
    /// What waits, among the output of all.
    booking: Option<Booking<Owner>>,
}

impl Outbound {
    /// Sends what is ready, on behalf of that address. `pushed` are the sessions' own messages in
    /// it, in flight beside the answers.
    pub(super) fn send<'a>(
        &mut self,
        io: &mut Io<'_>,
        ready: &mut Ready,
        ip: IpAddr,
        pushed: impl Iterator<Item = &'a mut InFlight>,
    ) {
        let sent = match (&ready.bytes[..], &ready.messages[..]) {
            ([], []) => return,
            ([], [single]) => io.write(single.frame()),
            _ => io.write(ready.behind_messages()),
        };
        if sent.is_err() {
            // What was pushed is aborted when the connection is closed.
            ready.abort();
            return io.abort();
        }
        ready.clear();
        if io.pending_write() > 0 {
            ready.in_flight.iter_mut().for_each(InFlight::stalled);
            pushed.for_each(InFlight::stalled);
            let backlog = self.backlog();
            backlog.unsent = true;
            let mut booking = Booking::new(&ready.output, ip);
            booking.set_anyway(io.pending_write());
            backlog.booking = Some(booking);
            backlog.in_flight.append(&mut ready.in_flight);
            return;
        }
        let mut pushed = pushed.peekable();
        // Where nothing but pushed messages leaves, a peer that is behind is found by its pings.
        let only_pushed = ready.in_flight.is_empty() && pushed.peek().is_some();
        let unread = if only_pushed {
            None
        } else {
            place_of_unread(io)
        };
        self.commit(unread, ready.in_flight.iter_mut());
        ready.in_flight.clear();
        pushed.for_each(InFlight::commit);
    }

    /// The kernel has taken everything, after it had stalled.
    pub(super) fn drained<'a>(
        &mut self,
        io: &mut Io<'_>,
        pushed: impl Iterator<Item = &'a mut InFlight>,
    ) {
        let Some(backlog) = &mut self.0 else { return };
        backlog.unsent = false;
        backlog.booking = None;
        let mut answers = std::mem::take(&mut backlog.in_flight);
        let unread = place_of_unread(io);
        self.commit(unread, answers.iter_mut());
        self.commit(unread, pushed);
        self.shrink();
    }

    /// The peer has received more, or is not waited for any longer.
    pub(super) fn received(&mut self, io: &Io<'_>) {
        let Some(backlog) = &mut self.0 else { return };
        let over = io.awaits_receipt().is_none();
        let received = io.bytes_received();
        while let Some((place, _)) = backlog.unread.front() {
            if !over && *place > received {
                return;
            }
            backlog.unread.pop_front();
        }
        self.shrink();
    }

    /// The connection is closed: the messages that the kernel has not taken wait again, in the
    /// queues of their sessions.
    pub(super) fn abort(&mut self) {
        if let Some(mut backlog) = self.0.take() {
            backlog.in_flight.iter_mut().for_each(InFlight::abort);
        }
    }

    /// Whether messages in an answer that the kernel has not taken are wanted elsewhere.
    pub(super) fn is_cut(&self) -> bool {
        let backlog = self.0.as_ref();
        backlog.is_some_and(|backlog| backlog.in_flight.iter().any(InFlight::is_cut))
    }

    /// Whether something is still being written.
    pub(super) fn is_busy(&self) -> bool {
        let backlog = self.0.as_ref();
        backlog.is_some_and(|backlog| backlog.unsent || backlog.file.is_some())
    }

    pub(super) fn take_file(&mut self) -> Option<Rest> {
        let file = self.0.as_mut()?.file.take();
        self.shrink();
        file
    }

    /// Leaves the rest of a file for later.
    pub(super) fn keep_file(&mut self, file: Rest) {
        self.backlog().file = Some(file);
    }

    /// The kernel has the last byte of these; the peer may still have to receive them, up to that
    /// place.
    fn commit<'a>(
        &mut self,
        unread: Option<u64>,
        in_flight: impl Iterator<Item = &'a mut InFlight>,
    ) {
        let Some(place) = unread else {
            return in_flight.for_each(InFlight::commit);
        };
        for written in in_flight {
            let unread = written.commit_unread();
            let list = &mut self.backlog().unread;
            match list.back_mut() {
                Some((last, before)) if before.same(&unread) => *last = place,
                _ => list.push_back((place, unread)),
            }
        }
    }

    fn backlog(&mut self) -> &mut Backlog {
        self.0.get_or_insert_default()
    }

    fn shrink(&mut self) {
        let is_over = |backlog: &mut Box<Backlog>| {
            let Backlog {
                unsent,
                in_flight,
                unread,
                file,
                booking: _,
            } = &**backlog;
            !unsent && in_flight.is_empty() && unread.is_empty() && file.is_none()
        };
        drop(self.0.take_if(is_over));
    }
}

/// The end of what the kernel has taken, if the peer is behind with it.
fn place_of_unread(io: &mut Io<'_>) -> Option<u64> {
    io.watch_receipt().then(|| io.bytes_out())
}
