//! Why a request is turned down before the broker hears of it: one table, what the log says of it,
//! and how often each status was sent.

use std::fmt;

use super::access_log::shown;
use super::endpoint::Denied;
use super::proxies::Caller;
use super::request::RequestHead;
use super::response::Response;
use super::site::Site;
use crate::counters::Counter;
use crate::protocol::BatchError;
use crate::refusals::{Quoted, Reason};

macro_rules! refusals {
    (
        $($(#[doc = $doc:literal])* $name:ident = $status:literal, $reason:ident, $text:literal;)*
    ) => {
        /// What is refused. Each has a status, a reason, and one line of plain text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(in crate::http) enum Refusal {
            $($(#[doc = $doc])* $name,)*
        }

        impl Refusal {
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it is told.
            pub(super) fn refused(self) -> Refused<'static> {
                let (status, reason, line) = match self {
                    $(Self::$name => ($status, Reason::$reason, $text),)*
                };
                Refused {
                    reason,
                    status,
                    line,
                }
            }
        }
    };
}

refusals! {
    /// Neither a path, nor an `http` URL.
    Target = 400, Malformed, "malformed request target";
    /// A form without a field `message`.
    NoMessage = 400, Messages, "the form has no field named message";
    /// One of several `message` fields is no JSON array or object.
    FormField = 400, Messages, "a message field holds neither a JSON array nor a JSON object";
    /// The name of the callback is not acceptable.
    Callback = 400, CallbackName, "bad callback name";
    /// The page's origin is neither the server's own nor allowed.
    Origin = 403, Origin,
        "origin not allowed: neither the host that was asked for nor one of allowed_origin";
    /// A script request that no own or allowed page is seen to make.
    Page = 403, CallbackPolling, "scripts are for pages of this server or of an allowed origin";
    /// A file that the server may not read.
    Unreadable = 403, Unreadable, "forbidden";
    /// A directory without any of the index files.
    Listing = 403, Listing, "Directory listing denied";
    /// No such file.
    NotFound = 404, NotFound, "not found";
    /// Bayeux messages, or another method than those for files, where nothing is.
    Path = 404, Path, "not found";
    /// Scripts are not offered.
    Scripts = 405, CallbackPolling, "this transport is not offered";
    /// Any other transport is not offered.
    Transport = 405, Transport, "this transport is not offered";
    /// The method is not for this path.
    Method = 405, Method, "method not allowed";
    /// `If-Match` or `If-Unmodified-Since` does not hold.
    Precondition = 412, Precondition, "precondition failed";
    /// The body is longer than allowed.
    TooLarge = 413, MaxBody, "the request body is too large";
    /// A body of a type, or in a coding, that is not understood.
    MediaType = 415, MediaType, "unsupported media type";
    /// A name that is not the server's: a page may have let it point here.
    Host = 421, AllowedHost,
        "host not allowed: neither an address, nor localhost, nor one of listen or allowed_host";
    /// No part of the file lies in the range.
    Range = 416, Range, "range not satisfiable";
    /// The server lacks something for the moment, such as free files.
    Unavailable = 503, Unavailable, "service unavailable";
}

/// A refusal as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// What it is counted as.
    pub reason: Reason,
    /// The HTTP status.
    pub status: u16,
    /// What the client is told, and the log too: one line, nothing from inside the server.
    pub line: &'a str,
}

impl Site {
    /// Refuses a request: counts it, tells the log, and makes the response, one line of plain text.
    /// Connectors refuse so what is never handled; without a head where none could be read.
    pub fn refuse(
        &self,
        refused: Refused<'_>,
        head: Option<&RequestHead<'_>>,
        caller: &Caller,
    ) -> Response {
        let mount = self.mount();
        let line = match refused.reason {
            // For those who look for the endpoint elsewhere.
            Reason::Path => &format!("{}; the Bayeux endpoint is at {mount}", refused.line),
            _ => refused.line,
        };
        let refused = Refused { line, ..refused };
        let seen = Seen {
            refused,
            head,
            caller,
            mount,
        };
        self.broker().refusals().count(refused.reason, seen);
        self.count(refused.status);
        Response::text(refused.status, refused.line).with_retry()
    }

    pub(super) fn deny(
        &self,
        head: &RequestHead<'_>,
        caller: &Caller,
        denied: &Denied<'_>,
    ) -> Response {
        let mut response = self.refuse(denied.refusal.refused(), Some(head), caller);
        if response.status == 405 {
            let endpoint = self.public().map(|public| &public.endpoint);
            let allow = match (endpoint, head.target()) {
                (Some(endpoint), Some(target)) if endpoint.covers(target.path) => endpoint.allow(),
                _ => FILE_ALLOW,
            };
            response = response.header("Allow", allow);
        }
        response = response.readable_by(denied.origin.echo());
        match head.is_head() {
            true => response.without_body(),
            false => response,
        }
    }
}

/// What a body that is no batch of messages, or too much of one, is counted as.
pub(super) fn reason_of(error: &BatchError) -> Reason {
    match error {
        BatchError::NotUtf8 | BatchError::NotJson(_) | BatchError::NotMessages => Reason::Messages,
        BatchError::TooManyMessages { .. } => Reason::MaxMessages,
        BatchError::TooDeep { .. } => Reason::MaxDepth,
    }
}

/// The methods of paths outside the endpoint.
const FILE_ALLOW: &str = "GET, HEAD";

/// What the log says of a request that is refused.
struct Seen<'a> {
    refused: Refused<'a>,
    head: Option<&'a RequestHead<'a>>,
    caller: &'a Caller,
    mount: &'a str,
}

impl fmt::Display for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.head {
            Some(head) => {
                let path = head.target().map_or(head.target, |target| target.path);
                let path = shown(path, self.mount);
                write!(f, "{:.20} {}", head.method, Quoted(path.as_bytes()))?;
            }
            None => f.write_str("what came")?,
        }
        let Caller { ip, peer, .. } = self.caller;
        write!(f, " from {ip}")?;
        if ip != peer {
            write!(f, " through {peer}")?;
        }
        write!(f, ": {}", self.refused.line)?;
        let headers = self.head.map(|head| head.headers);
        for name in telling(self.refused.reason) {
            let values = headers.iter().flat_map(|headers| headers.get_all(name));
            for value in values {
                // A query may hold what is nobody's business.
                let value = value.split(|byte| *byte == b'?').next().unwrap_or(value);
                write!(f, ", {name} {}", Quoted(value))?;
            }
        }
        Ok(())
    }
}

/// The header fields that explain a refusal.
fn telling(reason: Reason) -> &'static [&'static str] {
    match reason {
        Reason::Origin => &["Origin", "Host", "X-Forwarded-Host", "Forwarded"],
        Reason::CallbackPolling => &["Referer", "Sec-Fetch-Site", "Host"],
        Reason::Host => &["Host"],
        Reason::AllowedHost => &["Host", "X-Forwarded-Host", "Forwarded"],
        Reason::MediaType => &["Content-Type", "Content-Encoding"],
        Reason::MaxBody => &["Content-Length"],
        Reason::Transport => &["Upgrade", "Accept"],
        Reason::WebSocketHandshake => &["Sec-WebSocket-Version"],
        Reason::Range => &["Range"],
        _ => &[],
    }
}

/// How often each status of a refusal was sent.
#[derive(Debug, Default)]
pub(super) struct RefusalCounts([Counter; STATUSES.len()]);

impl RefusalCounts {
    /// Counts a response with this status. Those that refuse nothing are not counted.
    pub(super) fn count(&self, status: u16) {
        if let Some(at) = STATUSES.iter().position(|known| *known == status) {
            self.0[at].one();
        }
    }

    /// Every status with the number of times it was sent, in rising order.
    pub(super) fn snapshot(&self) -> Vec<(u16, u64)> {
        let counts = self.0.iter().map(Counter::get);
        STATUSES.into_iter().zip(counts).collect()
    }
}

const STATUSES: [u16; 18] = [
    400, 403, 404, 405, 408, 412, 413, 414, 415, 416, 417, 421, 426, 431, 500, 501, 503, 505,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::BrokerConfig;
    use crate::http::SiteConfig;
    use crate::http::testing::{Lines, site, with_head};

    #[test]
    fn every_refusal_is_one_line_of_text_and_is_counted() {
        let caller = Caller::direct([127, 0, 0, 1].into(), false);
        for refusal in Refusal::ALL {
            let site = site(SiteConfig::default(), BrokerConfig::default());
            let Refused {
                reason,
                status,
                line,
            } = refusal.refused();
            let response = site.refuse(refusal.refused(), None, &caller);
            assert_eq!(response.status, status);
            let body = response.body.in_memory().unwrap();
            let hint = match refusal {
                Refusal::Path => "; the Bayeux endpoint is at /cometd",
                _ => "",
            };
            assert_eq!(body, format!("{line}{hint}\n").as_bytes());
            let plain = |byte| (b' '..=b'~').contains(&byte);
            assert!(line.bytes().all(plain));
            let counted = |counts: Vec<u64>| counts.into_iter().sum::<u64>();
            let statuses = site.refused_statuses();
            assert!(statuses.contains(&(status, 1)), "{refusal:?}");
            assert_eq!(counted(statuses.iter().map(|(_, n)| *n).collect()), 1);
            let reasons = site.broker().refusals().snapshot();
            assert!(reasons.contains(&(reason, 1)), "{refusal:?}");
            assert_eq!(counted(reasons.iter().map(|(_, n)| *n).collect()), 1);
            let headers = String::from_utf8(response.headers).unwrap();
            let comes_back = headers.contains("Retry-After: ");
            assert_eq!(comes_back, status == 503, "{refusal:?}");
        }
    }

    #[test]
    fn the_log_says_what_was_seen() {
        let peer = [10, 0, 0, 1].into();
        let direct = Caller::direct(peer, false);
        let told = |refusal: Refusal, method, target, caller: &Caller, lines: Lines<'_>| {
            with_head(method, target, lines, |head| {
                let seen = Seen {
                    refused: refusal.refused(),
                    head: Some(&head),
                    caller,
                    mount: "/cometd",
                };
                seen.to_string()
            })
        };
        let lines = [
            ("Origin", "https://app.example"),
            ("X-Forwarded-Host", "app.example"),
            ("Cookie", "BAYEUX_BROWSER=secret"),
        ];
        assert_eq!(
            told(Refusal::Origin, "POST", "/cometd", &direct, &lines),
            format!(
                "POST \"/cometd\" from 10.0.0.1: {}, Origin \"https://app.example\", \
                 Host \"own.example\", X-Forwarded-Host \"app.example\"",
                Refusal::Origin.refused().line
            )
        );
        let mut through = direct.clone();
        through.ip = [192, 0, 2, 1].into();
        let lines = [("Referer", "http://x.example/page?token=secret")];
        let target = "/cometd/0123456789abcdefghijklmnop?message=secret";
        assert_eq!(
            told(Refusal::Page, "GET", target, &through, &lines),
            format!(
                "GET \"/cometd/*\" from 192.0.2.1 through 10.0.0.1: {}, \
                 Referer \"http://x.example/page\", Host \"own.example\"",
                Refusal::Page.refused().line
            )
        );
        let seen = Seen {
            refused: Refusal::Target.refused(),
            head: None,
            caller: &direct,
            mount: "/cometd",
        };
        let expected = "what came from 10.0.0.1: malformed request target";
        assert_eq!(seen.to_string(), expected);
    }

    #[test]
    fn statuses_rise_and_what_is_no_refusal_is_not_counted() {
        assert!(STATUSES.is_sorted());
        let counts = RefusalCounts::default();
        counts.count(200);
        counts.count(304);
        assert!(counts.snapshot().iter().all(|(_, count)| *count == 0));
    }
}
