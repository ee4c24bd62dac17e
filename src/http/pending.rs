//! Responses that are not there yet: the broker waits for something, or user code makes or changes
//! them on worker threads.

use std::net::IpAddr;
use std::sync::Arc;

use super::content::{ContentHandler, ContentRequest};
use super::files::Found;
use super::format::Format;
use super::headers::{self, is_token};
use super::lookup::Lookup;
use super::response::{Body, Response};
use super::site::Site;
use crate::broker::{Answer, Exchange, InFlight, Inbox, guarded};
use crate::protocol::ClientId;
use crate::transport::{ConnectionHandle, Peer};
use crate::util::{Completion, Owner};

/// What a response hook is told about the request.
#[derive(Clone, Debug)]
pub struct HookedRequest {
    /// The method.
    pub method: String,
    /// The path, not decoded and without query.
    pub path: String,
    /// The request target as it came, with its query.
    pub target: String,
    /// Header lines in the order they came. Kept for as long as the response is being made.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Who asked.
    pub peer: Peer,
}

impl HookedRequest {
    /// The value of the first line with this name, in any case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        headers::text_of(&self.headers, name)
    }
}

/// Changes responses before they are sent.
pub(super) type Hook = Arc<dyn Fn(&HookedRequest, &mut Response) + Send + Sync>;

/// A hook and the request it is for.
pub(super) struct Hooked {
    pub(super) hook: Hook,
    pub(super) request: HookedRequest,
}

/// A response that is being made. To be asked whenever the connection's key is woken.
pub struct PendingResponse {
    stage: Stage,
    /// Where its connection is woken.
    connection: ConnectionHandle,
    head_only: bool,
    /// The status that was counted when the response was made here.
    counted: u16,
}

enum Stage {
    /// A worker looks for the file.
    File(Completion<Found, ConnectionHandle>, Box<Lookup>),
    /// The broker will say, and then the hook is asked, if there is one.
    Broker(Box<AtBroker>),
    /// A worker has it.
    Worker(
        Completion<Response, ConnectionHandle>,
        Option<InFlight>,
        bool,
    ),
}

struct AtBroker {
    exchange: Exchange,
    format: Format,
    hooked: Option<Hooked>,
}

/// A response that has been made.
pub struct Finished {
    /// To be sent.
    pub response: Response,
    /// To be committed when it was sent, where it carries messages.
    pub in_flight: Option<InFlight>,
    /// The connection is to be closed after it.
    pub close: bool,
}

impl From<Response> for Finished {
    fn from(response: Response) -> Self {
        Self {
            response,
            in_flight: None,
            close: false,
        }
    }
}

impl PendingResponse {
    /// Has a handler answer.
    ///
    /// # Errors
    /// The refusal, where too much waits already; so in the next two.
    pub(super) fn content(
        site: &Site,
        connection: &ConnectionHandle,
        (handler, inbox): (Arc<dyn ContentHandler>, &Arc<Inbox>),
        request: ContentRequest,
        hooked: Option<Hooked>,
    ) -> Result<Self, Response> {
        let head_only = request.method == "HEAD";
        let ip = request.peer.ip;
        let make = move || {
            let made = guarded("a content handler", || handler.handle(&request));
            let response = made.unwrap_or_else(failed);
            hooked_response(response, hooked)
        };
        Ok(Self {
            head_only,
            ..Self::start(site, connection, inbox, ip, make)?
        })
    }

    /// Has the hook look at a response that is there.
    pub(super) fn hook(
        site: &Site,
        connection: &ConnectionHandle,
        response: Response,
        hooked: Hooked,
    ) -> Result<Self, Response> {
        let (counted, ip) = (response.status, hooked.request.peer.ip);
        let make = move || hooked_response(response, Some(hooked));
        Ok(Self {
            // Bodies that are not wanted have been left out before.
            counted,
            ..Self::start(site, connection, &site.hook_inbox, ip, make)?
        })
    }

    /// Has the hook look at what the broker has said.
    pub(super) fn answer(
        site: &Site,
        connection: &ConnectionHandle,
        made: (Answer, Format),
        hooked: Hooked,
    ) -> Result<Self, Response> {
        let (mut answer, format) = made;
        let response = format.respond(&answer, site);
        let mut pending = Self::hook(site, connection, response, hooked)?;
        if let Stage::Worker(_, in_flight, close) = &mut pending.stage {
            (*in_flight, *close) = (answer.in_flight.take(), answer.close);
        }
        Ok(pending)
    }

    /// Has a worker make the response, when it is the turn of whoever asked.
    fn start(
        site: &Site,
        connection: &ConnectionHandle,
        inbox: &Arc<Inbox>,
        ip: IpAddr,
        make: impl FnOnce() -> Response + Send + 'static,
    ) -> Result<Self, Response> {
        let (completion, promise) = Completion::new(connection.clone(), failed);
        let make = move || promise.complete(clean(make()));
        if !site.broker().run(inbox, Owner::from(ip), make) {
            return Err(site.busy(ip));
        }
        Ok(Self {
            stage: Stage::Worker(completion, None, false),
            connection: connection.clone(),
            head_only: false,
            counted: 0,
        })
    }

    /// The file that somebody looks for.
    pub(super) fn file(
        connection: &ConnectionHandle,
        found: Completion<Found, ConnectionHandle>,
        lookup: Box<Lookup>,
    ) -> Self {
        Self {
            stage: Stage::File(found, lookup),
            connection: connection.clone(),
            head_only: false,
            counted: 0,
        }
    }

    /// Has the hook, if there is one, look at what the broker is going to say.
    pub(super) fn exchange(
        connection: &ConnectionHandle,
        exchange: Exchange,
        format: Format,
        hooked: Option<Hooked>,
    ) -> Self {
        Self {
            stage: Stage::Broker(Box::new(AtBroker {
                exchange,
                format,
                hooked,
            })),
            connection: connection.clone(),
            head_only: false,
            counted: 0,
        }
    }

    /// The client whose connect is held.
    pub fn client_id(&self) -> Option<ClientId> {
        match &self.stage {
            Stage::Broker(pending) => pending.exchange.client_id(),
            Stage::File(..) | Stage::Worker(..) => None,
        }
    }

    /// Whether a connect is held, or an answer waits: it ends when its peer goes.
    pub fn is_parked(&self) -> bool {
        matches!(&self.stage, Stage::Broker(pending) if pending.exchange.is_parked())
    }

    /// The response, if it is there.
    pub fn poll(&mut self, site: &Site) -> Option<Finished> {
        if let Stage::Broker(pending) = &mut self.stage {
            let answer = pending.exchange.poll()?;
            let Some(hooked) = pending.hooked.take() else {
                return Some(pending.format.finish(answer, site));
            };
            let made = (answer, pending.format.clone());
            match Self::answer(site, &self.connection, made, hooked) {
                Ok(pending) => *self = pending,
                Err(busy) => return Some(busy.into()),
            }
        }
        if let Stage::File(found, lookup) = &mut self.stage {
            let response = lookup.respond(site, found.take()?);
            let Some(hooked) = lookup.hooked.take() else {
                return Some(response.into());
            };
            match Self::hook(site, &self.connection, response, hooked) {
                Ok(pending) => *self = pending,
                Err(busy) => return Some(busy.into()),
            }
        }
        let Stage::Worker(response, in_flight, close) = &mut self.stage else {
            return None;
        };
        let mut response = response.take()?;
        if response.status != self.counted {
            site.count(response.status);
        }
        if self.head_only {
            response = response.without_body();
        }
        Some(Finished {
            response,
            in_flight: in_flight.take(),
            close: *close,
        })
    }
}

/// A panic of the hook leaves nothing of the response: half changed it could say anything.
fn hooked_response(mut response: Response, hooked: Option<Hooked>) -> Response {
    let Some(Hooked { hook, request }) = hooked else {
        return response;
    };
    match guarded("the response hook", || hook(&request, &mut response)) {
        Some(()) => response,
        None => failed(),
    }
}

pub(super) fn failed() -> Response {
    Response::text(500, "internal server error")
}

/// The response without what would break the connection: lines that are none, and those that the
/// connector writes.
fn clean(mut response: Response) -> Response {
    if !(200..=599).contains(&response.status) {
        log::error!("user code made a response with status {}", response.status);
        return failed();
    }
    let lines = std::mem::take(&mut response.headers);
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = &line[..colon];
        let controls = line
            .iter()
            .any(|byte| byte.is_ascii_control() && *byte != b'\t');
        let ours = OURS.iter().any(|own| name.eq_ignore_ascii_case(own));
        if is_token(name) && !controls && !ours {
            response.headers.extend_from_slice(line);
            response.headers.extend_from_slice(b"\r\n");
        }
    }
    if matches!(response.status, 204 | 304) {
        response.body = Body::Empty;
    }
    response
}

/// What the connector says itself.
const OURS: [&[u8]; 6] = [
    b"connection",
    b"content-length",
    b"date",
    b"keep-alive",
    b"transfer-encoding",
    b"upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_code_cannot_break_the_framing() {
        let mut response = Response::new(200).header("X-A", "1\r\nX-B: 2");
        response
            .headers
            .extend_from_slice(b"Content-Length: 7\r\nnonsense\r\n");
        response
            .headers
            .extend_from_slice(b"Bad Name: x\r\nConnection: close\r\nX-C: \x01\r\n\r\nX-D: 4");
        let headers = String::from_utf8(clean(response).headers).unwrap();
        assert_eq!(headers, "X-A: 1  X-B: 2\r\nX-D: 4\r\n");
        assert_eq!(clean(Response::new(101)).status, 500);
        let mut empty = Response::text(204, "x");
        empty.status = 204;
        assert!(clean(empty).body.is_empty());
    }

    #[test]
    fn a_response_that_is_never_made_is_answered_too() {
        let (response, promise) = Completion::new(crate::http::testing::connection(), failed);
        drop(promise);
        assert_eq!(response.take().unwrap().status, 500);
    }

    #[test]
    fn a_hook_finds_header_lines_by_name() {
        let line = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        let request = HookedRequest {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            target: "/".to_owned(),
            headers: vec![line("X-A", b"1"), line("x-a", b"2"), line("X-B", b"\xff")],
            peer: Peer {
                ip: [127, 0, 0, 1].into(),
                transport: crate::transport::Transport::LongPolling,
                browser: None,
                secure: false,
            },
        };
        assert_eq!(request.header("x-A"), Some("1"));
        assert_eq!(request.header("x-b"), None);
        assert_eq!(request.header("x"), None);
    }
}
