//! The connector's knobs.

use std::sync::Arc;
use std::time::Duration;

use crate::tcp::reactor::PreConnect;
#[cfg(feature = "tls")]
use crate::tcp::tls::TlsAcceptor;

/// As good as no limit.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How the native connector runs. Make one with [`NativeConfig::default`] and change what differs.
#[derive(Clone, Debug)]
pub struct NativeConfig {
    /// What its threads' names begin with. Default `bayeux`.
    pub name: &'static str,
    /// I/O threads, each with its own connections. Default: one per core.
    pub io_threads: usize,
    /// Connections at a time; further ones wait in the backlog. Default `None`: no limit.
    pub max_connections: Option<usize>,
    /// Connections at a time from one IPv4 address or one IPv6 /64 network; further ones are closed
    /// at once. Default `None`: no limit, since many people may share an address.
    pub max_connections_per_ip: Option<u32>,
    /// How long a request head may take from its first byte, and how long a new connection may say
    /// nothing. Default 10 s. After it 408, or a silent close.
    pub header_timeout: Duration,
    /// How long a request body may take from the end of its head. Default 30 s. After it 408.
    pub body_timeout: Duration,
    /// How long a connection may stay open without a request after an answer was received. Default
    /// 75 s, more than the interval that clients are told and less than what most proxies assume.
    pub idle_timeout: Duration,
    /// How long the peer may take to accept the next 4 KiB of output; then the connection is cut.
    /// Default 30 s.
    pub write_timeout: Duration,
    /// Bytes of a request head, request line included. Default 16 KiB, twice what browsers are used
    /// to. Beyond it 414 or 431, depending on where it was crossed.
    pub max_header: usize,
    /// Bytes of unfinished requests over all connections. Default 256 MiB. A request that would
    /// bring it above gets 503.
    pub max_input_total: usize,
    /// Bytes of a message on a WebSocket, over all its fragments. Default 1 MiB. Beyond it the
    /// socket is closed with 1009.
    pub max_message: usize,
    /// A WebSocket whose peer has sent nothing for so long is sent a ping. Default 30 s.
    pub ping_interval: Duration,
    /// How long the peer may take to send anything after a ping; then the socket is cut. Default
    /// 10 s.
    pub ping_timeout: Duration,
    /// Steps before a connection is served, and before TLS: the PROXY protocol of a trusted proxy,
    /// an allow-list. They have `header_timeout` for all. Default none.
    pub pre_connect: Vec<Arc<dyn PreConnect>>,
    /// Serves by TLS, with `header_timeout` for the handshake too. Default `None`: plain.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<TlsAcceptor>>,
}

impl NativeConfig {
    /// The same with times that can be added to any time of the clock.
    pub(super) fn bounded(mut self) -> Self {
        for time in [
            &mut self.header_timeout,
            &mut self.body_timeout,
            &mut self.idle_timeout,
            &mut self.write_timeout,
            &mut self.ping_interval,
            &mut self.ping_timeout,
        ] {
            *time = LONGEST.min(*time);
        }
        self
    }

    /// Whether peers are served by TLS.
    #[cfg(feature = "tls")]
    pub(super) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether peers are served by TLS.
    #[cfg(not(feature = "tls"))]
    pub(super) fn is_secure(&self) -> bool {
        false
    }
}

impl Default for NativeConfig {
    fn default() -> Self {
        Self {
            name: "bayeux",
            io_threads: std::thread::available_parallelism().map_or(1, usize::from),
            max_connections: None,
            max_connections_per_ip: None,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            max_header: 16 << 10,
            max_input_total: 256 << 20,
            max_message: 1 << 20,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(10),
            pre_connect: Vec::new(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}
