//! A connection that speaks HTTP: what is kept for it, what happens to it when, and what it waits
//! for.
//!
//! Every callback does its part, sends what has become due in one write, and ends in
//! [`settle`](HttpConnection::settle). What is done with input is in `requests`, the order of
//! responses in `responses`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::Refusal;
use super::requests::Reading;
use super::responses::Responses;
use crate::broker::Attachment;
use crate::connectors::native::config::NativeConfig;
use crate::connectors::native::outbound::Outbound;
use crate::connectors::native::thread::{InputBooking, Thread};
use crate::tcp::reactor::Io;
use crate::transport::Peer;

/// One connection. While it is idle or parked nothing of it is on the heap but what the held
/// connect itself needs.
pub(crate) struct HttpConnection {
    pub(super) peer_ip: IpAddr,
    /// Whom the last request came from: the same, or who is behind a proxy.
    pub(crate) served_ip: IpAddr,
    pub(super) reading: Reading,
    /// Responses to requests that were executed, in order.
    pub(super) responses: Responses,
    pub(crate) outbound: Outbound,
    /// What the connection waits for, and so which time limit runs.
    waits_for: WaitsFor,
    /// What it has booked of unfinished input.
    pub(super) booked: InputBooking,
    /// To be closed when all responses are written.
    pub(super) closes: bool,
    /// The request that is being received will be the last.
    pub(super) draining: bool,
    /// Why the input is paused, if it is.
    pub(super) blocked: Option<Blocked>,
    /// The rest of the input will be offered again by itself.
    pub(super) offered_again: bool,
    /// What it is from here on, when that is no longer HTTP.
    pub(crate) becomes: Option<Box<Becomes>>,
}

/// What a connection of HTTP can be turned into.
pub(crate) enum Becomes {
    /// A WebSocket of this peer.
    Socket(Peer),
    /// A stream of events.
    Events(Attachment),
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitsFor {
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

impl WaitsFor {
    fn limit(self, config: &NativeConfig) -> Option<Duration> {
        match self {
            Self::FirstByte | Self::Head => Some(config.header_timeout),
            Self::NextRequest => Some(config.idle_timeout),
            Self::Body => Some(config.body_timeout),
            Self::Answer | Self::Output => None,
        }
    }
}

/// What has to happen before more input is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    /// Fewer responses must be pending.
    Room,
    /// No response must be pending: the next request waits for an interim response, or takes the
    /// connection over.
    Turn,
}

/// Callbacks of the reactor.
impl HttpConnection {
    pub(crate) fn open(thread: &Thread, io: &mut Io<'_>) -> Self {
        io.set_timer(Some(io.now() + thread.shared.config.header_timeout));
        // A Unix socket is as near as the loopback interface.
        let peer_ip = io.peer_addr().ip();
        let peer_ip = peer_ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Self {
            peer_ip,
            served_ip: peer_ip,
            reading: Reading::START,
            responses: Responses::default(),
            outbound: Outbound::default(),
            waits_for: WaitsFor::FirstByte,
            booked: None,
            closes: false,
            draining: false,
            blocked: None,
            offered_again: false,
            becomes: None,
        }
    }

    pub(crate) fn input(&mut self, thread: &mut Thread, io: &mut Io<'_>, input: &[u8]) -> usize {
        self.offered_again = false;
        let (taken, executed) = self.read(thread, io, input);
        let rest = input.len() - taken;
        if !self.book(thread, rest) {
            self.refuse(thread, io, Refusal::Overloaded);
            self.book(thread, rest);
        }
        self.send(thread, io);
        self.continue_file(thread, io);
        self.forget_polls_of_a_gone_peer(io);
        self.settle(thread, io, rest, executed > 0);
        taken
    }

    pub(crate) fn end_of_input(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        self.forget_polls_of_a_gone_peer(io);
        self.settle(thread, io, io.unconsumed(), false);
    }

    pub(crate) fn woken(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        self.responses.collect();
        self.advance(thread, io);
    }

    pub(crate) fn timer(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        match self.waits_for {
            WaitsFor::NextRequest if io.awaits_receipt().is_some() => {
                // It cannot ask for more before it has read this.
                return io.set_timer(Some(io.now() + thread.shared.config.idle_timeout));
            }
            WaitsFor::FirstByte | WaitsFor::NextRequest => self.stop_reading(),
            WaitsFor::Head => self.refuse(thread, io, Refusal::HeadTimeout),
            WaitsFor::Body => self.refuse(thread, io, Refusal::BodyTimeout),
            WaitsFor::Answer | WaitsFor::Output => {}
        }
        self.advance(thread, io);
    }

    pub(crate) fn drained(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        self.outbound.drained(io, std::iter::empty());
        self.advance(thread, io);
    }

    /// The peer has received more of what was written.
    pub(crate) fn received(&mut self, thread: &Thread, io: &mut Io<'_>) {
        if self.waits_for == WaitsFor::NextRequest && io.awaits_receipt().is_none() {
            io.set_timer(Some(io.now() + thread.shared.config.idle_timeout));
        }
    }

    pub(crate) fn stopping(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        // A request that has begun is still served.
        if matches!(self.waits_for, WaitsFor::Head | WaitsFor::Body) {
            self.draining = true;
        } else {
            self.stop_reading();
        }
        self.settle(thread, io, io.unconsumed(), false);
    }

    pub(crate) fn closed(mut self, _: &Thread) {
        self.responses.clear();
    }
}

impl HttpConnection {
    /// Sends everything that has become due.
    fn advance(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        loop {
            self.send(thread, io);
            self.continue_file(thread, io);
            let mut added = false;
            while !self.outbound.is_busy() && !thread.ready.is_pressing() {
                let carries = thread.has_room(self.served_ip);
                let Some(response) = self.responses.next(&thread.shared.site, carries) else {
                    break;
                };
                self.write(thread, io, response);
                added = true;
            }
            if !added {
                break;
            }
        }
        self.forget_polls_of_a_gone_peer(io);
        self.settle(thread, io, io.unconsumed(), false);
    }

    /// Who half-closes while a connect is held cannot be told from who has gone: the messages are
    /// safer in the queue.
    fn forget_polls_of_a_gone_peer(&mut self, io: &Io<'_>) {
        if io.has_ended() && self.responses.has_parked() {
            self.responses.clear();
            self.stop_reading();
        }
    }

    /// Books what the connection holds of unfinished requests. `false` if that is too much.
    fn book(&mut self, thread: &Thread, rest: usize) -> bool {
        let (ip, bytes) = match &self.reading {
            Reading::Body(receiving) => (receiving.caller.ip, receiving.len()),
            Reading::Head { .. } | Reading::Stopped => (self.peer_ip, 0),
        };
        thread.book_input(&mut self.booked, ip, bytes + rest)
    }

    /// Takes no further request; when all responses are written the connection closes.
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
        !self.closes && !self.outbound.is_busy() && self.responses.has_room()
    }

    /// Whether every request that was executed has its response written.
    pub(super) fn has_answered_all(&self) -> bool {
        self.responses.is_empty() && !self.outbound.is_busy()
    }

    /// Whether what the input was paused for has happened; it is not blocked any more then.
    fn unblock(&mut self) -> bool {
        let unblocked = match self.blocked {
            None => false,
            Some(Blocked::Room) => self.has_room(),
            Some(Blocked::Turn) => self.has_answered_all(),
        };
        if unblocked {
            self.blocked = None;
        }
        unblocked
    }

    /// Decides what the connection waits for now. `rest` is how much of its input is left over;
    /// `fresh` says that a request was executed, so that the time for the next one begins.
    fn settle(&mut self, thread: &Thread, io: &mut Io<'_>, rest: usize, fresh: bool) {
        if self.has_answered_all() && self.closes {
            return io.close_when_flushed();
        }
        if self.unblock() && rest > 0 {
            self.offered_again = true;
            io.offer_again();
        }
        if self.has_answered_all() && io.has_ended() && !self.offered_again {
            // What is left over will never be a request.
            return io.close_when_flushed();
        }
        if self.blocked.is_some() {
            io.pause_input();
        } else {
            io.resume_input();
        }
        let waits_for = if self.outbound.is_busy() {
            WaitsFor::Output
        } else if !self.responses.is_empty() {
            WaitsFor::Answer
        } else if matches!(self.reading, Reading::Body(_)) {
            WaitsFor::Body
        } else if rest > 0 {
            WaitsFor::Head
        } else if self.waits_for == WaitsFor::FirstByte && !fresh {
            WaitsFor::FirstByte
        } else {
            WaitsFor::NextRequest
        };
        if fresh || waits_for != self.waits_for {
            self.waits_for = waits_for;
            let limit = waits_for.limit(&thread.shared.config);
            io.set_timer(limit.map(|limit| io.now() + limit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_small() {
        assert!(
            size_of::<HttpConnection>() <= 264,
            "{}",
            size_of::<HttpConnection>()
        );
    }
}
