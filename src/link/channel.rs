//! What may lie under a link, between it and the socket, as the link sees it: something that
//! encrypts, and knows who the peer is.

use std::fmt;
use std::sync::Arc;

use super::key::{Key, Role};
use crate::tcp::reactor::Layer;

/// Makes what lies under each connection of a node.
pub(crate) trait Security: fmt::Debug + Send + Sync {
    /// For a new connection. `address` is whom it has called, or who has called.
    fn begin(&self, role: Role, address: &str) -> Result<Begun, TlsFailure>;
}

/// A layer, and what the link can ask of it.
pub(crate) type Begun = (Box<dyn Layer>, Arc<dyn Channel>);

/// The layer of one connection.
pub(crate) trait Channel: Send + Sync {
    /// Whether its handshake is over, and anything can be sent.
    fn is_ready(&self) -> bool;

    /// Whether the peer has proved that it may call itself that.
    fn allows(&self, name: &str) -> bool;

    /// A secret of this connection, which only its two ends have.
    fn key(&self) -> Option<&Key>;

    /// Why it has ended the connection, if it has.
    fn failure(&self) -> Option<TlsFailure>;
}

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
