//! Why a server does not start.

use std::fmt;
use std::io;
use std::path::PathBuf;

#[cfg(feature = "demo")]
use crate::broker::LocalError;
use crate::config::ConfigError;
use crate::http::SiteError;

/// Why a server does not start. Nothing is left running.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is out of its limits, or two exclude each other.
    Config(ConfigError),
    /// The site cannot be set up: mount, origins, document root.
    Site(SiteError),
    /// An address cannot be listened on.
    Listen {
        /// The address as it was configured.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// Threads or pollers cannot be started.
    System(io::Error),
    /// A certificate or its key cannot be used.
    #[cfg(feature = "tls")]
    Tls(crate::tcp::tls::TlsError),
    /// The access log cannot be opened.
    AccessLog {
        /// Its file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The channel of a service, or the pattern of a listener, is none.
    Channel,
    /// Linked processes cannot be let in: the key, or the start of the node.
    #[cfg(feature = "link")]
    Link(String),
    /// The demo's services cannot be installed.
    #[cfg(feature = "demo")]
    Demo(LocalError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Site(error) => error.fmt(f),
            Self::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::System(error) => write!(f, "the system refuses what a server needs: {error}"),
            #[cfg(feature = "tls")]
            Self::Tls(error) => error.fmt(f),
            Self::AccessLog { path, source } => {
                write!(f, "access log {}: {source}", path.display())
            }
            Self::Channel => f.write_str("the channel of a service or listener is not valid"),
            #[cfg(feature = "link")]
            Self::Link(why) => write!(f, "no processes can be linked: {why}"),
            #[cfg(feature = "demo")]
            Self::Demo(error) => write!(f, "the demo cannot be installed: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Site(error) => Some(error),
            Self::Listen { source, .. } => Some(source),
            Self::System(error) => Some(error),
            #[cfg(feature = "tls")]
            Self::Tls(error) => Some(error),
            Self::AccessLog { source, .. } => Some(source),
            Self::Channel => None,
            #[cfg(feature = "link")]
            Self::Link(_) => None,
            #[cfg(feature = "demo")]
            Self::Demo(error) => Some(error),
        }
    }
}
