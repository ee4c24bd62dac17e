//! From input to answers: requests are taken from the bytes in order, and executed as long as their
//! answers can be kept in order too.

use std::sync::Arc;

use super::answers::{Content, Due};
use super::connection::{Becomes, Blocked, Connection};
use super::http1::{Body, FieldSlots, Head, Progress, Refusal};
use super::reading::{Reading, Receiving, find_head};
use super::service::Native;
use super::websocket::{self, Unacceptable};
use crate::broker::Executed;
use crate::http::{
    Asked, Caller, Events, Handled, Headers, Refused, Request, RequestHead, Response, Upgrade,
};
use crate::refusals::Reason;
use crate::tcp::reactor::Io;
use crate::transport::ConnectionHandle;

/// Most requests of one connection that are executed in a turn, so that a client with a long
/// pipeline does not keep the others waiting.
const REQUESTS_PER_TURN: usize = 64;

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

impl Native {
    /// Reads and executes requests. Returns how many bytes were taken and how many requests were
    /// executed.
    pub(super) fn read(
        &mut self,
        conn: &mut Connection,
        io: &mut Io<'_>,
        input: &[u8],
    ) -> (usize, usize) {
        let (mut at, mut executed) = (0, 0);
        while at < input.len() {
            if matches!(conn.reading, Reading::Stopped) {
                return (input.len(), executed);
            }
            if conn.becomes.is_some() {
                break;
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
                    let caller = &receiving.caller;
                    receiving.with(|head, body| self.execute(conn, io, caller, head, body));
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
        if !conn.is_even() && self.shared.site.takes_over(&request_head(head)) {
            return Ok(Step::Blocked);
        }
        let caller = self.caller(conn, head);
        if let Some(body) = head.framing.in_place(rest) {
            conn.reading = Reading::START;
            self.execute(conn, io, &caller, head, body);
            return Ok(Step::Executed(head.len + body.len()));
        }
        let site = &self.shared.site;
        let request = request_head(head);
        let refuse = |refusal: Refusal| site.refuse(refusal.refused(), Some(&request), &caller);
        let wanted = site.wants_body(&request, &caller);
        let body = wanted.and_then(|limit| Body::new(head.framing, limit).map_err(refuse));
        let body = match body {
            Ok(body) => body,
            Err(response) => {
                // Nobody waits for the body, and without it the next request cannot be found.
                conn.stop_reading();
                let due = Due {
                    content: Content::Response(response),
                    http10: head.minor_version == 0,
                    asked: site.asked(Some(&request), &caller),
                };
                self.answer(conn, io, due);
                return Ok(Step::Taken(input.len()));
            }
        };
        if head.expects_continue && rest.is_empty() {
            if !conn.answers.is_empty() {
                return Ok(Step::Blocked);
            }
            self.sender.add_continue();
        }
        conn.reading = Reading::Body(Receiving::new(head_bytes, body, caller));
        Ok(Step::Taken(head.len))
    }

    fn caller(&self, conn: &Connection, head: &Head<'_, '_>) -> Caller {
        let secure = self.shared.config.is_secure();
        self.shared
            .site
            .caller(&request_head(head), conn.peer_ip, secure)
    }

    /// A whole request has come.
    fn execute(
        &mut self,
        conn: &mut Connection,
        io: &mut Io<'_>,
        caller: &Caller,
        head: &Head<'_, '_>,
        body: &[u8],
    ) {
        self.requests.one();
        if !head.keep_alive || conn.draining {
            conn.stop_reading();
        }
        let http10 = head.minor_version == 0;
        let connection = ConnectionHandle {
            sink: Arc::clone(&self.sink),
            key: io.key(),
        };
        let request = Request {
            head: request_head(head),
            body,
            caller,
        };
        let asked = self.shared.site.asked(Some(&request.head), caller);
        let content = match self.shared.site.handle(&request, &connection) {
            Handled::Done(response) => Content::Response(response),
            Handled::Bayeux(format, Executed::Now(answer)) => Content::Answer(answer, format),
            Handled::Bayeux(format, Executed::Later(exchange)) => {
                return conn.answers.expect(exchange, format, http10, asked);
            }
            Handled::Work(work) => return conn.answers.expect_work(work, http10, asked),
            Handled::Socket(upgrade) => match self.upgrade(conn, io, &upgrade, &request) {
                Ok(()) => return took_over(asked, 101),
                Err(refusal) => Content::Response(refusal),
            },
            Handled::Events(events) => {
                self.begin_events(conn, io, *events);
                return took_over(asked, 200);
            }
        };
        let due = Due {
            content,
            http10,
            asked,
        };
        self.answer(conn, io, due);
    }

    /// Ends the reading side with a refusal, which follows what is owed already.
    pub(super) fn refuse(&mut self, conn: &mut Connection, io: &mut Io<'_>, refusal: Refusal) {
        let site = &self.shared.site;
        let refuse = |head: Option<&RequestHead<'_>>, caller: &Caller| {
            let asked = site.asked(head, caller);
            (site.refuse(refusal.refused(), head, caller), asked)
        };
        let (response, asked) = match &conn.reading {
            Reading::Body(receiving) => {
                receiving.with(|head, _| refuse(Some(&request_head(head)), &receiving.caller))
            }
            Reading::Head { .. } | Reading::Stopped => {
                let secure = self.shared.config.is_secure();
                refuse(None, &Caller::direct(conn.peer_ip, secure))
            }
        };
        conn.stop_reading();
        let due = Due {
            content: Content::Response(response),
            http10: false,
            asked,
        };
        self.answer(conn, io, due);
    }

    /// Turns the connection into a WebSocket, or says why not.
    fn upgrade(
        &mut self,
        conn: &mut Connection,
        io: &Io<'_>,
        upgrade: &Upgrade,
        request: &Request<'_>,
    ) -> Result<(), Response> {
        let head = &request.head;
        let refuse = |reason, status, line| {
            let refused = Refused {
                reason,
                status,
                line,
            };
            let site = &self.shared.site;
            site.refuse(refused, Some(head), request.caller)
        };
        if conn.closes {
            let line = "the connection is about to be closed";
            return Err(refuse(Reason::Draining, 503, line));
        }
        let wrong = Reason::WebSocketHandshake;
        let accepted = websocket::accept(&head.headers).map_err(|why| match why {
            Unacceptable::Version => refuse(wrong, 426, "the version of WebSocket is 13")
                .header("Sec-WebSocket-Version", "13"),
            Unacceptable::Key => refuse(wrong, 400, "malformed Sec-WebSocket-Key"),
        })?;
        self.sender.add_with(io.now(), |_, out| {
            websocket::write_accepted(out, &accepted, &upgrade.headers);
        });
        conn.turn_into(Becomes::Socket(upgrade.peer));
        Ok(())
    }

    /// Turns the connection into a stream of events.
    fn begin_events(&mut self, conn: &mut Connection, io: &Io<'_>, events: Events) {
        self.sender
            .add_with(io.now(), |date, out| events.write_head(date, out));
        conn.turn_into(Becomes::Events(events.session));
    }

    fn answer(&mut self, conn: &mut Connection, io: &mut Io<'_>, due: Due) {
        if conn.is_even() {
            self.sender.add(conn, io, due);
        } else {
            conn.answers.keep(due);
        }
    }
}

/// The connection is something else from here on; what it writes as such is not counted.
fn took_over(asked: Option<Box<Asked>>, status: u16) {
    if let Some(asked) = asked {
        asked.answered(status, 0);
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
