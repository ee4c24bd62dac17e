//! What a worker does with a request: read it, have it executed, answer it or park it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tiny_http::{HTTPVersion, Request};

use super::parking::link;
use super::{Intake, Shared};
use crate::broker::Flight;
use crate::http;
use crate::http::{Asked, Caller, DateCache, Finished, Headers, Refused, RequestHead, Response};
use crate::refusals::Reason;

/// A worker's life.
pub(super) fn work(shared: &Shared, intake: &Intake) {
    let mut date = DateCache::new();
    while let Some(request) = intake.next() {
        shared.requests.one();
        let served = AssertUnwindSafe(|| serve(shared, request, &mut date));
        if catch_unwind(served).is_err() {
            log::error!("a request failed inside the server");
        }
    }
}

fn serve(shared: &Shared, mut request: Request, date: &mut DateCache) {
    let (method, target) = (request.method().to_string(), request.url().to_owned());
    let lines = request.headers().to_vec();
    let lines = lines.iter().map(|line| httparse::Header {
        name: line.field.as_str().as_str(),
        value: line.value.as_bytes(),
    });
    let lines: Vec<_> = lines.collect();
    let head = RequestHead {
        method: &method,
        target: &target,
        minor_version: u8::from(*request.http_version() > HTTPVersion(1, 0)),
        headers: Headers::new(&lines),
    };
    let peer = request.remote_addr().map(|peer| peer.ip().to_canonical());
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let caller = &shared.site.caller(&head, peer, false);
    let body = read_body(shared, &head, caller, &mut request);
    let unread = body.is_err() && request.body_length().unwrap_or(0) > DISCARDED;
    let output = Output {
        keep_alive: !unread && head.keeps_alive(),
        http10: head.minor_version == 0,
        head_only: head.is_head(),
        asked: shared.site.asked(Some(&head), caller),
        writer: if unread {
            give_up(request)
        } else {
            request.into_writer()
        },
    };
    let body = &match body {
        Ok(body) => body,
        Err(Some(refusal)) => return output.write(shared, refusal.into(), date),
        Err(None) => return,
    };
    let waker = Arc::default();
    let link = link(&waker);
    let request = http::Request { head, body, caller };
    let handled = shared.site.handle(&request, &link);
    match handled.plain(&shared.site, &request, &link) {
        Ok(finished) => output.write(shared, finished, date),
        Err(work) => shared.parking.park(work, output, waker),
    }
}

/// Reads the whole body, unless it is not wanted or larger than wanted: then the error is the
/// refusal; or none if the peer has gone in the middle of it.
fn read_body(
    shared: &Shared,
    head: &RequestHead<'_>,
    caller: &Caller,
    request: &mut Request,
) -> Result<Vec<u8>, Option<Response>> {
    let announced = request.body_length();
    if announced.unwrap_or(0) == 0 && head.headers.get("transfer-encoding").is_none() {
        return Ok(Vec::new());
    }
    let most = shared.site.wants_body(head, caller).map_err(Some)?;
    let mut body = Vec::new();
    if announced.is_none_or(|len| len <= most) {
        let mut wanted = request.as_reader().take(most as u64 + 1);
        wanted.read_to_end(&mut body).map_err(|_| None)?;
    }
    if announced.is_some_and(|len| len > most) || body.len() > most {
        let line = "the body is too large";
        let (reason, status) = (Reason::MaxBody, 413);
        let refused = Refused {
            reason,
            status,
            line,
        };
        return Err(Some(shared.site.refuse(refused, Some(head), caller)));
    }
    match announced {
        Some(len) if len > body.len() => Err(None),
        _ => Ok(body),
    }
}

/// What stands in for the writer of a request whose body must not be dropped unread: the library
/// would allocate as many bytes as the request announced. Refuses it, and gives the connection up,
/// with its thread; a limit of this connector.
fn give_up(request: Request) -> Box<dyn Write + Send> {
    log::warn!("a request announced a body far over the limit; its connection is given up");
    let mut stream = request.upgrade("HTTP/1.1", tiny_http::Response::empty(413));
    if let Err(error) = stream.flush() {
        log::debug!("a refusal was not written: {error}");
    }
    std::mem::forget(stream);
    Box::new(io::sink())
}

/// Where the response to one request goes.
pub(super) struct Output {
    writer: Box<dyn Write + Send>,
    keep_alive: bool,
    http10: bool,
    head_only: bool,
    /// For the access log.
    asked: Option<Box<Asked>>,
}

impl Output {
    /// Writes a response, and tells its messages whether they arrived; blocks until the kernel has
    /// it, or the write timeout ends it.
    pub(super) fn write(mut self, shared: &Shared, done: Finished, date: &mut DateCache) {
        let mut response = done.response;
        if self.head_only {
            response = response.without_body();
        }
        let mut head = Vec::new();
        let date = date.at(shared.clock.wall());
        response.write_head(date, self.keep_alive && !done.close, self.http10, &mut head);
        if let Some(asked) = self.asked {
            asked.answered(response.status, head.len() as u64 + response.body.len());
        }
        done.flight.iter().for_each(Flight::stalled);
        match response.body.write_after(head, &mut self.writer) {
            Ok(()) => done.flight.into_iter().for_each(Flight::delivered),
            Err(error) => {
                shared.failed_writes.one();
                log::debug!("a response was not written: {error}");
            }
        }
    }
}

/// The library reads what is unread of a body when a request is dropped, into memory; up to so
/// many bytes it may.
const DISCARDED: usize = 64 << 20;
