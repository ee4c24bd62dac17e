//! What leaves a WebSocket in one write: messages, answers, control frames.

use std::sync::Arc;

use super::state::Socket;
use crate::broker::{Answer, Flight};
use crate::connectors::native::websocket;
use crate::protocol::Publication;
use crate::tcp::reactor::Io;

/// From this many bytes on, what is ready is sent before more is added.
const PIECE: usize = 64 << 10;

/// The buffer is given back when a message has made it larger than this.
const KEPT_CAPACITY: usize = 64 << 10;

/// Puts frames together, for one connection of the thread at a time.
pub(super) struct Writer {
    ready: Vec<u8>,
    /// What comes behind that. A single message that leaves alone is sent from where it is.
    pub(super) messages: Vec<Arc<Publication>>,
    /// The answers in `ready`.
    flights: Vec<Flight>,
    /// Some of them carry messages.
    pressing: bool,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            ready: Vec::new(),
            messages: Vec::new(),
            flights: Vec::new(),
            pressing: false,
        }
    }

    /// Whether what is ready should be sent before anything more is done for the connection: it is
    /// much, or holds messages, behind which the later ones of their session have to wait.
    pub(super) fn is_pressing(&self) -> bool {
        self.ready.len() >= PIECE || self.pressing
    }

    /// Adds an answer: each message in a frame of its own, for there are clients that look at the
    /// first of an array only, and the replies together.
    pub(super) fn add_answer(&mut self, answer: &mut Answer) {
        self.add_messages();
        self.pressing |= !answer.messages.is_empty();
        self.flights.extend(answer.flight.take());
        if answer.messages.is_empty() && answer.cuts.is_empty() {
            websocket::write_text(&mut self.ready, answer.array_len());
            answer.write_array(&mut self.ready);
            return;
        }
        if !answer.handshake.is_empty() {
            self.add_array(&answer.handshake);
        }
        for message in answer.messages.drain(..) {
            self.ready.extend_from_slice(message.frame());
        }
        let mut begin = 0;
        for end in answer.cuts.drain(..).chain([answer.replies.len()]) {
            let objects = &answer.replies[begin..end];
            let objects = objects.strip_prefix(b",").unwrap_or(objects);
            if !objects.is_empty() {
                self.add_array(objects);
            }
            begin = end;
        }
    }

    /// Adds a frame that holds an array of these objects.
    pub(super) fn add_array(&mut self, objects: &[u8]) {
        self.add_messages();
        websocket::write_text(&mut self.ready, objects.len() + 2);
        self.ready.push(b'[');
        self.ready.extend_from_slice(objects);
        self.ready.push(b']');
    }

    /// Adds a control frame.
    pub(super) fn add_control(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.add_messages();
        write(&mut self.ready);
    }

    /// Sends what was added. Nothing of the connection may be waiting for the kernel.
    pub(super) fn send(&mut self, socket: &mut Socket, io: &mut Io<'_>) {
        debug_assert_eq!(io.pending_write(), 0, "one write at a time");
        let sent = match (&self.ready[..], &self.messages[..]) {
            ([], []) => return,
            ([], [alone]) => io.write(alone.frame()),
            _ => {
                self.add_messages();
                io.write(&self.ready)
            }
        };
        self.messages.clear();
        self.ready.clear();
        self.ready.shrink_to(KEPT_CAPACITY);
        self.pressing = false;
        if sent.is_err() {
            // The messages go back to their sessions.
            self.flights.clear();
            io.abort();
        } else if io.pending_write() == 0 {
            if !self.flights.is_empty() {
                socket.unread.taken(io, self.flights.drain(..));
            }
            socket.delivered();
        } else {
            socket.unsent.append(&mut self.flights);
            socket.stalled();
        }
    }

    /// Drops what was added and not sent.
    pub(super) fn forget(&mut self) {
        self.ready.clear();
        self.messages.clear();
        self.flights.clear();
        self.pressing = false;
    }

    fn add_messages(&mut self) {
        for message in self.messages.drain(..) {
            self.ready.extend_from_slice(message.frame());
        }
    }
}
