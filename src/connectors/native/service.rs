//! The connector on one I/O thread: what to do when something happens to a connection.
//!
//! Every callback does its part, sends what has become due in one write, and ends in `settle`, which
//! decides what the connection waits for next.

use std::sync::Arc;
use std::time::Duration;

use super::answers::{Content, Due};
use super::connection::{Blocked, Connection, WaitsFor};
use super::http1::{Body, FieldSlots, Head, Progress, Refusal};
use super::reading::{Reading, Receiving, find_head};
use super::sending::Sender;
use super::shared::{Shared, ThreadCounter};
use crate::broker::Executed;
use crate::http::{Handled, Headers, Request, RequestHead};
use crate::tcp::reactor::{CloseReason, Io, Refuse, Service};
use crate::transport::{Link, Outlet};

/// Most requests of one connection that are executed in a turn, so that a client with a long
/// pipeline does not keep the others waiting.
const REQUESTS_PER_TURN: usize = 64;

/// The service of one I/O thread.
pub(super) struct Native {
    shared: Arc<Shared>,
    outlet: Arc<dyn Outlet>,
    requests: Arc<ThreadCounter>,
    sender: Sender,
}

/// What one look at the input brought.
enum Step {
    /// So many bytes were taken, and there may be more to do with the rest.
    Taken(usize),
    /// As `Taken`, and a request was executed.
    Executed(usize),
    /// So many bytes were taken; the rest is no use without more.
    Wanting(usize),
    /// The rest has to wait until what is owed has been sent.
    Blocked,
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
        self.sender.continue_file(conn, io, &self.outlet);
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
            WaitsFor::FirstByte | WaitsFor::NextRequest => conn.stop_reading(),
            WaitsFor::Head => self.refuse(conn, io, Refusal::HeadTimeout),
            WaitsFor::Body => self.refuse(conn, io, Refusal::BodyTimeout),
            WaitsFor::Answer | WaitsFor::Output => {}
        }
        self.advance(conn, io);
    }

    fn drained(&mut self, conn: &mut Connection, io: &mut Io<'_>) {
        self.sender.taken(conn);
        self.advance(conn, io);
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
        outlet: Arc<dyn Outlet>,
        requests: Arc<ThreadCounter>,
    ) -> Self {
        let sender = Sender::new(Arc::clone(&shared));
        Self {
            shared,
            outlet,
            requests,
            sender,
        }
    }

    /// Reads and executes requests. Returns how many bytes were taken and how many requests were
    /// executed.
    fn read(&mut self, conn: &mut Connection, io: &mut Io<'_>, input: &[u8]) -> (usize, usize) {
        let (mut at, mut executed) = (0, 0);
        while at < input.len() {
            if matches!(conn.reading, Reading::Stopped) {
                return (input.len(), executed);
            }
            if self.sender.is_pressing() {
                self.sender.send(conn, io);
            }
            if !conn.has_room() {
                conn.blocked = Some(Blocked::Room);
                break;
            }
            if executed == REQUESTS_PER_TURN {
                conn.offered_again = true;
                io.offer_again();
                break;
            }
            match self.step(conn, io, &input[at..]) {
                Ok(Step::Taken(taken)) => at += taken,
                Ok(Step::Executed(taken)) => {
                    at += taken;
                    executed += 1;
                }
                Ok(Step::Wanting(taken)) => {
                    at += taken;
                    break;
                }
                Ok(Step::Blocked) => {
                    conn.blocked = Some(Blocked::Turn);
                    break;
                }
                Err(refusal) => self.refuse(conn, io, refusal),
            }
        }
        (at, executed)
    }

    fn step(
        &mut self,
        conn: &mut Connection,
        io: &mut Io<'_>,
        input: &[u8],
    ) -> Result<Step, Refusal> {
        match &mut conn.reading {
            Reading::Stopped => Ok(Step::Taken(input.len())),
            Reading::Body(receiving) => {
                let (taken, progress) = receiving.take(input)?;
                if progress == Progress::Open {
                    return Ok(Step::Wanting(taken));
                }
                let received = std::mem::replace(&mut conn.reading, Reading::START);
                if let Reading::Body(receiving) = received {
                    receiving.with(|head, body| self.execute(conn, io, head, body));
                }
                Ok(Step::Executed(taken))
            }
            Reading::Head { seen } => {
                let mut slots = FieldSlots::new();
                let limit = self.shared.config.max_header;
                let (start, head) = find_head(input, *seen, limit, &mut slots)?;
                let Some(head) = head else {
                    *seen = input.len() - start;
                    return Ok(Step::Wanting(start));
                };
                let step = self.begin(conn, io, &head, &input[start..])?;
                Ok(match step {
                    Step::Taken(taken) => Step::Taken(start + taken),
                    Step::Executed(taken) => Step::Executed(start + taken),
                    other => other,
                })
            }
        }
    }

    /// A head has come; `input` begins with it.
    fn begin(
        &mut self,
        conn: &mut Connection,
        io: &mut Io<'_>,
        head: &Head<'_, '_>,
        input: &[u8],
    ) -> Result<Step, Refusal> {
        let (head_bytes, rest) = input.split_at(head.len);
        if let Some(body) = head.framing.in_place(rest) {
            conn.reading = Reading::START;
            self.execute(conn, io, head, body);
            return Ok(Step::Executed(head.len + body.len()));
        }
        let limit = match self.shared.site.wants_body(&request_head(head)) {
            Ok(limit) => limit,
            Err(response) => {
                // Nobody waits for the body, and without it the next request cannot be found.
                conn.stop_reading();
                let content = Content::Response(response);
                self.answer(
                    conn,
                    io,
                    Due {
                        content,
                        http10: head.minor_version == 0,
                    },
                );
                return Ok(Step::Taken(input.len()));
            }
        };
        let body = Body::new(head.framing, limit)?;
        if head.expects_continue && rest.is_empty() {
            if !conn.answers.is_empty() {
                return Ok(Step::Blocked);
            }
            self.sender.add_continue();
        }
        conn.reading = Reading::Body(Receiving::new(head_bytes, body));
        Ok(Step::Taken(head.len))
    }

    /// A whole request has come.
    fn execute(
        &mut self,
        conn: &mut Connection,
        io: &mut Io<'_>,
        head: &Head<'_, '_>,
        body: &[u8],
    ) {
        self.requests.one();
        if !head.keep_alive || conn.draining {
            conn.stop_reading();
        }
        let http10 = head.minor_version == 0;
        let link = Link {
            outlet: Arc::clone(&self.outlet),
            key: io.key(),
        };
        let request = Request {
            head: request_head(head),
            body,
            peer_ip: conn.peer_ip,
            secure: false,
        };
        let content = match self.shared.site.handle(&request, &link) {
            Handled::Done(response) => Content::Response(response),
            Handled::Bayeux(format, Executed::Now(answer)) => Content::Answer(answer, format),
            Handled::Bayeux(format, Executed::Later(exchange)) => {
                return conn.answers.expect(exchange, format, http10);
            }
        };
        self.answer(conn, io, Due { content, http10 });
    }

    /// Ends the reading side with a refusal, which follows what is owed already.
    fn refuse(&mut self, conn: &mut Connection, io: &mut Io<'_>, refusal: Refusal) {
        conn.stop_reading();
        let response = self.shared.site.refuse(refusal.status(), refusal.explain());
        self.answer(
            conn,
            io,
            Due {
                content: Content::Response(response),
                http10: false,
            },
        );
    }

    fn answer(&mut self, conn: &mut Connection, io: &mut Io<'_>, due: Due) {
        if conn.is_even() {
            self.sender.add(conn, io, due);
        } else {
            conn.answers.keep(due);
        }
    }

    /// Sends everything that has become due.
    fn advance(&mut self, conn: &mut Connection, io: &mut Io<'_>) {
        loop {
            self.sender.send(conn, io);
            self.sender.continue_file(conn, io, &self.outlet);
            if conn.unsent.is_some() {
                break;
            }
            let Some(due) = conn.answers.next() else {
                break;
            };
            self.sender.add(conn, io, due);
            while !self.sender.is_pressing() && conn.unsent.is_none() {
                let Some(due) = conn.answers.next() else {
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
        if io.has_ended() && conn.answers.has_held() {
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

fn request_head<'a>(head: &Head<'a, 'a>) -> RequestHead<'a> {
    RequestHead {
        method: head.method,
        target: head.target,
        minor_version: head.minor_version,
        headers: Headers::new(head.fields),
    }
}
