//! What the broker publishes of its numbers.

use crate::counters::stats;
use crate::protocol::ERROR_CODES;

stats! {
    /// A snapshot of the broker. What is not said to be a present number is a sum since the start.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct BrokerStats {
        /// Sessions that were there when the broker stopped.
        pub ended_stopped: u64,
    }
    published {
        /// Sessions of remote clients at present.
        Gauge "bayeux_sessions" = sessions;
        /// Sessions made since the start.
        Counter "bayeux_sessions_total" = handshakes;
        /// Sessions that ended.
        Counter "bayeux_sessions_ended_total" by "reason" {
            /// Sessions that ended with a disconnect.
            ended_disconnected = "disconnected",
            /// Sessions ended by the server's program.
            ended_dismissed = "dismissed",
            /// Sessions that did not come back in time.
            ended_expired = "expired",
            /// Sessions whose queue was full.
            ended_overflowed = "overflowed",
            /// Sessions that made room for others.
            ended_evicted = "evicted",
        };
        /// Connects that wait for something to say, at present.
        Gauge "bayeux_held_connects" = held;
        /// Subscriptions of all sessions and local clients at present.
        Gauge "bayeux_subscriptions" = subscriptions;
        /// Bytes that the subscriptions of remote clients take at present.
        Gauge "bayeux_subscription_bytes" = subscription_bytes;
        /// Bytes of the lists of receivers that are remembered for channels at present.
        Gauge "bayeux_receiver_cache_bytes" = receiver_cache_bytes;
        /// Messages from clients, of every kind.
        Counter "bayeux_messages_in_total" = received;
        /// Messages that were published on broadcast channels.
        Counter "bayeux_messages_published_total" = published;
        /// Messages queued for clients, one for each receiver.
        Counter "bayeux_messages_out_total" = queued;
        /// Messages that never reached a receiver.
        Counter "bayeux_messages_dropped_total" by "reason" {
            /// Messages dropped to make room for newer ones.
            dropped_oldest = "oldest",
            /// Messages dropped because the receiver's queue was full.
            dropped_newest = "newest",
            /// Messages that were waiting for a session that ended.
            dropped_with_session = "session_ended",
            /// Events that observers were too slow for.
            dropped_events = "slow_observer",
        };
        /// Messages that failed, by the code of their error, such as 402; always all, rising.
        Counter "bayeux_messages_failed_total" ["code"] failed: [(u16, u64); ERROR_CODES.len()];
        /// Requests and events that wait for a thread of user code at present.
        Gauge "bayeux_waiting_jobs" = waiting_jobs;
        /// Messages that wait for sessions at present, one for each receiver, or are being written.
        Gauge "bayeux_queued_messages" = queued_messages;
        /// Bytes of these messages as they go to each receiver; in memory they are shared.
        Gauge "bayeux_queued_bytes" = queued_bytes;
        /// Memory at present by what it is for, as far as it grows with clients.
        Gauge "bayeux_memory_bytes" by "kind" {
            /// Memory of sessions, without what else is listed.
            session_bytes = "sessions",
            /// Memory of messages that have been queued and are still there, and of their places.
            message_bytes = "messages",
        };
        /// Bytes of requests that are being received or wait for user code, at present.
        Gauge "bayeux_input_bytes" = input_bytes;
        /// Bytes of output that waits for connections at present.
        Gauge "bayeux_output_bytes" = output_bytes;
    }
}
