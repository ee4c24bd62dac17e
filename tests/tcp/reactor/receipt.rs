//! What the peer has acknowledged: the write deadline goes by it, and a service can wait for it.
//!
//! The clock is set forward by hand, so that a machine that is busy makes no peer look slow.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bayeux::ManualClock;
use bayeux::tcp::reactor::CloseReason;

use crate::support::probe::{Seen, World, read_line};

const TIMEOUT: Duration = Duration::from_millis(100);

/// Time that is set by hand, and a neighbour who tells that the I/O thread has seen it.
struct Time {
    clock: Arc<ManualClock>,
    neighbour: TcpStream,
    /// Bytes that the neighbour was sent.
    told: u64,
}

impl Time {
    /// Lets time pass, and the I/O thread see it.
    fn pass(&mut self, time: Duration) {
        // Acknowledgements may take a moment.
        std::thread::sleep(TIMEOUT);
        self.clock.advance(time);
        self.turn();
    }

    /// Waits until the I/O thread has done what it was doing, and once more what was due.
    fn turn(&mut self) {
        for _ in 0..2 {
            self.neighbour.write_all(b"echo turn\n").unwrap();
            assert_eq!(read_line(&mut self.neighbour), "turn");
            self.told += 5;
        }
    }
}

/// A reactor whose time is set by hand.
fn world() -> (World, Time) {
    let clock = Arc::new(ManualClock::new());
    let time = Arc::clone(&clock);
    let world = World::new(|config| {
        config.write_timeout = Some(TIMEOUT);
        config.close_timeout = TIMEOUT;
        config.linger = TIMEOUT;
        config.write_buffer = 32 << 20;
        config.clock = time;
    });
    let neighbour = world.connect();
    world.opened();
    let time = Time {
        clock,
        neighbour,
        told: 0,
    };
    (world, time)
}

/// Reads so much, in small pieces.
fn read(client: &mut TcpStream, mut bytes: usize) {
    let mut piece = [0; 1024];
    while bytes > 0 {
        let most = piece.len().min(bytes);
        bytes -= client.read(&mut piece[..most]).unwrap();
    }
}

#[test]
fn who_reads_slowly_is_not_cut_although_the_kernel_takes_nothing() {
    let (world, mut time) = world();
    let mut client = world.connect_narrow();
    client.write_all(b"send 10000000\n").unwrap();
    world.opened();
    world.wait_for("the kernel to be full", |reactor| {
        let before = reactor.stats().bytes_out;
        std::thread::sleep(TIMEOUT);
        before > 0 && before == reactor.stats().bytes_out
    });
    let before = world.reactor.stats().bytes_out;
    // One that reads more slowly still shows it in larger steps.
    for tenths in [8, 8, 8, 8, 25, 90] {
        read(&mut client, 8_000);
        time.pass(TIMEOUT * tenths / 10);
    }
    let told = time.told;
    world.wait_for("only the neighbour to be sent more", |reactor| {
        reactor.stats().bytes_out == before + told
    });
    assert!(world.seen.try_recv().is_err(), "not cut");
    time.pass(TIMEOUT * 9);
    time.turn();
    assert!(world.seen.try_recv().is_err(), "it may be its next step");
    time.pass(TIMEOUT * 2);
    assert_eq!(world.next(), Seen::Closed(CloseReason::WriteTimeout));
}

#[test]
fn a_service_is_told_when_the_peer_has_all_or_stops_reading() {
    let (world, mut time) = world();
    for stops in [false, true] {
        let mut client = world.connect_narrow();
        client.write_all(b"echo little\nwatch\n").unwrap();
        world.opened();
        assert_eq!(world.next(), Seen::Watched(false), "not worth a look");
        client.write_all(b"send 100000\nwatch\n").unwrap();
        assert_eq!(world.next(), Seen::Watched(true));
        for _ in 0..4 {
            read(&mut client, 8_000);
            time.pass(TIMEOUT * 8 / 10);
        }
        assert!(world.seen.try_recv().is_err(), "on its way");
        if !stops {
            read(&mut client, 100_007 - 32_000);
        }
        time.pass(TIMEOUT * 20);
        time.pass(TIMEOUT * 20);
        assert_eq!(world.next(), Seen::Received { all: !stops });
        drop(client);
        while !matches!(world.next(), Seen::Closed(_)) {}
    }
}

#[test]
fn a_connection_stays_while_the_peer_reads_the_last_of_it() {
    let (world, mut time) = world();
    let mut client = world.connect_narrow();
    client.write_all(b"send 100000\nclose\n").unwrap();
    world.opened();
    time.turn();
    for _ in 0..4 {
        read(&mut client, 12_000);
        time.pass(TIMEOUT * 11 / 10);
    }
    assert!(world.seen.try_recv().is_err(), "it still reads");
    time.pass(TIMEOUT * 20);
    assert_eq!(world.next(), Seen::Closed(CloseReason::Closed));
    read(&mut client, 100_004 - 48_000);
}

#[test]
fn a_peer_that_is_watched_has_to_acknowledge_what_the_kernel_has() {
    let (world, mut time) = world();
    for watched in [true, false] {
        let mut client = world.connect_narrow();
        client
            .write_all(if watched { b"guard\n" } else { b"echo x\n" })
            .unwrap();
        world.opened();
        client.write_all(b"send 60000\n").unwrap();
        for _ in 0..3 {
            read(&mut client, 8_000);
            time.pass(TIMEOUT * 8 / 10);
        }
        assert!(world.seen.try_recv().is_err(), "it reads");
        time.pass(TIMEOUT * 20);
        time.turn();
        if watched {
            assert_eq!(world.next(), Seen::Closed(CloseReason::WriteTimeout));
        } else {
            assert!(world.seen.try_recv().is_err(), "nobody asked");
        }
    }
}
