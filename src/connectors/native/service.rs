//! HTTP on one I/O thread: what to do when something happens to a connection.
//!
//! Every callback does its part, sends what has become due in one write, and ends in `settle`,
//! which decides what the connection waits for next. What is done with input is in `requests`.

use std::sync::Arc;
use std::time::Duration;

use super::connection::{Connection, WaitsFor};
use super::http1::Refusal;
use super::reading::Reading;
use super::sending::Sender;
use super::shared::{Shared, ThreadCounter};
use crate::tcp::reactor::{CloseReason, Io, Refuse, Service};
use crate::transport::WakeSink;

/// The connections of one I/O thread that speak HTTP.
pub(super) struct Native {
    pub(super) shared: Arc<Shared>,
    pub(super) sink: Arc<dyn WakeSink>,
    pub(super) requests: Arc<ThreadCounter>,
    pub(super) sender: Sender,
}

impl Service for Native {
    type Conn = Connection;

    fn open(&mut self, io: &mut Io<'_>) -> Result<Connection, Refuse> {
        io.set_timer(Some(io.now() + self.shared.config.header_timeout));
        Ok(Connection::new(io))
    }

    fn input(&mut self, conn: &mut Connection, io: &mut Io<'_>, input: &[u8]) -> usize {
        conn.offered_again = false;
        let (taken, executed) = self.read(conn, io, input);
        let rest = input.len() - taken;
        if !self.book(conn, rest) {
            self.refuse(conn, io, Refusal::Overloaded);
            self.book(conn, rest);
        }
        self.sender.send(conn, io);
        self.sender.continue_file(conn, io, &self.sink);
        self.forget_polls_of_a_gone_peer(conn, io);
        self.settle(conn, io, rest, executed > 0);
        taken
    }

    fn end_of_input(&mut self, conn: &mut Connection, io: &mut Io<'_>) {
        self.forget_polls_of_a_gone_peer(conn, io);
        self.settle(conn, io, io.unconsumed(), false);
    }

    fn woken(&mut self, conn: &mut Connection, io: &mut Io<'_>) {
        if conn.is_cut() {
            // The peer has got a part of it; only the end of the connection tells it so.
            io.abort();
            return;
        }
        conn.answers.collect();
        self.advance(conn, io);
    }

    fn timer(&mut self, conn: &mut Connection, io: &mut Io<'_>) {
        match conn.waits_for {
            WaitsFor::NextRequest if io.awaits_receipt().is_some() => {
                // It cannot ask for more before it has read this.
                return io.set_timer(Some(io.now() + self.shared.config.idle_timeout));
            }
            WaitsFor::FirstByte | WaitsFor::NextRequest => conn.stop_reading(),
            WaitsFor::Head => self.refuse(conn, io, Refusal::HeadTimeout),
            WaitsFor::Body => self.refuse(conn, io, Refusal::BodyTimeout),
            WaitsFor::Answer | WaitsFor::Output => {}
        }
        self.advance(conn, io);
    }

    fn drained(&mut self, conn: &mut Connection, io: &mut Io<'_>) {
        self.sender.taken(conn, io);
        self.advance(conn, io);
    }

    fn received(&mut self, conn: &mut Connection, io: &mut Io<'_>) {
        conn.unread.received(io);
        if conn.waits_for == WaitsFor::NextRequest && io.awaits_receipt().is_none() {
            io.set_timer(Some(io.now() + self.shared.config.idle_timeout));
        }
    }

    fn stopping(&mut self, conn: &mut Connection, io: &mut Io<'_>) {
        // A request that has begun is still served.
        if matches!(conn.waits_for, WaitsFor::Head | WaitsFor::Body) {
            conn.draining = true;
        } else {
            conn.stop_reading();
        }
        self.settle(conn, io, io.unconsumed(), false);
    }

    fn closed(&mut self, conn: Connection, _reason: CloseReason) {
        // With it go its exchanges and flights: polls are dropped, messages return to their queues.
        self.shared.input.change(conn.booked, 0);
    }
}

impl Native {
    pub(super) fn new(
        shared: Arc<Shared>,
        sink: Arc<dyn WakeSink>,
        requests: Arc<ThreadCounter>,
    ) -> Self {
        let sender = Sender::new(Arc::clone(&shared));
        Self {
            shared,
            sink,
            requests,
            sender,
        }
    }

    /// Sends everything that has become due.
    fn advance(&mut self, conn: &mut Connection, io: &mut Io<'_>) {
        loop {
            self.sender.send(conn, io);
            self.sender.continue_file(conn, io, &self.sink);
            if conn.unsent.is_some() {
                break;
            }
            let Some(due) = conn.answers.next(&self.shared.site) else {
                break;
            };
            self.sender.add(conn, io, due);
            while !self.sender.is_pressing() && conn.unsent.is_none() {
                let Some(due) = conn.answers.next(&self.shared.site) else {
                    break;
                };
                self.sender.add(conn, io, due);
            }
        }
        self.forget_polls_of_a_gone_peer(conn, io);
        self.settle(conn, io, io.unconsumed(), false);
    }

    /// Who half-closes while a connect is held cannot be told from who has gone: the messages are
    /// safer in the queue.
    fn forget_polls_of_a_gone_peer(&mut self, conn: &mut Connection, io: &mut Io<'_>) {
        if io.has_ended() && conn.answers.has_parked() {
            conn.answers.clear();
            conn.stop_reading();
        }
    }

    /// Books what the connection holds of unfinished requests. `false` if that is too much.
    fn book(&self, conn: &mut Connection, rest: usize) -> bool {
        let holds = conn.reading.len() + rest;
        let before = std::mem::replace(&mut conn.booked, holds);
        self.shared.input.change(before, holds)
    }

    /// Decides what the connection waits for now. `rest` is how much of its input is left over;
    /// `fresh` says that a request was executed, so that the time for the next one begins.
    fn settle(&mut self, conn: &mut Connection, io: &mut Io<'_>, rest: usize, fresh: bool) {
        if conn.is_even() && conn.closes {
            return io.close_when_flushed();
        }
        if conn.unblock() && rest > 0 {
            conn.offered_again = true;
            io.offer_again();
        }
        if conn.is_even() && io.has_ended() && !conn.offered_again {
            // What is left over will never be a request.
            return io.close_when_flushed();
        }
        if conn.blocked.is_some() {
            io.pause_input();
        } else {
            io.resume_input();
        }
        let waits_for = if conn.unsent.is_some() {
            WaitsFor::Output
        } else if !conn.answers.is_empty() {
            WaitsFor::Answer
        } else if matches!(conn.reading, Reading::Body(_)) {
            WaitsFor::Body
        } else if rest > 0 {
            WaitsFor::Head
        } else if conn.waits_for == WaitsFor::FirstByte && !fresh {
            WaitsFor::FirstByte
        } else {
            WaitsFor::NextRequest
        };
        if fresh || waits_for != conn.waits_for {
            conn.waits_for = waits_for;
            io.set_timer(self.limit_of(waits_for).map(|limit| io.now() + limit));
        }
    }

    fn limit_of(&self, waits_for: WaitsFor) -> Option<Duration> {
        let config = &self.shared.config;
        match waits_for {
            WaitsFor::FirstByte | WaitsFor::Head => Some(config.header_timeout),
            WaitsFor::NextRequest => Some(config.idle_timeout),
            WaitsFor::Body => Some(config.body_timeout),
            WaitsFor::Answer | WaitsFor::Output => None,
        }
    }
}
