//! Reading a body and writing a response where that may block: for connectors that have a thread
//! to spare for it.

use std::io::{self, Read, Write};

use super::access_log::LogEntry;
use super::pending::Finished;
use super::proxies::Caller;
use super::refusal::Refused;
use super::request::RequestHead;
use super::response::Response;
use super::route::Route;
use super::site::Site;
use crate::broker::InFlight;
use crate::refusals::Reason;

impl Site {
    /// Reads a whole body, of that length if it was announced, unless it is not wanted or larger
    /// than wanted. Asks for the reader only when there is something to be read.
    ///
    /// # Errors
    /// The refusal; or none if the peer has gone in the middle of it.
    pub fn read_body<R: Read>(
        &self,
        route: &Route,
        head: &RequestHead<'_>,
        caller: &Caller,
        announced: Option<usize>,
        reader: impl FnOnce() -> R,
    ) -> Result<Vec<u8>, Option<Response>> {
        if announced.unwrap_or(0) == 0 && head.headers.get("transfer-encoding").is_none() {
            return Ok(Vec::new());
        }
        let most = self.wants_body(route, head, caller).map_err(Some)?;
        let mut body = Vec::new();
        if announced.is_none_or(|len| len <= most) {
            let mut wanted = reader().take(most as u64 + 1);
            wanted.read_to_end(&mut body).map_err(|_| None)?;
        }
        if announced.is_some_and(|len| len > most) || body.len() > most {
            let refused = Refused {
                reason: Reason::MaxBody,
                status: 413,
                line: "the body is too large",
            };
            return Err(Some(self.refuse(refused, Some(head), caller)));
        }
        match announced {
            Some(len) if len > body.len() => Err(None),
            _ => Ok(body),
        }
    }
}

/// Where the response to one request goes.
pub(crate) struct Output {
    writer: Box<dyn Write + Send>,
    keep_alive: bool,
    http10: bool,
    head_only: bool,
    entry: Option<Box<LogEntry>>,
}

impl Output {
    /// For the request with that head, which the access log gets to know as `entry`. The head of
    /// the response says that the connection is kept, if the client wishes it and it may be.
    pub(crate) fn new(
        head: &RequestHead<'_>,
        entry: Option<Box<LogEntry>>,
        may_keep: bool,
        writer: Box<dyn Write + Send>,
    ) -> Self {
        Self {
            writer,
            keep_alive: may_keep && head.keeps_alive(),
            http10: head.minor_version == 0,
            head_only: head.is_head(),
            entry,
        }
    }

    /// Writes a response, and tells its messages whether they arrived; blocks until the writer has
    /// all of it.
    ///
    /// # Errors
    /// What reading a file or writing says; then the connection must be closed.
    pub(crate) fn write(mut self, mut done: Finished, date: &str) -> io::Result<()> {
        let mut response = done.response;
        if self.head_only {
            response = response.without_body();
        }
        let mut head = Vec::new();
        let keep_alive = self.keep_alive && !done.close;
        response.write_head(date, keep_alive, self.http10, &mut head);
        if let Some(entry) = self.entry {
            entry.answered(response.status, head.len() as u64 + response.body.len());
        }
        done.in_flight.iter_mut().for_each(InFlight::stalled);
        let written = response.body.write_after(head, &mut self.writer);
        done.in_flight.iter_mut().for_each(match written {
            Ok(()) => InFlight::commit,
            Err(_) => InFlight::abort,
        });
        written
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::broker::BrokerConfig;
    use crate::http::testing::site;
    use crate::http::{Headers, SiteConfig};

    /// A head, with those lines.
    fn head<'a>(method: &'a str, lines: &'a [httparse::Header<'a>]) -> RequestHead<'a> {
        RequestHead {
            method,
            target: "/cometd",
            minor_version: 1,
            headers: Headers::new(lines),
        }
    }

    #[test]
    fn bodies_are_read_whole_or_not_at_all() {
        let config = SiteConfig {
            max_body: 4,
            ..SiteConfig::default()
        };
        let site = site(config, BrokerConfig::default());
        let caller = Caller::direct(IpAddr::V4(Ipv4Addr::LOCALHOST), false);
        let line = |name, value| httparse::Header { name, value };
        let json = line("Content-Type", b"application/json".as_slice());
        let lines = [
            line("Host", b"localhost"),
            json,
            line("Transfer-Encoding", b"chunked"),
        ];
        let whole = Ok(b"1234".as_slice());
        for (announced, sent, expected) in [
            (Some(4), "1234", whole),
            (None, "1234", whole),
            (Some(5), "12345", Err(Some(413))),
            (None, "12345", Err(Some(413))),
            (Some(4), "123", Err(None)),
        ] {
            let head = head(
                "POST",
                if announced.is_some() {
                    &lines[..2]
                } else {
                    &lines
                },
            );
            let route = site.route(&head, &caller);
            let read = site.read_body(&route, &head, &caller, announced, || sent.as_bytes());
            let read = read.map_err(|refusal| refusal.map(|response| response.status));
            assert_eq!(read.as_deref().map_err(|error| *error), expected, "{sent}");
        }
        let get = head("GET", &lines[..1]);
        let nothing = || -> &[u8] { panic!("there is nothing to be read") };
        let read = |head: &RequestHead<'_>, announced| {
            let route = site.route(head, &caller);
            site.read_body(&route, head, &caller, announced, nothing)
        };
        assert!(read(&get, None).is_ok());
        let large = head("POST", &lines[..2]);
        assert!(read(&large, Some(5)).is_err());
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_response_goes_out_as_its_request_wants_it() {
        let closing = [httparse::Header {
            name: "Connection",
            value: b"close",
        }];
        for (method, lines, may_keep, closes, body) in [
            ("GET", &[][..], true, false, "x\n"),
            ("HEAD", &[], true, false, ""),
            ("GET", &closing, true, true, "x\n"),
            ("GET", &[], false, true, "x\n"),
        ] {
            let written = Written::default();
            let writer = Box::new(written.clone());
            let output = Output::new(&head(method, lines), None, may_keep, writer);
            output
                .write(Response::text(200, "x").into(), "now")
                .unwrap();
            let text = String::from_utf8(written.0.lock().clone()).unwrap();
            let (head, rest) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(
                (head.contains("Connection: close"), rest),
                (closes, body),
                "{text}"
            );
            assert!(head.contains("Content-Length: 2"), "{text}");
        }
    }
}
