//! What is refused, and how anybody finds out why: one list of reasons, a counter for each, and one
//! place that tells the log.
//!
//! A reason that is a limit is called as its setting is. The log has at most one line a minute for
//! each reason, with what was seen and which settings decide, so that nobody can fill it; all of
//! them at the level `debug`.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::counters::Counter;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $label:literal $(, by $settings:literal)?;)*) => {
        /// Why a request, a message or a connection is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])* $name,)*
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in the metrics and in the log.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }

            /// The settings that decide, separated by commas; `None` if no setting does.
            pub fn settings(self) -> Option<&'static str> {
                match self {
                    $($(Self::$name => Some($settings),)?)*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    /// The page's origin is neither the server's own nor allowed.
    Origin = "origin", by "allowed_origin, and trusted_proxy for the host that a proxy reports";
    /// A script request where none is offered, or that no own or allowed page is seen to make.
    CallbackPolling = "callback_polling", by "callback_polling, allowed_origin, transport";
    /// The name of the callback is not acceptable.
    CallbackName = "callback_name";
    /// No `Host`, several, or one that is malformed or contradicts the target.
    Host = "host";
    /// A host that requests may not name.
    AllowedHost = "allowed_host",
        by "allowed_host, listen, and trusted_proxy for the host that a proxy reports";
    /// Bayeux messages for a path where the endpoint is not.
    Path = "path", by "path";
    /// The method is not for this path.
    Method = "method";
    /// A transport that is not offered.
    Transport = "transport", by "transport, connector";
    /// A body of a type, or in a coding, that is not understood.
    MediaType = "media_type";
    /// What came is not a batch of messages.
    Messages = "messages";
    /// More messages than one request may have.
    MaxMessages = "max_messages", by "max_messages";
    /// JSON that is nested too deep.
    MaxDepth = "max_depth", by "max_depth";
    /// A body that is too large.
    MaxBody = "max_body", by "max_body";
    /// A message on a WebSocket that is too large.
    MaxMessage = "max_message", by "max_message";
    /// A head that is too large.
    MaxHeader = "max_header", by "max_header";
    /// The address, or all together, hold too much input that is unfinished or waits.
    MaxInputTotal = "max_input_total", by "max_input_total, max_share_per_ip";
    /// The address, or all together, have too much output waiting that nobody reads.
    MaxOutputTotal = "max_output_total", by "max_output_total, max_share_per_ip";
    /// A head that took too long.
    HeaderTimeout = "header_timeout", by "header_timeout";
    /// A body, or a message on a WebSocket, that took too long.
    BodyTimeout = "body_timeout", by "body_timeout";
    /// A step before the connection is served says no: a header of the PROXY protocol is missing or
    /// malformed.
    PreConnect = "pre_connect", by "proxy_protocol, trusted_proxy";
    /// More connections than one address may have.
    MaxConnectionsPerIp = "max_connections_per_ip", by "max_connections_per_ip";
    /// What came is not HTTP as this server understands it.
    Malformed = "malformed";
    /// The opening handshake of a WebSocket is wrong.
    WebSocketHandshake = "websocket_handshake";
    /// A frame of a WebSocket is wrong.
    WebSocketFrame = "websocket_frame";
    /// A stream of events for a session that there is not.
    UnknownSession = "unknown_session";
    /// A message without the cookie that its session is bound to.
    Cookie = "cookie", by "require_browser_cookie";
    /// The policy denies a message.
    Policy = "policy";
    /// More sessions than there may be: refused, or those with the most make room.
    MaxSessions = "max_sessions", by "max_sessions";
    /// Messages that wait take too much memory: who has the most of it loses them.
    MaxQueuedTotal = "max_queued_total", by "max_queued_total";
    /// More subscriptions than a session may have.
    MaxSubscriptions = "max_subscriptions", by "max_subscriptions";
    /// Subscriptions of an address, or of all together, that take more bytes than they may.
    MaxSubscriptionBytes = "max_subscription_bytes", by "max_subscription_bytes, max_share_per_ip";
    /// More held connects than one address may have.
    MaxHeldPerIp = "max_held_per_ip", by "max_held_per_ip";
    /// Connects with the id of no session, again and again: their answers wait.
    StaleSession = "stale_session";
    /// So many calls wait for a service, or for the policy, that no further one may.
    Busy = "busy";
    /// The replies to one request are too many bytes.
    MaxReplyBytes = "max_reply_bytes", by "max_reply_bytes";
    /// The server is about to stop.
    Draining = "draining";
    /// No such file.
    NotFound = "not_found";
    /// A file that the server may not read.
    Unreadable = "unreadable";
    /// A directory without any of the index files.
    Listing = "directory_listing", by "directory_index";
    /// `If-Match` or `If-Unmodified-Since` does not hold.
    Precondition = "precondition";
    /// No part of the file lies in the range.
    Range = "range";
    /// The system lacks something for the moment, such as free files.
    Unavailable = "unavailable";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Counts what is refused, by reason, and tells the log.
pub struct Refusals {
    clock: Arc<dyn Clock>,
    reasons: [Refused; Reason::ALL.len()],
}

#[derive(Default)]
struct Refused {
    count: Counter,
    told: OncePerMinute,
}

impl Refusals {
    /// Nothing has been refused yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            reasons: std::array::from_fn(|_| Refused::default()),
        }
    }

    /// Something is refused. `seen` is what the log says of it: nothing that is a credential, no
    /// line breaks, nothing without a bound.
    pub fn count(&self, reason: Reason, seen: impl fmt::Display) {
        let refused = &self.reasons[reason as usize];
        refused.count.one();
        let told = refused.told.pass(self.clock.now());
        let line = Line {
            reason,
            seen,
            untold: told.unwrap_or(0),
        };
        if told.is_none() {
            return log::debug!("{line}");
        }
        match reason.settings() {
            // Perhaps it should have been let in: whoever runs the server can change that.
            Some(_) => log::warn!("{line}"),
            None => log::info!("{line}"),
        }
    }

    /// How often each reason was met.
    pub fn snapshot(&self) -> Vec<(Reason, u64)> {
        let counts = self.reasons.iter().map(|refused| refused.count.get());
        Reason::ALL.iter().copied().zip(counts).collect()
    }
}

/// What the log says.
struct Line<S> {
    reason: Reason,
    seen: S,
    untold: u64,
}

impl<S: fmt::Display> fmt::Display for Line<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused ({}): {}", self.reason.name(), self.seen)?;
        if let Some(settings) = self.reason.settings() {
            write!(f, "; decided by {settings}")?;
        }
        match self.untold {
            0 => Ok(()),
            untold => write!(f, "; {untold} more since the last such line"),
        }
    }
}

/// Lets one through each minute, and counts the others.
#[derive(Debug, Default)]
struct OncePerMinute(Mutex<Passed>);

#[derive(Debug, Default)]
struct Passed {
    last: Option<Instant>,
    held_back: u64,
}

impl OncePerMinute {
    /// Whether this one may pass; then how many were held back before it.
    fn pass(&self, now: Instant) -> Option<u64> {
        let mut passed = self.0.lock();
        let too_early = |last| now.saturating_duration_since(last) < MINUTE;
        if passed.last.is_some_and(too_early) {
            passed.held_back += 1;
            return None;
        }
        passed.last = Some(now);
        Some(std::mem::take(&mut passed.held_back))
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// Text from outside, fit for the log: in quotes, on one line, and of a bounded length.
pub(crate) struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = &self.0[..self.0.len().min(QUOTED)];
        let more = if cut.len() < self.0.len() { "..." } else { "" };
        write!(f, "\"{}\"{more}", cut.escape_ascii())
    }
}

/// Bytes of a text from outside that the log shows at the most.
const QUOTED: usize = 100;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn each_reason_has_a_name_and_a_counter_of_its_own() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        let refusals = Refusals::new(Arc::new(ManualClock::new()));
        for (n, reason) in Reason::ALL.iter().enumerate() {
            for _ in 0..=n {
                refusals.count(*reason, "x");
            }
        }
        let expected: Vec<_> = Reason::ALL.iter().copied().zip(1..).collect();
        assert_eq!(refusals.snapshot(), expected);
    }

    #[test]
    fn one_line_a_minute_counts_the_others() {
        let clock = ManualClock::new();
        let told = OncePerMinute::default();
        let pass = |seconds| {
            clock.advance(Duration::from_secs(seconds));
            told.pass(clock.now())
        };
        assert_eq!(pass(0), Some(0));
        assert_eq!([pass(0), pass(30), pass(29)], [None; 3]);
        assert_eq!([pass(1), pass(59)], [Some(3), None]);
        assert_eq!([pass(1), pass(600)], [Some(1), Some(0)]);
    }

    #[test]
    fn the_log_says_what_was_seen_and_what_decides() {
        let line = |reason, untold| {
            let seen = Quoted(b"http://x\r\nGET");
            let line = Line {
                reason,
                seen,
                untold,
            };
            line.to_string()
        };
        assert_eq!(
            line(Reason::MaxBody, 0),
            r#"refused (max_body): "http://x\r\nGET"; decided by max_body"#
        );
        assert_eq!(
            line(Reason::Host, 7),
            r#"refused (host): "http://x\r\nGET"; 7 more since the last such line"#
        );
    }

    #[test]
    fn quotes_are_bounded() {
        assert_eq!(Quoted(b"\xff\"\x1b").to_string(), r#""\xff\"\x1b""#);
        let long = Quoted(&[b'x'; 500]).to_string();
        assert_eq!(long.len(), 105);
        assert!(long.ends_with("x\"..."));
    }
}
