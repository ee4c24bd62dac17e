//! From input to responses: requests are taken from the bytes in order, and executed as long as
//! their responses can be kept in order too.

use super::connection::{Becomes, Blocked};
use super::responses::{Content, Response};
use super::{Body, FieldSlots, Head, HttpConnection, Progress, Refusal, empty_lines, parse_head};
use crate::broker::Executed;
use crate::connectors::native::thread::Thread;
use crate::connectors::native::websocket;
use crate::http::{
    self, CONTINUE, Caller, Events, Handled, Headers, LogEntry, Refused, Request, RequestHead,
    Route, Upgrade,
};
use crate::refusals::Reason;
use crate::tcp::reactor::Io;

/// Most requests of one connection that are executed in a turn, so that a client with a long
/// pipeline does not keep the others waiting.
const REQUESTS_PER_TURN: usize = 64;

/// How far the present request is.
pub(super) enum Reading {
    /// Its head is not complete. So many bytes of it were looked at before.
    Head { seen: usize },
    /// Its body is not complete.
    Body(Box<Receiving>),
    /// There will be no further request.
    Stopped,
}

/// A request of which the body is still coming.
pub(super) struct Receiving {
    /// The head, which has left the input.
    head: Box<[u8]>,
    body: Body,
    pub(super) caller: Caller,
    route: Route,
}

impl Reading {
    pub(super) const START: Self = Self::Head { seen: 0 };
}

impl Receiving {
    /// Bytes that are kept here.
    pub(super) fn len(&self) -> usize {
        self.head.len() + self.body.bytes().len()
    }
}

/// Calls `work` with the head of a request whose body was still to come.
fn with_head<R>(bytes: &[u8], work: impl FnOnce(&Head<'_, '_>) -> R) -> R {
    let mut slots = FieldSlots::new();
    let head = parse_head(bytes, 0, usize::MAX, &mut slots);
    let head = head.ok().flatten();
    work(&head.expect("a head is kept only after it was recognised"))
}

/// What one look at the input brought.
enum Step {
    /// So many bytes were taken, and there may be more to do with the rest.
    Taken(usize),
    /// As `Taken`, and a request was executed.
    Executed(usize),
    /// So many bytes were taken; the rest is no use without more.
    Wanting(usize),
    /// The rest has to wait until all responses have been sent.
    Blocked,
}

impl HttpConnection {
    /// Reads and executes requests. Returns how many bytes were taken and how many requests were
    /// executed.
    pub(super) fn read(
        &mut self,
        thread: &mut Thread,
        io: &mut Io<'_>,
        input: &[u8],
    ) -> (usize, usize) {
        let (mut at, mut executed) = (0, 0);
        while at < input.len() {
            if matches!(self.reading, Reading::Stopped) {
                return (input.len(), executed);
            }
            if self.becomes.is_some() {
                break;
            }
            if thread.ready.is_pressing() {
                self.send(thread, io);
            }
            if !self.has_room() {
                self.blocked = Some(Blocked::Room);
                break;
            }
            if executed == REQUESTS_PER_TURN {
                self.offered_again = true;
                io.offer_again();
                break;
            }
            match self.step(thread, io, &input[at..]) {
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
                    self.blocked = Some(Blocked::Turn);
                    break;
                }
                Err(refusal) => self.refuse(thread, io, refusal),
            }
        }
        (at, executed)
    }

    fn step(
        &mut self,
        thread: &mut Thread,
        io: &mut Io<'_>,
        input: &[u8],
    ) -> Result<Step, Refusal> {
        match &mut self.reading {
            Reading::Stopped => Ok(Step::Taken(input.len())),
            Reading::Body(receiving) => {
                let (taken, progress) = receiving.body.take(input)?;
                if progress == Progress::Open {
                    return Ok(Step::Wanting(taken));
                }
                let received = std::mem::replace(&mut self.reading, Reading::START);
                if let Reading::Body(receiving) = received {
                    let Receiving {
                        head,
                        body,
                        caller,
                        route,
                    } = *receiving;
                    // If it has to wait now, the broker books it.
                    self.booked = None;
                    with_head(&head, |head| {
                        self.execute(thread, io, route, &caller, head, body.bytes());
                    });
                }
                Ok(Step::Executed(taken))
            }
            Reading::Head { seen } => {
                let start = empty_lines(input);
                let seen_of_head = seen.saturating_sub(start);
                let mut slots = FieldSlots::new();
                let limit = thread.shared.config.max_header;
                let head = parse_head(&input[start..], seen_of_head, limit, &mut slots)?;
                let Some(head) = head else {
                    *seen = input.len() - start;
                    return Ok(Step::Wanting(start));
                };
                Ok(match self.begin(thread, io, &head, &input[start..])? {
                    Step::Taken(taken) => Step::Taken(start + taken),
                    Step::Executed(taken) => Step::Executed(start + taken),
                    other @ (Step::Wanting(_) | Step::Blocked) => other,
                })
            }
        }
    }

    /// A head has come; `input` begins with it.
    fn begin(
        &mut self,
        thread: &mut Thread,
        io: &mut Io<'_>,
        head: &Head<'_, '_>,
        input: &[u8],
    ) -> Result<Step, Refusal> {
        let (head_bytes, rest) = input.split_at(head.len);
        let site = &thread.shared.site;
        let request = request_head(head);
        let secure = thread.shared.config.is_secure();
        let caller = site.caller(&request, self.peer_ip, secure);
        let route = site.route(&request, &caller);
        if !self.has_answered_all() && route.takes_over() {
            return Ok(Step::Blocked);
        }
        if let Some(body) = head.framing.in_place(rest) {
            self.reading = Reading::START;
            self.execute(thread, io, route, &caller, head, body);
            return Ok(Step::Executed(head.len + body.len()));
        }
        let refuse = |refusal: Refusal| site.refuse(refusal.refused(), Some(&request), &caller);
        let wanted = site.wants_body(&route, &request, &caller);
        let body = match wanted.and_then(|limit| Body::new(head.framing, limit).map_err(refuse)) {
            Ok(body) => body,
            Err(response) => {
                // Nobody waits for the body, and without it the next request cannot be found.
                self.stop_reading();
                let response = Response {
                    content: Content::Finished(response.into()),
                    http10: head.minor_version == 0,
                    entry: site.log_entry(Some(&request), &caller),
                };
                self.respond(thread, io, response);
                return Ok(Step::Taken(input.len()));
            }
        };
        if head.expects_continue && rest.is_empty() {
            if !self.responses.is_empty() {
                return Ok(Step::Blocked);
            }
            thread.ready.bytes.extend_from_slice(CONTINUE);
        }
        self.reading = Reading::Body(Box::new(Receiving {
            head: head_bytes.into(),
            body,
            caller,
            route,
        }));
        Ok(Step::Taken(head.len))
    }

    /// A whole request has come.
    fn execute(
        &mut self,
        thread: &mut Thread,
        io: &mut Io<'_>,
        route: Route,
        caller: &Caller,
        head: &Head<'_, '_>,
        body: &[u8],
    ) {
        thread.requests.one();
        if !head.keep_alive || self.draining {
            self.stop_reading();
        }
        let http10 = head.minor_version == 0;
        let request = Request {
            head: request_head(head),
            body,
            caller,
        };
        self.served_ip = caller.ip;
        let site = &thread.shared.site;
        let entry = site.log_entry(Some(&request.head), caller);
        if !thread.has_room(caller.ip) {
            let refused = Refused {
                reason: Reason::MaxOutputTotal,
                status: 503,
                line: "too much output waits to be read",
            };
            let response = site.refuse(refused, Some(&request.head), caller);
            let content = Content::Finished(response.into());
            let response = Response {
                content,
                http10,
                entry,
            };
            return self.respond(thread, io, response);
        }
        let content = match site.handle(route, &request, &thread.handle(io)) {
            Handled::Done(response) => Content::Finished(response.into()),
            Handled::Bayeux(format, Executed::Now(answer)) => Content::Answer(answer, format),
            Handled::Bayeux(format, Executed::Later(exchange)) => {
                return self.responses.expect(exchange, format, http10, entry);
            }
            Handled::Pending(later) => return self.responses.expect_made(later, http10, entry),
            Handled::File(lookup) => match lookup.later(site, &thread.handle(io)) {
                Ok(later) => return self.responses.expect_made(later, http10, entry),
                Err(busy) => Content::Finished(busy.into()),
            },
            Handled::Socket(upgrade) => match self.upgrade(thread, &upgrade, &request) {
                Ok(()) => return took_over(entry, 101),
                Err(refusal) => Content::Finished(refusal.into()),
            },
            Handled::Events(events) => {
                self.begin_events(thread, io, *events);
                return took_over(entry, 200);
            }
        };
        let response = Response {
            content,
            http10,
            entry,
        };
        self.respond(thread, io, response);
    }

    /// Ends the reading side with a refusal, which follows the responses that are pending.
    pub(super) fn refuse(&mut self, thread: &mut Thread, io: &mut Io<'_>, refusal: Refusal) {
        let site = &thread.shared.site;
        let refuse = |head: Option<&RequestHead<'_>>, caller: &Caller| {
            let entry = site.log_entry(head, caller);
            (site.refuse(refusal.refused(), head, caller), entry)
        };
        let (response, entry) = match &self.reading {
            Reading::Body(receiving) => {
                let refuse =
                    |head: &Head<'_, '_>| refuse(Some(&request_head(head)), &receiving.caller);
                with_head(&receiving.head, refuse)
            }
            Reading::Head { .. } | Reading::Stopped => {
                let secure = thread.shared.config.is_secure();
                refuse(None, &Caller::direct(self.peer_ip, secure))
            }
        };
        self.stop_reading();
        let response = Response {
            content: Content::Finished(response.into()),
            http10: false,
            entry,
        };
        self.respond(thread, io, response);
    }

    /// Turns the connection into a WebSocket, or says why not.
    fn upgrade(
        &mut self,
        thread: &mut Thread,
        upgrade: &Upgrade,
        request: &Request<'_>,
    ) -> Result<(), http::Response> {
        let refuse = |reason, status, line| {
            let refused = Refused {
                reason,
                status,
                line,
            };
            let site = &thread.shared.site;
            site.refuse(refused, Some(&request.head), request.caller)
        };
        if self.closes {
            let line = "the connection is about to be closed";
            return Err(refuse(Reason::Draining, 503, line));
        }
        let wrong = Reason::WebSocketHandshake;
        let accepted = websocket::accept(&request.head.headers).map_err(|why| match why {
            websocket::Unacceptable::Version => {
                refuse(wrong, 426, "the version of WebSocket is 13")
                    .header("Sec-WebSocket-Version", "13")
            }
            websocket::Unacceptable::Key => refuse(wrong, 400, "malformed Sec-WebSocket-Key"),
        })?;
        websocket::write_accepted(&mut thread.ready.bytes, &accepted, &upgrade.headers);
        self.turn_into(Becomes::Socket(upgrade.peer));
        Ok(())
    }

    /// Turns the connection into a stream of events.
    fn begin_events(&mut self, thread: &mut Thread, io: &Io<'_>, events: Events) {
        events.write_head(thread.date.at(io.now()), &mut thread.ready.bytes);
        self.turn_into(Becomes::Events(events.session));
    }
}

/// The connection is something else from here on; what it writes as such is not counted.
fn took_over(entry: Option<Box<LogEntry>>, status: u16) {
    if let Some(entry) = entry {
        entry.answered(status, 0);
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
