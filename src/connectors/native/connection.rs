//! What the connector keeps for a connection. While the connection is idle or parked nothing of it
//! is on the heap but what the held connect itself needs.

use std::net::{IpAddr, Ipv4Addr};

use super::answers::Answers;
use super::reading::Reading;
use super::unread::UnreadOutput;
use crate::broker::{Attachment, Flight};
use crate::http::Body;
use crate::tcp::reactor::Io;
use crate::transport::Peer;

/// One connection.
pub(super) struct Connection {
    pub(super) peer_ip: IpAddr,
    pub(super) reading: Reading,
    /// Answers to requests that were executed, in order.
    pub(super) answers: Answers,
    /// What is being written and not all taken by the kernel.
    pub(super) unsent: Option<Box<Unsent>>,
    /// What the kernel has taken and the peer not.
    pub(super) unread: UnreadOutput,
    /// What the connection waits for, and so which time limit runs.
    pub(super) waits_for: WaitsFor,
    /// Bytes that are booked in the total of unfinished input.
    pub(super) booked: usize,
    /// To be closed when everything owed is written.
    pub(super) closes: bool,
    /// The request that is being received will be the last.
    pub(super) draining: bool,
    /// Why the input is paused, if it is.
    pub(super) blocked: Option<Blocked>,
    /// The rest of the input will be offered again by itself.
    pub(super) offered_again: bool,
    /// What it is from here on, when that is no longer HTTP.
    pub(super) becomes: Option<Box<Becomes>>,
}

/// What a connection of HTTP can be turned into.
pub(super) enum Becomes {
    /// A WebSocket of this peer.
    Socket(Peer),
    /// A stream of events.
    Events(Attachment),
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// The first byte of the first request.
    FirstByte,
    /// The first byte of another request.
    NextRequest,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
    /// The broker. Its ticker sets the times.
    Answer,
    /// The peer, to take what is written. The reactor watches that.
    Output,
}

/// What has to happen before more input is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    /// Less must be owed.
    Room,
    /// Nothing must be owed: the next request waits for an interim response.
    Turn,
}

/// A response on its way.
#[derive(Default)]
pub(super) struct Unsent {
    /// The messages in what the kernel has not taken.
    pub(super) flights: Vec<Flight>,
    /// The file whose rest is still to be read and written.
    pub(super) file: Option<Body>,
}

impl Connection {
    pub(super) fn new(io: &Io<'_>) -> Self {
        Self {
            // A Unix socket is as near as the loopback interface.
            peer_ip: io
                .peer_addr()
                .ip()
                .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            reading: Reading::START,
            answers: Answers::default(),
            unsent: None,
            unread: UnreadOutput::default(),
            waits_for: WaitsFor::FirstByte,
            booked: 0,
            closes: false,
            draining: false,
            blocked: None,
            offered_again: false,
            becomes: None,
        }
    }

    /// Takes no further request; when what is owed is written the connection closes.
    pub(super) fn stop_reading(&mut self) {
        self.reading = Reading::Stopped;
        self.closes = true;
        // What still comes is read past, so that the end of the stream is seen.
        self.blocked = None;
    }

    /// Takes no further request, and does not close either: it is something else from here on.
    pub(super) fn turn_into(&mut self, what: Becomes) {
        self.reading = Reading::START;
        self.closes = false;
        self.becomes = Some(Box::new(what));
    }

    /// Whether one more request may be read and executed.
    pub(super) fn has_room(&self) -> bool {
        !self.closes && self.unsent.is_none() && self.answers.has_room()
    }

    /// Whether a response written now may leave the connection open.
    pub(super) fn stays_open(&self) -> bool {
        !(self.closes && self.answers.is_empty())
    }

    /// Whether nothing is owed any more.
    pub(super) fn is_even(&self) -> bool {
        self.answers.is_empty() && self.unsent.is_none()
    }

    /// Whether the rest of a file is to be sent.
    pub(super) fn has_file(&self) -> bool {
        self.unsent
            .as_ref()
            .is_some_and(|unsent| unsent.file.is_some())
    }

    /// Bytes of a file that are still to be sent.
    pub(super) fn file_rest(&self) -> u64 {
        let file = self.unsent.as_ref().and_then(|unsent| unsent.file.as_ref());
        file.map_or(0, Body::len)
    }

    /// Whether what the kernel has not taken is wanted elsewhere.
    pub(super) fn is_cut(&self) -> bool {
        self.unsent
            .as_ref()
            .is_some_and(|unsent| unsent.flights.iter().any(Flight::is_cut))
    }

    /// Whether what the input was paused for has happened; it is not blocked any more then.
    pub(super) fn unblock(&mut self) -> bool {
        let unblocked = match self.blocked {
            None => false,
            Some(Blocked::Room) => self.has_room(),
            Some(Blocked::Turn) => self.is_even(),
        };
        if unblocked {
            self.blocked = None;
        }
        unblocked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_small() {
        assert!(
            size_of::<Connection>() <= 272,
            "{}",
            size_of::<Connection>()
        );
    }
}
