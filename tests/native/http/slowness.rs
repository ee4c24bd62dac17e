//! Clients that read slowly but steadily: neither their sessions nor their connections end for it.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bayeux::ManualClock;
use serde_json::json;

use super::harness::{Client, Server, Session};
use super::redelivery::{poll_on, socket_on};
use crate::common::wait::eventually;

/// Waits for messages on the connection.
type Wait = fn(Client, &Server, &Session) -> Client;

const A_LONG_TIME: Duration = Duration::from_secs(100_000);

/// Reads at least so much.
fn read(client: &mut Client, mut bytes: usize) {
    let mut piece = [0; 1024];
    while bytes > 0 {
        bytes = bytes.saturating_sub(client.stream.read(&mut piece).unwrap());
    }
}

/// Reads to the end of a reply to a connect, which comes last.
fn read_all(client: &mut Client) {
    let (mut end, mut piece) = (Vec::new(), [0; 4096]);
    while !end.windows(13).any(|part| part == b"/meta/connect") {
        let n = client.stream.read(&mut piece).unwrap();
        assert!(n > 0, "cut");
        end.drain(..end.len().saturating_sub(100));
        end.extend_from_slice(&piece[..n]);
    }
}

/// Any session that nobody keeps alive has expired when this returns.
fn a_long_time_passes(clock: &ManualClock, server: &Server) {
    let before = server.broker.stats();
    server.session("/other");
    clock.advance(A_LONG_TIME);
    eventually("the idle session to expire", || {
        server.broker.stats().ended_expired > before.ended_expired
    });
}

fn sessions_of_slow_readers(wait: Wait) {
    // The kernel takes the first at once, and only a part of the second.
    for size in [100_000, 1_000_000] {
        let clock = Arc::new(ManualClock::new());
        let server = Server::start_with(clock.clone(), |settings| {
            settings.broker.connection_types = vec!["websocket", "long-polling"];
        });
        let session = server.session("/a");
        let mut client = wait(server.connect_narrow(), &server, &session);
        server.broker.publish("/a", &"x".repeat(size)).unwrap();
        eventually("the kernel to have its part", || {
            server.running.stats().connections.bytes_out > 70_000
        });
        // The connect has its reply by now, which the client sees last.
        for _ in 0..3 {
            a_long_time_passes(&clock, &server);
            assert_eq!(server.broker.stats().sessions, 1, "of {size} bytes");
        }
        read(&mut client, 10_000);
        a_long_time_passes(&clock, &server);
        assert_eq!(server.broker.stats().sessions, 1, "of {size} bytes");
        read_all(&mut client);
        let mut next = server.connect();
        next.send(&session.connect(&json!({"advice": {"timeout": 0}})));
        assert_eq!(next.response().json()[0]["successful"], true);
        // From then on it has its time, and no more.
        eventually("the session to expire", || {
            clock.advance(A_LONG_TIME);
            server.broker.stats().sessions == 0
        });
        assert_eq!(server.broker.stats().queued_messages, 0);
    }
}

#[test]
fn a_session_lives_while_its_response_is_being_read() {
    sessions_of_slow_readers(poll_on);
}

#[test]
fn a_session_lives_while_its_frames_are_being_read() {
    sessions_of_slow_readers(socket_on);
}

#[test]
fn a_session_lives_no_longer_for_a_connection_that_has_gone() {
    let clock = Arc::new(ManualClock::new());
    let server = Server::start_with(clock.clone(), |_| {});
    let session = server.session("/a");
    let client = poll_on(server.connect_narrow(), &server, &session);
    server.broker.publish("/a", &"x".repeat(100_000)).unwrap();
    eventually("the kernel to have it", || {
        server.broker.stats().queued_messages == 0
    });
    a_long_time_passes(&clock, &server);
    assert_eq!(server.broker.stats().sessions, 1);
    drop(client);
    eventually("the session to expire", || {
        clock.advance(A_LONG_TIME);
        server.broker.stats().sessions == 0
    });
}

/// A connection is not idle, nor its peer silent, while that reads on.
#[test]
fn a_connection_stays_while_its_peer_reads_on() {
    let limit = Duration::from_secs(1);
    for wait in [poll_on as Wait, socket_on] {
        let server = Server::start(|settings| {
            settings.broker.connection_types = vec!["websocket", "long-polling"];
            settings.native.idle_timeout = limit;
            settings.native.ping_interval = limit / 10;
            settings.native.ping_timeout = limit;
        });
        let session = server.session("/a");
        let mut client = wait(server.connect_narrow(), &server, &session);
        server.broker.publish("/a", &"x".repeat(100_000)).unwrap();
        for _ in 0..25 {
            read(&mut client, 3000);
            std::thread::sleep(limit / 10);
        }
        assert_eq!(server.running.stats().connections.open, 1);
    }
}
