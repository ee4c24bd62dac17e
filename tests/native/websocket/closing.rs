//! How sockets end, and with which code.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::websocket::{A_WHILE, Client, Frame, World, frame};

#[test]
fn what_cannot_be_understood_closes_the_socket() {
    let world = World::with(|config| {
        config.site.max_body = 1000;
        config.site.max_messages = 5;
        config.site.max_depth = 10;
    });
    let text = |text: &str| frame(0x81, text.as_bytes());
    let many = format!("[{}]", ["{}"; 6].join(","));
    let deep = format!("{}{}", "[".repeat(11), "]".repeat(11));
    let mut declared = vec![0x81, 0xff];
    declared.extend_from_slice(&(1_u64 << 40).to_be_bytes());
    declared.extend_from_slice(&[0; 4]);
    let table = [
        (frame(0x82, b"[]"), 1003),
        (text("[{"), 1007),
        (text(""), 1007),
        (frame(0x81, b"\xff"), 1007),
        (text("1"), 1008),
        (text("[1]"), 1008),
        (text(&many), 1008),
        (text(&deep), 1008),
        (text(&"x".repeat(1001)), 1009),
        (declared, 1009),
        (frame(0x80, b"[]"), 1002),
        (frame(0x83, b""), 1002),
        (frame(0xc1, b"[]"), 1002),
        (vec![0x81, 2, b'[', b']'], 1002),
    ];
    for (bytes, code) in table {
        let mut socket = world.socket();
        socket.send_raw(&bytes);
        let (closed, reason) = socket.closing();
        assert_eq!(closed, code, "{reason} after {bytes:02x?}");
        assert!(!reason.is_empty(), "{code}");
    }
    let mut socket = world.socket();
    let fitting = format!("[{}]", " ".repeat(998));
    socket.send_text(&fitting);
    assert_eq!(socket.text(), "[]", "the limit is inclusive");
}

#[test]
fn max_message_has_a_limit_of_its_own() {
    let world = World::with(|config| config.native.max_message = Some(2000));
    let mut socket = world.socket();
    socket.send_text(&format!("[{}]", " ".repeat(1998)));
    assert_eq!(socket.text(), "[]");
    socket.send_text(&format!("[{}]", " ".repeat(1999)));
    assert_eq!(socket.closing().0, 1009);
}

#[test]
fn a_close_is_answered_and_what_follows_it_is_not_executed() {
    let world = World::new();
    let mut client = world.client("/a");
    let mut bytes = frame(0x88, &[&4000_u16.to_be_bytes()[..], b"bye"].concat());
    let late = json!([client.message("/a", 1)]).to_string();
    bytes.extend(frame(0x81, late.as_bytes()));
    client.socket.send_raw(&bytes);
    assert_eq!(client.socket.closing(), (4000, String::new()));
    assert_eq!(world.server.stats().broker.published, 0);
    let mut socket = world.socket();
    socket.send_raw(&frame(0x88, b""));
    assert_eq!(socket.closing().0, 1005, "no code is answered with none");
}

#[test]
fn without_a_session_or_with_one_that_expired() {
    let world = World::with(|config| config.broker.max_interval = Duration::from_millis(400));
    let begun = Instant::now();
    let (mut alone, mut client) = (world.socket(), world.client("/a"));
    let mut busy = world.socket();
    std::thread::sleep(Duration::from_millis(250));
    busy.handshake();
    let (code, reason) = alone.closing();
    assert_eq!((code, reason.as_str()), (1000, "no session"));
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!(
        busy.frame_within(Duration::ZERO),
        None,
        "it spoke of a session"
    );
    let (code, reason) = client.socket.closing();
    assert_eq!((code, reason.as_str()), (1000, "the session has expired"));
    assert_eq!(busy.closing().0, 1000);
}

#[test]
fn a_session_without_connects_takes_its_held_socket_along() {
    let world = World::with(|config| {
        config.broker.timeout = Duration::from_millis(200);
        config.broker.max_interval = Duration::from_millis(300);
    });
    let mut client = world.client("/a");
    client.socket.tell(&client.connect(20_000));
    assert_eq!(client.socket.item()["successful"], true, "the heartbeat");
    assert_eq!(client.socket.closing().0, 1000);
}

#[test]
fn silent_peers_are_cut_and_others_are_not() {
    let world = World::with(|config| {
        config.native.ping_interval = Duration::from_millis(100);
        config.native.ping_timeout = Duration::from_millis(300);
    });
    let (mut silent, mut answering) = (world.client("/a"), world.client("/a"));
    silent.hold_quietly();
    answering.hold_quietly();
    let until = Instant::now() + Duration::from_millis(1500);
    let mut pings = 0;
    while Instant::now() < until {
        if let Some(frame_seen) = answering.socket.frame_within(Duration::from_millis(50)) {
            assert_eq!(frame_seen, Frame::Ping(Vec::new()));
            answering.socket.send_raw(&frame(0x8a, b""));
            pings += 1;
        }
    }
    assert!((5..=15).contains(&pings), "{pings}");
    assert_eq!(silent.socket.frame(), Frame::Ping(Vec::new()));
    // On a slow machine that was before its connect came; then there is another one.
    let next = silent.socket.frame();
    if next != Frame::End {
        assert_eq!(next, Frame::Ping(Vec::new()));
        assert_eq!(silent.socket.frame(), Frame::End);
    }
    world.until("one is cut", |stats| stats.connections == 1);
}

impl Client {
    fn hold_quietly(&mut self) {
        let connect = self.connect(20_000);
        self.socket.tell(&connect);
    }
}

#[test]
fn a_message_that_never_ends() {
    let world = World::with(|config| config.native.body_timeout = Duration::from_millis(300));
    let mut socket = world.socket();
    let message = frame(0x81, b"[{\"channel\":\"/meta/handshake\"}]");
    // Byte by byte all of it would take more than twice as long as it may.
    let cut = message.iter().find_map(|byte| {
        socket.send_raw(&[*byte]);
        socket.frame_within(Duration::from_millis(20))
    });
    assert!(matches!(cut, Some(Frame::Close(1008, _))), "{cut:?}");
    let mut socket = world.socket();
    socket.send_raw(&message[..20]);
    let (code, reason) = socket.closing();
    assert_eq!((code, reason.as_str()), (1008, "the message took too long"));
}

#[test]
fn a_control_frame_inside_a_message_does_not_hide_when_it_began() {
    let (begin, end) = (b"[{\"channel\":\"/meta/", b"handshake\"}]");
    let mut start = frame(0x01, begin);
    start.extend(frame(0x89, b""));

    // A message has all of its time, however old the socket is.
    let world = World::with(|config| {
        config.native.body_timeout = Duration::from_secs(1);
        config.native.ping_interval = Duration::from_millis(100);
    });
    let mut socket = world.socket();
    std::thread::sleep(Duration::from_millis(1200));
    socket.send_raw(&start);
    std::thread::sleep(Duration::from_millis(400));
    socket.send_raw(&frame(0x80, end));
    let reply = std::iter::from_fn(|| Some(socket.frame()))
        .find(|seen| !matches!(seen, Frame::Ping(_) | Frame::Pong(_)));
    assert!(matches!(reply, Some(Frame::Text(_))), "{reply:?}");

    // And no more.
    let world = World::with(|config| config.native.body_timeout = Duration::from_millis(300));
    let mut socket = world.socket();
    socket.send_raw(&start);
    let (code, reason) = socket.closing();
    assert_eq!((code, reason.as_str()), (1008, "the message took too long"));
}

#[test]
fn too_much_unfinished_input() {
    let world = World::with(|config| config.broker.traffic.max_input_total = 1 << 20);
    let message = frame(0x81, &vec![b' '; 600_000]);
    let mut first = world.socket();
    first.send_raw(&message[..599_000]);
    std::thread::sleep(A_WHILE);
    let mut second = world.socket();
    let sent = std::io::Write::write_all(&mut second.stream, &message[..599_000]);
    drop(sent);
    assert_eq!(second.closing().0, 1013);
    first.send_raw(&message[599_000..]);
    assert_eq!(first.closing().0, 1007, "white space is no JSON");
}

#[test]
fn a_slow_reader_is_sent_away_when_its_queue_is_full() {
    let world = World::with(|config| {
        config.broker.queue.messages = 20;
        config.native.write_timeout = Duration::from_secs(60);
    });
    let (mut slow, mut fine) = (world.client("/a"), world.client("/a"));
    let large = json!("x".repeat(200_000));
    for n in 0..200 {
        if world.publish("/a", &large) < 2 {
            break;
        }
        assert!(n < 199, "the kernel's buffers have an end");
        assert_eq!(fine.socket.item()["data"], large);
    }
    assert_eq!(fine.socket.item()["data"], large);
    let (code, reason) = slow.socket.closing();
    assert_eq!(code, 1008, "{reason}");
    assert_eq!(world.server.stats().broker.ended_overflowed, 1);
    fine.socket.quiet();
}

#[test]
fn a_server_that_stops() {
    let world = World::new();
    let (mut idle, mut held, mut alone) = (world.client("/a"), world.client("/a"), world.socket());
    held.hold();
    let stopping = std::thread::spawn(move || world.server.shutdown(Duration::from_secs(2)));
    let answer = held.socket.item();
    assert_eq!(
        (&answer["successful"], answer.get("advice")),
        (&json!(true), None)
    );
    assert_eq!(held.socket.closing(), (1001, "the server stops".into()));
    assert_eq!(idle.socket.closing().0, 1001);
    assert_eq!(alone.closing().0, 1001);
    stopping.join().unwrap();
}
