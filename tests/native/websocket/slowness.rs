//! Peers that are slow, and connections that break in the middle of a write.

use std::time::{Duration, Instant};

use bayeux::Overflow;
use serde_json::json;

use crate::common::websocket::{Client, Frame, World, frame};

/// Publishes large messages until the subscriber's connection takes no more of them; returns how
/// many were published.
fn stuff(world: &World) -> u64 {
    let large = "x".repeat(100_000);
    for n in 0..1000 {
        world.publish("/a", &json!([n, large]));
        if n % 10 == 9 {
            std::thread::sleep(Duration::from_millis(10));
            if world.server.stats().broker.queued_messages > 5 {
                return n + 1;
            }
        }
    }
    panic!("the kernel's buffers have an end")
}

fn world() -> World {
    World::with(|config| {
        config.broker.queue.bytes = 64 << 20;
        config.broker.queue.overflow = Overflow::DropNewest;
    })
}

fn number(client: &mut Client) -> u64 {
    client.socket.item()["data"][0].as_u64().unwrap()
}

#[test]
fn a_slow_reader_gets_everything_in_order_and_nobody_waits_for_it() {
    let world = world();
    let (mut slow, mut fine) = (world.client("/a"), world.client("/b"));
    let published = stuff(&world);
    let begun = Instant::now();
    for n in 0..100 {
        world.publish("/b", &json!(n));
        assert_eq!(fine.socket.item()["data"], n);
    }
    assert!(begun.elapsed() < Duration::from_secs(2));
    // What it asks meanwhile is answered when it reads again.
    slow.socket.tell(&slow.message("/c", 0));
    slow.socket.send_raw(&frame(0x89, b"still there?"));
    let (mut next, mut replies, mut pongs) = (0, 0, 0);
    while (next, replies, pongs) != (published, 1, 1) {
        match slow.socket.frame() {
            Frame::Pong(payload) if payload == b"still there?" => pongs += 1,
            Frame::Text(text) if text.contains("\"id\":\"p\"") => replies += 1,
            Frame::Text(text) => {
                assert!(text.starts_with(&format!("[{{\"channel\":\"/a\",\"data\":[{next},")));
                next += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    world.until("all is written", |stats| stats.broker.queued_bytes == 0);
}

#[test]
fn what_the_kernel_did_not_take_comes_on_the_next_socket() {
    let world = world();
    let mut lost = world.client("/a");
    let published = stuff(&world);
    let waiting = world.server.stats().broker.queued_messages;
    let mut client = Client {
        socket: world.socket(),
        id: lost.id.clone(),
    };
    // The older socket is cut, because it has a message half written.
    client.socket.tell(&client.connect(20_000));
    let got: Vec<u64> = (0..waiting).map(|_| number(&mut client)).collect();
    let expected: Vec<u64> = (published - waiting..published).collect();
    assert_eq!(got, expected);
    client.socket.quiet();
    let mut before = 0;
    while let Frame::Text(text) = lost.socket.frame() {
        assert!(text.starts_with("[{\"channel\":\"/a\""));
        before += 1;
    }
    assert!(before <= published - waiting);
}

#[test]
fn a_reset_in_the_middle_of_a_write() {
    let world = world();
    let lost = world.client("/a");
    let published = stuff(&world);
    let waiting = world.server.stats().broker.queued_messages;
    let id = lost.id.clone();
    lost.socket.reset();
    world.until("it is gone", |stats| stats.connections == 0);
    world.publish("/a", &json!([published, ""]));
    let mut client = Client {
        socket: world.socket(),
        id,
    };
    client.socket.tell(&client.connect(20_000));
    let got: Vec<u64> = (0..=waiting).map(|_| number(&mut client)).collect();
    let expected: Vec<u64> = (published - waiting..=published).collect();
    assert_eq!(got, expected);
}

#[test]
fn a_peer_that_takes_nothing_is_cut() {
    let world = World::with(|config| {
        config.broker.queue.bytes = 64 << 20;
        config.native.write_timeout = Duration::from_millis(300);
    });
    let _slow = world.client("/a");
    stuff(&world);
    world.until("it is cut", |stats| stats.connections == 0);
    assert_eq!(
        world.server.stats().broker.sessions,
        1,
        "its session lives on"
    );
}

#[test]
fn a_flood_of_pings_fills_nothing_but_the_peers_own_buffers() {
    let world = World::new();
    let mut client = world.client("/a");
    let pings: Vec<u8> = frame(0x89, &[b'x'; 100]).repeat(1000);
    client
        .socket
        .stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    // Nothing is read, so that in the end nothing can be written either.
    let mut sent = 0;
    while std::io::Write::write_all(&mut client.socket.stream, &pings).is_ok() {
        sent += 1;
        assert!(sent < 1000, "the kernel's buffers have an end");
    }
    let mut fine = world.client("/b");
    world.publish("/b", &json!(1));
    assert_eq!(fine.socket.item()["data"], 1);
    assert!(matches!(client.socket.frame(), Frame::Pong(_)));
}
