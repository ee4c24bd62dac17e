//! The reactor on real sockets: reading, writing, pausing, timers, waking, closing.

mod limits;
#[cfg(target_os = "linux")] // elsewhere the system does not tell
mod receipt;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bayeux::tcp::preconnect::ProxyProtocol;
use bayeux::tcp::reactor::CloseReason;
use socket2::Socket;

use crate::support::probe::{Seen, World, read_line, read_to_end};

#[test]
fn lines_in_pieces_and_several_at_once() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.set_nodelay(true).unwrap();
    for byte in b"echo one\n" {
        client.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read_line(&mut client), "one");
    client
        .write_all(b"echo two\necho three\nlater\nyield\necho four\nec")
        .unwrap();
    client.write_all(b"ho five\n").unwrap();
    let lines: Vec<String> = (0..5).map(|_| read_line(&mut client)).collect();
    assert!(lines.contains(&"later".into()));
    let rest: Vec<&String> = lines.iter().filter(|line| *line != "later").collect();
    assert_eq!(rest, ["two", "three", "four", "five"]);
}

#[test]
fn a_farewell_arrives_although_the_peer_still_sends() {
    let world = World::new(|config| config.linger = Duration::MAX);
    let mut client = world.connect();
    client.write_all(b"close\n").unwrap();
    client.write_all(&vec![b'z'; 1 << 20]).unwrap();
    assert_eq!(read_to_end(&mut client), b"bye\n");
    drop(client);
    world.opened();
    assert_eq!(world.next(), Seen::Closed(CloseReason::Closed));
}

#[test]
fn a_large_output_survives_an_orderly_close() {
    let world = World::new(|config| config.write_buffer = 16 << 20);
    let mut client = world.connect();
    client.write_all(b"send 5000000\nclose\n").unwrap();
    assert_eq!(read_to_end(&mut client).len(), 5_000_000 + 4);
}

#[test]
fn the_write_buffer_is_bounded_and_says_when_it_is_empty() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.write_all(b"fill\n").unwrap();
    world.opened();
    client.write_all(b"finish\n").unwrap();
    assert!(read_to_end(&mut client).len() > 1 << 20);
    assert_eq!(world.next(), Seen::Drained);
    drop(client);
    assert_eq!(world.next(), Seen::End(0));
    assert_eq!(world.next(), Seen::Closed(CloseReason::PeerClosed));
}

#[test]
fn a_half_closed_peer_gets_its_answers() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.write_all(b"echo one\nsend 3000000\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client).len(), 3_000_004);
}

#[test]
fn a_peer_that_stops_reading_is_given_up() {
    let world = World::new(|config| config.write_timeout = Some(Duration::from_millis(100)));
    let mut client = world.connect();
    client.write_all(b"fill\n").unwrap();
    world.opened();
    assert_eq!(world.next(), Seen::Closed(CloseReason::WriteTimeout));
    let mut rest = Vec::new();
    assert_eq!(
        client.read_to_end(&mut rest).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn closing_has_a_deadline_too() {
    let world = World::new(|config| {
        config.write_timeout = None;
        config.write_buffer = 32 << 20;
        config.close_timeout = Duration::from_millis(100);
    });
    let mut client = world.connect();
    client.write_all(b"send 20000000\nclose\n").unwrap();
    world.opened();
    assert_eq!(world.next(), Seen::Closed(CloseReason::CloseTimeout));
}

#[test]
fn times_may_be_endless() {
    let world = World::new(|config| {
        config.write_buffer = 32 << 20;
        config.write_timeout = Some(Duration::MAX);
        config.close_timeout = Duration::MAX;
        config.linger = Duration::MAX;
        config.pre_connect = vec![Arc::new(ProxyProtocol::new(["127.0.0.1".parse().unwrap()]))];
        config.pre_connect_timeout = Duration::MAX;
    });
    let mut client = world.connect();
    let a_while = Duration::from_millis(50);
    std::thread::sleep(a_while);
    client
        .write_all(b"PROXY UNKNOWN\r\nsend 20000000\nclose\n")
        .unwrap();
    world.opened();
    assert!(world.seen.recv_timeout(a_while).is_err());
    assert_eq!(read_to_end(&mut client).len(), 20_000_000 + 4);
    assert!(world.seen.recv_timeout(a_while).is_err());
    drop(client);
    assert_eq!(world.next(), Seen::Closed(CloseReason::Closed));
}

#[test]
fn a_pause_reads_ahead_to_its_bound_and_sees_the_end() {
    let world = World::new(|config| config.paused_input = 1000);
    let mut client = world.connect();
    client.write_all(b"pause\necho one\n").unwrap();
    let key = world.opened();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(world.next(), Seen::End(9));
    assert_eq!(world.next(), Seen::Closed(CloseReason::PeerClosed));

    // More than the bound: read later, without loss, and without spinning until then.
    let mut client = world.connect();
    client.write_all(b"pause\n").unwrap();
    let second = world.opened();
    assert_ne!(key, second);
    world.wait_for("the pause", |reactor| reactor.stats().bytes_in == 15 + 6);
    let line = format!("echo {}\n", "x".repeat(5000));
    client.write_all(line.as_bytes()).unwrap();
    world.wait_for("read ahead", |reactor| {
        reactor.stats().bytes_in >= 1000 + 6 + 15
    });
    let turns = world.reactor.stats().turns;
    std::thread::sleep(Duration::from_millis(50));
    assert!(world.reactor.stats().turns - turns < 5, "it spins");
    let bytes_in = world.reactor.stats().bytes_in;
    assert!(bytes_in <= 1000 + 6 + 15 + 6, "{bytes_in}");
    world.reactor.wakers().next().unwrap().wake(&[key, second]);
    assert_eq!(world.next(), Seen::Woken);
    assert_eq!(read_line(&mut client).len(), 5000);
}

#[test]
fn what_is_left_at_a_pause_that_is_over_at_once_is_offered() {
    let world = World::new(|config| config.input_buffer = 10);
    let mut client = world.connect();
    client
        .write_all(b"hesitate\necho one\nhesitate\nhesitate\necho two\nhesitate\n")
        .unwrap();
    assert_eq!(read_line(&mut client), "one");
    assert_eq!(read_line(&mut client), "two");
    // Input that nobody waits for anything with is still bounded.
    client.write_all(b"hesitate\nfar too long a line").unwrap();
    world.opened();
    assert_eq!(world.next(), Seen::Closed(CloseReason::InputOverflow));
}

#[test]
fn a_reset_is_noticed_in_every_state() {
    let world = World::new(|config| config.paused_input = 10);
    for commands in [
        "",
        "pause\n",
        "pause\n0123456789012345678901234567890",
        "half a line",
    ] {
        let mut client = world.connect();
        let before = world.reactor.stats().bytes_in;
        client.write_all(commands.as_bytes()).unwrap();
        world.opened();
        // What is beyond the bound of a pause may stay with the kernel.
        let read = before + commands.len().min(16) as u64;
        world.wait_for("input", |reactor| reactor.stats().bytes_in >= read);
        let socket = Socket::from(client);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop(socket);
        match world.next() {
            Seen::Closed(CloseReason::Failed(ErrorKind::ConnectionReset)) => {}
            other => panic!("{commands:?}: {other:?}"),
        }
    }
    world.wait_for("permits", |reactor| reactor.stats().open == 0);
}

#[test]
fn timers_can_be_moved_and_fire_once() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    let start = Instant::now();
    client.write_all(b"timer 3600000\ntimer 30\n").unwrap();
    world.opened();
    assert_eq!(world.next(), Seen::Timer);
    assert!(start.elapsed() >= Duration::from_millis(30));
    let start = Instant::now();
    client.write_all(b"timer 20\ntimer 60\n").unwrap();
    assert_eq!(world.next(), Seen::Timer);
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert!(world.seen.recv_timeout(Duration::from_millis(50)).is_err());
}

#[test]
fn a_connection_is_woken_once_per_turn_also_from_its_own_thread() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.write_all(b"wake\nwake\necho done\n").unwrap();
    assert_eq!(read_line(&mut client), "done");
    world.opened();
    assert_eq!(world.next(), Seen::Woken);
    assert!(world.seen.recv_timeout(Duration::from_millis(20)).is_err());
}

#[test]
fn a_panic_ends_its_connection_only() {
    let world = World::new(|_| {});
    let mut other = world.connect();
    world.opened();
    let mut client = world.connect();
    world.opened();
    client.write_all(b"panic\n").unwrap();
    assert_eq!(world.next(), Seen::Closed(CloseReason::Panic));
    other.write_all(b"echo still here\n").unwrap();
    assert_eq!(read_line(&mut other), "still here");
    assert_eq!(world.reactor.stats().panics, 1);
}

#[test]
fn an_abort_is_a_reset() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.write_all(b"abort\n").unwrap();
    world.opened();
    assert_eq!(world.next(), Seen::Closed(CloseReason::Aborted));
    let mut buffer = [0; 10];
    assert_eq!(
        client.read(&mut buffer).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn too_much_that_cannot_be_used_ends_the_connection() {
    let world = World::new(|config| config.input_buffer = 10_000);
    let mut client = world.connect();
    world.opened();
    let _ = client.write_all(&vec![b'a'; 9_999]);
    let _ = client.write_all(&vec![b'a'; 9_999]);
    assert_eq!(world.next(), Seen::Closed(CloseReason::InputOverflow));
}
