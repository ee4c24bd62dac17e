//! One snapshot of all numbers.

use std::time::Duration;

use super::Parts;
use super::connector::Connector;
use crate::broker::BrokerStats;
use crate::counters::{Family, Kind, stats};
use crate::http::AccessLog;
use crate::log_writer::LogWriter;
use crate::refusals::Reason;

stats! {
    /// What a server does and has done.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct ServerStats {
        /// Sessions, messages, queues.
        pub broker: BrokerStats,
        /// Requests read.
        pub requests: u64,
    }
    published {
        /// What was refused; the log says more, once a minute for each reason.
        Counter "bayeux_refusals_total" ["reason"] refusals: Vec<(Reason, u64)>;
        /// Requests refused with an HTTP status other than 200.
        Counter "bayeux_requests_refused_total" ["status"] refused_statuses: Vec<(u16, u64)>;
        /// Open connections; not known of the connector `tiny-http`.
        Gauge "bayeux_connections" = connections;
        /// Connections accepted since the start; not known of the connector `tiny-http`.
        Counter "bayeux_connections_total" = accepted;
        /// Bytes read from connections; not known of the connector `tiny-http`.
        Counter "bayeux_bytes_in_total" = bytes_in;
        /// Bytes written to connections; not known of the connector `tiny-http`.
        Counter "bayeux_bytes_out_total" = bytes_out;
        /// Lines of the access log that its writer was too slow for, or could not write.
        Counter "bayeux_access_log_dropped_total" = access_log_dropped;
        /// The same of the program's log.
        Counter "bayeux_log_dropped_total" = log_dropped;
        /// Lines of the program's log that were held back, as there were too many like them.
        Counter "bayeux_log_held_back_total" = log_held_back;
        /// Bytes of lines that wait for their writer.
        Gauge "bayeux_log_waiting_bytes" by "log" {
            /// Bytes of the access log.
            access_log_waiting = "access",
            /// Bytes of the program's log.
            log_waiting = "program",
        };
    }
}

impl Parts {
    pub(super) fn stats(&self) -> ServerStats {
        let connector = self
            .connector
            .lock()
            .as_ref()
            .map(Connector::stats)
            .unwrap_or_default();
        let (access, log) = (self.site.access_log(), self.log.as_ref());
        ServerStats {
            broker: self.broker.stats(),
            connections: connector.connections,
            accepted: connector.accepted,
            requests: connector.requests,
            bytes_in: connector.bytes_in,
            bytes_out: connector.bytes_out,
            refusals: self.broker.refusals().snapshot(),
            refused_statuses: self.site.refused_statuses(),
            access_log_dropped: access.map_or(0, AccessLog::dropped),
            access_log_waiting: access.map_or(0, AccessLog::waiting),
            log_dropped: log.map_or(0, LogWriter::dropped),
            log_held_back: log.map_or(0, |log| log.held_back().get()),
            log_waiting: log.map_or(0, LogWriter::waiting),
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
    /// All that is published of a server that runs so long.
    #[cfg(feature = "ops")]
    pub(super) fn published(&self, uptime: Duration) -> Vec<Family> {
        let mut families = self.broker.families();
        for family in self.families() {
            match families.iter_mut().find(|other| other.name == family.name) {
                Some(other) => other.samples.extend(family.samples),
                None => families.push(family),
            }
        }
        let help = "Time since the start of the server.";
        let uptime =
            Family::new(Kind::Gauge, "bayeux_uptime_seconds", help).number(uptime.as_secs_f64());
        let help = "Always 1; the label tells the version.";
        let build = Family::new(Kind::Gauge, "bayeux_build_info", help)
            .by("version", [(env!("CARGO_PKG_VERSION"), 1)]);
        families.extend([uptime, build]);
        families
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_number_is_published_under_a_name_of_its_own() {
        let mut failed = BrokerStats::default().failed;
        failed[0].1 = 24;
        let broker = BrokerStats {
            sessions: 1,
            handshakes: 2,
            ended_disconnected: 22,
            ended_dismissed: 26,
            ended_expired: 27,
            ended_overflowed: 28,
            ended_evicted: 36,
            held: 3,
            subscriptions: 4,
            received: 5,
            published: 23,
            queued: 6,
            dropped_oldest: 7,
            dropped_newest: 29,
            dropped_with_session: 30,
            dropped_events: 31,
            queued_messages: 9,
            queued_bytes: 10,
            session_bytes: 37,
            message_bytes: 38,
            input_bytes: 39,
            output_bytes: 40,
            failed,
            ..BrokerStats::default()
        };
        let stats = ServerStats {
            broker,
            requests: 0,
            refusals: vec![(Reason::Origin, 25)],
            refused_statuses: vec![(413, 8)],
            connections: 11,
            accepted: 12,
            bytes_in: 13,
            bytes_out: 14,
            access_log_dropped: 21,
            log_dropped: 32,
            log_held_back: 33,
            access_log_waiting: 34,
            log_waiting: 35,
        };
        let families = stats.published(Duration::from_millis(15_500));
        let names: BTreeSet<_> = families.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), families.len());
        let told = families
            .iter()
            .filter(|family| family.name != "bayeux_build_info");
        let numbers = told
            .flat_map(|family| &family.samples)
            .map(|sample| sample.1);
        let mut numbers: Vec<f64> = numbers.filter(|number| *number != 0.0).collect();
        numbers.sort_by(f64::total_cmp);
        let mut expected: Vec<f64> = (1..=14).chain(21..=40).map(f64::from).collect();
        expected.insert(14, 15.5);
        assert_eq!(numbers, expected);
        for family in &families {
            let counts = family.kind == Kind::Counter;
            assert_eq!(family.name.ends_with("_total"), counts, "{}", family.name);
            assert!(!family.help.starts_with(' ') && family.help.ends_with('.'));
        }
    }

    #[test]
    fn labels_say_what_is_counted() {
        let mut stats = ServerStats {
            refusals: vec![(Reason::Origin, 1)],
            ..ServerStats::default()
        };
        stats.broker.dropped_newest = 2;
        let families = stats.published(Duration::ZERO);
        let numbers = |name: &str| {
            let found = families.iter().find(|family| family.name == name).unwrap();
            let labelled = |(label, number): &(Option<(&'static str, String)>, f64)| {
                let (name, value) = label.clone().unwrap();
                (name, value, *number)
            };
            found.samples.iter().map(labelled).collect::<Vec<_>>()
        };
        let origin = ("reason", "origin".to_owned(), 1.0);
        assert_eq!(numbers("bayeux_refusals_total"), [origin]);
        let newest = ("reason", "newest".to_owned(), 2.0);
        assert!(numbers("bayeux_messages_dropped_total").contains(&newest));
        let version = ("version", env!("CARGO_PKG_VERSION").to_owned(), 1.0);
        assert_eq!(numbers("bayeux_build_info"), [version]);
        // What never happened has no number.
        assert!(numbers("bayeux_requests_refused_total").is_empty());
    }
}
