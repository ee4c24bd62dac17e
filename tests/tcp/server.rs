//! What a user of the component sees, point by point: serving, limits, closing, stopping.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use bayeux::tcp::codec::{Bytes, Decoder, JsonLines, LineDecoder, LineEncoder};
use bayeux::tcp::preconnect::AllowList;
use bayeux::tcp::reactor::{AcceptLoop, Accepted, CloseReason, Config};
use bayeux::tcp::{Context, Handler, ListenOptions, Listener, Network, ServerConfig};
use log::{LevelFilter, Log, Metadata, Record};

use crate::common::alone::alone;
use crate::support::{PATIENCE, Peer, Seen, World, listener, serve, wait_for};

#[test]
fn lines_are_echoed_and_end_with_crlf() {
    let world = World::new(|_| {});
    let mut peer = world.connect();
    peer.send("one\r\ntwo\nthree\rfour\r\n");
    for line in ["one", "two", "three", "four"] {
        assert_eq!(peer.line(), line);
    }
}

/// Greets, turns letters by 13, and says goodbye.
struct Rot13;

impl Handler for Rot13 {
    type Decoder = LineDecoder;
    type Encoder = LineEncoder;
    type Message = ();

    fn codec(&mut self) -> (LineDecoder, LineEncoder) {
        Default::default()
    }

    fn connected(&mut self, ctx: &mut Context<'_, Self>) {
        ctx.send("hello").unwrap();
    }

    fn input(&mut self, line: String, ctx: &mut Context<'_, Self>) {
        if line == "quit" {
            ctx.send("bye").unwrap();
            return ctx.shutdown();
        }
        let turn = |c: char| match c {
            'a'..='m' | 'A'..='M' => (c as u8 + 13) as char,
            'n'..='z' | 'N'..='Z' => (c as u8 - 13) as char,
            _ => c,
        };
        ctx.send(&line.chars().map(turn).collect::<String>())
            .unwrap();
    }
}

#[test]
fn a_greeting_comes_first_and_a_farewell_last() {
    let server = serve(&ServerConfig::default(), |_| Rot13);
    let mut peer = Peer::connect(server.local_addrs()[0].inet().unwrap());
    assert_eq!(peer.line(), "hello");
    peer.send("Uryyb, jbeyq!\r\n");
    assert_eq!(peer.line(), "Hello, world!");
    peer.send("quit\r\nUryyb\r\n");
    assert_eq!(peer.line(), "bye");
    assert_eq!(peer.rest(), b"");
}

#[test]
fn input_after_shutdown_is_ignored() {
    let world = World::new(|_| {});
    let mut peer = world.connect();
    // In the same piece as the farewell, and later.
    peer.send("quit\r\necho one\r\n");
    peer.send("echo two\r\n");
    assert_eq!(peer.rest(), b"bye\r\n");
    drop(peer);
    let inputs: Vec<String> = std::iter::from_fn(|| match world.next() {
        Seen::Disconnected(_) => None,
        other => Some(other),
    })
    .filter_map(|seen| {
        if let Seen::Input(line) = seen {
            Some(line)
        } else {
            None
        }
    })
    .collect();
    assert_eq!(inputs, ["quit"]);
}

#[test]
fn who_is_over_the_limit_waits() {
    let world = World::new(|config| config.reactor.max_connections = Some(1));
    let mut first = world.connect();
    let mut second = world.connect();
    first.send("a\r\n");
    second.send("b\r\n");
    assert_eq!(first.line(), "a");
    assert!(second.is_quiet());
    drop(first);
    assert_eq!(second.line(), "b");
}

#[test]
fn a_raised_limit_serves_who_waits_at_once() {
    let world = World::new(|config| config.reactor.max_connections = Some(1));
    let _first = world.connect();
    let mut second = world.connect();
    second.send("b\r\n");
    assert!(second.is_quiet());
    world.server.set_max_connections(Some(2));
    assert_eq!(second.line(), "b");
    let mut third = world.connect();
    third.send("c\r\n");
    assert!(third.is_quiet());
    world.server.set_max_connections(None);
    assert_eq!(third.line(), "c");
    assert_eq!(world.server.max_connections(), None);
}

#[test]
fn a_limit_of_zero_serves_nobody() {
    let world = World::new(|config| config.reactor.max_connections = Some(0));
    let mut peer = world.connect();
    peer.send("a\r\n");
    assert!(peer.is_quiet());
    assert_eq!(world.server.stats().accepted, 0);
    world.server.set_max_connections(Some(1));
    assert_eq!(peer.line(), "a");
    // Paused at run time; who is connected stays.
    world.server.set_max_connections(Some(0));
    let mut other = world.connect();
    other.send("b\r\n");
    assert!(other.is_quiet());
    peer.send("still\r\n");
    assert_eq!(peer.line(), "still");
    world.server.set_max_connections(None);
    assert_eq!(other.line(), "b");
}

#[test]
fn a_lowered_limit_closes_nobody_and_is_kept() {
    let world = World::new(|_| {});
    let mut peers: Vec<Peer> = (0..4).map(|_| world.connect()).collect();
    for peer in &mut peers {
        peer.send("x\r\n");
        assert_eq!(peer.line(), "x");
    }
    world.server.set_max_connections(Some(2));
    let mut waiting = world.connect();
    waiting.send("w\r\n");
    for _ in 0..2 {
        drop(peers.pop());
        assert!(waiting.is_quiet());
    }
    drop(peers.pop());
    assert_eq!(waiting.line(), "w");
}

#[test]
fn a_stopped_listener_refuses_and_the_server_ends_after_the_last() {
    let World {
        mut server,
        seen,
        address,
    } = World::new(|_| {});
    let mut peer = Peer::connect(address);
    peer.send("a\r\n");
    assert_eq!(peer.line(), "a");
    server.stop_accepting();
    assert_eq!(
        TcpStream::connect(address).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    let ending = std::thread::spawn(move || server.shutdown(Duration::MAX));
    while !matches!(seen.recv_timeout(PATIENCE).unwrap(), Seen::Stopping) {}
    peer.send("still here\r\n");
    assert_eq!(peer.line(), "still here");
    assert!(!ending.is_finished());
    drop(peer);
    assert_eq!(ending.join().unwrap().stuck, 0);
    assert!(matches!(
        seen.iter().last(),
        Some(Seen::Disconnected(CloseReason::PeerClosed))
    ));
}

#[test]
fn who_is_refused_early_sees_the_end_and_no_handler() {
    let nobody: Network = "192.0.2.0/24".parse().unwrap();
    let world = World::new(|config| {
        config.reactor.pre_connect = vec![std::sync::Arc::new(AllowList::new([nobody]))];
    });
    let mut peer = world.connect();
    assert_eq!(peer.stream.read(&mut [0]).unwrap_or(0), 0);
    assert!(world.is_quiet());
    world.wait_for("the refusal", |stats| {
        (stats.refused_early, stats.opened, stats.open) == (1, 0, 0)
    });
}

#[test]
fn a_large_output_survives_an_orderly_close() {
    let world = World::new(|config| config.reactor.write_buffer = 32 << 20);
    let mut peer = world.connect();
    peer.send("block 20000000\r\nquit\r\n");
    world.wait_for("more than the kernel takes", |stats| {
        stats.bytes_in == 22 && stats.bytes_out < 20_000_000
    });
    assert_eq!(peer.rest().len(), 20_000_002 + 5);
}

#[test]
fn a_half_closed_peer_gets_its_answers() {
    let world = World::new(|_| {});
    let mut peer = world.connect();
    peer.send("one\r\nblock 900000\r\nlast line without an end");
    peer.socket().shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.line(), "one");
    assert_eq!(peer.line().len(), 900_000);
    assert_eq!(peer.line(), "last line without an end");
    assert_eq!(peer.rest(), b"");
    assert_eq!(world.disconnected(), CloseReason::PeerClosed);
}

#[test]
fn a_reset_is_told_exactly_once() {
    let world = World::new(|_| {});
    let mut peer = world.connect();
    peer.send("a\r\n");
    assert_eq!(peer.line(), "a");
    peer.reset();
    let reason = world.disconnected();
    assert_eq!(reason, CloseReason::Failed(ErrorKind::ConnectionReset));
    assert!(world.is_quiet());
}

/// What the log was told.
struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{}: {}", record.level(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

#[test]
fn a_failure_that_nobody_handles_is_in_the_log() {
    // A process has one logger.
    alone(|| {
        log::set_logger(&LINES).unwrap();
        log::set_max_level(LevelFilter::Warn);
        let server = serve(&ServerConfig::default(), |_| Rot13);
        let address = server.local_addrs()[0].inet().unwrap();
        let told = || LINES.0.lock().unwrap().clone();
        for fails in [false, true] {
            let mut peer = Peer::connect(address);
            assert_eq!(peer.line(), "hello");
            if fails {
                peer.reset();
            } else {
                peer.send(
                    "quit
",
                );
                assert_eq!(peer.line(), "bye");
                drop(peer);
            }
            wait_for(&server, "it has gone", |stats| stats.open == 0);
            if !fails {
                assert_eq!(told(), [""; 0], "an end is no failure");
            }
        }
        server.shutdown(PATIENCE);
        assert_eq!(
            told(),
            ["WARN: a connection ended: failed: connection reset"]
        );
    });
}

/// Takes JSON lines and answers with lines of text.
struct Mixed;

impl Handler for Mixed {
    type Decoder = JsonLines<Vec<i64>>;
    type Encoder = LineEncoder;
    type Message = ();

    fn codec(&mut self) -> (Self::Decoder, LineEncoder) {
        Default::default()
    }

    fn input(&mut self, numbers: Vec<i64>, ctx: &mut Context<'_, Self>) {
        ctx.send(&numbers.iter().sum::<i64>().to_string()).unwrap();
    }
}

#[test]
fn input_and_output_may_have_different_codecs() {
    let server = serve(&ServerConfig::default(), |_| Mixed);
    let mut peer = Peer::connect(server.local_addrs()[0].inet().unwrap());
    peer.send("[1,2,3]\n[]\n");
    assert_eq!(peer.line(), "6");
    assert_eq!(peer.line(), "0");
    peer.send("{}\n");
    assert_eq!(
        peer.rest(),
        b"",
        "invalid input closes unless the handler decides otherwise"
    );
}

#[test]
fn an_acceptor_of_ones_own_holds_permits() {
    let (sender, accepted) = mpsc::channel::<Accepted>();
    let config = Config {
        max_connections: Some(1),
        ..Config::default()
    };
    let acceptor = AcceptLoop::start(&config, vec![listener()], move |connection| {
        sender.send(connection).unwrap();
    })
    .unwrap();
    let address = acceptor.local_addrs()[0].inet().unwrap();
    let first = TcpStream::connect(address).unwrap();
    let _second = TcpStream::connect(address).unwrap();
    let connection = accepted.recv_timeout(PATIENCE).unwrap();
    assert_eq!(connection.peer.inet(), Some(first.local_addr().unwrap()));
    assert!(accepted.recv_timeout(Duration::from_millis(50)).is_err());
    let (stream, permit) = connection.into_std().unwrap();
    drop(stream);
    assert!(
        accepted.recv_timeout(Duration::from_millis(50)).is_err(),
        "the permit counts"
    );
    drop(permit);
    let second = accepted.recv_timeout(PATIENCE).unwrap();
    assert_eq!(acceptor.stats().open, 1);
    drop(second);
    assert_eq!(acceptor.stats().open, 0);
}

#[test]
fn port_zero_becomes_a_port() {
    let world = World::new(|_| {});
    assert_ne!(world.address.port(), 0);
    assert_eq!(
        Some(world.address.port()),
        world.server.local_addrs()[0].port()
    );
}

#[test]
fn a_bind_conflict_goes_to_the_caller() {
    let world = World::new(|_| {});
    let taken = world.server.local_addrs()[0].clone();
    let error = Listener::bind(&taken, &ListenOptions::default()).unwrap_err();
    assert_eq!(
        (error.source.kind(), &error.address),
        (ErrorKind::AddrInUse, &taken)
    );
    assert!(error.to_string().contains(&taken.to_string()));
}

#[test]
fn each_connection_has_its_own_state() {
    let world = World::new(|_| {});
    let (mut one, mut two) = (world.connect(), world.connect());
    one.send("a\r\nb\r\ncount\r\n");
    two.send("count\r\n");
    assert_eq!(two.line(), "1");
    for line in ["a", "b", "3"] {
        assert_eq!(one.line(), line);
    }
}

#[test]
fn a_thousand_connections_leave_nothing() {
    let world = World::new(|_| {});
    for round in 0..20 {
        let mut peers: Vec<Peer> = (0..50).map(|_| world.connect()).collect();
        for (index, peer) in peers.iter_mut().enumerate() {
            match (round + index) % 4 {
                0 => peer.send("quit\r\n"),
                1 => peer.send("half a line"),
                2 => peer.send("abort\r\n"),
                _ => {}
            }
        }
    }
    world.wait_for("all closed", |stats| {
        stats.closed == 1000 && stats.open == 0
    });
    assert!(world.server.connections().is_empty());
    for _ in 0..1000 {
        world.disconnected();
    }
    assert!(world.is_quiet());
}

/// Sends pieces, each when the one before has gone, and closes after the last.
struct Streamer {
    left: usize,
}

impl Streamer {
    const PIECE: usize = 100_000;

    fn next(&mut self, ctx: &mut Context<'_, Self>) {
        assert_eq!(ctx.pending_write(), 0);
        if self.left == 0 {
            return ctx.shutdown();
        }
        self.left -= 1;
        ctx.send(&[b'.'; Self::PIECE]).unwrap();
        ctx.notify_when_flushed();
    }
}

impl Handler for Streamer {
    type Decoder = Bytes;
    type Encoder = Bytes;
    type Message = ();

    fn codec(&mut self) -> (Bytes, Bytes) {
        (Bytes, Bytes)
    }

    fn connected(&mut self, ctx: &mut Context<'_, Self>) {
        self.next(ctx);
    }

    fn input(&mut self, _item: Vec<u8>, _ctx: &mut Context<'_, Self>) {}

    fn flushed(&mut self, ctx: &mut Context<'_, Self>) {
        self.next(ctx);
    }
}

#[test]
fn a_stream_is_driven_by_what_has_gone() {
    let mut config = ServerConfig::default();
    // One piece fits; what is more would be an error in `send`.
    config.reactor.write_buffer = Streamer::PIECE;
    let server = serve(&config, |_| Streamer { left: 200 });
    let mut peer = Peer::connect(server.local_addrs()[0].inet().unwrap());
    assert_eq!(peer.rest().len(), 200 * Streamer::PIECE);
}

#[test]
fn the_traps_of_the_original_are_none_here() {
    // The peer's address is known, and the end of a stream is no error.
    let world = World::new(|_| {});
    let mut peer = world.connect();
    let Seen::Connected(connection, address) = world.next() else {
        panic!("not connected")
    };
    assert_eq!(address.inet(), Some(peer.socket().local_addr().unwrap()));
    assert_eq!(address.ip(), Some(IpAddr::from([127, 0, 0, 1])));
    assert_eq!(connection.peer_addr(), Some(&address));
    peer.send("");
    drop(peer);
    assert!(matches!(world.next(), Seen::End));
    assert!(matches!(
        world.next(),
        Seen::Disconnected(CloseReason::PeerClosed)
    ));
    // Unlimited resumes a paused listener; see also the tests of limits above.
    world.server.set_max_connections(Some(0));
    let mut peer = world.connect();
    peer.send("a\r\n");
    assert!(peer.is_quiet());
    world.server.set_max_connections(None);
    assert_eq!(peer.line(), "a");
}

#[test]
fn a_decoder_can_be_used_by_itself() {
    let mut lines = LineDecoder::default().map(|line| line.len());
    assert_eq!(lines.decode(b"four\n").unwrap().item, Some(4));
}
