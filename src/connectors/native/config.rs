//! The connector's settings.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::BrokerConfig;
use crate::settings::{Auto, Count, Off, Size, Time, settings};
use crate::tcp::reactor::PreConnect;
#[cfg(feature = "tls")]
use crate::tcp::tls::TlsAcceptor;
use crate::util::machine;

/// As good as no limit.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

settings! {
    /// How the native connector runs. The limits are checked by
    /// [`Config::check`](crate::Config::check) for servers; a connector of its own takes any
    /// values, and times above a year as that.
    #[derive(Clone, Debug)]
    pub struct NativeConfig {
        /// What its threads' names begin with. Default `bayeux`.
        pub name: &'static str = "bayeux";
        /// Steps before a connection is served, and before TLS: the PROXY protocol of a trusted
        /// proxy, an allow-list. They have `header_timeout` for all. Default none.
        pub pre_connect: Vec<Arc<dyn PreConnect>> = Vec::new();
        /// Serves by TLS, with `header_timeout` for the handshake too. Default `None`: plain.
        #[cfg(feature = "tls")]
        pub tls: Option<Arc<TlsAcceptor>> = None;
    }
    "Requests" {
        /// Most bytes of a message on a WebSocket; beyond them the socket is closed with 1009.
        ///
        /// `auto`: as many as `max_body`, since the same clients send the same messages either way;
        /// for a connector without a server 1 MiB.
        max_message: Option<usize> = Auto(Size), within "256B or more", default "auto",
            native_only;

        /// Most bytes of a request's head; beyond them status 431, or 414 for the target.
        ///
        /// Callback-polling carries its messages in the target.
        max_header: usize = Size, within "1KiB to 1MiB", default "16KiB", native_only;

        /// How long the head of a request may take; then status 408.
        header_timeout: Duration = Time, within "100ms to 1h", default "10s", native_only;

        /// How long the body of a request may take; then status 408.
        body_timeout: Duration = Time, within "100ms to 1h", default "30s", native_only;

        /// How long a connection without a request is kept.
        ///
        /// Longer than a proxy in front keeps its connections, else it may send a request
        /// into one that is just being closed.
        idle_timeout: Duration = Time, within "100ms to 1d", default "75s", native_only;

        /// How long the peer may acknowledge nothing; then the connection is closed.
        ///
        /// One that reads slowly shows it in large steps: it has longer for the next one when the
        /// last one took long, up to ten times as long.
        write_timeout: Duration = Time, within "100ms to 1h", default "30s";

        /// How long a WebSocket's peer may say nothing before it is sent a ping.
        ///
        /// Keeps the socket open where somebody on the way closes what is idle, and finds peers
        /// that are gone without a word.
        ping_interval as "websocket_ping_interval": Duration = Time, within "100ms to 1h",
            default "30s", native_only;

        /// How long the peer may take to answer a ping; then the WebSocket is cut.
        ping_timeout as "websocket_ping_timeout": Duration = Time, within "100ms to 1h",
            default "10s", native_only;

        /// Most connections at a time.
        ///
        /// Each needs a file of the process, whose limit the program raises as far as the system
        /// allows.
        max_connections: usize = Count, within "1 or more",
            default "90 % of the file limit" from machine::connections, native_only;

        /// Most connections of one IP address at a time.
        ///
        /// Off, because the clients behind one company's router, or behind a proxy, share one: what
        /// is counted is who connects, whatever a proxy tells, with proxy_protocol too.
        max_connections_per_ip: Option<usize> = Off(Count), within "1 or more",
            default "off", native_only;
    }
    "Threads" {
        /// Threads that read and write connections.
        io_threads: usize = Count, within "1 to 256",
            default "one for each core" from machine::io_threads, native_only;
    }
}

impl NativeConfig {
    /// Most bytes of a message on a WebSocket.
    pub(super) fn message_limit(&self) -> usize {
        self.max_message.unwrap_or(1 << 20)
    }

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

/// The time limits of WebSockets.
#[derive(Clone, Copy)]
pub(super) struct SocketLimits {
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
    /// For a message, from its first byte to its last.
    pub(super) message: Duration,
    /// For a socket without a session.
    pub(super) no_session: Duration,
}

impl SocketLimits {
    pub(super) fn new(config: &NativeConfig, broker: &BrokerConfig) -> Self {
        Self {
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            message: config.body_timeout,
            no_session: broker.max_interval,
        }
    }
}
