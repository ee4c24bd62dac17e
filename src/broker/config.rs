//! The knobs of the broker.

use std::time::Duration;

use super::queue::QueueLimits;
use crate::clock::FOREVER;
use crate::extensions::Extensions;
use crate::transport::Transport;

/// How sessions live and what they may use. Plain data; the broker copies it at the start. Times
/// above 100 years count as that: [`Duration::MAX`] means for ever.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// How long a connect is held. Default 30 s, below the idle limits of common proxies. Also the
    /// most a client may ask for in `advice.timeout`.
    pub timeout: Duration,
    /// How long clients are told to wait between two connects. Default 0.
    pub interval: Duration,
    /// How long a session lives after interval without a connect. Default 120 s.
    pub max_interval: Duration,
    /// The most a client may ask for in `advice.interval`. Default 60 s.
    pub max_client_interval: Duration,
    /// Whether a publish without `clientId` is accepted. Default false.
    pub anonymous_publish: bool,
    /// Whether a publisher that is subscribed gets its own messages. Default true.
    pub broadcast_to_publisher: bool,
    /// Whether receivers see a public id of the publisher, as `sender`. Default false.
    pub expose_sender: bool,
    /// Whether messages leave with connect replies only. Default false.
    pub meta_connect_deliver_only: bool,
    /// Whether a session is found only with the browser cookie of its handshake, or of the socket
    /// that it came over. Default false, since many clients have no cookies.
    pub require_browser_cookie: bool,
    /// The bounds of each session's queue.
    pub queue: QueueLimits,
    /// Most bytes in all queues together; beyond it the largest loses first. Default 1 GiB.
    pub max_queued_total: usize,
    /// Most sessions of remote clients; beyond it handshakes are refused with 503. Default 100,000.
    pub max_sessions: usize,
    /// Most subscriptions of one session. Default 1000.
    pub max_subscriptions: usize,
    /// Most held connects from one address; beyond it connects are refused with 503. Default none.
    pub max_held_per_ip: Option<usize>,
    /// Most held connects of one browser; beyond it connects are answered at once with the advice
    /// to poll slowly. Default 1.
    pub max_sessions_per_browser: Option<usize>,
    /// How slowly. Default 2 s.
    pub multiple_clients_interval: Duration,
    /// The protocol extensions that are on. Default none.
    pub extensions: Extensions,
    /// The connection types in handshake replies, best first. What is not among them is refused.
    pub connection_types: Vec<&'static str>,
    /// Threads that run user code, for each of the two pools. Default 2.
    pub workers: usize,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            interval: Duration::ZERO,
            max_interval: Duration::from_secs(120),
            max_client_interval: Duration::from_secs(60),
            anonymous_publish: false,
            broadcast_to_publisher: true,
            expose_sender: false,
            meta_connect_deliver_only: false,
            require_browser_cookie: false,
            queue: QueueLimits::default(),
            max_queued_total: 1 << 30,
            max_sessions: 100_000,
            max_subscriptions: 1000,
            max_held_per_ip: None,
            max_sessions_per_browser: Some(1),
            multiple_clients_interval: Duration::from_secs(2),
            extensions: Extensions::default(),
            connection_types: vec![
                "long-polling",
                "cross-origin-long-polling",
                "callback-polling",
            ],
            workers: 2,
        }
    }
}

impl BrokerConfig {
    /// With times that can be added to the present.
    pub(crate) fn bounded(mut self) -> Self {
        let times = [
            &mut self.timeout,
            &mut self.interval,
            &mut self.max_interval,
            &mut self.max_client_interval,
            &mut self.multiple_clients_interval,
        ];
        for time in times {
            *time = FOREVER.min(*time);
        }
        self
    }

    /// How long a session lives after a connect reply.
    pub(crate) fn lifetime(&self, asked_interval_ms: Option<u64>) -> Duration {
        Duration::from_millis(self.interval_ms(asked_interval_ms)) + self.max_interval
    }

    /// How long a session lives after its handshake, if it never connects.
    pub(crate) fn first_lifetime(&self) -> Duration {
        self.interval + self.max_interval.min(NEVER_CONNECTED)
    }

    /// The interval in force for one connect.
    pub(crate) fn interval_ms(&self, asked_ms: Option<u64>) -> u64 {
        let own = millis(self.interval);
        asked_ms.map_or(own, |asked| {
            asked.min(millis(self.max_client_interval).max(own))
        })
    }

    /// Whether connects may be held by POST.
    pub(crate) fn long_polling(&self) -> bool {
        self.connection_types
            .contains(&Transport::LongPolling.name())
    }

    /// The hold in force for one connect.
    pub(crate) fn timeout(&self, asked_ms: Option<u64>) -> Duration {
        asked_ms.map_or(self.timeout, |asked| {
            self.timeout.min(Duration::from_millis(asked))
        })
    }

    pub(crate) fn timeout_ms(&self) -> u64 {
        millis(self.timeout)
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A client that never connects after its handshake is given up after so long.
const NEVER_CONNECTED: Duration = Duration::from_secs(30);
