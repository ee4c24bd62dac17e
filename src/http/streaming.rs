//! Requests that take their connection over: for a WebSocket, or for a stream of events.

use super::format::JSON_TYPE;
use super::request::RequestHead;
use super::response::{Body, Response, push_end, push_header};
use super::site::{Handled, Site};
use crate::broker::{Attachment, Ended, Gone, NoStream};
use crate::protocol::{Advice, Publication, ReplyTo};
use crate::refusals::Reason;
use crate::transport::{BrowserId, ConnectionHandle, Peer, Transport};

/// Which transports the endpoint serves: what its broker offers to clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offers {
    /// POST: long-polling, and what the clients of event streams have to say.
    pub(super) posts: bool,
    pub(super) scripts: bool,
    pub(super) sockets: bool,
    pub(super) events: bool,
}

impl Offers {
    pub(super) fn new(connection_types: &[&str]) -> Self {
        let has = |transport: Transport| connection_types.contains(&transport.name());
        Self {
            posts: has(Transport::LongPolling) || has(Transport::EventSource),
            scripts: has(Transport::CallbackPolling),
            sockets: has(Transport::WebSocket),
            events: has(Transport::EventSource),
        }
    }
}

/// Whether a GET asks for a WebSocket. The rest of its handshake is the connector's matter.
pub(super) fn wants_socket(head: &RequestHead<'_>) -> bool {
    head.minor_version > 0
        && head.headers.list_has("upgrade", "websocket")
        && head.headers.list_has("connection", "upgrade")
}

/// Whether a GET asks for a stream of events.
pub(super) fn wants_events(head: &RequestHead<'_>) -> bool {
    head.headers.list("accept").any(|range| {
        let media = range.split(|byte| *byte == b';').next().unwrap_or(range);
        media
            .trim_ascii()
            .eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// A connection that may become a WebSocket.
pub struct Upgrade {
    /// Who sends what comes on it.
    pub peer: Peer,
    /// Header lines for the answer that accepts it.
    pub headers: Vec<u8>,
}

/// A stream of events that has been opened: what is written on its connection, until that ends.
pub struct Events {
    /// The tie to the session.
    pub session: Attachment,
    /// Header lines.
    headers: Vec<u8>,
}

impl Events {
    /// Appends the head of the response, and how long the client is to wait before it comes back.
    /// The end of the connection is the end of the body.
    pub fn write_head(&self, date: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        out.extend_from_slice(&self.headers);
        push_end(out, date, false, false);
        out.extend_from_slice(RETRY);
    }

    /// Appends an event with messages.
    pub fn write_messages<M: AsRef<Publication>>(messages: &[M], out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: [");
        for (n, message) in messages.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            push_lines(message.as_ref().json(), out);
        }
        out.extend_from_slice(b"]\n\n");
    }

    /// Appends the last event: a client that the server has sent away is told not to come back, as
    /// the answer to a connect would, of which a stream has none.
    pub fn write_end(ended: Ended, out: &mut Vec<u8>) {
        let reason = Gone::Dismissed;
        if ended == (Ended::Gone { reason }) {
            out.extend_from_slice(b"data: [");
            let reply_to = ReplyTo {
                channel_raw: "\"/meta/connect\"",
                id: None,
                client_id: None,
                subscription: None,
            };
            let reply = reply_to.success(out);
            reply.advice(&Advice::none()).finish();
            out.extend_from_slice(b"]\n\n");
        }
    }
}

/// JSON may have line breaks between its tokens; in an event each begins another line of data.
fn push_lines(json: &[u8], out: &mut Vec<u8>) {
    for (n, line) in json.split(|byte| matches!(byte, b'\n' | b'\r')).enumerate() {
        if n > 0 {
            out.extend_from_slice(b"\ndata: ");
        }
        out.extend_from_slice(line);
    }
}

impl Site {
    /// What a WebSocket is opened with. Where sessions are bound to cookies it gets one if it
    /// brought none: so its sessions are its own, and those of the client's later connections.
    pub(super) fn upgrade(&self, mut peer: Peer) -> Upgrade {
        let mut headers = Vec::new();
        let bound = self.broker().config().require_browser_cookie && peer.browser.is_none();
        if let Some(cookies) = self.cookies().filter(|_| bound) {
            let id = *peer.browser.insert(BrowserId::random());
            let cookie = cookies.set_cookie(id, peer.secure);
            push_header(&mut headers, "Set-Cookie", &cookie);
        }
        Upgrade { peer, headers }
    }

    /// Opens the stream of events of a session.
    pub(super) fn events(
        &self,
        client: &str,
        peer: &Peer,
        echo: Option<&str>,
        connection: &ConnectionHandle,
    ) -> Handled {
        let opened = self.broker().open_stream(peer, client, connection);
        let response = match &opened {
            // Without the second, nginx keeps events back until it has many.
            Ok(_) => Response::uncached(200, "text/event-stream").header("X-Accel-Buffering", "no"),
            Err(refused) => self.no_stream(*refused, peer),
        };
        let response = response.readable_by(echo);
        match opened {
            Ok(session) => Handled::Events(Box::new(Events {
                session,
                headers: response.headers,
            })),
            Err(_) => Handled::Done(response),
        }
    }

    fn no_stream(&self, refused: NoStream, peer: &Peer) -> Response {
        let (status, reason) = match refused {
            NoStream::Unknown => (404, Reason::UnknownSession),
            NoStream::Draining => (503, Reason::Draining),
        };
        let seen = format_args!("a stream of events for {}", peer.ip);
        self.broker().refusals().count(reason, seen);
        self.count(status);
        Response {
            body: Body::Bytes(refused.array()),
            ..Response::uncached(status, JSON_TYPE).with_retry()
        }
    }
}

/// Milliseconds until a client opens the next stream when this one has ended.
const RETRY: &[u8] = b"retry: 5000\n\n";

/// Written from time to time where nothing else is, so that nobody on the way gives up the
/// connection.
pub(crate) const EVENTS_COMMENT: &[u8] = b":\n\n";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::broker::BrokerConfig;
    use crate::http::testing::{Lines, Seen, ask, handle, site, with_head};
    use crate::http::{RequestHead, SiteConfig};
    use crate::protocol::{ChannelName, Publisher};

    const UPGRADE: [(&str, &str); 2] = [
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "WebSocket"),
    ];
    const EVENTS: (&str, &str) = ("Accept", "text/event-stream");

    fn streaming() -> Site {
        let broker = BrokerConfig {
            connection_types: vec!["websocket", "eventsource", "long-polling"],
            ..BrokerConfig::default()
        };
        let config = SiteConfig {
            allowed_origins: vec!["http://app.example".parse().unwrap()],
            ..SiteConfig::default()
        };
        site(config, broker)
    }

    fn client(site: &Site) -> String {
        let seen = ask(
            site,
            "POST",
            "/cometd",
            &[],
            r#"{"channel":"/meta/handshake"}"#,
        );
        let (_, rest) = seen.body.split_once(r#""clientId":""#).unwrap();
        rest[..26].to_owned()
    }

    #[test]
    fn who_asks_for_a_socket() {
        let table: [(Lines<'_>, bool); 5] = [
            (&UPGRADE, true),
            (
                &[("Connection", "upgrade"), ("Upgrade", "h2c, websocket")],
                true,
            ),
            (&UPGRADE[..1], false),
            (&UPGRADE[1..], false),
            (&[("Connection", "Upgrade"), ("Upgrade", "h2c")], false),
        ];
        for (lines, expected) in table {
            with_head("GET", "/cometd", lines, |head| {
                assert_eq!(wants_socket(&head), expected, "{lines:?}");
                let old = RequestHead {
                    minor_version: 0,
                    ..head
                };
                assert!(!wants_socket(&old), "not in HTTP/1.0");
            });
        }
    }

    #[test]
    fn who_asks_for_events() {
        for (accept, expected) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.9", true),
            ("*/*", false),
            ("text/html", false),
            ("", false),
        ] {
            with_head("GET", "/x", &[("Accept", accept)], |head| {
                assert_eq!(wants_events(&head), expected, "{accept}");
            });
        }
    }

    #[test]
    fn sockets_are_for_own_and_allowed_pages() {
        let site = streaming();
        let with_origin = |origin| {
            let lines = [UPGRADE[0], UPGRADE[1], ("Origin", origin)];
            handle(&site, "GET", "/cometd", &lines, b"")
        };
        for origin in ["", "http://own.example", "http://app.example"] {
            let Handled::Socket(upgrade) = with_origin(origin) else {
                panic!("a socket for {origin:?}");
            };
            let Upgrade { peer, headers } = *upgrade;
            assert_eq!((peer.transport, peer.browser), (Transport::WebSocket, None));
            assert!(headers.is_empty());
        }
        for origin in ["null", "http://evil.example", "http://own.example:81"] {
            let Handled::Done(response) = with_origin(origin) else {
                panic!("no socket for {origin}");
            };
            assert_eq!(response.status, 403);
        }
        let found = ask(&site, "GET", "/cometd", &UPGRADE[1..], "");
        assert_eq!(
            (found.status, found.header("Allow")),
            (405, Some("GET, POST, OPTIONS"))
        );
        let found = ask(&site, "GET", "/cometd", &UPGRADE, "body");
        assert_eq!(found.status, 413);
        assert_eq!(ask(&site, "GET", "/elsewhere", &UPGRADE, "").status, 404);
    }

    #[test]
    fn where_they_are_not_offered_they_are_not_there() {
        let site = site(SiteConfig::default(), BrokerConfig::default());
        let path = format!("/cometd/{}", client(&site));
        assert_eq!(ask(&site, "GET", "/cometd", &UPGRADE, "").status, 405);
        assert_eq!(ask(&site, "GET", &path, &[EVENTS], "").status, 405);
    }

    #[test]
    fn a_stream_has_a_head_and_its_session() {
        let site = streaming();
        let path = format!("/cometd/{}", client(&site));
        let lines = [EVENTS, ("Origin", "http://app.example")];
        let Handled::Events(events) = handle(&site, "GET", &path, &lines, b"") else {
            panic!("a stream");
        };
        let mut head = Vec::new();
        events.write_head("now", &mut head);
        let head = String::from_utf8(head).unwrap();
        for line in [
            "HTTP/1.1 200 OK",
            "Content-Type: text/event-stream",
            "Cache-Control: no-store",
            "X-Accel-Buffering: no",
            "X-Content-Type-Options: nosniff",
            "Access-Control-Allow-Origin: http://app.example",
            "Access-Control-Allow-Credentials: true",
            "Connection: close",
        ] {
            assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
        }
        assert!(!head.contains("Content-Length"));
        assert!(head.ends_with("\r\n\r\nretry: 5000\n\n"));
        let foreign = [EVENTS, ("Origin", "http://evil.example")];
        assert_eq!(ask(&site, "GET", &path, &foreign, "").status, 403);
    }

    #[test]
    fn a_stream_of_nobody() {
        let site = streaming();
        for path in ["/cometd/", "/cometd/nobody", "/cometd/a/b"] {
            let found = ask(&site, "GET", path, &[EVENTS], "");
            assert_eq!(found.status, 404, "{path}");
            assert!(
                found
                    .header("Content-Type")
                    .unwrap()
                    .starts_with("application/json")
            );
            assert!(found.body.starts_with("[{") && found.body.contains("402::session_unknown"));
        }
        let path = format!("/cometd/{}", client(&site));
        site.broker().drain(std::time::Duration::ZERO);
        let found: Seen = ask(&site, "GET", &path, &[EVENTS], "");
        assert_eq!(
            (found.status, found.header("Retry-After")),
            (503, Some("2"))
        );
        assert!(site.refused_statuses().contains(&(404, 3)));
    }

    #[test]
    fn who_is_sent_away_is_told_not_to_come_back() {
        let end = |ended| {
            let mut out = Vec::new();
            Events::write_end(ended, &mut out);
            String::from_utf8(out).unwrap()
        };
        let reason = Gone::Dismissed;
        let told = end(Ended::Gone { reason });
        let json = told.strip_prefix("data: ").unwrap();
        assert!(json.ends_with("\n\n"), "{json:?}");
        let replies: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(replies[0]["channel"], "/meta/connect");
        assert_eq!(replies[0]["advice"]["reconnect"], "none");
        let reason = Gone::Expired;
        assert_eq!(end(Ended::Gone { reason }), "");
    }

    #[test]
    fn line_breaks_in_messages_begin_lines_of_data() {
        let channel = ChannelName::try_from("/a").unwrap();
        let message = |data| Arc::new(Publication::new(&channel, data, Publisher::Nobody));
        let mut out = Vec::new();
        Events::write_messages(&[message("1"), message("[1,\n2,\r\n3]")], &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "data: [{\"channel\":\"/a\",\"data\":1},{\"channel\":\"/a\",\"data\":[1,\n\
             data: 2,\ndata: \ndata: 3]}]\n\n"
        );
    }
}
