//! What a worker does with a request: read it, have it executed, answer it or park it.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use tiny_http::{HTTPVersion, Request};

use super::Shared;
use super::listen::{Intake, Received};
use super::output::Output;
use super::shard::Waiting;
use crate::broker::Executed;
use crate::http::{Caller, DateCache, Handled, Headers, Refused, RequestHead, Response};
use crate::refusals::Reason;

/// A worker's life.
pub(super) fn work(shared: &Shared, intake: &Intake) {
    let mut date = DateCache::new();
    while !shared.stopping.load(Ordering::Acquire) {
        match intake.receive() {
            Received::Request(request) => {
                shared.counts.requests.one();
                let served = AssertUnwindSafe(|| serve(shared, request, &mut date));
                if catch_unwind(served).is_err() {
                    log::error!("a request failed inside the server");
                }
            }
            Received::Rebuilt => shared.counts.rebuilds.one(),
            Received::Nothing => {}
            Received::Closed => return,
        }
    }
}

fn serve(shared: &Shared, mut request: Request, date: &mut DateCache) {
    let method = request.method().to_string();
    let target = request.url().to_owned();
    let minor_version = u8::from(*request.http_version() > HTTPVersion(1, 0));
    let lines: Vec<(String, String)> = request
        .headers()
        .iter()
        .map(|line| (line.field.as_str().to_string(), line.value.to_string()))
        .collect();
    let lines: Vec<httparse::Header<'_>> = lines
        .iter()
        .map(|(name, value)| httparse::Header {
            name,
            value: value.as_bytes(),
        })
        .collect();
    let head = RequestHead {
        method: &method,
        target: &target,
        minor_version,
        headers: Headers::new(&lines),
    };
    let http10 = minor_version == 0;
    let keep_alive = !closes(&head);
    let peer_ip = request
        .remote_addr()
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| {
            address.ip().to_canonical()
        });
    let caller = shared.site.caller(&head, peer_ip, false);
    let asked = shared.site.asked(Some(&head), &caller);
    let body = match read_body(shared, &head, &caller, &mut request) {
        Ok(body) => body,
        Err(Stop::Refused(response)) => {
            let unread = request.body_length().unwrap_or(0) > DISCARDED;
            let writer = if unread {
                output_beside(request)
            } else {
                request.into_writer()
            };
            let keep_alive = keep_alive && !unread;
            let output = Output::new(writer, keep_alive, http10, head.is_head(), asked);
            return output.send(shared, response, date);
        }
        // The peer has gone in the middle of its request.
        Err(Stop::Gone) => return drop(request.into_writer()),
    };
    let writer = request.into_writer();
    let output = Output::new(writer, keep_alive, http10, head.is_head(), asked);
    let request = crate::http::Request {
        head,
        body: &body,
        caller: &caller,
    };
    let place = shared.shards.place();
    match shared.site.handle(&request, &place.link) {
        Handled::Done(response) => output.send(shared, response, date),
        Handled::Bayeux(format, Executed::Now(answer)) => {
            output.answer(shared, &format, answer, date);
        }
        Handled::Bayeux(format, Executed::Later(exchange)) => {
            place.park(shared, Waiting::Exchange(exchange, format), output);
        }
        Handled::Work(work) => place.park(shared, Waiting::Work(Box::new(work)), output),
        Handled::Socket(_) | Handled::Events(_) => {
            let refused = Refused {
                reason: Reason::Transport,
                status: 501,
                line: "neither sockets nor streams of events here",
            };
            let response = shared.site.refuse(refused, Some(&head), &caller);
            output.send(shared, response, date);
        }
    }
}

enum Stop {
    Refused(Response),
    Gone,
}

/// Reads the whole body, unless it is not wanted or larger than wanted.
fn read_body(
    shared: &Shared,
    head: &RequestHead<'_>,
    caller: &Caller,
    request: &mut Request,
) -> Result<Vec<u8>, Stop> {
    let announced = request.body_length();
    let has_body =
        announced.is_some_and(|len| len > 0) || head.headers.get("transfer-encoding").is_some();
    if !has_body {
        return Ok(Vec::new());
    }
    let most = shared
        .site
        .wants_body(head, caller)
        .map_err(Stop::Refused)?;
    let too_large = || {
        let refused = Refused {
            reason: Reason::MaxBody,
            status: 413,
            line: "the body is too large",
        };
        Stop::Refused(shared.site.refuse(refused, Some(head), caller))
    };
    if announced.is_some_and(|len| len > most) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    let limit = most as u64 + 1;
    request
        .as_reader()
        .take(limit)
        .read_to_end(&mut body)
        .map_err(|_| Stop::Gone)?;
    if body.len() > most {
        return Err(too_large());
    }
    if announced.is_some_and(|len| len > body.len()) {
        return Err(Stop::Gone);
    }
    Ok(body)
}

fn closes(head: &RequestHead<'_>) -> bool {
    if head.minor_version == 0 {
        !head.headers.list_has("connection", "keep-alive")
    } else {
        head.headers.list_has("connection", "close")
    }
}

/// The writer of a request whose body must not be dropped unread: the library would allocate as
/// many bytes as the request announced. What cannot be taken apart is given up instead, with its
/// thread; a limit of this connector.
fn output_beside(request: Request) -> Box<dyn std::io::Write + Send> {
    let refusal = tiny_http::Response::empty(413);
    let mut stream = request.upgrade("HTTP/1.1", refusal);
    if let Err(error) = stream.flush() {
        log::debug!("a refusal was not written: {error}");
    }
    log::warn!("a request announced a body far over the limit; its connection is given up");
    std::mem::forget(stream);
    Box::new(std::io::sink())
}

/// The library reads what is unread of a body when a request is dropped, into memory; up to so
/// many bytes it may.
const DISCARDED: usize = 64 << 20;
