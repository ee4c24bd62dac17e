//! What the connector keeps for a connection. While the connection is idle or parked nothing of it
//! is on the heap but what the held connect itself needs.

use std::net::{IpAddr, Ipv4Addr};

use super::answers::Answers;
use super::reading::Reading;
use crate::broker::Flight;
use crate::http::Body;
use crate::tcp::reactor::{CloseReason, Io};

/// One connection.
pub(super) struct Connection {
    pub(super) peer_ip: IpAddr,
    pub(super) reading: Reading,
    /// Answers to requests that were executed, in order.
    pub(super) answers: Answers,
    /// What is being written and not all taken by the kernel.
    pub(super) unsent: Option<Box<Unsent>>,
    /// What the connection waits for, and so which time limit runs.
    pub(super) waits_for: WaitsFor,
    /// Bytes that are booked in the total of unfinished input.
    pub(super) booked: usize,
    /// To be closed when everything owed is written.
    pub(super) closes: bool,
    /// The request that is being received will be the last.
    pub(super) draining: bool,
    /// Input is paused until everything owed is written.
    pub(super) blocked: bool,
    /// The rest of the input will be offered again by itself.
    pub(super) offered_again: bool,
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
            waits_for: WaitsFor::FirstByte,
            booked: 0,
            closes: false,
            draining: false,
            blocked: false,
            offered_again: false,
        }
    }

    /// Takes no further request; when what is owed is written the connection closes.
    pub(super) fn stop_reading(&mut self) {
        self.reading = Reading::Stopped;
        self.closes = true;
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

    /// Whether what the kernel has not taken is wanted elsewhere.
    pub(super) fn is_cut(&self) -> bool {
        self.unsent
            .as_ref()
            .is_some_and(|unsent| unsent.flights.iter().any(Flight::is_cut))
    }

    /// The connection has ended: messages that the kernel took before count as delivered, the
    /// others go back to their sessions.
    pub(super) fn end(self, reason: CloseReason) {
        let flushed = matches!(reason, CloseReason::Closed | CloseReason::PeerClosed);
        if let Some(unsent) = self.unsent.filter(|_| flushed) {
            unsent.flights.into_iter().for_each(Flight::delivered);
        }
    }
}
