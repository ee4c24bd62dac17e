//! The reactor's settings, and what it counts.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::open::PreConnect;
use crate::clock::{Clock, SystemClock};
use crate::counters::Counter;
use crate::tcp::Address;

/// Told of an error of `accept`.
pub type AcceptErrorHook = Arc<dyn Fn(&io::Error) -> AfterError + Send + Sync>;

/// Told of the peer of a connection that is closed because its address has too many.
pub type OverLimitHook = Arc<dyn Fn(&Address) + Send + Sync>;

/// What to do after an error of `accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterError {
    /// Wait a little, or until a connection is closed, and try again.
    Retry,
    /// Close the listeners; the connections stay.
    StopAccepting,
}

/// How a reactor runs. Make one with [`Config::default`] and change what differs.
#[derive(Clone)]
pub struct Config {
    /// Beginning of the thread names: `tcp` gives `tcp-accept`, `tcp-io-0`, ... Linux shows 15
    /// bytes.
    pub name: String,
    /// I/O threads. Default: one per core. At least one is started.
    pub threads: usize,
    /// Connections at a time; further ones wait in the backlog. 0 accepts none. `None`: no limit.
    /// Can be changed later.
    pub max_connections: Option<usize>,
    /// Connections at a time from one IPv4 address or one IPv6 /64 network; further ones are
    /// closed at once. Unix sockets are not counted. Default: no limit.
    pub max_per_address: Option<u32>,
    /// Bytes that may wait per connection until the kernel takes them. Default 1 MiB. A connection
    /// for which nothing waits takes any single write, so that no message is too large for ever.
    pub write_buffer: usize,
    /// Bytes that a service may leave unconsumed per connection; one that then consumes nothing is
    /// closed with `InputOverflow`. Default 2 MiB. Must hold the largest message.
    pub input_buffer: usize,
    /// Bytes that are read ahead per connection while its input is paused. Default 16 KiB; beyond
    /// it the peer is stopped by TCP's flow control. While there is room for more, a peer that
    /// closes is noticed at once; beyond it only a reset is.
    pub paused_input: usize,
    /// How long the peer may take to accept `write_progress` bytes, or the rest if that is less;
    /// then the connection is aborted. Default 30 s. `None`: for ever. Accepted is what it has
    /// acknowledged; where the system does not tell (Linux does), what the kernel has taken. The
    /// system of a peer that reads slowly acknowledges in steps, of up to half its receive buffer:
    /// for the next step it has four times as long as the last one took, if that is more, but not
    /// more than ten times `write_timeout`.
    pub write_timeout: Option<Duration>,
    /// See `write_timeout`. Default 4096; with 1, a peer that takes one byte now and then stays.
    pub write_progress: usize,
    /// How long a connection that is being closed may take to flush its output. Default 30 s.
    pub close_timeout: Duration,
    /// How long to wait, after the output is flushed, for the peer to close too, or to acknowledge
    /// more of it. Default 2 s. A socket that is closed while the peer still sends would destroy
    /// what the peer has not read.
    pub linger: Duration,
    /// Steps that every accepted connection goes through before the service gets it: an allow-list,
    /// the PROXY protocol, TLS. Default none.
    pub pre_connect: Vec<Arc<dyn PreConnect>>,
    /// How long these steps may take together. Default 10 s.
    pub pre_connect_timeout: Duration,
    /// Asked when `accept` fails for a reason that should pass, such as a lack of file descriptors.
    /// Default: wait, and try again.
    pub on_accept_error: Option<AcceptErrorHook>,
    /// Told who is turned away by `max_per_address`. Must not block. Default: nobody.
    pub on_over_limit: Option<OverLimitHook>,
    /// Size of the read buffer that the connections of a thread share, which is also the most that
    /// is read from a connection in a turn. Default 64 KiB, at least 1 KiB.
    pub read_buffer: usize,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "tcp".into(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            max_connections: None,
            max_per_address: None,
            write_buffer: 1 << 20,
            input_buffer: 2 << 20,
            paused_input: 16 << 10,
            write_timeout: Some(Duration::from_secs(30)),
            write_progress: 4096,
            close_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            pre_connect: Vec::new(),
            pre_connect_timeout: Duration::from_secs(10),
            on_accept_error: None,
            on_over_limit: None,
            read_buffer: 64 << 10,
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("threads", &self.threads)
            .field("max_connections", &self.max_connections)
            .field("pre_connect", &self.pre_connect)
            .finish_non_exhaustive()
    }
}

/// One table for what a thread counts and what is told of it. Each number is exact, together they
/// are no snapshot.
macro_rules! counted {
    ($($(#[$doc:meta])* $number:ident,)*) => {
        /// Figures of a reactor since its start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $number: u64,)*
            /// Accepted and not closed yet, including those that the service has not seen yet.
            /// Connections that were made from here are not among them.
            pub open: usize,
        }

        /// The counters of one thread.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $number: Counter,)*
        }

        impl Counters {
            pub(super) fn add_to(&self, stats: &mut Stats) {
                $(stats.$number += self.$number.get();)*
            }
        }
    };
}

counted! {
    /// Connections that the kernel handed over.
    accepted,
    /// Accepted and closed at once: too many from the same address.
    refused_by_address,
    /// Accepted and closed: a step before the service said no.
    refused_early,
    /// Accepted and closed: the steps before the service took too long.
    open_timeouts,
    /// Accepted and closed: the service said no.
    refused_by_service,
    /// Accepted and lost before the service had it: closed by the peer, or the system failed, or
    /// the thread was about to end.
    failed,
    /// Errors of `accept`, which are waited out.
    accept_errors,
    /// Connections that the service opened, accepted or made from here.
    opened,
    /// Connections of which the service was told that they are closed.
    closed,
    /// Panics of the service and of layers; each closed its connection.
    panics,
    /// Bytes read.
    bytes_in,
    /// Bytes that the kernel took.
    bytes_out,
    /// Turns of all threads: how often one woke up and worked.
    turns,
}
