//! One snapshot of all numbers.

use std::time::Duration;

use super::Parts;
use super::connector::Connector;
use crate::broker::BrokerStats;
use crate::ops::{Family, FamilyKind, Snapshot};
use crate::refusals::Reason;

/// What a server does and has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Sessions, messages, queues.
    pub broker: BrokerStats,
    /// Open connections; not known of the connector `tiny-http`.
    pub connections: u64,
    /// Connections ever accepted; not known of the connector `tiny-http`.
    pub accepted: u64,
    /// Requests read.
    pub requests: u64,
    /// Bytes read; not known of the connector `tiny-http`.
    pub bytes_in: u64,
    /// Bytes written; not known of the connector `tiny-http`.
    pub bytes_out: u64,
    /// What was refused, by reason.
    pub refusals: Vec<(Reason, u64)>,
    /// How often each status of a refusal was sent.
    pub refused_statuses: Vec<(u16, u64)>,
    /// Lines of the access log that were dropped because its writer did not keep up.
    pub access_log_dropped: u64,
}

impl Parts {
    pub(super) fn stats(&self) -> ServerStats {
        let connector = self
            .connector
            .lock()
            .as_ref()
            .map(Connector::stats)
            .unwrap_or_default();
        ServerStats {
            broker: self.broker.stats(),
            connections: connector.connections,
            accepted: connector.accepted,
            requests: connector.requests,
            bytes_in: connector.bytes_in,
            bytes_out: connector.bytes_out,
            refusals: self.broker.refusals().snapshot(),
            refused_statuses: self.site.refused_statuses(),
            access_log_dropped: self.site.access_log_dropped(),
        }
    }
}

#[cfg(feature = "cli")]
impl super::Server {
    /// A measure of the memory that clients and messages take, in about KiB. Cheap.
    pub(crate) fn in_use(&self) -> u64 {
        let connector = self.parts.connector.lock();
        let connections = connector
            .as_ref()
            .map(|running| running.stats().connections);
        let (sessions, queued_bytes) = self.parts.broker.volume();
        connections.unwrap_or(0) + (sessions + queued_bytes / 1024) as u64
    }
}

impl ServerStats {
    pub(super) fn into_snapshot(self, uptime: Duration) -> Snapshot {
        let broker = self.broker;
        Snapshot {
            sessions: broker.sessions,
            sessions_total: broker.handshakes,
            sessions_ended_total: vec![
                ("disconnected", broker.ended_disconnected),
                ("dismissed", broker.ended_dismissed),
                ("expired", broker.ended_expired),
                ("overflowed", broker.ended_overflowed),
            ],
            held_connects: broker.held,
            subscriptions: broker.subscriptions,
            messages_in_total: broker.received,
            messages_published_total: broker.published,
            messages_out_total: broker.queued,
            dropped_total: vec![
                ("oldest", broker.dropped_oldest),
                ("newest", broker.dropped_newest),
                ("session_ended", broker.dropped_with_session),
                ("slow_observer", broker.dropped_events),
            ],
            messages_failed_total: broker.failed.to_vec(),
            refusals_total: named(&self.refusals),
            refused_total: self.refused_statuses,
            queued_messages: broker.queued_messages,
            queued_bytes: broker.queued_bytes,
            connections: self.connections,
            connections_total: self.accepted,
            bytes_in_total: self.bytes_in,
            bytes_out_total: self.bytes_out,
            uptime,
            more: vec![Family::single(
                FamilyKind::Counter,
                "bayeux_access_log_dropped_total",
                "Lines of the access log that its writer was too slow for.",
                self.access_log_dropped,
            )],
            ..Snapshot::default()
        }
    }
}

/// Under their public names.
fn named(refusals: &[(Reason, u64)]) -> Vec<(&'static str, u64)> {
    refusals
        .iter()
        .map(|(reason, count)| (reason.name(), *count))
        .collect()
}
