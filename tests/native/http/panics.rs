//! A panic on an I/O thread, which only a fault of the server itself can cause: it ends its
//! connection, and nothing of what was meant for that one goes to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Instant, SystemTime};

use bayeux::{Clock, SystemClock};
use serde_json::json;

use super::harness::{Client, Server, post};
use crate::common::wait::eventually;

/// A clock that fails once on an I/O thread, when it is told to.
#[derive(Default)]
struct Broken(AtomicBool);

impl Clock for Broken {
    fn now(&self) -> Instant {
        let is_io = thread::current()
            .name()
            .is_some_and(|name| name.contains("-io-"));
        let fails = is_io && self.0.swap(false, Ordering::SeqCst);
        assert!(!fails, "as the test wants it");
        SystemClock.now()
    }

    fn wall(&self) -> SystemTime {
        SystemClock.wall()
    }
}

fn start() -> (Arc<Broken>, Server) {
    let clock = Arc::new(Broken::default());
    let server = Server::start_with(clock.clone(), |settings| {
        settings.native.io_threads = 1;
        settings.broker.connection_types = vec!["websocket", "long-polling"];
    });
    (clock, server)
}

fn handshake() -> String {
    json!([{"channel": "/meta/handshake", "version": "1.0",
        "supportedConnectionTypes": ["long-polling"]}])
    .to_string()
}

#[test]
fn a_response_goes_to_nobody_else() {
    let (clock, server) = start();
    let (mut broken, mut other) = (server.connect(), server.connect());
    server.settle(2);
    let mut requests = post(&json!([]));
    requests.extend(post(&serde_json::from_str(&handshake()).unwrap()));
    clock.0.store(true, Ordering::SeqCst);
    broken.send(&requests);
    assert!(broken.ends_silently());
    let panics = || server.running.stats().connections.panics == 1;
    eventually("the panic is counted", panics);
    other.send(b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(other.response().status, 404);
    assert!(other.is_silent(50));
}

/// A frame of a client whose mask is zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

fn upgraded(server: &Server) -> Client {
    let mut client = server.connect();
    client.send(
        b"GET /cometd HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.response().status, 101);
    client
}

#[test]
fn a_frame_goes_to_nobody_else() {
    let (clock, server) = start();
    let (mut broken, mut other) = (upgraded(&server), upgraded(&server));
    let mut frames = frame(0x89, b"?");
    frames.extend(frame(0x81, handshake().as_bytes()));
    clock.0.store(true, Ordering::SeqCst);
    broken.send(&frames);
    assert!(broken.ends_silently());
    other.send(&frame(0x81, b"[]"));
    let mut answer = [0; 4];
    std::io::Read::read_exact(&mut other.stream, &mut answer).unwrap();
    assert_eq!(answer, *b"\x81\x02[]");
}
