//! Peers that are slow, silent or too many.

use std::time::Duration;

use serde_json::json;

use super::harness::{On, World, post_on};
use crate::common::http::request_bytes;

const LIMIT: Duration = Duration::from_millis(300);
const MARGIN: Duration = Duration::from_millis(1000);

pub(crate) fn a_slow_head(on: On) {
    let world = World::with(on, |config| config.native.header_timeout = LIMIT);
    let mut connection = world.connection();
    connection.send("POST /cometd HTTP/1.1\r\nHost: x\r\n");
    assert_eq!(connection.response().status, 408);
    connection.closed_silently();
}

pub(crate) fn a_slow_body(on: On) {
    let world = World::with(on, |config| config.native.body_timeout = LIMIT);
    let mut connection = world.connection();
    connection.send(request_bytes(
        "POST",
        "/cometd",
        "Content-Length: 100\r\n",
        b"",
    ));
    connection.send("[");
    assert_eq!(connection.response().status, 408);
    connection.closed_silently();
}

pub(crate) fn a_connection_that_says_nothing(on: On) {
    let world = World::with(on, |config| {
        config.native.header_timeout = LIMIT;
        config.native.idle_timeout = LIMIT;
    });
    let mut fresh = world.connection();
    let time = fresh.closed_silently();
    assert!(time < LIMIT + MARGIN, "{time:?}");
    let mut used = world.connection();
    assert_eq!(used.get("/none").status, 404);
    let time = used.closed_silently();
    assert!(time < LIMIT + MARGIN, "{time:?}");
}

pub(crate) fn a_reader_that_stops(on: On) {
    let world = World::with(on, |config| {
        config.native.write_timeout = LIMIT;
        config.broker.queue.bytes = 64 << 20;
    });
    let (mut a, mut b) = (world.client(), world.client());
    a.subscribe(&json!("/x"));
    for n in 0..20 {
        b.publish("/x", &json!([n, "y".repeat(500_000)]));
    }
    // Asks for more than the buffers between the two take, and reads nothing.
    let mut connection = world.connection();
    let poll = a.signed(&json!({"channel": "/meta/connect"})).to_string();
    connection.send(super::harness::post_bytes("", &poll).repeat(20));
    world.until("its request is there", |stats| stats.connections == 3);
    world.until("the connection is given up", |stats| stats.connections <= 2);
    let items = post_on(
        &mut world.connection(),
        "",
        &a.signed(&json!({
            "channel": "/meta/connect"
        })),
    );
    assert_eq!(
        items.messages().last().unwrap()["successful"],
        true,
        "the session lives on"
    );
}

pub(crate) fn too_many_connections(on: On) {
    let world = World::with(on, |config| config.native.max_connections_per_ip = Some(3));
    let mut open: Vec<_> = (0..3).map(|_| world.connection()).collect();
    open.iter_mut()
        .for_each(|connection| assert_eq!(connection.get("/none").status, 404));
    let mut fourth = world.connection();
    fourth.try_send(request_bytes("GET", "/none", "", b""));
    fourth.closed_silently();
    drop(open.pop());
    world.until("a place is free", |stats| stats.connections == 2);
    assert_eq!(world.connection().get("/none").status, 404);
}

pub(crate) fn half_sent_bodies_hold_up_nobody(on: On) {
    let world = World::new(on);
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut connection = world.connection();
        connection.send(request_bytes(
            "POST",
            "/cometd",
            "Content-Length: 100\r\n",
            b"",
        ));
        connection.send("[");
        slow.push(connection);
    }
    let mut client = world.client();
    client.publish("/x", &json!(1));
}
