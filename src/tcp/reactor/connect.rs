//! A connection to be made from here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::preconnect::PreConnect;
use crate::tcp::Address;
use crate::tcp::listener::MAX_UNSENT;

/// A request to make a connection; given to [`Turn::connect`](super::Turn::connect).
#[derive(Clone, Debug)]
pub struct Connect {
    /// Where to.
    pub address: Address,
    /// Chosen by the service, to know the connection again: see [`Io::ticket`](super::Io::ticket).
    pub ticket: u64,
    /// How long the peer may take to accept; the steps after that have their own deadline.
    pub timeout: Duration,
    /// The rest.
    pub options: ConnectOptions,
}

/// Options of a connection that is made from here.
#[derive(Clone)]
pub struct ConnectOptions {
    /// TCP_NODELAY. Default on.
    pub nodelay: bool,
    /// TCP keepalive: idle time before the first probe. Default off.
    pub keepalive: Option<Duration>,
    /// TCP_NOTSENT_LOWAT: bytes that the kernel takes beyond what the peer
    /// lets it send. Otherwise it takes megabytes for a peer that does not read. Default 128 KiB;
    /// none: as the system does. Linux and Android only.
    pub max_unsent: Option<u32>,
    /// The address of this end. Default: the system chooses.
    pub bind: Option<Address>,
    /// Steps before the service gets the connection. Default none.
    pub pre_connect: Arc<[Arc<dyn PreConnect>]>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: None,
            max_unsent: Some(MAX_UNSENT),
            bind: None,
            pre_connect: Arc::new([]),
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("nodelay", &self.nodelay)
            .field("keepalive", &self.keepalive)
            .field("max_unsent", &self.max_unsent)
            .field("bind", &self.bind)
            .field("pre_connect", &self.pre_connect.len())
            .finish()
    }
}
