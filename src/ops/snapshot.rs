//! The numbers of a server at one moment, and the names under which they are published.

use std::time::Duration;

use super::exposition::Family;
use super::exposition::FamilyKind::{Counter, Gauge};
use super::process::Process;

/// The numbers of a server at one moment. Plain data: who fills it decides how to collect it.
///
/// Totals count since the start of the server; all else is how it is now.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Sessions.
    pub sessions: u64,
    /// Sessions ever made.
    pub sessions_total: u64,
    /// Sessions that ended, by reason.
    pub sessions_ended_total: Vec<(&'static str, u64)>,
    /// Connects that are held.
    pub held_connects: u64,
    /// Subscriptions of all sessions and local clients.
    pub subscriptions: u64,
    /// Messages from clients, of every kind.
    pub messages_in_total: u64,
    /// Messages that were published on broadcast channels.
    pub messages_published_total: u64,
    /// Messages for clients, one for each receiver.
    pub messages_out_total: u64,
    /// Messages that never reached a receiver, by reason.
    pub dropped_total: Vec<(&'static str, u64)>,
    /// What was refused, by reason.
    pub refusals_total: Vec<(&'static str, u64)>,
    /// Requests refused with an HTTP status other than 200, by status.
    pub refused_total: Vec<(u16, u64)>,
    /// Messages that failed, by the code of their error.
    pub messages_failed_total: Vec<(u16, u64)>,
    /// Messages that wait for sessions, one for each receiver.
    pub queued_messages: u64,
    /// Bytes of these.
    pub queued_bytes: u64,
    /// Open connections.
    pub connections: u64,
    /// Connections ever accepted.
    pub connections_total: u64,
    /// Bytes read from connections.
    pub bytes_in_total: u64,
    /// Bytes written to connections.
    pub bytes_out_total: u64,
    /// Time since the start of the server.
    pub uptime: Duration,
    /// What the system says; absent in [`Snapshot::default`].
    pub process: Process,
    /// More, of a connector or of the embedder's own.
    pub more: Vec<Family>,
}

impl Snapshot {
    /// The numbers under their public names.
    pub fn families(&self) -> Vec<Family> {
        let mut families = self.broker_families();
        families.extend(self.connection_families());
        families.extend(self.process_families());
        families.extend(self.more.iter().cloned());
        families
    }

    fn broker_families(&self) -> Vec<Family> {
        vec![
            Family::single(Gauge, "bayeux_sessions", "Sessions.", self.sessions),
            Family::single(
                Counter,
                "bayeux_sessions_total",
                "Sessions made since the start.",
                self.sessions_total,
            ),
            Family::by(
                Counter,
                "bayeux_sessions_ended_total",
                "Sessions that ended.",
                "reason",
                self.sessions_ended_total.iter().copied(),
            ),
            Family::single(
                Gauge,
                "bayeux_held_connects",
                "Connects that wait for something to say.",
                self.held_connects,
            ),
            Family::single(
                Gauge,
                "bayeux_subscriptions",
                "Subscriptions of all sessions and local clients.",
                self.subscriptions,
            ),
            Family::single(
                Counter,
                "bayeux_messages_in_total",
                "Messages from clients, of every kind.",
                self.messages_in_total,
            ),
            Family::single(
                Counter,
                "bayeux_messages_published_total",
                "Messages that were published on broadcast channels.",
                self.messages_published_total,
            ),
            Family::single(
                Counter,
                "bayeux_messages_out_total",
                "Messages for clients, one for each receiver.",
                self.messages_out_total,
            ),
            Family::by(
                Counter,
                "bayeux_messages_dropped_total",
                "Messages that never reached a receiver.",
                "reason",
                self.dropped_total.iter().copied(),
            ),
            Family::by(
                Counter,
                "bayeux_messages_failed_total",
                "Messages that failed, by the code of their error.",
                "code",
                self.messages_failed_total.iter().copied(),
            ),
            Family::single(
                Gauge,
                "bayeux_queued_messages",
                "Messages that wait for sessions, one for each receiver.",
                self.queued_messages,
            ),
            Family::single(
                Gauge,
                "bayeux_queued_bytes",
                "Bytes of the messages that wait for sessions.",
                self.queued_bytes,
            ),
        ]
    }

    fn connection_families(&self) -> Vec<Family> {
        vec![
            Family::by(
                Counter,
                "bayeux_refusals_total",
                "What was refused; the log says more, once a minute for each reason.",
                "reason",
                self.refusals_total.iter().copied(),
            ),
            Family::by(
                Counter,
                "bayeux_requests_refused_total",
                "Requests refused with an HTTP status other than 200.",
                "status",
                self.refused_total.iter().copied(),
            ),
            Family::single(
                Gauge,
                "bayeux_connections",
                "Open connections.",
                self.connections,
            ),
            Family::single(
                Counter,
                "bayeux_connections_total",
                "Connections accepted since the start.",
                self.connections_total,
            ),
            Family::single(
                Counter,
                "bayeux_bytes_in_total",
                "Bytes read from connections.",
                self.bytes_in_total,
            ),
            Family::single(
                Counter,
                "bayeux_bytes_out_total",
                "Bytes written to connections.",
                self.bytes_out_total,
            ),
        ]
    }

    fn process_families(&self) -> Vec<Family> {
        let mut families = vec![
            Family::single(
                Gauge,
                "bayeux_uptime_seconds",
                "Time since the start of the server.",
                self.uptime.as_secs_f64(),
            ),
            Family::by(
                Gauge,
                "bayeux_build_info",
                "Always 1; the label tells the version.",
                "version",
                [(env!("CARGO_PKG_VERSION"), 1)],
            ),
        ];
        let Process {
            cpu_seconds,
            resident_bytes,
            open_files,
            file_limit,
            threads,
        } = self.process;
        if let Some(seconds) = cpu_seconds {
            let name = "process_cpu_seconds_total";
            families.push(Family::single(
                Counter,
                name,
                "CPU time of the process.",
                seconds,
            ));
        }
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Memory of the process in RAM.",
                resident_bytes,
            ),
            (
                "process_open_fds",
                "Open files, sockets included.",
                open_files,
            ),
            (
                "process_max_fds",
                "Most files that may be open.",
                file_limit,
            ),
            ("process_threads", "Threads of the process.", threads),
        ] {
            families.extend(value.map(|value| Family::single(Gauge, name, help, value)));
        }
        families
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ops::exposition;

    #[test]
    fn every_number_has_a_name_of_its_own() {
        let snapshot = Snapshot {
            sessions: 1,
            sessions_total: 2,
            sessions_ended_total: vec![("expired", 22)],
            held_connects: 3,
            subscriptions: 4,
            messages_in_total: 5,
            messages_published_total: 23,
            messages_out_total: 6,
            dropped_total: vec![("overflow", 7)],
            refusals_total: vec![("origin", 25)],
            refused_total: vec![(413, 8)],
            messages_failed_total: vec![(402, 24)],
            queued_messages: 9,
            queued_bytes: 10,
            connections: 11,
            connections_total: 12,
            bytes_in_total: 13,
            bytes_out_total: 14,
            uptime: Duration::from_millis(15_500),
            process: Process {
                cpu_seconds: Some(16.0),
                resident_bytes: Some(17),
                open_files: Some(18),
                file_limit: Some(19),
                threads: Some(20),
            },
            more: vec![Family::single(Gauge, "x", "An embedder's.", 21_u64)],
        };
        let families = snapshot.families();
        let names: BTreeSet<_> = families.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), families.len());
        let text = exposition(&families);
        let numbers: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.starts_with("bayeux_build_info"))
            .map(|line| line.rsplit(' ').next().unwrap())
            .collect();
        let mut sorted: Vec<f64> = numbers
            .iter()
            .map(|number| number.parse().unwrap())
            .collect();
        sorted.sort_by(f64::total_cmp);
        let mut expected: Vec<f64> = (1..=25).map(f64::from).collect();
        expected[14] = 15.5;
        assert_eq!(sorted, expected);
        for family in &families {
            let counts = family.kind == Counter;
            assert_eq!(family.name.ends_with("_total"), counts, "{}", family.name);
        }
    }

    #[test]
    fn what_is_unknown_is_absent() {
        let text = exposition(&Snapshot::default().families());
        for absent in [
            "process_",
            "bayeux_requests_refused",
            "bayeux_messages_dropped",
        ] {
            assert!(!text.contains(absent), "{absent}");
        }
        assert!(text.contains("bayeux_sessions 0\n"));
        let build = concat!(
            "bayeux_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1\n"
        );
        assert!(text.contains(build));
    }
}
