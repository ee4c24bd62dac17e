//! What can go wrong, sorted by what the caller can do about it.

use std::fmt;
use std::io;
use std::time::Duration;

/// Why a call of the client did not do what it was asked to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// An argument cannot be used: the URL, a header, a limit. Nothing was sent.
    Config(String),
    /// Not a channel name, or not a pattern, or not one that this call takes. Nothing was sent.
    Channel(String),
    /// The data cannot be written as JSON, or not be read as the wanted type.
    Json(String),
    /// The send queue is full. Nothing was queued; try again later.
    QueueFull {
        /// Messages waiting.
        messages: usize,
        /// Their size in bytes.
        bytes: usize,
    },
    /// The server said no.
    Rejected(Rejection),
    /// No reply in time. When `sent` is false the message never left and never will; otherwise the
    /// server may have executed it.
    Timeout {
        /// Whether the message left this process.
        sent: bool,
    },
    /// The exchange broke after the message may have left: the server may have executed it or not.
    Unacknowledged(Failure),
    /// The server forgot the session before it acknowledged the message.
    SessionLost,
    /// Not connected within the given time; holds what stood in the way last.
    NotConnected(Option<Box<Self>>),
    /// The server could not be reached, or did not answer like a Bayeux server.
    Failed(Failure),
    /// The credential callback failed.
    Credentials(String),
    /// The server offers none of this client's transports; holds what it offers.
    NoCommonTransport(Vec<String>),
    /// The server insists on a newer version of the protocol than 1.x.
    Version(String),
    /// The server ended the session and does not want the client back.
    Disconnected,
    /// The client is closed, or is closing.
    Closed,
    /// A background thread could not be started.
    Thread(String),
}

/// A reply with `"successful": false`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    channel: String,
    error: String,
}

/// Why an exchange with the server brought no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// No connection came about, so nothing was sent.
    Connect(String),
    /// There was a connection, but it did not become a WebSocket; no message was sent.
    Upgrade {
        /// What came instead: an HTTP status, say.
        why: String,
        /// From the header `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The server closed the WebSocket.
    Closed {
        /// The code, as in RFC 6455 section 7.4; `None` if it gave none.
        code: Option<u16>,
        /// Its reason; may be empty.
        reason: String,
    },
    /// The connection broke.
    Io(io::ErrorKind, String),
    /// No answer in time.
    Timeout,
    /// An HTTP status that is not success, without Bayeux messages in the body.
    Status {
        /// The status code.
        code: u16,
        /// The first line of a body of plain text, 200 characters at the most; may be empty.
        text: String,
        /// From the header `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The body holds no Bayeux messages: an error page, say. Has its beginning.
    NotBayeux(String),
    /// The body is longer than the limit.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The answer came, but no reply to this message was in it.
    NoReply,
    /// Malformed HTTP, or malformed frames.
    Protocol(String),
}

impl Rejection {
    pub(crate) fn new(channel: &str, error: Option<&str>) -> Self {
        Self {
            channel: channel.into(),
            error: error.unwrap_or_default().into(),
        }
    }

    /// The channel of the message that was refused.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The error as the server sent it, usually `code:arguments:text`; may be empty.
    pub fn error(&self) -> &str {
        &self.error
    }

    /// The number before the first colon.
    pub fn code(&self) -> Option<u16> {
        self.error.split(':').next()?.parse().ok()
    }

    /// What stands between the first two colons.
    pub fn arguments(&self) -> &str {
        self.error.split(':').nth(1).unwrap_or_default()
    }

    /// What stands after the second colon, or everything when there are not two.
    pub fn text(&self) -> &str {
        self.error.splitn(3, ':').nth(2).unwrap_or(&self.error)
    }
}

impl Failure {
    /// Whether it is certain that the server did not get the request, so that sending it again
    /// cannot execute anything twice.
    pub fn nothing_sent(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Upgrade { .. })
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::Upgrade { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(what) => f.write_str(what),
            Self::Channel(text) => write!(f, "not a usable channel: {text:?}"),
            Self::Json(why) => write!(f, "JSON: {why}"),
            Self::QueueFull { messages, bytes } => {
                write!(f, "send queue full: {messages} messages, {bytes} bytes")
            }
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::Timeout { sent: true } => f.write_str("no reply in time"),
            Self::Timeout { sent: false } => f.write_str("could not be sent in time"),
            Self::Unacknowledged(why) => write!(f, "not acknowledged: {why}"),
            Self::SessionLost => f.write_str("the session was lost before the acknowledgement"),
            Self::NotConnected(None) => f.write_str("not connected in time"),
            Self::NotConnected(Some(last)) => write!(f, "not connected in time; last: {last}"),
            Self::Failed(failure) => failure.fmt(f),
            Self::Credentials(why) => write!(f, "no credentials: {why}"),
            Self::NoCommonTransport(offered) => {
                write!(f, "no common transport; the server offers {offered:?}")
            }
            Self::Version(version) => write!(f, "the server wants protocol version {version:?}"),
            Self::Disconnected => f.write_str("the server ended the session"),
            Self::Closed => f.write_str("the client is closed"),
            Self::Thread(why) => write!(f, "cannot start a thread: {why}"),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rejected: {}", self.channel, self.error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) => write!(f, "no connection: {why}"),
            Self::Upgrade { why, .. } => write!(f, "no WebSocket: {why}"),
            Self::Closed { code, reason } => {
                let code = code.map_or("no code".into(), |code| format!("code {code}"));
                write!(f, "the server closed the WebSocket with {code}")?;
                let separator = if reason.is_empty() { "" } else { ": " };
                write!(f, "{separator}{reason}")
            }
            Self::Io(_, why) => write!(f, "connection broke: {why}"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Status { code, text, .. } if text.is_empty() => write!(f, "HTTP status {code}"),
            Self::Status { code, text, .. } => write!(f, "HTTP status {code}: {text}"),
            Self::NotBayeux(body) => write!(f, "the answer is not Bayeux: {body:?}"),
            Self::TooLarge { limit } => write!(f, "the answer is longer than {limit} bytes"),
            Self::NoReply => f.write_str("no reply in the answer"),
            Self::Protocol(why) => write!(f, "broken protocol: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Unacknowledged(failure) | Self::Failed(failure) => Some(failure),
            Self::NotConnected(Some(last)) => Some(&**last),
            _ => None,
        }
    }
}

impl std::error::Error for Rejection {}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_takes_the_error_apart() {
        let parts = |text| {
            let rejection = Rejection::new("/a", Some(text));
            let (code, arguments) = (rejection.code(), rejection.arguments().to_owned());
            (code, arguments, rejection.text().to_owned())
        };
        let row = |code, arguments: &str, text: &str| (code, arguments.into(), text.into());
        assert_eq!(
            parts("402::session_unknown"),
            row(Some(402), "", "session_unknown")
        );
        assert_eq!(
            parts("403:no:denied: really"),
            row(Some(403), "no", "denied: really")
        );
        assert_eq!(parts("just text"), row(None, "", "just text"));
        assert_eq!(parts(""), row(None, "", ""));
    }

    #[test]
    fn only_a_failed_connection_is_safe_to_repeat() {
        assert!(Failure::Connect("refused".into()).nothing_sent());
        let (why, retry_after) = (String::new(), None);
        assert!(Failure::Upgrade { why, retry_after }.nothing_sent());
        assert!(!Failure::Timeout.nothing_sent());
        assert!(!Failure::Io(io::ErrorKind::ConnectionReset, "reset".into()).nothing_sent());
    }
}
