//! What can go wrong, for posters, callers, exporters and links.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use super::{InvalidName, NodeId};
use crate::tcp::reactor::CloseReason;

/// A post was not accepted: nothing of it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostError {
    /// The alias or the event is no valid name, or a reserved one.
    Name(InvalidName),
    /// The arguments cannot be written as JSON.
    Args(String),
    /// The message is longer than `Limits::max_message`.
    TooLarge {
        /// Its length in bytes.
        length: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// Nobody exports the alias.
    UnknownAlias,
    /// So many messages or bytes wait for the receiver already.
    Full,
    /// The node was shut down.
    Stopped,
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "invalid name {name}"),
            Self::Args(why) => write!(f, "the arguments cannot be sent: {why}"),
            Self::TooLarge { length, max } => write!(f, "{length} bytes, {max} are allowed"),
            Self::UnknownAlias => f.write_str("nobody exports this alias"),
            Self::Full => f.write_str("too much waits for the receiver already"),
            Self::Stopped => f.write_str("the node was shut down"),
        }
    }
}

impl std::error::Error for PostError {}

impl From<InvalidName> for PostError {
    fn from(name: InvalidName) -> Self {
        Self::Name(name)
    }
}

/// A call brought no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// It was not sent.
    NotSent(PostError),
    /// No answer in time. It may have been carried out.
    Timeout,
    /// The node that was called cannot be reached any more. It may have been carried out.
    PeerLost(NodeId),
    /// It was called, and says that it failed.
    Fault(Fault),
    /// The answer is not of the type that was asked for.
    Answer(String),
    /// This node was shut down.
    Stopped,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => error.fmt(f),
            Self::Timeout => f.write_str("no answer in time"),
            Self::PeerLost(node) => write!(f, "the node {node} was lost during the call"),
            Self::Fault(fault) => fault.fmt(f),
            Self::Answer(why) => write!(f, "the answer is not what was expected: {why}"),
            Self::Stopped => f.write_str("the node was shut down"),
        }
    }
}

impl std::error::Error for CallError {}

impl From<PostError> for CallError {
    fn from(error: PostError) -> Self {
        match error {
            PostError::Stopped => Self::Stopped,
            error => Self::NotSent(error),
        }
    }
}

/// What a receiver says of a message that it did not carry out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What kind of failure.
    pub kind: FaultKind,
    /// More of it, for people.
    #[serde(default)]
    pub text: String,
}

/// Kinds of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The alias is not exported there (any more).
    UnknownAlias,
    /// The handler does not know the event.
    UnknownEvent,
    /// The arguments are not what the handler expects.
    InvalidArgs,
    /// The sender may not do that.
    Denied,
    /// A node on the way does not take messages of this length.
    TooLarge,
    /// The time of the call was over before it began.
    Expired,
    /// The handler panicked.
    Panic,
    /// The handler returned without an answer.
    NoAnswer,
    /// Anything else; the text says what.
    #[serde(other)]
    Failed,
}

impl Fault {
    /// A failure of the given kind.
    pub fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text }
    }

    /// A failure that only its text describes.
    pub fn failed(text: impl fmt::Display) -> Self {
        Self::new(FaultKind::Failed, text.to_string())
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAlias => "unknown alias",
            Self::UnknownEvent => "unknown event",
            Self::InvalidArgs => "invalid arguments",
            Self::Denied => "denied",
            Self::TooLarge => "too large for a node on the way",
            Self::Expired => "the time was over before it began",
            Self::Panic => "the handler panicked",
            Self::NoAnswer => "the handler gave no answer",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            return self.kind.fmt(f);
        }
        write!(f, "{}: {}", self.kind, self.text)
    }
}

impl std::error::Error for Fault {}

/// An alias was not exported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportError {
    /// It is no valid name, or a reserved one.
    Name(InvalidName),
    /// Somebody exports it, and at least one of the two does not share it.
    Taken {
        /// Who.
        owner: NodeId,
    },
    /// This node exports so many already.
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The node was shut down.
    Stopped,
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "invalid name {name}"),
            Self::Taken { owner } => write!(f, "the alias belongs to the node {owner}"),
            Self::TooMany { max } => write!(f, "this node exports {max} aliases already"),
            Self::Stopped => f.write_str("the node was shut down"),
        }
    }
}

impl std::error::Error for ExportError {}

impl From<InvalidName> for ExportError {
    fn from(name: InvalidName) -> Self {
        Self::Name(name)
    }
}

/// Why a link ended, or was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEnd {
    /// No hello and proof within `Limits::hello_timeout`.
    NoHello,
    /// The peer speaks no version that is spoken here.
    Version {
        /// The oldest and newest that it speaks.
        theirs: (u16, u16),
    },
    /// The peer does not know the key, or claims a name that is not allowed: with TLS, one that its
    /// certificate is not for; or the id of a node that is linked under another name.
    Denied,
    /// The peer is this node itself.
    Myself,
    /// The peer sent what it must not.
    Protocol(String),
    /// Nothing came within `Limits::ping_interval` and `Limits::ping_timeout`.
    Silent,
    /// More waits for the peer than the link may hold.
    Overflow,
    /// The address cannot be resolved.
    Resolve(String),
    /// TLS was not agreed on, or one end does not accept the certificate of the other.
    Tls(TlsFailure),
    /// The connection ended, or was not made.
    Connection(CloseReason),
    /// The peer closed it on purpose; its reason, at most 200 characters of it.
    Bye(String),
    /// This node was shut down, or the link was closed from here.
    Closed,
}

impl LinkEnd {
    /// What a peer says that may not have proved who it is, for logs and terminals.
    pub(crate) fn bye(reason: &str) -> Self {
        Self::Bye(quoted(reason))
    }

    /// What the peer has sent is wrong for that reason, which may quote it.
    pub(crate) fn protocol(error: impl fmt::Display) -> Self {
        Self::Protocol(quoted(&error.to_string()))
    }
}

/// What comes from a peer, as it is kept: not longer than this, and without control characters.
fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_CHARS).map(plain).collect()
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHello => f.write_str("no hello in time"),
            Self::Version { theirs } => {
                write!(f, "the peer speaks versions {} to {}", theirs.0, theirs.1)
            }
            Self::Denied => f.write_str("wrong key or name"),
            Self::Myself => f.write_str("the peer is this node itself"),
            Self::Protocol(what) => write!(f, "protocol: {what}"),
            Self::Silent => f.write_str("the peer is silent"),
            Self::Overflow => f.write_str("too much waits for the peer"),
            Self::Resolve(why) => f.write_str(why),
            Self::Tls(failure) => failure.fmt(f),
            Self::Connection(reason) => reason.fmt(f),
            Self::Bye(reason) => write!(f, "closed by the peer: {reason}"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

impl std::error::Error for LinkEnd {}

/// What went wrong with TLS on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The peer has shown no certificate.
    NoCertificate,
    /// The peer's certificate is not accepted: of an unknown signer, out of date, for another host
    /// or purpose.
    Certificate(String),
    /// The peer says that it does not accept what it was shown, or cannot go on.
    Refused(String),
    /// Anything else; most often the peer does not speak TLS.
    Failed(String),
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("TLS: the peer has shown no certificate"),
            Self::Certificate(why) | Self::Refused(why) | Self::Failed(why) => {
                write!(f, "TLS: {why}")
            }
        }
    }
}

impl std::error::Error for TlsFailure {}

/// A key that cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// It has fewer bytes than [`MIN_KEY`](super::MIN_KEY).
    TooShort {
        /// How many.
        length: usize,
    },
    /// The file cannot be read.
    File(io::Error),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { length } => {
                write!(f, "a key of {length} bytes; it needs {}", super::MIN_KEY)
            }
            Self::File(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KeyError {}
