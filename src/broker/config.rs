//! The knobs of the broker.

use std::time::Duration;

use super::queue::QueueLimits;
#[cfg(feature = "cli")]
use super::registry::SESSION_BYTES;
#[cfg(feature = "cli")]
use super::table::MOST_CACHED;
use super::traffic::TrafficLimits;
use crate::clock::FOREVER;
use crate::extensions::Extensions;
#[cfg(feature = "cli")]
use crate::settings::Bound;
use crate::settings::{Conflict, Count, Off, Size, Switch, Time, settings};
use crate::transport::Transport;

settings! {
    /// How sessions live and what they may use. Plain data; the broker copies it at the start. The
    /// limits are checked by [`Config::check`](crate::Config::check) for servers; a broker of its
    /// own takes any values, and times above 100 years as that: [`Duration::MAX`] means for ever.
    #[derive(Clone, Debug, PartialEq)]
    pub struct BrokerConfig {
        /// The bounds of each session's queue.
        pub queue: QueueLimits = QueueLimits::default();
        /// The bounds of what is kept of requests and of what is sent.
        pub traffic: TrafficLimits = TrafficLimits::default();
        /// The protocol extensions that are on.
        pub extensions: Extensions = Extensions::default();
        /// The connection types in handshake replies, best first. What is not among them is
        /// refused. Default: all that need no connector in particular. A server says what it has.
        pub connection_types: Vec<&'static str> = CONNECTION_TYPES.to_vec();
        /// Threads that run user code, for each of the two pools. Default 2; a server has others.
        pub workers: usize = 2;
    }
    "Bayeux" {
        /// How long a connect is held when there is nothing to say.
        ///
        /// Also the most that a client may ask for. Must be shorter than what proxies and clients
        /// wait for an answer; stock clients expect about 30 s. 0s answers every connect at once.
        timeout: Duration = Time, within "0s to 1d", default "30s";

        /// How long clients are told to wait between an answer and their next connect.
        ///
        /// More than zero turns long-polling into polling: fewer requests, later messages.
        interval: Duration = Time, within "0s to 1h", default "0s";

        /// How long a session lives without a connect, on top of the interval.
        ///
        /// The time a client has to come back after its connection broke. Its messages wait in
        /// its queue until then.
        max_interval: Duration = Time, within "100ms to 1d", default "120s";

        /// The longest interval that a client may ask for.
        ///
        /// A client keeps its session alive that much longer; this bounds what forgotten
        /// clients cost.
        max_client_interval: Duration = Time, within "0s to 1h", default "60s";

        /// Accepts messages from programs that made no handshake.
        ///
        /// For scripts that only publish. Off, because nothing then stands between the network
        /// and the channels but the policy.
        anonymous_publish: bool = Switch, default "false";

        /// Sends a message also to its publisher, if it is subscribed to the channel.
        ///
        /// Stock clients expect it: a chat window shows what it sent when it comes back.
        broadcast_to_publisher: bool = Switch, default "true";

        /// Shows receivers who published, as a field `sender` of the message.
        ///
        /// A public id that tells publishers apart: it is no credential, nobody can choose it, and
        /// it is another one after a new handshake.
        expose_sender: bool = Switch, default "false";

        /// Delivers messages with answers to connects only, never with other answers.
        ///
        /// For clients that cannot cope with messages elsewhere. Costs the shortest way for what
        /// a request itself causes.
        meta_connect_deliver_only: bool = Switch, default "false";
    }
    "Sessions and queues" {
        /// Most sessions at a time.
        ///
        /// Bounds memory: an idle session costs hundreds of bytes. Once there are so many, those of
        /// the address with the most make room for others, first those that have never connected;
        /// where nobody has many more, a handshake is answered with status 503.
        max_sessions: usize = Count, within "1 or more", default "100000";

        /// Most channels and patterns a session may be subscribed to.
        ///
        /// A subscription beyond them is denied. Bounds what one client costs.
        max_subscriptions: usize = Count, within "1 or more", default "1000";

        /// Most bytes that all subscriptions together take; one beyond them is denied.
        ///
        /// A subscription takes 80 bytes, and a pattern that nobody else has 48 and its text.
        /// Clients in the server's own process are not counted.
        max_subscription_bytes: usize = Size, within "1KiB or more", default "128MiB";

        /// Most memory that messages take which wait for anybody.
        ///
        /// Beyond it the address with the most waiting for it loses first, by what `overflow` says.
        /// A message that waits for many counts once, and 16 bytes for each of them.
        max_queued_total: usize = Size, within "1KiB or more", default "256MiB";

        /// Most held connects of one IP address; one beyond them is answered with status 503.
        ///
        /// Against one machine that takes all places; addresses of IPv6 with the same first 64 bits
        /// count as one. Off, because the clients behind one company's router share an address.
        max_held_per_ip: Option<usize> = Off(Count), within "1 or more", default "off";

        /// Most that one IP address may have of what all share, in percent.
        ///
        /// So that whoever takes all there is takes it from himself. Addresses of IPv6 with the
        /// same first 64 bits count as one. 100 for a proxy in front of all clients that is not in
        /// `trusted_proxy`.
        max_share_per_ip: usize = Count, within "1 to 100", default "25";
    }
    "Browsers" {
        /// Most held connects of one browser, told apart by a cookie.
        ///
        /// A connect beyond them is answered at once and its client told to poll. HTTP/1.1
        /// browsers open six connections to a server; several windows that hold one each would
        /// leave none for pages and images.
        max_sessions_per_browser: Option<usize> = Off(Count), within "1 or more", default "1";

        /// How long the client of a connect beyond them is told to wait until its next.
        ///
        /// Shorter is livelier for windows that share a browser, and more requests.
        multiple_clients_interval: Duration = Time, within "100ms to 1h", default "2s";

        /// Binds a session to the browser that made its handshake.
        ///
        /// A message with another cookie, a made-up one, or none is refused as from an unknown
        /// session (402). A WebSocket that is opened without a cookie gets one with the answer: for
        /// a client that does not keep it, its sessions end with the socket. Off, because command
        /// line tools and some clients keep no cookies.
        require_browser_cookie: bool = Switch, default "false";
    }
}

const CONNECTION_TYPES: [&str; 3] = [
    "long-polling",
    "cross-origin-long-polling",
    "callback-polling",
];

impl BrokerConfig {
    /// What settings demand of each other: the offending key and the reason.
    pub(crate) fn conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        if self.timeout.is_zero() && self.interval < Duration::from_millis(10) {
            let message = "with a timeout of 0s clients ask again at once and without end; \
                           set an interval of 10ms or more";
            conflicts.push(Conflict::new("interval", message));
        }
        if self.queue.bytes > self.max_queued_total {
            let message = "must not be more than max_queued_total";
            conflicts.push(Conflict::new("max_queue_bytes", message));
        }
        conflicts
    }

    /// What sessions, their subscriptions and their messages may take of the memory.
    #[cfg(feature = "cli")]
    pub(crate) fn bounds(&self) -> Vec<Bound> {
        let (sessions, queued) = (self.max_sessions, self.max_queued_total);
        let subscriptions = self.max_subscription_bytes;
        vec![
            Bound::of("sessions", sessions, SESSION_BYTES, "max_sessions"),
            Bound::bytes("subscriptions", subscriptions, "max_subscription_bytes"),
            Bound::bytes("lists of receivers", MOST_CACHED, "no setting"),
            Bound::bytes("waiting messages", queued, "max_queued_total"),
        ]
    }

    /// What one owner may have of so much.
    pub(crate) fn share_of(&self, bound: usize) -> usize {
        (bound / 100).saturating_mul(self.max_share_per_ip.min(100))
    }

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
