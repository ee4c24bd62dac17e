//! Clients that go on connecting with the id of a session that there is not: from the third time on
//! the answer waits.

use std::sync::Arc;
use std::time::Duration;

use bayeux::ManualClock;
use bayeux::Reason;
use serde_json::{Value, json};

use super::harness::{Client, Server, Session, post};
use super::redelivery::{frame, socket_on};
use crate::common::wait::eventually;

/// Longer than a turn of the ticker.
const A_WHILE: u64 = 250;

fn server() -> (Server, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let server = Server::start_with(clock.clone(), |settings| {
        settings.broker.connection_types = vec!["websocket", "long-polling"];
    });
    (server, clock)
}

fn stale() -> Value {
    json!([{"channel": "/meta/connect", "clientId": "0".repeat(32), "id": "stale"}])
}

fn assert_unknown(reply: &Value) {
    assert_eq!(reply["error"], "402::session_unknown");
    assert_eq!(reply["advice"]["reconnect"], "handshake");
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn counted(server: &Server) -> u64 {
    let counts = server.broker.refusals().snapshot();
    let mut of_it = counts
        .iter()
        .filter(|(reason, _)| *reason == Reason::StaleSession);
    of_it.next().unwrap().1
}

#[test]
fn the_third_in_a_row_waits_and_further_ones_longer() {
    let (server, clock) = server();
    let mut client = server.connect();
    for _ in 0..2 {
        assert_unknown(&client.post(&stale()).json()[0]);
    }
    assert_eq!(counted(&server), 0);
    for (n, wait) in (1..).zip([1.0, 2.0, 4.0, 8.0, 10.0, 10.0]) {
        client.send(&post(&stale()));
        eventually("the request to be there", || counted(&server) == n);
        clock.advance(seconds(wait - 0.1));
        assert!(client.is_silent(A_WHILE), "{wait} s");
        clock.advance(seconds(0.2));
        assert_unknown(&client.response().json()[0]);
    }
    // Nobody else waits, nor does the client with what is no connect, or with another id.
    assert_unknown(&server.connect().post(&stale()).json()[0]);
    assert_eq!(client.post(&json!([])).json(), json!([]));
    let session = server.session("/a");
    client.send(&session.connect(&json!({"advice": {"timeout": 0}})));
    assert_eq!(client.response().json()[0]["successful"], true);
}

#[test]
fn pipelined_connects_wait_one_after_the_other() {
    let (server, clock) = server();
    let mut client = server.connect();
    client.send(&post(&stale()).repeat(5));
    for _ in 0..2 {
        assert_unknown(&client.response().json()[0]);
    }
    for (n, wait) in (1..).zip([1.0, 2.0, 4.0]) {
        assert!(client.is_silent(A_WHILE));
        assert_eq!(
            counted(&server),
            n,
            "the next is executed after the one before"
        );
        clock.advance(seconds(wait));
        assert_unknown(&client.response().json()[0]);
    }
}

#[test]
fn a_peer_that_does_not_wait_leaves_nothing() {
    let (server, clock) = server();
    let mut client = server.connect();
    client.send(&post(&stale()).repeat(3));
    client.response();
    client.response();
    eventually("the third to wait", || counted(&server) == 1);
    drop(client);
    server.settle(0);
    clock.advance(seconds(100.0));
    assert_unknown(&server.connect().post(&stale()).json()[0]);
}

#[test]
fn draining_makes_nobody_wait() {
    let (server, _clock) = server();
    let mut client = server.connect();
    client.send(&post(&stale()).repeat(3));
    client.response();
    client.response();
    eventually("the third to wait", || counted(&server) == 1);
    server.broker.drain(Duration::ZERO);
    let last = client.response();
    assert_unknown(&last.json()[0]);
    assert!(last.closes());
}

/// The next text frame of the server.
fn text(client: &mut Client) -> Value {
    use std::io::Read;
    let mut head = [0; 2];
    client.stream.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 0x81);
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            client.stream.read_exact(&mut length).unwrap();
            u16::from_be_bytes(length)
        }
        short => u16::from(short),
    };
    let mut text = vec![0; usize::from(length)];
    client.stream.read_exact(&mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn frames_wait_and_pushes_do_not() {
    let (server, clock) = server();
    let session: Session = server.session("/a");
    let mut client = socket_on(server.connect(), &server, &session);
    for _ in 0..3 {
        client.send(&frame(&stale().to_string()));
    }
    for _ in 0..2 {
        assert_unknown(&text(&mut client)[0]);
    }
    eventually("the third to wait", || counted(&server) == 1);
    server.broker.publish("/a", &"meanwhile").unwrap();
    assert_eq!(text(&mut client)[0]["data"], "meanwhile");
    assert!(client.is_silent(A_WHILE));
    clock.advance(seconds(1.0));
    assert_unknown(&text(&mut client)[0]);
}
