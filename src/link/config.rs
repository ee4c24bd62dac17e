//! The knobs of a node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::hello::Security;
use super::key::{Key, Keys};
use crate::clock::FOREVER;
use crate::tcp::client::Backoff;
use crate::tcp::reactor::PreConnect;

/// Where nodes listen and connect to, unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:2021";

/// How a [`Node`](super::Node) runs. Make one with [`Config::new`] and change what differs.
#[derive(Clone)]
pub struct Config {
    /// What the node is called. Default: `node-` and a random number. Should tell it from others,
    /// since messages can be addressed to `name/alias`.
    pub name: Option<String>,
    /// Who is let in. Over mutual TLS peers need no key; one that is given here is asked for as
    /// well, and has to be given at both ends.
    pub keys: Keys,
    /// What the node can do beyond the protocol, for [`Peer::features`](super::Peer::features).
    pub features: Vec<String>,
    /// Sizes and times.
    pub limits: Limits,
    /// Threads that run handlers. Default: twice the cores, at least 4. So many handlers that block
    /// at the same time hold up the others.
    pub workers: usize,
    /// I/O threads of each listener, and of all outgoing links together. Default 1.
    pub io_threads: usize,
    /// Connections at a time per listener; further ones wait in the backlog. Default 10,000.
    pub max_connections: usize,
    /// Waits between attempts to connect. Default: 500 ms, doubled up to 30 s, half of it random.
    pub backoff: Backoff,
    /// Steps that accepted connections go through before anything is said, such as an allow-list
    /// or the PROXY protocol. Default none.
    pub accept_steps: Vec<Arc<dyn PreConnect>>,
    /// The same for connections that are made from here.
    pub connect_steps: Vec<Arc<dyn PreConnect>>,
    /// What is put under every connection after these steps.
    pub(crate) security: Option<Arc<dyn Security>>,
}

impl Config {
    /// Everything as by default, and one key for all peers.
    pub fn new(key: Key) -> Self {
        Self::with_keys(Keys::common(key))
    }

    /// Everything as by default, and these keys; without any, TLS has to say who is let in.
    pub(crate) fn with_keys(keys: Keys) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            name: None,
            keys,
            features: Vec::new(),
            limits: Limits::default(),
            workers: (2 * cores).max(4),
            io_threads: 1,
            max_connections: 10_000,
            backoff: Backoff::default(),
            accept_steps: Vec::new(),
            connect_steps: Vec::new(),
            security: None,
        }
    }

    /// As [`new`](Self::new), with a name.
    pub fn named(name: &str, key: Key) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..Self::new(key)
        }
    }

    /// Everything as by default, with TLS and certificates of both ends instead of a key. The name
    /// has to be one that the node's certificate is for, so it must look like a host name.
    #[cfg(feature = "tls")]
    pub fn with_tls(name: &str, tls: super::Tls) -> Self {
        let mut config = Self {
            name: Some(name.to_owned()),
            ..Self::with_keys(Keys::none())
        };
        config.set_tls(tls);
        config
    }

    /// Puts TLS with certificates of both ends under all links, beside the [`keys`](Self::keys).
    #[cfg(feature = "tls")]
    pub fn set_tls(&mut self, tls: super::Tls) {
        self.security = Some(Arc::new(tls));
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("features", &self.features)
            .field("limits", &self.limits)
            .field("workers", &self.workers)
            .field("io_threads", &self.io_threads)
            .field("max_connections", &self.max_connections)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

/// Sizes and times of a node.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest message, event and arguments together, in bytes. Default 256 KiB, at most 1 GiB.
    pub max_message: usize,
    /// Messages to one alias of one node that may be under way or wait. Default 4096.
    pub outbox_messages: usize,
    /// Bytes of messages to one alias of one node that may wait. Default 4 MiB.
    pub outbox_bytes: usize,
    /// Messages that may wait for one handler of this node. Default 16,384; senders are slowed down
    /// from half of it.
    pub inbox_messages: usize,
    /// Bytes that may wait for one handler. Default 64 MiB.
    pub inbox_bytes: usize,
    /// Messages that one sender may have under way to one handler of this node. Default 1024,
    /// from 1 to 2^32.
    pub window: u64,
    /// Messages to all aliases that nobody exports yet. Default 4096.
    pub parked_messages: usize,
    /// Their bytes. Default 4 MiB.
    pub parked_bytes: usize,
    /// Bytes that may wait for one link. Default 16 MiB, at most 1 GiB. What is passed on for
    /// others is dropped at half of it, and sent again by its origin; at all of it the link is cut.
    /// All that is known of other nodes, see [`max_known`](Self::max_known), may wait besides.
    pub link_buffer: usize,
    /// Aliases that this node may export. Default 2000.
    pub max_exports: usize,
    /// Other nodes that are known at a time. Default 10,000.
    pub max_nodes: usize,
    /// Bytes of what is known of other nodes, over all: names, aliases, links. Default 64 MiB. Of
    /// one node it is no more than about 1 MiB. What is too much is not believed.
    pub max_known: usize,
    /// Calls that wait for their answer. Default 65,536.
    pub max_calls: usize,
    /// How many nodes a message may go over. Default 32.
    pub max_hops: u8,
    /// Events that wait for observers; what is too much for them is dropped and counted. Default
    /// 65,536.
    pub max_events: usize,
    /// How long a peer may take for hello and proof, and TLS before them. Default 15 s.
    pub hello_timeout: Duration,
    /// Ask whether the peer is there when nothing has come for so long. Default 15 s.
    pub ping_interval: Duration,
    /// How long it may take to answer. Default 15 s.
    pub ping_timeout: Duration,
    /// How long messages to a node that cannot be reached wait for its return. Default 30 s.
    pub outbox_time: Duration,
    /// After so long without progress the receiver is asked what has arrived. Default 1 s; doubled
    /// up to 8 times that; at least 1 ms.
    pub probe_after: Duration,
    /// How long a receipt may wait for others to go with it. Default 10 ms.
    pub receipt_delay: Duration,
    /// How long a node that cannot be reached is remembered. Default 120 s.
    pub forget_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 256 << 10,
            outbox_messages: 4096,
            outbox_bytes: 4 << 20,
            inbox_messages: 16_384,
            inbox_bytes: 64 << 20,
            window: 1024,
            parked_messages: 4096,
            parked_bytes: 4 << 20,
            link_buffer: 16 << 20,
            max_exports: 2000,
            max_nodes: 10_000,
            max_known: 64 << 20,
            max_calls: 65_536,
            max_hops: 32,
            max_events: 65_536,
            hello_timeout: Duration::from_secs(15),
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(15),
            outbox_time: Duration::from_secs(30),
            probe_after: Duration::from_secs(1),
            receipt_delay: Duration::from_millis(10),
            forget_after: Duration::from_secs(120),
        }
    }
}

/// With no time between probes there would be nothing but probes.
const SHORTEST: Duration = Duration::from_millis(1);
/// The most bytes of a message or for a link: the length of a frame has 32 bits.
const MOST: usize = 1 << 30;

impl Limits {
    /// The same, with times that can be added to any time (what is longer is [`FOREVER`]), and
    /// sizes whose sums fit into their numbers.
    pub(crate) fn bounded(mut self) -> Self {
        for time in [
            &mut self.hello_timeout,
            &mut self.ping_interval,
            &mut self.ping_timeout,
            &mut self.outbox_time,
            &mut self.probe_after,
            &mut self.receipt_delay,
            &mut self.forget_after,
        ] {
            *time = (*time).min(FOREVER);
        }
        for size in [&mut self.max_message, &mut self.link_buffer] {
            *size = (*size).min(MOST);
        }
        self.window = self.window.clamp(1, 1 << 32);
        self.probe_after = self.probe_after.max(SHORTEST);
        self
    }

    /// Longest frame that is taken: a message with its header, or what a node says of itself.
    pub(crate) fn max_frame(&self) -> usize {
        // States of nodes rely on it that this is no less than 1 MiB.
        (self.max_message + 1024).max(1 << 20)
    }
}
