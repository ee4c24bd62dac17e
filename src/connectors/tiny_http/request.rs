//! What a worker does with a request: read it, have it executed, answer it or park it.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tiny_http::{HTTPVersion, Request};

use super::parking::{Waker, connection};
use super::{Intake, Shared};
use crate::http;
use crate::http::{DateCache, Headers, Output, RequestHead};

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
    let peer = request.remote_addr().copied();
    let peer = peer.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
    let caller = &shared.site.caller(&head, peer.ip().to_canonical(), false);
    let announced = request.body_length();
    let body = shared
        .site
        .read_body(&head, caller, announced, || request.as_reader());
    let unread = body.is_err() && announced.unwrap_or(0) > DISCARDED;
    let asked = shared.site.asked(Some(&head), caller);
    let writer = if unread {
        give_up(request)
    } else {
        request.into_writer()
    };
    let output = Output::new(&head, asked, !unread, writer);
    let body = &match body {
        Ok(body) => body,
        Err(Some(refusal)) => return shared.write(output, refusal.into(), date),
        Err(None) => return,
    };
    let waker = Arc::new(Waker::new(peer));
    let connection = connection(&waker);
    let request = http::Request { head, body, caller };
    let handled = shared.site.handle(&request, &connection);
    match handled.plain(&shared.site, &request, &connection) {
        Ok(finished) => shared.write(output, finished, date),
        Err(work) => shared.parking.park(work, output, waker),
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

/// The library reads what is unread of a body when a request is dropped, into memory; up to so
/// many bytes it may.
const DISCARDED: usize = 64 << 20;
